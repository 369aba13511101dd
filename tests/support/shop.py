"""A TurboGears 2 application as one more zipped egg, and an Apache that serves it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support import deployment
from support.deployment import Deployment
from support.httpd import WORKERS, Httpd, require
from support.judge import environment, listing

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


# TurboGears 1 as a mod_wsgi script: one controller, whose page names the file of a native module of SQLAlchemy's egg.
TURBOGEARS1 = """
import pkg_resources
pkg_resources.require("TurboGears")
import cherrypy
import turbogears
from cherrypy._cpwsgi import wsgiApp as application


class Root(turbogears.controllers.RootController):
    @turbogears.expose(content_type="text/plain")
    def index(self):
        import sqlalchemy.cprocessors
        return "native=" + sqlalchemy.cprocessors.__file__


cherrypy.config.update({"global": {"autoreload.on": False, "server.environment": "production"}})
cherrypy.root = Root()
cherrypy.server.start(initOnly=True, serverClass=None)
"""


# A crowd waits: each worker more imports the whole application, for nothing.
FEW = f"MaxRequestWorkers {WORKERS * 2}"


@dataclass
class Shop:
    """An Apache with the shop, on eggs of its own."""

    httpd: Httpd
    tree: Deployment
    home: Path
    program: Path  # eggcache, as it would be installed
    python_home: str = ""
    what: Sequence[str] = ("shop",)  # of which eggs the cache is made; () for everything on the path

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    def eggcache(self, *arguments: str | Path) -> str:
        """What the program prints, run as root with what Apache's init script leaves of an environment."""
        result = deployment.run([self.program, *arguments], env=environment(), check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def found(self, *words: str | Path) -> set[str]:
        """The codes of what check finds that is no notice, of what the cache is made of."""
        told = [self.program, "check", *self.what, "--python", self.tree.python, "--user", "www-data", "--json"]
        told += ["--pid-file", self.httpd.pid_file]  # another test may run another Apache with that Python
        env = environment({"APACHE_CONFDIR": str(self.httpd.home)})
        result = deployment.run([*told, *words], env=env, check=False)
        return {finding["code"] for finding in json.loads(result.stdout)["findings"] if finding["status"]}

    def prepare(self) -> dict[str, tuple[int, ...]]:
        """Fill the cache as the administrator does, and what is in it then."""
        self.eggcache("prepare", self.cache, *self.what, "--python", self.tree.python, "--user", "www-data")
        entries = listing(self.cache)
        assert any("_speedups" in name for name in entries)
        return entries

    def wrapper(self, kind: str, *more: str | Path) -> str:
        arguments = ["wrapper", self.cache, *self.what, "--for", kind, "--python", self.tree.python]
        return self.eggcache(*arguments, "--user", "www-data", "--pid-file", self.httpd.pid_file, *more)

    def script(self, kind: str, *more: str | Path) -> Path:
        path = self.home / kind
        path.write_text(self.wrapper(kind, *more))
        path.chmod(0o755)
        return path


def new_shop(home: Path, tree: Deployment, checkout: Path, *modules: str, module_path: str = "") -> Shop:
    """A copy of `tree` with the shop as one more zipped egg, and an Apache that is not started yet."""
    site = new_site(home, tree, checkout, START, *modules)
    copied = site.tree
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
    return site


def new_site(home: Path, tree: Deployment, checkout: Path, start: str, *modules: str) -> Shop:
    """A copy of `tree`, and an Apache that is not started yet, which serves the `application` of the text `start`."""
    require(*modules)
    copied = deployment.copy(tree, home / "tree")
    program = home / "eggcache"
    code = f"import sys\nsys.path.insert(0, {str(checkout)!r})\nfrom eggcache.cli.main import main\nsys.exit(main())\n"
    program.write_text(f"#!{sys.executable}\n{code}")
    program.chmod(0o755)
    (home / "mods").mkdir()
    (home / "mods" / "shop_start.py").write_text(start)
    httpd = Httpd(home / "apache", "", *modules)
    return Shop(httpd, copied, home, program)


def mod_wsgi(site: Shop, *, so: Path | None = None, eggs: str = "", daemon: str | None = None) -> str:
    """The configuration that serves the shop under mod_wsgi, embedded or by a daemon with the options `daemon`."""
    path = f"python-path={site.tree.site_packages}"
    lines = [
        FEW,
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


def mod_python(emitted: str, site: Shop) -> str:
    """The configuration that serves the shop by the gateway, after what eggcache emitted, or without it."""
    where = "" if emitted else f"PythonPath \"['{site.home}/mods', '{site.tree.site_packages}'] + sys.path\"\n"
    location = "<Location />\n    SetHandler python-program\n    PythonHandler eggcache_gateway::handler\n"
    mutexes = 'PythonOption mod_python.mutex_directory "run/"\nPythonOption mod_python.mutex_locks 8\n'
    location += "    PythonOption wsgi.application shop_start::application\n</Location>\n"
    return f"{FEW}\n{mutexes}{where}{emitted}{location}"


def modules(site: Shop) -> str:
    """Write the modules that go with mod_python, and return the configuration."""
    emitted = site.wrapper("mod_python", "--directory", site.home / "mods", "--path", site.tree.site_packages)
    from eggcache.wrappers import modpython

    (site.home / "mods" / modpython.GATEWAY).write_text(modpython.inside("eggcache_gateway.py"))
    return emitted


def serves(site: Shop, native: Path | str, clients: int = 32) -> None:
    """Page and static file are there for everybody from the first second on, the native library from `native`."""
    pages = site.httpd.crowd("/", clients)
    wrong = [page for page in pages if page.status != 200]
    assert not wrong, wrong[0].text + site.httpd.log()
    for page in pages:
        assert "&lt;page&gt;" in page.text
        match = re.search(r"native=([^<]*)", page.text)
        assert match
        assert match[1].startswith(f"{native}/"), match[1]
        assert match[1].endswith(".so")
    assert {page.text for page in site.httpd.crowd("/logo.txt", clients)} == {"a static file\n"}
    assert "ExtractionError" not in site.httpd.log()
