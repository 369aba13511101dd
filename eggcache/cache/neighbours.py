"""The other trees that a cache serves: they are prepared anew with it where --reset exchanges the directory.

A directory that is not safe is replaced as a whole, and what it holds is not taken over: it may be anybody's. But the
servers of the other trees use it as well, and nobody has asked for theirs to fail. What the receipt tells of them is
root's word (or the caller's), for nobody else can write one that `freshness.load` takes.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator

from eggcache.cache import freshness, receipt, serving
from eggcache.cache.filling import Filling
from eggcache.cache.plan import Cache, Plan
from eggcache.eggs import layout
from eggcache.errors import EggcacheError
from eggcache.model import Ownership
from eggcache.progress import Progress
from eggcache.system import safe_dirs, staging
from eggcache.target import resolver
from eggcache.target.early_reading import EarlyReader


def of(directory: str, key: str) -> receipt.Receipt:
    """What the receipt of `directory`, safe or not, tells of the prepares other than `key` that it serves."""
    known = receipt.at(directory, os.O_NOFOLLOW)
    entries = {
        other: entry
        for other, entry in serving.living(known)
        if other != key and entry.names and entry.options["owner"][0] == os.geteuid()
    }
    needed = {name for entry in entries.values() for name in entry.names}
    return receipt.Receipt(entries, {name: known.extracted[name] for name in needed})


def named(directory: str, key: str, entry: receipt.Entry) -> str:
    """How a message calls the prepare `key` of `directory`."""
    python, _, requirements = receipt.asked(key)
    return f"{directory}: {receipt.tree_of(requirements, entry.strict)} of {python}, which it serves as well,"


def prepare(others: receipt.Receipt, directory: str, descriptor: int, progress: Progress) -> Iterator[str]:
    """Prepare the entries of `others` in the new and locked directory `descriptor`, which will be `directory`, and say
    so of each. What fails is said with the command that does it again, and the next one has its turn."""
    for key, entry in others.entries.items():
        try:
            _prepare(key, entry, directory, descriptor, progress)
        except EggcacheError as error:
            why, again = f"{error.thing}: {error.cause}", serving.prepare(directory, key, entry).line()
            yield f"{named(directory, key, entry)} could not be prepared anew: {why}; see to that, and run: {again}"
        else:
            yield f"{named(directory, key, entry)} was prepared anew"


def _prepare(key: str, entry: receipt.Entry, directory: str, descriptor: int, progress: Progress) -> None:
    again, owner = serving.prepare(directory, key, entry), Ownership(*entry.options["owner"])
    target, python = again.target, again.target.python
    options = freshness.asked(target, again.roots, entry.options["limits"])
    for name, value in entry.options["environment"].items():
        if options["environment"].get(name) != value:
            raise EggcacheError(python, f"it was prepared with {name}={shlex.quote(value or '')}", "")
    progress.phase(f"asking {python} for the tree")
    started = time.time_ns()
    tree = resolver.resolve(target, again.roots, meanwhile=progress.tick)
    known = receipt.read(descriptor)
    with layout.zone(target.timezone), staging.stage(descriptor) as (_, staged):
        safe_dirs.own(descriptor, owner.uid, owner.gid, owner.directory_mode)
        cache, read = Cache(again, owner, known), EarlyReader(target.account, again.limits)
        work = Filling(cache, descriptor, staged, progress)
        work.fill(Plan(tree, target, read.opened, cache))
        work.swap(allow_gap=False)
        work.sign(options, tree, started)
