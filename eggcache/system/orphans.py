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
            for pid in stream.read().split():
                if uid in _uids(pid):
                    found.append(int(pid))
    return found


def _uids(pid: str) -> list[int]:
    """The real, effective, saved and file system uid; not from the owner of /proc/PID, which a process can change."""
    with suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if line.startswith("Uid:"):
                return [int(word) for word in line.split()[1:]]
    return []
