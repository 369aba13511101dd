"""`prepare` by a user who only reads the cache: it compares the cache with the eggs, and writes nothing.

A server such as gunicorn or uWSGI prepares as the user that it runs as. Only root can read the receipt, so the
target's own pkg_resources is asked for the tree, and each file of each egg is compared.
"""

from __future__ import annotations

import os
from shlex import quote

from eggcache.eggs import layout
from eggcache.errors import NotPermitted
from eggcache.model import DEFAULT_RUN, Finding, Report, Run
from eggcache.proof.comparison import Comparison
from eggcache.system import lockdown
from eggcache.target import resolver
from eggcache.target.interpreter import TURBOGEARS, Roots, Target


def only(directory: str) -> bool:
    """Whether `directory` is root's, which we, who are not root, may read and nobody but root can change."""
    if os.geteuid() == 0:
        return False
    try:
        descriptor = lockdown.open_directory(directory, roots=True)
    except (OSError, NotPermitted):
        return False
    try:
        return os.fstat(descriptor).st_uid == 0
    finally:
        os.close(descriptor)


def verify(directory: str, target: Target, roots: Roots = TURBOGEARS, run: Run = DEFAULT_RUN) -> Report:
    """Whether root's cache `directory` has all of the tree as it is now, for us who read it.

    The arguments are those of `preparation.prepare`. What is not current is a finding with exit status 3, whose remedy
    is what root has to run. Raises EggcacheError where the target fails.
    """
    run.progress.phase(f"asking {target.python} for the tree")
    with layout.zone(target.timezone):
        tree = resolver.resolve(target, roots, meanwhile=run.progress.tick)
        root = f"run as root: eggcache prepare {quote(directory)} --user {quote(target.account.name)}"
        compared = Comparison(directory, target, run, lambda: root, reachable=True)
        compared.fill(tree, None)
    found = list(compared.findings)
    if compared.shifted:
        path, off = compared.shifted[0]
        more = f", and {len(compared.shifted) - 1} more files" if len(compared.shifted) > 1 else ""
        found.append(Finding("member-outdated", path, f"it is of another time zone ({off}){more}", root))
    return Report("prepare", directory, tuple(compared.outcomes), tuple(found), unchanged=not found)
