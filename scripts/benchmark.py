"""Measures eggcache beside what does a part of the same: one table, one JSON file, one chart.

Each comparison is run in alternating order, several times, on the disk after a sync and on tmpfs; medians count. What
could not be run is said. The limits are those that eggcache is held to; `holds` says whether a ratio keeps its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # where what builds real sites lies

import chart
import comparisons
import figures
import inputs
import scales
import starts
from inputs import Input, fresh
from measuring import Bench, memory
from support import deployment

GROUPS = ("prepare", "extract", "warm", "start", "unzip-all", "check", "archive", "scale", "syscalls", "many-eggs")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny inputs, once each: a test of the benchmark itself")
    parser.add_argument(
        "--only",
        choices=GROUPS,
        help="this group of measurements alone; many-eggs, which takes minutes, is in no other run",
    )
    parser.add_argument(
        "--beside", type=Path, metavar="BUILD", help="a wheel or a directory of another eggcache, in the same rounds"
    )
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
            result = figures.merged(json.loads(options.output.read_text()), result, options.only)
        if options.output:
            options.output.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(figures.table(result))
    if options.svg:
        options.svg.write_text(chart.draw(result))
    return 0


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
    for group, measured in (
        ("prepare", comparisons.prepare),
        ("extract", comparisons.extract),
        ("warm", starts.warm),
        ("start", starts.texts),
        ("check", comparisons.check),
        ("archive", comparisons.archive),
        ("syscalls", comparisons.count_syscalls),
    ):
        if bench.wanted(group):
            measured(bench, tree)
    if bench.wanted("unzip-all"):
        comparisons.unzip_all(bench, made, tree)
    version = made.site_packages.parent.name[6:]
    if bench.wanted("many-eggs", in_all=quick):
        series = []
        for count in (3, 9) if quick else (100, 1_000, 10_000):
            eggs = inputs.many_eggs(fresh(home / f"eggs-{count}"), count, version)
            arguments = ["--all", "--path", str(eggs[0].parent), *common]
            series.append(Input(f"{count} eggs", made.python, eggs, arguments, *inputs.contents(eggs)))
        scales.many_eggs(bench, series)
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
        extremes = []
        count, size = (200, 1 << 20) if quick else (20_000, 500 << 20)
        for title, project, write, amount in (
            (f"{count} members", "many", inputs.many_members, count),
            (f"one member of {size >> 20} MiB", "large", inputs.one_member, size),
        ):
            where = fresh(home / project)
            egg = where / f"{project}-1.0-py{version}.egg"
            write(egg, project, amount)
            files = inputs.contents([egg])
            extremes.append(Input(title, made.python, [egg], [project, "--path", str(where), *common], *files))
        scales.scale(bench, series, extremes)


if __name__ == "__main__":
    sys.exit(main())
