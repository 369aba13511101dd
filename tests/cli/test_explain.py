"""explain, help and version: what somebody types who has a message, and no manual at hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.judge import eggcache, environment
from support.sites import write_egg
from support.terminals import show

from eggcache import explanations
from eggcache.cli import main


def test_what_a_message_ends_with_is_explained() -> None:
    """A code, in its brackets or without them, leads to all that the reference has of it, in lines of 80 columns."""
    printed = " ".join(eggcache("explain", *explanations.by_code()).stdout.split())
    for explanation in explanations.by_code().values():
        parts = (explanation.code, explanation.means, "What happens:", explanation.happens)
        assert f"{' '.join(parts)} What to do: {explanation.remedy}" in printed
    result = eggcache("explain", "[no-cache]", "member-outdated")
    assert [line for line in result.stdout.splitlines() if line[:1].strip()] == ["no-cache", "member-outdated"]
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_every_code_is_listed() -> None:
    """Without a code, each that there is has its line, below the part of a site that it is about."""
    lines = eggcache("explain").stdout.splitlines()
    assert [line.strip() for line in lines if line[:2] == "  " and line[2] != " "] == list(explanations.by_code())
    assert [line for line in lines if line[:1].strip()] == [title for title, _ in explanations.SECTIONS]


def test_unknown_code_is_refused_with_the_one_that_was_meant() -> None:
    """A code that there is not is a fault of the command line, with the one that was meant."""
    result = eggcache("explain", "member-outdate")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "eggcache: 'member-outdate': no finding has this code; did you mean member-outdated?\n"
    assert "eggcache explain lists" in eggcache("explain", "x" * 30).stderr


def test_explained_for_a_program() -> None:
    """--json has the same as fields."""
    (explanation,) = json.loads(eggcache("explain", "time-zone", "--json").stdout)["explanations"]
    known = explanations.by_code()["time-zone"]
    assert explanation == {
        "code": "time-zone", "means": known.means, "happens": known.happens, "remedy": known.remedy
    }  # fmt: skip


def test_who_sees_a_code_sees_what_explains_it(python: Path, shared_tmp: Path) -> None:
    """On a terminal, `check` ends with the command that explains the first code of harm that it has named; with -q,
    with nothing found, and in a log it has no such line."""
    egg = write_egg(shared_tmp / "One-1.0-py3.11.egg", {"one.py": ""})
    check = ["-m", "eggcache", "check", "--python", str(python), "--path", str(egg), "--user", "nobody", "--no-import"]

    def hint(*more: str, streams: Sequence[str] = ("stdin", "stdout", "stderr")) -> list[str]:
        shown = show([sys.executable, *check, *more], env=environment({"PYTHON_EGG_CACHE": ""}), streams=streams)
        assert "no-cache" in shown.terminal + shown.file or not shown.status
        return [line for line in (shown.terminal + shown.file).splitlines() if "explain" in line]

    (line,) = hint()
    command = line.removeprefix("eggcache: what a code means: ").split()
    assert command[:2] == ["eggcache", "explain"]
    assert eggcache(*command[1:]).stdout.startswith("no-cache\n")
    assert hint("-q") == hint(streams=("stdin", "stderr")) == hint("--json") == []
    assert hint(*(f"--ignore={code}" for code in explanations.by_code())) == []


@pytest.mark.parametrize("command", ["", *main.COMMANDS])
def test_help_leads_to_what_explains_a_code(command: str) -> None:
    """The help of each command that may name a code says what explains one."""
    told = eggcache(*([command] if command else []), "--help").stdout
    assert [len(line) <= 80 for line in told.splitlines() if "eggcache explain " in line][-1]


@pytest.mark.parametrize("command", ["", *main.COMMANDS])
def test_help_is_a_word_too(command: str) -> None:
    """`help COMMAND` is `COMMAND --help`."""
    words = [command] if command else []
    asked, told = eggcache("help", *words), eggcache(*words, "--help")
    assert (asked.returncode, asked.stdout) == (0, told.stdout)
    assert len(asked.stdout.splitlines()) > 8


def test_version_is_a_word_too() -> None:
    """`version` is --version, with -v as well."""
    for more in ([], ["-v"]):
        assert eggcache("version", *more).stdout == eggcache("--version", *more).stdout
