"""The target's answer about a tree: checked like a stranger's, then taken apart.

`.pth` files and eggs run in the target, and may answer in its place. So every part that has not exactly the right form
is refused. Most of all: a path that is not absolute and plain, or a cache name that is more than a name, which could
make a command write somewhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NoReturn

from eggcache.errors import EggcacheError
from eggcache.model import Distribution, Interpreter, Kind, Need, State, Tree
from eggcache.target.tree_selection import project_name

MOST = 20_000  # of anything that a target answers with: what is done with an answer takes time, too


class Answer:
    """The target's answer, taken apart; EggcacheError at the first part of a wrong form."""

    def __init__(self, executable: str, answer: object) -> None:
        self._executable = executable
        self.said: dict[str, Any] = self._row(answer)

    def _refuse(self, words: str) -> NoReturn:
        cause = f"is no Python to trust: it answered with {words}"
        raise EggcacheError(self._executable, cause, "name the interpreter that Apache runs: --python PATH")

    def _row(self, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._refuse("something else than a table")
        return value

    def _list(self, name: str, row: dict[str, Any] | None = None) -> list[Any]:
        value = (self.said if row is None else row).get(name)
        if not isinstance(value, list):
            self._refuse(f"no list of {name}")
        if len(value) > MOST:
            self._refuse(f"{len(value)} {name}, where {MOST} are more than any site has")
        return value

    def text(self, name: str, row: dict[str, Any] | None = None) -> str:
        """The string `name` of the answer, or of its `row`."""
        value = (self.said if row is None else row).get(name)
        if not isinstance(value, str) or "\0" in value:
            self._refuse(f"no text as {name}")
        return value

    def _optional(self, name: str, row: dict[str, Any] | None = None) -> str | None:
        return None if (self.said if row is None else row).get(name) is None else self.text(name, row)

    def _texts(self, name: str, row: dict[str, Any] | None = None) -> tuple[str, ...]:
        return tuple(self.text(name, {name: value}) for value in self._list(name, row))

    def _path(self, name: str, row: dict[str, Any]) -> str:
        value = self.text(name, row)
        if not value.startswith("/") or value.startswith("//") or os.path.normpath(value) != value:
            self._refuse(f"a {name} that is no plain absolute path")
        return value

    def _paths(self, name: str) -> tuple[str, ...]:
        return tuple(self._path(name, {name: value}) for value in self._list(name))

    def _choice(self, kind: type[Any], name: str, row: dict[str, Any]) -> Any:
        try:
            return kind(self.text(name, row))
        except ValueError:
            self._refuse(f"a {name} that there is not")

    def _index(self, name: str, row: dict[str, Any], length: int) -> int | None:
        value = row.get(name)
        if value is None:
            return None
        if type(value) is not int or not 0 <= value < length:  # bool is an int, too
            self._refuse(f"a {name} out of range")
        return value

    def pairs(self, name: str) -> list[tuple[str, str]]:
        """The pairs of strings in the list `name`."""
        rows = [self._texts(name, {name: row}) for row in self._list(name)]
        return [(row[0], row[1]) if len(row) == 2 else self._refuse(f"no pairs of {name}") for row in rows]

    def pair(self, name: str) -> tuple[str, str]:
        """The two strings of the list `name`."""
        row = self._texts(name)
        return (row[0], row[1]) if len(row) == 2 else self._refuse(f"no pair as {name}")

    def tree(self, requirements: tuple[str, ...]) -> Tree:
        """The whole answer as the Tree of these `requirements`."""
        distributions = tuple(self._distribution(self._row(row)) for row in self._list("distributions"))
        needs = tuple(self._need(self._row(row), len(distributions)) for row in self._list("needs"))
        missing = (need.requirement for need in needs if need.by is None and need.state is State.MISSING)
        nearby = _nearby(islice(missing, 10), self._texts("projects"))
        read, outside = self._paths("read"), self._paths("outside")
        return Tree(self._interpreter(), requirements, distributions, needs, nearby, read, outside)

    def _interpreter(self) -> Interpreter:
        version = self._list("version")
        if not 2 <= len(version) <= 5 or not all(type(part) is int and 0 <= part < 1000 for part in version):
            self._refuse("no version")
        origin = None if self.said.get("pkg_resources") is None else self._path("pkg_resources", self.said)
        return Interpreter(
            executable=self._executable,
            version=tuple(version),
            prefix=self._path("prefix", self.said),
            path=self._paths("path"),
            pkg_resources=origin,
            setuptools=self._optional("setuptools"),
            pth=self._paths("pth"),
            site_packages=self._paths("site"),
            added=self._paths("added"),
        )

    def _distribution(self, row: dict[str, Any]) -> Distribution:
        kind: Kind = self._choice(Kind, "kind", row)
        if type(row.get("active")) is not bool:
            self._refuse("neither active nor not")
        location = self._path("location", row)
        egg, inside, cache_name = None, self.text("inside", row), self._optional("cache_name", row)
        if kind.zipped:
            egg = self._path("egg", row)
            self._check_place(kind, location, egg, inside, cache_name)
        elif row.get("egg") is not None or inside or cache_name is not None:
            self._refuse(f"a zip for {kind.value}")
        return Distribution(
            project=self.text("project", row),
            version=self._optional("version", row),
            location=location,
            kind=kind,
            extras=self._texts("extras", row),
            active=row["active"],
            egg=egg,
            inside=inside,
            cache_name=cache_name,
        )

    def _check_place(self, kind: Kind, location: str, egg: str, inside: str, cache_name: str | None) -> None:
        if (kind is Kind.BASKET) != bool(inside) or (kind is Kind.ZIP) != (cache_name is None):
            self._refuse(f"a place that no {kind.value} has")
        if inside and (inside.startswith(("/", "../")) or os.path.normpath(inside) + "/" != inside):
            self._refuse("a place in a zip that is no plain path")
        if cache_name is None:
            return
        # A directory of this name is going to be written. It is a part of the egg's path as it stands on sys.path,
        # which `location`, with symbolic links resolved, need not be
        parts = [*egg.split("/"), *inside.split("/"), *location.split("/")]
        if not cache_name.lower().endswith(".egg") or cache_name not in parts:
            self._refuse("a cache name that is none")

    def _need(self, row: dict[str, Any], length: int) -> Need:
        state: State = self._choice(State, "state", row)
        index = self._index("found", row, length)
        if (state is State.MISSING and index is not None) or (
            state in (State.MET, State.CONFLICTING) and index is None
        ):
            self._refuse(f"a need that is not {state.value}")
        parent = self._index("by", row, length)
        reason, extra = self.text("reason", row), self.text("extra", row)
        suits = self._path("suits", row) if row.get("suits") else ""
        return Need(self.text("requirement", row), parent, index, state, reason, extra, suits)


def _nearby(roots: Iterable[str], projects: Sequence[str]) -> tuple[str, ...]:
    by_key = {name.lower(): name for name in projects}
    close: dict[str, None] = {}
    for root in roots:
        import difflib  # nearly always there is none

        key = project_name(root).lower()
        for match in difflib.get_close_matches(key, by_key, n=5, cutoff=0.7):
            close[by_key[match]] = None
        close.update((by_key[candidate], None) for candidate in sorted(by_key) if candidate.startswith(key))
    return tuple(close)[:5]
