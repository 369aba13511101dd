"""The wrapper for mod_python: a PythonOption that sets the egg cache, and the deployment of an application.

The modules that run inside Apache are in inside/: one reads the option, one is the WSGI gateway. Both are written
unchanged beside the launcher of the application.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eggcache.errors import UsageError
from eggcache.servers import apache, python_path
from eggcache.system import package_data
from eggcache.wrappers import destination, quoting
from eggcache.wrappers.kinds import KINDS, WrapperSettings, fill

GATEWAY = "eggcache_gateway.py"
_LOADED = "modules/mod_python.so"  # relative to ServerRoot: upstream's place, and Red Hat's by a link
_DEBIAN = "/usr/lib/apache2/modules/mod_python.so"


@dataclass(frozen=True)
class Application:
    """A TurboGears 1 application, as the manual deploys one."""

    module: str  # the package that has config and controllers
    location: str  # the URL path where it is served
    config: str  # its configuration file, such as prod.cfg
    requirements: Sequence[str] = ("TurboGears",)  # for pkg_resources.require()


@dataclass(frozen=True)
class Emitted:
    """A configuration for Apache, and the modules that go with it: file name -> text."""

    configuration: str
    modules: Mapping[str, str]


def mod_python(
    settings: WrapperSettings,
    *,
    modules: str | None = None,
    paths: Sequence[str] | None = (),
    application: Application | None = None,
    mutexes: str = apache.RUN,
    root: str = "/",
) -> Emitted:
    """The configuration that makes a directory the egg cache of Apache's mod_python.

    Rules from outside: mod_python's documentation on PythonOption, PythonPath and PythonImport;
    the TurboGears manual.

    :param settings: the cache, its zone, and what the text says of both
    :param modules: the directory of the application's modules, the first entry of PythonPath; None: no PythonPath for
        it
    :param paths: further entries of PythonPath; None: Apache has a PythonPath with `modules` already
    :param application: what is deployed; None: the cache alone is set
    :param mutexes: the directory of mod_python's lock files
    :param root: the directory below which the file of mod_python itself is looked up
    :raises UsageError: a value is not absolute where it must be, cannot be expressed in Apache's configuration, or is
        no name of a module; an application without `modules`
    """
    for value in (
        settings.directory,
        *settings.prepare[:1],
        *(paths or ()),
        *([modules] if modules is not None else []),
    ):
        if not value.startswith("/"):
            raise UsageError(value, "not an absolute path", "write it in full")
    for value in (settings.directory, *settings.prepare, settings.timezone or "", modules or "", *(paths or ())):
        if "\0" in value:
            raise UsageError(repr(value), "no path or argument can hold a NUL", "leave it out")
    values = dict(KINDS["mod_python"].values(settings))
    texts: dict[str, str] = {}
    if modules is not None:
        on_path = f"# {python_path.MODULE} is on the PythonPath that Apache has already."
        values["PATH"] = on_path if paths is None else python_path_of([modules, *paths])
        texts[python_path.MODULE] = inside(python_path.MODULE)
    if application is not None:
        if modules is None:
            raise UsageError("--app", "its launcher and the gateway are files", "say where they go with --directory")
        _check(application)
        debian = os.path.exists(os.path.join(root, _DEBIAN[1:])) if settings.prepare else settings.debian
        server = {"MODULE": _DEBIAN if debian else _LOADED, "MUTEXES": quoting.apache(mutexes)}
        values["SERVER"] = fill("mod_python_server.conf", **server)
        location = {"LOCATION": quoting.apache(application.location), "APP": application.module}
        values["LOCATION"] = fill("mod_python_location.conf", **location)
        texts[GATEWAY] = inside("eggcache_gateway.py")
        texts[f"{application.module}_modpython.py"] = _launcher(application)
    configuration = re.sub(r"\n\n\n+", "\n\n", fill("mod_python.conf", **values)).rstrip("\n") + "\n"
    modules_sealed = {name: destination.sealed(source) for name, source in texts.items()}
    return Emitted(destination.block(configuration, KINDS["mod_python"].comment), modules_sealed)


def _check(application: Application) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", application.module):
        raise UsageError(f"--app {application.module}", "not the name of a package", "name the one with controllers.py")
    if not re.fullmatch(r"/[^\s?#*\\\"<>\[\]]*", application.location):
        raise UsageError(f"--location {application.location}", "not the path of a URL", "such as /myapp")


def _launcher(application: Application) -> str:
    names = ", ".join(map(_python_2, application.requirements))
    return fill(
        "mod_python_launcher.txt",
        APP=application.module,
        REQUIRE=f"pkg_resources.require({names})",
        CONFIG=_python_2(application.config),
        WEBPATH=_python_2(application.location.rstrip("/")),
    )


def _python_2(text: str) -> str:
    """A literal of its bytes, in ASCII: TurboGears 1 runs on Python 2 alone."""
    return repr(os.fsencode(text))[1:]


def python_path_of(directories: Sequence[str], path: str = "sys.path") -> str:
    """The PythonPath that puts `directories` in front of what `path` is, an expression of Python 2 and 3.

    :param directories: the directories and eggs
    :param path: an expression for what they are put in front of
    """
    expression = f"[{', '.join(map(_directory, directories))}] + {path}"
    return f"PythonPath {quoting.apache(expression)}"


def _directory(path: str) -> str:
    """An expression for a name: Python 2 wants its bytes, and Python 3 decodes them as it decodes file names."""
    if path.isascii():
        return repr(path)
    decoded = "hasattr(s, 'isdecimal') and __import__('os').fsdecode(s.encode('latin-1')) or s"
    return f"(lambda s: {decoded})({_python_2(path)})"


def inside(name: str) -> str:
    """The text of a script of inside/, as Apache gets it."""
    return package_data.read(f"target/inside/{name}").decode("ascii")
