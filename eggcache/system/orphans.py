"""Processes that a target leaves behind in sessions of their own, and how they are ended."""

from __future__ import annotations

import ctypes
import glob
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SET, _GET = 36, 37  # PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER: prctl(2), Linux 3.4
_PATIENCE = 5.0  # seconds: what goes on making children for longer than that has won


@contextmanager
def ended(uid: int) -> Iterator[None]:
    """What children of ours start meanwhile becomes ours when its parent ends; at the end, all of it that runs as
    `uid` is killed. Root alone can tell it from its own processes, so for anybody else nothing is done."""
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    libc = ctypes.CDLL(None)
    before = ctypes.c_int(0)
    libc.prctl(_GET, ctypes.byref(before), 0, 0, 0)
    libc.prctl(_SET, 1, 0, 0, 0)
    try:
        yield
    finally:
        until = time.monotonic() + _PATIENCE
        while (found := _children(uid)) and time.monotonic() < until:
            for pid in found:  # its own children are ours in the next turn
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
        libc.prctl(_SET, before.value, 0, 0, 0)


def _children(uid: int) -> list[int]:
    """Our children that run as `uid`: proc_pid_task_children(5), where the kernel has it."""
    found = []
    for file in glob.glob("/proc/self/task/*/children"):
        with suppress(OSError), open(file, encoding="ascii") as stream:
            found += [pid for pid in map(int, stream.read().split()) if _runs_as(pid, uid)]
    return found


def _runs_as(pid: int, uid: int) -> bool:
    """Whether the real, effective, saved or file system uid of a process is `uid`; by its status, since a process can
    change the owner of /proc/PID."""
    from eggcache.system import procfs  # which is not loaded yet when a target is started

    with suppress(OSError):
        return str(uid) in procfs.status(pid)["Uid"].split()
    return False
