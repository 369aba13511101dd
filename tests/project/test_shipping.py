"""What is handed to others: the sdist, the wheel and the single file, each where nothing else of ours is."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ROOT, clones
from support.httpd import APACHECTL, Httpd, require
from support.judge import environment, judge, served
from support.sites import named, write_egg

from eggcache import __version__

EGG = "One-1.0-py3.11.egg"


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python -m build` makes of a copy of the files that git has: the sdist, and the wheel from that."""
    source = clones.clone(tmp_path_factory.mktemp("source"))
    into = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(into), str(source)]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no files found matching" not in result.stdout + result.stderr
    return into


@pytest.fixture(scope="session")
def pyz(where: Path) -> Path:
    """The single file, where every user can read it."""
    file = where / "eggcache.pyz"
    zipapp(file)
    return file


@pytest.mark.parametrize("script", ["zipapp", "binary"])
def test_a_directory_that_is_not_there(script: str, tmp_path: Path) -> None:
    """What makes a single file says in one line, and before it fetches or compiles anything, that there is no place."""
    command = [sys.executable, ROOT / "scripts" / script, "-o", tmp_path / "no such" / "eggcache"]
    result = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True, check=False)
    why = f"{tmp_path}/no such: there is no such directory; make it: mkdir -p '{tmp_path}/no such'\n"
    assert (result.returncode, result.stderr) == (1, why)


def zipapp(file: Path, *more: str, umask: int = 0o022) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "zipapp"), "-o", str(file), *more], cwd="/", capture_output=True,
        text=True, check=False, umask=umask,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def eggs(shared_tmp: Path) -> Path:
    write_egg(shared_tmp / EGG, {"one/__init__.py": "", "one/text.txt": "one\n"})
    return shared_tmp


def run(*command: str | Path, **env: str) -> str:
    """What a command prints, in an environment without anything of ours, from a directory without it."""
    result = subprocess.run(
        list(map(str, command)), env=environment(env), cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout


def test_sdist_is_whole(dist: Path) -> None:
    """The sdist has the source, the tests, the scripts and the documentation, and nothing that was made of them."""
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        scripts = {m.name.partition("/")[2]: m.mode for m in archive.getmembers() if "/scripts/" in m.name}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    left_out = {name for name in tracked if name not in names and (ROOT / name).exists()}
    assert {name for name in left_out if not name.startswith((".ci/", ".git"))} == set()
    assert not [name for name in names if name.endswith(".pyc") or name.startswith("build/")]
    assert scripts["scripts/test"] & 0o111


def test_wheel_is_whole(dist: Path) -> None:
    """The wheel has each module, what runs inside a target, the templates, the page and the completions; no tests."""
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        names = set(archive.namelist())
    ours = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "eggcache").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }  # fmt: skip
    assert {name for name in names if name.startswith("eggcache/")} == ours
    data = {name.partition(".data/data/")[2] for name in names if ".data/" in name}
    assert data == {
        "share/man/man1/eggcache.1", "share/bash-completion/completions/eggcache", "share/zsh/site-functions/_eggcache",
        "share/fish/vendor_completions.d/eggcache.fish",
    }  # fmt: skip
    assert not [name for name in names if name.startswith(("tests/", "scripts/", "docs/"))]


@pytest.mark.parametrize(("version", "what"), [("3.9", "*.whl"), ("3.11", "*.whl"), ("3.13", "*.tar.gz")])
def test_wheel_and_sdist_work_in_each_python(
    dist: Path,
    version: str,
    what: str,
    interpreter: Callable[[str], Path],
    python: Path,
    eggs: Path,
    nobody: pwd.struct_passwd,
) -> None:
    """The wheel, or the sdist, and nothing but what it asks for, works in a new environment of each Python."""
    home = eggs / "environment"
    run(interpreter(version), "-m", "venv", "--without-pip", home)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        home / "bin" / "python",
        "install",
        "--quiet",
        next(dist.glob(what)),
    ]
    subprocess.run(list(map(str, pip)), check=True, stdout=subprocess.DEVNULL)
    program = home / "bin" / "eggcache"
    target = ["--all", "--path", eggs, "--python", python]
    assert run(program, "--version") == f"eggcache {__version__}\n"
    assert run(program, "tree", *target).startswith("One 1.0")
    for _ in range(2):  # with the whole work, and with nothing to do
        run(program, "prepare", eggs / "cache", *target, "--user", nobody.pw_name)
    assert served(judge(python, eggs / "cache", [eggs / EGG], nobody), eggs / "cache") > 0
    run(program, "check", *target, "--cache", eggs / "cache", "--user", nobody.pw_name)
    assert "PYTHON_EGG_CACHE" in run(program, "wrapper", eggs / "cache", *target, "--for", "shell")
    run(program, "unzip-all", "--all", *named(eggs), "--python", python)
    assert (eggs / EGG).is_dir()
    assert (home / "share" / "man" / "man1" / "eggcache.1").is_file()
    for library in ("zsh/site-functions/_eggcache", "bash-completion/completions/eggcache"):
        assert (home / "share" / library).is_file()


def test_zipapp_is_reproducible(pyz: Path, tmp_path: Path) -> None:
    """The same source gives the same bytes; another interpreter changes the first line alone."""
    zipapp(tmp_path / "again.pyz", umask=0o077)
    assert (tmp_path / "again.pyz").read_bytes() == pyz.read_bytes()
    zipapp(tmp_path / "other.pyz", "-p", "/opt/python/bin/python3")
    first, rest = (tmp_path / "other.pyz").read_bytes().split(b"\n", 1)
    assert first == b"#!/opt/python/bin/python3"
    assert b"Python" in rest
    assert os.access(pyz, os.X_OK)
    assert list(tmp_path.glob("*.pyz.*")) == []


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_zipapp_does_what_the_installed_program_does(
    pyz: Path, version: str, interpreter: Callable[[str], Path], python: Path, eggs: Path, nobody: pwd.struct_passwd
) -> None:
    """The single file does all that the installed program does, with a Python that has nothing installed."""
    program = [interpreter(version), "-I", "-S", pyz]
    target = ["--all", "--path", eggs, "--python", python]
    assert run(*program, "tree", *target).startswith("One 1.0")
    assert "examples:" in run(*program, "--help")
    for _ in range(2):
        run(*program, "prepare", eggs / "cache", *target, "--user", nobody.pw_name)
    assert served(judge(python, eggs / "cache", [eggs / EGG], nobody), eggs / "cache") > 0
    run(*program, "check", *target, "--cache", eggs / "cache", "--user", nobody.pw_name)
    run(*program, "unzip-all", "--all", *named(eggs), "--python", python)
    assert (eggs / EGG).is_dir()


def test_zipapp_unpacks_nothing(pyz: Path, eggs: Path, python: Path, tmp_path: Path) -> None:
    """The single file makes no file and no directory of its own, neither beside it nor in a home or a /tmp."""
    log, home = tmp_path / "log", tmp_path / "home"
    home.mkdir()
    command = ["strace", "-f", "-o", log, "-e", "trace=open,openat,creat,mkdir,mkdirat", sys.executable, pyz]
    around = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home)}
    words = ["tree", "--all", "--path", eggs, "--python", python]
    result = subprocess.run([*command, *words], env=around, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("One 1.0")
    calls = [line for line in log.read_text().splitlines() if '"/dev/' not in line]
    assert any(str(pyz) in line for line in calls)
    assert [line for line in calls if re.search(r"O_CREAT|O_WRONLY|O_RDWR| (?:creat|mkdir|mkdirat)\(", line)] == []


def test_zipapp_says_that_a_python_is_too_old(pyz: Path, interpreter: Callable[[str], Path]) -> None:
    """A Python that cannot run it says so in one line."""
    for version in ("2.7", "3.6"):
        result = subprocess.run([str(interpreter(version)), str(pyz)], capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert result.stderr == f"eggcache: Python {version}: too old to run it; run it with Python 3.9 or newer\n"


@pytest.fixture
def httpd(shared_tmp: Path) -> Iterator[Httpd]:
    require()
    server = Httpd(shared_tmp / "apache")
    yield server
    server.stop()


def test_zipapp_in_an_init_script(pyz: Path, httpd: Httpd, python: Path, eggs: Path) -> None:
    """The init script that the single file emits prepares with it, and starts Apache with the cache."""
    cache = eggs / "cache"
    script = eggs / "apache-eggs"
    run(
        pyz, "wrapper", cache, "--all", "--path", eggs, "--python", python, "--user", "www-data", "--for", "init.d",
        "--apachectl", APACHECTL, "--pid-file", httpd.pid_file, "-o", script, PATH=os.environ["PATH"],
    )  # fmt: skip
    assert f" {pyz} prepare {cache} " in script.read_text()
    httpd.control = ["/bin/sh", script]
    httpd.start()
    running = Path(f"/proc/{httpd.pid()}/environ").read_bytes().split(b"\0")
    assert b"PYTHON_EGG_CACHE=" + os.fsencode(cache) in running
    assert served(judge(python, cache, [eggs / EGG], pwd.getpwnam("www-data")), cache) > 0
    httpd.stop()
    # an egg that is damaged is a warning; a file that is not there any more starts nothing
    moved = pyz.rename(pyz.with_suffix(".away"))
    try:
        assert httpd.ctl("start").returncode != 0
        assert not httpd.listens()
    finally:
        moved.rename(pyz)


@pytest.mark.parametrize("place", [Path.rename, lambda pyz, other: other.symlink_to(pyz)])
def test_zipapp_by_another_name_emits_what_runs(
    pyz: Path, python: Path, eggs: Path, place: Callable[[Path, Path], object]
) -> None:
    """The single file is called by the name that it was run by: renamed, or by a link to it."""
    copied, other, cache = Path(shutil.copy(pyz, eggs / "eggcache.pyz")), eggs / "eggs-1.2", eggs / "cache"
    place(copied, other)
    target = ("--all", "--path", eggs, "--python", python, "--user", "www-data")
    script = eggs / "script"
    script.write_text(run(other, "wrapper", cache, *target, "--for", "shell", PATH=os.environ["PATH"]))
    (command,) = re.findall(r"(?m)^#   (.* prepare .*) \|\| exit$", script.read_text())
    assert f" -I {other} prepare {cache} " in command
    run("sh", "-c", command)
    assert (cache / f"{EGG}-tmp").is_dir()


def test_pins_are_those_of_the_tests() -> None:
    """The single file has the releases that the tests run with."""
    tested = set((ROOT / "tests" / "requirements.txt").read_text().split())
    inside = [line.split()[0] for line in (ROOT / "scripts" / "zipapp.txt").read_text().splitlines() if "==" in line]
    assert len(inside) > 1
    assert set(inside) <= tested
