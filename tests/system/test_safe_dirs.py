"""safe_dirs: every attack is performed, and the victim looked at afterwards."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.parts import missing

from eggcache.cache import reset_directory
from eggcache.errors import Busy, NotPermitted
from eggcache.system import locks, safe_dirs, staging, syscalls
from eggcache.system.accounts import Account, acting

OTHER = 12345  # a uid that nobody on this host has


@pytest.fixture
def safe(shared_tmp: Path) -> Path:
    """A directory of ours below directories of root's."""
    if os.geteuid() != 0:
        from support.parts import missing

        missing("only root can plant files of other users")
    return shared_tmp


def state(path: Path) -> dict[str, tuple[object, ...]]:
    """All that an attack could change below `path`, and in it."""
    entries = {}
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
            entries[full] = (
                info.st_ino,
                info.st_mode,
                info.st_uid,
                info.st_gid,
                info.st_size,
                info.st_mtime_ns,
                content,
            )
    return entries


def refusal(path: Path, *, create: bool = True) -> str:
    with pytest.raises(NotPermitted) as refused:
        os.close(safe_dirs.open_directory(str(path), create=create))
    assert refused.value.remedy.text
    return str(refused.value)


def test_new_directory_is_private(safe: Path) -> None:
    """A directory is made 0700 and the caller's, whatever the umask says."""
    for mask in (0o000, 0o777):
        before = os.umask(mask)
        try:
            descriptor = safe_dirs.open_directory(str(safe / f"new{mask}"), create=True)
        finally:
            os.umask(before)
        info = os.fstat(descriptor)
        os.close(descriptor)
        assert (info.st_uid, info.st_mode & 0o077) == (os.geteuid(), 0)


def test_missing_parent_is_not_made(safe: Path) -> None:
    """Only the last component is ever made."""
    with pytest.raises(FileNotFoundError) as missing:
        safe_dirs.open_directory(str(safe / "not" / "there"), create=True)
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
def test_parent_that_others_can_write_to_is_refused(safe: Path, owner: int, mode: int, ok: bool) -> None:
    """A parent must be root's or ours, and sticky where others can write to it: else they rename what is in it."""
    parent = safe / "parent"
    parent.mkdir()
    os.chown(parent, owner, 0)
    parent.chmod(mode)
    if ok:
        os.close(safe_dirs.open_directory(str(parent / "cache"), create=True))
    else:
        assert str(parent) in refusal(parent / "cache")
        assert not (parent / "cache").exists()


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def second_name(path: Path, victim: Path) -> None:
    os.link(victim, path)


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
    descriptor = safe_dirs.open_directory(str(safe / "link" / "cache"), create=True)
    os.close(descriptor)
    assert (safe / "real" / "cache").is_dir()


def test_links_in_a_circle_are_refused(safe: Path) -> None:
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
    descriptor = safe_dirs.open_directory(str(parent / "cache"), create=True)
    try:
        safe_dirs.set_owner(descriptor, 0, 0, 0o750)
        with staging.stage(descriptor) as (name, _):
            for path in (parent / "cache", parent / "cache" / name):
                seen = subprocess.run(["getfacl", "-cp", str(path)], check=True, capture_output=True, text=True).stdout
                assert "1001" not in seen
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("plant", [link, second_name, fifo, device, bound_socket])
def test_planted_lock_is_never_opened(safe: Path, plant: Callable[[Path, Path], None]) -> None:
    """What is no regular file of ours, with one name, is never opened as the lock, and a link's victim is not
    emptied."""
    victim = safe / "victim"
    victim.write_text("precious")
    descriptor = safe_dirs.open_directory(str(safe / "cache"), create=True)
    plant(safe / "cache" / safe_dirs.LOCK, victim)
    try:
        with pytest.raises(NotPermitted), locks.lock_directory(descriptor, "cache", 0):
            pass
    finally:
        os.close(descriptor)
    assert victim.read_text() == "precious"


def test_lock_is_exclusive_private_and_stays(safe: Path) -> None:
    """A second holder gets Busy; the file is 0600 and is not unlinked, or two could hold locks of one name."""
    descriptor = safe_dirs.open_directory(str(safe / "cache"), create=True)
    answers = []

    def second() -> None:
        try:
            with locks.lock_directory(descriptor, "cache", 0.1):
                answers.append("got it")
        except Busy as busy:
            answers.append(str(busy.status))

    try:
        with locks.lock_directory(descriptor, "cache", 0):
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()
        second()
    finally:
        os.close(descriptor)
    assert answers == ["75", "got it"]
    assert stat.S_IMODE((safe / "cache" / safe_dirs.LOCK).stat().st_mode) == 0o600


def test_exchange_swaps_a_file_and_a_directory(shared_tmp: Path) -> None:
    """Both names exist afterwards, each with what the other had."""
    (shared_tmp / "zip").write_text("zip")
    (shared_tmp / "dir").mkdir()
    descriptor = os.open(shared_tmp, os.O_RDONLY)
    syscalls.exchange(descriptor, "dir", descriptor, "zip")
    os.close(descriptor)
    assert (shared_tmp / "zip").is_dir()
    assert (shared_tmp / "dir").read_text() == "zip"


def test_exchange_with_what_is_missing(shared_tmp: Path) -> None:
    """A name that is not there is an OSError, and the other stays."""
    (shared_tmp / "dir").mkdir()
    descriptor = os.open(shared_tmp, os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        syscalls.exchange(descriptor, "dir", descriptor, "zip")
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
    staging.remove(descriptor, "tree")
    os.close(descriptor)
    assert not (shared_tmp / "tree").exists()
    assert state(victim) == before


def test_what_is_in_the_way_stays_under_another_name(safe: Path) -> None:
    """What is in the way is exchanged with a new directory of ours and stays, untouched, under another name."""
    parent = safe / "tmp"
    parent.mkdir()
    parent.chmod(0o1777)
    squatted = parent / "cache"
    squatted.mkdir()
    (squatted / "planted").write_text("x")
    os.chown(squatted, OTHER, OTHER)
    with reset_directory.renewal(str(squatted), 0) as new:
        assert sorted(os.listdir(squatted)) == ["planted"]
        aside = new.take_place(allow_gap=False)
        assert os.path.samestat(os.fstat(new.descriptor), squatted.stat())
    assert aside
    assert (Path(aside) / "planted").read_text() == "x"
    assert squatted.stat().st_uid == 0
    assert os.listdir(squatted) == [safe_dirs.LOCK]
    assert sorted(os.listdir(parent)) == ["cache", Path(aside).name]


def test_renewal_that_fails(safe: Path) -> None:
    """What could not be finished leaves what was there where it was, and nothing beside it."""
    (safe / "cache").write_text("in the way")
    os.chown(safe / "cache", OTHER, OTHER)

    def fail() -> None:
        with reset_directory.renewal(str(safe / "cache"), 0) as new:
            os.mkdir("egg-tmp", dir_fd=new.descriptor)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert os.listdir(safe) == ["cache"]
    assert (safe / "cache").read_text() == "in the way"


def test_renewal_after_a_kill(safe: Path) -> None:
    """What a killed run had built is removed by the next; what another is building now, somebody else's, and what only
    has a name like it stays."""
    killed, foreign, alike = f"cache.new-{'0' * 16}", f"cache.new-{'f' * 16}", "cache.new-alike"
    for name, owner in ((killed, 0), (foreign, OTHER), (alike, 0)):
        (safe / name / "egg-tmp").mkdir(parents=True)
        (safe / name / safe_dirs.LOCK).touch(0o600)
        os.chown(safe / name, owner, owner)
    bare = f"cache.new-{'1' * 16}"
    (safe / bare).mkdir()  # killed before it had its lock
    with reset_directory.renewal(str(safe / "cache"), 0), reset_directory.renewal(str(safe / "cache"), 0):
        names = os.listdir(safe)
        assert len(names) == 4
        assert {foreign, alike} < set(names)
        assert {killed, bare}.isdisjoint(names)


@pytest.mark.parametrize("lock", ["none", "readable", "a link", "with text"])
def test_alike_but_not_ours(safe: Path, lock: str) -> None:
    """A directory of root's own of a name like ours, without our lock in it, stays as it is."""
    alike = safe / f"cache.new-{'0123456789abcdef'}"
    alike.mkdir()
    (alike / "work").write_text("mine")
    if lock == "a link":
        (alike / safe_dirs.LOCK).symlink_to(alike / "work")
    elif lock != "none":
        (alike / safe_dirs.LOCK).write_text("x" * (lock == "with text"))
        (alike / safe_dirs.LOCK).chmod(0o644 if lock == "readable" else 0o600)
    before = sorted(os.listdir(alike))
    with reset_directory.renewal(str(safe / "cache"), 0):
        assert sorted(os.listdir(alike)) == before


def test_renewal_spares_shared_directories(safe: Path) -> None:
    """/tmp itself, or one like it, is never moved."""
    shared = safe / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(NotPermitted, match="for everybody"), reset_directory.renewal(str(shared), 0):
        pass
    assert os.listdir(safe) == ["shared"]


def test_renewal_beats_a_squatter(safe: Path) -> None:
    """Somebody who makes and removes DIR over and over does not keep us from having it."""
    parent = safe / "tmp"
    parent.mkdir()
    parent.chmod(0o1777)
    code = (
        "import os, sys\nwhile True:\n  try: os.mkdir(sys.argv[1])\n  except OSError: pass\n"
        "  try: os.rmdir(sys.argv[1])\n  except OSError: pass\n"
    )
    with subprocess.Popen(["/usr/bin/python3", "-c", code, str(parent / "cache")], user="nobody") as squatter:
        try:
            for _ in range(50):
                try:
                    descriptor = safe_dirs.open_directory(str(parent / "cache"), create=True)
                except NotPermitted:
                    with reset_directory.renewal(str(parent / "cache"), 0) as new:
                        new.take_place(allow_gap=False)
                        descriptor = os.dup(new.descriptor)
                    os.unlink(safe_dirs.LOCK, dir_fd=descriptor)
                assert os.path.samestat(os.fstat(descriptor), (parent / "cache").stat())
                assert os.fstat(descriptor).st_uid == 0
                os.close(descriptor)
                os.rmdir(parent / "cache")
        finally:
            squatter.kill()


def test_remove_while_its_owner_works_in_it(safe: Path) -> None:
    """A tree of somebody else's, who exchanges directories and links in it meanwhile, leads nowhere outside it."""
    victim = safe / "victim"
    victim.mkdir()
    for number in range(50):
        (victim / f"file{number}").write_text("precious")
    before = state(victim)
    code = (
        "import os, sys\nos.chdir(sys.argv[1])\nprint(flush=True)\n"
        "while True:\n"
        "  try: os.rename('a', 'b'); os.symlink(sys.argv[2], 'a')\n"
        "  except OSError: pass\n"
        "  try: os.unlink('a'); os.rename('b', 'a')\n"
        "  except OSError: pass\n"
    )
    descriptor = safe_dirs.open_directory(str(safe / "cache"), create=True)
    os.chmod(safe / "cache", 0o755)
    for _ in range(20):
        tree = safe / "cache" / "x.egg-tmp"
        (tree / "a").mkdir(parents=True)
        for number in range(300):
            (tree / "a" / f"file{number}").touch()
        for path in (tree, tree / "a"):
            os.chown(path, OTHER, OTHER)
        with subprocess.Popen(
            ["/usr/bin/python3", "-c", code, str(tree), str(victim)], user=OTHER, stdout=subprocess.PIPE
        ) as attacker:
            assert attacker.stdout
            attacker.stdout.readline()
            try:
                staging.remove(descriptor, "x.egg-tmp")
            finally:
                attacker.kill()
        assert not tree.exists()
    assert os.listdir(descriptor) == []
    os.close(descriptor)
    assert state(victim) == before


def test_remove_while_another_run_takes_the_lock(safe: Path) -> None:
    """A lock that a run makes in a directory whose own lock is gone already does not keep the directory; and a lock in
    a directory that is gone is had at once, and makes nothing."""
    parent = os.open(safe, os.O_RDONLY)
    descriptor = safe_dirs.open_directory(str(safe / "cache"), create=True)
    with locks.lock_directory(descriptor, "cache", 0):
        late = iter([lambda: (safe / "cache" / safe_dirs.LOCK).touch(0o600)])
        reset_directory.remove(parent, "cache", descriptor, lambda _entry: next(late, int)())
    with locks.lock_directory(descriptor, "cache", 0):
        pass
    os.close(descriptor)
    os.close(parent)
    assert os.listdir(safe) == []


def test_lock_that_others_can_open(safe: Path) -> None:
    """A lock file that somebody else could open, and hold, is refused."""
    descriptor = safe_dirs.open_directory(str(safe / "cache"), create=True)
    (safe / "cache" / safe_dirs.LOCK).touch(mode=0o644)
    with pytest.raises(NotPermitted), locks.lock_directory(descriptor, "cache", 0):
        pass
    os.close(descriptor)


def test_place_of_another_user(safe: Path) -> None:
    """Root does not work in a directory, or below one, that somebody else can change; its group may write, as Debian
    has it below /usr/local."""
    place = safe / "site-packages"
    place.mkdir()
    place.chmod(0o2775)
    os.close(safe_dirs.open_place(str(place)))
    for owner, mode in ((OTHER, 0o755), (0, 0o777)):
        os.chown(place, owner, 0)
        place.chmod(mode)
        for path in (place, place / "below"):
            (place / "below").mkdir(exist_ok=True)
            with pytest.raises(NotPermitted, match="root cannot safely work in it"):
                safe_dirs.open_place(str(path))


def test_replace_is_whole_or_not_at_all(shared_tmp: Path) -> None:
    """A file that cannot be written leaves the old one, and nothing beside it."""
    from eggcache.model import Ownership

    descriptor = os.open(shared_tmp, os.O_RDONLY)
    owner = Ownership(os.geteuid(), os.getegid(), 0o755, 0o644)
    staging.replace(descriptor, "file", [b"one"], owner)
    with pytest.raises(OSError, match="too long"):
        staging.replace(descriptor, "x" * 300, [b"two"], owner)
    os.close(descriptor)
    assert os.listdir(shared_tmp) == ["file"]
    assert (shared_tmp / "file").read_bytes() == b"one"
    assert stat.S_IMODE((shared_tmp / "file").stat().st_mode) == 0o644


def test_closed_directory_is_named_with_who_may_open_it(shared_tmp: Path) -> None:
    """What this user may not open is an error that says who may."""
    if os.geteuid() != 0:
        missing("only root can be another user")
    closed = shared_tmp / "cache"
    closed.mkdir(0o700)
    refused = pytest.raises(
        NotPermitted, match=r"cannot be opened: Permission denied; run it as root, or as its owner$"
    )
    with acting(Account("other", OTHER, OTHER)), refused:
        safe_dirs.open_directory(str(closed))
