"""What is put in front of a target's sys.path: directories and eggs, and what stands for several of these.

A script that buildout generated stands for the eggs in its list, and a Trac environment for its directories of plugins.
Which these are is seen when the target is asked, and not when it is named: they change, and the name stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from eggcache.errors import UsageError
from eggcache.target import buildout


def expanded(paths: Iterable[str]) -> list[str]:
    """The directories and eggs that `paths` stand for, in order, each once.

    Raises UsageError for a file that is neither a script with a list, nor an egg or another zip, and for a Trac
    environment whose configuration cannot be read.
    """
    found = dict[str, None]()
    for path in paths:
        if _may_be_script(path):
            listed = buildout.eggs(path)
            if listed is None and not _is_zip(path):
                cause = "it is no directory and no egg, and no list of eggs can be read in it, as buildout writes it"
                raise UsageError(path, cause, "name a script that buildout generated, such as bin/instance")
            found.update(dict.fromkeys([path] if listed is None else listed))
        elif is_trac(path):
            from eggcache.target import trac

            found.update(dict.fromkeys(trac.plugins(path)))
        else:
            found[path] = None
    return list(found)


def read(paths: Iterable[str]) -> Iterator[str]:
    """The files on which it depends what `paths` stand for."""
    for path in paths:
        yield path
        if is_trac(path):
            from eggcache.target import trac

            yield from trac.configurations(path)


def is_trac(path: str) -> bool:
    """Whether it is a Trac environment."""
    if not os.path.exists(os.path.join(path, "conf", "trac.ini")):
        return False
    from eggcache.target import trac  # which reads with a parser that no other target has use for

    return trac.is_environment(path)


def options(paths: Iterable[str]) -> Iterator[str]:
    """The options of a command line that name `paths`."""
    for path in paths:
        script = _may_be_script(path) and not _is_zip(path)
        yield from ("--path-from" if script else "--trac-env" if is_trac(path) else "--path", path)


def _may_be_script(path: str) -> bool:
    return not path.lower().endswith((".egg", ".zip")) and os.path.isfile(path)


def _is_zip(path: str) -> bool:
    import zipfile  # for names that no egg has

    return zipfile.is_zipfile(path)
