"""The entry point: it parses the command line, runs the command, and ends with its exit status.

Results go to stdout, messages to stderr. Only the module of the command that is asked for is imported: `prepare` runs
at every start of Apache, and mostly finds that nothing has to be done.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from eggcache.cli import console
from eggcache.errors import EggcacheError, Ended, NotPermitted, UsageError, meant

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    from typing import Any, NoReturn

COMMANDS = {  # what the help says of each; what it does is in the module of verbs that has its name
    "tree": "show the dependency tree: zipped, unzipped, missing, conflicting",
    "unzip-all": "make each zipped egg of the tree an unzipped one, in place",
    "prepare": "extract the tree's eggs into the egg cache DIR, locked down",
    "check": "will Apache's user get everything, and be able to write nothing?",
    "wrapper": "print what starts Apache with the cache prepared and exported",
    "status": "say what is in the egg cache DIR, for whom, and whether it is current",
    "remove": "take away the egg cache DIR, which prepare made, and nothing else",
    "wheels": "write each egg of the tree, zipped or not, into OUT as a wheel",
    "archive": "write the egg cache as a tar archive, for a host where eggcache cannot run",
    "report": "write the tree, what check finds, and the server as one HTML page; of several hosts, a table",
    "explain": "say what the code of a finding means, and what to do",
}


def main() -> int:
    """Run the command line of this process.

    :returns: the exit status
    """
    console.open_streams()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, nobody learns how a child ended
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish stands
            signal.signal(number, _end)
    verbose, options = 0, argparse.Namespace()
    try:
        options = parse(sys.argv[1:])
        verbose = options.verbose
        status = _run(options)
        sys.stdout.flush()
    except EggcacheError as error:
        if verbose > 1:
            console.trace(error)
        if not getattr(options, "lenient", False):
            return console.complain(error, error.status)
        return _starting(console.complain(error, error.status if error.lenient is None else error.lenient), options)
    except Ended as signal_error:
        return 128 + signal_error.number
    except BrokenPipeError as error:
        return report_error(error)
    except Exception as error:
        return _starting(report_error(error, verbose), options)
    return status


def _run(options: argparse.Namespace) -> int:
    """Load what was asked for, and run it: the module of the command, or what says the version."""
    module = f"verbs.{options.command.replace('-', '_')}" if options.command else "version"
    status: int = importlib.import_module(f"eggcache.cli.{module}").run(options)
    return status


def report_error(error: Exception, verbose: int = 0) -> int:
    """Say what there is to say of an error that no module expects, and return the exit status."""
    if isinstance(error, BrokenPipeError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (Python flushes stdout at exit)
        return 128 + signal.SIGPIPE
    if verbose > 1:
        console.trace(error)
    return console.complain(_text(error), 1)


def ignore_signals() -> None:
    """Let no signal disturb what is left to do."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _text(error: Exception) -> str:
    """What to say of an error that no module expects: it may be the place that we are run in."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the working directory: it has been removed; run it from another one: cd /"
    full = error if isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename else None
    try:
        sys.stdout.flush()  # of what was too much for its buffer, nothing is left there
    except OSError as error_of_stdout:
        full = error_of_stdout
    if full:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (Python flushes stdout at exit)
        return f"stdout: {full.strerror}; what was done is done"
    return f"{type(error).__name__}: {error}; run it with -vv and report what it says"


def _starting(status: int, options: argparse.Namespace) -> int:
    """How a command that failed with `status` ends: a lenient prepare that could not renew an unsafe DIR, or make one
    where anybody may, as --reset says, with 4, by which no server starts with what somebody else has put there."""
    if status == NotPermitted.status or not (getattr(options, "lenient", False) and options.reset):
        return status
    from eggcache.system import safe_dirs

    try:
        os.close(safe_dirs.open_directory(os.path.abspath(options.directory)))
    except NotPermitted as unsafe:
        return console.complain(unsafe, unsafe.status)
    except OSError as error:
        cause = f"is not there, and anybody may make it: {error.strerror}"
        return console.complain(f"{options.directory}: {cause}; see to the above", NotPermitted.status)
    return status


def _end(number: int, _frame: object) -> None:
    ignore_signals()  # a second Ctrl-C must not end the clean-up
    raise Ended(number)


class _Formatter(argparse.HelpFormatter):
    """Wraps what is prose to the terminal's width, and leaves the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


class _StandsForMore(argparse.Action):
    """An entry of `path` as well, in the order of the command line: see search_path."""

    def __call__(
        self, _parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, _option: str | None = None
    ) -> None:
        namespace.path = [*namespace.path, value]
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), value])


class _Parser(argparse.ArgumentParser):
    columns = 78  # options are checked by a formatter, too, for which the terminal is not asked

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=self._formatter, **kwargs)
        self.register("action", "stands-for-more", _StandsForMore)

    def _formatter(self, prog: str) -> _Formatter:
        return _Formatter(prog, width=self.columns)

    def format_help(self) -> str:
        from eggcache.cli import manual  # its text is of no use to a command that works

        self.columns = console.columns() - 2
        self.epilog = manual.epilog(self.prog.partition(" ")[2])
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        remedy = f"see {self.prog} --help"
        choice, _, choices = message.partition(" (choose from ")
        if choices:
            word = choice.partition("invalid choice: ")[2].strip("'")
            choices_known = choices.rstrip(")").replace("'", "").split(", ")
            remedy = meant(word, choices_known) or remedy
            if message.startswith("argument COMMAND:"):
                raise UsageError(repr(word), f"there is no such command, but {', '.join(choices_known)}", remedy)
        unknown = message.partition("unrecognized arguments: ")[2]
        if unknown.startswith("--"):
            remedy = meant(unknown.partition("=")[0], self._option_string_actions) or remedy
        required = message.partition("the following arguments are required: ")[2]
        if required:  # argparse counts REQ, though there may be none
            raise UsageError(required.replace(", REQ", ""), "it is required, and not given", remedy)
        raise UsageError(self.prog.partition(" ")[2] or "arguments", message, remedy)


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "--"


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options. argparse lets no REQ follow an option where DIR came before it, so what it leaves over is taken
    for what it is: an unknown option, or a REQ."""
    words = list(words)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    elif words[:1] == ["version"]:
        words[0] = "--version"
    options, rest = parser(words).parse_known_args(words)
    options.words = words
    parser_used: argparse.ArgumentParser = options.parser
    if "--json" not in parser_used._option_string_actions and getattr(options, "json", False):
        parser_used.error("unrecognized arguments: --json")
    if not options.command:
        for word in filter(_is_option, rest):  # one that is not known says more than the command that is missing
            parser_used.error(f"unrecognized arguments: {word}")
        if not options.version:
            parser_used.error("the following arguments are required: COMMAND")
        if options.json:
            parser_used.error("unrecognized arguments: --json")  # the version is no command's result
    for word in rest[: rest.index("--")] if "--" in rest else rest:
        if _is_option(word) or "requirements" not in options:
            parser_used.error(f"unrecognized arguments: {word}")
    if rest:
        options.requirements = [*options.requirements, *(word for word in rest if word != "--")]
    for action in parser_used._actions:
        value = getattr(options, action.dest, None)
        if action.dest != "tz" and (value == "" or (isinstance(value, list) and "" in value)):  # TZ= is UTC
            name = action.option_strings[0] if action.option_strings else action.metavar
            parser_used.error(f"{name} is empty: is a variable not set?")
    directory = getattr(options, "directory", None)
    if directory is not None and "requirements" in options and "/" not in directory and not os.path.isdir(directory):
        name = next(action.metavar for action in parser_used._actions if action.dest == "directory")
        parser_used.error(
            f"{name} comes first, and there is no {directory!r} here: write ./{directory} to have it made"
        )
    if getattr(options, "limits", []):  # before anybody waits for Apache, or for a target
        from eggcache.cli import arguments

        arguments.limits(options)
    if not getattr(options, "wait", 0.0) >= 0:  # nan is neither
        parser_used.error("--wait takes seconds, 0 or more")
    if (getattr(options, "depth", None) or 0) < 0:
        parser_used.error("--depth takes a number of steps, 0 or more")
    return options


def parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of a command line of these `words`, where only the command that they name has its options: no other
    is loaded. Without `words`, the parser of all: the manual page, the completions and docs/ are made from it."""
    program = _Parser(
        prog="eggcache", description="Zipped Python eggs behind Apache: unzip them, or prepare their egg cache."
    )
    program.add_argument("--version", action="store_true", help="the version; with -v also the target's")
    program.add_argument("--json", action="store_true", help="the result as JSON, of any command")
    _loudness(program, quiet=False, verbose=0)
    program.set_defaults(command="", parser=program)
    # `prog` is what it would find out by formatting a help text
    commands = program.add_subparsers(prog="eggcache", metavar="COMMAND", parser_class=_Parser)
    first_word = words[0] if words else ""
    command_name = None if words is None else next((word for word in words if not word.startswith("-")), "")
    for name, summary in COMMANDS.items():
        if first_word in COMMANDS and name != first_word:
            continue  # the list of them is for the help of eggcache itself, and for who mistypes one
        description = f"{summary[0].upper()}{summary[1:]}{'' if summary[-1] == '?' else '.'}"
        command = commands.add_parser(name, help=summary, description=description)
        # What stands before the command holds
        _loudness(command, quiet=argparse.SUPPRESS, verbose=argparse.SUPPRESS)
        if command_name in (None, name):
            from eggcache.cli import command_options

            command_options.add(name, command)
            command.set_defaults(command=name, parser=command, limits=[], dry_run=False, allow_gap=False)
    return program


def _loudness(parser: argparse.ArgumentParser, *, quiet: object, verbose: object) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", default=quiet, help="errors only, and no results")
    parser.add_argument(
        "-v", "--verbose", action="count", default=verbose, help="more detail; -vv: all that is known of a failure"
    )
