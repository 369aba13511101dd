"""Directories as zc.buildout leaves them: eggs in several versions, and scripts that its own code wrote."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support import deployment
from support.deployment import Deployment
from support.parts import missing
from support.sites import write_egg

# What zc.recipe.egg calls for its parts, 1.2 to 2.0: a script for each entry point, and the interpreter.
_GENERATE = """
import sys
import pkg_resources
from zc.buildout import easy_install
bin, eggs, relative, initialization = sys.argv[1:5]
working = pkg_resources.WorkingSet([])
for pin in sys.argv[5:]:
    dist = [one for one in pkg_resources.find_distributions(eggs) if str(one.as_requirement()) == pin]
    working.add(dist[0])
arguments = [[pin.split("==")[0] for pin in sys.argv[5:]], working, sys.executable, bin]
keywords = {"interpreter": "zopepy", "relative_paths": relative, "extra_paths": [eggs + "/../src"]}
if initialization:
    keywords["initialization"] = initialization
easy_install.scripts(*arguments, **keywords)
"""
_SKIN = """
import pkg_resources
def css():
    return pkg_resources.resource_filename("acme_skin", "style/a.css")
"""
_SITE = """
import sys
from acme_skin import css
def main():
    sys.stdout.write(css())
def application(environ, start_response):
    file = css()
    if environ["PATH_INFO"] == "/a.css":
        with open(file) as stream:
            file = stream.read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [file.encode("utf-8")]
"""


@dataclass(frozen=True)
class Buildout:
    """One that pins acme.skin 1.0, where 2.0 is in the directory of eggs as well."""

    top: Path
    target: Deployment  # the Python that it was run by

    @property
    def interpreter(self) -> Path:
        """What zc.recipe.egg calls the interpreter."""
        return self.top / "bin" / "zopepy"

    @property
    def script(self) -> Path:
        """The script that starts the application, which prints where its template is."""
        return self.top / "bin" / "site"

    @property
    def gunicorn(self) -> Path:
        """The script that starts gunicorn, where that is one of the pins."""
        return self.top / "bin" / "gunicorn"

    def egg(self, name: str) -> Path:
        """The zipped egg of that name and version, such as acme.skin-1.0."""
        return next((self.top / "eggs").glob(f"{name}-py*.egg"))


def generate(
    target: Deployment, top: Path, *, relative: bool = False, initialization: str = "", pins: Sequence[str] = ()
) -> Buildout:
    """A buildout in the directory `top`, made by zc.buildout 1.4.4 on Python 2, and by 3.0.1 on 3."""
    python = target.site_packages.parent.name.removeprefix("python")
    with deployment.umask(0o022):
        for name in ("bin", "eggs", "src"):
            (top / name).mkdir(exist_ok=True)
        for version in ("1.0", "2.0"):
            egg = top / "eggs" / f"acme.skin-{version}-py{python}.egg"
            info = {"EGG-INFO/PKG-INFO": f"Metadata-Version: 1.0\nName: acme.skin\nVersion: {version}\n"}
            write_egg(egg, {**info, "acme_skin/__init__.py": _SKIN, "acme_skin/style/a.css": version})
        entry = "[console_scripts]\nsite = acme_site:main\n"
        site = {"EGG-INFO/requires.txt": "acme.skin\n", "EGG-INFO/entry_points.txt": entry}
        write_egg(top / "eggs" / f"acme.site-1.0-py{python}.egg", {**site, "acme_site/__init__.py": _SITE})
        wanted = pins or ("acme.site==1.0", "acme.skin==1.0")
        for pin in wanted:
            if not pin.startswith("acme."):
                _unzipped(pin.split("==")[0], top / "eggs" / f"{pin.replace('==', '-')}-py{python}.egg")
        words = [top / "bin", top / "eggs", top if relative else "", initialization, *wanted]
        deployment.run([target.python, "-W", "ignore", "-c", _GENERATE, *words], env={"PYTHONPATH": _buildout(python)})
    return Buildout(top, target)


_RUN = "import sys; sys.argv[0] = 'bin/buildout'; from zc.buildout.buildout import main; main(['-c', sys.argv[1]])"
_CONFIGURATION = """[buildout]
parts = shop
offline = true
eggs-directory = eggs
versions = versions
[versions]
acme.skin = 1.0
[shop]
recipe = z3c.recipe.scripts
eggs = acme.site
    setuptools
interpreter = zopepy
"""


def run_recipe_scripts(target: Deployment, where: Path, top: Path) -> Buildout:
    """A buildout in the directory `top` that zc.buildout 1.5.2 made, with a part of z3c.recipe.scripts 1.0.1.

    That wants a Python 2.7 which runs with -S, as a virtual environment's does not; `target` only builds its eggs."""
    made = generate(target, top)
    made.interpreter.unlink()
    made.script.unlink()
    eggs = top / "eggs"
    with deployment.umask(0o022), tempfile.TemporaryDirectory() as sources:
        for sdist in deployment.fetch_all(deployment.downloads(use="recipe-scripts")):
            with tarfile.open(sdist) as archive:
                archive.extractall(sources)
            source = Path(sources, sdist.name.removesuffix(".tar.gz"))
            deployment.run([target.python, "setup.py", "-q", "bdist_egg", "--dist-dir", eggs], cwd=source)
        pins = deployment.downloads(use="target")
        setuptools = [pin for pin in pins if pin.filename == "setuptools-0.6c11-py2.7.egg"]
        shutil.copy(deployment.fetch_all(setuptools)[0], eggs)
        (top / "buildout.cfg").write_text(_CONFIGURATION)
        path = os.pathsep.join(str(next(eggs.glob(f"{name}-*"))) for name in ("zc.buildout", "setuptools"))
        python = deployment.interpreter("2.7", where)
        deployment.run([python, "-c", _RUN, top / "buildout.cfg"], cwd=top, env={"PYTHONPATH": path})
    return made


def wsgi_scripts(eggs: Sequence[Path], python: Path) -> dict[str, str]:
    """What collective.recipe.modwsgi 2.1 and djangorecipe 2.2.1 write for mod_wsgi, by recipe: their own templates."""
    modwsgi, django = deployment.fetch_all(deployment.downloads(use="recipes-wsgi"))
    values = {
        "config": "/srv/shop/prod.ini",
        "app_name": None,
        "syspath": ",\n    ".join(repr(str(egg)) for egg in eggs),
    }
    texts = {"modwsgi": _constant(modwsgi, "modwsgi/__init__.py", "WRAPPER_TEMPLATE") % values}
    values = {"relative_paths_setup": "", "path": ",\n  ".join(repr(str(egg)) for egg in eggs), "initialization": ""}
    values |= {"module_name": "shop", "attrs": "wsgi", "arguments": ""}
    # In front, what zc.buildout has in front of each script
    return {
        **texts,
        "django": f"#!{python}" + _constant(django, "djangorecipe/boilerplate.py", "WSGI_TEMPLATE") % values,
    }


def _constant(sdist: Path, module: str, name: str) -> str:
    """What a module of an sdist assigns to a name."""
    with tarfile.open(sdist) as archive:
        (member,) = (member for member in archive.getnames() if member.endswith(module))
        file = archive.extractfile(member)
        assert file
        tree = ast.parse(file.read())
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    )
    text = ast.literal_eval(value)
    assert isinstance(text, str)
    return text


_INSTALL = """
import sys
from zc.buildout import easy_install
easy_install.install([sys.argv[1]], sys.argv[2], links=[sys.argv[3]], index=sys.argv[3], path=[], newest=False)
"""


def install(target: Deployment, project: str, eggs: Path, links: Path) -> None:
    """Have zc.buildout 1.4.4 on Python 2, and 3.0.1 on 3, install what lies in `links` into a directory of eggs."""
    path = _buildout(target.site_packages.parent.name.removeprefix("python"))
    command = [target.python, "-W", "ignore", "-c", _INSTALL, project, eggs, links]
    deployment.run(command, env={"PYTHONPATH": path})


def _unzipped(name: str, egg: Path) -> None:
    """What these tests run with, as the unzipped egg that buildout makes of a wheel."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        missing(f"{name} is not installed")
    shutil.copytree(str(distribution.locate_file(name)), egg / name, ignore=shutil.ignore_patterns("__pycache__"))
    (egg / "EGG-INFO").mkdir()
    (egg / "EGG-INFO" / "PKG-INFO").write_text(
        f"Metadata-Version: 1.0\nName: {name}\nVersion: {distribution.version}\n"
    )
    (egg / "EGG-INFO" / "entry_points.txt").write_text(distribution.read_text("entry_points.txt") or "")


def _buildout(python: str) -> str:
    """The code of zc.buildout, for PYTHONPATH, with the pip and the wheel that its release 3 requires."""
    into = Path(os.environ["EGGCACHE_TESTS"], f"zc.buildout-{python}")
    sdist, wheel = deployment.downloads(use="buildout")
    with deployment.once(into) as absent:
        if absent and python.startswith("2."):
            with tarfile.open(deployment.fetch_all([sdist])[0]) as archive:
                archive.extractall(into)
        elif absent:
            others = [*deployment.downloads(use="pip-3.11"), *deployment.downloads(use="wheels-oldest")]
            for path in deployment.fetch_all([wheel, *others]):
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(into)
    return str(next(into.glob("*/src"), into))
