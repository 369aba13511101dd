"""Documented sessions, typed in: each command of a console block is run, and each line of its output compared."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from support import ROOT
from support.judge import SLOW, environment

PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/bin"  # root's PATH
# Apache complains of a host without a name.
NOISE = re.compile(r"^AH00558: .*\n", re.MULTILINE)


def blocks(text: str, kind: str) -> list[str]:
    """The code blocks of one language, without their indentation."""
    texts = re.findall(rf"^\.\. code-block:: {kind}\n\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip() + "\n" for block in texts]


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, with the lines after "> " that belong to it, and what it should print; "..."
    stands for anything."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        first, *rest = part.splitlines(keepends=True)
        more = list(takewhile(lambda line: re.match(r">( |$)", line), rest))
        yield first.rstrip("\n") + "".join("\n" + line[2:].rstrip("\n") for line in more), "".join(rest[len(more) :])


def matches(expected: str, seen: str) -> bool:
    pattern = re.escape(expected).replace(re.escape("...\n"), r"(?:.*\n)*?").replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, seen) is not None


def installed(programs: Path) -> dict[str, str]:
    """Put eggcache into the directory `programs`, and return root's environment with it."""
    programs.mkdir()
    (programs / "eggcache").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m eggcache "$@"\n')
    (programs / "eggcache").chmod(0o755)
    return environment({"PATH": f"{programs}:{PROGRAMS}", "PYTHONPATH": str(ROOT)})


def play(
    console: Iterable[str],
    places: Mapping[str, str],
    env: dict[str, str],
    then: Callable[[str], object] = bool,
    inside: Sequence[str] = (),
) -> None:
    """Type in the commands of `console`, as root; `places` has what a shown path stands for.

    `then` is called after each command, with it. `inside` is a command that runs another one, elsewhere.
    """
    directory = "/"
    for command, expected in (step for block in console for step in steps(block)):
        typed = command
        for shown, real in places.items():
            typed = typed.replace(shown, real)
        if typed.startswith("export "):
            name, _, value = typed.removeprefix("export ").partition("=")
            env[name] = value.replace("$PATH", env["PATH"])
            continue
        if typed.startswith("cd "):
            directory = typed.removeprefix("cd ")
            continue
        result = subprocess.run(
            [*inside, "sh", "-c", f"cd {directory} || exit\n{typed}"], env=env, cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
        )  # fmt: skip
        seen = NOISE.sub("", SLOW.sub("", result.stdout))
        for shown, real in places.items():
            seen = seen.replace(real, shown)
        assert matches(expected, seen), f"{command}\n{seen}"
        then(command)
