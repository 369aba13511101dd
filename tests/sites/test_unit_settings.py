"""What another drop-in says before or after ours: the page as it is then, and that check tells just that."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest
from support.judge import as_json
from support.systemd_site import CACHE, EGG, ERROR, EXPOSED, ON_SITE, UNIT, Server, fresh, served, serving


@pytest.fixture(scope="module")
def installed() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(installed: Server) -> Iterator[Server]:
    yield from fresh(installed)


@pytest.mark.parametrize(
    ("settings", "hidden"),
    [
        ("TemporaryFileSystem=/var/cache:ro", "/var/cache"),
        ("TemporaryFileSystem=/srv/x /var/cache\nBindReadOnlyPaths=/var/cache/eggcache", ""),
        ("TemporaryFileSystem=/var/cache/eggcache\nBindPaths=/var/cache", CACHE),
        ("InaccessiblePaths=-/var/cache\nBindReadOnlyPaths=/var/cache/eggcache", "/var/cache"),
        ("InaccessiblePaths=/var/cache/apache2", ""),
    ],
)
def test_hidden_by_the_unit(server: Server, settings: str, hidden: str) -> None:
    """check says that the unit hides the cache where Apache does not serve from it, and only there."""
    server.eggcache("prepare", CACHE, *ON_SITE)
    server.dropin("10-other.conf", f"Environment=PYTHON_EGG_CACHE={CACHE}\n{settings}")
    assert server.systemctl("start") == ""
    page, findings = server.page(), server.findings()
    assert (page, set(findings)) == ((ERROR, {"hidden-by-unit"}) if hidden else (served("one"), set()))
    if hidden:
        assert findings["hidden-by-unit"]["remedy"] == f"use a directory outside of {hidden}"


OTHER = "PYTHON_EGG_CACHE=/var/cache/another"
FIRST, LAST = "10-before.conf", "60-after.conf"  # ours is 50-eggcache.conf


@pytest.mark.parametrize(
    ("dropin", "settings", "finding"),
    [
        *(
            (dropin, settings, finding)
            for dropin in (FIRST, LAST)
            for settings, finding in {
                "Environment=TZ=Asia/Tokyo": "",  # ours has UnsetEnvironment=TZ, which comes last wherever it stands
                "ExecStartPre=/bin/true": "",
                "ProtectHome=yes\nPrivateTmp=no": "",
                EXPOSED: "",
                "InaccessiblePaths=/var/cache/eggcache": "hidden-by-unit",
                "TemporaryFileSystem=/var/cache": "hidden-by-unit",  # for ExecStartPre=+ as well
                "TemporaryFileSystem=/var/cache:ro": "hidden-by-unit",
                "UnsetEnvironment=PYTHON_EGG_CACHE": "running-without-cache",
            }.items()
        ),
        (FIRST, f"Environment={OTHER}", ""),
        (LAST, f"Environment={OTHER}", "running-with-other-cache"),
        (LAST, f"Environment=LANG=C \\\n# another\n  {OTHER}", "running-with-other-cache"),
        (LAST, "Environment=PYTHON_EGG_CACHE=", "running-without-cache"),
        (
            LAST,
            "Environment=\nEnvironment=APACHE_STARTED_BY_SYSTEMD=true",
            "running-without-cache",
        ),  # which Debian needs
        (FIRST, "ExecStartPre=", ""),
        (LAST, "ExecStartPre=", "cache-missing"),  # which takes ours away
    ],
)
def test_check_tells_what_the_page_is(server: Server, dropin: str, settings: str, finding: str) -> None:
    """Where the page is served, check finds nothing, and where it is an error, the one cause of it. The command that
    prepares, as the finding has it, has the page served without a restart."""
    server.install()
    server.dropin(dropin, settings)
    assert server.systemctl("start") == ""
    judge(server, finding, "one", settings)
    if dropin == LAST and settings.startswith("Environment=") and finding:  # no drop-in of ours counts more
        assert f"{dropin}, and restart it" in server.findings()[finding]["remedy"]


@pytest.mark.parametrize(
    ("script", "text", "finding"),
    [
        ("apache2ctl graceful", "one", ""),
        (f"systemctl reload {UNIT}", "another", "member-outdated"),
        (f"rm -r {CACHE}; apache2ctl graceful", "one", "cache-missing"),
    ],
)
def test_reload_prepares_nothing(server: Server, script: str, text: str, finding: str) -> None:
    """After a reload, which prepares nothing, check tells what the page is, and the command of its finding has the page
    served."""
    server.install()
    assert server.systemctl("start") == ""
    server.egg(f"{text}\n")
    server.host.sh(script)
    judge(server, finding, text)


def judge(server: Server, finding: str, text: str, settings: str = "") -> None:
    """The page has that text where check finds nothing, and is an error where there is that one finding; what prepares,
    or what the command prints where it prints these settings, is the remedy."""
    page, findings = server.page(), server.findings()
    assert (page, set(findings)) == ((ERROR, {finding}) if finding else (served(text), set()))
    command = shlex.split(findings[finding]["command"]) if finding else []
    if "UnsetEnvironment" in settings:  # against which another drop-in of ours does nothing
        assert settings in server.host.run(*command).stdout
    if command[:2] == ["eggcache", "prepare"]:
        server.eggcache(*command[1:])
        assert server.seen() == (served(text), set())


@pytest.mark.parametrize("setting", ["yes", "tmpfs"])
def test_home_that_the_unit_protects(server: Server, setting: str) -> None:
    """check says that ProtectHome= hides an egg below /home, and that alone; where the egg is seen, nothing."""
    home = "/home/site/Demo-1.0-py3.egg"
    host = server.host
    host.sh(f"mkdir -p /home/site; cp {EGG} {home}")
    on_site = [word.replace(EGG, home) for word in ON_SITE]
    configuration = "/etc/apache2/conf-enabled/demo.conf"
    host.sh(f"sed -i s:{EGG}:{home}: {configuration}")
    try:
        server.eggcache("prepare", CACHE, *on_site)
        server.dropin("10-other.conf", f"Environment=PYTHON_EGG_CACHE={CACHE}\nProtectHome={setting}")
        for page, codes in ((ERROR, {"hidden-by-unit"}), (served("one"), set())):
            assert server.systemctl("restart") == ""
            assert server.page() == page
            result = server.eggcache("check", *on_site, "--cache", CACHE, "--json", check=False)
            findings = as_json(result)["findings"]
            assert {finding["code"] for finding in findings} == codes
            for finding in findings:
                assert f"{UNIT} has ProtectHome: " in finding["cause"]
            server.dropin("10-other.conf", f"Environment=PYTHON_EGG_CACHE={CACHE}\nProtectHome=read-only")
    finally:
        host.sh(f"sed -i s:{home}:{EGG}: {configuration}; rm -r /home/site")
