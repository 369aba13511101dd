"""Why a distribution is missing, conflicts or is not active: what the disk tells, beside what the target's own says."""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.deployment import Deployment
from support.judge import as_json, eggcache
from support.sites import write_egg

Finding = dict[str, Any]
VERSIONS = [("2.7", "44.1.1"), ("3.11", "65.5.0")]


class Python:
    """A target that a test changes, and its easy-install.pth."""

    def __init__(self, deployment: Deployment, version: str) -> None:
        self.python = str(deployment.python)
        self.site = deployment.site_packages
        self.version = version
        self.pth = self.site / "easy-install.pth"

    def egg(self, name: str, requires: str = "", version: str = "1.0", directory: Path | None = None) -> Path:
        """A zipped egg of one module, in site-packages unless `directory` says otherwise."""
        info = f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n"
        files = {"EGG-INFO/PKG-INFO": info, "EGG-INFO/requires.txt": requires, f"{name.lower()}.py": ""}
        path = (directory or self.site) / f"{name}-{version}-py{self.version}.egg"
        path.parent.mkdir(exist_ok=True)
        return write_egg(path, files)

    def names(self, *lines: str | Path) -> None:
        """Write these lines to easy-install.pth."""
        self.pth.write_text("".join(f"{line}\n" for line in lines))

    def found(self, *words: str | Path, command: str = "tree") -> dict[str, Finding]:
        """What a command finds wrong, by code."""
        findings = as_json(eggcache(command, *words, "--python", self.python, "--json"))["findings"]
        return {finding["code"]: finding for finding in findings}


@pytest.fixture(params=VERSIONS, ids=lambda param: param[0])
def own(request: pytest.FixtureRequest, target: Callable[[str, str], Deployment]) -> Python:
    version, setuptools = request.param
    return Python(target(version, setuptools), version)


@pytest.fixture
def newer(target: Callable[[str, str], Deployment]) -> Python:
    return Python(target("3.11", "65.5.0"), "3.11")


def test_a_line_that_leads_nowhere(newer: Python, shared_tmp: Path) -> None:
    """A missing distribution is told with the line of the .pth file, or the egg-link, that names what is gone; prepare
    with nothing to do sees when it is back."""
    app, gone = newer.egg("App", "Part\n"), newer.egg("Part", directory=shared_tmp / "build")
    newer.names(f"./{app.name}", "# a comment", gone)
    assert newer.found("App") == {}
    gone.rename(shared_tmp / "aside")
    says = f"{newer.pth}, line 3 names {gone}, which does not exist"
    assert says in newer.found("App")["missing-distribution"]["cause"]
    assert says in newer.found("Part")["root-not-installed"]["cause"]
    assert newer.pth.name not in newer.found("Nothing")["root-not-installed"]["cause"]
    cache = shared_tmp / "cache"
    prepare = [cache, "App", "--user", "nobody"]
    assert newer.found(*prepare, command="prepare").keys() == {"missing-distribution"}
    (shared_tmp / "aside").rename(gone)
    assert newer.found(*prepare, command="prepare") == {}
    (newer.site / "Part").mkdir()
    newer.names(f"./{app.name}", "./Part")  # it is there: that is not why
    assert str(newer.pth) not in newer.found("App")["missing-distribution"]["cause"]
    link = newer.site / "Part.egg-link"
    link.write_text(f"{shared_tmp}/checkout\n.")
    says = f"{link} leads to {shared_tmp}/checkout, which does not exist"
    assert says in newer.found("App")["missing-distribution"]["cause"]


def test_a_line_that_fails(own: Python) -> None:
    """What stands below an import that fails is told, as Python itself tells it; where the import works nothing is."""
    app = own.egg("App")
    own.names("import no_such_module_at_all", f"./{app.name}")
    finding = own.found("App")["pth-ignored"]
    assert (finding["thing"], finding["status"]) == (f"{own.pth}, line 2", 0)
    assert f"it names {app}, which is not on the path: line 1 fails" in finding["cause"]
    said = subprocess.run(shlex.split(finding["command"]), capture_output=True, text=True, check=False)
    assert "Error processing line 1 of" in said.stderr
    own.names("import sys", f"./{app.name}")
    assert own.found("App") == {}


def test_a_file_that_cannot_be_read(newer: Python, shared_tmp: Path, nobody: object) -> None:
    """A .pth file that the runtime user cannot read is told by prepare, as a notice, and is not where he can."""
    app = newer.egg("App")
    newer.names(f"./{app.name}")
    newer.pth.chmod(0o640)
    finding = newer.found(shared_tmp / "cache", "App", "--user", "nobody", command="prepare")["pth-ignored"]
    assert (finding["thing"], finding["status"]) == (str(newer.pth), 0)
    assert "mode 0640" in finding["cause"]
    newer.pth.chmod(0o644)
    assert newer.found(shared_tmp / "cache", "App", "--user", "nobody", command="prepare") == {}


def test_eggs_for_another_python(own: Python, shared_tmp: Path) -> None:
    """An egg that pkg_resources passes over for its name is told: where it is missing, and with --all as a notice,
    unless there is another one of that project, which it takes."""
    place = shared_tmp / "eggs"
    place.mkdir()
    other = write_egg(place / "Label-0.2-py2.6.egg", {"label.py": ""})
    windows = write_egg(place / f"Native-1.0-py{own.version}-win32.egg", {"native.py": ""})
    for name, egg, why in (("Label", other, "is for Python 2.6"), ("Native", windows, "is for win32")):
        assert f"{egg} {why}" in own.found(name, "--path", place)["root-not-installed"]["cause"]
        (missing_egg,) = (
            finding
            for finding in as_json(eggcache("tree", "--all", "--path", place, "--python", own.python, "--json"))[
                "findings"
            ]
            if finding["thing"] == str(egg)
        )
        assert (missing_egg["code"], missing_egg["status"], why in missing_egg["cause"]) == (
            "egg-other-python",
            0,
            True,
        )
    own.egg("Label", directory=place)
    windows.unlink()
    assert own.found("--all", "--path", place) == {}


def test_a_version_that_is_shadowed(own: Python) -> None:
    """A conflict names the version that is there and suits, and what stands in front; to do what it says ends it. None
    is named that others cannot take."""
    old, new = own.egg("Base", version="1.3.6"), own.egg("Base", version="1.3.10")
    app, other = own.egg("App", "Base>=1.3.8\n"), own.egg("Other", "Base<1.3.8\n")
    own.names(f"./{old.name}", f"./{app.name}", f"./{new.name}", f"./{other.name}")
    finding = own.found("App")["conflicting-distribution"]
    assert finding["remedy"] == f"{new} suits everything that needs it: put its line in the place of {own.pth}, line 1"
    extra = own.found("Other[none]")["conflicting-distribution"]  # of an extra that there is not: no version suits
    assert extra["remedy"] == "install a Other that suits everything that needs it"
    both = own.found("App", "Other")["conflicting-distribution"]
    assert both["remedy"] == "install a Base that suits everything that needs it"
    own.names(f"./{new.name}", f"./{app.name}", f"./{other.name}")
    assert own.found("App") == {}


@pytest.mark.parametrize("closed", ["requires.txt", ".", ".."])
def test_metadata_that_cannot_be_read(newer: Python, shared_tmp: Path, nobody: object, closed: str) -> None:
    """Metadata of an unzipped egg that the runtime user cannot read is told as what it is, by prepare and check, and no
    conflict; the command that is named, or what it says, ends it."""
    part = newer.site / "Part-1.0-py3.11.egg"
    with zipfile.ZipFile(newer.egg("Part", "setuptools\n", directory=shared_tmp / "zips")) as archive:
        archive.extractall(part)
    app = newer.egg("App", "Part\n")
    newer.names(f"./{app.name}", f"./{part.name}")
    place = Path(os.path.normpath(part / "EGG-INFO" / closed))
    place.chmod(0o640 if place.is_file() else 0o750)
    words = ["App", "--user", "nobody"]
    for command, more in (("prepare", [shared_tmp / "cache"]), ("check", ["--cache", shared_tmp / "cache"])):
        findings = newer.found(*more, *words, command=command)
        assert "conflicting-distribution" not in findings
        if closed != "." or "missing-distribution" in findings:
            assert findings["egg-unreadable"]["thing"] == str(place)
    if closed == "requires.txt":
        subprocess.run(shlex.split(findings["egg-unreadable"]["command"]), check=True)
    else:
        place.chmod(0o755)
    assert newer.found(shared_tmp / "cache", *words, command="prepare") == {}


def test_a_zip_without_metadata(own: Python, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """A zip named as an egg, without EGG-INFO, is prepared with --all, and its files come from the cache; unzip-all
    makes a directory of it, from which it imports."""
    text = "import pkg_resources\nprint(pkg_resources.resource_filename('bare', 'a.txt'))\n"
    egg, cache = shared_tmp / "bare-debug.egg", shared_tmp / "cache"
    with zipfile.ZipFile(egg, "w") as archive:
        archive.writestr(zipfile.ZipInfo("bare/__init__.py", (2014, 5, 6, 7, 8, 10)), text)
        archive.writestr(zipfile.ZipInfo("bare/a.txt", (2014, 5, 6, 7, 8, 10)), "x")
    egg.chmod(0o644)
    options = ["--all", "--path", egg, "--python", own.python]
    result = eggcache("prepare", cache, *options, "--user", "nobody", "--json")
    assert [outcome["egg"] for outcome in as_json(result)["outcomes"]] == [str(egg)]
    code = f"import sys; sys.path.insert(0, {str(egg)!r}); import bare"
    env = {**os.environ, "PYTHON_EGG_CACHE": str(cache)}
    asked = subprocess.run(
        [own.python, "-c", code],
        env=env,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert asked.stderr == ""
    assert asked.stdout.strip() == f"{cache}/bare-debug.egg-tmp/bare/a.txt"
    checked = eggcache("check", *options, "--user", "nobody", "--cache", cache)
    assert (checked.returncode, checked.stdout) == (0, "2 files of 1 egg, as nobody: all current, nothing to write\n")
    assert eggcache("unzip-all", *options).returncode == 0
    assert (egg / "bare" / "a.txt").is_file()
    asked = subprocess.run([own.python, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert asked.stderr == ""
    assert asked.stdout.strip() == f"{egg}/bare/a.txt"
