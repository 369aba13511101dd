"""The tree: what the target's own pkg_resources says, and what it would not say."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pwd
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, deployment
from support.deployment import RELEASES, Deployment
from support.parts import built

from eggcache.cli.render import tree_lines
from eggcache.cli.render.report import tree_json
from eggcache.errors import EggcacheError, UsageError
from eggcache.model import Distribution, Interpreter, Kind, Need, State, Tree
from eggcache.system import accounts
from eggcache.system.accounts import Account
from eggcache.target import answer_parsing
from eggcache.target.code_owners import RootAlone
from eggcache.target.interpreter import EVERYTHING, Roots, Target
from eggcache.target.resolver import findings, notes, resolve

MakeTarget = Callable[[str, str], Deployment]


@pytest.fixture(scope="module")
def released(where: Path) -> MakeTarget:
    """A factory: released("2.7", "36.0.1") is an environment with that setuptools, shared: not to be modified."""
    known: dict[tuple[str, str], Deployment] = {}

    def find(python: str, release: str) -> Deployment:
        if (python, release) not in known:
            known[python, release] = built(lambda: deployment.target(python, release, where))
        return known[python, release]

    return find


LEGACY = ">=0.5a1.dev-r2555"


def egg(directory: Path, name: str, version: str, requires: str = "", python: str = "2.7", **members: str) -> Path:
    """A zipped egg in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{version.replace('-', '_')}-py{python}.egg"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("EGG-INFO/PKG-INFO", f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n")
        file.writestr("EGG-INFO/requires.txt", requires)
        file.writestr(f"{name.lower()}.py", "x = 1\n")
        for member, text in members.items():
            file.writestr(member, text)
    path.chmod(0o644)
    return path


def basket(path: Path, inner: Path, metadata: bool = False) -> Path:
    """An egg that has the egg `inner` as a directory."""
    with zipfile.ZipFile(path, "w") as file, zipfile.ZipFile(inner) as other:
        if metadata:
            file.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: Outer\nVersion: 1\n")
        for name in other.namelist():
            file.writestr(f"{inner.name}/{name}", other.read(name))
    path.chmod(0o644)
    return path


def ask(
    made: Deployment,
    *requirements: str,
    paths: Sequence[str] = (),
    everything: bool = False,
    account: Account | None = None,
    need_pkg_resources: bool = True,
    strict: bool = True,
) -> Tree:
    """The tree of what is declared alone, as require() has it; not `strict`: with what happens to be installed."""
    roots = EVERYTHING if everything else Roots(requirements, strict)
    return resolve(Target(str(made.python), paths, account), roots, need_pkg_resources=need_pkg_resources)


def named(tree: Tree, project: str) -> Distribution:
    return next(distribution for distribution in tree.distributions if distribution.project == project)


def states(tree: Tree) -> dict[str, State]:
    return {need.requirement: need.state for need in tree.needs}


def required(made: Deployment, *requirements: str, paths: str = "") -> set[tuple[str, str]] | None:
    """What the target's own pkg_resources.require() says: projects and versions; None where it fails."""
    code = (
        "import sys, warnings; warnings.simplefilter('ignore'); sys.path[:1] = sys.argv[1].split(':')\n"
        "import pkg_resources as p\nfor d in p.require(sys.argv[2:]): print(d.project_name + ' ' + d.version)"
    )
    result = made.run(code, paths, *requirements, check=False)
    if result.returncode:
        assert any(name in result.stderr for name in ("VersionConflict", "DistributionNotFound")), result.stderr
        return None
    return {(line.split()[0], line.split()[1]) for line in result.stdout.splitlines()}


def projects(tree: Tree) -> set[tuple[str, str]]:
    return {(distribution.project, distribution.version or "") for distribution in tree.distributions}


# -------------------------------------------------------------------------------------------------- real trees


def test_turbogears_as_installed_misses_peak_rules(turbogears1: Deployment) -> None:
    """PEAK-Rules is missing, told with the chains that need it and status 5, and everything else is in the tree."""
    tree = ask(turbogears1, "TurboGears")
    missing = [need for need in tree.needs if need.state is not State.MET]
    assert {need.requirement for need in missing} == {"PEAK-Rules>=0.5a1.dev-r2555", "PEAK-Rules>=0.5a1.dev-r2600"}
    assert {need.state for need in missing} == {State.MISSING}
    wrong = findings(tree)
    assert [(finding.code, finding.status) for finding in wrong] == [("missing-distribution", 5)] * 2
    text = " ".join(str(finding) for finding in wrong)
    assert "TurboGears 1.1.3 -> TurboJson 1.3.2 -> PEAK-Rules>=0.5a1.dev-r2600 (missing)" in text
    zipped = [distribution for distribution in tree.distributions if distribution.kind is Kind.ZIPPED]
    assert len(zipped) == 15
    assert all(
        distribution.egg == distribution.location and distribution.active and not distribution.inside
        for distribution in zipped
    )
    assert all(distribution.cache_name == os.path.basename(distribution.location) for distribution in zipped)
    assert named(tree, "PasteScript").extras == ("cheetah",)
    assert tree.interpreter.version[:2] == (2, 7)
    assert tree.interpreter.setuptools == "setuptools 44.1.1"
    assert str(turbogears1.site_packages / "easy-install.pth") in tree.interpreter.pth
    assert tree.interpreter.site_packages == (str(turbogears1.site_packages),)


def test_everything_of_turbogears(turbogears1: Deployment) -> None:
    """Without a requirement, and with `--all`, every egg that is there is taken, in a tree or not. What TurboGears
    lacks is named, of which the tree is told as well; with `--all`, what anything lacks, as a notice."""
    tree, every = ask(turbogears1, everything=True), resolve(Target(str(turbogears1.python)), Roots([], strict=True))
    for item in (tree, every):
        eggs = {distribution.egg for distribution in item.distributions if distribution.kind.zipped}
        assert (eggs, item.requirements) == ({str(path) for path in turbogears1.eggs}, ())
        told = [(wrong.code, wrong.thing, wrong.status) for wrong in findings(item)]
        assert sorted(told) == [
            ("missing-distribution", f"PEAK-Rules>=0.5a1.dev-r{number}", 5 if item is tree else 0)
            for number in (2555, 2600)
        ]
    assert states(tree) == states(ask(turbogears1, "TurboGears", strict=False))
    assert "TurboGears 1.1.3 -> TurboJson 1.3.2 -> PEAK-Rules" in " ".join(map(str, findings(tree)))
    assert {State.MISSING} == set(states(every).values())
    assert tree.outside == ask(turbogears1, "TurboGears", strict=False).outside
    assert (notes(tree, EVERYTHING), every.outside) == ((), ())


@pytest.mark.usefixtures("where")
@pytest.mark.parametrize(
    ("fixture", "root", "eggs"),
    [("turbogears1_complete", "TurboGears", 21), ("turbogears2_27", "TurboGears2", 5),
     ("turbogears2_311", "TurboGears2", 5)],
)  # fmt: skip
def test_complete_tree_is_that_of_require(fixture: str, root: str, eggs: int, request: pytest.FixtureRequest) -> None:
    """A complete tree is what the target's own require() says, to the distribution, and nothing is found wrong."""
    deployment: Deployment = request.getfixturevalue(fixture)
    tree = ask(deployment, root)
    assert findings(tree) == ()
    assert projects(tree) == required(deployment, root)
    assert len([distribution for distribution in tree.distributions if distribution.kind is Kind.ZIPPED]) == eggs


def test_all_that_is_installed_agrees(turbogears2_27: Deployment) -> None:
    """For every project of a large deployment, each for itself and all at once, walk and require() agree."""
    everything = sorted(distribution.project for distribution in ask(turbogears2_27, everything=True).distributions)
    roots = [project for project in everything if project not in ("Python", "tw2.forms")]
    assert projects(ask(turbogears2_27, *roots)) == required(turbogears2_27, *roots)
    for project in ("sprox", "tgext.crud", "tgext.admin", "repoze.who", "zope.sqlalchemy"):
        assert projects(ask(turbogears2_27, project)) == required(turbogears2_27, project)


def test_importlib_metadata_sees_no_egg_from_outside(turbogears2_311: Deployment, shared_tmp: Path) -> None:
    """Of a site whose eggs a .pth file makes active, importlib.metadata finds none that pkg_resources finds, where the
    directory is what it is given."""
    eggs = [item for item in ask(turbogears2_311, everything=True).distributions if item.kind is Kind.ZIPPED]
    assert len(eggs) >= 5
    outside = {found.name for found in importlib.metadata.distributions(path=[str(turbogears2_311.site_packages)])}
    assert {item.project for item in eggs} & outside == set()
    path = egg(shared_tmp, "Leaf", "1", "", "3.11")
    assert [found.name for found in importlib.metadata.distributions(path=[str(shared_tmp)])] == []
    (shared_tmp / "leaf.pth").write_text(f"{path}\n")
    assert [found.name for found in importlib.metadata.distributions(path=[str(shared_tmp)])] == []


def test_own_site_directory_counts_before_it_is_there(
    interpreter: Callable[[str], Path], turbogears2_311: Deployment
) -> None:
    """What a tree depends on has the user's own site directory, which Python reads as soon as there is one."""
    target = Target(str(interpreter("3.11")), (str(turbogears2_311.site_packages),), accounts.lookup("nobody"))
    assert "/nonexistent/.local/lib/python3.11/site-packages" in resolve(target).read


def test_tree_is_the_same_for_another_account(turbogears2_311: Deployment, nobody: pwd.struct_passwd) -> None:
    """As root, for another account, it is the same tree."""
    tree = ask(turbogears2_311, "TurboGears2", account=accounts.lookup("nobody"))
    assert projects(tree) == projects(ask(turbogears2_311, "TurboGears2"))


def test_extra_brings_what_it_requires(turbogears1: Deployment) -> None:
    """An extra of the root brings what it requires; one that there is not is a conflict, told in its words."""
    plain, future = ask(turbogears1, "TurboGears"), ask(turbogears1, "TurboGears[future]")
    assert named(future, "TurboGears").extras == ("future",)
    assert projects(plain) == projects(future)  # it is one that requires nothing
    orm = ask(turbogears1, "TurboGears[sqlalchemy, sqlobject]")
    assert projects(orm) - projects(plain) >= {("Elixir", "0.7.1"), ("SQLAlchemy", "0.7.10"), ("SQLObject", "1.5.2")}
    (finding,) = [wrong for wrong in findings(ask(turbogears1, "TurboGears[nonsense]")) if "nonsense" in wrong.thing]
    assert (finding.code, finding.status) == ("conflicting-distribution", 5)
    assert "no such extra feature 'nonsense'" in finding.cause


@pytest.mark.parametrize(("python", "release"), [RELEASES[0], RELEASES[-1]])
def test_what_is_installed_of_an_extra_belongs_to_the_tree(
    python: str, release: str, released: MakeTarget, shared_tmp: Path
) -> None:
    """Of each extra, what is installed belongs to the tree, with what that requires, though nobody has asked for it;
    what is not, or does not suit, is not missed. The declared tree alone has none of it. What else is zipped is named.
    """
    target, paths = released(python, release), [str(shared_tmp)]
    egg(shared_tmp, "Root", "1", "Leaf\n\n[db]\nDriver>=1\n\n[docs]\nNowhere\n\n[old]\nWrong>=2\n", python)
    egg(shared_tmp, "Leaf", "1", "\n[more]\nRoot\nTip\n", python)
    egg(shared_tmp, "Driver", "1", "Gone>=1\nDeep\n", python)
    eggs = {name: egg(shared_tmp, name, "1", "", python) for name in ("Deep", "Tip", "Wrong", "Other", "Apart")}
    tree = ask(target, "Root", paths=paths, strict=False)
    assert {distribution.project for distribution in tree.distributions} == {
        "Root",
        "Leaf",
        "Driver",
        "Deep",
        "Tip",
        "Wrong",
    }
    assert {(need.requirement, need.extra) for need in tree.needs} == {
        ("Root", ""), ("Leaf", ""), ("Driver>=1", "db"), ("Deep", ""), ("Tip", "more"), ("Root", "more"),
    }  # fmt: skip
    assert (findings(tree), tree.outside) == ((), (str(eggs["Apart"]), str(eggs["Other"])))
    (note,) = notes(tree, Roots(["Root"]))
    both = f"{eggs['Apart'].name}, {eggs['Other'].name}"
    assert note.startswith(f"{both}: 2 zipped eggs on the path, outside of the tree; ")
    assert "<- Driver>=1  (extra db)" in "\n".join(draw_tree(tree))
    strict = ask(target, "Root", paths=paths)
    assert {distribution.project for distribution in strict.distributions} == {"Root", "Leaf"}
    assert {os.path.basename(path).split("-")[0] for path in strict.outside} == {*eggs, "Driver"}


def test_everything_where_there_is_no_turbogears(own: Deployment, shared_tmp: Path) -> None:
    """Nothing is missing where nobody has named anything, and a note says so; with `--all`, what any lacks is."""
    egg(shared_tmp, "Driver", "1", "Gone>=1\n\n[more]\nNowhere\n", "3.11")
    every, target = Roots([], strict=True), Target(str(own.python), [str(shared_tmp)])
    tree = resolve(target)
    assert (findings(tree), tree.needs, len(tree.outside)) == ((), (), 1)
    told = "everything on the path; name your application to narrow it down"
    assert notes(tree, EVERYTHING) == (f"{own.python}: {told}",)
    (finding,) = findings(resolve(target, every))
    assert (finding.code, finding.thing, finding.status) == ("missing-distribution", "Gone>=1", 0)
    assert "Driver 1 -> Gone>=1 (missing)" in finding.cause
    assert notes(resolve(target, every), every) == ()
    (note,) = notes(resolve(target._replace(paths=())), EVERYTHING)
    assert "no egg on the path; if Apache runs another Python, name that with --python" in note


def test_root_not_installed(turbogears2_27: Deployment) -> None:
    """A root that is not installed is told for that interpreter, with what is close."""
    (finding,) = findings(ask(turbogears2_27, "TurboGears"))
    assert (finding.code, finding.thing, finding.status) == ("root-not-installed", "TurboGears", 5)
    assert str(turbogears2_27.python) in finding.cause
    assert "TurboGears2" in finding.remedy.text


@pytest.mark.parametrize("requirement", ["TurboGears >= 1 2", "===", "", "# none", "one\ntwo", "[future]"])
def test_no_requirement_is_a_usage_error(requirement: str, turbogears2_311: Deployment) -> None:
    """What the target takes for no requirement, or for more than one, is a usage error that says why."""
    with pytest.raises(UsageError, match="requirement"):
        ask(turbogears2_311, requirement)


# ---------------------------------------------------------------------------------- every release, the same tree


@pytest.mark.parametrize(("python", "release"), RELEASES)
def test_each_release_tells_missing_from_conflicting(
    python: str, release: str, released: MakeTarget, shared_tmp: Path
) -> None:
    """Missing, conflicting, legacy and cyclic requirements are told apart under each release, and the rest is done."""
    target = released(python, release)
    egg(shared_tmp, "Root", "1.0", f"Leaf>=1\nGone>=2\nClash>=2\nLegacy{LEGACY}\n\n[extra]\nExtra\n", python)
    egg(shared_tmp, "Leaf", "1.0", "Root\n", python)
    egg(shared_tmp, "Leaf", "1.1", "Root\n", python)
    egg(shared_tmp, "Leaf", "7", "Root\n", "9.9")
    egg(shared_tmp, "Extra", "1", "", python)
    egg(shared_tmp, "Clash", "1.0", "Deep\n", python)
    egg(shared_tmp, "Deep", "1", "", python)
    egg(shared_tmp, "Legacy", "0.5a1.dev-r2000", "", python)
    egg(shared_tmp, "Legacy", "0.5a1.dev-r2700", "Leaf>=1.1\n", python)
    tree = ask(target, "Root[extra]", paths=[str(shared_tmp)])
    assert tree.interpreter.setuptools == f"setuptools {release}"
    assert tree.interpreter.pkg_resources
    assert tree.interpreter.pkg_resources.startswith(f"{target.site_packages}/pkg_resources")
    assert {distribution.project: distribution.version for distribution in tree.distributions} == {
        "Root": "1.0", "Leaf": "1.1", "Extra": "1", "Clash": "1.0", "Deep": "1", "Legacy": "0.5a1.dev-r2700",
    }  # fmt: skip
    assert not any(
        distribution.active for distribution in tree.distributions
    )  # multi-version eggs, as easy_install -m leaves them
    legacy = State.MET if int(release.split(".")[0]) < 66 else State.UNPARSED
    assert states(tree) == {
        "Root[extra]": State.MET, "Leaf>=1": State.MET, "Gone>=2": State.MISSING, "Clash>=2": State.CONFLICTING,
        f"Legacy{LEGACY}": legacy, "Extra": State.MET, "Deep": State.MET, "Leaf>=1.1": State.MET, "Root": State.MET,
    }  # fmt: skip
    told = {finding.thing: finding for finding in findings(tree)}
    assert told["Gone>=2"].status == told["Clash>=2"].status == 5
    assert "Clash 1.0 is installed, Clash>=2 is needed" in told["Clash>=2"].cause
    assert "Root[extra] 1.0 -> Clash>=2 (conflicting)" in told["Clash>=2"].cause
    if legacy is State.UNPARSED:
        finding = told[f"Legacy{LEGACY}"]
        assert (finding.code, finding.status) == ("unparsed-requirement", 0)
        assert f"setuptools {release} cannot parse it" in finding.cause
    lines = "\n".join(draw_tree(tree))
    assert "Gone>=2  missing" in lines
    assert "zipped egg" in lines
    assert "(above)" in lines
    everything = ask(target, everything=True, paths=[str(shared_tmp)])
    assert {distribution.version for distribution in everything.distributions if distribution.project == "Leaf"} == {
        "1.0",
        "1.1",
    }


@pytest.mark.parametrize(("python", "release"), RELEASES)
def test_every_release_agrees(python: str, release: str, released: MakeTarget, shared_tmp: Path) -> None:
    """Where require() works, the walk finds the same: best versions, extras, markers, cycles, active before newer.

    Where require() fails, the walk has found something wrong.
    """
    target = released(python, release)
    markers = "" if release == "0.6c11" else "\n[:python_version<'2']\nNever\n\n[:python_version>'2']\nAlways\n"
    egg(shared_tmp, "Root", "1.0", f"A>=1,<2\nB[more]\n{markers}\n[x]\nC\n", python)
    for version in ("0.9", "1.2", "1.10", "2.1"):
        egg(shared_tmp, "A", version, "B>=1\n", python)
    egg(shared_tmp, "B", "1", "", python)
    egg(shared_tmp, "B", "2", "Root\n\n[more]\nC\n\n[less]\nNever\n", python)
    egg(shared_tmp, "C", "1", "A<2\n", python)
    egg(shared_tmp, "Always", "1", "C<2\n", python)
    active = egg(shared_tmp, "C", "0.5", "A>=1.1,<2\n", python)
    paths = [str(active), str(shared_tmp)]
    outcomes = set()
    for root in ("Root", "Root[x]", "B", "B[more,less]", "C", "A<1", "A>2", "A<2,>1.5", "C>=1", "Always"):
        tree, expected = ask(target, root, paths=paths), required(target, root, paths=":".join(paths))
        assert (projects(tree) if set(states(tree).values()) == {State.MET} else None) == expected, root
        outcomes.add(expected is None)
    assert outcomes == {True, False}
    tree = ask(target, "Root", paths=paths)
    assert named(tree, "C").active
    assert named(tree, "C").version == "0.5"


RAISED = r"""
import sys, warnings
warnings.simplefilter("ignore")
sys.path[:0] = sys.argv[1].split(":")
import pkg_resources
for name in sys.argv[2:]:
    try:
        pkg_resources.require(name)
        print("nothing")
    except Exception:
        print(" ".join([kind.__name__ for kind in sys.exc_info()[0].__mro__]))
"""


@pytest.mark.parametrize(("python", "release"), [*RELEASES, ("3.11", "66.0.0")])
def test_require_raises_what_the_findings_say(
    python: str, release: str, released: MakeTarget, shared_tmp: Path
) -> None:
    """What require() raises is what the explanation of the finding has: DistributionNotFound for what is missing, and
    for a version that does not suit and is not active; VersionConflict where it is active; InvalidRequirement from
    setuptools 67 on, and from 66 to 80 InvalidVersion. It raises nothing where there is no finding."""
    target, number = released(python, release), int(release.split(".")[0])
    egg(shared_tmp, "Lacks", "1", "Gone>=2\n", python)
    egg(shared_tmp, "Wants", "1", "Clash>=2\n", python)
    clash = egg(shared_tmp, "Clash", "1.0", "", python)
    egg(shared_tmp, "Asks", "1", f"Legacy{LEGACY}\n", python)
    egg(shared_tmp, "Legacy", "1.0", "", python)
    odd = egg(shared_tmp / "odd", "Odd", "0.5a1.dev-r2700", "", python)  # 66.0 would fail for each of the others, too
    egg(shared_tmp, "Holds", "1", "Odd\n", python)
    cases = [
        ("Lacks", [], "missing-distribution", "DistributionNotFound"),
        ("Wants", [], "conflicting-distribution", "DistributionNotFound"),
        ("Wants", [clash], "conflicting-distribution", "VersionConflict"),
        ("Asks", [], *(("unparsed-requirement", "InvalidRequirement") if number >= 67 else (None, "nothing"))),
        (
            "Holds",
            [odd.parent],
            *(("unparsed-requirement", "InvalidVersion") if 66 <= number <= 80 else (None, "nothing")),
        ),
    ]
    for name, first, code, error in cases:
        paths = [*map(str, first), str(shared_tmp)]
        raised = target.run(RAISED, ":".join(paths), name).stdout.split()
        assert error in raised, (name, raised)
        tree = ask(target, name, paths=paths)
        assert [finding.code for finding in findings(tree)] == ([code] if code else []), name


@pytest.mark.parametrize(("python", "release"), RELEASES[:3])
def test_comma_meant_or_beside_an_equals_sign(python: str, release: str, released: MakeTarget) -> None:
    """In a requirement of setuptools 0.6c11 a version that is named beside a range suits as well as one of the range;
    later releases want a version that suits both, and there is none."""
    code = (
        "import sys, pkg_resources; r = pkg_resources.Requirement.parse('Foo>=1,<2,==3')\n"
        "print(' '.join([version for version in ('0.5', '1.5', '2.5', '3') if version in r]))"
    )
    suits = released(python, release).run(code).stdout.split()
    assert suits == (["1.5", "3"] if release == "0.6c11" else [])


@pytest.mark.parametrize(("python", "release"), [("2.7", "36.0.1"), ("3.9", "58.1.0"), ("3.13", "80.9.0")])
def test_a_bad_line_loses_no_other(python: str, release: str, released: MakeTarget, shared_tmp: Path) -> None:
    """One line that cannot be parsed, in an egg or a .dist-info, is told; markers and extras hold for the others."""
    requires = (
        "Leaf\nname with spaces !! 1\nNamed[x] >= 1.dev- junk ;\n\n[extra]\nExtra\n\n[other]\nNever\n"
        "\n[:python_version<'2']\nNever\n\n[extra:python_version>'2']\nAlways\n"
    )
    egg(shared_tmp, "Root", "1", requires, python)
    for name in ("Leaf", "Extra", "Always", "Named"):
        egg(shared_tmp, name, "1", "", python)
    info = shared_tmp / "Info-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: Info\nVersion: 1\nProvides-Extra: extra\nRequires-Dist: Leaf\n"
        "Requires-Dist: Named >= 1.dev- junk\nRequires-Dist: Extra ; extra == 'extra'\n"
        "Requires-Dist: Never ; extra == 'other'\nRequires-Dist: Never ; python_version < '2'\n\nRequires-Dist: Body\n"
    )
    for root in ("Root[extra]", "Info[extra]"):
        tree = ask(released(python, release), root, paths=[str(shared_tmp)])
        projects = {distribution.project for distribution in tree.distributions}
        assert {"Leaf", "Extra", "Named"} <= projects
        assert ("Always" in projects) == (root == "Root[extra]")
        assert not {"Never", "Body"} & {need.requirement.split()[0] for need in tree.needs}
        assert State.UNPARSED in states(tree).values()


def test_a_target_that_fails_for_a_version_that_nobody_wants(released: MakeTarget, shared_tmp: Path) -> None:
    """The require() of setuptools 66.0 fails for any version on the path that it cannot parse, and the tree says so:
    the walk, which passes that distribution by, is held against what pkg_resources does with the path as it is."""
    target = released("3.11", "66.0.0")
    egg(shared_tmp, "Root", "1", "Leaf\n", "3.11")
    egg(shared_tmp, "Leaf", "1", "", "3.11")
    assert states(ask(target, "Root", paths=[str(shared_tmp)]))["Root"] is State.MET
    egg(shared_tmp, "Odd", "0.6X-final", "", "3.11")
    assert states(ask(target, "Root", paths=[str(shared_tmp)]))["Root"] is State.UNPARSED


def test_a_target_that_knows_no_legacy_version(released: MakeTarget, shared_tmp: Path) -> None:
    """A distribution whose version setuptools 80 cannot parse is in the tree, with what it requires."""
    target = released("3.13", "80.9.0")
    egg(shared_tmp, "Odd", "0.6X-final", "Leaf\n", "3.13")
    egg(shared_tmp, "Leaf", "dev", "", "3.13")
    egg(shared_tmp, "Root", "1", "Odd>=0.5\n", "3.13")
    tree = ask(target, "Root", paths=[str(shared_tmp)])
    assert {distribution.project for distribution in tree.distributions} == {"Root", "Odd", "Leaf"}
    assert states(tree)["Odd>=0.5"] is State.UNPARSED
    everything = ask(target, everything=True, paths=[str(shared_tmp)])
    assert {distribution.project for distribution in everything.distributions} >= {"Root", "Odd", "Leaf"}


# ------------------------------------------------------------------------------------------------- what it is


@pytest.mark.parametrize(("python", "release"), [("2.7", "0.6c11"), ("2.7", "44.1.1"), ("3.11", "65.5.0")])
def test_kinds_of_distributions_are_told_apart(
    python: str, release: str, released: MakeTarget, shared_tmp: Path
) -> None:
    """Zipped, unzipped, egg-info, dist-info and develop link are told apart, and the metadata read is listed."""
    site = shared_tmp / "site"
    egg(site, "Zipped", "1", "", python)
    unzipped = egg(site, "Unzipped", "1", "", python)
    with zipfile.ZipFile(unzipped) as file:
        unzipped.unlink()
        file.extractall(unzipped)
    (site / "Flat-1.egg-info").write_text("Metadata-Version: 1.0\nName: Flat\nVersion: 1\n")
    project = shared_tmp / "project"
    info = project / "Develop.egg-info"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: Develop\nVersion: 1\n")
    (info / "requires.txt").write_text("Zipped\nUnzipped\nFlat\n")
    (site / "Develop.egg-link").write_text(f"{project}\n.\n")
    tree = ask(released(python, release), "Develop", "setuptools", paths=[str(site)])
    kinds = {distribution.project: distribution.kind for distribution in tree.distributions}
    dist_info = {"setuptools": Kind.EGG_INFO if release == "0.6c11" else Kind.DIST_INFO}
    assert kinds == {
        "Develop": Kind.DEVELOP, "Zipped": Kind.ZIPPED, "Unzipped": Kind.UNZIPPED, "Flat": Kind.EGG_INFO, **dist_info,
    }  # fmt: skip
    assert all((distribution.egg is not None) == distribution.kind.zipped for distribution in tree.distributions)
    assert {str(site / "Develop.egg-link"), str(info / "requires.txt"), str(info / "PKG-INFO")} <= set(tree.read)


@pytest.mark.parametrize(
    ("python", "release", "cache_name"),
    [("2.7", "0.6c11", "Inner-1-py2.7.egg"), ("2.7", "36.0.1", "Inner-1-py2.7.egg"),
     ("3.6", "40.8.0", "Inner-1-py3.6.egg"), ("3.9", "58.1.0", "outer.egg"), ("3.13", "80.9.0", "outer.egg")],
)  # fmt: skip
def test_egg_in_a_basket_is_cached_under_the_name_of_its_release(
    python: str, release: str, cache_name: str, released: MakeTarget, shared_tmp: Path
) -> None:
    """An egg inside an egg is cached under the name that this very release will look for: 49.6 changed it."""
    target = released(python, release)
    inner = egg(shared_tmp, "Inner", "1", "", python)
    outer = basket(shared_tmp / "outer.egg", inner, metadata=True)
    tree = ask(target, everything=True, paths=[f"{outer}/{inner.name}"])
    distribution = named(tree, "Inner")
    assert (distribution.kind, distribution.egg, distribution.inside) == (Kind.BASKET, str(outer), f"{inner.name}/")
    assert distribution.cache_name == cache_name
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import pkg_resources, inner\n"
        "print(pkg_resources.get_provider('inner').egg_name)"
    )
    assert target.run(code, distribution.location).stdout.strip() == cache_name


def test_a_link_is_cached_under_its_own_name(released: MakeTarget, shared_tmp: Path) -> None:
    """A symbolic link on sys.path keeps its name in the cache, while the location is where it leads."""
    real = egg(shared_tmp / "elsewhere", "Leaf", "1")
    link = shared_tmp / "Link-1-py2.7.egg"
    link.symlink_to(real)
    tree = ask(released("2.7", "44.1.1"), everything=True, paths=[str(link)])
    (found,) = [distribution for distribution in tree.distributions if distribution.kind.zipped]
    assert (found.egg, found.location, found.cache_name) == (str(link), os.path.realpath(real), link.name)


@pytest.mark.parametrize(("python", "release"), [("2.7", "44.1.1"), ("3.11", "65.5.0")])
def test_a_path_that_is_no_utf_8(python: str, release: str, released: MakeTarget, shared_tmp: Path) -> None:
    """A directory whose name is not valid in any encoding is looked into, and named so that it can be opened."""
    odd = Path(os.path.join(shared_tmp, os.fsdecode(b"caf\xe9 \xff")))
    expected = egg(odd, "Leaf", "1", "", python)
    tree = ask(released(python, release), "Leaf", paths=[str(odd)])
    assert named(tree, "Leaf").location == str(expected)
    assert json.dumps(tree_json(tree)).isascii()


def test_path_comes_first(turbogears2_27: Deployment, shared_tmp: Path) -> None:
    """`--path` is in front of sys.path, as Apache's PythonPath puts it, and `--path DIR --all` serves a directory."""
    first = egg(shared_tmp, "crank", "9")
    egg(shared_tmp, "Foreign", "1", "", "3.9")
    tree = ask(turbogears2_27, "crank", paths=[str(first)])
    assert (named(tree, "crank").location, named(tree, "crank").active) == (str(first), True)
    assert tree.interpreter.path[0] == str(first)
    assert "/" not in tree.interpreter.path
    everything = ask(turbogears2_27, everything=True, paths=[str(shared_tmp)])
    assert {distribution.location for distribution in everything.distributions if distribution.version == "9"} == {
        str(first)
    }
    assert "Foreign" not in {distribution.project for distribution in everything.distributions}


# --------------------------------------------------------------------------------------- targets that are odd


@pytest.mark.parametrize("python", ["2.7", "3.13"])
def test_without_pkg_resources(python: str, target: MakeTarget, shared_tmp: Path) -> None:
    """A target without pkg_resources gets a clear error, but for everything without need of it: eggs by their names."""
    deployment = target(python, "")
    path = egg(deployment.site_packages, "My_Leaf", "1.0-r7", "", python)
    on_path = egg(shared_tmp, "Other", "2", "", python)
    egg(deployment.site_packages, "Foreign", "1", "", "9.9")
    (deployment.site_packages / "Fake-1.egg").write_text("no zip")
    (deployment.site_packages / "easy-install.pth").write_text(f"{on_path}\n")
    for options in ({}, {"everything": True}, {"need_pkg_resources": False}):
        with pytest.raises(
            EggcacheError, match=r"has no pkg_resources.*unzip-all .* --backup \S+\).*\"setuptools<82\""
        ):
            ask(deployment, "My-Leaf", **options)
    tree = ask(deployment, everything=True, need_pkg_resources=False)
    eggs = [distribution for distribution in tree.distributions if distribution.kind is Kind.ZIPPED]
    assert sorted((egg.project, egg.version, egg.egg, egg.cache_name, egg.active) for egg in eggs) == [
        ("My-Leaf", "1.0-r7", str(path), path.name, False), ("Other", "2", str(on_path), on_path.name, True),
    ]  # fmt: skip
    assert (tree.interpreter.pkg_resources, tree.interpreter.setuptools) == (None, None)
    for file in (path, on_path, deployment.site_packages / "Fake-1.egg"):
        file.unlink()
    words = (
        r"no pkg_resources to ask, and no zipped egg on its path; if Apache runs another Python, .*\"setuptools<82\""
    )
    with pytest.raises(EggcacheError, match=words):  # which has nothing to unzip
        ask(deployment, everything=True)


def test_a_broken_pkg_resources(target: MakeTarget) -> None:
    """A pkg_resources that cannot be imported is told with its own words."""
    deployment = target("2.7", "44.1.1")
    (deployment.site_packages / "pkg_resources/__init__.py").write_text("raise ValueError('its own words')\n")
    (deployment.site_packages / "pkg_resources/__init__.pyc").unlink()
    with pytest.raises(EggcacheError, match="cannot import its pkg_resources: its own words"):
        ask(deployment, "setuptools")


@pytest.mark.parametrize(("python", "release"), [("2.7", "44.1.1"), ("3.13", "80.9.0")])
def test_pth_files_do_not_confuse(python: str, release: str, target: MakeTarget, shared_tmp: Path) -> None:
    """Whatever a .pth file prints, closes or imports: the tree is right, or it is said that the target is useless."""
    deployment = target(python, release)
    eggs = shared_tmp / "eggs"
    egg(eggs, "Leaf", "1", "", python)
    pth = deployment.site_packages / "aaa.pth"
    once = "import os, sys; hasattr(sys, 'once') or setattr(sys, 'once', 1)"  # a virtualenv for 2.7 reads it twice
    for line in (
        "import sys; sys.stdout.write('{}rubbish' * 99999); sys.stderr.write('eggcache' * 99999)",
        f"{once} or os.close(1)",
        "import pkg_resources",
        "import sys; sys.path.append('relative'); sys.path.append('')",
        "import sys; sys.stderr = sys.stdout = None",
        "import warnings; warnings.simplefilter('error')",
    ):
        pth.write_text(f"{line}\n")
        tree = ask(deployment, "Leaf", paths=[str(eggs)])
        assert projects(tree) == {("Leaf", "1")}, line
        assert all(path.startswith("/") for path in tree.interpreter.path), line
    for line in (f"{once} or os.close(0)", f"{once} or os.closerange(0, 99)", "import os; os._exit(0)"):
        pth.write_text(f"{line}\n")
        with pytest.raises(EggcacheError, match="is no Python"):
            ask(deployment, "Leaf", paths=[str(eggs)])


@pytest.mark.parametrize(("python", "release"), [("2.7", "36.0.1"), ("3.13", "80.9.0")])
def test_damage_on_the_path_hides_nothing_else(python: str, release: str, target: MakeTarget) -> None:
    """Eggs that are no zip, links that lead nowhere, and metadata that is none leave the others visible."""
    deployment = target(python, release)
    site = deployment.site_packages
    egg(site, "Leaf", "1", "", python)
    (site / f"Aaa-1-py{python}.egg").write_text("no zip")
    (site / "Bbb.egg-link").write_text("/no/such/place\n")
    (site / "Ccc.egg-link").write_bytes(b"\xff\n")
    (site / "Ddd.egg-link").mkdir()
    (site / "Eee-1.dist-info").mkdir()
    (site / "Fff.egg-info").write_bytes(b"\xff\xfe")
    (site / "easy-install.pth").write_text(f"./Aaa-1-py{python}.egg\n/no/such/egg.egg\n")
    assert projects(ask(deployment, "Leaf")) == {("Leaf", "1")}
    assert "Leaf" in {distribution.project for distribution in ask(deployment, everything=True).distributions}


def test_asking_writes_nothing(turbogears2_27: Deployment, copy_of: Callable[[Deployment], Deployment]) -> None:
    """Resolving creates, changes and extracts nothing, in the target or where its cache would be."""
    copy = copy_of(turbogears2_27)
    before = _snapshot(copy.root)
    ask(copy, "TurboGears2")
    ask(copy, everything=True)
    assert _snapshot(copy.root) == before
    strace = shutil.which("strace")
    if strace:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); sys.dont_write_bytecode = True\n"
            "from eggcache import Roots, Target, resolve; resolve(Target(sys.argv[2]), Roots(['TurboGears2']))"
        )
        source = str(ROOT)
        calls = "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,creat,chmod,fchmod,fchmodat,fchownat,utimensat"
        command = [strace, "-f", "-qq", "-e", "signal=none", "-e", f"trace={calls}"]
        result = subprocess.run(
            [*command, sys.executable, "-c", code, source, str(copy.python)], capture_output=True, text=True, check=True
        )
        assert result.stderr == ""


def _snapshot(root: Path) -> list[tuple[str, int, int, int]]:
    seen = []
    for directory, _, names in os.walk(root):
        for path in [directory, *(os.path.join(directory, name) for name in names)]:
            info = os.lstat(path)
            seen.append((path, info.st_mtime_ns, info.st_ctime_ns, info.st_size))
    return sorted(seen)


# -------------------------------------------------------------------------------------------- hostile answers

HONEST: dict[str, Any] = {
    "version": [2, 7, 18], "prefix": "/usr", "path": ["/a"], "added": [], "pth": [], "site": [],
    "pkg_resources": "/a/p.py", "setuptools": "setuptools 1", "broken": "", "projects": [], "read": [], "bad": [],
    "outside": [],
    "distributions": [
        {"project": "A", "version": "1", "location": "/a/A-1.egg", "kind": "zipped egg", "extras": [], "active": True,
         "egg": "/a/A-1.egg", "inside": "", "cache_name": "A-1.egg"},
    ],
    "needs": [{"requirement": "A", "by": None, "found": 0, "state": "met", "reason": "", "extra": ""}],
}  # fmt: skip


@pytest.fixture
def answering(shared_tmp: Path) -> Callable[[object], str]:
    """A factory: answering({...}) is a program that gives this answer, whatever it is asked."""

    def make(answer: object) -> str:
        (shared_tmp / "answer").write_text(f"eggcache\n{json.dumps(answer)}\n")
        program = shared_tmp / "python"
        program.write_text(f"#!/bin/sh\ncat >/dev/null\ncat {shared_tmp}/answer > /proc/$$/fd/$3\n")
        program.chmod(0o755)
        return str(program)

    return make


def test_an_honest_answer_is_taken(answering: Callable[[object], str]) -> None:
    """The answer that the hostile ones below are made from is a good one."""
    target = Target(answering(HONEST), account=RootAlone(*accounts.current()))
    assert resolve(target, Roots(["A"])).distributions[0].cache_name == "A-1.egg"


def _but(**changes: object) -> dict[str, Any]:
    return {**HONEST, **changes}


def _egg_but(**changes: object) -> dict[str, Any]:
    return _but(distributions=[{**HONEST["distributions"][0], **changes}])


def _need_but(**changes: object) -> dict[str, Any]:
    return _but(needs=[{**HONEST["needs"][0], **changes}])


HOSTILE: Mapping[str, object] = {
    "null": None, "list": [], "number": 7, "empty": {},
    "no version": _but(version=[]), "odd version": _but(version=["2", "7"]),
    "false version": _but(version=[True, False]),
    "relative prefix": _but(prefix="usr"), "dotted path": _but(path=["/a/../etc"]), "nul": _but(path=["/a\0b"]),
    "doubled": _but(path=["//a"]), "relative pth": _but(pth=["x.pth"]), "relative read": _but(read=["../x"]),
    "site is no list": _but(site="abc"), "table of paths": _but(path={"a": 1}), "numbers of paths": _but(path=[1]),
    "relative location": _egg_but(location="A-1.egg"), "location up": _egg_but(location="/a/../A-1.egg"),
    "no location": _egg_but(location=None), "relative egg": _egg_but(egg="A-1.egg"), "no egg": _egg_but(egg=None),
    "unknown kind": _egg_but(kind="zipped"), "kind is a list": _egg_but(kind=["zipped egg"]),
    "cache up": _egg_but(cache_name=".."), "cache up.egg": _egg_but(cache_name="../A-1.egg"),
    "cache elsewhere": _egg_but(cache_name="/etc/A-1.egg"), "cache of others": _egg_but(cache_name="B-1.egg"),
    "cache is no egg": _egg_but(cache_name="a"), "cache empty": _egg_but(cache_name=""),
    "no cache": _egg_but(cache_name=None),
    "inside up": _egg_but(kind="inside a basket", inside="../b.egg/"),
    "inside root": _egg_but(kind="inside a basket", inside="/b.egg/"),
    "inside twice": _egg_but(kind="inside a basket", inside="b.egg//c.egg/"),
    "inside open": _egg_but(kind="inside a basket", inside="b.egg"),
    "no basket": _egg_but(inside="b.egg/"), "unzipped with zip": _egg_but(kind="unzipped egg"),
    "active is a number": _egg_but(active=1), "project is a list": _egg_but(project=["A"]),
    "version is a number": _egg_but(version=1), "extras is a string": _egg_but(extras="abc"),
    "index out of range": _need_but(found=1), "negative index": _need_but(by=-1), "true index": _need_but(found=True),
    "unknown state": _need_but(state="fine"), "met by nothing": _need_but(found=None),
    "missing and found": _need_but(state="missing"), "needs is a table": _but(needs={}),
    "bad is odd": _but(bad=[["a"]]),
    "distributions of lists": _but(distributions=[[]]), "setuptools is a list": _but(setuptools=[]),
}  # fmt: skip


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_answers_are_refused(answer: object, answering: Callable[[object], str]) -> None:
    """Anything that is not exactly as it must be, above all a path or a cache name, is refused in one line."""
    target = Target(answering(answer), account=RootAlone(*accounts.current()))
    with pytest.raises(EggcacheError, match="is no Python to trust: it answered with") as caught:
        resolve(target, Roots(["A"]))
    assert str(caught.value).isprintable()


# -------------------------------------------------------------------------------------------------- drawing it


def draw_tree(tree: Tree) -> list[str]:
    """The tree's lines, as plain text."""
    return ["".join(part.text for part in line) for line in tree_lines.lines(tree)]


def made(count: int, needs: list[Need]) -> Tree:
    """A tree of zipped eggs P0, P1, …"""
    target = Interpreter("/python", (2, 7, 18), "/", (), "/pkg_resources.py", "setuptools 44.1.1")
    eggs = tuple(
        Distribution(f"P{i}", "1", f"/P{i}.egg", Kind.ZIPPED, active=True, egg=f"/P{i}.egg", cache_name=f"P{i}.egg")
        for i in range(count)
    )
    return Tree(target, ("P0",), eggs, tuple(needs))


def test_children_are_drawn_in_their_authors_order() -> None:
    """Children are in their author's order, the requirement is behind, repeated ones are marked, the rest is listed."""
    needs = [
        Need("P0", None, 0, State.MET), Need("Gone", 0, None, State.MISSING, "not installed"),
        Need("P2>=1", 0, 2, State.MET), Need("P1", 0, 1, State.MET), Need("P2", 1, 2, State.CONFLICTING, "why"),
        Need("P0", 2, 0, State.MET),
    ]  # fmt: skip
    assert draw_tree(made(4, needs)) == [
        "P0 1  zipped egg  /P0.egg",
        "|-- P1 1  zipped egg  /P1.egg",
        "|   `-- P2 1  zipped egg  /P2.egg  <- P2  conflicting",
        "|       `-- P0 1  (cycle)",
        "|-- P2 1  <- P2>=1  (above)",
        "`-- Gone  missing",
        "P3 1  zipped egg  /P3.egg",
    ]


def test_deep_and_cyclic_trees() -> None:
    """Neither a tree that is thousands deep nor one whose needs make no sense exhausts anything."""
    deep = made(5000, [Need("P0", None, 0, State.MET), *(Need(f"P{i + 1}", i, i + 1, State.MET) for i in range(4999)),
                       Need("Gone", 4999, None, State.MISSING, "not installed")])  # fmt: skip
    assert len(draw_tree(deep)) == 5000  # a hundred steps, and the rest listed flat
    assert len(tree_json(deep)["distributions"]) == 5000
    assert findings(deep)[0].cause.count(" -> ") == 30  # the steps next to what is missing
    orphan = made(
        2, [Need("P1", 0, 1, State.MET), Need("P0", 1, 0, State.MET), Need("X", 1, None, State.MISSING, "no")]
    )
    assert len(draw_tree(orphan)) == 2
    assert "X (missing)" in findings(orphan)[0].cause


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("secret", ""),
        ("elsewhere/Part.egg-info/requires.txt", ""),
        ("site/Link.egg-info/requires.txt", ""),
        ("site/Part.egg-info/requires.txt", "chmod -R o+rX {tmp}/site/Part.egg-info"),
        ("site/Part.egg/EGG-INFO/requires.txt", "chmod -R o+rX {tmp}/site/Part.egg/EGG-INFO"),
        ("site/Old.egg-info", "chmod o+r {tmp}/site/Old.egg-info"),
    ],
)
def test_only_metadata_on_the_path_is_to_be_opened(
    shared_tmp: Path, nobody: pwd.struct_passwd, name: str, command: str
) -> None:
    """Which file could not be read is a stranger's word: root is told to open metadata that is there, and nothing
    else, nor what a link leads to."""
    (shared_tmp / "site").mkdir()
    (shared_tmp / "hidden").mkdir()
    (shared_tmp / "site" / "Link.egg-info").symlink_to("../hidden")
    file = shared_tmp / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    file.chmod(0o600)
    reason = f"[Errno 13] Permission denied: '{file}'"
    tree = made(1, [Need("P0", None, 0, State.MET), Need("Part", 0, 0, State.CONFLICTING, reason)])
    target = replace(tree.interpreter, path=(str(shared_tmp / "site"), str(shared_tmp / "site" / "Part.egg")))
    (finding,) = findings(replace(tree, interpreter=target), accounts.lookup(nobody.pw_name))
    assert (finding.code, finding.remedy.command) == ("egg-unreadable", command.format(tmp=shared_tmp))


def test_json_of_a_tree_has_every_field(turbogears1: Deployment) -> None:
    """The JSON has the schema, every field of the model in plain types, and what is wrong."""
    tree = tree_json(ask(turbogears1, "TurboGears"))
    assert json.loads(json.dumps(tree)) == tree
    assert tree["schema"] == 1
    assert tree["distributions"][0]["kind"] == "zipped egg"
    assert {finding["code"] for finding in tree["findings"]} == {"missing-distribution"}


def test_answer_with_more_than_any_site_has() -> None:
    """What is done with an answer takes time as well: lists beyond all measure are refused before it is begun."""
    rows = ["x"] * (answer_parsing.MOST + 1)
    with pytest.raises(EggcacheError, match="more than any site has"):
        answer_parsing.Answer("/python", {"projects": rows}).pairs("projects")
