"""unzip-all --undo: what the backup kept is put back whole, or stays unzipped (crashes: see test_crashes.py)."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.httpd import wait_for
from support.judge import as_json, eggcache, environment, listing
from support.parts import built
from support.sites import leftovers
from support.zips import Entry, make

NAMES = [f"Kept{number}-1.0-py3.11.egg" for number in range(3)]


@dataclass
class Kept:
    """A target with three eggs that unzip-all made directories, and their zips in a backup."""

    deployment: Deployment
    before: dict[str, tuple[object, ...]]  # when they were zips

    @property
    def site(self) -> Path:
        return self.deployment.site_packages

    @property
    def backup(self) -> Path:
        return self.deployment.root / "zips"

    def undo(self, *more: str | Path, backup: Path | None = None) -> subprocess.CompletedProcess[str]:
        return eggcache(*self.command(*more, backup=backup))

    def command(self, *more: str | Path, backup: Path | None = None) -> list[str | Path]:
        python = self.deployment.python
        return ["unzip-all", "--all", "--undo", "--backup", backup or self.backup, "--python", python, *more]

    def injected(self, *faults: str) -> subprocess.Popen[str]:
        """A run with strace tampering with the system calls of its own process."""
        strace = [
            "strace",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=" + ",".join(fault.split(":")[0] for fault in faults),
        ]
        for fault in faults:
            strace += ["-e", f"inject={fault}"]
        return subprocess.Popen(
            [*strace, sys.executable, "-m", "eggcache", *map(str, self.command())],
            cwd=ROOT, env=environment({"PYTHONPATH": ""}), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def state(self) -> list[str]:
        """For each egg what it is, where it is whole."""
        states = []
        for name in NAMES:
            path, zipped = self.site / name, self.backup / name
            with zipfile.ZipFile(zipped) as opened:
                members = {name: opened.read(name) for name in opened.namelist()}
            if path.is_file():
                states.append("zip" if path.read_bytes() == zipped.read_bytes() else "broken")
            else:
                there = {str(one.relative_to(path)): one for one in path.rglob("*") if one.is_file()}
                whole = all(one in there and there[one].read_bytes() == data for one, data in members.items())
                states.append("directory" if whole else "broken")
        return states


def facts(site: Path) -> dict[str, tuple[object, ...]]:
    """Content, mode, owner and mtime of everything in site-packages but for that directory's own mtime."""
    entries = {}
    for path in site.rglob("*"):
        if "__pycache__" in path.parts:
            continue
        info = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        entries[str(path)] = (content, info.st_mode, info.st_uid, info.st_gid, path.is_file() and info.st_mtime_ns)
    return entries


@pytest.fixture(scope="module")
def pristine(where: Path) -> Deployment:
    """A target without pkg_resources, with three eggs."""
    made = built(lambda: deployment.target("3.11", "", where))
    for name in NAMES:
        package = name[:5].lower().encode()
        make(
            made.site_packages / name, Entry(package + b"/__init__.py", b"value = 1\n"), Entry(package + b"/data", b"x")
        )
    os.utime(made.site_packages / NAMES[0], ns=(10**18, 1234567890123456789))
    (made.site_packages / NAMES[1]).chmod(0o640)
    os.chown(made.site_packages / NAMES[1], 12345, 23456)
    return made


@pytest.fixture
def kept(pristine: Deployment, copy_of: Callable[[Deployment], Deployment]) -> Kept:
    made = copy_of(pristine)
    before = facts(made.site_packages)
    kept = Kept(made, before)
    result = eggcache("unzip-all", "--all", "--python", made.python, "--backup", kept.backup)
    assert result.returncode == 0, result.stderr
    assert kept.state() == ["directory"] * 3
    return kept


def test_unzip_and_undo_give_every_byte_back(
    turbogears1_complete: Deployment, copy_of: Callable[[Deployment], Deployment]
) -> None:
    """A real TurboGears, unzipped and put back: every byte, mode, owner and mtime as before, and it works as before."""
    made = copy_of(turbogears1_complete)
    code = "import pkg_resources; print(sorted(map(str, pkg_resources.require('TurboGears')))); import turbogears"
    cache = made.root / "cache"
    before, said = facts(made.site_packages), made.run(code, env={"PYTHON_EGG_CACHE": str(cache)}).stdout
    arguments = ("unzip-all", "--python", made.python, "--backup", made.root / "zips")
    assert eggcache(*arguments).returncode == 0
    assert facts(made.site_packages) != before
    made.run(code)  # which leaves byte code of its own
    everything = listing(made.root)
    planned = as_json(eggcache(*arguments, "--undo", "-n", "--json"))
    assert listing(made.root) == everything
    result = eggcache(*arguments, "--undo")
    assert result.returncode == 0, result.stderr
    assert facts(made.site_packages) == before
    assert leftovers(made.site_packages) == []
    eggs = [outcome["egg"] for outcome in planned["outcomes"]]
    assert {outcome["action"] for outcome in planned["outcomes"]} == {"restored"}
    assert f"{len(eggs)} eggs restored" in result.stdout
    assert sorted(os.path.basename(egg) for egg in eggs) == sorted(os.listdir(made.root / "zips"))
    assert len(eggs) > 20
    assert "restart every server" in result.stderr
    assert made.run(code, env={"PYTHON_EGG_CACHE": str(cache)}).stdout == said
    again = eggcache(*arguments, "--undo")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert facts(made.site_packages) == before


@pytest.mark.parametrize("owner", ["root", "daemon"])
def test_remedy_has_a_way_back(pristine: Deployment, copy_of: Callable[[Deployment], Deployment], owner: str) -> None:
    """What a remedy says, run as it stands, keeps the zips where the owner of the eggs may write, be it group-writable
    or not; and what unzip-all then says, run as it stands, gives every byte back."""
    made, (uid, gid) = copy_of(pristine), pwd.getpwnam(owner)[2:4]
    for path in (made.site_packages, *made.site_packages.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)
    if owner == "root":
        made.site_packages.chmod(0o775)  # by root's own group
    before = facts(made.site_packages)
    said = eggcache("prepare", made.root / "cache", "--python", made.python).stderr
    for pattern in (r"\((eggcache unzip-all [^)]*)\)", r"to put the zips back: (eggcache unzip-all .*)"):
        assert {(made.site_packages / name).is_file() for name in NAMES} == {"put" not in pattern}
        command = re.search(pattern, said)
        assert command, said
        result = eggcache(*shlex.split(command[1])[1:])
        assert result.returncode == 0, result.stderr
        said = result.stderr
    zips = made.site_packages / "eggcache-zips"
    assert sorted(os.listdir(zips)) == NAMES
    assert (zips.stat().st_uid, stat.S_IMODE(zips.stat().st_mode)) == (uid, 0o700)
    shutil.rmtree(zips)
    assert facts(made.site_packages) == before


def test_remedy_for_a_tree_passes_by_other_zips(
    pristine: Deployment, copy_of: Callable[[Deployment], Deployment]
) -> None:
    """What a remedy says of a whole tree, run as it stands, unzips every egg, also one that was built anew since an
    earlier run kept its zip; zips that were put back are kept where they were."""
    made = copy_of(pristine)
    zips = made.site_packages / "eggcache-zips"

    def remedy() -> list[str]:
        said = eggcache("prepare", made.root / "cache", "--python", made.python).stderr
        command = re.search(r"\((eggcache unzip-all [^)]*)\)", said)
        assert command, said
        return shlex.split(command[1])[1:]

    before = remedy()
    assert str(zips) in before
    assert eggcache(*before).returncode == 0
    assert eggcache(*before, "--undo").returncode == 0
    assert remedy() == before
    make(made.site_packages / NAMES[0], Entry(b"kept0/__init__.py", b"value = 2\n"))
    assert f"{zips}-2" in remedy()
    assert eggcache(*remedy()).returncode == 0
    assert [(made.site_packages / name).is_dir() for name in NAMES] == [True] * 3


def test_zips_are_what_they_were_and_the_backup_keeps_its_own(kept: Kept) -> None:
    """The zips are what they were; the backup keeps its own, which a write into an installed egg does not change."""
    backup = listing(kept.backup)
    result = kept.undo()
    assert (result.returncode, result.stderr.count("\n")) == (0, 1), result.stderr
    assert facts(kept.site) == kept.before
    now = listing(kept.backup)
    assert {name: info[:6] for name, info in now.items()} == {name: info[:6] for name, info in backup.items()}
    (kept.site / NAMES[0]).write_bytes(b"in place")
    assert listing(kept.backup) == now


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "content": (lambda egg: (egg / "kept1/data").write_bytes(b"y"), "kept1/data is missing, or not what"),
    "longer": (lambda egg: (egg / "kept1/data").write_bytes(b"xx"), "kept1/data is missing, or not what"),
    "gone": (lambda egg: (egg / "kept1/data").unlink(), "kept1/data is missing, or not what"),
    "extra": (lambda egg: (egg / "kept1/local.py").write_text("x"), "kept1/local.py is not in the zip"),
    "extra directory": (lambda egg: (egg / "local").mkdir(), "local/ is not in the zip"),
    "foreign byte code": (lambda egg: (egg / "kept1/local.pyc").write_text("x"), "kept1/local.pyc is not in the zip"),
    "no byte code": (
        lambda egg: (egg / "kept1/__pycache__/notes").write_text("x"),
        "kept1/__pycache__/notes is not in",
    ),
    "fifo": (lambda egg: ((egg / "kept1/data").unlink(), os.mkfifo(egg / "kept1/data")), "kept1/data is missing, or"),
    "link": (
        lambda egg: ((egg / "kept1/data").rename(egg.parent / "x"), (egg / "kept1/data").symlink_to(egg.parent / "x")),
        "kept1/data is missing, or not what",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_directory_stays_and_is_named(change: str, kept: Kept) -> None:
    """What somebody changed in a directory is not lost: it stays and is named; the others are put back (exit 3)."""
    egg = kept.site / NAMES[1]
    act, words = CHANGES[change]
    act(egg)
    before = listing(egg)
    for dry in (("-n",), ()):
        result = kept.undo(*dry)
        assert result.returncode == 3
        assert f"{egg}: it was changed since it was unzipped: {words}" in result.stderr.replace("\n", " ")
        assert "[egg-changed]" in result.stderr
    assert listing(egg) == before
    assert [(kept.site / name).is_file() for name in NAMES] == [True, False, True]
    assert leftovers(kept.site) == []


def test_byte_code_is_no_change(kept: Kept) -> None:
    """What a server that may write compiles, or a later unzip-all of another Python, does not hinder it."""
    cached = kept.site / NAMES[0] / "kept0" / "__pycache__"
    for name in ("__init__.cpython-38.pyc", "__init__.cpython-311.opt-1.pyc"):
        (cached / name).write_bytes(b"x")
    (kept.site / NAMES[0] / "kept0" / "__init__.pyc").write_bytes(b"x")
    shutil.rmtree(kept.site / NAMES[2] / "kept2" / "__pycache__")
    assert kept.undo().returncode == 0
    assert facts(kept.site) == kept.before


def test_directories_that_hold_no_file(kept: Kept) -> None:
    """An egg with an entry for an empty directory, and none for the directory above, is put back; and one whose
    directory for byte code is another one's than a source's is not."""
    assert kept.undo().returncode == 0
    shutil.rmtree(kept.backup)
    make(kept.site / NAMES[2], Entry(b"kept2/__init__.py"), Entry(b"top.py"), Entry(b"data/deep/empty/", method=0))
    before = facts(kept.site)
    assert eggcache(*(word for word in kept.command() if word != "--undo")).returncode == 0
    assert (kept.site / NAMES[2] / "data/deep/empty").is_dir()
    strange = kept.site / NAMES[2] / "kept2__pycache__"
    strange.mkdir()
    assert f"{NAMES[2]}: it was changed since it was unzipped: kept2__pycache__/ is not in the zip" in (
        kept.undo("-n").stderr.replace("\n", " ")
    )
    strange.rmdir()
    result = kept.undo()
    assert result.returncode == 0, result.stderr
    assert facts(kept.site) == before


def test_zip_that_is_missing(kept: Kept) -> None:
    """An unzipped egg that the backup has no zip of is named and stays; the others are put back."""
    (kept.backup / NAMES[2]).unlink()
    result = kept.undo()
    assert result.returncode == 0
    assert f"--backup {kept.backup} has no zip of {NAMES[2]}: left unzipped" in result.stderr
    assert [(kept.site / name).is_file() for name in NAMES] == [True, True, False]


def test_backup_of_another_python(kept: Kept, target: Callable[[str, str], Deployment]) -> None:
    """That all zips of a backup are another Python's eggs is said; once they are put back, there is nothing to do."""
    other = target("3.11", "65.5.0")
    result = eggcache("unzip-all", "--undo", "--backup", kept.backup, "--python", other.python)
    assert result.returncode == 2
    assert f"--backup {kept.backup}: none of its 3 zips is that of an egg of {other.python}; name the" in result.stderr
    assert kept.undo().returncode == 0
    again = kept.undo()
    assert (again.returncode, again.stderr) == (0, "")
    assert (
        kept.undo("-n").stdout == "there is no egg to be put back in the tree: nothing to do\n"
    )  # all of them are zips


def test_zip_that_is_damaged(kept: Kept) -> None:
    """A zip in the backup that the strict reader refuses, or another zip of that name, replaces nothing."""
    damaged = bytearray((kept.backup / NAMES[0]).read_bytes())
    damaged[60] ^= 1
    for name, data in ((NAMES[0], bytes(damaged)), (NAMES[1], (kept.backup / NAMES[2]).read_bytes())):
        (kept.backup / name).unlink()
        (kept.backup / name).write_bytes(data)
    result = kept.undo()
    assert result.returncode == 3
    assert f"{kept.backup / NAMES[0]}, member" in result.stderr
    assert f"{kept.site / NAMES[1]}: it was changed" in result.stderr
    assert [(kept.site / name).is_file() for name in NAMES] == [False, False, True]
    assert leftovers(kept.site) == []


def test_undo_without_a_safe_backup_does_nothing(kept: Kept) -> None:
    """Without --backup, with one that is missing, that others can write, or that is site-packages: nothing is done."""
    before = listing(kept.site)
    result = eggcache("unzip-all", "--all", "--undo", "--python", kept.deployment.python)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "--backup DIR" in result.stderr
    missing = kept.undo(backup=kept.site / "none")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "name the directory that has the zips" in missing.stderr
    assert kept.undo(backup=kept.site).returncode == 2
    kept.backup.chmod(0o777)
    unsafe = kept.undo()
    assert (unsafe.returncode, unsafe.stderr.count("\n")) == (4, 1)
    assert "others can write to it" in unsafe.stderr
    assert listing(kept.site) == before


def test_as_the_owner_of_site_packages(kept: Kept, nobody: pwd.struct_passwd) -> None:
    """As root on another user's site-packages it all runs as that user, and the zips are that user's."""
    for path in (kept.deployment.root, *kept.deployment.root.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    result = eggcache(*kept.command())
    assert result.returncode == 0, result.stderr
    assert kept.state() == ["zip"] * 3
    assert {(kept.site / name).stat().st_uid for name in NAMES} == {nobody.pw_uid}
    assert stat.S_IMODE((kept.site / NAMES[1]).stat().st_mode) == 0o640


@pytest.mark.parametrize("faults", [(), ("renameat2:signal=TERM:when=1",)], ids=["", "terminated"])
def test_what_is_written_during_undo_comes_back(faults: tuple[str, ...], kept: Kept) -> None:
    """What is written into a directory after it was compared comes back with it, and is not removed with the stage,
    even where a signal comes right after the exchange."""
    process = kept.injected("syncfs:delay_enter=2000000", *faults)
    local = kept.site / NAMES[0] / "local.py"

    def staged() -> bool:
        paths = kept.site.glob(f".eggcache-stage-*/{NAMES[2]}")
        return any(path.stat().st_size and stat.S_IMODE(path.stat().st_mode) != 0o600 for path in paths)

    wait_for(staged)
    local.write_text("precious")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (143 if faults else 1)
    assert local.read_text() == "precious"
    assert leftovers(kept.site) == []
    if not faults:
        assert f"{kept.site / NAMES[0]}: it changed while its zip was put back [not-restored]; run again" in errors
        assert [(kept.site / name).is_file() for name in NAMES] == [False, True, True]


def test_on_the_disk_before_it_is_seen(kept: Kept) -> None:
    """The zips are on the disk before they take their places, and the names before the directories are removed."""
    log = kept.deployment.root / "strace"
    trace = "trace=syncfs,renameat2,fsync,unlink,unlinkat,rmdir"
    result = subprocess.run(
        ["strace", "-o", log, "-e", trace, sys.executable, "-m", "eggcache", *map(str, kept.command())],
        cwd=ROOT, env=environment({"PYTHONDONTWRITEBYTECODE": "1"}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    calls = re.findall(r"^(?:\d+ +)?(\w+)\(", log.read_text(), re.MULTILINE)
    first = calls.index("syncfs")
    assert calls[first : first + 6] == ["syncfs", "renameat2", "renameat2", "renameat2", "fsync", calls[first + 5]]
    assert calls[first + 5] in ("unlink", "unlinkat", "rmdir")


def deep(below: Path) -> None:
    """Directories in each other, so many that no path names the last one."""
    here = os.open(below, os.O_RDONLY)
    for _ in range(2):
        for _ in range(10):
            os.mkdir("x" * 250, dir_fd=here)
            here, before = os.open("x" * 250, os.O_RDONLY, dir_fd=here), here
            os.close(before)
    os.close(here)


HINDRANCES: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "directory": (
        lambda egg: forbid(egg / "kept1"),
        4,
        "kept1/: Permission denied [not-permitted]; let nobody read it",
    ),
    "file": (
        lambda egg: forbid(egg / "kept1/data"),
        4,
        "kept1/data: Permission denied [not-permitted]; let nobody read it",
    ),
    "metadata": (
        lambda egg: forbid(egg / "EGG-INFO"),
        4,
        "EGG-INFO/: Permission denied [not-permitted]; let nobody read it",
    ),
    "byte code": (
        lambda egg: forbid(egg / "kept1/__pycache__"),
        4,
        "__pycache__/: Permission denied [not-permitted]; let nobody read it",
    ),
    "depth": (lambda egg: deep(egg), 3, f"{'x' * 250}/ is not in the zip"),
    "depth in byte code": (lambda egg: deep(egg / "kept1/__pycache__"), 3, f"{'x' * 250}/ is not in the zip"),
}


def forbid(path: Path) -> None:
    """Make it root's alone."""
    os.chown(path, 0, 0)
    path.chmod(0o700)


@pytest.mark.parametrize("hindrance", HINDRANCES)
def test_never_passed_over(hindrance: str, kept: Kept, nobody: pwd.struct_passwd) -> None:
    """An egg that cannot be looked through is named, and the exit status is not 0; the others are put back."""
    for path in (kept.deployment.root, *kept.deployment.root.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    egg = kept.site / NAMES[1]
    hinder, status, words = HINDRANCES[hindrance]
    hinder(egg)
    for dry in (("-n",), ()):
        result = eggcache(*kept.command(*dry))
        assert result.returncode == status, result.stderr
        assert str(egg) in result.stderr
        assert words in result.stderr.replace("\n", " ")
    assert [(kept.site / name).is_file() for name in NAMES] == [True, False, True]
    assert leftovers(kept.site) == []


def test_what_the_target_passes_over(
    own: Deployment, copy_of: Callable[[Deployment], Deployment], nobody: pwd.struct_passwd
) -> None:
    """An unzipped egg that pkg_resources does not take for one, since its metadata cannot be read, is named as well."""
    made = own
    for name in NAMES[:2]:
        make(made.site_packages / name, Entry(f"{name[:5].lower()}.py".encode()))
    for path in (made.root, *made.root.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    command = ["unzip-all", "--all", "--python", made.python, "--backup", made.root / "zips"]
    assert eggcache(*command).returncode == 0
    egg = made.site_packages / NAMES[1]
    forbid(egg / "EGG-INFO")
    for dry in (("-n",), ()):
        result = eggcache(*command, "--undo", *dry)
        assert result.returncode == 4
        assert f"{egg}: it cannot be put back: {egg.name}/EGG-INFO/: Permission denied" in result.stderr
    assert [(made.site_packages / name).is_file() for name in NAMES[:2]] == [True, False]
