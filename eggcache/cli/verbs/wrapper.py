"""The command `wrapper`: it chooses the kind for this host, and prints or writes the text."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import zipfile
from dataclasses import replace

from eggcache.cache import freshness, groups_and_time_zones, receipt
from eggcache.cli import arguments, console, next_command, receipt_defaults, site_settings
from eggcache.cli.render import report
from eggcache.errors import Remedy, UsageError, in_one_line
from eggcache.model import Limits
from eggcache.servers import apache, application_servers, systemd
from eggcache.system import accounts, files
from eggcache.target import other_host, search_path
from eggcache.target.command_lines import Prepare
from eggcache.target.interpreter import ELSEWHERE, REPORTED, Target
from eggcache.wrappers import destination, emission, kinds, modpython

_MOD_PYTHON = {  # options of `wrapper` that are of no use to other kinds
    "--directory": "module_directory",
    "--app": "app",
    "--location": "location",
    "--app-config": "app_config",
}

# Seconds: systemd ends what starts a server, and leaves the server down, after TimeoutStartSec=, which is 90 s for each
# ExecStartPre= unless somebody says otherwise, see systemd-system.conf(5); what is prepared then needs time as well.
_WAIT = "60"

_FREEBSD_GROUP = "80"  # FreeBSD's www, as which its Apache runs: /etc/group of FreeBSD's base system


def run(options: argparse.Namespace) -> int:
    """Print the wrapper that `options` ask for, or write it where they say; the exit status."""
    if options.prepared_elsewhere:
        host, kind, reason, values = _for_another_host(options)
    else:
        group = _FREEBSD_GROUP if options.kind == "freebsd" and not options.group else ""
        said = options.tz is not None
        options = receipt_defaults.alone(options, os.path.abspath(options.directory))
        options.zone_is_said = said
        options.group = group or options.group
        host, kind, reason, values = _for_this_host(options)
    directory, debian, pid_file = values.directory, values.debian, values.pid_file or None
    text = _with_modules(options, kind, emission.wrapper(kind, values), values, host)
    instead = _dropin(options, host) if emission.lost_to_systemd(kind, host) else ""
    for finding in emission.warnings(kind, directory, host, instead, debian=debian):
        console.warn(str(finding), options)
    part = kinds.part(kind, debian=debian)
    if options.output and not options.dry_run:
        path = os.path.abspath(options.output)
        if part:
            registered = kinds.KINDS[kind]
            undone = registered.undone if values.prepare else ""
            outcome = destination.insert(path, text, position=registered.position, undone=undone)
            if outcome.undone:
                cause = f"line {outcome.undone}, below what eggcache wrote, takes its place: nothing prepares the cache"
                console.warn(f"{path}: {cause}; put what is there above what eggcache wrote, which calls it", options)
        else:
            outcome = destination.write(path, text, mode=0o755 if kinds.KINDS[kind].executable else 0o644)
        command = "" if instead else emission.following(kind, path, host, debian=debian, prepare=values.prepare)
        if options.prepared_elsewhere:
            command = "take it to that host, and do there what its first lines say"
        _say(path, outcome, command, options)
    if options.json:
        fields = {
            "schema": 1,
            "command": "wrapper",
            "directory": directory,
            "kind": kind,
            "why": reason,
            "place": emission.place(kind, host, debian=debian),
            "part": part,
            "executable": kinds.KINDS[kind].executable,
            "apachectl": host.apachectl,
            "pid_file": pid_file,
            "unit": host.unit and host.unit.name,
            "text": text,
        }
        print(report.as_json(fields))
    elif not options.output or options.dry_run:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(text))  # a path in it may be no UTF-8
        sys.stdout.flush()
        place = emission.place(kind, host, debian=debian)
        shown = sys.stdout.isatty() and not options.output and not options.prepared_elsewhere
        if place and shown and not instead:
            console.warn(f"to have it written: {next_command.repeated(options, '-o', place)}", options)
    return 0


def _kind(options: argparse.Namespace, host: apache.Apache) -> tuple[str, str]:
    """The kind for what runs the target here, and why."""
    server = None
    if not (options.apachectl or options.unit or options.pid_file):
        server = application_servers.instead_of(host, Target(arguments.python(options), arguments.paths(options)))
    if server:
        return server.kind, f"{server.environment.thing} runs the target here, and Apache runs no Python"
    return emission.choose(host, trac=any(map(search_path.is_trac, arguments.paths(options))))


def _for_this_host(options: argparse.Namespace) -> tuple[apache.Apache, str, str | None, kinds.WrapperSettings]:
    """This host's Apache, the kind, why it is that where nobody has said so, and the values of the text."""
    arguments.doubt(options)
    host = _host(options)
    directory, unit = os.path.abspath(options.directory), host.unit.name if host.unit else ""
    kind, reason = options.kind, None
    if not kind:
        kind, reason = _kind(options, host)
        console.warn(f"--for {kind}: {reason}", options)
    registered = kinds.KINDS.get(kind)
    if registered and registered.apachectl and emission.takes_envvars(host.apachectl or ""):
        _refuse_variable(str(host.apachectl))
    if kind == "systemd":
        emission.check_seen(directory, unit, host.private_tmp, Remedy("use another", _elsewhere(options, unit)))
    timezone = arguments.timezone(options)
    user, group = options.user or host.user, options.group or (None if options.user else host.group)
    python = arguments.python(options)
    account = arguments.reader(options, user)
    if user:
        group = group or str(account.gid)
    gid = accounts.group(group, "--group" if options.group else "Apache's Group") if group else None
    target = Target(python, arguments.paths(options), account, gid, timezone)
    prepare = Prepare(directory, target, arguments.roots(options), Limits(**arguments.limits(options)))
    _warn_of_another(prepare, options)
    if registered and (registered.zoned or registered.starts_apache) and not options.zone_is_said:
        site_settings.keep_zone(prepare, kind, host, options)
    command = [*_ourselves(options), "prepare", directory, "--lenient"]
    command += next_command.words(
        python=python, paths=arguments.paths(options), user=user, group=group, timezone=timezone, limits=options.limits
    )
    if _is_shared(os.path.dirname(directory)):
        command += ["--reset"]
    command += ["--wait", _WAIT]
    command += next_command.tree_options(options)
    command += ["--", *options.requirements] if options.requirements else []
    pid_file = options.pid_file or host.pid_file
    debian = bool(host.apachectl) and emission.takes_envvars(host.apachectl or "")
    values = kinds.WrapperSettings(
        directory,
        command,
        timezone,
        apachectl=host.apachectl or "",
        pid_file=pid_file or "",
        unit=unit,
        debian=debian,
        private_tmp=host.private_tmp,
        name=_name(kind, options),
    )
    return host, kind, reason, values


def _for_another_host(options: argparse.Namespace) -> tuple[apache.Apache, str, str | None, kinds.WrapperSettings]:
    """The same for a host without eggcache: what the options say, and nothing that is true of this host."""
    if not options.kind:
        remedy = f"name the kind: --for, and one of {', '.join(sorted(kinds.KINDS))}"
        raise UsageError("--prepared-elsewhere", "it cannot be told from here what starts a server there", remedy)
    unit = systemd.Unit(options.unit) if options.unit else None
    host = apache.Apache(apachectl=options.apachectl, pid_file=options.pid_file, unit=unit)
    debian = os.path.basename(options.apachectl or "").startswith("apache2")
    values = kinds.WrapperSettings(
        other_host.place(options.directory, options.directory),
        (),
        options.tz,
        apachectl=options.apachectl or "",
        pid_file=options.pid_file or "",
        unit=options.unit or "",
        debian=debian,
        name=_name(options.kind, options),
    )
    return host, options.kind, None, values


def _name(kind: str, options: argparse.Namespace) -> str:
    """The name of an init script, which is that of its file: init systems find it by either."""
    return os.path.basename(options.output) if kind == "init.d" and options.output else kinds.WrapperSettings.name


def _host(options: argparse.Namespace) -> apache.Apache:
    """This host's Apache, or the one that the options name."""
    host = apache.read(options.apachectl)
    if options.unit and not (host.unit and host.unit.name == options.unit):
        host = replace(host, unit=systemd.read([options.unit]) or systemd.Unit(options.unit))
    return host


def _refuse_variable(apachectl: str) -> None:
    """Raise UsageError where APACHE_CONFDIR names another Apache than a script without it would control."""
    named, own = (os.path.realpath(apache.directory_of(apachectl, named=each)) for each in (True, False))
    if named != own:
        cause = f"a script that runs {apachectl} at a boot has no such variable: it would control the Apache of {own}"
        instance = apache.instance_of(apachectl) or "NAME"
        remedy = f"unset it, and name the instance's own script: --apachectl /usr/local/sbin/apache2ctl-{instance}"
        raise UsageError("APACHE_CONFDIR", cause, remedy)


def _dropin(options: argparse.Namespace, host: apache.Apache) -> str:
    """The command that installs the drop-in, and has Apache start with it: for a cache that its unit sees."""
    place = emission.place("systemd", host) or ""
    is_hidden = host.private_tmp is not False and files.in_tmp(os.path.abspath(options.directory))
    directory = ELSEWHERE if is_hidden else options.directory
    write = _for_systemd(options, directory, "--unit", emission.unit_of(host), "-o", place)
    return f"{write} && {emission.following('systemd', place, host)}"


def _elsewhere(options: argparse.Namespace, unit: str) -> str:
    """The command that prints, or writes, the same drop-in for a directory that every unit sees. Which Apache is meant
    it says by the name of that one's `unit`."""
    unit, output = unit if options.unit or options.apachectl else "", options.output
    return _for_systemd(options, ELSEWHERE, *(["--unit", unit] if unit else []), *(["-o", output] if output else []))


def _for_systemd(options: argparse.Namespace, directory: str, *words: str) -> str:
    """The command that prints, or writes, a drop-in for `directory`, and for what the options say else."""
    variant = argparse.Namespace(**{**vars(options), "directory": directory})
    return f"{next_command.wrapper(variant)} {shlex.join(['--for', 'systemd', *words])}"


def _with_modules(
    options: argparse.Namespace, kind: str, text: str, values: kinds.WrapperSettings, host: apache.Apache
) -> str:
    """The text with what mod_python's own options add to it, after its modules were written to --directory."""
    names = [option for option, name in _MOD_PYTHON.items() if getattr(options, name)]
    if kind != "mod_python":
        if names:
            raise UsageError(names[0], f"it says nothing to --for {kind}", "use --for mod_python")
        return text
    if not options.app and (options.location or options.app_config):
        raise UsageError(names[-1], "it belongs to an application", "name its package with --app")
    if options.app and not options.app_config:
        raise UsageError(f"--app {options.app}", "it has a configuration", "name the file with --app-config")
    modules = options.module_directory and os.path.abspath(options.module_directory)
    on_path = modules and not options.prepared_elsewhere and site_settings.has_python_path(modules, host, options)
    location, requirements = options.location or f"/{options.app}", options.requirements or REPORTED
    config = options.app and os.path.abspath(options.app_config)
    application = options.app and modpython.Application(options.app, location, config, requirements)
    output = modpython.mod_python(
        values,
        modules=modules or None,
        paths=None if on_path else arguments.paths(options),
        application=application or None,
        mutexes=os.path.dirname(values.pid_file) or apache.RUN,
    )
    for name, source in [] if options.dry_run else output.modules.items():
        path = os.path.join(modules, name)
        outcome = destination.write(path, source, mode=0o644)
        if outcome.changed:
            _say(path, outcome, "", options)
    return output.configuration


def _say(path: str, outcome: destination.Written, following: str, options: argparse.Namespace) -> None:
    """Say what became of a file, and what to run now."""
    if not outcome.changed:
        console.warn(f"{path}: it has this text already: nothing was written", options)
        return
    note = f"; somebody had changed what eggcache wrote there: that is kept in {outcome.kept}" if outcome.kept else ""
    console.warn(f"{path}: written{note}", options)
    if following:
        console.warn(f"next: {following}", options)


def _warn_of_another(prepare: Prepare, options: argparse.Namespace) -> None:
    """Say so where the directory was prepared, but not by what the wrapper is going to run."""
    directory, target = prepare.directory, prepare.target
    record = receipt.of_safe_directory(directory)
    entry = record.entries.get(freshness.key(target, prepare.roots))
    cause, remedy = "", Remedy("")
    try:
        groups_and_time_zones.keep_readers(record, prepare)
    except groups_and_time_zones.ServesOthers as error:
        cause, remedy = error.cause, error.remedy
    if record.entries and entry is None and not cause:
        cause = "it was prepared for another --python, --path or REQ than this wrapper is for"
    elif entry and entry.options.get("timezone") != target.timezone and not cause:
        cause = f"it is prepared for {groups_and_time_zones.zone_name(entry.options['timezone'])}"
        remedy = groups_and_time_zones.zone_remedy(record, prepare, entry.names) or Remedy("")
    if cause:
        console.warn(in_one_line(directory, cause, remedy), options)


def _ourselves(options: argparse.Namespace) -> list[str]:
    """The command that runs this program again, absolute. Raises UsageError where it would not run in another
    directory, and says so where it takes PYTHONPATH: what starts a server at a boot has none."""
    if getattr(sys, "frozen", False):  # the program is its own interpreter, and isolated: scripts/binary
        return [sys.executable]
    program = os.path.abspath(sys.argv[0])
    if os.path.exists(program) and (os.path.basename(program) == "eggcache" or zipfile.is_zipfile(program)):
        words, plain = [program], [program]
    else:
        words, plain = ["-m", "eggcache"], [sys.executable, "-m", "eggcache"]
    # -I: root starts Apache, maybe with the PYTHONPATH of the application; nobody's modules shall stand in for ours.
    isolated, remedy = [sys.executable, "-I", *words], "install it, or make a single file of it: scripts/zipapp"
    if _runs(isolated):
        return isolated
    if not _runs(plain):
        cause = f"what the text would run fails in another directory than this: {shlex.join(plain)}"
        raise UsageError("eggcache", cause, remedy)
    if not _runs(plain, without="PYTHONPATH"):  # else it is root's own: pip install --user
        cause = f"{shlex.join(plain)}, which the text runs, fails where there is no PYTHONPATH, as at a boot"
        console.warn(in_one_line("eggcache", cause, Remedy(remedy)), options)
    return plain


def _runs(command: list[str], *, without: str = "") -> bool:
    """Whether this command of eggcache's can be started in /, and without a variable."""
    environment = {name: value for name, value in os.environ.items() if name != without}
    process = subprocess.run(
        [*command, "--version"], cwd="/", env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return process.returncode == 0


def _is_shared(directory: str) -> bool:
    """Whether anybody can make something in `directory`."""
    try:
        return bool(os.stat(directory).st_mode & 0o002)
    except OSError:
        return False
