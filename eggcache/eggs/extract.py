"""Extraction: the members of eggs, written below the descriptor of a directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from eggcache.eggs import decompression, zip_dates
from eggcache.eggs import reader as eggs
from eggcache.eggs.decompression import WINDOW, File
from eggcache.errors import EggcacheError, EggChanged
from eggcache.model import DateTime, Member, Ownership
from eggcache.system import files, safe_dirs, workers

Advance = Callable[[int, int], object]  # so many more files, and bytes of the zip

_NATIVE = (".so", ".dll", ".dylib", ".pyd", ".sl")  # what bdist_egg counts as native libraries

# What a file costs beside its bytes, in bytes that could be inflated and written instead; and what forking costs
_FILE, _FORK = 10_000, 8_000_000
_SHARE = 1_000_000  # of that, what a worker takes at once: small enough for all to end together


def executable(name: str) -> bool:
    """Whether easy_install would set the x bits of an unpacked member of this name.

    :param name: the name of a member in the egg
    """
    return name.lower().endswith(_NATIVE)


@dataclass(frozen=True)
class Opened:
    """An egg that is open at `source`, and its root: the directory in it that is extracted (a basket's "inner.egg/"),
    or ""."""

    source: int
    egg: eggs.Egg
    inside: str = ""

    @cached_property
    def members(self) -> list[tuple[str, Member]]:
        """The members below the root, each with its name in the directory of the cache."""
        root, members = self.inside, self.egg.members
        if not root:
            return [(member.name, member) for member in members]
        return [(member.name[len(root) :], member) for member in members if member.name.startswith(root)]

    def directories(self) -> list[str]:
        """The directories that have entries of their own in the egg, by their names in the cache."""
        root = self.inside
        return [name[len(root) :] for name in self.egg.directories if name.startswith(root)]

    def check(self) -> None:
        """Raise EggRefused where one of them is damaged."""
        for _, member in self.members:
            for _piece in eggs.chunks(self.source, self.egg, member):
                pass

    def bytes_of(self, member: Member) -> bytes:
        """A digest of the bytes of `member`, which may be too large for the memory. Raises EggRefused where the member
        is damaged."""
        digest = blake2b()
        for piece in eggs.chunks(self.source, self.egg, member):
            digest.update(piece)
        return digest.digest()


def change(egg: eggs.Egg, source: int) -> EggChanged | None:
    """The error where the egg that is open at `source` is not as it was when its structure was read; None: it is."""
    record, info = egg.stat, os.fstat(source)
    if (record.st_size, record.st_mtime_ns, record.st_ctime_ns) == (info.st_size, info.st_mtime_ns, info.st_ctime_ns):
        return None
    return EggChanged(egg.path, "it changed while it was read", "run again when it is installed")


class Extraction:
    """One egg on its way into a directory. Its directories are made at once, its members are written in shares, and the
    directories get their owner and modes last. Modes of the zip are never applied.

    :param into: an empty directory that nobody else can enter: the modes are widened here, before the caller swaps it
    :param native_mode: the mode of native libraries; None: as any file
    :param mtime: the seconds since the epoch for a zip's date
    """

    def __init__(
        self,
        opened: Opened,
        into: int,
        ownership: Ownership,
        *,
        native_mode: int | None = None,
        mtime: Callable[[DateTime], int] = zip_dates.mtime,
    ) -> None:
        self.source = opened.source
        self.egg = opened.egg
        self.into = into
        self.ownership = ownership
        self.native_mode = native_mode
        self.file = File(opened.source, opened.egg.path, reach=WINDOW, contents=opened.egg.contents)
        self.entries = [(member, name) for name, member in opened.members]
        self.entries.sort(key=lambda entry: entry[0].offset)  # to read the file from first to last
        times = {moment: mtime(moment) for moment in {member.date_time for member, _ in self.entries}}
        self.times = {moment: (seconds, seconds) for moment, seconds in times.items()}  # of access, and mtime
        self.size = sum(member.size for member, _ in self.entries)
        self.directories = directories([name for _, name in self.entries], opened.directories())
        if os.fstat(into).st_gid != ownership.gid:  # what is made in a setgid directory gets the directory's group
            safe_dirs.set_owner(into, os.geteuid(), ownership.gid, 0o2700)
        for directory in self.directories:
            os.mkdir(directory, 0o700, dir_fd=into)

    @property
    def files(self) -> int:
        """The number of files."""
        return len(self.entries)

    @property
    def cost(self) -> int:
        """The time that writing takes, in bytes that could be written instead."""
        return self.size + self.files * _FILE

    def shares(self, share: int) -> Iterator[range]:
        """The positions of members in `entries`, in ranges that cost about `share`."""
        start = cost = 0
        for position, (member, _) in enumerate(self.entries):
            cost += member.size + _FILE
            if cost >= share:
                yield range(start, position + 1)
                start, cost = position + 1, 0
        if start < len(self.entries):
            yield range(start, len(self.entries))

    def write(self, positions: range) -> None:
        """Write the members at these `positions`. Raises EggRefused for a member that does not decompress to what its
        entry declares, and OSError where the disk refuses.

        A file is made with its mode, in a directory that gives it its group: three files of four system calls cost as
        much as two of six. A file system that gives others to the first file of a mode gives them to all.
        """
        owner, native_mode, exact = self.ownership, self.native_mode, dict[int, bool]()
        for member, name in self.entries[positions.start : positions.stop]:
            mode = native_mode if native_mode and executable(name) else owner.file_mode
            descriptor = os.open(name, safe_dirs.CREATE, mode, dir_fd=self.into)
            try:
                for chunk in self._bytes(member):
                    count = os.write(descriptor, chunk)
                    while count < len(chunk):
                        count += os.write(descriptor, memoryview(chunk)[count:])
                if mode not in exact:
                    info = os.fstat(descriptor)
                    exact[mode] = (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (owner.uid, owner.gid, mode)
                if not exact[mode]:
                    os.fchown(descriptor, owner.uid, owner.gid)
                    os.fchmod(descriptor, mode)
                os.utime(descriptor, self.times[member.date_time])  # last: writing and chmod would move it
            finally:
                os.close(descriptor)

    def _bytes(self, member: Member) -> Iterable[bytes]:
        start = self.egg.starts[member.offset]
        if decompression.small(member):
            data = decompression.data(self.file, member, start)
            return (data,) if data else ()
        return decompression.chunks(self.file, member, start)

    def finish(self) -> None:
        """Give the directories, children first, their owner and mode."""
        owner = self.ownership
        for name in reversed(self.directories):
            with files.closing(os.open(name, safe_dirs.DIRECTORY, dir_fd=self.into)) as descriptor:
                safe_dirs.set_owner(descriptor, owner.uid, owner.gid, owner.directory_mode)
        safe_dirs.set_owner(self.into, owner.uid, owner.gid, owner.directory_mode)


def write_all(
    extractions: Sequence[Extraction], advance: Advance = lambda _files, _size: None
) -> list[EggcacheError | None]:
    """Write all of these, on all cores where that is faster. Returns for each the reason why it was refused, or None.

    `advance` is called with the files and bytes written. Raises OSError where the disk refuses, and where a worker was
    killed: then nothing is complete.
    """
    total = sum(extraction.cost for extraction in extractions)
    share = max(_SHARE, total // (workers.MOST_JOBS // 2))
    jobs = [(number, part) for number, extraction in enumerate(extractions) for part in extraction.shares(share)]
    errors: list[EggcacheError | None] = [None] * len(extractions)

    def work(job: tuple[int, range]) -> None:
        extractions[job[0]].write(job[1])

    def end(position: int, error: Exception | None) -> None:
        number, part = batch[position]
        if error is None:
            advance(len(part), sum(extractions[number].entries[at][0].packed for at in part))
        elif isinstance(error, EggcacheError):
            errors[number] = errors[number] or error
        else:
            raise error

    umask = os.umask(0o022)  # a caller's might take bits away from the modes of files, which never have more
    try:
        for start in range(0, len(jobs), workers.MOST_JOBS):
            batch = jobs[start : start + workers.MOST_JOBS]
            workers.share(batch, work, end, min(workers.cores(), 1 + total // _FORK))
    finally:
        os.umask(umask)
    for extraction, refusal in zip(extractions, errors):
        if refusal is None:
            extraction.finish()
    return errors


def directories(names: Iterable[str], empty: Iterable[str]) -> list[str]:
    """All the directories that hold `names`, and the `empty` ones, parents first.

    :param names: names of files, with / between directories
    :param empty: names of directories, which may hold nothing
    :returns: each directory once
    """
    paths: set[str] = set()
    for name in (*names, *empty):
        cut = name.rfind("/")
        while cut > 0 and name[:cut] not in paths:
            paths.add(name[:cut])
            cut = name.rfind("/", 0, cut)
    return sorted(paths, key=lambda directory: (directory.count("/"), directory))
