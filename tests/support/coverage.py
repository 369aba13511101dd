"""Which lines of eggcache the tests reach, where EGGCACHE_COVERAGE names a directory for the data that all can write.

Measured are the processes of the tests themselves, and what judge.eggcache runs by their own Python as the user who
runs them. Not measured is what runs by another Python, as another user, in namespaces, under strace, or from a test
that counts or interrupts: measuring makes system calls of its own.
"""

from __future__ import annotations

import os

DIRECTORY = os.environ.get("EGGCACHE_COVERAGE")
# The options of Python that run a module measured
RUN = ["-m", "coverage", "run", f"--data-file={DIRECTORY}/data"] if DIRECTORY else []

if DIRECTORY:
    from coverage import Coverage

    from support import ROOT

    _measured = Coverage(data_file=f"{DIRECTORY}/data", data_suffix=True, config_file=str(ROOT / "pyproject.toml"))
    _measured.start()  # now: conftest imports this before eggcache is imported


def end() -> None:
    """Write what this process has reached."""
    if DIRECTORY:
        _measured.stop()
        _measured.save()
