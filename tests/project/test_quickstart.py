"""The README's first command, in a copy of the clone, as root and as anybody else."""

from __future__ import annotations

import ast
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from support import ROOT, clones, deployment
from support.judge import environment, listing
from support.namespaces import entered
from support.parts import missing


@pytest.fixture
def clone(shared_tmp: Path) -> Path:
    """What a user has after `git clone`."""
    return clones.clone(shared_tmp / "clone")


# A step that takes long: what begins one, as strace writes it, and what is said before; dots follow while it goes on.
BEGINS = re.compile(r'^\d+ +execve\("[^"]*/(?:python[\d.]*", .*"(?:venv|pip|bdist_egg|[^"]*setup\.py)"|g?cc", )')
ANNOUNCED = re.compile(r"^\w.* \.\.\. \.*\Z", re.MULTILINE)


def quickstart(command: Sequence[str | Path], env: Mapping[str, str], output: Path, user: str | None = None) -> str:
    """What it printed, which is in the file `output` while it goes on."""
    with output.open("wb") as file:
        completed = subprocess.run(
            command, env=dict(env), cwd="/", user=user, group=user and "nogroup", stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    assert completed.returncode == 0, output.read_text()
    return output.read_text()


def unannounced(trace: str, output: Path) -> list[str]:
    """The steps that began while the last that was printed was no announcement. `trace` has each program that began,
    and each write, in order."""
    printed, silent, announced = "", [], 0
    for line in trace.splitlines():
        if write := re.match(rf'\d+ +write\(\d+<{re.escape(str(output))}>, ("(?:[^"\\]|\\.)*")', line):
            printed += ast.literal_eval(f"b{write[1]}").decode()
        elif BEGINS.match(line):
            announced += 1
            silent += [] if ANNOUNCED.search(printed) else [line]
    assert printed == output.read_text()
    assert announced > 3, trace
    return silent


def told(output: str) -> None:
    """The whole story is in the output, in its order."""
    position = 0
    for part in (
        "$ eggcache tree",
        "zipped egg",
        "ExtractionError",
        "$ eggcache prepare",
        "egg-cache",
        "Nothing was written",
        "== Next",
        "$ eggcache wrapper /var/cache/eggcache",
        "To undo it: rm -r ",
    ):
        place = output.find(part, position)
        assert place >= 0, f"{part!r} does not come where it should:\n{output}"
        position = place
    assert not re.search(r"(?<!user )\bnobody (can|asks)\b", output), "nobody is somebody"


def test_quickstart_shows_error_and_cure_on_turbogears_1(
    clone: Path, turbogears1: deployment.Deployment, nobody: pwd.struct_passwd
) -> None:
    """It shows the tree, the error, the cure and the wrapper, on TurboGears 1.1.3, in the clone of a user who has tried
    it before and whose directory is left alone; a second time, too, and nothing is left over but what it names."""
    var_cache = clone.parent / "var-cache"  # its own: whoever tried the quickstart on this host keeps what it made
    var_cache.mkdir()
    command = entered(f"mount --bind {shlex.quote(str(var_cache))} /var/cache", str(clone / "scripts" / "quickstart"))
    temporary = clone.parent / "tmp"  # its own: other tests make theirs in /tmp at the same time
    temporary.mkdir()
    temporary.chmod(0o1777)
    env = {name: value for name, value in os.environ.items() if not name.startswith("EGGCACHE_TESTS")}
    (clone / "quickstart" / "venv").mkdir(parents=True)
    (clone / "quickstart" / "packages").write_text("python3-theirs\n")
    for path in (clone, *clone.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    before = listing(clone)
    own = clone / "quickstart-root" / "deployment"
    own.mkdir(parents=True)
    deployment.copy(turbogears1, own / "turbogears1")  # what the quickstart builds; the other test has it build its own
    (own / ".turbogears1.complete").touch()
    env["TMPDIR"] = str(temporary)
    output, seen, strace = clone.parent / "output", clone.parent / "seen", clone.parent / "bin" / "strace"
    if not shutil.which("strace"):
        missing("strace is not installed")
    strace.parent.mkdir()  # it begins with a copy of what was printed before
    strace.write_text(f'#!/bin/sh\ncp {output} {seen}\nexec {shutil.which("strace")} "$@"\n')
    strace.chmod(0o755)
    env["PATH"] = f"{strace.parent}:{env['PATH']}"
    first = quickstart(command, env, output)
    assert re.search(r"^Once more, with strace looking on \.\.\. \.*\Z", seen.read_text(), re.MULTILINE)
    told(first)
    assert "TurboGears 1.1.3" in first
    assert "missing" in first
    prepared = listing(var_cache / "eggcache-quickstart" / "egg-cache")
    (own.parent / "packages").write_text("python3.11-venv\npython3-venv\npython3-venv\n")  # as two that installed it
    downloaded = deployment.download_cache()
    second = quickstart(command, {**env, "XDG_CACHE_HOME": str(clone.parent / "no such")}, output)
    told(second)
    assert listing(var_cache / "eggcache-quickstart" / "egg-cache") == prepared
    undo = f"\nTo undo it: rm -r {clone}/quickstart-root /var/cache/eggcache-quickstart\n"
    downloads = f"and what it downloaded, which the tests of eggcache use as well: rm -r {downloaded}\n"
    assert first.endswith(undo + downloads)
    # No directory that is not there is to be removed.
    assert second.endswith(f"{undo}and: apt-get remove python3.11-venv python3-venv\n")
    assert sorted(os.listdir(var_cache / "eggcache-quickstart")) == ["clone", "egg-cache"]
    assert "python3-theirs" not in second
    assert {path.stat().st_uid for path in (clone / "quickstart-root", clone / "quickstart-root" / "venv")} == {0}
    shutil.rmtree(clone / "quickstart-root")
    after = listing(clone)
    before.pop(str(clone)), after.pop(str(clone))  # whose times are others
    assert after == before
    assert os.listdir(temporary) == []


def test_quickstart_runs_without_root(clone: Path, nobody: pwd.struct_passwd) -> None:
    """Without root, and with no Python but the system's, it does the same with TurboGears2 and its own rights; after
    root as well, whose directory is left alone."""
    if not os.access("/usr/bin/python3", os.X_OK):
        missing("there is no /usr/bin/python3 that everybody can run")
    if not shutil.which("strace"):
        missing("strace is not installed")
    downloads = clone.parent / "downloads"
    shutil.copytree(deployment.download_cache(), downloads)
    for top, _, files in os.walk(clone.parent):
        for path in (top, *(os.path.join(top, name) for name in files)):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    (clone / "quickstart").mkdir()  # root's
    own_values = {"HOME": str(clone.parent), "EGGCACHE_DOWNLOADS": str(downloads), "PYTHON": "/usr/bin/python3"}
    env = environment({**clones.reaching_the_index(), **own_values})
    trace, file = clone.parent / "trace", clone.parent / "output"
    tracing = ["strace", "-f", "-qq", "-y", "-s", "4096", "-e", "trace=execve,write", "-e", "signal=none", "-o", trace]
    output = quickstart([*tracing, clone / "scripts" / "quickstart"], env, file, user="nobody")
    told(output)
    assert unannounced(trace.read_text(errors="replace"), file) == []
    assert "TurboGears2" in output
    own = clone / "quickstart-nobody"
    assert (own / "egg-cache").stat().st_uid == nobody.pw_uid
    assert f"To undo it: rm -r {own}\nWhat it downloaded is in {downloads}, and stays.\n" in output
    steps = re.findall(r"^(\w+) .* \.\.\. \.*$", output, re.MULTILINE)
    assert steps[:4] == ["Making", "Installing", "Installing", "There"]
    assert os.listdir(clone / "quickstart") == []
    assert not (own / "deployment" / "unwritable").exists()  # rm -r would ask about it


def test_quickstart_gives_each_clone_of_roots_a_place_of_its_own(shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """Eggs of two clones have the same names and other dates: no cache serves both. A clone keeps its place, also where
    one before it is gone, and only that is to be removed; what somebody else has put there is left alone."""
    import walkthrough

    places = [shared_tmp / name for name in ("place", "place-2", "place-3", "place-4")]
    places[2].mkdir()
    os.chown(places[2], nobody.pw_uid, nobody.pw_gid)
    (places[2] / "clone").write_text(f"{shared_tmp}/c\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walkthrough, "ROOTS", places[0])
        chosen = [walkthrough.roots(shared_tmp / clone) for clone in "abcab"]
        assert chosen == [places[0], places[1], places[3], places[0], places[1]]
        assert walkthrough.undoing(shared_tmp / "b", None) == f"rm -r {shared_tmp}/b {places[1]}"
        (shared_tmp / "mine").mkdir()  # a cache's, or not: eggcache takes away what it made, and nothing else
        removing = f"{shared_tmp}/b/venv/bin/eggcache remove"
        for asked in (f"{shared_tmp}/mine", str(shared_tmp), "/"):
            undo = walkthrough.undoing(shared_tmp / "b", asked)
            assert undo == f"{removing} {asked}; rm -r {shared_tmp}/b {places[1]}"
        shutil.rmtree(places[0])
        assert walkthrough.roots(shared_tmp / "b") == places[1]


def interrupted(command: Sequence[str | Path], env: Mapping[str, str], text: str = "") -> subprocess.Popen[str]:
    """A command that gets what a terminal sends for Ctrl-C, with all that it has started, when it has printed `text`;
    "" where it does that itself."""
    process = subprocess.Popen(
        command, env=dict(env), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    printed = ""
    while text not in printed:
        printed += (more := process.stdout.read(1))
        assert more, f"it ended with {printed!r}"
    if text:
        os.killpg(process.pid, signal.SIGINT)
    return process


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it printed until it ended, which it is made to after a minute."""
    try:
        return process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        pytest.fail(f"it did not end: {output}{errors}")


def test_quickstart_interrupted(clone: Path) -> None:
    """Ctrl-C in any step ends it with exit status 130 and one line, which has what undoes it, and with no traceback of
    the programs that it ended."""
    ending = clone.parent / "python3"  # whose venv gets Ctrl-C, and says so in its way
    ending.write_text(
        f"#!{sys.executable}\nimport os, signal, sys, time\n"
        'if sys.argv[1:3] == ["-m", "venv"]:\n    os.killpg(0, signal.SIGINT)\n    time.sleep(60)\n'
    )
    ending.chmod(0o755)
    (clone / "quickstart").mkdir()
    undo = f"quickstart: interrupted: run it again and it goes on, or undo it: rm -r {clone}/quickstart"
    first = interrupted([clone / "scripts" / "quickstart"], environment({"PYTHON": str(ending)}))
    output, errors = ended(first)
    assert (first.returncode, errors.strip()) == (130, undo), output
    assert os.listdir(clone / "quickstart") == []
    own = clone / "quickstart"
    walk = [sys.executable, "-B", clone / "scripts" / "walkthrough.py", own, own / "egg-cache"]
    second = interrupted(walk, environment(), "uilding ")
    output, errors = ended(second)
    assert (second.returncode, errors.strip().splitlines()[-1]) == (130, undo), errors
    assert "Traceback" not in errors


def test_quickstart_names_the_packages_that_it_brings(clone: Path, shared_tmp: Path) -> None:
    """Where it installs python3-venv, the list for the end has that and what came with it, each that is new; what is
    upgraded with it stays. apt is Debian's own, which only says what it would do, of packages that are made up."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        missing("only root installs packages, with apt-get")
    apt = shared_tmp / "apt"
    for directory in ("repository", "lists/partial", "cache/archives/partial"):
        (apt / directory).mkdir(parents=True)
    offered = {"python3-venv": "python3.11-venv", "python3.11-venv": "python3.11 (= 2)", "python3.11": "libc6"}
    (apt / "repository" / "Packages").write_text(
        "".join(
            f"Package: {name}\nVersion: 2\nArchitecture: all\nDepends: {needed}\nFilename: {name}.deb\nSize: 1\n"
            f"SHA256: {'0' * 64}\n\n"
            for name, needed in offered.items()
        )
    )
    (apt / "status").write_text(
        "".join(
            f"Package: {name}\nStatus: install ok installed\nVersion: 1\nArchitecture: all\nMaintainer: nobody\n\n"
            for name in ("python3.11", "libc6")
        )
    )
    (apt / "sources").write_text(f"deb [trusted=yes] file:{apt}/repository ./\n")
    (apt / "configuration").write_text(
        f"""APT::Get::Simulate "true"; Dir::Etc::parts "/dev/null"; Dir::Etc::main "/dev/null";
        Dir::Etc::sourceparts "/dev/null"; Dir::Etc::sourcelist "{apt}/sources";
        Dir::State::lists "{apt}/lists"; Dir::State::status "{apt}/status";
        Dir::State::extended_states "{apt}/extended"; Dir::Cache "{apt}/cache";"""
    )
    python = apt / "python3"  # which cannot make environments, and ends the quickstart there
    python.write_text(f'#!/bin/sh\ncase "$*" in *venv*) exit 1 ;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    env = environment({"APT_CONFIG": f"{apt}/configuration", "PYTHON": str(python)})
    completed = subprocess.run(
        [clone / "scripts" / "quickstart"], env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert "python3.11 [1]" in completed.stdout, completed.stderr
    assert "Making a virtual environment" in completed.stdout, completed.stderr
    assert sorted((clone / "quickstart" / "packages").read_text().split()) == ["python3-venv", "python3.11-venv"]


def test_quickstart_says_what_it_does_before_it_does_it() -> None:
    """--help ends with exit status 0; an option that there is not, and a second DIR, with 2 and one line. None of them
    makes anything."""
    before = {path.name for path in ROOT.iterdir()}
    for words, status in ((["--help"], 0), (["--nonsense"], 2), (["one", "another"], 2)):
        result = subprocess.run([ROOT / "scripts" / "quickstart", *words], capture_output=True, text=True, check=False)
        assert (result.returncode, "quickstart" in result.stdout + result.stderr) == (status, True)
        assert result.stderr.count("\n") == (status != 0)
    assert {path.name for path in ROOT.iterdir()} == before


def test_quickstart_in_a_clone_that_its_user_cannot_write(clone: Path, nobody: pwd.struct_passwd) -> None:
    """A user without a home, in root's clone, is told so in one line; nothing is made."""
    before = {path.name for path in clone.iterdir()}
    completed = subprocess.run(
        [clone / "scripts" / "quickstart"], env={"PATH": os.defpath}, user=nobody.pw_uid, group=nobody.pw_gid,
        extra_groups=[], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (completed.returncode, completed.stderr.count("\n")) == (1, 1), completed.stderr
    assert f"{clone}: nobody cannot write there, nor below HOME (not set)" in completed.stderr
    assert {path.name for path in clone.iterdir()} == before
