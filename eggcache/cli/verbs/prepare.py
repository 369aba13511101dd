"""The command `prepare`, which runs at every start of Apache.

So what only a run that has something to do needs is imported when that is known, and the rest while the target works.
"""

from __future__ import annotations

import os

from eggcache.cache import freshness
from eggcache.cli import arguments, console
from eggcache.errors import NotPermitted
from eggcache.system import accounts

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from eggcache.target.interpreter import Roots, Target
    from eggcache.target.launch import Launch


def status_of_no_work(options: argparse.Namespace) -> int | None:
    """The exit status of a run that has nothing to do, and has said what its receipt says of that.

    :param options: plain ones, which say what the target is and for whom
    :returns: None where there is more to do or to say, and nothing has been said
    :raises EggcacheError: as `run` does
    """
    roots, limits = arguments.roots(options), arguments.limits(options)
    target, _ = arguments.server_target(options)
    directory, key = os.path.abspath(options.directory), freshness.key(target, roots)
    record = freshness.current_receipt(directory, key, freshness.options_of(target, roots, limits))
    if record is None:
        return None
    if console.silent(
        ((finding["code"], finding["status"]) for finding in record["entries"][key]["findings"]), options
    ):
        return 0
    from eggcache.cli import unchanged_report

    return unchanged_report.tell(record, key, options)


def run(options: argparse.Namespace) -> int:
    os.umask(0o077)
    if (options.python is not None or options.path_from) and (options.user is not None or options.lenient):
        return _prepare(options)  # a server's start: nothing is left to the receipt
    from eggcache.cli import receipt_defaults

    return receipt_defaults.in_turn(options, os.path.abspath(options.directory), _prepare)


def _prepare(options: argparse.Namespace) -> int:
    roots, limits = arguments.roots(options), arguments.limits(options)
    target, notes = arguments.server_target(options)
    directory, key, record = os.path.abspath(options.directory), freshness.key(target, roots), None
    try:
        record = freshness.current_receipt(directory, key, freshness.options_of(target, roots, limits))
    except NotPermitted:
        from eggcache.system import safe_dirs

        if safe_dirs.only_roots(directory):
            from eggcache.target import launch

            with launch.probe(target, roots) as launch_of_target:
                return _verify(options, target, roots, launch_of_target)
        if not options.reset:
            raise
    if record is not None:
        findings = record["entries"][key]["findings"]
        has_more = options.prune or options.json or options.verbose or options.dry_run  # to do, or to say
        if not has_more and console.silent(((finding["code"], finding["status"]) for finding in findings), options):
            return 0
        return _prepare_anew(options, target, roots, notes, None)
    from eggcache.target import launch

    # Before anything else: it takes longer than to load all that is left of us
    with launch.probe(target, roots) as launch_of_target:
        return _prepare_anew(options, target, roots, notes, launch_of_target)


def _warnings(directory: str) -> list[str]:
    from eggcache.system import files

    if not files.in_tmp(directory):
        return []
    from eggcache.servers import apache

    finding = apache.hides(apache.read(), directory)
    return [str(finding)] if finding else []


def _verify(options: argparse.Namespace, target: Target, roots: Roots, launch: Launch) -> int:
    from eggcache import progress
    from eggcache.proof import readonly

    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        run = arguments.run(options, watcher)
        result = readonly.verify(os.path.abspath(options.directory), target, roots, run, launched=launch)
    return console.present(result, options, lenient=options.lenient)


def _prepare_anew(
    options: argparse.Namespace, target: Target, roots: Roots, notes: Sequence[str], launch: Launch | None
) -> int:
    from dataclasses import replace

    from eggcache import progress
    from eggcache.cache.preparation import Preparation
    from eggcache.cli import next_command

    accounts.need_proc()
    arguments.doubt(options)
    directory = os.path.abspath(options.directory)
    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        run = arguments.run(options, watcher)
        preparation = Preparation(directory, target, roots, run, reset=options.reset, prune=options.prune)
        result = preparation.report(launch)
    if not result.unchanged:
        result = replace(result, notes=(*notes, *result.notes, *_warnings(directory)))
    following = "" if options.lenient else next_command.wrapper(options)  # what is lenient is a wrapper's
    return console.present(result, options, lenient=options.lenient, following=following)
