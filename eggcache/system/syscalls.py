"""System calls that Python's os module does not have."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
from collections.abc import Callable

from eggcache.errors import EggcacheError

FATAL = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # signals with a clean-up; blocked while a child is forked
_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
_PR_SET_PDEATHSIG = 1
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276, "ppc64le": 357, "s390x": 347, "riscv64": 276}  # for glibc < 2.28
_GETFLAGS = 0x40086601 if os.uname().machine.startswith(("ppc", "mips", "sparc")) else 0x80086601  # linux/fs.h
_FLAGS = {0x10: "i", 0x20: "a"}
_NOT_HERE = (errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP)


class CannotExchange(EggcacheError):
    """This file system, or this kernel, cannot exchange two names at once."""


def exchange(old: int, old_name: str, new: int, new_name: str) -> None:
    """Exchange two names at once: neither is missing at any moment (renameat2(2), RENAME_EXCHANGE).

    :param old: a descriptor of the directory that has the one
    :param old_name: the one
    :param new: a descriptor of the directory that has the other
    :param new_name: the other
    :raises CannotExchange: the file system cannot
    :raises OSError: the disk refuses, or a name is missing
    """
    _renameat2(old, old_name, new, new_name, _RENAME_EXCHANGE)


def rename_new(old: int, old_name: str, new: int, new_name: str) -> None:
    """Rename to a name that must not exist yet (renameat2(2), RENAME_NOREPLACE).

    :param old: a descriptor of the directory that has the file
    :param old_name: its name there
    :param new: a descriptor of the directory that gets it
    :param new_name: its name there
    :raises FileExistsError: there is something of that name
    :raises CannotExchange: the file system cannot
    :raises OSError: the disk refuses
    """
    _renameat2(old, old_name, new, new_name, _RENAME_NOREPLACE)


def _renameat2(old: int, old_name: str, new: int, new_name: str, flags: int) -> None:
    code = _renameat2_errno(old, old_name, new, new_name, flags)
    # EPERM is about these names, as of a file that chattr made immutable; a filter of system calls says it of any
    is_filtered = code == errno.EPERM and _renameat2_errno(old, "", new, "", flags) == errno.EPERM
    if code in _NOT_HERE or is_filtered:
        cause = f"this file system cannot exchange two names at once (renameat2: {os.strerror(code)})"
        remedy = "use a directory on ext4, xfs, btrfs or tmpfs, or allow a moment without that name: --allow-gap"
        raise CannotExchange(new_name, cause, remedy)
    if code:
        raise OSError(code, os.strerror(code), new_name)


def _renameat2_errno(old: int, old_name: str, new: int, new_name: str, flags: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (old, os.fsencode(old_name), new, os.fsencode(new_name), ctypes.c_uint(flags))
    if hasattr(libc, "renameat2"):
        return _call(lambda: libc.renameat2(*arguments))
    if os.uname().machine in _RENAMEAT2:
        return _call(lambda: libc.syscall(_RENAMEAT2[os.uname().machine], *arguments))
    return errno.ENOSYS


def fixed_by(descriptor: int) -> str:
    """The attribute of chattr(1) by which nobody can rename an open file or directory, not even root: "i" (immutable),
    "a" (append-only), or "" for none.

    :param descriptor: the open file or directory
    """
    try:
        (flags,) = struct.unpack_from("=I", fcntl.ioctl(descriptor, _GETFLAGS, bytes(8)))
    except OSError:
        return ""  # a file system without
    return next((letter for flag, letter in _FLAGS.items() if flags & flag), "")


def sync_filesystem(descriptor: int) -> None:
    """Write a whole file system to the disk: one call for all files of a stage (syncfs(2)). A kernel before 2.6.39 has
    sync(2) alone, which writes all file systems.

    :param descriptor: any open file or directory of the file system
    :raises OSError: the disk refuses
    """
    libc = ctypes.CDLL(None, use_errno=True)
    code = _call(lambda: libc.syncfs(descriptor))
    if code == errno.ENOSYS:
        os.sync()
    elif code:
        raise OSError(code, os.strerror(code))


def child(life: Callable[[int], object]) -> tuple[int, int]:
    """Fork a child that calls `life` with the descriptor of a pipe to write to, and exits. It forgets our signal
    handlers, which would clean up under our feet, and dies with this process (prctl(2)).

    :returns: the number of the child, and the descriptor to read from
    :raises OSError: the system has no more processes or files for us
    """
    output, feed = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, FATAL)
    try:
        pid = os.fork()
        if not pid:
            try:
                _begin_child(parent)
                life(feed)
                os._exit(0)
            finally:
                os._exit(1)
    except OSError:
        os.close(output)
        raise
    finally:
        os.close(feed)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid, output


def _begin_child(parent: int) -> None:
    for number in FATAL:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FATAL)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) or os.getppid() != parent:  # the parent may have ended before
        os._exit(1)


def _call(function: Callable[[], int]) -> int:
    """Repeat `function` while a signal interrupts it, which ctypes does not (PEP 475). Returns its errno, 0 for
    success."""
    while True:
        if not function():
            return 0
        code = ctypes.get_errno()
        if code != errno.EINTR:
            return code
