"""Code in an egg that looks for files beside itself: an unzipped egg has them, a zip has not, whatever the cache.

setuptools' own analysis (bdist_egg.scan_module) takes the name __file__ anywhere for unsafe, which most eggs have that
serve a site zipped. Here a statement counts that makes a path out of where its module is, and names data that the egg
has there, or lists a directory. Sources are read word by word, since the parser of one Python refuses those of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from eggcache.eggs import decompression
from eggcache.eggs.decompression import File
from eggcache.eggs.extract import Opened, executable
from eggcache.model import Member

_LONGEST = 512 << 10  # bytes of a source that is looked into
_BYTES = 1 << 20  # bytes of the sources of one egg that are taken apart: of real ones, those that count have a quarter
_NAMES = 32  # that lead to a file, in one module
_WORDS = 2000  # of one statement; what has more is a table
_CALLS = 8  # calls in one statement that are looked into: of nested ones each is read to its end
_FINDINGS = 20  # places that are told of one egg

_PLACES = (b"__file__", b"__path__")
# What is on a line with that where it becomes a path: most modules that have it only reload or name themselves
_PATH_MAKING = re.compile(
    rb"dirname|abspath|realpath|normpath|split|join|parent|Path|listdir|scandir|walk|glob|(?:=|^) *[\w.]*__file__"
)
# A module that knows another way than a path takes that one where there is no file
_OTHER_WAYS = (b"pkg_resources", b"importlib.resources", b"importlib_resources", b"get_data", b"__loader__")
# What no server imports
_ASIDE = re.compile(
    r"(?:^|/)(?:tests?|testing|docs?|examples?|EGG-INFO)/"
    r"|(?:^|/)(?:test_[^/]*|[^/]*_tests?|tests?|setup|conftest|__main__)\.py$"
)
_TO_A_PATH = {"abspath", "realpath", "normpath", "Path", "resolve"}
_TO_A_DIRECTORY = {"dirname", "split", "parent", "parents", "join"}
_ASKING = {"open", "file", "exists", "isfile", "isdir", "execfile", "load_source"}
_ASKING |= {"listdir", "scandir", "walk", "glob", "iglob", "rglob", "iterdir"}

# Each kind of string ends with the text at the latest, so that one that is left open costs one pass and no more
_STRING = r"""(?s:
    \"{3} (?P<long> (?: [^\\"]+ | \\(?:.|\Z) | "(?!"") )* ) (?: \"{3} | \Z )
  | '{3} (?P<long_too> (?: [^\\']+ | \\(?:.|\Z) | '(?!'') )* ) (?: '{3} | \Z )
  | " (?P<short> (?: [^\\"\n]+ | \\(?:.|\Z) )* ) "?
  | ' (?P<short_too> (?: [^\\'\n]+ | \\(?:.|\Z) )* ) '? )"""
_NO_CODE = re.compile(rf"\#[^\n]* | {_STRING}", re.VERBOSE)
_LINE = re.compile(rf"(?: [^\#\"'\\\n]+ | \#[^\n]* | {_STRING} | \\(?s:.|\Z) )* \n?", re.VERBOSE)
_FUNCTION = re.compile(r"\n(?=[ \t]*(?:def|class)\b)")
_WORD = re.compile(
    rf"""\#[^\n]* | [A-Za-z]{{0,2}} (?: {_STRING} )
    | (?P<name> [A-Za-z_][A-Za-z0-9_]* ) | (?P<sign> [=!<>+*/%|&^-]= | [^\s\w\\] )""",
    re.VERBOSE,
)


class _Word(NamedTuple):
    """A name, a sign, or a string without its quotes; `depth` counts the brackets around it."""

    kind: str
    text: str
    depth: int


def file_lookups(opened: Opened) -> list[str]:
    """Where the egg `opened`, from its root on, has code that looks for files beside itself, each place in words.

    A guess: whether that code ever runs, and what it does where there is no file, is not known.

    :param opened: the egg, and the root in it
    :returns: no more than 20 places, as "pkg/mod.py, line 7: a path to pkg/data/"
    :raises EggRefused: a source is damaged
    """
    if opened.egg.file_lookups is not None and not opened.inside:
        return list(opened.egg.file_lookups)
    members = dict(opened.members)
    neighbours = _Neighbours(members)
    places: list[str] = []
    budget, contents = _BYTES, opened.egg.contents
    file = File(opened.source, opened.egg.path, reach=decompression.WINDOW, contents=contents)
    for name, member in members.items():
        if not name.endswith(".py") or member.size > _LONGEST or not neighbours.beside(name) or _ASIDE.search(name):
            continue
        text = decompression.data(file, member, opened.egg.starts[member.offset])
        if contents is not None:
            contents[member.offset] = text
        if not _makes_a_path(text) or any(way in text for way in _OTHER_WAYS):
            continue
        budget -= len(text)
        if budget < 0 or len(places) >= _FINDINGS:
            break
        places += _Module(name, text, neighbours).lookups()
    return places[:_FINDINGS]


def _makes_a_path(text: bytes) -> bool:
    """Whether there is a line that may make a path out of where its module is."""
    for place in _PLACES:
        at = text.find(place)
        while at >= 0:
            start, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
            if end < 0:
                end = len(text)
            if _PATH_MAKING.search(text[start:end]):
                return True
            at = text.find(place, end)
    return False


class _Neighbours:
    """What an egg holds beside its modules: data, and the directories that have any."""

    def __init__(self, members: dict[str, Member]) -> None:
        self.data = {name for name in members if not _is_code(name) and not name.startswith("EGG-INFO/")}
        self.directories = {name[:cut] for name in self.data for cut in _cuts(name)}
        self._memory: dict[str, bool] = {}  # whether what is in a directory has data beside it

    def beside(self, module: str) -> bool:
        """Whether there is data in, or below, a directory that the module is in."""
        directory = module.rpartition("/")[0]
        if directory not in self._memory:
            self._memory[directory] = any(module[:cut] in self.directories for cut in _cuts(module))
        return self._memory[directory]

    def data_at(self, module: str, text: str) -> str:
        """The data that `text` names, seen from the directory of the module or one above; "" for none."""
        path = text.strip("/").removeprefix("./")
        top = path.split("/")[0]
        if not top or top in (".", ".."):
            return ""
        for cut in (*_cuts(module)[::-1], 0):
            place = f"{module[:cut]}/" if cut else ""
            if place + path in self.data:
                return place + path
            if place + top in self.directories and not module.startswith(f"{place}{top}/"):
                return f"{place}{top}/"
        return ""


def _cuts(name: str) -> list[int]:
    return [at for at, char in enumerate(name) if char == "/"]


def _is_code(name: str) -> bool:
    return name.endswith((".py", ".pyc", ".pyo", ".c", ".h", ".pyx", ".pxd", ".pyi")) or executable(name)


class _Module:
    """One source, and the names in it that lead to where it is: to the file, or to a directory."""

    def __init__(self, name: str, text: bytes, neighbours: _Neighbours) -> None:
        self.name = name
        self.neighbours = neighbours
        self.text = text.decode("latin-1")
        self.lasting: dict[str, bool] = {}  # names of the module, and ".attributes": whether to a directory
        self.local: dict[str, bool] = {}  # names of the function that is read

    def lookups(self) -> Iterator[str]:
        """The statements that look for a file, in words."""
        line, program = 1, False  # what follows `if __name__` only runs where this is no module
        for part in _FUNCTION.split(self.text):
            self.local.clear()
            program = program and part[:1] in (" ", "\t")
            if any(name.lstrip(".") in part for name in ("__file__", "__path__", *self.lasting)):
                for at, text in _statements(part):
                    inside = text[:1] in (" ", "\t")
                    if not inside and not text.startswith(("#", "\n", "\r")):
                        program = text.startswith("if __name__")
                    words = [] if program else self._telling_words(text)
                    if words:
                        purpose = self._purpose(words)
                        if purpose:
                            yield f"{self.name}, line {line + at}: {purpose}"
                        self._follow(words, self.local if inside else self.lasting)
            line += part.count("\n") + 1

    def _telling_words(self, text: str) -> list[_Word]:
        """The words of a statement, where one of them leads anywhere."""
        if not any(name.lstrip(".") in text for name in ("__file__", "__path__", *self.lasting, *self.local)):
            return []
        words = _words(text)
        return words if len(words) <= _WORDS and self._leads(words) else []

    def _direction(self, words: list[_Word], at: int) -> bool | None:
        """Whether the name at that position leads to a directory; None: it leads nowhere."""
        text = words[at].text
        if words[at].kind != "name" or text == "__file__":
            return False if words[at].kind == "name" else None
        if text == "__path__":
            return True
        if at and words[at - 1].text == ".":
            return self.lasting.get(f".{text}")
        return self.local.get(text, self.lasting.get(text))

    def _leads(self, words: list[_Word]) -> bool:
        return any(self._direction(words, at) is not None for at in range(len(words)))

    def _to_a_directory(self, words: list[_Word]) -> bool:
        directions = [self._direction(words, at) for at in range(len(words))]
        names = {word.text for word in words if word.kind == "name"}
        return True in directions or (False in directions and not _TO_A_DIRECTORY.isdisjoint(names))

    def _purpose(self, words: list[_Word]) -> str:
        """What a statement with such a name looks for; "" for nothing that is known."""
        if not self._to_a_directory(words):
            return ""
        for word in words:
            data = self.neighbours.data_at(self.name, word.text) if word.kind == "string" else ""
            if data:
                return f"a path to {data}"
        calls = 0
        for at, word in enumerate(words[:-1]):
            asks = word.kind == "name" and word.text in _ASKING and words[at + 1].text == "("
            if asks and not (word.text == "file" and at and words[at - 1].text == "."):  # Python 2 has it as a function
                calls += 1
                if calls > _CALLS:
                    break
                arguments = words[at + 2 :]
                end = next(
                    (number for number, inner in enumerate(arguments) if inner.depth <= word.depth), len(arguments)
                )
                method = at > 1 and words[at - 1].text == "." and self._direction(words, at - 2)
                if method or self._to_a_directory(arguments[:end]):
                    return f"{word.text}() of a path that begins beside it"
        return ""

    def _follow(self, words: list[_Word], names: dict[str, bool]) -> None:
        """Keep in mind what is given a path in this statement."""
        equals = [at for at, word in enumerate(words) if word.text == "=" and word.kind == "sign" and not word.depth]
        value = words[equals[-1] + 1 :] if equals else []
        if not self._leads(value):
            return
        directory = self._to_a_directory(value)
        words_of_value = {word.text for word in value if word.kind != "string"}
        if len(value) > 3 and not directory and _TO_A_PATH.isdisjoint(words_of_value):  # three are module.__file__
            return
        for at, word in enumerate(words[: equals[-1]]):
            if word.kind == "name" and not word.depth and words[at + 1].text in ("=", ",", ")", ":"):
                attribute = at > 0 and words[at - 1].text == "."
                targets, name = (self.lasting, f".{word.text}") if attribute else (names, word.text)
                if len(targets) < _NAMES or name in targets:
                    targets[name] = directory


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The statements of a source, each with the number of its first line, from 0 on, as far as brackets tell."""
    line = begun = depth = 0
    pieces: list[str] = []
    for match in _LINE.finditer(text):
        piece = match.group()
        pieces.append(piece)
        line += piece.count("\n")
        code = _NO_CODE.sub("", piece) if "'" in piece or '"' in piece or "#" in piece else piece
        depth += sum(map(code.count, "([{")) - sum(map(code.count, ")]}"))
        if depth <= 0:
            yield begun, "".join(pieces)
            begun, depth, pieces = line, 0, []
    if pieces:
        yield begun, "".join(pieces)


def _words(statement: str) -> list[_Word]:
    words, depth = list[_Word](), 0
    for match in _WORD.finditer(statement):
        kind = match.lastgroup
        if kind == "sign" and match.group() in ("(", "[", "{"):
            words.append(_Word(kind, match.group(), depth))
            depth += 1
        elif kind in ("name", "sign"):
            depth -= match.group() in (")", "]", "}")
            words.append(_Word(kind, match.group(), depth))
        elif kind:
            words.append(_Word("string", match[kind], depth))
    return words
