"""Filling a cache as a plan says: what holds already is kept, the rest is extracted and swapped into its place."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from eggcache import __version__
from eggcache.cache import entries, freshness, receipt, serving
from eggcache.cache.plan import Cache, Claim, Place, Plan
from eggcache.eggs.batch import Batch
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError
from eggcache.model import Finding, Outcome, Run, Tree
from eggcache.system import exchange, files, staging, syscalls
from eggcache.target.early_reading import EarlyReader
from eggcache.target.interpreter import Target
from eggcache.target.skipped import refusal

if TYPE_CHECKING:
    from eggcache.cache.freshness import Fingerprint

# A file that changed this shortly before it was read may change again within one tick of the clock.
_TICK = 20_000_000  # nanoseconds


@dataclass
class Filling:
    """What one prepare does to the directories of a cache, egg by egg."""

    cache: Cache
    descriptor: int | None  # the verified cache; None: there is none yet, in a dry run
    target: Target  # layout.zone has set its time zone
    run: Run
    read: EarlyReader | None = None  # what was read of the eggs already
    outcomes: list[Outcome] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    expected: dict[str, str] = field(default_factory=dict)  # by the names that this tree needs, digests of the content
    staged: list[tuple[Place, receipt.Extracted]] = field(default_factory=list)
    displaced: bool = False  # whether the stage holds what processes may be looking at
    sources: dict[str, Fingerprint] = field(default_factory=dict)  # of the eggs

    def fill(self, tree: Tree, staged: int | None) -> None:
        """Extract below `staged` what is not there yet (None: a dry run); findings go on the list. Raises ServesOthers
        where an egg would be taken from another time zone."""
        read = self.read or EarlyReader(self.target.account, self.run.limits)
        plan = Plan(tree, self.target, read.opened, self.cache)
        self.run.progress.phase("extracting", plan.size())
        with nullcontext() if staged is None else Batch(staged, self.run.progress.advance) as batch:
            for step in plan.steps():
                self.findings += step.findings
                for path, seen in step.sources.items():
                    self.sources.setdefault(path, seen)
                if step.claim and not step.claim.first:
                    self._fill(step.claim, batch)

    def _fill(self, claim: Claim, batch: Batch | None) -> None:
        """Keep the directory that is claimed, where it is as it should be already; else make it anew."""
        place, one, expected = claim.place, claim.opened, claim.expected
        for zone in claim.redated:
            serving.keep_dates(self.cache.wanted, place.egg, zone)
        seen, before = freshness.of_stat(one.egg.stat), self.cache.known.extracted.get(place.name)
        into = os.path.join(self.cache.directory, place.name)
        self.expected[place.name] = expected
        if (
            before
            and self.descriptor is not None
            and before.expected == expected
            and self._equal(before, place, seen)
            and before.found == freshness.digest(self.descriptor, place.name)
        ):
            self.outcomes.append(Outcome(place.egg, into, "kept", before.files, before.size))
            self.run.progress.advance(before.files, one.egg.stat.st_size)
            return
        made = "replaced" if self.descriptor is not None and files.exists(place.name, self.descriptor) else "made"
        wanted = [member for _, member in one.members()]
        outcome = Outcome(place.egg, into, made, len(wanted), sum(member.size for member in wanted))
        self.outcomes.append(outcome)

        def then(why: EggcacheError | None) -> None:
            if why is None:
                done = receipt.Extracted(place.egg, seen, expected, "", outcome.files, outcome.size)
                self.staged.append((place, done))
                return
            self.outcomes.remove(outcome)
            del self.expected[place.name]
            self.findings.append(refusal(why))

        self.run.progress.advance(0, one.egg.stat.st_size - sum(member.packed for member in wanted))
        if batch is None:
            then(_damage(one))
        else:
            batch.add(place.name, one, self.cache.ownership(one.egg), then)

    def _equal(self, before: receipt.Extracted, place: Place, seen: Fingerprint) -> bool:
        """Whether what was extracted before, with the same digest, has the bytes of the egg of `place`, with which no
        other tree's has been found to be at odds: it is that egg, or another tree's, which the plan has compared."""
        if (before.egg, before.source) == (place.egg, seen):
            return True
        shared = before.egg != place.egg and place.name in self.cache.known.needed_beside(self.cache.key)
        return shared and before.source == freshness.fingerprint(before.egg)

    def swap(self, staged: int, allow_gap: bool) -> None:
        """Put what is staged in its place, on the disk before it can be seen (a power cut must not leave empty
        files behind names that promise an egg). For `allow_gap` see `exchange`."""
        cache = self.descriptor
        if cache is None or not self.staged:
            return
        self.run.progress.phase("writing to the disk")
        syscalls.sync_filesystem(staged)
        for place, done in self.staged:
            if files.exists(place.name, cache):
                exchange.swap(staged, cache, place.name, allow_gap)
                self.displaced = True
            else:
                os.rename(place.name, place.name, src_dir_fd=staged, dst_dir_fd=cache)
            found = freshness.digest(cache, place.name)
            self.cache.known.extracted[place.name] = replace(done, found=found)

    def drop(self, prune: bool, staged: int | None) -> None:
        """With `prune`, move what no tree needs any more into the stage, which is about to be removed."""
        directory, extracted = self.cache.directory, self.cache.known.extracted
        for name in self.cache.known.prunable(self.cache.key, self.expected) if prune else ():
            done = extracted[name]
            self.outcomes.append(Outcome(done.egg, os.path.join(directory, name), "removed", done.files, done.size))
            if staged is not None and self.descriptor is not None:
                if files.exists(name, self.descriptor):
                    os.rename(name, f"{name}.pruned", src_dir_fd=self.descriptor, dst_dir_fd=staged)
                    self.displaced = True
                del extracted[name]

    def look_for_foreign(self) -> None:
        """What is not eggcache's own in the cache as it is then: when all has its place, which may be theirs now."""
        directory, known, key = self.cache.directory, self.cache.known, self.cache.key
        made = {os.path.join(directory, place.name) for place, _ in self.staged}
        there = (
            () if self.descriptor is None else entries.foreign(self.descriptor, directory, known.extracted, lost=False)
        )
        for one in there:
            if one.thing in made:  # a dry run leaves there what would be replaced
                continue
            name = os.path.basename(one.thing)
            if one.status and name.endswith("-tmp") and name in known.needed_beside(key):
                # what is not to be removed by hand, since others are served from it
                one = replace(one, remedy=serving.rebuilt(known, self.cache.wanted, [one.thing]))
            self.findings.append(one)
            if one.status:
                self.sources[one.thing] = freshness.fingerprint(one.thing)  # when it is gone, so is the finding

    def sign(self, options: dict[str, Any], tree: Tree, started: int) -> None:
        """Write the receipt of a prepare that began at `started` (nanoseconds since the epoch); without it where a root
        of its tree is not installed: a name that was mistyped must not pass for a cache that is current, nor be taken
        for what it is for."""
        inputs = {**_inputs(tree, self.target), **self.sources}
        settled = {path: _settled(seen, started) for path, seen in inputs.items()}
        self.cache.known.entries.pop(self.cache.key, None)
        if not any(one.code == freshness.NO_ROOT for one in self.findings):
            # Whoever writes to a file that only nobody knows of changes nothing that this prepare depends on.
            lasting = [one for one in self.findings if one.status or one.code != freshness.FOREIGN]
            self.cache.known.entries[self.cache.key] = receipt.Entry(
                options, settled, list(self.expected), lasting, int(time.time()), __version__,
                list(tree.interpreter.version),
            )  # fmt: skip
        if self.descriptor is not None:
            owner = replace(self.cache.owner, file_mode=0o600)  # it tells of paths that only we may see
            staging.replace(self.descriptor, freshness.NAME, [receipt.dump(self.cache.known)], owner)


def _damage(one: Opened) -> EggcacheError | None:
    """Why extracting this egg would be refused: a dry run says so, too."""
    try:
        for _, member in one.members():
            one.bytes_of(member)
    except EggcacheError as error:
        return error
    return None


def _inputs(tree: Tree, target: Target) -> dict[str, Fingerprint]:
    """The fingerprints of all that the tree and the mtimes were computed from, eggs apart."""
    interpreter = tree.interpreter
    paths = {interpreter.executable, os.path.realpath(interpreter.executable), "/etc/localtime"}
    paths.add(os.path.join(interpreter.prefix, "pyvenv.cfg"))
    paths.update(interpreter.path, interpreter.pth, interpreter.site_packages, tree.read)
    paths.update(target.paths)  # a script of buildout's stands for others
    if interpreter.pkg_resources:
        paths.add(interpreter.pkg_resources)
    if target.timezone:
        paths.add(os.path.join("/usr/share/zoneinfo", target.timezone.lstrip(":")))
    return {path: freshness.fingerprint(path) for path in sorted(paths)}


def _settled(seen: Fingerprint, started: int) -> Fingerprint:
    """A fingerprint, or one that never matches where the file has changed since `started` (nanoseconds since the
    epoch): the target, or we, may have seen it before."""
    return [] if seen and seen[-1] >= started - _TICK else seen
