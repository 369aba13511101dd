"""Real disks: full to the last page and the last inode, and with the power cut at the moments that matter."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.crashing import Caches, Case, Sites, files
from support.disks import PowerCut, bindfs, relax, tmpfs
from support.injection import Call, check_said, each_kind, hurried, inject, program, record, traced
from support.judge import eggcache
from support.sites import Site, write_egg

LIMITS = [f"size={size}k,nr_inodes=1000" for size in (4, 8)] + [
    f"size=10m,nr_inodes={count}" for count in (3, 5, 9, 11)
]


@pytest.mark.parametrize("limits", LIMITS)
def test_full_disk_of_a_cache(limits: str, caches: Caches, shared_tmp: Path) -> None:
    """Whatever it is that fills up first, the line says to make room, nothing is left over, and with room it works."""
    with tmpfs(shared_tmp / "tmpfs", limits) as disk:
        caches.cache = disk / "place" / "cache"
        caches.cache.parent.mkdir()
        result = traced([], caches.command())
        check_said(result.returncode, result.stderr, "ENOSPC", limits)
        assert list(caches.cache.glob("*-tmp")) + list(caches.cache.glob(".eggcache-stage*")) == []
        relax(disk)
        assert hurried(caches.command()).returncode == 0
        caches.finished()


@pytest.mark.parametrize("limits", ["size=8k,nr_inodes=1000", "size=16k,nr_inodes=1000", "size=10m,nr_inodes=5",
                                    "size=10m,nr_inodes=8", "size=10m,nr_inodes=11"])  # fmt: skip
def test_full_disk_of_site_packages(limits: str, sites: Sites, shared_tmp: Path) -> None:
    """The same of unzip-all, the target's compiler included; the zip stays as it was."""
    with tmpfs(shared_tmp / "tmpfs", limits) as disk:
        sites.site = disk / "site"
        sites.zipped()
        before = (sites.site / "One-1.0-py3.11.egg").read_bytes()
        result = traced([], sites.command())
        assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
        assert "No space left on device" in result.stderr
        assert [(path.name, path.read_bytes()) for path in sites.site.iterdir()] == [("One-1.0-py3.11.egg", before)]
        relax(disk)
        assert hurried(sites.command()).returncode == 0
        sites.finished()


VFAT = ("--chown-deny", "--chmod-deny", "--perms=a=rX,u=rwX", "--force-user=root", "--force-group=root")
OWNERS_ALONE = (*VFAT[:1], "--chmod-ignore", "--perms=a=,u=rwX", *VFAT[3:])  # vfat with umask=077
SQUASHED = ("--chown-deny", "--create-for-user=nobody", "--create-for-group=nogroup")
KINDS = pytest.mark.parametrize(
    ("options", "words"),
    [
        (VFAT, "keeps no modes, as vfat: what is made there for its owner alone gets 0"),
        (OWNERS_ALONE, "keeps no modes, as vfat: a mode of 07"),
        (SQUASHED, "as NFS does with root_squash"),
    ],
)


@KINDS
@pytest.mark.parametrize("existing", [(), ("cache",)], ids=["missing", "there"])
def test_disk_that_keeps_nothing_from_others(
    options: tuple[str, ...], words: str, existing: tuple[str, ...], site: Site, shared_tmp: Path
) -> None:
    """On a disk as vfat, or as NFS with root_squash, prepare says what the disk does and names a place where it works;
    the disk is as it was, nor does --reset change it."""
    with bindfs(shared_tmp / "source", shared_tmp / "disk", *options) as disk:
        for name in existing:
            (shared_tmp / "source" / name).mkdir(0o755)
        site.cache = disk / "cache"
        for reset in ((), ("--reset",)):
            result = site.prepare(*reset)
            assert (result.returncode, result.stderr.count("\n")) == (4, 1), result.stderr
            assert words in result.stderr
            assert "have the egg cache on another disk, such as in /var/cache/eggcache" in result.stderr
            assert [path.name for path in disk.rglob("*")] == list(existing)


@KINDS
def test_disk_of_eggs_that_keeps_nothing_from_others(
    options: tuple[str, ...], words: str, site: Site, shared_tmp: Path
) -> None:
    """On such a disk unzip-all says so too, and leaves each egg the zip that it is: an egg cache on another disk, which
    the remedy names, serves it."""
    with bindfs(shared_tmp / "source", shared_tmp / "disk", *options) as disk:
        for egg in site.eggs.glob("*.egg"):
            shutil.copy(egg, shared_tmp / "source")
        zips = {path.name: path.read_bytes() for path in disk.iterdir()}
        site.eggs = disk
        completed = eggcache("unzip-all", *site.unzipping)
        assert (completed.returncode, completed.stderr.count("\n")) == (4, 1), completed.stderr
        assert words in completed.stderr
        assert "have the egg cache on another disk, such as in /var/cache/eggcache" in completed.stderr
        assert {path.name: path.read_bytes() for path in disk.iterdir()} == zips
        if options != OWNERS_ALONE:  # where nobody but root can read the eggs
            assert site.prepare().returncode == 0
            assert site.served() > 0


def test_egg_that_is_replaced_while_a_process_reads_the_old_one(site: Site, shared_tmp: Path) -> None:
    """FUSE, as NFS, keeps a file that is removed while a process has it open: prepare ends well all the same, a second
    prepare while the process goes on as well, and the first one after the process has ended removes what is left."""
    with bindfs(shared_tmp / "source", shared_tmp / "disk") as disk:
        site.cache = disk / "cache"
        assert site.prepare("--allow-gap").returncode == 0
        egg = next(site.eggs.glob("One*"))
        with (site.cache / f"{egg.name}-tmp" / "one/data/text.txt").open():
            write_egg(egg, {"one/__init__.py": "", "one/data/text.txt": "other\n"})
            for _ in range(2):
                assert set(site.actions("--allow-gap").values()) <= {"kept", "replaced"}
                assert len(list(site.cache.glob(".eggcache-stage-*"))) == 1
        assert site.prepare("--allow-gap").returncode == 0
        assert site.wrong() == []


def test_directory_that_the_disk_keeps_from_being_opened(caches: Caches) -> None:
    """An error of the disk where the cache is opened is no question of rights: the status is 1, and the kernel's log is
    named."""
    options = ["-P", str(caches.cache.parent), "-e", "trace=openat", "-e", "inject=openat:error=EIO"]
    result = traced(options, caches.command())
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert f"{caches.cache}: cannot be opened: Input/output error; see what the kernel's log says" in result.stderr


def test_read_only_disk_is_a_note_where_nothing_has_to_be_written(site: Site, shared_tmp: Path) -> None:
    """On a read-only disk an egg that is only newer is a note, and needs nothing; what has to be written fails, without
    the status of what is not safe; nothing changes there, and writable it works."""
    with tmpfs(shared_tmp / "tmpfs", "size=10m") as disk:
        site.cache = disk / "cache"
        assert site.prepare().returncode == 0
        before = files(disk)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        egg = next(site.eggs.glob("One*"))
        os.utime(egg, (1, 1))
        assert set(site.actions("--prune").values()) == {"kept"}
        result = site.prepare("--lenient")
        assert (result.returncode, result.stderr.count("\n")) == (0, 1)
        assert "it is read-only, and was left as it is: its content is current" in result.stderr
        for more in ([], ["--lenient"]):
            write_egg(egg, {"one/__init__.py": "", "one/data/text.txt": "other\n"})
            result = site.prepare(*more)
            assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
            assert "Read-only file system" in result.stderr
        assert files(disk) == before
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert site.prepare().returncode == 0
        assert site.wrong() == []


@pytest.fixture
def power(shared_tmp: Path) -> Iterator[PowerCut]:
    """A disk whose power can be cut."""
    made = PowerCut(shared_tmp)
    made.mount()
    yield made
    made.umount()


@pytest.fixture(params=["cache", "site", "backup", "gap", "unzip-gap"])
def case(request: pytest.FixtureRequest, power: PowerCut, pythons: tuple[Path, Path], caches: Caches) -> Case:
    """A run that changes something which is on that disk."""
    gap = ("-e", "inject=renameat2:error=EINVAL")
    if request.param in ("cache", "gap"):
        caches.cache = power.where / "place" / "cache"
        caches.cache.parent.mkdir()
        caches.top = power.where
        return (
            caches.case(caches.old, "--allow-gap", options=gap)
            if request.param == "gap"
            else caches.case(caches.old)
        )  # fmt: skip
    sites = Sites(pythons[1], power.where)
    kinds: dict[str, Callable[[], Case]] = {
        "site": lambda: sites.case(sites.zipped),
        "backup": lambda: sites.case(sites.zipped, "--backup", sites.backup),
        "unzip-gap": lambda: sites.case(sites.zipped, "--allow-gap", options=gap),
    }
    return kinds[request.param]()


def moments(calls: list[Call]) -> Iterator[Call]:
    """The calls at which the disk and the memory differ: from the sync on, the first of each kind that moves or syncs,
    and what comes after that, such as the first removal."""
    since = next(number for number, call in enumerate(calls) if call.name == "syncfs")
    first = [call for call in each_kind(calls[since:]) if call.name.startswith(("syncfs", "rename", "fsync"))]
    for before, call in zip(calls[since - 1 :], calls[since:]):
        if call in first or (before in first and before.name != "syncfs"):
            yield call


def test_after_a_power_cut_eggs_are_whole(case: Case, power: PowerCut) -> None:
    """Where the power goes, what comes back is whole, the old or the new; and the next run completes."""
    for call in moments(case.calls()):
        case.begin()
        power.sync()
        inject(case.command, call, "signal=KILL", options=case.options)
        power.cut()
        case.check()
        case.complete()


def test_power_cut_after_the_end(case: Case, power: PowerCut) -> None:
    """What a run that ended with 0 has said to be done is on the disk."""
    case.begin()
    power.sync()
    assert traced(case.options and ["-e", "trace=renameat2", *case.options], case.command).returncode == 0
    result = contents(case)
    power.cut()
    case.check()
    case.finished()
    assert contents(case) == result


def contents(case: Case) -> dict[Path, bytes]:
    """What lies in its places, the receipt included, but for what the next run would remove."""
    return {
        path: path.read_bytes()
        for place in case.places
        for path in place.rglob("*")
        if path.is_file() and not path.relative_to(place).parts[0].startswith(".eggcache-")
    }


@pytest.mark.parametrize("kind", ["backup", "unzip-gap", "gap-recovery"])
def test_each_step_is_on_the_disk_before_the_next(kind: str, sites: Sites) -> None:
    """A name is on the disk before what relies on it: ext4 keeps the order of names by itself, and hides what lacks."""
    case, order = {
        "backup": (  # the directory at which the disk was tried goes first
            sites.case(sites.zipped, "--backup", sites.backup),
            "unlink syncfs link fsync rename fsync unlink",
        ),
        "unzip-gap": (  # refused, the journal, aside, into place, what was there into the stage, the journal
            sites.case(sites.zipped, "--allow-gap", options=("-e", "inject=renameat2:error=EINVAL")),
            "syncfs rename fsync rename fsync rename rename fsync rename unlink fsync unlink",
        ),
        "gap-recovery": (sites.case(sites.gap), "rename fsync unlink fsync unlink"),
    }[kind]
    steps = [re.match("syncfs|fsync|rename|link|unlink", call.name) for call in case.calls()]
    assert " ".join(step[0] for step in steps if step).startswith(order)


@pytest.mark.parametrize(("verb", "order"), [
    ("prepare", "fsync rename fsync rename fsync rename unlink"),  # receipt, the exchange, what was there
    ("wheels", "syncfs rename fsync"),
    ("archive", "fsync link rename fsync"),
    ("wrapper", "fsync rename fsync"),
])  # fmt: skip
def test_what_is_written_is_on_the_disk_before_its_name_and_the_name_at_the_end(
    verb: str, order: str, caches: Caches
) -> None:
    """The same of each other command that puts something into place."""
    caches.foreign()
    place = caches.cache.parent
    where = ["--path", str(caches.eggs), "--python", str(caches.python)]
    commands = {
        "prepare": caches.command("--reset"),
        "wheels": program("wheels", place / "wheels", "--all", *where),
        "archive": program("archive", place / "cache.tar", "--all", "--user", "nobody", *where),
        "wrapper": program(
            "wrapper", "/srv/cache", "--for", "apachectl", "--user", "nobody", "-o", place / "ctl", *where
        ),
    }
    steps = (re.match("syncfs|fsync|rename|link|unlink", call.name) for call in record(commands[verb], [place]))
    assert order in " ".join(step[0] for step in steps if step)


def test_power_cut_loses_what_is_not_synced(power: PowerCut) -> None:
    """The cut is one: without a sync a file that was renamed into place comes back empty, or not at all."""
    place = power.where / "place"
    place.mkdir()
    power.sync()
    (place / "new").write_text("whole")
    (place / "new").rename(place / "name")
    power.cut()
    assert files(place) in ({}, {"name": ""}, {"new": ""})
