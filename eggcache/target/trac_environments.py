"""Trac environments: the directories that each takes plugins from. Its configuration is read, and no code of it run.

The rules are those of trac/env.py and trac/config.py, 1.0 to 1.6, and of configparser, by which they read trac.ini.
configparser itself takes a time that grows with the square of a line's blanks, and of the lines that it cannot read.
"""

from __future__ import annotations

import os
import re

from eggcache.errors import one_line
from eggcache.system import accounts, files
from eggcache.system.accounts import Account
from eggcache.target import code_owners

_LARGEST = 4 << 20  # bytes of a trac.ini
_DEEPEST = 20  # files that inherit from each other


class Unreadable(Exception):
    """A configuration that Trac does not start with: its file and line, and no text of it, which may be secret."""


def plugins(environment: str) -> list[str]:
    """Where Trac looks for plugins: `plugins`, and what [inherit] plugins_dir names, if anything; from the first one
    that is there, and it need not be.

    Raises Unreadable where its configuration makes no sense.
    """
    default, addition = os.path.join(environment, "plugins"), _Configuration(_ini(environment)).get("plugins_dir")
    # Trac takes it as relative to the environment's own trac.ini, wherever it is written
    return [default, os.path.join(environment, "conf", addition)] if addition else [default]


def configurations(environment: str) -> list[str]:
    """The files that `plugins` reads. Raises Unreadable as it does."""
    return _Configuration(_ini(environment)).files


def _ini(environment: str) -> str:
    return os.path.join(environment, "conf", "trac.ini")


class _Configuration:
    """A trac.ini, and those that it inherits from, in the order in which Trac asks them."""

    def __init__(self, file: str) -> None:
        self.files: list[str] = []
        self._sections: list[dict[str, str]] = []
        self._read(os.path.abspath(file), None)

    def get(self, option: str) -> str:
        """An option of the section [inherit]; the first file that has it counts, with an empty value too."""
        return next((section[option] for section in self._sections if option in section), "")

    def _read(self, file: str, account: Account | None) -> None:
        """Read `file` with the rights of `account`, which the file that names it was read with."""
        if file in self.files or len(self.files) >= _DEEPEST:
            return
        self.files.append(file)
        if account is None or account.uid == 0:
            account = code_owners.configuration_reader(file)
        with accounts.acting(account):
            text = os.fsdecode(files.beginning(file, _LARGEST))
        section = _inherit(text, file)
        self._sections.append(section)
        for name in filter(None, map(str.strip, section.get("file", "").split(","))):
            self._read(os.path.join(os.path.dirname(file), name), account)


def _inherit(text: str, file: str) -> dict[str, str]:
    """The options of the section [inherit], as RawConfigParser(strict=False) of Python 3.10 and newer has them."""
    sections = dict[str, dict[str, list[str]]]()
    section: dict[str, list[str]] | None = None
    value: list[str] | None = None
    indent = 0
    for number, line in enumerate(text.split("\n"), 1):
        content = line.strip()
        if "\0" in line:  # no path has one
            raise Unreadable(one_line(f"{file}, line {number}"))
        if not content or content[0] in "#;":
            continue
        deep = len(line) - len(line.lstrip())
        if value is not None and deep > indent:
            value.append(content)
            continue
        indent = deep
        end = content.rfind("]") if content[0] == "[" else 0
        name, *rest = re.split("[=:]", content, maxsplit=1)
        if end > 1:
            section, value = sections.setdefault(content[1:end], {}), None
        elif section is None or not rest or not name:
            raise Unreadable(one_line(f"{file}, line {number}"))
        else:
            value = section[name.rstrip().lower()] = [rest[0].strip()]
    if "inherit" not in sections:
        return {}
    options = {**sections.get("DEFAULT", {}), **sections["inherit"]}
    return {option: "\n".join(lines).rstrip() for option, lines in options.items()}
