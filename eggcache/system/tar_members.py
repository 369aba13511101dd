"""A tar archive on its way to a stream, in one pass and with nothing of it kept.

The format is GNU's, which GNU tar 1.15 (of 2004), busybox and libarchive read alike: names of any length and of any
bytes, and numbers of any size. The headers are those of the standard library's tarfile to the byte, which takes 16
microseconds for each, most of an archive's time. Its TarFile keeps a record of each entry until the end, and asks the
stream for its position, which a pipe has not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from typing import BinaryIO

from eggcache.model import Ownership

_BLOCK, _RECORD = 512, 10240  # bytes: of tar's units, and of what GNU tar writes at once

# Header fields (POSIX ustar; GNU's magic, and its entry that has the name of the next one)
_NAME, _NUMBER, _LARGE = 100, 8, 12  # bytes of a name, of a mode or an owner, of a size or a time
_MAGIC = b"ustar  \0"
_FILE, _DIRECTORY, _LONG = b"0", b"5", b"L"
_CHECKSUM = sum(b" " * 8)  # what the field of the checksum itself counts
_LONG_NAME = b"././@LongLink"


class Tar:
    """An archive that is written to `stream`. Owners are numbers alone: the host that extracts it may have other names
    for them. It is complete after `end`; tar says of one that ends before that it is cut off."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._size = 0

    def directory(self, name: str, mtime: int, ownership: Ownership, mark: str = "") -> None:
        """Add a directory. For `name`, `mtime` and `ownership` see `file`; what reads an archive may know it by the
        `mark`, which stands where a link has its target, and of which no tar takes notice."""
        mode, owner = ownership.directory_mode, (ownership.uid, ownership.gid)
        self._write(_header(_relative(name) + b"/", 0, mtime, mode, owner, _DIRECTORY, mark.encode("ascii")))

    def file(self, name: str, size: int, pieces: Iterable[bytes], mtime: int, ownership: Ownership) -> None:
        """Add a regular file. Raises what the stream and the `pieces` raise; the archive has no use then.

        :param name: as os.fsdecode has it; a leading slash is dropped, as tar does
        :param size: the bytes of all `pieces`
        :param mtime: seconds since the epoch
        :param ownership: whose it is, and its mode
        """
        self._write(_header(_relative(name), size, mtime, ownership.file_mode, (ownership.uid, ownership.gid), _FILE))
        total = 0
        for piece in pieces:
            self._write(piece)
            total += len(piece)
        if total != size:
            raise ValueError(f"{name}: {total} bytes in place of {size}")
        self._pad(_BLOCK)

    def end(self) -> None:
        """Write the end of the archive (POSIX: two blocks of zeros; GNU tar fills the record)."""
        self._write(bytes(2 * _BLOCK))
        self._pad(_RECORD)

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._size += len(data)

    def _pad(self, unit: int) -> None:
        if self._size % unit:
            self._write(bytes(unit - self._size % unit))


def _relative(name: str) -> bytes:
    return os.fsencode(name.lstrip("/"))


def _header(
    name: bytes, size: int, mtime: int, mode: int, owner: tuple[int, int], kind: bytes, mark: bytes = b""
) -> bytes:
    """The header of an entry, behind another entry with its name where that is a long one."""
    beginning = (
        name[:_NAME].ljust(_NAME, b"\0") + _rights(mode, *owner) + _number(size, _LARGE) + _number(mtime, _LARGE)
    )
    rest = kind + mark.ljust(_NAME, b"\0") + _MAGIC
    header = beginning + b"%06o\0 " % (sum(beginning) + _CHECKSUM + sum(rest)) + rest
    return _long(name) + header.ljust(_BLOCK, b"\0")


def _long(name: bytes) -> bytes:
    if len(name) <= _NAME:
        return b""
    data = name + b"\0"
    return _header(_LONG_NAME, len(data), 0, 0, (0, 0), _LONG) + data.ljust(-(-len(data) // _BLOCK) * _BLOCK, b"\0")


@lru_cache(maxsize=64)
def _rights(mode: int, uid: int, gid: int) -> bytes:
    return _number(mode, _NUMBER) + _number(uid, _NUMBER) + _number(gid, _NUMBER)


def _number(value: int, size: int) -> bytes:
    """A number in octal digits; one that needs more than there are in GNU's way, of which the first bit tells."""
    if 0 <= value < 8 ** (size - 1):
        return b"%0*o\0" % (size - 1, value)
    return value.to_bytes(size, "big", signed=True) if value < 0 else (value | 1 << 8 * size - 1).to_bytes(size, "big")
