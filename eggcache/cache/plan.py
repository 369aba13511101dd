"""A plan: which directory of a cache each egg of a tree fills, with which files, and which eggs are refused.

The plan opens one egg after the other: a tree may have hundreds, and an egg a hundred thousand members. It writes
nothing, and of the cache it knows only the receipt.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

from eggcache.cache import freshness, groups_and_time_zones, receipt, unservable
from eggcache.eggs import extract, zip_dates
from eggcache.eggs import reader as eggs
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError, EggUnsuitable, NotPermitted, Remedy
from eggcache.model import Distribution, Finding, Kind, Ownership, Tree
from eggcache.system import accounts, files
from eggcache.system.accounts import Account
from eggcache.target import command_lines, resolver, skipped_eggs, why_missing
from eggcache.target.command_lines import Prepare
from eggcache.target.eggs_on_path import Opening
from eggcache.target.interpreter import Target
from eggcache.target.skipped_eggs import refusal

if TYPE_CHECKING:
    from eggcache.cache.freshness import Fingerprint

_MOST_UNREADABLE = 100  # findings: more of them nobody reads
_LONGEST = 255  # bytes of a file name, NAME_MAX on Linux
_ANYBODY = Ownership(0, 0, 0, 0)


@dataclass(frozen=True)
class Place:
    """One directory of a cache, and the egg, from which root in it, that fills it."""

    name: str
    distribution: Distribution
    egg: str
    inside: str


@dataclass(frozen=True)
class Claim:
    """The claim of an open egg to its place. Its files there are the members of `opened`, each with the mtime that
    zip_dates.mtime has for its date."""

    place: Place
    opened: Opened
    twin: Place | None = None  # that of another egg of the tree, with the same content, which serves this one as well
    digest: str = ""  # of what is to be there, where the plan is for a cache
    other_zones: tuple[str | None, ...] = ()  # in which the receipt has it dated, with other mtimes


@dataclass(frozen=True)
class Step:
    """The part of a plan for one egg, or for the tree."""

    findings: tuple[Finding, ...] = ()
    sources: Mapping[str, Fingerprint] = field(default_factory=dict)  # files that this depends on
    claim: Claim | None = None  # None: it has no place in a cache


@dataclass(frozen=True)
class Cache:
    """What a plan needs to know of its cache."""

    prepare: Prepare
    owner: Ownership  # whose it is to be
    record: receipt.Receipt

    @property
    def directory(self) -> str:
        return self.prepare.directory

    @property
    def key(self) -> str:
        """The receipt's key for this prepare."""
        return freshness.key(self.prepare.target, self.prepare.roots)

    @cached_property
    def names_beside(self) -> set[str]:
        """The names of directories that another prepare needs, by the receipt as it was when they were first asked for,
        as are the next two: each is asked for with every egg."""
        return self.record.needed_beside(self.key)

    @cached_property
    def eggs_beside(self) -> dict[str, list[str]]:
        """What another prepare serves from each directory: see Receipt.eggs_beside."""
        return self.record.eggs_beside(self.key)

    @cached_property
    def zones(self) -> dict[str, list[str | None]]:
        """The time zones that each directory is prepared for, None for the host's own."""
        return groups_and_time_zones.zones_by_name(self.record)

    def ownership(self, egg: eggs.Egg) -> Ownership:
        """The owner and modes of what is extracted of `egg`: no more rights to read than those of the egg."""
        if self.owner.uid == 0:
            return self.owner
        mode = 0o600 | (egg.stat.st_mode & self.owner.file_mode & 0o044)
        return replace(self.owner, file_mode=mode, directory_mode=mode | 0o100 | (mode & 0o044) >> 2)


@dataclass(frozen=True)
class Plan:
    """The content of a cache for the zipped eggs of `tree` and for `target`, in whose time zone it is to be walked
    (zip_dates.zone). Without a `cache` it has the place of each egg, but no owners and no other trees."""

    tree: Tree
    target: Target
    opening: Opening
    cache: Cache | None = None

    def size(self) -> int:
        """The bytes of all eggs, for the progress."""
        zips = {distribution.egg for distribution in self.tree.distributions if distribution.egg is not None}
        return sum((freshness.fingerprint(egg) or [0] * 7)[4] for egg in zips)

    def steps(self, *, by_name: bool = False) -> Generator[Step, None, None]:
        """First the faults of the tree; then for each egg its faults and its claim, while the egg is open: in the order
        of the tree, or, `by_name`, in that of the names of their places, of which two of one name keep the tree's.

        A caller that finds such an egg damaged throws that EggcacheError into this generator. `throw` then returns the
        step that refuses the egg, and another egg may claim the place.
        """
        tree, account = self.tree, self.target.account
        yield Step((*resolver.findings(tree, account), *unservable.in_target(tree, self.target)))
        sources: dict[str, Fingerprint] = {}
        for line in why_missing.passed_over(tree, account):
            sources |= _until_reached(line.path, account)
        yield Step(tuple(why_missing.findings(tree, account)), sources)
        yield from self._passed_over()
        places: dict[str, Place] = {}
        distributions: dict[tuple[str | None, ...], Distribution] = {}
        for candidate in self.tree.distributions:
            if candidate.kind.zipped and candidate.egg is not None:
                distributions.setdefault((candidate.egg, candidate.inside, candidate.cache_name), candidate)
        turns = (
            sorted(distributions.items(), key=lambda item: os.fsencode(item[1].cache_name or ""))
            if by_name
            else distributions.items()
        )
        for (path, *_), distribution in turns:
            yield from self._steps(path or "", distribution, places)

    def _passed_over(self) -> Iterator[Step]:
        """Eggs on the path that the target, run as the runtime user, does not even see: those that he cannot read, and
        those that are no zips any more, which pkg_resources passes over in silence."""
        count, account = -_MOST_UNREADABLE, self.target.account
        for path, error in skipped_eggs.refusals(skipped_eggs.paths(self.tree, account), account, self.opening):
            count += isinstance(error, NotPermitted)
            is_named = count <= 0 or not isinstance(error, NotPermitted)
            sources = _until_reached(path, account) if isinstance(error, NotPermitted) else {}
            yield Step((refusal(error),) if is_named else (), {path: freshness.fingerprint(path), **sources})
        if count > 0:
            cause = f"{account.words} cannot read {count} more eggs on its path"
            remedy = "see to the named eggs, and run it again"
            yield Step((refusal(NotPermitted(self.tree.interpreter.executable, cause, remedy)),))

    def _steps(self, path: str, distribution: Distribution, places: dict[str, Place]) -> Iterator[Step]:
        findings: list[Finding] = []
        sources: dict[str, Fingerprint] = {}
        try:
            with self.opening(path) as (source, egg):
                sources[path] = freshness.of_stat(egg.stat)
                content = Opened(source, egg, distribution.inside)
                findings += unservable.in_egg(content, distribution, self.tree.interpreter, self.target)
                place = _place(path, distribution)
                if place is not None:
                    claim_step = self._step(place, replace(content, inside=place.inside), places.get(place.name))
                    step = Step((*findings, *claim_step.findings), {**claim_step.sources, **sources}, claim_step.claim)
                    findings = []
                    yield step
                    if step.claim:
                        places.setdefault(place.name, place)
                    return
        except EggcacheError as error:  # refused, or gone since the target saw it
            if isinstance(error, NotPermitted):
                sources |= _until_reached(path, self.target.account)
            sources.setdefault(path, [])
            findings.append(refusal(error))
        yield Step(tuple(findings), sources)

    def _step(self, place: Place, opened: Opened, twin: Place | None) -> Step:
        """The claim to `place`, which is that of the egg at `twin`, if any; or what there is against it."""
        cache, digest = self.cache, ""
        if twin is not None:
            one_file = (os.path.realpath(twin.egg), twin.inside) == (os.path.realpath(place.egg), place.inside)
            rival = None if one_file or self._serves(twin.egg, twin.inside, opened) else twin.egg
        elif cache is None:
            rival = None
        else:
            private = self._privacy_finding(cache, place, opened)
            if private:
                return Step((private,))
            digest = content_digest(opened, cache.ownership(opened.egg))
            rival = self._rival(cache, place, opened, digest)
        if rival is not None:  # when it goes, the name is free
            conflict = self._name_conflict(place, rival, cache if twin is None else None)
            return Step((conflict,), {rival: freshness.fingerprint(rival)})
        zones = tuple(self._other_zones(cache, place, opened, digest)) if cache and not twin else ()
        return Step(claim=Claim(place, opened, twin, digest, zones))

    def _name_conflict(self, place: Place, rival: str, shared: Cache | None) -> Finding:
        """The finding for an egg whose name the `rival` has, that of another tree in a cache which is `shared`."""
        cause = f"{rival} has the same name and other content, dates or modes, and pkg_resources looks for both in "
        remedy, unzipped = Remedy("use a cache directory of its own"), self._unzipped(place)
        if shared:
            line = groups_and_time_zones.directory_of_tree(shared.prepare).line()
            remedy = Remedy("prepare another directory for this tree", line)
        elif not command_lines.only_added(self.target, place.egg):
            remedy = Remedy(f"{remedy.text}, or {unzipped.text}", unzipped.command)
        return Finding("shared-name", place.egg, cause + place.name, remedy)

    def _unzipped(self, place: Place) -> Remedy:
        return command_lines.unzipped(self.target, place.distribution)

    def _privacy_finding(self, cache: Cache, place: Place, opened: Opened) -> Finding | None:
        """The finding that not all readers of the cache may read this egg: nobody may see more of it in the cache."""
        mode, gid, readers_mode = opened.egg.stat.st_mode, opened.egg.stat.st_gid, cache.owner.file_mode & 0o044
        is_its_groups = not mode & 0o004 and files.group_reads(opened.source, mode)
        is_readable = mode & 0o004 or (readers_mode == 0o040 and is_its_groups and gid == cache.owner.gid)
        if is_readable or not readers_mode or cache.owner.uid != 0:
            return None  # what is anybody else's keeps the egg's own rights: see ownership
        cause = f"not everybody who reads the cache may read it (mode {stat.S_IMODE(mode):04o})"
        if is_its_groups and gid in (self.target.account.gid, *self.target.account.groups):
            group = shlex.quote(accounts.group_name(gid))
            unzipped = self._unzipped(place)
            text = f"prepare another directory, with its group (--group {group}), or {unzipped.text}"
            remedy = Remedy(text, unzipped.command)
        else:
            readers = "its readers" if readers_mode == 0o040 else "everybody"
            remedy = Remedy(
                f"let {readers} read it, if its content is no secret", f"chmod o+r {shlex.quote(place.egg)}"
            )
        return Finding("egg-private", place.egg, cause, remedy)

    def _serves(self, path: str, inside: str, opened: Opened) -> bool:
        """Whether what is extracted of the egg at `path` serves for `opened`, too, and as many may read it."""
        try:
            with self.opening(path) as (source, egg):
                wider = self.cache and self.cache.ownership(opened.egg).file_mode & ~self.cache.ownership(egg).file_mode
                return not wider and same_content(Opened(source, egg, inside), opened)
        except EggcacheError as error:
            if error.thing.startswith(opened.egg.path):
                raise
            return False  # and what is wrong with the other one is told when its turn comes

    def _rival(self, cache: Cache, place: Place, opened: Opened, digest: str) -> str | None:
        """An egg of the same name with which another tree cannot share the directory of `place`; None: there is none.
        Who owns the directory, and in which zone it is dated, is as in the receipt, too."""
        name, extraction = place.name, cache.record.extracted.get(place.name)
        eggs = set(cache.eggs_beside.get(name, ()))
        if extraction and name in cache.names_beside and extraction.source == freshness.fingerprint(extraction.egg):
            if extraction.egg != place.egg and extraction.expected != digest:
                return extraction.egg
            eggs.add(extraction.egg)
        for egg in sorted(eggs - {place.egg}):
            inside = "" if f"{os.path.basename(egg)}-tmp" == name else f"{place.distribution.cache_name}/"
            if not self._serves(egg, inside, opened):
                return egg
        return None

    def _other_zones(self, cache: Cache, place: Place, opened: Opened, digest: str) -> Iterator[str | None]:
        for zone in cache.zones.get(place.name, ()):
            if zone == self.target.timezone:
                continue
            with zip_dates.zone(zone):
                zone_digest = content_digest(opened, cache.ownership(opened.egg))
            if zone_digest != digest:  # two zones may agree on every date
                yield zone


def _until_reached(path: str, account: Account) -> dict[str, Fingerprint]:
    """What changes when `account` comes to reach what it cannot reach now: the path itself, and what is in the way."""
    return {place: freshness.fingerprint(place) for place in (path, accounts.obstacle(path, account))}


def _place(path: str, distribution: Distribution) -> Place | None:
    """The place of a distribution in the egg at `path`; None where pkg_resources extracts nothing of it. Raises
    EggUnsuitable where no directory can have its name."""
    name = distribution.cache_directory
    if distribution.kind is Kind.ZIP or name is None:
        return None
    # A basket's inner egg has a directory of its own up to setuptools 49.5, and not since.
    is_nested = distribution.cache_name != os.path.basename(path)
    if len(os.fsencode(name)) > _LONGEST:
        raise EggUnsuitable(path, "its name is too long for a cache directory", "unzip it")
    return Place(name, distribution, path, distribution.inside if is_nested else "")


def content_digest(opened: Opened, owner: Ownership) -> str:
    """A digest of everything that extracting this egg would write, with a CRC for the bytes of each file. It is the
    same for the same content, wherever the egg lies and however it is packed."""
    hasher = blake2b(repr(owner).encode(), digest_size=16)
    entries = sorted(opened.members, key=lambda entry: entry[0])  # who packed it had the order from a file system
    for name, member in entries:
        hasher.update(repr((name, member.size, member.crc, zip_dates.mtime(member.date_time))).encode())
    directories = opened.directories()
    names = [name for name, _ in entries]
    empty = (
        set(extract.directories(names, directories)).difference(extract.directories(names, ())) if directories else ()
    )
    hasher.update(repr(sorted(empty)).encode())
    return hasher.hexdigest()


def same_content(first: Opened, second: Opened) -> bool:
    """Whether extracting one or the other makes the same files, of the same bytes and mtimes, in the same directories.

    Raises EggRefused where a member is damaged: that of the second, where it is so in both.
    """
    if content_digest(first, _ANYBODY) != content_digest(second, _ANYBODY):
        return False
    members = dict(second.members)
    return all(second.bytes_of(members[name]) == first.bytes_of(member) for name, member in first.members)
