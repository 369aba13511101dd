"""A real Apache of a test's own: Debian's server with a configuration, a port and modules that no other has."""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from support import deployment
from support.parts import missing

MODULES = Path("/usr/lib/apache2/modules")
APACHECTL = "/usr/sbin/apache2ctl"
WORKERS = 4


@dataclass(frozen=True)
class Page:
    """An answer: status, headers as they came, body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    reason: str = ""

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Httpd:
    """Debian's Apache, prefork, with its configuration and everything that it writes below `home`.

    `control` is what starts and stops it: apachectl, or a wrapper of ours. It gets an environment of its own.
    """

    def __init__(self, home: Path, configuration: str = "", *modules: str) -> None:
        require(*modules)
        self.home = home
        self.control: Sequence[str | Path] = [APACHECTL]
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "APACHE_CONFDIR": str(home)}
        self.pid_file = home / "run" / "apache2.pid"
        self.error_log = home / "log" / "error.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for name in ("run", "log", "htdocs"):
            (home / name).mkdir(parents=True)
        for directory in (home, home / "htdocs"):
            directory.chmod(0o755)
        (home / "envvars").write_text(
            "unset HOME\nexport APACHE_RUN_USER=www-data\nexport APACHE_RUN_GROUP=www-data\n"
            f"export APACHE_RUN_DIR={home}/run\nexport APACHE_LOCK_DIR={home}/run/lock\n"
        )
        self.modules = modules
        self.configure(configuration)

    def configure(self, configuration: str) -> None:
        """Write the configuration, with `configuration` as its end. It counts from the next start on."""
        loads = [f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in ("mpm_prefork", "authz_core")]
        loads += [f"LoadModule {name}_module {where(name)}\n" for name in self.modules]
        (self.home / "apache2.conf").write_bytes(
            os.fsencode(
                f"ServerRoot {self.home}\nServerName 127.0.0.1\nListen 127.0.0.1:{self.port}\nPidFile {self.pid_file}\n"
                f"DocumentRoot {self.home}/htdocs\nErrorLog {self.error_log}\nUser www-data\nGroup www-data\n"
                f"StartServers {WORKERS}\nMinSpareServers {WORKERS}\nMaxSpareServers {WORKERS * 2}\n"
                + "".join(loads)
                + configuration
                + "\n"
            )
        )

    def ctl(self, action: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.control, action],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, **environment: str) -> None:
        """Start it, and return when it listens: not later, since the first request is what matters."""
        result = self.ctl("start", **environment)
        assert result.returncode == 0, result.stdout + result.stderr + self.log()
        wait_for(lambda: self.listens() and self.pid(), self.log)

    def stop(self) -> None:
        """End it and its workers, and wait until they are gone.

        Not by the pid file alone: Apache listens before it has one, and a test may have ended by then.
        """
        mine = self.family()
        for pid in mine[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while any(map(alive, mine)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in filter(alive, {*mine, *self.family()}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def restart(self, **environment: str) -> None:
        self.stop()
        self.start(**environment)

    def pid(self) -> int:
        """Its number, 0 where it does not live."""
        try:
            number = int(self.pid_file.read_text())
            mine = Path(f"/proc/{number}/cmdline").read_bytes()
        except (OSError, ValueError):
            return 0
        return number if f"\0-d\0{self.home}\0".encode() in mine and alive(number) else 0

    def family(self) -> list[int]:
        """The server, first, and its workers: known by the directory that is theirs alone."""
        pids = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if f"\0-d\0{self.home}\0".encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                    pids.append(int(name))
        return sorted(pids, key=lambda pid: (parent(pid) in pids, pid))

    def listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False

    def log(self) -> str:
        return self.error_log.read_text(errors="replace") if self.error_log.exists() else ""

    def forget_log(self) -> None:
        self.error_log.write_bytes(b"")

    def get(self, path: str, method: str = "GET", body: object = None, **headers: str) -> Page:
        """One request on a connection of its own; a body that is an iterator is sent chunked."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names, encode_chunked=hasattr(body, "__next__"))  # type: ignore
            answer = connection.getresponse()
            return Page(answer.status, answer.getheaders(), answer.read(), answer.reason)
        finally:
            connection.close()

    def raw(self, request: bytes, *, end: bool = False) -> bytes:
        """Everything that comes back for these bytes, until the server closes; with `end` we close our side first."""
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            connection.sendall(request)
            if end:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def crowd(self, path: str, clients: int = 32) -> list[Page]:
        """What `clients` get who all ask at the same time."""
        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(lambda _: self.get(path), range(clients)))


def require(*modules: str) -> None:
    """Skip where this machine lacks Apache or one of the modules."""
    if os.geteuid() != 0:
        missing("only root can start an Apache whose workers are www-data")
    if not shutil.which(APACHECTL):
        missing("apache2 is not installed")
    for name in modules:
        if not Path(where(name)).exists():
            missing(f"libapache2-mod-{name} is not installed")


def where(module: str) -> str:
    """The file of a module: Debian's by its name, or a path."""
    return {"wsgi_27": ""}.get(module) or f"{MODULES}/mod_{module}.so"


def www_data() -> pwd.struct_passwd:
    return pwd.getpwnam("www-data")


def mod_wsgi_27(place: Path) -> Path:
    """mod_wsgi 4.9.4 for CPython 2.7, built at most once in a session in the directory `place`."""
    if not shutil.which("apxs2"):
        missing("apache2-dev is not installed")
    root = place / "mod-wsgi-2.7"
    with deployment.once(root) as absent:
        if absent:
            tools = deployment.target("2.7", "44.1.1", place, inside=root)
            sdist = deployment.fetch_all(deployment.downloads(use="mod_wsgi_27"))[0]
            shutil.unpack_archive(sdist, root)
            source = next(root.glob("mod_wsgi-*"))
            apxs = {"APXS": "/usr/bin/apxs2"}
            deployment.run([tools.python, "setup.py", "-q", "build"], cwd=source, env=apxs)
            shutil.copy(next(source.glob("build/lib*/mod_wsgi/server/*.so")), root / "mod_wsgi.so")
    return root / "mod_wsgi.so"


def parent(pid: int) -> int:
    """Whose child it is, 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return 0


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return False
    return state not in ("Z", "X")


def wait_for(condition: Callable[[], object], why: Callable[[], str] = str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The names of two listings that differ."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
