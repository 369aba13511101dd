"""Reading files and directories that may be anybody's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from eggcache.system.safe_dirs import DIRECTORY, READ

_LARGEST = 16 << 20  # bytes; a mod_wsgi.so with debugging information has about two MiB
_PIECE = 1 << 20  # bytes of a file in memory: it may be larger than that is


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """`descriptor`, which is closed at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def beginning(path: str, size: int = _LARGEST, *, flags: int = 0) -> bytes:
    """The first `size` bytes of a file; nothing where it cannot be read, or is none. `flags` are more of open(2).

    A FIFO or a device is not read: it would wait for its other end, or have no end.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags), "rb") as stream:
            return stream.read(size) if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) else b""
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return b""


def lines(path: str, *, flags: int = 0) -> list[str]:
    """The lines of the beginning of a file, whichever system wrote them, as os.fsdecode decodes them."""
    return [os.fsdecode(line) for line in beginning(path, flags=flags).splitlines()]


def exists(name: str, directory: int) -> bool:
    """Whether there is an entry `name` in the directory: a link that leads nowhere is one."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def same_bytes(one: str, other: str, one_in: int | None = None, other_in: int | None = None) -> bool:
    """Whether two names lead to regular files with the same bytes."""
    with ExitStack() as stack:
        streams = []
        for name, directory in ((one, one_in), (other, other_in)):
            try:
                descriptor = os.open(name, READ, dir_fd=directory)
            except OSError:
                return False
            streams.append(stack.enter_context(open(descriptor, "rb")))
        first, second = (os.fstat(stream.fileno()) for stream in streams)
        if not (stat.S_ISREG(first.st_mode) and stat.S_ISREG(second.st_mode) and first.st_size == second.st_size):
            return False
        while True:
            piece = streams[0].read(_PIECE)
            if piece != streams[1].read(_PIECE):
                return False
            if not piece:
                return True


def below(top: str, within: int | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk, however deep: each directory from `top` down, the names of the directories in it, and of all else.
    (os.walk calls itself for each level up to Python 3.11, os.fwalk always.)

    `within`: a descriptor of the directory that `top` is relative to. No link is followed, but for `top` itself where
    `within` is None. What cannot be listed, or has a path that the kernel takes for too long, is passed over.
    """
    pending, flags = [top], DIRECTORY & ~os.O_NOFOLLOW if within is None else DIRECTORY
    while pending:
        here = pending.pop()
        directories, others = list[str](), list[str]()
        try:
            descriptor = os.open(here, flags, dir_fd=within)
        except OSError:
            continue
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    (directories if entry.is_dir(follow_symlinks=False) else others).append(entry.name)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        yield here, directories, others
        flags = DIRECTORY
        pending += [os.path.join(here, name) for name in reversed(directories)]
