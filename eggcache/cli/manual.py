"""The text of the help, the manual page and docs/ beyond the parser: examples, environment, files, exit statuses.

Imported where somebody asks for help, and by what makes the documentation; never by a command that works.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from eggcache import errors

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("eggcache tree", "what is zipped, and what is missing"),
        ("eggcache prepare /var/cache/eggcache", "extract the eggs, locked down"),
        ("eggcache check --cache /var/cache/eggcache", "prove it, as Apache's user"),
        ("eggcache wrapper /var/cache/eggcache", "what this host starts Apache with"),
        ("eggcache COMMAND --help", "the options of one of them"),
    ),
    "tree": (
        ("eggcache tree", "the tree of TurboGears, or else all that is on the path"),
        ("eggcache tree myapp --python /srv/myapp/bin/python", "of an application, for Apache's Python"),
        ("eggcache tree --all --path /srv/eggs", "all that is on the path, and in /srv/eggs"),
        ("eggcache tree --reverse kid", "who needs kid?"),
        ("eggcache tree --cache /var/cache/eggcache", "what is prepared, and what is not"),
        ("eggcache tree --format dot | dot -Tsvg > tree.svg", "a picture, by graphviz"),
        ("eggcache tree --json", "for a script"),
    ),
    "unzip-all": (
        ("eggcache unzip-all -n", "what would be done"),
        ("eggcache unzip-all --backup /var/backups/eggs", "do it, and keep the zips"),
        ("eggcache unzip-all --undo --backup /var/backups/eggs", "put the zips that were kept back"),
        ("eggcache unzip-all kid Genshi", "these two, and what they require"),
    ),
    "prepare": (
        ("eggcache prepare -n /var/cache/eggcache", "what would be done"),
        ("eggcache prepare /var/cache/eggcache", "everything that the server can import"),
        ("eggcache prepare /var/cache/eggcache myapp --user www-data", "of an application, for that user"),
        ("eggcache prepare --path-from /srv/shop/bin/instance /var/cache/eggcache", "of a zc.buildout"),
        ("eggcache prepare --trac-env /srv/trac/env /var/cache/eggcache", "with the plugins of a Trac"),
        ("eggcache prepare --reset /tmp/turbogears-eggcache", "where anybody could have been first"),
        ("eggcache prepare --prune /var/cache/eggcache", "and remove what no egg needs any more"),
    ),
    "check": (
        ("eggcache check --cache /var/cache/eggcache", "will Apache's user get all of it?"),
        ("eggcache check myapp --cache /var/cache/eggcache --import myapp", "and does the application import?"),
        ("eggcache check myapp --script /srv/myapp/app.wsgi", "and does its script set another cache?"),
        ("eggcache check --app-config /srv/myapp/prod.cfg --location /myapp", "and is its configuration right?"),
        (
            "eggcache check -q --cache /var/cache/eggcache",
            "for a mail: nothing but findings, of each tree that it is for",
        ),
        ("eggcache check --json --ignore other-python", "for a monitor: exit status 3 is a finding of another code"),
    ),
    "status": (
        ("eggcache status /var/cache/eggcache", "what is in it, and is it current?"),
        ("eggcache status -v /var/cache/eggcache", "and all that changed"),
        ("eggcache status --json /var/cache/eggcache", "for a monitor: exit status 3 is stale"),
    ),
    "remove": (
        ("eggcache remove -n /var/cache/eggcache", "what would be removed"),
        ("eggcache remove /var/cache/eggcache", "all of it"),
    ),
    "wheels": (
        ("eggcache wheels -n /srv/wheels", "what would be written"),
        ("eggcache wheels /srv/wheels TurboGears2", "a tree, for pip install --no-index --find-links /srv/wheels"),
        ("eggcache wheels /srv/wheels", "every egg on the path"),
    ),
    "explain": (
        ("eggcache explain member-outdated", "what a message means that ends in [member-outdated]"),
        ("eggcache explain", "every code that there is"),
    ),
    "wrapper": (
        ("eggcache wrapper /var/cache/eggcache", "what is right on this host, and why"),
        ("eggcache wrapper /var/cache/eggcache --for init.d -o /etc/init.d/apache-eggs", "an init script, installed"),
        ("eggcache wrapper /var/cache/eggcache --for systemd", "a drop-in for Apache's unit"),
        ('eval "$(eggcache wrapper /var/cache/eggcache --for shell)"', "in a script of your own"),
    ),
}
"""Of each command (and of eggcache itself, under ""): what to type, and what for."""

ENVIRONMENT = (
    ("EGGCACHE_PYTHON", "The target, where --python does not name it: the Python whose eggs are meant, Apache's."),
    ("VIRTUAL_ENV", "The target, where neither of them names it: that of the active virtual environment."),
    ("PYTHON_EGG_CACHE", "The cache that check and tree look at, where --cache does not name it."),
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
    found: dict[int, str] = {}
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, errors.EggcacheError):
            found.setdefault(cls.status, (inspect.getdoc(cls) or "").partition(" (exit status")[0] + ".")
    yield from ((str(status), found[status]) for status in sorted(found))
    yield "128+N", "Ended by signal N."


def epilog(command: str) -> str:
    """What stands below the options in the help of `command` ("": of eggcache itself)."""
    lines = ["examples:"]
    for words, what in EXAMPLES.get(command, ()):
        lines += [f"  {words}", f"      {what}"]
    return "\n".join(lines) if len(lines) > 1 else ""


# ---------------------------------------------------------------------------------------- what a parser consists of


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
    found = [_command("", "", program)]
    return found + [_command(name, summaries[name], parser) for name, parser in subparsers.choices.items()]


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
