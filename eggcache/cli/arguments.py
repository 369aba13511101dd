"""The values that follow from options of several commands: the target, who reads the cache, the zone, limits."""

from __future__ import annotations

import os

from eggcache.cache import freshness
from eggcache.cli import console
from eggcache.errors import NotPermitted, UsageError
from eggcache.system import accounts
from eggcache.target import interpreter
from eggcache.target.interpreter import Roots, Target

TYPE_CHECKING = False  # as in freshness: a run with nothing to do pays for every import
if TYPE_CHECKING:
    import argparse

    from eggcache.model import Run
    from eggcache.progress import Progress

_HIGHEST = {"entries": 65_535, "member": 0x7FFFFFFF, "total": 1 << 62, "ratio": 1 << 62}  # that mean anything


def roots(options: argparse.Namespace) -> Roots:
    """The roots of the tree that the command line means.

    :raises UsageError: REQ, `--all` and `--strict-tree` contradict each other
    """
    if options.all and options.requirements:
        cause = f"it means every distribution, so {options.requirements[0]} says too much"
        raise UsageError("--all", cause, "drop one")
    if options.strict_tree and not options.requirements:
        raise UsageError("--strict-tree", "it is about the tree of a REQ, and there is none", "name your application")
    return Roots(options.requirements, options.all or options.strict_tree)


def is_path(word: str) -> bool:
    """Whether a REQ is none but the name of a file or directory; `NAME @ URL` is one, see PEP 508."""
    return "/" in word and "@" not in word


def paths(options: argparse.Namespace) -> tuple[str, ...]:
    """What is put on the path of the target, as absolute paths, in the order of the command line."""
    return tuple(os.path.abspath(path) for path in options.path)


def python(options: argparse.Namespace) -> str:
    """The target's interpreter: what `--python` names, else what runs the first script of `--path-from`, else what the
    environment names; where none of these does, the Python that runs eggcache, as far as `unnamed_target` allows.

    :raises UsageError: there is no such program, or nobody has named one; or a REQ is a path
    """
    for word in filter(is_path, options.requirements):
        from eggcache.cli import next_command

        remedy = next_command.for_path(options, word)
        raise UsageError(word, "it is a path, and a REQ is the NAME of a distribution", remedy)
    path = options.python
    if path is None and options.path_from:
        from eggcache.target import buildout

        path = buildout.interpreter(options.path_from[0])
    if path is None and not interpreter.environment_names_one():
        from eggcache.cli import unnamed_target

        return unnamed_target.find(options)
    return interpreter.find(path)


def server_target(options: argparse.Namespace) -> tuple[Target, list[str]]:
    """The target as a server runs it.

    :returns: the target, and notes on the account that the server is taken to run as
    :raises UsageError: a user, a group or a time zone does not exist
    :raises NotPermitted: only root may act for that user or group
    """
    account, group, notes = runtime(options)
    zone = timezone(options)
    return Target(python(options), paths(options), account, group, zone), notes


def owner_target(options: argparse.Namespace) -> Target:
    """The target as the account that decides what it runs: see `code_owners.runner`."""
    from eggcache.target import code_owners

    executable = python(options)
    return Target(executable, paths(options), code_owners.runner(executable, paths(options)))


def run(options: argparse.Namespace, watcher: Progress) -> Run:
    """How a command that writes does its work.

    :param watcher: what shows its progress
    :raises UsageError: a `--limit` makes no sense
    """
    from eggcache.model import Limits, Run

    return Run(Limits(**limits(options)), options.wait, options.dry_run, options.allow_gap, watcher)


def _is_missing(path: str) -> bool:
    """Whether nothing has that name; not so where a killed unzip-all has put an egg aside, which the next one puts
    back."""
    if os.path.exists(path):
        return False
    try:
        return not freshness.leftovers(os.path.dirname(path))
    except OSError:
        return True


def doubt(options: argparse.Namespace) -> None:
    """Warn of what the options name and this host does not have.

    A wrapper may name what is yet to come, and a server starts without it as it did before: there it is a warning.

    :raises UsageError: a `--path` that is looked into now is not there; or what an option names is there, and is none
        of the things that the option is for
    """
    for path in options.path:
        if not (options.command == "wrapper" or getattr(options, "lenient", False)) and _is_missing(path):
            raise UsageError(f"--path {path}", "there is nothing of that name", "name what Apache has on its path")
    values = {"--path": options.path, "--apachectl": [getattr(options, "apachectl", None)]}
    for name, paths in values.items():
        for path in paths:
            if path and not os.path.exists(path):
                console.warn(f"{name} {path}: there is nothing of that name", options)
    if (options.path_from or options.trac_env) and not getattr(options, "lenient", False):
        from eggcache.target import buildout, search_path

        for path in options.path_from or ():
            if os.path.exists(path) and not search_path.is_script(path):
                cause = "it has no list of eggs, as scripts have that buildout generates"
                raise UsageError(f"--path-from {path}", cause, f"name one, {buildout.SUCH_AS}")
        for path in options.trac_env or ():
            if os.path.exists(path) and not search_path.is_trac(path):
                cause = "it is no Trac environment, which has a file VERSION that says so"
                raise UsageError(f"--trac-env {path}", cause, "name the directory that has conf/trac.ini")
    if options.path:
        from eggcache.target import search_path

        for path in options.path:
            try:
                search_path.check(os.path.abspath(path))
            except search_path.StandsForNothing as error:
                if not getattr(options, "lenient", False):
                    raise
                console.warn(str(error), options)  # and the server has the rest


def limits(options: argparse.Namespace) -> dict[str, int]:
    """What an egg may ask for, as far as `--limit` says.

    :returns: values for the fields of `model.Limits`; sizes in bytes, k being 1,024
    :raises UsageError: a word is no limit, or allows more than an egg can have
    """
    values = dict[str, int]()
    if not options.limits:
        return values
    import re  # as in start

    for word in options.limits:
        name, _, text = word.partition("=")
        number = re.fullmatch(r"([0-9]{1,18})([kMG]?)" if name in ("member", "total") else r"([0-9]{1,18})()", text)
        if name not in _HIGHEST or number is None or not int(number[1]):
            remedy = "write entries=N, ratio=N, member=SIZE or total=SIZE, as total=6G"
            raise UsageError(f"--limit {word}", "it is no limit", remedy)
        values[name] = int(number[1]) << {"": 0, "k": 10, "M": 20, "G": 30}[number[2]]
        if values[name] > _HIGHEST[name]:
            raise UsageError(f"--limit {word}", "no egg can have that much", f"say {_HIGHEST[name]} at most")
    return values


def timezone(options: argparse.Namespace) -> str | None:
    """The zone that dates are reckoned in.

    :returns: a value of TZ; None: the host's own zone, with TZ unset
    :raises UsageError: there is no such zone, which the C library would silently take for UTC
    """
    if getattr(options, "host_zone", False):  # a receipt says so
        return None
    name: str | None = os.environ.get("TZ") if options.tz is None else options.tz
    zones = "/usr/share/zoneinfo"
    if name and os.path.isdir(zones):
        zone = name[1:] if name.startswith(":") else name
        posix = any(c.isdigit() or c == "<" for c in zone)  # "CET-1CEST"
        valid = _is_zone(os.path.join(zones, zone))
        if not valid and not (posix and valid is None):
            setting = f"TZ={name} in the environment" if options.tz is None else f"--tz {name}"
            cause = f"there is no such time zone in {zones}" if valid is None else "that file is no time zone"
            raise UsageError(setting, cause, "name one with --tz, as Europe/Madrid")
    return name


def _is_zone(file: str) -> bool | None:
    """Whether it begins as tzfile(5) does; None: there is no such file. The C library takes any other one for UTC."""
    from eggcache.system import files  # which loads contextlib

    if os.path.isdir(file) or not os.path.lexists(file):
        return None
    return files.beginning(file, 4) == b"TZif"


def reader(options: argparse.Namespace, user: str | None) -> accounts.Account:
    """The account of `user`, whom the options or this host's Apache name; nobody's where neither does.

    :raises UsageError: there is no such user
    """
    try:
        return accounts.account_of(user or "nobody", "--user" if options.user else "Apache's User")
    except UsageError:
        if user:
            raise
        cause = "none is named, there is no Apache on this host that could tell, and no user nobody"
        raise UsageError("--user", cause, "name the user that the server runs as: --user NAME") from None


def runtime(options: argparse.Namespace) -> tuple[accounts.Account, int | None, list[str]]:
    """Who reads the cache: whom `--user` and `--group` name, else whom this host's Apache runs as.

    :returns: the account, the number of the group that alone may read (None: everybody may), and notes
    :raises UsageError: there is no such user or group
    :raises NotPermitted: only root may act for that user or group
    """
    if os.geteuid() != 0:
        caller = accounts.current()
        if options.user and accounts.account_of(options.user).uid != caller.uid:
            raise NotPermitted(f"--user {options.user}", "only root can act for another user", "run it as root")
        if options.group and accounts.group(options.group) != caller.gid:
            raise NotPermitted(f"--group {options.group}", "only root can give a cache to a group", "run it as root")
        return caller, None, []
    user, group = options.user, options.group
    if not user:
        from eggcache.servers import apache

        host = apache.read(getattr(options, "apachectl", None))
        user, group = host.user, group or host.group
    account = reader(options, user)
    if group:
        account = account._replace(gid=accounts.group(group, "--group" if options.group else "Apache's Group"))
    if user or group:
        return account, account.gid, []
    note = "--user: none is named, and there is no Apache on this host: the cache is root's, and readable by all"
    return account, None, [note]
