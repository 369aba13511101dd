"""strace's tampering as a harness: record what a run does to some directories, then run it again with faults in it.

A run is recorded once; each call in it that changes something below the directories is known by its name and by its
number among the calls of that name in its process, which is what strace's `when=` counts. Faults are put into
eggcache's own process, or, with `everywhere`, into every process that comes to that number (the target, workers).
"""

from __future__ import annotations

import compileall
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support import ROOT
from support.judge import environment

LOG = "/dev/null"

# The system calls that change a directory or a file, and what each of them can fail with. "?": not on every machine.
ERRORS: dict[str, tuple[str, ...]] = {
    "mkdir": ("ENOSPC", "EDQUOT", "EROFS", "EIO"),
    "mkdirat": ("ENOSPC", "EDQUOT", "EROFS", "EIO"),
    "open": ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EINTR"),
    "openat": ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EINTR"),
    "write": ("ENOSPC", "EDQUOT", "EIO", "EINTR"),
    "fchown": ("EDQUOT", "EROFS", "EIO", "EINTR"),
    "fchmod": ("ENOSPC", "EROFS", "EIO", "EINTR"),
    "utimensat": ("EROFS", "EIO"),
    "rename": ("ENOSPC", "EDQUOT", "EROFS", "EIO"),
    "renameat": ("ENOSPC", "EDQUOT", "EROFS", "EIO"),
    "renameat2": ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EINTR"),
    "link": ("ENOSPC", "EDQUOT", "EROFS", "EIO"),
    "linkat": ("ENOSPC", "EDQUOT", "EROFS", "EIO"),
    "symlinkat": ("ENOSPC", "EDQUOT", "EROFS", "EIO"),
    "unlink": ("EROFS", "EIO"),
    "unlinkat": ("EROFS", "EIO"),
    "rmdir": ("EROFS", "EIO"),
    "ftruncate": ("EIO", "EINTR"),
    "fsync": ("ENOSPC", "EDQUOT", "EIO", "EINTR"),
    "fdatasync": ("ENOSPC", "EDQUOT", "EIO", "EINTR"),
    "syncfs": ("ENOSPC", "EDQUOT", "EIO", "EINTR"),
    "fremovexattr": ("EDQUOT", "EROFS", "EIO"),
    "fsetxattr": ("ENOSPC", "EDQUOT", "EROFS", "EIO"),
}
# What the message has to say, and the exit status. EINTR is either not noticed or said.
SAID = {
    "ENOSPC": (1, "No space left on device.*; make room there"),
    "EDQUOT": (1, "Disk quota exceeded.*; raise that user's quota, or make room there"),
    "EROFS": (1, "Read-only file system"),
    "EIO": (1, "Input/output error"),
    "EINTR": (1, "Interrupted system call"),
}
_TRACE = "trace=" + ",".join(f"?{name}" for name in ERRORS)
# A prepare leaves what it displaced for a second, for whoever reads there: in these runs nobody does
HURRIED = ("-e", "inject=clock_nanosleep:retval=0")
# Reads no egg before it is asked for: how many there is time for differs from run to run
UNHURRIED = (
    "import runpy; from eggcache.target import eggs_on_path as early; early._SECONDS = early._SECONDS_OF_ALL = -1; "
    "runpy.run_module('eggcache', run_name='__main__')"
)
# What two calls of one kind may differ in
_ALIKE = (
    (r"-[0-9a-f]{16}", "-"),  # the names of stages
    (r"\d+<", "<"),
    (r"(?<=\.eggcache-stage-)/[^>]*>", "/>"),
    (r'"(?:(\.[^"\\]*)|(?:[^"\\]|\\.)*)"(?:\.\.\.)?', r'"\1"'),  # content, and names that are not eggcache's own
    (r'(?<=""), \d+\) += \d+| = \d+.*', ""),  # sizes and descriptors
)


@dataclass(frozen=True)
class Call:
    """One system call of a recorded run; `number` counts the calls of this name in its process, from 1."""

    name: str
    number: int
    own: bool  # eggcache's own process, and no other that it started
    text: str
    alone: bool = False  # no other process makes as many calls of this name

    def __str__(self) -> str:
        return f"{self.name} {self.number}: {self.text}"

    @property
    def kind(self) -> str:
        """What it does, where, and with what result: the same for every file of an egg, and in every stage."""
        text = self.text
        for pattern, instead in _ALIKE:
            text = re.sub(pattern, instead, text)
        return f"{self.name} {text}"


def program(*arguments: str | Path) -> list[str]:
    """eggcache's command line. It reads no egg ahead of the target's answer: how many it reads is a question of time,
    and calls are known by their number."""
    return [sys.executable, "-c", UNHURRIED, *map(str, arguments)]


def traced(
    options: Sequence[str], command: Sequence[str], *, log: str = LOG, everywhere: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run `command` under strace, for which -f stands where it is `everywhere`."""
    return subprocess.run(
        ["strace", "-qq", *(["-f"] if everywhere else []), "-o", log, *options, *command],
        cwd=ROOT,
        env=environment({"PYTHONPATH": "", "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=_default_signals,
    )


def _default_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # tests that run in the background ignore SIGINT


def record(command: Sequence[str], places: Sequence[Path], *, options: Sequence[str] = ()) -> list[Call]:
    """Run `command` and return its calls that change something at or below `places`; it has to succeed.

    The byte code of eggcache is there before: a run that reads sources counts other calls.
    """
    compileall.compile_dir(ROOT / "eggcache", quiet=2)
    with tempfile.NamedTemporaryFile("r", errors="replace") as log:
        result = traced(["-y", "-s", "200", "-e", _TRACE, *options], command, log=log.name, everywhere=True)
        assert result.returncode == 0, result.stderr
        return list(_calls(log.read(), [str(place) for place in places]))


def _calls(log: str, places: Sequence[str]) -> Iterator[Call]:
    all_of = Counter(re.findall(r"^(\d+) +(\w+)\(", log, re.MULTILINE))
    counts: Counter[tuple[str, str]] = Counter()
    first = None
    for line in log.splitlines():
        match = re.match(r"(\d+) +(\w+)\((.*)", line)
        if not match:
            continue  # the rest of a call, a signal, an exit
        process, name, text = match.groups()
        first = first or process
        counts[process, name] += 1
        number = counts[process, name]
        if name in ("open", "openat") and not re.search("O_CREAT|O_TRUNC|O_WRONLY|O_RDWR", text):
            continue
        # A place, and no text that is written and speaks of it
        if any(re.search(rf'(?:<|(?<!\\)"){re.escape(place)}[>"/]|<{re.escape(os.path.dirname(place))}>, '
                         rf'"{re.escape(os.path.basename(place))}[".]', text) for place in places):  # fmt: skip
            most = max((count for (other, its), count in all_of.items() if other != process and its == name), default=0)
            yield Call(name, number, process == first, text, number > most)


def hurried(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run `command` without a fault."""
    return traced(["--seccomp-bpf", "-e", "trace=clock_nanosleep", *HURRIED], command, everywhere=True)


def inject(
    command: Sequence[str], call: Call, fault: str, *, options: Sequence[str] = (), onwards: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run `command` with `fault` ("signal=KILL", "error=EIO") at `call`; `onwards`, at all later ones of its name."""
    traces = f"trace={call.name}" + "".join(
        "," + option.split("=", 1)[1].split(":")[0] for option in options if option.startswith("inject=")
    )
    when = f"{call.number}{'+' if onwards else ''}"
    faults = ["-e", traces, *options, "-e", f"inject={call.name}:{fault}:when={when}"]
    if call.own and call.alone and fault.startswith("error="):
        # All other calls go on without strace, which is a third of the time; but it sends no signals then (strace 6.1)
        return traced(["--seccomp-bpf", *faults], command, everywhere=True)
    return traced(faults, command, everywhere=not call.own)


def check_said(status: int, said: str, error: str, where: str) -> None:
    """Assert that a run which met `error` said so in one line of its own, with the exit status for it."""
    expected, words = SAID[error]
    lines = said.splitlines()
    assert all(line.startswith("eggcache: ") and "report what it says" not in line for line in lines), (where, said)
    if status == 0 and (error == "EINTR" or ".aside-" in where):  # what is aside may go by another name
        return
    assert status == expected, (where, status, said)
    assert len([line for line in lines if re.search(words, line)]) == 1, (where, said)


def each_kind(calls: Sequence[Call]) -> list[Call]:
    """The first call of each kind."""
    return list({call.kind: call for call in reversed(calls)}.values())[::-1]


def spread(calls: Sequence[Call]) -> Iterator[tuple[Call, str]]:
    """Faults for `calls` so that every name meets each of its errors, at its first, its last, and calls in between."""
    for name in dict.fromkeys(call.name for call in calls):
        here = [call for call in calls if call.name == name]
        errors = ERRORS[name]
        for count, error in enumerate(errors):
            yield here[round(count * (len(here) - 1) / max(1, len(errors) - 1))], error


def taking_turns(calls: Sequence[Call]) -> Iterator[tuple[Call, str]]:
    """A fault for each kind of call: the errors that its name can meet take turns."""
    for number, call in enumerate(each_kind(calls)):
        yield call, ERRORS[call.name][number % len(ERRORS[call.name])]
