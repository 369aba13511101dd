"""Waiting for a lock on a descriptor: filelock does it, and gets no path.

filelock's own FileLock resolves the parent of its path, makes it where it is missing, and (before 3.29) empties and
unlinks the file. It does so by name, and the name may lead elsewhere by then. FileLock also differs from release to
release, while BaseFileLock has needed the same two methods since 3.12.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import BaseFileLock, Timeout

from eggcache.errors import Busy
from eggcache.system import files, procfs, safe_dirs

if TYPE_CHECKING:
    from eggcache.progress import Progress

# filelock wants a path: from 3.29 on it resolves the parent, and from 4.1 on it makes it, too. There is always a "/".
_NOWHERE = "/eggcache"
_POLL = 0.05  # seconds from one attempt to the next


class Lock(BaseFileLock):  # type: ignore[misc]  # mypy does not follow filelock's imports, see pyproject.toml
    """flock(2) of `descriptor`, which filelock closes in processes that are forked meanwhile (from 4.0 on), and which
    stays the caller's to close in this one. An instance belongs to the thread that made it."""

    descriptor: int
    progress: Progress | None

    def _acquire(self) -> None:
        if self.progress:
            self.progress.tick()
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        self._context.lock_file_fd = self.descriptor

    def _release(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)  # closing is not enough: a forked process may have it open, too
        self._context.lock_file_fd = None


@contextmanager
def hold(descriptor: int, path: str, wait: float, progress: Progress | None) -> Iterator[None]:
    """As locks.hold, for a lock that another run has."""
    lock = Lock(_NOWHERE)
    lock.descriptor, lock.progress = descriptor, progress
    try:
        lock.acquire(timeout=wait, poll_interval=_POLL)
    except Timeout:
        raise _busy(descriptor, path, wait) from None
    try:
        yield
    finally:
        lock.release()


def _busy(descriptor: int, path: str, wait: float) -> Busy:
    """The error for a lock that somebody else has: whoever may read what is locked can hold the lock for ever, and need
    not be a run of eggcache. So another user's process is named."""
    cause, remedy = f"another run holds its lock for more than {wait:g} s", "wait for it, or raise --wait"
    with suppress(OSError, KeyError, ValueError, IndexError, StopIteration):  # no /proc/locks, or the process has ended
        pid = _holder(descriptor)
        status = procfs.status(pid)
        uid = int(status["Uid"].split()[1])
        if uid not in (0, os.geteuid()):
            owner = safe_dirs.owner_name(uid)
            cause = f"process {pid} ({status['Name']}) of {owner} holds its lock for more than {wait:g} s"
            remedy = "see what it is, and wait for it where it is a run of eggcache"
    return Busy(path, cause, remedy)


def _holder(descriptor: int) -> int:
    """The number of the process that locked the file at `descriptor`, proc_locks(5). Raises StopIteration for none."""
    info = os.fstat(descriptor)
    place = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    locks = [line.split() for line in files.lines("/proc/locks")]  # "1: FLOCK ADVISORY WRITE PID PLACE 0 EOF"
    return next(int(lock[4]) for lock in locks if lock[1:2] == ["FLOCK"] and lock[5:6] == [place])
