"""The tree in each form that the command `tree` prints it: lines, a graph, JSON, dependents, duplicates."""

from __future__ import annotations

import argparse
import os
import sys

from eggcache import progress
from eggcache.cache import inventory, unservable
from eggcache.cli import arguments, console
from eggcache.cli.render import graphs, report, tree_lines
from eggcache.errors import EggcacheError
from eggcache.model import Finding, Run, Tree
from eggcache.servers import environment_variables
from eggcache.target import eggs_on_path, resolver, tree_selection, why_missing
from eggcache.target.eggs_on_path import EarlyReader
from eggcache.target.interpreter import Roots, Target
from eggcache.target.launch import Launch


def tell(options: argparse.Namespace, target: Target, asked: Roots, launched: Launch) -> int:
    """Print what `options` ask for.

    :param target: the Python that is asked
    :param asked: which distributions it is asked for
    :param launched: that question, in the target
    :returns: the exit status
    """
    is_plain = not (options.reverse or options.duplicates or options.quiet)
    tree, reader = _resolved(options, target, asked, launched, ahead=is_plain)
    eggs = list[Finding]()
    if is_plain:
        eggs = [*why_missing.findings(tree, target.account), *unservable.in_tree(tree, target, reader.opened)]
    form = "json" if options.json else options.format
    if form != "json" and not tree.requirements and tree.reported:
        tree = tree_selection.reach(tree)  # what else there is, a line names
    cache, prepared = _readiness(options, tree)
    if options.quiet:
        pass
    elif form == "json":
        print(report.as_json(report.tree_json(tree, cache=cache, prepared=prepared, eggs=eggs)))
    elif form == "text":
        if options.duplicates:
            lines = tree_lines.duplicates(tree, prepared)
            if not tree.distributions:
                console.warn(f"{target.python}: nothing is on its path more than once", options)
        else:
            lines = tree_lines.lines(tree, prepared, reverse=options.reverse, depth=options.depth)
        tree_lines.draw(lines, sys.stdout)
        if tree.outside and tree.reported:
            console.show(resolver.outside_line(tree))
        tree_lines.draw([tree_lines.total(tree, prepared)], sys.stdout)
    else:
        for line in (graphs.dot if form == "dot" else graphs.mermaid)(tree, prepared):
            print(line)
    if not (options.reverse or options.duplicates or tree.reported):
        for note in resolver.notes(tree, arguments.roots(options)):
            console.warn(note, options)
    return console.conclude([*resolver.findings(tree, target.account), *eggs], options)


def _resolved(
    options: argparse.Namespace, target: Target, asked: Roots, launched: Launch, *, ahead: bool
) -> tuple[Tree, EarlyReader]:
    """The answer, and what has read eggs meanwhile, where that is to be done `ahead`."""
    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        watcher.phase(f"asking {target.python} for the tree")
        reader, meanwhile = eggs_on_path.ahead(
            target, asked, Run(progress=watcher), want=eggs_on_path.Wanted(contents=False)
        )
        tree = resolver.resolve(target, asked, meanwhile=meanwhile if ahead else watcher.tick, launched=launched)
    if options.duplicates:
        return tree_selection.duplicates(tree), reader
    if options.reverse:
        tree = tree_selection.dependents(tree, options.requirements)
    # What is drawn as text says where it goes on, and counts all of it
    if options.depth is not None and (options.json or options.format != "text"):
        tree = tree_selection.levels(tree, options.depth, reverse=options.reverse)
    return tree, reader


def _readiness(options: argparse.Namespace, tree: Tree) -> tuple[str | None, tuple[bool, ...]]:
    """The cache that is looked at, and which of the distributions it has. One that nobody named and that cannot be
    read is no reason to show no tree."""
    try:
        directory = options.cache or environment_variables.inherited()
        if not directory:
            return None, ()
        return os.path.abspath(directory), inventory.readiness(directory, tree)
    except EggcacheError as error:
        if options.cache:
            raise
        console.warn(f"{error}: what is prepared is not told apart", options)
        return None, ()
