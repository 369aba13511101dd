"""A host with an old Python that cannot run eggcache, and no other: busybox and CPython 2.7, by chroot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.deployment import Deployment
from support.judge import as_json, eggcache, judge, served
from support.parts import missing
from support.programs import libraries
from support.sites import write_egg

ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"  # there are no zone data on this host
CACHE = "/var/cache/eggcache"


@dataclass
class OldHost:
    """A root directory, and a TurboGears in it at the path that it has here."""

    root: Path
    own: Deployment
    said: dict[str, Any] = field(default_factory=dict)  # by `archive`, of the cache that is extracted

    @property
    def prove(self) -> str:
        """The command of the archive that has the verifier run."""
        command: str = self.said["commands"][2]
        return command.replace("USER", "www-data")

    def __truediv__(self, path: str | Path) -> Path:
        return self.root / str(path).lstrip("/")

    def run(self, command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A command line of its root's, in /root."""
        return subprocess.run(
            ["/usr/sbin/chroot", self.root, "/bin/sh", "-c", f"cd /root && {command}"], env={"PATH": "/bin", **env},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def bring(self, *options: str | Path, name: str = "cache.tar") -> dict[str, Any]:
        """What `archive` says of the archive that it has put into /root."""
        result = eggcache("archive", self / "root" / name, *options, "--json")
        assert result.returncode == 0, result.stderr
        return as_json(result)


@pytest.fixture(scope="module")
def host(turbogears1_complete: Deployment, where: Path) -> OldHost:
    """Busybox, a shell, two accounts, and a CPython 2.7 with TurboGears 1.1.3 in zipped eggs; nothing else."""
    busybox = shutil.which("busybox")
    if os.geteuid() != 0:
        missing("only root can chroot")
    if not busybox or "\nsu\n" not in subprocess.run([busybox, "--list"], capture_output=True, text=True).stdout:
        missing("busybox-static is not installed: the other busybox has no su")
    root = where / "old-host"
    for name in ("bin", "dev", "etc", "root", "tmp", "var/cache"):
        (root / name).mkdir(parents=True)
    home = next(path for path in where.glob("python-2.7*") if path.is_dir())
    for tree in (home, turbogears1_complete.root):
        (root / str(tree.parent).lstrip("/")).mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-al", tree, root / str(tree).lstrip("/")], check=True)
    for top in where.parents:
        (root / str(top).lstrip("/")).chmod(0o755)
    shutil.copy(busybox, root / "bin")
    modules = [*home.glob("lib/python2.7/lib-dynload/*.so"), turbogears1_complete.python, Path(busybox)]
    for library in libraries(*modules):
        if not (root / library.lstrip("/")).exists():
            (root / os.path.dirname(library).lstrip("/")).mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library.lstrip("/"))
    os.mknod(root / "dev" / "null", 0o020666, os.makedev(1, 3))
    (root / "dev" / "null").chmod(0o666)
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/false\n")
    (root / "etc" / "group").write_text("root:x:0:\nwww-data:x:33:\n")
    subprocess.run(["/usr/sbin/chroot", root, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    made = OldHost(root, turbogears1_complete)
    options = ("--python", made.own.python, "--group", "33", "--tz", ZONE, "TurboJson")  # five eggs; the page has all
    made.said = made.bring(*options, "--verifier", made / "root/verifier.py")
    return made


@pytest.fixture
def prepared(host: OldHost) -> OldHost:
    """The same with the cache extracted."""
    if not (host / CACHE).exists():
        result = host.run(host.said["commands"][0])
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    return host


def test_all_of_it(prepared: OldHost) -> None:
    """As the archive's commands say it: busybox extracts the cache, the host's Python proves it as its server's user,
    and serves every resource to that user, who tries to write nothing."""
    host = prepared
    compare = host.said["commands"][1].replace("-C /", f"-C {host.root}")  # busybox has no such option
    result = subprocess.run(["sh", "-c", compare], cwd=host / "root", capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    result = host.run(host.prove)
    packed = host.said["outcomes"]
    files = sum(item["files"] for item in packed)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{files:,} files of {len(packed)} eggs, as www-data: all current, nothing to write\n"
    verdict = judge(host.own.python, CACHE, [item["egg"] for item in packed], env={"TZ": ZONE}, root=host.root)
    assert served(verdict, CACHE) > files
    assert (host / "root/verifier.py").read_text().startswith((host / CACHE / "eggcache-verifier.py").read_text())


def _changed(file: Path) -> None:
    info = file.stat()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))


CHANGES: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "a byte": ("member-changed", "has the size and the time of the egg's, but other bytes", _changed),
    "the size": ("member-outdated", " bytes, the egg's has ", lambda file: os.truncate(file, 3)),
    "a time": ("member-outdated", ", the egg's is of ", lambda file: os.utime(file, (1, 1))),
    "a file": ("member-missing", "is not there", lambda file: file.unlink()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_wrong(prepared: OldHost, change: str) -> None:
    """Whatever is not as it was in the archive is told in one line, with exit status 3."""
    code, says, make = CHANGES[change]
    (egg,) = (prepared / CACHE).glob("TurboJson-*")
    kept = prepared / "root/kept"
    subprocess.run(["cp", "-a", egg, kept], check=True)
    make(egg / "turbojson" / "jsonsupport.py")
    result = prepared.run(prepared.prove)
    shutil.rmtree(egg, ignore_errors=True)
    kept.rename(egg)
    assert (result.returncode, result.stdout.count("\n"), result.stderr) == (3, 1, ""), result.stdout + result.stderr
    assert result.stdout.startswith(f"{code}: {CACHE}/")
    assert says in result.stdout


def test_another_or_unknown_zone_is_told_in_one_line(prepared: OldHost) -> None:
    """Another zone is told in one line, and so is one that this host knows nothing of."""
    verifier = f"su -s /bin/sh www-data -c '{{}} {prepared.own.python} {CACHE}/eggcache-verifier.py'"
    for zone, says in (
        ("unset TZ;", "this runs without TZ"),
        ("TZ=EST5EDT,M3.2.0,M11.1.0", "this runs with TZ=EST5EDT,M3"),
    ):
        result = prepared.run(verifier.format(zone))
        assert (result.returncode, result.stdout.count("\n"), says in result.stdout) == (3, 1, True), result.stdout
    said = prepared.bring(
        "--python", prepared.own.python, "--group", "33", "--tz", "Europe/Madrid", "TurboJson", name="other.tar"
    )
    for command in said["commands"][0], said["commands"][2].replace("USER", "www-data"):
        result = prepared.run(command)
    assert (result.returncode, result.stdout.count("\n")) == (3, 1)
    assert (
        "though it runs with TZ=Europe/Madrid, as the archive was made: the zone data of this host are not"
        in result.stdout
    )


def test_eggs_without_their_python(host: OldHost, tmp_path: Path) -> None:
    """Of eggs alone, whose Python is not here, an archive is made, and proven there by the Python that its command is
    completed with; it names the directory that the eggs lie in where Python does not have it on its path."""
    shutil.rmtree(host / CACHE, ignore_errors=True)
    eggs = tmp_path / "eggs"
    eggs.mkdir()
    write_egg(eggs / "Plug-1.0-py2.7.egg", {"plug/__init__.py": "", "plug/page.html": "page"})
    shutil.copytree(eggs, host / "srv/eggs")
    said = host.bring("--eggs-in", eggs, "--for-python", "2.7", "--tz", "UTC0", name="eggs.tar.gz")
    assert host.run(said["commands"][0]).returncode == 0
    prove = said["commands"][2].replace("USER", "www-data").replace("python2.7", str(host.own.python))
    result = host.run(prove)
    assert (result.returncode, "egg-unseen: Plug-1.0-py2.7.egg: it is in the archive" in result.stdout) == (3, True)
    result = host.run(prove.replace("verifier.py", "verifier.py /srv/eggs"))
    assert "egg-unseen" not in result.stdout
    assert f"egg-not-in-cache: {CACHE}/" in result.stdout  # TurboGears', which are on its path


def test_each_command_of_the_page_on_old_hosts_works(host: OldHost, tmp_path: Path) -> None:
    """Each command of the page is typed in, here or there, does what it is for, and says what the page has of it."""
    (tmp_path / "eggs").mkdir()
    for egg in host.own.eggs:
        shutil.copy2(egg, tmp_path / "eggs")
    (host / "bin/python2.7").symlink_to(host.own.python)
    shutil.rmtree(host / CACHE, ignore_errors=True)
    page = (ROOT / "docs" / "howto" / "old-host.rst").read_text()
    typed = re.findall(r"^    (here\$|host#) (.+)\n((?:    (?!here|host).+\n)*)", page, re.MULTILINE)
    assert len(typed) == 6
    for prompt, command, output in typed:
        compares = command.startswith("tar -d")  # which busybox cannot
        if prompt == "host#" and not compares:
            shutil.copy2(tmp_path / "cache.tar", host / "root")  # as scp does
            result = host.run(command)
        else:
            there = host / "root" if compares else tmp_path
            result = subprocess.run(
                ["sh", "-c", command.replace("-C /", f"-C {host.root}")], cwd=there, capture_output=True, text=True,
                env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}, check=False,
            )  # fmt: skip
        assert result.returncode == 0, (command, result.stdout, result.stderr)
        for line in output.splitlines():
            assert fnmatch(result.stdout.splitlines()[0], line.strip().replace("...", "*"))
    subprocess.run(["sh", "-n", tmp_path / "eggcache-apache"], check=True)
    result = host.run(
        f"su -s /bin/sh www-data -c 'TZ={ZONE} PYTHON_EGG_CACHE={CACHE} python2.7 -c \"import turbogears\"'"
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
