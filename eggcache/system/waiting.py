"""Waiting for a lock on a descriptor: filelock does it, and gets no path.

filelock's own FileLock resolves the parent of its path, makes it where it is missing, and (before 3.29) empties and
unlinks the file. It does so by name, and the name may lead elsewhere by then. FileLock also differs from release to
release, while BaseFileLock has needed the same two methods since 3.12.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import BaseFileLock, Timeout

from eggcache.errors import Busy

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
        cause = f"another run holds its lock for more than {wait:g} s"
        raise Busy(path, cause, "wait for it, or raise --wait") from None
    try:
        yield
    finally:
        lock.release()
