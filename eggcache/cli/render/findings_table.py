"""The findings of `check`, as a table for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from eggcache.model import Finding, Report

_HEAD = ("CODE", "THING", "CAUSE", "REMEDY")


def lines(done: Report, name: str, *, verbose: bool = False, width: int | None = None) -> Iterator[str]:
    """The findings, one in a line, in columns, below the one line that says all is well, where they are nothing but
    notices, to the account of that `name`. With `verbose` their detail.

    Where a terminal of `width` columns has no room for that, each finding is a paragraph.
    """
    proven = [outcome for outcome in done.outcomes if outcome.action == "proven"]
    if not any(finding.status for finding in done.findings):
        if proven:
            files = sum(outcome.files for outcome in proven)
            eggs = f"{len(proven):,} egg{'s' * (len(proven) != 1)}"
            yield f"{files:,} file{'s' * (files != 1)} of {eggs}, as {name}: all current, nothing to write"
        else:
            yield f"no zipped egg in the tree, as {name}: nothing to extract"
    if not done.findings:
        return
    rows = [(finding.code, finding.thing, finding.cause, str(finding.remedy)) for finding in done.findings]
    widths = [max(len(row[column]) for row in (_HEAD, *rows)) for column in range(4)]
    narrow = width is not None and sum(widths) + 2 * 3 > width
    for number, row in enumerate((_HEAD, *rows)):
        if not narrow:
            yield "  ".join(cell.ljust(room) for cell, room in zip(row, widths)).rstrip()
        elif number:
            yield from _paragraph(done.findings[number - 1], width or 80)
        for detail in done.findings[number - 1].context if verbose and number else ():
            yield f"  {detail}"


def _paragraph(finding: Finding, width: int) -> Iterator[str]:
    """A finding as lines of `width` columns; what is to be copied, a path, option or command, stays in one piece."""
    code, thing, todo, command = finding.code, finding.thing, finding.remedy.text, finding.remedy.command
    yield from (f"{code}  {thing}",) if len(code) + 2 + len(thing) <= width else (code, f"    {thing}")
    for text in filter(None, (finding.cause, todo and f"-> {todo}{':' if command else ''}")):
        yield from textwrap.wrap(
            text, max(width, 20), initial_indent="    ", subsequent_indent="    ", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
    if command:
        yield f"    {command}"
