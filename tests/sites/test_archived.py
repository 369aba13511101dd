"""archive: what tar makes of it on a host is what `prepare` makes there, of real trees of eggs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.archives import READERS, compare, extracted, tree
from support.archives import eggs as packed
from support.deployment import Deployment
from support.judge import eggcache
from support.probe import rounds
from support.sites import named

ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.mark.parametrize("name", ["turbogears1", "turbogears2_27", "uploaded"])
def test_as_prepare_leaves_it(name: str, request: pytest.FixtureRequest, python: Path, shared_tmp: Path) -> None:
    """Of TurboGears 1.1.3, of TurboGears2 and of 40 eggs that somebody uploaded, GNU tar, libarchive and busybox make
    the same tree of the archive: each name, type, mode, owner, date of a file and byte is as `prepare` leaves it.
    `tar -d` says so too, and does not when one byte of all has changed. Without the Python, it is the same archive."""
    eggs, cache, archive = shared_tmp / "eggs", shared_tmp / "cache", shared_tmp / "cache.tar"
    if name == "uploaded":
        eggs.mkdir()
        for egg in rounds(request.getfixturevalue(name), "2.7")[0][:40]:
            (eggs / egg.name).write_bytes(egg.read_bytes())
        target, setuptools = ["--python", python, *named(eggs)], "65.5.0"
    else:
        made: Deployment = request.getfixturevalue(name)
        eggs, setuptools = made.site_packages, "44.1.1"
        target = ["--python", made.python]
    readers = ["--user", "nobody", "--tz", ZONE]
    assert eggcache("prepare", cache, *target, *readers).returncode in (0, 3, 5)
    assert eggcache("archive", archive, "--cache", cache, *target, *readers).returncode in (0, 3, 5)
    expected = tree(cache)
    assert len(expected) > 200
    for program in READERS:
        with extracted(program, archive) as root:
            assert tree(Path(f"{root}{cache}")) == expected, program
            if program == "busybox":
                assert compare(archive, root) == (0, "")
                path = next(path for path in sorted(Path(f"{root}{cache}").rglob("*.py")) if path.stat().st_size)
                before, data = path.stat(), path.read_bytes()
                path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
                assert compare(archive, root) == (1, f"{str(path)[len(str(root)) + 1 :]}: Contents differ\n")
    again = shared_tmp / "again.tar"
    said = ["--eggs-in", eggs, "--for-python", "2.7", "--for-setuptools", setuptools]
    assert eggcache("archive", again, "--cache", cache, *said, *readers).returncode in (0, 3)
    assert packed(again) == packed(archive)  # the verifier knows the --path of a target
