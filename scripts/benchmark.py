"""Measures eggcache beside what does a part of the same: one table, one JSON file, one chart.

Each comparison is run in alternating order, several times, on the disk after a sync and on tmpfs; medians count. What
could not be run is said. The limits are those that eggcache is held to; `holds` says whether a ratio keeps its limit.
"""

from __future__ import annotations

import argparse
import contextlib
import grp
import importlib.util
import json
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

import chart

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # where what builds real sites lies

import inputs
from inputs import Input, fresh
from support import deployment

HERE = Path(__file__).resolve().parent
_ENOUGH = 60  # seconds for the rounds of one table, of which there are eight, on a machine that others use as well
_LAST = 360  # seconds: what has not begun then is left out
GROUPS = ("prepare", "extract", "warm", "unzip-all", "check", "archive", "scale", "syscalls")

# Looks at every member of each egg once, through the target's own pkg_resources, which extracts what it does not find.
_LOOK = r"""
import sys, warnings, zipfile, zipimport
warnings.simplefilter("ignore")
import pkg_resources
manager = pkg_resources.ResourceManager()
for egg in sys.argv[1:]:
    names = [name for name in zipfile.ZipFile(egg).namelist() if not name.endswith("/")]
    provider = pkg_resources.EggMetadata(zipimport.zipimporter(egg))
    for name in names:
        provider.get_resource_filename(manager, name)
"""

# Extraction alone: without the start, the target, the sync, the swap and the receipt. It says how long that took.
_EXTRACT = r"""
import os, sys, time
from eggcache.eggs import extract
from eggcache.eggs import reader as egg
from eggcache.model import Ownership
top, owner = os.open(sys.argv[1], os.O_RDONLY), Ownership(os.geteuid(), os.getegid(), 0o755, 0o644)
started, ready = time.perf_counter(), []
for path in sys.argv[2:]:
    source, name = os.open(path, os.O_RDONLY), os.path.basename(path) + "-tmp"
    os.mkdir(name, 0o700, dir_fd=top)
    into = os.open(name, os.O_RDONLY, dir_fd=top)
    ready.append(extract.Extraction(extract.Opened(source, egg.read(source, path)), into, owner))
wrong = [error for error in extract.together(ready) if error]
print(wrong or time.perf_counter() - started)
"""

_UNZIP = 'into=$1; shift; for egg; do unzip -q "$egg" -d "$into/${egg##*/}-tmp" || exit; done'
_EASY = 'python=$1; shift; for egg; do "$python" -c "$EASY" -Z -N -H None "$egg" || exit; done'


@dataclass
class Measured:
    """One way of doing something to one input on one medium, several times."""

    group: str
    input: str
    medium: str
    way: str
    files: int
    seconds: list[float] = field(default_factory=list)
    peak_mib: float = 0.0  # of the largest single process

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


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
        self.python = self._plain()
        self.fast = self._fast()
        self.user = ["--user", "nobody", "--group", grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name]
        if os.geteuid() != 0:
            self.user = ["--user", pwd.getpwuid(os.geteuid()).pw_name]
        self.env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

    def _plain(self) -> Path:
        """An interpreter with eggcache as pip would install it: the tests' own finds it through a hook that costs."""
        home = fresh(self.work / "plain")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
        site = next(home.glob("lib/python*/site-packages"))
        for name in ("eggcache", "filelock"):
            spec = importlib.util.find_spec(name)
            if spec and spec.submodule_search_locations:
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(spec.submodule_search_locations[0], site / name, ignore=ignore)
        python = home / "bin" / "python"
        subprocess.run([python, "-m", "compileall", "-q", site], check=True)
        return python

    def _fast(self) -> dict[str, str] | None:
        """The environment in which eggcache has its extra `fast`; None where the tests' own has it not."""
        spec = importlib.util.find_spec("zlib_ng")
        if spec is None or not spec.submodule_search_locations:
            self.notes.append("eggcache with the extra fast: there is no zlib-ng in the environment of the tests")
            return None
        into = fresh(self.work / "fast") / "zlib_ng"
        shutil.copytree(spec.submodule_search_locations[0], into, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run([self.python, "-m", "compileall", "-q", into], check=True)
        return {"PYTHONPATH": str(into.parent)}

    # ------------------------------------------------------------------------------------------------- measuring

    def rounds(self, many: int) -> int:
        """How often: fewer where the caller says so."""
        return min(many, self.options.rounds) if self.options.rounds else many

    def wanted(self, group: str) -> bool:
        return self.options.only in (None, group)

    def measure(self, group: str, given: Input, medium: str, ways: Sequence[Way], rounds: int) -> list[Measured]:
        """Run the ways in turn, there and back, and keep what each took."""
        found = [Measured(group, given.name, medium, way.name, given.files) for way in ways]
        print(f"{group}: {given.name} on {medium}, {rounds} rounds", file=sys.stderr, flush=True)
        begun = time.monotonic()
        for number in range(rounds):
            if number and time.monotonic() - begun > _ENOUGH:
                self.notes.append(f"{group}, {given.name} on {medium}: {rounds - number} of {rounds} rounds, for time")
                break
            for way, one in list(zip(ways, found))[:: 1 if number % 2 == 0 else -1]:
                way.before()
                if medium == "disk":
                    os.sync()
                seconds, peak = self.run(way)
                one.seconds.append(seconds)
                one.peak_mib = max(one.peak_mib, peak)
        self.measured += found
        return found

    def run(self, way: Way) -> tuple[float, float]:
        """Seconds, and MiB of the largest process."""
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
            raise SystemExit(f"bench: {way.name}: status {process.returncode}: {text[-2000:]}")
        return float(text.split()[-1]) if way.tells else seconds, usage.ru_maxrss / 1024

    def compare(self, group: str, what: str, where: str, ratio: float, limit: float, at_least: bool = False) -> None:
        self.comparisons.append(Comparison(group, what, where, ratio, limit, at_least))

    # ---------------------------------------------------------------------------------------------------- the ways

    def eggcache(self, command: str, *arguments: str | Path) -> list[str | Path]:
        return [self.python, "-m", "eggcache", command, *arguments]

    def extracting(self, given: Input, place: Path, *, rivals: Sequence[str], keep: bool = False) -> list[Way]:
        """eggcache prepare, and each of `rivals`, into directories in `place`.

        With `keep`, what one has written is moved aside for the next, and not removed: an ext4 without a journal takes
        no inode again that was freed in the last minute, and looks at each of them for every file that is made.
        """
        into, cache = place / "into", place / "cache"
        eggs: list[str | Path] = list(given.eggs)
        tarball = place / f"{given.name}.tar"
        if "tar -x" in rivals and not tarball.exists():
            self.run(Way("unzip", ["sh", "-c", _UNZIP, "sh", fresh(into), *eggs]))
            subprocess.run(["tar", "-cf", tarball, "-C", into, "."], check=True)
            shutil.rmtree(into)

        def empty() -> None:
            if keep:
                aside = Path(tempfile.mkdtemp(prefix="kept-", dir=place))
                for written in filter(Path.exists, (into, cache)):
                    written.rename(aside / written.name)
            fresh(into)
            shutil.rmtree(cache, ignore_errors=True)

        prepare = self.eggcache("prepare", cache, *given.arguments, *self.user)
        known = {
            "unzip -q": Way("unzip -q", ["sh", "-c", _UNZIP, "sh", into, *eggs], empty),
            "unzip -q, sync": Way(
                "unzip -q, sync", ["sh", "-c", f'{_UNZIP} && sync -f "$into"', "sh", into, *eggs], empty
            ),
            "tar -x": Way("tar -x", ["tar", "-xf", tarball, "-C", into], empty),
            "prototype": Way("prototype", [self.python, HERE / "prototype.py", into, *eggs], empty),
            "pkg_resources": Way(
                "pkg_resources", [given.python, "-B", "-c", _LOOK, *eggs], empty, {"PYTHON_EGG_CACHE": str(into)}
            ),
            "extraction alone": Way(
                "extraction alone", [self.python, "-c", _EXTRACT, into, *eggs], empty, tells=True
            ),
        }  # fmt: skip
        return [Way("eggcache prepare", prepare, empty), *(known[name] for name in rivals)]

    # -------------------------------------------------------------------------------------------------- the groups

    def prepare(self, tree: Input) -> None:
        """A cold prepare, the whole process, beside the other ways to have the files there."""
        for medium, top in self.media.items():
            place = fresh(top / "prepare")
            rivals = ["unzip -q", "unzip -q, sync", "tar -x", "prototype", "pkg_resources"]
            ours, unzip, synced, *_ = self.measure(
                "prepare",
                tree,
                medium,
                self.extracting(tree, place, rivals=rivals, keep=medium == "disk"),
                self.rounds(9),
            )
            self.compare("prepare", "cold prepare / unzip -q egg by egg", medium, ours.median / unzip.median, 1.0)
            if medium == "disk":
                synced_ratio = ours.median / synced.median
                self.compare("prepare", "cold prepare / unzip -q and sync", medium, synced_ratio, 1.0)
            shutil.rmtree(place)

    def extract(self, tree: Input) -> None:
        """The extraction alone, on tmpfs, beside tar, which has nothing to inflate."""
        if "tmpfs" not in self.media:
            return
        place = fresh(self.ram / "extract")
        alone, tar = self.extracting(tree, place, rivals=["extraction alone", "tar -x"])[1:]
        ways = [alone, tar, *([replace(alone, name="extraction, fast", env=self.fast)] if self.fast else [])]
        ours, theirs, *fast = self.measure("extract", tree, "tmpfs", ways, self.rounds(25))
        self.compare("extract", "extraction alone / tar -x", "tmpfs", ours.median / theirs.median, 2.0)
        for one in fast:
            ratio = one.median / theirs.median
            self.compare("extract", "extraction alone, with the extra fast / tar -x", "tmpfs", ratio, 1.5)
        shutil.rmtree(place)

    def warm(self, tree: Input) -> None:
        """A prepare with nothing to do, beside the start of Python."""
        cache = fresh(self.ram / "warm") / "cache"
        prepare = self.eggcache("prepare", cache, *tree.arguments, *self.user)
        self.run(Way("first", prepare))
        ways = [Way("eggcache prepare, warm", prepare), Way("python -c pass", [self.python, "-c", "pass"])]
        if self.options.binary:
            words = prepare[prepare.index("prepare") :]
            ways.append(Way("scripts/binary, warm", [self.options.binary.resolve(), *words]))
        ours, bare, *program = self.measure("warm", tree, self._ram(), ways, self.rounds(41))
        self.compare("warm", "warm prepare / python -c pass", self._ram(), ours.median / bare.median, 3.0)
        for one in program:
            self.compare(
                "warm", "warm prepare of scripts/binary / installed", self._ram(), one.median / ours.median, 3.0
            )

    def unzip_all(self, made: deployment.Deployment, tree: Input) -> None:
        """unzip-all beside easy_install -Z of the same eggs, egg by egg, from elsewhere: of what is installed it
        leaves every egg zipped. Both byte-compile."""
        place = fresh(self.ram / "unzip-all")
        easy = "import setuptools, sys; setuptools.setup(script_args=['-q', 'easy_install'] + sys.argv[1:])"
        copy, bare = place / "copy", place / "bare"

        def again() -> None:
            for directory in (copy, bare):
                shutil.rmtree(directory, ignore_errors=True)
            deployment.copy(made, copy)
            site = deployment.copy(made, bare).site_packages
            for egg in site.glob("*.egg"):
                egg.unlink()
            (site / "easy-install.pth").unlink()

        unzip = self.eggcache("unzip-all", "--all", "--python", copy / "bin" / "python")
        command: list[str | Path] = ["sh", "-c", _EASY, "sh", bare / "bin" / "python", *made.eggs]
        ways = [Way("eggcache unzip-all", unzip, again), Way("easy_install -Z", command, again, {"EASY": easy})]
        ours, theirs = self.measure("unzip-all", tree, self._ram(), ways, self.rounds(3))
        ratio = theirs.median / ours.median
        self.compare("unzip-all", "easy_install -Z egg by egg / unzip-all", self._ram(), ratio, 3.0, at_least=True)
        cold = [one for one in self.measured if (one.group, one.way) == ("prepare", "eggcache prepare")]
        for one in cold:
            if one.medium == self._ram():
                ratio = theirs.median / one.median
                self.compare("unzip-all", "easy_install -Z / cold prepare", one.medium, ratio, 20.0, at_least=True)
        shutil.rmtree(place)

    def check(self, tree: Input) -> None:
        """check beside the target's own look at every member, which proves less: not the bytes in old releases, no
        directory, no rights."""
        cache = fresh(self.ram / "check") / "cache"
        self.run(Way("first", self.eggcache("prepare", cache, *tree.arguments, *self.user)))
        check = self.eggcache("check", *tree.arguments, *self.user[:2], "--cache", cache)
        look = [tree.python, "-B", "-c", _LOOK, *tree.eggs]
        ways = [Way("eggcache check", check), Way("pkg_resources, once", look, env={"PYTHON_EGG_CACHE": str(cache)})]
        ours, own = self.measure("check", tree, self._ram(), ways, self.rounds(11))
        ratio = ours.median / own.median
        self.compare("check", "check / pkg_resources' own look at every member", self._ram(), ratio, 2.0)

    def archive(self, tree: Input) -> None:
        """An archive to nowhere, the whole process, beside a cold prepare: both read, inflate and check all members.
        One process writes an archive; all cores write a cache, and a disk has to have it."""
        written = self.eggcache("archive", "-", *tree.arguments, *(self.user if os.geteuid() == 0 else []))
        for medium, top in self.media.items():
            place = fresh(top / "archive")
            prepare = self.extracting(tree, place, rivals=[], keep=medium == "disk")[0]
            ways = [Way("eggcache archive", ["sh", "-c", 'exec "$@" >/dev/null', "sh", *written]), prepare]
            ours, cold = self.measure("archive", tree, medium, ways, self.rounds(9))
            limit = 0.8 if medium == "disk" else 1.5
            self.compare("archive", "archive to /dev/null / cold prepare", medium, ours.median / cold.median, limit)
            self.compare("archive", "memory of an archive, MiB", medium, ours.peak_mib, 60.0)
            shutil.rmtree(place)

    def scale(self, series: Sequence[Input], extremes: Sequence[Input]) -> None:
        """Time for each file from one tree to a hundred; memory for every input."""
        found = []
        for given in [*extremes, *series]:
            if given is not series[0] and time.monotonic() - self.begun > _LAST:
                self.notes.append(f"scale, {given.name}: for time")
                continue
            place = fresh(self.ram / "scale")
            large = given.files > 50_000
            rivals = ["tar -x"] if large else ["unzip -q", "tar -x", "prototype"]
            ways = self.extracting(given, place, rivals=rivals)
            ours = self.measure("scale", given, self._ram(), ways, self.rounds(1 if large else 3))[0]
            found.append((given, ours))
            self.compare("scale", f"memory of a cold prepare of {given.name}, MiB", self._ram(), ours.peak_mib, 100.0)
            shutil.rmtree(place)
        first, last = (next(one for one in found if one[0] is series[0])), found[-1]
        if last is first:
            return
        ratio = (last[1].median / last[0].files) / (first[1].median / first[0].files)
        self.compare("scale", f"time for each file, {last[0].name} / {first[0].name}", self._ram(), ratio, 1.25)

    def count_syscalls(self, tree: Input) -> None:
        """System calls for each file: those of the whole command, less those for no eggs at all."""
        if not shutil.which("strace"):
            self.notes.append("system calls: strace is not installed")
            return
        place = fresh(self.ram / "syscalls")
        log = place / "log"
        for way in self.extracting(tree, place, rivals=["extraction alone", "unzip -q", "tar -x", "prototype"])[1:]:
            counts = []
            for command in (way.command, [part for part in way.command if part not in tree.eggs]):
                way.before()
                self.run(Way(way.name, ["strace", "-f", "-c", "-o", log, *command], env=way.env))
                counts.append(int(re.findall(r"(\d+) +(?:\d+ +)?total$", log.read_text(), re.MULTILINE)[0]))
            start = counts[1] if way.name != "tar -x" else 0
            self.syscalls[way.name] = (counts[0] - start) / tree.files
        ours = self.syscalls["extraction alone"]
        self.compare("syscalls", "system calls for each extracted file", self._ram(), ours, 7.0)
        shutil.rmtree(place)

    def _ram(self) -> str:
        return "tmpfs" if "tmpfs" in self.media else "disk"

    # ------------------------------------------------------------------------------------------------- what comes out

    def result(self, started: float, load: tuple[float, float, float]) -> dict[str, Any]:
        """Everything, for the JSON file: what the chart is drawn from."""
        return {
            "schema": 1,
            "machine": {
                "cpus": os.cpu_count(),
                "kernel": platform.release(),
                "python": platform.python_version(),
                "load_before": round(load[0], 2),
                "load_after": round(os.getloadavg()[0], 2),
                "minutes": round((time.time() - started) / 60, 1),
            },
            "measured": [{**asdict(one), "median": one.median} for one in self.measured],
            "comparisons": [{**asdict(one), "holds": one.holds} for one in self.comparisons],
            "syscalls_per_file": self.syscalls,
            "not_run": self.notes,
        }


def table(result: dict[str, Any]) -> str:
    """What was measured, and how it compares."""
    rows = [["GROUP", "INPUT", "ON", "WAY", "MEDIAN s", "LEAST", "MOST", "RUNS", "us/FILE", "PEAK MiB"]]
    for one in result["measured"]:
        seconds = one["seconds"]
        times = [f"{value:.3f}" for value in (one["median"], min(seconds), max(seconds))]
        per_file = f"{one['median'] / one['files'] * 1e6:.0f}"
        peak = f"{one['peak_mib']:.0f}"
        rows.append([one["group"], one["input"], one["medium"], one["way"], *times, str(len(seconds)), per_file, peak])
    compared = [["COMPARISON", "ON", "RATIO", "LIMIT", ""]]
    for one in result["comparisons"]:
        limit = f"{'>=' if one['at_least'] else '<='} {one['limit']:g}"
        verdict = "holds" if one["holds"] else "MISSED"
        compared.append([one["what"], one["where"], f"{one['ratio']:.2f}", limit, verdict])
    counted = [["SYSTEM CALLS OF", "FOR EACH FILE"]]
    counted += [[way, f"{calls:.1f}"] for way, calls in result["syscalls_per_file"].items()]
    parts = [_columns(part) for part in (rows, counted, compared) if len(part) > 1]
    return "\n\n".join([*parts, *(f"not run: {note}" for note in result["not_run"])]) + "\n"


def _columns(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows)


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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny inputs, once each: a test of the benchmark itself")
    parser.add_argument("--only", choices=GROUPS, help="this group of measurements alone")
    parser.add_argument(
        "--binary", type=Path, metavar="FILE", help="what scripts/binary made, beside what is installed"
    )
    parser.add_argument("--rounds", type=int, help="at most so many rounds")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/eggcache-bench"), help="directory on a disk")
    parser.add_argument("--draw", type=Path, metavar="JSON", help="measure nothing: draw the chart of an earlier run")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the chart there")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write all figures there, as JSON; with --only, the other groups in it stay",
    )
    options = parser.parse_args(arguments)
    if options.draw:
        result = json.loads(options.draw.read_text())
    else:
        result = measure(options)
        if options.only and options.output and options.output.exists():
            result = merged(json.loads(options.output.read_text()), result, options.only)
        if options.output:
            options.output.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(table(result))
    if options.svg:
        options.svg.write_text(chart.draw(result))
    return 0


def merged(before: dict[str, Any], now: dict[str, Any], group: str) -> dict[str, Any]:
    """An earlier result with one group measured anew."""
    kept = {
        name: [one for one in before[name] if one["group"] != group] + now[name] for name in ("measured", "comparisons")
    }
    notes = [note for note in before["not_run"] if not note.startswith(f"{group}, ")]
    calls = now["syscalls_per_file"] or before["syscalls_per_file"]
    return {**now, **kept, "syscalls_per_file": calls, "not_run": notes + now["not_run"]}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All groups that `options` ask for."""
    started, load = time.time(), os.getloadavg()
    if options.quick:
        options.rounds = 1
    notes: list[str] = []
    options.work.mkdir(parents=True, exist_ok=True)
    options.work.chmod(0o755)
    build = deployment.turbogears2_311 if options.quick else deployment.turbogears1
    made = build(options.work)
    place = fresh(options.work / "bench")
    try:
        with memory(notes, 64 << 20 if options.quick else 2 << 30) as tmpfs:
            bench = Bench(options, place, tmpfs)
            bench.notes += notes
            _all(bench, made)
            return bench.result(started, load)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _all(bench: Bench, made: deployment.Deployment) -> None:
    quick = bench.options.quick
    home = fresh(bench.ram / "inputs")
    common = ["--python", str(made.python)]
    name = "1 tree"
    tree = Input(name, made.python, made.eggs, ["--all", *common], *inputs.contents(made.eggs))
    if bench.wanted("prepare"):
        bench.prepare(tree)
    if bench.wanted("extract"):
        bench.extract(tree)
    if bench.wanted("warm"):
        bench.warm(tree)
    if bench.wanted("unzip-all"):
        bench.unzip_all(made, tree)
    if bench.wanted("check"):
        bench.check(tree)
    if bench.wanted("archive"):
        bench.archive(tree)
    if bench.wanted("syscalls"):
        bench.count_syscalls(tree)
    if bench.wanted("scale"):
        series = [tree]
        for times in (2, 3) if quick else (10, 100):
            needed = tree.size * times * 3
            if shutil.disk_usage(bench.ram).free < needed:
                bench.notes.append(f"{times} trees: {bench.ram} has less than {needed >> 20} MiB free")
                continue
            where = fresh(home / f"{times}")
            eggs = [*made.eggs, *inputs.rename_trees(made.eggs, where, times - 1)]
            arguments = ["--all", "--path", str(where), *common]
            series.append(Input(f"{times} trees", made.python, eggs, arguments, *inputs.contents(eggs)))
        version = ".".join(platform.python_version_tuple()[:2]) if quick else "2.7"
        extremes = []
        count, size = (200, 1 << 20) if quick else (20_000, 500 << 20)
        for title, project, write, amount in (
            (f"{count} members", "many", inputs.many_members, count),
            (f"one member of {size >> 20} MiB", "large", inputs.one_member, size),
        ):
            where = fresh(home / project)
            egg = where / f"{project}-1.0-py{made.site_packages.parent.name[6:] or version}.egg"
            write(egg, project, amount)
            files = inputs.contents([egg])
            extremes.append(Input(title, made.python, [egg], [project, "--path", str(where), *common], *files))
        bench.scale(series, extremes)


if __name__ == "__main__":
    sys.exit(main())
