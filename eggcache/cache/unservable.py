"""Eggs that no egg cache can serve, however it is filled: only unzipping helps.

Each rule was measured on the releases of setuptools that it names. An egg with such a finding is extracted
all the same: most of it is served.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from eggcache.eggs import extract, layout, zip_safety
from eggcache.eggs import reader as eggs
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError, Remedy
from eggcache.model import DEFAULT_LIMITS, Distribution, Finding, Interpreter, Kind, Member, Tree
from eggcache.target import commands
from eggcache.target.early_reading import EarlyReader
from eggcache.target.interpreter import Roots, Target

_TEXT = 1 << 20  # bytes of the longest listing or stub that is looked into: real ones are a thousandth of that
# Releases whose pkg_resources raises AttributeError whenever it is asked for a file.
_BROKEN = ("distribute 0.6.46", "distribute 0.6.47", "setuptools 0.7.5", "setuptools 0.7.6")

Wrong = tuple[str, str, list[str]]  # a code, the cause, and the names of what it is about


def in_target(tree: Tree, target: Target) -> Iterator[Finding]:
    """What keeps this target from using any cache."""
    interpreter = tree.interpreter
    release = (interpreter.setuptools or "").lower()
    if release in _BROKEN:
        cause = f"the pkg_resources of {interpreter.setuptools} fails whenever it is asked for a file"
        unzip = commands.unzip_all(target, Roots(tree.requirements))
        remedy = Remedy("install another release of setuptools, or unzip the eggs", unzip)
        yield Finding("broken-pkg-resources", interpreter.executable, cause, remedy)


def in_egg(one: Opened, distribution: Distribution, interpreter: Interpreter, target: Target) -> Iterator[Finding]:
    """What of the distribution in the egg `one`, from its own root on, no cache can serve to this target."""
    members, no_egg = dict(one.members()), list[Wrong]()
    if distribution.kind is Kind.ZIP:
        no_egg = [("not-an-egg", "pkg_resources extracts from zips named .egg only", [])]
    for code, cause, names in chain(no_egg, _listed(one, members), _native(one, members, interpreter)):
        remedy = Remedy("unzip it", commands.unzip(target, distribution))
        yield Finding(code, distribution.location, cause, remedy, context=tuple(names))
    yield from _not_zip_safe(one, distribution, target)


def in_tree(tree: Tree, target: Target) -> Iterator[Finding]:
    """The eggs of `tree` whose code looks for files beside itself. What is wrong with one that cannot be read is told
    where its files are needed."""
    opening = EarlyReader(target.account, DEFAULT_LIMITS).opened
    for distribution in tree.distributions:
        if distribution.egg is not None:
            with suppress(EggcacheError), opening(distribution.egg) as (source, egg):
                yield from _not_zip_safe(Opened(source, egg, distribution.inside), distribution, target)


def _not_zip_safe(one: Opened, distribution: Distribution, target: Target) -> Iterator[Finding]:
    places = zip_safety.looks_beside(one)
    if places:
        cause = f"its code looks for files beside itself, which a zip has none of, whatever the cache ({places[0]})"
        remedy = Remedy("if pages fail for that, unzip it", commands.unzip(target, distribution))
        yield Finding("not-zip-safe", distribution.location, cause, remedy, 0, tuple(places))


def _listed(one: Opened, members: dict[str, Member]) -> Iterator[Wrong]:
    """What the names and dates in the zip tell, and its lists of resources."""
    explicit = [f"{one.inside}{name}" for name in one.directories() if name]
    if explicit:
        cause = f"it lists directories as entries of their own, {explicit[0]!r} for one, which pkg_resources then "
        yield "directory-entries", f"{cause}cannot list", explicit
    unusual = list(one.egg.unusual)
    if unusual:
        yield "unusual-names", f"Pythons and locales disagree on the name of {unusual[0]!a}", unusual
    doubtful = [name for name, member in members.items() if layout.ambiguous(member.date_time)]
    if doubtful:
        cause = f"{doubtful[0]} is dated in the hour that the clocks go through twice, where the mtime that "
        yield "ambiguous-time", f"{cause}pkg_resources expects is a matter of chance", doubtful
    present, absent = _eager(one, members)
    if present and absent:  # where none is there, nobody can ask for one
        cause = f"its eager resources name {absent[0]!r}, which it does not hold, so asking for {present[0]} is a "
        yield "eager-missing", f"{cause}KeyError", absent


def _mentions(one: Opened, member: Member, word: bytes) -> bool:
    """Whether the bytes of `member`, which may be many, hold `word`."""
    rest = b""
    for chunk in eggs.chunks(one.source, one.egg, member):
        if word in rest + chunk:
            return True
        rest = chunk[-len(word) :]
    return False


def _eager(one: Opened, members: dict[str, Member]) -> tuple[list[str], list[str]]:
    """What native_libs.txt and eager_resources.txt name: what the egg holds of that, and what it does not.

    pkg_resources extracts all that they name when it is asked for any of it (ZipProvider.get_resource_filename).
    """
    directories = {name.rsplit("/", depth)[0] for name in members for depth in range(1, name.count("/") + 1)}
    names = set()
    for listing in ("EGG-INFO/native_libs.txt", "EGG-INFO/eager_resources.txt"):
        if listing in members and members[listing].size <= _TEXT:
            lines = eggs.data(one.source, one.egg, members[listing]).decode("utf-8", "surrogateescape").splitlines()
            names |= {line.strip() for line in lines}  # as yield_lines(): bdist_egg on Windows left CRLF
    names = {name for name in names if name and not name.startswith("#")}
    present = {name for name in names if name.strip("/") in members.keys() | directories}
    return sorted(present), sorted(names - present)


def _native(one: Opened, members: dict[str, Member], interpreter: Interpreter) -> Iterator[Wrong]:
    """Native modules whose stub loader, as bdist_egg wrote it, gets nothing from a cache."""
    found: dict[str, list[str]] = {}
    for name, member in members.items():
        if not extract.executable(name):
            continue
        directory, _, base = name.rpartition("/")
        stub = members.get(f"{directory}/{base.split('.')[0]}.py".lstrip("/"))
        text = eggs.data(one.source, one.egg, stub) if stub and stub.size <= _TEXT else b""
        if b"__bootstrap__" not in text:
            continue
        if re.search(rb"importlib\.resources|\bas_file\b", text):
            found.setdefault("stub-ignores-cache", []).append(name)
        elif b"load_dynamic" in text:
            if interpreter.version >= (3, 12):
                found.setdefault("stub-needs-imp", []).append(name)
        # A module that initialises in phases (PEP 489) calls PyModuleDef_Init, so its file names that symbol.
        elif _mentions(one, member, b"PyModuleDef_Init"):
            found.setdefault("stub-multi-phase", []).append(name)
    causes = {
        "stub-ignores-cache": "is loaded by a stub of setuptools 80.5 or newer, which writes to $TMPDIR at every "
        "import and ignores PYTHON_EGG_CACHE",
        "stub-needs-imp": "is loaded by a stub that imports `imp`, which Python 3.12 removed",
        "stub-multi-phase": "initialises in phases (PEP 489), and its stub then imports as an empty module",
    }
    for code, names in found.items():
        yield code, f"{names[0]} {causes[code]}", names
