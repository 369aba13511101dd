"""The tree of distributions that a requirement pulls in, asked of the target's own pkg_resources.

The walk is done in the target, see inside/probe.py. Here its answer is taken apart, as a stranger's: `.pth` files
and eggs run with the target, and may answer in its place. So what is not exactly of the form expected is refused,
and above all what could lead a command that writes to another place: a path that is not absolute and plain, a cache
name that is more than a name.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NoReturn

from eggcache import launch, target
from eggcache.accounts import Account
from eggcache.errors import EggcacheError, UsageError
from eggcache.model import Distribution, Finding, Interpreter, Kind, Need, State, Tree

MOST = 20_000  # of anything that a target answers with: what is done with an answer takes time, too
_LONGEST = 30  # steps of a chain that a person reads


def resolve(
    executable: str,
    requirements: Sequence[str] = ("TurboGears",),
    *,
    paths: Sequence[str] = (),
    everything: bool = False,
    account: Account | None = None,
    need_pkg_resources: bool = True,
    related: bool = False,
    meanwhile: Callable[[], object] | None = None,
    launched: launch.Launch | None = None,
) -> Tree:
    """What the `requirements` pull in, in the target `executable` as `account` (None: as we are) runs it.

    `paths` are put in front of its sys.path, as Apache's PythonPath does. With `everything` it is all that
    pkg_resources finds on the path, active or not, whatever the requirements; and with `need_pkg_resources` False
    as well, a target that has none is looked through by file name alone; with `related` as well, what each of them
    needs is in it, as of a root. What is missing, conflicts or cannot be parsed is in the tree: see `findings`.
    `meanwhile` is for target.run, and so is `launched`, which launch.probe has made of the same.

    Raises UsageError where the target takes a requirement for no requirement, EggcacheError where it has no
    pkg_resources or gives no sensible answer, NotPermitted where the account cannot run it.
    """
    asked = _Question(executable, requirements, paths, everything, need_pkg_resources)
    request = {"related": related, **asked.request}
    return asked.tree(target.run(executable, "probe.py", request, account, meanwhile=meanwhile, launched=launched))


def examine(
    script: str,
    request: Mapping[str, object],
    executable: str,
    requirements: Sequence[str],
    *,
    paths: Sequence[str] = (),
    everything: bool = False,
    account: Account | None = None,
    variables: Mapping[str, str] | None = None,
    early: Callable[[Tree], None],
) -> Mapping[str, Any]:
    """What a `script` answers to `request` once it has answered with the tree, which `early` gets at once.

    `variables` are added to the target's environment. What is answered is the caller's to take apart. Raises as
    `resolve` does.
    """
    asked = _Question(executable, requirements, paths, everything)
    said = target.run(
        executable,
        script,
        {**request, **asked.request},
        account,
        variables=variables,
        early=lambda first: early(asked.tree(first)),
    )
    return _Answer(executable, said).said


def describe(
    script: str,
    executable: str,
    requirements: Sequence[str],
    *,
    paths: Sequence[str] = (),
    everything: bool = False,
    account: Account | None = None,
) -> tuple[Tree, Mapping[str, Any]]:
    """The tree as `resolve` has it, and the whole of an answer to which a `script` adds something of its own.

    With `everything`, a target without pkg_resources is looked through by file name. What is added is the caller's
    to take apart. Raises as `resolve` does.
    """
    asked = _Question(executable, requirements, paths, everything, need_pkg_resources=False)
    said = target.run(executable, script, asked.request, account)
    return asked.tree(said), _Answer(executable, said).said


class _Question:
    """What probe.py is asked, and what its answer means."""

    def __init__(
        self,
        executable: str,
        requirements: Sequence[str],
        paths: Sequence[str],
        everything: bool,
        need_pkg_resources: bool = True,
    ) -> None:
        self.executable = executable
        self.wanted = [] if everything else list(requirements)
        self.request = launch.question(requirements, paths, everything)
        self.need_pkg_resources = need_pkg_resources or not everything

    def tree(self, said: object) -> Tree:
        answer = _Answer(self.executable, said)
        for line, reason in answer.pairs("bad"):
            raise UsageError(f"requirement {line!r}", reason, "write it as NAME, NAME==VERSION or NAME[EXTRA]")
        broken = answer.text("broken")
        if broken and self.need_pkg_resources:
            raise _without_pkg_resources(self.executable, broken)
        return answer.tree(tuple(self.wanted))


def _without_pkg_resources(executable: str, reason: str) -> EggcacheError:
    if "No module named" in reason and "pkg_resources" in reason:
        return EggcacheError(
            executable,
            "has no pkg_resources to ask",
            'install "setuptools<82" for it, or unzip its eggs: eggcache unzip-all --all',
        )
    return EggcacheError(executable, f"cannot import its pkg_resources: {reason}", "repair its setuptools")


def findings(tree: Tree) -> tuple[Finding, ...]:
    """What is wrong with a tree, each with the chain of requirements that leads to it from a root.

    What is missing or conflicts asks for exit status 5. A line that the target cannot parse is a notice, with
    status 0: the distribution that it names was followed all the same. One finding for each requirement; where
    several distributions have it, the other chains are its context.
    """
    chains: dict[tuple[State, str], list[str]] = {}
    needs: dict[tuple[State, str], Need] = {}
    parents = _parents(tree)
    for need in tree.needs:
        if need.state is not State.MET:
            key = need.state, need.requirement
            needs.setdefault(key, need)
            chains.setdefault(key, []).append(_chain(tree, parents, need))
    return tuple(_finding(tree, need, chains[key]) for key, need in needs.items())


def _finding(tree: Tree, need: Need, chains: list[str]) -> Finding:
    context = tuple(chains[1:])
    name = _project(need.requirement)
    python = f"{tree.interpreter.executable} (Python {'.'.join(map(str, tree.interpreter.version))})"
    if need.state is State.UNPARSED:
        what = tree.interpreter.setuptools or "the target's pkg_resources"
        cause = f"{what} cannot parse it ({need.reason}), so it was followed by name: {chains[0]}"
        return Finding("unparsed-requirement", need.requirement, cause, "", 0, context)
    if need.state is State.CONFLICTING:
        remedy = f"install a {name} that suits all who need it"
        return Finding("conflicting-distribution", need.requirement, f"{need.reason}: {chains[0]}", remedy, 5, context)
    if need.by is None:
        remedy = "name its interpreter with --python, or its directory with --path"
        if tree.nearby:
            remedy = f"there is {', '.join(tree.nearby)}; {remedy}"
        return Finding("root-not-installed", need.requirement, f"{need.reason} for {python}", remedy, 5, context)
    cause = f"{need.reason}: {chains[0]}"
    return Finding("missing-distribution", need.requirement, cause, f"install {name} for {python}", 5, context)


def _parents(tree: Tree) -> dict[int, Need]:
    """The need that each distribution was found by first: needs are in breadth-first order, so the nearest."""
    parents: dict[int, Need] = {}
    for need in tree.needs:
        if need.found is not None:
            parents.setdefault(need.found, need)
    return parents


def _chain(tree: Tree, parents: dict[int, Need], need: Need) -> str:
    steps = [f"{need.requirement} ({need.state.value})"]
    above, seen = need.by, set[int]()
    while above is not None and above not in seen and len(seen) < _LONGEST:
        seen.add(above)
        steps.append(_name(tree.distributions[above]))
        above = parents[above].by if above in parents else None
    return " -> ".join(reversed(steps))


def _name(found: Distribution) -> str:
    extras = f"[{','.join(found.extras)}]" if found.extras else ""
    return f"{found.project}{extras} {found.version or '(no version)'}"


def _project(requirement: str) -> str:
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return match.group(1) if match else requirement


def _nearby(roots: Iterable[str], projects: Sequence[str]) -> tuple[str, ...]:
    by_key = {project.lower(): project for project in projects}
    close: dict[str, None] = {}
    for root in roots:
        key = _project(root).lower()
        for near in difflib.get_close_matches(key, by_key, n=5, cutoff=0.7):
            close[by_key[near]] = None
        close.update((by_key[other], None) for other in sorted(by_key) if other.startswith(key))
    return tuple(close)[:5]


class _Answer:
    """What the target said, taken apart; EggcacheError at the first thing that is not as it must be."""

    def __init__(self, executable: str, said: object) -> None:
        self._executable = executable
        self.said: dict[str, Any] = self._row(said)

    def _refuse(self, what: str) -> NoReturn:
        cause = f"is no Python to trust: it answered with {what}"
        raise EggcacheError(self._executable, cause, "name the interpreter that Apache runs with --python PATH")

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
        """A string of the answer."""
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
        """A list of pairs of strings."""
        rows = [self._texts(name, {name: row}) for row in self._list(name)]
        return [(row[0], row[1]) if len(row) == 2 else self._refuse(f"no pairs of {name}") for row in rows]

    def tree(self, requirements: tuple[str, ...]) -> Tree:
        """The whole of it."""
        distributions = tuple(self._distribution(self._row(row)) for row in self._list("distributions"))
        needs = tuple(self._need(self._row(row), len(distributions)) for row in self._list("needs"))
        missing = (need.requirement for need in needs if need.by is None and need.state is State.MISSING)
        nearby = _nearby(islice(missing, 10), self._texts("projects"))
        return Tree(self._interpreter(), requirements, distributions, needs, nearby, self._paths("read"))

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
        found = self._index("found", row, length)
        if (state is State.MISSING and found is not None) or (
            state in (State.MET, State.CONFLICTING) and found is None
        ):
            self._refuse(f"a need that is not {state.value}")
        by = self._index("by", row, length)
        return Need(self.text("requirement", row), by, found, state, self.text("reason", row))
