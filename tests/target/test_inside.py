"""The scripts that run inside a target: every Python from 2.4 on has to understand them."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT

from eggcache.target import launch

SCRIPTS = sorted((ROOT / "eggcache" / "target" / "inside").glob("*.py"))
VERSIONS = ("2.7", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")

NEWER_SYNTAX = (
    ast.With, ast.IfExp, ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.Set, ast.SetComp, ast.DictComp, ast.YieldFrom,
    ast.Nonlocal, ast.AsyncFunctionDef, ast.Await, ast.Starred, ast.MatMult,
)  # fmt: skip
NEWER_NAMES = ("any", "all", "next", "bytes", "bytearray", "memoryview", "print", "format", "property.setter")
NEWER_METHODS = ("partition", "rpartition", "format", "isidentifier", "isdisjoint", "casefold")
NEWER_MODULES = ("json", "hashlib", "functools", "contextlib", "ctypes", "argparse", "importlib", "io", "pathlib")


def beyond_2_4(tree: ast.AST) -> list[str]:
    """What a script uses that Python 2.4 has not, as far as its form tells."""
    found = []
    guarded = {
        part for node in ast.walk(tree) if isinstance(node, ast.Try) and _meets_absence(node) for part in node.body
    }
    for node in ast.walk(tree):
        kind = type(node).__name__
        line = getattr(node, "lineno", 0)
        if isinstance(node, NEWER_SYNTAX) and not _is_star_argument(node, tree):
            found.append(f"{line}: {kind}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            found.append(f"{line}: bytes literal")
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.append(f"{line}: except ... as")
        elif isinstance(node, ast.Try) and node.finalbody and node.handlers:
            found.append(f"{line}: except and finally in one")
        elif isinstance(node, ast.ClassDef) and node.decorator_list:
            found.append(f"{line}: class decorator")
        elif isinstance(node, ast.arguments) and (node.kwonlyargs or node.posonlyargs):
            found.append(f"{line}: keyword-only argument")
        elif isinstance(node, ast.arg) and node.annotation:
            found.append(f"{line}: annotation")
        elif isinstance(node, ast.Name) and node.id in NEWER_NAMES:
            found.append(f"{line}: {node.id}()")
        elif isinstance(node, ast.Attribute) and node.attr in NEWER_METHODS:
            found.append(f"{line}: .{node.attr}")
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and node not in guarded:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{line}: import {name}" for name in names if name.split(".")[0] in NEWER_MODULES]
    return found


def _meets_absence(node: ast.Try) -> bool:
    """Whether it goes on where a module that it imports is not there."""
    return any(isinstance(handler.type, ast.Name) and handler.type.id == "ImportError" for handler in node.handlers)


def _is_star_argument(node: ast.AST, tree: ast.AST) -> bool:
    """`f(a, *rest)`, which is as old as Python, with nothing but keywords behind it."""
    return isinstance(node, ast.Starred) and any(
        isinstance(call, ast.Call) and call.args and call.args[-1] is node for call in ast.walk(tree)
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_keep_to_python_2_4(script: Path) -> None:
    """No script uses syntax, a built-in function or a module that Python 2.4 has not."""
    assert beyond_2_4(ast.parse(script.read_text(encoding="ascii"))) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_ascii_and_name_no_octal(script: Path) -> None:
    """A script is ASCII, which needs no coding line, and has no literal that Python 2 and 3 spell differently."""
    text = script.read_bytes().decode("ascii")
    assert not re.search(r"(?<![\w.\"'])0[0-7]+\b(?!\.)|\b0o[0-7]+|\b\d+L\b|\bur?['\"]", text)


@pytest.mark.parametrize("newer", [
    "with a: pass", "x = 1 if a else 2", "b'x'", "try: pass\nexcept E as e: pass", "any([])", "'a'.partition('b')",
    "try: pass\nexcept E: pass\nfinally: pass", "import json", "def f(*, a): pass", "{1, 2}",
])  # fmt: skip
def test_the_check_sees_newer_syntax(newer: str) -> None:
    """What later versions brought is found: the check above is no empty promise."""
    assert beyond_2_4(ast.parse(newer))


def test_the_check_lets_a_script_go_on_without_a_module() -> None:
    """A newer module may be imported where its absence is met, and nowhere else there."""
    text = "try: import json\nexcept ImportError: {}"
    assert beyond_2_4(ast.parse(text.format("pass"))) == []
    assert beyond_2_4(ast.parse(text.format("import json")))


@pytest.mark.parametrize("script", launch.PARTS)
def test_parts_share_no_name(script: str) -> None:
    """Of the parts that a script is put together with none takes another one's function away, but for the answer, which
    each completes."""
    names: list[str] = []
    for part in launch.PARTS[script]:
        tree = ast.parse((SCRIPTS[0].parent / part).read_text())
        names += [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert {name for name in names if names.count(name) > 1} <= {"answer"}


@pytest.mark.parametrize("version", VERSIONS)
def test_scripts_compile_on_every_interpreter(version: str, interpreter: Callable[[str], Path]) -> None:
    """Every script compiles on every interpreter here, without a warning."""
    python = interpreter(version)
    for script in SCRIPTS:
        code = "import sys; compile(sys.stdin.read(), 'script', 'exec')"
        done = subprocess.run(
            [python, "-W", "error", "-c", code], input=script.read_bytes(), capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b""), script.name
