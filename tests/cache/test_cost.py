"""What commands cost, counted and not timed: processes and system calls, which no other load on the machine changes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from support import ROOT
from support.injection import UNHURRIED
from support.judge import eggcache, environment
from support.sites import write_egg

FILES = 40  # of the smallest egg


def prepared(python: Path, top: Path, files: int) -> list[str]:
    """An egg of so many files, eight directories deep, in a cache: the arguments of a check that finds it healthy."""
    name = f"Deep-{files}"
    eggs, cache = top / f"eggs-{files}", top / f"cache-{files}"
    eggs.mkdir()
    members = {f"deep/{'d/' * (number % 8)}m{number}.py": f"value = {number}\n" for number in range(files)}
    write_egg(eggs / f"{name}-py3.11.egg", members)
    common = ["--all", "--path", str(eggs), "--python", str(python), "--user", "nobody"]
    assert eggcache("prepare", cache, *common).returncode == 0
    return ["check", *common, "--cache", str(cache)]


def calls(top: Path, *arguments: str, program: Sequence[str] = ("-m", "eggcache")) -> tuple[Counter[str], list[str]]:
    """How often eggcache, and what it starts, makes each system call for what is below `top`; what it executes.

    Elsewhere, in /proc above all, there is more or less to look at from one moment to the next.
    """
    with tempfile.TemporaryDirectory() as directory:
        # a log for each process: in a common one, their lines are cut where they take turns
        traced = ["strace", "-ff", "-qq", "-e", "trace=%file,close,lseek,pread64", "-o", f"{directory}/log"]
        command = [*traced, sys.executable, *program, *arguments]
        result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
        assert result.returncode in (0, 3), result.stderr
        lines = [line for log in Path(directory).iterdir() for line in log.read_text(errors="replace").splitlines()]
    match = Counter(call[1] for line in lines if str(top) in line and (call := re.match(r"(\w+)\(", line)))
    return match, [call[1] for line in lines if (call := re.match(r'execve\("([^"]*)".* = 0$', line))]


def test_check_is_one_process_and_linear(python: Path, shared_tmp: Path) -> None:
    """check executes the target once, however much there is to look at, and what it does for each member, of an egg
    four and of one sixteen times as large, is the same: the depth of a directory does not multiply it. (A look at the
    egg while the target begins, for which there is time or not, is a few calls in all.)"""
    totals = []
    for files in (FILES, 4 * FILES, 16 * FILES):
        counts, programs = calls(shared_tmp, *prepared(python, shared_tmp, files))
        assert programs.count(str(python)) == 1
        totals.append(sum(counts.values()))
    small = (totals[1] - totals[0]) / (3 * FILES)
    large = (totals[2] - totals[1]) / (12 * FILES)
    assert abs(large - small) < 0.1
    assert large <= 11.1, "three of eggcache, of which one asks who can write; pkg_resources itself makes the rest"


def test_check_asks_apache_while_the_target_begins(python: Path, shared_tmp: Path) -> None:
    """When Apache is asked for its configuration, which takes as long as the target takes to begin, check has started
    the target already: it has another child than the program that it asks."""
    children, apachectl = shared_tmp / "children", shared_tmp / "apachectl"
    look = f'grep -lsx "PPid:\t$PPID" /proc/[0-9]*/status | grep -vx "/proc/$$/status" >>{children}'
    apachectl.write_text(f"#!/bin/sh\n{look}\nexit 1\n")
    apachectl.chmod(0o755)
    eggcache(*prepared(python, shared_tmp, FILES), "--apachectl", str(apachectl))
    assert children.read_text().startswith("/proc/")


def test_report_asks_the_target_once(python: Path, shared_tmp: Path) -> None:
    """report executes the target as often as check does, though its page has the tree as well."""
    page = shared_tmp / "page.html"
    _, programs = calls(shared_tmp, "report", *prepared(python, shared_tmp, FILES)[1:], "-o", str(page))
    assert programs.count(str(python)) == 1
    assert f"Deep-{FILES}-py3.11.egg" in page.read_text()


def test_tree_is_linear(python: Path, shared_tmp: Path) -> None:
    """What tree does for each egg, of fifty and of two hundred, is the same, in eggcache and in the target together."""
    totals = []
    for count in (50, 100, 200):  # of the target's own, one call for fifty
        eggs = shared_tmp / f"small-{count}"
        eggs.mkdir()
        for number in range(count):
            write_egg(eggs / f"Small{number:03d}-1.0-py3.11.egg", {f"small{number:03d}.py": ""})
        command = ["tree", "--path", str(eggs), "--python", str(python)]
        counts, _ = calls(eggs, *command, program=("-c", UNHURRIED))
        totals.append(sum(counts.values()))
    small, large = totals[1] - totals[0], totals[2] - totals[1]
    assert large == 2 * small
    assert large <= 100 * 18, "half of them are pkg_resources' own"


def test_what_is_missing_costs_one_look(python: Path, shared_tmp: Path) -> None:
    """The disk is searched once for why distributions are missing, and not for each of them, among eggs for another
    Python: forty cost no more than one does."""
    totals = []
    for missing in (1, 40):
        eggs = shared_tmp / f"lacking-{missing}"
        eggs.mkdir()
        for number in range(20):
            write_egg(eggs / f"Other{number}-1.0-py2.7.egg", {f"other{number}.py": ""})
        requires = "\n".join(f"Nowhere{number}" for number in range(missing))
        write_egg(eggs / "Lacking-1.0-py3.11.egg", {"lacking.py": "", "EGG-INFO/requires.txt": requires})
        command = ["tree", "--all", "--path", str(eggs), "--python", str(python)]
        counts, _ = calls(eggs, *command, program=("-c", UNHURRIED))
        totals.append(sum(counts.values()))
    assert totals[0] == totals[1]


def test_an_egg_with_most_members_is_read_as_often_as_a_small_one(python: Path, shared_tmp: Path) -> None:
    """A requirement's own egg, beside others, is opened as often where it has more members than the target is to hold:
    each time, the target's zipfile would list all of them."""
    opened = []
    for members in (1, 11_000):
        eggs = shared_tmp / f"beside-{members}"
        eggs.mkdir()
        for number in range(4):
            write_egg(eggs / f"Beside{number}-1.0-py3.11.egg", {f"beside{number}.py": ""})
        egg = eggs / "Chief-1.0-py3.11.egg"
        write_egg(egg, {f"chief/m{number}.py": "" for number in range(members)})
        command = ["tree", "Chief", "--path", str(eggs), "--python", str(python)]
        found, _ = calls(egg, *command, program=("-c", UNHURRIED))
        opened.append(found["openat"])
    assert opened[0] == opened[1]
    assert opened[1] <= 8


def largest_of_tree(python: Path, eggs: Path) -> int:
    """MiB of the largest process of a tree of all eggs there, eggcache and the target.

    A small process starts it: to Linux a program is as large as the process was that became it, here pytest.
    """
    command = [sys.executable, "-m", "eggcache", "tree", "--all", "--path", str(eggs), "--python", str(python)]
    measure = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)"
    measure += "; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    return (
        int(subprocess.check_output([sys.executable, "-c", measure, *command], cwd=ROOT, env=environment())) >> 10
    )  # KiB


def copies(eggs: Path, count: int, members: int) -> None:
    """So many eggs, each with so many members; to the disk they are one."""
    eggs.mkdir()
    first = eggs / "Copy0000-1.0-py3.11.egg"
    write_egg(first, {f"copy/{number}.txt": "" for number in range(members)})
    for number in range(1, count):
        os.link(first, eggs / f"Copy{number:04d}-1.0-py3.11.egg")


def test_memory_is_not_that_of_all_members(python: Path, shared_tmp: Path) -> None:
    """Neither eggcache nor the target holds the members of sixty eggs more than those of a few: each egg has 2,000,
    of which pkg_resources keeps a kilobyte each in three places, and all are read for their requirements."""
    copies(shared_tmp / "large", 60, 2000)
    assert largest_of_tree(python, shared_tmp / "large") < 80


def test_memory_for_many_eggs(python: Path, shared_tmp: Path) -> None:
    """Of five thousand eggs the target holds what pkg_resources' own distributions take, and not as much again: it was
    53 MiB, and is 41."""
    copies(shared_tmp / "many", 5000, 1)
    assert largest_of_tree(python, shared_tmp / "many") < 47
