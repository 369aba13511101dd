"""The metadata of an egg (PKG-INFO, requires.txt) as that of a wheel (METADATA). Pure functions from text to text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from eggcache.wheelhouse import legacy
from eggcache.wheelhouse.legacy import Rewritten

VERSION = "2.1"  # the first with extras and a description as the body; every pip for Python 2.7 reads it

# Fields of one line that Metadata 2.1 knows (https://packaging.python.org/specifications/core-metadata/), in its
# order. What an installer resolves by comes from requires.txt; what PEP 314 called Requires nobody ever read.
_FIELDS = (
    "Platform", "Supported-Platform", "Summary", "Keywords", "Home-page", "Download-URL", "Author", "Author-email",
    "Maintainer", "Maintainer-email", "License", "Classifier", "Requires-Python", "Requires-External", "Project-URL",
    "Description-Content-Type",
)  # fmt: skip
_MANY = {"Platform", "Supported-Platform", "Classifier", "Requires-External", "Project-URL"}
_CONTENT_TYPE = re.compile(r"text/(plain|x-rst|markdown)(;.*)?")  # all that there are
_SYNONYMS = {"license-expression": "license"}  # of Metadata 2.4
_HEAD = re.compile(r"([A-Za-z][A-Za-z0-9-]*):(?:[ \t]+(.*)|$)")
_UNUSED = {
    "metadata-version", "name", "version", "description", "dynamic", "license-file", "requires", "provides",
    "obsoletes", "requires-dist", "provides-dist", "obsoletes-dist", "provides-extra", "import-name",
    "import-namespace",
}  # fmt: skip
_FIELD_NAMES = {field.lower() for field in _FIELDS} | _SYNONYMS.keys() | _UNUSED


@dataclass(frozen=True)
class PkgInfo:
    """An egg's PKG-INFO, taken apart."""

    fields: dict[str, list[str]]  # by name in lower case
    description: str

    def one(self, field: str) -> str:
        """The first value of the `field`, in one line; "" where there is none."""
        return " ".join(self.fields.get(field.lower(), [""])[0].split())


def decoded(raw: bytes) -> str:
    """The text of bytes in UTF-8, as today, or in the encoding of the machine that built the egg."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parse(text: str) -> PkgInfo:
    """Take a PKG-INFO apart, as leniently as the distutils of the time wrote it.

    distutils wrote a license of several lines as it was: a line that does not start with a known field belongs to
    the one before, and an empty line ends the fields only from Metadata 2 on. The email parser would take whatever
    follows for the description.
    """
    fields: dict[str, list[str]] = {}
    values: list[str] = []
    lines = re.split(r"\r\n|\r|\n", text)
    body: list[str] = []
    for number, line in enumerate(lines):
        match = _HEAD.match(line)
        if match and match[1].lower() in _FIELD_NAMES:
            key = match[1].lower()
            values = fields.setdefault(_SYNONYMS.get(key, key), [])
            values.append(match[2] or "")
        elif not line and not fields.get("metadata-version", ["1"])[0].startswith("1"):
            body = lines[number + 1 :]
            break
        elif values:
            values[-1] += "\n" + line
    folded = fields.pop("description", [""])[0]
    return PkgInfo(fields, "\n".join(body) if any(map(str.strip, body)) else _unfolded(folded))


def spelled(info: PkgInfo, project: str, version: str) -> tuple[str, str]:
    """The name and version of an egg in PKG-INFO's spelling, which is the original one. pkg_resources goes by the
    file's name, and knows the egg as `project` and `version`.

    A PKG-INFO with another project or version does not count: the wheel would take another project's name, and a
    requirement for this project would not find it.
    """
    name, spelling = info.one("Name"), info.one("Version")
    if legacy.key(name) != legacy.key(project):
        name = project
    if version and not legacy.same_version(spelling, version):
        spelling = version
    return name, spelling


def _unfolded(text: str) -> str:
    """A folded Description, as distutils.util.rfc822_escape indented it (and later setuptools with a bar)."""
    first, _, rest = text.partition("\n")
    rest = re.sub(r"^ {7}\|", "", rest, flags=re.MULTILINE) if re.search(r"^ {7}\|", rest) else rest
    return f"{first.lstrip()}\n{textwrap.dedent(rest)}" if rest else first.lstrip()


def sections(text: str) -> Iterator[tuple[str, str]]:
    """(section, line) of requires.txt, as pkg_resources.split_sections has them; the section "" is the first one."""
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
            yield section, ""
        elif line and not line.startswith("#"):
            yield section, line


def requirements(text: str) -> tuple[list[str], list[Rewritten]]:
    """The extras that requires.txt has, and its lines, each with the extra and the marker of its section."""
    extras: dict[str, None] = {}
    requires = []
    for section, line in sections(text):
        extra, _, condition = section.partition(":")
        extra = legacy.extra_name(extra)
        if extra:
            extras[extra] = None
        if line:
            requires.append(legacy.requirement(line, condition, extra))
    return sorted(extras), requires


def bound_to_others(info: PkgInfo, version: tuple[int, ...]) -> list[Rewritten]:
    """Remove a Requires-Python that excludes the Python that has the egg: pkg_resources does not read it in an egg, and
    pip would refuse the wheel."""
    clauses = info.one("Requires-Python")
    if not clauses or legacy.admits(clauses, version):
        return []
    del info.fields["requires-python"]
    return [Rewritten("", f"Requires-Python: {clauses}", "the target itself is none of these")]


def compose(info: PkgInfo, name: str, version: str, extras: Iterable[str], requires: Iterable[str]) -> str:
    """The METADATA of a wheel."""
    lines = [f"Metadata-Version: {VERSION}", f"Name: {name}", f"Version: {version}"]
    for field in _FIELDS:
        values = info.fields.get(field.lower(), [])
        for value in values if field in _MANY else values[:1]:
            text = " ".join(value.split())
            if field == "License":  # it may be a text of many lines: each but the first indented, none of them empty
                text = "\n        ".join(line.strip() for line in value.splitlines() if line.strip())
            if field == "Description-Content-Type" and not _CONTENT_TYPE.fullmatch(text):
                continue
            if text and text != "UNKNOWN":
                lines.append(f"{field}: {text}")
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {line}" for line in dict.fromkeys(requires)]
    body = info.description.strip("\n")
    return "\n".join(lines) + "\n" + (f"\n{body}\n" if body.strip() not in ("", "UNKNOWN") else "")
