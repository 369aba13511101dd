"""A zipped TurboGears 2 behind a real Apache: the manual's error, and our cures, with many clients at once."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import deployment
import pytest
from deployment import Deployment
from httpd import APACHECTL, WORKERS, Httpd, differences, mod_wsgi_27, require, wait_for
from judge import environment, listing

SETUP = """
from setuptools import setup
setup(name="shop", version="1.0", packages=["shop"], install_requires=["TurboGears2", "MarkupSafe"], zip_safe=True,
      package_data={"shop": ["templates/*", "public/*"]})
"""
# What an application does: a template and static files out of its own egg, a native library out of another one.
SHOP = r"""
import pkg_resources
import tg
from markupsafe import _speedups, escape
from tg.support.statics import StaticsMiddleware

try:
    from genshi.template import TemplateLoader
except ImportError:
    import string

    def render(name, **values):
        with open(pkg_resources.resource_filename("shop", "templates/" + name)) as stream:
            escaped = dict((key, escape(value)) for key, value in values.items())
            return string.Template(stream.read()).substitute(escaped)
else:
    loader = TemplateLoader(pkg_resources.resource_filename("shop", "templates"))

    def render(name, **values):
        return loader.load(name).generate(**values).render("xml")


class Root(tg.TGController):
    @tg.expose(content_type="text/plain")
    def index(self, **kw):
        return render("page.txt", what="<page>", native=_speedups.__file__)


application = tg.AppConfig(minimal=True, root_controller=Root()).make_wsgi_app()
application = StaticsMiddleware(application, pkg_resources.resource_filename("shop", "public"))
"""
PAGE = '<p xmlns:py="http://genshi.edgewall.org/">$what native=$native</p>'
START = 'import pkg_resources\npkg_resources.require("shop")\nfrom shop import application\n'


@dataclass
class Site:
    """An Apache with the shop, on eggs of its own."""

    httpd: Httpd
    tree: Deployment
    home: Path
    program: Path  # eggcache, as it would be installed
    python_home: str = ""
    what: Sequence[str] = ("shop",)  # of which eggs the cache is made

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    def eggcache(self, *arguments: str | Path) -> str:
        """What the program prints, run as root with what Apache's init script leaves of an environment."""
        done = deployment.run([self.program, *arguments], env=environment(), check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def prepare(self) -> dict[str, tuple[int, ...]]:
        """Fill the cache as the administrator does, and what is in it then."""
        self.eggcache("prepare", self.cache, *self.what, "--python", self.tree.python, "--user", "www-data")
        found = listing(self.cache)
        assert any("_speedups" in name for name in found)
        return found

    def wrapper(self, kind: str, *more: str | Path) -> str:
        arguments = ["wrapper", self.cache, *self.what, "--for", kind, "--python", self.tree.python]
        return self.eggcache(*arguments, "--user", "www-data", "--pid-file", self.httpd.pid_file, *more)

    def script(self, kind: str, *more: str | Path) -> Path:
        path = self.home / kind
        path.write_text(self.wrapper(kind, *more))
        path.chmod(0o755)
        return path


def new_site(home: Path, tree: Deployment, checkout: Path, *modules: str, module_path: str = "") -> Site:
    """A copy of `tree` with the shop as one more zipped egg, and an Apache that is not started yet."""
    require(*modules)
    copied = deployment.copy(tree, home / "tree")
    source = home / "source"
    for name, text in (("__init__.py", SHOP), ("templates/page.txt", PAGE), ("public/logo.txt", "a static file\n")):
        path = source / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (source / "setup.py").write_text(SETUP)
    deployment.run([copied.python, "setup.py", "-q", "bdist_egg", "--dist-dir", copied.site_packages], cwd=source)
    egg = next(copied.site_packages.glob("shop-*.egg"))
    with (copied.site_packages / "easy-install.pth").open("a") as pth:
        pth.write(f"./{egg.name}\n")
    program = home / "eggcache"
    code = f"import sys\nsys.path.insert(0, {str(checkout)!r})\nfrom eggcache.cli import main\nsys.exit(main())\n"
    program.write_text(f"#!{sys.executable}\n{code}")
    program.chmod(0o755)
    (home / "mods").mkdir()
    (home / "mods" / "shop_start.py").write_text(START)
    httpd = Httpd(home / "apache", "", *modules)
    return Site(httpd, copied, home, program)


def mod_wsgi(site: Site, *, so: Path | None = None, eggs: str = "", daemon: str | None = None) -> str:
    """The configuration that serves the shop under mod_wsgi, embedded or by a daemon with the options `daemon`."""
    path = f"python-path={site.tree.site_packages}"
    lines = [
        f"LoadModule wsgi_module {so}" if so else "",
        f"WSGIPythonHome {site.python_home}" if site.python_home else "",
        f"WSGIScriptAlias / {site.home}/mods/shop_start.py",
        f"WSGIPythonPath {site.tree.site_packages}" if daemon is None else "",
        eggs,
    ]
    if daemon is not None:
        lines += [f"WSGIDaemonProcess shop processes={WORKERS} threads=1 {path} {daemon}", "WSGIProcessGroup shop"]
        lines += [f"WSGISocketPrefix {site.httpd.home}/run/wsgi"]
    return "\n".join(lines) + "\n"


def mod_python(emitted: str, site: Site) -> str:
    """The configuration that serves the shop by the gateway, after what eggcache emitted, or without it."""
    where = "" if emitted else f"PythonPath \"['{site.home}/mods', '{site.tree.site_packages}'] + sys.path\"\n"
    location = "<Location />\n    SetHandler python-program\n    PythonHandler eggcache_gateway::handler\n"
    return f"{where}{emitted}{location}    PythonOption wsgi.application shop_start::application\n</Location>\n"


def modules(site: Site) -> str:
    """Write the modules that go with mod_python, and return the configuration."""
    emitted = site.wrapper("mod_python", "--directory", site.home / "mods", "--path", site.tree.site_packages)
    from eggcache import modpython

    (site.home / "mods" / modpython.GATEWAY).write_text(modpython.inside("gateway.py"))
    return emitted


@pytest.fixture
def site_27(turbogears2_27: Deployment, shared_tmp: Path, where: Path, checkout: Path) -> Iterator[Site]:
    """Under mod_wsgi 4.9.4 built for CPython 2.7: TurboGears2 2.3.12, 35 zipped eggs and the shop."""
    require()
    site = new_site(shared_tmp, turbogears2_27, checkout)
    # WebOb imports simplejson where it finds it, without requiring it; it is a zipped egg as well.
    site.what = ["--all"]
    site.python_home = str(deployment.interpreter("2.7", where).parent.parent)
    yield site
    site.httpd.stop()


@pytest.fixture
def site_wsgi(turbogears2_311: Deployment, shared_tmp: Path, checkout: Path) -> Iterator[Site]:
    """Under Debian's mod_wsgi for Python 3.11: TurboGears2 2.5.0, 5 zipped eggs and the shop."""
    site = new_site(shared_tmp, turbogears2_311, checkout, "wsgi")
    yield site
    site.httpd.stop()


@pytest.fixture
def site_python(turbogears2_311: Deployment, shared_tmp: Path, checkout: Path) -> Iterator[Site]:
    """Under Debian's mod_python for Python 3.11, by our gateway: the same eggs."""
    site = new_site(shared_tmp, turbogears2_311, checkout, "python")
    yield site
    site.httpd.stop()


# ------------------------------------------------------------------------------------------- what must be true


def fails(site: Site) -> None:
    """Every page is an error, and Apache's log says that it is the manual's."""
    pages = site.httpd.crowd("/", 8)
    assert {page.status for page in pages} == {500}
    wait_for(lambda: "ExtractionError" in site.httpd.log(), site.httpd.log)
    assert "Can't extract file(s) to egg cache" in site.httpd.log()
    assert not site.cache.exists()


def serves(site: Site, native: Path | str, clients: int = 32) -> None:
    """Page and static file are there for everybody from the first second on, the native library from `native`."""
    pages = site.httpd.crowd("/", clients)
    wrong = [page for page in pages if page.status != 200]
    assert not wrong, wrong[0].text + site.httpd.log()
    for page in pages:
        assert "&lt;page&gt;" in page.text
        found = re.search(r"native=([^<]*)", page.text)
        assert found
        assert found[1].startswith(f"{native}/"), found[1]
        assert found[1].endswith(".so")
    assert {page.text for page in site.httpd.crowd("/logo.txt", clients)} == {"a static file\n"}
    assert "ExtractionError" not in site.httpd.log()


def serves_from_cache(site: Site, before: dict[str, tuple[int, ...]]) -> None:
    """The same with everything from the cache, of which nothing has changed: no name, size, mtime, inode or mode."""
    serves(site, site.cache)
    assert differences(before, listing(site.cache)) == []


def unzipped(site: Site, start: Callable[[], None]) -> None:
    """After unzip-all and a restart everything is served without any cache."""
    site.httpd.stop()
    site.eggcache("unzip-all", *site.what, "--python", site.tree.python)
    assert not [egg for egg in site.tree.eggs if egg.name.startswith(("shop", "MarkupSafe", "TurboGears"))]
    site.httpd.forget_log()
    start()
    serves(site, site.tree.site_packages)
    assert not site.cache.exists()


# --------------------------------------------------------------------------------------------- mod_wsgi for 2.7


def test_mod_wsgi_27_without(site_27: Site, where: Path) -> None:
    """2.7 under mod_wsgi: ExtractionError without eggcache; after unzip-all every page, without a cache."""
    so = mod_wsgi_27(where)
    site_27.httpd.configure(mod_wsgi(site_27, so=so))
    site_27.httpd.start()
    fails(site_27)
    unzipped(site_27, site_27.httpd.start)


def test_mod_wsgi_27_wrappers(site_27: Site, where: Path) -> None:
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

    found = re.search(r"python-eggs=\S+", site.wrapper("mod_wsgi"))
    assert found
    httpd.configure(mod_wsgi(site, so=so, daemon=found[0]))
    httpd.start()
    serves_from_cache(site, before)


# ---------------------------------------------------------------------------------------- mod_wsgi for 3.11


def test_mod_wsgi_311(site_wsgi: Site) -> None:
    """3.11 under mod_wsgi: ExtractionError; served after prepare by the emitted directive; and after unzip-all."""
    site, httpd = site_wsgi, site_wsgi.httpd
    httpd.configure(mod_wsgi(site))
    httpd.start()
    fails(site)
    httpd.stop()
    httpd.forget_log()
    before = site.prepare()
    httpd.configure(mod_wsgi(site, eggs=site.wrapper("mod_wsgi")))
    httpd.start()
    serves_from_cache(site, before)
    httpd.stop()
    deployment.run(["rm", "-r", site.cache])
    httpd.configure(mod_wsgi(site))
    unzipped(site, httpd.start)


# -------------------------------------------------------------------------------------- mod_python for 3.11


def test_mod_python_311(site_python: Site) -> None:
    """3.11 under mod_python: ExtractionError; served after prepare by the emitted PythonOption; after unzip-all."""
    site, httpd = site_python, site_python.httpd
    emitted = modules(site)
    httpd.configure(mod_python("", site))
    httpd.start()
    fails(site)
    httpd.stop()
    httpd.forget_log()
    before = site.prepare()
    httpd.configure(mod_python(emitted, site))
    httpd.start()
    serves_from_cache(site, before)
    httpd.stop()
    deployment.run(["rm", "-r", site.cache])
    httpd.configure(mod_python("", site))
    unzipped(site, httpd.start)


def test_mod_python_other_zone(site_python: Site) -> None:
    """Apache's own TZ does not spoil the cache: the module gives the workers the zone that it was prepared for."""
    site, httpd = site_python, site_python.httpd
    emitted = modules(site)
    before = site.prepare()
    httpd.configure(mod_python(emitted, site))
    httpd.start(TZ="America/New_York")
    serves_from_cache(site, before)


def test_init_script(site_python: Site) -> None:
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


def test_init_script_does_not_start(site_python: Site) -> None:
    """Where the cache cannot be prepared, the init script starts nothing."""
    site, httpd = site_python, site_python.httpd
    modules(site)
    httpd.configure(mod_python("", site))
    httpd.control = ["/bin/sh", site.script("init.d", "--apachectl", APACHECTL)]
    site.cache.symlink_to("/nonexistent")
    done = httpd.ctl("start")
    assert done.returncode not in (0, 3)
    assert "could not be prepared" in done.stderr
    assert httpd.pid() == 0
