"""A small site: a target, two eggs on its path, and the place of their cache."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support import ROOT
from support.judge import as_json, eggcache, environment, judge, served

WHEN = (2009, 6, 15, 12, 0, 0)


def write_egg(
    path: Path, files: dict[str, str], *, project: str = "", when: tuple[int, int, int, int, int, int] = WHEN
) -> Path:
    """A real egg at `path` with `files` and the metadata of `project` (default: as the name says), packed `when`."""
    name = project or path.name.split("-")[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in {
            "EGG-INFO/PKG-INFO": f"Metadata-Version: 1.0\nName: {name}\nVersion: 1.0\n",
            **files,
        }.items():
            archive.writestr(zipfile.ZipInfo(member, when), text)
    path.chmod(0o644)
    return path


def measured(words: Sequence[str | Path], before: str = "") -> tuple[subprocess.CompletedProcess[str], int]:
    """How eggcache itself ended with these arguments, after the statements `before`, and its largest resident size, in
    KiB: its children's are not counted."""
    code = (
        f"import os, sys\n{before}\nfrom eggcache.cli import main as cli\nstatus = cli.main()\n"
        # VmHWM, since getrusage's maximum has the tests' own process in it, from before it became this one
        "size = open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]\n"
        "print('peak', os.getpid(), size)\nsys.exit(status)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment({"PYTHONPATH": str(ROOT)}), cwd="/",
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    return result, max(int(line.split()[2]) for line in result.stdout.splitlines() if line.startswith("peak "))


def leftovers(directory: Path) -> list[str]:
    """What an interrupted run left in a directory."""
    return [name for name in os.listdir(directory) if name.startswith(".eggcache")]


def named(eggs: Path) -> list[str | Path]:
    """Options that name each egg in a directory."""
    return [word for egg in sorted(eggs.glob("*.egg")) for word in ("--path", egg)]


@dataclass
class Site:
    """A target with two eggs in a directory on its path, and where their cache shall be."""

    python: Path
    eggs: Path
    cache: Path
    account: pwd.struct_passwd

    def prepare(self, *more: str | Path) -> subprocess.CompletedProcess[str]:
        return eggcache("prepare", self.cache, *self.options, *more)

    @property
    def options(self) -> list[str | Path]:
        return ["--all", "--path", self.eggs, "--python", self.python, "--user", self.account.pw_name]

    @property
    def unzipping(self) -> list[str | Path]:
        """The same eggs for unzip-all, each by its name: they are on no path of the target's own."""
        return ["--all", *named(self.eggs), "--python", self.python]

    def served(self) -> int:
        verdict = judge(self.python, self.cache, sorted(self.eggs.glob("*.egg")), self.account)
        return served(verdict, self.cache)

    def actions(self, *more: str) -> dict[str, str]:
        """What a prepare does to each egg, by the egg's project."""
        result = self.prepare("--json", *more)
        assert result.returncode == 0, result.stderr
        return {
            os.path.basename(outcome["into"]).split("-")[0]: outcome["action"]
            for outcome in as_json(result)["outcomes"]
        }

    def wrong(self) -> list[str]:
        """What in the cache is not exactly as it should be: each egg whole, root's and the group's, nothing else."""
        expected: dict[str, bytes | None] = {}
        for egg in self.eggs.glob("*.egg"):
            with zipfile.ZipFile(egg) as archive:
                for name in archive.namelist():
                    path = Path(f"{egg.name}-tmp", name)
                    expected[str(path)] = archive.read(name)
                    expected.update((str(above), None) for above in path.parents if above.name)
        faults = {}
        problems = []
        for top, directories, files in os.walk(self.cache):
            for name in (*directories, *files):
                path = Path(top, name)
                info = path.lstat()
                if name in (".eggcache.lock", ".eggcache.json"):
                    right = (info.st_mode, info.st_uid, info.st_nlink) == (0o100600, 0, 1)
                else:
                    content = path.read_bytes() if stat.S_ISREG(info.st_mode) else None  # reading a FIFO would hang
                    faults[str(path.relative_to(self.cache))] = content
                    mode = 0o040750 if path.is_dir() else 0o100640
                    right = (info.st_mode, info.st_uid, info.st_gid) == (mode, 0, self.account.pw_gid)
                if not right:
                    problems.append(f"{path}: mode {info.st_mode:06o}, owner {info.st_uid}:{info.st_gid}")
        different = {name for name in expected.keys() | faults.keys() if faults.get(name, 0) != expected.get(name, 0)}
        return problems + sorted(different)
