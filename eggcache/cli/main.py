"""The entry point: it parses the command line, runs the command, and ends with its exit status.

Results go to stdout, messages to stderr. What a command needs is imported when it runs: `prepare` runs at
every start of Apache, and mostly finds that nothing has to be done.
"""

from __future__ import annotations

import argparse
import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from eggcache.cache import freshness
from eggcache.cli import arguments, console
from eggcache.errors import EggcacheError, NotPermitted, UsageError
from eggcache.system import accounts
from eggcache.target import interpreter

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    from typing import NoReturn

    from eggcache.system.accounts import Account
    from eggcache.target.interpreter import Roots, Target
    from eggcache.target.launch import Launch


class _Ended(BaseException):
    """A signal asked us to end. Not an Exception, so that nothing but the clean-up is done on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line `words` (default: the process's) and return the exit status."""
    console.open_streams()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, nobody learns how a child ended
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish stands
            signal.signal(number, _end)
    verbose, options = 0, argparse.Namespace()
    try:
        options = arguments.parse(words)
        verbose = options.verbose
        if options.command != "prepare":  # which says nothing where nothing has changed
            _doubt(options)
        status = _COMMANDS[options.command](options)
        sys.stdout.flush()
    except EggcacheError as error:
        if verbose > 1:
            console.trace(error)
        if not getattr(options, "lenient", False):
            return console.complain(error, error.status)
        return _starting(console.complain(error, error.status if error.lenient is None else error.lenient), options)
    except _Ended as ended:
        return 128 + ended.number
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (Python flushes stdout at exit)
        return 128 + signal.SIGPIPE
    except Exception as error:
        if verbose > 1:
            console.trace(error)
        return _starting(console.complain(_explained(error), 1), options)
    return status


def program() -> NoReturn:
    """The command: `main`, and the end of the process. What Python would tear down is gone with it anyhow, and that
    takes longer than a run with nothing to do spends on its work."""
    gc.set_threshold(100_000, 50, 50)  # nearly all that it would look at lasts until the end
    status = main()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is over: there is nothing left to clean up
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _explained(error: Exception) -> str:
    """What to say of an error that no module expects: it may be the place that we are run in."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the working directory: it has been removed; run it from another one: cd /"
    full = error if isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename else None
    try:
        sys.stdout.flush()  # of what was too much for its buffer, nothing is left there
    except OSError as again:
        full = again
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
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not end the clean-up
    raise _Ended(number)


# ------------------------------------------------------------------------------------------------ commands


def _doubt(options: argparse.Namespace) -> None:
    if options.command in ("prepare", "check", "unzip-all", "wheels", "remove"):
        accounts.need_proc()
    for line in arguments.doubts(options):
        console.warn(line, options)


def _tree(options: argparse.Namespace) -> int:
    from eggcache.cli import views

    return views.tree(options)


def _prepare(options: argparse.Namespace) -> int:
    os.umask(0o077)
    target, notes = arguments.served(options)
    roots, limits = arguments.roots(options), arguments.limits(options)
    directory, held = os.path.abspath(options.directory), None
    try:
        held = freshness.standing(directory, freshness.key(target, roots), freshness.asked(target, limits))
    except NotPermitted:
        from eggcache.system import safe_dirs

        if safe_dirs.only_roots(directory):
            from eggcache.target import launch

            with launch.probe(target, roots) as launched:
                return _verify(options, target, roots, launched)
        if not options.reset:
            raise
    if held is not None:
        more = options.prune or options.json or options.verbose  # to do, or to say
        if not more and console.silent(((one["code"], one["status"]) for one in held["findings"]), options):
            return 0
        return _prepare_anew(options, target, roots, notes, None)
    from eggcache.target import launch

    # Before anything else: it takes longer than to load all that is left of us
    with launch.probe(target, roots) as launched:
        return _prepare_anew(options, target, roots, notes, launched)


def _verify(options: argparse.Namespace, target: Target, roots: Roots, launched: Launch) -> int:
    from eggcache import progress
    from eggcache.proof import readonly

    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        run = arguments.run(options, watcher)
        done = readonly.verify(os.path.abspath(options.directory), target, roots, run, launched=launched)
    return console.present(done, options, lenient=options.lenient)


def _prepare_anew(
    options: argparse.Namespace, target: Target, roots: Roots, notes: Sequence[str], launched: Launch | None
) -> int:
    from dataclasses import replace

    from eggcache import progress
    from eggcache.cache.preparation import Preparation
    from eggcache.cli import following

    _doubt(options)
    directory = os.path.abspath(options.directory)
    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        run = arguments.run(options, watcher)
        preparation = Preparation(directory, target, roots, run, reset=options.reset, prune=options.prune)
        done = preparation.report(launched)
    if not done.unchanged:
        from eggcache.servers import apache

        hidden = apache.hides(apache.read(), directory) if apache.in_tmp(directory) else None
        done = replace(done, notes=(*notes, *done.notes, *([str(hidden)] if hidden else ())))
    return console.present(done, options, lenient=options.lenient, following=following.wrapper(options))


def _unzip_all(options: argparse.Namespace) -> int:
    # All that will be needed: the owner of the target's site-packages may be unable to read where we are installed.
    import fcntl, pickle, traceback  # noqa: E401, F401, I001

    from eggcache import progress
    from eggcache.cli.render import report  # noqa: F401
    from eggcache.system import locks  # noqa: F401
    from eggcache.target import launch, owners
    from eggcache.unzip import processes, restoration, unzipping

    os.umask(0o077)
    if options.undo and not options.backup:
        raise UsageError("--undo", "it takes the zips from the directory that kept them", "name it with --backup DIR")
    python = interpreter.find(options.python)
    for script in ("probe.py", "compile.py"):
        launch.compose(script, None)
    users, watcher = None, progress.watched(options.quiet, options.verbose > 0)
    if os.geteuid() == 0:
        owner = owners.site_owner(python)
        if owner.uid != 0:
            # He may not look into other users' processes
            places = [*owners.site_directories(python), *unzipping.around(arguments.paths(options))]
            users = processes.users(python, places)
            watcher.load()
            status = _in_child_as(owner)
            if status is not None:
                return status
    act = restoration.undo if options.undo else unzipping.unzip_all
    with watcher:

        def warn(line: str) -> None:
            watcher.close()
            console.warn(line, options)

        target, roots, run = arguments.owned(options), arguments.roots(options), arguments.run(options, watcher)
        done = act(target, roots, run, backup=options.backup, users=users, warn=warn)
    return console.present(done, options)


def _check(options: argparse.Namespace) -> int:
    from eggcache import progress
    from eggcache.cli.render import findings_table, report
    from eggcache.proof import checking
    from eggcache.proof.application import Application
    from eggcache.servers import environments

    target, notes = arguments.served(options)
    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        done = checking.check(
            options.cache or environments.inherited(),
            target,
            arguments.roots(options),
            arguments.run(options, watcher),
            imports=options.imports,
            application=Application(options.app_config, options.location) if options.app_config else None,
        )
    for note in (*(f"{note}, so this is checked as {target.account.name}" for note in notes), *done.notes):
        console.warn(note, options)
    if options.json:
        print(report.as_json(report.report_json(done)))
    elif not options.quiet:
        for line in findings_table.lines(done, target.account, verbose=options.verbose > 0, width=console.width()):
            print(console.one_line(line))
    return max((finding.status for finding in done.findings), default=0)


def _wrapper(options: argparse.Namespace) -> int:
    from eggcache.cli import emission

    return emission.emit(options)


def _status(options: argparse.Namespace) -> int:
    from eggcache.cli import views

    return views.status(options)


def _remove(options: argparse.Namespace) -> int:
    from eggcache import progress
    from eggcache.cache import removal

    os.umask(0o077)
    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        done = removal.remove(options.directory, arguments.run(options, watcher))
    return console.present(done, options)


def _wheels(options: argparse.Namespace) -> int:
    from eggcache import progress
    from eggcache.cli import following
    from eggcache.wheelhouse import wheelhouse

    os.umask(0o077)
    target = arguments.owned(options)
    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        done = wheelhouse.wheels(options.directory, target, arguments.roots(options), arguments.run(options, watcher))
    return console.present(done, options, following=following.install(done, target.python, _installer(target.python)))


def _installer(python: str) -> str:
    """Whom to run the pip of an environment as, "" for whoever we are."""
    from eggcache.errors import NotPermitted
    from eggcache.target import owners

    try:
        account = owners.site_owner(python)
    except NotPermitted:  # several may change it, and root is to be none of them
        return "the user who installs there"
    return account.name if account.uid != os.geteuid() else ""


def _in_child_as(account: Account) -> int | None:
    """Fork; in the child, become `account` for good and return None; in the parent, the child's exit status."""
    from eggcache.system import orphans

    with accounts.acting(account):
        pass  # or the error that names who root cannot become
    child = os.fork()
    if not child:
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        return None

    with orphans.ended(account.uid):
        while True:
            try:
                _, status = os.waitpid(child, 0)
                break
            except _Ended as ended:  # the child cleans up; we say how it ended
                os.kill(child, ended.number)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _version(options: argparse.Namespace) -> int:
    from eggcache.cli import version

    for line in version.lines(verbose=options.verbose > 0):
        print(console.one_line(line))
    return 0


_COMMANDS = {
    "version": _version,
    "tree": _tree,
    "unzip-all": _unzip_all,
    "prepare": _prepare,
    "check": _check,
    "wrapper": _wrapper,
    "status": _status,
    "remove": _remove,
    "wheels": _wheels,
}
