"""tree: what it draws on a terminal and elsewhere, and the graphs that graphviz and mermaid make of it."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.judge import eggcache, environment
from support.parts import missing
from support.sites import write_egg
from support.terminals import show

from eggcache.cli.render import graphs, tree_lines
from eggcache.model import Distribution, Interpreter, Kind, Need, State, Tree
from eggcache.target import tree_selection

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def eggs(shared_tmp: Path) -> Path:
    """A directory with a small tree in which everything happens: a cycle, something missing, a conflict, a duplicate,
    something unzipped."""
    at = shared_tmp / "eggs"
    at.mkdir()
    requires = {"App": "Base\nLib>=0.5\nGone>=2\n", "Lib": "Base>1\nApp\n", "Base": ""}
    for name, text in requires.items():
        write_egg(at / f"{name}-1.0-py3.11.egg", {"EGG-INFO/requires.txt": text, f"{name.lower()}.py": ""})
    write_egg(at / "Base-0.5-py3.11.egg", {"base.py": ""}, project="Base")
    flat = at / "Flat-3.0-py3.11.egg" / "EGG-INFO"
    flat.mkdir(parents=True)
    (flat / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: Flat\nVersion: 3.0\n")
    (flat / "requires.txt").write_text("Base\n")
    return at


def tree(python: Path, eggs: Path, *more: str | Path, env: dict[str, str] | None = None) -> str:
    """What `tree` prints for these eggs; exit statuses 0 and 5 are as good as each other here."""
    result = eggcache("tree", "--python", python, "--path", eggs, *more, env=env or {})
    assert result.returncode in (0, 5), result.stderr
    return result.stdout


def on_terminal(*arguments: str | Path, columns: int = 200, env: dict[str, str] | None = None) -> str:
    """What eggcache prints where stdout is a terminal of that width."""
    shell = environment({"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **(env or {})})
    command = [sys.executable, "-m", "eggcache", *map(str, arguments)]
    result = show(command, columns=columns, env=shell, streams=("stdin", "stdout"))
    assert result.status in (0, 5)
    return result.terminal


# ----------------------------------------------------------------------------------------------- as text


def test_tree_is_plain_text_without_a_terminal(python: Path, eggs: Path) -> None:
    """Elsewhere than on a terminal it is plain text: each once, cycles end, and what is wrong is said where it is."""
    egg = f"zipped egg, not active  {eggs}"
    assert tree(python, eggs, "App") == (
        f"App 1.0  {egg}/App-1.0-py3.11.egg\n"
        f"|-- Base 1.0  {egg}/Base-1.0-py3.11.egg\n"
        f"|-- Lib 1.0  {egg}/Lib-1.0-py3.11.egg  <- Lib>=0.5\n"
        "|   |-- Base 1.0  <- Base>1  conflicting  (above)\n"
        "|   `-- App 1.0  (cycle)\n"
        "`-- Gone>=2  missing\n"
        "Base-0.5-py3.11.egg: a zipped egg on the path, outside of the tree\n"
        "3 distributions: 3 zipped; 1 missing, 1 conflicting\n"
    )


def test_reverse_shows_who_needs_it(python: Path, eggs: Path) -> None:
    """--reverse shows who needs something, wherever on the path that is, also where it is not installed."""
    egg = f"zipped egg, not active  {eggs}"
    assert tree(python, eggs, "--reverse", "gone", "lib") == (
        "gone  missing\n"
        f"`-- App 1.0  {egg}/App-1.0-py3.11.egg  -> Gone>=2\n"
        f"    `-- Lib 1.0  {egg}/Lib-1.0-py3.11.egg  -> App\n"
        "        `-- App 1.0  -> Lib>=0.5  (cycle)\n"
        "Lib 1.0  (above)\n"
        "2 distributions: 2 zipped; 1 missing\n"
    )
    lines = tree(python, eggs, "--reverse", "Base", "--depth", "1").splitlines()
    assert sorted(line.split()[1] for line in lines if line[0] in "|`") == ["App", "Flat", "Lib"]
    assert [line.split("  ")[-2] for line in lines if "Lib" in line] == ["conflicting"]
    result = eggcache("tree", "--python", python, "--path", eggs, "--reverse", "Nonsense")
    assert (result.returncode, result.stdout) == (5, "")
    assert "Nonsense: is neither installed" in result.stderr


def test_depth_ends_there_and_counts_what_is_below(python: Path, eggs: Path) -> None:
    """--depth ends there, says how much there is below, and counts all of it."""
    lines = tree(python, eggs, "App", "--depth", "1").splitlines()
    assert [line.split()[-1] for line in lines if "Lib" in line] == ["(+2)"]
    assert lines[-1].startswith("3 distributions")
    assert len(lines) == 6
    assert len(tree(python, eggs, "App", "--depth", "0").splitlines()) == 3
    shown = json.loads(tree(python, eggs, "App", "--depth", "0", "--json"))
    assert [distribution["project"] for distribution in shown["distributions"]] == ["App"]
    assert [need["by"] for need in shown["needs"]] == [None]
    up = json.loads(tree(python, eggs, "--reverse", "Gone", "--depth", "1", "--json"))
    assert [distribution["project"] for distribution in up["distributions"]] == ["App"]


def test_depth_opens_later_what_it_cut_first() -> None:
    """What is cut where it is first met is opened out where it is met again nearer to the root, and not `(above)`."""
    tree = chain(3)
    needs = (
        tree.needs[0],
        Need("n2", 0, 2, State.MET),
        *tree.needs[1:],
    )  # n0 -> n1 -> n2 -> n3, and n0 -> n2
    drawn = ["".join(part.text for part in line) for line in tree_lines.lines(replace(tree, needs=needs), depth=2)]
    assert drawn == [
        "n0 1  unzipped egg, not active  /",
        "|-- n1 1  unzipped egg, not active  /",
        "|   `-- n2 1  unzipped egg, not active  /  (+1)",
        "`-- n2 1  unzipped egg, not active  /",
        "    `-- n3 1  unzipped egg, not active  /",
    ]


def test_drawn_no_deeper_than_a_hundred() -> None:
    """A chain of thousands is cut after 100 steps and goes on flat: each line repeats the guides of those above it."""
    for depth, count, last in ((None, 3001, "n3000 1  unzipped egg, not active  /"), (2000, 101, "(+1)")):
        drawn = ["".join(part.text for part in line) for line in tree_lines.lines(chain(3000), depth=depth)]
        assert len(drawn) == count
        assert drawn[100].endswith("`-- n100 1  unzipped egg, not active  /  (+1)")
        assert drawn[-1].endswith(last)
        assert max(map(len, drawn)) < 500


def test_cycle_after_another_branch() -> None:
    """A cycle is told from what stands above, also below a second branch."""
    tree = chain(3)
    ends = ((None, 0), (0, 2), (0, 1), (2, 3), (3, 2), (1, 3))  # n0 -> n1 -> n3, and n0 -> n2 -> n3 -> n2
    needs = tuple(Need(f"n{to}", by, to, State.MET) for by, to in ends)
    drawn = ["".join(part.text for part in line) for line in tree_lines.lines(replace(tree, needs=needs))]
    facts = "  unzipped egg, not active  /"
    assert drawn == [
        f"n0 1{facts}",
        f"|-- n1 1{facts}",
        f"|   `-- n3 1{facts}",
        f"|       `-- n2 1{facts}",
        "|           `-- n3 1  (cycle)",
        "`-- n2 1  (above)",
    ]


def test_cycle_in_a_later_branch() -> None:
    """The same where the first branch has ended."""
    tree = chain(3)
    ends = ((None, 0), (0, 2), (0, 1), (2, 3), (3, 2))  # n0 -> n1, and n0 -> n2 -> n3 -> n2
    needs = tuple(Need(f"n{to}", by, to, State.MET) for by, to in ends)
    drawn = ["".join(part.text for part in line) for line in tree_lines.lines(replace(tree, needs=needs))]
    assert drawn[-1] == "        `-- n2 1  (cycle)"


def test_duplicates_names_each_project_that_is_there_twice(python: Path, eggs: Path) -> None:
    """--duplicates names each project that is there twice, and which of its distributions is active."""
    shown = tree(python, eggs, "--duplicates", "--path", eggs / "Base-0.5-py3.11.egg")
    assert shown == (
        "Base  2 on the path\n"
        f"|-- 1.0  zipped egg, not active  {eggs}/Base-1.0-py3.11.egg\n"
        f"`-- 0.5  zipped egg, active  {eggs}/Base-0.5-py3.11.egg\n"
        "2 distributions: 2 zipped\n"
    )
    (eggs / "Base-0.5-py3.11.egg").unlink()
    result = eggcache("tree", "--python", python, "--path", eggs, "--duplicates")
    assert (result.returncode, result.stdout) == (0, "0 distributions\n")
    assert f"{python}: nothing is on its path more than once" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("--reverse",), ("--reverse", "--all"), ("--duplicates", "App"), ("--depth", "-1", "App")]
)
def test_nonsense_for_tree_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    """What makes no sense is said, exit 2."""
    result = eggcache("tree", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1


def test_tree_tells_what_a_cache_has(python: Path, eggs: Path, shared_tmp: Path) -> None:
    """What a cache has, from the egg as it is now, is told apart: by --cache, or PYTHON_EGG_CACHE."""
    cache = shared_tmp / "cache"
    assert eggcache("prepare", cache, "Lib", "--path", eggs, "--python", python, "--user", "nobody").returncode == 5
    assert tree(python, eggs, "--all", "--cache", cache).count("zipped egg, prepared") == 3
    named = tree(python, eggs, "--all", env={"PYTHON_EGG_CACHE": str(cache)})
    total = r"distributions: 1 zipped, 3 prepared, \d+ unzipped; 1 missing, 1 conflicting"
    assert re.fullmatch(r"\d+ " + total, named.splitlines()[-1])
    assert "prepared" not in tree(python, eggs, "--all")
    os.utime(eggs / "Lib-1.0-py3.11.egg")
    shown = json.loads(tree(python, eggs, "--all", "--cache", cache, "--json"))
    told = {
        (distribution["project"], distribution["version"]): distribution["prepared"]
        for distribution in shown["distributions"]
    }
    assert shown["cache"] == str(cache)
    assert [told["App", "1.0"], told["Base", "1.0"], told["Base", "0.5"], told["Lib", "1.0"]] == [
        True,
        True,
        False,
        False,
    ]
    shutil.rmtree(cache / "App-1.0-py3.11.egg-tmp")
    assert tree(python, eggs, "--all", "--cache", cache).count("zipped egg, prepared") == 1


def test_cache_of_somebody_else(python: Path, eggs: Path, shared_tmp: Path) -> None:
    """A cache that was named and cannot be read is an error; one that the environment names is a message."""
    cache = shared_tmp / "cache"
    cache.mkdir()
    if os.geteuid() != 0:
        missing("only root can give a directory away")
    os.chown(cache, 1, 1)
    result = eggcache("tree", "--all", "--path", eggs, "--python", python, "--cache", cache)
    assert (result.returncode, result.stdout) == (4, "")
    assert "run it as daemon" in result.stderr
    result = eggcache("tree", "--all", "--path", eggs, "--python", python, env={"PYTHON_EGG_CACHE": str(cache)})
    assert result.returncode == 0  # what App lacks is a notice with --all
    assert "App 1.0" in result.stdout
    assert "not told apart" in result.stderr


# ------------------------------------------------------------------------------------------- on a terminal


def test_each_state_has_a_colour_on_a_terminal(python: Path, eggs: Path, shared_tmp: Path) -> None:
    """On a terminal each state has a colour of its own, and the words are all there."""
    cache = shared_tmp / "cache"
    assert eggcache("prepare", cache, "--path", eggs, "--python", python, "--user", "nobody").returncode == 0
    os.utime(eggs / "Lib-1.0-py3.11.egg")
    shown = on_terminal("tree", "App", "Flat", "--path", eggs, "--python", python, "--cache", cache)
    colours = {}
    for word in ("zipped egg, not active", "zipped egg, prepared", "unzipped egg", "missing", "conflicting"):
        before = re.search(rf"\x1b\[([0-9;]+)m  {word}", shown)
        assert before, word
        colours[word] = before[1]
    assert len(set(colours.values())) == 5
    plain = tree(python, eggs, "App", "Flat", "--cache", cache)
    ascii_only = COLOUR.sub("", shown).translate(str.maketrans("├└│─", "|`|-"))
    assert ascii_only == plain


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": ""}], ids=str)
def test_dumb_terminal_gets_what_a_pipe_gets(python: Path, eggs: Path, env: dict[str, str]) -> None:
    """A terminal that can do nothing gets what a pipe gets."""
    assert on_terminal("tree", "App", "--path", eggs, "--python", python, env=env) == tree(python, eggs, "App")


def test_no_color_takes_the_colours_alone(python: Path, eggs: Path) -> None:
    """NO_COLOR takes the colours, https://no-color.org, and nothing else."""
    shown = on_terminal("tree", "App", "--path", eggs, "--python", python, env={"NO_COLOR": "1"})
    codes = {code for match in re.findall(r"\x1b\[([0-9;]*)m", shown) for code in match.split(";")}
    assert codes <= {"0", "1", "2"}  # reset, bold, dim
    assert "├── Base 1.0" in COLOUR.sub("", shown)


def test_without_rich_the_tree_is_plain_text(python: Path, eggs: Path, shared_tmp: Path) -> None:
    """Where rich is not installed the terminal gets plain text; and what is not drawn there never imports it."""
    broken = shared_tmp / "without"
    broken.mkdir()
    (broken / "rich.py").write_text(
        f"open({str(shared_tmp / 'asked')!r}, 'w')\nraise ImportError('there is no rich')\n"
    )
    env = {"PYTHONPATH": str(broken)}
    assert tree(python, eggs, "App", env=env)
    assert tree(python, eggs, "App", "--format", "dot", env=env)
    assert not (shared_tmp / "asked").exists()
    assert on_terminal("tree", "App", "--path", eggs, "--python", python, env=env) == tree(python, eggs, "App")
    assert (shared_tmp / "asked").exists()


def test_location_gives_way_on_a_narrow_terminal(python: Path, eggs: Path) -> None:
    """Where a line does not fit, the location gives way and no word of the rest does."""
    shown = COLOUR.sub("", on_terminal("tree", "App", "--path", eggs, "--python", python, columns=48))
    lines = shown.splitlines()
    assert "├── Lib 1.0  zipped egg, not active  <- Lib>=0.5" in lines
    assert str(eggs) not in shown
    wide = COLOUR.sub("", on_terminal("tree", "App", "--path", eggs, "--python", python, columns=80)).splitlines()
    assert "├── Base 1.0  zipped egg, not active  .../Base-1.0-py3.11.egg" in wide


# ------------------------------------------------------------------------------------ graphviz and mermaid

HOSTILE = [
    'a"];evil [label="x',
    "[red]x[/red] [link=http://localhost]",
    "back\\slash\\N \\",
    "&amp; &#60;b&#62; <b>&lt;</b>",
    "a\nb\x1b[31m\x9b",
    '"]:::missing\n  click n0 "javascript:alert(1)"',
    "#quot; #35; ;%%{init: {}}%% end subgraph",
    "`code` **bold** _i_ $$x$$ | a --> b",
    "ünï \u202ecödé 漢字 \udcff",
    "style:#a;classDef x:#b;",
]


def made(names: Sequence[str]) -> Tree:
    """A tree whose distributions, requirements and missing requirements are called `names`."""
    here = Interpreter("/python", (3, 11, 7), "/", (), None, None)
    distributions = tuple(
        Distribution(name, "1", f"/{name}", Kind.ZIPPED, egg="/e.egg", cache_name="e.egg") for name in names
    )
    needs = [Need("root", None, 0, State.MET)]
    needs += [Need(f"{name}=1", 0, number, State.CONFLICTING) for number, name in enumerate(names)]
    needs += [Need(f"no {name}", 0, None, State.MISSING) for name in names]
    return Tree(here, ("root",), distributions, tuple(needs))


def chain(length: int) -> Tree:
    """A tree of one twig: each needs the next."""
    here = Interpreter("/python", (3, 11, 7), "/", (), None, None)
    distributions = tuple(Distribution(f"n{number}", "1", "/", Kind.UNZIPPED) for number in range(length + 1))
    needs = (Need(f"n{number}", number - 1 if number else None, number, State.MET) for number in range(length + 1))
    return Tree(here, ("n0",), distributions, tuple(needs))


def shown_as(name: str) -> str:
    """How a name reads, see console.one_line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def graphviz(text: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What graphviz draws: the lines of text in each node, by its name, and on each arrow."""
    if not shutil.which("dot"):
        missing("there is no graphviz")
    result = subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    drawn: dict[str, dict[str, list[str]]] = {"node": {}, "edge": {}}
    for group in ET.fromstring(result.stdout).iter("{http://www.w3.org/2000/svg}g"):
        if group.get("class") in drawn:
            title = group.findtext("{http://www.w3.org/2000/svg}title") or ""
            texts = [item.text or "" for item in group.findall("{http://www.w3.org/2000/svg}text")]
            drawn[group.get("class") or ""].setdefault(title, []).extend(texts)
    return drawn["node"], drawn["edge"]


@pytest.fixture(scope="module")
def mermaid() -> Callable[..., dict[str, Any]]:
    """What mermaid's parser, from the npm registry and pinned by tests/mermaid/package-lock.json, makes of a text."""
    if not shutil.which("npm"):
        missing("there is no npm")
    source = ROOT / "tests" / "mermaid"
    pins = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(source.iterdir()))).hexdigest()
    home = deployment.download_cache() / f"mermaid-{pins[:16]}"
    with deployment.once(home) as wanted:
        if wanted:
            for path in source.iterdir():
                shutil.copy(path, home)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            result = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, timeout=300)
            assert result.returncode == 0, result.stderr

    def parse(text: str, **site: int) -> dict[str, Any]:
        result = subprocess.run(
            ["node", "parse.mjs", json.dumps(site)], cwd=home, input=json.dumps([text]), capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-2000:]
        (answer,) = json.loads(result.stdout)
        assert isinstance(answer, dict)
        return answer

    return parse


def label(text: str) -> str:
    """A label as mermaid draws it: its parser hides entities from its grammar, and its renderer puts them back."""
    return html.unescape(text.replace("ﬂ°°", "&#").replace("ﬂ°", "&").replace("¶ß", ";"))


def test_graphviz_draws_the_names(mermaid: Callable[..., dict[str, Any]]) -> None:
    """graphviz and mermaid show exactly the names that there are, whatever these are, and nothing else."""
    tree = made(HOSTILE)
    names = [f"{shown_as(name)} 1" for name in HOSTILE]
    lost = [shown_as(f"no {name}") for name in HOSTILE]
    nodes, edges = graphviz("\n".join(graphs.dot(tree)))
    assert [texts[0].replace("\xa0", " ") for texts in nodes.values()] == [*names, *lost]
    assert {texts[1] for texts in nodes.values()} == {"zipped egg, not active", "missing"}
    drawn = [texts[0].replace("\xa0", " ") for texts in edges.values() if texts]
    wanted = [shown_as(f"{name}=1") for name in HOSTILE]
    assert drawn == [f"{text}  conflicting" for text in wanted]
    assert len(edges) == 2 * len(HOSTILE)
    parsed = mermaid("\n".join(graphs.mermaid(tree)))
    seen = [[label(part) for part in re.split("<br ?/?>", node["text"])] for node in parsed["nodes"]]
    assert [text[0] for text in seen] == [*names, *lost]
    assert {text[-1] for text in seen} == {"zipped egg, not active", "missing"}
    assert {tuple(node["classes"]) for node in parsed["nodes"]} == {("zipped",), ("missing",)}
    assert len(parsed["arrows"]) == 2 * len(HOSTILE)
    assert {arrow["start"] for arrow in parsed["arrows"]} == {"n0"}
    assert [label(arrow["text"]) for arrow in parsed["arrows"] if arrow["text"]] == drawn
    assert "\n".join((*graphs.dot(tree), *graphs.mermaid(tree))).isascii()


def test_every_distribution_of_a_real_tree_is_drawn(
    turbogears1: Deployment, mermaid: Callable[..., dict[str, Any]]
) -> None:
    """TurboGears' tree is drawn: every distribution, every arrow, by both, and in text."""
    common = ["tree", "--python", turbogears1.python]
    tree_json = json.loads(eggcache(*common, "--json").stdout)
    rows = [tree_json["distributions"][need["found"]] for need in tree_json["needs"] if need["found"] is not None]
    names = {f"{row['project']} {row['version']}" for row in rows if not row["extras"]}
    assert len(names) == 19
    arrows = [need for need in tree_json["needs"] if need["by"] is not None]
    nodes, edges = graphviz(eggcache(*common, "--format", "dot").stdout)
    assert names <= {texts[0].replace("\xa0", " ") for texts in nodes.values()}
    ends = {(need["by"], need["requirement"] if need["found"] is None else need["found"]) for need in arrows}
    assert len(edges) == len(ends)
    parsed = mermaid(eggcache(*common, "--format", "mermaid").stdout)
    assert names <= {label(re.split("<br ?/?>", node["text"])[0]) for node in parsed["nodes"]}
    assert len(parsed["arrows"]) == len(arrows)
    *drawn, outside, total = eggcache(*common).stdout.splitlines()
    assert outside.endswith(": 6 zipped eggs on the path, outside of the tree")
    assert set(re.findall(r"(\S+)\.egg", outside)) >= {"MarkupSafe-0.23-py2.7-linux-x86_64", "AddOns-0.7-py2.7"}
    assert total == "20 distributions: 19 zipped, 1 unzipped; 1 missing"
    assert "MarkupSafe" not in "".join(drawn)
    needing = eggcache(*common, "--reverse", "PEAK-Rules")
    assert needing.returncode == 5
    assert {"TurboJson 1.3.2", "TurboGears 1.1.3"} <= set(re.findall(r"-- (\S+ \S+)", needing.stdout))


def test_deep_and_wide() -> None:
    """How deep a tree is, the eggs decide: nothing recurses."""
    deep = chain(3000)
    assert sum(1 for _ in tree_lines.lines(deep)) == 3001
    assert sum(1 for _ in graphs.dot(deep)) == 3001 + 3000 + 5
    assert len(tree_selection.dependents(deep, ["n3000"]).distributions) == 3001
    assert len(tree_selection.levels(deep, 2000).distributions) == 2001
    upward = tree_selection.dependents(deep, ["n3000"])
    assert sum(1 for _ in tree_lines.lines(upward, reverse=True)) == 101
    assert len(tree_selection.levels(upward, 10, reverse=True).distributions) == 11


def test_nothing_of_a_name_reaches_the_terminal(python: Path, shared_tmp: Path) -> None:
    """A directory's name can neither drive the terminal nor be taken for rich's markup."""
    odd = shared_tmp / "[bold red]\x1b]0;title\x07[nonsense]"
    odd.mkdir()
    write_egg(odd / "App-1.0-py3.11.egg", {"app.py": ""})
    shown = on_terminal("tree", "App", "--path", odd, "--python", python)
    assert "[bold red]\\x1b]0;title\\x07[nonsense]/App-1.0-py3.11.egg" in COLOUR.sub("", shown)
    assert "\x07" not in shown


def test_few_eggs_outside_of_the_tree_are_named(turbogears1: Deployment) -> None:
    """Of many eggs outside of the tree a line names eight, and says how many there are; JSON has all of them."""
    command = ["tree", "--python", turbogears1.python, "configobj"]
    *_, outside, _ = eggcache(*command).stdout.splitlines()
    match = re.fullmatch(r"(.*) and (\d+) more: (\d+) zipped eggs on the path, outside of the tree", outside)
    assert match, outside
    assert len(match[1].split(", ")) == 8
    assert 8 + int(match[2]) == int(match[3]) == len(json.loads(eggcache(*command, "--json").stdout)["outside"])


def test_mermaid_draws_five_hundred_arrows(mermaid: Callable[..., dict[str, Any]]) -> None:
    """mermaid refuses more, also where the diagram itself has maxEdges: that is for the configuration of what draws."""
    text = "flowchart LR\n" + "".join(f"  a --> n{number}\n" for number in range(500))
    assert len(mermaid(text)["arrows"]) == 500
    for more in (f"{text}  a --> b\n", f'%%{{init: {{"maxEdges": 501}}}}%%\n{text}  a --> b\n'):
        with pytest.raises(AssertionError, match="Edge limit exceeded"):
            mermaid(more)
    assert len(mermaid(f"{text}  a --> b\n", maxEdges=501)["arrows"]) == 501
