"""A TurboGears 1.x application's configuration: read it strictly, and say what the manual's deployment objects to.

The format is what ConfigObj 4 reads with `unrepr=True`, as turbogears.config does: sections that nest by the number
of their brackets, and Python literals as values. Nothing is ever evaluated. The file belongs to whoever deploys the
application and is read with the runtime user's rights; it holds the database's password, so that no message shows
any of it but the paths of log files.
"""

from __future__ import annotations

import ast
import os
import re
import stat
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from eggcache import accounts
from eggcache.accounts import Account
from eggcache.errors import NotPermitted, UsageError
from eggcache.model import Finding

_LARGEST = 1 << 20  # bytes of a configuration; real ones have five thousand
_LONGEST = 4096  # characters of one line
_DEEPEST = 20  # brackets, of a section or in a value
_TOKEN = re.compile(
    r"""[ \t]*(?:
    (?P<string>[uUrRbB]{0,2}(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
    | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+)[lLjJ]?)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<open>[\[({]) | (?P<close>[\])}]) | [,:]
    | (?P<comment>\#.*)
    )[ \t]*""",
    re.VERBOSE,
)


class Opaque:
    """A literal that is Python 2's and not ours, or whose bytes are not UTF-8: it is there, and no more is known."""


OPAQUE = Opaque()
Section = dict[str, Any]  # a value, or a section inside it


class Unreadable(ValueError):
    """A line that ConfigObj would refuse too, or that we do not understand: "line 3: …", never its text."""


def findings(app_config: str, *, account: Account, location: str | None = None) -> tuple[Finding, ...]:
    """What the configuration at `app_config` lacks for a deployment under `location` (None: not known, or "/").

    It is read, and its log files are tried, with the rights of `account` where we are root, and with our own
    otherwise. Raises UsageError where there is no such file, or it is not a regular one.
    """
    path = os.path.abspath(app_config)
    try:
        os.stat(path)
    except PermissionError:
        pass  # then the account cannot read it either
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _no_configuration(app_config, str(getattr(error, "strerror", None) or error)) from None
    try:
        with accounts.reading(path, account) as descriptor:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise _no_configuration(app_config, "it is no regular file")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(_LARGEST + 1)
    except NotPermitted as error:
        return (Finding("app-config-unreadable", path, error.cause, error.remedy),)
    found = list(_exposed(path, info))
    try:
        config = parse(data)
    except Unreadable as error:
        invalid = Finding("app-config-invalid", path, f"TurboGears cannot read it: {error}", "write it anew")
        return (*found, invalid)
    found += _settings(path, config, location)
    found += _log_files(path, config, account)
    return tuple(found)


def _no_configuration(app_config: str, cause: str) -> UsageError:
    return UsageError(f"--app-config {app_config}", cause, "name the application's configuration")


def parse(data: bytes) -> Section:
    """A configuration as nested dicts. Raises Unreadable, with the number of the line."""
    if len(data) > _LARGEST:
        raise Unreadable(f"it has more than {_LARGEST >> 20} MiB")
    root: Section = {}
    around = [root]  # the sections that a line is in, outermost first
    # Not splitlines(), which knows more ends of lines than Python 2 does for bytes
    lines = iter(enumerate(re.split(r"\r\n|\r|\n", data.decode("utf-8-sig", "surrogateescape")), 1))
    for number, raw in lines:
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        try:
            if len(line) > _LONGEST:
                raise Unreadable(f"is longer than {_LONGEST} characters")
            if line.startswith("["):
                name, depth = _heading(line)
                if depth > len(around):
                    raise Unreadable("opens a section inside one that is not there")
                del around[depth:]
                here = around[-1]
                around.append({})
                value: Any = around[-1]
            else:
                name, text = _assignment(line)
                here, value = around[-1], literal(_multiline(text, lines) if text[:3] in ('"""', "'''") else text)
            if name in here:
                raise Unreadable("gives a name a second time")
            here[name] = value
        except Unreadable as error:
            raise Unreadable(f"line {number} {error}") from None
    return root


def literal(text: str) -> Any:
    """The value of a Python literal with a comment after it, "" for nothing. Raises Unreadable.

    Its tokens are looked at first: ast.literal_eval can be brought down by depth and by chains of signs.
    """
    position, depth = 0, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or (match["name"] and match["name"] not in ("True", "False", "None")):
            raise Unreadable("has a value that is no literal")
        depth += bool(match["open"]) - bool(match["close"])
        if not 0 <= depth <= _DEEPEST:
            raise Unreadable("has a value whose brackets make no sense")
        position = match.end()
    if not text:
        return ""
    if depth:
        raise Unreadable("has a value whose brackets make no sense")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of '\d', which is what it looks like
            return ast.literal_eval(text)
    except UnicodeError:
        return OPAQUE
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        # 0644, 10L and ur'' are Python 2's: without their strings they look like this
        bare = re.sub(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""", "''", text)
        if re.search(r"\b0[0-7]+\b|[0-9][lL]\b|[uU][rR]''", bare):
            return OPAQUE
        raise Unreadable("has a value that is no literal") from None


def _heading(line: str) -> tuple[str, int]:
    """The name of a section, and how deep it is."""
    match = re.match(r"[\[ \t]+", line)
    opened = match[0] if match else ""
    rest = line[len(opened) :]
    if rest[:1] in ("'", '"'):
        name, _, tail = rest[1:].partition(rest[0])
    else:
        name, bracket, tail = rest.partition("]")
        name, tail = name.strip(), bracket + tail
    closed = tail.partition("#")[0]
    depth = opened.count("[")
    if not name.strip() or closed.strip("] \t") or closed.count("]") != depth or depth > _DEEPEST:
        raise Unreadable("is no heading of a section")
    return name, depth


def _assignment(line: str) -> tuple[str, str]:
    """The name and the text of the value of a `name = value`; the name may be quoted."""
    if line[0] in ("'", '"'):
        name, _, rest = line[1:].partition(line[0])
        rest = rest.lstrip()
        found, text = rest[:1], rest[1:]
    else:
        name, found, text = line.partition("=")
        name = name.strip()
    if found != "=" or not name:
        raise Unreadable("is neither a heading nor a setting")
    return name, text.strip()


def _multiline(text: str, lines: Iterator[tuple[int, str]]) -> str:
    """What stands between triple quotes, over any number of lines. ConfigObj takes that for a literal in its turn."""
    quote, text = text[:3], text[3:]
    while quote not in text:
        following = next(lines, None)
        if following is None or len(text) > _LONGEST:
            raise Unreadable("opens quotes that are not closed")
        text += "\n" + following[1]
    value, _, rest = text.partition(quote)
    if rest.strip() and not rest.strip().startswith("#"):
        raise Unreadable("has something after its closing quotes")
    return " ".join(value.split("\n")).strip()


def _exposed(path: str, info: os.stat_result) -> Iterator[Finding]:
    """Whether everybody can read the file: by its own mode, and by those of all directories on the way."""
    where, open_to_all = os.path.realpath(path), info.st_mode & stat.S_IROTH
    while open_to_all and where != "/":
        where = os.path.dirname(where)
        open_to_all = _mode(where) & stat.S_IXOTH
    if not open_to_all:
        return
    yield Finding(
        "app-config-exposed",
        path,
        f"every user of this host can read it (mode {stat.S_IMODE(info.st_mode):04o}), and the database's password",
        "give it the group that Apache runs as, and then chmod o= it",
    )


def _settings(path: str, config: Section, location: str | None) -> Iterator[Finding]:
    """CherryPy 2's rules: a setting outside of all sections is global, and production has no autoreload of itself."""
    settings = {name: value for name, value in config.items() if not isinstance(value, dict)}
    settings.update(_section(config, "global"))
    environment = settings.get("server.environment")
    if environment != "production":
        cause = "is not set, which means development" if environment is None else "is not production"
        cause = f"server.environment {cause}: errors are shown to visitors"
        yield Finding("not-production", path, cause, 'set server.environment = "production" in [global]')
    # Absent, it is what the environment says; cherrypy.config.environments has it on for development alone
    if settings.get("autoreload.on", environment in (None, "development")):
        cause = "is on" if "autoreload.on" in settings else "is not set, which means on unless in production"
        cause = f"autoreload.on {cause}: the application restarts itself, and Apache's process with it"
        yield Finding("autoreload-on", path, cause, "set autoreload.on = False in [global]")
    if (location or "/").strip("/"):
        # The section of the root counts before [global], and the older spelling before the newer: cherrypy.config.get
        given = [
            section[name]
            for section in (_section(config, "/"), settings)
            for name in ("baseUrlFilter.on", "base_url_filter.on")
            if name in section
        ]
        if not given or not given[0]:
            yield Finding(
                "base-url-filter-off",
                path,
                f"base_url_filter.on is {'not set' if not given else 'off'}, and the application is at {location}: "
                "it redirects and links to the wrong place",
                "set base_url_filter.on = True in [global]",
            )


def _log_files(path: str, config: Section, account: Account) -> Iterator[Finding]:
    """turbogears.config makes every handler, used or not, with its `args`: an error there ends the application."""
    logging = _section(config, "logging")
    for name, handler in _section(logging, "handlers").items():
        if not isinstance(handler, dict):
            continue
        kind = str(handler.get("class", "")).rpartition(".")[2]
        if not kind.endswith("FileHandler"):
            continue
        chain = (handler, _section(logging, "handlers"), logging, config)
        file = _first_argument(handler.get("args"), chain)
        if file is None:
            yield Finding(
                "log-file-unknown",
                f"{path} [[[{_shown(name)}]]]",
                f"the file of this {kind} cannot be told from its args",
                "write its whole path there: args = \"('/var/log/…',)\"",
            )
            continue
        log = os.path.join("/", file)  # Apache's working directory
        with accounts.acting(account):
            problem = _unwritable(log, renames=kind not in ("FileHandler", "WatchedFileHandler"))
        if problem is not None:
            relative = "" if file.startswith("/") else "it is relative, to Apache's working directory /; "
            yield Finding(
                "log-file-unwritable",
                _shown(log),
                f"{relative}{account.name} cannot write it: {_whose(problem)}",
                f"make it {account.name}'s, in a directory that is there and holds nothing but logs",
            )


def _first_argument(args: object, chain: tuple[Mapping[str, Any], ...]) -> str | None:
    """The file that a handler is made with: `args` is a tuple in a string. None where that is no plain path."""
    if not isinstance(args, str):
        return None
    for name in re.findall(r"%\(([^)]*)\)s", args)[:10]:
        # ConfigObj looks in the section, its DEFAULT, and then further out; TurboGears adds current_dir_uri
        places = [where for section in chain for where in (section, _section(section, "DEFAULT"))]
        value = next((where[name] for where in places if name in where), "/" if name == "current_dir_uri" else None)
        if not isinstance(value, str) or "%(" in value or len(args) > _LONGEST:
            return None
        args = args.replace(f"%({name})s", value)
    try:
        value = literal(args.strip())
    except Unreadable:
        return None
    first = value[0] if isinstance(value, tuple) and value else None
    return first if isinstance(first, str) and first and "\0" not in first and "%(" not in first else None


def _unwritable(log: str, *, renames: bool) -> str | None:
    """What keeps us from writing the file, or from making it; None where nothing does. Rotating is renaming."""
    file = os.path.realpath(log)
    directory = os.path.dirname(file)
    where = "/"
    for part in directory.split("/")[1:]:
        where = os.path.join(where, part)
        if not os.access(where, os.X_OK, effective_ids=True):  # or it is not there
            return where
    there = os.path.lexists(file)
    if there and (os.path.isdir(file) or not os.access(file, os.W_OK, effective_ids=True)):
        return file
    if (renames or not there) and not os.access(directory, os.W_OK, effective_ids=True):
        return directory
    return None


def _whose(path: str) -> str:
    try:
        info = os.stat(path)
    except OSError as error:
        return f"{_shown(path)}: {error.strerror}"
    kind = "the directory " if stat.S_ISDIR(info.st_mode) else ""
    return f"{kind}{_shown(path)} is {accounts.user_name(info.st_uid)}'s, mode {stat.S_IMODE(info.st_mode):04o}"


def _section(config: Mapping[str, Any], name: str) -> Section:
    value = config.get(name)
    return value if isinstance(value, dict) else {}


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


def _shown(text: str) -> str:
    """A name of the file's own, fit for one line of a message."""
    return "".join(char if char.isprintable() else "?" for char in text)[:300]
