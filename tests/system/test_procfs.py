"""procfs: no process of another user's makes eggcache wait, whatever it does with its memory."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.judge import eggcache, environment
from support.parts import missing
from support.sites import Site

import eggcache as package
from eggcache.servers import affected_processes
from eggcache.system import procfs

# A file system that answers everything but a write, and a process of nobody's whose memory is shut while it waits for
# one: mmap(2) closes the mapping of the changed file that it puts another in the place of, with the lock of all memory.
SHUT = r"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
where, fd = sys.argv[1], os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % fd
assert libc.mount(b"shut", where.encode(), b"fuse", 0, options) == 0, os.strerror(ctypes.get_errno())

def attributes(node):
    mode = 0o40755 if node == 1 else 0o100666
    return struct.pack("=6Q10I", node, 4096, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

def serve():
    while True:
        length, what, unique, node = struct.unpack_from("=IIQQ", data := os.read(fd, 1 << 20))
        answers = {
            26: struct.pack("=4I2H2I2H6I", 7, 31, 1 << 16, 0, 12, 9, 1 << 16, 1, 1, 0, *[0] * 6),  # INIT
            1: struct.pack("=4Q2I", 2, 0, 100, 100, 0, 0) + attributes(2),  # LOOKUP
            3: struct.pack("=QII", 100, 0, 0) + attributes(node),  # GETATTR
            4: struct.pack("=QII", 100, 0, 0) + attributes(node),  # SETATTR
            14: struct.pack("=QII", 7, 0, 0),  # OPEN
            15: bytes(4096),  # READ
            25: b"", 18: b"",  # FLUSH, RELEASE
        }
        if what not in (2, 16):  # FORGET has no answer, and WRITE gets none
            body = answers.get(what, b"")
            os.write(fd, struct.pack("=IiQ", 16 + len(body), 0 if what in answers else -38, unique) + body)

if not os.fork():
    serve()
os.close(fd)
os.setgroups([]), os.setgid(65534), os.setuid(65534)
file = os.open(where + "/file", os.O_RDWR)
at = libc.mmap(None, 4096, 3, 1, file, 0)
ctypes.c_char.from_address(at).value = b"x"
print("ready", flush=True)
libc.mmap(at, 4096, 3, 0x32, -1, 0)
"""


@pytest.fixture
def shut(shared_tmp: Path, site: Site) -> Iterator[int]:
    """A process that has the cache of `site` in its environment, and lets nobody look there."""
    if not os.access("/dev/fuse", os.W_OK):
        missing("there is no FUSE")
    where = shared_tmp / "shut"
    where.mkdir()
    env = environment({"PYTHON_EGG_CACHE": str(site.cache)})
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", SHUT, where], env=env, cwd="/", stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the server of the file system with it, which lets all others go
            subprocess.run(["umount", "-l", where], check=True)


def test_memory_that_is_shut(site: Site, shut: int) -> None:
    """A process whose environment, command line and maps cannot be read makes no command wait: it is named as one of
    which nothing is known, and the others are told of. What is left behind holds no lock and no stream of ours."""
    reader = subprocess.Popen(["cat", f"/proc/{shut}/environ"], stdout=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        reader.wait(1)
    reader.kill()
    reader.wait()
    assert site.prepare().returncode == 0
    env = environment({"PYTHON_EGG_CACHE": str(site.cache)})
    with subprocess.Popen(["/bin/sleep", "600"], env=env) as open_to_all:
        time.sleep(0.2)
        result = eggcache("remove", site.cache)
        open_to_all.kill()
    assert result.returncode == 0
    assert not site.cache.exists()
    assert f"sleep (process {open_to_all.pid}) has it as its egg cache: restart it without" in result.stderr
    assert f"process {shut}: whether it has it as its egg cache could not be read" in result.stderr
    silent: list[int] = []
    pids = [shut, os.getpid()]
    for question in (procfs.environment, procfs.command):
        assert [pid for pid, _ in procfs.ask(pids, question, silent)] == [os.getpid()]
    assert silent == [shut, shut]
    assert affected_processes.users(str(site.python), [str(site.eggs)]).hidden


def test_one_reader_of_others() -> None:
    """What can keep its reader waiting is opened in this module alone, but for what a process reads of itself."""
    for file in Path(package.__file__).parent.rglob("*.py"):
        for name in ("environ", "cmdline", "maps", "smaps", "mem", "auxv"):
            text = file.read_text().replace("/proc/self/", "")
            assert (f'/{name}"' in text) <= (file.stem == "procfs"), (file, name)


def test_question_that_fails(nobody: pwd.struct_passwd) -> None:
    """A process that is gone is left out; one at which the question itself breaks is told as silent, and the next ones
    are asked all the same."""
    silent: list[int] = []

    def question(pid: int) -> int:
        if pid == 2:
            raise ValueError
        if pid == 3:
            raise ProcessLookupError
        return pid * 2

    assert list(procfs.ask([1, 2, 3, 4], question, silent)) == [(1, 2), (4, 8)]
    assert silent == [2]
