"""Reading files and directories that may be anybody's."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from eggcache.errors import NotPermitted
from eggcache.system.safe_dirs import ACL_ACCESS, DIRECTORY, READ

_LARGEST = 16 << 20  # bytes; a mod_wsgi.so with debugging information has about two MiB
_PIECE = 1 << 20  # bytes of a file in memory at once: the file may be larger than the memory


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """A descriptor that is closed at the end.

    :param descriptor: an open file or directory
    """
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(path: str, *, flags: int = 0) -> int:
    """A descriptor of a regular file, open for reading.

    What is none is not opened at all: opening a FIFO could wait for its other end, and opening a device may do
    something, as rewind a tape. The name may be somebody's who exchanges it: so what was looked at is what is opened.

    :param path: the file
    :param flags: what is added to the flags of open(2), as os.O_NOFOLLOW
    :raises OSError: it is no regular file, or cannot be opened
    :raises ValueError: there is a NUL in the path
    """
    with closing(os.open(path, os.O_PATH | os.O_CLOEXEC | flags)) as place:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise OSError(errno.EINVAL, "no regular file", path)
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def beginning(path: str, size: int = _LARGEST, *, flags: int = 0) -> bytes:
    """The first bytes of a regular file; b"" where it cannot be read.

    A FIFO or a device is not opened, see `open_regular`: it could have no end either.

    :param path: the file
    :param size: the number of bytes
    :param flags: what is added to the flags of open(2), as os.O_NOFOLLOW
    """
    try:
        with open(open_regular(path, flags=flags), "rb") as stream:
            return stream.read(size)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return b""


def lines(path: str, *, flags: int = 0) -> list[str]:
    """The lines of the beginning of a file, with line ends of any system, as os.fsdecode decodes them.

    :param path: the file
    :param flags: what is added to the flags of open(2), as os.O_NOFOLLOW
    :returns: the lines; [] where the file cannot be read
    """
    return [os.fsdecode(line) for line in beginning(path, flags=flags).splitlines()]


def names(directory: str) -> list[str]:
    """The names in a directory, in order; none where it cannot be listed.

    :param directory: its path
    """
    try:
        return sorted(os.listdir(directory))
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return []


def directory(path: str) -> AbstractContextManager[int]:
    """A descriptor of a directory, which is closed at the end.

    :param path: its path
    :raises OSError: it cannot be opened, or is none
    """
    return closing(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def exists(name: str, directory: int) -> bool:
    """Whether a directory has an entry of some name, be it a link that leads nowhere.

    :param name: the name of the entry
    :param directory: a descriptor of the directory
    """
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def mode_with_umask(mode: int) -> int:
    """The permission bits that this process's umask leaves a new file.

    :param mode: the permission bits without it
    """
    umask = os.umask(0o077)
    os.umask(umask)
    return mode & ~umask


def same_bytes(first_name: str, second_name: str, first_in: int | None = None, second_in: int | None = None) -> bool:
    """Whether two names lead to regular files with the same bytes. No link is followed.

    :param first_name: a path
    :param second_name: another one
    :param first_in: a descriptor of the directory that `first_name` is relative to; None: the working directory
    :param second_in: the same for `second_name`
    """
    with ExitStack() as stack:
        streams = []
        for name, directory in ((first_name, first_in), (second_name, second_in)):
            try:
                descriptor = stack.enter_context(closing(os.open(name, READ, dir_fd=directory)))
            except OSError:
                return False
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # open() takes no directory
                return False
            streams.append(stack.enter_context(open(descriptor, "rb", closefd=False)))
        info, other_info = (os.fstat(stream.fileno()) for stream in streams)
        if info.st_size != other_info.st_size:
            return False
        while True:
            piece = streams[0].read(_PIECE)
            if piece != streams[1].read(_PIECE):
                return False
            if not piece:
                return True


def has_acl(descriptor: int) -> bool:
    """Whether an open file has a POSIX ACL. Then the bits of the group in its mode are the ACL's mask: the most that
    any user or group may do, and not what the file's group may.

    :param descriptor: the open file
    """
    return bool(acl(descriptor))


def group_reads(descriptor: int, mode: int) -> bool:
    """Whether the group of an open file may read it, by its mode or by its ACL, see `has_acl`.

    :param descriptor: the open file
    :param mode: its mode
    """
    entries = acl(descriptor) if mode & 0o040 else []
    return any(tag == 0x04 and rights & 0o4 for tag, rights, _ in entries) if entries else bool(mode & 0o040)


def acl(file: int | str, name: str = ACL_ACCESS) -> list[tuple[int, int, int]]:
    """The entries of a POSIX ACL, acl(5): a tag, rights, and a number each, as linux/posix_acl_xattr.h has them after a
    version. [] where there is none, or the file system has none.

    :param file: an open file, or a path, of which no link is followed
    :param name: which of the two that a directory can have
    """
    try:
        data = os.getxattr(file, name, follow_symlinks=isinstance(file, int))
    except OSError:
        return []
    import struct  # not to be loaded by a run with nothing to do

    return list(struct.iter_unpack("<HHI", data[4 : 4 + (len(data) - 4) // 8 * 8]))


def walk(top: str, within: int | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk: each directory from `top` down, with the names of its directories and of its other entries.

    No depth is too great for it (os.walk calls itself for each level up to Python 3.11, os.fwalk always). No link is
    followed, except `top` itself where `within` is None. A directory that cannot be listed, or has a path that is too
    long for the kernel, is passed over.

    :param top: the directory that is first
    :param within: a descriptor of the directory that `top` is relative to; None: the working directory
    """
    pending, flags = [top], DIRECTORY & ~os.O_NOFOLLOW if within is None else DIRECTORY
    while pending:
        directory = pending.pop()
        directories, names = list[str](), list[str]()
        try:
            descriptor = os.open(directory, flags, dir_fd=within)
        except OSError:
            continue
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    (directories if entry.is_dir(follow_symlinks=False) else names).append(entry.name)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        yield directory, directories, names
        flags = DIRECTORY
        pending += [os.path.join(directory, name) for name in reversed(directories)]


def in_tmp(directory: str) -> str | None:
    """The directory that PrivateTmp hides and that a directory is below; None where it is not below one.

    :param directory: a path
    :returns: "/tmp" or "/var/tmp"
    :raises NotPermitted: nobody can tell, as of /proc/1/root where process 1 is another user's
    """
    try:
        real_path = part = os.path.realpath(directory)
        while part != os.path.dirname(part):
            if os.path.islink(part):
                os.readlink(part)  # since Python 3.13 realpath answers with a link that cannot be read
            part = os.path.dirname(part)
    except OSError as error:
        raise NotPermitted(directory, f"cannot be looked at: {error.strerror}", "name another directory") from error
    return next((top for top in ("/tmp", "/var/tmp") if real_path == top or real_path.startswith(top + "/")), None)  # noqa: S108
