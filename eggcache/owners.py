"""Whose code a target runs: told from the outside, since asking the target would run that code already."""

from __future__ import annotations

import glob
import grp
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from eggcache import accounts
from eggcache.accounts import Account
from eggcache.errors import UsageError

_MOST_STEPS = 400  # of links and directories on the way to a place


def site_owner(executable: str) -> Account:
    """Whom `unzip-all` acts as: the owner of the target's site-packages where we are root, else ourselves.

    Asking the target where its site-packages are would run its code as root already, so this looks where CPython,
    its virtual environments and Debian put them: `lib*/python*/site-packages` and `dist-packages` below the prefix,
    then at the executable and its directory. The first owner who is not root is taken.
    """
    if os.geteuid() != 0:
        return accounts.current()
    for place in _places(executable):
        uid = owner(place)
        if uid:
            return _account(uid, place)
    return accounts.current()


def runner(executable: str, paths: Sequence[str] = ()) -> Account:
    """Whom the target runs as when root wants to know its tree: nobody who may decide what it runs shall have more
    rights by that than he has.

    Root only where everything that the target could load code from is root's and not writable by others, from "/" on:
    its site-packages, what .pth files there name, `paths`, PYTHONPATH and /usr/local. Else the one other owner, or
    nobody, where there are several or anybody may write.
    """
    if os.geteuid() != 0:
        return accounts.current()
    places = [*_places(executable), *paths, *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
    places += glob.glob("/usr/local/lib/python*/*-packages")
    for place in list(places):
        places += _named_in_pth(place)
    others = {uid: place for place in places if (uid := owner(place))}
    if not others:
        return accounts.current()
    return _account(*others.popitem()) if len(others) == 1 else accounts.lookup("nobody")


def _places(executable: str) -> list[str]:
    directory = os.path.dirname(os.path.abspath(executable))
    return [*site_directories(executable), directory, executable, os.path.realpath(executable)]


def site_directories(executable: str) -> list[str]:
    """Where the site-packages of a target are, or would be, see `site_owner`."""
    prefix = glob.escape(os.path.dirname(os.path.dirname(os.path.abspath(executable))))
    return [
        place
        for kind in ("site-packages", "dist-packages")
        for place in sorted(glob.glob(os.path.join(prefix, "lib*", "python*", kind)))
    ]


def owner(place: str) -> int:
    """The uid that decides what is at `place`: 0 for root alone, -1 for several or anybody.

    Whoever can exchange a name on the way there decides, too, links included; and whoever can add a file to a directory
    decides what is imported from it, so that the sticky bit, which keeps names from being exchanged, is of no help.
    """
    others: set[int] = set()
    here, sticky, pending = "/", False, [part for part in reversed(os.path.abspath(place).split("/")) if part]
    for _ in range(_MOST_STEPS):
        try:
            info = os.lstat(here)
        except (OSError, ValueError):
            others |= {-1} if sticky else set()  # anybody may make it
            break
        if info.st_uid:
            others.add(info.st_uid)
        if stat.S_ISLNK(info.st_mode):
            target = os.readlink(here)
            pending += [part for part in reversed(target.split("/")) if part]
            here = "/" if target.startswith("/") else os.path.dirname(here)
        else:
            sticky = bool(info.st_mode & stat.S_ISVTX and info.st_mode & 0o002)
            if _writable(here, info) and (not pending or not info.st_mode & stat.S_ISVTX):
                others.add(-1)
        if not pending:
            break
        name = pending.pop()
        if name == "..":
            here = os.path.dirname(here)
        elif name != ".":
            here = os.path.join(here, name)
    else:
        others.add(-1)  # a circle of links, maybe
    return others.pop() if len(others) == 1 else -1 if others else 0


def _writable(path: str, info: os.stat_result) -> bool:
    """Whether more than the owner may write there; Debian lets `staff` install below /usr/local, where root looks."""
    if info.st_mode & 0o002:
        return True
    if not info.st_mode & 0o020 or info.st_gid == 0:
        return False
    with suppress(KeyError):
        return not (path.startswith("/usr/local/") and grp.getgrgid(info.st_gid).gr_name == "staff")
    return True


def named(executable: str, paths: Sequence[str] = ()) -> set[str]:
    """The directories of eggs that root can find by itself: site-packages, `paths`, PYTHONPATH, and where .pth files of
    root's lead. What somebody else's code answers may name any other."""
    here = [*site_directories(executable), *paths, *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
    here += [*site_directories(os.path.realpath(executable)), *glob.glob("/usr/local/lib/python*/*-packages")]
    for place in list(here):
        lines = _named_in_pth(place) if not owner(place) else []
        links = glob.glob(os.path.join(glob.escape(place), "*.egg"))
        here += [path for line in (*lines, *links) for path in (line, os.path.dirname(os.path.realpath(line)))]
    return set(map(os.path.realpath, here))


def reader(place: str, info: os.stat_result, account: Account) -> Account:
    """With whose rights to read what is in the directory `place`, open already and of this `info`, as `account`.

    Root reads with those of the directory's owner, or of nobody, where more may write to it: a hard link, or what was
    moved there meanwhile, shall show them nothing that they cannot read.
    """
    if os.geteuid() != 0 or account.uid != 0:
        return account
    uid = -1 if _writable(place, info) else info.st_uid
    return _account(uid, place) if uid else account


def _account(uid: int, place: str) -> Account:
    if uid == -1:
        return accounts.lookup("nobody")
    try:
        return accounts.lookup(str(uid))
    except UsageError:  # a number without a name, as in a container: it has no groups either
        return Account(str(uid), uid, os.stat(place).st_gid)


def _named_in_pth(directory: str) -> list[str]:
    """The .pth files in `directory`, and what they put on sys.path: see the documentation of `site`."""
    found = []
    for file in glob.glob(os.path.join(glob.escape(directory), "*.pth")):
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # it may be a FIFO
            with open(descriptor, encoding="utf-8", errors="surrogateescape") as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    continue
                lines = stream.read(1 << 20).splitlines()
        except OSError:
            continue
        named = (line.strip() for line in lines if not line.startswith(("#", "import ", "import\t")))
        found += [file, *(os.path.join(directory, name) for name in named if name)]
    return found
