"""A zipped TurboGears 2 behind a real Apache: the manual's error, and our cures, with many clients at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import deployment
from support.deployment import Deployment
from support.httpd import APACHECTL, MODULES, Httpd, differences, mod_wsgi_27, require, wait_for
from support.judge import listing
from support.shop import Shop, mod_python, mod_wsgi, modules, new_shop, serves


@pytest.fixture
def site_27(turbogears2_27: Deployment, shared_tmp: Path, where: Path, checkout: Path) -> Iterator[Shop]:
    """Under mod_wsgi 4.9.4 built for CPython 2.7: TurboGears2 2.3.12, 35 zipped eggs and the shop."""
    require()
    site = new_shop(shared_tmp, turbogears2_27, checkout)
    # WebOb imports simplejson where it finds it, without requiring it; it is a zipped egg as well.
    site.what = []
    site.python_home = str(deployment.interpreter("2.7", where).parent.parent)
    yield site
    site.httpd.stop()


@pytest.fixture
def site_wsgi(turbogears2_311: Deployment, shared_tmp: Path, checkout: Path) -> Iterator[Shop]:
    """Under Debian's mod_wsgi for Python 3.11: TurboGears2 2.5.0, 5 zipped eggs and the shop."""
    site = new_shop(shared_tmp, turbogears2_311, checkout, "wsgi")
    site.what = []
    yield site
    site.httpd.stop()


@pytest.fixture
def site_python(turbogears2_311: Deployment, shared_tmp: Path, checkout: Path) -> Iterator[Shop]:
    """Under Debian's mod_python for Python 3.11, by our gateway: the same eggs."""
    site = new_shop(shared_tmp, turbogears2_311, checkout, "python")
    yield site
    site.httpd.stop()


# ------------------------------------------------------------------------------------------- what must be true


def fails(site: Shop) -> None:
    """Every page is an error, and Apache's log says that it is the manual's."""
    pages = site.httpd.crowd("/", 8)
    assert {page.status for page in pages} == {500}
    wait_for(lambda: "ExtractionError" in site.httpd.log(), site.httpd.log)
    assert "Can't extract file(s) to egg cache" in site.httpd.log()
    assert not site.cache.exists()


def serves_from_cache(site: Shop, before: dict[str, tuple[int, ...]]) -> None:
    """The same with everything from the cache, of which nothing has changed: no name, size, mtime, inode or mode."""
    serves(site, site.cache)
    assert differences(before, listing(site.cache)) == []


def unzipped(site: Shop, start: Callable[[], None]) -> None:
    """After unzip-all and a restart everything is served without any cache."""
    site.httpd.stop()
    site.eggcache("unzip-all", *site.what, "--python", site.tree.python)
    assert not [egg for egg in site.tree.eggs if egg.name.startswith(("shop", "MarkupSafe", "TurboGears"))]
    site.httpd.forget_log()
    start()
    serves(site, site.tree.site_packages)
    assert not site.cache.exists()


# --------------------------------------------------------------------------------------------- mod_wsgi for 2.7


def test_mod_wsgi_27_without(site_27: Shop, where: Path) -> None:
    """2.7 under mod_wsgi: ExtractionError without eggcache; after unzip-all every page, without a cache."""
    so = mod_wsgi_27(where)
    site_27.httpd.configure(mod_wsgi(site_27, so=so))
    site_27.httpd.start()
    fails(site_27)
    unzipped(site_27, site_27.httpd.start)


def test_mod_wsgi_27_wrappers(site_27: Shop, where: Path) -> None:
    """2.7 under mod_wsgi: served after the emitted apachectl, the envvars file and the daemon's option, one by one."""
    site, httpd = site_27, site_27.httpd
    so = mod_wsgi_27(where)
    httpd.configure(mod_wsgi(site, so=so))
    httpd.control = ["/bin/sh", site.script("apachectl", "--apachectl", APACHECTL)]
    httpd.start()  # it prepares first
    before = listing(site.cache)
    assert before
    serves_from_cache(site, before)
    httpd.stop()

    httpd.control = [APACHECTL]
    envvars = site.script("envvars", "--apachectl", APACHECTL)
    httpd.start(APACHE_ENVVARS=str(envvars))
    serves_from_cache(site, before)
    httpd.stop()

    match = re.search(r"python-eggs=\S+", site.wrapper("mod_wsgi"))
    assert match
    httpd.configure(mod_wsgi(site, so=so, daemon=match[0]))
    httpd.start()
    serves_from_cache(site, before)


# ---------------------------------------------------------------------------------------- mod_wsgi for 3.11


def test_mod_wsgi_311(site_wsgi: Shop) -> None:
    """3.11 under mod_wsgi: ExtractionError; served after prepare by the emitted directive; and after unzip-all. check
    finds what is wrong, and nothing else."""
    site, httpd = site_wsgi, site_wsgi.httpd
    httpd.configure(mod_wsgi(site))
    httpd.start()
    fails(site)
    assert site.found() == {"no-cache"}
    httpd.stop()
    httpd.forget_log()
    before = site.prepare()
    httpd.configure(mod_wsgi(site, eggs=site.wrapper("mod_wsgi")))
    httpd.start()
    serves_from_cache(site, before)
    assert site.found("--cache", site.cache) == set()
    httpd.stop()
    deployment.run(["rm", "-r", site.cache])
    httpd.configure(mod_wsgi(site))
    unzipped(site, httpd.start)
    assert site.found() == set()


# -------------------------------------------------------------------------------------- mod_python for 3.11


def test_mod_python_311(site_python: Shop) -> None:
    """3.11 under mod_python: ExtractionError; served after prepare by the emitted PythonOption; after unzip-all. check
    finds what is wrong, and nothing else."""
    site, httpd = site_python, site_python.httpd
    emitted = modules(site)
    httpd.configure(mod_python("", site))
    httpd.start()
    fails(site)
    assert site.found() == {"no-cache"}
    httpd.stop()
    httpd.forget_log()
    before = site.prepare()
    httpd.configure(mod_python(emitted, site))
    httpd.start()
    serves_from_cache(site, before)
    assert site.found("--cache", site.cache) == set()
    httpd.stop()
    deployment.run(["rm", "-r", site.cache])
    httpd.configure(mod_python("", site))
    unzipped(site, httpd.start)
    assert site.found() == set()


def test_setenv_and_option_reach_no_process_of_mod_python(site_python: Shop) -> None:
    """Named by SetEnv and by a PythonOption of the variable's name, but not in the environment, the cache is not
    that of Apache's Python: each page is an error. In the environment it is."""
    site, httpd = site_python, site_python.httpd
    modules(site)
    site.prepare()
    told = f"LoadModule env_module {MODULES}/mod_env.so\nSetEnv PYTHON_EGG_CACHE {site.cache}\n"
    told += f"PythonOption PYTHON_EGG_CACHE {site.cache}\n"
    httpd.configure(told + mod_python("", site))
    httpd.start()
    assert {page.status for page in httpd.crowd("/", 8)} == {500}
    wait_for(lambda: "ExtractionError" in httpd.log(), httpd.log)
    httpd.stop()
    httpd.forget_log()
    httpd.start(PYTHON_EGG_CACHE=str(site.cache))
    serves(site, site.cache)


def test_mod_python_other_zone(site_python: Shop) -> None:
    """Apache's own TZ does not spoil the cache: the module gives the workers the zone that it was prepared for."""
    site, httpd = site_python, site_python.httpd
    emitted = modules(site)
    before = site.prepare()
    httpd.configure(mod_python(emitted, site))
    httpd.start(TZ="America/New_York")
    serves_from_cache(site, before)


def test_init_script_takes_apache_through_its_life(site_python: Shop) -> None:
    """The init script takes a real Apache through start, status, reload, restart and stop, and pages are served."""
    site, httpd = site_python, site_python.httpd
    modules(site)
    httpd.configure(mod_python("", site))
    httpd.control = ["/bin/sh", site.script("init.d", "--apachectl", APACHECTL)]

    def ctl(action: str) -> int:
        return httpd.ctl(action).returncode

    assert ctl("status") == 3
    assert ctl("start") == 0, httpd.log()
    before, first = listing(site.cache), httpd.pid()
    assert before
    serves_from_cache(site, before)
    assert ctl("status") == 0
    assert ctl("reload") == 0
    serves_from_cache(site, before)
    assert httpd.pid() == first
    assert ctl("restart") == 0
    assert httpd.pid() not in (0, first)
    serves_from_cache(site, before)
    member = next(Path(name) for name in before if "_speedups" in name and name.endswith(".so"))
    member.unlink()
    assert ctl("restart") == 0
    serves(site, site.cache)
    assert member.exists()  # prepared again, before Apache was started
    assert ctl("stop") == 0
    assert ctl("status") == 3
    assert httpd.pid() == 0


def test_init_script_does_not_start(site_python: Shop) -> None:
    """Where the cache cannot be prepared, the init script starts nothing."""
    site, httpd = site_python, site_python.httpd
    modules(site)
    httpd.configure(mod_python("", site))
    httpd.control = ["/bin/sh", site.script("init.d", "--apachectl", APACHECTL)]
    site.cache.touch()  # a file, where a directory has to be
    result = httpd.ctl("start")
    assert result.returncode not in (0, 3)
    assert "could not be prepared" in result.stderr
    assert httpd.pid() == 0


RAISES = "def handler(req):\n    text = 'a line of the source'\n    raise ValueError(text)\n"


@pytest.mark.parametrize("debug", ["PythonDebug On", "PythonDebug Off", ""])
def test_python_debug_shows_tracebacks(debug: str, shared_tmp: Path) -> None:
    """With PythonDebug a visitor sees the traceback of a handler that fails, with its path and its lines; with Off, and
    without the directive, Apache's own page. Apache's error log has it in each case."""
    httpd = Httpd(shared_tmp / "apache", "", "python")
    (shared_tmp / "mods").mkdir()
    source = shared_tmp / "mods" / "raises.py"
    source.write_text(RAISES)
    httpd.configure(
        'PythonOption mod_python.mutex_directory "run/"\nPythonOption mod_python.mutex_locks 8\n'
        f"PythonPath \"['{source.parent}'] + sys.path\"\n"
        f"<Location />\nSetHandler python-program\nPythonHandler raises\n{debug}\n</Location>\n"
    )
    try:
        httpd.start()
        page = httpd.get("/")
        wait_for(lambda: "ValueError: a line of the source" in httpd.log(), httpd.log)
        shown = [
            text in page.text for text in ("Traceback", str(source), "raise ValueError(text)", "a line of the source")
        ]
        assert (page.status, set(shown)) == (500, {debug == "PythonDebug On"})
        for text in ("Traceback", str(source), "raise ValueError(text)"):
            assert text in httpd.log()
    finally:
        httpd.stop()
