"""wheels: eggs that are wheels of one directory, and eggs that stay beside them, are named before pip breaks them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.judge import as_json, eggcache, environment
from support.sites import write_egg
from support.wheels import pip

PIPS = {"2.7": ("44.1.1", "pip-2.7"), "3.11": ("65.5.0", "pip-3.11")}
NAMESPACE = "__import__('pkg_resources').declare_namespace(__name__)\n"


def following(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The command that is printed as next, in words; none where there is none."""
    return shlex.split(" ".join(re.findall("^next: (.*)$", result.stdout, re.MULTILINE)))


def remedied(command: str) -> subprocess.CompletedProcess[str]:
    """A command of a message, run."""
    words = [sys.executable, "-m", *shlex.split(command)]
    return subprocess.run(words, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def site(target: Callable[[str, str], Deployment]) -> Callable[..., Deployment]:
    """A factory: site("3.11", {"One-1.0": {"one.py": ""}}) is a target with a pip and active eggs, in that order."""

    def make(version: str, eggs: dict[str, dict[str, str]]) -> Deployment:
        release, use = PIPS[version]
        mine = target(version, release)
        with zipfile.ZipFile(deployment.fetch_all(deployment.downloads(use=use))[0]) as archive:
            archive.extractall(mine.site_packages)
        names = [f"{name}-py{version}.egg" for name in eggs]
        for name, files in zip(names, eggs.values()):
            write_egg(mine.site_packages / name, files)
        (mine.site_packages / "easy-install.pth").write_text("".join(f"./{name}\n" for name in names))
        return mine

    return make


@pytest.mark.parametrize("version", PIPS)
def test_egg_that_shares_a_namespace_is_named(version: str, site: Callable[..., Deployment], shared_tmp: Path) -> None:
    """Where an egg outside of the tree has the __init__.py of a namespace of the wheels, no command for pip is printed,
    and it would break the imports; that of the message's command keeps them, and an egg of no such namespace stays."""
    space = {"EGG-INFO/namespace_packages.txt": "ns\n", "ns/__init__.py": NAMESPACE}
    names = ("one", "two", "three")
    eggs = {f"Ns.{name.title()}-1.0": {**space, f"ns/{name}.py": ""} for name in names}
    mine = site(version, {**eggs, "Alone-1.0": {"alone.py": ""}})
    code, out = f"import {', '.join(f'ns.{name}' for name in names)}, alone", shared_tmp / "out"
    mine.run(code)
    result = eggcache("wheels", out, "Ns.Two", "--python", mine.python, "--json")
    report = as_json(result)
    assert (result.returncode, report["install"]) == (0, [])
    findings = [(finding["code"], Path(finding["thing"]).name) for finding in report["findings"]]
    assert findings == [("wheel-namespace", f"Ns.{name}-1.0-py{version}.egg") for name in ("One", "Three")]
    (command,) = {finding["command"] for finding in report["findings"]}
    whole = remedied(command)
    assert whole.returncode == 0, whole.stderr
    deployment.run(following(whole))
    mine.run(code)
    assert [egg.name for egg in mine.eggs] == [f"Alone-1.0-py{version}.egg"]


@pytest.mark.parametrize("version", PIPS)
def test_a_namespace_that_is_divided_is_not_whole(
    version: str, site: Callable[..., Deployment], shared_tmp: Path
) -> None:
    """pip with the wheel of one egg of a namespace, and the egg of another beside it, leaves one of two imports."""
    space = {"EGG-INFO/namespace_packages.txt": "ns\n", "ns/__init__.py": NAMESPACE}
    mine = site(version, {f"{name.title()}-1.0": {**space, f"ns/{name}.py": ""} for name in ("one", "two")})
    assert eggcache("wheels", shared_tmp / "out", "Two", "--python", mine.python).returncode == 0
    pip(mine, "install", "--no-index", "--find-links", shared_tmp / "out", "--force-reinstall", "--no-deps", "Two")
    assert [mine.run(f"import ns.{name}", check=False).returncode for name in ("one", "two")] == (
        [1, 0] if version == "2.7" else [0, 1]
    )


def test_namespaces_of_turbogears_1(
    turbogears1: Deployment, copy_of: Callable[[Deployment], Deployment], shared_tmp: Path
) -> None:
    """Of the real PEAK packages, the wheel of one asks for those of the four others."""
    mine = copy_of(turbogears1)
    result = eggcache("wheels", shared_tmp / "out", "SymbolType", "--python", mine.python)
    assert (result.returncode, following(result)) == (0, [])
    (line,) = (line for line in result.stderr.splitlines() if "[wheel-namespace]" in line)
    assert "the first of 4 such" in line
    whole = remedied(line.partition("make wheels of all that share one: ")[2])
    assert whole.returncode == 0, whole.stderr
    assert {word.partition("==")[0] for word in following(whole) if "==" in word} == {
        "AddOns", "BytecodeAssembler", "DecoratorTools", "Extremes", "SymbolType"
    }  # fmt: skip


@pytest.mark.parametrize("unzipped", [False, True], ids=["zipped", "unzipped"])
def test_files_of_one_name(site: Callable[..., Deployment], shared_tmp: Path, unzipped: bool) -> None:
    """Two eggs with a file of one name and other bytes are named, and no command for pip is printed; what has the same
    bytes, is a script or a test, or is of another version that nobody imports, is no fault."""
    same = {"same.py": "", "EGG-INFO/scripts/run": "#!/bin/sh\n"}
    eggs = {
        "Bbb-1.0": {**same, "common.py": "of = 'bbb'\n", "common_too.py": "b\n"},
        "Aaa-1.0": {**same, "common.py": "of = 'aaa'\n", "common_too.py": "a\n", "aaa.py": "import common\n"},
        "Ccc-1.0": {**same, "EGG-INFO/scripts/run": "#!/bin/bash\n", "ccc.py": "", "examples/case.py": "c"},
        "Ddd-1.0": {"examples/case.py": "d"},
    }
    mine = site("3.11", eggs)
    write_egg(mine.site_packages / "Ccc-0.9-py3.11.egg", {"ccc.py": "old = 1\n"})
    if unzipped:
        assert eggcache("unzip-all", "Aaa", "--python", mine.python).returncode == 0
    out, options = shared_tmp / "out", ("--python", mine.python, "--json")
    for words in ("--all",), ("Aaa", "Bbb"):
        result = eggcache("wheels", out, *words, *options)
        report = as_json(result)
        assert (result.returncode, report["install"]) == (3, [])
        (finding,) = (finding for finding in report["findings"] if finding["status"])
        assert finding["code"] == "wheel-shared-file"
        assert {"Aaa", "Bbb"} == set(re.findall("(Aaa|Bbb)-1.0-py3.11.egg", f"{finding['thing']} {finding['cause']}"))
        assert "'common.py' and 1 more of its files" in finding["cause"]
    for words in ("Aaa",), ("Bbb", "Ccc", "Ddd"):
        result = eggcache("wheels", out, *words, *options)
        assert (result.returncode, as_json(result)["findings"]) == (0, [])


def test_what_is_next_is_printed_again(site: Callable[..., Deployment], shared_tmp: Path) -> None:
    """A second run, with nothing to write, prints the same command for pip."""
    mine = site("3.11", {"One-1.0": {"one.py": ""}})
    first, second = (eggcache("wheels", shared_tmp / "out", "One", "--python", mine.python) for _ in range(2))
    assert following(first)[-1] == "One==1.0"
    assert second.stdout == first.stdout.replace("made", "kept")


def test_a_zip_of_eggs_is_no_egg_of_its_own(site: Callable[..., Deployment], shared_tmp: Path) -> None:
    """The eggs in a zip that has nothing else become wheels, and nothing is said of that zip."""
    mine = site("2.7", {"One-1.0": {"one.py": ""}})
    basket, inner = mine.site_packages / "basket.egg", "Inner-1.0-py2.7.egg"
    files = {"EGG-INFO/PKG-INFO": "Metadata-Version: 1.0\nName: Inner\nVersion: 1.0\n", "inner.py": ""}
    with zipfile.ZipFile(basket, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{inner}/{name}", text)
    with (mine.site_packages / "easy-install.pth").open("a") as lines:
        lines.write("./basket.egg\n")
    result = eggcache("wheels", shared_tmp / "out", "--all", "--python", mine.python)
    assert (result.returncode, result.stderr) == (0, "")
    assert {wheel.name.split("-")[0] for wheel in (shared_tmp / "out").iterdir()} == {"inner", "one"}
    assert "One==1.0" in following(result)
