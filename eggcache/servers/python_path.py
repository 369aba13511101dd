"""mod_python's PythonPath: what it names, and of two which one counts.

mod_python keeps one value of a directive for each section: of the PythonPaths outside of all sections the last one
takes the place of the others, for what a PythonImport imports as well (mod_python.c, directive_PythonPath; measured
with 3.5.0).
"""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Container, Iterator, Sequence

from eggcache.model import Finding, Interpreter
from eggcache.servers.apache_configuration import Configuration, Directive

MODULE = "eggcache_modpython.py"  # what `wrapper --for mod_python` writes, and a PythonImport imports


def named(directive: Directive) -> list[str]:
    """The directories and eggs that the expression of a PythonPath names: it is not evaluated.

    :param directive: a PythonPath
    """
    expression = directive.words[0] if directive.words else ""
    try:
        with warnings.catch_warnings():  # of escapes that mean nothing
            warnings.simplefilter("ignore")
            nodes = list(ast.walk(ast.parse(expression, mode="eval")))
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # of a Python 2, or nested beyond measure
        texts = re.findall(r"['\"](/[^'\"\\]+)['\"]", expression)
    # A wrapper has the bytes of a name that is not ASCII, each as a character
    texts += [os.fsdecode(text.encode("latin-1")) for text in texts if not text.isascii() and max(text) < "\u0100"]
    return [os.path.normpath(text) for text in texts if text.startswith("/")]


def last(configuration: Configuration, file: str, lines: Container[int]) -> Directive | None:
    """The last PythonPath outside of sections; None where there is none.

    :param configuration: of this host's Apache
    :param file: where a wrapper is going to be; "" for nowhere
    :param lines: the numbers of those in that file that wrappers have written
    """
    place = os.path.realpath(file) if file else ""
    kept = [
        line
        for line in _outside(configuration, "pythonpath")
        if line.line not in lines or os.path.realpath(line.file) != place
    ]
    return kept[-1] if kept else None


def of_wrapper(configuration: Configuration, line: Directive) -> bool:
    """Whether a PythonPath is the one of a wrapper, which has its PythonImport below.

    :param configuration: of this host's Apache
    :param line: the PythonPath
    """
    return any((each.file, each.line) == (line.file, line.line + 1) for each in _imports(configuration))


def findings(
    configuration: Configuration, interpreter: Interpreter, more: Sequence[str] | None = ()
) -> Iterator[Finding]:
    """That Apache's Python does not find the module by which a PythonOption is the egg cache.

    :param configuration: of this host's Apache
    :param interpreter: the target
    :param more: what its PYTHONPATH has, which is on sys.path; None: it cannot be told
    """
    imports, line = _imports(configuration), last(configuration, "", ())
    places = named(line) if line else []
    if not imports or (line and not places):  # what an expression without a name adds cannot be told
        return
    alone = line is not None and _is_literal(line)
    if more is None and not alone:
        return
    if not any(map(_may_have_module, places if alone else (*places, *(more or ()), *interpreter.path))):
        cause = f"Apache's Python has no {MODULE} on its path"
        if line:
            cause += f": of the PythonPaths outside of sections the last one counts alone, which is {line.place}"
        remedy = "have that path begin with the directory that `eggcache wrapper` wrote it to (--directory)"
        yield Finding("egg-cache-ignored", imports[0].place, cause, remedy)


def _imports(configuration: Configuration) -> list[Directive]:
    return [line for line in _outside(configuration, "pythonimport") if line.words[0].startswith(f"{MODULE[:-3]}::")]


def _outside(configuration: Configuration, name: str) -> list[Directive]:
    return [line for line in configuration.named(name) if not line.context and line.words]


def _is_literal(directive: Directive) -> bool:
    """Whether a PythonPath names all that is on the path: nothing of sys.path, and so of PYTHONPATH, is there then."""
    try:
        ast.literal_eval(directive.words[0])
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return False
    return True


def _may_have_module(directory: str) -> bool:
    try:
        os.stat(os.path.join(directory, MODULE))
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True
