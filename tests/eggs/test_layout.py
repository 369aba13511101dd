"""layout: the rules of pkg_resources."""

from __future__ import annotations

import os
import time

import pytest

from eggcache.eggs import layout


@pytest.mark.parametrize(
    ("name", "moment", "expected"),
    [
        ("UTC", (2009, 6, 15, 12, 0, 0), 1245067200),
        ("America/New_York", (2009, 6, 15, 12, 0, 0), 1245081600),
        ("Europe/Madrid", (2009, 1, 15, 12, 0, 2), 1232017202),
        ("UTC", (2009, 0, 15, 12, 0, 0), 1229342400),  # month 0 is December before
        ("UTC", (2009, 2, 31, 12, 0, 0), 1236081600),  # 31 February is 3 March
        ("UTC", (2009, 2, 1, 31, 63, 62), 1233561842),
        ("UTC", (2107, 12, 31, 23, 59, 58), 4354819198),
    ],
)
def test_dates_are_those_of_mktime_in_the_zone(
    name: str, moment: tuple[int, int, int, int, int, int], expected: int
) -> None:
    """Dates are reckoned as mktime does it in the zone asked for, impossible ones included."""
    with layout.zone(name):
        assert layout.mtime(moment) == expected


def test_zone_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own zone is as it was afterwards, also where it had none."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    with layout.zone(None):
        assert "TZ" not in os.environ
    assert time.tzname[0] == "JST"
    monkeypatch.undo()
    time.tzset()


def test_only_local_times_that_occur_twice_are_ambiguous() -> None:
    """Only local times that occur twice are ambiguous; the gap in spring is not."""
    with layout.zone("Europe/Madrid"):
        assert layout.ambiguous((2009, 10, 25, 2, 30, 0))
        assert not layout.ambiguous((2009, 10, 25, 3, 0, 0))
        assert not layout.ambiguous((2009, 3, 29, 2, 30, 0))
    with layout.zone("America/Cancun"):
        assert not layout.ambiguous((1981, 12, 26, 2, 30, 62))
    with layout.zone("UTC"):
        assert not layout.ambiguous((2009, 10, 25, 2, 30, 0))
