"""A cache in /tmp for an Apache with a /tmp of its own from systemd: where it sees the cache, and what cleans it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.judge import as_json
from support.systemd_site import (
    ASK,
    CACHE,
    DOWN,
    DROPINS,
    EGG,
    ERROR,
    IN_TMP,
    ON_SITE,
    PYTHON,
    Server,
    fresh,
    served,
    serving,
)

IN_CACHE = ["--cache", IN_TMP]
EXCLUSIONS = "/etc/tmpfiles.d/eggcache.conf"
# The /tmp of this host is a file system in memory, so whatever else is so, check tells that as well.
MEMORY = {"volatile"}


@pytest.fixture(scope="module")
def installed() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(installed: Server) -> Iterator[Server]:
    yield from fresh(installed)


def test_no_dropin_for_a_directory_in_tmp(server: Server) -> None:
    """For a directory in /tmp there is no drop-in, and the command that the refusal names works as it stands; where the
    unit is known to have no PrivateTmp there is one, and a boot that empties /tmp does no harm."""
    file = f"{DROPINS}/50-eggcache.conf"
    server.host.run("mkdir", DROPINS)
    result = server.eggcache("wrapper", IN_TMP, *ON_SITE, "-o", file, check=False)
    assert result.returncode == 2
    command = re.search(r"use another: (eggcache .*)$", result.stderr, re.MULTILINE)
    assert command, result.stderr
    server.eggcache(*shlex.split(command[1])[1:])
    server.host.run("systemctl", "daemon-reload")
    assert server.systemctl("start") == ""
    assert server.seen() == (served("one"), set())

    result = server.eggcache("prepare", IN_TMP, *ON_SITE)
    assert "apache2.service has PrivateTmp" in result.stderr
    server.dropin("10-other.conf", "PrivateTmp=no")
    server.eggcache("wrapper", IN_TMP, *ON_SITE, "-o", file)
    server.host.run("systemctl", "daemon-reload")
    server.host.run("rm", "-r", IN_TMP)
    assert server.systemctl("restart") == ""
    assert server.seen(*IN_CACHE) == (served("one", IN_TMP), MEMORY)


@pytest.mark.parametrize(
    ("bound", "cache", "kept"),
    [
        (IN_TMP, IN_TMP, ""),
        (IN_TMP, IN_TMP, "wrapper"),
        (f"{IN_TMP}/site", f"{IN_TMP}/site", "wrapper"),
        (IN_TMP, f"{IN_TMP}/site", "wrapper"),
        (IN_TMP, f"{IN_TMP}/site", "remedy"),
    ],
)
def test_cache_bound_into_a_private_tmp(server: Server, bound: str, cache: str, kept: str) -> None:
    """What the page on /tmp says of BindReadOnlyPaths=: Apache serves from the cache, which ExecStartPre=+ cannot write
    either. systemd-tmpfiles takes the mount away from the Apache that runs, which then serves what its workers write,
    and check says so before; with what the wrapper has, or the remedy, Apache keeps root's cache. Where the directory
    is gone, Apache does not start."""
    page, in_cache = served("one", cache), ["--cache", cache]
    server.host.run("mkdir", "-p", os.path.dirname(cache))
    server.eggcache("prepare", cache, *ON_SITE)
    written = f'ExecStartPre=+sh -c "touch {cache}/x 2>/run/touched || :"'
    server.dropin("a.conf", f"Environment=PYTHON_EGG_CACHE={cache}\nBindReadOnlyPaths={bound}\n{written}")
    assert server.systemctl("start") == ""
    assert "Read-only file system" in server.host.sh("cat /run/touched").stdout
    server.host.write("/etc/tmpfiles.d/tmp.conf", f"q /tmp 1777 root root 0\nx {IN_TMP}\n")
    if kept == "wrapper":
        server.eggcache("wrapper", cache, *ON_SITE, "--for", "tmpfiles.d", "-o", EXCLUSIONS)
    else:
        assert server.seen(*in_cache) == (page, {*MEMORY, "cleaned"})
        finding = server.findings(*in_cache)["cleaned"]
        assert "/etc/tmpfiles.d/tmp.conf says 'q /tmp 1777 root root 0'" in finding["cause"]
        line = f"x /tmp/systemd-private-%b-*{bound}"
        assert f"add the line '{line}' to {EXCLUSIONS}" in finding["remedy"]
    if kept == "remedy":
        server.host.write(EXCLUSIONS, f"{line}\n")
    if kept:
        assert server.seen(*in_cache) == (page, MEMORY)
    server.host.run("systemd-tmpfiles", "--clean")
    assert server.host.path(cache).is_dir()
    assert server.seen(*in_cache) == (page, MEMORY if kept else {*MEMORY, "private-tmp"})
    file = page.partition("\n")[0]
    assert server.apache("stat", "-c", "%U", file).stdout == ("root\n" if kept else "www-data\n")

    server.host.run("rm", "-r", IN_TMP)
    assert "226/NAMESPACE" in server.systemctl("restart")
    assert server.seen(*in_cache) == (DOWN, {"cache-missing"})


@pytest.mark.parametrize("kept", [False, True])
def test_workers_extract_into_a_private_tmp(server: Server, kept: bool) -> None:
    """Workers that see no cache in their own /tmp extract into it, which check finds; systemd-tmpfiles removes what
    they extract, which they extract anew, but where the wrapper's line keeps it."""
    page, file = served("one", IN_TMP), served("", IN_TMP).partition("\n")[0]
    server.eggcache("prepare", IN_TMP, *ON_SITE)
    server.dropin("a.conf", f"Environment=PYTHON_EGG_CACHE={IN_TMP}")
    server.host.write("/etc/tmpfiles.d/tmp.conf", "q /tmp 1777 root root 0\n")
    if kept:
        server.eggcache("wrapper", IN_TMP, *ON_SITE, "--for", "tmpfiles.d", "-o", EXCLUSIONS)
    else:
        server.host.write(EXCLUSIONS, f"x {IN_TMP}\nx {IN_TMP}/*\nx {IN_TMP}/.*\n")
    assert server.systemctl("start") == ""
    assert server.seen(*IN_CACHE) == (page, {*MEMORY, "private-tmp"})
    assert server.apache("stat", "-c", "%U", file).stdout == "www-data\n"
    server.host.run("systemd-tmpfiles", "--clean")
    assert server.apache("test", "-e", file, check=False).returncode == (0 if kept else 1)
    assert server.seen(*IN_CACHE) == (page, {*MEMORY, "private-tmp"})


def test_what_is_loaded(server: Server) -> None:
    """PrivateTmp and TZ are what systemd has loaded, whatever the files say by now: an empty PrivateTmp= changes
    nothing, and UnsetEnvironment= comes last, wherever it stands. A mount that a cleaner has taken away is none."""
    page = served("one", IN_TMP)
    server.eggcache("prepare", IN_TMP, *ON_SITE)
    server.dropin("a.conf", "PrivateTmp=\nUnsetEnvironment=TZ")
    server.dropin("b.conf", f"Environment=TZ=Asia/Tokyo PYTHON_EGG_CACHE={IN_TMP}")
    assert server.systemctl("start") == ""
    assert server.seen(*IN_CACHE) == (page, {*MEMORY, "private-tmp"})  # the page is what workers have extracted
    server.host.write(f"{DROPINS}/a.conf", "[Service]\nPrivateTmp=no\n")
    assert server.seen(*IN_CACHE) == (page, {*MEMORY, "private-tmp"})
    assert "systemctl daemon-reload" in server.findings(*IN_CACHE)["private-tmp"]["cause"]
    server.host.run("systemctl", "daemon-reload")
    assert server.seen(*IN_CACHE) == (
        page,
        {*MEMORY, "hidden-from-process", "time-zone"},
    )  # as it will be, and as it is
    assert server.systemctl("restart") == ""
    assert server.seen(*IN_CACHE) == (ERROR, {*MEMORY, "time-zone"})

    server.dropin("a.conf", f"BindReadOnlyPaths={IN_TMP}\nUnsetEnvironment=TZ")
    assert server.systemctl("restart") == ""
    assert server.seen(*IN_CACHE) == (page, MEMORY)
    server.apache("umount", IN_TMP)
    # The directory below the mount is root's, so that workers extract nothing there.
    assert server.seen(*IN_CACHE) == (ERROR, {*MEMORY, "private-tmp"})


@pytest.fixture
def configuration(server: Server) -> Iterator[Path]:
    """Apache's configuration, which is as it was afterwards."""
    file = server.host.path("/etc/apache2/conf-enabled/demo.conf")
    before = file.read_text()
    yield file
    file.write_text(before)


def test_egg_in_tmp(server: Server, configuration: Path) -> None:
    """An egg in the host's /tmp, with a cache that Apache sees: workers start, and answer what does not need the egg;
    the page is an error, and check says why."""
    egg = f"/tmp/{os.path.basename(EGG)}"
    server.host.run("cp", EGG, egg)
    configuration.write_text(configuration.read_text().replace(EGG, egg))
    words = ["--python", PYTHON, "--path", egg, "Demo"]
    server.eggcache("prepare", CACHE, *words)
    server.dropin("a.conf", f"Environment=PYTHON_EGG_CACHE={CACHE}")
    assert server.systemctl("start") == ""
    assert server.page() == ERROR
    assert "<html" in server.page("/")
    assert "ModuleNotFoundError: No module named 'demo'" in server.host.path("/var/log/apache2/error.log").read_text()
    check = server.eggcache("check", *words, "--cache", CACHE, "--json", check=False)
    assert [(found["code"], found["thing"]) for found in as_json(check)["findings"]] == [("private-tmp", egg)]


def test_target_in_tmp(server: Server, configuration: Path) -> None:
    """A virtual environment in the host's /tmp that WSGIPythonHome names: Apache starts, its workers end one after the
    other, and nobody has an answer. check says so."""
    home = "/tmp/target"
    server.host.run(PYTHON, "-m", "venv", "--without-pip", "--system-site-packages", home)
    configuration.write_text(f"{configuration.read_text()}WSGIPythonHome {home}\n")
    words = ["--python", f"{home}/bin/python", "--path", EGG, "Demo"]
    server.eggcache("prepare", CACHE, *words)
    server.dropin("a.conf", f"Environment=PYTHON_EGG_CACHE={CACHE}")
    assert server.systemctl("start") == ""
    for path in ("/app", "/"):
        ask = ["timeout", "3", PYTHON, "-c", ASK, f"http://127.0.0.1{path}"]
        assert server.host.run(*ask, check=False).returncode == 124
    assert "Fatal Python error: init" in server.host.path("/var/log/apache2/error.log").read_text()
    check = server.eggcache("check", *words, "--cache", CACHE, "--json", check=False)
    assert [(found["code"], found["thing"]) for found in as_json(check)["findings"]] == [("private-tmp", home)]
