"""The scripts that run inside a target: every Python from 2.4 on has to understand them."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import ROOT

from eggcache.target import launch

SCRIPTS = sorted((ROOT / "eggcache" / "target" / "inside").glob("*.py"))
VERSIONS = ("2.7", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")

NEWER_SYNTAX = (
    ast.With, ast.IfExp, ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.Set, ast.SetComp, ast.DictComp, ast.YieldFrom,
    ast.Nonlocal, ast.AsyncFunctionDef, ast.Await, ast.Starred, ast.MatMult,
)  # fmt: skip
NEWER_NAMES = (
    "print",
    "BaseException",
    "FileNotFoundError",
    "NotADirectoryError",
    "PermissionError",
    "ProcessLookupError",
)
NEWER_METHODS = ("isdisjoint", "isidentifier", "casefold", "rpartition")

# What of the standard library a newer Python brought, and each script does without where it is not there; by vermin's
# tables zipimporter came with 2.7, whose manual was the first to describe it
MET_ABSENCES = {
    ("eggcache_modpython.py", "os.fsdecode"), ("installed.py", "zipimport.zipimporter"),
    ("probe.py", "site.getsitepackages"), ("probe.py", "site.getusersitepackages"),
    ("lookups.py", "zipimport.zipimporter"),
    ("wheel_tags.py", "importlib.util.find_spec"), ("wheel_tags.py", "sysconfig"),
    ("terminal.py", "sys.dont_write_bytecode"),
}  # fmt: skip


def newer_syntax(tree: ast.AST) -> list[str]:
    """The syntax and the names that a script uses and Python 2.4 has not, as far as its form tells."""
    faults = []
    statements = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        kind = type(node).__name__
        line = getattr(node, "lineno", 0)
        if isinstance(node, NEWER_SYNTAX) and not _is_star_argument(node, tree):
            faults.append(f"{line}: {kind}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            faults.append(f"{line}: bytes literal")
        elif isinstance(node, ast.ExceptHandler) and node.name:
            faults.append(f"{line}: except ... as")
        elif isinstance(node, ast.Try) and node.finalbody and (node.handlers or _yields(node)):
            faults.append(f"{line}: except and finally in one, or yield within")
        elif isinstance(node, ast.Yield) and (node not in statements or node.value is None):
            faults.append(f"{line}: value of yield")
        elif isinstance(node, ast.ImportFrom) and node.level:
            faults.append(f"{line}: relative import")
        elif isinstance(node, ast.Raise) and node.cause:
            faults.append(f"{line}: raise ... from")
        elif isinstance(node, ast.ClassDef) and (node.decorator_list or node.keywords):
            faults.append(f"{line}: class decorator or keyword")
        elif isinstance(node, ast.arguments) and (node.kwonlyargs or node.posonlyargs):
            faults.append(f"{line}: keyword-only argument")
        elif (isinstance(node, ast.arg) and node.annotation) or (isinstance(node, ast.FunctionDef) and node.returns):
            faults.append(f"{line}: annotation")
        elif isinstance(node, ast.Name) and node.id in NEWER_NAMES:
            faults.append(f"{line}: {node.id}")
        elif isinstance(node, ast.Attribute) and node.attr in NEWER_METHODS:
            faults.append(f"{line}: .{node.attr}")
    return faults


def _yields(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Yield) for part in ast.walk(node))


def _is_star_argument(node: ast.AST, tree: ast.AST) -> bool:
    """`f(a, *rest)`, which is as old as Python, with nothing behind it."""
    return isinstance(node, ast.Starred) and any(
        isinstance(call, ast.Call) and call.args and call.args[-1] is node
        and all(word.arg is None or (word.lineno == node.lineno and word.col_offset < node.col_offset)
                for word in call.keywords)
        for call in ast.walk(tree)
    )  # fmt: skip


def newer_library(*scripts: Path) -> set[tuple[str, str]]:
    """The built-in functions, modules and arguments of the standard library's that Python 2.4 has not, by script, as
    the tables of vermin tell."""
    vermin = [
        Path(sys.executable).with_name("vermin"),
        "--no-config-file",
        "--violations",
        "-q",
        "--no-tips",
        "-t=2.4-",
    ]
    told = subprocess.run([*vermin, *scripts], capture_output=True, text=True, check=False).stdout
    names: set[tuple[str, str]] = set()
    script = ""
    for line in told.splitlines():
        if " requires " in line:
            names.add((script, line.split(" requires ")[0].split("'")[1 if "'" in line else 0].strip()))
        else:
            script = os.path.basename(line)
    return names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_keep_to_python_2_4(script: Path) -> None:
    """No script uses syntax that Python 2.4 has not."""
    assert newer_syntax(ast.parse(script.read_text(encoding="ascii"))) == []


def test_scripts_keep_to_the_library_of_python_2_4() -> None:
    """No script uses of the standard library what Python 2.4 has not, but where it does without."""
    assert newer_library(*SCRIPTS) == MET_ABSENCES


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_ascii_and_name_no_octal(script: Path) -> None:
    """A script is ASCII, which needs no coding line, and has no literal that Python 2 and 3 spell differently, nor one
    or a class as only newer ones spell it."""
    text = script.read_bytes().decode("ascii")
    assert not re.search(r"^\s*class \w+\(\):|\b\d+_\d", text, re.M)
    assert not re.search(r"(?<![\w.\"'])0[0-7]+\b(?!\.)|\b0o[0-7]+|\b\d+L\b|\bur?['\"]", text)


@pytest.mark.parametrize("newer", [
    "with a: pass", "x = 1 if a else 2", "b'x'", "try: pass\nexcept E as e: pass", "try: yield 1\nfinally: pass",
    "try: pass\nexcept E: pass\nfinally: pass", "x = yield 1", "from . import a", "raise E from e",
    "def f(*, a): pass", "{1, 2}", "class A(metaclass=B): pass",
    "def f() -> a: pass", "f(*a, b=1)", "f(*a, *b)", "print(a)", "BaseException",
])  # fmt: skip
def test_the_check_sees_newer_syntax(newer: str) -> None:
    """What later versions brought is found: the check above is no empty promise."""
    assert newer_syntax(ast.parse(newer))


def test_the_check_sees_a_newer_library(tmp_path: Path) -> None:
    """So is what they brought to the library: modules, functions, methods, and arguments of older functions."""
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os, re\nany([])\nnext(a)\n'a'.partition('b')\nos.path.relpath('a')\nos.path.join('a', 'b')\n"
        "max(a, key=b)\nre.sub('a', 'b', 'c', flags=1)\nos.walk('a', followlinks=True)\n"
    )
    wanted = ["json", "any", "next", "str.partition", "os.path.relpath", "max(key)", "re.sub(flags)"]
    wanted.append("os.walk(followlinks)")
    assert newer_library(script) == {("script.py", what) for what in wanted}


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
        result = subprocess.run(
            [python, "-W", "error", "-c", code], input=script.read_bytes(), capture_output=True, check=False
        )
        assert (result.returncode, result.stderr) == (0, b""), script.name


@pytest.mark.parametrize("dies", [False, True])
def test_what_a_child_leaves_undone_is_done_here(dies: bool) -> None:
    """The lines of a child come in order, and where it dies before the last one, all are made by who asked; no child is
    left behind. For nothing to do there is no child."""
    functions: dict[str, Any] = {"os": os, "sys": sys}
    exec((ROOT / "eggcache/target/inside/imports.py").read_text(), functions)
    parent = os.getpid()

    def work(count: int) -> Iterator[str]:
        for number in range(count):
            if number == 1 and os.getpid() != parent and dies:
                os.kill(os.getpid(), signal.SIGKILL)
            yield f"{number} {os.getpid() == parent}"

    begun = functions["begin_beside"](3, work, 3)
    assert begun is not None
    assert list(functions["end_beside"](begun, 3, work, 3)) == [f"{number} {dies}" for number in range(3)]
    assert functions["begin_beside"](0, work, 0) is None
    assert list(functions["end_beside"](None, 0, work, 0)) == []
    with pytest.raises(ChildProcessError):
        os.waitpid(begun[1], 0)


@pytest.mark.parametrize(
    ("sizes", "count", "parts"),
    [
        ([], 4, []),
        ([3], 4, [[0]]),
        ([1, 2], 1, [[1, 0]]),
        ([50, 10, 20, 15], 2, [[0], [2, 3, 1]]),
        ([1, 1], 0, [[1, 0]]),
    ],
)
def test_eggs_are_divided_evenly(sizes: list[int], count: int, parts: list[list[int]]) -> None:
    """Each egg is in one of the lists, the largest first, and the lists take about the same time."""
    source = ast.parse((ROOT / "eggcache/target/inside/lookups.py").read_text())
    source.body = [node for node in source.body if isinstance(node, ast.FunctionDef) and node.name == "divided"]
    functions: dict[str, Any] = {}
    exec(compile(source, "lookups.py", "exec"), functions)
    assert sorted(functions["divided"](sizes, count)) == parts
