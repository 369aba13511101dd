"""Crashes: killed, interrupted or refused by the disk at each system call that changes a cache or site-packages.

The eggs are small, and one call of a kind stands for all. With EGGCACHE_CRASH_TREE=1 none is left out, the next run
follows every single kill, and TurboGears is prepared and unzipped as well, with faults in every process of it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.crashing import Caches, Case, Sites
from support.deployment import Deployment
from support.injection import Call, check_said, each_kind, inject, program, record, spread, taking_turns, traced

LONG = bool(os.environ.get("EGGCACHE_CRASH_TREE"))
NO_EXCHANGE = ("-e", "inject=renameat2:error=EINVAL")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


CASES: dict[str, Callable[[Caches, Sites], Case]] = {
    "first": lambda caches, sites: caches.case(caches.nothing),
    "prune": lambda caches, sites: caches.case(caches.gone, "--prune", since="syncfs"),
    "reset": lambda caches, sites: caches.case(caches.foreign, "--reset", since="rename"),
    "recovery": lambda caches, sites: caches.case(caches.killed),
    "gap": lambda caches, sites: caches.case(caches.old, "--allow-gap", since="syncfs", options=NO_EXCHANGE),
    "reset-gap": lambda caches, sites: caches.case(
        caches.foreign, "--reset", "--allow-gap", since="rename", options=NO_EXCHANGE
    ),
    "gap-recovery": lambda caches, sites: caches.case(caches.gap),
    "unzip": lambda caches, sites: sites.case(sites.zipped),
    "backup": lambda caches, sites: sites.case(sites.zipped, "--backup", sites.backup, since="syncfs"),
    "unzip-recovery": lambda caches, sites: sites.case(sites.killed),
    "unzip-gap": lambda caches, sites: sites.case(sites.zipped, "--allow-gap", since="syncfs", options=NO_EXCHANGE),
    "unzip-gap-recovery": lambda caches, sites: sites.case(sites.gap),
    "undo": lambda caches, sites: sites.case(sites.unzipped, "--undo", "--backup", sites.backup),
    "undo-gap": lambda caches, sites: sites.case(
        sites.unzipped, "--undo", "--allow-gap", "--backup", sites.backup, since="syncfs", options=NO_EXCHANGE
    ),
}
FOLLOWED = {"recovery": "mkdirat", "gap-recovery": "mkdirat",
            "unzip-recovery": "mkdirat", "unzip-gap-recovery": "mkdirat"}  # fmt: skip
_RECORDED: dict[str, list[Call]] = {}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, caches: Caches, sites: Sites) -> Case:
    return CASES[request.param](caches, sites)


@pytest.fixture
def calls(request: pytest.FixtureRequest, case: Case) -> list[Call]:
    """Its calls up to those that another case has as well; recorded once for all tests."""
    name = request.node.callspec.params["case"]
    if name not in _RECORDED:
        all_calls = case.calls()
        _RECORDED[name] = all_calls if LONG or name not in FOLLOWED else until(FOLLOWED[name], all_calls)
    assert len(_RECORDED[name]) >= 3
    return _RECORDED[name]


def until(name: str, calls: list[Call]) -> list[Call]:
    """`calls` before the first that gets a stage ready or a cache its ACLs: from there on it is any run."""
    last = next((number for number, call in enumerate(calls) if call.name == name and number), len(calls))
    return calls[:last]


# ------------------------------------------------------------------------------------------------- the tests


def thinned(calls: list[Call]) -> list[Call]:
    """The first of each kind and, where that moves or syncs something, what comes after it."""
    first = each_kind(calls)
    after = {later for call, later in zip(calls, calls[1:]) if call in first and swapping(call)}
    return calls if LONG else [call for call in calls if call in first or call in after]


def swapping(call: Call) -> bool:
    return call.name.startswith(("rename", "syncfs", "link"))


def test_killed_at_any_call_what_is_there_is_whole(case: Case, calls: list[Call]) -> None:
    """SIGKILL at any kind of call that changes something: what is there is whole, the next run completes and leaves
    nothing. Of calls that do the same in the same kind of place, such as the files of one egg, one stands for all."""
    for call in thinned(calls):
        status, _ = case.run(call, "signal=KILL")
        assert status == -signal.SIGKILL, call
        if LONG or swapping(call):
            case.complete()


def test_disk_error_leaves_nothing_and_the_next_run_completes(case: Case, calls: list[Call]) -> None:
    """An error of the disk at a call: one line that says what to do, nothing left over, and the next run completes.

    Whole runs meet each error that a call can have; what differs in the others meets one in each kind of call."""
    whole = LONG or (case.begin.__name__ in ("nothing", "zipped") and case.since == "")
    for call, error in spread(calls) if whole else taking_turns(calls):
        status, said = case.run(call, f"error={error}")
        check_said(status, said, error, str(call))
        assert status == 0 or call.name.startswith(("unlink", "rmdir")) or case.left() == set(), call
    case.complete()


def test_told_to_end(case: Case, calls: list[Call]) -> None:
    """SIGTERM, SIGINT and SIGHUP, the cleaning up included: 128+N, all is whole, and nothing is left over."""
    for number, call in enumerate(calls[:: max(1, len(calls) // 4)]):
        wanted = SIGNALS[number % 3]
        status, said = case.run(call, f"signal={wanted.name}")
        assert (status, said) == (128 + wanted, ""), call
        assert case.left() == set(), call
    case.complete()


if LONG:

    @pytest.mark.parametrize("command", ["prepare", "unzip-all"])
    def test_killed_on_a_real_tree(
        command: str,
        turbogears1_complete: Deployment,
        copy_of: Callable[[Deployment], Deployment],
        nobody: pwd.struct_passwd,
        shared_tmp: Path,
    ) -> None:
        """TurboGears, killed at 200 calls of whatever process: each egg is whole, and the next run completes."""
        made = copy_of(turbogears1_complete)
        place = shared_tmp / "cache" if command == "prepare" else made.site_packages
        more: list[str | Path] = [place, "--user", "nobody"] if command == "prepare" else []
        words = program(command, "-q", *more, "--all", "--python", made.python)
        zips = {egg.name: egg.read_bytes() for egg in made.eggs}
        calls = record(words, [place])
        eggs = list(place.glob("*.egg-tmp" if command == "prepare" else "*.egg"))
        sizes = {egg.name: inside(egg) for egg in eggs}
        assert len(sizes) >= 20

        def check() -> None:
            for egg in place.glob("*.egg*"):
                assert inside(egg) == sizes[egg.name] if egg.is_dir() else egg.read_bytes() == zips[egg.name], egg

        for call in calls[:: max(1, len(calls) // 200)]:
            if command == "prepare":
                shutil.rmtree(place, ignore_errors=True)
            else:
                for name, data in zips.items():
                    shutil.rmtree(place / name, ignore_errors=True)
                    (place / name).write_bytes(data)
            inject(words, replace(call, own=False), "signal=KILL")
            check()
            assert traced([], words).returncode == 0
            check()
            assert {
                name for name in os.listdir(place) if name.startswith((".eggcache-stage", ".eggcache-gap"))
            } == set()
            assert {egg.name for egg in place.glob("*.egg*") if egg.is_dir()} == set(sizes)


def inside(directory: Path) -> dict[str, int]:
    """The size of each file below `directory`."""
    return {str(path.relative_to(directory)): path.stat().st_size for path in directory.rglob("*") if path.is_file()}
