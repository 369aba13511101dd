"""The verifier of an archive: one file that proves on a host without eggcache what `check` proves where eggcache is.

It is check's own script (inside/lookups.py), with a tail that prints in place of the pipe to eggcache, in the syntax
that Python 2.4 to 3.14 share. What should be in the cache it reads off the eggs of that host: those are what counts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from eggcache.system import safe_dirs
from eggcache.target import launch
from eggcache.target.interpreter import EVERYTHING, Roots, Target

NAME = safe_dirs.VERIFIER

_HEAD = """\
# Proves that a Python has all its zipped eggs served from the egg cache that an archive of eggcache's has brought, and
# that its user could write to nothing there. Run it with the Python that the server runs, as the server's user, with
# the server's TZ, in Python 2.4 or newer:
#
#   su -s /bin/sh USER -c 'PYTHON_EGG_CACHE=DIR PYTHON THIS_FILE [PATH ...]'
#
# PATH is a directory or an egg that Apache's PythonPath adds. It writes nothing. One line says what was proven (exit
# status 0), or what is wrong, one for each kind of fault (3); 2: it was not run as above.
"""


@dataclass(frozen=True)
class Archived:
    """What an archive holds."""

    directory: str  #: the egg cache, where the archive is extracted
    names: Sequence[str]  #: the directories in it, one for each egg
    timezone: str | None  #: the zone it is for, a value of TZ; None: a host's own, with TZ unset
    rules: str = ""  #: the release of the zone data that it was made by, such as "2025b"; "" where that is not known

    def command(self, python: str, user: str) -> str:
        """The command by which the root of the host has `user` run the verifier of the archive by `python`."""
        zone = "unset TZ;" if self.timezone is None else f"TZ={quote(self.timezone)}"
        file = os.path.join(self.directory, NAME)
        words = f"{zone} PYTHON_EGG_CACHE={quote(self.directory)} {quote(python)} {quote(file)}"
        return f"su -s /bin/sh {quote(user)} -c {quote(words)}"


def verifier(archived: Archived, target: Target, roots: Roots = EVERYTHING) -> bytes:
    """The text of the verifier of an archive, for the Python of its host.

    :param archived: the archive, as it was written
    :param target: whose paths are added to that Python's, where whoever runs the verifier names no other
    :param roots: which distributions the archive was made for
    :returns: a Python script for the host, as a file
    """
    question = launch.question(target, roots)
    contents = {"names": list(archived.names), "timezone": archived.timezone, "rules": archived.rules}
    return _HEAD.encode("ascii") + launch.compose(
        "archive_verifier.py", {"cache": archived.directory, **contents, **question}
    )
