"""What the benchmark works on: the real TurboGears tree, the same many times over, and two eggs of extreme shapes."""

from __future__ import annotations

import random
import re
import shutil
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

_DATE, _TIME = (2009 - 1980) << 9 | 6 << 5 | 15, 12 << 11  # 15 June 2009, noon


@dataclass(frozen=True)
class Packed:
    """A member as it is in a zip: renaming an egg needs no deflating."""

    name: bytes
    date: int
    time: int
    method: int
    crc: int
    size: int
    data: bytes  # packed; repeated `times`
    times: int = 1
    end: bytes = b""


@dataclass(frozen=True)
class Input:
    """Eggs, and how eggcache is told to take them."""

    name: str
    python: Path  # the target
    eggs: list[Path]
    arguments: list[str]  # for eggcache: which tree, which path
    files: int
    size: int  # bytes, unpacked


def write_zip(path: Path, members: Iterable[Packed]) -> None:
    """An egg of these members, as bdist_egg would write it."""
    central = b""
    count = 0
    with path.open("wb") as stream:
        for member in members:
            packed = len(member.data) * member.times + len(member.end)
            fields = (0, member.method, member.time, member.date, member.crc, packed, member.size, len(member.name), 0)
            central += struct.pack(
                "<4s6H3L5H2L", b"PK\1\2", 20, 20, *fields, 0, 0, 0, 0o100644 << 16, stream.tell()
            ) + member.name  # fmt: skip
            stream.write(struct.pack("<4s5H3L2H", b"PK\3\4", 20, *fields) + member.name)
            for _ in range(member.times):
                stream.write(member.data)
            stream.write(member.end)
            count += 1
        at = stream.tell()
        stream.write(central + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(central), at, 0))


def read_zip(path: Path) -> list[Packed]:
    """The members of an egg, not inflated."""
    raw = path.read_bytes()
    members = []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            start = info.header_offset + 30 + sum(struct.unpack_from("<2H", raw, info.header_offset + 26))
            year, month, day, hour, minute, second = info.date_time
            members.append(
                Packed(
                    info.filename.encode(),
                    (year - 1980) << 9 | month << 5 | day,
                    hour << 11 | minute << 5 | second // 2,
                    info.compress_type,
                    info.CRC,
                    info.file_size,
                    raw[start : start + info.compress_size],
                )
            )
    return members


def stored(name: str, data: bytes) -> Packed:
    """A member that is not deflated."""
    return Packed(name.encode(), _DATE, _TIME, 0, zlib.crc32(data), len(data), data)


def deflated(name: str, data: bytes) -> Packed:
    """A member that is."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return Packed(name.encode(), _DATE, _TIME, 8, zlib.crc32(data), len(data), packer.compress(data) + packer.flush())


def _metadata(project: str) -> list[Packed]:
    text = f"Metadata-Version: 1.0\nName: {project}\nVersion: 1.0\n"
    return [stored("EGG-INFO/PKG-INFO", text.encode()), stored("EGG-INFO/not-zip-safe", b"\n")]


def many_members(path: Path, project: str, count: int) -> None:
    """An egg of `count` small members in 100 directories."""
    members = [
        deflated(f"{project}/d{number % 100}/m{number}.py", f"value = {number}\n".encode() * 20)
        for number in range(count)
    ]
    write_zip(path, [*_metadata(project), *members])


def lacking(directory: Path, eggs: Iterable[Path]) -> Path:
    """An egg of the project Lacking, which requires the projects of `eggs`, and one that is nowhere: a prepare of it
    says that each time."""
    path = directory / "Lacking-1.0.egg"
    required = "\n".join(["Not-There>=7", *(egg.name.partition("-")[0] for egg in eggs), ""])
    write_zip(path, [*_metadata("Lacking"), stored("EGG-INFO/requires.txt", required.encode())])
    return path


def many_eggs(directory: Path, count: int, python: str) -> list[Path]:
    """Eggs of five small members each, for that version of Python."""
    made = []
    for number in range(count):
        project = f"egg{number:05d}"
        path = directory / f"{project}-1.0-py{python}.egg"
        text = f"value = {number}\n".encode() * 20
        members = [deflated(f"{project}/{name}.py", text) for name in ("__init__", "one", "two")]
        write_zip(path, [*_metadata(project), *members])
        made.append(path)
    return made


def one_member(path: Path, project: str, size: int) -> None:
    """An egg of a single member of `size` bytes, a multiple of one MiB, half of it incompressible.

    One MiB is deflated, and repeated: a full flush makes that a stream.
    """
    block = random.Random(5).randbytes(1 << 19) + bytes(1 << 19)
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    times, crc = size >> 20, 0
    for _ in range(times):
        crc = zlib.crc32(block, crc)
    big = Packed(f"{project}/data.bin".encode(), _DATE, _TIME, 8, crc, size, data, times, b"\3\0")
    write_zip(path, [*_metadata(project), big])


def rename_trees(eggs: list[Path], into: Path, times: int) -> list[Path]:
    """The same eggs `times` over, each under a project name of its own, in the file name and in the metadata."""
    made = []
    for egg in eggs:
        members = read_zip(egg)
        at = next(number for number, one in enumerate(members) if one.name == b"EGG-INFO/PKG-INFO")
        with zipfile.ZipFile(egg) as archive:
            metadata = archive.read("EGG-INFO/PKG-INFO")
        for number in range(times):
            text = re.sub(rb"(?m)^Name: ", b"Name: T%02d-" % number, metadata, count=1)
            old = members[at]
            new = replace(old, method=0, crc=zlib.crc32(text), size=len(text), data=text)
            path = into / f"T{number:02d}_{egg.name}"
            write_zip(path, [*members[:at], new, *members[at + 1 :]])
            made.append(path)
    return made


def contents(eggs: Iterable[Path]) -> tuple[int, int]:
    """How many files are in these eggs, and how many bytes."""
    files = size = 0
    for egg in eggs:
        with zipfile.ZipFile(egg) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
        files += len(infos)
        size += sum(info.file_size for info in infos)
    return files, size


def fresh(directory: Path) -> Path:
    """An empty directory."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    return directory


if __name__ == "__main__":
    sys.exit("scripts/bench makes use of this")
