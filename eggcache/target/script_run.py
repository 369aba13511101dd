"""A script in the target, from its start to its answer.

`.pth` files and eggs run there as well, and they are other people's code. So the target gets the environment that
Apache would give it, its output is only shown, and its answer is bounded in size, time and depth.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from eggcache.errors import EggcacheError, one_line
from eggcache.system import pipes
from eggcache.system.accounts import Account
from eggcache.target import launch
from eggcache.target.interpreter import REMEDY
from eggcache.target.launch import Launch

_TAIL = 64 << 10  # bytes of what it prints, the last ones
LIMIT = 16 << 20  # bytes of an answer; the largest real one, a site with 1,000 distributions, is below one MiB
ITEMS = 500_000  # values in an answer; a site with 1,000 distributions has 30,000
HANDSHAKE = b"eggcache\n"  # inside/preamble.py sends it first: only a Python gets that far


def run(
    launched: Launch,
    *,
    timeout: float = 120.0,
    meanwhile: Callable[[], object] | None = None,
    early: Callable[[object], None] | None = None,
) -> object:
    """The answer of the `launched` script to its request; the target has then ended.

    Request and answer are made of None, booleans, numbers, strings, lists and dicts. Their strings are as `os.fsdecode`
    makes them: any path gets through. The script and its request are the target's standard input, and the answer has a
    pipe of its own: no file is written, and a list of processes shows nothing.

    :param launched: the script, just started
    :param timeout: seconds until the target is ended, without the time that `early` takes
    :param meanwhile: called about ten times a second while the target is at work
    :param early: called with the first answer of a script that answers twice, while the script is at work on the
        second, which is returned; an exception of it ends the target
    :returns: the answer; of a script that answers twice, the second one
    :raises NotPermitted: the account cannot run the target
    :raises EggcacheError: the target is not a Python, or gives no sensible answer within `timeout`
    """
    executable = launched.executable
    talk = _Conversation(early=None if early is None else lambda row: early(_value(executable, row)))
    with launched:
        process, takers = launched.process, {launched.answers: talk.take}
        for stream in filter(None, (process.stderr, process.stdout)):
            takers[stream.fileno()] = partial(talk.keep, talk.output.setdefault(stream.fileno(), bytearray()))
        tick = meanwhile or (lambda: None)
        complete = pipes.listen(process, takers, timeout, feed=launched.script, tick=tick)
    talk.status = launched.status if complete else None
    return _understand(executable, launched.account, talk, timeout)


@dataclass
class _Conversation:
    """The output of the target."""

    answer: bytearray = field(default_factory=bytearray)
    output: dict[int, bytearray] = field(default_factory=dict)  # by file descriptor: the end of each
    status: int | None = None  # None: it had to be ended
    flood: int = 0  # bytes printed
    early: Callable[[bytes], None] | None = None  # what to do with the first row of two, as soon as it is there
    first_row: bytes | None = None  # that row

    def take(self, data: bytes) -> bool:
        """Add `data` to the answer; hand on its first row as soon as it is whole."""
        self.answer += data
        end = self.answer.find(b"\n", len(HANDSHAKE))
        if self.early is not None and self.first_row is None and end >= 0 and self.answer.startswith(HANDSHAKE):
            self.first_row = bytes(self.answer[len(HANDSHAKE) : end])
            del self.answer[len(HANDSHAKE) : end + 1]
            self.early(self.first_row)
        return len(self.answer) <= LIMIT

    def keep(self, tail: bytearray, data: bytes) -> bool:
        """Add `data` to the output, of which the end is kept."""
        tail += data
        del tail[:-_TAIL]
        self.flood += len(data)
        return self.flood <= LIMIT

    def words(self, *, python: bool) -> str:
        """The line of stderr, else of stdout, that has the cause, printable and short.

        For a Python: why it could not start, or its last exception; else its last line. Other programs say first what
        is wrong, and then how they are used: so their first line.
        """
        for text in self.output.values():
            lines = [line for line in text.decode("utf-8", "replace").split("\n") if line.strip()]
            if lines:
                cause = _telling(lines) or lines[-1 if python else 0]
                return one_line(cause.strip())[:200]
        return ""


def _telling(lines: list[str]) -> str | None:
    """The line of a Python's messages that has the cause; None where the messages are not a Python's."""
    fatal = next((line for line in lines if line.startswith("Fatal Python error")), None)
    traces = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if fatal or not traces:
        return fatal
    return next((line for line in lines[traces[-1] + 1 :] if not line.startswith(" ")), None)


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
            words = f"it ended with status {talk.status} and printed nothing"
        raise launch.in_the_way(executable, account) or launch.no_python(executable, words, account)
    if talk.status is None:
        cause = "prints without end" if talk.flood > LIMIT else f"did not answer within {timeout:g} s"
        raise EggcacheError(executable, cause, "see what its .pth files and eggs do")
    if not answer.endswith(b"\n"):
        cause = f"ended before it answered: {words or f'status {talk.status}'}"
        raise EggcacheError(executable, cause, "see whether it starts by hand")
    return _value(executable, answer)


def _value(executable: str, answer: bytes) -> object:
    try:
        if sum(answer.count(byte) for byte in b",[{") > ITEMS:  # a few bytes of it can take hundreds in memory
            raise ValueError("more than any site has")
        said = json.loads(answer, parse_int=_number, parse_constant=_refuse)
        return said if answer.isascii() and b"\\" not in answer else _from_bytes(said)  # plain: the bytes are the text
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
