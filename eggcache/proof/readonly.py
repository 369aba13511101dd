"""`prepare` by a user who only reads the cache: it compares the cache with the eggs, and writes nothing.

A server such as gunicorn or uWSGI prepares as the user that it runs as. Only root can read the receipt, so the target's
own pkg_resources is asked for the tree, and each file is compared with the size, time and CRC-32 in its egg.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import replace

from eggcache.eggs import zip_dates
from eggcache.eggs.extract import Opened
from eggcache.errors import Remedy
from eggcache.model import DEFAULT_RUN, Finding, Member, Report, Run
from eggcache.proof.comparison import Comparison
from eggcache.target import eggs_on_path, resolver
from eggcache.target.command_lines import Prepare
from eggcache.target.interpreter import EVERYTHING, Roots, Target
from eggcache.target.launch import Launch

_PIECE = 1 << 20  # bytes


def _as_listed(descriptor: int, _: Opened, member: Member) -> bool:
    """Compares with the sizes, times and CRCs in the egg, and inflates nothing: a server is waiting for this."""
    crc = at = 0
    while piece := os.pread(descriptor, _PIECE, at):
        crc, at = zlib.crc32(piece, crc), at + len(piece)
    return crc == member.crc


def verify(
    directory: str, target: Target, roots: Roots = EVERYTHING, run: Run = DEFAULT_RUN, *, launched: Launch | None = None
) -> Report:
    """Whether root's cache `directory` has the whole tree as it is now, for us who read it.

    A cache that is not current is a finding with exit status 3, whose remedy is the command for root.

    :param directory: the path of the cache
    :param target: the Python that is asked
    :param roots: which distributions the tree is of
    :param run: limits and progress
    :param launched: the question, where the caller has started the target already
    :raises EggcacheError: the target fails
    """
    with zip_dates.zone(target.timezone):
        tree, read = eggs_on_path.resolve(target, roots, run, launched)
        prepare = Prepare(directory, target, roots, run.limits).readable()
        root = Remedy("run as root", prepare.line())
        compared = Comparison(prepare, run, lambda: root, reachable=True, same=_as_listed)
        compared.compare(tree, read)
    findings = list(compared.findings)
    if compared.shifted:
        path, off = compared.shifted[0]
        more = f", and {len(compared.shifted) - 1} more files" if len(compared.shifted) > 1 else ""
        findings.append(Finding("member-outdated", path, f"it is of another time zone ({off}){more}", root))
    report = Report("prepare", directory, tuple(compared.outcomes), tuple(findings), resolver.notes(tree, roots))
    return replace(report, unchanged=not findings, outside=tree.outside)
