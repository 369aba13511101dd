"""Reading the pipes of a process that eggcache has started, within bounds of time and size."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping

PIECE = 64 << 10  # bytes that are read or written at once: what a pipe holds


def listen(
    process: subprocess.Popen[bytes],
    takers: Mapping[int, Callable[[bytes], bool]],
    seconds: float,
    *,
    feed: bytes = b"",
    tick: Callable[[], object] = lambda: None,
) -> bool:
    """Hand the bytes that arrive on each descriptor to its taker, until the process ends.

    The end of the *process* counts, not that of its pipes: a process that left its session may keep them open for ever.

    :param process: the process, which eggcache has started
    :param takers: for each descriptor, what gets its bytes; a taker returns False where it has too much
    :param seconds: how long to wait for the process, without the time that takers and `tick` use
    :param feed: what is written to the standard input of the process, which is then closed
    :param tick: called about ten times a second, and, as long as the process runs, again at once where it returns True:
        it has more to do
    :returns: False where the process has to be ended: the time is over, or a taker returned False
    :raises Exception: what `tick` and takers raise
    """
    rest, is_over = memoryview(feed), False
    with selectors.DefaultSelector() as selector:
        if rest and process.stdin is not None:
            selector.register(process.stdin, selectors.EVENT_WRITE)
        for descriptor in takers:
            selector.register(descriptor, selectors.EVENT_READ)
            os.set_blocking(descriptor, False)
        while True:
            has_more = not is_over and tick() is True
            began = time.monotonic()
            events = selector.select(0 if is_over or has_more else min(seconds, 0.1 if selector.get_map() else 0.002))
            seconds -= time.monotonic() - began
            if is_over and not events:
                return True
            for key, _ in events:
                try:
                    if key.fd not in takers:
                        rest = rest[os.write(key.fd, rest[:PIECE]) :]
                        if not rest and process.stdin is not None:
                            selector.unregister(process.stdin)
                            process.stdin.close()
                        continue
                    data = os.read(key.fd, PIECE)
                except BlockingIOError:
                    continue
                except OSError:  # it has closed its standard input: it is not going to read on
                    data = b""
                if not data:
                    selector.unregister(key.fileobj)
                elif not takers[key.fd](data):
                    return False
            is_over = is_over or has_ended(process)
            if not is_over and seconds <= 0:
                return False


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended. It is not reaped, so that no other process or group can get its number.

    :param process: the process, which eggcache has started
    """
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
