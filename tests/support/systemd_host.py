"""A host of a test's own on which systemd is process 1: over this machine's own root, of which nothing is changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support import ROOT
from support.httpd import wait_for
from support.parts import missing

SYSTEMD = "/lib/systemd/systemd"
# Everything is written to a tmpfs that only this host sees, and that outlives its first process: a reboot, of which
# unshare ends as by SIGHUP, is another one on the same files. /run and /tmp are new then. Three boots are all that a
# test needs: a systemd that ended so by itself would be booted without end.
HOLD = r"""
place=$1
shift
mount -t tmpfs tmpfs "$place"
system=$place/upper/etc/systemd/system
mkdir -p "$system" "$place/work" "$place/root"
ln -s /lib/systemd/system/sysinit.target "$system/default.target"
for boot in 1 2 3; do
    status=0
    "$@" || status=$?
    [ "$status" = 129 ] || break
done
"""
# The overlay is not to be asked for what changes below it, so what the tests write, and run, is bound over it.
BOOT = r"""
new=$1 r=$1/root
shift
mount -t overlay overlay -o "lowerdir=/,upperdir=$new/upper,workdir=$new/work" "$r"
if [ ! -e "$new/booted" ]; then # the machine may have an eggcache, and sites, of its own
    rm -rf "$r/opt/eggcache" "$r/var/cache/eggcache" "$r"/srv/*
    : >"$new/booted"
fi
mount -t proc proc "$r/proc"
mount -t sysfs -o ro sysfs "$r/sys"
mount -t tmpfs -o mode=755 tmpfs "$r/sys/fs/cgroup" 2>/dev/null || :
mount -t cgroup2 cgroup2 "$r/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$r/dev"
for device in null zero full random urandom tty; do
    : >"$r/dev/$device"
    mount --bind "/dev/$device" "$r/dev/$device"
done
mkdir "$r/dev/pts" "$r/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$r/dev/pts"
ln -s pts/ptmx "$r/dev/ptmx"
ln -s /proc/self/fd "$r/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$r/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$r/run"
mount -t tmpfs -o mode=1777 tmpfs "$r/tmp"
for place; do # after /tmp: it may be there
    mkdir -p "$r$place"
    mount --bind "$place" "$r$place"
    mount -o remount,bind,ro "$r$place"
done
cd "$r"
pivot_root . .
umount -l .
exec env -i container=tests "$0" --system
"""


@dataclass
class SystemdHost:
    """One of them. It has a network of its own: 127.0.0.1 and every port are its own."""

    place: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="eggcache-host-")))
    group: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    init: int = 0  # its first process, as we number it

    def boot(self) -> None:
        """Return when systemd says that it runs."""
        self.group = cgroup2() / self.place.name
        self.group.mkdir()
        bound = sorted({os.fspath(ROOT), sys.prefix, sys.base_prefix, os.environ["EGGCACHE_TESTS"]})
        with (self.place.with_suffix(".log")).open("wb") as log:
            self.process = subprocess.Popen(
                # Where we end without a word, all that runs there does.
                ["setpriv", "--pdeathsig", "KILL", "sh", "-ec", 'echo $$ >"$0"; exec "$@"', self.group / "cgroup.procs",
                 "unshare", "--mount", "--propagation", "private", "sh", "-ec", HOLD, "sh", self.place,
                 "setpriv", "--pdeathsig", "KILL",
                 "unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--kill-child",
                 "--propagation", "private", "sh", "-ec", BOOT, SYSTEMD, self.place, *bound],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._await()

    def reboot(self) -> None:
        """Return when it has ended all that runs there, and is up once more."""
        ended = self.init
        self.run("systemctl", "reboot", check=False)  # the answer may be cut off
        wait_for(lambda: not Path(f"/proc/{ended}").exists(), self.log)
        self._await()

    def _await(self) -> None:
        """Return when the systemd that has been started says that it runs."""
        assert self.process
        wait_for(lambda: self._grandchild() and self._name() == "systemd", self.log)
        self.init = self._grandchild()
        wait_for(lambda: self.run("systemctl", "is-system-running", check=False).stdout == "running\n", self.log)
        self.run("systemctl", "start", "dbus.socket")  # by which anybody but root asks systemd

    def _grandchild(self) -> int:
        """The child of the process's child, which is the first one of the host; 0 where there is none yet."""
        assert self.process
        pid = self.process.pid
        for _ in range(2):
            with contextlib.suppress(OSError):
                pid = int((Path(f"/proc/{pid}/task/{pid}/children").read_text().split() or ["0"])[0])
        return pid

    def _name(self) -> str:
        try:
            return Path(f"/proc/{self._grandchild()}/comm").read_text().strip()
        except OSError:  # it may be on its way out
            return ""

    def log(self) -> str:
        return self.place.with_suffix(".log").read_text(errors="replace")

    def path(self, inside: str | Path) -> Path:
        """What it calls `inside`, as we reach it."""
        return Path(f"/proc/{self.init}/root{inside}")

    @property
    def inside(self) -> list[str]:
        """The command that runs another one in the host, as its root."""
        return ["nsenter", "--target", str(self.init), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run it in the host, as its root."""
        result = subprocess.run(
            [*self.inside, *command],
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert not check or result.returncode == 0, f"{command}: {result.returncode}\n{result.stdout}{result.stderr}"
        return result

    def sh(self, script: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "-ec", script, check=check)

    def write(self, file: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the host's, and make its directory."""
        path = self.path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def end(self) -> None:
        """Its first process ends, and all of its others and its mounts with it."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            if self.init:
                wait_for(lambda: not Path(f"/proc/{self.init}").exists(), self.log)
        if self.group:
            remove(self.group)
        self.place.rmdir()
        self.place.with_suffix(".log").unlink(missing_ok=True)


def cgroup2() -> Path:
    """Where this machine has its control groups of version 2."""
    mounts = [line.partition(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    places = [before.split()[4] for before, _, after in mounts if after.startswith("cgroup2 ")]
    if not places or not os.access(places[0], os.W_OK):
        missing("no control groups of version 2 can be made")
    return Path(places[0])


def remove(group: Path) -> None:
    """Remove a control group and those in it; the last process may still be on its way out."""
    for _ in range(100):
        for directory, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        if not group.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{group} is in use")


@contextlib.contextmanager
def booted() -> Iterator[SystemdHost]:
    """A host that is up, until it is left."""
    if os.geteuid() != 0:
        missing("only root can boot a systemd of its own")
    for program in (SYSTEMD, "unshare", "nsenter", "setpriv", "pivot_root"):
        if not shutil.which(program):
            missing(f"{program} is not installed")
    host = SystemdHost()
    try:
        host.boot()
        yield host
    finally:
        host.end()
