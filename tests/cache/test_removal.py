"""remove: the whole cache, and nothing else; whoever attacks, and whenever it is killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ROOT
from support.disks import bindfs
from support.judge import as_json, eggcache, environment, listing
from support.sites import Site

from eggcache.cache import removal
from eggcache.errors import NotPermitted
from eggcache.system import safe_dirs


def beside(site: Site) -> list[str]:
    """What is where the cache is, or was."""
    return sorted(path.name for path in site.cache.parent.iterdir() if path.name.startswith("cache"))


def test_removes_what_it_said(site: Site) -> None:
    """-n says what would be removed and changes nothing; the real run removes that; another has nothing to do."""
    site.prepare()
    before = listing(site.cache)
    said = eggcache("remove", "-n", site.cache)
    assert listing(site.cache) == before
    planned = json.loads(eggcache("remove", "-n", "--json", site.cache).stdout)
    result = json.loads(eggcache("remove", "--json", site.cache).stdout)
    assert result["outcomes"] == planned["outcomes"]
    assert [(os.path.basename(outcome["egg"]), outcome["action"]) for outcome in result["outcomes"]] == [
        ("One-1.0-py3.11.egg", "removed"), ("Two-1.0-py3.11.egg", "removed")
    ]  # fmt: skip
    assert f"would be removed: {site.cache}\n" in said.stdout
    assert (planned["dry_run"], result["dry_run"]) == (True, False)
    assert f"2 eggs would be removed from {site.cache}: " in said.stdout
    assert beside(site) == []
    again = eggcache("remove", site.cache)
    assert (again.returncode, again.stdout) == (0, "")
    assert "nothing to do" in again.stderr
    assert eggcache("remove", "-q", site.cache).stderr == ""
    assert site.prepare().returncode == 0
    assert site.served()


def content(site: Site) -> dict[str, tuple[object, ...]]:
    """The cache as it is, but for the lock, which was taken."""
    entries = listing(site.cache)
    del entries[f"{site.cache}/.eggcache.lock"]
    return entries


@pytest.mark.parametrize("opened", ["One*/one/data/text.txt", ".eggcache.lock", ".eggcache.json", "*/one/__init__.py"])
def test_disk_that_keeps_files_while_they_are_open(site: Site, shared_tmp: Path, opened: str) -> None:
    """FUSE renames a file that is removed while a process has it open, as NFS does. The lock, which remove has open, is
    gone with remove; what another process has open is said to stay, and the next run removes it."""
    with bindfs(shared_tmp / "source", shared_tmp / "disk") as disk:
        site.cache = disk / "cache"
        assert site.prepare("--allow-gap").returncode == 0
        with next(site.cache.glob(opened)).open():
            result = eggcache("remove", site.cache)
            (kept,) = disk.iterdir()
            line = f"{kept}: the disk keeps it, since a process has a file of it open: end that process, then run: "
            assert (result.returncode, result.stderr.count("\n")) == (0, 1)
            assert f"{line}eggcache remove {site.cache}\n" in result.stderr
        assert eggcache("remove", site.cache).returncode == 0
        assert list(disk.iterdir()) == []
        assert site.prepare("--allow-gap").returncode == 0
        result = eggcache("remove", site.cache)
        assert (result.returncode, result.stderr, list(disk.iterdir())) == (0, "", [])


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a file": lambda cache: (cache / "notes.txt").write_text("mine"),
    "a directory": lambda cache: (cache / "Mine-1.0.egg-tmp").mkdir(),
    "somebody else's": lambda cache: os.chown(next(cache.glob("One*")), 1, 1),
    "writable": lambda cache: next(cache.glob("One*")).chmod(0o777),
    "a link": lambda cache: (cache / "x.egg-tmp").symlink_to("/etc"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_leaves_what_is_not_ours(site: Site, kind: str) -> None:
    """Anything foreign in it: it is named, and everything stays as it was, exit 4."""
    site.prepare()
    FOREIGN[kind](site.cache)
    before = content(site)
    for option in ([], ["-n"]):
        result = eggcache("remove", site.cache, *option)
        assert (result.returncode, result.stdout) == (4, "")
        assert "nothing was removed" in result.stderr
        assert content(site) == before


def test_is_no_egg_cache(site: Site) -> None:
    """What eggcache never worked in is refused: a directory of files, an empty one, one that pkg_resources filled."""
    empty, filled = site.eggs.parent / "empty", site.eggs.parent / "filled"
    empty.mkdir()
    (filled / "Some-1.0-py2.7.egg-tmp").mkdir(parents=True)
    for directory in (site.eggs, empty, filled):
        result = eggcache("remove", directory)
        assert (result.returncode, result.stdout) == (4, "")
        assert "eggcache did not make it" in result.stderr
        assert directory.is_dir()
    file = site.eggs.parent / "file"
    file.write_text("")
    result = eggcache("remove", file)
    assert (result.returncode, result.stderr) == (4, f"eggcache: {file}: it is no directory; name the egg cache\n")
    assert file.exists()


def test_what_is_not_safe_to_remove(site: Site) -> None:
    """For a cache that is another user's, and for one in such a user's directory, remove names no option of prepare,
    and no place for a new cache."""
    site.prepare()
    os.chown(site.cache, site.account.pw_uid, site.account.pw_gid)
    top = site.cache.parent

    def refused(remedy: str, thing: Path) -> None:
        result = eggcache("remove", site.cache)
        assert result.returncode == 4
        assert result.stderr.startswith(f"eggcache: {thing}: ")
        assert result.stderr.endswith(f"; {remedy}\n")

    refused("run it as its owner, or see what is in it and remove it yourself", site.cache)
    os.chown(site.cache, 0, 0)
    os.chown(top, site.account.pw_uid, site.account.pw_gid)
    refused("run it as its owner", top)  # it may be his home: nothing in it is to be removed but the cache
    os.chown(top, 0, 0)
    site.cache.chmod(0o777)
    refused("see what is in it, and remove it yourself", site.cache)
    site.cache.chmod(0o750)
    top.chmod(0o777)
    refused(f"let nobody else write there, and run it again: chmod go-w {top}", top)
    subprocess.run(["chmod", "go-w", top], check=True)
    assert eggcache("remove", site.cache).returncode == 0


@pytest.mark.parametrize("receipt", [None, "{", '{"schema": 1}'])
def test_without_a_receipt(site: Site, receipt: str | None) -> None:
    """A lost, damaged or older receipt does not keep the cache: its lock says whose it is, and the owner the rest."""
    site.prepare()
    if receipt is None:
        (site.cache / ".eggcache.json").unlink()
    else:
        (site.cache / ".eggcache.json").write_text(receipt)
    stage = site.cache / ".eggcache-stage-0123456789abcdef"
    stage.mkdir()
    (stage / "half").write_text("12345")
    result = json.loads(eggcache("remove", "--json", site.cache).stdout)
    sizes = {os.path.basename(outcome["into"]): (outcome["files"], outcome["size"]) for outcome in result["outcomes"]}
    assert sizes[stage.name] == (1, 5)
    assert sum(files for files, _ in sizes.values()) == 8
    assert beside(site) == []


def test_deep_and_linked(site: Site) -> None:
    """A stage deeper than Python may call itself, and with paths longer than the kernel takes, is counted as far as it
    can be named, and removed; a link in it is neither followed nor counted for what it leads to."""
    site.prepare()
    stage = site.cache / ".eggcache-stage-0123456789abcdef"
    stage.mkdir()
    (stage / "link").symlink_to(site.eggs)
    (stage / "top").write_text("12345")
    here = os.open(stage, os.O_RDONLY)
    for level in range(2500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        if level == 1900:
            os.close(os.open("deep", os.O_CREAT, dir_fd=here))
    os.close(os.open("deeper", os.O_CREAT, dir_fd=here))
    os.close(here)
    (result,) = [outcome for outcome in removal.remove(str(site.cache)).outcomes if outcome.into == str(stage)]
    assert (result.files, result.size) == (3, 5 + len(str(site.eggs)))
    assert beside(site) == []
    assert len(list(site.eggs.iterdir())) == 2


def test_waits_for_a_prepare(site: Site) -> None:
    """While a prepare holds the lock it waits, and says so where that takes too long, exit 75."""
    site.prepare()
    with (site.cache / ".eggcache.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = eggcache("remove", site.cache, "--wait", "0.2")
        assert result.returncode == 75
        assert site.cache.is_dir()
    assert eggcache("remove", site.cache, "--wait", "0.2").returncode == 0


def opened(pid: int) -> set[str]:
    """The files that a process has open, as far as they stay so while one looks."""
    paths = set()
    for link in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            paths.add(os.readlink(f"/proc/{pid}/fd/{link}"))
    return paths


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [("prepare", 1, "removed it meanwhile; run it again"), ("remove", 0, "nothing to do")],
)
def test_waited_while_it_was_removed(site: Site, command: str, status: int, says: str) -> None:
    """Who waited while the cache was removed does not work in a directory that is gone, and says so."""
    site.prepare()
    (site.eggs / "One-1.0-py3.11.egg").unlink()
    with (site.cache / ".eggcache.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        options = site.options if command == "prepare" else []
        words = [sys.executable, "-m", "eggcache", command, str(site.cache), *map(str, options)]
        waiting = subprocess.Popen(words, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
        steady, until = 0, time.monotonic() + 60
        while steady < 6 and time.monotonic() < until:  # it has the directory open, and keeps it so: it waits
            steady = steady + 1 if str(site.cache) in opened(waiting.pid) else 0
            time.sleep(0.05)
        assert steady == 6
        os.rename(site.cache, f"{site.cache}.removed-0123456789abcdef")
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == status
    assert says in said
    assert eggcache("remove", site.cache).returncode == 0
    assert beside(site) == []


def test_killed_at_any_step_it_is_whole_or_gone(site: Site) -> None:
    """Killed at any of its steps: the cache is whole or gone, and the next run completes."""
    seen = set()
    for call, numbers in (
        ("rename,renameat", (1,)),
        ("unlink,unlinkat", (1, 2, 5, 9, 12)),
        ("rmdir,unlinkat", (3, 7, 15)),
    ):
        for number in numbers:
            assert site.prepare().returncode == 0
            before = sorted(path.name for path in site.cache.iterdir())
            subprocess.run(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                 "-e", f"inject={call}:signal=KILL:when={number}",
                 sys.executable, "-m", "eggcache", "remove", str(site.cache)],
                cwd=ROOT, env=environment({"PYTHONDONTWRITEBYTECODE": "1"}), capture_output=True, check=False,
            )  # fmt: skip
            left = beside(site)
            for half in site.cache.parent.glob("cache.removed-*"):
                names = os.listdir(half)
                assert not names or ".eggcache.lock" in names  # it goes last: who holds it is at work
            seen.add(tuple(name.partition(".removed-")[:2] for name in left))
            if "cache" in left:
                assert sorted(path.name for path in site.cache.iterdir()) == before
            assert eggcache("remove", site.cache).returncode == 0
            assert beside(site) == []
    assert (("cache", ".removed-"),) in seen  # killed while it was half done


def test_planted_leftovers_are_left_alone(site: Site) -> None:
    """In a directory like /tmp somebody plants a leftover of a name like ours: it is left alone, link or not."""
    site.prepare()
    planted = site.cache.parent / "cache.removed-0123456789abcdef"
    (planted / "theirs").mkdir(parents=True)
    os.chown(planted, 65534, 65534)
    link = site.cache.parent / "cache.removed-fedcba9876543210"
    link.symlink_to(site.eggs)
    similar = site.cache.parent / "cache.removed-from-the-old-host"
    similar.mkdir()
    assert eggcache("remove", site.cache).returncode == 0
    assert beside(site) == [planted.name, link.name, similar.name]
    assert len(list(site.eggs.iterdir())) == 2


def test_link_and_unsafe_places(site: Site) -> None:
    """A link that root made is followed and stays; a place that others can change is refused."""
    site.prepare()
    link = site.cache.parent / "cache-link"
    link.symlink_to(site.cache)
    result = eggcache("remove", link)
    assert result.returncode == 0
    assert "is yours to remove" in result.stderr
    assert beside(site) == ["cache-link"]
    site.prepare()
    site.cache.parent.chmod(0o777)
    result = eggcache("remove", site.cache)
    assert result.returncode == 4
    assert site.cache.is_dir()


def test_directory_that_a_prepare_has_just_made(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory is looked at again: a prepare has its lock there soon. Without one it is nobody's cache."""
    site.cache.mkdir(0o700)
    looks: list[float] = []

    def prepared(seconds: float) -> None:
        if seconds == removal._BETWEEN:  # and not what waits for slow processes, when all is gone
            looks.append(seconds)
        if looks[1:] and site.cache.exists():
            (site.cache / safe_dirs.LOCK).touch(0o600)

    monkeypatch.setattr(time, "sleep", prepared)
    removal.remove(str(site.cache))
    assert len(looks) == 2
    assert not site.cache.exists()
    site.cache.mkdir(0o700)
    monkeypatch.setattr(time, "sleep", looks.append)
    with pytest.raises(NotPermitted, match="neither a receipt nor a lock"):
        removal.remove(str(site.cache))
    assert 0.5 < sum(looks[2:]) < 2
    assert site.cache.is_dir()


def test_planted_link_is_refused(site: Site) -> None:
    """A link that somebody else made in a directory for everybody is refused, and nothing at its end is touched; also
    where it leads to nothing."""
    site.prepare()
    half = site.cache.parent / "cache.removed-0123456789abcdef"
    half.mkdir()
    (half / ".eggcache.lock").touch(0o600)
    everybodys = site.eggs.parent / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o1777)
    for name, to in (("planted", site.cache), ("dangling", site.cache.parent / "cache-gone")):
        link = everybodys / name
        link.symlink_to(to)
        os.chown(link, 12345, 12345, follow_symlinks=False)
        for option in ([], ["-n"]):
            result = eggcache("remove", link, *option)
            assert (result.returncode, result.stdout) == (4, "")
            assert "uid 12345" in result.stderr
            assert beside(site) == ["cache", half.name]
    assert site.served()
    own = site.cache.parent / "own"
    own.symlink_to(site.cache)
    assert eggcache("remove", own).returncode == 0
    assert beside(site) == []
    half.mkdir()  # a run that was given the link, and was killed
    assert "nothing to do" in eggcache("remove", own).stderr
    assert beside(site) == []


def test_touches_nothing_of_others(site: Site) -> None:
    """Where there is no cache of eggcache's, or none at all, what only has a name like a leftover stays."""
    alike = site.cache.parent / "cache.new-0123456789abcdef"
    alike.mkdir()
    (alike / "work").write_text("mine")
    assert eggcache("remove", site.cache).returncode == 0
    assert (alike / "work").read_text() == "mine"
    (alike / ".eggcache.lock").touch(0o600)
    site.cache.mkdir()  # empty: not ours
    assert eggcache("remove", site.cache).returncode == 4
    assert (alike / "work").read_text() == "mine"


def test_mount_point_is_left_whole(site: Site) -> None:
    """What cannot be renamed is left whole, exit 4."""
    site.cache.mkdir()
    script = (
        'mount -t tmpfs -o mode=0755 none "$1" && shift && "$@" prepare $CACHE $OPTIONS -q || exit 9; '
        '"$@" remove $CACHE; echo $?; ls $CACHE'
    )
    env = environment({"CACHE": str(site.cache), "OPTIONS": " ".join(map(str, site.options))})
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(site.cache), sys.executable, "-m", "eggcache"],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.stdout.split() == ["4", "One-1.0-py3.11.egg-tmp", "Two-1.0-py3.11.egg-tmp"]
    assert "cannot be taken away" in result.stderr


@contextlib.contextmanager
def mounted(path: Path, *options: str | Path) -> Iterator[None]:
    subprocess.run(["mount", *options, path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("options", [[], ["-n"]], ids=["done", "said"])
def test_what_is_mounted_in_it_is_left(site: Site, options: list[str], shared_tmp: Path) -> None:
    """What is mounted in a cache is somebody else's: nothing there is removed, and nothing of the cache, until the
    command of the remedy has been run. The same goes for what a killed run left."""
    site.prepare()
    precious = shared_tmp / "precious"
    precious.mkdir()
    (precious / "keep.txt").write_text("keep")
    place = site.cache / "One-1.0-py3.11.egg-tmp"
    with mounted(place, "--bind", precious):
        result = eggcache("remove", *options, site.cache)
        assert (result.returncode, result.stdout) == (4, "")
        assert result.stderr == (
            f"eggcache: {place}: something is mounted there; unmount it, and run it again: umount {place}\n"
        )
        assert any((site.cache / "Two-1.0-py3.11.egg-tmp").iterdir())
    half = site.cache.parent / "cache.removed-0123456789abcdef"
    os.rename(site.cache, half)
    with mounted(half / place.name, "--bind", precious):
        eggcache("remove", site.cache)
        assert half.exists()
    assert (precious / "keep.txt").read_text() == "keep"
    eggcache("remove", site.cache)
    assert not half.exists()


def test_read_only_disk(site: Site) -> None:
    """A cache on a disk that is read-only is not removed, in one line with the remedy."""
    site.cache = site.cache.parent / "disk" / "cache"
    site.cache.parent.mkdir()
    with mounted(site.cache.parent, "-t", "tmpfs", "tmpfs"):
        site.prepare()
        subprocess.run(["mount", "-o", "remount,ro", site.cache.parent], check=True)
        result = eggcache("remove", site.cache)
        assert result.returncode == 1
        assert result.stderr.startswith(f"eggcache: {site.cache}: cannot be removed: Read-only file system")
        assert result.stderr.endswith("remount it writable and run again\n")


def test_prepare_removes_what_a_killed_remove_left(site: Site) -> None:
    """What a killed remove left is removed by the next run of either command."""
    site.prepare()
    os.rename(site.cache, site.cache.parent / "cache.removed-0123456789abcdef")
    assert site.prepare().returncode == 0
    assert beside(site) == ["cache"]


def test_warns_of_a_server(site: Site) -> None:
    """A process that has it in its environment is named; those that started the command are not."""
    site.prepare()
    env = environment({"PYTHON_EGG_CACHE": str(site.cache)})
    with subprocess.Popen(["sleep", "60"], env=env) as server:
        try:
            result = subprocess.run(
                ["sh", "-c", '"$@"; true', "sh", sys.executable, "-m", "eggcache", "remove", site.cache],
                cwd=ROOT, env=env, capture_output=True, text=True, check=False,
            )  # fmt: skip
        finally:
            server.kill()
    assert result.stderr == f"eggcache: sleep (process {server.pid}) has it as its egg cache: restart it without\n"


def test_ordinary_user_removes_his_own_cache_only(site: Site, checkout: Path) -> None:
    """An ordinary user removes a cache of his own, and not root's."""
    site.prepare()
    home = site.eggs.parent / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(site.python), "-m", "eggcache", *arguments], env=environment({"PYTHONPATH": str(checkout)}), cwd="/",
            capture_output=True, text=True, check=False, user="nobody", group="nogroup", extra_groups=[],
        )  # fmt: skip

    own = str(home / "cache")
    assert run("prepare", own, "--all", "--path", str(site.eggs), "--python", str(site.python)).returncode == 0
    assert run("status", own).returncode == 0
    assert run("remove", own).returncode == 0
    assert list(home.iterdir()) == []
    assert run("remove", str(site.cache)).returncode == 4
    assert site.cache.is_dir()


def made(path: Path, mode: int | None = None, owner: int = 0) -> None:
    """An empty file or, by its name, a directory; or a link."""
    if mode is None:
        path.symlink_to("/etc")
    elif path.name.endswith("-tmp") or "stage" in path.name or "gap-" in path.name:
        path.mkdir()
        path.chmod(mode)
    else:
        path.touch()
        path.chmod(mode)
    os.chown(path, owner, owner, follow_symlinks=False)


OWN = (".eggcache-stage-0123456789abcdef", ".eggcache-stage-file", ".eggcache-gap-0123456789abcdef")
JOURNAL = {"schema": 1, "name": "One-1.0-py3.11.egg-tmp", "aside": OWN[2]}
UNKNOWN: dict[str, tuple[int | None, int]] = {
    "file": (0o600, 0), "d-tmp": (0o755, 0), "Odd-1.0.egg-tmp": (0o755, 0), "link": (None, 0),
    "two\n\x1b[31mlines": (0o644, 0), "two\nlines.egg-tmp": (0o755, 0),
}  # fmt: skip
DANGEROUS: dict[str, tuple[int | None, int]] = {
    "everybody's": (0o666, 0), "everybody's.egg-tmp": (0o777, 0), "group's": (0o660, 0), "somebody's": (0o600, 1),
    "somebody's link": (None, 1), "somebody's.egg-tmp": (0o755, 1), "somebody's\nlines": (0o600, 1),
}  # fmt: skip


def test_all_agree_whose_an_entry_is(site: Site) -> None:
    """prepare, with -n and without, status and remove call the same entries foreign, in the same words. What somebody
    else can change is exit status 4, also where prepare has nothing to do, and the rest a notice."""
    site.prepare()
    made(site.cache / "everybody's", 0o666)
    assert site.prepare().returncode == 4
    (site.cache / "everybody's").unlink()
    for name in OWN:
        made(site.cache / name, 0o700)
    (site.cache / ".eggcache-gap.json").write_text(json.dumps(JOURNAL))
    status, told = 0, []
    for more in (UNKNOWN, DANGEROUS):
        for name, (mode, owner) in more.items():
            made(site.cache / name, mode, owner)
        (site.eggs / "Two-1.0-py3.11.egg").touch()
        preparing = ["prepare", site.cache, *site.options]
        for words in (["status", site.cache], [*preparing, "-n"], preparing, ["status", site.cache]):
            result = eggcache(*words, "--json")
            findings = [finding for finding in as_json(result)["findings"] if finding["code"] == "foreign-entry"]
            assert result.returncode == (3 if not status and told == [] else status), (words, result.stderr)
            assert told == [] or findings == told
            told = findings
        expected = dict.fromkeys(UNKNOWN, 0) | dict.fromkeys(DANGEROUS if status else (), 4)
        assert {os.path.basename(finding["thing"]): finding["status"] for finding in told} == expected
        status, told = 4, []
    for name in sorted(expected):
        with pytest.raises(NotPermitted, match="so nothing was removed") as refused:
            removal.remove(str(site.cache))
        assert refused.value.thing == f"{site.cache}/{name}"
        subprocess.run(["rm", "-r", site.cache / name], check=True)
    assert eggcache("remove", site.cache).returncode == 0
    assert beside(site) == []
