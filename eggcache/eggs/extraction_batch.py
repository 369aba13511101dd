"""Eggs that are extracted together: as many as keep all cores busy, and as memory has room for."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from eggcache.eggs import extract
from eggcache.errors import EggcacheError
from eggcache.model import Ownership
from eggcache.system import safe_dirs, staging

_EGGS = 64  # each keeps two files open: at most half of those that we may
_MEMBERS = 16_384  # that are known at once, beyond those of one egg

Then = Callable[["EggcacheError | None"], object]


@dataclass(frozen=True)
class _Waiting:
    name: str
    extraction: extract.Extraction
    then: Then


class Batch:
    """Eggs on their way into the stage that is open at `staged`. For each egg, `then` is called later: with None when
    it is written, or with the reason why it was refused, when its files in the stage are removed again."""

    def __init__(self, staged: int, advance: extract.Advance) -> None:
        self.staged = staged
        self.advance = advance
        self.waiting: list[_Waiting] = []
        self.opened = ExitStack()
        may = os.sysconf("SC_OPEN_MAX")  # -1: no limit. On a kernel before 2.6.36, of which glibc cannot ask it, 256
        self.most = min(_EGGS, may // 4) if may > 0 else _EGGS

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self.opened.close()

    def add(self, name: str, opened: extract.Opened, ownership: Ownership, then: Then, **more: Any) -> None:
        """Stage the egg `opened` as the directory `name`; see extract.Extraction for `more`. Raises what `flush`
        does."""
        os.mkdir(name, 0o700, dir_fd=self.staged)
        into = os.open(name, safe_dirs.DIRECTORY, dir_fd=self.staged)
        self.opened.callback(os.close, into)
        source = os.dup(opened.source)  # the caller's is closed before the batch is full
        self.opened.callback(os.close, source)
        extraction = extract.Extraction(replace(opened, source=source), into, ownership, **more)
        self.waiting.append(_Waiting(name, extraction, then))
        if len(self.waiting) >= self.most or sum(waiting.extraction.files for waiting in self.waiting) >= _MEMBERS:
            self.flush()

    def flush(self) -> None:
        """Write all waiting eggs. Raises OSError where the disk refuses, and where a worker was killed."""
        now, self.waiting = self.waiting, []
        refused = extract.together([waiting.extraction for waiting in now], self.advance)
        for waiting, why in zip(now, refused):
            why = why or extract.changed(waiting.extraction.egg, waiting.extraction.source)
            if why is not None:
                staging.remove(self.staged, waiting.name)
            waiting.then(why)
        self.opened.close()
