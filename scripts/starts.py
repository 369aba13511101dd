"""What takes some ten milliseconds: a prepare with nothing to do, a text to read. The least processor time counts."""

from __future__ import annotations

from pathlib import Path

from inputs import Input, fresh, lacking
from measuring import Bench, Way

from eggcache.cli.main import COMMANDS


def warm(bench: Bench, tree: Input) -> None:
    """A prepare with nothing to do, beside the start of Python; the same where its receipt has a finding to be said."""
    place = fresh(bench.ram / "warm")
    egg = lacking(fresh(place / "lacking"), tree.eggs)
    prepare = bench.eggcache("prepare", place / "cache", *tree.arguments, *bench.user)
    words = ["Lacking", "--path", egg.parent, "--python", tree.python, *bench.user]
    finding = bench.eggcache("prepare", place / "another", *words)
    for command in (prepare, finding):
        bench.run(Way("first", command))
    ways = [
        Way("eggcache prepare, warm", prepare),
        Way("python -c pass", _bare(bench)),
        Way("eggcache prepare, warm, with a finding", finding),
    ]
    if bench.options.binary:
        ways.append(Way("scripts/binary, warm", [bench.options.binary.resolve(), *prepare[1:]]))
    ours, bare, found, *program = bench.measure("warm", tree, bench.medium, ways, bench.rounds(41))
    bench.compare("warm", "warm prepare / python -c pass", bench.medium, ours.least / bare.least, 2.5)
    bench.compare("warm", "warm prepare with a finding / the same", bench.medium, found.least / bare.least, 2.8)
    for item in program:
        ratio = item.least / ours.least
        bench.compare("warm", "warm prepare of scripts/binary / installed", bench.medium, ratio, 3.0)


def texts(bench: Bench, tree: Input) -> None:
    """The version, the helps and an explanation, beside the start of Python."""
    words = [["--version"], ["--help"], *([command, "--help"] for command in COMMANDS), ["explain", "egg-refused"]]
    ways = [Way(f"eggcache {' '.join(each)}", bench.eggcache(*each)) for each in words]
    ways.insert(0, Way("python -c pass", _bare(bench)))
    bare, *found = bench.measure("start", tree, bench.medium, ways, bench.rounds(21))
    for item in found:
        bench.compare("start", f"{item.way} / python -c pass", bench.medium, item.least / bare.least, 3.0)


def _bare(bench: Bench) -> list[str | Path]:
    return [bench.python, "-c", "pass"]
