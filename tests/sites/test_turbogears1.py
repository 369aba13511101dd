"""A zipped TurboGears 1.1.3 behind a real Apache, with SQLAlchemy beside it, which TurboGears imports and does not
require: one command without any requirement, and each page is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import deployment
from support.deployment import Deployment
from support.httpd import APACHECTL, Page, differences, mod_wsgi_27, wait_for
from support.judge import listing
from support.shop import TURBOGEARS1, Shop, mod_wsgi, new_site


@pytest.fixture
def site(turbogears1_complete: Deployment, shared_tmp: Path, where: Path, checkout: Path) -> Iterator[Shop]:
    """Under mod_wsgi for CPython 2.7: 26 zipped eggs, SQLAlchemy's among them, and a controller."""
    made = new_site(shared_tmp, turbogears1_complete, checkout, TURBOGEARS1)
    made.what = []
    made.python_home = str(deployment.interpreter("2.7", where).parent.parent)
    made.httpd.configure(mod_wsgi(made, so=mod_wsgi_27(where)))
    yield made
    made.httpd.stop()


def told(pages: list[Page]) -> set[tuple[int, str]]:
    """The statuses, and what the pages say."""
    return {(page.status, page.text if page.status == 200 else "") for page in pages}


def test_one_command_and_the_pages_are_served(site: Shop) -> None:
    """Each page is an ExtractionError, for the tree that TurboGears declares as well; after prepare and the emitted
    apachectl, and after unzip-all, neither of which was told what to take, each is served, and nothing is written.
    check says so in each state."""
    httpd, python = site.httpd, site.tree.python
    native = "SQLAlchemy-0.7.10-py2.7-linux-x86_64.egg{}/sqlalchemy/cprocessors.so"

    def fails() -> None:
        assert told(httpd.crowd("/", 8)) == {(500, "")}
        wait_for(lambda: "ExtractionError" in httpd.log(), httpd.log)

    httpd.start()
    fails()
    assert site.found() == {"no-cache"}
    httpd.stop()
    httpd.forget_log()
    site.eggcache("prepare", site.cache, "TurboGears", "--strict-tree", "--python", python)
    httpd.start(PYTHON_EGG_CACHE=str(site.cache))
    fails()
    assert "egg-not-in-cache" in site.found("--cache", site.cache)
    httpd.stop()
    httpd.forget_log()

    site.eggcache("prepare", site.cache, "--python", python)
    before = listing(site.cache)
    httpd.control = ["/bin/sh", site.script("apachectl", "--apachectl", APACHECTL)]
    httpd.start()
    assert told(httpd.crowd("/", 16)) == {(200, f"native={site.cache}/{native.format('-tmp')}")}, httpd.log()
    assert differences(before, listing(site.cache)) == []
    assert site.found("--cache", site.cache) == set()
    httpd.stop()

    httpd.control = [APACHECTL]
    deployment.run(["rm", "-r", site.cache])
    site.eggcache("unzip-all", "--python", python)
    assert site.tree.eggs == []
    httpd.start()
    assert told(httpd.crowd("/", 16)) == {(200, f"native={site.tree.site_packages}/{native.format('')}")}, httpd.log()
    assert site.found() == set()


def test_autoreloader_under_apache(site: Shop) -> None:
    """With autoreload.on the application ends while it starts: each page is an error 500. Without, each is served."""
    httpd, script = site.httpd, site.home / "mods" / "shop_start.py"
    off = script.read_text()
    script.write_text(on := off.replace('"autoreload.on": False', '"autoreload.on": True'))
    assert on != off
    site.eggcache("prepare", site.cache, "--python", site.tree.python)
    httpd.start(PYTHON_EGG_CACHE=str(site.cache))
    assert told(httpd.crowd("/", 8)) == {(500, "")}
    wait_for(lambda: "SystemExit exception raised" in httpd.log(), httpd.log)
    httpd.stop()
    script.write_text(off)
    httpd.start(PYTHON_EGG_CACHE=str(site.cache))
    assert {page.status for page in httpd.crowd("/", 8)} == {200}, httpd.log()
