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
from conftest import missing
from deployment import Deployment
from judge import environment

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.rst").read_text(encoding="utf-8")
RUNNING = Path("/run/apache2/apache2.pid")


def blocks(kind: str) -> list[str]:
    """The code blocks of one language, without their indentation."""
    found = re.findall(rf"^\.\. code-block:: {kind}\n\n((?:    .*\n|\n)+)", README, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip() + "\n" for block in found]


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, and what it should print; "..." stands for anything."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def matches(expected: str, seen: str) -> bool:
    pattern = re.escape(expected).replace(re.escape("...\n"), r"(?:.*\n)*?").replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, seen) is not None


@pytest.fixture
def stop_apache() -> Iterator[None]:
    """Ends the Apache that a test started, and no other."""
    if RUNNING.exists():
        missing("an Apache runs here already")
    yield
    if RUNNING.exists():
        subprocess.run(["/usr/sbin/apache2ctl", "stop"], check=True, capture_output=True)


def test_session(
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
    programs = shared_tmp / "bin"
    programs.mkdir()
    (programs / "eggcache").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m eggcache "$@"\n')
    (programs / "eggcache").chmod(0o755)
    env = environment({"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)})
    (block,) = blocks("console")
    for command, expected in steps(block):
        typed = command
        for shown, real in places.items():
            typed = typed.replace(shown, real)
        if typed.startswith("export "):
            name, _, value = typed.removeprefix("export ").partition("=")
            env[name] = value
            continue
        done = subprocess.run(
            ["sh", "-c", typed], env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
        )  # fmt: skip
        seen = re.sub(r"^AH00558: .*\n", "", done.stdout)  # Apache on a host without a name
        for shown, real in places.items():
            seen = seen.replace(real, shown)
        assert matches(expected, seen), f"{command}\n{seen}"
    workers = RUNNING.read_text().strip()
    running = Path(f"/proc/{workers}/environ").read_bytes().split(b"\0")
    assert b"PYTHON_EGG_CACHE=" + os.fsencode(shared_tmp / "cache") in running


def test_comparison_can_fail() -> None:
    """The comparison is not satisfied by anything."""
    assert matches("a\n...\nc\n", "a\nb\nb\nc\n")
    assert matches("25 eggs: ...\n", "25 eggs: 27 MB\n")
    assert not matches("a\n...\nc\n", "a\nb\n")
    assert not matches("a\n", "a\nb\n")


def test_commands_exist() -> None:
    """The two commands of the README are the scripts that there are, and CI runs the one for the tests."""
    assert {"scripts/quickstart\n", "scripts/test\n"} <= set(blocks("sh"))
    for name in ("scripts/quickstart", "scripts/test", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK)
    assert re.search(r"^exec scripts/test$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_exit_statuses() -> None:
    """The README's table of exit statuses names those of the errors, and no other."""
    from eggcache import errors

    table = README.split("Exit statuses\n---")[1].split("Where several")[0]
    statuses = {cls.status for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)}
    assert set(re.findall(r"^(\d+)\s", table, re.MULTILINE)) == {str(status) for status in statuses} | {"0", "128"} - {
        "128"
    }


def test_public_api() -> None:
    """What the README calls the public API can be had from the package, and has a docstring."""
    import eggcache

    for name in re.findall(r"``eggcache\.(\w+)``", README):
        assert getattr(eggcache, name).__doc__
        assert name in eggcache.__all__
    with pytest.raises(AttributeError):
        _ = eggcache.nothing
