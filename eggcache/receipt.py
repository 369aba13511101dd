"""The receipt: what each prepare of a cache directory was computed from, and what it extracted there.

It lies in the cache directory, which only its owner can write. Whether it still holds, `validity` tells.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from eggcache import validity
from eggcache.model import Finding

if TYPE_CHECKING:
    from eggcache.validity import Fingerprint


_AGAINST = {"shared-name", "egg-private", "egg-refused", "egg-unreadable"}  # an egg of which they speak is not served


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
    when: int  # seconds since the epoch
    eggcache: str  # the version that did it
    python: list[int]  # the target's version

    def eggs(self, name: str) -> list[str]:
        """The eggs that are as they were at this prepare and that it serves from the directory `name`: more than one
        where two of one name have the same content."""
        against = {finding.thing for finding in self.findings if finding.code in _AGAINST}
        found = [path for path in self.inputs if f"{os.path.basename(path)}-tmp" == name] if name in self.names else []
        return [path for path in found if path not in against and self.inputs[path] == validity.fingerprint(path)]


@dataclass
class Receipt:
    """All entries of a cache directory, and what is extracted in it, by name."""

    entries: dict[str, Entry] = field(default_factory=dict)
    extracted: dict[str, Extracted] = field(default_factory=dict)

    def forgettable(self, key: str) -> list[str]:
        """The entries, other than `key`, for which nothing is kept in the cache, or whose Python is gone."""
        others = [(other, entry) for other, entry in sorted(self.entries.items()) if other != key]
        return [other for other, entry in others if not entry.names or gone(asked(other)[0])]

    def prunable(self, key: str, names: Iterable[str]) -> list[str]:
        """What an earlier prepare extracted and neither `names` nor another entry than `key` needs."""
        return sorted(self.extracted.keys() - self.needed_beside(key) - set(names))

    def needed_beside(self, key: str) -> set[str]:
        """The names that another entry than `key` needs."""
        return {name for other, entry in self.entries.items() if other != key for name in entry.names}


def gone(python: str) -> bool:
    """Whether nothing has that name any more; not so where a disk fails, or nobody may look."""
    try:
        os.lstat(python)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def asked(key: str) -> tuple[str, list[str], list[str]]:
    """What validity.key made a key from: python, paths, and requirements."""
    python, paths, requirements = json.loads(key)
    return str(python), list(map(str, paths)), list(map(str, requirements))


def content(expected: Mapping[str, str]) -> str:
    """One digest for what a prepare wants in a cache: `expected` is the digest of each directory's content, by name.
    Two hosts where it is equal have the same names, sizes, CRCs, mtimes, owners (by number) and modes there."""
    return hashlib.blake2b(repr(sorted(expected.items())).encode(), digest_size=16).hexdigest()


def read(directory: int) -> Receipt:
    """The receipt in `directory`; an empty one where there is none or it makes no sense."""
    return understood(validity.load(directory))


def understood(data: Mapping[str, Any]) -> Receipt:
    """The nouns of a receipt as it was written; an empty one where it makes no sense."""
    try:
        for key in data["entries"]:
            asked(key)
        return Receipt(
            {
                key: Entry(
                    entry["options"],
                    entry["inputs"],
                    list(entry["names"]),
                    [Finding(**{**finding, "context": tuple(finding["context"])}) for finding in entry["findings"]],
                    entry["when"],
                    entry["eggcache"],
                    entry["python"],
                )
                for key, entry in data["entries"].items()
            },
            {name: Extracted(**extracted) for name, extracted in data["extracted"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Receipt()


def dump(receipt: Receipt) -> bytes:
    """The receipt as `read` understands it. Sorted, so that equal receipts are equal bytes."""
    data = {
        "schema": validity.SCHEMA,
        "entries": {key: asdict(entry) for key, entry in sorted(receipt.entries.items())},
        "extracted": {name: asdict(extracted) for name, extracted in sorted(receipt.extracted.items())},
    }
    return json.dumps(data, indent=1).encode("ascii")
