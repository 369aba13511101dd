"""prepare on eggs that third parties uploaded, and on eggs that many releases of setuptools write."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from support.archives import eggs as packed
from support.archives import tree
from support.deployment import RELEASES, Deployment
from support.judge import Answer, as_json, eggcache, environment, judge, served, watched
from support.parts import missing
from support.probe import build, rounds
from support.sites import write_egg

# What real eggs are known to have that no cache can serve, and in whose lookups it shows.
UNSERVABLE = {
    "eager-missing": "KeyError",  # for the names that the listing gives
    "directory-entries": "OSError|NotADirectoryError|ExtractionError|NotImplementedError|IsADirectoryError",
}


@pytest.mark.parametrize(("python", "setuptools", "least"), [("2.7", "44.1.1", 80), ("3.11", "65.5.0", 20)])
def test_every_uploaded_egg_is_served_or_named_by_a_finding(
    python: str,
    setuptools: str,
    least: int,
    uploaded: dict[str, Path],
    target: Callable[[str, str], Deployment],
    shared_tmp: Path,
    nobody: pwd.struct_passwd,
) -> None:
    """Of every uploaded egg, everything is served, save exactly what a finding names: and that really fails."""
    interpreter = target(python, setuptools).python
    cache = shared_tmp / "cache"
    eggs: list[Path] = []
    findings: dict[str, set[str]] = defaultdict(set)
    for number, group in enumerate(rounds(uploaded, python)):
        place = shared_tmp / f"eggs{number}"
        place.mkdir()
        paths: list[str | Path] = []
        for egg in group:
            copy = place / egg.name
            copy.write_bytes(egg.read_bytes())
            eggs.append(copy)
            paths += ["--path", copy]
        result = eggcache("prepare", cache, *paths, "--python", interpreter, "--user", "nobody", "--json")
        assert result.returncode in (0, 3), result.stderr
        for finding in as_json(result)["findings"]:
            findings[os.path.basename(finding["thing"])].add(finding["code"])
    assert len(eggs) >= least
    assert not any("egg-refused" in codes for codes in findings.values())
    verdict = judge(interpreter, cache, eggs, nobody)
    assert {answer.egg for answer in verdict.answers} == set(map(str, eggs))
    failed: dict[str, list[Answer]] = defaultdict(list)
    for answer in verdict.answers:
        if answer.verdict != "ok" or not answer.path.startswith(f"{cache}/"):
            failed[os.path.basename(answer.egg)].append(answer)
    for egg, answers in failed.items():
        expected = [UNSERVABLE[code] for code in findings[egg] & UNSERVABLE.keys()]
        for answer in answers:
            assert re.match("|".join(expected) or "no finding speaks of it", answer.verdict), answer
    for egg, codes in findings.items():
        if codes & UNSERVABLE.keys():
            assert failed[egg], f"{egg} is served after all: {codes}"
    unserved = [f"{egg}-tmp" for egg, codes in findings.items() if codes & UNSERVABLE.keys()]
    assert [attempt for attempt in verdict.attempts if not any(name in attempt for name in unserved)] == []
    assert verdict.warnings == []


JUDGES = [item for item in RELEASES if item[1] not in ("75.8.0", "81.0.0")]  # these extract as 80.9.0 does
ARCHIVED = ("0.6c11", "36.0.1", "44.1.1", "58.1.0", "80.9.0")  # of these, that archives are tried with


def archived(cache: Path, eggs: Path, python: Path, setuptools: str) -> None:
    """Have tar put an archive of the eggs in the place of their prepared cache, in which nothing is then different; it
    is the same whether the Python was asked, or its release of setuptools is all that is known."""
    archive, alone, before = cache.parent / "cache.tar", cache.parent / "alone.tar", tree(cache)
    readers = ["--cache", cache, "--user", "nobody"]
    paths = [word for path in [*sorted(eggs.glob("*.egg")), eggs] for word in ("--path", path)]
    assert eggcache("archive", archive, "--all", *paths, "--python", python, *readers).returncode in (0, 3)
    said = ["--eggs-in", eggs, "--for-setuptools", setuptools, *readers]
    assert eggcache("archive", alone, *said).returncode in (0, 3)
    assert packed(alone) == packed(archive)  # the verifier knows the --path of a target
    shutil.rmtree(cache)
    subprocess.run(["tar", "-xpf", archive, "-C", "/"], check=True)
    assert tree(cache) == before


@pytest.mark.parametrize(("python", "setuptools"), JUDGES)
def test_everything_that_bdist_egg_knows_is_served(
    python: str, setuptools: str, target: Callable[[str, str], Deployment], shared_tmp: Path, nobody: pwd.struct_passwd
) -> None:
    """An egg with everything that bdist_egg knows, the same behind a shell header, and a basket: all served; and the
    native module imports from the cache, or a finding says that it does not. So it is by way of an archive."""
    deployment = target(python, setuptools)
    egg = build(deployment, shared_tmp)
    place = shared_tmp / "eggs"
    place.mkdir()
    installed = place / egg.name
    installed.write_bytes(egg.read_bytes())
    header = place / egg.name.replace("Probe-1.0", "Header-1.0")
    header.write_bytes(b"#!/bin/sh\nexec python -c 'import sys'\n" + egg.read_bytes())
    basket = place / "Basket.egg"
    with zipfile.ZipFile(basket, "w", zipfile.ZIP_DEFLATED) as archive:
        inner = f"Inner-1.0-py{python}.egg"
        # With metadata of its own: from 49.6 on, pkg_resources finds no egg in a basket that has none.
        archive.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: Basket\nVersion: 1.0\n")
        archive.writestr(f"{inner}/EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: Inner\nVersion: 1.0\n")
        archive.writestr(f"{inner}/inner/__init__.py", "")
        archive.writestr(f"{inner}/inner/data/file.txt", "basket\n")
    cache = shared_tmp / "cache"
    paths = [word for path in (installed, header, basket) for word in ("--path", str(path))]
    result = eggcache(
        "prepare", cache, "--all", *paths, "--path", place, "--python", deployment.python, "--user", "nobody", "--json"
    )
    findings = {finding["code"]: finding["thing"] for finding in as_json(result)["findings"]}
    ignored = setuptools == "80.9.0"  # whose stub never asks for the cache
    assert set(findings) == ({"stub-ignores-cache"} if ignored else set()), result.stderr
    assert result.returncode == (3 if ignored else 0)
    if setuptools in ARCHIVED:
        archived(cache, place, deployment.python, setuptools)
    verdict = judge(deployment.python, cache, [installed, header, (basket, inner + "/")], nobody)
    assert served(verdict, cache) > 30

    command = [
        str(deployment.python),
        "-B",
        "-c",
        "import sys; sys.path.insert(0, sys.argv[1]); import probe.ns._native as n; print(n.answer)",
    ]
    result, attempts = watched([*command, str(installed)], nobody, env=environment({"PYTHON_EGG_CACHE": str(cache)}))
    assert result.stdout == "42\n", result.stderr
    assert bool(attempts) == ignored


@pytest.mark.parametrize(("python", "setuptools"), [("3.9", "58.1.0"), ("3.11", "65.5.0")])
def test_multi_phase_module(
    python: str, setuptools: str, target: Callable[[str, str], Deployment], shared_tmp: Path, nobody: pwd.struct_passwd
) -> None:
    """A native module that initialises in phases is named, and really imports as an empty one from a cache."""
    deployment = target(python, setuptools)
    egg = build(deployment, shared_tmp, multi=True)
    cache = shared_tmp / "cache"
    result = eggcache(
        "prepare", cache, "--all", "--path", egg, "--python", deployment.python, "--user", "nobody", "--json"
    )
    assert result.returncode == 3
    (finding,) = as_json(result)["findings"]
    assert finding["code"] == "stub-multi-phase"
    assert re.fullmatch("unzip it: eggcache unzip-all --python .* Probe", finding["remedy"])
    command = [
        str(deployment.python),
        "-B",
        "-c",
        "import sys; sys.path.insert(0, sys.argv[1]); import probe.ns._native as n; print(hasattr(n, 'answer'))",
    ]
    seen, _ = watched([*command, str(egg)], nobody, env=environment({"PYTHON_EGG_CACHE": str(cache)}))
    assert seen.stdout == "False\n", seen.stderr


NATIVE = "import sys; sys.path[:0] = sys.argv[1:]; import probe.ns._native as n; print(n.answer)"


@pytest.mark.parametrize("stable", [False, True], ids=["cpython-36m", "abi3"])
def test_stub_of_another_generation(
    stable: bool, target: Callable[[str, str], Deployment], shared_tmp: Path, nobody: pwd.struct_passwd
) -> None:
    """An egg whose stub uses `imp` is named on a Python that has none. Unzipped, its library of the stable ABI imports.
    One that is for the old Python alone does not, so that it is to be installed for the new one: that imports."""
    old, new = target("3.6", "40.8.0"), target("3.12", "69.5.1")
    built = build(old, shared_tmp, stable=stable)
    egg = Path(shutil.copy(built, shared_tmp))

    def answer(*paths: Path) -> str:
        result = subprocess.run(
            [new.python, "-W", "ignore", "-B", "-c", NATIVE, *paths], capture_output=True, text=True, check=False,
            env=environment({"PYTHON_EGG_CACHE": str(shared_tmp / "cache")}), cwd="/",
        )  # fmt: skip
        return result.stdout.strip() or result.stderr.splitlines()[-1]

    result = eggcache(
        "prepare", shared_tmp / "cache", "--all", "--path", egg, "--python", new.python, "--user", "nobody", "--json"
    )
    (finding,) = as_json(result)["findings"]
    assert (result.returncode, finding["code"]) == (3, "stub-needs-imp")
    assert answer(egg) == "ModuleNotFoundError: No module named 'imp'"
    unzipped = eggcache("unzip-all", "--path", egg, "--python", new.python, "Probe")
    assert (unzipped.returncode, egg.is_dir()) == (0, True), unzipped.stderr
    if stable:
        assert finding["remedy"].startswith("unzip it: eggcache unzip-all ")
        assert answer(egg) == "42"
        return
    assert finding["remedy"].startswith("take the egg off the path, and install the project for this Python: ")
    assert finding["remedy"].endswith("is for CPython 3.6 alone")
    assert answer(egg) == "ModuleNotFoundError: No module named 'imp'"
    # as pip does it
    install = [new.python, "-W", "ignore", "setup.py", "-q", "install", "--single-version-externally-managed"]
    subprocess.run([*install, "--record", "files"], cwd=built.parents[1], check=True, capture_output=True)
    assert answer() == "42"


@pytest.mark.parametrize(("python", "setuptools"), [("3.12", "69.5.1"), ("3.13", "80.9.0")])
def test_newer_stub_needs_no_imp_and_is_no_better(
    python: str, setuptools: str, target: Callable[[str, str], Deployment], shared_tmp: Path
) -> None:
    """To build the egg with a newer setuptools is no remedy: a module of several phases is named by another finding."""
    deployment = target(python, setuptools)
    egg = build(deployment, shared_tmp, multi=True)
    words = ["--all", "--path", egg, "--python", deployment.python, "--user", "nobody", "--json"]
    (finding,) = as_json(eggcache("prepare", shared_tmp / "cache", *words))["findings"]
    assert finding["code"] == ("stub-ignores-cache" if setuptools == "80.9.0" else "stub-multi-phase")


@pytest.mark.parametrize("python", ["3.9", "3.11", "3.12", "3.13"])
def test_newest_stub_fails_or_extracts_in_each_process(
    python: str, target: Callable[[str, str], Deployment], shared_tmp: Path
) -> None:
    """The module of a stub of setuptools 80.9.0 does not import up to Python 3.12.1. From 3.13 on each process that
    imports it extracts it to TMPDIR, and leaves nothing there. The finding and its message say which."""
    deployment = target(python, "80.9.0")
    egg, temporary = build(deployment, shared_tmp), shared_tmp / "temporary"
    temporary.mkdir()
    words = ["--all", "--path", egg, "--python", deployment.python, "--user", "nobody", "--json"]
    (finding,) = as_json(eggcache("prepare", shared_tmp / "cache", *words))["findings"]
    assert finding["code"] == "stub-ignores-cache"
    version = eval(deployment.run("import sys; print(sys.version_info[:3])").stdout)
    if (3, 12, 1) < version < (3, 13):
        missing("no release of Python 3.12 but 3.12.0 and 3.12.1 is measured")
    command = [str(deployment.python), "-W", "ignore", "-B", "-c", NATIVE + "; print(n.__file__)", str(egg)]
    env = environment({"PYTHON_EGG_CACHE": str(shared_tmp / "cache"), "TMPDIR": str(temporary)})
    runs = [watched(command, None, env=env) for _ in range(2)]
    for result, attempts in runs:
        if version < (3, 13):
            assert result.returncode == 1
            error = "TypeError: 'probe.ns._native' is not a package"
            assert result.stderr.splitlines()[-1].startswith(error if version < (3, 12) else "FileNotFoundError: ")
        else:
            answer, path = result.stdout.splitlines()
            assert (answer, path.startswith(f"{temporary}/")) == ("42", True)
            assert any(path in attempt for attempt in attempts)
    assert os.listdir(temporary) == []
    assert finding["cause"].endswith("does not import here" if version < (3, 13) else "to $TMPDIR in each process")
    if version >= (3, 13):
        assert len({result.stdout for result, _ in runs}) == 2


@pytest.mark.parametrize(("python", "setuptools"), JUDGES)
def test_zip_of_another_name_gives_no_file(
    python: str, setuptools: str, target: Callable[[str, str], Deployment], shared_tmp: Path
) -> None:
    """The bytes of an egg, in a zip whose name does not end in .egg, are imported, and pkg_resources gives no file out
    of them, though it may write to its cache; of the egg it gives them."""
    deployment = target(python, setuptools)
    egg = build(deployment, shared_tmp)
    other = egg.with_suffix(".zip")
    shutil.copy(egg, other)
    code = "import sys; sys.path.insert(0, sys.argv[1]); import probe, pkg_resources; print(probe.__file__)\n"
    code += "try: print(pkg_resources.resource_filename('probe', '__init__.py'))\n"
    code += "except NotImplementedError: print('none')"
    answers = [
        subprocess.run(
            [deployment.python, "-W", "ignore", "-B", "-c", code, path], capture_output=True, text=True, check=True,
            env=environment({"PYTHON_EGG_CACHE": str(shared_tmp / "cache")}),
        ).stdout.splitlines()
        for path in (egg, other)
    ]  # fmt: skip
    assert [lines[0].startswith(f"{path}/") for lines, path in zip(answers, (egg, other))] == [True, True]
    assert [lines[1] for lines in answers] == [f"{shared_tmp}/cache/{egg.name}-tmp/probe/__init__.py", "none"]


def test_egg_is_cached_under_the_name_of_its_link(own: Deployment, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """An egg that is on the path by a link's name is cached under that name, as pkg_resources asks for it."""
    egg = build(own, shared_tmp)
    link = shared_tmp / egg.name.replace("Probe", "Link")
    link.symlink_to(egg)
    cache = shared_tmp / "cache"
    result = eggcache("prepare", cache, "--all", "--path", link, "--python", own.python, "--user", "nobody")
    assert result.returncode == 0, result.stderr
    assert (cache / f"{link.name}-tmp").is_dir()
    assert served(judge(own.python, cache, [link], nobody), cache)


LIBRARY = r"""
import sys
import _json, encodings
standard, sys.path[:] = sys.path[:], sys.argv[1:]
library = sys.modules.pop("_json").__file__
import pure
assert pure.__file__.startswith(sys.argv[1])
try:
    import _json
    print("imported")
except ImportError:
    print("ImportError")
print(library)
"""


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.11", "3.13"])
def test_python_imports_modules_from_a_zip_and_no_library(
    version: str, interpreter: Callable[[str], Path], shared_tmp: Path, nobody: pwd.struct_passwd
) -> None:
    """Python imports a module out of an egg without an attempt to write, also where the user may write beside it; a
    native library it imports out of a directory alone."""
    (place := shared_tmp / "writable").mkdir()
    place.chmod(0o777)
    egg, directory = place / "One-1.0.egg", place / "directory"
    for kind in (egg, directory):
        command = [str(interpreter(version)), "-S", "-E", "-B", "-c", LIBRARY, str(kind)]
        if kind is egg:
            write_egg(egg, {"pure.py": "x = 1\n"})
            library = subprocess.check_output(command, text=True, env=environment(), cwd="/").split()[1]
            with zipfile.ZipFile(egg, "a") as archive:
                archive.write(library, os.path.basename(library))
            egg.chmod(0o644)
        else:
            shutil.unpack_archive(egg, directory, "zip")
        result, attempts = watched(command, nobody, env=environment())
        assert (result.stdout.split()[:1], attempts) == (["ImportError" if kind is egg else "imported"], [])
