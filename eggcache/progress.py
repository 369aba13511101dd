"""The progress of a command: a bar on a terminal, or lines in a log.

No thread draws it, since commands fork: slow code calls `advance` or `tick` often enough.
"""

from __future__ import annotations

import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from eggcache.errors import one_line, tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

_PATIENCE = 1.0  # seconds that a person waits without asking what is going on
_REFRESH = 0.1  # seconds from one drawing to the next


class Progress:
    """Progress that shows nothing. A subclass shows the progress of a command, which is in one phase at a time. The
    code that makes one closes it, for example by `with`."""

    def phase(self, doing: str, size: int = 0) -> None:
        """Begin a phase.

        :param doing: the work of this phase, for a person to read; "" for a phase that nobody needs to see
        :param size: bytes to do in this phase; 0 where that is not known
        """

    def advance(self, files: int, size: int) -> None:
        """Count `files` more files as done, and `size` more bytes of the size of this phase."""

    def tick(self) -> None:
        """Time has passed without a step. Called about ten times a second while the target is at work."""

    def close(self) -> None:
        """End the last phase."""

    def load(self) -> None:
        """Import what the other methods need: the process is about to become a user who may not be able to read
        eggcache."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Log(Progress):
    """A line at the end of each phase: of those that took longer than a second, or of all."""

    def __init__(self, everything: bool) -> None:
        self.least = 0.0 if everything else _PATIENCE
        self.doing = ""
        self.began = 0.0
        self.files = self.done = 0

    def phase(self, doing: str, size: int = 0) -> None:  # noqa: ARG002
        self.close()
        self.doing, self.began, self.files, self.done = one_line(doing), time.monotonic(), 0, 0

    def advance(self, files: int, size: int) -> None:
        self.files += files
        self.done += size

    def close(self) -> None:
        took = time.monotonic() - self.began
        if self.doing and took >= self.least:
            amount = f"{self.files:,} files in " if self.files else ""
            tell(f"eggcache: {self.doing}: {amount}{took:.1f} s")
        self.doing = ""


class Display(Progress):
    """A bar on a terminal, drawn with rich, once the command has taken longer than a second. The work goes on without
    the bar where the terminal is gone."""

    def __init__(self) -> None:
        self.began = self.drawn = time.monotonic()
        self.bar: Bar | None = None
        self.current: tuple[str, int] = ("", 0)
        self.files = self.done = 0

    def phase(self, doing: str, size: int = 0) -> None:
        self.current, self.files, self.done = (one_line(doing), size), 0, 0
        if self.bar is not None:
            for task in self.bar.task_ids:
                self.bar.remove_task(task)
            self._add(self.bar)
            self._draw(self.bar.refresh)

    def advance(self, files: int, size: int) -> None:
        self.files += files
        self.done += size
        self.tick()

    def tick(self) -> None:
        now = time.monotonic()
        if self.bar is None:
            if now - self.began < _PATIENCE:
                return
            self.bar = _bar()
            self._add(self.bar)
            self._draw(self.bar.start)
        if self.bar is not None and now - self.drawn >= _REFRESH:
            self.drawn = now
            for task in self.bar.task_ids:
                self.bar.update(task, completed=self.done, files=self.files)
            self._draw(self.bar.refresh)

    def load(self) -> None:
        import io

        with _bar(io.StringIO()) as bar:  # rich loads some of its parts when it draws
            self._add(bar)

    def _add(self, bar: Bar) -> None:
        doing, size = self.current
        bar.add_task(doing, total=size or None, completed=self.done, files=self.files)

    def _draw(self, draw: Callable[[], object]) -> None:
        try:
            draw()
        except (OSError, SystemExit):  # SystemExit is what rich makes of a broken pipe
            self.bar, self.began = None, math.inf

    def close(self) -> None:
        if self.bar is not None:
            self._draw(self.bar.stop)  # it is transient: what it drew goes
            self.bar = None


def watched(quiet: bool, verbose: bool) -> Progress:
    """The progress that suits stderr: none, a bar, or lines for a log.

    :param quiet: True: nothing is shown
    :param verbose: True: lines for a log, on a terminal too
    """
    if quiet:
        return Progress()
    try:
        terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except (AttributeError, ValueError):  # it is closed
        return Progress()
    return Display() if terminal and not verbose else Log(verbose)


def _bar(file: TextIO | None = None) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Amount(ProgressColumn):
        """Files, and the share of the bytes; before there are any, nothing."""

        def render(self, task: Task) -> Text:
            files, share = task.fields["files"], task.percentage if task.total else 0
            return Text(f"{files:,} files {share:3.0f} %" if files else "")

    columns: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        Amount(),
        TimeRemainingColumn(compact=True),
    )
    console: Any = Console(stderr=True) if file is None else Console(file=file, force_terminal=True)
    return Bar(
        *columns, console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    )
