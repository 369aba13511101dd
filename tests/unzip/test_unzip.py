"""unzip-all on real trees: what is there before and after, who may write, and what an interrupted run leaves."""

from __future__ import annotations

import fcntl
import os
import pwd
import random
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.httpd import wait_for
from support.judge import as_json, eggcache, environment, listing, watched
from support.namespaces import namespace
from support.parts import built
from support.probe import build
from support.sites import leftovers, named, write_egg
from support.zips import Entry, make

from eggcache import Target, unzip_all
from eggcache.system import syscalls
from eggcache.target import code_owners, startup_files

RESTART = "restart every server that uses these eggs"
PROGRAM = [sys.executable, "-m", "eggcache", "unzip-all"]

# Imports every module that is named on stdin, and says which could be imported.
_IMPORT = r"""
import os, signal, sys
signal.alarm(100)
names = sys.stdin.read().split()
out = os.dup(1)
os.dup2(2, 1)
done = []
for name in names:
    try:
        __import__(name)
        done.append(name)
    except BaseException:
        pass
os.write(out, " ".join(done).encode("ascii"))
os._exit(0)
"""

# What pkg_resources sees: the working set, and everything on the path.
_SEEN = r"""
import pkg_resources
print(sorted((d.project_name, d.version, d.location) for d in pkg_resources.working_set))
env = pkg_resources.Environment()
print(sorted((d.project_name, d.version, d.location) for key in env for d in env[key]))
"""

# For each .pyc below the directories on stdin: what is wrong with it, by the rules of the interpreter itself.
_STAMPS = r"""
import marshal, os, struct, sys
skip = sys.version_info >= (3, 7) and 16 or 8
wrong, count = [], 0
for top in sys.stdin.read().split("\n"):
    for where, dirs, files in os.walk(top):
        for name in files:
            path = os.path.join(where, name)
            if not name.endswith(".py") or "/EGG-INFO/" in path:
                continue
            if sys.version_info[0] > 2:
                import importlib.util
                pyc = importlib.util.cache_from_source(path)
            else:
                pyc = path + "c"
            try:
                text = open(path, "rb").read()
                compile(text, path, "exec", 0, 1)
            except Exception:
                continue
            count += 1
            if not os.path.exists(pyc):
                wrong.append((pyc, "missing"))
                continue
            data = open(pyc, "rb").read()
            stamp = struct.unpack("<I", data[skip - 8:skip - 4] if skip == 16 else data[4:8])[0]
            if stamp != int(os.stat(path).st_mtime):
                wrong.append((pyc, "stamp"))
            if marshal.loads(data[skip:]).co_filename != path:
                wrong.append((pyc, marshal.loads(data[skip:]).co_filename))
print(repr((count, wrong)))
"""


def modules(egg: Path) -> list[str]:
    """The names of all modules in an egg."""
    names = {}
    with zipfile.ZipFile(egg) as archive:
        for name in archive.namelist():
            stem, _, suffix = name.partition(".")
            if suffix in ("py", "pyc", "so") and not name.startswith("EGG-INFO"):
                names[stem.replace("/", ".").removesuffix(".__init__")] = None
    # These run a program when they are imported, one a server; PasteScript's tests make symbolic links
    running = ("__main__", "setup", "test_noserver")
    names = {name: None for name in names if not name.startswith("tests")}
    return sorted(name for name in names if name.isascii() and name.rpartition(".")[2] not in running)


@dataclass
class Converted:
    """A copy of a tree, and what was seen of it before and after unzip-all."""

    deployment: Deployment
    root: str
    eggs: list[Path]  # those that were to be converted
    done: subprocess.CompletedProcess[str]
    planned: dict[str, Any]
    members: dict[Path, dict[str, bytes]]
    names: list[str]
    importable: set[str]
    seen: list[str]
    untouched: dict[str, tuple[int, ...]]


TREES = {
    "turbogears1": "TurboGears",
    "turbogears1_complete": "TurboGears",
    "turbogears2_27": "--all",  # all 35, tw2.forms among them, which TurboGears2 does not require
    "turbogears2_311": "TurboGears2",
}


def seen(made: Deployment) -> list[str]:
    """What its pkg_resources, and its pip where it has one, see installed."""
    pip = deployment.run([made.python, "-m", "pip", "list", "--format=freeze"], check=False)
    return [made.run(_SEEN).stdout, pip.stdout]


def outside(made: Deployment, eggs: list[Path]) -> dict[str, tuple[int, ...]]:
    """All that is not to change, down to its ctime."""
    inside = tuple(f"{egg}/" for egg in eggs)
    entries = listing(made.root)
    return {
        path: info
        for path, info in entries.items()
        if not f"{path}/".startswith(inside) and path != str(made.site_packages)
    }


@pytest.fixture(scope="module", params=TREES)
def converted(request: pytest.FixtureRequest, where: Path, nobody: pwd.struct_passwd) -> Iterator[Converted]:
    """Each real tree, converted in a copy."""
    place = Path(tempfile.mkdtemp(prefix="unzip-", dir=where))
    place.chmod(0o755)
    original: Deployment = request.getfixturevalue(request.param)
    made = deployment.copy(original, place / original.root.name)
    root = TREES[request.param]
    tree = as_json(eggcache("tree", root, "--python", made.python, "--json"))
    eggs = [Path(distribution["egg"]) for distribution in tree["distributions"] if distribution["egg"]]
    names = [name for egg in made.eggs for name in modules(egg)]
    cache = place / "cache"
    cache.mkdir()
    os.chown(cache, nobody.pw_uid, nobody.pw_gid)  # so that all works that can work zipped
    command = [str(made.python), "-B", "-c", _IMPORT]
    before, _ = watched(command, nobody, env=environment({"PYTHON_EGG_CACHE": str(cache)}), text="\n".join(names))
    members = {}
    for egg in eggs:
        with zipfile.ZipFile(egg) as opened:
            members[egg] = {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")}
    arguments = ("unzip-all", root, "--python", made.python)
    saw, untouched, everything = seen(made), outside(made, eggs), listing(made.root)
    planned = eggcache(*arguments, "-n", "--json")
    assert listing(made.root) == everything, "the dry run wrote something"
    result = eggcache(*arguments)
    yield Converted(
        made, root, eggs, result, as_json(planned), members, names, set(before.stdout.split()), saw, untouched
    )
    shutil.rmtree(place)


def test_tree_is_unzipped(converted: Converted) -> None:
    """No zipped egg is left in the tree, every member is there with its bytes, and nothing else was touched."""
    missing_one = converted.deployment.root.name == "turbogears1"
    assert converted.done.returncode == (5 if missing_one else 0), converted.done.stderr
    assert RESTART in converted.done.stderr
    assert len(converted.eggs) >= 5
    tree = as_json(eggcache("tree", converted.root, "--python", converted.deployment.python, "--json"))
    assert [
        distribution["location"]
        for distribution in tree["distributions"]
        if "zip" in distribution["kind"].replace("unzipped", "")
    ] == []
    for egg, members in converted.members.items():
        facts = {
            str(path.relative_to(egg)): path.read_bytes()
            for path in egg.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
        assert facts == {name: data for name, data in members.items() if not name.endswith(".pyc")}
    assert outside(converted.deployment, converted.eggs) == converted.untouched
    assert leftovers(converted.deployment.site_packages) == []


def test_dry_run_told_what_was_done(converted: Converted) -> None:
    """-n writes nothing, and names each egg with its files and bytes; the run does exactly that."""
    assert converted.planned["dry_run"]
    told = {(outcome["egg"], outcome["files"], outcome["size"]) for outcome in converted.planned["outcomes"]}
    assert told == {
        (str(egg), len(members), sum(map(len, members.values()))) for egg, members in converted.members.items()
    }
    files, size = sum(item[1] for item in told), sum(item[2] for item in told) / 1_000_000
    assert f"{len(told)} eggs unzipped: {files:,} files, {size:.1f} MB" in converted.done.stdout


def test_second_run_does_nothing(converted: Converted) -> None:
    """Run again it writes nothing and says nothing but what is missing, what is outside of the tree, and where
    something is missing, that it is no zip."""
    before = listing(converted.deployment.root)
    again = eggcache("unzip-all", converted.root, "--python", converted.deployment.python)
    nothing = "there is no zipped egg in the tree: nothing to do\n"
    assert again.stdout == (nothing if again.returncode == 5 else "")
    assert RESTART not in again.stderr
    assert again.returncode == converted.done.returncode
    other = [line for line in again.stderr.splitlines() if "outside of the tree" not in line]
    assert other == [] or again.returncode == 5
    assert listing(converted.deployment.root) == before


def test_pip_and_pkg_resources_see_the_same_distributions(converted: Converted) -> None:
    """pkg_resources and pip see the same distributions, versions and places."""
    assert seen(converted.deployment) == converted.seen


def compilations(told: str) -> list[str]:
    """Those lines that a Python writes for `-v` of which each tells that it has compiled a source."""
    begin = re.compile(r"# code object from |import \S+ # from ")  # of Python 3, and of 2
    return [line for line in told.splitlines() if begin.match(line) and line.endswith(".py")]


def test_everything_imports_and_nothing_is_written(converted: Converted, nobody: pwd.struct_passwd) -> None:
    """What could be imported can be, as a user who may not write: who compiles nothing and attempts no write."""
    command = [str(converted.deployment.python), "-v", "-c", _IMPORT]
    # The cache is for the eggs that the tree does not need, which are still zipped.
    cache = {"PYTHON_EGG_CACHE": str(converted.deployment.root.parent / "cache")}
    result, attempts = watched(command, nobody, env=environment(cache), text="\n".join(converted.names))
    importable = set(result.stdout.split())
    assert len(importable) > 50
    assert converted.importable - importable == set()
    if converted.root == "--all":
        assert "tw2.forms" in importable - converted.importable  # asks for a file where there has to be a directory
    inside = [text for egg in converted.eggs for text in (f"{egg}/", f"/{egg.name}-tmp/")]
    assert [attempt for attempt in attempts if any(egg in attempt for egg in inside)][:3] == []
    compiled = [line for line in compilations(result.stderr) if any(egg in line for egg in inside)]
    assert compiled[:3] == []
    assert sum("matches" in line and any(egg in line for egg in inside) for line in result.stderr.splitlines()) > 50


@pytest.mark.parametrize("version", ["2.7", "3.11"])
def test_without_byte_code_each_process_compiles(
    version: str, interpreter: Callable[[str], Path], shared_tmp: Path, nobody: pwd.struct_passwd
) -> None:
    """Of a module without byte code each process of a user who cannot write compiles the source anew."""
    (egg := shared_tmp / "One-1.0.egg").mkdir()
    (egg / "one.py").write_text("x = 1\n")
    command = [interpreter(version), "-v", "-c", f"import sys; sys.path.insert(0, {str(egg)!r}); import one"]
    for _ in range(2):
        (line,) = [line for line in compilations(deployment.run(command, user=nobody.pw_name).stderr) if "One" in line]
        assert line.endswith("One-1.0.egg/one.py")
        assert [path.name for path in egg.rglob("*")] == ["one.py"]


def test_byte_code_is_the_targets(converted: Converted) -> None:
    """Each source that compiles has a .pyc with exactly its mtime, which names the final path and not the stage's."""
    result = deployment.run([converted.deployment.python, "-c", _STAMPS], input="\n".join(map(str, converted.eggs)))
    count, wrong = eval(result.stdout)
    assert wrong == []
    assert count > 50


# --------------------------------------------------------------------------------------------- eggs of all kinds


def dos(year: int, month: int, day: int) -> int:
    return (year - 1980) << 9 | month << 5 | day


@dataclass
class Zoo:
    """A target with an egg of every kind, converted, and what was there before."""

    deployment: Deployment
    done: subprocess.CompletedProcess[str]
    untouched: dict[str, bytes]
    elsewhere: Path
    backup: Path
    original: dict[str, bytes]

    def egg(self, name: str) -> Path:
        return next(self.deployment.site_packages.glob(f"{name}-*.egg"))


@pytest.fixture(scope="module", params=[("2.7", "44.1.1"), ("3.11", "65.5.0")], ids=["2.7", "3.11"])
def zoo(request: pytest.FixtureRequest, where: Path, nobody: pwd.struct_passwd) -> Iterator[Zoo]:
    """A target with an egg of every kind, converted with a umask of 000 and a backup on another file system."""
    version, setuptools = request.param
    place = Path(tempfile.mkdtemp(prefix="zoo-", dir=where))
    place.chmod(0o755)
    made = built(lambda: deployment.target(version, setuptools, where, inside=place))
    site, elsewhere = made.site_packages, place / "elsewhere"
    elsewhere.mkdir()

    def at(name: str, directory: Path = site) -> Path:
        return directory / f"{name}-1.0-py{version}.egg"

    probe = build(made, place)
    shutil.copy(probe, site / probe.name)

    def module(name: str, text: bytes = b"value = 1\n", **headers: Any) -> Entry:
        return Entry(name.encode() + b".py", text, **headers)

    wild = [
        module("m_owned", central={"attributes": 0o106777 << 16}),
        Entry(b"m_data/native.so", b"\x7fELF", central={"attributes": 0o100000 << 16}),
        Entry(b"m_data/text", b"text", central={"attributes": 0o100222 << 16}),
    ]
    os.chown(make(at("Owned"), *wild), 12345, 23456)
    at("Owned").chmod(0o640)
    os.chown(make(at("Private"), *wild), 12345, 23456)
    at("Private").chmod(0o600)
    make(at("Header"), module("m_header"), prefix=b"#!/bin/sh\nexec python\n")
    make(
        at("Dirs"),
        Entry(b"m_dirs/", method=0, central={"attributes": 0o040777 << 16}),
        Entry(b"m_dirs/nothing/", method=0, central={"attributes": 0o040777 << 16}),
        Entry(b"m_dirs/__init__.py"),
        Entry(b"m_dirs/empty"),
    )
    make(at("Broken"), module("m_fine"), module("m_template", b"class {{name}}:\n"), module("m_new", b"x = f'{1}'\n"))
    make(at("Late"), module("m_late"), date=dos(2098, 1, 1))
    make(at("Odd"), module("m_odd"), date=dos(1980, 0, 0), time=0xFFFF)
    make(at("Twice"), module("m_twice"), date=dos(2020, 10, 25), time=2 << 11 | 30 << 5)  # Madrid's clocks go back
    stale = b"\x03\xf3\r\n\0\0\0\0stale"
    make(
        at("Stale"),
        module("m_stale"),
        Entry(b"m_stale.pyc", stale),
        Entry(b"__pycache__/m_stale.cpython-311.pyc", stale),
    )
    make(
        at("Blocked"), module("m_blocked"), Entry(b"m_blocked.pyc/x"), Entry(b"__pycache__/m_blocked.cpython-311.pyc/x")
    )
    make(at("Real", elsewhere), module("m_real"))
    at("Link").symlink_to(at("Real", elsewhere))
    make(at("Shared"), module("m_shared"))
    os.link(at("Shared"), elsewhere / "shared")
    make(at("Damaged"), module("m_damaged"), module("m_crc", both={"crc": 1}))
    make(
        at("Basket"),
        Entry(
            f"Inner-1.0-py{version}.egg/EGG-INFO/PKG-INFO".encode(),
            b"Metadata-Version: 1.0\nName: Inner\nVersion: 1.0\n",
        ),
        Entry(f"Inner-1.0-py{version}.egg/m_inner.py".encode()),
    )
    source = place / "source-tree"
    (source / "Develop.egg-info").mkdir(parents=True)
    (source / "Develop.egg-info" / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: Develop\nVersion: 1.0\n")
    (source / "m_develop.py").write_text("")
    (site / "Develop.egg-link").write_text(f"{source}\n.")
    pth = [
        "import sys; sys.__plen = len(sys.path)",
        *(f"./{egg.name}" for egg in sorted(site.glob("*-py*.egg"))),
        str(source),
    ]
    (site / "easy-install.pth").write_text("\n".join(pth) + "\n")
    untouched = {
        str(path): path.read_bytes() for top in (made.root, source) for path in top.rglob("*") if path.is_file()
    }
    original = {path.name: path.read_bytes() for path in site.glob("*-py*.egg")}
    backup = (
        Path(tempfile.mkdtemp(prefix="eggcache-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)) / "zips"
    )
    before = os.umask(0)
    try:
        result = eggcache(
            "unzip-all", "--all", "--python", made.python, "--backup", backup, "--json", env={"TZ": "Europe/Madrid"}
        )
    finally:
        os.umask(before)
    yield Zoo(made, result, untouched, elsewhere, backup, original)
    shutil.rmtree(backup.parent)
    shutil.rmtree(place)


def test_refused_eggs_stay(zoo: Zoo) -> None:
    """A damaged egg and a basket stay as they are and are named; all others are converted (exit 3)."""
    assert zoo.done.returncode == 3, zoo.done.stderr
    findings = {
        Path(finding["thing"].split(",")[0]).name.split("-")[0]: finding for finding in as_json(zoo.done)["findings"]
    }
    assert set(findings) == {"Damaged", "Basket"}
    assert {finding["code"] for finding in findings.values()} == {"egg-refused"}
    assert "m_crc.py" in findings["Damaged"]["thing"]
    for egg in zoo.deployment.site_packages.glob("*-py*.egg"):
        refused = egg.name.split("-")[0] in findings
        assert egg.is_file() == refused
        if refused:
            assert egg.read_bytes() == zoo.original[egg.name]
    assert leftovers(zoo.deployment.site_packages) == []
    again = eggcache("unzip-all", "--all", "--python", zoo.deployment.python)
    assert again.returncode == 3
    assert again.stdout == ""


def test_zip_of_another_name_stays(own: Deployment, shared_tmp: Path) -> None:
    """A zip on the path whose name does not end in .egg, in which pkg_resources sees a distribution, is named and stays
    as it is, by unzip-all and by an archive of unzipped eggs; an egg beside it is unzipped."""
    other, egg = shared_tmp / "Plain-1.0.zip", shared_tmp / "Beside-1.0.egg"
    metadata = "Metadata-Version: 2.1\nName: Plain\nVersion: 1.0\n"
    write_egg(other, {"plain.py": "", "Plain-1.0.dist-info/METADATA": metadata}, project="Plain")
    write_egg(egg, {"beside.py": ""})
    before = other.read_bytes()
    words = ["--all", "--python", own.python, "--path", other, "--path", egg, "--json"]
    for command in (["archive", shared_tmp / "eggs.tar", "--unzipped"], ["unzip-all"]):
        result = eggcache(*command, *words)
        (finding,) = as_json(result)["findings"]
        assert (finding["code"], finding["thing"]) == ("egg-refused", str(other)), result.stderr
        assert "its name does not end in .egg" in finding["cause"]
        assert other.read_bytes() == before
    assert egg.is_dir()


def test_everything_else_is_untouched(zoo: Zoo) -> None:
    """easy-install.pth, the .egg-link, its tree, and the other name of an egg keep every byte."""
    names = {egg.name for egg in zoo.deployment.site_packages.glob("*-py*.egg")}
    for path, data in zoo.untouched.items():
        if not names & set(Path(path).parts):
            assert Path(path).read_bytes() == data
    assert (zoo.elsewhere / "shared").read_bytes() == zoo.original[zoo.egg("Shared").name]
    assert zoo.egg("Link").is_symlink()
    assert next(zoo.elsewhere.glob("Real-*.egg")).is_dir()
    tree = as_json(eggcache("tree", "Develop", "--python", zoo.deployment.python, "--json"))
    assert tree["distributions"][0]["kind"] == "develop link"


def test_owner_group_and_modes(zoo: Zoo) -> None:
    """As the egg's, read for read, whatever the zip's modes and the umask; native modules are executable."""
    for name, owner, directory, file in [
        ("Owned", (12345, 23456), 0o750, 0o640),
        ("Private", (12345, 23456), 0o700, 0o600),
        ("Probe", (0, 0), 0o755, 0o644),
    ]:
        egg = zoo.egg(name)
        byte_code = 0
        for path in (egg, *egg.rglob("*")):
            info = path.lstat()
            expected = directory if path.is_dir() or path.suffix == ".so" else file
            assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (expected, *owner), path
            byte_code += path.suffix == ".pyc"
        assert byte_code


def test_all_kinds_import_without_a_write(zoo: Zoo, nobody: pwd.struct_passwd) -> None:
    """Each kind imports from its directory as a user who may not write: what is dated 2098, 1980-00-00 or in an hour
    that is there twice, and what had a stale .pyc, too; nothing is compiled, nothing attempted."""
    names = (
        "m_header m_dirs m_fine m_late m_odd m_twice m_stale m_real m_shared m_develop probe.ns.deep probe.ns._native"
    )
    command = [str(zoo.deployment.python), "-v", "-c", _IMPORT]
    result, attempts = watched(command, nobody, env=environment(), text=names)
    assert set(result.stdout.split()) == set(names.split())
    assert [attempt for attempt in attempts if ".egg/" in attempt] == []
    compiled = [
        line for line in result.stderr.splitlines() if line.rstrip("'").endswith(".py") and "matches" not in line
    ]
    assert [line for line in compiled if ".egg/" in line and (" # from " in line or "code object" in line)] == []
    assert zoo.egg("Dirs").joinpath("m_dirs", "nothing").is_dir()
    assert zoo.egg("Dirs").joinpath("m_dirs", "empty").stat().st_size == 0


def test_backup_on_another_file_system(zoo: Zoo) -> None:
    """Each zip is kept, to the byte, with its owner and rights to read, where nobody else can write."""
    kept = {path.name: path.read_bytes() for path in zoo.backup.iterdir()}
    converted = {egg.name for egg in zoo.deployment.site_packages.glob("*-py*.egg") if egg.is_dir()}
    real = next(zoo.elsewhere.glob("Real-*.egg")).name
    assert set(kept) == {name for name in converted if not name.startswith("Link-")} | {real}
    assert all(data == zoo.original[name] for name, data in kept.items() if name != real)
    assert stat.S_IMODE(zoo.backup.stat().st_mode) == 0o700
    owned = zoo.backup / zoo.egg("Owned").name
    assert (owned.stat().st_uid, owned.stat().st_gid, stat.S_IMODE(owned.stat().st_mode)) == (12345, 23456, 0o640)


# --------------------------------------------------------------------------- a small target: who, where, when


SMALL = 6


@pytest.fixture(scope="module")
def pristine(where: Path) -> Deployment:
    """A target without pkg_resources, with six eggs."""
    made = built(lambda: deployment.target("3.11", "", where))
    for number in range(SMALL):
        code = Entry(b"small%d/__init__.py" % number, b"value = 1\n" * 100)
        make(made.site_packages / f"Small{number}-1.0-py3.11.egg", code, Entry(b"small%d/data" % number, b"x" * 5000))
    return made


@pytest.fixture
def small(pristine: Deployment, copy_of: Callable[[Deployment], Deployment]) -> Deployment:
    """The test's own copy."""
    return copy_of(pristine)


def state(made: Deployment) -> dict[str, str]:
    """For each egg "zip" or "directory", where it is whole."""
    entries = {}
    for egg in made.site_packages.glob("*.egg"):
        if egg.is_file():
            with zipfile.ZipFile(egg) as opened:
                entries[egg.name] = "zip" if opened.testzip() is None else "broken"
        else:
            files = [path for path in egg.rglob("*") if path.is_file()]
            entries[egg.name] = (
                "directory" if len(files) == 4 and all(path.stat().st_size for path in files) else "broken"
            )
    return entries


def kinds(made: Deployment) -> set[str]:
    entries = state(made)
    assert len(entries) == SMALL
    return set(entries.values())


def start(
    made: Deployment,
    *arguments: str | Path,
    prefix: tuple[str, ...] = (),
    python: str | Path = sys.executable,
    modules: str | Path = "",
) -> subprocess.Popen[str]:
    command = [*prefix, python, *PROGRAM[1:], "--all", "--python", made.python, *arguments]
    return subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env=environment({"PYTHONPATH": str(modules), "PYTHONWARNINGS": "error"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def injected(made: Deployment, what: str, *arguments: str | Path) -> tuple[int, str]:
    """Run it with strace tampering with system calls of its own process: exit status and stderr."""
    process = start(
        made,
        *arguments,
        prefix=("strace", "-qq", "-o", "/dev/null", "-e", "trace=" + what.split(":")[0], "-e", f"inject={what}"),
    )
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def test_without_pkg_resources(small: Deployment) -> None:
    """--all needs no pkg_resources in the target; a tree does, and the error says what to do."""
    asked = eggcache("unzip-all", "TurboGears", "--python", small.python)
    assert asked.returncode == 1
    assert asked.stderr.count("\n") == 1
    assert "has no pkg_resources to ask" in asked.stderr
    assert f"eggcache unzip-all --python {small.python}" in asked.stderr
    assert kinds(small) == {"zip"}
    result = eggcache("unzip-all", "--all", "--python", small.python)
    assert result.returncode == 0, result.stderr
    assert RESTART in result.stderr
    assert kinds(small) == {"directory"}
    again = eggcache("unzip-all", "--all", "--python", small.python)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_root_looks_once_at_what_it_runs(
    small: Deployment, nobody: pwd.struct_passwd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root looks once at who can change a target, however often it starts it; where the look is not at all that answers
    for the target, it looks again before it compiles."""
    looks, look = list[str](), startup_files.look
    monkeypatch.setattr(startup_files, "look", lambda python, *more: looks.append(python) or look(python, *more))
    cleared = code_owners.runner(str(small.python))
    assert isinstance(cleared, code_owners.RootAlone)
    assert len(unzip_all(Target(str(small.python), account=cleared)).outcomes) == SMALL
    assert looks == [str(small.python)]
    looks.clear()
    write_egg(small.site_packages / "late-1.0-py3.11.egg", {"late.py": ""})
    assert len(unzip_all(Target(str(small.python))).outcomes) == 1
    assert len(looks) >= 3, "before anything, for the tree, and for the compiler"


def test_as_the_owner_of_site_packages(
    small: Deployment, nobody: pwd.struct_passwd, interpreter: Callable[[str], Path], checkout: Path
) -> None:
    """As root on another user's site-packages all of it, the target too, runs as that user."""
    for path in (small.root, *small.root.rglob("*")):
        os.chown(path, nobody.pw_uid, -1, follow_symlinks=False)  # the group stays root's: everybody may read
    log = small.root.parent / "log"
    process = start(
        small,
        prefix=("strace", "-f", "-qq", "-o", str(log), "-e", "trace=mkdir,mkdirat,setresuid,geteuid,execve"),
        python=interpreter("3.11"),
        modules=checkout,
    )
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert kinds(small) == {"directory"}
    assert {path.lstat().st_uid for path in small.root.rglob("*")} == {nobody.pw_uid}
    lines = log.read_text().splitlines()
    became = next(number for number, line in enumerate(lines) if f"setresuid({nobody.pw_uid}, " in line)
    assert not any("mkdir" in line and "eggcache-stage" in line for line in lines[:became])
    child = lines[became].split()[0]
    assert all(line.startswith(child) for line in lines if "eggcache-stage" in line and "mkdir" in line)
    assert not any("execve" in line and str(small.python) in line for line in lines[:became])


def test_group_that_the_owner_cannot_give(
    small: Deployment, nobody: pwd.struct_passwd, interpreter: Callable[[str], Path], checkout: Path
) -> None:
    """An egg that a foreign group may read unlike others stays, with the remedy; the others are done (exit 4)."""
    for path in (small.root, *small.root.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    egg = small.site_packages / "Small0-1.0-py3.11.egg"
    os.chown(egg, nobody.pw_uid, 0)
    egg.chmod(0o640)
    modules = {"PYTHONPATH": str(checkout)}
    result = eggcache("unzip-all", "--all", "--python", small.python, python=str(interpreter("3.11")), env=modules)
    assert result.returncode == 4
    assert "chgrp" in result.stderr
    assert state(small).pop(egg.name) == "zip"
    assert sorted(state(small).values()) == ["directory"] * (SMALL - 1) + ["zip"]


@pytest.fixture
def as_nobody(
    checkout: Path, interpreter: Callable[[str], Path], nobody: pwd.struct_passwd
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A factory: runs eggcache as nobody, from a copy that nobody can read."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return deployment.run(
            [interpreter("3.11"), "-B", "-m", "eggcache", "unzip-all", *arguments],
            user="nobody",
            env={"PYTHONPATH": str(checkout)},
            check=False,
        )

    return run


def test_eggs_on_a_disk_that_is_read_only(small: Deployment) -> None:
    """Eggs on a file system that is mounted read-only: exit 4, the cause and its remedy in one line, also with -n."""
    place = small.site_packages
    before = f"mount --bind {place} {place}; mount -o remount,bind,ro {place}"
    for dry in ((), ("-n",)):
        result = namespace(before, "unzip-all", "--all", "--python", str(small.python), *dry)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (4, "", 1), result.stderr
        assert result.stderr == (
            f"eggcache: {place}: the file system of these eggs is mounted read-only; remount it and run again\n"
        )


def test_owner_of_an_egg_who_cannot_give_files_to_its_group(
    small: Deployment, as_nobody: Callable[..., subprocess.CompletedProcess[str]], nobody: pwd.struct_passwd
) -> None:
    """An egg that its group alone may read, of whom its owner is none: refused by name, and unzipped where everybody
    may read it. An egg of somebody else is refused as well."""
    for path in (small.site_packages, *small.site_packages.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    first, second = small.eggs[:2]
    os.chown(first, nobody.pw_uid, 0)
    first.chmod(0o640)
    os.chown(second, 12345, nobody.pw_gid)
    result = as_nobody("--all", "--python", small.python)
    assert result.returncode == 4, result.stderr
    assert "its owner is not in its group 0, which may read it while others may not" in result.stdout + result.stderr
    assert "its files have to belong to the same user" in result.stdout + result.stderr
    assert (first.is_file(), second.is_file()) == (True, True)
    first.chmod(0o644)
    os.chown(second, nobody.pw_uid, nobody.pw_gid)
    result = as_nobody("--all", "--python", small.python)
    assert result.returncode == 0, result.stderr
    assert (first.is_dir(), second.is_dir()) == (True, True)


@pytest.mark.parametrize("dry", [(), ("-n",)], ids=["run", "dry-run"])
def test_nobody_changes_nothing_in_roots_site_packages(
    dry: tuple[str, ...], small: Deployment, as_nobody: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Nobody on root's site-packages: exit 4, one line with cause and remedy, nothing changed; -n says the same."""
    before = listing(small.root)
    result = as_nobody("--all", "--python", small.python, *dry)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (4, "", 1), result.stderr[-1000:]
    assert f"{small.site_packages}: user nobody cannot write to this directory of eggs" in result.stderr
    assert "it belongs to root (uid 0), mode 0755; run it as root, or as the owner" in result.stderr
    assert listing(small.root) == before


def test_one_directory_of_several_is_not_permitted(
    small: Deployment,
    shared_tmp: Path,
    nobody: pwd.struct_passwd,
    as_nobody: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """Eggs that the caller may not write are named, those in another directory are done, and the status is 4."""
    mine = shared_tmp / "mine"
    mine.mkdir()
    for name in ("Mine", "Roots"):
        make(mine / f"{name}-1.0-py3.11.egg", Entry(b"m.py"))
    for path in (mine, mine / "Mine-1.0-py3.11.egg"):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    result = as_nobody("--all", "--python", small.python, *named(mine))
    assert result.returncode == 4
    assert f"{small.site_packages}: user nobody cannot write" in result.stderr
    assert f"{mine}/Roots-1.0-py3.11.egg: it belongs to root (uid 0)" in result.stderr
    assert RESTART in result.stderr
    assert (mine / "Mine-1.0-py3.11.egg").is_dir()
    assert (mine / "Roots-1.0-py3.11.egg").is_file()
    assert kinds(small) == {"zip"}


def test_site_packages_behind_a_link(small: Deployment) -> None:
    """Where site-packages is a symbolic link, the eggs that it leads to are converted."""
    real = small.root / "somewhere else"
    small.site_packages.rename(real)
    small.site_packages.symlink_to(real)
    assert eggcache("unzip-all", "--all", "--python", small.python).returncode == 0
    assert small.site_packages.is_symlink()
    assert kinds(small) == {"directory"}


@pytest.mark.parametrize("count", [2, 50])
def test_one_of_parallel_runs_converts(count: int, small: Deployment) -> None:
    """Of runs at once all exit 0, one converts, the others do and say nothing, and nothing is left over."""
    processes = [start(small) for _ in range(count)]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert [status for _, _, status in ended] == [0] * count, ended
    assert sum(RESTART in errors for _, errors, _ in ended) == 1
    assert sorted(bool(output) for output, _, _ in ended) == [False] * (count - 1) + [True]
    assert kinds(small) == {"directory"}
    assert leftovers(small.site_packages) == []


def test_zip_that_changes_meanwhile(small: Deployment) -> None:
    """An egg that is installed anew while the old one is unzipped stays as it was installed, and is named."""
    egg = small.site_packages / "Small0-1.0-py3.11.egg"
    calls = small.root / "calls"  # strace writes a call down when it begins
    inject = ["strace", "-qq", "-o", str(calls), "-e", "trace=syncfs", "-e", "inject=syncfs:delay_enter=2000000"]
    process = subprocess.Popen(
        [*inject, *PROGRAM, "--all", "--python", str(small.python)],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: calls.exists() and "syncfs(" in calls.read_text())  # all eggs have been read
    newer = write_egg(small.root / "new.egg", {"newer.py": ""}, project="Small0")
    newer.rename(egg)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{egg}: it changed while it was unzipped [not-unzipped]; run again" in errors
    assert sorted(state(small).values()) == ["directory"] * (SMALL - 1) + ["zip"]
    with zipfile.ZipFile(egg) as archive:
        assert "newer.py" in archive.namelist()
    assert leftovers(small.site_packages) == []


def test_tree_asked_for_during_a_swap(
    turbogears1_complete: Deployment, copy_of: Callable[[Deployment], Deployment]
) -> None:
    """A run whose target looks around while another swaps waits for that, and takes nothing for missing or broken."""
    made, other = copy_of(turbogears1_complete), copy_of(turbogears1_complete)
    arguments = ("unzip-all", "TurboGears", "--python")
    undisturbed = eggcache(*arguments, other.python)
    assert undisturbed.returncode == 0
    names = [egg.name for egg in made.eggs]
    here, there = (os.open(item.site_packages, os.O_RDONLY) for item in (made, other))
    try:
        fcntl.flock(here, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [*PROGRAM, "TurboGears", "--python", str(made.python)],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + 3
        while time.monotonic() < until:
            for name in names * 2:  # there and back: it ends as it began
                syscalls.exchange(here, name, there, name)
                time.sleep(0.0005)
    finally:
        os.close(here)
        os.close(there)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output.split(" eggs unzipped")[0] == undisturbed.stdout.split(" eggs unzipped")[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_at_random_moments(number: signal.Signals, small: Deployment, pristine: Deployment) -> None:
    """SIGTERM ends it with 143 and leaves nothing over; after SIGKILL the next run tidies up, even while the compiler
    that it started is still at work."""
    for _ in range(4):
        process = start(small)
        time.sleep(random.uniform(0.1, 0.5))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert kinds(small) <= {"zip", "directory"}
        # -SIGTERM: it came before the first line of ours was run, and nothing was touched.
        assert process.returncode in (0, -number, *([128 + number] if number == signal.SIGTERM else [])), errors
        if number == signal.SIGTERM:
            assert leftovers(small.site_packages) == []
    result = eggcache("unzip-all", "--all", "--python", small.python)
    assert result.returncode == 0, result.stderr[-1000:]
    assert kinds(small) == {"directory"}
    assert leftovers(small.site_packages) == []


def test_held_directory_is_75_and_nothing_is_changed(small: Deployment) -> None:
    """Where another run holds the directory longer than --wait: exit 75, and nothing is changed."""
    descriptor = os.open(small.site_packages, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        result = eggcache("unzip-all", "--all", "--python", small.python, "--wait", "0")
    finally:
        os.close(descriptor)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (75, "", 1)
    assert kinds(small) == {"zip"}


def test_fault_in_the_middle(small: Deployment) -> None:
    """What was swapped before a fault is reported, with the notice to restart; the next run does the rest."""
    status, errors = injected(small, "renameat2:error=EIO:when=4")
    assert status == 1
    assert RESTART in errors
    assert "Input/output error" in errors
    assert sorted(state(small).values()) == ["directory"] * 3 + ["zip"] * 3
    assert eggcache("unzip-all", "--all", "--python", small.python).returncode == 0
    assert kinds(small) == {"directory"}


def test_full_disk_of_the_compiler(small: Deployment) -> None:
    """Byte code that the target cannot write stops it: a process would recompile at every start."""
    real = small.python.resolve()
    small.python.unlink()
    small.python.write_text(
        f'#!/bin/sh\ncase "$*" in *-S*) ulimit -f 0; trap "" XFSZ;; esac\nexec -a "$0" {real} "$@"\n'
    )
    small.python.write_text(small.python.read_text().replace("#!/bin/sh", "#!/bin/bash"))
    small.python.chmod(0o755)
    if os.geteuid() == 0:  # who compiles with no script, since what it runs cannot be told
        subprocess.run(["chown", "-R", "nobody", small.site_packages], check=True)
    result = eggcache("unzip-all", "--all", "--python", small.python)
    assert result.returncode == 1
    assert "cannot byte-compile there" in result.stderr
    assert "File too large" in result.stderr
    assert kinds(small) == {"zip"}
    assert leftovers(small.site_packages) == []


def test_backup_on_the_same_disk_is_the_very_zip(small: Deployment) -> None:
    """On the same file system the backup is the very zip; a second run, and one after a kill, find it there."""
    backup = small.root / "zips"
    inodes = {egg.name: egg.stat().st_ino for egg in small.eggs}
    status, _ = injected(small, "renameat2:signal=KILL:when=2", "--backup", backup)
    assert status == -signal.SIGKILL
    result = eggcache("unzip-all", "--all", "--python", small.python, "--backup", backup)
    assert result.returncode == 0, result.stderr[-1000:]
    assert {path.name: path.stat().st_ino for path in backup.iterdir()} == inodes
    assert kinds(small) == {"directory"}


def test_larger_than_memory(small: Deployment) -> None:
    """An egg is never in memory as a whole: not to be unzipped, nor kept on another file system, nor put back."""
    size = 64 << 20
    limited = ("bash", "-c", f'ulimit -d {size >> 10}; exec "$@"', "bash")
    egg = make(small.site_packages / "Large-1.0-py3.11.egg", Entry(b"large/data", bytes(size), method=0))
    with tempfile.TemporaryDirectory(prefix="eggcache-", dir="/dev/shm") as elsewhere:
        assert os.stat(elsewhere).st_dev != egg.stat().st_dev
        for undo in ((), ("--undo",)):
            process = start(small, "--backup", f"{elsewhere}/zips", *undo, prefix=limited)
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            assert egg.is_dir() == (not undo)
        assert os.stat(f"{elsewhere}/zips/{egg.name}").st_size == egg.stat().st_size > size


def test_another_zip_in_the_backup_stops_the_run(small: Deployment) -> None:
    """Another zip of one name in the backup stops it before anything is swapped or kept; -n says the same."""
    backup = small.root / "zips"
    backup.mkdir(0o755)
    name = f"Small{SMALL - 1}-1.0-py3.11.egg"
    (backup / name).write_bytes(b"another")
    for dry in ((), ("-n",)):
        result = eggcache("unzip-all", "--all", "--python", small.python, "--backup", backup, *dry)
        assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr[-1000:]
        assert f"{backup / name} is another zip of that name" in result.stderr
        assert os.listdir(backup) == [name]
        assert (backup / name).read_bytes() == b"another"
        assert kinds(small) == {"zip"}


@pytest.mark.parametrize(
    ("make_backup", "status", "words"),
    [
        (lambda made: made.site_packages, 2, "that is where the eggs are"),
        (lambda made: made.root / "no" / "such", 1, "does not exist"),
        (lambda made: open_to_all(made.root / "open"), 4, "others can write to it"),
    ],
    ids=["eggs", "missing", "writable"],
)
def test_backup_that_would_lose_zips_is_refused(
    make_backup: Callable[[Deployment], Path], status: int, words: str, small: Deployment
) -> None:
    """A backup that would lose the zips, or that others can write, is refused before anything is done."""
    result = eggcache("unzip-all", "--all", "--python", small.python, "--backup", make_backup(small))
    assert (result.returncode, result.stderr.count("\n")) == (status, 1), result.stderr[-1000:]
    assert words in result.stderr
    assert kinds(small) == {"zip"}


def open_to_all(path: Path) -> Path:
    path.mkdir()
    path.chmod(0o777)
    return path


def test_hundreds_of_eggs(small: Deployment) -> None:
    """500 eggs need no more descriptors than one, and their compilation takes no longer than their number."""
    for number in range(500):
        members = [Entry(b"many%d/m%d.py" % (number, each)) for each in range(10)]
        make(small.site_packages / f"Many{number}-1.0-py3.11.egg", *members)
    process = start(small, prefix=("bash", "-c", 'ulimit -n 64; exec "$@"', "bash"))
    started = time.monotonic()
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert f"{500 + SMALL} eggs unzipped" in output
    assert time.monotonic() - started < 60
    assert not [egg for egg in small.site_packages.glob("*.egg") if egg.is_file()]


# -------------------------------------------------------------------------------- eggs that are somebody's files


@pytest.mark.parametrize(("version", "setuptools"), [("2.7", "44.1.1"), ("3.11", "65.5.0")], ids=["2.7", "3.11"])
def test_eggs_that_are_somebodys_files(
    version: str,
    setuptools: str,
    target: Callable[[str, str], Deployment],
    copy_of: Callable[[Deployment], Deployment],
    shared_tmp: Path,
) -> None:
    """Eggs in a directory that only --path names stay zipped, as Scrapyd needs them, which opens each as a file; one
    line has the command that unzips them after all, and --undo puts them back. What is on the target's own path, by
    whatever name --path has it, is unzipped."""
    made = copy_of(target(version, setuptools))
    tag = f"py{version}"
    own = [make(made.site_packages / f"Own-1.0-{tag}.egg", Entry(b"own.py"))]
    led = shared_tmp / "led"
    led.mkdir()
    own += [make(led / f"Led-1.0-{tag}.egg", Entry(b"led.py")), make(led / f"Inside-1.0-{tag}.egg", Entry(b"ins.py"))]
    (made.site_packages / "led.pth").write_text(f"{own[1]}\n{shared_tmp / 'link'}\n")
    (shared_tmp / "link").symlink_to(led)
    projects = shared_tmp / "eggs" / "it's mine"
    projects.mkdir(parents=True)
    theirs = [make(projects / f"{name}.egg", Entry(b"spider.py")) for name in ("1_0", "1_1")]
    before = listing(projects)
    said = ["--python", made.python, "--path", projects, "--path", made.site_packages, "--path", led]
    said += ["--backup", shared_tmp / "zips", "--limit", "entries=9"]
    for more in (["--all", "-n"], ["--all"], ["--all"], ["1-0"]):
        result = eggcache("unzip-all", *said, "--json", *more)
        assert result.returncode == 3, result.stderr
        (finding,) = as_json(result)["findings"]
        assert (finding["code"], finding["thing"]) == ("not-on-path", str(projects))
        assert finding["context"] == [str(egg) for egg in (theirs if "--all" in more else theirs[:1])]
        assert all(egg.is_dir() != ("-n" in more) for egg in own)
        assert listing(projects) == before
    command = shlex.split(finding["command"])[1:]
    result = eggcache(*command)
    assert result.returncode == 0, result.stderr
    assert [egg.is_dir() for egg in theirs] == [True, False]
    assert eggcache(*command, "--undo").returncode == 0
    assert {path: info[1:6] for path, info in listing(projects).items() if path != str(projects)} == {
        path: info[1:6] for path, info in before.items() if path != str(projects)
    }
