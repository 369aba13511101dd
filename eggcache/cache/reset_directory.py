"""The directory at `prepare --reset`: a new one is built beside the old one, and takes its place in one step."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from eggcache.cache import foreign_entries
from eggcache.errors import Busy, EggcacheError, NotPermitted, of_disk
from eggcache.system import files, locks, safe_dirs, staging, syscalls

_MOST_TURNS = 1000


class Renewal:
    """The replacement for `path`: a new directory of ours, private (0700) until the caller opens it, then whole.

    1. A server uses a cache that is not safe: its own user can write to it.
    2. If that cache moved aside first, every request would meet an empty directory until it is filled again.
    3. So the new one is filled under a name that nobody can guess, and then exchanged with the old one.
    """

    def __init__(self, path: str, parent: int, name: str, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self._parent = parent
        self._name = name
        self._placed = False

    def overtaken(self) -> bool:
        """Whether `path` is a directory of another run by now, which needs no renewal."""
        with suppress(OSError, NotPermitted), files.closing(safe_dirs.open_directory(self.path)) as descriptor:
            foreign_entries.check(descriptor, self.path)
            return True
        return False

    def take_place(self, allow_gap: bool) -> str | None:
        """Put the new directory at `path`. Returns where the old entry moved to, None where there was none.

        In one step: between two, anybody could make another entry in /tmp. In two steps where the file system needs
        that and `allow_gap` is given, and again as often as somebody does so. Raises CannotExchange, NotPermitted where
        the old entry cannot be moved, and EggcacheError where the disk refuses.
        """
        with staging.undisturbed():  # whoever ends it in between could not tell which of the two is the new one
            return self._exchange(os.path.basename(self.path), allow_gap)

    def _exchange(self, name: str, allow_gap: bool) -> str | None:
        try:
            for _ in range(_MOST_TURNS):
                try:
                    syscalls.exchange(self._parent, self._name, self._parent, name)
                except FileNotFoundError:
                    with suppress(FileExistsError):
                        syscalls.rename_new(self._parent, self._name, self._parent, name)
                        self._placed = True
                        return None
                else:
                    self._placed = True
                    return os.path.join(os.path.dirname(self.path), self._rename(f"{name}.aside-"))
        except syscalls.CannotExchange as error:
            if not allow_gap:
                raise syscalls.CannotExchange(self.path, error.cause, error.remedy) from None
            return self._rename_twice(name)
        except OSError as error:
            raise _immovable(self.path, error) from None
        raise NotPermitted(self.path, "another user makes and removes it again and again", "name another directory")

    def _rename_twice(self, name: str) -> str | None:
        """take_place in two steps. There is no journal: if the run is killed in between, the next one makes `path`
        anew, and the old entry was to go."""
        place = None
        try:
            for _ in range(_MOST_TURNS):
                aside = f"{name}.aside-{staging.unguessable()}"
                with suppress(FileNotFoundError):
                    os.rename(name, aside, src_dir_fd=self._parent, dst_dir_fd=self._parent)
                    place = place or os.path.join(os.path.dirname(self.path), aside)
                try:
                    os.rename(self._name, name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                        raise
                else:  # over nothing, or over an empty directory
                    self._placed = True
                    os.fsync(self._parent)
                    return place
        except OSError as error:
            raise _immovable(self.path, error) from None
        raise NotPermitted(self.path, "somebody makes it over and over", "name another directory")

    def _rename(self, prefix: str) -> str:
        """Give the displaced entry a telling name, unless its owner, in /tmp, has moved it already."""
        os.fsync(self._parent)
        aside = prefix + staging.unguessable()
        try:
            os.rename(self._name, aside, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        except OSError:
            return self._name
        return aside

    def discard(self) -> None:
        """Remove the new directory, unless it took its place."""
        if not self._placed:
            remove(self._parent, self._name, self.descriptor)


@contextmanager
def renewal(path: str, wait: float) -> Iterator[Renewal]:
    """A Renewal of `path`, locked; removed at the end unless it took its place. What killed runs left goes first.

    Raises NotPermitted where the parent is not safe, or for what must not be moved: a mount point, or a directory
    that is meant to be shared.
    """
    path = os.path.abspath(path)
    with ExitStack() as stack:
        try:
            parent = safe_dirs.open_parent(path)
            stack.callback(os.close, parent)
            _check_movable(path, parent)
            remove_leftovers(parent, path)
            name = prefix(path) + staging.unguessable()
            descriptor = safe_dirs.make(parent, name)
        except OSError as error:
            raise _immovable(path, error) from None
        stack.callback(os.close, descriptor)
        directory = Renewal(path, parent, name, descriptor)
        stack.callback(directory.discard)
        stack.enter_context(locks.lock_directory(descriptor, path, wait))
        yield directory


def tidy(path: str) -> None:
    """Remove the directories that killed runs were building for `path`, or removing, where that is possible."""
    with suppress(OSError, NotPermitted), files.closing(safe_dirs.open_parent(path)) as parent:
        remove_leftovers(parent, path)


def check(path: str) -> None:
    """For a dry run: raise what `renewal` would raise before it makes anything."""
    path = os.path.abspath(path)
    try:
        with files.closing(safe_dirs.open_parent(path)) as parent:
            _check_movable(path, parent)
    except OSError as error:
        raise _immovable(path, error) from None


def prefix(path: str) -> str:
    """The beginning of the names of directories that are built beside `path`."""
    return f"{os.path.basename(path)}{safe_dirs.NEW}"


def prefix_of_removal(path: str) -> str:
    """The beginning of the names that `remove` gives to the directory `path`, before it removes what is in it."""
    return f"{os.path.basename(path)}.removed-"


def _immovable(path: str, error: OSError) -> EggcacheError:
    if error.errno not in (errno.EBUSY, errno.EPERM, errno.EACCES, errno.EXDEV):
        return of_disk(path, "cannot be moved aside", error)
    return NotPermitted(path, f"cannot be moved aside: {error.strerror}", "name another directory")


def _check_movable(path: str, parent: int) -> None:
    with suppress(FileNotFoundError):
        info = os.stat(os.path.basename(path), dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX:
            raise NotPermitted(path, "it is a directory for everybody, as /tmp is", "name one below it")
        is_file = not stat.S_ISDIR(info.st_mode) and not stat.S_ISLNK(info.st_mode)
        if is_file and not safe_dirs.may_be_planted(info, parent):  # as /etc/passwd: it was typed by mistake
            raise NotPermitted(path, "it is no directory, and nobody else can have put it there", "name a directory")
        if info.st_dev != os.fstat(parent).st_dev:
            raise NotPermitted(path, "cannot be moved aside: it is a mount point", "name another directory")


def remove_leftovers(parent: int, path: str) -> None:
    """Remove what killed runs of `path` left in `parent`: directories of ours whose name only eggcache gives (one of
    two prefixes and 16 hexadecimal digits), and that are empty or have our lock, which is the first entry in and the
    last out. No link is followed, and a running run holds the lock."""
    prefixes = prefix(path), prefix_of_removal(path)
    for name in os.listdir(parent):
        if not any(re.fullmatch(re.escape(prefix) + "[0-9a-f]{16}", name) for prefix in prefixes):
            continue
        with (
            suppress(OSError, NotPermitted, Busy),
            files.closing(os.open(name, safe_dirs.DIRECTORY, dir_fd=parent)) as descriptor,
        ):
            info = os.fstat(descriptor)
            if info.st_uid != os.geteuid() or info.st_mode & 0o022:
                continue
            if safe_dirs.LOCK not in os.listdir(descriptor):
                os.rmdir(name, dir_fd=parent)  # where there is anything in it, it was not we who made it
                continue
            foreign_entries.check_mounts(descriptor, name, "unmount it")
            with locks.lock_directory(descriptor, name, 0):
                is_gone = remove(parent, name, descriptor)
            if not is_gone:
                os.rmdir(name, dir_fd=parent)  # it was the lock that had to be closed


def remove(parent: int, name: str, descriptor: int, notice: Callable[[str], object] = lambda _entry: None) -> bool:
    """Remove the directory `name` of `parent`, which is `descriptor`, with all that is in it: the lock last. `notice`
    gets the name of each entry that is gone.

    :returns: whether it is gone. It stays where NFS or FUSE keeps a file of it that a process has open, which may be
        the caller, with the lock. Where that is another file, the lock stays too, and a later run goes on
    """
    for _ in range(_MOST_TURNS):
        for entry in sorted(os.listdir(descriptor)):
            if entry != safe_dirs.LOCK and staging.remove(descriptor, entry):
                notice(entry)
        names = os.listdir(descriptor)
        stuck = [entry for entry in names if entry.startswith((safe_dirs.STAGE, *staging.KEPT))]
        if stuck and safe_dirs.LOCK in names:
            return False
        staging.remove(descriptor, safe_dirs.LOCK)
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if stuck:
                return False  # only now: NFS lists a file that was closed a moment ago, and rmdir waits for its removal
        else:
            return True
        # A run that had opened the directory before made a lock in it; it will find that the directory is gone.
    raise EggcacheError(name, "another user puts files into it again and again", "run it again")
