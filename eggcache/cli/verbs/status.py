"""The command `status`: what it reads off the receipt and the disk, as text or JSON."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict

from eggcache.cache import inventory
from eggcache.cache.inventory import Inventory, Prepare, prepare_label
from eggcache.cli import console, next_command
from eggcache.cli.render import amounts, report
from eggcache.errors import Remedy, UsageError
from eggcache.servers import environment_variables
from eggcache.system import accounts, safe_dirs
from eggcache.target import search_path
from eggcache.target.interpreter import ELSEWHERE

_STATES = {
    "current": "current",
    "egg-changed": "stale: its egg changed",
    "egg-gone": "stale: its egg is gone",
    "egg-unzipped": "stale: its egg is unzipped, and needs no cache",
    "altered": "stale: altered in the cache",
    "copied": "stale: copied, contents not compared",
    "missing": "stale: not in the cache any more",
}


def run(options: argparse.Namespace) -> int:
    """Print what is in a cache, and return the exit status."""
    directory = options.directory or environment_variables.inherited()
    if directory is None:
        remedy = Remedy("name the directory that prepare was given")
        if os.path.isdir(ELSEWHERE):
            remedy = Remedy("for the usual one", next_command.repeated(options, ELSEWHERE))
        raise UsageError("DIR", "none is named, and PYTHON_EGG_CACHE is not set", remedy)
    cache = inventory.status(directory)
    if options.quiet:
        pass
    elif options.json:
        fields = {"schema": 1, "command": "status", "source": "receipt", **report.json_value(asdict(cache))}
        print(report.as_json(fields))
    else:
        for line in lines(cache, verbose=options.verbose > 0):
            console.show(line)
    return console.conclude(cache.findings, options)


def lines(inventory: Inventory, *, verbose: bool = False) -> Iterator[str]:
    """The cache, each prepare, each egg that is not current, and how many are; with `verbose` each egg, all that
    changed, and what each prepare found wrong."""
    if inventory.mode is None or inventory.uid is None or inventory.gid is None:
        return
    count, files = len(inventory.contents), report.files(sum(content.files for content in inventory.contents))
    size = report.size(sum(content.size for content in inventory.contents))
    is_known = inventory.prepares or inventory.contents  # what has no receipt is not looked through
    amount = f"{amounts.counted(count, 'egg')}, {files}, {size}" if is_known else "its content is unknown"
    owner = (
        f"{safe_dirs.owner_name(inventory.uid)}, group {accounts.group_name(inventory.gid)}, mode {inventory.mode:04o}"
    )
    yield f"{inventory.directory}: {amount}; {owner}"
    copies = {os.path.join(inventory.directory, egg.name) for egg in inventory.contents if egg.state == "copied"}
    for prepare in inventory.prepares:
        yield from _prepare_lines(prepare, copies, verbose)
    # What a stale prepare did not need, the next one may: of an egg that was unzipped, and is a zip again.
    is_stale = any(prepare.changed for prepare in inventory.prepares)
    removed = "prepare --prune removes it" + (", unless an egg needs it again" if is_stale else "")
    unneeded = f"not needed any more: {removed}"
    well = [egg for egg in inventory.contents if egg.needed and egg.state == "current" and not verbose]
    for content in inventory.contents:
        if content not in well:
            state = _STATES[content.state] if content.needed else unneeded
            amount = f"{report.files(content.files)}, {report.size(content.size)}"
            yield f"{content.name}  {state}  {amount}  {content.egg}"
    if well:
        rest = " more" if len(well) < count else ""
        sums = f"{report.files(sum(egg.files for egg in well))}, {report.size(sum(egg.size for egg in well))}"
        yield f"{len(well)}{rest} current: {sums}; -v names them"
    for name in inventory.stages:
        reason = "a run works in it" if inventory.running else "a killed run left it, and the next prepare removes it"
        yield f"{name}  {reason}"
    if inventory.running:
        yield "another run holds the lock: what it prepares is not in here yet"
    if is_known:
        yield "as the receipt and the dates of files say; eggcache check proves it"


def _prepare_lines(prepare: Prepare, copies: Collection[str], verbose: bool) -> Iterator[str]:
    version = ".".join(map(str, prepare.version))
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(prepare.when))
    state = "stale" if prepare.changed else "current"
    yield f"{state}: {prepare_label(prepare)} (Python {version}), prepared {date} by eggcache {prepare.eggcache}"
    words = list(search_path.options(prepare.paths))
    paths = "".join(f", {option} {path}" for option, path in zip(words[::2], words[1::2]))
    zone = "the host's time zone" if prepare.timezone is None else f"time zone {prepare.timezone or 'UTC'}"
    yield f"  for {prepare.user}, group {accounts.group_name(prepare.gid)}; {zone}{paths}; digest {prepare.digest}"
    for path in prepare.changed[: None if verbose else 3]:
        yield f"  {'copied' if path in copies else 'changed'}: {path}"
    if len(prepare.changed) > 3 and not verbose:
        yield f"  and {len(prepare.changed) - 3} more: see -v"
    for finding in prepare.findings if verbose else ():
        yield f"  found then: {finding.line}"
