"""zones: what a machine makes of a TZ, and whether another machine may make something else of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.parts import missing

from eggcache.eggs import zip_dates
from eggcache.model import Zone
from eggcache.system import time_zones


@pytest.mark.parametrize(
    ("name", "depends", "posix"),
    [
        ("Europe/Madrid", True, "CET-1CEST,M3.5.0,M10.5.0/3"),
        (":Europe/Madrid", True, "CET-1CEST,M3.5.0,M10.5.0/3"),
        ("Asia/Tokyo", True, "JST-9"),  # no summer time since 1951
        ("UTC", False, ""),
        ("UTC0", False, ""),  # no file has that name
        ("", False, ""),
        ("CET-1CEST,M3.5.0,M10.5.0/3", False, ""),
    ],
)
def test_zone_depends_on_its_rules_where_its_offset_changes(name: str, depends: bool, posix: str) -> None:
    """A zone of a file depends on its rules where its offset ever changes, and the end of the file says those of today;
    what the text itself says depends on nothing."""
    if not Path("/usr/share/zoneinfo/Europe/Madrid").exists():
        missing("there is no zoneinfo")
    assert time_zones.of(name) == Zone(name, time_zones._version() if depends else None, depends, posix)


def test_the_text_says_the_same() -> None:
    """The C library reckons by what is recommended as by the zone that it stands for, winter and summer."""
    dates = [(2010, 1, 15, 12, 0, 0), (2024, 7, 15, 12, 0, 0), (2024, 3, 31, 3, 0, 0)]
    zones = []
    for name in ("Europe/Madrid", time_zones.of("Europe/Madrid").posix):
        with zip_dates.zone(name):
            zones.append([time.mktime((*date, 0, 0, -1)) for date in dates])
    assert zones[0] == zones[1]


@pytest.mark.parametrize("data", [b"", b"TZif", b"TZif2" + b"\0" * 39, b"TZif2" + b"\xff" * 60, b"no zone at all"])
def test_what_is_no_zone(tmp_path: Path, data: bytes) -> None:
    """A file that is none, or is cut short, has no rules."""
    (tmp_path / "zone").write_bytes(data)
    assert time_zones._read(str(tmp_path / "zone")) is None


def test_slim_and_fat_files(tmp_path: Path) -> None:
    """zic leaves the first part of a slim file empty; Debian's are fat. Both say the same."""
    first = b"TZif2" + bytes(15) + bytes(24)
    second = b"TZif2" + bytes(15) + bytes(12) + (1).to_bytes(4, "big") + (1).to_bytes(4, "big") + (4).to_bytes(4, "big")
    slim = first + second + bytes(8 + 1 + 6) + b"CET\0" + b"\nCET-1\n"
    (tmp_path / "zone").write_bytes(slim)
    assert time_zones._read(str(tmp_path / "zone")) == (True, "CET-1")
