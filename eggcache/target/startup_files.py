"""The files that a target loads to start and to answer, found without starting it.

The rules are CPython's. The prefix: Modules/getpath.c, from 3.11 on Modules/getpath.py. sys.path: Lib/site.py of 2.4 to
3.13, of virtualenv (orig-prefix.txt before its release 20) and of Debian (dist-packages). Shared libraries: ld.so(8).
Where releases differ, a file counts that any of them would load.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from eggcache.system import files
from eggcache.target import buildout, search_path

_MOST_STARTS = 40  # an environment of an environment of …
_MOST_LINES = 1 << 20  # bytes of a .pth or of a pyvenv.cfg
_MOST_LIBRARIES = 500  # that a Python and its extension modules need, and these in turn
_LIBRARIES = ("lib", "lib64", "lib32")  # getpath's PLATLIBDIR
_HOMES = ("home", "base-prefix", "base-exec-prefix", "base-executable", "executable")  # of a pyvenv.cfg


@dataclass
class Startup:
    """The files that a target loads, by the names that it uses, links included."""

    files: list[str] = field(default_factory=list)  # its program, what says where its library is, shared libraries
    library: list[str] = field(default_factory=list)  # the directories of the standard library, with all that is below
    path: list[str] = field(default_factory=list)  # what else is on sys.path, or whose .pth files are read
    complete: bool = True  # whether this is all of it


def look(executable: str, paths: Sequence[str] = ()) -> Startup:
    """The files that the target `executable` loads with `paths` in front of its sys.path, in our environment.

    `complete` is False where the kernel cannot start the program itself, or the program's first place for its standard
    library has none. For a script that buildout generated, the Python that runs it counts, and the names in the script.
    Other users' files are read, and only up to a bound: they may hold anything.
    """
    startup = Startup()
    program = buildout.interpreter(executable)
    if program:
        startup.files.append(executable)
        executable, paths = program, [*paths, executable]
    paths = [os.path.join("/", path) for path in paths]
    startup.path += [*search_path.entries(paths), *search_path.sources(paths)]
    for script in filter(os.path.isfile, paths):
        startup.path += _quotations(_text(script)) if buildout.eggs(script) is not None else ()
    startup.path += [os.path.join("/", path) for path in _list_of("PYTHONPATH")]
    prefixes = _prefixes(executable, startup)
    names = _names(executable)
    start = os.path.dirname(os.path.abspath(executable))
    if (
        names[0].startswith("python3.")
        and _configuration(start).get("include-system-site-packages", "").lower() == "false"
    ):
        reading = [start, os.path.dirname(start)]  # a Python 2 does not know of it, unless virtualenv taught it
    else:
        reading = [*prefixes, "/usr/local", os.path.join(pwd.getpwuid(os.geteuid()).pw_dir, ".local")]
    for prefix in reading:
        startup.path += _sites(prefix, names)
    entries = set(startup.path)
    for place in startup.path:  # it grows
        additions = [name for name in pth_names(place) if name not in entries]
        startup.path += additions
        entries.update(additions)
    modules = [file for place in startup.library for file in glob.glob(os.path.join(glob.escape(place), "*.so"))]
    _add_shared(startup, os.path.realpath(executable), modules, [*prefixes, "/usr/local"])
    return startup


def site_directories(executable: str) -> list[str]:
    """Where the site-packages of a target are, or would be: `lib*/python*/site-packages` and `dist-packages` below its
    prefix, which is where its name leads to unless it is an environment's.

    :param executable: the path of the target
    :returns: those that exist
    """
    path = os.path.abspath(executable)
    names = [path] if _homes(os.path.dirname(path)) else [path, os.path.realpath(path)]
    prefixes = dict.fromkeys(os.path.dirname(os.path.dirname(name)) for name in names)
    return [
        place
        for prefix in map(glob.escape, prefixes)
        for kind in ("site-packages", "dist-packages")
        for place in sorted(glob.glob(os.path.join(prefix, "lib*", "python*", kind)))
    ]


def pth_names(directory: str) -> list[str]:
    """The .pth files in `directory`, and what they put on sys.path or name in what they run: see Lib/site.py.

    Those whose names begin with a dot are read before 3.13. A line of code is its author's; quoted absolute names in it
    are taken for what is to be loaded.
    """
    entries: dict[str, None] = {}
    for file in (os.path.join(directory, name) for name in files.names(directory) if name.endswith(".pth")):
        entries[file] = None
        text = _text(file)
        lines = dict.fromkeys(line.rstrip() for line in (*re.split("[\r\n]+", text), *text.splitlines()))
        for line in lines:
            if line.startswith("import"):  # code to 2.4 and 2.5 whatever follows, and later with a blank alone
                entries.update(dict.fromkeys(_quotations(line)))
            if line and not line.startswith(("#", "import ", "import\t")) and "\0" not in line:
                entries[os.path.abspath(os.path.join(directory, line))] = None
    return list(entries)


def _quotations(code: str) -> list[str]:
    """The absolute names in quotes."""
    return re.findall(r"""['"](/[^'"]+)['"]""", code)


# ---------------------------------------------------------------------------------------------- the prefix


def _prefixes(executable: str, startup: Startup) -> list[str]:
    """Where the target looks for its library, with what it finds there added to `startup`."""
    names, prefixes = _names(executable), dict[str, None]()
    pending, starts, dynamic = [os.path.abspath(executable), os.path.realpath(executable)], set[str](), False
    startup.files += pending
    while pending:
        start = os.path.dirname(pending.pop())
        if start in starts:
            continue
        starts.add(start)
        if len(starts) > _MOST_STARTS:
            startup.complete = False
            break
        startup.files += [os.path.join(place, "pyvenv.cfg") for place in (start, os.path.dirname(start))]
        homes = _homes(start)
        for home in homes:
            program = os.path.join(home, os.path.basename(executable))
            pending += [program, os.path.realpath(program), os.path.join(home, "bin", "python")]
        if glob.glob(os.path.join(glob.escape(start), "pybuilddir.txt")) or os.path.exists(f"{start}/Modules/Setup"):
            startup.complete = False  # where it was built, it finds its library by other rules
        for steps, prefix in enumerate(_upward(start)):
            if homes and steps > 1:
                break  # from there on it looks where the other one is
            prefixes[prefix] = None
            libraries = [place for place in _below(prefix, names) if _is_library(place)]
            startup.library += [place for place in libraries if place not in startup.library]
            startup.files += _below(prefix, ["python[0-9]*.zip"])
            for place in libraries:
                original = _text(os.path.join(place, "orig-prefix.txt")).strip()
                pending += [os.path.join(original, "bin", "python")] if original.startswith("/") else []
            dynamic = dynamic or any(os.path.isdir(os.path.join(place, "lib-dynload")) for place in libraries)
            if dynamic and libraries and names != ("python*",):
                break
    startup.library += [os.path.join(place, "lib-dynload") for place in startup.library]
    startup.complete = startup.complete and dynamic
    return list(prefixes)


def _names(executable: str) -> tuple[str, ...]:
    """What the directories of this Python's libraries are called, as far as the name of its program tells."""
    match = re.fullmatch(r"python(\d)\.(\d+)[a-z]*(-.*)?", os.path.basename(os.path.realpath(executable)))
    if not match:
        return ("python*",)
    return (f"python{match[1]}.{match[2]}", f"python{match[1]}.{match[2]}[a-z]*", f"python{match[1]}", "python")


def _upward(start: str) -> Iterator[str]:
    yield start
    while start != os.path.dirname(start):
        start = os.path.dirname(start)
        yield start


def _below(prefix: str, names: Iterable[str]) -> list[str]:
    return [
        place
        for library in _LIBRARIES
        for name in names
        for place in glob.glob(os.path.join(glob.escape(prefix), library, name))
    ]


def _is_library(place: str) -> bool:
    return any(os.path.lexists(os.path.join(place, name)) for name in ("os.py", "os.pyc", "os.pyo", "lib-dynload"))


def _sites(prefix: str, names: Iterable[str]) -> list[str]:
    """The site directories below `prefix` that are there, see getsitepackages of Lib/site.py."""
    patterns = [f"{name}/{kind}" for name in names for kind in ("site-packages", "dist-packages")]
    return _below(prefix, [*patterns, "site-python"])


def _homes(start: str) -> list[str]:
    """Where the pyvenv.cfg of `start` says that the library is; virtualenv writes more keys than PEP 405."""
    homes = [value for key, value in _configuration(start).items() if key in _HOMES]
    homes = [value for value in homes if value.startswith("/") and "\0" not in value]
    return [os.path.dirname(value) if os.path.isfile(value) else value for value in homes]


def _configuration(start: str) -> dict[str, str]:
    """What a pyvenv.cfg in `start`, or else above it, says; of a key the last line counts, see venv in Lib/site.py."""
    for place in (start, os.path.dirname(start)):
        file = os.path.join(place, "pyvenv.cfg")
        if os.path.isfile(file):
            lines = [line.partition("=") for line in _text(file).splitlines()]
            return {key.strip().lower(): value.strip() for key, sign, value in lines if sign}
    return {}


def _list_of(variable: str) -> list[str]:
    return [part for part in os.environ.get(variable, "").split(":") if part]


def _text(file: str) -> str:
    return os.fsdecode(files.beginning(file, _MOST_LINES).removeprefix(b"\xef\xbb\xbf"))


# -------------------------------------------------------------------------------------- shared libraries


def _add_shared(startup: Startup, program: str, modules: Iterable[str], prefixes: Iterable[str]) -> None:
    """The shared libraries that are not looked for in the system's own places alone, which are root's; Python's own may
    be in one of its `prefixes`, which ld.so.conf names then."""
    homes = [os.path.join(prefix, library) for prefix in prefixes for library in _LIBRARIES]
    search = _list_of("LD_LIBRARY_PATH")
    pending = [(program, search), *((module, search) for module in modules)]
    visits, pythons = set(), dict[str, list[str]]()  # the same one is needed by most modules
    while pending:
        file, inheritance = pending.pop()
        if file in visits:
            continue
        visits.add(file)
        elf = _needs(file)
        if elf is None or len(visits) > _MOST_LIBRARIES:
            startup.complete = False  # a script, maybe: what that runs is anything
            continue
        libraries, directories = elf
        directories = [*inheritance, *directories]
        for name in libraries:
            places = [os.path.join("/", directory, name) for directory in ([""] if "/" in name else directories)]
            startup.files += places  # one that is missing could be made
            if name.startswith("libpython"):
                if name not in pythons:
                    pythons[name] = [path for home in homes if os.path.isfile(path := os.path.join(home, name))]
                startup.files += pythons[name]
                places += pythons[name]
            pending += [(path, directories) for path in places if path not in visits and os.path.isfile(path)]
    startup.files[:] = dict.fromkeys(startup.files)


def _needs(file: str) -> tuple[list[str], list[str]] | None:
    """What an ELF file says it needs, and where that is to be looked for; None where it is no ELF file."""
    try:
        with open(files.open_regular(file), "rb") as stream:
            head = stream.read(64)
            if head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
                return None
            order, wide = "<>"[head[5] - 1], head[4] == 2
            place, size, count = struct.unpack_from(order + ("32xQ14xHH" if wide else "28xI10xHH"), head)
            stream.seek(place)
            segments = [_segment(stream.read(size), order, wide) for _ in range(min(count, 100))]
            dynamic = next((segment for segment in segments if segment[0] == 2), None)
            if dynamic is None:
                return [], []
            stream.seek(dynamic[1])
            table = stream.read(min(dynamic[3], 1 << 16))
            entries = list(struct.iter_unpack(order + ("QQ" if wide else "II"), table[: len(table) // 16 * 16]))
            address = next(value for tag, value in entries if tag == 5)
            start = next(
                segment[1] + address - segment[2]
                for segment in segments
                if segment[0] == 1 and 0 <= address - segment[2] < segment[3]
            )

            def string(offset: int) -> str:
                stream.seek(start + offset)
                return os.fsdecode(stream.read(4096).partition(b"\0")[0])

            libraries = [string(value) for tag, value in entries if tag == 1]
            paths = [part for tag, value in entries if tag in (15, 29) for part in string(value).split(":")]
    except (OSError, ValueError, struct.error, StopIteration):
        return None
    directory = os.path.dirname(file)
    return libraries, [re.sub(r"\$(ORIGIN\b|\{ORIGIN\})", lambda _: directory, path) for path in paths if path]


def _segment(row: bytes, order: str, wide: bool) -> tuple[int, int, int, int]:
    """Of a program header: its type, where in the file it is, at what address, and how long."""
    if wide:
        kind, offset, address, size = struct.unpack_from(order + "I4xQQ8xQ", row)
    else:
        kind, offset, address, size = struct.unpack_from(order + "IIIxxxxI", row)
    return kind, offset, address, size
