"""Environment wrappers: the text of what starts Apache with its egg cache prepared, from templates/.

What is emitted is run, or read, as root at every start of Apache. So every value is quoted for where it stands
(`quoting`), none stands in a comment that it could end, and the tests have each kind (`kinds`) read by its program.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Sequence

from eggcache import lockdown
from eggcache.apache import Apache, hides
from eggcache.errors import EggcacheError, NotPermitted, UsageError
from eggcache.kinds import KINDS, Wanted, bound, fill
from eggcache.model import Finding


def wrapper(
    kind: str,
    directory: str,
    *,
    prepare: Sequence[str],
    timezone: str | None,
    apachectl: str | None = None,
    pid_file: str | None = None,
    unit: str | None = None,
    name: str = "eggcache-apache",
    debian: bool = False,
) -> str:
    """The text of the wrapper of `kind` (one of KINDS) that makes `directory` the egg cache of Apache.

    `prepare` is the complete command, absolute and as resolved, that fills the directory; `timezone` is the zone
    it was prepared for, None for the host's own. `apachectl` is absolute (apachectl and init.d need it), `pid_file`
    Apache's (init.d needs it), `unit` the name of its systemd unit, for the drop-in, `name` what the init script
    provides, `debian` whether apachectl takes APACHE_ENVVARS. Names that are not UTF-8 are in the text as surrogate
    escapes.

    Raises UsageError for a kind that there is not, a value that is not absolute where it must be, one that the
    syntax of this kind cannot express, and init.d without a pid file. Rules from outside: LSB 5.0 (init scripts,
    exit statuses), and for each syntax what `quoting` names.
    """
    if kind not in KINDS:
        from eggcache import manual

        known = f"one of {', '.join(sorted(KINDS))}"
        raise UsageError(f"--for {kind}", "there is no such kind", manual.meant(kind, KINDS) or known)
    if KINDS[kind].pid_file and not pid_file:
        raise UsageError(f"--for {kind}", "Apache does not say where its pid file is", "name it with --pid-file")
    if KINDS[kind].apachectl and not apachectl:
        raise UsageError(f"--for {kind}", "there is no apachectl on this host", "say where it is with --apachectl")
    for value in (directory, prepare[0], apachectl or "/", pid_file or "/"):
        if not value.startswith("/"):  # the script runs from any directory
            raise UsageError(value, "not an absolute path", "write it in full")
    for value in (directory, *prepare, timezone or "", apachectl or "", pid_file or ""):
        if "\0" in value:
            raise UsageError(repr(value), "no path or argument can hold a NUL", "leave it out")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):  # it is a file name, and stands in a comment
        raise UsageError(name, "not the name of an init script", "use letters, digits and -")
    if not re.fullmatch(r"[A-Za-z0-9:_.@-]+\.service", unit or "apache2.service"):
        raise UsageError(str(unit), "not the name of a service unit", "such as apache2.service")
    unit = unit or (_unit(apachectl) if apachectl else "")
    wanted = Wanted(directory, prepare, timezone, apachectl or "", pid_file or "", unit, name, debian)
    template = KINDS[kind].template
    return fill(template if isinstance(template, str) else template(wanted), **KINDS[kind].values(wanted))


def place(kind: str, apache: Apache, *, name: str = "eggcache-apache", debian: bool = False) -> str | None:
    """The file that the wrapper of `kind` goes into on this host; None where it becomes a part of one, or where
    that is for its user to say. `name` and `debian` are those of `wrapper`."""
    if kind == "envvars" and not debian:
        return None
    unit = apache.unit or _unit(apache.apachectl or "")
    return KINDS[kind].place.format(name=name, unit=unit) or None


def choose(apache: Apache, directory: str, *, root: str = "/", platform: str = sys.platform) -> tuple[str, str]:
    """The kind that is right on this host, and why; `root` is where files of the packaging are looked up.

    Raises UsageError where there is no Apache to choose for.
    """
    if platform.startswith("freebsd"):
        return "freebsd", "FreeBSD's Apache reads the files in its envvars.d"
    if apache.systemd and apache.unit:
        hidden = hides(apache, directory)
        more = f"; its PrivateTmp hides {directory}, which this puts into it" if hidden else ""
        return "systemd", f"systemd starts Apache here, as {apache.unit}{more}"
    if not apache.apachectl:
        raise UsageError("--for", "there is no Apache on this host to choose by", f"one of {', '.join(sorted(KINDS))}")
    if takes_envvars(apache.apachectl):
        if os.path.exists(os.path.join(root, "etc/inittab")):
            return "init.d", "sysvinit starts Apache here, by a script that clears the environment and is replaced"
        return "envvars", f"no init system runs here, and {apache.apachectl} reads the file that APACHE_ENVVARS names"
    if os.path.isdir(os.path.join(root, "etc/httpd/conf")):
        return "sysconfig", "no systemd runs here, and Red Hat's init script reads /etc/sysconfig/httpd"
    return "envvars", f"{apache.apachectl} reads the envvars file beside it"


def takes_envvars(apachectl: str) -> bool:
    """Whether this is Debian's apachectl, which reads the file that APACHE_ENVVARS names."""
    try:
        with open(apachectl, "rb") as file:
            return b"APACHE_ENVVARS" in file.read(1 << 20)
    except OSError:
        return False


def warnings(kind: str, directory: str, apache: Apache) -> tuple[Finding, ...]:
    """What will not work on this host with a wrapper of `kind` for `directory`; they ask for no exit status."""
    found = []
    if KINDS[kind].starts_apache and apache.systemd and apache.hands_over:
        found.append(
            Finding(
                "systemd-starts-apache",
                apache.apachectl or "apachectl",
                "under systemd it has systemctl start Apache, without this environment"
                + (", so the wrapper will refuse" if KINDS[kind].executable else ""),
                f"give {apache.unit or 'its unit'} a drop-in instead: --for systemd prints it",
                status=0,
            )
        )
    hidden = None if kind == "systemd" and bound(directory) else hides(apache, directory)
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
    with open(os.open(base, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory), "rb") as stream:
        if there.st_size and b"eggcache" not in stream.read(1 << 16):
            raise EggcacheError(path, "it holds something else than eggcache wrote", "remove it, or name another file")


def _unit(apachectl: str) -> str:
    """The unit that goes with this script, where nobody knows better: Debian's or everybody else's."""
    return "apache2.service" if os.path.basename(apachectl).startswith("apache2") else "httpd.service"
