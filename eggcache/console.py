"""The two streams: results on stdout, messages on stderr, and the exit status that findings ask for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

TYPE_CHECKING = False  # as in validity: a run with nothing to do only asks whether to be silent
if TYPE_CHECKING:
    from eggcache.model import Finding, Report

_ORDER = (4, 1, 5, 3)  # which status wins where several apply
_LENIENT = (3, 5)  # what must not keep a site down that worked before


def complain(message: object, status: int) -> int:
    """Print an error, and return its `status`."""
    print(f"eggcache: {one_line(str(message))}", file=sys.stderr)
    return status


def one_line(text: str) -> str:
    """Fit for a terminal and a log: names in messages come from eggs and from the target."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def silent(statuses: Iterable[int], options: argparse.Namespace) -> bool:
    """Whether a prepare that had nothing to do says nothing and exits 0, with findings of these statuses: an init
    script, which is lenient, was told of them when something was done."""
    return all(options.lenient and status in (0, *_LENIENT) for status in statuses)


def present(done: Report, options: argparse.Namespace, *, lenient: bool = False, following: str = "") -> int:
    """Print what a command did, then what is wrong, and return the exit status."""
    from eggcache import report  # not needed where nothing had to be done

    quiet = done.unchanged and lenient  # an init script that had nothing to do says nothing
    for note in done.notes if not quiet else ():
        warn(note, options)
    if options.json:
        print(report.as_json(report.report_json(done)))
    elif not options.quiet and not done.unchanged:
        for line in report.summary(done, following=following, verbose=options.verbose > 0):
            print(one_line(line))
    findings = [finding for finding in done.findings if not quiet or finding.status not in (0, *_LENIENT)]
    return conclude(findings, options, lenient=lenient)


def conclude(findings: Iterable[Finding], options: argparse.Namespace, *, lenient: bool = False) -> int:
    """Print the findings, and return the status that they ask for."""
    asked = set()
    for finding in findings:
        asked.add(finding.status)
        if not options.quiet or finding.status in (1, 4):
            say(f"{finding} [{finding.code}]")
        if options.verbose:
            for detail in finding.context:
                warn(f"  {detail}", options)
    if lenient:
        asked -= set(_LENIENT)
    return next((status for status in _ORDER if status in asked), 0)


def warn(text: str, options: argparse.Namespace) -> None:
    """Print a message that --quiet keeps back."""
    if not options.quiet:
        say(text)


def say(text: str) -> None:
    """Print a message."""
    sys.stdout.flush()  # so that a log that takes both has them in order
    print(f"eggcache: {one_line(text)}", file=sys.stderr)
