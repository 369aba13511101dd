"""Byte code in eggs: which of it a Python would take for current, and for a source of which time.

The magic numbers are those that the releases of CPython write (Lib/importlib/_bootstrap_external.py, before 3.3
Python/import.c); alphas and betas wrote others. What follows them is of PEP 3147 (`__pycache__`, since 3.2), of 3.3
(the size of the source), of PEP 488 (no .pyo, since 3.5) and of PEP 552 (flags, since 3.7).
"""

from __future__ import annotations

import struct
from collections.abc import Collection

HEADER = 16  # bytes: the longest that a release writes
LATEST = 0x7FFFFFFF  # seconds since the epoch: Python 2 reads the time as a signed 32-bit number

_MAGIC: dict[tuple[int, ...], tuple[int, ...]] = {
    (2, 4): (62061,), (2, 5): (62131,), (2, 6): (62161,), (2, 7): (62211,),
    (3, 0): (3131,), (3, 1): (3151,), (3, 2): (3180,), (3, 3): (3230,), (3, 4): (3310,), (3, 5): (3350, 3351),
    (3, 6): (3379,), (3, 7): (3394,), (3, 8): (3413,), (3, 9): (3425,), (3, 10): (3439,), (3, 11): (3495,),
    (3, 12): (3531,), (3, 13): (3571,), (3, 14): (3627,),
}  # fmt: skip


def stamp(header: bytes, version: tuple[int, ...], size: int) -> int | None:
    """The mtime that a source of `size` bytes must have for a Python to take byte code that begins with `header` for
    current, in seconds since the epoch; -1 where any does (PEP 552: it has a hash in place of it); None where none
    does.

    :param header: the first bytes of the byte code, HEADER of them at most
    :param version: the release of the Python that looks at it, as (2, 7)
    :param size: bytes of the source
    """
    magic = int.from_bytes(header[:2], "little")
    if len(header) < 8 or header[2:4] != b"\r\n" or magic not in _MAGIC.get(version[:2], ()):
        return None
    at = 8 if version >= (3, 7) else 4
    if at == 8 and header[4] & 1:
        return -1
    if version >= (3, 3) and header[at + 4 : at + 8] != struct.pack("<L", size & 0xFFFFFFFF):
        return None
    mtime = int.from_bytes(header[at : at + 4], "little")
    return mtime if len(header) >= at + 4 and mtime <= LATEST else None


def source_of(entry: str, sources: Collection[str]) -> str | None:
    """Which of the `sources` Python wrote the file `entry` for, or may have: x.pyc beside x.py, or in __pycache__; None
    for none.

    :param entry: the name of a file in the egg, with / between directories
    :param sources: the names of the egg's sources, in the same form
    """
    directory, _, name = entry.rpartition("/")
    if not name.endswith((".pyc", ".pyo")):
        return None
    parent, _, folder = directory.rpartition("/")
    if folder != "__pycache__":
        return entry[:-1] if entry[:-1] in sources else None
    stem = name
    while "." in stem:  # x.cpython-311.opt-1.pyc
        stem = stem.rpartition(".")[0]
        source = f"{parent}/{stem}.py" if parent else f"{stem}.py"
        if source in sources:
            return source
    return None


def file_names(source: str, version: tuple[int, ...]) -> tuple[str, ...]:
    """The names under which a Python looks for the byte code of the file `source`: first without -O.

    :param source: the name of the source in the egg
    :param version: the release of the Python, as (2, 7)
    """
    if version < (3, 2):
        return f"{source}c", f"{source}o"
    directory, slash, name = source.rpartition("/")
    stem = f"{directory}{slash}__pycache__/{name[:-3]}.cpython-{version[0]}{version[1]}"
    if version < (3, 5):
        return f"{stem}.pyc", f"{stem}.pyo"
    return f"{stem}.pyc", f"{stem}.opt-1.pyc", f"{stem}.opt-2.pyc"
