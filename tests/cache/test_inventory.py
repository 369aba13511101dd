"""status: what is in a cache, as the receipt tells it; and what --prune makes of that."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.judge import eggcache, environment
from support.sites import Site, write_egg


def status(cache: Path) -> tuple[int, dict[str, Any]]:
    """The exit status and the JSON of `status`."""
    result = eggcache("status", cache, "--json")
    inventory = json.loads(result.stdout)
    assert isinstance(inventory, dict)
    return result.returncode, inventory


def states(inventory: dict[str, Any]) -> dict[str, str]:
    return {content["name"].split("-")[0]: content["state"] for content in inventory["contents"]}


def test_what_was_prepared_is_current(site: Site) -> None:
    """What was prepared is there with its target, its reader, its zone, its time and its size; and it is current."""
    before = time.time()
    result = json.loads(site.prepare("--tz", "Asia/Tokyo", "--json").stdout)
    code, inventory = status(site.cache)
    assert (code, inventory["findings"], inventory["stages"], inventory["running"]) == (0, [], [], False)
    (one,) = inventory["prepares"]
    assert (one["python"], one["version"], one["requirements"]) == (str(site.python), [3, 11, 7], [])
    assert one["paths"] == [str(site.eggs)]
    assert (one["user"], one["uid"], one["gid"], one["timezone"]) == ("nobody", 65534, 65534, "Asia/Tokyo")
    assert before - 2 < one["when"] < time.time() + 2
    assert (one["changed"], one["digest"]) == ([], result["digest"])
    assert states(inventory) == {"One": "current", "Two": "current"}
    assert sum(content["files"] for content in inventory["contents"]) == 7
    assert sum(content["size"] for content in inventory["contents"]) == sum(o["size"] for o in result["outcomes"])
    text = eggcache("status", site.cache)
    assert (text.returncode, text.stderr) == (0, "")
    assert f"current: everything of {site.python} (Python 3.11.7), prepared 20" in text.stdout
    assert "check proves it" in text.stdout


@pytest.mark.parametrize("more", [[], ["--group", "daemon", "--tz", "", "--limit", "total=1G", "--limit", "ratio=900"]])
def test_command_does_it_again(site: Site, more: list[str]) -> None:
    """What status says of a stale cache is a command that one can copy, and it makes that same tree current."""
    site.prepare(*more)
    os.utime(site.eggs / "One-1.0-py3.11.egg")
    code, inventory = status(site.cache)
    assert (code, inventory["findings"][0]["command"]) == (3, inventory["prepares"][0]["command"])
    result = eggcache(*shlex.split(inventory["findings"][0]["command"])[1:])
    assert result.returncode == 0, result.stderr
    code, after = status(site.cache)
    assert (code, len(after["prepares"]), after["prepares"][0]["changed"]) == (0, 1, [])
    assert site.prepare(*more).stdout == ""


CHANGES: dict[str, tuple[Callable[[Site], object], dict[str, str], str]] = {
    "egg changed": (
        lambda site: os.utime(site.eggs / "One-1.0-py3.11.egg"), {"One": "egg-changed", "Two": "current"}, "One",
    ),
    "egg gone": (
        lambda site: (site.eggs / "One-1.0-py3.11.egg").unlink(), {"One": "egg-gone", "Two": "current"}, "One",
    ),
    "egg new": (
        lambda site: write_egg(site.eggs / "New-1.0-py3.11.egg", {"new.py": ""}),
        {"One": "current", "Two": "current"}, "eggs",
    ),
    "altered": (
        lambda site: next(site.cache.glob("One*/one/__init__.py")).write_text("x"),
        {"One": "altered", "Two": "current"}, "One",
    ),
    "missing": (
        lambda site: shutil.rmtree(next(site.cache.glob("Two*"))), {"One": "current", "Two": "missing"}, "Two",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_prepare_would_notice_is_stale(site: Site, change: str) -> None:
    """Whatever the next prepare would notice makes it stale, exit 3, and is named; then a prepare mends it."""
    site.prepare()
    make, wanted, named = CHANGES[change]
    make(site)
    code, inventory = status(site.cache)
    assert code == 3
    assert states(inventory) == wanted
    (one,) = inventory["prepares"]
    assert any(named in path for path in one["changed"])
    assert {finding["code"] for finding in inventory["findings"]} == {"cache-stale"}
    text = eggcache("status", "-v", site.cache)
    assert f"changed: {one['changed'][0]}" in text.stdout
    assert "stale: everything of" in text.stdout
    site.prepare()
    assert status(site.cache)[0] == 0


@pytest.mark.parametrize(
    "how", ["cp -a {0} {0}2", "tar -C {1} -cf {0}.tar cache && mkdir {0}2 && tar -C {0}2 -xf {0}.tar --strip 1"]
)
def test_copy_is_told_from_an_altered_cache(site: Site, how: str) -> None:
    """A copy that keeps dates is called one, and no altered cache; a copy in which something was altered as well is
    not called copied. Neither is current: prepare, as status says, makes it so."""
    site.prepare()
    subprocess.run(["sh", "-c", how.format(site.cache, site.cache.parent)], check=True)
    copy = Site(site.python, site.eggs, site.cache.parent / "cache2", site.account)
    code, inventory = status(copy.cache)
    assert (code, states(inventory)) == (3, {"One": "copied", "Two": "copied"})
    shown = eggcache("status", copy.cache)
    assert shown.stdout.count("stale: copied, contents not compared") == shown.stdout.count("  copied: ") == 2
    assert "changed" not in shown.stdout
    assert "copied since: its content is not compared" in shown.stderr
    next(copy.cache.glob("One*/one/__init__.py")).write_text("x")
    assert states(status(copy.cache)[1]) == {"One": "altered", "Two": "copied"}
    copy.prepare()
    assert status(copy.cache)[0] == 0
    next(copy.cache.glob("One*/one/__init__.py")).touch()
    assert states(status(copy.cache)[1]) == {"One": "altered", "Two": "current"}


def test_unzipped_egg_needs_no_cache(site: Site) -> None:
    """Of eggs that unzip-all made directories, status says so, and what it says to run makes the cache current; what
    it then says of the old directories holds, whether the zips are put back or not."""

    def states_shown() -> tuple[int, set[str], str]:
        shown = eggcache("status", site.cache)
        rows = [line.partition("-tmp  ")[2].partition("  ")[0] for line in shown.stdout.splitlines() if "-tmp" in line]
        return shown.returncode, set(rows), shown.stderr

    site.prepare()
    assert eggcache("unzip-all", *site.unzipping, "--backup", site.cache.parent / "zips").returncode == 0
    code, inventory = status(site.cache)
    assert (code, states(inventory)) == (3, {"One": "egg-unzipped", "Two": "egg-unzipped"})
    assert "Two-1.0-py3.11.egg" not in inventory["findings"][0]["cause"]
    egg = site.eggs / "One-1.0-py3.11.egg"
    assert f"and unzipped since, so that no cache is needed for it: {egg} and 1 more [cache-stale]" in states_shown()[2]
    assert states_shown()[1] == {"stale: its egg is unzipped, and needs no cache"}
    assert eggcache(*shlex.split(inventory["findings"][0]["command"])[1:]).returncode == 0
    assert states_shown() == (0, {"not needed any more: prepare --prune removes it"}, "")
    assert eggcache("check", *site.options, "--cache", site.cache).returncode == 0
    assert site.prepare("--prune").returncode == 0
    assert (status(site.cache)[0], list(site.cache.glob("*-tmp"))) == (0, [])

    assert eggcache("unzip-all", *site.unzipping, "--undo", "--backup", site.cache.parent / "zips").returncode == 0
    assert site.prepare().returncode == 0
    assert eggcache("unzip-all", *site.unzipping, "--backup", site.cache.parent / "zips").returncode == 0
    assert site.prepare().returncode == 0
    assert eggcache("unzip-all", *site.unzipping, "--undo", "--backup", site.cache.parent / "zips").returncode == 0
    removed = "not needed any more: prepare --prune removes it, unless an egg needs it again"
    assert states_shown()[:2] == (3, {removed})  # and they do
    assert site.prepare("--prune").returncode == 0
    assert (status(site.cache)[0], set(states(status(site.cache)[1]).values())) == (0, {"current"})


def test_one_unzipped_egg_of_two_needs_no_cache(site: Site) -> None:
    """Of one egg that is a directory now, and of one beside it that was replaced, status says what became of each."""
    site.prepare()
    egg = site.eggs / "One-1.0-py3.11.egg"
    zipped = egg.rename(site.cache.parent / "One.zip")
    zipfile.ZipFile(zipped).extractall(egg)
    code, inventory = status(site.cache)
    assert (code, states(inventory)) == (3, {"One": "egg-unzipped", "Two": "current"})
    assert inventory["findings"][0]["cause"].endswith(f" and unzipped since, so that no cache is needed for it: {egg}")
    os.utime(site.eggs / "Two-1.0-py3.11.egg")
    code, inventory = status(site.cache)
    assert (code, states(inventory)) == (3, {"One": "egg-unzipped", "Two": "egg-changed"})
    assert inventory["findings"][0]["cause"].endswith(" and 2 more changed since")


def test_directory_that_is_no_egg_is_a_change(site: Site) -> None:
    """A directory without an egg's metadata in the place of an egg is no unzipped egg."""
    site.prepare()
    (site.eggs / "One-1.0-py3.11.egg").unlink()
    (site.eggs / "One-1.0-py3.11.egg").mkdir()
    code, inventory = status(site.cache)
    assert (code, states(inventory)) == (3, {"One": "egg-changed", "Two": "current"})


def test_what_is_well_is_one_line(site: Site) -> None:
    """status names each egg that is not current, and counts the others; -v names all."""
    site.prepare()
    shown = eggcache("status", site.cache).stdout
    assert ("2 current: 7 files, " in shown, "One-1.0" in shown) == (True, False)
    os.utime(site.eggs / "One-1.0-py3.11.egg")
    shown = eggcache("status", site.cache).stdout
    assert ("1 more current: " in shown, "Two-1.0" in shown) == (True, False)
    assert "One-1.0-py3.11.egg-tmp  stale: its egg changed  " in shown
    assert "Two-1.0-py3.11.egg-tmp  current  " in eggcache("status", "-v", site.cache).stdout


def test_status_names_what_prune_removes(site: Site) -> None:
    """What no prepare needs is said to be what --prune removes, and that is what it then removes, and no more."""
    site.prepare()
    other = site.eggs.parent / "other"
    other.mkdir()
    write_egg(other / "Third-1.0-py3.11.egg", {"third.py": ""})
    common = ["--python", site.python, "--user", "nobody"]
    assert eggcache("prepare", site.cache, "--all", "--path", other, *common).returncode == 0
    (site.eggs / "One-1.0-py3.11.egg").unlink()
    site.prepare()
    code, inventory = status(site.cache)
    assert (code, len(inventory["prepares"])) == (0, 2)
    unneeded = [content["name"] for content in inventory["contents"] if not content["needed"]]
    assert unneeded == ["One-1.0-py3.11.egg-tmp"]
    assert "prepare --prune removes it" in eggcache("status", site.cache).stdout
    pruned = json.loads(site.prepare("--prune", "--json").stdout)
    removed = [os.path.basename(outcome["into"]) for outcome in pruned["outcomes"] if outcome["action"] == "removed"]
    assert removed == unneeded
    assert sorted(path.name for path in site.cache.glob("*-tmp")) == [
        "Third-1.0-py3.11.egg-tmp",
        "Two-1.0-py3.11.egg-tmp",
    ]
    assert [content["needed"] for content in status(site.cache)[1]["contents"]] == [True, True]


def test_leftovers_and_running(site: Site) -> None:
    """A stage that a killed run left is told from one that a run works in, by the lock, which status does not take."""
    site.prepare()
    (site.cache / ".eggcache-stage-0123456789abcdef").mkdir()
    assert "a killed run left it" in eggcache("status", site.cache).stdout
    with (site.cache / ".eggcache.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert status(site.cache)[1]["running"] is True
        assert "a run works in it" in eggcache("status", site.cache).stdout
        fcntl.flock(lock, fcntl.LOCK_UN)
        fcntl.flock(lock, fcntl.LOCK_SH)  # as another status does, which is no run
        assert status(site.cache)[1]["running"] is False
    assert status(site.cache)[1]["stages"] == [".eggcache-stage-0123456789abcdef"]


def test_what_is_foreign_is_named(site: Site) -> None:
    """What is not eggcache's in the cache is named, exit 4."""
    site.prepare()
    (site.cache / "notes.txt").write_text("mine")
    odd = site.cache / "One\n\x1b[31m.egg-tmp"
    odd.mkdir()
    os.chown(odd, 1, 1)
    code, inventory = status(site.cache)
    assert code == 4
    assert {os.path.basename(finding["thing"]) for finding in inventory["findings"]} == {"notes.txt", odd.name}
    assert {finding["code"] for finding in inventory["findings"]} == {"foreign-entry"}
    assert "\x1b" not in eggcache("status", site.cache).stderr


def test_no_cache_and_an_empty_one_are_told_apart(site: Site) -> None:
    """A directory that is not there is stale, one that is something else is refused, and an empty one is unknown."""
    code, inventory = status(site.cache)
    assert (code, inventory["mode"], inventory["prepares"]) == (3, None, [])
    (gone,) = inventory["findings"]
    assert (gone["code"], gone["command"]) == ("cache-missing", "")  # for which Python, nobody has said
    assert gone["remedy"].endswith(f"eggcache prepare {site.cache} --python PATH")
    result = eggcache("status", site.eggs)
    assert (result.returncode, result.stdout) == (4, "")
    assert "no egg cache" in result.stderr
    site.cache.mkdir()
    assert "no receipt" in status(site.cache)[1]["findings"][0]["cause"]


def test_what_has_no_receipt_is_not_counted(site: Site) -> None:
    """The eggs of a cache without a receipt, as one that came in an archive, are there: nothing says that there are
    none, nor that a receipt says so."""
    site.prepare()
    (site.cache / ".eggcache.json").unlink()
    result = eggcache("status", site.cache)
    assert result.stdout.startswith(f"{site.cache}: its content is unknown; root (uid 0), ")
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1, "entries": {}, "extracted": {}}', '{"schema": 2}'])
def test_receipt_of_another_kind(site: Site, text: str) -> None:
    """A receipt that is damaged, or an older eggcache's, counts as none."""
    site.prepare()
    (site.cache / ".eggcache.json").write_text(text)
    code, inventory = status(site.cache)
    assert (code, inventory["prepares"], inventory["contents"]) == (3, [], [])
    assert [finding["code"] for finding in inventory["findings"]] == ["cache-stale"]


def test_root_that_is_not_installed(site: Site) -> None:
    """A requirement that the target does not have is no prepare that status could call current, also where a cache was
    prepared before, or another requirement is installed; what others need stays."""
    options = [word for word in site.options if word != "--all"]
    for roots in (["NoSuch"], ["One", "NoSuch"]):
        assert eggcache("prepare", site.cache, *roots, *options).returncode == 5
        code, inventory = status(site.cache)
        assert (code, inventory["prepares"]) == (3, [])
        assert [finding["code"] for finding in inventory["findings"]] == ["cache-stale"]
    assert eggcache("prepare", site.cache, "One", *options).returncode == 0
    assert eggcache("prepare", site.cache, "NoSuch", *options).returncode == 5
    code, inventory = status(site.cache)
    assert (code, [prepare["requirements"] for prepare in inventory["prepares"]]) == (0, [["One"]])


def test_root_that_is_not_installed_in_an_earlier_receipt(site: Site) -> None:
    """Where an earlier eggcache wrote a receipt for a root that is not installed, status does not call that current,
    and prepare asks the target again in place of having nothing to do."""
    options = [word for word in site.options if word != "--all"]
    assert eggcache("prepare", site.cache, "One", *options).returncode == 0
    file = site.cache / ".eggcache.json"
    document = json.loads(file.read_text())
    (entry,) = document["entries"].values()
    entry["findings"].append(
        {"code": "root-not-installed", "thing": "NoSuch", "cause": "c", "remedy": ["r", ""], "status": 5, "context": []}
    )
    document["entries"] = {json.dumps([str(site.python), [str(site.eggs)], ["NoSuch"]]): entry}
    file.write_text(json.dumps(document))
    code, inventory = status(site.cache)
    assert (code, inventory["prepares"]) == (3, [])
    result = eggcache("prepare", site.cache, "NoSuch", "--lenient", *options)
    assert "NoSuch" in result.stderr
    assert "[root-not-installed]" in result.stderr


def test_only_the_owner_may_ask(site: Site, checkout: Path) -> None:
    """Anybody else is told who may."""
    site.prepare()
    result = subprocess.run(
        [str(site.python), "-m", "eggcache", "status", str(site.cache)], env=environment({"PYTHONPATH": str(checkout)}),
        cwd="/", capture_output=True, text=True, check=False, user="nobody", group="nogroup", extra_groups=[],
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (4, "")
    assert "run it as root" in result.stderr
    assert result.stderr.count("\n") == 1


def test_nothing_is_run_and_nothing_written(site: Site) -> None:
    """status starts no process and writes nothing."""
    site.prepare()
    log = site.cache.parent / "strace"
    calls = "execve,clone,fork,vfork,openat,mkdir,unlink,unlinkat,rename,renameat,renameat2,fchmod,fchown,utimensat"
    subprocess.run(
        ["strace", "-f", "-o", log, "-e", f"trace={calls}", sys.executable, "-m", "eggcache", "status", site.cache],
        cwd=ROOT, env=environment({"PYTHONDONTWRITEBYTECODE": "1"}), capture_output=True, check=True,
    )  # fmt: skip
    seen = [line for line in log.read_text().splitlines() if "/dev/null" not in line and "/dev/tty" not in line]
    assert len([line for line in seen if "execve(" in line and "= 0" in line]) == 1
    assert [line for line in seen if "O_WRONLY" in line or "O_RDWR" in line or "O_CREAT" in line] == []
    assert [line for line in seen if not any(call in line for call in ("execve(", "openat(", "+++"))] == []
