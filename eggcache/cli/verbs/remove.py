"""The command `remove`."""

from __future__ import annotations

import argparse
import os

from eggcache import progress
from eggcache.cache import removal
from eggcache.cli import arguments, console
from eggcache.system import accounts


def run(options: argparse.Namespace) -> int:
    accounts.need_proc()
    os.umask(0o077)
    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        result = removal.remove(options.directory, arguments.run(options, watcher))
    return console.present(result, options)
