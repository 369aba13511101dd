"""What check imports, in which surroundings, and what it says of a module that changes what a cache depends on."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.httpd import MODULES, require
from support.judge import as_json, eggcache
from support.parts import missing
from support.sites import write_egg

from eggcache.model import Run
from eggcache.proof import checking, target_side
from eggcache.system import accounts
from eggcache.target.interpreter import Roots, Target

Findings = dict[str, dict[str, Any]]


@dataclass
class Shop:
    """Eggs with one package each, called as the project in small letters; and a cache that is prepared for nobody."""

    python: Path
    eggs: Path
    cache: Path

    def add(self, project: str, text: str, *more: str, requires: str = "") -> None:
        """An egg whose package is `text`, and whose top_level.txt names `more` modules, each of which fails."""
        name = project.lower()
        files = {
            f"{name}/__init__.py": text,
            f"{name}/data.txt": "x",
            "EGG-INFO/top_level.txt": "\n".join([name, *more]),
            "EGG-INFO/requires.txt": requires,
        }
        write_egg(self.eggs / f"{project}-1.0-py3.11.egg", {**files, **{f"{module}.py": "1 / 0\n" for module in more}})

    @property
    def options(self) -> list[str | Path]:
        return ["--path", self.eggs, "--python", self.python, "--user", "nobody"]

    def check(self, *more: str, status: int = 3, env: Mapping[str, str] = {}) -> Findings:
        """What check finds of all the eggs as roots, by the module or path that it names."""
        roots = [egg.name.split("-")[0] for egg in self.eggs.iterdir()]
        assert eggcache("prepare", self.cache, *roots, *self.options).returncode == 0
        result = eggcache("check", "--cache", self.cache, *roots, *self.options, "--json", *more, env=env)
        assert result.returncode == status, result.stdout + result.stderr
        return {finding["thing"]: finding for finding in as_json(result)["findings"]}


@pytest.fixture
def shop(python: Path, shared_tmp: Path, nobody: pwd.struct_passwd) -> Shop:
    (shared_tmp / "eggs").mkdir()
    return Shop(python, shared_tmp / "eggs", shared_tmp / "cache")


def test_module_that_changes_what_a_cache_depends_on(shop: Shop) -> None:
    """A root that sets another cache, or another time zone, when it is imported is named with what it does; setting
    the same is nothing, nor is a zone with the same dates, and no module is blamed for what another one did."""
    cache = repr(str(shop.cache))
    shop.add("Environ", "import os\nos.environ['PYTHON_EGG_CACHE'] = '/elsewhere'\n")
    shop.add("Extraction", "import pkg_resources\npkg_resources.set_extraction_path('/elsewhere')\n")
    shop.add("Uses", "import extraction, pkg_resources\npkg_resources.resource_filename('uses', 'data.txt')\n")
    shop.add("Zone", "import os\nos.environ['TZ'] = 'America/Chicago'\n")
    shop.add("Alike", "import os\nos.environ['TZ'] = 'UTC0'\n")
    same = f"import os, pkg_resources as pr\npr.set_extraction_path({cache})\nos.environ['TZ'] = os.environ['TZ']\n"
    shop.add("Same", same)
    shop.add("Plain", "")
    findings = shop.check("--tz", "UTC")
    assert {module: one["code"] for module, one in findings.items()} == {
        "environ": "not-served", "extraction": "not-served", "uses": "not-served", "zone": "time-zone",
    }  # fmt: skip
    assert all("extract to /elsewhere" in findings[module]["cause"] for module in ("environ", "extraction", "uses"))
    assert "--tz America/Chicago" in findings["zone"]["command"]
    assert f"prepare {shop.cache}-America-Chicago " in findings["zone"]["command"]


def test_root_that_does_not_import(shop: Shop) -> None:
    """A root that fails for a reason of its own is a notice, and the status 0; where an egg or a requirement is to
    blame it is a finding. What stands beside a package by accident is not imported."""
    shop.add("Handler", "import mod_python\n", "tests", "ez_setup")
    shop.add("Logs", "open('/var/log/logs.log', 'a')\n")
    findings = shop.check(status=0)
    assert {module: (one["code"], one["status"]) for module, one in findings.items()} == {
        "handler": ("root-import-fails", 0), "logs": ("root-import-fails", 0),
    }  # fmt: skip
    assert "No module named 'mod_python'" in findings["handler"]["cause"]
    assert "(open /var/log/logs.log)" in findings["logs"]["cause"]
    shop.add("Beside", "import os\nopen(os.path.join(os.path.dirname(__file__), 'data.txt'))\n")
    shop.add("Requires", "import pkg_resources\npkg_resources.require('Absent')\n")
    shop.add("Wraps", "try:\n    import requires\nexcept Exception:\n    raise ValueError('no application')\n")
    findings = shop.check("--import", "handler")
    assert {thing: (one["code"], one["status"]) for thing, one in findings.items() if "/" not in thing} == {
        "handler": ("import-fails", 3), "logs": ("root-import-fails", 0), "beside": ("import-fails", 3),
        "requires": ("import-fails", 3), "wraps": ("import-fails", 3),
    }  # fmt: skip


def test_what_is_not_installed(shop: Shop) -> None:
    """A root that fails since a module is missing is not blamed on the locale: what it requires, and is not installed,
    is named; else the module."""
    locale = {"LANG": "tr_TR.UTF-8"}
    shop.add("Needs", "from peak_rules import x\n", requires="Peak-Rules>=1.0")
    shop.add("Other", "import some.module\n")
    for egg in shop.eggs.iterdir():
        roots = [egg.name.split("-")[0]]
        result = eggcache("check", *roots, *shop.options, "--json", env=locale)
        findings = {finding["thing"]: finding for finding in as_json(result)["findings"]}
        one = findings[roots[0].lower()]
        what = "Peak-Rules, which is required," if "Needs" in roots else "the distribution that has the module some"
        assert one["cause"].startswith("it does not import: No module named "), one
        assert one["remedy"].endswith(f"install {what} for {shop.python}")


def test_modules_of_a_wheel(shop: Shop, own_site: Path) -> None:
    """A root without top_level.txt is imported by what its RECORD has at the top; its parts and its data are not."""
    info = own_site / "Modern-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Modern\nVersion: 1.0\n")
    names = [
        "modern.py",
        "package/__init__.py",
        "package/part.py",
        "other/__init__.py",
        "bin/tool",
        "Modern-1.0.dist-info/METADATA",
    ]
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    (own_site / "modern.py").write_text("raise RuntimeError('this one')\n")
    result = eggcache("check", "Modern", "--path", own_site, *shop.options[2:], "--json")
    assert [finding["thing"] for finding in as_json(result)["findings"]] == ["modern", "package", "other"], (
        result.stderr
    )


@pytest.fixture
def own_site(shared_tmp: Path) -> Path:
    (shared_tmp / "site").mkdir()
    return shared_tmp / "site"


def test_imports_are_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left when the imports have taken their time is said not to have been tried; and nothing is imported where
    that is not wanted."""
    shop.add("First", "1 / 0\n")
    shop.add("Second", "1 / 0\n")
    target, roots = Target(str(shop.python), [str(shop.eggs)], accounts.lookup("nobody")), Roots(["First", "Second"])
    monkeypatch.setattr(target_side, "_SECONDS", 0)
    result = checking.check(None, target, roots, Run())
    assert [finding.cause.partition(": ")[2] for finding in result.findings if finding.code == "root-import-fails"] == [
        "division by zero", "it was not tried: the modules before it took 0 s",
    ]  # fmt: skip
    result = checking.check(None, target, roots, Run(), imports=None)
    assert [finding.code for finding in result.findings] == ["no-cache"]


def test_options_choose_what_is_imported(shop: Shop, shared_tmp: Path) -> None:
    """--no-import leaves all imports out, and goes with no --import; --script names a script that no server's
    configuration names, which is read in any Python's syntax and never run; one that is not there is a usage error."""
    shop.add("Fails", "1 / 0\n")
    assert list(shop.check(status=0)) == ["fails"]
    assert shop.check("--no-import", status=0) == {}
    result = eggcache("check", *shop.options, "--no-import", "--import", "fails")
    assert (result.returncode, "not allowed with" in result.stderr) == (2, True)
    script = shared_tmp / "app.wsgi"
    script.write_text("print 'hello'\nos.environ['PYTHON_EGG_CACHE'] = '/elsewhere'\n")
    (finding,) = shop.check("--no-import", "--script", str(script)).values()
    assert (finding["code"], finding["thing"]) == ("egg-cache-elsewhere", f"{script}:2")
    assert "prepare /elsewhere --python" in finding["command"]
    result = eggcache("check", *shop.options, "--cache", shop.cache, "--script", script, "Fails")
    assert f"{script}: read by line" in result.stderr
    result = eggcache("check", *shop.options, "--script", "/not/there.wsgi")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


# ------------------------------------------------------------------------------------------------------- the locale


TELLS = "import os\nraise RuntimeError(' '.join('%s=%s' % v for v in sorted(os.environ.items()) if v[0][0] == 'L'))\n"


@pytest.fixture
def server(shop: Shop, nobody: pwd.struct_passwd) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs with the cache, in a locale of its own."""
    environment = {"PYTHON_EGG_CACHE": str(shop.cache), "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(["sleep", "600"], env=environment, user=nobody.pw_uid, group=nobody.pw_gid) as process:
        yield process
        process.kill()


def test_modules_are_imported_in_the_locale_of_apache(shop: Shop, shared_tmp: Path) -> None:
    """Modules are imported in the locale that starts Apache, as its last assignments have it, and the message says so
    where it is not the caller's."""
    if not os.path.exists("/usr/sbin/apache2ctl"):
        missing("Debian's apache2 is not installed")
    shop.add("Tells", TELLS)
    envvars = shared_tmp / "envvars"
    envvars.write_text(Path("/etc/apache2/envvars").read_text() + "export LANG=tr_TR.UTF-8\n# export LC_ALL=C\n")
    findings = shop.check(status=0, env={"LC_ALL": "C.UTF-8", "APACHE_ENVVARS": str(envvars)})
    said = "LANG=tr_TR.UTF-8"
    assert findings["tells"]["cause"] == f"it does not import with {said}, as {envvars} has it: {said}"
    # Apache embeds its Python, which makes nothing better of the C locale, as a program does (bpo-36443)
    shop.add("Tells", "import sys\nraise RuntimeError(sys.getfilesystemencoding())\n")
    envvars.write_text(envvars.read_text() + "export LANG=C\n")
    assert shop.check(status=0, env={"APACHE_ENVVARS": str(envvars)})["tells"]["cause"].endswith(": ascii")


def test_target_is_asked_anew_in_the_locale_of_mod_wsgi(shop: Shop, shared_tmp: Path) -> None:
    """Where Apache's configuration alone has the locale, the target was asked in another one by then: it is asked anew,
    and only the second answer counts."""
    require("wsgi")
    shop.add("Tells", TELLS)
    modules = ("mpm_prefork", "authz_core", "wsgi")
    loads = "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in modules)
    daemon = f"WSGIDaemonProcess shop user=nobody lang=tr_TR.UTF-8 python-eggs={shop.cache}\nWSGIProcessGroup shop\n"
    (shared_tmp / "apache2.conf").write_text(
        f"ServerRoot {shared_tmp}\nServerName localhost\nPidFile {shared_tmp}/pid\nErrorLog {shared_tmp}/log\n"
        f"Listen 127.0.0.1:1\nUser nobody\n{loads}{daemon}"
    )
    control = shared_tmp / "apachectl"
    control.write_text(f'#!/bin/sh\nexec /usr/sbin/apache2 -f {shared_tmp}/apache2.conf "$@"\n')
    control.chmod(0o755)
    findings = shop.check("--apachectl", str(control), status=0, env={"LC_ALL": "", "LANG": "C.UTF-8"})
    assert findings["tells"]["cause"].endswith(": LANG=tr_TR.UTF-8"), "what the module itself has seen"


def test_what_our_own_python_makes_of_the_locale() -> None:
    """The target has the locale that eggcache was called with, and not what its own Python makes of it (PEP 538)."""
    code = (
        "import os; from eggcache.target import launch\n"
        "print(os.environ['LC_CTYPE'], launch.environment().get('LC_CTYPE'))"
    )
    for given, kept in (({}, "None"), ({"LC_CTYPE": "C.UTF-8"}, "C.UTF-8")):
        env = {"LANG": "C", "PYTHONPATH": str(ROOT), **given}
        result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert result.stdout == f"C.UTF-8 {kept}\n"


def test_locale_of_a_server_that_runs(shop: Shop, server: subprocess.Popen[bytes]) -> None:
    """Where a server runs with the cache, its modules are imported in its locale, whatever else is declared."""
    shop.add("Tells", TELLS)
    cause = shop.check(status=0, env={"LANG": "C"})["tells"]["cause"]
    assert cause == f"it does not import with LC_ALL=C.UTF-8, as sleep (process {server.pid}) has it: LC_ALL=C.UTF-8"
