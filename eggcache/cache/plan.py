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
from hashlib import blake2b
from typing import TYPE_CHECKING

from eggcache.cache import freshness, groups_and_time_zones, receipt, unservable
from eggcache.eggs import extract, layout
from eggcache.eggs import reader as eggs
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError, EggUnsuitable, NotPermitted, Remedy
from eggcache.model import Distribution, Finding, Kind, Ownership, Tree
from eggcache.system import accounts
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
    layout.mtime has for its date."""

    place: Place
    opened: Opened
    first: Place | None = None  # that of another egg of the tree, with the same content, which serves this one as well
    expected: str = ""  # digest of what is to be there, where the plan is for a cache
    redated: tuple[str | None, ...] = ()  # other zones, in which the receipt has it dated, with other mtimes


@dataclass(frozen=True)
class Step:
    """The part of a plan for one egg, or for the tree."""

    findings: tuple[Finding, ...] = ()
    sources: Mapping[str, Fingerprint] = field(default_factory=dict)  # files that this depends on
    claim: Claim | None = None  # None: it has no place in a cache


@dataclass(frozen=True)
class Cache:
    """What a plan needs to know of its cache."""

    wanted: Prepare
    owner: Ownership  # whose it is to be
    known: receipt.Receipt

    @property
    def directory(self) -> str:
        return self.wanted.directory

    @property
    def key(self) -> str:
        """The receipt's key for this prepare."""
        return freshness.key(self.wanted.target, self.wanted.roots)

    def ownership(self, egg: eggs.Egg) -> Ownership:
        """The owner and modes of what is extracted: no more rights to read than those of the egg."""
        if self.owner.uid == 0:
            return self.owner
        mode = 0o600 | (egg.stat.st_mode & self.owner.file_mode & 0o044)
        return replace(self.owner, file_mode=mode, directory_mode=mode | 0o100 | (mode & 0o044) >> 2)


@dataclass(frozen=True)
class Plan:
    """The content of a cache for the zipped eggs of `tree` and for `target`, in whose time zone it is to be walked
    (layout.zone). Without a `cache` it has the place of each egg, but no owners and no other trees."""

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
        gone = (line.path for line in why_missing.lines(tree, account) if not os.path.lexists(line.path))
        yield Step(tuple(why_missing.findings(tree, account)), {path: freshness.fingerprint(path) for path in gone})
        yield from self._passed_over()
        taken: dict[str, Place] = {}
        asked: dict[tuple[str | None, ...], Distribution] = {}
        for one in self.tree.distributions:
            if one.kind.zipped and one.egg is not None:
                asked.setdefault((one.egg, one.inside, one.cache_name), one)
        turns = (
            sorted(asked.items(), key=lambda one: os.fsencode(one[1].cache_name or "")) if by_name else asked.items()
        )
        for (path, *_), distribution in turns:
            yield from self._steps(path or "", distribution, taken)

    def _passed_over(self) -> Iterator[Step]:
        """Eggs on the path that the target, run as the runtime user, does not even see: those that he cannot read, and
        those that are no zips any more, which pkg_resources passes over in silence."""
        more, account = -_MOST_UNREADABLE, self.target.account
        for path, error in skipped_eggs.refusals(skipped_eggs.paths(self.tree, account), account, self.opening):
            more += isinstance(error, NotPermitted)
            told = more <= 0 or not isinstance(error, NotPermitted)
            yield Step((refusal(error),) if told else (), {path: freshness.fingerprint(path)})
        if more > 0:
            cause = f"{account.name} cannot read {more} more eggs on its path"
            remedy = "see to the named eggs, and run it again"
            yield Step((refusal(NotPermitted(self.tree.interpreter.executable, cause, remedy)),))

    def _steps(self, path: str, distribution: Distribution, taken: dict[str, Place]) -> Iterator[Step]:
        findings: list[Finding] = []
        sources: dict[str, Fingerprint] = {}
        try:
            with self.opening(path) as (source, egg):
                sources[path] = freshness.of_stat(egg.stat)
                own = Opened(source, egg, distribution.inside)
                findings += unservable.in_egg(own, distribution, self.tree.interpreter, self.target)
                place = _place(path, distribution)
                if place is not None:
                    said = self._said(place, replace(own, inside=place.inside), taken.get(place.name))
                    step, findings = Step((*findings, *said.findings), {**said.sources, **sources}, said.claim), []
                    yield step
                    if step.claim:
                        taken.setdefault(place.name, place)
                    return
        except EggcacheError as error:  # refused, or gone since the target saw it
            sources.setdefault(path, freshness.fingerprint(path) if isinstance(error, NotPermitted) else [])
            findings.append(refusal(error))
        yield Step(tuple(findings), sources)

    def _said(self, place: Place, opened: Opened, first: Place | None) -> Step:
        """The claim to `place`, which is that of the `first` egg of this name, if any; or what there is against it."""
        cache, wanted = self.cache, ""
        if first is not None:
            one_file = (os.path.realpath(first.egg), first.inside) == (os.path.realpath(place.egg), place.inside)
            rival = None if one_file or self._same(first.egg, first.inside, opened) else first.egg
        elif cache is None:
            rival = None
        else:
            private = self._private(cache, place, opened.egg)
            if private:
                return Step((private,))
            wanted = content_digest(opened, cache.ownership(opened.egg))
            rival = self._rival(cache, place, opened, wanted)
        if rival is not None:  # when it goes, the name is free
            return Step((self._shared(place, rival),), {rival: freshness.fingerprint(rival)})
        redated = tuple(self._redated(cache, place, opened, wanted)) if cache and not first else ()
        return Step(claim=Claim(place, opened, first, wanted, redated))

    def _shared(self, place: Place, other: str) -> Finding:
        cause = f"{other} has the same name and other content, dates or modes, and pkg_resources looks for both in "
        own = "use a cache directory of its own"
        remedy = (
            Remedy(own)
            if command_lines.only_added(self.target, place.egg)
            else Remedy(f"{own}, or unzip it", command_lines.unzip(self.target, place.distribution))
        )
        return Finding("shared-name", place.egg, cause + place.name, remedy)

    def _private(self, cache: Cache, place: Place, egg: eggs.Egg) -> Finding | None:
        """The finding that not all readers of the cache may read this egg: nobody may see more of it in the cache."""
        mode, shown = egg.stat.st_mode, cache.owner.file_mode & 0o044
        granted = mode & 0o004 or (shown == 0o040 and mode & 0o040 and egg.stat.st_gid == cache.owner.gid)
        if granted or not shown or cache.owner.uid != 0:  # anybody else's keeps the egg's own rights: see ownership
            return None
        cause = f"not everybody who reads the cache may read it (mode {stat.S_IMODE(mode):04o})"
        if mode & 0o040 and egg.stat.st_gid in (self.target.account.gid, *self.target.account.groups):
            group = shlex.quote(accounts.group_name(egg.stat.st_gid))
            text = f"prepare another directory, with its group (--group {group}), or unzip it"
            remedy = Remedy(text, command_lines.unzip(self.target, place.distribution))
        else:
            whom = "its readers" if shown == 0o040 else "everybody"
            remedy = Remedy(f"let {whom} read it, if its content is no secret", f"chmod o+r {shlex.quote(place.egg)}")
        return Finding("egg-private", place.egg, cause, remedy)

    def _same(self, other: str, inside: str, opened: Opened) -> bool:
        """Whether what is extracted of the egg at `other` serves for `opened`, too, and as many may read it."""
        try:
            with self.opening(other) as (source, egg):
                wider = self.cache and self.cache.ownership(opened.egg).file_mode & ~self.cache.ownership(egg).file_mode
                return not wider and same_content(Opened(source, egg, inside), opened)
        except EggcacheError as error:
            if error.thing.startswith(opened.egg.path):
                raise
            return False  # and what is wrong with the other one is told when its turn comes

    def _rival(self, cache: Cache, place: Place, opened: Opened, wanted: str) -> str | None:
        """An egg of the same name with which another tree cannot share the directory of `place`; None: there is none.
        Who owns the directory, and in which zone it is dated, is as in the receipt, too."""
        name, known, before = place.name, cache.known, cache.known.extracted.get(place.name)
        others = {egg for other, entry in known.entries.items() if other != cache.key for egg in entry.eggs(name)}
        if before and name in known.needed_beside(cache.key) and before.source == freshness.fingerprint(before.egg):
            if before.egg != place.egg and before.expected != wanted:
                return before.egg
            others.add(before.egg)
        for egg in sorted(others - {place.egg}):
            inside = "" if f"{os.path.basename(egg)}-tmp" == name else f"{place.distribution.cache_name}/"
            if not self._same(egg, inside, opened):
                return egg
        return None

    def _redated(self, cache: Cache, place: Place, opened: Opened, wanted: str) -> Iterator[str | None]:
        for zone in groups_and_time_zones.zones(cache.known, place.name, self.target.timezone):
            with layout.zone(zone):
                there = content_digest(opened, cache.ownership(opened.egg))
            if there != wanted:  # two zones may agree on every date
                yield zone


def _place(path: str, distribution: Distribution) -> Place | None:
    """The place of a distribution in the egg at `path`; None where pkg_resources extracts nothing of it. Raises
    EggUnsuitable where no directory can have its name."""
    if distribution.kind is Kind.ZIP or distribution.cache_name is None:
        return None
    # A basket's inner egg has a directory of its own up to setuptools 49.5, and not since.
    own = distribution.cache_name != os.path.basename(path)
    name = layout.cache_directory(distribution)
    if len(os.fsencode(name)) > _LONGEST:
        raise EggUnsuitable(path, "its name is too long for a cache directory", "unzip it")
    return Place(name, distribution, path, distribution.inside if own else "")


def content_digest(opened: Opened, owner: Ownership) -> str:
    """A digest of everything that extracting this egg would write, with a CRC for the bytes of each file. It is the
    same for the same content, wherever the egg lies and however it is packed."""
    hasher = blake2b(repr(owner).encode(), digest_size=16)
    named = sorted(opened.members, key=lambda entry: entry[0])  # who packed it had the order from a file system
    for name, member in named:
        hasher.update(repr((name, member.size, member.crc, layout.mtime(member.date_time))).encode())
    below = opened.directories()
    names = [name for name, _ in named]
    empty = set(extract.directories(names, below)).difference(extract.directories(names, ())) if below else ()
    hasher.update(repr(sorted(empty)).encode())
    return hasher.hexdigest()


def same_content(first: Opened, second: Opened) -> bool:
    """Whether extracting one or the other makes the same files, of the same bytes and mtimes, in the same directories.

    Raises EggRefused where a member is damaged: that of the second, where it is so in both.
    """
    if content_digest(first, _ANYBODY) != content_digest(second, _ANYBODY):
        return False
    others = dict(second.members)
    return all(second.bytes_of(others[name]) == first.bytes_of(member) for name, member in first.members)
