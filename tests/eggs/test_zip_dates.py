"""zip_dates: the times that pkg_resources makes of the dates in zips."""

from __future__ import annotations

import os
import time

import pytest

from eggcache.eggs import zip_dates


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
    with zip_dates.zone(name):
        assert zip_dates.mtime(moment) == expected


def test_zone_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own zone is as it was afterwards, also where it had none."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    with zip_dates.zone(None):
        assert "TZ" not in os.environ
    assert time.tzname[0] == "JST"
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "moment", "ambiguous"),
    [
        ("Europe/Madrid", (2009, 10, 25, 2, 30, 0), True),  # summer time ends
        ("Europe/Madrid", (2009, 10, 25, 3, 0, 0), False),
        ("Europe/Madrid", (2009, 3, 29, 2, 30, 0), False),  # it begins: 2:30 is 3:30 to each process
        ("Europe/Dublin", (2009, 3, 29, 1, 30, 0), False),  # where winter is what differs from standard time
        ("Europe/Dublin", (2009, 10, 25, 1, 30, 0), True),
        ("Australia/Lord_Howe", (2009, 4, 5, 1, 45, 0), True),  # half an hour
        ("Europe/Moscow", (2014, 10, 26, 1, 30, 0), True),  # from one standard time to another
        ("America/Caracas", (2007, 12, 9, 2, 45, 0), True),
        ("America/Caracas", (2016, 5, 1, 2, 45, 0), True),  # and forward: a gap
        ("Pacific/Apia", (2011, 12, 30, 0, 30, 0), True),  # a day that there was not
        ("America/Cancun", (1981, 12, 26, 2, 30, 62), True),
        ("UTC", (2009, 10, 25, 2, 30, 0), False),
        ("Europe/Madrid", (2009, 0, 0, 2, 30, 62), False),
    ],
)
def test_time_is_ambiguous_where_mktime_takes_a_chance(
    name: str, moment: tuple[int, int, int, int, int, int], ambiguous: bool
) -> None:
    """A local time is ambiguous where mktime's answer depends on what the process asked before, and only there."""
    with zip_dates.zone(name):
        answers = set()
        for year in range(moment[0] - 2, moment[0] + 3):
            for month in (1, 7):
                time.mktime((year, month, 3, 12, 0, 0, 0, 0, -1))
                answers.add(time.mktime((*moment, 0, 0, -1)))
        assert (len(answers) > 1) is ambiguous
        assert zip_dates.ambiguous(moment) is ambiguous
