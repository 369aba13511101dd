"""Where pkg_resources looks for an extracted member, and when it takes that file for current.

Pure rules, read off pkg_resources (ZipProvider._extract_resource, _is_current, _get_date_and_size) of
setuptools 0.6c11 to 81 and measured there: a member NAME of EGG is looked for at EGG-tmp/NAME in the cache
and is current when its size is the zip's and its mtime is exactly `time.mktime` of the zip's date in the
time zone of the asking process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from eggcache.model import DateTime, Distribution

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
    """Whether this local time occurs twice, when the clocks go back: then mktime's answer depends on the
    calls that the process made before, and no mtime is right for every process.

    :param date_time: the date of the zip's member: year, month, day, hour, minute, second
    """
    seconds = mtime(date_time)
    if time.localtime(seconds - _DAY).tm_gmtoff == time.localtime(seconds + _DAY).tm_gmtoff:
        return False  # no clock is put back; where there is no summer time, to ask mktime for it takes 20 microseconds
    try:
        winter = time.mktime((*date_time, 0, 0, 0))
        summer = time.mktime((*date_time, 0, 0, 1))
    except OverflowError:  # glibc finds none of the one kind: America/Cancun, 26 December 1981
        return False
    return winter != summer and time.localtime(winter)[:6] == time.localtime(summer)[:6]


def cache_directory(distribution: Distribution) -> str:
    """The name of the directory in the cache where the target looks for the members of this distribution.

    :param distribution: one that lies in a zip
    :raises ValueError: it lies in no zip
    """
    if not distribution.cache_name:
        raise ValueError(f"{distribution.location} is not zipped")
    return distribution.cache_name + "-tmp"
