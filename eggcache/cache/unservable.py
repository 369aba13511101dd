"""Eggs that no egg cache can serve, however it is filled: only unzipping helps.

Each rule was measured on the releases of setuptools that it names. An egg with such a finding is extracted
all the same: most of it is served.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from eggcache import remedies
from eggcache.eggs import extract, layout
from eggcache.eggs import reader as eggs
from eggcache.model import Distribution, Finding, Interpreter, Kind, Member

_TEXT = 1 << 20  # bytes of the longest listing or stub that is looked into: real ones are a thousandth of that
# Releases whose pkg_resources raises AttributeError whenever it is asked for a file.
_BROKEN = ("distribute 0.6.46", "distribute 0.6.47", "setuptools 0.7.5", "setuptools 0.7.6")


def in_target(interpreter: Interpreter) -> Iterator[Finding]:
    """What keeps this target from using any cache."""
    release = (interpreter.setuptools or "").lower()
    if release in _BROKEN:
        yield Finding(
            "broken-pkg-resources",
            interpreter.executable,
            f"the pkg_resources of {interpreter.setuptools} fails whenever it is asked for a file",
            "install another release of setuptools, or unzip the eggs: eggcache unzip-all",
        )


def in_egg(source: int, egg: eggs.Egg, distribution: Distribution, interpreter: Interpreter) -> Iterator[Finding]:
    """What of the distribution in `egg` (open as `source`) no cache can serve to this target."""
    remedy = f"unzip it: {remedies.unzip(distribution.project)}"
    inside = distribution.inside
    members = {name: member for member in egg.members if (name := layout.cached_name(member, inside)) is not None}

    def finding(code: str, cause: str, names: list[str]) -> Finding:
        return Finding(code, distribution.location, cause, remedy, context=tuple(names))

    if distribution.kind is Kind.ZIP:
        yield finding("not-an-egg", "pkg_resources extracts from zips named .egg only", [])
    explicit = [name for name in egg.directories if name.startswith(inside) and name != inside]
    if explicit:
        yield finding(
            "directory-entries",
            f"it lists directories as entries of their own, {explicit[0]!r} for one, which pkg_resources then "
            "cannot list",
            explicit,
        )
    if egg.unusual:
        yield finding(
            "unusual-names", f"Pythons and locales disagree on the name of {egg.unusual[0]!a}", list(egg.unusual)
        )
    doubtful = [name for name, member in members.items() if layout.ambiguous(member.date_time)]
    if doubtful:
        yield finding(
            "ambiguous-time",
            f"{doubtful[0]} is dated in the hour that the clocks go through twice, where the mtime that "
            "pkg_resources expects is a matter of chance",
            doubtful,
        )
    present, absent = _eager(source, egg, members)
    if present and absent:  # where none is there, nobody can ask for one
        yield finding(
            "eager-missing",
            f"its eager resources name {absent[0]!r}, which it does not hold, so asking for {present[0]} is a KeyError",
            absent,
        )
    yield from _native(source, egg, members, interpreter, finding)


def _mentions(source: int, egg: eggs.Egg, member: Member, word: bytes) -> bool:
    """Whether the bytes of `member`, which may be many, hold `word`."""
    rest = b""
    for chunk in eggs.chunks(source, egg, member):
        if word in rest + chunk:
            return True
        rest = chunk[-len(word) :]
    return False


def _eager(source: int, egg: eggs.Egg, members: dict[str, Member]) -> tuple[list[str], list[str]]:
    """What native_libs.txt and eager_resources.txt name: what the egg holds of that, and what it does not.

    pkg_resources extracts all that they name when it is asked for any of it (ZipProvider.get_resource_filename).
    """
    directories = {name.rsplit("/", depth)[0] for name in members for depth in range(1, name.count("/") + 1)}
    names = set()
    for listing in ("EGG-INFO/native_libs.txt", "EGG-INFO/eager_resources.txt"):
        if listing in members and members[listing].size <= _TEXT:
            lines = eggs.data(source, egg, members[listing]).decode("utf-8", "surrogateescape").splitlines()
            names |= {line.strip() for line in lines}  # as yield_lines(): bdist_egg on Windows left CRLF
    names = {name for name in names if name and not name.startswith("#")}
    present = {name for name in names if name.strip("/") in members.keys() | directories}
    return sorted(present), sorted(names - present)


def _native(
    source: int,
    egg: eggs.Egg,
    members: dict[str, Member],
    interpreter: Interpreter,
    finding: Callable[[str, str, list[str]], Finding],
) -> Iterator[Finding]:
    """Native modules whose stub loader, as bdist_egg wrote it, gets nothing from a cache."""
    found: dict[str, list[str]] = {}
    for name, member in members.items():
        if not extract.executable(name):
            continue
        directory, _, base = name.rpartition("/")
        stub = members.get(f"{directory}/{base.split('.')[0]}.py".lstrip("/"))
        text = eggs.data(source, egg, stub) if stub and stub.size <= _TEXT else b""
        if b"__bootstrap__" not in text:
            continue
        if re.search(rb"importlib\.resources|\bas_file\b", text):
            found.setdefault("stub-ignores-cache", []).append(name)
        elif b"load_dynamic" in text:
            if interpreter.version >= (3, 12):
                found.setdefault("stub-needs-imp", []).append(name)
        # A module that initialises in phases (PEP 489) calls PyModuleDef_Init, so its file names that symbol.
        elif _mentions(source, egg, member, b"PyModuleDef_Init"):
            found.setdefault("stub-multi-phase", []).append(name)
    causes = {
        "stub-ignores-cache": "is loaded by a stub of setuptools 80.5 or newer, which writes to $TMPDIR at every "
        "import and ignores PYTHON_EGG_CACHE",
        "stub-needs-imp": "is loaded by a stub that imports `imp`, which Python 3.12 removed",
        "stub-multi-phase": "initialises in phases (PEP 489), and its stub then imports as an empty module",
    }
    for code, names in found.items():
        yield finding(code, f"{names[0]} {causes[code]}", names)
