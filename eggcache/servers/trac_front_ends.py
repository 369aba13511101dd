"""Trac's front ends: where each takes its egg cache from, which is not the environment of Apache's processes.

As in Trac 0.11 to 1.6: `application` of web/templates/deploy_trac.wsgi, and `handler` of web/modpython_frontend.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from eggcache.errors import Remedy
from eggcache.model import Finding
from eggcache.servers.apache_configuration import Configuration, Directive
from eggcache.system import files
from eggcache.target.command_lines import Prepare

_BEGINNING = 4096  # bytes of a script that are looked at
IMPORTED = "trac.web.wsgi"  # by modpython_frontend.py, which itself can be imported in Apache alone
# What sets a variable for some requests, or takes all of them away: whether a program has it cannot be told
_UNTOLD = ("SetEnvIf", "SetEnvIfNoCase", "SetEnvIfExpr", "BrowserMatch", "RewriteRule", "RewriteCond", "UnsetEnv")
_OWN = re.compile(r"""^[^#\n]*PYTHON_EGG_CACHE['"](?:\][ \t]*=[^=]|,)""", re.MULTILINE)  # a script that sets it itself
# Trac's own, or what somebody wrote after it
_SCRIPT = re.compile(r"""^[ \t]*from trac\.web\.main import\b|^[^#\n]*['"/]\.egg-cache['"]""", re.MULTILINE)


def handled(configuration: Configuration) -> bool:
    """Whether mod_python has Trac's own handler: it takes its cache from a PythonOption or a SetEnv.

    :param configuration: what `apache_configuration.read` has got
    """
    return any("trac.web.modpython_frontend" in line.arguments for line in configuration.named("PythonHandler"))


def wrote(text: str) -> bool:
    """Whether a script of this `text` is the one that `trac-admin deploy` writes, or was written after it."""
    return bool(_SCRIPT.search(text))


def findings(configuration: Configuration, scripts: Iterable[str], prepare: Prepare) -> Iterator[Finding]:
    """Where nothing tells Trac its cache, so that it uses `.egg-cache` in its environment. `scripts` are those of
    Trac's that take one from the WSGI environment."""
    if not prepare.directory or configuration.problem:
        return
    remedy = Remedy("put what this prints into Apache's configuration", prepare.wrapper("trac"))
    directives = [line for line in configuration.named("SetEnv", "PassEnv") if "PYTHON_EGG_CACHE" in line.words]
    for script in scripts:
        if not directives:
            yield Finding("egg-cache-elsewhere", script, _cause("SetEnv"), remedy)
    options = {line.words[0] for line in configuration.named("PythonOption") if len(line.words) > 1}
    if options & {"TracEnv", "TracEnvParentDir"} and "PYTHON_EGG_CACHE" not in options:
        for line in configuration.named("PythonHandler"):
            if "trac.web.modpython_frontend" in line.arguments:
                yield Finding("egg-cache-elsewhere", line.place, _cause("PythonOption"), remedy)


def of_programs(configuration: Configuration, executable: str, prepare: Prepare) -> Iterator[Finding]:
    """Where trac.cgi or trac.fcgi is a program that Apache has this Python run, and it is not told this cache.

    A CGI program has what SetEnv sets in its environment; one under mod_fcgid has what FcgidInitialEnv sets, and
    nothing else. Of a directory of programs nobody can tell which is used: `trac-admin deploy` writes each kind.

    :param configuration: what `apache_configuration.read` has got
    :param executable: the target's interpreter
    :param prepare: the cache that was checked
    """
    if not prepare.directory or configuration.problem:
        return
    if any("PYTHON_EGG_CACHE" in line.arguments for line in configuration.named(*_UNTOLD)):
        return
    if any(configuration.named("SuexecUserGroup", "FcgidWrapper")):  # which pass on what they like
        return
    remedy = Remedy("put what this prints into Apache's configuration", prepare.wrapper("trac"))
    for line in configuration.named("ScriptAlias", "Alias"):
        program = line.words[-1] if line.words else ""
        fast = program.endswith(".fcgi")
        if not program.endswith((".cgi", ".fcgi")) or (fast and "fcgid_module" not in configuration.modules):
            continue
        if not _run_by(program, executable):
            continue
        names = ("FcgidInitialEnv", "FcgidCmdOptions") if fast else ("SetEnv", "PassEnv")
        told = [each for each in configuration.named(*names) if "PYTHON_EGG_CACHE" in each.arguments]
        told = [each for each in told if _host(each) in ("", _host(line))]
        values = [each.words[1] for each in told if each.words[0] == "PYTHON_EGG_CACHE" and len(each.words) > 1]
        if not told:
            yield Finding("egg-cache-elsewhere", program, _cause(names[0]), remedy)
        elif len(values) == len(told) and os.path.realpath(prepare.directory) not in map(os.path.realpath, values):
            cause = f"{told[-1].name} has Trac use {values[-1]!r}, and not {prepare.directory}"
            yield Finding("egg-cache-elsewhere", told[-1].place, cause, f"name {prepare.directory} there")


def _host(line: Directive) -> str:
    """The virtual host that a directive is in; "" for none."""
    return next((section for section in line.context if section.lower().startswith("<virtualhost")), "")


def _run_by(program: str, executable: str) -> bool:
    """Whether `program` is Trac's, and its first line names this Python: as the one of the same virtual environment."""
    text = files.beginning(program, _BEGINNING).decode("utf-8", "replace")
    named = text.partition("\n")[0].removeprefix("#!").strip()
    places = [(os.path.realpath(os.path.dirname(path)), os.path.realpath(path)) for path in (named, executable)]
    return wrote(text) and not _OWN.search(text) and places[0] == places[1]


def _cause(directive: str) -> str:
    return (
        f"Trac takes its egg cache from {directive} PYTHON_EGG_CACHE, which Apache's configuration does not have; so "
        "it uses .egg-cache in its environment, whatever Apache's own environment says"
    )
