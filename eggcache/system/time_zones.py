"""What this machine makes of a time zone: its name, by which rules, and how to say the same without any.

The C library reads a zone from the files of zoneinfo (tzfile(5), RFC 9636), whose rules change several times a year;
or, where no file has that name, from the text itself, as POSIX defines TZ: no host disagrees on that.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from eggcache.model import Zone
from eggcache.system import files

_ZONES, _LOCAL = "/usr/share/zoneinfo", "/etc/localtime"
_LARGEST = 1 << 20  # bytes; zones have up to 5,000
_VERSIONS = {"tzdata.zi": "# version ", "+VERSION": ""}  # files of zoneinfo, and what stands before the version


class _Rules(NamedTuple):
    """What matters of a tzfile."""

    changes: bool  # whether the offset from UTC changes, or ever has
    posix: str  # the TZ of its present rules, which ends the file since version 2; "" for none


def of(name: str | None) -> Zone:
    """The zone that a value of TZ means on this machine.

    :param name: the value; None: TZ is unset, and the machine's own zone holds
    """
    if name is None:
        file, label = _LOCAL, _own_name()
    else:
        zone = name.removeprefix(":")
        file, label = os.path.join(_ZONES, zone) if zone else "", name
    rules = _read(file)
    if rules is None or not rules.changes:
        return Zone(label, None, False, rules.posix if rules and name is None else "")
    return Zone(label, _version(), True, rules.posix)


def _own_name() -> str:
    """The name of the machine's own zone; "" where nothing tells it."""
    place = os.path.realpath(_LOCAL)
    if place.startswith(_ZONES + "/"):
        return place[len(_ZONES) + 1 :]
    return next(iter(files.lines("/etc/timezone")), "").strip()


def _version() -> str | None:
    """The version of the rules, as "2025b"; None where no file tells it."""
    for name, prefix in _VERSIONS.items():
        line = next(iter(files.beginning(os.path.join(_ZONES, name), 100).decode("ascii", "replace").splitlines()), "")
        if line.startswith(prefix) and line[len(prefix) :].strip():
            return line[len(prefix) :].strip()
    return None


def _read(file: str) -> _Rules | None:
    """The rules in a tzfile; None where it is none, as where a TZ is no file's name."""
    data = files.beginning(file, _LARGEST) if file else b""
    try:
        changes, end = _part(data, 0, 4)
        if data[4:5] < b"2":
            return _Rules(changes > 0, "")
        changes, end = _part(data, end, 8)
    except (ValueError, struct.error):
        return None
    posix = data[end:].decode("ascii", "replace").strip("\n")
    return _Rules(changes > 0 or "," in posix, posix if posix.isprintable() and posix.isascii() else "")


def _part(data: bytes, offset: int, width: int) -> tuple[int, int]:
    """How many changes a part of a tzfile, from `offset` on, lists, and where it ends: the first part, whose times
    have 4 bytes each, may be left empty for the second. Raises ValueError and struct.error where it is none."""
    if data[offset : offset + 4] != b"TZif":
        raise ValueError("no part of a tzfile")
    ut, standard, leaps, changes, types, letters = struct.unpack_from(">6L", data, offset + 20)
    size = changes * (width + 1) + types * 6 + letters + leaps * (width + 4) + standard + ut
    return changes, offset + 44 + size
