"""Directories that nobody else can change: opening, creating, verifying and owning them.

Everything is relative to descriptors that were verified when they were opened. A path is walked once, from "/". A
component is safe when only root or the caller could have put it there: every directory on the way belongs to one of the
two, and others cannot write to it unless it is sticky, as /tmp.

A `prepare` with nothing to do needs `open_directory` alone: the other functions import what they need in their bodies.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat

from eggcache.errors import NotPermitted, of_disk

# Flags for entries of a verified directory: no link is followed, no FIFO is waited for, no program inherits it.
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# Names of eggcache's own in the directories that it works in; in a cache, `foreign_entries` tells whose an entry is.
LOCK = ".eggcache.lock"
VERIFIER = "eggcache-verifier.py"  # comes with an archive; whoever proves the cache types its name
STAGE = ".eggcache-stage-"  # how a stage's name begins
JOURNAL = ".eggcache-gap.json"
ASIDE = ".eggcache-gap-"  # how the name of a directory begins that moves aside, see `swap_or_gap`
NEW = ".new-"  # between the name of a cache and 16 digits: a directory beside it that has no name of its own yet

_MOST_LINKS, _MOST_TURNS = 40, 1000  # the former as Linux' own ELOOP limit
_LONGEST = 255  # bytes of a name, NAME_MAX on Linux
ACL_ACCESS, ACL_DEFAULT = "system.posix_acl_access", "system.posix_acl_default"  # the ACLs of acl(5)


def owner_name(uid: int) -> str:
    """An owner for a message: the name where there is one, and the number.

    :param uid: the number of the user
    """
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def open_directory(path: str, *, create: bool = False, roots: bool = False) -> int:
    """A descriptor of a directory which only root and the caller can change or replace.

    :param path: the directory
    :param create: make the directory (0700) where it is missing; its parents are never made
    :param roots: the directory may be root's too, not only the caller's
    :raises FileNotFoundError: the directory is missing
    :raises NotPermitted: it, or a directory above it, is not safe; the error has that component, its owner and its mode
    """
    return check_owner(_walk(os.path.abspath(path), create), path, roots)


def check_owner(descriptor: int, path: str, roots: bool = False) -> int:
    """The descriptor itself, where the directory is the caller's, and nobody else may write there. Else it is closed.

    :param descriptor: the open directory
    :param path: its name, for the error
    :param roots: the directory may be root's too
    :raises NotPermitted: it is another user's, or others may write there
    """
    remedy = "let --reset move it aside and build it anew, or name another directory"
    try:
        info = os.fstat(descriptor)
        if info.st_uid != os.geteuid() and not (roots and info.st_uid == 0):
            cause = f"it belongs to {owner_name(info.st_uid)}, who may hold files in it open"
            raise NotPermitted(path, cause, remedy)
        if info.st_mode & 0o022:
            cause = f"others can write to it (mode {stat.S_IMODE(info.st_mode):04o})"
            raise NotPermitted(path, cause, "name a directory in it" if info.st_mode & stat.S_ISVTX else remedy)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_place(path: str) -> int:
    """A descriptor of a directory in which eggs are and may be swapped.

    For root: only where it and every directory above it are root's, and not writable by everybody. The group may write:
    Debian lets `staff` install below /usr/local, and `staff` can replace what root runs from there anyway. Any other
    user has no more than his own rights.

    :param path: the directory
    :raises NotPermitted: root cannot safely work in it
    :raises OSError: the directory cannot be opened
    """
    if os.geteuid() != 0:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    descriptor = -1
    try:
        descriptor = _walk(os.path.abspath(path), create=False, group_may=True)
        _check_parent(descriptor, path, group_may=True)
    except NotPermitted as error:
        if descriptor >= 0:
            os.close(descriptor)
        cause = f"root cannot safely work in it: {error.thing}: {error.cause}"
        raise NotPermitted(path, cause, "run it as its owner") from None
    return descriptor


def _walk(path: str, create: bool, group_may: bool = False) -> int:
    """Open `path` component by component, as `open_directory` says. The caller closes the descriptor."""
    trail: list[tuple[int, str]] = [(os.open("/", DIRECTORY), "/")]
    parts = [part for part in reversed(path.split("/")) if part]
    links = 0
    try:
        while parts:
            name = parts.pop()
            parent, directory = trail[-1]
            if name == ".":
                continue
            if name == "..":
                if len(trail) > 1:
                    os.close(trail.pop()[0])
                continue
            _check_parent(parent, directory, group_may)
            place = os.path.join(directory, name)
            try:
                trail.append((os.open(name, DIRECTORY, dir_fd=parent), place))
            except FileNotFoundError:
                if not create or parts:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place) from None
                trail.append((_make_at_once(parent, name), place))
            except OSError as error:
                if error.errno in (errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT):
                    raise of_disk(place, "cannot be opened", error) from None
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    from eggcache.system import accounts

                    remedy = accounts.rights_remedy("its owner", "name another directory").text if os.geteuid() else ""
                    raise NotPermitted(place, f"cannot be opened: {error.strerror}", remedy) from None
                target = _trusted_link(parent, name, place, group_may)
                links += 1
                if links > _MOST_LINKS:
                    raise NotPermitted(place, "too many symbolic links", "name the directory itself") from None
                if target.startswith("/"):
                    while len(trail) > 1:
                        os.close(trail.pop()[0])
                parts.extend(part for part in reversed(target.split("/")) if part)
        return os.dup(trail[-1][0])
    finally:
        for descriptor, _ in trail:
            os.close(descriptor)


def make(parent: int, name: str) -> int:
    """Create a directory and open it. A directory that appears meanwhile is opened too; the caller judges its owner.

    Its mode changes for a moment. So no other run may give it one meanwhile: see `_make_at_once`.

    :param parent: a descriptor of the verified directory that it is made in
    :param name: the name of the new directory
    :returns: a descriptor of the new directory
    :raises NotPermitted: somebody puts something else there, or the disk cannot keep a directory from others
    :raises OSError: the disk refuses
    """
    descriptor, is_new = _made(parent, name)
    if is_new:
        from eggcache.system import unfit_disks

        try:
            unfit_disks.look(descriptor, parent, name)
            drop_acls(descriptor)  # a default ACL of the parent came along
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _make_at_once(parent: int, name: str) -> int:
    """As `make`, for a directory that other runs use as soon as it has its name: they may have filled it, and given it
    its mode, before this run goes on. So the disk is tried at another directory beside it, which goes again."""
    from contextlib import suppress

    trial = os.fsdecode(os.fsencode(f"{name}{NEW}{os.urandom(8).hex()}")[-_LONGEST:])
    try:
        os.close(make(parent, trial))
    except NotPermitted as error:  # and it is gone
        raise NotPermitted(os.path.join(os.path.dirname(error.thing), name), error.cause, error.remedy) from None
    except BaseException as error:
        with suppress(OSError):
            os.rmdir(trial, dir_fd=parent)
        if not (isinstance(error, OSError) and error.errno == errno.ESTALE):  # NFS, as below
            raise
    with suppress(FileNotFoundError):  # another run took it for a killed run's
        os.rmdir(trial, dir_fd=parent)
    descriptor, is_new = _made(parent, name)
    try:
        if is_new:
            drop_acls(descriptor)  # a default ACL of the parent came along
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if mode & 0o022:  # by an NFSv4 ACL that was inherited: no run of ours gives it such a mode
                os.fchmod(descriptor, mode & ~0o022)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _made(parent: int, name: str) -> tuple[int, bool]:
    """A descriptor of the directory `name`, and whether it is new. Raises as `make`."""
    for _ in range(_MOST_TURNS):  # in /tmp somebody else may make and remove one of that name
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
            is_new = True
        except FileExistsError:
            is_new = False
        try:
            descriptor = os.open(name, DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise NotPermitted(name, f"somebody put something else there: {error.strerror}", "remove it") from None
        return descriptor, is_new
    raise NotPermitted(name, "another user makes and removes it again and again", "name another directory")


def _check_parent(descriptor: int, path: str, group_may: bool = False) -> None:
    """Refuse a directory in which somebody else can exchange names."""
    info = os.fstat(descriptor)
    if info.st_uid not in (0, os.geteuid()):
        remedy = "name a directory below directories of root and of yourself, such as /var/cache/eggcache"
        raise NotPermitted(path, f"it belongs to {owner_name(info.st_uid)}, who can replace whatever is in it", remedy)
    if info.st_mode & (0o002 if group_may else 0o022) and not info.st_mode & stat.S_ISVTX:
        cause = f"others can rename what is in it (mode {stat.S_IMODE(info.st_mode):04o}, not sticky)"
        remedy = "name a directory below directories that nobody else can write to, such as /var/cache/eggcache"
        raise NotPermitted(path, cause, remedy)


def _trusted_link(parent: int, name: str, path: str, group_may: bool) -> str:
    """Where the symbolic link `name` leads. Refused unless root or the caller made it, in a directory that nobody else
    writes to."""
    try:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        raise NotPermitted(path, "another user exchanges it again and again", "name another directory") from None
    if not stat.S_ISLNK(info.st_mode):
        remedy = "name another directory"
        if may_be_planted(info, parent):
            remedy += ", or let --reset move it aside"
        raise NotPermitted(path, "it is no directory", remedy)
    if info.st_uid not in (0, os.geteuid()) or os.fstat(parent).st_mode & (0o002 if group_may else 0o022):
        cause = f"it is a symbolic link of {owner_name(info.st_uid)} that somebody else could have planted"
        raise NotPermitted(path, cause, "remove it, name the directory itself, or let --reset move it aside")
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError as error:  # /proc/1/root, in a container
        raise NotPermitted(path, f"cannot be opened: {error.strerror}", "name another directory") from None


def may_be_planted(info: os.stat_result, parent: int) -> bool:
    """Whether somebody else than root and the caller could have put an entry into its directory.

    :param info: of the entry
    :param parent: a descriptor of that directory
    """
    return info.st_uid not in (0, os.geteuid()) or bool(os.fstat(parent).st_mode & 0o022)


def open_parent(path: str) -> int:
    """A descriptor of the parent of a file or directory, in which only root and the caller can exchange names.

    :param path: the file or directory, which need not be there
    :raises NotPermitted: the parent, or a directory above it, is not safe
    :raises FileNotFoundError: the parent is missing
    """
    directory = os.path.dirname(os.path.abspath(path))
    descriptor = _walk(directory, create=False)
    try:
        _check_parent(descriptor, directory)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def only_roots(directory: str) -> bool:
    """Whether a directory is root's, readable for this user, who is not root, and unchangeable for anybody but root.

    :param directory: its path
    """
    if os.geteuid() == 0:
        return False
    try:
        descriptor = open_directory(directory, roots=True)
    except (OSError, NotPermitted):
        return False
    try:
        return os.fstat(descriptor).st_uid == 0
    finally:
        os.close(descriptor)


def leads_to(path: str, descriptor: int) -> bool:
    """Whether a path still leads to a directory, which may have been moved or removed.

    :param path: the path
    :param descriptor: the open directory
    """
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


def drop_acls(descriptor: int) -> None:
    """Remove both POSIX ACLs: they grant rights that the mode does not show, and new files would inherit them.

    :param descriptor: an open file or directory of ours
    :raises OSError: the disk refuses
    """
    for name in (ACL_ACCESS, ACL_DEFAULT):
        try:
            os.removexattr(descriptor, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL):
                raise


def set_owner(descriptor: int, uid: int, gid: int, mode: int) -> None:
    """Give an open file or directory its owner and mode: chown first, since chown clears the setuid bits.

    :param descriptor: the open file or directory
    :param uid: the number of the owner
    :param gid: the number of the group
    :param mode: the permission bits
    :raises NotPermitted: root cannot give files to that owner
    :raises OSError: the disk refuses
    """
    info = os.fstat(descriptor)
    if (info.st_uid, info.st_gid) != (uid, gid):
        try:
            os.fchown(descriptor, uid, gid)
        except OSError as error:
            if os.geteuid() or error.errno not in (errno.EPERM, errno.EINVAL):
                raise
            from eggcache.system import accounts

            raise accounts.powerless(f"owner {uid}, group {gid}", "give files to them", error) from None
    if stat.S_IMODE(info.st_mode) != mode:
        os.fchmod(descriptor, mode)
