"""The settings of an application's script that a cache depends on. The script is read as text, never run.

`ast` reads what the Python that runs eggcache can parse. A script may have the syntax of any Python, above all of
Python 2. A script that cannot be parsed is read by line: then a value is known only where it is a plain string.
"""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

NAMES = ("PYTHON_EGG_CACHE", "TZ")
_TEXT = r"[bBrRuU]{0,2}(['\"])([^'\"\\\n]*)\1"
_ASSIGNED = re.compile(rf"^[^#\n]*?\benviron\s*\[\s*{_TEXT}\s*\]\s*=(?!=)\s*(?:{_TEXT.replace('1', '3')})?")
_PUT = re.compile(rf"^[^#\n]*?\bputenv\s*\(\s*{_TEXT}\s*,\s*(?:{_TEXT.replace('1', '3')})?")
_CHOSEN = re.compile(rf"^[^#\n]*?\bset_extraction_path\s*\(\s*(?:{_TEXT})?")
_LONGEST = 4096  # characters of a value: the kernel takes no longer path
_PATHS = ("join", "dirname", "abspath", "realpath", "normpath")  # of os.path, which look at nothing or at links alone


@dataclass(frozen=True)
class Setting:
    """A variable that a line of a script sets, in the environment of its process or in pkg_resources."""

    name: str  # "PYTHON_EGG_CACHE", for set_extraction_path too, or "TZ"
    value: str | None  # None: only who runs the script can tell
    line: int


def settings(file: str, text: str) -> tuple[list[Setting], bool]:
    """What the script `file` of this `text` sets, and whether it was parsed."""
    tree = _parsed(text)
    with suppress(RecursionError, MemoryError):
        if tree:
            return sorted(_Reader(file, tree).settings(), key=lambda setting: setting.line), True
    return list(_by_line(text)), False


def constants(file: str, text: str) -> dict[str, str]:
    """The names to which a script gives one text, and that text; none where it cannot be parsed."""
    tree = _parsed(text)
    with suppress(RecursionError, MemoryError):
        if tree:
            return {name: value for name, value in _Reader(file, tree).known.items() if value is not None}
    return {}


def _parsed(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of '\d', which is what it looks like
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _by_line(text: str) -> Iterator[Setting]:
    for number, line in enumerate(text.split("\n"), 1):
        for pattern in (_ASSIGNED, _PUT):
            match = pattern.match(line)
            if match and match[2] in NAMES:
                yield Setting(match[2], possible(match[4] or "") if match[3] else None, number)
        match = _CHOSEN.match(line)
        if match and not line.lstrip().startswith("def "):
            yield Setting("PYTHON_EGG_CACHE", possible(match[2]) if match[1] else None, number)


def possible(text: str) -> str | None:
    """A text that a file gives, where a variable of a process can have it, and a path can be it; else None. It may
    have a NUL, or a character that this locale cannot encode, and each of a few lines can make it twice as long."""
    try:
        return text if len(text) <= _LONGEST and b"\0" not in os.fsencode(text) else None
    except UnicodeEncodeError:
        return None


class _Reader:
    """Reads one script that was parsed."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self.tree = tree
        self.imported: dict[str, str] = {}  # what a name of the script's is: "os.environ"
        self.known: dict[str, str | None] = {"__file__": file}  # variables, and what they are
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                module = f"{node.module}." if isinstance(node, ast.ImportFrom) and node.module else ""
                for alias in node.names:
                    name = alias.asname or alias.name
                    self.imported[name] = module + alias.name if alias.asname or module else name
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                value = self._value(node.value)
                self.known[name] = value if self.known.get(name, value) == value else None

    def settings(self) -> Iterator[Setting]:
        """The settings, in no order."""
        yield from self._below(self.tree, frozenset())

    def _below(self, node: ast.AST, arguments: frozenset[str]) -> Iterator[Setting]:
        """What `node` sets, where `arguments` are names that functions around it have been given: no imports."""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            signature = node.args
            arguments |= {argument.arg for argument in (*signature.posonlyargs, *signature.args, *signature.kwonlyargs)}
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Subscript) and self._name(target.value, arguments) == "os.environ":
                    yield from self._set(target.slice, node.value, node.lineno)
                elif isinstance(target, ast.Name) and target.id == "raw_env":  # of gunicorn's configuration
                    yield from self._listed(node.value)
        elif isinstance(node, ast.Call):
            yield from self._called(node, arguments)
        for child in ast.iter_child_nodes(node):
            yield from self._below(child, arguments)

    def _listed(self, node: ast.expr) -> Iterator[Setting]:
        """What a list of NAME=VALUE sets."""
        for element in node.elts if isinstance(node, (ast.List, ast.Tuple)) else ():
            name, equals, value = (self._value(element) or "").partition("=")
            if equals and name in NAMES:
                yield Setting(name, value, element.lineno)

    def _called(self, node: ast.Call, arguments: frozenset[str]) -> Iterator[Setting]:
        function, first, second = self._name(node.func, arguments), *[*node.args, None, None][:2]
        if function.endswith("set_extraction_path") and first:
            yield Setting("PYTHON_EGG_CACHE", self._value(first), node.lineno)
        elif function == "os.putenv" and first and second:
            yield from self._set(first, second, node.lineno)
        elif function == "os.environ.pop" and first and self._value(first) == "TZ":
            yield Setting("TZ", None, node.lineno)
        elif function == "os.environ.setdefault" and first and second and self._value(first) == "TZ":
            yield from self._set(first, second, node.lineno)  # of a cache, what the server was started with stands
        elif function == "os.environ.update":
            for keyword in node.keywords:
                if keyword.arg in NAMES:
                    yield Setting(keyword.arg, self._value(keyword.value), node.lineno)
            if isinstance(first, ast.Dict):
                for key, value in zip(first.keys, first.values):
                    if key is not None:
                        yield from self._set(key, value, key.lineno)

    def _set(self, key: ast.expr, value: ast.expr, line: int) -> Iterator[Setting]:
        name = self._value(key)
        if name in NAMES:
            yield Setting(name, self._value(value), line)

    def _name(self, node: ast.AST, arguments: frozenset[str] = frozenset()) -> str:
        """The dotted name of `node`: "os.environ"; "" where it has none."""
        if isinstance(node, ast.Attribute):
            before = self._name(node.value, arguments)
            return f"{before}.{node.attr}"
        if isinstance(node, ast.Name) and node.id not in arguments:
            return self.imported.get(node.id, node.id if node.id != "environ" else "")
        return ""

    def _value(self, node: ast.AST) -> str | None:
        """The text that an expression evaluates to; None where only running it would tell."""
        if isinstance(node, ast.Constant):
            value = os.fsdecode(node.value) if isinstance(node.value, bytes) else node.value
            return possible(value) if isinstance(value, str) else None
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._value(node.left), self._value(node.right)
            return None if left is None or right is None else possible(left + right)
        if isinstance(node, ast.Call):
            module, _, function = self._name(node.func).rpartition(".")
            words = [word for word in map(self._value, node.args) if word is not None]
            if module != "os.path" or function not in _PATHS or not words or len(words) < len(node.args):
                return None
            if function == "join":
                return possible(os.path.join(words[0], *words[1:])) if sum(map(len, words)) <= _LONGEST else None
            return possible(getattr(os.path, function)(words[0])) if len(words) == 1 else None
        return None
