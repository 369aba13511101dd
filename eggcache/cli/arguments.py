"""The arguments of the command line: the parser, and the values that follow from the options."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

from eggcache.errors import NotPermitted, UsageError, meant
from eggcache.system import accounts
from eggcache.target import interpreter
from eggcache.target.interpreter import EVERYTHING, TURBOGEARS, Roots, Target

TYPE_CHECKING = False  # as in freshness: a run with nothing to do pays for every import
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from eggcache.model import Run
    from eggcache.progress import Progress

KINDS = (  # of wrapper; a test compares them with kinds.KINDS, which nothing else than `wrapper` has use for
    "apachectl, init.d, systemd, envvars, sysconfig, freebsd, mod_python, mod_wsgi, tmpfiles.d, supervisord, uwsgi, "
    "gunicorn, docker, shell"
)


class _Formatter(argparse.HelpFormatter):
    """Wraps what is prose to the terminal's width, and leaves the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


_HIGHEST = {"entries": 65_535, "member": 0x7FFFFFFF, "total": 1 << 62, "ratio": 1 << 62}  # that mean anything


class _Parser(argparse.ArgumentParser):
    columns: int | None = 78  # None: the terminal's. It takes an import to know, and options are checked by a formatter

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=self._formatter, **kwargs)

    def _formatter(self, prog: str) -> _Formatter:
        return _Formatter(prog, width=self.columns)

    def format_help(self) -> str:
        from eggcache.cli import manual  # its text is of no use to a command that works

        self.columns = None
        self.epilog = manual.epilog(self.prog.partition(" ")[2])
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        remedy = f"see {self.prog} --help"
        choice, _, choices = message.partition(" (choose from ")
        if choices:
            wrong = choice.partition("invalid choice: ")[2].strip("'")
            remedy = meant(wrong, choices.rstrip(")").replace("'", "").split(", ")) or remedy
        unknown = message.partition("unrecognized arguments: ")[2]
        if unknown.startswith("--"):
            remedy = meant(unknown.partition("=")[0], self._option_string_actions) or remedy
        if message.startswith("the following arguments are required"):
            message = message.replace(", REQ", "")  # argparse counts it, though there may be none
        raise UsageError(self.prog.partition(" ")[2] or "arguments", message, remedy)


if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[_Parser]


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The options. argparse lets no REQ follow an option where DIR came before it, so what it leaves over is taken
    for what it is: an unknown option, or a REQ."""
    words = sys.argv[1:] if words is None else words
    parser = program(words[0] if words else "")
    options, rest = parser.parse_known_args(words)
    if "command" not in options:
        if not options.version:
            parser.error("the following arguments are required: COMMAND")
        options.command = "version"
    parser = options.parser
    for word in rest[: rest.index("--")] if "--" in rest else rest:
        if word.startswith("-") or "requirements" not in options:
            parser.error(f"unrecognized arguments: {word}")
    if rest:
        options.requirements = [*options.requirements, *(word for word in rest if word != "--")]
    for action in parser._actions:
        value = getattr(options, action.dest, None)
        if action.dest != "tz" and (value == "" or (isinstance(value, list) and "" in value)):  # TZ= is UTC
            name = action.option_strings[0] if action.option_strings else action.metavar
            parser.error(f"{name} is empty: is a variable not set?")
    directory = getattr(options, "directory", None)
    if directory is not None and "requirements" in options and "/" not in directory and not os.path.isdir(directory):
        parser.error(f"DIR comes first, and there is no {directory!r} here: write ./{directory} to have it made")
    if not getattr(options, "wait", 0.0) >= 0:  # nan is neither
        parser.error("--wait takes seconds, 0 or more")
    if (getattr(options, "depth", None) or 0) < 0:
        parser.error("--depth takes a number of steps, 0 or more")
    return options


def program(word: str = "") -> argparse.ArgumentParser:
    """The parser: the manual page, the completions and docs/ are made from it as well. For a command line that begins
    with `word` it has that command's options only, where it is one."""
    parser = _Parser(
        prog="eggcache", description="Zipped Python eggs behind Apache: unzip them, or prepare their egg cache."
    )
    parser.add_argument("--version", action="store_true", help="the version; with -v also the target's")
    _loudness(parser, quiet=False, verbose=0)
    parser.set_defaults(parser=parser)
    # `prog` is what it would find out by formatting a help text
    commands = parser.add_subparsers(prog="eggcache", metavar="COMMAND", parser_class=_Parser)
    for name, add in _COMMANDS.items():
        if word not in _COMMANDS or name == word:
            add(commands)
    return parser


def _tree(commands: _Commands) -> None:
    parser = _command(commands, "tree", "show the dependency tree: zipped, unzipped, missing, conflicting")
    _target_options(parser)
    parser.add_argument(
        "--format", metavar="FORM", choices=("text", "json", "dot", "mermaid"), default="text",
        help="text (the default), json, dot or mermaid",
    )  # fmt: skip
    parser.add_argument("--reverse", action="store_true", help="what needs REQ, anywhere on the path")
    parser.add_argument("--depth", metavar="N", type=int, help="no more than N steps from REQ (0: REQ alone)")
    parser.add_argument("--duplicates", action="store_true", help="what is on the path more than once")
    parser.add_argument("--cache", metavar="DIR", help="say what is prepared in DIR (default: $PYTHON_EGG_CACHE)")


def _unzip_all(commands: _Commands) -> None:
    parser = _command(commands, "unzip-all", "make each zipped egg of the tree an unzipped one, in place")
    _target_options(parser)
    parser.add_argument("--backup", metavar="DIR", help="keep each zip in DIR")
    parser.add_argument("--undo", action="store_true", help="put the zips that --backup DIR kept back in their places")
    _limit_option(parser)
    _gap_option(parser)
    _writing_options(parser)


def _prepare(commands: _Commands) -> None:
    parser = _command(commands, "prepare", "extract the tree's eggs into the egg cache DIR, locked down")
    parser.add_argument("directory", metavar="DIR", help="what PYTHON_EGG_CACHE will name")
    _target_options(parser)
    _runtime_options(parser)
    _limit_option(parser)
    parser.add_argument("--prune", action="store_true", help="remove what no tree prepared in DIR needs any more")
    parser.add_argument("--reset", action="store_true", help="move an unsafe DIR aside and build it anew")
    parser.add_argument(
        "--lenient",
        action="store_true",
        help="exit 0 for what is wrong with eggs, requirements, or whom DIR serves: Apache starts as it did before",
    )
    _gap_option(parser)
    _writing_options(parser)


def _check(commands: _Commands) -> None:
    parser = _command(commands, "check", "will Apache's user get everything, and be able to write nothing?")
    _target_options(parser)
    _runtime_options(parser)
    _limit_option(parser)
    parser.add_argument("--cache", metavar="DIR", help="the egg cache (default: $PYTHON_EGG_CACHE)")
    parser.add_argument(
        "--import", dest="imports", metavar="MODULE", action="append", default=[],
        help="a module that has to import, such as the application (repeatable)",
    )  # fmt: skip
    parser.add_argument("--app-config", metavar="FILE", help="the application's TurboGears configuration")
    parser.add_argument("--location", metavar="PATH", help="where Apache serves the application (default: /)")
    parser.add_argument("--wait", metavar="S", type=float, default=120.0, help="seconds to wait for a prepare (120)")


def _wrapper(commands: _Commands) -> None:
    parser = _command(commands, "wrapper", "print what starts Apache with the cache prepared and exported")
    parser.add_argument("directory", metavar="DIR", help="the egg cache")
    _target_options(parser)
    _runtime_options(parser)
    _limit_option(parser)
    parser.add_argument("--for", dest="kind", metavar="KIND", help=f"one of {KINDS} (default: what this host needs)")
    parser.add_argument("--apachectl", metavar="PATH", help="Apache's control script (default: this host's)")
    parser.add_argument("--pid-file", metavar="PATH", help="Apache's pid file (default: as Apache says)")
    parser.add_argument("--unit", metavar="NAME", help="Apache's unit of systemd's (default: this host's)")
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there, instead of stdout")
    group = parser.add_argument_group("with --for mod_python")
    group.add_argument(
        "--directory", dest="module_directory", metavar="D", help="write the modules that go with it to D"
    )
    group.add_argument("--app", metavar="MODULE", help="deploy this TurboGears 1 application as well")
    group.add_argument("--location", metavar="PATH", help="where it is served (default: /MODULE)")
    group.add_argument("--app-config", metavar="FILE", help="its configuration, such as prod.cfg")


def _status(commands: _Commands) -> None:
    parser = _command(commands, "status", "say what is in the egg cache DIR, for whom, and whether it is current")
    parser.add_argument("directory", metavar="DIR", help="the egg cache")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def _remove(commands: _Commands) -> None:
    parser = _command(commands, "remove", "take away the egg cache DIR, which prepare made, and nothing else")
    parser.add_argument("directory", metavar="DIR", help="the egg cache")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    _writing_options(parser)


def _wheels(commands: _Commands) -> None:
    parser = _command(commands, "wheels", "write each egg of the tree, zipped or not, into OUT as a wheel")
    parser.add_argument("directory", metavar="OUT", help="where the wheels go: made where it is missing")
    _target_options(parser)
    _limit_option(parser)
    _writing_options(parser)


_COMMANDS = {
    "tree": _tree,
    "unzip-all": _unzip_all,
    "prepare": _prepare,
    "check": _check,
    "wrapper": _wrapper,
    "status": _status,
    "remove": _remove,
    "wheels": _wheels,
}


def _command(commands: _Commands, name: str, summary: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}{'' if summary[-1] == '?' else '.'}"
    )
    parser.set_defaults(command=name, parser=parser, limits=[], dry_run=False, allow_gap=False)
    _loudness(parser, quiet=argparse.SUPPRESS, verbose=argparse.SUPPRESS)  # what stands before the command holds
    return parser


def _loudness(parser: argparse.ArgumentParser, *, quiet: object, verbose: object) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", default=quiet, help="errors only, and no results")
    parser.add_argument(
        "-v", "--verbose", action="count", default=verbose, help="more detail; -vv: all that is known of a failure"
    )


def _target_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("requirements", metavar="REQ", nargs="*", help="root of the tree (default: TurboGears)")
    group = parser.add_argument_group("the target")
    group.add_argument(
        "--python",
        metavar="PATH",
        help="the Python whose eggs are meant (default: $EGGCACHE_PYTHON, an active virtualenv, this one)",
    )
    group.add_argument(
        "--path",
        metavar="DIR",
        action="append",
        default=[],
        help="put DIR on its path, as PythonPath does (repeatable)",
    )
    group.add_argument("--all", action="store_true", help="every distribution on its path instead of a tree")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def _runtime_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("who reads the cache")
    group.add_argument("--user", metavar="NAME", help="the user Apache runs as (default: as this host's Apache says)")
    group.add_argument("--group", metavar="NAME", help="its group (default: the user's; 0 where it has none)")
    group.add_argument("--tz", metavar="ZONE", help="the TZ that Apache runs with (default: this process's)")


def _limit_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", dest="limits", metavar="NAME=N", action="append", default=[],
        help="how much an egg may unpack to before it counts as a bomb: entries=N, member=SIZE, total=SIZE (bytes, or "
        "with k, M or G), ratio=N (repeatable)",
    )  # fmt: skip


def _gap_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-gap", action="store_true",
        help="where two names cannot be exchanged at once, let the egg be missing for a moment",
    )  # fmt: skip


def _writing_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be done, and write nothing")
    parser.add_argument("--wait", metavar="S", type=float, default=120.0, help="seconds to wait for another run (120)")


def roots(options: argparse.Namespace) -> Roots:
    if options.all and options.requirements:
        raise UsageError(
            "--all", f"it means every distribution, so {options.requirements[0]} says too much", "drop one"
        )
    return EVERYTHING if options.all else Roots(options.requirements) if options.requirements else TURBOGEARS


def paths(options: argparse.Namespace) -> tuple[str, ...]:
    return tuple(os.path.abspath(path) for path in options.path)


def served(options: argparse.Namespace) -> tuple[Target, list[str]]:
    """The target as a server runs it, and what is to be said of who that is taken to be."""
    python = interpreter.find(options.python)
    account, group, notes = runtime(options)
    return Target(python, paths(options), account, group, timezone(options)), notes


def owned(options: argparse.Namespace) -> Target:
    """The target as whoever decides what it runs may run it: see owners.runner."""
    from eggcache.target import owners

    python = interpreter.find(options.python)
    return Target(python, paths(options), owners.runner(python, paths(options)))


def run(options: argparse.Namespace, watcher: Progress) -> Run:
    from eggcache.model import Limits, Run

    return Run(Limits(**limits(options)), options.wait, options.dry_run, options.allow_gap, watcher)


def doubts(options: argparse.Namespace) -> list[str]:
    """What the options name and this host does not have. No error: a wrapper may be for what is yet to come."""
    named = {"--path": getattr(options, "path", []), "--apachectl": [getattr(options, "apachectl", None)]}
    missing = [f"{name} {path}" for name, paths in named.items() for path in paths if path and not os.path.exists(path)]
    return [f"{each}: there is nothing of that name" for each in missing]


def limits(options: argparse.Namespace) -> dict[str, int]:
    """What an egg may ask for, as far as --limit says: fields of model.Limits. Sizes are in bytes, k is 1,024."""
    wanted = {}
    for word in options.limits:
        name, _, text = word.partition("=")
        number = re.fullmatch(r"([0-9]{1,18})([kMG]?)" if name in ("member", "total") else r"([0-9]{1,18})()", text)
        if name not in _HIGHEST or number is None or not int(number[1]):
            raise UsageError(
                f"--limit {word}", "it is no limit", "write entries=N, ratio=N, member=SIZE or total=SIZE, as total=6G"
            )
        wanted[name] = int(number[1]) << {"": 0, "k": 10, "M": 20, "G": 30}[number[2]]
        if wanted[name] > _HIGHEST[name]:
            raise UsageError(f"--limit {word}", "no egg can have that much", f"say {_HIGHEST[name]} at most")
    return wanted


def timezone(options: argparse.Namespace) -> str | None:
    """The TZ to reckon in. One that does not exist would silently be UTC."""
    name: str | None = os.environ.get("TZ") if options.tz is None else options.tz
    known = "/usr/share/zoneinfo"
    if name and os.path.isdir(known):
        plain = name[1:] if name.startswith(":") else name
        posix = any(c.isdigit() or c == "<" for c in plain)  # "CET-1CEST"
        found = _is_zone(os.path.join(known, plain))
        if not found and not (posix and found is None):
            asked = f"TZ={name} in the environment" if options.tz is None else f"--tz {name}"
            cause = f"there is no such time zone in {known}" if found is None else "that file is no time zone"
            raise UsageError(asked, cause, "name one with --tz, as Europe/Madrid")
    return name


def _is_zone(file: str) -> bool | None:
    """Whether it begins as tzfile(5) does; None: there is no such file. The C library takes any other one for UTC."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        return os.read(descriptor, 4) == b"TZif"
    except IsADirectoryError:
        return None
    finally:
        os.close(descriptor)


def runtime(options: argparse.Namespace) -> tuple[accounts.Account, int | None, list[str]]:
    """Who will read the cache, the group that may (None: everybody), and what is to be said about that."""
    if os.geteuid() != 0:
        mine = accounts.current()
        if options.user and accounts.named(options.user).uid != mine.uid:
            raise NotPermitted(f"--user {options.user}", "only root can act for another user", "run it as root")
        if options.group and accounts.group(options.group) != mine.gid:
            raise NotPermitted(f"--group {options.group}", "only root can give a cache to a group", "run it as root")
        return mine, None, []
    user, group = options.user, options.group
    if not user:
        from eggcache.servers import apache

        host = apache.read()
        user, group = host.user, group or host.group
    account = accounts.named(user or "nobody", "--user" if options.user else "Apache's User")
    if group:
        account = account._replace(gid=accounts.group(group, "--group" if options.group else "Apache's Group"))
    if user or group:
        return account, account.gid, []
    note = "there is no Apache on this host and no --user: the cache is root's, and readable by all"
    return account, None, [note]
