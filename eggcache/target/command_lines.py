"""Complete command lines of eggcache: for remedies, and for `status` to print.

Each has its target, path, tree, user and limits as they were resolved, not as they were given: a person who runs it
later may have another environment, and the host another Apache.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import chain, count

from eggcache.errors import Remedy
from eggcache.model import DEFAULT_LIMITS, Distribution, Kind, Limits
from eggcache.system import accounts, files
from eggcache.target import search_path
from eggcache.target.interpreter import ELSEWHERE as ELSEWHERE  # for remedies
from eggcache.target.interpreter import Roots, Target
from eggcache.target.startup_files import site_directories

_ZIPS = "eggcache-zips"
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Prepare:
    """One `prepare`: what a cache is for, or would be."""

    directory: str  # the cache
    target: Target
    roots: Roots
    limits: Limits = DEFAULT_LIMITS

    def line(self, *options: str) -> str:
        """The command line for a shell, with these `options` too."""
        return shlex.join(["eggcache", "prepare", *options, *self._words()])

    def wrapper(self, kind: str, *options: str) -> str:
        """The command that prints the wrapper of that `kind` for this `prepare`, with these `options` too."""
        return shlex.join(["eggcache", "wrapper", "--for", kind, *options, *self._words()])

    def _words(self) -> Iterator[str]:
        yield self.directory
        yield from (*_target(self.target), *_readers(self.target), *_limits(self.limits), *tree_words(self.roots))

    def at(self, directory: str) -> Prepare:
        """The same in another `directory`."""
        return replace(self, directory=directory)

    def readable(self, group: int | None = None) -> Prepare:
        """The same for the `group` alone; None: for the group of the target's account."""
        gid = group if group is not None else self.target.group
        return replace(self, target=self.target._replace(group=self.target.account.gid if gid is None else gid))


def unzip(target: Target, distribution: Distribution) -> str:
    """The command that unzips the egg of this distribution, and keeps the zip. Its name comes from the target, which
    may say anything: `--all` takes the place of a name that is not plain. An egg that lies in a directory of --path has
    to be named by --path. "" where the target is on another host, which has no eggcache.

    :param target: the Python that has the egg; its python is "" for another host
    :param distribution: the egg
    :returns: a line for a shell; "" where the target is on another host, which has no eggcache
    """
    if not target.python:
        return ""
    egg = distribution.egg or distribution.location
    added = only_added(target, egg)
    project = distribution.project
    names = [project] if _PROJECT.fullmatch(project) else []
    backup = ["--backup", _beside(os.path.dirname(egg), os.path.basename(egg))]
    return shlex.join(["eggcache", "unzip-all", *_target(target, [egg] if added else ()), *backup, *names])


UNPACK = "unpack it into a directory, and put that directory on the path in its place"  # what is named as no egg


def unzipped(target: Target, distribution: Distribution) -> Remedy:
    """How the distribution gets to be a directory; what `unzip-all` refuses has no command.

    :param target: the Python that has the egg
    :param distribution: the egg
    """
    if distribution.kind is Kind.ZIP:
        return Remedy(UNPACK)
    if distribution.kind is Kind.BASKET:
        return Remedy("install it as an egg of its own, beside the one that it lies in, and unzip it there")
    return Remedy("unzip it", unzip(target, distribution))


def only_added(target: Target, egg: str) -> bool:
    """Whether this egg lies in a directory that --path names, or that a Trac environment takes plugins from. Somebody
    may open it there as a file, as Scrapyd does, so `unzip-all` leaves it zipped unless it is named itself.

    :param target: the Python, with its paths
    :param egg: the path of the egg
    """
    places = map(os.path.realpath, search_path.entries(target.paths))
    return os.path.dirname(os.path.realpath(egg)) in places


def unzip_all(target: Target, roots: Roots, *options: str, backup: str | None = None) -> str:
    """The command that unzips the eggs of a tree, with these `options` too; "" as for `unzip`. The zips are kept in
    `backup`; None: in the first site-packages, where we may write there, and where no other zip has the name of an egg
    there.

    :param target: the Python that has the eggs; its python is "" for another host
    :param roots: which distributions the tree is of
    :param options: words for the command line, as they are
    :param backup: the directory for the zips
    """
    if not target.python:
        return ""
    sites = [backup] if backup else [_beside(site) for site in site_directories(target.python) if _writable(site)]
    words = ["--backup", sites[0]] if sites else []
    return shlex.join(["eggcache", "unzip-all", *_target(target), *options, *words, *tree_words(roots)])


def _writable(directory: str) -> bool:
    return os.path.isdir(directory) and os.access(directory, os.W_OK)


def _beside(directory: str, egg: str = "") -> str:
    """Where zips from a directory of eggs are kept, by whoever may write there: in it, where no .pth file leads, and no
    program that takes eggs looks; and where no earlier zip of the name of this `egg` is, or without one no other zip of
    the name of any egg in the directory."""
    places = (os.path.join(directory, _ZIPS + end) for end in chain([""], (f"-{number}" for number in count(2))))
    if egg:
        return next(place for place in places if not os.path.lexists(os.path.join(place, egg)))
    return next(place for place in places if not _has_others(place, directory))


def _has_others(place: str, directory: str) -> bool:
    """Whether a zip in `directory` is not the one that `place` has of its name: unzip-all keeps the time of a zip, and
    gives it back."""
    for name in files.names(place):
        with suppress(OSError):
            kept, info = (os.lstat(os.path.join(top, name)) for top in (place, directory))
            if stat.S_ISREG(info.st_mode) and (kept.st_size, kept.st_mtime_ns) != (info.st_size, info.st_mtime_ns):
                return True
    return False


def archive_unzipped(file: str, target: Target, roots: Roots, *options: str) -> str:
    """The command that packs the eggs of a tree as directories, with these `options` too.

    :param file: the path of the archive to write
    :param target: the Python that has the eggs
    :param roots: which distributions the tree is of
    :param options: words for the command line, as they are
    """
    user = ["--user", target.account.name] if target.group is not None else []
    words = [file, "--unzipped", *_target(target), *user, *options, *tree_words(roots)]
    return shlex.join(["eggcache", "archive", *words])


def wheels(out: str, target: Target, roots: Roots, values: Limits, projects: Iterable[str]) -> str:
    """The command that makes wheels of a tree, and of that of each of these `projects` whose name is plain.

    :param out: the directory for the wheels
    :param target: the Python that has the eggs
    :param roots: which distributions the tree is of
    :param values: the limits of the run
    :param projects: names that come from the target
    """
    more = filter(_PROJECT.fullmatch, projects)
    return shlex.join(["eggcache", "wheels", out, *_target(target), *limits(values), *tree_words(roots), *more])


def tree(python: str, paths: Iterable[str]) -> str:
    """The command that shows all distributions of a Python."""
    return shlex.join(["eggcache", "tree", "--all", *_target(Target(python, paths))])


def limits(values: Limits) -> list[str]:
    """The options of the limits that are not the defaults.

    :param values: the limits of a run
    :returns: words of a command line, two for each
    """
    return list(_limits(values))


def _target(target: Target, eggs: Iterable[str] = ()) -> Iterator[str]:
    yield from ("--python", target.python)
    yield from search_path.options((*target.paths, *eggs))


def _readers(target: Target) -> Iterator[str]:
    if target.group is not None:
        yield from ("--user", target.account.name, "--group", accounts.group_name(target.group))
    if target.timezone is not None:
        yield from ("--tz", target.timezone)


def _limits(values: Limits) -> Iterator[str]:
    defaults = asdict(DEFAULT_LIMITS)
    for name, limit in sorted(asdict(values).items()):
        if limit != defaults[name]:
            yield from ("--limit", f"{name}={limit}")


def tree_words(roots: Roots) -> Iterator[str]:
    """What says on a command line which tree is meant.

    :param roots: which distributions are meant
    """
    if roots.strict:
        yield "--all" if roots.everything else "--strict-tree"
    yield from roots.requirements
