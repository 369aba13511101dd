"""Where two names cannot be exchanged: what is said, the swap with a gap, and what the next run makes of it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.crashing import NAME, Caches, Sites, content, files, leave_gap
from support.deployment import Deployment
from support.disks import bindfs
from support.injection import program, traced
from support.judge import as_json, eggcache, listing

from eggcache.errors import EggcacheError, NotPermitted
from eggcache.system import safe_dirs, swap_or_gap, syscalls

JOURNAL = ".eggcache-gap.json"


def without(error: str) -> list[str]:
    """strace's options for a kernel or file system that refuses renameat2 with this error."""
    return ["-f", "-e", "trace=renameat2", "-e", f"inject=renameat2:error={error}"]


@pytest.mark.parametrize("error", ["EINVAL", "ENOSYS", "EXDEV", "EPERM"])
def test_error_names_the_remedy(error: str, caches: Caches, sites: Sites) -> None:
    """Each of the four errors that mean "not here": what is there stays, and --allow-gap, which is named, helps."""
    caches.old()
    sites.zipped()
    for command, path in ((caches.command(), caches.cache / f"{NAME}-tmp"), (sites.command(), sites.site / NAME)):
        before = listing(path)
        result = traced(without(error), command)
        assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
        assert f"{path}: this file system cannot exchange two names at once" in result.stderr
        assert "--allow-gap" in result.stderr
        assert listing(path) == before
    assert os.listdir(sites.site) == [NAME]
    for command in (caches.command("--allow-gap"), sites.command("--allow-gap")):
        assert traced(without(error), command).returncode == 0
    caches.finished()
    sites.finished()
    assert os.listdir(sites.site) == [NAME]


def test_status_and_remove_know_a_gap(caches: Caches) -> None:
    """What a prepare that was killed in the gap leaves is eggcache's: status names it as a stage and nothing foreign,
    and remove takes it away with the cache, also where no name can be renamed with flags."""
    caches.old()
    killed_in_the_gap(caches.command("--allow-gap"), "renameat2:error=EINVAL")
    (aside,) = caches.cache.glob(".eggcache-gap-*")
    assert (caches.cache / JOURNAL).is_file()
    inventory = as_json(eggcache("status", caches.cache, "--json"))
    assert aside.name in inventory["stages"]
    assert [finding["code"] for finding in inventory["findings"]] == ["cache-stale"]
    result = traced(without("EINVAL"), program("remove", str(caches.cache)))
    assert (result.returncode, result.stderr) == (0, "")
    assert os.listdir(caches.cache.parent) == []


@pytest.fixture
def fuse(shared_tmp: Path) -> Iterator[Path]:
    """A real file system that cannot exchange names."""
    with bindfs(shared_tmp / "source", shared_tmp / "fuse") as where:
        yield where


def killed_in_the_gap(command: list[str], *faults: str) -> None:
    """Kill it at its third rename: the journal's is the first, the old one's aside the second."""
    injected = [word for fault in (*faults, "renameat:signal=KILL:when=3") for word in ("-e", f"inject={fault}")]
    result = traced(["-e", "trace=renameat,renameat2", *injected], command)
    assert result.returncode == -signal.SIGKILL


def test_cache_on_fuse(fuse: Path, caches: Caches) -> None:
    """prepare without the option leaves the old egg, with it there is the new one; killed in the gap, the next run puts
    the old one back even without the option; and --reset works."""
    caches.cache = fuse / "place" / "cache"
    caches.cache.parent.mkdir()
    caches.old()
    place = caches.cache / f"{NAME}-tmp"
    result = traced([], caches.command())
    assert result.returncode == 1
    assert "--allow-gap" in result.stderr
    assert files(place) == content(1)
    killed_in_the_gap(caches.command("--allow-gap"))
    assert not place.exists()
    caches.check()
    assert traced([], caches.command()).returncode == 1
    assert files(place) == content(1)
    assert list(caches.cache.glob(".eggcache-[gs]*")) == []
    assert traced([], caches.command("--allow-gap")).returncode == 0
    caches.finished()
    assert list(caches.cache.glob(".eggcache-[gs]*")) == []
    again = traced([], caches.command())
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_reset_on_fuse(fuse: Path, caches: Caches) -> None:
    """--reset of a directory of somebody else's says what helps, and with the option moves it aside, whole."""
    caches.cache = fuse / "place" / "cache"
    caches.cache.parent.mkdir()
    caches.foreign()
    result = traced([], caches.command("--reset"))
    assert result.returncode == 1
    assert f"{caches.cache}: this file system cannot exchange" in result.stderr
    assert os.listdir(caches.cache) == ["planted"]
    assert os.listdir(caches.cache.parent) == ["cache"]
    result = traced([], caches.command("--reset", "--allow-gap"))
    assert result.returncode == 0, result.stderr
    caches.finished()
    (aside,) = caches.cache.parent.glob("cache.aside-*")
    assert os.listdir(aside) == ["planted"]


def test_site_on_fuse(fuse: Path, sites: Sites) -> None:
    """unzip-all likewise; killed in the gap, the zip lies aside, and the next run finds it."""
    sites.site = fuse / "site"
    sites.zipped()
    result = traced([], sites.command())
    assert result.returncode == 1
    assert "--allow-gap" in result.stderr
    assert os.listdir(sites.site) == [NAME]
    killed_in_the_gap(sites.command("--allow-gap"))
    assert not (sites.site / NAME).exists()
    sites.check()
    assert traced([], sites.command()).returncode == 1
    assert os.listdir(sites.site) == [NAME]
    sites.check()
    assert traced([], sites.command("--allow-gap")).returncode == 0
    sites.finished()
    assert os.listdir(sites.site) == [NAME]


def test_readers_may_miss_it_and_never_see_half(fuse: Path) -> None:
    """Whoever opens the directory during swap after swap finds one whole version, or none."""
    versions = [content(number) for number in range(30)]
    place = fuse / "place"
    place.mkdir()
    seen: list[dict[str, str]] = []
    missed, over = [0], threading.Event()

    def put(into: Path, version: dict[str, str]) -> None:
        for name, text in version.items():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_text(text)

    def read() -> None:
        while not over.is_set():
            try:
                descriptor = os.open(place / "egg", os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                missed[0] += 1
                continue
            try:
                seen.append(files(Path(f"/proc/self/fd/{descriptor}")))
            except FileNotFoundError:
                pass  # it was removed in the meantime, which the swap has to do with
            finally:
                os.close(descriptor)

    put(place / "egg", versions[0])
    reader = threading.Thread(target=read)
    reader.start()
    descriptor = os.open(place, os.O_RDONLY)
    kept = []
    try:
        for version in versions[1:]:
            stage = fuse / f"stage{len(kept)}"
            put(stage / "egg", version)
            staged = os.open(stage, os.O_RDONLY)
            kept.append(staged)  # what was displaced stays there, for those who read it
            swap_or_gap.swap(staged, descriptor, "egg", True)
            count, patience = len(seen), time.monotonic() + 60
            while len(seen) == count and reader.is_alive() and time.monotonic() < patience:
                time.sleep(0.001)  # however slow the file system is, each version is read at least once
    finally:
        over.set()
        reader.join()
        for item in (descriptor, *kept):
            os.close(item)
    assert files(place / "egg") == versions[-1]
    assert len(seen) >= len(versions) - 1
    assert [version for version in seen if version not in versions] == []


# --------------------------------------------------------------------------------- what the next run makes of it


def test_dry_run_writes_nothing(sites: Sites) -> None:
    """-n cannot know what the tree will be, says so, and puts nothing back."""
    sites.gap()
    before = listing(sites.site)
    result = traced([], sites.command("-n"))
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert f"{sites.site / NAME}: it is missing since a run was killed" in result.stderr
    assert listing(sites.site) == before


@pytest.mark.parametrize("way", ["pth", "link"])
def test_egg_that_a_pth_file_or_a_link_leads_to_is_put_back(
    way: str, sites: Sites, target: Callable[[str, str], Deployment]
) -> None:
    """An egg that a .pth file or a link in site-packages leads to is put back as well, though the target sees none."""
    made = target("3.11", "")
    packages = made.site_packages
    sites.zipped()
    if way == "pth":
        (packages / "eggs.pth").write_text(f"{sites.site / NAME}\n")
    else:
        (packages / NAME).symlink_to(sites.site / NAME)
    leave_gap(sites.site, NAME)
    result = traced([], program("unzip-all", "--all", "--python", made.python))
    assert result.returncode == 0, result.stderr
    sites.finished()
    assert os.listdir(sites.site) == [NAME]


def test_warm_run_tidies_up(caches: Caches) -> None:
    """A run that was killed after its receipt was written leaves a stage; one with nothing to do removes it."""
    caches.old()
    assert traced([], caches.command()).returncode == 0
    (caches.cache / ".eggcache-stage-0123456789abcdef" / "half").mkdir(parents=True)
    before = listing(caches.cache / f"{NAME}-tmp")
    result = traced([], caches.command())
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert listing(caches.cache / f"{NAME}-tmp") == before
    assert list(caches.cache.glob(".eggcache-stage*")) == []


@pytest.fixture
def place(shared_tmp: Path) -> Iterator[tuple[Path, int]]:
    """A directory with an old egg aside, and its descriptor."""
    made = shared_tmp / "place"
    made.mkdir()
    (made / "egg").write_text("old")
    leave_gap(made, "egg")
    descriptor = os.open(made, os.O_RDONLY)
    yield made, descriptor
    os.close(descriptor)


def journal(made: Path, **changes: object) -> None:
    entry = {"schema": 1, "name": "egg", "aside": ".eggcache-gap-0123456789abcdef", **changes}
    (made / JOURNAL).write_text(json.dumps(entry))


def fifo(made: Path) -> None:
    (made / JOURNAL).unlink()
    os.mkfifo(made / JOURNAL, 0o600)


HOSTILE: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "somebody else's": (lambda made: os.chown(made / JOURNAL, 12345, 12345), NotPermitted),
    "writable": (lambda made: (made / JOURNAL).chmod(0o666), NotPermitted),
    "hard link": (lambda made: os.link(made / JOURNAL, made / "other"), NotPermitted),
    "fifo": (fifo, NotPermitted),
    "symlink": (lambda made: ((made / JOURNAL).rename(made / "x"), (made / JOURNAL).symlink_to("x")), OSError),
    "traversal": (lambda made: journal(made, name="../victim"), EggcacheError),
    "parent": (lambda made: journal(made, name=".."), EggcacheError),
    "another's aside": (lambda made: journal(made, aside="victim"), EggcacheError),
    "aside elsewhere": (lambda made: journal(made, aside=".eggcache-gap-/../../victim"), EggcacheError),
    "other schema": (lambda made: journal(made, schema=2), EggcacheError),
    "no JSON": (lambda made: (made / JOURNAL).write_text("{"), EggcacheError),
    "no object": (lambda made: (made / JOURNAL).write_text("[]"), EggcacheError),
    "numbers": (lambda made: journal(made, name=1, aside=2), EggcacheError),
    "deep": (lambda made: (made / JOURNAL).write_text("[" * 9000), EggcacheError),
    "NUL": (lambda made: journal(made, name="egg\0"), EggcacheError),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_journal_is_refused_and_nothing_moves(case: str, place: tuple[Path, int]) -> None:
    """A journal that is not ours, or makes no sense, is refused: nothing moves, nothing is removed."""
    made, descriptor = place
    victim = made.parent / "victim"
    victim.write_text("victim")
    (made / "victim").write_text("victim")
    change, error = HOSTILE[case]
    change(made)
    before = {path: path.lstat().st_ino for path in (*made.iterdir(), victim)}
    with pytest.raises(error):
        swap_or_gap.recover(descriptor)
    assert {path: path.lstat().st_ino for path in (*made.iterdir(), victim)} == before
    assert not (made / "egg").exists()


def test_what_was_installed_in_the_gap_stays(place: tuple[Path, int]) -> None:
    """What an installer has put under the name in the gap stays; what lies aside goes."""
    made, descriptor = place
    (made / "egg").write_text("installed")
    assert swap_or_gap.recover(descriptor)
    assert {path.name: path.read_text() for path in made.iterdir()} == {"egg": "installed"}
    assert not swap_or_gap.recover(descriptor)


def test_signal_waits_for_the_second_rename(place: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that arrives between the two renames is delivered when the new one is there."""
    made, descriptor = place
    swap_or_gap.recover(descriptor)
    (made / "stage").mkdir()
    (made / "stage" / "egg").write_text("new")
    staged = os.open(made / "stage", os.O_RDONLY)
    states: list[str] = []
    before = signal.signal(signal.SIGHUP, lambda *_: states.append((made / "egg").read_text()))
    real = os.rename

    def rename(*arguments: object, **more: object) -> None:
        real(*arguments, **more)  # type: ignore[arg-type]
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)  # another thread would take it at once

    def refuse(*_: object) -> None:
        raise syscalls.CannotExchange("egg", "no", "")

    monkeypatch.setattr(syscalls, "exchange", refuse)
    monkeypatch.setattr(os, "rename", rename)
    try:
        swap_or_gap.swap(staged, descriptor, "egg", True)
    finally:
        signal.signal(signal.SIGHUP, before)
        os.close(staged)
    assert states == ["new"]
    assert safe_dirs.STAGE not in "".join(os.listdir(made))


@pytest.mark.parametrize("call", ["syncfs", "renameat2"])
def test_interrupted_calls_are_repeated(call: str, caches: Caches) -> None:
    """EINTR, which ctypes does not hide, ends nothing: not even three times in a row."""
    caches.old()
    result = traced(["-f", "-e", f"trace={call}", "-e", f"inject={call}:error=EINTR:when=1..3"], caches.command())
    assert (result.returncode, result.stderr) == (0, "")
    caches.finished()
