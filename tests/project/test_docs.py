"""The README's console blocks are run, and say what they say; its two commands are the ones that there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.httpd import wait_for
from support.judge import environment
from support.parts import missing
from support.session import blocks, matches, play
from support.shop import mod_wsgi, new_shop

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
    play(blocks(README, "console"), places, shared_tmp / "bin")
    workers = RUNNING.read_text().strip()
    running = Path(f"/proc/{workers}/environ").read_bytes().split(b"\0")
    assert b"PYTHON_EGG_CACHE=" + os.fsencode(shared_tmp / "cache") in running


def test_tutorial_is_what_its_reader_sees(turbogears2_311: Deployment, shared_tmp: Path, checkout: Path) -> None:
    """The tutorial is what its reader sees, from the ExtractionError to the page."""
    site = new_shop(shared_tmp, turbogears2_311, checkout, "wsgi")
    httpd = site.httpd
    httpd.configure(mod_wsgi(site))
    places = {
        "/srv/shop": str(site.tree.root),
        "/var/cache/eggcache": str(site.cache),
        "/var/log/apache2/error.log": str(httpd.error_log),
        "/usr/local/sbin/apachectl-eggs": str(shared_tmp / "apachectl-eggs"),
        "http://127.0.0.1/": f"http://127.0.0.1:{httpd.port}/",
    }

    def settle(command: str) -> None:
        """apachectl returns before Apache listens, and nobody asks for a page as fast. What follows a stop does not
        wait for its end: with mod_wsgi that takes ten seconds."""
        if command.endswith(" start"):
            wait_for(lambda: bool(httpd.pid()) and httpd.listens(), httpd.log)

    httpd.start()
    try:
        console = [f"$ export APACHE_CONFDIR={httpd.home}\n", *blocks(TUTORIAL, "console")]
        play(console, places, shared_tmp / "bin", settle)
        assert httpd.get("/").status == 200
        assert f"PYTHON_EGG_CACHE={site.cache}".encode() in Path(f"/proc/{httpd.pid()}/environ").read_bytes()
    finally:
        httpd.stop()


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
    done = deployment.run([sys.executable, "-c", code], env=environment({"PYTHONPATH": str(checkout)}))
    assert done.stdout.splitlines()[-1] == "True {'made'} True"
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
    assert len(README.splitlines()) < 210


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
