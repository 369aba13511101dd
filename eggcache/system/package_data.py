"""Files that are installed with eggcache and are not modules: scripts for a target, templates."""

from __future__ import annotations

import os

from eggcache.errors import EggcacheError

_contents: dict[str, bytes] = {}

_HERE = os.path.dirname(os.path.dirname(__file__))  # eggcache's own directory


def read(name: str) -> bytes:
    """The bytes of a file of eggcache's own, which may lie in a zip.

    A file is read once: the process may become a user who cannot read it. pkgutil takes longer to load than a file.

    :param name: the path of the file, relative to the directory of the package
    :raises EggcacheError: the file is missing
    """
    if name not in _contents:
        path = os.path.join(_HERE, name)
        try:
            _contents[name] = getattr(__spec__.loader, "get_data")(path)  # noqa: B009
        except OSError:
            raise EggcacheError(name, "it is missing from this installation of eggcache", "install it again") from None
    return _contents[name]
