"""archive: a cache as a tar archive, the same tree that `prepare` leaves."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.zips import Entry, archive

from eggcache.cache.cache_archive import Archive, Extra
from eggcache.cache.plan import Cache, Plan
from eggcache.cache.receipt import Receipt
from eggcache.eggs import packing, zip_dates
from eggcache.eggs.extract import Opened
from eggcache.errors import EggChanged
from eggcache.model import DEFAULT_LIMITS, Distribution, Interpreter, Kind, Ownership, Tree
from eggcache.progress import Progress
from eggcache.system import accounts
from eggcache.system.tar_members import Tar
from eggcache.target.command_lines import Prepare
from eggcache.target.eggs_on_path import EarlyReader
from eggcache.target.interpreter import EVERYTHING, Target

NOON = 1_262_347_200  # in UTC: of the files in `archive`
GROUP = Ownership(0, 48, 0o750, 0o640)
INFO = Entry(b"EGG-INFO/PKG-INFO", b"Metadata-Version: 1.0\nName: One\nVersion: 1.0\n")
ONE = archive(Entry(b"one/z.txt", b"z" * 600), Entry(b"one/data/a.txt", b""), INFO)
DAMAGED = archive(INFO, Entry(b"one/__init__.py", b"x = 1\n", both={"crc": 1}))


def write(eggs: dict[Path, bytes], *extra: Extra) -> tuple[Archive, tarfile.TarFile]:
    """The archive of these eggs for the group 48 of a host, and what is in it."""
    for path, data in eggs.items():
        path.write_bytes(data)
        path.chmod(0o644)
    stream = io.BytesIO()
    made = written(eggs, stream, *extra)
    stream.seek(0)
    return made, tarfile.open(fileobj=stream)


def written(eggs: Iterable[Path], stream: io.BytesIO, *extra: Extra) -> Archive:
    """The same, written to a `stream`."""
    distributions = [
        Distribution("One", "1", str(path), Kind.ZIPPED, egg=str(path), cache_name=path.name) for path in eggs
    ]
    target = Target("/", timezone="UTC0")
    tree = Tree(Interpreter("/", (2, 7, 18), "/", (), None, "setuptools 44.1.1"), (), tuple(distributions), ())
    cache = Cache(Prepare("/var/cache/eggcache", target, EVERYTHING), GROUP, Receipt())
    made = Archive(cache, Progress())
    with zip_dates.zone("UTC0"):
        made.write(
            Plan(tree, target, EarlyReader(accounts.current(), DEFAULT_LIMITS).opened, cache),
            stream,
            lambda names: extra,
        )
    return made


def test_what_is_in_it(tmp_path: Path) -> None:
    """The cache's own directory, then egg by egg its directories and its files, by name, as `prepare` leaves them; what
    else is to be in it comes last."""
    two = archive(INFO)
    _, members = write({tmp_path / "Two.egg": two, tmp_path / "One.egg": ONE}, Extra("last.py", b"pass\n", 0o640))
    assert [(item.name, item.mode, item.mtime) for item in members] == [
        ("var/cache/eggcache", 0o750, 315_532_800),
        ("var/cache/eggcache/.eggcache.lock", 0o600, 315_532_800),
        ("var/cache/eggcache/One.egg-tmp", 0o750, NOON),
        ("var/cache/eggcache/One.egg-tmp/EGG-INFO", 0o750, NOON),
        ("var/cache/eggcache/One.egg-tmp/one", 0o750, NOON),
        ("var/cache/eggcache/One.egg-tmp/one/data", 0o750, NOON),
        ("var/cache/eggcache/One.egg-tmp/EGG-INFO/PKG-INFO", 0o640, NOON),
        ("var/cache/eggcache/One.egg-tmp/one/data/a.txt", 0o640, NOON),
        ("var/cache/eggcache/One.egg-tmp/one/z.txt", 0o640, NOON),
        ("var/cache/eggcache/Two.egg-tmp", 0o750, NOON),
        ("var/cache/eggcache/Two.egg-tmp/EGG-INFO", 0o750, NOON),
        ("var/cache/eggcache/Two.egg-tmp/EGG-INFO/PKG-INFO", 0o640, NOON),
        ("var/cache/eggcache/last.py", 0o640, 315_532_800),
    ]
    assert {(item.uid, item.gid, item.uname, item.gname) for item in members if "lock" not in item.name} == {
        (0, 48, "", "")
    }


@pytest.fixture(params=[packing._MEMORY, 0], ids=["held", "read twice"])
def held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Eggs that fit into the memory, and eggs that do not."""
    monkeypatch.setattr(packing, "_MEMORY", request.param)
    return


@pytest.mark.usefixtures("held")
def test_a_damaged_egg(tmp_path: Path) -> None:
    """Nothing of a damaged egg is in the archive, it is named, and the other eggs are in it."""
    made, members = write({tmp_path / "Bad.egg": DAMAGED, tmp_path / "One.egg": ONE})
    assert [(finding.code, finding.thing) for finding in made.findings] == [
        ("egg-refused", f"{tmp_path}/Bad.egg, member one/__init__.py")
    ]
    assert [item.name for item in members if "One.egg-tmp" not in item.name] == [
        "var/cache/eggcache",
        "var/cache/eggcache/.eggcache.lock",
    ]
    assert [outcome.egg for outcome in made.outcomes] == [str(tmp_path / "One.egg")]
    assert members.extractfile("var/cache/eggcache/One.egg-tmp/one/z.txt").read() == b"z" * 600  # type: ignore[union-attr]


class Cutting(io.BytesIO):
    """A stream that cuts an egg short as soon as the egg's directory is written."""

    def __init__(self, egg: Path) -> None:
        super().__init__()
        self.egg = egg

    def write(self, data: object) -> int:
        if b"One.egg-tmp" in bytes(data):  # type: ignore[call-overload]
            os.truncate(self.egg, 0)
        return super().write(data)  # type: ignore[arg-type]


def test_an_egg_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been checked and then changes ends the archive, which has a part of it. An egg that is in memory by then
    is whole."""
    egg = tmp_path / "One.egg"
    egg.write_bytes(ONE)
    assert len(written([egg], Cutting(egg)).outcomes) == 1
    egg.write_bytes(ONE)
    monkeypatch.setattr(packing, "_MEMORY", 0)
    with pytest.raises(packing.SpoiledArchive, match="it changed while it was written to the archive"):
        written([egg], Cutting(egg))


def test_what_was_inflated_before(tmp_path: Path) -> None:
    """An archive has the bytes that were inflated while the target was at work, and inflates none of them again."""
    egg = tmp_path / "One.egg"
    egg.write_bytes(ONE)
    stream = io.BytesIO()
    with EarlyReader(accounts.current(), DEFAULT_LIMITS).opened(str(egg)) as (source, read):
        held = {member.offset: b"?" * member.size for member in read.members}  # nobody else has these bytes
        packing.pack(Tar(stream), Opened(source, replace(read, contents=held)), "One.egg-tmp", GROUP)
    assert b"?" * 600 in stream.getvalue()
    assert b"z" * 600 not in stream.getvalue()


def test_an_egg_that_has_changed(tmp_path: Path) -> None:
    """Of an egg that is not as its structure was read there is nothing in the archive."""
    egg = tmp_path / "One.egg"
    egg.write_bytes(ONE)
    stream = io.BytesIO()
    with EarlyReader(accounts.current(), DEFAULT_LIMITS).opened(str(egg)) as (source, read):
        os.utime(egg, (0, 0))
        with pytest.raises(EggChanged):
            packing.pack(Tar(stream), Opened(source, read), "One.egg-tmp", GROUP)
    assert stream.getvalue() == b""
