"""The registry of findings, the source that makes them and the page that explains them are in step."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from support import ROOT

from eggcache import explanations

SOURCES = [path for path in (ROOT / "eggcache").rglob("*.py") if path.parent.name != "explanations"]


def made(path: Path) -> set[str]:
    """The codes of the findings that a module makes by name, by Finding("code", …) or its own finding("code", …)."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in ("Finding", "finding")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


def strings(path: Path) -> set[str]:
    """Every string in a module: some codes are collected before they become findings."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_finding_is_explained() -> None:
    """What the source makes is in the registry, whole."""
    codes = set().union(*map(made, SOURCES))
    assert len(codes) > 30
    assert codes - explanations.by_code().keys() == set()
    for explanation in explanations.by_code().values():
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", explanation.code)
        assert all(text.endswith(".") for text in (explanation.means, explanation.happens, explanation.remedy)), (
            explanation.code
        )


def test_every_explanation_is_used() -> None:
    """What the registry explains is made somewhere, and is in it once."""
    codes = Counter(explanation.code for _, section in explanations.SECTIONS for explanation in section)
    assert [code for code, times in codes.items() if times > 1] == []
    assert codes.keys() - set().union(*map(strings, SOURCES)) == set()


def test_reference_explains_every_finding() -> None:
    """The reference explains every finding, as it is in the registry."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "explanations"), "--check"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
    reference = (ROOT / "docs" / "reference" / "findings.rst").read_text(encoding="utf-8")
    assert {code for code in explanations.by_code() if f"\n\n``{code}``\n" not in reference} == set()


def test_every_finding_of_a_check_is_provoked() -> None:
    """tests/proof/test_check.py, or another test, speaks of every code."""
    text = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path.name != Path(__file__).name)
    assert {code for code in explanations.by_code() if code not in text} == set()


def test_each_script_that_the_pages_name_is_there() -> None:
    """What a page has somebody run to see a surprise of other software, findings/NAME.sh, is there and can be run."""
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.rst"))
    names = set(re.findall(r"findings/[\w.-]+\.sh", pages))
    assert len(names) > 1
    assert [name for name in names if not os.access(ROOT / name, os.X_OK)] == []
