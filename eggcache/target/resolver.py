"""The tree of distributions that requirements pull in, as the target's own pkg_resources resolves it.

The script inside/probe.py walks the tree in the target, and `parsing` takes its answer apart.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from eggcache.errors import EggcacheError, Remedy, UsageError
from eggcache.model import Finding, Kind, Need, State, Tree
from eggcache.system import accounts
from eggcache.system.accounts import Account
from eggcache.target import command_lines, launch, script_run, why_missing
from eggcache.target.answer_parsing import Answer
from eggcache.target.interpreter import EVERYTHING, REPORTED, Roots, Target
from eggcache.target.tree_selection import normal_name, project_name

LACKING = ("missing-distribution", "conflicting-distribution")  # the codes of what is not there as it is required
_LONGEST = 30  # steps of a chain that a person reads
_NAMES = 8  # of eggs, likewise; `tree` without a requirement lists all


def resolve(
    target: Target,
    roots: Roots = EVERYTHING,
    *,
    need_pkg_resources: bool = True,
    meanwhile: Callable[[], object] | None = None,
    launched: launch.Launch | None = None,
) -> Tree:
    """The tree of the `roots`, as the target's own pkg_resources resolves it.

    A requirement that is missing, conflicts or cannot be parsed is in the tree, as a `Need` with its state.

    :param target: the Python that is asked, with the rights of its account
    :param roots: which distributions the tree is of
    :param need_pkg_resources: False, of everything: look at file names where the target has no pkg_resources
    :param meanwhile: called about ten times a second while the target is at work
    :param launched: the same question, where the caller has started the target already
    :returns: the tree
    :raises UsageError: the target cannot parse one of the `roots`
    :raises NotPermitted: the account cannot run the target
    :raises EggcacheError: the target has no pkg_resources, or gives no sensible answer
    """
    launched = launched or launch.probe(target, roots)
    return _tree(target, roots, script_run.run(launched, meanwhile=meanwhile), need_pkg_resources=need_pkg_resources)


def examine(
    launched: launch.Launch,
    target: Target,
    roots: Roots,
    *,
    meanwhile: Callable[[], object] | None = None,
    early: Callable[[Tree], None],
) -> Mapping[str, Any]:
    """The second answer of a script, whose first answer is the tree. The caller checks the second answer. Otherwise as
    `resolve`.

    :param launched: the script, with launch.question in its request
    :param target: the Python that it runs in
    :param roots: which distributions the tree is of
    :param meanwhile: called about ten times a second while the target is at work
    :param early: called with the tree, as soon as that is there
    :returns: the second answer, by name
    """
    answer = script_run.run(launched, meanwhile=meanwhile, early=lambda row: early(_tree(target, roots, row)))
    return Answer(target.python, answer).said


def describe(
    script: str, target: Target, roots: Roots, *, meanwhile: Callable[[], object] | None = None
) -> tuple[Tree, Mapping[str, Any]]:
    """The tree as `resolve` has it, and the whole of an answer to which a `script` adds something of its own.

    Of everything, a target without pkg_resources is looked through by file name. What is added is the caller's
    to take apart. Else as `resolve`.

    :param script: the file of target/inside that asks
    :param target: the Python that is asked
    :param roots: which distributions the tree is of
    :param meanwhile: called about ten times a second while the target is at work
    :returns: the tree, and the whole answer by name
    """
    answer = script_run.run(launch.Launch(target, script, launch.question(target, roots)), meanwhile=meanwhile)
    return _tree(target, roots, answer, need_pkg_resources=False), Answer(target.python, answer).said


def _tree(target: Target, roots: Roots, value: object, *, need_pkg_resources: bool = True) -> Tree:
    """The tree in `value`, which a script gave launch.question. Raises as `resolve` does."""
    answer = Answer(target.python, value)
    for line, reason in answer.pairs("bad"):
        remedy = "write it as NAME, NAME==VERSION or NAME[EXTRA]"
        if os.sep in line and "@" not in line:
            remedy = "it is a NAME: the egg cache is named by --cache DIR, an egg, or a directory of eggs, by --path"
        raise UsageError(f"requirement {line!r}", reason, remedy)
    broken = answer.text("broken")
    if broken and (need_pkg_resources or not roots.everything):
        unread, failing = answer.pair("blame")
        # by the names of files; of a requirement that is not looked for
        lacks_eggs = roots.everything and not any(item.kind.zipped for item in answer.tree(()).distributions)
        raise _without_pkg_resources(target, broken, unread, failing, lacks_eggs=lacks_eggs)
    return answer.tree(roots.requirements)


def _without_pkg_resources(
    target: Target, reason: str, unread: str, failing: str, *, lacks_eggs: bool
) -> EggcacheError:
    """Why a target has no pkg_resources: it lacks one; a file of metadata that is read when it is imported, or a module
    that it imports then, of a namespace package, is to blame; or it is itself."""
    executable = target.python
    pip = f'{shlex.quote(executable)} -m pip install --force-reinstall "setuptools<82"'
    if re.fullmatch("No module named '?pkg_resources'?", reason):
        if lacks_eggs:  # as a new environment of today, which is not the one that was meant
            words = "if Apache runs another Python, name that with --python PATH; or install one"
            return EggcacheError(
                executable, "has no pkg_resources to ask, and no zipped egg on its path", Remedy(words, pip)
            )
        # --force-reinstall: where another package took pkg_resources away, pip takes setuptools for installed
        unzip = command_lines.unzip_all(target, EVERYTHING)
        remedy = Remedy(f"unzip its eggs, which needs none ({unzip}), or install one", pip)
        return EggcacheError(executable, "has no pkg_resources to ask", remedy)
    if unread:
        cause = f"it keeps {executable} from importing its pkg_resources: {reason}"
        return EggcacheError(unread, cause, "write that file anew, as UTF-8, or install what it belongs to anew")
    if failing:
        cause = f"it keeps {executable} from importing its pkg_resources, which imports it: {reason}"
        return EggcacheError(failing, cause, "install what it needs, or another build of what it belongs to")
    return EggcacheError(executable, f"cannot import its pkg_resources: {reason}", Remedy("install it anew", pip))


def findings(tree: Tree, account: Account | None = None) -> tuple[Finding, ...]:
    """The faults of a tree, each with the chain of requirements that leads to it from a root.

    A missing or conflicting distribution asks for exit status 5; with --all it is a notice (status 0), since nobody has
    said which distributions matter, and a site may work without what another program lacks. A line that the target
    cannot parse is a notice: the distribution that it names was followed. There is one finding for each requirement;
    where several distributions have it, the other chains are its context. The disk is searched for a cause with the
    rights of `account`, None: with ours.

    :param tree: the answer of a target
    :param account: whose rights the disk is searched with; None: those of the caller
    :returns: one finding for each requirement that is not met
    """
    chains: dict[tuple[State, str], list[str]] = {}
    needs: dict[tuple[State, str], Need] = {}
    parents = _parents(tree)
    for need in tree.needs:
        if need.state is not State.MET:
            key = need.state, need.requirement
            needs.setdefault(key, need)
            chains.setdefault(key, []).append(_chain(tree, parents, need))
    looker = account or accounts.current()
    search = why_missing.Search(tree, looker)
    faults = (_finding(tree, need, chains[key], looker, search) for key, need in needs.items())
    return tuple(
        replace(fault, status=0) if fault.code in LACKING and not gaps_matter(tree) else fault for fault in faults
    )


def gaps_matter(tree: Tree) -> bool:
    """Whether what is missing matters: of a requirement, or of TurboGears where none was named; not with --all.

    :param tree: the answer of a target
    """
    roots = {need.requirement for need in tree.needs if need.by is None}
    return bool(tree.requirements) or (bool(roots) and roots.issubset(REPORTED))


def notes(tree: Tree, roots: Roots) -> tuple[str, ...]:
    """What is to be said of the tree of `roots` that asks for nothing: which zipped eggs are outside of it; or that
    none was named, where TurboGears is not installed either.

    :param tree: the answer of a target
    :param roots: what was asked for
    :returns: lines for a person
    """
    if roots.everything:
        words = "everything on the path; name your application to narrow it down"
        if not any(
            distribution.kind.zipped or distribution.kind is Kind.UNZIPPED for distribution in tree.distributions
        ):
            words = "no egg on the path; if Apache runs another Python, name that with --python PATH"
        return () if roots.strict or tree.reported else (f"{tree.interpreter.executable}: {words}",)
    return (f"{outside_line(tree)}; where one of them is imported, name it as well, or no REQ",) if tree.outside else ()


def rivals(tree: Tree) -> Iterator[Finding]:
    """Notices: other versions beside those that were chosen of what is on the path and not active.

    A script of buildout's has a list of its own, and may load any of these.

    :param tree: the answer of a target
    """
    choices = {
        (normal_name(distribution.project), os.path.dirname(distribution.egg)): distribution
        for distribution in tree.distributions
        if distribution.egg and not distribution.active
    }
    eggs = {choice.egg for choice in tree.distributions}
    for egg in tree.outside:
        if egg in eggs:  # without a requirement, all of them are
            continue
        choice = choices.get((why_missing.project_of(os.path.basename(egg)), os.path.dirname(egg)))
        if choice is not None:
            cause = f"{choice.title} was checked, and not this version beside it, which a script of buildout's may list"
            yield Finding("other-version", egg, cause, "name such a script with --path-from, in place of --path", 0)


def outside_line(tree: Tree) -> str:
    """The line that names the zipped eggs on the path to which no requirement has led.

    :param tree: one with eggs outside of it
    """
    count, names = len(tree.outside), ", ".join(map(os.path.basename, tree.outside[:_NAMES]))
    rest = f" and {count - _NAMES} more" if count > _NAMES else ""
    eggs = "a zipped egg" if count == 1 else f"{count} zipped eggs"
    return f"{names}{rest}: {eggs} on the path, outside of the tree"


def _finding(tree: Tree, need: Need, chains: list[str], account: Account, search: why_missing.Search) -> Finding:
    context = tuple(chains[1:])
    name = project_name(need.requirement)
    python = f"{tree.interpreter.executable} (Python {'.'.join(map(str, tree.interpreter.version))})"
    if need.state is State.UNPARSED:
        parser = tree.interpreter.setuptools or "the target's pkg_resources"
        cause = f"{parser} cannot parse it ({need.reason}), so it was followed by name: {chains[0]}"
        return Finding("unparsed-requirement", need.requirement, cause, "", 0, context)
    if need.state is State.CONFLICTING:
        return _unreadable(tree, need, chains, account) or _conflicting(tree, need, chains, search)
    explanation = search.reason(need.requirement)
    reason = f"{need.reason} ({explanation})" if explanation else need.reason
    if need.by is None:
        remedy = "name its interpreter with --python, or its directory with --path"
        if tree.nearby:
            remedy = f"there is {', '.join(tree.nearby)}; {remedy}"
        return Finding("root-not-installed", need.requirement, f"{reason} for {python}", remedy, 5, context)
    cause = f"{reason}: {chains[0]}"
    return Finding("missing-distribution", need.requirement, cause, f"install {name} for {python}", 5, context)


def _conflicting(tree: Tree, need: Need, chains: list[str], search: why_missing.Search) -> Finding:
    cause, name = f"{need.reason}: {chains[0]}", project_name(need.requirement)
    remedy = f"install a {name} that suits everything that needs it"
    if need.suits and need.found is not None:
        distribution = tree.distributions[need.found]
        line = search.in_front(distribution.location)
        remedy = f"have {need.suits} on the path, which suits everything that needs it, and not {distribution.location}"
        if line:
            remedy = f"{need.suits} suits everything that needs it: put its line in the place of {line}"
    return Finding("conflicting-distribution", need.requirement, cause, remedy, 5, tuple(chains[1:]))


def _unreadable(tree: Tree, need: Need, chains: list[str], account: Account) -> Finding | None:
    """That it conflicts only because its metadata, which the target was not let read, could not be asked."""
    match = re.search(r"\[Errno 13\][^:]*: '(/[^']+)'", need.reason)
    path = match[1] if match else "/"
    with accounts.acting(account):
        if accounts.may(path, os.R_OK):
            return None
    error = accounts.in_the_way(path, account)
    cause, remedy = f"{error.cause}: {chains[0]}", Remedy("let everybody read that metadata", _opening(tree, path))
    return Finding("egg-unreadable", path, cause, remedy, error.status, tuple(chains[1:]))


def _opening(tree: Tree, path: str) -> str:
    """What lets everybody read the metadata that the file `path` belongs to; "" where that is not metadata on the path
    of the target. The path is a stranger's word: root must not be told to open anything else, nor follow a link."""
    for place in (path, os.path.dirname(path)):
        above, name = os.path.split(place)
        site = os.path.dirname(above) if name == "EGG-INFO" else above
        if name == "EGG-INFO" or name.endswith((".egg-info", ".dist-info")):
            on_path = {*map(os.path.realpath, tree.interpreter.path)}
            if os.path.realpath(path) == path and not {site, above}.isdisjoint(on_path):
                return f"chmod {'-R o+rX' if os.path.isdir(place) else 'o+r'} {shlex.quote(place)}"
    return ""


def _parents(tree: Tree) -> dict[int, Need]:
    """The first need of each distribution: needs are in breadth-first order, so it is the nearest to a root."""
    parents: dict[int, Need] = {}
    for need in tree.needs:
        if need.found is not None:
            parents.setdefault(need.found, need)
    return parents


def _chain(tree: Tree, parents: dict[int, Need], need: Need) -> str:
    steps = [f"{need.requirement} ({need.state.value})"]
    above, indexes = need.by, set[int]()
    while above is not None and above not in indexes and len(indexes) < _LONGEST:
        indexes.add(above)
        steps.append(tree.distributions[above].title)
        above = parents[above].by if above in parents else None
    return " -> ".join(reversed(steps))
