"""Processes that an egg which is swapped, or was replaced, may break: they run the target, or have its files open.

Only /proc is read (proc(5)), with the rights of the caller. Nobody can tell from outside what a process has imported,
since zipimport closes an egg after each read. So each process that runs the interpreter counts, with its reason.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from eggcache.model import Process
from eggcache.servers import apache
from eggcache.system import accounts, files, procfs
from eggcache.target import buildout, launch

_MOST_FILES = 200_000  # below the directories looked at
_SHOWN = 10
_FEW = 3  # in one line
_LONGEST = 80  # characters of a command
_APACHES = ("apache2", "httpd")
_SERVER = re.compile(r"python|apache|httpd|wsgi|gunicorn|paster|twistd|zope|plone|trac")
_MAPPED = re.compile(rb"^\S+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) (\d+) +(/[^\n]*)$", re.MULTILINE)
_EMBEDDING = re.compile(r"(mod_python|mod_wsgi|python[23]?[0-9]*_plugin)[^/]*\.so")

Identity = tuple[int, int]  # device and inode


@dataclass
class Users:
    """The processes that use the target, and whether there may be servers that we cannot look into."""

    processes: list[Process] = field(default_factory=list)
    hidden: bool = False


def users(python: str, directories: Iterable[str]) -> Users:
    """The processes that run the interpreter `python`, or have files below `directories` open or mapped; not this
    process and its ancestors. Raises nothing.

    :param python: the path of the target's interpreter
    :param directories: absolute paths, such as those of eggs
    """
    numbers, ours = procfs.numbers(), procfs.ancestors() - {1}
    users = Users(hidden=os.geteuid() != 0 and 1 not in numbers)  # hidepid
    _look(users, _Look(python, directories), [pid for pid in numbers if pid not in ours])
    return users


def outdated(python: str, changed: float, uid: int | None = None) -> tuple[Process, ...]:
    """Those of the user `uid`, or of anybody, that run the interpreter `python` since before the time `changed`, in
    seconds, of an egg. zipimport keeps what it has read of an egg's directory: their next import from it can fail.

    :param python: the path of the target's interpreter
    :param changed: when the egg was replaced, in seconds of the epoch
    :param uid: the user whose processes are looked at; None: of all users
    """
    older, ours = list[int](), procfs.ancestors()
    for pid in procfs.numbers():
        with suppress(OSError):
            if pid not in ours and procfs.start_time(pid) < changed and uid in (None, os.stat(f"/proc/{pid}").st_uid):
                older.append(pid)
    users = Users()
    if older:
        _look(users, _Look(python, ()), older)
    return tuple(users.processes)


def notes(older: Sequence[Process], eggs: Sequence[str]) -> Iterator[str]:
    """The line that names those that run since before these `eggs` were replaced.

    :param older: the processes that `outdated` has found
    :param eggs: the paths of the eggs that were replaced
    """
    if older:
        subject = f"{eggs[0]} and {len(eggs) - 1} more eggs were" if len(eggs) > 1 else f"{eggs[0]} was"
        yield f"{subject} replaced, and older processes can fail at their next import: restart {sample(older)}"


def sample(processes: Sequence[Process]) -> str:
    """The first of them, for a message.

    :param processes: one process or more
    """
    names = [f"process {process.pid} of {process.user} ({process.command})" for process in processes[:_FEW]]
    return ", ".join([*names, *([f"{len(processes) - _FEW} more"] if len(processes) > _FEW else [])])


def _look(users: Users, look: _Look, pids: Sequence[int]) -> None:
    """Add what a `look` at these processes tells."""
    us, silent = os.getpid(), list[int]()
    for pid, answer in procfs.ask(pids, lambda pid: look.at(pid, us), silent):
        if answer is True:
            users.hidden = True
        elif answer:
            uid, command, uses, unit = answer
            users.processes.append(Process(pid, accounts.user_name(uid), command, uses, unit))
    users.hidden = users.hidden or any(map(_may_serve, silent))


def warning(users: Users, command: str) -> Iterator[str]:
    """The lines that name these processes, and the safe order of steps around `command`.

    :param users: the processes to name
    :param command: what changes the eggs, as a message has it
    """
    if users.processes:
        count = len(users.processes)
        stop, start = _order(users.processes)
        yield (
            f"{count} process{'es use' if count > 1 else ' uses'} this Python or its eggs, and can fail from now on, "
            f"until restarted; the safe order: {stop}, {command}, {start}"
        )
    for process in users.processes[:_SHOWN]:
        yield f"  process {process.pid} of {process.user}, {process.command}: {process.uses}"
    if len(users.processes) > _SHOWN:
        yield f"  and {len(users.processes) - _SHOWN} more, which --json names"
    if users.hidden:
        yield "/proc: some processes could not be looked into: that takes root and, in a container, CAP_SYS_PTRACE"


def _order(processes: Sequence[Process]) -> tuple[str, str]:
    units = sorted({shlex.quote(process.unit) for process in processes if process.unit})
    stop, start = [], []
    if units:
        stop, start = [f"systemctl stop {' '.join(units)}"], [f"systemctl start {' '.join(units)}"]
    others = [process for process in processes if not process.unit]
    servers = [process for process in others if os.path.basename(process.command.split(" ")[0]) in _APACHES]
    if servers:
        control = apache.read().apachectl or "apachectl"
        stop, start = [*stop, f"{control} stop"], [*start, f"{control} start"]
    if len(others) > len(servers):
        stop, start = [*stop, "stop them" if not stop else "stop the others"], [*start, "start them"]
    return " and ".join(stop), " and ".join(start)


class _Look:
    """One look at all processes, for one target."""

    def __init__(self, python: str, directories: Iterable[str]) -> None:
        python = buildout.interpreter(python) or python
        self.python = python
        self.identity = _identity(python)
        self.environment = _environment(python)
        self.names = {os.path.basename(os.path.realpath(python)), os.path.basename(python)}
        self.directories = tuple(sorted({os.path.realpath(directory) + "/" for directory in directories}))
        self.libraries = _libraries(python)
        self.files: set[Identity] = set()
        self.file_names: set[str] = set()
        self._collect()

    def _collect(self) -> None:
        """The files of the directories that a process can have open or mapped for long: eggs and shared libraries. By
        identity, since a container sees them under other names."""
        budget = _MOST_FILES
        for directory in self.directories:
            for top, _, names in files.walk(directory):
                budget -= len(names)
                if budget < 0:
                    return
                for name in names:
                    if name.endswith((".egg", ".so")):
                        identity = _identity(os.path.join(top, name))
                        if identity:
                            self.files.add(identity)
                            self.file_names.add(name)

    def at(self, pid: int, us: int) -> tuple[int, str, str, str | None] | bool:
        """Whose a process is, what runs in it, how it uses the target, and its unit; False where it does not, or `us`
        have started it; True where that cannot be told. Raises OSError where it has ended, or is the kernel's."""
        try:
            uses = self._uses(pid)
            status = procfs.status(pid) if uses else {}
            if not uses or status.get("PPid") == str(us):
                return False
            # /proc/PID itself is root's for one that may not be traced, as Apache's workers
            return int(status["Uid"].split()[1]), _shown(pid, status["Name"]), uses, procfs.unit(pid)
        except PermissionError:
            return _may_serve(pid, _first_word(pid))

    def _uses(self, pid: int) -> str | None:
        """How a process uses the target; None where it does not, or nothing says so."""
        program = procfs.program(pid)
        name = os.path.basename(program.removesuffix(" (deleted)"))
        if name in self.names and _identity(f"/proc/{pid}/exe") == self.identity and not self._elsewhere(pid):
            return f"runs {program}"
        mapped = self._mapped(pid)
        for path in mapped:
            if mapped[path] in self.files or path.startswith(self.directories):
                return f"has {path} mapped"
        for path in self._open(pid):
            return f"has {path} open"
        where = os.readlink(f"/proc/{pid}/cwd")
        if f"{where}/".startswith(self.directories):
            return f"works in {where}"
        if name.startswith("python"):
            return None  # another one, or the same of another virtual environment
        for path in mapped:
            if mapped[path] in self.libraries:
                return f"has {path} mapped"
        if self.libraries or any(os.path.basename(path).startswith("libpython") for path in mapped):
            return None  # it embeds another installation's
        for path in mapped:
            if _EMBEDDING.fullmatch(os.path.basename(path)):
                return f"has {path} mapped, which has a Python built in, of an unknown version"
        return None

    def _elsewhere(self, pid: int) -> bool:
        """Whether the process was started as the Python of another virtual environment on the same interpreter."""
        started = procfs.command(pid)[0]
        return (
            started.startswith("/")
            and _identity(started) == self.identity
            and _environment(started) != self.environment
        )

    def _mapped(self, pid: int) -> dict[str, Identity]:
        return {
            os.fsdecode(path): (os.makedev(int(major, 16), int(minor, 16)), int(inode))
            for major, minor, inode, path in set(_MAPPED.findall(procfs.maps(pid)))
        }

    def _open(self, pid: int) -> Iterator[str]:
        for number in os.listdir(f"/proc/{pid}/fd"):
            link = f"/proc/{pid}/fd/{number}"
            try:
                path = os.readlink(link)
                # By name first: to ask a file on a server that is gone for its identity would wait for ever
                if path.startswith(self.directories) or (
                    os.path.basename(path) in self.file_names and _identity(link) in self.files
                ):
                    yield path
            except FileNotFoundError:
                continue


def _identity(path: str) -> Identity | None:
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return info.st_dev, info.st_ino


def _environment(python: str) -> str | None:
    """The virtual environment (PEP 405) that an interpreter of this name is in."""
    home = os.path.dirname(os.path.dirname(python))
    return os.path.realpath(home) if os.path.isfile(os.path.join(home, "pyvenv.cfg")) else None


def _base(python: str) -> str:
    """The prefix of the installation that an interpreter, or its virtual environment, belongs to."""
    directory = launch.home(python)
    if directory:
        return os.path.dirname(directory)
    environment = glob.escape(os.path.dirname(os.path.dirname(python)))
    for path in glob.glob(f"{environment}/lib/python*/orig-prefix.txt"):  # of virtualenv before 20
        prefix = os.fsdecode(files.beginning(path)).strip()
        if prefix.startswith("/"):
            return prefix
    return os.path.dirname(os.path.dirname(os.path.realpath(python)))


def _libraries(python: str) -> set[Identity]:
    """The libpython of an interpreter's installation, which whatever embeds it maps; none where it is static."""
    home = glob.escape(_base(python))
    libraries = [path for below in ("lib*", "lib*/*") for path in glob.glob(f"{home}/{below}/libpython[0-9]*.so*")]
    version = re.search(r"python(\d\.\d+)", os.path.realpath(python))
    stem = "libpython" + (version[1] if version else "")
    return set(filter(None, (_identity(path) for path in libraries if os.path.basename(path).startswith(stem))))


def _may_serve(pid: int, word: str = "") -> bool:
    """Whether a process that we cannot look into has the name of a server that could use eggs."""
    try:
        return _SERVER.search(f"{procfs.status(pid).get('Name')} {word}") is not None
    except OSError:
        return True


def _first_word(pid: int) -> str:
    try:
        return procfs.command(pid)[0]
    except OSError:
        return ""


def _shown(pid: int, name: str) -> str:
    command = " ".join(procfs.command(pid)).strip() or f"[{name}]"
    return command if len(command) <= _LONGEST else command[: _LONGEST - 3] + "..."
