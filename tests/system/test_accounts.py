"""Acting as another user: what the kernel says to it, and what it says to an old one."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT
from support.judge import environment
from support.kernels import UNAME, old_kernel

_ASK = """
import json, os, sys
from eggcache.system import accounts
paths, account = sys.argv[2:], accounts.lookup(sys.argv[1])
with accounts.acting(account):
    said = [accounts.may(path, os.R_OK | os.W_OK) for path in paths]
    ids = os.getresuid(), os.getresgid()
print(json.dumps([said, ids, os.getresuid() == (0, 0, 0) == os.getresgid()]))
"""


@pytest.mark.parametrize(("before", "kernel"), [([], None), (UNAME, old_kernel)])
def test_rights_are_those_of_the_account(
    shared_tmp: Path, nobody: pwd.struct_passwd, before: list[str], kernel: Callable[[], None] | None
) -> None:
    """What the account may do is asked for its own ids, where the kernel has no call for that, too; the real ids of the
    process are root's again afterwards."""
    roots, theirs, groups = shared_tmp / "roots", shared_tmp / "theirs", shared_tmp / "groups"
    for path, uid, mode in ((roots, 0, 0o644), (theirs, nobody.pw_uid, 0o600), (groups, 0, 0o660)):
        path.touch()
        os.chown(path, uid, nobody.pw_gid if path == groups else 0)
        path.chmod(mode)
    paths = [roots, theirs, groups, shared_tmp / "nothing", shared_tmp]
    result = subprocess.run(
        [*before, sys.executable, "-c", _ASK, nobody.pw_name, *map(str, paths)], cwd=ROOT, env=environment(),
        capture_output=True, text=True, check=True, preexec_fn=kernel,
    )  # fmt: skip
    said, ids, back = json.loads(result.stdout)
    assert said == [False, True, True, False, False]
    assert ids == [[0, nobody.pw_uid, 0], [0, nobody.pw_gid, 0]]
    assert back
