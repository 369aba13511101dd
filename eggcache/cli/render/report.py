"""Results of commands as text for a terminal, and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from enum import Enum
from typing import Any

from eggcache.cache import freshness
from eggcache.cli.render.amounts import files as files  # for those who print
from eggcache.cli.render.amounts import size as size
from eggcache.cli.render.amounts import total
from eggcache.errors import Missing, Remedy
from eggcache.model import Finding, Outcome, Report, Tree
from eggcache.target import resolver

_PREPOSITIONS = {"packed": "for", "removed": "from"}  # between an action and its directory; of others "in"
# What a command does that has found no egg; others do nothing
_EFFECTS = {"archive": "the cache in it is empty", "prepare": "nothing to extract"}


def tree_json(
    tree: Tree, *, cache: str | None = None, prepared: Sequence[bool] = (), eggs: Iterable[Finding] = ()
) -> dict[str, Any]:
    """A tree as `--json` prints it: the fields of the model, by their names, and what is wrong with the tree.

    :param cache: the directory that was looked at; None: there was none
    :param prepared: whether each distribution is prepared there; empty: null in the JSON
    :param eggs: what is wrong with the eggs of the tree
    """
    fields: dict[str, Any] = json_value(asdict(tree))
    for number, row in enumerate(fields["distributions"]):
        row["prepared"] = prepared[number] if prepared else None
    findings = [json_value(asdict(egg)) for egg in (*resolver.findings(tree), *eggs)]
    return {"schema": 1, "command": "tree", **fields, "cache": cache, "findings": findings}


def json_value(value: Any) -> Any:
    """`value` in types that JSON has: an enumeration as its word, a remedy as its line and its command, a tuple as a
    list."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Remedy):
        return str(value)
    if isinstance(value, dict):
        remedy = value.get("remedy")
        command = {"command": remedy.command} if isinstance(remedy, Remedy) else {}
        return {**{key: json_value(item) for key, item in value.items()}, **command}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    return value


def report_json(result: Report) -> dict[str, Any]:
    """A report as `--json` prints it."""
    return {"schema": 1, **json_value(asdict(result))}


def merge(reports: Sequence[Report]) -> Report:
    """One report of all trees of a cache: what several have in common, such as an egg or what the host lacks, once. A
    digest is of one tree."""
    first = reports[0]
    if len(reports) == 1:
        return first
    return replace(
        first,
        outcomes=tuple(dict.fromkeys(item for report in reports for item in report.outcomes)),
        findings=tuple(dict.fromkeys(item for report in reports for item in report.findings)),
        notes=tuple(dict.fromkeys(item for report in reports for item in report.notes)),
        unchanged=all(report.unchanged for report in reports),
        digest=None,
        owner=first.owner if all(report.owner == first.owner for report in reports) else None,
        processes=tuple(dict.fromkeys(item for report in reports for item in report.processes)),
        outside=tuple(dict.fromkeys(item for report in reports for item in report.outside)),
    )


def as_json(value: dict[str, Any]) -> str:
    """One object, ASCII: names that are not valid in any encoding come out as lone surrogates."""
    return json.dumps(value, indent=2)


def summary(result: Report, *, following: str = "", verbose: bool = False, undo: bool = False) -> Iterator[str]:
    """The lines that say what a command did, which end with a total.

    :param following: the command to run next; "" for none
    :param verbose: whether each egg has a line
    :param undo: whether it was unzip-all --undo, which looks for unzipped eggs
    """
    would = "would be " if result.dry_run else ""
    noun = "wheel" if result.command == "wheels" else "egg"
    for outcome in result.outcomes:
        if verbose or (result.dry_run and outcome.action != "kept"):
            into = os.path.relpath(outcome.into, result.directory) if _is_inside(outcome, result) else outcome.into
            yield f"{would}{outcome.action}: {into} ({files(outcome.files)}, {size(outcome.size)})"
    for action in ("made", "replaced", "kept", "removed", "unzipped", "restored", "packed"):
        outcomes = [outcome for outcome in result.outcomes if outcome.action == action]
        if outcomes:
            place = f" {_PREPOSITIONS.get(action, 'in')} {result.directory}" if result.directory else ""
            verb = action if action == "kept" else would + action
            sums = sum(outcome.files for outcome in outcomes), sum(outcome.size for outcome in outcomes)
            yield total(len(outcomes), noun, f"{verb}{place}", *sums)
    if result.dry_run and result.unchanged and result.outcomes:
        yield "nothing to do: all of it is current"
    if result.command == "remove":
        yield f"{would}removed: {result.directory}"
    elif not result.outcomes and all(
        finding.status in (0, Missing.status) and finding.code != freshness.NO_ROOT for finding in result.findings
    ):
        effect = _EFFECTS.get(result.command, "nothing to do")
        thing = "egg" if noun == "wheel" else "egg to be put back" if undo else "zipped egg"
        yield f"there is no {thing} in the tree: {effect}"
    elif following and not result.dry_run and any(outcome.action != "removed" for outcome in result.outcomes):
        yield from f"next: {following}".splitlines()


def _is_inside(outcome: Outcome, result: Report) -> bool:
    """Whether the total names the directory that the outcome is in."""
    return bool(result.directory) and outcome.into.startswith(f"{result.directory}/")
