"""What a `prepare` with nothing to do says, from the receipt as plain JSON: what was found, and what is there.

It is what `console.present` prints of the report that the whole way would have: a test compares.
"""

from __future__ import annotations

import os

from eggcache.cli import console, next_command
from eggcache.cli.render import amounts
from eggcache.errors import EggcacheError, Missing, Remedy, in_one_line
from eggcache.system import accounts

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Any


def tell(receipt: Mapping[str, Any], key: str, options: argparse.Namespace) -> int | None:
    """Print what the entry `key` of the `receipt`, which holds, says of a prepare.

    :returns: the exit status; None where more than the receipt has to be looked at: then nothing was printed
    """
    if options.lenient or not all(map(os.path.isdir, options.path)):
        return None  # see arguments.doubt
    try:
        results, messages, status = _lines(receipt, key, options)
        accounts.need_proc()
    except (EggcacheError, KeyError, TypeError, ValueError):  # a receipt that makes no sense, among others
        return None
    for line in results:
        console.show(line, whole=line.startswith("next: "))
    for line in messages:
        console.say(line)
    return status


def _lines(receipt: Mapping[str, Any], key: str, options: argparse.Namespace) -> tuple[list[str], list[str], int]:
    entry = receipt["entries"][key]
    results, rows, statuses = list[str](), list[tuple[str, str, Remedy, str]](), set[int]()
    for finding in entry["findings"]:
        words = [finding["thing"], finding["cause"], *finding["remedy"], finding["code"]]
        if len(words) != 5 or any(type(word) is not str for word in words) or finding["status"] not in (0, 1, 3, 4, 5):
            raise ValueError(finding)
        thing, cause, text, command, code = words
        rows.append((thing, cause, Remedy(text, command), code))
        statuses.add(finding["status"])
    if Missing.status in statuses:  # see console.present
        eggs = [receipt["extracted"][name] for name in entry["names"]]
        if not eggs:
            raise ValueError(key)
        sums = sum(egg["files"] for egg in eggs), sum(egg["size"] for egg in eggs)
        results = [
            amounts.total(len(eggs), "egg", f"kept in {os.path.abspath(options.directory)}", *sums),
            f"next: {next_command.wrapper(options)}",
        ]
    keys = [(code, remedy) for _, _, remedy, code in rows]
    shown = [(number, 1) for number in range(len(rows))] if options.verbose else console.firsts(keys)
    messages = [in_one_line(console.first_of(rows[number][0], count), *rows[number][1:]) for number, count in shown]
    return results, messages, console.winning(statuses)
