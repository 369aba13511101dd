"""What /proc tells of other processes (proc(5)), without waiting for any of them.

A read of the environment, the command line or the maps of a process waits for the lock of that process's memory. Its
owner can hold that lock for ever, by a change of the memory that waits for a file system of his own (FUSE), and such
a reader need not end when it is killed. So a child reads. Where the child does not answer it is left behind: it has
none of our descriptors, so that it holds no lock, and nobody waits for it.
"""

from __future__ import annotations

import marshal
import os
import re
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from eggcache.system import files, syscalls

Told = TypeVar("Told")

PATIENCE = 2.0  # seconds for one process: the slowest on a busy machine needs some hundredths
TOTAL = 10.0  # seconds for all of them
_LARGEST = 32 << 20  # bytes of /proc/PID/maps; Linux allows 65,530 mappings
_HEAD = struct.Struct("=I")  # how long an answer is


def numbers() -> list[int]:
    """The processes that there are."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def ask(pids: Sequence[int], question: Callable[[int], Told], silent: list[int]) -> Iterator[tuple[int, Told]]:
    """Each of `pids` with what `question`, called in a child, answers to it, which is something that marshal can write;
    those that have ended, and those of which we may see nothing, are left out, and so are those that keep the child
    waiting: `silent` gets these."""
    rest, until = list(pids), time.monotonic() + TOTAL
    while rest and time.monotonic() < until:
        try:
            child, told = _fork(rest, question)
        except OSError:  # there are no more processes, or files, for us
            break
        try:
            for answer in _heard(told, until):
                pid = rest.pop(0)
                if answer:
                    yield pid, answer[0]
        finally:
            os.close(told)
            _leave(child)
        if rest:  # it is the one that the child waits for
            silent.append(rest.pop(0))
    silent += rest


def _fork(pids: list[int], question: Callable[[int], object]) -> tuple[int, int]:
    """A child that answers about one process after the other: its number, and where to read what it says."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    # A signal must find it with no handler of ours: that would clean up under our feet
    before = signal.pthread_sigmask(signal.SIG_BLOCK, syscalls.FATAL)
    try:
        child = os.fork()
        if not child:
            _answer(parent, before, writing, pids, question)
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return child, reading


def _answer(
    parent: int,
    mask: set[int | signal.Signals],
    writing: int,
    pids: list[int],
    question: Callable[[int], object],
) -> NoReturn:
    """What the child does all its life."""
    try:
        syscalls.begin_child(parent, mask)
        os.dup2(writing, 0)
        for name in os.listdir("/proc/self/fd"):  # a lock of ours, or a pipe whose end somebody waits for
            if name != "0":
                with suppress(OSError):
                    os.close(int(name))
        os.chdir("/")
        for pid in pids:
            try:
                told: tuple[Any, ...] = (question(pid),)
            except OSError:
                told = ()
            message = marshal.dumps(told)
            message = _HEAD.pack(len(message)) + message
            while message:
                message = message[os.write(0, message) :]
        os._exit(0)
    finally:
        os._exit(1)


def _heard(told: int, until: float) -> Iterator[tuple[Any, ...]]:
    """What the child says of each process, a tuple of one thing or of none, until it says nothing more."""
    heard, poll = bytearray(), select.poll()
    poll.register(told, select.POLLIN)
    while poll.poll(max(0, min(PATIENCE, until - time.monotonic())) * 1000):
        said = os.read(told, 1 << 16)
        if not said:
            return
        heard += said
        while len(heard) >= _HEAD.size and len(heard) >= (end := _HEAD.size + _HEAD.unpack_from(heard)[0]):
            yield marshal.loads(heard[_HEAD.size : end])  # noqa: S302 - from a process of our own, forked from this one
            del heard[:end]


def _leave(child: int) -> None:
    """Kill the child, and take note of its end if that comes at once."""
    os.kill(child, signal.SIGKILL)
    for again in range(10, -1, -1):
        if os.waitpid(child, os.WNOHANG)[0] or not again:
            return
        time.sleep(0.01)


# ------------------------------------------------------------------------------------- what does not keep one waiting


def program(pid: int) -> str:
    """The path of the program that a process runs; it ends in " (deleted)" after an upgrade."""
    return os.readlink(f"/proc/{pid}/exe")


def status(pid: int) -> dict[str, str]:
    """What /proc/PID/status says."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="surrogateescape") as stream:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in stream)}


def parent(pid: int) -> int:
    """The process that started it, or that took it over; 0 for none."""
    with open(f"/proc/{pid}/stat", "rb") as stream:
        return int(stream.read().rpartition(b")")[2].split()[1])


def unit(pid: int) -> str | None:
    """The service of systemd's that a process is of, as its control group is called; not that of a user's session."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as stream:
            groups = [line.rstrip("\n").split(":", 2)[2] for line in stream if re.match(r"0::|\d+:name=systemd:", line)]
    except (OSError, IndexError):
        return None
    units = [part for group in groups for part in group.split("/") if part.endswith(".service")]
    return units[-1] if units and "user.slice" not in "".join(groups) else None


def mounts() -> list[tuple[str, str]]:
    """What is mounted for us, the later above the earlier: its place, and the type of its file system."""
    found = []
    for line in os.fsdecode(files.beginning("/proc/self/mountinfo")).split("\n"):
        before, mark, after = line.partition(" - ")
        if mark:
            place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
            found.append((place, after.split(" ")[0]))
    return found


def ancestors() -> set[int]:
    """Ourselves, and those that we were started by."""
    found, pid = set[int](), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            pid = parent(pid)
        except OSError:
            break
    return found


# ------------------------------------------------------------------------------------------- what only a child may ask


def environment(pid: int) -> list[bytes]:
    """The variables that a process was started with."""
    with open(f"/proc/{pid}/environ", "rb") as stream:
        return stream.read(_LARGEST).split(b"\0")


def command(pid: int) -> list[str]:
    """The words that a process was started with, or that it shows in their place."""
    with open(f"/proc/{pid}/cmdline", "rb") as stream:
        return os.fsdecode(stream.read(1 << 16)).rstrip("\0").split("\0")


def shows(pid: int, path: str) -> bool | None:
    """Whether a process sees at `path`, without links, what we see there; None where all of its root is another one, as
    in a container. A file system of its own may be mounted there, or none where we have one: mount_namespaces(7)."""
    root = f"/proc/{pid}/root"
    if not os.path.samestat(os.stat(f"{root}/"), os.stat("/")):
        return None
    try:
        return os.path.samestat(os.stat(root + path), os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False


def maps(pid: int) -> bytes:
    """What a process has mapped."""
    with open(f"/proc/{pid}/maps", "rb") as stream:
        return stream.read(_LARGEST)
