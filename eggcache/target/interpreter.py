"""Which Python is the target, and which of its distributions are meant."""

from __future__ import annotations

import os
import sys
from collections import namedtuple

from eggcache.errors import UsageError
from eggcache.system import accounts

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    from collections.abc import Iterable

    from eggcache.system.accounts import Account

REMEDY = "name the interpreter that Apache runs: --python PATH"


class Target(namedtuple("Target", ("python", "paths", "account", "group", "timezone"))):
    """The Python whose eggs are meant, as a server runs it.

    :param python: the path of the interpreter, absolute
    :param paths: directories and eggs to put in front of its sys.path, as mod_python's PythonPath does; a script that
        buildout generated stands for the list of eggs in it, and a Trac environment for its directories of plugins
    :param account: the user who reads the cache: the target runs, and its eggs are opened, with the rights of this
        account; None: those of the caller
    :param group: the number of the group that alone may read a cache that root prepares; None: everybody may
    :param timezone: the TZ of its processes; None: the host's zone, with TZ unset
    """

    __slots__ = ()
    python: str
    paths: tuple[str, ...]
    account: Account
    group: int | None
    timezone: str | None

    def __new__(
        cls,
        python: str,
        paths: Iterable[str] = (),
        account: Account | None = None,
        group: int | None = None,
        timezone: str | None = None,
    ) -> Target:
        return super().__new__(cls, python, tuple(paths), account or accounts.current(), group, timezone)


class Roots(namedtuple("Roots", ("requirements", "strict"))):
    """The roots of a tree.

    :param requirements: the tree has the distributions that meet these, those that they require in turn, and of each
        extra of theirs what is installed; where there are none, everything that the target's pkg_resources finds on
        its path, active or not, and of the tree of TurboGears, where that is installed, it is told what is missing
    :param strict: what is declared counts, and that alone: no extra that nobody has asked for belongs to the tree; of
        everything, it is told what is missing of the requirements of each distribution
    """

    __slots__ = ()
    requirements: tuple[str, ...]
    strict: bool

    def __new__(cls, requirements: Iterable[str], strict: bool = False) -> Roots:
        return super().__new__(cls, tuple(requirements), strict)

    @property
    def everything(self) -> bool:
        """Whether there is no requirement, so that all distributions are meant."""
        return not self.requirements


ELSEWHERE = "/var/cache/eggcache"  # where a cache is right on every host
REPORTED = ("TurboGears",)  # whose tree is looked through for what is missing where no requirement names one
EVERYTHING = Roots([])


def environment_names_one() -> bool:
    """Whether $EGGCACHE_PYTHON or an active virtualenv names a target. The virtualenv of eggcache itself is active for
    its sake."""
    if os.environ.get("EGGCACHE_PYTHON"):
        return True
    active = os.environ.get("VIRTUAL_ENV")
    return bool(active) and os.path.realpath(active or "") != os.path.realpath(sys.prefix)


def find(python: str | None = None) -> str:
    """The absolute path of the target: `python`, else $EGGCACHE_PYTHON, the active virtualenv's, the one that runs
    eggcache.

    A directory that has a bin/python, as a virtual environment has, stands for that, and so does an environment's bin.
    It has a / in its name, or what somebody made here would be taken for a program of the PATH. Symbolic links stay,
    since a virtual environment is found by the link that starts it.

    :param python: a path, or the name of a program on the PATH; None: none was named
    :raises NotPermitted: it is in a directory that the caller may not search
    :raises UsageError: there is no such program; or none was named, and eggcache is a program of its own
        (scripts/binary), which no Python runs
    """
    origin, name = "--python", python
    if name is None and os.environ.get("EGGCACHE_PYTHON"):
        origin, name = "$EGGCACHE_PYTHON", os.environ["EGGCACHE_PYTHON"]
    if name is None and os.environ.get("VIRTUAL_ENV"):
        origin, name = "$VIRTUAL_ENV", os.path.join(os.environ["VIRTUAL_ENV"], "bin", "python")
    if name is None and getattr(sys, "frozen", False):
        cause = "is not given, and no Python runs this eggcache, which is a program of its own"
        raise UsageError("--python", cause, REMEDY)
    if name is None:
        origin, name = "the interpreter running eggcache", sys.executable
    if not name or "\0" in name:
        raise UsageError(origin, "names no program", REMEDY)
    if "/" in name:
        program: str | None = name
    else:
        import shutil  # which reads archives, too

        program = shutil.which(name)
    if program is None:
        raise UsageError(f"{origin} {name}", "there is no such program on the PATH", REMEDY)
    path = os.path.abspath(program)
    try:
        os.stat(path)
    except PermissionError:  # it may well be there
        raise accounts.in_the_way(path, accounts.current()) from None
    except OSError:
        raise UsageError(f"{origin} {path}", "there is no such file", REMEDY) from None
    if os.path.isdir(path):
        is_bin = os.path.exists(os.path.join(path, "activate"))  # not /usr/bin, whose python may be any
        binary = os.path.join(path, "python" if is_bin else "bin/python")
        if not os.path.isfile(binary):
            raise UsageError(f"{origin} {path}", "it is a directory without a bin/python", REMEDY)
        path = binary
    if not os.access(path, os.X_OK):
        raise UsageError(f"{origin} {path}", "it is not executable", REMEDY)
    return path
