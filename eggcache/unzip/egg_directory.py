"""A directory of eggs in which they are exchanged: safe to work in, writable, locked, and with a stage in it."""

from __future__ import annotations

import errno
import os
import shlex
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from eggcache.errors import Busy, EggcacheError, EggUnsuitable, NotPermitted, Remedy, of_disk
from eggcache.model import Finding, Outcome, Ownership, Run
from eggcache.system import accounts, files, locks, safe_dirs, staging, syscalls

_INSTEAD = "leave these eggs zipped and use eggcache prepare"
_OF_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # what the disk refuses one egg, it refuses the others


class Place:
    """The directory `path`, whose eggs are prepared in a stage, written to the disk and then swapped, all together."""

    action: str  # of its outcomes
    fault: str  # what is said of an egg where it fails
    restart: str  # why servers have to be restarted then

    def __init__(self, path: str, run: Run, before_swap: Callable[[], object]) -> None:
        self.path = path
        self.run = run
        self.progress = run.progress
        self.before_swap = before_swap
        self.outcomes: list[Outcome] = []
        self.findings: list[Finding] = []

    def work(self) -> None:
        """Do the work, or in a dry run find out what would be done.

        A fault of a single egg is a finding. Raises EggcacheError for a fault of the directory or the disk.
        """
        try:
            self._work()
        except OSError as error:
            raise error_of(self.path, error) from error

    def _work(self) -> None:
        with files.closing(safe_dirs.open_place(self.path)) as descriptor:
            _check_writable(descriptor, self.path)
            if self.run.dry_run:
                self.plan(descriptor)
                if self.outcomes:
                    self.before_swap()
                return
            with _stage(descriptor, self.path, self.run) as stage:
                self.exchange(descriptor, stage)

    def plan(self, descriptor: int) -> None:
        """Find out what would be done in the directory, which is open at `descriptor`."""
        raise NotImplementedError

    def exchange(self, descriptor: int, stage: int) -> None:
        """Do the work in the directory, which is open at `descriptor`, by the stage that is open at `stage`."""
        raise NotImplementedError

    def swap(
        self,
        descriptor: int,
        stage: int,
        swaps: Iterable[Callable[[], object]],
        keep: Callable[[], object] = lambda: None,
    ) -> None:
        """Put what is in the stage, which is open at `stage`, in its place in the directory at `descriptor` by `swaps`,
        when it is on the disk and `keep` has kept the eggs."""
        self.progress.phase("writing to the disk")
        syscalls.sync_filesystem(stage)
        keep()
        self.before_swap()
        try:
            for swap in swaps:
                swap()
        finally:
            os.fsync(descriptor)  # before what was there is removed with the stage

    def attempt(self, name: str, act: Callable[[], object]) -> None:
        """Have `act` do something with the egg `name`. What is wrong with that egg alone becomes a finding, and keeps
        no other egg from its turn."""
        try:
            act()
        except syscalls.CannotExchange:
            raise
        except EggcacheError as error:
            self.findings.append(self.as_finding(error))
        except OSError as error:
            if error.errno in _OF_ALL:
                raise
            path = os.path.join(self.path, name)
            of = "" if error.filename in (None, name) else f"{error.filename}: "
            cause, remedy = f"{self.fault}: {of}{error.strerror}", "see to that and run again"
            failure = EggcacheError(path, cause, remedy)
            if error.errno == errno.EBUSY:
                failure = EggcacheError(path, cause, "unmount what is mounted there, and run again")
            elif isinstance(error, PermissionError):
                read = f"let {accounts.current().name} read it, and run again"
                failure = NotPermitted(path, cause, read if error.errno == errno.EACCES else remedy)
            self.findings.append(self.as_finding(failure))

    def add_outcome(self, name: str, files: int, size: int) -> None:
        """Report the egg `name` as done, with its number of `files` and their `size` in bytes."""
        path = os.path.join(self.path, name)
        self.outcomes.append(Outcome(path, path, self.action, files, size))

    def as_finding(self, error: EggcacheError) -> Finding:
        """The finding for an egg, or a directory, that had to be left as it was for this `error`."""
        return as_finding(error)


def as_finding(error: EggcacheError) -> Finding:
    """The finding for an egg, or a directory of eggs, that had to be left as it was."""
    code = {3: "egg-refused", 4: "not-permitted"}.get(error.status, "not-unzipped")
    status = 1 if isinstance(error, Busy) else error.status  # what could be done was done: running again completes
    return Finding(code, error.thing, error.cause, error.remedy, status)


def error_of(directory: str, error: OSError) -> EggcacheError:
    """The text of an error that kept a whole directory of eggs from being converted."""
    if isinstance(error, PermissionError):
        cause = f"eggs there cannot be unzipped: {error.strerror}"
        return NotPermitted(directory, cause, accounts.rights_remedy("the owner of these eggs", _INSTEAD))
    return of_disk(directory, "eggs there cannot be unzipped", error)


def ownership_of(path: str, info: os.stat_result, source: int) -> Ownership:
    """The owner and group of the egg at `path`, which is open at `source`, its rights to read, and the right to write
    for the owner alone.

    Raises NotPermitted where we may not give these to its replacement, and EggUnsuitable where the mode in `info` does
    not tell who may read it.
    """
    if files.has_acl(source):
        cause = "an ACL says who may read it (getfacl), and its files would have no more than a mode"
        words = "have its owner, group and mode say who may read it, and take the ACL away"
        raise EggUnsuitable(path, cause, Remedy(words, f"setfacl -b {shlex.quote(path)}"))
    gid = info.st_gid
    file_mode = 0o600 | (info.st_mode & 0o044)
    if os.geteuid() not in (0, info.st_uid):
        cause = f"it belongs to {safe_dirs.owner_name(info.st_uid)}, and its files have to belong to the same user"
        name = accounts.current().name
        otherwise = f"leave the egg as it is, since eggcache prepare serves zips, or give it to {name}"
        remedy = accounts.rights_remedy("that user", otherwise, f"chown -h {name} {shlex.quote(path)}")
        raise NotPermitted(path, cause, remedy)
    if os.geteuid() != 0 and gid not in (os.getegid(), *os.getgroups()):
        if (file_mode >> 3 ^ file_mode) & 0o4:
            cause = (
                f"its owner is not in its group {gid}, which may read it while others may not, and so cannot give "
                "files to it"
            )
            raise NotPermitted(path, cause, "give it to a group of its owner with chgrp")
        gid = os.getegid()  # no matter: the group may read as much as everybody
    return Ownership(info.st_uid, gid, file_mode | 0o100 | ((file_mode & 0o044) >> 2), file_mode)


def check_movable(descriptor: int, path: str) -> None:
    """Raise NotPermitted where an attribute of chattr(1) keeps the open egg, or directory of eggs, as it is."""
    letter = syscalls.fixed_by(descriptor)
    if letter:
        word = "immutable" if letter == "i" else "append-only"
        cause = f"chattr(1) made it {word}, so even root exchanges nothing there"
        remedy = Remedy("take that attribute away as root, and run again", f"chattr -{letter} {shlex.quote(path)}")
        raise NotPermitted(path, cause, remedy)


def _check_writable(descriptor: int, path: str) -> None:
    check_movable(descriptor, path)
    if accounts.may(f"/proc/self/fd/{descriptor}", os.W_OK | os.X_OK):
        return
    if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
        raise NotPermitted(path, "the file system of these eggs is mounted read-only", "remount it and run again")
    info, me = os.fstat(descriptor), accounts.current()
    cause = (
        f"{me.words} cannot write to this directory of eggs: it belongs to {safe_dirs.owner_name(info.st_uid)}, "
        f"mode {stat.S_IMODE(info.st_mode):04o}"
    )
    raise NotPermitted(path, cause, accounts.rights_remedy("the owner", _INSTEAD))


@contextmanager
def _stage(descriptor: int, path: str, run: Run) -> Iterator[int]:
    """Hold the lock of the directory of eggs `path`, and yield a stage in it, which is removed at the end."""
    with locks.lock_itself(descriptor, path, run.wait, run.progress):
        try:
            tidy(descriptor)
            with staging.stage(descriptor) as (_, stage):
                yield stage
        finally:
            tidy(descriptor)  # where a signal came while the stage was being removed


def tidy(descriptor: int) -> None:
    """Remove every stage, even while the compiler of a killed run writes its last file there."""
    for attempts in range(50, -1, -1):
        try:
            with staging.undisturbed():
                staging.remove_stages(descriptor)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT) or not attempts:
                raise
            time.sleep(0.1)
