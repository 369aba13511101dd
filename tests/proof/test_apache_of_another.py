"""Whether check says that Apache's own user cannot read the cache of another that its envvars file names."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.httpd import Httpd
from support.judge import as_json, eggcache
from support.sites import Site

from eggcache.servers import declared_environments, systemd

CODE = "daemon-user-cannot-read"
ALIAS = "WSGIScriptAlias / /srv/app.wsgi\n"
DAEMON = "WSGIDaemonProcess site user=nobody group=nogroup\nWSGIProcessGroup site\n"


def found(site: Site, home: Path, configuration: str, *modules: str, envvars: str = "") -> dict[str, str]:
    """The findings that are no notices for an Apache that does not run, and the remedy of each."""
    apache = Httpd(home, configuration, *modules)
    file = home / "envvars"
    file.write_text(file.read_text() + (envvars or f"export PYTHON_EGG_CACHE={site.cache}\n"))
    words = ["check", *site.options, "--cache", site.cache, "--no-import", "--json"]
    told = as_json(eggcache(*words, env={"APACHE_CONFDIR": str(apache.home), "APACHE_ENVVARS": str(file)}))
    return {each["code"]: f"{each['thing']} {each['remedy']}" for each in told["findings"] if each["status"]}


@pytest.fixture
def prepared(site: Site) -> Site:
    """A cache for nobody, where Apache runs as www-data."""
    assert site.prepare().returncode == 0
    return site


def test_embedded_python_of_another_user(prepared: Site, shared_tmp: Path) -> None:
    """An Apache that runs the application itself cannot read it. The remedy names the file and the line's new value,
    after which nothing is found."""
    findings = found(prepared, shared_tmp / "a", ALIAS, "wsgi")
    other = f"{prepared.cache}-www-data"
    file = shared_tmp / "a" / "envvars"
    assert list(findings) == [CODE]
    assert findings[CODE].startswith(f"{file} prepare another directory")
    assert f"write {other} in place of {prepared.cache} in {file}, and stop and start Apache" in findings[CODE]
    assert found(prepared, shared_tmp / "b", ALIAS, "wsgi", envvars=f"export PYTHON_EGG_CACHE={other}\n") == {}


@pytest.mark.parametrize(
    ("configuration", "modules"),
    [(DAEMON + ALIAS, ["wsgi"]), ("", []), ("", ["wsgi"])],
    ids=["a process group of the user's", "no Python in Apache", "nothing to run"],
)
def test_apache_that_needs_not_read_it(
    prepared: Site, shared_tmp: Path, configuration: str, modules: list[str]
) -> None:
    """Nothing is found where a process group of that user inherits the variable, or Apache runs no Python."""
    assert found(prepared, shared_tmp / "a", configuration, *modules) == {}


@pytest.mark.parametrize(
    ("line", "thing", "cache"),
    [("", "apache2.service", "/a"), ("export PYTHON_EGG_CACHE=/b\n", "", "/b"), ("unset PYTHON_EGG_CACHE\n", "", None)],
)
def test_envvars_have_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, thing: str, cache: str | None
) -> None:
    """What the shell reads that Apache's unit starts counts more than the unit's own environment."""
    envvars = tmp_path / "envvars"
    envvars.write_text(f"export APACHE_RUN_USER=www-data\n{line}")
    monkeypatch.setenv("APACHE_ENVVARS", str(envvars))
    unit = systemd.Unit("apache2.service", environment={"PYTHON_EGG_CACHE": "/a"})
    named = declared_environments.naming(declared_environments.declared(unit, str(envvars)))
    assert named
    assert (named.thing, named.values.get("PYTHON_EGG_CACHE")) == (thing or str(envvars), cache)
