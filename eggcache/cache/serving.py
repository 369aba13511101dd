"""Whom a cache serves, by its receipt: what no prepare and no remedy may take from them.

A cache has one group, and each file in it one date. Another group, or the dates of another time zone, take the cache
from those whom it serves: each of their pages is an ExtractionError from then on, though nobody has touched their
server. An administrator who wants that removes the cache first; `remove` names the processes that use it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from eggcache import remedies
from eggcache.cache import entries, receipt
from eggcache.cache.receipt import Entry, Receipt
from eggcache.errors import NotPermitted
from eggcache.system import accounts
from eggcache.system.accounts import Account


class ServesOthers(NotPermitted):
    """The cache serves others, from whom it is not taken. Nothing is unsafe about that: it keeps no server down."""

    lenient = 0  # the server starts as it did before


_LIMITED = 0o750  # the mode of a cache that one group alone may read, see freshness.ownership


def keep_readers(known: Receipt, directory: str, owner: Sequence[int], user: str) -> None:
    """Raise ServesOthers where giving the cache `directory` to `owner` (uid, gid and modes), for `user`, would close it
    to somebody whom it serves, or open it to everybody."""
    wanted = readers(owner)
    for _, entry in living(known):
        if readers(entry.options["owner"]) != wanted:
            raise ServesOthers(directory, f"it is prepared for {_whom(entry)}", _another(directory, user, wanted))


def keep_dates(directory: str, egg: str, zone: str | None, timezone: str | None) -> None:
    """Raise ServesOthers: the `egg` is in the cache `directory` dated for `zone`, and would be dated for `timezone`."""
    cause = f"it is prepared for {shown(zone)}, and {egg} cannot be current in {shown(timezone)} as well"
    raise ServesOthers(directory, cause, _in_zone(directory, zone, timezone))


def zones(known: Receipt, name: str, timezone: str | None) -> list[str | None]:
    """The other zones than `timezone` that the directory `name` of a cache is prepared for."""
    return [zone for zone in prepared_for(known, [name]) if zone != timezone]


def prepared_for(known: Receipt, places: Iterable[str]) -> list[str | None]:
    """The time zones that the directories `places` of a cache are prepared for; [] where the receipt does not tell."""
    wanted = set(places)
    return list(dict.fromkeys(e.options["timezone"] for _, e in living(known) if wanted & set(e.names)))


def in_zone(known: Receipt, directory: str, places: Iterable[str], timezone: str | None) -> str | None:
    """The remedy for directories `places` of the cache `directory` that are current in another zone than `timezone`,
    and shall stay so for those who need them; None where nobody does, as far as the receipt tells."""
    zone = next((zone for zone in prepared_for(known, places) if zone != timezone), timezone)
    return None if zone == timezone else _in_zone(directory, zone, timezone)


def again(known: Receipt, directory: str, key: str, account: Account, timezone: str | None) -> str | None:
    """What makes the cache `directory` right for `account` and `timezone`, with the prepare called `key`, and takes it
    from nobody; None where that is to prepare it as the check was asked for."""
    own, theirs = known.entries.get(key), None
    for _, entry in living(known):
        group = readers(entry.options["owner"])
        if group is not None and group not in (account.gid, *account.groups):
            return _another(directory, account.name, account.gid)
        if group != account.gid or entry.options["timezone"] != timezone:
            theirs = entry
    if theirs is None:
        return None
    if own:
        return f"run again: {command(directory, key, own)}"
    group = readers(theirs.options["owner"])
    if group == account.gid:
        return None
    if group is None:
        return _another(directory, account.name, account.gid)
    user = shlex.join(["--user", account.name, "--group", accounts.group_name(group)])
    return f"run: eggcache prepare {shlex.quote(directory)} {user}"


def rebuilt(known: Receipt, directory: str, key: str, paths: Iterable[str]) -> str:
    """What makes `paths` in the cache `directory` anew, for those whom it serves: the prepare called `key`, and of each
    other one that alone needs such a directory its own; or what to do about one that nobody needs."""
    remade, foreign = dict[str, None](), dict[str, None]()
    for path in paths:
        name = os.path.relpath(path, directory).split("/")[0]
        needed = [other for other, entry in living(known) if name in entry.names]
        if key in needed or not known.entries or name == "." or entries.own(name):
            remade[f"eggcache prepare --reset {shlex.quote(directory)}"] = None
        elif needed:
            remade[command(directory, needed[0], known.entries[needed[0]])] = None
        else:
            foreign[f"see whose {shlex.quote(os.path.join(directory, name))} is, and remove it"] = None
    return "; ".join([*([f"as root: {' && '.join(remade)}"] if remade else []), *foreign])


def command(directory: str, key: str, entry: Entry) -> str:
    """The command line that does the prepare called `key` again."""
    python, paths, requirements = receipt.asked(key)
    group, options = readers(entry.options["owner"]), entry.options
    words = remedies.words(
        python=python,
        paths=paths,
        user=None if group is None else accounts.user_name(options["user"][0]),
        group=None if group is None else accounts.group_name(group),
        timezone=options["timezone"],
        limits=[f"{name}={count}" for name, count in sorted(options["limits"].items())],
    )
    return shlex.join(["eggcache", "prepare", directory, *words, *remedies.tree(requirements, not requirements)])


def _another(directory: str, user: str, gid: int | None) -> str:
    """The remedy for a `user` who cannot have the cache `directory` without taking it from others."""
    who = "" if gid is None else f" {shlex.join(['--user', user, '--group', accounts.group_name(gid)])}"
    own = f"eggcache prepare {_beside(directory, user)}{who}"
    return f"prepare another directory: {own}; or a new one for both, with a --group that both are in"


def shown(zone: str | None) -> str:
    """A value of TZ, for a message."""
    return "the host's time zone" if zone is None else f"TZ={zone}"


def _in_zone(directory: str, zone: str | None, timezone: str | None) -> str:
    own = f"eggcache prepare {_beside(directory, timezone or 'local')}"
    tz = "" if timezone is None else f" --tz {shlex.quote(timezone)}"
    return f"prepare another directory: {own}{tz}; or run both in {shown(zone)}"


def _beside(directory: str, name: str) -> str:
    plain = re.sub("[^A-Za-z0-9_]+", "-", name).strip("-") or "2"
    return shlex.quote(f"{directory.rstrip('/')}-{plain}")


def living(known: Receipt) -> Iterator[tuple[str, Entry]]:
    """The prepares that the receipt tells of, by key; not those whose Python is gone: they serve nobody."""
    return ((key, entry) for key, entry in known.entries.items() if not receipt.gone(receipt.asked(key)[0]))


def readers(owner: Sequence[int]) -> int | None:
    """The group that alone may read a cache of this owner; None: everybody may."""
    return owner[1] if owner[2] == _LIMITED else None


def _whom(entry: Entry) -> str:
    group = readers(entry.options["owner"])
    if group is None:
        return "everybody"
    return f"{accounts.user_name(entry.options['user'][0])} (group {accounts.group_name(group)})"
