"""The command `archive --unzipped`: unzipped eggs as a tar archive, and a script that puts them in their places.

On the host tar puts both into one directory beside the zipped eggs: on their file system, so that names are exchanged
by renaming, and of a name that neither site nor pkg_resources looks into. The script comes last, so that none is there
where tar was interrupted.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import md5
from typing import BinaryIO

from eggcache.eggs import byte_code, packing, zip_dates
from eggcache.eggs import reader as eggs
from eggcache.eggs.extract import Opened
from eggcache.errors import EggcacheError, EggUnsuitable, UsageError
from eggcache.model import DEFAULT_RUN, Distribution, Finding, Outcome, Ownership, Report, Run
from eggcache.system import package_data, tar_file
from eggcache.system.tar_members import Tar
from eggcache.target import command_lines, eggs_on_path, other_host, resolver, skipped_eggs
from eggcache.target.eggs_on_path import EarlyReader
from eggcache.target.interpreter import EVERYTHING, Roots, Target
from eggcache.target.other_host import HOST, Host
from eggcache.unzip import unzip_plan, unzipping
from eggcache.unzip.egg_directory import as_finding

STAGE = ".eggcache-unzipped"  #: the directory beside the eggs; no name of those that a Python looks into
SCRIPT = "put-in-place.sh"  #: in it

_LIST = "eggs"  # of the archive that was extracted last
_KEPT = ".list"  # of each archive, for the way back; no name that an egg has there ends so
_LONGEST = 255 - len(".unzipped.part")  # bytes of an egg's name, which the script appends this to
_SCRIPT = f"unzip/{SCRIPT}"
_PRIVATE = Ownership(0, 0, 0o700, 0o600)
_EGGS = Ownership(0, 0, 0o755, 0o644)  # the script makes them the zip's
_ZONE = "UTC0"  # nobody asks for the dates of unzipped eggs: so they depend on no zone
_NAME = re.compile(r"-py(\d)\.(\d+)")  # bdist_egg: NAME-VERSION-pyX.Y-PLATFORM.egg
_PIECE = 1 << 20  # bytes of a zip in memory


def archive_unzipped(
    file: str | BinaryIO,
    target: Target,
    roots: Roots = EVERYTHING,
    run: Run = DEFAULT_RUN,
    *,
    host: Host = HOST,
    site_packages: str | None = None,
) -> Report:
    """Write the zipped eggs of the tree of `roots` as directories into a tar archive that another host extracts at "/",
    with a POSIX shell script that puts each in the place of its zip, and back.

    A directory has what `unzip_all` would extract, and the byte code of the egg itself in place of new one. It is the
    same to the byte for the same eggs and arguments. An egg that is refused is a finding, and nothing of it is in the
    archive.

    :param file: as for `archive`
    :param target: the Python whose eggs are meant; "" for all eggs that lie in its paths; its account opens them
    :param roots: which distributions the tree is of
    :param run: limits, dry run and progress
    :param host: where the target is "", its Python; without a version, that which the name of each egg says
    :param site_packages: the directory that the eggs lie in on the host; None: the same as here
    :returns: what was written; with `run.dry_run`, what would be written
    :raises UsageError: the target cannot parse one of the `roots`; the eggs lie in several directories, and
        `site_packages` names one; or `file` does not do
    :raises NotPermitted: others can exchange what is in the directory of `file`, or the account cannot run the target
    :raises EggcacheError: the target or the disk fails
    """
    if target.python:
        tree, reader = eggs_on_path.resolve(target, roots, run, None)
    else:
        reader = EarlyReader(target.account, run.limits)
        run.progress.phase("reading the eggs")
        tree = other_host.tree(host, target.paths, reader.opened)
    zips = unzip_plan.by_directory(tree.distributions)
    findings = []
    if target.python:

        def command_with(paths: Sequence[str]) -> str:
            """The command that packs these as well."""
            words = ["--site-packages", site_packages] if site_packages else []
            words += [word for path in paths for word in ("--path", path)]
            return command_lines.archive_unzipped(file if isinstance(file, str) else "-", target, roots, *words)

        findings = [*resolver.findings(tree), *unzipping.off_path_findings(zips, tree.interpreter, command_with)]
        findings += skipped_eggs.findings(tree, target.account, run.limits, run.progress)
    if site_packages is not None:
        _check_place(site_packages, zips)
    is_useless = isinstance(file, str) and not zips  # a stream gets an empty archive
    with tar_file.output(file, 0o600, run.dry_run or is_useless) as stream, zip_dates.zone(_ZONE):
        work = Archive(Tar(stream), tree.interpreter.version, reader)
        total = sum(os.path.getsize(os.path.join(directory, name)) for directory in zips for name in zips[directory])
        run.progress.phase("writing the archive", total)
        for directory in sorted(zips, key=os.fsencode):
            work.write(directory, site_packages or directory, zips[directory], run)
        work.tar.end()
    notes = resolver.notes(tree, roots) if target.python else other_host.notes(host, tree)
    return Report(
        "archive", None, tuple(work.outcomes), (*findings, *work.findings), tuple(notes), dry_run=run.dry_run,
        outside=tree.outside, commands=tuple(_scripts(work.outcomes)),
    )  # fmt: skip


def _scripts(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """The commands of the host that put these eggs in their places, one for each directory of eggs."""
    for place in sorted({os.path.dirname(outcome.into) for outcome in outcomes}):
        yield shlex.join(["sh", os.path.join(place, STAGE, SCRIPT)])


def _check_place(site_packages: str, zips: dict[str, dict[str, Distribution]]) -> None:
    option = f"--site-packages {site_packages}"
    if not site_packages.startswith("/") or ".." in site_packages.split("/"):
        raise UsageError(option, "it is a directory of the host, where no other one is current", "write it from / on")
    if len(zips) > 1:
        cause = f"the eggs lie in {len(zips)} directories here: {', '.join(sorted(zips))}"
        raise UsageError(option, cause, "make an archive for each of them: --eggs-in DIR")


@dataclass
class Archive:
    """The archive of unzipped eggs, on its way to a stream."""

    tar: Tar
    version: tuple[int, ...]  # of the host's Python; () where unknown
    reader: EarlyReader
    outcomes: list[Outcome] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def write(self, directory: str, place: str, zips: dict[str, Distribution], run: Run) -> None:
        """Write the eggs `zips` of the directory `directory` for the directory `place` of the host, and the script,
        with the progress of `run`."""
        stage, mtime = os.path.join(place, STAGE), zip_dates.mtime(tar_file.FIRST)
        self.tar.directory(stage, mtime, _PRIVATE, tar_file.MARK)
        lines: list[bytes] = []
        for name in sorted(zips, key=os.fsencode):
            try:
                with self.reader.opened(os.path.join(directory, name)) as (source, egg):
                    unzip_plan.check(zips[name], egg)
                    entries, line = self._add(Opened(source, egg), name, stage)
            except packing.SpoiledArchive:
                raise
            except EggcacheError as error:
                self.findings.append(as_finding(error))
                continue
            lines.append(line)
            sizes = [entry.member.size for entry in entries]
            self.outcomes.append(Outcome(egg.path, os.path.join(place, name), "packed", len(sizes), sum(sizes)))
            run.progress.advance(len(sizes), egg.stat.st_size)
        listing = b"".join(lines)
        own = md5(listing, usedforsecurity=False).hexdigest() + _KEPT  # that another archive does not exchange
        for name, data in ((own, listing), (_LIST, listing), (SCRIPT, package_data.read(_SCRIPT))):
            self.tar.file(os.path.join(stage, name), len(data), (data,), mtime, _PRIVATE)

    def _add(self, opened: Opened, name: str, stage: str) -> tuple[list[packing.Entry], bytes]:
        """Add an egg. Returns its files, and its line in the list: the sums of its zip and of its directory, and its
        name."""
        if name != name.strip() or not name.isprintable():
            raise EggUnsuitable(opened.egg.path, "a shell script cannot read its name from a list", "rename it")
        length = len(os.fsencode(name))
        if length > _LONGEST:
            cause = f"its name has {length} bytes, and the script that puts it in place takes {_LONGEST} at most"
            raise EggUnsuitable(opened.egg.path, cause, "rename it, or archive a cache: without --unzipped")
        sums, headers = {}, {}
        for member_name, member in opened.members:
            digest, header = md5(usedforsecurity=False), b""
            for piece in eggs.chunks(opened.source, opened.egg, member):
                digest.update(piece)
                header += piece[: byte_code.HEADER - len(header)]
            sums[member_name], headers[member_name] = digest.hexdigest(), header
        entries = list(unzip_plan.entries(opened, _EGGS, self._version(name), headers))
        zip_sum = _sum(opened.source)
        packing.pack(self.tar, opened, f"{stage}/{name}.unzipped", _EGGS, entries)
        lines = sorted(os.fsencode(f"{sums[entry.name]}  ./{entry.name}\n") for entry in entries)
        tree_sum = md5(b"".join(lines), usedforsecurity=False).hexdigest()
        return entries, os.fsencode(f"{zip_sum} {tree_sum} {name}\n")

    def _version(self, name: str) -> tuple[int, ...]:
        match = _NAME.search(name)
        return self.version or ((int(match[1]), int(match[2])) if match else ())


def _sum(descriptor: int) -> str:
    digest, offset = md5(usedforsecurity=False), 0
    while piece := os.pread(descriptor, _PIECE, offset):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()
