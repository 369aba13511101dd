"""An instance of Debian's Apache beside the main one, as its setup-instance makes it: each is asked for itself."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT
from support.emitted import executable, wait_for
from support.judge import environment
from support.namespaces import private
from support.parts import missing
from support.sites import write_egg

FOO = "/usr/local/sbin/apache2ctl-foo"
INSTANCE = """
cp -a /etc "$1/etc"; mount --bind "$1/etc" /etc
cp -a /etc/apache2 /etc/apache2-foo; echo "Listen 127.0.0.1:$2" >/etc/apache2-foo/ports.conf
mount -t tmpfs none /usr/local/sbin; ln -s /usr/sbin/apache2ctl /usr/local/sbin/apache2ctl-foo
mount -t tmpfs none /var/log; mkdir /var/log/apache2 /var/log/apache2-foo
mount -t tmpfs none /run; mkdir -p /run/lock
"""


class Host:
    """A host with both, a Python and an egg."""

    def __init__(self, inside: list[str], python: Path, place: Path) -> None:
        self.inside, self.cache, self.script = inside, place / "cache", place / "eggcache-foo"
        self.target = ("--all", "--path", str(place / "eggs"), "--python", str(python))

    def run(self, *command: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*self.inside, *map(str, command)], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
        assert result.returncode == status, result.stdout + result.stderr
        return result

    def eggcache(self, command: str, *words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "eggcache", command, *words, *self.target, status=status)

    def sh(self, script: str) -> str:
        return self.run("sh", "-ec", script).stdout

    def pid(self, instance: str = "") -> str:
        """The number of the Apache that runs; "" where none does."""
        return self.sh(f"pid=$(cat /run/apache2{instance}/apache2.pid || :); [ ! -d /proc/${{pid:-x}} ] || echo $pid")


@pytest.fixture
def host(python: Path, shared_tmp: Path, unused_port: int) -> Iterator[Host]:
    if not os.path.exists("/usr/sbin/apache2ctl"):
        missing("Debian's Apache (apache2) is not installed")
    (shared_tmp / "eggs").mkdir()
    write_egg(shared_tmp / "eggs/One-1.0-py3.11.egg", {"one.py": ""})
    with private(INSTANCE, shared_tmp, str(unused_port)) as inside:
        yield Host(inside, python, shared_tmp)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_init_script_of_an_instance_leaves_the_main_apache_alone(host: Host) -> None:
    """What is printed next hands the instance over, and no verb of its script touches the main Apache, even where the
    instance does not run and its configuration is broken."""
    host.sh(f"/usr/sbin/apache2ctl start; {FOO} start")
    wait_for(lambda: bool(host.pid() and host.pid("-foo")))
    main, foo = host.pid(), host.pid("-foo")
    words = ("--for", "init.d", "--apachectl", FOO, "-o", host.script)
    said = host.eggcache("wrapper", host.cache, *words).stderr
    boot = "update-rc.d apache2-foo disable && update-rc.d eggcache-foo defaults"
    if os.path.exists("/usr/sbin/update-rc.d"):
        assert f"next: {host.script} restart && {boot}\n" in said
    text = host.script.read_text()
    assert ("apache2@foo.service" in text, "apache2.service" in text) == (True, False)
    assert "#   Debian:  update-rc.d apache2-foo disable " in text
    host.run(host.script, "restart")
    assert host.pid() == main
    assert host.pid("-foo") not in (foo, "")
    host.run(host.script, "stop")
    assert (host.pid(), host.pid("-foo")) == (main, "")
    host.sh("echo Nonsense >>/etc/apache2-foo/apache2.conf")
    host.eggcache("wrapper", host.cache, *words)
    assert host.script.read_text() == text
    host.run(host.script, "stop")
    assert host.pid() == main


def test_script_is_not_made_by_a_variable_that_it_will_not_have(host: Host) -> None:
    """A script for the main apache2ctl, which would get the pid file of the instance that APACHE_CONFDIR names, is
    refused, and the drop-in of that instance is not."""
    words = ("APACHE_CONFDIR=/etc/apache2-foo", sys.executable, "-m", "eggcache", "wrapper", "/srv/x", *host.target)
    for kind in ("init.d", "apachectl"):
        said = host.run("env", *words, "--for", kind, status=2).stderr
        assert "it would control the Apache of /etc/apache2; unset it, and name" in said
        assert said.endswith("--apachectl /usr/local/sbin/apache2ctl-foo\n")
        assert "pid_file=/var/run/apache2-foo/" in host.run("env", *words, "--for", kind, "--apachectl", FOO).stdout
    assert "# /etc/systemd/system/apache2@foo.service.d/" in host.run("env", *words, "--for", "systemd").stdout


def test_drop_in_of_an_instance(host: Host) -> None:
    """Where systemd runs, an instance gets the drop-in of its own unit, also by the command of a remedy."""
    host.sh("mkdir -p /run/systemd/system")
    printed = host.eggcache("wrapper", host.cache, "--for", "systemd", "--apachectl", FOO, status=2).stderr
    assert re.search(r"eggcache wrapper /var/cache/eggcache .*--unit apache2@foo.service", printed), printed
    said = host.eggcache("wrapper", "/srv/x", "--for", "apachectl", "--apachectl", FOO).stderr
    assert "-o /etc/systemd/system/apache2@foo.service.d/50-eggcache.conf && systemctl daemon-reload" in said
    unit = "/etc/systemd/system/apache2@.service"
    host.sh(f"mkdir -p /etc/systemd/system; printf '[Service]\\nPrivateTmp=no\\nExecStart=/bin/true\\n' >{unit}")
    result = host.eggcache("wrapper", "/srv/x", "--apachectl", FOO)
    assert "systemd starts Apache here, as apache2@foo.service\n" in result.stderr
    assert result.stdout.startswith("# /etc/systemd/system/apache2@foo.service.d/50-eggcache.conf\n")


def test_self_compiled_apache_gets_nothing_of_the_other_one(host: Host, shared_tmp: Path) -> None:
    """Of an Apache beside the packaged one that does not tell, nothing is taken from that: its pid file has to be
    named, and its script names no user and disables no service of the other."""
    script = executable(shared_tmp / "apachectl", "exit 1")
    words = ("wrapper", host.cache, "--for", "init.d", "--apachectl", script)
    assert (
        "Apache does not say where its pid file is; name it with --pid-file" in host.eggcache(*words, status=2).stderr
    )
    said = host.eggcache(*words, "--pid-file", "/run/x.pid", "-o", host.script).stderr
    assert ("www-data" in host.script.read_text(), " disable" in said) == (False, False)
    answer = 'User: name="games" id=5\nGroup: name="games" id=60\nPidFile: "/opt/httpd/logs/httpd.pid"'
    executable(script, f"cat <<'END'\n{answer}\nEND")
    text = host.eggcache(*words).stdout
    assert "\npid_file=/opt/httpd/logs/httpd.pid\n" in text
    assert " --user games --group games " in text


def test_check_judges_an_instance_by_its_own_envvars(host: Host) -> None:
    """What the main Apache's envvars says is none of an instance's, however that is named; what its own says is."""
    host.eggcache("prepare", host.cache)
    foo = "/etc/apache2-foo"
    checks = [
        [*before, sys.executable, "-m", "eggcache", "check", "--cache", host.cache, *host.target, "--json", *after]
        for before, after in (
            (["env"], ["--apachectl", FOO]),
            (["env", f"APACHE_CONFDIR={foo}"], []),
            (["env", f"APACHE_ENVVARS={foo}/envvars"], []),
        )
    ]

    def named(command: list[str | Path], status: int) -> set[tuple[str, str]]:
        findings = json.loads(host.run(*command, status=status).stdout)["findings"]
        return {(finding["code"], finding["thing"]) for finding in findings}

    host.sh("echo export TZ=Asia/Tokyo >>/etc/apache2/envvars")
    assert [named(command, 0) for command in checks] == [set()] * 3
    host.sh(f"cp /etc/apache2/envvars {foo}; cp {foo}/apache2.conf /etc/apache2; sed -i /TZ/d /etc/apache2/envvars")
    assert [named(command, 3) for command in checks] == [{("time-zone", f"{foo}/envvars")}] * 3


def test_modules_are_imported_in_the_locale_of_an_instance(host: Host) -> None:
    """The locale of an instance is the one that its own envvars says."""
    egg = Path(host.target[2]) / "Tells-1.0-py3.11.egg"
    write_egg(egg, {"tells.py": "raise RuntimeError\n", "EGG-INFO/top_level.txt": "tells\n"})
    host.target = ("Tells", *host.target[1:])
    host.sh("echo export LANG=tr_TR.UTF-8 >>/etc/apache2-foo/envvars")
    told = host.eggcache("check", "--apachectl", FOO, "--json", status=3).stdout
    (cause,) = [finding["cause"] for finding in json.loads(told)["findings"] if finding["thing"] == "tells"]
    assert cause.startswith("it does not import with LANG=tr_TR.UTF-8, as /etc/apache2-foo/envvars has it")
