"""Trac's front ends: where each takes its egg cache from, which is not the environment of Apache's processes.

As in Trac 0.11 to 1.6: `application` of web/templates/deploy_trac.wsgi, and `handler` of web/modpython_frontend.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from eggcache.errors import Remedy
from eggcache.model import Finding
from eggcache.servers.apache_configuration import Configuration
from eggcache.target.command_lines import Prepare

IMPORTED = "trac.web.wsgi"  # by modpython_frontend.py, which itself can be imported in Apache alone
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


def _cause(directive: str) -> str:
    return (
        f"Trac takes its egg cache from {directive} PYTHON_EGG_CACHE, which Apache's configuration does not have; so "
        "it uses .egg-cache in its environment, whatever Apache's own environment says"
    )
