"""Odd places to be run in: very deep directories, a user namespace, no /proc, files that are no time zones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from support import ROOT
from support.deployment import Deployment
from support.judge import SLOW, eggcache, environment
from support.parts import missing
from support.sites import Site, write_egg

from eggcache.model import Interpreter, Tree
from eggcache.proof import imported, permissions
from eggcache.proof.target_side import Import
from eggcache.servers import affected_processes
from eggcache.system import accounts, files
from eggcache.target import startup_files

LEVELS = 1900  # paths of them are below PATH_MAX, and deeper than Python's own stack


def deepen(directory: Path) -> None:
    """Make nested directories, and a file in the last one."""
    here = os.open(directory, os.O_RDONLY)
    for _ in range(LEVELS):
        os.mkdir("d", 0o755, dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("last.so", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=here))
    os.close(here)


@pytest.fixture
def shallow_again(shared_tmp: Path) -> Iterator[Path]:
    """A directory whose deep ones are removed by a program that does not call itself for each level."""
    yield shared_tmp
    subprocess.run(
        ["find", shared_tmp, "-name", "d", "-type", "d", "-prune", "-exec", "rm", "-rf", "{}", "+"], check=True
    )


def test_below_is_os_walk(tmp_path: Path) -> None:
    """It goes where os.walk goes, links to directories left out, from a path and from a descriptor."""
    for name in ("a/b/c", "a/d", "e"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("")
    (tmp_path / "a/link").symlink_to("/usr")
    expected = {top: (set(names), set(files)) for top, names, files in os.walk(tmp_path)}
    expected[f"{tmp_path}/a"] = ({"b", "d"}, {"link"})  # os.walk counts a link to a directory as one, and stays out
    assert {top: (set(names), set(files)) for top, names, files in files.walk(str(tmp_path))} == expected
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert sorted(top for top, _, _ in files.walk("a", descriptor)) == ["a", "a/b", "a/b/c", "a/d"]
        assert list(files.walk("a/link", descriptor)) == []
    finally:
        os.close(descriptor)


def test_directories_1900_deep_stop_no_command(own: Deployment, shallow_again: Path) -> None:
    """Where directories lie 1,900 deep in the target's, in the cache and in what nobody needs there, every command does
    its work, and a process that uses the target is warned of."""
    egg = write_egg(own.site_packages / "One-1.0-py3.11.egg", {"one/__init__.py": "", "one/text": "one\n"})
    (own.site_packages / "easy-install.pth").write_text(f"./{egg.name}\n")
    (own.site_packages / "plain").mkdir()
    deepen(own.site_packages / "plain")
    cache, options = shallow_again / "cache", ["--all", "--python", own.python]
    server = subprocess.Popen(
        [own.python, "-c", "import time; print(1, flush=True); time.sleep(600)"], stdout=subprocess.PIPE
    )
    try:
        assert server.stdout
        server.stdout.readline()

        def run(*words: str | Path, status: int = 0) -> str:
            result = eggcache(*words, env={"COLUMNS": "80"})
            assert result.returncode == status, (words, result.stderr)
            assert "Error:" not in result.stderr, words
            return result.stdout + result.stderr

        run("prepare", cache, *options, "--user", "nobody")
        for name in (f"{egg.name}-tmp", "Old-1.0.egg-tmp"):
            (cache / name).mkdir(exist_ok=True)
            deepen(cache / name)
        run("status", cache, status=3)
        assert "stale-directory" in run("check", *options, "--user", "nobody", "--cache", cache, status=3)
        assert "replaced" in run("prepare", cache, *options, "--user", "nobody")
        (cache / ".eggcache.json").unlink()  # so that all in it is counted
        assert "3 files" in run("remove", "-n", cache)
        run("remove", cache)
        assert not cache.exists()
        run("tree", *options)
        told = run("unzip-all", *options, "--backup", shallow_again / "backup")
        assert f"process {server.pid} of root" in told
        assert f"process {server.pid} of root" in run(
            "unzip-all", *options, "--backup", shallow_again / "backup", "--undo"
        )
    finally:
        server.kill()
        server.wait()
        if server.stdout:
            server.stdout.close()


def test_deep_libraries_are_seen(shallow_again: Path) -> None:
    """What a process may have mapped is known however deep it lies, and so is what the runtime user can write to."""
    deepen(shallow_again)
    place = str(shallow_again) + "/d" * LEVELS
    look = affected_processes._Look(sys.executable, [str(shallow_again)])
    assert "last.so" in look.file_names
    os.chmod(place, 0o777)
    assert place in permissions._writable(str(shallow_again), accounts.lookup("nobody"))


def test_two_slashes_at_the_beginning(site: Site) -> None:
    """A path that begins with two slashes, which os.path leaves as they are, is what it is with one."""
    site.prepare()
    result = eggcache("check", "--cache", f"/{site.cache}", *site.options)
    assert result.returncode == 0, result.stdout
    assert permissions._above("//tmp/x") == ["/tmp", "/"]
    assert list(islice(startup_files._upward("//usr/bin"), 9)) == ["//usr/bin", "//usr", "//"]
    words = f"NotADirectoryError: [Errno 20] Not a directory: '/{site.cache}/x/y'"
    attempt = Import("root", "x", "", "failed", "", "", "", words, (), (), ())
    nothing = Interpreter.__new__(Interpreter)
    assert imported._through(attempt, Tree(nothing, (), (), ())) is None


# ------------------------------------------------------------------------------------------------ root without rights


def commands(site: Site) -> dict[str, list[str | Path]]:
    named: list[str | Path] = ["--all", "--path", site.eggs, "--python", site.python]
    return {
        "prepare": ["prepare", site.cache.parent / "new", *site.options],
        "check": ["check", *site.options, "--cache", site.cache],
        "wheels": ["wheels", site.cache.parent / "wheels", *named],
        "unzip-all": ["unzip-all", *named, "--backup", site.cache.parent / "backup"],
        "undo": ["unzip-all", *named, "--backup", site.cache.parent / "backup", "--undo"],
        "remove": ["remove", site.cache],
        "tree": ["tree", *named],
        "status": ["status", site.cache],
        "wrapper": ["wrapper", site.cache, *site.options, "--for", "gunicorn"],
    }


def inside(unshare: list[str], *words: str | Path) -> subprocess.CompletedProcess[str]:
    """How eggcache ends in namespaces of its own."""
    result = subprocess.run(
        ["unshare", *unshare, sys.executable, "-m", "eggcache", *words], cwd=ROOT, env=environment(),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Error:" not in result.stderr, (words, result.stderr)
    assert "Traceback" not in result.stderr
    return result


def test_root_of_a_user_namespace(site: Site) -> None:
    """Root who may act as nobody else, and has one user and one group, is told so in one line, exit 4, by each command
    that has to; the others do their work; and a cache that cannot be given its group is not half made."""
    if subprocess.run(["unshare", "--user", "--map-root-user", "true"], check=False, capture_output=True).returncode:
        missing("user namespaces are not allowed here")
    site.prepare()
    for command, words in commands(site).items():
        result = inside(["--user", "--map-root-user"], *words)
        if command in ("prepare", "check"):
            assert (result.returncode, result.stdout) == (4, ""), command
            assert result.stderr.startswith("eggcache: user nobody: root cannot act as it here ("), result.stderr
            assert result.stderr.endswith(
                "; run it as root of the host, or in a container with a range of ids, subuid(5)\n"
            )
            assert result.stderr.count("\n") == 1
        else:
            assert result.returncode in (0, 1, 3), (command, result.stderr)  # 1: there is no backup
    words = ["prepare", site.cache.parent / "other", *site.options[:-1], "root", "--group", "nogroup"]
    result = inside(["--user", "--map-root-user"], *words)
    assert result.returncode == 4
    assert SLOW.sub("", result.stderr).startswith(
        "eggcache: owner 0, group 65534: root cannot give files to them here ("
    )
    assert not list((site.cache.parent / "other").glob("*-tmp"))


def test_without_proc_commands_say_what_they_need(site: Site) -> None:
    """Without /proc each command that needs it says that, and how to get it, before it does anything; the others do
    their work, and so does a prepare with nothing to do."""
    site.prepare()
    before = {path: path.stat().st_ctime_ns for path in site.cache.parent.rglob("*")}
    bare = ["--mount", "sh", "-c", 'mount -t tmpfs none /proc; exec "$@"', "sh"]
    for command, words in commands(site).items():
        result = inside(bare, *words)
        if command in ("tree", "status", "wrapper"):
            assert result.returncode == 0, (command, result.stderr)
        else:
            assert (result.returncode, result.stdout) == (1, ""), command
            assert result.stderr == (
                "eggcache: /proc: it is not mounted here, and files are opened by way of it; "
                "mount it, and run it again: mount -t proc proc /proc\n"
            )
    assert {path: path.stat().st_ctime_ns for path in site.cache.parent.rglob("*")} == before
    assert inside(bare, "prepare", site.cache, *site.options).returncode == 0


# ------------------------------------------------------------------------------------------------ time zones


@pytest.mark.parametrize(
    "name", ["zone.tab", "zone1970.tab", "iso3166.tab", "../../../etc/passwd", "/etc/passwd", "/dev/null"]
)
def test_what_is_no_zone(name: str, tmp_path: Path) -> None:
    """A file that is no time zone is named as that: the C library would take it for UTC without a word."""
    cache = tmp_path / "cache"
    for words in (["prepare", cache], ["check"], ["wrapper", cache, "--for", "gunicorn"]):
        for option, env, asked in (
            (["--tz", name], {}, f"--tz {name}"),
            ([], {"TZ": name}, f"TZ={name} in the environment"),
        ):
            result = eggcache(*words, "--all", "--user", "root", *option, env=env)
            assert (result.returncode, result.stdout) == (2, "")
            line = f"eggcache: {asked}: that file is no time zone; name one with --tz, as Europe/Madrid\n"
            assert result.stderr == line


@pytest.mark.parametrize("name", ["Europe/Madrid", ":Europe/Madrid", "EST5EDT", "Etc/GMT+5", "CET-1CEST", "<-03>3", ""])
def test_what_is_a_zone(site: Site, name: str) -> None:
    """A file of zones, a rule in POSIX' form, and the empty name are zones."""
    assert site.prepare("--tz", name, "--dry-run").returncode == 0


# ------------------------------------------------------------------------------------------------ names and streams


@pytest.mark.parametrize("name", ["loop", "x" * 300])
def test_what_cannot_be_looked_at(shared_tmp: Path, name: str) -> None:
    """A cache whose name leads to itself, or is too long, is named with the cause, in one line."""
    (shared_tmp / "loop").symlink_to("loop")
    result = eggcache("status", shared_tmp / name)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"eggcache: {shared_tmp / name}: cannot be looked at: ")
    assert result.stderr.endswith("; name the egg cache\n")


@pytest.mark.parametrize("more", ["", "/below"])
def test_link_that_cannot_be_read(more: str) -> None:
    """A directory by a link that only some may read, as /proc/1/root, is named by each command, in one line, exit 4."""
    unread = ["--user"]
    if subprocess.run(["unshare", *unread, "readlink", "/proc/1/root"], check=False, capture_output=True).stdout:
        missing("a user namespace is not allowed here, or may read /proc/1/root")
    name = f"/proc/1/root{more}"
    target = ["--all", "--python", sys.executable]
    for words in (["wrapper", name, *target, "--for", "systemd"], ["prepare", name, *target], ["remove", name],
                  ["wheels", name, *target], ["status", name]):  # fmt: skip
        result = inside(unread, *words)
        assert (result.returncode, result.stdout) == (4, ""), (words, result.stderr)
        last = result.stderr.splitlines()[-1]  # after progress, on a slow machine
        assert re.fullmatch(r"eggcache: /proc/1/root\S*: cannot be (looked at|opened): Permission denied; .*", last)


def test_full_disk_behind_a_long_result() -> None:
    """A result that is longer than its buffer, and finds its disk full, is not taken for eggcache's own fault."""
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "eggcache", "wrapper", "/x", "--for", "init.d", "--python", sys.executable,
             "--user", "root", "--apachectl", "/usr/sbin/apache2ctl"],
            cwd=ROOT, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.endswith("eggcache: stdout: No space left on device; what was done is done\n")
