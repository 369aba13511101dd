"""What lies at a name that eggcache opens is refused by name or replaced: its victim is as before, nothing hangs."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.judge import eggcache, listing
from support.sites import Site

OTHER = 12345  # a uid that nobody on this host has
EGG = "One-1.0-py3.11.egg"


class Victims:
    """What an attacker would like eggcache to write to, empty, own or open to others."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(mode=0o700)
        self.file = place / "file"
        self.file.write_text("precious")
        self.file.chmod(0o600)
        self.directory = place / "directory"
        self.directory.mkdir(mode=0o700)
        (self.directory / "file").write_text("precious")
        self.mounted: list[Path] = []

    def mount(self, path: Path, *options: str | Path) -> None:
        subprocess.run(["mount", *options, path], check=True)
        self.mounted.append(path)

    def state(self) -> object:
        """All that could change, but for the ctime, which a hard link moves."""
        return {path: (info[:6], os.path.isfile(path) and Path(path).read_bytes())
                for path, info in listing(self.place).items()}  # fmt: skip


Plant = Callable[[Path, Victims], None]


def fifo(path: Path, victims: Victims) -> None:
    os.mkfifo(path, 0o600)


def device(path: Path, victims: Victims) -> None:
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero: reading it never ends


def bound_socket(path: Path, victims: Victims) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(path.parent)  # its path may have 107 bytes
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


def hard_link(path: Path, victims: Victims) -> None:
    os.link(victims.file, path)


def link_to_file(path: Path, victims: Victims) -> None:
    path.symlink_to(victims.file)


def link_to_directory(path: Path, victims: Victims) -> None:
    path.symlink_to(victims.directory)


def file_of_ours(path: Path, victims: Victims) -> None:
    path.write_text("whose?")
    path.chmod(0o600)


def directory_of_ours(path: Path, victims: Victims) -> None:
    path.mkdir(mode=0o700)
    (path / "file").write_text("x")


def mount_of_directory(path: Path, victims: Victims) -> None:
    path.mkdir()
    victims.mount(path, "--bind", victims.directory)


def mount_of_file(path: Path, victims: Victims) -> None:
    path.touch(mode=0o600)
    victims.mount(path, "--bind", victims.file)


def directory_of_another(path: Path, victims: Victims) -> None:
    directory_of_ours(path, victims)
    for each in (path, path / "file"):
        os.chown(each, OTHER, OTHER)


def fifo_of_another(path: Path, victims: Victims) -> None:
    fifo(path, victims)
    os.chown(path, OTHER, OTHER)
    path.chmod(0o666)


PLANTS = [
    fifo, device, bound_socket, hard_link, link_to_file, link_to_directory, file_of_ours, directory_of_ours,
    mount_of_directory, mount_of_file, directory_of_another, fifo_of_another,
]  # fmt: skip
NAMES = {
    "DIR": "",
    "lock": ".eggcache.lock",
    "stage": ".eggcache-stage-0123456789abcdef",
    "egg": f"{EGG}-tmp",
    "receipt": ".eggcache.json",
    "member": f"{EGG}-tmp/one/data/text.txt",
}

MOUNTS = (mount_of_directory, mount_of_file)
DIRECTORIES = (directory_of_ours, directory_of_another, mount_of_directory)
OTHERS = (directory_of_another, fifo_of_another)


@pytest.fixture
def victims(site: Site) -> Iterator[Victims]:
    made = Victims(site.eggs.parent / "victims")
    yield made
    for line in Path("/proc/self/mounts").read_text().splitlines() if made.mounted else ():
        if line.split()[1].startswith(f"{site.eggs.parent}/"):  # it may have been moved with what it is in
            subprocess.run(["umount", line.split()[1]], check=True)


def refused(name: str, plant: Plant) -> bool:
    """Whether a run may do nothing at all; else what lies there is replaced, or removed, unopened."""
    return name in ("DIR", "lock") or plant in MOUNTS or (name == "receipt" and plant in DIRECTORIES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_planted_entry_is_refused_or_replaced_and_never_followed(
    site: Site, victims: Victims, name: str, plant: Plant
) -> None:
    """It is refused, naming it and the remedy, or replaced; what it leads to is as before; no run hangs; and --reset
    moves a poisoned directory aside and builds anew."""
    site.cache = site.cache.parent / "tmp" / "cache"
    site.cache.parent.mkdir()
    site.cache.parent.chmod(0o1777)
    path = site.cache / NAMES[name]
    if name != "DIR":
        assert site.prepare().returncode == 0
        subprocess.run(["rm", "-rf", path], check=True)
    plant(path, victims)
    (site.eggs / "Two-1.0-py3.11.egg").touch()  # so that there is something to do
    before, cache = victims.state(), listing(site.cache)
    result = site.prepare()
    assert victims.state() == before
    if refused(name, plant):
        assert (result.returncode, result.stderr.count("\n")) == (4, 1), result.stderr
        assert f"{path}: " in result.stderr
        assert "; " in result.stderr
        dry = site.prepare("-n")
        assert (dry.returncode, dry.stderr) == (4, result.stderr)
        assert listing(site.cache) == cache
        again = site.prepare("--reset")
        if name == "DIR" and plant in (directory_of_ours, *MOUNTS):  # holds something, or cannot be moved
            assert again.returncode == 4
            return
        assert again.returncode == 0, again.stderr
        assert f"moved aside to {site.cache}.aside-" in again.stderr
    else:
        foreign = plant in OTHERS and name == "receipt"  # an egg is made anew
        assert result.returncode == (4 if foreign else 0), result.stderr
        assert (f"{path}: it belongs to uid {OTHER}" in result.stderr) == foreign
        assert site.prepare().stderr == ""
    assert victims.state() == before
    assert site.wrong() == []


HOLD = """
import fcntl, os, sys, time
held, refused = [], []
for top, directories, files in os.walk(sys.argv[1]):
    for name in [".", *files]:
        path = os.path.join(top, name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            held.append(name)
        except OSError:
            refused.append(name)
        try:
            fcntl.lockf(os.open(path, os.O_RDWR | os.O_NONBLOCK), fcntl.LOCK_EX)
            held.append("to write: " + name)
        except OSError:
            pass
print(sorted(refused), len(held), [name for name in held if ":" in name], flush=True)
time.sleep(600)
"""


def test_runtime_user_and_the_lock(site: Site) -> None:
    """The runtime user holds locks on all that it can open in the cache: not the lock, nor the receipt; neither prepare
    nor check waits for it."""
    assert site.prepare().returncode == 0
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", HOLD, site.cache], user="nobody", group="nogroup", extra_groups=[],
        stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        try:
            assert holder.stdout
            assert holder.stdout.readline() == "['.eggcache.json', '.eggcache.lock'] 15 []\n"
            (site.eggs / "One-1.0-py3.11.egg").touch()
            for options in (["--prune"], ["--reset"]):
                result = site.prepare("--wait", "0", *options)
                assert result.returncode == 0, result.stderr
            result = eggcache("check", "--cache", site.cache, *site.options, "--wait", "0")
            assert result.returncode == 0, result.stderr
        finally:
            holder.kill()
    assert site.wrong() == []
