"""tar: what is written is what GNU tar, busybox and libarchive read."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support.archives import READERS, reader
from support.parts import missing

from eggcache.model import Ownership
from eggcache.system.tar_members import Tar

OWNER = Ownership(0, 33, 0o750, 0o640)


@pytest.mark.parametrize("program", READERS)
def test_names_and_bytes_come_back(tmp_path: Path, program: str) -> None:
    """Long names, names of any bytes, files of no bytes, of one block and of several pieces are read as they were
    written, by each program that an old host may have."""
    names = {"short": b"a" * 700, "empty": b"", "x" * 200 + "/" + "y" * 200: b"z" * 512, "n\udcffame é": b"ab" * 700}
    stream = io.BytesIO()
    tar = Tar(stream)
    tar.directory("/d", 1, OWNER)
    tar.directory("/d/" + "x" * 200, 1, OWNER)
    for name, data in names.items():
        tar.file(f"/d/{name}", len(data), (data[:600], data[600:]), 1_262_347_200, OWNER)
    tar.end()
    assert len(stream.getvalue()) % 10240 == 0
    subprocess.run([*reader(program), "-xf", "-"], input=stream.getvalue(), cwd=tmp_path, check=True)
    paths = {str(path.relative_to(tmp_path / "d")): path for path in tmp_path.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in paths.items()} == names
    assert {path.stat().st_mtime_ns for path in paths.values()} == {1_262_347_200_000_000_000}


def test_numbers_of_any_size() -> None:
    """Owners and dates beyond what octal digits hold are listed by GNU tar as they are."""
    stream = io.BytesIO()
    tar = Tar(stream)
    tar.file("f", 0, (), 1 << 34, Ownership(0, 0xFFFFFFFE, 0o750, 0o640))
    tar.end()
    listed = subprocess.run(
        ["tar", "-tvf", "-"], input=stream.getvalue(), capture_output=True, check=True, env={"TZ": "UTC0"}
    )
    assert listed.stdout.split() == [b"-rw-r-----", b"0/4294967294", b"0", b"2514-05-30", b"01:53", b"f"]


@pytest.mark.parametrize("program", READERS)
def test_extracting_again_takes_each_file_away_for_a_moment(tmp_path: Path, program: str) -> None:
    """Each of the programs removes a file that is there, and then makes it anew: who reads meanwhile may find none."""
    stream = io.BytesIO()
    tar = Tar(stream)
    tar.file("f", 2, (b"ab",), 1_262_347_200, OWNER)
    tar.end()
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    strace = ["strace", "-f", "-qq", "-o", tmp_path / "log", "-e", "trace=unlink,unlinkat,open,openat"]
    for _ in range(2):
        subprocess.run([*strace, *reader(program), "-xpf", "a.tar"], cwd=tmp_path, check=True)
    calls = [line.split(" ", 1)[1] for line in (tmp_path / "log").read_text().splitlines() if '"f"' in line]
    ends = [call.lstrip().partition("(")[0] for call in calls if not call.rstrip().endswith("(File exists)")]
    assert ends[-1].startswith("open")
    assert ends[-2].startswith("unlink")


@pytest.mark.parametrize("program", READERS)
def test_group_of_any_number_is_taken(tmp_path: Path, program: str) -> None:
    """A group with a number that octal digits do not hold is the group of what is extracted, by programs of today."""
    if os.geteuid() != 0:
        missing("only root can give files to any group")
    stream = io.BytesIO()
    tar = Tar(stream)
    tar.file("f", 0, (), 1_262_347_200, Ownership(0, 2_097_152, 0o750, 0o640))
    tar.end()
    subprocess.run([*reader(program), "-xpf", "-"], input=stream.getvalue(), cwd=tmp_path, check=True)
    assert (tmp_path / "f").stat().st_gid == 2_097_152


@pytest.mark.parametrize("length", [1, 98, 99, 100, 101, 102, 510, 511, 512, 600])
def test_headers_are_those_of_the_standard_library(length: int) -> None:
    """What is written is to the byte what tarfile writes in GNU's format, whatever the length of a name, its bytes and
    the numbers; so archives stay the same from one release to the next."""
    stream, others = io.BytesIO(), b""
    tar = Tar(stream)
    for end in ("a", "\xe9", "\udcff"):
        for number in (0, 1, 8**7 - 1, 8**7, 0xFFFFFFFE, 8**11 - 1, 8**11, 1 << 40):
            name, owner = end.rjust(length, "d"), Ownership(number % (1 << 32), 33, 0o750, 0o640)
            for kind, mark, mode in ((tarfile.DIRTYPE, "mark", 0o750), (tarfile.REGTYPE, "", 0o640)):
                header = tarfile.TarInfo(name)
                header.type, header.linkname, header.mode, header.mtime = kind, mark, mode, number - 5
                header.uid, header.gid = owner.uid, owner.gid
                others += header.tobuf(tarfile.GNU_FORMAT, sys.getfilesystemencoding(), "surrogateescape")
            tar.directory(f"/{name}", number - 5, owner, "mark")
            tar.file(f"/{name}", 0, (), number - 5, owner)
    assert stream.getvalue() == others


def test_a_size_that_is_not_kept() -> None:
    """A file of other than the announced size ends the writing: what follows would be read as headers."""
    with pytest.raises(ValueError, match="1 bytes in place of 2"):
        Tar(io.BytesIO()).file("f", 2, (b"1",), 0, OWNER)
