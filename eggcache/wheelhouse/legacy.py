"""Versions and requirements of old eggs, in the form that today's installers accept (PEP 440, PEP 508).

The old words mean what they mean to pkg_resources up to setuptools 7 (`parse_version`): a word that sorts before
"final" makes a pre-release; a word that sorts behind it, and a dash, make a later release; "dev" comes before
everything. A line is rewritten only where PEP 440 can say the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.version import InvalidVersion, Version

_LONGEST = 1000  # characters of a line: real ones have 100, and parsers recurse
_LONGEST_VERSION = 100  # characters of what _VERSION looks at, which takes the square of them
_VERSION = re.compile(
    r"""v?(?P<release>\d+(?:\.\d+)*)\.?
    (?:[-_.]?(?P<stage>alpha|beta|preview|pre|rc|a|b|c)[-_.]?(?P<number>\d*)(?![a-z]))?
    (?:[-_.]?final)?
    (?:[-_.]?(?!dev)(?P<word>[a-z]+)[-_.]?(?P<post>\d*))?
    (?:[-_.]?(?P<dev>dev)[-_.]?r?(?P<revision>\d*))?
    (?:[-_.]?(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?""",
    re.VERBOSE | re.ASCII,
)
_REQUIREMENT = re.compile(
    r"""(?P<name>[\w.-]+)(?![\w.-])[ ]?
    (?:\[(?P<extras>[^]]*)\][ ]?)?
    \(?(?P<clauses>[^;@()]*)\)?[ ]?
    (?:;(?P<marker>.*))?""",
    re.VERBOSE | re.ASCII,
)  # of a line without runs of white space; no part can give the next one what that could take: time is linear
_CLAUSE = re.compile(r"\s*(===|==|~=|!=|<=|>=|<|>)\s*(\S+)\s*")
_ERRORS = (InvalidRequirement, InvalidMarker, InvalidSpecifier, InvalidVersion, RecursionError)


@dataclass(frozen=True)
class Rewritten:
    """A line in the words of PEP 508."""

    text: str  # "" where nothing of it can be said
    before: str
    lost: str = ""  # why a part of its meaning had to be left out

    @property
    def changed(self) -> bool:
        """Whether an installer of today would have refused the line as it was."""
        return _requirement_of(self.before) is None


def version(text: str) -> str | None:
    """The normalized PEP 440 version that sorts at the same place; None where there is none."""
    text = text.strip().lower()
    if len(text) > _LONGEST_VERSION:
        return None
    try:
        return str(Version(text))
    except InvalidVersion:
        pass
    match = _VERSION.fullmatch(text)
    if match is None or (match["word"] and match["word"] < "final"):
        return None
    normal = match["release"]
    normal += f"{match['stage']}{match['number']}" if match["stage"] else ""
    normal += f".post{match['post']}" if match["word"] else ""
    normal += f".dev{match['revision']}" if match["dev"] else ""
    normal += f"+{match['local']}" if match["local"] else ""
    return str(Version(normal))


def is_version(text: str) -> bool:
    """Whether the text is a version of PEP 440 as it stands."""
    try:
        return len(text) <= _LONGEST and bool(Version(text))
    except InvalidVersion:
        return False


def admits(text: str, version: tuple[int, ...]) -> bool:
    """Whether a set of clauses, as in Requires-Python, can be parsed and is true for a `version`."""
    try:
        return len(text) <= _LONGEST and ".".join(map(str, version)) in SpecifierSet(text)
    except InvalidSpecifier:
        return False


def name(text: str) -> str:
    """The project's name in the form of PEP 508; "" where nothing is left of it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text.strip()).strip("-_.")


def key(text: str) -> str:
    """The name by which every release of pkg_resources compares projects: `safe_name` in lower case, so a dot is no
    dash."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).lower()


def same_version(spelling: str, candidate: str) -> bool:
    """Whether two spellings mean one version: file names have what `safe_version` and `to_filename` left of a
    version."""
    safe = [re.sub(r"[^A-Za-z0-9.]+", "-", text.replace(" ", ".")).lower() for text in (spelling, candidate)]
    return safe[0] == safe[1] or (version(spelling) is not None and version(spelling) == version(candidate))


def extra_name(text: str) -> str:
    """The name of an extra, as every release of pkg_resources and pip compares it."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text.strip()).lower()


def marker(*parts: str) -> str | None:
    """The environment marker that is true where all the `parts` are; None where one cannot be parsed."""
    try:
        markers = [str(Marker(part)) for part in parts if part.strip() and len(part) <= _LONGEST]
        if len(markers) < len([part for part in parts if part.strip()]):
            return None
        return (
            str(Marker(" and ".join(f"({part})" for part in markers) if len(markers) > 1 else markers[0]))
            if markers
            else ""
        )
    except _ERRORS:
        return None


def requirement(line: str, condition: str = "", extra: str = "") -> Rewritten:
    """One line of requires.txt as PEP 508, for the `extra` alone, and where the marker `condition` is true."""
    source = line.strip()
    today = _requirement_of(source)
    if today is not None:
        conditions = [str(today.marker)] if today.marker else []
        clauses = [_clause(specifier.operator, specifier.version) or str(specifier) for specifier in today.specifier]
        extras = sorted(map(extra_name, today.extras))
        return _composition(source, today.name, extras, clauses, today.url or "", [condition, *conditions], extra, [])
    words = " ".join(source.split(" #")[0].split())
    match = _REQUIREMENT.fullmatch(words) if len(source) <= _LONGEST else None
    project = name(match["name"]) if match else ""
    if match is None or not project:
        return Rewritten("", source, "it names no project")
    clauses, lost, alternatives = [], [], []
    for text in filter(str.strip, match["clauses"].split(",")):
        clause = _CLAUSE.fullmatch(text)
        normal = _clause(clause[1], clause[2]) if clause else None
        if normal is not None:
            clauses.append(normal)
        elif clause and clause[1] == "==":
            alternatives.append(text.strip())
        else:
            lost.append(f"no version of today says {text.strip()}")
    if not clauses:  # else: a version of its own beside a range was an "or", and no wheel can have that version
        lost += [f"no version of today says {text}" for text in alternatives]
    extras = sorted(part for part in map(extra_name, (match["extras"] or "").split(",")) if part)
    return _composition(source, project, extras, clauses, "", [condition, match["marker"] or ""], extra, lost)


def _requirement_of(line: str) -> Requirement | None:
    if len(line) > _LONGEST:
        return None
    try:
        return Requirement(line)
    except _ERRORS:
        return None


def _clause(operator: str, text: str) -> str | None:
    """One clause, normalized; None where no clause of PEP 440 has its meaning."""
    if text.endswith(".*"):
        text = text if operator in ("==", "!=") else text[:-2] if operator in (">=", "<") else ""
    if operator == "===" or text.endswith(".*"):
        clause: str | None = operator + text
    else:
        normal = version(text)
        clause = None if normal is None or ("+" in normal and operator not in ("==", "!=")) else operator + normal
    try:
        return None if clause is None else str(Specifier(clause))
    except InvalidSpecifier:
        return None


def _composition(
    before: str,
    project: str,
    extras: list[str],
    clauses: list[str],
    url: str,
    markers: list[str],
    extra: str,
    lost: list[str],
) -> Rewritten:
    where = marker(*markers)
    if where is None:
        return Rewritten("", before, "its environment marker cannot be parsed")
    if extra:  # as it is: packaging would write "my-extra" for "my_extra", another one to the pip of Python 2.7
        where = f"({where}) and " if " or " in where else f"{where} and " if where else ""
        where += f'extra == "{extra}"'
    text = project + (f"[{','.join(extras)}]" if extras else "")
    text += f" @ {url}" if url else ",".join(sorted(set(clauses)))
    if where:
        text += f" ; {where}" if url else f"; {where}"
    if _requirement_of(text) is None:
        return Rewritten("", before, "it cannot be parsed")
    return Rewritten(text, before, "; ".join(lost))
