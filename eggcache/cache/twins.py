"""Two eggs of one name: whether one directory of a cache can serve both.

pkg_resources looks for both there. The directory serves both where what is extracted of them is the same to the
byte, however each of them was packed.
"""

from __future__ import annotations

from hashlib import blake2b

from eggcache.eggs import extract, layout
from eggcache.eggs.extract import Opened
from eggcache.model import Ownership

_ANYBODY = Ownership(0, 0, 0, 0)


def expected(one: Opened, owner: Ownership) -> str:
    """Over everything that extracting this egg would write, but for bytes, for which it has their CRC: the same for the
    same content, wherever it lies and however it is packed."""
    found = blake2b(repr(owner).encode(), digest_size=16)
    named = sorted(one.members(), key=lambda entry: entry[0])  # who packed it had the order from a file system
    for name, member in named:
        found.update(repr((name, member.size, member.crc, layout.mtime(member.date_time))).encode())
    below = one.directories()
    names = [name for name, _ in named]
    empty = set(extract.directories(names, below)).difference(extract.directories(names, ())) if below else ()
    found.update(repr(sorted(empty)).encode())
    return found.hexdigest()


def same(first: Opened, second: Opened) -> bool:
    """Whether extracting one or the other makes the same files, of the same bytes and mtimes, in the same directories.

    Raises EggRefused where a member is damaged: that of the second, where it is so in both.
    """
    if expected(first, _ANYBODY) != expected(second, _ANYBODY):
        return False
    others = dict(second.members())
    return all(second.bytes_of(others[name]) == first.bytes_of(member) for name, member in first.members())
