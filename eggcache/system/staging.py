"""Stages: files and trees that are made under a private name, then moved into place or removed without a trace.

Everything is below the descriptor of a directory that `safe_dirs` has verified.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from eggcache.model import Ownership
from eggcache.system import unfit_disks
from eggcache.system.safe_dirs import CREATE, DIRECTORY, STAGE, drop_acls, set_owner
from eggcache.system.syscalls import FATAL

# What NFS and FUSE rename a file to that is removed while a process has it open. It goes when that process closes it.
KEPT = (".nfs", ".fuse_hidden")
_BUFFER = 1 << 20  # bytes: an archive is thousands of small pieces


def unguessable() -> str:
    """A part of a name that nobody can make before: as secrets.token_hex(8), whose module takes 2 ms to load."""
    return os.urandom(8).hex()


@contextmanager
def stage(descriptor: int) -> Iterator[tuple[str, int]]:
    """A private directory (0700, with an unguessable name), which is removed at the end.

    :param descriptor: the verified directory that it is made in
    :returns: its name and its descriptor
    :raises NotPermitted: the disk cannot keep a directory from others
    :raises OSError: the disk refuses
    """
    name = STAGE + unguessable()
    try:
        os.mkdir(name, 0o700, dir_fd=descriptor)
        directory = os.open(name, DIRECTORY, dir_fd=descriptor)
        try:
            unfit_disks.look(directory, descriptor, name)
            drop_acls(directory)
            yield name, directory
        finally:
            os.close(directory)
    finally:
        with undisturbed():
            remove(descriptor, name)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Block signals: a second Ctrl-C must not interrupt a clean-up."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, FATAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def remove_stages(descriptor: int) -> None:
    """Remove the stages that killed runs left.

    :param descriptor: the directory; the caller holds its lock
    :raises OSError: the disk refuses
    """
    for name in os.listdir(descriptor):
        if name.startswith(STAGE):
            remove(descriptor, name)


def replace(descriptor: int, name: str, pieces: Iterable[bytes], ownership: Ownership) -> None:
    """Write a file: whole, or the old file stays as it was.

    :param descriptor: the verified directory that it is in
    :param name: the name of the file
    :param pieces: its bytes
    :param ownership: whose it is, and its mode
    :raises OSError: the disk refuses
    """
    temporary = STAGE + unguessable()  # if this run is killed, the next one removes it like any stage
    try:
        with open(os.open(temporary, CREATE, 0o600, dir_fd=descriptor), "wb") as stream:
            stream.writelines(pieces)
            stream.flush()
            set_owner(stream.fileno(), ownership.uid, ownership.gid, ownership.file_mode)
            os.fsync(stream.fileno())
        os.rename(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
    except BaseException:
        remove(descriptor, temporary)
        raise
    os.fsync(descriptor)


@contextmanager
def unnamed(descriptor: int, name: str) -> Iterator[BinaryIO]:
    """A file of 0600 for the caller to fill, which gets its name at the end: whole, or the old file stays as it was.

    It has no name before that (open(2), O_TMPFILE), so that nothing is left of a run that is killed. On a file system
    that has no such files, as NFS, a killed run leaves a file whose name begins with STAGE.

    :param descriptor: the directory that it is in
    :param name: the name that it gets
    :raises OSError: the disk refuses
    """
    temporary = STAGE + unguessable()
    try:
        file = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=descriptor)
        is_unnamed = True
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):  # a kernel before 3.11: the latter two
            raise
        file, is_unnamed = os.open(temporary, CREATE, 0o600, dir_fd=descriptor), False
    try:
        with open(file, "wb", buffering=_BUFFER) as stream:
            yield stream
            stream.flush()
            os.fsync(file)
            if is_unnamed:
                os.link(f"/proc/self/fd/{file}", temporary, dst_dir_fd=descriptor, follow_symlinks=True)
        os.rename(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
    except BaseException:
        with undisturbed():
            remove(descriptor, temporary)
        raise
    os.fsync(descriptor)


def remove(descriptor: int, name: str) -> bool:
    """Remove a file or a whole directory, and nothing outside.

    The directory may be another user's, who may still change it. So each directory gets our owner before it is listed,
    and its directories are moved up into `descriptor` before their turn. Every name that is opened is then one
    component in a directory that nobody else can change.

    :param descriptor: the verified directory that it is in
    :param name: the name of the file or directory, which may be missing
    :returns: whether all of it is gone. A directory stays, empty but for files that its file system keeps because a
        process has them open (see KEPT)
    :raises OSError: the disk refuses
    """
    names = [name]
    is_gone = True
    while names:
        place = names.pop()
        try:
            os.unlink(place, dir_fd=descriptor)
            continue
        except FileNotFoundError:
            continue
        except (IsADirectoryError, PermissionError):  # PermissionError is what POSIX says for a directory
            pass
        except OSError as error:
            if not _is_kept(place, error):
                raise
            is_gone = False
            continue
        directory = os.open(place, DIRECTORY, dir_fd=descriptor)
        try:
            set_owner(directory, os.geteuid(), os.fstat(directory).st_gid, 0o700)
            drop_acls(directory)
            for entry in os.listdir(directory):
                try:
                    os.unlink(entry, dir_fd=directory)
                except (IsADirectoryError, PermissionError):
                    aside = STAGE + unguessable()  # a killed run's is removed like any stage
                    os.rename(entry, aside, src_dir_fd=directory, dst_dir_fd=descriptor)
                    names.append(aside)
                except OSError as error:
                    if not _is_kept(entry, error):
                        raise
            try:
                os.rmdir(place, dir_fd=descriptor)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not _only_kept(directory):
                    raise
                is_gone = False
        finally:
            os.close(directory)
    return is_gone


def _is_kept(name: str, error: OSError) -> bool:
    """Whether `name` could not be removed because its file system keeps it while a process has it open."""
    return error.errno == errno.EBUSY and name.startswith(KEPT)


def _only_kept(descriptor: int) -> bool:
    return all(entry.startswith(KEPT) for entry in os.listdir(descriptor))
