"""The command `unzip-all`: it swaps each zipped egg of a tree for a directory of the same name."""

from __future__ import annotations

import glob
import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress

from eggcache.errors import Busy, EggcacheError, NotPermitted, of_disk
from eggcache.model import (
    DEFAULT_LIMITS,
    Distribution,
    Finding,
    Interpreter,
    Kind,
    Limits,
    Outcome,
    Process,
    Report,
    Tree,
)
from eggcache.progress import Progress
from eggcache.servers import cleaners
from eggcache.system import accounts, exchange, lockdown, staging
from eggcache.system.accounts import Account
from eggcache.target import owners, resolver, skipped
from eggcache.unzip import processes
from eggcache.unzip.backup import open_backup
from eggcache.unzip.conversion import Conversion, as_finding, opened, tidy

RESTART = (
    "restart every server that uses these eggs: a process that has scanned a zip cannot import from the directory "
    "that took its place"
)


def unzip_all(
    requirements: Sequence[str] = ("TurboGears",),
    *,
    python: str,
    account: Account | None = None,
    paths: Sequence[str] = (),
    everything: bool = False,
    backup: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    allow_gap: bool = False,
    wait: float = 120.0,
    dry_run: bool = False,
    progress: Progress | None = None,
    users: processes.Users | None = None,
    warn: Callable[[str], object] = str,
) -> Report:
    """Turn every zipped egg of the tree of `requirements` into an unzipped one at the same path.

    python       the target interpreter, absolute; it byte-compiles what is extracted
    account      whom the target runs as when it is asked for its tree (default: the caller)
    paths        what is put in front of the target's sys.path
    everything   all distributions on the path instead of a tree; this needs no pkg_resources in the target
    backup       the directory that keeps each zip
    limits       what an egg may ask for (eggcache.model.Limits) before it is refused as a bomb
    allow_gap    where the file system cannot exchange a zip and its directory in one step, take two: in between the
                 egg is missing, and if the run is killed there, until the next run
    wait         seconds to wait for another run
    dry_run      say what would be done, and write nothing
    progress     is told how far it has got
    users        the processes that use the target (default: those that we may look into)
    warn         called with each line that names them, before anything is changed

    Each directory has the egg's owner and group, and is readable by whom the egg was readable. Call it as the
    owner of the target's site-packages. An egg that is refused stays as it is and comes back as a finding; so does
    a directory of eggs that cannot be written, where there are others.
    Raises NotPermitted, Busy or EggcacheError where nothing could be done; each egg is then, as at any other
    moment, a whole zip or a whole directory, and running it again completes.
    """
    progress = progress or Progress()
    owners.check_bare(python)
    tree = settled_tree(python, requirements, account, paths, everything, wait, dry_run, progress)
    found = by_directory(tree.distributions)
    outcomes: list[Outcome] = []
    findings = [*resolver.findings(tree), *not_on_path(found, tree.interpreter)]
    findings += disbelieved(found, python, account, paths)
    findings += skipped.findings(tree, account or accounts.current(), limits, progress)
    errors: list[EggcacheError] = []
    if not dry_run:
        remove_leftovers(believed(places(tree) - found.keys(), python, account, paths))
    with ExitStack() as stack:
        keep = None if backup is None or not found else open_backup(backup, found, dry_run)
        if keep is not None:
            stack.callback(os.close, keep)
            if not dry_run:
                stack.enter_context(lockdown.locked_itself(keep, f"--backup {backup}", wait, progress))
                staging.remove_stages(keep)
        told = Announcement(users, python, [*places(tree), *around(paths), *found], "eggcache unzip-all", warn)
        for directory, zips in found.items():
            run = Conversion(directory, zips, python, tree.interpreter, keep, limits, allow_gap, progress, told)
            try:
                run.convert(wait, dry_run)
            except (EggcacheError, OSError) as error:
                errors.append(explained(directory, error))
            outcomes += run.outcomes
            findings += run.findings
    if errors and not outcomes and len(found) == 1:
        raise errors[0]
    findings += map(as_finding, errors)
    notes = (RESTART,) if outcomes and not dry_run else ()
    return Report(
        "unzip-all", None, tuple(outcomes), tuple(findings), notes, not outcomes, dry_run, processes=told.found or ()
    )


class Announcement:
    """Says who uses the target, or its eggs, once, when the first of them is about to be exchanged."""

    def __init__(
        self,
        users: processes.Users | None,
        python: str,
        directories: Iterable[str],
        command: str,
        warn: Callable[[str], object],
    ) -> None:
        self.found: tuple[Process, ...] | None = None
        self._users = users
        self._where = python, directories
        self._command = command
        self._warn = warn

    def __call__(self) -> None:
        if self.found is None:
            users = self._users or processes.users(*self._where)
            self.found = tuple(users.processes)
            for line in processes.warning(users, self._command):
                self._warn(line)


def settled_tree(
    python: str,
    requirements: Sequence[str],
    account: Account | None,
    paths: Sequence[str],
    everything: bool,
    wait: float,
    dry_run: bool,
    progress: Progress,
) -> Tree:
    """The tree, of a moment at which no other run was swapping, and no egg was missing in the gap of a killed one.

    1. Another run swaps Foo.egg after the target listed site-packages and before it reads Foo.egg.
    2. The target's pkg_resources fails with "Is a directory", or takes Foo for not installed.
    3. The swap has moved the mtime of the directory: wait until that run lets go of its lock, and ask again.
    """
    prefix = glob.escape(os.path.dirname(os.path.dirname(python)))
    known = {*glob.glob(os.path.join(prefix, "lib*", "python*", "*-packages")), *around(paths)}
    for again in range(10, -1, -1):
        _close_gaps(known, wait, dry_run, progress)
        progress.phase(f"asking {python} for the tree")
        started = time.time_ns() - 50_000_000  # the kernel stamps files with a clock that ticks every 1 to 10 ms
        try:
            tree = resolver.resolve(
                python,
                requirements,
                paths=paths,
                everything=everything,
                account=account,
                need_pkg_resources=not everything,
                meanwhile=progress.tick,
            )
            known |= places(tree)
        except EggcacheError as error:
            if error.status != 1 or not again or not _settled(known, started, wait, progress):
                raise
        else:
            recovered = _close_gaps(known | _led_to(tree), wait, dry_run, progress)
            if not again or not (_settled(known, started, wait, progress) or recovered):
                return tree
    raise AssertionError("the last turn returns or raises")


def _close_gaps(places: Iterable[str], wait: float, dry_run: bool, progress: Progress) -> bool:
    """Recover what a run left that was killed in a gap, where the target would see no egg: whether there was any.

    Raises EggcacheError where that fails, and for a dry run, which would be wrong about the tree.
    """
    found = False
    for directory in places:
        if not os.path.lexists(os.path.join(directory, lockdown.JOURNAL)):
            continue
        try:
            with opened(directory) as descriptor, lockdown.locked_itself(descriptor, directory, wait, progress):
                missing = exchange.pending(descriptor) if dry_run else None
                found |= not dry_run and exchange.recover(descriptor)
        except OSError as error:
            raise explained(directory, error) from error
        if missing is not None:
            cause = "it is missing since a run was killed while it swapped it"
            raise EggcacheError(os.path.join(directory, missing), cause, "run it without -n, which puts it back")
    return found


def _settled(directories: Iterable[str], started: int, wait: float, progress: Progress) -> bool:
    """Whether one of these directories has changed meanwhile; if so, no run is working there any more."""
    changed = False
    for directory in directories:
        with suppress(OSError, NotPermitted):
            if started <= os.stat(directory).st_mtime_ns <= time.time_ns() + 1_000_000_000:  # not one dated 2098
                changed = True
                with opened(directory) as descriptor, lockdown.locked_itself(descriptor, directory, wait, progress):
                    pass
    return changed


def by_directory(distributions: Iterable[Distribution], *, zipped: bool = True) -> dict[str, dict[str, Distribution]]:
    """The zipped eggs, or the unzipped ones, by directory and name. A link on the path goes on leading to the egg."""
    found: dict[str, dict[str, Distribution]] = {}
    for distribution in distributions:
        where = distribution.egg if distribution.kind.zipped else distribution.location
        if where is not None and (distribution.kind.zipped if zipped else distribution.kind is Kind.UNZIPPED):
            directory, name = os.path.split(os.path.realpath(where))
            found.setdefault(directory, {}).setdefault(name, distribution)
    return found


def places(tree: Tree) -> set[str]:
    """The directories in which an earlier run may have worked."""
    unzipped = (one.location for one in tree.distributions if one.kind is Kind.UNZIPPED)
    return {*map(os.path.realpath, tree.interpreter.site_packages)} | {
        os.path.dirname(os.path.realpath(location)) for location in unzipped
    }


def around(paths: Iterable[str]) -> list[str]:
    """What `--path` names, and for an egg the directory that it is in, too."""
    return [one for path in paths for one in (path, os.path.dirname(path))[: 1 + path.lower().endswith(".egg")]]


def _led_to(tree: Tree) -> set[str]:
    """The directories that .pth files and links in site-packages lead to, though an egg be missing there."""
    found = set()
    for pth in tree.interpreter.pth:
        lines = (line.strip() for line in cleaners.read_lines(pth))
        found |= {os.path.join(os.path.dirname(pth), line) for line in lines if line.endswith(".egg")}
    for directory in tree.interpreter.site_packages:
        found |= set(glob.glob(os.path.join(glob.escape(directory), "*.egg")))
    return {os.path.dirname(os.path.realpath(path)) for path in found}


def believed(directories: Iterable[str], python: str, account: Account | None, paths: Sequence[str]) -> set[str]:
    """Those of these directories in which root may work though somebody else's code named them."""
    if os.geteuid() != 0 or account is None or account.uid == 0:
        return set(directories)
    return set(directories) & owners.named(python, around(paths))


def disbelieved(
    found: dict[str, dict[str, Distribution]], python: str, account: Account | None, paths: Sequence[str]
) -> list[Finding]:
    """Take the others out of `found`, and say so: a forged answer could name any egg of the host's."""
    wrong = found.keys() - believed(found, python, account, paths)
    who = account.name if account else ""
    cause = f"root finds these eggs by the word of what {who} runs alone"
    errors = [NotPermitted(place, cause, f"name it: --path {shlex.quote(place)}") for place in sorted(wrong)]
    for place in wrong:
        del found[place]
    return list(map(as_finding, errors))


def not_on_path(found: dict[str, dict[str, Distribution]], interpreter: Interpreter) -> Iterator[Finding]:
    """Take out of `found` the eggs in directories that only `--path` names, and say so: whoever put an egg there may
    open it as a file, as Scrapyd does. An egg that `--path` itself names is meant."""
    added = set(map(os.path.realpath, interpreter.added))
    own = {os.path.realpath(path) for path in interpreter.path if path not in interpreter.added}
    for directory, zips in list(found.items()):
        left = []
        for name, one in sorted(zips.items()):
            ways = {os.path.realpath(one.egg or name), os.path.realpath(os.path.dirname(one.egg or name))}
            if not ways & own and os.path.join(directory, name) not in added and ways & added:
                left.append(os.path.join(directory, name))
                del zips[name]
        if not zips:
            del found[directory]
        if left:
            which = f"its {len(left)} eggs stay" if len(left) > 1 else f"{os.path.basename(left[0])} stays"
            cause = (
                f"only --path names this directory, so {which} zipped: whoever put them there may open them as files"
            )
            named = " ".join(f"--path {shlex.quote(egg)}" for egg in left)
            remedy = f"where nothing does, name each of them: eggcache unzip-all {named}"
            yield Finding("not-on-path", directory, cause, remedy, context=tuple(left))


def remove_leftovers(directories: Iterable[str]) -> None:
    """Remove what a run left that was killed after its last swap, where no zip would lead the next run."""
    for directory in directories:
        try:
            if not any(name.startswith(lockdown.STAGE) for name in os.listdir(directory)):
                continue
            with opened(directory) as descriptor, lockdown.locked_itself(descriptor, directory, 0):
                tidy(descriptor)
        except (OSError, Busy, NotPermitted):
            pass  # somebody else's, or in use


def explained(directory: str, error: EggcacheError | OSError) -> EggcacheError:
    """The one line for an error that kept a whole directory of eggs from being converted."""
    if isinstance(error, EggcacheError):
        return error
    if isinstance(error, PermissionError):
        return NotPermitted(
            directory,
            f"eggs there cannot be unzipped: {error.strerror}",
            "run it as root, or as the owner of these eggs",
        )
    return of_disk(directory, "eggs there cannot be unzipped", error)
