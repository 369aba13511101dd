"""The target where nobody has named one: the Python that runs eggcache, where the application is installed beside it.

An environment of eggcache's own has no egg, and eggcache's own libraries are no application. To take it for the target
would say yes to an empty cache; which Python is meant instead is looked for, and left to the user.
"""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import metadata

from eggcache.cli import next_command
from eggcache.errors import Remedy, UsageError
from eggcache.servers import apache, apache_configuration
from eggcache.target import interpreter, startup_files
from eggcache.target.tree_selection import normal_name, project, project_name

_ALWAYS = ("TurboGears", "TurboGears2")  # with either, all of it may be installed flat
_SHOWN = 4  # Pythons that an error names
# Where applications are installed, below the root directory; a home may be of anybody, and its Python is only named
_PREFIXES = ("usr", "usr/local", "opt/*", "srv/*", "srv/*/*", "var/www/*", "var/www/*/*", "home/*", "home/*/*")


def find(options: argparse.Namespace) -> str:
    """The path of the Python that runs eggcache. Raises UsageError where neither an egg nor the application is in its
    environment, and names other Pythons of this host: what its Apache embeds, and those that have eggs."""
    python = own_python(options.requirements)
    if python:
        return python
    pythons = candidates()[:_SHOWN]
    remedy = Remedy(interpreter.REMEDY)
    if pythons:
        alternatives = f" (or {', '.join(pythons[1:])})" if pythons[1:] else ""
        remedy = Remedy(
            f"name the one that Apache runs{alternatives}", next_command.repeated(options, "--python", pythons[0])
        )
    runs = f"the environment of eggcache itself, {sys.prefix}, has no egg"
    if getattr(sys, "frozen", False):
        runs = "no Python runs this eggcache, which is a program of its own"  # scripts/binary
    cause = f"no Python is named, and {runs}"
    raise UsageError("--python", cause, remedy)


def own_python(requirements: Iterable[str] = ()) -> str:
    """The Python that runs eggcache, where its environment is an application's, of one of `requirements`, maybe; ""
    where it is eggcache's alone."""
    if getattr(sys, "frozen", False):
        return ""
    if _has_eggs(sys.executable) or any(map(_is_installed, [*_ALWAYS, *_applications(requirements)])):
        return interpreter.find()
    return ""


def candidates(root: str = "/") -> list[str]:
    """The Pythons of this host that may be meant, those with eggs first, and the one that Apache embeds before others.
    Files below `root` are looked at, and none of them is run."""
    pythons = [*apache_configuration.pythons(apache_configuration.read(apache.read())), *_with_eggs(root)]
    return sorted(dict.fromkeys(pythons), key=lambda python: not _has_eggs(python))


def _with_eggs(root: str) -> Iterator[str]:
    """Those in whose site-packages an egg lies, by the usual names of such directories."""
    for prefix in _PREFIXES:
        place = os.path.join(glob.escape(root), prefix, "lib*", "python*", "*-packages", "*.egg")
        for directory in sorted({os.path.dirname(egg) for egg in glob.iglob(place)}):
            library, version = os.path.split(os.path.dirname(directory))
            home = os.path.dirname(library)
            homes = (home, os.path.dirname(home)) if os.path.basename(home) == "local" else (home,)
            programs = (os.path.join(base, "bin", name) for base in homes for name in ("python", version))
            yield from [program for program in programs if os.path.isfile(program) and os.access(program, os.X_OK)][:1]


def _has_eggs(python: str) -> bool:
    """Whether an egg, zipped or not, lies in its site-packages; or for our own Python, is on the path of its
    environment."""
    places = [*startup_files.site_directories(python), *(_path() if python == sys.executable else [])]
    directories = [place for place in places if place.endswith((".egg", "-packages"))]
    return any(place.endswith(".egg") or glob.glob(f"{glob.escape(place)}/*.egg") for place in directories)


def _path() -> list[str]:
    """The entries of sys.path that the environment of our own Python has, and PYTHONPATH has not."""
    entries = {os.path.realpath(entry) for entry in os.environ.get("PYTHONPATH", "").split(":") if entry}
    return [entry for entry in sys.path if os.path.realpath(entry) not in entries]


def _is_installed(name: str) -> bool:
    places = [*startup_files.site_directories(sys.executable), *_path()]
    return bool(name) and any(True for _ in metadata.distributions(name=name, path=places))


def _applications(requirements: Iterable[str]) -> list[str]:
    """The projects that `requirements` name, without those that are in each environment that has eggcache."""
    projects = _own_projects()
    return [name for name in map(project_name, requirements) if normal_name(name) not in projects]


def _own_projects() -> set[str]:
    """eggcache and what it requires, directly and through others: by their names, normalised. Extras of others are not
    followed, which are no part of an environment that has eggcache alone."""
    projects, names = set[str](), ["eggcache"]
    while names:
        name = names.pop()
        if name in projects:
            continue
        projects.add(name)
        with suppress(metadata.PackageNotFoundError, ValueError):
            lines = metadata.requires(name) or []
            names += [project(line) for line in lines if name == "eggcache" or "extra" not in line.partition(";")[2]]
    return projects
