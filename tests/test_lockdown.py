"""lockdown: every attack is performed, and the victim looked at afterwards."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from eggcache import lockdown
from eggcache.errors import Busy, NotPermitted

OTHER = 12345  # a uid that nobody on this host has


@pytest.fixture
def safe(shared_tmp: Path) -> Path:
    """A directory of ours below directories of root's."""
    if os.geteuid() != 0:
        from conftest import missing

        missing("only root can plant files of other users")
    return shared_tmp


def state(path: Path) -> dict[str, tuple[object, ...]]:
    """All that an attack could change below `path`, and in it."""
    found = {}
    for directory, directories, files in os.walk(path):
        for name in [".", *directories, *files]:
            full = os.path.join(directory, name)
            info = os.lstat(full)
            content = (
                Path(full).read_bytes()
                if stat.S_ISREG(info.st_mode)
                else os.readlink(full)
                if os.path.islink(full)
                else b""
            )
            found[full] = (info.st_ino, info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns, content)
    return found


def refusal(path: Path, *, create: bool = True) -> str:
    with pytest.raises(NotPermitted) as refused:
        os.close(lockdown.open_directory(str(path), create=create))
    assert refused.value.remedy
    return str(refused.value)


def test_new_directory_is_private(safe: Path) -> None:
    """A directory is made 0700 and the caller's, whatever the umask says."""
    for mask in (0o000, 0o777):
        before = os.umask(mask)
        try:
            descriptor = lockdown.open_directory(str(safe / f"new{mask}"), create=True)
        finally:
            os.umask(before)
        info = os.fstat(descriptor)
        os.close(descriptor)
        assert (info.st_uid, info.st_mode & 0o077) == (os.geteuid(), 0)


def test_missing_parent_is_not_made(safe: Path) -> None:
    """Only the last component is ever made."""
    with pytest.raises(FileNotFoundError) as missing:
        lockdown.open_directory(str(safe / "not" / "there"), create=True)
    assert missing.value.filename == str(safe / "not")
    assert not (safe / "not").exists()


def test_directory_of_another_user(safe: Path) -> None:
    """A directory that another user made beforehand is refused by uid and stays as it was: its owner could hold a
    file in it open and write after any chown."""
    squatted = safe / "squatted"
    squatted.mkdir()
    (squatted / "planted").write_text("x")
    os.chown(squatted, OTHER, OTHER)
    before = state(safe)
    assert f"uid {OTHER}" in refusal(squatted)
    assert state(safe) == before


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o757, 0o1777])
def test_directory_that_others_can_write(safe: Path, mode: int) -> None:
    """DIR itself must not be writable by the group or by others, sticky or not."""
    shared = safe / "shared"
    shared.mkdir()
    shared.chmod(mode)
    assert f"{mode:04o}" in refusal(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == mode


@pytest.mark.parametrize(
    ("owner", "mode", "ok"),
    [(0, 0o1777, True), (0, 0o777, False), (OTHER, 0o1777, False), (OTHER, 0o755, False), (0, 0o775, False)],
)
def test_parent(safe: Path, owner: int, mode: int, ok: bool) -> None:
    """A parent must be root's or ours, and sticky where others can write to it: else they rename what is in it."""
    parent = safe / "parent"
    parent.mkdir()
    os.chown(parent, owner, 0)
    parent.chmod(mode)
    if ok:
        os.close(lockdown.open_directory(str(parent / "cache"), create=True))
    else:
        assert str(parent) in refusal(parent / "cache")
        assert not (parent / "cache").exists()


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def fifo(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def device(path: Path, victim: Path) -> None:
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))


def bound_socket(path: Path, victim: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def regular(path: Path, victim: Path) -> None:
    path.write_text("x")


@pytest.mark.parametrize("plant", [link, fifo, device, bound_socket, regular])
def test_planted_in_sticky_parent(safe: Path, plant: Callable[[Path, Path], None]) -> None:
    """Whatever another user plants at DIR in a sticky parent is refused; the directory that a link leads to, and
    the planted thing, are as before."""
    parent, victim = safe / "tmp", safe / "victim"
    parent.mkdir()
    parent.chmod(0o1777)
    victim.mkdir(0o700)
    plant(parent / "cache", victim)
    os.chown(parent / "cache", OTHER, OTHER, follow_symlinks=False)
    before = state(safe)
    refusal(parent / "cache")
    assert state(safe) == before


def test_link_of_roots_is_followed(safe: Path) -> None:
    """A link that root made where nobody else can write is followed: /var/run is one on most hosts."""
    (safe / "real").mkdir()
    (safe / "link").symlink_to("../" + safe.name + "/real")
    descriptor = lockdown.open_directory(str(safe / "link" / "cache"), create=True)
    os.close(descriptor)
    assert (safe / "real" / "cache").is_dir()


def test_link_loop(safe: Path) -> None:
    """Links that lead in a circle are refused, not followed for ever."""
    (safe / "a").symlink_to("b")
    (safe / "b").symlink_to("a")
    assert "too many symbolic links" in refusal(safe / "a" / "cache")


def test_link_of_another_user_in_the_middle(safe: Path) -> None:
    """A link that another user owns is not followed anywhere on the way."""
    (safe / "victim").mkdir()
    (safe / "link").symlink_to(safe / "victim")
    os.chown(safe / "link", OTHER, OTHER, follow_symlinks=False)
    assert str(safe / "link") in refusal(safe / "link" / "cache")
    assert list((safe / "victim").iterdir()) == []


def test_default_acl_is_dropped(safe: Path) -> None:
    """A default ACL of the parent grants nothing on a directory that we make, or on a stage in it."""
    parent = safe / "parent"
    parent.mkdir()
    subprocess.run(["setfacl", "-d", "-m", "u:1001:rwx", str(parent)], check=True)
    descriptor = lockdown.open_directory(str(parent / "cache"), create=True)
    try:
        lockdown.own(descriptor, 0, 0, 0o750)
        with lockdown.stage(descriptor) as (name, _):
            for path in (parent / "cache", parent / "cache" / name):
                seen = subprocess.run(["getfacl", "-cp", str(path)], check=True, capture_output=True, text=True).stdout
                assert "1001" not in seen
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("plant", [link, fifo, device, bound_socket])
def test_planted_lock(safe: Path, plant: Callable[[Path, Path], None]) -> None:
    """What is no regular file of ours is never opened as the lock, and a link's victim is not emptied."""
    victim = safe / "victim"
    victim.write_text("precious")
    descriptor = lockdown.open_directory(str(safe / "cache"), create=True)
    plant(safe / "cache" / lockdown.LOCK, victim)
    try:
        with pytest.raises(NotPermitted), lockdown.locked(descriptor, "cache", 0):
            pass
    finally:
        os.close(descriptor)
    assert victim.read_text() == "precious"


def test_hard_link_as_lock(safe: Path) -> None:
    """A lock file with a second name is somebody's file."""
    victim = safe / "victim"
    victim.write_text("precious")
    descriptor = lockdown.open_directory(str(safe / "cache"), create=True)
    os.link(victim, safe / "cache" / lockdown.LOCK)
    try:
        with pytest.raises(NotPermitted), lockdown.locked(descriptor, "cache", 0):
            pass
    finally:
        os.close(descriptor)
    assert victim.read_text() == "precious"


def test_lock_is_exclusive_private_and_stays(safe: Path) -> None:
    """A second holder gets Busy; the file is 0600 and is not unlinked, or two could hold locks of one name."""
    descriptor = lockdown.open_directory(str(safe / "cache"), create=True)
    answers = []

    def second() -> None:
        try:
            with lockdown.locked(descriptor, "cache", 0.1):
                answers.append("got it")
        except Busy as busy:
            answers.append(str(busy.status))

    try:
        with lockdown.locked(descriptor, "cache", 0):
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()
        second()
    finally:
        os.close(descriptor)
    assert answers == ["75", "got it"]
    assert stat.S_IMODE((safe / "cache" / lockdown.LOCK).stat().st_mode) == 0o600


def test_exchange_swaps_a_file_and_a_directory(shared_tmp: Path) -> None:
    """Both names exist afterwards, each with what the other had."""
    (shared_tmp / "zip").write_text("zip")
    (shared_tmp / "dir").mkdir()
    descriptor = os.open(shared_tmp, os.O_RDONLY)
    lockdown.exchange(descriptor, "dir", descriptor, "zip")
    os.close(descriptor)
    assert (shared_tmp / "zip").is_dir()
    assert (shared_tmp / "dir").read_text() == "zip"


def test_exchange_with_what_is_missing(shared_tmp: Path) -> None:
    """A name that is not there is an OSError, and the other stays."""
    (shared_tmp / "dir").mkdir()
    descriptor = os.open(shared_tmp, os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        lockdown.exchange(descriptor, "dir", descriptor, "zip")
    os.close(descriptor)
    assert (shared_tmp / "dir").is_dir()


def test_remove_does_not_follow(shared_tmp: Path) -> None:
    """Removing a tree removes links in it, never what they lead to."""
    victim = shared_tmp / "victim"
    victim.mkdir()
    (victim / "file").write_text("x")
    tree = shared_tmp / "tree" / "deep"
    tree.mkdir(parents=True)
    (tree / "link").symlink_to(victim)
    before = state(victim)
    descriptor = os.open(shared_tmp, os.O_RDONLY)
    lockdown.remove(descriptor, "tree")
    os.close(descriptor)
    assert not (shared_tmp / "tree").exists()
    assert state(victim) == before


def test_move_aside(safe: Path) -> None:
    """What is in the way is renamed to a name beside it, untouched."""
    parent = safe / "tmp"
    parent.mkdir()
    parent.chmod(0o1777)
    squatted = parent / "cache"
    squatted.mkdir()
    (squatted / "planted").write_text("x")
    os.chown(squatted, OTHER, OTHER)
    aside = Path(lockdown.move_aside(str(squatted)))
    assert aside.parent == parent
    assert (aside / "planted").read_text() == "x"
    assert not squatted.exists()


def test_replace_is_whole_or_not_at_all(shared_tmp: Path) -> None:
    """A file that cannot be written leaves the old one, and nothing beside it."""
    from eggcache.model import Ownership

    descriptor = os.open(shared_tmp, os.O_RDONLY)
    owner = Ownership(os.geteuid(), os.getegid(), 0o755, 0o644)
    lockdown.replace(descriptor, "file", b"one", owner)
    with pytest.raises(OSError, match="too long"):
        lockdown.replace(descriptor, "x" * 300, b"two", owner)
    os.close(descriptor)
    assert os.listdir(shared_tmp) == ["file"]
    assert (shared_tmp / "file").read_bytes() == b"one"
    assert stat.S_IMODE((shared_tmp / "file").stat().st_mode) == 0o644
