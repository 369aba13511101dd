"""What this host's Apache is: who it runs as, what starts it, and what systemd makes of /tmp for it.

Apache's own answer comes first (`-t -D DUMP_RUN_CFG`); where its configuration cannot be read just now, what
the packaging is known to set stands in. Nothing here fails: what cannot be found out is None.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
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
_LARGEST = 1 << 20  # more than any file or answer read here: a longer one is cut off


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


def read(*, search: str | None = None, root: str = "/") -> Apache:
    """This host's Apache, in about 50 ms, or after a timeout of 10 s where Apache does not answer.

    `search` is a list of directories like PATH, which it defaults to; `root` is where files of the packaging,
    of systemd and `/run` are looked up. Raises nothing: see the class.
    """
    program = _find(f"{os.environ.get('PATH', '')}:{_SEARCH}" if search is None else search)
    if program is None:
        return Apache()
    apache = _configured(_ask([program, "-t", "-D", "DUMP_RUN_CFG"]))
    usual = _usual(root)
    systemd = os.path.isdir(os.path.join(root, "run/systemd/system"))
    unit, private_tmp = _unit(root)
    return replace(
        apache,
        apachectl=None if os.path.basename(program) == "httpd" else program,
        user=apache.user or usual.user,
        group=apache.group or usual.group,
        pid_file=apache.pid_file or usual.pid_file,
        systemd=systemd,
        unit=unit,
        private_tmp=systemd and private_tmp,
        hands_over=hands_over(program),
    )


def hides(apache: Apache, directory: str) -> Finding | None:
    """The finding that Apache will not see `directory`, since systemd gives it a /tmp of its own; None if it will.

    systemd.exec(5), PrivateTmp=: /tmp and /var/tmp of the unit are new and empty, whatever is in the host's.
    """
    if not apache.private_tmp:
        return None
    real = os.path.realpath(directory)
    top = next((t for t in ("/tmp", "/var/tmp") if real == t or real.startswith(t + "/")), None)  # noqa: S108 - a check
    if top is None:
        return None
    return Finding(
        "private-tmp",
        directory,
        f"{apache.unit} has PrivateTmp: started by systemd, Apache has a {top} of its own, without this directory",
        "use a directory outside of /tmp and /var/tmp: /var/cache/eggcache",
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


def _ask(argv: list[str]) -> str:
    """What a command of Apache prints on stdout; "" where it fails, or has not ended after the timeout.

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
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,  # so that the script and the server that it waits for can be ended together
        )
    except OSError:
        return ""
    try:
        output, _ = process.communicate(timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:  # closed unread: somebody who left the session may hold the other end for ever
            process.stdout.close()
        return ""
    return output[:_LARGEST].decode("utf-8", "surrogateescape") if process.returncode == 0 else ""


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


def _unit(root: str) -> tuple[str | None, bool]:
    """The name of Apache's unit, and whether it has PrivateTmp: its file, then its drop-ins; the last one wins."""
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
        private = False
        for source in [file, *(dropins[name] for name in sorted(dropins))]:
            for value in _settings(source, "PrivateTmp"):
                private = value.lower() in ("1", "yes", "y", "true", "t", "on", "disconnected")
        return unit, private
    return None, False


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
