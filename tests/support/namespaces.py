"""eggcache in a mount namespace of its own, where a test may change what the host looks like."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import ROOT
from support.httpd import wait_for
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


@contextmanager
def private(before: str, *arguments: str | Path) -> Iterator[list[str]]:
    """A host with mounts and processes of its own, after a shell script that has `arguments`: the command that runs
    another one there. What runs there ends with it, and its mounts go."""
    if os.geteuid() != 0 or not shutil.which("nsenter"):
        missing("only root can have mounts of its own, with nsenter")
    # sh stays, as the first of the processes: it buries the orphans
    script = f"{before}\necho ready\nsleep infinity & wait"
    with subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
         "sh", "-ec", script, "sh", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    ) as host:  # fmt: skip
        first = ""
        try:
            assert host.stdout
            assert host.stdout.readline() == b"ready\n", "the host does not come up: see above"
            children = Path(f"/proc/{host.pid}/task/{host.pid}/children")
            first = children.read_text().split()[0]
            yield ["nsenter", f"--target={first}", "--mount", "--pid"]
        finally:
            host.kill()
            wait_for(lambda: not first or not Path(f"/proc/{first}").exists())


SYSTEMD = "mount -t tmpfs none /run; mkdir -p /run/systemd/system"
