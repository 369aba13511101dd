"""docs/: built by Sphinx without a warning, with nothing in it that the source has outgrown."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, clones
from support.judge import environment
from support.parts import missing

import eggcache
from eggcache import explanations
from eggcache.cli import main, manual, reference
from eggcache.wrappers import kinds

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built in a fresh clone by the one command that CONTRIBUTING.rst names: a warning is an error,
    and so is a reference that leads nowhere."""
    if shutil.which("dot") is None:
        missing("there is no dot, of graphviz")
    clone = clones.clone(tmp_path_factory.mktemp("docs") / "clone")
    before = set(clone.iterdir())
    section = (clone / "CONTRIBUTING.rst").read_text().partition("\nThe documentation\n")[2]
    command = re.search(r"^\.\. code-block:: sh\n\n((?: {4}.*\n)+)", section, re.MULTILINE)
    assert command
    env = environment({**clones.reaching_the_index(), "HOME": str(clone.parent)})
    result = subprocess.run(["sh", "-ec", command[1]], cwd=clone, env=env, capture_output=True, text=True, check=False)
    page = clone / "build" / "docs" / "index.html"
    assert (result.returncode, result.stdout) == (0, f"the documentation is in {page}\n"), result.stderr
    assert {path.name for path in set(clone.iterdir()) - before} == {".venv", "build"}  # what git ignores
    return page.parent


def built(docs: Path, out: Path) -> Path:
    """The pages that Sphinx makes of `docs` without a warning."""
    if shutil.which("dot") is None:
        missing("there is no dot, of graphviz")
    sphinx = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "-d", out / "doctrees", docs, out / "html"]
    result = subprocess.run(sphinx, env=environment(), capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
    return out / "html"


def arrows(page: Path) -> set[tuple[str, str]]:
    """The arrows of the picture on a page, each from one room to another."""
    pictures = re.findall(r'data="([^"]+\.svg)"', page.read_text(encoding="utf-8"))
    drawn = "".join((page.parent / name).read_text(encoding="utf-8") for name in pictures)
    return set(re.findall(r"<title>([\w ]+)&#45;&gt;([\w ]+)</title>", drawn))


def text(page: Path) -> str:
    """What a reader sees of a page."""
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")).replace("&quot;", '"')


def test_every_page_is_built(site: Path) -> None:
    """Each source is a page, and the index leads to it."""
    for source in DOCS.rglob("*.rst"):
        assert (site / source.relative_to(DOCS).with_suffix(".html")).is_file()
    assert "tutorial.html" in (site / "index.html").read_text()


def test_reference_is_whole(site: Path) -> None:
    """Every command, option, exit status and finding is in the reference."""
    page = text(site / "reference" / "commands.html")
    for action in main.parser()._actions:
        for name, command in (action.choices or {}).items():
            assert f"eggcache {name}" in page
            for option in (spelled for action in command._actions for spelled in action.option_strings):
                assert option in page, (name, option)
    codes = (site / "reference" / "findings.html").read_text(encoding="utf-8")
    assert [code for code in explanations.by_code() if f'id="{code}"' not in codes] == []
    statuses = text(site / "reference" / "exit-statuses.html")
    assert all(re.search(rf"^{status}$", statuses, re.MULTILINE) for status in ("0", "1", "2", "3", "4", "5", "75"))


def test_every_wrapper_has_its_page(site: Path) -> None:
    """Each kind of wrapper is shown on a page of how-to, as it is emitted."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "howto").glob("*.rst"))
    assert set(re.findall(r"^\.\. generated:: wrapper (\S+)$", sources, re.MULTILINE)) == set(kinds.KINDS)
    assert "ExecStartPre=+" in text(site / "howto" / "systemd.html")
    assert "--lenient" in text(site / "howto" / "init-script.html")


def test_commands_in_the_documentation_parse(site: Path) -> None:
    """What a page or an example tells to type is a command line that eggcache takes."""
    pages = "".join(path.read_text(encoding="utf-8") for path in [*DOCS.rglob("*.rst"), ROOT / "README.rst"])
    typed = set(re.findall(r"^ +(?:\$ )?(eggcache (?:[^\n\\|>]|\\\n)+)", pages, re.MULTILINE))
    typed |= {words for examples in manual.EXAMPLES.values() for words, _ in examples}
    assert len(typed) > 25
    for line in typed:
        words = shlex.split(line.replace("\\\n", " ").partition(" || ")[0], comments=True)[1:]
        if "COMMAND" not in words and not line.startswith("eval"):
            parsed = main.parser().parse_known_args(words)[0]
            assert parsed.command in words


def test_public_api_is_whole(site: Path) -> None:
    """The page of the API has each public name, and each function says what it takes, returns and raises."""
    page = (site / "reference" / "api.html").read_text(encoding="utf-8")
    assert [name for name in eggcache.__all__ if f'id="eggcache.{name}"' not in page] == []
    functions = [getattr(eggcache, name) for name in eggcache.__all__ if inspect.isfunction(getattr(eggcache, name))]
    assert len(functions) > 8
    for function in functions:
        said = re.findall(r"^ +:param (\w+): \w", function.__doc__, re.MULTILINE)
        assert sorted(said) == sorted(inspect.signature(function).parameters), function.__name__
        assert re.search(r"^ +:returns: .*(?:\n.*)*^ +:raises \w+: ", function.__doc__, re.MULTILINE), function.__name__


def test_rooms_are_drawn(site: Path) -> None:
    """The page on the source has a picture with every import from room to room, and a section for each room."""
    page = site / "explanation" / "architecture.html"
    rooms = {path.parent.name for path in (ROOT / "eggcache").glob("*/__init__.py")} - {"explanations"}  # texts alone
    imports = set()
    for room in rooms:
        for line in "".join(path.read_text() for path in (ROOT / "eggcache" / room).rglob("*.py")).splitlines():
            inside, names = re.match(r"\s*from eggcache(?:\.(\w+)[\w.]*)? import (.*)|", line).groups()
            imports |= {
                (room, other) for other in ({inside} if inside else re.findall(r"\w+", names or "")) if other != room
            }
    imports = {(room, other) for room, other in imports if other in rooms}
    assert len(imports) > 20
    assert {(room, other) for room, other in arrows(page) if other != "the words"} == imports
    assert {room for room in rooms if f'<section id="{room}">' not in page.read_text()} == set()


def test_picture_follows_the_imports(tmp_path: Path) -> None:
    """An import that is new in the source is a new arrow, and nothing else changes."""
    ignored = shutil.ignore_patterns("__pycache__", "*.rst", "bench.*")
    shutil.copytree(ROOT / "eggcache", tmp_path / "eggcache", ignore=ignored)
    shutil.copytree(DOCS, tmp_path / "docs", ignore=ignored)
    (tmp_path / "docs" / "index.rst").write_text("Rooms\n=====\n\n.. generated:: rooms\n")
    before = arrows(built(tmp_path / "docs", tmp_path / "before") / "index.html")
    assert ("cli", "proof") in before
    with (tmp_path / "eggcache" / "proof" / "permissions.py").open("a") as module:
        module.write("\n\ndef late() -> None:\n    from eggcache.wheelhouse import legacy  # noqa: F401\n")
    after = arrows(built(tmp_path / "docs", tmp_path / "after") / "index.html")
    assert after - before == {("proof", "wheelhouse")}
    assert before - after == set()


def test_every_decision_has_its_reasons() -> None:
    """A page of a decision says why it was made, and what was rejected."""
    pages = sorted(set((DOCS / "decisions").glob("*.rst")) - {DOCS / "decisions" / "index.rst"})
    assert len(pages) > 10
    for page in pages:
        lines = page.read_text(encoding="utf-8").splitlines()
        assert {"Why", "What was rejected"} <= set(lines), page.name
        assert len(lines) < 40, page.name


def test_files_that_are_named_exist() -> None:
    """A file or a module of the source that a page or a comment names is there."""
    pages = [*DOCS.rglob("*.rst"), *ROOT.glob("*.rst")]
    sources = [*(ROOT / "eggcache").rglob("*.py"), *(ROOT / "scripts").glob("*"), ROOT / "pyproject.toml"]
    named = set()
    for page in (path for path in (*pages, *sources) if path.is_file()):
        text = page.read_text(encoding="utf-8")
        named |= {
            (page.name, name) for name in re.findall(r"\b((?:eggcache|tests|scripts|docs)/[\w/.]*\.(?:py|rst))\b", text)
        }
        rooms = "|".join(path.parent.name for path in (ROOT / "eggcache").glob("*/__init__.py"))
        for room, module in re.findall(rf"``({rooms})\.([a-z_]+)``", text) if page in pages else ():
            named.add((page.name, f"eggcache/{room}/{module}.py"))
    assert len(named) > 60
    assert {(page, name) for page, name in named if "NAME" not in name and not (ROOT / name).exists()} == set()


def test_no_option_of_the_tests_is_forgotten() -> None:
    """CONTRIBUTING.rst names what makes tests longer."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    options = set(re.findall(r'environ\.get\(\s*"(EGGCACHE_[A-Z_]+)"', source))
    assert len(options) > 2
    explained = (ROOT / "CONTRIBUTING.rst").read_text(encoding="utf-8")
    assert [option for option in sorted(options) if option not in explained] == []


def test_no_environment_variable_is_forgotten() -> None:
    """What the source reads in its environment by name, the reference explains."""
    source = "".join(path.read_text() for path in (ROOT / "eggcache").rglob("*.py") if "inside" not in path.parts)
    read = set(re.findall(r'environ(?:\.get\(|\[)"([A-Z_]+)"', source)) - {"PATH", "HOME"}
    explained = " ".join(name for name, _ in reference.ENVIRONMENT)
    assert len(read) > 3
    assert {name for name in read if name not in explained} == set()
