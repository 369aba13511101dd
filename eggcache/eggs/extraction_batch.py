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

Callback = Callable[["EggcacheError | None"], object]


@dataclass(frozen=True)
class _Waiting:
    name: str
    extraction: extract.Extraction
    callback: Callback


class Batch:
    """Eggs on their way into the stage that is open at `stage`. For each egg, its callback is called later: with None
    when it is written, or with the reason why it was refused, when its files in the stage are removed again."""

    def __init__(self, stage: int, advance: extract.Advance) -> None:
        self.stage = stage
        self.advance = advance
        self.queue: list[_Waiting] = []
        self.descriptors = ExitStack()
        may = os.sysconf("SC_OPEN_MAX")  # -1: no limit. On a kernel before 2.6.36, of which glibc cannot ask it, 256
        self.capacity = min(_EGGS, may // 4) if may > 0 else _EGGS

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self.descriptors.close()

    def add(self, name: str, egg: extract.Opened, ownership: Ownership, callback: Callback, **options: Any) -> None:
        """Stage the egg `egg` as the directory `name`, and call `callback` later; see extract.Extraction for
        `ownership` and `options`. Raises what `flush` does."""
        os.mkdir(name, 0o700, dir_fd=self.stage)
        into = os.open(name, safe_dirs.DIRECTORY, dir_fd=self.stage)
        self.descriptors.callback(os.close, into)
        source = os.dup(egg.source)  # the caller's is closed before the batch is full
        self.descriptors.callback(os.close, source)
        extraction = extract.Extraction(replace(egg, source=source), into, ownership, **options)
        self.queue.append(_Waiting(name, extraction, callback))
        if len(self.queue) >= self.capacity or sum(waiting.extraction.files for waiting in self.queue) >= _MEMBERS:
            self.flush()

    def flush(self) -> None:
        """Write all waiting eggs. Raises OSError where the disk refuses, and where a worker was killed."""
        batch, self.queue = self.queue, []
        errors = extract.write_all([waiting.extraction for waiting in batch], self.advance)
        for waiting, error in zip(batch, errors):
            error = error or extract.change(waiting.extraction.egg, waiting.extraction.source)
            if error is not None:
                staging.remove(self.stage, waiting.name)
            waiting.callback(error)
        self.descriptors.close()
