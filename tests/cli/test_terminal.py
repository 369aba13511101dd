"""Where commands run: terminals wide and narrow, dumb ones, no terminal, no stream at all, no HOME, no directory."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import ROOT
from support.judge import as_json, eggcache, environment, listing
from support.sites import named, write_egg
from support.terminals import show

from eggcache.cli import console, main, reference
from eggcache.cli.render import findings_table
from eggcache.errors import Remedy
from eggcache.model import Finding, Report

COMMANDS = {command.name: command for command in reference.commands(main.parser()) if command.name}
ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[0-9;]*m")


@dataclass
class Place:
    """Two eggs, one of which no cache can serve, below a directory with a name that not every encoding has."""

    top: Path
    python: Path
    user: str

    def __post_init__(self) -> None:
        self.eggs = self.top / "Äpfel 日本"
        self.cache = self.top / "cache"
        self.eggs.mkdir(parents=True)
        write_egg(self.eggs / "One-1.0-py3.11.egg", {"one/__init__.py": "", "one/text.txt": "one\n"})
        write_egg(self.eggs / "Two-1.0-py3.11.egg", {"two/": "", "two/__init__.py": ""})

    def words(self, name: str, *more: str | Path) -> list[str]:
        """A command line that works for any command: what it takes, it gets."""
        command = COMMANDS[name]
        values = {"DIR": self.cache, "OUT": self.top / "out", "FILE": self.top / "out.tar"}
        words: list[str | Path] = [
            name,
            *(values[argument.value] for argument in command.arguments if argument.value in values),
        ]
        taken = {spelled for option in command.options for spelled in option.names}
        if name == "unzip-all":  # it leaves eggs zipped that only a directory of --path leads to
            words += named(self.eggs)
            taken.remove("--path")
        for option, value in (
            ("--all", None), ("--path", self.eggs), ("--python", self.python), ("--user", self.user),
            ("--cache", self.cache), ("--for", "shell"),
        ):  # fmt: skip
            if option in taken:
                words += [option, value] if value else [option]
        return [*map(str, words), *map(str, more)]

    def run(
        self, words: Sequence[str], *, env: Mapping[str, str] = {}, closed: Sequence[int] = (), gone: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """What a command does, with some descriptors closed, in a working directory that may be gone."""
        script = "".join(f"exec {descriptor}>&-\n" for descriptor in closed) + 'exec "$@"'
        if gone:
            script = f"mkdir {self.top}/gone && cd {self.top}/gone && rmdir {self.top}/gone\n" + script
        return subprocess.run(
            ["sh", "-c", script, "sh", sys.executable, "-m", "eggcache", *words],
            env={**environment(), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **env}, cwd="/", check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="surrogateescape", timeout=120,
        )  # fmt: skip


@pytest.fixture
def place(shared_tmp: Path, python: Path, nobody: pwd.struct_passwd) -> Place:
    return Place(shared_tmp / "place", python, nobody.pw_name)


def calm(messages: str) -> list[str]:
    """The messages but for those that say how long something took, which depends on how busy the machine is."""
    return [line for line in messages.splitlines() if not re.fullmatch(r"eggcache: .*: .*\d\.\d s", line)]


SCENARIOS: dict[str, dict[str, object]] = {
    "C": {"env": {"LC_ALL": "C", "LANG": "C"}},
    "ASCII alone": {"env": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}},
    "a stream of ASCII": {"env": {"PYTHONIOENCODING": "ascii"}},
    "HOME missing": {"env": {"HOME": "/not/there", "USER": "", "LOGNAME": ""}},
    "dumb": {"env": {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "20"}},
    "no stdin": {"closed": (0,)},
    "no stdout": {"closed": (1,)},
    "no stderr": {"closed": (2,)},
    "no stream": {"closed": (0, 1, 2)},
    "no directory": {"gone": True},
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_minds_where_it_is_run(place: Place, name: str) -> None:
    """No command fails, or does anything else, for where it is run."""
    # unzip-all leaves nothing to do for the next one; prepare too, but says so
    fresh = name not in ("tree", "check", "wrapper")
    if not fresh or "--cache" in place.words(name):
        place.run(place.words("prepare"))
    usual = None
    for scenario, how in {"usual": {}, **SCENARIOS}.items():
        work = place
        if fresh:
            shutil.rmtree(place.top)
            work = Place(place.top, place.python, place.user)
            if name not in ("prepare", "unzip-all"):
                # in the same encoding: a receipt has names as the run that wrote it decoded them
                work.run(work.words("prepare"), env=how.get("env", {}))  # type: ignore[arg-type]
        result = work.run(work.words(name), **how)  # type: ignore[arg-type]
        said = result.stdout + result.stderr
        assert "Traceback" not in said, (scenario, said)
        assert "report what it says" not in said, (scenario, said)
        assert ESCAPE not in said, (scenario, said)
        shown = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "(when)", result.stdout)
        outcome = (result.returncode, re.sub(r"[^ -~\n]|\\[ux][0-9a-f]+", "?", shown))
        usual = usual or outcome
        assert outcome[0] == usual[0], (scenario, said)
        closed = how.get("closed", ())
        assert isinstance(closed, tuple)
        if 1 not in closed and "ASCII" not in scenario:
            assert outcome == usual, scenario
    assert usual is not None
    assert usual[0] in (0, 3, 5)


def test_closed_streams_are_no_files(place: Place) -> None:
    """With its streams closed, prepare writes to its files what belongs there, and nothing else."""
    result = place.run(place.words("prepare", "-v"), closed=(0, 1, 2))
    assert result.returncode == 3
    assert place.run(place.words("prepare")).returncode == 3
    assert (place.cache / "One-1.0-py3.11.egg-tmp" / "one" / "text.txt").read_text() == "one\n"
    assert as_json(place.run(place.words("check", "--json")))["schema"] == 1


def test_relative_name_in_a_directory_that_is_gone(place: Place) -> None:
    """What cannot be done there is said in one line, with the remedy."""
    result = place.run(["prepare", "./cache", "--all", "--python", str(place.python)], gone=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "eggcache: the working directory: it has been removed; run it from another one: cd /\n"


def on_terminal(words: Sequence[str], columns: int, env: Mapping[str, str] = {}) -> str:
    """What appears on a terminal that is so wide."""
    shell = environment({"TERM": "xterm-256color", **env})
    result = show([sys.executable, "-m", "eggcache", *words], columns=columns, env=shell)
    assert result.status in (0, 3, 5)
    return result.terminal


@pytest.mark.parametrize("name", COMMANDS)
def test_plain_terminals_get_no_escape_sequence(place: Place, name: str) -> None:
    """A dumb terminal gets no escape sequence, and NO_COLOR gets no colour."""
    place.run(place.words("prepare"))
    more = ["-o", str(place.top / "page.html")] if name == "report" else []
    more += ["-n"] if any("-n" in option.names for option in COMMANDS[name].options) else []
    words = place.words(name, *more)
    assert ESCAPE not in on_terminal(words, 80, {"TERM": "dumb"})
    assert not COLOUR.search(on_terminal(words, 80, {"NO_COLOR": "1"}))


def test_findings_are_paragraphs_where_a_table_has_no_room(place: Place) -> None:
    """A table of findings that a terminal has no room for is told in paragraphs as wide as the terminal."""
    place.run(place.words("prepare"))
    (place.cache / "One-1.0-py3.11.egg-tmp" / "one" / "text.txt").unlink()
    words = place.words("check")
    wide = calm(on_terminal(words, 900, {"TERM": "dumb"}))
    assert wide[0].split() == ["CODE", "THING", "CAUSE", "REMEDY"]
    narrow = calm(on_terminal(words, 60, {"TERM": "dumb"}))
    assert "CAUSE" not in "\n".join(narrow)
    for line in narrow:
        assert len(line) <= 60 or str(place.top) in line or str(place.python) in line, line  # a path stays in one piece
    for text in ("member-missing", "directory-entries", "text.txt"):
        assert text in "\n".join(narrow)
    piped = place.run(words, env={"COLUMNS": "60"}).stdout
    *rows, explained = calm(on_terminal(words, 80, {"TERM": "dumb"}))
    assert piped.splitlines() == rows  # for who reads a mail
    assert explained == "eggcache: what a code means: eggcache explain member-missing"


def test_message_is_one_line_whose_rows_end_between_words(place: Place) -> None:
    """On a terminal of 60 columns a message is one line: its command, copied from several rows, is one command. In a
    log it is the same message without further spaces."""
    words = place.words("prepare", "-n")
    piped = [line for line in calm(place.run(words).stderr) if len(line) > 60]
    assert piped
    shown = [line for line in on_terminal(words, 60).splitlines() if line.startswith("eggcache: ")]
    for plain, line in zip(piped, shown, strict=True):
        assert shlex.split(line.replace('"', "")) == shlex.split(plain.replace('"', ""))
        assert len(line) > len(plain)


def test_next_commands_stay_in_one_piece(place: Place) -> None:
    """What to run next is not broken on a narrow terminal, with all commands where there are several: a line break
    within the quotes of `su -c '...'` would end its command."""
    words = place.words("archive")
    rows = on_terminal(words, 60).splitlines()
    first = next(number for number, row in enumerate(rows) if row.startswith("next: "))
    commands = [row.strip() for row in rows[first + 1 :] if row.startswith("  ")]
    (piped,) = re.findall(r"^next: .*\n((?:  .*\n)+)", place.run(words).stdout, re.M)
    assert commands == [row.strip() for row in piped.splitlines()]
    assert max(map(len, commands)) > 60


@pytest.mark.parametrize("width", [20, 60, 80])
def test_row_ends_between_words(width: int) -> None:
    """A word that fits goes to the next row as a whole, also where a row is full; a wide letter takes two cells, and an
    argument in quotes keeps its spaces."""
    text = "eggcache: 日本語日本語: it is to be; unzip it: eggcache remove '/a  b' /c"
    for more in range(width):
        rows, cells = [""], 0
        for letter in console.fitted(f"{'x' * more} {text}", width):
            size = 2 if letter in "日本語" else 1
            if cells + size > width:
                rows.append("")
                cells = 0
            rows[-1] += letter
            cells += size
        assert " ".join(" ".join(rows).split()) == " ".join(f"{'x' * more} {text}".split()), rows
        assert "'/a  b'" in " ".join(rows)


def test_paragraph_keeps_every_word() -> None:
    """Wrapping loses and breaks nothing."""
    remedy = Remedy("see to it, or " * 3 + "run", "eggcache prepare /a/directory " + "--all " * 9)
    finding = Finding("a-code", "/a/very/long/path/" + "x" * 40, "the cause of it, at length " * 4, remedy, 3)
    result = Report("check", None, findings=(finding,), outcomes=())
    lines = list(findings_table.lines(result, "nobody", width=30))
    assert lines[0] == "a-code"
    assert lines[-1].strip() == remedy.command.strip()  # to be copied
    text = " ".join(" ".join(lines).split())
    assert text == " ".join(f"{finding.code} {finding.thing} {finding.cause} -> {finding.remedy}".split())


def test_trace_is_fit_for_a_terminal(place: Place) -> None:
    """-vv says what led to an error, without the control characters of names; -v and less say one line."""
    bad = "/nowhere/\x1b[31m\n/cache"
    for loud, lines in (("-q", 1), ("-v", 1), ("-vv", 5)):
        result = eggcache("prepare", bad, loud, "--all", "--python", place.python, "--user", place.user)
        assert result.returncode == 1
        assert ESCAPE not in result.stderr
        said = calm(result.stderr)
        assert (len(said) > 1) == (lines > 1), said
        assert said[-1].startswith("eggcache: /nowhere/")
        assert all(line.startswith("  ") for line in said[:-1])


def test_q_and_v_change_how_much_is_said(place: Place) -> None:
    """Silence, results, a line for each egg: -q, nothing, -v; before the command and after it."""
    quiet = eggcache(*place.words("prepare", "-n", "-q"))
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (3, "", "")
    usual = eggcache(*place.words("unzip-all", "-q", "-n"))
    assert (usual.stdout, usual.stderr) == ("", "")
    some = eggcache(*place.words("prepare"))
    assert some.stdout.count("\n") == 2
    assert "made: One" not in some.stdout
    shutil.rmtree(place.cache)
    for words in (place.words("prepare", "-v"), ["-v", *place.words("prepare")]):
        assert "\nmade: One-1.0-py3.11.egg-tmp (" in "\n" + eggcache(*words).stdout
        shutil.rmtree(place.cache)


def test_full_disk_behind_stdout(place: Place) -> None:
    """Results that cannot be written are a failure, in one line."""
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "eggcache", *place.words("tree")], cwd=ROOT, env=environment(), stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "eggcache: stdout: No space left on device; what was done is done"
    assert "Traceback" not in result.stderr


# ------------------------------------------------------------------------------------- what -n says is what is done


def told(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of the summary, in the same words whether it would be done or was."""
    lines = result.stdout.replace("would be ", "").splitlines()
    return sorted(line for line in lines if not line.startswith(("next: ", "with: ", "kept: ")))


def dry_and_real(place: Place, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What a dry run says, which has to leave everything as it is, and what the real run then says; -v for both."""
    before = listing(place.top)
    as_object = eggcache(*words, "-n", "--json")
    dry = eggcache(*words, "-n", "-v")
    assert listing(place.top) == before
    real = eggcache(*words, "-v")
    assert dry.returncode == real.returncode == as_object.returncode, dry.stderr + real.stderr
    assert as_json(as_object)["dry_run"] is True
    assert told(dry), "nothing would be done"
    assert told(dry) == told(real)
    return calm(dry.stderr), calm(real.stderr)


def test_dry_prepare_says_what_the_real_one_does(place: Place) -> None:
    """A dry prepare says each directory that the real one makes, replaces and removes, and finds the same."""
    dry, real = dry_and_real(place, place.words("prepare"))
    assert dry == real
    write_egg(place.eggs / "One-1.0-py3.11.egg", {"one/__init__.py": "", "one/other.txt": "two\n"})
    write_egg(place.eggs / "Three-1.0-py3.11.egg", {"three.py": ""})
    dry, real = dry_and_real(place, place.words("prepare"))
    assert dry == real
    (place.eggs / "Three-1.0-py3.11.egg").unlink()
    listed = set(os.listdir(place.cache))
    dry, real = dry_and_real(place, place.words("prepare", "--prune"))
    assert dry == real
    assert listed - set(os.listdir(place.cache)) == {"Three-1.0-py3.11.egg-tmp"}


def test_dry_reset_says_what_the_real_one_moves(place: Place, nobody: pwd.struct_passwd) -> None:
    """A dry --reset says what the real one moves aside, and why."""
    place.cache.mkdir()
    os.chown(place.cache, nobody.pw_uid, nobody.pw_gid)
    dry, real = dry_and_real(place, place.words("prepare", "--reset"))
    (would,) = set(dry) - set(real)
    (was,) = set(real) - set(dry)
    assert re.fullmatch(
        rf"eggcache: {place.cache}: .*nobody.*would be moved aside, to {place.cache}\.aside-\.\.\.", would
    )
    assert re.fullmatch(rf"eggcache: {place.cache}: .*moved aside to {place.cache}\.aside-[0-9a-f]+(; .*)?", was)
    # nothing was prepared there before: to do it again is to do nothing
    assert told(eggcache(*place.words("prepare", "--reset", "-n")))[-1] == "nothing to do: all of it is current"


def test_dry_unzip_says_what_the_real_one_unzips(place: Place) -> None:
    """A dry unzip-all says each egg that the real one unzips."""
    backup = place.top / "backup"
    backup.mkdir()
    dry, real = dry_and_real(place, [*place.words("unzip-all"), "--backup", str(backup)])
    assert [line for line in real if "restart every server" not in line and "put the zips back" not in line] == dry
    assert sorted(os.listdir(backup)) == ["One-1.0-py3.11.egg", "Two-1.0-py3.11.egg"]
    assert all(path.is_dir() for path in place.eggs.iterdir() if path.suffix == ".egg")


@pytest.mark.parametrize("reset", [False, True])
def test_dry_run_refuses_what_the_real_one_refuses(place: Place, nobody: pwd.struct_passwd, reset: bool) -> None:
    """What the real run refuses, the dry one refuses in the same words, with the same exit status."""
    shared = place.top / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    open_to_all = place.top / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    for directory in (shared, open_to_all / "cache", place.top / "not" / "there"):
        words = place.words("prepare", *(["--reset"] if reset else []))
        words[1] = str(directory)
        before = listing(place.top)
        dry, real = eggcache(*words, "-n"), eggcache(*words)
        assert listing(place.top) == before
        assert (dry.returncode, dry.stdout) == (real.returncode, real.stdout), directory
        assert calm(dry.stderr) == calm(real.stderr), directory
        assert dry.returncode in (1, 4)


def test_reader_of_messages_goes_away(place: Place) -> None:
    """A command whose messages nobody reads any more ends as it would have ended."""
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "eggcache", "tree", "--python", "/not/there"], cwd=ROOT, env=environment(),
        stdout=subprocess.PIPE, stderr=write, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert (result.returncode, result.stdout) == (2, "")


def test_one_line_escapes() -> None:
    """No control character, no direction mark and no half of a character gets through."""
    assert console.one_line("a\x1b[31m\nb\u202ec\udc80\x85é日") == "a\\x1b[31m\\nb\\u202ec\\udc80\\x85é日"
