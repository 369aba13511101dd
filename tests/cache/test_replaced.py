"""What a server that runs sees when an egg of it is replaced: what docs/explanation/running-servers.rst says."""

from __future__ import annotations

import csv
import os
import pwd
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.judge import eggcache, environment
from support.parts import built
from support.sites import write_egg
from support.zips import Entry, make

PAGE = ROOT / "docs" / "explanation" / "running-servers.rst"
# A worker: it has imported from the egg and looked a resource up, and does what it is told, one step a line.
WORKER = r"""
import os, sys
sys.path.insert(0, sys.argv[1])
import pkg_resources, shop

def say(text):
    os.write(1, (text + "\n").encode("ascii"))

def read(name):
    stream = open(pkg_resources.resource_filename("shop", name))
    try:
        return stream.read()
    finally:
        stream.close()

def module():
    sys.modules.pop("shop.late", None)
    import shop.late
    return "version %d" % shop.late.version

def string():
    return pkg_resources.resource_string("shop", "data/page.txt").decode("ascii").split("\n")[0]

def name():
    return read("data/page.txt").split("\n")[0]

name(), string()
say("ready")
for line in iter(sys.stdin.readline, ""):
    try:
        say(globals()[line.strip()]())
    except Exception:
        say(sys.exc_info()[0].__name__)
"""
STEPS = ("module", "string", "name")
# What Python 2 and 3, zipimport and pkg_resources raise where the egg itself is gone
MISSING = ("IOError", "OSError", "FileNotFoundError", "NotImplementedError")
WORDS = {"version 1": "works", "version 2": "is of the new version"}


def content(version: int) -> dict[str, str]:
    """An egg of this version: every member but the package itself is longer in the second, and lies elsewhere."""
    return {
        "shop/__init__.py": "",
        "shop/big.txt": "".join(f"{version} {number * version}\n" for number in range(500 * version)),
        "shop/late.py": f"version = {version}\n" * version,
        "shop/data/page.txt": f"version {version}\n" * version,
    }


@dataclass
class Shop:
    """A target, an egg beside it, its cache, and a worker that runs."""

    python: Path
    home: Path
    egg: Path

    def prepare(self) -> None:
        result = eggcache("prepare", self.home / "cache", "--all", "--path", self.egg.parent, "--python", self.python,
                          "--user", "nobody", "--prune")  # fmt: skip
        assert result.returncode == 0, result.stderr

    def start(self) -> subprocess.Popen[str]:
        account = pwd.getpwnam("nobody")
        return subprocess.Popen(
            [self.python, "-B", "-c", WORKER, self.egg], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd="/",
            env=environment({"PYTHON_EGG_CACHE": str(self.home / "cache")}),
        )  # fmt: skip

    def recycled(self) -> str:
        """What a new worker comes to."""
        worker = self.start()
        assert worker.stdout
        said = worker.stdout.readline().strip()
        worker.kill()
        worker.communicate()
        return "starts" if said == "ready" else "does not start"


def ask(worker: subprocess.Popen[str], step: str) -> str:
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write(step + "\n")
    worker.stdin.flush()
    said = worker.stdout.readline().strip()
    return "file is missing" if said in MISSING else WORDS.get(said, said)


# ------------------------------------------------------------------------------ the ways in which an egg is replaced


def copied(shop: Shop, new: Path) -> None:
    """cp: the same file, written anew."""
    with open(shop.egg, "r+b") as stream:
        stream.truncate(0)
        stream.write(new.read_bytes())


def renamed(shop: Shop, new: Path) -> None:
    """mv: another file at its path."""
    new.rename(shop.egg)


def installed(shop: Shop, new: Path) -> None:
    """easy_install of an egg with the same version: it removes the old file, and copies the new one."""
    again = new.parent / "again" / shop.egg.name
    again.parent.mkdir()
    new.rename(again)
    command = [shop.python, "-m", "easy_install", "-q", "-N", "--zip-ok", "--install-dir", shop.egg.parent, again]
    deployment.run(command, env={"PYTHONPATH": str(shop.egg.parent)})


def rebuilt(shop: Shop, new: Path) -> None:
    """The same sources, built again: other dates, and all else as it was."""
    new.unlink()
    write_egg(new, content(1), project="shop")
    packed = new.read_bytes()
    date = struct.pack("<HH", 12 << 11, (2009 - 1980) << 9 | 6 << 5 | 15)
    assert packed.count(date) > 4
    shop.egg.write_bytes(packed.replace(date, struct.pack("<HH", 13 << 11, (2010 - 1980) << 9 | 6 << 5 | 15)))


def touched(shop: Shop, new: Path) -> None:
    """touch: another time, and the same content."""
    new.unlink()
    os.utime(shop.egg)


def beside(shop: Shop, new: Path) -> None:
    """Another version beside it, under a name of its own, which new workers take."""
    shop.egg = shop.egg.with_name(shop.egg.name.replace("1.0", "2.0"))
    new.rename(shop.egg)


def in_its_place(shop: Shop, new: Path) -> None:
    """Another version, and the old egg is removed."""
    shop.egg.unlink()
    beside(shop, new)


WAYS: dict[str, Callable[[Shop, Path], None]] = {
    "cp over it": copied,
    "mv over it": renamed,
    "easy_install, same version": installed,
    "built again": rebuilt,
    "touch": touched,
    "new version beside it": beside,
    "new version, old egg removed": in_its_place,
}


def measure(shop: Shop, way: Callable[[Shop, Path], None]) -> Iterator[tuple[str, ...]]:
    """What a worker and a new one come to: after the egg was replaced, and after the next prepare --prune."""
    shop.prepare()
    worker = shop.start()
    assert worker.stdout
    try:
        assert worker.stdout.readline() == "ready\n"
        assert {ask(worker, step) for step in STEPS} == {"works"}
        way(shop, write_egg(shop.home / "new.egg", content(2), project="shop"))
        shop.egg.chmod(0o644)
        yield (*(ask(worker, step) for step in STEPS), shop.recycled())
        shop.prepare()
        yield (*(ask(worker, step) for step in STEPS), shop.recycled())
    finally:
        worker.kill()
        worker.communicate()


def told(table: str) -> dict[str, tuple[str, ...]]:
    """The rows of a table of the page."""
    rows = PAGE.read_text(encoding="utf-8").split(f".. csv-table:: {table}\n")[1].split("\n\n")[1].splitlines()
    rows_read = list(csv.reader((row.strip() for row in rows), skipinitialspace=True))
    return {row[0]: tuple(row[1:]) for row in rows_read}


@pytest.mark.parametrize(("version", "setuptools"), [("2.7", "44.1.1"), ("3.11", "65.5.0")], ids=["2.7", "3.11"])
def test_page_says_what_a_running_server_does(version: str, setuptools: str, where: Path, shared_tmp: Path) -> None:
    """The page's two tables are what the target's own zipimport and pkg_resources do, way by way."""
    python = built(lambda: deployment.target(version, setuptools, where)).python
    before, after = {}, {}
    for name, way in WAYS.items():
        if way is installed and version != "2.7":
            continue  # there is no such command any more
        home = shared_tmp / way.__name__
        (home / "eggs").mkdir(parents=True)
        shop = Shop(python, home, write_egg(home / "eggs" / f"shop-1.0-py{version}.egg", content(1)))
        before[name], after[name] = measure(shop, way)
    assert before == {name: row for name, row in told("Before prepare has run").items() if name in before}
    assert after == {name: row for name, row in told("After prepare has run").items() if name in after}
    assert told("Before prepare has run").keys() == told("After prepare has run").keys() == WAYS.keys()


def test_easy_install_of_another_version_leaves_the_old_file(
    where: Path, copy_of: Callable[[Deployment], Deployment], shared_tmp: Path
) -> None:
    """easy_install of another version leaves the egg that is there, and has easy-install.pth name the new one."""
    site = copy_of(built(lambda: deployment.target("2.7", "44.1.1", where)))
    for version in ("1.0", "2.0"):
        egg = write_egg(shared_tmp / f"shop-{version}-py2.7.egg", content(1))
        deployment.run([site.python, "-m", "easy_install", "-q", "-N", "--zip-ok", egg])
        lines = (site.site_packages / "easy-install.pth").read_text().splitlines()
        assert [line for line in lines if "shop" in line] == [f"./{egg.name}"]
    there = sorted(path.name for path in site.site_packages.glob("shop*"))
    assert there == ["shop-1.0-py2.7.egg", "shop-2.0-py2.7.egg"]


def held(pid: int, egg: Path) -> list[str]:
    """What /proc has of an egg for this process: open files, and what is mapped."""
    opened = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    mapped = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [line for line in opened + mapped if egg.name in line]


@pytest.mark.parametrize(("version", "setuptools"), [("2.7", "44.1.1"), ("3.11", "65.5.0")], ids=["2.7", "3.11"])
def test_process_that_has_read_a_zip_imports_nothing_from_its_directory(
    version: str, setuptools: str, where: Path, shared_tmp: Path
) -> None:
    """Once unzip-all has put a directory in the place of an egg, the next import of a worker that has read the zip is
    an IsADirectoryError, or Python 2's IOError; a new worker imports what it did, until the zip is put back. Neither
    has the egg open meanwhile: what a process has imported, /proc does not tell."""
    python = built(lambda: deployment.target(version, setuptools, where)).python
    (shared_tmp / "eggs").mkdir()
    shop = Shop(python, shared_tmp, write_egg(shared_tmp / "eggs" / f"shop-1.0-py{version}.egg", content(1)))
    shop.prepare()
    workers = [shop.start()]
    command = ["unzip-all", "--path", shop.egg, "--python", python, "--backup", shared_tmp / "zips"]
    try:
        assert workers[0].stdout
        assert workers[0].stdout.readline() == "ready\n"
        assert ask(workers[0], "module") == "works"
        assert held(workers[0].pid, shop.egg) == []
        result = eggcache(*command)
        assert (result.returncode, shop.egg.is_dir()) == (0, True), result.stderr
        assert ask(workers[0], "module") == ("file is missing" if version == "2.7" else "IsADirectoryError")
        workers.append(shop.start())
        assert workers[1].stdout
        assert workers[1].stdout.readline() == "ready\n"
        assert {ask(workers[1], step) for step in STEPS} == {"works"}
        assert held(workers[1].pid, shop.egg) == []
        result = eggcache(*command, "--undo")
        assert (result.returncode, shop.egg.is_file()) == (0, True), result.stderr
        assert ask(workers[1], "module") == ("ImportError" if version == "2.7" else "ModuleNotFoundError")
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


SWAPPED = r"""
import os, sys
sys.path.insert(0, sys.argv[1])
import shop.first
if len(sys.argv) > 2:
    os.rename(sys.argv[2], sys.argv[1])
import shop.price
print(shop.price.what)
"""


@pytest.mark.parametrize("method", [0, 8], ids=["stored", "deflated"])
@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.11", "3.13"])
def test_process_finds_bytes_of_another_module(
    version: str, method: int, interpreter: Callable[[str], Path], shared_tmp: Path
) -> None:
    """Where the new egg has another module, as long, in the place of the one that is imported next, a process that has
    read the old egg runs the other one under its name, without an error. A new process does not."""
    old, new = shared_tmp / "shop-1.0.egg", shared_tmp / "new.egg"
    for egg, names in ((old, ("price", "stock")), (new, ("stock", "price"))):
        modules = [Entry(f"shop/{name}.py".encode(), f"what = '{name}'\n".encode(), method) for name in names]
        make(egg, Entry(b"shop/__init__.py"), Entry(b"shop/first.py"), *modules)
    command = [interpreter(version), "-S", "-B", "-c", SWAPPED, old]
    assert subprocess.check_output([*command, new], env=environment(), text=True) == "stock\n"
    assert subprocess.check_output(command, env=environment(), text=True) == "price\n"
