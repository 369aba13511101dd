"""Command lines of eggcache's own, for wrappers and for remedies: with all that the user told this one."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace

from eggcache.errors import Remedy
from eggcache.model import Finding, Report

_WORD = r"(?:/[\w@%+=:,./-]*?(?=[,;:.]*(?:\s|$))|'[^']*'(?:\"'\"'[^']*')*)"  # a path, as shlex.quote has it
_PREPARE = re.compile(f"eggcache prepare(?: --[a-z]+)* {_WORD}(?! --python)")  # what names its target is whole
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UNZIP = re.compile(rf"eggcache unzip-all((?: --path {_WORD})*)( --all\b| [A-Za-z0-9][\w.-]*)?(?! --)")


def words(
    *,
    python: str | None = None,
    paths: Iterable[str] = (),
    user: str | None = None,
    group: str | None = None,
    timezone: str | None = None,
    limits: Iterable[str] = (),
) -> list[str]:
    """The options that say the same to another command."""
    said = {"--python": [python], "--path": paths, "--user": [user], "--group": [group], "--tz": [timezone]}
    return [word for name, values in {**said, "--limit": limits}.items() for value in values if value is not None
            for word in (name, value)]  # fmt: skip


def unzip(project: str) -> str:
    """What unzips this project's egg. Its name comes from the target, which may have been told to say anything."""
    return f"eggcache unzip-all {project if _PROJECT.fullmatch(project) else '--all'}"


def tree(requirements: Sequence[str], everything: bool) -> list[str]:
    """What names the tree, after the options."""
    return ["--all"] if everything else list(requirements)


def following(options: argparse.Namespace) -> str:
    """The command that prints a wrapper for what `prepare` has done."""
    return shlex.join(["eggcache", "wrapper", os.path.abspath(options.directory), *_target(options), *_runtime(options),
                       *tree(options.requirements, options.all)])  # fmt: skip


def install(done: Report, python: str, installer: str) -> str:
    """The command that has the pip of the target, and no other, put the wheels in the place of the eggs; and what else
    there is to know of it: it serves a new environment, too.

    The `installer` is whom to run it as, "" for whoever runs this: to root, somebody else's pip is code of his.
    """
    if not done.install:
        return ""
    who = f"run as {installer}, whose pip it is; " if installer else ""
    return (
        f"{shlex.join([python, '-m', 'pip', *done.install])}\n"
        f"with: {who}in a new environment, its python in place of this one; not uv or pipx, which leave the eggs there"
    )


def completed(findings: Iterable[Finding], options: argparse.Namespace) -> tuple[Finding, ...]:
    """The findings of a command, each command in their remedies with the target, tree and user of that one: without
    them it would see to something else."""
    return tuple(replace(finding, remedy=complete(finding.remedy, options, finding.thing)) for finding in findings)


def complete(of: Remedy, options: argparse.Namespace, thing: str = "") -> Remedy:
    """The remedy of a finding, or of an error, about `thing`, of a command that has a target: see `completed`. A
    remedy that has its command is complete."""
    if of.command:
        return of
    remedy = of.text
    target, roots = _target(options), tree(options.requirements, options.all)

    def prepare(found: re.Match[str]) -> str:
        own = remedy[found.start() :].split(" && ")[0]  # what another command says is said to that one
        runtime = _runtime(options, but=own) if hasattr(options, "user") else []
        return " ".join([found[0], *map(shlex.quote, (*target, *runtime, *roots))])

    def unzip(found: re.Match[str]) -> str:
        # What is in a directory that only --path names is unzipped when it is named itself, see unzipping.not_on_path
        alone = not found[1] and os.path.dirname(thing) in map(os.path.abspath, options.path)
        said = [*target, *words(paths=[thing] if alone else ()), *_unzipping(options)]
        named = found[2] or " ".join(["", *map(shlex.quote, roots)])
        return f"eggcache unzip-all{''.join(f' {shlex.quote(word)}' for word in said)}{found[1]}{named}"

    return Remedy(_UNZIP.sub(unzip, _PREPARE.sub(prepare, remedy)))


def _target(options: argparse.Namespace) -> list[str]:
    python = options.python and (os.path.abspath(options.python) if "/" in options.python else options.python)
    return words(python=python, paths=map(os.path.abspath, options.path))


def _unzipping(options: argparse.Namespace) -> list[str]:
    """How the eggs are to be unzipped, where this command does so itself."""
    if not hasattr(options, "undo"):
        return []
    backup = ["--backup", os.path.abspath(options.backup)] if options.backup else []
    return [*backup, *words(limits=options.limits), *["--allow-gap"] * options.allow_gap]


def _runtime(options: argparse.Namespace, but: str = "") -> list[str]:
    """The options on who reads the cache, less those that the text `but` has already."""
    user = (None, None) if "--user" in but else (options.user, options.group)
    return words(user=user[0], group=user[1], timezone=None if "--tz" in but else options.tz, limits=options.limits)
