"""The emitted scripts, run by dash: against an apachectl that records, and against Debian's real Apache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.emitted import INSIDE_SYSTEMD, NASTY, Server, alive, executable, uid_of, variables, wait_for
from support.parts import missing

from eggcache.errors import UsageError
from eggcache.servers.apache import Apache
from eggcache.servers.systemd import Unit
from eggcache.wrappers import destination, emission
from eggcache.wrappers.kinds import WrapperSettings

SCRIPTS = sorted(kind for kind in emission.KINDS if emission.KINDS[kind].executable)  # the rest: test_kinds.py
FAILURES = [1, 2, 4, 75, 126, 137]
HARMLESS = [
    ["stop"],
    ["graceful-stop"],
    ["status"],
    ["fullstatus"],
    ["configtest"],
    ["help"],
    ["-t"],
    ["-v"],
    ["-V"],
    ["-l"],
    ["-L"],
    ["-S"],
    ["-M"],
    ["-h"],
    ["-k", "stop"],
    ["-kstop"],
    ["-k", "graceful-stop"],
    ["-f", "/etc/x.conf", "-k", "stop"],
    ["-t", "-D", "DUMP_RUN_CFG"],
    ["-D", "DUMP_RUN_CFG", "-t"],
    ["-d", "", "-t"],
]
STARTING = [
    [],
    ["start"],
    ["restart"],
    ["graceful"],
    ["startssl"],
    ["-k", "start"],
    ["-k", "restart"],
    ["-kgraceful"],
    ["-k"],
    ["-X"],
    ["-f", "-t"],
    ["-D", "stop", "-k", "start"],
    ["-D", "-t"],
    ["-c", "-k", "stop"],
    ["unknown"],
    [""],
    ["-f", "a b", "-k", "start", "*", "$HOME"],
]


@dataclass
class Emitted:
    """A wrapper with a prepare command of the test's own, and what they have done."""

    directory: str
    script: Path
    prepare: Path
    home: Path

    def run(
        self, *arguments: str, before: Sequence[str] = (), **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        """In the environment that an init script may get: PATH alone, and a working directory of no meaning."""
        return subprocess.run(
            [*before, "dash", self.script, *arguments],
            env={"PATH": "/usr/bin:/bin", **environment},
            cwd="/proc",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )

    def prepared(self) -> list[list[str]]:
        """The argument lists with which prepare was called."""
        file = self.home / "prepared"
        calls = file.read_bytes().split(b"\0\n") if file.exists() else [b""]
        return [[os.fsdecode(word) for word in call.split(b"\0")] for call in calls[:-1]]

    def fail(self, status: int) -> None:
        (self.home / "status").write_text(str(status))


@pytest.fixture
def emit(tmp_path: Path) -> Callable[..., Emitted]:
    """A factory: emit(kind, name) writes a wrapper whose directory, prepare and apachectl are called `name`."""

    def make(
        kind: str, name: str = "plain", *, edit: Callable[[str], str] = lambda text: text, **values: Any
    ) -> Emitted:
        if not shutil.which("dash"):
            missing("dash is not installed")
        inside = tmp_path / name
        inside.mkdir(exist_ok=True)
        prepare = executable(
            inside / f"prepare {name}",
            f"""printf '%s\\0' "$@" >>{tmp_path}/prepared; echo >>{tmp_path}/prepared
            printf %s "${{TZ-unset}}" >{tmp_path}/prepare.tz
            pwd >{tmp_path}/prepare.pwd
            echo noise
            [ ! -f {tmp_path}/status ] || exit "$(cat {tmp_path}/status)" """,
        )
        recording = inside / f"apachectl {name}"
        if "apachectl" not in values:
            executable(
                recording,
                f"""for word; do printf '%s\\0' "$word"; done >{tmp_path}/arguments; env -0 >{tmp_path}/environment
                umask >{tmp_path}/umask; pwd >{tmp_path}/pwd; echo out; echo err >&2; exit 42""",
            )
        arguments: dict[str, Any] = {
            "prepare": [str(prepare), "prepare", str(inside), "--path", name, "--", "TurboGears"],
            "timezone": None,
            "apachectl": str(recording),
            "pid_file": str(inside / "apache.pid"),
        }
        text = emission.wrapper(kind, WrapperSettings(str(inside), **{**arguments, **values}))
        script = tmp_path / kind
        destination.write(str(script), edit(text))
        return Emitted(str(inside), script, prepare, tmp_path)

    return make


def arguments(emitted: Emitted) -> list[str] | None:
    """What the recording apachectl was called with, None where it was not called."""
    file = emitted.home / "arguments"
    return [os.fsdecode(word) for word in file.read_bytes().split(b"\0")[:-1]] if file.exists() else None


# ------------------------------------------------------------------------------------------ the text itself


@pytest.mark.parametrize(
    "tool", [["shellcheck", "-s", "sh"], ["checkbashisms", "--posix"], ["dash", "-n"]], ids="-".join
)
@pytest.mark.parametrize("kind", SCRIPTS)
@pytest.mark.parametrize("name", NASTY)
def test_scripts_are_posix_sh(emit: Callable[..., Emitted], kind: str, name: str, tool: list[str]) -> None:
    """The scripts are POSIX sh without a warning, whatever the directory is called."""
    if not shutil.which(tool[0]):
        missing(f"{tool[0]} is not installed")
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    result = subprocess.run(
        [*tool, emit(kind, name, timezone="Europe/Madrid").script], env=environment, capture_output=True
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


@pytest.mark.parametrize("kind", SCRIPTS)
def test_no_value_in_a_comment(emit: Callable[..., Emitted], kind: str) -> None:
    """A comment ends where a directory's name has a newline, so no comment of the script holds one."""
    text = emit(kind, "secret\nname").script.read_text()
    assert not [line for line in text.splitlines() if line.startswith("#") and "secret" in line]


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "nonsense"},
        {"directory": "relative"},
        {"apachectl": "apachectl"},
        {"prepare": ["eggcache", "prepare"]},
        {"pid_file": "apache.pid"},
        {"pid_file": ""},
        {"directory": "/a\0b"},
        {"name": "a b"},
        {"name": "a\nb"},
        {"name": "../x"},
        {"unit": "x\n[Service]"},
    ],
)
def test_script_that_could_not_work_is_refused(values: dict[str, Any]) -> None:
    """What cannot make a script that works from everywhere is refused, in one line."""

    def text(kind: str, **given: Any) -> str:
        return emission.wrapper(kind, WrapperSettings(**given))

    good: dict[str, Any] = {
        "kind": "init.d",
        "directory": "/d",
        "prepare": ["/p"],
        "timezone": None,
        "apachectl": "/a",
        "pid_file": "/f",
    }
    text(**good)
    with pytest.raises(UsageError) as caught:
        text(**{**good, **values})
    assert "\0" not in str(caught.value)


def test_apachectl_needs_no_pid_file() -> None:
    """Only the init script has to know the pid file."""
    assert emission.wrapper("apachectl", WrapperSettings("/d", ["/p"], None, apachectl="/a"))


def test_from_a_zip(tmp_path: Path) -> None:
    """The templates are found where eggcache itself runs from a zip."""
    source = Path(emission.__file__).parents[1]
    archive = tmp_path / "eggcache.pyz"
    with zipfile.ZipFile(archive, "w") as out:
        for file in [*source.rglob("*.py"), *(source / "wrappers" / "templates").iterdir()]:
            out.write(file, f"eggcache/{file.relative_to(source)}")
    call = "emission.wrapper('init.d', kinds.WrapperSettings('/d', ['/p'], None, '/a', '/f'))"
    code = f"from eggcache.wrappers import emission, kinds; print(emission.__file__); print({call})"
    environment = {"PYTHONPATH": str(archive)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, cwd="/", capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(archive))
    assert "\n#!/bin/sh\n" in result.stdout


# --------------------------------------------------------------------------------- the apachectl that prepares


@pytest.mark.parametrize("name", NASTY)
def test_values_arrive_byte_for_byte(emit: Callable[..., Emitted], name: str) -> None:
    """Directory, zone, prepare's and apachectl's own path and arguments arrive byte for byte."""
    emitted = emit("apachectl", name, timezone=f":/zone/{name}")
    given = ["-k", "start", "", "a b", name, "*"]
    result = emitted.run(*given, HOME="/nowhere", LANG="xx_XX")
    assert result.returncode == 42
    assert result.stdout == b"out\n"  # what prepare says goes to stderr: apachectl's answers are read by programs
    assert b"noise" in result.stderr
    assert arguments(emitted) == given
    assert emitted.prepared() == [["prepare", emitted.directory, "--path", name, "--", "TurboGears"]]
    environment = variables((emitted.home / "environment").read_bytes())
    assert environment["PYTHON_EGG_CACHE"] == emitted.directory
    assert environment["TZ"] == f":/zone/{name}"
    assert (environment["HOME"], environment["LANG"]) == ("/nowhere", "xx_XX")
    assert (emitted.home / "pwd").read_text() == "/proc\n"  # `-f x.conf` is relative to the caller's
    assert (emitted.home / "prepare.pwd").read_text() == "/\n"
    assert not (emitted.home / "pwned").exists()


@pytest.mark.parametrize(("timezone", "expected"), [(None, "unset"), ("", ""), ("Europe/Madrid", "Europe/Madrid")])
@pytest.mark.parametrize("kind", SCRIPTS)
def test_prepare_and_apache_have_one_zone(
    emit: Callable[..., Emitted], kind: str, timezone: str | None, expected: str
) -> None:
    """prepare and Apache have the one zone that was asked for, or none, whatever the caller's is."""
    emitted = emit(kind, timezone=timezone, edit=impatient)
    emitted.run("start", TZ="Asia/Tokyo")
    assert (emitted.home / "prepare.tz").read_text() == expected
    assert variables((emitted.home / "environment").read_bytes()).get("TZ", "unset") == expected


@pytest.mark.parametrize("given", HARMLESS, ids=" ".join)
def test_what_cannot_start_apache_prepares_nothing(emit: Callable[..., Emitted], given: list[str]) -> None:
    """A broken cache is not in the way of what cannot start Apache, and prepare is not even asked."""
    emitted = emit("apachectl")
    emitted.fail(1)
    assert emitted.run(*given).returncode == 42
    assert arguments(emitted) == given
    assert emitted.prepared() == []
    assert variables((emitted.home / "environment").read_bytes())["PYTHON_EGG_CACHE"] == emitted.directory


@pytest.mark.parametrize("given", STARTING, ids=" ".join)
def test_whatever_starts_apache_prepares_first(emit: Callable[..., Emitted], given: list[str]) -> None:
    """Whatever could start Apache prepares first, and does not reach apachectl if that fails."""
    emitted = emit("apachectl")
    assert emitted.run(*given).returncode == 42
    assert arguments(emitted) == given
    assert len(emitted.prepared()) == 1
    (emitted.home / "arguments").unlink()
    emitted.fail(1)
    assert emitted.run(*given).returncode == 1
    assert arguments(emitted) is None


def test_ready_prepares_and_starts_nothing(emit: Callable[..., Emitted]) -> None:
    """`ready` prepares and has apachectl test the configuration, whose exit status is its own; no apachectl is called
    where preparing fails."""
    emitted = emit("apachectl")
    assert emitted.run("ready").returncode == 42
    assert arguments(emitted) == ["configtest"]
    assert len(emitted.prepared()) == 1
    assert emitted.run("ready", "-f", "/srv/other.conf").returncode == 42
    assert arguments(emitted) == ["-t", "-f", "/srv/other.conf"]
    (emitted.home / "arguments").unlink()
    emitted.fail(4)
    assert emitted.run("ready").returncode == 4
    assert arguments(emitted) is None


@pytest.mark.parametrize("status", FAILURES)
def test_failed_prepare_is_the_exit_status(emit: Callable[..., Emitted], status: int) -> None:
    """The exit status of a prepare that failed is the wrapper's, and stderr says that Apache was not run."""
    emitted = emit("apachectl")
    emitted.fail(status)
    result = emitted.run("start")
    assert result.returncode == status
    assert f"(exit status {status})".encode() in result.stderr
    assert arguments(emitted) is None


def test_apache_is_not_started_without_eggcache(emit: Callable[..., Emitted]) -> None:
    """Where eggcache was uninstalled, Apache is not started."""
    emitted = emit("apachectl", prepare=["/nowhere/eggcache", "prepare"])
    assert emitted.run("start").returncode == 127
    assert arguments(emitted) is None


@pytest.mark.parametrize(("kind", "expected"), [("apachectl", "0077"), ("init.d", "0022")])
def test_init_script_gives_apache_the_umask_of_a_boot(emit: Callable[..., Emitted], kind: str, expected: str) -> None:
    """The init script gives Apache the umask that it has at boot; the other leaves the caller's, as apachectl does."""
    emitted = emit(kind, edit=impatient)
    emitted.run("start", before=["sh", "-c", 'umask 077; exec "$@"', "sh"])
    assert (emitted.home / "umask").read_text().strip() == expected


# --------------------------------------------------------------------------------------- Debian's real Apache


def impatient(text: str) -> str:
    """The scripts with a wait of two seconds at most, for the tests in which what they wait for never comes."""
    return text.replace("left=$(($1 * 10))", "left=20")


def on_server(server: Server, emit: Callable[..., Emitted], kind: str, **values: Any) -> Emitted:
    given = {"apachectl": server.apachectl, "pid_file": str(server.pid_file), **values}
    return emit(kind, "egg $cache 'x'", **given)


@pytest.mark.parametrize("timezone", [None, "America/New_York"])
def test_apache_and_its_workers_have_cache_and_zone(
    server: Server, emit: Callable[..., Emitted], timezone: str | None
) -> None:
    """Apache and its workers, as www-data, have PYTHON_EGG_CACHE and the zone in their environment."""
    emitted = on_server(server, emit, "apachectl", timezone=timezone)
    result = emitted.run("start", TZ="Asia/Tokyo", **server.environment)
    assert result.returncode == 0, result.stderr
    wait_for(lambda: server.pid() != 0)
    assert uid_of(server.pid()) == 0
    for pid in [server.pid(), *server.workers()]:
        environment = server.environ(pid)
        assert environment["PYTHON_EGG_CACHE"] == emitted.directory
        assert environment.get("TZ") == timezone
    assert server.answers()
    assert emitted.run("stop", **server.environment).returncode == 0
    wait_for(lambda: server.pid() == 0)
    assert len(emitted.prepared()) == 1


@pytest.mark.parametrize("status", FAILURES)
@pytest.mark.parametrize("kind", SCRIPTS)
def test_real_apache_is_not_started(server: Server, emit: Callable[..., Emitted], kind: str, status: int) -> None:
    """On a cache that could not be prepared Apache is not started; an init script's exit statuses are LSB's."""
    emitted = on_server(server, emit, kind)
    emitted.fail(status)
    expected = status if kind == "apachectl" or status == 4 else 1
    for action in ("start", "restart"):
        assert emitted.run(action, **server.environment).returncode == expected
        assert server.pid() == 0
    assert not server.answers()


def test_init_script_takes_apache_through_its_life(server: Server, emit: Callable[..., Emitted]) -> None:
    """The init script takes a real Apache through its life, with LSB's exit statuses, preparing before each start."""
    emitted = on_server(server, emit, "init.d", timezone="America/New_York", edit=impatient)

    def run(*action: str) -> int:
        before = server.pid()
        result = emitted.run(*action, TZ="Asia/Tokyo", **server.environment)
        said = result.stderr.replace(b"noise\n", b"")  # what prepare says is its own business
        assert result.returncode not in (0, 3) or said in (b"", b"Syntax OK\n")
        assert result.stdout == b"" or action == ("status",)
        if action[:1] in (("stop",), ("restart",), ("force-reload",), ("try-restart",)):
            assert not alive(before)  # at once: it may be about to end, but a start in between has no port
        return result.returncode

    assert (run("status"), run("stop"), run("reload"), run("force-reload"), run("try-restart")) == (3, 0, 7, 7, 0)
    assert (run("configtest"), run("nonsense"), run(), run("start", "now")) == (0, 2, 2, 2)
    assert (server.pid(), emitted.prepared()) == (0, [])

    assert run("start") == 0
    first = server.pid()
    assert first
    assert server.answers()
    for pid in [first, *server.workers()]:
        assert server.environ(pid)["PYTHON_EGG_CACHE"] == emitted.directory
        assert server.environ(pid)["TZ"] == "America/New_York"
    assert (run("status"), run("start"), run("reload"), run("graceful"), run("configtest")) == (0, 0, 0, 0, 0)
    assert (server.pid(), len(emitted.prepared())) == (first, 1)

    pids = [first]
    for action in ("restart", "force-reload", "try-restart"):
        assert run(action) == 0
        assert not alive(pids[-1])
        pids.append(server.pid())
        assert server.answers()
    assert 0 not in pids
    assert (len(set(pids)), len(emitted.prepared())) == (4, 4)

    assert run("stop") == 0
    assert not alive(pids[-1])
    assert (run("status"), run("stop")) == (3, 0)
    assert run("restart") == 0
    assert server.pid()


def test_restart_replaces_the_environment(server: Server, emit: Callable[..., Emitted]) -> None:
    """An Apache that was started without a cache has it after `restart`, though it would not after a graceful."""
    emitted = on_server(server, emit, "init.d")
    subprocess.run([server.apachectl, "start"], env={"PATH": os.environ["PATH"], **server.environment}, check=True)
    wait_for(lambda: server.pid() != 0)
    assert emitted.run("reload", **server.environment).returncode == 0
    assert "PYTHON_EGG_CACHE" not in server.environ(server.pid())
    assert emitted.run("restart", **server.environment).returncode == 0
    assert server.environ(server.pid())["PYTHON_EGG_CACHE"] == emitted.directory


@pytest.mark.parametrize("action", ["restart", "force-reload", "try-restart"])
def test_failed_prepare_keeps_the_server(server: Server, emit: Callable[..., Emitted], action: str) -> None:
    """A restart whose cache cannot be prepared leaves the running Apache alone."""
    emitted = on_server(server, emit, "init.d")
    assert emitted.run("start", **server.environment).returncode == 0
    before = server.pid()
    emitted.fail(75)
    assert emitted.run(action, **server.environment).returncode == 1
    assert server.pid() == before
    assert server.answers()
    assert emitted.run("stop", **server.environment).returncode == 0
    assert server.pid() == 0


def test_pid_file_of_a_crash_is_in_nobodys_way(server: Server, emit: Callable[..., Emitted]) -> None:
    """A pid file that a crash left is status 1, and is in the way of neither stop nor start."""
    emitted = on_server(server, emit, "init.d")
    assert emitted.run("start", **server.environment).returncode == 0
    before = server.pid()
    server.crash()
    assert emitted.run("status", **server.environment).returncode == 1
    assert emitted.run("stop", **server.environment).returncode == 0
    assert emitted.run("reload", **server.environment).returncode == 7
    assert emitted.run("start", **server.environment).returncode == 0
    assert server.pid() not in (0, before)
    assert emitted.run("status", **server.environment).returncode == 0


def test_number_of_another_program(server: Server, emit: Callable[..., Emitted]) -> None:
    """Where the number in an old pid file is now another program's, that is not Apache: start starts, stop spares."""
    emitted = on_server(server, emit, "init.d")
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            server.pid_file.write_text(f"{other.pid}\n")
            assert emitted.run("status", **server.environment).returncode == 1
            assert emitted.run("stop", **server.environment).returncode == 0
            assert other.poll() is None
            assert emitted.run("start", **server.environment).returncode == 0
            assert server.pid() not in (0, other.pid)
            assert other.poll() is None
        finally:
            other.kill()


@pytest.mark.parametrize("content", ["", "\n", "x", "-1", "0", "999999999", "1; reboot", "$(reboot)"])
def test_rubbish_in_the_pid_file(server: Server, emit: Callable[..., Emitted], content: str) -> None:
    """Whatever the pid file holds, it is a number of Apache's or it is nothing."""
    emitted = on_server(server, emit, "init.d")
    server.pid_file.write_text(content)
    assert emitted.run("status", **server.environment).returncode == 1
    assert emitted.run("stop", **server.environment).returncode == 0


def test_restart_with_a_wrong_configuration_leaves_the_server_alone(
    server: Server, emit: Callable[..., Emitted]
) -> None:
    """With a wrong configuration restart leaves the server alone (6), start fails (1), and stop stops."""
    emitted = on_server(server, emit, "init.d")
    assert emitted.run("start", **server.environment).returncode == 0
    before = server.pid()
    server.configure("Nonsense")
    result = emitted.run("restart", **server.environment)
    assert (result.returncode, server.pid(), len(emitted.prepared())) == (6, before, 1)
    assert b"Nonsense" in result.stderr
    assert emitted.run("configtest", **server.environment).returncode == 6
    assert emitted.run("stop", **server.environment).returncode == 0
    assert server.pid() == 0
    assert emitted.run("start", **server.environment).returncode == 1


def test_start_that_comes_to_nothing(server: Server, emit: Callable[..., Emitted], tmp_path: Path) -> None:
    """An apachectl that is content while no Apache comes up is not believed."""
    content = executable(tmp_path / "content", "exit 0")
    result = on_server(server, emit, "init.d", apachectl=str(content), edit=impatient).run(
        "start", **server.environment
    )
    assert result.returncode == 1
    assert b"did not start" in result.stderr


def test_stop_that_comes_to_nothing(server: Server, emit: Callable[..., Emitted], tmp_path: Path) -> None:
    """Where Apache does not end, stop says so, and restart does not start a second one."""
    deaf = executable(tmp_path / "deaf", f'[ "$1" = stop ] || exec {server.apachectl} "$@"')
    emitted = on_server(server, emit, "init.d", apachectl=str(deaf), edit=impatient)
    assert emitted.run("start", **server.environment).returncode == 0
    before = server.pid()
    for action in ("stop", "restart"):
        result = emitted.run(action, **server.environment)
        assert result.returncode == 1
        assert b"has not stopped" in result.stderr
        assert server.pid() == before


def test_stop_waits_for_the_process(server: Server, emit: Callable[..., Emitted], tmp_path: Path) -> None:
    """Apache removes its pid file before it has ended: stop waits for the process, restart finds a free port."""
    slow = executable(
        tmp_path / "slow",
        f"""[ "$1" = stop ] || exec {server.apachectl} "$@"
        pid=$(cat {server.pid_file}); mv {server.pid_file} {tmp_path}/aside; (sleep 1; kill "$pid") >&- 2>&- &""",
    )
    emitted = on_server(server, emit, "init.d", apachectl=str(slow))
    assert emitted.run("start", **server.environment).returncode == 0
    first = server.pid()
    assert emitted.run("restart", **server.environment).returncode == 0
    second = server.pid()
    assert not alive(first)
    assert second
    assert emitted.run("stop", **server.environment).returncode == 0
    assert not alive(second)


def test_two_starts_at_once(server: Server, emit: Callable[..., Emitted]) -> None:
    """Of starts at the same time one starts Apache, and all say that it runs."""
    emitted = on_server(server, emit, "init.d")
    environment = {"PATH": "/usr/bin:/bin", **server.environment}
    running = [subprocess.Popen(["dash", emitted.script, "start"], env=environment) for _ in range(4)]
    statuses = [process.wait(60) for process in running]
    assert server.pid()
    assert server.answers()
    assert 0 in statuses
    assert emitted.run("status", **server.environment).returncode == 0


def test_apache_that_was_started_meanwhile_is_left_alone(
    server: Server, emit: Callable[..., Emitted], tmp_path: Path
) -> None:
    """An Apache that somebody started while the cache was prepared is left alone, its pid file too."""
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            server.pid_file.write_text(f"{other.pid}\n")
            start = (
                f"rm {server.pid_file}; {server.apachectl} start; until [ -s {server.pid_file} ]; do sleep 0.1; done"
            )
            prepare = executable(tmp_path / "prepare-and-start", start)
            emitted = on_server(server, emit, "init.d", prepare=[str(prepare)])
            assert emitted.run("start", **server.environment).returncode == 0
            assert server.pid()
        finally:
            other.kill()


def test_uninstalled_apache_is_status_5(emit: Callable[..., Emitted]) -> None:
    """Where Apache was uninstalled, the init script says so with LSB's 5, and status still answers."""
    emitted = emit("init.d", apachectl="/nowhere/apachectl")
    assert [emitted.run(action).returncode for action in ("start", "stop", "restart", "reload")] == [5, 5, 5, 5]
    assert emitted.run("status").returncode == 3
    assert emitted.prepared() == []


def test_status_without_rights_is_unknown(server: Server, emit: Callable[..., Emitted]) -> None:
    """A user who cannot look at the pid file is told that (LSB's 4), not that Apache is stopped."""
    emitted = on_server(server, emit, "init.d")
    server.pid_file.parent.chmod(0o700)
    for directory in (emitted.home, *emitted.home.parents):
        if not os.stat(directory).st_mode & 0o001:
            os.chmod(directory, 0o711)  # the tests' own
    result = emitted.run("status", before=["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"])
    assert result.returncode == 4, result.stderr


# --------------------------------------------------------------------------------------------- under systemd


def test_apachectl_under_systemd_is_refused(server: Server, emit: Callable[..., Emitted]) -> None:
    """Under systemd Debian's apachectl would have systemctl start Apache: refused, before anything is prepared."""
    emitted = on_server(server, emit, "apachectl", private_tmp=False)
    for word in ("ready", "start"):
        result = emitted.run(word, before=INSIDE_SYSTEMD, **server.environment)
        assert result.returncode == 1
        assert b"[Service]\nEnvironment=" in result.stderr
        assert b"/etc/systemd/system/apache2.service.d/50-eggcache.conf" in result.stderr
        assert (emitted.prepared(), server.pid()) == ([], 0)


def test_systemd_not_involved(server: Server, emit: Callable[..., Emitted]) -> None:
    """What Debian's apachectl does not hand over works under systemd: -k, stop, -t, and start in the unit itself."""
    emitted = on_server(server, emit, "apachectl")
    assert emitted.run("-t", before=INSIDE_SYSTEMD, **server.environment).returncode == 0
    for given, more in ((["-k", "start"], {}), (["start"], {"APACHE_STARTED_BY_SYSTEMD": "true"})):
        assert emitted.run(*given, before=INSIDE_SYSTEMD, **server.environment, **more).returncode == 0
        wait_for(lambda: server.pid() != 0)
        assert server.environ(server.pid())["PYTHON_EGG_CACHE"] == emitted.directory
        assert emitted.run("graceful", before=INSIDE_SYSTEMD, **server.environment).returncode == 0
        assert emitted.run("stop", before=INSIDE_SYSTEMD, **server.environment).returncode == 0
        wait_for(lambda: server.pid() == 0)


def test_systemd_init_script(server: Server, emit: Callable[..., Emitted]) -> None:
    """The init script refuses under systemd as well, and a restart that is refused has stopped nothing. It looks for no
    program along the PATH of whoever calls it."""
    emitted = on_server(server, emit, "init.d")
    (emitted.home / "planted").mkdir()
    planted = executable(emitted.home / "planted" / "grep", f"touch {emitted.home}/ran")
    emitted.run("status", before=INSIDE_SYSTEMD, **{**server.environment, "PATH": f"{planted.parent}:/usr/bin:/bin"})
    assert not (emitted.home / "ran").exists()
    assert emitted.run("start", before=INSIDE_SYSTEMD, **server.environment).returncode == 1
    assert emitted.prepared() == []
    assert emitted.run("start", **server.environment).returncode == 0
    before = server.pid()
    for action in ("restart", "force-reload", "try-restart"):
        assert emitted.run(action, before=INSIDE_SYSTEMD, **server.environment).returncode == 1
    assert server.pid() == before
    assert emitted.run("status", before=INSIDE_SYSTEMD, **server.environment).returncode == 0
    assert emitted.run("stop", before=INSIDE_SYSTEMD, **server.environment).returncode == 0
    assert server.pid() == 0


@pytest.mark.parametrize(
    ("script", "refused"),
    [
        (b"#!/bin/sh\ncase $1 in start|restart) systemctl $1 httpd ;; esac\n", ["start", "restart"]),
        (b"#!/bin/sh\n# not systemctl\nexit 0\n", []),
    ],
    ids=["RHEL's", "self-compiled"],
)
def test_systemd_other_apachectl(
    emit: Callable[..., Emitted], tmp_path: Path, script: bytes, refused: list[str]
) -> None:
    """RHEL's apachectl hands over restart as well; a self-compiled one hands over nothing."""
    if os.geteuid() != 0:
        missing("only root can have a mount namespace")
    other = executable(tmp_path / "other", "")
    other.write_bytes(script.replace(b"systemctl $1 httpd", b"true systemctl"))
    emitted = emit("apachectl", apachectl=str(other))
    actions = [a for a in ("start", "restart", "graceful", "stop") if emitted.run(a, before=INSIDE_SYSTEMD).returncode]
    assert actions == refused


def test_systemd_compiled_apachectl(emit: Callable[..., Emitted], tmp_path: Path) -> None:
    """A binary is run, whatever words are in it."""
    if os.geteuid() != 0:
        missing("only root can have a mount namespace")
    binary = tmp_path / "binary"
    shutil.copy("/bin/true", binary)
    with binary.open("ab") as file:
        file.write(b"\nsystemctl\n")
    assert emit("apachectl", apachectl=str(binary)).run("start", before=INSIDE_SYSTEMD).returncode == 0


@pytest.mark.parametrize("name", [name for name in NASTY if "utf8" not in name])
@pytest.mark.parametrize("timezone", [None, "Europe/Madrid"])
def test_systemd_accepts_the_dropin(
    emit: Callable[..., Emitted], tmp_path: Path, name: str, timezone: str | None
) -> None:
    """systemd itself has nothing against the drop-in that the scripts print."""
    if not shutil.which("systemd-analyze"):
        missing("systemd is not installed")
    program = executable(tmp_path / "100%n of $HOME", "")  # systemd takes no quote or control character in its path
    prepare = [str(program), "prepare", f"/{name}", "--lenient"]
    emitted = emit("apachectl", name, timezone=timezone, prepare=prepare)
    text = emitted.script.read_text().partition("<<'END_OF_DROPIN'\n")[2].partition("\nEND_OF_DROPIN\n")[0]
    units = tmp_path / "units"
    (units / "apache2.service.d").mkdir(parents=True)
    (units / "apache2.service").write_text("[Service]\nExecStart=/bin/true\n")
    (units / "apache2.service.d" / "50-eggcache.conf").write_text(text)

    def complaints() -> str:
        argv = ["systemd-analyze", "verify", "--man=no", "--generators=no", str(units / "apache2.service")]
        result = subprocess.run(argv, capture_output=True, text=True)
        return "".join(line for line in result.stderr.splitlines(True) if "apache2.service" in line)

    assert complaints() == ""


def test_dropin_for_a_directory_in_tmp() -> None:
    """No drop-in is advised for a cache in a /tmp that the unit may not see; any other is read-only there."""
    for private_tmp in (None, True):
        hidden = emission.wrapper("apachectl", WrapperSettings("/tmp/x", ["/p"], None, "/a", private_tmp=private_tmp))
        assert "[Service]" not in hidden
        assert "\n#   eggcache wrapper /var/cache/eggcache --for systemd\n" in hidden
    seen = emission.wrapper("apachectl", WrapperSettings("/tmp/x", ["/p"], None, "/a", private_tmp=False))
    assert '\nReadOnlyPaths="-/tmp/x"\n' in seen
    elsewhere = emission.wrapper("apachectl", WrapperSettings("/var/cache/x", ["/p"], None, "/a"))
    assert '\nReadOnlyPaths="-/var/cache/x"\n' in elsewhere


def test_emitter_warns_of_what_will_fail_alone() -> None:
    """The emitter warns of what the script will refuse and of what Apache will not see, and of nothing else."""
    under = Apache(
        "/usr/sbin/apache2ctl", "www-data", "www-data", None, True, Unit("apache2.service", private_tmp=True), True
    )

    def codes(directory: str, **values: Any) -> list[str]:
        return [f.code for f in emission.warnings("init.d", directory, Apache(**{**vars(under), **values}))]

    assert codes("/var/cache/x") == ["systemd-starts-apache"]
    assert codes("/tmp/x") == ["systemd-starts-apache", "private-tmp"]
    assert codes("/tmp/x", hands_over=False) == ["private-tmp"]
    assert codes("/tmp/x", systemd=False) == []
    assert all(finding.status == 0 for finding in emission.warnings("apachectl", "/tmp/x", under))
    for kind, debian, refuses in (("apachectl", False, True), ("envvars", True, True), ("envvars", False, False)):
        (finding,) = emission.warnings(kind, "/var/cache/x", under, debian=debian)
        assert ("the wrapper will refuse" in finding.cause) is refuses  # which a text of no Debian's cannot


# --------------------------------------------------------------- an Apache that runs already, or is about to end


@dataclass
class Way:
    """One way of starting Apache that eggcache emits a script for."""

    run: Callable[..., subprocess.CompletedProcess[bytes]]
    restart: str  # what starts it anew for sure
    failed: int
    environment: dict[str, str] = field(default_factory=dict)  # of whoever uses it


@pytest.fixture(params=[("apachectl", "prefork"), ("init.d", "event"), ("envvars", "worker")], ids="-".join)
def way(request: pytest.FixtureRequest, server: Server, emit: Callable[..., Emitted], tmp_path: Path) -> Way:
    """Each of the scripts, for a directory with spaces and quotes and a newline in its name; they tell an Apache that
    is about to end by the same text, so each has another kind of Apache."""
    (kind, server.mpm), name = request.param, "egg $cache\n'x'"
    server.configure()
    values: dict[str, Any] = {"apachectl": server.apachectl, "pid_file": str(server.pid_file), "debian": True}
    # Four seconds in place of fifteen: the tests' Apache takes two
    values["edit"] = lambda text: text.replace("left=$(($1 * 10))", "left=$(($1 * 3))")
    if kind != "envvars":
        return Way(emit(kind, name, **values).run, "restart" if kind == "init.d" else "", 1)
    with (server.home / "envvars").open("a") as file:
        file.write(f"export APACHE_PID_FILE={server.pid_file}\n")
    emitted = emit(kind, name, **values)

    def run(action: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        more = {"PATH": "/usr/bin:/bin", "APACHE_ENVVARS": str(emitted.script), **environment}
        return subprocess.run([server.apachectl, action], env=more, capture_output=True, timeout=120)

    return Way(run, "", 1, {"APACHE_ENVVARS": str(emitted.script)})


def slow_to_stop(server: Server, place: Path) -> Callable[[], bool]:
    """A real Apache of which a worker takes a while to end after it was told to, as mod_wsgi's do; what is returned
    says whether one does by now. `place` is one that its user can read."""
    module = Path("/usr/lib/apache2/modules/mod_wsgi.so")
    if not module.exists():
        missing("Debian's libapache2-mod-wsgi-py3 is not installed")
    loaded, script = place / "loaded", place / "slow.wsgi"
    loaded.mkdir()
    loaded.chmod(0o777)
    script.write_text(
        "import atexit, os, time\natexit.register(time.sleep, 1.5)\n"
        f"open({str(loaded)!r} + '/' + str(os.getpid()), 'w')\n"
    )
    server.configure(
        f"LoadModule wsgi_module {module}\nWSGIRestrictStdout Off\n"
        f"WSGIImportScript {script} process-group=%{{GLOBAL}} application-group=%{{GLOBAL}}"
    )
    return lambda: any(int(path.name) in server.workers() for path in loaded.iterdir())


@pytest.mark.parametrize("had", ["without", "with"])
def test_stopped_and_started(server: Server, way: Way, had: str, shared_tmp: Path) -> None:
    """`apachectl stop` and then a start ends with a running Apache that has the cache, though the old one takes its
    time, and whatever the old one had."""
    slow = slow_to_stop(server, shared_tmp)
    plain = {"PATH": os.environ["PATH"], **server.environment}
    if had == "with":
        assert way.run("start", **server.environment).returncode == 0
    else:
        subprocess.run([server.apachectl, "start"], env=plain, check=True)
    wait_for(lambda: server.pid() != 0)
    wait_for(slow)
    first = server.pid()
    subprocess.run([server.apachectl, "stop"], env=plain, check=True)
    assert alive(first)  # else nothing was tested
    result = way.run("start", **server.environment)
    assert result.returncode == 0, result.stderr
    assert f"(process {first}) serves nobody".encode() in result.stderr
    wait_for(lambda: server.pid() not in (0, first))
    assert server.environ(server.pid())["PYTHON_EGG_CACHE"].endswith("egg $cache\n'x'")
    time.sleep(0.5)
    assert alive(server.pid())


def test_running_without_the_cache(server: Server, way: Way, emit: Callable[..., Emitted]) -> None:
    """A start with an Apache that runs without this cache says so and fails; one that has it is fine. Neither waits."""
    environment = {"PATH": os.environ["PATH"], **server.environment}
    subprocess.run([server.apachectl, "start"], env=environment, check=True)
    wait_for(lambda: server.pid() != 0)
    before = server.pid()
    server.workers()
    result = way.run("start", **server.environment)
    assert result.returncode == way.failed
    assert b"waiting" not in result.stderr
    assert f"(process {before}) was started without this egg cache".encode() in result.stderr
    assert server.pid() == before
    result = way.run("graceful", **server.environment)
    assert result.returncode == 0
    # What cures it is the end of the message, and can be typed as it stands.
    cure = re.search(rb"was started without this egg cache.*: (/.*)", result.stderr)
    assert cure, result.stderr
    subprocess.run(["sh", "-c", cure[1]], env={**environment, **way.environment}, capture_output=True, check=True)
    wait_for(lambda: server.pid() not in (0, before))
    before = server.pid()
    server.workers()
    result = way.run("start", **server.environment)
    assert (result.returncode, server.pid()) == (0, before)
    assert result.stderr in (b"", b"noise\n")


@pytest.mark.parametrize("kind", SCRIPTS)
def test_what_cannot_be_told(server: Server, emit: Callable[..., Emitted], kind: str) -> None:
    """Where it cannot be read what the Apache that runs was started with, nothing is said of it: no failure."""
    environment = {"PATH": os.environ["PATH"], **server.environment}
    subprocess.run([server.apachectl, "start"], env=environment, check=True)
    wait_for(lambda: server.pid() != 0)
    hidden = ["unshare", "-m", "sh", "-c", f'mount --bind /dev/null /proc/{server.pid()}/environ; exec "$@"', "sh"]
    emitted = on_server(server, emit, kind, edit=impatient)
    result = emitted.run("start", before=hidden, **server.environment)
    assert result.returncode == 0, result.stderr
    assert b"without this egg cache" not in result.stderr


def test_stop_returns_when_apache_has_ended(server: Server, emit: Callable[..., Emitted], shared_tmp: Path) -> None:
    """The script in place of apachectl returns from `stop` when Apache has ended."""
    slow = slow_to_stop(server, shared_tmp)
    emitted = on_server(server, emit, "apachectl")
    assert emitted.run("start", **server.environment).returncode == 0
    wait_for(lambda: server.pid() != 0)
    wait_for(slow)
    before = server.pid()
    assert emitted.run("stop", **server.environment).returncode == 0
    assert not alive(before)
