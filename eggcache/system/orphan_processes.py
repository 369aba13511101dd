"""The processes that a target leaves behind in sessions of their own, and how they are ended."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from eggcache.system import files

_SET, _GET = 36, 37  # PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER: prctl(2), Linux 3.4
_PATIENCE = 5.0  # seconds: a process that makes new children for longer than that has won


@contextmanager
def cleanup(uid: int) -> Iterator[None]:
    """Kill at the end all processes of a user that children of ours started in the body, also those whose parent has
    ended.

    As root only: any other user cannot tell such processes from its own, and then nothing is killed.

    :param uid: the number of the user
    """
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    libc = ctypes.CDLL(None)
    flag = ctypes.c_int(0)
    libc.prctl(_GET, ctypes.byref(flag), 0, 0, 0)
    libc.prctl(_SET, 1, 0, 0, 0)
    try:
        yield
    finally:
        until = time.monotonic() + _PATIENCE
        while (pids := _children(uid)) and time.monotonic() < until:
            for pid in pids:  # its own children are ours in the next turn
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
        libc.prctl(_SET, flag.value, 0, 0, 0)


def _children(uid: int) -> list[int]:
    """Our children that run as `uid`: proc_pid_task_children(5), where the kernel has it."""
    pids = []
    for task in files.names("/proc/self/task"):
        with suppress(OSError), open(f"/proc/self/task/{task}/children", encoding="ascii") as stream:
            pids += [pid for pid in map(int, stream.read().split()) if _runs_as(pid, uid)]
    return pids


def _runs_as(pid: int, uid: int) -> bool:
    """Whether the real, effective, saved or file system uid of a process is `uid`. Read from its status: a process can
    change the owner of its /proc/PID."""
    from eggcache.system import procfs  # here, since starting a target does not need it

    with suppress(OSError):
        return str(uid) in procfs.status(pid)["Uid"].split()
    return False
