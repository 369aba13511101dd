"""What a command line leaves to the receipt of the cache that it names: the target, the tree, the readers, the zone.

A command line that names a Python says what the tree is, and one that names a user says for whom, too, as emitted
wrappers do: it never comes here. Another one means the trees that the cache was prepared for, each as it was asked for,
but for what the command line says otherwise.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable

from eggcache.cache import groups_and_time_zones, receipt
from eggcache.cli import console, next_command
from eggcache.errors import EggcacheError, NotPermitted, UsageError
from eggcache.system import accounts, safe_dirs
from eggcache.target import command_lines, interpreter
from eggcache.target.command_lines import Prepare
from eggcache.target.interpreter import Target

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    from eggcache.model import Report


def trees(options: argparse.Namespace, directory: str) -> list[argparse.Namespace]:
    """The options for each tree of the cache `directory`, completed from its receipt. A message says what was taken.

    A Python that $EGGCACHE_PYTHON or an active virtualenv names counts: no tree of another Python is meant then.

    :returns: an object for each tree; a single one where `options` name a Python, for which the readers and the zone
        alone are the receipt's; `options` themselves where REQ or `--path` are of no tree in the receipt, or where this
        user believes no receipt
    :raises UsageError: $EGGCACHE_PYTHON names no program
    """
    variants = _trees(options, directory)
    unknown = "" in variants and options.python is None and os.path.isdir(directory)
    if unknown and not accounts.may(directory, os.R_OK | os.X_OK):
        console.warn(f"{directory}: this user may not open it, and so not read what it is for", options)
    elif unknown:
        try:
            os.close(safe_dirs.open_directory(directory))
        except NotPermitted as error:
            console.warn(f"{error.thing}: {error.cause}, so that its receipt is not believed", options)
    for words in variants:
        if words and not getattr(options, "lenient", False):  # an init script that had nothing to do says nothing
            console.warn(f"{directory}: as its receipt says: {words}", options)
    return list(variants.values())


def _trees(options: argparse.Namespace, directory: str) -> dict[str, argparse.Namespace]:
    """The same, by what is to be said of each: "" of `options` as they are."""
    if options.python is not None or options.path_from:
        return _for_the_same(options, directory)
    entries = _of_environment(_prepares(directory))
    if options.all or options.requirements:
        entries = [entry for entry in entries if list(entry.roots.requirements) == options.requirements]
    if options.path:
        paths = list(map(os.path.abspath, options.path))
        entries = [entry for entry in entries if list(entry.target.paths) == paths]
    variants: dict[str, argparse.Namespace] = {}
    for entry in entries:
        tree, words = _completion(options, entry)
        variants.setdefault(words, tree)
    return variants or {"": options}


def alone(options: argparse.Namespace, directory: str) -> argparse.Namespace:
    """The options, completed as by `trees`, for a command that is about a single tree.

    :raises UsageError: the receipt has several trees, which the cause names
    """
    if len(_trees(options, directory)) > 1:
        raise _ambiguity(directory, _prepares(directory))
    return trees(options, directory)[0]


def in_turn(options: argparse.Namespace, directory: str, run: Callable[[argparse.Namespace], int]) -> int:
    """Do `run` with the options for each tree of `directory`.

    An error of one tree of several is printed, and the next tree has its turn. With `--lenient` a tree of the receipt
    whose Python cannot be started keeps no server from starting. With `--json` several reports are one.

    :returns: the exit status of all together
    :raises EggcacheError: there is a single tree, and `run` failed
    """
    lenient = getattr(options, "lenient", False)
    variants, statuses = trees(options, directory), set[int]()
    gathered: list[Report] | None = [] if options.json and len(variants) > 1 else None
    for tree in variants:
        tree.gathered = gathered
        try:
            statuses.add(run(tree))
        except EggcacheError as error:
            explicit = options.python is not None or options.path_from
            remembered = lenient and tree is not options and not explicit and isinstance(error, UsageError)
            if len(variants) == 1 and not remembered:
                raise
            status = 0 if remembered else error.lenient if lenient else None
            statuses.add(console.complain(error, error.status if status is None else status))
    if gathered:
        from eggcache.cli.render import report

        print(report.as_json(report.report_json(report.merge(gathered))))
    return console.winning(statuses)


def _prepares(directory: str) -> list[Prepare]:
    """The prepares that the receipt of `directory` tells of: of a safe directory, and of this user's own receipt."""
    record = receipt.of_safe_directory(directory)
    return [
        groups_and_time_zones.prepare_of(directory, key, entry)
        for key, entry in sorted(groups_and_time_zones.entries_in_use(record))
    ]


def _of_environment(entries: list[Prepare]) -> list[Prepare]:
    """Those of the Python that the environment names. The virtualenv of eggcache itself is active for its sake, and one
    that is gone names no Python."""
    if os.environ.get("EGGCACHE_PYTHON"):
        python = interpreter.find()
        return [entry for entry in entries if entry.target.python == python]
    active = os.environ.get("VIRTUAL_ENV")
    if not active or os.path.realpath(active) == os.path.realpath(sys.prefix):
        return entries
    programs = os.path.realpath(os.path.join(active, "bin"))
    if not os.path.exists(os.path.join(programs, "python")):
        return entries
    return [entry for entry in entries if os.path.realpath(os.path.dirname(entry.target.python)) == programs]


def _completion(options: argparse.Namespace, entry: Prepare) -> tuple[argparse.Namespace, str]:
    """The options with what they do not say taken from `entry`, and what that was, as words of a command line."""
    completion, target = argparse.Namespace(**vars(options)), entry.target
    completion.python = target.python
    values = dict[str, object]()
    if not options.path:
        completion.path = values["paths"] = list(target.paths)
    values.update(_readers(completion, target))
    if not options.limits:
        completion.limits = values["limits"] = command_lines.limits(entry.limits)[1::2]
    words = next_command.words(python=target.python, **values)  # type: ignore[arg-type]
    if not (options.all or options.requirements):
        completion.requirements, strict = list(entry.roots.requirements), entry.roots.strict
        completion.all = strict and entry.roots.everything
        completion.strict_tree = options.strict_tree or (strict and not entry.roots.everything)
        words += command_lines.tree_words(entry.roots)
    return completion, _label(completion, words)


def _for_the_same(options: argparse.Namespace, directory: str) -> dict[str, argparse.Namespace]:
    """The options of one tree, as in `_trees`, with the readers of the cache, where all trees in it have the same."""
    if options.user is not None:
        return {"": options}
    targets = [entry.target for entry in _prepares(directory)]
    if len({(target.account.name, target.group, target.timezone) for target in targets}) != 1:
        return {"": options}
    completion = argparse.Namespace(**vars(options))
    return {_label(completion, next_command.words(**_readers(completion, targets[0]))): completion}  # type: ignore[arg-type]


def _readers(options: argparse.Namespace, target: Target) -> dict[str, object]:
    """What the options do not say of whom the cache is for, and of the zone: set there to what `target` has, and
    returned, as what next_command.words takes."""
    values = dict[str, object]()
    if options.user is None and target.group is not None and os.geteuid() == 0:
        options.user = values["user"] = target.account.name
        if options.group is None:
            options.group = values["group"] = _group(target.group)
    if options.tz is None:
        options.tz = values["timezone"] = target.timezone
        options.host_zone = target.timezone is None
    return values


def _label(options: argparse.Namespace, words: list[str]) -> str:
    text = shlex.join(words)
    unset = getattr(options, "host_zone", False) and "TZ" in os.environ
    return f"{text}, with TZ unset".lstrip(", ") if unset else text


def _group(gid: int) -> str:
    from eggcache.system import accounts

    return accounts.group_name(gid)


def _ambiguity(directory: str, entries: list[Prepare]) -> UsageError:
    trees = " and ".join(f"{receipt.tree_of(*entry.roots)} of {entry.target.python}" for entry in entries)
    cause = f"it is prepared for {trees}"
    return UsageError(directory, cause, "name one with --python, --path and REQ, as status has them")
