"""What tests of emitted text share: names that are hard to quote, recording programs, and a real server."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.parts import missing

NASTY = [
    "plain",
    "a space",
    "single'quote",
    'double"quote',
    "$HOME ${x} $(touch pwned)",
    "`touch pwned`",
    "new\nline\n",
    "-dash",
    "back\\slash\\",
    "caf\u00e9",
    "not-utf8-\udcff",
    "@NAME@ @DIRECTORY@",
    "*",
    "# !; & | > ~ %n\t\x07",
    "END_OF_DROPIN\nEND_OF_DROPIN",
]


def executable(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def variables(data: bytes) -> dict[str, str]:
    """An environment as `env -0` prints it and /proc/PID/environ holds it."""
    return dict(os.fsdecode(line).partition("=")[::2] for line in data.split(b"\0") if line)


class Server:
    """Debian's Apache with a configuration of the test's own on a port of 127.0.0.1."""

    apachectl = "/usr/sbin/apache2ctl"
    mpm = "prefork"

    def __init__(self, home: Path) -> None:
        self.home = home
        self.pid_file = home / "run" / "apache2.pid"
        self.seen: set[int] = set()
        self.environment = {"APACHE_CONFDIR": str(home)}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for name in ("run", "log"):
            (home / name).mkdir(parents=True)
        (home / "envvars").write_text(
            "unset HOME\nexport APACHE_RUN_USER=www-data\nexport APACHE_RUN_GROUP=www-data\n"
            f"export APACHE_RUN_DIR={home}/run\nexport APACHE_LOCK_DIR={home}/run/lock\n"
        )
        self.configure()

    def configure(self, more: str = "") -> None:
        modules = "/usr/lib/apache2/modules"
        (self.home / "apache2.conf").write_text(
            f"ServerName 127.0.0.1\nListen 127.0.0.1:{self.port}\nPidFile {self.pid_file}\n"
            f"ErrorLog {self.home}/log/error.log\nUser www-data\nGroup www-data\n"
            f"LoadModule mpm_{self.mpm}_module {modules}/mod_mpm_{self.mpm}.so\n"
            f"LoadModule authz_core_module {modules}/mod_authz_core.so\nStartServers 2\n"
            f"<IfModule mpm_prefork_module>\nMinSpareServers 2\n</IfModule>\n{more}\n"
        )

    def pid(self) -> int:
        """The living Apache of the pid file, 0 where there is none."""
        if not self.pid_file.exists():
            return 0
        text = self.pid_file.read_text().strip()
        pid = int(text) if text.isdigit() else 0
        try:
            if not alive(pid) or not Path(f"/proc/{pid}/comm").read_text().startswith("apache2"):
                return 0
        except FileNotFoundError:  # it has just gone
            return 0
        self.seen.add(pid)
        return pid

    def workers(self) -> list[int]:
        """Apache's children, as www-data: at once after the start they may be none, or root's."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            pids = [int(p) for p in Path(f"/proc/{self.pid()}/task/{self.pid()}/children").read_text().split()]
            if len(pids) >= 2 and all(uid_of(pid) == pwd.getpwnam("www-data").pw_uid for pid in pids):
                self.seen.update(pids)
                return pids
            time.sleep(0.05)
        raise AssertionError((self.home / "log" / "error.log").read_text())

    def environ(self, pid: int) -> dict[str, str]:
        return variables(Path(f"/proc/{pid}/environ").read_bytes())

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(9) == b"HTTP/1.1 "
        return False

    def crash(self) -> None:
        """End parent and workers at once, as the kernel does when it is out of memory: the pid file stays."""
        for pid in [self.pid(), *self.workers()]:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(alive(pid) for pid in self.seen))

    def end(self) -> None:
        """End what this test has started, known by its configuration's directory, even without its pid file."""
        mine = f"\0-d\0{self.home}\0".encode()

        def ours() -> list[int]:
            pids = []
            for name in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):
                    if mine in Path("/proc", name, "cmdline").read_bytes():
                        pids.append(int(name))
            return [pid for pid in pids if alive(pid)]

        for pid in ours():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not ours())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZXx"
    except OSError:
        return False


def uid_of(pid: int) -> int:
    """The effective uid of a process; /proc/PID itself is root's where a process has changed its user."""
    return int(re.findall(r"^Uid:\t\d+\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Debian's Apache, stopped; and stopped again afterwards."""
    if not os.path.exists(Server.apachectl):
        missing("Debian's apache2 is not installed")
    if os.geteuid() != 0:
        missing("only root's Apache has workers of another user")
    made = Server(tmp_path / "server")
    yield made
    made.end()


INSIDE_SYSTEMD = [
    "unshare",
    "-m",
    "sh",
    "-ec",
    'mount -t tmpfs none /run; mkdir -p /run/systemd/system; exec "$@"',
    "sh",
]
