"""The environments of servers: those of running processes, and how they differ from what a cache is prepared for."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from eggcache.eggs import zip_dates
from eggcache.errors import Remedy, UsageError
from eggcache.model import DateTime, Finding
from eggcache.servers import systemd
from eggcache.system import files, procfs
from eggcache.system.accounts import Account
from eggcache.target import launch
from eggcache.target.command_lines import Prepare

NAMES = ("PYTHON_EGG_CACHE", "TZ")  # the variables by which pkg_resources serves from a cache

_PROGRAMS = ("apache2", "httpd")
_COMMANDS = 80  # characters of the name of a program, in a message

# Of the environment that a process has, or will have
OF_ENVIRONMENT = ("running-without-cache", "running-with-other-cache", "cache-unset", "starts-with-other-cache")

_DROPIN = "install the drop-in that this prints, as its head says"

# As every release takes it: os.path.join, without os.path.expanduser
_RELATIVE = "nobody expands ~, and each process takes a relative path from its own working directory"


@dataclass(frozen=True)
class Environment:
    """What one way of starting Apache, or one that runs, has of the variables that matter."""

    thing: str  # a file, a unit, or "Apache (process 123)"
    values: dict[str, str]  # those of NAMES, and of the locale, that are set; of a process, PYTHONPATH
    known: frozenset[str]  # those that are set or unset there: of others the file says nothing
    pid: int = 0
    kind: str = ""  # of the wrapper for it, where it is another server than Apache: "gunicorn"
    kept: bool = False  # a shell script assigns a cache, and does not export it: Apache gets none


def findings(
    prepare: Prepare,
    environments: Sequence[Environment],
    unit: systemd.Unit | None,
    *,
    dates: Sequence[DateTime],
    last: Environment | None = None,
) -> Iterator[Finding]:
    """Where a server has, or will have, another cache than that of `prepare`, or a zone in which it is not current.

    :param prepare: the cache, and what it is prepared for
    :param environments: what servers have, or will have, in their environment
    :param unit: the unit of Apache; None where systemd does not start it
    :param dates: the zip's dates of what is extracted: two zones that agree on all of them are the same here
    :param last: what has the last word on the cache that Apache gets at its next start; None: nothing says
    """
    emptied = last if last and not last.values.get("PYTHON_EGG_CACHE") else None
    named = last.values.get("PYTHON_EGG_CACHE") if last else None
    told = False  # whether an Apache that runs has no cache, or that one: how it gets another is said there
    directory, zone, place = prepare.directory, prepare.target.timezone, os.path.realpath(prepare.directory)
    other_named = bool(named) and not is_relative(named) and os.path.realpath(str(named)) != place
    prepare = prepare.at(place)
    for environment in environments:
        cache, anew = environment.values.get("PYTHON_EGG_CACHE"), partial(_anew, environment, unit, prepare)
        if is_relative(cache):
            cause = f"PYTHON_EGG_CACHE is {cache!r} there: {_RELATIVE}"
            there = anew("") if environment.pid else Remedy(f"write {place} there")
            yield Finding("cache-relative", environment.thing, cause, there)
        elif environment.pid and not cache and "PYTHON_EGG_CACHE" in environment.known:
            told = told or not environment.kind
            yield _without(environment, last if emptied or other_named else None, unit, prepare)
        elif environment.pid and cache and os.path.realpath(cache) != place:
            before = f"check what it uses (--cache {shlex.quote(cache)}); or, if {directory} is to take its place, "
            by_last = last if cache == named and not environment.kind else None
            told = told or bool(by_last)
            cause, there = f"it runs with PYTHON_EGG_CACHE={cache}", anew(before)
            there = _in_file(by_last, environment, unit, prepare, before) or there
            yield Finding("running-with-other-cache", environment.thing, cause, there)
        elif "TZ" in environment.known and (not cache or os.path.realpath(cache) == place):
            other = environment.values.get("TZ")
            if not agree(dates, other, zone):
                cause = f"{zone_words(other)} there, {zone_words(zone)} here, and "
                cause += "pkg_resources reckons in the zone of its process"
                remedy = f"have it started with the zone of the cache, or say which is meant: --tz {other or 'ZONE'}"
                yield Finding("time-zone", environment.thing, cause, remedy)
    if emptied and not told:
        cause = f"it {_empties(emptied)}: started by it, Apache has none"
        yield Finding("cache-unset", emptied.thing, cause, _written(emptied, unit, prepare, ""))
    if last and named and other_named and not told:
        before = f"check that one (--cache {shlex.quote(named)}); or, if {directory} is to take its place, "
        cause, there = f"started by it, Apache has PYTHON_EGG_CACHE={named}", _written(last, unit, prepare, before)
        yield Finding("starts-with-other-cache", last.thing, cause, there)


def _without(
    environment: Environment, last: Environment | None, unit: systemd.Unit | None, prepare: Prepare
) -> Finding:
    """That a process has no cache; `last` is what takes it from Apache, or names another, whatever starts it."""
    before = "" if environment.kind else "reload, graceful and apachectl restart keep the old environment, so "
    empty = "with an empty" if "PYTHON_EGG_CACHE" in environment.values else "without"
    cause = f"it runs {empty} PYTHON_EGG_CACHE in its environment"
    by_file = None if environment.kind else _in_file(last, environment, unit, prepare, before)
    cause += f", and {last.thing} {_empties(last)}" if last and by_file else ""
    remedy = by_file or _anew(environment, unit, prepare, before)
    return Finding("running-without-cache", environment.thing, cause, remedy)


def _in_file(
    last: Environment | None, environment: Environment, unit: systemd.Unit | None, prepare: Prepare, before: str
) -> Remedy | None:
    """How a process gets the cache by a file that has the last word; None where no file has, but the unit."""
    if last is None or (unit and last.thing == unit.name):
        return None
    text = f"{before}write {_line(last, unit, prepare)} in {last.thing}, and"
    if unit and unit.process == environment.pid:
        return Remedy(f"{text} restart it", f"systemctl restart {shlex.quote(unit.name)}")
    return Remedy(f"{text} stop and start Apache")


def _written(last: Environment, unit: systemd.Unit | None, prepare: Prepare, before: str) -> Remedy:
    """How what has the last word on the environment of Apache names the cache of `prepare`; `before` as in `_anew`."""
    if unit and last.thing == unit.name:
        return _by_unit(unit, prepare, before, ())
    return Remedy(f"{before}write {_line(last, unit, prepare)} there")


def _line(last: Environment, unit: systemd.Unit | None, prepare: Prepare) -> str:
    """The line of a file that names the cache: a shell has to export it, and systemd reads no such word."""
    export = "" if unit and "/sysconfig/" in last.thing else "export "
    return f"{export}PYTHON_EGG_CACHE={shlex.quote(prepare.directory)}"


def _empties(last: Environment) -> str:
    if last.values.get("PYTHON_EGG_CACHE"):
        return f"has it started with {last.values['PYTHON_EGG_CACHE']}"
    verb = "does not export" if last.kept else "empties" if "PYTHON_EGG_CACHE" in last.values else "unsets"
    return f"{verb} PYTHON_EGG_CACHE"


def is_relative(cache: str | None) -> bool:
    """Whether a value of PYTHON_EGG_CACHE is no whole path.

    :param cache: the value; None where the variable is not set
    """
    return bool(cache) and not str(cache).startswith("/")


def inherited() -> str | None:
    """The cache that our own environment names; None where it names none. Raises UsageError for a relative path."""
    cache = os.environ.get("PYTHON_EGG_CACHE") or None
    if is_relative(cache):
        cause = f"{cache!r}: {_RELATIVE}"
        raise UsageError("PYTHON_EGG_CACHE", cause, "set it to a whole path, or name it with --cache")
    return cache


def _anew(environment: Environment, unit: systemd.Unit | None, prepare: Prepare, before: str) -> Remedy:
    """How this process gets the cache of `prepare`; what is a unit's, systemd starts in a new environment at a restart.
    `before` is what to know first."""
    if environment.kind:
        return Remedy(
            f"{before}put what this prints where its head says, and do what it says", prepare.wrapper(environment.kind)
        )
    # Another unit than the host's Apache: an instance, apache2@x.service
    name = procfs.unit(environment.pid) if unit and unit.process != environment.pid else None
    own, more = (systemd.read([name]), ("--unit", name)) if name else (unit, ())
    if not own or own.process != environment.pid:
        return Remedy(f"{before}stop it, and start it by the wrapper")
    return _by_unit(own, prepare, before, more)


def _by_unit(unit: systemd.Unit, prepare: Prepare, before: str, more: Sequence[str]) -> Remedy:
    """How the process of `unit` gets the cache of `prepare`; `more` is what its wrapper has to be told."""
    cache, restart = unit.environment.get("PYTHON_EGG_CACHE"), f"systemctl restart {shlex.quote(unit.name)}"
    if cache and os.path.realpath(cache) == prepare.directory:
        return Remedy(f"{before}restart it", restart)
    if unit.changed:
        return Remedy(f"{before}restart it with its new settings", f"systemctl daemon-reload && {restart}")
    if cache is None and "PYTHON_EGG_CACHE" in unit.environment:  # UnsetEnvironment= counts more than any drop-in sets
        show = f"systemctl cat {shlex.quote(unit.name)}"
        return Remedy(f"{before}take it out of UnsetEnvironment= in the file that has it, which this shows", show)
    if cache is not None and "PYTHON_EGG_CACHE" in unit.later:
        text = f"{before}take PYTHON_EGG_CACHE out of {unit.later['PYTHON_EGG_CACHE']}, and restart it"
        return Remedy(text, f"systemctl daemon-reload && {restart}")
    if cache is None and unit.reset:
        text = f"{before}take the empty Environment= out of {unit.reset}, and restart it"
        return Remedy(text, f"systemctl daemon-reload && {restart}")
    return Remedy(f"{before}{_DROPIN}", prepare.wrapper("systemd", *more))


def renamed(environment: Environment, unit: systemd.Unit | None, prepare: Prepare) -> Remedy:
    """How Apache gets the cache of `prepare` instead of the one that `environment` names for it.

    :param environment: one of those that are `declared`
    :param unit: the unit of Apache; None where systemd does not start it
    :param prepare: what prepares the cache that takes the other's place
    """
    file = unit.later.get("PYTHON_EGG_CACHE") if unit and environment.thing == unit.name else environment.thing
    if file is None:
        return Remedy(_DROPIN, prepare.wrapper("systemd"))
    start = "stop and start Apache"
    if unit:
        start = f"restart Apache with `systemctl daemon-reload && systemctl restart {shlex.quote(unit.name)}`"
    old = environment.values["PYTHON_EGG_CACHE"]
    text = f"prepare another directory with the command here, write {prepare.directory} in place of {old} in {file}"
    return Remedy(f"{text}, and {start}", prepare.line())


def zone_words(zone: str | None) -> str:
    """A value of TZ, for a message.

    :param zone: a value of TZ; None where the variable is not set
    """
    return "TZ is not set" if zone is None else f"TZ is {zone!r}"


def agree(dates: Sequence[DateTime], zone: str | None, other: str | None) -> bool:
    """Whether two zones, values of TZ, give the same times for all these dates of zips.

    :param dates: dates of members of zips
    :param zone: a value of TZ; None where the variable is not set
    :param other: another value
    """
    return zone == other or _moments(dates, zone) == _moments(dates, other)


def _moments(dates: Sequence[DateTime], zone: str | None) -> list[int]:
    with zip_dates.zone(zone):
        return [zip_dates.mtime(date) for date in dates]


# ------------------------------------------------------------------------------------------- what is running


def using(cache: str, account: Account) -> Iterator[Environment]:
    """The servers of whatever kind that run here as `account` with that `cache` in their environment, by their first
    process; those that we may not ask are left out.

    :param cache: the egg cache
    :param account: whom the workers run as
    """
    parents = dict[int, int]()
    for pid in procfs.numbers():
        with suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid == account.uid:
                parents[pid] = procfs.parent(pid)
    values_by_pid = with_cache(parents.keys() - procfs.ancestors(), cache)
    starters = set[int]()  # that may be root's, with many workers of the account
    for pid, values in values_by_pid.items():
        if parents[pid] not in {*values_by_pid, *starters}:
            starters.add(parents[pid])
            with suppress(OSError):
                name = os.path.basename(procfs.program(pid))[:_COMMANDS]
                yield Environment(f"{name} (process {pid})", values, frozenset(NAMES), pid)


def with_cache(pids: Iterable[int], cache: str) -> dict[int, dict[str, str]]:
    """Those of these processes that have that `cache` in their environment, with what we read there; those that we may
    not ask are left out.

    :param pids: the processes to look at
    :param cache: the egg cache
    """
    place, answers = os.path.realpath(cache), procfs.ask(sorted(pids), variables, [])
    return {pid: values for pid, values in answers if os.path.realpath(values.get("PYTHON_EGG_CACHE") or "/") == place}


def variables(pid: int, *more: str) -> dict[str, str]:
    """The variables that matter, and `more`, of those that a process was started with. Raises OSError. See procfs: a
    child has to ask."""
    pairs = (os.fsdecode(variable).partition("=") for variable in procfs.environment(pid))
    return {name: value for name, _, value in pairs if name in (*NAMES, *more) or launch.of_locale(name)}


def running(account: Account, python: tuple[int, ...] | None, pid_file: str | None = None) -> Iterator[Environment]:
    """The Apaches that run here with workers of `account` and a Python of the version `python` (None: of any), by their
    first process; those that we may not ask are left out.

    :param account: whom the workers run as
    :param python: the version of the target
    :param pid_file: only the one whose number is in that file is meant; none, where the file is not there
    """
    parents: dict[int, int] = {}
    owners: dict[int, int] = {}
    for pid in procfs.numbers():
        try:
            if _is_apache(pid):
                owners[pid] = os.stat(f"/proc/{pid}").st_uid
                parents[pid] = procfs.parent(pid)
        except OSError:
            continue
    firsts = []
    for pid, parent in sorted(parents.items()):
        workers = {owners[child] for child, its in parents.items() if its == pid}
        if parent in parents or account.uid not in (workers or {owners[pid]}):
            continue
        if pid_file is not None and files.beginning(pid_file).strip() != str(pid).encode():
            continue
        firsts.append(pid)

    def python_variables(pid: int) -> dict[str, str] | None:
        return variables(pid, "PYTHONPATH") if _embeds(pid, python) else None

    for pid, values in procfs.ask(firsts, python_variables, []):
        if values is not None:
            yield Environment(f"Apache (process {pid})", values, frozenset(NAMES), pid)


def _is_apache(pid: int) -> bool:
    """Whether a process runs Apache's program. Raises OSError."""
    return os.path.basename(procfs.program(pid)).split(" ")[0] in _PROGRAMS  # "... (deleted)" after an upgrade


def _embeds(pid: int, python: tuple[int, ...] | None) -> bool:
    """Whether an Apache may import eggs of a Python of that version: by what it has in its memory. One that only serves
    files, or proxies to who does, has no Python there; a CGI script's environment is not Apache's."""
    lines = os.fsdecode(procfs.maps(pid)).splitlines()
    mapped = " ".join(line.partition("/")[2].rpartition("/")[2] for line in lines)
    libraries = {tuple(map(int, version)) for version in re.findall(r"\blibpython([23])\.([0-9]{1,3})", mapped)}
    if libraries:
        return python is None or python[:2] in libraries
    return bool(re.search(r"\bmod_(?:wsgi|python)\b|\bmod_wsgi_", mapped))


def serving(
    account: Account, cache: str | None, pid_file: str | None = None
) -> tuple[list[Environment], list[Environment]]:
    """The servers that run here as `account` with the `cache`: those of other kinds, and the Apaches; where there is
    neither, an Apache without it.

    :param account: whom the servers run as
    :param cache: the egg cache; None where there is none
    :param pid_file: as for `running`
    """
    servers = list(using(cache, account)) if cache and pid_file is None else []
    others, apaches = list[Environment](), list[Environment]()
    for server in servers:
        with suppress(OSError):  # it has ended
            (apaches if _is_apache(server.pid) else others).append(server)
    if not (others or apaches):
        apaches = list(running(account, None, pid_file))[:1]
    return others, apaches
