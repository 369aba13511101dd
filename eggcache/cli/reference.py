"""The command line for the manual page, the completions and docs/: options, environment, files, exit statuses.

The options are read off the parser. No command imports this module.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from eggcache import errors

ENVIRONMENT = (
    ("EGGCACHE_PYTHON", "The target, where --python does not name it: the Python whose eggs are meant, Apache's."),
    ("VIRTUAL_ENV", "The target, where neither of them names it: that of the active virtual environment."),
    ("PYTHON_EGG_CACHE", "The cache that check, tree and status look at, where the command line names none."),
    ("TZ", "The time zone that Apache runs with, where neither --tz nor a cache names it. Unset: the host's own."),
    ("PYTHONPATH", "Goes to the target, as Apache's would. A cache is prepared anew where it has changed."),
    ("LD_LIBRARY_PATH", "The same."),
    ("APACHE_CONFDIR, APACHE_ENVVARS", "Which Apache is meant, on Debian, if there are several."),
    ("SOURCE_DATE_EPOCH", "The date, in seconds, of everything in a wheel; else that of each file in its egg."),
    ("NO_COLOR", "Set to anything: no colour on a terminal."),
    ("TERM", "dumb: nothing but plain text on it."),
    ("COLUMNS", "The width that tables and help are wrapped to, in place of the terminal's."),
)  # fmt: skip
"""What eggcache reads in its environment, and what it makes of that."""

FILES = (
    ("/var/cache/eggcache", "The directory that the examples use as the cache. There is no default."),
    ("DIR/.eggcache.json", "The receipt: what the cache was made from. Its owner alone may read it."),
)
"""What eggcache has on the disk."""


def statuses() -> Iterator[tuple[str, str]]:
    """Each exit status and its meaning, read off the errors; where several apply, 4 wins, then 1, 5 and 3."""
    yield "0", "Done, or nothing to do."
    meanings: dict[int, str] = {}
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, errors.EggcacheError):
            meanings.setdefault(cls.status, (inspect.getdoc(cls) or "").partition(" (exit status")[0] + ".")
    yield from ((str(status), meanings[status]) for status in sorted(meanings))
    yield "128+N", "Ended by signal N."


@dataclass(frozen=True)
class Option:
    """An option, or what stands for itself (then without `names`)."""

    names: tuple[str, ...]
    value: str  # the name of its value, "" for none
    help: str
    choices: tuple[str, ...]
    repeats: bool

    @property
    def wants(self) -> str:
        """What its value is, for a shell that completes it: directory, file, user, group, zone, kind, choice, text."""
        for name in self.names:
            if name in _WANTS:
                return _WANTS[name]
        if self.choices:
            return "choice"
        return {"DIR": "directory", "D": "directory", "OUT": "directory", "PATH": "file", "FILE": "file"}.get(
            self.value, "text"
        )


_WANTS = {"--user": "user", "--group": "group", "--tz": "zone", "--for": "kind", "--location": "text"}


@dataclass(frozen=True)
class Command:
    """A command; the first of `commands` is eggcache itself, named ""."""

    name: str
    summary: str
    description: str
    usage: str  # on one line
    options: tuple[Option, ...]
    arguments: tuple[Option, ...]


def commands(program: argparse.ArgumentParser) -> list[Command]:
    """What the parser knows, read off its actions: argparse has no public way to do that."""
    subparsers = next(action for action in program._actions if isinstance(action, argparse._SubParsersAction))
    summaries = {action.dest: action.help or "" for action in subparsers._choices_actions}
    commands = [_command("", "", program)]
    return commands + [_command(name, summaries[name], parser) for name, parser in subparsers.choices.items()]


def _command(name: str, summary: str, parser: argparse.ArgumentParser) -> Command:
    options = tuple(
        Option(
            tuple(action.option_strings),
            "" if action.nargs == 0 else str(action.metavar or "{" + ",".join(map(str, action.choices or ())) + "}"),
            (action.help or "").replace("%(prog)s", "eggcache"),
            tuple(map(str, action.choices or ())),
            action.nargs == "*" or isinstance(action, (argparse._AppendAction, argparse._CountAction)),
        )
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction) and action.help is not argparse.SUPPRESS
    )
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    return Command(
        name,
        summary,
        parser.description or "",
        usage,
        tuple(option for option in options if option.names),
        tuple(option for option in options if not option.names),
    )
