"""Environments that have a build of eggcache, as pip installs it: this one, and an earlier one to hold it against."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from inputs import fresh

ROOT = Path(__file__).resolve().parent.parent
_NOT_SOURCE = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")


def install(build: Path, work: Path, name: str) -> Path:
    """Install a wheel of eggcache, or what a directory of its source makes, into an environment of its own.

    The script of the environment is the one that the pip of the tests writes. Of the libraries it has the one that
    preparing needs.

    :param work: the directory in which the environment `name` is made
    :returns: the environment's Python, beside which the script lies
    """
    home, wheels = fresh(work / name), fresh(work / f"{name}-wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    if build.is_dir():
        source = work / f"{name}-source"
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(build, source, ignore=_NOT_SOURCE)
        made = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", wheels, source]
        subprocess.run([*pip, *made], check=True)
        (build,) = wheels.glob("*.whl")
        shutil.rmtree(source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", build], check=True)
    copy("filelock", next(home.glob("lib/python*/site-packages")), python)
    return python


def copy(library: str, into: Path, python: Path) -> bool:
    """Put a library of the tests' own environment into a directory, with byte code; whether there is one."""
    spec = importlib.util.find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        return False
    where = into / library
    shutil.copytree(spec.submodule_search_locations[0], where, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([python, "-m", "compileall", "-q", where], check=True)
    return True


def version_of_pip() -> str:
    """The release of pip that wrote the scripts."""
    from importlib import metadata

    return metadata.version("pip")
