"""The command `remove`: it removes a whole cache, and nothing else."""

from __future__ import annotations

import os
import shlex
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

from eggcache.cache import foreign_entries as cache_names
from eggcache.cache import freshness, receipt, reset_directory
from eggcache.errors import NotPermitted, Remedy, of_disk
from eggcache.model import DEFAULT_RUN, Outcome, Report, Run
from eggcache.system import files, locks, procfs, safe_dirs, staging

_MOST_LOOKS, _BETWEEN = 20, 0.05  # seconds between two looks at an empty directory


def remove(directory: str, run: Run = DEFAULT_RUN) -> Report:
    """Remove a cache that prepare made: what its receipt names and its owner owns, and the directory itself.

    1. The content is looked at under the lock. Where anything is not eggcache's own, everything stays.
    2. The directory is renamed: it is gone from one moment to the next, and nobody sees half of it.
    3. The content is removed, the lock last, then the directory. A killed run leaves a directory beside it, of a name
       that only eggcache gives, and the next run removes that.

    :param directory: the cache; where it does not exist, there is nothing to do
    :param run: limits, waiting, dry run and progress
    :returns: what was removed; with `run.dry_run`, what would be removed
    :raises NotPermitted: the directory is no egg cache of the caller's, is not safe, or cannot be renamed
    :raises Busy: another run holds the lock for longer than `run.wait`
    :raises EggcacheError: the disk refuses, as one that is mounted read-only
    """
    try:
        return _remove(directory, run)
    except OSError as error:
        raise of_disk(directory, "cannot be removed", error) from None


def _remove(directory: str, run: Run) -> Report:
    note = f"{directory}: it does not exist: nothing to do"
    absence = Report("remove", directory, (), (), (note,), True, run.dry_run)
    notes = list[str]()
    with ExitStack() as stack:
        try:
            descriptor = safe_dirs.open_directory(directory)
        except FileNotFoundError:
            if not run.dry_run:
                _finish(directory)
            return absence
        except NotPermitted as error:
            raise _by_hand(error, directory) from None
        stack.callback(os.close, descriptor)
        # Not os.path.realpath, which follows any link, whoever planted it.
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        try:
            parent = safe_dirs.open_parent(path)
        except FileNotFoundError:
            return absence  # with all that was around it
        except NotPermitted as error:
            raise _by_hand(error, directory) from None
        stack.callback(os.close, parent)
        lock = stack.enter_context(ExitStack())
        if not _is_ours(descriptor):
            if not safe_dirs.leads_to(path, descriptor):
                return absence  # another run removed it
            cause = "eggcache did not make it: it has neither a receipt nor a lock"
            raise NotPermitted(directory, cause, "name the egg cache")
        if not run.dry_run:
            lock.enter_context(locks.lock_directory(descriptor, directory, run.wait, run.progress))
            if not safe_dirs.leads_to(path, descriptor):
                return absence  # whoever held the lock removed it
        cache_names.check_mounts(descriptor, directory, "unmount it, and run it again")
        record = receipt.read(descriptor)
        names = sorted(os.listdir(descriptor))
        for finding in cache_names.findings(
            descriptor, directory, record.extracted, without_receipt=not record.entries
        ):
            cause = f"{finding.cause}, so nothing was removed"
            raise NotPermitted(finding.thing, cause, "see whose it is; then run again")
        outcomes = tuple(_outcomes(descriptor, directory, names, record))
        if not run.dry_run:
            reset_directory.remove_leftovers(parent, path)
            aside = reset_directory.prefix_of_removal(path) + staging.unguessable()
            try:
                # A plain rename, which every file system has: nobody can guess the name, and put something there.
                os.rename(os.path.basename(path), aside, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError as error:  # a mount point, or a parent that is not ours to write
                cause = f"cannot be taken away: {error.strerror}"
                raise NotPermitted(directory, cause, f"see to {os.path.dirname(path)}, or empty it yourself") from None
            sizes = {os.path.basename(outcome.into): (outcome.files, outcome.size) for outcome in outcomes}
            run.progress.phase("removing", sum(size for _, size in sizes.values()))
            is_gone = reset_directory.remove(
                parent, aside, descriptor, lambda name: run.progress.advance(*sizes.get(name, (0, 0)))
            )
            lock.close()  # NFS and FUSE keep the file of the lock, removed as it is, while it is open
            is_gone = is_gone or reset_directory.remove(parent, aside, descriptor)
            if not is_gone:
                cause = "the disk keeps it, since a process has a file of it open"
                remedy = f"end that process, then run: {shlex.join(['eggcache', 'remove', path])}"
                notes.append(f"{os.path.join(os.path.dirname(path), aside)}: {cause}: {remedy}")
    notes += _users(path)  # when no lock is held any more: others may be slow to tell
    if os.path.islink(directory):
        notes.append(f"{directory}: the symbolic link to {path} is yours to remove")
    return Report("remove", directory, outcomes, (), tuple(notes), dry_run=run.dry_run)


def _by_hand(error: NotPermitted, directory: str) -> NotPermitted:
    """The error for what is not safe, with what one can do who does not want a cache but be rid of it."""
    try:
        info = os.stat(error.thing)
    except OSError:
        return error
    is_cache = os.path.realpath(error.thing) == os.path.realpath(directory)
    if not stat.S_ISDIR(info.st_mode):
        remedy = Remedy("name the egg cache")
    elif info.st_uid not in (0, os.geteuid()):
        either = "" if not os.geteuid() else "root, or as "
        by_hand = ", or see what is in it and remove it yourself" if is_cache and not os.geteuid() else ""
        remedy = Remedy(f"run it as {either}its owner{by_hand}")
    elif info.st_uid != os.geteuid():
        remedy = Remedy("run it as root")
    elif is_cache:  # what others put there may be anything
        remedy = Remedy("see what is in it, and remove it yourself")
    else:
        remedy = Remedy("let nobody else write there, and run it again", f"chmod go-w {shlex.quote(error.thing)}")
    return NotPermitted(error.thing, error.cause, remedy)


def _finish(directory: str) -> None:
    """Remove what a killed run left of `directory`, which is gone. Every link on the way is trusted: open_directory
    refuses others, and it has said that the directory is missing."""
    path = os.path.realpath(directory)
    with suppress(FileNotFoundError), files.closing(safe_dirs.open_parent(path)) as parent:
        reset_directory.remove_leftovers(parent, path)


def _is_ours(descriptor: int) -> bool:
    """Whether eggcache ever worked in it: pkg_resources fills caches as well, and directories can be empty. A prepare
    that has made a directory has its lock there soon after: what is empty is looked at again for a moment."""
    for _ in range(_MOST_LOOKS):
        for name in (freshness.NAME, safe_dirs.LOCK):
            with suppress(FileNotFoundError):
                info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid():
                    return True
        if os.listdir(descriptor):
            break
        time.sleep(_BETWEEN)
    return False


def _outcomes(descriptor: int, directory: str, names: list[str], record: receipt.Receipt) -> Iterator[Outcome]:
    for name in names:
        into = os.path.join(directory, name)
        extracted = record.extracted.get(name)
        if extracted:
            yield Outcome(extracted.egg, into, "removed", extracted.files, extracted.size)
        elif name.endswith("-tmp") or cache_names.is_leftover(name):
            yield Outcome("", into, "removed", *_amount(descriptor, name))


def _amount(descriptor: int, name: str) -> tuple[int, int]:
    """Files and bytes below `name`, which no receipt counts."""
    sizes = [
        os.stat(os.path.join(place, file), dir_fd=descriptor, follow_symlinks=False).st_size
        for place, _, names in files.walk(name, descriptor)
        for file in names
    ]
    return len(sizes), sum(sizes)


def _users(path: str) -> Iterator[str]:
    """Notes on the processes that have `path` as the egg cache in their environment, as far as we may see; not on our
    own ancestors."""
    setting, silent = b"PYTHON_EGG_CACHE=" + os.fsencode(path), list[int]()
    ancestors = procfs.ancestors()
    processes = [pid for pid in procfs.numbers() if pid not in ancestors]
    for pid, has_setting in procfs.ask(processes, lambda pid: setting in procfs.environment(pid), silent):
        if has_setting:
            with suppress(OSError):
                process = f"{os.path.basename(procfs.program(pid))} (process {pid})"
                yield f"{process} has it as its egg cache: restart it without"
    if silent:
        rest = f" and {len(silent) - 1} more" if silent[1:] else ""
        yield f"process {silent[0]}{rest}: whether it has it as its egg cache could not be read; see what it waits for"
