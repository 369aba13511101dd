"""The command `archive`. The target starts before what needs its answer is imported, as for `prepare`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, redirect_stdout
from typing import TYPE_CHECKING, BinaryIO

from eggcache.cli import arguments, console
from eggcache.errors import EggcacheError, Remedy, UsageError, of_disk
from eggcache.system import accounts
from eggcache.system.accounts import Account
from eggcache.target.interpreter import ELSEWHERE, EVERYTHING, Roots, Target

if TYPE_CHECKING:
    from eggcache.cache.cache_archive import Extra
    from eggcache.model import Run
    from eggcache.progress import Progress
    from eggcache.proof.archive_verifier import Archived
    from eggcache.target.other_host import Host

_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_STDOUT = "-"
_PYTHON = re.compile(r"\d{1,3}\.\d{1,3}(\.\d{1,3})?")
_SETUPTOOLS = re.compile(r"(?:(setuptools|distribute) )?(\d[\w.]{0,30})")
_HERE = ("python", "path_from", "trac_env", "path", "strict_tree", "all", "requirements")  # options of a target


def run(options: argparse.Namespace) -> int:
    accounts.need_proc()
    if options.file != _STDOUT or options.dry_run:
        if options.file != _STDOUT and not options.file.endswith(_SUFFIXES):
            cause = f"FILE comes first, and its name ends in {', '.join(_SUFFIXES)}"
            raise UsageError(options.file, cause, "name it so, or write - for standard output")
        return _archive(options, options.file if options.file != _STDOUT else sys.stdout.buffer)
    if sys.__stdout__ is None:
        raise EggcacheError("standard output", "it is closed", "send it to a file or a program, or name a FILE")
    terminal = sys.stdout
    if terminal.isatty():
        cause = "standard output is a terminal, which has no use for an archive"
        raise UsageError(_STDOUT, cause, "send it to a file or a program, or name a FILE")
    if options.json:
        raise UsageError("--json", "standard output is to get the archive", "name a FILE")
    try:
        with redirect_stdout(sys.stderr), open(os.dup(terminal.fileno()), "wb", buffering=1 << 20) as stream:
            return _archive(options, stream)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise of_disk("standard output", "cannot be written to", error) from error


def _archive(options: argparse.Namespace, file: str | BinaryIO) -> int:
    _check(options)
    arguments.doubt(options)
    account, group, notes = _readers(options)
    python, paths, roots = "", tuple(map(os.path.abspath, options.eggs_in)), EVERYTHING
    if not paths:
        python, paths, roots = arguments.python(options), arguments.paths(options), arguments.roots(options)
    target = Target(python, paths, account, group, arguments.timezone(options))
    if options.unzipped:
        return _unzipped(options, file, target, roots)
    from eggcache.target import launch

    with launch.probe(target, roots) if python else nullcontext() as launch_of_target:
        from dataclasses import replace

        from eggcache import progress
        from eggcache.cache import cache_archive
        from eggcache.wrappers import destination

        with progress.watched(options.quiet, options.verbose > 0) as watcher:
            proof = _Proof(target, roots, _host(options))
            run = _run(options, watcher)
            result = cache_archive.Archiving(file, target, roots, run, proof.host, proof).report(launch_of_target)
    if options.verifier and not options.dry_run:
        destination.write(options.verifier, destination.sealed(proof.text.decode("ascii")), mode=0o644)
    if python:
        notes = [*notes, f"{python} is of this machine: in what is to run on the host, write the Python of the host"]
    result = replace(result, notes=(*notes, *result.notes), commands=tuple(_commands(options, proof)))
    following = "\n  ".join(["on the host, as root; the last one here, for what starts its server:", *result.commands])
    return console.present(result, options, following=following)


def _run(options: argparse.Namespace, watcher: Progress) -> Run:
    from eggcache.model import Limits, Run

    return Run(Limits(**arguments.limits(options)), dry_run=options.dry_run, progress=watcher)


def _unzipped(options: argparse.Namespace, file: str | BinaryIO, target: Target, roots: Roots) -> int:
    from dataclasses import replace

    from eggcache import progress
    from eggcache.unzip.unzipped_archive import archive_unzipped

    with progress.watched(options.quiet, options.verbose > 0) as watcher:
        run, host = _run(options, watcher), _host(options)
        result = archive_unzipped(file, target, roots, run, host=host, site_packages=options.site_packages)
    result = replace(result, commands=(_tar(options, "x", "p"), *result.commands))
    head = "on the host, as the owner of its eggs, with the servers stopped that use them:"
    return console.present(result, options, following="\n  ".join([head, *result.commands]))


class _Proof:
    """The verifier in the archive, of which it is made when the eggs are written."""

    text = b""

    def __init__(self, target: Target, roots: Roots, host: Host) -> None:
        self.target, self.roots, self.host = target, roots, host
        self.archived = self._archived(())

    def __call__(self, names: Sequence[str]) -> Iterator[Extra]:
        from eggcache.cache.cache_archive import Extra
        from eggcache.proof import archive_verifier

        self.archived = self._archived(names)
        # Where its eggs lie here says nothing of where they lie there
        target = self.target if self.target.python else self.target._replace(paths=())
        self.text = archive_verifier.verifier(self.archived, target, self.roots)
        yield Extra(archive_verifier.NAME, self.text, 0o644 if target.group is None else 0o640)

    def _archived(self, names: Sequence[str]) -> Archived:
        from eggcache.proof.archive_verifier import Archived
        from eggcache.system import time_zones

        zone = self.target.timezone
        return Archived(os.path.normpath(self.host.directory), names, zone, time_zones.of(zone).rules or "")

    @property
    def python(self) -> str:
        """The Python that runs it on the host."""
        version = ".".join(map(str, self.host.python[:2]))
        return self.target.python or f"python{version}"


def _check(options: argparse.Namespace) -> None:
    """Raise UsageError where what the options say of the host makes no sense, or not beside those of a target."""
    versions = ("--for-python", options.for_python, _PYTHON), ("--for-setuptools", options.for_setuptools, _SETUPTOOLS)
    for name, value, form in versions:
        if value is not None and not options.eggs_in:
            raise UsageError(name, "it is for eggs whose Python is not here", "name their directory with --eggs-in")
        if value is not None and not form.fullmatch(value):
            raise UsageError(f"{name} {value}", "that is no version", "write it as 2.4, or for setuptools as 0.6c11")
    if options.site_packages is not None and not options.unzipped:
        raise UsageError("--site-packages", "it says where unzipped eggs go", "write --unzipped as well, or drop it")
    options_of_cache = ("--cache", options.cache != ELSEWHERE), ("--group", options.group), ("--tz", options.tz)
    for name, setting in (*options_of_cache, ("--verifier", options.verifier)) if options.unzipped else ():
        if setting:
            cause = "it is about a cache; unzipped eggs get the owner, the group and the rights of the host's zips"
            raise UsageError(name, cause, "drop it, or --unzipped")
    for name in _HERE if options.eggs_in else ():
        if getattr(options, name):
            word = options.requirements[0] if name == "requirements" else f"--{name.replace('_', '-')}"
            raise UsageError(word, "with --eggs-in no Python is asked: all eggs that lie there are taken", "drop one")
    for path in options.eggs_in:
        if not os.path.exists(path):
            raise UsageError(f"--eggs-in {path}", "there is nothing of that name", "name a directory of eggs")


def _host(options: argparse.Namespace) -> Host:
    """What the options say of the host, which have passed `_check`."""
    from eggcache.target.other_host import Host

    version = tuple(map(int, options.for_python.split("."))) if options.for_python else ()
    release = _SETUPTOOLS.fullmatch(options.for_setuptools or "")
    return Host(options.cache, version, f"{release[1] or 'setuptools'} {release[2]}" if release else None)


def _readers(options: argparse.Namespace) -> tuple[Account, int | None, list[str]]:
    """Who opens the eggs here; the number of the group that alone may read them on the host, None: everybody may; and
    what is to be said of that."""
    group = _group(options.group) if options.group else None
    if options.eggs_in and not options.user:
        from eggcache.target import code_owners

        account = code_owners.keeper(options.eggs_in)
    else:
        account, gid, _ = arguments.runtime(argparse.Namespace(user=options.user, group=None))
        if group is None and options.user and gid is not None:
            note = f"--group: none is named: for the group {gid} alone, which is {accounts.group_name(gid)} here"
            return account, gid, [note]
    if group is None:
        return account, None, ["--group: none is named: readable by all, not by Apache's group on the host alone"]
    return account, group, []


def _group(name: str) -> int:
    try:
        return accounts.group(name)
    except UsageError:
        remedy = Remedy(
            "write the number that the host has for it, as this prints there", f"getent group {shlex.quote(name)}"
        )
        raise UsageError(f"--group {name}", "there is no such group on this machine", remedy) from None


def _commands(options: argparse.Namespace, proof: _Proof) -> Iterator[str]:
    """What puts the archive in its place and proves it, for root on the host, and the command for a wrapper."""
    archived = proof.archived
    yield _tar(options, "x", "p")
    if options.file != _STDOUT:
        yield f"{_tar(options, 'd')}  # GNU tar"
    yield archived.command(proof.python, options.user or "USER")
    zone = [] if archived.timezone is None else ["--tz", archived.timezone]
    yield shlex.join(["eggcache", "wrapper", archived.directory, "--for", "KIND", "--prepared-elsewhere", *zone])


def _tar(options: argparse.Namespace, action: str, words: str = "") -> str:
    flag = "" if options.file == _STDOUT or options.file.endswith(".tar") else "z"
    return f"tar -{action}{flag}{words}f {shlex.quote(os.path.basename(options.file))} -C /"
