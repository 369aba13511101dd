"""A script in the target, from its start to its answer.

`.pth` files and eggs run there as well, and they are somebody else's code. So the target gets the environment that
Apache would give it, its output is only shown, and its answer is bounded in size, in time and in depth.
"""

from __future__ import annotations

import json
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from eggcache.errors import EggcacheError, one_line
from eggcache.system.accounts import Account
from eggcache.target import launch
from eggcache.target.interpreter import REMEDY
from eggcache.target.launch import KEPT, Launch

LIMIT = 16 << 20  # bytes of an answer; the largest real one, a site with 1,000 distributions, is below one MiB
ITEMS = 500_000  # values in an answer; a site with 1,000 distributions has 30,000
HANDSHAKE = b"eggcache\n"  # inside/answer.py sends it first: only a Python gets that far


def run(
    launched: Launch,
    *,
    timeout: float = 120.0,
    meanwhile: Callable[[], object] | None = None,
    early: Callable[[object], None] | None = None,
) -> object:
    """What the script that is `launched` answers to its request, inside the target; the target has ended then.

    The request is made of None, booleans, numbers, strings, lists and dicts, and so is the answer. Strings of both
    are as `os.fsdecode` makes them: any path gets through. Nothing is written and nothing shows in a process list:
    the script and its request are the target's standard input, the answer comes on a pipe of its own. `meanwhile` is
    called when the target has been given something to do, and then some ten times a second until it has answered. A
    script that answers twice is given `early`, which gets the first answer while the target is at work on the one to be
    returned; its time does not count for `timeout`, and what it raises ends the target.

    Raises NotPermitted where the account cannot run the target, and EggcacheError where it is no Python, says
    nothing within `timeout` seconds, or does not answer sensibly.
    """
    executable, ended = launched.executable, False
    talk = _Conversation(early=None if early is None else lambda row: early(_parsed(executable, row)))
    with launched:
        ended = _listen(launched, talk, time.monotonic() + timeout, meanwhile or (lambda: None))
    talk.status = launched.status if ended else None
    return _understand(executable, launched.account, talk, timeout)


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

    def words(self, *, python: bool) -> str:
        """The line on stderr, else on stdout, that has the cause, printable and short: it may hold anything.

        Of a Python, what it could not do when it started, or its last exception; else, as of any program that has ended
        early, its last line. Other programs say first what is wrong, and then how to use them.
        """
        for text in self.printed.values():
            lines = [line for line in text.decode("utf-8", "replace").split("\n") if line.strip()]
            if lines:
                chosen = _telling(lines) or lines[-1 if python else 0]
                return one_line(chosen.strip())[:200]
        return ""


def _telling(lines: list[str]) -> str | None:
    """The line of a Python's messages that has the cause; None where they are not a Python's."""
    fatal = next((line for line in lines if line.startswith("Fatal Python error")), None)
    traces = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if fatal or not traces:
        return fatal
    return next((line for line in lines[traces[-1] + 1 :] if not line.startswith(" ")), None)


def _listen(launched: Launch, talk: _Conversation, deadline: float, meanwhile: Callable[[], object]) -> bool:
    """Feed the script and collect what comes until the process ends; False where it has to be ended.

    The end of the *process* counts, not that of its pipes: a child of a .pth file may keep them open for ever.
    """
    process, answers = launched.process, launched.answers
    if process.stdin is None or process.stdout is None or process.stderr is None:
        return False
    writing, rest = -1 if process.stdin.closed else process.stdin.fileno(), memoryview(launched.script)
    talk.printed = {process.stderr.fileno(): bytearray(), process.stdout.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector:
        if rest:
            selector.register(writing, selectors.EVENT_WRITE)
        for reading in (*talk.printed, answers):
            selector.register(reading, selectors.EVENT_READ)
            os.set_blocking(reading, False)
        over = False
        while True:
            began = time.monotonic()
            meanwhile()
            deadline += time.monotonic() - began
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
            over = over or launched.ended()


def _understand(executable: str, account: Account, talk: _Conversation, timeout: float) -> object:
    words = talk.words(python=talk.answer.startswith(HANDSHAKE))
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
        raise launch.in_the_way(executable, account) or launch.no_python(executable, words, account)
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
