"""The other trees of a cache at `prepare --reset`: each is prepared again, with its own options and limits.

A directory that is not safe is replaced as a whole, and none of its files is kept: any of them may be forged. But the
servers of the other trees use it as well, and must not fail. The receipt names them, and it can be trusted:
`freshness.load` takes none that another user could write.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator

from eggcache.cache import freshness, groups_and_time_zones, receipt
from eggcache.cache.filling import Filling
from eggcache.cache.plan import Cache, Plan
from eggcache.eggs import zip_dates
from eggcache.errors import EggcacheError
from eggcache.model import Ownership
from eggcache.progress import Progress
from eggcache.system import safe_dirs, staging
from eggcache.target import resolver
from eggcache.target.eggs_on_path import EarlyReader


def of(directory: str, key: str) -> receipt.Receipt:
    """The prepares in the receipt of `directory`, safe or not, other than `key`."""
    record = receipt.of_directory(directory, os.O_NOFOLLOW)
    entries = {
        other_key: entry
        for other_key, entry in groups_and_time_zones.entries_in_use(record)
        if other_key != key and entry.names and entry.options["owner"][0] == os.geteuid()
    }
    names = {name for entry in entries.values() for name in entry.names}
    return receipt.Receipt(entries, {name: record.extracted[name] for name in names})


def label(directory: str, key: str, entry: receipt.Entry) -> str:
    """The prepare `key` of `directory` for a message."""
    python, _, requirements = receipt.parts_of_key(key)
    return f"{directory}: {receipt.tree_of(requirements, entry.strict)} of {python}, which it serves as well,"


def prepare(record: receipt.Receipt, directory: str, descriptor: int, progress: Progress) -> Iterator[str]:
    """Prepare the entries of `record` in the new and locked directory `descriptor`, which will be `directory`, with a
    note on each. Where one fails, its note has the command to repeat it, and the next one follows."""
    for key, entry in record.entries.items():
        try:
            _prepare(key, entry, directory, descriptor, progress)
        except EggcacheError as error:
            cause = f"{error.thing}: {error.cause}"
            command = groups_and_time_zones.prepare_of(directory, key, entry).line()
            yield f"{label(directory, key, entry)} could not be prepared anew: {cause}; see to that, and run: {command}"
        else:
            yield f"{label(directory, key, entry)} was prepared anew"


def _prepare(key: str, entry: receipt.Entry, directory: str, descriptor: int, progress: Progress) -> None:
    prepare, owner = groups_and_time_zones.prepare_of(directory, key, entry), Ownership(*entry.options["owner"])
    target, python = prepare.target, prepare.target.python
    options = freshness.options_of(target, prepare.roots, entry.options["limits"])
    for name, value in entry.options["environment"].items():
        if options["environment"].get(name) != value:
            raise EggcacheError(python, f"it was prepared with {name}={shlex.quote(value or '')}", "")
    progress.phase(f"asking {python} for the tree")
    start = time.time_ns()
    tree = resolver.resolve(target, prepare.roots, meanwhile=progress.tick)
    record = receipt.read(descriptor)
    with zip_dates.zone(target.timezone), staging.stage(descriptor) as (_, stage):
        safe_dirs.set_owner(descriptor, owner.uid, owner.gid, owner.directory_mode)
        cache, reader = Cache(prepare, owner, record), EarlyReader(target.account, prepare.limits)
        work = Filling(cache, descriptor, stage, progress)
        work.fill(Plan(tree, target, reader.opened, cache))
        work.swap(allow_gap=False)
        work.sign(options, tree, start)
