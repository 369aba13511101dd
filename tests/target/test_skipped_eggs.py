"""skipped: eggs that the target passes over in silence are named by every command that was asked for all of them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
from support.deployment import Deployment
from support.judge import as_json, eggcache
from support.sites import write_egg

from eggcache.model import DEFAULT_LIMITS
from eggcache.progress import Progress
from eggcache.system import accounts
from eggcache.target import resolver, skipped_eggs
from eggcache.target.interpreter import EVERYTHING, Target


@pytest.fixture(params=[("2.7", "0.6c11"), ("3.11", "65.5.0")], ids=" ".join)
def python(target: Callable[[str, str], Deployment], request: pytest.FixtureRequest) -> Path:
    """A target whose pkg_resources is old, or newer."""
    return target(*request.param).python


@pytest.fixture
def eggs(shared_tmp: Path) -> Path:
    """A whole egg, one that needs a project of which there is only half an egg, and that half."""
    at = shared_tmp / "eggs"
    at.mkdir()
    write_egg(at / "Whole-1.0.egg", {"whole.py": ""})
    write_egg(at / "Needs-1.0.egg", {"EGG-INFO/requires.txt": "Half_One\n", "needs.py": ""})
    half = write_egg(at / "half.one-1.0-py3.11.egg", {"half.py": "x = 1\n" * 1000}, project="half.one")
    os.truncate(half, half.stat().st_size // 2)
    return at


def commands(shared_tmp: Path) -> dict[str, list[str | Path]]:
    return {
        "prepare": ["prepare", shared_tmp / "cache"],
        "check": ["check", "--cache", shared_tmp / "cache"],
        "wheels": ["wheels", shared_tmp / "out"],
        "unzip-all": ["unzip-all"],
    }


def test_half_an_egg(python: Path, eggs: Path, shared_tmp: Path) -> None:
    """Half an egg is named, of all that is on the path and of a tree that lacks its project; a tree that does not need
    it is none of its business; and everything else is done."""
    for asked, named in ((["--all"], True), (["Needs"], True), (["Whole"], False)):
        for words in commands(shared_tmp).values():
            result = eggcache(
                *words, *asked, "--path", eggs, "--python", python, "--json", env={"PYTHONPATH": str(eggs)}
            )
            half = [
                finding
                for finding in as_json(result)["findings"]
                if finding["thing"] == f"{eggs}/half.one-1.0-py3.11.egg"
            ]
            findings = [
                finding for finding in half if finding["code"] != "egg-other-python"
            ]  # which it is, too, for 2.7
            assert [finding["code"] for finding in findings] == (["egg-refused"] if named else []), (words, asked)
            assert all(finding["cause"].startswith("truncated: ") for finding in findings)
    assert (eggs / "Whole-1.0.egg").is_dir()
    assert (eggs / "half.one-1.0-py3.11.egg").is_file()
    assert list((shared_tmp / "cache").glob("Whole*"))
    assert list((shared_tmp / "out").glob("whole*"))


def test_egg_that_cannot_be_read(python: Path, eggs: Path, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """Of another user's eggs, those that he cannot read himself are named with what is in the way."""
    for name in os.listdir(eggs):
        os.chown(eggs / name, nobody.pw_uid, -1)
    os.chown(eggs, nobody.pw_uid, -1)
    (eggs / "half.one-1.0-py3.11.egg").unlink()
    closed = eggs / "Whole-1.0.egg"
    os.chown(closed, 0, 0)
    closed.chmod(0o600)
    words = commands(shared_tmp)["wheels"]
    result = eggcache(*words, "--all", "--path", eggs, "--python", python, "--json")
    assert result.returncode == 4
    findings = [finding for finding in as_json(result)["findings"] if finding["thing"] == str(closed)]
    assert [(finding["code"], finding["status"]) for finding in findings] == [("egg-unreadable", 4)]
    assert "mode 0600" in findings[0]["cause"]


def test_refused_egg_is_told_of_once(python: Path, eggs: Path, shared_tmp: Path) -> None:
    """An egg that is refused is told of once, whichever name its directory has."""
    (shared_tmp / "link").symlink_to(eggs)
    egg = write_egg(eggs / "Twice-1.0.egg", {"twice.py": "x = 1\n" * 1000})
    data = bytearray(egg.read_bytes())
    data[data.index(b"twice.py") - 16] ^= 0xFF  # in the local header, which zipimport does not compare
    egg.write_bytes(data)
    for words in commands(shared_tmp).values():
        result = eggcache(
            *words,
            "--all",
            "--path",
            shared_tmp / "link",
            "--path",
            eggs,
            "--python",
            python,
            "--json",
            env={"PYTHONPATH": str(eggs)},
        )
        findings = [finding["code"] for finding in as_json(result)["findings"] if "Twice-1.0.egg" in finding["thing"]]
        assert findings.count("egg-refused") == 1, (words, findings)


@pytest.mark.parametrize("most", ["_LOOKS", "_FINDINGS"])
def test_look_at_what_nobody_asked_for_is_bounded(
    python: Path, eggs: Path, monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    """Of what nobody asked for no more is looked at, and told, than has a use."""
    (eggs / "half.two-1.0-py3.11.egg").write_bytes(b"half")
    tree = resolver.resolve(Target(str(python), [str(eggs)]), EVERYTHING)
    for count in (2, 1):
        monkeypatch.setattr(skipped_eggs, most, count)
        assert len(list(skipped_eggs.findings(tree, accounts.current(), DEFAULT_LIMITS, Progress()))) == count
