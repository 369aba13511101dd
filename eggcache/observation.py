"""What check can see without the target's evidence, which it looks at while the target gathers that."""

from __future__ import annotations

import os
from shlex import quote

from eggcache import accounts, apache, configuration, rights
from eggcache.accounts import Account
from eggcache.comparison import Comparison
from eggcache.model import Finding, Limits, Tree
from eggcache.progress import Progress


class Observation:
    """A tree, what a cache (None: there is none) has of its eggs, who may write there, and this host's Apache."""

    tree: Tree
    host: apache.Apache
    told: configuration.Configuration

    def __init__(self, cache: str | None, account: Account, limits: Limits, progress: Progress) -> None:
        self.cache = cache
        self.account = account
        self.away: Finding | None = None  # that the runtime user cannot even get to the cache
        self.writers: list[Finding] = []
        self.comparison = Comparison(cache or "", account, limits, progress, reachable=False)

    def at(self, tree: Tree) -> None:
        """Look at the eggs of `tree`, at what the cache has of them, at its rights and at Apache."""
        self.tree = tree
        if self.cache is not None:
            self.away = self._unreachable(self.cache)
            self.comparison.reachable = self.away is None
        self.comparison.fill(tree, None)
        if self.cache is not None and os.path.isdir(self.cache):
            self.writers = list(rights.findings(self.cache, self.account))
        self.host = apache.read()
        self.told = configuration.read(self.host)

    def _unreachable(self, cache: str) -> Finding | None:
        if not os.path.isdir(cache):
            what = "it is no directory" if os.path.lexists(cache) else "it does not exist"
            return Finding("cache-missing", cache, what, f"eggcache prepare {quote(cache)}")
        with accounts.acting(self.account):
            if os.access(cache, os.X_OK | os.R_OK, effective_ids=True):
                return None
        error = accounts.in_the_way(cache, self.account)
        where = accounts.obstacle(cache, self.account)
        again = f"eggcache prepare {quote(cache)} --user {self.account.name}"
        return Finding(
            "cache-unreachable", cache, error.cause, again if where == cache else f"chmod o+x {quote(where)}"
        )
