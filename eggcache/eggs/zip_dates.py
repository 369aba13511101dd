"""The mtime that a zip's date stands for, as pkg_resources reckons it, and the dates for which it has no sure one.

Pure rules, read off pkg_resources (ZipProvider._is_current, _get_date_and_size) of setuptools 0.6c11 to 81 and measured
there: an extracted member is current when its size is the zip's and its mtime is exactly `time.mktime` of the zip's
date in the time zone of the asking process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import lru_cache

from eggcache.model import DateTime

_DAY = 86_400  # seconds


@contextmanager
def zone(name: str | None) -> Iterator[None]:
    """Use the time zone `name`, a value of TZ, in the body; None: the host's zone, as with TZ unset.

    :param name: a value of TZ; None: the host's zone
    """
    previous = os.environ.get("TZ")
    _set_zone(name)
    try:
        yield
    finally:
        _set_zone(previous)


def _set_zone(name: str | None) -> None:
    if name is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = name
    time.tzset()
    mtime.cache_clear()
    ambiguous.cache_clear()


@lru_cache(maxsize=4096)  # one mktime takes 10 microseconds, and members of one egg were mostly written together
def mtime(date_time: DateTime) -> int:
    """The mtime, in seconds since the epoch, that pkg_resources expects in the current time zone.

    Always through mktime, never datetime: the dates in real eggs include month 0 and second 62, which
    mktime normalises as the target's does.

    :param date_time: the date of the zip's member: year, month, day, hour, minute, second
    """
    return int(time.mktime((*date_time, 0, 0, -1)))


@lru_cache(maxsize=4096)
def ambiguous(date_time: DateTime) -> bool:
    """Whether the mtime that pkg_resources expects depends on the calls of mktime that its process made before, so
    that no mtime is right for every process.

    So it is, by glibc, where this local time occurs twice; and where it does not occur, and no summer time begins or
    ends there: a zone that moves its standard time forward. Where summer time begins, mktime has one answer.

    :param date_time: the date of the zip's member: year, month, day, hour, minute, second
    """
    seconds = mtime(date_time)
    before, after = time.localtime(seconds - _DAY), time.localtime(seconds + _DAY)
    if before.tm_gmtoff == after.tm_gmtoff:
        return False  # no clock is set
    answers = [_as_utc(date_time) - side.tm_gmtoff for side in (before, after)]
    right = [time.localtime(answer).tm_gmtoff == side.tm_gmtoff for answer, side in zip(answers, (before, after))]
    return all(right) or (not any(right) and before.tm_isdst == after.tm_isdst)


def _as_utc(date_time: DateTime) -> int:
    """The seconds since the epoch, were the date one of UTC; one that is impossible is normalised as by mktime."""
    year, month, day, hour, minute, second = date_time
    years, months = divmod(month - 1, 12)
    days = date(year + years, months + 1, 1).toordinal() - date(1970, 1, 1).toordinal() + day - 1
    return days * _DAY + hour * 3600 + minute * 60 + second
