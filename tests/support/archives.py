"""Archives as other programs extract them, and trees to compare."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eggcache.proof.archive_verifier import NAME
from support.parts import missing

READERS = {"GNU tar": ["tar"], "libarchive": ["bsdtar"], "busybox": ["busybox", "tar"]}


def reader(name: str) -> list[str]:
    """The program that is called `name` in READERS."""
    if not shutil.which(READERS[name][0]):
        missing(f"there is no {READERS[name][0]}")
    return READERS[name]


@contextmanager
def extracted(program: str, archive: Path) -> Iterator[Path]:
    """The root of a host, where root has extracted the archive at "/". It lies in memory where that can be had, since
    it has thousands of files."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as root:
        os.chmod(root, 0o755)
        result = subprocess.run(
            [*reader(program), "-xpf", archive, "-C", root], capture_output=True, text=True, check=False, umask=0o022
        )
        assert (result.returncode, result.stderr) == (0, "")
        yield Path(root)


def compare(archive: Path, root: Path) -> tuple[int, str]:
    """What GNU tar says of what lies below `root`, beside the archive: its exit status, and its lines."""
    result = subprocess.run(["tar", "-df", archive, "-C", root], capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


def tree(directory: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a cache but its receipt and a verifier, by name: type and mode, owners, and of files mtime and
    bytes."""
    entries: dict[str, tuple[object, ...]] = {}
    for top, _, files in os.walk(directory):
        for path in (top, *(os.path.join(top, name) for name in files if name not in (".eggcache.json", NAME))):
            info = os.lstat(path)
            data = Path(path).read_bytes() if stat.S_ISREG(info.st_mode) else None
            # Of no directory the mtime matters to anybody, nor that of the lock
            mtime = None if data is None or path.endswith("/.eggcache.lock") else info.st_mtime_ns
            entries[os.path.relpath(path, directory)] = (info.st_mode, info.st_uid, info.st_gid, mtime, data)
    return entries


def eggs(archive: Path) -> list[tuple[str, dict[str, Any], bytes]]:
    """What an archive has of eggs, in its order: name, header and bytes of each entry."""
    with tarfile.open(archive) as members:
        rows = [
            (item.name, item.get_info(), members.extractfile(item))
            for item in members
            if not item.name.endswith(f"/{NAME}")
        ]
        return [(name, {**info}, stream.read() if stream else b"") for name, info, stream in rows]
