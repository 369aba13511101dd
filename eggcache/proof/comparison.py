"""The files of a cache, compared with the eggs by eggcache itself: byte by byte, with the runtime user's rights.

pkg_resources is asked as well (`target_side`); but old releases look at size and time alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from eggcache.cache import foreign_entries, freshness
from eggcache.cache.plan import Place, Plan
from eggcache.cache.receipt import Receipt
from eggcache.eggs import reader as eggs
from eggcache.eggs import zip_dates
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError, Remedy
from eggcache.model import DateTime, Finding, Member, Outcome, Run, Tree
from eggcache.proof.permissions import SHOWN
from eggcache.proof.target_side import Lookup
from eggcache.system import accounts, package_data
from eggcache.target.command_lines import Prepare
from eggcache.target.eggs_on_path import EarlyReader
from eggcache.target.interpreter import Target

_PARTLY = {"directory-entries", "eager-missing", "unusual-names", "ambiguous-time"}  # no cache can serve all of it
_AT_ONCE = 256  # members, from one report of progress to the next
_SHIFTED = "time-zone"  # the code of what is current in another zone

Differences = dict[str, list[tuple[str, str]]]  # what is wrong with the members of one egg, by code: path, and why


def _inflated(descriptor: int, opened: Opened, member: Member) -> bool:
    return eggs.same_bytes(descriptor, opened.source, opened.egg, member)


# The path of a file, its size and mtime, and whether the open file has the bytes: a code, "" for none, and the reason
_Rule = Callable[[str, int, int, Callable[[int], bool]], tuple[str, str]]


@cache
def _judge() -> dict[str, Any]:
    """What inside/file_fault.py defines, by which a target judges as well. What is inside/ is text to eggcache: it can
    be no package in a zip."""
    names: dict[str, Any] = {}
    exec(package_data.read("target/inside/file_fault.py"), names)  # noqa: S102
    return names


@dataclass
class Comparison:
    """The plan of a tree held against a cache: which files of each egg are there, as the runtime user sees it."""

    prepare: Prepare  # the cache should have come of it
    run: Run
    again: Callable[[], Remedy | None]  # the remedy where the plain one would take a directory from others
    reachable: bool  # False: no member needs to be looked for
    #: whether the file open at a descriptor, which has the size of a member, has its bytes
    same: Callable[[int, Opened, Member], bool] = _inflated
    outcomes: list[Outcome] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of the places that this tree needs
    shifted: list[tuple[str, str]] = field(default_factory=list)  # members that are current in another time zone
    wrong: set[str] = field(default_factory=set)  # eggs of which a finding speaks already
    dates: set[DateTime] = field(default_factory=set)
    reported: list[tuple[int, tuple[str, str]]] = field(default_factory=list)  # a finding, by position, and its egg

    @property
    def directory(self) -> str:
        return self.prepare.directory

    @property
    def target(self) -> Target:
        return self.prepare.target

    def compare(self, tree: Tree, read: EarlyReader | None = None) -> None:
        """Compare all that the cache should have of `tree`, in the zone of zip_dates.zone. `read` has the eggs read so
        far."""
        plan = Plan(tree, self.target, (read or EarlyReader(self.target.account, self.run.limits)).opened)
        self.run.progress.phase("comparing with the eggs", plan.size())
        steps = plan.steps()
        for step in steps:
            self.findings += step.findings
            try:
                if step.claim and step.claim.twin:
                    self._share(step.claim.twin, step.claim.place)
                elif step.claim:
                    self._judge(step.claim.place, step.claim.opened)
            except EggcacheError as error:  # its bytes are read here for the first time
                self.wrong.update({step.claim.place.egg} if step.claim else ())
                self.findings += steps.throw(error).findings

    def _judge(self, place: Place, opened: Opened) -> None:
        members = list(opened.members)
        self.names.append(place.name)
        self.dates.update(member.date_time for _, member in members)
        into = os.path.join(self.directory, place.name)
        self.run.progress.advance(0, opened.egg.stat.st_size - sum(member.packed for _, member in members))
        if self.reachable:
            self._report(place, into, self._differences(into, opened, members))
        self._conclude(place, len(members), sum(member.size for _, member in members))

    def _share(self, first: Place, place: Place) -> None:
        if first.egg != place.egg:  # what is wrong with the one is wrong with the other
            self.wrong.update({place.egg} if first.egg in self.wrong else ())
            outcome = next(outcome for outcome in self.outcomes if outcome.egg == first.egg)
            self._conclude(place, outcome.files, outcome.size)

    def _conclude(self, place: Place, files: int, size: int) -> None:
        findings = [finding for finding in self.findings if finding.thing == place.distribution.location]
        codes = {finding.code for finding in findings if finding.status}  # a notice takes nothing from what is proven
        if codes & _PARTLY:
            self.wrong.add(place.egg)
        action = "unproven" if codes or place.egg in self.wrong or not self.reachable else "proven"
        self.outcomes.append(Outcome(place.egg, os.path.join(self.directory, place.name), action, files, size))

    def _differences(self, into: str, opened: Opened, members: list[tuple[str, Member]]) -> Differences:
        faults: Differences = {}
        difference: _Rule = _judge()["difference"]  # as ourselves: what is read first, he may be unable to read
        for start in range(0, len(members), _AT_ONCE):
            now = members[start : start + _AT_ONCE]
            with accounts.acting(self.target.account):
                for name, member in now:
                    path = os.path.join(into, name)
                    mtime = zip_dates.mtime(member.date_time)
                    code, why = difference(path, member.size, mtime, self._bytes_of(opened, member))
                    if code:
                        faults.setdefault(code, []).append((path, why))
            # As ourselves: he may be unable to read what is loaded to draw it
            self.run.progress.advance(len(now), sum(member.packed for _, member in now))
        with accounts.acting(self.target.account):
            for path in _judge()["directories_of"](into, [name for name, _ in members]):
                # Where he may not even search it, the files in it have been found unreadable
                if not accounts.may(path, os.R_OK) and accounts.may(path, os.X_OK):
                    faults.setdefault("member-unreadable", []).append((path, "cannot be listed: Permission denied"))
        return faults

    def _bytes_of(self, opened: Opened, member: Member) -> Callable[[int], bool]:
        return lambda descriptor: self.same(descriptor, opened, member)

    def _report(self, place: Place, into: str, faults: Differences) -> None:
        """The findings about one egg."""
        if not faults:
            return
        self.shifted += faults.get(_SHIFTED, ())
        if _SHIFTED in faults:
            self.wrong.add(place.egg)
        other = self.again()
        again = other or Remedy("run again", self.prepare.line())
        whole = not os.path.lexists(into)
        for code, remedy in (
            ("member-missing", again),
            ("member-unreadable", other or Remedy("run again", self.prepare.readable().line())),
            ("member-outdated", again),
            ("member-changed", Remedy(f"find out who changed it, and {again.text}", again.command)),
        ):
            rows = faults.get(code)
            if not rows:
                continue
            self.wrong.add(place.egg)
            path, why = rows[0]
            more = f"and {len(rows) - 1} more of " if len(rows) > 1 else ""
            cause = f"it {why} ({more}{place.egg})"
            if whole:
                code, path = "egg-not-in-cache", into
                cause = f"it is missing, with the {len(rows):,} file{'s' * (len(rows) != 1)} of {place.egg}"
            detail = tuple(f"{file} {reason}" for file, reason in rows[:SHOWN])
            self.reported.append((len(self.findings), (place.egg, place.distribution.inside)))
            self.findings.append(Finding(code, path, cause, remedy, context=detail))

    def testify(self, lookups: Sequence[Lookup], *, as_server: bool) -> None:
        """Add to the findings what the target's pkg_resources said of the same eggs in its `lookups`. `as_server` is
        whether it did so in the locale of the server, on which depends who gets a name outside of ASCII."""
        by_egg = {(lookup.egg, lookup.inside): lookup for lookup in lookups}
        for position, egg in self.reported:
            wrong = by_egg[egg].wrong[:SHOWN] if egg in by_egg else ()
            words = (f"pkg_resources: {failure.kind} {failure.name}: {failure.failure}" for failure in wrong)
            finding = self.findings[position]
            self.findings[position] = replace(finding, context=(*finding.context, *words))
        if as_server:
            self._acquit({lookup.egg for lookup in lookups if not lookup.failed})

    def _acquit(self, served: set[str]) -> None:
        """Take back that names are unusual of those eggs that are `served` whole."""
        for number, outcome in enumerate(self.outcomes):
            own = [finding for finding in self.findings if finding.thing == outcome.egg]
            if outcome.egg not in served or "unusual-names" not in {finding.code for finding in own}:
                continue
            self.findings = [each for each in self.findings if each not in own or each.code != "unusual-names"]
            if not any(finding.status and finding.code != "unusual-names" for finding in own):
                self.wrong.discard(outcome.egg)
                self.outcomes[number] = replace(outcome, action="proven" if self.reachable else "unproven")


def strangers(record: Receipt, present: Sequence[str], prepare: Prepare, needed: Sequence[str]) -> list[Finding]:
    """The directories in the cache that neither this tree nor any tree in its receipt needs.

    With a receipt that we may not read, or must not believe, nobody knows what other trees need.

    :param record: the receipt
    :param present: the names in the cache, in order, as they were when the receipt was read
    :param prepare: what is to be followed to prepare the cache
    :param needed: the directories that this tree needs
    """
    if freshness.NAME in present and not record.entries:
        return []
    required = record.needed_beside("") | set(needed)
    cause = "no tree that was prepared here needs it"
    prune, other = Remedy("have it removed", prepare.line("--prune")), Remedy("remove it, if you know what it is")
    remedies = {name: prune if name in record.extracted else other for name in present}
    return [
        Finding("stale-directory", os.path.join(prepare.directory, name), cause, remedies[name])
        for name in present
        if name.endswith("-tmp") and not foreign_entries.is_own(name) and name not in required
    ]
