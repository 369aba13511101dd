"""What `check` found, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from eggcache.model import Account, Report

_HEAD = ("CODE", "THING", "CAUSE", "REMEDY")


def lines(done: Report, account: Account, *, verbose: bool = False) -> Iterator[str]:
    """The findings, one in a line, in columns; or the one line that says all is well. With `verbose` their detail."""
    proven = [outcome for outcome in done.outcomes if outcome.action == "proven"]
    if not done.findings:
        if proven:
            files = sum(outcome.files for outcome in proven)
            eggs = f"{len(proven):,} egg{'s' * (len(proven) != 1)}"
            yield f"{files:,} file{'s' * (files != 1)} of {eggs}, as {account.name}: all current, nothing to write"
        else:
            yield f"no zipped egg in the tree, as {account.name}: nothing to extract"
        return
    rows = [(one.code, one.thing, one.cause, one.remedy) for one in done.findings]
    widths = [max(len(row[column]) for row in (_HEAD, *rows)) for column in range(3)]
    for number, row in enumerate((_HEAD, *rows)):
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]).rstrip()
        for detail in done.findings[number - 1].context if verbose and number else ():
            yield f"  {detail}"
