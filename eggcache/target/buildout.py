"""Scripts that zc.buildout generated: each puts a list of eggs in front of sys.path. They are read, never run.

The form is that of `script_template`, `py_script_template` and `relative_paths_setup` of zc/buildout/easy_install.py,
1.0 to 3.0; recipes for mod_wsgi, Zope and Django use these, too.
"""

from __future__ import annotations

import os
import re

from eggcache.system import files

SUCH_AS = "such as bin/instance; of z3c.recipe.scripts, name the interpreter, with --python"
_LARGEST = 4 << 20  # bytes; a Plone's has about 50,000
# syspaths: collective.recipe.modwsgi, which goes through them from the last to the first
_LIST = re.compile(rb"^(?:sys\.path\[0?:0\]|syspaths)[ \t]*=[ \t]*\[[ \t]*\r?\n", re.MULTILINE)
_END = re.compile(rb"^[ \t]*\]", re.MULTILINE)
_TEXT = rb"""[bu]?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_ITEM = re.compile(rb"(?:(base)|(join\(base, *)?(" + _TEXT + rb")(?(2)\))) *,?")
# z3c.recipe.scripts: what it lists is the directory of a site.py, which has the eggs
_SITE = re.compile(rb"^import site # imports custom buildout-generated site\.py", re.MULTILINE)
_UPWARD = re.compile(rb"^base = os\.path\.dirname\(base\)", re.MULTILINE)


def eggs(script: str) -> list[str] | None:
    """The list in a `script`: absolute paths of eggs and directories, in order; None where it has no such list.

    With `relative-paths = true` they are below a `base`, which is so many directories above the script as it says.

    :param script: the path of a file
    """
    text = files.beginning(script, _LARGEST)
    match = _LIST.search(text)
    end = _END.search(text, match.end()) if match else None  # once, from the first: a text may have many without an end
    if not match or not end or _SITE.search(text, end.end()):
        return None
    base = os.path.dirname(os.path.realpath(script))
    for _ in _UPWARD.findall(text[: match.start()]):
        base = os.path.dirname(base)
    paths = []
    for line in text[match.end() : end.start()].splitlines():
        item = _ITEM.fullmatch(line.strip())
        if item:
            try:
                paths.append(os.path.join(base, "" if item[1] else _literal(item[3])).rstrip("/"))
            except (SyntaxError, ValueError):  # UnicodeError is a ValueError
                return None
        elif line.strip(b" \t,") and not line.lstrip().startswith(b"#"):
            return None
    return paths


def _literal(text: bytes) -> str:
    """The path that a string stands for, one character a byte: Python 2 escapes bytes, 3 writes UTF-8 as it is."""
    import ast  # a target without a list has no use for it

    value = ast.literal_eval(text.lstrip(b"bu").decode("latin-1"))
    if "\0" in value:
        raise ValueError("no path has a NUL")
    return os.fsdecode(str(value).encode("latin-1"))


def shebang(script: str) -> str | None:
    """What its first line, `#!`, has the kernel run a script by, execve(2); None where it is none."""
    line = files.beginning(script, 4096).partition(b"\n")[0]
    words = os.fsdecode(line[2:]).split() if line.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":  # which finds it on the PATH
        words = [word for word in words[1:] if not word.startswith("-")]
    return words[0] if words else None


def is_python(program: str) -> bool:
    name = os.path.basename(program)
    return name.startswith(("python", "pypy")) and (program == name or os.access(program, os.X_OK))


def interpreter(script: str) -> str | None:
    """The Python that runs a `script` with a list, by its absolute name; None where it has no list or no such line.

    :param script: the path of a file
    """
    program = shebang(script)
    return program if program and program.startswith("/") and is_python(program) and eggs(script) is not None else None
