"""Wrappers for a host without eggcache: they prepare nothing, and a real Apache is started by one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.emitted import Server, server, variables
from support.judge import as_json, eggcache
from support.parts import missing

from eggcache.wrappers import emission
from eggcache.wrappers.kinds import WrapperSettings

assert server  # a fixture

DIRECTORY = "/srv/no such host's $egg cache"
HOST = ("--apachectl", "/usr/sbin/apachectl", "--pid-file", "/run/httpd.pid", "--unit", "httpd.service")
SHELL = ("apachectl", "init.d", "envvars", "sysconfig", "freebsd", "shell")


def emitted(kind: str, *more: str | Path, directory: str | Path = DIRECTORY) -> str:
    """What `wrapper` prints. What this host has, such as TZ, is not in it."""
    result = eggcache(
        "wrapper", directory, "--for", kind, "--prepared-elsewhere", *HOST, *more,
        env={"TZ": "Asia/Tokyo", "PYTHON_EGG_CACHE": "/x"},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


@pytest.mark.parametrize("kind", sorted(emission.KINDS))
def test_wrapper_for_elsewhere_names_no_command_of_this_host(kind: str) -> None:
    """No kind names eggcache's command, or this host's Python; each has the directory, and the zone where one is named,
    and says in its comments where a new egg comes from."""
    text = emitted(kind, "--tz", "Europe/Madrid")
    plain = text.replace('"$@"', "").replace('"$@', "")
    assert not re.search(r"eggcache prepare|eggcache wrapper /|prepare \(|bin/python|--lenient|@|ExecStart|RUN", plain)
    assert "Asia/Tokyo" not in text
    assert ("Europe/Madrid" in text) == (kind != "tmpfiles.d")
    code = [line for line in text.splitlines() if line[:1] not in ("#", ";")]
    assert "cache" in "\n".join(code)
    assert "archive" in text or kind == "systemd"


def test_scripts_for_elsewhere_are_posix_sh(tmp_path: Path) -> None:
    """What sh reads is POSIX sh without a warning, with a zone and without, and dash parses it."""
    files = []
    for number, (kind, debian) in enumerate((*((kind, False) for kind in SHELL), ("envvars", True))):
        values: dict[str, Any] = {"apachectl": "/usr/sbin/apachectl", "pid_file": "/run/httpd.pid", "debian": debian}
        text = emission.wrapper(kind, WrapperSettings(DIRECTORY, (), (None, "Europe/Madrid")[number % 2], **values))
        files.append(tmp_path / f"{number}.sh")
        files[-1].write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}")
        subprocess.run(["dash", "-n", files[-1]], check=True)
    for command in (["shellcheck", "-e", "SC1003,SC2016,SC2089,SC2090"], ["checkbashisms", "--posix"]):
        if not shutil.which(command[0]):
            missing(f"{command[0]} is not installed")
        result = subprocess.run(
            [*command, *files], env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, check=False
        )
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_gunicorn_elsewhere_has_directory_and_zone(tmp_path: Path) -> None:
    """gunicorn's configuration, read by Python, sets the directory and the zone at once, and has no hook."""
    text = emitted("gunicorn", "--tz", "Europe/Madrid")
    (tmp_path / "conf.py").write_text(text)
    code = "import os, runpy, sys; names = runpy.run_path(sys.argv[1]); print('on_starting' in names, os.environ['TZ'])"
    result = subprocess.run(
        ["python3", "-c", code + "; print(os.environ['PYTHON_EGG_CACHE'])", tmp_path / "conf.py"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout == f"False Europe/Madrid\n{DIRECTORY}\n"


def test_what_must_be_said(tmp_path: Path) -> None:
    """Without --for it is a usage error that lists the kinds; a value that the kind needs is asked for, and a directory
    is written in full. A file is said to be for the other host."""
    words = ["wrapper", "/var/cache/eggcache", "--prepared-elsewhere"]
    for more, says in (
        ((), "name the kind: --for, and one of apachectl, docker"),
        (("--for", "init.d"), "name it with --pid-file"),
        (("--for", "apachectl"), "say where it is with --apachectl"),
        (("--for", "systemd"), "name it with --unit"),
        (("--for", "init.d", "--apachectl", "apachectl", "--pid-file", "/x"), "write it in full"),
    ):
        result = eggcache(*words, *more)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert says in result.stderr
    for directory in ("cache", "//tmp", "/var/cache", "/var/cache/apache2"):
        assert eggcache("wrapper", directory, "--for", "shell", "--prepared-elsewhere").returncode == 2
    result = eggcache(*words, "--for", "apachectl", "--apachectl", "/x/apachectl", "-o", tmp_path / "file")
    assert (result.returncode, "next: take it to that host" in result.stderr) == (0, True)
    told = as_json(eggcache(*words, "--for", "envvars", "--apachectl", "/usr/sbin/apache2ctl", "--json"))
    assert (told["place"], told["part"], told["why"]) == ("/etc/apache2/envvars-eggcache", False, None)


def test_init_script_starts_a_real_apache(server: Server, tmp_path: Path) -> None:
    """Started by the init script Apache's workers have the cache and the zone; where the cache is not there, it is not
    started, nor is a running one stopped, and one line says what to do."""
    cache, script = tmp_path / "cache", tmp_path / "init"
    there = ("--apachectl", server.apachectl, "--pid-file", server.pid_file)
    script.write_text(emitted("init.d", "--tz", "Europe/Madrid", *there, directory=cache))

    def run(action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["dash", script, action], env={"PATH": "/usr/bin:/bin", "TZ": "Asia/Tokyo", **server.environment}, cwd="/",
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    result = run("start")
    assert (result.returncode, server.pid(), result.stderr.count("\n")) == (1, 0, 1)
    assert f"there is no egg cache {cache}" in result.stderr
    cache.mkdir()
    result = run("start")
    assert (result.returncode, result.stderr) == (0, "")
    for pid in [server.pid(), *server.workers()]:
        environment = server.environ(pid)
        assert (environment["PYTHON_EGG_CACHE"], environment["TZ"]) == (str(cache), "Europe/Madrid")
    assert server.answers()
    before = server.pid()
    cache.rmdir()
    assert (run("restart").returncode, server.pid()) == (1, before)
    assert run("stop").returncode == 0
    assert server.pid() == 0


@pytest.mark.parametrize("apachectl", ["/usr/sbin/apache2ctl", "/usr/local/apache2/bin/apachectl"])
def test_envvars_where_there_is_no_cache(tmp_path: Path, apachectl: str) -> None:
    """Whoever reads the file has the cache and no zone; it ends before it starts Apache where the cache is gone."""
    cache, file = tmp_path / "cache", tmp_path / "envvars"
    (tmp_path / "Debian").mkdir()
    (tmp_path / "Debian" / "envvars").touch()
    file.write_text(emitted("envvars", "--apachectl", apachectl, directory=cache))

    def sourced(action: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["dash", "-c", f". {file}; exec env -0", "sh", action], capture_output=True, check=False,
            env={"PATH": "/usr/bin:/bin", "TZ": "Asia/Tokyo", "APACHE_CONFDIR": str(tmp_path / "Debian")},
        )  # fmt: skip

    result = sourced("start")
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"extract its archive again" in result.stderr
    assert sourced("stop").returncode == 0
    cache.mkdir()
    values = variables(sourced("start").stdout)
    assert (values["PYTHON_EGG_CACHE"], values.get("TZ")) == (str(cache), None)
