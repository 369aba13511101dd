"""The lock with each release of filelock that a site may have: by descriptor, never by a path, and to the same end."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.judge import eggcache, environment
from support.sites import Site

from eggcache.errors import EggcacheError
from eggcache.progress import Progress
from eggcache.system import files, locks, safe_dirs

# The oldest that setup.py allows, those around a change of what filelock does with a path, and the newest.
RELEASES = ["3.12.0", "3.20.0", "3.29.0", "4.0.0", "4.3.1"] if sys.version_info >= (3, 10) else ["3.12.0"]


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest, where: Path) -> dict[str, str]:
    """An environment in which eggcache finds that filelock."""
    home = where / f"filelock-{request.param}"
    with deployment.once(home) as absent:
        if absent:
            name = f"filelock-{request.param}-py3-none-any.whl"
            pins = [pin for pin in deployment.downloads(use="filelock") if pin.filename == name]
            with zipfile.ZipFile(deployment.fetch_all(pins)[0]) as wheel:
                wheel.extractall(home)
            deployment.world_readable(home)
    return environment({"PYTHONPATH": str(home)})


def test_all_releases_are_tried(release: dict[str, str]) -> None:
    """What is imported is the release that is meant; the oldest is the one that setup.py allows."""
    code = "import importlib.metadata, filelock, os; print(os.path.dirname(os.path.dirname(filelock.__file__)))"
    result = subprocess.run([sys.executable, "-c", code], env=release, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == release["PYTHONPATH"]
    assert f'"filelock>={RELEASES[0].rpartition(".")[0]}"' in (ROOT / "setup.py").read_text()


BY_PROC = """
import filelock, os, sys
site = sys.argv[1]
os.makedirs(site + "/cache")
descriptor = os.open(site + "/cache", os.O_RDONLY)
os.rmdir(site + "/cache")
os.rmdir(site)
try:
    filelock.FileLock("/proc/self/fd/%d/lock" % descriptor, timeout=0.2).acquire()
    print("locked", *os.listdir(site))
except (OSError, filelock.Timeout) as error:
    print(type(error).__name__, os.path.exists(site))
"""


def test_filelock_by_a_path_of_proc_is_no_choice(release: dict[str, str], shared_tmp: Path) -> None:
    """Where the directory is gone filelock's own class, given a path below /proc/self/fd, ends with an error, waits in
    vain, or makes directories anew, by release, as docs/decisions/lock.rst has it. So has it of lock_descriptor."""
    number = tuple(map(int, release["PYTHONPATH"].rpartition("-")[2].split(".")))
    run = [sys.executable, "-c", BY_PROC, shared_tmp / "site"]
    told = subprocess.run(run, env=release, capture_output=True, text=True, check=True).stdout
    ends = "FileNotFoundError False\n" if number < (3, 29) else "Timeout False\n"
    assert told == ("locked cache (deleted)\n" if number >= (4, 3, 1) else ends)
    code = "import filelock, sys; sys.exit(not hasattr(filelock, 'lock_descriptor'))"
    there = subprocess.run([sys.executable, "-c", code], env=release, check=False).returncode == 0
    assert there == (number >= (3, 30))


def test_never_by_a_path(site: Site, release: dict[str, str]) -> None:
    """Prepare, status and remove open the lock in the directory that was verified, neither following nor emptying it;
    no directory is made or resolved by a path below the site, and none through /proc."""
    log = site.cache.parent / "strace"
    place = re.escape(str(site.cache.parent))
    for words in (["prepare", site.cache, *site.options], ["remove", site.cache]):
        result = subprocess.run(
            ["strace", "-f", "-o", log, "-s", "500", "-e", "trace=%file", sys.executable, "-m", "eggcache", *words],
            cwd=ROOT, env=release, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        calls = log.read_text().splitlines()
        opened = [call for call in calls if safe_dirs.LOCK in call and "open" in call]
        assert opened
        for call in opened:
            assert re.search(rf' openat\(\d+, "{re.escape(safe_dirs.LOCK)}", [^)]*O_NOFOLLOW', call), call
            assert "O_TRUNC" not in call
        for call in calls:
            assert not re.search(r'"/proc/self/fd/\d+/', call)
            assert not re.search(rf' (mkdir|mkdirat|rename|unlink)\((AT_FDCWD, )?"{place}', call), call


@contextmanager
def somebody_elses(site: Site) -> Iterator[None]:
    with (site.cache / safe_dirs.LOCK).open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_who_waits_in_vain_is_told_and_changes_nothing(site: Site, release: dict[str, str]) -> None:
    """Who waited --wait in vain is told, exit 75, and has changed nothing; who comes afterwards has the lock."""
    assert site.prepare().returncode == 0
    with somebody_elses(site):
        preparing = ["prepare", site.cache, *site.options, "--tz", "UTC"]
        for words, wait in ((preparing, "0.2"), (["remove", site.cache], "0")):
            result = eggcache(*words, "--wait", wait, env=release)
            assert result.returncode == 75
            assert f"{site.cache}: another run holds its lock for more than {wait} s" in result.stderr
    assert site.served()
    assert eggcache("remove", site.cache, "--wait", "0", env=release).returncode == 0


def test_stranger_who_holds_the_lock_is_named(site: Site, nobody: pwd.struct_passwd) -> None:
    """Another user's process that holds the lock of a directory of eggs, which it may read, is named: it is no run that
    one could wait for."""
    script = ["flock", site.eggs, "sh", "-c", "echo held; read line"]
    command = ["setpriv", "--reuid", str(nobody.pw_uid), "--clear-groups", *script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdin
        assert stranger.stdout
        flock = stranger.stdout.readline()
        result = eggcache("unzip-all", *site.unzipping, "--wait", "0")
        stranger.stdin.close()
    assert flock == "held\n"
    assert result.returncode == 75, result.stderr
    cause = rf"{site.eggs}: process \d+ \(flock\) of nobody \(uid {nobody.pw_uid}\) holds its lock for more than 0 s"
    assert re.search(cause, result.stderr), result.stderr


@pytest.mark.parametrize(
    ("command", "how", "status", "says"),
    [
        ("prepare", "exchanged", 1, "another run removed it meanwhile"),
        ("remove", "removed", 0, "nothing to do"),
    ],
)
def test_the_directory_goes_meanwhile(
    site: Site, release: dict[str, str], command: str, how: str, status: int, says: str
) -> None:
    """Who waited for a directory that is gone, or is another one now, says so at once, and touches nothing."""
    assert site.prepare().returncode == 0
    (site.eggs / "One-1.0-py3.11.egg").unlink()
    with somebody_elses(site):
        words = [sys.executable, "-m", "eggcache", command, str(site.cache)]
        if command == "prepare":
            words += map(str, site.options)
        waiting = subprocess.Popen(words, cwd=ROOT, env=release, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 60
        while not waits_for_a_lock(waiting.pid) and time.monotonic() < until:
            time.sleep(0.05)
        aside = site.cache.with_name("aside")
        site.cache.rename(aside)
        shutil.rmtree(aside)  # its lock as well
        if how == "exchanged":
            site.cache.mkdir()
    _, said = waiting.communicate(timeout=60)
    assert (waiting.returncode, says in said) == (status, True), said
    assert sorted(path.name for path in site.cache.parent.glob("*cache*")) == ["cache"] * (how == "exchanged")
    assert how == "removed" or os.listdir(site.cache) == []


def test_lock_file_that_is_removed_while_it_is_waited_for(tmp_path: Path) -> None:
    """Who waited for a lock file that somebody has unlinked does nothing: the next run makes another one, and would
    hold that at the same time."""
    shutil.copymode("/", tmp_path)
    path = tmp_path / safe_dirs.LOCK
    path.touch(0o600)
    held = path.open("r+b")
    fcntl.flock(held, fcntl.LOCK_EX)

    class Waiting(Progress):
        def tick(self) -> None:
            path.unlink(missing_ok=True)
            held.close()

    with files.closing(os.open(tmp_path, os.O_RDONLY)) as directory:
        with (
            pytest.raises(EggcacheError, match="somebody removed it while it was waited for") as raised,
            locks.lock_directory(directory, str(tmp_path), 10, Waiting()),
        ):
            pytest.fail("it holds a lock that nobody else sees")
        assert raised.value.remedy.text == "run it again"
        with locks.lock_directory(directory, str(tmp_path), 0):
            assert path.exists()


def waits_for_a_lock(pid: int) -> bool:
    """Whether the process has a lock file open."""
    for link in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            if os.readlink(f"/proc/{pid}/fd/{link}").endswith(f"/{safe_dirs.LOCK}"):
                return True
    return False


@pytest.mark.parametrize("release", list(dict.fromkeys([RELEASES[0], RELEASES[-1]])), indirect=True)
def test_many_at_once(site: Site, release: dict[str, str]) -> None:
    """Six that prepare and remove one directory, at first where there is none, then all let go at once by who held
    its lock: each does it, or says that another run was there. Nothing but the directory is then beside it, a last
    prepare makes what check accepts, and a last remove leaves nothing at all."""
    removing, preparing = ["remove", site.cache], ["prepare", site.cache, *site.options]
    before = sorted(os.listdir(site.cache.parent))

    def started() -> list[subprocess.Popen[str]]:
        return [
            subprocess.Popen(
                [sys.executable, "-m", "eggcache", *map(str, preparing if number % 2 else removing)],
                cwd=ROOT, env=release, stderr=subprocess.PIPE, text=True,
            )
            for number in range(6)
        ]  # fmt: skip

    for turn in range(2):
        if turn:
            assert eggcache(*preparing, env=release).returncode == 0
            os.utime(site.eggs / "One-1.0-py3.11.egg")  # there is something to do, under the lock
        with somebody_elses(site) if turn else nullcontext():
            running = started()
            to_come = running if turn else []
            while to_come := [each for each in to_come if not waits_for_a_lock(each.pid)]:
                assert [each.poll() for each in to_come] == [None] * len(to_come)
                time.sleep(0.02)
        ended = [(server.args[3], server.communicate(timeout=60)[1], server.returncode) for server in running]
        for command, said, status in ended:
            taken = command == "prepare" and said.endswith(": another run removed it meanwhile; run it again\n")
            assert status == (1 if taken else 0), (command, said)
        beside = sorted(os.listdir(site.cache.parent))
        assert beside in (before, sorted([*before, "cache"])), beside
    assert eggcache(*preparing, env=release).returncode == 0
    assert eggcache("check", "--cache", site.cache, *site.options, env=release).returncode == 0
    assert eggcache(*removing, env=release).returncode == 0
    assert sorted(os.listdir(site.cache.parent)) == before
