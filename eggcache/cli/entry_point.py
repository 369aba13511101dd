"""The program, which ends here where a `prepare` has nothing to do: it is run at every start of Apache.

That is seen before what any other command line needs is loaded. argparse, json, re, signal and contextlib alone take as
long to load as Python takes to start.
"""

from __future__ import annotations

import gc
import os
import sys

from eggcache.cli import console

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

# Of the options of prepare those that emitted wrappers have, and what they set; a test compares with the parser.
_VALUES = {"--python": "python", "--user": "user", "--group": "group", "--tz": "tz", "--wait": "wait"}
_LISTS = {"--path": "path", "--limit": "limits"}
_FLAGS = {"--lenient": "lenient", "--reset": "reset", "--all": "all", "--strict-tree": "strict_tree"}


class Plain:
    """The options of a plain command line, as the parser gives them."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.command = "prepare"
        self.directory = ""
        self.requirements: list[str] = []
        self.python = self.user = self.group = self.tz = self.path_from = self.trac_env = None
        self.wait = 120.0
        self.path: list[str] = []
        self.limits: list[str] = []
        self.lenient = self.reset = self.all = self.strict_tree = False
        self.prune = self.json = self.quiet = self.dry_run = self.allow_gap = False
        self.verbose = 0


def plain_options(words: Sequence[str]) -> Plain | None:
    """The options of a `prepare` as emitted wrappers write it; None for a command line that needs the parser."""
    if words[:1] != ["prepare"]:
        return None
    options, places, rest = Plain(list(words)), list[str](), list(reversed(words[1:]))
    while rest:
        word = rest.pop()
        if word in _FLAGS:
            setattr(options, _FLAGS[word], True)
        elif word in _VALUES or word in _LISTS:
            value = rest.pop() if rest else ""
            if not value or value.startswith("-"):
                return None
            if word in _LISTS:
                getattr(options, _LISTS[word]).append(value)
            else:
                setattr(options, _VALUES[word], value)
        elif word == "--" and places:
            places += reversed(rest)
            rest = []
        elif word.startswith("-"):
            return None
        else:
            places.append(word)
    if not places or "/" not in places[0] or any(not word or word.startswith("-") for word in places):
        return None
    options.directory, *options.requirements = places
    try:
        options.wait = float(options.wait)
    except ValueError:
        return None
    return options if options.wait >= 0 else None


def status_of_no_work(words: Sequence[str]) -> int | None:
    """The exit status of a command line that is a `prepare` with nothing to do, which then has said what there is to
    say; None: any other one, of which nothing has been said."""
    options: Any = plain_options(words)
    if options is None or options.python is None or not (options.user or (options.lenient and os.geteuid())):
        return None  # what is left to the receipt, or to Apache, is asked for later
    try:
        from eggcache.cli.verbs import prepare

        return prepare.status_of_no_work(options)
    except Exception:  # the whole way meets it again, and says so
        return None


def program() -> NoReturn:
    """The command: all that a command line asks for, and the end of the process. What Python would tear down is gone
    with it anyhow, and that takes longer than a run with nothing to do spends on its work."""
    gc.set_threshold(100_000, 50, 50)  # nearly all that it would look at lasts until the end
    console.open_streams()
    try:
        status = status_of_no_work(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        os._exit(130)  # 128 + SIGINT
    except Exception as error:
        from eggcache.cli import main

        status = main.report_error(error)
    if status is None:
        from eggcache.cli import main

        status = main.main()
        main.ignore_signals()  # it is over: there is nothing left to clean up
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - contextlib is not loaded
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(status)
