"""The command `wheels`: it writes each egg of a tree as a wheel into a directory for pip's --find-links."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eggcache.errors import EggcacheError, NotPermitted, Remedy, of_disk
from eggcache.model import DEFAULT_RUN, Distribution, Finding, Interpreter, Kind, Limits, Machine, Outcome, Report, Run
from eggcache.system import files, locks, safe_dirs, staging, syscalls
from eggcache.system.accounts import Account
from eggcache.target import resolver, skipped_eggs, tree_selection
from eggcache.target.interpreter import EVERYTHING, Roots, Target
from eggcache.wheelhouse import egg_contents, neighbours

if TYPE_CHECKING:
    from eggcache.wheelhouse.wheel_files import Plan

_PUBLIC, _PRIVATE = 0o644, 0o600  # of a wheel whose egg everybody may read, and of another one


def wheels(out: str, target: Target, roots: Roots = EVERYTHING, run: Run = DEFAULT_RUN) -> Report:
    """Write each egg of the tree of `roots`, zipped or not, as a wheel into a directory.

    A wheel that is there already with the same bytes is kept. A distribution that is no egg, an egg that no wheel can
    be made of, and metadata that a wheel cannot have are findings. No code of an egg is executed.

    :param out: the directory; it is made where it is missing, and only the caller may be able to write to it
    :param target: the Python that native eggs become wheels for; its account has to be able to read the eggs
    :param roots: which distributions the tree is of
    :param run: limits, waiting, dry run and progress
    :returns: what was written; with `run.dry_run`, what would be written
    :raises UsageError: the target cannot parse one of the `roots`
    :raises NotPermitted: `out` is not safe
    :raises Busy: another run holds the lock for longer than `run.wait`
    :raises EggcacheError: nothing could be done: `out` has whole wheels, and another run completes them
    """
    writer = _writer()
    progress = run.progress
    progress.phase(f"asking {target.python} for the tree")
    tree, answer = resolver.describe("wheel_tags.py", target, roots, meanwhile=progress.tick)
    machine = _machine(tree.interpreter, answer.get("tags"))
    wrong, place = list(resolver.findings(tree)), os.path.abspath(out)
    work = _Work(writer, machine, place, target.account, roots.everything, run.limits, {}, [], wrong)
    work.findings += skipped_eggs.findings(tree, target.account, run.limits, progress)
    with _open(out, run.dry_run) as descriptor, ExitStack() as stack:
        if descriptor is not None and not run.dry_run:
            stack.enter_context(locks.lock_itself(descriptor, out, run.wait, progress))
            staging.remove_stages(descriptor)
        try:
            stage = stack.enter_context(_workplace(None if run.dry_run else descriptor))
            progress.phase("writing wheels", len(tree.distributions))
            # What has to take another name comes last: the wheel of whom that name belongs to is made.
            for distribution in sorted(tree.distributions, key=writer.renamed):
                work.convert(distribution, stage, lambda: progress.advance(1, 0))
                progress.advance(0, 1)
            together = [(wheel.plan, wheel.distribution) for wheel in work.together().values()]
            work.findings += neighbours.shared_files(together, stage)
            work.findings += neighbours.divided_namespaces(together, place, target, roots, run)
            progress.phase("writing to the disk")
            work.settle(os.path.abspath(out), descriptor, stage, run.dry_run)
        except OSError as error:
            raise of_disk(out, "wheels cannot be written", error) from error
    return Report(
        "wheels",
        os.path.abspath(out),
        tuple(work.outcomes),
        tuple(dict.fromkeys(work.findings)),
        (*resolver.notes(tree, roots), *work.notes(tree.interpreter, target.paths)),
        unchanged=all(outcome.action == "kept" for outcome in work.outcomes) and bool(work.outcomes),
        dry_run=run.dry_run,
        outside=tree.outside,
        install=work.installation(os.path.abspath(out)),
    )


def _writer() -> Any:
    """The module that writes wheels. Its imports, `wheel` and `packaging`, are needed here alone."""
    try:
        from eggcache.wheelhouse import wheel_files
    except ImportError as error:
        remedy = Remedy(
            "install them for eggcache", shlex.join([sys.executable, "-m", "pip", "install", "wheel", "packaging"])
        )
        raise EggcacheError("eggcache wheels", f"wheel and packaging are needed: {error}", remedy) from error
    return wheel_files


def _machine(interpreter: Interpreter, answer: object) -> Machine:
    """The target's description of itself, checked like a stranger's: it becomes part of file names."""
    tags = answer if isinstance(answer, dict) else {}
    platform, abi, bits = tags.get("platform"), tags.get("abi"), tags.get("bits")
    if (
        not isinstance(platform, str)
        or not isinstance(abi, str)
        or bits not in (32, 64)
        or not all(part.isascii() and part.replace("_", "").isalnum() for part in (abi or "none", "x" + abi))
    ):
        cause = "is no Python to trust: it does not say which wheels it takes"
        raise EggcacheError(interpreter.executable, cause, "name the interpreter that Apache runs: --python PATH")
    virtual, finds = tags.get("virtual") is True, tags.get("finds_wheels") is not False
    return Machine(interpreter.version, platform, abi, bits, virtual, finds, tags.get("pip") is not False)


@contextmanager
def _open(out: str, dry_run: bool) -> Iterator[int | None]:
    """The directory for the wheels. A user who can write there decides what other users install from there."""
    try:
        descriptor = safe_dirs.open_directory(out, create=not dry_run)
    except FileNotFoundError as error:
        if dry_run and error.filename == os.path.abspath(out):
            yield None
            return
        raise EggcacheError(out, f"{error.filename} does not exist", "create it") from None
    except NotPermitted as error:
        raise NotPermitted(error.thing, error.cause, "name a directory that only you can write to") from None
    except OSError as error:
        raise NotPermitted(out, f"cannot be used: {error.strerror}", "name another directory") from None
    with files.closing(descriptor):
        if not dry_run and stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o700 and not os.listdir(descriptor):
            os.fchmod(descriptor, 0o755)
        yield descriptor


@contextmanager
def _workplace(descriptor: int | None) -> Iterator[int]:
    """A private directory to write wheels in: a stage in OUT, or for a dry run a directory elsewhere."""
    if descriptor is not None:
        with staging.stage(descriptor) as (_, stage):
            yield stage
        return
    temporary = tempfile.TemporaryDirectory(prefix="eggcache-")
    with temporary as path, files.closing(os.open(path, safe_dirs.DIRECTORY)) as stage:
        yield stage


@dataclass
class _Wheel:
    """A wheel in the stage."""

    plan: Plan
    distribution: Distribution
    mode: int
    size: int


@dataclass
class _Work:
    """One run of the command: the wheels made so far, and the findings."""

    writer: Any
    machine: Machine
    out: str
    account: Account
    everything: bool  # so that what is no egg was not asked for, either
    limits: Limits
    wheels: dict[str, _Wheel]
    outcomes: list[Outcome]
    findings: list[Finding]

    def convert(self, distribution: Distribution, stage: int, wrote: Callable[[], object]) -> None:
        """Write one distribution's wheel into the stage, or a finding; `wrote` is called after each file."""
        if distribution.kind in (Kind.EGG_INFO, Kind.DIST_INFO, Kind.DEVELOP, Kind.ZIP, Kind.OTHER):
            if distribution.kind is Kind.DEVELOP or not self.everything:
                self.findings.append(_no_egg(distribution, self.out))
            return
        try:
            with egg_contents.opened(distribution, self.account, self.limits) as content:
                if egg_contents.is_basket(content):
                    return
                plan = self.writer.plan(content, distribution, self.machine)
                first = self.wheels.get(plan.file_name)
                place = f"/proc/self/fd/{stage}" + ("/second" if first else "")
                if first:
                    os.mkdir("second", 0o700, dir_fd=stage)
                self.writer.write(plan, place, wrote)
                mode = _PUBLIC if content.public else _PRIVATE
        except self.writer.Unfit as error:
            self.findings.append(Finding(error.code, distribution.location, error.cause, error.remedy))
            return
        except EggcacheError as error:
            code = {3: "egg-refused", 4: "egg-unreadable"}.get(error.status, "wheel-not-made")
            self.findings.append(Finding(code, error.thing, error.cause, error.remedy, error.status))
            return
        if first:
            self._compare(first, plan, distribution, stage)
            return
        size = os.stat(plan.file_name, dir_fd=stage).st_size
        self.wheels[plan.file_name] = _Wheel(plan, distribution, mode, size)
        self.findings += _notices(plan, distribution)

    def _compare(self, first: _Wheel, plan: Plan, distribution: Distribution, stage: int) -> None:
        """Where the wheels of two eggs have one name: the first is made, and the other is a finding."""
        if not files.same_bytes(plan.file_name, f"second/{plan.file_name}", stage, stage):
            cause = f"its wheel would have the name of that of {first.distribution.location}, and other content"
            self.findings.append(Finding("wheel-shared-name", distribution.location, cause, "remove one of the eggs"))
        staging.remove(stage, "second")

    def settle(self, out: str, descriptor: int | None, stage: int, dry_run: bool) -> None:
        """Move the new wheels into the directory."""
        if not dry_run:
            for name, wheel in self.wheels.items():
                os.chmod(name, wheel.mode, dir_fd=stage)
            syscalls.sync_filesystem(stage)
        for name, wheel in self.wheels.items():
            action = _action(name, wheel, descriptor, stage)
            if action != "kept" and not dry_run and descriptor is not None:
                try:
                    os.rename(name, name, src_dir_fd=stage, dst_dir_fd=descriptor)
                except IsADirectoryError:
                    raise EggcacheError(os.path.join(out, name), "there is a directory", "remove it") from None
            files = len(wheel.plan.files) + len(wheel.plan.generated)
            egg = wheel.distribution.egg or wheel.distribution.location
            self.outcomes.append(Outcome(egg, os.path.join(out, name), action, files, wheel.size))
        if not dry_run and descriptor is not None:
            os.fsync(descriptor)

    def installation(self, out: str) -> tuple[str, ...]:
        """The words for pip that put the wheels where their eggs are, or where there is nothing yet; () where that
        would lose something: one was not made, the target would not find them, or an egg that stays shares a package.

        Without --upgrade pip 9 leaves what it finds. With --all it is what a process of the target imports, and no egg
        beside it that waits for a require(). In an environment, --require-virtualenv keeps a pip that comes first on
        somebody's PATH from doing this to the whole system.
        """
        wrong = (finding for finding in self.findings if finding.code not in resolver.LACKING)
        harmful = any(finding.status or finding.code == neighbours.DIVIDED for finding in wrong)
        if not self.machine.finds_wheels or harmful:
            return ()
        pins = [f"{wheel.plan.project}=={wheel.plan.version}" for wheel in self.together().values()]
        guard = ["--require-virtualenv"] if self.machine.virtual else []
        words = ["install", *guard, "--no-index", "--find-links", out, "--upgrade", "--force-reinstall", "--no-deps"]
        return (*words, *pins) if pins else ()

    def together(self) -> dict[str, _Wheel]:
        """The wheels that `installation` puts into one place, by project: pip takes one of a name."""
        wheels: dict[str, _Wheel] = {}
        for wheel in self.wheels.values():
            if wheel.distribution.active or not self.everything:
                wheels.setdefault(tree_selection.normal_name(wheel.plan.project), wheel)
        return wheels

    def notes(self, interpreter: Interpreter, paths: Sequence[str]) -> Iterator[str]:
        """Notes about what differs where the eggs are."""
        if not self.machine.finds_wheels:
            tool = interpreter.setuptools or "the pkg_resources"
            yield f"{tool} of {interpreter.executable} finds no wheels: they can take the eggs' place under a newer one"
        elif not self.machine.pip and self.outcomes:
            python = shlex.quote(interpreter.executable)
            yield f"{interpreter.executable} has no pip; to give it one: {python} -m ensurepip"
        tops = [interpreter.prefix] if self.machine.virtual else []
        eggs = [wheel.distribution.egg or wheel.distribution.location for wheel in self.wheels.values()]
        strays = [egg for egg in eggs if _below(egg, paths) or (tops and not _below(egg, tops))]
        if strays:
            subject = f"{strays[0]} and {len(strays) - 1} more" if strays[1:] else strays[0]
            yield f"{subject}: pip leaves what lies outside of its environment, even if that is first on the path"


def _action(name: str, wheel: _Wheel, descriptor: int | None, stage: int) -> str:
    if descriptor is None:
        return "made"
    try:
        info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return "made"
    equal = (stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode)) == (stat.S_IFREG, wheel.mode)
    equal = equal and info.st_uid == os.geteuid() and files.same_bytes(name, name, descriptor, stage)
    return "kept" if equal else "replaced"


def _below(path: str, tops: Sequence[str]) -> bool:
    return any(os.path.realpath(path).startswith(os.path.realpath(top) + "/") for top in tops)


def _no_egg(distribution: Distribution, out: str) -> Finding:
    """The notice for a distribution that is not an egg: pip can download or build it."""
    source = f"{distribution.project}=={distribution.version}"
    if distribution.kind is Kind.DEVELOP:
        source = distribution.location
    remedy = Remedy(
        f"where {distribution.project} is to be installed from there too",
        shlex.join(["pip", "wheel", "--no-deps", "-w", out, source]),
    )
    cause = f"{distribution.project} is no egg ({distribution.kind.value}), and left out"
    return Finding("wheel-no-egg", distribution.location, cause, remedy, 0)


def _notices(plan: Plan, distribution: Distribution) -> Iterator[Finding]:
    """Notices of the metadata that the wheel changes, or cannot have."""
    if plan.before:
        name = f"{plan.project} {plan.version}"
        yield Finding("wheel-renamed", distribution.location, f"{plan.before!a} is {name} in the wheel", "", 0)
    lines = set()
    for requirement in plan.requirements:
        if requirement.before in lines:  # for another extra
            continue
        lines.add(requirement.before)
        if requirement.lost:
            effect = f"the wheel requires {requirement.text}" if requirement.text else "the wheel does not require it"
            cause = f"{requirement.before!a}: {requirement.lost}, so {effect}"
            yield Finding("wheel-requirement-lost", distribution.location, cause, "see that it is installed, in time")
        elif requirement.changed:
            cause = f"{requirement.before!a} is {requirement.text} in the wheel"
            yield Finding("wheel-requirement-rewritten", distribution.location, cause, "", 0)
