"""The scripts that mod_wsgi runs: what they do with the egg cache. They are read as text, never run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from eggcache.servers.configuration import Configuration
from eggcache.system import files

_MOST = 100  # scripts of one directory
_NAME = r"[bBrRuU]*['\"]PYTHON_EGG_CACHE['\"]"
_READS = re.compile(rf"^[^#\n]*{_NAME}", re.MULTILINE)
# os.environ["PYTHON_EGG_CACHE"], os.environ.get("PYTHON_EGG_CACHE"), os.getenv("PYTHON_EGG_CACHE"): of the process
_OWN = re.compile(rf"\bos\s*\.\s*(?:environ\s*(?:\[|\.\s*\w+\s*\()|getenv\s*\(|putenv\s*\()\s*{_NAME}")


def take_cache(configuration: Configuration) -> bool:
    """Whether a script reads PYTHON_EGG_CACHE from the WSGI environment, which has what SetEnv sets.

    As the trac.wsgi does that `trac-admin deploy` writes (Trac 1.2, web/templates/deploy_trac.wsgi): there SetEnv
    decides, and not the environment of the process.
    """
    return any(_READS.search(_OWN.sub("", text)) for text in _texts(configuration))


def _texts(configuration: Configuration) -> Iterator[str]:
    """The scripts, as far as directives name them."""
    for line in configuration.named("WSGIScriptAlias", "WSGIScriptAliasMatch", "WSGIHandlerScript"):
        path = line.words[1] if len(line.words) > 1 else ""
        if "$" in path:  # what a part of the expression matched
            path = os.path.dirname(path.partition("$")[0])
        if not path.startswith("/"):
            continue
        try:
            texts = [os.path.join(path, name) for name in sorted(os.listdir(path))[:_MOST]]
        except OSError:  # it is the script itself
            texts = [path]
        for file in texts:
            yield files.beginning(file).decode("utf-8", "replace")
