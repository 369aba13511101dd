"""prepare on the real trees, judged by the target's own pkg_resources, as another user, under strace."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest
from support.deployment import Deployment
from support.judge import as_json, eggcache, environment, judge, listing, served, watched

# What the roots require; SQLAlchemy, SQLObject and others come with extras, or with an application.
TREES = {
    "turbogears1": ("TurboGears", 5),
    "turbogears1_complete": ("TurboGears", 0),
    "turbogears2_27": ("TurboGears2", 0),
    "turbogears2_311": ("TurboGears2", 0),
}


@pytest.mark.parametrize("tree", TREES)
def test_everything_is_served(
    tree: str, request: pytest.FixtureRequest, shared_tmp: Path, nobody: pwd.struct_passwd
) -> None:
    """Every member and every directory of every egg of the tree comes from the cache, and nothing is attempted."""
    deployment: Deployment = request.getfixturevalue(tree)
    root, status = TREES[tree]
    cache = shared_tmp / "cache"
    result = eggcache("prepare", cache, root, "--python", deployment.python, "--user", "nobody", "--json")
    assert result.returncode == status, result.stderr
    made = as_json(result)["outcomes"]
    assert {outcome["action"] for outcome in made} == {"made"}
    assert len(made) >= 5
    verdict = judge(deployment.python, cache, [outcome["egg"] for outcome in made], nobody)
    assert served(verdict, cache) > sum(outcome["files"] for outcome in made)


@pytest.mark.parametrize(("tree", "least", "status"), [("turbogears1", 2500, 5), ("turbogears2_27", 3000, 0)])
def test_what_no_tree_needs_is_served(
    tree: str, least: int, status: int, request: pytest.FixtureRequest, shared_tmp: Path, nobody: pwd.struct_passwd
) -> None:
    """Without a requirement every egg on the path is prepared, those that only an application imports included."""
    deployment: Deployment = request.getfixturevalue(tree)
    cache = shared_tmp / "cache"
    result = eggcache("prepare", cache, "--python", deployment.python, "--user", "nobody")
    assert result.returncode == status, result.stderr
    assert served(judge(deployment.python, cache, deployment.eggs, nobody), cache) > least


def test_owner_and_modes(turbogears2_311: Deployment, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """As root: directories 0750, files 0640, root:GROUP; nobody else can read, nobody but root can write; what is
    eggcache's own is root's alone."""
    cache = shared_tmp / "cache"
    eggcache("prepare", cache, "TurboGears2", "--python", turbogears2_311.python, "--user", "nobody")
    seen = set()
    for top, _, files in os.walk(cache):
        for path in (top, *(os.path.join(top, name) for name in files)):
            info = os.lstat(path)
            if os.path.basename(path) not in (".eggcache.lock", ".eggcache.json"):
                seen.add((stat.S_ISDIR(info.st_mode), stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid))
    assert {stat.S_IMODE((cache / name).stat().st_mode) for name in (".eggcache.lock", ".eggcache.json")} == {0o600}
    assert seen == {(True, 0o750, 0, nobody.pw_gid), (False, 0o640, 0, nobody.pw_gid)}


def test_missing_distribution_is_named_with_its_chain(turbogears1: Deployment, shared_tmp: Path) -> None:
    """PEAK-Rules is on no index: who requires it is said, everything else is done, and --lenient lets Apache start."""
    arguments = ("prepare", shared_tmp / "cache", "--python", turbogears1.python)
    result = eggcache(*arguments)
    assert result.returncode == 5
    assert "TurboGears 1.1.3 -> TurboJson 1.3.2 -> PEAK-Rules" in result.stderr
    assert (shared_tmp / "cache" / "TurboJson-1.3.2-py2.7.egg-tmp" / "turbojson").is_dir()
    assert eggcache(*arguments).returncode == 5
    lenient = eggcache(*arguments, "--lenient")
    assert (lenient.returncode, lenient.stdout, lenient.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("tree", "module"), [("turbogears1_complete", "turbogears"), ("turbogears2_27", "tg"), ("turbogears2_311", "tg")]
)
def test_application_imports_from_a_cache(
    tree: str, module: str, request: pytest.FixtureRequest, shared_tmp: Path, nobody: pwd.struct_passwd
) -> None:
    """Without a cache the import is an ExtractionError for Apache's user; with the prepared one it works, and the
    cache is afterwards as it was."""
    deployment: Deployment = request.getfixturevalue(tree)
    cache = shared_tmp / "cache"
    command = [str(deployment.python), "-B", "-c", f"import {module}; print({module}.__file__)"]
    if tree != "turbogears2_311":  # there nothing asks for a file at import but _speedups, which has a fallback
        without, _ = watched(command, nobody, env=environment({"PYTHON_EGG_CACHE": "/proc/nowhere"}))
        assert "ExtractionError" in without.stderr
    eggcache("prepare", cache, "--all", "--python", deployment.python, "--user", "nobody")
    before = listing(cache)
    result, attempts = watched(command, nobody, env=environment({"PYTHON_EGG_CACHE": str(cache)}))
    assert result.returncode == 0, result.stderr
    assert ".egg/" in result.stdout
    assert attempts == []
    assert listing(cache) == before


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_cache_is_current_in_its_own_zone_alone(
    turbogears2_311: Deployment, shared_tmp: Path, nobody: pwd.struct_passwd, zone: str
) -> None:
    """A cache is current in the zone that it was prepared for, and in no other."""
    cache = shared_tmp / "cache"
    eggcache("prepare", cache, "TurboGears2", "--python", turbogears2_311.python, "--user", "nobody", "--tz", zone)
    assert served(judge(turbogears2_311.python, cache, turbogears2_311.eggs, nobody, env={"TZ": zone}), cache)
    other = judge(turbogears2_311.python, cache, turbogears2_311.eggs[:1], nobody, env={"TZ": "UTC"})
    assert {answer.verdict.split(":")[0] for answer in other.answers} == {"ExtractionError"}


def test_as_an_ordinary_user(
    turbogears2_311: Deployment, shared_tmp: Path, nobody: pwd.struct_passwd, checkout: Path
) -> None:
    """Anybody can prepare a cache of its own: 0755 and 0644, and it works for everybody."""
    mine = shared_tmp / "mine"
    mine.mkdir()
    os.chown(mine, nobody.pw_uid, nobody.pw_gid)
    result, _ = watched(
        [str(turbogears2_311.python), "-m", "eggcache", "prepare", str(mine / "cache"), "TurboGears2"],
        nobody,
        env=environment({"PYTHONPATH": str(checkout), "EGGCACHE_PYTHON": str(turbogears2_311.python)}),
    )
    assert result.returncode == 0, result.stderr
    assert stat.S_IMODE((mine / "cache").stat().st_mode) == 0o755
    www = pwd.getpwnam("www-data")
    assert served(judge(turbogears2_311.python, mine / "cache", turbogears2_311.eggs, www), mine / "cache")
