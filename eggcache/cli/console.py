"""The output of a command: results on stdout, messages on stderr, and the exit status of its findings."""

from __future__ import annotations

import io
import os
import sys

from eggcache.cache import freshness
from eggcache.errors import Missing, tell
from eggcache.errors import one_line as one_line  # for those who print

TYPE_CHECKING = False  # as in freshness: a run with nothing to do only asks whether to be silent
if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import TextIO

    from eggcache.errors import Remedy
    from eggcache.model import Finding, Report

_INDENT = 4  # of the rows of a message but its first
_MOST_ALIKE = 3  # findings of one kind that each have a line
_ORDER = (4, 1, 5, 3)  # which status wins where several apply


def open_streams() -> None:
    """Put /dev/null where one of the three streams is closed, as an init script may have them.

    Else the next file that is opened would be stdout, and what is printed would end up in it. What the terminal's
    encoding lacks is escaped: a name in a message is no reason to fail.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number, which is this one
            os.set_inheritable(descriptor, True)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115 - as long as we live
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def width() -> int:
    """The columns of the terminal that stdout is, or that $COLUMNS says it has; 80 where it is no terminal."""
    return columns() if sys.stdout.isatty() else 80


def columns(stream: TextIO | None = None) -> int:
    """What shutil.get_terminal_size has as columns: $COLUMNS, else those of the terminal that `stream` is (None:
    stdout), else 80. To import shutil takes as long as to make a help text."""
    variable = os.environ.get("COLUMNS", "")
    if variable.isdecimal() and int(variable) > 0:
        return int(variable)
    stream = stream or sys.__stdout__
    try:
        return os.get_terminal_size(stream.fileno() if stream else 1).columns or 80
    except (OSError, ValueError):
        return 80


def fitted(line: str, width: int) -> str:
    """A message with more spaces where a row of a terminal of `width` columns ends, so that no word is cut.

    It stays one line: a command that is copied from several rows of the terminal is one command where it is pasted.
    """
    if len(line) <= width and line.isascii():
        return line  # without re, which takes 7 milliseconds to load
    import re
    from unicodedata import east_asian_width

    text, width_so_far = "", 0
    for gap, word in re.findall(r"(\s*)('[^']*'(?!\S)|\S+)", line):  # spaces within quotes are the argument's own
        cells = sum(1 + (east_asian_width(letter) in "WF") for letter in word)
        if width_so_far + len(gap) + cells > width >= cells + _INDENT:
            gap = " " * (width - width_so_far + _INDENT)
        text += gap + word
        # A full row is no empty one: a terminal waits for what follows.
        width_so_far = (width_so_far + len(gap) + cells - 1) % width + 1
    return text


def show(line: str, *, whole: bool = False) -> None:
    """Print a line of a result; on a terminal too narrow for it as several, with each path and command in one piece.

    :param whole: whether it stays one line, to be copied, as a command to run next: the terminal folds it
    """
    line = one_line(line)
    if not sys.stdout.isatty() or len(line) <= columns() or whole:
        print(line)
        return
    print("\n".join(wrapped(line, max(columns(), 20), "", " " * (len(line) - len(line.lstrip()) + 4))))


def wrapped(text: str, width: int, first_indent: str, indent: str) -> list[str]:
    """The lines of a paragraph of `width` columns; what is to be copied, a path, option or command, stays in one
    piece. `first_indent` is that of its first line."""
    from textwrap import TextWrapper

    whole = TextWrapper(width, first_indent, indent, break_long_words=False, break_on_hyphens=False)
    return whole.wrap(text)


def trace(error: BaseException) -> None:
    """Print the traceback of an error, for `-vv`, each line fit for a terminal."""
    import traceback

    for text in traceback.format_exception(type(error), error, error.__traceback__):
        for line in text.rstrip("\n").split("\n"):
            tell(f"  {one_line(line)}")  # as Python has it


def complain(message: object, status: int) -> int:
    """Print an error, and return its `status`."""
    _tell(str(message))
    return status


def keeps_down(code: str, status: int) -> bool:
    """Whether a finding of a prepare keeps a server down, though the prepare is lenient.

    Only a finding about what others can change in DIR does. Any other finding is about an egg, a requirement or the
    target, as they were when the server started without eggcache.
    """
    return status != 0 and code == freshness.FOREIGN


def silent(findings: Iterable[tuple[str, int]], options: argparse.Namespace) -> bool:
    """Whether a prepare that had nothing to do says nothing and exits 0.

    An init script, which is lenient, named the findings when something was done; notices were named to everybody then.

    :param findings: the code and the status of each
    """
    return all(not status or (options.lenient and not keeps_down(code, status)) for code, status in findings)


def present(
    result: Report, options: argparse.Namespace, *, lenient: bool = False, following: str = "", again: bool = False
) -> int:
    """Print what a command did, then what is wrong. One of several reports is gathered for the one object of `--json`.

    :param lenient: whether an init script runs this, which starts a server whatever most findings say
    :param following: the command to run next; "" for none
    :param again: whether what was there already is a result, too: a run that did nothing tells it
    :returns: the exit status
    """
    from eggcache.cli.render import report  # not needed where nothing had to be done

    quiet = result.unchanged and lenient  # an init script that had nothing to do says nothing
    for note in result.notes if not quiet else ():
        warn(note, options)
    if options.json:
        gathered = getattr(options, "gathered", None)
        if gathered is None:
            print(report.as_json(report.report_json(result)))
        else:
            gathered.append(result)
    elif not options.quiet and (
        result.dry_run or not (result.unchanged and (lenient or not (again or _lacking(result))))
    ):
        undo = getattr(options, "undo", False)  # of unzip-all
        following_lines = False  # which are all that come after the first
        for line in report.summary(result, following=following, verbose=options.verbose > 0, undo=undo):
            following_lines = following_lines or line.startswith("next: ")
            show(line, whole=following_lines)
    findings = [finding for finding in result.findings if not quiet or keeps_down(finding.code, finding.status)]
    return conclude(findings, options, lenient=lenient)


def _lacking(result: Report) -> bool:
    """Whether something required is missing, which a user installs, and then looks at the same results again."""
    return any(finding.status == Missing.status for finding in result.findings)


def conclude(findings: Iterable[Finding], options: argparse.Namespace, *, lenient: bool = False) -> int:
    """Print the findings.

    :param lenient: as for `present`
    :returns: the exit status of the findings together
    """
    findings = list(findings)
    statuses = {item.status for item in findings if not lenient or keeps_down(item.code, item.status)}
    for finding in findings if options.verbose else alike(findings):
        if not options.quiet or finding.status in (1, 4):
            say(finding.line)
        if options.verbose:
            for detail in finding.context:
                warn(f"  {detail}", options)
    return winning(statuses)


def alike(findings: Sequence[Finding]) -> Iterator[Finding]:
    """The findings; of more than three with one code that one command cures, as those of a whole tree, the first."""
    from dataclasses import replace

    keys = [(finding.code, finding.remedy) for finding in findings]
    for number, count in firsts(keys):
        finding = findings[number]
        yield replace(finding, thing=first_of(finding.thing, count))


def firsts(keys: Sequence[tuple[str, Remedy]]) -> list[tuple[int, int]]:
    """The numbers of the findings that are told, of findings with these codes and remedies, and for how many each
    stands: the first of more than three that have one command for all, whose causes may differ."""
    counts: dict[object, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    numbers, seen = list[tuple[int, int]](), set[object]()
    for number, key in enumerate(keys):
        stands_for = counts[key] if key[1].command and counts[key] > _MOST_ALIKE else 1
        if stands_for == 1 or key not in seen:
            numbers.append((number, stands_for))
        seen.add(key)
    return numbers


def first_of(thing: str, count: int) -> str:
    """The name of a thing that stands for so many, each with a cause of its own."""
    return f"{thing}, the first of {count:,} such (-v names them)" if count > 1 else thing


def winning(statuses: Collection[int]) -> int:
    """The exit status that counts where several apply; 2 and 75 count where nothing else does."""
    return next((status for status in (*_ORDER, *sorted(statuses, reverse=True)) if status in statuses), 0)


def warn(text: str, options: argparse.Namespace) -> None:
    """Print a message that --quiet keeps back."""
    if not options.quiet:
        say(text)


def say(text: str) -> None:
    """Print a message."""
    sys.stdout.flush()  # so that a log that takes both has them in order
    _tell(text)


def _tell(text: str) -> None:
    line = f"eggcache: {one_line(text)}"
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        line = fitted(line, max(columns(sys.stderr), 20))
    tell(line)
