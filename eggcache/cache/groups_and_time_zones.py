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


# What many environments are called, and where the system's Pythons are: they name no site
_COMMON = {"env", "venv", ".venv", "virtualenv", "usr", "local"}
_LIMITED = 0o750  # the mode of a cache that one group alone may read, see freshness.ownership


def keep_readers(record: Receipt, prepare: Prepare) -> None:
    """Refuse a prepare that would close a cache to others that it serves, or open it to everybody.

    :param record: the receipt of the cache
    :param prepare: what is going to be run
    :raises ServesOthers: it would do so
    """
    group = group_of(freshness.ownership(prepare.target.group))
    for _, entry in entries_in_use(record):
        if group_of(entry.options["owner"]) != group:
            raise ServesOthers(prepare.directory, f"it is prepared for {_readers(entry)}", other_directory(prepare))


def keep_dates(prepare: Prepare, egg: str, zone: str | None) -> None:
    """Raise ServesOthers: the `egg` is in the cache dated for `zone`, and would be dated for another one."""
    zone_of_prepare = zone_name(prepare.target.timezone)
    cause = f"it is prepared for {zone_name(zone)}, and {egg} cannot be current in {zone_of_prepare} as well"
    raise ServesOthers(prepare.directory, cause, _in_zone(prepare, zone))


def zones_by_name(record: Receipt) -> dict[str, list[str | None]]:
    """The time zones that each directory of a cache is prepared for.

    :param record: the receipt of the cache
    :returns: by the name of the directory: values of TZ, and None for the host's own zone
    """
    zones: dict[str, list[str | None]] = {}
    for _, entry in entries_in_use(record):
        for name in entry.names:
            if entry.options["timezone"] not in zones.setdefault(name, []):
                zones[name].append(entry.options["timezone"])
    return zones


def zones_of(record: Receipt, places: Iterable[str]) -> list[str | None]:
    """The time zones that directories of a cache are prepared for.

    :param record: the receipt of the cache
    :param places: the names of the directories
    :returns: values of TZ, and None for the host's own zone; [] where the receipt does not tell
    """
    zones = zones_by_name(record)
    return list(dict.fromkeys(zone for name in dict.fromkeys(places) for zone in zones.get(name, ())))


def zone_remedy(record: Receipt, prepare: Prepare, places: Iterable[str]) -> Remedy | None:
    """The remedy for directories of a cache that are current in another zone than that of a prepare, and shall stay so.

    :param record: the receipt of the cache
    :param prepare: whose zone is another one
    :param places: the names of the directories
    :returns: None where nobody needs them in another zone, as far as the receipt tells
    """
    timezone = prepare.target.timezone
    zone = next((zone for zone in zones_of(record, places) if zone != timezone), timezone)
    return None if zone == timezone else _in_zone(prepare, zone)


def repair(record: Receipt, prepare: Prepare) -> Remedy | None:
    """The remedy that makes a cache right for a prepare and takes it from nobody.

    :param record: the receipt of the cache
    :param prepare: what the cache is to be right for
    :returns: None where `prepare` itself does that
    """
    account, key = prepare.target.account, freshness.key(prepare.target, prepare.roots)
    entry_of_prepare, neighbour = record.entries.get(key), None
    for _, entry in entries_in_use(record):
        group = group_of(entry.options["owner"])
        if group is not None and group not in (account.gid, *account.groups):
            return other_directory(prepare.readable(account.gid))
        if group != account.gid or entry.options["timezone"] != prepare.target.timezone:
            neighbour = entry
    if neighbour is None:
        return None
    if entry_of_prepare:
        return Remedy("run again", prepare_of(prepare.directory, key, entry_of_prepare).line())
    group = group_of(neighbour.options["owner"])
    if group == account.gid:
        return None
    if group is None:
        return other_directory(prepare.readable(account.gid))
    return Remedy("prepare it for its group", prepare.readable(group).line())


def rebuild(record: Receipt, prepare: Prepare, paths: Iterable[str]) -> Remedy:
    """The remedy that makes files of a cache anew, for all whom it serves.

    It is `prepare` itself, and each other prepare that alone needs such a directory; or what to do about a directory
    that nobody needs.

    :param record: the receipt of the cache
    :param prepare: the prepare whose cache it is
    :param paths: the files or directories in the cache
    """
    directory, key = prepare.directory, freshness.key(prepare.target, prepare.roots)
    commands, texts = dict[str, None](), dict[str, None]()
    for name in dict.fromkeys(os.path.relpath(path, directory).split("/")[0] for path in paths):
        keys = [entry_key for entry_key, entry in entries_in_use(record) if name in entry.names]
        if key in keys or not record.entries or name == "." or foreign_entries.is_own(name):
            commands[prepare.line("--reset")] = None
        elif keys:
            commands[prepare_of(directory, keys[0], record.entries[keys[0]]).line()] = None
        else:
            texts[f"see whose {shlex.quote(os.path.join(directory, name))} is, and remove it"] = None
    return Remedy("; ".join([*texts, *(["as root"] if commands else [])]), " && ".join(commands))


def prepare_of(directory: str, key: str, entry: Entry) -> Prepare:
    """The prepare that an entry of a receipt tells of, with its options.

    :param directory: the cache
    :param key: the key of the entry
    :param entry: the entry
    """
    python, paths, requirements = receipt.parts_of_key(key)
    options = entry.options
    uid, gid, *groups = options["user"]
    account = Account(accounts.user_name(uid), uid, gid, tuple(groups))
    target = Target(python, paths, account, group_of(options["owner"]), options["timezone"])
    return Prepare(directory, target, Roots(requirements, entry.strict), Limits(**options["limits"]))


def other_directory(prepare: Prepare) -> Remedy:
    """The remedy for a user who cannot have a cache without taking it from others.

    :param prepare: what the user would have run
    """
    line = own_directory(prepare).line()
    return Remedy("prepare another directory, or a new one for both, with a --group that both are in", line)


def own_directory(prepare: Prepare) -> Prepare:
    """The same in a directory beside, which is called after the user.

    :param prepare: what the user would have run
    """
    return prepare.at(_neighbour(prepare.directory, prepare.target.account.name))


def zone_name(zone: str | None) -> str:
    """A value of TZ, for a message.

    :param zone: the value; None: TZ is unset
    """
    return "the host's time zone" if zone is None else f"TZ={zone}"


def directory_of_zone(prepare: Prepare) -> Prepare:
    """The same in a directory beside, which is called after the time zone.

    :param prepare: what would have been run
    """
    return prepare.at(_neighbour(prepare.directory, prepare.target.timezone or "local"))


def directory_of_tree(prepare: Prepare) -> Prepare:
    """The same in a directory beside, which is called after the environment of the target, or after what that is in
    where environments have such names; after the program for a Python of the system's.

    :param prepare: what would have been run
    """
    place = os.path.dirname(os.path.dirname(prepare.target.python))
    while os.path.basename(place) in _COMMON:
        place = os.path.dirname(place)
    name = os.path.basename(place) or os.path.basename(prepare.target.python)
    return prepare.at(_neighbour(prepare.directory, name))


def _in_zone(prepare: Prepare, zone: str | None) -> Remedy:
    return Remedy(f"prepare another directory, or run both in {zone_name(zone)}", directory_of_zone(prepare).line())


def other_zone_remedy(prepare: Prepare, zone: str | None) -> Remedy:
    """The remedy for a cache as a prepare makes it, and an application in another time zone.

    :param prepare: the prepare
    :param zone: the value of TZ that the application has; None: TZ is unset
    """
    prepare_there = replace(prepare, target=prepare.target._replace(timezone=zone))
    return _in_zone(prepare_there, prepare.target.timezone)


def _neighbour(directory: str, name: str) -> str:
    suffix = re.sub("[^A-Za-z0-9_]+", "-", name).strip("-") or "2"
    return f"{directory.rstrip('/')}-{suffix}"


def entries_in_use(record: Receipt) -> Iterator[tuple[str, Entry]]:
    """The entries of a receipt, by key, except those whose Python is gone: they serve nobody.

    :param record: the receipt
    """
    return ((key, entry) for key, entry in record.entries.items() if not receipt.is_gone(receipt.parts_of_key(key)[0]))


def group_of(owner: Sequence[int]) -> int | None:
    """The group that alone may read a cache of this owner; None: everybody may."""
    return owner[1] if owner[2] == _LIMITED else None


def _readers(entry: Entry) -> str:
    group = group_of(entry.options["owner"])
    if group is None:
        return "everybody"
    return f"{accounts.user_name(entry.options['user'][0])} (group {accounts.group_name(group)})"
