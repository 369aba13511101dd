"""The deployments that the other tests stand on: what they have, who can run them, what is refused."""

from __future__ import annotations

import hashlib
import os
import pwd
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support import deployment
from support.deployment import RELEASES, Deployment

REQUIRE = "import pkg_resources, sys; print(len(pkg_resources.require(sys.argv[1])))"
OF_SETUPTOOLS = {
    "setuptools",
    "pkg_resources",
    "easy_install",
    "_markerlib",
    "_distutils_hack",
    "distutils",
    "__pycache__",
}


def pth(made: Deployment) -> list[str]:
    return (made.site_packages / "easy-install.pth").read_text().splitlines()


def byte_compiled(egg: Path) -> bool:
    with zipfile.ZipFile(egg) as file:
        names = file.namelist()
    return any(name.endswith(".pyc") for name in names) or not any(name.endswith(".py") for name in names)


def test_turbogears1_is_zipped_and_lacks_peak_rules(turbogears1: Deployment) -> None:
    """25 zipped eggs with byte code, active through easy-install.pth; PEAK-Rules alone is missing."""
    assert len(turbogears1.eggs) == 25
    assert all(map(byte_compiled, turbogears1.eggs))
    assert sorted(pth(turbogears1)) == sorted(f"./{egg.name}" for egg in turbogears1.eggs)
    failed = turbogears1.run(REQUIRE, "TurboGears", check=False)
    assert "DistributionNotFound" in failed.stderr
    assert "PEAK-Rules" in failed.stderr


def test_turbogears1_with_the_stand_in_is_imported(turbogears1_complete: Deployment, shared_tmp: Path) -> None:
    """With the stand-in nothing is missing, `import turbogears` works and a JSON page is served by its rules."""
    page = (
        "import turbogears, turbojson.jsonify, datetime, turbogears.controllers as c\n"
        "assert turbojson.jsonify.encode([datetime.date(2008, 1, 2), (1,)]) == '[\"2008-01-02\", [1]]'\n"
        "class Root(c.RootController):\n"
        "    @turbogears.expose('json')\n"
        "    def index(self): return {'a': 1}\n"
        "print(turbogears.__file__)\n"
    )
    assert turbogears1_complete.run(REQUIRE, "TurboGears").stdout == "25\n"
    result = turbogears1_complete.run(page, env={"PYTHON_EGG_CACHE": str(shared_tmp)})
    assert "TurboGears-1.1.3-py2.7.egg/turbogears" in result.stdout


@pytest.mark.parametrize(("name", "eggs"), [("turbogears2_27", 35), ("turbogears2_311", 5)])
def test_turbogears2_is_zipped_and_complete(request: pytest.FixtureRequest, name: str, eggs: int) -> None:
    """Every distribution is a zipped egg, and pkg_resources resolves the whole tree."""
    made: Deployment = request.getfixturevalue(name)
    assert len(made.eggs) == eggs
    assert all(map(byte_compiled, made.eggs))
    assert sorted(pth(made)) == sorted(f"./{egg.name}" for egg in made.eggs)
    assert int(made.run(REQUIRE, "TurboGears2").stdout) >= 5


@pytest.mark.parametrize(("version", "setuptools"), RELEASES)
def test_target_has_that_setuptools_and_is_run_by_nobody(
    target: Callable[[str, str], Deployment], nobody: pwd.struct_passwd, version: str, setuptools: str
) -> None:
    """An unprivileged user gets exactly the release of setuptools that was asked for, and can write nothing."""
    made = target(version, setuptools)
    code = (
        "import pkg_resources, sys; print(sys.version[:4]); print(pkg_resources.get_distribution('setuptools').version)"
    )
    result = made.run(code, user=nobody.pw_name)
    assert result.stdout.split() == [version if len(version) == 4 else f"{version}.", setuptools]
    others = {path.name.partition("-")[0].partition(".")[0] for path in made.site_packages.iterdir()}
    assert others <= OF_SETUPTOOLS
    writable = "import os, sys; print([p for p in sys.path if os.access(p, os.W_OK)])"
    assert made.run(writable, user=nobody.pw_name).stdout == "[]\n"


def test_target_without_setuptools_has_no_pkg_resources(target: Callable[[str, str], Deployment]) -> None:
    """A bare environment is bare."""
    assert "ImportError" in target("2.7", "").run("import pkg_resources", check=False).stderr


def test_copy_is_its_own(turbogears2_311: Deployment, copy_of: Callable[[Deployment], Deployment]) -> None:
    """A copy's Python has the copy's prefix and eggs, with the original's mtimes."""
    copied = copy_of(turbogears2_311)
    code = "import sys, pkg_resources; print(sys.prefix); print(pkg_resources.require('TurboGears2')[0].location)"
    prefix, location = copied.run(code).stdout.split()
    assert Path(prefix) == copied.root
    assert Path(location).parent == copied.site_packages
    for copied_egg, egg in zip(copied.eggs, turbogears2_311.eggs):
        assert copied_egg.stat().st_mtime_ns == egg.stat().st_mtime_ns


def test_everybody_can_read_what_is_built_under_any_umask(
    where: Path, turbogears1: Deployment, turbogears2_311: Deployment, target: Callable[[str, str], Deployment]
) -> None:
    """No directory keeps others out and no file is private, even where the builder's umask is 077."""
    with deployment.umask(0o077):
        strict = target("3.11", "65.7.0")
    for top in (strict.root, turbogears1.root, turbogears2_311.root, *where.glob("python-*")):
        for directory, _, names in os.walk(top):
            assert os.stat(directory).st_mode & 0o027 == 0o005, directory
            for name in names:
                path = os.path.join(directory, name)
                assert os.path.islink(path) or os.stat(path).st_mode & 0o026 == 0o004, path


def test_missing_interpreter_is_named(where: Path) -> None:
    """The error says which Python this machine lacks."""
    with pytest.raises(deployment.MissingInterpreter, match=r"python2\.2"):
        deployment.interpreter("2.2", where)


def test_nothing_is_left_in_a_home(where: Path, shared_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What builds an environment leaves nothing in HOME: root would make it, and /nonexistent has to be missing."""
    monkeypatch.setattr(deployment, "HOME", str(shared_tmp / "home"))
    assert deployment.target("2.7", "", where, shared_tmp).python.exists()
    assert not (shared_tmp / "home").exists()


def test_no_pythonpath_of_the_caller_reaches_a_deployment(
    turbogears2_311: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the caller's PYTHON* reaches a deployment."""
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    code = "import os; print([name for name in os.environ if name.startswith('PYTHON')])"
    assert turbogears2_311.run(code).stdout == "[]\n"


def test_fetch_refuses_what_was_not_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose sha256 is another one is refused by name, and nothing of it is left."""
    monkeypatch.setenv("EGGCACHE_DOWNLOADS", str(tmp_path))
    with pytest.raises(deployment.DownloadError, match=r"kid: kid-0\.9\.6-py2\.5\.egg: sha256 is"):
        deployment.fetch("kid", "kid-0.9.6-py2.5.egg", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_fetch_names_what_the_index_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names project and file, and nothing is left."""
    monkeypatch.setenv("EGGCACHE_DOWNLOADS", str(tmp_path))
    with pytest.raises(deployment.DownloadError, match=r"kid: kid-99\.egg: the index has no such file"):
        deployment.fetch("kid", "kid-99.egg", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_fetch_verifies_at_every_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was damaged in the cache is downloaded again."""
    monkeypatch.setenv("EGGCACHE_DOWNLOADS", str(tmp_path))
    pin = next(pin for pin in deployment.downloads() if pin.filename.startswith("Extremes-"))
    first = deployment.fetch(pin.project, pin.filename, pin.sha256)
    first.write_bytes(b"damaged")
    again = deployment.fetch(pin.project, pin.filename, pin.sha256)
    assert hashlib.sha256(again.read_bytes()).hexdigest() == pin.sha256
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [again]


def test_uploaded_eggs_are_zips(uploaded: dict[str, Path]) -> None:
    """Each of the pinned uploads can be had, and is a zip."""
    assert len(uploaded) >= 70
    assert all(map(zipfile.is_zipfile, uploaded.values()))
