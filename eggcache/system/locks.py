"""A lock on a descriptor.

Nearly always it is free. Only a run that has to wait loads filelock, which takes 20 ms of a cold prepare's 300.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggcache.progress import Progress


@contextmanager
def hold(descriptor: int, path: str, wait: float, progress: Progress | None) -> Iterator[None]:
    """Hold the lock of the open file `descriptor`, flock(2). Where another run has it, show on `progress` that the lock
    of `path` is waited for.

    Raises Busy after `wait` seconds, and OSError where the file system has no locks.
    """
    if progress:
        progress.phase(f"waiting for the lock of {path}")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        from eggcache.system import waiting

        with waiting.hold(descriptor, path, wait, progress):
            yield
        return
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough: a forked process may have it open, too


@contextmanager
def hold_twice(descriptor: int, path: str, wait: float, progress: Progress | None) -> Iterator[None]:
    """As `hold`, by a second descriptor: filelock may close it in forked processes, which may need the first."""
    lock = os.dup(descriptor)
    try:
        with hold(lock, path, wait, progress):
            yield
    finally:
        os.close(lock)
