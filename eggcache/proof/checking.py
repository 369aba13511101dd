"""The command `check`: whether Apache's user gets every file from the cache, and cannot write to it.

There are three witnesses, and the receipt is none of them: the target's own pkg_resources, run as the runtime user
(`target_side`); the files themselves, compared with the eggs (`comparison`); and the kernel, asked what that user could
write (`permissions`). None of them changes anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from eggcache.eggs import zip_dates
from eggcache.model import DEFAULT_RUN, Report, Run, Tree
from eggcache.proof import application as applications
from eggcache.proof import beforehand, target_side
from eggcache.proof.application import Application
from eggcache.system import accounts, files, locks, safe_dirs
from eggcache.target.interpreter import EVERYTHING, Roots, Target


def check(
    cache: str | None,
    target: Target,
    roots: Roots = EVERYTHING,
    run: Run = DEFAULT_RUN,
    *,
    imports: Sequence[str] | None = (),
    application: Application = applications.UNKNOWN,
) -> Report:
    """Prove that the zipped eggs of the tree of `roots` are served from a cache, and that nobody else can write to it.

    :param cache: the directory that PYTHON_EGG_CACHE names; None: there is none, and the findings say what Apache would
        do today
    :param target: the Python whose eggs are meant; it is run, and everything opened, with the rights of its account
    :param roots: which distributions the tree is of
    :param imports: modules that have to import, beside those of the `roots` themselves; None: nothing is imported
    :param application: the configuration and the scripts of an application, which are checked as well
    :param run: limits, waiting, dry run and progress
    :returns: the findings; each asks for exit status 3, except notices, which ask for none
    :raises UsageError: the target cannot parse one of the `roots`
    :raises NotPermitted: the account cannot run the target, or the caller cannot open the cache
    :raises Busy: a prepare is at work in the cache for longer than `run.wait`
    :raises EggcacheError: the target has no pkg_resources, or gives no sensible answer
    """
    return with_tree(cache, target, roots, run, imports=imports, application=application)[0]


def with_tree(
    cache: str | None,
    target: Target,
    roots: Roots,
    run: Run,
    *,
    imports: Sequence[str] | None,
    application: Application,
) -> tuple[Report, Tree]:
    """What `check` returns, and the tree that it is about: the target is asked once for both. Otherwise as `check`.

    :param cache: the egg cache; None: look at the tree and the host alone
    :param target: the Python that is asked
    :param roots: which distributions the tree is of
    :param run: limits, waiting and progress
    :param imports: modules that have to import, beside those of the `roots`; None: nothing is imported
    :param application: the application's own configuration
    :returns: what `check` returns, and the tree
    """
    if cache is not None:
        cache = os.path.abspath(cache)
        _wait_for_prepare(cache, run)
    run.progress.phase(f"asking {target.python} for the tree")
    with zip_dates.zone(target.timezone):
        seen = beforehand.look(cache, target, application)
        with target_side.Question(target, roots, cache, target_side.Imports(imports, seen.locale)) as question:
            from eggcache.proof import judgement  # it takes as long to load as the target to begin

            return judgement.judged(question, imports, run, application, seen)


def _wait_for_prepare(cache: str, run: Run) -> None:
    """Wait until no prepare is at work in `cache`. Raises Busy, and NotPermitted where the caller cannot open it."""
    with ExitStack() as held:
        try:
            directory = held.enter_context(files.directory(cache))
            lock = os.open(safe_dirs.LOCK, safe_dirs.READ, dir_fd=directory)
        except PermissionError as error:
            if error.filename == cache:
                raise accounts.in_the_way(cache, accounts.current()) from None
            return
        except OSError:  # there is none
            return
        held.callback(os.close, lock)
        with suppress(OSError):  # a file system without locks
            held.enter_context(locks.lock_itself(lock, cache, run.wait, run.progress))
