"""unzip-all where one egg, or one zip of the backup, is in the way: it is named, and what can be done is done."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.httpd import wait_for
from support.injection import program, traced
from support.judge import eggcache, environment
from support.namespaces import namespace
from support.parts import built, missing
from support.sites import leftovers
from support.zips import Entry, make

from eggcache.system import files

NAMES = [f"Egg{number}-1.0-py3.11.egg" for number in range(3)]


@pytest.fixture(scope="module")
def pristine(where: Path) -> Deployment:
    """A target without pkg_resources, with three eggs."""
    made = built(lambda: deployment.target("3.11", "", where))
    for name in NAMES:
        make(made.site_packages / name, Entry(f"{name[:4].lower()}.py".encode(), b"value = 1\n"))
    return made


@pytest.fixture
def site(pristine: Deployment, copy_of: Callable[[Deployment], Deployment]) -> Deployment:
    """The test's own copy."""
    return copy_of(pristine)


def command(site: Deployment, *more: str | Path) -> list[str | Path]:
    return ["unzip-all", "--all", "--python", site.python, "--backup", site.root / "zips", *more]


def unzipped(site: Deployment) -> list[bool]:
    return [(site.site_packages / name).is_dir() for name in NAMES]


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_zip_in_the_backup(kind: str, site: Deployment) -> None:
    """A directory in the backup with the name of an egg, or a FIFO, is said to be one, also by -n; nothing is done."""
    rival = site.root / "zips" / NAMES[1]
    rival.parent.mkdir(0o700)
    rival.mkdir() if kind == "directory" else os.mkfifo(rival)
    for dry in (("-n",), ()):
        result = eggcache(*command(site, *dry))
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.stderr
        what = "a directory" if kind == "directory" else "no regular file"
        assert f"{NAMES[1]}: cannot be kept in the backup: {rival} is {what}; name another DIR" in result.stderr
    assert unzipped(site) == [False] * 3


def test_runs_at_once_with_one_backup(site: Deployment) -> None:
    """Of two runs that wait for one backup the second finds its eggs unzipped, and has nothing to do."""
    backup = site.root / "zips"
    backup.mkdir(0o700)
    with files.directory(str(backup)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        runs = [
            subprocess.Popen(
                [sys.executable, "-m", "eggcache", *map(str, command(site))],
                cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(2)
        ]  # fmt: skip

        def has_open(pid: int) -> bool:
            directory = f"/proc/{pid}/fd"
            return any(os.path.realpath(f"{directory}/{name}") == str(backup) for name in files.names(directory))

        wait_for(lambda: all(has_open(run.pid) for run in runs))
    results = [(*run.communicate(timeout=60), run.returncode) for run in runs]
    assert [status for _, _, status in results] == [0, 0], results
    assert unzipped(site) == [True] * 3
    assert sorted(os.listdir(backup)) == NAMES


@pytest.fixture
def fixed() -> Iterator[Callable[[Path, str], None]]:
    """A way to give a file or directory an attribute by chattr(1), which the end of the test takes away."""
    given: list[tuple[Path, str]] = []

    def give(path: Path, letter: str) -> None:
        result = subprocess.run(["chattr", f"+{letter}", path], capture_output=True, text=True, check=False)
        if result.returncode:
            missing(f"no attributes there: {result.stderr.strip()}")
        given.append((path, letter))

    yield give
    for path, letter in given:
        subprocess.run(["chattr", f"-{letter}", path], capture_output=True, check=False)


@pytest.mark.parametrize("letter", ["i", "a"])
@pytest.mark.parametrize("what", ["egg", "directory of eggs", "unzipped egg"])
def test_attribute_of_chattr(what: str, letter: str, site: Deployment, fixed: Callable[[Path, str], None]) -> None:
    """An egg that chattr has made immutable is named with the command that helps, also by -n, and the others are done;
    so is an unzipped egg that is to be a zip again, and a whole directory of eggs."""
    undo = ["--undo"] if what == "unzipped egg" else []
    if undo:
        assert eggcache(*command(site)).returncode == 0
    path = site.site_packages / ("" if what == "directory of eggs" else NAMES[1])
    fixed(path, letter)
    result = None
    for dry in (("-n",), ()):
        result = eggcache(*command(site, *undo, *dry))
        assert result.returncode == 4, result.stderr
        assert f"{path}: chattr(1) made it {'immutable' if letter == 'i' else 'append-only'}" in result.stderr
        assert "--allow-gap" not in result.stderr
        assert leftovers(site.site_packages) == []
    if what != "directory of eggs":
        assert unzipped(site) == [not undo, bool(undo), not undo]
    assert result
    remedy = re.search(r": (chattr -. .*)", result.stderr)
    assert remedy, result.stderr
    subprocess.run(remedy[1], shell=True, check=True)
    assert eggcache(*command(site, *undo)).returncode == 0
    assert unzipped(site) == [not undo] * 3


@pytest.mark.parametrize("undo", [[], ["--undo"]], ids=["", "undo"])
def test_mount_over_an_egg(undo: list[str], site: Deployment) -> None:
    """An egg that something is mounted on stays, and is named; the others are done."""
    if undo:
        assert eggcache(*command(site)).returncode == 0
    egg = site.site_packages / NAMES[0]
    result = namespace(f"mount --bind {egg} {egg}", *map(str, command(site, *undo)))
    assert result.returncode == 1, result.stderr
    code, fault = ("not-restored", "put back") if undo else ("not-unzipped", "unzipped")
    cause = f"{egg}: it cannot be {fault}: Device or resource busy [{code}]; unmount what is mounted there"
    assert cause in result.stderr
    assert unzipped(site) == [bool(undo), not undo, not undo]
    assert leftovers(site.site_packages) == []
    assert eggcache(*command(site, *undo)).returncode == 0
    assert unzipped(site) == [not undo] * 3


@pytest.mark.parametrize("undo", [[], ["--undo"]], ids=["", "undo"])
@pytest.mark.parametrize(
    ("error", "status", "done", "words"),
    [
        ("EPERM:when=2", 4, 2, "Operation not permitted [not-permitted]; see to that"),
        ("EBUSY:when=2", 1, 2, "Device or resource busy"),
        ("EINVAL:when=2", 1, 1, "this file system cannot exchange two names at once"),
        ("ENOSPC:when=2", 1, 1, "No space left on device"),
        ("EPERM", 1, 0, "this file system cannot exchange two names at once"),  # a filter of system calls
    ],
)
def test_refusal_of_one_and_of_all(
    error: str, status: int, done: int, words: str, undo: list[str], site: Deployment
) -> None:
    """What is refused one egg keeps no other from its turn; what the disk or the kernel cannot do is said once."""
    if undo:
        assert eggcache(*command(site)).returncode == 0
    strace = ["-f", "-e", "trace=renameat2", "-e", f"inject=renameat2:error={error}"]
    result = traced(strace, program(*map(str, command(site, *undo))))
    assert (result.returncode, result.stderr.count(words)) == (status, 1), result.stderr
    assert unzipped(site).count(not undo) == done
    assert leftovers(site.site_packages) == []
    assert eggcache(*command(site, *undo)).returncode == 0
    assert unzipped(site) == [not undo] * 3


def grant(path: Path, user: str) -> None:
    """Let a user read a file by an ACL."""
    result = subprocess.run(["setfacl", "-m", f"u:{user}:r", path], capture_output=True, text=True, check=False)
    if result.returncode:
        missing(f"no ACLs there: {result.stderr.strip()}")


@pytest.mark.parametrize("undo", [[], ["--undo"]], ids=["", "undo"])
def test_acl_of_a_zip(undo: list[str], site: Deployment, nobody: pwd.struct_passwd) -> None:
    """An egg whose ACL lets somebody read it stays as it is, since a directory would lock that one out and let others
    in; so does a directory whose zip in the backup has one. After the command that is named the mode alone decides."""
    place = site.root / "zips" if undo else site.site_packages
    if undo:
        assert eggcache(*command(site)).returncode == 0
    zipped = place / NAMES[1]
    os.chown(zipped, 0, 23456)
    zipped.chmod(0o600)
    grant(zipped, nobody.pw_name)
    assert stat.S_IMODE(zipped.stat().st_mode) == 0o640  # which is the mask: the group may read nothing
    for dry in (("-n",), ()):
        result = eggcache(*command(site, *undo, *dry))
        assert result.returncode == 3, result.stderr
        assert f"{zipped}: an ACL says who may read it (getfacl)" in result.stderr
        assert "[egg-refused]; have its owner, group and mode say who may read it" in result.stderr
    assert unzipped(site) == [not undo, bool(undo), not undo]
    assert leftovers(site.site_packages) == []
    remedy = re.search(r": (setfacl -b .*)", result.stderr)
    assert remedy, result.stderr
    subprocess.run(remedy[1], shell=True, check=True)
    assert eggcache(*command(site, *undo)).returncode == 0
    assert unzipped(site) == [not undo] * 3
    egg = site.site_packages / NAMES[1]
    assert (stat.S_IMODE(egg.stat().st_mode), egg.stat().st_gid) == (0o600 if undo else 0o700, 23456)


@pytest.mark.parametrize("undo", [[], ["--undo"]], ids=["", "undo"])
def test_what_is_roots_beside_the_owners(undo: list[str], site: Deployment, nobody: pwd.struct_passwd) -> None:
    """As root on another user's site-packages, where one egg is root's, as sudo easy_install leaves it: root is not
    told to run it as root, and the command that is named helps."""
    for path in (site.root, *site.root.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    if undo:
        assert eggcache(*command(site)).returncode == 0
    zipped = (site.root / "zips" if undo else site.site_packages) / NAMES[1]
    os.chown(zipped, 0, 0)
    for dry in (("-n",), ()):
        result = eggcache(*command(site, *undo, *dry))
        assert result.returncode == 4, result.stderr
        assert f"{zipped}: it belongs to root (uid 0)" in result.stderr
        assert (
            "root works there as nobody: leave the egg as it is, since eggcache prepare serves zips, or give it"
            in result.stderr
        )
        assert "run it as root" not in result.stderr
    assert unzipped(site) == [not undo, bool(undo), not undo]
    remedy = re.search(r": (chown -h nobody .*)", result.stderr)
    assert remedy, result.stderr
    subprocess.run(remedy[1], shell=True, check=True)
    assert eggcache(*command(site, *undo)).returncode == 0
    assert unzipped(site) == [not undo] * 3


def test_directory_of_roots_that_the_owner_names(site: Deployment, nobody: pwd.struct_passwd, shared_tmp: Path) -> None:
    """As root, where a .pth file of another user's site-packages leads to a directory of root's: the same, and so for a
    backup that this user cannot reach."""
    for path in (site.root, *site.root.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    elsewhere = shared_tmp / "roots"
    elsewhere.mkdir(0o755)
    egg = make(elsewhere / "Roots-1.0-py3.11.egg", Entry(b"roots.py"))
    (site.site_packages / "easy-install.pth").write_text(f"{egg}\n")
    unreachable = shared_tmp / "private"
    unreachable.mkdir(0o700)
    result = eggcache(*command(site, "--backup", unreachable / "zips"))
    assert (result.returncode, unzipped(site)) == (4, [False] * 3), result.stderr
    assert "cannot be opened: Permission denied; root works there as nobody: name another directory" in result.stderr
    result = eggcache(*command(site))
    assert result.returncode == 4, result.stderr
    assert f"{elsewhere}: user nobody cannot write to this directory of eggs: it belongs to root" in result.stderr
    assert "root works there as nobody: leave these eggs zipped and use eggcache prepare" in result.stderr
    assert "run it as root" not in result.stderr
    assert (unzipped(site), egg.is_file()) == ([True] * 3, True)
