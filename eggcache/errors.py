"""The errors that end a command, each class with its exit status.

Every message is one line: the thing, the cause, the remedy. The documentation's table of exit statuses is made
from these classes.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import namedtuple

TYPE_CHECKING = False  # importing typing takes longer than many a run
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DISK = {
    errno.ENOSPC: "make room there (df -h, df -i)",
    errno.EDQUOT: "raise that user's quota, or make room there",
    errno.EROFS: "remount it writable",
    errno.EIO: "see what the kernel's log says of that disk",
}


class Remedy(namedtuple("Remedy", ("text", "command"), defaults=("",))):
    """What to do about a fault. As a string it is one line, with the command at its end.

    :param text: what to do, in words; "" where there is no advice
    :param command: the shell command that does it, with all options that it needs; "" where no command does it
    """

    __slots__ = ()
    text: str
    command: str

    @classmethod
    def of(cls, remedy: Remedy | str) -> Remedy:
        """The `remedy` itself, or one without a command from its text."""
        return remedy if isinstance(remedy, Remedy) else cls(remedy)

    def __str__(self) -> str:
        return f"{self.text}: {self.command}" if self.command else self.text


def in_one_line(thing: str, cause: str, remedy: Remedy, code: str = "") -> str:
    """The one line of an error, or of a finding with its code: in front of the remedy, so that a command can be copied
    up to the end of the line.

    :param thing: what is wrong: a path, an option, a requirement
    :param cause: why
    :param remedy: what to do; its text may be ""
    :param code: the code of the finding; "" for an error
    """
    what = f"{thing}: {cause} [{code}]" if code else f"{thing}: {cause}"
    return f"{what}; {remedy}" if remedy.text else what


class EggcacheError(Exception):
    """Failed; what was there is whole, and running it again completes (exit status 1). As a string it is one line.

    :param thing: what the error is about: a path, an option, a requirement
    :param cause: what is wrong with it
    :param remedy: what to do; a text where no command does it, "" where there is no advice
    """

    status = 1  #: the exit status of a command that ends with it
    lenient: int | None = None  #: the exit status of `prepare --lenient` with it; None: the same. It is not about DIR

    def __init__(self, thing: str, cause: str, remedy: Remedy | str = "") -> None:
        self.thing = thing
        self.cause = cause
        self.remedy = Remedy.of(remedy)
        super().__init__(thing, cause, self.remedy)

    def __str__(self) -> str:
        return in_one_line(self.thing, self.cause, self.remedy)


class UsageError(EggcacheError):
    """The command line makes no sense (exit status 2)."""

    status = 2


class EggRefused(EggcacheError):
    """Findings: check said no, an egg was refused as damaged or hostile, or no cache can serve it (exit status 3)."""

    status = 3


class EggDamaged(EggRefused):
    """Bytes of the egg are missing, or differ from its checksums."""


class EggAmbiguous(EggRefused):
    """Not every Python and program would read the same files from the egg."""


class EggTooLarge(EggRefused):
    """The egg has more entries, or unpacks to more bytes, than the limits allow."""

    limits: Mapping[str, int] = {}  #: the limits that would allow it, by the names of `Limits`; empty: none would


class EggChanged(EggRefused):
    """The egg changed while it was read, or its unzipped directory changed since."""


class EggUnsuitable(EggRefused):
    """The egg is sound, but cannot become what was asked for: the cause says why."""


class NotPermitted(EggcacheError):
    """Not permitted, or a directory is not safe (exit status 4)."""

    status = 4


def of_disk(thing: str, cause: str, error: OSError) -> EggcacheError:
    """The error for a refusal of the disk or the kernel. A read-only disk is not unsafe: the status is 1.

    :param thing: the path that the command was at work on
    :param cause: what could not be done with it
    :param error: what the system said; a file name of its own is named too
    """
    why = error.strerror or str(error)
    named = isinstance(error.filename, str) and error.filename != "." and not thing.endswith(error.filename)
    where = f" ({error.filename})" if named else ""
    return EggcacheError(thing, f"{cause}: {why}{where}", f"{_DISK.get(error.errno or 0, 'see to that')} and run again")


class Missing(EggcacheError):
    """A required distribution is missing or conflicts (exit status 5)."""

    status = 5


class Busy(EggcacheError):
    """Another run holds the lock for longer than `wait` (exit status 75, EX_TEMPFAIL of sysexits.h)."""

    status = 75


class Ended(BaseException):
    """A signal asked us to end. Not an Exception, so that nothing but the clean-up is done on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def meant(word: str, known: Iterable[str]) -> str:
    """ "did you mean NAME?" with the name of `known` that is most like `word`; "" where none is like it.

    :param word: what somebody has written
    :param known: the words that there are
    """
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def one_line(text: str) -> str:
    """The text with unprintable characters escaped: names in messages come from eggs and from the target.

    :param text: any text
    """
    if text.isprintable():  # as nearly all are
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def tell(line: str) -> None:
    """Print a message on stderr. A closed stderr or a full disk neither stops the work nor changes the exit status.

    :param line: the message, without the newline
    """
    try:
        print(line, file=sys.stderr)
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as we live
