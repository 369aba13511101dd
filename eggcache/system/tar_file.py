"""The file that an archive goes to: whole, or what was there stays."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import BinaryIO, cast

from eggcache.errors import EggcacheError, NotPermitted, UsageError, of_disk
from eggcache.system import files, safe_dirs, staging

FIRST = (1980, 1, 1, 0, 0, 0)  # of the dates that a zip can have: of the directory that an archive begins with

# What the directory that an archive begins with has in the place of a link's target: no tar looks there
MARK = "an archive of eggcache's"

_LEVEL = 6  # gzip's own; Python's is 9, which takes three times as long for one per cent
_BUFFER = 1 << 20  # bytes: an archive is thousands of small pieces


@contextmanager
def output(file: str | BinaryIO, mode: int, dry_run: bool = False) -> Iterator[BinaryIO]:
    """A stream for an archive. At the end it is the `file`, or what has been written is gone.

    :param file: its name, which says whether it is gzipped; or a stream that gets it, as it comes
    :param mode: its permission bits, of which the umask takes away
    :param dry_run: only look whether it could be written
    :raises UsageError: there is another file of that name, which is not to be lost
    :raises NotPermitted: others can exchange what is in its directory
    :raises EggcacheError: the disk refuses
    """
    if not isinstance(file, str):
        with open(os.devnull, "wb") if dry_run else nullcontext(file) as stream:
            yield stream
        return
    with _parent(file) as parent:
        _look(file, parent)
        try:
            with open(os.devnull, "wb") if dry_run else staging.unnamed(parent, os.path.basename(file)) as stream:
                with _compression(file, stream) as archive:
                    yield archive
                if not dry_run:
                    os.fchmod(stream.fileno(), files.mode_with_umask(mode))
        except OSError as error:
            raise of_disk(file, "cannot be written", error) from error


@contextmanager
def _compression(file: str, stream: BinaryIO) -> Iterator[BinaryIO]:
    if file.endswith(".tar"):
        yield stream
        return
    archive = gzip.GzipFile("", "wb", _LEVEL, stream, mtime=0)
    with io.BufferedWriter(cast(io.RawIOBase, archive), _BUFFER) as buffered:
        yield buffered


@contextmanager
def _parent(file: str) -> Iterator[int]:
    """The directory of the file. For root: one in which nobody else can exchange names."""
    directory = os.path.dirname(os.path.abspath(file))
    try:
        root = os.geteuid() == 0
        parent = (
            safe_dirs.open_parent(file) if root else os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        )
    except NotPermitted as error:
        remedy = "name a file in a directory of root's, or write to standard output: -"
        raise NotPermitted(error.thing, error.cause, remedy) from None
    except OSError as error:
        raise EggcacheError(
            file, f"{directory}: {error.strerror}", "name a file in a directory that is there"
        ) from None
    with files.closing(parent):
        yield parent


def _look(file: str, parent: int) -> None:
    """Raise UsageError where something of that name is there that is no archive of eggcache's."""
    name = os.path.basename(file)
    with suppress(OSError):
        if not files.exists(name, parent):
            return
        with files.closing(os.open(name, safe_dirs.READ, dir_fd=parent)) as descriptor:
            info = os.fstat(descriptor)
            if stat.S_ISREG(info.st_mode) and (not info.st_size or _is_ours(descriptor)):
                return
    cause = "something else is there, which is no archive of eggcache's"
    raise UsageError(file, cause, "name another file, or remove it")


def _is_ours(descriptor: int) -> bool:
    """Whether a file begins as an archive does: with a directory that has the mark."""
    with suppress(OSError, tarfile.TarError, EOFError, zlib.error):
        with open(os.dup(descriptor), "rb") as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
            entry = archive.next()
        return entry is not None and entry.isdir() and entry.linkname == MARK
    return False
