"""The command `wheels`."""

from __future__ import annotations

import argparse
import os
import shlex

from eggcache import progress
from eggcache.cli import arguments, console
from eggcache.errors import NotPermitted
from eggcache.model import Report
from eggcache.system import accounts
from eggcache.target import code_owners
from eggcache.wheelhouse import wheelhouse


def run(options: argparse.Namespace) -> int:
    accounts.need_proc()
    arguments.doubt(options)
    os.umask(0o077)
    target = arguments.owner_target(options)
    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        result = wheelhouse.wheels(options.directory, target, arguments.roots(options), arguments.run(options, watcher))
    following = _install(result, target.python, _installer(target.python))
    return console.present(result, options, following=following, again=True)


def _install(result: Report, python: str, installer: str) -> str:
    """The command that has the pip of the target, and no other, put the wheels in the place of the eggs; and what else
    there is to know of it: it serves a new environment, too.

    The `installer` is whom to run it as, "" for whoever runs this: to root, somebody else's pip is code of his.
    """
    if not result.install:
        return ""
    user = f"run as {installer}, whose pip it is; " if installer else ""
    return (
        f"{shlex.join([python, '-m', 'pip', *result.install])}\n"
        f"with: {user}in a new environment, its python in place of this one; not uv or pipx, which leave the eggs there"
    )


def _installer(python: str) -> str:
    """Whom to run the pip of an environment as, "" for whoever we are."""
    try:
        account = code_owners.site_owner(python)
    except NotPermitted:  # several may change it, and root is to be none of them
        return "the user who installs there"
    return account.name if account.uid != os.geteuid() else ""
