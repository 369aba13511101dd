"""freshness: what shows that a cache has changed since its receipt was written, and what a receipt keeps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.sites import Site

from eggcache.cache import freshness, receipt
from eggcache.model import Finding
from eggcache.system.accounts import Account
from eggcache.target.interpreter import Roots, Target


@pytest.mark.parametrize("change", ["content", "touch", "chmod", "add", "remove", "rename", "retype"])
def test_digest_changes_with_every_change(tmp_path: Path, change: str) -> None:
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


@contextmanager
def going(monkeypatch: pytest.MonkeyPatch, listed: Path, take_away: Callable[[], object]) -> Iterator[None]:
    """While this lasts, what another run does comes between the listing of a directory and the look at its entries."""
    scandir, pending = os.scandir, [take_away]

    @contextmanager
    def late(directory: int) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(directory) as names:
            entries = list(names)
        if pending and os.path.samestat(os.fstat(directory), os.stat(listed)):
            pending.pop()()
        yield entries

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", late)
        yield


def test_what_another_run_takes_away_meanwhile_is_missing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An egg's directory, or the receipt, that goes while the cache is looked at is no error: it does not hold."""
    assert site.prepare().returncode == 0
    descriptor = os.open(site.cache, os.O_RDONLY)
    data = freshness.load(descriptor)
    ((key, entry),) = data["entries"].items()
    assert freshness.holds(data, key, entry["options"], descriptor)
    kept = site.cache / entry["names"][0]
    with going(monkeypatch, kept, lambda: shutil.rmtree(kept)):
        assert freshness.digest(descriptor, kept.name) == ""
    assert not freshness.holds(data, key, entry["options"], descriptor)
    assert site.prepare().returncode == 0
    data = freshness.load(descriptor)
    receipt_file = site.cache / freshness.NAME
    with going(monkeypatch, site.cache, receipt_file.unlink):
        assert not freshness.holds(data, key, entry["options"], descriptor)
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
    target = Target("/p", ["/q"], Account("www-data", 33, 33), 33, "UTC")
    options = freshness.options_of(target, Roots(["r"]), {"ratio": 300})
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
                ["/y.egg"],
            )
        },
        {"x.egg-tmp": receipt.Extracted("/x.egg", [1] * 7, "e", "f", 2, 3)},
    )
    (tmp_path / freshness.NAME).write_bytes(receipt.dump(made))
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert receipt.read(descriptor) == made
    os.close(descriptor)
