# Runs INSIDE a target, behind preamble.py, and in eggcache's own process (proof/comparison.py), so that there is one
# rule: what is wrong with a file of a cache. Python 2.4 to 3.14 syntax.
import errno
import os
import stat
import sys
import time

BILLION = 1000000000
QUARTER, DAY = 900, 26 * 3600  # seconds: zones differ by quarters of an hour, and by 26 hours at most
# No link is followed, no FIFO is waited for, no program inherits it
READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)


def difference(path, size, mtime, same):
    """What is wrong with the file at `path`: (its code, the reason), two times "" for nothing.

    It should have `size` bytes and `mtime`, seconds since the epoch; `same` is called with a descriptor of the open
    file, where its size is right, and says whether it has the bytes of the egg's.
    """
    try:
        descriptor = os.open(path, READING)
    except OSError:
        error = sys.exc_info()[1]
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return "member-missing", "is not there"
        if error.errno == errno.ELOOP:
            return "member-changed", "is a symbolic link"
        return "member-unreadable", "cannot be read: %s" % error.strerror
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return "member-changed", "is no regular file"
        if status.st_size != size:
            return "member-outdated", "has %d bytes, the egg's has %d" % (status.st_size, size)
        equal = same(descriptor)
    finally:
        os.close(descriptor)
    off = nanoseconds(status) - mtime * BILLION
    seconds, rest = divmod(off, BILLION)
    if off and equal and not rest and not seconds % QUARTER and abs(seconds) <= DAY:
        return "time-zone", "%+g h" % (seconds / 3600.0)
    if off:
        return "member-outdated", "is of %s, the egg's is of %s" % (moment(nanoseconds(status)), moment(mtime * BILLION))
    if not equal:
        return "member-changed", "has the size and the time of the egg's, but other bytes"
    return "", ""


def directories_of(into, names):
    """A directory of the cache, and those in it that files of these `names` lie in: an application may list each."""
    inside = {}
    for name in names:
        cut = name.rfind("/")
        while cut > 0 and name[:cut] not in inside:  # else those above it are there as well
            inside[name[:cut]] = True
            cut = name.rfind("/", 0, cut)
    return sorted([into] + [os.path.join(into, *name.split("/")) for name in inside])


def nanoseconds(status):
    """The mtime, as exactly as this Python knows it: before 3.3 as a float."""
    if hasattr(status, "st_mtime_ns"):
        return status.st_mtime_ns
    whole = int(status.st_mtime // 1)
    return whole * BILLION + int((status.st_mtime - whole) * BILLION)


def moment(mtime):
    """A time in nanoseconds, with the part of a second that no egg's has."""
    seconds, rest = divmod(mtime, BILLION)
    return (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) + ".%09d" % rest).rstrip("0").rstrip(".")
