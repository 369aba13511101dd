"""What `check --import` named: what became of each module, and which egg is in its way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from eggcache.errors import EggcacheError, Remedy
from eggcache.model import DEFAULT_LIMITS, Distribution, Finding, Tree
from eggcache.proof.lookups import Import
from eggcache.system import accounts
from eggcache.target import commands
from eggcache.target.early_reading import EarlyReader
from eggcache.target.interpreter import Target

_LONGEST = 300  # characters of what a stranger says
_PATH = re.compile(r"""['"](/[^'"]+)['"]""")
_NO_MODULE = re.compile(r"No module named '?([A-Za-z_]\w*)")


def findings(imports: Iterable[Import], cache: str | None, tree: Tree, target: Target) -> Iterator[Finding]:
    """What is wrong with those that do not import; `cache` is where they find the files of eggs."""
    for one in imports:
        if one.kind != "application" or one.state == "ok" or (cache is None and one.call):
            continue
        if one.state == "elsewhere":
            yield Finding(
                "not-served",
                one.module,
                f"when it is imported, it has pkg_resources extract to {one.file}, and not to {cache}",
                "have it set no cache of its own, or this one",
            )
        elif one.call and not (cache and (one.path + "/").startswith(cache + "/")):
            yield Finding(
                "import-writes",
                one.module,
                f"importing it wants to write ({one.call} {one.path}), which check prevents: {words(one)}",
                "see that the runtime user may write there, or let it write later than at import",
                context=one.frames,
            )
        else:
            yield _failed(one, tree, target)


def words(one: Import) -> str:
    """What it said, shortened."""
    return one.words[:_LONGEST]


def _failed(one: Import, tree: Tree, target: Target) -> Finding:
    cause = f"it does not import: {words(one)}"
    through, inactive = _through(one, tree), _inactive(one, tree, target)
    if through is not None:
        remedy = Remedy("unzip it", commands.unzip(target, through))
        cause = f"{cause}: {through.egg} is a zip, and what asks for a file in it wants a directory"
    elif inactive is not None:
        cause = f"{cause}; {inactive.title} has it, and is not active: no .pth file has {inactive.location} on sys.path"
        remedy = _activate(inactive, tree)
    else:
        see = "see with -v where, and " if one.frames else "see "
        remedy = Remedy(f"{see}whether it imports by hand, as that user and with that PYTHON_EGG_CACHE")
    return Finding("import-fails", one.module, cause, remedy, context=one.frames)


def _through(one: Import, tree: Tree) -> Distribution | None:
    """The zipped egg through which a path leads that it asked for, as if the egg were a directory."""
    zips = {os.path.realpath(found.egg): found for found in tree.distributions if found.egg is not None}
    for path in _PATH.findall(one.words):
        place = os.path.dirname(os.path.normpath(path))
        while place != "/":
            if os.path.realpath(place) in zips:
                return zips[os.path.realpath(place)]
            place = os.path.dirname(place)
    return None


def _inactive(one: Import, tree: Tree, target: Target) -> Distribution | None:
    """The distribution that has the module which it lacks, where that is in the tree and no server has it on its path
    when it starts."""
    lacking = _NO_MODULE.search(one.words)
    idle = [found for found in tree.distributions if not found.active] if lacking else []
    return next((found for found in idle if lacking and _has(found, lacking[1], target)), None)


def _has(found: Distribution, module: str, target: Target) -> bool:
    if found.egg is None:
        places = [os.path.join(found.location, name) for name in (module, f"{module}.py")]
        with accounts.acting(target.account):
            return any(map(os.path.exists, places))
    with suppress(EggcacheError), EarlyReader(target.account, DEFAULT_LIMITS).opened(found.egg) as (_, egg):
        wanted = (f"{found.inside}{module}/", f"{found.inside}{module}.py")
        return any(member.name.startswith(wanted) for member in egg.members)
    return False


def _activate(found: Distribution, tree: Tree) -> Remedy:
    directory, name = os.path.split(found.location)
    beside = [file for file in tree.interpreter.pth if os.path.basename(file) == "easy-install.pth"]
    file = next((file for file in beside if os.path.dirname(file) == directory), None)
    if file is not None:
        return Remedy(f"add the line ./{name} to {file}")
    if directory in tree.interpreter.site_packages:
        return Remedy(f"write the line ./{name} to {directory}/easy-install.pth")
    return Remedy("put it on the server's path, or have the application require() it")
