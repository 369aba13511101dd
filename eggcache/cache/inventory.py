"""The content of a cache for `status`, from its receipt and the dates of its files. It runs and proves nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from eggcache.cache import foreign_entries as cache_names
from eggcache.cache import freshness, groups_and_time_zones, receipt
from eggcache.errors import EggcacheError, NotPermitted, Remedy
from eggcache.model import Finding, Tree
from eggcache.system import accounts, files, safe_dirs


@dataclass(frozen=True)
class Prepare:
    """One prepare in the receipt: the last one for this target, path and tree."""

    python: str  #: the target
    version: tuple[int, ...]  #: its version, for example (2, 7, 18)
    paths: tuple[str, ...]  #: what `--path` put in front of its sys.path
    requirements: tuple[str, ...]  #: the roots of the tree; () for everything on the path
    strict: bool  #: whether what is declared alone counts: `--strict-tree`, or `--all`
    user: str  #: the user who reads the cache
    uid: int  #: the number of that user
    gid: int  #: the primary group of that user
    timezone: str | None  #: the TZ that the dates of the files are right for; None: the host's zone
    when: int  #: seconds since the epoch
    eggcache: str  #: the version of eggcache that did it
    names: tuple[str, ...]  #: the directories of the cache that it needs
    digest: str  #: of what it extracted; equal on two hosts where that is equal
    command: str  #: the command line that does it again
    changed: tuple[str, ...]  #: the paths that it depends on and that have changed since; () where it is current
    findings: tuple[Finding, ...]  #: what was wrong


@dataclass(frozen=True)
class CachedEgg:
    """A directory of the cache that is in the receipt."""

    name: str  #: its name in the cache
    egg: str  #: the zip that it was extracted from
    #: "current", "egg-changed", "egg-gone", "egg-unzipped", "missing", "altered", "copied" (or given other rights)
    state: str
    files: int  #: how many files it has
    size: int  #: bytes of these files
    needed: bool  #: whether a prepare that the receipt knows needs it; `prepare --prune` removes others


@dataclass(frozen=True)
class Inventory:
    """What is in a cache."""

    directory: str  #: the cache, absolute
    uid: int | None  #: its owner; None where there is no such directory
    gid: int | None  #: its group; None likewise
    mode: int | None  #: its permission bits; None likewise
    prepares: tuple[Prepare, ...]  #: one for each target, path and tree
    contents: tuple[CachedEgg, ...]  #: the directories that the receipt knows
    stages: tuple[str, ...]  #: what a run works in, or a killed one left; the next prepare removes the latter
    running: bool  #: whether a run holds the lock
    findings: tuple[Finding, ...]  #: what is wrong


def status(directory: str) -> Inventory:
    """The content of a cache, and whether the next prepare would have anything to do.

    It is fast: it compares the receipt with the dates, sizes and owners of the eggs and of the extracted files.

    :param directory: the cache
    :returns: its content; where there is no such directory, an inventory with the finding `cache-missing`
    :raises NotPermitted: the directory is not safe, is no egg cache, or belongs to another user
    """
    directory = os.path.abspath(directory)
    with _descriptor(directory) as descriptor:
        if descriptor is None:
            # for which Python, only its receipt could tell
            command = f"eggcache prepare {shlex.quote(directory)} --python PATH"
            remedy = f"prepare it for the Python that Apache runs, {command}"
            finding = Finding("cache-missing", directory, "it does not exist", remedy)
            return Inventory(directory, None, None, None, (), (), (), False, (finding,))
        info = os.fstat(descriptor)
        record = receipt.read(descriptor)
        names = sorted(os.listdir(descriptor))
        cache_names.refuse_other_directory(directory, names, "name the egg cache")
        names_in_use = {name for entry in record.entries.values() for name in entry.names}
        contents = tuple(
            CachedEgg(name, egg.egg, _state(descriptor, name, egg), egg.files, egg.size, name in names_in_use)
            for name, egg in sorted(record.extracted.items())
        )
        altered = {content.name for content in contents if content.state in ("altered", "copied", "missing")}
        prepares = tuple(_prepare(directory, key, record, altered) for key in sorted(record.entries))
        return Inventory(
            directory,
            info.st_uid,
            info.st_gid,
            stat.S_IMODE(info.st_mode),
            prepares,
            contents,
            tuple(name for name in names if cache_names.is_leftover(name)),
            _running(descriptor),
            (
                *_stale(directory, prepares, contents),
                *cache_names.findings(descriptor, directory, record.extracted, without_receipt=not record.entries),
            ),
        )


def readiness(directory: str, tree: Tree) -> tuple[bool, ...]:
    """Whether a cache has each distribution of a tree, extracted from the egg as it is now.

    By the receipt: `status` and `check` see whether the files are still there.

    :param directory: the cache
    :param tree: the distributions, in the order of the answer
    :raises NotPermitted: the directory is not safe, or belongs to another user
    """
    with _descriptor(directory) as descriptor:
        record = receipt.Receipt() if descriptor is None else receipt.read(descriptor)
        names = set() if descriptor is None else set(os.listdir(descriptor))
    eggs = cache(lambda: record.eggs_beside(""))  # of every prepare, where that is asked for

    def holds(name: str | None, egg: str | None) -> bool:
        extracted = record.extracted.get(name or "")
        if not name or not extracted or egg is None or name not in names:
            return False
        if extracted.egg == egg and extracted.source == freshness.fingerprint(egg):
            return True
        return egg in eggs().get(name, ())  # another one of the same content

    return tuple(holds(distribution.cache_directory, distribution.egg) for distribution in tree.distributions)


@contextmanager
def _descriptor(directory: str) -> Iterator[int | None]:
    """The verified directory; None where there is none."""
    try:
        info = os.stat(directory)
        if info.st_uid != os.geteuid():
            owner = safe_dirs.owner_name(info.st_uid)
            cause = f"it belongs to {owner}, who alone may read its receipt"
            raise NotPermitted(directory, cause, f"run it as {owner}")
        descriptor = safe_dirs.open_directory(directory)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    except PermissionError as error:
        raise NotPermitted(directory, f"cannot be looked at: {error.strerror}", "run it as its owner") from None
    except OSError as error:  # a link that leads to itself, a name that is too long
        raise EggcacheError(directory, f"cannot be looked at: {error.strerror}", "name the egg cache") from None
    with files.closing(descriptor):
        yield descriptor


def _state(descriptor: int, name: str, extracted: receipt.Extracted) -> str:
    source, digest = freshness.fingerprint(extracted.egg), freshness.digest(descriptor, name)
    if digest != extracted.found:
        return "missing" if not digest else "copied" if _is_copy(descriptor, name, extracted) else "altered"
    if source == extracted.source:
        return "current"
    if source and stat.S_ISDIR(source[1]) and os.path.isdir(os.path.join(extracted.egg, "EGG-INFO")):
        return "egg-unzipped"  # by unzip-all: pkg_resources reads it where it is
    return "egg-changed" if source else "egg-gone"


def _is_copy(descriptor: int, name: str, extracted: receipt.Extracted) -> bool:
    """Whether all below `name` came there after the receipt was written, with the size that it tells of. A prepare
    writes its receipt last; tar, rsync and the layers of containers keep mtimes, and ctimes are those of the copy."""
    receipt_mtime, count, size = os.stat(freshness.NAME, dir_fd=descriptor).st_mtime_ns, 0, 0
    for place, _, names in files.walk(name, descriptor):
        for path in (place, *(os.path.join(place, entry) for entry in names)):
            info = os.stat(path, dir_fd=descriptor, follow_symlinks=False)
            if info.st_ctime_ns <= receipt_mtime:
                return False
            if not stat.S_ISDIR(info.st_mode):
                count, size = count + 1, size + info.st_size
    return (count, size) == (extracted.files, extracted.size)


def _prepare(directory: str, key: str, record: receipt.Receipt, altered: set[str]) -> Prepare:
    entry = record.entries[key]
    python, paths, requirements = receipt.parts_of_key(key)
    uid, gid = entry.options["user"][:2]
    inputs = [path for path, value in entry.inputs.items() if freshness.fingerprint(path) != value]
    paths_changed = [*inputs, *(os.path.join(directory, name) for name in entry.names if name in altered)]
    return Prepare(
        python,
        tuple(entry.python),
        tuple(paths),
        tuple(requirements),
        entry.strict,
        accounts.user_name(uid),
        uid,
        gid,
        entry.options["timezone"],
        entry.when,
        entry.eggcache,
        tuple(entry.names),
        receipt.content({name: record.extracted[name].expected for name in entry.names if name in record.extracted}),
        groups_and_time_zones.prepare_of(directory, key, entry).line(),
        tuple(sorted(paths_changed)),
        tuple(entry.findings),
    )


def _stale(directory: str, prepares: tuple[Prepare, ...], contents: tuple[CachedEgg, ...]) -> Iterator[Finding]:
    if not prepares:
        cause = "it has no receipt of this eggcache, so its content is unknown"
        yield Finding("cache-stale", directory, cause, "prepare it again, with the same options as before")
    copies = {os.path.join(directory, content.name) for content in contents if content.state == "copied"}
    unzipped = {content.egg for content in contents if content.state == "egg-unzipped"}
    for prepare in prepares:
        if not prepare.changed:
            continue
        eggs = sorted(unzipped.intersection(prepare.changed))
        if copies.issuperset(prepare.changed):
            change = "copied since: its content is not compared"
        elif eggs and {*eggs, *map(os.path.dirname, eggs)}.issuperset(prepare.changed):
            # What holds an egg has another date as well when a directory takes the egg's place.
            change = f"unzipped since, so that no cache is needed for it: {_first(eggs)}"
        else:
            change = f"{_first(prepare.changed)} changed since"
        remedy = Remedy("prepare it again", prepare.command)
        if receipt.is_gone(prepare.python):
            remedy = Remedy("its Python is gone: prepare --prune with another Python forgets it")
        cause = f"prepared for {prepare_label(prepare)}, and {change}"
        yield Finding("cache-stale", directory, cause, remedy, context=prepare.changed)


def _first(paths: Sequence[str]) -> str:
    return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else paths[0]


def prepare_label(prepare: Prepare) -> str:
    """The target and tree of a prepare: `TurboGears of /srv/tg/bin/python`.

    :param prepare: the prepare
    """
    return f"{receipt.tree_of(prepare.requirements, prepare.strict)} of {prepare.python}"


def _running(descriptor: int) -> bool:
    """Whether a prepare holds the lock: asked for as a reader, and given back at once, which no other run notices
    unless it is not ready to wait at all."""
    try:
        lock = os.open(safe_dirs.LOCK, safe_dirs.READ, dir_fd=descriptor)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    finally:
        os.close(lock)
