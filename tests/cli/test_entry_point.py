"""start: a prepare with nothing to do ends before the parser is loaded, just as it would have ended with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT
from support.judge import eggcache, environment
from support.sites import Site, write_egg

from eggcache.cli import entry_point, main

WRAPPER = [
    "prepare",
    "/c/d",
    "--lenient",
    "--reset",
    "--python",
    "/p/python",
    "--path",
    "/a",
    "--user",
    "www",
    "--group",
]
WRAPPER += [
    "web",
    "--tz",
    "Europe/Berlin",
    "--limit",
    "ratio=300",
    "--path",
    "/b",
    "--wait",
    "60",
    "--",
    "Shop",
    "Till",
]
WHOLE = (
    [sys.executable, "-c", "import sys; from eggcache.cli import main; sys.exit(main.main())"],
    [sys.executable, "-m", "eggcache"],
)


@pytest.mark.parametrize(
    "words",
    [
        WRAPPER,
        ["prepare", "/c", "--python", "/p"],
        ["prepare", "--python", "/p", "/c/", "A", "--user", "www", "B"],
        ["prepare", "./c", "--wait", "1e1", "--wait", "0", "--all"],
        ["prepare", "/c", "--strict-tree", "Shop[till]>=1", "--", "A"],
    ],
    ids=" ".join,
)
def test_plain_command_lines_mean_what_the_parser_says(words: list[str]) -> None:
    """Each option of a plain command line, and each that it leaves out, is what argparse makes of it."""
    options, parsed = entry_point.plain_options(words), vars(main.parse(words))
    assert options is not None
    # what finds the parser, and what another command sets
    of_parser = {name: parsed.pop(name) for name in ("parser", "version")}
    assert of_parser["version"] is False
    assert vars(options) == parsed


@pytest.mark.parametrize(
    "more",
    ["-n", "-v", "--json", "-q", "--prune", "--allow-gap", "--wat", "--wait", "--wait nan", "--wait x", "--user -v",
     "--python=/p", "--user --lenient", "-- -v", "--help"],
)  # fmt: skip
def test_other_command_lines_are_the_parsers(more: str) -> None:
    """An option that wrappers do not have, or that makes no sense, is left to argparse, and so is what no command line
    may say."""
    plain = ["prepare", "/c", "--python", "/p"]
    assert entry_point.plain_options(plain) is not None
    assert entry_point.plain_options([*plain, *more.split()]) is None
    for words in ([], ["-q", *plain], ["prepare"], ["prepare", "c", *plain[2:]], ["check", "/c"], [*plain, ""]):
        assert entry_point.plain_options(words) is None


def told(*words: str | Path) -> tuple[int, str, str]:
    """What a prepare with nothing to do prints and returns, which the whole way says too."""
    ended = set()
    for command in WHOLE:
        result = subprocess.run(
            [*command, "prepare", *words], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
        ended.add((result.returncode, result.stdout, result.stderr))
    (answer,) = ended
    return answer


@pytest.fixture
def lacking(site: Site) -> list[str | Path]:
    """The words of a prepare with nothing to do whose tree lacks something."""
    members = {"lacking.py": "x\n", "EGG-INFO/requires.txt": "Not-There>=7\nOne\n"}
    write_egg(site.eggs / "Lacking-1.0-py3.11.egg", members)
    words = [site.cache, *site.options[1:], "Lacking"]
    assert eggcache("prepare", *words).returncode == 5
    return words


def test_what_was_found_is_said_as_the_whole_way_says_it(site: Site, lacking: list[str | Path]) -> None:
    """Findings of a run with nothing to do, its results where something is missing, and its exit status are the same
    bytes as those of a run that loads all that found them; a lenient one is silent."""
    status, out, err = told(*lacking)
    assert status == 5
    assert out.splitlines()[0].startswith(f"2 eggs kept in {site.cache}: 7 files, ")
    assert out.splitlines()[1].startswith(f"next: eggcache wrapper {site.cache} --python ")
    assert "[missing-distribution]" in err
    assert told(*lacking, "--lenient") == (0, "", "")
    write_egg(site.eggs / "Broken-1.0-py3.11.egg", {"broken.py": "x\n"}).write_bytes(b"PK\3\4 no more")
    site.prepare()
    status, out, err = told(site.cache, *site.options)
    assert (status, out) == (3, "")
    assert "[egg-refused]" in err


def test_nothing_that_found_it_is_loaded(site: Site, lacking: list[str | Path]) -> None:
    """What was found is said without argparse, json or re, and without the model."""
    onward = {"PYTHONPATH": str(site.eggs)}
    words = [word for word in lacking if word not in ("--path", site.eggs)]
    assert eggcache("prepare", *words, env=onward).returncode == 5
    code = "from eggcache.cli import entry_point; os._exit = lambda _: print(*sys.modules); entry_point.program()"
    result = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); {code}",
            "prepare",
            *words,
        ],
        env=environment(onward),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(result.stdout.splitlines()[-1].split())
    assert "eggcache.cli.unchanged_report" in loaded
    late = {"argparse", "contextlib", "importlib", "json", "re", "shlex", "signal", "eggcache.model"}
    assert loaded & {*late, "eggcache.cli.main"} == set()


def test_what_cannot_be_printed(lacking: list[str | Path]) -> None:
    """On a full disk the results are an error of one line, and a reader who is gone ends it as SIGPIPE does."""
    command = [sys.executable, "-m", "eggcache", "prepare", *lacking]
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            command, cwd=ROOT, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "eggcache: stdout: No space left on device; what was done is done"
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        command, cwd=ROOT, env=environment(), stdout=writing, stderr=subprocess.DEVNULL, check=False
    )
    os.close(writing)
    assert result.returncode == 141


@pytest.mark.parametrize("without", [
    "sys.modules['_json'] = None",
    "import _json; own = _json.make_scanner; _json.make_scanner = lambda each: each.parse_object and own(each)",
], ids=["no _json", "a scanner that wants more"])  # fmt: skip
def test_another_python_reads_its_json_by_itself(lacking: list[str | Path], without: str) -> None:
    """Where the scanner that json is made of is not there, or wants more of what it is given than json had to give it
    before, json itself reads the receipt."""
    code = f"import sys; {without}; from eggcache.cli import entry_point; entry_point.program()"
    words = [sys.executable, "-c", code, "prepare", *lacking]
    result = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == told(*lacking)
