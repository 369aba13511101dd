"""The files of one egg, zipped or not, read with the rights of an account."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import gmtime

from eggcache.eggs import reader as eggs
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError, EggTooLarge, EggUnsuitable
from eggcache.model import DateTime, Distribution, Kind, Limits
from eggcache.system import accounts, safe_dirs
from eggcache.system.accounts import Account
from eggcache.target import code_owners

_PIECE = 4 << 20  # bytes that are read at once
_DEPTH = 64  # directories in one name, as of a zipped egg
_INNER = re.compile(r"(?i)[^/]+\.egg/EGG-INFO/")  # what pkg_resources knows an egg in a basket by
EARLIEST, LATEST = 315_532_800, 4_354_819_198  # seconds: what the date of a zip's member can be, 1980 to 2107


@dataclass(frozen=True)
class Content:
    """One file of an egg."""

    name: str
    size: int  # bytes
    date_time: DateTime
    pieces: Callable[[], Iterator[bytes]]  # each of 4 MiB at most

    def read(self) -> bytes:
        """All bytes of a file that is known to be small."""
        return b"".join(self.pieces())


@dataclass(frozen=True)
class Contents:
    """The files of one egg by name, and whether everybody may read all of them."""

    files: dict[str, Content]
    public: bool


@contextmanager
def opened(distribution: Distribution, account: Account, limits: Limits) -> Iterator[Contents]:
    """The files of an egg, read with the rights of `account`, within the `limits`.

    As root, an unzipped egg of another user is read with its owner's rights: a user who can change a directory while it
    is read decides what is read. Raises EggRefused for a damaged or hostile egg, NotPermitted where the account cannot
    read it, and EggcacheError where it changed while it was read.
    """
    path = distribution.egg or distribution.location
    with accounts.reading(path, account) as descriptor:
        first = os.fstat(descriptor)
        if distribution.kind is Kind.UNZIPPED:
            yield _directory(descriptor, path, code_owners.reader(path, first, account), limits)
        else:
            yield _zip(descriptor, path, distribution.inside, limits)
        last = os.fstat(descriptor)
        if (first.st_size, first.st_mtime_ns) != (last.st_size, last.st_mtime_ns):
            raise _change(path)


def inner_eggs(contents: Contents) -> set[str]:
    """The names of the eggs in an egg, which are distributions of their own."""
    return {name.partition("/")[0] for name in contents.files if _INNER.match(name)}


def is_basket(contents: Contents) -> bool:
    """Whether nothing but eggs is in a zip: then the zip is no distribution."""
    inner = inner_eggs(contents)
    return bool(inner) and all(name.partition("/")[0] in inner for name in contents.files)


def _zip(descriptor: int, path: str, inside: str, limits: Limits) -> Contents:
    egg = eggs.read(descriptor, path, limits)
    files = {}
    for name, member in Opened(descriptor, egg, inside).members:
        _check_name(path, name)
        files[name] = Content(
            name, member.size, member.date_time, lambda member=member: eggs.chunks(descriptor, egg, member)  # type: ignore[misc]
        )  # fmt: skip
    return Contents(files, bool(egg.stat.st_mode & 0o004))


def _directory(descriptor: int, path: str, account: Account, limits: Limits) -> Contents:
    """An unzipped egg. Only plain files: a link could lead anywhere, and to somewhere else the next moment."""
    files: dict[str, Content] = {}
    total, public = 0, True
    for number, (name, info) in enumerate(_walk(descriptor, path, account)):
        public = public and bool(info.st_mode & 0o004)
        if number > limits.entries:
            cause = f"more than {limits.entries} files and directories"
            raise EggTooLarge(path, cause, "raise --limit entries for it, if you trust it")
        if name.count("/") > _DEPTH:
            raise EggUnsuitable(path, f"more than {_DEPTH} nested directories", "install another build")
        if stat.S_ISDIR(info.st_mode):
            public = public and bool(info.st_mode & 0o001)
            continue
        _check_name(path, name)
        total += info.st_size
        if info.st_size > limits.member or total > limits.total:
            cause = f"more than {limits.total} bytes, or than {limits.member} in one file"
            raise EggTooLarge(path, cause, "raise --limit for it, if you trust it")
        date = gmtime(min(max(int(info.st_mtime), EARLIEST), LATEST))
        files[name] = Content(
            name, info.st_size, date[:6], lambda name=name, info=info: _pieces(descriptor, path, name, info, account)  # type: ignore[misc]
        )  # fmt: skip
    return Contents(files, public)


def _walk(descriptor: int, path: str, account: Account) -> Iterator[tuple[str, os.stat_result]]:
    """The files and directories below an open directory, in order, the directory itself first."""
    yield "", os.fstat(descriptor)
    pending = [""]
    while pending:
        directory = pending.pop()
        below = []
        with accounts.acting(account):
            try:
                with _below(descriptor, directory) as parent:
                    entries = [
                        (name, os.stat(name, dir_fd=parent, follow_symlinks=False)) for name in os.listdir(parent)
                    ]
            except PermissionError:
                raise accounts.in_the_way(os.path.join(path, directory), account) from None
            except OSError:
                raise _change(path) from None
        for name, info in sorted(entries):
            full = f"{directory}/{name}" if directory else name
            if stat.S_ISDIR(info.st_mode):
                below.append(full)
            elif not stat.S_ISREG(info.st_mode):
                cause = f"{full!a} is a link, a device or the like"
                raise EggUnsuitable(path, cause, "put the file itself in its place")
            yield full, info
        pending += reversed(below)


@contextmanager
def _below(descriptor: int, name: str) -> Iterator[int]:
    """A descriptor of the directory `name` below an open directory; "" is that directory itself.

    One component at a time: O_NOFOLLOW guards only the last one, and any of them may have become a link by now.
    """
    current = os.open(".", safe_dirs.DIRECTORY, dir_fd=descriptor)
    try:
        for part in filter(None, name.split("/")):
            above, current = current, os.open(part, safe_dirs.DIRECTORY, dir_fd=current)
            os.close(above)
        yield current
    finally:
        os.close(current)


def _pieces(descriptor: int, path: str, name: str, info: os.stat_result, account: Account) -> Iterator[bytes]:
    """The bytes of the file `name`, which has to be the file that `info` describes."""
    directory, _, base = name.rpartition("/")
    try:
        with accounts.acting(account), _below(descriptor, directory) as parent:
            file = os.open(base, safe_dirs.READ, dir_fd=parent)
    except PermissionError:
        raise accounts.in_the_way(os.path.join(path, name), account) from None
    except OSError:
        raise _change(path) from None
    with open(file, "rb", buffering=0) as stream:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or _identity(status) != _identity(info):
            raise _change(path)
        rest = info.st_size
        while rest and (piece := stream.read(min(rest, _PIECE))):
            rest -= len(piece)
            yield piece
        if rest or _identity(os.fstat(file)) != _identity(info):
            raise _change(path)


def _identity(info: os.stat_result) -> tuple[int, ...]:
    """Values that differ between two files, and change when a file is written to."""
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def _change(path: str) -> EggcacheError:
    return EggcacheError(path, "it changed while it was read", "run again when it is installed")


def _check_name(path: str, name: str) -> None:
    """Refuse a name that RECORD or another system would read differently."""
    try:
        os.fsencode(name).decode("utf-8")
    except UnicodeDecodeError:
        cause = f"the name {name!a} is not UTF-8, as a wheel's are"
        raise EggUnsuitable(path, cause, "install another build") from None
    if re.search(r"[\x00-\x1f\x7f\\]", name):
        raise EggUnsuitable(path, f"the name {name!a} has a backslash or a control character", "install another build")
