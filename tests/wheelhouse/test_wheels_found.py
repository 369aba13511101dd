"""wheels: what the target finds of them, and what becomes of its eggs when what is printed as next is run there."""

from __future__ import annotations

import io
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename
from support import deployment
from support.deployment import Deployment
from support.judge import as_json, eggcache, listing
from support.sites import write_egg
from support.wheels import other_setuptools, pip, verify

_FOUND = """
import json, os, pkg_resources, sys
asked = json.loads(sys.argv[1])
lost, places = [], {}
for project in asked:
    try:
        places[project] = pkg_resources.require(project)[0].location
    except Exception:
        lost.append("%s: %r" % (project, sys.exc_info()[1]))
print(json.dumps([lost, places, [entry for entry in sys.path if ".egg" in entry]]))
"""


def required(
    python: Path, projects: list[str], setuptools: str = "", on: Path | None = None
) -> tuple[list[str], dict[str, str], list[str]]:
    """What `pkg_resources.require` finds of these projects in a target, under its own setuptools or another release:
    what is lost, where each is, and the eggs on sys.path. `on` is put on its path."""
    path = [str(other_setuptools(setuptools))] if setuptools else []
    variables = {"PYTHONPATH": os.pathsep.join([*path, *([str(on)] if on else [])])}
    result = deployment.run([python, "-W", "ignore", "-c", _FOUND, json.dumps(projects)], env=variables)
    lost, places, eggs = json.loads(result.stdout)
    return lost, places, eggs


IN_PLACE = {  # deployment: what of it, pip, releases of setuptools, what the application imports
    "turbogears2_27": ("--all", ["18.8.1", "36.0.1", "44.1.1"], "tg, zope.interface, repoze.who, tw2.core, jinja2"),
    "turbogears2_311": ("TurboGears2", ["65.5.0", "69.5.1", "75.8.0", "80.9.0", "81.0.0"], "tg, repoze.lru"),
}


@pytest.mark.parametrize("tree", IN_PLACE)
def test_in_the_place_of_the_eggs(
    tree: str,
    request: pytest.FixtureRequest,
    copy_of: Callable[[Deployment], Deployment],
    interpreter: Callable[[str], Path],
    shared_tmp: Path,
) -> None:
    """What is printed as next, run by the pip of the environment that has the eggs, leaves none of them on its path;
    each project is found as before by require(), of several setuptools, and the application imports. Another Python's
    pip changes nothing."""
    which, releases, imports = IN_PLACE[tree]
    mine = copy_of(request.getfixturevalue(tree))
    newest = deployment.fetch_all(deployment.downloads(use="pip-3.11"))[0]
    if tree == "turbogears2_311":
        with zipfile.ZipFile(newest) as archive:
            archive.extractall(mine.site_packages)
    out = shared_tmp / "out"
    result = eggcache("wheels", out, which, "--python", mine.python)
    assert result.returncode == 0, result.stderr
    python, *command = shlex.split(re.findall("^next: (.*)$", result.stdout, re.MULTILINE)[0])
    assert [python, *command[:3]] == [str(mine.python), "-m", "pip", "install"]
    assert "has no pip" not in result.stderr
    projects = [
        str(distribution["project"])
        for distribution in as_json(eggcache("tree", which, "--python", mine.python, "--json"))["distributions"]
    ]
    lost, places, eggs = required(mine.python, projects)
    assert lost == []
    were_eggs = [project for project, place in places.items() if place.endswith(".egg")]
    assert len(were_eggs) == len(list(out.iterdir()))
    before = listing(mine.root)
    outside = deployment.run(
        [interpreter("3.11"), *command],
        env={"PYTHONPATH": str(newest)},
        check=False,
    )
    assert (outside.returncode, listing(mine.root)) == (3, before), outside.stderr
    deployment.run([python, *command])
    assert mine.eggs == []
    for release in ["", *releases]:
        lost, places, eggs = required(mine.python, projects, release)
        assert (lost, eggs) == ([], []), release
    assert {places[project] for project in were_eggs} == {str(mine.site_packages)}
    listed = {package["name"].lower() for package in json.loads(pip(mine, "list", "--format", "json").stdout)}
    assert {project.lower() for project in were_eggs} <= listed
    assert "No broken requirements" in pip(mine, "check").stdout
    mine.run(f"import {imports}")


DOTTED = ["zope.event", "tw2.core", "My-Dashes", "under_score", "Two--Dashes", "Products.Foo_Bar", "odd._name", "a..b"]


def test_each_project_is_found(
    python: Path, turbogears2_27: Deployment, shared_tmp: Path, interpreter: Callable[[str], Path]
) -> None:
    """However a name is written, with dots, dashes and underscores, its wheel is called what pkg_resources calls it,
    and every release finds it by that name; importlib.metadata does, too, and wheel unpacks it."""
    for version, target in {"2.7": turbogears2_27.python, "3.11": python}.items():
        out, site = shared_tmp / f"out{version}", shared_tmp / f"site{version}"
        paths: list[str | Path] = []
        code = "import pkg_resources as p, sys; print(' '.join(p.to_filename(p.safe_name(n)) for n in sys.argv[1:]))"
        named = deployment.run([target, "-W", "ignore", "-c", code, *DOTTED]).stdout.split()
        for name, file_name in zip(DOTTED, named):
            egg = shared_tmp / f"{file_name}-1.0-py{version}.egg"
            module = re.sub(r"\W", "_", name)
            paths += ["--path", write_egg(egg, {f"{module}.py": ""}, project=name)]
        result = eggcache("wheels", out, *DOTTED, *paths, "--python", target)
        assert result.returncode == 0, result.stderr
        assert {wheel.name.split("-")[0] for wheel in out.iterdir()} == {name.lower() for name in named}
        for wheel in out.iterdir():
            assert verify(wheel).name in DOTTED
            assert str(parse_wheel_filename(wheel.name)[0]) == re.sub("[-_.]+", "-", wheel.name.split("-")[0])
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
        releases = ["18.8.1", "36.0.1", "44.1.1"] if version == "2.7" else ["58.1.0", "65.5.0", "75.8.0", "81.0.0"]
        for release in releases:
            lost, places, _ = required(target, DOTTED, release, site)
            assert lost == [], release
            assert set(places.values()) == {str(site)}
    metadata = "import importlib.metadata as m, sys; [m.version(name) for name in sys.argv[1:]]"
    names = [name for name in DOTTED if name.count("-") < 2 and "._" not in name]  # what 3.9 normalizes otherwise
    deployment.run([interpreter("3.9"), "-c", metadata, *names], env={"PYTHONPATH": str(site)})
    for name in out.iterdir():
        command = [sys.executable, "-m", "wheel", "unpack", "-d", shared_tmp, name]
        subprocess.run(command, check=True, capture_output=True)


def test_no_wheels_for_a_target_that_finds_none(target: Callable[[str, str], Deployment], shared_tmp: Path) -> None:
    """Where the target's pkg_resources knows no .dist-info the wheels are made, for another host, and nothing is
    printed that would have its eggs replaced: installed, it finds none of them."""
    old = target("2.7", "0.6c11")
    write_egg(shared_tmp / "Foo-1.0-py2.7.egg", {"foo.py": ""})
    result = eggcache(
        "wheels", shared_tmp / "out", "Foo", "--path", shared_tmp / "Foo-1.0-py2.7.egg", "--python", old.python
    )
    assert result.returncode == 0, result.stderr
    assert [path.name for path in (shared_tmp / "out").iterdir()] == ["foo-1.0-py27-none-any.whl"]
    assert f"setuptools 0.6c11 of {old.python} finds no wheels" in result.stderr
    assert "next:" not in result.stdout
    with zipfile.ZipFile(shared_tmp / "out" / "foo-1.0-py27-none-any.whl") as archive:
        archive.extractall(shared_tmp / "site")
    assert [bool(required(old.python, ["Foo"], release, shared_tmp / "site")[0]) for release in ("", "36.0.1")] == [
        True,
        False,
    ]


def test_root_is_told_as_whom_to_run_pip(own: Deployment, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """Root is told as whom to run the pip of an environment that is somebody else's. An egg outside of the environment
    is named, and with --all one that is not active is left to wait for its require()."""
    write_egg(own.site_packages / "Active-1.0-py3.11.egg", {"active.py": ""})
    write_egg(own.site_packages / "Waiting-1.0-py3.11.egg", {"waiting.py": ""})
    outside = write_egg(shared_tmp / "Outside-1.0-py3.11.egg", {"outside.py": ""})
    (own.site_packages / "easy-install.pth").write_text(f"./Active-1.0-py3.11.egg\n{outside}\n")
    for path in (own.site_packages, *own.site_packages.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    result = eggcache("wheels", shared_tmp / "out", "--all", "--python", own.python)
    assert result.returncode == 0, result.stderr
    assert f"\nnext: {own.python} -m pip install " in result.stdout
    assert "\nwith: run as nobody, whose pip it is; " in result.stdout
    assert f"eggcache: {own.python} has no pip; to give it one: {own.python} -m ensurepip\n" in result.stderr
    given = shlex.split(result.stderr.partition("to give it one: ")[2].partition("\n")[0])
    deployment.run(given)
    assert "has no pip" not in eggcache("wheels", shared_tmp / "out", "--all", "--python", own.python).stderr
    assert f"eggcache: {outside}: pip leaves what lies outside of its environment" in result.stderr
    assert re.findall(r"\S+==\S+", result.stdout) == ["Active==1.0", "Outside==1.0"]
    assert {path.name.split("-")[0] for path in (shared_tmp / "out").iterdir()} == {"active", "outside", "waiting"}


def damaged(wheel: Path, how: str) -> bytes:
    """This wheel, broken: what its file has then."""
    data = wheel.read_bytes()
    if how == "cut off":
        return data[: len(data) // 2]
    with zipfile.ZipFile(wheel) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
        first = archive.infolist()[0]
    if how == "damaged":
        start = first.header_offset + 30 + len(first.filename) + 8
        return data[:start] + b"\xff" * 20 + data[start + 20 :]
    record = next(name for name in members if name.endswith(".dist-info/RECORD"))
    if how == "hashes":
        members[record] = members[record].replace(b"sha256=", b"sha256=AAAA")
    elif how == "no record":
        del members[record]
    else:
        members["../../../../../../outside"] = b""  # behind RECORD
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


ALL = {"MarkupSafe", "TurboGears2", "WebOb", "crank", "repoze.lru"}
BEHIND = {"MarkupSafe", "TurboGears2", "WebOb"}  # pip installs crank and repoze.lru first, which others require
HALF_WAY = {  # WebOb's wheel: pip's error, eggs then, does the application import, eggs after the same command
    "missing": ("No matching distribution found for WebOb", ALL, True, set[str]()),
    "cut off": ("is invalid", ALL, True, set[str]()),
    "damaged": ("zlib.error", BEHIND, False, set[str]()),
    "no record": ("OSError: RECORD", BEHIND, True, BEHIND),
    "outside": ("outside the target directory", BEHIND, True, {"WebOb"}),
}


@pytest.mark.parametrize("how", HALF_WAY)
def test_half_way(
    how: str, turbogears2_311: Deployment, copy_of: Callable[[Deployment], Deployment], shared_tmp: Path
) -> None:
    """Where a wheel is not there or cut off, pip removes nothing. Where it cannot be installed its egg is put back, and
    what was written of it stays, and may come first. With the wheel repaired the same command leaves no egg, once
    the dist-info that was written is taken away; with that, it fails or leaves the egg."""
    error, eggs, imports, again = HALF_WAY[how]
    mine = copy_of(turbogears2_311)
    with zipfile.ZipFile(deployment.fetch_all(deployment.downloads(use="pip-3.11"))[0]) as archive:
        archive.extractall(mine.site_packages)
    result = eggcache("wheels", shared_tmp / "out", "TurboGears2", "--python", mine.python)
    command = shlex.split(re.findall("^next: (.*)$", result.stdout, re.MULTILINE)[0])
    (wheel,) = (shared_tmp / "out").glob("webob-*.whl")
    whole = wheel.read_bytes()

    def left() -> set[str]:
        return {egg.name.split("-")[0] for egg in mine.eggs}

    assert left() == ALL
    if how == "missing":
        wheel.unlink()
    else:
        wheel.write_bytes(damaged(wheel, how))
    failed = deployment.run(command, check=False)
    assert failed.returncode != 0
    assert error in failed.stderr
    assert left() == eggs
    assert (mine.run("import tg, crank, repoze.lru, markupsafe", check=False).returncode == 0) == imports
    mine.run("import crank, repoze.lru, markupsafe")
    wheel.write_bytes(whole)
    infos = list(mine.site_packages.glob("webob-*.dist-info"))
    assert bool(infos) == bool(again)
    if infos:
        before = shared_tmp / "before"
        shutil.copytree(mine.site_packages, before, symlinks=True)
        repeated = deployment.run(command, check=False)
        assert (repeated.returncode != 0) == (again == BEHIND)
        assert ("no RECORD file was found for WebOb" in repeated.stderr) == (again == BEHIND)
        assert left() == again
        shutil.rmtree(mine.site_packages)
        shutil.copytree(before, mine.site_packages, symlinks=True)
        shutil.rmtree(mine.site_packages / infos[0].name)
    deployment.run(command)
    assert left() == set()
    assert "No broken requirements" in pip(mine, "check").stdout
    mine.run("import tg, webob, crank, repoze.lru, markupsafe")


KILLED = {  # what of it; the eggs that pip is killed at, and how many come after; what it says of a missing RECORD
    "turbogears2_27": ("--all", {"Beaker": 33, "Jinja2": 26}, "jinja2-2.11.3.dist-info/RECORD"),
    "turbogears2_311": ("TurboGears2", {"crank": 3, "WebOb": 2}, "no RECORD file was found for WebOb"),
}


@pytest.mark.parametrize("tree", KILLED)
def test_killed_pip(
    tree: str,
    request: pytest.FixtureRequest,
    copy_of: Callable[[Deployment], Deployment],
    shared_tmp: Path,
) -> None:
    """Where pip is killed, nothing is put back: the egg that it was at lies in a directory of pip's own below TMPDIR.
    The same command goes on; but where what was written of the wheel has a dist-info without RECORD, it fails until
    that is taken away. At the end no egg is left."""
    which, at, error = KILLED[tree]
    mine = copy_of(request.getfixturevalue(tree))
    if tree == "turbogears2_311":
        with zipfile.ZipFile(deployment.fetch_all(deployment.downloads(use="pip-3.11"))[0]) as archive:
            archive.extractall(mine.site_packages)
    result = eggcache("wheels", shared_tmp / "out", which, "--python", mine.python)
    command = shlex.split(re.findall("^next: (.*)$", result.stdout, re.MULTILINE)[0])
    # Not by --seccomp-bpf, with which strace 6.1 looks at no path and kills nothing
    strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=openat", "-e", "inject=openat:signal=KILL", "-P"]
    for number, (project, left) in enumerate(at.items()):
        (wheel,) = (shared_tmp / "out").glob(f"{project.lower()}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            first, *_, record = archive.namelist()
        (egg,) = (egg for egg in mine.eggs if egg.name.startswith(f"{project}-"))
        temporary = shared_tmp / project
        temporary.mkdir()
        member = mine.site_packages / [first, record][number]
        killed = deployment.run([*strace, member, *command], env={"TMPDIR": str(temporary)}, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert (len(mine.eggs), egg.exists()) == (left, False)
        assert [path.name for path in temporary.glob("pip-uninstall-*/*.egg")] == [egg.name]
        assert bool(required(mine.python, [project])[0]) == (number == 0)
    again = deployment.run(command, check=False)
    assert (again.returncode, error in again.stderr) == (1, True), again.stderr
    assert len(mine.eggs) == left
    shutil.rmtree(member.parent)
    deployment.run(command)
    assert mine.eggs == []
    assert "No broken requirements" in pip(mine, "check").stdout
    assert required(mine.python, list(at))[0] == []


@pytest.mark.parametrize(
    ("version", "others", "takes"),
    [("2.7", ["2.6", "2.7", "3.7"], ["2.7"]), ("3.8", ["3.7", "3.8", "3.13"], ["3.8", "3.13"])],
)
def test_pythons_that_a_wheel_is_for(
    version: str,
    others: list[str],
    takes: list[str],
    python: Path,
    target: Callable[[str, str], Deployment],
    shared_tmp: Path,
) -> None:
    """pip takes the wheel of an egg for 3.8 for 3.8 and later, and that of an egg for 2.7 for 2.7 alone."""
    with zipfile.ZipFile(deployment.fetch_all(deployment.downloads(use="pip-3.11"))[0]) as archive:
        archive.extractall(shared_tmp)
    egg = write_egg(shared_tmp / f"Egg-1.0-py{version}.egg", {"egg.py": ""})
    its = target("2.7", "44.1.1").python if version == "2.7" else python
    result = eggcache("wheels", shared_tmp / "out", "Egg", "--path", egg, "--python", its)
    assert result.returncode == 0, result.stderr
    words = ["--no-index", "--find-links", shared_tmp / "out", "--only-binary", ":all:", "-d", shared_tmp, "Egg"]
    taken = [
        other
        for other in others
        if not deployment.run(
            [python, "-m", "pip", "download", *words, "--python-version", other],
            env={"PYTHONPATH": str(shared_tmp)},
            check=False,
        ).returncode
    ]
    assert taken == takes


PIPS = {"2.7": ("44.1.1", "pip-2.7", True), "3.11": ("65.5.0", "pip-3.11", False)}  # whether an egg without a line goes


@pytest.mark.parametrize("version", PIPS)
def test_eggs_that_pip_leaves(
    version: str, target: Callable[[str, str], Deployment], interpreter: Callable[[str], Path], shared_tmp: Path
) -> None:
    """pip takes away an egg whose line in easy-install.pth is an absolute path, and leaves the line; it leaves an egg
    outside of a virtual environment, and takes it without one. One that no .pth file names goes with pip 20 alone."""
    release, use, takes = PIPS[version]
    mine, out = target(version, release), shared_tmp / "out"
    newest = deployment.fetch_all(deployment.downloads(use=use))[0]
    with zipfile.ZipFile(newest) as archive:
        archive.extractall(mine.site_packages)
    eggs = {
        name: write_egg(place / f"{name}-1.0-py{version}.egg", {f"{name.lower()}.py": ""})
        for name, place in {
            "Absolute": mine.site_packages,
            "Waiting": mine.site_packages,
            "Outside": shared_tmp,
        }.items()
    }
    pth = mine.site_packages / "easy-install.pth"
    pth.write_text(text := f"{eggs['Absolute']}\n{eggs['Outside']}\n")
    result = eggcache("wheels", out, "--all", "--python", mine.python)
    command = shlex.split(re.findall("^next: (.*)$", result.stdout, re.MULTILINE)[0])
    deployment.run(command)
    assert {name for name, egg in eggs.items() if egg.exists()} == {"Waiting", "Outside"}
    assert pth.read_text() == text
    assert mine.run("import absolute; print(absolute.__file__)").stdout.startswith(f"{mine.site_packages}/absolute.py")
    words = ["install", "--no-index", "--find-links", out, "--force-reinstall", "--no-deps"]
    pip(mine, *words, "Waiting==1.0")
    assert eggs["Waiting"].exists() is not takes
    path = {"PYTHONPATH": f"{newest}:{eggs['Outside']}"}
    base = [interpreter(version), "-m", "pip", *words, "--prefix", shared_tmp / "prefix", "Outside==1.0"]
    deployment.run(base, env=path)
    assert not eggs["Outside"].exists()


def test_wheel_that_the_owner_cannot_read(own: Deployment, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """Where the owner of an environment cannot read a wheel, pip says so before it takes any egg away."""
    with zipfile.ZipFile(deployment.fetch_all(deployment.downloads(use="pip-3.11"))[0]) as archive:
        archive.extractall(own.site_packages)
    for name in ("One", "Two"):
        write_egg(own.site_packages / f"{name}-1.0-py3.11.egg", {f"{name.lower()}.py": ""})
    (own.site_packages / "easy-install.pth").write_text("./One-1.0-py3.11.egg\n./Two-1.0-py3.11.egg\n")
    for path in (own.site_packages, *own.site_packages.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    result = eggcache("wheels", shared_tmp / "out", "--all", "--python", own.python)
    command = shlex.split(re.findall("^next: (.*)$", result.stdout, re.MULTILINE)[0])
    (shared_tmp / "out" / "two-1.0-py311-none-any.whl").chmod(0o600)
    before = own.eggs
    failed = deployment.run(command, user=nobody.pw_name, check=False)
    assert failed.returncode == 1
    assert "Permission denied" in failed.stderr
    assert own.eggs == before
    assert "one" not in {path.name.split("-")[0] for path in own.site_packages.iterdir()}


def test_pip_compares_no_hash_of_record(
    turbogears2_311: Deployment, copy_of: Callable[[Deployment], Deployment], shared_tmp: Path
) -> None:
    """A wheel whose RECORD has other hashes than its members is installed by pip like any other."""
    mine = copy_of(turbogears2_311)
    with zipfile.ZipFile(deployment.fetch_all(deployment.downloads(use="pip-3.11"))[0]) as archive:
        archive.extractall(mine.site_packages)
    result = eggcache("wheels", shared_tmp / "out", "TurboGears2", "--python", mine.python)
    (wheel,) = (shared_tmp / "out").glob("webob-*.whl")
    wheel.write_bytes(damaged(wheel, "hashes"))
    deployment.run(shlex.split(re.findall("^next: (.*)$", result.stdout, re.MULTILINE)[0]))
    assert mine.eggs == []
    assert "No broken requirements" in pip(mine, "check").stdout
