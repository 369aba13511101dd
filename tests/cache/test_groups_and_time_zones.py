"""Whom a cache serves: a prepare takes it from nobody, and no remedy offers to."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.judge import as_json, eggcache, environment, judge, listing, served
from support.sites import Site, write_egg

from eggcache.cache import groups_and_time_zones, receipt
from eggcache.model import Limits
from eggcache.system.accounts import Account
from eggcache.target.command_lines import Prepare
from eggcache.target.interpreter import Roots, Target

OTHERS = [("--tz", "Asia/Tokyo"), ("--group", "daemon"), ("--user", "daemon")]


def printed(line: str) -> list[str]:
    """The first eggcache command that a message prints, as somebody would copy it."""
    command = "eggcache " + line.partition("eggcache: ")[2].partition("eggcache ")[2].partition(";")[0]
    return shlex.split(command)[1:]


def lasting(cache: Path) -> dict[str, tuple[int, ...]]:
    """What is in the cache, but for the traces of a run that changed nothing: of its lock and its stage."""
    whole = listing(cache)
    return {
        path: seen[:5] if path in (str(cache), str(cache / ".eggcache.lock")) else seen for path, seen in whole.items()
    }


def served_to(site: Site, cache: Path, name: str, zone: str = "") -> int:
    """How much the target's pkg_resources takes from `cache` as the user `name`, in that zone."""
    env = {"TZ": zone} if zone else {}
    return served(judge(site.python, cache, sorted(site.eggs.glob("*.egg")), pwd.getpwnam(name), env=env), cache)


@pytest.mark.parametrize("option", OTHERS, ids=" ".join)
def test_cache_is_not_taken_from_whom_it_serves(site: Site, option: tuple[str, str]) -> None:
    """The same tree for another user, group or zone is refused before anything is changed: one line, which names whom
    the cache serves, and whose command, as it stands, serves the other as well."""
    site.prepare()
    before = lasting(site.cache)
    for more in ((), ("-n",), ("--reset",), ("--prune",)):
        result = site.prepare(*option, *more)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (4, "", 1), more
        told = "prepared for the host's time zone" if option[0] == "--tz" else "prepared for nobody (group nogroup)"
        assert told in result.stderr
        assert "eggcache remove" not in result.stderr
    assert lasting(site.cache) == before
    assert site.prepare().stdout == ""  # warm
    copied = eggcache(*printed(result.stderr))
    assert copied.returncode == 0, copied.stderr
    (other,) = site.cache.parent.glob("cache-*")
    assert served_to(site, site.cache, "nobody")
    assert served_to(
        site, other, "nobody" if option[0] == "--tz" else "daemon", option[1] if option[0] == "--tz" else ""
    )


@pytest.mark.parametrize("option", OTHERS, ids=" ".join)
def test_wrapper_for_others(site: Site, option: tuple[str, str]) -> None:
    """A wrapper that would start a server with a cache of somebody else's says so. What it names, and what that names
    next, as they stand, are a prepare and a wrapper of which nothing is said. The server is started, and told."""
    site.prepare()
    before = lasting(site.cache)
    words = ["--all", "--path", site.eggs, "--python", site.python]
    user = [] if option[0] == "--user" else ["--user", "nobody"]
    made = eggcache("wrapper", site.cache, *words, *user, *option, "--for", "shell")
    told = "prepared for the host's time zone" if option[0] == "--tz" else "prepared for nobody (group nogroup)"
    (line,) = (line for line in made.stderr.splitlines() if told in line)
    command = shlex.split(made.stdout.partition("\n#   ")[2].partition(" || exit\n")[0])
    started = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert (started.returncode, started.stdout, started.stderr.count("\n")) == (0, "", 1)
    assert told in started.stderr
    assert lasting(site.cache) == before
    copied = eggcache(*printed(line))
    assert copied.returncode == 0, copied.stderr
    following = eggcache(*printed(f"eggcache: {copied.stdout.partition('next: ')[2]}"), "--for", "shell")
    assert (following.returncode, following.stderr) == (0, "")
    assert str(next(site.cache.parent.glob("cache-*"))) in following.stdout


def neighbour(site: Site) -> Site:
    """Another tree in the same cache: one egg that the first one needs as well, and one of its own."""
    eggs = site.cache.parent / "others"
    eggs.mkdir()
    shutil.copy2(site.eggs / "One-1.0-py3.11.egg", eggs)
    write_egg(eggs / "Three-1.0-py3.11.egg", {"three/__init__.py": "", "three/data.txt": "three"})
    return Site(site.python, eggs, site.cache, site.account)


WRITABLE: dict[str, Callable[[Path], object]] = {
    "the group may write to all": lambda cache: cache.chmod(0o770),
    "a directory of the other": lambda cache: os.chown(
        cache / "Three-1.0-py3.11.egg-tmp", pwd.getpwnam("nobody").pw_uid, 0
    ),
    "of each one": lambda cache: [path.chmod(0o666) for path in cache.glob("T*-tmp/*/data.txt")],
}


@pytest.mark.parametrize("change", WRITABLE)
def test_writable_cache_of_two(site: Site, change: str) -> None:
    """What check, and prepare, say to do about a cache that others can write to leaves it whole and locked down for
    each tree that it serves."""
    other = neighbour(site)
    for tree in (site, other):
        assert tree.prepare().returncode == 0
    WRITABLE[change](site.cache)
    findings = as_json(eggcache("check", "--json", *site.options, "--cache", site.cache))["findings"]
    assert "cache-writable" in {finding["code"] for finding in findings}
    for finding in findings:
        for command in finding["command"].split(" && "):
            words = shlex.split(command)
            assert words[:2] == ["eggcache", "prepare"]
            result = eggcache(*words[1:])
            assert (result.returncode, "belongs to" in result.stderr) == (0, False), result.stderr
    for user in (site, other):
        assert user.served()
        assert user.prepare().stdout == ""  # warm: its entry is in the receipt
        assert as_json(eggcache("check", "--json", *user.options, "--cache", site.cache))["findings"] == []


def test_reset_takes_nothing(site: Site) -> None:
    """--reset, dry or not, does not close an unsafe cache to whom else it serves, and says how to prepare what it could
    not prepare anew."""
    other = neighbour(site)
    other.python = site.cache.parent / "python"
    other.python.write_text(f'#!/bin/sh\nexec {site.python} "$@"\n')
    other.python.chmod(0o755)
    for tree in (site, other):
        assert tree.prepare().returncode == 0
    site.cache.chmod(0o770)
    for more in ((), ("-n",), ("--lenient",)):
        result = site.prepare("--reset", "--user", "daemon", *more)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (4, "", 1)
        assert "prepared for nobody (group nogroup)" in result.stderr
    assert site.cache.stat().st_mode & 0o777 == 0o770
    dry = site.prepare("--reset", "-n").stderr
    assert f"everything of {other.python}, which it serves as well, would be prepared anew\n" in dry
    other.python.chmod(0o644)
    result = site.prepare("--reset")
    assert result.returncode == 0
    (said,) = [line for line in result.stderr.splitlines() if "could not be prepared anew" in line]
    assert site.served()
    other.python.chmod(0o755)
    again = eggcache(*shlex.split(said.partition("; see to that, and run: eggcache ")[2]))
    assert again.returncode == 0, again.stderr
    assert (bool(site.served()), bool(other.served())) == (True, True)


def test_removed_first_it_may_serve_another(site: Site) -> None:
    """Who removes a cache first may prepare it for somebody else."""
    site.prepare()
    assert eggcache("remove", site.cache).returncode == 0
    assert site.actions("--user", "daemon") == {"One": "made", "Two": "made"}
    assert served_to(site, site.cache, "daemon")


def test_trees_of_two_zones(site: Site) -> None:
    """A tree in another zone shares no egg whose dates differ there; zones that agree on them, and trees without an egg
    in common, share a cache."""
    site.prepare("--tz", "Europe/Madrid")
    more = write_egg(site.cache.parent / "Other-1.0-py3.11.egg", {"other.py": ""})
    apart = ["--all", "--path", more, "--python", site.python, "--user", "nobody"]
    third = write_egg(site.cache.parent / "Third-1.0-py3.11.egg", {"third.py": ""})
    shared = [*apart[:2], third, *apart[3:], "--path", site.eggs]
    for tree, zone, status in ((apart, "Asia/Tokyo", 0), (shared, "Asia/Tokyo", 4), (shared, "Europe/Paris", 0)):
        result = eggcache("prepare", site.cache, *tree, "--tz", zone)
        assert result.returncode == status, result.stderr
    assert served_to(site, site.cache, "nobody", "Europe/Madrid")
    assert served_to(site, site.cache, "nobody", "Europe/Paris")
    result = eggcache("prepare", site.cache, *shared, "--tz", "Asia/Tokyo")
    assert "TZ=Europe/" in result.stderr
    assert str(site.eggs / "One-1.0-py3.11.egg") in result.stderr


def test_two_users_of_one_group(site: Site) -> None:
    """What the remedy offers for both, a group, serves both: neither takes anything from the other."""
    (first,) = [site.prepare("--group", "daemon")]
    assert first.returncode == 0, first.stderr
    tree = ["--all", "--path", site.eggs, "--python", site.python]
    assert eggcache("prepare", site.cache, *tree, "--user", "daemon").returncode == 0
    group = grp.getgrnam("daemon").gr_gid
    assert os.stat(site.cache).st_gid == group
    for name in ("nobody", "daemon"):
        result = subprocess.run(
            [site.python, "-c", "import os, sys; print(len(os.listdir(sys.argv[1])))", site.cache],
            user=name, group=group, extra_groups=[], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert int(result.stdout) >= 2, result.stderr
    assert served_to(site, site.cache, "daemon")


def test_public_cache_is_not_closed_to_a_group(site: Site, shared_tmp: Path) -> None:
    """A cache that everybody may read is not closed to all but a group, nor one of a group opened to everybody."""
    start = (
        "import sys; from eggcache import EVERYTHING, Target, prepare; from eggcache.system import accounts\n"
        "prepare(sys.argv[1], Target(sys.argv[2], [sys.argv[3]], accounts.lookup('nobody')), EVERYTHING)"
    )
    command = [sys.executable, "-c", start, site.cache, site.python, site.eggs]

    def for_all() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=environment({"PYTHONPATH": str(ROOT)}), capture_output=True, text=True, check=False
        )

    assert for_all().returncode == 0
    result = site.prepare()
    assert (result.returncode, result.stderr.count("\n")) == (4, 1)
    assert "prepared for everybody" in result.stderr
    assert for_all().returncode == 0
    assert eggcache("remove", site.cache).returncode == 0
    assert site.prepare().returncode == 0
    assert "it is prepared for nobody (group nogroup)" in for_all().stderr


@pytest.mark.parametrize("base", [False, True])
def test_python_that_is_gone(site: Site, base: bool) -> None:
    """A tree whose Python is gone keeps nobody from the cache; nor does one whose virtualenv has lost its base."""
    link, program = site.cache.parent / "old", site.cache.parent / "python"
    link.symlink_to(site.python.parent.parent)
    if base:
        program.write_text(f'#!/bin/sh\nexec {site.python} "$@"\n')
        program.chmod(0o755)
    tree = ["--all", "--path", site.eggs, "--python", program if base else link / "bin" / "python", "--user", "daemon"]
    assert eggcache("prepare", site.cache, *tree).returncode == 0
    assert site.prepare().returncode == 4
    link.unlink()
    if base:
        program.unlink()
        program.symlink_to(site.cache.parent / "python3.9")
    assert site.actions() == {"One": "replaced", "Two": "replaced"}
    assert site.served()


def found(site: Site, *more: str) -> dict[str, Any]:
    """What check finds, by code, when it is for nobody (or whom `more` names)."""
    who = [] if "--user" in more else ["--user", "nobody"]
    tree: Sequence[str | Path] = ["--all", "--path", site.eggs, "--python", site.python, *who]
    findings = as_json(eggcache("check", *tree, "--cache", site.cache, "--json", *more))["findings"]
    return {finding["code"]: finding for finding in findings if not finding["code"].startswith("running-")}


@pytest.mark.parametrize(
    ("prepared", "checked", "code"),
    [
        ((), ("--user", "daemon"), "cache-unreachable"),
        (("--tz", "Europe/Madrid"), ("--tz", "Asia/Tokyo"), "time-zone"),
    ],
)
def test_remedy_of_check(site: Site, prepared: tuple[str, ...], checked: tuple[str, ...], code: str) -> None:
    """A cache that is right for somebody else is left to him: what check prints, as it stands, makes another one."""
    site.prepare(*prepared)
    before = listing(site.cache)
    told = found(site, *checked)
    assert set(told) == {code}
    copied = eggcache(*shlex.split(told[code]["command"])[1:])
    assert copied.returncode == 0, copied.stderr
    assert listing(site.cache) == before
    (site.cache,) = site.cache.parent.glob("cache-*")
    assert found(site, *checked) == {}


def test_remedy_for_the_same_readers(site: Site) -> None:
    """What is outdated in a cache of a group is prepared again for that group: by the command that was used."""
    site.prepare("--group", "daemon", "--tz", "Europe/Madrid")
    (site.eggs / "One-1.0-py3.11.egg").unlink()
    write_egg(site.eggs / "One-1.0-py3.11.egg", {"one/__init__.py": "", "one/data/text.txt": "eins\n"})
    told = found(site, "--group", "daemon", "--tz", "Europe/Madrid")
    assert {"member-outdated"} <= set(told) <= {"member-outdated", "member-missing"}
    for finding in told.values():
        assert eggcache(*shlex.split(finding["command"])[1:]).returncode == 0
    assert found(site, "--group", "daemon", "--tz", "Europe/Madrid") == {}


@pytest.mark.parametrize("group", [[], ["--group", "1000620000"]], ids=["group-0", "own-group"])
def test_user_without_an_entry(site: Site, group: list[str]) -> None:
    """A number that no passwd file has, as containers run as, is a user like any other: a cache is prepared and checked
    for it, what is emitted names it, and its process gets its files and can write none."""
    number, gid = 1000620000, int([0, *group][-1])
    who = ["--user", str(number), *group]
    assert site.prepare(*who).returncode == 0
    assert {os.stat(top).st_gid for top, _, _ in os.walk(site.cache)} == {gid}
    result = eggcache("check", "--cache", site.cache, "--no-import", "--json")
    assert [finding for finding in as_json(result)["findings"] if finding["status"]] == []
    emitted = eggcache("wrapper", site.cache, *site.options, *who, "--for", "shell").stdout
    assert f"--user {number} --group {gid}" in emitted
    code = "import os, pkg_resources as p; f = p.resource_filename('one', 'data/text.txt'); print(f, os.access(f, 2))"
    result = subprocess.run(
        [site.python, "-c", code], user=number, group=gid, extra_groups=[], capture_output=True, text=True, check=False,
        env={"PYTHON_EGG_CACHE": str(site.cache), "PYTHONPATH": str(site.eggs / "One-1.0-py3.11.egg")},
    )  # fmt: skip
    assert result.stdout == f"{site.cache}/One-1.0-py3.11.egg-tmp/one/data/text.txt False\n", result.stderr


def test_remedy_for_a_reader_of_another_group(site: Site) -> None:
    """Whoever is in the group of a cache that others use is told to prepare it for that group, and who is not, to
    prepare another directory, as is a stranger to a cache that one group alone may read."""
    assert site.prepare("--group", "daemon").returncode == 0
    record = receipt.of_directory(str(site.cache))
    daemon = grp.getgrnam("daemon").gr_gid

    def remedy(gid: int, *groups: int) -> tuple[str, str]:
        account = Account("somebody", 4711, gid, groups)
        target = Target(str(site.python), (str(site.eggs),), account, None, None)
        told = groups_and_time_zones.repair(record, Prepare(str(site.cache), target, Roots(("Another",)), Limits()))
        return (told.text, str(told.command)) if told else ("", "")

    assert remedy(daemon) == ("", "")
    assert remedy(4711, daemon)[0] == "prepare it for its group"
    assert "--group daemon" in remedy(4711, daemon)[1]
    assert remedy(4711)[0].startswith("prepare another directory")
    assert f"{site.cache}-somebody" in remedy(4711)[1]
