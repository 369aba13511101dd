"""The house: which room imports which, how modules are named, how long they are, and how much a function asks for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT

import eggcache

SOURCE = Path(eggcache.__file__).parent
# From the ground up. A room imports from those before it; rooms of one line do not import each other.
ROOMS = [
    {"errors", "explanations", "model", "progress"},
    {"system"},
    {"eggs"},
    {"target"},
    {"servers"},
    {"cache"},
    {"unzip", "proof", "wheelhouse", "wrappers"},
    {"cli"},
    {"__init__", "__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
MODULES = [path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if "inside" not in path.parts]


def imports(path: Path) -> set[str]:
    """The rooms that a module imports from, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse((SOURCE / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "eggcache":
            rooms |= {alias.name for alias in node.names} - {"__version__"}
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("eggcache."):
            rooms.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}, {node.lineno}: a relative import"
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("eggcache.")}
    return rooms


def room_of(path: Path) -> str:
    """The room that a module lies in."""
    return path.with_suffix("").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_down_only(path: Path) -> None:
    """A module imports from its own room and from those below; the words of all rooms import only each other."""
    room = room_of(path)
    same = ROOMS[0] if room in ROOMS[0] else {room}
    assert {name for name in imports(path) - same if LEVEL[name] >= LEVEL[room]} == set()


def test_no_room_is_named_like_a_public_function() -> None:
    """eggcache.prepare is a function, whatever was imported before."""
    assert set(LEVEL) & set(eggcache.__all__) == set()
    folders = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert folders <= set(LEVEL)


def test_names_tell_what_is_in_a_module() -> None:
    """No module, of the source or shared by tests, is called what anything fits under; no two modules of
    the source have one name, but for those of a command, and of explanations, which are called like their subject."""
    vague = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "tools", "base", "core"}
    support = {path.relative_to(ROOT) for path in (ROOT / "tests" / "support").glob("*.py")}
    assert {path for path in {*MODULES, *support} if path.stem in vague or path.parent.name in vague} == set()
    names = [path.stem for path in MODULES if path.stem != "__init__" and path.parts[0] not in ("explanations", "cli")]
    assert len(names) == len(set(names))


def test_no_public_function_takes_more_than_six() -> None:
    """What travels together is a noun: Target, Roots, Run. Six is the most that a function, a method or a constructor
    of any module takes, each `*` and `**` counted; some take six, so it is known that they were looked at."""
    taken = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (
                node.name in ("__init__", "__new__") or not node.name.startswith("_")
            ):
                given = [
                    *node.args.posonlyargs,
                    *node.args.args,
                    *node.args.kwonlyargs,
                    node.args.vararg,
                    node.args.kwarg,
                ]
                names = [each.arg for each in given if each and each.arg not in ("self", "cls")]
                taken[f"{path}:{node.lineno} {node.name}"] = len(names)
    assert {name: count for name, count in taken.items() if count > 6} == {}
    assert max(taken.values()) == 6


def users(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of each public name that the module at `path` takes from another room."""
    modules = {".".join(("eggcache", *each.with_suffix("").parts)): each for each in MODULES}
    tree, aliases = ast.parse((SOURCE / path).read_text()), dict[str, str]()
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            module = f"{node.module}.{alias.name}"
            if module in modules:
                aliases[alias.asname or alias.name] = module
            yield str(node.module), alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield aliases[node.value.id], node.attr


def test_parameters_are_documented() -> None:
    """Each function that a module of another room takes has a `:param NAME:` for each of its parameters."""
    taken = {(room_of(path), *name) for path in MODULES for name in users(path)}
    lacking = set()
    for path in MODULES:
        module = ".".join(("eggcache", *path.with_suffix("").parts))
        for node in ast.parse((SOURCE / path).read_text()).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            if not {room for room, *name in taken if name == [module, node.name]} - {room_of(path)}:
                continue
            parameters = [each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)]
            text = ast.get_docstring(node) or ""
            if not all(f":param {name}:" in text for name in parameters):
                lacking.add(f"{path}: {node.name}")
    assert lacking == set()


def test_methods_name_their_parameters() -> None:
    """The docstring of each public method names each of its parameters; a method without one has its base class's."""
    lacking = set()
    for path in MODULES:
        for cls in ast.parse((SOURCE / path).read_text()).body:
            if not isinstance(cls, ast.ClassDef) or cls.name.startswith("_"):
                continue
            for node in cls.body:
                if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                    continue
                text = ast.get_docstring(node)
                if text is None and cls.bases:
                    continue
                own = not any(ast.unparse(each) == "staticmethod" for each in node.decorator_list)  # self, or cls
                parameters = [each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)][own:]
                if not all(f":param {name}:" in (text or "") or f"`{name}`" in (text or "") for name in parameters):
                    lacking.add(f"{path}: {cls.name}.{node.name}")
    assert lacking == set()


def test_nothing_asks_for_confirmation() -> None:
    """No module asks whoever runs it for a line: eggcache runs at boot, and from cron."""
    for path in MODULES:
        for node in ast.walk(ast.parse((SOURCE / path).read_text())):
            assert not (isinstance(node, (ast.Name, ast.Attribute)) and ast.unparse(node) in ("input", "sys.stdin")), (
                path
            )
            assert not (isinstance(node, ast.Import) and node.names[0].name == "getpass"), path


def test_modules_are_short() -> None:
    """No module has more than 350 lines, scripts of the target included; but for the gateway, which servers get as it
    stands, and whose lines their logs name."""
    lines = {str(path.relative_to(SOURCE)): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {name for name, count in lines.items() if count > 350} == {"target/inside/eggcache_gateway.py"}


def test_functions_are_short() -> None:
    """No function has 80 lines, its docstring included: none needs to be scrolled."""
    functions = {
        f"{path.relative_to(SOURCE)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: lines for name, lines in functions.items() if lines >= 80} == {}


def test_modules_say_what_is_in_them() -> None:
    """A module begins with one line that is a sentence: what is in it. A script of the target has that as a comment."""
    for path in MODULES:
        said = (ast.get_docstring(ast.parse((SOURCE / path).read_text())) or "none").splitlines()
        assert said[0].endswith("."), path
        assert said[1:2] in ([], [""]), path
    for path in SOURCE.glob("target/inside/*.py"):
        assert re.match("# (Runs INSIDE (the|a) target|" + path.stem + ": )", path.read_text()), path


def test_no_text_holds_a_command() -> None:
    """What a shell is to run is the command of a Remedy, and never at the end of a text, where it is looked for."""
    command = re.compile(r": (eggcache|chmod|chown|chgrp|mkdir|mount|rm|semanage|systemctl) [\w-]")
    for path in (path for path in MODULES if path.parts[0] != "explanations"):  # which are the text of pages
        for node in ast.walk(ast.parse((SOURCE / path).read_text())):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            assert "\n" in text or not command.search(text), (path, text)


def test_commands_of_remedies_are_complete() -> None:
    """A Remedy has no command of eggcache's that is written where the fault is seen: commands.py makes it, with the
    whole target."""
    for path in MODULES:
        for node in ast.walk(ast.parse((SOURCE / path).read_text())):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Remedy":
                continue
            for command in [*node.args[1:], *(keyword.value for keyword in node.keywords if keyword.arg == "command")]:
                parts = [item.value for item in ast.walk(command) if isinstance(item, ast.Constant)]
                assert not any(str(part).lstrip().startswith("eggcache") for part in parts), f"{path}, {node.lineno}"


def test_no_test_imports_another() -> None:
    """What tests share lies in tests/support: no test's module imports another one's, or conftest. Each has a name of
    its own, without which pytest takes none of them."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
    for path in (ROOT / "tests").rglob("*.py"):
        names_of_tests = re.findall(
            r"^ *(?:from|import) +(\S*\btest_\S*|\S*\bconftest\b\S*)", path.read_text(), re.MULTILINE
        )
        assert names_of_tests == [], path


def test_names_of_tests_are_phrases() -> None:
    """The name of each test has two words or more behind `test`: in a list of failures it says what is so no more."""
    names = [
        name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    ]
    assert len(names) > 1000
    assert [name for name in names if name.count("_") < 2] == []


# At the beginning of a word: what ends another path is another's, as /srv/tests/data
NAMED = re.compile(r"(?<![\w./@<>*-])(?:tests|scripts|eggcache|docs|findings)/[\w./*-]*\w")
MADE = {"docs/_build"}  # by sphinx


def test_files_that_are_named_are_there() -> None:
    """Each file of this project that a script, the configuration, a page, a test or the source names is there."""
    top = (".ci/run", "pyproject.toml", "setup.py", "MANIFEST.in", "README.rst", "CONTRIBUTING.rst")
    naming = [*(ROOT / name for name in top), *(path for path in (ROOT / "scripts").iterdir() if path.is_file())]
    naming += [path for room in ("eggcache", "tests") for path in (ROOT / room).rglob("*.py")]
    naming += (ROOT / "docs").rglob("*.rst")
    lost = []
    for path in naming:
        names = {name for name in NAMED.findall(path.read_text()) if "NAME" not in name} - MADE
        lost += [(str(path.relative_to(ROOT)), name) for name in names if not any(ROOT.glob(name))]
    assert lost == []
