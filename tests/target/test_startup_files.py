"""startup: all that a target loads is found from the outside, and where any of it is others' root does not run it."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.judge import environment
from support.parts import built, missing
from support.sites import write_egg

from eggcache.errors import NotPermitted
from eggcache.system import accounts
from eggcache.target import code_owners, startup_files

WHO = "import os; open(%r, 'a').write('%%d ' %% os.geteuid())\n"
START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from eggcache.cli.main import main; sys.exit(main())"
DEBIAN = "/usr/bin/python3"


def acl(*named: tuple[int, int, int]) -> bytes:
    """A POSIX ACL of rwxr-xr-x with more entries (tag, rights, number), as linux/posix_acl_xattr.h has it."""
    none = 0xFFFFFFFF
    rows = [(0x01, 7, none), *named, (0x04, 5, none), (0x10, 7, none), (0x20, 5, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in sorted(rows))


class Mixed:
    """A Python of root's with an environment of root's on it, of which a test gives parts to nobody."""

    def __init__(self, top: Path, account: pwd.struct_passwd) -> None:
        self.top, self.account = top, account
        self.base, self.env = top / "base", top / "env"
        self.python = self.env / "bin/python"
        self.library = self.base / "lib/python3.11"
        self.site = self.env / "lib/python3.11/site-packages"
        self.told = top / "told"
        self.spy = WHO % str(self.told)
        self.told.write_text("")
        self.told.chmod(0o666)

    def give(self, *places: Path) -> None:
        for place in places:
            if place.is_file():
                apart(place)
            os.chown(place, self.account.pw_uid, 0)

    def append(self, file: Path) -> None:
        if file.exists():
            apart(file)
        file.write_text((file.read_text() if file.exists() else "") + self.spy)
        file.chmod(0o644)


def apart(file: Path) -> None:
    """Make a file that all tests share this test's own."""
    copy = file.with_name(f"{file.name}.copy")
    shutil.copy2(file, copy)
    copy.replace(file)


@pytest.fixture(scope="module")
def original(where: Path, nobody: pwd.struct_passwd, interpreter: Callable[[str], Path]) -> Path:
    """A copy of a Python 3.11, and an environment on it with setuptools."""
    top = where / "mixed"
    real = Path(interpreter("3.11")).resolve()
    with deployment.once(top) as absent:
        if absent:
            (top / "base/bin").mkdir(parents=True)
            (top / "base/lib").mkdir()
            deployment.run(["cp", "-p", real, top / "base/bin/python3.11"])
            deployment.run(["cp", "-a", real.parent.parent / "lib/python3.11", top / "base/lib"])
            deployment.run([top / "base/bin/python3.11", "-m", "venv", "--without-pip", top / "env"])
            deployment.install_setuptools(deployment.at(top / "env"), "65.5.0", where)
    return top


@pytest.fixture
def mixed(original: Path, shared_tmp: Path, nobody: pwd.struct_passwd) -> Mixed:
    top = shared_tmp / "mixed"
    subprocess.run(["cp", "-al", original, top], check=True)  # links: two thousand files, for each of these tests
    configuration = top / "env/pyvenv.cfg"
    apart(configuration)
    configuration.write_text(configuration.read_text().replace(str(original), str(top)))
    for name in ("python", "python3.11"):
        (top / "env/bin" / name).unlink()
        (top / "env/bin" / name).symlink_to(top / "base/bin/python3.11")
    return Mixed(top, nobody)


def acl_of_a_directory(mixed: Mixed) -> Path:
    os.setxattr(mixed.site, "system.posix_acl_access", acl((0x02, 7, mixed.account.pw_uid)))
    mixed.append(mixed.site / "sitecustomize.py")
    return mixed.python


def acl_of_a_file(mixed: Mixed) -> Path:
    mixed.append(mixed.site / "sitecustomize.py")
    os.setxattr(mixed.site / "sitecustomize.py", "system.posix_acl_access", acl((0x08, 6, mixed.account.pw_gid)))
    return mixed.python


def acl_of_what_will_be_there(mixed: Mixed) -> Path:
    os.setxattr(mixed.library, "system.posix_acl_default", acl((0x02, 7, mixed.account.pw_uid)))
    mixed.append(mixed.site / "sitecustomize.py")
    return mixed.python


def link_to_a_prefix(mixed: Mixed) -> Path:
    packages = mixed.base / "lib/python3.11/site-packages"
    packages.mkdir(exist_ok=True)
    mixed.append(packages / "sitecustomize.py")
    mixed.give(packages)
    (mixed.top / "app").symlink_to(mixed.base / "bin/python3.11")
    return mixed.top / "app"


def base(mixed: Mixed) -> Path:
    mixed.append(mixed.site / "sitecustomize.py")
    mixed.give(mixed.base)
    return mixed.python


def part(name: str, file: str, given: str = "") -> Callable[[Mixed], Path]:
    """What makes `file`, or the directory `given` that it is in, nobody's, both below the directory of a Mixed."""

    def others(mixed: Mixed) -> Path:
        mixed.append(mixed.top / file)
        mixed.give(mixed.top / (given or file))
        return mixed.python

    others.__name__ = name
    return others


LIBRARY = "base/lib/python3.11"
library = part("library", f"{LIBRARY}/sitecustomize.py", LIBRARY)
file_of_the_library = part("file_of_the_library", f"{LIBRARY}/email/parser.py")
extension_modules = part("extension_modules", f"{LIBRARY}/lib-dynload/sitecustomize.py", f"{LIBRARY}/lib-dynload")
file_of_pkg_resources = part("file_of_pkg_resources", "env/lib/python3.11/site-packages/pkg_resources/__init__.py")


def byte_code_of_pkg_resources(mixed: Mixed) -> Path:
    mixed.append(mixed.site / "sitecustomize.py")
    mixed.give(next((mixed.site / "pkg_resources/__pycache__").glob("__init__.*.pyc")))
    return mixed.python


def hidden_pth(mixed: Mixed) -> Path:
    theirs = mixed.top / "theirs"
    theirs.mkdir()
    mixed.append(theirs / "sitecustomize.py")
    mixed.give(theirs)
    (mixed.site / ".hidden.pth").write_text(f"{theirs}\n")
    return mixed.python


BARE = (library, file_of_the_library, extension_modules, base, acl_of_what_will_be_there)  # what -S loads, too
OTHERS = (
    acl_of_a_directory,
    acl_of_a_file,
    link_to_a_prefix,
    file_of_pkg_resources,
    byte_code_of_pkg_resources,
    hidden_pth,
    *BARE,
)


def ran(mixed: Mixed, python: Path, command: Sequence[str]) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """How a command of root's ended, and who has run what is others'."""
    # -I: what is asked is not whose modules the Python of eggcache itself runs
    words = [sys.executable, "-I", "-c", START, *command, "--all", "--python", str(python)]
    result = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False, cwd="/")
    return result, set(mixed.told.read_text().split())


@pytest.mark.parametrize("others", OTHERS, ids=lambda function: function.__name__)
def test_what_is_others_never_runs_as_root(mixed: Mixed, others: Callable[[Mixed], Path]) -> None:
    """Whatever part of what the target loads is another user's to write, the target runs as that user or as nobody."""
    assert code_owners.runner(str(mixed.python)) == accounts.current()
    python = others(mixed)
    result, who = ran(mixed, python, ["tree"])
    assert who == {str(mixed.account.pw_uid)}, result.stderr
    assert result.returncode == 0 or "has no pkg_resources to ask" in result.stderr


@pytest.mark.parametrize("command", ["wheels", "prepare", "check", "unzip-all"])
@pytest.mark.parametrize("others", [hidden_pth, library], ids=lambda function: function.__name__)
def test_no_command_runs_others_startup_files_as_root(
    mixed: Mixed, command: str, others: Callable[[Mixed], Path]
) -> None:
    """No command runs it as root, not for the runtime user root either; root does not compile with such a library, and
    says whose it is, with nothing changed."""
    egg = write_egg(mixed.site / "One-1.0-py3.11.egg", {"one.py": "one = 1\n"})
    python = others(mixed)
    more = {
        "wheels": [str(mixed.top / "wheels")],
        "prepare": [str(mixed.top / "cache"), "--user", "root"],
        "check": ["--user", "root"],
        "unzip-all": ["-n"],
    }
    result, who = ran(mixed, python, [command, *more[command]])
    if command == "unzip-all" and others is library:
        # what began as its owner, before root looked, is ended: it may have come as far as its startup files
        assert who <= {str(mixed.account.pw_uid)}
        assert (result.returncode, egg.is_file()) == (4, True)
        assert f"nobody may change what it runs, at {mixed.library}, so root does not byte-compile" in result.stderr
    else:
        assert (who, "Traceback" in result.stderr) == ({str(mixed.account.pw_uid)}, False), result.stderr
    assert list(mixed.site.glob(".eggcache*")) == []


def test_program_that_is_a_script(mixed: Mixed) -> None:
    """What a script runs cannot be told: as root it runs as nobody, and nothing is compiled with it."""
    mixed.append(mixed.site / "sitecustomize.py")
    script = mixed.top / "python"
    script.write_text(f'#!/bin/sh\nexec {mixed.python} "$@"\n')
    script.chmod(0o755)
    result, who = ran(mixed, script, ["tree"])
    assert (result.returncode, who) == (0, {str(mixed.account.pw_uid)}), result.stderr
    with pytest.raises(NotPermitted, match="cannot be told"):
        code_owners.check_bare(str(script))


def test_site_packages_of_several(mixed: Mixed) -> None:
    """As root, unzip-all says where several may write, and does not try as one who cannot."""
    egg = write_egg(mixed.site / "One-1.0-py3.11.egg", {"one.py": "one = 1\n"})
    os.setxattr(mixed.site, "system.posix_acl_access", acl((0x02, 7, mixed.account.pw_uid)))
    result, _ = ran(mixed, mixed.python, ["unzip-all"])
    assert (result.returncode, egg.is_file()) == (4, True)
    assert result.stderr.startswith(f"eggcache: {mixed.site}: several users may change what the target runs there")


def test_names_in_pth_files(shared_tmp: Path) -> None:
    """What any release reads out of a .pth file counts: relative names, blanks in front, whatever ends a line, and
    what begins like code and is none since 2.6, as well as absolute names in code; comments do not."""
    text = "\ufeffmarked\n# no\n\n  blank \nup/../x\r/abs\x0c/form\nimports/lib\nimport sys; sys.path.append('/code')\n"
    (shared_tmp / ".x.pth").write_bytes(text.encode())
    (shared_tmp / "y.pth.txt").write_text("/never\n")
    names = set(startup_files.pth_names(str(shared_tmp)))
    below = {str(shared_tmp / name) for name in (".x.pth", "marked", "  blank", "x", "imports/lib")}
    assert names == below | {"/abs", "/form", "/abs\x0c/form", "/code"}


def test_user_site_counts_for_root(mixed: Mixed, shared_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is below ~/.local counts: the target reads it for root as well."""
    packages = shared_tmp / ".local/lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    entries = {
        0: pwd.struct_passwd(("root", "x", 0, 0, "", str(shared_tmp), "/bin/sh")),
        mixed.account[2]: mixed.account,
    }
    monkeypatch.setattr(pwd, "getpwuid", entries.__getitem__)
    assert code_owners.runner(str(mixed.python)).uid == 0
    mixed.give(packages)
    (mixed.env / "pyvenv.cfg").write_text(f"home = {mixed.base}/bin\n")
    assert code_owners.runner(str(mixed.python)).uid == mixed.account.pw_uid


def test_site_packages_of_the_base(mixed: Mixed) -> None:
    """They count for an environment that reads them, and for no other."""
    packages = mixed.base / "lib/python3.11/site-packages"
    packages.mkdir(exist_ok=True)
    mixed.give(packages)
    assert code_owners.runner(str(mixed.python)).uid == 0
    configuration = mixed.env / "pyvenv.cfg"
    configuration.write_text(configuration.read_text().replace("packages = false", "packages = true"))
    assert code_owners.runner(str(mixed.python)).uid == mixed.account.pw_uid


@pytest.mark.parametrize("variable", ["PYTHONPATH", "LD_LIBRARY_PATH"])
def test_what_the_environment_names(
    mixed: Mixed, shared_tmp: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directories that variables which the target gets name count, also those where a library could be put."""
    theirs = shared_tmp / "theirs"
    theirs.mkdir()
    monkeypatch.setenv(variable, str(theirs))
    assert code_owners.runner(str(mixed.python)).uid == 0
    mixed.give(theirs)
    assert code_owners.runner(str(mixed.python)).uid == mixed.account.pw_uid


# ---------------------------------------------------------------------------- strace as the judge of what is loaded

SYSTEM = re.compile(
    r"/(?:proc|dev|sys)/|/etc/(?:ld\.so|localtime|passwd|group|nsswitch|host|resolv|ssl/|gai|timezone|machine)"
    r"|(?:/usr)?/lib(?:64|32)?/(?:[^/]+-linux-gnu/|locale/|ssl/|[^/]+\.so)|/usr/share/(?:locale|zoneinfo|python)|/lib64/"
)
METADATA = re.compile(r"(?:/EGG-INFO|\.egg-info|\.dist-info)(?:/|$)")  # read, and never run


@pytest.fixture(params=["2.7", "3.6", "3.9", "3.11", "3.13"])
def environment_of(request: pytest.FixtureRequest, where: Path, nobody: pwd.struct_passwd) -> Deployment:
    setuptools = {"2.7": "36.0.1", "3.6": "40.8.0", "3.13": "75.8.0"}.get(request.param, "65.5.0")
    return built(lambda: deployment.target(request.param, setuptools, where))


def loaded_and_looked_at(python: str | Path, top: Path) -> tuple[set[str], list[str]]:
    """What the target opens as `tree` asks it, and what eggcache has looked at before: strace tells both."""
    log = top / "log"
    words = ["strace", "-ff", "-qq", "-s", "4096", "-e", "trace=%file", "-o", log, sys.executable, "-m", "eggcache"]
    result = subprocess.run(
        [*words, "tree", "--all", "--python", python], cwd=ROOT, env=environment(), capture_output=True, check=False
    )
    assert result.returncode == 0 or b"has no pkg_resources to ask" in result.stderr, result.stderr
    looked, loaded = list[str](), set[str]()
    for file in top.glob("log.*"):
        before, mark, after = file.read_text(errors="replace").partition(f'execve("{python}"')
        looked += re.findall(r'^(?:newfstatat|lstat|stat)\((?:AT_FDCWD, )?"([^"]+)".* = 0$', before, re.MULTILINE)
        if mark:
            loaded |= set(re.findall(r'^open(?:at)?\((?:AT_FDCWD, )?"([^"]+)".* = \d+$', after, re.MULTILINE))
            loaded.add(str(python))
    return loaded, looked


def covered(loaded: set[str], looked: list[str]) -> tuple[list[str], int]:
    """What is loaded and was not looked at, and how much was; directories are given without a slash at their end."""
    counted = [path for path in map(os.path.normpath, loaded) if not SYSTEM.match(path) and not METADATA.search(path)]
    seen = set(looked)
    return sorted(path for path in counted if not {path, os.path.realpath(path)} & seen), len(counted)


def test_all_that_is_opened_was_looked_at(environment_of: Deployment, shared_tmp: Path) -> None:
    """Each file that an environment's Python opens to answer is one that was looked at before it was started."""
    (environment_of.site_packages / "more.pth").write_text(f"{shared_tmp}/more\nimport sys\n")
    (shared_tmp / "more").mkdir()
    write_egg(shared_tmp / "more/One-1.0.egg", {"one.py": "one = 1\n"})
    loaded, looked = loaded_and_looked_at(environment_of.python, shared_tmp)
    missed, count = covered(loaded, looked)
    assert missed == []
    assert count > 100
    assert str(shared_tmp / "more/One-1.0.egg") in loaded


@pytest.mark.parametrize("version", ["2.7", "3.13"])
def test_all_that_a_plain_python_opens(version: str, interpreter: Callable[[str], Path], shared_tmp: Path) -> None:
    """The same for a Python as `make install` leaves it, its shared library included; each file costs two system calls
    at most."""
    python = interpreter(version)
    loaded, looked = loaded_and_looked_at(python, shared_tmp)
    below = sum(1 for _ in python.resolve().parent.parent.rglob("*"))
    assert len([path for path in looked if path.startswith(f"{python.parent.parent}/")]) < 2 * below
    missed, count = covered(loaded, looked)
    assert missed == []
    assert count > 20
    assert [path for path in loaded if "/libpython" in path]


def test_all_that_debians_python_opens(shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """The same for Debian's Python with its dist-packages, which root goes on running as root."""
    if not os.path.exists(DEBIAN):
        missing(f"there is no {DEBIAN}")
    loaded, looked = loaded_and_looked_at(DEBIAN, shared_tmp)
    missed, count = covered(loaded, looked)
    assert missed == []
    assert count > 50
    assert code_owners.runner(DEBIAN).uid == 0


def test_the_look_is_bounded(mixed: Mixed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A circle of links, of .pth files or of environments ends, and with too much to look at root does not run it."""
    (mixed.site / "circle").symlink_to(mixed.site)
    (mixed.site / "circle.pth").write_text(f".\n{mixed.site}\n{mixed.top}/more\n")
    (mixed.top / "more").mkdir()
    (mixed.top / "more/back.pth").write_text(f"{mixed.site}\n")
    os.mkfifo(mixed.top / "more/fifo.pth")
    assert code_owners.runner(str(mixed.python)).uid == 0
    monkeypatch.setattr(code_owners, "_MOST_ENTRIES", 1000)
    assert code_owners.runner(str(mixed.python)).name == "nobody"
    (mixed.env / "pyvenv.cfg").write_text(f"home = {mixed.env}/bin\n")
    assert startup_files.look(str(mixed.python)).complete
