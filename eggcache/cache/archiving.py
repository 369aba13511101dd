"""A cache as a tar archive: what a plan says, written to a stream in place of a directory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import BinaryIO, NamedTuple

from eggcache.cache.plan import Cache, Claim, Plan
from eggcache.eggs import layout, packing
from eggcache.errors import EggcacheError
from eggcache.model import Finding, Outcome
from eggcache.progress import Progress
from eggcache.system.tar import Tar

_FIRST = (1980, 1, 1, 0, 0, 0)  # of the dates that a zip can have


class Extra(NamedTuple):
    """A file of an archive beside the eggs."""

    name: str  # in the cache
    data: bytes
    mode: int  # permission bits


@dataclass
class Archive:
    """The archive of a cache on its way to a stream, egg by egg."""

    cache: Cache  # its `directory` is that of the host, where `tar -x -C /` puts it
    progress: Progress
    outcomes: list[Outcome] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    expected: dict[str, str] = field(default_factory=dict)  # by the names in the cache, digests of the content

    def write(self, plan: Plan, stream: BinaryIO, more: Iterable[Extra] = ()) -> None:
        """Write the cache that the `plan` says: its directory, the eggs by the names of their places, and `more`, which
        is asked for when the eggs are written.

        :raises Spoiled: an egg has changed while it was written
        :raises OSError: the stream takes no more
        :raises EggcacheError: the plan fails
        """
        self.progress.phase("writing the archive", plan.size())
        tar, newest = Tar(stream), layout.mtime(_FIRST)
        tar.directory(self.cache.directory, newest, self.cache.owner)
        steps = plan.steps(by_name=True)
        step = next(steps, None)
        while step is not None:
            self.findings += step.findings
            try:
                if step.claim and not step.claim.first:
                    self._add(tar, step.claim)
            except packing.Spoiled:
                raise
            except EggcacheError as error:
                step = steps.throw(error)
            else:
                step = next(steps, None)
        for extra in more:
            owner = replace(self.cache.owner, file_mode=extra.mode)
            tar.file(os.path.join(self.cache.directory, extra.name), len(extra.data), (extra.data,), newest, owner)
        tar.end()

    def _add(self, tar: Tar, claim: Claim) -> None:
        place, one = claim.place, claim.opened
        into = os.path.join(self.cache.directory, place.name)
        packing.pack(tar, one, into, self.cache.ownership(one.egg))
        sizes = [member.size for _, member in one.members()]
        self.outcomes.append(Outcome(place.egg, into, "made", len(sizes), sum(sizes)))
        self.expected[place.name] = claim.expected
        self.progress.advance(len(sizes), one.egg.stat.st_size)
