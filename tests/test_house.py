"""The house: what imports what, and how large its rooms are."""

from __future__ import annotations

import ast
from pathlib import Path

import eggcache

SOURCE = Path(eggcache.__file__).parent
LEVELS = [
    {"errors", "findings", "legacy", "model"},
    {"inflation", "units"},
    {
        "accounts",
        "apache",
        "cleaners",
        "commands",
        "egg",
        "interpreter",
        "layout",
        "manual",
        "metadata",
        "progress",
        "orphans",
        "packaged",
        "quoting",
        "selection",
        "startup",
        "syscalls",
        "walking",
    },
    {"answer", "procfs"},
    {"locks", "owners"},
    {
        "arguments",
        "configuration",
        "environments",
        "kinds",
        "lockdown",
        "outline",
        "processes",
        "launch",
        "surroundings",
        "table",
        "workers",
    },
    {"ahead", "destination", "scripts", "target"},
    {
        "application",
        "contents",
        "extract",
        "hosting",
        "resolver",
        "rights",
        "staging",
        "unseen",
        "validity",
        "wrappers",
    },
    {"backup", "evidence", "gap", "modpython", "names", "receipt", "report", "unservable", "wheel_files"},
    {"batch", "console", "renewal", "serving", "twins"},
    {"conversion", "filling", "inventory"},
    {"neighbours"},
    {"cache", "comparison", "drawing", "graphs", "listing", "removal", "unzip", "versions", "wheelhouse"},
    {"observation", "reader"},
    {"emission", "proof", "restoration", "views"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}


def imports(path: Path) -> set[str]:
    """The modules of the package that `path` imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "eggcache":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eggcache."):
            found.add(str(node.module).split(".")[1])
    return found - {"__version__"}


def test_imports_go_down_only() -> None:
    """No module imports one of its own level or above it."""
    for path in SOURCE.glob("*.py"):
        if path.stem != "__init__":
            wrong = {name for name in imports(path) if LEVEL[name] >= LEVEL[path.stem]}
            assert wrong == set(), path.name


def test_every_module_has_its_level() -> None:
    """A new module is given a place, and one that went leaves none."""
    assert {path.stem for path in SOURCE.glob("*.py")} - {"__init__"} == set(LEVEL)


def test_no_module_is_named_like_a_public_function() -> None:
    """eggcache.prepare is a function, whatever was imported before."""
    assert set(LEVEL) & set(eggcache.__all__) == set()
