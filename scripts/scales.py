"""How time and memory grow: from one tree to a hundred, with eggs of extreme shapes, and with ten thousand eggs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from comparisons import UNZIP, extracting
from inputs import Input, fresh
from measuring import Bench, Measured, Way

_LAST = 360  # seconds: what has not begun then is left out
_NEEDS = "import pkg_resources; pkg_resources.Environment()"  # which looks at each egg in a directory on the path


def scale(bench: Bench, series: Sequence[Input], extremes: Sequence[Input]) -> None:
    """Time for each file from one tree to a hundred; memory for every input."""
    points = []
    for given in [*extremes, *series]:
        if given is not series[0] and time.monotonic() - bench.begun > _LAST:
            bench.notes.append(f"scale, {given.name}: for time")
            continue
        place = fresh(bench.ram / "scale")
        large = given.files > 50_000
        rivals = ["tar -x"] if large else ["unzip -q", "tar -x", "prototype"]
        ways = extracting(bench, given, place, rivals=rivals)
        ours, *others = bench.measure("scale", given, bench.medium, ways, bench.rounds(1 if large else 3))
        points.append((given, ours))
        bench.compare("scale", f"memory of a cold prepare of {given.name}, MiB", bench.medium, ours.peak_mib, 80.0)
        if given is extremes[0]:
            unzip = next(item for item in others if item.way == "unzip -q")
            ratio = ours.median / unzip.median
            bench.compare("scale", f"cold prepare / unzip -q, {given.name}", bench.medium, ratio, 0.8)
        shutil.rmtree(place)
    first, last = (next(item for item in points if item[0] is series[0])), points[-1]
    if last is first:
        return
    ratio = (last[1].median / last[0].files) / (first[1].median / first[0].files)
    bench.compare("scale", f"time for each file, {last[0].name} / {first[0].name}", bench.medium, ratio, 1.25)


def many_eggs(bench: Bench, series: Sequence[Input]) -> None:
    """Each command on a path of many eggs, beside the two parts that it cannot do without: the target's own look
    at that path by pkg_resources, and unzip -q of the same, where it extracts. It takes minutes: no default."""
    grown: dict[str, list[tuple[Input, Measured]]] = {}
    for given in series:
        place = fresh(bench.ram / "many")
        cache, into, path = place / "cache", place / "into", given.eggs[0].parent
        prepare = bench.eggcache("prepare", cache, *given.arguments, *bench.user)

        def gone(cache: Path = cache) -> None:
            shutil.rmtree(cache, ignore_errors=True)

        def empty(into: Path = into) -> None:
            fresh(into)

        first = [
            Way(
                "pkg_resources.Environment",
                [given.python, "-B", "-W", "ignore", "-c", _NEEDS],
                env={"PYTHONPATH": str(path)},
            ),
            Way("unzip -q", ["sh", "-c", f'cd "$1" && set -- "$2" ./*.egg && {UNZIP}', "sh", path, into], empty),
            Way("eggcache tree", bench.eggcache("tree", "-q", *given.arguments)),
            Way("eggcache unzip-all -n", bench.eggcache("unzip-all", "-q", "-n", *given.arguments)),
            Way("eggcache prepare", prepare, gone),
        ]
        needed, unzip, *found = bench.measure("many-eggs", given, bench.medium, first, bench.rounds(1))
        bench.run(Way("first", prepare))
        check = bench.eggcache("check", "-q", *given.arguments, *bench.user[:2], "--cache", cache)
        second = [Way("eggcache prepare, again", prepare), Way("eggcache check", check)]
        found += bench.measure("many-eggs", given, bench.medium, second, bench.rounds(1))
        for item in found:
            grown.setdefault(item.way, []).append((given, item))
            parts = needed.median + (unzip.median if item.way in ("eggcache prepare", "eggcache check") else 0)
            what = f"{item.way}, {given.name} / what it cannot do without"
            bench.compare("many-eggs", what, bench.medium, item.median / parts, 1.3)
        shutil.rmtree(place)
    for way, ((fewest, few), *_, (most, many)) in grown.items():
        ratio = (many.median / len(most.eggs)) / (few.median / len(fewest.eggs))
        what = f"{way}: time for each egg, {most.name} / {fewest.name}"
        bench.compare("many-eggs", what, bench.medium, ratio, 1.25)
        bench.compare("many-eggs", f"memory of {way}, {most.name}, MiB", bench.medium, many.peak_mib, 80.0)
