"""eggcache in a mount namespace of its own, where a test may change what the host looks like."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from support import ROOT
from support.judge import environment
from support.parts import missing


def entered(before: str, *command: str) -> list[str]:
    """The command that runs another one after a shell command in a mount namespace of its own."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        missing("only root can have a mount namespace, with unshare")
    script = f'{before}\nmkdir -p /run/lock\nexec "$@"'  # apache2ctl wants it
    return ["unshare", "-m", "sh", "-ec", script, "sh", *command]


def namespace(before: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run eggcache in such a namespace."""
    command = entered(before, sys.executable, "-m", "eggcache", *arguments)
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)


SYSTEMD = "mount -t tmpfs none /run; mkdir -p /run/systemd/system"
