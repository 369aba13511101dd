"""The commands that change nothing: `tree`, in all its forms, and `status`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict

from eggcache import progress
from eggcache.cache import inventory, unservable
from eggcache.cache.inventory import CachedEgg, Inventory, Prepare, asked
from eggcache.cli import arguments, console
from eggcache.cli.render import graphs, report, tree_lines
from eggcache.errors import EggcacheError, UsageError
from eggcache.model import Tree
from eggcache.servers import environments
from eggcache.system import accounts, safe_dirs
from eggcache.target import resolver, selection
from eggcache.target.interpreter import EVERYTHING, Target

_STATES = {
    "current": "current",
    "egg-changed": "stale: its egg changed",
    "egg-gone": "stale: its egg is gone",
    "altered": "stale: altered in the cache",
    "missing": "stale: not in the cache any more",
}


def tree(options: argparse.Namespace) -> int:
    """Print what `options` ask for, and return the exit status."""
    target, found = _resolved(options)
    plain = not (options.reverse or options.duplicates or options.quiet)
    eggs = list(unservable.in_tree(found, target)) if plain else []
    cache, prepared = _prepared(options, found)
    form = "json" if options.json else options.format
    if options.quiet:
        pass
    elif form == "json":
        print(report.as_json(report.tree_json(found, cache=cache, prepared=prepared, eggs=eggs)))
    elif form == "text":
        if options.duplicates:
            lines = tree_lines.duplicates(found, prepared)
            if not found.distributions:
                console.warn("nothing is on the path more than once", options)
        else:
            lines = tree_lines.lines(found, prepared, reverse=options.reverse, depth=options.depth)
        tree_lines.draw(lines, sys.stdout)
        tree_lines.draw([tree_lines.total(found, prepared)], sys.stdout)
    else:
        for line in (graphs.dot if form == "dot" else graphs.mermaid)(found, prepared):
            print(line)
    return console.conclude([*resolver.findings(found), *eggs], options)


def _resolved(options: argparse.Namespace) -> tuple[Target, Tree]:
    roots = arguments.roots(options)
    if options.reverse and (options.all or options.duplicates or not options.requirements):
        raise UsageError("--reverse", "needs to know what is looked for", "eggcache tree --reverse NAME")
    if options.duplicates and (options.requirements or options.depth is not None):
        raise UsageError("--duplicates", "it looks at the whole path, and there is no tree of it", "name it alone")
    target = arguments.owned(options)
    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        watcher.phase(f"asking {target.python} for the tree")
        found = resolver.resolve(
            target,
            EVERYTHING if options.reverse or options.duplicates else roots,
            related=options.reverse,
            meanwhile=watcher.tick,
        )
    if options.duplicates:
        return target, selection.duplicates(found)
    if options.reverse:
        found = selection.leading_to(found, roots.requirements)
    # What is drawn as text says where it goes on, and counts all of it
    if options.depth is not None and (options.json or options.format != "text"):
        found = selection.within(found, options.depth, reverse=options.reverse)
    return target, found


def _prepared(options: argparse.Namespace, found: Tree) -> tuple[str | None, tuple[bool, ...]]:
    """The cache that is looked at, and which of the distributions it has. One that nobody named and that cannot be
    read is no reason to show no tree."""
    try:
        directory = options.cache or environments.inherited()
        if not directory:
            return None, ()
        return os.path.abspath(directory), inventory.prepared(directory, found)
    except EggcacheError as error:
        if options.cache:
            raise
        console.warn(f"{error}: what is prepared is not told apart", options)
        return None, ()


def status(options: argparse.Namespace) -> int:
    """Print what is in a cache, and return the exit status."""
    found = inventory.status(options.directory)
    if options.quiet:
        pass
    elif options.json:
        told = {"schema": 1, "command": "status", "source": "receipt", **report.plain(asdict(found))}
        print(report.as_json(told))
    else:
        for line in status_lines(found, verbose=options.verbose > 0):
            print(console.one_line(line))
    return console.conclude(found.findings, options)


def status_lines(found: Inventory, *, verbose: bool = False) -> Iterator[str]:
    """The cache, each prepare, each egg; with `verbose` all that changed, and what each prepare found wrong."""
    if found.mode is None or found.uid is None or found.gid is None:
        return
    count, files = len(found.contents), report.files(sum(one.files for one in found.contents))
    size = f"{files}, {report.size(sum(one.size for one in found.contents))}"
    owner = f"{safe_dirs.owner_name(found.uid)}, group {accounts.group_name(found.gid)}, mode {found.mode:04o}"
    yield f"{found.directory}: {count} egg{'s' * (count != 1)}, {size}; {owner}"
    for one in found.prepares:
        yield from _prepare(one, verbose)
    for content in found.contents:
        yield _cached(content)
    for name in found.stages:
        doing = "a run works in it" if found.running else "a killed run left it, and the next prepare removes it"
        yield f"{name}  {doing}"
    if found.running:
        yield "another run holds the lock: what it prepares is not in here yet"
    yield "as the receipt and the dates of files say; eggcache check proves it"


def _prepare(one: Prepare, verbose: bool) -> Iterator[str]:
    version = ".".join(map(str, one.version))
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.when))
    state = "stale" if one.changed else "current"
    yield f"{state}: {asked(one)} (Python {version}), prepared {when} by eggcache {one.eggcache}"
    paths = "".join(f", --path {path}" for path in one.paths)
    zone = "the host's time zone" if one.timezone is None else f"time zone {one.timezone or 'UTC'}"
    yield f"  for {one.user}, group {accounts.group_name(one.gid)}; {zone}{paths}; digest {one.digest}"
    for path in one.changed[: None if verbose else 3]:
        yield f"  changed: {path}"
    if len(one.changed) > 3 and not verbose:
        yield f"  and {len(one.changed) - 3} more: see -v"
    for finding in one.findings if verbose else ():
        yield f"  found then: {finding} [{finding.code}]"


def _cached(one: CachedEgg) -> str:
    state = _STATES[one.state] if one.needed else "not needed any more: prepare --prune removes it"
    return f"{one.name}  {state}  {report.files(one.files)}, {report.size(one.size)}  {one.egg}"
