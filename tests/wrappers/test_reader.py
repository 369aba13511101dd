"""A server that runs as a user who only reads the cache: it starts, and says what root has to run where it is stale."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from support.parts import missing
from support.programs import running
from support.sites import Site, write_egg

from eggcache.wrappers import emission
from eggcache.wrappers.kinds import WrapperSettings

UWSGI = "/usr/bin/uwsgi-core"


def emitted(site: Site, checkout: Path, kind: str) -> str:
    """The text, with a prepare that this user can run."""
    prepare = [str(site.python), "-m", "eggcache", "prepare", str(site.cache), "--lenient", "--all"]
    words = [*prepare, "--path", str(site.eggs), "--python", str(site.python), "--user", site.account.pw_name]
    return emission.wrapper(
        kind, WrapperSettings(str(site.cache), ["/usr/bin/env", f"PYTHONPATH={checkout}", *words], None)
    )


def started(site: Site, kind: str, checkout: Path, home: Path) -> tuple[bool, str]:
    """Whether the real server, run as the user, gets as far as its application, and what it says."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    shutil.chown(home, site.account.pw_uid, site.account.pw_gid)
    result = home / "started"
    if kind == "gunicorn":
        for name in ("gunicorn", "packaging"):
            spec = importlib.util.find_spec(name)
            if spec is None or spec.origin is None:
                missing(f"{name} is not installed")
            shutil.copytree(Path(spec.origin).parent, home / name)
        theirs = f"bind = 'unix:{home}/s'\n\n\ndef on_starting(server):\n    open('{home}/theirs', 'w').close()\n\n\n"
        (home / "gunicorn.conf.py").write_text(theirs + emitted(site, checkout, kind))
        (home / "app.py").write_text(f"open('{result}', 'w').close()\napplication = None\n")
        argv = [str(site.python), "-m", "gunicorn", "app"]
    else:
        if not Path(UWSGI).exists():
            missing("uwsgi-core is not installed")
        theirs = f"[uwsgi]\nsocket = {home}/s\n\n[other]\nworkers = 2\n\n"
        (home / "u.ini").write_text(f"{theirs}{emitted(site, checkout, kind)}exec-asap = touch {result}\n")
        argv = [UWSGI, "--ini", str(home / "u.ini")]
    plain = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(home)}
    with running(argv, home, plain, site.account) as process:
        deadline = time.monotonic() + 40
        while not result.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        was = result.exists()
    assert (home / "theirs").exists() == was or kind != "gunicorn"
    return was, (home / "log").read_text()


@pytest.mark.parametrize("kind", ["gunicorn", "uwsgi"])
def test_server_of_a_reader_starts_with_roots_cache(site: Site, checkout: Path, shared_tmp: Path, kind: str) -> None:
    """With root's cache current it starts and says nothing; with a stale one it starts and names root's command; with
    none that it can read, it does not start."""
    result = site.prepare()
    assert result.returncode == 0, result.stderr
    was, log = started(site, kind, checkout, shared_tmp / "home")
    assert was, log
    assert "eggcache: " not in log
    before = {path: path.stat().st_ctime_ns for path in site.cache.rglob("*")}
    write_egg(site.eggs / "One-1.0-py3.11.egg", {"one/__init__.py": "changed = 1\n"})
    was, log = started(site, kind, checkout, shared_tmp / "home")
    assert was, log
    (said,) = re.findall(rf"run as root: eggcache prepare {re.escape(str(site.cache))} (.*)", log)
    assert "--user nobody" in said
    assert f"--python {site.python}" in said
    assert {path: path.stat().st_ctime_ns for path in site.cache.rglob("*")} == before
    site.cache.chmod(0o700)
    was, log = started(site, kind, checkout, shared_tmp / "home")
    assert not was, log


def test_other_bytes_are_named_to_a_reader(site: Site, checkout: Path) -> None:
    """What has the size and the time of the egg's file, and other bytes, is named to a user who only reads."""
    assert site.prepare().returncode == 0
    words = ["-m", "eggcache", "prepare", site.cache, *site.options]

    def prepared() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", site.python, *words],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(checkout)}, cwd="/", capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    result = prepared()
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    file = site.cache / "Two-1.0-py3.11.egg-tmp" / "two" / "data.txt"
    then = file.stat()
    file.write_text(file.read_text().replace("two", "owt"))
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    result = prepared()
    assert result.returncode == 3
    assert f"{file}: it has the size and the time of the egg's, but other bytes" in result.stderr
    assert "[member-changed]" in result.stderr
