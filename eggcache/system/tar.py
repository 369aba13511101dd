"""A tar archive on its way to a stream, in one pass and with nothing of it kept.

The format is GNU's, which GNU tar 1.15 (of 2004), busybox and libarchive read alike: names of any length and of any
bytes, and numbers of any size. The headers are those of the standard library's tarfile. Its TarFile keeps a record of
each entry until the end, and asks the stream for its position, which a pipe has not.
"""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterable
from typing import BinaryIO

from eggcache.model import Ownership

_BLOCK, _RECORD = 512, 10240  # bytes: of tar's units, and of what GNU tar writes at once


class Tar:
    """An archive that is written to `stream`. Owners are numbers alone: the host that extracts it may have other names
    for them. It is complete after `end`; tar says of one that ends before that it is cut off."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._size = 0

    def directory(self, name: str, mtime: int, ownership: Ownership, mark: str = "") -> None:
        """Add a directory. For `name` and `mtime` see `file`; what reads an archive may know it by the `mark`, which
        stands where a link has its target, and of which no tar takes notice."""
        self._header(name, 0, mtime, ownership, tarfile.DIRTYPE, mark)

    def file(self, name: str, size: int, pieces: Iterable[bytes], mtime: int, ownership: Ownership) -> None:
        """Add a regular file. Raises what the stream and the `pieces` raise; the archive has no use then.

        :param name: as os.fsdecode has it; a leading slash is dropped, as tar does
        :param size: the bytes of all `pieces`
        :param mtime: seconds since the epoch
        :param ownership: whose it is, and its mode
        """
        self._header(name, size, mtime, ownership, tarfile.REGTYPE)
        written = 0
        for piece in pieces:
            self._write(piece)
            written += len(piece)
        if written != size:
            raise ValueError(f"{name}: {written} bytes in place of {size}")
        self._pad(_BLOCK)

    def end(self) -> None:
        """Write the end of the archive (POSIX: two blocks of zeros; GNU tar fills the record)."""
        self._write(bytes(2 * _BLOCK))
        self._pad(_RECORD)

    def _header(self, name: str, size: int, mtime: int, ownership: Ownership, kind: bytes, mark: str = "") -> None:
        header = tarfile.TarInfo(name.lstrip("/"))
        header.type, header.size, header.mtime = kind, size, mtime
        header.linkname = mark
        header.uid, header.gid = ownership.uid, ownership.gid
        header.mode = ownership.directory_mode if kind == tarfile.DIRTYPE else ownership.file_mode
        self._write(header.tobuf(tarfile.GNU_FORMAT, sys.getfilesystemencoding(), "surrogateescape"))

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._size += len(data)

    def _pad(self, unit: int) -> None:
        if self._size % unit:
            self._write(bytes(unit - self._size % unit))
