"""The command `unzip-all`, which acts as the owner of the target's site-packages.

What is needed after the target has been asked is imported while the target works.
"""

from __future__ import annotations

import os

from eggcache.cli import arguments, console
from eggcache.errors import Ended, UsageError
from eggcache.system import accounts, orphan_processes
from eggcache.target import code_owners, launch

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    import argparse

    from eggcache import progress
    from eggcache.servers.affected_processes import Users
    from eggcache.system.accounts import Account
    from eggcache.target.interpreter import Roots, Target
    from eggcache.target.launch import Launch


def run(options: argparse.Namespace) -> int:
    accounts.need_proc()
    arguments.doubt(options)
    os.umask(0o077)
    if options.undo and not options.backup:
        raise UsageError("--undo", "it takes the zips from the directory that kept them", "name it: --backup DIR")
    python = arguments.python(options)
    users = None
    if os.geteuid() == 0:
        owner = code_owners.site_owner(python)
        if owner.uid != 0:
            users = _users(python, options)  # he may not look into other users' processes
            _load(options)
            status = _in_child_as(owner)
            if status is not None:
                return status
    target, roots = arguments.owner_target(options), arguments.roots(options)
    with launch.probe(target, roots) as launched:
        return _unzip(options, target, roots, launched, users)


def _unzip(options: argparse.Namespace, target: Target, roots: Roots, launched: Launch, users: Users | None) -> int:
    from eggcache.unzip import restoration, unzipping
    from eggcache.unzip.announcement import Notice

    with _progress(options) as watcher:

        def warn(line: str) -> None:
            watcher.close()
            console.warn(line, options)

        act = restoration.undo if options.undo else unzipping.unzip_all
        run, notice = arguments.run(options, watcher), Notice(users, warn)
        result = act(target, roots, run, backup=options.backup, notice=notice, launched=launched)
    return console.present(result, options)


def _progress(options: argparse.Namespace) -> progress.Progress:
    from eggcache import progress

    return progress.watched(options.quiet, options.verbose > 0)


def _users(python: str, options: argparse.Namespace) -> Users:
    from eggcache.servers import affected_processes
    from eggcache.unzip import unzipping

    places = [*code_owners.site_directories(python), *unzipping.directories_of(arguments.paths(options))]
    return affected_processes.users(python, places)


def _load(options: argparse.Namespace) -> None:
    """Load all that may be needed: the owner of the target's site-packages may be unable to read where we are
    installed."""
    import fcntl, pickle, re, traceback, unicodedata  # noqa: E401, F401, I001
    from eggcache.cli.render import report  # noqa: F401
    from eggcache.system import locks, waiting  # noqa: F401
    from eggcache.unzip import restoration  # noqa: F401

    for script in ("probe.py", "compile.py"):
        launch.compose(script, None)
    _progress(options).load()


def _in_child_as(account: Account) -> int | None:
    """Fork; in the child, become `account` for good and return None; in the parent, the child's exit status."""
    with accounts.acting(account):
        pass  # or the error that names who root cannot become
    child = os.fork()
    if not child:
        accounts.become(account)
        return None

    with orphan_processes.cleanup(account.uid):
        while True:
            try:
                _, status = os.waitpid(child, 0)
                break
            except Ended as signal_error:  # the child cleans up; we say how it ended
                os.kill(child, signal_error.number)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
