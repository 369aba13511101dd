"""The judgement of `check`: findings, from what the target says, what the host has, and what runs on it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from eggcache.cache import groups_and_time_zones
from eggcache.errors import Remedy
from eggcache.model import Finding, Outcome, Report, Run, Tree
from eggcache.proof import application as applications
from eggcache.proof import cache_location, imported, permissions, target_side
from eggcache.proof.application import Application
from eggcache.proof.beforehand import Beforehand
from eggcache.proof.comparison import strangers
from eggcache.proof.host_side import HostSide
from eggcache.servers import apache, apache_configuration, apache_findings, environment_variables, trac_front_ends
from eggcache.system import accounts
from eggcache.system.accounts import Account
from eggcache.target import command_lines, eggs_on_path, resolver

# Files that are not as they should be, and what else keeps modules from being imported
_DIFFERING = ("egg-not-in-cache", "member-missing", "member-unreadable", "member-outdated", "member-changed")
_BREAKING = (*_DIFFERING, "time-zone", "cache-missing", "cache-unreachable", "noexec", "not-served")
_NOTICES = (  # they ask for no exit status
    "unparsed-requirement",
    "other-version",
    "pth-ignored",
    "egg-other-python",
    "not-zip-safe",
    "app-config-unread",
    "root-import-fails",
    "another-application",
    "configuration-unseen",
)


def judged(
    question: target_side.Question,
    imports: Sequence[str] | None,
    run: Run,
    application: Application,
    seen: Beforehand,
) -> tuple[Report, Tree]:
    """What `check` returns, and the tree that it is about.

    :param question: what the target has been asked, in the time zone of which it is now
    :param imports: modules that have to import, beside those of the roots; None: nothing is imported
    :param run: limits, waiting and progress
    :param application: the application's own configuration
    :param seen: what ran before the target did
    :raises EggcacheError: as `checking.check`
    """
    cache, target, roots = question.cache, question.target, question.roots
    host_side = HostSide(question, run, application, seen)
    reader, meanwhile = eggs_on_path.ahead(target, roots, run)

    def early(tree: Tree) -> None:
        reader.stop()
        host_side.at(tree, reader)
        run.progress.phase(f"asking {target.python} what it gets")

    around = host_side.around()
    aside = (trac_front_ends.IMPORTED,) if trac_front_ends.handled(host_side.configuration) else ()
    evident = question.answered(target_side.Imports(imports, around, aside), early=early, meanwhile=meanwhile)
    tree, host, settings = (
        host_side.tree,
        host_side.host,
        host_side.configuration,
    )  # of Apache nothing, where another server is meant
    if cache is None:
        findings, outcomes = _Without(host_side, evident).findings(), tuple[Outcome, ...]()
    else:
        findings = _With(cache, host_side, evident, as_server=around is not None).findings()
        outcomes = tuple(host_side.comparison.outcomes)
    findings += [*cache_location.unseen_eggs(tree, host), *resolver.rivals(tree)]
    faulty = any(finding.code in _BREAKING for finding in findings)
    findings += imported.findings(evident.imports, host_side, around, faulty=faulty)
    # What a process was started with, or will be, does not matter then
    if cache is not None and apache_findings.names_cache(settings, cache):
        findings = [finding for finding in findings if finding.code not in environment_variables.OF_ENVIRONMENT]
    findings += apache_findings.host_findings(
        settings,
        interpreter=tree.interpreter,
        cache=cache,
        account=target.account,
        more_path=host_side.python_path,
    )
    findings += imported.extracted_first(evident.imports, host_side)
    findings += [*applications.findings(application, target), *host_side.outdated()]
    unlike, by_line = host_side.deployed(application.scripts)
    findings += unlike
    notices = _NOTICES if resolver.gaps_matter(tree) else (*_NOTICES, *resolver.LACKING)
    findings = [finding if finding.code in notices else replace(finding, status=3) for finding in findings]
    read = f"{', '.join(by_line)}: read by line, since eggcache's own Python cannot parse it" if by_line else None
    about = (host_side.beside, apache_configuration.gap(settings), read, *_others(host_side))
    notes = (*resolver.notes(tree, roots), *_notes(target.account, host), *about)
    result = Report("check", cache, outcomes, tuple(findings), tuple(filter(None, notes)), outside=tree.outside)
    return result, tree


def _notes(account: Account, host: apache.Apache) -> tuple[str, ...]:
    if os.geteuid() == 0 or apache_configuration.user_of(host) in (None, account.name):
        return ()
    return (f"Apache: it runs as {host.user}, and this is checked as {account.name}; root can check as {host.user}",)


def _others(host_side: HostSide) -> Iterator[str]:
    """That another user's server runs the target, and none of the user that it was checked as."""
    for server in host_side.strangers[:1] if host_side.beside else ():
        user, thing = accounts.user_name(server.uid), server.environment.thing
        words = f"it runs as {user}, this is checked as {host_side.account.name}: --user {user} checks as that user"
        yield f"{thing}: {words}"


class _With:
    """The findings for a cache."""

    def __init__(self, cache: str, host_side: HostSide, evident: target_side.Evidence, *, as_server: bool) -> None:
        self.cache = cache
        self.as_server = as_server
        self.host_side = host_side
        self.evident = evident
        self.target = host_side.target
        self.away = host_side.away
        self.comparison = host_side.comparison
        self.unzip = command_lines.unzip_all(host_side.target, host_side.prepare.roots)

    def findings(self) -> list[Finding]:
        """All findings, those about eggs first."""
        compared = self.comparison
        compared.testify(self.evident.lookups, as_server=self.as_server)
        findings = compared.findings
        if not compared.outcomes:
            return findings  # nothing is extracted, so nothing is asked of the cache
        if self.away:
            unseen = apache.hides(self.host_side.host, self.cache) if self.away.code == "cache-missing" else None
            if unseen:  # as what prepares it at start may be, with Apache: TemporaryFileSystem= is for both
                return [*findings, replace(unseen, status=3)]
            findings.append(self.away)
            if self.away.code == "cache-missing":
                return findings
        else:
            findings += self._evident()
        native = any(attempt.kind == "native" for attempt in self.evident.imports)
        host, writers = self.host_side.host, self.host_side.writers
        around = list(cache_location.findings(self.cache, host, native=native, unzip=self.unzip))
        if not self.away:
            findings += self._native(any(finding.code == "noexec" for finding in around))
        findings += writers
        if any(finding.code == "cache-writable" for finding in writers):
            findings += _race(self.host_side, self.cache)
        if compared.shifted:
            findings.append(self._shifted())
        findings += strangers(self.host_side.receipt, self.host_side.present, self.host_side.prepare, compared.names)
        findings += around
        if not any(finding.code in ("hidden-by-unit", "private-tmp") for finding in around):
            findings += cache_location.hidden(self.host_side.prepare, self.host_side.servers)
        return [*findings, *self.host_side.environments(), *self.host_side.unread()]

    def _shifted(self) -> Finding:
        paths = self.comparison.shifted
        record, names = self.host_side.receipt, self.comparison.names
        zones = groups_and_time_zones.zones_of(record, names)
        why = " and ".join(map(groups_and_time_zones.zone_name, zones)) or "another time zone"
        remedy = Remedy("prepare it with the zone of Apache (--tz), and check with the same")
        if zones:
            again = Remedy("prepare it again", self.host_side.prepare.line())
            remedy = groups_and_time_zones.zone_remedy(record, self.host_side.prepare, names) or again
        here = environment_variables.zone_words(self.target.timezone)
        cause = f"prepared for {why}, and {here} here: "
        cause += f"{len(paths):,} files are" if len(paths) > 1 else "1 file is"
        cause += f" not current, {paths[0][0]} is off by {paths[0][1]}"
        off = tuple(f"{path} {by}" for path, by in paths[: permissions.SHOWN])
        return Finding("time-zone", self.cache, cause, remedy, context=off)

    def _evident(self) -> Iterator[Finding]:
        """Findings for look-ups that the cache did not serve although nothing else is wrong with it."""
        if any(finding.code == "broken-pkg-resources" for finding in self.comparison.findings):
            return
        eggs = {lookup.egg for lookup in self.evident.lookups if lookup.files}
        for outcome in self.comparison.outcomes:
            if outcome.files and outcome.egg not in eggs:
                yield Finding("not-served", outcome.egg, "its pkg_resources was not asked for it", "run check again")
        for lookup in self.evident.lookups:
            if not lookup.failed or lookup.egg in self.comparison.wrong:
                continue
            first = lookup.wrong[0]
            yield Finding(
                "not-served",
                lookup.egg,
                f"{lookup.failed} of its files and directories are not taken from the cache: {first.kind} "
                f"{first.name}: {first.failure}",
                Remedy("see what else writes or configures its egg cache (-v has the detail), or unzip it", self.unzip),
                context=tuple(f"{failure.kind} {failure.name}: {failure.failure}" for failure in lookup.wrong),
            )

    def _native(self, noexec: bool) -> Iterator[Finding]:
        """Shared libraries that do not import, except where another finding says so already."""
        stubs = {
            name for finding in self.comparison.findings if finding.code.startswith("stub-") for name in finding.context
        }  # in its egg; another egg's of that name would be told by its own finding
        differing = self._differing()
        for attempt in self.evident.imports:
            if attempt.kind != "native" or attempt.state in ("ok", "elsewhere") or attempt.egg in differing:
                continue
            if any(attempt.file.endswith(f"-tmp/{name}") or attempt.module == _module(name) for name in stubs):
                continue
            if noexec and "failed to map segment" in attempt.words:
                continue
            if attempt.state == "empty":
                cause = f"it imports from {attempt.file} as an empty module"
                yield Finding("native-module-empty", attempt.module, cause, Remedy(f"unzip {attempt.egg}", self.unzip))
            else:
                cause = f"it does not import: {imported.words(attempt)}"
                remedy = f"install {attempt.egg} as built for this machine and this Python, and what it needs"
                yield Finding("native-module-fails", attempt.module, cause, remedy)

    def _differing(self) -> set[str]:
        """Eggs whose files in the cache are not as they should be: further findings about these follow from that."""
        paths = [finding.thing for finding in self.comparison.findings if finding.code in _DIFFERING]
        paths += [path for path, _ in self.comparison.shifted]
        below = len(os.path.join(self.cache, ""))
        tops = {path[below:].split("/")[0] for path in paths}
        return {outcome.egg for outcome in self.comparison.outcomes if os.path.basename(outcome.into) in tops}


class _Without:
    """The findings where there is no cache: what Apache would do."""

    def __init__(self, host_side: HostSide, evident: target_side.Evidence) -> None:
        self.host_side = host_side
        self.default = evident.default or "the default directory"
        self.account = host_side.account

    def findings(self) -> list[Finding]:
        """The faults of the tree and its eggs, and that there is no cache."""
        findings, outcomes = self.host_side.comparison.findings, self.host_side.comparison.outcomes
        if not outcomes:
            return findings
        count = f"{len(outcomes)} zipped egg{'s' * (len(outcomes) != 1)}"
        writable = self._writable()
        what = (
            f"which {self.account.words} can write to: whoever breaks into the web server can change its code"
            if writable
            else f"which {self.account.words} cannot write to: an ExtractionError at the first request"
        )
        apaches = self.host_side.apaches(self.host_side.tree.interpreter.version)
        used = [(server.thing, server.values.get("PYTHON_EGG_CACHE") or "") for server in apaches]
        used += [(server.environment.thing, server.cache or "") for server in self.host_side.servers]
        has = "".join(f"; {thing} has {cache}, see it with --cache" for thing, cache in used if cache.startswith("/"))
        prepare = self.host_side.prepare
        unzip = command_lines.unzip_all(prepare.target, prepare.roots)
        cause = f"without PYTHON_EGG_CACHE, {count} are extracted to it, {what}{has}"
        remedy = Remedy(f"unzip them ({unzip}), or prepare a cache", prepare.at(command_lines.ELSEWHERE).line())
        eggs = tuple(outcome.egg for outcome in outcomes)
        findings.append(Finding("no-cache", self.default, cause, remedy, context=eggs))
        if writable:
            findings += _race(self.host_side, self.default)
        return findings

    def _writable(self) -> bool:
        """Whether the default cache can be written to, or made."""
        place = self.default
        while not os.path.lexists(place) and place != os.path.dirname(place):
            place = os.path.dirname(place)
        with accounts.acting(self.account):
            return accounts.may(place, os.W_OK | os.X_OK)


def _race(host_side: HostSide, cache: str) -> Iterator[Finding]:
    """Workers that extract at the same time: EEXIST was fatal before setuptools 40.1.0 (pypa/setuptools 1256)."""
    interpreter = host_side.tree.interpreter
    match = re.match(r"(setuptools|distribute) (\d+)(?:\.(\d+))?", interpreter.setuptools or "")
    if match and (match[1] == "distribute" or (int(match[2]), int(match[3] or 0)) < (40, 1)):
        cause = f"{interpreter.setuptools} fails where two workers make one directory in {cache} at the same time"
        remedy = Remedy(
            "prepare a cache that nobody has to write to", host_side.prepare.at(command_lines.ELSEWHERE).line()
        )
        yield Finding("extraction-race", interpreter.executable, cause, remedy)


def _module(name: str) -> str:
    """The module whose shared library is `name` in an egg."""
    directory, _, base = name.rpartition("/")
    return ".".join([*filter(None, directory.split("/")), base.split(".")[0]])
