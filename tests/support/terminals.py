"""What a command shows on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support import ROOT

_DEADLINE = 300.0  # seconds


@dataclass(frozen=True)
class Shown:
    """What a terminal showed, what went to the streams that were a file instead, and the exit status."""

    terminal: str
    file: str
    status: int


def show(
    command: Sequence[str], *, env: Mapping[str, str], columns: int = 200, cwd: Path = ROOT, typed: str = "",
    streams: Sequence[str] = ("stdin", "stdout", "stderr"),
) -> Shown:  # fmt: skip
    """Run `command` with `streams` on a terminal of `columns`, into which `typed` is typed, in a session of its own.

    Both ends stay open until it has ended. Once the last one at the far end is closed, a read here may say EIO while
    what was written last is still on its way between the ends, and it is lost.
    """
    ours, theirs = pty.openpty()
    with tempfile.TemporaryFile() as file:
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            ends = {name: theirs if name in streams else file for name in ("stdin", "stdout", "stderr")}
            with subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True, **ends) as process:
                try:
                    os.write(ours, typed.encode())
                    seen = _until_it_ends(ours, process)
                finally:
                    process.kill()  # after an error Popen would wait for it
        finally:
            os.close(theirs)
            os.close(ours)
        file.seek(0)
        printed = file.read().decode()
    return Shown(seen.decode("utf-8", "replace").replace("\r\n", "\n"), printed, process.returncode)


def _until_it_ends(ours: int, process: subprocess.Popen[bytes]) -> bytes:
    """All that comes until the process has ended, and what is there then."""
    seen, running, until = b"", True, time.monotonic() + _DEADLINE
    end = os.pidfd_open(process.pid)
    try:
        while True:
            left = max(0.0, until - time.monotonic()) if running else 0.0
            ready, _, _ = select.select([ours, end] if running else [ours], [], [], left)
            if running and not ready:
                raise TimeoutError(f"{process.args!r} is still at work after {_DEADLINE} s: {seen!r}")
            if ours in ready:
                seen += os.read(ours, 65536)
            elif running:
                running = False
            else:
                return seen
    finally:
        os.close(end)
