"""The results of importing an application's modules, and the eggs that are the cause where one fails.

A module of --import has to import: the administrator says so. A top-level module of a root need not: it may be for
another server (mod_python's handlers import only in Apache), or for a database that is not here. So its failure is a
notice, unless an egg, the cache or a requirement is the cause: `check` answers for those.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from eggcache.cache import groups_and_time_zones
from eggcache.errors import EggcacheError, Remedy
from eggcache.model import DEFAULT_LIMITS, Distribution, Finding, State, Tree
from eggcache.proof.host_side import HostSide
from eggcache.proof.target_side import Import
from eggcache.servers import environment_variables, server_locale
from eggcache.system import accounts
from eggcache.target import command_lines, launch
from eggcache.target.eggs_on_path import EarlyReader
from eggcache.target.interpreter import Target
from eggcache.target.tree_selection import normal_name, project_name

_LONGEST = 300  # characters of what an import says
_PATH = re.compile(r"""['"](/[^'"\0]+)['"]""")
_NO_MODULE = re.compile(r"No module named '?(([A-Za-z_]\w*)[\w.]*)")
# pkg_resources' own exceptions, the importer's and the reader's of zips, and a path that leads through a file: an egg
_OF_EGGS = {"ExtractionError", "ResolutionError", "ZipImportError", "BadZipfile", "BadZipFile", "ENOTDIR"}


def findings(
    imports: Sequence[Import], host_side: HostSide, around: server_locale.Locale | None, *, faulty: bool
) -> Iterator[Finding]:
    """The findings about `imports`, which were tried in the locale `around`.

    Where the cache or an egg is `faulty` already, a root that does not import is no finding: that would most likely be
    the consequence.
    """
    locale = _locale(around)
    for attempt in imports:
        if attempt.kind not in ("application", "root"):
            continue
        if attempt.zone:
            yield from _zone(attempt, host_side)
        if attempt.state == "elsewhere" or (attempt.state == "failed" and attempt.file):
            yield _elsewhere(attempt, host_side.cache or "")
        elif (
            attempt.state == "failed"
            and not (host_side.cache is None and attempt.call)
            and not (faulty and attempt.kind == "root")
        ):
            yield _failed(attempt, host_side, locale)


def extracted_first(imports: Sequence[Import], host_side: HostSide) -> Iterator[Finding]:
    """The eggs of which Trac's libraries have something extracted when they are imported.

    Its handler for mod_python, `handler` of trac/web/modpython_frontend.py, chooses its cache at its first request. By
    then they are imported, and pkg_resources takes no other cache after it has extracted anything, a ValueError.
    """
    files = [file for attempt in imports if attempt.kind == "aside" for file in attempt.extracted]
    places = {outcome.into: outcome.egg for outcome in host_side.comparison.outcomes}
    first = {egg: file for into, egg in places.items() for file in files if file.startswith(f"{into}/")}
    for distribution in host_side.tree.distributions:
        if distribution.egg in first:
            cause = (
                "Trac's handler for mod_python chooses its cache at the first request, when this egg's "
                f"{os.path.basename(first[distribution.egg])} is extracted already: "
                "each worker's first page is a ValueError"
            )
            remedy = command_lines.unzipped(host_side.target, distribution)
            yield Finding("extracted-first", distribution.egg, cause, remedy)


def _zone(attempt: Import, host_side: HostSide) -> Iterator[Finding]:
    """As Django does with TIME_ZONE: from then on no file of the cache is current, unless the zones agree on all."""
    (zone,), prepare = attempt.zone, host_side.prepare
    dates = sorted(host_side.comparison.dates)
    if host_side.cache is None or environment_variables.agree(dates, zone, prepare.target.timezone):
        return
    here, there = environment_variables.zone_words(prepare.target.timezone), environment_variables.zone_words(zone)
    cause = f"once it is imported, {there} in its process, {here} here, and pkg_resources reckons in the process's zone"
    yield Finding("time-zone", attempt.module, cause, groups_and_time_zones.other_zone_remedy(prepare, zone))


def _elsewhere(attempt: Import, cache: str) -> Finding:
    fails = f", and fails: {words(attempt)}" if attempt.state == "failed" else ""
    cause = f"when it is imported, it has pkg_resources extract to {attempt.file}, and not to {cache}{fails}"
    return Finding("not-served", attempt.module, cause, "have it set no cache, or this cache", context=attempt.frames)


def _failed(attempt: Import, host_side: HostSide, locale: str) -> Finding:
    required, cache = attempt.kind == "application", host_side.cache
    if (
        attempt.call
        and not (cache and (attempt.path + "/").startswith(cache + "/"))
        and not _OF_EGGS & {*attempt.raised}
    ):
        cause = f"importing it wants to write ({attempt.call} {attempt.path}), which check prevents: {words(attempt)}"
        remedy = Remedy("see that the runtime user may write there, or let it write later than at import")
        code, status = ("import-writes", 3) if required else ("root-import-fails", 0)
        return Finding(code, attempt.module, cause, remedy, status, attempt.frames)
    tree, target = host_side.tree, host_side.target
    lacking = _lacking(attempt, tree)
    cause = f"it does not import{'' if lacking else locale}: {words(attempt)}"  # no locale makes a module be missing
    through, inactive = _through(attempt, tree), _inactive(attempt, tree, target)
    if through is not None:
        remedy = command_lines.unzipped(target, through)
        cause = f"{cause}: {through.egg} is a zip, and the code that asks for a file in it needs a directory"
    elif inactive is not None:
        cause = f"{cause}; {inactive.title} has it, and is not active: no .pth file has {inactive.location} on sys.path"
        remedy = _activate(inactive, tree)
    elif lacking:
        remedy = Remedy(f"install {lacking} for {target.python}")
    else:
        see = "see with -v where, and " if attempt.frames else "see "
        remedy = Remedy(f"{see}whether it imports by hand, as that user and with that PYTHON_EGG_CACHE")
    if required or through is not None or _of_eggs(attempt, host_side):
        return Finding("import-fails", attempt.module, cause, remedy, 3, attempt.frames)
    remedy = remedy._replace(text=f"nothing, where the server does not import it; else {remedy.text}")
    return Finding("root-import-fails", attempt.module, cause, remedy, 0, attempt.frames)


def _of_eggs(attempt: Import, host_side: HostSide) -> bool:
    """Whether an egg, the cache or a requirement is the cause, by the class of the exception or by its text."""
    places = [outcome.egg for outcome in host_side.comparison.outcomes] + ([host_side.cache] if host_side.cache else [])
    return (
        bool(_OF_EGGS & {*attempt.raised})
        or "egg cache" in attempt.words
        or any(place in attempt.words for place in places)
    )


def _locale(around: server_locale.Locale | None) -> str:
    """The locale for a message; "" where it is our own."""
    own = {name: value for name, value in launch.environment().items() if launch.of_locale(name)}
    if around is None or around.values == own:
        return ""
    values = " ".join(f"{name}={value}" for name, value in sorted(around.values.items())) or "no LANG"
    return f" with {values}, as {around.origin} has it"


def words(attempt: Import) -> str:
    """The text of the exception, shortened."""
    return attempt.words[:_LONGEST]


def _through(attempt: Import, tree: Tree) -> Distribution | None:
    """The zipped egg that a path in the exception leads through, as if the egg were a directory."""
    zips = {os.path.realpath(egg.egg): egg for egg in tree.distributions if egg.egg is not None}
    for path in _PATH.findall(attempt.words):
        place = os.path.dirname(os.path.normpath(path))
        while place != os.path.dirname(place):
            if os.path.realpath(place) in zips:
                return zips[os.path.realpath(place)]
            place = os.path.dirname(place)
    return None


def _inactive(attempt: Import, tree: Tree, target: Target) -> Distribution | None:
    """The distribution with the missing module, where it is in the tree but on no server's path at start."""
    lacking = _NO_MODULE.search(attempt.words)
    idle = [distribution for distribution in tree.distributions if not distribution.active] if lacking else []
    return next((distribution for distribution in idle if lacking and _has(distribution, lacking[2], target)), None)


def _lacking(attempt: Import, tree: Tree) -> str:
    """What is not installed, so that the import failed: a distribution that the tree lacks, by its name or by that of
    its module, of which Python 2 may say the last word alone; else what has the module; "" where that is no fault."""
    module = _NO_MODULE.search(attempt.words)
    for need in tree.needs:
        name = project_name(need.requirement)
        spelt = normal_name(name), *normal_name(name).split("-")
        if need.state is State.MISSING and (
            (module and normal_name(module[2]) in spelt)
            or ("ResolutionError" in attempt.raised and name in attempt.words)
        ):
            return f"{name}, which is required,"
    return f"the distribution that has the module {module[1]}" if module else ""


def _has(distribution: Distribution, module: str, target: Target) -> bool:
    if distribution.egg is None:
        places = [os.path.join(distribution.location, name) for name in (module, f"{module}.py")]
        with accounts.acting(target.account):
            return any(map(os.path.exists, places))
    with suppress(EggcacheError), EarlyReader(target.account, DEFAULT_LIMITS).opened(distribution.egg) as (_, egg):
        prefixes = (f"{distribution.inside}{module}/", f"{distribution.inside}{module}.py")
        return any(member.name.startswith(prefixes) for member in egg.members)
    return False


def _activate(distribution: Distribution, tree: Tree) -> Remedy:
    directory, name = os.path.split(distribution.location)
    beside = [file for file in tree.interpreter.pth if os.path.basename(file) == "easy-install.pth"]
    file = next((file for file in beside if os.path.dirname(file) == directory), None)
    if file is not None:
        return Remedy(f"add the line ./{name} to {file}")
    if directory in tree.interpreter.site_packages:
        return Remedy(f"write the line ./{name} to {directory}/easy-install.pth")
    return Remedy("put it on the server's path, or have the application require() it")
