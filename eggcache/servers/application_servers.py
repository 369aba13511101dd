"""gunicorn, uWSGI, and what supervisord starts: servers that run the target's Python, where Apache does not.

They are found by their processes. What a process was started with is not all that it has: gunicorn's and uWSGI's own
configuration sets variables later, and it says which scripts and which path the application has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class ApplicationServer:
    """A server whose processes run the target."""

    kind: str
    uid: int  # of the workers
    environment: Environment  # of its first process; what its files set is not in it, and not among what is known
    scripts: tuple[Script, ...] = ()  # its configuration, and the application's own file
    paths: tuple[str, ...] = ()  # what it puts on the path

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
    firsts = [pid for pid, parent in sorted(parents.items()) if parent not in parents]
    started = dict(procfs.ask(sorted({*firsts, *(parents[pid] for pid in firsts)} - {0}), _started, []))
    servers = list[ApplicationServer]()
    for pid in filter(started.__contains__, firsts):
        words = started[parents[pid]][1] if parents[pid] in started else []
        supervised = any(os.path.basename(word).startswith("supervisor") for word in words[:4])
        workers = {owners[child] for child, parent in parents.items() if parent == pid} - {owners[pid]}
        with suppress(OSError, EggcacheError):
            server = _server(target, pid, started[pid], owners[pid], supervised=supervised)
            servers += [replace(server, uid=min(workers, default=owners[pid]))] if server else []
    return servers


def _started(pid: int) -> tuple[str, list[str], dict[str, str], str]:
    values = variables(pid, *_OWN)
    return procfs.program(pid), procfs.command(pid), values, os.readlink(f"/proc/{pid}/cwd")


def _server(
    target: Target, pid: int, started: tuple[str, list[str], dict[str, str], str], uid: int, *, supervised: bool
) -> ApplicationServer | None:
    program, words, values, work = started
    directories = [values["PWD"], work] if values.get("PWD", "").startswith("/") else [work]
    with accounts.acting(accounts.account_of(str(uid))):  # which files it reads is its owner's to say
        if os.path.basename(program).startswith("uwsgi"):
            kind, arguments = "uwsgi", server_files.uwsgi(words, directories)
        elif gunicorn := server_files.gunicorn(words, directories, values):
            kind, arguments = "gunicorn", gunicorn
        else:
            kind, arguments = "supervisord", Arguments()
        if (kind == "supervisord" and not supervised) or not _same(arguments, words, target):
            return None
        scripts = tuple(map(server_files.read, arguments.files))
    set_later = {setting.name for script in scripts for setting in script.settings}
    values = {name: value for name, value in {**values, **arguments.variables}.items() if value is not None}
    inherited = {name: value for name, value in values.items() if name not in {*set_later, *_OWN}}
    environment = Environment(f"{_TITLES[kind]} (process {pid})", inherited, frozenset(NAMES) - set_later, pid, kind)
    return ApplicationServer(kind, uid, environment, scripts, tuple(arguments.paths))


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
