"""A tree as lines whose parts differ in meaning, drawn in colour by rich on a terminal, else as plain text."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TextIO, Union

from eggcache.cli.console import one_line
from eggcache.cli.render import amounts
from eggcache.model import Distribution, Need, State, Tree
from eggcache.target import tree_selection

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PREPARED = "prepared"
_DEEPEST = 100  # steps; those of TurboGears 1 are 6
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


class Part(NamedTuple):
    """Some text of a line, and its role: "guide", "name", "place", "mark", "total", or a state in one word."""

    text: str
    role: str


Line = tuple[Part, ...]
_Node = Union[int, str]  # an index into Tree.distributions, or the requirement that nothing meets


@dataclass(frozen=True)
class _Graph:
    """Who is drawn below whom, and the needs that say so."""

    roots: list[tuple[_Node, Need | None]]
    children: dict[_Node, list[tuple[_Node, Need | None]]]


def state(distribution: Distribution, prepared: bool = False) -> str:
    """What a distribution is, in one word: "zipped", "prepared" or "unzipped"."""
    return "unzipped" if not distribution.kind.zipped else PREPARED if prepared else "zipped"


def description(distribution: Distribution, prepared: bool = False) -> str:
    """The same in all words: `zipped egg, prepared, not active`."""
    words = [distribution.kind.value]
    if prepared:
        words.append(PREPARED)
    if not distribution.active:
        words.append("not active")
    return ", ".join(words)


def lines(
    tree: Tree, prepared: Sequence[bool] = (), *, reverse: bool = False, depth: int | None = None
) -> Iterator[Line]:
    """The lines that show a tree: what each distribution is, where, and the requirement that pulled it in.

    prepared   for each distribution, whether the cache has it; () where there is no cache to look at
    reverse    what needs the tree's `requirements`, above what they need: see tree_selection.dependents
    depth      steps from a root that are drawn; None: all, up to 100

    A distribution is opened out where it is first drawn, and `(above)` from then on: so a cycle ends, and a library
    that everything needs is drawn once. What no requirement leads to (with `--all`, everything) is listed flat.
    No recursion: how deep a tree is, the eggs decide. What is more than 100 steps from a root is cut as by `depth`, and
    listed flat where all was to be drawn: each line repeats the guides of those above it.
    """
    prepared = prepared or [False] * len(tree.distributions)
    graph = _upward(tree) if reverse else _downward(tree)
    deepest = _DEEPEST if depth is None else min(depth, _DEEPEST)
    nodes_drawn: set[_Node] = set()
    nodes_above: set[_Node] = set()
    trail: list[_Node] = []  # from the root to what is drawn now; `within` is the same, to look up
    within: set[_Node] = set()
    waiting = [(0, "", "", node, need) for node, need in graph.roots]
    while waiting:
        level, prefix, branch, node, need = waiting.pop()
        within.difference_update(trail[level:])
        del trail[level:]
        children = graph.children.get(node, [])
        mark = ""
        if node in within:
            mark = "(cycle)"
        elif node in nodes_above:
            mark = "(above)"
        elif children and level >= deepest:
            mark = f"(+{len(children)})"
        head = Part(prefix + branch, "guide")
        yield (head, *_node(tree, node, need, prepared, reverse, mark))
        if isinstance(node, int):
            nodes_drawn.add(node)
        if mark:
            continue
        nodes_above.add(node)
        trail.append(node)
        within.add(node)
        indent = prefix + {"": "", "|-- ": "|   ", "`-- ": "    "}[branch]
        for position, (child, child_need) in enumerate(children):
            waiting.append((level + 1, indent, "|-- " if position else "`-- ", child, child_need))
    if reverse:
        return
    led_to = {need.found for need in tree.needs}
    for index, distribution in enumerate(tree.distributions):
        if index not in nodes_drawn and (depth is None or index not in led_to):  # else it is further down than `depth`
            yield (Part("", "guide"), *_facts(distribution, prepared[index]))


def _downward(tree: Tree) -> _Graph:
    # resolve() takes requirements from the last to the first, and the last of a list is drawn first: so they are
    # drawn as their authors wrote them.
    roots: list[tuple[_Node, Need | None]] = []
    children: dict[_Node, list[tuple[_Node, Need | None]]] = {}
    for need in tree.needs:
        node: _Node = need.requirement if need.found is None else need.found
        (roots if need.by is None else children.setdefault(need.by, [])).append((node, need))
    for nodes in children.values():  # what nobody has asked for stands last
        nodes.sort(key=lambda child: not (child[1] and child[1].extra))
    return _Graph(roots, children)


def _upward(tree: Tree) -> _Graph:
    names = {tree_selection.project(name): name for name in tree.requirements}
    roots: dict[str, dict[_Node, None]] = {key: {} for key in names}
    children: dict[_Node, list[tuple[_Node, Need | None]]] = {}
    for index, distribution in enumerate(tree.distributions):
        roots.get(tree_selection.project(distribution.project), {})[index] = None
    for need in tree.needs:
        if need.by is not None:
            key = tree_selection.project(need.requirement)
            node: _Node = names.get(key, key) if need.found is None else need.found
            if need.found is None:
                roots.get(key, {})[node] = None
            children.setdefault(node, []).append((need.by, need))
    tops: list[tuple[_Node, Need | None]] = [(node, None) for nodes in roots.values() for node in nodes]
    return _Graph(tops[::-1], {node: nodes[::-1] for node, nodes in children.items()})


def _node(
    tree: Tree, node: _Node, need: Need | None, prepared: Sequence[bool], reverse: bool, mark: str
) -> Iterator[Part]:
    """The parts of one line after its guides."""
    bad = need is not None and need.state is not State.MET
    if isinstance(node, str):
        yield Part(node, "name")
        yield Part(f"  {State.MISSING.value if need is None else need.state.value}", "missing")
    elif mark in ("(above)", "(cycle)"):
        yield Part(tree.distributions[node].title, "name")
    else:
        yield from _facts(tree.distributions[node], prepared[node])
    if isinstance(node, int) and need is not None:
        if bad or need.requirement != tree.distributions[node].project:
            yield Part(f"  {'->' if reverse else '<-'} {need.requirement}", "mark")
        if bad and need.found is not None:
            yield Part(f"  {need.state.value}", need.state.value)
        if need.extra:
            yield Part(f"  (extra {need.extra})", "mark")
    if mark:
        yield Part(f"  {mark}", "mark")


def _facts(distribution: Distribution, prepared: bool) -> Iterator[Part]:
    yield Part(distribution.title, "name")
    yield Part(f"  {description(distribution, prepared)}", state(distribution, prepared))
    yield Part(f"  {distribution.location}", "place")


def duplicates(tree: Tree, prepared: Sequence[bool] = ()) -> Iterator[Line]:
    """The lines that show a tree of duplicates, project by project: which one is active, and the others."""
    prepared = prepared or [False] * len(tree.distributions)
    projects: dict[str, list[int]] = {}
    for index, distribution in enumerate(tree.distributions):
        projects.setdefault(tree_selection.project(distribution.project), []).append(index)
    for versions in projects.values():
        yield (
            Part("", "guide"), Part(tree.distributions[versions[0]].project, "name"),
            Part(f"  {len(versions)} on the path", "mark"),
        )  # fmt: skip
        for number, index in enumerate(versions, 1):
            distribution = tree.distributions[index]
            yield (
                Part("`-- " if number == len(versions) else "|-- ", "guide"),
                Part(distribution.version or "(no version)", "name"),
                Part(
                    f"  {description(distribution, prepared[index])}{', active' * distribution.active}",
                    state(distribution, prepared[index]),
                ),
                Part(f"  {distribution.location}", "place"),
            )  # fmt: skip


def total(tree: Tree, prepared: Sequence[bool] = ()) -> Line:
    """The line that counts: `25 distributions: 15 zipped, 7 prepared, 3 unzipped; 1 missing`."""
    count = len(tree.distributions)
    prepared = prepared or [False] * count
    states = Counter(
        state(distribution, is_prepared) for distribution, is_prepared in zip(tree.distributions, prepared)
    )
    troubles = Counter(
        state_of_need.value
        for state_of_need, _ in {(need.state, tree_selection.project(need.requirement)) for need in tree.needs}
    )
    parts = [Part("", "guide"), Part(amounts.counted(count, "distribution"), "total")]
    for number, word in enumerate(word for word in ("zipped", PREPARED, "unzipped") if states[word]):
        parts += [Part(", " if number else ": ", "total"), Part(f"{states[word]:,} {word}", word)]
    for number, word in enumerate(word for word in ("missing", "conflicting", "unparsed") if troubles[word]):
        parts += [Part(", " if number else "; ", "total"), Part(f"{troubles[word]:,} {word}", word)]
    return tuple(parts)


# -------------------------------------------------------------------------------------- on a stream


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
        words = part.text
        if part.role == "guide" and not console.options.ascii_only:
            words = "".join(_GUIDES.get(words[start : start + 4], "    ") for start in range(0, len(words), 4))
        text.append(words, _STYLES.get(part.role))
    return text
