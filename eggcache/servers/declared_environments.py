"""What is written about the environment of Apache: by its unit, its envvars file, and init scripts."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from eggcache.servers import systemd
from eggcache.servers.environment_variables import NAMES, Environment, is_relative
from eggcache.system import files

_OWN = re.compile(r"\$(?:PYTHONPATH\b|\{PYTHONPATH\b[^}]*\})")  # what was there before, in a value of PYTHONPATH
_EXPORTS = re.compile(r"(?:^|[;&{(]|\s(?:then|else|do)\b)\s*(?:export|(?:declare|typeset) -x)\s+([^;&|#]*)")


def declared(unit: systemd.Unit | None, envvars: str) -> Iterator[Environment]:
    """What the unit of Apache, its envvars file and the init scripts that set a cache say of the variables.

    :param unit: the unit of Apache; None where systemd does not start it
    :param envvars: the file of variables that apachectl reads, as `apache.envvars_of` has it
    """
    if unit:
        values = {name: unit.environment[name] for name in NAMES if name in unit.environment}
        yield _environment(unit.name, values)
    for file in _scripts(envvars):
        lines = files.lines(file)
        assigned = assignments(lines, NAMES)
        # An init script may be something else's, with a TZ or a cache of its own.
        both = {"TZ", "PYTHON_EGG_CACHE"} <= assigned.keys()
        if both or (assigned and "/init.d/" not in file) or is_relative(assigned.get("PYTHON_EGG_CACHE")):
            kept = _kept(lines, assigned, unit) if "/init.d/" not in file else set[str]()
            shown = {name: value for name, value in assigned.items() if name not in kept}
            cache = {"PYTHON_EGG_CACHE": None} if "PYTHON_EGG_CACHE" in kept else {}
            yield replace(_environment(file, {**shown, **cache}), kept=bool(cache))


def _kept(lines: Sequence[str], assigned: Mapping[str, str | None], unit: systemd.Unit | None) -> set[str]:
    """The variables that a shell script assigns for itself alone: no line exports them, and the unit sets none."""
    exported = {name for name, value in unit.environment.items() if value is not None} if unit else set[str]()
    for line in lines:
        exported |= {word.partition("=")[0] for words in _EXPORTS.findall(line) for word in words.split()}
        if re.match(r"\s*set\s+(?:-\w*a|-o\s+allexport)", line):
            return set()
    return {name for name, value in assigned.items() if value and name not in exported}


def _scripts(envvars: str) -> Iterator[str]:
    """The shell scripts that start Apache, or are read by those that do."""
    yield envvars
    yield "/etc/sysconfig/httpd"
    yield from (os.path.join("/etc/init.d", name) for name in files.names("/etc/init.d"))


def naming(environments: Iterable[Environment], variable: str = "PYTHON_EGG_CACHE") -> Environment | None:
    """What has the last word on a variable that Apache gets, of those that are `declared`, init scripts left out: they
    may be something else's. The shell that starts Apache reads envvars in the environment of the unit.

    :param environments: what is `declared`, in that order
    :param variable: its name
    """
    ours = [each for each in environments if "/init.d/" not in each.thing and variable in each.known]
    return ours[-1] if ours else None


def python_path(unit: systemd.Unit | None, envvars: str) -> list[str] | None:
    """What Apache's unit, its envvars file and init scripts put on the path of each Python, by PYTHONPATH; None where
    only running them tells.

    :param unit: the unit of Apache; None where systemd does not start it
    :param envvars: the file of variables that apachectl reads, as `apache.envvars_of` has it
    """
    entries = ((unit.environment.get("PYTHONPATH") if unit else None) or "").split(":")
    for file in _scripts(envvars):
        for value in _expressions(files.lines(file), ("PYTHONPATH",)):
            shown = _OWN.sub("", value[1] or "")
            if "$" in shown or "`" in shown:
                return None
            entries += _word(shown).split(":")
    return list(filter(None, entries))


def _environment(thing: str, values: Mapping[str, str | None]) -> Environment:
    return Environment(thing, {name: value for name, value in values.items() if value is not None}, frozenset(values))


def assignments(lines: Sequence[str], names: Sequence[str]) -> dict[str, str | None]:
    """What a shell script assigns to the variables `names`, which are expressions, as far as it can be read without
    running it; None: unset. Of what is assigned last, and cannot be read, nothing is known.

    :param lines: the script
    :param names: regular expressions of the names
    """
    values: dict[str, str | None] = {}
    for name, value in _expressions(lines, names):
        if value is None:
            values[name] = None
        elif "$" in value or "`" in value:
            values.pop(name, None)
        else:
            values[name] = _word(value)
    return values


def _expressions(lines: Sequence[str], names: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each assignment to the variables `names`: what stands behind its sign of equality; None: it is unset."""
    for line in lines:
        match = re.fullmatch(rf"\s*(?:export )?({'|'.join(names)})=(.*)", line)
        unset = re.fullmatch(rf"\s*unset ({'|'.join(names)})\s*", line)
        if match:
            yield match[1], match[2]
        elif unset:
            yield unset[1], None


def _word(text: str) -> str:
    """The value at the beginning of what follows a sign of equality; "" where that is none."""
    if text[:1].isspace():
        return ""
    words = shlex.shlex(text, posix=True, punctuation_chars=";&|")
    words.whitespace_split, words.commenters = True, ""
    try:
        word = next(words, "")
    except ValueError:  # quotes that are not closed
        return ""
    return "" if word and not set(word) - set(";&|") else word
