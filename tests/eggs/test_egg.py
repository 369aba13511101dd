"""Every archive is judged twice: by eggcache.eggs.reader, and by the zipimport of every target."""

from __future__ import annotations

import bz2
import errno
import hashlib
import os
import pickle
import random
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from support.zips import VERSIONS, Entry, Zipimport, archive, deflate

from eggcache.eggs import reader as eggs
from eggcache.errors import EggAmbiguous, EggcacheError, EggDamaged, EggRefused, EggTooLarge

TEXT = b"import this\n" * 40
PLAIN = Entry(b"pkg/a.py", TEXT)
OTHER = Entry(b"pkg/data.bin", bytes(range(256)), 0)
SHELL = b'#!/bin/sh\nexec python -c "import sys" "$@"\nexit 1\n'


def with_ab(**changes: Any) -> bytes:
    """An archive whose entry pkg/x.py is odd, between two that are not."""
    name, data = changes.pop("name", b"pkg/x.py"), changes.pop("data", TEXT)
    return archive(PLAIN, Entry(name, data, **changes), OTHER)


@dataclass(frozen=True)
class Case:
    """An archive, and why it has to be refused (part of the cause) naming which member (part of the thing)."""

    id: str
    data: bytes
    refused: str | None = None
    member: str = ""


def refused(id_: str, cause: str, member: str = "", whole: bytes | None = None, **changes: Any) -> Case:
    return Case(id_, with_ab(**changes) if whole is None else whole, cause, member)


def x(id_: str, cause: str, **changes: Any) -> Case:
    return refused(id_, cause, "pkg/x.py", **changes)


def named(id_: str, name: bytes, shown: str, cause: str = "a name that", **changes: Any) -> Case:
    return refused(id_, cause, shown, name=name, **changes)


def attributes(mode: int) -> dict[str, Any]:
    return {"central": {"attributes": mode << 16}}


def zip64_end(offset: int, length: int, count: int) -> bytes:
    record = b"PK\6\6" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, count, count, length, offset)
    return record + b"PK\6\7" + struct.pack("<LQL", 0, offset + length, 1)


def hidden_in_comment(upto: int = 76) -> bytes:
    """zip64's end records in the comment of the last entry, or just one: 3.13 believes the first, zipfile the other."""
    plain = archive(PLAIN)
    start = plain.index(b"PK\1\2")
    records = zip64_end(start, len(plain) - 22 - start, 1)
    comment = records[:upto].ljust(76, b"\0") if upto > 0 else records[56:].rjust(76, b"\0")
    return archive(Entry(PLAIN.name, TEXT, central={"comment": comment}))


class Pipe(BytesIO):
    """What cannot go back, so that zipfile puts sizes behind the data."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError


def as_streamed() -> bytes:
    """What zipfile writes into a pipe where it cannot know that a member stays small."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as made, made.open(zipfile.ZipInfo("pkg/a.py"), "w", force_zip64=True) as member:
        member.write(TEXT)
    return pipe.getvalue()


def two_ends() -> bytes:
    """The size of the central directory looks like the signature of an end record to a search from behind."""
    whole = archive(PLAIN)
    return whole[:-10] + b"PK\5\6" + whole[-6:]


def quoted_overlap() -> bytes:
    """One member is stored inside another, and both are listed."""
    quoted = archive(Entry(b"pkg/b", TEXT))
    quoted = quoted[: quoted.index(b"PK\1\2")]
    return archive(Entry(b"pkg/a", quoted, 0), Entry(b"pkg/b", TEXT, central={"offset": 30 + len("pkg/a")}))


BOMB = deflate(bytes(20 << 20))
FULL = archive(PLAIN, OTHER)
START = FULL.index(b"PK\1\2")
LOCAL = FULL[:START]
SIGNED = archive(
    PLAIN, central_tail=b"PK\5\5\0\0", end={"length": len(archive(PLAIN)) - 22 - archive(PLAIN).index(b"PK\1\2") + 6}
)
LENIENT = b"\naca\nedecaea\nd\nb\ndee\neb", bytes.fromhex("05c1310100000cc2b0bf2e19d4bf8565a4c1d918c631c57b")
ZIP64_END = zip64_end(START, len(FULL) - 22 - START, 2)
DESCRIPTOR = PLAIN.streamed().descriptor
SYNCED = b"\0\0\0\xff\xff"  # an empty stored block that is not the last one
EXTRA = struct.pack("<2H", 0x5455, 5) + bytes(5)
ZIP64_EXTRA = struct.pack("<2H2Q", 1, 16, len(TEXT), len(deflate(TEXT)))
UNICODE = struct.pack("<2HBL", 0x7075, 5 + 8, 1, zlib.crc32(b"pkg/x.py")) + b"pkg/y.py"

LARGE = bytes(5 << 20)  # more than is inflated in one go

REFUSED = [
    # sizes, and where data ends
    x("size declared short", "not of the 7 bytes", both={"size": 7}),
    x("stored with another packed size", "stored, but", data=b"12345678901234", method=0, both={"size": 7}),
    x("size declared too big", "not of the 9999 bytes", both={"size": 9999}),
    x("deflated without a final block", "or not at all", packed=deflate(TEXT)[:-3]),
    x("deflated, synchronised, without an end", "or not at all", packed=SYNCED),
    x("junk after the deflated end", "ends before its packed bytes", packed=deflate(TEXT) + b"junk"),
    x("no deflated data at all", "or not at all", data=b"", packed=b""),
    x("deflated data is damaged", "damaged", packed=b"\xff\xff\xff\xff"),
    x("large, damaged inside", "damaged", data=LARGE, packed=deflate(LARGE)[:2000] + b"\xff" * 100),
    x("large, without its end", "or not at all", data=LARGE, packed=deflate(LARGE)[:-9]),
    x("bad CRC", "its CRC is", both={"crc": 1}),
    x("bad CRC, stored", "its CRC is", method=0, both={"crc": 1}),
    x("deflated as isal reads and zlib does not", "invalid distances set", data=LENIENT[0], packed=LENIENT[1]),
    # flags and methods
    x("encrypted flag on plain data", "encrypted", both={"flags": 1}),
    x("strong encryption", "flags 0x0040", both={"flags": 0x40}),
    x("masked headers", "flags 0x2000", both={"flags": 0x2000}),
    x("patched data", "flags 0x0020", both={"flags": 0x20}),
    *(x(f"method {method} over deflate", f"method {method}", both={"method": method}) for method in (1, 9, 97, 99)),
    x("bzip2", "compression method 12", method=12, packed=bz2.compress(TEXT)),
    x("lzma", "compression method 14", method=14),
    x("newer version of the format", "newer version", both={"needed": 64}),
    # names
    named("NUL in a name", b"pkg/x.py\0.txt", r"pkg/x.py\x00.txt"),
    named("newline in a name", b"pkg/x\n.py", r"pkg/x\n.py"),
    named("carriage return in a name", b"Icon\r", r"Icon\r"),
    named("escape in a name", b"\x1b[2Jx", r"\x1b[2Jx"),
    named("delete in a name", b"x\x7f", r"x\x7f"),
    named("backslash", b"pkg\\x.py", "pkg\\x.py"),
    named("absolute", b"/etc/passwd", "/etc/passwd"),
    named("parent", b"../x.py", "../x.py"),
    named("parent inside", b"pkg/../../x.py", "pkg/../../x.py"),
    named("parent at the end", b"pkg/..", "pkg/.."),
    named("dot in front", b"./x.py", "./x.py"),
    named("dot inside", b"pkg/./x.py", "pkg/./x.py"),
    named("dot alone", b".", "."),
    named("double slash", b"pkg//x.py", "pkg//x.py"),
    named("double slash in front", b"//x.py", "//x.py"),
    named("slash alone", b"/", "/", data=b"", method=0),
    named("drive", b"C:x.py", "C:x.py"),
    named("drive and directory", b"c:/x.py", "c:/x.py"),
    refused("empty name", "a name that", "", name=b""),
    named("component of 256 bytes", b"n" * 256, "nnn"),
    named("path of 4,000 bytes", b"/".join([b"d" * 99] * 40), "ddd", "a name of 3999 bytes"),
    named("65 directories", b"d/" * 65 + b"x.py", "d/d/", "too many directories"),
    named("65 directories, listed", b"d/" * 65, "d/d/", "too many directories", data=b"", method=0),
    named("invalid UTF-8 with the flag", b"pkg/\xff.py", r"pkg/\udcff.py", "not the UTF-8", both={"flags": 0x800}),
    named("surrogate in UTF-8 with the flag", b"pkg/\xed\xa0\x80", "pkg/", "not the UTF-8", both={"flags": 0x800}),
    refused("file and directory", "both a file and a directory", "pkg", name=b"pkg"),
    refused("file and what is below it", "both a file and a directory", "pkg/a.py", name=b"pkg/a.py/x"),
    refused(
        "file and explicit directory", "both a file and a directory", "pkg/a.py", name=b"pkg/a.py/", data=b"", method=0
    ),
    refused("duplicates with other bytes", "twice", "pkg/a.py", name=b"pkg/a.py", data=b"another"),
    refused("duplicates with other bytes, same size", "twice", "pkg/a.py", name=b"pkg/a.py", data=TEXT.upper()),
    # what is no file
    x("symlink", "a link, a device", data=b"/etc/passwd", **attributes(stat.S_IFLNK | 0o777)),
    x("FIFO", "a link, a device", **attributes(stat.S_IFIFO | 0o644)),
    x("character device", "a link, a device", **attributes(stat.S_IFCHR | 0o644)),
    x("block device", "a link, a device", **attributes(stat.S_IFBLK | 0o644)),
    x("socket", "a link, a device", **attributes(stat.S_IFSOCK | 0o644)),
    x("directory by its mode, file by its name", "a link, a device", **attributes(stat.S_IFDIR | 0o755)),
    named("directory that is a symlink", b"pkg/d/", "pkg/d/", "a link", data=b"", **attributes(stat.S_IFLNK | 0o777)),
    named("directory entry with data", b"pkg/d/", "pkg/d/", "with data", method=0),
    named("directory entry with a CRC", b"d/", "d/", "with data", data=b"", method=0, both={"crc": 1}),
    named("directory entry with packed data", b"pkg/d/", "pkg/d/", "with data", data=b"", packed=b"\3\0"),
    # local header and central directory
    x("local name differs", "has another name", local={"name": b"pkg/y.py"}),
    x("local name is longer", "another name", local={"name": b"pkg/x.pyc"}),
    x("local method differs", "another method", local={"method": 0}),
    x("local CRC differs", "another CRC or size", local={"crc": 7}),
    x("local packed size differs", "another CRC or size", local={"packed": 7}),
    x("local size differs", "another CRC or size", local={"size": 7}),
    x("local flags differ", "other flags", local={"flags": 0x800}),
    x("local signature wrong", "not there", local={"signature": b"PK\3\5"}),
    x("local header without sizes, not streamed", "another CRC", local={"crc": 0, "packed": 0, "size": 0}),
    x("descriptor missing", "descriptor is missing", both={"flags": 8}),
    x("descriptor wrong", "missing or wrong", both={"flags": 8}, descriptor=DESCRIPTOR[:-4] + bytes(4)),
    refused("descriptor without its flag", "unlisted bytes in front", "pkg/data.bin", descriptor=DESCRIPTOR),
    x("overlap", "overlaps another member", central={"offset": 40}),
    refused(
        "one local header twice",
        "overlaps",
        "pkg/a.py",
        archive(PLAIN, Entry(b"pkg/a.py", TEXT, central={"offset": 0})),
    ),
    refused("quoted overlap", "overlaps", "pkg/b", quoted_overlap()),
    x("hidden local entry", "unlisted bytes", gap=LOCAL),
    x("gap", "unlisted bytes in front", gap=b"gap"),
    refused(
        "gap before the central directory", "unlisted bytes", "", archive(PLAIN, Entry(b"x", b"y", descriptor=b"gap"))
    ),
    refused(
        "directory overlapped",
        "overlaps the central",
        "x",
        archive(Entry(b"x", b"y", 0, both={"packed": 9, "size": 9})),
    ),
    refused("hidden local entry in front", "shell header", "", LOCAL + FULL),
    refused("a megabyte in front", "shell header", "", archive(PLAIN, prefix=SHELL + b"\n" * (1 << 20))),
    x("extra field damaged", "damaged extra", central={"extra": EXTRA[:-1]}),
    x("extra field of one byte", "damaged extra", central={"extra": b"\0"}),
    x("extra field with another name", "another name", central={"extra": UNICODE}),
    x("extra field above 32767", "damaged extra", central={"extra": struct.pack("<2H", 0xCAFE, 40000) + bytes(40000)}),
    x("local extra field above 32767", "negative", local={"extra": struct.pack("<2H", 9, 40000) + bytes(40000)}),
    x("comment above 32767", "negative", central={"comment": bytes(40000)}),
    x("entry on another disk", "another disk", central={"disk": 1}),
    # the end record
    refused("count too low", "fill the central", "", archive(PLAIN, OTHER, end={"count": 1, "here": 1})),
    refused("count too high", "fewer entries", "", archive(PLAIN, OTHER, end={"count": 3, "here": 3})),
    refused("digital signature after the entries", "fill the central", "", SIGNED),
    refused("last entry cut short", "fewer entries", "", archive(PLAIN, end={"length": 40})),
    refused("last name cut short", "fill the central", "", archive(Entry(b"x", central={"name_size": 9}))),
    refused("multi-disk", "several disks", "", archive(PLAIN, end={"disk": 1, "first_disk": 1})),
    refused("entries on this disk", "several disks", "", archive(PLAIN, OTHER, end={"here": 1})),
    refused("two end records", "two end records", "", two_ends()),
    refused("directory before the file", "not where", "", archive(PLAIN, end={"offset": 9999})),
    refused("archive comment", "archive comment", "", archive(PLAIN, end={"comment_size": 5}, tail=b"hello")),
    refused("archive comment, cut off", "archive comment is cut off", "", archive(PLAIN, end={"comment_size": 5})),
    refused(
        "end record in the comment of another",
        "shell header",
        "",
        archive(PLAIN, OTHER, end={"comment_size": 22}, tail=archive()),
    ),
    refused("trailing bytes", "bytes after the end record", "", FULL + b"\0"),
    refused("another archive behind, empty", "fill the central", "", FULL + archive(end={"length": 22})),
    # zip64
    refused("zip64 records", "zip64", "", FULL[:-22] + ZIP64_END + FULL[-22:]),
    refused("zip64 records in a comment", "zip64", "", hidden_in_comment()),
    refused("zip64 record without its locator", "zip64", "", hidden_in_comment(56)),
    refused("zip64 locator without its record", "zip64", "", hidden_in_comment(0)),
    x("zip64 extra field", "zip64", central={"extra": ZIP64_EXTRA}),
    x("zip64 sizes", "zip64", central={"extra": ZIP64_EXTRA, "size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}),
    x(
        "zip64 sizes in the local header",
        "zip64 in its local header",
        local={"extra": ZIP64_EXTRA, "size": 0xFFFFFFFF, "packed": 0xFFFFFFFF},
    ),
    x("zip64 sizes without their field", "zip64", central={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}),
    x("zip64 offset without its field", "zip64", central={"offset": 0xFFFFFFFF}),
    refused("zip64 end record missing", "zip64", "", archive(PLAIN, end={"offset": 0xFFFFFFFF})),
    x(
        "zip64 sizes behind the data",
        "zip64 in its data descriptor",
        both={"flags": 8},
        local={"crc": 0, "packed": 0, "size": 0},
        descriptor=b"PK\7\x08" + struct.pack("<L2Q", zlib.crc32(TEXT), len(deflate(TEXT)), len(TEXT)),
    ),
    refused("zip64 as zipfile streams it", "zip64", "pkg/a.py", as_streamed()),
    # bombs
    x("bomb", "like a bomb", data=bytes(20 << 20), packed=BOMB),
    # no zip
    refused("empty file", "not a zip file: it is empty", "", b""),
    refused("text", "not a zip file", "", b"This is no egg.\n" * 9),
    refused("one byte", "not a zip file", "", b"P"),
    refused("signature alone", "end record is cut off", "", b"PK\5\6"),
    refused("truncated", "truncated: it begins as a zip file", "", FULL[:-30]),
    refused("end record truncated", "truncated: its end record is cut off", "", FULL[:-1]),
    refused("front missing", "not where", "", FULL[20:]),
]


def swapped(first: Entry, second: Entry) -> bytes:
    """The central directory lists the entries in the other order."""
    whole = archive(first, second)
    start = whole.index(b"PK\1\2")
    middle = whole.index(b"PK\1\2", start + 1)
    return whole[:start] + whole[middle:-22] + whole[start:middle] + whole[-22:]


WIDE = struct.pack("<2H", 0xCAFE, 32763) + bytes(32763)
NOISE = random.Random(7).randbytes(65536)
LAST = Entry(b"z", b"", 0).streamed()
SWAPPED = swapped(PLAIN, OTHER)
DOTTED = {"date": 0, "time": 0xFFFF}  # month 0, 31:63:62
ACCEPTED = [
    Case("plain", FULL),
    Case("no entries", archive()),
    Case("shell header, offsets adjusted", archive(PLAIN, OTHER, prefix=SHELL)),
    Case("shell header, offsets not adjusted", archive(PLAIN, OTHER, prefix=SHELL, adjusted=False)),
    Case(
        "explicit directories", archive(Entry(b"pkg/", b"", 0), PLAIN, Entry(b"pkg/d/", b"", 0, **attributes(0o40755)))
    ),
    Case("explicit directory after its files, twice", archive(PLAIN, *[Entry(b"pkg/", b"", 0)] * 2)),
    Case("duplicates with equal bytes", archive(PLAIN, OTHER, PLAIN)),
    Case("duplicates with equal bytes, packed differently", archive(Entry(b"pkg/a.py", TEXT, 0), PLAIN)),
    Case("empty files, stored and deflated", archive(Entry(b"a", b"", 0), Entry(b"b", b""))),
    Case("odd date", with_ab(both=DOTTED)),
    Case("year 2107", with_ab(both={"date": 0xFFFF, "time": 0})),
    Case("setuid and world-writable modes", with_ab(**attributes(0o106777))),
    Case("no mode", with_ab(**attributes(0))),
    Case("streamed", archive(PLAIN.streamed(), OTHER.streamed(signature=b""), OTHER.streamed(), LAST)),
    Case("comments of entries", with_ab(central={"comment": b"why not"})),
    Case("extra fields, that differ", with_ab(central={"extra": EXTRA}, local={"extra": EXTRA * 2})),
    Case(
        "extra fields of 32767 bytes", with_ab(central={"extra": WIDE, "comment": bytes(32767)}, local={"extra": WIDE})
    ),
    Case("members listed in another order", SWAPPED),
    Case(
        "odd names",
        archive(*(Entry(name, TEXT) for name in (b"a b+c", b"index.html?C=M;O=A", b".svn/x", b"...", b"A", b"a"))),
    ),
    Case("component of 255 bytes", with_ab(name=b"n" * 255)),
    Case("path of 3,584 bytes", with_ab(name=b"/".join([b"d" * 127] * 28))),
    Case("UTF-8 flag on ASCII", with_ab(both={"flags": 0x800})),
    Case("UTF-8 name with the flag", with_ab(name="pkg/é.py".encode(), both={"flags": 0x800})),
    Case("UTF-8 name without the flag", with_ab(name="pkg/é.py".encode())),
    Case("cp437 name", with_ab(name=b"pkg/\x82.py")),
    Case("20 MiB in pieces", archive(Entry(b"big", NOISE * 320), Entry(b"stored", NOISE * 80, 0))),
]


@pytest.fixture(scope="module", params=VERSIONS)
def judge(request: pytest.FixtureRequest, interpreter: Callable[[str], Path]) -> Iterator[Zipimport]:
    """The zipimport of one target after the other."""
    judge = Zipimport(request.param, str(interpreter(request.param)))
    yield judge
    judge.close()


def ours(path: str) -> tuple[eggs.Egg, dict[str, bytes]]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        egg = eggs.read(descriptor, path)
        return egg, {member.name: eggs.data(descriptor, egg, member) for member in egg.members}
    finally:
        os.close(descriptor)


def written(tmp_path: os.PathLike[str], data: bytes) -> str:
    path = os.path.join(tmp_path, "x.egg")
    with open(path, "wb") as file:
        file.write(data)
    return path


def differences(egg: eggs.Egg, files: dict[str, bytes], answer: tuple[Any, Any]) -> list[str]:
    """Where zipimport serves, or zipfile lists, something else than what we read."""
    served, listed = answer
    digests = {os.fsencode(name).hex(): hashlib.md5(data).hexdigest() for name, data in files.items()}
    if egg.unusual:  # names are not comparable, and the caller is told so
        return [] if served and sorted(served.values()) == sorted(digests.values()) else [f"{served} != {digests}"]
    sizes = {os.fsencode(member.name).hex(): [member.size, *member.date_time] for member in egg.members}
    values = {name: value for name, value in (listed or {}).items() if not name.endswith("2f")}
    wrong = [] if served == digests else [f"zipimport serves {served}, we read {digests}"]
    return wrong + ([] if values == sizes else [f"zipfile lists {values}, we read {sizes}"])


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_zip_that_pythons_could_read_differently_is_refused(case: Case, tmp_path: Any) -> None:
    """A zip that the targets could read differently is refused in one line that names the member and the reason."""
    path = written(tmp_path, case.data)
    with pytest.raises(EggRefused) as caught:
        ours(path)
    error = caught.value
    assert type(error) in (EggDamaged, EggAmbiguous, EggTooLarge)
    assert error.thing.startswith(path)
    assert (f"{path}, member {case.member}" if case.member else path) in error.thing
    assert case.refused is not None
    assert case.refused in error.cause
    assert error.remedy.text
    assert str(error).isprintable()


def test_cut_anywhere_is_truncated(tmp_path: Any) -> None:
    """A download that broke off, wherever that was, is named as one."""
    for whole in (FULL, archive(PLAIN, end={"comment_size": 5}, tail=b"hello")):
        for length in range(4, len(whole)):
            with pytest.raises(EggDamaged, match="truncated: ") as caught:
                ours(written(tmp_path, whole[:length]))
            end = whole.index(b"PK\5\6")
            part = "it begins" if length < end + 4 else "its end record" if length < end + 22 else "its archive comment"
            assert caught.value.cause.startswith(f"truncated: {part}"), length


def test_accepted_is_what_zipimport_serves(judge: Zipimport, tmp_path: Any) -> None:
    """Of what we accept, zipimport serves the very same files and bytes, and zipfile lists the same sizes and dates."""
    for case in ACCEPTED:
        path = written(tmp_path, case.data)
        egg, files = ours(path)
        (answer,) = judge.ask([path])
        assert (case.id, differences(egg, files, answer)) == (case.id, [])


# What all of these read alike, and is refused all the same: why.
AGREED: dict[str, tuple[str, ...]] = {
    "they ask for more directories than any egg has": ("65 directories", "65 directories, listed"),
    "as files they would be elsewhere, or none at all": (
        "absolute",
        "backslash",
        "carriage return in a name",
        "component of 256 bytes",
        "delete in a name",
        "dot alone",
        "dot in front",
        "dot inside",
        "double slash",
        "double slash in front",
        "drive",
        "drive and directory",
        "empty name",
        "escape in a name",
        "file and directory",
        "file and explicit directory",
        "file and what is below it",
        "newline in a name",
        "parent",
        "parent at the end",
        "parent inside",
        "path of 4,000 bytes",
        "slash alone",
    ),
    "they are no regular files, or a directory that is one": (
        "FIFO",
        "block device",
        "character device",
        "directory by its mode, file by its name",
        "directory entry with a CRC",
        "directory entry with data",
        "directory entry with packed data",
        "directory that is a symlink",
        "socket",
        "symlink",
    ),
    "a reader that goes by local headers, or reads it as a stream, would see another egg": (
        "a megabyte in front",
        "descriptor missing",
        "descriptor without its flag",
        "descriptor wrong",
        "gap",
        "gap before the central directory",
        "hidden local entry",
        "hidden local entry in front",
        "junk after the deflated end",
        "local CRC differs",
        "local flags differ",
        "local header without sizes, not streamed",
        "local method differs",
        "local packed size differs",
        "local size differs",
        "one local header twice",
        "quoted overlap",
        "zip64 as zipfile streams it",
        "zip64 sizes behind the data",
        "zip64 sizes in the local header",
    ),
    "it says of itself what is not so, and the next release may believe it": (
        "archive comment, cut off",
        "comment above 32767",
        "duplicates with other bytes",
        "duplicates with other bytes, same size",
        "entry on another disk",
        "extra field above 32767",
        "extra field of one byte",
        "extra field with another name",
        "local extra field above 32767",
        "masked headers",
        "multi-disk",
        "size declared too big",
        "zip64 extra field",
        "zip64 locator without its record",
        "zip64 record without its locator",
        "zip64 records in a comment",
    ),
    "it is a bomb": ("bomb",),
}


def as_zipfile_reads(path: str) -> dict[str, str] | None:
    """What this interpreter's zipfile serves, in the form of Zipimport.ask: other names, or None, where it differs."""
    try:
        with zipfile.ZipFile(path) as zip_file:
            return {
                os.fsencode(info.filename).hex(): hashlib.md5(zip_file.read(info)).hexdigest()
                for info in zip_file.infolist()
                if not info.filename.endswith("/")
            }
    except Exception:
        return None


def test_refused_for_a_reason(interpreter: Callable[[str], Path], tmp_path: Any) -> None:
    """Of each archive that is refused, the zipimports of all targets and zipfile do not serve the same; or it is on the
    list of those that would do harm once they are files, or that only say something else than they hold."""
    paths = []
    for number, case in enumerate(REFUSED):
        paths.append(os.path.join(tmp_path, f"{number}.egg"))
        with open(paths[-1], "wb") as file:
            file.write(case.data)
    answers: list[list[object]] = [[as_zipfile_reads(path)] for path in paths]
    for version in VERSIONS:
        judge = Zipimport(version, str(interpreter(version)))
        try:
            for answer, (served, _) in zip(answers, judge.ask(paths)):
                answer.append(served)
        finally:
            judge.close()
    agreed = {
        case.id for case, answer in zip(REFUSED, answers) if answer[0] and all(item == answer[0] for item in answer)
    }
    assert agreed == set().union(*AGREED.values())


def test_zipfile_is_no_witness(judge: Zipimport, tmp_path: Any) -> None:
    """Each thing that docs/decisions/zip-reader.rst has against zipfile is so, beside the zipimport of each Python."""
    text = b"12345678901234"
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    endless = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
    entries = {
        "too short": Entry(b"a.py", text, 0, both={"size": 7, "crc": zlib.crc32(text[:7])}),
        "without an end": Entry(b"a.py", text, packed=endless),
        "NUL": Entry(b"a.py\0.txt", text),
        "not liked": Entry(b"./b//../a.py", text),
    }
    names, contents, served = {}, {}, {}
    for case, entry in entries.items():
        path = written(tmp_path, archive(entry))
        with zipfile.ZipFile(path) as zip_file:
            (info,) = zip_file.infolist()
            names[case], contents[case] = info.filename, zip_file.read(info)
            zip_file.extractall(tmp_path / case)
        ((answer, _),) = judge.ask([path])
        ((name, digest),) = (answer or {"": ""}).items()
        served[case] = bytes.fromhex(name).decode(), digest == hashlib.md5(text).hexdigest()
    assert names == {"too short": "a.py", "without an end": "a.py", "NUL": "a.py", "not liked": "./b//../a.py"}
    assert contents == {"too short": text[:7], "without an end": text, "NUL": text, "not liked": text}
    assert os.listdir(tmp_path / "not liked" / "b") == ["a.py"]  # and not a.py beside it
    assert (served["too short"], served["not liked"]) == (("a.py", True), ("./b//../a.py", True))
    assert not served["without an end"][1]
    assert served["NUL"] == (("a.py" if judge.version == "2.7" else "a.py\0.txt"), True)


def opened(tmp_path: Any, data: bytes) -> tuple[int, eggs.Egg]:
    path = written(tmp_path, data)
    descriptor = os.open(path, os.O_RDONLY)
    return descriptor, eggs.read(descriptor, path)


# Of the 122 uploaded eggs, those that the facts say to refuse, by name, with the reason.
NOT_EGGS: dict[str, str] = {}


def test_no_uploaded_egg_is_refused_but_those_named(judge: Zipimport, uploaded: dict[str, Path]) -> None:
    """No egg that somebody uploaded is refused, save those listed by name, and zipimport serves what we read."""
    refusals = {}
    for name, path in uploaded.items():
        try:
            egg, files = ours(str(path))
        except EggRefused as error:
            refusals[name] = error.cause
            continue
        (answer,) = judge.ask([str(path)])
        assert (name, differences(egg, files, answer)) == (name, [])
    assert refusals == NOT_EGGS


def test_egg_says_what_is_in_the_file(tmp_path: Any) -> None:
    """An Egg says what is in the file: members, directories, dates as they are, the prefix, and the file's identity."""
    descriptor, egg = opened(
        tmp_path,
        archive(Entry(b"pkg/", b"", 0), Entry(b"pkg/x", b"hello", 0, both=DOTTED), prefix=SHELL, adjusted=False),
    )
    (member,) = egg.members
    assert (member.name, member.size, member.packed, member.method) == ("pkg/x", 5, 5, 0)
    assert member.date_time == (1980, 0, 0, 31, 63, 62)
    assert egg.directories == ("pkg/",)
    assert egg.prefix == len(SHELL)
    assert os.pread(descriptor, 4, member.offset) == b"PK\3\4"
    assert os.path.samestat(egg.stat, os.fstat(descriptor))
    assert egg.unusual == ()


def test_unusual_names_are_written_as_their_raw_bytes(tmp_path: Any) -> None:
    """Names outside ASCII are listed, flagged or not, and are the raw bytes of the zip once they are on disk."""
    flagged = {"flags": 0x800}
    names = ["é".encode(), b"\x82", b"plain"]
    _, egg = opened(tmp_path, archive(Entry(names[0], both=flagged), Entry(names[1]), Entry(names[2])))
    assert [os.fsencode(name) for name in egg.unusual] == names[:2]


def test_last_duplicate_wins(tmp_path: Any) -> None:
    """Of duplicates with equal bytes the last one counts, with its date and its place in the order."""
    _, egg = opened(tmp_path, archive(PLAIN, OTHER, Entry(PLAIN.name, TEXT, both={"date": 0x2121})))
    assert [(member.name, member.date_time[0]) for member in egg.members] == [
        ("pkg/data.bin", 2010),
        ("pkg/a.py", 1996),
    ]


@pytest.mark.parametrize(
    ("limits", "cause", "wanted"),
    [
        (eggs.Limits(entries=1), "2 entries, the limit is 1", {"entries": 2}),
        (eggs.Limits(member=255), "unpacks", {"member": len(TEXT)}),
        (eggs.Limits(total=700), "unpacks to 736 bytes", {"total": 736}),
    ],
)
def test_what_just_meets_a_limit_is_read(
    limits: eggs.Limits, cause: str, wanted: dict[str, int], tmp_path: Any
) -> None:
    """Each limit refuses what is above it, and says what would let it in, and not what just meets it."""
    path = written(tmp_path, FULL)
    descriptor = os.open(path, os.O_RDONLY)
    with pytest.raises(EggTooLarge, match=cause) as caught:
        eggs.read(descriptor, path, limits)
    assert caught.value.limits == wanted
    assert pickle.loads(pickle.dumps(caught.value)).limits == wanted  # as a worker hands it on
    assert eggs.read(descriptor, path, eggs.Limits(entries=2, member=len(TEXT), total=len(TEXT) + 256))


def test_directories_are_limited(tmp_path: Any) -> None:
    """Few members ask for no more directories than an egg may have entries, whether it lists those or not."""
    deep = [Entry(b"%d/" % i * 60 + b"x") for i in range(3)]
    path = written(tmp_path, archive(*deep, Entry(b"listed/", method=0)))
    with open(path, "rb") as file:
        with pytest.raises(EggTooLarge, match="more than 180 directories; if you trust it: --limit entries=65535"):
            eggs.read(file.fileno(), path, eggs.Limits(entries=180))
        assert len(eggs.read(file.fileno(), path, eggs.Limits(entries=181)).members) == 3


def test_bomb_of_many(tmp_path: Any) -> None:
    """A bomb is refused whether it is one member or many, each of them below what counts as one."""
    small = deflate(bytes(3 << 20))
    path = written(tmp_path, archive(*(Entry(b"%d" % i, bytes(3 << 20), packed=small) for i in range(9))))
    with pytest.raises(EggTooLarge, match="like a bomb"):
        ours(path)


def test_dense_but_small_is_no_bomb(tmp_path: Any) -> None:
    """16 MiB are never a bomb, however well they pack."""
    assert ours(written(tmp_path, archive(Entry(b"x", bytes(16 << 20)))))[1]["x"] == bytes(16 << 20)


def test_pieces_are_bounded(tmp_path: Any) -> None:
    """No piece is larger than 4 MiB, whatever is declared, and what is more than declared is never handed out whole."""
    descriptor, egg = opened(tmp_path, archive(Entry(b"x", NOISE * 80, both={"size": 4 << 20})))
    sizes = []
    with pytest.raises(EggRefused, match="declares"):
        sizes.extend(len(piece) for piece in eggs.chunks(descriptor, egg, egg.members[0]))
    assert sum(sizes) <= 4 << 20


@pytest.mark.parametrize(
    ("size", "length", "cause"),
    [(1 << 31, 0, "2 GiB or more"), (70 << 20, 70 << 20, "a central directory of 73400320")],
)
def test_refuses_what_claims_to_be_huge(size: int, length: int, cause: str, tmp_path: Any) -> None:
    """What claims to be huge is refused by its end record, before memory is given to it."""
    path = os.path.join(tmp_path, "x.egg")
    with open(path, "wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(archive(end={"length": length}))
    with pytest.raises(EggRefused, match=cause):
        ours(path)


def test_junk_after_the_first_piece(tmp_path: Any) -> None:
    """Deflated data that ends long before its packed bytes is refused, whatever follows, piece by piece."""
    packed = deflate(TEXT) + bytes(9 << 20)
    with pytest.raises(EggDamaged, match="after the end of its deflated data"):
        ours(written(tmp_path, archive(Entry(b"x", TEXT, packed=packed))))


def test_cut_off_while_it_is_read(tmp_path: Any) -> None:
    """An egg that shrinks after `read` is refused, not served short."""
    descriptor, egg = opened(tmp_path, archive(Entry(b"x", NOISE, 0)))
    os.truncate(egg.path, 1000)
    with pytest.raises(EggDamaged, match="cut off"):
        eggs.data(descriptor, egg, egg.members[0])


def test_disk_error_is_no_verdict_on_the_egg(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk refuses is an error of eggcache's, with the reason, not a verdict on the egg."""
    descriptor, egg = opened(tmp_path, FULL)

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    for attempt in (
        lambda: eggs.read(descriptor, egg.path),
        lambda: eggs.data(descriptor, egg, egg.members[0]),
        lambda: eggs.read(-1, "closed"),
    ):
        with pytest.raises(EggcacheError) as caught:
            attempt()
        assert caught.type is EggcacheError
        assert "cannot be read" in caught.value.cause


def test_not_a_file(tmp_path: Any) -> None:
    """A directory, a device and a pipe are refused before anything is read."""
    reading, writing = os.pipe()
    for descriptor in (os.open(tmp_path, os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY), reading):
        with pytest.raises(EggRefused, match="not a regular file"):
            eggs.read(descriptor, "x.egg")
        os.close(descriptor)
    os.close(writing)


def test_messages_are_one_line(tmp_path: Any) -> None:
    """A hostile path or member name cannot break the line, or send escape sequences to a terminal."""
    path = written(tmp_path, with_ab(name=b"\x1b]0;owned\x07\n" + b"n" * 4000))
    descriptor = os.open(path, os.O_RDONLY)
    with pytest.raises(EggRefused) as caught:
        eggs.read(descriptor, "/tmp/\n\udcff\x1b.egg")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_many_members_are_cheap(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 members cost a handful of reads for the structure, and one each for their bytes."""
    descriptor, egg = opened(tmp_path, archive(*(Entry(b"pkg/%d.py" % i, TEXT) for i in range(5000))))
    calls = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *arguments: calls.append(arguments) or pread(*arguments))
    eggs.read(descriptor, egg.path)
    assert len(calls) <= 10
    calls.clear()
    assert all(eggs.data(descriptor, egg, member) == TEXT for member in egg.members)
    assert len(calls) == 5000


def seeds() -> list[bytes]:
    """Small eggs as setuptools writes them, with and without oddities that are accepted."""
    sources = {
        "EGG-INFO/PKG-INFO": b"Metadata-Version: 1.0\nName: pkg\n",
        "EGG-INFO/not-zip-safe": b"\n",
        "pkg/__init__.py": b"",
        "pkg/a.py": TEXT,
        "pkg/a.pyc": struct.pack("<4sL", b"\x03\xf3\r\n", 1262304000) + NOISE[:90],
        "pkg/data/x.bin": NOISE[:300],
    }
    made = []
    for method, header in ((zipfile.ZIP_DEFLATED, b""), (zipfile.ZIP_STORED, b""), (zipfile.ZIP_DEFLATED, SHELL)):
        file = BytesIO(header)
        file.seek(0, os.SEEK_END)
        with zipfile.ZipFile(file, "w" if not header else "a", method) as zip_file:
            for name, data in sources.items():
                zip_file.writestr(zipfile.ZipInfo(name, (2010, 1, 1, 12, 0, 0)), data, method)
        made.append(file.getvalue())
    return [*made, *(case.data for case in ACCEPTED if len(case.data) < 5000)]


NUMBERS = (0, 1, 2, 8, 12, 22, 0x7F, 0x800, 0x7FFF, 0x8000, 0xFFFF, 0x06054B50, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
FIELDS = {  # where in a record each number is, and how long it is
    b"PK\1\2": [
        (4, 1),
        (5, 1),
        *((at, 2) for at in (6, 8, 10, 12, 14, 28, 30, 32, 34, 36)),
        *((at, 4) for at in (16, 20, 24, 38, 42)),
    ],
    b"PK\3\4": [*((at, 2) for at in (4, 6, 8, 10, 12, 26, 28)), *((at, 4) for at in (14, 18, 22))],
    b"PK\5\6": [*((at, 2) for at in (4, 6, 8, 10, 20)), (12, 4), (16, 4)],
}


def positions(data: bytes, signature: bytes) -> list[int]:
    return [at for at in range(len(data) - 3) if data.startswith(signature, at)]


def edit_field(chance: random.Random, data: bytearray) -> None:
    """Another number in a field of one header; half the time, in the corresponding one of the other header as well."""
    signature = chance.choice(list(FIELDS))
    places = positions(data, signature)
    if not places:
        return
    index = chance.randrange(len(places))
    at, size = chance.choice(FIELDS[signature])
    place = slice(places[index] + at, places[index] + at + size)
    old = int.from_bytes(data[place], "little")
    new = chance.choice((*NUMBERS, old + 1, old - 1, old ^ 1 << chance.randrange(8 * size))) & (1 << 8 * size) - 1
    data[place] = new.to_bytes(size, "little")
    locals_ = positions(data, b"PK\3\4")
    if signature == b"PK\1\2" and 6 <= at < 32 and index < len(locals_) and chance.random() < 0.5:
        data[locals_[index] + at - 2 : locals_[index] + at - 2 + size] = new.to_bytes(size, "little")


def mend(data: bytearray) -> None:
    """Let the end record say where the central directory is, so that more than its place is judged."""
    end, start = data.rfind(b"PK\5\6"), data.find(b"PK\1\2")
    if 0 <= start < end <= len(data) - 22:
        struct.pack_into("<2H2LH", data, end + 8, *[data.count(b"PK\1\2", start)] * 2, end - start, start, 0)


def generated(chance: random.Random) -> bytes:
    """An archive whose every part is odd now and then."""

    def entry() -> Entry:
        name = chance.choice((b"a", b"b/c", b"b/", b"b", b"d\x82", b"d.py", b"e/../f", b"g\0", b"H" * 256))
        data = b"" if name.endswith(b"/") and chance.random() < 0.7 else chance.choice((b"", b"x", TEXT, NOISE[:99]))
        odd: dict[str, Any] = {"method": chance.choice((0, 8)), "both": {}, "local": {}, "central": {}}
        for where in ("both", "local", "central"):
            if chance.random() < 0.08:
                odd[where][chance.choice(("flags", "method", "crc", "packed", "size", "date"))] = (
                    chance.choice(NUMBERS) & 0xFFFF
                )
            if where != "both" and chance.random() < 0.08:
                odd[where]["extra"] = chance.choice((EXTRA, EXTRA[:-1], ZIP64_EXTRA, UNICODE, EXTRA * 2))
        if chance.random() < 0.05:
            odd["packed"] = chance.choice((deflate(data) + b"x", deflate(data)[:-1], data, b"", SYNCED))
        made = Entry(name, data, **odd)
        return made.streamed(signature=chance.choice((b"", b"PK\7\x08"))) if chance.random() < 0.2 else made

    prefix = chance.choice((b"", b"", SHELL, LOCAL))
    entries = [entry() for _ in range(chance.randrange(4))]
    return archive(
        *entries, *chance.choices(entries, k=len(entries) > 2), prefix=prefix, adjusted=chance.random() < 0.5
    )


def mutant(chance: random.Random, eggs_: list[bytes]) -> bytes:
    if chance.random() < 0.3:
        return generated(chance)
    data = bytearray(chance.choice(eggs_))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(data) + 1)
        upto = min(at + chance.choice((1, 2, 4, 22, 46, 200)), len(data))
        kind = chance.randrange(9)
        if kind == 0:
            data[at:upto] = bytes(byte ^ 1 << chance.randrange(8) for byte in data[at : at + 1]) + data[at + 1 : upto]
        elif kind == 1:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 2:
            del data[at:upto]
        elif kind == 3:
            data[at:at] = data[at:upto]
        elif kind == 4:
            other = chance.choice(eggs_)
            data[at:] = other[chance.randrange(len(other)) :]
        elif kind == 5 and chance.random() < 0.3:
            del data[at:]
        else:
            edit_field(chance, data)
    if chance.random() < 0.5:
        mend(data)
    return bytes(data)


def test_what_is_read_of_damaged_archives_zipimport_serves_alike(judge: Zipimport, tmp_path: Any) -> None:
    """Whatever we accept of damaged archives, zipimport serves to the byte; nothing but EggRefused is raised.

    It goes on for 20 seconds, all targets together, from another seed each time; for EGGCACHE_FUZZ_SECONDS, where set.
    """
    eggs_ = seeds()
    until = time.monotonic() + float(os.environ.get("EGGCACHE_FUZZ_SECONDS", "20")) / len(VERSIONS)
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    tried = accepted = 0
    while tried < 1000 or time.monotonic() < until:
        batch = []
        for number in range(250):
            data = mutant(chance, eggs_)
            path = os.path.join(tmp_path, f"{number}.egg")
            with open(path, "wb") as file:
                file.write(data)
            tried += 1
            try:
                batch.append((path, data, *ours(path)))
            except EggRefused:
                continue
            except Exception as error:
                pytest.fail(f"{error!r}, seed {seed}, mutant {tried}: {data.hex()}")
        for (_, data, egg, files), answer in zip(batch, judge.ask([path for path, *_ in batch])):
            if wrong := differences(egg, files, answer):
                pytest.fail(f"seed {seed}, of the {tried} so far: {wrong}: {data.hex()}")
        accepted += len(batch)
    assert accepted >= tried / 20, "too few mutants were accepted to have judged anything"
    print(f"CPython {judge.version}: {tried} mutants, {accepted} accepted")
