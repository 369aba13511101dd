"""The head of each wrapper for Debian's Apache, followed to the letter on a host whose first process is systemd."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.httpd import require
from support.sites import write_egg
from support.systemd_host import SystemdHost, booted

CACHE = "/var/cache/eggcache"
UNIT = "apache2.service"
DROPINS = f"/etc/systemd/system/{UNIT}.d"
EGG = "/srv/app/Demo-1.0-py3.egg"
PYTHON = "/usr/bin/python3"  # of Debian's mod_wsgi
ON_SITE = ["--python", PYTHON, "--path", EGG, "Demo"]
EGGCACHE = [sys.executable, "-m", "eggcache"]
APPLICATION = """
import pkg_resources
def application(environ, start_response):
    text = pkg_resources.resource_string("demo", "data.txt")
    name = pkg_resources.resource_filename("demo", "data.txt")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [name.encode() + b"\\n" + text]
"""
CONFIGURATION = f"""
ServerName 127.0.0.1
GracefulShutdownTimeout 1
WSGIPythonPath {EGG}
WSGIScriptAlias /app /srv/app/app.wsgi
<Directory /srv/app>
    Require all granted
</Directory>
"""
PAGE = f"{CACHE}/{Path(EGG).name}-tmp/demo/data.txt\nserved\n"


@pytest.fixture(scope="module")
def site() -> Iterator[SystemdHost]:
    """A host with Debian's Apache and an application that needs a file of an egg."""
    require("wsgi")
    with booted() as host:
        host.sh(f"a2dismod -q -f mpm_event mpm_worker python; a2enmod -q mpm_prefork wsgi; rm -rf {CACHE}")
        host.write("/srv/app/app.wsgi", APPLICATION)
        host.write("/etc/apache2/conf-enabled/demo.conf", CONFIGURATION)
        write_egg(host.path(EGG), {"EGG-INFO/zip-safe": "\n", "demo/__init__.py": "", "demo/data.txt": "served\n"})
        yield host


@pytest.fixture
def host(site: SystemdHost) -> Iterator[SystemdHost]:
    """The host with an Apache that runs without a cache; afterwards nothing of a wrapper is left."""
    site.run("systemctl", "start", UNIT)
    yield site
    places = "/etc/tmpfiles.d/*eggcache* /etc/apache2/envvars-eggcache /usr/local/sbin/apachectl-eggs"
    site.sh(f"systemctl stop {UNIT}; rm -rf {DROPINS} {CACHE} {places} /etc/init.d/eggcache-*; systemctl daemon-reload")


def install(host: SystemdHost, text: str) -> str:
    """Write the wrapper where its head says; the commands of the head, as they stand."""
    head = re.match(r"(?:#.*\n)+", text)
    assert head, text
    place = re.search(r"^# (?:Where:.*?)?(/(?:etc|usr)/\S+)", head[0], re.MULTILINE)
    # The place of an init script is in its command alone.
    place = place or re.search(r"^# +(/etc/init\.d/\S+) restart$", head[0], re.MULTILINE)
    assert place, head[0]
    host.write(place[1], text, 0o755 if text.startswith("#!") else 0o644)
    after = re.search(r"^# After(?:wards)?: +(?! |nothing)(.*\n(?:#  {6,}.*\n)*)", head[0], re.MULTILINE)
    commands = after[1] if after else "".join(re.findall(r"^# {3}(/.*\n)", head[0], re.MULTILINE))
    assert commands or "# After:  nothing has to be run" in head[0], head[0]
    return re.sub(r"^# +", "", commands, flags=re.MULTILINE)


def emitted(host: SystemdHost, kind: str) -> str:
    return host.run(*EGGCACHE, "wrapper", CACHE, *ON_SITE, "--for", kind).stdout


def assert_served(host: SystemdHost) -> None:
    """The page comes from the cache after a start, a restart and a reload, and check agrees."""
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1/app', timeout=30).read().decode(), end='')"
    for verb in ("start", "restart", "reload"):
        host.run("systemctl", verb, UNIT)
        assert host.run(PYTHON, "-c", ask).stdout == PAGE, verb
    host.run(*EGGCACHE, "check", *ON_SITE, "--cache", CACHE)


@pytest.mark.parametrize("kind", ["systemd", "tmpfiles.d", "apachectl", "init.d"])
def test_head_leads_to_the_page(host: SystemdHost, kind: str) -> None:
    """Whoever does what the head says has the page served. A script that systemd passes by refuses, and
    the drop-in of its refusal, installed as the head of that says, serves the page."""
    commands = install(host, emitted(host, kind))
    done = host.run("sh", "-c", commands, check=False)
    if kind in ("apachectl", "init.d"):
        assert done.returncode != 0
        assert "refused: under systemd" in done.stderr, done.stderr
        dropin = re.search(r"^# /etc/systemd/.*(?:\n.*)*", done.stderr, re.MULTILINE)
        assert dropin, done.stderr
        host.sh(install(host, dropin[0]))
    else:
        assert done.returncode == 0, done.stderr
    if kind == "tmpfiles.d":
        host.write("/etc/tmpfiles.d/zz-eggcache-ages.conf", "d /var/cache/eggcache - - - 0\n")
        host.sh(install(host, emitted(host, "systemd")))
        host.run("systemctl", "start", "systemd-tmpfiles-clean.service")
    assert_served(host)
