"""Parts of a tree: its first levels, what leads to a distribution, duplicates. Pure functions from Tree to Tree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from eggcache.errors import Missing, Remedy
from eggcache.model import Need, Tree
from eggcache.target import command_lines


def normal_name(name: str) -> str:
    """A project's name as PEP 503 normalises it, for which spellings of one project are the same.

    :param name: any spelling
    """
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def project_name(requirement: str) -> str:
    """The project name at the beginning of a requirement, as it is spelt: `TurboGears`; the whole text where there is
    none.

    :param requirement: a line as pkg_resources reads it
    """
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return match[1] if match else requirement


def project(requirement: str) -> str:
    """The project that a requirement names, normalised: `TurboGears[sqlobject]>=1.1` -> `turbogears`.

    :param requirement: a line as pkg_resources reads it
    """
    return normal_name(project_name(requirement))


def dependents(tree: Tree, names: Sequence[str]) -> Tree:
    """The distributions that need those called `names`, directly or through others, and these themselves.

    The `requirements` of the tree are the names. A distribution that is not installed counts where another requires it.

    :param tree: the answer of a target
    :param names: projects, in any spelling
    :raises Missing: a name is neither installed nor required
    """
    keys = {project(name): name for name in names}
    leading = [project(distribution.project) in keys for distribution in tree.distributions]
    lost = {project(need.requirement) for need in tree.needs if need.found is None}
    for key, name in keys.items():
        if key not in lost and not any(key == project(distribution.project) for distribution in tree.distributions):
            cause = f"is neither installed for {tree.interpreter.executable} nor required by anything there"
            everything = command_lines.tree(tree.interpreter.executable, tree.interpreter.added)
            raise Missing(name, cause, Remedy("see what there is", everything))
    above: dict[int | None, list[Need]] = {}
    for need in tree.needs:
        above.setdefault(need.found, []).append(need)
    indexes = {index for index, leads in enumerate(leading) if leads}
    needs = {need for need in above.get(None, ()) if project(need.requirement) in keys and need.by is not None}
    pending = [*indexes, *(need.by for need in needs if need.by is not None)]
    indexes.update(pending)
    while pending:
        for need in above.get(pending.pop(), ()):
            if need.by is None:
                continue
            needs.add(need)
            if need.by not in indexes:
                indexes.add(need.by)
                pending.append(need.by)
    part = _part(tree, indexes, (need for need in tree.needs if need in needs))
    return replace(part, requirements=tuple(names))


def levels(tree: Tree, depth: int, *, reverse: bool = False) -> Tree:
    """The distributions that are no more than `depth` steps from a root (0: the roots), and what they need of each
    other. What no requirement leads to counts as a root. With `reverse` the steps go from the tree's requirements to
    what needs them, see dependents.

    :param tree: the answer of a target, or the tree of `dependents`
    :param depth: the number of steps
    :param reverse: True: count from what is needed upwards
    """
    beside: dict[int | None, list[Need]] = {}
    for need in tree.needs:
        beside.setdefault(need.found if reverse else need.by, []).append(need)
    level: set[int | None]
    if reverse:
        keys = {project(name) for name in tree.requirements}
        level = {
            index for index, distribution in enumerate(tree.distributions) if project(distribution.project) in keys
        } | {None}
        needs: set[Need] = set()
    else:
        targets = {need.found for need in tree.needs if need.found != need.by}
        level = {index for index in range(len(tree.distributions)) if index not in targets}
        level |= {need.found for need in beside.get(None, ())} - {None}
        needs = set(beside.get(None, ()))
    indexes = set(level)
    while level and depth > 0:
        depth -= 1
        steps = [need for index in level for need in beside.get(index, ())]
        needs.update(steps)
        level = {need.by if reverse else need.found for need in steps} - {None} - indexes
        indexes |= level
    return _part(
        tree, {index for index in indexes if index is not None}, (need for need in tree.needs if need in needs)
    )


def reach(tree: Tree) -> Tree:
    """What its requirements lead to, without what else is on the path.

    :param tree: the answer of a target
    """
    return _part(tree, {need.found for need in tree.needs if need.found is not None}, tree.needs)


def duplicates(tree: Tree) -> Tree:
    """The distributions that the path has more than once, by project, best first.

    :param tree: the answer of a target
    """
    times = Counter(project(distribution.project) for distribution in tree.distributions)
    repeats = {
        index for index, distribution in enumerate(tree.distributions) if times[project(distribution.project)] > 1
    }
    return _part(tree, repeats, ())


def _part(tree: Tree, indexes: set[int], needs: Iterable[Need]) -> Tree:
    """The tree with only the distributions at `indexes` and their needs of each other, with new indexes."""
    place = {old: new for new, old in enumerate(sorted(indexes))}
    return replace(
        tree,
        distributions=tuple(tree.distributions[old] for old in sorted(indexes)),
        needs=tuple(
            replace(
                need,
                by=None if need.by is None else place[need.by],
                found=None if need.found is None else place[need.found],
            )
            for need in needs
            if need.by is None or need.by in place
        ),
    )
