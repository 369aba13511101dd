"""Directories that nobody else can touch: open, create, verify, lock, own, swap, remove.

Everything is relative to descriptors that were verified when they were opened. A path is walked once, from
"/", and a component counts as safe when nobody but root and the caller could have put it there: every
directory on the way belongs to one of the two, and is not writable by others unless it is sticky (as /tmp).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import pwd
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager

from eggcache.errors import Busy, EggcacheError, NotPermitted
from eggcache.model import Ownership

STAGE = ".eggcache-stage-"
LOCK = ".eggcache.lock"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40  # as Linux' own ELOOP limit
_RENAME_EXCHANGE = 2
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276, "ppc64le": 357, "s390x": 347, "riscv64": 276}  # for glibc < 2.28
_NOT_HERE = (errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP)
_ACLS = ("system.posix_acl_access", "system.posix_acl_default")


def owner_name(uid: int) -> str:
    """How a message calls the owner `uid`: by name where it has one, and by number."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


# ---------------------------------------------------------------------------------------------- opening


def open_directory(path: str, *, create: bool = False) -> int:
    """A descriptor of the directory `path`, which nobody but root and the caller can change or replace.

    The last component must belong to the caller; with `create` it is made (0700) where it is missing, its
    parents never are. Raises FileNotFoundError where it is missing, NotPermitted where it, or a directory
    above it, is not safe: the message names the component, its owner and its mode.
    """
    descriptor = _walk(os.path.abspath(path), create)
    try:
        info = os.fstat(descriptor)
        if info.st_uid != os.geteuid():
            raise NotPermitted(
                path,
                f"it belongs to {owner_name(info.st_uid)}, who may hold files in it open",
                "remove it, name another directory, or let --reset move it aside and build anew",
            )
        if info.st_mode & 0o022:
            raise NotPermitted(
                path,
                f"others can write to it (mode {stat.S_IMODE(info.st_mode):04o})",
                "remove it, or let --reset move it aside and build anew",
            )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _walk(path: str, create: bool) -> int:
    """Open `path` component by component; see open_directory. The caller closes the descriptor."""
    trail: list[tuple[int, str]] = [(os.open("/", _DIRECTORY), "/")]
    pending = [part for part in reversed(path.split("/")) if part]
    links = 0
    try:
        while pending:
            name = pending.pop()
            parent, where = trail[-1]
            if name == ".":
                continue
            if name == "..":
                if len(trail) > 1:
                    os.close(trail.pop()[0])
                continue
            _check_parent(parent, where)
            here = os.path.join(where, name)
            try:
                trail.append((os.open(name, _DIRECTORY, dir_fd=parent), here))
            except FileNotFoundError:
                if not create or pending:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), here) from None
                trail.append((_make(parent, name), here))
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise NotPermitted(here, f"cannot be opened: {error.strerror}", "") from None
                target = _trusted_link(parent, name, here)
                links += 1
                if links > _MOST_LINKS:
                    raise NotPermitted(here, "too many symbolic links", "name the directory itself") from None
                if target.startswith("/"):
                    while len(trail) > 1:
                        os.close(trail.pop()[0])
                pending.extend(part for part in reversed(target.split("/")) if part)
        return os.dup(trail[-1][0])
    finally:
        for descriptor, _ in trail:
            os.close(descriptor)


def _make(parent: int, name: str) -> int:
    """Create the directory `name` in `parent`; one that appeared meanwhile is opened, and judged by its owner."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
        made = True
    except FileExistsError:
        made = False
    descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    if made:
        drop_acls(descriptor)  # a default ACL of the parent came along
    return descriptor


def _check_parent(descriptor: int, where: str) -> None:
    """Refuse a directory in which somebody else can exchange names."""
    info = os.fstat(descriptor)
    if info.st_uid not in (0, os.geteuid()):
        raise NotPermitted(
            where,
            f"it belongs to {owner_name(info.st_uid)}, who can replace whatever is in it",
            "name a directory below directories of root and of yourself, such as /var/cache/eggcache",
        )
    if info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX:
        raise NotPermitted(
            where,
            f"others can rename what is in it (mode {stat.S_IMODE(info.st_mode):04o}, not sticky)",
            f"chmod go-w {where}, or name another directory, such as /var/cache/eggcache",
        )


def _trusted_link(parent: int, name: str, here: str) -> str:
    """Where the symbolic link `name` leads; refused unless root (or the caller) made it where nobody else writes."""
    info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        raise NotPermitted(
            here, "it is no directory", "remove it, name another directory, or let --reset move it aside"
        )
    if info.st_uid not in (0, os.geteuid()) or os.fstat(parent).st_mode & 0o022:
        raise NotPermitted(
            here,
            f"it is a symbolic link of {owner_name(info.st_uid)} that somebody else could have planted",
            "remove it, name the directory itself, or let --reset move it aside",
        )
    return os.readlink(name, dir_fd=parent)


def move_aside(path: str) -> str:
    """Rename whatever is at `path` to a name beside it that nobody can guess, and return the new path.

    Raises NotPermitted where the parent is not safe or the rename is refused (a mount point, another user's
    entry in a sticky directory).
    """
    path = os.path.abspath(path)
    parent = _walk(os.path.dirname(path), create=False)
    try:
        _check_parent(parent, os.path.dirname(path))
        aside = f"{os.path.basename(path)}.aside-{secrets.token_hex(4)}"
        os.rename(os.path.basename(path), aside, src_dir_fd=parent, dst_dir_fd=parent)
        return os.path.join(os.path.dirname(path), aside)
    except OSError as error:
        raise NotPermitted(path, f"cannot be moved aside: {error.strerror}", "name another directory") from None
    finally:
        os.close(parent)


# ------------------------------------------------------------------------------------ owning and locking


def drop_acls(descriptor: int) -> None:
    """Remove both POSIX ACLs, which grant rights that the mode does not show and that files below would inherit."""
    for name in _ACLS:
        try:
            os.removexattr(descriptor, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL):
                raise


def own(descriptor: int, uid: int, gid: int, mode: int) -> None:
    """Give an open file or directory its owner and mode: chown first, since chown clears setuid bits only then."""
    info = os.fstat(descriptor)
    if (info.st_uid, info.st_gid) != (uid, gid):
        os.fchown(descriptor, uid, gid)
    if stat.S_IMODE(info.st_mode) != mode:
        os.fchmod(descriptor, mode)


@contextmanager
def locked(descriptor: int, path: str, wait: float) -> Iterator[None]:
    """Hold the lock of the verified directory `descriptor`; `wait` is in seconds. Raises Busy.

    The lock file is 0600, so that the runtime user cannot open it and block root for ever, and it is never
    unlinked: whoever waits for an unlinked file would share the lock with whoever made the next one.
    """
    from filelock import FileLock, Timeout  # 0.07 s, which a run with nothing to do need not pay

    try:
        info = os.stat(LOCK, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_nlink != 1:
            raise NotPermitted(
                f"{path}/{LOCK}",
                f"it is not a lock file of ours (mode {info.st_mode:06o}, {owner_name(info.st_uid)}, "
                f"{info.st_nlink} links)",
                "remove it, or let --reset move the directory aside",
            )
    # Through the descriptor: the path could lead elsewhere by now.
    lock = FileLock(f"/proc/self/fd/{descriptor}/{LOCK}", timeout=wait, mode=0o600)
    try:
        lock.acquire(poll_interval=0.05)
    except Timeout:
        raise Busy(
            path, f"another run holds its lock for more than {wait:g} s", "wait for it, or raise --wait"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_itself(descriptor: int, path: str, wait: float) -> Iterator[None]:
    """Hold a lock on the directory `descriptor` itself, so that no lock file stays behind in it. Raises Busy.

    Whoever may read the directory could hold it, too: good for a command that a person waits for, not for one
    that Apache's start depends on.
    """
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= until:
                raise Busy(
                    path, f"another run holds it for more than {wait:g} s", "wait for it, or raise --wait"
                ) from None
            time.sleep(0.05)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


# ------------------------------------------------------------------------------------ staging and swapping


@contextmanager
def stage(descriptor: int) -> Iterator[tuple[str, int]]:
    """A private directory (0700, unguessable) inside `descriptor`: its name and descriptor. Removed at the end."""
    name = STAGE + secrets.token_hex(8)
    os.mkdir(name, 0o700, dir_fd=descriptor)
    try:
        inside = os.open(name, _DIRECTORY, dir_fd=descriptor)
        try:
            drop_acls(inside)
            yield name, inside
        finally:
            os.close(inside)
    finally:
        remove(descriptor, name)


def remove_stages(descriptor: int) -> None:
    """Remove the stages that killed runs left in `descriptor`, under whose lock the caller is."""
    for name in os.listdir(descriptor):
        if name.startswith(STAGE):
            remove(descriptor, name)


def replace(descriptor: int, name: str, data: bytes, ownership: Ownership) -> None:
    """Make the file `name` in the verified directory `descriptor` hold `data`: whole, or as it was before."""
    temporary = STAGE + secrets.token_hex(8)  # a killed run's is removed like any stage
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600, dir_fd=descriptor), "wb") as stream:
            stream.write(data)
            stream.flush()
            own(stream.fileno(), ownership.uid, ownership.gid, ownership.file_mode)
            os.fsync(stream.fileno())
        os.rename(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
    except BaseException:
        remove(descriptor, temporary)
        raise
    os.fsync(descriptor)


def exchange(old: int, old_name: str, new: int, new_name: str) -> None:
    """Swap two names atomically: at no moment is either of them missing (renameat2(2), RENAME_EXCHANGE).

    Raises EggcacheError where the file system cannot, and OSError for anything else.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (old, os.fsencode(old_name), new, os.fsencode(new_name), ctypes.c_uint(_RENAME_EXCHANGE))
    while True:
        if hasattr(libc, "renameat2"):
            failed = libc.renameat2(*arguments)
        elif platform.machine() in _RENAMEAT2:
            failed = libc.syscall(_RENAMEAT2[platform.machine()], *arguments)
        else:
            failed, _ = -1, ctypes.set_errno(errno.ENOSYS)
        if not failed:
            return
        code = ctypes.get_errno()
        if code != errno.EINTR:
            break
    if code in _NOT_HERE:
        raise EggcacheError(
            new_name,
            f"this file system cannot exchange two names at once (renameat2: {os.strerror(code)})",
            "use a directory on ext4, xfs, btrfs or tmpfs",
        )
    raise OSError(code, os.strerror(code), new_name)


def sync_filesystem(descriptor: int) -> None:
    """Write everything of the file system that `descriptor` is on to the disk: one call for all staged files."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(descriptor):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def remove(descriptor: int, name: str) -> None:
    """Remove the file or the whole directory `name` in `descriptor`; nothing outside is ever followed into."""
    try:
        os.unlink(name, dir_fd=descriptor)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # PermissionError is what POSIX says for a directory
        pass
    pending, directories = [name], []
    while pending:  # no recursion: how deep a tree is, an egg decides
        directory = pending.pop()
        directories.append(directory)
        inside = os.open(directory, _DIRECTORY, dir_fd=descriptor)
        try:
            with os.scandir(inside) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{directory}/{entry.name}")
                    else:
                        os.unlink(entry.name, dir_fd=inside)
        finally:
            os.close(inside)
    for directory in reversed(directories):
        os.rmdir(directory, dir_fd=descriptor)
