"""plan: which egg gets which directory of a cache, with what in it, and which is refused. The eggs lie in memory."""

from __future__ import annotations

import json
import os
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import PurePath

import pytest
from support.zips import Entry, archive

from eggcache.cache.groups_and_time_zones import ServesOthers
from eggcache.cache.keep_or_replace import foresee
from eggcache.cache.plan import Cache, Plan, Step
from eggcache.cache.receipt import Entry as Prepared
from eggcache.cache.receipt import Receipt
from eggcache.eggs import zip_dates
from eggcache.eggs.reader import Egg, chunks, read
from eggcache.errors import EggcacheError, EggRefused, NotPermitted
from eggcache.model import Distribution, Interpreter, Kind, Outcome, Ownership, Tree
from eggcache.progress import Progress
from eggcache.target.command_lines import Prepare
from eggcache.target.interpreter import Roots, Target

ONE, TWO = "/first/One-1.0.egg", "/second/One-1.0.egg"
INFO = Entry(b"EGG-INFO/PKG-INFO", b"Metadata-Version: 1.0\nName: One\nVersion: 1.0\n")
EGG = archive(INFO, Entry(b"one/__init__.py", b"x = 1\n"))  # its files are of noon on the first of January 2010
REPACKED = archive(INFO, Entry(b"one/__init__.py", b"x = 1\n", 0))
OTHER = archive(INFO, Entry(b"one/__init__.py", b"x = 2\n"))
DAMAGED = archive(INFO, Entry(b"one/__init__.py", b"x = 1\n", both={"crc": 1}))
NOON = 1_262_347_200  # in UTC
OWNER = Ownership(0, 0, 0o755, 0o644)


class Eggs(dict[str, "bytes | EggcacheError"]):
    """Eggs by their paths, which open as those of a disk do, or do not, and how many of them were open at once."""

    now = most = 0

    @contextmanager
    def opened(self, path: str) -> Iterator[tuple[int, Egg]]:
        egg = self[path]
        if isinstance(egg, EggcacheError):
            raise egg
        descriptor = os.memfd_create("egg")
        self.now += 1
        self.most = max(self.now, self.most)
        try:
            os.write(descriptor, egg)
            yield descriptor, read(descriptor, path)
        finally:
            self.now -= 1
            os.close(descriptor)


def distribution(path: str, inside: str = "", cache_name: str | None = None) -> Distribution:
    name = PurePath(path).name
    kind = Kind.BASKET if inside else Kind.ZIPPED
    return Distribution(
        "One", "1.0", f"{path}/{inside}".rstrip("/"), kind, egg=path, inside=inside, cache_name=cache_name or name
    )


def plan(eggs: Eggs, *distributions: Distribution, cache: Cache | None = None, zone: str | None = None) -> Plan:
    python = Interpreter("/", (2, 7, 18), "/", (), "/pkg_resources.py", "setuptools 44.1.1")
    tree = Tree(python, (), distributions or tuple(map(distribution, eggs)), ())
    return Plan(tree, Target("/", timezone=zone), eggs.opened, cache)


def cache(known: Receipt | None = None) -> Cache:
    return Cache(Prepare("/cache", Target("/"), Roots(["One"])), OWNER, known or Receipt())


def prepared(egg: str, zone: str | None) -> Receipt:
    """What another tree's prepare of an egg left: no such file is there, as it was then."""
    options = {"timezone": zone, "owner": [0, 0, 0o755, 0o644], "user": [0, 0]}
    name = f"{PurePath(egg).name}-tmp"
    entry = Prepared(options, {egg: None}, [name], [], 0, "1", [2, 7, 18])
    return Receipt({json.dumps(["/", [], ["Other"]]): entry})


def codes(steps: list[Step]) -> list[tuple[str, str]]:
    return [(finding.code, finding.thing) for step in steps for finding in step.findings]


def places(steps: list[Step]) -> list[tuple[str, str]]:
    """The name of each place, and the egg that is to fill it."""
    return [(step.claim.place.name, step.claim.place.egg) for step in steps if step.claim and not step.claim.twin]


def test_each_egg_has_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    """Each egg is given the directory in which pkg_resources looks for it, with all its files, and is open by itself
    while it is looked at; what is asked for twice has one turn."""
    eggs = Eggs({ONE: EGG, "/first/Two-1.0.egg": OTHER})
    names = []
    for step in plan(eggs, *map(distribution, [*eggs, ONE])).steps():
        if step.claim:
            names.append((step.claim.place.name, [name for name, _ in step.claim.opened.members]))
            assert os.fstat(step.claim.opened.source).st_size == len(bytes(eggs[step.claim.place.egg]))  # type: ignore[arg-type]
        assert not step.findings
    files = ["EGG-INFO/PKG-INFO", "one/__init__.py"]
    assert names == [("One-1.0.egg-tmp", files), ("Two-1.0.egg-tmp", files)]
    assert eggs.most == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("aim", [None, cache()], ids=["compared", "filled"])
def test_one_name_claimed_by_two(aim: Cache | None) -> None:
    """Of two eggs of one name the first has the directory. It serves the second as well where that has the same
    content, however it is packed; else the second is named, and depends on the first."""
    steps = list(plan(Eggs({ONE: EGG, TWO: REPACKED}), cache=aim).steps())
    assert codes(steps) == []
    assert places(steps) == [("One-1.0.egg-tmp", ONE)]
    (second,) = (step.claim for step in steps if step.claim and step.claim.twin)
    assert second.twin is not None
    assert (second.place.egg, second.twin.egg) == (TWO, ONE)
    steps = list(plan(Eggs({ONE: EGG, TWO: OTHER}), cache=aim).steps())
    assert codes(steps) == [("shared-name", TWO)]
    assert places(steps) == [("One-1.0.egg-tmp", ONE)]
    assert set(steps[-1].sources) == {ONE, TWO}


def test_one_name_claimed_by_another_tree() -> None:
    """An egg that another tree's egg of that name is at odds with has no place; one with the same content has it."""
    for other, findings in ((OTHER, [("shared-name", ONE)]), (REPACKED, [])):
        aim = cache(prepared(TWO, None))
        steps = list(plan(Eggs({ONE: EGG, TWO: other}), distribution(ONE), cache=aim).steps())
        assert codes(steps) == findings
        assert len(places(steps)) == (not findings)


def test_another_tree_costs_no_more_for_each_egg() -> None:
    """What is called for each egg of a tree of forty, beside another tree of the same eggs, is what is called for each
    of twenty: the receipt is not gone through for each egg."""
    calls = []
    for count in (10, 20, 40):
        eggs = [f"/first/Egg{number}-1.0.egg" for number in range(count)]
        receipts = [prepared(egg, None) for egg in eggs]
        (key,) = receipts[0].entries
        entries = [receipt.entries[key] for receipt in receipts]
        inputs = {path: seen for entry in entries for path, seen in entry.inputs.items()}
        both = replace(entries[0], inputs=inputs, names=[name for entry in entries for name in entry.names])
        numbers = Counter[str]()
        sys.setprofile(lambda _frame, event, _what, numbers=numbers: numbers.update([event]))  # type: ignore[misc]
        try:
            steps = list(plan(Eggs(dict.fromkeys(eggs, EGG)), cache=cache(Receipt({key: both}))).steps())
        finally:
            sys.setprofile(None)
        assert len(places(steps)) == count
        calls.append(numbers["call"])
    assert calls[2] - calls[1] < 2.1 * (calls[1] - calls[0])  # the first egg of all imports something


def test_refused_and_unreadable() -> None:
    """What cannot be read is told with the reason, by what it is: an egg that is refused, whatever it was, will be
    looked at again; and the others have their places."""
    refused, unreadable = EggRefused("/a/A.egg", "is bad", "see"), NotPermitted("/b", "is locked", "unlock")
    eggs = Eggs({"/a/A.egg": refused, "/b/B.egg": unreadable, "/c/C.egg": EGG[:-1], ONE: EGG})
    steps = list(plan(eggs).steps())
    assert codes(steps) == [("egg-refused", "/a/A.egg"), ("egg-unreadable", "/b"), ("egg-refused", "/c/C.egg")]
    assert [finding.status for step in steps for finding in step.findings] == [3, 4, 3]
    assert places(steps) == [("One-1.0.egg-tmp", ONE)]
    sources = {path: seen for step in steps for path, seen in step.sources.items()}
    assert (sources["/a/A.egg"], sources["/b/B.egg"], sources["/c/C.egg"]) == ([], None, [])


def test_damage_that_the_reader_of_the_bytes_finds() -> None:
    """Whoever finds an egg damaged while it is open throws that in: it is refused, and the next one has its name."""
    steps = plan(Eggs({ONE: EGG, TWO: OTHER})).steps()
    first = next(step for step in steps if step.claim)
    assert first.claim
    thrown = steps.throw(EggRefused(ONE, "its bytes are damaged", "install it again"))
    assert codes([thrown]) == [("egg-refused", ONE)]
    assert thrown.claim is None
    assert places(list(steps)) == [("One-1.0.egg-tmp", TWO)]


def test_mtimes_are_those_of_the_zone() -> None:
    """What is expected depends on the time zone, as the mtimes do; a place that is prepared for another zone is told
    with that zone, unless both agree on all its dates."""
    digests = []
    for zone, hours in (("UTC", 0), ("America/New_York", 5), ("Europe/London", 0)):
        with zip_dates.zone(zone):
            aim = cache(prepared(ONE, "UTC"))
            (claim,) = (step.claim for step in plan(Eggs({ONE: EGG}), cache=aim, zone=zone).steps() if step.claim)
            mtimes = {zip_dates.mtime(member.date_time) for _, member in claim.opened.members}
        assert mtimes == {NOON + 3600 * hours}
        assert claim.other_zones == (("UTC",) if hours else ())
        digests.append(claim.digest)
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize("old", [True, False])
def test_egg_in_a_basket(old: bool) -> None:
    """An egg in a basket has a directory of its own, with its files alone, where pkg_resources has it by its own name,
    as up to setuptools 49.5; since then all of one basket have the basket's."""
    names = ["One-1.0.egg", "Two-1.0.egg"]
    basket = archive(*(Entry(f"{name}/EGG-INFO/PKG-INFO".encode(), INFO.data) for name in names))
    asked = (distribution("/b/Basket.egg", f"{name}/", name if old else "Basket.egg") for name in names)
    steps = list(plan(Eggs({"/b/Basket.egg": basket}), *asked).steps())
    assert codes(steps) == []
    claims = [(step.claim.place.name, [name for name, _ in step.claim.opened.members]) for step in steps if step.claim]
    inside = [f"{name}/EGG-INFO/PKG-INFO" for name in names]
    if old:
        assert claims == [(f"{name}-tmp", ["EGG-INFO/PKG-INFO"]) for name in names]
    else:
        assert claims == [("Basket.egg-tmp", inside)] * 2
        assert len(places(steps)) == 1


def test_egg_in_a_basket_is_not_to_be_unzipped() -> None:
    """What no cache can serve of an egg in a basket has a remedy without unzip-all, which refuses it; on its own the
    same egg has that command."""
    for path, inside in (("/b/Basket.egg", "One-1.0.egg/"), ("/b/One-1.0.egg", "")):
        names = (f"{inside}one/".encode(), f"{inside}one/__init__.py".encode())
        egg = archive(*(Entry(name, b"", 0) for name in names))
        steps = plan(Eggs({path: egg}), distribution(path, inside)).steps()
        (finding,) = (finding for step in steps for finding in step.findings)
        assert finding.code == "directory-entries"
        assert ("eggcache unzip-all" in finding.remedy.command) is not bool(inside)
        assert finding.remedy.text
        rival = distribution("/a/Rival.egg", cache_name=PurePath(path).name)
        packed = archive(*(Entry(f"{inside}{name}".encode(), b"") for name in ("EGG-INFO/PKG-INFO", "one/__init__.py")))
        eggs = Eggs({"/a/Rival.egg": OTHER, path: packed})
        (finding,) = (
            finding for step in plan(eggs, rival, distribution(path, inside)).steps() for finding in step.findings
        )
        assert finding.code == "shared-name"
        assert ("eggcache unzip-all" in finding.remedy.command) is not bool(inside)


@pytest.mark.parametrize("letter", ["x", "ä"])
def test_names_that_are_too_long(letter: str) -> None:
    """A directory's name has 255 bytes: an egg whose "-tmp" does not fit is refused, by bytes and not by letters."""
    fits = (255 - len(".egg-tmp")) // len(os.fsencode(letter))
    for count, expected_codes in ((fits, []), (fits + 1, ["egg-refused"])):
        steps = list(plan(Eggs({f"/a/{letter * count}.egg": EGG})).steps())
        assert [code for code, _ in codes(steps)] == expected_codes
        assert len(places(steps)) == (not expected_codes)


def test_zip_that_is_no_egg_has_no_place() -> None:
    """pkg_resources extracts nothing from a zip of another name: that is told, and it gets no directory."""
    zipped = Distribution("One", None, "/a/one.zip", Kind.ZIP, egg="/a/one.zip", cache_name="one.zip")
    steps = list(plan(Eggs({"/a/one.zip": EGG}), zipped).steps())
    assert codes(steps) == [("not-an-egg", "/a/one.zip")]
    assert places(steps) == []


def test_archive_of_a_plan() -> None:
    """A plan alone has all that a tar archive of the cache is written of: places, members in the egg's order, bytes,
    mtimes, owner and modes."""
    aim, buffer = cache(), BytesIO()
    with zip_dates.zone("America/New_York"), tarfile.open(fileobj=buffer, mode="w") as tar:
        for step in plan(Eggs({ONE: EGG, TWO: REPACKED}), cache=aim).steps():
            if step.claim and not step.claim.twin:
                one, owner = step.claim.opened, aim.ownership(step.claim.opened.egg)
                for name, member in one.members:
                    info = tarfile.TarInfo(f"{step.claim.place.name}/{name}")
                    info.size, info.mtime, info.mode = member.size, zip_dates.mtime(member.date_time), owner.file_mode
                    tar.addfile(info, BytesIO(b"".join(chunks(one.source, one.egg, member))))
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        held = [(item.name, item.mode, item.mtime, tar.extractfile(item).read()) for item in tar]  # type: ignore[union-attr]
    noon = NOON + 5 * 3600
    assert held == [
        ("One-1.0.egg-tmp/EGG-INFO/PKG-INFO", 0o644, noon, INFO.data),
        ("One-1.0.egg-tmp/one/__init__.py", 0o644, noon, b"x = 1\n"),
    ]


class Count(Progress):
    """How many files and bytes there were, and how many bytes there should be."""

    files = size = total = 0

    def phase(self, name: str, total: int = 0) -> None:
        self.total += total

    def advance(self, files: int, size: int) -> None:
        self.files, self.size = self.files + files, self.size + size


def test_outcomes_of_a_cache_that_is_not_there() -> None:
    """Each place is made, with all files of its egg, and expected by its digest; an egg that has the place of another
    one as well makes none of its own."""
    eggs, aim, count = Eggs({ONE: EGG, TWO: REPACKED, "/first/Two-1.0.egg": OTHER}), cache(), Count()
    steps = plan(eggs, cache=aim).steps()
    digests = {step.claim.place.name: step.claim.digest for step in steps if step.claim and not step.claim.twin}
    made, findings, expected = foresee(plan(eggs, cache=aim), aim, None, count)
    size = len(INFO.data) + len(b"x = 1\n")
    names = {ONE: "One-1.0.egg-tmp", "/first/Two-1.0.egg": "Two-1.0.egg-tmp"}
    assert made == [Outcome(egg, f"/cache/{name}", "made", 2, size) for egg, name in names.items()]
    assert (findings, expected) == ([], digests)
    assert (count.files, count.size) == (4, len(EGG) + len(OTHER))


def test_outcomes_of_damage() -> None:
    """An egg whose bytes are damaged is refused by a dry run as well; nothing is made of it or expected."""
    aim = cache()
    made, findings, expected = foresee(plan(Eggs({ONE: DAMAGED, "/a/A.egg": EGG}), cache=aim), aim, None, Count())
    assert [(finding.code, finding.thing) for finding in findings] == [
        ("egg-refused", f"{ONE}, member one/__init__.py")
    ]
    assert [outcome.into for outcome in made] == ["/cache/A.egg-tmp"]
    assert list(expected) == ["A.egg-tmp"]


def test_outcomes_of_another_zone() -> None:
    """A place that is current in another zone is not taken from there: not in a dry run either."""
    with zip_dates.zone("America/New_York"):
        aim = cache(prepared(ONE, "UTC"))
        with pytest.raises(ServesOthers, match="TZ=UTC"):
            foresee(plan(Eggs({ONE: EGG}), cache=aim, zone="America/New_York"), aim, None, Count())
