"""The head of each wrapper for Debian's Apache, followed to the letter on a host whose first process is systemd."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ROOT, deployment, tracs
from support.httpd import require
from support.parts import built, missing
from support.systemd_host import SystemdHost
from support.systemd_site import (
    CACHE,
    DROPINS,
    EGG,
    EGGCACHE,
    ON_SITE,
    PYTHON,
    SERVED,
    UNIT,
    Server,
    install,
    serving,
)


@pytest.fixture(scope="module")
def site() -> Iterator[Server]:
    with serving() as server:
        server.egg("served\n")
        yield server


@pytest.fixture
def server(site: Server) -> Iterator[Server]:
    """A host with an Apache that runs without a cache; afterwards nothing of a wrapper is left."""
    assert site.systemctl("start") == ""
    yield site
    places = "/etc/tmpfiles.d/*eggcache* /usr/local/sbin/apachectl-eggs /etc/apache2/envvars-eggcache"
    site.host.sh(
        f"systemctl stop {UNIT}; rm -rf {DROPINS} {CACHE} {places} /etc/init.d/eggcache-*; systemctl daemon-reload"
    )


def emitted(server: Server, kind: str) -> str:
    return server.eggcache("wrapper", CACHE, *ON_SITE, "--for", kind).stdout


@pytest.mark.parametrize("kind", ["systemd", "tmpfiles.d", "apachectl", "envvars", "init.d"])
def test_head_leads_to_the_page(server: Server, kind: str) -> None:
    """Whoever does what the head says has the page served. What systemd passes by refuses before Apache is stopped,
    and the drop-in of its refusal, installed as the head of that says, serves the page."""
    host = server.host
    commands = install(host, emitted(server, kind))
    before = server.state()
    result = host.run("sh", "-c", commands, check=False)
    if kind in ("apachectl", "envvars", "init.d"):
        assert result.returncode != 0
        assert "refused: under systemd" in result.stderr, result.stderr
        assert (server.state(), server.page()) == (before, "500\n")
        dropin = re.search(r"^# /etc/systemd/.*(?:\n.*)*", result.stderr, re.MULTILINE)
        assert dropin, result.stderr
        host.sh(install(host, dropin[0]))
    else:
        assert result.returncode == 0, result.stderr
    if kind == "tmpfiles.d":
        host.write("/etc/tmpfiles.d/zz-eggcache-ages.conf", "d /var/cache/eggcache - - - 0\n")
        host.sh(install(host, emitted(server, "systemd")))
        host.run("systemctl", "start", "systemd-tmpfiles-clean.service")
    for verb in ("start", "restart", "reload"):
        assert server.systemctl(verb) == ""
        assert server.page() == f"{SERVED}served\n", verb
    server.eggcache("check", *ON_SITE, "--cache", CACHE)


UNIT_OF_RED_HAT = """
[Service]
EnvironmentFile=/etc/sysconfig/httpd
ExecStart=/bin/sh -c '. /etc/apache2/envvars; exec /usr/sbin/apache2 $OPTIONS -DFOREGROUND'
"""


@pytest.fixture
def of_red_hat(server: Server) -> Iterator[Server]:
    """The host with an Apache that a unit starts which reads /etc/sysconfig/httpd, as Red Hat's does."""
    host = server.host
    host.sh(f"systemctl stop {UNIT}")
    host.write("/etc/systemd/system/httpd.service", UNIT_OF_RED_HAT)
    host.write("/etc/sysconfig/httpd", "OPTIONS=-DSITE\n")
    try:
        host.sh("systemctl daemon-reload; service httpd start")
        server.wait()
        assert server.page() == "500\n"
        yield server
    finally:
        host.sh("systemctl stop httpd; rm -r /etc/sysconfig /etc/systemd/system/httpd.service; systemctl daemon-reload")


def test_sysconfig_leads_to_the_page(of_red_hat: Server) -> None:
    """The block in /etc/sysconfig/httpd, what it has prepared, and the commands of its head have the page served, and
    keep the lines that were there."""
    server, host = of_red_hat, of_red_hat.host
    text = emitted(server, "sysconfig")
    prepare = re.search(r"^# {3}(/.*)", text, re.MULTILINE)
    assert prepare, text
    theirs = host.path("/etc/sysconfig/httpd").read_text()
    commands = install(host, text)
    host.write("/etc/sysconfig/httpd", theirs + text)
    host.sh(f"{prepare[1]}\n{commands}")
    server.wait()
    assert server.page() == f"{SERVED}served\n"
    main = host.run("systemctl", "show", "-p", "MainPID", "--value", "httpd").stdout.strip()
    assert "-DSITE" in host.path(f"/proc/{main}/cmdline").read_text().split("\0")
    server.eggcache("check", *ON_SITE, "--cache", CACHE)


def test_next_of_sysconfig_leads_to_the_page(of_red_hat: Server) -> None:
    """With nothing prepared, what -o /etc/sysconfig/httpd says is next has the page served."""
    next_leads_to_the_page(of_red_hat, "sysconfig", "/etc/sysconfig/httpd")


@pytest.mark.parametrize("kind", ["mod_wsgi", "systemd"])
def test_next_leads_to_the_page(server: Server, kind: str) -> None:
    """With nothing prepared, what -o says is next has the page served: of a text that cannot prepare, and of one that
    does."""
    places = {"mod_wsgi": "/etc/apache2/conf-available/eggcache.conf", "systemd": f"{DROPINS}/50-eggcache.conf"}
    server.host.run("mkdir", "-p", DROPINS)
    try:
        next_leads_to_the_page(server, kind, places[kind])
    finally:
        server.host.sh("rm -f /etc/apache2/conf-*/eggcache.conf")


def follow_next(server: Server, said: str) -> None:
    """Run what a message says is next."""
    command = re.search(r"^eggcache: next: (.*)$", said, re.MULTILINE)
    assert command, said
    server.host.sh(command[1])
    server.wait()


def next_leads_to_the_page(server: Server, kind: str, place: str, *words: str) -> None:
    assert not server.host.path(CACHE).exists()
    said = server.eggcache("wrapper", CACHE, *ON_SITE, "--for", kind, *words, "-o", place).stderr
    follow_next(server, said)
    assert server.page() == f"{SERVED}served\n", said
    server.eggcache("check", *ON_SITE, "--cache", CACHE)


HANDLER = """
import pkg_resources
from mod_python import apache
def handler(req):
    name = pkg_resources.resource_filename("demo", "data.txt")
    req.content_type = "text/plain"
    req.write(name + "\\n" + open(name).read())
    return apache.OK
"""
THEIR_PATH = f"PythonPath \"['{EGG}', '/srv/handler'] + sys.path\"\n"
WITH_HANDLER = """
ServerName 127.0.0.1
PythonOption mod_python.mutex_directory "logs/"
PythonOption mod_python.mutex_locks 32
GracefulShutdownTimeout 1
Alias /app /srv/handler
<Directory /srv/handler>
    Require all granted
    SetHandler python-program
    PythonHandler page
</Directory>
"""
CONFIGURED = "/etc/apache2/conf-enabled/demo.conf"


def serve_by(server: Server, module: str, other: str, configuration: str) -> None:
    """Have Apache start with that configuration, and with one module in place of another."""
    server.host.sh(
        f"systemctl stop {UNIT}; systemctl reset-failed {UNIT} || :; a2dismod -q -f {other}; a2enmod -q {module}"
    )
    server.host.write(CONFIGURED, configuration)
    assert server.systemctl("start") == ""


def test_next_of_mod_python_leads_to_the_page(server: Server) -> None:
    """Under Debian's mod_python, with nothing prepared, what -o says is next has the page served. A PythonPath of the
    site's own, beside which that of the text would be none, or take its place, is named before anything is written,
    with what to write there; and where one without that comes last later on, check says that the cache is not used."""
    require("python")
    host, later = server.host, "/etc/apache2/sites-enabled/z.conf"
    place = "/etc/apache2/conf-available/zz-eggcache.conf"
    before = host.path(CONFIGURED).read_text()
    host.write("/srv/handler/page.py", HANDLER)
    host.run("mkdir", "/srv/modules")
    try:
        serve_by(server, "python", "wsgi", THEIR_PATH + WITH_HANDLER)
        assert server.page() == "500\n"
        words = ["wrapper", CACHE, *ON_SITE, "--for", "mod_python", "--directory", "/srv/modules", "-o", place]
        refused = server.eggcache(*words, check=False)
        said = re.fullmatch(rf"eggcache: {CONFIGURED}:1: .*; write it as (PythonPath .*) and .*\n", refused.stderr)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert said, refused.stderr
        assert host.sh("ls /srv/modules /etc/apache2/conf-available/zz*", check=False).stdout == "/srv/modules:\n"
        host.write(CONFIGURED, f"{said[1]}\n{WITH_HANDLER}")
        more = server.eggcache(*words, "--path", "/srv/more", check=False)  # it would be on no path of Apache's
        assert "write it as PythonPath \"['/srv/more'] + (['/srv/modules'] + (" in more.stderr
        follow_next(server, server.eggcache(*words).stderr)
        assert server.page() == f"{SERVED}served\n"
        server.eggcache("check", *ON_SITE, "--cache", CACHE)
        assert "this text already" in server.eggcache(*words).stderr
        # Without a PythonPath of the site's, the text has one, and has it again the next time and where it is printed
        host.write(CONFIGURED, WITH_HANDLER.replace("PythonHandler page", "PythonHandler page\n    " + THEIR_PATH))
        path = f"PythonPath \"['/srv/modules', '{EGG}'] + sys.path\""
        for _ in range(2):
            server.eggcache(*words)
            assert path in host.path(place).read_text()
        assert path in server.eggcache(*words[:-2]).stdout
        assert server.systemctl("restart") == ""
        assert server.seen() == (f"{SERVED}served\n", set())

        host.write(later, THEIR_PATH)
        assert server.systemctl("restart") == ""
        assert server.seen() == ("500\n", {"egg-cache-ignored"})
    finally:
        host.sh(f"rm -rf {later} /etc/apache2/conf-*/zz-eggcache.conf /srv/modules /srv/handler")
        serve_by(server, "wsgi", "python", before)


def test_next_of_trac_leads_to_the_page(
    server: Server,
    shared_tmp: Path,
    where: Path,
    copy_of: Callable[[deployment.Deployment], deployment.Deployment],
) -> None:
    """Trac's own script with a zipped plugin, and nothing prepared: what -o says is next has the plugin's page
    served."""
    trac = tracs.new(copy_of(built(lambda: tracs.installed("3.11", where))), shared_tmp)
    host, place = server.host, "/etc/apache2/conf-available/eggcache.conf"
    before = host.path(CONFIGURED).read_text()
    target = ["--trac-env", "/srv/env", "--python", str(trac.tree.python)]
    server.dropin("tests.conf", "PrivateTmp=no")  # what the tests have, Trac among it, is in /var/tmp
    try:
        # On a disk of the host's: that of the tests is for it to read alone
        host.sh(
            f"cp -a {shared_tmp}/env {shared_tmp}/deployed /srv; sed -i s#{shared_tmp}#/srv#g /srv/deployed/cgi-bin/*"
        )
        moved = trac.directives.replace(f"{trac.scripts}", "/srv/deployed/cgi-bin")
        access = "<Directory /srv/deployed>\n    Require all granted\n</Directory>\n"
        serve_by(server, "wsgi", "python", f"ServerName 127.0.0.1\n{moved}{access}")
        assert server.page("/trac/hello") == "500\n"
        said = server.eggcache("wrapper", CACHE, *target, "-o", place).stderr
        follow_next(server, said)
        assert server.page("/trac/hello") == f"{CACHE}/hello-1.0-py3.11.egg-tmp/hello/htdocs"
        assert server.page("/trac/chrome/hello/a.css") == "a {}\n"
        server.eggcache("check", *target, "--cache", CACHE)
    finally:
        host.sh("rm -rf /etc/apache2/conf-*/eggcache.conf /srv/env /srv/deployed")
        serve_by(server, "wsgi", "python", before)


START = """#!/bin/sh
{prepare}
{line}
. /etc/apache2/envvars
exec /usr/sbin/apache2 -DFOREGROUND
"""


def test_shell_leads_to_the_page(server: Server) -> None:
    """A script of the administrator's own, which a unit runs, has the page served by the two lines that the head
    names."""
    host = server.host
    head = emitted(server, "shell")
    prepare = re.search(r"^# {3}(/.* \|\| exit)$", head, re.MULTILINE)
    line = re.search(r'^# Where: +(eval "\$\(eggcache wrapper DIR --for shell\)")$', head, re.MULTILINE)
    assert prepare, head
    assert line, head
    there = f"{' '.join(EGGCACHE)} wrapper {CACHE} {' '.join(ON_SITE)}"
    host.sh(f"systemctl stop {UNIT}")
    text = START.format(prepare=prepare[1], line=line[1].replace("eggcache wrapper DIR", there))
    host.write("/srv/start", text, 0o755)
    host.write("/etc/systemd/system/site.service", "[Service]\nExecStart=/srv/start\n")
    try:
        for verb in ("start", "restart"):
            host.sh(f"systemctl daemon-reload; systemctl {verb} site")
            server.wait()
            assert server.page() == f"{SERVED}served\n", verb
            server.eggcache("check", *ON_SITE, "--cache", CACHE)
    finally:
        host.sh("systemctl stop site; rm /srv/start /etc/systemd/system/site.service; systemctl daemon-reload")


# In outline upstream's, which hands nothing to systemd.
APACHECTL = """#!/bin/sh
. /etc/apache2/envvars
case $1 in
    start | stop | restart | graceful | graceful-stop) exec /usr/sbin/apache2 -k "$1" ;;
    configtest) exec /usr/sbin/apache2 -t ;;
    *) exec /usr/sbin/apache2 "$@" ;;
esac
"""
SCRIPT = "eggcache-apache"


@pytest.fixture
def self_compiled(server: Server) -> Iterator[Server]:
    """The host with an Apache that is started by hand, by an apachectl that hands nothing to systemd."""
    host = server.host
    host.write("/usr/local/sbin/apachectl", APACHECTL, 0o755)
    host.sh(f"systemctl stop {UNIT}; /usr/local/sbin/apachectl start")
    server.wait()
    assert server.page() == "500\n"
    yield server
    host.sh(f"systemctl stop {SCRIPT}; rm /usr/local/sbin/apachectl; update-rc.d -f {SCRIPT} remove")
    host.sh("systemctl daemon-reload; update-rc.d apache2 enable")


def test_init_script_by_the_generator_of_systemd(self_compiled: Server) -> None:
    """An init script for an apachectl that hands nothing to systemd takes the Apache over that runs, and what
    systemd generates of it starts and restarts Apache with the cache, and at a boot makes the cache that is gone."""
    server, host = self_compiled, self_compiled.host
    words = ["--for", "init.d", "--apachectl", "/usr/local/sbin/apachectl"]
    text = server.eggcache("wrapper", CACHE, *ON_SITE, *words).stdout
    host.sh(install(host, text))
    assert server.page() == f"{SERVED}served\n"
    debian = re.search(r"^# +Debian: +(.*?) +then +(.*)$", text, re.MULTILINE)
    assert debian, text
    host.sh(f"{debian[1]}\n{debian[2]}\nsystemctl daemon-reload")
    for verb in ("start", "restart"):
        host.run("systemctl", verb, SCRIPT)
        assert server.page() == f"{SERVED}served\n", verb
    server.eggcache("check", *ON_SITE, "--cache", CACHE)
    host.sh(f"systemctl stop {SCRIPT}; rm -r {CACHE}; systemctl start multi-user.target")
    assert host.run("systemctl", "is-active", SCRIPT).stdout == "active\n"
    assert host.run("systemctl", "is-active", UNIT, check=False).stdout == "inactive\n"
    assert server.page() == f"{SERVED}served\n"
    server.eggcache("check", *ON_SITE, "--cache", CACHE)


def test_init_script_that_systemd_runs_refuses(server: Server) -> None:
    """What systemd generates of the init script for Debian's apachectl fails, with what leads to the drop-in in its
    journal, and Apache goes on as it was; `check` says that it has no cache."""
    host = server.host
    install(host, emitted(server, "init.d"))
    before = server.state()
    host.run("systemctl", "daemon-reload")
    for verb in ("start", "restart"):
        assert host.run("systemctl", verb, SCRIPT, check=False).returncode != 0
        journal = host.run("systemctl", "status", "--full", SCRIPT, check=False).stdout
        cure = re.search(r"give its unit a drop-in, which this prints: (.*)", journal)
        assert cure, journal
        assert f"# {DROPINS}/50-eggcache.conf\n" in host.sh(cure[1], check=False).stderr
    assert (server.state(), server.page()) == (before, "500\n")
    server.eggcache("prepare", CACHE, *ON_SITE)
    assert "running-without-cache" in server.findings()


PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"


def rollout(host: SystemdHost, *words: str) -> subprocess.CompletedProcess[str]:
    """The playbook of the collection, run in the host on itself."""
    target = {"eggcache_python": PYTHON, "eggcache_path": [EGG], "eggcache_requirements": ["Demo"]}
    local = {"ansible_connection": "local", "ansible_python_interpreter": PYTHON, "eggcache_become": False}
    host.write("/srv/inventory.yml", json.dumps({"all": {"hosts": {"localhost": {}}, "vars": {**target, **local}}}))
    host.write("/opt/eggcache/bin/eggcache", f'#!/bin/sh\nexec {" ".join(EGGCACHE)} "$@"\n', 0o755)
    collections = f"ANSIBLE_COLLECTIONS_PATH={ROOT / 'scripts' / 'ansible'}"
    environment = ["env", "--chdir=/", "LC_ALL=C.UTF-8", "HOME=/srv", "ANSIBLE_NOCOLOR=1", collections]
    playbook = [PLAYBOOK, "-i", "/srv/inventory.yml", "eggcache.eggcache.rollout"]
    return host.run(*environment, *playbook, *words, check=False)


def test_ansible_leads_to_the_page(server: Server) -> None:
    """A rollout on this host refuses a kind that systemd passes by while Apache goes on as it was, at the next boot
    too; of the kind that it chooses itself the page is served, and another rollout changes nothing."""
    if sys.version_info < (3, 11):
        pytest.skip("this ansible-core wants Python 3.11")
    if not PLAYBOOK.exists():
        missing("ansible-core is not installed here: scripts/test installs it")
    host = server.host
    before = server.state()
    for kind in ("init.d", "envvars"):
        result = rollout(host, "-e", f"eggcache_kind={kind}")
        assert result.returncode != 0, result.stdout
        assert "refused: under systemd" in result.stdout, result.stdout + result.stderr
        assert (server.state(), server.page()) == (before, "500\n"), kind
        assert host.run("systemctl", "is-enabled", UNIT).stdout == "enabled\n"
    for changed in (True, False):
        result = rollout(host)
        assert result.returncode == 0, result.stdout + result.stderr
        assert (" changed=0 " not in result.stdout) is changed, result.stdout
        assert server.page() == f"{SERVED}served\n"
    server.eggcache("check", *ON_SITE, "--cache", CACHE)
