"""Findings about this host's Apache, by its configuration: what the cache needs, and the TurboGears manual asks for."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress

from eggcache.errors import UsageError
from eggcache.model import Finding, Interpreter
from eggcache.servers import apache, python_path, script_findings, trac_front_ends
from eggcache.servers.apache_configuration import Configuration, Directive, idle, options, proxies
from eggcache.system import accounts
from eggcache.system.accounts import Account

OLDEST = (3, 2, 7)  # the manual: "due to a bug in mod_python, version 3.2.7 or higher should be used"
_ENTRIES = 1_000_000  # of a cache; reading a real one with 100,000 as another user takes half a second


def host_findings(
    configuration: Configuration,
    *,
    interpreter: Interpreter | None = None,
    cache: str | None = None,
    account: Account | None = None,
    more_path: Sequence[str] | None = (),
) -> tuple[Finding, ...]:
    """What is wrong with the Apache of `configuration.read`, for the target `interpreter`, the directory `cache`, and
    the `account` of the server that reads it.

    Without one of these, what it would be compared with is left out; where another server than Apache runs the target
    (`beside`), it is left out as well. Who may read the cache is only told to root, and as anybody else about
    ourselves: nobody else can act as another user. Raises nothing. Nothing is found where there is no Apache; where it
    does not tell root its configuration, that is the finding, and `configuration.gap` a notice for anybody else.

    :param configuration: what `apache_configuration.read` has got
    :param interpreter: the target
    :param cache: the egg cache
    :param account: whom the server that reads the cache runs as
    :param more_path: what Apache's PYTHONPATH has; None: it cannot be told
    """
    findings: list[Finding] = []
    if configuration.program and configuration.problem and os.geteuid() == 0:
        cause = f"it does not print its configuration: {configuration.problem}"
        remedy = f"see what `{configuration.program} configtest` says, as root"
        findings.append(Finding("apache-configuration", configuration.program, cause, remedy))
    findings += _modules(configuration)
    findings += _mutex(configuration)
    findings += _debug(configuration)
    if interpreter is not None:
        if beside(configuration, interpreter, account):
            return tuple(findings)
        findings += _python(configuration, interpreter)
        findings += python_path.findings(configuration, interpreter, more_path)
    if cache is not None:
        findings += _ignored(configuration)
        findings += _elsewhere(configuration, cache)
        findings += _unreadable(configuration, cache, interpreter)
    return tuple(findings)


def beside(configuration: Configuration, interpreter: Interpreter, account: Account | None) -> str:
    """Why another server than this Apache is taken to run the target: for a message; "" where it may be Apache.

    Apache does not run a target of which each Python that it embeds differs. That is a mistake in --python, unless the
    `account` is none that Apache has processes of, or Apache proxies: to gunicorn, uWSGI, or what else runs the target.

    :param configuration: what `apache_configuration.read` has got
    :param interpreter: the target
    :param account: whom the server that reads the cache runs as
    """
    proxy = next(proxies(configuration), None)
    if proxy and idle(configuration):
        return f"{proxy.place} proxies, and Apache runs no Python, so another server runs it"
    mismatch = next(_python(configuration, interpreter), None)
    if mismatch is None:
        return ""
    if account is not None and os.geteuid() == 0 and account.uid not in uids(configuration):
        return f"{mismatch.cause}: no process of Apache's is {account.name}'s, so another server seems to run it"
    return f"{mismatch.cause}: {proxy.place} proxies, so another server seems to run it" if proxy else ""


def uids(configuration: Configuration) -> set[int]:
    """The accounts that Apache has processes of; AssignUserID is mpm_itk's, and RUidGid mod_ruid2's.

    :param configuration: what `apache_configuration.read` has got
    """
    users = [configuration.user, *(options(line).get("user") for line in configuration.named("WSGIDaemonProcess"))]
    users += [line.words[0] for line in configuration.named("AssignUserID", "RUidGid") if line.words]
    found = set()
    for user in filter(None, users):
        with suppress(UsageError):
            found.add(accounts.lookup(user.lstrip("#")).uid)
    return found


def daemon_account(configuration: Configuration, daemon: Directive) -> Account | None:
    """The account of the processes of a WSGIDaemonProcess; None where it cannot be found.

    mod_wsgi's wsgi_setup_access: user= and group= default to Apache's own, each by itself. Supplementary groups are the
    user's, or those of supplementary-groups=.
    """
    settings = options(daemon)
    user, group = settings.get("user") or configuration.user, settings.get("group") or configuration.group
    if not user or not group:
        return None
    try:
        account = accounts.lookup(user.lstrip("#"))
        gid = _group(group)
        if settings.get("supplementary-groups"):
            groups = [_group(name) for name in settings["supplementary-groups"].split(",")]
        else:
            groups = os.getgrouplist(account.name, gid)
    except UsageError:
        return None
    return Account(account.name, account.uid, gid, tuple(g for g in groups if g != gid))


def _group(name: str) -> int:
    """A group as Apache takes it (ap_gname2id): `#12` is a number, which needs no name."""
    return int(name[1:]) if re.fullmatch("#[0-9]{1,9}", name) else accounts.group(name)


def _modules(configuration: Configuration) -> Iterator[Finding]:
    by_name = {embedded.module: embedded for embedded in configuration.embedded}
    mod_python, mod_wsgi = by_name.get("mod_python"), by_name.get("mod_wsgi")
    if mod_python and mod_python.version and _numbers(mod_python.version) < OLDEST:
        cause = f"it is mod_python {mod_python.version}, which has a bug that TurboGears runs into"
        remedy = f"install mod_python {'.'.join(map(str, OLDEST))} or newer"
        yield Finding("mod-python-old", mod_python.file or "mod_python", cause, remedy)
    if mod_python and mod_wsgi and _numbers(mod_wsgi.version or "4") >= (4,):
        both = " and ".join(embedded.file or embedded.module for embedded in (mod_python, mod_wsgi))
        cause = (
            "both are loaded, and mod_wsgi 4 does not let Apache start beside mod_python, although configtest passes"
        )
        remedy = "disable one of them (Debian: a2dismod python, or a2dismod wsgi)"
        yield Finding("mod-python-and-mod-wsgi", both, cause, remedy)


def _mutex(configuration: Configuration) -> Iterator[Finding]:
    """mod_python reads these once, from the main server's options: in a section they have no effect."""
    if configuration.problem or "python_module" not in configuration.modules:
        return
    names = {line.words[0] for line in configuration.named("PythonOption") if line.words and not line.context}
    pid_files = [line.words[0] for line in configuration.named("PidFile") if line.words]  # the last one counts
    directory = os.path.dirname(pid_files[-1]) if pid_files and pid_files[-1].startswith("/") else apache.RUN
    for code, option, example in (
        ("mod-python-mutex-directory", "mutex_directory", f'"{directory}"'),
        ("mod-python-mutex-locks", "mutex_locks", "32"),
    ):
        if f"mod_python.{option}" not in names:
            cause = (
                f"there is no PythonOption mod_python.{option} outside of all sections: mod_python takes what it was "
                "compiled with, and Apache may not start"
            )
            remedy = f"add after its LoadModule: PythonOption mod_python.{option} {example}"
            yield Finding(code, configuration.program or "Apache", cause, remedy)


def _debug(configuration: Configuration) -> Iterator[Finding]:
    last: dict[tuple[str, ...], Directive] = {}
    for directive in configuration.named("PythonDebug"):
        last[directive.context] = directive  # of two in one section the second counts
    for directive in last.values():
        if directive.arguments.lower() == "on":
            cause = "PythonDebug is on: a visitor who makes a page fail sees the traceback, with paths and source lines"
            remedy = "set it to off; Apache's error log has the tracebacks in any case"
            yield Finding("mod-python-debug", directive.place, cause, remedy)


def _python(configuration: Configuration, interpreter: Interpreter) -> Iterator[Finding]:
    modules = [embedded for embedded in configuration.embedded if embedded.python]
    version = interpreter.version[:2]
    if modules and len(modules) == len(configuration.embedded) and all(e.python[:2] != version for e in modules):
        for embedded in modules:
            cause = f"Apache embeds Python {_dotted(embedded.python)} ({embedded.libpython}), and "
            cause += f"{interpreter.executable} is Python {_dotted(interpreter.version)}"
            yield _other(embedded.file or embedded.module, cause)
        return
    yield from _home(configuration, interpreter)


def _home(configuration: Configuration, interpreter: Interpreter) -> Iterator[Finding]:
    """Where mod_wsgi is told which installation its Python belongs to: one of them has to be the target's.

    Not where a path brings in the target's own site-packages, which is the other way to serve a virtual environment,
    nor where any process is not told: which installation that has only the process itself knows.
    """
    homes: dict[str | None, str] = {}
    default = _last(configuration, "WSGIPythonHome")
    daemons = list(configuration.named("WSGIDaemonProcess"))
    for directive in daemons or ([default] if default else []):
        home_option = options(directive).get("python-home") if daemons else None
        fallback = default.words[0] if default and default.words else None
        homes.setdefault(home_option or fallback, directive.place if home_option or not default else default.place)
    prefix = os.path.realpath(interpreter.prefix)
    if not homes or None in homes or any(os.path.realpath(home) == prefix for home in homes if home):
        return
    paths = " ".join(line.arguments for line in configuration.named("WSGIDaemonProcess", "WSGIPythonPath"))
    if any(directory in paths for directory in interpreter.site_packages):
        return
    for home, place in homes.items():
        yield _other(
            place, f"mod_wsgi's Python is the one of {home}, and {interpreter.executable} is of {prefix}", home
        )


def _other(thing: str, cause: str, home: str | None = None) -> Finding:
    program = os.path.join(home, "bin", "python") if home else ""
    path = shlex.quote(program) if os.access(program, os.X_OK) else "PATH"
    return Finding("other-python", thing, cause, f"name the interpreter that Apache runs: --python {path}")


def _ignored(configuration: Configuration) -> Iterator[Finding]:
    """What the manual's author tried: mod_python and mod_wsgi hand neither to the environment of the process."""
    if not configuration.embedded or trac_front_ends.handled(configuration):  # a CGI script does get what SetEnv sets
        return
    for directive in configuration.named("SetEnv", "PythonOption"):
        if directive.words[:1] != ("PYTHON_EGG_CACHE",) or (
            directive.name.lower() == "setenv" and script_findings.take_cache(configuration)
        ):
            continue
        cause = (
            f"{directive.name} PYTHON_EGG_CACHE does not reach the environment of the process: it has no effect, "
            "unless the application itself reads it"
        )
        remedy = "leave it there, and use what `eggcache wrapper` prints (--for mod_python, --for mod_wsgi) as well"
        yield Finding("egg-cache-ignored", directive.place, cause, remedy)


def names_cache(configuration: Configuration, cache: str) -> bool:
    """Whether a directive names `cache`: it beats what Apache's environment says, or does not say.

    :param configuration: what `apache_configuration.read` has got
    :param cache: the egg cache
    """
    place = os.path.realpath(cache)
    return any(
        directory and os.path.realpath(directory) == place
        for kind in _declarations(configuration)
        for _, directory in kind
    )


def _declarations(configuration: Configuration) -> tuple[list[tuple[Directive, str]], ...]:
    """What directives name as the egg cache: of mod_wsgi's daemons, of mod_wsgi embedded, of mod_python, and of scripts
    that read it themselves."""
    daemons = [(line, options(line).get("python-eggs", "")) for line in configuration.named("WSGIDaemonProcess")]
    embedded = [(line, line.words[0] if line.words else "") for line in configuration.named("WSGIPythonEggs")]
    names = {"eggcache.directory", *(["PYTHON_EGG_CACHE"] if trac_front_ends.handled(configuration) else [])}
    by_option = [line for line in configuration.named("PythonOption") if line.words and line.words[0] in names]
    by_script = [line for line in configuration.named("SetEnv") if line.words[:1] == ("PYTHON_EGG_CACHE",)]
    variables = by_script if by_script and script_findings.take_cache(configuration) else []
    of_options, of_scripts = (
        [(line, line.words[1] if len(line.words) > 1 else "") for line in lines] for lines in (by_option, variables)
    )
    return daemons, embedded, of_options, of_scripts


def _elsewhere(configuration: Configuration, cache: str) -> Iterator[Finding]:
    """Where Apache itself is told a cache, one of those it is told has to be this.

    A host may serve several applications, each from its own: which process group serves which is not looked at.
    WSGIPythonEggs is for embedded mode alone, so that it does not help the daemon processes, nor hurt them.
    """
    daemons, embedded, *_ = kinds = _declarations(configuration)
    place = os.path.realpath(cache)
    for kind in kinds:
        named_directories = [(line, directory) for line, directory in kind if directory]
        if any(os.path.realpath(directory) == place for _, directory in named_directories):
            if kind is daemons:
                embedded.clear()
            continue
        for line, directory in named_directories:
            cause = f"{line.name} has Apache use {directory}, whatever PYTHON_EGG_CACHE says, and not {cache}"
            remedy = f"check that directory (--cache), or name {cache} there if it is for the same application"
            yield Finding("egg-cache-elsewhere", line.place, cause, remedy)


def _unreadable(configuration: Configuration, cache: str, interpreter: Interpreter | None) -> Iterator[Finding]:
    """Process groups that may run the application and cannot read its cache; another one is kept apart on purpose."""
    for daemon in script_findings.daemons(configuration, cache, interpreter):
        account, settings = daemon_account(configuration, daemon), options(daemon)
        if account is None or os.geteuid() not in (0, account.uid):
            continue
        path = first_unreadable(cache, account)
        if path is not None:
            cause = accounts.in_the_way(path, account).cause.replace("cannot use it", "cannot read the cache")
            cause = f"the processes of {settings['']} run as {account.name}, and {cause}"
            remedy = f"give them its group (group={accounts.group_name(os.stat(cache).st_gid)}), or another cache "
            remedy += f"(python-eggs=…), prepared with --user {account.name}"
            yield Finding("daemon-user-cannot-read", daemon.place, cause, remedy)


def first_unreadable(cache: str, account: Account) -> str | None:
    """The first path of a cache that the account cannot read; None where it can read all that pkg_resources asks for.

    What is not a *-tmp directory is eggcache's own: its receipt and its lock.

    :param cache: the egg cache
    :param account: whom the server runs as
    """
    with accounts.acting(account):
        pending, count = [cache], 0
        while pending:
            directory = pending.pop()
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        count += 1
                        if count > _ENTRIES:
                            return None
                        if directory == cache and not entry.name.endswith("-tmp"):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
                        elif not accounts.may(entry.path, os.R_OK):
                            return entry.path
            except FileNotFoundError:
                continue  # a cache that is not there is a finding of its own
            except OSError:
                return directory
    return None


def _last(configuration: Configuration, name: str) -> Directive | None:
    return next(reversed(list(configuration.named(name))), None)


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"[0-9]{1,6}(?:\.[0-9]{1,6})*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
