"""Quoting: a value in the syntax of each wrapper, so that the wrapper's program reads back the same bytes.

Every function returns the quoted value, and raises UsageError where the syntax cannot express it: a wrapper that names
another directory than the prepared one is worse than none.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence

from eggcache.errors import UsageError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ELSEWHERE = "use another name, or another kind of wrapper"

shell = shlex.quote


def python(text: str) -> str:
    """An expression in ASCII whose value is the name `text` in Python 2 and 3, where `os` is imported: the block may
    stand in a file of any coding. Python 2 wants a name's bytes, and Python 3 decodes them as it decodes file names."""
    return repr(text) if text.isascii() else f'getattr(os, "fsdecode", str)({os.fsencode(text)!r})'


def unit(text: str) -> str:
    """One word of a unit file: systemd.syntax(7) on quoting, systemd.unit(5) on specifiers."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text) + '"'


def unit_arguments(words: Sequence[str]) -> str:
    """Arguments of a command of a unit file: systemd.service(5) on "$"."""
    return " ".join(unit(word).replace("$", "$$") for word in words)


def environment_file(text: str) -> str:
    """A value that sh and systemd's EnvironmentFile= read alike, in old releases too: systemd.exec(5)."""
    # Not in single quotes: there systemd before 239 drops a backslash.
    _plain(text, "EnvironmentFile=")
    return '"' + re.sub(r'(["$`\\])', r"\\\1", text) + '"'


def apache(text: str) -> str:
    """An argument of a directive: httpd's manual, Configuration Files, on quotes, and on the variables in "${"."""
    _no_control(text, "Apache's configuration")
    _without(text, "Apache's configuration", "${")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def supervisord(text: str) -> str:
    """A value of supervisord's environment=, which it splits as shlex does without any escape."""
    _plain(text, "supervisord")
    if re.search(r"\s[;#]", text):  # its ini parser takes that for a comment, in quotes as well
        raise UsageError(text, "supervisord takes what follows the space for a comment", _ELSEWHERE)
    if text[-1:] in ("'", '"') or ("'" in text and '"' in text):
        raise UsageError(text, "supervisord cannot have a quote at the end of a value, nor both sorts", _ELSEWHERE)
    quote = "'" if '"' in text else '"'
    return quote + text.replace("%", "%%") + quote


def uwsgi(text: str) -> str:
    """The rest of a line of uWSGI's ini files, which are taken as they are but for % and three placeholders."""
    _no_control(text, "uWSGI's ini file")
    _without(text, "uWSGI's ini file", "%(", "$(", "@(")
    if text != text.strip():
        raise UsageError(text, "uWSGI's ini file loses a space at the end of a line", _ELSEWHERE)
    return text.replace("%", "%%")


def dockerfile(text: str) -> str:
    """A value of ENV, with Docker's usual escape character: the Dockerfile reference on ENV."""
    _plain(text, "a Dockerfile")
    return '"' + re.sub(r'(["$\\])', r"\\\1", text) + '"'


def dockerfile_command(words: Sequence[str]) -> str:
    """A command of RUN in its exec form, which is JSON and in which nothing is expanded."""
    for word in words:
        utf8(word, "a Dockerfile")
    return json.dumps(words)


def tmpfiles(text: str, below: str = "", above: str = "") -> str:
    """A path of a line whose paths are patterns, with the pattern `below` it, and the one `above` it, which may have
    specifiers: tmpfiles.d(5) on escapes and specifiers, glob(7)."""
    quoted = unit(re.sub(r"([\\*?[])", r"\\\1", text) + below)
    return f'"{above}{quoted[1:]}'


def comment(words: Sequence[str]) -> str:
    """A command as one would type it, in a comment: so it may have no line end."""
    for word in words:
        _no_control(word, "the comment that gives the command")
    return shlex.join(words)


def _plain(text: str, syntax: str) -> None:
    _no_control(text, syntax)
    utf8(text, syntax)


def _no_control(text: str, syntax: str) -> None:
    if _CONTROL.search(text):
        raise UsageError(repr(text), f"{syntax} cannot have a control character", _ELSEWHERE)


def utf8(text: str, syntax: str) -> None:
    """Raise UsageError where the text is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(repr(text), f"{syntax} has to be UTF-8", _ELSEWHERE) from None


def _without(text: str, syntax: str, *sequences: str) -> None:
    for sequence in sequences:
        if sequence in text:
            raise UsageError(text, f"{syntax} has no way to write {sequence}", _ELSEWHERE)
