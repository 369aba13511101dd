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
from eggcache.servers.server_files import Script, Told
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
        settings = [one.value for script in self.scripts for one in script.settings if one.name == "PYTHON_EGG_CACHE"]
        return settings[-1] if settings else self.environment.values.get("PYTHON_EGG_CACHE")


def running(target: Target) -> list[ApplicationServer]:
    """The servers that run the Python of `target` here, by their first process; those that we may not ask are left
    out. Raises nothing."""
    owners, parents = dict[int, int](), dict[int, int]()
    for one in affected_processes.users(target.python, ()).processes:
        with suppress(OSError):
            owners[one.pid] = int(procfs.status(one.pid)["Uid"].split()[1])  # /proc/PID itself may be root's
            parents[one.pid] = procfs.parent(one.pid)
    firsts = [pid for pid, parent in sorted(parents.items()) if parent not in parents]
    started = dict(procfs.ask(sorted({*firsts, *(parents[pid] for pid in firsts)} - {0}), _started, []))
    found = list[ApplicationServer]()
    for pid in filter(started.__contains__, firsts):
        words = started[parents[pid]][1] if parents[pid] in started else []
        supervised = any(os.path.basename(word).startswith("supervisor") for word in words[:4])
        workers = {owners[child] for child, parent in parents.items() if parent == pid} - {owners[pid]}
        with suppress(OSError, EggcacheError):
            server = _server(target, pid, started[pid], owners[pid], supervised=supervised)
            found += [replace(server, uid=min(workers, default=owners[pid]))] if server else []
    return found


def _started(pid: int) -> tuple[str, list[str], dict[str, str], str]:
    values = variables(pid, *_OWN)
    return procfs.program(pid), procfs.command(pid), values, os.readlink(f"/proc/{pid}/cwd")


def _server(
    target: Target, pid: int, started: tuple[str, list[str], dict[str, str], str], uid: int, *, supervised: bool
) -> ApplicationServer | None:
    program, words, values, work = started
    directories = [values["PWD"], work] if values.get("PWD", "").startswith("/") else [work]
    with accounts.acting(accounts.named(str(uid))):  # which files it reads is its owner's to say
        if os.path.basename(program).startswith("uwsgi"):
            kind, told = "uwsgi", server_files.uwsgi(words, directories)
        elif gunicorn := server_files.gunicorn(words, directories, values):
            kind, told = "gunicorn", gunicorn
        else:
            kind, told = "supervisord", Told()
        if (kind == "supervisord" and not supervised) or not _same(told, words, target):
            return None
        read = tuple(map(server_files.read, told.files))
    set_later = {one.name for script in read for one in script.settings}
    values = {name: value for name, value in {**values, **told.variables}.items() if value is not None}
    kept = {name: value for name, value in values.items() if name not in {*set_later, *_OWN}}
    environment = Environment(f"{_TITLES[kind]} (process {pid})", kept, frozenset(NAMES) - set_later, pid, kind)
    return ApplicationServer(kind, uid, environment, read, tuple(told.paths))


def _same(told: Told, words: Sequence[str], target: Target) -> bool:
    """Whether what runs there is of the target's installation. uWSGI's library is that of all virtual environments of
    one Python, and all buildouts of one Python run it: these have eggs in common, then."""
    listed = [one for one in map(buildout.eggs, words[1:2]) if one is not None]
    wanted = [one for one in map(buildout.eggs, (target.python, *target.paths)) if one is not None]
    if listed and wanted:
        return any({*one} & {*other} for one in listed for other in wanted)
    home = os.path.dirname(os.path.dirname(target.python))
    return told.home is None or os.path.realpath(told.home) == os.path.realpath(home)


def instead_of(host: Apache, target: Target) -> ApplicationServer | None:
    """The server that runs the target, where this `host` has no Apache that runs any Python; None where none does."""
    found = running(target)
    return found[0] if found and apache_configuration.idle(apache_configuration.read(host)) else None


def chosen(found: Sequence[ApplicationServer], uid: int, cache: str | None) -> Iterator[ApplicationServer]:
    """Those whose workers are of the user `uid`: of them those that have the `cache`, where any has, since the others
    run another application then."""
    own = [one for one in found if one.uid == uid]
    having = [one for one in own if cache and one.cache and os.path.realpath(one.cache) == os.path.realpath(cache)]
    yield from having or own
