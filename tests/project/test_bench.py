"""scripts/bench --quick: what it prints, writes and draws is there, and is one and the same. No figure is judged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import benchmark
import chart
import figures
import inputs
import measuring
import prototype
import pytest
from support.deployment import Deployment, others_can_use

SCRIPTS = Path(benchmark.__file__).parent


@pytest.fixture(scope="module")
def ran(where: Path, turbogears2_311: Deployment) -> tuple[dict[str, Any], str, str]:
    """The JSON, the table and the chart of a quick run on a deployment that is there."""
    assert others_can_use(turbogears2_311.python)
    output, svg = where / "bench.json", where / "bench.svg"
    command = [sys.executable, SCRIPTS / "benchmark.py", "--quick", "--work", where, "-o", output, "--svg", svg]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    return json.loads(output.read_text()), result.stdout, svg.read_text()


def test_everything_is_measured_or_said(ran: tuple[dict[str, Any], str, str]) -> None:
    """Each group has its ways, with a median among its seconds, a peak and files; what has none is said in words."""
    result, _, _ = ran
    ways: dict[str, set[str]] = {}
    for measurement in result["measured"]:
        ways.setdefault(measurement["group"], set()).add(measurement["way"])
        assert min(measurement["seconds"]) <= measurement["median"] <= max(measurement["seconds"])
        assert measurement["peak_mib"] > 1
        assert measurement["files"] > 0
    assert {"eggcache prepare", "unzip -q", "tar -x", "prototype", "pkg_resources"} <= ways["prepare"]
    assert ways["unzip-all"] == {"eggcache unzip-all", "easy_install -Z"}
    assert ways["check"] == {"eggcache check", "pkg_resources, once"}
    assert ways["archive"] == {"eggcache archive", "eggcache prepare"}
    assert ways["warm"] == {f"eggcache prepare, warm{more}" for more in ("", ", with a finding")} | {"python -c pass"}
    assert {"eggcache --version", "eggcache check --help", "python -c pass"} <= ways["start"]
    assert {"unzip -q", "eggcache tree", "eggcache prepare, again", "eggcache check"} <= ways["many-eggs"]
    assert {"eggcache prepare", "unzip -q", "tar -x"} <= ways["scale"]
    assert "extract" in ways or any("tmpfs" in note for note in result["not_run"])
    assert result["syscalls_per_file"] or any("strace" in note for note in result["not_run"])


def test_comparisons_are_of_what_was_measured(ran: tuple[dict[str, Any], str, str]) -> None:
    """A ratio is that of two medians, and `holds` says whether it keeps its limit."""
    result, _, _ = ran
    medians = {
        (measurement["group"], measurement["medium"], measurement["way"]): measurement["median"]
        for measurement in result["measured"]
    }
    rows = {(comparison["what"], comparison["where"]): comparison for comparison in result["comparisons"]}
    for medium in {measurement["medium"] for measurement in result["measured"]}:
        found = rows[("cold prepare / unzip -q egg by egg", medium)]
        ratio = medians[("prepare", medium, "eggcache prepare")] / medians[("prepare", medium, "unzip -q")]
        assert found["ratio"] == pytest.approx(ratio)
    for row in rows.values():
        expected = row["ratio"] >= row["limit"] if row["at_least"] else row["ratio"] <= row["limit"]
        assert row["holds"] is expected


def test_table_and_chart_show_the_figures(ran: tuple[dict[str, Any], str, str]) -> None:
    """Every row and every verdict is in the table; the chart is XML, has the medians, and is drawn again from JSON."""
    result, table, svg = ran
    for measurement in result["measured"]:
        assert re.search(rf"{re.escape(measurement['way'])} .*\b{measurement['median']:.3f}\b", table)
    verdicts = [line for line in table.splitlines() if line.endswith(("holds", "MISSED"))]
    assert len(verdicts) == len(result["comparisons"])
    drawing = ElementTree.fromstring(svg)
    texts = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    bars = list(drawing.iter("{http://www.w3.org/2000/svg}rect"))
    check = next(measurement["median"] for measurement in result["measured"] if measurement["way"] == "eggcache check")
    assert (f"{check:.3f} s" if check < 1 else f"{check:.1f} s") in texts
    assert len(bars) == 11
    assert chart.draw(result) == svg


def test_the_committed_chart_is_of_the_committed_figures() -> None:
    """docs/bench.svg is what docs/bench.json says."""
    docs = SCRIPTS.parent / "docs"
    assert chart.draw(json.loads((docs / "bench.json").read_text())) == (docs / "bench.svg").read_text()


@pytest.mark.parametrize(
    ("make", "members", "size"),
    [
        (lambda path: inputs.many_members(path, "many", 150), 152, None),
        (lambda path: inputs.one_member(path, "large", 3 << 20), 3, 3 << 20),
    ],
)
def test_inputs_are_eggs(make: Callable[[Path], None], members: int, size: int | None, tmp_path: Path) -> None:
    """The eggs that are made up are whole zips, with the metadata that names their project."""
    path = tmp_path / "made-1.0-py3.11.egg"
    make(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == members
        assert b"Name: " in archive.read("EGG-INFO/PKG-INFO")
        assert size in (None, max(info.file_size for info in archive.infolist()))


def test_renamed_trees_are_other_projects(turbogears2_311: Deployment, tmp_path: Path) -> None:
    """Each copy has every member of its egg, byte for byte, and another name in the metadata."""
    eggs = turbogears2_311.eggs
    made = inputs.rename_trees(eggs, tmp_path, 2)
    assert len(made) == 2 * len(eggs)
    assert len({path.name for path in made}) == len(made)
    for original, copy in zip((egg for egg in eggs for _ in range(2)), made):
        with zipfile.ZipFile(original) as before, zipfile.ZipFile(copy) as after:
            assert after.testzip() is None
            assert after.namelist() == before.namelist()
            for name in set(before.namelist()) - {"EGG-INFO/PKG-INFO"}:
                assert after.read(name) == before.read(name)
                assert after.getinfo(name).date_time == before.getinfo(name).date_time
            assert re.search(rb"(?m)^Name: T0\d-", after.read("EGG-INFO/PKG-INFO"))


def test_prototype_writes_what_the_egg_holds(turbogears2_311: Deployment, tmp_path: Path) -> None:
    """The rival does the whole of what it is measured for."""
    egg = turbogears2_311.eggs[0]
    prototype.extract(str(egg), str(tmp_path / "into"))
    with zipfile.ZipFile(egg) as archive:
        for info in archive.infolist():
            assert (tmp_path / "into" / info.filename).read_bytes() == archive.read(info)


def test_a_way_that_fails_is_no_figure(tmp_path: Path) -> None:
    """A command that does not do its work ends the run, with its words."""
    bench = object.__new__(measuring.Bench)
    bench.env, bench.empty = {"PATH": "/usr/bin:/bin"}, tmp_path
    with pytest.raises(SystemExit, match="broken: status 7: some words"):
        bench.run(measuring.Way("broken", ["sh", "-c", "echo some words; exit 7"]))


def test_an_earlier_build_goes_the_same_ways(tmp_path: Path) -> None:
    """With --beside each way that is eggcache's is measured of both builds, and compared; one that the earlier build
    does not know is said, and is no figure."""
    builds = []
    for name in ("now", "earlier"):
        script = tmp_path / name / "bin" / "eggcache"
        script.parent.mkdir(parents=True)
        script.write_text(f'#!/bin/sh\n[ "$1" = known ] || [ {name} = now ] || {{ echo unknown; exit 2; }}\n')
        script.chmod(0o755)
        builds.append(script.with_name("python"))
    bench = object.__new__(measuring.Bench)
    bench.env, bench.empty, (bench.python, bench.earlier) = {"PATH": "/usr/bin:/bin"}, tmp_path, builds
    bench.measured, bench.comparisons, bench.notes = [], [], []
    given = inputs.Input("nothing", tmp_path, [], [], 1, 1)
    words = ("known", "new")
    ways = [
        *(measuring.Way(f"eggcache {word}", bench.eggcache(word)) for word in words),
        measuring.Way("tar", ["true"]),
    ]
    ours = bench.measure("prepare", given, "tmpfs", ways, 3)
    assert [item.way for item in ours] == ["eggcache known", "eggcache new", "tar"]
    both = [(measurement.way, len(measurement.seconds)) for measurement in bench.measured]
    assert both == [*((item.way, 3) for item in ours), ("eggcache known, beside", 3)]
    (row,) = bench.comparisons
    assert row.what == "eggcache known: nothing, now / beside"
    assert row.ratio == bench.measured[0].median / bench.measured[3].median
    assert bench.notes == ["prepare, nothing on tmpfs: bench: eggcache new, beside: status 2: unknown"]


def test_one_group_is_measured_anew(ran: tuple[dict[str, Any], str, str]) -> None:
    """With --only, the figures of the other groups in the file stay, and those of that group are new."""
    result, _, _ = ran
    anew = [{**row, "median": -1} for row in result["measured"] if row["group"] == "check"]
    now = {**result, "measured": anew, "comparisons": [], "not_run": ["check, something"], "syscalls_per_file": {}}
    before = {**result, "not_run": ["check, earlier", "scale, earlier"]}
    both = figures.merged(before, now, "check")
    assert {measurement["group"] for measurement in both["measured"] if measurement["median"] == -1} == {"check"}
    assert len(both["measured"]) == len(result["measured"])
    assert both["not_run"] == ["scale, earlier", "check, something"]
    assert both["syscalls_per_file"] == result["syscalls_per_file"]
