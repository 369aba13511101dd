"""Where a cache lies: its file system, its SELinux label, the /tmp that Apache has, and what cleans it."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from eggcache.cache import groups_and_time_zones
from eggcache.errors import Remedy
from eggcache.model import Finding, Tree
from eggcache.servers import apache, apache_findings, environment_variables
from eggcache.servers.application_servers import ApplicationServer
from eggcache.system import accounts, files, procfs
from eggcache.target import command_lines
from eggcache.target.command_lines import Prepare

_VOLATILE = ("tmpfs", "ramfs", "devtmpfs")
_EXECUTABLE = ("lib_t", "textrel_shlib_t", "httpd_modules_t")  # httpd_t may map them executable, and write none
_READABLE = (*_EXECUTABLE, "usr_t", "etc_t", "httpd_sys_content_t", "httpd_sys_script_exec_t", "bin_t")
_DIRECTORIES = ("etc/tmpfiles.d", "run/tmpfiles.d", "usr/local/lib/tmpfiles.d", "usr/lib/tmpfiles.d")  # tmpfiles.d(5)
_AGED = "dDvqQCexX"  # types of tmpfiles.d(5) whose age has what is below their path cleaned
_PATTERNS = "wexXrRmzZtThHaA"  # types whose path is a pattern
_OWNING = "fFdDvqQpLcbCwexXrR"  # types of which a path has one
_SPECIFIERS = {"%": "%", "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "T": "/tmp", "V": "/var/tmp"}  # noqa: S108
_IDENTITIES = {"b": "/proc/sys/kernel/random/boot_id", "m": "/etc/machine-id", "H": "/proc/sys/kernel/hostname"}


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
        text = "prepare it at every start of Apache, as the wrappers do"
        if _file_system("/var/cache") not in _VOLATILE:  # some hosts have no other place
            text += ", or use /var/cache/eggcache"
        yield Finding("volatile", directory, f"it is on {kind}, which is empty after the next boot", Remedy(text))
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
        remedy = Remedy("give it the label of libraries; semanage is in policycoreutils-python-utils", relabel)
        yield Finding("selinux-label", directory, cause, remedy)


def unseen_eggs(tree: Tree, host: apache.Apache) -> Iterator[Finding]:
    """The directories of the target and its eggs that Apache will not see, each once, with the finding for it."""
    python, prefixes = tree.interpreter, list[str]()
    places = {
        python.prefix,
        *python.path,
        *(distribution.egg or distribution.location for distribution in tree.distributions),
    }
    for place in sorted(filter(os.path.exists, places), key=lambda place: (len(place), place)):
        unseen = None if place.startswith(tuple(prefixes)) else apache.hides(host, place)
        if unseen:
            prefixes.append(f"{place}/")
            yield replace(unseen, remedy=Remedy("install it where Apache sees it, with what names it there"), status=3)


def hidden(prepare: Prepare, others: Iterable[ApplicationServer] = ()) -> Iterator[Finding]:
    """Whether the running servers with the cache of `prepare` in their environment, and those `others` whose files name
    it, see it at its place. Another Apache may be anybody's: that it has another cache, or none, is told by
    `environment_variables.findings`.

    The settings of a unit are checked before (`apache.hides`). This is about their effect, that of ProtectHome= and the
    like, and about mounts since a server was started.
    """
    cache, account = os.path.realpath(prepare.directory), prepare.target.account
    servers = {server.pid: server for server in environment_variables.using(cache, account)}
    having = (server for server in others if server.cache and os.path.realpath(server.cache) == cache)
    servers.update((server.environment.pid, server.environment) for server in having)
    for pid, visible in procfs.ask(sorted(servers), lambda pid: procfs.shows(pid, cache), []):
        if visible is False:
            again = "restart it, where something was mounted or unmounted since it started"
            remedy = Remedy(f"{again}; else use a directory that it sees")
            if cache != command_lines.ELSEWHERE:
                remedy = remedy._replace(command=prepare.at(command_lines.ELSEWHERE).line())
            cause = f"{servers[pid].thing} does not see it: in its mount namespace that is another place, or none"
            yield Finding("hidden-from-process", prepare.directory, cause, remedy)


def unreadable(prepare: Prepare, servers: Iterable[ApplicationServer]) -> Iterator[Finding]:
    """Whether these `servers`, which are of other users than that of `prepare`, can read its cache."""
    for server in servers if os.geteuid() == 0 else ():
        account = accounts.account_of(str(server.uid))
        path = apache_findings.first_unreadable(prepare.directory, account)
        if path is not None:
            cause = accounts.in_the_way(path, account).cause.replace("cannot use it", "cannot read the cache")
            own = replace(prepare, target=prepare.target._replace(account=account, group=account.gid))
            cause = f"its processes run as {account.name}, and {cause}"
            yield Finding(
                "daemon-user-cannot-read", server.environment.thing, cause, groups_and_time_zones.other_directory(own)
            )


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
    lines = _effective(root)
    names = list(_names(real, lines))
    line = next(filter(None, (_governing(name, lines) for name in names)), None)
    if line:
        cause = f"systemd-tmpfiles removes old files from it: {line.file} says {line.text!r}"
        elsewhere = "use /var/cache/eggcache"
        additions = [_Line("", "", "x", _fields(f"x {real}{below}")[1], "") for below in ("", "/*", "/.*")]
        exclusion = (
            f"write 'x {real}', 'x {real}/*' and 'x {real}/.*' to /etc/tmpfiles.d/eggcache.conf, each to a line of its "
            f"own, or {elsewhere}"
        )
        in_vain = any(_governing(name, [*additions, *lines]) for name in names)
        remedy = Remedy(elsewhere if in_vain else exclusion)
        yield Finding("cleaned", directory, cause, remedy)
    elif _reaped(real, root):
        cause = f"tmpreaper removes old files from it, as {os.path.join(root, 'etc/tmpreaper.conf')} says"
        remedy = Remedy(f"add '{real}*' to TMPREAPER_PROTECT_EXTRA there, or use /var/cache/eggcache")
        yield Finding("cleaned", directory, cause, remedy)


class _Line(NamedTuple):
    """A line of tmpfiles.d(5); its age is "" where it has nothing cleaned."""

    file: str
    text: str
    kind: str
    path: str
    age: str

    def is_on(self, path: str) -> bool:
        if self.kind not in _PATTERNS:
            return path == self.path
        # What is cleaned is found by glob(3), which knows braces; what is passed over, by fnmatch(3)
        return any(_matches(path, pattern) for pattern in (_braced(self.path) if self.age else [self.path]))


def _governing(real: str, lines: Sequence[_Line]) -> _Line | None:
    """The line that has something in the directory cleaned that it names so; None where there is none.

    What is below the path of a line with an age is cleaned, down to the next mount point; an entry on the way that has
    a line of its own, of whatever type, is passed over (tmpfiles.c, dir_cleanup). So `x` on the path of a line that
    ages it takes nothing back.
    """
    above: _Line | None = None
    mounts = {place for place, _ in procfs.mounts()}
    for part in reversed(_parts(real)):
        on_it = [line for line in lines if line.is_on(part)]
        if on_it or os.path.realpath(part) in mounts:
            above = next((line for line in on_it if line.age), None)
            break
    inside = [line for line in lines if line.path.count("/") == real.count("/") + 1]
    for name in files.names(real) or ["-"]:
        own = [line for line in inside if line.is_on(os.path.join(real, name))]
        governing = next((line for line in own if line.age), None) if own else above
        if governing:
            return governing
    return None


def _effective(root: str) -> list[_Line]:
    """The lines that `systemd-tmpfiles --clean` goes by; none where systemd, whose timer runs it, does not run.

    Of two on one path the first counts, patterns and other paths apart; a "+" makes no difference.
    """
    if not os.path.isdir(os.path.join(root, "run/systemd/system")):
        return []
    lines, owned = list[_Line](), set[tuple[bool, str]]()
    for file, texts in groupby(_lines(root), key=itemgetter(0)):
        for _, text in texts:
            modified, path, age = _fields(text)
            if not modified or not path.startswith("/") or "!" in modified:  # with "!" it is for the boot alone
                continue
            kind = modified[0]
            owner = kind in _PATTERNS, path
            if kind not in _OWNING or owner not in owned:
                lines.append(_Line(file, text, kind, path, age if kind in _AGED and age != "-" else ""))
                owned |= {owner} if kind in _OWNING else set()
        # As systemd does after each file, so that an age stays which a later file would not have given.
        lines = [line if line.kind != "X" else _inheriting(line, lines) for line in lines]
    return lines


def _names(real: str, lines: Iterable[_Line]) -> Iterator[str]:
    """The names by which these lines may have `real` cleaned: others lead through symbolic links, which systemd follows
    above the last name of a path, and it compares what it cleans with lines that have the same name."""
    yield real
    for line in lines:
        for path in _paths(line) if line.age else ():
            above, name = os.path.split(path)
            place = os.path.join(os.path.realpath(above), name)
            if place != path and place in _parts(real):
                yield path + real[len(place) :]


def _paths(line: _Line) -> Iterator[str]:
    """What there is that the path of a line names. A directory is not searched for a pattern through a link to it."""
    if line.kind not in _PATTERNS:
        yield line.path
        return
    for pattern in _braced(line.path):
        searched = [n for n, part in enumerate(pattern.split("/")) if glob.has_magic(part)]
        for path in glob.iglob(pattern):
            if not any(os.path.islink("/".join(path.split("/")[:n])) for n in searched):
                yield path


def _inheriting(line: _Line, lines: Iterable[_Line]) -> _Line:
    """The `X` with the age that it has from another line: the first that it is below, or a deeper one that its pattern
    is for."""
    source: _Line | None = None
    for other in lines:
        if other.kind not in "dDvqQ":
            continue
        if source:
            deeper = source.path in _parts(other.path) and _matches(other.path, line.path)
        else:
            deeper = other.path in _parts(line.path)
        if deeper or other.path == line.path:
            source = other
    return source._replace(kind=line.kind, path=line.path) if source and source.age else line


def _matches(path: str, pattern: str) -> bool:
    """fnmatch(3) with FNM_PATHNAME and FNM_PERIOD: no wildcard is a slash, or a dot at the beginning of a name."""
    names, patterns = path.split("/"), re.sub(r"\\(.)", r"[\1]", pattern).split("/")
    return len(names) == len(patterns) and all(
        fnmatch.fnmatchcase(name, part) and (name[:1] != "." or part[:1] == ".") for name, part in zip(names, patterns)
    )


def _braced(pattern: str) -> list[str]:
    """The patterns that one with braces stands for."""
    first = re.search(r"\{([^{}]*)\}", pattern)
    if not first:
        return [pattern]
    before, after = pattern[: first.start()], pattern[first.end() :]
    return [each for part in first[1].split(",") for each in _braced(before + part + after)]


def _parts(path: str) -> list[str]:
    """`path` and the directories above it."""
    return [path[: match.start()] or "/" for match in re.finditer("/", path)] + [path]


def _fields(line: str) -> tuple[str, str, str]:
    """Type with its modifiers, path and age of a line; empty where it has none."""
    try:
        words = shlex.split(line)
    except ValueError:
        return "", "", ""
    words += [""] * (6 - len(words))
    path = re.sub("/+", "/", re.sub("%(.)", lambda match: _specifier(str(match[1])), words[1]))
    return words[0], path.rstrip("/") or "/", words[5].lstrip("~")


def _specifier(letter: str) -> str:
    if letter in _IDENTITIES:
        identity = os.fsdecode(files.beginning(_IDENTITIES[letter], 256)).strip()  # sysctl refuses a read of megabytes
        return identity if letter == "H" else identity.replace("-", "")
    return _SPECIFIERS.get(letter, f"%{letter}")


def _lines(root: str) -> Iterator[tuple[str, str]]:
    """(file, line) of the configuration: of files with one name, that of the first directory counts."""
    paths: dict[str, str] = {}
    for directory in _DIRECTORIES:
        for name in files.names(os.path.join(root, directory)):
            if name.endswith(".conf"):
                paths.setdefault(name, os.path.join(root, directory, name))
    for _, file in sorted(paths.items()):
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
