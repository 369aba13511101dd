"""What is put in front of a target's sys.path: directories and eggs, and what stands for several of these.

A script that buildout generated stands for the eggs in its list, and a Trac environment for its directories of plugins.
Which these are is seen when the target is asked, and not when it is named: they change, and the name stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from eggcache.errors import UsageError
from eggcache.system import files
from eggcache.target import buildout

_TRAC = b"Trac Environment Version"  # how the file VERSION begins, _VERSION of trac/env.py


class StandsForNothing(UsageError):
    """What was to stand for entries of sys.path does not say for which."""

    lenient = 0  # a server starts as it did before


def entries(paths: Iterable[str]) -> list[str]:
    """The directories and eggs that `paths` stand for, in order, each once.

    A file that is neither a script with a list, nor an egg or another zip, adds nothing: see `check`.

    :param paths: directories, eggs, scripts of buildout's, Trac environments
    :raises StandsForNothing: the configuration of a Trac environment cannot be read
    """
    places = dict[str, None]()
    for path in paths:
        if _may_be_script(path):
            eggs = buildout.eggs(path)
            places.update(dict.fromkeys(([path] if _is_zip(path) else []) if eggs is None else eggs))
        elif is_trac(path):
            places.update(dict.fromkeys(_plugins(path)))
        else:
            places[path] = None
    return list(places)


def check(path: str) -> None:
    """Look whether `path` can stand for entries of sys.path, as far as its kind tells.

    :param path: a directory, an egg, a script of buildout's or a Trac environment
    :raises StandsForNothing: it is a file, and neither a script with a list, nor an egg or another zip
    """
    if _may_be_script(path) and buildout.eggs(path) is None and not _is_zip(path):
        cause = "it is no directory and no egg, and no list of eggs can be read in it, as buildout writes it"
        raise StandsForNothing(path, cause, f"name a script that buildout generated, {buildout.SUCH_AS}")


def _plugins(environment: str) -> list[str]:
    from eggcache.target import trac_environments  # which no other target has use for

    try:
        return trac_environments.plugins(environment)
    except trac_environments.Unreadable as error:
        cause = f"Trac cannot read its configuration: {error}"
        raise StandsForNothing(environment, cause, "correct that line") from None


def sources(paths: Iterable[str]) -> Iterator[str]:
    """The files on which it depends what `paths` stand for.

    :param paths: directories, eggs, scripts of buildout's, Trac environments
    :returns: these and, of a Trac environment, its configuration
    """
    for path in paths:
        yield path
        if is_trac(path):
            from eggcache.target import trac_environments

            with suppress(trac_environments.Unreadable):  # that is said where the plugins are asked for
                yield from trac_environments.configurations(path)


def is_trac(path: str) -> bool:
    """Whether it is a Trac environment, which `trac-admin DIR initenv` has made.

    :param path: a path, which need not exist
    """
    return files.beginning(os.path.join(path, "VERSION"), len(_TRAC)) == _TRAC


def options(paths: Iterable[str]) -> Iterator[str]:
    """The options of a command line that name `paths`.

    :param paths: directories, eggs, scripts of buildout's, Trac environments
    :returns: two words for each path
    """
    for path in paths:
        yield from ("--path-from" if is_script(path) else "--trac-env" if is_trac(path) else "--path", path)


def is_script(path: str) -> bool:
    """Whether it is a script with a list of eggs, as buildout generates them.

    :param path: a path, which need not exist
    """
    return _may_be_script(path) and buildout.eggs(path) is not None


def _may_be_script(path: str) -> bool:
    return not path.lower().endswith((".egg", ".zip")) and os.path.isfile(path)


def _is_zip(path: str) -> bool:
    import zipfile  # for names that no egg has

    return zipfile.is_zipfile(path)
