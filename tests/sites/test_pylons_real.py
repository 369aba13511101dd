"""A zipped Pylons 1.0 behind a real Apache, with an application that Pylons' own paster makes: what the page says."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.hosts import free_port
from support.httpd import APACHECTL, differences, mod_wsgi_27, wait_for, www_data
from support.judge import as_json, environment, listing
from support.parts import built
from support.programs import running
from support.shop import Shop, mod_wsgi, new_site

PAGE = (ROOT / "docs" / "howto" / "pylons.rst").read_text()
BLOCKS = re.findall(r"\.\. code-block:: \w+\n\n((?:    .*\n|\n)+)", PAGE)
COMMANDS, SCRIPT = [re.sub("(?m)^    ", "", block).strip() for block in BLOCKS]
HELLO = """
from shop.lib.base import BaseController, render


class HelloController(BaseController):
    def index(self):
        import markupsafe._speedups
        return render("/hello.mako", {"native": markupsafe._speedups.__file__})
"""


@pytest.fixture(scope="module")
def pylons(where: Path) -> Deployment:
    return built(lambda: deployment.pylons(where))


@pytest.fixture
def site(pylons: Deployment, shared_tmp: Path, where: Path, checkout: Path) -> Iterator[Shop]:
    """Pylons' 19 zipped eggs under mod_wsgi, and an application, shop, that was installed by `setup.py develop`."""
    site = new_site(shared_tmp, pylons, checkout, SCRIPT.replace("/srv/shop", f"{shared_tmp}/shop"))
    site.what = []
    site.python_home = str(deployment.interpreter("2.7", where).parent.parent)
    site.httpd.configure(mod_wsgi(site, so=mod_wsgi_27(where)))
    own = {"HOME": str(shared_tmp), "PYTHON_EGG_CACHE": str(shared_tmp / "root")}
    paster, project = site.tree.root / "bin" / "paster", shared_tmp / "shop"
    choices = ["template_engine=mako", "sqlalchemy=False"]
    deployment.run([paster, "create", "-q", "-t", "pylons", "shop", *choices], env=own, cwd=shared_tmp)
    (project / "shop/controllers/hello.py").write_text(HELLO)
    (project / "shop/templates/hello.mako").write_text("${1 + 1} native=${native}")
    deployment.run([site.tree.python, "setup.py", "-q", "develop", "-N"], env=own, cwd=project)
    deployment.run([paster, "make-config", "-q", "shop", "production.ini"], env=own, cwd=project)
    assert "set debug = false" in (project / "production.ini").read_text().splitlines()
    (project / "data").mkdir()
    os.chown(project / "data", www_data().pw_uid, -1)
    yield site
    site.httpd.stop()


def commands(site: Shop) -> list[list[str]]:
    """The page's commands, each as its words, for this site."""
    text = COMMANDS.replace("/srv/pylons/bin/python", str(site.tree.python))
    return [shlex.split(line)[1:] for line in text.replace("/var/cache/eggcache", str(site.cache)).splitlines()]


def fails(site: Shop, why: str) -> None:
    site.httpd.forget_log()
    assert {page.status for page in site.httpd.crowd("/hello/index", 8)} == {500}
    wait_for(lambda: why in site.httpd.log(), site.httpd.log)


def serves(site: Shop, eggs: str) -> None:
    """A page of a controller and a template, a file of the application's, and one of the error page's."""
    native = f"{eggs.format('MarkupSafe-1.1.1-py2.7-linux-x86_64.egg')}/markupsafe/_speedups.so"
    assert {page.text for page in site.httpd.crowd("/hello/index", 8)} == {f"2 native={native}"}, site.httpd.log()
    assert site.httpd.get("/favicon.ico").body == (site.home / "shop/shop/public/favicon.ico").read_bytes()
    assert "/error/style/black.css" in site.httpd.get("/no/page").text
    assert "margin" in site.httpd.get("/error/style/black.css").text
    assert "ExtractionError" not in site.httpd.log()


def test_the_page_on_pylons(site: Shop) -> None:
    """Each page is an ExtractionError; after the page's commands, and after its unzip-all, each is served, the stock
    error page too, and nothing is written. check names the three eggs that the page names, and nothing else."""
    httpd, (prepare, wrapper, check) = site.httpd, commands(site)
    httpd.start()
    fails(site, "ExtractionError")
    httpd.stop()
    httpd.forget_log()
    site.eggcache(*prepare)
    before = listing(site.cache)
    emitted = site.home / "apachectl"
    site.eggcache(*wrapper, "--for", "apachectl", "--apachectl", APACHECTL, "-o", emitted)
    httpd.control = [emitted]
    httpd.start()
    serves(site, f"{site.cache}/{{}}-tmp")
    assert differences(before, listing(site.cache)) == []
    told = deployment.run(
        [site.program, *check, "--json", "--pid-file", httpd.pid_file],
        env=environment({"APACHE_CONFDIR": str(httpd.home)}),
        check=False,
    )
    findings = as_json(told)["findings"]
    named = {Path(finding["thing"]).name.split("-")[0] for finding in findings if finding["code"] == "not-zip-safe"}
    assert named == {"Paste", "Pylons", "WebError"}
    assert told.returncode == 0, told.stdout
    os.chown(site.home / "shop" / "data", 0, -1)
    shutil.rmtree(site.home / "shop" / "data" / "templates")
    httpd.stop()
    httpd.start()
    fails(site, "Permission denied")
    os.chown(site.home / "shop" / "data", www_data().pw_uid, -1)
    httpd.stop()
    httpd.forget_log()

    httpd.control = [APACHECTL]
    shutil.rmtree(site.cache)
    (unzip,) = re.findall("``eggcache (unzip-all .*?)``", PAGE)
    site.eggcache(*unzip.replace("/srv/pylons/bin/python", str(site.tree.python)).split())
    assert site.tree.eggs == []
    httpd.start()
    serves(site, f"{site.tree.site_packages}/{{}}")


def test_paster_serves_from_the_cache(site: Shop) -> None:
    """paster serve of an ordinary user ends with an ExtractionError, and serves from the cache that was prepared for
    that user, by what the page says is emitted for a script."""
    nobody, port = pwd.getpwnam("nobody"), free_port()
    ini = site.home / "shop" / "production.ini"
    ini.write_text(
        ini.read_text().replace("port = 5000", f"port = {port}").replace("host = 0.0.0.0", "host = 127.0.0.1")
    )
    os.chown(site.home / "shop" / "data", nobody.pw_uid, -1)
    words = [site.tree.root / "bin" / "paster", "serve", ini]
    paster = site.home / "paster"
    paster.mkdir()
    own = environment({"HOME": "/nonexistent", "PYTHONUNBUFFERED": "1"})
    with running(words, paster, own, nobody) as process:
        assert process.wait(60) != 0
    assert "ExtractionError" in (paster / "log").read_text()
    prepare, wrapper, _ = commands(site)
    site.eggcache(*prepare, "--user", "nobody")
    emitted = site.eggcache(*wrapper, "--user", "nobody", "--for", "shell")
    with running(["sh", "-c", f"{emitted}\nexec {shlex.join(map(str, words))}"], paster, own, nobody):
        wait_for(lambda: "serving on" in (paster / "log").read_text(), (paster / "log").read_text)
        site.httpd.port = port
        serves(site, f"{site.cache}/{{}}-tmp")


def test_application_that_is_zipped_itself(site: Shop) -> None:
    """An application that paster made looks for its controllers, templates and files beside its code, and finds none in
    a zip, whatever the cache: check names its egg, and what that says to do has each page served."""
    project, own = site.home / "shop", {"HOME": str(site.home), "PYTHON_EGG_CACHE": str(site.home / "root")}
    for command in (["develop", "--uninstall"], ["easy_install", "-z", "-N", "."]):
        deployment.run([site.tree.python, "setup.py", "-q", *command], env=own, cwd=project)
    assert "shop" in {egg.name.split("-")[0] for egg in site.tree.eggs}
    prepare, _, check = commands(site)
    site.eggcache(*prepare)
    site.httpd.start(PYTHON_EGG_CACHE=str(site.cache))
    fails(site, "Not a directory")
    variables = environment({"APACHE_CONFDIR": str(site.httpd.home)})
    told = as_json(deployment.run([site.program, *check, "--json"], env=variables, check=False))
    (remedy,) = [finding["command"] for finding in told["findings"] if "/shop-" in finding["thing"]]
    site.httpd.stop()
    site.eggcache(*shlex.split(remedy)[1:])
    site.httpd.start()
    serves(site, f"{site.tree.site_packages}/{{}}")
