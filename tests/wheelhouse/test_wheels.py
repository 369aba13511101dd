"""wheels: real trees become wheels that real pips install, and what was hostile, odd or half done does not."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.judge import as_json, eggcache, environment, listing
from support.parts import missing
from support.probe import rounds
from support.sites import measured, write_egg
from support.wheels import other_setuptools, pip, verify
from support.zips import big_egg

from eggcache.errors import EggcacheError, EggTooLarge, EggUnsuitable, NotPermitted
from eggcache.model import DEFAULT_LIMITS, Distribution, Kind, Limits
from eggcache.system import accounts
from eggcache.system.accounts import Account
from eggcache.wheelhouse import egg_contents


def new_environment(python: str, setuptools: str, make: Callable[[str, str], Deployment]) -> Deployment:
    """An environment that has nothing but the last pip for that Python, and a setuptools where one is named."""
    made = make(python, setuptools)
    with zipfile.ZipFile(deployment.fetch_all(deployment.downloads(use=f"pip-{python}"))[0]) as archive:
        archive.extractall(made.site_packages)
    return made


def modules(wheels: list[Path]) -> list[str]:
    """Every module that the wheels hold, save tests and templates."""
    names = set()
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                stem = re.fullmatch(r"((?:[A-Za-z_]\w*/)*[A-Za-z_]\w*)(?:\.cpython\S*)?\.(?:py|so)", name)
                if stem and "test" not in name and "template" not in name:
                    names.add(stem[1].replace("/", ".").removesuffix(".__init__"))
    return sorted(names)


_IMPORT = r"""
import json, os, sys, warnings
warnings.simplefilter("ignore")
names, eggs = json.loads(sys.argv[1])
sys.path[:] = [entry for entry in sys.path if eggs is None or not entry.endswith(".egg") or entry in eggs]
sys.stdout = sys.stderr = open(os.devnull, "w")
found = {}
for name in names:
    try:
        __import__(name)
        found[name] = getattr(sys.modules[name], "__file__", None) or list(sys.modules[name].__path__)[0]
    except BaseException:
        pass
os.write(1, json.dumps(found).encode("ascii"))
os._exit(0)
"""


def importable(where: Deployment, names: list[str], cache: Path, eggs: list[str] | None = None) -> dict[str, str]:
    """Those of the modules that this environment imports, and from where; `eggs`: of no other eggs than these."""
    result = where.run(_IMPORT, json.dumps([names, eggs]), env={"PYTHON_EGG_CACHE": str(cache)})
    files: dict[str, str] = json.loads(result.stdout)
    return files


TREES = {  # deployment: root, new environments, how many modules have to import at least
    "turbogears2_27": ("TurboGears2", [("2.7", "44.1.1")], 90),
    "turbogears2_311": ("TurboGears2", [("3.11", "65.5.0"), ("3.11", "")], 100),
    "turbogears1_complete": ("TurboGears", [("2.7", "44.1.1")], 200),
}


@pytest.mark.parametrize("tree", TREES)
def test_a_tree_installs_elsewhere(
    tree: str, request: pytest.FixtureRequest, target: Callable[[str, str], Deployment], shared_tmp: Path
) -> None:
    """pip installs the tree from nothing but the wheels, and every module that the eggs import is imported there."""
    eggs: Deployment = request.getfixturevalue(tree)
    root, environments, least = TREES[tree]
    out = shared_tmp / "out"
    result = eggcache("wheels", out, root, "--strict-tree", "--python", eggs.python)  # pip takes what is declared
    assert result.returncode == 0, result.stderr
    wheels = sorted(out.iterdir())
    for wheel in wheels:
        verify(wheel)
    told = as_json(eggcache("wheels", out, root, "--strict-tree", "--python", eggs.python, "--json"))
    tree_of = [outcome["egg"] for outcome in told["outcomes"]]
    before = importable(eggs, modules(wheels), shared_tmp / "cache", tree_of)
    assert len(before) > least
    for number, (version, setuptools) in enumerate(environments):
        made = new_environment(version, setuptools, target)
        pip(made, "install", "--no-index", "--find-links", out, root)
        after = importable(made, modules(wheels), shared_tmp / "never")
        lacking = before.keys() - after.keys()
        assert {name for name in lacking if "pkg_resources" not in source(made, name)} == set(), number
        assert len(lacking) <= (0 if setuptools else 3)
        assert all(os.path.realpath(path).startswith(f"{made.site_packages}/") for path in after.values())
        assert "No broken requirements" in pip(made, "check").stdout
        if number == 0:
            pip(made, "uninstall", "-y", root)
            assert not list(made.site_packages.glob("turbogears*"))


def source(made: Deployment, module: str) -> str:
    """A module's source, to see what it needs that nobody said it does."""
    path = made.site_packages / (module.replace(".", "/") + ".py")
    return path.read_text() if path.exists() else ""


def test_all_of_a_large_tree(
    turbogears2_27: Deployment, target: Callable[[str, str], Deployment], shared_tmp: Path
) -> None:
    """--all: 35 eggs, native ones and five shared namespaces among them; all import, and one can be uninstalled
    without taking its neighbours along."""
    out = shared_tmp / "out"
    result = eggcache("wheels", out, "--all", "--python", turbogears2_27.python, "--json")
    assert result.returncode == 0, result.stderr
    assert as_json(result)["findings"] == []
    wheels = sorted(out.iterdir())
    assert len(wheels) == len(turbogears2_27.eggs) == 35
    assert sum("-cp27-cp27mu-linux_" in wheel.name for wheel in wheels) == 5
    names = [name for name in modules(wheels) if name.count(".") < 3]
    before = importable(turbogears2_27, names, shared_tmp / "cache")
    made = new_environment("2.7", "44.1.1", target)
    pip(made, "install", "--no-index", "--no-deps", "--no-compile", *wheels)
    after = importable(made, names, shared_tmp / "never")
    assert len(before) > 500
    # Python 2 reads a source with other than ASCII and no coding line from a zip, and not from a directory
    assert before.keys() - after.keys() == {"jinja2._identifier"}
    assert "tw2.forms.widgets" in after.keys() - before.keys()  # it lists a directory beside its file
    assert after["simplejson._speedups"].endswith("_speedups.so")
    assert "No broken requirements" in pip(made, "check").stdout
    pip(made, "uninstall", "-y", "repoze.lru", "PasteDeploy")
    left = importable(made, ["repoze.who", "paste.httpserver", "repoze.lru", "paste.deploy"], shared_tmp / "never")
    assert left.keys() == {"repoze.who", "paste.httpserver"}


def test_wheels_of_turbogears_1_install(turbogears1: Deployment, shared_tmp: Path) -> None:
    """The tree with PEAK-Rules missing: that is said, with the chain; the rest is made, its requirement in the words
    of today. wheel's own convert fails on the same egg."""
    out = shared_tmp / "out"
    result = eggcache("wheels", out, "TurboGears", "--python", turbogears1.python)
    assert result.returncode == 5
    assert "TurboGears 1.1.3 -> TurboJson 1.3.2 -> PEAK-Rules>=0.5a1.dev-r2600 (missing)" in result.stderr
    assert "'PEAK-Rules>=0.5a1.dev-r2555' is PEAK-Rules>=0.5a1.dev2555 in the wheel [wheel-requirement-rewritten]" in (
        result.stderr
    )
    assert re.search(
        r"(?m)setuptools is no egg \(dist-info\), .* \[wheel-no-egg\]; .*pip wheel .* setuptools==44.1.1$",
        result.stderr,
    )
    assert f"next: {turbogears1.python} -m pip install" in result.stdout  # what is missing is so with the eggs, too
    requires = verify(out / "turbogears-1.1.3-py27-none-any.whl").requires_dist or []
    assert "PEAK-Rules>=0.5a1.dev2555" in map(str, requires)
    for name, release in (("TurboGears", "0.5a1.dev-r2555"), ("TurboJson", "0.5a1.dev-r2600")):
        (egg,) = turbogears1.site_packages.glob(f"{name}-*.egg")
        converted = subprocess.run(
            [sys.executable, "-m", "wheel", "convert", "-d", shared_tmp, egg],
            capture_output=True,
            text=True,
            check=False,
        )
        assert converted.returncode != 0
        assert release in converted.stderr


@pytest.mark.parametrize(("version", "setuptools"), [("2.7", "44.1.1"), ("3.11", "65.5.0")])
def test_pip_installs_no_egg(
    version: str, setuptools: str, target: Callable[[str, str], Deployment], shared_tmp: Path
) -> None:
    """pip takes an egg for no requirement where it is named, and sees none in a directory of eggs; what is installed
    needs no wheel."""
    made = new_environment(version, setuptools, target)
    egg = write_egg(shared_tmp / f"Kid-1.0-py{version}.egg", {"kid.py": ""})
    install = [made.python, "-m", "pip", "install", "--no-index"]
    named = deployment.run([*install, egg], check=False)
    assert (named.returncode, f"Invalid requirement: '{egg}'" in named.stderr) == (1, True), named.stderr
    found = deployment.run([*install, "--find-links", shared_tmp, "Kid"], check=False)
    assert (found.returncode, "(from versions: none)" in found.stderr) == (1, True), found.stderr
    assert not list(made.site_packages.glob("[Kk]id*"))
    assert (
        "already satisfied: setuptools" in deployment.run([*install, "--find-links", shared_tmp, "setuptools"]).stdout
    )


def test_converted_wheel_of_a_native_egg_is_for_no_pip(
    target: Callable[[str, str], Deployment], shared_tmp: Path
) -> None:
    """wheel's own convert tags a native egg so that the pip of the egg's own Python refuses it. Of the same egg it
    installs what eggcache makes."""
    egg, out = shared_tmp / "Native-1.0-py2.7-linux-x86_64.egg", shared_tmp / "out"
    write_egg(egg, {"native/__init__.py": "", "native/_code.so": "\x7fELF"})
    made = new_environment("2.7", "44.1.1", target)
    command = [sys.executable, "-m", "wheel", "convert", "-d", shared_tmp, egg]
    subprocess.run(command, capture_output=True, check=True)
    (converted,) = shared_tmp.glob("*.whl")
    assert converted.name == "native-1.0-py27-cp27-linux_x86_64.whl"
    result = eggcache("wheels", out, "Native", "--path", egg, "--python", made.python)
    assert result.returncode == 0, result.stderr
    install = [made.python, "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile"]
    refused = deployment.run([*install, converted], check=False)
    assert refused.returncode != 0
    assert "is not a supported wheel on this platform" in refused.stderr
    pip(made, *install[3:], *out.iterdir())
    assert (made.site_packages / "native/_code.so").is_file()


@pytest.mark.parametrize(("version", "setuptools", "made"), [("2.7", "44.1.1", 75), ("3.11", "65.5.0", 19)])
def test_every_uploaded_egg_becomes_a_wheel_or_a_finding(
    version: str,
    setuptools: str,
    made: int,
    uploaded: Mapping[str, Path],
    target: Callable[[str, str], Deployment],
    shared_tmp: Path,
) -> None:
    """Every uploaded egg becomes a wheel that is right, that pip installs and that pkg_resources finds by the name of
    the project; or a finding says why not."""
    python = new_environment(version, setuptools, target)
    wheels, projects = [], set()
    reasons: dict[str, set[str]] = defaultdict(set)
    for number, group in enumerate(rounds(dict(uploaded), version)):
        paths: list[str | Path] = [word for egg in group for word in ("--path", egg)]
        out = shared_tmp / f"out{number}"
        result = eggcache("wheels", out, *paths, "--python", python.python, "--json")
        assert result.returncode in (0, 3), result.stderr
        told = as_json(result)
        for finding in told["findings"]:
            reasons[os.path.basename(finding["thing"])].add(finding["code"])
        here = {os.path.basename(outcome["egg"]): Path(outcome["into"]) for outcome in told["outcomes"]}
        for egg in group:
            left_out = {"wheel-other-python", "wheel-other-platform"} & reasons[egg.name]
            assert (egg.name in here) != bool(left_out), egg.name
        if here:
            pip(python, "install", "-q", "--no-index", "--no-deps", "--no-compile", *here.values())
        wheels += here.values()
        projects |= {egg.split("-")[0] for egg in here}
    assert len(wheels) >= made
    assert any("." in project for project in projects)
    # One of the eggs is setuptools 0.6c11, which finds no wheel
    code = "import json, pkg_resources as p; print(json.dumps(list(p.working_set.by_key)))"
    versions = json.loads(python.run(code, env={"PYTHONPATH": str(other_setuptools(setuptools))}).stdout)
    assert {re.sub("[^a-z0-9.]+", "-", project.lower()) for project in projects} <= set(versions)
    for wheel in wheels:
        metadata = verify(wheel)
        assert not any(name.endswith((".so", ".pyd", ".dll")) for name in zipfile.ZipFile(wheel).namelist()) or (
            "-linux_" in wheel.name
        )
        assert str(metadata.version) in wheel.name
    if version == "2.7":
        assert reasons["Products.Andreas09Theme-0.1_step03-py2.4.egg"] == {"wheel-renamed"}


# ---------------------------------------------------------------------------------------------- always the same


def bytes_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_wheels_are_the_same_to_the_byte_anywhere(turbogears2_311: Deployment, shared_tmp: Path) -> None:
    """The same bytes in another zone, locale, umask and order of hashing, and nothing in them is of today."""
    arguments = ("TurboGears2", "--python", turbogears2_311.python)
    assert eggcache("wheels", shared_tmp / "one", *arguments).returncode == 0
    elsewhere = {"TZ": "Asia/Kolkata", "LC_ALL": "C", "PYTHONHASHSEED": "7", "HOME": "/nonexistent"}
    before = os.umask(0o007)
    try:
        result = eggcache("wheels", shared_tmp / "two", *arguments, env=elsewhere)
    finally:
        os.umask(before)
    assert result.returncode == 0, result.stderr
    assert bytes_of(shared_tmp / "one") == bytes_of(shared_tmp / "two")
    newest = max(member.date_time for egg in turbogears2_311.eggs for member in zipfile.ZipFile(egg).infolist())
    for wheel in (shared_tmp / "one").iterdir():
        assert all(member.date_time <= newest for member in zipfile.ZipFile(wheel).infolist())
    result = eggcache("wheels", shared_tmp / "epoch", *arguments, env={"SOURCE_DATE_EPOCH": "1000000000"})
    for wheel in (shared_tmp / "epoch").iterdir():
        assert {member.date_time for member in zipfile.ZipFile(wheel).infolist()} == {(2001, 9, 9, 1, 46, 40)}


def test_oldest_wheel_and_packaging_give_the_same_bytes(turbogears2_311: Deployment, shared_tmp: Path) -> None:
    """The oldest wheel and packaging that setup.py allows give the same bytes, and print nothing of their own."""
    oldest = shared_tmp / "oldest"
    pins = deployment.downloads(use="wheels-oldest")
    required = re.findall(r'"(packaging|wheel)>=([\d.]+)"', (ROOT / "setup.py").read_text())
    assert {(pin.project, pin.filename.split("-")[1]) for pin in pins} == {("packaging", "22.0"), ("wheel", "0.38.4")}
    assert dict(required) == {"packaging": "22.0", "wheel": "0.38.4"}
    for path in deployment.fetch_all(pins):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(oldest)
    arguments = ("TurboGears2", "--python", turbogears2_311.python, "--json")
    result = eggcache("wheels", shared_tmp / "old", *arguments, env={"PYTHONPATH": str(oldest)})
    assert result.returncode == 0, result.stderr
    assert as_json(result)["findings"] == []
    assert eggcache("wheels", shared_tmp / "new", *arguments).returncode == 0
    assert bytes_of(shared_tmp / "old") == bytes_of(shared_tmp / "new")


def test_zipped_or_not(
    turbogears2_311: Deployment, copy_of: Callable[[Deployment], Deployment], shared_tmp: Path
) -> None:
    """Once an egg is unzipped, its wheel is still the same to the byte; so a second run writes nothing."""
    mine = copy_of(turbogears2_311)
    arguments = ("wheels", shared_tmp / "out", "TurboGears2", "--python", mine.python)
    assert eggcache(*arguments).returncode == 0
    before = listing(shared_tmp / "out")
    assert eggcache("unzip-all", "TurboGears2", "--python", mine.python, env={"TZ": "UTC"}).returncode == 0
    assert mine.eggs == []
    result = eggcache(*arguments)
    assert (result.returncode, result.stdout.startswith("5 wheels kept in ")) == (0, True), result.stderr
    assert listing(shared_tmp / "out").keys() == before.keys()
    assert {path: state for path, state in listing(shared_tmp / "out").items() if path.endswith(".whl")} == {
        path: state for path, state in before.items() if path.endswith(".whl")
    }


def actions(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {
        os.path.basename(outcome["into"]).split("-")[0]: outcome["action"] for outcome in as_json(result)["outcomes"]
    }


def test_only_what_differs_is_written_anew(python: Path, shared_tmp: Path) -> None:
    """Only what differs is written anew; -n says beforehand exactly what, and writes nothing, not even OUT."""
    eggs, out = shared_tmp / "eggs", shared_tmp / "out"
    eggs.mkdir()
    for name in ("One", "Two", "Three", "Four"):
        write_egg(eggs / f"{name}-1.0-py3.11.egg", {f"{name.lower()}.py": ""})
    arguments = ("wheels", out, "--all", "--path", eggs, "--python", python, "--json")
    planned = eggcache(*arguments, "-n")
    assert not out.exists()
    first = eggcache(*arguments)
    assert actions(planned) == actions(first) == dict.fromkeys(("one", "two", "three", "four"), "made")
    assert stat.S_IMODE(out.stat().st_mode) == 0o755
    write_egg(eggs / "One-1.0-py3.11.egg", {"one.py": "changed = 1\n"})
    os.truncate(out / "two-1.0-py311-none-any.whl", 100)
    (out / "three-1.0-py311-none-any.whl").chmod(0o666)
    (out / "mine.txt").write_text("not a wheel\n")
    before = listing(out)
    planned = eggcache(*arguments, "-n")
    assert listing(out) == before
    result = eggcache(*arguments)
    expected = {"one": "replaced", "two": "replaced", "three": "replaced", "four": "kept"}
    assert actions(planned) == actions(result) == expected
    assert (out / "mine.txt").read_text() == "not a wheel\n"
    assert listing(out)[str(out / "four-1.0-py311-none-any.whl")] == before[str(out / "four-1.0-py311-none-any.whl")]
    for wheel in out.glob("*.whl"):
        verify(wheel)
    assert actions(eggcache(*arguments)) == dict.fromkeys(expected, "kept")


# ------------------------------------------------------------------------------------------------ what is in it


def wheels_of(python: Path, shared_tmp: Path, *more: str | Path, status: int = 0) -> tuple[Path, list[dict[str, Any]]]:
    """The wheels of the eggs in shared_tmp/eggs, and the findings."""
    out, eggs = shared_tmp / "out", shared_tmp / "eggs"
    result = eggcache("wheels", out, "--path", eggs, "--python", python, "--json", *more)
    assert result.returncode == status, result.stderr
    findings: list[dict[str, Any]] = as_json(result)["findings"]
    return out, findings


@pytest.fixture
def eggs(shared_tmp: Path) -> Path:
    (shared_tmp / "eggs").mkdir()
    return shared_tmp / "eggs"


def test_members_have_their_names_and_modes_in_the_wheel(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """What of an egg is in its wheel, under which name and mode."""
    native = "\x7fELF" + "native"
    write_egg(
        eggs / "Foo.Bar-1.0-py3.11.egg",
        {
            "EGG-INFO/entry_points.txt": "[console_scripts]\nfoo = foo:main\n",
            "EGG-INFO/top_level.txt": "foo\n",
            "EGG-INFO/paster_plugins.txt": "PasteScript\n",
            "EGG-INFO/LICENSE.txt": "MIT\n",
            "EGG-INFO/SOURCES.txt": "setup.py\n",
            "EGG-INFO/not-zip-safe": "\n",
            "EGG-INFO/native_libs.txt": "foo/_x.so\n",
            "EGG-INFO/eager_resources.txt": "foo/_x.so\n",
            "EGG-INFO/dependency_links.txt": "http://example.org/\n",
            "EGG-INFO/RECORD": "lies\n",
            "EGG-INFO/INSTALLER": "lies\n",
            "EGG-INFO/requires.txt": "Other>=1.0\n[x]\nMore\n",
            "EGG-INFO/scripts/run": "#!/usr/bin/env python2.4 -u\nprint(1)\n",
            "EGG-INFO/scripts/run.pyc": "code",
            "EGG-INFO/scripts/short": "#!/usr/bin/python\nimport foo\nfoo.main()\n",
            "EGG-INFO/scripts/shell": "#!/bin/sh\n#!/usr/bin/python\n",
            "foo/__init__.py": "",
            "foo/__init__.pyc": "code",
            "foo/__pycache__/__init__.cpython-311.pyc": "code",
            "foo/_x.py": "def __bootstrap__():\n    pass\n",
            "foo/_x.pyc": "code",
            "foo/_x.so": native,
            "foo/real.py": "not a loader\n",
            "foo/real.so": native,
            "foo/program": native,
            'foo/odd, "name".txt': "odd\n",
            "evil.pth": "import os\n",
            "zoo.py": "",
        },
        project="Foo.Bar",
    )
    out, findings = wheels_of(python, shared_tmp)
    assert findings == []
    (wheel,) = out.iterdir()
    assert re.fullmatch(r"foo\.bar-1\.0-cp311-cp311-linux_\w+\.whl", wheel.name)
    metadata = verify(wheel)
    assert (metadata.name, metadata.provides_extra) == ("Foo.Bar", ["x"])
    assert [str(requirement) for requirement in metadata.requires_dist or []] == ["Other>=1.0", 'More; extra == "x"']
    with zipfile.ZipFile(wheel) as archive:
        modes = {member.filename: member.external_attr >> 16 & 0o777 for member in archive.infolist()}
        info, data = "foo.bar-1.0.dist-info", "foo.bar-1.0.data/scripts"
        assert modes == {
            **dict.fromkeys(("foo/_x.so", "foo/real.so", "foo/program", f"{data}/run", f"{data}/shell",
                             f"{data}/short"), 0o755),
            **dict.fromkeys(("foo/__init__.py", "foo/real.py", "zoo.py", 'foo/odd, "name".txt'), 0o644),
            **{
                f"{info}/{name}": 0o644
                for name in ("entry_points.txt", "top_level.txt", "paster_plugins.txt", "LICENSE.txt", "METADATA",
                             "WHEEL", "RECORD")
            },
        }  # fmt: skip
        own = [name.startswith(f"{info}/") for name in archive.namelist()]
        assert own == sorted(own)  # metadata last, as PEP 427 recommends
        assert archive.read(f"{data}/run") == b"#!python\nprint(1)\n"
        assert archive.read(f"{data}/short") == b"#!python\nimport foo\nfoo.main()\n"
        assert archive.read(f"{data}/shell") == b"#!/bin/sh\n#!/usr/bin/python\n"
        assert b"Root-Is-Purelib: false\n" in archive.read(f"{info}/WHEEL")
    unpacked = subprocess.run(
        [sys.executable, "-m", "wheel", "unpack", "-d", shared_tmp, wheel], capture_output=True, text=True, check=False
    )
    assert unpacked.returncode == 0, unpacked.stderr


def unzipped_egg(path: Path) -> Path:
    """An unzipped egg with its metadata and nothing else."""
    (path / "EGG-INFO").mkdir(parents=True)
    text = f"Metadata-Version: 1.0\nName: {path.name.split('-')[0]}\nVersion: 1.0\n"
    (path / "EGG-INFO" / "PKG-INFO").write_text(text)
    return path


def test_each_kind_of_egg_has_the_right_tags(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """An unzipped egg, one without a Python in its name or with an older one, one without source: each with
    the right tags; what is no egg is named where a tree was asked for."""
    older = write_egg(eggs / "Older-1.0-py3.8.egg", {"older.py": ""})  # taken where sys.path names it
    write_egg(eggs / "Untagged-1.0.egg", {"untagged.py": ""})
    write_egg(eggs / "Sourceless-1.0-py3.11.egg", {"sourceless.pyc": "code"})
    unzipped = unzipped_egg(eggs / "Unzipped-1.0-py3.11.egg")
    (unzipped / "deep").mkdir()
    (unzipped / "deep" / "module.py").write_text("")
    os.utime(unzipped / "deep" / "module.py", (0, 0))  # before what a zip can date
    (eggs / "plain-1.0.dist-info").mkdir()
    (eggs / "plain-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: plain\nVersion: 1.0\n")
    out, findings = wheels_of(python, shared_tmp, "--path", older)
    assert findings == []  # --all: what is no egg was not asked for
    assert sorted(path.name for path in out.iterdir()) == [
        "older-1.0-py38-none-any.whl",
        "sourceless-1.0-cp311-none-any.whl",
        "untagged-1.0-py311-none-any.whl",
        "unzipped-1.0-py311-none-any.whl",
    ]
    for wheel in out.iterdir():
        verify(wheel)
    with zipfile.ZipFile(out / "unzipped-1.0-py311-none-any.whl") as archive:
        assert archive.getinfo("deep/module.py").date_time == (1980, 1, 1, 0, 0, 0)
    result = eggcache("wheels", out, "plain", "--path", eggs, "--python", python)
    assert result.returncode == 0
    assert "plain is no egg (dist-info), and left out" in result.stderr


NAMESPACE = "__import__('pkg_resources').declare_namespace(__name__)\n"


@pytest.mark.parametrize("version", ["2.7", "3.11"])
def test_no_wheel_holds_the_file_of_a_namespace(
    version: str, python: Path, turbogears2_27: Deployment, shared_tmp: Path, eggs: Path
) -> None:
    """No wheel holds the file that its neighbours of the namespace have too; Python 2 gets a .pth file in its place.
    A package below one that is no namespace stays as it is."""
    name = f"Spaced-1.0-py{version}.egg"
    files = {f"{place}/__init__.py": NAMESPACE for place in ("one", "one/two", "own/three")}
    listed = "one\none.two\nown.three\nevil; import os\n"
    egg = write_egg(
        eggs / name,
        {**files, "EGG-INFO/namespace_packages.txt": listed, "own/__init__.py": "", "one/two/module.py": ""},
    )
    out = shared_tmp / "out"
    target = turbogears2_27.python if version == "2.7" else python
    result = eggcache("wheels", out, "Spaced", "--path", egg, "--python", target)
    assert result.returncode == 0, result.stderr
    (wheel,) = out.iterdir()
    verify(wheel)
    with zipfile.ZipFile(wheel) as archive:
        members = {member for member in archive.namelist() if ".dist-info/" not in member}
        kept = {"own/__init__.py", "own/three/__init__.py", "one/two/module.py"}
        assert members == (kept | {"spaced-1.0-nspkg.pth"} if version == "2.7" else kept)
        if version == "2.7":
            lines = archive.read("spaced-1.0-nspkg.pth").decode().splitlines()
            assert [re.findall(r"eggcache_name = '(\S+)';", line) for line in lines] == [["one"], ["one.two"]]


@pytest.mark.parametrize(("version", "setuptools"), [("2.7", "0.6c11"), ("2.7", "44.1.1"), ("3.11", "65.5.0")])
def test_no_pth_file_of_an_egg_is_run(
    version: str, setuptools: str, target: Callable[[str, str], Deployment], shared_tmp: Path
) -> None:
    """What wheels leave out, a .pth file at the top of an egg, no Python has run: neither where easy-install.pth names
    the egg, zipped or not, nor once its distribution is required. In site-packages itself it is run at each start."""
    made, mark = target(version, setuptools), shared_tmp / "mark"
    line = f"import os; open({str(mark)!r}, 'w').close()\n"
    zipped, other = f"Zipped-1.0-py{version}.egg", f"Unzipped-1.0-py{version}.egg"
    write_egg(made.site_packages / zipped, {"in_zip.py": "", "ours.pth": line})
    write_egg(shared_tmp / other, {"in_directory.py": "", "ours.pth": line})
    with zipfile.ZipFile(shared_tmp / other) as archive:
        archive.extractall(made.site_packages / other)
    (made.site_packages / "easy-install.pth").write_text(f"./{zipped}\n./{other}\n")
    code = "import in_zip, in_directory, pkg_resources; pkg_resources.require('Zipped', 'Unzipped')"
    made.run(code)
    assert not mark.exists()
    shutil.copy(made.site_packages / other / "ours.pth", made.site_packages)
    made.run(code)
    assert mark.exists()


def test_nothing_of_an_egg_is_executed(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """No module, script, setup.py or namespace package of an egg is run, zipped or not; tests/target/test_blame.py has
    the one that the target's pkg_resources imports by itself."""
    mark = shared_tmp / "mark"
    line = f"open({str(mark)!r}, 'a').close()\n"
    names = ("shared/__init__.py", "shared/{}.py", "{}.py", "setup.py", "EGG-INFO/scripts/{}", "{}.pth")
    for name in ("Zipped", "Other", "Unzipped"):
        files = {place.format(name.lower()): line for place in names}
        files |= {"EGG-INFO/namespace_packages.txt": "shared\n", "EGG-INFO/top_level.txt": f"shared\n{name.lower()}\n"}
        write_egg(eggs / f"{name}-1.0-py3.11.egg", files)
    shutil.move(eggs / "Unzipped-1.0-py3.11.egg", shared_tmp)
    shutil.unpack_archive(shared_tmp / "Unzipped-1.0-py3.11.egg", eggs / "Unzipped-1.0-py3.11.egg", "zip")
    out, _ = wheels_of(python, shared_tmp)
    assert len(list(out.iterdir())) == 3
    assert not mark.exists()
    deployment.run([python, "-c", "import zipped"], env={"PYTHONPATH": str(eggs / "Zipped-1.0-py3.11.egg")})
    assert mark.exists()


def test_eggs_in_a_basket_are_wheels_of_their_own(turbogears2_27: Deployment, shared_tmp: Path, eggs: Path) -> None:
    """The eggs in a basket are wheels of their own, and none is in that of the basket."""
    inner = "Inner-1.0-py2.7.egg"
    basket = write_egg(
        eggs / "Basket-1.0-py2.7.egg",
        {
            "basket.py": "",
            f"{inner}/EGG-INFO/PKG-INFO": "Metadata-Version: 1.0\nName: Inner\nVersion: 1.0\n",
            f"{inner}/inner.py": "",
        },
    )
    out = shared_tmp / "out"
    result = eggcache("wheels", out, "Basket", "Inner", "--path", basket, "--python", turbogears2_27.python)
    assert result.returncode == 0, result.stderr
    for name in ("basket", "inner"):
        wheel = out / f"{name}-1.0-py27-none-any.whl"
        verify(wheel)
        modules = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
        assert modules == [f"{name}.py"]


LEFT_OUT = {
    "wheel-version": ("Foo-dev-py3.11.egg", {"EGG-INFO/PKG-INFO": "Metadata-Version: 1.0\nName: Foo\nVersion: dev\n"}),
    "wheel-other-python": ("Foo-1.0-py2.7.egg", {}),
    "wheel-other-python 2": ("Foo-1.0-py3.99.egg", {}),
    "wheel-other-python 3": ("Foo-1.0-py3.8.egg", {"foo.so": "\x7fELF native"}),
    "wheel-other-python 4": ("Foo-1.0-py3.8.egg", {"foo.pyc": "without source"}),
    "wheel-other-platform": ("Foo-1.0-py3.11-macosx-10.6-intel.egg", {}),
    "wheel-metadata": ("Foo-1.0-py3.11.egg", {"pip-99.dist-info/METADATA": "Name: pip\n"}),
    "wheel-metadata 2": ("Foo-1.0-py3.11.egg", {"x.data/scripts/sudo": "#!/bin/sh\n"}),
    "wheel-metadata 3": ("...-1.0-py3.11.egg", {"EGG-INFO/PKG-INFO": "Name: ...\nVersion: 1.0\n"}),
    "wheel-metadata 4": ("Foo-1.0-py3.11.egg", {"EGG-INFO/requires.txt": "Bar\n" * 400_000}),
    "wheel-metadata 5": ("Foo-1.0-py3.11.egg", {"EGG-INFO/PKG-INFO": "", "foo-1.0.egg-info/PKG-INFO": "Name: foo\n"}),
    "wheel-metadata 6": (f"{'L' * 236}-1.0-py3.11.egg", {"EGG-INFO/PKG-INFO": f"Name: {'L' * 236}\nVersion: 1.0\n"}),
    "wheel-metadata 7": ("Foo-1.0-py3.11.egg", {"EGG-INFO/requires.txt": "Bar\n" * 1001}),
    "wheel-metadata 8": ("Foo-1.0-py3.11.egg", {"EGG-INFO/requires.txt": f"[{'x' * 1001}]\nBar\n"}),
    "egg-refused": ("Foo-1.0-py3.11.egg", {"../foo.py": ""}),
}


@pytest.mark.parametrize("code", LEFT_OUT)
def test_what_has_no_wheel_is_named(code: str, python: Path, shared_tmp: Path, eggs: Path) -> None:
    """What no wheel can be made of is named, and what lies beside it is made all the same."""
    name, files = LEFT_OUT[code]
    write_egg(eggs / name, dict(files), project="Foo")
    write_egg(eggs / "Good-1.0-py3.11.egg", {"good.py": ""})
    out, findings = wheels_of(python, shared_tmp, "--path", eggs / name, status=3)
    assert [(finding["code"], finding["thing"]) for finding in findings] == [(code.split()[0], findings[0]["thing"])]
    assert name in findings[0]["thing"]
    assert [path.name for path in out.iterdir()] == ["good-1.0-py311-none-any.whl"]


def test_what_a_wheel_cannot_say_is_told(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """A version in other words is a notice; a requirement that cannot be said is a finding, and the wheel installs."""
    info = "Metadata-Version: 1.0\nName: Foo\nVersion: 0.5a1.dev-r2555\n"
    requires = "Bar==dev\nBaz>=1.0.dev-r1\n"
    write_egg(eggs / "Foo-0.5a1.dev_r2555-py3.11.egg", {"EGG-INFO/PKG-INFO": info, "EGG-INFO/requires.txt": requires})
    out, findings = wheels_of(python, shared_tmp, status=3)
    assert {finding["code"]: finding["status"] for finding in findings} == {
        "wheel-renamed": 0,
        "wheel-requirement-rewritten": 0,
        "wheel-requirement-lost": 3,
    }
    metadata = verify(out / "foo-0.5a1.dev2555-py311-none-any.whl")
    assert [str(requirement) for requirement in metadata.requires_dist or []] == ["Bar", "Baz>=1.0.dev1"]


def test_a_name_belongs_to_its_project(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """An egg whose PKG-INFO names another project or version, or whose name no wheel can have, takes no name from the
    project that pkg_resources knows by it: both are wheels of what they are required as."""
    for egg, info in {
        "Aaa-1.0-py3.11.egg": "Name: Owner\nVersion: 1.0\n",
        "Later-2.0-py3.11.egg": "Name: Later\nVersion: 1.0\n",
        "_Plain-1.0-py3.11.egg": "Name: _Plain\nVersion: 1.0\n",
    }.items():
        write_egg(eggs / egg, {"other.py": "", "EGG-INFO/PKG-INFO": f"Metadata-Version: 1.0\n{info}"})
    for name in ("Owner", "Later", "Plain"):
        write_egg(eggs / f"{name}-1.0-py3.11.egg", {f"{name.lower()}.py": ""})
    out, findings = wheels_of(python, shared_tmp, status=3)
    told = sorted((finding["code"], os.path.basename(finding["thing"])) for finding in findings)
    assert told == [
        ("wheel-renamed", "Aaa-1.0-py3.11.egg"),
        ("wheel-renamed", "Later-2.0-py3.11.egg"),
        ("wheel-shared-name", "_Plain-1.0-py3.11.egg"),
    ]
    holds = {}
    for wheel in out.iterdir():
        verify(wheel)
        (holds[wheel.name.rpartition("-py311")[0]],) = (
            name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name
        )
    assert holds == {
        "aaa-1.0": "other.py",
        "later-1.0": "later.py",
        "later-2.0": "other.py",
        "owner-1.0": "owner.py",
        "plain-1.0": "plain.py",
    }


def test_two_eggs_of_one_name(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """Equal ones are one wheel; where they differ, the one that pkg_resources prefers is made, and the other named."""
    other = shared_tmp / "other"
    other.mkdir()
    for place in (eggs, other):
        write_egg(place / "Same-1.0-py3.11.egg", {"same.py": ""})
        write_egg(place / "Differs-1.0-py3.11.egg", {"differs.py": f"place = {str(place)!r}\n"})
    out, findings = wheels_of(python, shared_tmp, "--path", other, status=3)
    assert [(finding["code"], finding["thing"]) for finding in findings] == [
        ("wheel-shared-name", str(eggs / "Differs-1.0-py3.11.egg"))
    ]
    assert str(other).encode() in zipfile.ZipFile(out / "differs-1.0-py311-none-any.whl").read("differs.py")
    assert len(list(out.iterdir())) == 2


# ------------------------------------------------------------------------------------------- rights and hostility


def test_links_are_refused(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """An unzipped egg cannot lead to files elsewhere, nor make a run wait for a FIFO."""
    for name, make in {
        "Link": lambda path: path.symlink_to("/etc/shadow"),
        "Place": lambda path: path.symlink_to("/etc"),
        "Fifo": os.mkfifo,
    }.items():
        make(unzipped_egg(eggs / f"{name}-1.0-py3.11.egg") / "thing")
    out, findings = wheels_of(python, shared_tmp, status=3)
    assert sorted((finding["code"], os.path.basename(finding["thing"])[:4]) for finding in findings) == [
        ("egg-refused", "Fifo"),
        ("egg-refused", "Link"),
        ("egg-refused", "Plac"),
    ]
    assert list(out.iterdir()) == []


def test_reads_with_the_rights_of_the_eggs_owner(
    python: Path, shared_tmp: Path, eggs: Path, nobody: pwd.struct_passwd
) -> None:
    """Root reads with the rights of whom the eggs belong to: a link of theirs leads to nothing that is root's; and
    a wheel is no more public than its egg."""
    secret = write_egg(shared_tmp / "Secret-1.0-py3.11.egg", {"secret.py": ""})
    secret.chmod(0o600)
    write_egg(eggs / "Private-1.0-py3.11.egg", {"private.py": ""}).chmod(0o600)
    write_egg(eggs / "Public-1.0-py3.11.egg", {"public.py": ""})
    os.chown(eggs / "Private-1.0-py3.11.egg", nobody.pw_uid, nobody.pw_gid)
    (eggs / "Secret-1.0-py3.11.egg").symlink_to(secret)
    os.chown(eggs, nobody.pw_uid, nobody.pw_gid)
    result = eggcache("wheels", shared_tmp / "out", "--path", eggs, "--python", python, "--json")
    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (shared_tmp / "out").iterdir()}
    assert made == {"private-1.0-py311-none-any.whl": 0o600, "public-1.0-py311-none-any.whl": 0o644}
    assert "secret" not in result.stdout.lower().replace("secret-1.0-py3.11.egg", "")
    assert {path.stat().st_uid for path in (shared_tmp / "out").iterdir()} == {0}


def test_root_opens_nothing_for_others(shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """What a target names, as nobody, is opened with nobody's rights, zipped or not, whatever it claims."""
    secret = write_egg(shared_tmp / "Secret-1.0-py3.11.egg", {"secret.py": ""})
    secret.chmod(0o600)
    closed = unzipped_egg(shared_tmp / "Closed-1.0-py3.11.egg")
    closed.chmod(0o700)
    claimed = [
        Distribution("Secret", "1.0", str(secret), Kind.ZIPPED, egg=str(secret), cache_name=secret.name),
        Distribution("Closed", "1.0", str(closed), Kind.UNZIPPED),
    ]
    account = Account("nobody", nobody.pw_uid, nobody.pw_gid)
    for item in claimed:
        with pytest.raises(NotPermitted), egg_contents.opened(item, account, Limits()):
            pass


def files_of(egg: Path, limits: Limits = DEFAULT_LIMITS) -> list[str]:
    one = Distribution("Foo", "1.0", str(egg), Kind.UNZIPPED)
    with egg_contents.opened(one, accounts.current(), limits) as content:
        return list(content.files)


def test_a_directory_exchanged_with_a_link(shared_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between listing a directory and opening what is in it, it becomes a link: nothing behind that is looked at."""
    egg = unzipped_egg(shared_tmp / "Foo-1.0-py3.11.egg")
    private = shared_tmp / "private"
    for place in (egg / "pkg" / "a" / "b", private / "b"):
        place.mkdir(parents=True)
        (place / "key.txt").write_text(str(place))
    private.chmod(0o700)
    list_directory = os.listdir

    def exchange(where: int) -> list[str]:
        names = list_directory(where)
        if names == ["b"]:
            (egg / "pkg" / "a").rename(shared_tmp / "old")
            (egg / "pkg" / "a").symlink_to(private)
        return names

    monkeypatch.setattr(os, "listdir", exchange)
    with pytest.raises(EggcacheError, match="it changed while it was read"):
        files_of(egg)
    assert (egg / "pkg" / "a").is_symlink()


@pytest.mark.parametrize("into", ["link", "fifo", "other"])
def test_a_file_exchanged(into: str, shared_tmp: Path) -> None:
    """What is no longer the file that was found is not read, and not waited for."""
    egg = unzipped_egg(shared_tmp / "Foo-1.0-py3.11.egg")
    (egg / "a").mkdir()
    file = egg / "a" / "file.txt"
    file.write_text("text")
    times = file.stat().st_mtime_ns
    one = Distribution("Foo", "1.0", str(egg), Kind.UNZIPPED)
    with egg_contents.opened(one, accounts.current(), Limits()) as content:
        assert content.files["a/file.txt"].read() == b"text"
        file.rename(shared_tmp / "old")
        if into == "link":
            file.symlink_to(shared_tmp / "old")
        elif into == "fifo":
            os.mkfifo(file)
        else:
            file.write_text("next")
            os.utime(file, ns=(times, times))
        with pytest.raises(EggcacheError, match="it changed while it was read"):
            content.files["a/file.txt"].read()


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_root_reads_an_egg_as_its_owner(mode: int, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """What is in an unzipped egg that others decide about is read by root with their rights, its links too."""
    egg = unzipped_egg(shared_tmp / "Foo-1.0-py3.11.egg")
    secret = shared_tmp / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    os.link(secret, egg / "open.txt")
    one = Distribution("Foo", "1.0", str(egg), Kind.UNZIPPED)
    with egg_contents.opened(one, accounts.current(), Limits()) as content:
        assert content.files["open.txt"].read() == b"secret"
    egg.chmod(mode)
    if mode == 0o755:
        os.chown(egg, nobody.pw_uid, nobody.pw_gid)
    with egg_contents.opened(one, accounts.current(), Limits()) as content:
        assert b"Name: Foo" in content.files["EGG-INFO/PKG-INFO"].read()
        with pytest.raises(NotPermitted):
            content.files["open.txt"].read()
    assert os.geteuid() == 0


def test_deep_and_many(shared_tmp: Path) -> None:
    """An unzipped egg is limited as a zipped one: by how many names it has, directories too, and how deep they are."""
    egg = unzipped_egg(shared_tmp / "Foo-1.0-py3.11.egg")
    assert files_of(egg, Limits(entries=2)) == ["EGG-INFO/PKG-INFO"]
    with pytest.raises(EggTooLarge, match="files and directories"):
        files_of(egg, Limits(entries=1))
    (egg / "/".join("d" * 65)).mkdir(parents=True)
    assert files_of(egg) == ["EGG-INFO/PKG-INFO"]
    (egg / "/".join("d" * 66)).mkdir()
    with pytest.raises(EggUnsuitable, match="nested directories"):
        files_of(egg)


def test_memory_does_not_grow_with_a_file(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """Files of 80 MB, stored, deflated and unzipped, cost no more memory than files of 20 MB, and RECORD is right."""
    seen = []
    for size in (20_000_000, 80_000_000):
        big_egg(eggs / "Big-1.0-py3.11.egg", size)
        unzipped = unzipped_egg(eggs / "Unzipped-1.0-py3.11.egg") if not seen else eggs / "Unzipped-1.0-py3.11.egg"
        with open(unzipped / "zeros.bin", "wb") as stream:
            stream.truncate(size)
        result, peak = measured(["wheels", shared_tmp / f"out{size}", "--all", "--path", eggs, "--python", python])
        assert result.returncode == 0, result.stderr
        seen.append(peak)
        names = [wheel.name for wheel in sorted((shared_tmp / f"out{size}").iterdir()) if verify(wheel)]
        assert names == ["big-1.0-py311-none-any.whl", "unzipped-1.0-py311-none-any.whl"]
    assert seen[1] - seen[0] < 8 << 10, seen


def test_a_command_in_a_remedy_is_quoted(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """What a directory is called runs nothing when the remedy is pasted into a shell."""
    place = shared_tmp / "it's; touch x"
    info = place / "Foo.egg-info"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: Foo\nVersion: 1.0\n")
    (eggs / "Foo.egg-link").write_text(f"{place}\n.\n")
    result = eggcache("wheels", shared_tmp / "out", "Foo", "--path", eggs, "--python", python, "--json")
    (finding,) = (finding for finding in as_json(result)["findings"] if finding["code"] == "wheel-no-egg")
    out = str(shared_tmp / "out")
    assert shlex.split(finding["command"]) == ["pip", "wheel", "--no-deps", "-w", out, str(place)]


def test_wheel_is_for_everybody_where_all_in_it_is(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """The wheel of an unzipped egg is for everybody only where all that it holds is."""
    for name, mode in {"Open": 0o644, "File": 0o640}.items():
        unzipped = unzipped_egg(eggs / f"{name}-1.0-py3.11.egg")
        (unzipped / "file.txt").write_text("")
        (unzipped / "file.txt").chmod(mode)
    shut = unzipped_egg(eggs / "Shut-1.0-py3.11.egg") / "shut"
    shut.mkdir(mode=0o750)
    (shut / "file.txt").write_text("")
    out, _ = wheels_of(python, shared_tmp)
    modes = {path.name.split("-")[0]: stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()}
    assert modes == {"open": 0o644, "file": 0o600, "shut": 0o600}


def test_unzipped_egg_with_an_unreadable_file_is_left_out(
    python: Path, shared_tmp: Path, eggs: Path, nobody: pwd.struct_passwd
) -> None:
    """An unzipped egg with a file that its reader may not read is left out, whole."""
    unzipped = unzipped_egg(eggs / "Foo-1.0-py3.11.egg")
    (unzipped / "key.txt").write_text("secret\n")
    (unzipped / "key.txt").chmod(0o600)
    os.chown(eggs, nobody.pw_uid, nobody.pw_gid)
    out, findings = wheels_of(python, shared_tmp, status=4)
    assert [finding["code"] for finding in findings] == ["egg-unreadable"]
    assert "key.txt is root's, mode 0600" in findings[0]["cause"]
    assert list(out.iterdir()) == []


def test_an_unsafe_directory(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """Where others can put wheels of theirs beside ours, nothing is written; a missing parent is not made."""
    out = shared_tmp / "out"
    out.mkdir()
    out.chmod(0o777)
    arguments = ("--all", "--path", eggs, "--python", python)
    result = eggcache("wheels", out, *arguments)
    assert (result.returncode, result.stderr.count("\n")) == (4, 1)
    assert "others can write to it" in result.stderr
    assert "--reset" not in result.stderr
    result = eggcache("wheels", shared_tmp / "no" / "out", *arguments)
    assert result.returncode == 1
    assert result.stderr == f"eggcache: {shared_tmp}/no/out: {shared_tmp}/no does not exist; create it\n"
    result = eggcache("wheels", eggs / ".." / "eggs" / "Foo.whl" / "x", *arguments, "-n")
    assert result.returncode == 1


def test_missing_package_wheel_is_named(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """Where the package wheel is not installed the error names the remedy, and nothing is made."""
    (shared_tmp / "wheel.py").write_text("raise ImportError(\"No module named 'wheel'\")\n")
    result = eggcache("wheels", shared_tmp / "out", "--all", "--python", python, env={"PYTHONPATH": str(shared_tmp)})
    assert result.returncode == 1
    assert re.fullmatch(r"eggcache: .*No module named 'wheel'.*; .*-m pip install wheel packaging\n", result.stderr)
    assert not (shared_tmp / "out").exists()


def test_an_egg_that_changes_meanwhile(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """An egg that is written while it is read is told of, and comes with the next run."""
    write_egg(eggs / "Foo-1.0-py3.11.egg", {"foo.py": "text\n" * 20})
    changer = shared_tmp / "sitecustomize.py"
    # What an installer does in the middle of our reading, at a moment that is always the same: within our process
    changer.write_text(
        "import os, sys\n"
        "def watch(event, arguments):\n"
        "    if event == 'open' and str(arguments[0]).endswith('foo-1.0-py311-none-any.whl'):\n"
        f"        os.utime({str(eggs / 'Foo-1.0-py3.11.egg')!r}, (1, 1))\n"
        "if 'eggcache' in sys.orig_argv:\n"
        "    sys.addaudithook(watch)\n"
    )
    arguments = ("wheels", shared_tmp / "out", "--all", "--path", eggs, "--python", python, "--json")
    result = eggcache(*arguments, env={"PYTHONPATH": str(shared_tmp)})
    assert result.returncode == 1
    assert [finding["code"] for finding in as_json(result)["findings"]] == ["wheel-not-made"]
    assert list((shared_tmp / "out").iterdir()) == []
    assert eggcache(*arguments).returncode == 0


# -------------------------------------------------------------------------------------------------------- crashes


@pytest.mark.parametrize(("call", "when"), [("renameat", 2), ("syncfs", 1), ("fchmodat", 2), ("mkdirat", 2)])
def test_killed_run_leaves_whole_wheels(call: str, when: int, python: Path, shared_tmp: Path, eggs: Path) -> None:
    """Killed at any moment, OUT holds whole wheels and one stage, which the next run removes; and that completes."""
    for name in ("One", "Two", "Three"):
        write_egg(eggs / f"{name}-1.0-py3.11.egg", {f"{name.lower()}.py": ""})
    out = shared_tmp / "out"
    arguments = ["wheels", str(out), "--all", "--path", str(eggs), "--python", str(python)]
    result = subprocess.run(
        ["strace", "-f", "-qq", "-o", shared_tmp / "log", "-e", f"trace={call}", "-e",
         f"inject={call}:signal=KILL:when={when}", sys.executable, "-m", "eggcache", *arguments],
        cwd=ROOT, env=environment({"PYTHONDONTWRITEBYTECODE": "1"}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode == 1 and "PTRACE" in result.stderr:
        missing("strace cannot trace here")
    assert result.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), (shared_tmp / "log").read_text()
    for wheel in out.glob("*.whl"):
        verify(wheel)
    again = eggcache(*arguments)
    assert again.returncode == 0, again.stderr
    assert sorted(path.name.split("-")[0] for path in out.iterdir()) == ["one", "three", "two"]


def test_a_full_disk(python: Path, shared_tmp: Path, eggs: Path) -> None:
    """A full file system is named, nothing half done stays, and the next run completes."""
    if os.geteuid() != 0:
        missing("only root can mount a file system")
    disk = shared_tmp / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k,mode=755", "tmpfs", str(disk)], check=True)
    try:
        write_egg(eggs / "A-1.0-py3.11.egg", {"a.py": ""})
        write_egg(eggs / "Big-1.0-py3.11.egg", {"big.bin": os.urandom(200_000).hex()})
        arguments = ("wheels", disk / "out", "--all", "--path", eggs, "--python", python)
        result = eggcache(*arguments)
        assert result.returncode == 1
        assert re.fullmatch(r"eggcache: .*No space left on device.*; make room there.* and run again\n", result.stderr)
        assert list((disk / "out").iterdir()) == []
        subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
        assert eggcache(*arguments).returncode == 0
        assert len(list((disk / "out").iterdir())) == 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)
