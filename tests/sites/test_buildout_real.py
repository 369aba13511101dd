"""A buildout of zipped eggs by gunicorn behind a real Apache that only passes requests on: the ExtractionError, one
command, the emitted configuration, and each page."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest
from support import buildouts, deployment
from support.buildouts import Buildout
from support.deployment import Deployment
from support.hosts import free_port
from support.httpd import Httpd, differences, wait_for
from support.judge import as_json, eggcache, environment, listing


@dataclass
class Shop:
    """gunicorn, whose workers are nobody's and may write nothing, behind an Apache of www-data's."""

    made: Buildout
    httpd: Httpd
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def cache(self) -> Path:
        return self.made.top / "cache"

    @property
    def configuration(self) -> Path:
        return self.made.top / "gunicorn.conf.py"

    @property
    def log(self) -> Path:
        return self.made.top / "gunicorn.log"

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [self.made.gunicorn, "-c", self.configuration, "acme_site:application"], cwd="/",
                env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for(self.listens, self.log.read_text)

    def listens(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(20)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def served(self, place: Path) -> None:
        """Each page is there for everybody, its files below `place`."""
        css = f"{place}/acme_skin/style/a.css"
        assert {(page.status, page.text) for page in self.httpd.crowd("/", 8)} == {(200, css)}, self.log.read_text()
        assert {(page.status, page.text) for page in self.httpd.crowd("/a.css", 8)} == {(200, "1.0")}

    def found(self, *words: str | Path) -> dict[str, str]:
        """The findings of check that are no notices, and what each is about."""
        told = as_json(eggcache("check", *words, "--json", env={"APACHE_CONFDIR": str(self.httpd.home)}))
        return {finding["code"]: finding["thing"] for finding in told["findings"] if finding["status"]}


@pytest.fixture
def shop(own: Deployment, shared_tmp: Path, nobody: pwd.struct_passwd) -> Iterator[Shop]:
    pins = [f"{name}=={version(name)}" for name in ("gunicorn", "packaging")]
    made = buildouts.generate(own, shared_tmp, pins=["acme.site==1.0", "acme.skin==1.0", *pins])
    port = free_port()
    httpd = Httpd(shared_tmp / "apache", f"ProxyPass / http://127.0.0.1:{port}/", "proxy", "proxy_http")
    site = Shop(made, httpd, port)
    site.configuration.write_text(f"bind = '127.0.0.1:{port}'\nuser = '{nobody.pw_name}'\ngroup = {nobody.pw_gid}\n")
    try:
        httpd.start()
        site.start()
        yield site
    finally:
        site.stop()
        httpd.stop()


def test_one_command_and_the_pages_are_served(shop: Shop, nobody: pwd.struct_passwd) -> None:
    """Each page is an ExtractionError; after one prepare and what is emitted for gunicorn, and after unzip-all, each is
    served, and nothing is written. check says what is wrong in each state, and of the Apache in front of it nothing."""
    target: Sequence[str | Path] = ["--python", shop.made.interpreter]
    who = ["--user", nobody.pw_name]
    assert {page.status for page in shop.httpd.crowd("/", 8)} == {500}
    wait_for(lambda: "ExtractionError: Can't extract file(s) to egg cache" in shop.log.read_text(), shop.log.read_text)
    assert [*shop.found(*target, *who)] == ["no-cache"]

    result = eggcache("prepare", shop.cache, *target, *who)
    assert result.returncode == 0, result.stderr
    assert shop.process
    assert shop.found("--cache", shop.cache) == {"running-without-cache": f"gunicorn (process {shop.process.pid})"}
    before = listing(shop.cache)
    own = shop.configuration.read_text()
    result = eggcache("wrapper", shop.cache, "-o", shop.configuration)
    assert result.returncode == 0, result.stderr
    assert f"--for gunicorn: gunicorn (process {shop.process.pid}) runs the target here" in result.stderr
    shop.restart()
    shop.served(shop.cache / f"{shop.made.egg('acme.skin-1.0').name}-tmp")
    assert differences(before, listing(shop.cache)) == []
    assert shop.found("--cache", shop.cache) == {}

    deployment.run(["rm", "-r", shop.cache])
    shop.configuration.write_text(own)
    assert eggcache("unzip-all", *target).returncode == 0
    shop.restart()
    shop.served(shop.made.egg("acme.skin-1.0"))
    assert shop.found(*target, *who) == {}


def test_a_cache_for_another_user(shop: Shop, nobody: pwd.struct_passwd) -> None:
    """A prepare that is told no user makes a cache for Apache's, which gunicorn's cannot read: check says so, and who
    that is. The command that it names makes one that can be read."""
    target = ["--python", shop.made.interpreter]
    assert eggcache("prepare", shop.cache, *target).returncode == 0
    result = eggcache("check", "--cache", shop.cache, "--json", env={"APACHE_CONFDIR": str(shop.httpd.home)})
    (fault,) = [finding for finding in as_json(result)["findings"] if finding["status"]]
    assert shop.process
    assert (fault["code"], fault["thing"]) == ("daemon-user-cannot-read", f"gunicorn (process {shop.process.pid})")
    assert "--user nobody checks as that user" in result.stderr
    result = eggcache(*shlex.split(fault["command"])[1:])
    assert result.returncode == 0, result.stderr
    assert [*shop.found("--cache", f"{shop.cache}-nobody")] == ["running-without-cache"]


def test_another_buildout_of_the_same_python(shop: Shop, own: Deployment, nobody: pwd.struct_passwd) -> None:
    """gunicorn is the server of the buildout whose eggs it lists, and of no other one."""
    top = shop.made.top / "other"
    top.mkdir()
    other = buildouts.generate(own, top)
    words = ["--python", other.interpreter, "--user", nobody.pw_name]
    assert eggcache("prepare", top / "cache", *words).returncode == 0
    assert shop.found("--cache", top / "cache") == {}
