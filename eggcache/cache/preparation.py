"""The command `prepare`: it fills a cache directory under its lock, and writes the receipt."""

from __future__ import annotations

import errno
import os
import shlex
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from eggcache.cache import foreign_entries, freshness, receipt
from eggcache.eggs import zip_dates
from eggcache.errors import EggcacheError, NotPermitted, Remedy, of_disk
from eggcache.model import DEFAULT_RUN, Finding, Outcome, Ownership, Report, Run, Tree
from eggcache.system import locks, safe_dirs, staging
from eggcache.target.interpreter import EVERYTHING, Roots, Target

if TYPE_CHECKING:
    from eggcache.cache import reset_directory
    from eggcache.cache.plan import Cache, Plan
    from eggcache.target.command_lines import Prepare
    from eggcache.target.eggs_on_path import EarlyReader
    from eggcache.target.launch import Launch

# A process that has opened a directory to list it, or is on its way through it, sees what is removed there go. Nobody
# needs a directory that long: without the wait, 118 of 900,000 listings came back empty, with a fifth of it none did.
_GRACE = 1.0  # seconds

_EMPTY = "name a new or an empty directory"


def prepare(
    directory: str,
    target: Target,
    roots: Roots = EVERYTHING,
    run: Run = DEFAULT_RUN,
    *,
    reset: bool = False,
    prune: bool = False,
) -> Report:
    """Extract every zipped egg of the tree of `roots` into `directory`, as pkg_resources would.

    A fault of a single egg or requirement is a finding of the report, and the rest is done. Whatever happens, the cache
    holds whole eggs only, and another run completes it.

    :param directory: the cache; it is made where it is missing, its parent is not
    :param target: the Python whose eggs are meant; its account, group and time zone are those of the cache's readers
    :param roots: which distributions the tree is of
    :param reset: move an unsafe `directory` aside, and build it anew
    :param prune: remove directories of earlier prepares that no tree needs any more
    :param run: limits, waiting, dry run and progress
    :returns: what was done; with `run.dry_run`, what would be done
    :raises UsageError: the target cannot parse one of the `roots`
    :raises NotPermitted: the directory is not safe, or serves another group, or the same eggs in another time zone
    :raises Busy: another run holds the lock for longer than `run.wait`
    :raises EggcacheError: the target or the disk fails
    """
    return Preparation(directory, target, roots, run, reset=reset, prune=prune).report()


class Preparation:
    """One `prepare`, with its arguments."""

    def __init__(
        self, directory: str, target: Target, roots: Roots, run: Run, *, reset: bool = False, prune: bool = False
    ) -> None:
        self.directory = os.path.abspath(directory)
        self.target = target
        self.roots = roots
        self.run = run
        self.reset = reset
        self.prune = prune
        self.key = freshness.key(target, roots)
        self.options = freshness.options_of(target, roots, asdict(run.limits))
        self.owner = Ownership(*self.options["owner"])

    def report(self, launch: Launch | None = None) -> Report:
        """Prepare, and report what was done. `launch` is the result of launch.probe for the target and the roots,
        where the caller has started the target already."""
        previous, unsafe = self._previous()
        if previous and not (
            self.prune
            and (previous.forgettable(self.key) or previous.prunable(self.key, previous.entries[self.key].names))
        ):
            return self._unchanged(previous)
        start = launch.start if launch else time.time_ns()
        from eggcache.target import eggs_on_path, resolver

        tree, reader = eggs_on_path.resolve(self.target, self.roots, self.run, launch, _load)
        try:
            if self.run.dry_run:
                report: Report | None = self._foresee(tree, reader, unsafe)
            else:
                report = self._fill(tree, reader, unsafe, start)
        except PermissionError as error:
            from eggcache.system import unfit_disks

            raise unfit_disks.not_permitted(self.directory, error) from error
        except OSError as error:
            raise of_disk(self.directory, "cannot be filled", error) from error
        if report is None:
            return self.report()  # another run was to renew it as well, and was faster
        notes = () if report.unchanged else resolver.notes(tree, self.roots)
        return replace(report, notes=(*report.notes, *notes), outside=tree.outside)

    def _previous(self) -> tuple[receipt.Receipt | None, NotPermitted | None]:
        """The receipt if it says that nothing has to be done, and the error of an unsafe directory that `reset` may
        replace."""
        try:
            descriptor = _open_existing(self.directory)
            if descriptor is None:
                return None, None
            try:
                record = self._record(descriptor)
                if record is None:
                    foreign_entries.check(descriptor, self.directory)
                elif not self.run.dry_run and freshness.leftovers(descriptor):
                    # A run was killed after it had written the receipt; or one is at work for another tree, and will do
                    # this.
                    lock = locks.lock_directory(descriptor, self.directory, 0)
                    with suppress(EggcacheError, OSError), lock, _tidied(descriptor):
                        pass
                return record, None
            finally:
                os.close(descriptor)
        except NotPermitted as unsafe:
            if not self.reset:
                raise
            return None, unsafe

    def _record(self, descriptor: int) -> receipt.Receipt | None:
        data = freshness.load(descriptor)
        record = receipt.from_json(data) if freshness.holds(data, self.key, self.options, descriptor) else None
        return record if record and self.key in record.entries else None

    def _unchanged(self, record: receipt.Receipt) -> Report:
        entry = record.entries[self.key]
        outcomes = tuple(
            Outcome(extracted.egg, os.path.join(self.directory, place), "kept", extracted.files, extracted.size)
            for place in entry.names
            for extracted in (record.extracted[place],)
        )
        digests = {place: record.extracted[place].expected for place in entry.names}
        report = self._report(outcomes, entry.findings, digests)
        return replace(report, unchanged=True, outside=tuple(entry.outside))

    def _report(self, outcomes: Iterable[Outcome], findings: Iterable[Finding], digests: Mapping[str, str]) -> Report:
        digest = receipt.content(digests)
        report = Report("prepare", self.directory, tuple(outcomes), tuple(findings), digest=digest, owner=self.owner)
        return replace(report, dry_run=self.run.dry_run)

    def _foresee(self, tree: Tree, reader: EarlyReader, unsafe: NotPermitted | None) -> Report:
        """The report of a dry run: what `_fill` would do."""
        from eggcache.cache import keep_or_replace, reset_directory, reset_other_trees

        directory, record, descriptor, notes = self.directory, receipt.Receipt(), None, list[str]()
        with zip_dates.zone(self.target.timezone), ExitStack() as stack, _never_lenient(directory, unsafe):
            if unsafe:
                reset_directory.check(directory)
                notes.append(f"{directory}: {unsafe.cause}: it would be moved aside, to {directory}.aside-...")
                record = reset_other_trees.of(directory, self.key)
                entries = record.entries.items()
                notes += [f"{reset_other_trees.label(directory, *entry)} would be prepared anew" for entry in entries]
            else:
                descriptor = _open_existing(directory)
                if descriptor is not None:
                    stack.callback(os.close, descriptor)
                    foreign_entries.refuse_other_directory(directory, os.listdir(descriptor), _EMPTY)
                    record = receipt.read(descriptor)
                elif not os.path.isdir(os.path.dirname(directory)):
                    raise _no_parent(directory, os.path.dirname(directory))
            cache, plan = self._plan(tree, reader, record)
            notes += self._forget(record) if self.prune else []
            outcomes, findings, digests = keep_or_replace.foresee(plan, cache, descriptor, self.run.progress)
            names = record.prunable(self.key, digests, findings) if self.prune else []
            outcomes += [keep_or_replace.removal(cache, name) for name in names]
        return replace(self._report(outcomes, findings, digests), notes=tuple(notes))

    def _fill(self, tree: Tree, reader: EarlyReader, unsafe: NotPermitted | None, start: int) -> Report | None:
        """Fill the directory under its lock; None where another run has renewed it meanwhile."""
        from eggcache.cache.filling import Filling

        with zip_dates.zone(self.target.timezone), ExitStack() as stack:
            descriptor, renewal = self._open(stack)
            stack.enter_context(_never_lenient(self.directory, renewal or unsafe))
            foreign_entries.refuse_other_directory(self.directory, os.listdir(descriptor), _EMPTY)
            if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
                return self._leave(tree, reader, descriptor)
            self._lock(descriptor, renewal, stack)
            notes = self._prepare_neighbours(descriptor) if renewal else []
            cache, plan = self._plan(tree, reader, receipt.read(descriptor))
            notes += self._forget(cache.record) if self.prune else []
            record = None if self.prune else self._record(descriptor)
            if record:
                return self._unchanged(record)  # whoever held the lock did it
            _, stage = stack.enter_context(staging.stage(descriptor))  # first: it sees what the disk keeps
            safe_dirs.set_owner(descriptor, self.owner.uid, self.owner.gid, self.owner.directory_mode)
            work = Filling(cache, descriptor, stage, self.run.progress)
            work.fill(plan)
            work.swap(self.run.allow_gap)
            if self.prune:
                work.prune()
            work.look_for_foreign()
            work.sign(self.options, tree, start)
            if renewal is not None:
                if renewal.overtaken():
                    return None
                aside = renewal.take_place(self.run.allow_gap)
                if aside:
                    notes.append(f"{self.directory}: was not safe, or somebody else's: moved aside to {aside}")
            elif work.displaced:
                self.run.progress.phase("")
                time.sleep(_GRACE)
        report = self._report(work.outcomes, work.findings, work.digests)
        paths = [outcome.egg for outcome in work.outcomes if outcome.action == "replaced"]
        if paths:
            from eggcache.servers import affected_processes

            processes = affected_processes.outdated(self.target.python, max(os.stat(egg).st_ctime for egg in paths))
            notes += affected_processes.notes(processes, paths)
            report = replace(report, processes=processes)
        return replace(report, notes=tuple(notes))

    def _leave(self, tree: Tree, reader: EarlyReader, descriptor: int) -> Report:
        """The content of a current cache on a read-only file system. Raises OSError where it is not current: but an egg
        that is only newer needs nothing, as pkg_resources compares with the files in it."""
        from eggcache.cache import keep_or_replace

        cache, plan = self._plan(tree, reader, receipt.read(descriptor))
        outcomes, findings, digests = keep_or_replace.foresee(plan, cache, descriptor, self.run.progress)
        names = cache.record.lacks(descriptor, digests)
        info = os.fstat(descriptor)
        if names or [info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)] != self.options["owner"][:3]:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.path.join(self.directory, *names[:1]))
        note = f"{self.directory}: it is read-only, and was left as it is: its content is current"
        outcomes_kept = [replace(outcome, action="kept") for outcome in outcomes]
        return replace(self._report(outcomes_kept, findings, digests), notes=(note,))

    @property
    def _prepare(self) -> Prepare:
        from eggcache.target.command_lines import Prepare

        return Prepare(self.directory, self.target, self.roots, self.run.limits)

    def _plan(self, tree: Tree, reader: EarlyReader, record: receipt.Receipt) -> tuple[Cache, Plan]:
        """What is to be in the cache of which this is known. Raises ServesOthers where that closes it to others."""
        from eggcache.cache import groups_and_time_zones
        from eggcache.cache.plan import Cache, Plan

        cache = Cache(self._prepare, self.owner, record)
        groups_and_time_zones.keep_readers(record, cache.prepare)
        return cache, Plan(tree, self.target, reader.opened, cache)

    def _open(self, stack: ExitStack) -> tuple[int, reset_directory.Renewal | None]:
        """The cache, made where it is missing; with `reset`, for a directory that may not stay, its future
        replacement."""
        from eggcache.cache import reset_directory

        reset_directory.tidy(self.directory)
        try:
            descriptor = safe_dirs.open_directory(self.directory, create=True)
            stack.callback(os.close, descriptor)
            foreign_entries.check(descriptor, self.directory)
        except FileNotFoundError as error:
            raise _no_parent(self.directory, error.filename) from None
        except NotPermitted:
            if not self.reset:
                raise
            renewal = stack.enter_context(reset_directory.renewal(self.directory, self.run.wait))
            return renewal.descriptor, renewal
        return descriptor, None

    def _lock(self, descriptor: int, renewal: reset_directory.Renewal | None, stack: ExitStack) -> None:
        """Take the lock of the cache, and remove what a killed run left. Nobody else knows a `renewal` yet."""
        safe_dirs.drop_acls(descriptor)  # before the lock, which would inherit from them
        if renewal is None:
            stack.enter_context(locks.lock_directory(descriptor, self.directory, self.run.wait, self.run.progress))
            if not safe_dirs.leads_to(self.directory, descriptor):
                raise EggcacheError(self.directory, "another run removed it meanwhile", "run it again")
        stack.enter_context(_tidied(descriptor))

    def _prepare_neighbours(self, descriptor: int) -> list[str]:
        """Prepare what the directory serves beside this in the new one, and say so of each."""
        from eggcache.cache import groups_and_time_zones, reset_other_trees

        record = reset_other_trees.of(self.directory, self.key)
        groups_and_time_zones.keep_readers(record, self._prepare)
        return list(reset_other_trees.prepare(record, self.directory, descriptor, self.run.progress))

    def _forget(self, record: receipt.Receipt) -> list[str]:
        """Let `record` forget the trees that no process can need any more, so that what was extracted for them goes."""
        notes = []
        for key in record.forgettable(self.key):
            python, _, requirements = receipt.parts_of_key(key)
            tree = receipt.tree_of(requirements, record.entries[key].strict)
            reason = "which is gone" if receipt.is_gone(python) else "for which nothing was extracted"
            effect = "would be forgotten" if self.run.dry_run else "forgotten"
            notes.append(f"{self.directory}: {effect}: {tree} of {python}, {reason}")
            del record.entries[key]
        return notes


def _load() -> None:
    """Import what is needed once the tree is known."""
    from eggcache.cache import filling, reset_directory  # noqa: F401


def _open_existing(directory: str) -> int | None:
    try:
        return safe_dirs.open_directory(directory)
    except FileNotFoundError:
        return None


def _no_parent(directory: str, parent: str) -> EggcacheError:
    remedy = Remedy("make it", f"mkdir -p {shlex.quote(os.path.dirname(directory))}")
    return EggcacheError(directory, f"{parent} does not exist", remedy)


@contextmanager
def _never_lenient(directory: str, unsafe: object) -> Iterator[None]:
    """What a safe directory serves others is lenient about, an `unsafe` one is not: no server may start with that."""
    from eggcache.cache import groups_and_time_zones

    try:
        yield
    except groups_and_time_zones.ServesOthers as error:
        if unsafe is None:
            raise
        raise NotPermitted(directory, f"is not safe, and is not built anew: {error.cause}", error.remedy) from None


@contextmanager
def _tidied(descriptor: int) -> Iterator[None]:
    """Without what a killed run has left, and, when this one ends, whenever a signal came, without what it has left.
    The caller holds the lock."""
    from eggcache.system import swap_or_gap

    try:
        swap_or_gap.recover(descriptor)
        staging.remove_stages(descriptor)
        yield
    finally:
        with staging.undisturbed():
            staging.remove_stages(descriptor)
