"""The head of each wrapper for Debian's Apache, followed to the letter on a host whose first process is systemd."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from support.systemd_host import SystemdHost
from support.systemd_site import CACHE, DROPINS, ON_SITE, SERVED, UNIT, Server, serving


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
    places = "/etc/tmpfiles.d/*eggcache* /usr/local/sbin/apachectl-eggs"
    site.host.sh(
        f"systemctl stop {UNIT}; rm -rf {DROPINS} {CACHE} {places} /etc/init.d/eggcache-*; systemctl daemon-reload"
    )


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
