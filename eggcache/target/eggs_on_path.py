"""The eggs on a path, by their names; and reading them while the target is still at work.

A cold prepare of TurboGears 1.1.3 takes 278 ms on tmpfs with early reading and 297 ms without (medians of 25 pairs of
runs, on two cores; each pair agrees). Looking into the sources of the eggs then, and not afterwards, saves another 50
ms (20 pairs). It saves no work: eggcache reads while it would wait for the target.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

from eggcache.eggs import decompression, source_scan
from eggcache.eggs import reader as eggs
from eggcache.eggs.decompression import WINDOW, File
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError
from eggcache.model import Limits, Run, Tree
from eggcache.system import accounts, files
from eggcache.system.accounts import Account
from eggcache.target import code_owners, resolver, search_path
from eggcache.target.interpreter import Roots, Target
from eggcache.target.launch import Launch

# Opens the egg at a path, with the rights of whoever it is for. Raises EggcacheError where it is refused, and its kind
# NotPermitted where that account may not read it.
Opening = Callable[[str], AbstractContextManager["tuple[int, eggs.Egg]"]]

_Status = tuple[int, ...]

_EGGS, _MEMBERS, _BYTES = 256, 32_768, 32 << 20  # no more eggs, members, and bytes of members are kept in memory
_STEP = 1 << 20  # bytes that are inflated before it is asked again whether the target has answered
_SECONDS = 0.25  # no more is spent on what perhaps nobody asks for
_SECONDS_OF_ALL = 600.0  # what all is asked for may take as long as the target does
_STATUS = ("st_dev", "st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns")
_SMALL = Limits(entries=_MEMBERS, total=64 << 20)  # what asks for more may ask for seconds: it is left for later


class Wanted(NamedTuple):
    """What a command is going to need of an egg, beside its structure."""

    sources: bool = True  # whether its sources look for files: source_scan.file_lookups
    contents: bool = True  # its members, inflated


_ALL = Wanted()


class EarlyReader:
    """The structure of eggs that `account` may read, read before anybody has asked for them."""

    def __init__(self, account: Account, limits: Limits) -> None:
        self._account, self._limits = account, limits
        entries, total = min(limits.entries, _SMALL.entries), min(limits.total, _SMALL.total)
        self._least = replace(limits, entries=entries, total=total)
        self._structures: dict[str, eggs.Egg] = {}
        self._file_lookups: dict[str, tuple[int, tuple[str, ...]]] = {}  # hashes of _Status, which are a tenth
        self._ahead = True

    def look(self, path: Sequence[str], want: Wanted, *, everything: bool = False) -> Iterator[None]:
        """Read what lies on `path`, and look into its sources, up to a limit; then inflate its members, up to another.
        What cannot be read is left for whoever asks for it. It is done in steps of some milliseconds.

        :param path: directories, and eggs
        :param want: what of the eggs will be needed
        :param everything: True: each egg will be asked for, so that time is no limit. The sources of all are looked
            into, and of the eggs that memory has no room for nothing else is kept.
        """
        deadline = time.monotonic() + (_SECONDS_OF_ALL if everything else _SECONDS)
        members, budget = 0, _BYTES
        for egg in on_path(path):
            held = len(self._structures) < _EGGS and members < _MEMBERS
            if not self._ahead or not (held or (everything and want.sources)) or time.monotonic() > deadline:
                break
            if not os.path.isfile(egg):
                continue
            with suppress(EggcacheError), accounts.reading(egg, self._account) as source:
                structure = eggs.read(source, egg, self._least)
                contents = structure.contents
                if held:
                    members += len(structure.members)
                    contents = {} if want.contents else None
                    structure = self._structures[egg] = replace(structure, contents=contents)
                try:
                    if want.sources:
                        places = tuple(source_scan.file_lookups(Opened(source, structure)))
                        self._file_lookups[egg] = hash(_status(structure.stat)), places
                finally:  # of a damaged egg, what came before is held as well
                    budget -= sum(map(len, (contents or {}).values()))
                    if contents and budget < 0:
                        contents.clear()
            yield
        for egg, structure in list(self._structures.items()) if want.contents else ():
            with suppress(EggcacheError), accounts.reading(egg, self._account) as source:
                if _status(structure.stat) == _status(os.fstat(source)):
                    for size in _inflation(source, structure, budget):
                        budget -= size
                        if not self._ahead or budget <= 0 or time.monotonic() > deadline:
                            return
                        yield

    def stop(self) -> None:
        """Read nothing more before it is asked for."""
        self._ahead = False

    @contextmanager
    def opened(self, path: str) -> Iterator[tuple[int, eggs.Egg]]:
        """A descriptor of the egg at `path`, and what eggs.read tells of it. It is an Opening, and raises as such."""
        with accounts.reading(path, self._account) as source:
            yield source, self.structure(source, path)

    def structure(self, source: int, path: str) -> eggs.Egg:
        """What eggs.read tells of the egg at `path`, which is open at `source`, and raises for it.

        :param source: a descriptor that is open for reading
        :param path: its path, for messages, and to find what was read before
        """
        status = _status(os.fstat(source))
        structure = self._structures.pop(path, None)
        if structure is None or _status(structure.stat) != status:
            structure = eggs.read(source, path, self._limits)
        known, places = self._file_lookups.pop(path, (None, ()))
        return replace(structure, file_lookups=places) if known == hash(status) else structure


def ahead(
    target: Target, roots: Roots, run: Run, load: Callable[[], object] = lambda: None, want: Wanted = _ALL
) -> tuple[EarlyReader, Callable[[], bool]]:
    """A reader of the eggs that lie where the target will look, and what has it read some of them.

    :param target: the Python that is asked
    :param roots: which distributions the tree is of
    :param run: limits and progress
    :param load: called first: it imports what is needed next
    :param want: what of the eggs will be needed
    :returns: the reader, and a function to be called while the target is at work, which says whether to call it again
        at once
    """
    reader = EarlyReader(target.account, run.limits)

    def look() -> Iterator[None]:
        load()
        path = [*search_path.entries(target.paths), *code_owners.site_directories(target.python)]
        yield from reader.look(path, want, everything=roots.everything)

    def meanwhile() -> bool:
        run.progress.tick()
        return next(steps, True) is None

    steps = look()
    return reader, meanwhile


def resolve(
    target: Target, roots: Roots, run: Run, launched: Launch | None, load: Callable[[], object] = lambda: None
) -> tuple[Tree, EarlyReader]:
    """The tree, as resolver.resolve tells it, and the eggs that were read while the target was at work.

    :param target: the Python that is asked
    :param roots: which distributions the tree is of
    :param run: limits and progress
    :param launched: the question, where the caller has started the target already
    :param load: called while the target is at work: it imports what is needed next
    :returns: the tree, and a reader that has read some of its eggs
    """
    reader, meanwhile = ahead(target, roots, run, load)
    run.progress.phase(f"asking {target.python} for the tree")
    tree = resolver.resolve(target, roots, meanwhile=meanwhile, launched=launched)
    return tree, reader


def _inflation(source: int, egg: eggs.Egg, budget: int) -> Iterator[int]:
    """Inflate what is small of `egg`, open at `source`, and not held yet, in steps; yields the bytes of each."""
    contents, size = egg.contents, 0
    if contents is None:
        return
    file = File(source, egg.path, reach=WINDOW)
    for member in sorted(egg.members, key=lambda member: member.offset):
        if member.offset not in contents and decompression.small(member) and size + member.size <= budget:
            contents[member.offset] = decompression.data(file, member, egg.starts[member.offset])
            size += member.size
            if size >= _STEP:
                budget -= size
                yield size
                size = 0
    yield size


def _status(info: os.stat_result) -> _Status:
    """What is the same of a file that has not been changed."""
    return tuple(getattr(info, name) for name in _STATUS)


def on_path(path: Sequence[str]) -> Iterator[str]:
    """The eggs on a target's path, each once, however often and in whatever spelling the target's answer has it."""
    entries: dict[str, str] = {}
    directories: dict[str, str] = {}  # most entries are in one directory, whose place takes longest to find
    for entry in path:
        above, name = os.path.split(entry)
        if name in ("", ".", "..") or os.path.islink(entry):
            entries.setdefault(os.path.realpath(entry), entry)
            continue
        if above not in directories:
            directories[above] = os.path.realpath(above)
        entries.setdefault(os.path.join(directories[above], name), entry)
    names: set[str] = set()
    for real, entry in entries.items():
        children = [os.path.join(entry, name) for name in files.names(entry) if name.endswith(".egg")]
        for egg in [entry] if entry.endswith(".egg") else children:
            name = real if egg == entry else os.path.join(real, os.path.basename(egg))
            if name not in names:
                names.add(name)
                yield egg
