"""The backup directory of unzip-all, which keeps each zip."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from eggcache.errors import EggcacheError, NotPermitted, UsageError, of_disk
from eggcache.model import Ownership, Run
from eggcache.system import accounts, files, locks, safe_dirs, staging

_PIECE = 1 << 20  # bytes of a zip in memory: it may be larger than that is


@contextmanager
def directory_to_fill(path: str | None, zips: Mapping[str, Iterable[str]], run: Run) -> Iterator[int | None]:
    """The backup directory, made where it is missing. It has no other zips with the names in `zips`, which
    has them by directory. None without a `path`, and in a dry run where the directory is missing."""
    if path is None or (
        run.dry_run and not os.path.lexists(path) and os.path.isdir(os.path.dirname(os.path.abspath(path)))
    ):
        yield None
        return
    with _open(path, run, zips, "create it", create=not run.dry_run) as keep:
        _check_backup(path, zips)
        if not run.dry_run:
            staging.remove_stages(keep)
        yield keep


def directory_of_zips(path: str, directories: Iterable[str], run: Run) -> AbstractContextManager[int]:
    """The backup directory that an earlier run filled with zips from `directories`."""
    return _open(path, run, directories, "name the directory that has the zips", create=False)


@contextmanager
def _open(path: str, run: Run, directories: Iterable[str], remedy: str, *, create: bool) -> Iterator[int]:
    """A directory that nobody else can write to and that is none of `directories`; locked, except in a dry run."""
    option = f"--backup {path}"
    directories = list(directories)
    parent = os.path.dirname(os.path.abspath(path))
    is_among_eggs = any(os.path.realpath(parent) == os.path.realpath(directory) for directory in directories)
    try:
        keep = (_open_among if is_among_eggs else safe_dirs.open_directory)(path, create=create)
    except FileNotFoundError as error:
        lack = "it" if error.filename == path else error.filename
        raise EggcacheError(option, f"{lack} does not exist", remedy) from None
    except PermissionError as error:
        cause = f"{accounts.current().words} cannot use it: {error.strerror}"
        raise NotPermitted(option, cause, "name another directory") from None
    except OSError as error:
        raise EggcacheError(option, f"cannot be used: {error.strerror}", "name another") from None
    with files.closing(keep):
        for directory in directories:
            if os.path.samestat(os.stat(directory), os.fstat(keep)):
                raise UsageError(option, "that is where the eggs are", "name another directory")
        with nullcontext() if run.dry_run else locks.lock_itself(keep, option, run.wait, run.progress):
            yield keep


def _open_among(path: str, *, create: bool) -> int:
    """The same for a directory among eggs, above which the rule is theirs: whoever may change what is above it may
    change the eggs as well."""
    parent, name = os.path.split(os.path.abspath(path))
    with files.closing(safe_dirs.open_place(parent)) as place:
        try:
            descriptor = os.open(name, safe_dirs.DIRECTORY, dir_fd=place)
        except FileNotFoundError as error:
            if not create:
                raise FileNotFoundError(error.errno, error.strerror, path) from None
            descriptor = safe_dirs.make(place, name)
    return safe_dirs.check_owner(descriptor, path)


def _check_backup(path: str, zips: Mapping[str, Iterable[str]]) -> None:
    eggs: dict[str, str] = {}
    for directory, names in zips.items():
        for name in names:
            egg = os.path.join(directory, name)
            if os.path.isdir(egg):
                continue  # another run was faster while this one waited for the backup
            for rival in (os.path.join(path, name), eggs.setdefault(name, egg)):
                if rival != egg and os.path.lexists(rival) and not files.same_bytes(egg, rival):
                    raise _conflict(egg, rival)


def _conflict(egg: str, rival: str) -> EggcacheError:
    what = "another zip of that name" if os.path.isfile(rival) else "no regular file"
    what = "a directory" if os.path.isdir(rival) else what
    return EggcacheError(egg, f"cannot be kept in the backup: {rival} is {what}", "name another DIR")


def keep_all(zips: Iterable[tuple[str, os.stat_result]], descriptor: int, backup: int) -> None:
    """Keep every zip, given by path and stat result, on the disk of `backup`: see `keep`."""
    try:
        for path, info in zips:
            keep(path, info, descriptor, backup)
        os.fsync(backup)
    except OSError as error:
        place = os.readlink(f"/proc/self/fd/{backup}")
        raise of_disk(f"--backup {place}", "the zips cannot be kept there", error) from error


def keep(path: str, info: os.stat_result, descriptor: int, backup: int) -> None:
    """Keep the zip at `path`, in the directory `descriptor`, in `backup`: by a hard link where that is possible.

    Raises EggcacheError where `backup` has another zip of that name.
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
        mode = stat.S_IMODE(info.st_mode) & 0o644
        owner = Ownership(info.st_uid, info.st_gid, mode, mode)
        with open(os.open(name, safe_dirs.READ, dir_fd=descriptor), "rb") as stream:
            staging.replace(backup, name, iter(partial(stream.read, _PIECE), b""), owner)
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=backup, follow_symlinks=False)
