"""progress: a bar where a person watches and waits, lines where a log is kept, nothing where nothing takes long."""

from __future__ import annotations

import fcntl
import io
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import ROOT
from support.deployment import Deployment
from support.judge import environment
from support.sites import named, write_egg
from support.terminals import show

from eggcache import progress
from eggcache.progress import Display, Log, Progress


class Clock:
    """Stands in for time.monotonic: what is tested is what happens after a second, not how long a second is."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_log_of_what_took_long(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """A phase that took longer than a second leaves a line, when it is over."""
    with Log(False) as log:
        log.phase("asking")
        clock.now += 0.9
        log.phase("extracting", 100)
        log.advance(1200, 60)
        clock.now += 2.5
        log.advance(34, 40)
        assert capsys.readouterr().err == ""
        log.phase("writing to the disk")
        clock.now += 1.0
    assert capsys.readouterr().err == (
        "eggcache: extracting: 1,234 files in 2.5 s\neggcache: writing to the disk: 1.0 s\n"
    )


def test_log_of_everything(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """With -v each phase leaves one."""
    with Log(True) as log:
        log.phase("asking")
        log.phase("extracting")
    assert capsys.readouterr().err == "eggcache: asking: 0.0 s\neggcache: extracting: 0.0 s\n"


def test_names_are_fit_for_a_terminal(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """What a phase is called, after a path perhaps, is escaped, in a line and in a bar."""
    with Log(True) as log:
        log.phase("asking \x1b]0;owned\x07\x9b2J\n")
    assert capsys.readouterr().err == "eggcache: asking \\x1b]0;owned\\x07\\x9b2J\\n: 0.0 s\n"
    with Display() as display:
        display.phase("asking \x1b[2J\x07")
        clock.now += 1.1
        display.tick()
        assert display.bar is not None
        assert [task.description for task in display.bar.tasks] == ["asking \\x1b[2J\\x07"]


def test_nothing_is_drawn_before_a_second_is_over(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn, and rich is not loaded, before a second is over."""
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with Display() as display:
        display.phase("extracting", 100)
        clock.now += 0.99
        display.advance(1, 1)
        display.tick()
        clock.now += 0.02
        with pytest.raises(ImportError):
            display.tick()


def test_each_kind_of_output_gets_the_progress_that_suits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quiet is quiet; what is no terminal, or cannot move its cursor, gets lines, as with -v."""
    monkeypatch.setenv("TERM", "xterm")
    assert type(progress.watched(True, True)) is Progress
    assert type(progress.watched(False, False)) is Log
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert type(progress.watched(False, False)) is Display
    assert type(progress.watched(False, True)) is Log
    for term in ("dumb", None):
        monkeypatch.setenv("TERM", term) if term else monkeypatch.delenv("TERM")
        assert type(progress.watched(False, False)) is Log


@dataclass(frozen=True)
class Place:
    """A target with an egg of fifty files and its PKG-INFO, and where commands write."""

    python: Path
    eggs: Path
    cache: Path
    out: Path

    def slow(self) -> None:
        """Have the target take more than the second to start after which it is worth a word."""
        site = next(self.python.parent.parent.glob("lib/python3*/site-packages"))
        (site / "slow.pth").write_text("import time; time.sleep(1.3)\n")

    def words(self, name: str) -> list[str]:
        """A command line of that command."""
        where = {
            "prepare": [self.cache],
            "remove": [self.cache],
            "wheels": [self.out],
            "check": ["--cache", self.cache],
        }
        eggs = named(self.eggs) if name == "unzip-all" else ["--path", self.eggs]
        more = ["--all", *eggs, "--python", self.python] if name != "remove" else []
        if name in ("prepare", "check"):
            more += ["--user", "nobody"]  # as whom no Apache of another test runs
        return [sys.executable, "-m", "eggcache", name, *map(str, where.get(name, [])), *map(str, more)]

    def run(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run it where no stream is a terminal."""
        words = [*self.words(name), *more]
        time.sleep(0.1)  # else unzip-all may take what was written just now for another run's work, and ask again
        return subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)


@pytest.fixture
def place(own: Deployment, shared_tmp: Path) -> Place:
    made = Place(own.python, shared_tmp / "eggs", shared_tmp / "cache", shared_tmp / "out")
    made.eggs.mkdir()
    write_egg(made.eggs / "One-1.0-py3.11.egg", {f"one/{number}.txt": "x" * 50 for number in range(50)})
    return made


def test_log_of_a_real_run(place: Place) -> None:
    """A run whose target is slow says so in a log, once; a quiet one does not."""
    place.slow()
    with ThreadPoolExecutor() as pool:  # they wait most of their time
        dry = [(name, "-q", *(["-n"] if name != "tree" else [])) for name in ("prepare", "wheels", "tree", "unzip-all")]
        for quiet in pool.map(lambda words: place.run(*words), dry):
            assert (quiet.returncode, quiet.stderr) == (0, "")
        for together in (["prepare"], ["check", "wheels", "tree"], ["unzip-all"]):
            write_egg(place.eggs / f"Of_{together[0].replace('-', '_')}-1.0-py3.11.egg", {"of.py": ""})
            for name, result in zip(together, pool.map(place.run, together)):  # each has something to do
                assert result.returncode == (3 if name == "check" else 0), result.stderr
                lines = [line for line in result.stderr.splitlines() if "for the tree" in line]
                assert len(lines) == 1, (name, result.stderr)
                (line,) = lines
                assert re.fullmatch(rf"eggcache: asking {re.escape(str(place.python))} for the tree: \d+\.\d s", line)
    assert place.run("check", "-q").stderr == ""


def test_messages_that_nobody_takes(place: Place) -> None:
    """Where stderr is a full disk or a closed pipe, everything is done all the same, with the same exit status."""
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full", "wb") as full, open(writing, "wb") as pipe:
        for stderr in (full, pipe):
            for name in ("prepare", "check", "wheels", "tree", "remove", "unzip-all"):
                result = subprocess.run(
                    [*place.words(name), "-v"], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=stderr,
                    check=False, text=True,
                )  # fmt: skip
                told = bool(result.stdout)
                assert (result.returncode, told) == (0, name != "unzip-all" or stderr is full), (name, result.stdout)
            assert list(place.out.glob("*.whl"))
            assert not list(place.cache.parent.glob("cache*"))
            shutil.rmtree(place.out)
    lock = os.open(place.eggs, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_egg(place.eggs / "Two-1.0-py3.11.egg", {"two.py": ""})
        with open("/dev/full", "wb") as full:
            words = [*place.words("unzip-all"), "-v", "--wait", "0"]
            result = subprocess.run(words, cwd=ROOT, env=environment(), stderr=full, check=False, text=True)
    finally:
        os.close(lock)
    assert result.returncode == 75


def test_terminal_that_is_gone(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be drawn any more is not, and the work goes on."""
    with open("/dev/full", "wb", buffering=0) as raw, Display() as display:
        full, bar = io.TextIOWrapper(raw, write_through=True), progress._bar
        monkeypatch.setattr(progress, "_bar", lambda: bar(full))
        display.phase("asking")
        clock.now += 1.1
        display.tick()
        display.phase("extracting", 10)
        clock.now += 1.1
        display.advance(1, 5)
        assert display.bar is None
        monkeypatch.setattr(progress, "_bar", None)
        clock.now += 1.1
        display.advance(1, 5)
        full.detach()  # with what could not be written


def test_log_has_a_line_for_each_phase(place: Place) -> None:
    """With -v a log has a line for each phase, with the files of those that go through files."""
    phases = {
        "prepare": ["asking PYTHON for the tree", "waiting for the lock of CACHE", "extracting: 51 files",
                    "writing to the disk"],
        "check": ["waiting for the lock of CACHE", "asking PYTHON for the tree", "comparing with the eggs: 51 files",
                  "asking PYTHON what it gets"],
        "wheels": ["asking PYTHON for the tree", "looking for eggs that are passed over",
                   "waiting for the lock of OUT", "writing wheels: 50 files", "writing to the disk"],
        "tree": ["asking PYTHON for the tree"],
        "remove": ["waiting for the lock of CACHE", "removing: 51 files"],
        "unzip-all": ["asking PYTHON for the tree", "looking for eggs that are passed over",
                      "waiting for the lock of EGGS", "extracting: 51 files", "byte-compiling", "writing to the disk"],
    }  # fmt: skip
    for name, expected in phases.items():
        said = place.run(name, "-v").stderr
        for path, placeholder in (
            (place.python, "PYTHON"), (place.cache, "CACHE"), (place.eggs, "EGGS"), (place.out, "OUT"),
        ):  # fmt: skip
            said = said.replace(str(path), placeholder)
        assert re.findall(r"^eggcache: ([^:\n]+(?:: \d+ files)?)(?: in|:) \d+\.\d s$", said, re.MULTILINE) == expected


def test_waiting_for_another_run(place: Place) -> None:
    """Who waits for a lock at a terminal sees which one, until the command gives up after --wait."""
    assert place.run("prepare").returncode == 0
    write_egg(place.eggs / "Two-1.0-py3.11.egg", {"two.py": ""})  # else there is nothing to wait for
    place.out.mkdir()
    env = environment({"TERM": "xterm"})
    cache, eggs, out = place.cache, place.eggs, place.out
    places = {"prepare": cache, "check": cache, "remove": cache, "unzip-all": eggs, "wheels": out}
    with ExitStack() as held, ThreadPoolExecutor(len(places)) as pool:
        for path in (cache / ".eggcache.lock", eggs, out):
            lock = os.open(path, os.O_RDONLY)
            held.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
        wait = lambda name: show([*place.words(name), "--wait", "2"], env=env, streams=["stderr"], columns=300)  # noqa: E731
        for directory, result in zip(places.values(), pool.map(wait, places)):
            assert result.status == 75
            assert f"waiting for the lock of {directory}" in result.terminal
            assert result.terminal.count("\x1b[?25l") == result.terminal.count("\x1b[?25h") == 1  # the cursor is back
            said = f"{directory}: another run holds its lock for more than 2 s; wait for it, or raise --wait"
            assert said in result.terminal


def test_bar_of_a_real_run(place: Place) -> None:
    """On a terminal it is drawn while it lasts, and gone when it is over; stdout has the result alone."""
    place.slow()
    env = environment({"TERM": "xterm", "COLUMNS": "100"})
    result = show(place.words("prepare"), env=env, streams=["stderr"])
    assert result.status == 0
    assert result.file.startswith("1 egg made")
    assert "asking " in result.terminal
    assert "\x1b[2K" in result.terminal  # the line is erased again
    assert result.terminal.count("\x1b[?25l") == result.terminal.count("\x1b[?25h") == 1  # the cursor is back
