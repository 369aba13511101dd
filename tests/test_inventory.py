"""status: what is in a cache, as the receipt tells it."""

from __future__ import annotations

import os

import pytest
from sites import Site

import eggcache
from eggcache.errors import NotPermitted


def test_current_and_stale(site: Site) -> None:
    """What was prepared is current until something that it depended on changes, which is named."""
    site.prepare()
    found = eggcache.status(str(site.cache))
    assert found.findings == ()
    assert [one.state for one in found.contents] == ["current", "current"]
    egg = site.eggs / "One-1.0-py3.11.egg"
    os.utime(egg)
    found = eggcache.status(str(site.cache))
    assert [one.state for one in found.contents] == ["egg-changed", "current"]
    assert [(one.code, one.status, one.context) for one in found.findings] == [("cache-stale", 3, (str(egg),))]


def test_no_cache(site: Site) -> None:
    """A directory that is something else is refused."""
    with pytest.raises(NotPermitted, match="no egg cache"):
        eggcache.status(str(site.eggs))
