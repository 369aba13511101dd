"""The options of each command: `add` builds them, of the one command that was typed.

What a command does, and all that it needs for that, is in its module of `verbs`: a help loads none of it.
"""

from __future__ import annotations

import argparse

from eggcache.system.safe_dirs import VERIFIER
from eggcache.target.interpreter import ELSEWHERE

WRAPPERS = (  # as the help has them; a test compares with kinds.KINDS
    "apachectl", "init.d", "systemd", "envvars", "sysconfig", "freebsd", "mod_python", "mod_wsgi", "trac", "tmpfiles.d",
    "supervisord", "uwsgi", "gunicorn", "docker", "shell",
)  # fmt: skip
_SERVERS = ("apache", "gunicorn", "uwsgi", "supervisord", "none")  # of check --server: see Application


def add(command: str, parser: argparse.ArgumentParser) -> None:
    """Add to `parser` what a command line of `command` may say after it."""
    _OPTIONS[command](parser)


def _tree(parser: argparse.ArgumentParser) -> None:
    _target(parser)
    parser.add_argument(
        "--format", metavar="FORM", choices=("text", "json", "dot", "mermaid"), default="text",
        help="text (the default), json, dot or mermaid",
    )  # fmt: skip
    parser.add_argument("--reverse", action="store_true", help="what needs REQ, anywhere on the path")
    parser.add_argument("--depth", metavar="N", type=int, help="no more than N steps from REQ (0: REQ alone)")
    parser.add_argument("--duplicates", action="store_true", help="what is on the path more than once")
    parser.add_argument("--cache", metavar="DIR", help="say what is prepared in DIR (default: $PYTHON_EGG_CACHE)")


def _unzip_all(parser: argparse.ArgumentParser) -> None:
    _target(parser)
    parser.add_argument("--backup", metavar="DIR", help="keep each zip in DIR")
    parser.add_argument("--undo", action="store_true", help="put the zips that --backup DIR kept back in their places")
    _limit(parser)
    _gap(parser)
    _writing(parser)


def _prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="what PYTHON_EGG_CACHE will name")
    _target(parser)
    _runtime(parser)
    _limit(parser)
    parser.add_argument("--prune", action="store_true", help="remove what no tree prepared in DIR needs any more")
    parser.add_argument("--reset", action="store_true", help="move an unsafe DIR aside and build it anew")
    parser.add_argument(
        "--lenient",
        action="store_true",
        help="exit 0 for what is wrong with eggs, requirements, or whom DIR serves: Apache starts as it did before",
    )
    _gap(parser)
    _writing(parser)


def _check(parser: argparse.ArgumentParser) -> None:
    _proof(parser)
    _json(parser)
    parser.add_argument(
        "--ignore", metavar="CODE[:THING]", action="append", default=[],
        help="a finding that shall not count: any of that code, or of that thing alone (repeatable); it is listed",
    )  # fmt: skip


def _wrapper(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the egg cache")
    _target(parser)
    _runtime(parser)
    _limit(parser)
    kinds = ", ".join(WRAPPERS)
    parser.add_argument("--for", dest="kind", metavar="KIND", help=f"one of {kinds} (default: what this host needs)")
    parser.add_argument("--apachectl", metavar="PATH", help="Apache's control script (default: this host's)")
    parser.add_argument("--pid-file", metavar="PATH", help="Apache's pid file (default: as Apache says)")
    parser.add_argument("--unit", metavar="NAME", help="Apache's unit of systemd's (default: this host's)")
    parser.add_argument(
        "--prepared-elsewhere",
        action="store_true",
        help="for a host without eggcache, where the cache comes in an archive: it prepares nothing, and nothing that "
        "is true of this host is in it",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there, instead of stdout")
    parser.add_argument("-n", "--dry-run", action="store_true", help="print what -o would write, and write nothing")
    group = parser.add_argument_group("with --for mod_python")
    group.add_argument(
        "--directory", dest="module_directory", metavar="D", help="write the modules that go with it to D"
    )
    group.add_argument("--app", metavar="MODULE", help="deploy this TurboGears 1 application as well")
    group.add_argument("--location", metavar="PATH", help="where it is served (default: /MODULE)")
    group.add_argument("--app-config", metavar="FILE", help="its configuration, such as prod.cfg")


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", nargs="?", help="the egg cache (default: $PYTHON_EGG_CACHE)")
    _json(parser)


def _remove(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the egg cache")
    _json(parser)
    _writing(parser)


def _wheels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="OUT", help="where the wheels go: made where it is missing")
    _target(parser)
    _limit(parser)
    _writing(parser)


def _archive(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the archive, as cache.tar or cache.tar.gz; - for standard output")
    _target(parser)
    group = parser.add_argument_group("the host")
    group.add_argument(
        "--cache", metavar="DIR", default=ELSEWHERE, help=f"what PYTHON_EGG_CACHE names there ({ELSEWHERE})"
    )
    group.add_argument(
        "--group", metavar="NAME", help="the group that alone may read it, by its number there (default: everybody may)"
    )
    group.add_argument("--user", metavar="NAME", help="who reads the eggs here; without --group its group is meant")
    group.add_argument("--tz", metavar="ZONE", help="the TZ that Apache runs with there (default: this process's)")
    group.add_argument(
        "--unzipped",
        action="store_true",
        help="in place of a cache: the eggs as directories, and a shell script that exchanges the zips there for them",
    )
    group.add_argument(
        "--site-packages",
        metavar="DIR",
        help="with --unzipped: where the eggs lie on the host (default: the same directory as here)",
    )
    group = parser.add_argument_group("without a target")
    group.add_argument(
        "--eggs-in",
        metavar="DIR",
        action="append",
        default=[],
        help="all eggs that lie in DIR, whatever Python they are for (repeatable)",
    )
    group.add_argument("--for-python", metavar="VERSION", help="the version of the host's Python, as 2.4")
    group.add_argument("--for-setuptools", metavar="VERSION", help="the version of its setuptools, as 0.6c11")
    parser.add_argument(
        "--verifier",
        metavar="FILE.py",
        help=f"write there as well what proves the cache on the host; in the archive it is {VERIFIER}",
    )
    _limit(parser)
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be done, and write nothing")


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", help="write the page there, instead of stdout")
    _proof(parser)


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("codes", metavar="CODE", nargs="*", help="what a message has in brackets; none: all are listed")
    _json(parser)


def _proof(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is to be checked, and how."""
    _target(parser, json=False)
    _runtime(parser)
    _limit(parser)
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="the egg cache; `check DIR` means it too, where DIR has a / in it (default: $PYTHON_EGG_CACHE)",
    )
    imports = parser.add_mutually_exclusive_group()
    imports.add_argument(
        "--import", dest="imports", metavar="MODULE", action="append", default=[],
        help="a module that has to import, such as the application (repeatable)",
    )  # fmt: skip
    imports.add_argument("--no-import", action="store_true", help="import nothing, not even the modules of the roots")
    parser.add_argument(
        "--script", dest="scripts", metavar="FILE", action="append", default=[],
        help="the application's .wsgi script, gunicorn's configuration or uWSGI's ini file (repeatable; default: those "
        "of Apache's configuration, and of what runs); it is not run",
    )  # fmt: skip
    parser.add_argument(
        "--server", choices=_SERVERS, metavar="KIND",
        help=f"what runs the application: one of {', '.join(_SERVERS)} (default: found by looking)",
    )  # fmt: skip
    parser.add_argument("--app-config", metavar="FILE", help="the application's TurboGears configuration")
    parser.add_argument(
        "--apachectl", metavar="PATH", help="the program that tells Apache's configuration (default: this host's)"
    )
    parser.add_argument(
        "--pid-file", metavar="FILE", help="Apache's: of all that run, the one with the number in it (default: all)"
    )
    parser.add_argument("--location", metavar="PATH", help="where Apache serves the application (default: unknown)")
    parser.add_argument("--wait", metavar="S", type=float, default=120.0, help="seconds to wait for a prepare (120)")


def _target(parser: argparse.ArgumentParser, *, json: bool = True) -> None:
    """Add the options of commands that have a target: which Python, what is on its path, which tree; and --json."""
    parser.add_argument(
        "requirements", metavar="REQ", nargs="*",
        help="root of the tree, as your application (default: everything that the target can import)",
    )  # fmt: skip
    group = parser.add_argument_group("the target")
    group.add_argument(
        "--python",
        metavar="PATH",
        help="the Python whose eggs are meant, or its directory (default: $EGGCACHE_PYTHON, an active "
        "virtualenv, what the cache is for; this one only where eggs or your application are installed in it)",
    )
    group.add_argument(
        "--path",
        metavar="DIR",
        action="append",
        default=[],
        help="put DIR on its path, as PythonPath does (repeatable)",
    )
    group.add_argument(
        "--path-from",
        metavar="SCRIPT",
        action="stands-for-more",
        help="put the eggs on its path that SCRIPT lists, which buildout generated (repeatable)",
    )
    group.add_argument(
        "--trac-env",
        metavar="DIR",
        action="stands-for-more",
        help="put the directories on its path that this Trac environment takes plugins from (repeatable)",
    )
    group.add_argument(
        "--strict-tree", action="store_true", help="what REQ declares alone, without extras that happen to be installed"
    )
    group.add_argument(
        "--all", action="store_true", help="as without REQ, and name what any distribution on its path lacks"
    )
    if json:
        _json(parser)


def _json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`, which every command has; what stands before the command holds."""
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="the result as JSON")


def _runtime(parser: argparse.ArgumentParser) -> None:
    """Add the options that say who reads the cache, and in which time zone."""
    group = parser.add_argument_group("who reads the cache")
    group.add_argument(
        "--user",
        metavar="NAME",
        help="the user Apache runs as (default: what the cache is for, else as this host's Apache says)",
    )
    group.add_argument("--group", metavar="NAME", help="its group (default: the user's; 0 where it has none)")
    group.add_argument(
        "--tz",
        metavar="ZONE",
        help="the TZ that Apache runs with (default: what the cache is for, else this process's)",
    )


def _limit(parser: argparse.ArgumentParser) -> None:
    """Add `--limit`, which `arguments.limits` reads."""
    parser.add_argument(
        "--limit", dest="limits", metavar="NAME=N", action="append", default=[],
        help="how much an egg may unpack to before it counts as a bomb: entries=N, member=SIZE, total=SIZE (bytes, or "
        "with k, M or G), ratio=N (repeatable)",
    )  # fmt: skip


def _gap(parser: argparse.ArgumentParser) -> None:
    """Add `--allow-gap`, for commands that exchange what a server uses."""
    parser.add_argument(
        "--allow-gap", action="store_true",
        help="where two names cannot be exchanged at once, let the egg be missing for a moment",
    )  # fmt: skip


def _writing(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that write, under a lock."""
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be done, and write nothing")
    parser.add_argument("--wait", metavar="S", type=float, default=120.0, help="seconds to wait for another run (120)")


_OPTIONS = {
    "tree": _tree,
    "unzip-all": _unzip_all,
    "prepare": _prepare,
    "check": _check,
    "wrapper": _wrapper,
    "status": _status,
    "remove": _remove,
    "wheels": _wheels,
    "archive": _archive,
    "report": _report,
    "explain": _explain,
}
