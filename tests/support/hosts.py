"""Hosts of a test's own: each with mounts and processes of its own, sshd and Debian's Apache, all on 127.0.0.1."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import ROOT
from support.httpd import require, wait_for
from support.parts import missing

SSHD = "/usr/sbin/sshd"
SSHD_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/eggcache_host_key
AuthorizedKeysFile /etc/ssh/eggcache_authorized
PidFile none
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Host:
    """One of them. What it calls /etc is path("/etc") here."""

    name: str
    home: Path  # keys and logs, of the test
    ssh_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    init: int = 0  # its first process, as we number it

    def path(self, inside: str | Path) -> Path:
        return Path(f"/proc/{self.init}/root{inside}")

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run it in the host."""
        return subprocess.run(
            ["nsenter", "--target", str(self.init), "--mount", "--pid", "--wd=/", *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=check,
        )

    def boot(self, public_key: Path) -> None:
        """Start it, with its sshd; its Apache is configured by the test."""
        self.home.mkdir()
        key = self.home / "host_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        with (self.home / "log").open("wb") as log:
            self.process = subprocess.Popen(
                # Where we end without a word, unshare does, and with it all that runs there.
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child",
                 "--mount-proc", "--propagation", "private", ROOT / "tests" / "ansible" / "host.sh"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        wait_for(lambda: children.exists() and children.read_text().split(), self.log)
        self.init = int(children.read_text().split()[0])
        wait_for(self.path("/run/mounted").exists, self.log)
        ssh = self.path("/etc/ssh")
        ssh.mkdir(exist_ok=True)
        shutil.copy(key, ssh / "eggcache_host_key")
        shutil.copy(public_key, ssh / "eggcache_authorized")
        (ssh / "eggcache_authorized").chmod(0o600)
        (ssh / "new").write_text(SSHD_CONFIG.format(port=self.ssh_port))
        (ssh / "new").rename(ssh / "sshd_eggcache")
        wait_for(lambda: listens(self.ssh_port), self.log)

    def known(self) -> str:
        """Its line of known_hosts."""
        return f"[127.0.0.1]:{self.ssh_port} {(self.home / 'host_key.pub').read_text()}"

    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def end(self) -> None:
        """Its first process ends, and all of its others with it."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            if self.init:
                wait_for(lambda: not Path(f"/proc/{self.init}").exists(), self.log)

    def get(self) -> dict[str, Any] | None:
        """The page that its Apache serves; None where nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return {"status": answer.status, **(json.loads(body) if answer.status == 200 else {"body": body})}

    def listing(self) -> dict[str, tuple[int, ...]]:
        """Everything that this host has changed since it was booted, with its modes, owners and sizes.

        Not its logs, and not what Ansible keeps for itself.
        """
        entries: dict[str, tuple[int, ...]] = {}
        top = str(self.path("/mnt"))
        for directory, _, files in os.walk(top):
            for path in (directory, *(os.path.join(directory, name) for name in files)):
                name = path[len(top) :]
                if "/work" in name or name.startswith(("/var/upper/log", "/root/upper")):
                    continue
                info = os.lstat(path)
                whole = (info.st_size, info.st_mtime_ns) if path != directory else ()
                entries[name] = (info.st_mode, info.st_uid, info.st_gid, *whole)
        return entries


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


@contextlib.contextmanager
def fleet(home: Path, names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """Booted hosts of these names, and below `home` the key (`key`) and the `known_hosts` that lead to them."""
    require("wsgi")
    for program in (SSHD, "ssh", "unshare", "nsenter", "setpriv"):
        if not shutil.which(program):
            missing(f"{program} is not installed")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "key"], check=True)
    hosts = {name: Host(name, home / name) for name in names}
    try:
        for host in hosts.values():
            host.boot(home / "key.pub")
        (home / "known_hosts").write_text("".join(host.known() for host in hosts.values()))
        yield hosts
    finally:
        for host in hosts.values():
            host.end()


class Watch:
    """Asks every host for its page again and again, until it is left: `seen[name]` is how its answers changed."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self.hosts = hosts
        self.seen: dict[str, list[Any]] = {name: [] for name in hosts}
        self.asked = dict.fromkeys(hosts, 0)
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(name,)) for name in hosts]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, name: str) -> None:
        while not self._done.is_set():
            page = self.hosts[name].get()
            self.asked[name] += 1
            if not self.seen[name] or self.seen[name][-1] != page:
                self.seen[name].append(page)
            time.sleep(0.1)
