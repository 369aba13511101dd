"""The command `status`: what it reads off the receipt and the disk, as text or JSON."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict

from eggcache.cache import inventory
from eggcache.cache.inventory import CachedEgg, Inventory, Prepare, asked
from eggcache.cli import arguments, console
from eggcache.cli.render import report
from eggcache.system import accounts, safe_dirs
from eggcache.target import search_path

_STATES = {
    "current": "current",
    "egg-changed": "stale: its egg changed",
    "egg-gone": "stale: its egg is gone",
    "altered": "stale: altered in the cache",
    "missing": "stale: not in the cache any more",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the egg cache")
    arguments.json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Print what is in a cache, and return the exit status."""
    found = inventory.status(options.directory)
    if options.quiet:
        pass
    elif options.json:
        told = {"schema": 1, "command": "status", "source": "receipt", **report.plain(asdict(found))}
        print(report.as_json(told))
    else:
        for line in lines(found, verbose=options.verbose > 0):
            print(console.one_line(line))
    return console.conclude(found.findings, options)


def lines(found: Inventory, *, verbose: bool = False) -> Iterator[str]:
    """The cache, each prepare, each egg; with `verbose` all that changed, and what each prepare found wrong."""
    if found.mode is None or found.uid is None or found.gid is None:
        return
    count, files = len(found.contents), report.files(sum(one.files for one in found.contents))
    size = f"{files}, {report.size(sum(one.size for one in found.contents))}"
    owner = f"{safe_dirs.owner_name(found.uid)}, group {accounts.group_name(found.gid)}, mode {found.mode:04o}"
    yield f"{found.directory}: {count} egg{'s' * (count != 1)}, {size}; {owner}"
    for one in found.prepares:
        yield from _prepared(one, verbose)
    for content in found.contents:
        yield _cached(content)
    for name in found.stages:
        doing = "a run works in it" if found.running else "a killed run left it, and the next prepare removes it"
        yield f"{name}  {doing}"
    if found.running:
        yield "another run holds the lock: what it prepares is not in here yet"
    yield "as the receipt and the dates of files say; eggcache check proves it"


def _prepared(one: Prepare, verbose: bool) -> Iterator[str]:
    version = ".".join(map(str, one.version))
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.when))
    state = "stale" if one.changed else "current"
    yield f"{state}: {asked(one)} (Python {version}), prepared {when} by eggcache {one.eggcache}"
    words = list(search_path.options(one.paths))
    paths = "".join(f", {option} {path}" for option, path in zip(words[::2], words[1::2]))
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
