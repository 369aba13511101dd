"""Putting a staged directory in the place of the old directory: in one step, or, where that is allowed, with a gap.

Some file systems cannot exchange two names (NFS, some of FUSE's, any of a kernel before 3.15). They need two renames,
and the name is missing between the two. So that no egg is lost then:

1. A journal on the disk says, before any rename, which name moves and where to.
2. The old directory moves aside: within the directory, not into the stage, which clean-ups remove.
3. The new directory moves in. That is on the disk before the old directory is removed, and the journal is removed last.

A run that meets a journal, under the lock of the directory, can tell what happened. Where the name is missing, the old
directory moves back. Where the name is there, what lies aside is removed. Both ways leave a whole egg.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress

from eggcache.errors import EggcacheError, NotPermitted
from eggcache.model import Ownership
from eggcache.system import files, safe_dirs, staging, syscalls

_LARGEST = 10_000  # bytes: a journal has two names
_SCHEMA = 1


def swap(stage: int, directory: int, name: str, allow_gap: bool) -> None:
    """Put a directory from a stage in the place of the one of its name.

    The caller removes the stage, where the old directory may end up.

    :param stage: a descriptor of the stage, which is on the disk
    :param directory: a descriptor of the verified directory that has the name; the caller holds its lock
    :param name: the name, in the stage and in the directory
    :param allow_gap: whether the name may be missing for a moment, where the file system cannot exchange two names
    :raises CannotExchange: a gap is needed, and not allowed
    :raises OSError: the disk refuses; the name is as it was, at the latest after the next `recover`
    """
    try:
        syscalls.exchange(stage, name, directory, name)
    except syscalls.CannotExchange as error:
        if not allow_gap:
            path = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), name)
            raise syscalls.CannotExchange(path, error.cause, error.remedy) from None
        _rename_twice(stage, directory, name)


def _rename_twice(stage: int, directory: int, name: str) -> None:
    aside = safe_dirs.ASIDE + staging.unguessable()
    entry = json.dumps({"schema": _SCHEMA, "name": name, "aside": aside}).encode("ascii")
    ownership = Ownership(os.geteuid(), os.getegid(), 0o700, 0o600)
    with staging.undisturbed():  # a signal must not make the gap longer
        try:
            staging.replace(directory, safe_dirs.JOURNAL, [entry], ownership)
            os.rename(name, aside, src_dir_fd=directory, dst_dir_fd=directory)
            os.rename(name, name, src_dir_fd=stage, dst_dir_fd=directory)
            os.fsync(directory)
            os.rename(aside, name, src_dir_fd=directory, dst_dir_fd=stage)  # as the exchange leaves it
            recover(directory)
        except BaseException:
            with suppress(OSError):  # or else the next run does it
                recover(directory)
            raise


def recover(directory: int) -> bool:
    """Finish or take back the renames that the journal in a directory describes.

    :param directory: a descriptor of the directory; the caller holds its lock
    :returns: whether there was a journal
    :raises NotPermitted: the journal is another user's; it stays
    :raises EggcacheError: the journal makes no sense; it stays
    :raises OSError: the disk refuses; the journal stays
    """
    entry = _read(directory)
    if entry is None:
        return False
    name, aside = entry
    with staging.undisturbed():
        if files.exists(aside, directory):
            if not files.exists(name, directory):
                os.rename(aside, name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)  # what has its place now is on the disk before the other one is gone
            if not staging.remove(directory, aside):  # the next run removes it
                os.rename(aside, safe_dirs.STAGE + staging.unguessable(), src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)
        os.unlink(safe_dirs.JOURNAL, dir_fd=directory)
    return True


def missing_name(directory: int) -> str | None:
    """The name that is missing from a directory until the next `recover`; None where none is missing.

    :param directory: a descriptor of the directory
    :raises NotPermitted: the journal is another user's
    :raises EggcacheError: the journal makes no sense
    """
    entry = _read(directory)
    return entry[0] if entry and files.exists(entry[1], directory) and not files.exists(entry[0], directory) else None


def _read(directory: int) -> tuple[str, str] | None:
    """The name that moves, and its name aside; None where there is no journal."""
    try:
        descriptor = os.open(safe_dirs.JOURNAL, safe_dirs.READ, dir_fd=directory)
    except FileNotFoundError:
        return None
    path = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), safe_dirs.JOURNAL)
    with open(descriptor, "rb") as stream:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_nlink != 1 or info.st_mode & 0o022:
            cause = (
                f"it is not a journal of eggcache's (mode {info.st_mode:06o}, {safe_dirs.owner_name(info.st_uid)}, "
                f"{info.st_nlink} links)"
            )
            raise NotPermitted(path, cause, "run it as that user, or see what is there and remove it")
        try:
            entry = json.loads(stream.read(_LARGEST))
            name, aside = entry["name"], entry["aside"]
            is_sane = (
                entry["schema"] == _SCHEMA
                and aside.startswith(safe_dirs.ASIDE)
                and _component(name)
                and _component(aside)
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            is_sane = False
    if not is_sane:
        cause = "it makes no sense, and an egg may lie aside"
        raise EggcacheError(path, cause, f"see what the {safe_dirs.ASIDE}* beside it are, then remove it")
    return name, aside


def _component(name: str) -> bool:
    """Whether `name`, which was read from a file, is one component of a path and no more."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name
