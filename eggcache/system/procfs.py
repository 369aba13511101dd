"""What /proc says of other processes (proc(5)), without waiting for any of them.

Reading the environment, the command line or the maps of a process waits for the lock of its memory. The owner of the
process can hold that lock for ever, by a change of that memory that waits for a file system of his own (FUSE). The
reader may then not even die when it is killed. So a child reads. A child that does not answer is left behind: it has
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
from functools import partial
from typing import Any, TypeVar

from eggcache.system import files, syscalls

Answer = TypeVar("Answer")

PATIENCE = 2.0  # seconds for one process: the slowest on a busy machine needs some hundredths
TOTAL = 10.0  # seconds for all of them
_LARGEST = 32 << 20  # bytes of /proc/PID/maps; Linux allows 65,530 mappings
_HEAD = struct.Struct("=I")  # how long an answer is


def numbers() -> list[int]:
    """The numbers of all processes."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def ask(pids: Sequence[int], question: Callable[[int], Answer], silent: list[int]) -> Iterator[tuple[int, Answer]]:
    """Put a question about each of several processes in a child, which a process cannot make wait for ever.

    A process that has ended, or that we may not look at, is left out. A process that keeps the child waiting, or at
    which `question` breaks, is left out too, and its number is appended to `silent`.

    :param pids: the numbers of the processes
    :param question: called in the child with each number; what it returns must be fit for marshal
    :param silent: the list that gets the numbers of the processes without an answer
    :returns: each number with the answer
    """
    rest, until = list(pids), time.monotonic() + TOTAL
    while rest and time.monotonic() < until:
        try:
            child, descriptor = syscalls.child(partial(_answer, rest, question))
        except OSError:  # there are no more processes, or files, for us
            break
        try:
            for answer in _answers(descriptor, until):
                pid = rest.pop(0)
                if answer:
                    yield pid, answer[0]
        finally:
            os.close(descriptor)
            _leave(child)
        if rest:  # the child waits for the first of them
            silent.append(rest.pop(0))
    silent += rest


def _answer(pids: Sequence[int], question: Callable[[int], object], descriptor: int) -> None:
    """The whole life of the child: answer about one process after the other."""
    os.dup2(descriptor, 0)
    for name in os.listdir("/proc/self/fd"):  # a lock of ours, or a pipe whose end somebody waits for
        if name != "0":
            with suppress(OSError):
                os.close(int(name))
    os.chdir("/")
    for pid in pids:
        try:
            answer: tuple[Any, ...] = (question(pid),)
        except OSError:
            answer = ()
        message = marshal.dumps(answer)
        message = _HEAD.pack(len(message)) + message
        while message:
            message = message[os.write(0, message) :]


def _answers(descriptor: int, until: float) -> Iterator[tuple[Any, ...]]:
    """The answers of the child, until it ends or is silent: each a tuple of one answer, or an empty tuple for a
    failure."""
    buffer, poll = bytearray(), select.poll()
    poll.register(descriptor, select.POLLIN)
    while poll.poll(max(0, min(PATIENCE, until - time.monotonic())) * 1000):
        data = os.read(descriptor, 1 << 16)
        if not data:
            return
        buffer += data
        while len(buffer) >= _HEAD.size and len(buffer) >= (end := _HEAD.size + _HEAD.unpack_from(buffer)[0]):
            yield marshal.loads(buffer[_HEAD.size : end])  # noqa: S302 - from a process of our own, forked from this one
            del buffer[:end]


def _leave(child: int) -> None:
    """Kill the child, and reap it if it ends at once."""
    os.kill(child, signal.SIGKILL)
    for attempts in range(10, -1, -1):
        if os.waitpid(child, os.WNOHANG)[0] or not attempts:
            return
        time.sleep(0.01)


# ---------------------------------------------------------------------------------- what does not keep a reader waiting


def program(pid: int) -> str:
    """The path of the program that a process runs; it ends in " (deleted)" after an upgrade.

    :param pid: the number of the process
    :raises OSError: the process has ended, or we may not look
    """
    return os.readlink(f"/proc/{pid}/exe")


def status(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status, by their names.

    :param pid: the number of the process
    :raises OSError: the process has ended
    """
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="surrogateescape") as stream:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in stream)}


def parent(pid: int) -> int:
    """The number of the process that started another one or took it over; 0 for none.

    :param pid: the number of the process whose parent it is
    :raises OSError: the process has ended
    """
    with open(f"/proc/{pid}/stat", "rb") as stream:
        return int(stream.read().rpartition(b")")[2].split()[1])


def start_time(pid: int) -> float:
    """When a process was started, in seconds since the epoch, to a hundredth.

    :param pid: the number of the process
    :raises OSError: the process has ended
    """
    with open(f"/proc/{pid}/stat", "rb") as stream:
        ticks = int(stream.read().rpartition(b")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def unit(pid: int) -> str | None:
    """The name of the systemd service that a process belongs to, by its control group; None for a user's session.

    :param pid: the number of the process
    """
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as stream:
            groups = [line.rstrip("\n").split(":", 2)[2] for line in stream if re.match(r"0::|\d+:name=systemd:", line)]
    except (OSError, IndexError):
        return None
    units = [part for group in groups for part in group.split("/") if part.endswith(".service")]
    return units[-1] if units and "user.slice" not in "".join(groups) else None


def boot_id() -> str:
    """The number of this boot of the host, as systemd has it in names: 32 digits, hexadecimal."""
    return os.fsdecode(files.beginning("/proc/sys/kernel/random/boot_id", 256)).strip().replace("-", "")


def mounts() -> list[tuple[str, str]]:
    """The mounts that this process sees, in the order of mounting: the directory, and the type of its file system."""
    places = []
    for line in os.fsdecode(files.beginning("/proc/self/mountinfo")).split("\n"):
        mount, dash, file_system = line.partition(" - ")
        if dash:
            place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount.split(" ")[4])
            places.append((place, file_system.split(" ")[0]))
    return places


def ancestors() -> set[int]:
    """The numbers of this process, its parent, and so on."""
    pids, pid = set[int](), os.getpid()
    while pid > 0 and pid not in pids:
        pids.add(pid)
        try:
            pid = parent(pid)
        except OSError:
            break
    return pids


# ------------------------------------------------------------------------------------------- what only a child may ask


def environment(pid: int) -> list[bytes]:
    """The variables that a process was started with, each as NAME=VALUE.

    :param pid: the number of the process
    :raises OSError: the process has ended, or we may not look
    """
    with open(f"/proc/{pid}/environ", "rb") as stream:
        return stream.read(_LARGEST).split(b"\0")


def command(pid: int) -> list[str]:
    """The words of a process's command line; a process can change them.

    :param pid: the number of the process
    :raises OSError: the process has ended
    """
    with open(f"/proc/{pid}/cmdline", "rb") as stream:
        return os.fsdecode(stream.read(1 << 16)).rstrip("\0").split("\0")


def shows(pid: int, path: str) -> bool | None:
    """Whether a process sees at a path, without links, what we see there.

    A file system of its own may be mounted there, or none where we have one: mount_namespaces(7).

    :param pid: the number of the process
    :param path: an absolute path
    :returns: None where all of the process's root is another one, as in a container
    :raises OSError: the process has ended, or we may not look
    """
    root = f"/proc/{pid}/root"
    if not os.path.samestat(os.stat(f"{root}/"), os.stat("/")):
        return None
    try:
        return os.path.samestat(os.stat(root + path), os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False


def maps(pid: int) -> bytes:
    """The text of /proc/PID/maps: the files and memory that a process has mapped.

    :param pid: the number of the process
    :raises OSError: the process has ended, or we may not look
    """
    with open(f"/proc/{pid}/maps", "rb") as stream:
        return stream.read(_LARGEST)
