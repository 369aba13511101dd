"""The README's console blocks are run, and say what they say; its two commands are the ones that there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.hosts import free_port, listens
from support.httpd import require, wait_for
from support.judge import environment
from support.namespaces import private
from support.parts import missing
from support.session import PROGRAMS, blocks, installed, matches, play

from eggcache.cli import main

README = (ROOT / "README.rst").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.rst").read_text(encoding="utf-8")
RUNNING = Path("/run/apache2/apache2.pid")


@pytest.fixture
def stop_apache() -> Iterator[None]:
    """Ends the Apache that a test started, and no other."""
    if RUNNING.exists():
        missing("an Apache runs here already")
    yield
    if RUNNING.exists():
        subprocess.run(["/usr/sbin/apache2ctl", "stop"], check=True, capture_output=True)


def test_readme_session_is_what_a_user_sees(
    turbogears1: Deployment, copy_of: Callable[[Deployment], Deployment], shared_tmp: Path, stop_apache: None
) -> None:
    """The session is what a user sees: each command is typed in, in order, and each line of its output compared."""
    if os.geteuid() != 0 or not shutil.which("apache2ctl"):
        missing("the session is root's, on a host with Debian's Apache")
    places = {
        "/srv/turbogears": str(copy_of(turbogears1).root),
        "/var/cache/eggcache": str(shared_tmp / "cache"),
        "/etc/init.d/eggcache-apache": str(shared_tmp / "eggcache-apache"),
    }
    play(blocks(README, "console"), places, installed(shared_tmp / "bin"))
    workers = RUNNING.read_text().strip()
    running = Path(f"/proc/{workers}/environ").read_bytes().split(b"\0")
    assert b"PYTHON_EGG_CACHE=" + os.fsencode(shared_tmp / "cache") in running


# What the tutorial writes lies on a tmpfs of the test's own, over what the machine has; the clone is built there too.
NEW_HOST = r"""
mount -t tmpfs none "$1"
for place in /srv /opt /usr/local /var/cache /etc/apache2; do
    mkdir -p "$1/upper$place" "$1/spare$place"
    mount -t overlay overlay -o "lowerdir=$place,upperdir=$1/upper$place,workdir=$1/spare$place" "$place"
done
clone=/usr/local/src/eggcache
mkdir -p "$clone" "$1/upper/clone" "$1/spare/clone" /run/lock
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper/clone,workdir=$1/spare/clone" "$clone"
rm -rf "$clone/build" /etc/apache2/sites-enabled/*
mount -t tmpfs -o mode=755 none /run/apache2
mount -t tmpfs -o mode=755 none /var/log/apache2
ln -sf ../mods-available/wsgi.load /etc/apache2/mods-enabled # as its package does
echo "Listen 127.0.0.1:$3" >/etc/apache2/ports.conf
"""


def test_tutorial_is_what_its_reader_sees(shared_tmp: Path) -> None:
    """The tutorial is what its reader sees, typed in as it stands on a host that has nothing of it: an application is
    made, it fails, eggcache is installed, and the page is served out of the cache."""
    require("wsgi")
    if not Path("/usr/bin/python3.11").exists():
        missing("the tutorial's Python is 3.11, Debian 12's")
    port = free_port()
    # pip asks the index as the caller's does
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    kept["PIP_QUIET"] = "2"  # what it warns of is that index's
    url = f"http://127.0.0.1:{port}/"

    def settle(command: str) -> None:
        """apachectl returns before Apache listens, and nobody asks for a page as fast."""
        if command.endswith((" start", " restart")):
            wait_for(lambda: listens(port))

    with private(NEW_HOST, shared_tmp, ROOT, str(port)) as inside:
        env = environment({"PATH": PROGRAMS, **kept})
        play(blocks(TUTORIAL, "console"), {"http://127.0.0.1/": url}, env, settle, inside)
        with urllib.request.urlopen(url, timeout=60) as page:
            assert page.read() == b"Welcome to the shop\n"
        show = [*inside, "sh", "-c", 'tr "\\0" "\\n" </proc/$(cat /run/apache2/apache2.pid)/environ']
        assert "PYTHON_EGG_CACHE=/var/cache/eggcache\n" in deployment.run(show).stdout


def test_python_of_the_readme_does_what_the_command_does(
    turbogears2_311: Deployment, shared_tmp: Path, checkout: Path
) -> None:
    """The few lines of Python that are shown do what the command does: a dry run names what would be made, and writes
    nothing."""
    (block,) = blocks((ROOT / "docs" / "reference" / "api.rst").read_text(encoding="utf-8"), "python")
    real = {"/var/cache/eggcache": f"{shared_tmp}/cache", "/srv/site/bin/python": str(turbogears2_311.python)}
    for shown, place in {**real, "myapp": "TurboGears2"}.items():
        assert shown in block
        block = block.replace(shown, place)
    code = f"{block}\nprint(report.dry_run, {{one.action for one in report.outcomes}}, len(report.outcomes) > 1)"
    result = deployment.run([sys.executable, "-c", code], env=environment({"PYTHONPATH": str(checkout)}))
    assert result.stdout.splitlines()[-1] == "True {'made'} True"
    assert not (shared_tmp / "cache").exists()


def test_comparison_can_fail() -> None:
    """The comparison is not satisfied by anything."""
    assert matches("a\n...\nc\n", "a\nb\nb\nc\n")
    assert matches("25 eggs: ...\n", "25 eggs: 27 MB\n")
    assert not matches("a\n...\nc\n", "a\nb\n")
    assert not matches("a\n", "a\nb\n")


def test_commands_for_developers_are_scripts() -> None:
    """The two commands of the README are the scripts that there are, and CI runs the one for the tests."""
    assert {"scripts/quickstart\n", "scripts/test\n"} <= set(blocks(README, "sh"))
    for name in ("scripts/quickstart", "scripts/test", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK)
    assert re.search(r"^exec scripts/test$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_readme_names_the_exit_statuses_of_errors() -> None:
    """The README's line of exit statuses names those of the errors, and no other."""
    from eggcache import errors

    line = README.split("what went wrong <docs/reference/exit-statuses.rst>`_: ")[1].split(".")[0]
    statuses = {cls.status for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)}
    assert set(re.findall(r"(\d+) ", line)) == {str(status) for status in statuses} | {"0"}


def test_readme_names_every_command_and_ends() -> None:
    """The README names each command, and is no longer than a reader reads."""
    assert {name for name in main.COMMANDS if f"``eggcache {name}" not in README} == set()
    assert len(README.splitlines()) <= 200


def test_promises_have_their_tests() -> None:
    """Each promise of SECURITY.rst names tests, and there is every one of them."""
    text = (ROOT / "SECURITY.rst").read_text(encoding="utf-8")
    promises = re.findall(r"^- (.*?)(?=^\S|\Z)", text.split("\nWhat it promises\n")[1].split("\nWhat it does")[0],
                          re.MULTILINE | re.DOTALL)  # fmt: skip
    assert len(promises) >= 15
    for promise in promises:
        named = re.findall(r"``(tests/[\w/]+\.py)::(test_\w+)``", promise)
        assert named, promise
        for file, name in named:
            assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), (file, name)


def test_public_api_of_the_readme_is_there() -> None:
    """What the README calls the public API can be had from the package, and has a docstring."""
    import eggcache

    for name in re.findall(r"``eggcache\.(\w+)``", README):
        assert getattr(eggcache, name).__doc__
        assert name in eggcache.__all__
    with pytest.raises(AttributeError):
        _ = eggcache.nothing
