"""What cleans the place of a cache: systemd-tmpfiles, and tmpreaper."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from eggcache.errors import Remedy
from eggcache.model import Finding
from eggcache.system import files, procfs
from eggcache.target.interpreter import ELSEWHERE

_DIRECTORIES = ("etc/tmpfiles.d", "run/tmpfiles.d", "usr/local/lib/tmpfiles.d", "usr/lib/tmpfiles.d")  # tmpfiles.d(5)
_AGED = "dDvqQCexX"  # types of tmpfiles.d(5) whose age has what is below their path cleaned
_PATTERNS = "wexXrRmzZtThHaA"  # types whose path is a pattern
_OWNING = "fFdDvqQpLcbCwexXrR"  # types of which a path has one
_SPECIFIERS = {"%": "%", "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "T": "/tmp", "V": "/var/tmp"}  # noqa: S108
_IDENTITIES = {"m": "/etc/machine-id", "H": "/proc/sys/kernel/hostname"}
_ELSEWHERE = f"use {ELSEWHERE}"


def findings(directory: str, mount_points: Iterable[str] = (), root: str = "/") -> Iterator[Finding]:
    """Whether systemd-tmpfiles or tmpreaper cleans `directory`, whose files are as old as the eggs' zips say and read
    once by each worker.

    :param directory: the cache
    :param mount_points: those by which a unit has it in a /tmp of its own, see `apache.mount_points`
    :param root: where the configuration is looked up
    """
    real = os.path.realpath(directory)
    lines = _effective(root)
    names = list(_names(real, lines))
    line = next(filter(None, (_governing(name, lines) for name in names)), None)
    if line:
        cause = f"systemd-tmpfiles removes old files from it: {line.file} says {line.text!r}"
        additions = [_exclusion(f"{real}{below}") for below in ("", "/*", "/.*")]
        exclusion = (
            f"add 'x {real}', 'x {real}/*' and 'x {real}/.*' to /etc/tmpfiles.d/eggcache.conf, each as a line of its "
            f"own, or {_ELSEWHERE}"
        )
        in_vain = any(_governing(name, [*additions, *lines]) for name in names)
        remedy = Remedy(_ELSEWHERE if in_vain else exclusion)
        yield Finding("cleaned", directory, cause, remedy)
    elif _reaped(real, root):
        cause = f"tmpreaper removes old files from it, as {os.path.join(root, 'etc/tmpreaper.conf')} says"
        remedy = Remedy(f"add '{real}*' to TMPREAPER_PROTECT_EXTRA there, or {_ELSEWHERE}")
        yield Finding("cleaned", directory, cause, remedy)
    for point in mount_points:
        yield from _unmounted(directory, point, lines)


def _unmounted(directory: str, point: str, lines: Sequence[_Line]) -> Iterator[Finding]:
    """Whether systemd-tmpfiles removes that mount point: an empty directory to it, with which the mount goes."""
    line = _removing(point, lines)
    if line:
        pattern = re.sub("(/systemd-private-)[^/]*", r"\1%b-*", point, count=1)  # of other boots and starts as well
        exclusion = f"add the line 'x {pattern}' to /etc/tmpfiles.d/eggcache.conf, or {_ELSEWHERE}"
        cause = f"systemd-tmpfiles removes {point}, and so takes it from the unit: {line.file} says {line.text!r}"
        in_vain = _removing(point, [_exclusion(pattern), *lines])
        yield Finding("cleaned", directory, cause, Remedy(_ELSEWHERE if in_vain else exclusion))


class _Line(NamedTuple):
    """A line of tmpfiles.d(5); its age is "" where it has nothing cleaned."""

    file: str
    text: str
    kind: str
    path: str
    age: str

    def is_on(self, path: str) -> bool:
        if self.kind not in _PATTERNS:
            return path == self.path
        # What is cleaned is found by glob(3), which knows braces; what is passed over, by fnmatch(3)
        return any(_matches(path, pattern) for pattern in (_braced(self.path) if self.age else [self.path]))


def _governing(real: str, lines: Sequence[_Line]) -> _Line | None:
    """The line that has something in the directory cleaned that it names so; None where there is none.

    What is below the path of a line with an age is cleaned, down to the next mount point; an entry on the way that has
    a line of its own, of whatever type, is passed over (tmpfiles.c, dir_cleanup). So `x` on the path of a line that
    ages it takes nothing back.
    """
    above = _above(real, lines)
    inside = [line for line in lines if line.path.count("/") == real.count("/") + 1]
    for name in files.names(real) or ["-"]:
        own = [line for line in inside if line.is_on(os.path.join(real, name))]
        governing = next((line for line in own if line.age), None) if own else above
        if governing:
            return governing
    return None


def _above(path: str, lines: Sequence[_Line]) -> _Line | None:
    """The line by which is cleaned what is in that directory and has no line of its own."""
    mounts = {place for place, _ in procfs.mounts()}
    for part in reversed(_parts(path)):
        on_it = [line for line in lines if line.is_on(part)]
        if on_it or os.path.realpath(part) in mounts:
            return next((line for line in on_it if line.age), None)
    return None


def _removing(path: str, lines: Sequence[_Line]) -> _Line | None:
    """The line that has an empty directory removed: any line on itself spares it."""
    return None if any(line.is_on(path) for line in lines) else _above(path, lines)


def _exclusion(path: str) -> _Line:
    return _Line("", "", "x", _fields(f"x {path}")[1], "")


def _effective(root: str) -> list[_Line]:
    """The lines that `systemd-tmpfiles --clean` goes by; none where systemd, whose timer runs it, does not run.

    Of two on one path the first counts, patterns and other paths apart; a "+" makes no difference.
    """
    if not os.path.isdir(os.path.join(root, "run/systemd/system")):
        return []
    lines, owned = list[_Line](), set[tuple[bool, str]]()
    for file, texts in groupby(_lines(root), key=itemgetter(0)):
        for _, text in texts:
            modified, path, age = _fields(text)
            if not modified or not path.startswith("/") or "!" in modified:  # with "!" it is for the boot alone
                continue
            kind = modified[0]
            owner = kind in _PATTERNS, path
            if kind not in _OWNING or owner not in owned:
                lines.append(_Line(file, text, kind, path, age if kind in _AGED and age != "-" else ""))
                owned |= {owner} if kind in _OWNING else set()
        # As systemd does after each file, so that an age stays which a later file would not have given.
        lines = [line if line.kind != "X" else _inheriting(line, lines) for line in lines]
    return lines


def _names(real: str, lines: Iterable[_Line]) -> Iterator[str]:
    """The names by which these lines may have `real` cleaned: others lead through symbolic links, which systemd follows
    above the last name of a path, and it compares what it cleans with lines that have the same name."""
    yield real
    for line in lines:
        for path in _paths(line) if line.age else ():
            above, name = os.path.split(path)
            place = os.path.join(os.path.realpath(above), name)
            if place != path and place in _parts(real):
                yield path + real[len(place) :]


def _paths(line: _Line) -> Iterator[str]:
    """What there is that the path of a line names. A directory is not searched for a pattern through a link to it."""
    if line.kind not in _PATTERNS:
        yield line.path
        return
    for pattern in _braced(line.path):
        searched = [n for n, part in enumerate(pattern.split("/")) if glob.has_magic(part)]
        for path in glob.iglob(pattern):
            if not any(os.path.islink("/".join(path.split("/")[:n])) for n in searched):
                yield path


def _inheriting(line: _Line, lines: Iterable[_Line]) -> _Line:
    """The `X` with the age that it has from another line: the first that it is below, or a deeper one that its pattern
    is for."""
    source: _Line | None = None
    for other in lines:
        if other.kind not in "dDvqQ":
            continue
        if source:
            deeper = source.path in _parts(other.path) and _matches(other.path, line.path)
        else:
            deeper = other.path in _parts(line.path)
        if deeper or other.path == line.path:
            source = other
    return source._replace(kind=line.kind, path=line.path) if source and source.age else line


def _matches(path: str, pattern: str) -> bool:
    """fnmatch(3) with FNM_PATHNAME and FNM_PERIOD: no wildcard is a slash, or a dot at the beginning of a name."""
    names, patterns = path.split("/"), re.sub(r"\\(.)", r"[\1]", pattern).split("/")
    return len(names) == len(patterns) and all(
        fnmatch.fnmatchcase(name, part) and (name[:1] != "." or part[:1] == ".") for name, part in zip(names, patterns)
    )


def _braced(pattern: str) -> list[str]:
    """The patterns that one with braces stands for."""
    first = re.search(r"\{([^{}]*)\}", pattern)
    if not first:
        return [pattern]
    before, after = pattern[: first.start()], pattern[first.end() :]
    return [each for part in first[1].split(",") for each in _braced(before + part + after)]


def _parts(path: str) -> list[str]:
    """`path` and the directories above it."""
    return [path[: match.start()] or "/" for match in re.finditer("/", path)] + [path]


def _fields(line: str) -> tuple[str, str, str]:
    """Type with its modifiers, path and age of a line; empty where it has none."""
    try:
        words = shlex.split(line)
    except ValueError:
        return "", "", ""
    words += [""] * (6 - len(words))
    path = re.sub("/+", "/", re.sub("%(.)", lambda match: _specifier(str(match[1])), words[1]))
    return words[0], path.rstrip("/") or "/", words[5].lstrip("~")


def _specifier(letter: str) -> str:
    if letter == "b":
        return procfs.boot_id()
    if letter in _IDENTITIES:
        identity = os.fsdecode(files.beginning(_IDENTITIES[letter], 256)).strip()  # sysctl refuses a read of megabytes
        return identity if letter == "H" else identity.replace("-", "")
    return _SPECIFIERS.get(letter, f"%{letter}")


def _lines(root: str) -> Iterator[tuple[str, str]]:
    """(file, line) of the configuration: of files with one name, that of the first directory counts."""
    paths: dict[str, str] = {}
    for directory in _DIRECTORIES:
        for name in files.names(os.path.join(root, directory)):
            if name.endswith(".conf"):
                paths.setdefault(name, os.path.join(root, directory, name))
    for _, file in sorted(paths.items()):
        for line in files.lines(file):
            if line.strip() and not line.lstrip().startswith("#"):
                yield file, line.strip()


def _reaped(real: str, root: str) -> bool:
    """Whether tmpreaper(8), as Debian's cron job runs it, cleans `real`."""
    values = {"TMPREAPER_DIRS": "/tmp/.", "TMPREAPER_PROTECT_EXTRA": "", "SHOWWARNING": ""}  # noqa: S108 - its default
    configuration = os.path.join(root, "etc/tmpreaper.conf")
    if not os.path.exists(configuration) or not os.path.exists(os.path.join(root, "etc/cron.daily/tmpreaper")):
        return False
    for line in files.lines(configuration):
        match = re.fullmatch(r"\s*(?:export )?([A-Z_]+)=[\"']?(.*?)[\"']?\s*", line)
        if match and match[1] in values:
            values[match[1]] = match[2]
    places = [os.path.normpath(place) for place in values["TMPREAPER_DIRS"].split()]
    protected = values["TMPREAPER_PROTECT_EXTRA"].split()
    return (
        values["SHOWWARNING"] != "true"  # as installed: it does nothing until somebody takes that line out
        and any(part in places for part in _parts(real)[1:])
        and not any(fnmatch.fnmatchcase(part, pattern) for part in _parts(real) for pattern in protected)
    )
