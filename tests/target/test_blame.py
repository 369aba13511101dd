"""Why a target cannot be asked: what is to blame is named, and what the message says to do about it helps."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import deployment
from support.deployment import Deployment
from support.judge import eggcache, environment
from support.sites import write_egg

from eggcache.target import script_run as targets


def told(python: Path, *more: str | Path) -> str:
    """The one line in which `tree` says why it cannot ask that Python."""
    result = eggcache("tree", "--all", "--python", python, *more)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (result.returncode or 1, "", 1)
    return result.stderr


def test_metadata_that_is_not_utf_8(target: Callable[[str, str], Deployment]) -> None:
    """The egg-info that keeps pkg_resources from being imported is named, and written as UTF-8 it does not any more."""
    made = target("3.6", "18.8.1")
    info = made.site_packages / "rpl.egg-info"
    info.write_bytes("Metadata-Version: 1.0\nName: rpl\nAuthor: G\xf6ran\nVersion: 1.5.5\n".encode("latin-1"))
    line = told(made.python)
    assert line.startswith(f"eggcache: {info}: it keeps {made.python} from importing its pkg_resources: 'utf-8' codec")
    assert "as UTF-8" in line
    assert "setuptools" not in line
    info.write_text(info.read_text("latin-1"), "utf-8")
    assert eggcache("tree", "rpl", "--python", made.python).returncode == 0


@pytest.mark.parametrize(("version", "release"), [("2.7", "44.1.1"), ("3.6", "18.8.1")])
def test_namespace_package_that_fails(target: Callable[[str, str], Deployment], version: str, release: str) -> None:
    """The module of a namespace package that pkg_resources imports, and that fails, is named with its egg."""
    made = target(version, release)
    egg = write_egg(
        made.site_packages / f"Space-1.0-py{version}.egg",
        {"EGG-INFO/namespace_packages.txt": "space\n", "space/__init__.py": "import not_there\n"},
    )
    (made.site_packages / "easy-install.pth").write_text(f"./{egg.name}\n")
    # as setuptools writes it for what is installed unzipped, of the same namespace
    (made.site_packages / "Other-1.0-nspkg.pth").write_text(
        "import sys, types; sys.modules.setdefault('space', types.ModuleType('space')).__path__ = []\n"
    )
    line = told(made.python)
    assert line.startswith(f"eggcache: {egg}/space/__init__.py: it keeps {made.python} from importing")
    assert "not_there" in line
    assert "install what it needs" in line
    (made.site_packages / "not_there.py").touch()
    assert eggcache("tree", "Space", "--python", made.python).returncode == 0


def test_pkg_resources_that_fails_itself(own: Deployment) -> None:
    """A pkg_resources that is damaged, or was taken away though setuptools counts as installed, is installed anew by a
    command that has pip do so in both cases."""
    init = own.site_packages / "pkg_resources" / "__init__.py"
    init.write_text("import no_such_part\n")
    pip = f'{own.python} -m pip install --force-reinstall "setuptools<82"'
    for line in (told(own.python), _taken_away(init, own.python)):
        assert line.startswith(f"eggcache: {own.python}: ")
        assert pip in line
    assert "--force-reinstall" in shlex.split(pip)


def test_pkg_resources_that_another_package_took_away(target: Callable[[str, str], Deployment]) -> None:
    """What is said to do where pkg-resources-backport was installed over setuptools' and taken away, as it stands,
    brings pkg_resources back."""
    made = target("3.11", "81.0.0")
    pip = deployment.fetch_all(deployment.downloads(use="pip-3.11"))[0]
    index = made.root / "index"
    index.mkdir()
    setuptools, backport = (
        next(pin for pin in deployment.downloads() if pin.filename.startswith(name))
        for name in ("setuptools-81.0.0-", "pkg_resources_backport-")
    )
    for file in deployment.fetch_all([setuptools, backport]):
        shutil.copy(file, index)
    offline = environment({"PYTHONPATH": str(pip), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)})
    for words in (["install", "pkg-resources-backport"], ["uninstall", "-y", "pkg-resources-backport"]):
        subprocess.run([made.python, "-m", "pip", "-q", *words], env=offline, check=True)
    remedy = re.search("(?:install one|install it anew): ([^;\n]+)", told(made.python))
    assert remedy
    subprocess.run(["sh", "-c", remedy[1]], env=offline, stdout=subprocess.PIPE, check=True)
    assert eggcache("tree", "setuptools", "--python", made.python).returncode == 0


def _taken_away(init: Path, python: Path) -> str:
    init.parent.rename(init.parent.with_name("taken"))
    return told(python)


def test_what_is_no_interpreter(python: Path, shared_tmp: Path) -> None:
    """A directory that is no environment and a script of some Python are told as what they are."""
    cause = "it is a directory without a bin/python"
    assert f"{shared_tmp}: {cause}; name the interpreter that Apache runs" in told(shared_tmp)
    for directory in (python.parent, python.parent.parent):  # an environment's, and the environment
        said = json.loads(eggcache("tree", "--python", directory, "--json").stdout)
        assert said["interpreter"]["executable"] == str(python)
    script = shared_tmp / "app"
    script.write_text(f"#!{python}\nimport sys\nsys.exit('usage: app')\n")
    script.chmod(0o755)
    line = told(script)
    assert (
        f"{script}: is no Python, but a script that {python} runs; name the interpreter itself: --python {python}"
        in line
    )
    wrapper = shared_tmp / "python"  # as buildout writes them: a script, and a Python all the same
    wrapper.write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    wrapper.chmod(0o755)
    assert eggcache("tree", "--all", "--python", wrapper).returncode == 0


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ("chmod: invalid mode: '-'\nTry 'chmod --help' for more information.", "chmod: invalid mode: '-'"),
        (
            "pyenv: python2.6: command not found\n\nThe command exists in these versions:\n  2.7.18",
            "pyenv: python2.6: command",
        ),
        ("a\nFatal Python error: no codec\nPython runtime state: x\n<no Python frame>", "Fatal Python error: no codec"),
        ("Traceback (most recent call last):\n  File x\nImportError: no site\n", "ImportError: no site"),
    ],
)
def test_cause_of_what_ends_early(shared_tmp: Path, lines: str, cause: str) -> None:
    """Of what a program says the line is quoted that has the cause, not the one that says how it is used."""
    program = shared_tmp / "program"
    program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{lines}\nEND\nexit 1\n")
    program.chmod(0o755)
    line = told(program)
    assert f"runs: {cause}" in line


def test_last_words_of_a_python() -> None:
    """Of a Python that has come to run our script, the last line is quoted: what it printed before were warnings."""
    talk = targets._Conversation(output={2: bytearray(b"a warning\nMemoryError\n")})
    assert (talk.words(python=True), talk.words(python=False)) == ("MemoryError", "a warning")
