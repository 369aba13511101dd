"""Debian's Apache as a unit of a real systemd, with a cache of eggcache's: what may keep it down, and what may not."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT
from support.session import blocks, steps
from support.systemd_site import (
    CACHE,
    DOWN,
    DROPINS,
    EGG,
    EGGCACHE,
    ERROR,
    EXPOSED,
    IN_TMP,
    ON_SITE,
    PYTHON,
    UNIT,
    Server,
    fresh,
    install,
    served,
    serving,
)


@pytest.fixture(scope="module")
def installed() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(installed: Server) -> Iterator[Server]:
    yield from fresh(installed)


def test_dropin_serves_pages_from_a_cache_nobody_can_write(server: Server) -> None:
    """Without the drop-in a page is an error; with it, it is served from the cache, in which root of the unit, too,
    cannot write. An egg that is updated is served after a restart."""
    assert server.systemctl("start") == ""
    assert server.seen() == (ERROR, {"cache-missing"})
    server.install()
    assert server.systemctl("restart") == ""
    assert server.seen() == (served("one"), set())
    assert "Read-only file system" in server.apache("touch", f"{CACHE}/x", check=False).stderr
    server.egg("another\n")
    assert server.systemctl("restart") == ""
    assert server.seen() == (served("another"), set())


def test_readme_commands_end_the_extraction_error(server: Server) -> None:
    """The README's commands from the wrapper to the restart, as they stand, end the ExtractionError of a site whose
    Python is Debian's own."""
    (session,) = blocks((ROOT / "README.rst").read_text(), "console")
    typed = [command for command, _ in steps(session) if command.startswith(("eggcache wrapper", "systemctl"))]
    assert len(typed) == 2
    commands = "\n".join(typed)
    server.host.write("/usr/lib/python3/dist-packages/demo.pth", f"{EGG}\n")
    try:
        assert server.systemctl("start") == ""
        assert server.seen() == (ERROR, {"cache-missing"})
        eggcache = f'export EGGCACHE_PYTHON={PYTHON}; cd /; eggcache() {{ {shlex.join(EGGCACHE)} "$@"; }}'
        server.host.sh(f"{eggcache}\neggcache prepare --all {CACHE}\n{commands}")
        assert server.seen() == (served("one"), set())
    finally:
        server.host.path("/usr/lib/python3/dist-packages/demo.pth").unlink()


BIN = str(Path(sys.executable).parent)
PREPARE = shlex.join([*EGGCACHE, "prepare", CACHE, *ON_SITE])
READ_ONLY = "BindReadOnlyPaths=/var/cache"  # which, other than ReadOnlyPaths=, holds for ExecStartPre=+ as well


@pytest.mark.parametrize(
    ("other", "script", "page", "codes"),
    [
        ("", f"rm -r {CACHE}", served("one"), set()),  # Debian empties /tmp at boot, and an administrator /var/cache
        ("", f"mount -t tmpfs none {BIN}", served("one"), set()),  # eggcache was uninstalled
        (f"ExecStartPre=/bin/true\n{EXPOSED}", f"rm -r {CACHE}", served("one"), set()),
        (READ_ONLY, f"touch {EGG}", served("one"), set()),
        (READ_ONLY, f"echo >{EGG}", ERROR, {"egg-refused", "root-not-installed"}),
        # Of what Apache cannot read, it needs nothing.
        ("", f"chmod 600 {EGG}", ERROR, {"egg-unreadable", "root-not-installed"}),
        ("", "chmod 700 $(readlink -f /usr/bin/python3)", served("one"), set()),  # Apache has the library
        ("", f"rm -r {CACHE}; {PREPARE} --user nobody", ERROR, {"daemon-user-cannot-read"}),  # somebody else's by now
        ("TemporaryFileSystem=/var/cache", ":", ERROR, {"hidden-by-unit"}),
        ("TemporaryFileSystem=/var/cache:ro", ":", ERROR, {"hidden-by-unit"}),
    ],
)
def test_goes_on_starting(server: Server, other: str, script: str, page: str, codes: set[str]) -> None:
    """With the drop-in Apache goes on starting, and a reload works, where something is gone, newer or read-only, or
    another drop-in comes first; check tells what the page is, once there is an eggcache and a Python to ask."""
    server.install()
    assert server.systemctl("start") == ""
    server.dropin("10-other.conf", other)
    server.host.sh(script)
    try:
        assert server.systemctl("reload") == ""
        assert server.systemctl("restart") == ""
        assert server.host.run("systemctl", "is-active", UNIT).stdout == "active\n"
        now = server.page()
    finally:
        server.host.sh(f"umount {BIN} || :; chmod 755 $(readlink -f /usr/bin/python3)")
    assert (now, set(server.findings())) == (page, codes)


@pytest.mark.parametrize("place", ["drop-in", "later drop-in", "envvars"])
def test_cache_of_another_user_that_apache_is_given(server: Server, place: str) -> None:
    """Whoever does what check says of a cache that is nobody's, and that Apache is given, has the page served, and
    nothing found of the one nor of the other."""
    host, later, envvars = server.host, f"{DROPINS}/60-other.conf", "/etc/apache2/envvars"
    before = host.path(envvars).read_text()
    try:
        host.sh(f"{PREPARE} --user nobody")
        if place == "envvars":
            host.write(envvars, f"{before}export PYTHON_EGG_CACHE={CACHE}\n")
        elif place == "later drop-in":
            server.dropin("60-other.conf", f"Environment=PYTHON_EGG_CACHE={CACHE}")
        else:
            server.dropin("50-eggcache.conf", f"Environment=PYTHON_EGG_CACHE={CACHE}")
        assert server.systemctl("start") == ""
        (page, findings), other = (server.page(), server.findings()), f"{CACHE}-www-data"
        assert (page, set(findings)) == (ERROR, {"daemon-user-cannot-read"})
        remedy, command = (findings["daemon-user-cannot-read"][key] for key in ("remedy", "command"))
        printed = host.sh(f'eggcache() {{ {shlex.join(EGGCACHE)} "$@"; }}\n{command}')
        if place == "drop-in":
            assert remedy == f"install the drop-in that this prints, as its head says: {command}"
            host.sh(install(host, printed.stdout))
        else:
            file = {"envvars": envvars, "later drop-in": later}[place]
            advice = re.search(r"write (\S+) in place of (\S+) in (\S+), and restart Apache with `(.*)`", remedy)
            assert advice, remedy
            assert advice.groups()[:3] == (other, CACHE, file)
            host.write(file, host.path(file).read_text().replace(f"={CACHE}", f"={other}"))
            host.sh(advice[4])
        server.wait()
        assert (server.page(), set(server.findings())) == (served("one", other), set())
        assert set(server.findings("--cache", other)) == set()
    finally:
        host.write(envvars, before)
        host.sh(f"rm -rf {CACHE}-www-data")


@pytest.mark.parametrize("prepared", ["", "host", "Europe/Madrid"])
def test_zone_of_the_unit_is_kept(server: Server, prepared: str) -> None:
    """Where the unit has a time zone, by which the application tells the time, a wrapper that would take it away is
    refused with the commands that lead to one in that zone. Nothing is said of the same zone by another name, where
    somebody says which is meant, and of what the wrapper itself had set."""
    host, place = server.host, f"{DROPINS}/50-eggcache.conf"
    words = ["wrapper", CACHE, *ON_SITE, "--for", "systemd", "-o", place]
    server.dropin("10-zone.conf", "Environment=TZ=:/etc/localtime")
    server.eggcache(*words, "-n")
    server.dropin("10-zone.conf", "Environment=TZ=Asia/Tokyo")
    if prepared:
        server.eggcache("prepare", CACHE, *ON_SITE, *([] if prepared == "host" else ["--tz", prepared]))
    server.eggcache(*words, "-n", "--tz", "Europe/Paris")
    refused = server.eggcache(*words, check=False)
    said = re.search(
        rf"^eggcache: {UNIT}: TZ is 'Asia/Tokyo' there, .*; .*: (eggcache .*)$", refused.stderr, re.MULTILINE
    )
    assert (refused.returncode, host.path(place).exists()) == (2, False)
    assert said, refused.stderr
    host.sh(f'eggcache() {{ {shlex.join(EGGCACHE)} "$@"; }}\n{said[1]}')
    host.run("systemctl", "daemon-reload")
    assert server.systemctl("start") == ""
    cache = f"{CACHE}-Asia-Tokyo" if prepared else CACHE  # the other one goes on being right for its zone
    assert server.seen("--cache", cache) == (served("one", cache), set())
    main = host.run("systemctl", "show", "-p", "MainPID", "--value", UNIT).stdout.strip()
    assert "TZ=Asia/Tokyo" in host.path(f"/proc/{main}/environ").read_text().split("\0")
    assert "this text already" in server.eggcache("wrapper", cache, *words[2:]).stderr
    server.dropin("10-zone.conf", "")
    host.sh(f"rm -rf {CACHE} {CACHE}-Asia-Tokyo")
    assert "50-eggcache.conf: written\n" in server.eggcache(*words).stderr


@pytest.mark.parametrize(("kind", "options"), [("systemd", []), ("mod_python", ["--directory", "/srv/modules"])])
def test_zone_of_envvars_is_kept(server: Server, kind: str, options: list[str]) -> None:
    """What envvars says of the time zone has the last word, whatever the unit says: a wrapper for that zone is written,
    and one for the unit's is refused."""
    envvars = "/etc/apache2/envvars"
    before = server.host.path(envvars).read_text()
    words = ["wrapper", CACHE, *ON_SITE, "--for", kind, *options, "-n"]
    try:
        server.dropin("10-zone.conf", "Environment=TZ=Asia/Tokyo")
        server.host.write(envvars, f"{before}export TZ=Europe/Madrid\n")
        refused = server.eggcache(*words, check=False)
        assert refused.returncode == 2
        assert f"eggcache: {envvars}: TZ is 'Europe/Madrid' there, " in refused.stderr
        server.eggcache("prepare", CACHE, *ON_SITE, "--tz", "Europe/Madrid")
        assert "Europe/Madrid" in server.eggcache(*words).stdout
    finally:
        server.host.write(envvars, before)


def test_lock_that_is_held(server: Server) -> None:
    """Another run that holds the lock for longer than a start waits keeps Apache from nothing; and a start gives up
    waiting half a minute before systemd gives up the start."""
    server.install()
    assert server.systemctl("start") == ""
    emitted = server.host.path(f"{DROPINS}/50-eggcache.conf").read_text()
    patience = re.search(r'--wait"? "?(\d+)', emitted)
    assert patience
    limit = server.host.run("systemctl", "show", "-p", "TimeoutStartUSec", "--value", UNIT).stdout.strip()
    assert limit == "1min 30s"
    assert int(patience[1]) <= 60
    server.dropin("60-impatient.conf", "TimeoutStartSec=20")
    server.host.write(
        f"{DROPINS}/50-eggcache.conf", emitted.replace(patience[0], f"{patience[0][: -len(patience[1])]}1")
    )
    server.host.run("systemctl", "daemon-reload")
    server.egg("another\n")
    server.host.sh(f"flock {CACHE}/.eggcache.lock sleep 60 >/dev/null 2>&1 & echo $! >/run/holder; sleep 0.5")
    try:
        assert server.systemctl("restart") == ""
        page = server.page()
    finally:
        server.host.sh("kill $(cat /run/holder)")
    assert (page, set(server.findings())) == (ERROR, {"member-outdated"})  # nothing was prepared
    journal = server.host.run("journalctl", "-u", UNIT, check=False).stdout
    assert "another run holds its lock for more than 1 s" in journal


def test_unsafe_directory_keeps_apache_from_starting(server: Server) -> None:
    """A directory that others can write keeps Apache from starting, and the journal says why and what to do."""
    server.install()
    assert server.systemctl("start") == ""
    server.host.run("chmod", "777", CACHE)
    assert f"{CACHE}: others can write to it (mode 0777)" in server.systemctl("restart")
    assert server.host.run("systemctl", "is-active", UNIT, check=False).stdout == "failed\n"
    assert server.seen() == (DOWN, {"cache-writable", "cache-open-to-others"})
    server.host.run("chmod", "755", CACHE)
    assert server.systemctl("start") == ""
    assert server.seen() == (served("one"), set())


@pytest.mark.parametrize("cache", [CACHE, IN_TMP])
def test_reboot_prepares_what_is_gone(server: Server, cache: str) -> None:
    """After a reboot the page is served without any command, from a cache in /var/cache, and from one in /tmp, which is
    empty then, where the unit has no PrivateTmp."""
    host = server.host
    if cache == IN_TMP:
        server.dropin("10-other.conf", "PrivateTmp=no")
    server.install(cache)
    others = "find /etc/systemd/system/multi-user.target.wants ! -type d -delete"  # this machine's own
    host.sh(f"{others}; systemctl -q enable {UNIT}; systemctl -q set-default multi-user.target")
    host.sh("touch /run/old /tmp/old")
    host.reboot()
    assert host.sh("ls /run/old /tmp/old || :").stdout == ""
    server.wait()
    assert server.seen("--cache", cache) == (served("one", cache), {"volatile"} if cache == IN_TMP else set())


def test_running_apache_gets_no_new_environment(server: Server) -> None:
    """A drop-in that is loaded counts for no Apache that runs: after a reload by systemd, and after a graceful restart,
    each page is still an error; after a restart it is served."""
    assert server.systemctl("start") == ""
    server.install()
    for command in (f"systemctl reload {UNIT}", "apache2ctl graceful", "kill -HUP $(cat /run/apache2/apache2.pid)"):
        server.host.sh(command)
        assert server.seen() == (ERROR, {"cache-missing"}), command
    assert server.systemctl("restart") == ""
    assert server.seen() == (served("one"), set())


def test_remedy_of_a_unit(server: Server) -> None:
    """The remedy for an Apache that systemd started without the cache is a drop-in, then daemon-reload, then restart:
    at each step the next one is named, and at the end there is no finding."""
    server.eggcache("prepare", CACHE, *ON_SITE)
    assert server.systemctl("start") == ""
    # Only what has a Python in it is an Apache that needs a cache.
    assert server.seen() == (ERROR, {"running-without-cache"})
    command = server.findings()["running-without-cache"]["command"]
    assert command.startswith("eggcache wrapper --for systemd /var/cache/eggcache --python ")
    server.host.run("mkdir", "-p", DROPINS)
    server.eggcache("wrapper", CACHE, *ON_SITE, "--for", "systemd", "-o", f"{DROPINS}/50-eggcache.conf")
    for step in (f"systemctl daemon-reload && systemctl restart {UNIT}", f"systemctl restart {UNIT}"):
        assert server.findings()["running-without-cache"]["command"] == step
        server.host.run("systemctl", "daemon-reload")
    server.host.sh(step)
    assert server.seen() == (served("one"), set())


def test_instance_serves_from_a_dropin_of_its_own(server: Server) -> None:
    """An instance that Debian's own script makes gets a drop-in of its own by the command of check's remedy, and serves
    the page, without a finding; Debian's first Apache, which is down, gets nothing."""
    unit, host = "apache2@x.service", server.host
    dropin = f"/etc/systemd/system/{unit}.d/50-eggcache.conf"
    try:
        host.sh("cd /; sh /usr/share/doc/apache2/examples/setup-instance x")
        host.sh("echo Listen 8081 >/etc/apache2-x/ports.conf")
        host.run("mkdir", "-p", str(Path(dropin).parent))
        host.run("systemctl", "start", unit)
        assert server.page(port=8081) == ERROR
        server.eggcache("prepare", CACHE, *ON_SITE)
        findings = server.findings()
        assert set(findings) == {"running-without-cache"}
        command = shlex.split(findings["running-without-cache"]["command"])  # which is for this unit
        result = server.eggcache(*command[1:], "-o", dropin)
        step = re.search(r"next: (.*)$", result.stderr, re.MULTILINE)
        assert step, result.stderr
        host.sh(step[1])
        assert server.page(port=8081) == served("one")
        assert server.findings() == {}
        assert not host.path(DROPINS).exists()
    finally:
        made = "/etc/apache2-x /etc/logrotate.d/apache2-x /etc/default/*-x /var/log/apache2-x /usr/local/sbin/*-x"
        host.sh(f"systemctl stop {unit}; rm -rf {Path(dropin).parent} {made}; systemctl daemon-reload")


def commands(page: str) -> str:
    """The first block of commands of a page in docs/howto, with what this site needs."""
    block = re.search(r"code-block:: sh\n\n((?: {4}.*\n|\n)+)", (ROOT / "docs" / "howto" / f"{page}.rst").read_text())
    assert block
    words = f"eggcache wrapper {CACHE}"
    assert words in block[1]
    return block[1].replace(words, shlex.join([*EGGCACHE, "wrapper", CACHE, *ON_SITE]))


def test_pages_on_init_scripts_leave_apache_running(server: Server) -> None:
    """Whoever follows the page on init scripts here has Apache running and enabled, as it was, and the drop-in on the
    screen; the page on systemd, to which that one sends, makes the page of the site be served."""
    assert server.systemctl("start") == ""
    first = server.host.run("systemctl", "show", "-p", "MainPID", UNIT).stdout
    result = server.host.run("sh", "-c", commands("init-script"), check=False)
    assert result.returncode == 1
    assert "refused: under systemd" in result.stderr
    assert f"# {DROPINS}/50-eggcache.conf\n" in result.stderr
    assert server.host.run("systemctl", "is-enabled", UNIT).stdout == "enabled\n"
    assert server.host.run("systemctl", "show", "-p", "MainPID", UNIT).stdout == first
    assert ":doc:`systemd`" in (ROOT / "docs" / "howto" / "init-script.rst").read_text()
    assert server.seen() == (ERROR, {"cache-missing"})
    server.host.sh(commands("systemd"))
    assert server.seen() == (served("one"), set())


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (f"{DROPINS}/60-after.conf", "[Service]\nEnvironment=X=y PYTHON_EGG_CACHE=/var/cache/another\n"),
        ("/etc/default/site", "# of a site\nPYTHON_EGG_CACHE='/var/cache/another'\n"),  # EnvironmentFile= comes last
    ],
)
def test_remedy_names_the_file_that_counts_more(server: Server, file: str, text: str) -> None:
    """Where another file than the drop-in has the last word on the cache, the remedy names that one; without its line
    the command serves the page, and there is no finding."""
    server.install()
    server.host.write(file, text)
    server.dropin("10-before.conf", "EnvironmentFile=-/etc/default/site")
    assert server.systemctl("start") == ""
    assert server.seen() == (ERROR, {"running-with-other-cache"})
    finding = server.findings()["running-with-other-cache"]
    assert f"take PYTHON_EGG_CACHE out of {file}, and restart it" in finding["remedy"]
    server.host.write(file, "")
    server.host.sh(finding["command"])
    assert server.seen() == (served("one"), set())
    server.host.run("rm", file)


def test_dropin_wins_over_an_earlier_one(server: Server) -> None:
    """Where an earlier drop-in sets another cache, the remedy is ours, which counts more."""
    server.eggcache("prepare", CACHE, *ON_SITE)
    server.dropin("10-before.conf", "Environment=PYTHON_EGG_CACHE=/var/cache/another")
    assert server.systemctl("start") == ""
    assert server.seen() == (ERROR, {"running-with-other-cache"})
    command = shlex.split(server.findings()["running-with-other-cache"]["command"])
    assert command[:4] == ["eggcache", "wrapper", "--for", "systemd"]
    server.eggcache(*command[1:], "-o", f"{DROPINS}/50-eggcache.conf")
    server.host.run("systemctl", "daemon-reload")
    assert server.systemctl("restart") == ""
    assert server.seen() == (served("one"), set())
