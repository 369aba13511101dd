"""The entries of a cache, by their names: those of eggcache's own, and foreign ones, which must not be there."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Collection, Iterator

from eggcache.cache import freshness
from eggcache.errors import NotPermitted, Remedy
from eggcache.model import Finding
from eggcache.system import locks, procfs, safe_dirs

_RESET = "or let --reset move the directory aside"


_OWN = (freshness.NAME, safe_dirs.LOCK, safe_dirs.JOURNAL, safe_dirs.VERIFIER, "lost+found")


def is_own(name: str) -> bool:
    """Whether the name alone makes an entry of a cache eggcache's own, or harmless.

    :param name: the name of the entry
    """
    return name in _OWN or is_leftover(name)


def is_leftover(name: str) -> bool:
    """Whether a killed run left a file or directory of that name, or a running one uses it; the next run removes it."""
    return name.startswith((safe_dirs.STAGE, safe_dirs.ASIDE))


def findings(
    descriptor: int, directory: str, extracted: Collection[str], *, without_receipt: bool
) -> Iterator[Finding]:
    """The entries of a cache that are not eggcache's own.

    A name that somebody else can change asks for exit status 4. A name that only nobody knows is a notice.

    :param descriptor: the cache, open
    :param directory: its path, for the findings
    :param extracted: the names that the receipt knows
    :param without_receipt: there is none, or another eggcache's: then a directory that is named like an egg's is ours
    """
    for name in sorted(os.listdir(descriptor)):
        try:
            info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:  # a stage of a run that goes on
            continue
        path, remedy = os.path.join(directory, name), "see whose it is, and remove it"
        if freshness.others_may_change(info, os.geteuid()):
            owner, mode = safe_dirs.owner_name(info.st_uid), stat.S_IMODE(info.st_mode)
            cause = f"it belongs to {owner}, or others can write to it (mode {mode:04o})"
            yield Finding(freshness.FOREIGN, path, cause, remedy, NotPermitted.status)
        elif not (
            is_own(name)
            or name in extracted
            or (without_receipt and name.endswith(".egg-tmp") and stat.S_ISDIR(info.st_mode))
        ):
            yield Finding(freshness.FOREIGN, path, "no prepare in the receipt made it", remedy, 0)


def refuse_other_directory(directory: str, names: Collection[str], remedy: str) -> None:
    """Raise NotPermitted where the directory with these `names` has no receipt, and has entries that no egg cache
    has."""
    if freshness.NAME not in names:
        for name in sorted(names):
            if not is_own(name) and not name.endswith("-tmp"):  # pkg_resources fills caches as well
                raise NotPermitted(directory, f"it is no egg cache: it holds {name!r}", remedy)


def check(descriptor: int, path: str) -> None:
    """Refuse the cache open at `descriptor` where a run would fail half-way, or reach other files.

    Any other entry, such as a FIFO, a device or a link, is replaced or removed without being opened. Raises
    NotPermitted with the name of the entry; --reset moves the whole directory aside.
    """
    locks.check(descriptor, path)
    try:
        info = os.stat(freshness.NAME, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        pass
    else:
        if stat.S_ISDIR(info.st_mode):
            cause = "it is a directory, and the receipt belongs there"
            raise NotPermitted(os.path.join(path, freshness.NAME), cause, f"remove it, {_RESET}")
    check_mounts(descriptor, path, "let --reset move the directory aside, or unmount it")


def check_mounts(descriptor: int, path: str, advice: str) -> None:
    """Refuse a cache in which something is mounted: that can be neither exchanged nor removed, and what would be
    removed below it is somebody else's.

    :param descriptor: the cache, open
    :param path: its path, for the error
    :param advice: the words of the remedy, before the command that unmounts it
    :raises NotPermitted: something is mounted there
    """
    directory = os.readlink(f"/proc/self/fd/{descriptor}")
    for place in sorted(place for place, _ in procfs.mounts() if place.startswith(directory + "/")):
        mount = os.path.join(path, place[len(directory) + 1 :])  # st_dev shows no bind mount
        raise NotPermitted(mount, "something is mounted there", Remedy(advice, f"umount {shlex.quote(mount)}"))
