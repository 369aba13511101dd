"""The command `prepare`: it fills a cache directory under its lock, and writes the receipt."""

from __future__ import annotations

import errno
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, astuple, replace
from typing import TYPE_CHECKING, Any

from eggcache.cache import entries, freshness, receipt
from eggcache.eggs import layout
from eggcache.errors import EggcacheError, NotPermitted, of_disk
from eggcache.model import DEFAULT_LIMITS, Limits, Outcome, Ownership, Report
from eggcache.system import lockdown, staging
from eggcache.system.accounts import Account

if TYPE_CHECKING:
    from eggcache.cache import replacement
    from eggcache.progress import Progress
    from eggcache.target.ahead import Ahead
    from eggcache.target.launch import Launch

# A process that has opened a directory to list it, or is on its way through it, sees what is removed there go. Nobody
# needs a directory that long: without the wait, 118 of 900,000 listings came back empty, with a fifth of it none did.
_GRACE = 1.0  # seconds


def prepare(
    directory: str,
    requirements: Sequence[str] = ("TurboGears",),
    *,
    python: str,
    account: Account,
    gid: int | None = None,
    paths: Sequence[str] = (),
    everything: bool = False,
    timezone: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    wait: float = 120.0,
    reset: bool = False,
    prune: bool = False,
    allow_gap: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    launched: Launch | None = None,
) -> Report:
    """Extract every zipped egg of the tree of `requirements` into `directory`, as pkg_resources would.

    python       the target interpreter, absolute
    account      who will read the cache: the target is run, and its eggs are opened, with these rights
    gid          the group that may read the cache, where root prepares it; None: everybody may
    paths        what is put in front of the target's sys.path (mod_python's PythonPath)
    everything   all distributions on the path instead of a tree
    timezone     the TZ of the processes that will read the cache; None: the host's, with TZ unset
    limits       what an egg may ask for (eggcache.model.Limits) before it is refused as a bomb
    wait         seconds to wait for another run
    reset        move an unsafe `directory` aside and build it anew, for the other trees that it serves as well
    prune        remove what an earlier prepare extracted and no tree needs any more
    allow_gap    where the file system cannot exchange an old directory and a new one in one step, take two: in between
                 the egg is missing, and if the run is killed there, until the next run
    dry_run      say what would be done, and write nothing
    progress     is told how far it has got
    launched     what launch.probe has made of all this, where the caller has started the target already

    What is wrong with single eggs or requirements comes back as findings, and the rest is done. Raises
    NotPermitted for an unsafe directory, and its kind `serving.ServesOthers` for one that serves another group, or the
    same eggs in another time zone; Busy, and EggcacheError where the target or the disk fails; the cache then holds
    whole eggs only, and running it again completes.
    """
    directory = os.path.abspath(directory)
    owner = Ownership(*freshness.ownership(gid))
    entry = freshness.key(python, paths, () if everything else requirements)
    options = freshness.asked((account.uid, account.gid, *account.groups), astuple(owner), timezone, asdict(limits))
    previous, unsafe = _previous(directory, entry, options, reset, dry_run)
    if previous and not (
        prune and (previous.forgettable(entry) or previous.prunable(entry, previous.entries[entry].names))
    ):
        return _unchanged(directory, previous, entry, owner, dry_run)
    from eggcache import progress as progresses
    from eggcache.target import resolver

    watcher, started = progress or progresses.Progress(), time.time_ns()

    read: Ahead | None = None

    def meanwhile() -> None:
        """Load what is needed next while the target is at work; filelock alone takes 50 ms. Read the eggs, too."""
        from eggcache.target import owners
        from eggcache.target.ahead import Ahead

        watcher.tick()
        nonlocal read
        if read is None:
            read = Ahead(account, limits)
            read.look([*paths, *owners.site_directories(python)])

    watcher.phase(f"asking {python} for the tree")
    tree = resolver.resolve(
        python,
        requirements,
        paths=paths,
        everything=everything,
        account=account,
        meanwhile=meanwhile,
        launched=launched,
    )
    from eggcache.cache import filling, neighbours, serving

    notes, new, overtaken, others = [], None, False, receipt.Receipt()
    try:
        with layout.zone(timezone), ExitStack() as held:
            if dry_run:
                descriptor = None if unsafe else _open_existing(directory)
                if descriptor is not None:
                    held.callback(os.close, descriptor)
                if unsafe:
                    from eggcache.cache import replacement

                    replacement.check(directory)
                    notes.append(f"{directory}: {unsafe.cause}: it would be moved aside, to {directory}.aside-...")
                    others = neighbours.of(directory, entry)
                    notes += [f"{neighbours.named(directory, key)} would be prepared anew" for key in others.entries]
                elif descriptor is None and not os.path.isdir(os.path.dirname(directory)):
                    raise _no_parent(directory, os.path.dirname(directory))
            else:
                descriptor, new = _open_or_create(directory, reset, wait, held)
            known, staged = others, None
            fixed = descriptor is not None and not dry_run and bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)
            if descriptor is not None:
                entries.refuse_other(directory, os.listdir(descriptor), "name a new or an empty directory")
                if not dry_run and not fixed:
                    lockdown.drop_acls(descriptor)  # before the lock, which would inherit from them
                    if new is None:
                        held.enter_context(lockdown.locked(descriptor, directory, wait, watcher))
                        if not lockdown.leads_to(directory, descriptor):
                            raise EggcacheError(directory, "another run took it away meanwhile", "run it again")
                    held.enter_context(_tidied(descriptor))
                    if new is not None:  # what `directory` serves beside this it has to serve afterwards
                        others = neighbours.of(directory, entry)
                        serving.keep_readers(others, directory, astuple(owner), account.name)
                        notes += neighbours.prepare(others, directory, descriptor, watcher)
                known = receipt.read(descriptor)
            serving.keep_readers(known, directory, astuple(owner), account.name)
            if descriptor is not None:
                notes += _forget(known, entry, directory, dry_run) if prune and not fixed else []
                if not dry_run and not fixed:
                    finished = None if prune else _held(descriptor, entry, options)
                    if finished:
                        return _unchanged(directory, finished, entry, owner, dry_run)  # whoever held the lock did it
                    lockdown.own(descriptor, owner.uid, owner.gid, owner.directory_mode)
                    _, staged = held.enter_context(staging.stage(descriptor))
            run = filling.Filling(directory, descriptor, owner, account, known, entry, limits, watcher, read, timezone)
            run.fill(tree, staged)
            if staged is not None:
                run.swap(staged, allow_gap)
            run.drop(prune and not fixed, staged)
            run.look_for_foreign()
            if fixed and descriptor is not None:
                # An egg that is only newer needs nothing: pkg_resources compares with what is in it.
                lacking = known.lacks(descriptor, run.expected)
                if lacking or not lockdown.owned(descriptor, owner.uid, owner.gid, owner.directory_mode):
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.path.join(directory, *lacking[:1]))
                run.outcomes = [replace(outcome, action="kept") for outcome in run.outcomes]
                notes.append(f"{directory}: it is read-only, and was left as it is: what it serves is current")
            if staged is not None:
                run.sign(options, tree, started)
                if new is not None:
                    overtaken = new.overtaken()
                    aside = None if overtaken else new.take_place(allow_gap)
                    notes += [_moved(directory, aside)] if aside else []
                elif run.displaced:
                    watcher.phase("")
                    time.sleep(_GRACE)
    except serving.ServesOthers as error:
        if new is None and unsafe is None:
            raise
        # nothing that is lenient, as where a safe directory serves others: no server may start with this one
        raise NotPermitted(directory, f"is not safe, and is not built anew: {error.cause}", error.remedy) from None
    except PermissionError as error:
        cause = f"cannot be made or filled: {error.strerror}"
        raise NotPermitted(directory, cause, "run it as root, or name a directory in one of yours") from error
    except OSError as error:
        raise of_disk(directory, "cannot be filled", error) from error
    if overtaken:  # by another run that was to renew it as well
        return prepare(
            directory,
            requirements,
            python=python,
            account=account,
            gid=gid,
            paths=paths,
            everything=everything,
            timezone=timezone,
            limits=limits,
            wait=wait,
            reset=reset,
            prune=prune,
            allow_gap=allow_gap,
            progress=progress,
        )
    return Report(
        "prepare",
        directory,
        tuple(run.outcomes),
        tuple(run.findings),
        tuple(notes),
        dry_run=dry_run,
        digest=receipt.content(run.expected),
        owner=owner,
    )


def _forget(known: receipt.Receipt, entry: str, directory: str, dry_run: bool) -> list[str]:
    """Let `known` forget the trees that no process can need any more, so that what was extracted for them goes."""
    notes = []
    for other in known.forgettable(entry):
        python, _, requirements = receipt.asked(other)
        why = "which is gone" if receipt.gone(python) else "for which nothing was extracted"
        done = "would be forgotten" if dry_run else "forgotten"
        notes.append(f"{directory}: {done}: {' '.join(requirements) or '--all'} of {python}, {why}")
        del known.entries[other]
    return notes


def _open_existing(directory: str) -> int | None:
    try:
        return lockdown.open_directory(directory)
    except FileNotFoundError:
        return None


def _no_parent(directory: str, missing: str) -> EggcacheError:
    return EggcacheError(directory, f"{missing} does not exist", f"mkdir -p {shlex.quote(os.path.dirname(directory))}")


@contextmanager
def _tidied(descriptor: int) -> Iterator[None]:
    """Without what a killed run has left, and, when this one ends, whenever a signal came, without what it has left.
    The caller holds the lock."""
    from eggcache.system import exchange

    try:
        exchange.recover(descriptor)
        staging.remove_stages(descriptor)
        yield
    finally:
        with staging.undisturbed():
            staging.remove_stages(descriptor)


def _open_or_create(
    directory: str, reset: bool, wait: float, held: ExitStack
) -> tuple[int, replacement.Renewal | None]:
    """The cache, made where it is missing; with `reset`, where what is there may not stay, what will take its place."""
    from eggcache.cache import replacement

    replacement.tidy(directory)
    try:
        descriptor = lockdown.open_directory(directory, create=True)
        held.callback(os.close, descriptor)
        entries.check(descriptor, directory)
    except FileNotFoundError as error:
        raise _no_parent(directory, error.filename) from None
    except NotPermitted:
        if not reset:
            raise
        new = held.enter_context(replacement.renewal(directory, wait))
        return new.descriptor, new
    return descriptor, None


def _moved(directory: str, aside: str) -> str:
    return f"{directory}: was not safe, or somebody else's: moved aside to {aside}"


def _previous(
    directory: str, entry: str, options: dict[str, Any], reset: bool, dry_run: bool
) -> tuple[receipt.Receipt | None, NotPermitted | None]:
    """The receipt, where it says that nothing has to be done; and what is unsafe about the directory, where
    `reset` may see to that."""
    try:
        descriptor = _open_existing(directory)
    except NotPermitted as unsafe:
        if not reset:
            raise
        return None, unsafe
    if descriptor is None:
        return None, None
    try:
        held = _held(descriptor, entry, options)
        if held is None:
            entries.check(descriptor, directory)
        elif not dry_run and freshness.leftovers(descriptor):
            # A run was killed after it had written the receipt; or one is at work for another tree, and will do this.
            with suppress(EggcacheError, OSError), lockdown.locked(descriptor, directory, 0), _tidied(descriptor):
                pass
        return held, None
    except NotPermitted as unsafe:
        if not reset:
            raise
        return None, unsafe
    finally:
        os.close(descriptor)


def _held(descriptor: int, entry: str, options: dict[str, Any]) -> receipt.Receipt | None:
    data = freshness.load(descriptor)
    known = receipt.understood(data) if freshness.holds(data, entry, options, descriptor) else None
    return known if known and entry in known.entries else None


def _unchanged(directory: str, known: receipt.Receipt, name: str, owner: Ownership, dry_run: bool) -> Report:
    entry = known.entries[name]
    outcomes = tuple(
        Outcome(done.egg, os.path.join(directory, place), "kept", done.files, done.size)
        for place in entry.names
        for done in (known.extracted[place],)
    )
    digest = receipt.content({place: known.extracted[place].expected for place in entry.names})
    findings = tuple(entry.findings)
    return Report("prepare", directory, outcomes, findings, unchanged=True, dry_run=dry_run, digest=digest, owner=owner)
