"""The command to run next, which ends a result: with all that the user told this one."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterable

from eggcache.model import Report


def words(
    *,
    python: str | None = None,
    paths: Iterable[str] = (),
    user: str | None = None,
    group: str | None = None,
    timezone: str | None = None,
    limits: Iterable[str] = (),
) -> list[str]:
    """The options that say the same to another command."""
    said = {"--python": [python], "--path": paths, "--user": [user], "--group": [group], "--tz": [timezone]}
    return [word for name, values in {**said, "--limit": limits}.items() for value in values if value is not None
            for word in (name, value)]  # fmt: skip


def wrapper(options: argparse.Namespace) -> str:
    """The command that prints a wrapper for what `prepare` has done."""
    python = options.python and (os.path.abspath(options.python) if "/" in options.python else options.python)
    same = words(
        python=python,
        paths=map(os.path.abspath, options.path),
        user=options.user,
        group=options.group,
        timezone=options.tz,
        limits=options.limits,
    )
    tree = ["--all"] if options.all else options.requirements
    return shlex.join(["eggcache", "wrapper", os.path.abspath(options.directory), *same, *tree])


def install(done: Report, python: str, installer: str) -> str:
    """The command that has the pip of the target, and no other, put the wheels in the place of the eggs; and what else
    there is to know of it: it serves a new environment, too.

    The `installer` is whom to run it as, "" for whoever runs this: to root, somebody else's pip is code of his.
    """
    if not done.install:
        return ""
    who = f"run as {installer}, whose pip it is; " if installer else ""
    return (
        f"{shlex.join([python, '-m', 'pip', *done.install])}\n"
        f"with: {who}in a new environment, its python in place of this one; not uv or pipx, which leave the eggs there"
    )
