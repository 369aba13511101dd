"""unzip-all where one egg, or one zip of the backup, is in the way: it is named, and what can be done is done."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.httpd import wait_for
from support.judge import eggcache, environment
from support.parts import built
from support.zips import Entry, make

from eggcache.system import files

NAMES = [f"Egg{number}-1.0-py3.11.egg" for number in range(3)]


@pytest.fixture(scope="module")
def pristine(where: Path) -> Deployment:
    """A target without pkg_resources, with three eggs."""
    made = built(lambda: deployment.target("3.11", "", where))
    for name in NAMES:
        make(made.site_packages / name, Entry(f"{name[:4].lower()}.py".encode(), b"value = 1\n"))
    return made


@pytest.fixture
def site(pristine: Deployment, copy_of: Callable[[Deployment], Deployment]) -> Deployment:
    """The test's own copy."""
    return copy_of(pristine)


def command(site: Deployment, *more: str | Path) -> list[str | Path]:
    return ["unzip-all", "--all", "--python", site.python, "--backup", site.root / "zips", *more]


def unzipped(site: Deployment) -> list[bool]:
    return [(site.site_packages / name).is_dir() for name in NAMES]


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_zip_in_the_backup(kind: str, site: Deployment) -> None:
    """A directory in the backup with the name of an egg, or a FIFO, is said to be one, also by -n; nothing is done."""
    rival = site.root / "zips" / NAMES[1]
    rival.parent.mkdir(0o700)
    rival.mkdir() if kind == "directory" else os.mkfifo(rival)
    for dry in (("-n",), ()):
        result = eggcache(*command(site, *dry))
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.stderr
        what = "a directory" if kind == "directory" else "no regular file"
        assert f"{NAMES[1]}: cannot be kept in the backup: {rival} is {what}; name another DIR" in result.stderr
    assert unzipped(site) == [False] * 3


def test_runs_at_once_with_one_backup(site: Deployment) -> None:
    """Of two runs that wait for one backup the second finds its eggs unzipped, and has nothing to do."""
    backup = site.root / "zips"
    backup.mkdir(0o700)
    with files.directory(str(backup)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        runs = [
            subprocess.Popen(
                [sys.executable, "-m", "eggcache", *map(str, command(site))],
                cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(2)
        ]  # fmt: skip

        def waiting() -> bool:
            """Whether each of them has the backup open, too."""
            return all(
                str(backup) in [os.path.realpath(entry.path) for entry in os.scandir(f"/proc/{run.pid}/fd")]
                for run in runs
            )

        wait_for(waiting)
    results = [(*run.communicate(timeout=60), run.returncode) for run in runs]
    assert [status for _, _, status in results] == [0, 0], results
    assert unzipped(site) == [True] * 3
    assert sorted(os.listdir(backup)) == NAMES
