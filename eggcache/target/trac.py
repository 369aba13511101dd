"""Trac environments: the directories that each takes plugins from. Its configuration is read, and no code of it run.

The rules are those of trac/env.py and trac/config.py, 1.0 to 1.6, and of configparser, by which they read trac.ini.
"""

from __future__ import annotations

import configparser
import os

from eggcache.errors import one_line
from eggcache.system import files

_LARGEST = 4 << 20  # bytes of a trac.ini
_DEEPEST = 20  # files that inherit from each other


class Unreadable(Exception):
    """A configuration that Trac does not start with, and why."""


def plugins(environment: str) -> list[str]:
    """Where Trac looks for plugins: `plugins`, and what [inherit] plugins_dir names, if anything; from the first one
    that is there, and it need not be.

    Raises Unreadable where its configuration makes no sense.
    """
    own, told = os.path.join(environment, "plugins"), _Configuration(_ini(environment)).get("plugins_dir")
    # Trac takes it as relative to the environment's own trac.ini, wherever it is written
    return [own, os.path.join(environment, "conf", told)] if told else [own]


def configurations(environment: str) -> list[str]:
    """The files that `plugins` reads."""
    return _Configuration(_ini(environment)).files


def _ini(environment: str) -> str:
    return os.path.join(environment, "conf", "trac.ini")


class _Configuration:
    """A trac.ini, and those that it inherits from, in the order in which Trac asks them."""

    def __init__(self, file: str) -> None:
        self.files: list[str] = []
        self._sections: list[dict[str, str]] = []
        self._read(os.path.abspath(file))

    def get(self, option: str) -> str:
        """An option of the section [inherit]; the first file that has it counts, with an empty value too."""
        return next((section[option] for section in self._sections if option in section), "")

    def _read(self, file: str) -> None:
        if file in self.files or len(self.files) >= _DEEPEST:
            return
        self.files.append(file)
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(os.fsdecode(files.beginning(file, _LARGEST)))
        except configparser.Error as error:
            raise Unreadable(one_line(str(error).replace("<string>", file))) from None
        section = dict(parser["inherit"]) if parser.has_section("inherit") else {}
        self._sections.append(section)
        for name in filter(None, map(str.strip, section.get("file", "").split(","))):
            self._read(os.path.join(os.path.dirname(file), name))
