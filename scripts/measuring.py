"""How the benchmark measures: ways of doing the same thing in alternating order, and what their ratio has to keep."""

from __future__ import annotations

import argparse
import contextlib
import grp
import os
import platform
import pwd
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import builds
from inputs import Input, fresh

_ENOUGH = 60  # seconds for the rounds of one table, on a machine that others use as well
_BESIDE = ", beside"  # what the name of a way ends in that an earlier build goes
_SHORT = ("warm", "start")  # groups of starts alone
_NOISE = 1.1  # of two builds in one run, what the later one may take more


@dataclass
class Measured:
    """One way of doing something to one input on one medium, several times."""

    group: str
    input: str
    medium: str
    way: str
    files: int
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # seconds of processor time, of the way and of what it waited for
    peak_mib: float = 0.0  # of the largest single process

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """The least processor time, which alone tells starts of some ten milliseconds apart on a busy machine."""
        return min(self.cpu)


@dataclass(frozen=True)
class Comparison:
    """A ratio, and the limit that it has to keep."""

    group: str
    what: str
    where: str
    ratio: float
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.ratio >= self.limit if self.at_least else self.ratio <= self.limit


@dataclass(frozen=True)
class Way:
    """A command, and what to do before each of its runs."""

    name: str
    command: Sequence[str | Path]
    before: Callable[[], object] = lambda: None
    env: dict[str, str] = field(default_factory=dict)
    tells: bool = False  # it prints its own seconds, which count


class Failed(SystemExit):
    """A way did not do its work: that is no figure."""


class Bench:
    """All that was measured, and all that could not be."""

    def __init__(self, options: argparse.Namespace, work: Path, tmpfs: Path | None) -> None:
        self.options = options
        self.work = work
        self.media = {"disk": work, **({"tmpfs": tmpfs} if tmpfs else {})}
        self.ram = tmpfs or work
        self.measured: list[Measured] = []
        self.comparisons: list[Comparison] = []
        self.notes: list[str] = []
        self.syscalls: dict[str, float] = {}
        self.begun = time.monotonic()
        self.empty = fresh(work / "empty")
        self.python = builds.install(builds.ROOT, work, "plain")
        self.earlier = builds.install(options.beside.resolve(), work, "beside") if options.beside else None
        self.fast = self._fast()
        self.user = ["--user", "nobody", "--group", grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name]
        if os.geteuid() != 0:
            self.user = ["--user", pwd.getpwuid(os.geteuid()).pw_name]
        self.env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

    def _fast(self) -> dict[str, str] | None:
        """The environment in which eggcache has its extra `fast`; None where the tests' own has it not."""
        into = fresh(self.work / "fast")
        if not builds.copy("zlib_ng", into, self.python):
            self.notes.append("eggcache with the extra fast: there is no zlib-ng in the environment of the tests")
            return None
        return {"PYTHONPATH": str(into)}

    @property
    def medium(self) -> str:
        """Where `ram` is."""
        return "tmpfs" if "tmpfs" in self.media else "disk"

    def eggcache(self, command: str, *arguments: str | Path) -> list[str | Path]:
        """The command line of the build that is measured, by the script that pip wrote."""
        return [self.python.with_name("eggcache"), command, *arguments]

    def rounds(self, many: int) -> int:
        """How often: fewer where the caller says so."""
        return min(many, self.options.rounds) if self.options.rounds else many

    def wanted(self, group: str, *, in_all: bool = True) -> bool:
        return self.options.only == group or (self.options.only is None and in_all)

    def measure(self, group: str, given: Input, medium: str, ways: Sequence[Way], rounds: int) -> list[Measured]:
        """Run the ways in turn, there and back, and keep what each took; what is eggcache's also by the earlier build.

        :returns: what was measured of `ways`
        """
        print(f"{group}: {given.name} on {medium}, {rounds} rounds", file=sys.stderr, flush=True)
        pairs = [(way, Measured(group, given.name, medium, way.name, given.files)) for way in ways]
        measurements, begun = [one for _, one in pairs], time.monotonic()
        pairs += [(way, Measured(group, given.name, medium, way.name, given.files)) for way in self._beside(ways)]
        for number in range(rounds):
            if number and time.monotonic() - begun > _ENOUGH:
                self.notes.append(f"{group}, {given.name} on {medium}: {rounds - number} of {rounds} rounds, for time")
                break
            for way, one in pairs[:: 1 if number % 2 == 0 else -1]:
                try:
                    self._round(way, one, medium)
                except Failed as failed:
                    if not way.name.endswith(_BESIDE):
                        raise
                    self.notes.append(f"{group}, {given.name} on {medium}: {str(failed).strip()}")
                    pairs = [pair for pair in pairs if pair[1] is not one]  # the earlier build has no such thing
        self.measured += [one for _, one in pairs]
        ours = {item.way: item for item in measurements}
        for _, one in pairs[len(measurements) :]:
            now = ours[one.way[: -len(_BESIDE)]]
            ratio = now.least / one.least if group in _SHORT else now.median / one.median
            self.compare(group, f"{now.way}: {given.name}, now / beside", medium, ratio, _NOISE)
        return measurements

    def _beside(self, ways: Sequence[Way]) -> Iterator[Way]:
        for way in ways if self.earlier else ():
            theirs = {self.python: self.earlier, self.python.with_name("eggcache"): self.earlier.with_name("eggcache")}
            command = [theirs.get(part, part) if isinstance(part, Path) else part for part in way.command]
            if command != list(way.command) and way.name.startswith(("eggcache", "extraction")):
                yield replace(way, name=f"{way.name}{_BESIDE}", command=command)

    def _round(self, way: Way, one: Measured, medium: str) -> None:
        way.before()
        if medium == "disk":
            os.sync()
        seconds, cpu, peak = self.run(way)
        one.seconds.append(seconds)
        one.cpu.append(cpu)
        one.peak_mib = max(one.peak_mib, peak)

    def run(self, way: Way) -> tuple[float, float, float]:
        """Seconds, seconds of processor time, and MiB of the largest process."""
        with tempfile.TemporaryFile() as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                [os.fspath(part) for part in way.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**self.env, **way.env},
                cwd=self.empty,  # easy_install looks for a project in and below it
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read().decode(errors="replace")
        if process.returncode not in (0, 3, 5):  # findings, and what the tree as installable today lacks
            raise Failed(f"bench: {way.name}: status {process.returncode}: {text[-2000:]}")
        cpu = usage.ru_utime + usage.ru_stime
        return float(text.split()[-1]) if way.tells else seconds, cpu, usage.ru_maxrss / 1024

    def compare(self, group: str, what: str, where: str, ratio: float, limit: float, at_least: bool = False) -> None:
        self.comparisons.append(Comparison(group, what, where, ratio, limit, at_least))

    def result(self, started: float, load: tuple[float, float, float]) -> dict[str, Any]:
        """Everything, for the JSON file: what the chart is drawn from."""
        return {
            "schema": 1,
            "machine": {
                "cpus": os.cpu_count(),
                "kernel": platform.release(),
                "python": platform.python_version(),
                "pip": builds.version_of_pip(),
                "load_before": round(load[0], 2),
                "load_after": round(os.getloadavg()[0], 2),
                "minutes": round((time.time() - started) / 60, 1),
            },
            "measured": [{**asdict(measurement), "median": measurement.median} for measurement in self.measured],
            "comparisons": [{**asdict(comparison), "holds": comparison.holds} for comparison in self.comparisons],
            "syscalls_per_file": self.syscalls,
            "not_run": self.notes,
        }


@contextlib.contextmanager
def memory(notes: list[str], needed: int) -> Iterator[Path | None]:
    """A directory on tmpfs, where the machine has one with `needed` bytes."""
    shared = Path("/dev/shm")
    free = shutil.disk_usage(shared).free if shared.is_dir() and os.access(shared, os.W_OK) else 0
    available = int(re.findall(r"MemAvailable: +(\d+)", Path("/proc/meminfo").read_text())[0]) << 10
    if min(free, available) < needed:
        notes.append(f"anything on tmpfs: /dev/shm and memory have less than {needed >> 20} MiB free")
        yield None
        return
    made = Path(tempfile.mkdtemp(prefix="eggcache-bench-", dir=shared))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
