"""What this host's Apache is: who it runs as, what starts it, and what systemd makes of /tmp for it.

Apache's own answer comes first (`-t -D DUMP_RUN_CFG`); where its configuration cannot be read just now, what
the packaging is known to set stands in. Nothing here fails: what cannot be found out is None.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from eggcache.model import Finding

# Where Apache is when PATH, as cron or a boot script leaves it, does not say so; the last one is upstream's default.
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/apache2/bin"
_NAMES = ("apache2ctl", "apachectl", "httpd")  # Debian, upstream and RHEL, an httpd without its script
_UNITS = ("apache2.service", "httpd.service")  # Debian and SUSE, RHEL
_UNIT_PATH = (  # systemd.unit(5), highest priority first
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_TIMEOUT = 10.0  # seconds; Apache answers in 0.05, and waits for DNS where a ServerName does not resolve
_LARGEST = 1 << 20  # more than any file read here: a longer one is cut off
_LONGEST = 16 << 20  # bytes of an answer; a configuration with 10,000 virtual hosts takes about four MiB


@dataclass(frozen=True)
class Apache:
    """This host's Apache. Every field is None or False where there is no Apache, or where it could not be told."""

    apachectl: str | None = None  # absolute; apache2ctl on Debian
    user: str | None = None  # a name, or a number where Apache is configured with one (`User #33`)
    group: str | None = None
    pid_file: str | None = None
    systemd: bool = False  # systemd runs here
    unit: str | None = None  # the name of Apache's unit: apache2.service
    private_tmp: bool = False  # systemd runs here and gives that unit its own /tmp and /var/tmp
    hands_over: bool = False  # where systemd runs, `apachectl start` is done by systemctl, without our environment
    bound: tuple[str, ...] = ()  # directories of the host that the unit sees in spite of that


def read(*, search: str | None = None, root: str = "/") -> Apache:
    """This host's Apache, in about 50 ms, or after a timeout of 10 s where Apache does not answer.

    `search` is a list of directories like PATH, which it defaults to; `root` is where files of the packaging,
    of systemd and `/run` are looked up. Raises nothing: see the class.
    """
    program = _find(f"{os.environ.get('PATH', '')}:{_SEARCH}" if search is None else search)
    if program is None:
        return Apache()
    apache = _configured(ask([program, "-t", "-D", "DUMP_RUN_CFG"]).output)
    usual = _usual(root)
    systemd = os.path.isdir(os.path.join(root, "run/systemd/system"))
    unit, private_tmp, bound = _unit(root)
    return replace(
        apache,
        apachectl=None if os.path.basename(program) == "httpd" else program,
        user=apache.user or usual.user,
        group=apache.group or usual.group,
        pid_file=apache.pid_file or usual.pid_file,
        systemd=systemd,
        unit=unit,
        private_tmp=systemd and private_tmp,
        bound=bound,
        hands_over=hands_over(program),
    )


def in_tmp(directory: str) -> str | None:
    """Which of the directories that PrivateTmp hides this one is below; None: it is not, so nobody need ask."""
    real = os.path.realpath(directory)
    return next((top for top in ("/tmp", "/var/tmp") if real == top or real.startswith(top + "/")), None)  # noqa: S108


def hides(apache: Apache, directory: str) -> Finding | None:
    """The finding that Apache will not see `directory`, since systemd gives it a /tmp of its own; None if it will.

    systemd.exec(5), PrivateTmp=: /tmp and /var/tmp of the unit are new and empty, whatever is in the host's, but for
    what BindPaths= and BindReadOnlyPaths= put there.
    """
    if not apache.private_tmp:
        return None
    real, top = os.path.realpath(directory), in_tmp(directory)
    if top is None or any(real == bound or real.startswith(bound.rstrip("/") + "/") for bound in apache.bound):
        return None
    return Finding(
        "private-tmp",
        directory,
        f"{apache.unit} has PrivateTmp: started by systemd, Apache has a {top} of its own, without this directory",
        "use a directory outside of /tmp and /var/tmp, as /var/cache/eggcache, or what wrapper --for systemd prints",
        status=0,
    )


def hands_over(program: str) -> bool:
    """Whether this apachectl is a script that calls systemctl; what is compiled, or upstream's, does not."""
    lines = list(_lines(program))
    return bool(lines) and lines[0].startswith("#!") and any("systemctl" in line.partition("#")[0] for line in lines)


def _find(search: str) -> str | None:
    """The first of Apache's programs in `search`, by directory first: the administrator's order of them counts."""
    for directory in search.split(":"):
        if not directory.startswith("/"):  # a relative one is whoever's directory we happen to be in
            continue
        for name in _NAMES:
            program = shutil.which(name, path=directory)
            if program:
                return program
    return None


@dataclass(frozen=True)
class Said:
    """What a command answered: all of its output, or why there is none."""

    output: str  # "" unless it ended in time with status 0, and was not too long
    error: str = ""  # the last line that it had to say, printable and short


def ask(argv: Sequence[str]) -> Said:
    """What a command of Apache prints on stdout. It has to end within 10 s, and to stay below 16 MiB. Raises nothing.

    Its environment is empty but for the two variables by which an administrator says *which* Apache is meant:
    Debian's own init script keeps these as well.
    """
    environment = {"PATH": _SEARCH, "LC_ALL": "C"}
    environment.update((k, os.environ[k]) for k in ("APACHE_CONFDIR", "APACHE_ENVVARS") if k in os.environ)
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd="/",
            start_new_session=True,  # so that the script and the server that it waits for can be ended together
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        return Said("", str(error))
    problem = ""
    texts = (bytearray(), bytearray())
    try:
        _collect(process, texts)
    except (TimeoutError, OverflowError) as error:
        problem = str(error)
    finally:
        # Its whole group, and before it is waited for: until then no other group can have got its number.
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()
    output, errors = (bytes(text).decode("utf-8", "surrogateescape") for text in texts)
    if status == 0 and not problem:
        return Said(output)
    lines = ["".join(char if char.isprintable() else "?" for char in line.strip()) for line in errors.split("\n")]
    # Debian's apachectl ends with two lines of its own, which say nothing
    said = [line for line in lines if line and not re.match(r"Action '|The Apache error log may have", line)]
    return Said("", problem or (said[-1][:300] if said else f"it ended with status {status}"))


def _collect(process: subprocess.Popen[bytes], texts: tuple[bytearray, bytearray]) -> None:
    """Collect stdout and stderr until the process has ended. Raises TimeoutError and OverflowError.

    The end of the *process* counts: somebody who left its session may hold the other ends of the pipes for ever.
    """
    deadline = time.monotonic() + _TIMEOUT
    with selectors.DefaultSelector() as selector:
        for stream, text in zip((process.stdout, process.stderr), texts):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream.fileno(), selectors.EVENT_READ, text)
        over = False
        while True:
            listening = bool(selector.get_map())
            ready = selector.select(0 if over else 0.05) if listening else []
            if not listening and not over:  # both pipes are closed: there is only the end to wait for
                time.sleep(0.002)
            if over and not ready:
                return
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                key.data.extend(data)
                if not data:
                    selector.unregister(key.fd)
            if sum(map(len, texts)) > _LONGEST:
                raise OverflowError(f"it prints more than {_LONGEST >> 20} MiB")
            over = over or os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            if not over and time.monotonic() > deadline:
                raise TimeoutError(f"no answer within {_TIMEOUT:g} s")


def _configured(text: str) -> Apache:
    """User, group and pid file as DUMP_RUN_CFG prints them; as non-root its lines end in ` not_used`."""

    def only(pattern: str) -> str | None:
        found = re.findall(rf"^{pattern}$", text, re.MULTILINE)
        return found[0].lstrip("#") if len(found) == 1 else None

    account = r'name="(#[0-9]+|[^\s":/#-][^\s":/#]*)" id=[0-9]+(?: not_used)?'
    return Apache(
        user=only(f"User: {account}"), group=only(f"Group: {account}"), pid_file=only(r'PidFile: "(/[^"\n]+)"')
    )


def _usual(root: str) -> Apache:
    """What the packaging sets: Debian's envvars file, read as text and never run, or RHEL's account."""
    values: dict[str, str] = {}
    directory = os.environ.get("APACHE_CONFDIR") or os.path.join(root, "etc/apache2")
    suffix = directory[len("/etc/apache2") :] if directory.startswith("/etc/apache2-") else ""  # as the file has it
    # `export NAME=value` is Debian's; `: ${NAME:=value}` is what container images turn it into.
    assignment = re.compile(r"""(?:(?:export )?|: "?\$\{)(APACHE_[A-Z_]+):?=["']?([\w./-]+?)["']?\}?"?""")
    for line in _lines(os.environ.get("APACHE_ENVVARS") or os.path.join(directory, "envvars")):
        match = assignment.fullmatch(line.replace("$SUFFIX", suffix).strip())
        if match:
            values[match[1]] = match[2]
    if values:
        return Apache(
            user=values.get("APACHE_RUN_USER"),
            group=values.get("APACHE_RUN_GROUP"),
            pid_file=values.get("APACHE_PID_FILE"),
        )
    if os.path.isdir(os.path.join(root, "etc/httpd/conf")):
        try:
            pwd.getpwnam("apache")
        except KeyError:
            return Apache()
        return Apache(user="apache", group="apache", pid_file="/run/httpd/httpd.pid")
    return Apache()


def _unit(root: str) -> tuple[str | None, bool, tuple[str, ...]]:
    """The name of Apache's unit, whether it has PrivateTmp, and what is bound into it: its file, then its drop-ins;
    the last one wins, and an empty list of paths takes back those before it."""
    path = [os.path.join(root, directory[1:]) for directory in _UNIT_PATH]
    for unit in _UNITS:
        file = next((f for f in (os.path.join(d, unit) for d in path) if os.path.lexists(f)), None)
        if file is None:
            continue
        dropins: dict[str, str] = {}
        # service.d is for every service. Of two of one name the more specific counts, then the one found first.
        for directory in [os.path.join(d, sub) for sub in (f"{unit}.d", "service.d") for d in path]:
            for name in _names(directory):
                if name.endswith(".conf"):
                    dropins.setdefault(name, os.path.join(directory, name))
        private, bound = False, list[str]()
        for source in [file, *(dropins[name] for name in sorted(dropins))]:
            for value in _settings(source, "PrivateTmp"):
                private = value.lower() in ("1", "yes", "y", "true", "t", "on", "disconnected")
            for value in (v for key in ("BindPaths", "BindReadOnlyPaths") for v in _settings(source, key)):
                bound = [*bound, *_bound(value)] if value else []
        return unit, private, tuple(bound)
    return None, False, ()


def _bound(value: str) -> Iterator[str]:
    """The places of a list SOURCE[:DESTINATION[:OPTIONS]] at which the host's own directory of that name is shown."""
    try:
        words = shlex.split(value)
    except ValueError:
        return
    for word in words:
        source, _, rest = word.lstrip("-").partition(":")
        if rest.partition(":")[0].lstrip("-") in ("", source):
            yield source.replace("%%", "%")


def _settings(path: str, key: str) -> Iterator[str]:
    """The values of `key` in the [Service] section of a unit file, systemd.syntax(7)."""
    section = ""
    for line in _lines(path):
        text = line.strip()
        if text.startswith("["):
            section = text
        name, found, value = text.partition("=")
        if section == "[Service]" and found and name.strip() == key:
            yield value.strip()


def _names(directory: str) -> list[str]:
    """The names in a directory; none where it cannot be read."""
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _lines(path: str) -> Iterator[str]:
    """The lines of a file; none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            yield from file.read(_LARGEST).decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return
