"""ahead: eggs that are read before anybody asks for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT
from support.judge import environment
from support.sites import Site, write_egg

from eggcache.eggs import decompression, extract, source_scan
from eggcache.eggs import reader as eggs
from eggcache.eggs.extract import Opened
from eggcache.errors import EggRefused
from eggcache.model import DEFAULT_LIMITS, Limits, Ownership
from eggcache.system import accounts
from eggcache.target import eggs_on_path

ALL = eggs_on_path.Wanted()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the eggs that are read from now on, for which there is time enough."""
    monkeypatch.setattr(eggs_on_path, "_SECONDS", 60.0)
    names: list[str] = []
    real = eggs.read

    def reading(descriptor: int, path: str, *limits: object) -> eggs.Egg:
        names.append(os.path.basename(path))
        return real(descriptor, path, *limits)  # type: ignore[arg-type]

    monkeypatch.setattr(eggs, "read", reading)
    return names


def look(*path: Path, want: eggs_on_path.Wanted = ALL, everything: bool = False) -> eggs_on_path.EarlyReader:
    """A reader that has taken all its steps."""
    looked = eggs_on_path.EarlyReader(accounts.current(), DEFAULT_LIMITS)
    for _ in looked.look([str(place) for place in path], want, everything=everything):
        pass
    return looked


def asked(looked: eggs_on_path.EarlyReader, egg: Path) -> list[str]:
    with looked.opened(str(egg)) as (_, egg_read):
        return [member.name for member in egg_read.members]


def test_egg_that_is_the_same_is_read_once(tmp_path: Path, read: list[str]) -> None:
    """What was read and is still the same is not read again; what changed, in whatever way, or is new, is."""
    names = ["A-1.egg", "B-1.egg", "C-1.egg", "D-1.egg"]
    for name in names:
        write_egg(tmp_path / name, {"old.py": ""})
    (tmp_path / "E-1.egg").write_text("no zip")
    (tmp_path / "F-1.egg").mkdir()
    looked = look(tmp_path, tmp_path / "gone", tmp_path)
    assert read == [*names, "E-1.egg"]
    status = (tmp_path / "B-1.egg").stat()
    write_egg(tmp_path / "B-1.egg", {"new.py": ""})  # of the same size; and of the same time:
    os.utime(tmp_path / "B-1.egg", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "C-1.egg").rename(tmp_path / "C.old")
    write_egg(tmp_path / "C-1.egg", {"new.py": ""})
    write_egg(tmp_path / "G-1.egg", {"new.py": ""})
    read.clear()
    assert asked(looked, tmp_path / "A-1.egg") == asked(looked, tmp_path / "D-1.egg") == ["EGG-INFO/PKG-INFO", "old.py"]
    assert read == []
    for name in ("B-1.egg", "C-1.egg", "G-1.egg"):
        assert "new.py" in asked(looked, tmp_path / name)
    assert read == ["B-1.egg", "C-1.egg", "G-1.egg"]


def test_sources_are_looked_into_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sources of an egg look for beside themselves is found while the target is at work, and kept; not so of
    an egg that is another one by then."""
    code = {"shop/__init__.py": "import os\nopen(os.path.join(os.path.dirname(__file__), 'a.txt'))\n", "shop/a.txt": ""}
    for name in ("A-1.egg", "B-1.egg"):
        write_egg(tmp_path / name, code)
    looked = look(tmp_path)
    write_egg(tmp_path / "B-1.egg", {"b.py": ""})
    held = {}
    for name in ("A-1.egg", "B-1.egg"):
        with looked.opened(str(tmp_path / name)) as (source, egg), monkeypatch.context() as later:
            if name == "A-1.egg":
                later.setattr(source_scan, "_Neighbours", None)  # to look again would fail
            held[name] = source_scan.file_lookups(Opened(source, egg))
    assert held == {"A-1.egg": ["shop/__init__.py, line 2: a path to shop/a.txt"], "B-1.egg": []}


def test_what_was_inflated_is_extracted(tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Members are inflated while the target is at work, as far as memory has room, each egg in steps; what is extracted
    is the same, and no packed byte is read again. An egg that is another one by then is read anew."""
    files = {f"p/{number}.txt": os.urandom(99).hex() for number in range(40)}
    for name in ("A-1.egg", "B-1.egg"):
        write_egg(tmp_path / name, files)
    monkeypatch.setattr(eggs_on_path, "_STEP", 2000)
    looked = eggs_on_path.EarlyReader(accounts.current(), DEFAULT_LIMITS)
    assert len(list(looked.look([str(tmp_path)], ALL))) > 8
    write_egg(tmp_path / "B-1.egg", {**files, "new.py": ""})
    for name, more in (("A-1.egg", 0), ("B-1.egg", 1)):
        (into := tmp_path / name[0]).mkdir(0o700)
        directory = os.open(into, os.O_RDONLY)
        with looked.opened(str(tmp_path / name)) as (source, egg), monkeypatch.context() as later:
            if not more:
                later.setattr(decompression, "decompressobj", None)  # to inflate again would fail
            own = Ownership(os.geteuid(), os.getegid(), 0o755, 0o644)
            assert extract.write_all([extract.Extraction(Opened(source, egg), directory, own)]) == [None]
        os.close(directory)
        assert {path.name: path.read_text() for path in (into / "p").iterdir()} == {
            name[2:]: text for name, text in files.items()
        }
        assert len(list(into.rglob("*.py"))) == more


def test_only_the_egg_that_was_read_is_inflated(tmp_path: Path) -> None:
    """What lies in the place of an egg for a moment, between two steps, adds nothing to what is known of that egg."""
    here, aside = tmp_path / "here", tmp_path / "aside"
    for place in (here, aside):
        place.mkdir()
        write_egg(place / "A-1.egg", {"a.txt": "a" * 99})
    looked = eggs_on_path.EarlyReader(accounts.current(), DEFAULT_LIMITS)
    for number, _ in enumerate(looked.look([str(here)], ALL)):
        if number == 0:
            here.rename(tmp_path / "kept")
            aside.rename(here)
    here.rename(aside)
    (tmp_path / "kept").rename(here)
    with looked.opened(str(here / "A-1.egg")) as (_, egg):
        assert egg.contents == {}


def test_no_more_bytes_than_memory_has_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is inflated before its time stays within the limit, whatever the eggs hold, and a damaged egg is left as it
    is until somebody asks for it."""
    code = {"shop/__init__.py": "import os\n" * 300, "shop/a.txt": "a" * 3000, "shop/z.py": "import os\n" * 300}
    for number in range(4):
        write_egg(tmp_path / f"A{number}-1.egg", code)
    for egg, name in ((tmp_path / "A0-1.egg", b"shop/a.txt"), (tmp_path / "A1-1.egg", b"shop/z.py")):
        damaged = bytearray(egg.read_bytes())
        damaged[damaged.index(name) + len(name) + 3] ^= 0x55
        egg.write_bytes(damaged)
    monkeypatch.setattr(eggs_on_path, "_SECONDS", 60.0)
    for most in (0, 5000, 8000, 1 << 20):
        monkeypatch.setattr(eggs_on_path, "_BYTES", most)
        looked, held, fine = look(tmp_path), 0, 0
        for number in range(4):
            with looked.opened(str(tmp_path / f"A{number}-1.egg")) as (source, egg):
                held += sum(map(len, (egg.contents or {}).values()))
                wrong = None
                try:
                    Opened(source, egg).check()
                    fine += 1
                except EggRefused as error:
                    wrong = error
                assert (wrong is not None) == (number < 2)
        assert fine == 2
        assert held <= most
        assert most < 1 << 20 or held > 2 * 9000


def test_no_more_than_memory_has_room_for(tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A site of thousands of eggs is not read before its time."""
    for number in range(80):
        write_egg(tmp_path / f"A{number:03}-1.egg", {f"{module}.py": "" for module in range(9)})
    monkeypatch.setattr(eggs_on_path, "_EGGS", 64)
    look(tmp_path)
    assert len(read) == 64
    read.clear()
    monkeypatch.setattr(eggs_on_path, "_MEMBERS", 25)
    look(tmp_path)
    assert len(read) == 3


def test_sources_of_all_eggs_where_all_will_be_asked_for(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the eggs that memory has no room for, where each will be asked for, it is remembered whether their sources
    look for files, as long as an egg is the same; time is no limit then, and nothing of that is held without need."""
    code = {
        "shop/__init__.py": "import os\npath = os.path.join(os.path.dirname(__file__), 'a.txt')\n",
        "shop/a.txt": "",
    }
    for name in ("A-1.egg", "B-1.egg", "C-1.egg"):
        write_egg(tmp_path / name, code)
    looks: list[str] = []
    real = source_scan.file_lookups

    def looking(opened: Opened) -> list[str]:
        looks.append(opened.egg.path)
        return real(opened)

    monkeypatch.setattr(source_scan, "file_lookups", looking)
    monkeypatch.setattr(eggs_on_path, "_EGGS", 1)
    monkeypatch.setattr(eggs_on_path, "_SECONDS", -1.0)
    looked = look(tmp_path, everything=True)
    assert read == ["A-1.egg", "B-1.egg", "C-1.egg"]
    assert len(looks) == 3
    with looked.opened(str(tmp_path / "A-1.egg")) as (_, egg):
        assert egg.contents
        assert egg.file_lookups
    assert len(read) == 3
    write_egg(tmp_path / "C-1.egg", {"shop/__init__.py": "", "shop/a.txt": ""})
    for name, known in (("B-1.egg", True), ("C-1.egg", False)):
        with looked.opened(str(tmp_path / name)) as (source, egg):
            assert egg.contents is None
            assert (egg.file_lookups is not None) is known
            assert bool(real(Opened(source, egg))) is known
    assert len(read) == 5
    looked = look(tmp_path, want=eggs_on_path.Wanted(contents=False), everything=True)
    with looked.opened(str(tmp_path / "A-1.egg")) as (_, egg):
        assert egg.contents is None
        assert egg.file_lookups
    looks.clear()
    looked = look(tmp_path, want=eggs_on_path.Wanted(sources=False), everything=True)
    with looked.opened(str(tmp_path / "A-1.egg")) as (_, egg):
        assert egg.contents
        assert egg.file_lookups is None
    assert looks == []


def test_no_more_time_than_it_is_worth(tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long to read, or would, is left until somebody asks for it."""
    for name in ("A", "B", "C"):
        write_egg(tmp_path / f"{name}-1.egg", {"text.txt": "x" * 5000})
    monkeypatch.setattr(eggs_on_path, "_SECONDS", -1.0)
    look(tmp_path)
    assert read == []
    monkeypatch.setattr(eggs_on_path, "_SECONDS", 60.0)
    monkeypatch.setattr(eggs_on_path, "_SMALL", Limits(total=4000))
    looked = look(tmp_path)
    assert len(read) == 3
    assert "text.txt" in asked(looked, tmp_path / "A-1.egg")
    assert len(read) == 4


def test_prepare_reads_each_egg_once(site: Site) -> None:
    """Those that lie where the target looks are read while it is at work."""
    log = site.cache.parent / "log"
    command = ["strace", "-f", "-e", "trace=openat,execve,exit_group", "-o", log, sys.executable, "-m", "eggcache"]
    slow = next(site.python.parent.parent.glob("lib/python3*/site-packages")) / "slow.pth"
    slow.write_text("import time; time.sleep(3)\n")  # else a busy machine may come to it when the target is done
    try:
        subprocess.run([*command, "prepare", site.cache, *site.options], cwd=ROOT, env=environment(), check=True)
    finally:
        slow.unlink()
    lines = log.read_text().splitlines()
    us = lines[0].split()[0]
    ends = next(number for number, line in enumerate(lines) if "exit_group" in line and line.split()[0] != us)
    opened = [number for number, line in enumerate(lines) if line.split()[0] == us and 'One-1.0-py3.11.egg"' in line]
    assert len(opened) == 6  # now, to inflate, and to extract from it, each time by its real name as well
    assert opened[3] < ends < opened[4]
