"""How much an egg may ask for: --limit, and memory that does not grow with an egg."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest
from support import ROOT
from support.judge import as_json, eggcache, environment, listing
from support.sites import Site, measured, write_egg
from support.zips import big_egg

from eggcache.cache import freshness
from eggcache.model import DEFAULT_LIMITS


@pytest.fixture
def bomb(site: Site) -> Path:
    """An egg that unpacks to a thousand times its size, beside two that do not."""
    egg = write_egg(site.eggs / "Bomb-1.0-py3.11.egg", {"bomb/__init__.py": ""})
    with zipfile.ZipFile(egg, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/zeros.txt", bytes(20 << 20))
    return egg


def refusals(result: subprocess.CompletedProcess[str]) -> list[str]:
    """What a command refused, a line for each egg."""
    if result.stdout.startswith("{"):
        findings = as_json(result)["findings"]
        return [
            f"{finding['thing']}: {finding['cause']} [{finding['code']}]; {finding['remedy']}"
            for finding in findings
            if finding["code"] == "egg-refused"
        ]
    return [line.removeprefix("eggcache: ") for line in result.stderr.splitlines() if "[egg-refused]" in line]


def remedies(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """The limits that these lines name: by each, the highest."""
    wanted: dict[str, int] = {}
    for line in refusals(result):
        options = re.search(r" \[egg-refused\]; if you trust it: (--limit \w+=\d+(?: --limit \w+=\d+)*)$", line)
        assert options, line
        for name, value in re.findall(r"(\w+)=(\d+)", options[1]):
            wanted[name] = max(int(value), wanted.get(name, 0))
    return wanted


def as_options(limits: dict[str, int]) -> list[str]:
    return [word for name, value in limits.items() for word in ("--limit", f"{name}={value}")]


def test_refusal_names_the_option_that_lets_it_in(site: Site, bomb: Path) -> None:
    """A bomb is refused with the option that raises the limit; with it the egg is served, a warm run does nothing, and
    check agrees; without it all of them refuse it again."""
    refused = site.prepare()
    assert refused.returncode == 3
    assert f"{bomb}, member bomb/zeros.txt: unpacks " in refusals(refused)[0]
    assert not list(site.cache.glob("Bomb*"))
    limits = remedies(refused)
    assert list(limits) == ["ratio"]
    assert site.actions(*as_options(limits)) == {"Bomb": "made", "One": "kept", "Two": "kept"}
    assert site.prepare(*as_options(limits)).stdout == ""
    assert site.served()
    assert site.prepare(*as_options({"ratio": limits["ratio"] - 1})).returncode == 3
    check = ["check", "--cache", site.cache, *site.options]
    assert eggcache(*check, *as_options(limits)).returncode == 0
    assert remedies(site.prepare()) == limits


def test_default_limits_change_nothing(site: Site) -> None:
    """A limit that is named with its default value is as good as none: what was prepared without it still holds, and
    the target is not asked again."""
    assert site.prepare().returncode == 0
    log = site.cache.parent / "strace"
    words = as_options({"ratio": DEFAULT_LIMITS.ratio})
    command = [sys.executable, "-m", "eggcache", "prepare", site.cache, *site.options, *words]
    subprocess.run(["strace", "-f", "-o", log, "-e", "trace=execve", *command], cwd=ROOT, env=environment(), check=True)
    assert log.read_text().count("execve(") == 1
    assert asdict(DEFAULT_LIMITS) == freshness.LIMITS


@pytest.mark.parametrize("limit", ["entries=2", "member=1000", "total=1k", "member=1k"])
def test_each_limit_refuses_what_is_above_it(site: Site, limit: str) -> None:
    """Each limit refuses what is above it, in prepare, unzip-all and check, and its remedy lets exactly that in."""
    name = limit.partition("=")[0]
    result = site.prepare("--limit", limit)
    check = ["check", "--cache", site.cache, *site.options]
    unzip = ["unzip-all", *site.unzipping, "-n"]
    assert result.returncode == 3
    assert eggcache(*unzip, "--limit", limit).returncode == 3
    assert refusals(eggcache(*check, "--limit", limit, "--json")) == refusals(result)
    raised = remedies(result)
    assert list(raised) == [name]
    less = site.prepare(*as_options({name: raised[name] - 1}))
    assert len(refusals(less)) == 1
    for result in (site.prepare(*as_options(raised)), eggcache(*check, *as_options(raised))):
        assert (result.returncode, refusals(result)) == (0, [])
    assert eggcache(*unzip, *as_options(raised)).returncode == 0
    assert site.served()


def test_warm_run_notices_a_limit(site: Site) -> None:
    """Another limit is another prepare: what it refuses is not taken from the receipt, and nothing is written where
    nothing else changed."""
    site.prepare()
    assert site.prepare("--limit", "member=1k").returncode == 3
    assert site.prepare().returncode == 0
    before = listing(site.cache)
    assert site.prepare().stdout == ""
    assert listing(site.cache) == before


@pytest.mark.parametrize(
    "limit", ["", "member", "member=", "member=0", "member=-1", "member=1T", "ratio=1k", "size=5", "total=1.5G",
              "entries=65536", "member=2G", "total=٣"],
)  # fmt: skip
def test_nonsense_for_a_limit_is_a_usage_error(limit: str, tmp_path: Path) -> None:
    """What is no limit, or more than an egg can have, is a usage error, on every command that takes one."""
    for command in (
        ["prepare", tmp_path / "x"],
        ["unzip-all"],
        ["check"],
        ["wrapper", tmp_path / "x", "--for", "shell"],
    ):
        result = eggcache(*command, "--limit", limit)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
        assert "--limit" in result.stderr
    assert not (tmp_path / "x").exists()


def test_wrapper_carries_limits(site: Site, bomb: Path) -> None:
    """What prepare names as the next command, and the wrapper that it prints, have the limits that it was given."""
    result = site.prepare("--limit", "ratio=2000", "--limit", "total=6G")
    assert result.returncode == 0, result.stderr
    assert "--limit ratio=2000 --limit total=6G" in result.stdout
    made = eggcache("wrapper", site.cache, *site.options, "--limit", "ratio=2000", "--for", "init.d")
    assert made.returncode == 0, made.stderr
    lines = [line for line in made.stdout.splitlines() if "--lenient" in line and str(site.python) in line]
    assert lines
    assert all(re.search('--limit"? "?ratio=2000', line) for line in lines)


def peak(words: list[str]) -> int:
    result, size = measured(words)
    assert result.returncode == 0, result.stderr
    return size


def test_memory_does_not_grow_with_a_member(site: Site) -> None:
    """Members of 250 MB, stored and deflated, cost prepare, check and unzip-all no more memory than members of 5 MB."""
    seen: dict[str, list[int]] = {"prepare": [], "check": [], "unzip-all": []}
    for size in (5_000_000, 250_000_000):
        egg = big_egg(site.eggs / "Big-1.0-py3.11.egg", size)
        site.cache = site.cache.parent / f"cache{size}"
        options = list(map(str, site.options))
        seen["prepare"].append(peak(["prepare", str(site.cache), *options]))
        seen["check"].append(peak(["check", "--cache", str(site.cache), *options, "-q"]))
        seen["unzip-all"].append(peak(["unzip-all", *map(str, site.unzipping)]))
        assert egg.is_dir()
        subprocess.run(["rm", "-rf", egg], check=True)
    for command, (small, large) in seen.items():
        # some pieces of 4 MiB, packed and unpacked, which small members do not fill; 600 MB cost 3 MB more than 250
        assert large - small < 16 << 10, (command, small, large)
