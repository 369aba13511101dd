"""Runs, kills, failures, plants and upgrades in any order: after every step the cache is what it may be, and no more.

One example is a history of one cache. hypothesis chooses the histories, shortens one that fails and prints how to
repeat it. CI spends about a minute; EGGCACHE_STATEFUL_EXAMPLES=200 makes it longer.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support import ROOT
from support.judge import environment, listing
from support.sites import Site, write_egg

EXAMPLES = int(os.environ.get("EGGCACHE_STATEFUL_EXAMPLES", "15"))
PROJECTS = ("One", "Two", "Three")
TEXTS = ("", "first\n", "second\n" * 100)
CALLS = ("mkdir", "openat", "write", "fchown", "fchmod", "utimensat", "syncfs", "rename", "renameat2", "fsync",
         "unlinkat", "rmdir", "flock")  # fmt: skip
ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS", "EACCES")
NAMES = (".eggcache.json", "One-1.0-py3.11.egg-tmp", "Two-1.0-py3.11.egg-tmp", ".eggcache-stage-0123456789abcdef")


def fifo(path: Path, victim: Path) -> None:
    os.mkfifo(path, 0o600)


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def file(path: Path, victim: Path) -> None:
    path.write_text("planted")


def others(path: Path, victim: Path) -> None:
    path.mkdir()
    os.chown(path, 12345, 12345)


class History(RuleBasedStateMachine):
    """A cache, its eggs, and all that ever happens to them."""

    python: Path
    where: Path
    account: pwd.struct_passwd

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(prefix="stateful-", dir=self.where))
        self.top.chmod(0o755)
        (self.top / "eggs").mkdir()
        self.victim = self.top / "victim"
        self.victim.mkdir(mode=0o700)
        (self.victim / "file").write_text("precious")
        self.untouched = listing(self.victim)
        self.site = Site(self.python, self.top / "eggs", self.top / "cache", self.account)
        self.versions: dict[str, set[tuple[tuple[str, bytes], ...]]] = {}  # by name: all that an egg ever held
        self.planted: dict[str, tuple[int, ...] | None] = {}  # what lies there, by name
        self.foreign: dict[str, tuple[int, ...]] = {}  # entries of others that nothing may touch

    def identity(self, name: str) -> tuple[int, ...] | None:
        """What an entry of the cache is, to tell later whether it is still there."""
        try:
            info = (self.site.cache / name).lstat()
        except OSError:
            return None
        return info.st_ino, info.st_mode, info.st_uid

    def teardown(self) -> None:
        shutil.rmtree(self.top, ignore_errors=True)

    # ---------------------------------------------------------------------------------------------- what happens

    @initialize(text=st.sampled_from(TEXTS))
    def begin(self, text: str) -> None:
        self.install("One", text)

    @rule(project=st.sampled_from(PROJECTS), text=st.sampled_from(TEXTS))
    def install(self, project: str, text: str) -> None:
        """Install an egg, or another content of it."""
        egg = self.site.eggs / f"{project}-1.0-py3.11.egg"
        files = {f"{project}/__init__.py": "", f"{project}/data/text.txt": text, f"{project}/empty": ""}
        new = write_egg(egg.with_suffix(".new"), files, project=project)
        new.rename(egg)
        held = [(name, data.encode()) for name, data in files.items()]
        held.append(("EGG-INFO/PKG-INFO", f"Metadata-Version: 1.0\nName: {project}\nVersion: 1.0\n".encode()))
        self.versions.setdefault(f"{egg.name}-tmp", set()).add(tuple(sorted(held)))

    @rule(project=st.sampled_from(PROJECTS))
    def uninstall(self, project: str) -> None:
        (self.site.eggs / f"{project}-1.0-py3.11.egg").unlink(missing_ok=True)

    @rule(options=st.sampled_from(([], ["--prune"], ["--reset"], ["--tz", "Asia/Tokyo"], ["-n"])))
    def run(self, options: list[str]) -> None:
        """A run to its end: all that is installed is served, nothing of an earlier run is left over."""
        result = self.site.prepare(*options)
        if "it is prepared for " in result.stderr:  # the other zone: it serves that one
            assert result.returncode == 4
            return
        assert result.returncode in (0, 4), result.stderr  # 4: something planted is another user's
        assert result.returncode == 0 or self.planted
        if options == ["-n"]:
            return
        again = self.site.prepare(*options)
        self.planted = {name: was for name, was in self.planted.items() if self.identity(name) == was}
        if again.returncode == 4:  # still there, and named
            assert self.planted
            assert "belongs to uid 12345" in again.stderr
            return
        assert (again.returncode, again.stdout) == (0, ""), again.stderr
        self.site.account = self.account
        eggs = {f"{egg.name}-tmp" for egg in self.site.eggs.glob("*.egg")}
        extra = {path.name for path in self.site.cache.glob("*-tmp")} - eggs
        assert not ("--prune" in options and extra)
        others = {re.escape(name) for name in extra | self.planted.keys()}
        there = re.compile(rf"(?:{re.escape(str(self.site.cache))}/)?(?:{'|'.join(others) or '$'})(?:/|:|$)")
        assert [failure for failure in self.site.wrong() if not there.match(failure)] == []
        assert not list(self.site.cache.glob(".eggcache-stage-*"))

    @rule(call=st.sampled_from(CALLS), when=st.integers(1, 12), what=st.sampled_from(("signal=KILL", *ERRORS)))
    def disturb(self, call: str, when: int, what: str) -> None:
        """A run that is killed at a system call, or for which one fails."""
        how = what if "=" in what else f"error={what}"
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", self.site.cache, "-e", f"trace={call}",
                   "-e", f"inject={call}:{how}:when={when}", sys.executable, "-m", "eggcache", "prepare",
                   self.site.cache, *self.site.options]  # fmt: skip
        result = subprocess.run(
            command, cwd=ROOT, env=environment({"PYTHONDONTWRITEBYTECODE": "1"}), capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert "Traceback" not in result.stderr
        assert result.returncode in (0, 1, 3, 4, -9, 137), result.stderr

    @rule(name=st.sampled_from(NAMES), plant=st.sampled_from((fifo, link, file, others)))
    def plant(self, name: str, plant: Callable[[Path, Path], None]) -> None:
        """Something of root's, or of somebody who could once write there, lies at a name that is opened."""
        path = self.site.cache / name
        if not self.site.cache.is_dir() or (name == ".eggcache.json" and plant is others):  # see test_planted
            return
        subprocess.run(["rm", "-rf", path], check=True)
        plant(path, self.victim / "file")
        self.planted[name] = self.identity(name)

    @rule()
    def stray(self) -> None:
        """Another user's directory that no tree needs, in a cache that he could once write to."""
        path = self.site.cache / "Stray-1.0-py3.11.egg-tmp"
        if self.site.cache.is_dir() and not path.exists():
            others(path, self.victim)
            self.foreign[path.name] = tuple(path.lstat())[:6]
            self.planted[path.name] = self.identity(path.name)

    # --------------------------------------------------------------------------------------------- what always holds

    @invariant()
    def nothing_foreign_is_touched(self) -> None:
        assert listing(self.victim) == self.untouched
        for name, before in self.foreign.items():
            path = self.site.cache / name
            assert not path.exists() or tuple(path.lstat())[:6] == before

    @invariant()
    def nobody_else_can_write(self) -> None:
        """What is not planted is root's, and not the group's or others' to write, at any moment."""
        for path, info in listing(self.site.cache).items() if self.site.cache.is_dir() else ():
            name = os.path.relpath(path, self.site.cache).split("/")[0]
            if name not in self.planted and name not in self.foreign:
                assert info[2] == 0, path
                assert not info[1] & 0o022 or stat.S_ISLNK(info[1]), path

    @invariant()
    def eggs_are_whole(self) -> None:
        """Every directory that pkg_resources would look into is one that an egg held, whole."""
        for place in self.site.cache.glob("*-tmp") if self.site.cache.is_dir() else ():
            if place.name in self.planted or place.name in self.foreign:
                continue
            held = tuple(sorted((str(path.relative_to(place)), path.read_bytes())
                                for path in place.rglob("*") if path.is_file()))  # fmt: skip
            assert held in self.versions[place.name], place


def test_invariants_hold_after_any_history(python: Path, where: Path, nobody: pwd.struct_passwd) -> None:
    """Whatever happens to a cache, and in whatever order, its invariants hold after every step."""
    machine = type("Machine", (History,), {"python": python, "where": where, "account": nobody})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=12, deadline=None, database=None, print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
