"""The target interpreter: run a script of ours inside it.

What runs there is somebody else's: `.pth` files and eggs are code. So it gets the environment that Apache would
give it, its words on stdout and stderr are only ever shown, and its answer is read as a stranger's: bounded in
size, in time and in depth.
"""

from __future__ import annotations

import contextlib
import json
import os
import pkgutil
import select
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eggcache import accounts, orphans
from eggcache.errors import EggcacheError, NotPermitted
from eggcache.interpreter import REMEDY
from eggcache.model import Account

LIMIT = 16 << 20  # bytes of an answer; the largest real one, a site with 1,000 distributions, is below one MiB
ITEMS = 500_000  # values in an answer; a site with 1,000 distributions has 30,000
KEPT = 64 << 10  # bytes of what it prints, the last ones
HANDSHAKE = b"eggcache\n"  # inside/answer.py sends it first: only a Python gets that far

# In front of a script goes what it calls
PARTS = {
    "probe.py": ("answer.py", "walk.py", "probe.py"),
    "compile.py": ("library.py", "answer.py", "compile.py"),
    "prove.py": ("answer.py", "walk.py", "prove.py", "probe.py"),  # it completes what probe.py answers
    "tags.py": ("answer.py", "walk.py", "tags.py", "probe.py"),  # likewise
}

# What Apache passes on, or what its wrapper sets. Not HOME: Apache's own start scripts clear it.
PASSED_ON = ("PATH", "LANG", "LANGUAGE", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH")


def run(
    executable: str,
    script_name: str,
    request: object,
    account: Account | None = None,
    *,
    timeout: float = 120.0,
    flags: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    meanwhile: Callable[[], object] | None = None,
    early: Callable[[object], None] | None = None,
) -> object:
    """What eggcache/inside/`script_name` answers to `request` inside the target, as `account` (None: as we are).

    `request` is made of None, booleans, numbers, strings, lists and dicts, and so is the answer. Strings of both
    are as `os.fsdecode` makes them: any path gets through. Nothing is written and nothing shows in a process list:
    the script and its request are the target's standard input, the answer comes on a pipe of its own. `variables`
    are added to its environment. `meanwhile` is called when the target has been given something to do, and then some
    ten times a second until it has answered. A script that answers twice is given `early`, which gets the first answer
    while the target is at work on the one to be returned; its time does not count for `timeout`, and what it raises
    ends the target.

    Raises NotPermitted where the account cannot run the target, and EggcacheError where it is no Python, says
    nothing within `timeout` seconds, or does not answer sensibly.
    """
    script = compose(script_name, request)
    talk = _Conversation(early=None if early is None else lambda row: early(_parsed(executable, row)))
    with orphans.ended(os.geteuid() if account is None else account.uid):
        _converse(talk, executable, script, account, timeout, tuple(flags), variables or {}, meanwhile)
    return _understand(executable, account, talk, timeout)


def compose(script_name: str, request: object) -> bytes:
    """The text of a script with its request in front: every Python from 2.4 on reads it the same."""
    parts = [f"REQUEST = {literal(request)}\n".encode("ascii")]
    for name in PARTS.get(script_name, ("answer.py", script_name)):
        text = pkgutil.get_data("eggcache", f"inside/{name}")
        if text is None:
            raise EggcacheError(
                f"inside/{name}", "it is missing from this installation of eggcache", "install it again"
            )
        parts.append(text)
    return b"".join(parts)


def literal(value: object) -> str:
    """A Python literal of `value` in ASCII, with one `\\xNN` for each byte of a string that is not plain.

    It is a str in Python 2 and in Python 3; inside/answer.py turns it into the path that it stands for.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        safe = {byte: chr(byte) for byte in range(0x20, 0x7F) if chr(byte) not in "\"'\\"}
        return '"' + "".join(safe.get(byte) or f"\\x{byte:02x}" for byte in os.fsencode(value)) + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} cannot be put into a request")


def environment() -> dict[str, str]:
    """What the target runs in: what Apache would give it, as far as our own environment tells."""
    kept = {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith("LC_")}
    # The working directory is "/", so that nothing is imported from where an administrator happens to be
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept, "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass
class _Conversation:
    """What came out of the target before it ended, or before we ended it."""

    answer: bytearray = field(default_factory=bytearray)
    printed: dict[int, bytearray] = field(default_factory=dict)  # by file descriptor: the end of each
    status: int | None = None  # None: it had to be ended
    flood: int = 0  # bytes printed
    early: Callable[[bytes], None] | None = None  # what to do with the first row of two, as soon as it is there
    first: bytes | None = None  # that row

    def take(self, data: bytes) -> float:
        """Add `data` to the answer; the seconds that it took to do something with the first row."""
        self.answer += data
        end = self.answer.find(b"\n", len(HANDSHAKE))
        if self.early is None or self.first is not None or end < 0 or not self.answer.startswith(HANDSHAKE):
            return 0.0
        self.first = bytes(self.answer[len(HANDSHAKE) : end])
        del self.answer[len(HANDSHAKE) : end + 1]
        started = time.monotonic()
        self.early(self.first)
        return time.monotonic() - started

    def last_words(self) -> str:
        """The last line on stderr, else on stdout, printable and short: it may hold anything."""
        for text in self.printed.values():
            lines = text.decode("utf-8", "replace").split("\n")
            for line in reversed(lines):
                shown = "".join(char if char.isprintable() else "?" for char in line.strip())
                if shown:
                    return shown[:200]
        return ""


def _converse(
    talk: _Conversation,
    executable: str,
    script: bytes,
    account: Account | None,
    timeout: float,
    flags: tuple[str, ...],
    variables: Mapping[str, str],
    meanwhile: Callable[[], object] | None,
) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as answers:
        try:
            process = _start(executable, writing, account, flags, variables)
        finally:
            os.close(writing)
        ended = False
        try:
            until = time.monotonic() + timeout
            script = _begin(process, script)
            ended = _listen(process, script, answers.fileno(), talk, until, meanwhile or (lambda: None))
        finally:
            # Its whole group, and before it is waited for: until then no other group can have got its number.
            # What a .pth file started and left behind goes too.
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
            if not ended:
                _outlive(answers.fileno())
            for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
                with contextlib.suppress(OSError):
                    pipe.close()
        talk.status = status if ended else None


def _outlive(answers: int) -> None:
    """Wait until nobody holds the answer's pipe: what the target started had it too, and until it is gone it may
    write. For a second at most, since a child in a session of its own is beyond reach."""
    deadline = time.monotonic() + 1.0
    while (left := deadline - time.monotonic()) > 0 and select.select([answers], [], [], left)[0]:
        if not os.read(answers, KEPT):
            return


def _start(
    executable: str, writing: int, account: Account | None, flags: tuple[str, ...], variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    become: dict[str, Any] = {}
    if account is not None and account.uid != os.geteuid():
        if os.geteuid() != 0:
            raise NotPermitted(executable, f"only root can run it as {account.name}", f"run eggcache as {account.name}")
        become = {"user": account.uid, "group": account.gid, "extra_groups": account.groups}
    try:
        return subprocess.Popen(
            [executable, *flags, "-", str(writing)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(writing,),
            cwd="/",
            env={**environment(), **variables},
            start_new_session=True,
            umask=0o077,
            **become,
        )
    except PermissionError as error:
        raise _in_the_way(executable, account) or _no_python(executable, str(error.strerror)) from None
    except OSError as error:
        raise _no_python(executable, str(error.strerror)) from None


def _begin(process: subprocess.Popen[bytes], script: bytes) -> bytes:
    """Put as much of the script into the pipe as there is room for: what is left of it."""
    if process.stdin is None:
        return script
    os.set_blocking(process.stdin.fileno(), False)
    with contextlib.suppress(OSError):  # it may have ended already
        return script[os.write(process.stdin.fileno(), script) :]
    return script


def _listen(
    process: subprocess.Popen[bytes],
    script: bytes,
    answers: int,
    talk: _Conversation,
    deadline: float,
    meanwhile: Callable[[], object],
) -> bool:
    """Feed the script and collect what comes until the process ends; False where it has to be ended.

    The end of the *process* counts, not that of its pipes: a child of a .pth file may keep them open for ever.
    """
    if process.stdin is None or process.stdout is None or process.stderr is None:
        return False
    writing, rest = process.stdin.fileno(), memoryview(script)
    talk.printed = {process.stderr.fileno(): bytearray(), process.stdout.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector:
        selector.register(writing, selectors.EVENT_WRITE)
        for reading in (*talk.printed, answers):
            selector.register(reading, selectors.EVENT_READ)
        for descriptor in (writing, *talk.printed, answers):
            os.set_blocking(descriptor, False)
        over = False
        while True:
            meanwhile()
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            ready = selector.select(0 if over else min(left, 0.1 if selector.get_map() else 0.002))
            if over and not ready:
                return True
            for key, _ in ready:
                try:
                    if key.fd == writing:
                        rest = rest[os.write(writing, rest[:KEPT]) :]
                        if not rest:
                            selector.unregister(writing)
                            process.stdin.close()
                        continue
                    data = os.read(key.fd, KEPT)
                except BlockingIOError:
                    continue
                except OSError:  # it has closed its standard input: it is not going to read the script
                    data = b""
                if not data:
                    selector.unregister(key.fd)
                elif key.fd == answers:
                    deadline += talk.take(data)
                    if len(talk.answer) > LIMIT:
                        return False
                else:
                    kept = talk.printed[key.fd]
                    kept += data
                    del kept[:-KEPT]
                    talk.flood += len(data)
                    if talk.flood > LIMIT:
                        return False
            over = over or os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _understand(executable: str, account: Account | None, talk: _Conversation, timeout: float) -> object:
    words = talk.last_words()
    if len(talk.answer) > LIMIT:
        raise EggcacheError(executable, f"is no Python to trust: its answer is longer than {LIMIT >> 20} MiB", REMEDY)
    head, answer = bytes(talk.answer[: len(HANDSHAKE)]), bytes(talk.answer[len(HANDSHAKE) :])
    if head != HANDSHAKE:
        if talk.flood > LIMIT:
            words = "it prints without end"
        elif talk.status is None:
            words = f"no answer within {timeout:g} s"
        elif not words:
            words = f"it ended with status {talk.status} and said nothing"
        raise _in_the_way(executable, account) or _no_python(executable, words, account)
    if talk.status is None:
        cause = "prints without end" if talk.flood > LIMIT else f"did not answer within {timeout:g} s"
        raise EggcacheError(executable, cause, "see what its .pth files and eggs do")
    if not answer.endswith(b"\n"):
        cause = f"ended before it answered: {words or f'status {talk.status}'}"
        raise EggcacheError(executable, cause, "see whether it starts by hand")
    return _parsed(executable, answer)


def _parsed(executable: str, answer: bytes) -> object:
    try:
        if sum(answer.count(byte) for byte in b",[{") > ITEMS:  # a few bytes of it can take hundreds in memory
            raise ValueError("more than any site has")
        return _from_bytes(json.loads(answer, parse_int=_number, parse_constant=_refuse))
    except (ValueError, RecursionError, MemoryError):  # UnicodeError is a ValueError
        raise EggcacheError(executable, "is no Python to trust: its answer makes no sense", REMEDY) from None


def _from_bytes(value: object) -> object:
    """The strings of an answer hold one character per byte; a ValueError where one holds anything else."""
    if isinstance(value, str):
        return os.fsdecode(value.encode("latin-1"))
    if isinstance(value, list):
        return [_from_bytes(item) for item in value]
    if isinstance(value, dict):
        return {_from_bytes(key): _from_bytes(item) for key, item in value.items()}
    return value


def _number(digits: str) -> int:
    if len(digits) > 20:  # int() takes quadratic time before Python 3.11, and 64 MiB of digits would take days
        raise ValueError("a number of more than 64 bits")
    return int(digits)


def _refuse(name: str) -> object:
    raise ValueError(name)


def _no_python(executable: str, words: str, account: Account | None = None) -> EggcacheError:
    for_whom = f" that user {account.name} can run" if account is not None and account.uid != os.geteuid() else ""
    return EggcacheError(executable, f"is no Python{for_whom}: {words}", REMEDY)


def _in_the_way(executable: str, account: Account | None) -> NotPermitted | None:
    """The error that names the directory which keeps `account` from the target; None where it can reach it.

    A virtual environment's python leads to another one, by a link or by the libraries it loads.
    """
    account = account or accounts.current()
    for path in (os.path.dirname(executable), os.path.realpath(executable), _base(executable)):
        with accounts.acting(account):
            reachable = path is None or os.access(path, os.X_OK, effective_ids=True)
        if path is not None and not reachable:
            cause = accounts.in_the_way(path, account).cause
            remedy = f"name Apache's Python with --python, or let {account.name} use this one"
            return NotPermitted(executable, cause, remedy)
    return None


def _base(executable: str) -> str | None:
    """The directory of the interpreter that a virtual environment was made from: `home` in its pyvenv.cfg (PEP 405)."""
    config = os.path.join(os.path.dirname(os.path.dirname(executable)), "pyvenv.cfg")
    try:
        # Somebody else's file, opened as root: nothing but a regular one, and only to say whom to blame
        with open(os.open(config, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            text = os.fsdecode(file.read(KEPT))
    except OSError:
        return None
    home = next((line.partition("=")[2] for line in text.splitlines() if line.partition("=")[0].strip() == "home"), "")
    return home.strip() if home.strip().startswith("/") and "\0" not in home else None
