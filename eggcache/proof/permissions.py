"""Who can change a cache: whether the runtime user, or anybody else, could write what Apache reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice

from eggcache.errors import NotPermitted, Remedy
from eggcache.model import Finding
from eggcache.system import accounts, files, safe_dirs
from eggcache.system.accounts import Account
from eggcache.target import command_lines

SHOWN = 50  # paths in the detail of one finding
_AT_ONCE = 4096  # paths that are held in memory: a cache may have 200,000


def findings(prepare: command_lines.Prepare, rebuilt: Callable[[Sequence[str]], Remedy]) -> Iterator[Finding]:
    """The faults in the owners and modes of the cache, of everything in it and of everything above it.

    Owners and modes come from stat. The kernel is asked as well, with the rights of the account of `prepare`: an ACL or
    a capability does not show in a mode. `rebuilt` is the remedy for paths that somebody may write to.
    """
    directory, account = prepare.directory, prepare.target.account
    open_to_others = _open_to_others(directory, prepare.line("--reset"))
    writable = _writable(directory, account)
    above = [place for place in _above(directory) if _replaceable(place, directory, account)]
    if open_to_others:
        yield open_to_others
    elsewhere = Remedy(
        "prepare a cache below directories of root's, and start Apache with that",
        prepare.at(command_lines.ELSEWHERE).line(),
    )
    if writable:
        cause = (
            f"{account.words} can write to it, so whoever breaks into the web server can change the code that it runs"
            + (f" (and to {len(writable) - 1} more)" if len(writable) > 1 else "")
        )
        remedy = elsewhere if above else rebuilt(writable)  # root makes no cache where somebody can exchange it
        yield Finding("cache-writable", writable[0], cause, remedy, context=tuple(writable[:SHOWN]))
    for place in above:
        cause = f"{account.words} can exchange what is in it, and so the whole cache {directory}"
        yield Finding("parent-writable", place, cause, elsewhere)
    if os.geteuid() == 0 and not (open_to_others or writable or above):
        try:
            os.close(safe_dirs.open_directory(directory))
        except NotPermitted as unsafe:
            remedy = unsafe.remedy
            if unsafe.thing == os.path.abspath(directory) and not _is_everybodys(directory):
                remedy = Remedy("move it aside, and build it anew", prepare.line("--reset"))
            yield Finding("cache-unsafe", unsafe.thing, unsafe.cause, remedy)
        except OSError:
            pass  # it went away meanwhile: its members are missing


def _is_everybodys(directory: str) -> bool:
    """Whether it is one as /tmp, which nobody moves aside, or is gone meanwhile."""
    try:
        return bool(os.stat(directory).st_mode & stat.S_ISVTX)
    except OSError:
        return True


def can_write(path: str, account: Account) -> bool:
    """Whether `account` can write to `path`, or give itself the right to."""
    try:
        info = os.stat(path)
    except OSError:
        return False
    with accounts.acting(account):
        return info.st_uid == account.uid or accounts.may(path, os.W_OK)


def _open_to_others(directory: str, anew: str) -> Finding | None:
    """pkg_resources warns of the top directory alone, and that from Distribute 0.6.48 and setuptools 0.7.7 on
    (ResourceManager._warn_unsafe_extraction_path)."""
    mode = stat.S_IMODE(os.stat(directory).st_mode)
    if not mode & 0o022:
        return None
    cause = f"its mode {mode:04o} lets others than its owner write to it, of which most releases of pkg_resources warn"
    remedy = Remedy("its content may be anybody's: make it anew as root", anew)
    return Finding("cache-open-to-others", directory, cause, remedy)


def _writable(directory: str, account: Account) -> list[str]:
    """`directory` and everything in it that `account` can write to or owns; for links the owner counts."""
    below = (
        os.path.join(top, name)
        for top, directories, others in files.walk(directory)
        for name in sorted([*directories, *others])
    )
    writable, paths = list[str](), chain([directory], below)
    while batch := list(islice(paths, _AT_ONCE)):
        writable += _writable_of(batch, directory, account)
    return writable


def _writable_of(paths: Sequence[str], directory: str, account: Account) -> list[str]:
    own, plain = set[str](), list[str]()
    for path in paths:
        try:
            info = os.stat(path) if path == directory else os.lstat(path)
        except OSError:
            continue
        if info.st_uid == account.uid:
            own.add(path)
        if not stat.S_ISLNK(info.st_mode):
            plain.append(path)
    with accounts.acting(account):
        own.update(path for path in plain if accounts.may(path, os.W_OK))
    return [path for path in paths if path in own]


def _above(directory: str) -> list[str]:
    """The directories above `directory`, both as it is named and as it really is, the nearest first."""
    above: dict[str, None] = {}
    for path in _names(directory):
        while path != os.path.dirname(path):
            path = os.path.dirname(path)
            above[path] = None
    return list(above)


def _names(directory: str) -> tuple[str, str]:
    """The absolute names of `directory`, as it is named and as it really is. Of two slashes at its beginning, which
    POSIX lets a system give a meaning to, and Linux does not, os.path.abspath makes no one."""
    return "/" + os.path.abspath(directory).lstrip("/"), os.path.realpath(directory)


def _replaceable(place: str, directory: str, account: Account) -> bool:
    """Whether `account` can exchange the entry of the directory `place` that leads to `directory`."""
    if not can_write(place, account):
        return False
    info = os.stat(place)
    if info.st_uid == account.uid or not info.st_mode & stat.S_ISVTX:
        return True
    # sticky, as /tmp: only the owner of an entry can exchange it
    for path in _names(directory):
        if path.startswith(place.rstrip("/") + "/"):
            entry = os.path.join(place, path[len(place.rstrip("/")) + 1 :].split("/")[0])
            if os.lstat(entry).st_uid == account.uid:
                return True
    return False
