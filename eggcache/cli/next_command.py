"""The command to run next, which a result ends with: it has all that this command line said."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterable

from eggcache.target import search_path


def words(
    *,
    python: str | None = None,
    paths: Iterable[str] = (),
    user: str | None = None,
    group: str | None = None,
    timezone: str | None = None,
    limits: Iterable[str] = (),
) -> list[str]:
    """The words of these options, for another command line.

    :param limits: values of `--limit`
    """
    options = {"--user": [user], "--group": [group], "--tz": [timezone], "--limit": limits}
    command = [] if python is None else ["--python", python]
    command += search_path.options(paths)
    return command + [word for name, values in options.items() for value in values if value is not None
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
    tree = [*(["--strict-tree"] if options.strict_tree else []), *options.requirements]
    return shlex.join(["eggcache", "wrapper", os.path.abspath(options.directory), *same, *tree])
