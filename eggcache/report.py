"""Results, as text for a terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from enum import Enum
from typing import Any

from eggcache import resolver
from eggcache.errors import Missing
from eggcache.model import Distribution, Need, Report, State, Tree

# ----------------------------------------------------------------------------------------------------- the tree


def draw_tree(tree: Tree) -> Iterator[str]:
    """The lines that show a tree: what each distribution is, where, and the requirement that pulled it in.

    A distribution is opened out where it is first drawn, and `(above)` from then on: so a cycle ends, and a library
    that everything needs is drawn once. What no requirement leads to (with `--all`, everything) is listed flat.
    No recursion: how deep a tree is, the eggs decide.
    """
    children: dict[int | None, list[Need]] = {}
    for need in tree.needs:
        children.setdefault(need.by, []).append(need)
    drawn: set[int] = set()
    # resolve() takes requirements from the last to the first; drawn are they as their authors wrote them
    waiting = [("", "", need) for need in children.get(None, ())]
    while waiting:
        prefix, branch, need = waiting.pop()
        yield prefix + branch + _node(tree, need, drawn)
        if need.found is None or need.found in drawn:
            continue
        drawn.add(need.found)
        below = prefix + {"": "", "|-- ": "|   ", "`-- ": "    "}[branch]
        for position, child in enumerate(children.get(need.found, ())):
            waiting.append((below, "|-- " if position else "`-- ", child))
    for index, found in enumerate(tree.distributions):
        if index not in drawn:
            yield f"{name(found)}  {_what(found)}  {found.location}"


def _node(tree: Tree, need: Need, drawn: set[int]) -> str:
    if need.found is None:
        return f"{need.requirement}  {need.state.value}"
    found = tree.distributions[need.found]
    wanted = "" if need.requirement == found.project else f"  <- {need.requirement}"
    if need.state is not State.MET:
        wanted = f"  <- {need.requirement}  {need.state.value}"
    if need.found in drawn:
        return f"{name(found)}{wanted}  (above)"
    return f"{name(found)}  {_what(found)}  {found.location}{wanted}"


def _what(found: Distribution) -> str:
    return found.kind.value if found.active else f"{found.kind.value}, not active"


def name(found: Distribution) -> str:
    """A distribution's name with its extras and version: `PasteScript[cheetah] 1.7.5`."""
    extras = f"[{','.join(found.extras)}]" if found.extras else ""
    return f"{found.project}{extras} {found.version or '(no version)'}"


def tree_json(tree: Tree) -> dict[str, Any]:
    """A tree as what `--json` prints: the fields of the model, by their names, and what is wrong with it."""
    found: dict[str, Any] = _plain(asdict(tree))
    return {"schema": 1, **found, "findings": [_plain(asdict(finding)) for finding in resolver.findings(tree)]}


def _plain(value: Any) -> Any:
    """Enumerations as their words, tuples as lists."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


# ------------------------------------------------------------------------------------------- what a command did


def report_json(done: Report) -> dict[str, Any]:
    """A report as what `--json` prints."""
    return {"schema": 1, **_plain(asdict(done))}


def as_json(value: dict[str, Any]) -> str:
    """One object, ASCII: names that are not valid in any encoding come out as lone surrogates."""
    return json.dumps(value, indent=2)


def summary(done: Report, *, following: str = "", verbose: bool = False) -> Iterator[str]:
    """The lines that say what a command did: with `verbose` a line for each egg, always a total, and what to do next:
    the command `following`."""
    would = "would be " if done.dry_run else ""
    for outcome in done.outcomes:
        if verbose or (done.dry_run and outcome.action != "kept"):
            yield f"{would}{outcome.action}: {outcome.into} ({_files(outcome.files)}, {_bytes(outcome.size)})"
    for action in ("made", "replaced", "kept", "removed", "unzipped"):
        those = [outcome for outcome in done.outcomes if outcome.action == action]
        if those:
            total = f"{_files(sum(one.files for one in those))}, {_bytes(sum(one.size for one in those))}"
            where = f" in {done.directory}" if done.directory else ""
            verb = action if action == "kept" else would + action
            yield f"{len(those)} egg{'s' * (len(those) != 1)} {verb}{where}: {total}"
    if not done.outcomes and not any(finding.status == Missing.status for finding in done.findings):
        yield "there is no zipped egg in the tree: nothing to do"
    elif done.outcomes and following and not done.dry_run:
        yield f"next: {following}"


def _files(count: int) -> str:
    return f"{count:,} file{'s' * (count != 1)}"


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
