"""The command to run next, which a result ends with: it has all that this command line said."""

from __future__ import annotations

import os

from eggcache.cache import freshness
from eggcache.errors import Remedy

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-")


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
    if paths := list(paths):
        from eggcache.target import search_path

        command += search_path.options(paths)
    return command + [word for name, values in options.items() for value in values if value is not None
                    for word in (name, value)]  # fmt: skip


def repeated(options: argparse.Namespace, *words_added: str, without: str = "") -> str:
    """The command line that was given, with `words_added` behind the command, and without a REQ."""
    words = list(options.words)
    if without:
        del words[len(words) - 1 - words[::-1].index(without)]
    position = words.index(options.command) + 1
    return _line(["eggcache", *words[:position], *words_added, *words[position:]])


def for_path(options: argparse.Namespace, path: str) -> Remedy:
    """What to type for a path in the place of a REQ."""
    if options.command == "tree" and os.path.exists(os.path.join(path, freshness.NAME)):
        return Remedy("to see what is prepared there", repeated(options, "--cache", path, without=path))
    if os.path.exists(path):
        command = repeated(options, "--path", path, without=path)
        return Remedy("for an egg, or a directory of eggs, on its path", command)
    return Remedy("name an egg, or a directory of eggs, by --path")


def wrapper(options: argparse.Namespace) -> str:
    """The command that prints a wrapper for what `prepare` has done."""
    python = options.python and (os.path.abspath(options.python) if "/" in options.python else options.python)
    options_given = words(
        python=python,
        paths=map(os.path.abspath, options.path),
        user=options.user,
        group=options.group,
        timezone=options.tz,
        limits=options.limits,
    )
    tree = [*tree_options(options), *options.requirements]
    return _line(["eggcache", "wrapper", os.path.abspath(options.directory), *options_given, *tree])


def explanation(code: str) -> Remedy:
    """The command that says what a finding with this code means."""
    command = _line(["eggcache", "explain", code])
    return Remedy("what a code means", command)


def _line(words: list[str]) -> str:
    """The words for a shell. To load shlex, and re with it, takes longer than to say that nothing had to be done."""
    if all(word and _PLAIN.issuperset(word) for word in words):
        return " ".join(words)
    import shlex

    return shlex.join(words)


def tree_options(options: argparse.Namespace) -> list[str]:
    """The options that say the same of the tree: another one would have `prepare` do its work anew."""
    return ["--all"] * options.all + ["--strict-tree"] * options.strict_tree
