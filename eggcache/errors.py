"""The errors that end a command, each class with its exit status.

Every message is one line: the thing, the cause, the remedy. The documentation's table of exit statuses is made
from these classes.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable

_DISK = {
    errno.ENOSPC: "make room there (df -h, df -i)",
    errno.EDQUOT: "raise that user's quota, or make room there",
    errno.EROFS: "remount it writable",
    errno.EIO: "see what the kernel's log says of that disk",
}


class EggcacheError(Exception):
    """Failed; what was there is whole, and running it again completes (exit status 1).

    :param thing: what the error is about: a path, an option, a requirement
    :param cause: what is wrong with it
    :param remedy: what to do, often a command that can be copied; "" where nothing can be named

    As a string it is one line that has all three.
    """

    status = 1  #: the exit status of a command that ends with it
    lenient: int | None = None  #: the exit status of `prepare --lenient` with it; None: the same. It is not about DIR

    def __init__(self, thing: str, cause: str, remedy: str = "") -> None:
        self.thing = thing
        self.cause = cause
        self.remedy = remedy
        super().__init__(thing, cause, remedy)

    def __str__(self) -> str:
        text = f"{self.thing}: {self.cause}"
        return f"{text}; {self.remedy}" if self.remedy else text


class UsageError(EggcacheError):
    """The command line makes no sense (exit status 2)."""

    status = 2


class EggRefused(EggcacheError):
    """Findings: check said no, an egg was refused as damaged or hostile, or no cache can serve it (exit status 3)."""

    status = 3


class NotPermitted(EggcacheError):
    """Not permitted, or a directory is not safe (exit status 4)."""

    status = 4


def of_disk(thing: str, cause: str, error: OSError) -> EggcacheError:
    """The one line for what the disk, or the kernel, refused. One that is read-only is not unsafe for that."""
    why = error.strerror or str(error)
    where = f" ({error.filename})" if isinstance(error.filename, str) and error.filename != thing else ""
    return EggcacheError(thing, f"{cause}: {why}{where}", f"{_DISK.get(error.errno or 0, 'see to that')} and run again")


class Missing(EggcacheError):
    """A required distribution is missing or conflicts (exit status 5)."""

    status = 5


class Busy(EggcacheError):
    """Another run holds the lock for longer than `wait` (exit status 75, EX_TEMPFAIL of sysexits.h)."""

    status = 75


def meant(word: str, known: Iterable[str]) -> str:
    """The question to ask back where `word` is none of those `known`; "" where none of them is like it."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def one_line(text: str) -> str:
    """Fit for a terminal and a log: names in messages come from eggs and from the target."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def tell(line: str) -> None:
    """Print a message. Where nobody reads messages any more, or their disk is full, the work goes on, and its exit
    status stands."""
    try:
        print(line, file=sys.stderr)
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as we live
