"""Real disks to break: tmpfs with limits, ext4 in a file, and FUSE, which cannot exchange two names or keep modes."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.parts import missing

_EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), linux/fs/ext4/ext4.h
_NOLOGFLUSH = 2  # what the journal has not written yet is lost, as when the power goes


def _run(*command: str | Path) -> str:
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else f"{' '.join(map(str, command))}: {result.stderr.strip()}"


@contextmanager
def tmpfs(where: Path, options: str) -> Iterator[Path]:
    """A tmpfs with these options at `where`."""
    where.mkdir()
    trouble = _run("mount", "-t", "tmpfs", "-o", f"mode=755,{options}", "tmpfs", where)
    if trouble:
        missing(trouble)
    try:
        yield where
    finally:
        _run("umount", where)


def relax(where: Path) -> None:
    """Let a tmpfs grow to what the tests need."""
    assert _run("mount", "-o", "remount,size=20m,nr_inodes=2000", where) == ""


@contextmanager
def bindfs(source: Path, where: Path, *options: str) -> Iterator[Path]:
    """`source` again at `where`, through FUSE: renameat2 with a flag is EINVAL there."""
    source.mkdir()
    where.mkdir()
    if not shutil.which("bindfs"):
        missing("there is no bindfs")
    trouble = _run("bindfs", *options, source, where)
    if trouble:
        missing(trouble)
    try:
        yield where
    finally:
        _run("umount", where)


class PowerCut:
    """An ext4 in a file, mounted, whose power can be cut."""

    def __init__(self, top: Path) -> None:
        self.image, self.where = top / "image", top / "disk"
        self.where.mkdir()
        with self.image.open("wb") as stream:
            stream.truncate(8 << 20)
        trouble = _run("mkfs.ext4", "-q", "-F", self.image)
        if trouble:
            missing(trouble)
        self.device = ""

    def mount(self) -> None:
        result = subprocess.run(
            ["losetup", "--find", "--show", self.image], capture_output=True, text=True, check=False
        )
        if result.returncode:
            missing(f"no file can be mounted: {result.stderr.strip()}")
        self.device = result.stdout.strip()
        trouble = _run("mount", self.device, self.where)
        assert not trouble, trouble

    def umount(self) -> None:
        trouble = _run("umount", self.where) or _run("losetup", "--detach", self.device)
        assert not trouble, trouble

    def sync(self) -> None:
        """Bring what the test has prepared to the disk."""
        assert _run("sync", "--file-system", self.where) == ""

    def cut(self) -> None:
        """Lose what is not on the disk, and mount what is there: its journal is replayed.

        A copy is mounted, since another test's mount namespace may hold on to the disk, and would get it back as it is:
        shut down.
        """
        descriptor = os.open(self.where, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
        finally:
            os.close(descriptor)
        self.umount()
        before, self.image = self.image, self.image.with_suffix(f".{secrets.token_hex(4)}")
        shutil.copyfile(before, self.image)
        before.unlink()
        self.mount()
