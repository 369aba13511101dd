"""What the imports of an application came to, those that --import names and those of the roots' own modules; and which
egg is in their way.

A module that --import names has to import: the administrator says so. A top-level module of a root need not: it may be
for another server (mod_python's handlers import only in Apache), or for a database that is not here. So that is a
notice, unless an egg, the cache or a requirement is the cause: those are what `check` answers for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from eggcache.cache import serving
from eggcache.errors import EggcacheError, Remedy
from eggcache.model import DEFAULT_LIMITS, Distribution, Finding, Tree
from eggcache.proof.lookups import Import
from eggcache.proof.observation import Observation
from eggcache.servers import environments
from eggcache.system import accounts
from eggcache.target import commands, launch
from eggcache.target.early_reading import EarlyReader
from eggcache.target.interpreter import Target

_LONGEST = 300  # characters of what an import says
_PATH = re.compile(r"""['"](/[^'"]+)['"]""")
_NO_MODULE = re.compile(r"No module named '?([A-Za-z_]\w*)")
# pkg_resources' own exceptions, the importer's and the reader's of zips, and a path that leads through a file: an egg
_OF_EGGS = {"ExtractionError", "ResolutionError", "ZipImportError", "BadZipfile", "BadZipFile", "ENOTDIR"}


def findings(
    imports: Sequence[Import], looked: Observation, around: environments.Locale | None, *, known: bool
) -> Iterator[Finding]:
    """What is wrong with `imports`, which were tried in the locale `around`.

    Where something is wrong with the cache or an egg, as is `known`, a root that does not import is not told as well:
    it would most likely follow from that.
    """
    locale = _shown(around)
    for one in imports:
        if one.kind == "native":
            continue
        if one.zone:
            yield from _zone(one, looked)
        if one.state == "elsewhere" or (one.state == "failed" and one.file):
            yield _elsewhere(one, looked.cache or "")
        elif one.state == "failed" and not (looked.cache is None and one.call) and not (known and one.kind == "root"):
            yield _failed(one, looked, locale)


def _zone(one: Import, looked: Observation) -> Iterator[Finding]:
    """As Django does with TIME_ZONE: from then on no file of the cache is current, unless the zones agree on all."""
    (zone,), wanted = one.zone, looked.wanted
    dates = sorted(looked.comparison.dates)
    if looked.cache is None or environments.agree(dates, zone, wanted.target.timezone):
        return
    here, there = environments.shown(wanted.target.timezone), environments.shown(zone)
    yield Finding(
        "time-zone",
        one.module,
        f"once it is imported, {there} in its process, {here} here, and pkg_resources reckons in the process's zone",
        serving.in_another(wanted, zone),
    )


def _elsewhere(one: Import, cache: str) -> Finding:
    fails = f", and fails: {words(one)}" if one.state == "failed" else ""
    return Finding(
        "not-served",
        one.module,
        f"when it is imported, it has pkg_resources extract to {one.file}, and not to {cache}{fails}",
        "have it set no cache of its own, or this one",
        context=one.frames,
    )


def _failed(one: Import, looked: Observation, locale: str) -> Finding:
    asked, cache = one.kind == "application", looked.cache
    if one.call and not (cache and (one.path + "/").startswith(cache + "/")) and not _OF_EGGS & {*one.raised}:
        cause = f"importing it wants to write ({one.call} {one.path}), which check prevents: {words(one)}"
        remedy = Remedy("see that the runtime user may write there, or let it write later than at import")
        code, status = ("import-writes", 3) if asked else ("root-import-fails", 0)
        return Finding(code, one.module, cause, remedy, status, one.frames)
    cause, tree, target = f"it does not import{locale}: {words(one)}", looked.tree, looked.target
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
    if asked or through is not None or _of_eggs(one, looked):
        return Finding("import-fails", one.module, cause, remedy, 3, one.frames)
    remedy = remedy._replace(text=f"nothing, where the server does not import it; else {remedy.text}")
    return Finding("root-import-fails", one.module, cause, remedy, 0, one.frames)


def _of_eggs(one: Import, looked: Observation) -> bool:
    """Whether an egg, the cache or a requirement is why it fails: by what it raised, or by what that says."""
    places = [done.egg for done in looked.comparison.outcomes] + ([looked.cache] if looked.cache else [])
    return bool(_OF_EGGS & {*one.raised}) or "egg cache" in one.words or any(place in one.words for place in places)


def _shown(around: environments.Locale | None) -> str:
    """The locale, for a message, where it is not our own."""
    own = {name: value for name, value in launch.environment().items() if launch.of_locale(name)}
    if around is None or around.values == own:
        return ""
    values = " ".join(f"{name}={value}" for name, value in sorted(around.values.items())) or "no LANG"
    return f" with {values}, as {around.origin} has it"


def words(one: Import) -> str:
    """What it said, shortened."""
    return one.words[:_LONGEST]


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
