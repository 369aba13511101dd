"""extract: what it costs to write a file, and how work is shared."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from support import ROOT

from eggcache.eggs import extract, extraction_batch
from eggcache.eggs import reader as eggs
from eggcache.eggs.decompression import File
from eggcache.errors import EggcacheError
from eggcache.model import Ownership
from eggcache.system import workers

OWN = Ownership(os.geteuid(), os.getegid(), 0o750, 0o640)

EXTRACT = """
import os, sys
from eggcache.eggs import extraction_batch
from eggcache.eggs import reader as eggs
from eggcache.eggs.extract import Opened
from eggcache.model import Ownership
from eggcache.system import workers
workers.cores = lambda: int(sys.argv[3])
staged = os.open(sys.argv[2], os.O_RDONLY)
source = os.open(sys.argv[1], os.O_RDONLY)
egg = eggs.read(source, sys.argv[1])
with extraction_batch.Batch(staged, lambda *_: None) as together:
    owner = Ownership(os.geteuid(), os.getegid() + int(sys.argv[4]), 0o750, 0o640)
    together.add("x.egg-tmp", Opened(source, egg), owner, lambda why: None)
"""


def make(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def content(directory: Path) -> dict[str, tuple[bytes, int]]:
    entries = {}
    for path in directory.rglob("*"):
        entries[str(path.relative_to(directory))] = (path.read_bytes() if path.is_file() else b"", path.stat().st_mode)
    return entries


@pytest.mark.parametrize("other_group", [0, 1][: 1 + (os.geteuid() == 0)])
def test_system_calls_for_a_file(tmp_path: Path, other_group: int) -> None:
    """A file costs open, write, utimensat and close: it is made with its owner, group and mode. What is read of the egg
    serves many."""
    counts = []
    for files in (100, 1100):
        egg = make(tmp_path / f"{files}.egg", {f"p/{number}.py": b"x = %d\n" % number for number in range(files)})
        into, log = tmp_path / str(files), tmp_path / f"{files}.log"
        into.mkdir()
        command = ["strace", "-f", "-o", log, sys.executable, "-c", EXTRACT, egg, into, "1", str(other_group)]
        subprocess.run(command, cwd=ROOT, check=True)
        counts.append(Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.M)))
        assert len(content(into / "x.egg-tmp")) == files + 1
    more = {name: round((counts[1][name] - counts[0][name]) / 1000, 2) for name in counts[1]}
    assert sum(more.values()) <= 4.3, more  # memory for the interpreter's own lists comes on top
    assert {name for name, each in more.items() if each >= 0.9} == {"openat", "write", "utimensat", "close"}


@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize("above", [0o700, 0o2700])
@pytest.mark.parametrize("other", ["nobody", "group", "owner"])
def test_owner_and_mode_whatever_the_surroundings(tmp_path: Path, umask: int, above: int, other: str) -> None:
    """Files and directories have the owner, group and mode that are asked for, and no other bit, whatever the umask is
    and whatever group the directory that they are made in hands down."""
    if os.geteuid() and other != "nobody":
        pytest.skip("only root gives files to another user or group")
    uid, gid = os.geteuid() + (other == "owner"), os.getegid() + (other == "group")
    egg = make(tmp_path / "x.egg", {"p/q/a.py": b"a", "p/b.so": b"b", "c.txt": b""})
    staged = tmp_path / "staged"
    staged.mkdir()
    os.chown(staged, -1, os.getegid() + (3 if os.geteuid() == 0 else 0))
    staged.chmod(above)
    before = os.umask(umask)
    try:
        source, directory = os.open(egg, os.O_RDONLY), os.open(staged, os.O_RDONLY)
        opened = extract.Opened(source, eggs.read(source, str(egg)))
        with extraction_batch.Batch(directory, lambda *_: None) as together:
            together.add("x", opened, Ownership(uid, gid, 0o750, 0o640), print, native_mode=0o750)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    infos = {path.name: path.lstat() for path in [staged / "x", *(staged / "x").rglob("*")]}
    assert {(info.st_uid, info.st_gid) for info in infos.values()} == {(uid, gid)}
    assert {name: oct(info.st_mode & 0o7777) for name, info in infos.items()} == {
        **dict.fromkeys(("x", "p", "q", "b.so"), "0o750"), "a.py": "0o640", "c.txt": "0o640",
    }  # fmt: skip


def test_modes_below_a_default_acl(tmp_path: Path) -> None:
    """A directory whose default ACL takes bits from one mode and none from another changes no mode."""
    staged = tmp_path / "staged"
    staged.mkdir()
    subprocess.run(["setfacl", "-d", "-m", "u::rwx,g::r-x,o::-", staged], check=True)
    egg = make(tmp_path / "x.egg", {"a.py": b"a", "b.so": b"b", "c.py": b"c"})
    source, directory = os.open(egg, os.O_RDONLY), os.open(staged, os.O_RDONLY)
    opened = extract.Opened(source, eggs.read(source, str(egg)))
    with extraction_batch.Batch(directory, lambda *_: None) as together:
        owner = Ownership(os.geteuid(), os.getegid(), 0o755, 0o640)
        together.add("x", opened, owner, print, native_mode=0o755)
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in (staged / "x").iterdir()}
    assert modes == {"a.py": "0o640", "b.so": "0o755", "c.py": "0o640"}


def test_bytes_are_the_files_however_they_are_read(tmp_path: Path) -> None:
    """However it is read, forwards or not, within a window, across its end or the file's: the bytes are the file's."""
    data, chance = os.urandom(100_000), random.Random(5)
    (tmp_path / "file").write_bytes(data)
    with open(tmp_path / "file", "rb") as stream:
        for reach in (0, 1, 512, 4096, 1 << 20):
            file = File(stream.fileno(), "file", reach)
            for _ in range(2000):
                at, size = chance.randrange(100_100), chance.choice((0, 1, 30, 300, 3000, 30_000))
                if chance.random() < 0.8:
                    at = min(at, 99_000) // 1000 * 1000 + chance.randrange(10)
                assert file.near(at, size) == data[at : at + size]


def test_unordered_egg_is_read_once(tmp_path: Path) -> None:
    """A central directory in another order than the file's, as hostile tools write it, costs no more."""
    egg = make(tmp_path / "x.egg", {f"p/{number}.bin": os.urandom(900) for number in range(2000)})
    raw = egg.read_bytes()
    start = int.from_bytes(raw[-6:-2], "little")
    entries = [b"PK\x01\x02" + entry for entry in raw[start:-22].split(b"PK\x01\x02")[1:]]
    egg.write_bytes(raw[:start] + b"".join(reversed(entries)) + raw[-22:])
    (tmp_path / "into").mkdir()
    command = [sys.executable, "-c", EXTRACT, egg, tmp_path / "into", "1", "0"]
    log = tmp_path / "log"
    subprocess.run(["strace", "-f", "-e", "trace=pread64", "-o", log, *command], cwd=ROOT, check=True)
    with zipfile.ZipFile(egg) as file:
        assert {name: file.read(name) for name in file.namelist()} == {
            name: data for name, (data, mode) in content(tmp_path / "into" / "x.egg-tmp").items() if mode & 0o100000
        }
    assert sum(int(size) for size in re.findall(r"= (\d+)$", log.read_text(), re.M)) < 4 * len(raw)


@pytest.mark.parametrize("cores", [1, 3])
def test_same_on_any_number_of_cores(cores: int, tmp_path: Path) -> None:
    """However many share the work, what comes out is the same; and where it is much, they do share it."""
    members = {f"p{number % 7}/{number}.bin": os.urandom(20_000) for number in range(800)}
    egg = make(tmp_path / "x.egg", {**members, "p/large.bin": os.urandom(5 << 20), "p/empty": b""})
    into, log = tmp_path / "into", tmp_path / "log"
    into.mkdir()
    trace = ["strace", "-f", "-o", log, "-e", "trace=openat"]
    subprocess.run([*trace, sys.executable, "-c", EXTRACT, egg, into, str(cores), "0"], cwd=ROOT, check=True)
    entries = content(into / "x.egg-tmp")
    with zipfile.ZipFile(egg) as file:
        assert {name: entries[name][0] for name in file.namelist()} == {
            name: file.read(name) for name in file.namelist()
        }
    assert {mode & 0o777 for _, mode in entries.values()} == {0o750, 0o640}
    writers = {line.split()[0] for line in log.read_text().splitlines() if "O_CREAT" in line and ".bin" in line}
    assert len(writers) == cores


def test_little_work_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forking for a few files would take longer than writing them."""
    egg = make(tmp_path / "x.egg", {f"{number}.py": b"x" for number in range(200)})
    asked = []
    monkeypatch.setattr(workers, "cores", lambda: 8)
    monkeypatch.setattr(workers, "share", lambda jobs, work, result, count: asked.append(count))
    source, into = os.open(egg, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    extract.write_all([extract.Extraction(extract.Opened(source, eggs.read(source, str(egg))), into, OWN)])
    os.close(source)
    os.close(into)
    assert asked == [1]


def test_more_eggs_than_files_may_be_open(tmp_path: Path) -> None:
    """A batch closes what it opened before it takes more; what is refused leaves nothing, the rest is there."""
    (tmp_path / "staged").mkdir()
    staged, told = os.open(tmp_path / "staged", os.O_RDONLY), {}
    good = make(tmp_path / "good.egg", {"a.py": b"x"})
    bad = make(tmp_path / "bad.egg", {"a.py": b"x", "b.py": b"some bytes"})
    data = bytearray(bad.read_bytes())
    data[data.index(b"b.py") + 5] ^= 0xFF
    bad.write_bytes(data)
    before = len(os.listdir("/proc/self/fd"))
    with extraction_batch.Batch(staged, lambda *_: None) as together:
        for number in range(150):
            egg = bad if number % 50 == 7 else good
            source = os.open(egg, os.O_RDONLY)

            def then(why: EggcacheError | None, number: int = number) -> None:
                told[number] = why

            together.add(f"{number}.egg-tmp", extract.Opened(source, eggs.read(source, str(egg))), OWN, then)
            os.close(source)
            assert len(os.listdir("/proc/self/fd")) <= before + 130
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(staged)
    refused = {number for number, why in told.items() if why}
    assert (len(told), refused) == (150, {7, 57, 107})
    assert {int(name.split(".")[0]) for name in os.listdir(tmp_path / "staged")} == set(range(150)) - refused


def test_progress_adds_up(tmp_path: Path) -> None:
    """What is told while it goes on adds up to all files and all packed bytes."""
    egg = make(tmp_path / "x.egg", {f"{number}": os.urandom(1000) for number in range(3000)})
    told = [0, 0]

    def advance(files: int, size: int) -> None:
        told[0] += files
        told[1] += size

    source, into = os.open(egg, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    one = extract.Extraction(extract.Opened(source, eggs.read(source, str(egg))), into, OWN)
    assert extract.write_all([one], advance) == [None]
    assert told == [3000, sum(member.packed for member, _ in one.entries)]
    os.close(source)
    os.close(into)
