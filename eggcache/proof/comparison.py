"""The files of a cache, compared with the eggs by eggcache itself: byte by byte, with the runtime user's rights.

pkg_resources is asked as well, see lookups; but releases up to 0.6c11 look at size and time alone.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from shlex import quote
from time import localtime, strftime

from eggcache.cache import entries, freshness, receipt
from eggcache.cache.filling import Cache, Filling, Place
from eggcache.eggs import layout
from eggcache.eggs import reader as eggs
from eggcache.eggs.batch import Batch
from eggcache.model import DateTime, Finding, Member, Outcome, Ownership, Run
from eggcache.proof.lookups import Lookup
from eggcache.proof.permissions import SHOWN
from eggcache.system import accounts
from eggcache.target.interpreter import Target

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PARTLY = {"directory-entries", "eager-missing", "unusual-names", "ambiguous-time"}  # no cache can serve all of it
_AT_ONCE = 256  # members, from one report of progress to the next
_QUARTER, _DAY = 900, 26 * 3600  # seconds: zones differ by quarters of an hour, and by 26 hours at most


@dataclass
class Differences:
    """What is wrong with the members of one egg: (path in the cache, why), by kind."""

    missing: list[tuple[str, str]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    outdated: list[tuple[str, str]] = field(default_factory=list)
    changed: list[tuple[str, str]] = field(default_factory=list)
    shifted: list[tuple[str, str]] = field(default_factory=list)

    def add(self, path: str, found: os.stat_result, member: Member, same: bool) -> None:
        """Judge one member that could be read."""
        off = found.st_mtime_ns - layout.mtime(member.date_time) * 10**9
        seconds, rest = divmod(off, 10**9)
        if found.st_size != member.size:
            self.outdated.append((path, f"has {found.st_size} bytes, the egg's has {member.size}"))
        elif off and same and not rest and not seconds % _QUARTER and abs(seconds) <= _DAY:
            self.shifted.append((path, f"{seconds / 3600:+g} h"))
        elif off:
            then = strftime("%Y-%m-%d %H:%M:%S", localtime(found.st_mtime))
            now = strftime("%Y-%m-%d %H:%M:%S", localtime(layout.mtime(member.date_time)))
            self.outdated.append((path, f"is of {then}, the egg's is of {now}"))
        elif not same:
            self.changed.append((path, "has the size and the time of the egg's, and other bytes"))


class Comparison(Filling):
    """Goes through the eggs of a tree as filling a cache does, and compares instead of writing."""

    doing = "comparing with the eggs"

    def __init__(
        self,
        directory: str,
        target: Target,
        run: Run,
        again: Callable[[], str | None],
        *,
        reachable: bool,
    ) -> None:
        owner = Ownership(target.account.uid, target.account.gid, 0o700, 0o600)  # nothing is written: nobody's
        super().__init__(Cache(directory, None, owner, receipt.Receipt(), ""), target, run)
        self.again = again  # the remedy for a directory of the cache that the plain one would take from others
        self.reachable = reachable  # False: no member needs to be looked for
        self.shifted: list[tuple[str, str]] = []  # members that are current in another time zone
        self.wrong: set[str] = set()  # eggs of which a finding speaks already
        self.dates: set[DateTime] = set()
        self.reported: list[tuple[int, tuple[str, str]]] = []  # a finding, by position, and the egg it is about

    def _fill(self, place: Place, source: int, egg: eggs.Egg, batch: Batch | None) -> bool:  # noqa: ARG002
        members = [(member, name) for member in egg.members if (name := layout.cached_name(member, place.inside))]
        self.names.append(place.name)
        self.dates.update(member.date_time for member, _ in members)
        into = os.path.join(self.directory, place.name)
        self.progress.advance(0, egg.stat.st_size - sum(member.packed for member, _ in members))
        if self.reachable:
            self._report(place, into, self._differences(into, source, egg, members))
        self._conclude(place, len(members), sum(member.size for member, _ in members))
        return True

    def _share(self, first: Place, place: Place, source: int, egg: eggs.Egg) -> bool:
        if not super()._share(first, place, source, egg):
            return False
        if first.egg != place.egg:  # what is wrong with the one is wrong with the other
            self.wrong.update({place.egg} if first.egg in self.wrong else ())
            done = next(one for one in self.outcomes if one.egg == first.egg)
            self._conclude(place, done.files, done.size)
        return True

    def _conclude(self, place: Place, files: int, size: int) -> None:
        codes = {finding.code for finding in self.findings if finding.thing == place.distribution.location}
        if codes & _PARTLY:
            self.wrong.add(place.egg)
        action = "unproven" if codes or place.egg in self.wrong or not self.reachable else "proven"
        self.outcomes.append(Outcome(place.egg, os.path.join(self.directory, place.name), action, files, size))

    def _differences(self, into: str, source: int, egg: eggs.Egg, members: list[tuple[Member, str]]) -> Differences:
        found = Differences()
        for start in range(0, len(members), _AT_ONCE):
            now = members[start : start + _AT_ONCE]
            with accounts.acting(self.account):
                for member, name in now:
                    self._compare(found, os.path.join(into, name), source, egg, member)
            # As ourselves: he may be unable to read what is loaded to draw it
            self.progress.advance(len(now), sum(member.packed for member, _ in now))
        return found

    def _compare(self, found: Differences, path: str, source: int, egg: eggs.Egg, member: Member) -> None:
        try:
            descriptor = os.open(path, _READ)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                found.missing.append((path, "is not there"))
            elif error.errno == errno.ELOOP:
                found.changed.append((path, "is a symbolic link"))
            else:
                found.unreadable.append((path, f"cannot be read: {error.strerror}"))
            return
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                found.changed.append((path, "is no regular file"))
                return
            same = info.st_size == member.size and self._same_bytes(descriptor, source, egg, member)
            found.add(path, info, member, same)
        finally:
            os.close(descriptor)

    def _same_bytes(self, descriptor: int, source: int, egg: eggs.Egg, member: Member) -> bool:
        """Whether the file open at `descriptor`, which has the size of the `member`, has its bytes."""
        return eggs.same_bytes(descriptor, source, egg, member)

    def _report(self, place: Place, into: str, found: Differences) -> None:
        """The findings about one egg."""
        self.shifted += found.shifted
        if found.shifted:
            self.wrong.add(place.egg)
        other = self.again()
        again = other or f"run again: eggcache prepare {quote(self.directory)}"
        unreadable = other or f"run again: eggcache prepare {quote(self.directory)} --user {quote(self.account.name)}"
        whole = not os.path.lexists(into)
        for code, rows, remedy in (
            ("egg-not-in-cache" if whole else "member-missing", found.missing, again),
            ("member-unreadable", found.unreadable, unreadable),
            ("member-outdated", found.outdated, again),
            ("member-changed", found.changed, f"find out who changed it, and {again}"),
        ):
            if not rows:
                continue
            self.wrong.add(place.egg)
            path, why = rows[0]
            more = f"and {len(rows) - 1} more of " if len(rows) > 1 else ""
            cause = f"it {why} ({more}{place.egg})"
            if whole:
                path, cause = into, f"it is not there, with the {len(rows)} files of {place.egg}"
            detail = tuple(f"{one} {reason}" for one, reason in rows[:SHOWN])
            self.reported.append((len(self.findings), (place.egg, place.distribution.inside)))
            self.findings.append(Finding(code, path, cause, remedy, context=detail))

    def testify(self, lookups: Sequence[Lookup]) -> None:
        """Add to what is found what the target's pkg_resources said of these eggs."""
        by_egg = {(lookup.egg, lookup.inside): lookup for lookup in lookups}
        for position, egg in self.reported:
            wrong = by_egg[egg].wrong[:SHOWN] if egg in by_egg else ()
            told = (f"pkg_resources: {one.kind} {one.name}: {one.told}" for one in wrong)
            found = self.findings[position]
            self.findings[position] = replace(found, context=(*found.context, *told))


def strangers(descriptor: int, directory: str, needed: Sequence[str]) -> list[Finding]:
    """The directories in the cache open at `descriptor` that neither this tree needs nor any tree in the receipt.

    Where there is a receipt that we may not read, or must not believe, nobody knows what other trees need.
    """
    known = receipt.read(descriptor)
    present = sorted(os.listdir(descriptor))
    if freshness.NAME in present and not known.entries:
        return []
    wanted = known.needed_beside("") | set(needed)
    found = []
    for name in present:
        if name.endswith("-tmp") and not entries.own(name) and name not in wanted:
            ours = name in known.extracted
            found.append(
                Finding(
                    "stale-directory",
                    os.path.join(directory, name),
                    "no tree that was prepared here needs it",
                    f"eggcache prepare --prune {quote(directory)}" if ours else "remove it, if you know what it is",
                )
            )
    return found
