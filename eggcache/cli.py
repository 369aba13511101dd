"""The command line: commands, options, streams, exit status.

Results go to stdout, messages to stderr. What a command needs is imported when it runs: `prepare` runs at
every start of Apache, and mostly finds that nothing has to be done.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NoReturn

from eggcache import __version__, accounts
from eggcache.errors import EggcacheError, NotPermitted, UsageError
from eggcache.model import Account, Finding, Report

DEFAULT = ("TurboGears",)
_ORDER = (4, 1, 5, 3)  # which status wins where several apply
_LENIENT = (3, 5)  # what must not keep a site down that worked before


class _Ended(BaseException):
    """A signal asked us to end. Not an Exception, so that nothing but the clean-up is done on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(self.prog, message, f"see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: the process's) and return the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish stands
            signal.signal(number, _end)
    verbose = False
    try:
        options = _parse(arguments)
        verbose = options.verbose > 0
        status: int = options.run(options)
        sys.stdout.flush()
    except EggcacheError as error:
        if verbose and error.__cause__:
            traceback.print_exception(type(error), error, error.__traceback__)
        return _complain(error, error.status)
    except _Ended as ended:
        return 128 + ended.number
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (Python flushes stdout at exit)
        return 128 + signal.SIGPIPE
    except Exception as error:
        if verbose:
            traceback.print_exc()
        return _complain(f"{type(error).__name__}: {error}; run it with -v and report what it says", 1)
    return status


def _end(number: int, _frame: object) -> None:
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not end the clean-up
    raise _Ended(number)


def _complain(message: object, status: int) -> int:
    print(f"eggcache: {_one_line(str(message))}", file=sys.stderr)
    return status


def _one_line(text: str) -> str:
    """Fit for a terminal and a log: names in messages come from eggs and from the target."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# ------------------------------------------------------------------------------------------------ commands


def _tree(options: argparse.Namespace) -> int:
    from eggcache import owners, report, resolver, target

    python = target.find(options.python)
    tree = resolver.resolve(
        python,
        _requirements(options),
        paths=_paths(options),
        everything=options.all,
        account=owners.runner(python, _paths(options)),
    )
    findings = resolver.findings(tree)
    if options.json:
        print(report.as_json(report.tree_json(tree)))
    elif not options.quiet:
        for line in report.draw_tree(tree):
            print(_one_line(line))
    return _conclude(findings, options)


def _prepare(options: argparse.Namespace) -> int:
    from eggcache import cache, target

    os.umask(0o077)
    python = target.find(options.python)
    account, gid, notes = _runtime(options)
    done = cache.prepare(
        options.directory,
        _requirements(options),
        python=python,
        account=account,
        gid=gid,
        paths=_paths(options),
        everything=options.all,
        timezone=_timezone(options),
        wait=options.wait,
        reset=options.reset,
        prune=options.prune,
        dry_run=options.dry_run,
    )
    if not done.unchanged:
        from eggcache import apache

        hidden = apache.hides(apache.read(), os.path.abspath(options.directory))
        done = replace(done, notes=(*notes, *done.notes, *([str(hidden)] if hidden else ())))
    return _present(done, options, lenient=options.lenient)


def _unzip_all(options: argparse.Namespace) -> int:
    # All that will be needed: the owner of the target's site-packages may be unable to read where we are installed.
    from eggcache import owners, report, target, unzip  # noqa: F401

    os.umask(0o077)
    python = target.find(options.python)
    for script in ("probe.py", "compile.py"):
        target.compose(script, None)
    if os.geteuid() == 0:
        owner = owners.site_owner(python)
        if owner.uid != 0:
            status = _in_child_as(owner)
            if status is not None:
                return status
    done = unzip.unzip_all(
        _requirements(options),
        python=python,
        account=owners.runner(python, _paths(options)),
        paths=_paths(options),
        everything=options.all,
        backup=options.backup,
        wait=options.wait,
        dry_run=options.dry_run,
    )
    return _present(done, options)


def _wrapper(options: argparse.Namespace) -> int:
    from eggcache import apache, target, wrappers

    host = apache.read()
    if options.apachectl:
        host = replace(host, apachectl=options.apachectl, hands_over=apache.hands_over(options.apachectl))
    if not host.apachectl:
        raise UsageError("--apachectl", "there is no apachectl on this host", "say where Apache's control script is")
    directory = os.path.abspath(options.directory)
    timezone = _timezone(options)
    user, group = options.user or host.user, options.group or (None if options.user else host.group)
    command = [*_ourselves(), "prepare", directory, "--lenient", "--python", target.find(options.python)]
    for path in _paths(options):
        command += ["--path", path]
    if user:
        account = accounts.lookup(user)
        command += ["--user", user, "--group", group or str(account.gid)]
    elif group:
        command += ["--group", group]
    if timezone is not None:
        command += ["--tz", timezone]
    if _shared(os.path.dirname(directory)):
        command += ["--reset"]
    command += ["--all"] if options.all else ["--", *_requirements(options)]
    text = wrappers.wrapper(
        options.kind,
        directory,
        prepare=command,
        timezone=timezone,
        apachectl=host.apachectl,
        pid_file=options.pid_file or host.pid_file,
        unit=host.unit,
    )
    for finding in wrappers.warnings(options.kind, directory, host):
        _warn(str(finding), options)
    if options.output:
        wrappers.write(options.output, text)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(text))  # a path in it may be no UTF-8
    return 0


# ------------------------------------------------------------------------------------------------- options


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. argparse lets no REQ follow an option where DIR came before it, so what it leaves over is taken
    for what it is: an unknown option, or a REQ."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    for word in rest[: rest.index("--")] if "--" in rest else rest:
        if word.startswith("-") or "requirements" not in options:
            parser.error(f"unrecognized arguments: {word}")
    if rest:
        options.requirements = [*options.requirements, *(word for word in rest if word != "--")]
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="eggcache", description="Zipped Python eggs behind Apache: unzip them, or prepare their egg cache."
    )
    parser.add_argument("--version", action="version", version=f"eggcache {__version__}")
    parser.set_defaults(verbose=0)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    tree = _command(commands, "tree", _tree, "show the dependency tree: zipped, unzipped, missing, conflicting")
    _target_options(tree)

    unzip = _command(commands, "unzip-all", _unzip_all, "make each zipped egg of the tree an unzipped one, in place")
    _target_options(unzip)
    unzip.add_argument("--backup", metavar="DIR", help="keep each zip in DIR")
    _writing_options(unzip)

    prepare = _command(commands, "prepare", _prepare, "extract the tree's eggs into the egg cache DIR, locked down")
    prepare.add_argument("directory", metavar="DIR", help="what PYTHON_EGG_CACHE will name")
    _target_options(prepare)
    _runtime_options(prepare)
    prepare.add_argument("--prune", action="store_true", help="remove what no tree prepared in DIR needs any more")
    prepare.add_argument("--reset", action="store_true", help="move an unsafe DIR aside and build it anew")
    prepare.add_argument(
        "--lenient", action="store_true", help="exit 0 for what would exit 3 or 5: Apache starts as it did before"
    )
    _writing_options(prepare)

    wrapper = _command(commands, "wrapper", _wrapper, "print what starts Apache with the cache prepared and exported")
    wrapper.add_argument("directory", metavar="DIR", help="the egg cache")
    _target_options(wrapper)
    _runtime_options(wrapper)
    wrapper.add_argument("--for", dest="kind", metavar="KIND", required=True, help="apachectl or init.d")
    wrapper.add_argument("--apachectl", metavar="PATH", help="Apache's control script (default: this host's)")
    wrapper.add_argument("--pid-file", metavar="PATH", help="Apache's pid file (default: as Apache says)")
    wrapper.add_argument("-o", "--output", metavar="FILE", help="write it there, executable, instead of stdout")
    return parser


def _command(
    commands: argparse._SubParsersAction[_Parser], name: str, run: object, summary: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(run=run)
    parser.add_argument("-q", "--quiet", action="store_true", help="errors only")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="more detail")
    return parser


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
    group.add_argument("--group", metavar="NAME", help="its group (default: the user's)")
    group.add_argument("--tz", metavar="ZONE", help="the TZ that Apache runs with (default: this process's)")


def _writing_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be done, and write nothing")
    parser.add_argument("--wait", metavar="S", type=float, default=120.0, help="seconds to wait for another run (120)")


def _requirements(options: argparse.Namespace) -> tuple[str, ...]:
    if options.all and options.requirements:
        raise UsageError(
            "--all", f"it means every distribution, so {options.requirements[0]} says too much", "drop one"
        )
    return tuple(options.requirements) or (() if options.all else DEFAULT)


def _paths(options: argparse.Namespace) -> tuple[str, ...]:
    return tuple(os.path.abspath(path) for path in options.path)


def _timezone(options: argparse.Namespace) -> str | None:
    """The TZ to reckon in. One that does not exist would silently be UTC."""
    name: str | None = os.environ.get("TZ") if options.tz is None else options.tz
    known = "/usr/share/zoneinfo"
    if name and os.path.isdir(known):
        plain = name[1:] if name.startswith(":") else name
        posix = any(c.isdigit() or c == "<" for c in plain)  # "CET-1CEST"
        if not posix and not os.path.isfile(os.path.join(known, plain)):
            raise UsageError(f"--tz {name}", f"there is no such time zone in {known}", "name one, as Europe/Madrid")
    return name


def _runtime(options: argparse.Namespace) -> tuple[Account, int | None, list[str]]:
    """Who will read the cache, the group that may (None: everybody), and what is to be said about that."""
    if os.geteuid() != 0:
        account = accounts.current()
        if options.user and accounts.lookup(options.user).uid != account.uid:
            raise NotPermitted(f"--user {options.user}", "only root can act for another user", "run it as root")
        if options.group and accounts.group(options.group) != account.gid:
            raise NotPermitted(f"--group {options.group}", "only root can give a cache to a group", "run it as root")
        return account, None, []
    user, group = options.user, options.group
    if not user:
        from eggcache import apache

        host = apache.read()
        user, group = host.user, group or host.group
    if user:
        account = accounts.lookup(user)
        gid = accounts.group(group) if group else account.gid
        return replace(account, gid=gid), gid, []
    account = accounts.lookup("nobody")
    if group:
        gid = accounts.group(group)
        return replace(account, gid=gid), gid, []
    return account, None, ["there is no Apache on this host and no --user: the cache is root's, and readable by all"]


def _ourselves() -> list[str]:
    """The command that runs this program again, absolute."""
    import subprocess

    program = os.path.abspath(sys.argv[0])
    if os.path.basename(program) in ("eggcache", "eggcache.pyz") and os.path.exists(program):
        how = [program]
    else:
        how = ["-m", "eggcache"]
    # -I: root starts Apache, maybe with the PYTHONPATH of the application; nobody's modules shall stand in for ours.
    isolated = [sys.executable, "-I", *how]
    if subprocess.run([*isolated, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode:
        return how if len(how) == 1 else [sys.executable, *how]  # it is only found with the help of PYTHONPATH
    return isolated


def _shared(directory: str) -> bool:
    """Whether anybody can make something in `directory`."""
    try:
        return bool(os.stat(directory).st_mode & 0o002)
    except OSError:
        return False


def _in_child_as(account: Account) -> int | None:
    """Fork; in the child, become `account` for good and return None; in the parent, the child's exit status."""
    child = os.fork()
    if not child:
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        return None
    while True:
        try:
            _, status = os.waitpid(child, 0)
            break
        except _Ended as ended:  # the child cleans up; we say how it ended
            os.kill(child, ended.number)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


# ------------------------------------------------------------------------------------------------- results


def _present(done: Report, options: argparse.Namespace, *, lenient: bool = False) -> int:
    from eggcache import report

    quiet = done.unchanged and lenient  # an init script that had nothing to do says nothing
    for note in done.notes if not quiet else ():
        _warn(note, options)
    if options.json:
        print(report.as_json(report.report_json(done)))
    elif not options.quiet and not done.unchanged:
        for line in report.summary(done, verbose=options.verbose > 0):
            print(_one_line(line))
    findings = [finding for finding in done.findings if not quiet or finding.status not in (0, *_LENIENT)]
    return _conclude(findings, options, lenient=lenient)


def _conclude(findings: Iterable[Finding], options: argparse.Namespace, *, lenient: bool = False) -> int:
    """Print the findings, and return the status that they ask for."""
    asked = set()
    for finding in findings:
        asked.add(finding.status)
        if not options.quiet or finding.status in (1, 4):
            _say(f"{finding} [{finding.code}]")
        if options.verbose:
            for detail in finding.context:
                _warn(f"  {detail}", options)
    if lenient:
        asked -= set(_LENIENT)
    return next((status for status in _ORDER if status in asked), 0)


def _warn(text: str, options: argparse.Namespace) -> None:
    if not options.quiet:
        _say(text)


def _say(text: str) -> None:
    sys.stdout.flush()  # so that a log that takes both has them in order
    print(f"eggcache: {_one_line(text)}", file=sys.stderr)
