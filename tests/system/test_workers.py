"""workers: every job is done once, on all cores, and nobody is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import ROOT

from eggcache.errors import EggRefused
from eggcache.system import workers


def share(jobs: list[int], work: object, count: int) -> dict[int, Exception | None]:
    errors: dict[int, Exception | None] = {}

    def done(position: int, error: Exception | None) -> None:
        assert position not in errors
        errors[position] = error

    workers.share(jobs, work, done, count)  # type: ignore[arg-type]
    return errors


def children() -> set[str]:
    """The processes that this one has started and not waited for; other tests may have left some."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize(("jobs", "count"), [(0, 4), (1, 4), (50, 1), (50, 3), (workers.MOST_JOBS, 20)])
def test_each_job_once(jobs: int, count: int, tmp_path: Path) -> None:
    """Each job is done once, by this process or a forked one, and each is heard of."""
    before = children()
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    errors = share(list(range(jobs)), lambda job: os.write(log, b"%d\n" % job), count)
    os.close(log)
    assert errors == dict.fromkeys(range(jobs))
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(jobs))
    assert children() <= before


def test_jobs_that_wait_for_each_other_get_done(tmp_path: Path) -> None:
    """With as many workers as jobs, and jobs that wait for each other, it takes several processes to get done."""

    def work(job: int) -> None:
        (tmp_path / str(job)).write_text(str(os.getpid()))
        until = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 3 and time.monotonic() < until:
            time.sleep(0.01)

    assert share([0, 1, 2], work, 3) == dict.fromkeys(range(3))
    assert len({path.read_text() for path in tmp_path.iterdir()}) == 3


def test_errors_come_back() -> None:
    """What a job raises arrives as it was, wherever it was done, and the other jobs are done all the same."""

    def work(job: int) -> None:
        if job % 3 == 1:
            raise EggRefused(f"egg {job}", "x" * 100_000, "build it again")
        if job % 3 == 2:
            raise OSError(28, "No space left on device", f"/{job}")

    errors = share(list(range(60)), work, 4)
    for position, error in errors.items():
        if position % 3 == 1:
            assert isinstance(error, EggRefused)
            assert (error.thing, error.cause, error.remedy.text) == (f"egg {position}", "x" * 100_000, "build it again")
        elif position % 3 == 2:
            assert isinstance(error, OSError)
            assert (error.errno, error.filename) == (28, f"/{position}")
        else:
            assert error is None


def test_killed_worker_fails_the_run() -> None:
    """A worker that is killed, as by a lack of memory, fails the run: its job is not done."""
    me, before = os.getpid(), children()

    def work(job: int) -> None:
        if os.getpid() != me:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)

    with pytest.raises(ChildProcessError, match="signal 9"):
        share([1, 2, 3], work, 2)
    assert children() <= before


def test_failure_here_ends_the_others(tmp_path: Path) -> None:
    """Where `done` raises, nobody goes on working."""
    others = children()

    def work(job: int) -> None:
        time.sleep(0.05)
        (tmp_path / str(job)).write_text("")

    def done(position: int, error: Exception | None) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        workers.share(list(range(100)), work, done, 4)
    assert children() <= others
    before = len(list(tmp_path.iterdir()))
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == before < 20


FOREVER = """
import os, signal, sys, time
from eggcache.system import workers

class Ended(BaseException):
    pass

def end(number, frame):
    print("handler", os.getpid(), flush=True)
    raise Ended

signal.signal(signal.SIGTERM, end)

def work(job):
    os.write(1, b"at work %d\\n" % os.getpid())  # whole, whatever the others write
    time.sleep(600)

try:
    workers.share([1, 2, 3], work, lambda *_: None, 3)
except Ended:
    print("cleaned", os.getpid(), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_its_parent(number: signal.Signals) -> None:
    """However this process ends, so do the workers; and what cleans up is this process alone."""
    command = [sys.executable, "-c", FOREVER]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        at_work = [int(process.stdout.readline().split()[-1]) for _ in range(3)]
        process.send_signal(number)
        rest = process.stdout.read()
    if number == signal.SIGTERM:
        assert rest.split("\n")[:2] == [f"handler {process.pid}", f"cleaned {process.pid}"]
    until = time.monotonic() + 30
    while any(map(alive, at_work)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(map(alive, at_work))


def alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # gone before the file was opened, or before it was read
        return False
    state = re.search(r"\) (\S)", text)
    return state is not None and state[1] not in "ZX"
