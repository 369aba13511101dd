"""An egg's members, written below a directory descriptor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from eggcache import egg as eggs
from eggcache import layout, lockdown
from eggcache.model import DateTime, Member, Ownership

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NATIVE = (".so", ".dll", ".dylib", ".pyd", ".sl")  # what bdist_egg counts as native libraries


def executable(name: str) -> bool:
    """Whether easy_install would set the x bits of an unpacked member of this name."""
    return name.lower().endswith(_NATIVE)


def extract(
    source: int,
    egg: eggs.Egg,
    into: int,
    ownership: Ownership,
    *,
    inside: str = "",
    native_mode: int | None = None,
    mtime: Callable[[DateTime], int] = layout.mtime,
) -> tuple[int, int]:
    """Write the members of `egg` below `into`: how many files, how many bytes.

    `source` is the egg's descriptor. `into` must be an empty directory that nobody else can enter, since the
    modes are widened here and the caller swaps it into place only later. `inside` is the root in the zip
    (a basket's "inner.egg/"): only what is below it is written, without it. `mtime` gives the seconds for a
    zip's date, `native_mode` is the mode of native libraries (default: as any file). Zip modes are never
    applied. Raises EggRefused for a member that does not decompress to what its entry promises, OSError where
    the disk refuses.
    """
    files = size = 0
    times: dict[DateTime, int] = {}
    wanted = [(member, name) for member in egg.members if (name := layout.cached_name(member, inside))]
    empty = [name[len(inside) :] for name in egg.directories if name.startswith(inside)]
    directories = _directories([name for _, name in wanted], empty)
    for directory in directories:
        os.mkdir(directory, 0o700, dir_fd=into)
    for member, name in wanted:
        moment = times.get(member.date_time)
        if moment is None:
            moment = times[member.date_time] = mtime(member.date_time)
        mode = native_mode if native_mode is not None and executable(name) else ownership.file_mode
        _write(source, egg, member, os.open(name, _CREATE, 0o600, dir_fd=into), ownership, mode, moment)
        files += 1
        size += member.size
    for directory in reversed(directories):
        _own_directory(directory, into, ownership)
    lockdown.own(into, ownership.uid, ownership.gid, ownership.directory_mode)
    return files, size


def _write(
    source: int, egg: eggs.Egg, member: Member, descriptor: int, ownership: Ownership, mode: int, moment: int
) -> None:
    try:
        for chunk in eggs.chunks(source, egg, member):
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
        os.fchown(descriptor, ownership.uid, ownership.gid)
        os.fchmod(descriptor, mode)
        os.utime(descriptor, (moment, moment))  # last: writing and chmod would move it
    finally:
        os.close(descriptor)


def _directories(names: Iterable[str], empty: Iterable[str]) -> list[str]:
    """All the directories that hold `names`, and the `empty` ones, parents first."""
    found: set[str] = set()
    for name in (*names, *empty):
        cut = name.rfind("/")
        while cut > 0 and name[:cut] not in found:
            found.add(name[:cut])
            cut = name.rfind("/", 0, cut)
    return sorted(found, key=lambda directory: (directory.count("/"), directory))


def _own_directory(name: str, into: int, ownership: Ownership) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=into)
    try:
        lockdown.own(descriptor, ownership.uid, ownership.gid, ownership.directory_mode)
    finally:
        os.close(descriptor)
