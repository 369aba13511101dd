"""Environment wrappers: the text of what starts Apache with its egg cache prepared, from templates/.

The scripts that are emitted run as root at every start of Apache. So every value in them is quoted for where it
stands, none stands in a comment, and the whole is checked by shellcheck and checkbashisms in the tests.
"""

from __future__ import annotations

import errno
import os
import pkgutil
import re
import secrets
import shlex
import stat
from collections.abc import Sequence

from eggcache import lockdown
from eggcache.apache import Apache, hides
from eggcache.errors import EggcacheError, NotPermitted, UsageError
from eggcache.model import Finding

# Kind -> its template. A kind is registered here and nowhere else.
KINDS = {"apachectl": "apachectl.sh", "init.d": "init.d.sh"}


def wrapper(
    kind: str,
    directory: str,
    *,
    prepare: Sequence[str],
    timezone: str | None,
    apachectl: str,
    pid_file: str | None,
    unit: str | None = None,
    name: str = "eggcache-apache",
) -> str:
    """The text of the wrapper of `kind` (one of KINDS) that makes `directory` the egg cache of Apache.

    `prepare` is the complete command, absolute and as resolved, that fills the directory; `timezone` is the zone
    it was prepared for, None for the host's own. `apachectl` is absolute, `pid_file` Apache's (init.d needs it),
    `unit` the name of its systemd unit, for the drop-in that the script prints where it has to refuse, `name` what
    the init script provides. Names that are not UTF-8 are in the text as surrogate escapes.

    Raises UsageError for a kind that there is not, a value that is not absolute where it must be, and init.d
    without a pid file. Rules from outside: LSB 5.0 (init scripts, exit statuses), systemd.unit(5).
    """
    if kind not in KINDS:
        raise UsageError(f"--for {kind}", "there is no such kind", f"one of {', '.join(sorted(KINDS))}")
    if kind == "init.d" and not pid_file:
        raise UsageError("--for init.d", "Apache does not say where its pid file is", "name it with --pid-file")
    for value in (directory, prepare[0], apachectl, pid_file or "/"):
        if not value.startswith("/"):  # the script runs from any directory
            raise UsageError(value, "not an absolute path", "write it in full")
    for value in (directory, *prepare, timezone or "", apachectl, pid_file or ""):
        if "\0" in value:
            raise UsageError(repr(value), "no path or argument can hold a NUL", "leave it out")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):  # it is a file name, and stands in a comment
        raise UsageError(name, "not the name of an init script", "use letters, digits and -")
    if not re.fullmatch(r"[A-Za-z0-9:_.@-]+\.service", unit or "apache2.service"):
        raise UsageError(str(unit), "not the name of a service unit", "such as apache2.service")
    prologue = _fill(
        "prologue.sh",
        APACHECTL=shlex.quote(apachectl),
        DIRECTORY=shlex.quote(directory),
        ZONE="unset TZ" if timezone is None else f"TZ={shlex.quote(timezone)}\nexport TZ",
        PREPARE=shlex.join(prepare),
        DROPIN=_dropin(directory, prepare, timezone, unit or _unit(apachectl)).rstrip("\n"),
    ).rstrip("\n")
    if kind == "init.d":
        values = {"PID_FILE": shlex.quote(pid_file or ""), "NAME": name, "PROGRAMS": _programs(apachectl)}
        return _fill(KINDS[kind], PROLOGUE=prologue, **values)
    return _fill(KINDS[kind], PROLOGUE=prologue)


def warnings(kind: str, directory: str, apache: Apache) -> tuple[Finding, ...]:
    """What will not work on this host with a wrapper of `kind` for `directory`; they ask for no exit status."""
    found = []
    if kind in ("apachectl", "init.d") and apache.systemd and apache.hands_over:
        found.append(
            Finding(
                "systemd-starts-apache",
                apache.apachectl or "apachectl",
                "under systemd it has systemctl start Apache, without this environment, so the wrapper will refuse",
                f"give {apache.unit or 'its unit'} a drop-in instead: the wrapper prints it when it refuses",
                status=0,
            )
        )
    hidden = hides(apache, directory)
    return (*found, hidden) if hidden else tuple(found)


def write(path: str, text: str, *, mode: int = 0o755) -> None:
    """Put `text` at `path` as a whole or not at all, readable by all and executable; what was there is replaced.

    Raises NotPermitted where the directory cannot be written, or is one where others could exchange the file
    that root is about to run, and where `path` is a link; EggcacheError where it is no file, or the disk says no.
    """
    path = os.path.abspath(path)
    parent, base = os.path.split(path)
    # Not under `path` itself: a half-written script there would be run at boot. Not mkstemp's: it follows no dir_fd.
    temporary = f".eggcache-{secrets.token_hex(8)}"
    try:
        directory = lockdown.open_place(parent)  # root is about to run what is written there
        try:
            _replaceable(directory, path, base)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            file = os.open(temporary, flags, 0o600, dir_fd=directory)
            try:
                with open(file, "wb") as stream:
                    stream.write(os.fsencode(text))
                    stream.flush()
                    os.fchmod(file, mode)  # whatever the umask
                    os.fsync(file)
                os.rename(temporary, base, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.unlink(temporary, dir_fd=directory)
                raise
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        kind = NotPermitted if denied else EggcacheError
        raise kind(path, error.strerror or str(error), "nothing was written there") from error


def _replaceable(directory: int, path: str, base: str) -> None:
    """Raise where a file called `base` in this directory could be somebody else's doing, or is no file."""
    parent = os.fstat(directory)
    if parent.st_mode & stat.S_IWOTH and not parent.st_mode & stat.S_ISVTX:
        raise NotPermitted(
            path, "everybody can exchange files in its directory", "write it to /etc/init.d or /usr/local/sbin"
        )
    try:
        there = os.stat(base, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(there.st_mode):
        raise NotPermitted(path, "a symbolic link", "name the file that it leads to, or remove it")
    if not stat.S_ISREG(there.st_mode):
        raise EggcacheError(path, "not a regular file", "name a file, or leave out -o to print it")


def _fill(template: str, **values: str) -> str:
    """A template's text with its @NAME@s replaced, in one pass: a value may hold @NAME@ itself."""
    # pkgutil reads from a zipapp too. Shell scripts are full of "$", so string.Template would be of no help.
    text = pkgutil.get_data("eggcache", f"templates/{template}")
    if text is None:
        raise EggcacheError(f"templates/{template}", "missing from this installation", "install eggcache anew")
    return re.sub("@([A-Z_]+)@", lambda match: values[match[1]], text.decode("ascii"))


def _programs(apachectl: str) -> str:
    """The names that Apache's process may have, as a pattern of sh: httpd.worker and apache2 are packagers'."""
    # A server built under a name of its own (--with-program-name) may have a control script of that name.
    stem = re.sub(r"ctl$", "", os.path.basename(apachectl))[:15]  # all that Linux keeps of a name
    known = ("apache", "httpd")
    return " | ".join(
        [*(f"{name}*" for name in known), *(() if stem.startswith(known) else (shlex.quote(stem) + "*",))]
    )


def _unit(apachectl: str) -> str:
    """The unit that goes with this script, where nobody knows better: Debian's or everybody else's."""
    return "apache2.service" if os.path.basename(apachectl).startswith("apache2") else "httpd.service"


def _dropin(directory: str, prepare: Sequence[str], timezone: str | None, unit: str) -> str:
    """What does for systemd's Apache what the wrapper would have done."""
    # With PrivateTmp the unit has another /tmp, into which the directory is put; colons would separate its options.
    bind = directory.startswith(("/tmp/", "/var/tmp/")) and ":" not in directory  # noqa: S108 - a check
    return _fill(
        "dropin.conf",
        PATH=f"/etc/systemd/system/{unit}.d/50-eggcache.conf",
        UNIT=unit,
        CACHE=_word(f"PYTHON_EGG_CACHE={directory}"),
        ZONE="UnsetEnvironment=TZ" if timezone is None else f"Environment={_word(f'TZ={timezone}')}",
        # "$" is special in arguments alone, not in the program's path, in which systemd takes no quotes at all.
        PREPARE=" ".join([_word("+" + prepare[0]), *(_word(word).replace("$", "$$") for word in prepare[1:])]),
        VIEW=f"BindReadOnlyPaths={_word(directory)}" if bind else f"ReadOnlyPaths={_word('-' + directory)}",
    )


def _word(text: str) -> str:
    """One word of a unit file: systemd.syntax(7) on quoting, systemd.unit(5) on specifiers."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\x{ord(match[0]):02x}", text) + '"'
