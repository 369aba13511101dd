"""Filling a cache: the directories that a tree needs, the extraction of those that are outdated, and their swap."""

from __future__ import annotations

import os
import shlex
import stat
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eggcache import __version__, remedies
from eggcache.cache import entries, freshness, receipt, serving, twins, unservable
from eggcache.eggs import layout
from eggcache.eggs import reader as eggs
from eggcache.eggs.batch import Batch
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError, EggRefused, NotPermitted
from eggcache.model import Distribution, Finding, Kind, Outcome, Ownership, Run, Tree
from eggcache.system import accounts, exchange, staging, syscalls
from eggcache.target import ahead, answer, resolver, skipped
from eggcache.target.interpreter import Target

if TYPE_CHECKING:
    from eggcache.cache.freshness import Fingerprint

# A file that changed this shortly before it was read may change again within one tick of the clock.
_TICK = 20_000_000  # nanoseconds
_MOST_UNREADABLE = 100  # findings: more of them nobody reads
_LONGEST = 255  # bytes of a file name, NAME_MAX on Linux


@dataclass(frozen=True)
class Place:
    """One directory of the cache: its name, and the egg, from which root in it, that fills it."""

    name: str
    distribution: Distribution
    egg: str
    inside: str


@dataclass(frozen=True)
class Cache:
    """A cache, as a prepare has opened it."""

    directory: str
    descriptor: int | None  # verified; None: a dry run, and there is no cache yet
    owner: Ownership  # whose it is to be
    known: receipt.Receipt
    key: str  # what the receipt calls this prepare


class Filling:
    """What one prepare does to the directories of a cache, egg by egg. `read` is what was read of the eggs already."""

    doing = "extracting"  # as the progress calls it

    def __init__(self, cache: Cache, target: Target, run: Run, read: ahead.Ahead | None = None) -> None:
        self.directory = cache.directory
        self.descriptor = cache.descriptor
        self.owner = cache.owner
        self.known = cache.known
        self.key = cache.key
        self.account = target.account
        self.timezone = target.timezone  # the one that layout.zone has set
        self.ahead = read or ahead.Ahead(target.account, run.limits)
        self.progress = run.progress
        self.outcomes: list[Outcome] = []
        self.findings: list[Finding] = []
        self.names: list[str] = []  # of the places that this tree needs
        self.expected: dict[str, str] = {}  # digests of what is to be in them
        self.staged: list[tuple[Place, receipt.Extracted]] = []
        self.redated: list[tuple[str, str | None]] = []  # eggs that would be taken from another zone, and which one
        self.displaced = False  # whether the stage holds what processes may be looking at
        self.sources: dict[str, Fingerprint] = {}  # of the eggs

    def fill(self, tree: Tree, staged: int | None) -> None:
        """Extract below `staged` what is not there yet (None: a dry run); findings go on the list. Raises NotPermitted
        where an egg would be taken from another time zone."""
        self.findings += resolver.findings(tree)
        self.findings += unservable.in_target(tree.interpreter)
        self._look_for_unseen(tree)
        with ExitStack() as stack:
            self._fill_all(tree, None if staged is None else stack.enter_context(Batch(staged, self.progress.advance)))
        for egg, zone in self.redated:
            serving.keep_dates(self.directory, egg, zone, self.timezone)

    def _fill_all(self, tree: Tree, batch: Batch | None) -> None:
        zips = {one.egg for one in tree.distributions if one.egg is not None}
        self.progress.phase(self.doing, sum((freshness.fingerprint(egg) or [0] * 7)[4] for egg in zips))
        taken: dict[str, Place] = {}
        seen: set[tuple[str | None, ...]] = set()
        for distribution in tree.distributions:
            if not distribution.kind.zipped or distribution.egg is None:
                continue
            asked = (distribution.egg, distribution.inside, distribution.cache_name)
            if asked in seen:
                continue
            seen.add(asked)
            try:
                with accounts.reading(distribution.egg, self.account) as source:
                    egg = self.ahead.egg(source, distribution.egg)
                    self.sources[distribution.egg] = freshness.of_stat(egg.stat)
                    self.findings += unservable.in_egg(source, egg, distribution, tree.interpreter)
                    if distribution.kind is Kind.ZIP or distribution.cache_name is None:
                        continue
                    # A basket's inner egg has a directory of its own up to setuptools 49.5, and not since.
                    own = distribution.cache_name != os.path.basename(distribution.egg)
                    inside = distribution.inside if own else ""
                    place = Place(layout.cache_directory(distribution), distribution, distribution.egg, inside)
                    if len(os.fsencode(place.name)) > _LONGEST:
                        raise EggRefused(egg.path, "its name is too long for a cache directory", "unzip it")
                    first = taken.get(place.name)
                    if first:
                        self._share(first, place, source, egg)
                    elif self._may_show(place, egg) and self._fill(place, source, egg, batch):
                        taken[place.name] = place
            except NotPermitted as error:
                self.sources.setdefault(distribution.egg, freshness.fingerprint(distribution.egg))
                self.findings.append(_unreadable(error))
            except EggcacheError as error:  # refused, or gone since the target saw it
                self._refuse(distribution.egg, error)

    def _may_show(self, place: Place, egg: eggs.Egg) -> bool:
        """Whether those who read the cache may read this egg: nobody else shall see more of it in the cache."""
        mode, shown = egg.stat.st_mode, self.owner.file_mode & 0o044
        granted = mode & 0o004 or (shown == 0o040 and mode & 0o040 and egg.stat.st_gid == self.owner.gid)
        if granted or not shown or os.geteuid() != 0:  # as anybody else, the egg's own rights are kept: see _modes
            return True
        cause = f"it may not be read by everybody who reads the cache (mode {stat.S_IMODE(mode):04o})"
        remedy = f"unzip it: {remedies.unzip(place.distribution.project)}"
        if mode & 0o040 and egg.stat.st_gid in (self.account.gid, *self.account.groups):
            group = shlex.quote(accounts.group_name(egg.stat.st_gid))
            remedy += f", or prepare another directory with its group: --group {group}"
        else:
            remedy = f"let {'its readers' if shown == 0o040 else 'everybody'} read it, if nobody minds: chmod o+r"
        self.findings.append(Finding("egg-private", place.egg, cause, remedy))
        return False

    def _modes(self, egg: eggs.Egg) -> Ownership:
        """The owner and modes of what is extracted: no more rights to read than those of the egg."""
        if os.geteuid() == 0:
            return self.owner
        read = egg.stat.st_mode & 0o044
        mode = 0o600 | (read & self.owner.file_mode)
        return replace(self.owner, file_mode=mode, directory_mode=mode | 0o100 | (mode & 0o044) >> 2)

    def _look_for_unseen(self, tree: Tree) -> None:
        """Eggs on the path that the target, run as the runtime user, does not even see: those that he cannot read, and
        those that are no zips any more, which pkg_resources passes over in silence."""
        count = 0
        for path, readable in skipped.paths(tree, self.account):
            if not readable:
                count += 1
                self.sources[path] = freshness.fingerprint(path)
                if count <= _MOST_UNREADABLE:
                    self.findings.append(_unreadable(accounts.in_the_way(path, self.account)))
            elif len(self.findings) < answer.MOST:
                self._look_for_damage(path)
        if count > _MOST_UNREADABLE:
            cause = f"{self.account.name} cannot read {count - _MOST_UNREADABLE} more eggs on its path"
            error = NotPermitted(tree.interpreter.executable, cause, "see to those that are named, and run it again")
            self.findings.append(_unreadable(error))

    def _look_for_damage(self, path: str) -> None:
        try:
            with accounts.reading(path, self.account) as source:
                self.ahead.egg(source, path)
        except EggcacheError as error:
            self.sources[path] = freshness.fingerprint(path)
            self._refuse(path, error)

    def _share(self, first: Place, place: Place, source: int, egg: eggs.Egg) -> bool:
        """Whether `place` is served from what `first`, an egg of the same name, has filled; a finding where not."""
        one_file = (os.path.realpath(first.egg), first.inside) == (os.path.realpath(place.egg), place.inside)
        if one_file or self._same(first.egg, first.inside, Opened(source, egg, place.inside)):
            return True
        self._shared(place, first.egg)
        return False

    def _same(self, other: str, inside: str, one: Opened) -> bool:
        """Whether what is extracted of the egg at `other` serves for `one`, too, and as many may read it."""
        try:
            with accounts.reading(other, self.account) as source:
                egg = self.ahead.egg(source, other)
                wider = self._modes(one.egg).file_mode & ~self._modes(egg).file_mode
                return not wider and twins.same(Opened(source, egg, inside), one)
        except EggcacheError as error:
            if error.thing.startswith(one.egg.path):
                raise
            return False  # and what is wrong with the other one is told when its turn comes

    def _rival(self, place: Place, one: Opened, expected: str) -> str | None:
        """An egg of the same name with which another tree cannot share the directory of `place`; None: there is none.
        Who owns the directory, and in which zone it is dated, is as in the receipt, too."""
        name, before = place.name, self.known.extracted.get(place.name)
        others = {egg for other, entry in self.known.entries.items() if other != self.key for egg in entry.eggs(name)}
        if before and name in self.known.needed_beside(self.key) and before.source == freshness.fingerprint(before.egg):
            if before.egg != place.egg and before.expected != expected:
                return before.egg
            others.add(before.egg)
        for egg in sorted(others - {place.egg}):
            inside = "" if f"{os.path.basename(egg)}-tmp" == name else f"{place.distribution.cache_name}/"
            if not self._same(egg, inside, one):
                return egg
        return None

    def _equal(self, before: receipt.Extracted, place: Place) -> bool:
        """Whether what was extracted before, with the same digest, has the bytes of the egg of `place`, with which no
        other tree's has been found to be at odds: it is that egg, or another tree's, which _rival has compared."""
        if (before.egg, before.source) == (place.egg, self.sources[place.egg]):
            return True
        shared = before.egg != place.egg and place.name in self.known.needed_beside(self.key)
        return shared and before.source == freshness.fingerprint(before.egg)

    def _shared(self, place: Place, other: str) -> None:
        self.sources.setdefault(other, freshness.fingerprint(other))  # when it goes, the name is free
        self.findings.append(
            Finding(
                "shared-name",
                place.egg,
                f"{other} has the same name and other content, dates or modes, and pkg_resources looks for both in "
                f"{place.name}",
                f"unzip it: {remedies.unzip(place.distribution.project)}, or use a cache directory of its own",
            )
        )

    def _fill(self, place: Place, source: int, egg: eggs.Egg, batch: Batch | None) -> bool:
        """Whether this tree may fill the directory of `place`: it does, where that is not as it should be already."""
        before, one = self.known.extracted.get(place.name), Opened(source, egg, place.inside)
        expected = twins.expected(one, self._modes(egg))
        rival = self._rival(place, one, expected)
        if rival is not None:
            self._shared(place, rival)
            return False
        for zone in serving.zones(self.known, place.name, self.timezone):
            with layout.zone(zone):
                there = twins.expected(one, self._modes(egg))
            if there != expected:  # two zones may agree on every date
                self.redated.append((place.egg, zone))
        into = os.path.join(self.directory, place.name)
        self.names.append(place.name)
        self.expected[place.name] = expected
        if (
            before
            and self.descriptor is not None
            and before.expected == expected
            and self._equal(before, place)
            and before.found == freshness.digest(self.descriptor, place.name)
        ):
            self.outcomes.append(Outcome(place.egg, into, "kept", before.files, before.size))
            self.progress.advance(before.files, egg.stat.st_size)
            return True
        made = "replaced" if self.descriptor is not None and _exists(self.descriptor, place.name) else "made"
        wanted = [member for member in egg.members if member.name.startswith(place.inside)]
        outcome = Outcome(place.egg, into, made, len(wanted), sum(member.size for member in wanted))
        self.outcomes.append(outcome)

        def then(why: EggcacheError | None) -> None:
            if why is None:
                seen, files, size = self.sources[place.egg], outcome.files, outcome.size
                self.staged.append((place, receipt.Extracted(place.egg, seen, expected, "", files, size)))
                return
            self.outcomes.remove(outcome)
            self.names.remove(place.name)
            del self.expected[place.name]
            self._refuse(place.egg, why)

        self.progress.advance(0, egg.stat.st_size - sum(member.packed for member in wanted))
        if batch is None:
            then(_damage(source, egg))
        else:
            batch.add(place.name, one, self._modes(egg), then)
        return True

    def _refuse(self, egg: str, why: EggcacheError) -> None:
        self.sources.setdefault(egg, [])
        self.findings.append(Finding("egg-refused", why.thing, why.cause, why.remedy))

    def swap(self, staged: int, allow_gap: bool) -> None:
        """Put what is staged in its place, on the disk before it can be seen (a power cut must not leave empty
        files behind names that promise an egg). For `allow_gap` see `exchange`."""
        cache = self.descriptor
        if cache is None or not self.staged:
            return
        self.progress.phase("writing to the disk")
        syscalls.sync_filesystem(staged)
        for place, done in self.staged:
            if _exists(cache, place.name):
                exchange.swap(staged, cache, place.name, allow_gap)
                self.displaced = True
            else:
                os.rename(place.name, place.name, src_dir_fd=staged, dst_dir_fd=cache)
            found = freshness.digest(cache, place.name)
            self.known.extracted[place.name] = replace(done, found=found)

    def drop(self, prune: bool, staged: int | None) -> None:
        """With `prune`, move what no tree needs any more into the stage, which is about to be removed."""
        for name in self.known.prunable(self.key, self.names) if prune else ():
            done = self.known.extracted[name]
            self.outcomes.append(
                Outcome(done.egg, os.path.join(self.directory, name), "removed", done.files, done.size)
            )
            if staged is not None and self.descriptor is not None:
                if _exists(self.descriptor, name):
                    os.rename(name, f"{name}.pruned", src_dir_fd=self.descriptor, dst_dir_fd=staged)
                    self.displaced = True
                del self.known.extracted[name]

    def look_for_foreign(self) -> None:
        """What is not eggcache's own in the cache as it is then: when all has its place, which may be theirs now."""
        if self.descriptor is None:
            return
        made = {os.path.join(self.directory, place.name) for place, _ in self.staged}
        for one in entries.foreign(self.descriptor, self.directory, self.known.extracted, lost=False):
            if one.thing in made:  # a dry run leaves there what would be replaced
                continue
            name = os.path.basename(one.thing)
            if one.status and name.endswith("-tmp") and name in self.known.needed_beside(self.key):
                # what is not to be removed by hand, since others are served from it
                one = replace(one, remedy=serving.rebuilt(self.known, self.directory, self.key, [one.thing]))
            self.findings.append(one)
            if one.status:
                self.sources[one.thing] = freshness.fingerprint(one.thing)  # when it is gone, so is the finding

    def sign(self, options: dict[str, Any], tree: Tree, started: int) -> None:
        """Write the receipt of a prepare that began at `started` (nanoseconds since the epoch); without it where a root
        of its tree is not installed: a name that was mistyped must not pass for a cache that is current, nor be taken
        for what it is for."""
        inputs = {**_inputs(tree, self.timezone), **self.sources}
        settled = {path: _settled(seen, started) for path, seen in inputs.items()}
        self.known.entries.pop(self.key, None)
        if not any(one.code == freshness.NO_ROOT for one in self.findings):
            # Whoever writes to a file that only nobody knows of changes nothing that this prepare depends on.
            lasting = [one for one in self.findings if one.status or one.code != freshness.FOREIGN]
            self.known.entries[self.key] = receipt.Entry(
                options, settled, self.names, lasting, int(time.time()), __version__,
                list(tree.interpreter.version),
            )  # fmt: skip
        if self.descriptor is not None:
            owner = replace(self.owner, file_mode=0o600)  # it tells of paths that only we may see
            staging.replace(self.descriptor, freshness.NAME, [receipt.dump(self.known)], owner)


def _unreadable(error: NotPermitted) -> Finding:
    return Finding("egg-unreadable", error.thing, error.cause, error.remedy, error.status)


def _damage(source: int, egg: eggs.Egg) -> EggcacheError | None:
    """Why extracting this egg would be refused: a dry run says so, too."""
    try:
        for member in egg.members:
            for _piece in eggs.chunks(source, egg, member):
                pass
    except EggcacheError as error:
        return error
    return None


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _inputs(tree: Tree, timezone: str | None) -> dict[str, Fingerprint]:
    """The fingerprints of all that the tree and the mtimes were computed from, eggs apart."""
    interpreter = tree.interpreter
    paths = {interpreter.executable, os.path.realpath(interpreter.executable), "/etc/localtime"}
    paths.add(os.path.join(interpreter.prefix, "pyvenv.cfg"))
    paths.update(interpreter.path, interpreter.pth, interpreter.site_packages, tree.read)
    if interpreter.pkg_resources:
        paths.add(interpreter.pkg_resources)
    if timezone:
        paths.add(os.path.join("/usr/share/zoneinfo", timezone.lstrip(":")))
    return {path: freshness.fingerprint(path) for path in sorted(paths)}


def _settled(seen: Fingerprint, started: int) -> Fingerprint:
    """A fingerprint, or one that never matches where the file has changed since `started` (nanoseconds since the
    epoch): the target, or we, may have seen it before."""
    return [] if seen and seen[-1] >= started - _TICK else seen
