"""Disks on which a cache cannot be kept from others: vfat has no modes, NFS with root_squash gives root's files away.

Nothing but a try tells them from a fit disk: vfat has the modes of its mount options, and the NFS server decides who is
squashed, exports(5). So what was just made is looked at.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from eggcache.errors import NotPermitted

# For unzip-all too: with a cache on another disk, an egg on this one stays zipped.
_ELSEWHERE = "have the egg cache on another disk, such as in /var/cache/eggcache"


def look(descriptor: int, parent: int, name: str) -> None:
    """See that `name`, which this process has just made for itself alone in the verified directory `parent`, and opened
    as `descriptor`, is its own. Else `name` is removed, and NotPermitted raised."""
    info = os.fstat(descriptor)
    cause = ""
    if info.st_uid != os.geteuid():
        from eggcache.system import safe_dirs

        caller, owner = safe_dirs.owner_name(os.geteuid()), safe_dirs.owner_name(info.st_uid)
        cause = f"its disk gives {owner} what {caller} makes there, as NFS does with root_squash or all_squash"
    elif info.st_mode & 0o077:
        mode = _set_mode(descriptor, info.st_mode & 0o700)  # an NFSv4 ACL that was inherited goes by it
        if mode & 0o077:
            cause = f"its disk keeps no modes, as vfat: what is made there for its owner alone gets {mode:04o}"
    elif os.geteuid() == 0:
        # vfat with umask=077: a cache there is root's alone, and Apache's account is not root.
        directory = stat.S_ISDIR(info.st_mode)
        for usual in (0o711, stat.S_IMODE(info.st_mode)) if directory else (0o700, 0o600):  # a lock is no one else's
            mode = _set_mode(descriptor, usual)
            if mode != usual:
                cause = f"its disk keeps no modes, as vfat: a mode of {usual:04o} becomes {mode:04o}"
                break
    if cause:
        with suppress(OSError):  # a server that squashes root may refuse that as well
            (os.rmdir if stat.S_ISDIR(info.st_mode) else os.unlink)(name, dir_fd=parent)
        raise NotPermitted(os.path.join(os.readlink(f"/proc/self/fd/{parent}"), name), cause, _ELSEWHERE)


def _set_mode(descriptor: int, mode: int) -> int:
    """Ask for this mode of the open file or directory, and return the mode that it has then."""
    with suppress(PermissionError):  # vfat says nothing for a directory, and refuses it for a file
        os.fchmod(descriptor, mode)
    return stat.S_IMODE(os.fstat(descriptor).st_mode)


def not_permitted(directory: str, error: OSError) -> NotPermitted:
    """The error where a directory cannot be made or filled.

    Root is told of another disk: an NFS server with root_squash refuses root what it grants to others. An attribute of
    chattr(1), and SELinux, do so on any disk.

    :param directory: its path
    :param error: what the kernel says
    """
    remedy = "run it as root, or name a directory in one of yours"
    if os.geteuid() == 0:
        remedy = f"see what keeps root from it (findmnt, lsattr -d, getenforce), or {_ELSEWHERE}"
    return NotPermitted(directory, f"cannot be made or filled: {error.strerror}", remedy)
