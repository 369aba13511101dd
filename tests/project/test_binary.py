"""The program of scripts/binary, in root directories that have no libc, Python 3 or shell: it and the target alone."""

from __future__ import annotations

import ast
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import ROOT
from support.archives import tree
from support.deployment import Deployment
from support.httpd import wait_for
from support.judge import eggcache
from support.kernels import UNAME, old_kernel
from support.parts import missing
from support.programs import libraries
from support.sites import write_egg

from eggcache import __version__
from eggcache.cli.main import COMMANDS
from eggcache.system import safe_dirs

ACCOUNTS = "root:x:0:0::/:/bin/false\nwww:x:65534:65534::/:/bin/false\nadmin:x:1234:1234::/:/bin/false\n"
GROUPS = "root:x:0:\nwww:x:65534:\nlogs:x:4321:www\nadmin:x:1234:\n"
ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"
GAP = (2014, 3, 30, 2, 30, 0)  # there was no such time in that zone, and C libraries disagree about when it was
INIT = ["--for", "init.d", "--apachectl", "/bin/eggcache", "--pid-file", "/run/httpd.pid"]
DEVICES = {"null": (1, 3), "urandom": (1, 9)}
NO_TMP = 'mount -t tmpfs -o noexec,nosuid,nodev,ro,size=4k none "$R/tmp"'


def made(into: Path) -> Path:
    """What scripts/binary makes."""
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "binary", "-o", into], cwd="/", capture_output=True, text=True, check=False
    )
    if result.returncode:
        missing(f"scripts/binary cannot make the program: {result.stderr[-2000:]}")
    return into


@pytest.fixture(scope="module")
def program(where: Path) -> Path:
    """The program; CPython is compiled for it once on this machine."""
    return made(where / "eggcache-program")


@dataclass
class Root:
    """A root directory, for a process that sees no other."""

    path: Path
    mounts: str  # commands for sh, of which $R is the path

    def run(
        self,
        *words: str | Path,
        user: int = 0,
        before: str = "",
        status: int = 0,
        preexec: Callable[[], None] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """How the program ends there with these words, as `user`, whose groups are those of a login."""
        groups = {0: "0", 1234: "1234", 65534: "65534,4321"}[user]
        enter = f'chroot --userspec={user}:{user} --groups={groups} "$R" /bin/eggcache "$@" || exit $?'
        result = subprocess.run(
            [*(UNAME if preexec else []), "unshare", "-m", "-p", "--fork", "--kill-child", "sh", "-c",
             f"set -e\nR={self.path}\n{self.mounts}\n{before}\n{enter}", "sh", *map(str, words)],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=300, check=False, preexec_fn=preexec,
        )  # fmt: skip
        assert result.returncode == status, f"{words}\n{result.stdout}{result.stderr}"
        assert "-vv" not in result.stderr  # as what no module expects ends
        return result


@pytest.fixture
def bare(program: Path, shared_tmp: Path) -> Root:
    """A root directory with the program, and nothing else."""
    if os.geteuid() != 0:
        missing("only root can change the root directory")
    (shared_tmp / "root" / "bin").mkdir(parents=True)
    shutil.copy(program, shared_tmp / "root" / "bin" / "eggcache")
    return Root(shared_tmp / "root", "")


@pytest.fixture
def host(bare: Root, turbogears1_complete: Deployment, interpreter: Callable[[str], Path]) -> Root:
    """The same with accounts, TurboGears for a CPython 2.7, that CPython and its libraries."""
    python = interpreter("2.7")
    used = [python.parent.parent, turbogears1_complete.root]
    for library in libraries(python, *python.parent.parent.glob("lib/python2.7/lib-dynload/*.so")):
        copy = Path(f"{bare.path}{library}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, copy)
    for name in ("dev", "etc", "proc", "tmp", "srv", "var/cache"):
        (bare.path / name).mkdir(parents=True, exist_ok=True)
    (bare.path / "tmp").chmod(0o1777)
    for name, numbers in DEVICES.items():
        os.mknod(bare.path / "dev" / name, 0o20666, os.makedev(*numbers))
    (bare.path / "etc" / "passwd").write_text(ACCOUNTS)
    (bare.path / "etc" / "group").write_text(GROUPS)
    # A source of accounts of which the program has no library, as on a host with another libc
    (bare.path / "etc" / "nsswitch.conf").write_text("passwd: sss\ngroup: sss\ninitgroups: sss\n")
    for directory in used:
        Path(f"{bare.path}{directory}").mkdir(parents=True, exist_ok=True)
    binds = "\n".join(f'mount --bind "{directory}" "$R{directory}"' for directory in used)
    return Root(bare.path, f'{binds}\nmount -t proc none "$R/proc"')


def opened_elsewhere(descriptor: int) -> bool:
    """Whether another program has that file open: a process of this one, which is about to run another, may have it."""
    own = Path("/proc/self/cmdline").read_bytes()
    for number in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):  # it has ended meanwhile, for which a glob raises
            if Path(f"/proc/{number}/cmdline").read_bytes() != own:
                for name in os.listdir(f"/proc/{number}/fd"):
                    with suppress(OSError):
                        if os.path.samestat(os.stat(f"/proc/{number}/fd/{name}"), os.fstat(descriptor)):
                            return True
    return False


def test_nothing_is_needed(bare: Root) -> None:
    """Without any library, /proc, /dev, /etc or /tmp it says its version and its help, and what is missing."""
    assert bare.run("--version").stdout == f"eggcache {__version__}\n"
    for command in COMMANDS:
        assert bare.run(command, "--help").stdout.startswith(f"usage: eggcache {command}")
    assert "target: none is named" in bare.run("-v", "--version").stdout
    assert bare.run("explain", "not-zip-safe").stdout
    for user in (0, 1234):
        said = bare.run("tree", user=user, status=2).stderr
        assert said == (
            "eggcache: --python: no Python is named, and no Python runs this eggcache, which is a "
            "program of its own; name the interpreter that Apache runs: --python PATH\n"
        )
    assert {path.name for path in bare.path.rglob("*")} == {"bin", "eggcache"}


@pytest.mark.parametrize("user", [0, 1234])
def test_every_command(host: Root, turbogears1_complete: Deployment, user: int) -> None:
    """Each command works on TurboGears where there is nothing but the target, and a /tmp in which nothing can be run or
    written, as root and as anybody; as root, though nobody else can read the program. Without /proc each says so, or
    does without."""
    used: set[str] = set()
    unmounted = Root(host.path, host.mounts.replace("mount -t proc", "true"))

    def run(command: str, *words: str | Path, status: int = 0, proc: bool = True) -> str:
        used.add(command)
        if proc:
            result = unmounted.run(command, *words, user=user, status=1)
            assert (result.stdout, result.stderr.startswith("eggcache: /proc: it is not mounted here")) == ("", True)
        return host.run(command, *words, user=user, status=status, before=NO_TMP).stdout

    if user == 0:
        (host.path / "bin" / "eggcache").chmod(0o700)
    (host.path / "srv" / "eggs").mkdir()
    write_egg(host.path / "srv" / "eggs" / "One-1.0-py2.7.egg", {"one.py": "", "one.txt": "one\n"})
    for path in (host.path / "srv", *(host.path / "srv").rglob("*")):
        os.chown(path, user, user)
    python = ["--python", turbogears1_complete.python]
    reader = [*python, *(["--user", "www", "--group", "logs"] if user == 0 else ["--user", "admin"])]
    cache = "/srv/cache"
    assert "TurboGears 1.1.3" in run("tree", *python, proc=False)
    assert "26 eggs made" in run("prepare", cache, *reader)
    assert run("prepare", cache, *reader, proc=False) == ""  # with nothing to do
    info = (host.path / "srv" / "cache").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == ((0, 4321, 0o750) if user == 0 else (1234, 1234, 0o755))
    said = run("check", "--cache", cache, *reader, status=3 if user else 0)  # who made it can write to it
    assert ("cache-writable" in said) == bool(user)
    assert "current" in run("status", cache, proc=False)
    line = re.search(r"^ *exec (/bin/eggcache prepare .*)$", run("wrapper", cache, *reader, *INIT, proc=False), re.M)
    assert line
    run("wheels", "/srv/wheels", *python)
    assert len(list((host.path / "srv" / "wheels").glob("*.whl"))) > 20
    page = run("report", "--cache", cache, *reader)
    assert "<h2>The tree</h2>" in page
    run("archive", "/srv/cache.tar", *reader)
    assert (host.path / "srv" / "cache.tar").stat().st_size > 20_000_000
    assert "not-zip-safe" in run("explain", "not-zip-safe", proc=False)
    run("archive", "/srv/unzipped.tar", "--unzipped", "--eggs-in", "/srv/eggs", "--for-python", "2.7")
    run("unzip-all", "--path", "/srv/eggs/One-1.0-py2.7.egg", *python, "One")
    assert (host.path / "srv" / "eggs" / "One-1.0-py2.7.egg" / "one.txt").is_file()
    run("remove", cache)
    assert not (host.path / "srv" / "cache").exists()
    assert used == set(COMMANDS)


def test_same_as_installed(host: Root, turbogears1_complete: Deployment, shared_tmp: Path) -> None:
    """It leaves in a cache what the installed eggcache leaves there, the time of a member too that was packed in an
    hour which did not exist."""
    eggs = shared_tmp / "eggs"
    eggs.mkdir()
    write_egg(eggs / "One-1.0-py2.7.egg", {"one.py": "", "one.txt": "one\n"}, when=GAP)
    (host.path / "eggs").mkdir()
    there = Path(f"{host.path}{eggs}")
    there.mkdir(parents=True)
    shutil.copy2(eggs / "One-1.0-py2.7.egg", there)
    words = ["--python", turbogears1_complete.python, "--path", eggs, "--user", "65534", "--tz", ZONE]
    host.run("prepare", "/var/cache/e", *words)
    result = eggcache("prepare", shared_tmp / "cache", *words)
    assert result.returncode == 0, result.stderr
    ours, theirs = tree(host.path / "var" / "cache" / "e"), tree(shared_tmp / "cache")
    assert ours == theirs
    assert len(ours) > 2000
    host.run("check", "--cache", "/var/cache/e", *words)


def test_limits_of_the_page(host: Root, turbogears1_complete: Deployment, shared_tmp: Path) -> None:
    """An account that is in no /etc/passwd is known by its number alone; a message is in UTF-8 in the C locale too; and
    no process opens a connection or listens to one."""
    (host.path / "srv" / "caf\u00e9").mkdir()
    write_egg(host.path / "srv" / "caf\u00e9" / "One-1.0-py2.7.egg", {"one.py": "", "one.txt": "one\n"})
    words = ["--python", turbogears1_complete.python, "--path", "/srv/caf\u00e9"]
    said = host.run("prepare", "/var/cache/e", *words, "--user", "ldap", status=2).stderr
    assert "ldap" in said
    log = shared_tmp / "trace"
    traced = f'chroot() {{ strace -f -qq -o {log} -e trace=%network,execve /usr/sbin/chroot "$@"; }}'
    number = ["--user", "1000620000", "--group", "4321"]
    assert "made" in host.run("prepare", "/var/cache/e", *words, *number, before=traced).stdout
    host.run("check", "--cache", "/var/cache/e", *words, *number, before=traced.replace(" -o ", " -A -o "))
    assert "/srv/caf\u00e9/One-1.0-py2.7.egg" in host.run("tree", "--all", *words).stdout
    assert (host.path / "var" / "cache" / "e").stat().st_gid == 4321
    assert log.read_text().count('execve("/bin/eggcache"') == 2
    assert not re.search(r"socket\(AF_INET|(?:listen|bind|accept4?)\(", log.read_text())


def test_old_kernel(host: Root, turbogears1_complete: Deployment) -> None:
    """A kernel with no call that came after 2.6.32 is enough: to prepare, prove, renew and remove."""
    words = ["--python", turbogears1_complete.python, "--user", "www"]
    host.run("prepare", "/var/cache/e", *words, preexec=old_kernel)
    assert host.run("prepare", "/var/cache/e", *words, preexec=old_kernel).stderr == ""
    host.run("check", "--cache", "/var/cache/e", *words, preexec=old_kernel)
    next((host.path / "var" / "cache" / "e").glob("*-tmp/EGG-INFO/PKG-INFO")).write_text("")
    host.run("prepare", "/var/cache/e", *words, "--allow-gap", preexec=old_kernel)
    host.run("check", "--cache", "/var/cache/e", *words, preexec=old_kernel)
    host.run("remove", "/var/cache/e", preexec=old_kernel)


def test_replaced_while_it_runs(host: Root, turbogears1_complete: Deployment) -> None:
    """It can be replaced while it runs: what it has not imported yet is in its memory, not read from that file."""
    cache = host.path / "var" / "cache" / "e"
    cache.mkdir(mode=0o755)
    with (cache / safe_dirs.LOCK).open("w") as lock:
        os.chmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        words = ["prepare", "/var/cache/e", "--python", turbogears1_complete.python, "--user", "www"]
        with ThreadPoolExecutor(1) as pool:
            ends = pool.submit(host.run, *words)
            wait_for(lambda: opened_elsewhere(lock.fileno()), lambda: "it does not wait for the lock")
            (host.path / "bin" / "eggcache").unlink()
            (host.path / "bin" / "eggcache").write_bytes(b"another program")
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert "26 eggs made" in ends.result().stdout


def test_program_is_the_same_to_the_byte(program: Path, tmp_path: Path) -> None:
    """The same source gives the same bytes, and none of them tells where it was made."""
    again = made(tmp_path / "again")
    assert again.read_bytes() == program.read_bytes()
    assert again.stat().st_mode & 0o777 == 0o755
    for place in (ROOT, Path.home() / ".cache", Path(sys.prefix)):
        assert os.fsencode(place) not in again.read_bytes()


def test_all_of_ctypes_that_is_used() -> None:
    """Whatever eggcache uses of ctypes, and calls of the C library, is in the program's own ctypes."""
    text = (ROOT / "scripts" / "frozen" / "ctypes.py").read_text()
    there = {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    there |= {name.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assign)
              for name in ast.walk(node.targets[0]) if isinstance(name, ast.Name)}  # fmt: skip
    used = set()
    for path in (ROOT / "eggcache").rglob("*.py"):
        if "inside" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("ctypes", "libc"):
                    used.add(node.attr)
    assert {"CDLL", "prctl", "syncfs", "renameat2"} <= used
    assert used - {"syscall"} <= there  # the number of a call that its C library does not know
