"""Filling a cache by a plan: current directories are kept, the rest is extracted and swapped into place."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from eggcache import __version__
from eggcache.cache import freshness, keep_or_replace, receipt
from eggcache.cache.plan import Cache, Claim, Place, Plan
from eggcache.eggs.extraction_batch import Batch
from eggcache.errors import EggcacheError
from eggcache.model import Finding, Outcome, Tree
from eggcache.progress import Progress
from eggcache.system import files, staging, swap_or_gap, syscalls
from eggcache.target import search_path
from eggcache.target.interpreter import Target
from eggcache.target.skipped_eggs import refusal

if TYPE_CHECKING:
    from eggcache.cache.freshness import Fingerprint

# A file that changed this shortly before it was read may change again within one tick of the clock.
_TICK = 20_000_000  # nanoseconds


@dataclass
class Filling:
    """The steps of one prepare in the directories of a cache, egg by egg."""

    cache: Cache
    descriptor: int  # the cache, verified and locked
    stage: int  # a directory in it, which is removed at the end
    progress: Progress
    outcomes: list[Outcome] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)  # of the content, by the names that this tree needs
    extractions: list[tuple[Place, receipt.Extracted]] = field(default_factory=list)  # in the stage
    displaced: bool = False  # whether the stage holds what processes may be looking at
    sources: dict[str, Fingerprint] = field(default_factory=dict)  # of the eggs

    def fill(self, plan: Plan) -> None:
        """Extract into the stage all directories of the `plan` that the cache lacks; findings go on the list. Raises as
        keep_or_replace.of does."""
        self.progress.phase("extracting", plan.size())
        with Batch(self.stage, self.progress.advance) as batch:
            for step in plan.steps():
                self.findings += step.findings
                for path, fingerprint in step.sources.items():
                    self.sources.setdefault(path, fingerprint)
                if step.claim and not step.claim.twin:
                    self._fill(step.claim, batch)

    def _fill(self, claim: Claim, batch: Batch) -> None:
        """Keep the claimed directory if it is current; else make it anew."""
        place, opened = claim.place, claim.opened
        outcome = keep_or_replace.of(claim, self.cache, self.descriptor)
        self.outcomes.append(outcome)
        self.digests[place.name] = claim.digest
        if outcome.action == "kept":
            self.progress.advance(outcome.files, opened.egg.stat.st_size)
            return

        def conclude(error: EggcacheError | None) -> None:
            if error is None:
                fingerprint = freshness.of_stat(opened.egg.stat)
                extracted = receipt.Extracted(place.egg, fingerprint, claim.digest, "", outcome.files, outcome.size)
                self.extractions.append((place, extracted))
                return
            self.outcomes.remove(outcome)
            del self.digests[place.name]
            self.findings.append(refusal(error))

        self.progress.advance(0, opened.egg.stat.st_size - sum(member.packed for _, member in opened.members))
        batch.add(place.name, opened, self.cache.ownership(opened.egg), conclude)

    def swap(self, allow_gap: bool) -> None:
        """Move the staged directories into place. They are on the disk before: a power cut must not leave empty files
        under names that promise an egg. For `allow_gap` see `swap_or_gap`."""
        if not self.extractions:
            return
        self.progress.phase("writing to the disk")
        syscalls.sync_filesystem(self.stage)
        for place, extracted in self.extractions:
            if files.exists(place.name, self.descriptor):
                swap_or_gap.swap(self.stage, self.descriptor, place.name, allow_gap)
                self.displaced = True
            else:
                os.rename(place.name, place.name, src_dir_fd=self.stage, dst_dir_fd=self.descriptor)
            digest = freshness.digest(self.descriptor, place.name)
            self.cache.record.extracted[place.name] = replace(extracted, found=digest)

    def prune(self) -> None:
        """Move the directories that no tree needs any more into the stage, which is removed next."""
        record = self.cache.record
        for name in record.prunable(self.cache.key, self.digests, self.findings):
            self.outcomes.append(keep_or_replace.removal(self.cache, name))
            if files.exists(name, self.descriptor):
                os.rename(name, f"{name}.pruned", src_dir_fd=self.descriptor, dst_dir_fd=self.stage)
                self.displaced = True
            del record.extracted[name]

    def look_for_foreign(self) -> None:
        """Find entries that are not eggcache's own, after all directories have their place."""
        for finding in keep_or_replace.foreign_findings(self.cache, self.descriptor):
            self.findings.append(finding)
            if finding.status:
                self.sources[finding.thing] = freshness.fingerprint(finding.thing)  # when it is gone, so is the finding

    def sign(self, options: dict[str, Any], tree: Tree, start: int) -> None:
        """Write the receipt of a prepare of `tree` with these `options`, which began at `start` (nanoseconds since the
        epoch).

        Without the entry of this prepare where a root of its tree is not installed: a mistyped name must not count as a
        current cache, or as what the cache is for. An earlier entry stays then, and holds no more.
        """
        inputs = {**_inputs(tree, self.cache.prepare.target), **self.sources}
        fingerprints = {path: _stable(fingerprint, start) for path, fingerprint in inputs.items()}
        earlier = self.cache.record.entries.pop(self.cache.key, None)
        if receipt.rootless(self.findings):
            if earlier:
                void_inputs = {**earlier.inputs, self.cache.prepare.target.python: []}
                self.cache.record.entries[self.cache.key] = replace(earlier, inputs=void_inputs)
        else:
            # Whoever writes to a file that only nobody knows of changes nothing that this prepare depends on.
            findings = [finding for finding in self.findings if finding.status or finding.code != freshness.FOREIGN]
            self.cache.record.entries[self.cache.key] = receipt.Entry(
                options, fingerprints, list(self.digests), findings, int(time.time()), __version__,
                list(tree.interpreter.version), list(tree.outside),
            )  # fmt: skip
        owner = replace(self.cache.owner, file_mode=0o600)  # it tells of paths that only we may see
        staging.replace(self.descriptor, freshness.NAME, [receipt.dump(self.cache.record)], owner)


def _inputs(tree: Tree, target: Target) -> dict[str, Fingerprint]:
    """The fingerprints of all that the tree and the mtimes depend on, except the eggs."""
    interpreter = tree.interpreter
    paths = {interpreter.executable, os.path.realpath(interpreter.executable), "/etc/localtime"}
    paths.add(os.path.join(interpreter.prefix, "pyvenv.cfg"))
    paths.update(interpreter.path, interpreter.pth, interpreter.site_packages, tree.read)
    paths.update(search_path.sources(target.paths))
    if interpreter.pkg_resources:
        paths.add(interpreter.pkg_resources)
    if target.timezone:
        paths.add(os.path.join("/usr/share/zoneinfo", target.timezone.lstrip(":")))
    return {path: freshness.fingerprint(path) for path in sorted(paths)}


def _stable(fingerprint: Fingerprint, start: int) -> Fingerprint:
    """A fingerprint; one that never matches where the file has changed since `start` (nanoseconds since the epoch),
    so that the target or we may have read the old content."""
    return [] if fingerprint and fingerprint[-1] >= start - _TICK else fingerprint
