"""The files that a server runs an application by, or is configured by: read as text, never run.

For gunicorn and uWSGI the rules are those of gunicorn's app/base.py and config.py, 19 to 23, and of uWSGI's
core/config.py and core/ini.c: of what is told twice, gunicorn's command line counts, and after it GUNICORN_CMD_ARGS.
What only running would tell is left out.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from eggcache.servers import script_settings, trac_front_ends
from eggcache.servers.script_settings import Setting
from eggcache.system import files

_LARGEST = 1 << 20  # bytes of a file, and of all ini files that name each other
_MOST = 100  # settings of one script, the last of which counts
_NAME = r"[bBrRuU]{0,2}['\"]PYTHON_EGG_CACHE['\"]"
_READS = re.compile(rf"^[^#\n]*{_NAME}", re.MULTILINE)
# os.environ["PYTHON_EGG_CACHE"], os.environ.get("PYTHON_EGG_CACHE"), os.getenv("PYTHON_EGG_CACHE"): of the process
_OWN = re.compile(rf"\bos\s*\.\s*(?:environ\s*(?:\[|\.\s*\w+\s*\()|getenv\s*\(|putenv\s*\()\s*{_NAME}")
_MOST_FILES = 30  # of these, and that a server is told of
_MOST_PATHS = 100
_GUNICORN = re.compile(r"gunicorn[0-9.]*(?:-[0-9.]+)?|gunicorn\.app\.wsgiapp")  # its script, or what -m names
_USUAL = "gunicorn.conf.py"
_SHORT = {"-c": "--config", "-e": "--env"}  # gunicorn's
_PLAIN = {  # options of gunicorn's that take no value
    "--capture-output", "--casefold-http-method", "--check-config", "--daemon", "--disable-redirect-access-to-syslog",
    "--do-handshake-on-connect", "--enable-stdio-inheritance", "--help", "--initgroups", "--log-syslog",
    "--no-sendfile", "--permit-obsolete-folding", "--permit-unconventional-http-method",
    "--permit-unconventional-http-version", "--preload", "--print-config", "--proxy-protocol", "--reload",
    "--reuse-port", "--spew", "--strip-header-spaces", "--suppress-ragged-eofs", "--version", "-D", "-R", "-h", "-v",
}  # fmt: skip
_UWSGI = {  # options of uWSGI's, by what they tell
    "wsgi-file": "file", "file": "file", "module": "module", "wsgi": "module", "w": "module", "env": "env",
    "unenv": "unenv", "pythonpath": "path", "python-path": "path", "pp": "path", "home": "home", "virtualenv": "home",
    "venv": "home", "pyhome": "home", "H": "home", "chdir": "chdir", "ini": "ini", "chdir2": "chdir",
    "emperor": "emperor",
}  # fmt: skip
_UNREAD = {  # options of uWSGI's that name a configuration of another form, or of any
    "xml", "xmlconfig", "x", "yaml", "yml", "y", "json", "js", "j", "sqlite3", "sqlite", "ldap", "config", "include",
    "inherit",
}  # fmt: skip
_UNREAD_FILE = re.compile(r"[^:]+\.(?:xml|ya?ml|json|js|sqlite3?|lua|pl|py|rb)")  # by its name alone


@dataclass(frozen=True)
class Script:
    """A script that a server runs, and what it sets."""

    file: str
    settings: tuple[Setting, ...]
    parsed: bool  # False: it was read by line
    asks: bool  # whether it reads PYTHON_EGG_CACHE from the WSGI environment
    tracs: bool  # whether it is Trac's


def read(file: str) -> Script:
    """The script `file`; a script that cannot be read sets nothing."""
    if file.endswith(".ini"):
        return Script(file, tuple(uwsgi_settings(file)[-_MOST:]), True, False, False)
    text = files.beginning(file, _LARGEST).decode("utf-8", "replace")
    settings, parsed = script_settings.settings(file, text)
    asks = bool(_READS.search(_OWN.sub("", text)))
    return Script(file, tuple(settings[-_MOST:]), parsed, asks, trac_front_ends.wrote(text))


@dataclass
class Arguments:
    """What a server is told; paths are absolute."""

    variables: dict[str, str | None] = field(default_factory=dict)  # by its command line; None: taken away
    files: list[str] = field(default_factory=list)  # its configuration, then the application's own file
    paths: list[str] = field(default_factory=list)  # what it puts on sys.path
    home: str | None = None  # the virtual environment that uWSGI is to use
    complete: bool = True  # False: it has a configuration that is not seen here, and may set what is not seen either
    emperor: bool = False  # whether it is a uWSGI that starts others, by the files in a directory


def gunicorn(words: Sequence[str], directories: Sequence[str], environment: Mapping[str, str]) -> Arguments | None:
    """What the gunicorn of this command line is told; None where it is none. `directories` are those that it may have
    been started in, and then works in; `environment` is what it was started with."""
    title = re.match(r"gunicorn: \w+ \[(.+?)\]", words[0])  # with setproctitle nothing else is left
    number = next((n for n, word in enumerate(words[:6]) if _GUNICORN.fullmatch(word.rpartition("/")[2])), None)
    if number is None and not title:
        return None
    values, names = ({}, [title[1]]) if title else _options(words[(number or 0) + 1 :])
    with suppress(ValueError):
        more, _ = _options(shlex.split(environment.get("GUNICORN_CMD_ARGS", "")))
        values = {**more, **values}
    arguments = Arguments()
    for pair in values.get("--env", ()):
        name, _, value = pair.partition("=")
        arguments.variables[name] = value
    named, settings = _last(values, "--config"), dict[str, str]()
    file = _found((named or _USUAL).removeprefix("file:"), directories)
    arguments.complete = not title and bool(file or not named)
    if file:
        arguments.files.append(file)
        settings = script_settings.constants(file, files.beginning(file, _LARGEST).decode("utf-8", "replace"))
    work = os.path.join(directories[-1], _last(values, "--chdir") or settings.get("chdir", ""))
    python_path = _last(values, "--pythonpath") or settings.get("pythonpath", "")
    arguments.paths = [os.path.normpath(os.path.join(work, path)) for path in ("", *_first(python_path.split(",")))]
    _application(arguments, (names[0] if names else settings.get("wsgi_app", "")).partition(":")[0])
    return arguments


def uwsgi(words: Sequence[str], directories: Sequence[str]) -> Arguments:
    """What the uWSGI of this command line is told; the other arguments as those of `gunicorn`."""
    lines, rest, seen = list[tuple[str, str]](), iter(words[1:]), len(words) > 1  # without any: a title (auto-procname)
    for word in rest:
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name in _UWSGI:
            lines.append((_UWSGI[name], value if equals else next(rest, "")))
        elif not word.startswith("-") and word.partition(":")[0].endswith(".ini"):
            lines.append(("ini", word))
        elif name in _UNREAD if word.startswith("-") else _UNREAD_FILE.fullmatch(word):
            seen = False
    arguments, inis = Arguments(), _Inis()
    for name, value in lines:
        if name in ("env", "unenv"):
            variable, _, text = value.partition("=")
            arguments.variables[variable] = text if name == "env" else None
    for value in [value for name, value in lines if name == "ini"][:_MOST_FILES]:
        name, _, section = value.partition(":")
        place = _found(name, directories)
        if place:
            arguments.files.append(place)
            pairs = [(key, text) for key, text, certain, _ in inis.read(place, section or "uwsgi") if certain]
            lines += [(_UWSGI[key], text) for key, text in pairs if key in _UWSGI and key != "ini"]
        seen = seen and bool(place)
    arguments.complete, arguments.emperor = seen and inis.complete, any(name == "emperor" for name, _ in lines)
    work = os.path.join(directories[-1], _last_value(lines, "chdir") or "")
    arguments.paths = [
        os.path.normpath(os.path.join(work, path)) for path in ("", *_first(v for n, v in lines if n == "path"))
    ]
    home, file, module = (_last_value(lines, name) for name in ("home", "file", "module"))
    arguments.home = os.path.join(work, home) if home else None
    if file:
        arguments.files.append(os.path.join(work, file))
    else:
        _application(arguments, (module or "").partition(":")[0])
    return arguments


def uwsgi_settings(file: str) -> list[Setting]:
    """The variables that the section [uwsgi] of an ini file sets, as the settings of a script."""
    settings = []
    for key, text, certain, line in _Inis().read(file, "uwsgi"):
        name, _, value = text.partition("=")
        if key == "env" and name in script_settings.NAMES:
            settings.append(Setting(name, value if certain else None, line))
        elif key == "unenv" and text == "TZ":
            settings.append(Setting(text, None, line))
    return settings


def _options(words: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The options of gunicorn's with their values, and what is no option."""
    values, names, rest = dict[str, list[str]](), list[str](), iter(words)
    for word in rest:
        if not word.startswith("-"):
            names.append(word)
            continue
        long = word.startswith("--")
        name, value = (word.partition("=")[0], word.partition("=")[2]) if long else (word[:2], word[2:])
        if not value and "=" not in word and name not in _PLAIN:
            value = next(rest, "")
        values.setdefault(_SHORT.get(name, name), []).append(value)
    return values, names


def _last(values: Mapping[str, Sequence[str]], name: str) -> str:
    return values[name][-1] if name in values else ""


def _first(paths: Iterable[str]) -> Iterator[str]:
    return islice(filter(None, paths), _MOST_PATHS)


def _last_value(lines: Sequence[tuple[str, str]], name: str) -> str | None:
    return next((value for key, value in reversed(lines) if key == name), None)


def _found(name: str, directories: Sequence[str]) -> str | None:
    places = (os.path.normpath(os.path.join(directory, name)) for directory in directories)
    return next((place for place in places if os.path.isfile(place)), None)


def _application(arguments: Arguments, module: str) -> None:
    """Add the file of the application's module, where it is in a directory that the server puts on the path."""
    if re.fullmatch(r"[A-Za-z_][\w.]*", module):
        below = module.replace(".", "/")
        file = _found(f"{below}.py", arguments.paths) or _found(f"{below}/__init__.py", arguments.paths)
        arguments.files += [file] if file else []


class _Inis:
    """Reads ini files that name each other, each section of a file once: anybody's may name itself many times."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()
        self.left = _LARGEST
        self.complete = True  # whether each file that they name is an ini file, and was read

    def read(self, file: str, section: str) -> Iterator[tuple[str, str, bool, int]]:
        """The keys and values of a section, whether a value is known, which one with a variable of uWSGI's is not, and
        the lines."""
        place = os.path.realpath(file), section
        if place in self.seen or len(self.seen) == _MOST_FILES:
            return
        self.seen.add(place)
        data, current = files.beginning(file, self.left), ""
        self.left -= len(data)
        places = {"d": os.path.dirname(file) + "/", "p": file, "s": os.path.basename(file), "%": "%"}
        places["n"] = places["s"].rpartition(".")[0]
        for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
            text = line.strip()
            if text.startswith("["):
                current = text[1:].partition("]")[0]
            elif current == section and text[:1] not in ("", ";", "#"):
                key, _, value = (part.strip() for part in text.partition("="))
                certain = script_settings.possible(value) is not None and not re.search(r"[%$@]\(", value)
                plain = re.sub(r"%([%dnps])", lambda match: places[match[1]], value) if certain else value
                certain = certain and script_settings.possible(plain) is not None
                yield key, plain, certain, number
                if key == "ini" and certain:
                    more, _, inner = plain.partition(":")
                    another = os.path.join(os.path.dirname(file), more)
                    self.complete = self.complete and os.path.isfile(another)
                    yield from self.read(another, inner or "uwsgi")
                elif key == "ini" or key in _UNREAD:
                    self.complete = False
