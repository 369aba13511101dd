"""What `check` asks of the target: its own pkg_resources looks up everything in a cache, and imports modules.

One process in the target answers with the tree and then with the look-ups (inside/lookups.py). The answer is a
stranger's, like the resolver's. A forged one can lead to a wrong finding at most, so only its form is checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from eggcache.errors import EggcacheError, NotPermitted
from eggcache.model import Tree
from eggcache.servers.server_locale import Locale
from eggcache.system import workers
from eggcache.target import launch
from eggcache.target.interpreter import Roots, Target

_SECONDS = 60  # that the imports of an application may take together: process.run waits for 120
_MOST = 8  # processes that look up
_FRAMES, _LONGEST = 20, 300  # of a traceback, and characters of each: a stranger says them


@dataclass(frozen=True)
class Wrong:
    """A lookup that was not served from the cache."""

    kind: str  # "file", "directory", or "egg" where the egg itself could not be looked at
    name: str
    call: str  # by which pkg_resources wanted to write; "" where it did not come to that
    path: str  # where
    words: str  # what it said

    @property
    def failure(self) -> str:
        """The failure in words."""
        return f"it wants to write ({self.call} {self.path})" if self.call else self.words


@dataclass(frozen=True)
class Lookup:
    """The results of all look-ups in one egg."""

    egg: str
    inside: str
    files: int
    directories: int
    failed: int
    wrong: tuple[Wrong, ...]  # the first ones


@dataclass(frozen=True)
class Imports:
    """What to import in addition to the shared libraries, and how."""

    modules: Sequence[str] | None = ()  # beside the top-level modules of the roots; None: nothing at all
    locale: Locale | None = None  # in which the target runs; None: ours
    aside: Sequence[str] = ()  # of which the question is what they have extracted, and not whether they import


@dataclass(frozen=True)
class Import:
    """The result of an import."""

    kind: str  # "native": of an egg; "application": of --import; "root": of a root's own; "aside": see Imports
    module: str
    egg: str
    state: str  # "ok", "failed", "empty", "elsewhere": it is imported, and not from the cache
    file: str
    call: str
    path: str
    words: str
    raised: tuple[str, ...]  # the classes of what it raised, and of what that came of; "ENOTDIR" for that errno
    frames: tuple[str, ...]  # where it failed, in which files, the last place last
    zone: tuple[str | None, ...]  # the TZ that it has set, where it is not as it was
    extracted: tuple[str, ...] = ()  # files of eggs that it has had extracted, where it is "aside"


@dataclass(frozen=True)
class Evidence:
    """All that the target says of the cache."""

    default: str | None  # where it would extract to without PYTHON_EGG_CACHE, asked only without a cache
    lookups: tuple[Lookup, ...]
    imports: tuple[Import, ...]


class Question(AbstractContextManager["Question"]):
    """What the target is asked about the `cache` and the tree of `roots`, from the moment on that it is put.

    It is put before all is known of this host's servers, for Apache takes 0.08 s to tell its configuration, and the
    target as long to begin. Where the configuration is such that another question has to be put, this one is dropped.
    """

    _launched: launch.Launch

    def __init__(self, target: Target, roots: Roots, cache: str | None, imports: Imports) -> None:
        self.target, self.roots, self.cache = target, roots, cache
        self._put(*self._worded(imports))

    def __exit__(self, *_: object) -> None:
        self._launched.end()

    def _worded(self, imports: Imports) -> tuple[dict[str, object], dict[str, str | None]]:
        """The request, and the changes to the target's environment."""
        modules = imports.modules
        aside = list(imports.aside if modules is not None else ())
        tasks = {"imports": list(modules or ()), "aside": aside, "import_roots": modules is not None}
        request: dict[str, object] = {
            "cache": self.cache,
            "seconds": _SECONDS,
            "processes": min(workers.cores(), _MOST),
        }
        request.update({**tasks, **launch.question(self.target, self.roots)})
        variables: dict[str, str | None] = {} if self.cache is None else {"PYTHON_EGG_CACHE": self.cache}
        if imports.locale is not None:
            variables.update({**dict.fromkeys(filter(launch.of_locale, os.environ)), **imports.locale.variables()})
        return request, variables

    def _put(self, request: dict[str, object], variables: dict[str, str | None]) -> None:
        self._request = request, variables
        with _saying_nothing():
            self._launched = launch.Launch(self.target, "lookups.py", request, variables=variables)

    def answered(
        self, imports: Imports, *, early: Callable[[Tree], None], meanwhile: Callable[[], object] | None = None
    ) -> Evidence:
        """The target's look-ups in the cache, and the results of `imports`: another question is put for those if need
        be.

        `early` gets the tree as soon as it is known, and works while the target goes on; `meanwhile` is called about
        ten times a second until then and after. Nothing is written, see
        inside/lookups.py. Raises as resolver.resolve does; but a target that could not look is NotPermitted.
        """
        from eggcache.target import resolver  # while the target is at work

        worded = self._worded(imports)
        if worded != self._request:
            self._launched.end()
            self._put(*worded)
        with _saying_nothing():
            answer = resolver.examine(self._launched, self.target, self.roots, early=early, meanwhile=meanwhile)
            try:
                return _taken_apart(answer)
            except (KeyError, TypeError, ValueError):
                cause = "is no Python to trust: its evidence makes no sense"
                raise EggcacheError(self.target.python, cause, "see what its .pth files and eggs do") from None


@contextmanager
def _saying_nothing() -> Iterator[None]:
    """What could not look, said nothing, and is not a finding: exit status 4."""
    try:
        yield
    except EggcacheError as error:
        if error.status != EggcacheError.status:
            raise
        raise NotPermitted(error.thing, error.cause, error.remedy) from error


def _taken_apart(answer: Mapping[str, Any]) -> Evidence:
    """The evidence in an answer; KeyError, TypeError or ValueError where it has not the right form."""
    lookups = []
    for row in answer["lookups"]:
        wrong = tuple(Wrong(*_texts(fields)) for fields in row["wrong"])
        egg, inside = _texts([row["egg"], row["inside"]])
        files, directories, failed = (_count(row[name]) for name in ("files", "directories", "failed"))
        lookups.append(Lookup(egg, inside, files, directories, failed, wrong))
    default = answer["default"]
    if default is not None:
        _texts([default])
    return Evidence(default, tuple(lookups), tuple(map(_import, answer["imports"])))


def _import(row: list[Any]) -> Import:
    *texts, raised, frames, zone, extracted = row
    if not all(isinstance(each, list) for each in (raised, frames, zone, extracted)):
        raise TypeError(row)
    where = tuple(text[:_LONGEST] for text in _texts(frames)[-_FRAMES:])
    now: list[Any] = zone if zone == [None] else _texts(zone[:1])
    return Import(*[*_texts(texts), tuple(_texts(raised)), where, tuple(now), tuple(_texts(extracted))])


def _texts(row: list[Any]) -> list[Any]:
    if not all(isinstance(value, str) for value in row):
        raise TypeError(row)
    return row


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value
