"""Archives built byte by byte, and what the zipimport of real interpreters says of them."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

VERSIONS = ("2.7", "3.6", "3.8", "3.11", "3.13")

_FIELDS = ["needed", "flags", "method", "time", "date", "crc", "packed", "size", "name_size", "extra_size"]
_CENTRAL_FIELDS = ["made", *_FIELDS, "comment_size", "disk", "internal", "attributes", "offset"]
_END_FIELDS = ["disk", "first_disk", "here", "count", "length", "offset", "comment_size"]


def deflate(data: bytes, level: int = 9) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@dataclass(frozen=True)
class Entry:
    """One entry; `both`, `local` and `central` override fields of its headers by name, after the fact."""

    name: bytes
    data: bytes = b""
    method: int = 8
    packed: bytes | None = None  # instead of what the method makes of the data
    both: dict[str, int] = field(default_factory=dict)
    local: dict[str, Any] = field(default_factory=dict)  # also: name, extra, signature
    central: dict[str, Any] = field(default_factory=dict)  # also: name, extra, comment, signature
    gap: bytes = b""  # in front of the local header
    descriptor: bytes = b""  # behind the packed bytes

    def streamed(self, *, signature: bytes = b"PK\7\x08") -> Entry:
        """The same with a data descriptor, as a writer that cannot seek makes it."""
        packed = deflate(self.data) if self.method else self.data
        descriptor = signature + struct.pack("<3L", zlib.crc32(self.data), len(packed), len(self.data))
        zero = {"crc": 0, "packed": 0, "size": 0}
        both = {**self.both, "flags": self.both.get("flags", 0) | 8}
        return replace(self, both=both, local={**zero, **self.local}, descriptor=descriptor)


def archive(
    *entries: Entry,
    prefix: bytes = b"",
    adjusted: bool = True,
    tail: bytes = b"",
    central_tail: bytes = b"",
    end: dict[str, int] | None = None,
) -> bytes:
    """A zip of these entries; `end` overrides fields of the end record by name, or the "comment"."""
    out = bytearray(prefix)
    shift = 0 if adjusted else len(prefix)
    central = b""
    for entry in entries:
        out += entry.gap
        packed = entry.packed if entry.packed is not None else deflate(entry.data) if entry.method else entry.data
        common = {
            "needed": 20,
            "flags": 0,
            "method": entry.method,
            "time": 0x6000,
            "date": 0x3C21,
            "crc": zlib.crc32(entry.data),
            "packed": len(packed),
            "size": len(entry.data),
            **entry.both,
        }
        more = {"made": 0x0314, "comment_size": 0, "disk": 0, "internal": 0, "attributes": 0o100644 << 16}
        offset = {"offset": len(out) - shift}
        central += _header(b"PK\1\2", _CENTRAL_FIELDS, "<6H3L5H2L", entry, {**common, **more, **offset}, entry.central)
        out += _header(b"PK\3\4", _FIELDS, "<5H3L2H", entry, common, entry.local) + packed + entry.descriptor
    start = len(out) - shift
    out += central + central_tail
    fields: dict[str, Any] = {"disk": 0, "first_disk": 0, "here": len(entries), "count": len(entries)}
    fields.update(length=len(central), offset=start, comment_size=0)
    fields.update(end or {})
    return bytes(out) + b"PK\5\6" + struct.pack("<4H2LH", *(fields[name] for name in _END_FIELDS)) + tail


def _header(
    signature: bytes, names: list[str], layout: str, entry: Entry, fields: dict[str, Any], changes: dict[str, Any]
) -> bytes:
    name = changes.get("name", entry.name)
    extra, comment = changes.get("extra", b""), changes.get("comment", b"")
    fields = {**fields, "name_size": len(name), "extra_size": len(extra), "comment_size": len(comment), **changes}
    packed = struct.pack(layout, *(fields[name] for name in names))
    return bytes(changes.get("signature", signature) + packed + name + extra + comment)


# Answers, for a line with a JSON list of paths, with a line of JSON: for each path what zipimport serves, or null, and
# what zipfile, by which pkg_resources learns of sizes and dates, lists. Runs on every version, so it is old-fashioned.
_SERVER = r"""
import binascii, hashlib, json, sys, zipfile, zipimport

def hexed(name):
    if not isinstance(name, bytes):
        name = name.encode("utf-8", "surrogatepass")
    return binascii.hexlify(name).decode("ascii")

def served(path):
    zipimport._zip_directory_cache.clear()
    try:
        importer = zipimport.zipimporter(path)
    except Exception:
        return None
    found = {}
    for name in list(zipimport._zip_directory_cache[path]):
        if name.endswith("/"):
            continue
        try:
            found[hexed(name)] = hashlib.md5(importer.get_data(name)).hexdigest()
        except Exception:
            found[hexed(name)] = "%s: %s" % sys.exc_info()[:2]
    return found

def listed(path):
    try:
        archive = zipfile.ZipFile(path)
    except Exception:
        return None
    try:
        return dict((hexed(i.filename), [i.file_size] + list(i.date_time)) for i in archive.infolist())
    finally:
        archive.close()

while True:
    line = sys.stdin.readline()
    if not line:
        break
    sys.stdout.write(json.dumps([[served(str(path)), listed(str(path))] for path in json.loads(line)]) + "\n")
    sys.stdout.flush()
"""


class Zipimport:
    """The zipimport and the zipfile of one interpreter, in a process that lives as long as the tests."""

    def __init__(self, version: str, executable: str) -> None:
        self.version = version
        self._process = subprocess.Popen(
            [executable, "-E", "-S", "-W", "ignore", "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, paths: Iterable[str]) -> list[tuple[dict[str, str] | None, dict[str, list[int]] | None]]:
        """For each path: {name in hex: MD5 of what is served, or the error}, {name in hex: size and date}."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(paths)) + "\n")
        self._process.stdin.flush()
        return [(served, listed) for served, listed in json.loads(self._process.stdout.readline())]

    def close(self) -> None:
        self._process.communicate()


def make(path: Path, *entries: Entry, prefix: bytes = b"", date: int | None = None, time: int = 0) -> Path:
    """An egg with these entries and metadata."""
    name = path.name.split("-")[0]
    info = f"Metadata-Version: 1.0\nName: {name}\nVersion: 1.0\n".encode()
    entries = (*entries, Entry(b"EGG-INFO/PKG-INFO", info))
    if date is not None:
        entries = tuple(Entry(entry.name, entry.data, both={"date": date, "time": time}) for entry in entries)
    path.write_bytes(archive(*entries, prefix=prefix))
    path.chmod(0o644)
    return path


def big_egg(path: Path, size: int) -> Path:
    """An egg with a stored member of `size` bytes, and one as large that deflates to a fiftieth."""
    block = os.urandom(20_000) + bytes(1 << 20)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: Big\nVersion: 1.0\n")
        for name, method in (("stored.bin", zipfile.ZIP_STORED), ("deflated.bin", zipfile.ZIP_DEFLATED)):
            info = zipfile.ZipInfo(name, (2009, 6, 15, 12, 0, 0))
            info.compress_type = method
            with archive.open(info, "w") as member:
                for _ in range(size // len(block)):
                    member.write(block)
    path.chmod(0o644)
    return path
