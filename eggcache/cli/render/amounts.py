"""How many eggs, files and bytes, in words. A run with nothing to do has no more to load than these."""

from __future__ import annotations


def total(count: int, noun: str, verb: str, of_files: int, of_bytes: int) -> str:
    """`19 eggs kept in /var/cache/eggs: 2,599 files, 27.5 MB`."""
    return f"{counted(count, noun)} {verb}: {files(of_files)}, {size(of_bytes)}"


def files(count: int) -> str:
    """`1,234 files`."""
    return counted(count, "file")


def counted(count: int, noun: str) -> str:
    """`1,234 eggs`, `1 egg`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def size(count: int) -> str:
    """`1.2 MB`, of 1,000,000 bytes each."""
    for unit, factor in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
