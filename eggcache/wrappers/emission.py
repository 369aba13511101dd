"""The command `wrapper`: the text that starts Apache with its egg cache prepared, from templates/.

Root runs or reads this text at every start of Apache. So every value is quoted for its place (`quoting`), no value
stands in a comment that it could end, and the tests have the real program of each kind (`kinds`) read it.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace

from eggcache.errors import Remedy, UsageError, meant
from eggcache.model import Finding
from eggcache.servers.apache import Apache, directory_of, hides, init_script, instance_of, is_packaged
from eggcache.system.files import in_tmp
from eggcache.wrappers import destination
from eggcache.wrappers.kinds import KINDS, WrapperSettings, fill, part


def wrapper(kind: str, settings: WrapperSettings) -> str:
    """The text of a wrapper, which makes a directory the egg cache of a server.

    Rules from outside: LSB 5.0 (init scripts, exit statuses); for each syntax, what `quoting` names.

    :param kind: which wrapper, as for `--for`
    :param settings: the values of the text
    :returns: the text; names that are not UTF-8 are surrogate escapes in it
    :raises UsageError: there is no such kind; a value is not absolute where it must be, or cannot be expressed in the
        syntax of this kind; `init.d` without a pid file; a drop-in for a directory that the unit does not see
    """
    if kind not in KINDS:
        kinds = f"one of {', '.join(sorted(KINDS))}"
        raise UsageError(f"--for {kind}", "there is no such kind", meant(kind, KINDS) or kinds)
    if KINDS[kind].pid_file and not settings.pid_file:
        raise UsageError(f"--for {kind}", "Apache does not say where its pid file is", "name it with --pid-file")
    if KINDS[kind].apachectl and not settings.apachectl:
        raise UsageError(f"--for {kind}", "there is no apachectl on this host", "say where it is with --apachectl")
    for value in (settings.directory, *settings.prepare[:1], settings.apachectl or "/", settings.pid_file or "/"):
        if not value.startswith("/"):  # the script runs from any directory
            raise UsageError(value, "not an absolute path", "write it in full")
    for value in (
        settings.directory,
        *settings.prepare,
        settings.timezone or "",
        settings.apachectl,
        settings.pid_file,
    ):
        if "\0" in value:
            raise UsageError(repr(value), "no path or argument can hold a NUL", "leave it out")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", settings.name):  # it is a file name, and stands in a comment
        raise UsageError(settings.name, "not the name of an init script", "use letters, digits and -")
    settings = replace(settings, unit=settings.unit or (_unit(settings.apachectl) if settings.apachectl else ""))
    if not re.fullmatch(r"[A-Za-z0-9:_.@-]+\.service", settings.unit or "apache2.service"):
        raise UsageError(settings.unit, "not the name of a service unit", "such as apache2.service")
    if kind == "systemd":
        check_seen(settings.directory, settings.unit, settings.private_tmp)
    template = KINDS[kind].template
    text = fill(template if isinstance(template, str) else template(settings), **KINDS[kind].values(settings))
    whole_file = not part(kind, debian=settings.debian)
    return destination.sealed(text) if whole_file else destination.block(text, KINDS[kind].comment)


def check_seen(
    directory: str, unit: str, private_tmp: bool | None, remedy: Remedy | str = "use /var/cache/eggcache"
) -> None:
    """Raise UsageError where a drop-in would give `unit` a cache that is not in the /tmp that it has of its own.

    What is bound into that fails the start where the directory is gone, as after a boot that empties /tmp, is
    read-only for the unit's own ExecStartPre=, even with "+", and is unmounted by systemd-tmpfiles --clean where no
    line of tmpfiles.d keeps it.

    :param directory: the absolute path of the cache
    :param unit: the name of the unit
    :param private_tmp: whether the unit has PrivateTmp=; None: nobody knows
    :param remedy: what the error says to do
    """
    top = in_tmp(directory)
    if top and private_tmp is not False:
        verb = "has" if private_tmp else "may have"
        cause = f"{unit or 'the unit'} {verb} PrivateTmp, a {top} of its own, without this directory"
        raise UsageError(directory, cause, remedy)


def place(kind: str, apache: Apache, *, name: str = "eggcache-apache", debian: bool = False) -> str | None:
    """The file for the wrapper of `kind` on this host; None where it becomes part of a file, or its user chooses.

    :param kind: a name of KINDS
    :param apache: this host's Apache
    :param name: the name of an init script, as for `wrapper`
    :param debian: whether the file is one of Debian's, as for `wrapper`
    """
    if kind == "envvars" and not debian:
        return None
    return KINDS[kind].place.format(name=name, unit=unit_of(apache), etc=directory_of(apache.apachectl)) or None


def unit_of(apache: Apache) -> str:
    """The name of the unit that starts this Apache, or would by custom.

    :param apache: this host's Apache
    """
    return apache.unit.name if apache.unit else _unit(apache.apachectl or "")


def choose(apache: Apache, *, trac: bool = False, root: str = "/", platform: str = sys.platform) -> tuple[str, str]:
    """The kind that is right on this host, and why.

    Raises UsageError where there is no Apache to choose for.

    :param apache: this host's Apache
    :param trac: whether it is for a Trac environment, whatever starts Apache
    :param root: the directory below which files of the packaging are looked up
    :param platform: as sys.platform has it
    """
    if trac:
        return "trac", "Trac takes its cache from Apache's configuration, and not from its environment"
    if platform.startswith("freebsd"):
        return "freebsd", "FreeBSD's Apache reads the files in its envvars.d"
    if apache.starter:
        return "systemd", f"systemd starts Apache here, as {apache.starter.name}"
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
    """Whether this is Debian's apachectl, which reads the file that APACHE_ENVVARS names.

    :param apachectl: the path of an apachectl
    """
    try:
        with open(apachectl, "rb") as file:
            return b"APACHE_ENVVARS" in file.read(1 << 20)
    except OSError:
        return False


def lost_to_systemd(kind: str, apache: Apache) -> bool:
    """Whether a wrapper of `kind` is of no use on this host, where apachectl has systemd start Apache.

    :param kind: a name of KINDS
    :param apache: this host's Apache
    """
    return KINDS[kind].starts_apache and apache.systemd and apache.hands_over


def warnings(
    kind: str, directory: str, apache: Apache, instead: str = "", *, debian: bool = False
) -> tuple[Finding, ...]:
    """Notices of what will not work on this host with a wrapper of `kind` for `directory`.

    :param kind: a name of KINDS
    :param directory: the absolute path of the cache
    :param apache: this host's Apache
    :param instead: the command that installs the drop-in
    :param debian: whether the file is one of Debian's, as for `wrapper`
    """
    notices = []
    if lost_to_systemd(kind, apache):
        guarded = KINDS[kind].executable or (kind == "envvars" and debian)
        refuses = ", so the wrapper will refuse" if guarded else ""
        cause = f"under systemd it has systemctl start Apache, without this environment{refuses}"
        remedy = Remedy(f"give {apache.unit.name if apache.unit else 'its unit'} a drop-in instead", instead)
        notices.append(Finding("systemd-starts-apache", apache.apachectl or "apachectl", cause, remedy, status=0))
    return (*notices, *filter(None, [hides(apache, directory)]))


def following(kind: str, path: str, apache: Apache, *, debian: bool = False, prepare: Sequence[str] = ()) -> str:
    """The command to run on this host after the wrapper of `kind` is at `path`; "" for none.

    :param kind: a name of KINDS
    :param path: where the wrapper is
    :param apache: this host's Apache
    :param debian: whether the file is one of Debian's, as for `wrapper`
    :param prepare: the command that fills the cache, for a kind whose text cannot run it
    """
    file, name = shlex.quote(path), shlex.quote(os.path.basename(path))
    control, unit = shlex.quote(apache.apachectl or "apachectl"), unit_of(apache)
    # Of a self-compiled Apache none is replaced: Debian's and Red Hat's are another one's
    packaged = is_packaged(apache.apachectl or "apachectl") or bool(instance_of(apache.apachectl))
    boot = f"{'chkconfig httpd off && ' if packaged else ''}chkconfig --add {name}"
    if os.path.exists("/usr/sbin/update-rc.d"):
        disabled = f"update-rc.d {init_script(unit)} disable && " if packaged else ""
        boot = f"{disabled}update-rc.d {name} defaults"
    available = re.fullmatch(r"(.*/conf-)available/(.+)\.conf", path)
    return KINDS[kind].after.format(
        file=file,
        apachectl=control,
        unit=unit,
        boot=boot,
        prepare=f"{shlex.join(prepare)} && " if prepare else "",
        envvars=f"APACHE_ENVVARS={file}; export APACHE_ENVVARS; " if debian else "",
        enable=f"a2enconf {shlex.quote(available[2])} && " if available else "",
        restart=f"systemctl restart {unit}"
        if apache.starter
        else f"{control} stop, and when Apache has ended: {control} start",
    )


def _unit(apachectl: str) -> str:
    """The usual unit of Apache for this script: Debian's, or that of all others."""
    if not os.path.basename(apachectl).startswith("apache2"):
        return "httpd.service"
    instance = instance_of(apachectl)
    return f"apache2@{instance}.service" if instance else "apache2.service"
