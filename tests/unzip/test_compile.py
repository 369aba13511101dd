"""inside/compile.py, in real interpreters: as many processes as it is told, one result, and nobody left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eggcache.errors import EggcacheError
from eggcache.system import accounts
from eggcache.system.accounts import Account
from eggcache.target import script_run
from eggcache.target.code_owners import RootAlone
from eggcache.target.interpreter import Target
from eggcache.target.launch import Launch

FILES = 24


@pytest.fixture(params=["2.7", "3.6", "3.13"])
def python(request: pytest.FixtureRequest, interpreter: Callable[[str], Path]) -> str:
    return str(interpreter(request.param))


@pytest.fixture
def stage(shared_tmp: Path) -> Path:
    """Two eggs in a stage: modules of very different sizes, one template, one that is no Python at all."""
    for egg in ("One.egg", "Two.egg"):
        package = shared_tmp / "stage" / egg / "package"
        package.mkdir(parents=True)
        for number in range(FILES):
            (package / f"m{number}.py").write_text(f"value = {number}\n" * (1 + number**2))
        (package / "template.py").write_text("{% if %}\n")
        (package / "rubbish.py").write_bytes(b"\0\xff\xfe")
    return shared_tmp / "stage"


def request_for(stage: Path, processes: int) -> dict[str, Any]:
    info = stage.stat()
    eggs = [
        [egg.name, f"/final/{egg.name}", sorted(str(path.relative_to(egg)) for path in egg.rglob("*.py"))]
        for egg in sorted(stage.iterdir())
    ]
    return {
        "stage": str(stage),
        "identity": [info.st_dev, info.st_ino],
        "library": [],
        "eggs": eggs,
        "processes": processes,
    }


def compile_(python: str, request: object, account: Account | None = None) -> object:
    return script_run.run(Launch(Target(python, account=account), "compile.py", request, flags=("-S",)))


def compiled(python: str, stage: Path, processes: int) -> dict[str, bytes]:
    """The byte code that so many processes wrote, by name; it is removed again."""
    said = compile_(python, request_for(stage, processes), RootAlone(*accounts.current()))
    assert said == {"trouble": ""}
    files = {}
    for path in stage.rglob("*.pyc"):
        files[str(path.relative_to(stage))] = path.read_bytes()
        path.unlink()
    return files


def test_same_byte_code(python: str, stage: Path) -> None:
    """However many processes share the work, every source that compiles is compiled, once, to the same bytes."""
    alone = compiled(python, stage, 1)
    assert len(alone) == 2 * FILES
    for processes in (2, 5, 200):
        assert compiled(python, stage, processes) == alone


@pytest.fixture
def slow(stage: Path, interpreter: Callable[[str], Path]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A target that has two processes at work on sources that take minutes: the run that asked, and the target."""
    for egg in stage.iterdir():
        for number in range(20):
            (egg / "package" / f"slow{number}.py").write_text("x = [" + "(1, 2.5, 'a', b)," * 200_000 + "]\n")
    asking = (
        "import sys, json, signal; sys.path.insert(0, sys.argv[1])\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # tests that run in the background ignore it
        "from eggcache import Target; from eggcache.target import launch, script_run\n"
        "launched = launch.Launch(Target(sys.argv[2]), 'compile.py', json.loads(sys.argv[3]), flags=('-S',))\n"
        "print(script_run.run(launched, timeout=600))\n"
    )
    wanted = json.dumps(request_for(stage, 2))
    command = [sys.executable, "-c", asking, str(Path(script_run.__file__).parents[2])]
    asker = subprocess.Popen([*command, str(interpreter("3.11")), wanted], stdout=-1, stderr=-1, text=True)
    pids: list[int] = []
    until = time.monotonic() + 60
    while len(pids) < 3 and time.monotonic() < until:
        time.sleep(0.02)
        pids = below(asker.pid)
    assert len(pids) == 3, "the target, and its two processes"
    yield asker, pids[0]
    asker.kill()
    asker.wait()
    for stream in filter(None, (asker.stdout, asker.stderr)):
        stream.close()


def below(process: int) -> list[int]:
    """The descendants of a process that are at work, parents first."""
    pids = []
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        pids += [int(child), *below(int(child))]
    return pids


def gone(processes: list[int]) -> bool:
    """Whether all of them have ended, within a few seconds: the longest that one file takes."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if not any(alive(process) for process in processes):
            return True
        time.sleep(0.05)
    return False


def alive(process: int) -> bool:
    """Whether it could still write: one that is ending has closed its files before it is gone."""
    try:
        return os.listdir(f"/proc/{process}/fd") != []
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_one_of_the_processes_ends(slow: tuple[subprocess.Popen[str], int]) -> None:
    """A process that is killed, for want of memory perhaps, is a failure, and the others end with it."""
    asker, main = slow
    workers = below(main)
    os.kill(workers[0], signal.SIGKILL)
    output, errors = asker.communicate(timeout=60)
    assert (output, errors) == ("{'trouble': 'one of its processes ended before it was done'}\n", "")
    assert gone(workers)


def test_the_trouble_is_told(stage: Path, interpreter: Callable[[str], Path]) -> None:
    """What one of the processes cannot write is named, by the path that it is going to have."""
    wrapper = stage.parent / "python"
    real = interpreter("3.11")
    wrapper.write_text(f'#!/bin/bash\nulimit -f 0; trap "" XFSZ\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    said = compile_(str(wrapper), request_for(stage, 3), RootAlone(*accounts.current()))
    assert isinstance(said, dict)
    assert said["trouble"].startswith("/final/")
    assert said["trouble"].endswith(".py: File too large")


def test_another_directory_is_refused(python: str, stage: Path) -> None:
    """Nothing is compiled where somebody put another directory in the place of the stage."""
    wanted = request_for(stage, 2)
    stage.rename(stage.parent / "moved")
    stage.mkdir()
    said = compile_(python, wanted)
    assert said == {"trouble": f"somebody put another directory in the place of {stage}"}
    assert list(stage.parent.rglob("*.pyc")) == []


def test_without_more_processes(stage: Path, interpreter: Callable[[str], Path], shared_tmp: Path) -> None:
    """Where the user may start no more processes, the target does all of it itself."""
    wrapper = shared_tmp / "python"
    wrapper.write_text(
        f"#!{interpreter('3.11')}\n"
        "import os, sys\n"
        "def fork(): raise BlockingIOError(11, 'no more')\n"
        "os.fork = fork\n"
        "sys.argv = ['-', sys.argv[-1]]\n"
        "exec(sys.stdin.read())\n"
    )
    wrapper.chmod(0o755)
    assert len(compiled(str(wrapper), stage, 4)) == 2 * FILES


def test_the_run_that_asked_is_killed(slow: tuple[subprocess.Popen[str], int]) -> None:
    """With the run that asked, the target and all its processes end, each after its file."""
    asker, main = slow
    everybody = [main, *below(main)]
    asker.kill()
    assert gone(everybody)


def test_the_target_is_killed(slow: tuple[subprocess.Popen[str], int]) -> None:
    """Where the target itself is killed, the run fails, and nobody is left behind."""
    asker, main = slow
    workers = below(main)
    os.kill(main, signal.SIGKILL)
    _, errors = asker.communicate(timeout=60)
    assert EggcacheError.__name__ in errors
    assert "ended before it answered" in errors
    assert gone(workers)


def test_the_run_that_asked_is_terminated(slow: tuple[subprocess.Popen[str], int]) -> None:
    """SIGINT, as a signal handler's exception, ends all of them before the run itself ends."""
    asker, main = slow
    workers = below(main)
    asker.send_signal(signal.SIGINT)
    asker.communicate(timeout=60)
    assert not any(alive(process) for process in [main, *workers])
