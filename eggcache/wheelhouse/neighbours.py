"""What wheels are to each other, and to the eggs that stay, where pip puts them into the place of their eggs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from zipfile import ZipFile

from eggcache.errors import EggcacheError, Remedy
from eggcache.model import Distribution, Finding, Kind, Run
from eggcache.target import command_lines, resolver, tree_selection
from eggcache.target.interpreter import Roots, Target
from eggcache.wheelhouse import egg_contents

if TYPE_CHECKING:
    from eggcache.wheelhouse.wheel_files import Plan

DIVIDED = "wheel-namespace"  #: the code of a notice that keeps pip from the place of the eggs

_EGGS = (Kind.ZIPPED, Kind.UNZIPPED, Kind.BASKET)
_MODULES = (".py", ".pyc", ".pyo")
_UNUSED = ("tests", "test", "examples", "docs", "ez_setup.py")  # at the top of real eggs; no application imports these


def shared_files(wheels: Sequence[tuple[Plan, Distribution]], stage: int) -> Iterator[Finding]:
    """Findings: wheels that have a file of one name with other bytes. Each egg has a directory of its own, and the
    wheels have one together: the file of the wheel that pip installs last is there for all. Tests and the like
    do not count.

    The wheels tell whether the bytes are the same, by their checksums: no egg is read again.

    :param wheels: those that are installed together, which are written
    :param stage: the directory that they are in
    """
    first: dict[str, int] = {}
    sums: dict[int, Mapping[str, tuple[int, int]]] = {}  # by the number of the wheel
    for number, (plan, distribution) in enumerate(wheels):
        others: dict[int, list[str]] = {}
        passed_over = {f"{plan.stem}.dist-info", f"{plan.stem}.data", *_UNUSED}
        for name in plan.files:
            if name.partition("/")[0] not in passed_over:
                owner = first.setdefault(name, number)
                if owner != number and not _equal(name, [wheels[owner][0], plan], [owner, number], sums, stage):
                    others.setdefault(owner, []).append(name)
        for owner, names in others.items():
            more = f" and {len(names) - 1:,} more of its files" if names[1:] else ""
            place = _place(wheels[owner][1])
            cause = f"its {names[0]!a}{more} would take the place of that of {place}, which has other content"
            remedy = "keep the two as eggs, or name a REQ that needs one of them alone"
            yield Finding("wheel-shared-file", _place(distribution), cause, remedy)


def _equal(
    name: str,
    plans: Sequence[Plan],
    numbers: Sequence[int],
    sums: dict[int, Mapping[str, tuple[int, int]]],
    stage: int,
) -> bool:
    """Whether two wheels have the same bytes in a file; `sums` keeps what was read of them."""
    for plan, number in zip(plans, numbers):
        if number not in sums:
            with ZipFile(f"/proc/self/fd/{stage}/{plan.file_name}") as wheel:
                sums[number] = {item.filename: (item.file_size, item.CRC) for item in wheel.infolist()}
    one, other = (sums[number][name] for number in numbers)
    return one == other


def divided_namespaces(
    wheels: Sequence[tuple[Plan, Distribution]], out: str, target: Target, roots: Roots, run: Run
) -> Iterator[Finding]:
    """Notices: eggs outside of the tree of `roots` that have the `__init__.py` of a namespace package of the wheels.

    No wheel has that file. Where pip has put the wheels into the place of their eggs, Python 3 takes the egg's package
    for the whole of it, and Python 2 what the .pth files of the wheels make: one of the two is not found.

    :param wheels: those that are installed together
    :param out: the directory for wheels
    :param target: the Python that has the eggs; its account opens them
    :param roots: which distributions have wheels; a finding names the command for more of them
    :param run: the limits, and the progress
    """
    names = {name for plan, _ in wheels for name in plan.namespaces}
    if roots.everything or not names:
        return
    run.progress.phase(f"asking {target.python} for the eggs beside these")
    tree = resolver.resolve(target, Roots((), True), meanwhile=run.progress.tick)
    projects = {tree_selection.normal_name(distribution.project) for _, distribution in wheels}
    eggs: dict[str, tuple[str, Distribution]] = {}
    for distribution in tree.distributions:
        if (
            distribution.active
            and distribution.kind in _EGGS
            and tree_selection.normal_name(distribution.project) not in projects
        ):
            shared = sorted(names & _packages(distribution, names, target, run))
            if shared:
                eggs[_place(distribution)] = shared[0], distribution
    words = [distribution.project for _, distribution in eggs.values()]
    command = command_lines.wheels(out, target, roots, run.limits, words)
    for place, (name, _) in eggs.items():
        cause = f"it shares the namespace package {name} with the wheels, and next to them one of the two is not found"
        yield Finding(DIVIDED, place, cause, Remedy("make wheels of all that share one", command), 0)


def _packages(distribution: Distribution, names: set[str], target: Target, run: Run) -> set[str]:
    """Which of the packages `names` the egg has an `__init__.py` of, or the byte code of one."""
    try:
        with egg_contents.opened(distribution, target.account, run.limits) as contents:
            return {
                name
                for name in names
                if any(f"{name.replace('.', '/')}/__init__{end}" in contents.files for end in _MODULES)
            }
    except EggcacheError:  # what cannot be read, the target does not import either
        return set()


def _place(distribution: Distribution) -> str:
    return distribution.egg or distribution.location
