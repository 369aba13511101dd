"""A runtime user who may write to what the target loads tries to make root read, write, wait or remember for him."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import deployment
from support.judge import eggcache
from support.sites import Site, measured, write_egg

SECRET = "for root alone"


@dataclass
class Hostile:
    """A target whose site-packages are the runtime user's, who also has a directory of eggs on its path."""

    site: Site
    packages: Path
    loot: Path  # where what he gets hold of goes
    secret: Path  # a directory of root's with an egg in it, which only root can read

    def plant(self, code: str) -> None:
        """Have every run of the target run `code` before anything of ours."""
        names = f"LOOT, SECRET, CACHE = {str(self.loot)!r}, {str(self.secret)!r}, {str(self.site.cache)!r}\n"
        (self.packages / "evil.py").write_text("import os, sys, time\n" + names + code)
        (self.packages / "evil.pth").write_text("import evil\n")

    def commands(self) -> dict[str, list[str | Path]]:
        target = self.site.options[:-2]
        return {
            "tree": ["tree", "-q", *target],
            "prepare": ["prepare", "-q", self.site.cache, *self.site.options],
            "check": ["check", "-q", "--cache", self.site.cache, *self.site.options],
            "unzip-all": ["unzip-all", "-n", "-q", *self.site.unzipping],
        }

    def got(self) -> list[str]:
        """What of root's came to light: in the cache, or in the loot."""
        names = []
        for place in (self.site.cache, self.loot):
            for path in place.rglob("*"):
                if path.is_file() and SECRET.encode() in path.read_bytes():
                    names.append(str(path))
        return names


@pytest.fixture
def hostile(
    site: Site, plain: deployment.Deployment, copy_of: Callable[[deployment.Deployment], deployment.Deployment]
) -> Hostile:
    own = copy_of(plain)
    site.python = own.python
    top = site.eggs.parent
    loot, secret = top / "loot", top / "secret"
    loot.mkdir()
    loot.chmod(0o777)
    secret.mkdir(mode=0o700)
    write_egg(secret / "Secret-1.0-py3.11.egg", {"secret.txt": SECRET})
    (secret / "key").write_text(SECRET)
    for path in (own.site_packages, site.eggs, *site.eggs.iterdir()):
        os.chown(path, site.account.pw_uid, site.account.pw_gid)
    return Hostile(site, own.site_packages, loot, secret)


# Every attempt leaves its name and how it ended. The child leaves its session, and goes on for as long as it lives.
TRIES = """
import ctypes
def attempt(name, call, *arguments):
    try:
        outcome = call(*arguments)
    except Exception as error:
        outcome = type(error).__name__
    with open(LOOT + "/log", "a") as log:
        log.write("%s: %s\\n" % (name, outcome))
def copy(path):
    data = open(path, "rb").read()
    open(LOOT + "/copy%d" % time.time(), "wb").write(data)
    return "worked"
def write(path):
    open(path, "w").write("x")
    return "worked"
libc = ctypes.CDLL(None, use_errno=True)
def trace(pid):
    return "worked" if libc.ptrace(16, pid, 0, 0) == 0 else "refused"
root = os.getppid()
attempt("uid", lambda: os.getresuid())
attempt("read key", copy, SECRET + "/key")
attempt("read egg", copy, SECRET + "/Secret-1.0-py3.11.egg")
attempt("read shadow", copy, "/etc/shadow")
attempt("write cache", write, CACHE + "/planted")
attempt("write lock", write, CACHE + "/.eggcache.lock")
attempt("mkdir", os.mkdir, CACHE + "/Evil-1.0-py3.11.egg-tmp")
attempt("rename", os.rename, CACHE, LOOT + "/cache")
attempt("chmod", os.chmod, CACHE, 0o777)
if os.stat("/proc/%d" % root).st_uid == 0:
    attempt("kill", lambda: os.kill(root, 9) or "worked")
    attempt("trace", trace, root)
    attempt("memory", lambda: open("/proc/%d/mem" % root, "r+b") and "worked")
    attempt("descriptors", lambda: os.listdir("/proc/%d/fd" % root) and "worked")
    attempt("setuid", lambda: os.setuid(0) or "worked")
if not os.fork():
    os.setsid()
    libc.prctl(4, 0, 0, 0, 0)
    if not os.fork():
        with open(LOOT + "/pids", "a") as pids:
            pids.write("%d " % os.getpid())
        for descriptor in range(3, 256):
            try:
                os.close(descriptor)
            except OSError:
                pass
        until = time.time() + 60
        while time.time() < until:
            for name in ("planted", "One-1.0-py3.11.egg-tmp/planted"):
                try:
                    write(CACHE + "/" + name)
                except OSError:
                    pass
    os._exit(0)
time.sleep(0.2)
"""


@pytest.mark.parametrize("command", ["tree", "prepare", "check", "unzip-all"])
def test_hostile_pth_file_gets_nowhere(hostile: Hostile, command: str) -> None:
    """A .pth file that reads root's files, writes to the cache, kills and traces root's process gets nowhere, and what
    it leaves behind, in a session of its own, is ended with it."""
    assert hostile.site.prepare().returncode == 0
    hostile.plant(TRIES)
    result = eggcache(*hostile.commands()[command])
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    log = (hostile.loot / "log").read_text()
    assert "read key: PermissionError" in log
    assert "write cache: PermissionError" in log
    assert ("kill: PermissionError" in log) == (command != "unzip-all")  # whose parent is not root's
    assert "worked" not in log
    assert f"uid: ({hostile.site.account.pw_uid}, " in log
    assert hostile.got() == []
    assert hostile.site.wrong() == []
    pids = (hostile.loot / "pids").read_text().split()
    assert pids
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []


@pytest.mark.parametrize("kind", ["symlink", "hard link"])
def test_link_to_a_zip_of_roots_is_not_copied(hostile: Hostile, kind: str) -> None:
    """An egg that is a link to a zip that only root may read is named and not copied, by any command."""
    link, egg = hostile.site.eggs / "Secret-1.0-py3.11.egg", hostile.secret / "Secret-1.0-py3.11.egg"
    if kind == "symlink":
        link.symlink_to(egg)
    else:
        egg.chmod(0o600)
        os.link(egg, link)
    for command, words in hostile.commands().items():
        result = eggcache(*words)
        assert "Traceback" not in result.stderr
        assert hostile.got() == [], command
        if command == "prepare":
            assert result.returncode == 4
            assert str(link) in result.stderr
            assert "nobody cannot use it" in result.stderr
    assert not list(hostile.site.cache.glob("Secret*"))


FORGED = """
def forge(answer):
    data = b"eggcache\\n" + answer + b"\\n"
    descriptor = int(open("/proc/self/cmdline").read().split("\\0")[-2])
    try:
        while data:
            data = data[os.write(descriptor, data[:65536]):]
    finally:
        os._exit(0)
"""


def forged(hostile: Hostile, egg: Path, **more: object) -> str:
    """Code that answers, in place of our script, that the one distribution is `egg`."""
    row = {"project": "Secret", "version": "1", "location": str(egg), "kind": "zipped egg", "extras": [],
           "active": True, "egg": str(egg), "inside": "", "cache_name": egg.name}  # fmt: skip
    answer = {
        "version": [3, 11, 9], "prefix": "/usr", "path": [str(egg.parent)], "added": [], "pth": [], "site": [],
        "projects": [], "pkg_resources": None, "setuptools": None, "broken": "", "read": [], "bad": [], "outside": [],
        "distributions": [row], "needs": [], "evidence": {"lookups": [], "default": None}, "imports": [], **more,
    }  # fmt: skip
    return FORGED + f"forge({json.dumps(answer).encode()!r})\n"


@pytest.mark.parametrize("command", ["prepare", "check", "tree", "unzip-all"])
def test_zip_that_a_forged_answer_names_is_opened_with_the_users_rights(hostile: Hostile, command: str) -> None:
    """An answer that names a zip of root's is taken for what it is worth: root opens it with the user's rights."""
    egg = hostile.secret / "Secret-1.0-py3.11.egg"
    hostile.plant(forged(hostile, egg))
    result = eggcache(*hostile.commands()[command])
    assert hostile.got() == []
    assert not list(hostile.site.cache.glob("Secret*"))
    assert egg.is_file()
    if command == "prepare":
        assert result.returncode == 4
        assert f"{egg}: user nobody cannot use it: {hostile.secret} is root's, mode 0700" in result.stderr


GIGABYTE = """
descriptor = int(open("/proc/self/cmdline").read().split("\\0")[-2])
os.write(descriptor, b"eggcache\\n" + BEGIN)
for _ in range(1024):
    os.write(descriptor, PIECE * (1048576 // len(PIECE)))
os.write(descriptor, END + b"\\n")
os._exit(0)
"""


@pytest.mark.parametrize("command", ["prepare", "check", "tree", "unzip-all"])
@pytest.mark.parametrize("piece", ["text", "lists"])
def test_answer_of_a_gigabyte(hostile: Hostile, command: str, piece: str) -> None:
    """An answer of 1 GB, or the dearest one that is short enough to be read, costs some megabytes, and is an error."""
    assert hostile.site.prepare().returncode == 0
    words = [str(word) for word in hostile.commands()[command]]
    usual = measured(words)[1]
    if piece == "text":
        hostile.plant("BEGIN, PIECE, END = b'[\"', b'x', b'\"]'\n" + GIGABYTE)
    else:
        hostile.plant("BEGIN, PIECE, END = b'[{}', b',{\"\":{}}', b']'\n" + GIGABYTE.replace("1024", "15"))
    (hostile.site.eggs / "One-1.0-py3.11.egg").touch()
    started = time.monotonic()
    result, size = measured(words)
    assert time.monotonic() - started < 60
    assert result.returncode in (1, 4), result.stderr
    assert "is no Python to trust: its answer" in result.stderr
    assert size - usual < 64 << 10, (usual, size)


@pytest.mark.parametrize("command", ["prepare", "check", "tree", "unzip-all"])
@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("while True: time.sleep(1)\n", "no answer within 2 s"),
        ("while True: print('x' * 1000)\n", "it prints without end"),
        ("os.close(0)\nwhile True: pass\n", "no answer within 2 s"),
    ],
    ids=["silent", "printing", "deaf"],
)
def test_answer_that_never_comes(hostile: Hostile, command: str, code: str, says: str) -> None:
    """A target that never answers is ended when its time, shortened here, is over, and the message says so."""
    hostile.plant(code)
    words = [str(word) for word in hostile.commands()[command]]
    started = time.monotonic()
    result, _ = measured(
        words, "from eggcache.target import script_run as target; target.run.__kwdefaults__['timeout'] = 2.0"
    )
    assert time.monotonic() - started < 40
    assert result.returncode in (1, 4)
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
