"""Packing: the members of an egg, added to a tar archive as `extract` would write them, or none of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from eggcache.eggs import decompression, extract, zip_dates
from eggcache.eggs import reader as eggs
from eggcache.eggs.decompression import WINDOW, File
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError
from eggcache.model import Member, Ownership
from eggcache.system.tar_members import Tar

_MEMORY = 16 << 20  # bytes of an egg's members, unpacked, that are kept in memory until all are known to be sound


class SpoiledArchive(EggcacheError):
    """An archive has a part of an egg, whose rest cannot be had: the archive has no use."""


class Entry(NamedTuple):
    """A file of an unpacked egg."""

    name: str  # in the egg's directory
    member: Member  # whose bytes it has
    mtime: int  # seconds since the epoch
    mode: int  # permission bits


def entries(opened: Opened, ownership: Ownership) -> Iterator[Entry]:
    """All files of an egg, as a cache has them."""
    for name, member in opened.members:
        yield Entry(name, member, zip_dates.mtime(member.date_time), ownership.file_mode)


def pack(tar: Tar, opened: Opened, into: str, ownership: Ownership, selection: Iterable[Entry] | None = None) -> None:
    """Add the directory `into` with the files of an egg, its directories first, each in the order of their names. A
    directory has the mtime of the newest file of the egg, so that the same egg makes the same archive.

    An egg of more than 16 MiB is read twice: first to see that it is sound.

    :param tar: the archive, open for writing
    :param opened: the egg
    :param into: the name of the directory in the archive
    :param ownership: owner, group and modes that the members of the archive get
    :param selection: the files; None: `entries`, as a cache has them
    :raises EggRefused: a member is damaged, or the egg has changed: nothing of it is in the archive
    :raises EggcacheError: the egg cannot be read: nothing of it is in the archive
    :raises SpoiledArchive: one of these, in the second reading
    """
    files = sorted(
        entries(opened, ownership) if selection is None else selection, key=lambda entry: os.fsencode(entry.name)
    )
    contents: dict[str, bytes] | None = None
    if sum(entry.member.size for entry in files) <= _MEMORY:
        by_place = sorted(files, key=lambda entry: entry.member.offset)  # to read the file from first to last
        file, starts = File(opened.source, opened.egg.path, WINDOW, opened.egg.contents), opened.egg.starts
        contents = {
            entry.name: decompression.data(file, entry.member, starts[entry.member.offset]) for entry in by_place
        }
    else:
        for entry in files:
            for _piece in eggs.chunks(opened.source, opened.egg, entry.member):
                pass
    change = extract.change(opened.egg, opened.source)
    if change:
        raise change
    _directories(tar, into, files, opened, ownership)
    for entry in files:
        pieces = eggs.chunks(opened.source, opened.egg, entry.member) if contents is None else (contents[entry.name],)
        owner = ownership if entry.mode == ownership.file_mode else replace(ownership, file_mode=entry.mode)
        try:
            tar.file(f"{into}/{entry.name}", entry.member.size, pieces, entry.mtime, owner)
        except EggcacheError as error:
            cause = f"it changed while it was written to the archive: {error.cause}"
            raise SpoiledArchive(error.thing, cause, "run it again when it is installed") from error


def _directories(tar: Tar, into: str, files: list[Entry], opened: Opened, ownership: Ownership) -> None:
    newest = max((entry.mtime for entry in files), default=0)
    tar.directory(into, newest, ownership)
    below = extract.directories((entry.name for entry in files), opened.directories())
    for name in sorted(below, key=os.fsencode):
        tar.directory(f"{into}/{name}", newest, ownership)
