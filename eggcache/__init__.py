"""Zipped Python eggs behind Apache, unzipped or extracted beforehand into a cache that nobody else can write to.

The public API has one function for each command: `resolve`, `prepare`, `unzip_all`, `undo`, `check`, `wrapper`,
`status`, `remove`, `wheels`, `archive` (and `archive_unzipped`). Their arguments are three nouns: a `Target` (the
Python, as a server runs it), its `Roots` (which distributions) and a `Run` (limits, waiting, dry run, progress).
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing takes longer than many a run
if TYPE_CHECKING:
    from eggcache.cache.cache_archive import archive
    from eggcache.cache.inventory import status
    from eggcache.cache.preparation import prepare
    from eggcache.cache.removal import remove
    from eggcache.model import Limits, Run
    from eggcache.proof.application import Application
    from eggcache.proof.checking import check
    from eggcache.system.accounts import Account
    from eggcache.target.interpreter import EVERYTHING, Roots, Target
    from eggcache.target.other_host import Host
    from eggcache.target.resolver import resolve
    from eggcache.unzip.restoration import undo
    from eggcache.unzip.unzipped_archive import archive_unzipped
    from eggcache.unzip.unzipping import unzip_all
    from eggcache.wheelhouse.wheelhouse import wheels
    from eggcache.wrappers.emission import wrapper
    from eggcache.wrappers.kinds import WrapperSettings

__all__ = [
    "EVERYTHING",
    "Account",
    "Application",
    "Host",
    "Limits",
    "Roots",
    "Run",
    "Target",
    "WrapperSettings",
    "archive",
    "archive_unzipped",
    "check",
    "prepare",
    "remove",
    "resolve",
    "status",
    "undo",
    "unzip_all",
    "wheels",
    "wrapper",
]
__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("EVERYTHING", "Roots", "Target"), "target.interpreter"),
    **dict.fromkeys(("Limits", "Run"), "model"),
    "Account": "system.accounts",
    "Application": "proof.application",
    "WrapperSettings": "wrappers.kinds",
    "Host": "target.other_host",
    "archive": "cache.cache_archive",
    "archive_unzipped": "unzip.unzipped_archive",
    "check": "proof.checking",
    "prepare": "cache.preparation",
    "remove": "cache.removal",
    "resolve": "target.resolver",
    "status": "cache.inventory",
    "undo": "unzip.restoration",
    "unzip_all": "unzip.unzipping",
    "wheels": "wheelhouse.wheelhouse",
    "wrapper": "wrappers.emission",
}


def __getattr__(name: str) -> object:
    """Import only the module that has `name`: `prepare` runs at every start of Apache."""
    if name in _HOMES:
        import importlib  # which loads warnings

        return getattr(importlib.import_module(f"eggcache.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'eggcache' has no attribute {name!r}")
