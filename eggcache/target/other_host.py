"""Eggs that lie in directories of this machine, without the Python that they are for: that is on another host.

There is no target to ask. So every egg is taken, whatever Python it is for, and where the host's pkg_resources looks
for its files follows from the release of setuptools, as far as somebody says which that is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from eggcache.errors import EggcacheError, UsageError
from eggcache.model import Distribution, Interpreter, Kind, Tree
from eggcache.target import eggs_on_path
from eggcache.target.eggs_on_path import Opening
from eggcache.target.interpreter import ELSEWHERE

_BASKETS = (49, 5)  # the last release whose pkg_resources has a directory for each egg in a basket
# Directories of a host (FHS, and what Debian and Red Hat add), whose mode and owner tar would change: each of the first
# level, these below one, and those whose every child is one
_HOSTS = {
    "/": "bin boot etc home lib lib64 opt root run sbin srv usr",
    "/usr/local": "bin etc games include lib lib64 man sbin share src",
    "/var": "backups cache db empty games lib local lock log mail opt run spool tmp www",
}
_ALL_BELOW = ("/boot", "/dev", "/etc", "/home", "/proc", "/sys", "/usr")
# What lies below these is a program's, or a site's, as buildout's `eggs` are, but for what is named as a cache of eggs
_PROGRAMS = (
    *(f"/{name}/" for name in _HOSTS["/"].split()),
    *(f"/var/{name}/" for name in _HOSTS["/var"].split() if name not in ("empty", "tmp")),
)
_CACHES = re.compile(r"egg.*cache|cache.*egg|python[-_.]eggs", re.IGNORECASE | re.DOTALL)
_ANYBODYS = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/lock/", "/var/lock/")  # noqa: S108 - names, not files
_FOR = re.compile(r"-py(\d+\.\d+)(?:-[^/]*)?\.egg$")  # bdist_egg: NAME-VERSION-pyX.Y-PLATFORM.egg
_METADATA = "EGG-INFO/PKG-INFO"  # without it, pkg_resources finds no distribution in a zip


class Host(NamedTuple):
    """Another host, on which eggcache cannot run, as far as it is known.

    :param directory: its egg cache, absolute
    :param python: the version of its Python, as (2, 4); () where unknown
    :param setuptools: its release, as "setuptools 0.6c11"; None where unknown
    """

    directory: str = ELSEWHERE
    python: tuple[int, ...] = ()
    setuptools: str | None = None


HOST = Host()


def place(directory: str, label: str) -> str:
    """The egg cache `directory` of a host, without what is double in its path.

    :param directory: the path as it was given
    :param label: what an error calls it
    :raises UsageError: it names no place there, or one of the directories that every host has; or it lies where
        programs have theirs, and is not named as a cache of eggs: tar would take Apache's own cache from Apache
    """
    plain = "/" + os.path.normpath(directory).lstrip("/")
    if not directory.startswith("/"):
        cause = "it is a directory of the host, where no other one is current"
        raise UsageError(label, cause, f"write it from / on, as {ELSEWHERE}")
    above, name = os.path.split(plain)
    if above == "/" or above in _ALL_BELOW or name in _HOSTS.get(above, "").split():
        cause = "it is a directory of the host's own, of which nothing else shall change the rights"
        raise UsageError(label, cause, f"name a directory for the eggs alone, as {ELSEWHERE}")
    words = name if "cache" not in os.path.basename(above).lower() else f"cache/{name}"  # as /var/cache/eggs
    if plain.startswith(_PROGRAMS) and not _CACHES.search(words):
        cause = "it may be another program's, whose rights to it would change: its name is not that of a cache of eggs"
        raise UsageError(label, cause, f"name a directory for the eggs alone, as {ELSEWHERE}")
    return plain


def anybodys(directory: str) -> bool:
    """Whether it lies where anybody on a host can make names.

    :param directory: an absolute path on the host
    """
    return directory.startswith(_ANYBODYS)


def tree(host: Host, paths: Sequence[str], opening: Opening) -> Tree:
    """All eggs that `paths` name, or that lie in them, as a tree of no requirements. An egg that cannot be read is part
    of it: what is wrong is told where its files are needed.

    :param host: what is known of the host
    :param paths: eggs, and directories of eggs, on this machine
    :param opening: opens an egg to look at its names
    :raises UsageError: no egg lies there
    """
    distributions = [
        distribution
        for egg in eggs_on_path.on_path(paths)
        if os.path.isfile(egg)
        for distribution in _in(host, egg, opening)
    ]
    if not distributions:
        raise UsageError(f"--eggs-in {paths[-1]}", "no zipped egg lies there", "name a directory of eggs")
    version = f" {'.'.join(map(str, host.python))}" if host.python else ""
    python = Interpreter(f"the host's Python{version}", host.python, "/", (), None, host.setuptools)
    return Tree(python, (), tuple(distributions), ())


def notes(host: Host, tree: Tree) -> Iterator[str]:
    """What is to be said where some of the eggs of `tree` are for another Python than that of the `host`.

    :param host: what is known of the host
    :param tree: the eggs, as `tree` has them
    """
    version = ".".join(map(str, host.python[:2]))
    tags = [(distribution.egg or "", _FOR.search(distribution.egg or "")) for distribution in tree.distributions]
    mismatches = [os.path.basename(egg) for egg, tag in tags if tag and version and tag[1] != version]
    if mismatches:
        rest = f" and {len(mismatches) - 1} more" if len(mismatches) > 1 else ""
        yield f"{mismatches[0]}{rest}: for another Python than the host's {version}, which passes such eggs over"


def _baskets(host: Host) -> bool | None:
    """Whether its pkg_resources has a directory for each egg in a basket, and none for the rest of the basket; None
    where unknown."""
    release = re.search(r"(\d+)\.?(\d*)", host.setuptools or "")
    return (int(release[1]), int(release[2] or 0)) <= _BASKETS if release else None


def _in(host: Host, egg: str, opening: Opening) -> Iterator[Distribution]:
    """What the host's pkg_resources makes of a file: a distribution, or of a basket one for each egg in it."""
    inner, whole, baskets = list[str](), True, _baskets(host)
    with suppress(EggcacheError), opening(egg) as (_, structure):
        names = [member.name for member in structure.members if member.name.endswith(_METADATA)]
        roots = [name[: -len(_METADATA)] for name in names]
        inner = sorted(root for root in roots if root.count("/") == 1 and root.lower().endswith(".egg/"))
        whole = not inner or "" in roots or not baskets
    if whole:
        yield _distribution(egg, "", os.path.basename(egg))
    for root in inner if baskets is not False else ():
        yield _distribution(egg, root, root[:-1])


def _distribution(egg: str, inside: str, name: str) -> Distribution:
    parts = name[: -len(".egg")].split("-")  # bdist_egg: NAME-VERSION-pyX.Y-PLATFORM, with _ for the - in each
    version = parts[1].replace("_", "-") if len(parts) > 1 else None
    kind = Kind.BASKET if inside else Kind.ZIPPED
    location = os.path.join(egg, inside).rstrip("/")
    return Distribution(parts[0].replace("_", "-"), version, location, kind, egg=egg, inside=inside, cache_name=name)
