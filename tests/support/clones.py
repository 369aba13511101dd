"""What a user has after `git clone`: a copy of the clone that the tests run in, as it is now."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from support import ROOT

_OF_THE_INDEX = ("PIP_", "SSL_", "REQUESTS_")


def clone(into: Path) -> Path:
    """Copy what git has, and what it would be given, to the directory `into`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    for name in (name for name in map(os.fsdecode, listed) if (ROOT / name).is_file()):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, into / name)
    return into


def reaching_the_index() -> dict[str, str]:
    """The variables by which pip finds the index here, and trusts it."""
    return {name: value for name, value in os.environ.items() if name.startswith(_OF_THE_INDEX)}
