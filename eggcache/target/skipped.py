"""Eggs on a target's path that its pkg_resources passes over in silence: unreadable ones, and damaged ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice

from eggcache.errors import EggcacheError, NotPermitted
from eggcache.model import Finding, Limits, Tree
from eggcache.progress import Progress
from eggcache.system import accounts
from eggcache.system.accounts import Account
from eggcache.target import early_reading, parsing, selection

_MOST = 100  # findings: more of them nobody reads
_LOOKS = 1000  # eggs that are no part of what was asked for: each may take a third of a second


def paths(tree: Tree, account: Account) -> Iterator[tuple[str, bool]]:
    """What lies on the path of the target of `tree` and may be an egg that it lacks, and whether `account` can read it:
    any that is not in the tree, or, of a tree of requirements, those of projects that are missing."""
    real = lru_cache(maxsize=None)(os.path.realpath)

    def place(path: str) -> str:
        """The same for each spelling of the directory, as for on_path."""
        directory, name = os.path.split(path)
        return os.path.join(real(directory), name)

    seen = {place(distribution.egg) for distribution in tree.distributions if distribution.egg}
    missing = {selection.project(need.requirement) for need in tree.needs if need.found is None}
    for path in islice(early_reading.on_path(tree.interpreter.path), parsing.MOST):
        if (tree.requirements and _project(os.path.basename(path)) not in missing) or not os.path.isfile(path):
            continue
        with accounts.acting(account):
            readable = os.access(path, os.R_OK, effective_ids=True)
        if not readable or place(path) not in seen:
            yield path, readable


def refusals(
    looked: Iterable[tuple[str, bool]], account: Account, opening: early_reading.Opening
) -> Iterator[tuple[str, EggcacheError]]:
    """Of what `paths` yields that which `account` cannot read, or `opening` refuses, and why."""
    for path, readable in looked:
        try:
            if not readable:
                raise accounts.in_the_way(path, account)
            with opening(path):
                pass
        except EggcacheError as error:
            yield path, error


def findings(tree: Tree, account: Account, limits: Limits, progress: Progress) -> Iterator[Finding]:
    """What is wrong with each of them, of the first hundred with which anything is."""
    progress.phase("looking for eggs that are passed over")

    def looked() -> Iterator[tuple[str, bool]]:
        for one in islice(paths(tree, account), _LOOKS):
            progress.tick()
            yield one

    refused = refusals(looked(), account, early_reading.EarlyReader(account, limits).opened)
    there = (error for path, error in refused if os.path.isfile(path))  # else another run has unzipped it
    return islice(map(refusal, there), _MOST)


def refusal(error: EggcacheError) -> Finding:
    """What is wrong with an egg that could not be opened, or read."""
    if isinstance(error, NotPermitted):
        return Finding("egg-unreadable", error.thing, error.cause, error.remedy, error.status)
    return Finding("egg-refused", error.thing, error.cause, error.remedy)


def _project(name: str) -> str:
    """The project that the file name of an egg begins with, normalised."""
    project = re.match(r"[A-Za-z0-9._]+(?:-(?!\d|py\d)[A-Za-z0-9._]+)*", name)
    return selection.normalised(project[0]) if project else ""
