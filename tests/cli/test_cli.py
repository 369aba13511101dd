"""The command line: one line for every error, the right stream, the right exit status."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest
from support import ROOT
from support.judge import SLOW, eggcache, environment, listing
from support.namespaces import namespace
from support.parts import missing
from support.sites import named, write_egg
from support.terminals import show

from eggcache.cli import command_options, console, main
from eggcache.model import Distribution, Kind, Limits
from eggcache.system.accounts import Account
from eggcache.target import command_lines
from eggcache.target.interpreter import EVERYTHING, Roots, Target


@pytest.fixture
def eggs(shared_tmp: Path) -> Path:
    """A directory with one egg."""
    write_egg(shared_tmp / "One-1.0-py3.11.egg", {"one.py": ""})
    return shared_tmp


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required"),
        (["prepare"], "DIR"),
        (["nonsense"], "'nonsense': there is no such command, but tree, unzip-all, prepare"),
        (["tree", "--nonsense"], "unrecognized arguments"),
        (["prepar"], "did you mean prepare?"),
        (["unzip"], "did you mean unzip-all?"),
        (["unzip_all"], "did you mean unzip-all?"),
        (["tree", "--pyton", "/x"], "did you mean --python?"),
        (["prepare", "/x", "--dryrun"], "did you mean --dry-run?"),
        (["wrapper", "/x", "--user=nobody", "--fro=shell"], "did you mean --for?"),
        (["wrapper", "/x", "--python", sys.executable, "--for", "initd"], "did you mean init.d?"),
        (["wrapper", "/x", "--python", sys.executable, "--for", "apache"], "did you mean apachectl?"),
        (["prepare", "/x", "--user", "no such user"], "no such user"),
        (["prepare", "/x", "--group", "no such group"], "no such group"),
        (["prepare", "/x", "--tz", "Europe/Nowhere"], "no such time zone"),
        (["prepare", "/x", "--all", "TurboGears"], "--all"),
        (["prepare", "/x", "--strict-tree"], "--strict-tree"),
        (["wheels", "/x", "--path", "/not/there"], "--path /not/there: there is nothing of that name"),
        (["tree", "--python", "/not/there"], "/not/there"),
        (["wrapper", "/x", "--python", sys.executable, "--for", "nonsense"], "no such kind"),
        (["prepare", "/x", "--wait", "soon"], "--wait"),
        (["prepare", "/x", "--wait", "-1"], "--wait"),
        (["prepare", "/x", "--wait", "nan"], "--wait"),
        (["prepare", "/x", "--al"], "--al"),
        (["prepare", "TurboGears"], "DIR comes first"),
        (["wheels", "TurboGears"], "OUT comes first"),
        (["--vresion"], "unrecognized arguments: --vresion; did you mean --version?"),
        (["-V"], "unrecognized arguments: -V; "),
        ([], "COMMAND: it is required"),
        (["prepare", ""], "DIR is empty: is a variable not set?"),
        (["remove", ""], "DIR is empty"),
        (["tree", ""], "REQ is empty"),
        (["check", "--cache="], "--cache is empty"),
        (["unzip-all", "--path", "/x", "--path", ""], "--path is empty"),
    ],
)
def test_nonsense_is_one_line_and_status_2(arguments: list[str], says: str) -> None:
    """What makes no sense is one line that names it, on stderr, with exit status 2."""
    result = eggcache(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("eggcache: ")


def test_requirements_stand_anywhere(python: Path) -> None:
    """A requirement may come before options, after them, or after "--"."""
    for words in (["setuptools", "--json"], ["--json", "setuptools"], ["--json", "--", "setuptools"]):
        result = eggcache("tree", "--python", python, *words)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["requirements"] == ["setuptools"]
    result = eggcache("prepare", "/proc/x", "-n", "--user", "nobody", "--python", python, "setuptools")
    assert (result.returncode, result.stderr) == (0, "")


def test_json_may_stand_before_the_command(python: Path) -> None:
    """--json means the same before the command as behind it; the version alone has none."""
    before, behind = (eggcache(*words) for words in (["--json", "explain"], ["explain", "--json"]))
    assert before.stdout == behind.stdout
    assert json.loads(before.stdout)["command"] == "explain"
    assert eggcache("--json", "--version").returncode == 2


def test_python_may_be_a_virtual_environment(python: Path, eggs: Path) -> None:
    """A directory that has a bin/python is that Python, by the option or the environment, in what is next as well."""
    venv = eggs / "venv"
    venv.symlink_to(python.parent.parent)
    for words, env in ((["--python", venv], {}), ([], {"EGGCACHE_PYTHON": str(venv)})):
        result = eggcache("tree", "--json", "setuptools", *words, env=env)
        assert json.loads(result.stdout)["interpreter"]["executable"] == str(venv / "bin" / "python")
    words = ["prepare", "./cache", "--user", "nobody", "--python", "./venv", "--path", "."]
    result = subprocess.run(
        [sys.executable, "-m", "eggcache", *words],
        cwd=eggs, env=environment({"PYTHONPATH": str(ROOT)}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"next: eggcache wrapper {eggs}/cache --python {venv} " in result.stdout, result.stderr
    command = [sys.executable, "-m", "eggcache", "tree", "--python", "venv"]  # which anybody may have made in /tmp
    result = subprocess.run(
        command, cwd=eggs, env=environment({"PYTHONPATH": str(ROOT)}), capture_output=True, text=True, check=False
    )
    assert (result.returncode, "there is no such program on the PATH" in result.stderr) == (2, True)


@pytest.mark.parametrize("columns", [80, 60])
def test_results_fit_the_terminal(python: Path, eggs: Path, columns: int) -> None:
    """On a terminal, lines of `prepare -n` and `status` end within it, but for a path that is longer than that."""
    longer = eggs / "A.name.that.is.longer-1.2.3-py3.11-linux-x86_64.egg"
    write_egg(longer, {"two.py": ""})
    cache = eggs / "cache"
    common = ["prepare", cache, "--user", "nobody", "--python", python, "--path", longer]
    command = [sys.executable, "-m", "eggcache"]
    dry = show([*command, *map(str, common), "-n"], columns=columns, env=environment())
    assert eggcache(*common).returncode == 0
    status = show([*command, "status", "-v", str(cache)], columns=columns, env=environment())
    for shown in (dry, status):
        assert shown.status == 0
        lines = [line for line in shown.terminal.splitlines() if "eggcache: " not in line]
        assert len(lines) > 3
        assert [line for line in lines if len(line) > columns and len(line.split()) > 1] == []


def test_dry_run_with_nothing_to_do_says_so(python: Path, eggs: Path) -> None:
    """`prepare -n` of a cache that is current says that there is nothing to do, and the real one says nothing."""
    common = ["prepare", eggs / "cache", "--user", "nobody", "--python", python, "--path", eggs / "One-1.0-py3.11.egg"]
    assert "would be made: One-1.0-py3.11.egg-tmp (" in eggcache(*common, "-n").stdout
    eggcache(*common)
    assert "nothing to do: all of it is current" in eggcache(*common, "-n").stdout
    assert eggcache(*common).stdout == ""


def test_dry_run_of_every_command_with_nothing_to_do_says_so(python: Path, eggs: Path) -> None:
    """-n of unzip-all, its --undo, wheels, remove and archive says that there is nothing to do where that is so, and
    what would be done where it is not; either way it writes nothing."""
    egg, backup, wheels, archive = (eggs / name for name in ("One-1.0-py3.11.egg", "zips", "wheels", "cache.tar"))
    target = ["--all", "--python", python, "--path", egg]
    unzip, undo = ["unzip-all", *target, "--backup", backup], ["unzip-all", *target, "--backup", backup, "--undo"]

    def planned(*words: str | Path) -> str:
        before = listing(eggs)
        result = eggcache(*words, "-n")
        assert (result.returncode, listing(eggs)) == (0, before), result.stderr
        return result.stdout + result.stderr

    no_egg = "there is no zipped egg in the tree: "
    packed = ["archive", archive, *target, "--group", "0", "--user", "nobody", "--tz", "UTC"]
    assert "would be packed: " in planned(*packed)
    assert "would be made: one-1.0-py311-none-any.whl (" in planned("wheels", wheels, *target)
    assert eggcache("wheels", wheels, *target).returncode == 0
    assert "nothing to do: all of it is current\n" in planned("wheels", wheels, *target)
    assert f"would be unzipped: {egg} (" in planned(*unzip)
    assert eggcache(*unzip).returncode == 0
    assert f"{no_egg}nothing to do\n" in planned(*unzip)
    assert f"{no_egg}the cache in it is empty\n" in planned(*packed)
    assert f"would be restored: {egg} (" in planned(*undo)
    assert eggcache(*undo).returncode == 0
    assert "there is no egg to be put back in the tree: nothing to do\n" in planned(*undo)
    assert f"{eggs / 'cache'}: it does not exist: nothing to do\n" in planned("remove", eggs / "cache")


def test_status_takes_the_cache_of_the_environment(python: Path, eggs: Path) -> None:
    """Without DIR, status means PYTHON_EGG_CACHE; where that is not set either, an error says so, with a command where
    the usual directory is there."""
    cache = eggs / "cache"
    eggcache("prepare", cache, "--user", "nobody", "--python", python, "--path", eggs / "One-1.0-py3.11.egg")
    named, inherited = eggcache("status", cache), eggcache("status", env={"PYTHON_EGG_CACHE": str(cache)})
    assert (inherited.returncode, inherited.stdout) == (0, named.stdout)
    if os.geteuid() != 0:
        missing("only root can have a /var/cache of its own")
    own = "mount -t tmpfs none /var/cache"
    result = namespace(own, "status")
    assert result.returncode == 2
    assert result.stderr.endswith("PYTHON_EGG_CACHE is not set; name the directory that prepare was given\n")
    result = namespace(f"{own}; mkdir /var/cache/eggcache", "status")
    assert result.returncode == 2
    assert result.stderr.endswith(
        "PYTHON_EGG_CACHE is not set; for the usual one: eggcache status /var/cache/eggcache\n"
    )


def test_message_ends_with_its_command(python: Path, eggs: Path) -> None:
    """The code of a finding stands in front of the remedy: what is copied up to the end of the line is the command, and
    it cures what the message is about."""
    cache, egg = eggs / "cache", eggs / "One-1.0-py3.11.egg"
    eggcache("prepare", cache, "--user", "nobody", "--python", python, "--path", egg)
    os.utime(egg, (1, 1))
    result = eggcache("status", cache)
    (line,) = result.stderr.splitlines()
    (finding,) = json.loads(eggcache("status", cache, "--json").stdout)["findings"]
    assert line == f"eggcache: {finding['thing']}: {finding['cause']} [{finding['code']}]; {finding['remedy']}"
    assert line.endswith(f": {finding['command']}")
    assert eggcache(*shlex.split(finding["command"])[1:]).returncode == 0
    assert eggcache("status", cache).returncode == 0


def test_wrapper_on_a_terminal_ends_with_the_command_that_writes_it(python: Path, eggs: Path) -> None:
    """Where the text fills a terminal, the last line is the same command with the file that the text is for, and it
    writes the same text; in a pipe there is no such line."""
    words = ["wrapper", str(eggs / "cache"), "--python", str(python), "--for", "tmpfiles.d", "--user", "nobody"]
    piped = eggcache(*words)
    assert "to have it written" not in piped.stderr
    shown = show([sys.executable, "-m", "eggcache", *words], env=environment({"TERM": "dumb"}), columns=400)
    last = shown.terminal.rstrip().splitlines()[-1]
    command = last.removeprefix("eggcache: to have it written: eggcache ")
    written = eggs / "eggcache.conf"
    again = [word.replace("/etc/tmpfiles.d/eggcache.conf", str(written)) for word in shlex.split(command)]
    assert again == [words[0], "-o", str(written), *words[1:]]
    assert eggcache(*again).returncode == 0
    assert written.read_text() == piped.stdout


@pytest.mark.parametrize("command", ["", "tree", "unzip-all", "prepare", "check", "wrapper"])
def test_each_command_has_help_with_examples(command: str) -> None:
    """Every command has its help with examples, on stdout, as wide as the terminal is."""
    result = eggcache(*command.split(), "--help", env={"COLUMNS": "50"})
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: eggcache")
    options, _, examples = result.stdout.partition("\nexamples:\n")
    assert f"  eggcache {command}".rstrip() in examples
    whole = sys.version_info < (3, 13)  # argparse put options that exclude each other on one line, however long
    assert max(len(line) for line in options.splitlines() if not (whole and " | " in line)) <= 50
    wide = eggcache(*command.split(), "--help", env={"COLUMNS": "200"}).stdout
    assert len(wide.splitlines()) < len(result.stdout.splitlines())


def test_version_is_one_line_and_more_with_v(python: Path) -> None:
    """--version is one line; with -v, on either side, it says what runs here and what the target has."""
    from eggcache import __version__

    assert eggcache("--version").stdout == f"eggcache {__version__}\n"
    for words in (["--version", "-v"], ["-v", "--version"]):
        result = eggcache(*words, env={"EGGCACHE_PYTHON": str(python)})
        assert (result.returncode, result.stderr) == (0, "")
        first, *rest = result.stdout.splitlines()
        assert first == f"eggcache {__version__}"
        assert f"  target: Python 3.11.7, {python}" in rest
        assert any(line.startswith("  pkg_resources of the target: setuptools 65.5.0, /") for line in rest)
        for library in ("filelock", "zlib-ng"):
            assert any(re.fullmatch(rf"  {library} [0-9.]+", line) for line in rest)
    result = eggcache("--version", "-v", env={"EGGCACHE_PYTHON": "/not/there"})
    assert (result.returncode, result.stderr) == (0, "")
    assert "target: $EGGCACHE_PYTHON /not/there: there is no such file" in result.stdout


def loaded(words: list[str]) -> set[str]:
    """The modules that a command line has loaded at its end, without those of this machine's own site."""
    code = f"import atexit, sys; atexit.register(lambda: print(*sys.modules)); sys.path[:0] = [{str(ROOT)!r}]"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{code}; from eggcache.cli import main; sys.exit(main.main())", *words],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("words", [*([command, "--help"] for command in main.COMMANDS), ["explain", "egg-refused"]])
def test_a_text_to_read_loads_the_options_alone(words: list[str]) -> None:
    """The help of a command loads the options of commands, and nothing that a command works with; what explains a
    finding loads all findings besides."""
    now = loaded(words)
    ours = {name for name in now if name.startswith("eggcache.")}
    shared = {"cli", "cli.main", "cli.console", "cli.command_options", "errors", "cache", "cache.freshness"}
    shared |= {"system", "system.accounts", "system.safe_dirs", "target", "target.interpreter"}
    more = {name for name in ours if name.startswith("eggcache.explanations")}
    more |= {"eggcache.cli.manual"} if "--help" in words else {"eggcache.cli.verbs", "eggcache.cli.verbs.explain"}
    assert ours == {f"eggcache.{name}" for name in shared} | more
    assert bool("eggcache.explanations" in ours) == ("--help" not in words)
    late = {"contextlib", "dataclasses", "inspect", "json", "shutil", "subprocess", "typing"}
    assert now & late == set()


def test_width_of_the_terminal_is_asked_for_by_a_help_alone() -> None:
    """To build the options of a command asks for no width, as a plain argparse does for each option; its help does."""

    asking = (shutil.get_terminal_size.__code__, console.columns.__code__)

    def asked(work: Callable[[], object]) -> int:
        calls: list[object] = []
        sys.setprofile(lambda frame, event, _: calls.append(frame.f_code) if event == "call" else None)
        try:
            with suppress(SystemExit), redirect_stdout(io.StringIO()):
                work()
        finally:
            sys.setprofile(None)
        return sum(code in asking for code in calls)

    def plain() -> None:
        parser = argparse.ArgumentParser()
        for letter in "abcde":
            parser.add_argument(f"-{letter}")

    assert asked(plain) >= 5
    assert asked(lambda: main.parse(["prepare", "/not/there"])) == 0
    assert asked(lambda: main.parse(["prepare", "--help"])) >= 1


def test_only_the_command_that_is_asked_for_is_loaded() -> None:
    """Each module of verbs is a command; a command line loads its own alone, and a help or a mistake loads none."""
    for words, verbs in (
        (["status", "/not/there"], {"status"}),
        (["explain", "egg-refused"], {"explain"}),
        (["-v", "remove", "--help"], set()),
        (["prepar"], set()),
    ):
        assert {name.rpartition(".")[2] for name in loaded(words) if name.startswith("eggcache.cli.verbs.")} == verbs
    assert "  wheels " in eggcache("--help", "tree").stdout
    modules = {path.stem for path in Path(main.__file__).with_name("verbs").glob("*.py")} - {"__init__"}
    assert modules == {name.replace("-", "_") for name in main.COMMANDS}


def test_no_option_without_a_use() -> None:
    """Only the commands that exchange something under a server offer --allow-gap."""
    offering = {word for word in main.COMMANDS if "--allow-gap" in eggcache(word, "--help").stdout}
    assert offering == {"prepare", "unzip-all"}
    for word in ("remove", "wheels"):
        result = eggcache(word, "/not/there", "--allow-gap")
        assert (result.returncode, "--allow-gap" in result.stderr) == (2, True)


def test_kinds_in_the_help() -> None:
    """The help of wrapper names every kind that there is."""
    from eggcache.wrappers import kinds

    assert sorted(command_options.WRAPPERS) == sorted(kinds.KINDS)


def test_json_is_one_object(python: Path, eggs: Path) -> None:
    """--json prints one object of schema 1 on stdout, whatever is said on stderr."""
    common = ["--all", "--path", str(eggs), "--python", str(python), "--json"]
    for command in (["tree"], ["prepare", str(eggs / "cache"), "--user", "nobody"], ["unzip-all", *named(eggs)]):
        result = eggcache(*command, *common)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["schema"] == 1


def test_init_script_provides_the_name_of_its_file(python: Path, shared_tmp: Path) -> None:
    """The example of wrapper's help writes a script whose own text calls it as its file is called; -n prints it."""
    script = shared_tmp / "apache-eggs"
    command = [
        "wrapper", "/srv/cache", "--for", "init.d", "-o", script, "--python", python, "--user", "nobody",
        "--apachectl", "/usr/sbin/apache2ctl", "--pid-file", "/run/a.pid",
    ]  # fmt: skip
    dry = eggcache(*command, "-n")
    assert (dry.returncode, script.exists()) == (0, False), dry.stderr
    result = eggcache(*command)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    text = script.read_text()
    assert text == dry.stdout
    assert "# Provides:          apache-eggs\n" in text
    assert ("update-rc.d apache-eggs defaults" in text, "eggcache-apache" in text) == (True, False)


def test_cache_for_freebsd_is_its_groups(python: Path) -> None:
    """The command in FreeBSD's file makes a cache for the group that its Apache has, unless another is named."""
    command = ["wrapper", "/srv/cache", "--for", "freebsd", "--python", python, "--user", "nobody"]
    for more, group in (([], "80"), (["--group", "daemon"], "daemon")):
        assert f" --user nobody --group {group} " in eggcache(*command, *more).stdout


@pytest.mark.parametrize("kind", ["systemd", "init.d", "envvars", "mod_wsgi"])
def test_wrapper_as_json(python: Path, kind: str) -> None:
    """With --json a wrapper comes with its kind and the file that it goes into, as its own text has it."""
    # Not below /var/tmp, which the unit may have one of its own of: that is refused for systemd
    command = ["wrapper", "/srv/cache", "--python", python, "--for", kind, "--apachectl", "/usr/sbin/apache2ctl"]
    command += ["--pid-file", "/run/a.pid", "--unit", "apache2@blog.service", "--user", "nobody"]
    plain, result = eggcache(*command), eggcache(*command, "--json")
    emitted = json.loads(result.stdout)
    assert emitted["schema"] == 1
    assert (emitted["text"], emitted["kind"], emitted["unit"]) == (plain.stdout, kind, "apache2@blog.service")
    assert emitted["executable"] == (kind == "init.d")
    places = {
        "systemd": "/etc/systemd/system/apache2@blog.service.d/50-eggcache.conf",
        "init.d": "/etc/init.d/eggcache-apache",
        "envvars": "/etc/apache2/envvars-eggcache",
    }
    assert emitted["place"] == places.get(kind)
    if kind in places:
        assert places[kind].rpartition("/")[2] in plain.stdout


def test_quiet_prints_nothing_when_all_is_well(python: Path, eggs: Path) -> None:
    """-q prints nothing when all is well."""
    result = eggcache("prepare", eggs / "cache", "--all", "--path", eggs, "--python", python, "--user", "nobody", "-q")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_only_root_acts_for_others(python: Path, eggs: Path, checkout: Path) -> None:
    """An ordinary user who asks for another user's cache is told so, exit 4."""
    for option in (["--user", "www-data"], ["--group", "www-data"]):
        result = subprocess.run(
            [str(python), "-m", "eggcache", "prepare", str(eggs / "cache"), *option],
            env=environment({"PYTHONPATH": str(checkout)}), cwd="/", capture_output=True, text=True, check=False,
            user="nobody", group="nogroup",
        )  # fmt: skip
        assert result.returncode == 4, result.stderr
        assert "root" in result.stderr


def test_message_stays_on_its_line(python: Path, shared_tmp: Path) -> None:
    """A name with control characters cannot forge a line or drive the terminal."""
    bad = shared_tmp / "Bad\n\x1b[31m-1.0-py3.11.egg"
    bad.write_bytes(b"PK")
    result = eggcache("prepare", shared_tmp / "cache", "--all", "--path", bad, "--python", python, "--user", "nobody")
    assert "\x1b" not in result.stderr + result.stdout
    result = eggcache("prepare", "/nowhere/\n\x1b[31m", "--python", python, "--user", "nobody", "--all")
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr


def test_reader_that_goes_away_ends_the_command_quietly(python: Path) -> None:
    """A reader that goes away ends the command quietly."""
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "eggcache", "tree", "--all", "--python", str(python)],
        cwd=ROOT, env=environment(), stdout=write, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert (result.returncode, SLOW.sub("", result.stderr)) == (128 + signal.SIGPIPE, "")


def test_wrapper_carries_what_was_resolved(python: Path, eggs: Path) -> None:
    """The emitted command names everything absolutely, and running it by hand does what the options said."""
    cache = eggs / "cache dir"
    result = eggcache(
        "wrapper", cache, "--all", "--path", eggs, "--python", python, "--user", "nobody", "--tz", "Asia/Tokyo",
        "--for", "apachectl", "--apachectl", "/bin/true",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    script = eggs / "wrapper"
    script.write_text(result.stdout)
    ran = subprocess.run(
        ["dash", str(script), "start"], env=environment({"PYTHONPATH": str(ROOT)}), cwd="/", capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert (cache / "One-1.0-py3.11.egg-tmp" / "one.py").stat().st_mtime == 1245034800  # noon in Tokyo
    for option in ("--lenient", f"--python {python}", "--user nobody", "--group 65534", "--tz Asia/Tokyo"):
        assert option in result.stdout
    assert "--reset" not in result.stdout
    assert "--wait 60 --all" in result.stdout  # as prepare was asked: the first start has nothing to do


def test_next_command_repeats_what_was_said(python: Path, eggs: Path) -> None:
    """What prepare names as the next command makes a wrapper for the same target, tree and zone; another one is told
    so."""
    said = ["--all", "--path", eggs, "--python", python, "--user", "nobody", "--tz", "Asia/Tokyo"]
    result = eggcache("prepare", eggs / "a cache", *said)
    command = shlex.split(result.stdout.split("next: eggcache ")[1])
    assert eggcache(*command, "--for", "shell").stderr == ""
    warned = eggcache(*command, "--tz", "UTC", "--for", "shell").stderr
    assert "it is prepared for TZ=Asia/Tokyo; prepare another directory" in warned
    tree = ["--python", python, "--user", "nobody"]
    assert "another --python" in eggcache("wrapper", eggs / "a cache", *tree, "--for", "shell").stderr


def test_what_is_not_there_is_named(python: Path, eggs: Path) -> None:
    """A --path that has nothing at its end, most of all one with a typing error, is a usage error of who looks into it
    now; whoever starts a server, or writes a wrapper for what is yet to come, is told."""
    said = ["--all", "--path", eggs, "--path", eggs / "typo", "--python", python]
    cache = eggs.with_name(f"{eggs.name}-cache")  # not below what is looked at
    line = f"eggcache: --path {eggs}/typo: there is nothing of that name"
    for command in (
        ["tree"],
        ["prepare", cache],
        ["check", "--cache", cache],
        ["unzip-all", "-n", *named(eggs)],
        ["wheels", "-n", cache],
    ):
        result = eggcache(*command, *said)
        assert (result.returncode, result.stderr.partition(";")[0]) == (2, line), command
    for before in (f"{line}\n", ""):  # the second time nothing is to be done
        result = eggcache("prepare", cache, "--lenient", *said)
        assert (result.returncode, result.stderr) == (0, before)
    assert f"{line}\n" in eggcache("wrapper", cache, *said, "--for", "shell").stderr
    result = eggcache("wrapper", cache, *said[:3], "--apachectl", eggs / "ctl", "--for", "apachectl")
    assert f"--apachectl {eggs}/ctl: there is nothing of that name\n" in result.stderr


def test_remedies_repeat_what_was_said(python: Path, eggs: Path) -> None:
    """The command in a remedy is about the same target, tree and user: it sees to what was found."""
    said = ["--path", eggs, "--python", python, "--user", "nobody", "--tz", "Asia/Tokyo"]
    for tree in (["--all"], ["One"]):
        cache = eggs / f"it's a cache; for {tree[0]}"
        findings = json.loads(eggcache("check", "--json", "--cache", cache, *said, *tree).stdout)["findings"]
        (command,) = (finding["command"] for finding in findings if finding["code"] == "cache-missing")
        assert eggcache(*shlex.split(command)[1:]).returncode == 0
        result = eggcache("check", "--cache", cache, *said, *tree)
        assert result.returncode == 0, result.stdout


def test_command_says_all_that_its_target_is() -> None:
    """A command names the target, who reads the cache, the zone, the limits and the tree; each quoted for a shell."""
    target = Target("/usr/bin/python3", ["/a b"], Account("www", 33, 33), 0, "Asia/Tokyo")
    prepare = command_lines.Prepare("/c", target, Roots(["kid>=1"]), Limits(ratio=300))
    same = "--python /usr/bin/python3 --path '/a b'"
    served = f"{same} --user www --group root --tz Asia/Tokyo --limit ratio=300 'kid>=1'"
    assert prepare.line("--reset") == f"eggcache prepare --reset /c {served}"
    assert prepare.wrapper("systemd") == f"eggcache wrapper --for systemd /c {served}"
    kept = f"{same} --backup /usr/lib/python3/dist-packages/eggcache-zips" if os.geteuid() == 0 else same
    assert command_lines.unzip_all(target, EVERYTHING) == f"eggcache unzip-all {kept}"
    assert command_lines.unzip_all(target, Roots([], strict=True)) == f"eggcache unzip-all {kept} --all"
    assert (
        command_lines.unzip_all(target, Roots(["kid"], strict=True)) == f"eggcache unzip-all {kept} --strict-tree kid"
    )
    assert main.parse(shlex.split(prepare.line())[1:]).requirements == ["kid>=1"]
    for_all = Target("/p", account=Account("nobody", 65534, 65534))
    assert command_lines.Prepare("/c", for_all, EVERYTHING).line() == "eggcache prepare /c --python /p"


@pytest.mark.parametrize("project", ["x; touch y", "$(id)", "--all", "-x", "a b", "x\n", "`id`", "x'", ""])
def test_remedies_hold_no_command_of_others(project: str) -> None:
    """What a target calls a project is no part of a command, unless it is a plain name."""
    target = Target("/p", ["/a"])

    def unzip(project: str, egg: str) -> str:
        return command_lines.unzip(target, Distribution(project, "1", egg, Kind.ZIPPED, egg=egg))

    plain = "eggcache unzip-all --python /p --path /a"
    assert unzip(project, "/e/E.egg") == f"{plain} --backup /e/eggcache-zips"
    assert unzip("zope.interface-x_1", "/e/E.egg") == f"{plain} --backup /e/eggcache-zips zope.interface-x_1"
    assert unzip("E", "/a/E.egg") == f"{plain} --path /a/E.egg --backup /a/eggcache-zips E"


def test_children_are_heard_of_though_sigchld_is_ignored(python: Path, eggs: Path) -> None:
    """A daemon that ignores SIGCHLD hands that on: children of ours end in a way that one can ask for all the same."""
    start = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-m", "eggcache", "prepare", eggs / "cache", "--all", "--path", eggs, "--python", python]
    command = [sys.executable, "-c", start, *command, "--user", "nobody"]
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert (result.returncode, SLOW.sub("", result.stderr)) == (0, "")


def test_wrapper_runs_nobody_elses_modules(python: Path, eggs: Path) -> None:
    """The application's PYTHONPATH, with which root starts Apache, gives the emitted prepare no modules."""
    if subprocess.run([sys.executable, "-I", "-c", "import eggcache"], capture_output=True, check=False).returncode:
        missing("eggcache is not installed for the Python that runs the tests")
    theirs = eggs / "theirs"
    theirs.mkdir()
    (theirs / "argparse.py").write_text(f"open({str(eggs / 'ran')!r}, 'w')\nraise SystemExit(0)\n")
    result = eggcache("wrapper", eggs / "cache", "--all", "--path", eggs, "--python", python, "--user", "nobody",
                      "--for", "apachectl", "--apachectl", "/bin/true")  # fmt: skip
    (eggs / "wrapper").write_text(result.stdout)
    env = environment({"PYTHONPATH": str(theirs)})
    ran = subprocess.run(["dash", str(eggs / "wrapper"), "start"], env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert not (eggs / "ran").exists()
    assert (eggs / "cache" / "One-1.0-py3.11.egg-tmp").is_dir()


def test_wrapper_that_could_not_run_is_refused(python: Path, eggs: Path) -> None:
    """From a clone, by a Python that has no eggcache, nothing is emitted: what runs in / would not find it. Where it is
    found by PYTHONPATH, it is said that this takes it."""
    command = [str(python), "-m", "eggcache", "wrapper", "/srv/x", "--python", str(python), "--for", "shell"]

    def run(path: str) -> subprocess.CompletedProcess[str]:
        env = environment({"PYTHONPATH": path})
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    result = run("")
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert "fails in another directory than this" in result.stderr
    result = run(str(ROOT))
    assert f"#   {python} -m eggcache prepare /srv/x " in result.stdout
    assert "fails where there is no PYTHONPATH, as at a boot; install it, or" in result.stderr


def test_wrapper_in_tmp_resets(python: Path) -> None:
    """Where anybody can squat the directory, the emitted command moves it aside; of REQ it has what was named."""
    said = ("wrapper", "/tmp/some-cache", "--python", python, "--for", "apachectl")
    assert "--reset --wait 60 </dev/null" in eggcache(*said).stdout
    assert "--reset --wait 60 -- TurboGears </dev/null" in eggcache(*said, "TurboGears").stdout
    assert "--reset --wait 60 --strict-tree -- kid </dev/null" in eggcache(*said, "--strict-tree", "kid").stdout


def without_apache(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run eggcache where the directories in which Debian has Apache's programs are empty."""
    if os.geteuid() != 0:
        missing("only root can hide Apache")
    hide = 'mount -t tmpfs none /usr/sbin && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", hide, "sh", sys.executable, "-m", "eggcache", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)


def test_host_without_apache(python: Path, eggs: Path) -> None:
    """Without Apache and --user the cache is root's and readable by all, which is said; no wrapper is guessed."""
    common = ["--all", "--path", str(eggs), "--python", str(python)]
    result = without_apache("prepare", eggs / "cache", *common)
    assert result.returncode == 0, result.stderr
    assert "readable by all" in result.stderr
    assert {oct(path.stat().st_mode & 0o777) for path in (eggs / "cache").glob("One*/**/*.py")} == {"0o644"}
    assert oct((eggs / "cache").stat().st_mode & 0o777) == "0o755"
    result = without_apache("wrapper", eggs / "cache", *common, "--for", "apachectl")
    assert (result.returncode, result.stdout) == (2, "")
    assert "--apachectl" in result.stderr


def test_eggcache_runs_on_its_oldest_and_newest_python(
    interpreter: Callable[[str], Path], eggs: Path, checkout: Path
) -> None:
    """eggcache itself runs on the oldest and the newest Python that it promises."""
    write_egg(eggs / "Plain-1.0.egg", {"plain.py": ""})
    for version in ("3.9", "3.13"):
        own = interpreter(version)
        command = [str(own), "-W", "error", "-m", "eggcache", "unzip-all", "-n", "--all", *map(str, named(eggs))]
        result = subprocess.run(
            command, env=environment({"PYTHONPATH": str(checkout), "EGGCACHE_PYTHON": str(own)}), cwd="/",
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert "1 egg would be unzipped" in result.stdout


def test_what_a_wrapper_runs_names_no_wrapper(python: Path, eggs: Path) -> None:
    """A lenient prepare, which is a wrapper's, does not say that a wrapper comes next; any other one does."""
    words = ["--user", "nobody", "--python", python, "--path", eggs / "One-1.0-py3.11.egg"]
    for more, is_said in (["--lenient"], False), ([], True):
        result = eggcache("prepare", eggs / f"cache-{is_said}", *words, *more)
        assert ("1 egg made" in result.stdout, "next: " in result.stdout) == (True, is_said)


def test_directory_that_is_made_for_no_egg(python: Path, eggs: Path) -> None:
    """Where there is no zipped egg, prepare makes its directory all the same, and does not say that it did nothing."""
    result = eggcache("prepare", eggs / "cache", "setuptools", "--user", "nobody", "--python", python)
    assert result.stdout == "there is no zipped egg in the tree: nothing to extract\n"
    assert (eggs / "cache").is_dir()


def test_nothing_comes_next_for_an_empty_cache(python: Path, eggs: Path) -> None:
    """Where prepare has only taken away what nothing needs, no wrapper comes next."""
    egg, cache = eggs / "One-1.0-py3.11.egg", eggs / "cache"
    target = ["--python", python, "--path", egg]
    assert "next: " in eggcache("prepare", cache, *target, "--user", "nobody").stdout
    assert eggcache("unzip-all", *target).returncode == 0
    pruned = eggcache("prepare", cache, *target, "--user", "nobody", "--prune").stdout
    assert ("1 egg removed from" in pruned, "next: " in pruned) == (True, False)
