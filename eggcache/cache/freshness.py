"""Whether the receipt of a cache still holds: all that a `prepare` with nothing to do needs.

That run is at every start of Apache. So this module imports next to nothing, and works on the receipt as plain JSON;
`receipt` has its nouns. The receipt only caches the truth: where an input has changed, or the receipt cannot be read,
everything is done again.
"""

from __future__ import annotations

import marshal
import os
import stat

from eggcache.system import safe_dirs

try:
    from _json import encode_basestring_ascii, make_scanner  # what json consists of, which loads re first: 8 of 24 ms
except ImportError:  # a Python without it
    from json.encoder import encode_basestring_ascii

    make_scanner = None  # type: ignore[assignment,misc]
try:
    from _blake2 import blake2b  # hashlib has the same, and loads OpenSSL first: 3 of 40 ms
except ImportError:  # a build that has OpenSSL's alone
    from hashlib import blake2b

TYPE_CHECKING = False  # importing typing for its constant takes longer than reading the receipt
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Optional

    from eggcache.target.interpreter import Roots, Target

    Fingerprint = Optional[list[int]]  # of a path; None: it does not exist

NAME = ".eggcache.json"
SCHEMA = 2
NO_ROOT = "root-not-installed"  # the finding with which no prepare has a receipt; earlier releases wrote one
FOREIGN = "foreign-entry"  # the finding of what in a cache is not eggcache's: a prepare's only one about DIR itself
# The defaults of model.Limits, which a run with nothing to do need not import; a test compares.
LIMITS = {"entries": 65_535, "member": 0x7FFFFFFF, "total": 4 << 30, "ratio": 200}


class _Scanned:
    """How JSON is read, in the attributes of json.JSONDecoder."""

    strict, memo = True, dict[str, str]()
    object_hook = object_pairs_hook = array_hook = None  # the last one is of 3.15
    parse_int, parse_float, parse_constant = int, float, float


try:
    _scan = make_scanner(_Scanned)  # type: ignore[arg-type]
except (TypeError, AttributeError):  # a Python without it, or whose scanner wants more
    import json

    _scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def key(target: Target, roots: Roots) -> str:
    """The receipt's key for a prepare: one for each target, path and tree. No requirements means everything.

    :param target: the Python, and what is added to its path
    :param roots: which distributions the tree is of
    """
    strict = ", true" if roots.strict and roots.requirements else ""  # of everything, it is the same eggs
    paths, requirements = (
        ", ".join(map(encode_basestring_ascii, words)) for words in (target.paths, roots.requirements)
    )
    return f"[{encode_basestring_ascii(target.python)}, [{paths}], [{requirements}]{strict}]"


def ownership(gid: int | None) -> tuple[int, int, int, int]:
    """The owner of a cache, and its modes for directories and for files.

    Where root prepares it: root and the group `gid` alone, or readable by all where there is no such group. Where
    another user prepares it: the caller's, readable by all.
    """
    if os.geteuid() == 0 and gid is not None:
        return 0, gid, 0o750, 0o640
    return os.geteuid(), os.getegid(), 0o755, 0o644


def options_of(target: Target, roots: Roots, limits: Mapping[str, int]) -> dict[str, Any]:
    """The options of a prepare that the receipt keeps, beside its key.

    Receipts of earlier builds have no "strict": all of theirs were strict, and none of them holds.

    :param target: the Python, and the account, group and time zone that it runs with
    :param roots: which distributions the tree is of
    :param limits: values by the names of model.Limits; a default counts as none
    """
    account = target.account
    return {
        "user": [account.uid, account.gid, *account.groups],
        "owner": [*ownership(target.group)],
        "strict": roots.strict,
        "timezone": target.timezone,
        "limits": {name: limit for name, limit in limits.items() if limit != LIMITS[name]},
        "environment": {name: os.environ.get(name) or None for name in ("PYTHONPATH", "LD_LIBRARY_PATH")},
    }


def fingerprint(path: str) -> Fingerprint:
    """A value that changes when the file or directory at `path` changes; None where there is none, or none that we
    see."""
    try:
        return of_stat(os.stat(path))
    except (OSError, ValueError):
        return None


def of_stat(info: os.stat_result) -> list[int]:
    """A stat result as the receipt keeps it, without the device, whose number may change at every boot."""
    return [info.st_ino, info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns, info.st_ctime_ns]


def others_may_change(info: os.stat_result, uid: int) -> bool:
    """Whether a user other than `uid` can change the file of this stat result; a link has no mode of its own."""
    return info.st_uid != uid or bool(info.st_mode & 0o022 and not stat.S_ISLNK(info.st_mode))


def digest(directory: int, name: str) -> str:
    """A digest of name, inode, mode, owner, size, mtime and ctime of everything in a directory.

    :param directory: a descriptor of the directory that it is in
    :param name: its name there
    :returns: hexadecimal digits; "" where it is missing, or another run removes it meanwhile
    """
    hasher = blake2b(digest_size=16)
    pending = [(name, -1, 0, 0, 0)]
    while pending:
        path, *facts = pending.pop()
        try:
            descriptor = os.open(path, safe_dirs.DIRECTORY, dir_fd=directory)
        except (OSError, ValueError):  # ValueError: no name at all, in a receipt that makes no sense
            return ""
        try:
            if facts[0] < 0:  # of the others, the directory that they are in has it
                top = os.fstat(descriptor)
                facts = [top.st_ino, top.st_mode, top.st_uid, top.st_gid]
            lines: list[tuple[object, ...]] = [("", *facts)]
            with os.scandir(descriptor) as entries:
                for entry in entries:  # written out: there may be 100,000 of them
                    info = entry.stat(follow_symlinks=False)
                    mode = info.st_mode
                    if stat.S_ISDIR(mode):
                        pending.append((f"{path}/{entry.name}", info.st_ino, mode, info.st_uid, info.st_gid))
                    lines.append(
                        (entry.name, info.st_ino, mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns,
                         info.st_ctime_ns)
                    )  # fmt: skip
        except FileNotFoundError:  # listed, and then gone
            return ""
        finally:
            os.close(descriptor)
        pending.sort()
        lines.sort()
        hasher.update(marshal.dumps((path, lines), 2))  # version 2: equal values are equal bytes
    return hasher.hexdigest()


def load(directory: int) -> dict[str, Any]:
    """The receipt in `directory` as plain JSON; an empty one where there is none, or it is not to be trusted."""
    empty: dict[str, Any] = {"entries": {}, "extracted": {}}
    try:
        descriptor = os.open(NAME, safe_dirs.READ, dir_fd=directory)
    except OSError:
        return empty
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        os.close(descriptor)
        return empty
    with open(descriptor, "rb") as stream:
        try:
            text = stream.read().decode()
            data, end = _scan(text, 0)
            if text[end:].strip():
                return empty
            if data["schema"] == SCHEMA and isinstance(data["entries"], dict) and isinstance(data["extracted"], dict):
                return dict(data)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, StopIteration, SystemError):
            # SystemError: where json is not loaded, the scanner of a Python before 3.13 has no error to raise
            pass
    return empty


def holds(data: Mapping[str, Any], key: str, options: Mapping[str, Any], directory: int) -> bool:
    """Whether the entry `key` of the receipt `data` was made with these options, all its inputs are unchanged, and the
    directories that it extracted into `directory` are unchanged too."""
    try:
        entry = data["entries"].get(key)
        if entry is None or entry["options"] != options or type(entry["names"]) is not list:
            return False
        info, owner = os.fstat(directory), options["owner"]
        if [info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)] != owner[:3]:
            return False
        with os.scandir(directory) as names:
            if any(others_may_change(name.stat(follow_symlinks=False), owner[0]) for name in names):
                return False  # whoever put it there must be told of
        if any(fingerprint(path) != value for path, value in entry["inputs"].items()):
            return False
        if any(type(finding["status"]) is not int or finding["code"] == NO_ROOT for finding in entry["findings"]):
            return False
        extracted = data["extracted"]
        return all(extracted[name]["found"] == digest(directory, name) != "" for name in entry["names"])
    except (KeyError, TypeError, AttributeError):  # a receipt that makes no sense
        return False
    except FileNotFoundError:  # another run takes away what we look at
        return False


def leftovers(directory: int | str) -> bool:
    """Whether a run is at work in a directory, or was killed there.

    :param directory: its path, or a descriptor of it
    :raises OSError: it cannot be listed
    """
    prefixes = safe_dirs.STAGE, safe_dirs.JOURNAL, safe_dirs.ASIDE
    return any(name.startswith(prefixes) for name in os.listdir(directory))


def current_receipt(directory: str, key: str, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The receipt in a cache, as plain JSON, if one of its entries holds.

    :param directory: the path of the cache
    :param key: the entry, as `key` names it
    :param options: what the entry must have been made with, as `options_of` gives it
    :returns: None where the entry does not hold, where there is no such directory, or where a killed run left something
        in it, which a full run then removes
    :raises NotPermitted: the directory is not safe
    """
    try:
        descriptor = safe_dirs.open_directory(directory)
    except OSError:
        return None
    try:
        data = load(descriptor)
        return data if holds(data, key, options, descriptor) and not leftovers(descriptor) else None
    finally:
        os.close(descriptor)
