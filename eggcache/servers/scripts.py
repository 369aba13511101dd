"""One file that a server runs an application by, or is configured by: what it sets, read off its text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from eggcache.servers import script_settings, server_files, trac
from eggcache.servers.script_settings import Setting
from eggcache.system import files

_LARGEST = 1 << 20  # bytes of a script
_MOST = 100  # settings of one script, the last of which counts
_NAME = r"[bBrRuU]{0,2}['\"]PYTHON_EGG_CACHE['\"]"
_READS = re.compile(rf"^[^#\n]*{_NAME}", re.MULTILINE)
# os.environ["PYTHON_EGG_CACHE"], os.environ.get("PYTHON_EGG_CACHE"), os.getenv("PYTHON_EGG_CACHE"): of the process
_OWN = re.compile(rf"\bos\s*\.\s*(?:environ\s*(?:\[|\.\s*\w+\s*\()|getenv\s*\(|putenv\s*\()\s*{_NAME}")


@dataclass(frozen=True)
class Script:
    """A script that a server runs, and what it sets."""

    file: str
    settings: tuple[Setting, ...]
    parsed: bool  # False: it was read by line
    asks: bool  # whether it reads PYTHON_EGG_CACHE from the WSGI environment
    tracs: bool  # whether it is Trac's


def read(file: str) -> Script:
    """The script `file`; a script that cannot be read sets nothing."""
    if file.endswith(".ini"):
        return Script(file, tuple(server_files.uwsgi_settings(file)[-_MOST:]), True, False, False)
    text = files.beginning(file, _LARGEST).decode("utf-8", "replace")
    found, parsed = script_settings.settings(file, text)
    return Script(file, tuple(found[-_MOST:]), parsed, bool(_READS.search(_OWN.sub("", text))), trac.wrote(text))
