"""The conversion of one directory of zipped eggs: staging, compiling, syncing, swapping."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from eggcache.eggs import byte_code, zip_dates
from eggcache.eggs import reader as eggs
from eggcache.eggs.extract import Opened
from eggcache.eggs.extraction_batch import Batch
from eggcache.errors import EggcacheError
from eggcache.model import DateTime, Distribution, Interpreter, Ownership, Run
from eggcache.system import accounts, files, safe_dirs, swap_or_gap, workers
from eggcache.system.accounts import Account
from eggcache.target import code_owners, script_run
from eggcache.target.interpreter import Target
from eggcache.target.launch import Launch
from eggcache.unzip import backup, unzip_plan
from eggcache.unzip.egg_directory import Place, check_movable, ownership_of


@dataclass(frozen=True)
class _StagedEgg:
    name: str
    path: str
    was: os.stat_result
    ownership: Ownership
    sources: list[str]
    files: int
    size: int


@dataclass(frozen=True)
class Tools:
    """What tells the structure of an egg that is open, and the Python that byte-compiles what is extracted, as
    `account`; None: as the caller, who looks first whether root may run it."""

    structure: Callable[[int, str], eggs.Egg]
    python: Interpreter
    account: Account | None = None


class Conversion(Place):
    """The zips in one directory, which become directories."""

    action = "unzipped"
    fault = "it cannot be unzipped"
    restart = (
        "restart every server that uses these eggs: a process that has scanned a zip cannot import from the directory "
        "that took its place"
    )

    def __init__(
        self,
        path: str,
        zips: dict[str, Distribution],
        tools: Tools,
        backup: int | None,
        run: Run,
        before_swap: Callable[[], object],
    ) -> None:
        super().__init__(path, run, before_swap)
        self.zips = zips
        self.tools = tools
        self.backup = backup

    def plan(self, descriptor: int) -> None:
        for name in self.zips:
            self._each(descriptor, name, self._plan)

    def exchange(self, descriptor: int, stage: int) -> None:
        eggs_ready: list[_StagedEgg] = []
        self.progress.phase("extracting", _total(descriptor, self.zips))
        with Batch(stage, self.progress.advance) as batch:
            for name in self.zips:
                self._each(
                    descriptor,
                    name,
                    lambda source, egg, ownership: self._stage(source, egg, ownership, batch, eggs_ready),
                )
        if not eggs_ready:
            return
        self.progress.phase("byte-compiling")
        self._compile(eggs_ready, stage)
        swaps = [(egg.name, partial(self._swap, egg, descriptor, stage)) for egg in eggs_ready]
        attempts = [partial(self.attempt, *swap) for swap in swaps]
        self.swap(descriptor, stage, attempts, partial(self._keep, eggs_ready, descriptor))

    def _keep(self, eggs_ready: list[_StagedEgg], descriptor: int) -> None:
        if self.backup is not None:
            backup.keep_all(((egg.path, egg.was) for egg in eggs_ready), descriptor, self.backup)

    def _each(self, descriptor: int, name: str, act: Callable[[int, eggs.Egg, Ownership], object]) -> None:
        """Open each egg, check it, and `act` on it; an egg that is refused becomes a finding."""
        path = os.path.join(self.path, name)
        try:
            with files.closing(_open(descriptor, name, path)) as source:
                if stat.S_ISDIR(os.fstat(source).st_mode):
                    return  # another run was faster
                check_movable(source, path)
                egg = self.tools.structure(source, path)
                unzip_plan.check(self.zips[name], egg)
                act(source, egg, ownership_of(egg.path, egg.stat, source))
        except EggcacheError as error:
            self.findings.append(self.as_finding(error))

    def _plan(self, source: int, egg: eggs.Egg, _: Ownership) -> None:
        Opened(source, egg).check()  # a damaged one is refused now as it would be then
        self.add_outcome(os.path.basename(egg.path), len(egg.members), sum(member.size for member in egg.members))

    def _stage(
        self, source: int, egg: eggs.Egg, ownership: Ownership, batch: Batch, eggs_ready: list[_StagedEgg]
    ) -> None:
        name = os.path.basename(egg.path)
        # Not EGG-INFO/scripts: that is read and run as a script, never imported
        names = (member.name for member in egg.members if not member.name.startswith("EGG-INFO/"))
        sources = [member for member in names if member.endswith(".py")]
        size = sum(member.size for member in egg.members)
        result = _StagedEgg(name, egg.path, egg.stat, ownership, sources, len(egg.members), size)

        def conclude(error: EggcacheError | None) -> None:
            if error is None:
                eggs_ready.append(result)
            else:
                self.findings.append(self.as_finding(error))

        self.progress.advance(0, egg.stat.st_size - sum(member.packed for member in egg.members))
        batch.add(name, Opened(source, egg), ownership, conclude, native_mode=ownership.directory_mode, mtime=_mtime)

    def _compile(self, eggs_ready: list[_StagedEgg], stage: int) -> None:
        """Have the target compile every source, and give the byte code the owner and modes of its egg."""
        info, python = os.fstat(stage), self.tools.python
        request = {
            "stage": os.readlink(f"/proc/self/fd/{stage}"),
            "identity": [info.st_dev, info.st_ino],
            "library": _library(python, self.tools.account),
            "processes": workers.cores(),
            "eggs": [[egg.name, egg.path, egg.sources] for egg in eggs_ready if egg.sources],
        }
        # Not -E, which would also take away that no byte code of the standard library's is written
        target = Target(python.executable, account=self.tools.account)
        launch = Launch(target, "compile.py", request, flags=("-S",), variables={"PYTHONPATH": None})
        answer = script_run.run(launch, timeout=1800.0, meanwhile=self.progress.tick)
        trouble = answer.get("trouble") if isinstance(answer, dict) else "no sensible answer"
        if trouble != "":
            cause = f"{python.executable} cannot byte-compile there: {trouble}"
            raise EggcacheError(self.path, cause, "see to that and run again")
        for egg in eggs_ready:
            directories = {os.path.dirname(f"{egg.name}/{source}") for source in egg.sources}
            if python.version < (3, 2):
                for source in egg.sources:
                    _set_owner(f"{egg.name}/{source}c", stage, egg.ownership)  # x.pyc beside x.py
                continue
            for directory in directories:
                _set_owners(f"{directory}/__pycache__", stage, egg.ownership)

    def _swap(self, egg: _StagedEgg, descriptor: int, stage: int) -> None:
        """Put the directory in the place of the zip. The zip is removed, or ends up in the stage, which is removed
        next."""
        info, earlier_info = os.stat(egg.name, dir_fd=descriptor, follow_symlinks=False), egg.was
        if (info.st_ino, info.st_size, info.st_mtime_ns) != (
            earlier_info.st_ino,
            earlier_info.st_size,
            earlier_info.st_mtime_ns,
        ):
            raise EggcacheError(egg.path, "it changed while it was unzipped", "run again when it is installed")
        swap_or_gap.swap(stage, descriptor, egg.name, self.run.allow_gap)
        self.add_outcome(egg.name, egg.files, egg.size)


def _total(descriptor: int, names: Iterable[str]) -> int:
    """How many bytes these zips have."""
    total = 0
    for name in names:
        with suppress(OSError):
            total += os.stat(name, dir_fd=descriptor).st_size
    return total


def _open(descriptor: int, name: str, path: str) -> int:
    try:
        return os.open(name, safe_dirs.READ, dir_fd=descriptor)
    except PermissionError:
        raise accounts.in_the_way(path, accounts.current()) from None
    except OSError as error:
        raise EggcacheError(path, f"cannot be opened: {error.strerror}", "see whether it is still installed") from None


def _library(interpreter: Interpreter, account: Account | None) -> list[str]:
    """The directory of a Python 2's standard library: with -S, which keeps .pth files out, a virtualenv needs it. Root
    takes only a directory of root's, where it was not looked at all that answers for the Python before."""
    if interpreter.version >= (3,):
        return []
    paths = (path for path in interpreter.path if os.path.isfile(f"{path}/os.py") or path.endswith("/lib-dynload"))
    is_trusted = os.geteuid() != 0 or isinstance(account, code_owners.RootAlone)
    return [path for path in paths if is_trusted or code_owners.is_roots(path)]


def _mtime(date_time: DateTime) -> int:
    """The zip's date, as far as the .pyc of a Python 2 can name it; real eggs are dated 2098."""
    mtime = zip_dates.mtime(date_time)
    return mtime if mtime <= byte_code.LATEST else int(time.time())


def _set_owner(name: str, stage: int, ownership: Ownership) -> None:
    try:
        source = os.open(name, safe_dirs.READ, dir_fd=stage)
    except FileNotFoundError:
        return  # it could not be compiled
    with files.closing(source) as descriptor:
        directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        mode = ownership.directory_mode if directory else ownership.file_mode
        safe_dirs.set_owner(descriptor, ownership.uid, ownership.gid, mode)


def _set_owners(name: str, stage: int, ownership: Ownership) -> None:
    try:
        source = os.open(name, safe_dirs.DIRECTORY, dir_fd=stage)
    except (FileNotFoundError, NotADirectoryError):
        return
    with files.closing(source) as descriptor:
        for entry in os.listdir(descriptor):
            _set_owner(entry, descriptor, ownership)
        safe_dirs.set_owner(descriptor, ownership.uid, ownership.gid, ownership.directory_mode)
