"""Work that processes share, one for each core.

Threads would take turns: the work for a small member holds the interpreter's lock. A worker is forked and has
everything that its parent had, so that only the number of a job is sent to it.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

from eggcache.system import staging, syscalls

Job = TypeVar("Job")
Notice = Callable[[int, "Exception | None"], None]

MOST_JOBS = 8192  # of one call: their numbers fit into a pipe (16 pages of 4 KiB on Linux)
_MOST_WORKERS = 8  # each has a few MiB of its own
_NUMBER, _HEAD = struct.Struct("=I"), struct.Struct("=II")  # a job's number; with the length of its pickled error


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def share(jobs: Sequence[Job], work: Callable[[Job], object], notice: Notice, workers: int) -> None:
    """Do jobs in several processes, of which the first is this one.

    No worker outlives this call or this process.

    :param jobs: at most MOST_JOBS of them
    :param work: called with each of the jobs
    :param notice: called in this process as each job ends, with the position of the job and its exception, or None
    :param workers: the number of processes
    :raises ChildProcessError: a worker was killed
    """
    numbers, feed = os.pipe2(os.O_CLOEXEC)
    with open(numbers, "rb", buffering=0) as queue:
        with open(feed, "wb", buffering=0) as stream:
            stream.write(b"".join(map(_NUMBER.pack, range(len(jobs)))))
        crew = _Crew(notice)
        try:
            for _ in range(min(workers, _MOST_WORKERS, len(jobs)) - 1):
                if not crew.hire(queue.fileno(), jobs, work):
                    break  # the system has no more processes for us
            while (number := _next(queue.fileno())) is not None:
                notice(number, _outcome(work, jobs[number]))
                crew.hear(0)
            while crew.results:
                crew.hear(None)
        finally:
            crew.dismiss()


def _next(queue: int) -> int | None:
    data = os.read(queue, _NUMBER.size)  # a pipe gives each reader a number of its own
    return int(_NUMBER.unpack(data)[0]) if data else None


def _outcome(work: Callable[[Job], object], job: Job) -> Exception | None:
    try:
        work(job)
    except Exception as error:
        return error
    return None


class _Crew:
    """The forked workers, and the pipe on which each reports its jobs."""

    def __init__(self, notice: Notice) -> None:
        self.notice = notice
        self.results: dict[int, bytearray] = {}  # by descriptor: the bytes read of a message that is not whole yet
        self.pids: dict[int, int] = {}  # by descriptor

    def hire(self, queue: int, jobs: Sequence[Job], work: Callable[[Job], object]) -> bool:
        """Fork a worker; False where the system has no more processes or files for us."""
        try:
            with staging.undisturbed():  # a signal in between would leave a worker that nobody dismisses
                pid, descriptor = syscalls.child(lambda feed: _work_off(queue, feed, jobs, work))
                self.pids[descriptor], self.results[descriptor] = pid, bytearray()
        except OSError:
            return False
        return True

    def hear(self, wait: float | None) -> None:
        """Read the messages of workers and pass them on; wait for them up to `wait` seconds (None: as long as it
        takes)."""
        if not self.results:
            return
        for descriptor in select.select(list(self.results), (), (), wait)[0]:
            data = os.read(descriptor, 1 << 16)
            buffer = self.results[descriptor]
            buffer += data
            while len(buffer) >= _HEAD.size:
                number, length = _HEAD.unpack_from(buffer)
                if len(buffer) < _HEAD.size + length:
                    break
                self.notice(number, _loads(bytes(buffer[_HEAD.size : _HEAD.size + length])))
                del buffer[: _HEAD.size + length]
            if not data:
                os.close(descriptor)
                del self.results[descriptor]
                _, status = os.waitpid(self.pids[descriptor], 0)
                del self.pids[descriptor]
                if status:  # a job is not done
                    raise ChildProcessError(errno.ECHILD, f"a worker process ended early ({_ending(status)})")

    def dismiss(self) -> None:
        """Kill the workers that still run."""
        for descriptor in self.results:
            os.close(descriptor)
        for pid in self.pids.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self.pids.values():
            os.waitpid(pid, 0)


def _ending(status: int) -> str:
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"


def _work_off(queue: int, feed: int, jobs: Sequence[Job], work: Callable[[Job], object]) -> None:
    """The whole life of a worker: do jobs as long as there are any, and report each."""
    while (number := _next(queue)) is not None:
        error = _outcome(work, jobs[number])
        data = b""
        if error:
            import pickle

            data = pickle.dumps(error)
        message = memoryview(_HEAD.pack(number, len(data)) + data)
        while message:
            message = message[os.write(feed, message) :]


def _loads(data: bytes) -> Exception | None:
    if not data:
        return None
    import pickle

    error = pickle.loads(data)  # noqa: S301 - from a process of our own, and forked from this one
    return error if isinstance(error, Exception) else None
