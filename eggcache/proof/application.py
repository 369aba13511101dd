"""A TurboGears 1.x application's configuration: ConfigObj reads it, and findings say what the manual objects to.

The target's own ConfigObj reads it, by the rules of turbogears.config; where the target has none, that of eggcache's
own environment does. The file belongs to the person who deploys the application, and is opened with the runtime user's
rights. It holds the database's password: no message shows any of it except the paths of log files.
"""

from __future__ import annotations

import ast
import os
import re
import stat
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from eggcache.eggs.decompression import label
from eggcache.errors import EggcacheError, NotPermitted, UsageError
from eggcache.model import Finding
from eggcache.proof import turbogears_settings
from eggcache.proof.turbogears_settings import Section
from eggcache.system import accounts
from eggcache.system.accounts import Account
from eggcache.target import script_run, search_path
from eggcache.target.interpreter import Target
from eggcache.target.launch import Launch

_LARGEST = 1 << 20  # bytes of a configuration; real ones have five thousand
_LONGEST = 4096  # characters of a handler's arguments
_REFERENCES = 12  # %(name)s in a configuration that is read in this process: by each, a value can grow many times

# What turbogears.config puts into the section DEFAULT: Apache's working directory, and two directories of a package
# that is not known here. No path and no literal has a NUL, so that whatever is put together with it is none
_DEFAULTS = {"current_dir_uri": "/", "top_level_dir": "\0", "package_dir": "\0"}


class Unreadable(ValueError):
    """ConfigObj refuses the configuration: which ConfigObj, and why, without any of the text."""


class Application(NamedTuple):
    """An application that a server runs, or will run."""

    config: str | None = None  #: the file of its configuration, where it is a TurboGears application with one
    location: str | None = None  #: the path under which it is served; None: not known
    #: the scripts that a server runs it by, such as .wsgi files; (): as that server has them
    scripts: tuple[str, ...] = ()
    server: str | None = None  #: "apache", "gunicorn", "uwsgi", "supervisord" or "none"; None: found by looking
    apachectl: str | None = None  #: the program that is asked what Apache's configuration is; None: this host's
    pid_file: str | None = None  #: the file that has the number of the Apache that is meant; None: whatever Apaches run


UNKNOWN = Application()


def findings(application: Application, target: Target) -> tuple[Finding, ...]:
    """The faults in the deployment configuration of the `application`.

    The target reads it, and its log files are tried, with the rights of the target's account as root, and with our own
    otherwise. A file that nobody here can read is a notice (status 0). Raises UsageError where there is no such regular
    file, and NotPermitted where the account cannot run the target.
    """
    if application.config is None:
        return ()
    path = os.path.abspath(application.config)
    try:
        os.stat(path)
    except PermissionError:
        pass  # then the account cannot read it either
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _no_configuration(application.config, str(getattr(error, "strerror", None) or error)) from None
    try:
        with accounts.reading(path, target.account) as descriptor:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise _no_configuration(application.config, "it is no regular file")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(_LARGEST + 1)
    except NotPermitted as error:
        return (Finding("app-config-unreadable", path, error.cause, error.remedy),)
    faults = list(_exposed(path, info))
    try:
        config = parse(data, target)
    except Unreadable as error:
        return (*faults, Finding("app-config-invalid", path, str(error), "correct that line"))
    if config is None:
        cause = f"neither {target.python} nor eggcache's own Python has a ConfigObj: nothing in it was checked"
        remedy = "name TurboGears' Python with --python, or install configobj for eggcache"
        return (*faults, Finding("app-config-unread", path, cause, remedy, 0))
    faults += turbogears_settings.findings(path, config, application.location)
    faults += _log_files(path, config, target.account)
    return tuple(faults)


def _no_configuration(app_config: str, cause: str) -> UsageError:
    return UsageError(f"--app-config {app_config}", cause, "name the application's configuration")


def parse(data: bytes, target: Target) -> Section | None:
    """A configuration as nested dicts, by the rules of turbogears.config: from the ConfigObj of the `target`, which its
    account runs, else from that of our own Python. None where neither has one. Raises Unreadable."""
    if len(data) > _LARGEST:
        raise Unreadable(f"TurboGears cannot read it: it has more than {_LARGEST >> 20} MiB")
    paths = search_path.entries(map(os.path.abspath, target.paths))
    request = {"data": os.fsdecode(data), "defaults": _DEFAULTS, "paths": paths}
    try:
        answer = script_run.run(Launch(target, "turbogears_config.py", request))
    except NotPermitted:
        raise
    except EggcacheError as error:  # the same target has just answered for the tree: it is the file
        raise Unreadable(f"TurboGears cannot read it: {target.python} {error.cause}") from None
    if answer == {}:
        return _read_here(data)
    config, words = (answer.get("config"), answer.get("refused")) if isinstance(answer, dict) else (None, None)
    if not isinstance(config, dict):
        raise Unreadable(f"TurboGears cannot read it: {label(str(words)).rstrip('.')}")
    return config


def _read_here(data: bytes) -> Section | None:
    """The configuration as our own ConfigObj has it; None where there is none. Raises Unreadable."""
    try:
        from configobj import ConfigObj
    except ImportError:
        return None
    if data.count(b"%(") > _REFERENCES:
        raise Unreadable(f"only TurboGears' own ConfigObj is let read more than {_REFERENCES} %(name)s, see --python")
    # Python 2 takes bytes that are not UTF-8, as of a comment; and it knows fewer ends of lines than str.splitlines()
    lines = re.split(r"\r\n|\r|\n", data.decode("utf-8-sig", "backslashreplace"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of '\d', which is what it looks like
            config = ConfigObj(lines, unrepr=True)
            config.merge({"DEFAULT": _DEFAULTS})
            return dict(config.dict())
    except Exception as error:  # a SyntaxError of its own, and what Python says of values that do not go together
        words = str(error).replace(repr(getattr(error, "line", "")), "...")  # that line may hold the password
        raise Unreadable(f"ConfigObj cannot read it: {label(' '.join(words.split())).rstrip('.')}") from None


def _exposed(path: str, info: os.stat_result) -> Iterator[Finding]:
    """Whether everybody can read the file: by its mode, and by those of all directories above it."""
    where, open_to_all = os.path.realpath(path), info.st_mode & stat.S_IROTH
    while open_to_all and where != os.path.dirname(where):
        where = os.path.dirname(where)
        open_to_all = _mode(where) & stat.S_IXOTH
    if not open_to_all:
        return
    cause = f"every user of this host can read it (mode {stat.S_IMODE(info.st_mode):04o}), and the database's password"
    yield Finding("app-config-exposed", path, cause, "give it the group that Apache runs as, and then chmod o= it")


def _log_files(path: str, config: Section, account: Account) -> Iterator[Finding]:
    """turbogears.config makes every handler, used or not, with its `args`: an error there ends the application."""
    logging = turbogears_settings.section(config, "logging")
    for name, handler in turbogears_settings.section(logging, "handlers").items():
        if not isinstance(handler, dict):
            continue
        kind = str(handler.get("class", "")).rpartition(".")[2]
        if not kind.endswith("FileHandler"):
            continue
        file = _first_argument(handler.get("args"))
        if file is None:
            cause = f"the file of this {kind} cannot be told from its args"
            remedy = "write its whole path there: args = \"('/var/log/…',)\""
            yield Finding("log-file-unknown", f"{path} [[[{label(name)}]]]", cause, remedy)
            continue
        log = os.path.join("/", file)  # Apache's working directory
        with accounts.acting(account):
            problem = _unwritable(log, renames=kind not in ("FileHandler", "WatchedFileHandler"))
        if problem is not None:
            relative = "" if file.startswith("/") else "it is relative, to Apache's working directory /; "
            cause = f"{relative}{account.words} cannot write it: {_whose(problem)}"
            remedy = f"make it {account.name}'s, in a directory that is there and holds nothing but logs"
            yield Finding("log-file-unwritable", label(log), cause, remedy)


def _first_argument(args: object) -> str | None:
    """The file of a handler: `args` is a tuple in a string. None where it is no plain path."""
    if not isinstance(args, str) or len(args) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(args.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    first = value[0] if isinstance(value, tuple) and value else None
    return first if isinstance(first, str) and first and "\0" not in first else None


def _unwritable(log: str, *, renames: bool) -> str | None:
    """Why we cannot write the file or make it; None where we can. Rotating is renaming."""
    file = os.path.realpath(log)
    directory = os.path.dirname(file)
    where = "/"
    for part in directory.split("/")[1:]:
        where = os.path.join(where, part)
        if not accounts.may(where, os.X_OK):  # or it is not there
            return where
    there = os.path.lexists(file)
    if there and (os.path.isdir(file) or not accounts.may(file, os.W_OK)):
        return file
    if (renames or not there) and not accounts.may(directory, os.W_OK):
        return directory
    return None


def _whose(path: str) -> str:
    try:
        info = os.stat(path)
    except OSError as error:
        return f"{label(path)}: {error.strerror}"
    kind = "the directory " if stat.S_ISDIR(info.st_mode) else ""
    return f"{kind}{label(path)} is {accounts.user_name(info.st_uid)}'s, mode {stat.S_IMODE(info.st_mode):04o}"


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0
