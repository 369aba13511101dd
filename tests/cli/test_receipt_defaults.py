"""What a command line does not say of a cache, its receipt does; and nobody's receipt but one that is believed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.judge import as_json, eggcache, environment
from support.parts import missing
from support.schema import VALIDATOR
from support.sites import Site, write_egg

from eggcache.cli import main, receipt_defaults
from eggcache.system.accounts import Account, acting

ELSEWHERE = {"TZ": "Asia/Tokyo", "VIRTUAL_ENV": "/not/there"}  # the shell of somebody who comes later


def neighbour(site: Site) -> Site:
    """Another tree in the same cache."""
    eggs = site.cache.parent / "others"
    eggs.mkdir()
    write_egg(eggs / "Three-1.0-py3.11.egg", {"three/__init__.py": "", "three/data.txt": "three"})
    return Site(site.python, eggs, site.cache, site.account)


def traced(site: Site) -> tuple[Path, Path]:
    """A program that leaves a mark and runs the site's Python, and the mark."""
    mark, program = site.cache.parent / "mark", site.cache.parent / "python"
    program.write_text(f'#!/bin/sh\necho x >> {mark}\nexec {site.python} "$@"\n')
    program.chmod(0o755)
    mark.touch()
    mark.chmod(0o666)
    return program, mark


@pytest.mark.parametrize("zone", ["UTC", None])
def test_as_it_was(site: Site, zone: str | None) -> None:
    """With nothing but DIR, prepare, check and wrapper take target, path, user, group, zone and limits from its
    receipt, whatever the shell has, and say so in one line each."""
    more = ["--tz", zone] if zone else []
    assert site.prepare("--limit", "ratio=7000", *more).returncode == 0
    (entry,) = as_json(eggcache("status", site.cache, "--json"))["prepares"]
    words = ["--python", site.python, "--path", site.eggs, "--user", "nobody", "--group", "nogroup", *more]
    said = f"{site.cache}: as its receipt says: {shlex.join(map(str, [*words, '--limit', 'ratio=7000', '--all']))}"
    line = f"eggcache: {said}{'' if zone else ', with TZ unset'}\n"
    assert (again := eggcache("prepare", site.cache, env=ELSEWHERE)).stderr == line
    assert (again.returncode, again.stdout) == (0, "")  # warm: nothing differs from what was asked for
    write_egg(site.eggs / "Two-1.0-py3.11.egg", {"two/__init__.py": "", "two/data.txt": "changed"})
    renewed = as_json(eggcache("prepare", site.cache, "--json", env=ELSEWHERE))
    assert [Path(outcome["egg"]).name[:3] for outcome in renewed["outcomes"] if outcome["action"] == "replaced"] == [
        "Two"
    ]
    checked = eggcache("check", "--cache", site.cache, "--json", env=ELSEWHERE)
    assert checked.stderr == line
    assert (as_json(checked)["findings"], len(as_json(checked)["outcomes"])) == ([], 2)
    made = eggcache("wrapper", site.cache, "--for", "shell", env=ELSEWHERE)
    assert made.stderr == line
    command = shlex.split(made.stdout.partition("\n#   ")[2].partition(" || exit\n")[0])
    assert command[command.index("--lenient") + 1 :][: len(words)] == list(map(str, words))
    written = (site.cache / ".eggcache.json").stat()
    first = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    assert (site.cache / ".eggcache.json").stat() == written  # the first start of the server had nothing to do
    (after,) = as_json(eggcache("status", site.cache, "--json"))["prepares"]
    assert [after[name] for name in ("python", "paths", "user", "timezone")] == [
        entry[name] for name in ("python", "paths", "user", "timezone")
    ]


def test_results_of_a_second_run(site: Site) -> None:
    """What is missing still is when prepare runs again, and it has the same results on stdout, and what is next."""
    egg = {"needs/__init__.py": "", "EGG-INFO/requires.txt": "Absent"}
    write_egg(site.eggs / "Needs-1.0-py3.11.egg", egg)
    made, again = (eggcache("prepare", site.cache, "Needs", *site.options[1:]) for _ in range(2))
    assert (made.returncode, again.returncode) == (5, 5)
    assert again.stdout == made.stdout.replace(" made in ", " kept in ")
    assert again.stdout.count("\n") == 2
    lenient = eggcache("prepare", site.cache, "Needs", *site.options[1:], "--lenient")
    assert (lenient.returncode, lenient.stdout, lenient.stderr) == (0, "", "")


def test_option_counts_more_than_the_receipt(site: Site) -> None:
    """What the command line says holds, and the rest is the receipt's."""
    assert site.prepare().returncode == 0
    findings = as_json(eggcache("check", "--json", "--cache", site.cache, "--user", "daemon"))["findings"]
    assert [
        "daemon cannot use it" in finding["cause"] for finding in findings if finding["code"] == "cache-unreachable"
    ] == [True]
    refused = eggcache("prepare", site.cache, "--tz", "Asia/Tokyo")
    assert (refused.returncode, "cannot be current in TZ=Asia/Tokyo" in refused.stderr) == (4, True)
    assert "--user nobody --group nogroup --tz Asia/Tokyo" in refused.stderr
    absent = eggcache("prepare", site.cache, "--path", "/not/there", env={"EGGCACHE_PYTHON": str(site.python)})
    assert "there is nothing of that name" in absent.stderr


def test_readers_where_the_python_is_named(site: Site) -> None:
    """A command line that names the Python, and not for whom, means those whom the cache is for: it is refused to
    nobody else's server, and the wrapper prepares it for them. Another user on the command line is another one."""
    assert site.prepare("--tz", "Europe/Madrid").returncode == 0
    named = ["--python", site.python, "--path", site.eggs, "--all"]
    said = f"eggcache: {site.cache}: as its receipt says: --user nobody --group nogroup --tz Europe/Madrid\n"
    written = (site.cache / ".eggcache.json").stat().st_mtime_ns
    for words in (["prepare", site.cache, *named], ["check", "--cache", site.cache, *named, "--no-import"]):
        result = eggcache(*words)
        assert (result.returncode, result.stderr) == (0, said)
    assert (site.cache / ".eggcache.json").stat().st_mtime_ns == written
    made = eggcache("wrapper", site.cache, *named, "--for", "shell")
    assert made.stderr == said
    assert "--user nobody --group nogroup --tz Europe/Madrid" in made.stdout
    other = eggcache("prepare", site.cache, *named, "--user", "www-data", "--tz", "UTC")
    assert (other.returncode, "receipt" in other.stderr) == (4, False)


def test_python_of_the_environment(site: Site) -> None:
    """$EGGCACHE_PYTHON names a target, and what the receipt has of another one is not meant."""
    assert site.prepare().returncode == 0
    program, mark = traced(site)
    result = eggcache(
        "prepare", site.cache, "--path", site.eggs, "--user", "nobody", env={"EGGCACHE_PYTHON": str(program)}
    )
    assert (result.returncode, "receipt" in result.stderr) == (0, False)
    assert mark.read_text()
    result = eggcache("prepare", site.cache, "--all", env={"EGGCACHE_PYTHON": str(site.python)})
    assert f"receipt says: --python {site.python} --path {site.eggs}" in result.stderr


def test_active_virtualenv_names_a_target(site: Site) -> None:
    """An active virtualenv names a target as $EGGCACHE_PYTHON does, by whichever of its programs; eggcache's own, and
    one that is gone, do not."""
    assert site.prepare().returncode == 0
    (site.cache.parent / "bin").mkdir()
    program, mark = traced(site)
    program.rename(site.cache.parent / "bin" / "python")
    tree = ["--path", site.eggs, "--user", "nobody"]
    for words in (["One", *tree], ["--all", *tree]):
        result = eggcache("prepare", site.cache, *words, env={"VIRTUAL_ENV": str(site.cache.parent)})
        assert (result.returncode, "receipt says" in result.stderr) == (0, False), result.stderr
        assert mark.read_text()
        mark.write_text("")
    assert len(as_json(eggcache("status", site.cache, "--json"))["prepares"]) == 3
    theirs = f"receipt says: --python {site.python} --path {site.eggs}"
    for active in (site.python.parent.parent, sys.prefix, "/not/there"):
        assert theirs in eggcache("prepare", site.cache, "--all", env={"VIRTUAL_ENV": str(active)}).stderr


def test_another_tree_borrows_nothing(site: Site) -> None:
    """REQ or --path of no tree in the receipt means what it meant before there was one: no Python and no path of
    another tree."""
    program, mark = traced(site)
    site.python, other = program, neighbour(site).eggs
    assert eggcache("prepare", site.cache, "One", *site.options[1:]).returncode == 0
    ran = mark.read_text()
    for words in (["Other"], ["One", "--path", other], ["--all"]):
        result = eggcache("prepare", site.cache, "-n", *words, "--user", "nobody")
        assert "receipt says" not in result.stderr
    assert mark.read_text() == ran


def test_each_in_turn(site: Site) -> None:
    """Several trees are each prepared anew and checked together; one that fails does not keep the others back; a
    wrapper is for one, and the error names them all."""
    other = neighbour(site)
    for tree in (site, other):
        assert tree.prepare().returncode == 0
        (egg,) = list(tree.eggs.glob("T*.egg"))
        name = egg.name.partition("-")[0].lower()
        write_egg(egg, {f"{name}/__init__.py": "", f"{name}/data.txt": "changed"})
    assert eggcache("status", site.cache).returncode == 3
    would = eggcache("prepare", site.cache, "-n", "--json")
    result = eggcache("prepare", site.cache)
    assert (result.returncode, result.stderr.count("as its receipt says"), result.stdout.count("replaced")) == (0, 2, 2)
    told = as_json(would)  # one object of all trees
    VALIDATOR.validate(told)
    assert [outcome["action"] for outcome in told["outcomes"]].count("replaced") == 2
    assert (len(told["outcomes"]), told["unchanged"], told["digest"]) == (3, False, None)
    assert as_json(eggcache("prepare", site.cache, "--json"))["unchanged"] is True
    assert eggcache("status", site.cache).returncode == 0
    checked = as_json(eggcache("check", "--cache", site.cache, "--json"))
    assert (checked["findings"], len(checked["outcomes"])) == ([], 3)
    which = eggcache("wrapper", site.cache, "--for", "shell")
    assert (which.returncode, which.stdout, which.stderr.count("\n")) == (2, "", 1)
    assert which.stderr.count(f"everything of {site.python}") == 2
    one = eggcache("wrapper", site.cache, "--for", "shell", "--path", other.eggs)
    assert (one.returncode, f"--path {other.eggs}" in one.stdout) == (0, True)
    shutil.rmtree(site.eggs)
    write_egg(other.eggs / "Three-1.0-py3.11.egg", {"three/__init__.py": "", "three/data.txt": "again"})
    failed = eggcache("prepare", site.cache)
    assert (failed.returncode, f"--path {site.eggs}: there is nothing" in failed.stderr) == (2, True)
    assert other.prepare().stdout == ""  # it had its turn


@pytest.mark.parametrize("several", [False, True])
def test_lenient_where_a_python_cannot_be_started(site: Site, several: bool) -> None:
    """A tree of the receipt whose Python cannot be started any more is said, and with --lenient keeps no server down
    and no other tree back; what the command line itself says wrong is refused as ever."""
    program, _ = traced(site)
    assert Site(program, site.eggs, site.cache, site.account).prepare().returncode == 0
    other = neighbour(site)
    if several:
        assert other.prepare().returncode == 0
        write_egg(other.eggs / "Three-1.0-py3.11.egg", {"three/__init__.py": "", "three/data.txt": "changed"})
    program.chmod(0o644)
    assert eggcache("prepare", site.cache).returncode == 2
    result = eggcache("prepare", site.cache, "--lenient")
    assert (result.returncode, result.stderr.count(f"{program}: it is not executable")) == (0, 1)
    assert ("nothing to do" in other.prepare("-n").stdout) == several  # it had its turn
    assert eggcache("prepare", site.cache, "--lenient", "--python", program).returncode == 2


@pytest.mark.parametrize("whose", ["the directory", "the receipt", "who may write"])
def test_no_receipt_of_others_says_what_root_runs(site: Site, whose: str) -> None:
    """No receipt says what root runs but root's own, in a directory that nobody else can write to."""
    program, mark = traced(site)
    site.python = program
    assert site.prepare().returncode == 0
    ran = mark.read_text()
    if whose == "who may write":
        site.cache.chmod(0o777)
    else:
        os.chown(site.cache / (".eggcache.json" if whose == "the receipt" else "."), site.account.pw_uid, -1)
    for words in (("prepare", site.cache, "-n"), ("check", "--cache", site.cache), ("wrapper", site.cache)):
        said = eggcache(*words, "--user", "nobody").stderr
        assert "receipt says" not in said
        assert ("so that its receipt is not believed" in said) == (whose != "the receipt")
    assert mark.read_text() == ran


def test_receipt_that_this_user_may_not_read_is_told(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a command takes nothing from a receipt since this user may not open the cache, a line says so, before any
    error that asks for what the receipt has."""
    if os.geteuid() != 0:
        missing("only root can be another user")
    assert site.prepare("--group", "root").returncode == 0
    options = main.parse(["check", "--cache", str(site.cache)])
    with acting(Account("nobody", site.account.pw_uid, site.account.pw_gid)):
        assert receipt_defaults.trees(options, str(site.cache)) == [options]
    assert f"{site.cache}: this user may not open it, and so not read what it is for\n" in capsys.readouterr().err
    assert receipt_defaults.trees(options, str(site.cache)) != [options]
    assert "may not open it" not in capsys.readouterr().err
