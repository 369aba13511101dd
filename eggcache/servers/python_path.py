"""mod_python's PythonPath: what it names, and of two which one counts.

mod_python keeps one value of a directive for each section: of the PythonPaths outside of all sections the last one
takes the place of the others, for what a PythonImport imports as well (mod_python.c, directive_PythonPath; measured
with 3.5.0).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from eggcache.model import Finding, Interpreter
from eggcache.servers.apache_configuration import Configuration, Directive

MODULE = "eggcache_modpython.py"  # what `wrapper --for mod_python` writes, and a PythonImport imports


def named(directive: Directive) -> list[str]:
    """The directories and eggs that the expression of a PythonPath names: it is not evaluated.

    :param directive: a PythonPath
    """
    return re.findall(r"['\"](/[^'\"\\]+)['\"]", directive.arguments)


def theirs(configuration: Configuration) -> Directive | None:
    """The PythonPath outside of sections that counts, and that no wrapper has written; None where there is none.

    :param configuration: of this host's Apache
    """
    imports = {(line.file, line.line) for line in _imports(configuration)}
    lines = _outside(configuration, "pythonpath")
    return next((line for line in reversed(lines) if (line.file, line.line + 1) not in imports), None)


def findings(configuration: Configuration, interpreter: Interpreter) -> Iterator[Finding]:
    """That Apache's Python does not find the module by which a PythonOption is the egg cache.

    :param configuration: of this host's Apache
    :param interpreter: the target
    """
    imports = _imports(configuration)
    lines = _outside(configuration, "pythonpath")
    places = named(lines[-1]) if lines else []
    if not imports or (lines and not places):  # what an expression without a name adds cannot be told
        return
    if not any(map(_has_module, (*places, *interpreter.path))):
        cause = f"Apache's Python has no {MODULE} on its path"
        if lines:
            cause += f": of the PythonPaths outside of sections the last one counts alone, which is {lines[-1].place}"
        remedy = "have that path begin with the directory that `eggcache wrapper` wrote it to (--directory)"
        yield Finding("egg-cache-ignored", imports[0].place, cause, remedy)


def _imports(configuration: Configuration) -> list[Directive]:
    """The lines that a wrapper has, below its PythonPath."""
    return [line for line in _outside(configuration, "pythonimport") if line.words[0].startswith(f"{MODULE[:-3]}::")]


def _outside(configuration: Configuration, name: str) -> list[Directive]:
    return [line for line in configuration.named(name) if not line.context and line.words]


def _has_module(directory: str) -> bool:
    return os.path.exists(os.path.join(directory, MODULE))
