"""Which directories of a cache a prepare keeps, and which it makes, replaces or removes: the outcome for each.

A dry run reports these. Nothing is written here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from eggcache.cache import foreign_entries, freshness, groups_and_time_zones
from eggcache.cache.plan import Cache, Claim, Plan
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError
from eggcache.model import Finding, Outcome
from eggcache.progress import Progress
from eggcache.system import files
from eggcache.target.skipped_eggs import refusal

Outcomes = tuple[list[Outcome], list[Finding], dict[str, str]]  # and the digests of what is expected, by name


def foresee(plan: Plan, cache: Cache, there: int | None, progress: Progress) -> Outcomes:
    """The outcomes and findings of filling the `cache`, open at `there` (None: it does not exist yet), by the `plan`.
    Raises as `of` does."""
    outcomes, findings, expected = list[Outcome](), list[Finding](), dict[str, str]()
    progress.phase("reading the eggs", plan.size())
    for step in plan.steps():
        findings += step.findings
        if step.claim and not step.claim.first:
            outcome, one = of(step.claim, cache, there), step.claim.opened
            damage = _damage(one) if outcome.action != "kept" else None
            progress.advance(outcome.files, one.egg.stat.st_size)
            if damage:
                findings.append(refusal(damage))
            else:
                outcomes.append(outcome)
                expected[step.claim.place.name] = step.claim.expected
    if there is not None:
        remade = {outcome.into for outcome in outcomes if outcome.action != "kept"}
        findings += (one for one in foreign(cache, there) if one.thing not in remade)
    return outcomes, findings, expected


def of(claim: Claim, cache: Cache, there: int | None) -> Outcome:
    """The outcome for the place of a `claim` that is the first to it, in the `cache` that is open at `there`. Raises
    ServesOthers where the place would be taken from another time zone."""
    place, opened, before = claim.place, claim.opened, cache.known.extracted.get(claim.place.name)
    for zone in claim.redated:
        groups_and_time_zones.keep_dates(cache.wanted, place.egg, zone)
    into = os.path.join(cache.directory, place.name)
    if before and there is not None and _holds(claim, cache, there):
        return Outcome(place.egg, into, "kept", before.files, before.size)
    action = "replaced" if there is not None and files.exists(place.name, there) else "made"
    sizes = [member.size for _, member in opened.members]
    return Outcome(place.egg, into, action, len(sizes), sum(sizes))


def _holds(claim: Claim, cache: Cache, there: int) -> bool:
    """Whether the place has what is claimed already: what was extracted before, with the same digest, has the bytes of
    the egg, and is as it was left. The bytes are those of that egg, or of another tree's, which the plan has compared
    where no prepare has found the two at odds."""
    place, before = claim.place, cache.known.extracted[claim.place.name]
    if before.expected != claim.expected:
        return False
    if (before.egg, before.source) != (place.egg, freshness.of_stat(claim.opened.egg.stat)):
        shared = before.egg != place.egg and place.name in cache.known.needed_beside(cache.key)
        if not shared or before.source != freshness.fingerprint(before.egg):
            return False
    return before.found == freshness.digest(there, place.name)


def removal(cache: Cache, name: str) -> Outcome:
    """The outcome for the directory `name`, which no tree needs any more."""
    extracted = cache.known.extracted[name]
    return Outcome(extracted.egg, os.path.join(cache.directory, name), "removed", extracted.files, extracted.size)


def foreign(cache: Cache, there: int) -> Iterator[Finding]:
    """What is not eggcache's own in the cache as it is then: when all has its place, which may be theirs now."""
    record = cache.known
    for finding in foreign_entries.findings(there, cache.directory, record.extracted, lost=False):
        name = os.path.basename(finding.thing)
        if finding.status and name.endswith("-tmp") and name in record.needed_beside(cache.key):
            # what is not to be removed by hand, since others are served from it
            yield replace(finding, remedy=groups_and_time_zones.rebuild(record, cache.wanted, [finding.thing]))
        else:
            yield finding


def _damage(opened: Opened) -> EggcacheError | None:
    """The error for which this egg would be refused; None where it would not."""
    try:
        opened.check()
    except EggcacheError as error:
        return error
    return None
