"""The command line: commands, options, streams, exit status.

Results go to stdout, messages to stderr. What a command needs is imported when it runs: `prepare` runs at
every start of Apache, and mostly finds that nothing has to be done.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace

from eggcache import accounts, arguments
from eggcache.errors import EggcacheError, NotPermitted, UsageError
from eggcache.model import Account, Finding, Report

_ORDER = (4, 1, 5, 3)  # which status wins where several apply
_LENIENT = (3, 5)  # what must not keep a site down that worked before
_MOD_PYTHON = {  # options of `wrapper` that are of no use to other kinds
    "--directory": "module_directory",
    "--app": "app",
    "--location": "location",
    "--app-config": "app_config",
}


class _Ended(BaseException):
    """A signal asked us to end. Not an Exception, so that nothing but the clean-up is done on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line `words` (default: the process's) and return the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish stands
            signal.signal(number, _end)
    verbose = False
    try:
        options = arguments.parse(words)
        verbose = options.verbose > 0
        status = _COMMANDS[options.command](options)
        sys.stdout.flush()
    except EggcacheError as error:
        if verbose and error.__cause__:
            traceback.print_exception(type(error), error, error.__traceback__)
        return _complain(error, error.status)
    except _Ended as ended:
        return 128 + ended.number
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (Python flushes stdout at exit)
        return 128 + signal.SIGPIPE
    except Exception as error:
        if verbose:
            traceback.print_exc()
        return _complain(f"{type(error).__name__}: {error}; run it with -v and report what it says", 1)
    return status


def _end(number: int, _frame: object) -> None:
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not end the clean-up
    raise _Ended(number)


def _complain(message: object, status: int) -> int:
    print(f"eggcache: {_one_line(str(message))}", file=sys.stderr)
    return status


def _one_line(text: str) -> str:
    """Fit for a terminal and a log: names in messages come from eggs and from the target."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# ------------------------------------------------------------------------------------------------ commands


def _tree(options: argparse.Namespace) -> int:
    from eggcache import owners, report, resolver, target

    python = target.find(options.python)
    tree = resolver.resolve(
        python,
        arguments.requirements(options),
        paths=arguments.paths(options),
        everything=options.all,
        account=owners.runner(python, arguments.paths(options)),
    )
    findings = resolver.findings(tree)
    if options.json:
        print(report.as_json(report.tree_json(tree)))
    elif not options.quiet:
        for line in report.draw_tree(tree):
            print(_one_line(line))
    return _conclude(findings, options)


def _prepare(options: argparse.Namespace) -> int:
    from eggcache import cache, target

    os.umask(0o077)
    python = target.find(options.python)
    account, gid, notes = arguments.runtime(options)
    done = cache.prepare(
        options.directory,
        arguments.requirements(options),
        python=python,
        account=account,
        gid=gid,
        paths=arguments.paths(options),
        everything=options.all,
        timezone=arguments.timezone(options),
        wait=options.wait,
        reset=options.reset,
        prune=options.prune,
        dry_run=options.dry_run,
    )
    if not done.unchanged:
        from eggcache import apache

        hidden = apache.hides(apache.read(), os.path.abspath(options.directory))
        done = replace(done, notes=(*notes, *done.notes, *([str(hidden)] if hidden else ())))
    return _present(done, options, lenient=options.lenient, following=_following(options))


def _unzip_all(options: argparse.Namespace) -> int:
    # All that will be needed: the owner of the target's site-packages may be unable to read where we are installed.
    from eggcache import owners, report, target, unzip  # noqa: F401

    os.umask(0o077)
    python = target.find(options.python)
    for script in ("probe.py", "compile.py"):
        target.compose(script, None)
    if os.geteuid() == 0:
        owner = owners.site_owner(python)
        if owner.uid != 0:
            status = _in_child_as(owner)
            if status is not None:
                return status
    done = unzip.unzip_all(
        arguments.requirements(options),
        python=python,
        account=owners.runner(python, arguments.paths(options)),
        paths=arguments.paths(options),
        everything=options.all,
        backup=options.backup,
        wait=options.wait,
        dry_run=options.dry_run,
    )
    return _present(done, options)


def _check(options: argparse.Namespace) -> int:
    from eggcache import proof, report, table, target

    account, _, notes = arguments.runtime(options)
    done = proof.check(
        arguments.requirements(options),
        cache=options.cache or os.environ.get("PYTHON_EGG_CACHE") or None,
        python=target.find(options.python),
        account=account,
        paths=arguments.paths(options),
        everything=options.all,
        timezone=arguments.timezone(options),
        imports=options.imports,
        app_config=options.app_config,
        location=options.location,
        wait=options.wait,
    )
    for note in (*(f"{note}, so this is checked as {account.name}" for note in notes), *done.notes):
        _warn(note, options)
    if options.json:
        print(report.as_json(report.report_json(done)))
    elif not options.quiet:
        for line in table.lines(done, account, verbose=options.verbose > 0):
            print(_one_line(line))
    return max((finding.status for finding in done.findings), default=0)


def _wrapper(options: argparse.Namespace) -> int:
    from eggcache import apache, kinds, target, wrappers

    host = apache.read()
    if options.apachectl:
        hands_over = apache.hands_over(options.apachectl)
        # The unit of this host's Apache starts another one, if this is a self-compiled one's script.
        unit = host.unit if hands_over or options.apachectl == host.apachectl else None
        host = replace(host, apachectl=options.apachectl, hands_over=hands_over, unit=unit)
    host = replace(host, unit=options.unit or host.unit)
    directory = os.path.abspath(options.directory)
    kind = options.kind
    if not kind:
        kind, why = wrappers.choose(host, directory)
        _warn(f"--for {kind}: {why}", options)
    timezone = arguments.timezone(options)
    user, group = options.user or host.user, options.group or (None if options.user else host.group)
    python = target.find(options.python)
    _warn_of_another(directory, python, timezone, options)
    command = [*_ourselves(), "prepare", directory, "--lenient", "--python", python]
    for path in arguments.paths(options):
        command += ["--path", path]
    if user:
        account = accounts.lookup(user)
        command += ["--user", user, "--group", group or str(account.gid)]
    elif group:
        command += ["--group", group]
    if timezone is not None:
        command += ["--tz", timezone]
    if _shared(os.path.dirname(directory)):
        command += ["--reset"]
    command += ["--all"] if options.all else ["--", *arguments.requirements(options)]
    text = wrappers.wrapper(
        kind,
        directory,
        prepare=command,
        timezone=timezone,
        apachectl=host.apachectl,
        pid_file=options.pid_file or host.pid_file,
        unit=host.unit,
        debian=bool(host.apachectl) and wrappers.takes_envvars(host.apachectl or ""),
    )
    text = _with_modules(options, kind, text, directory, command, timezone, options.pid_file or host.pid_file)
    for finding in wrappers.warnings(kind, directory, host):
        _warn(str(finding), options)
    if options.output:
        wrappers.write(options.output, text, mode=0o755 if kinds.KINDS[kind].executable else 0o644)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(text))  # a path in it may be no UTF-8
    return 0


def _with_modules(
    options: argparse.Namespace,
    kind: str,
    text: str,
    directory: str,
    command: Sequence[str],
    timezone: str | None,
    pid_file: str | None,
) -> str:
    """The text with what mod_python's own options add to it, after its modules were written to --directory."""
    asked = [option for option, name in _MOD_PYTHON.items() if getattr(options, name)]
    if kind != "mod_python":
        if asked:
            raise UsageError(asked[0], f"it says nothing to --for {kind}", "use --for mod_python")
        return text
    if not options.app and (options.location or options.app_config):
        raise UsageError(asked[-1], "it belongs to an application", "name its package with --app")
    if options.app and not options.app_config:
        raise UsageError(f"--app {options.app}", "it has a configuration", "name the file with --app-config")
    from eggcache import modpython, wrappers

    application = options.app and modpython.Application(
        options.app,
        options.location or f"/{options.app}",
        os.path.abspath(options.app_config),
        arguments.DEFAULT if options.all else arguments.requirements(options),
    )
    emitted = modpython.mod_python(
        directory,
        prepare=command,
        timezone=timezone,
        modules=os.path.abspath(options.module_directory) if options.module_directory else None,
        paths=arguments.paths(options),
        application=application or None,
        mutexes=os.path.dirname(pid_file or "") or "logs/",
    )
    for name, source in emitted.modules.items():
        wrappers.write(os.path.join(os.path.abspath(options.module_directory), name), source, mode=0o644)
    return emitted.configuration


def _following(options: argparse.Namespace) -> str:
    """The command that prints a wrapper for what `prepare` has done: with all that it was told."""
    command = ["eggcache", "wrapper", os.path.abspath(options.directory), *options.requirements]
    for name in ("python", "user", "group", "tz"):
        value = getattr(options, name)
        command += (
            [f"--{name}", os.path.abspath(value) if name == "python" and "/" in value else value] if value else []
        )
    for path in arguments.paths(options):
        command += ["--path", path]
    return shlex.join([*command, *(["--all"] if options.all else [])])


def _warn_of_another(directory: str, python: str, timezone: str | None, options: argparse.Namespace) -> None:
    """Say so where `directory` was prepared, but not by what the wrapper is going to run."""
    from eggcache import cache, lockdown, receipt

    try:
        descriptor = lockdown.open_directory(directory)
    except (OSError, NotPermitted):
        return
    try:
        entries = receipt.read(descriptor).entries
    finally:
        os.close(descriptor)
    entry = entries.get(cache.key(python, arguments.paths(options), arguments.requirements(options)))
    if entries and entry is None:
        _warn(f"{directory}: it was prepared for another --python, --path or REQ than this wrapper is for", options)
    elif entry and entry.options.get("timezone") != timezone:
        _warn(f"{directory}: it was prepared for another time zone than this wrapper sets; see --tz", options)


def _ourselves() -> list[str]:
    """The command that runs this program again, absolute."""
    import subprocess

    program = os.path.abspath(sys.argv[0])
    if os.path.basename(program) in ("eggcache", "eggcache.pyz") and os.path.exists(program):
        how = [program]
    else:
        how = ["-m", "eggcache"]
    # -I: root starts Apache, maybe with the PYTHONPATH of the application; nobody's modules shall stand in for ours.
    isolated = [sys.executable, "-I", *how]
    if subprocess.run([*isolated, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode:
        return how if len(how) == 1 else [sys.executable, *how]  # it is only found with the help of PYTHONPATH
    return isolated


def _shared(directory: str) -> bool:
    """Whether anybody can make something in `directory`."""
    try:
        return bool(os.stat(directory).st_mode & 0o002)
    except OSError:
        return False


def _in_child_as(account: Account) -> int | None:
    """Fork; in the child, become `account` for good and return None; in the parent, the child's exit status."""
    child = os.fork()
    if not child:
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        return None
    while True:
        try:
            _, status = os.waitpid(child, 0)
            break
        except _Ended as ended:  # the child cleans up; we say how it ended
            os.kill(child, ended.number)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


_COMMANDS = {"tree": _tree, "unzip-all": _unzip_all, "prepare": _prepare, "check": _check, "wrapper": _wrapper}


# ------------------------------------------------------------------------------------------------- results


def _present(done: Report, options: argparse.Namespace, *, lenient: bool = False, following: str = "") -> int:
    from eggcache import report

    quiet = done.unchanged and lenient  # an init script that had nothing to do says nothing
    for note in done.notes if not quiet else ():
        _warn(note, options)
    if options.json:
        print(report.as_json(report.report_json(done)))
    elif not options.quiet and not done.unchanged:
        for line in report.summary(done, following=following, verbose=options.verbose > 0):
            print(_one_line(line))
    findings = [finding for finding in done.findings if not quiet or finding.status not in (0, *_LENIENT)]
    return _conclude(findings, options, lenient=lenient)


def _conclude(findings: Iterable[Finding], options: argparse.Namespace, *, lenient: bool = False) -> int:
    """Print the findings, and return the status that they ask for."""
    asked = set()
    for finding in findings:
        asked.add(finding.status)
        if not options.quiet or finding.status in (1, 4):
            _say(f"{finding} [{finding.code}]")
        if options.verbose:
            for detail in finding.context:
                _warn(f"  {detail}", options)
    if lenient:
        asked -= set(_LENIENT)
    return next((status for status in _ORDER if status in asked), 0)


def _warn(text: str, options: argparse.Namespace) -> None:
    if not options.quiet:
        _say(text)


def _say(text: str) -> None:
    sys.stdout.flush()  # so that a log that takes both has them in order
    print(f"eggcache: {_one_line(text)}", file=sys.stderr)
