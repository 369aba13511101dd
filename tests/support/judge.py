"""The judge: a target's own pkg_resources, run as another user, watched by strace for every attempt to write."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import ROOT, coverage

# "?": strace knows which of them this machine has.
_WRITING = (
    "creat,mkdir,mkdirat,rename,renameat,renameat2,chmod,fchmod,fchmodat,fchmodat2,unlink,unlinkat,rmdir,utime,utimes,"
    "utimensat,futimesat,truncate,ftruncate,link,linkat,symlink,symlinkat,mknod,mknodat,chown,fchown,lchown,fchownat"
)
_TRACE = "trace=open,openat," + ",".join("?" + call for call in _WRITING.split(","))

# Asks for every member and every directory of each egg, one by one, and says what came back.
_ASK = r"""
import os, sys, warnings, zipfile, zipimport
warnings.simplefilter("ignore")
import pkg_resources
sys.path[:] = [entry for entry in sys.path if entry]
request = eval(sys.stdin.read())
manager = pkg_resources.ResourceManager()
caught = []
warnings.showwarning = lambda message, category, *rest, **more: caught.append(str(message))
warnings.simplefilter("always", UserWarning)
seen = []
for egg, inside in request:
    names = [name for name in zipfile.ZipFile(egg).namelist() if name.startswith(inside)]
    names = [name[len(inside):] for name in names if not name.endswith("/")]
    directories = set()
    for name in names:
        parts = name.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            directories.add("/".join(parts[:count]))
    location = (egg + "/" + inside).rstrip("/")
    provider = pkg_resources.EggMetadata(zipimport.zipimporter(location))
    for kind, wanted in (("file", names), ("directory", sorted(directories))):
        for name in wanted:
            try:
                path = provider.get_resource_filename(manager, name)
                if kind == "file":
                    stream = open(path, "rb")
                    same = stream.read() == provider.get_resource_string(manager, name)
                    stream.close()
                else:
                    same = os.path.isdir(path)
                seen.append((egg, kind, name, path, same and "ok" or "differs"))
            except Exception:
                error = sys.exc_info()[1]
                seen.append((egg, kind, name, "", "%s: %s" % (type(error).__name__, error)))
os.write(1, repr((seen, caught)).encode("ascii", "backslashreplace"))
"""


# What takes longer than a second says so in a log, and how long it took: on a busy machine that is anything.
SLOW = re.compile(r"^eggcache: [^:\n]+: (?:[\d,]+ files in )?[\d.]+ s\n", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """What came back for one member or directory."""

    egg: str
    kind: str
    name: str
    path: str
    verdict: str  # "ok", "differs", or the exception


@dataclass(frozen=True)
class Verdict:
    """All answers, the warnings that pkg_resources gave, and every attempt to write that the kernel saw."""

    answers: list[Answer]
    warnings: list[str]
    attempts: list[str]


def environment(extra: Mapping[str, str] = {}) -> dict[str, str]:
    """What Apache's init script leaves of an environment, and `extra`."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C", **extra}


def watched(
    command: Sequence[str], account: pwd.struct_passwd | None, *, env: Mapping[str, str], text: str = ""
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run `command` as `account` under strace: how it ended, and its attempts to create, write or change anything."""
    with tempfile.NamedTemporaryFile("r", errors="replace") as log:
        strace = ["strace", "-f", "-qq", "-y", "-s", "300", "-o", log.name, "-e", _TRACE]
        if os.geteuid() == 0 and account is not None:
            strace += ["-u", account.pw_name]
        result = subprocess.run(
            [*strace, *command],
            env=dict(env),
            cwd="/",
            input=text,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return result, [line for line in log.read().splitlines() if _writes(line)]


def _writes(line: str) -> bool:
    call = re.match(r"(?:\[pid +)?\d+\]? +(\w+)\((.*)", line)
    if not call or "/dev/null" in line or "/dev/tty" in line:
        return False
    if call[1] in ("open", "openat"):
        return re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND", line) is not None
    return True


def judge(
    python: str | Path,
    cache: str | Path,
    eggs: Sequence[str | Path | tuple[str | Path, str]],
    account: pwd.struct_passwd | None = None,
    *,
    env: Mapping[str, str] = {},
    root: Path | None = None,
) -> Verdict:
    """Have the pkg_resources of `python`, as `account`, look up everything in `eggs` with `cache` as its egg cache.

    An egg is a path, or a path and the root of a basket's egg in it. With a `root` directory all of it is there, and
    Debian's www-data the account.
    """
    prefix = [] if root is None else ["/usr/sbin/chroot", "--userspec=33:33", str(root)]
    request = [(str(egg[0]), egg[1]) if isinstance(egg, tuple) else (str(egg), "") for egg in eggs]
    result, attempts = watched(
        [*prefix, str(python), "-B", "-c", _ASK],
        account,
        env=environment({"PYTHON_EGG_CACHE": str(cache), **env}),
        text=repr(request),
    )
    assert result.returncode == 0, result.stderr
    answers, warnings = eval(result.stdout)
    return Verdict([Answer(*answer) for answer in answers], warnings, attempts)


def served(verdict: Verdict, cache: str | Path, *, but: Sequence[str] = ()) -> int:
    """Assert that everything came from the cache with the right bytes and that nothing was attempted; how much it was.

    `but` names verdicts that are expected: "file PATTERN" or "directory PATTERN" of what a finding speaks of.
    """
    wrong = [
        answer
        for answer in verdict.answers
        if (answer.verdict != "ok" or not answer.path.startswith(f"{cache}/"))
        and not any(re.fullmatch(pattern, f"{answer.kind} {answer.name}") for pattern in but)
    ]
    assert wrong == []
    assert verdict.warnings == []
    assert verdict.attempts == []
    return len(verdict.answers)


def eggcache(
    *arguments: str | Path,
    env: Mapping[str, str] = {},
    user: str | None = None,
    python: str = sys.executable,
) -> subprocess.CompletedProcess[str]:
    """Run the program as a user would, in an environment of its own. Where coverage is measured, so is this run."""
    measured = coverage.RUN if python == sys.executable and user is None else []
    result = subprocess.run(
        [python, *measured, "-m", "eggcache", *map(str, arguments)],
        env=environment({"PYTHONPATH": "", "PYTHONWARNINGS": "error", **env}),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        user=user,
    )
    result.stderr = SLOW.sub("", result.stderr)
    return result


def as_json(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a command printed with --json."""
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def listing(directory: str | Path) -> dict[str, tuple[int, ...]]:
    """Everything that could change below `directory`, by name: to compare before and after."""
    entries = {}
    for top, _, files in os.walk(directory):
        for path in (top, *(os.path.join(top, name) for name in files)):
            info = os.lstat(path)
            entries[path] = (
                info.st_ino,
                info.st_mode,
                info.st_uid,
                info.st_gid,
                info.st_size,
                info.st_mtime_ns,
                info.st_ctime_ns,
            )
    return entries
