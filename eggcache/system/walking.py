"""Walking through a directory of any depth: os.walk calls itself for each level up to Python 3.11, os.fwalk always."""

from __future__ import annotations

import os
from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def below(top: str, within: int | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk: each directory from `top` down, the names of the directories in it, and of all else.

    `within`: a descriptor of the directory that `top` is relative to. No link is followed, but for `top` itself where
    `within` is None. What cannot be listed, or has a path that the kernel takes for too long, is passed over.
    """
    pending, flags = [top], _DIRECTORY if within is None else _DIRECTORY | os.O_NOFOLLOW
    while pending:
        here = pending.pop()
        directories, others = list[str](), list[str]()
        try:
            descriptor = os.open(here, flags, dir_fd=within)
        except OSError:
            continue
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    (directories if entry.is_dir(follow_symlinks=False) else others).append(entry.name)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        yield here, directories, others
        flags = _DIRECTORY | os.O_NOFOLLOW
        pending += [os.path.join(here, name) for name in reversed(directories)]
