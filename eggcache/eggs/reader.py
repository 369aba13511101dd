"""The structure of one zipped egg: the reader accepts what every zipimport reads alike, and refuses the rest.

An accepted egg reads byte for byte as the zipimport of CPython 2.7 to 3.13 reads it. These and `zipfile` disagree on
damaged and hostile archives. So every byte of the file has to belong to a shell header in front, to one member, to the
central directory or to its end record (section numbers: PKWARE's APPNOTE). No path is opened: the caller opens the egg
with the right account, and passes the descriptor.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NoReturn

from eggcache.eggs import decompression
from eggcache.eggs.decompression import PIECE, REBUILD, WINDOW, File
from eggcache.errors import EggAmbiguous, EggDamaged, EggRefused, EggTooLarge
from eggcache.model import DEFAULT_LIMITS, Limits, Member

_END = struct.Struct("<4s4H2LH")  # 4.3.16 end of central directory record
_CENTRAL = struct.Struct("<4s2xBx4H3L4H2x2L")  # 4.3.12 central directory header, what matters of it
_LOCAL = struct.Struct("<6x2H4x3LH2x")  # 4.3.7 local file header, likewise
_STREAMING, _UTF8, _FLAGS = 0x0008, 0x0800, 0x080E  # 4.4.4 general purpose bits; known with those of the deflate level
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075  # 4.5.2 extra fields: other sizes; another name, which newer zipfiles believe
_GOOD_NAME = re.compile(rb"(?![A-Za-z]:)(?:(?!\.\.?(?:/|\Z))[^\x00-\x1f\x7f\\/]{1,255}(?:/|\Z))+")

_INT, _SHORT = 0x7FFFFFFF, 0x7FFF  # 2.7 reads sizes and offsets, and lengths of extra fields and comments, as signed
_MANY = 0xFFFFFFFF  # where zip64's field has the number (4.4.1.4)
_CENTRAL_LIMIT = 64 << 20  # bytes; 65,535 entries with names of 200 bytes need 16 MiB
_HEADER_LIMIT = 1 << 20  # bytes in front of the first member; setuptools' own eggs have 378
_NAME_LIMIT = 4096 - 512  # bytes: PATH_MAX, less room for the directory that the member will be in
_DEPTH = 64  # directories in one name: what a few names ask for must not be out of proportion
_NO_BOMB = 16 << 20  # bytes that anything may unpack to, whatever the ratio
_NO_COMMENT = "truncated: its archive comment is cut off"
_OTHER_SIZE = "its local header has another CRC or size"
_BAD_NAME = "a name that is empty, absolute, too long, or with '.', '..', '//', a drive, backslash or control character"


@dataclass(frozen=True)
class Egg:
    """The structure of one zipped egg. Names are `os.fsdecode` of the zip's raw bytes, to be written as such."""

    path: str  # as the caller named it
    stat: os.stat_result  # of the descriptor, before anything was read
    members: tuple[Member, ...]  # files, in the order of the central directory; of equal duplicates the last
    directories: tuple[str, ...]  # explicit directory entries, "pkg/data/"
    unusual: tuple[str, ...]  # names outside ASCII: Python 2, Python 3 and locales disagree on them, so unzip the egg
    flagged: frozenset[str]  # those of them that the zip says are UTF-8
    prefix: int  # bytes in front that the zip's offsets do not count, where a header was put in front unadjusted
    starts: dict[int, int] = field(repr=False)  # Member.offset -> where in the file its packed bytes start
    file_lookups: tuple[str, ...] | None = None  # the answer of source_scan.file_lookups, if any yet
    contents: dict[int, bytes] | None = field(default=None, repr=False)  # the bytes of members, by offset


def chunks(descriptor: int, egg: Egg, member: Member) -> Iterator[bytes]:
    """The bytes of a `member` of the `egg` that is open at `descriptor`: see decompression.chunks.

    :param descriptor: the open file of the egg
    :param egg: its structure, as `read` has it
    :param member: an entry of the egg
    :returns: pieces of 4 MiB at most
    :raises EggRefused: the member is damaged; known at the last piece
    """
    return decompression.chunks(File(descriptor, egg.path, contents=egg.contents), member, egg.starts[member.offset])


def same_bytes(descriptor: int, source: int, egg: Egg, member: Member) -> bool:
    """Whether the file open at `descriptor` begins with all bytes of a `member`. The member is read to its end in any
    case.

    :param descriptor: a file to compare, open for reading
    :param source: the open file of the egg
    :param egg: the structure of the egg
    :param member: an entry of the egg
    :raises EggRefused: the member is damaged
    """
    equal, at = True, 0
    for piece in chunks(source, egg, member):
        equal = equal and os.pread(descriptor, len(piece), at) == piece
        at += len(piece)
    return equal


def data(descriptor: int, egg: Egg, member: Member) -> bytes:
    """All bytes of a `member` that is known to be small.

    :param descriptor: the open file of the egg
    :param egg: the structure of the egg
    :param member: an entry of the egg, known to be small
    :raises EggRefused: the member is damaged
    """
    return decompression.data(File(descriptor, egg.path), member, egg.starts[member.offset])


# An entry, file or directory: where its local header is in the file and its central one in the central directory, its
# raw name and its flags. A plain tuple, because an egg may have 20,000 of them.
_Entry = tuple[int, int, bytes, int, Member]


def read(descriptor: int, path: str, limits: Limits = DEFAULT_LIMITS) -> Egg:
    """The structure of the egg that is open at `descriptor`. Members are not inflated, except duplicates: `chunks` does
    that.

    :param descriptor: a file that is open for reading, at any position
    :param path: the name of the egg in messages
    :param limits: what an egg may ask for: entries, bytes, and bytes unpacked for each that is packed
    :raises EggRefused: it is damaged, hostile, above `limits`, or not read alike by all targets
    :raises EggcacheError: the disk fails
    """
    file = File(descriptor, path)
    status: os.stat_result = file.call(os.fstat)
    if not stat.S_ISREG(status.st_mode):
        file.refuse("not a regular file")
    count, at, size, prefix = _end(file, status.st_size)
    if count > limits.entries:
        _too_large(file, f"{count} entries, the limit is {limits.entries}", {"entries": count})
    central = file.read(at, size)
    entries = list(_entries(file, central, count, prefix))
    everything, limit = [entry[-1] for entry in entries], min(limits.member, _INT)
    for member in everything:
        if member.size > limit or (member.size > _NO_BOMB and member.size > limits.ratio * member.packed):
            allowance = _above(limits, "member", member.size, member.packed)
            _too_large(file, f"unpacks {member.packed} bytes to {member.size}, like a bomb", allowance, member.name)
    total = sum(member.size for member in everything)
    if total > limits.total or total > max(_NO_BOMB, limits.ratio * status.st_size):
        _too_large(file, f"unpacks to {total} bytes, like a bomb", _above(limits, "total", total, status.st_size))
    egg = _collect(file, everything, status, prefix, _starts(file, sorted(entries), central, at), limits.entries)
    if not egg.unusual:
        return egg
    return replace(egg, flagged=frozenset(member.name for *_, flags, member in entries if flags & _UTF8))


def _above(limits: Limits, name: str, size: int, packed: int) -> dict[str, int]:
    """The limits that would let in `packed` bytes that unpack to `size`: `name`, or the ratio, or both; none where none
    would."""
    if not packed or (name == "member" and size > _INT):
        return {}
    allowance = {name: size} if size > getattr(limits, name) else {}
    if size > max(_NO_BOMB, limits.ratio * packed):
        allowance["ratio"] = -(-size // packed)
    return allowance


def _too_large(file: File, fault: str, allowance: dict[str, int], member: str = "") -> NoReturn:
    """Refuse an egg that would be let in with the limits of `allowance`."""
    options = " ".join(f"--limit {name}={value}" for name, value in allowance.items())
    error = EggTooLarge(file.thing(member), fault, f"if you trust it: {options}" if options else REBUILD)
    error.limits = allowance
    raise error


def _end(file: File, size: int) -> tuple[int, int, int, int]:
    """The end record (4.3.16): number of entries, where the central directory starts, its size, and the prefix."""
    tail = file.read(max(size - 0xFFFF - _END.size, 0), 0xFFFF + _END.size)
    end, front = tail[-_END.size :], tail[: -_END.size]
    if len(end) < _END.size or not end.startswith(b"PK\5\6"):
        file.refuse(*_endless(file, tail))
    _, disk, first_disk, entries_here, count, length, offset, comment = _END.unpack(end)
    at = size - _END.size - length
    fault = (
        (size > _INT and "2 GiB or more, which Python 2.7 does not read")
        or (comment and _NO_COMMENT)
        or (b"PK\5\6" in end[1:] and "two end records")  # 3.13 takes the last signature that it finds
        or (front[-76:].startswith(b"PK\6\6") and "zip64, which Python 2.7 to 3.12 do not read")  # its end record
        or (front[-20:].startswith(b"PK\6\7") and "zip64, which Python 2.7 to 3.12 do not read")  # and its locator
        or (_MANY in (length, offset) and "zip64, and its end record is missing")
        or ((disk or first_disk or entries_here != count) and "part of an archive on several disks")
        or (at < offset and "the central directory is not where the end record says")
        or (length > _CENTRAL_LIMIT and f"a central directory of {length} bytes")
    )
    if fault:
        file.refuse(fault, kind=EggDamaged if fault is _NO_COMMENT else EggAmbiguous)
    return count, at, length, at - offset


def _endless(file: File, tail: bytes) -> tuple[str, str, type[EggRefused]]:
    """Why the last bytes of the file, `tail`, do not end with an end record: the fault, of no member, and its kind."""
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        begins = file.read(0, 4) == b"PK\3\4"
        if begins:
            return "truncated: it begins as a zip file, and its end is missing", "", EggDamaged
        return "not a zip file" if tail else "not a zip file: it is empty", "", EggDamaged
    surplus = len(tail) - at - _END.size
    if surplus < 0:
        return "truncated: its end record is cut off", "", EggDamaged
    comment: int = _END.unpack_from(tail, at)[-1]
    if surplus == comment:
        return "an archive comment, which Python 2.7 to 3.7 do not read", "", EggAmbiguous
    if surplus < comment:
        return _NO_COMMENT, "", EggDamaged
    return "bytes after the end record", "", EggAmbiguous


def _entries(file: File, central: bytes, count: int, prefix: int) -> Iterator[_Entry]:
    """The entries of the central directory (4.3.12), which must fill it: 2.7 reads on until a signature is wrong."""
    at = 0
    for _ in range(count):
        if not central.startswith(b"PK\1\2", at) or at + _CENTRAL.size > len(central):
            file.refuse("the central directory has fewer entries than the end record counts")
        (_, floor, flags, method, time, date, crc, packed, size, name_size, extra_size, comment_size, disk, attributes,
         offset) = _CENTRAL.unpack_from(central, at)  # fmt: skip
        name_at, name_end = at + _CENTRAL.size, at + _CENTRAL.size + name_size
        raw = central[name_at:name_end]
        directory = raw.endswith(b"/")
        fault = (
            (not _GOOD_NAME.fullmatch(raw) and _BAD_NAME)
            or (name_size > _NAME_LIMIT and f"a name of {name_size} bytes")
            or (raw.count(b"/") > _DEPTH and "too many directories in one name")
            or (flags & 1 and "encrypted")
            or (flags & ~_FLAGS and f"flags {flags:#06x}, which zipimport ignores")
            or (method not in (0, 8) and f"compression method {method}")
            or (not method and packed != size and "stored, but its packed size is not its size")
            or (floor > 63 and "needs a newer version of the format than zipfile reads")
            or (disk and "on another disk")
            or (attributes >> 28 not in ((0, 4, 8) if directory else (0, 8)) and "a link, a device or the like")
            or (directory and (packed or crc) and "a directory entry with data")
            or (flags & _UTF8 and "\ufffd" in raw.decode(errors="replace") and "a name that is not the UTF-8 it claims")
            or (extra_size and _bad_extra(central[name_end : name_end + extra_size], extra_size))
            or (_MANY in (packed, size, offset) and "zip64, without its field")
            or (comment_size > _SHORT and "a comment of a length that Python 2.7 reads as negative")
        )
        if fault:
            file.refuse(fault, raw)
        offset += prefix
        name = raw.decode() if raw.isascii() else os.fsdecode(raw)
        yield offset, at, raw, flags, Member(name, size, packed, method, crc, offset, _date_time(date, time))
        at = name_end + extra_size + comment_size
    if at != len(central):
        file.refuse("the entries that the end record counts do not fill the central directory")


@lru_cache(maxsize=4096)  # members of one egg were mostly written together
def _date_time(date: int, time: int) -> tuple[int, int, int, int, int, int]:
    return (date >> 9) + 1980, date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2


def _bad_extra(extra: bytes, size: int) -> str:
    """Why pkg_resources, which reads names and sizes by zipfile, could see another entry or fail (4.5)."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind in (_ZIP64, _UNICODE_PATH):
            return "zip64" if kind == _ZIP64 else "an extra field with another name"
        at += 4 + length
    return "a damaged extra field" if at != size or size > _SHORT else ""


def _starts(file: File, entries: list[_Entry], central: bytes, end: int) -> dict[int, int]:
    """Where the packed bytes of each entry start, by its offset: that only the local header knows (4.3.7).

    From first to last they must follow each other without a gap up to `end`, and each local header must repeat the
    central one: a reader that goes by local headers would see another egg.
    """
    starts: dict[int, int] = {}
    position = entries[0][0] if entries else end
    if position > _HEADER_LIMIT or b"PK\3\4" in file.read(0, position):
        file.refuse("more than a shell header in front of its first listed member")
    window, base = b"", 0
    for offset, record, raw, flags, member in entries:
        if offset != position:
            file.refuse("overlaps another member" if offset < position else "unlisted bytes in front of it", raw)
        at = offset - base
        if at + 30 + len(raw) > len(window):
            window, base, at = file.read(offset, WINDOW), offset, 0
        if not window.startswith(b"PK\3\4", at) or not window.startswith(raw, at + 30):
            file.refuse("its local header is not there or has another name", raw)
        # both headers have the same 24 bytes, from the version needed to the length of the name
        if window[at + 4 : at + 28] != central[record + 6 : record + 30]:
            _compare_headers(file, window[at : at + 30], raw, flags, member)
        extra = window[at + 28] | window[at + 29] << 8
        if extra > _SHORT:
            file.refuse("an extra field of a length that Python 2.7 reads as negative", raw)
        starts[offset] = start = offset + 30 + len(raw) + extra
        position = start + member.packed
        if flags & _STREAMING:
            position += _descriptor(file, position, raw, member)
    if position != end:
        file.refuse("overlaps the central directory" if position > end else "unlisted bytes after it", entries[-1][2])
    return starts


def _compare_headers(file: File, header: bytes, raw: bytes, flags: int, member: Member) -> None:
    """Refuse a local header that differs in more than version and date, and in what streaming leaves open."""
    *kind, crc, packed, size, name_size = _LOCAL.unpack(header)
    if (*kind, name_size) != (flags, member.method, len(raw)):
        file.refuse("its local header has other flags, another method or another name", raw)
    allowed = [(member.crc, member.packed, member.size), *([(0, 0, 0)] if flags & _STREAMING else [])]
    if (crc, packed, size) not in allowed:
        file.refuse("zip64 in its local header" if _MANY in (packed, size) else _OTHER_SIZE, raw)


def _descriptor(file: File, at: int, raw: bytes, member: Member) -> int:
    """The length of the data descriptor at `at` (4.3.9), whose signature is optional."""
    fields = struct.pack("<3L", member.crc, member.packed, member.size)
    record = file.read(at, 16)
    if record != b"PK\7\x08" + fields and not record.startswith(fields):
        large = struct.pack("<L2Q", member.crc, member.packed, member.size)
        zip64 = file.read(at, 24).startswith((large, b"PK\7\x08" + large))
        file.refuse("zip64 in its data descriptor" if zip64 else "its data descriptor is missing or wrong", raw)
    return 16 if record.startswith(b"PK\7\x08") else 12


def _collect(
    file: File, entries: list[Member], status: os.stat_result, prefix: int, starts: dict[int, int], limit: int
) -> Egg:
    """The egg of these entries; refused where a file is a directory too, a duplicate has other bytes, or they are in
    more than `limit` directories, listed or not: each of them would be made."""
    members: dict[str, Member] = {}
    directories: dict[str, None] = {}
    doubles: list[tuple[Member, Member]] = []
    parents: set[str] = set()
    for member in entries:
        name = member.name
        cut = name.rfind("/")
        while cut > 0 and name[:cut] not in parents:
            parents.add(name[:cut])
            cut = name.rfind("/", 0, cut)
        if len(parents) > limit:
            allowance = {"entries": DEFAULT_LIMITS.entries} if limit < DEFAULT_LIMITS.entries else {}
            _too_large(file, f"more than {limit} directories", allowance)
        if name.endswith("/"):
            directories[name] = None
            continue
        double = members.pop(name, None)  # so that the last one takes its own place in the order
        if double:
            doubles.append((double, member))
        members[name] = member
    for name in members.keys() & parents:
        file.refuse("both a file and a directory", name)
    unusual = tuple(name for name in (*members, *directories) if not name.isascii())
    egg = Egg(file.path, status, tuple(members.values()), tuple(directories), unusual, frozenset(), prefix, starts)
    for first, last in doubles:
        if last.size > PIECE or decompression.data(file, first, starts[first.offset]) != decompression.data(
            file, last, starts[last.offset]
        ):
            file.refuse("twice in the egg, with different bytes or too large to compare", last.name)
    return egg
