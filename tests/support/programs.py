"""Programs that tests start for a while, and the libraries that programs need to start."""

from __future__ import annotations

import contextlib
import pwd
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


@contextlib.contextmanager
def running(
    words: Sequence[str | Path], home: Path, environment: Mapping[str, str], user: pwd.struct_passwd | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program until the end of the block, which works in `home` and writes to `home`/log; as `user`, in that
    user's own group alone."""
    uid, gid, groups = (user.pw_uid, user.pw_gid, []) if user else (None, None, None)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            words, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            user=uid, group=gid, extra_groups=groups,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def libraries(*programs: Path) -> set[str]:
    """What the dynamic linker loads for these programs, itself included."""
    result = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False)
    return set(re.findall(r"(/\S+/lib\S+?|/lib\S+/ld-\S+) \(0x", result.stdout))
