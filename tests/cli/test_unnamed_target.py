"""eggcache's own environment is no target that nobody asked for; an application's, in which eggcache lies, is one."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support import ROOT
from support.judge import eggcache, environment
from support.namespaces import namespace
from support.sites import Site, write_egg

from eggcache.cli import unnamed_target
from eggcache.servers import apache_configuration
from eggcache.servers.apache_configuration import Configuration
from eggcache.system import accounts

TAG = f"py{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def environment_of_its_own(shared_tmp: Path) -> Path:
    """The Python of a new virtual environment, which finds eggcache by PYTHONPATH."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", shared_tmp / "venv"], check=True)
    return shared_tmp / "venv" / "bin" / "python"


def run(python: Path, *words: str | Path, active: str = "") -> subprocess.CompletedProcess[str]:
    """How the eggcache in the environment of `python` ended."""
    around = environment({"PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}", "VIRTUAL_ENV": active})
    return subprocess.run(
        [python, "-m", "eggcache", *words], env=around, cwd="/", capture_output=True, text=True, check=False
    )


def test_no_target(environment_of_its_own: Path) -> None:
    """Without a Python that anybody named, commands do nothing, exit 2; nor is one named by an activated eggcache."""
    home = environment_of_its_own.parent.parent
    for words, active in (
        (("tree",), str(home)),
        (("check", "Shop"), ""),
        (("prepare", "/not/there/cache", "--path", "/srv"), ""),
        (("wrapper", "/not/there/cache", "--for", "shell"), ""),
        (("archive", "/not/there/cache.tar"), str(home)),
    ):
        result = run(environment_of_its_own, *words, active=active)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
        assert f"the environment of eggcache itself, {home}, has no egg" in result.stderr


def test_beside_the_application(environment_of_its_own: Path, shared_tmp: Path) -> None:
    """Where eggcache is installed beside eggs, no command needs --python, and a wrapper carries it."""
    (packages,) = (environment_of_its_own.parent.parent / "lib").glob("python*/site-packages")
    egg = write_egg(packages / f"Shop-1.0-{TAG}.egg", {"shop/__init__.py": "", "shop/data.txt": "x"})
    (packages / "easy-install.pth").write_text(f"./{egg.name}\n")
    made = run(environment_of_its_own, "prepare", shared_tmp / "cache", "--user", accounts.current().name)
    assert (made.returncode, made.stdout.partition(":")[0]) == (0, f"1 egg made in {shared_tmp}/cache"), made.stderr
    emitted = run(environment_of_its_own, "wrapper", shared_tmp / "new", "--for", "shell")
    assert f"--python {environment_of_its_own}" in emitted.stdout


def test_what_eggcache_requires_is_no_application(environment_of_its_own: Path, shared_tmp: Path) -> None:
    """A REQ that each environment with eggcache has, directly or by another's need, makes no target of it; nor does an
    egg, or what lies beside it, that PYTHONPATH alone names."""
    for name in ("filelock", "Rich", "Pygments>=2", "markdown_it-py", "eggcache"):
        result = run(environment_of_its_own, "check", name)
        assert (result.returncode, result.stdout, "has no egg" in result.stderr) == (2, "", True), result.stderr
    (packages,) = (environment_of_its_own.parent.parent / "lib").glob("python*/site-packages")
    elsewhere = write_egg(shared_tmp / f"Shop-1.0-{TAG}.egg", {"shop.py": ""})
    around = environment({"PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}:{elsewhere}"})
    ask = "from eggcache.cli import unnamed_target as u; print(bool(u.own_python()), bool(u.own_python(['Shop'])))"

    def asked() -> str:
        words = [environment_of_its_own, "-c", ask]
        return subprocess.run(words, env=around, cwd="/", capture_output=True, text=True, check=True).stdout

    assert asked() == "False False\n"
    (packages / "Shop-1.0.dist-info").mkdir()
    (packages / "Shop-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: Shop\nVersion: 1.0\n")
    assert asked() == "False True\n"
    (packages / "shop.pth").write_text(f"{shared_tmp}/Other-1.0-{TAG}.egg\n")
    write_egg(shared_tmp / f"Other-1.0-{TAG}.egg", {"other.py": ""})
    assert asked() == "True True\n"


def test_candidates_are_named(python: Path) -> None:
    """The error has the whole command again, with the Python on this host that has eggs, and as it was given."""
    home = "/srv/shop/lib/python2.7/site-packages/Kid-1.0-py2.7.egg"
    host = f"mount -t tmpfs none /srv\nmkdir -p /srv/shop/bin {home}\nln -s {python} /srv/shop/bin/python"
    result = namespace(host, "wrapper", "/x/cache", "--for", "shell", "--", "Two words")
    command = "eggcache wrapper --python /srv/shop/bin/python /x/cache --for shell -- 'Two words'"
    assert (result.returncode, command in result.stderr) == (2, True), result.stderr


def test_candidates_of_each_layout(shared_tmp: Path) -> None:
    """A virtual environment's Python is named as python, Debian's by its version, and eggs below /usr/local are of the
    Python of /usr."""
    for egg, program in {
        "srv/a/lib/python2.7/site-packages/Kid-1.0-py2.7.egg": "srv/a/bin/python",
        "opt/b/lib/python3.11/site-packages/Kid-1.0-py3.11.egg": "opt/b/bin/python3.11",
        "usr/local/lib/python2.7/dist-packages/Kid-1.0-py2.7.egg": "usr/bin/python2.7",
    }.items():
        (shared_tmp / egg).parent.mkdir(parents=True)
        (shared_tmp / egg).touch()
        (shared_tmp / program).parent.mkdir(parents=True, exist_ok=True)
        (shared_tmp / program).touch(0o755)
    paths = [path for path in unnamed_target.candidates(str(shared_tmp)) if path.startswith(str(shared_tmp))]
    assert sorted(os.path.relpath(path, shared_tmp) for path in paths) == [
        "opt/b/bin/python3.11",
        "srv/a/bin/python",
        "usr/bin/python2.7",
    ]


def test_what_apache_says(python: Path) -> None:
    """The Pythons of WSGIPythonHome and python-home are what Apache embeds."""
    home = python.parent.parent
    text = f"# In file: /x\n#   1:\nWSGIPythonHome {home}\n#   2:\nWSGIDaemonProcess a python-home={home}/none\n"
    told = Configuration(directives=tuple(apache_configuration.parse(text)))
    assert list(apache_configuration.pythons(told)) == [str(home / "bin" / "python")]


def test_a_path_is_no_requirement(site: Site) -> None:
    """A directory in the place of a REQ: check takes it for the cache, and other errors have the exact command."""
    assert site.prepare().returncode == 0
    assert "all current" in eggcache("check", site.cache).stdout
    none = eggcache("check", site.cache.parent / "none", *site.options)
    assert (none.returncode, "cache-missing" in none.stdout) == (3, True)
    twice = eggcache("check", site.eggs, "--cache", site.cache, "--python", site.python)
    assert (twice.returncode, f"eggcache check --path {site.eggs} --cache {site.cache}" in twice.stderr) == (2, True)
    for words, path in ((("tree",), site.cache), (("unzip-all", "-n"), site.eggs / "One-1.0-py3.11.egg")):
        result = eggcache(*words, path, "--python", site.python)
        option = "--cache" if path == site.cache else "--path"
        again = shlex.split(result.stderr.partition(": eggcache ")[2])
        assert (result.returncode, result.stderr.count("\n"), again[1:3]) == (2, 1, [option, str(path)])
        assert eggcache(*again).returncode == 0
    assert "name an egg, or a directory of eggs, by --path" in eggcache("tree", "/not/there").stderr


def test_a_closed_cache_tells_nobody_what_it_is_for(site: Site, checkout: Path) -> None:
    """Who may not open a cache is told that its receipt cannot say what it is for, before --python is asked for."""
    assert site.prepare().returncode == 0
    result = subprocess.run(
        [site.python, "-m", "eggcache", "check", "--cache", site.cache], env=environment({"PYTHONPATH": str(checkout)}),
        cwd="/", capture_output=True, text=True, check=False, user="daemon", group="daemon", extra_groups=[],
    )  # fmt: skip
    first_line = result.stderr.partition("\n")[0]
    assert first_line == f"eggcache: {site.cache}: this user may not open it, and so not read what it is for"
