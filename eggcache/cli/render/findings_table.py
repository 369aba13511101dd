"""The findings of `check`, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from eggcache.cli import console
from eggcache.cli.render import amounts
from eggcache.model import Finding, Report

_HEAD = ("CODE", "THING", "CAUSE", "REMEDY")


def lines(result: Report, name: str, *, verbose: bool = False, width: int = 80) -> Iterator[str]:
    """The `table`, below the one line that says all is well, where the findings are nothing but notices, to the account
    of that `name`; and above a line for each finding that was ignored."""
    outcomes = [outcome for outcome in result.outcomes if outcome.action == "proven"]
    if not any(finding.status for finding in (*result.findings, *result.ignored)):
        if outcomes:
            files = amounts.files(sum(outcome.files for outcome in outcomes))
            yield f"{files} of {amounts.counted(len(outcomes), 'egg')}, as {name}: all current, nothing to write"
        else:
            yield f"no zipped egg in the tree, as {name}: nothing to extract"
    yield from table(result.findings, verbose=verbose, width=width)
    for finding in result.ignored:
        yield f"ignored: {finding.code}  {finding.thing}"


def table(findings: Sequence[Finding], *, verbose: bool = False, width: int = 80) -> Iterator[str]:
    """The findings, one in a line, in columns; where `width` columns have no room for that, each is a paragraph. Those
    of several things that have nothing else apart are one, and so are many with one command. With `verbose` each stands
    for itself, with its detail."""
    if not findings:
        return
    entries = list(findings if verbose else _groups(console.alike(findings)))
    rows = [(finding.code, finding.thing, finding.cause, str(finding.remedy)) for finding in entries]
    widths = [max(len(row[column]) for row in (_HEAD, *rows)) for column in range(4)]
    narrow = sum(widths) + 2 * 3 > width
    for number, row in enumerate((_HEAD, *rows)):
        if not narrow:
            yield "  ".join(cell.ljust(room) for cell, room in zip(row, widths)).rstrip()
        elif number:
            yield from _paragraph(entries[number - 1], width)
        for detail in entries[number - 1].context if verbose and number else ():
            yield f"  {detail}"


def _groups(findings: Iterable[Finding]) -> Iterator[Finding]:
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.code, finding.cause, str(finding.remedy)), []).append(finding)
    for first, *rest in groups.values():
        yield replace(first, thing=f"{first.thing} and {len(rest):,} more (-v names them)") if rest else first


def _paragraph(finding: Finding, width: int) -> Iterator[str]:
    """A finding as lines of `width` columns."""
    code, thing, todo, command = finding.code, finding.thing, finding.remedy.text, finding.remedy.command
    yield from (f"{code}  {thing}",) if len(code) + 2 + len(thing) <= width else (code, f"    {thing}")
    for text in filter(None, (finding.cause, todo and f"-> {todo}{':' if command else ''}")):
        yield from console.wrapped(text, max(width, 20), "    ", "    ")
    if command:
        yield f"    {command}"
