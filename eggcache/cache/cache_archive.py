"""The command `archive`: a cache as a tar archive, for a host or an image where eggcache cannot run.

What a plan says is written to a stream in place of a directory. On the host tar puts it where PYTHON_EGG_CACHE will
name it, with the owners, modes and dates that `prepare` would leave there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from eggcache.cache import receipt
from eggcache.cache.plan import Cache, Claim, Plan
from eggcache.eggs import packing, zip_dates
from eggcache.errors import EggcacheError
from eggcache.model import DEFAULT_RUN, Finding, Outcome, Ownership, Report, Run, Tree, Zone
from eggcache.progress import Progress
from eggcache.system import safe_dirs, tar_file, time_zones
from eggcache.system.tar_members import Tar
from eggcache.target import eggs_on_path, other_host, resolver
from eggcache.target.command_lines import Prepare
from eggcache.target.eggs_on_path import EarlyReader
from eggcache.target.interpreter import ELSEWHERE, EVERYTHING, Roots, Target
from eggcache.target.other_host import HOST, Host

if TYPE_CHECKING:
    from eggcache.target.launch import Launch

_LOCK = Ownership(0, 0, 0o700, 0o600)  # as `prepare` makes it: whoever could open it could hold it for ever


class Extra(NamedTuple):
    """A file of an archive beside the eggs.

    :param name: its name in the cache
    :param data: its bytes
    :param mode: its permission bits
    """

    name: str
    data: bytes
    mode: int


Extras = Callable[[Sequence[str]], Iterable[Extra]]  # by the names of the directories in the archive


def no_extras(_names: Sequence[str]) -> Iterable[Extra]:
    """No more files than those of the eggs."""
    return ()


def archive(
    file: str | BinaryIO,
    target: Target,
    roots: Roots = EVERYTHING,
    run: Run = DEFAULT_RUN,
    *,
    host: Host = HOST,
    extras: Extras = no_extras,
) -> Report:
    """Write what `prepare` would extract as a tar archive that the root of another host extracts at "/".

    It is the same to the byte for the same eggs and arguments. A fault of a single egg or requirement is a finding of
    the report; nothing of such an egg is in the archive, and the rest is.

    :param file: the archive, gzipped where its name says so, or a stream. An archive that is there is replaced, any
        other file is not
    :param target: the Python whose eggs are meant; "" for all eggs that lie in its paths, of which no Python is asked;
        its account opens the eggs, its group, a number of the host's, alone may read the cache, and its time zone is
        that of the host
    :param roots: which distributions the tree is of
    :param run: limits, dry run and progress
    :param host: where the cache is there, and, where the target is "", its Python
    :param extras: files that are to be in the cache as well, by the names of the directories that are in it
    :returns: what was written; with `run.dry_run`, what would be written
    :raises UsageError: the target cannot parse one of the `roots`; or `file`, or the host's directory, does not do
    :raises NotPermitted: others can exchange what is in the directory of `file`, or the account cannot run the target
    :raises EggcacheError: the target or the disk fails
    """
    return Archiving(file, target, roots, run, host, extras).report()


class Archiving:
    """One `archive`, with its arguments."""

    def __init__(
        self,
        file: str | BinaryIO,
        target: Target,
        roots: Roots,
        run: Run,
        host: Host = HOST,
        extras: Extras = no_extras,
    ) -> None:
        self.file = file
        self.target = target
        self.roots = roots
        self.run = run
        self.host = host
        self.extras = extras

    def report(self, launch: Launch | None = None) -> Report:
        """Write the archive, and report what was written. `launch` is the result of launch.probe for the target and
        the roots, where the caller has started the target already."""
        target, run = self.target, self.run
        directory = other_host.place(self.host.directory, f"--cache {self.host.directory}")
        owner = Ownership(0, 0, 0o755, 0o644) if target.group is None else Ownership(0, target.group, 0o750, 0o640)
        cache = Cache(Prepare(directory, target, self.roots, run.limits), owner, receipt.Receipt())
        with tar_file.output(self.file, 0o644 if target.group is None else 0o600, run.dry_run) as stream:
            tree, reader = self._tree(launch)
            work = Archive(cache, run.progress)
            with zip_dates.zone(target.timezone):
                work.write(Plan(tree, target, reader.opened, cache), stream, self.extras)
        zone = time_zones.of(target.timezone)
        return Report(
            "archive",
            directory,
            tuple(work.outcomes),
            tuple(work.findings),
            tuple(self._notes(tree, directory, zone)),
            dry_run=run.dry_run,
            digest=receipt.content(work.digests),
            owner=owner,
            outside=tree.outside,
            zone=zone,
        )

    def _notes(self, tree: Tree, directory: str, zone: Zone) -> Iterator[str]:
        if self.target.python:
            yield from resolver.notes(tree, self.roots)
        else:
            yield from other_host.notes(self.host, tree)
        if other_host.anybodys(directory):
            yield f"{directory}: anybody on the host can have made that name first: better, --cache {ELSEWHERE}"
        yield from _dated(zone, self.target.timezone)

    def _tree(self, launch: Launch | None) -> tuple[Tree, EarlyReader]:
        if self.target.python:
            return eggs_on_path.resolve(self.target, self.roots, self.run, launch)
        self.run.progress.phase("reading the eggs")
        reader = EarlyReader(self.target.account, self.run.limits)
        return other_host.tree(self.host, self.target.paths, reader.opened), reader


@dataclass
class Archive:
    """The archive of a cache on its way to a stream, egg by egg."""

    cache: Cache  # its `directory` is that of the host, where `tar -x -C /` puts it
    progress: Progress
    outcomes: list[Outcome] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)  # of the content, by the names in the cache

    def write(self, plan: Plan, stream: BinaryIO, extras: Extras = no_extras) -> None:
        """Write the cache that the `plan` says to `stream`: its directory, the eggs by the names of their places, and
        the `extras`. The caller has the zone of the plan in use.

        :raises SpoiledArchive: an egg has changed while it was written
        :raises OSError: the stream takes no more
        :raises EggcacheError: the plan fails
        """
        self.progress.phase("writing the archive", plan.size())
        tar, mtime = Tar(stream), zip_dates.mtime(tar_file.FIRST)
        tar.directory(self.cache.directory, mtime, self.cache.owner, tar_file.MARK)
        # By it `remove` knows the directory for eggcache's, on a host that has eggcache one day. The receipt, which is
        # of this host, is not for that one: without it `prepare` makes everything anew.
        tar.file(os.path.join(self.cache.directory, safe_dirs.LOCK), 0, (), mtime, _LOCK)
        steps = plan.steps(by_name=True)
        step = next(steps, None)
        while step is not None:
            self.findings += step.findings
            try:
                if step.claim and not step.claim.twin:
                    self._add(tar, step.claim)
            except packing.SpoiledArchive:
                raise
            except EggcacheError as error:
                step = steps.throw(error)
            else:
                step = next(steps, None)
        for extra in extras(list(self.digests)):
            owner = replace(self.cache.owner, file_mode=extra.mode)
            tar.file(os.path.join(self.cache.directory, extra.name), len(extra.data), (extra.data,), mtime, owner)
        tar.end()

    def _add(self, tar: Tar, claim: Claim) -> None:
        place, opened = claim.place, claim.opened
        into = os.path.join(self.cache.directory, place.name)
        packing.pack(tar, opened, into, self.cache.ownership(opened.egg))
        sizes = [member.size for _, member in opened.members]
        self.outcomes.append(Outcome(place.egg, into, "packed", len(sizes), sum(sizes)))
        self.digests[place.name] = claim.digest
        self.progress.advance(len(sizes), opened.egg.stat.st_size)


def _dated(zone: Zone, name: str | None) -> Iterator[str]:
    """What is to be said of the zone that the files are dated in, where the host's may differ."""
    label = zone.name or "a zone without a name"
    if name is None:
        yield f"--tz: none is named: dated in {label}, the zone of this machine, and not of the host"
    if zone.depends:
        rules = f"by the rules of {zone.rules}" if zone.rules else "by rules of unknown version"
        remedy = f"; --tz '{zone.posix}' says the same of today, and needs none" if zone.posix else ""
        yield f"{label}: it is dated in that zone, {rules}: a host that has other rules may find eggs outdated{remedy}"
