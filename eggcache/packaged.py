"""The files that are installed with eggcache and are no modules of it: scripts for a target, templates."""

from __future__ import annotations

import os

from eggcache.errors import EggcacheError


def read(name: str) -> bytes:
    """The file `name` below eggcache's own directory, which may lie in a zip. Raises EggcacheError where it is missing.

    pkgutil does the same, and takes longer to load than a file.
    """
    try:
        found: bytes = getattr(__spec__.loader, "get_data")(os.path.join(os.path.dirname(__file__), name))  # noqa: B009
    except OSError:
        raise EggcacheError(name, "it is missing from this installation of eggcache", "install it again") from None
    return found
