"""prepare again and again: what it notices, what it leaves alone, what it refuses, and what a crash leaves."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.httpd import wait_for
from support.judge import as_json, eggcache, environment, judge, listing, served
from support.parts import missing
from support.sites import Site, write_egg

from eggcache.cache import groups_and_time_zones
from eggcache.cache.plan import Cache, Plan
from eggcache.cache.preparation import Preparation, prepare
from eggcache.cache.receipt import Receipt, is_gone
from eggcache.errors import EggcacheError
from eggcache.model import DEFAULT_LIMITS, Interpreter, Ownership, Run, Tree
from eggcache.progress import Progress
from eggcache.system import accounts
from eggcache.target import launch
from eggcache.target.command_lines import Prepare
from eggcache.target.eggs_on_path import EarlyReader
from eggcache.target.interpreter import EVERYTHING, Roots, Target


def test_second_run_does_nothing(site: Site) -> None:
    """With nothing changed nothing is written, nothing is said and no subprocess is run."""
    first = site.prepare()
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith(f"2 eggs made in {site.cache}: 7 files")
    assert site.served() == 12
    before = listing(site.cache)
    log = site.cache.parent / "strace"
    calls = "execve,openat,mkdir,unlink,unlinkat,rename,renameat,renameat2,flock,fchmod,fchown,utimensat"
    result = subprocess.run(
        ["strace", "-f", "-o", log, "-e", f"trace={calls}",
         sys.executable, "-m", "eggcache", "prepare", site.cache, *site.options, "--group", "nogroup"],
        cwd=ROOT, env=environment({"PYTHONDONTWRITEBYTECODE": "1"}), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (result.stdout, result.stderr) == ("", "")
    assert listing(site.cache) == before
    seen = [line for line in log.read_text().splitlines() if "/dev/null" not in line and "/dev/tty" not in line]
    assert len([line for line in seen if "execve(" in line and "= 0" in line]) == 1
    assert [line for line in seen if re.search(r"O_WRONLY|O_RDWR|O_CREAT| (?!openat|execve)\w+\(", line)] == []


def test_second_run_imports_what_it_uses(site: Site) -> None:
    """With nothing changed no module is loaded that only another run needs: it is run at every start of Apache."""
    site.prepare()
    # Not -X importtime, which says nothing of what importlib.import_module was asked for
    code = "from eggcache.cli import entry_point; os._exit = lambda status: print(status, *sys.modules)"
    code += "; entry_point.program()"
    # Without what site loads on this machine, which is not ours
    command = [sys.executable, "-I", "-S", "-c", f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    command += ["prepare", str(site.cache), *map(str, site.options)]
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    status, *modules = result.stdout.split()
    loaded = set(modules)
    assert status == "0"
    assert {"eggcache.cache.freshness", "_json"} <= loaded
    ours = {name.partition(".")[2] for name in loaded if name.startswith("eggcache.")}
    cli = {"cli", "cli.arguments", "cli.console", "cli.entry_point", "cli.verbs", "cli.verbs.prepare"}
    system = {"system", "system.accounts", "system.safe_dirs"}
    assert ours == {"errors", *cli, *system, "cache", "cache.freshness", "target", "target.interpreter"}
    assert not loaded & {
        "argparse",
        "contextlib",
        "ctypes",
        "dataclasses",
        "enum",
        "functools",
        "filelock",
        "hashlib",
        "importlib",
        "json",
        "re",
        "rich",
        "secrets",
        "signal",
        "subprocess",
        "traceback",
        "typing",
    }


LATE = """
import sys
from eggcache.target import resolver

ask, known = resolver.resolve, set()

def resolve(*arguments, **named):
    tree = ask(*arguments, **named)
    known.update(sys.modules)
    return tree

resolver.resolve = resolve
from eggcache.cli import main
status = main.main()
late = [name for name in set(sys.modules) - known if name.startswith(("eggcache.cache", "eggcache.eggs", "filelock"))]
print(sorted(late))
sys.exit(status)
"""


def test_first_run_imports_while_the_target_is_at_work(site: Site) -> None:
    """What fills a cache, and the lock, is there when the target has answered: it is loaded meanwhile."""
    command = [sys.executable, "-c", LATE, "prepare", str(site.cache), *site.options]
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("mode", "status"), [(0o750, 0), (0o777, 4)])
def test_target_is_asked_where_there_is_something_to_ask(site: Site, mode: int, status: int) -> None:
    """With nothing changed --json and -v tell what is there, and an unsafe directory is refused, before anybody else's
    code runs."""
    site.prepare()
    site.cache.chmod(mode)
    log = site.cache.parent / "strace"
    for more in ("--json", "-v"):
        command = [sys.executable, "-m", "eggcache", "prepare", site.cache, *site.options, more]
        result = subprocess.run(
            ["strace", "-f", "-o", log, "-e", "trace=execve", *command],
            cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == status, result.stderr
        assert len(re.findall(r"execve\(.*= 0$", log.read_text(), re.M)) == 1


CHANGES: dict[str, tuple[Callable[[Site], object], dict[str, str]]] = {
    "egg replaced": (
        lambda site: write_egg(site.eggs / "One-1.0-py3.11.egg", {"one/__init__.py": "", "one/new.txt": "new"}),
        {"One": "replaced", "Two": "kept"},
    ),
    "egg touched": (lambda site: os.utime(site.eggs / "One-1.0-py3.11.egg"), {"One": "replaced", "Two": "kept"}),
    "egg added": (
        lambda site: write_egg(site.eggs / "Three-1.0-py3.11.egg", {"three.py": ""}),
        {"One": "kept", "Two": "kept", "Three": "made"},
    ),
    "egg gone": (lambda site: (site.eggs / "One-1.0-py3.11.egg").unlink(), {"Two": "kept"}),
    "member deleted": (
        lambda site: next(site.cache.glob("One*/one/data/text.txt")).unlink(),
        {"One": "replaced", "Two": "kept"},
    ),
    "member truncated": (
        lambda site: os.truncate(next(site.cache.glob("Two*/two/data.txt")), 5),
        {"One": "kept", "Two": "replaced"},
    ),
    "member touched": (
        lambda site: os.utime(next(site.cache.glob("One*/one/__init__.py"))),
        {"One": "replaced", "Two": "kept"},
    ),
    "member re-moded": (
        lambda site: next(site.cache.glob("One*/one/__init__.py")).chmod(0o600),
        {"One": "replaced", "Two": "kept"},
    ),
    "member re-owned": (
        lambda site: os.chown(next(site.cache.glob("One*/one/__init__.py")), 1, 1),
        {"One": "replaced", "Two": "kept"},
    ),
    "directory re-moded": (
        lambda site: next(site.cache.glob("One*/one/data")).chmod(0o700),
        {"One": "replaced", "Two": "kept"},
    ),
    "one directory deleted": (
        lambda site: shutil.rmtree(next(site.cache.glob("One*"))),
        {"One": "made", "Two": "kept"},
    ),
    "cache re-moded": (lambda site: site.cache.chmod(0o700), {"One": "kept", "Two": "kept"}),
    "cache re-owned": (lambda site: os.chown(site.cache, 0, 0), {"One": "kept", "Two": "kept"}),
    "receipt deleted": (lambda site: (site.cache / ".eggcache.json").unlink(), {"One": "replaced", "Two": "replaced"}),
    "receipt damaged": (
        lambda site: os.truncate(site.cache / ".eggcache.json", 40),
        {"One": "replaced", "Two": "replaced"},
    ),
    "file in the way": (
        lambda site: (
            shutil.rmtree(next(site.cache.glob("One*"))),
            (site.cache / "One-1.0-py3.11.egg-tmp").write_text(""),
        ),
        {"One": "replaced", "Two": "kept"},
    ),
    "link in the way": (
        lambda site: (
            shutil.rmtree(next(site.cache.glob("One*"))),
            (site.cache / "One-1.0-py3.11.egg-tmp").symlink_to("/etc"),
        ),
        {"One": "replaced", "Two": "kept"},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_is_noticed(site: Site, change: str) -> None:
    """Whatever changed, the next run notices, does what is needed and no more, and everything is served again."""
    site.prepare()
    make, actions = CHANGES[change]
    make(site)
    assert site.actions() == actions
    assert site.served()
    assert site.prepare().stdout == ""


def test_target_that_changed_is_noticed(
    site: Site,
    copy_of: Callable[[deployment.Deployment], deployment.Deployment],
    turbogears2_311: deployment.Deployment,
) -> None:
    """A .pth file that is new, or an egg that a new line in one activates, is noticed."""
    own = copy_of(turbogears2_311)
    site.python = own.python
    assert len(site.actions()) == 7
    assert site.prepare().stdout == ""
    extra = site.cache.parent / "more"
    extra.mkdir()
    egg = write_egg(extra / "More-1.0-py3.11.egg", {"more.py": ""})
    (own.site_packages / "more.pth").write_text(f"{egg}\n")
    assert site.actions()["More"] == "made"
    (own.site_packages / "more.pth").write_text(f"{egg}x\n")
    assert "More" not in site.actions()


def _reach(place: Path) -> Callable[[], object]:
    """Below a directory that only root can search, and then everybody."""
    place.parent.chmod(0o700)
    return lambda: place.parent.chmod(0o755)


def _appear(place: Path) -> Callable[[], object]:
    """A link that leads nowhere, and then to the directory."""
    away = place.rename(place.with_name("away"))
    place.symlink_to(place.with_name("late"))
    return lambda: away.rename(place.with_name("late"))


@pytest.mark.parametrize("late", [_reach, _appear])
@pytest.mark.parametrize("named", ["by --path", "by a .pth file"])
def test_egg_that_comes_into_reach_is_noticed(
    site: Site, own: deployment.Deployment, named: str, late: Callable[[Path], Callable[[], object]]
) -> None:
    """An egg that the user could not reach, or that was behind a link to nowhere, is prepared by the next run after it
    has come into reach, which changes neither the egg nor its directory; and a run after that has nothing to do."""
    site.python = own.python
    place = site.cache.parent / "outer" / "more"
    place.mkdir(parents=True)
    egg = write_egg(place / "More-1.0-py3.11.egg", {"more.py": ""})
    words: list[str | Path] = ["--path", place] if named == "by --path" else []
    if not words:
        (own.site_packages / "more.pth").write_text(f"{place}\n")
    come = late(place)
    time.sleep(0.1)
    first = site.prepare(*words)
    assert not (site.cache / f"{egg.name}-tmp").exists()
    if late is _reach:
        assert "is root's, mode 0700" in first.stderr
    come()
    again = site.prepare(*words)
    assert (again.returncode, again.stderr) == (0, "")
    assert (site.cache / f"{egg.name}-tmp").is_dir()
    assert site.prepare(*words).stdout == ""


def test_checkout_that_comes_is_noticed(site: Site, own: deployment.Deployment) -> None:
    """What an .egg-link names and was not there is seen by the next run after it has come."""
    site.python = own.python
    write_egg(site.eggs / "Wants-1.0-py3.11.egg", {"wants.py": "", "EGG-INFO/requires.txt": "Wanted"})
    checkout = site.cache.parent / "wanted"
    (own.site_packages / "Wanted.egg-link").write_text(f"{checkout}\n.\n")
    time.sleep(0.1)
    words = ["Wants", "--python", site.python, "--path", site.eggs, "--user", "nobody"]
    for _ in range(2):
        assert "which does not exist" in eggcache("prepare", site.cache, *words).stderr
    info = checkout / "Wanted.egg-info"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: Wanted\nVersion: 1.0\n")
    assert "which does not exist" not in eggcache("prepare", site.cache, *words).stderr


def test_sitecustomize_that_changed_is_noticed(site: Site, own: deployment.Deployment) -> None:
    """A module that changes sys.path whenever Python starts counts, byte-compiled or not."""
    site.python = own.python
    place = site.cache.parent / "more"
    place.mkdir()
    write_egg(place / "More-1.0-py3.11.egg", {"more.py": ""})
    customize = own.site_packages / "sitecustomize.py"
    customize.write_text("import sys\n")
    subprocess.run([own.python, "-m", "compileall", "-q", customize], check=True)
    time.sleep(0.1)
    assert set(site.actions()) == {"One", "Two"}
    with customize.open("a") as stream:
        stream.write(f"sys.path.append({str(place)!r})\n")
    assert site.actions()["More"] == "made"


def test_prune_removes_what_no_tree_needs(site: Site) -> None:
    """An egg that went is left alone, until --prune; what another tree needs stays all the same."""
    site.prepare()
    other = site.cache.parent / "other"
    other.mkdir()
    shutil.copy2(site.eggs / "One-1.0-py3.11.egg", other)
    both = ["--all", "--path", other, "--python", site.python, "--user", "nobody"]
    assert eggcache("prepare", site.cache, *both).returncode == 0
    for egg in site.eggs.iterdir():
        egg.unlink()
    stray = site.cache / "unknown.egg-tmp"
    stray.mkdir()
    assert site.actions() == {}
    assert len(list(site.cache.glob("*-tmp"))) == 3
    assert site.actions("--prune", "--dry-run") == {"Two": "removed"}
    assert site.actions("--prune") == {"Two": "removed"}
    assert sorted(path.name for path in site.cache.glob("*-tmp")) == ["One-1.0-py3.11.egg-tmp", stray.name]
    assert site.prepare("--prune").stdout == ""


def test_python_is_gone_where_no_such_name_is(tmp_path: Path) -> None:
    """A Python is gone where there is no such name, or its link leads to none in a directory that is there, as in a
    virtualenv whose base was removed; one whose other end is on a disk that is away is not, nor is one below a
    directory that is empty, as where a disk is mounted at other times."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/not/there/python")
    (tmp_path / "base").symlink_to(tmp_path / "python3.9")
    (tmp_path / "python").symlink_to("base")
    names = {
        "no": True,
        "disk/site/bin/python": False,
        "file/x": True,
        "file": False,
        "link": False,
        "base": True,
        "python": True,
    }
    assert {name: is_gone(str(tmp_path / name)) for name in names} == names


def test_prune_forgets_trees_whose_python_is_gone(site: Site) -> None:
    """A tree whose Python is gone stays in the receipt until --prune; one whose root is not installed is in none."""
    other, link = site.cache.parent / "other", site.cache.parent / "virtualenv"
    other.mkdir()
    link.symlink_to(site.python.parent.parent)
    write_egg(other / "Three-1.0-py3.11.egg", {"three.py": ""})
    site.prepare()
    gone = ["--all", "--path", other, "--python", link / "bin" / "python", "--user", "nobody"]
    assert eggcache("prepare", site.cache, *gone).returncode == 0
    assert eggcache("prepare", site.cache, "Typo", "--python", site.python, "--user", "nobody").returncode == 5
    link.unlink()
    assert site.actions("--prune", "-n") == {"One": "kept", "Two": "kept", "Three": "removed"}
    assert len(json.loads((site.cache / ".eggcache.json").read_text())["entries"]) == 2
    result = site.prepare("--prune")
    assert f"forgotten: everything of {link}/bin/python, which is gone\n" in result.stderr
    assert "Typo" not in result.stderr
    assert "1 egg removed" in result.stdout
    assert {path.name[:3] for path in site.cache.glob("*-tmp")} == {"One", "Two"}
    assert eggcache("status", site.cache).returncode == 0
    assert site.prepare("--prune").stderr == ""


def test_one_bad_start_forgets_nothing(site: Site) -> None:
    """A prepare that does not find the root, for once, leaves what the cache is for in its receipt, and what that needs
    in the cache; it is not called current, and the next prepare is a whole one."""
    words = ["One", *site.options[1:]]
    assert eggcache("prepare", site.cache, *words).returncode == 0
    egg, away = site.eggs / "One-1.0-py3.11.egg", site.eggs.parent / "away"
    egg.rename(away)
    for more in ((), ("-n", "--prune"), ("--prune",), ("--lenient",)):
        result = eggcache("prepare", site.cache, *words, *more)
        assert (result.returncode, "[root-not-installed]" in result.stderr) == (
            0 if more == ("--lenient",) else 5,
            True,
        )
        assert "removed" not in result.stdout
    assert (site.cache / "One-1.0-py3.11.egg-tmp").exists()
    away.rename(egg)
    stale = eggcache("status", site.cache)
    assert (stale.returncode, "--prune" in stale.stdout, f"One of {site.python}" in stale.stdout) == (3, False, True)
    again = eggcache("prepare", site.cache, "--json")
    assert f"as its receipt says: --python {site.python}" in again.stderr
    assert (as_json(again)["unchanged"], [outcome["action"] for outcome in as_json(again)["outcomes"]]) == (
        False,
        ["replaced"],
    )
    assert eggcache("status", site.cache).returncode == 0


def test_dry_run_says_what_would_be_done_and_writes_nothing(site: Site) -> None:
    """-n says what would be done and writes nothing, before the first run and after."""
    first = site.prepare("-n")
    assert f"2 eggs would be made in {site.cache}: 7 files" in first.stdout
    assert not site.cache.exists()
    site.prepare()
    (site.eggs / "One-1.0-py3.11.egg").touch()
    before = listing(site.cache)
    assert site.actions("-n") == {"One": "replaced", "Two": "kept"}
    assert listing(site.cache) == before


def test_dry_run_says_what_a_run_does(site: Site) -> None:
    """-n has the outcomes, findings and status of the run after it: with an egg that is new, one that is damaged, one
    whose place somebody else has got, one that is gone, and an entry of the cache that nobody knows."""
    egg, strange = site.eggs / "One-1.0-py3.11.egg", site.cache / "strange.egg-tmp"

    def damage() -> None:
        data = bytearray(egg.read_bytes())
        data[data.index(b"one/data/text.txt") + len("one/data/text.txt") + 1] ^= 0xFF
        egg.write_bytes(data)

    for number, change in enumerate((
        lambda: None,
        lambda: write_egg(site.eggs / "Three-1.0-py3.11.egg", {"three.py": ""}),
        lambda: os.chown(site.cache / "Two-1.0-py3.11.egg-tmp", 12345, 12345),
        damage,
        lambda: (site.eggs / "Two-1.0-py3.11.egg").unlink(),
        lambda: (strange.mkdir(), os.chown(strange, 12345, 12345)),
    )):  # fmt: skip
        change()
        dry, result = (site.prepare("--prune", "--json", *more) for more in (["-n"], []))
        assert dry.returncode == result.returncode, (number, dry.stderr)
        foreseen, report = as_json(dry), as_json(result)
        assert (foreseen.pop("dry_run"), report.pop("dry_run")) == (True, False)
        assert foreseen == report
    assert {finding["code"] for finding in report["findings"]} == {"egg-refused", "foreign-entry"}
    assert [outcome["action"] for outcome in report["outcomes"]] == ["kept"]


def test_two_hosts_are_compared_by_one_digest(site: Site, shared_tmp: Path) -> None:
    """Equal content has one digest wherever it lies, however its eggs were packed and whatever its inodes; -n tells
    it beforehand. Other bytes, times, modes or owners have another."""

    def digest(cache: str, *more: str) -> str:
        result = eggcache("prepare", shared_tmp / cache, *site.options, "--group", "nogroup", "--json", *more)
        value: str = as_json(result)["digest"]
        return value

    first = digest("one", "-n")
    assert {digest("one"), digest("one"), digest("two"), digest("two", "-n")} == {first}
    egg = site.eggs / "One-1.0-py3.11.egg"
    with zipfile.ZipFile(egg) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]

    def pack(change: Callable[[zipfile.ZipInfo], object] = bool, data: bytes | None = None) -> None:
        with zipfile.ZipFile(egg, "w") as archive:
            for info, content in reversed(members):
                fresh = zipfile.ZipInfo(info.filename, info.date_time)
                if info.filename == "one/data/text.txt":
                    change(fresh)
                    content = data or content
                archive.writestr(fresh, content)
        egg.chmod(0o644)

    pack()
    assert digest("one", "-n") == digest("one") == first
    pack(data=b"eno\n")
    others = [digest("one")]
    pack(lambda info: setattr(info, "date_time", (2009, 6, 15, 12, 0, 2)))
    others.append(digest("one"))
    pack(lambda info: setattr(info, "filename", "one/data/text.TXT"))
    others.append(digest("one"))
    pack()
    others += [digest("three", "--tz", "Asia/Tokyo"), digest("four", "--group", "root")]
    (site.eggs / "Two-1.0-py3.11.egg").unlink()
    others.append(digest("one"))
    assert len({first, *others}) == 7


def test_damaged_egg_is_named_and_the_rest_is_done(site: Site) -> None:
    """A damaged egg is named and exits 3, what was extracted before stays, the rest is done, --lenient exits 0."""
    site.prepare()
    egg = site.eggs / "One-1.0-py3.11.egg"
    data = bytearray(egg.read_bytes())
    data[60] ^= 0xFF
    egg.write_bytes(data)
    write_egg(site.eggs / "Two-1.0-py3.11.egg", {"two/new.py": ""})
    result = site.prepare()
    assert result.returncode == 3
    assert re.search(rf"^eggcache: {re.escape(str(egg))}.* \[egg-refused\]", result.stderr)
    assert (site.cache / "One-1.0-py3.11.egg-tmp" / "one" / "data" / "text.txt").exists()
    assert (site.cache / "Two-1.0-py3.11.egg-tmp" / "two" / "new.py").exists()
    again = site.prepare()
    assert (again.returncode, again.stdout, again.stderr) == (3, "", result.stderr)
    assert site.prepare("--lenient").returncode == 0


def test_egg_that_the_runtime_user_cannot_read(site: Site) -> None:
    """Root copies nothing that the runtime user cannot read itself: exit 4, what is in the way is named, the rest is
    done; and once it can be read, it is prepared. It keeps no server down: --lenient says it, once, and exits 0."""
    locked = write_egg(site.eggs / "Locked-1.0-py3.11.egg", {"locked.py": ""})
    locked.chmod(0o600)
    private = site.cache.parent / "private"
    private.mkdir(0o700)
    secret = write_egg(private / "Secret-1.0-py3.11.egg", {"secret.py": ""})
    result = site.prepare("--path", secret, "--lenient")
    assert (result.returncode, result.stderr.count("[egg-unreadable]")) == (0, 2)
    result = site.prepare("--path", secret, "--lenient")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    result = site.prepare("--path", secret)
    assert result.returncode == 4
    assert f"{locked}: user nobody cannot use it: {locked} is root's, mode 0600" in result.stderr
    assert f"{secret}: user nobody cannot use it: {private} is root's, mode 0700" in result.stderr
    assert sorted(path.name[:3] for path in site.cache.glob("*-tmp")) == ["One", "Two"]
    locked.chmod(0o644)
    private.chmod(0o755)
    assert site.prepare("--path", secret).returncode == 0
    assert len(list(site.cache.glob("*-tmp"))) == 4


def test_requirement_that_cannot_be_read_is_told_from_a_missing_one(site: Site) -> None:
    """A requirement that is missing only because the runtime user cannot read its egg is told so."""
    write_egg(site.eggs / "Needs-1.0-py3.11.egg", {"EGG-INFO/requires.txt": "Hidden_Thing>=1.0\n"})
    hidden = write_egg(site.eggs / "Hidden_Thing-1.0-py3.11.egg", {"hidden.py": ""})
    hidden.chmod(0o600)
    result = eggcache("prepare", site.cache, "Needs", "--path", site.eggs, "--python", site.python, "--user", "nobody")
    assert result.returncode == 4
    assert "[missing-distribution]" in result.stderr
    assert f"{hidden} is root's, mode 0600" in result.stderr


def test_unreadable_without_end(site: Site) -> None:
    """Of a target whose answer repeats a directory of unreadable eggs, however it spells it, each is looked at once, a
    hundred are named and the others counted."""
    for number in range(130):
        write_egg(site.eggs / f"Hidden{number}-1.0-py3.11.egg", {}).chmod(0o600)
    again = [str(site.eggs) + spelling for spelling in ("", "/", "/.", "//", "/../eggs")] * 4_000
    path = (*again, str(site.eggs / "Hidden7-1.0-py3.11.egg"))
    tree = Tree(Interpreter(str(site.python), (3, 11), "/", path, None, None), (), (), ())
    target = Target(str(site.python), account=accounts.lookup(site.account.pw_name))
    cache = Cache(Prepare(str(site.cache), target, EVERYTHING), Ownership(0, 0, 0o750, 0o640), Receipt())
    plan = Plan(tree, target, EarlyReader(target.account, DEFAULT_LIMITS).opened, cache)
    began = time.monotonic()
    findings = [finding for step in plan.steps() for finding in step.findings]
    assert time.monotonic() - began < 20  # it takes 0.3; 2.6 million eggs take minutes
    unreadable = [finding for finding in findings if finding.code == "egg-unreadable"]
    assert len({finding.thing for finding in unreadable}) == len(unreadable) == 101
    assert "cannot read 30 more eggs" in unreadable[-1].cause
    assert {finding.status for finding in unreadable} == {4}


def test_foreign_directory_and_reset(site: Site) -> None:
    """A squatted DIR is refused with its owner and left alone; --reset moves it aside and builds anew."""
    site.cache.mkdir()
    (site.cache / "planted").write_text("x")
    os.chown(site.cache, site.account.pw_uid, site.account.pw_gid)
    before = listing(site.cache)
    result = site.prepare()
    assert result.returncode == 4
    assert re.fullmatch(r"eggcache: .*belongs to nobody \(uid \d+\).*--reset.*\n", result.stderr)
    assert listing(site.cache) == before
    result = site.prepare("--reset", "--lenient")
    assert result.returncode == 0
    (aside,) = site.cache.parent.glob("cache.aside-*")
    assert (aside / "planted").read_text() == "x"
    assert str(aside) in result.stderr
    assert site.served()
    inode = site.cache.stat().st_ino
    assert site.prepare("--reset").stdout == ""
    assert site.cache.stat().st_ino == inode


def test_reset_leaves_a_file_that_nobody_else_put_there(site: Site) -> None:
    """--reset moves no file aside that root itself has in a directory of root's, such as /etc/passwd: it was named by
    mistake, and no message says to remove it. In /tmp, and where it is another user's, it may be planted."""
    site.cache.write_text("mine")
    for more in ([], ["--reset"], ["--reset", "-n"]):
        result = site.prepare(*more)
        assert (result.returncode, site.cache.read_text()) == (4, "mine")
        assert "it is no directory" in result.stderr
        assert "--reset" not in result.stderr
        assert "remove" not in result.stderr
    site.cache.parent.chmod(0o1777)
    assert "; name another directory, or let --reset move it aside\n" in site.prepare().stderr
    assert site.prepare("--reset").returncode == 0
    assert site.served()


def test_two_resets_at_once_move_one_directory_aside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two --reset of one unsafe directory the slower one finds that of the faster in its place, current and safe: it
    leaves that, reports it, and removes what it has built itself."""
    site.cache.mkdir()
    os.chown(site.cache, site.account.pw_uid, site.account.pw_gid)
    faster: list[int] = []

    class Overtaken(Progress):
        def phase(self, doing: str, size: int = 0) -> None:
            if doing == "writing to the disk":  # all of it lies in a directory beside
                assert len(list(site.cache.parent.glob("cache.new-*"))) == 1
                assert site.prepare("--reset", "--tz", "UTC").returncode == 0
                faster.append(site.cache.stat().st_ino)

    for name in ("PYTHONPATH", "LD_LIBRARY_PATH"):  # as the command that is faster has it
        monkeypatch.delenv(name, raising=False)
    account = accounts.lookup(site.account.pw_name)
    target = Target(str(site.python), [str(site.eggs)], account, account.gid, "UTC")
    result = prepare(str(site.cache), target, Roots([], strict=True), Run(progress=Overtaken()), reset=True)
    assert result.unchanged
    assert {os.path.basename(outcome.into) for outcome in result.outcomes} == {
        "One-1.0-py3.11.egg-tmp", "Two-1.0-py3.11.egg-tmp"
    }  # fmt: skip
    assert [site.cache.stat().st_ino] == faster
    assert len(list(site.cache.parent.glob("cache?*"))) == 1  # what was moved aside
    assert site.served()


def test_directory_that_serves_something_else(site: Site) -> None:
    """A directory of ours with other things in it is no cache: nothing in it is re-moded."""
    site.cache.mkdir(mode=0o755)
    (site.cache / "precious").write_text("x")
    before = listing(site.cache)
    result = site.prepare()
    assert result.returncode == 4
    assert "precious" in result.stderr
    assert listing(site.cache) == before


def test_missing_parent_is_named_with_the_command_that_makes_it(site: Site) -> None:
    """A missing parent is named with the command that makes it."""
    site.cache = site.cache / "deep" / "cache"
    for result in (site.prepare(), site.prepare("-n")):
        assert (result.returncode, result.stderr.count("\n")) == (1, 1)
        assert f"mkdir -p {site.cache.parent}" in result.stderr


def test_whatever_the_surroundings(site: Site) -> None:
    """umask 000 and 777, a setgid parent and a default ACL on it change nothing about owner and modes."""
    parent = site.cache.parent / "parent"
    parent.mkdir()
    os.chown(parent, 0, 1)
    parent.chmod(0o2755)
    subprocess.run(["setfacl", "-d", "-m", "u:1001:rwx,g::rwx,o::rwx", str(parent)], check=True)
    site.cache = parent / "cache"
    for mask in (0o000, 0o777):
        before = os.umask(mask)
        try:
            assert site.prepare().returncode == 0
        finally:
            os.umask(before)
        for path, info in listing(site.cache).items():
            if not path.endswith((".lock", ".json")):
                assert stat.S_IMODE(info[1]) == (0o750 if stat.S_ISDIR(info[1]) else 0o640), path
                assert info[2:4] == (0, site.account.pw_gid), path
            seen = subprocess.run(["getfacl", "-cps", path], check=True, capture_output=True, text=True).stdout
            assert seen == "", path
        shutil.rmtree(site.cache)


def test_acl_on_an_existing_directory(site: Site) -> None:
    """A DIR of ours that carries ACLs loses them before anything is put into it."""
    site.cache.mkdir(mode=0o755)
    subprocess.run(["setfacl", "-m", "u:1001:rx,d:u:1001:rwx", str(site.cache)], check=True)
    assert site.prepare().returncode == 0
    seen = subprocess.run(["getfacl", "-Rcps", str(site.cache)], check=True, capture_output=True, text=True).stdout
    assert seen == ""


def strace(site: Site, *options: str) -> tuple[subprocess.Popen[str], Path]:
    """A prepare under strace with these options, under way, and where its log is."""
    log = site.cache.parent / "strace"
    command = [
        "strace",
        "-f",
        "-o",
        log,
        *options,
        sys.executable,
        "-m",
        "eggcache",
        "prepare",
        site.cache,
        *site.options,
    ]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ), log


def test_on_the_disk_before_it_is_seen(site: Site) -> None:
    """What is staged is synced before it is swapped into place: a power cut must not leave empty files."""
    run, log = strace(site, "-e", "trace=syncfs,rename,renameat,renameat2,utimensat")
    run.communicate(timeout=60)
    calls = re.findall(r"(syncfs|utimensat|rename\w*)\(.*?(-tmp)?\W", log.read_text())
    order = [name for name, _ in calls if not (name.startswith("rename") and name == "rename")]
    sync = order.index("syncfs")
    assert "utimensat" not in order[sync:]
    assert [name for name in order[:sync] if name.startswith("rename")] == []
    assert len([name for name in order[sync:] if name.startswith("rename")]) >= 2


def test_egg_that_changes_while_it_is_read(site: Site) -> None:
    """An egg that is written to meanwhile is refused and not swapped in; the next run takes what is there then."""
    egg = site.eggs / "One-1.0-py3.11.egg"
    (site.eggs / "Two-1.0-py3.11.egg").unlink()
    # From the first utimensat on a member of the egg has been written.
    run, log = strace(site, "-e", "trace=utimensat", "-e", "inject=utimensat:delay_enter=1500000:when=2..3")
    while (log.read_text() if log.exists() else "").count("utimensat(") < 1 and run.poll() is None:
        time.sleep(0.02)
    egg.touch()
    out, err = run.communicate(timeout=60)
    assert run.returncode == 3, (out, err)
    assert f"{egg}: it changed while it was read" in err
    assert not list(site.cache.glob("One*"))
    assert site.actions() == {"One": "made"}
    assert site.served()


def test_egg_that_comes_while_it_runs(site: Site) -> None:
    """What is installed after the target was asked and before the receipt is written is seen by the next run."""
    run, log = strace(site, "-e", "trace=mkdirat", "-e", "inject=mkdirat:delay_enter=1500000:when=1")  # the cache's own
    while "mkdirat(" not in (log.read_text() if log.exists() else "") and run.poll() is None:
        time.sleep(0.05)
    write_egg(site.eggs / "Three-1.0-py3.11.egg", {"three.py": ""})
    run.communicate(timeout=60)
    assert run.returncode == 0
    assert not list(site.cache.glob("Three*"))
    assert site.actions() == {"One": "kept", "Two": "kept", "Three": "made"}


def test_two_eggs_of_one_name(site: Site) -> None:
    """Two eggs with one name and other content would fight over one directory: the one that the target prefers gets
    it, the other is named."""
    second = site.cache.parent / "second"
    second.mkdir()
    write_egg(second / "One-1.0-py3.11.egg", {"one/other.txt": "other"})
    result = site.prepare("--path", second, "--json")
    assert result.returncode == 3
    (finding,) = as_json(result)["findings"]
    assert finding["code"] == "shared-name"
    assert (finding["remedy"], finding["command"]) == ("use a cache directory of its own", "")  # it may be Scrapyd's
    first, other = finding["cause"].split()[0], finding["thing"]
    assert {os.path.dirname(first), os.path.dirname(other)} == {str(site.eggs), str(second)}
    assert served(judge(site.python, site.cache, [first], site.account), site.cache)


def test_two_targets_in_one_cache(site: Site) -> None:
    """Two trees share what is the same; where one name has two contents the second is refused, the first is served."""
    site.prepare()
    second = site.cache.parent / "second"
    second.mkdir()
    shutil.copy2(site.eggs / "One-1.0-py3.11.egg", second)
    write_egg(second / "Two-1.0-py3.11.egg", {"two/other.txt": "other"})
    other = ["--all", "--path", second, "--python", site.python, "--user", "nobody", "--json"]
    result = eggcache("prepare", site.cache, *other)
    assert result.returncode == 3
    (finding,) = as_json(result)["findings"]
    assert finding["code"] == "shared-name"
    assert str(site.eggs / "Two-1.0-py3.11.egg") in finding["cause"]
    assert site.served()
    (site.eggs / "Two-1.0-py3.11.egg").unlink()  # whose it was is gone
    assert eggcache("prepare", site.cache, *other).returncode == 0


def test_many_eggs_at_odds_with_another_tree_are_one_line(site: Site) -> None:
    """What is wrong with many eggs alike is one line, with the command that sees to all; again, and in check, too. With
    -v each egg has its line."""
    second = site.cache.parent / "second"
    second.mkdir()
    for name in (f"Egg{number}-1.0-py3.11.egg" for number in range(5)):
        write_egg(site.eggs / name, {"one.txt": "one"})
        write_egg(second / name, {"one.txt": "other"})
    site.prepare()
    words: list[str | Path] = ["--path", second, "--python", site.python, "--user", "nobody"]
    runs = [eggcache("prepare", site.cache, *words).stderr.splitlines() for _ in range(2)]
    line, again = (line for run in runs for line in run if "[shared-name]" in line)
    assert line == again
    alike = ", the first of 5 such (-v names them)"
    assert line.startswith(f"eggcache: {second}/Egg0-1.0-py3.11.egg{alike}: {site.eggs}/Egg0-")
    each = eggcache("prepare", site.cache, *words, "-v").stderr.splitlines()
    assert sum("[shared-name]; " in line for line in each) == 5
    shown = eggcache("check", "--cache", site.cache, *words).stdout
    assert (shown.count("member-outdated"), f"one.txt{alike}" in " ".join(shown.split())) == (1, True)
    command = line.partition("; prepare another directory for this tree: ")[2]
    result = eggcache(*shlex.split(command)[1:])
    assert (result.returncode, "5 eggs made in" in result.stdout) == (0, True), result.stderr


def test_findings_that_no_one_command_cures_are_told_each(site: Site) -> None:
    """What has a cause and a cure of its own has a line of its own, however many there are."""
    names = [f"Gone{number}" for number in range(5)]
    result = eggcache("prepare", site.cache, *names, *site.options[1:])
    assert sorted(line.split(": ")[1] for line in result.stderr.splitlines())[:5] == names


@pytest.mark.parametrize(
    ("python", "name"),
    [("/srv/turbogears/bin/python", "turbogears"), ("/srv/shop/env/bin/python", "shop"),
     ("/usr/bin/python2.7", "python2-7"), ("/usr/local/bin/python3", "python3"), ("/bin/python", "python")],
)  # fmt: skip
def test_directory_of_another_tree_is_called_after_its_site(site: Site, python: str, name: str) -> None:
    """The directory that is proposed for a tree has the name of what is served, and not of what many are called."""
    target = Target(python, (), accounts.lookup(site.account.pw_name))
    beside = groups_and_time_zones.directory_of_tree(Prepare("/var/cache/eggcache", target, EVERYTHING))
    assert beside.directory == f"/var/cache/eggcache-{name}"


def leftovers(site: Site) -> list[str]:
    return [name for name in os.listdir(site.cache) if name.startswith(".eggcache-stage-")]


def test_many_first_runs_at_once(site: Site) -> None:
    """Of 50 simultaneous first runs one works, 49 wait and do nothing, and all exit 0."""
    command = [sys.executable, "-m", "eggcache", "prepare", str(site.cache), *map(str, site.options), "--json", "-q"]
    runs = [
        subprocess.Popen(
            [*command, "--wait", "500"], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(50)
    ]  # fmt: skip
    ends = [(*run.communicate(timeout=500), run.returncode) for run in runs]
    assert [(err, code) for _, err, code in ends] == [("", 0)] * 50
    assert sorted(json.loads(out)["unchanged"] for out, _, _ in ends) == [False] + [True] * 49
    assert leftovers(site) == []
    assert site.wrong() == []
    assert site.served()


@pytest.mark.parametrize("call", ["mkdirat", "fchmod"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_first_run_that_is_held_up(call: str, number: int, site: Site) -> None:
    """A first run that stops where it makes the directory or the lock keeps another from working, or finds its work
    done: of the two one works, none takes the disk for unfit, and the mode of the cache is what it was given."""
    words = ["prepare", str(site.cache), *map(str, site.options), "--json", "--quiet"]
    log, pid = site.cache.parent / "strace", site.cache.parent / "pid"
    log.touch()
    command = ["strace", "-o", str(log), "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGSTOP:when={number}",
               "sh", "-c", 'echo $$ >"$0"; exec "$@"', str(pid), sys.executable, "-m", "eggcache", *words]  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT, env=environment({"PYTHONDONTWRITEBYTECODE": "1"}), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        try:
            wait_for(lambda: "stopped by SIGSTOP" in log.read_text())
            other = eggcache(*words, "--wait", "0")
            mode = stat.S_IMODE(site.cache.stat().st_mode)
        finally:
            os.kill(int(pid.read_text()), signal.SIGCONT)
        out, err = run.communicate(timeout=100)
    assert (run.returncode, err) == (0, "")
    if other.returncode == 75:  # the lock is held
        assert json.loads(out)["unchanged"] is False
    else:
        assert (other.returncode, other.stderr, mode) == (0, "", 0o750)
        assert [as_json(other)["unchanged"], json.loads(out)["unchanged"]] == [False, True]
    assert (site.wrong(), stat.S_IMODE(site.cache.stat().st_mode)) == ([], 0o750)
    assert list(site.cache.parent.glob("cache.*")) == []


def test_change_while_the_target_is_asked(
    site: Site, own: deployment.Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes after the target has read it, and before eggcache goes on, is a reason to work again."""
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH"):  # as the command has it
        monkeypatch.delenv(name, raising=False)
    site.python = own.python
    account = accounts.lookup(site.account.pw_name)
    target = Target(str(site.python), (str(site.eggs),), account, account.gid)
    pth = own.site_packages / "late.pth"
    pth.write_text("")
    time.sleep(0.1)  # so that it is not new when the target reads it
    with launch.probe(target, EVERYTHING) as probe:
        assert select.select([probe.answers], [], [], 100)[0]
        pth.write_text(f"{site.eggs}\n")
        time.sleep(0.1)
        assert not Preparation(str(site.cache), target, EVERYTHING, Run()).report(probe).unchanged
    assert not prepare(str(site.cache), target).unchanged
    assert prepare(str(site.cache), target).unchanged


@pytest.fixture
def holder(site: Site) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of the cache."""
    site.prepare()
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(site.cache / ".eggcache.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_lock_that_is_held(site: Site, holder: subprocess.Popen[str]) -> None:
    """--wait 0 gives up with 75, and a run with nothing to do needs no lock at all."""
    assert site.prepare("--wait", "0").returncode == 0
    (site.eggs / "One-1.0-py3.11.egg").touch()
    result = site.prepare("--wait", "0")
    assert result.returncode == 75
    assert result.stderr.count("\n") == 1


def test_readers_see_whole_eggs_while_they_change(site: Site) -> None:
    """pkg_resources in a loop, as another user, never fails while its egg is rebuilt over and over."""
    site.prepare()
    ask = (
        "import pkg_resources, select, sys, zipimport\n"
        "p = pkg_resources.EggMetadata(zipimport.zipimporter(sys.argv[1])); m = pkg_resources.ResourceManager()\n"
        "count = 0\n"
        "while not select.select([sys.stdin], [], [], 0)[0]:\n"
        "    open(p.get_resource_filename(m, 'two/data.txt')).close(); m.cleanup_resources(); count += 1\n"
        "print(count)\n"
    )
    egg = site.eggs / "Two-1.0-py3.11.egg"
    with subprocess.Popen(
        [str(site.python), "-W", "ignore", "-c", ask, str(egg)], env=environment({"PYTHON_EGG_CACHE": str(site.cache)}),
        user="nobody", group="nogroup", cwd="/", text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as reader:  # fmt: skip
        for _ in range(3):
            file = next(site.cache.glob("Two*/two/__init__.py"))
            file.chmod(0o600)
            file.chmod(0o640)  # its ctime moved: rebuilt, though it is the same
            assert site.actions()["Two"] == "replaced"
        out, err = reader.communicate()
    assert (reader.returncode, err) == (0, "")
    assert int(out) > 100


def test_deep_members_are_extracted_kept_and_removed(site: Site) -> None:
    """A member below 60 directories is extracted, kept, and removed again with its egg."""
    write_egg(site.eggs / "Deep-1.0-py3.11.egg", {"d/" * 60 + "file.txt": "deep"})
    assert site.actions()["Deep"] == "made"
    assert site.prepare().stdout == ""
    (site.eggs / "Deep-1.0-py3.11.egg").unlink()
    assert site.actions("--prune")["Deep"] == "removed"
    assert leftovers(site) == []


def test_name_that_is_too_long(site: Site) -> None:
    """An egg whose name leaves no room for the "-tmp" of its directory is named, and the rest is done."""
    egg = write_egg(site.eggs.parent / f"Long-1.{'0' * 241}.egg", {"long.py": ""})
    assert len(egg.name) == 252
    result = site.prepare("--path", egg)
    assert result.returncode == 3
    assert "too long for a cache directory" in result.stderr
    assert len(list(site.cache.glob("*-tmp"))) == 2


def test_foreign_entry_is_named(site: Site) -> None:
    """What somebody else left in the cache while he could is named, exit 4: he could still change it."""
    site.prepare()
    planted = site.cache / "Old-1.0-py3.11.egg-tmp"
    planted.mkdir()
    os.chown(planted, site.account.pw_uid, site.account.pw_gid)
    (site.eggs / "One-1.0-py3.11.egg").touch()
    result = site.prepare("--lenient")
    assert result.returncode == 4
    assert f"{planted}: it belongs to nobody" in result.stderr
    assert "[foreign-entry]" in result.stderr
    planted.rmdir()
    assert site.prepare().returncode == 0


def test_unsafe_whatever_else_is_wrong(site: Site) -> None:
    """With --reset, as for a DIR in /tmp, --lenient ends with 4, which no server starts with, where DIR is somebody
    else's or anybody may make it, also where something else is wrong; where DIR is safe, with what is wrong."""
    site.prepare()
    false, locked = Path("/bin/false"), site.cache.parent / "locked"
    locked.mkdir(0o700)
    (locked / "python").symlink_to(site.python)
    for python, words in ((false, "is no Python"), (locked / "python", "nobody cannot use it")):
        for uid, said in ((0, ""), (site.account.pw_uid, "belongs to nobody"), (None, "anybody may make it")):
            if uid is None:
                shutil.rmtree(site.cache)
            else:
                site.cache.mkdir(exist_ok=True)
                os.chown(site.cache, uid, 0)
            result = site.prepare("--lenient", "--reset", "--python", python)
            assert result.returncode == (4 if said else 1), result.stderr
            assert words in result.stderr
            assert said in result.stderr


def test_foreign_entry_that_is_replaced(site: Site) -> None:
    """What somebody else got hold of is made anew, and then nothing is wrong: Apache may start."""
    site.prepare()
    os.chown(site.cache / "One-1.0-py3.11.egg-tmp", site.account.pw_uid, site.account.pw_gid)
    result = site.prepare("--lenient")
    assert (result.returncode, result.stderr) == (0, "")
    assert "1 egg replaced" in result.stdout
    assert site.served()
    assert site.prepare().stdout == ""


@pytest.mark.parametrize(("size", "why"), [(0, "not a zip file: it is empty"), (100, "truncated: it begins as a zip")])
def test_egg_that_pkg_resources_passes_over(site: Site, size: int, why: str) -> None:
    """A truncated egg is no distribution for pkg_resources, which says nothing: we do, until it is whole again."""
    egg = site.eggs / "One-1.0-py3.11.egg"
    whole = egg.read_bytes()
    egg.write_bytes(whole[:size])
    result = site.prepare()
    assert result.returncode == 3
    assert f"eggcache: {egg}: {why}" in result.stderr
    assert "[egg-refused]" in result.stderr
    egg.write_bytes(whole)
    assert site.prepare().returncode == 0
    assert site.served() == 12


def test_private_egg_is_not_shown_to_more_readers(site: Site) -> None:
    """An egg that not everybody may read who can read the cache is not shown to them: its owner is Apache's user, the
    cache would be its whole group's."""
    private = site.eggs / "One-1.0-py3.11.egg"
    os.chown(private, site.account.pw_uid, 0)
    private.chmod(0o400)
    result = site.prepare()
    assert result.returncode == 3
    assert "[egg-private]" in result.stderr
    assert not list(site.cache.glob("One*"))
    os.chown(private, 0, site.account.pw_gid)
    private.chmod(0o640)
    assert site.actions()["One"] == "made"


def test_acl_of_an_egg(site: Site) -> None:
    """An egg that Apache's user reads by an ACL, and its group may not, is not shown to that group, though the bits of
    the group in the mode, which are the mask, say so; an egg that its group reads beside others by an ACL is."""
    egg = site.eggs / "One-1.0-py3.11.egg"
    os.chown(egg, 0, site.account.pw_gid)
    egg.chmod(0o600)
    acl = subprocess.run(["setfacl", "-m", f"u:{site.account.pw_name}:r", egg], check=False, stderr=subprocess.PIPE)
    if acl.returncode:
        missing(f"no ACLs there: {acl.stderr!r}")
    assert stat.S_IMODE(egg.stat().st_mode) == 0o640
    result = site.prepare()
    assert (result.returncode, list(site.cache.glob("One*"))) == (3, [])
    assert "[egg-private]; let its readers read it" in result.stderr
    subprocess.run(["setfacl", "-m", "g::r", egg], check=True)
    assert site.actions()["One"] == "made"


def test_link_of_proc_opens_nothing_for_the_account(site: Site) -> None:
    """A path that leads through the directory in which root works opens nothing that the account cannot open itself."""
    secret = site.cache.parent / "secret"
    (secret / "in").mkdir(parents=True)
    write_egg(secret / "in" / "Keys-1.0-py3.11.egg", {"keys.py": "secret"})
    secret.chmod(0o700)
    (secret / "in").chmod(0o755)
    account = accounts.lookup("nobody")
    before = os.getcwd()
    os.chdir(secret / "in")
    try:
        with pytest.raises(EggcacheError), accounts.reading("/proc/self/cwd/Keys-1.0-py3.11.egg", account):
            pass
    finally:
        os.chdir(before)
    assert os.geteuid() == 0


def test_egg_that_is_being_uploaded(site: Site) -> None:
    """An egg that was refused half-way through its upload is taken when it is whole."""
    egg = site.eggs / "One-1.0-py3.11.egg"
    whole = egg.read_bytes()
    egg.write_bytes(whole[:-30])
    assert site.prepare("--path", egg).returncode in (0, 3)
    egg.write_bytes(whole)
    result = site.prepare("--path", egg, "--json")
    assert result.returncode == 0, result.stderr
    assert len(as_json(result)["outcomes"]) == 2


def test_receipt_says_what_it_was_made_from(site: Site) -> None:
    """The receipt is JSON of its schema, and changed clocks or racing changes are not believed in it."""
    site.prepare()
    receipt = json.loads((site.cache / ".eggcache.json").read_text())
    assert receipt["schema"] == 2
    (entry,) = receipt["entries"].values()
    assert str(site.eggs) in entry["inputs"]
    assert str(site.eggs / "One-1.0-py3.11.egg") in entry["inputs"]
    time.sleep(0.1)
    before = listing(site.cache)
    site.prepare()
    assert listing(site.cache) == before
