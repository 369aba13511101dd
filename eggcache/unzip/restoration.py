"""The command `unzip-all --undo`: it puts the zips of a backup back in the place of their directories."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial

from eggcache.cache import freshness
from eggcache.eggs import byte_code, extract
from eggcache.eggs import reader as eggs
from eggcache.errors import EggcacheError, EggChanged, UsageError
from eggcache.model import DEFAULT_RUN, Finding, Member, Report, Run, Tree
from eggcache.system import files, safe_dirs, staging, swap_or_gap
from eggcache.target import resolver
from eggcache.target.interpreter import EVERYTHING, Roots, Target
from eggcache.target.launch import Launch
from eggcache.unzip import backup as backups
from eggcache.unzip import unzip_plan, unzipping
from eggcache.unzip.announcement import SILENT, Announcement, Notice
from eggcache.unzip.egg_directory import Place, check_movable, ownership_of


def undo(
    target: Target,
    roots: Roots = EVERYTHING,
    run: Run = DEFAULT_RUN,
    *,
    backup: str,
    notice: Notice = SILENT,
    launched: Launch | None = None,
) -> Report:
    """Put the backup's zip of every unzipped egg of the tree of `roots` back in the place of its directory.

    At any moment each egg is a whole zip or a whole directory. The backup keeps its zips. A directory that was changed
    since it was unzipped stays, and is a finding that names the changed file. A note names the eggs whose zips the
    backup does not have.

    :param target: the Python whose eggs are meant
    :param roots: which distributions the tree is of
    :param backup: the directory that has the zips
    :param notice: as for `unzip_all`
    :param run: limits, waiting, dry run and progress
    :param launched: as for `unzip_all`
    :returns: what was done; with `run.dry_run`, what would be done
    :raises UsageError: the target cannot parse one of the `roots`, or the zips are those of another Python
    :raises NotPermitted: nothing could be done, for want of rights or of a safe directory
    :raises Busy: another run holds the lock for longer than `run.wait`
    :raises EggcacheError: nothing could be done; another run completes it
    """
    tree = unzipping.stable_tree(target, roots, run, launched=launched)
    directories = unzip_plan.by_directory(tree.distributions, zipped=False)
    findings = [*resolver.findings(tree), *unzipping.untrusted_findings(directories, target)]
    if not run.dry_run:  # what a killed run left is also where there is nothing more to do
        sites = {*unzipping.places(tree), *unzip_plan.by_directory(tree.distributions)}
        unzipping.remove_leftovers(unzipping.trusted_directories(sites, target))
    with backups.directory_of_zips(backup, directories, run) as keep:
        names_kept = set(os.listdir(keep))
        names_missing = sorted(name for names in directories.values() for name in names.keys() - names_kept)
        zips = {directory: names.keys() & names_kept for directory, names in directories.items()}
        if roots.everything:  # the target passes over an egg whose metadata it cannot read: here it is named
            places = {*unzipping.places(tree), *map(os.path.realpath, unzipping.directories_of(target.paths))}
            for directory in unzipping.trusted_directories(places, target):
                zips[directory] = zips.get(directory, set()) | _directories(directory, names_kept)
        zips = {directory: names for directory, names in zips.items() if names}
        if roots.everything and not zips:
            _refuse_other_python(backup, names_kept, tree)
        scope = [*unzipping.places(tree), *unzipping.directories_of(target.paths), *zips]
        announcement = Announcement(notice, target.python, scope, "eggcache unzip-all --undo")
        works = [Restoration(directory, names, keep, run, announcement) for directory, names in zips.items()]
        notes = [f"--backup {backup} has no zip of {', '.join(names_missing)}: left unzipped"] if names_missing else []
        return unzipping.report(works, findings, notes, announcement, run)


def _refuse_other_python(backup: str, names: set[str], tree: Tree) -> None:
    """Raise UsageError where the zips in `backup` are another Python's: none has the name of an egg of `tree`."""
    eggs = {name for name in names if name.endswith(".egg")}
    paths = (path for distribution in tree.distributions for path in (distribution.egg, distribution.location) if path)
    if eggs and eggs.isdisjoint(map(os.path.basename, paths)):
        cause = f"none of its {len(eggs)} zips is that of an egg of {tree.interpreter.executable}"
        raise UsageError(f"--backup {backup}", cause, "name the Python whose eggs they were with --python PATH")


class Restoration(Place):
    """The unzipped eggs in one directory, which become their zips again."""

    action = "restored"
    fault = "it cannot be put back"
    restart = (
        "restart every server that uses these eggs: a process that has looked into a directory cannot import from the "
        "zip that took its place"
    )

    def __init__(
        self, path: str, names: Iterable[str], backup: int, run: Run, before_swap: Callable[[], object]
    ) -> None:
        super().__init__(path, run, before_swap)
        self.names = sorted(names)
        self.backup = backup

    def plan(self, descriptor: int) -> None:
        self.progress.phase("comparing with the zips")
        for name in self.names:
            self.attempt(name, partial(self._plan, name, descriptor))

    def exchange(self, descriptor: int, stage: int) -> None:
        eggs_ready: list[tuple[str, eggs.Egg, str]] = []
        self.progress.phase("comparing with the zips")
        for name in self.names:
            self.attempt(name, partial(self._stage, name, descriptor, stage, eggs_ready))
        if not eggs_ready:
            return
        swaps = ((name, partial(self._swap, name, egg, digest, descriptor, stage)) for name, egg, digest in eggs_ready)
        self.swap(descriptor, stage, [partial(self.attempt, *swap) for swap in swaps])

    def as_finding(self, error: EggcacheError) -> Finding:
        if isinstance(error, EggChanged):
            return Finding("egg-changed", error.thing, error.cause, error.remedy)
        finding = super().as_finding(error)
        return replace(finding, code="not-restored") if finding.code == "not-unzipped" else finding

    def _plan(self, name: str, descriptor: int) -> None:
        with self._open_zip(name) as source:
            egg = self._compare(source, name, descriptor)
            ownership_of(egg.path, egg.stat, source)
        self._report(name, egg)

    def _report(self, name: str, egg: eggs.Egg) -> None:
        self.add_outcome(name, len(egg.members), sum(member.size for member in egg.members))

    def _open_zip(self, name: str) -> AbstractContextManager[int]:
        try:
            return files.closing(os.open(name, safe_dirs.READ, dir_fd=self.backup))
        except OSError as error:
            path = os.path.join(_directory(self.backup), name)
            raise EggcacheError(path, f"cannot be opened: {error.strerror}", "see to that and run again") from None

    def _stage(self, name: str, descriptor: int, stage: int, eggs_ready: list[tuple[str, eggs.Egg, str]]) -> None:
        """Stage a copy of the zip: a program that writes into an installed egg later must not change the backup.

        Adds the egg to `eggs_ready`, with the digest of the directory that was compared with it, unless another run was
        faster.
        """
        if not stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
            return
        digest = freshness.digest(descriptor, name)  # "" where not all of it can be read: comparing then says what
        into = os.open(name, safe_dirs.CREATE, 0o600, dir_fd=stage)
        try:
            with files.closing(into), self._open_zip(name) as source:
                was = os.fstat(source)
                owner = ownership_of(os.path.join(_directory(self.backup), name), was, source)
                if stat.S_ISREG(was.st_mode):  # else it stays empty, and is refused
                    with open(source, "rb", closefd=False) as zip_stream, open(into, "wb", closefd=False) as stream:
                        shutil.copyfileobj(zip_stream, stream, 1 << 20)
                egg = self._compare(into, name, descriptor)
                if not digest:
                    raise _meanwhile(os.path.join(self.path, name))
                safe_dirs.set_owner(into, owner.uid, owner.gid, stat.S_IMODE(was.st_mode) & 0o755)
                os.utime(into, ns=(was.st_atime_ns, was.st_mtime_ns))
        except BaseException:
            staging.remove(stage, name)
            raise
        eggs_ready.append((name, egg, digest))

    def _compare(self, source: int, name: str, descriptor: int) -> eggs.Egg:
        """The zip, if the directory `name` holds its files and byte code alone. Raises EggChanged for any other
        file."""
        path = os.path.join(self.path, name)
        with files.closing(os.open(name, safe_dirs.DIRECTORY, dir_fd=descriptor)) as directory:
            check_movable(directory, path)
        egg = eggs.read(source, os.path.join(_directory(self.backup), name), self.run.limits)
        members = {member.name: member for member in egg.members}
        directories = {f"{directory}/" for directory in extract.directories(members, egg.directories)}
        sources = {member for member in members if member.endswith(".py")}
        directories |= {f"{os.path.dirname(source)}/__pycache__/".lstrip("/") for source in sources}
        for entry in _files(descriptor, name):
            if not (entry in members or entry in directories or byte_code.source_of(entry, sources) is not None):
                raise _change(path, entry, "is not in the zip")
        for member in egg.members:
            if byte_code.source_of(member.name, sources) is not None:  # made anew by unzip-all
                for _ in eggs.chunks(source, egg, member):
                    pass  # its bytes are judged as they are read
            elif not _is_same(source, egg, member, f"{name}/{member.name}", descriptor):
                raise _change(path, member.name, "is missing, or not what the zip has")
            self.progress.advance(1, member.size)
        return egg

    def _swap(self, name: str, egg: eggs.Egg, digest: str, descriptor: int, stage: int) -> None:
        """Put the zip in the place of the directory, which ends up in the stage and is removed next."""
        with staging.undisturbed():  # a signal must not have the stage removed before it is known what is in it
            swap_or_gap.swap(stage, descriptor, name, self.run.allow_gap)
            if freshness.digest(stage, name) != digest:
                swap_or_gap.swap(stage, descriptor, name, self.run.allow_gap)
                raise _meanwhile(os.path.join(self.path, name))
        self._report(name, egg)


def _directories(directory: str, names: set[str]) -> set[str]:
    """Those of `names` that are directories of eggs in `directory`."""
    with suppress(OSError), os.scandir(directory) as entries:
        directories = (entry for entry in entries if entry.name in names and entry.is_dir(follow_symlinks=False))
        return {entry.name for entry in directories if entry.name.lower().endswith(".egg")}
    return set()


# ---------------------------------------------------------------------------------------------- what was changed


def _change(path: str, entry: str, change: str) -> EggChanged:
    remedy = "save it elsewhere, make the directory what it was, and run again"
    return EggChanged(path, f"it was changed since it was unzipped: {entry} {change}", remedy)


def _meanwhile(path: str) -> EggcacheError:
    return EggcacheError(path, "it changed while its zip was put back", "run again when nobody works there")


def _directory(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")


def _files(descriptor: int, name: str) -> Iterator[str]:
    """Everything below the directory `name`, relative to it; directories end in a slash."""
    places = [""]
    while places:
        place = places.pop()
        directory = files.closing(os.open(f"{name}/{place}", safe_dirs.DIRECTORY, dir_fd=descriptor))
        with directory as listing, os.scandir(listing) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    places.append(f"{place}{entry.name}/")
                    yield places[-1]
                else:
                    yield place + entry.name


def _is_same(source: int, egg: eggs.Egg, member: Member, name: str, descriptor: int) -> bool:
    """Whether the file `name` holds the bytes of `member`."""
    try:
        file = os.open(name, safe_dirs.READ, dir_fd=descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise
    with files.closing(file) as copy:
        info = os.fstat(copy)
        same_size = stat.S_ISREG(info.st_mode) and info.st_size == member.size
        return same_size and eggs.same_bytes(copy, source, egg, member)
