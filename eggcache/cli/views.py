"""The commands that change nothing: `tree`, in all its forms, and `status`."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict

from eggcache import progress
from eggcache.cache import inventory
from eggcache.cli import arguments, console, drawing, graphs, listing, outline, report
from eggcache.errors import EggcacheError, UsageError
from eggcache.model import Tree
from eggcache.target import resolver, selection
from eggcache.target.interpreter import EVERYTHING


def tree(options: argparse.Namespace) -> int:
    """Print what `options` ask for, and return the exit status."""
    found = _resolved(options)
    cache, prepared = _prepared(options, found)
    form = "json" if options.json else options.format
    if options.quiet:
        pass
    elif form == "json":
        print(report.as_json(report.tree_json(found, cache=cache, prepared=prepared)))
    elif form == "text":
        if options.duplicates:
            lines = outline.duplicates(found, prepared)
            if not found.distributions:
                console.warn("nothing is on the path more than once", options)
        else:
            lines = outline.lines(found, prepared, reverse=options.reverse, depth=options.depth)
        drawing.draw(lines, sys.stdout)
        drawing.draw([outline.total(found, prepared)], sys.stdout)
    else:
        for line in (graphs.dot if form == "dot" else graphs.mermaid)(found, prepared):
            print(line)
    return console.conclude(resolver.findings(found), options)


def status(options: argparse.Namespace) -> int:
    """Print what is in a cache, and return the exit status."""
    found = inventory.status(options.directory)
    if options.quiet:
        pass
    elif options.json:
        told = {"schema": 1, "command": "status", "source": "receipt", **report.plain(asdict(found))}
        print(report.as_json(told))
    else:
        for line in listing.lines(found, verbose=options.verbose > 0):
            print(console.one_line(line))
    return console.conclude(found.findings, options)


def _resolved(options: argparse.Namespace) -> Tree:
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
        return selection.duplicates(found)
    if options.reverse:
        found = selection.leading_to(found, roots.requirements)
    # What is drawn as text says where it goes on, and counts all of it
    if options.depth is not None and (options.json or options.format != "text"):
        found = selection.within(found, options.depth, reverse=options.reverse)
    return found


def _prepared(options: argparse.Namespace, found: Tree) -> tuple[str | None, tuple[bool, ...]]:
    """The cache that is looked at, and which of the distributions it has. One that nobody named and that cannot be
    read is no reason to show no tree."""
    directory = options.cache or os.environ.get("PYTHON_EGG_CACHE")
    if not directory:
        return None, ()
    try:
        return os.path.abspath(directory), inventory.prepared(directory, found)
    except EggcacheError as error:
        if options.cache:
            raise
        console.warn(f"{error}: what is prepared is not told apart", options)
        return None, ()
