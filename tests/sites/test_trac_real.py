"""Trac with a zipped plugin behind a real Apache: its own scripts override what Apache has as PYTHON_EGG_CACHE."""

from __future__ import annotations

import os
import shlex
import shutil
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import deployment, tracs
from support.hosts import free_port
from support.httpd import WORKERS, Httpd, differences, mod_wsgi_27, require, wait_for, www_data
from support.judge import as_json, eggcache, environment, listing
from support.parts import built
from support.programs import running
from support.tracs import Trac

FEW = f"MaxRequestWorkers {WORKERS * 2}\n"


@pytest.fixture
def apache(shared_tmp: Path) -> Iterator[Httpd]:
    require("wsgi")
    httpd = Httpd(shared_tmp / "apache", "", "env")
    yield httpd
    httpd.stop()


@pytest.fixture(params=["2.7", "3.11"])
def trac(
    request: pytest.FixtureRequest,
    shared_tmp: Path,
    where: Path,
    copy_of: Callable[[deployment.Deployment], deployment.Deployment],
) -> Trac:
    return tracs.new(copy_of(built(lambda: tracs.installed(request.param, where))), shared_tmp)


def test_trac_under_mod_wsgi(trac: Trac, apache: Httpd, shared_tmp: Path, where: Path) -> None:
    """An ExtractionError, also with the cache in Apache's environment and in WSGIPythonEggs; then one prepare and what
    is emitted, and every page and file of the plugin comes from the cache, in which nothing changes. check is content,
    and was not before. unzip-all unzips Trac, and leaves its plugin to the cache."""
    two = trac.tree.site_packages.parent.name == "python2.7"
    module = mod_wsgi_27(where) if two else "/usr/lib/apache2/modules/mod_wsgi.so"
    home = f"WSGIPythonHome {deployment.interpreter('2.7', where).parent.parent}\n" if two else ""
    directives = f"LoadModule wsgi_module {module}\n{home}{FEW}{trac.directives}"
    cache, target = shared_tmp / "cache", ["--trac-env", trac.environment, "--python", trac.tree.python]
    result = eggcache("prepare", cache, *target, "--user", "www-data")
    assert result.returncode == 0, result.stderr
    apache.configure(f"{directives}WSGIPythonEggs {cache}\n")
    apache.start(PYTHON_EGG_CACHE=str(cache))
    assert apache.get("/trac/hello").status == 500
    wait_for(lambda: f"{trac.environment}/.egg-cache" in apache.log(), apache.log)
    assert "ExtractionError: Can't extract file(s) to egg cache" in apache.log()
    assert found(apache, cache, target) == ["egg-cache-elsewhere"]
    apache.stop()

    emitted = eggcache("wrapper", cache, *target, "--user", "www-data").stdout
    before = listing(cache)
    apache.configure(directives + emitted)
    apache.start()

    def serves() -> None:
        pages = apache.crowd("/trac/hello", 8)
        assert {(page.status, page.text) for page in pages} == {
            (200, str(next(cache.glob("hello-1.0-*.egg-tmp")) / "hello" / "htdocs"))
        }
        assert apache.get("/trac/chrome/hello/a.css").text == "a {}\n"
        assert apache.get("/trac/about").status == 200
        assert differences(before, listing(cache)) == []
        assert found(apache, cache, target) == []

    serves()
    result = eggcache("unzip-all", "--python", trac.tree.python)
    assert (result.returncode, trac.tree.eggs) == (0, []), result.stderr
    apache.restart()
    serves()


def test_web_admin_leaves_an_unzipped_plugin(trac: Trac, apache: Httpd, shared_tmp: Path, where: Path) -> None:
    """Asked to uninstall a plugin, Trac's own web admin removes a zipped one, and leaves a directory of that name."""
    two = trac.tree.site_packages.parent.name == "python2.7"
    module = mod_wsgi_27(where) if two else "/usr/lib/apache2/modules/mod_wsgi.so"
    home = f"WSGIPythonHome {deployment.interpreter('2.7', where).parent.parent}\n" if two else ""
    own = shared_tmp / "own"
    own.mkdir()
    admin = [trac.tree.python, "-m", "trac.admin.console", trac.environment, "permission", "add", "anonymous"]
    deployment.run([*admin, "TRAC_ADMIN"], env={"PYTHON_EGG_CACHE": str(own), "PYTHONWARNINGS": "ignore"})
    plugins = trac.environment / "plugins"
    (egg,) = plugins.iterdir()
    for path in (own, plugins, egg):
        os.chown(path, www_data().pw_uid, www_data().pw_gid)
    shutil.copy(egg, shared_tmp)
    cache = f"SetEnv PYTHON_EGG_CACHE {own}\n"
    apache.configure(f"LoadModule wsgi_module {module}\n{home}{FEW}{cache}{trac.directives}")
    apache.start()

    def uninstall() -> None:
        body = f"__FORM_TOKEN=x&uninstall=1&plugin_filename={egg.name}"
        headers = {"Cookie": "trac_form_token=x", "Content-Type": "application/x-www-form-urlencoded"}
        page = apache.get("/trac/admin/general/plugin", "POST", body, **headers)
        assert page.status == 303, page.text + apache.log()

    assert apache.get("/trac/hello").status == 200
    uninstall()
    assert list(plugins.iterdir()) == []
    with zipfile.ZipFile(shared_tmp / egg.name) as archive:
        archive.extractall(egg)
    for path in (egg, *egg.rglob("*")):
        os.chown(path, www_data().pw_uid, www_data().pw_gid)
    before = set(egg.rglob("*"))
    uninstall()
    assert before - set(egg.rglob("*")) == set()
    assert apache.get("/trac/hello").status == 200


def test_trac_under_mod_python(
    shared_tmp: Path, where: Path, copy_of: Callable[[deployment.Deployment], deployment.Deployment]
) -> None:
    """Trac 1.6's own handler: the same, by the same piece of configuration. A native module that comes out of an egg
    before the handler is asked is a ValueError, which check says, with the command that cures it."""
    trac = tracs.new(copy_of(built(lambda: tracs.installed("3.11", where))), shared_tmp)
    cache, target = shared_tmp / "cache", ["--trac-env", trac.environment, "--python", trac.tree.python]
    result = eggcache("prepare", cache, *target, "--user", "www-data")
    assert result.returncode == 0, result.stderr
    apache = Httpd(shared_tmp / "apache", "", "env", "python")
    directives = f"""{FEW}<Location /trac>
    SetHandler mod_python
    PythonInterpreter main_interpreter
    PythonPath "__import__('site').addsitedir('{trac.tree.site_packages}') or sys.path"
    PythonHandler trac.web.modpython_frontend
    PythonOption TracEnv {trac.environment}
    PythonOption TracUriRoot /trac
    </Location>
    """
    apache.configure(directives)
    try:
        apache.start(PYTHON_EGG_CACHE=str(cache))
        page = apache.get("/trac/hello")
        wait_for(lambda: "ValueError: Can't change extraction path" in apache.log(), apache.log, 5)
        assert page.status == 500
        (first,) = [
            finding for finding in checked(apache, cache, target)["findings"] if finding["code"] == "extracted-first"
        ]
        assert Path(first["thing"]).name.startswith("MarkupSafe-2.1.5")
        assert eggcache(*shlex.split(first["command"])[1:]).returncode == 0
        apache.restart(PYTHON_EGG_CACHE=str(cache))
        page = apache.get("/trac/hello")
        assert (page.status, f"{trac.environment}/.egg-cache" in page.text) == (500, True), page.text
        assert "egg-cache-elsewhere" in found(apache, cache, target)
        apache.stop()
        emitted = eggcache("wrapper", cache, *target, "--user", "www-data").stdout
        apache.configure(directives + emitted)
        apache.start()
        page = apache.get("/trac/hello")
        assert (page.status, page.text) == (200, str(next(cache.glob("hello-1.0-*.egg-tmp")) / "hello" / "htdocs"))
        assert not {"egg-cache-elsewhere", "extracted-first"} & {*found(apache, cache, target)}
    finally:
        apache.stop()


@dataclass
class Prepared:
    """A Trac 1.6 of a test's own, and the cache that is prepared for it."""

    trac: Trac
    cache: Path

    @property
    def target(self) -> list[str | Path]:
        return ["--trac-env", self.trac.environment, "--python", self.trac.tree.python]

    @property
    def page(self) -> tuple[int, str]:
        """What a Trac answers that has the cache."""
        return 200, str(next(self.cache.glob("hello-1.0-*.egg-tmp")) / "hello" / "htdocs")

    def found(self, apache: Httpd) -> dict[str, str]:
        """What check finds with this Apache, notices left out, and what each finding is about."""
        told = checked(apache, self.cache, self.target)["findings"]
        return {finding["code"]: finding["thing"] for finding in told if finding["status"]}

    def wrapper(self, kind: str) -> str:
        return eggcache("wrapper", self.cache, *self.target, "--user", "www-data", "--for", kind).stdout


@pytest.fixture
def prepared(
    shared_tmp: Path, where: Path, copy_of: Callable[[deployment.Deployment], deployment.Deployment]
) -> Prepared:
    made = Prepared(tracs.new(copy_of(built(lambda: tracs.installed("3.11", where))), shared_tmp), shared_tmp / "cache")
    result = eggcache("prepare", made.cache, *made.target, "--user", "www-data")
    assert result.returncode == 0, result.stderr
    return made


def asked(apache: Httpd, configuration: str, **environment: str) -> tuple[int, str]:
    """What an Apache answers that is started with this, and anew."""
    apache.configure(FEW + configuration)
    apache.forget_log()
    apache.restart(**environment)
    page = apache.get("/trac/hello")
    return page.status, page.text


def test_trac_as_cgi(prepared: Prepared, shared_tmp: Path) -> None:
    """trac.cgi under mod_cgid has the cache of what is emitted, of its SetEnv. With the cache in Apache's environment
    alone it uses .egg-cache, to which it cannot write."""
    apache = Httpd(shared_tmp / "apache", "", "env", "alias", "cgid", "setenvif")
    script = f"ScriptSock {apache.home}/run/cgid\nScriptAlias /trac {prepared.trac.scripts}/trac.cgi\n"
    try:
        status, text = asked(apache, script, PYTHON_EGG_CACHE=str(prepared.cache))
        assert (status, f"currently set to:\n\n  {prepared.trac.environment}/.egg-cache\n" in text) == (500, True), text
        assert prepared.found(apache) == {"egg-cache-elsewhere": f"{prepared.trac.scripts}/trac.cgi"}
        assert asked(apache, script + prepared.wrapper("trac")) == prepared.page, apache.log()
        assert prepared.found(apache) == {}
        apache.configure(f"{FEW}{script}SetEnv PYTHON_EGG_CACHE /srv/other\n")
        assert list(prepared.found(apache)) == ["egg-cache-elsewhere"]
        apache.configure(f"{FEW}{script}<VirtualHost *:9>\nSetEnv PYTHON_EGG_CACHE {prepared.cache}\n</VirtualHost>\n")
        assert prepared.found(apache) == {"egg-cache-elsewhere": f"{prepared.trac.scripts}/trac.cgi"}
        # Where it cannot be told, nothing is said
        apache.configure(f"{FEW}{script}SetEnvIf Request_URI ^ PYTHON_EGG_CACHE={prepared.cache}\n")
        assert prepared.found(apache) == {}
        apache.configure(FEW + script)
        file = prepared.trac.scripts / "trac.cgi"
        first, rest = file.read_text().split("\n", 1)
        file.write_text(f"{first}\nimport os\nos.environ['PYTHON_EGG_CACHE'] = {str(prepared.cache)!r}\n{rest}")
        assert asked(apache, script) == prepared.page, apache.log()
        assert prepared.found(apache) == {}
    finally:
        apache.stop()


def test_trac_under_mod_fcgid(prepared: Prepared, shared_tmp: Path) -> None:
    """trac.fcgi has the cache of what is emitted, of its FcgidInitialEnv: neither that of Apache's environment nor that
    of a SetEnv. Without one, MarkupSafe is extracted below HOME, and then .egg-cache comes too late."""
    home, script = shared_tmp / "home", prepared.trac.scripts
    home.mkdir()
    os.chown(home, www_data().pw_uid, -1)
    apache = Httpd(shared_tmp / "apache", "", "env", "alias", "fcgid")
    own = (
        f"FcgidIPCDir {apache.home}/run/fcgid\nFcgidProcessTableFile {apache.home}/run/table\nFcgidMaxProcesses 2\n"
        f"FcgidInitialEnv HOME {home}\nAlias /trac {script}/trac.fcgi\n"
        f"<Directory {script}>\nOptions +ExecCGI\nSetHandler fcgid-script\n</Directory>\n"
    )
    try:
        for more in ("", f"SetEnv PYTHON_EGG_CACHE {prepared.cache}\n"):
            assert asked(apache, own + more, PYTHON_EGG_CACHE=str(prepared.cache))[0] == 500
            assert "ValueError: Can't change extraction path" in apache.log()
            assert prepared.found(apache) == {"egg-cache-elsewhere": f"{script}/trac.fcgi"}
        assert next(home.rglob("MarkupSafe-*.egg-tmp"))
        assert asked(apache, own + prepared.wrapper("trac")) == prepared.page, apache.log()
        assert prepared.found(apache) == {}
        file = script / "trac.fcgi"
        file.write_text(file.read_text().replace(f"{prepared.trac.tree.python}", "/usr/bin/python3"))
        apache.configure(FEW + own)
        assert prepared.found(apache) == {}  # it is another Python's
    finally:
        apache.stop()


def test_tracd_has_the_cache_of_its_environment(prepared: Prepared, shared_tmp: Path) -> None:
    """tracd has the cache of its environment, from a script with what is emitted for one. Without that it uses the one
    below HOME, and cannot start where that cannot be written to."""
    port, log = free_port(), shared_tmp / "log"
    variables = environment({"HOME": str(shared_tmp), "PYTHONUNBUFFERED": "1"})
    words = ["sh", "-c", 'eval "$0"; exec "$@"', "", prepared.trac.tree.python, "-m", "trac.web.standalone"]
    words += ["-s", prepared.trac.environment, "-b", "127.0.0.1", "-p", str(port)]
    with running(words, shared_tmp, variables, www_data()) as process:
        assert process.wait(30) != 0
    assert f"The Python egg cache directory is currently set to:\n\n  {shared_tmp}/.cache" in log.read_text()
    words[3] = prepared.wrapper("shell")
    with running(words, shared_tmp, variables, www_data()):
        wait_for(lambda: "Serving on" in log.read_text(), log.read_text)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/hello", timeout=30) as page:
            assert (page.status, page.read().decode()) == prepared.page


def checked(apache: Httpd, cache: Path, target: Sequence[str | Path]) -> Any:
    """What check says with this Apache: another test may run one of the same user and Python."""
    words = ["check", *target, "--cache", cache, "--user", "www-data", "--json", "--pid-file", apache.pid_file]
    return as_json(eggcache(*words, env={"APACHE_CONFDIR": str(apache.home)}))


def found(apache: Httpd, cache: Path, target: Sequence[str | Path]) -> list[str]:
    """The findings of check that are no notices, and none of them is about the tree of some other installation."""
    return [finding["code"] for finding in checked(apache, cache, target)["findings"] if finding["status"]]
