"""What eggcache does with one tree, beside what does a part of the same: a function for each group of ways."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import builds
from inputs import Input, fresh
from measuring import Bench, Way
from support import deployment

_LOOK = r"""
import sys, warnings, zipfile, zipimport
warnings.simplefilter("ignore")
import pkg_resources
manager = pkg_resources.ResourceManager()
for egg in sys.argv[1:]:
    names = [name for name in zipfile.ZipFile(egg).namelist() if not name.endswith("/")]
    provider = pkg_resources.EggMetadata(zipimport.zipimporter(egg))
    for name in names:
        provider.get_resource_filename(manager, name)
"""
_EXTRACT = r"""
import os, sys, time
from eggcache.eggs import extract
from eggcache.eggs import reader as egg
from eggcache.model import Ownership
top, owner = os.open(sys.argv[1], os.O_RDONLY), Ownership(os.geteuid(), os.getegid(), 0o755, 0o644)
started, ready = time.perf_counter(), []
for path in sys.argv[2:]:
    source, name = os.open(path, os.O_RDONLY), os.path.basename(path) + "-tmp"
    os.mkdir(name, 0o700, dir_fd=top)
    into = os.open(name, os.O_RDONLY, dir_fd=top)
    ready.append(extract.Extraction(extract.Opened(source, egg.read(source, path)), into, owner))
wrong = [error for error in extract.write_all(ready) if error]
print(wrong or time.perf_counter() - started)
"""
UNZIP = 'into=$1; shift; for egg; do unzip -q "$egg" -d "$into/${egg##*/}-tmp" || exit; done'
_EASY = 'python=$1; shift; for egg; do "$python" -c "$EASY" -Z -N -H None "$egg" || exit; done'


def extracting(bench: Bench, given: Input, place: Path, *, rivals: Sequence[str], keep: bool = False) -> list[Way]:
    """eggcache prepare, and each of `rivals`, into directories in `place`.

    With `keep`, what one has written is moved aside for the next, and not removed: an ext4 without a journal takes
    no inode again that was freed in the last minute, and looks at each of them for every file that is made.
    """
    into, cache = place / "into", place / "cache"
    eggs: list[str | Path] = list(given.eggs)
    tarball = place / f"{given.name}.tar"
    if "tar -x" in rivals and not tarball.exists():
        bench.run(Way("unzip", ["sh", "-c", UNZIP, "sh", fresh(into), *eggs]))
        subprocess.run(["tar", "-cf", tarball, "-C", into, "."], check=True)
        shutil.rmtree(into)

    def empty() -> None:
        if keep:
            aside = Path(tempfile.mkdtemp(prefix="kept-", dir=place))
            for written in filter(Path.exists, (into, cache)):
                written.rename(aside / written.name)
        fresh(into)
        shutil.rmtree(cache, ignore_errors=True)

    prepare = bench.eggcache("prepare", cache, *given.arguments, *bench.user)
    known = {
        "unzip -q": Way("unzip -q", ["sh", "-c", UNZIP, "sh", into, *eggs], empty),
        "unzip -q, sync": Way(
            "unzip -q, sync", ["sh", "-c", f'{UNZIP} && sync -f "$into"', "sh", into, *eggs], empty
        ),
        "tar -x": Way("tar -x", ["tar", "-xf", tarball, "-C", into], empty),
        "prototype": Way("prototype", [bench.python, builds.ROOT / "scripts" / "prototype.py", into, *eggs], empty),
        "pkg_resources": Way(
            "pkg_resources", [given.python, "-B", "-c", _LOOK, *eggs], empty, {"PYTHON_EGG_CACHE": str(into)}
        ),
        "extraction alone": Way(
            "extraction alone", [bench.python, "-c", _EXTRACT, into, *eggs], empty, tells=True
        ),
    }  # fmt: skip
    return [Way("eggcache prepare", prepare, empty), *(known[name] for name in rivals)]


def prepare(bench: Bench, tree: Input) -> None:
    """A cold prepare, the whole process, beside the other ways to have the files there."""
    for medium, top in bench.media.items():
        place = fresh(top / "prepare")
        rivals = ["unzip -q", "unzip -q, sync", "tar -x", "prototype", "pkg_resources"]
        ours, unzip, synced, *_ = bench.measure(
            "prepare",
            tree,
            medium,
            extracting(bench, tree, place, rivals=rivals, keep=medium == "disk"),
            bench.rounds(9),
        )
        bench.compare("prepare", "cold prepare / unzip -q egg by egg", medium, ours.median / unzip.median, 0.7)
        if medium == "disk":
            synced_ratio = ours.median / synced.median
            bench.compare("prepare", "cold prepare / unzip -q and sync", medium, synced_ratio, 1.0)
        shutil.rmtree(place)


def extract(bench: Bench, tree: Input) -> None:
    """The extraction alone, on tmpfs, beside tar, which has nothing to inflate."""
    if "tmpfs" not in bench.media:
        return
    place = fresh(bench.ram / "extract")
    alone, tar = extracting(bench, tree, place, rivals=["extraction alone", "tar -x"])[1:]
    ways = [alone, tar, *([replace(alone, name="extraction, fast", env=bench.fast)] if bench.fast else [])]
    ours, theirs, *fast = bench.measure("extract", tree, "tmpfs", ways, bench.rounds(25))
    bench.compare("extract", "extraction alone / tar -x", "tmpfs", ours.median / theirs.median, 1.5)
    for item in fast:
        ratio = item.median / theirs.median
        bench.compare("extract", "extraction alone, with the extra fast / tar -x", "tmpfs", ratio, 1.2)
    shutil.rmtree(place)


def unzip_all(bench: Bench, made: deployment.Deployment, tree: Input) -> None:
    """unzip-all beside easy_install -Z of the same eggs, egg by egg, from elsewhere: of what is installed it
    leaves every egg zipped. Both byte-compile."""
    place = fresh(bench.ram / "unzip-all")
    easy = "import setuptools, sys; setuptools.setup(script_args=['-q', 'easy_install'] + sys.argv[1:])"
    copy, bare = place / "copy", place / "bare"

    def again() -> None:
        for directory in (copy, bare):
            shutil.rmtree(directory, ignore_errors=True)
        deployment.copy(made, copy)
        site = deployment.copy(made, bare).site_packages
        for egg in site.glob("*.egg"):
            egg.unlink()
        (site / "easy-install.pth").unlink()

    unzip = bench.eggcache("unzip-all", "--all", "--python", copy / "bin" / "python")
    command: list[str | Path] = ["sh", "-c", _EASY, "sh", bare / "bin" / "python", *made.eggs]
    ways = [Way("eggcache unzip-all", unzip, again), Way("easy_install -Z", command, again, {"EASY": easy})]
    ours, theirs = bench.measure("unzip-all", tree, bench.medium, ways, bench.rounds(3))
    ratio = theirs.median / ours.median
    bench.compare("unzip-all", "easy_install -Z egg by egg / unzip-all", bench.medium, ratio, 8.0, at_least=True)
    cold = [
        measurement
        for measurement in bench.measured
        if (measurement.group, measurement.way) == ("prepare", "eggcache prepare")
    ]
    for item in cold:
        if item.medium == bench.medium:
            ratio = theirs.median / item.median
            bench.compare("unzip-all", "easy_install -Z / cold prepare", item.medium, ratio, 20.0, at_least=True)
    shutil.rmtree(place)


def check(bench: Bench, tree: Input) -> None:
    """check beside the target's own look at every member, which proves less: not the bytes in old releases, no
    directory, no rights."""
    cache = fresh(bench.ram / "check") / "cache"
    bench.run(Way("first", bench.eggcache("prepare", cache, *tree.arguments, *bench.user)))
    check = bench.eggcache("check", *tree.arguments, *bench.user[:2], "--cache", cache)
    look = [tree.python, "-B", "-c", _LOOK, *tree.eggs]
    ways = [Way("eggcache check", check), Way("pkg_resources, once", look, env={"PYTHON_EGG_CACHE": str(cache)})]
    ours, own = bench.measure("check", tree, bench.medium, ways, bench.rounds(11))
    ratio = ours.median / own.median
    bench.compare("check", "check / pkg_resources' own look at every member", bench.medium, ratio, 1.15)


def archive(bench: Bench, tree: Input) -> None:
    """An archive to nowhere, the whole process, beside a cold prepare: both read, inflate and check all members.
    One process writes an archive; all cores write a cache, and a disk has to have it."""
    written = bench.eggcache("archive", "-", *tree.arguments, *(bench.user if os.geteuid() == 0 else []))
    for medium, top in bench.media.items():
        place = fresh(top / "archive")
        prepare = extracting(bench, tree, place, rivals=[], keep=medium == "disk")[0]
        ways = [Way("eggcache archive", ["sh", "-c", 'exec "$@" >/dev/null', "sh", *written]), prepare]
        ours, cold = bench.measure("archive", tree, medium, ways, bench.rounds(9))
        bench.compare("archive", "archive to /dev/null / cold prepare", medium, ours.median / cold.median, 0.8)
        bench.compare("archive", "memory of an archive, MiB", medium, ours.peak_mib, 60.0)
        shutil.rmtree(place)


def count_syscalls(bench: Bench, tree: Input) -> None:
    """System calls for each file: those of the whole command, less those for no eggs at all."""
    if not shutil.which("strace"):
        bench.notes.append("system calls: strace is not installed")
        return
    place = fresh(bench.ram / "syscalls")
    log = place / "log"
    for way in extracting(bench, tree, place, rivals=["extraction alone", "unzip -q", "tar -x", "prototype"])[1:]:
        counts = []
        for command in (way.command, [part for part in way.command if part not in tree.eggs]):
            way.before()
            bench.run(Way(way.name, ["strace", "-f", "-c", "-o", log, *command], env=way.env))
            counts.append(int(re.findall(r"(\d+) +(?:\d+ +)?total$", log.read_text(), re.MULTILINE)[0]))
        start = counts[1] if way.name != "tar -x" else 0
        bench.syscalls[way.name] = (counts[0] - start) / tree.files
    ours = bench.syscalls["extraction alone"]
    bench.compare("syscalls", "system calls for each extracted file", bench.medium, ours, 7.0)
    shutil.rmtree(place)
