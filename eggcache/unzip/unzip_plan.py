"""Which zipped eggs can be unzipped ones, where, and of which files: for unzip-all, and for an archive of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from eggcache.eggs import byte_code, extract, zip_dates
from eggcache.eggs import reader as eggs
from eggcache.eggs.extract import Opened
from eggcache.eggs.packing import Entry
from eggcache.errors import EggUnsuitable
from eggcache.model import Distribution, Kind, Ownership
from eggcache.target import command_lines


def by_directory(distributions: Iterable[Distribution], *, zipped: bool = True) -> dict[str, dict[str, Distribution]]:
    """The zipped eggs, or the unzipped ones, by directory and name. A link on the path goes on leading to the egg."""
    directories: dict[str, dict[str, Distribution]] = {}
    for distribution in distributions:
        path = distribution.egg if distribution.kind.zipped else distribution.location
        if path is not None and (distribution.kind.zipped if zipped else distribution.kind is Kind.UNZIPPED):
            directory, name = os.path.split(os.path.realpath(path))
            directories.setdefault(directory, {}).setdefault(name, distribution)
    return directories


def check(distribution: Distribution, egg: eggs.Egg) -> None:
    """Refuse an egg that would be another distribution, or none, as a directory."""
    if distribution.kind is Kind.ZIP or not egg.path.lower().endswith(".egg"):
        cause = "its name does not end in .egg, so as a directory it would be no egg"
        raise EggUnsuitable(egg.path, cause, command_lines.UNPACK)
    for member in egg.members:
        parts = member.name.split("/")
        if len(parts) > 2 and parts[0].lower().endswith(".egg") and parts[1] == "EGG-INFO":
            cause = f"it is a basket: pkg_resources would not look for {parts[0]} in a directory of this name"
            remedy = "install that egg beside it, or leave it zipped and use eggcache prepare"
            raise EggUnsuitable(egg.path, cause, remedy)
    for name in egg.unusual:
        try:
            os.fsencode(name).decode("utf-8")
        except UnicodeDecodeError:
            cause = f"Pythons disagree on the name of {name!a}"
            raise EggUnsuitable(egg.path, cause, "install this distribution unzipped") from None


def entries(
    opened: Opened, ownership: Ownership, version: tuple[int, ...], headers: Mapping[str, bytes]
) -> Iterator[Entry]:
    """All files of an unzipped egg that nobody has byte-compiled, for a Python of that version.

    The egg's own byte code is among them where that Python takes it for current, and the source then has the mtime that
    the byte code asks for. Other byte code of a source that is there is left out: that Python would try to write it
    anew.

    :param headers: how the byte code in the egg begins, by its name
    """
    members = dict(opened.members)
    sources = {name for name in members if name.endswith(".py")}
    mtimes = {name: _mtime(name, members[name].size, version, headers) for name in sources}
    for name, member in members.items():
        source = byte_code.source_of(name, sources)
        if source is not None:
            stamp = byte_code.stamp(headers[name], version, members[source].size)
            is_current = stamp is not None and stamp in (-1, mtimes[source])
            if not is_current or name not in byte_code.file_names(source, version):
                continue
        mode = ownership.directory_mode if extract.executable(name) else ownership.file_mode
        mtime = mtimes.get(name)
        yield Entry(name, member, _date(member.date_time) if mtime is None else mtime, mode)


def _mtime(source: str, size: int, version: tuple[int, ...], headers: Mapping[str, bytes]) -> int | None:
    """The mtime of a source by which most of its byte code fits; None where any does as well."""
    for name in byte_code.file_names(source, version):
        stamp = byte_code.stamp(headers.get(name, b""), version, size)
        if stamp not in (None, -1):
            return stamp
    return None


def _date(date_time: tuple[int, int, int, int, int, int]) -> int:
    """The zip's date, as zip_dates.mtime has it; real eggs are dated 2098, at which tar would warn."""
    mtime = zip_dates.mtime(date_time)
    return mtime if mtime <= byte_code.LATEST else zip_dates.mtime((1980, 1, 1, 0, 0, 0))
