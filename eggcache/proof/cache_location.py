"""Where a cache lies: its file system, its SELinux label, and what hides it from servers."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from eggcache.cache import groups_and_time_zones
from eggcache.errors import Remedy
from eggcache.model import Finding, Tree
from eggcache.proof import cleaners
from eggcache.servers import apache, apache_findings, environment_variables, systemd
from eggcache.servers.application_servers import ApplicationServer
from eggcache.servers.environment_variables import Environment
from eggcache.system import accounts, procfs
from eggcache.system.accounts import Account
from eggcache.target import command_lines
from eggcache.target.command_lines import Prepare

_VOLATILE = ("tmpfs", "ramfs", "devtmpfs")
_EXECUTABLE = ("lib_t", "textrel_shlib_t", "httpd_modules_t")  # httpd_t may map them executable, and write none
_READABLE = (*_EXECUTABLE, "usr_t", "etc_t", "httpd_sys_content_t", "httpd_sys_script_exec_t", "bin_t")


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
    yield from cleaners.findings(directory, apache.mount_points(host, directory))
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


def unreadable(
    prepare: Prepare, servers: Iterable[tuple[Account, Environment]], unit: systemd.Unit | None
) -> Iterator[Finding]:
    """Whether these `servers`, which are of other users than that of `prepare`, can read its cache; `unit` is Apache's.

    What only names the cache for Apache goes on naming it, wherever else one is prepared: that has to be changed.
    """
    for account, environment in servers:
        path = apache_findings.first_unreadable(prepare.directory, account)
        if path is not None:
            cause = accounts.in_the_way(path, account).cause.replace("cannot use it", "cannot read the cache")
            own = replace(prepare, target=prepare.target._replace(account=account, group=account.gid))
            cause = f"its processes run as {account.name}, and {cause}"
            if environment.pid:
                remedy = groups_and_time_zones.other_directory(own)
                if not _by_root(environment.pid):  # nothing tells it from what a stranger starts under that name
                    cause += "; nothing shows that root had it started, and any user can start such a process"
                    remedy = remedy._replace(text=f"see that it is a server of this application; then {remedy.text}")
            else:
                another = groups_and_time_zones.own_directory(own.at(os.path.realpath(own.directory)))
                remedy = environment_variables.renamed(environment, unit, another)
            yield Finding("daemon-user-cannot-read", environment.thing, cause, remedy)


def _by_root(pid: int) -> bool:
    """Whether a process, or what started it, is root's, or it is a service of systemd's."""
    with suppress(OSError, KeyError, IndexError):
        started = [pid, *([parent] if (parent := procfs.parent(pid)) > 1 else [])]
        return procfs.unit(pid) is not None or any(procfs.status(each)["Uid"].split()[1] == "0" for each in started)
    return False


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
