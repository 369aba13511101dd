"""Eggs that no egg cache can serve, however it is filled: only unzipping helps.

Each rule was measured on the releases of setuptools that it names. An egg with such a finding is extracted
all the same: most of it is served.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from eggcache.eggs import extract, source_scan, zip_dates
from eggcache.eggs import reader as eggs
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError, Remedy
from eggcache.model import Distribution, Finding, Interpreter, Kind, Member, Tree
from eggcache.target import command_lines
from eggcache.target.eggs_on_path import Opening
from eggcache.target.interpreter import Roots, Target

_TEXT = 1 << 20  # bytes of the longest listing or stub that is looked into: real ones are a thousandth of that
# Releases whose pkg_resources raises AttributeError whenever it is asked for a file.
_BROKEN = ("distribute 0.6.46", "distribute 0.6.47", "setuptools 0.7.5", "setuptools 0.7.6")
# What unzipping does not help: the library is none that this Python takes
_ANEW = "take the egg off the path, and install the project for this Python: its library is for CPython {} alone"

Wrong = tuple[str, str, list[str]]  # a code, the cause, and the names of what it is about


def in_target(tree: Tree, target: Target) -> Iterator[Finding]:
    """The findings that keep this target from using any cache."""
    interpreter = tree.interpreter
    release = (interpreter.setuptools or "").lower()
    if release in _BROKEN:
        cause = f"the pkg_resources of {interpreter.setuptools} fails whenever it is asked for a file"
        unzip = command_lines.unzip_all(target, Roots(tree.requirements))
        remedy = Remedy("install another release of setuptools, or unzip the eggs", unzip)
        yield Finding("broken-pkg-resources", interpreter.executable, cause, remedy)


def in_egg(opened: Opened, distribution: Distribution, interpreter: Interpreter, target: Target) -> Iterator[Finding]:
    """What no cache can serve to this target of the distribution in `opened`, from its root on."""
    members, no_egg = dict(opened.members), list[Wrong]()
    if distribution.kind is Kind.ZIP:
        no_egg = [("not-an-egg", "pkg_resources extracts from zips named .egg only", [])]
    for code, cause, names in chain(
        no_egg, _zip_faults(opened, members, interpreter), _native(opened, members, interpreter)
    ):
        other = _other_python(names, interpreter) if code == "stub-needs-imp" else ""
        remedy = Remedy(_ANEW.format(other)) if other else command_lines.unzipped(target, distribution)
        yield Finding(code, distribution.location, cause, remedy, context=tuple(names))
    yield from _not_zip_safe(opened, distribution, target)


def in_tree(tree: Tree, target: Target, opening: Opening) -> Iterator[Finding]:
    """The eggs of a tree whose code looks for files beside itself.

    An egg that cannot be read is passed over: it is reported where its files are needed.

    :param tree: the distributions
    :param target: the Python that remedies name
    :param opening: opens each egg with the rights of the account that the command acts for
    """
    for distribution in tree.distributions:
        if distribution.egg is not None:
            with suppress(EggcacheError), opening(distribution.egg) as (source, egg):
                yield from _not_zip_safe(Opened(source, egg, distribution.inside), distribution, target)


def _not_zip_safe(opened: Opened, distribution: Distribution, target: Target) -> Iterator[Finding]:
    places = source_scan.file_lookups(opened)
    if places:
        cause = f"its code looks for files in its own directory, which no zip has, whatever the cache ({places[0]})"
        unzipped = command_lines.unzipped(target, distribution)
        remedy = Remedy(f"if pages fail for that, {unzipped.text}", unzipped.command)
        yield Finding("not-zip-safe", distribution.location, cause, remedy, 0, tuple(places))


def _zip_faults(opened: Opened, members: dict[str, Member], interpreter: Interpreter) -> Iterator[Wrong]:
    """Faults in the names and dates of the zip, and in its lists of resources."""
    explicit = [f"{opened.inside}{name}" for name in opened.directories() if name]
    if explicit:
        cause = f"it lists directories as entries of their own, {explicit[0]!r} for one, which pkg_resources then "
        yield "directory-entries", f"{cause}cannot list", explicit
    # Python 2 gives out what is not flagged, in any locale: to it a name is its bytes (measured with 2.7)
    unusual = [name for name in opened.egg.unusual if interpreter.version[0] > 2 or name in opened.egg.flagged]
    if unusual:
        why = f"Pythons and locales disagree on the name of {unusual[0]!a}"
        if interpreter.version[0] > 2 and opened.egg.flagged.issuperset(unusual):
            why += ", which is given out only where the server's locale is UTF-8"
        yield "unusual-names", why, unusual
    doubtful = [name for name, member in members.items() if zip_dates.ambiguous(member.date_time)]
    if doubtful:
        cause = f"{doubtful[0]} is dated at a time that there is twice, or never, where clocks are set, and what mtime "
        yield "ambiguous-time", f"{cause}pkg_resources expects is a matter of chance", doubtful
    present, absent = _eager(opened, members)
    if present and absent:  # where none is there, nobody can ask for one
        cause = f"its eager resources name {absent[0]!r}, which it does not hold, so asking for {present[0]} is a "
        yield "eager-missing", f"{cause}KeyError", absent


def _mentions(opened: Opened, member: Member, word: bytes) -> bool:
    """Whether the bytes of `member`, which may be large, contain `word`."""
    rest = b""
    for chunk in eggs.chunks(opened.source, opened.egg, member):
        if word in rest + chunk:
            return True
        rest = chunk[-len(word) :]
    return False


def _eager(opened: Opened, members: dict[str, Member]) -> tuple[list[str], list[str]]:
    """The members that native_libs.txt and eager_resources.txt name, and the names of theirs that the egg lacks.

    pkg_resources extracts all of them when it is asked for any (ZipProvider.get_resource_filename).
    """
    names = set()
    for listing in ("EGG-INFO/native_libs.txt", "EGG-INFO/eager_resources.txt"):
        if listing in members and members[listing].size <= _TEXT:
            text = eggs.data(opened.source, opened.egg, members[listing])
            lines = text.decode("utf-8", "surrogateescape").splitlines()
            names |= {line.strip() for line in lines}  # as yield_lines(): bdist_egg on Windows left CRLF
    names = {name for name in names if name and not name.startswith("#")}
    if not names:
        return [], []
    directories = {name.rsplit("/", depth)[0] for name in members for depth in range(1, name.count("/") + 1)}
    present = {name for name in names if name.strip("/") in members.keys() | directories}
    return sorted(present), sorted(names - present)


def _other_python(libraries: list[str], interpreter: Interpreter) -> str:
    """The version of the CPython that a library is for by its name, where this one does not take it; "" for abi3."""
    versions = [(match[1], match[2]) for name in libraries if (match := re.search(r"\.cpython-(\d)(\d+)", name))]
    own = tuple(map(str, interpreter.version[:2]))
    return next((".".join(version) for version in versions if version != own), "")


def _native(opened: Opened, members: dict[str, Member], interpreter: Interpreter) -> Iterator[Wrong]:
    """Native modules whose stub loader, as bdist_egg wrote it, gets nothing from a cache."""
    members_by_code: dict[str, list[str]] = {}
    for name, member in members.items():
        if not extract.executable(name):
            continue
        directory, _, base = name.rpartition("/")
        stub = members.get(f"{directory}/{base.split('.')[0]}.py".lstrip("/"))
        text = eggs.data(opened.source, opened.egg, stub) if stub and stub.size <= _TEXT else b""
        if b"__bootstrap__" not in text:
            continue
        if re.search(rb"importlib\.resources|\bas_file\b", text):
            members_by_code.setdefault("stub-ignores-cache", []).append(name)
        elif b"load_dynamic" in text:
            if interpreter.version >= (3, 12):
                members_by_code.setdefault("stub-needs-imp", []).append(name)
        # A module that initialises in phases (PEP 489) calls PyModuleDef_Init, so its file names that symbol.
        elif _mentions(opened, member, b"PyModuleDef_Init"):
            members_by_code.setdefault("stub-multi-phase", []).append(name)
    version = interpreter.version  # () or a pair where the target is another host's
    fails = version != () and (*version, 9)[:3] <= (3, 12, 1)
    causes = {
        "stub-ignores-cache": "is loaded by a stub of setuptools 80.6 or newer, which ignores PYTHON_EGG_CACHE, and "
        + ("does not import here" if fails else "writes to $TMPDIR in each process"),
        "stub-needs-imp": "is loaded by a stub that imports `imp`, which Python 3.12 removed",
        "stub-multi-phase": "initialises in phases (PEP 489), and its stub then imports as an empty module",
    }
    for code, names in members_by_code.items():
        yield code, f"{names[0]} {causes[code]}", names
