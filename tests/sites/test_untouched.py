"""What no command changes: the target's Python, with and without byte code of its own, and all of its environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import deployment
from support.deployment import Deployment
from support.judge import eggcache
from support.parts import built
from support.sites import write_egg

SETUPTOOLS = {"2.7": "36.0.1", "3.6": "40.8.0", "3.11": "65.5.0", "3.13": "75.8.0"}


def state(*tops: Path) -> dict[str, tuple[int, ...]]:
    """The mode, owner, size and time of change of all that is there, by path."""
    entries = {}
    for top in tops:
        for directory, _, files in os.walk(top):
            for path in (directory, *(os.path.join(directory, name) for name in files)):
                info = os.lstat(path)
                entries[path] = (info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns)
    return entries


def spoil(*tops: Path) -> None:
    """Leave one directory without any byte code, as where nobody compiled it, and the next one with stale byte code:
    its sources are newer than that says, as where somebody copied a Python without its times."""
    for top in tops:
        for number, directory in enumerate(sorted({path.parent for path in top.rglob("*.py")})):
            if number % 2:
                for path in filter(Path.is_file, directory.glob("*.py")):
                    os.utime(path, (1_700_000_000, 1_700_000_000))
            else:
                shutil.rmtree(directory / "__pycache__", ignore_errors=True)
                for path in directory.glob("*.py[co]"):
                    path.unlink()


@pytest.fixture(scope="module", params=list(SETUPTOOLS))
def whole(
    request: pytest.FixtureRequest, interpreter: Callable[[str], Path], where: Path
) -> Iterator[tuple[Path, Deployment]]:
    """A Python of the test's own, all of it, with an environment, which has two eggs; its prefix comes first."""
    version = request.param
    top = where / f"untouched-{version}"
    real = Path(interpreter(version)).resolve()
    prefix = top / "python"
    with deployment.umask(0o022):
        (prefix / "bin").mkdir(parents=True)
        deployment.run(["cp", "-p", real, prefix / f"bin/python{version}"])
        deployment.run(["cp", "-a", real.parent.parent / "lib", prefix])
        made = built(lambda: deployment.target(version, SETUPTOOLS[version], where, inside=top))
    if version == "2.7":
        configuration = made.root / "pyvenv.cfg"
        configuration.write_text(configuration.read_text().replace(str(real.parent.parent), str(prefix)))
    else:
        (made.root / "pyvenv.cfg").write_text(f"home = {prefix}/bin\ninclude-system-site-packages = false\n")
        for name in ("python", "python3", f"python{version}"):
            (made.root / "bin" / name).unlink(missing_ok=True)
            (made.root / "bin" / name).symlink_to(prefix / f"bin/python{version}")
    for name in ("One", "Two"):
        files = {f"{name.lower()}/__init__.py": "import json\n", f"{name.lower()}/data.txt": "data\n"}
        write_egg(made.site_packages / f"{name}-1.0-py{version}.egg", files)
    yield prefix, made
    shutil.rmtree(top)


def test_nothing_but_eggs_and_cache_is_changed(whole: tuple[Path, Deployment], shared_tmp: Path) -> None:
    """Whatever a command does with eggs and caches, nothing else of the Python is written or gets another mode, owner
    or time: no byte code of the standard library, which root would leave unreadable for everybody else."""
    prefix, made = whole
    spoil(prefix, made.root)
    cache, python = shared_tmp / "cache", ["--python", str(made.python)]
    commands: list[list[str | Path]] = [
        ["tree", "--all", *python],
        ["prepare", cache, "--all", "--user", "nobody", *python],
        ["check", "--all", "--cache", cache, "--user", "nobody", *python],
        ["check", "--all", "--cache", cache, "--user", "nobody", "--import", "one", *python],
        ["status", cache],
        ["wrapper", cache, "--for", "envvars", *python],
        ["wheels", shared_tmp / "wheels", "--all", *python],
        ["remove", cache],
        ["unzip-all", "--all", "--backup", shared_tmp / "zips", *python],
        ["unzip-all", "--all", "--backup", shared_tmp / "zips", "--undo", *python],
    ]
    for command in commands:
        before = state(prefix, made.root)
        result = eggcache(*command)
        assert result.returncode in (0, 3), (command, result.stderr)
        after = state(prefix, made.root)
        if command[0] == "unzip-all":
            kinds = [path.is_dir() for path in made.site_packages.glob("*.egg")]
            assert kinds == ["--undo" not in command] * 2
            eggs = [str(made.site_packages / name) for name in ("One-", "Two-")]
            for entries in (before, after):
                for path in [path for path in entries if path.startswith(tuple(eggs))]:
                    del entries[path]
                entries[str(made.site_packages)] = ()  # its own time, since the eggs in it were exchanged
        assert after == before, command
