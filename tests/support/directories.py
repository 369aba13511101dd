"""Directories of eggs, and what an interrupted run leaves in them."""

from __future__ import annotations

import os
from pathlib import Path

from support.zips import Entry, archive


def leftovers(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if name.startswith(".eggcache")]


def make(path: Path, *entries: Entry, prefix: bytes = b"", date: int | None = None, time: int = 0) -> Path:
    """An egg with these entries and metadata."""
    name = path.name.split("-")[0]
    info = f"Metadata-Version: 1.0\nName: {name}\nVersion: 1.0\n".encode()
    entries = (*entries, Entry(b"EGG-INFO/PKG-INFO", info))
    if date is not None:
        entries = tuple(Entry(one.name, one.data, both={"date": date, "time": time}) for one in entries)
    path.write_bytes(archive(*entries, prefix=prefix))
    path.chmod(0o644)
    return path
