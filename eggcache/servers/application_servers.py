"""gunicorn, uWSGI, and what supervisord starts: servers that run the target's Python, where Apache does not.

They are found by their processes. What a process was started with is not all that it has: gunicorn's and uWSGI's own
configuration sets variables later, and it says which scripts and which path the application has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from eggcache.errors import EggcacheError
from eggcache.servers import affected_processes, apache_configuration, server_files
from eggcache.servers.apache import Apache
from eggcache.servers.environment_variables import Environment, variables
from eggcache.servers.script_settings import NAMES
from eggcache.servers.server_files import Arguments, Script
from eggcache.system import accounts, procfs
from eggcache.target import buildout
from eggcache.target.interpreter import Target

_TITLES = {"gunicorn": "gunicorn", "uwsgi": "uWSGI", "supervisord": "a program of supervisord's"}
_OWN = ("PWD", "GUNICORN_CMD_ARGS")  # variables that say what else a server is told
_LEVELS = 6  # of processes that are looked into: a uWSGI may start emperors, which start such uWSGIs


@dataclass(frozen=True)
class ApplicationServer:
    """A server whose processes run the target."""

    kind: str
    uid: int  # of the workers
    environment: Environment  # of its first process; what its files set is not in it, and not among what is known
    scripts: tuple[Script, ...] = ()  # its configuration, and the application's own file
    paths: tuple[str, ...] = ()  # what it puts on the path
    complete: bool = True  # whether all that may set a variable is seen: its command line, environment, configuration

    @property
    def cache(self) -> str | None:
        """The egg cache that its application has; None where it has none, or only running it tells which."""
        settings = [setting for script in self.scripts for setting in script.settings]
        caches = [setting.value for setting in settings if setting.name == "PYTHON_EGG_CACHE"]
        return caches[-1] if caches else self.environment.values.get("PYTHON_EGG_CACHE")


def running(target: Target) -> list[ApplicationServer]:
    """The servers that run the Python of `target` here, by their first process; those that we may not ask are left
    out. Raises nothing.

    :param target: the target, with its interpreter
    """
    owners, parents = dict[int, int](), dict[int, int]()
    for process in affected_processes.users(target.python, ()).processes:
        with suppress(OSError):
            owners[process.pid] = int(procfs.status(process.pid)["Uid"].split()[1])  # /proc/PID itself may be root's
            parents[process.pid] = procfs.parent(process.pid)
    servers, started = list[ApplicationServer](), dict[int, _Started]()
    pending = [pid for pid, parent in sorted(parents.items()) if parent not in parents]
    for _ in range(_LEVELS):
        asked = {*pending, *(parents[pid] for pid in pending)} - {0, *started}
        started.update((pid, _Started(*answer)) for pid, answer in procfs.ask(sorted(asked), _started, []))
        emperors = set[int]()
        for pid in filter(started.__contains__, pending):
            workers = {owners[child] for child, parent in parents.items() if parent == pid} - {owners[pid]}
            with suppress(OSError, EggcacheError):
                kind, arguments, scripts = _told(target, started[pid], owners[pid], started.get(parents[pid]))
                if arguments.emperor:  # it runs no application: those that it starts do
                    emperors.add(pid)
                elif kind:
                    uid = min(workers, default=owners[pid])
                    servers.append(_server(pid, uid, started[pid], kind, arguments, scripts))
        pending = [pid for pid, parent in sorted(parents.items()) if parent in emperors and pid not in started]
    return servers


class _Started(NamedTuple):
    program: str
    words: list[str]
    values: dict[str, str]
    work: str
    wiped: bool  # setproctitle has put its title where the kernel looks for the environment

    @property
    def uwsgi(self) -> bool:
        return os.path.basename(self.program).startswith("uwsgi")


def _started(pid: int) -> tuple[str, list[str], dict[str, str], str, bool]:
    whole, values = procfs.environment(pid), variables(pid, *_OWN)
    wiped = len(whole) > 1 and not any(whole)
    return procfs.program(pid), procfs.command(pid), values, os.readlink(f"/proc/{pid}/cwd"), wiped


def _told(
    target: Target, started: _Started, uid: int, parent: _Started | None
) -> tuple[str, Arguments, tuple[Script, ...]]:
    """What kind of server a process of the user `uid` is, "" for none of the target, what it is told, and the scripts
    that it is told of. Raises OSError and EggcacheError."""
    words, values, work = started.words, started.values, started.work
    directories = [values["PWD"], work] if values.get("PWD", "").startswith("/") else [work]
    with accounts.acting(accounts.account_of(str(uid))):  # which files it reads is its owner's to say
        if started.uwsgi:
            above = [parent.work] if parent and parent.uwsgi else []  # an emperor works where the files are
            kind, arguments = "uwsgi", server_files.uwsgi(words, [*above, *directories])
        elif gunicorn := server_files.gunicorn(words, directories, values):
            kind, arguments = "gunicorn", gunicorn
        else:
            above = parent.words[:4] if parent else []
            supervised = any(os.path.basename(word).startswith("supervisor") for word in above)
            kind, arguments = "supervisord" if supervised else "", Arguments()
        if not kind or not _same(arguments, words, target):
            return "", arguments, ()
        return kind, arguments, tuple(map(server_files.read, arguments.files))


def _server(
    pid: int, uid: int, started: _Started, kind: str, arguments: Arguments, scripts: tuple[Script, ...]
) -> ApplicationServer:
    set_later = {setting.name for script in scripts for setting in script.settings}
    values = {name: value for name, value in {**started.values, **arguments.variables}.items() if value is not None}
    inherited = {name: value for name, value in values.items() if name not in {*set_later, *_OWN}}
    complete = arguments.complete and not started.wiped
    known = frozenset(name for name in NAMES if name not in set_later and (complete or inherited.get(name)))
    environment = Environment(f"{_TITLES[kind]} (process {pid})", inherited, known, pid, kind)
    return ApplicationServer(kind, uid, environment, scripts, tuple(arguments.paths), complete)


def _same(arguments: Arguments, words: Sequence[str], target: Target) -> bool:
    """Whether what runs there is of the target's installation. uWSGI's library is that of all virtual environments of
    one Python, and all buildouts of one Python run it: these have eggs in common, then."""
    running_buildouts = [eggs for eggs in map(buildout.eggs, words[1:2]) if eggs is not None]
    target_buildouts = [eggs for eggs in map(buildout.eggs, (target.python, *target.paths)) if eggs is not None]
    if running_buildouts and target_buildouts:
        return any({*running} & {*own} for running in running_buildouts for own in target_buildouts)
    home = os.path.dirname(os.path.dirname(target.python))
    return arguments.home is None or os.path.realpath(arguments.home) == os.path.realpath(home)


def instead_of(host: Apache, target: Target) -> ApplicationServer | None:
    """The server that runs the target, where this `host` has no Apache that runs any Python; None where none does.

    :param host: this host's Apache
    :param target: the target, with its interpreter
    """
    servers = running(target)
    return servers[0] if servers and apache_configuration.idle(apache_configuration.read(host)) else None


def selection(servers: Sequence[ApplicationServer], uid: int, cache: str | None) -> Iterator[ApplicationServer]:
    """Those whose workers are of the user `uid`: of them those that have the `cache`, where any has, since the others
    run another application then.

    :param servers: what `running` has found
    :param uid: the user of their workers
    :param cache: the egg cache; None where there is none
    """
    of_user = [server for server in servers if server.uid == uid]
    place = cache and os.path.realpath(cache)
    with_cache = [server for server in of_user if place and server.cache and os.path.realpath(server.cache) == place]
    yield from with_cache or of_user
