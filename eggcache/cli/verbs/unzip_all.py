"""The command `unzip-all`, which acts as the owner of the target's site-packages."""

from __future__ import annotations

import argparse
import os

from eggcache import progress
from eggcache.cli import arguments, console
from eggcache.errors import Ended, UsageError
from eggcache.servers import affected_processes
from eggcache.system import accounts, orphan_processes
from eggcache.system.accounts import Account
from eggcache.target import code_owners, launch
from eggcache.unzip import unzipping


def run(options: argparse.Namespace) -> int:
    accounts.need_proc()
    arguments.doubt(options)
    os.umask(0o077)
    if options.undo and not options.backup:
        raise UsageError("--undo", "it takes the zips from the directory that kept them", "name it: --backup DIR")
    python = arguments.python(options)
    users, watcher = None, progress.watched(options.quiet, options.verbose > 0)
    if os.geteuid() == 0:
        owner = code_owners.site_owner(python)
        if owner.uid != 0:
            # He may not look into other users' processes
            places = [*code_owners.site_directories(python), *unzipping.directories_of(arguments.paths(options))]
            users = affected_processes.users(python, places)
            _load(watcher)
            status = _in_child_as(owner)
            if status is not None:
                return status
    with watcher:

        def warn(line: str) -> None:
            watcher.close()
            console.warn(line, options)

        target, roots, run = arguments.owner_target(options), arguments.roots(options), arguments.run(options, watcher)
        if options.undo:
            from eggcache.unzip import restoration

            act = restoration.undo
        else:
            act = unzipping.unzip_all
        result = act(target, roots, run, backup=options.backup, users=users, warn=warn)
    return console.present(result, options)


def _load(watcher: progress.Progress) -> None:
    """Load all that may be needed: the owner of the target's site-packages may be unable to read where we are
    installed."""
    import fcntl, pickle, re, traceback, unicodedata  # noqa: E401, F401, I001
    from eggcache.cli.render import report  # noqa: F401
    from eggcache.system import locks, waiting  # noqa: F401
    from eggcache.unzip import restoration  # noqa: F401

    for script in ("probe.py", "compile.py"):
        launch.compose(script, None)
    watcher.load()


def _in_child_as(account: Account) -> int | None:
    """Fork; in the child, become `account` for good and return None; in the parent, the child's exit status."""
    with accounts.acting(account):
        pass  # or the error that names who root cannot become
    child = os.fork()
    if not child:
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        return None

    with orphan_processes.cleanup(account.uid):
        while True:
            try:
                _, status = os.waitpid(child, 0)
                break
            except Ended as signal_error:  # the child cleans up; we say how it ended
                os.kill(child, signal_error.number)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
