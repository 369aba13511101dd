"""Eggs of one name in several directories: one directory of the cache serves all that have the same content."""

from __future__ import annotations

import os
import shutil
import tracemalloc
import zlib
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.judge import as_json, eggcache, judge, listing, served
from support.sites import Site
from support.zips import Entry, archive, deflate

from eggcache.cache import plan
from eggcache.eggs.extract import Opened
from eggcache.eggs.reader import read

NAME = "One-1.0-py3.11.egg"
TEXT = b"one\n" * 400
# CRC-32's polynomial, as zlib reads bits: adding it changes the bytes and not the CRC.
POLYNOMIAL = int(f"{0x104C11DB7:033b}"[::-1], 2).to_bytes(5, "little")


def colliding(data: bytes) -> bytes:
    """Other bytes of the same length and CRC."""
    other = bytes(one ^ two for one, two in zip(data, POLYNOMIAL)) + data[len(POLYNOMIAL) :]
    assert zlib.crc32(other) == zlib.crc32(data)
    assert other != data
    return other


INFO = Entry(b"EGG-INFO/PKG-INFO", b"Metadata-Version: 1.0\nName: One\nVersion: 1.0\n")
CODE = Entry(b"one/__init__.py", b"")
DATA = Entry(b"one/data/text.txt", TEXT)
EGG = archive(INFO, CODE, DATA)
LATER = {"both": {"date": (2009 - 1980) << 9 | 6 << 5 | 16, "time": 12 << 11}}  # than zips.Entry's, by a day

SAME = {
    "a copy": EGG,
    "packed otherwise": archive(INFO, CODE, Entry(DATA.name, TEXT, 0)),
    "in another order": archive(DATA, CODE, INFO),
    "with comments and modes": archive(INFO, CODE, Entry(DATA.name, TEXT, central={"comment": b"x", "attributes": 1})),
    "behind a shell header": archive(INFO, CODE, DATA, prefix=b"#!/bin/sh\nexit 1\n"),
    "with what was replaced in it": archive(INFO, DATA, CODE, DATA),
}
OTHER = {
    "other bytes": archive(INFO, CODE, Entry(DATA.name, TEXT.upper())),
    "other bytes of the same CRC": archive(INFO, CODE, Entry(DATA.name, colliding(TEXT))),
    "another date": archive(INFO, CODE, Entry(DATA.name, TEXT, **LATER)),  # type: ignore[arg-type]
    "a file more": archive(INFO, CODE, DATA, Entry(b"one/more", b"")),
    "an empty directory more": archive(INFO, CODE, DATA, Entry(b"one/empty/", b"", 0)),
}


@pytest.fixture
def second(site: Site) -> Path:
    """A directory for eggs beside those of `site`, whose One is what `EGG` has."""
    (site.eggs / NAME).write_bytes(EGG)
    made = site.cache.parent / "second"
    made.mkdir()
    return made


def codes(site: Site, command: str, *more: str | Path) -> list[tuple[str, str]]:
    words = ["--cache", site.cache] if command == "check" else [site.cache]
    result = eggcache(command, *words, *site.options, *more, "--json")
    findings = [(finding["code"], finding["thing"]) for finding in as_json(result)["findings"]]
    assert result.returncode == (3 if findings else 0), result.stderr
    return findings


@pytest.mark.parametrize("kind", SAME)
def test_same_content_is_no_finding(site: Site, second: Path, kind: str) -> None:
    """Two eggs of one name whose files are the same to the byte are served from one place: neither prepare, its second
    run, check nor status has anything to say, and the target gets all of both. `tree` shows both as prepared."""
    (second / NAME).write_bytes(SAME[kind])
    for _ in "cold", "warm":
        assert codes(site, "prepare", "--path", second) == []
    assert codes(site, "check", "--path", second) == []
    assert eggcache("status", site.cache).returncode == 0
    both = [site.eggs / NAME, second / NAME]
    assert served(judge(site.python, site.cache, both, site.account), site.cache)
    tree = ["--all", "--path", site.eggs, "--path", second, "--python", site.python, "--cache", site.cache, "--json"]
    rows = as_json(eggcache("tree", *tree))["distributions"]
    assert {row["egg"]: row["prepared"] for row in rows if row["project"] == "One"} == dict.fromkeys(
        map(str, both), True
    )


@pytest.mark.parametrize("kind", OTHER)
def test_other_content_is_named(site: Site, second: Path, kind: str) -> None:
    """Of two eggs of one name whose files differ in anything that pkg_resources looks at, the second is named by
    prepare, by its second run, and by check; it stays so when it is prepared by itself."""
    (second / NAME).write_bytes(OTHER[kind])
    expected = {("shared-name", str(site.eggs / NAME))}  # the target has the other one first
    for command in ("prepare", "prepare", "check"):
        findings = set(codes(site, command, "--path", second))
        assert {item for item in findings if item[0] == "shared-name"} == expected, command


def test_one_that_changes_is_named(site: Site, second: Path) -> None:
    """Two trees share what is the same, in either order and again and again, until one egg changes: the other tree
    keeps what it was prepared with, and the one that changed is named."""
    shutil.copy2(site.eggs / NAME, second)
    other = ["--all", "--path", second, "--python", site.python, "--user", site.account.pw_name, "--json"]
    for _ in range(2):
        assert site.prepare("--json").returncode == 0
        assert eggcache("prepare", site.cache, *other).returncode == 0
    (second / NAME).write_bytes(OTHER["other bytes of the same CRC"])
    result = eggcache("prepare", site.cache, *other)
    assert [(finding["code"], finding["thing"]) for finding in as_json(result)["findings"]] == [
        ("shared-name", str(second / NAME))
    ]
    assert site.prepare("-v", "--json").returncode == 0
    assert site.served()


def test_cold_runs_in_turn_keep_what_is_equal(site: Site, second: Path) -> None:
    """Two trees that share an equal egg extract it once: whichever of them has to look again keeps what is there, until
    the one that it was extracted from is gone."""
    shutil.copy2(site.eggs / NAME, second)
    trees = [
        ["prepare", site.cache, "--all", "--path", path, "--python", site.python, "--user", site.account.pw_name]
        for path in (site.eggs, second)
    ]

    def action(tree: int) -> str:
        os.utime((site.eggs, second)[tree])  # so that the receipt does not hold
        result = as_json(eggcache(*trees[tree], "--json"))
        assert not result["unchanged"]
        return next(outcome["action"] for outcome in result["outcomes"] if outcome["into"].endswith(f"/{NAME}-tmp"))

    assert action(0) == "made"
    before = listing(site.cache / f"{NAME}-tmp")
    assert [action(tree) for tree in (1, 0, 1)] == ["kept"] * 3
    assert listing(site.cache / f"{NAME}-tmp") == before
    assert eggcache("status", site.cache).returncode == 0
    (site.eggs / NAME).unlink()
    assert [action(1), action(1)] == ["replaced", "kept"]


def test_private_copy_takes_no_name(site: Site, second: Path) -> None:
    """Where the first of two equal eggs may not be shown to those who read the cache, the second one is served."""
    shutil.copy2(site.eggs / NAME, second)
    (second / NAME).chmod(0o400)  # the target has that one first
    os.chown(second / NAME, site.account.pw_uid, 0)
    result = site.prepare("--path", second, "--json")
    findings = [(finding["code"], finding["thing"]) for finding in as_json(result)["findings"]]
    assert findings == [("egg-private", str(second / NAME))]
    assert served(judge(site.python, site.cache, [site.eggs / NAME], site.account), site.cache)


def test_damage_is_named_as_damage(site: Site, second: Path) -> None:
    """Of two equal eggs that are damaged alike each is refused as damaged, and nothing is said of other content."""
    data = bytearray(EGG)
    data[data.index(DATA.name) + len(DATA.name) + 9] ^= 0xFF
    for directory in (site.eggs, second):
        (directory / NAME).write_bytes(data)
    for command, count in (("prepare", 2), ("check", 1)):  # check reads what it finds in the cache
        findings = codes(site, command, "--path", second)
        assert "shared-name" not in dict(findings), command
        assert len([thing for code, thing in findings if code == "egg-refused"]) == count, command


def test_wrong_cache_is_told_once(site: Site, second: Path) -> None:
    """What is missing in the cache of two equal eggs is one finding, not one for each."""
    shutil.copy2(site.eggs / NAME, second)
    codes(site, "prepare", "--path", second)
    (site.cache / f"{NAME}-tmp/one/data/text.txt").unlink()
    assert [code for code, _ in codes(site, "check", "--path", second)] == ["member-missing"]


def test_listed_directories_are_made_anyhow(tmp_path: Path) -> None:
    """An egg that lists the directories of its files has the same content as one that does not."""
    listed = archive(Entry(b"one/", b"", 0), INFO, CODE, Entry(b"one/data/", b"", 0), DATA)
    assert same_content(tmp_path, EGG, listed)


def same_content(tmp_path: Path, *eggs: bytes) -> bool:
    with ExitStack() as held:
        opened = []
        for number, data in enumerate(eggs):
            (tmp_path / f"{number}.egg").write_bytes(data)
            descriptor = os.open(tmp_path / f"{number}.egg", os.O_RDONLY)
            held.callback(os.close, descriptor)
            opened.append(Opened(descriptor, read(descriptor, f"{number}.egg")))
        return plan.same_content(*opened)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Large members are compared in pieces: two eggs with a file of 64 MiB take less than half of that."""
    noise = os.urandom(1 << 20) * 64
    stored, deflated = archive(Entry(b"noise", noise, 0)), archive(Entry(b"noise", noise, packed=deflate(noise, 1)))
    del noise
    tracemalloc.start()
    try:
        assert same_content(tmp_path, stored, deflated)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
