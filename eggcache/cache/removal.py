"""The command `remove`: it takes a whole cache away, and nothing else."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress

from eggcache.cache import entries as cache_names
from eggcache.cache import freshness, receipt, replacement
from eggcache.errors import NotPermitted
from eggcache.model import DEFAULT_RUN, Outcome, Report, Run
from eggcache.system import lockdown, procfs, walking


def remove(directory: str, run: Run = DEFAULT_RUN) -> Report:
    """Take away the cache `directory`, which prepare made: what its receipt names and its owner owns, and it itself.

    1. What is in it is looked at under its lock. Anything that is not eggcache's own: NotPermitted, and all stays.
    2. The directory is renamed, so that from one moment to the next it is gone: nobody sees half of it.
    3. What is in it goes, the lock last, and then it goes itself. A run that is killed at this leaves a directory of a
       name that only eggcache gives beside the place where it was, and the next run finishes that.

    A directory that does not exist is nothing to do. Raises NotPermitted where it is no egg cache of eggcache's and the
    caller's, or not safe, or cannot be renamed, and Busy.
    """
    missing = Report("remove", directory, (), (), (f"{directory}: there is none: nothing to do",), True, run.dry_run)
    with ExitStack() as held:
        try:
            descriptor = lockdown.open_directory(directory)
        except FileNotFoundError:
            if not run.dry_run:
                _finish(directory)
            return missing
        held.callback(os.close, descriptor)
        # Not os.path.realpath, which follows any link, whoever planted it.
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        try:
            parent = lockdown.open_parent(path)
        except FileNotFoundError:
            return missing  # with all that was around it
        held.callback(os.close, parent)
        _check_ours(descriptor, directory)
        if not run.dry_run:
            held.enter_context(lockdown.locked(descriptor, directory, run.wait, run.progress))
            if not lockdown.leads_to(path, descriptor):
                return missing  # whoever held the lock removed it
        known = receipt.read(descriptor)
        names = sorted(os.listdir(descriptor))
        _check_entries(descriptor, directory, known)
        outcomes = tuple(_outcomes(descriptor, directory, names, known))
        if not run.dry_run:
            replacement.remove_leftovers(parent, (_prefix(path), replacement.prefix(path)))
            aside = _prefix(path) + secrets.token_hex(8)
            try:
                # A plain rename, which every file system has: nobody can guess the name, and put something there.
                os.rename(os.path.basename(path), aside, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError as error:  # a mount point, or a parent that is not ours to write
                cause = f"cannot be taken away: {error.strerror}"
                raise NotPermitted(directory, cause, f"see to {os.path.dirname(path)}, or empty it yourself") from None
            sizes = {os.path.basename(one.into): (one.files, one.size) for one in outcomes}
            run.progress.phase("removing", sum(size for _, size in sizes.values()))
            replacement.remove(parent, aside, descriptor, lambda name: run.progress.advance(*sizes.get(name, (0, 0))))
    notes = list(_users(path))  # when no lock is held any more: others may be slow to tell
    if os.path.islink(directory):
        notes.append(f"{directory}: the symbolic link to {path} is yours to remove")
    return Report("remove", directory, outcomes, (), tuple(notes), dry_run=run.dry_run)


def _prefix(path: str) -> str:
    return f"{os.path.basename(path)}.removed-"


def _finish(directory: str) -> None:
    """Remove what a killed run left of `directory`, which is gone. Every link that leads there is a trusted one: that
    it is missing is known from open_directory, which refuses the others."""
    path = os.path.realpath(directory)
    with suppress(FileNotFoundError):
        parent = lockdown.open_parent(path)
        try:
            replacement.remove_leftovers(parent, (_prefix(path), replacement.prefix(path)))
        finally:
            os.close(parent)


def _check_ours(descriptor: int, directory: str) -> None:
    """Refuse what eggcache never worked in: pkg_resources fills caches as well, and directories can be empty."""
    for name in (freshness.NAME, lockdown.LOCK):
        try:
            info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid():
            return
    raise NotPermitted(directory, "eggcache did not make it: it has neither a receipt nor a lock", "name the egg cache")


def _check_entries(descriptor: int, directory: str, known: receipt.Receipt) -> None:
    for one in cache_names.foreign(descriptor, directory, known.extracted, lost=not known.entries):
        raise NotPermitted(one.thing, f"{one.cause}, so nothing was removed", "see whose it is; then run again")


def _outcomes(descriptor: int, directory: str, names: list[str], known: receipt.Receipt) -> Iterator[Outcome]:
    for name in names:
        into = os.path.join(directory, name)
        one = known.extracted.get(name)
        if one:
            yield Outcome(one.egg, into, "removed", one.files, one.size)
        elif name.endswith("-tmp") or cache_names.left(name):
            yield Outcome("", into, "removed", *_counted(descriptor, name))


def _counted(descriptor: int, name: str) -> tuple[int, int]:
    """Files and bytes below `name`, of which no receipt tells."""
    sizes = [
        os.stat(os.path.join(here, file), dir_fd=descriptor, follow_symlinks=False).st_size
        for here, _, files in walking.below(name, descriptor)
        for file in files
    ]
    return len(sizes), sum(sizes)


def _users(path: str) -> Iterator[str]:
    """What there is to say of the processes that have `path` in their environment as the egg cache, as far as we may
    see; but for those that we were started by."""
    wanted, silent = b"PYTHON_EGG_CACHE=" + os.fsencode(path), list[int]()
    ours = procfs.ancestors()
    others = [pid for pid in procfs.numbers() if pid not in ours]
    for pid, has in procfs.ask(others, lambda pid: wanted in procfs.environment(pid), silent):
        if has:
            with suppress(OSError):
                who = f"{os.path.basename(procfs.program(pid))} (process {pid})"
                yield f"{who} has it as its egg cache: restart it without"
    if silent:
        more = f" and {len(silent) - 1} more" if silent[1:] else ""
        yield f"process {silent[0]}{more}: whether it has it as its egg cache could not be read; see what it waits for"
