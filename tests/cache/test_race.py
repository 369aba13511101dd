"""An unprivileged user exchanges names in and around DIR while root prepares it, over and over.

In the manner of the kernel's own rename_attack: many attempts, and not one that gets out of its place. It takes 12
seconds; EGGCACHE_RACE_SECONDS makes it longer.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

from support.judge import listing
from support.sites import Site, write_egg

from eggcache.cache import reset_directory
from eggcache.errors import EggcacheError
from eggcache.model import Ownership
from eggcache.system import locks, safe_dirs, staging

SECONDS = float(os.environ.get("EGGCACHE_RACE_SECONDS", "12"))

# Runs as the attacker, in Python for the system calls alone. It says how much it has tried, and how often it worked.
ATTACKER = r"""
import ctypes, itertools, os, random, signal, sys, time
tmp, evil, victim, empty = sys.argv[1:]
libc = ctypes.CDLL(None)
tries = works = 0
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
signal.signal(signal.SIGALRM, lambda *_: print(tries, works, flush=True))
signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)

def attempt(call, *arguments):
    global tries, works
    tries += 1
    try:
        if call(*arguments) not in (None, 0):
            return
        works += 1
    except OSError:
        pass

def exchange(one, other):
    return libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)

def write(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o666)
    os.write(descriptor, b"owned")
    os.close(descriptor)

mine = os.path.join(tmp, "mine")
os.mkdir(mine, 0o777)
names = [".eggcache.lock", ".eggcache.json", "One-1.0-py3.11.egg-tmp", "Two-1.0-py3.11.egg-tmp"]
for name in ("link", "tree", "away"):
    os.mkdir(os.path.join(mine, name), 0o777)
for name in names:
    os.symlink(victim + "/file", os.path.join(mine, "link", name))
    os.symlink(victim, os.path.join(mine, "away", name))
    open(os.path.join(mine, "tree", name), "w").close()
os.symlink(empty, os.path.join(tmp, "to-victim"))
print("ready", flush=True)
while not stop:
    for target in ("cache", "tight"):
        here = os.path.join(tmp, target)
        attempt(os.symlink, empty, here)
        attempt(exchange, here, os.path.join(tmp, "to-victim"))
        attempt(exchange, here, os.path.join(mine, "link"))
        attempt(os.mkdir, here, 0o777)
        for name in names:
            attempt(exchange, os.path.join(mine, "link", name), os.path.join(mine, "tree", name))
            attempt(exchange, os.path.join(here, name), os.path.join(mine, "away", name))
        attempt(os.rename, here, os.path.join(mine, "stolen%d" % (tries % 7)))
        attempt(exchange, here, os.path.join(mine, "tree"))
        attempt(os.mkfifo, here)
        attempt(write, os.path.join(here, ".eggcache.lock"))
        attempt(os.unlink, here)
        attempt(os.rmdir, here)
        attempt(os.rename, os.path.join(mine, random.choice(("link", "tree", "away"))), here)
    # What eggcache makes beside DIR has names that nobody can guess, but that anybody can list.
    for name in os.listdir(tmp):
        if ".new-" in name or ".aside-" in name:
            here = os.path.join(tmp, name)
            attempt(exchange, here, os.path.join(tmp, "to-victim"))
            attempt(os.rename, here, os.path.join(mine, "stolen"))
            attempt(write, os.path.join(here, "planted"))
    # Eggs of its own, on the target's path.
    egg = os.path.join(evil, "Evil-1.0-py3.11.egg")
    for other in ("good", "secret", "fifo", "directory", "gone"):
        attempt(exchange, egg, os.path.join(evil, other))
    # Come back where something was stolen.
    for name in ("link", "tree", "away"):
        attempt(os.mkdir, os.path.join(mine, name), 0o777)
    attempt(os.symlink, empty, os.path.join(tmp, "to-victim"))
print(tries, works, flush=True)
"""


def foreign(place: Path) -> dict[str, tuple[int, ...]]:
    """What in the attacker's own place is not as the attacker made it: root's, or of another mode."""
    return {
        path: info[1:4]
        for path, info in listing(place).items()
        if info[2] == 0 or (not stat.S_ISLNK(info[1]) and info[1] & 0o7777 not in (0o777, 0o666))
    }


def escaped(cache: Path) -> list[str]:
    """What in a cache that was just prepared is not root's alone."""
    return [path for path, info in listing(cache).items() if info[2] != 0 or info[1] & 0o022 or stat.S_ISLNK(info[1])]


def tightly(directory: Path) -> str:
    """What prepare does about its directory, without the rest: what it was refused for, or how it was had."""
    with ExitStack() as held:
        try:
            try:
                descriptor = safe_dirs.open_directory(str(directory), create=True)
                held.callback(os.close, descriptor)
                new = None
                held.enter_context(locks.lock_directory(descriptor, str(directory), 0))
                how = "opened"
            except EggcacheError:
                new = held.enter_context(reset_directory.renewal(str(directory), 0))
                descriptor, how = new.descriptor, "renewed"
            with staging.stage(descriptor) as (_, staged):
                os.mkdir("One-1.0-py3.11.egg-tmp", 0o700, dir_fd=staged)
                os.rename("One-1.0-py3.11.egg-tmp", "One-1.0-py3.11.egg-tmp", src_dir_fd=staged, dst_dir_fd=descriptor)
            staging.replace(descriptor, ".eggcache.json", [b"{}"], Ownership(0, 0, 0o750, 0o640))
            safe_dirs.set_owner(descriptor, 0, 0, 0o750)
            if new is not None:
                new.take_place(allow_gap=False)
            assert os.path.samestat(os.fstat(descriptor), os.lstat(directory))
            assert escaped(directory) == []
            return how
        except EggcacheError as error:
            return f"{type(error).__name__}: {re.sub(r'[0-9a-f]{16}', 'X', error.cause)}"


def put_away(path: Path, private: Path) -> None:
    """Take what is at `path` out of the attacker's reach, as an administrator who removes it would: by one rename."""
    with suppress(FileNotFoundError):
        os.rename(path, private / path.name)
        subprocess.run(["rm", "-rf", private / path.name], check=True)


def test_names_exchanged_all_the_time(site: Site) -> None:
    """Of 3,000 attempts a second none leads root out of DIR, moves a mode of the attacker's files, reaches a
    victim or brings what only root may read into the cache; and runs of prepare still succeed."""
    top = site.eggs.parent
    tmp, evil, private = top / "tmp", top / "evil", top / "private"
    victim, empty, secret = top / "victim", top / "empty", top / "secret"
    for place, mode in (
        (tmp, 0o1777),
        (evil, 0o755),
        (private, 0o700),
        (victim, 0o755),
        (empty, 0o755),
        (secret, 0o700),
    ):
        place.mkdir()
        place.chmod(mode)
    for name in ("file", "One-1.0-py3.11.egg-tmp", ".eggcache.lock", ".eggcache.json"):
        (victim / name).write_text("precious")
        (victim / name).chmod(0o600)
    hidden = write_egg(secret / "Evil-1.0-py3.11.egg", {"secret.txt": "for root alone"})
    write_egg(evil / "Evil-1.0-py3.11.egg", {"evil.txt": "plain"})
    shutil.copy(evil / "Evil-1.0-py3.11.egg", evil / "good")
    (evil / "secret").symlink_to(hidden)
    os.mkfifo(evil / "fifo")
    (evil / "directory").mkdir()
    for path in (evil, *evil.iterdir()):
        os.chown(path, site.account.pw_uid, site.account.pw_gid, follow_symlinks=False)
    site.cache = tmp / "cache"
    before = listing(victim), listing(empty), listing(secret)
    ends: Counter[str] = Counter()
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", ATTACKER, *map(str, (tmp, evil, victim, empty))],
        user="nobody", group="nogroup", extra_groups=[], umask=0, stdout=subprocess.PIPE, text=True,
    ) as attacker:  # fmt: skip
        try:
            assert attacker.stdout
            assert attacker.stdout.readline() == "ready\n"
            until = time.monotonic() + SECONDS
            turn = 0
            # On a busy machine the attacker disturbs most runs: more runs, and no fewer successes.
            while time.monotonic() < until or (ends["prepare 0"] + ends["prepare 3"] < 3 and turn < 100):
                turn += 1
                result = site.prepare("--path", evil, *(["--reset"] if turn % 3 else []), "--wait", "5")
                assert result.returncode in (0, 1, 3, 4), result.stderr
                assert "Traceback" not in result.stderr
                ends[f"prepare {result.returncode}"] += 1
                if result.returncode in (0, 3):
                    assert escaped(site.cache) == []
                    assert not list(site.cache.rglob("secret.txt"))
                ends[result.stderr.replace(str(tmp), "").splitlines()[-1][:90] if result.stderr else ""] += 1
                put_away(site.cache, private)
                for _ in range(50):
                    ends[tightly(tmp / "tight")] += 1
                    put_away(tmp / "tight", private)
        finally:
            attacker.send_signal(signal.SIGTERM)
            said, _ = attacker.communicate(timeout=60)
    tries, works = map(int, said.split()[-2:])
    print(f"{tries} attempts, {works} of them worked, in {SECONDS:g} s:", *ends.most_common(), sep="\n  ")
    assert tries >= 3000 * SECONDS
    assert works >= 30 * SECONDS
    assert ends["prepare 0"] + ends["prepare 3"] >= 3
    assert ends["opened"] + ends["renewed"] >= 50
    assert (listing(victim), listing(empty), listing(secret)) == before
    assert foreign(tmp / "mine") == {}
    assert [name for name in os.listdir(tmp) if os.lstat(tmp / name).st_uid == 0] == []
