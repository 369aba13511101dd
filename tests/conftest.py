"""Real deployments as fixtures, built at most once in a session, in a directory that every user can search.

Not under pytest's own tmp_path, which is private to the user who runs the tests: the tests run targets as nobody.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import coverage, deployment, stock
from support.crashing import Caches, Sites
from support.deployment import Deployment
from support.emitted import server  # noqa: F401 - a fixture of several rooms
from support.parts import built, missing
from support.sites import Site, write_egg

# In this process the reader inflates with the standard library; in those that tests run, with the extra "fast".

sys.modules["zlib_ng"] = None  # type: ignore[assignment]

EGGS = Path(__file__).resolve().parent / "support" / "eggs.tsv"

LONGEST = (  # the longest first
    "test_crashes", "test_ansible", "test_check", "test_resolver", "test_wheels", "test_unzip", "test_apache_real",
    "test_emission", "test_disks", "test_trees", "test_shipping", "test_eggs", "test_terminal", "test_kinds",
    "test_cache", "test_apache_fails", "test_quickstart", "test_source_scan", "test_looking", "test_application",
    "test_replaced", "test_cli", "test_untouched", "test_systemd", "test_progress", "test_servers", "test_trac_real",
    "test_wheels_found", "test_undo", "test_gap", "test_race", "test_stateful", "test_turbogears1",
    "test_turbogears2_quickstart", "test_pylons_real",
)  # fmt: skip

SAME = {"project", "sites", "wrappers"}  # of the checkout, the host and the shell: the same under every Python


def pytest_configure(config: pytest.Config) -> None:
    """Make the session's directory. Workers of pytest-xdist find the one of their controller in the environment."""
    stock.enter(config)
    if not hasattr(config, "workerinput"):
        base = "/var/tmp" if os.access("/var/tmp", os.W_OK | os.X_OK) else None
        made = tempfile.mkdtemp(prefix="eggcache-tests-", dir=base)
        os.chmod(made, 0o755)
        os.environ["EGGCACHE_TESTS"] = made
        stock.hide(Path(made) / "apache")  # workers are started by this process, and see what it sees


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first, so that no worker is left alone with one at the end. Tests of a room that use
    nothing which is built are fast: every Python that eggcache runs on runs them."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    for item in items:
        if "where" not in item.fixturenames and item.path.parent.name not in SAME:  # type: ignore[attr-defined]
            item.add_marker("fast")


def pytest_sessionfinish() -> None:
    """What a worker has reached is written before its controller hears that it has finished, and may end it."""
    coverage.end()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's directory, which may hold directories that are not writable."""
    if hasattr(config, "workerinput"):
        return
    made = os.environ.pop("EGGCACHE_TESTS")
    for directory, _, _ in os.walk(made):
        if not os.path.islink(directory):
            os.chmod(directory, 0o755)
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def where() -> Path:
    """The session's directory, for everything that other users must reach."""
    return Path(os.environ["EGGCACHE_TESTS"])


@pytest.fixture
def shared_tmp(where: Path) -> Iterator[Path]:
    """A new directory of the test's own that every user can search and only its owner can write."""
    made = Path(tempfile.mkdtemp(prefix="test-", dir=where))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def nobody() -> pwd.struct_passwd:
    """The account that tests use for Apache's: one that owns nothing. Only root can act as it."""
    if os.geteuid() != 0:
        missing("only root can run a target as another user")
    return pwd.getpwnam("nobody")


@pytest.fixture(scope="session")
def plain(where: Path) -> Deployment:
    """A Python 3.11 with setuptools 65.5.0 that tests only run and never change."""
    return built(lambda: deployment.target("3.11", "65.5.0", where))


@pytest.fixture(scope="session")
def python(plain: Deployment) -> Path:
    """That Python."""
    return plain.python


@pytest.fixture
def site(python: Path, shared_tmp: Path, nobody: pwd.struct_passwd) -> Site:
    eggs = shared_tmp / "eggs"
    eggs.mkdir()
    write_egg(eggs / "One-1.0-py3.11.egg", {"one/__init__.py": "", "one/data/text.txt": "one\n", "one/data/empty": ""})
    write_egg(eggs / "Two-1.0-py3.11.egg", {"two/__init__.py": "", "two/data.txt": "two\n" * 1000})
    return Site(python, eggs, shared_tmp / "cache", nobody)


@pytest.fixture(scope="session")
def turbogears1(where: Path) -> Deployment:
    """TurboGears 1.1.3 on 2.7, 25 zipped eggs, PEAK-Rules missing. Pristine: see `copy_of`."""
    return built(lambda: deployment.turbogears1(where))


@pytest.fixture(scope="session")
def turbogears1_complete(where: Path) -> Deployment:
    """The same with a stand-in for PEAK-Rules: nothing is missing. Pristine: see `copy_of`."""
    return built(lambda: deployment.turbogears1_complete(where))


@pytest.fixture(scope="session")
def turbogears2_27(where: Path) -> Deployment:
    """TurboGears2 2.3.12 on 2.7, 35 zipped eggs, complete. Pristine: see `copy_of`."""
    return built(lambda: deployment.turbogears2_27(where))


@pytest.fixture(scope="session")
def turbogears2_311(where: Path) -> Deployment:
    """TurboGears2 2.5.0 on 3.11, 5 zipped eggs, complete. Pristine: see `copy_of`."""
    return built(lambda: deployment.turbogears2_311(where))


@pytest.fixture
def target(shared_tmp: Path, where: Path) -> Callable[[str, str], Deployment]:
    """A factory: target("2.7", "36.0.1") is a new environment with that setuptools ("" for none), the test's own."""
    return lambda version, setuptools: built(lambda: deployment.target(version, setuptools, where, inside=shared_tmp))


@pytest.fixture
def own(target: Callable[[str, str], Deployment]) -> Deployment:
    """A Python 3.11 with setuptools 65.5.0 of the test's own, to modify."""
    return target("3.11", "65.5.0")


@pytest.fixture
def copy_of(shared_tmp: Path) -> Callable[[Deployment], Deployment]:
    """A factory: copy_of(turbogears1) is the test's own copy, to modify."""

    def copy(original: Deployment) -> Deployment:
        into = Path(tempfile.mkdtemp(prefix="copy-", dir=shared_tmp))
        into.chmod(0o755)
        return deployment.copy(original, into / original.root.name)

    return copy


@pytest.fixture(scope="session")
def uploaded() -> dict[str, Path]:
    """The uploaded eggs of support/eggs.tsv, by file name, as downloaded: copy one to put it on a target's path."""
    pins = deployment.downloads(EGGS)
    return dict(zip((pin.filename for pin in pins), deployment.fetch_all(pins)))


@pytest.fixture(scope="session")
def interpreter(where: Path) -> Callable[[str], Path]:
    """A factory: interpreter("3.6") is a Python of that version which every user can run."""

    def find(version: str) -> Path:
        try:
            return deployment.interpreter(version, where)
        except deployment.MissingInterpreter as error:
            missing(str(error))

    return find


@pytest.fixture(scope="session")
def checkout(python: Path, where: Path) -> Path:
    """A copy of eggcache with what it depends on, for PYTHONPATH, where every user and every Python can read it.

    Byte-compiled for the Python 3.11 that mostly runs it: who cannot write there would compile it at every start."""
    into = where / "checkout"
    with deployment.once(into) as wanted:
        if wanted:
            for name in ("eggcache", "filelock"):
                spec = importlib.util.find_spec(name)
                assert spec
                assert spec.origin
                shutil.copytree(Path(spec.origin).parent, into / name, ignore=shutil.ignore_patterns("__pycache__"))
            deployment.run([python, "-m", "compileall", "-q", into])
            deployment.world_readable(into)
    return into


@pytest.fixture(scope="session")
def pythons(python: Path, where: Path) -> tuple[Path, Path]:
    """A Python 3.11 with pkg_resources and one without, which tests only run and never change."""
    return python, built(lambda: deployment.target("3.11", "", where)).python


@pytest.fixture
def caches(pythons: tuple[Path, Path], shared_tmp: Path, nobody: pwd.struct_passwd) -> Caches:
    return Caches(pythons[0], shared_tmp, nobody)


@pytest.fixture
def sites(pythons: tuple[Path, Path], shared_tmp: Path) -> Sites:
    return Sites(pythons[1], shared_tmp)
