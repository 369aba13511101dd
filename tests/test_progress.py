"""progress: a bar where a person watches and waits, lines where a log is kept, nothing where nothing takes long."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from judge import environment
from sites import write_egg
from terminals import show

from eggcache import progress
from eggcache.progress import Display, Log, Progress

ROOT = Path(__file__).resolve().parent.parent


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


def test_display_waits(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_what_suits(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.fixture
def slow(target: Callable[[str, str], object], shared_tmp: Path) -> list[str]:
    """A prepare whose target takes two seconds to start."""
    found = target("3.11", "65.5.0")
    (found.site_packages / "slow.pth").write_text("import time; time.sleep(2)\n")  # type: ignore[attr-defined]
    (shared_tmp / "eggs").mkdir()
    write_egg(shared_tmp / "eggs" / "One-1.0-py3.11.egg", {f"one/{number}.txt": "x" * 50 for number in range(50)})
    return [
        sys.executable, "-m", "eggcache", "prepare", str(shared_tmp / "cache"), "--all",
        "--path", str(shared_tmp / "eggs"), "--python", str(found.python),  # type: ignore[attr-defined]
    ]  # fmt: skip


def test_log_of_a_real_run(slow: list[str]) -> None:
    """A run whose target is slow says so in a log, once."""
    done = subprocess.run(slow, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    python = slow[slow.index("--python") + 1]
    lines = [line for line in done.stderr.splitlines() if "asking" in line]
    assert len(lines) == 1
    assert re.fullmatch(rf"eggcache: asking {re.escape(python)} for the tree: \d+\.\d s", lines[0])
    again = subprocess.run([*slow, "-q"], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert again.stderr == ""


def test_bar_of_a_real_run(slow: list[str]) -> None:
    """On a terminal it is drawn while it lasts, and gone when it is over; stdout has the result alone."""
    env = environment({"TERM": "xterm", "COLUMNS": "100"})
    done = show(slow, env=env, streams=["stderr"])
    assert done.status == 0
    assert done.file.startswith("1 egg made")
    assert "asking " in done.terminal
    assert "\x1b[2K" in done.terminal  # the line is erased again
    assert done.terminal.count("\x1b[?25l") == done.terminal.count("\x1b[?25h") == 1  # the cursor is back
