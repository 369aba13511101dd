"""Locks: on a descriptor, and of a directory, by a file in it or on the directory itself.

Nearly always a lock is free. Only a run that has to wait loads filelock, which takes 20 ms of a cold prepare's 300.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from eggcache.errors import EggcacheError, NotPermitted
from eggcache.system import safe_dirs, unfit_disks

if TYPE_CHECKING:
    from eggcache.progress import Progress


@contextmanager
def hold(descriptor: int, path: str, wait: float, progress: Progress | None) -> Iterator[None]:
    """Hold the lock of the open file `descriptor`, flock(2).

    :param descriptor: the open file; it stays the caller's to close
    :param path: the name of what is locked, for the progress and the error
    :param wait: how many seconds another run may go on holding the lock
    :param progress: what shows that another run is waited for; None: nothing does
    :raises Busy: another run holds the lock for longer than `wait`
    :raises OSError: the file system has no locks
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
def lock_itself(descriptor: int, path: str, wait: float, progress: Progress | None = None) -> Iterator[None]:
    """Hold a lock on a file or directory itself, so that no lock file stays behind.

    Every user who may read it can hold this lock for ever. So it suits a command that a person waits for, and not the
    start of Apache. The lock is held by a second descriptor: filelock may close it in forked processes, which may need
    the first one.

    :param descriptor: the open file or directory
    :param path: its name, for the progress and the error
    :param wait: how many seconds another run may go on holding the lock
    :param progress: what shows that another run is waited for; None: nothing does
    :raises Busy: another run holds the lock for longer than `wait`
    :raises OSError: the file system has no locks
    """
    lock = os.dup(descriptor)
    try:
        with hold(lock, path, wait, progress):
            yield
    finally:
        os.close(lock)


@contextmanager
def lock_directory(descriptor: int, path: str, wait: float, progress: Progress | None = None) -> Iterator[None]:
    """Hold the lock of a directory, by the lock file in it, which is made where it is missing.

    The lock file is 0600: else the runtime user could open it and block root for ever. It is never unlinked: a process
    that waits for an unlinked file would share the lock with the process that makes the next file. The directory may be
    gone after the wait: see `safe_dirs.leads_to`.

    :param descriptor: the directory, as `safe_dirs` has verified it
    :param path: its name, for the progress and the error
    :param wait: how many seconds another run may go on holding the lock
    :param progress: what shows that another run is waited for; None: nothing does
    :raises Busy: another run holds the lock for longer than `wait`
    :raises NotPermitted: what has the name of the lock file is none of ours, or the disk cannot keep it from others
    :raises EggcacheError: somebody removed the lock file meanwhile
    """
    lock, is_new = _open_lock(descriptor, path)
    try:
        with hold(lock, path, wait, progress):
            if not os.fstat(lock).st_nlink and safe_dirs.leads_to(path, descriptor):
                thing = f"{path}/{safe_dirs.LOCK}"
                raise EggcacheError(thing, "somebody removed it while it was waited for", "run it again")
            if is_new:  # looked at only now: the look changes the mode, and other runs may have come upon no file too
                unfit_disks.look(lock, descriptor, safe_dirs.LOCK)
                _check(os.fstat(lock), path)
            info = os.fstat(lock)
            if stat.S_ISREG(info.st_mode) and stat.S_IMODE(info.st_mode) != 0o600:  # a umask may have taken bits away
                os.fchmod(lock, 0o600)
            yield
    finally:
        os.close(lock)


def check(descriptor: int, path: str) -> bool:
    """Whether a directory has a lock file.

    :param descriptor: the directory
    :param path: its name, for the error
    :raises NotPermitted: what has the name of the lock file is none of ours
    """
    try:
        info = os.stat(safe_dirs.LOCK, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    _check(info, path)
    return True


def _check(info: os.stat_result, path: str) -> None:
    is_ours = stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid() and info.st_nlink <= 1
    # Whoever can open the file can hold the lock for ever. A file with contents has another purpose.
    if not is_ours or info.st_mode & 0o077 or info.st_size:
        facts = (
            f"mode {info.st_mode:06o}, {safe_dirs.owner_name(info.st_uid)}, {info.st_nlink} links, {info.st_size} bytes"
        )
        cause = f"it is not a lock file of eggcache's ({facts})"
        raise NotPermitted(f"{path}/{safe_dirs.LOCK}", cause, "remove it, or let --reset move the directory aside")


def _open_lock(directory: int, path: str) -> tuple[int, bool]:
    """A descriptor of the lock file in `directory`, made where it is missing, and whether it was. Where the directory
    itself has been removed, and no other run can lock it any more: a descriptor of that directory. Raises as `check`
    does."""
    is_new = not check(directory, path)  # first: opening a device may do something
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        lock = os.open(safe_dirs.LOCK, flags, 0o600, dir_fd=directory)
    except FileNotFoundError:
        return os.dup(directory), False
    try:
        if not is_new:
            _check(os.fstat(lock), path)
    except BaseException:
        os.close(lock)
        raise
    return lock, is_new
