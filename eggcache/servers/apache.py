"""This host's Apache: the user it runs as, what starts it, and whether systemd hides /tmp from it.

Apache's own answer comes first (`-t -D DUMP_RUN_CFG`). Where Apache cannot read its configuration, the defaults of its
packaging take its place. Nothing here fails: what cannot be found is None.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from eggcache.model import Finding
from eggcache.servers import systemd
from eggcache.servers.systemd import Unit
from eggcache.system import files, pipes, procfs

# Where Apache is when PATH, as cron or a boot script leaves it, does not say so; the last one is upstream's default.
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/apache2/bin"
_NAMES = ("apache2ctl", "apachectl", "httpd")  # Debian, upstream and RHEL, an httpd without its script
_UNITS = ("apache2.service", "httpd.service")  # Debian and SUSE, RHEL
_TIMEOUT = 10.0  # seconds; Apache answers in 0.05, and waits for DNS where a ServerName does not resolve
# A number of Apache's own in a log's line or on stderr, or what the kernel said in brackets in front: "(98)Address ..."
_ERROR = re.compile(r"(?:\[[^]]*\] ?)*(?:\([^)]*\)[^:]+: |AH[0-9]+: )")
# Warnings that come before an error (of the server's name), and the two lines with which Debian's apachectl ends
_SAYS_NOTHING = re.compile(
    r"^AH0055[78]: |Could not reliably determine the server's|[Ww]arning: |-- ignoring|:(?:warn|notice|info)\]"
    r"|^Action '|^The Apache error log may have"
)
# For lock files, where Apache does not tell where its pid file is. mod_python hands a name on as it stands, so that a
# relative one, as the TurboGears manual has it, counts from where Apache was started: under systemd from /.
RUN = "/var/run"
_LONGEST = 16 << 20  # bytes of an answer; a configuration with 10,000 virtual hosts takes about four MiB
# The user, group and pid file, what is loaded, and the files of the configuration
SURROUNDINGS = ("-t", "-D", "DUMP_RUN_CFG", "-D", "DUMP_MODULES", "-D", "DUMP_INCLUDES")


@dataclass(frozen=True)
class Apache:
    """This host's Apache. A field is None or False where there is no Apache, or where its value cannot be found."""

    apachectl: str | None = None  # absolute; apache2ctl on Debian
    user: str | None = None  # a name, or a number where Apache is configured with one (`User #33`)
    group: str | None = None
    pid_file: str | None = None
    systemd: bool = False  # systemd runs here
    unit: Unit | None = None  # Apache's, whether systemd runs here or not
    hands_over: bool = False  # where systemd runs, `apachectl start` is done by systemctl, without our environment
    # What was asked, and its answer to SURROUNDINGS: to ask it once more starts three programs
    answer: tuple[str, Said] | None = field(default=None, repr=False, compare=False)

    @property
    def starter(self) -> Unit | None:
        """The unit by which systemd starts this Apache; None where systemd does not run, or knows no unit of it."""
        return self.unit if self.systemd else None

    @property
    def private_tmp(self) -> bool | None:
        """Whether the unit, started by systemd, has its own /tmp and /var/tmp; None: it cannot be told."""
        return self.unit.private_tmp if self.unit else None


def unasked(program: str | None = None) -> Apache:
    """The Apache that `read` asks, as far as the place of its programs tells: nothing is started.

    :param program: the absolute path of apachectl or httpd; None: the first that is found
    """
    program = program or _find(f"{os.environ.get('PATH', '')}:{_SEARCH}")
    return Apache(apachectl=program)


def read(program: str | None = None, *, search: str | None = None, root: str = "/") -> Apache:
    """This host's Apache, in about 50 ms, or after a timeout of 10 s where Apache does not answer.

    `program` is asked, an absolute path, where the administrator names one; else the first that is found. What the
    packaging and systemd say is of the one that is found, and of the packaging's own by whatever name: of an instance.
    Raises nothing: see the class.

    :param program: the absolute path of the apachectl or httpd to ask; None: the first that is found
    :param search: a list of directories, in the form of PATH; None: PATH itself
    :param root: the directory below which files of the packaging, of systemd and /run are looked up
    """
    installed = _find(f"{os.environ.get('PATH', '')}:{_SEARCH}" if search is None else search)
    explicit, program = program, program or installed
    if program is None:
        return Apache()
    packaged = program == installed or is_packaged(program, root)
    answer = ask([program, *SURROUNDINGS])
    apache = _configured(answer.output)
    usual = _usual(program, root) if packaged else Apache()
    instance = instance_of(program, root)
    return replace(
        apache,
        apachectl=None if os.path.basename(program) == "httpd" and not explicit else program,
        user=apache.user or usual.user,
        group=apache.group or usual.group,
        pid_file=apache.pid_file or usual.pid_file,
        systemd=systemd.running(root),
        unit=systemd.read([f"apache2@{instance}.service"] if instance else _UNITS, root) if packaged else None,
        hands_over=hands_over(program),
        answer=(program, answer),
    )


def hides(apache: Apache, directory: str) -> Finding | None:
    """The finding that Apache, started by systemd, does not see `directory`; None where it does.

    systemd.exec(5): with PrivateTmp= the unit has a new and empty /tmp and /var/tmp, except what BindPaths= and
    BindReadOnlyPaths= put there. TemporaryFileSystem= empties any directory; of these and the bound ones the deepest
    counts. A directory in InaccessiblePaths= hides everything below. ProtectHome= does one or the other.

    :param apache: the Apache, with the unit that starts it
    :param directory: the absolute path of a directory of this host
    """
    unit, real = apache.starter, os.path.realpath(directory)
    if not unit:
        return None
    top = files.in_tmp(directory) if unit.private_tmp else None
    closed, emptied, bound = _deepest(unit.closed, real), _deepest(unit.emptied, real), _deepest(unit.bound, real)
    if closed:
        setting = "ProtectHome" if unit.protects_home and closed in systemd.HOMES else "InaccessiblePaths"
        code, cause, instead = "hidden-by-unit", f"has {setting}: {closed} is none that Apache may see", closed
    elif emptied and len(emptied) > len(bound):
        setting = "ProtectHome" if unit.protects_home and emptied in systemd.HOMES else "TemporaryFileSystem"
        code, cause = "hidden-by-unit", f"has {setting}: Apache has a {emptied} of its own, without this one"
        instead = emptied
    elif top and not bound:
        code, instead = "private-tmp", "/tmp and /var/tmp, such as /var/cache/eggcache"  # noqa: S108
        cause = f"has PrivateTmp: started by systemd, Apache has a {top} of its own, without this directory"
    else:
        return None
    if unit.changed:
        cause += "; its files have changed since systemd read them (systemctl daemon-reload)"
    return Finding(code, directory, f"{unit.name} {cause}", f"use a directory outside of {instead}", status=0)


def mount_points(apache: Apache, directory: str) -> list[str]:
    """The host's paths of the mount point by which the unit has `directory` in a /tmp of its own, as long as it runs.

    What cleans the host's /tmp comes upon that point: the /tmp of the unit is a directory below the host's, with a name
    that systemd makes at each start of the unit.

    :param apache: the Apache, with the unit that starts it
    :param directory: the absolute path of a directory of this host
    :returns: none where nothing is bound there, or the unit does not run
    """
    unit, top = apache.unit, files.in_tmp(directory) if apache.private_tmp else None
    bound = _deepest(unit.bound, os.path.realpath(directory)) if unit else ""
    if not unit or not top or not bound.startswith(f"{top}/"):
        return []
    private = glob.glob(f"{top}/systemd-private-{procfs.boot_id()}-{glob.escape(unit.name)}-??????")
    return [f"{place}/tmp{bound[len(top) :]}" for place in private]  # noqa: S108 - into which only root may look


def _deepest(places: Sequence[str], real: str) -> str:
    """The longest of `places` that the path `real` is, or is below; "" where there is none."""
    inside = [place for place in places if real == place or real.startswith(place.rstrip("/") + "/")]
    return max(inside, key=len, default="")


def hands_over(program: str) -> bool:
    """Whether this apachectl is a script that calls systemctl. A compiled one, and upstream's script, do not.

    :param program: the absolute path of an apachectl
    """
    lines = files.lines(program)
    return bool(lines) and lines[0].startswith("#!") and any("systemctl" in line.partition("#")[0] for line in lines)


def is_packaged(program: str, root: str = "/") -> bool:
    """Whether this program is the packaging's, or a link to it, as an instance of Debian's has one.

    :param program: the absolute path of an apachectl or httpd
    :param root: the directory below which /usr/sbin is looked up
    """
    return os.path.dirname(os.path.realpath(program)) == os.path.realpath(os.path.join(root, "usr/sbin"))


def directory_of(program: str | None, root: str = "/", *, named: bool = True) -> str:
    """The directory of configuration that Debian's script reads. Called as apache2ctl-X that is /etc/apache2-X.

    :param program: the path of an apachectl; None: there is none
    :param root: the directory below which /etc is looked up
    :param named: whether the script has APACHE_CONFDIR, where we have it
    """
    _, mark, instance = os.path.basename(program or "").rpartition("apache2ctl-")
    lines = files.lines(program) if program and mark else []
    # Another script may have such a name, as one of eggcache's own: Debian's has this part of it in its text.
    is_instance = bool(mark) and (not lines or any(mark in line for line in lines))
    usual = os.path.join(root, f"etc/apache2-{instance}" if is_instance else "etc/apache2")
    return (named and os.environ.get("APACHE_CONFDIR")) or usual


def instance_of(program: str | None, root: str = "/") -> str:
    """The X of an instance of Debian's Apache, /etc/apache2-X and apache2@X.service; "" for the main one.

    :param program: the path of an apachectl; None: there is none
    :param root: the directory below which /etc is looked up
    """
    directory, starts = directory_of(program, root), ("/etc/apache2-", os.path.join(root, "etc/apache2-"))
    return next((directory[len(start) :].rstrip("/") for start in starts if directory.startswith(start)), "")


def init_script(unit: str) -> str:
    """The name of the init script that Debian has for what this unit starts: of apache2@X.service, apache2-X.

    :param unit: the name of Apache's unit
    """
    instance = re.fullmatch(r"apache2@(.+)\.service", unit)
    return f"apache2-{instance[1]}" if instance else "apache2"


def envvars_of(program: str | None, root: str = "/") -> str:
    """The file of variables that Debian's script reads before it starts Apache.

    :param program: the path of an apachectl; None: there is none
    :param root: the directory below which /etc is looked up
    """
    return os.environ.get("APACHE_ENVVARS") or os.path.join(directory_of(program, root), "envvars")


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
    """The answer of a command: all of its output, or why there is none."""

    output: str  # "" unless it ended in time with status 0, and was not too long
    error: str = ""  # what it had to say is wrong, printable and short


def ask(argv: Sequence[str]) -> Said:
    """The stdout of a command of Apache, which has to end within 10 s and to print less than 16 MiB. Raises nothing.

    Its environment is empty, except for the two variables by which an administrator says *which* Apache is meant:
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
    texts = {stream.fileno(): bytearray() for stream in (process.stdout, process.stderr) if stream}

    def take(text: bytearray, data: bytes) -> bool:
        text += data
        return sum(map(len, texts.values())) <= _LONGEST

    ended = False
    try:
        ended = pipes.listen(process, {number: partial(take, text) for number, text in texts.items()}, _TIMEOUT)
    finally:
        # Its whole group, and before it is waited for: until then no other group can have got its number.
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()
    if not ended:
        much = sum(map(len, texts.values())) > _LONGEST
        return Said("", f"it prints more than {_LONGEST >> 20} MiB" if much else f"no answer within {_TIMEOUT:g} s")
    output, errors = (bytes(text).decode("utf-8", "surrogateescape") for text in texts.values())
    if status == 0:
        return Said(output)
    lines = ["".join(char if char.isprintable() else "?" for char in line.strip()) for line in errors.split("\n")]
    return Said("", _cause(list(filter(None, lines)))[:300] or f"it ended with status {status}")


def _cause(lines: list[str]) -> str:
    """The cause in the stderr of a program of Apache's; "" where there is none.

    As Apache 2.2 and 2.4 print it: after the file and the number of a line of the configuration comes the fault of that
    line. Before it come warnings, and after it what could not be done because of it.
    """
    lines = [line for line in lines if not _SAYS_NOTHING.search(line)]
    for number, line in enumerate(lines):
        if "Syntax error on line " in line:
            return " ".join(lines[number : number + 2] if line.endswith(":") else [line])
    return next(filter(_ERROR.match, lines), lines[-1] if lines else "")


def _configured(text: str) -> Apache:
    """User, group and pid file as DUMP_RUN_CFG prints them; as non-root its lines end in ` not_used`."""

    def only(pattern: str) -> str | None:
        matches = re.findall(rf"^{pattern}$", text, re.MULTILINE)
        return matches[0].lstrip("#") if len(matches) == 1 else None

    account = r'name="(#[0-9]+|[^\s":/#-][^\s":/#]*)" id=[0-9]+(?: not_used)?'
    return Apache(
        user=only(f"User: {account}"), group=only(f"Group: {account}"), pid_file=only(r'PidFile: "(/[^"\n]+)"')
    )


def _usual(program: str, root: str) -> Apache:
    """The defaults of the packaging: Debian's envvars file, read as text and never run, or RHEL's account."""
    values: dict[str, str] = {}
    instance = instance_of(program, root)
    suffix = f"-{instance}" if instance else ""  # as the file has it
    # `export NAME=value` is Debian's; `: ${NAME:=value}` is what container images turn it into.
    assignment = re.compile(r"""(?:(?:export )?|: "?\$\{)(APACHE_[A-Z_]+):?=["']?([\w./-]+?)["']?\}?"?""")
    for line in files.lines(envvars_of(program, root)):
        match = assignment.fullmatch(line.replace("$SUFFIX", suffix).strip())
        if match:
            values[match[1]] = match[2]
    if values:
        user, group = values.get("APACHE_RUN_USER"), values.get("APACHE_RUN_GROUP")
        return Apache(user=user, group=group, pid_file=values.get("APACHE_PID_FILE"))
    if os.path.isdir(os.path.join(root, "etc/httpd/conf")):
        try:
            pwd.getpwnam("apache")
        except KeyError:
            return Apache()
        return Apache(user="apache", group="apache", pid_file="/run/httpd/httpd.pid")
    return Apache()
