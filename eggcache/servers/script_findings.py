"""Findings about the scripts and the path that the server's configuration gives an application.

The scripts are read as text, never run: see `script_settings`. A host may serve several applications by one Apache. A
process group with another Python or another cache belongs to another application. Where it is not clear whose a script
is, its settings give a notice.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

from eggcache.errors import Remedy
from eggcache.model import DateTime, Finding, Interpreter
from eggcache.servers import environment_variables, python_path, trac_front_ends
from eggcache.servers.apache_configuration import Configuration, Directive, options
from eggcache.servers.application_servers import ApplicationServer
from eggcache.servers.script_settings import Setting
from eggcache.servers.server_files import Script, read
from eggcache.system import files
from eggcache.target.command_lines import Prepare

_MOST = 100  # scripts of one directory
_NAMED = ("WSGIScriptAlias", "WSGIScriptAliasMatch", "WSGIHandlerScript")


def take_cache(configuration: Configuration) -> bool:
    """Whether a script reads PYTHON_EGG_CACHE from the WSGI environment, which has what SetEnv sets.

    As the trac.wsgi does that `trac-admin deploy` writes (Trac 1.2, web/templates/deploy_trac.wsgi): there SetEnv
    decides, and not the environment of the process.
    """
    lines = configuration.named(*_NAMED)
    return any(read(file).asks for line in lines for file in _files(line))


def findings(
    configuration: Configuration,
    prepare: Prepare,
    interpreter: Interpreter,
    dates: Sequence[DateTime],
    known_scripts: Sequence[str],
    servers: Sequence[ApplicationServer] = (),
) -> tuple[list[Finding], list[str]]:
    """What the configuration gives the application that was not checked, and the scripts that were read by line.

    :param configuration: what `apache_configuration.read` has got
    :param prepare: the cache that was checked, and what it is prepared for
    :param interpreter: the target
    :param dates: the zip's dates of what is extracted: two zones that agree on all of them are the same here
    :param known_scripts: the paths of the application's scripts; empty: those of the configuration may be
    :param servers: the servers of other kinds, whose scripts may be the application's as well
    """
    groups = list(daemons(configuration, prepare.directory, interpreter))
    scripts = [read(file) for file in known_scripts or _scripts(configuration, groups)]
    if not known_scripts:
        scripts += [script for server in servers for script in server.scripts]
    sure = bool(known_scripts) or (len(servers) == 1 and {*scripts} == {*servers[0].scripts})
    of_trac = [script.file for script in scripts if script.asks and script.tracs]
    problems = list(_unseen(servers, scripts if known_scripts else ()))
    problems += _of_scripts(scripts, prepare, dates, sure=sure)
    problems += trac_front_ends.findings(configuration, of_trac, prepare)
    problems += trac_front_ends.of_programs(configuration, interpreter.executable, prepare)
    problems += _of_paths(configuration, groups, servers, prepare, interpreter)
    return problems, [script.file for script in scripts if not script.parsed]


# ------------------------------------------------------------------------------------------------ which are whose


def daemons(configuration: Configuration, cache: str, interpreter: Interpreter | None) -> Iterator[Directive]:
    """The process groups that may run the application: those that no other Python and no other cache is given to.

    :param configuration: what `apache_configuration.read` has got
    :param cache: the egg cache; "" where there is none
    :param interpreter: the target; None: any Python may be it
    """
    default = [line.words[0] for line in configuration.named("WSGIPythonHome") if line.words][-1:]
    for line in configuration.named("WSGIDaemonProcess"):
        settings = options(line)
        home = settings.get("python-home") or (default[0] if default else None)
        path, named = settings.get("python-path", ""), settings.get("python-eggs")
        sites = interpreter.site_packages if interpreter else ()
        own = not (interpreter and home) or _same(home, interpreter.prefix) or any(site in path for site in sites)
        if own and (not named or not cache or _same(named, cache)):
            yield line


def _scripts(configuration: Configuration, daemons: Sequence[Directive]) -> list[str]:
    """The scripts that these process groups run, or that Apache runs itself."""
    groups = {options(line)[""] for line in configuration.named("WSGIDaemonProcess")}
    other_groups = groups - {options(line)[""] for line in daemons}
    script_files = dict[str, None]()
    for line in configuration.named(*_NAMED, "WSGIImportScript"):
        if _group(line, configuration) not in other_groups:
            script_files.update(dict.fromkeys(_files(line)))
    return list(script_files)


def _group(line: Directive, configuration: Configuration) -> str | None:
    """The process group that a script is given to: by its own line, or by the WSGIProcessGroup of its section."""
    group = options(line).get("process-group")
    around = [
        directive.words[0]
        for directive in configuration.named("WSGIProcessGroup")
        if directive.words and directive.context == line.context[: len(directive.context)]
    ]
    return group or (around[-1] if around else None)


def _files(line: Directive) -> Iterator[str]:
    """The scripts that a directive names."""
    number = 0 if line.name.lower() == "wsgiimportscript" else 1
    path = line.words[number] if len(line.words) > number else ""
    if "$" in path:  # what a part of the expression matched
        path = os.path.dirname(path.partition("$")[0])
    if path.startswith("/"):
        try:
            yield from (os.path.join(path, name) for name in sorted(os.listdir(path))[:_MOST])
        except OSError:  # it is the script itself
            yield path


# ----------------------------------------------------------------------------------------------- what they set


def _unseen(servers: Sequence[ApplicationServer], known: Sequence[Script]) -> Iterator[Finding]:
    """Servers that may have a cache by what is not seen of them; scripts that are `known` are theirs."""
    for server in servers:
        settings = [setting for script in (*server.scripts, *known) for setting in script.settings]
        own = server.environment.values.get("PYTHON_EGG_CACHE")
        if not (server.complete or own or any(setting.name == "PYTHON_EGG_CACHE" for setting in settings)):
            cause = "not all of its configuration can be seen, so which egg cache its application has was not checked"
            remedy = Remedy("see that it has the cache; a Python or ini file that sets it can be named with --script")
            yield Finding("configuration-unseen", server.environment.thing, cause, remedy, 0)


def _of_scripts(
    scripts: Sequence[Script], prepare: Prepare, dates: Sequence[DateTime], *, sure: bool
) -> Iterator[Finding]:
    """Findings about the settings of scripts. A script that names the cache is the application's, and then the others
    are not. Where some scripts name no cache, nobody can tell which script is meant, unless it is `sure`."""
    caches = [
        (script, setting) for script in scripts for setting in script.settings if setting.name == "PYTHON_EGG_CACHE"
    ]
    if not prepare.directory:
        return
    if sure or not any(setting.value is not None and _same(setting.value, prepare.directory) for _, setting in caches):
        certain = sure or len({script.file for script, _ in caches}) == len(scripts)
        for script, setting in caches:
            if setting.value is None and script.asks:
                continue  # it is what SetEnv says
            if setting.value is None or not _same(setting.value, prepare.directory):
                yield _of_cache(script, setting, prepare, certain=certain)
    for script in scripts:
        for setting in script.settings:
            zone, own_zone = setting.value, prepare.target.timezone
            if setting.name == "TZ" and zone is not None and not environment_variables.agree(dates, zone, own_zone):
                cause = f"it sets TZ to {zone!r}, {environment_variables.zone_words(own_zone)} here{_by_line(script)}"
                yield _judged("time-zone", script, setting, cause, _in_zone(prepare, zone), sure or len(scripts) == 1)


def _of_cache(script: Script, setting: Setting, prepare: Prepare, *, certain: bool) -> Finding:
    if setting.value is None:
        cause = f"it sets an egg cache, and only running it tells which{_by_line(script)}"
        return _judged("", script, setting, cause, Remedy(f"see that it is {prepare.directory}"), certain=False)
    cause = f"it has the application use {setting.value}, whatever the server says, and not {prepare.directory}"
    words = f"have it name {prepare.directory}, if it is for the same application"
    remedy = Remedy(f"{words}, or check what it uses (--cache {shlex.quote(setting.value)})")
    if setting.value.startswith("/") and not os.path.lexists(setting.value):
        remedy = Remedy(f"{words}, or prepare what it uses", prepare.at(setting.value).line())
    return _judged("egg-cache-elsewhere", script, setting, f"{cause}{_by_line(script)}", remedy, certain)


def _judged(code: str, script: Script, setting: Setting, cause: str, remedy: Remedy, certain: bool) -> Finding:
    if not certain:
        return Finding("another-application", f"{script.file}:{setting.line}", cause, remedy, 0)
    return Finding(code, f"{script.file}:{setting.line}", cause, remedy)


def _by_line(script: Script) -> str:
    return "" if script.parsed else " (read by line: eggcache's own Python cannot parse it)"


def _in_zone(prepare: Prepare, zone: str) -> Remedy:
    directory = f"{prepare.directory}-{re.sub('[^A-Za-z0-9_]+', '-', zone).strip('-') or 'local'}"
    of_zone = replace(prepare, directory=directory, target=prepare.target._replace(timezone=zone))
    return Remedy("have it set none, or prepare a cache for that zone, and have the server use it", of_zone.line())


# ----------------------------------------------------------------------------------------------------- the path


def _of_paths(
    configuration: Configuration,
    daemons: Sequence[Directive],
    servers: Sequence[ApplicationServer],
    prepare: Prepare,
    interpreter: Interpreter,
) -> Iterator[Finding]:
    """Eggs that a server puts on the path of the application, and that no path of the check has."""
    checked = {os.path.realpath(path) for path in interpreter.path}
    lines = [(line, options(line).get("python-path", "").split(":")) for line in daemons]
    lines += [(line, (line.words or ("",))[0].split(":")) for line in configuration.named("WSGIPythonPath")][-1:]
    lines += [(line, python_path.named(line)) for line in configuration.named("PythonPath")]
    entries = [(line.place, line.name, paths) for line, paths in lines]
    entries += [(server.environment.thing, "its configuration", list(server.paths)) for server in servers]
    for place, name, paths in entries:
        new = [path for path in paths if _has_eggs(path) and os.path.realpath(path) not in checked]
        if new:
            more = replace(prepare, target=prepare.target._replace(paths=(*prepare.target.paths, *new)))
            cause = f"{name} puts {' and '.join(new)} on the path, whose eggs were not checked"
            code, status = ("path-not-checked", 3) if len(entries) == 1 else ("another-application", 0)
            remedy = Remedy("prepare it with them, and check with the same", more.line())
            yield Finding(code, place, cause, remedy, status)


def _has_eggs(path: str) -> bool:
    """Whether pkg_resources finds zipped eggs by this entry of a path: it is one, or has some in it."""
    if not path.startswith("/"):
        return False
    eggs = (name for name in files.names(path) if name.lower().endswith(".egg"))
    return os.path.isfile(path) or any(os.path.isfile(os.path.join(path, egg)) for egg in eggs)


def _same(path: str, other: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)
