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


def foresee(plan: Plan, cache: Cache, descriptor: int | None, progress: Progress) -> Outcomes:
    """The outcomes and findings of filling the `cache` by the `plan`. It is open at `descriptor`; None: it does not
    exist yet. Raises as `of` does."""
    outcomes, findings, digests = list[Outcome](), list[Finding](), dict[str, str]()
    progress.phase("reading the eggs", plan.size())
    for step in plan.steps():
        findings += step.findings
        if step.claim and not step.claim.twin:
            outcome, opened = of(step.claim, cache, descriptor), step.claim.opened
            damage = _damage(opened) if outcome.action != "kept" else None
            progress.advance(outcome.files, opened.egg.stat.st_size)
            if damage:
                findings.append(refusal(damage))
            else:
                outcomes.append(outcome)
                digests[step.claim.place.name] = step.claim.digest
    if descriptor is not None:
        places = {outcome.into for outcome in outcomes if outcome.action != "kept"}
        findings += (finding for finding in foreign_findings(cache, descriptor) if finding.thing not in places)
    return outcomes, findings, digests


def of(claim: Claim, cache: Cache, descriptor: int | None) -> Outcome:
    """The outcome for the place of a `claim` that is the first to it, in the `cache`, open at `descriptor`. Raises
    ServesOthers where the place would be taken from another time zone."""
    place, opened, extraction = claim.place, claim.opened, cache.record.extracted.get(claim.place.name)
    for zone in claim.other_zones:
        groups_and_time_zones.keep_dates(cache.prepare, place.egg, zone)
    into = os.path.join(cache.directory, place.name)
    if extraction and descriptor is not None and _holds(claim, cache, descriptor):
        return Outcome(place.egg, into, "kept", extraction.files, extraction.size)
    action = "replaced" if descriptor is not None and files.exists(place.name, descriptor) else "made"
    sizes = [member.size for _, member in opened.members]
    return Outcome(place.egg, into, action, len(sizes), sum(sizes))


def _holds(claim: Claim, cache: Cache, descriptor: int) -> bool:
    """Whether the place has what is claimed already: what was extracted before, with the same digest, has the bytes of
    the egg, and is as it was left. The bytes are those of that egg, or of another tree's, which the plan has compared
    where no prepare has found the two at odds."""
    place, extraction = claim.place, cache.record.extracted[claim.place.name]
    if extraction.expected != claim.digest:
        return False
    if (extraction.egg, extraction.source) != (place.egg, freshness.of_stat(claim.opened.egg.stat)):
        is_shared = extraction.egg != place.egg and place.name in cache.names_beside
        if not is_shared or extraction.source != freshness.fingerprint(extraction.egg):
            return False
    return extraction.found == freshness.digest(descriptor, place.name)


def removal(cache: Cache, name: str) -> Outcome:
    """The outcome for the directory `name`, which no tree needs any more."""
    extracted = cache.record.extracted[name]
    return Outcome(extracted.egg, os.path.join(cache.directory, name), "removed", extracted.files, extracted.size)


def foreign_findings(cache: Cache, descriptor: int) -> Iterator[Finding]:
    """What is not eggcache's own in the cache as it is then: when all has its place, which may be theirs now."""
    record = cache.record
    for finding in foreign_entries.findings(descriptor, cache.directory, record.extracted, without_receipt=False):
        name = os.path.basename(finding.thing)
        if finding.status and name.endswith("-tmp") and name in cache.names_beside:
            # what is not to be removed by hand, since others are served from it
            yield replace(finding, remedy=groups_and_time_zones.rebuild(record, cache.prepare, [finding.thing]))
        else:
            yield finding


def _damage(opened: Opened) -> EggcacheError | None:
    """The error for which this egg would be refused; None where it would not."""
    try:
        opened.check()
    except EggcacheError as error:
        return error
    return None
