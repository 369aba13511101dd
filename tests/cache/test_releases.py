"""What pages say of the egg cache of every release of pkg_resources is so in those that are measured."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import deployment
from support.deployment import RELEASES, Deployment
from support.judge import as_json, eggcache, environment, judge, served, watched
from support.parts import built
from support.sites import write_egg
from support.zips import Entry, make

REQUESTS = r"""
import sys
sys.path.insert(0, sys.argv[1])
import pkg_resources, one
pkg_resources.resource_string("one", "data/text.txt")
for name in ("data/text.txt", "data/text.txt", "data/empty"):
    sys.stderr.write("---\n")
    pkg_resources.resource_filename("one", name)
"""


@pytest.fixture(scope="module")
def released(where: Path) -> Callable[[str, str], Deployment]:
    """A factory: released("2.7", "36.0.1") is an environment with that setuptools, shared: not to be modified."""
    known: dict[tuple[str, str], Deployment] = {}

    def find(python: str, release: str) -> Deployment:
        if (python, release) not in known:
            known[python, release] = built(lambda: deployment.target(python, release, where))
        return known[python, release]

    return find


@pytest.fixture
def egg(shared_tmp: Path) -> Path:
    files = {"one/__init__.py": "", "one/data/text.txt": "one\n", "one/data/empty": ""}
    return write_egg(shared_tmp / "One-1.0.egg", files)


@pytest.mark.parametrize(("python", "release"), RELEASES)
def test_open_cache_is_warned_of_at_the_first_name(
    python: str, release: str, released: Callable[[str, str], Deployment], egg: Path, shared_tmp: Path
) -> None:
    """Of a cache that the group may write to, each release but 0.6c11 warns once in a process, when the name of a file
    is first asked for, as the finding says; not at the import, and not for the bytes of a file. What is not the egg's
    it leaves there."""
    cache = shared_tmp / "cache"
    (cache / "One-1.0.egg-tmp" / "one").mkdir(parents=True)
    (cache / "One-1.0.egg-tmp" / "one" / "stranger.py").touch()
    cache.chmod(0o775)
    result = subprocess.run(
        [released(python, release).python, "-c", REQUESTS, egg], cwd="/", capture_output=True, text=True, check=True,
        env=environment({"PYTHON_EGG_CACHE": str(cache)}),
    )  # fmt: skip
    warnings = [part.count("is writable by group/others") for part in result.stderr.split("---\n")]
    assert warnings == ([0, 0, 0, 0] if release == "0.6c11" else [0, 1, 0, 0])
    assert sorted(os.listdir(cache / "One-1.0.egg-tmp" / "one")) == ["data", "stranger.py"]


@pytest.mark.parametrize(("python", "release"), RELEASES)
def test_current_file_is_served_without_a_write(
    python: str,
    release: str,
    released: Callable[[str, str], Deployment],
    egg: Path,
    shared_tmp: Path,
    nobody: pwd.struct_passwd,
) -> None:
    """Each release serves a prepared cache and tries no write. Of a file whose bytes were changed, at the same size and
    time, 0.6c11 gives out what is there; the others want to extract it anew."""
    interpreter, cache = released(python, release).python, shared_tmp / "cache"
    result = eggcache("prepare", cache, "--all", "--path", egg, "--python", interpreter, "--user", "nobody")
    assert result.returncode == 0, result.stderr
    assert served(judge(interpreter, cache, [egg], nobody), cache) == 7
    changed = cache / f"{egg.name}-tmp" / "one" / "data" / "text.txt"
    before = changed.stat()
    changed.write_text("two\n")
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    verdict = judge(interpreter, cache, [egg], nobody)
    (answer,) = [answer for answer in verdict.answers if answer.verdict != "ok" and answer.kind == "file"]
    assert answer.name == "one/data/text.txt"
    assert answer.verdict.startswith("differs" if release == "0.6c11" else "ExtractionError: ")
    assert bool(verdict.attempts) == (release != "0.6c11")


ASKED = r"""
import sys
sys.path.insert(0, sys.argv[1])
import pkg_resources, one
for name in sys.argv[2:]:
    try:
        pkg_resources.resource_filename("one", name)
        print("served")
    except pkg_resources.ExtractionError:
        print("ExtractionError")
"""


@pytest.mark.parametrize(("python", "release"), RELEASES)
def test_one_request_may_be_for_many_files(
    python: str,
    release: str,
    released: Callable[[str, str], Deployment],
    shared_tmp: Path,
    nobody: pwd.struct_passwd,
) -> None:
    """Who asks for a directory asks for all that is below it, and who asks for one eager resource, for all on the list:
    where another file is the only one that a prepared cache lacks, the request is an attempt to write."""
    interpreter, cache = released(python, release).python, shared_tmp / "cache"
    files = {"one/__init__.py": "", "one/data/a.txt": "", "one/data/b/c.txt": "", "one/x.txt": "", "one/y.txt": ""}
    egg = write_egg(shared_tmp / "One-1.0.egg", {**files, "EGG-INFO/eager_resources.txt": "one/x.txt\none/y.txt\n"})
    result = eggcache("prepare", cache, "--all", "--path", egg, "--python", interpreter, "--user", "nobody")
    assert result.returncode == 0, result.stderr
    names = ["data/a.txt", "data", "x.txt"]
    command = [str(interpreter), "-B", "-W", "ignore", "-c", ASKED, str(egg), *names]
    env = environment({"PYTHON_EGG_CACHE": str(cache)})
    result, attempts = watched(command, nobody, env=env)
    assert (result.stdout.split(), attempts) == (["served"] * 3, [])
    for other in ("data/b/c.txt", "y.txt"):
        (cache / "One-1.0.egg-tmp" / "one" / other).unlink()
    result, attempts = watched(command, nobody, env=env)
    assert result.stdout.split() == ["served", "ExtractionError", "ExtractionError"]
    assert len(attempts) >= 2


READ = r"""
import os, sys
sys.path.insert(0, sys.argv[1])
import pkg_resources
name = b"\xc3\xb1.txt" if sys.version_info[0] < 3 else "\xf1.txt"
os.write(1, open(pkg_resources.resource_filename("one", name), "rb").read())
"""


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("flag", [0, 0x800], ids=["unflagged", "flagged"])
@pytest.mark.parametrize(("python", "release"), [("2.7", "44.1.1"), ("3.11", "65.5.0")])
def test_name_outside_of_ascii_fails_under_one_of_two_pythons(
    python: str,
    release: str,
    flag: int,
    locale: str,
    released: Callable[[str, str], Deployment],
    shared_tmp: Path,
    nobody: pwd.struct_passwd,
) -> None:
    """A file with a name outside of ASCII, and its directory, are not given out from a cache by Python 2 where the zip
    says that names are UTF-8, and not by Python 3 where it does not; a finding says so, and unzipped both find it."""
    interpreter, cache = released(python, release).python, shared_tmp / "cache"
    name = Entry("one/\xf1.txt".encode(), b"n", both={"flags": flag})
    egg = make(shared_tmp / "One-1.0.egg", Entry(b"one/__init__.py"), Entry(b"one/plain.txt", b"p"), name)
    result = eggcache("prepare", cache, "--all", "--path", egg, "--python", interpreter, "--user", "nobody", "--json")
    told = [] if (python, flag) == ("2.7", 0) else ["unusual-names"]  # Python 2 gives that out in any locale
    assert [finding["code"] for finding in as_json(result)["findings"]] == told
    verdict = judge(interpreter, cache, [egg], nobody, env={"LC_ALL": locale})
    failed = [answer.name.isascii() and answer.name for answer in verdict.answers if answer.verdict != "ok"]
    assert failed == ([False, "one"] if (python == "2.7") == bool(flag) else [])
    result = eggcache("unzip-all", "--path", egg, "--python", interpreter, "One")
    assert (result.returncode, egg.is_dir()) == (0, True), result.stderr
    read = [interpreter, "-W", "ignore", "-B", "-c", READ, egg]
    assert subprocess.check_output(read, env=environment({"LC_ALL": locale}), cwd="/") == b"n"


PLACES = r"""
import os, sys
sys.path.insert(0, sys.argv[1])
import pkg_resources, one
answers = []
for directory, variables in eval(sys.stdin.read()):
    os.chdir(directory)
    for name in ("PYTHON_EGG_CACHE", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        path = os.path.abspath(pkg_resources.resource_filename("one", "data/text.txt"))
        answers.append(os.path.exists(path) and path)
    except pkg_resources.ExtractionError:
        answers.append("ExtractionError")
print(repr(answers))
"""


@pytest.mark.parametrize(("python", "release"), RELEASES)
def test_cache_is_where_the_page_says(
    python: str, release: str, released: Callable[[str, str], Deployment], egg: Path, shared_tmp: Path
) -> None:
    """PYTHON_EGG_CACHE is taken literally, from the working directory. Without it the cache is below the home, and from
    26.1 on below XDG_CACHE_HOME where that is set. An empty one counts as none from 26.1 on, and before literally."""
    home, here, there = (shared_tmp / name for name in ("home", "here", "there"))
    for directory in (home, here, there):
        directory.mkdir()
    old = release in ("0.6c11", "18.8.1")
    default = home / (".python-eggs" if old else ".cache/Python-Eggs")
    empty = {"0.6c11": here, "18.8.1": None}.get(release, default)
    expected: list[tuple[Path, dict[str, str], Path | None]] = [
        (here, {"PYTHON_EGG_CACHE": "~/eggs"}, here / "~" / "eggs"),
        (here, {"PYTHON_EGG_CACHE": "eggs"}, here / "eggs"),
        (there, {"PYTHON_EGG_CACHE": "eggs"}, there / "eggs"),
        (there, {}, default),
        (there, {"XDG_CACHE_HOME": str(shared_tmp / "xdg")}, default if old else shared_tmp / "xdg" / "Python-Eggs"),
        (here, {"PYTHON_EGG_CACHE": ""}, empty),
    ]
    result = subprocess.run(
        [released(python, release).python, "-W", "ignore", "-c", PLACES, egg], cwd="/", check=True, text=True,
        input=repr([(str(directory), variables) for directory, variables, _ in expected]), stdout=subprocess.PIPE,
        env=environment({"HOME": str(home)}),
    )  # fmt: skip
    paths = [place / "One-1.0.egg-tmp/one/data/text.txt" if place else "ExtractionError" for *_, place in expected]
    assert eval(result.stdout) == list(map(str, paths))
