"""The command `unzip-all`: it swaps each zipped egg of a tree for a directory of the same name."""

from __future__ import annotations

import glob
import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from eggcache.errors import Busy, EggcacheError, NotPermitted, Remedy
from eggcache.model import DEFAULT_RUN, Distribution, Finding, Interpreter, Kind, Report, Run, Tree
from eggcache.system import files, locks, safe_dirs, swap_or_gap
from eggcache.target import code_owners, command_lines, eggs_on_path, resolver, search_path, skipped_eggs
from eggcache.target.interpreter import EVERYTHING, Roots, Target
from eggcache.target.launch import Launch
from eggcache.unzip import unzip_plan
from eggcache.unzip.announcement import SILENT, Announcement, Notice
from eggcache.unzip.backup import directory_to_fill
from eggcache.unzip.directory_conversion import Conversion, Tools
from eggcache.unzip.egg_directory import Place, as_finding, error_of, tidy


def unzip_all(
    target: Target,
    roots: Roots = EVERYTHING,
    run: Run = DEFAULT_RUN,
    *,
    backup: str | None = None,
    notice: Notice = SILENT,
    launched: Launch | None = None,
) -> Report:
    """Turn every zipped egg of the tree of `roots` into an unzipped egg at the same path.

    Each directory has the egg's owner and group, and whoever could read the egg can read it. Call this as the owner of
    the target's site-packages. An egg that is refused stays as it is, and is a finding. So is a directory of eggs that
    cannot be written to, where there are other directories. At any moment each egg is a whole zip or a whole directory.

    :param target: the Python whose eggs are meant; it byte-compiles what is extracted
    :param roots: which distributions the tree is of; of everything, the target needs no pkg_resources
    :param backup: the directory that keeps each zip; None: the zips are removed
    :param notice: who is told of the processes that use the target, before anything is changed
    :param run: limits, waiting, dry run and progress
    :param launched: the question for the tree (launch.probe), where the caller has started the target already
    :returns: what was done; with `run.dry_run`, what would be done
    :raises UsageError: the target cannot parse one of the `roots`
    :raises NotPermitted: nothing could be done, for want of rights or of a safe directory
    :raises Busy: another run holds the lock for longer than `run.wait`
    :raises EggcacheError: nothing could be done; another run completes it
    """
    clearance = target.account if isinstance(target.account, code_owners.RootAlone) else None
    if not clearance:  # that is known of more than what -S loads
        code_owners.check_bare(target.python)
    reader, meanwhile = eggs_on_path.ahead(target, roots, run, want=eggs_on_path.Wanted(sources=False))
    tree = stable_tree(target, roots, run, meanwhile, launched)
    zips = unzip_plan.by_directory(tree.distributions)

    def command_with(eggs: Sequence[str]) -> str:
        """The command that unzips these as well, as this one was asked to."""
        return command(*(word for egg in eggs for word in ("--path", egg)))

    def command(*words: str) -> str:
        words = (*words, *command_lines.limits(run.limits), *["--allow-gap"] * run.allow_gap)
        return command_lines.unzip_all(target, roots, *words, backup=os.path.abspath(backup) if backup else None)

    findings = [*resolver.findings(tree), *off_path_findings(zips, tree.interpreter, command_with)]
    findings += untrusted_findings(zips, target)
    findings += skipped_eggs.findings(tree, target.account, run.limits, run.progress)
    if not run.dry_run:
        remove_leftovers(trusted_directories(places(tree) - zips.keys(), target))
    with directory_to_fill(backup if zips else None, zips, run) as keep:
        scope = [*places(tree), *directories_of(target.paths), *zips]
        announcement = Announcement(notice, target.python, scope, "eggcache unzip-all")
        python = tree.interpreter
        tools = Tools(reader.structure, python, clearance if python.executable == target.python else None)
        works = [Conversion(directory, eggs, tools, keep, run, announcement) for directory, eggs in zips.items()]
        result = report(works, findings, [*resolver.notes(tree, roots)], announcement, run)
    if backup and result.outcomes and not run.dry_run:
        result = replace(result, notes=(*result.notes, f"to put the zips back: {command('--undo')}"))
    return replace(result, outside=tree.outside)


def report(
    works: Sequence[Place], findings: list[Finding], notes: list[str], announcement: Announcement, run: Run
) -> Report:
    """Do the `works`, and report their results after the `findings` and `notes` so far. An error of a whole directory
    is raised where it is the only one; else it is a finding."""
    errors = []
    for work in works:
        try:
            work.work()
        except EggcacheError as error:
            if len(works) == 1 and not work.outcomes:
                raise
            errors.append(work.as_finding(error))
    outcomes = tuple(outcome for work in works for outcome in work.outcomes)
    findings += [finding for work in works for finding in work.findings] + errors
    if outcomes and not run.dry_run:
        notes.append(works[0].restart)
    result = Report("unzip-all", None, outcomes, tuple(findings), tuple(notes), not outcomes, run.dry_run)
    return replace(result, processes=announcement.processes or ())


def stable_tree(
    target: Target,
    roots: Roots,
    run: Run,
    meanwhile: Callable[[], object] | None = None,
    launched: Launch | None = None,
) -> Tree:
    """The tree at a moment when no other run was swapping, and no egg was missing in the gap of a killed run.

    1. Another run swaps Foo.egg after the target listed site-packages and before it reads Foo.egg.
    2. The target's pkg_resources fails with "Is a directory", or takes Foo for not installed.
    3. The swap has changed the mtime of the directory: wait until that run releases its lock, and ask again.
    """
    prefix = glob.escape(os.path.dirname(os.path.dirname(target.python)))
    directories = {*glob.glob(os.path.join(prefix, "lib*", "python*", "*-packages")), *directories_of(target.paths)}
    for turns in range(10, -1, -1):
        _close_gaps(directories, run)
        run.progress.phase(f"asking {target.python} for the tree")
        start = launched.start if launched else time.time_ns()
        start -= 50_000_000  # the kernel stamps files with a clock that ticks every 1 to 10 ms
        question, launched = launched, None
        try:
            tree = resolver.resolve(
                target, roots, need_pkg_resources=False, meanwhile=meanwhile or run.progress.tick, launched=question
            )
            directories |= places(tree)
        except EggcacheError as error:
            if error.status != 1 or not turns or not _has_changed(directories, start, run):
                raise
        else:
            had_gaps = _close_gaps(directories | _linked_directories(tree), run)
            if not turns or not (_has_changed(directories, start, run) or had_gaps):
                return tree
    raise AssertionError("the last turn returns or raises")


def _close_gaps(places: Iterable[str], run: Run) -> bool:
    """Recover the directories where a run was killed in a gap, in which the target would miss an egg: whether there
    were any.

    Raises EggcacheError where that fails, and in a dry run, whose tree would be wrong.
    """
    had_gaps = False
    for directory in places:
        if not os.path.lexists(os.path.join(directory, safe_dirs.JOURNAL)):
            continue
        try:
            with (
                files.closing(safe_dirs.open_place(directory)) as descriptor,
                locks.lock_itself(descriptor, directory, run.wait, run.progress),
            ):
                name = swap_or_gap.missing_name(descriptor) if run.dry_run else None
                had_gaps |= not run.dry_run and swap_or_gap.recover(descriptor)
        except OSError as error:
            raise error_of(directory, error) from error
        if name is not None:
            cause = "it is missing since a run was killed during its swap"
            raise EggcacheError(os.path.join(directory, name), cause, "run it without -n, which puts it back")
    return had_gaps


def _has_changed(directories: Iterable[str], start: int, run: Run) -> bool:
    """Whether one of these directories has changed since; if so, wait until no run is working there."""
    has_changed = False
    for directory in directories:
        with suppress(OSError, NotPermitted):
            if start <= os.stat(directory).st_mtime_ns <= time.time_ns() + 1_000_000_000:  # not one dated 2098
                has_changed = True
                with (
                    files.closing(safe_dirs.open_place(directory)) as descriptor,
                    locks.lock_itself(descriptor, directory, run.wait, run.progress),
                ):
                    pass
    return has_changed


def places(tree: Tree) -> set[str]:
    """The directories in which an earlier run may have worked."""
    unzipped = (distribution.location for distribution in tree.distributions if distribution.kind is Kind.UNZIPPED)
    return {*map(os.path.realpath, tree.interpreter.site_packages)} | {
        os.path.dirname(os.path.realpath(location)) for location in unzipped
    }


def directories_of(paths: Iterable[str]) -> list[str]:
    """What `--path` names, and for an egg the directory that it is in, too.

    :param paths: values of `--path`
    """
    paths = search_path.entries(paths)
    return [place for path in paths for place in (path, os.path.dirname(path))[: 1 + path.lower().endswith(".egg")]]


def _linked_directories(tree: Tree) -> set[str]:
    """The directories that .pth files and links in site-packages lead to, though an egg be missing there."""
    eggs = set()
    for pth in tree.interpreter.pth:
        lines = (line.strip() for line in files.lines(pth))
        eggs |= {os.path.join(os.path.dirname(pth), line) for line in lines if line.endswith(".egg")}
    for directory in tree.interpreter.site_packages:
        eggs |= set(glob.glob(os.path.join(glob.escape(directory), "*.egg")))
    return {os.path.dirname(os.path.realpath(path)) for path in eggs}


def trusted_directories(directories: Iterable[str], target: Target) -> set[str]:
    """Those of these directories in which root may work although another user's code named them."""
    if os.geteuid() != 0 or target.account.uid == 0:
        return set(directories)
    # A script or a Trac as it stands: only so is it seen whose list of eggs it is
    parents = [os.path.dirname(path) for path in target.paths if path.lower().endswith(".egg")]
    return set(directories) & code_owners.egg_directories(target.python, [*target.paths, *parents])


def untrusted_findings(eggs: dict[str, dict[str, Distribution]], target: Target) -> list[Finding]:
    """Remove the other directories from `eggs`, with a finding: a forged answer could name any egg of the host."""
    untrusted = eggs.keys() - trusted_directories(eggs, target)
    cause = f"root knows these eggs only from code that {target.account.name} runs"
    errors = [NotPermitted(place, cause, f"name it: --path {shlex.quote(place)}") for place in sorted(untrusted)]
    for place in untrusted:
        del eggs[place]
    return list(map(as_finding, errors))


def off_path_findings(
    zips: dict[str, dict[str, Distribution]], interpreter: Interpreter, command_with: Callable[[Sequence[str]], str]
) -> Iterator[Finding]:
    """Remove from `zips` the eggs in directories that only `--path` names, with a finding: a program may open such an
    egg as a file, as Scrapyd does. An egg that `--path` itself names stays. `command_with` makes the command."""
    paths_added = set(map(os.path.realpath, interpreter.added))
    paths_own = {os.path.realpath(path) for path in interpreter.path if path not in interpreter.added}
    for directory, eggs in list(zips.items()):
        paths = []
        for name, path in sorted((name, egg.egg or name) for name, egg in eggs.items()):
            ways = {os.path.realpath(path), os.path.realpath(os.path.dirname(path))}
            if not ways & paths_own and os.path.join(directory, name) not in paths_added and ways & paths_added:
                paths.append(os.path.join(directory, name))
                del eggs[name]
        if not eggs:
            del zips[directory]
        if paths:
            subject = f"its {len(paths)} eggs stay" if len(paths) > 1 else f"{os.path.basename(paths[0])} stays"
            cause = (
                f"only --path names this directory, so {subject} zipped: whoever put them there may open them as files"
            )
            remedy = Remedy("where nothing does, name each of them", command_with(paths))
            yield Finding("not-on-path", directory, cause, remedy, context=tuple(paths))


def remove_leftovers(directories: Iterable[str]) -> None:
    """Remove what a run left that was killed after its last swap: no zip would lead the next run there."""
    for directory in directories:
        try:
            if not any(name.startswith(safe_dirs.STAGE) for name in os.listdir(directory)):
                continue
            with (
                files.closing(safe_dirs.open_place(directory)) as descriptor,
                locks.lock_itself(descriptor, directory, 0),
            ):
                tidy(descriptor)
        except (OSError, Busy, NotPermitted):
            pass  # somebody else's, or in use
