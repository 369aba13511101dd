"""The backup directory of unzip-all, which keeps each zip."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from functools import partial

from eggcache.errors import EggcacheError, NotPermitted, UsageError, of_disk
from eggcache.model import Ownership
from eggcache.system import accounts, files, safe_dirs, staging

_PIECE = 1 << 20  # bytes of a zip in memory: it may be larger than that is


def open_backup(path: str, found: Mapping[str, Iterable[str]], dry_run: bool) -> int | None:
    """The backup directory, which nobody else can write and which holds no other zip of these names.

    None where it is missing and this is a dry run.
    """
    try:
        keep = _open(path, create=not dry_run)
    except FileNotFoundError as error:
        if dry_run and error.filename == os.path.abspath(path):
            return None
        raise EggcacheError(f"--backup {path}", f"{error.filename} does not exist", "create it") from None
    try:
        _check_backup(path, keep, found)
    except BaseException:
        os.close(keep)
        raise
    return keep


def open_kept(path: str, directories: Iterable[str]) -> int:
    """The backup directory that an earlier run filled with zips out of `directories`, which nobody else can write."""
    try:
        keep = _open(path, create=False)
    except FileNotFoundError as error:
        raise EggcacheError(
            f"--backup {path}", f"{error.filename} does not exist", "name the directory that has the zips"
        ) from None
    try:
        for directory in directories:
            _check_apart(path, keep, directory)
    except BaseException:
        os.close(keep)
        raise
    return keep


def _open(path: str, create: bool) -> int:
    try:
        return safe_dirs.open_directory(path, create=create)
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise NotPermitted(
            f"--backup {path}", f"{accounts.current().name} cannot use it: {error.strerror}", "name another directory"
        ) from None
    except OSError as error:
        raise EggcacheError(f"--backup {path}", f"cannot be used: {error.strerror}", "name another") from None


def _check_apart(path: str, keep: int, directory: str) -> None:
    if os.path.samestat(os.stat(directory), os.fstat(keep)):
        raise UsageError(f"--backup {path}", "that is where the eggs are", "name another directory")


def _check_backup(path: str, keep: int, found: Mapping[str, Iterable[str]]) -> None:
    seen: dict[str, str] = {}
    for directory, zips in found.items():
        _check_apart(path, keep, directory)
        for name in zips:
            egg = os.path.join(directory, name)
            for other in (os.path.join(path, name), seen.setdefault(name, egg)):
                if other != egg and os.path.lexists(other) and not files.same_bytes(egg, other):
                    raise _conflict(egg, other)


def _conflict(egg: str, other: str) -> EggcacheError:
    return EggcacheError(egg, f"cannot be kept in the backup: {other} is another zip of that name", "name another DIR")


def keep_all(zips: Iterable[tuple[str, os.stat_result]], descriptor: int, backup: int) -> None:
    """Keep every zip, of which the path and the stat result are given, on the disk of `backup`: see keep."""
    try:
        for path, was in zips:
            keep(path, was, descriptor, backup)
        os.fsync(backup)
    except OSError as error:
        where = os.readlink(f"/proc/self/fd/{backup}")
        raise of_disk(f"--backup {where}", "the zips cannot be kept there", error) from error


def keep(path: str, was: os.stat_result, descriptor: int, backup: int) -> None:
    """Keep the zip at `path`, in the directory `descriptor`, in `backup`: by a link where that is possible.

    Raises EggcacheError where another zip of that name is there.
    """
    name = os.path.basename(path)
    try:
        os.link(name, name, src_dir_fd=descriptor, dst_dir_fd=backup, follow_symlinks=False)
    except FileExistsError:
        if not files.same_bytes(name, name, descriptor, backup):
            raise _conflict(path, os.path.join(os.readlink(f"/proc/self/fd/{backup}"), name)) from None
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        mode = stat.S_IMODE(was.st_mode) & 0o644
        owner = Ownership(was.st_uid, was.st_gid, mode, mode)
        with open(os.open(name, safe_dirs.READ, dir_fd=descriptor), "rb") as stream:
            staging.replace(backup, name, iter(partial(stream.read, _PIECE), b""), owner)
        os.utime(name, ns=(was.st_atime_ns, was.st_mtime_ns), dir_fd=backup, follow_symlinks=False)
