"""Whose code a target runs: told from the outside, since asking the target would run that code already."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence

from eggcache import accounts
from eggcache.errors import UsageError
from eggcache.model import Account


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

    Root only where everything that the target could load code from is root's and not writable by others: its
    site-packages, what .pth files there name, `paths`, PYTHONPATH and /usr/local. Else the one other owner, or
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
    """The uid that decides what is at `place`: 0 for root, or where there is nothing, -1 for anybody."""
    try:
        info = os.stat(place)
    except (OSError, ValueError):
        return 0
    return -1 if info.st_mode & 0o002 and not info.st_mode & stat.S_ISVTX else info.st_uid


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
            with open(file, encoding="utf-8", errors="surrogateescape") as stream:
                lines = stream.read(1 << 20).splitlines()
        except OSError:
            continue
        named = (line.strip() for line in lines if not line.startswith(("#", "import ", "import\t")))
        found += [file, *(os.path.join(directory, name) for name in named if name)]
    return found
