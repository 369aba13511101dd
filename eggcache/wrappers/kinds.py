"""The kinds of wrapper: the template of each, the quoting of its values, and what it needs.

A template is a file in templates/, with @NAME@ for each value. The only value in a comment is the command that
prepares, of a kind that cannot run it at start; a command that a comment cannot hold is refused.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from eggcache.errors import EggcacheError, UsageError
from eggcache.servers import systemd
from eggcache.servers.apache import init_script
from eggcache.system import package_data
from eggcache.system.files import in_tmp
from eggcache.wrappers import quoting


@dataclass(frozen=True)
class WrapperSettings:
    """The values of a wrapper. Names that are not UTF-8 are in the text as surrogate escapes."""

    directory: str  #: the egg cache
    prepare: Sequence[str]  #: the complete command, absolute and as resolved, that fills it; empty: an archive does
    timezone: str | None  #: the zone it was prepared for; None: the host's own
    apachectl: str = ""  #: absolute; apachectl and init.d need it
    pid_file: str = ""  #: Apache's; init.d needs it
    unit: str = ""  #: Apache's unit of systemd, for the drop-in
    name: str = "eggcache-apache"  #: what the init script provides
    debian: bool = False  #: whether apachectl takes APACHE_ENVVARS
    private_tmp: bool | None = None  #: whether the unit has a /tmp of its own; None: it cannot be told

    @property
    def hidden(self) -> bool:
        """Whether the unit has, or may have, a /tmp of its own without the directory."""
        return self.private_tmp is not False and in_tmp(self.directory) is not None

    def zone(self, quote: Callable[[str], str], given: str, none: str) -> str:
        """The text that sets the zone: `given` with the zone, as `quote` writes it, for its {}; or `none`, which unsets
        it."""
        return none if self.timezone is None else given.format(quote(self.timezone))


def at_end(_path: str, text: str) -> int:
    """The position of a block in most files."""
    return len(text)


def _in_program(path: str, text: str) -> int:
    """Below the head of the only program in supervisord's file, which must not have an environment yet: of two in one
    section supervisord takes the last, in silence."""
    heads = list(re.finditer(r"^\[(?:fcgi-)?program:[^\]\n]*\][^\n]*\n", text, re.MULTILINE))
    if len(heads) != 1:
        count = f"are {len(heads)}" if heads else "is none"
        cause = f"the text goes into the section of one program, and there {count} in it"
        raise EggcacheError(path, cause, "leave out -o to print the text, and put it into the right section")
    section = re.match(r"(?:(?!\[).*\n?)*", text[heads[0].end() :])
    if section and re.search(r"^environment[ \t]*[=:]", section[0], re.MULTILINE):
        cause = "the program has an environment, and can have one only"
        raise EggcacheError(path, cause, "leave out -o to print the text, and add what it sets to that environment")
    return heads[0].end()


def _before_user(_path: str, text: str) -> int:
    """Before the first USER of the last stage of a Dockerfile: `prepare` has to be root."""
    stages = list(re.finditer(r"^\s*FROM\s", text, re.MULTILINE | re.IGNORECASE))
    start = stages[-1].start() if stages else 0
    user = re.compile(r"^\s*USER\s", re.MULTILINE | re.IGNORECASE).search(text, start)
    return user.start() if user else len(text)


@dataclass(frozen=True)
class WrapperKind:
    """One kind of wrapper. They are registered at the end of this module."""

    template: str | Callable[[WrapperSettings], str]
    values: Callable[[WrapperSettings], Mapping[str, str]]  # of the template's @NAME@s, quoted as its syntax wants it
    executable: bool = False  # a program; anything else is read by one
    apachectl: bool = False  # it cannot do without
    pid_file: bool = False
    zoned: bool = False  # it sets TZ for Apache, or takes it away, as all do that start it
    starts_apache: bool = False  # by way of apachectl, with this environment: under systemd that can be lost
    place: str = ""  # the file that it is, with what stands in braces to be filled in; "" where it is a part of one
    comment: str = ""  # what begins a comment, where it becomes a block of somebody's file; "" for a file of its own
    position: Callable[[str, str], int] = at_end  # where such a block goes: given the file's path and text, an offset
    undone: str = ""  # a pattern of what takes the block's effect away where it stands below the block
    after: str = ""  # what to run when it is written, what stands in braces is filled in


_CHOICE = re.compile(r"^@if ([A-Z_]+)@\n(.*?)(?:^@else@\n(.*?))?^@end@\n", re.MULTILINE | re.DOTALL)


def fill(template: str, *, indent: str = "", **values: str) -> str:
    """A template's text, its lines indented, with its @NAME@s replaced, in one pass: a value may hold @NAME@ itself.

    The lines between "@if NAME@" and "@else@" are kept where that value is not empty, and those between "@else@" and
    "@end@" where it is.
    """
    # Shell scripts are full of "$", so string.Template would be of no help.
    text = package_data.read(f"wrappers/templates/{template}").decode("ascii")
    text = _CHOICE.sub(lambda match: match[2] if values[match[1]] else match[3] or "", text)
    text = textwrap.indent(text, indent)
    return re.sub("@([A-Z_]+)@", lambda match: values[match[1]], text)


def part(kind: str, *, debian: bool) -> bool:
    """Whether the text of `kind` becomes a block of somebody's file.

    :param kind: a name of KINDS
    :param debian: whether the file is one of Debian's, as for `wrappers.wrapper`
    """
    return bool(KINDS[kind].comment) and not (kind == "envvars" and debian)


def _running(settings: WrapperSettings, *, indent: str = "") -> str:
    """The text that finds the running Apache and tells whether it has the cache."""
    return fill("running.sh", indent=indent, PROGRAMS=_programs(settings.apachectl)).rstrip("\n")


def _programs(apachectl: str) -> str:
    """The names that Apache's process may have, as a pattern of sh: httpd.worker and apache2 are packagers'."""
    # A server built under a name of its own (--with-program-name) may have a control script of that name.
    stem = re.sub(r"ctl$", "", os.path.basename(apachectl))[:15]  # all that Linux keeps of a name
    usual = ("apache", "httpd")
    unusual = [quoting.shell(stem)] if stem and not stem.startswith(usual) else []
    return " | ".join(f"{name}*" for name in (*usual, *unusual))


_DROP_IN = f"/etc/systemd/system/{{unit}}.d/{systemd.DROP_IN}"


def _dropin(settings: WrapperSettings) -> dict[str, str]:
    """The advice for an Apache of systemd's: what does there what the script does."""
    return {
        "PATH": _DROP_IN.format(unit=settings.unit),
        "UNIT": settings.unit,
        "CACHE": quoting.unit(f"PYTHON_EGG_CACHE={settings.directory}"),
        "ZONE": settings.zone(lambda zone: quoting.unit(f"TZ={zone}"), "Environment={}", "UnsetEnvironment=TZ"),
        "PREPARE": quoting.unit_arguments(settings.prepare),
        "VIEW": quoting.unit(f"-{settings.directory}"),
    }


# ----------------------------------------------------------------------------------- what stands in each template


def _handed_over(settings: WrapperSettings) -> str:
    """The text that tells whether apachectl has systemd start Apache, and refuses with the drop-in for that. It has a
    here-document, and so no indent."""
    advice = "hidden.conf" if settings.hidden else "dropin.conf"
    dropin = fill(advice, **_dropin(replace(settings, unit=settings.unit or "apache2.service"))).rstrip("\n")
    return fill("handed_over.sh", DROPIN=dropin).rstrip("\n")


def _script(settings: WrapperSettings) -> dict[str, str]:
    values = {**_sh(settings), "PID_FILE": quoting.shell(settings.pid_file), "RUNNING": _running(settings)}
    prologue = {**values, "APACHECTL": quoting.shell(settings.apachectl), "HANDED_OVER": _handed_over(settings)}
    return {
        **values,
        "PROLOGUE": fill("prologue.sh", **prologue).rstrip("\n"),
        "HARMLESS": fill("harmless.sh").rstrip("\n"),
        "NAME": settings.name,
        "SERVICE": init_script(settings.unit),
    }


def _sh(settings: WrapperSettings) -> dict[str, str]:
    return {
        "DIRECTORY": quoting.shell(settings.directory),
        "ZONE": settings.zone(quoting.shell, "TZ={}\nexport TZ", "unset TZ"),
        "PREPARE": " ".join(map(quoting.shell, settings.prepare)),
    }


def _sourced(settings: WrapperSettings) -> dict[str, str]:
    # Debian's own file, which is read first, says where the pid file is.
    pid_file = "${APACHE_PID_FILE-}" if settings.debian else quoting.shell(settings.pid_file)
    harmless, running = fill("harmless.sh", indent="    ").rstrip("\n"), _running(settings, indent="    ")
    handed_over = _handed_over(settings) if settings.debian else ""  # upstream's apachectl calls no systemctl
    values = {
        **_sh(settings),
        "HARMLESS": harmless,
        "RUNNING": running,
        "PID_FILE": pid_file,
        "HANDED_OVER": handed_over,
    }
    values["APACHECTL"] = quoting.shell(settings.apachectl or "/usr/sbin/apache2ctl")
    return {"SOURCED": fill("sourced.sh", **values).rstrip("\n"), "PREPARE": values["PREPARE"]}


def _drop_in(settings: WrapperSettings) -> dict[str, str]:
    """The drop-in where it is what was asked for, and not advice: what systemd would ignore is refused."""
    for value in (settings.directory, settings.timezone or "", *settings.prepare):
        quoting.utf8(value, "a unit file")
    if not settings.unit:
        raise UsageError("--for systemd", "there is no unit of Apache's on this host", "name it with --unit")
    return _dropin(settings)


def _stated(
    quote: Callable[[str], str], given: str = "", none: str = ""
) -> Callable[[WrapperSettings], dict[str, str]]:
    """For a kind that cannot prepare at start, and has the command in a comment."""
    return lambda settings: {
        "DIRECTORY": quote(settings.directory),
        "ZONE": settings.zone(quote, given, none),
        "COMMAND": quoting.comment(settings.prepare),
    }


def _tmpfiles(settings: WrapperSettings) -> dict[str, str]:
    top = in_tmp(settings.directory)
    # With the first directory below /tmp all that is in it is passed over, wherever in it a unit has something bound.
    first = os.path.realpath(settings.directory)[len(top) :].strip("/").partition("/")[0] if top else ""
    return {
        "DIRECTORY": quoting.tmpfiles(settings.directory),
        "ENTRIES": quoting.tmpfiles(settings.directory, "/*"),
        "HIDDEN": quoting.tmpfiles(settings.directory, "/.*"),  # a "*" is no leading dot
        "PRIVATE": quoting.tmpfiles(first, above=f"{top}/systemd-private-%b-*/tmp/") if first else "",
        "COMMAND": quoting.comment(settings.prepare),
    }


def _mod_wsgi(settings: WrapperSettings) -> dict[str, str]:
    zone = settings.zone(lambda zone: quoting.comment([zone]), "Start Apache with TZ={}", "Start Apache without TZ")
    return {**_stated(quoting.apache)(settings), "ZONE": f"{zone} in its environment."}


def _mod_python(settings: WrapperSettings) -> dict[str, str]:
    """Without the modules and the application, which `modpython` adds."""
    return {
        **_stated(quoting.apache, "PythonOption eggcache.timezone {}")(settings),
        "SERVER": "",
        "PATH": "# eggcache_modpython.py has to be on the path of Apache's Python: --directory D writes it to D.",
        "LOCATION": "",
    }


def _supervisord(settings: WrapperSettings) -> dict[str, str]:
    return {
        **_stated(quoting.supervisord)(settings),
        "ZONE": "; The cache is for the host's own time zone: start supervisord without TZ in its environment."
        if settings.timezone is None
        else "; pkg_resources compares local times: the program must have the zone that the cache was prepared for.",
        "MORE": settings.zone(quoting.supervisord, ",TZ={}", ""),
    }


def _uwsgi(settings: WrapperSettings) -> dict[str, str]:
    return {
        "DIRECTORY": quoting.uwsgi(settings.directory),
        "ZONE": settings.zone(quoting.uwsgi, "env = TZ={}", "unenv = TZ"),
        "PREPARE": quoting.uwsgi(quoting.comment(settings.prepare)),
    }


def _gunicorn(settings: WrapperSettings) -> dict[str, str]:
    return {
        "DIRECTORY": quoting.python(settings.directory),
        "ZONE": settings.zone(quoting.python, 'os.environ["TZ"] = {}', 'os.environ.pop("TZ", None)'),
        "PREPARE": f"[{', '.join(map(quoting.python, settings.prepare))}]" if settings.prepare else "",
    }


def _docker(settings: WrapperSettings) -> dict[str, str]:
    return {
        "DIRECTORY": quoting.dockerfile(settings.directory),
        "ZONE": settings.zone(quoting.dockerfile, "ENV TZ={}", "# No TZ was set: nothing before this may set one."),
        "PREPARE": quoting.dockerfile_command(settings.prepare) if settings.prepare else "",
    }


# A kind is registered here and nowhere else.
_TWO_LINES = ("TZ={}\nexport TZ", "unset TZ")
# Where nothing in the text can prepare, what follows does it first: it is silent and quick where that is done already.
# `ready` comes first: what would keep Apache from starting is told while Apache runs.
_STOP_AND_START = "{0} ready && {0} stop && {0} start"
_TEST_AND_RESTART = "{prepare}{enable}{apachectl} configtest && {restart}"
# On RHEL 6 and FreeBSD it fails to stop what does not run.
_SERVICE = "service {0} stop; service {0} start"
KINDS: dict[str, WrapperKind] = {
    "apachectl": WrapperKind(
        "apachectl.sh",
        _script,
        executable=True,
        apachectl=True,
        starts_apache=True,
        after=_STOP_AND_START.format("{file}"),
    ),
    "init.d": WrapperKind(
        "init.d.sh",
        _script,
        executable=True,
        apachectl=True,
        pid_file=True,
        starts_apache=True,
        place="/etc/init.d/{name}",
        after="{file} restart && {boot}",
    ),
    "envvars": WrapperKind(
        lambda w: "envvars.debian.sh" if w.debian else "envvars.sh",
        _sourced,
        starts_apache=True,
        place="{etc}/envvars-eggcache",  # Debian's; any other's is the end of a file
        comment="#",
        after="{envvars}" + _STOP_AND_START.format("{apachectl}"),
    ),
    "sysconfig": WrapperKind(
        "sysconfig.sh",
        _stated(quoting.environment_file, *_TWO_LINES),
        zoned=True,
        comment="#",
        after="{prepare}{{ " + _SERVICE.format("httpd") + "; }}",
    ),
    "systemd": WrapperKind(
        "dropin.conf", _drop_in, zoned=True, place=_DROP_IN, after="systemctl daemon-reload && systemctl restart {unit}"
    ),
    "tmpfiles.d": WrapperKind("tmpfiles.conf", _tmpfiles, place="/etc/tmpfiles.d/eggcache.conf"),
    "mod_python": WrapperKind("mod_python.conf", _mod_python, zoned=True, comment="#", after=_TEST_AND_RESTART),
    "mod_wsgi": WrapperKind("mod_wsgi.conf", _mod_wsgi, comment="#", after=_TEST_AND_RESTART),
    "trac": WrapperKind("trac.conf", _mod_wsgi, comment="#", after=_TEST_AND_RESTART),
    "freebsd": WrapperKind("freebsd.env", _stated(quoting.shell, *_TWO_LINES), after=_SERVICE.format("apache24")),
    "supervisord": WrapperKind(
        "supervisord.conf",
        _supervisord,
        comment=";",
        position=_in_program,
        after="{prepare}supervisorctl reread && supervisorctl update",
    ),
    "uwsgi": WrapperKind("uwsgi.ini", _uwsgi, comment=";", after="stop uWSGI and start it"),
    "gunicorn": WrapperKind(
        "gunicorn.conf.py.in",
        _gunicorn,
        comment="#",
        undone=r"^[ \t]*(?:def[ \t]+on_starting\b|on_starting[ \t]*[:=][^=]|from[ \t].*\bimport\b.*\bon_starting\b)",
        after="stop gunicorn and start it",
    ),
    "docker": WrapperKind("Dockerfile", _docker, comment="#", position=_before_user, after="docker build"),
    "shell": WrapperKind("shell.sh", _stated(quoting.shell, "TZ={};\nexport TZ;", "unset TZ;"), starts_apache=True),
}
