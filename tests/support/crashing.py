"""What is crashed: a small egg in a cache or in site-packages, the states that runs start from, and what stays true."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.injection import HURRIED, Call, hurried, inject, program, record
from support.judge import SLOW
from support.sites import write_egg

NAME = "One-1.0-py3.11.egg"


def content(version: int) -> dict[str, str]:
    """What the egg holds in its `version`, file by file."""
    return {
        "EGG-INFO/PKG-INFO": "Metadata-Version: 1.0\nName: One\nVersion: 1.0\n",
        "one/__init__.py": f"version = {version}\n",
        "one/data/text.txt": f"{version}\n" * 50,
    }


def files(directory: Path) -> dict[str, str]:
    """What lies below `directory`, byte code apart."""
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@dataclass
class Case:
    """One command, the state that it starts from, and what has to be true of its directories at any moment."""

    command: list[str]
    places: list[Path]  # whose changes count
    begin: Callable[[], None]  # bring about the state that the command starts from
    check: Callable[[], None]  # assert that whatever is there is whole
    finished: Callable[[], None]  # assert that all is done
    again: list[str] = field(default_factory=list)  # the next run, where it is another command
    options: tuple[str, ...] = ()  # for strace, at every run but the next one
    before: list[str] = field(default_factory=list)  # leftovers of another run
    since: str = ""  # calls before the first one of this name are those of another case

    def calls(self) -> list[Call]:
        self.begin()
        calls = record(self.command, self.places, options=self.options)
        self.check()
        self.finished()
        assert self.leftovers() == []
        first = next(number for number, call in enumerate(calls) if call.name.startswith(self.since))
        return [call for call in calls[first:] if call.own]

    def leftovers(self) -> list[str]:
        """What no finished run may leave."""
        return [
            str(path)
            for place in self.places
            for path in (*place.glob(".eggcache-*"), *place.parent.glob(f"{place.name}.*-*"))
            if not (path / "planted").exists()
        ]

    def run(self, call: Call, fault: str, *, onwards: bool = False) -> tuple[int, str]:
        """Run it with a fault and check what it leaves."""
        self.begin()
        self.before = self.leftovers()
        result = inject(self.command, call, fault, options=self.options, onwards=onwards)
        self.check()
        return result.returncode, SLOW.sub("", result.stderr)

    def left(self) -> set[str]:
        """What the run has left over itself."""
        return set(self.leftovers()) - set(self.before)

    def complete(self) -> None:
        """The next run does the rest, without a word of what was wrong, and leaves nothing over."""
        result = hurried(self.again or self.command)
        assert result.returncode == 0, result.stderr
        self.check()
        self.finished()
        assert self.leftovers() == []


@dataclass
class Caches:
    """Prepares of one small egg, in each of the ways that change a cache."""

    python: Path
    top: Path
    account: pwd.struct_passwd
    version: int = 0
    has: bool = False  # the egg is in the cache from the beginning

    def __post_init__(self) -> None:
        self.eggs = self.top / "eggs"
        self.eggs.mkdir()
        self.cache = self.top / "place" / "cache"
        self.cache.parent.mkdir()
        self.upgrade()

    def upgrade(self) -> None:
        self.version += 1
        write_egg(self.eggs / "new", content(self.version), project="One").rename(self.eggs / NAME)

    def command(self, *more: str) -> list[str]:
        where = ["--path", str(self.eggs), "--python", str(self.python), "--user", self.account.pw_name]
        return program("prepare", "-q", self.cache, "--all", *where, *more)

    def check(self) -> None:
        """Every egg in the cache is whole, of this version or of the one before; once there, it stays there."""
        for made in self.cache.glob("*-tmp"):
            known = [content(1)] if made.name.startswith("Gone") else map(content, (self.version, self.version - 1))
            assert files(made) in known, made
        if self.has:
            place = self.cache / f"{NAME}-tmp"
            assert place.exists() or files(aside(self.cache)) == content(self.version - 1)

    def finished(self) -> None:
        assert files(self.cache / f"{NAME}-tmp") == content(self.version)
        assert len(list(self.cache.glob("*-tmp"))) == 1

    def case(self, begin: Callable[[], None], *more: str, since: str = "", options: tuple[str, ...] = ()) -> Case:
        return Case(
            self.command(*more), [self.cache], begin, self.check, self.finished, options=(*options, *HURRIED),
            since=since, again=self.command(*(word for word in more if word != "--allow-gap")),
        )  # fmt: skip

    def nothing(self) -> None:
        """No cache yet."""
        shutil.rmtree(self.cache.parent)
        self.cache.parent.mkdir()

    def gone(self) -> None:
        """A cache with an egg that is gone, and with the version before of the other."""
        self.nothing()
        saved = self.top / "saved"
        if not saved.exists():
            gone = write_egg(self.eggs / f"Gone-{NAME}", content(1), project="Gone")
            assert hurried(self.command()).returncode == 0
            gone.unlink()
            shutil.move(self.cache, saved)
        shutil.copytree(saved, self.cache, copy_function=shutil.copy2)
        for path in (self.cache, *self.cache.rglob("*")):
            os.chown(path, 0, self.account.pw_gid)
        self.version = 1
        self.upgrade()
        self.has = True

    def old(self) -> None:
        """A cache with the version before."""
        self.gone()
        shutil.rmtree(self.cache / f"Gone-{NAME}-tmp")

    def foreign(self) -> None:
        """A directory of somebody else's in the place of the cache."""
        self.nothing()
        self.cache.mkdir()
        (self.cache / "planted").write_text("x")
        os.chown(self.cache, self.account.pw_uid, self.account.pw_gid)

    def killed(self) -> None:
        """What a killed run leaves: a stage with half an egg, a new receipt half written, something being removed."""
        self.old()
        stage = self.cache / ".eggcache-stage-0123456789abcdef"
        (stage / f"{NAME}-tmp" / "one").mkdir(parents=True)
        (stage / f"{NAME}-tmp" / "one" / "__init__.py").write_text("ver")
        (self.cache / ".eggcache-stage-00000000000000ff").write_text("{")

    def gap(self) -> None:
        """What a run leaves that was killed in the gap."""
        self.old()
        leave_gap(self.cache, f"{NAME}-tmp")


@dataclass
class Sites:
    """Runs of unzip-all on a directory of one small egg, in each of the ways that change it."""

    python: Path
    top: Path

    def __post_init__(self) -> None:
        self.site = self.top / "site"
        self.backup = self.top / "backup"

    def command(self, *more: str | Path) -> list[str]:
        return program("unzip-all", "-q", "--all", "--path", self.site / NAME, "--python", self.python, *more)

    def check(self) -> None:
        """The egg is a whole zip or a whole directory, and what the backup holds is a whole zip."""
        place = self.site / NAME
        for egg in (place if place.exists() else aside(self.site), *self.backup.glob("*.egg")):
            if egg.is_dir():
                assert files(egg) == content(1)
                assert len(list(egg.rglob("*.pyc"))) == 1
            else:
                with zipfile.ZipFile(egg) as opened:
                    assert {name: opened.read(name).decode() for name in opened.namelist()} == content(1)

    def finished(self) -> None:
        assert (self.site / NAME).is_dir()

    def kept(self) -> None:
        self.finished()
        assert os.listdir(self.backup) == [NAME]

    def restored(self) -> None:
        assert (self.site / NAME).is_file()
        assert os.listdir(self.backup) == [NAME]

    def case(
        self, begin: Callable[[], None], *more: str | Path, since: str = "", options: tuple[str, ...] = ()
    ) -> Case:
        finished = self.restored if "--undo" in more else self.kept if self.backup in more else self.finished
        return Case(
            self.command(*more), [self.site, self.backup], begin, self.check, finished, options=options, since=since,
            again=self.command(*(word for word in more if word != "--allow-gap")),
        )  # fmt: skip

    def zipped(self) -> None:
        """A zipped egg and nothing else."""
        for directory in (self.site, self.backup):
            shutil.rmtree(directory, ignore_errors=True)
        self.site.mkdir()
        write_egg(self.site / NAME, content(1))

    def unzipped(self) -> None:
        """An egg that unzip-all made a directory, and its zip in the backup."""
        once = self.top / "unzipped"
        if not once.exists():
            self.zipped()
            result = hurried(self.command("--backup", self.backup))
            assert result.returncode == 0, result.stderr
            once.mkdir()
            for place in (self.site, self.backup):
                place.rename(once / place.name)
        for place in (self.site, self.backup):
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(once / place.name, place)

    def killed(self) -> None:
        """What a killed run leaves: a stage with half an egg."""
        self.zipped()
        stage = self.site / ".eggcache-stage-0123456789abcdef"
        (stage / NAME / "one").mkdir(parents=True)
        (stage / NAME / "one" / "__init__.py").write_text("ver")

    def gap(self) -> None:
        """What a run leaves that was killed in the gap."""
        self.zipped()
        leave_gap(self.site, NAME)


def aside(directory: Path) -> Path:
    """Where the journal says that an egg lies which is missing; none may be missing without one."""
    return directory / str(json.loads((directory / ".eggcache-gap.json").read_text())["aside"])


def leave_gap(directory: Path, name: str) -> None:
    """What is left where a run is killed between its two renames; see test_killed_in_the_gap for a real one."""
    aside = ".eggcache-gap-0123456789abcdef"
    (directory / name).rename(directory / aside)
    journal = directory / ".eggcache-gap.json"
    journal.write_text(json.dumps({"schema": 1, "name": name, "aside": aside}))
    journal.chmod(0o600)
