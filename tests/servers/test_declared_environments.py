"""What check reads off the files that start Apache: an egg cache that they take away, and their PYTHONPATH."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.httpd import Httpd, wait_for
from support.judge import as_json, eggcache
from support.sites import Site

from eggcache.servers import declared_environments, environment_variables, systemd
from eggcache.target.command_lines import Prepare
from eggcache.target.interpreter import EVERYTHING, Target

DAEMON = "WSGIDaemonProcess site user=nobody group=nogroup\nWSGIProcessGroup site\nWSGIScriptAlias / /srv/app.wsgi\n"
NAME = "PYTHON_EGG_CACHE"


def findings(site: Site, apache: Httpd, *more: str | Path) -> dict[str, dict[str, Any]]:
    """What check says that is no notice, by code."""
    words = ["check", *site.options, "--cache", site.cache, "--no-import", "--json", *more]
    env = {"APACHE_CONFDIR": str(apache.home), "APACHE_ENVVARS": str(apache.home / "envvars")}
    return {each["code"]: each for each in as_json(eggcache(*words, env=env))["findings"] if each["status"]}


@pytest.fixture
def prepared(site: Site) -> Site:
    assert site.prepare().returncode == 0
    return site


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (f"export {NAME}=\n", "it empties"),
        (f"{NAME}=; export {NAME}\n", "it empties"),
        (f"{NAME}='' # none\n", "it empties"),
        (f"export {NAME}=@\nunset {NAME}\n", "it unsets"),
        (f"unset {NAME}\nexport {NAME}=@\n", ""),
        (f"{NAME}=@\n", "it does not export"),
        (f"{NAME}=@ # export {NAME}\n", "it does not export"),
        (f"{NAME}=@\nif :; then export TZ {NAME}; fi\n", ""),
        (f"set -a\n{NAME}=@\n", ""),
        (f"export {NAME}=\n{NAME}=$SOMEWHERE\n", ""),  # that cannot be told
        ("", ""),
    ],
)
def test_envvars_that_take_the_cache_away(prepared: Site, shared_tmp: Path, lines: str, words: str) -> None:
    """Of an Apache that does not run, check says that its envvars file leaves no egg cache, and where; written there as
    the remedy has it, nothing is said."""
    apache = Httpd(shared_tmp / "a", DAEMON, "wsgi")
    file = apache.home / "envvars"
    before = file.read_text()
    file.write_text(before + lines.replace("@", str(prepared.cache)))
    told = findings(prepared, apache)
    assert list(told) == (["cache-unset"] if words else [])
    if words:
        assert told["cache-unset"]["cause"].startswith(f"{words} {NAME}: started by it")
        assert told["cache-unset"]["thing"] == str(file)
        setting = told["cache-unset"]["remedy"].removeprefix("write ").removesuffix(" there")
        file.write_text(f"{before}{setting}\n")
        assert findings(prepared, apache) == {}


def test_envvars_that_name_another_cache(prepared: Site, shared_tmp: Path) -> None:
    """Of an Apache that does not run, check says that its envvars file names another cache than the one that was
    checked; a directive of mod_wsgi's that names this one counts more."""
    apache = Httpd(shared_tmp / "a", DAEMON, "wsgi")
    file = apache.home / "envvars"
    before = file.read_text()
    file.write_text(f"{before}export {NAME}=/var/other\n")
    (told,) = findings(prepared, apache).values()
    assert (told["code"], told["thing"]) == ("starts-with-other-cache", str(file))
    assert told["cause"] == f"started by it, Apache has {NAME}=/var/other"
    check, _, setting = told["remedy"].partition(" is to take its place, write ")
    assert check == f"check that one (--cache /var/other); or, if {prepared.cache}"
    file.write_text(f"{before}{setting.removesuffix(' there')}\n")
    assert findings(prepared, apache) == {}
    file.write_text(f"{before}export {NAME}=/var/other\n")
    apache.configure(DAEMON.replace("user", f"python-eggs={prepared.cache} user"))
    assert findings(prepared, apache) == {}


@pytest.mark.parametrize("configuration", [DAEMON.replace("user", "python-eggs={cache} user"), ""])
def test_envvars_that_do_not_matter(prepared: Site, shared_tmp: Path, configuration: str) -> None:
    """Where Apache's own configuration names the cache, or Apache runs no application, envvars do not matter."""
    apache = Httpd(shared_tmp / "a", configuration.format(cache=prepared.cache), "wsgi")
    file = apache.home / "envvars"
    file.write_text(f"{file.read_text()}export {NAME}=\n")
    assert findings(prepared, apache) == {}


@pytest.fixture
def apache(shared_tmp: Path) -> Iterator[Httpd]:
    httpd = Httpd(shared_tmp / "a", "WSGIScriptAlias / /srv/app.wsgi\n", "wsgi")
    yield httpd
    httpd.stop()


def test_apache_that_runs_by_such_envvars(site: Site, apache: Httpd) -> None:
    """It runs without the cache, whatever started it had. The remedy is in that file, and no drop-in or wrapper, which
    it would undo; followed, nothing is said."""
    site.account = pwd.getpwnam("www-data")
    assert site.prepare().returncode == 0
    file = apache.home / "envvars"
    before = file.read_text()
    file.write_text(f"{before}export {NAME}=\n")
    apache.start(PYTHON_EGG_CACHE=str(site.cache))
    (told,) = findings(site, apache, "--pid-file", apache.pid_file).values()
    assert told["code"] == "running-without-cache"
    assert told["cause"] == f"it runs with an empty {NAME} in its environment, and {file} empties {NAME}"
    assert f"so write export {NAME}={site.cache} in {file}, and stop and start Apache" in told["remedy"]
    file.write_text(f"{before}export {NAME}={site.cache}\n")
    apache.restart()
    assert findings(site, apache, "--pid-file", apache.pid_file) == {}
    file.write_text(f"{before}export {NAME}=/var/other\n")  # what the next start has
    assert [*findings(site, apache, "--pid-file", apache.pid_file)] == ["starts-with-other-cache"]
    for started, code in (("export", "running-with-other-cache"), ("unset -v", "running-without-cache")):
        file.write_text(f"{before}{started} {NAME}{'=/var/other' if started == 'export' else ''}\n")
        apache.restart()
        file.write_text(f"{before}export {NAME}=/var/other\n")
        (told,) = findings(site, apache, "--pid-file", apache.pid_file).values()
        assert told["code"] == code
        assert f"write export {NAME}={site.cache} in {file}, and stop and start Apache" in told["remedy"]
    file.write_text(f"{before}export {NAME}={site.cache}\n")
    apache.restart()
    assert findings(site, apache, "--pid-file", apache.pid_file) == {}
    file.write_text(f"{before}export {NAME}=/var/other\n")
    apache.pid_file.write_text("1\n")  # another Apache has the cache, and envvars are this one's
    assert "starts-with-other-cache" not in findings(site, apache)


@pytest.mark.parametrize(
    ("setting", "step"),
    [
        ("Environment=PYTHON_EGG_CACHE=", "install the drop-in that this prints"),
        ("UnsetEnvironment=PYTHON_EGG_CACHE", "take it out of UnsetEnvironment="),
    ],
)
def test_unit_that_takes_the_cache_away(tmp_path: Path, setting: str, step: str) -> None:
    """Where nothing counts more than the unit, its own remedy is the one that has effect."""
    system = tmp_path / "etc" / "systemd" / "system"
    system.mkdir(parents=True)
    (system / "apache2.service").write_text(f"[Service]\n{setting}\n")
    unit = systemd.read(["apache2.service"], str(tmp_path))
    declared = list(declared_environments.declared(unit, str(tmp_path / "none")))
    last = declared_environments.naming(declared)
    prepare = Prepare("/var/cache/eggcache", Target("/usr/bin/python3"), EVERYTHING)
    (told,) = environment_variables.findings(prepare, declared, unit, dates=(), last=last)
    assert (told.code, told.thing) == ("cache-unset", "apache2.service")
    assert step in told.remedy.text


# ------------------------------------------------------------------------------------------------ PYTHONPATH


def unit_of(root: Path, **files: str) -> systemd.Unit | None:
    """Apache's unit with these files, as it is written below `root`; `@` in them is `root`."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return systemd.read(["apache2.service"], str(root))


UNIT = "usr/lib/systemd/system/apache2.service"


@pytest.mark.parametrize(
    ("files", "envvars", "path"),
    [
        ({}, "", []),
        ({UNIT: "[Service]\nEnvironment=PYTHONPATH=/a:/b\n"}, "", ["/a", "/b"]),
        ({UNIT: "[Service]\n", f"{UNIT}.d/a.conf": '[Service]\nEnvironment="PYTHONPATH=/a b"\n'}, "", ["/a b"]),
        ({UNIT: "[Service]\nEnvironmentFile=-/etc/default/x\n", "etc/default/x": 'PYTHONPATH="/a"\n'}, "", ["/a"]),
        ({UNIT: "[Service]\nEnvironment=PYTHONPATH=/a\nUnsetEnvironment=PYTHONPATH\n"}, "", []),
        ({}, "export PYTHONPATH=/a:$PYTHONPATH:/b\n", ["/a", "/b"]),
        ({}, "PYTHONPATH=/a${PYTHONPATH:+:$PYTHONPATH}; export PYTHONPATH\n", ["/a"]),
        ({}, "export PYTHONPATH=$HERE/lib\n", None),
        ({}, "export PYTHONPATH=`here`\n", None),
    ],
)
def test_python_path_of_what_starts_apache(
    tmp_path: Path, files: dict[str, str], envvars: str, path: list[str] | None
) -> None:
    """PYTHONPATH is read off the unit, its drop-ins, the files that it names, and the envvars file; None where it is
    made of other variables."""
    unit = unit_of(tmp_path, **files)
    (tmp_path / "envvars").write_text(envvars)
    assert declared_environments.python_path(unit, str(tmp_path / "envvars")) == path


@pytest.mark.parametrize(
    ("configured", "path", "runs"),
    [
        ("", "", False),
        ("", "/srv:@", True),
        ("PythonPath \"['/srv/x'] + sys.path\"\n", "@", True),
        ("PythonPath \"['/usr/lib/python3.11', '/usr/lib/python3.11/lib-dynload']\"\n", "@", False),
    ],
)
def test_module_of_the_cache_by_python_path(
    site: Site, shared_tmp: Path, configured: str, path: str, runs: bool
) -> None:
    """check says that Apache does not find the module by which a PythonOption is the egg cache where Apache's log says
    so, and is silent where Apache's PYTHONPATH has it."""
    assert site.prepare().returncode == 0
    (modules := shared_tmp / "modules").mkdir()
    (modules / "eggcache_modpython.py").write_text("def at_start(request=None):\n    pass\n")
    locks = f'PythonOption mod_python.mutex_directory "{shared_tmp}/a/log"\nPythonOption mod_python.mutex_locks 8\n'
    text = f"{locks}PythonOption eggcache.directory {site.cache}\n{configured}"
    apache = Httpd(shared_tmp / "a", f"{text}PythonImport eggcache_modpython::at_start main_interpreter\n", "python")
    with (apache.home / "envvars").open("a") as envvars:
        envvars.write(f"export PYTHONPATH={path.replace('@', str(modules))}\n" if path else "")
    assert ("egg-cache-ignored" in findings(site, apache)) is not runs
    apache.start()
    try:
        wait_for(lambda: "resuming normal operations" in apache.log(), apache.log)
        if runs:
            assert "eggcache_modpython" not in apache.log()
        else:
            wait_for(lambda: "No module named 'eggcache_modpython'" in apache.log(), apache.log)
    finally:
        apache.stop()
