"""Eggs on a target's path that its pkg_resources passes over in silence: unreadable eggs, and damaged eggs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice

from eggcache.errors import EggcacheError, NotPermitted
from eggcache.model import Finding, Limits, Tree
from eggcache.progress import Progress
from eggcache.system import accounts
from eggcache.system.accounts import Account
from eggcache.target import answer_parsing, eggs_on_path, tree_selection, why_missing

_FINDINGS = 100  # findings: more of them nobody reads
_LOOKS = 1000  # eggs that are no part of what was asked for: each may take a third of a second


def paths(tree: Tree, account: Account) -> Iterator[tuple[str, bool]]:
    """What lies on the path of the target of `tree` and may be an egg that it lacks, and whether `account` can read it:
    any that is not in the tree, or, of a tree of requirements, those of projects that are missing.

    :param tree: the answer of the target
    :param account: the user who is to read the eggs
    """
    real = lru_cache(maxsize=None)(os.path.realpath)

    def place(path: str) -> str:
        """The same for each spelling of the directory, as for on_path."""
        directory, name = os.path.split(path)
        return os.path.join(real(directory), name)

    eggs = {place(distribution.egg) for distribution in tree.distributions if distribution.egg}
    projects = {tree_selection.project(need.requirement) for need in tree.needs if need.found is None}
    for path in islice(eggs_on_path.on_path(tree.interpreter.path), answer_parsing.MOST):
        if tree.requirements and why_missing.project_of(os.path.basename(path)) not in projects:
            continue
        if os.path.isdir(path):  # an unzipped one, without whose metadata there is no distribution
            obstacle = next((part for part in (path, os.path.join(path, "EGG-INFO")) if not _open(part, account)), None)
            if obstacle:
                yield obstacle, False
        elif os.path.isfile(path):
            readable = _open(path, account)
            if not readable or place(path) not in eggs:
                yield path, readable


def refusals(
    candidates: Iterable[tuple[str, bool]], account: Account, opening: eggs_on_path.Opening
) -> Iterator[tuple[str, EggcacheError]]:
    """The eggs of `paths` that `account` cannot read, or that `opening` refuses, each with the reason.

    :param candidates: what `paths` yields
    :param account: the user who is to read the eggs
    :param opening: opens an egg and reads its structure
    """
    for path, readable in candidates:
        try:
            if not readable:
                raise accounts.in_the_way(path, account)
            with opening(path):
                pass
        except EggcacheError as error:
            yield path, error


def findings(tree: Tree, account: Account, limits: Limits, progress: Progress) -> Iterator[Finding]:
    """A finding for each of these eggs, for the first hundred.

    :param tree: the answer of the target
    :param account: the user who is to read the eggs
    :param limits: what an egg may ask for
    :param progress: told of each egg
    """
    progress.phase("looking for eggs that are passed over")

    def candidates() -> Iterator[tuple[str, bool]]:
        for candidate in islice(paths(tree, account), _LOOKS):
            progress.tick()
            yield candidate

    errors = refusals(candidates(), account, eggs_on_path.EarlyReader(account, limits).opened)
    faults = (error for path, error in errors if os.path.isfile(path))  # else another run has unzipped it
    return islice(map(refusal, faults), _FINDINGS)


def refusal(error: EggcacheError) -> Finding:
    """The finding for an egg that could not be opened or read.

    :param error: what opening or reading the egg raised
    """
    if isinstance(error, NotPermitted):
        return Finding("egg-unreadable", error.thing, error.cause, error.remedy, error.status)
    return Finding("egg-refused", error.thing, error.cause, error.remedy)


def _open(path: str, account: Account) -> bool:
    """Whether `account` can read it, and enter it if it is a directory; True where there is nothing."""
    if not os.path.exists(path):
        return True
    with accounts.acting(account):
        return accounts.may(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0))
