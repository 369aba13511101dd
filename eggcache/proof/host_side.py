"""What `check` looks at on the host while the target answers: the cache's files, who can write there, and servers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from shlex import quote

from eggcache.cache import groups_and_time_zones, receipt
from eggcache.errors import Remedy, UsageError
from eggcache.model import Finding, Run, Tree
from eggcache.proof import cache_location, permissions
from eggcache.proof.application import Application
from eggcache.proof.beforehand import Beforehand
from eggcache.proof.comparison import Comparison
from eggcache.proof.target_side import Question
from eggcache.servers import (
    affected_processes,
    apache,
    apache_configuration,
    apache_findings,
    declared_environments,
    environment_variables,
    script_findings,
    server_locale,
)
from eggcache.servers.application_servers import ApplicationServer, selection
from eggcache.servers.environment_variables import Environment
from eggcache.system import accounts, files
from eggcache.system.accounts import Account
from eggcache.target.command_lines import Prepare
from eggcache.target.eggs_on_path import EarlyReader


class HostSide:
    """A tree, the files that a cache (None: there is none) has for it, who may write there, and this host's servers."""

    tree: Tree
    host: apache.Apache
    configuration: apache_configuration.Configuration
    beside: str = ""  # why another server than Apache is taken to run the target
    servers: Sequence[ApplicationServer] = ()  # those of other kinds that run the target as the account
    strangers: Sequence[ApplicationServer] = ()  # those of other users, where none is of the account

    def __init__(self, question: Question, run: Run, application: Application, seen: Beforehand) -> None:
        self.cache = cache = question.cache
        target, roots = question.target, question.roots
        self.seen = seen
        self.apachectl = application.apachectl
        self.pid_file = application.pid_file
        self.server = application.server  # the kind of server, where the administrator names it
        self.target = target
        self.account = target.account
        self.prepare = Prepare(cache or "", target, roots, run.limits)  # what is looked at should have come of it
        self.receipt = receipt.Receipt()
        self.present: list[str] = []  # the names in the cache, when the receipt was read
        self.away: Finding | None = None  # that the runtime user cannot even get to the cache
        self.writers: list[Finding] = []
        self.comparison = Comparison(self.prepare, run, self.again, reachable=False)

    def around(self) -> server_locale.Locale | None:
        """Ask the servers of this host, and for their locale, see `server_locale.locale_of`."""
        self.host = apache.read(self.apachectl)
        if self.pid_file:
            self.host = replace(self.host, pid_file=self.pid_file)
        self.configuration = apache_configuration.read(self.host)
        candidates = [server for server in self.seen.servers if self.server in (None, server.kind)]
        self.servers = list(selection(candidates, self.account.uid, self.cache))
        self.strangers = [] if self.servers else [server for server in candidates if server.uid != self.account.uid]
        if self.server not in (None, "apache"):
            self._leave_apache(f"--server {self.server}")
        elif self.servers and self.server is None and apache_configuration.idle(self.configuration):
            self._leave_apache(
                f"{self.servers[0].environment.thing} runs {self.target.python}, and Apache runs nothing"
            )
        judged = [server.environment for server in self.servers] if self.beside else []
        return server_locale.locale_of(self.host, self.configuration, self.seen.serving, judged)

    def _leave_apache(self, why: str) -> None:
        """Nothing of this host's Apache is of any matter."""
        self.beside, self.host, self.configuration = why, apache.Apache(), apache_configuration.Configuration()

    def at(self, tree: Tree, reader: EarlyReader) -> None:
        """Look at the eggs of `tree`, of which the `reader` has read some, their files in the cache, and its rights."""
        self.tree = tree
        if self.cache is not None:
            self.receipt, self.present = receipt.of_directory(self.cache), files.names(self.cache)
            self.away = self._unreachable(self.cache)
            self.comparison.reachable = self.away is None
        self.comparison.compare(tree, reader)
        if self.cache is not None and os.path.isdir(self.cache):
            self.writers = list(permissions.findings(self.prepare, self.rebuilt))
        if not self.beside and self.server is None:
            why = apache_findings.beside(self.configuration, tree.interpreter, self.account)
            if why:
                self._leave_apache(why)

    def outdated(self) -> Iterator[Finding]:
        """That processes of the account run the target since before an egg was replaced.

        By the time of its contents: a change of its rights, or another name for it, breaks nothing.
        """
        eggs = (outcome.egg for outcome in self.comparison.outcomes if os.path.exists(outcome.egg))
        dated = ((os.stat(egg).st_mtime, egg) for egg in eggs)
        past = [each for each in dated if each[0] <= time.time()]  # a date in the future tells nothing
        changed, egg = max(past, default=(0.0, ""))
        older = affected_processes.outdated(self.target.python, changed, self.account.uid) if egg else ()
        if self.cache is not None:  # others may be anybody's, with the same Python
            having = environment_variables.with_cache([process.pid for process in older], self.cache)
            older = tuple(process for process in older if process.pid in having)
        if older:
            units = {process.unit for process in older}
            command = (
                f"systemctl restart {quote(min(filter(None, units)))}" if len(units) == 1 and None not in units else ""
            )
            processes = affected_processes.sample(older)
            cause = f"it was replaced while they run, whose next import from it can fail: {processes}"
            yield Finding("egg-replaced", egg, cause, Remedy("restart them", command))

    def deployed(self, scripts: Sequence[str]) -> tuple[list[Finding], list[str]]:
        """The settings that Apache's configuration, or else `scripts`, give the application; see
        `script_findings.findings`."""
        dates = sorted(self.comparison.dates)
        return script_findings.findings(
            self.configuration, self.prepare, self.tree.interpreter, dates, scripts, self.servers
        )

    def environments(self) -> Iterator[Finding]:
        """The environments of servers, and of what starts them, held against the cache. Where one server has the cache,
        it is the application's, and the others are not."""
        environments, last = [server.environment for server in self.servers], None
        if not self.beside:
            apaches = self.apaches(self.tree.interpreter.version)
            having = [server.pid for server in apaches if self._has(server.values.get("PYTHON_EGG_CACHE"))]
            if having:
                environments = []
            if any(self._has(server.cache) for server in self.servers):
                apaches = []
            elif not apache_configuration.idle(self.configuration):
                last = declared_environments.naming(self.declared)
                if last and last.values.get("PYTHON_EGG_CACHE") and self._is_of_another(having):
                    last = None
            environments += [*apaches, *self.declared]
        dates = sorted(self.comparison.dates)
        yield from environment_variables.findings(self.prepare, environments, self.host.starter, dates=dates, last=last)

    def _is_of_another(self, having: Sequence[int]) -> bool:
        """Whether the cache that this host's Apache is given is for another application than the one that is checked:
        of another user, or of other Apaches than those `having` the cache."""
        if self.account.uid not in apache_findings.uids(self.configuration):
            return True
        own = files.beginning(self.host.pid_file).strip() if self.host.pid_file else b""
        return bool(having and own) and own not in [str(pid).encode() for pid in having]

    def apaches(self, python: tuple[int, ...]) -> list[Environment]:
        """The Apaches that run with workers of the account and a Python of the version `python`, or the one of
        `pid_file`."""
        return [] if self.beside else list(environment_variables.running(self.account, python, self.pid_file))

    @property
    def python_path(self) -> list[str] | None:
        """What the PYTHONPATH of Apache has, as it runs or is started; None: it cannot be told."""
        if "python_module" not in self.configuration.modules:  # mod_python alone is told by the path
            return []
        started = declared_environments.python_path(self.host.starter, apache.envvars_of(self.host.apachectl))
        running = [server.values.get("PYTHONPATH", "") for server in self.apaches(self.tree.interpreter.version)]
        return None if started is None else [*started, *(entry for path in running for entry in path.split(":"))]

    def unread(self) -> Iterator[Finding]:
        """That servers of other users cannot read the cache, where they have it, or nobody else runs the target. Only
        root can tell."""
        if os.geteuid() != 0:
            return
        meant = [server for server in self.strangers if self.beside or self._has(server.cache)]
        others = [(accounts.account_of(str(server.uid)), server.environment) for server in meant]
        yield from cache_location.unreadable(self.prepare, [*others, *self._apache_of_another()], self.host.starter)

    @cached_property
    def declared(self) -> list[Environment]:
        """What starts this host's Apache, and what it says of the variables; see `declared_environments.declared`."""
        return list(declared_environments.declared(self.host.starter, apache.envvars_of(self.host.apachectl)))

    def _apache_of_another(self) -> Iterator[tuple[Account, Environment]]:
        """The user of this host's Apache, where the cache that it is given is checked as another user, and no process
        of Apache's is that user's: Apache's own may run the target then."""
        asked, user = self.configuration, apache_configuration.user_of(self.host)
        if user is None or asked.problem or not asked.embedded or apache_configuration.idle(asked):
            return
        if self.account.uid in apache_findings.uids(asked):
            return
        try:
            account = accounts.account_of(user)
        except UsageError:  # a configuration may name a user that there is not
            return
        environment = declared_environments.naming(self.declared)
        if environment and self._has(environment.values.get("PYTHON_EGG_CACHE")):
            yield account, environment

    def _has(self, cache: str | None) -> bool:
        return bool(cache) and os.path.realpath(str(cache)) == os.path.realpath(self.prepare.directory)

    def again(self) -> Remedy | None:
        """The remedy for faults in the cache; None: prepare it again. See `groups_and_time_zones.repair`."""
        return groups_and_time_zones.repair(self.receipt, self.prepare)

    def rebuilt(self, paths: Sequence[str]) -> Remedy:
        """The remedy for `paths` that the runtime user can write to. See `groups_and_time_zones.rebuild`."""
        return groups_and_time_zones.rebuild(self.receipt, self.prepare, paths)

    def _unreachable(self, cache: str) -> Finding | None:
        if not os.path.isdir(cache):
            what = "it is no directory" if os.path.lexists(cache) else "it does not exist"
            return Finding("cache-missing", cache, what, Remedy("prepare it", self.prepare.line()))
        with accounts.acting(self.account):
            if accounts.may(cache, os.X_OK | os.R_OK):
                return None
        error = accounts.in_the_way(cache, self.account)
        where = accounts.obstacle(cache, self.account)
        remedy = Remedy("let everybody through", f"chmod o+x {quote(where)}")
        if where == cache:
            remedy = self.again() or Remedy("prepare it for that user", self.prepare.readable().line())
        return Finding("cache-unreachable", cache, error.cause, remedy)
