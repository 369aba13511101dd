"""The bytes of one member of an egg: exactly those that its entry declares, or the egg is refused."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from eggcache.errors import EggAmbiguous, EggcacheError, EggDamaged, EggRefused, one_line
from eggcache.model import Member

try:  # the extra "fast": as strict as zlib, which isal is not
    from zlib_ng.zlib_ng import crc32, decompressobj
    from zlib_ng.zlib_ng import error as inflate_error
except ImportError:
    from zlib import crc32, decompressobj
    from zlib import error as inflate_error

WINDOW = 256 << 10  # bytes: what to read at once where most that is asked for is small
PIECE = 4 << 20  # bytes; what is smaller, packed and unpacked, is read and inflated in one go
REBUILD = "build or download the egg again"


class File:
    """The open descriptor of an egg, and its errors. A file that is read from first to last is read `reach` bytes at
    once, so that small members share a system call. `contents`: the bytes of members, where read before, by offset."""

    def __init__(self, descriptor: int, path: str, reach: int = 0, contents: Mapping[int, bytes] | None = None) -> None:
        self.descriptor, self.path, self.reach, self.contents = descriptor, path, reach, contents or {}
        self._window, self._start = b"", 0  # what was read last, and where that starts

    def call(self, function: Callable[..., Any], *arguments: int) -> Any:
        """What `function` returns for the descriptor and these `arguments`. Raises EggcacheError where the disk
        fails."""
        try:
            return function(self.descriptor, *arguments)
        except OSError as error:
            raise EggcacheError(label(self.path), f"cannot be read: {error.strerror}", "check the disk") from error

    def read(self, at: int, size: int) -> bytes:
        """`size` bytes from position `at`; fewer only at the end of the file."""
        data: bytes = self.call(os.pread, size, at)
        while len(data) < size and (piece := self.call(os.pread, size - len(data), at + len(data))):
            data += piece
        return data

    def near(self, at: int, size: int) -> bytes:
        """`size` bytes from position `at`, as `read` has them; from what was read last where that has them."""
        start = at - self._start
        if start < 0 or start + size > len(self._window):
            if 2 * size >= self.reach:
                return self.read(at, size)
            self._window, self._start, start = self.read(at, self.reach), at, 0
        return self._window[start : start + size]

    def thing(self, member: str | bytes = "") -> str:
        """The thing that an error is about: this egg, or the `member` of it with that name."""
        name = label(os.fsdecode(member))
        return label(self.path) + (f", member {name}" if name else "")

    def refuse(self, fault: object, member: str | bytes = "", kind: type[EggRefused] = EggAmbiguous) -> NoReturn:
        """Raise the error of that `kind` for the `fault` of this egg, or of its member with the name `member`."""
        raise kind(self.thing(member), str(fault), REBUILD)


def chunks(file: File, member: Member, start: int) -> Iterator[bytes]:
    """The bytes of `member`, whose packed bytes begin at `start`: one piece for a small member, else pieces of 4 MiB at
    most.

    Raises EggRefused, at the latest after the last piece, unless the bytes have exactly the declared size and CRC and,
    deflated, end exactly where the packed bytes end: so stage what you write. The caller compares whether the file is
    still the same.
    """
    if small(member):
        whole = data(file, member, start)
        if whole:
            yield whole
        return
    packed = _pieces(file, member, start)
    size = crc = 0
    for piece in _inflation(file, member, packed) if member.method else packed:
        size += len(piece)
        if size > member.size:
            break
        crc = crc32(piece, crc)
        yield piece
    _judge(file, member, size, crc)


def small(member: Member) -> bool:
    """Whether `data` reads the member in one go.

    :param member: an entry of an egg
    """
    return member.packed <= PIECE and member.size <= PIECE


def data(file: File, member: Member, start: int) -> bytes:
    """All the bytes of a `member` that is known to be small. Raises as `chunks` does.

    :param file: the egg, open
    :param member: an entry of it
    :param start: where its packed bytes begin, in bytes from the start of the file
    """
    if member.offset in file.contents:
        return file.contents[member.offset]
    if not small(member):
        return b"".join(chunks(file, member, start))
    content = file.near(start, member.packed)
    if len(content) < member.packed:
        file.refuse("the file was cut off inside it", member.name, EggDamaged)
    if member.method:
        inflater = decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflater.decompress(content, member.size + 1)  # one more, so that a longer one shows
        except inflate_error as error:
            file.refuse(f"damaged: {error}", member.name, EggDamaged)
        if len(content) <= member.size and (not inflater.eof or inflater.unused_data):
            file.refuse("its deflated data ends before its packed bytes, or not at all", member.name, EggDamaged)
    _judge(file, member, len(content), crc32(content))
    return content


def _judge(file: File, member: Member, size: int, crc: int) -> None:
    if size != member.size:
        file.refuse(f"not of the {member.size} bytes that it declares", member.name, EggDamaged)
    if crc != member.crc:
        file.refuse(f"its CRC is {crc:08x}, it declares {member.crc:08x}", member.name, EggDamaged)


def _pieces(file: File, member: Member, position: int) -> Iterator[bytes]:
    end = position + member.packed
    while position < end:
        piece = file.read(position, min(PIECE, end - position))
        if not piece:
            file.refuse("the file was cut off inside it", member.name, EggDamaged)
        position += len(piece)
        yield piece


def _inflation(file: File, member: Member, packed: Iterator[bytes]) -> Iterator[bytes]:
    inflater = decompressobj(-zlib.MAX_WBITS)
    limit = min(PIECE, member.size + 1)  # one more than declared, so that a longer one shows; 0 would be "no limit"
    for piece in packed:
        if inflater.eof:  # here, because zlib would collect them all
            file.refuse("bytes after the end of its deflated data", member.name, EggDamaged)
        output = b""
        while piece or len(output) == limit:
            try:
                output = inflater.decompress(piece, limit)
            except inflate_error as error:
                file.refuse(f"damaged: {error}", member.name, EggDamaged)
            piece = inflater.unconsumed_tail
            if output:
                yield output
    if not inflater.eof or inflater.unused_data:
        file.refuse("its deflated data ends before its packed bytes, or not at all", member.name, EggDamaged)


def label(name: str) -> str:
    """A name from a zip, or from a target's answer, printable and short enough for a message.

    :param name: the name as it came, with any bytes in it
    :returns: one line of 300 characters at most, or a little more
    """
    text = one_line(name)
    return text if len(text) <= 300 else f"{text[:140]}...{text[-140:]}"
