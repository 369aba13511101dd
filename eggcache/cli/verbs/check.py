"""The command `check`."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

from eggcache import explanations, progress
from eggcache.cli import arguments, console, next_command, receipt_defaults
from eggcache.cli.render import findings_table, report
from eggcache.errors import UsageError, meant
from eggcache.model import Report, Tree
from eggcache.proof import checking
from eggcache.proof.application import Application
from eggcache.servers import environment_variables
from eggcache.system import accounts
from eggcache.target.interpreter import Target


def run(options: argparse.Namespace) -> int:
    ignored = _ignored(options)
    result, names, _, _ = proof(options)
    aside = tuple(
        finding for finding in result.findings if ignored & {(finding.code, ""), (finding.code, finding.thing)}
    )
    findings = tuple(finding for finding in result.findings if finding not in aside)
    result = replace(result, findings=findings, ignored=aside)
    if options.json:
        print(report.as_json(report.report_json(result)))
    else:
        look, width = options.verbose > 0, console.width()
        table = findings_table.table(result.findings, verbose=look, width=width)
        for line in table if options.quiet else findings_table.lines(result, names, verbose=look, width=width):
            print(console.one_line(line))
        worst = max(result.findings, key=lambda finding: finding.status != 0, default=None)
        if worst and sys.stdout.isatty():  # for who looks on, and in no log
            console.warn(str(next_command.explanation(worst.code)), options)
    return max((finding.status for finding in result.findings), default=0)


def proof(options: argparse.Namespace) -> tuple[Report, str, str | None, list[tuple[Target, Tree]]]:
    """Check what `options` say, and print the notes.

    :returns: the report, whom it was checked as, the cache, and each tree with its target
    """
    accounts.need_proc()
    if options.apachectl:
        options.apachectl = os.path.abspath(options.apachectl)
        if not os.access(options.apachectl, os.X_OK) or os.path.isdir(options.apachectl):
            cause = "there is no program of that name"
            raise UsageError(f"--apachectl {options.apachectl}", cause, "name Apache's control script, or its httpd")
    if options.cache is None and any(map(arguments.is_path, options.requirements[:1])):
        options.cache = options.requirements.pop(0)  # as the other commands take DIR
    cache = options.cache or environment_variables.inherited()
    trees = receipt_defaults.trees(options, os.path.abspath(cache)) if cache else [options]
    checked = [_notes(tree, cache) for tree in trees]
    result = report.merge([result for result, _, _ in checked])
    for note in result.notes:
        console.warn(note, options)
    names = " and ".join(dict.fromkeys(target.account.name for _, target, _ in checked))
    return result, names, cache, [(target, tree) for _, target, tree in checked]


def _ignored(options: argparse.Namespace) -> set[tuple[str, str]]:
    """The codes, and of which thing, "" for any, that --ignore names. Raises UsageError for a code that there is not:
    what is mistyped would wake somebody up."""
    ignored = set()
    for word in options.ignore:
        code, _, thing = word.partition(":")
        if code not in explanations.by_code():
            near = meant(code, explanations.by_code()) or "see docs/reference/findings.rst for them"
            raise UsageError(f"--ignore {word}", "there is no finding of that code", near)
        ignored.add((code, thing))
    return ignored


def _notes(options: argparse.Namespace, cache: str | None) -> tuple[Report, Target, Tree]:
    """What there is to say of the tree that `options` name, the target as it was checked, and that tree."""
    arguments.doubt(options)
    target, notes = arguments.server_target(options)
    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        result, tree = checking.with_tree(
            cache,
            target,
            arguments.roots(options),
            arguments.run(options, watcher),
            imports=None if options.no_import else options.imports,
            application=Application(
                options.app_config,
                options.location,
                _scripts(options),
                options.server,
                options.apachectl,
                options.pid_file and os.path.abspath(options.pid_file),
            ),
        )
    lines = [f"{note}, so this is checked as {target.account.name}" for note in notes]
    return replace(result, notes=(*lines, *result.notes)), target, tree


def _scripts(options: argparse.Namespace) -> tuple[str, ...]:
    for script in options.scripts:
        if not os.path.isfile(script):
            raise UsageError(f"--script {script}", "there is no such file", "name what the server runs, as app.wsgi")
    return tuple(map(os.path.abspath, options.scripts))
