"""The picture of the rooms: which sub-package of eggcache imports which, as the source says, for graphviz to draw."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

WORDS = "the words"  # the modules of eggcache/ itself, which every room may import
TEXTS = "explanations"  # a folder for its length: as the modules of eggcache/ itself


def imports(source: Path) -> dict[str, set[str]]:
    """For each room of the package `source`, the other rooms that a module of it imports from, anywhere in it."""
    rooms = {path.parent.name for path in source.glob("*/__init__.py")} - {TEXTS}
    drawn: dict[str, set[str]] = defaultdict(set)
    for path in source.rglob("*.py"):
        top = path.relative_to(source).parts[0]
        if top in rooms and "inside" not in path.parts:  # inside/ runs in the target, and imports nothing of eggcache
            drawn[top] |= {name if name in rooms else WORDS for name in _imported(path)} - {top}
    return drawn


def _imported(path: Path) -> Iterator[str]:
    """What stands behind "eggcache." in the imports of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "eggcache":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eggcache."):
            yield str(node.module).split(".")[1]


def dot(source: Path) -> Iterator[str]:
    """A digraph with an arrow from each room to each room that it imports from. Lower rooms are drawn lower."""
    drawn = imports(source)
    yield from ("digraph rooms {", "    bgcolor=transparent", "    ranksep=0.45")
    yield '    node [shape=box, style="rounded,filled", fillcolor="#f4f1e8", fontname="sans-serif", fontsize=13]'
    yield '    edge [arrowsize=0.6, color="#777777"]'
    yield f'    "{WORDS}" [style=dashed]'
    for room in sorted(drawn):
        yield f'    "{room}"'
        for other in sorted(drawn[room]):
            faint = ' [color="#dddddd"]' if other == WORDS else ""
            yield f'    "{room}" -> "{other}"{faint}'
    yield "}"
