"""The output of `status`, as lines of text."""

from __future__ import annotations

import time
from collections.abc import Iterator

from eggcache.cache.inventory import Content, Inventory, Prepare, asked
from eggcache.cli import report
from eggcache.system import accounts, lockdown

_STATES = {
    "current": "current",
    "egg-changed": "stale: its egg changed",
    "egg-gone": "stale: its egg is gone",
    "altered": "stale: altered in the cache",
    "missing": "stale: not in the cache any more",
}


def lines(found: Inventory, *, verbose: bool = False) -> Iterator[str]:
    """The cache, each prepare, each egg; with `verbose` all that changed, and what each prepare found wrong."""
    if found.mode is None or found.uid is None or found.gid is None:
        return
    count, files = len(found.contents), report.files(sum(one.files for one in found.contents))
    size = f"{files}, {report.size(sum(one.size for one in found.contents))}"
    owner = f"{lockdown.owner_name(found.uid)}, group {accounts.group_name(found.gid)}, mode {found.mode:04o}"
    yield f"{found.directory}: {count} egg{'s' * (count != 1)}, {size}; {owner}"
    for one in found.prepares:
        yield from _prepare(one, verbose)
    for content in found.contents:
        yield _content(content)
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


def _content(one: Content) -> str:
    state = _STATES[one.state] if one.needed else "not needed any more: prepare --prune removes it"
    return f"{one.name}  {state}  {report.files(one.files)}, {report.size(one.size)}  {one.egg}"
