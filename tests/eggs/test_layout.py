"""layout and receipt: the rules of pkg_resources, and what a receipt notices."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from eggcache.cache import freshness, receipt
from eggcache.eggs import layout
from eggcache.system.accounts import Account
from eggcache.target.interpreter import Roots, Target


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
def test_mtime(name: str, moment: tuple[int, int, int, int, int, int], expected: int) -> None:
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


def test_ambiguous_hour() -> None:
    """Only local times that occur twice are ambiguous; the gap in spring is not."""
    with layout.zone("Europe/Madrid"):
        assert layout.ambiguous((2009, 10, 25, 2, 30, 0))
        assert not layout.ambiguous((2009, 10, 25, 3, 0, 0))
        assert not layout.ambiguous((2009, 3, 29, 2, 30, 0))
    with layout.zone("UTC"):
        assert not layout.ambiguous((2009, 10, 25, 2, 30, 0))


@pytest.mark.parametrize("change", ["content", "touch", "chmod", "add", "remove", "rename", "retype"])
def test_digest_notices(tmp_path: Path, change: str) -> None:
    """Every change below a cache directory changes its digest; looking does not."""
    top = tmp_path / "x.egg-tmp"
    (top / "pkg").mkdir(parents=True)
    (top / "pkg" / "a").write_text("a")
    (top / "pkg" / "b").write_text("b")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    before = freshness.digest(descriptor, "x.egg-tmp")
    assert before == freshness.digest(descriptor, "x.egg-tmp") != ""
    if change == "content":
        info = (top / "pkg" / "a").stat()
        (top / "pkg" / "a").write_text("c")
        os.utime(top / "pkg" / "a", ns=(info.st_atime_ns, info.st_mtime_ns))
    elif change == "touch":
        os.utime(top / "pkg" / "a", (1, 1))
    elif change == "chmod":
        (top / "pkg").chmod(0o700)
    elif change == "add":
        (top / "new").mkdir()
    elif change == "remove":
        (top / "pkg" / "b").unlink()
    elif change == "rename":
        (top / "pkg" / "b").rename(top / "pkg" / "c")
    else:
        (top / "pkg" / "b").unlink()
        (top / "pkg" / "b").symlink_to("a")
    after = freshness.digest(descriptor, "x.egg-tmp")
    os.close(descriptor)
    assert after != before


def test_digest_of_what_is_missing(tmp_path: Path) -> None:
    """A directory that is not there has the empty digest, which no receipt records."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert freshness.digest(descriptor, "x.egg-tmp") == ""
    os.close(descriptor)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema": 1}', '{"schema": 2, "entries": 7, "extracted": {}}', "[" * 100000]
)
def test_receipt_that_makes_no_sense(tmp_path: Path, text: str) -> None:
    """A receipt that is damaged, or of another version, is no receipt: the whole way is gone."""
    (tmp_path / freshness.NAME).write_text(text)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert receipt.read(descriptor) == receipt.Receipt()
    os.close(descriptor)


def test_receipt_round_trip(tmp_path: Path) -> None:
    """What is written is read again, surrogate escapes in paths included."""
    from eggcache.model import Finding

    target = Target("/p", ["/q"], Account("www-data", 33, 33), 33, "UTC")
    options = freshness.asked(target, {"ratio": 300})
    made = receipt.Receipt(
        {
            freshness.key(target, Roots(["r"])): receipt.Entry(
                options,
                {"/p\udcff": [1, 2, 3, 4, 5, -6, 7], "/gone": None, "/changed": []},
                ["x.egg-tmp"],
                [Finding("c", "t", "w", "r", 3, ("d",))],
                1_700_000_000,
                "0.1.0",
                [2, 7, 18],
            )
        },
        {"x.egg-tmp": receipt.Extracted("/x.egg", [1] * 7, "e", "f", 2, 3)},
    )
    (tmp_path / freshness.NAME).write_bytes(receipt.dump(made))
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert receipt.read(descriptor) == made
    os.close(descriptor)
