"""What a prepare was computed from, and whether it still holds.

The receipt is a cache of the truth, not the truth: where anything in it differs from what is found, or it
cannot be read, the whole way is gone again. It lies in the cache directory, which only its owner can write.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from eggcache.model import Finding, Ownership

NAME = ".eggcache.json"
SCHEMA = 1

Fingerprint = Optional[list[int]]  # of a path; None: it does not exist


@dataclass(frozen=True)
class Extracted:
    """One directory of the cache, and the egg that it was made from."""

    egg: str  # the zip file
    source: Fingerprint  # the zip's, when it was read
    expected: str  # digest of what was to be written: names, sizes, CRCs, mtimes, owner and modes
    found: str  # digest of what lay there afterwards
    files: int
    size: int  # bytes


@dataclass(frozen=True)
class Entry:
    """One prepare: what its answer depended on, and which directories of the cache it needs."""

    options: dict[str, Any]
    inputs: dict[str, Fingerprint]
    names: list[str]
    findings: list[Finding]


@dataclass
class Receipt:
    """All entries of a cache directory, and what is extracted in it, by name."""

    entries: dict[str, Entry] = field(default_factory=dict)
    extracted: dict[str, Extracted] = field(default_factory=dict)

    def prunable(self, key: str, names: Iterable[str]) -> list[str]:
        """What an earlier prepare extracted and neither `names` nor another entry than `key` needs."""
        return sorted(self.extracted.keys() - self.needed_beside(key) - set(names))

    def needed_beside(self, key: str) -> set[str]:
        """The names that another entry than `key` needs."""
        return {name for other, entry in self.entries.items() if other != key for name in entry.names}


def fingerprint(path: str) -> Fingerprint:
    """What changes when the file or directory at `path` does; None where there is none (or none to be seen)."""
    try:
        return of_stat(os.stat(path))
    except (OSError, ValueError):
        return None


def of_stat(info: os.stat_result) -> list[int]:
    """A stat result as the receipt keeps it. The device is left out: it may change at every boot."""
    return [info.st_ino, info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns, info.st_ctime_ns]


def fingerprints(paths: Iterable[str]) -> dict[str, Fingerprint]:
    """The fingerprint of every one of `paths`."""
    return {path: fingerprint(path) for path in paths}


def digest(directory: int, name: str) -> str:
    """Over the name, inode, mode, owner, size, mtime and ctime of everything below `name`; "" where it is missing."""
    found = hashlib.blake2b(digest_size=16)
    pending = [name]
    while pending:
        path = pending.pop()
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError:
            return ""
        try:
            here = os.fstat(descriptor)
            lines = [(b"", here.st_ino, here.st_mode, here.st_uid, here.st_gid)]
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(info.st_mode):
                        pending.append(f"{path}/{entry.name}")
                    lines.append((os.fsencode(entry.name), *of_stat(info)))  # type: ignore[arg-type]
        finally:
            os.close(descriptor)
        pending.sort()
        found.update(repr((os.fsencode(path), sorted(lines))).encode())
    return found.hexdigest()


def content(expected: Mapping[str, str]) -> str:
    """One digest for what a prepare wants in a cache: `expected` is the digest of each directory's content, by name.
    Two hosts where it is equal have the same names, sizes, CRCs, mtimes, owners (by number) and modes there."""
    return hashlib.blake2b(repr(sorted(expected.items())).encode(), digest_size=16).hexdigest()


def read(directory: int) -> Receipt:
    """The receipt in `directory`; an empty one where there is none or it makes no sense."""
    try:
        descriptor = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return Receipt()
    with open(descriptor, "rb") as stream:
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
                return Receipt()
            data = json.load(stream)
            if data["schema"] != SCHEMA:
                return Receipt()
            return Receipt(
                {
                    key: Entry(
                        entry["options"],
                        entry["inputs"],
                        list(entry["names"]),
                        [Finding(**{**finding, "context": tuple(finding["context"])}) for finding in entry["findings"]],
                    )
                    for key, entry in data["entries"].items()
                },
                {name: Extracted(**extracted) for name, extracted in data["extracted"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return Receipt()


def dump(receipt: Receipt) -> bytes:
    """The receipt as `read` understands it. Sorted, so that equal receipts are equal bytes."""
    data = {
        "schema": SCHEMA,
        "entries": {key: asdict(entry) for key, entry in sorted(receipt.entries.items())},
        "extracted": {name: asdict(extracted) for name, extracted in sorted(receipt.extracted.items())},
    }
    return json.dumps(data, indent=1).encode("ascii")


def holds(receipt: Receipt, key: str, options: Mapping[str, Any], directory: int, ownership: Ownership) -> bool:
    """Whether the entry `key` was made with these options, from inputs that are all as they were, and what it
    extracted lies in `directory` as it was left."""
    entry = receipt.entries.get(key)
    if entry is None or entry.options != options:
        return False
    here = os.fstat(directory)
    if (here.st_uid, here.st_gid, stat.S_IMODE(here.st_mode)) != (
        ownership.uid,
        ownership.gid,
        ownership.directory_mode,
    ):
        return False
    with os.scandir(directory) as names:
        if any(name.stat(follow_symlinks=False).st_uid != ownership.uid for name in names):
            return False  # whoever put it there must be told of
    if any(fingerprint(path) != before for path, before in entry.inputs.items()):
        return False
    for name in entry.names:
        extracted = receipt.extracted.get(name)
        if extracted is None or extracted.found != digest(directory, name):
            return False
    return True
