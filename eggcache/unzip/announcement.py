"""What is said of the processes that use a Python or its eggs, before an egg is exchanged under them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from eggcache.model import Process
from eggcache.servers import affected_processes


class Notice(NamedTuple):
    """Of which processes somebody is told, and how."""

    users: affected_processes.Users | None = None  #: those that use the target; None: that the caller may look into
    warn: Callable[[str], object] = str  #: called with each line that names them


SILENT = Notice()  #: the report alone names the processes


class Announcement:
    """Names the processes that use the target or its eggs: once, just before the first exchange."""

    def __init__(self, notice: Notice, python: str, directories: Iterable[str], command: str) -> None:
        self.processes: tuple[Process, ...] | None = None
        self._notice = notice
        self._places = python, directories
        self._command = command

    def __call__(self) -> None:
        if self.processes is None:
            users = self._notice.users or affected_processes.users(*self._places)
            self.processes = tuple(users.processes)
            for line in affected_processes.warning(users, self._command):
                self._notice.warn(line)
