"""Trac as its own tools install it, from zipped eggs, with an environment, its deployed scripts and a zipped plugin."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from support import deployment
from support.deployment import Deployment
from support.httpd import www_data
from support.sites import write_egg

# What a plugin does: a page and static files out of its own egg.
_PLUGIN = """
import pkg_resources
from trac.core import Component, implements
from trac.web.api import IRequestHandler
from trac.web.chrome import ITemplateProvider


class Hello(Component):
    implements(IRequestHandler, ITemplateProvider)

    def match_request(self, req):
        return req.path_info == "/hello"

    def process_request(self, req):
        req.send(pkg_resources.resource_filename("hello", "htdocs").encode("utf-8"), "text/plain")

    def get_htdocs_dirs(self):
        return [("hello", pkg_resources.resource_filename("hello", "htdocs"))]

    def get_templates_dirs(self):
        return []
"""


@dataclass(frozen=True)
class Trac:
    """An environment whose owner is root: Apache's user may write to its database and its log, and nowhere else."""

    tree: Deployment
    environment: Path
    scripts: Path  # where trac.wsgi is

    @property
    def directives(self) -> str:
        """What serves it under mod_wsgi, whose Python has the eggs in site-packages already."""
        alias = f"WSGIScriptAlias /trac {self.scripts}/trac.wsgi"
        return f"{alias}\nWSGIPythonPath {self.tree.site_packages}\nWSGIApplicationGroup %{{GLOBAL}}\n"


def installed(version: str, where: Path) -> Deployment:
    """Trac 1.2.6 with Genshi on Python 2.7, or 1.6 with Jinja2 on 3.11: zipped eggs, but for what is a wheel."""
    root = where / f"trac-{version}"
    with deployment.once(root) as absent:
        if absent:
            made = deployment.target(version, "44.1.1" if version == "2.7" else "65.5.0", where, inside=root)
            pins = deployment.downloads(use="trac_27" if version == "2.7" else "trac_311")
            for path in sorted(deployment.fetch_all(pins), key=lambda path: path.name.startswith("Trac")):
                if path.suffix == ".whl":
                    with zipfile.ZipFile(path) as wheel:
                        wheel.extractall(made.site_packages)
                else:
                    _egg(made, path, root / path.name)
    return deployment.at(next(root.glob("target-*")))


def _egg(made: Deployment, sdist: Path, work: Path) -> None:
    work.mkdir()
    with tarfile.open(sdist) as archive:
        archive.extractall(work)
    words = [made.python, "setup.py", "-q", "bdist_egg", "--dist-dir", made.site_packages]
    deployment.run(words, cwd=next(work.iterdir()))
    shutil.rmtree(work)
    egg = next(made.site_packages.glob(f"{sdist.name.split('-')[0]}-*.egg"))
    with (made.site_packages / "easy-install.pth").open("a") as pth:
        pth.write(f"./{egg.name}\n")


def new(tree: Deployment, top: Path) -> Trac:
    """A Trac of a test's own."""
    made, scripts, python = top / "env", top / "deployed", tree.site_packages.parent.name.removeprefix("python")
    with deployment.umask(0o022):
        admin = [tree.python, "-m", "trac.admin.console", made]
        own = {"PYTHON_EGG_CACHE": str(top / "own"), "PYTHONWARNINGS": "ignore"}
        deployment.run([*admin, "initenv", "hello", "sqlite:db/trac.db"], env=own)
        deployment.run([*admin, "deploy", scripts], env=own)
        entry = "[trac.plugins]\nhello = hello\n"
        files = {"EGG-INFO/entry_points.txt": entry, "hello/__init__.py": _PLUGIN, "hello/htdocs/a.css": "a {}\n"}
        write_egg(made / "plugins" / f"hello-1.0-py{python}.egg", files)
    shutil.rmtree(top / "own", ignore_errors=True)
    configuration = made / "conf" / "trac.ini"
    os.chown(configuration, 0, www_data().pw_gid)
    configuration.chmod(0o640)
    for name in ("db", "log"):
        for directory, _, names in os.walk(made / name):
            for path in (directory, *(os.path.join(directory, name) for name in names)):
                os.chown(path, www_data().pw_uid, www_data().pw_gid)
    return Trac(tree, made, scripts / "cgi-bin")
