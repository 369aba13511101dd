"""The group and the time zones that a cache serves, by its receipt: no prepare and no remedy takes it from its readers.

A cache has one group, and each file in it one date. Another group, or the dates of another time zone, take the cache
from its users: each of their pages is then an ExtractionError, though nobody has touched their server. An administrator
who wants that removes the cache first; `remove` names the processes that use it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from eggcache.cache import foreign_entries, freshness, receipt
from eggcache.cache.receipt import Entry, Receipt
from eggcache.errors import NotPermitted, Remedy
from eggcache.model import Limits
from eggcache.system import accounts
from eggcache.system.accounts import Account
from eggcache.target.command_lines import Prepare
from eggcache.target.interpreter import Roots, Target


class ServesOthers(NotPermitted):
    """The cache serves others, and is not taken from them. That is not unsafe, and keeps no server from starting."""

    lenient = 0  # the server starts as it did before


_LIMITED = 0o750  # the mode of a cache that one group alone may read, see freshness.ownership


def keep_readers(known: Receipt, wanted: Prepare) -> None:
    """Raise ServesOthers where a cache for the readers of `wanted` would be closed to others that it serves, or be open
    to everybody."""
    group = group_of(freshness.ownership(wanted.target.group))
    for _, entry in living(known):
        if group_of(entry.options["owner"]) != group:
            raise ServesOthers(wanted.directory, f"it is prepared for {_whom(entry)}", another(wanted))


def keep_dates(wanted: Prepare, egg: str, zone: str | None) -> None:
    """Raise ServesOthers: the `egg` is in the cache dated for `zone`, and would be dated for another one."""
    other = shown(wanted.target.timezone)
    cause = f"it is prepared for {shown(zone)}, and {egg} cannot be current in {other} as well"
    raise ServesOthers(wanted.directory, cause, _in_zone(wanted, zone))


def zones(known: Receipt, name: str, timezone: str | None) -> list[str | None]:
    """The other zones than `timezone` that the directory `name` of a cache is prepared for."""
    return [zone for zone in prepared_for(known, [name]) if zone != timezone]


def prepared_for(known: Receipt, places: Iterable[str]) -> list[str | None]:
    """The time zones that the directories `places` of a cache are prepared for; [] where the receipt does not tell."""
    wanted = set(places)
    return list(dict.fromkeys(e.options["timezone"] for _, e in living(known) if wanted & set(e.names)))


def in_zone(known: Receipt, wanted: Prepare, places: Iterable[str]) -> Remedy | None:
    """The remedy for directories `places` of a cache that are current in another zone than the one that is `wanted`,
    and shall stay so for those who need them; None where nobody does, as far as the receipt tells."""
    timezone = wanted.target.timezone
    zone = next((zone for zone in prepared_for(known, places) if zone != timezone), timezone)
    return None if zone == timezone else _in_zone(wanted, zone)


def again(known: Receipt, wanted: Prepare) -> Remedy | None:
    """The remedy that makes the cache right for `wanted` and takes it from nobody; None: prepare it as `wanted`."""
    account, key = wanted.target.account, freshness.key(wanted.target, wanted.roots)
    own, theirs = known.entries.get(key), None
    for _, entry in living(known):
        group = group_of(entry.options["owner"])
        if group is not None and group not in (account.gid, *account.groups):
            return another(wanted.readable(account.gid))
        if group != account.gid or entry.options["timezone"] != wanted.target.timezone:
            theirs = entry
    if theirs is None:
        return None
    if own:
        return Remedy("run again", prepare_of(wanted.directory, key, own).line())
    group = group_of(theirs.options["owner"])
    if group == account.gid:
        return None
    if group is None:
        return another(wanted.readable(account.gid))
    return Remedy("prepare it for its group", wanted.readable(group).line())


def rebuilt(known: Receipt, wanted: Prepare, paths: Iterable[str]) -> Remedy:
    """The remedy that makes `paths` in a cache anew, for all whom it serves: the `wanted` prepare, and each other
    prepare that alone needs such a directory; or what to do about a directory that nobody needs."""
    directory, key = wanted.directory, freshness.key(wanted.target, wanted.roots)
    remade, foreign = dict[str, None](), dict[str, None]()
    for name in dict.fromkeys(os.path.relpath(path, directory).split("/")[0] for path in paths):
        needed = [other for other, entry in living(known) if name in entry.names]
        if key in needed or not known.entries or name == "." or foreign_entries.own(name):
            remade[wanted.line("--reset")] = None
        elif needed:
            remade[prepare_of(directory, needed[0], known.entries[needed[0]]).line()] = None
        else:
            foreign[f"see whose {shlex.quote(os.path.join(directory, name))} is, and remove it"] = None
    return Remedy("; ".join([*foreign, *(["as root"] if remade else [])]), " && ".join(remade))


def prepare_of(directory: str, key: str, entry: Entry) -> Prepare:
    """The prepare called `key`, with its options."""
    python, paths, requirements = receipt.asked(key)
    options = entry.options
    uid, gid, *groups = options["user"]
    account = Account(accounts.user_name(uid), uid, gid, tuple(groups))
    target = Target(python, paths, account, group_of(options["owner"]), options["timezone"])
    return Prepare(directory, target, Roots(requirements, entry.strict), Limits(**options["limits"]))


def another(wanted: Prepare) -> Remedy:
    """The remedy for a user who cannot have this cache without taking it from others."""
    own = wanted.at(_beside(wanted.directory, wanted.target.account.name))
    return Remedy("prepare another directory, or a new one for both, with a --group that both are in", own.line())


def shown(zone: str | None) -> str:
    """A value of TZ, for a message."""
    return "the host's time zone" if zone is None else f"TZ={zone}"


def _in_zone(wanted: Prepare, zone: str | None) -> Remedy:
    own = wanted.at(_beside(wanted.directory, wanted.target.timezone or "local"))
    return Remedy(f"prepare another directory, or run both in {shown(zone)}", own.line())


def in_another(wanted: Prepare, zone: str | None) -> Remedy:
    """The remedy for a cache as `wanted`, for an application whose time zone is `zone`."""
    meant = replace(wanted, target=wanted.target._replace(timezone=zone))
    return _in_zone(meant, wanted.target.timezone)


def _beside(directory: str, name: str) -> str:
    plain = re.sub("[^A-Za-z0-9_]+", "-", name).strip("-") or "2"
    return f"{directory.rstrip('/')}-{plain}"


def living(known: Receipt) -> Iterator[tuple[str, Entry]]:
    """The prepares in the receipt, by key, except those whose Python is gone: they serve nobody."""
    return ((key, entry) for key, entry in known.entries.items() if not receipt.gone(receipt.asked(key)[0]))


def group_of(owner: Sequence[int]) -> int | None:
    """The group that alone may read a cache of this owner; None: everybody may."""
    return owner[1] if owner[2] == _LIMITED else None


def _whom(entry: Entry) -> str:
    group = group_of(entry.options["owner"])
    if group is None:
        return "everybody"
    return f"{accounts.user_name(entry.options['user'][0])} (group {accounts.group_name(group)})"
