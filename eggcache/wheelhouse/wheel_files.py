"""One egg as a wheel: the names of its files and its tags; wheel's own writer writes it."""

from __future__ import annotations

import csv
import logging
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from io import StringIO
from time import gmtime
from zipfile import ZIP_DEFLATED, ZipInfo

from wheel.wheelfile import WheelFile

from eggcache import __version__
from eggcache.eggs import extract
from eggcache.model import DateTime, Distribution, Machine
from eggcache.wheelhouse import legacy, metadata
from eggcache.wheelhouse.egg_contents import EARLIEST, LATEST, Content, Contents, inner_eggs
from eggcache.wheelhouse.legacy import Rewritten

_EGG_NAME = re.compile(r"(?P<name>[^-]+)(-(?P<version>[^-]+)(-py(?P<python>\d\.\d+)(-(?P<platform>.+))?)?)?", re.I)
_SHEBANG = re.compile(rb"\A#![^\n]*\bpythonw?[0-9.]*([^\S\n][^\n]*)?(\n|\Z)")
_PYTHON = b"#!python\n"
_OLDEST: DateTime = (1980, 1, 1, 0, 0, 0)  # that a zip can date
_NAME = 255  # bytes of a file name: NAME_MAX of every Linux file system
_LINES = 1000  # of requires.txt, and characters of a section's name: real ones have a hundredth of that
_TEXT = 1 << 20  # bytes of the longest metadata or stub that is looked into: real ones are a thousandth of that

# Of EGG-INFO, what is said in other words in a wheel, or only concerns eggs; and what an installer writes itself.
_LEFT_OUT = {
    "PKG-INFO", "pkg-info", "requires.txt", "depends.txt", "SOURCES.txt", "dependency_links.txt", "zip-safe",
    "not-zip-safe", "native_libs.txt", "eager_resources.txt",
    "METADATA", "RECORD", "RECORD.jws", "RECORD.p7s", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json",
}  # fmt: skip

logging.getLogger("wheel").setLevel(logging.WARNING)  # the releases before 0.41 print each file on stdout


class Unfit(Exception):
    """An egg that no wheel can be made of: the code of the finding, its cause and its remedy."""

    def __init__(self, code: str, cause: str, remedy: str) -> None:
        super().__init__(code, cause, remedy)
        self.code, self.cause, self.remedy = code, cause, remedy


@dataclass
class Plan:
    """The content of a wheel that is not written yet."""

    project: str
    version: str
    files: dict[str, Content] = field(default_factory=dict)  # by name in the wheel
    executable: set[str] = field(default_factory=set)  # those of them that are scripts or native
    native: bool = False  # one of them is ELF
    sourceless: bool = False  # some of them are .pyc files without source
    generated: dict[str, str] = field(default_factory=dict)
    requirements: list[Rewritten] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)  # the packages whose __init__.py no wheel has
    before: str = ""  # name and version, where they had to be written in other words
    tag: str = ""

    @property
    def stem(self) -> str:
        """`name-version` as the wheel and its directories are called: pkg_resources' to_filename(safe_name(project)).

        The dots stay: to pkg_resources up to setuptools 75.8.1, and importlib.metadata of Python 3.8 and 3.9,
        `zope_event-4.6.dist-info` is not zope.event. Installers must take dots, which names had before:
        https://packaging.python.org/specifications/binary-distribution-format/#escaping-and-unicode
        """
        return legacy.key(self.project).replace("-", "_") + "-" + self.version

    @property
    def file_name(self) -> str:
        """The file name of the wheel."""
        return f"{self.stem}-{self.tag}.whl"


def plan(contents: Contents, distribution: Distribution, machine: Machine) -> Plan:
    """The plan of an egg's wheel. Raises Unfit, and the errors of reading the egg."""
    info, plan = _identity(contents, distribution)
    _choose(contents, plan)
    plan.namespaces = _namespaces(contents)
    for package in plan.namespaces:
        plan.files.pop(f"{package.replace('.', '/')}/__init__.py", None)
    elf = {name for name, content in plan.files.items() if _is_elf(content)}
    plan.native = bool(elf)
    plan.executable |= elf | set(filter(extract.executable, plan.files))
    plan.tag, pure = _tags(plan, distribution, machine)
    length = len(os.fsencode(plan.file_name))
    if length > _NAME:
        cause = f"the name of its wheel would have {length} bytes, and no file's can have more than {_NAME}"
        raise Unfit("wheel-metadata", cause, "build it anew with a shorter name and version")
    lost = metadata.bound_to_others(info, machine.version)
    extras, lines = metadata.requirements(_requires(contents))
    plan.requirements = [*lost, *lines]
    texts = [line.text for line in lines if line.text]
    if plan.namespaces and machine.version[0] == 2:
        plan.generated[f"{plan.stem}-nspkg.pth"] = "".join(map(_namespace, plan.namespaces))
    plan.generated[f"{plan.stem}.dist-info/METADATA"] = metadata.compose(
        info, plan.project, plan.version, extras, texts
    )
    plan.generated[f"{plan.stem}.dist-info/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: eggcache {__version__}\n"
        f"Root-Is-Purelib: {str(pure).lower()}\nTag: {plan.tag}\n"
    )
    return plan


def renamed(distribution: Distribution) -> bool:
    """Whether the name or the version has to change for a wheel: the new ones may be those of another egg."""
    version = distribution.version or ""
    return (legacy.name(distribution.project), legacy.version(version) or "") != (distribution.project, version)


def _identity(contents: Contents, distribution: Distribution) -> tuple[metadata.PkgInfo, Plan]:
    info = metadata.parse(_text(contents, "EGG-INFO/PKG-INFO"))
    if "EGG-INFO/PKG-INFO" not in contents.files and not any(name.startswith("EGG-INFO/") for name in contents.files):
        raise Unfit("wheel-metadata", "it has no EGG-INFO", "build it anew")
    name, version = metadata.spelled(info, distribution.project, distribution.version or "")
    project, release = legacy.name(name), legacy.version(version)
    if not project:
        raise Unfit("wheel-metadata", f"its name {name!a} is none that a wheel can have", "build it anew")
    if release is None:
        cause = f"no version of today (PEP 440) says {version!a}" if version else "its metadata has no version"
        raise Unfit("wheel-version", cause, f"build {project} anew with another version")
    spelling = info.one("Name") or name, info.one("Version") or version
    differs = (project, version) != spelling or not legacy.is_version(version)
    return info, Plan(project, release, before=" ".join(spelling) if differs else "")


def _choose(contents: Contents, plan: Plan) -> None:
    """Fill `made.files` with all files of the egg that an installed package has, at their places in the wheel."""
    inner = inner_eggs(contents)
    # bdist_egg wrote a .py beside each native module, to load it; in a directory Python finds the module itself
    loaders = {re.sub(r"\.[^/]*$", ".py", name) for name in contents.files if extract.executable(name)}
    for name in sorted(contents.files):
        first, _, rest = name.partition("/")
        content = contents.files[name]
        if first == "EGG-INFO":
            into = _of_egg_info(rest, plan.stem)
            if into:
                plan.files[into] = content
            if rest.startswith("scripts/"):
                plan.executable.add(into)
        elif first in inner or _is_superfluous(name, contents, loaders):
            continue
        elif rest and first.lower().endswith((".dist-info", ".data", ".egg-info")):
            cause = f"it holds {first!a}, which an installer would take for its own"
            raise Unfit("wheel-metadata", cause, "build it anew without that directory")
        else:
            plan.files[name] = content
            plan.sourceless = plan.sourceless or name.endswith((".pyc", ".pyo"))


def _of_egg_info(name: str, stem: str) -> str:
    """The place of a file of EGG-INFO in the wheel; "" for none."""
    if name in _LEFT_OUT or name.endswith((".pyc", ".pyo")):
        return ""
    return f"{stem}.data/{name}" if name.startswith("scripts/") else f"{stem}.dist-info/{name}"


def _is_superfluous(name: str, contents: Contents, loaders: set[str]) -> bool:
    """Byte-code that has its source; a stub in front of a native module; a .pth file, which Python runs in no egg."""
    directory, _, base = name.rpartition("/")
    if base.endswith((".pyc", ".pyo")):
        return "__pycache__" in directory.split("/") or name[:-1] in contents.files
    if name in loaders:
        content = contents.files[name]
        return content.size <= _TEXT and b"__bootstrap__" in content.read()
    return not directory and base.endswith(".pth")


def _is_elf(content: Content) -> bool:
    return content.size > 4 and next(content.pieces(), b"")[:4] == b"\x7fELF"


def _tags(plan: Plan, distribution: Distribution, machine: Machine) -> tuple[str, bool]:
    """PEP 425's tags, and whether the wheel is pure.

    An egg is for the Python that its name tells, and its code may have been made for that (by 2to3, by a setup.py
    that looks at the version). `py27` is taken by pip for CPython 2.7, `py36` by 3.6 and every later 3.x: as
    pkg_resources, which takes an egg by an equal version alone, and a little more.
    """
    base = os.path.basename((distribution.inside or distribution.egg or distribution.location).rstrip("/"))
    match = _EGG_NAME.fullmatch(re.sub(r"(?i)\.egg$", "", base))
    python = match["python"] if match else None
    release = tuple(map(int, python.split("."))) if python else machine.version[:2]
    platform = match["platform"] if match else None
    current = machine.version[:2]
    version = ".".join(map(str, current))
    native = plan.native or platform is not None
    if release[0] != current[0] or release > current or ((native or plan.sourceless) and release != current):
        cause = f"it is for Python {python}, the target is {version}"
        raise Unfit("wheel-other-python", cause, "name its Python with --python")
    if platform and platform != machine.platform:
        cause = f"it is for {platform}, the target is {machine.platform}"
        raise Unfit("wheel-other-platform", cause, "convert it there")
    if native:
        if not machine.abi:
            raise Unfit("wheel-other-python", "it is native, and the target is no CPython", "build it anew for it")
        name = machine.platform
        if machine.bits == 32 and name == "linux-x86_64":
            name = "linux-i686"  # a 32-bit Python under a 64-bit kernel, as pip and wheel call it
        return f"cp{release[0]}{release[1]}-{machine.abi}-{re.sub('[^A-Za-z0-9]', '_', name)}", False
    return f"{'cp' if plan.sourceless else 'py'}{release[0]}{release[1]}-none-any", True


def _namespace(package: str) -> str:
    """The line of a .pth file that makes a namespace package for Python 2, whose __init__.py no wheel may hold: it
    would be the same file in each wheel of that namespace, and go with the first that is uninstalled.

    What setuptools installs for namespace_packages; Python 3 needs nothing (PEP 420).
    """
    steps = [
        "import os, sys, types",  # in site.addpackage, whose variables these names must not be
        f"eggcache_name = {package!r}",
        "eggcache_path = os.path.join(sys._getframe(1).f_locals['sitedir'], *eggcache_name.split('.'))",
        "eggcache_module = sys.modules.setdefault(eggcache_name, types.ModuleType(eggcache_name))",
        "eggcache_paths = eggcache_module.__dict__.setdefault('__path__', [])",
        "eggcache_path in eggcache_paths or eggcache_paths.append(eggcache_path)",
    ]
    parent, _, child = package.rpartition(".")
    if parent:
        steps.append(f"setattr(sys.modules[{parent!r}], {child!r}, eggcache_module)")
    return "; ".join(steps) + "\n"


def _text(contents: Contents, *names: str) -> str:
    """The text of small files, one after the other; a missing file is empty."""
    small = (contents.files[name] for name in names if name in contents.files)
    return "\n".join(metadata.decoded(_small(content)) for content in small)


def _requires(contents: Contents) -> str:
    text = _text(contents, "EGG-INFO/requires.txt", "EGG-INFO/depends.txt")
    lines = list(metadata.sections(text))
    if len(lines) > _LINES or any(len(section) > _LINES for section, _ in lines):
        cause = f"its requires.txt has more than {_LINES} lines, or a section with a name as long"
        raise Unfit("wheel-metadata", cause, "build it anew")
    return text


def _small(content: Content) -> bytes:
    if content.size > _TEXT:
        raise Unfit("wheel-metadata", f"its {content.name} has {content.size} bytes", "build it anew")
    return content.read()


def _namespaces(contents: Contents) -> list[str]:
    """The packages that namespace_packages.txt names, in order; none whose parent is a package of another kind."""
    lines = {line.strip() for line in _text(contents, "EGG-INFO/namespace_packages.txt").splitlines()}
    names = {line for line in lines if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", line, re.ASCII)}
    return sorted(name for name in names if all(name[: dot.start()] in names for dot in re.finditer(r"\.", name)))


# ------------------------------------------------------------------------------------------------------- writing


class _Wheel(WheelFile):  # type: ignore[misc, unused-ignore]
    """The writer, which would date RECORD now, and which hashes only what it is given in one piece."""

    moment = _OLDEST
    rows = ""  # of RECORD, for what was streamed

    def stream(self, entry: ZipInfo, pieces: Iterator[bytes]) -> None:
        """Write a member that may be larger than memory."""
        digest, size = sha256(), 0
        with self.open(entry, "w") as member:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                member.write(piece)
        checksum = urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii")
        row = StringIO()
        csv.writer(row, lineterminator="\n").writerow((entry.filename, f"sha256={checksum}", size))
        self.rows += row.getvalue()

    def writestr(self, zinfo_or_arcname: ZipInfo | str, data: bytes | str, compress_type: int | None = None) -> None:
        # A name, or from releases before 0.39 an entry that is dated already
        if getattr(zinfo_or_arcname, "filename", zinfo_or_arcname) == self.record_path:
            zinfo_or_arcname = _entry(self.record_path, self.moment, 0o644)
            data = self.rows + (data if isinstance(data, str) else data.decode("utf-8"))
        super().writestr(zinfo_or_arcname, data, compress_type)


def write(plan: Plan, directory: str, wrote: Callable[[], object] = lambda: None) -> str:
    """Write the wheel into `directory`, and return its path. `wrote` is called after each file.

    The same plan always gives the same bytes. SOURCE_DATE_EPOCH, where it is set, is the date of every file; otherwise
    each file has its own date, and a generated file that of the newest.
    """
    epoch = _epoch()
    dates = [_date(content.date_time) for content in plan.files.values()]
    path = os.path.join(directory, plan.file_name)
    with _Wheel(path, "w", ZIP_DEFLATED) as wheel:
        moment = epoch if epoch else max(dates, default=_OLDEST)
        wheel.moment = moment
        info = f"{plan.stem}.dist-info/"
        for name in sorted([*plan.files, *plan.generated], key=lambda name: (name.startswith(info), name)):
            if name in plan.generated:
                wheel.writestr(_entry(name, moment, 0o644), plan.generated[name].encode("utf-8"))
                continue
            content = plan.files[name]
            entry = _entry(name, epoch or _date(content.date_time), 0o755 if name in plan.executable else 0o644)
            script = name.startswith(f"{plan.stem}.data/scripts/")
            entry.file_size = content.size + len(_PYTHON)  # at most: zipfile decides by it whether it is zip64
            wheel.stream(entry, _for_any_python(content.pieces()) if script else content.pieces())
            wrote()
    return path


def _for_any_python(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A script whose first line an installer replaces by its own interpreter."""
    for number, piece in enumerate(pieces):
        yield piece if number else _SHEBANG.sub(_PYTHON, piece)


def _entry(name: str, date_time: DateTime, mode: int) -> ZipInfo:
    entry = ZipInfo(name, date_time)
    entry.create_system = 3  # Unix, wherever this runs
    entry.external_attr = (0o100000 | mode) << 16
    entry.compress_type = ZIP_DEFLATED
    return entry


def _date(date_time: DateTime) -> DateTime:
    """The nearest date that exists: real eggs have a month 0, and seconds of 62."""
    try:
        datetime(*date_time, tzinfo=timezone.utc)
    except ValueError:
        return _OLDEST
    return date_time


def _epoch() -> DateTime | None:
    """https://reproducible-builds.org/specs/source-date-epoch/, within what a zip can date."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not seconds.isdigit():
        return None
    return gmtime(min(max(int(seconds[:12]), EARLIEST), LATEST))[:6]
