"""The names in a cache that a run opens, exchanges or removes: what must not lie there."""

from __future__ import annotations

import os
import re
import stat

from eggcache import lockdown, validity
from eggcache.errors import NotPermitted

_RESET = "or let --reset move the directory aside"


def check(descriptor: int, path: str) -> None:
    """Refuse the cache open at `descriptor` where a run would fail half-way, or reach something else.

    Everything else that may lie there, such as a FIFO, a device or a link, is replaced or removed without being
    opened. Raises NotPermitted: the message names it, and --reset moves the whole directory aside.
    """
    lockdown.check_lock(descriptor, path)
    try:
        info = os.stat(validity.NAME, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        pass
    else:
        if stat.S_ISDIR(info.st_mode):
            cause = "it is a directory, and the receipt belongs there"
            raise NotPermitted(os.path.join(path, validity.NAME), cause, f"remove it, {_RESET}")
    for mounted in _mounts_below(os.readlink(f"/proc/self/fd/{descriptor}")):
        # It can be neither exchanged nor removed, and what is removed below it would be somebody else's.
        raise NotPermitted(os.path.join(path, mounted), "something is mounted there", f"umount it, {_RESET}")


def _mounts_below(directory: str) -> list[str]:
    """What is mounted below `directory`, relative to it, as proc_pid_mountinfo(5) tells; st_dev shows no bind mount."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        places = [re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), line.split(" ")[4]) for line in stream]
    return sorted(place[len(directory) + 1 :] for place in places if place.startswith(directory + "/"))
