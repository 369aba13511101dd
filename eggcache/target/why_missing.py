"""Why a distribution is not on the path, or not active, as far as the disk tells: .pth files, eggs for other Pythons.

The rules are those of Lib/site.py (addpackage): a line names an entry for sys.path, which is added if it exists. After
a line that fails, which only an import can, the rest of the file is ignored. pkg_resources passes over an egg whose
name ends in another Python's version or in another platform.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from eggcache.errors import Remedy
from eggcache.model import Finding, Tree
from eggcache.system import accounts, files
from eggcache.system.accounts import Account
from eggcache.target import answer_parsing, eggs_on_path, tree_selection

_FINDINGS = 100  # findings: more of them nobody reads
_LINES = 10_000  # of one .pth file
_PROJECT = re.compile(r"[A-Za-z0-9._]+(?:-(?!\d|py\d)[A-Za-z0-9._]+)*")
_TAG = re.compile(r"-py(\d+\.\d+)(?:-(.+))?\.egg")


class Line(NamedTuple):
    """A line of a .pth file that names a place, and the import above it, if any, that may have failed."""

    file: str
    number: int
    path: str
    code: int  # the number of the last line above it that is run; 0 for none

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"{self.file}, line {self.number}"


def project_of(name: str) -> str:
    """The project that the file name of an egg, or its link, begins with, normalised; "" where it is no such name."""
    match = _PROJECT.match(name)
    return tree_selection.normal_name(match[0].removesuffix(".egg").removesuffix(".egg-link")) if match else ""


def lines(tree: Tree, account: Account) -> list[Line]:
    """What the .pth files in the site directories of a target name, as far as `account` can read them.

    :param tree: the answer of the target
    :param account: whose rights the files are read with
    """
    entries, sites = list[Line](), {os.path.realpath(place) for place in tree.interpreter.site_packages}
    for file in islice(tree.interpreter.pth, answer_parsing.MOST):
        directory, code = os.path.dirname(file), 0
        if os.path.realpath(directory) not in sites:
            continue
        with accounts.acting(account):
            text = files.lines(file)
        for number, line in enumerate(islice(text, _LINES), 1):
            if line.startswith(("import ", "import\t")):
                code = number
            elif line.strip() and not line.startswith("#") and "\0" not in line:
                path = os.path.abspath(os.path.join(directory, line.rstrip()))
                entries.append(Line(file, number, path, code))
    return entries


def passed_over(tree: Tree, account: Account) -> Iterator[Line]:
    """The lines of .pth files whose place is not on the path of the target, for whatever reason.

    :param tree: the answer of the target
    :param account: whose rights the files are read with
    """
    on_path = set(tree.interpreter.path)
    return (line for line in lines(tree, account) if line.path not in on_path)


class Search:
    """What on the disk tells why distributions are missing: each place is looked at once, for all that are.

    :param tree: the answer of the target
    :param account: whose rights the disk is searched with
    """

    def __init__(self, tree: Tree, account: Account) -> None:
        self._tree, self._account = tree, account

    def reason(self, requirement: str) -> str:
        """Why no distribution of the project that `requirement` names is there; "" where nothing tells."""
        project = tree_selection.project(requirement)
        for line in self._lines:
            if project_of(os.path.basename(line.path)) == project and not os.path.lexists(line.path):
                return f"{line.place} names {line.path}, which does not exist"
        for site, link in self._links.get(project, ()):
            with accounts.acting(self._account):
                place = next((line.strip() for line in files.lines(link) if line.strip()), "")
            if not os.path.exists(os.path.join(site, place)):
                return f"{link} leads to {place}, which does not exist"
        return self._foreign_eggs.get(project, "")

    def in_front(self, location: str) -> str:
        """The line of a .pth file that puts what is at `location` on the path, in words; "" where there is none."""
        real = os.path.realpath(location)
        return next((line.place for line in self._lines if os.path.realpath(line.path) == real), "")

    @cached_property
    def _lines(self) -> list[Line]:
        return lines(self._tree, self._account)

    @cached_property
    def _links(self) -> dict[str, list[tuple[str, str]]]:
        """The .egg-link files of each project, each with the directory that it is in."""
        links: dict[str, list[tuple[str, str]]] = {}
        for site in self._tree.interpreter.site_packages:
            with accounts.acting(self._account):
                names = files.names(site)
            for name in names:
                if name.endswith(".egg-link"):
                    links.setdefault(project_of(name), []).append((site, os.path.join(site, name)))
        return links

    @cached_property
    def _foreign_eggs(self) -> dict[str, str]:
        """Of each project the first egg on the path that is for another Python or machine, and what it is for."""
        eggs: dict[str, str] = {}
        for path, project, cause in _foreign_eggs(self._tree):
            eggs.setdefault(project, f"{path} {cause}")
        return eggs


def findings(tree: Tree, account: Account) -> Iterator[Finding]:
    """Notices of what keeps eggs from the path of a target, whether or not anything is known to require them.

    :param tree: the answer of the target
    :param account: whose rights the disk is searched with
    """
    yield from islice(_notices(tree, account), _FINDINGS)


def _notices(tree: Tree, account: Account) -> Iterator[Finding]:
    for file in islice(tree.interpreter.pth, answer_parsing.MOST):
        with accounts.acting(account):
            readable = accounts.may(file, os.R_OK)
        if not readable and os.path.isfile(file):
            error = accounts.in_the_way(file, account)
            cause = f"{error.cause}, so that nothing that it names is on the path"
            yield Finding("pth-ignored", file, cause, error.remedy, 0)
    on_path = {os.path.realpath(place) for place in tree.interpreter.path}
    culprits, says = set[str](), shlex.join([tree.interpreter.executable, "-c", ""])
    for line in passed_over(tree, account):
        if line.file in culprits or not os.path.exists(line.path) or os.path.realpath(line.path) in on_path:
            continue
        place = accounts.obstacle(line.path, account)
        if place != line.path:
            error = accounts.in_the_way(line.path, account)
            cause = f"it names {line.path}, which Python passes over: {error.cause}"
            yield Finding("pth-ignored", line.place, cause, error.remedy, 0)
        elif line.code:
            culprits.add(line.file)
            cause = f"it names {line.path}, which is not on the path: line {line.code} fails, it seems, and Python "
            todo = f"take line {line.code} out, or install what it needs; Python says why when it starts"
            yield Finding("pth-ignored", line.place, f"{cause}ignores the rest", Remedy(todo, says), 0)
    if not tree.requirements:
        projects = {tree_selection.normal_name(distribution.project) for distribution in tree.distributions}
        for path, project, cause in _foreign_eggs(tree):
            if project not in projects:
                cause = f"it {cause}, and pkg_resources passes it over"
                yield Finding("egg-other-python", path, cause, "install it for this Python, if anything needs it", 0)


def _foreign_eggs(tree: Tree) -> Iterator[tuple[str, str, str]]:
    """The eggs on the path that are for another Python or machine: path, project, and for which."""
    version = ".".join(map(str, tree.interpreter.version[:2]))
    for path in islice(eggs_on_path.on_path(tree.interpreter.path), answer_parsing.MOST):
        tag = _TAG.search(os.path.basename(path))
        if tag and tag[1] != version:
            yield path, project_of(os.path.basename(path)), f"is for Python {tag[1]}, not {version}"
        elif tag and tag[2] and tag[2] != f"linux-{os.uname().machine}":
            yield path, project_of(os.path.basename(path)), f"is for {tag[2]}"
