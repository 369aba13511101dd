"""A tree as a graph for other programs: DOT for graphviz, and mermaid. Plain ASCII, whatever the names are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from eggcache.cli.console import one_line
from eggcache.cli.render import tree_lines
from eggcache.model import Need, State, Tree

_FILLS = {"zipped": "#ffe9a8", "prepared": "#c8e6c9", "unzipped": "#d6eaf8", "missing": "#f5b7b1"}
_BAD = "#c0392b"


def dot(tree: Tree, prepared: Sequence[bool] = ()) -> Iterator[str]:
    """The lines of a graph in graphviz' language: each distribution with what it is, each arrow from what needs to
    what is needed."""
    yield "digraph eggcache {"
    yield "  rankdir=LR;"
    yield '  node [shape=box, style="rounded,filled", fontname="sans-serif"];'
    yield '  edge [fontname="sans-serif", fontsize=10];'
    for name, (label, words, state) in _nodes(tree, prepared).items():
        yield f'  {name} [label="{_dot(label)}\\n{_dot(words)}", fillcolor="{_FILLS[state]}"];'
    for start, end, label, bad in _edges(tree):
        colour = f', color="{_BAD}", fontcolor="{_BAD}"' if bad else ""
        yield f'  {start} -> {end} [label="{_dot(label)}"{colour}];'
    yield "}"


def mermaid(tree: Tree, prepared: Sequence[bool] = ()) -> Iterator[str]:
    """The same in mermaid's language, which Markdown takes between ```mermaid and ```."""
    yield "flowchart LR"
    for name, (label, words, state) in _nodes(tree, prepared).items():
        yield f'  {name}["{_mermaid(label)}<br/>{_mermaid(words)}"]:::{state}'
    bad_edges = []
    for number, (start, end, label, bad) in enumerate(_edges(tree)):
        yield f'  {start} -->|"{_mermaid(label)}"| {end}' if label else f"  {start} --> {end}"
        if bad:
            bad_edges.append(str(number))
    for state, fill in _FILLS.items():
        yield f"  classDef {state} fill:{fill},stroke:#555,color:#000"
    if bad_edges:
        yield f"  linkStyle {','.join(bad_edges)} stroke:{_BAD}"


def _nodes(tree: Tree, prepared: Sequence[bool]) -> dict[str, tuple[str, str, str]]:
    """By the graph's own names: the label, what it is in words, and the state that it is coloured by."""
    prepared = prepared or [False] * len(tree.distributions)
    nodes = {
        f"n{index}": (
            distribution.title,
            tree_lines.description(distribution, is_prepared),
            tree_lines.state(distribution, is_prepared),
        )
        for index, (distribution, is_prepared) in enumerate(zip(tree.distributions, prepared))
    }
    for requirement, name in _missing_nodes(tree).items():
        nodes[name] = (requirement, State.MISSING.value, "missing")
    return nodes


def _missing_nodes(tree: Tree) -> dict[str, str]:
    """The requirements that nothing meets, and how the graph calls each."""
    requirements = dict.fromkeys(need.requirement for need in tree.needs if need.found is None)
    return {requirement: f"m{number}" for number, requirement in enumerate(requirements)}


def _edges(tree: Tree) -> Iterator[tuple[str, str, str, bool]]:
    """From, to, what is asked for where that is more than the name, and whether it is not met."""
    nodes = _missing_nodes(tree)
    for need in tree.needs:
        if need.by is not None:
            end = nodes[need.requirement] if need.found is None else f"n{need.found}"
            yield f"n{need.by}", end, _edge_label(tree, need), need.state is not State.MET


def _edge_label(tree: Tree, need: Need) -> str:
    if need.found is None:
        return ""  # the node says it
    is_plain = need.requirement == tree.distributions[need.found].project
    words = [*([] if is_plain else [need.requirement]), *([] if need.state is State.MET else [need.state.value])]
    return "  ".join(words)


def _escaped(text: str, characters: str, entity: Callable[[int], str]) -> str:
    """`text` with every character but letters, digits and `characters` as an entity: a name can neither end the string
    that it stands in nor mean anything to whoever draws it."""
    return "".join(c if c.isascii() and (c.isalnum() or c in characters) else entity(ord(c)) for c in one_line(text))


def _dot(text: str) -> str:
    # graphviz puts in what "&#NN;" stands for, and reads escapes such as \N then: a backslash has to be two
    return _escaped(one_line(text).replace("\\", "\\\\"), " .,-_+=()[]", "&#{};".format)


def _mermaid(text: str) -> str:
    # https://mermaid.js.org/syntax/flowchart.html#entity-codes-to-escape-characters
    return _escaped(text, " .,-_", "#{};".format)
