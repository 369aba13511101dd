"""The receipt of a cache: the inputs of each prepare, and what it extracted.

The receipt lies in the cache directory, which only its owner can write. `freshness` tells whether it still holds.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from eggcache.cache import freshness
from eggcache.errors import NotPermitted, Remedy
from eggcache.model import Finding
from eggcache.system import files, safe_dirs

if TYPE_CHECKING:
    from eggcache.cache.freshness import Fingerprint


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
    """One prepare: its inputs, and the directories of the cache that it needs."""

    options: dict[str, Any]
    inputs: dict[str, Fingerprint]
    names: list[str]
    findings: list[Finding]
    when: int  # seconds since the epoch
    eggcache: str  # the version that did it
    python: list[int]  # the target's version
    outside: list[str] = field(default_factory=list)  # zipped eggs that were on the path and in no tree

    @property
    def strict(self) -> bool:
        """Whether its roots were strict, as all were in earlier builds."""
        return self.options.get("strict") is not False


@dataclass
class Receipt:
    """All entries of a cache directory, and what is extracted in it, by name."""

    entries: dict[str, Entry] = field(default_factory=dict)
    extracted: dict[str, Extracted] = field(default_factory=dict)

    def forgettable(self, key: str) -> list[str]:
        """The entries other than `key` that have no directory in the cache, or whose Python is gone."""
        entries = [(other_key, entry) for other_key, entry in sorted(self.entries.items()) if other_key != key]
        return [other_key for other_key, entry in entries if not entry.names or is_gone(parts_of_key(other_key)[0])]

    def prunable(self, key: str, names: Iterable[str], findings: Iterable[Finding] = ()) -> list[str]:
        """The directories of earlier prepares that neither `names` nor another entry than `key` needs; nor this one,
        which stays where the prepare with these `findings` found no root."""
        names_in_use = self.needed_beside("" if rootless(findings) else key)
        return sorted(self.extracted.keys() - names_in_use - set(names))

    def lacks(self, directory: int, digests: Mapping[str, str]) -> list[str]:
        """The names that the cache open at `directory` does not have unchanged, with the content of `digests`."""
        eggs = {name: egg for name, egg in self.extracted.items() if egg.expected == digests.get(name)}
        return [name for name in digests if name not in eggs or eggs[name].found != freshness.digest(directory, name)]

    def needed_beside(self, key: str) -> set[str]:
        """The names that another entry than `key` needs."""
        return {name for other_key, entry in self.entries.items() if other_key != key for name in entry.names}

    def eggs_beside(self, key: str) -> dict[str, list[str]]:
        """The eggs that are as they were at another prepare than `key`, by the directory that it serves them from: more
        than one of it where two of one name have the same content."""
        eggs: dict[str, list[str]] = {}
        for entry in (entry for other_key, entry in self.entries.items() if other_key != key):
            names, against = set(entry.names), {finding.thing for finding in entry.findings if finding.code in _AGAINST}
            for path, seen in entry.inputs.items():
                name = f"{os.path.basename(path)}-tmp"
                if name in names and path not in against and seen == freshness.fingerprint(path):
                    eggs.setdefault(name, []).append(path)
        return eggs


def rootless(findings: Iterable[Finding]) -> bool:
    """Whether a root was not installed, by the findings of a prepare."""
    return any(finding.code == freshness.NO_ROOT for finding in findings)


def is_gone(python: str) -> bool:
    """Whether no file has that name any more, or a link of a virtualenv leads to none in a directory that is there;
    False where the disk fails, or may be away, or we may not look. Where a disk is not mounted, there is an empty
    directory."""
    try:
        os.stat(python)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(python):
            return os.path.isdir(os.path.dirname(os.path.realpath(python)))
        place = os.path.dirname(python)
        while not os.path.lexists(place):
            place = os.path.dirname(place)
        return not os.path.isdir(place) or bool(files.names(place))
    except (OSError, ValueError):  # ValueError: it cannot be named in this locale
        pass
    return False


def parts_of_key(key: str) -> tuple[str, list[str], list[str]]:
    """Python, paths and requirements from a key of freshness.key. Raises ValueError for any other text."""
    python, paths, requirements, *strict = json.loads(key)
    if not (_is_text(python) and _is_list(paths, _is_text) and _is_list(requirements, _is_text)) or (
        strict and (strict != [True] or not requirements)
    ):
        raise ValueError(key)
    return python, paths, requirements


def tree_of(requirements: Sequence[str], strict: bool) -> str:
    """The tree of a prepare for a message: as on the command line, or "everything".

    :param requirements: the roots of the tree; none means everything
    :param strict: whether `--strict-tree` was said of them
    """
    return " ".join([*(["--strict-tree"] if strict else []), *requirements]) if requirements else "everything"


def content(digests: Mapping[str, str]) -> str:
    """One digest for the content of a cache: `digests` has that of each directory, by name. Two hosts with the
    same digest have the same names, sizes, CRCs, mtimes, owners (by number) and modes."""
    return hashlib.blake2b(repr(sorted(digests.items())).encode(), digest_size=16).hexdigest()


def read(directory: int) -> Receipt:
    """The receipt in a cache; an empty one where there is none, or none that is whole.

    :param directory: a descriptor of the cache
    """
    return from_json(freshness.load(directory))


def of_directory(directory: str, flags: int = 0) -> Receipt:
    """The receipt of a directory, safe or not; an empty one where it cannot be opened.

    :param directory: its path
    :param flags: what is added to the flags of open(2), as os.O_NOFOLLOW
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | flags)
    except OSError:
        return Receipt()
    with files.closing(descriptor):
        return read(descriptor)


def of_safe_directory(directory: str) -> Receipt:
    """The receipt of a directory; an empty one where it cannot be opened, or where others could have put it there.

    :param directory: its path
    """
    try:
        descriptor = safe_dirs.open_directory(directory)
    except (OSError, NotPermitted):
        return Receipt()
    with files.closing(descriptor):
        return read(descriptor)


def from_json(data: Mapping[str, Any]) -> Receipt:
    """The receipt from plain JSON, without prepares of a root that was not installed, which earlier releases kept. An
    empty receipt where any part has not the form that `dump` writes, or that 0.1.0 wrote."""
    try:
        data = {**data, "entries": {key: _of_today(entry) for key, entry in data["entries"].items()}}
        if not _is_whole(data):
            return Receipt()
        entries = {
            key: Entry(**{**entry, "findings": list(map(_finding, entry["findings"]))})
            for key, entry in data["entries"].items()
            if all(finding["code"] != freshness.NO_ROOT for finding in entry["findings"])
        }
        return Receipt(entries, {name: Extracted(**extracted) for name, extracted in data["extracted"].items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Receipt()


def _finding(data: dict[str, Any]) -> Finding:
    return Finding(**{**data, "remedy": Remedy(*data["remedy"]), "context": tuple(data["context"])})


def dump(receipt: Receipt) -> bytes:
    """The receipt as `read` understands it. Sorted, so that equal receipts are equal bytes."""
    data = {
        "schema": freshness.SCHEMA,
        "entries": dict(sorted(receipt.entries.items())),
        "extracted": dict(sorted(receipt.extracted.items())),
    }
    text = io.StringIO()  # json.dumps would hold all pieces first: 20 MB for 10,000 eggs
    json.dump(data, text, indent=1, default=vars)  # asdict would copy each list and row first
    return text.getvalue().encode("ascii")


# ------------------------------------------------------------------------------------------------ its shape
# JSON's types are Python's, but true is an int there, and 2.0 equal to 2: so types are compared, not values alone.

_NO_TEXT = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")  # what no os.fsdecode gives: the kernel takes none of it
_END_OF_TIME = 253_402_300_799  # the last second of the year 9999


def _of_today(entry: Any) -> Any:
    """An entry in the form that `dump` writes: 0.1.0 wrote the remedy of a finding as one text."""
    remedied = [
        {**finding, "remedy": [finding["remedy"], ""]} if type(finding["remedy"]) is str else finding
        for finding in entry["findings"]
    ]
    return {**entry, "findings": remedied}


def _is_whole(data: Mapping[str, Any]) -> bool:
    extracted = data["extracted"]
    return (
        _has_keys(data, {"schema", "entries", "extracted"})
        and _is_dict(extracted, _is_extracted)
        and all(map(_is_name, extracted))
        and _is_dict(data["entries"], _is_entry)
        and all(parts_of_key(key) and extracted.keys() >= set(entry["names"]) for key, entry in data["entries"].items())
    )


def _is_entry(entry: Any) -> bool:
    options = entry["options"]
    return (
        _has_keys({"outside": [], **entry}, {field.name for field in fields(Entry)})
        and _is_list(options["user"], _is_id)
        and len(options["user"]) > 1
        and _is_list(options["owner"], _is_id)
        and len(options["owner"]) == 4
        and type(options.get("strict", True)) is bool
        and (options["timezone"] is None or _is_text(options["timezone"]))
        and _is_dict(options["limits"], _is_count)
        and options["limits"].keys() <= freshness.LIMITS.keys()
        and _is_dict(options["environment"], lambda value: value is None or _is_text(value))
        and _is_dict(entry["inputs"], _is_fingerprint)
        and _is_list(entry["names"], _is_name)
        and _is_list(entry.get("outside", []), _is_text)
        and _is_list(entry["findings"], _is_finding)
        and _is_count(entry["when"])
        and entry["when"] <= _END_OF_TIME
        and _is_text(entry["eggcache"])
        and _is_list(entry["python"], _is_count)
    )


def _is_extracted(value: Any) -> bool:
    return (
        _has_keys(value, {field.name for field in fields(Extracted)})
        and all(_is_text(value[name]) and value[name] for name in ("egg", "expected", "found"))
        and _is_fingerprint(value["source"])
        and _is_count(value["files"])
        and _is_count(value["size"])
    )


def _is_finding(finding: Any) -> bool:
    return (
        _has_keys(finding, {field.name for field in fields(Finding)})
        and all(_is_text(finding[name]) for name in ("code", "thing", "cause"))
        and _is_list(finding["remedy"], _is_text)
        and len(finding["remedy"]) == 2
        and _is_count(finding["status"])
        and finding["status"] in (0, 1, 3, 4, 5)
        and _is_list(finding["context"], _is_text)
    )


def _is_fingerprint(value: Any) -> bool:
    """As freshness.of_stat has it; None for what was not there, and [] for what changed meanwhile."""
    return value is None or (_is_list(value, _is_number) and len(value) in (0, 7))


def _is_number(value: Any) -> bool:
    return type(value) is int and abs(value) < 1 << 64


def _is_name(name: Any) -> bool:
    """Whether it is the name of an egg's directory and no other: directories that are not needed are removed."""
    return _is_text(name) and name.endswith("-tmp") and "/" not in name


def _is_id(value: Any) -> bool:
    return _is_count(value) and value < 1 << 32


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_text(value: Any) -> bool:
    return type(value) is str and not _NO_TEXT.search(value)


def _is_list(value: Any, is_valid: Callable[[Any], bool]) -> bool:
    return type(value) is list and all(map(is_valid, value))


def _is_dict(value: Any, is_valid: Callable[[Any], bool]) -> bool:
    return type(value) is dict and all(map(_is_text, value)) and all(map(is_valid, value.values()))


def _has_keys(value: Any, names: set[str]) -> bool:
    return type(value) is dict and value.keys() == names
