"""Starting a script in the target, and ending it with every process that it has started.

`prepare` starts its first script before the rest of eggcache is loaded, so this module imports next to nothing.
"""

from __future__ import annotations

import errno
import os
import select
import shlex
import signal
import subprocess
import time
from contextlib import ExitStack, suppress

from eggcache.errors import EggcacheError, NotPermitted
from eggcache.system import accounts, files, orphan_processes, package_data, pipes
from eggcache.target import buildout, search_path
from eggcache.target.interpreter import REMEDY, REPORTED, Target

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from eggcache.system.accounts import Account
    from eggcache.target.interpreter import Roots

# In front of a script goes what it calls
_TREE = ("preamble.py", "installed.py", "walk.py")
_PROOF = ("write_denial.py", "imports.py", "lookups.py")
PARTS = {
    "probe.py": ("pipe.py", *_TREE, "probe.py"),
    "compile.py": ("standard_library.py", "pipe.py", "preamble.py", "compile.py"),
    "lookups.py": ("pipe.py", *_TREE, *_PROOF, "probe.py"),  # it completes what probe.py answers
    "turbogears_config.py": ("pipe.py", "preamble.py", "installed.py", "turbogears_config.py"),
    "wheel_tags.py": ("pipe.py", *_TREE, "wheel_tags.py", "probe.py"),  # likewise
    # No script for a Launch: a file that a person runs, see proof/archive_verifier.py
    "archive_verifier.py": ("terminal.py", *_TREE, "file_fault.py", *_PROOF, "archive_verifier.py", "probe.py"),
}

# For every target, those as well that take no "-", as the interpreter that zc.recipe.egg generates: it knows -c, -m and
# the name of a file. Without blanks, since wrappers in shell hand on $@ without quotes.
_BOOTSTRAP = 'exec(__import__("sys").stdin.read())'

# What Apache passes on, or what its wrapper sets. Not HOME: Apache's own start scripts clear it.
PASSED_ON = ("PATH", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH")
_COERCIONS = ("C.UTF-8", "C.utf8", "UTF-8")  # what a Python that is started in the C locale sets LC_CTYPE to (PEP 538)
_OUR_OWN = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)  # no fault of the program that is started

# Each byte in a literal
_SPELLINGS = [chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\"'\\" else f"\\x{byte:02x}" for byte in range(256)]


class OutOfReach(NotPermitted):
    """The account cannot run the target. That is not unsafe: an earlier cache still serves."""

    lenient = EggcacheError.status


class Launch:
    """A script that runs in the `target`, as its account, from the construction of this object to `end`.

    Root runs it as another user, who is then `account`, where others decide what the target loads: code_owners.runner.

    `process` is the first process, and its standard streams are pipes. `script` is the rest that is still to be written
    to its standard input, which is closed where there is none. Its answer arrives on `answers`. What changed since
    `start`, in nanoseconds since the epoch, the target may have read as it was before.

    :param variables: changes to the target's environment; None takes a variable out
    :raises NotPermitted: the account cannot run the target, or root would run others' code with -S
    :raises EggcacheError: the target is not a Python
    """

    def __init__(
        self,
        target: Target,
        script_name: str,
        request: object,
        *,
        flags: Sequence[str] = (),
        variables: Mapping[str, str | None] | None = None,
    ) -> None:
        script = compose(script_name, request)
        self.executable = target.python
        if flags:  # which a script has no use for
            self.executable = buildout.interpreter(target.python) or target.python
        self.account = target.account
        if os.geteuid() == 0 and self.account.uid == 0:
            self.account = _safe_account(target._replace(python=self.executable), flags)
        self.status: int | None = None
        self.start = time.time_ns()
        with ExitStack() as undo:
            undo.enter_context(orphan_processes.cleanup(self.account.uid))
            self.answers, writing = os.pipe()
            undo.callback(os.close, self.answers)
            try:
                self.process = _start(self.executable, writing, self.account, tuple(flags), variables or {})
            finally:
                os.close(writing)
            undo.callback(self._end)
            self.script = self._begin(script)
            self._undo = undo.pop_all()

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Kill the process, where it still runs, and all that it has started. `status` is then its exit status."""
        self._undo.close()

    def _end(self) -> None:
        # Its whole group, and before it is waited for: until then no other group can have got its number.
        # What a .pth file started and left behind goes too.
        complete = False
        try:
            complete = pipes.has_ended(self.process)
        finally:
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.status = self.process.wait()
        if not complete:
            _outlive(self.answers)
        for pipe in filter(None, (self.process.stdin, self.process.stdout, self.process.stderr)):
            with suppress(OSError):
                pipe.close()

    def _begin(self, script: bytes) -> bytes:
        """Write as much of the script as the pipe has room for, and close the pipe after the whole of it: a Python
        begins when its input ends. Returns the rest."""
        if self.process.stdin is None:
            return script
        os.set_blocking(self.process.stdin.fileno(), False)
        with suppress(OSError):  # it may have ended already
            script = script[os.write(self.process.stdin.fileno(), script) :]
        if not script:
            self.process.stdin.close()
        return script


def probe(target: Target, roots: Roots, *, related: bool = False) -> Launch:
    """The target, started with the question for the tree; see resolver.resolve.

    :param target: the Python to start
    :param roots: which distributions the tree is of
    :param related: True, of everything and strict: the answer also has the needs that are met, of each distribution
    """
    start = time.time_ns()  # the question has read files already
    launch = Launch(target, "probe.py", {"related": related, **question(target, roots)})
    launch.start = start
    return launch


def question(target: Target, roots: Roots) -> dict[str, object]:
    """The request for probe.py.

    :param target: the Python that is going to be asked
    :param roots: which distributions the tree is of
    :returns: values for `literal`, by the names that the script has for them
    """
    return {
        "requirements": list(roots.requirements),
        "paths": search_path.entries(map(os.path.abspath, target.paths)),
        "everything": roots.everything,
        "strict": roots.strict,
        "reported": list(REPORTED),
    }


def compose(script_name: str, request: object) -> bytes:
    """The text of a script with its request in front: every Python from 2.4 on reads it the same.

    :param script_name: a file of target/inside
    :param request: what the script reads as REQUEST, for `literal`
    """
    parts = [f"REQUEST = {literal(request)}\n".encode("ascii")]
    for name in PARTS.get(script_name, ("pipe.py", "preamble.py", script_name)):
        parts.append(package_data.read(f"target/inside/{name}"))
    return b"".join((*parts, b"\nleave()\n"))


def literal(value: object) -> str:
    """A Python literal of `value` in ASCII, with one `\\xNN` for each byte of a string that is not plain.

    It is a str in Python 2 and in Python 3; inside/preamble.py turns it into the path that it stands for.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        return '"' + "".join(map(_SPELLINGS.__getitem__, os.fsencode(value))) + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} cannot be put into a request")


def environment() -> dict[str, str]:
    """The environment of the target: Apache's, as far as our own tells."""
    variables = {name: value for name, value in os.environ.items() if name in PASSED_ON or of_locale(name)}
    if variables.get("LC_CTYPE") in _COERCIONS and not _is_initial("LC_CTYPE"):
        del variables["LC_CTYPE"]
    # The working directory is "/", so that nothing is imported from where an administrator happens to be
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **variables, "PYTHONDONTWRITEBYTECODE": "1"}


def of_locale(name: str) -> bool:
    """Whether an environment variable says in which locale a process runs: locale(7).

    :param name: the name of a variable
    """
    return name in ("LANG", "LANGUAGE") or name.startswith("LC_")


def _is_initial(name: str) -> bool:
    """Whether we were started with this variable: our own Python may have set it since."""
    return any(line.startswith(f"{name}=".encode()) for line in files.beginning("/proc/self/environ").split(b"\0"))


def _outlive(answers: int) -> None:
    """Wait until nobody holds the answer's pipe: what the target started had it too, and until it is gone it may
    write. For a second at most, since a child in a session of its own is beyond reach."""
    deadline = time.monotonic() + 1.0
    while (rest := deadline - time.monotonic()) > 0 and select.select([answers], [], [], rest)[0]:
        if not os.read(answers, pipes.PIECE):
            return


def _safe_account(target: Target, flags: Sequence[str]) -> Account:
    """The account that the target runs as in place of root; root's where it is safe."""
    from eggcache.target import code_owners

    if isinstance(target.account, code_owners.RootAlone):
        return target.account
    if "-S" in flags:
        code_owners.check_bare(target.python)
        return target.account
    return code_owners.runner(target.python, target.paths)


def _start(
    executable: str, writing: int, account: Account, flags: tuple[str, ...], variables: Mapping[str, str | None]
) -> subprocess.Popen[bytes]:
    become: dict[str, Any] = {}
    if account.uid != os.geteuid():
        if os.geteuid() != 0:
            raise NotPermitted(executable, f"only root can run it as {account.name}", f"run eggcache as {account.name}")
        with accounts.acting(account):
            pass  # or the error that names who root cannot become
        become = {"user": account.uid, "group": account.gid, "extra_groups": account.groups}
    try:
        return subprocess.Popen(
            [executable, *flags, "-c", _BOOTSTRAP, str(writing)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(writing,),
            cwd="/",
            env={name: value for name, value in {**environment(), **variables}.items() if value is not None},
            start_new_session=True,
            umask=0o077,
            **become,
        )
    except PermissionError as error:
        raise in_the_way(executable, account) or no_python(executable, str(error.strerror)) from None
    except OSError as error:
        if error.errno in _OUR_OWN:
            cause = f"cannot be started: {error.strerror}, a limit of this process (ulimit -a), or of the host"
            raise EggcacheError(executable, cause, "raise it, and run it again") from None
        raise no_python(executable, str(error.strerror)) from None


def no_python(executable: str, words: str, account: Account | None = None) -> EggcacheError:
    reach = f" that user {account.name} can run" if account is not None and account.uid != os.geteuid() else ""
    program = buildout.shebang(executable)
    if program is None:
        return EggcacheError(executable, f"is no Python{reach}: {words}", REMEDY)
    if buildout.interpreter(executable):
        cause = "is no Python, but a script of buildout's that has a list of eggs"
        options = shlex.join(["--python", program, "--path-from", executable])
        return EggcacheError(executable, cause, f"name both: {options}")
    if buildout.is_python(program):
        remedy = f"name the interpreter itself: --python {shlex.quote(program)}"
        return EggcacheError(executable, f"is no Python, but a script that {program} runs", remedy)
    return EggcacheError(executable, f"is no Python{reach}, but a script that {program} runs: {words}", REMEDY)


def home(executable: str) -> str | None:
    """The directory of the interpreter that a virtual environment was made from: `home` in its pyvenv.cfg (PEP 405).

    :param executable: the path of the virtual environment's Python
    :returns: an absolute path; None where there is no pyvenv.cfg, or none in it
    """
    lines = files.lines(os.path.join(os.path.dirname(os.path.dirname(executable)), "pyvenv.cfg"), flags=os.O_NOFOLLOW)
    directory = next(
        (value.strip() for key, _, value in (line.partition("=") for line in lines) if key.strip() == "home"), ""
    )
    return directory if directory.startswith("/") and "\0" not in directory else None


def _way(executable: str) -> list[str | None]:
    paths = [os.path.dirname(executable), os.path.realpath(executable), home(executable)]
    program = buildout.interpreter(executable)
    return paths + _way(program) if program else paths


def in_the_way(executable: str, account: Account) -> OutOfReach | None:
    """The error with the directory that keeps `account` from the target; None where the account can reach it.

    A virtual environment's python leads to another one, by a link or by the libraries that it loads; and a script leads
    to the Python that runs it.
    """
    for path in _way(executable):
        with accounts.acting(account):
            reachable = path is None or accounts.may(path, os.X_OK)
        if path is not None and not reachable:
            cause = accounts.in_the_way(path, account).cause
            remedy = f"name Apache's Python with --python, or let {account.words} use this one"
            return OutOfReach(executable, cause, remedy)
    return None
