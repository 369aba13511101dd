"""Drawing lines whose parts differ in meaning: in colour by rich on a terminal, else as plain text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TextIO

from eggcache.cli.console import one_line
from eggcache.cli.outline import Line, Part

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# What is to be done about it is red, what is in order is not; each has its word beside it, for whoever sees no colour.
_STYLES = {
    "guide": "dim",
    "place": "dim",
    "mark": "dim",
    "total": "bold",
    "zipped": "yellow",
    "prepared": "green",
    "unzipped": "cyan",
    "missing": "bold red",
    "conflicting": "bold magenta",
    "unparsed": "magenta",
}
_GUIDES = {"|-- ": "├── ", "`-- ": "└── ", "|   ": "│   "}


def draw(lines: Iterable[Line], stream: TextIO) -> None:
    """Print the lines, each on one line: names in them come from eggs and from the target."""
    painter = _painter(stream) or (lambda line: print(one_line("".join(part.text for part in line)), file=stream))
    for line in lines:
        painter(line)


def _painter(stream: TextIO) -> Callable[[Line], None] | None:
    """What draws a line in colour; None where that is not wanted, or not possible."""
    if not stream.isatty() or os.environ.get("TERM", "dumb").lower() in ("dumb", "unknown", ""):
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(file=stream, highlight=False, soft_wrap=True)  # NO_COLOR is rich's to respect
    return lambda line: _paint(console, line)


def _paint(console: Console, line: Line) -> None:
    line = tuple(Part(one_line(part.text), part.role) for part in line)
    text = _text(line, console)
    if text.cell_len > console.width:  # the location gives way: to its last component, and then altogether
        text = _text([_short(part) for part in line], console)
    if text.cell_len > console.width:
        text = _text([part for part in line if part.role != "place"], console)
    console.print(text)


def _short(part: Part) -> Part:
    return Part(f"  .../{os.path.basename(part.text)}", part.role) if part.role == "place" else part


def _text(line: Iterable[Part], console: Console) -> Text:
    from rich.text import Text  # never as markup: "[red]" may be the name of an egg

    text = Text()
    for part in line:
        shown = part.text
        if part.role == "guide" and not console.options.ascii_only:
            shown = "".join(_GUIDES.get(shown[start : start + 4], "    ") for start in range(0, len(shown), 4))
        text.append(shown, _STYLES.get(part.role))
    return text
