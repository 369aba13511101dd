"""The output of `--version`: eggcache's version, and with -v those of the libraries and of the target."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress

from eggcache import __version__
from eggcache.cli import console
from eggcache.errors import EggcacheError


def run(options: argparse.Namespace) -> int:
    for line in lines(verbose=options.verbose > 0):
        print(console.one_line(line))
    return 0


def lines(*, verbose: bool = False) -> Iterator[str]:
    """The version; with `verbose` also the Python that runs this, its libraries, the target and its pkg_resources.

    A target that cannot be asked is said, and is no error: this is what somebody types who looks for one.
    """
    yield f"eggcache {__version__}"
    if not verbose:
        return
    from importlib import metadata  # slow, as the target's resolver is

    from eggcache.cli import unnamed_target
    from eggcache.target import code_owners, interpreter, resolver
    from eggcache.target.interpreter import EVERYTHING, Target

    yield f"  run by Python {_dotted(sys.version_info[:3])}, {sys.executable}"
    for library in ("configobj", "filelock", "rich", "zlib-ng", "wheel"):
        with suppress(metadata.PackageNotFoundError):
            yield f"  {library} {metadata.version(library)}"
    try:
        python = interpreter.find() if interpreter.environment_names_one() else unnamed_target.own_python()
        if not python:
            yield "  target: none is named: --python, or EGGCACHE_PYTHON, names it"
            return
        facts = resolver.resolve(Target(python, account=code_owners.runner(python)), EVERYTHING).interpreter
    except EggcacheError as error:
        yield f"  target: {error}"
        return
    yield f"  target: Python {_dotted(facts.version)}, {facts.executable}"
    place = f", {facts.pkg_resources}" if facts.pkg_resources else ""
    yield f"  pkg_resources of the target: {facts.setuptools or ('none' if not place else 'unknown')}{place}"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
