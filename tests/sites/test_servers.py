"""Servers that keep running: a real Apache under load beside prepare, and what replacing an egg file does to it.

EGGCACHE_SERVERS_SECONDS=3600 lets the load run for an hour instead of some seconds.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.deployment import Deployment
from support.httpd import Httpd, alive, require, wait_for
from support.judge import eggcache
from support.sites import write_egg

SECONDS = float(os.environ.get("EGGCACHE_SERVERS_SECONDS", "12"))
CLIENTS = 16
# At every request: each resource of both eggs by its file and by its zip, and each directory by its names.
APPLICATION = r"""
import os, site, sys, traceback
if os.path.isdir(%(eggs)r):
    sys.path[:0] = [%(eggs)r + "/" + name for name in sorted(os.listdir(%(eggs)r))]
site.addsitedir(%(site)r)
import pkg_resources

def look(project):
    for name in pkg_resources.resource_listdir(project, "data"):
        directory = pkg_resources.resource_filename(project, "data/" + name)
        inside = pkg_resources.resource_listdir(project, "data/" + name)
        found = os.listdir(directory)
        assert sorted(found) == sorted(inside), "%%s: %%s instead of %%s" %% (directory, found, inside)
        for member in inside:
            path = pkg_resources.resource_filename(project, "data/%%s/%%s" %% (name, member))
            with open(path, "rb") as stream:
                assert stream.read() == pkg_resources.resource_string(project, "data/%%s/%%s" %% (name, member)), path
            assert path.startswith(%(cache)r + "/"), path

def application(environ, start_response):
    try:
        look("shop")
        look("wares")
        version = pkg_resources.get_distribution("shop").version
        status, body = "200 OK", ("%%s %%d" %% (version, os.getpid())).encode("ascii")
    except Exception:
        status, body = "500 Wrong", traceback.format_exc().encode("utf-8")
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


@dataclass
class Load:
    """Clients that ask for one page over and over, each time on a new connection."""

    httpd: Httpd
    answers: Counter[str] = field(default_factory=Counter)
    workers: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)

    def __enter__(self) -> Load:
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(60)

    def more(self, count: int) -> None:
        """Return when there are so many more answers."""
        enough = sum(self.answers.values()) + count
        wait_for(lambda: sum(self.answers.values()) >= enough, self.httpd.log)

    def _ask(self) -> None:
        while not self.over.is_set():
            try:
                page = self.httpd.get("/", Connection="close")
            except Exception as error:
                self.answers["no answer"] += 1
                self.failed.append(repr(error))
                continue
            self.answers[str(page.status)] += 1
            if page.status == 200:
                self.workers.add(page.text)
            else:
                self.failed.append(page.text)


@dataclass
class Shop:
    """An Apache with an application out of two zipped eggs, its workers recycled every few requests."""

    httpd: Httpd
    python: Path
    home: Path

    @property
    def eggs(self) -> Path:
        return self.home / "eggs"

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    def prepare(self, *more: str | Path, path: Path | None = None) -> str:
        return self.eggcache("--all", "--path", path or self.eggs, *more)

    def eggcache(self, *words: str | Path) -> str:
        """What `prepare` prints, of these words."""
        result = eggcache("prepare", self.cache, "--python", self.python, "--user", "www-data", *words)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def serve(self, site_packages: Path, requests: int = 15) -> None:
        """Have Apache serve the application, out of the eggs of `eggs` and of site-packages, by workers that end after
        so many requests (0: never)."""
        application = self.home / "application.py"
        application.write_text(
            APPLICATION % {"eggs": str(self.eggs), "site": str(site_packages), "cache": str(self.cache)}
        )
        self.httpd.configure(
            f"WSGIScriptAlias / {application}\nWSGIPythonEggs {self.cache}\nMaxConnectionsPerChild {requests}\n"
            f"KeepAlive Off\nMaxRequestWorkers {CLIENTS}\n"
            f"<Directory {self.home}>\nRequire all granted\n</Directory>\n"
        )


def write_project(directory: Path, project: str, version: str = "1.0") -> Path:
    """An egg of one of the application's projects, which has other resources in each version."""
    resources = {
        f"{project}/data/d{number}/{name}.txt": f"{project} {version} {number} {name}\n" * 50
        for number in range(3)
        for name in "abc"
    }
    return write_egg(directory / f"{project}-{version}-py3.11.egg", {f"{project}/__init__.py": "", **resources})


@pytest.fixture
def shop(plain: Deployment, shared_tmp: Path) -> Iterator[Shop]:
    require("wsgi")
    shop = Shop(Httpd(shared_tmp / "apache", "", "wsgi"), plain.python, shared_tmp)
    shop.eggs.mkdir()
    for project in ("shop", "wares"):
        write_project(shop.eggs, project)
    shop.serve(plain.site_packages)
    yield shop
    shop.httpd.stop()


@pytest.fixture
def installed(own: Deployment, shared_tmp: Path) -> Iterator[Shop]:
    """The same with its eggs in the site-packages of a Python of its own, as easy_install leaves them."""
    require("wsgi")
    shop = Shop(Httpd(shared_tmp / "apache", "", "wsgi"), own.python, shared_tmp)
    eggs = [write_project(own.site_packages, project) for project in ("shop", "wares")]
    (own.site_packages / "easy-install.pth").write_text("".join(f"./{egg.name}\n" for egg in eggs))
    shop.serve(own.site_packages)
    yield shop
    shop.httpd.stop()


def second_tree(shop: Shop) -> Callable[[], object]:
    """Each time another egg is prepared for a second tree, and the one before is pruned."""
    turns = iter(range(1_000_000))
    other = shop.home / "other"

    def turn() -> None:
        number = next(turns)
        shutil.rmtree(other, ignore_errors=True)
        other.mkdir()
        write_egg(other / f"other{number}-1.0-py3.11.egg", {f"other{number}/data/text.txt": "x"})
        shop.prepare("--prune", path=other)
        assert [path.name for path in shop.cache.glob("other*-tmp")] == [f"other{number}-1.0-py3.11.egg-tmp"]

    return turn


def rebuilt(shop: Shop) -> None:
    """An egg that was touched, and a file in the cache that was, are extracted anew."""
    os.utime(shop.eggs / "shop-1.0-py3.11.egg")
    (shop.cache / "wares-1.0-py3.11.egg-tmp" / "wares" / "data" / "d0" / "a.txt").chmod(0o640)
    assert shop.prepare().startswith("2 eggs replaced")


def renewed(shop: Shop) -> None:
    """A cache that became unsafe is built anew, and taken to be nobody's who could have written it."""
    shop.cache.chmod(0o770)
    assert shop.prepare("--reset").startswith("2 eggs made")
    (aside,) = shop.home.glob("cache.aside-*")
    time.sleep(0.2)  # an administrator who removes it needs longer
    shutil.rmtree(aside)


def test_prepare_beside_a_server(shop: Shop) -> None:
    """prepare over and over - a second tree added and pruned, members rebuilt, --reset - disturbs no request."""
    shop.prepare()
    shop.httpd.start()
    turns: list[Callable[[], object]] = [second_tree(shop), lambda: rebuilt(shop), lambda: renewed(shop)]
    result = 0
    with Load(shop.httpd) as load:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline or result < 4:
            turns[result % len(turns)]()
            result += 1
    assert load.failed[:1] == [], f"{load.answers}\n{shop.httpd.log()[-2000:]}"
    assert load.answers["200"] > 3 * SECONDS
    assert len(load.workers) > CLIENTS
    assert "Traceback" not in shop.httpd.log()


@pytest.mark.parametrize("recycled", [True, False])
def test_upgrade_without_a_stop(installed: Shop, own: Deployment, shared_tmp: Path, recycled: bool) -> None:
    """The steps of docs/explanation/running-servers.rst, for an upgrade without a stop, disturb no request of old
    workers or of new ones, and all workers have the new version then. An old one serves even after `graceful` has
    ended: without the wait it would miss its egg."""
    site_packages, pth = own.site_packages, own.site_packages / "easy-install.pth"
    httpd, old = installed.httpd, site_packages / "shop-1.0-py3.11.egg"
    new = write_project(shared_tmp, "shop", "2.0")
    installed.eggcache()
    if not recycled:
        installed.serve(site_packages, 0)
    httpd.start()

    def versions(load: Load) -> set[str]:
        """The versions in the answers from now on, but for the first ones: those were on their way."""
        load.more(CLIENTS)
        load.workers = set()
        load.more(3 * CLIENTS)
        return {text.split()[0] for text in load.workers}

    with Load(httpd) as load:
        load.more(CLIENTS)
        shutil.copy(new, site_packages)
        assert versions(load) == {"1.0"}
        assert installed.eggcache().startswith("1 egg made")
        assert versions(load) == {"1.0"}
        (site_packages / "new.pth").write_text(pth.read_text().replace(old.name, new.name))
        (site_packages / "new.pth").replace(pth)
        if recycled:
            wait_for(lambda: any(text.startswith("2.0 ") for text in load.workers), httpd.log)
        else:
            assert versions(load) == {"1.0"}
        workers = httpd.family()[1:]
        result = httpd.ctl("graceful")
        assert result.returncode == 0, result.stdout + result.stderr
        wait_for(lambda: not any(map(alive, workers)), httpd.log)
        old.unlink()
        installed.eggcache("--prune")
        assert versions(load) == {"2.0"}
    assert load.failed[:1] == [], f"{load.answers}\n{httpd.log()[-2000:]}"
    assert not (installed.cache / f"{old.name}-tmp").exists()
    assert "Traceback" not in httpd.log()


def test_directory_that_is_being_read(shop: Shop) -> None:
    """Who has opened a directory to list it finds all that was in it, though another has taken its place."""
    shop.prepare()
    read = shop.cache / "wares-1.0-py3.11.egg-tmp" / "wares" / "data" / "d0"
    descriptor = os.open(read, os.O_RDONLY)
    (read / "a.txt").chmod(0o640)
    with ThreadPoolExecutor(1) as pool:
        prepared = pool.submit(shop.prepare)
        wait_for(lambda: not os.path.samestat(os.fstat(descriptor), read.stat()), seconds=60)
        time.sleep(0.2)
        names = os.listdir(descriptor)
        prepared.result()
    os.close(descriptor)
    assert sorted(names) == ["a.txt", "b.txt", "c.txt"]
    assert not list(shop.cache.glob(".eggcache-stage-*"))
