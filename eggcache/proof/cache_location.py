"""Where a cache lies: its file system, its SELinux label, the /tmp that Apache has, and what cleans it."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from eggcache.cache import groups_and_zones
from eggcache.errors import Remedy
from eggcache.model import Finding, Tree
from eggcache.servers import apache, apache_findings, environments
from eggcache.servers.application_servers import ApplicationServer
from eggcache.system import accounts, files, procfs
from eggcache.target import commands
from eggcache.target.commands import Prepare

_VOLATILE = ("tmpfs", "ramfs", "devtmpfs")
_EXECUTABLE = ("lib_t", "textrel_shlib_t", "httpd_modules_t")  # httpd_t may map them executable, and write none
_READABLE = (*_EXECUTABLE, "usr_t", "etc_t", "httpd_sys_content_t", "httpd_sys_script_exec_t", "bin_t")
_DIRECTORIES = ("etc/tmpfiles.d", "run/tmpfiles.d", "usr/local/lib/tmpfiles.d", "usr/lib/tmpfiles.d")  # tmpfiles.d(5)
_AGED = "dDevqQC"  # types of tmpfiles.d(5) whose age field has what is below their path cleaned
_SPECIFIERS = {"%": "%", "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "T": "/tmp", "V": "/var/tmp"}  # noqa: S108


def findings(directory: str, host: apache.Apache, *, native: bool, unzip: str) -> Iterator[Finding]:
    """The faults of the place of `directory`.

    :param host: this host's Apache
    :param native: whether shared libraries are loaded from the directory
    :param unzip: the command that unzips the eggs
    """
    unseen = apache.hides(host, directory)
    if unseen:
        yield replace(unseen, status=3)  # `prepare` only warns; here it is the answer
    kind = _file_system(directory)
    if kind in _VOLATILE:
        remedy = Remedy("prepare it at every start of Apache, as the wrappers do, or use /var/cache/eggcache")
        yield Finding("volatile", directory, f"it is on {kind}, which is empty after the next boot", remedy)
    if native and os.statvfs(directory).f_flag & os.ST_NOEXEC:
        cause = "it is on a file system that is mounted noexec, so the shared libraries in it cannot be loaded"
        remedy = Remedy("use a directory elsewhere, such as /var/cache/eggcache, or unzip the eggs", unzip)
        yield Finding("noexec", directory, cause, remedy)
    yield from cleaned(directory)
    label, real = _label(directory), os.path.realpath(directory)
    if label and label not in (_EXECUTABLE if native else _READABLE):
        use = "load shared libraries" if native else "read"
        cause = f"SELinux is on, and its type is {label}, from which httpd may not {use}"
        relabel = f"semanage fcontext -a -t lib_t {shlex.quote(real + '(/.*)?')} && restorecon -R {shlex.quote(real)}"
        remedy = Remedy("give it the label of libraries", relabel)
        yield Finding("selinux-label", directory, cause, remedy)


def unseen_eggs(tree: Tree, host: apache.Apache) -> Iterator[Finding]:
    """The directories of the target and its eggs that Apache will not see, each once, with the finding for it."""
    python, told = tree.interpreter, list[str]()
    places = {
        python.prefix,
        *python.path,
        *(distribution.egg or distribution.location for distribution in tree.distributions),
    }
    for place in sorted(filter(os.path.exists, places), key=lambda place: (len(place), place)):
        unseen = None if place.startswith(tuple(told)) else apache.hides(host, place)
        if unseen:
            told.append(f"{place}/")
            yield replace(unseen, remedy=Remedy("install it where Apache sees it, with what names it there"), status=3)


def hidden(wanted: Prepare, others: Iterable[ApplicationServer] = ()) -> Iterator[Finding]:
    """Whether the running servers with the cache of `wanted` in their environment, and those `others` whose files name
    it, see it at its place. Another Apache may be anybody's: that it has another cache, or none, is told by
    `environments.findings`.

    The settings of a unit are checked before (`apache.hides`). This is about their effect, that of ProtectHome= and the
    like, and about mounts since a server was started.
    """
    cache, account = os.path.realpath(wanted.directory), wanted.target.account
    servers = {server.pid: server for server in environments.using(cache, account)}
    having = (one for one in others if one.cache and os.path.realpath(one.cache) == cache)
    servers.update((one.environment.pid, one.environment) for one in having)
    for pid, seen in procfs.ask(sorted(servers), lambda pid: procfs.shows(pid, cache), []):
        if seen is False:
            again = "restart it, where something was mounted or unmounted since it started"
            remedy = Remedy(f"{again}; else use a directory that it sees")
            if cache != commands.ELSEWHERE:
                remedy = remedy._replace(command=wanted.at(commands.ELSEWHERE).line())
            cause = f"{servers[pid].thing} does not see it: in its mount namespace that is another place, or none"
            yield Finding("hidden-from-process", wanted.directory, cause, remedy)


def unreadable(wanted: Prepare, servers: Iterable[ApplicationServer]) -> Iterator[Finding]:
    """Whether these `servers`, which are of other users than that of `wanted`, can read its cache."""
    for server in servers if os.geteuid() == 0 else ():
        account = accounts.named(str(server.uid))
        path = apache_findings.first_unreadable(wanted.directory, account)
        if path is not None:
            cause = accounts.in_the_way(path, account).cause.replace("cannot use it", "cannot read the cache")
            own = replace(wanted, target=wanted.target._replace(account=account, group=account.gid))
            cause = f"its processes run as {account.name}, and {cause}"
            yield Finding("daemon-user-cannot-read", server.environment.thing, cause, groups_and_zones.another(own))


def _file_system(directory: str) -> str:
    """The type of the file system that `directory` is on; "" where it cannot be told."""
    real = os.path.realpath(directory)
    around = [(place, kind) for place, kind in procfs.mounts() if f"{real}/".startswith(place.rstrip("/") + "/")]
    around.sort(key=lambda mount: len(mount[0]))  # of two on one place the later one hides the other
    return around[-1][1] if around else ""


def _label(directory: str) -> str:
    """The SELinux type of `directory`; "" where SELinux is off or there is none."""
    if not os.path.exists("/sys/fs/selinux/enforce"):
        return ""
    try:
        context = os.getxattr(directory, "security.selinux").decode("ascii", "replace")
    except OSError:
        return ""
    parts = context.rstrip("\0").split(":")
    return parts[2] if len(parts) > 2 else ""


# -------------------------------------------------------------------------------------- what cleans it


def cleaned(directory: str, root: str = "/") -> Iterator[Finding]:
    """Whether systemd-tmpfiles or tmpreaper cleans `directory`, whose files are as old as the eggs' zips say and read
    once by each worker. `root` is where the configuration is looked up."""
    real = os.path.realpath(directory)
    line = _governing(real, root)
    if line:
        cause = f"systemd-tmpfiles removes old files from it: {line[0]} says {line[1]!r}"
        remedy = (
            f"write 'x {real}', 'x {real}/*' and 'x {real}/.*' to /etc/tmpfiles.d/eggcache.conf, each to a line of its "
            "own, or use /var/cache/eggcache"
        )
        yield Finding("cleaned", directory, cause, remedy)
    elif _reaped(real, root):
        cause = f"tmpreaper removes old files from it, as {os.path.join(root, 'etc/tmpreaper.conf')} says"
        remedy = f"add '{real}*' to TMPREAPER_PROTECT_EXTRA there, or use /var/cache/eggcache"
        yield Finding("cleaned", directory, cause, remedy)


def _governing(real: str, root: str) -> tuple[str, str] | None:
    """(file, line) of the tmpfiles.d line that has something in `real` cleaned; None where there is none.

    Nothing is cleaned where systemd, whose timer does that, does not run.
    """
    if not os.path.isdir(os.path.join(root, "run/systemd/system")):
        return None
    names = files.names(real) or ["-"]
    lines = [(file, line, *_fields(line)) for file, line in _lines(root)]
    found = (_ages(os.path.join(real, name), lines) for name in names)
    return next(filter(None, found), None)


def _ages(entry: str, lines: Sequence[tuple[str, str, str, str, str]]) -> tuple[str, str] | None:
    """(file, line) of the line that has `entry` cleaned.

    The line with the deepest path counts (tmpfiles.c, dir_cleanup: below the directory of a line, an entry that has a
    line of its own is passed over). So `x` on the path of a line that ages it takes nothing back. `X` excludes only the
    directory itself.
    """
    best: tuple[int, bool, str, str, str] | None = None
    for file, line, kind, path, age in lines:
        if kind in ("x", "e"):  # their paths are patterns
            depth = max((len(part) for part in _parts(entry) if _matches(part, path)), default=0)
        elif kind in _AGED and kind and path in _parts(entry):
            depth = len(path)
        else:
            continue
        if depth and (best is None or (depth, kind != "x") > best[:2]):
            best = depth, kind != "x", file, line, age
    return (best[2], best[3]) if best and best[1] and best[4] not in ("", "-") else None


def _matches(path: str, pattern: str) -> bool:
    """fnmatch(3) with FNM_PATHNAME and FNM_PERIOD: no wildcard is a slash, or a dot at the beginning of a name."""
    names, patterns = path.split("/"), re.sub(r"\\(.)", r"[\1]", pattern).split("/")
    return len(names) == len(patterns) and all(
        fnmatch.fnmatchcase(name, one) and (name[:1] != "." or one[:1] == ".") for name, one in zip(names, patterns)
    )


def _parts(path: str) -> list[str]:
    """`path` and the directories above it."""
    return [path[: match.start()] or "/" for match in re.finditer("/", path)] + [path]


def _fields(line: str) -> tuple[str, str, str]:
    """Type, path and age of a line; empty where it has none."""
    try:
        words = shlex.split(line)
    except ValueError:
        return "", "", ""
    words += [""] * (6 - len(words))
    path = re.sub("%(.)", lambda match: _SPECIFIERS.get(match[1], match[0]), words[1])
    return words[0].rstrip("+!-=~^$?"), path.rstrip("/") or "/", words[5].lstrip("~")


def _lines(root: str) -> Iterator[tuple[str, str]]:
    """(file, line) of the configuration: of files with one name, that of the first directory counts."""
    found: dict[str, str] = {}
    for directory in _DIRECTORIES:
        for name in files.names(os.path.join(root, directory)):
            if name.endswith(".conf"):
                found.setdefault(name, os.path.join(root, directory, name))
    for _, file in sorted(found.items()):
        for line in files.lines(file):
            if line.strip() and not line.lstrip().startswith("#"):
                yield file, line.strip()


def _reaped(real: str, root: str) -> bool:
    """Whether tmpreaper(8), as Debian's cron job runs it, cleans `real`."""
    values = {"TMPREAPER_DIRS": "/tmp/.", "TMPREAPER_PROTECT_EXTRA": "", "SHOWWARNING": ""}  # noqa: S108 - its default
    configuration = os.path.join(root, "etc/tmpreaper.conf")
    if not os.path.exists(configuration) or not os.path.exists(os.path.join(root, "etc/cron.daily/tmpreaper")):
        return False
    for line in files.lines(configuration):
        match = re.fullmatch(r"\s*(?:export )?([A-Z_]+)=[\"']?(.*?)[\"']?\s*", line)
        if match and match[1] in values:
            values[match[1]] = match[2]
    places = [os.path.normpath(place) for place in values["TMPREAPER_DIRS"].split()]
    protected = values["TMPREAPER_PROTECT_EXTRA"].split()
    return (
        values["SHOWWARNING"] != "true"  # as installed: it does nothing until somebody takes that line out
        and any(part in places for part in _parts(real)[1:])
        and not any(fnmatch.fnmatchcase(part, pattern) for part in _parts(real) for pattern in protected)
    )
