"""What a real systemd-tmpfiles --clean takes from a cache, line by line of tmpfiles.d, and what check says before."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.systemd_host import booted

from eggcache.wrappers import emission, quoting
from eggcache.wrappers.kinds import WrapperSettings

CACHE = "/srv/place/cache"
# In one process, as each start costs more than the cases: make the cache, ask eggcache, clean, look; and again with
# what its remedy says.
ONE_BY_ONE = """
import json, os, pathlib, re, shutil, subprocess, sys
from eggcache.proof import cleaners

places = [pathlib.Path(place) for place in ("/etc/tmpfiles.d", "/run/tmpfiles.d", "/usr/lib/tmpfiles.d", "/srv/place")]

def cleaned(cache, bound):
    inside = [pathlib.Path(cache, name) for name in ("Demo-1.0.egg-tmp/demo/data.txt", ".eggcache-receipt")]
    for file in () if bound else inside:
        file.parent.mkdir(exist_ok=True, parents=True)
        file.touch()
        os.utime(file, (0, 0))
    pathlib.Path(cache).mkdir(exist_ok=True, parents=True)
    findings = cleaners.findings("/nonexistent", [cache]) if bound else cleaners.findings(cache)
    said = [(finding.cause, finding.remedy.text) for finding in findings]
    done = subprocess.run(["systemd-tmpfiles", "--clean"], capture_output=True)
    return said, not all(file.exists() for file in ([pathlib.Path(cache)] if bound else inside))

for files, cache, mounted, bound in json.load(sys.stdin):
    for place in (*places, pathlib.Path(cache)):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    for link, to in (("/srv/link", "place"), ("/srv/above", ".")):  # which some lines take as well
        pathlib.Path(link).unlink(missing_ok=True)
        pathlib.Path(link).symlink_to(to)
    if mounted:
        subprocess.run(["mount", "--bind", cache, cache], check=True)
    for name, text in files.items():
        pathlib.Path(name).write_text(text + "\\n")
    answer = cleaned(cache, bound)
    exclusion = re.findall("'(x .*?)'", str(answer[0]))
    pathlib.Path("/etc/tmpfiles.d/eggcache.conf").write_text("\\n".join(exclusion) + "\\n")
    print(json.dumps([*answer, cleaned(cache, bound)[1] if exclusion else None]))
    if mounted:
        subprocess.run(["umount", cache], check=True)
"""


@dataclass
class Case:
    """Lines of tmpfiles.d by file, and how the one begins that has the cache cleaned, "" where none has."""

    files: dict[str, str]
    by: str
    cache: str = CACHE
    mounted: bool = False
    in_vain: bool = False  # an exclusion does not keep it
    bound: bool = False  # the cache is a mount point in the /tmp of a unit: to the host an empty directory


def lines(text: str, by: str = "", **more: Any) -> Case:
    """A case of one file."""
    return Case({"/etc/tmpfiles.d/site.conf": text}, by, **more)


def emitted(cache: str) -> Case:
    """What `wrapper` writes for it, where its parent and the cache itself are aged."""
    aged = f"d /srv/place - - - 0\nd {quoting.unit(cache)} - - - 0\n"
    return lines(aged + wrapper(cache), cache=cache)


def wrapper(cache: str) -> str:
    return emission.wrapper("tmpfiles.d", WrapperSettings(cache, prepare=["/bin/true"], timezone=None))


# As systemd itself has them, but for the age; the rest of a directory's name is of a unit's start
PRIVATE = """q /tmp - - - 0
x /tmp/systemd-private-%b-*
X /tmp/systemd-private-%b-*/tmp"""
OWN = "/tmp/systemd-private-%b-apache2.service-abcdef/tmp"
CASES = {
    "no line": lines("", ""),
    "parent": lines("d /srv/place - - - 0", "d /srv/place"),
    "itself": lines("d /srv/place/cache - - - 0", "d /srv/place/cache"),
    "far above": lines("D /srv - - - 0", "D /srv"),
    "subvolumes": lines("q /srv/place - - - 0", "q"),
    "subvolumes Q": lines("Q /srv/place - - - 0", "Q"),
    "subvolumes v": lines("v /srv/place - - - 0", "v"),
    "glob": lines("e /srv/pl* - - - 0", "e"),
    "glob on itself": lines("e /srv/*/ca?he - - - 0", "e"),
    "glob below": lines("e /srv/place/cache/* - - - 0", "e", in_vain=True),
    "d takes no glob": lines("d /srv/pl* - - - 0", ""),
    "glob is no dot": lines("e /srv/*lace - - - 0\nx /srv/place/cache/*", "e"),
    "no age": lines("d /srv/place", ""),
    "age -": lines("d /srv/place - - - -", ""),
    "by modification": lines("d /srv/place - - - mM:10d", "d"),
    "by access": lines("d /srv/place - - - a:10d", "d"),
    "not the first level": lines("d /srv/place - - - ~0", "d"),
    "not the first level of itself": lines("d /srv/place/cache - - - ~0", "d"),
    "at boot only": lines("d! /srv/place - - - 0", ""),
    "excluded at boot only": lines("d /srv/place - - - 0\nx! /srv/place/cache", "d"),
    "failure allowed": lines("d- /srv/place - - - 0", "d-"),
    "x": lines("d /srv/place - - - 0\nx /srv/place/cache", ""),
    "x before": lines("x /srv/place/cache\nd /srv/place - - - 0", ""),
    "x on itself": lines("d /srv/place/cache - - - 0\nx /srv/place/cache", "d"),
    "x on the parent": lines("d /srv/place - - - 0\nx /srv/place", "d"),
    "x above the line": lines("x /srv/place\nd /srv/place/cache - - - 0", "d"),
    "x on what it has": lines("d /srv/place/cache - - - 0\nx /srv/place/cache/*\nx /srv/place/cache/.*", ""),
    "x not on what is hidden": lines("d /srv/place/cache - - - 0\nx /srv/place/cache/*", "d"),
    "x before e": lines("x /srv/place/cache\ne /srv/place/cache - - - 0", ""),
    "x after e": lines("e /srv/place/cache - - - 0\nx /srv/place/cache", "e"),
    "x with an age": lines("x /srv/place/cache - - - 0", "x"),
    "X": lines("d /srv/place - - - 0\nX /srv/place/cache", "d"),
    "X without an age above": lines("X /srv/place/cache", ""),
    "X below x": lines("d /srv - - - 0\nx /srv/place\nX /srv/place/cache", "d"),
    "another line of its own": lines("d /srv/place - - - 0\nz /srv/place/cache", ""),
    "a directory of its own": lines("d /srv/place - - - 0\nd /srv/place/cache", ""),
    "r": lines("d /srv/place - - - 0\nr! /srv/place/cache", "d"),
    "first of two": lines("d /srv/place - - - 0\nd /srv/place - - - -", "d"),
    "second of two": lines("d /srv/place - - - -\nd /srv/place - - - 0", ""),
    "quoted": lines('d "/srv/place" - - - 0', "d"),
    "no escape that there is": lines("d /srv/pl\\x61ce - - - 0"),
    "two slashes": lines("d /srv//place/ - - - 0", "d"),
    "user with a blank": lines('d /srv/place - "root" root 0', "d"),
    "masked": Case({"/etc/tmpfiles.d/a.conf": "", "/usr/lib/tmpfiles.d/a.conf": "d /srv/place - - - 0"}, ""),
    "not masked": Case({"/etc/tmpfiles.d/b.conf": "", "/usr/lib/tmpfiles.d/a.conf": "d /srv/place - - - 0"}, "d"),
    "order of files": Case(
        {"/etc/tmpfiles.d/b.conf": "d /srv/place - - - 0", "/usr/lib/tmpfiles.d/a.conf": "d /srv/place - - - -"}, ""
    ),
    "no .conf": Case({"/etc/tmpfiles.d/a.conf.disabled": "d /srv/place - - - 0"}, ""),
    "specifier": Case({"/etc/tmpfiles.d/a.conf": "e %C/place - - - 0"}, "e", "/var/cache/place/cache"),
    "not its name": lines("d /srv/place - - - 0\nx /srv/place/cach%%", "d"),
    "copied": lines("C /srv/place - - - 0 /etc/skel", "C"),
    "line on a symbolic link": lines("d /srv/link - - - 0", ""),
    "any line by a pattern": lines("d /srv/place - - - 0\nZ /srv/place/* 755", ""),
    "pattern that is deeper": lines(
        "e /srv/*/*/* - - - 0\nx /srv/place/cache\nx /srv/place/cache/*", "e", in_vain=True
    ),
    "X with an age": lines("d /srv/place\nX /srv/place/cache - - - 0", "X"),
    "empty type": lines("'' /srv/place - - - 0", ""),
    "no type": lines("y /srv/place - - - 0", ""),
    "no specifier that there is": lines("d /srv/place - - - 0\nx /srv/place/%j", "d"),
    "no absolute path": lines("d srv/place - - - 0", ""),
    "first of two types": lines("D /srv/place - - - -\nd /srv/place - - - 0", ""),
    "first is a file": lines("f /srv/place - - - -\nd /srv/place - - - 0", ""),
    "first owns nothing": lines("z /srv/place - - - -\nd /srv/place - - - 0", "d"),
    "X below two": lines("d /srv - - - 0\nd /srv/place - - - -\nX /srv/place/cache", "d /srv -"),
    "X below two, the other way": lines("d /srv/place - - - -\nd /srv - - - 0\nX /srv/place/cache", ""),
    "X on a line": lines("d /srv - - - -\nd /srv/place/cache - - - 0\nX /srv/place/cache", "d /srv/place/cache"),
    "X with a pattern over a deeper line": lines(
        "d /srv\nd /srv/place/cache - - - 0\nX /srv/pl*/cache", "d /srv/place"
    ),
    "X with a pattern, a deeper line without an age": lines("d /srv - - - 0\nd /srv/place/cache\nX /srv/*/cache", ""),
    "X with a pattern, nothing above": lines("d /srv/place/cache\nX /srv/*/cache\nd /srv/place/other - - - 0", ""),
    "X with a pattern, another line below": lines(
        "d /srv - - - 0\nd /srv/place/other\nX /srv/place/ca*", "d /srv", in_vain=False
    ),
    "X with a pattern, the last of two": lines(
        "d /srv\nd /srv/place/other\nd /srv/place/cache - - - 0\nX /srv/place/*", "d /srv/place/cache"
    ),
    "X and an age that a later file does not have": Case(
        {
            "/etc/tmpfiles.d/a.conf": "d /srv - - - 0\nX /srv/place/cache",
            "/etc/tmpfiles.d/b.conf": "d /srv/place/cache",
        },
        "d /srv",
    ),
    "X and an age that a later file has": Case(
        {
            "/etc/tmpfiles.d/a.conf": "d /srv\nX /srv/place/cache",
            "/etc/tmpfiles.d/b.conf": "d /srv/place/cache - - - 0",
        },
        "d",
    ),
    "a second line with +": lines("d /srv/place - - - -\nC+ /srv/place - - - 0 /etc/skel", ""),
    "a second directory with +": lines("d /srv/place - - - -\nd+ /srv/place - - - 0", ""),
    "a line after one with +": lines("d+ /srv/place - - - -\nd /srv/place - - - 0", ""),
    "a second x with +": lines("d /srv/place - - - 0\nx /srv/place/cache - - - -\nx+ /srv/place/cache - - - 0", ""),
    "a second line with + and the first": lines("D /srv/place - - - 0\nd+ /srv/place - - - -", "D"),
    "w+ below": lines("d /srv/place - - - 0\nw+ /srv/place/cache - - - - text", ""),
    "blanks around": lines("  d /srv/place - - - 0  ", "d"),
    "braces": lines("e /srv/{place,other}/cache - - - 0", "e"),
    "no braces in what is excluded": lines("d /srv/place - - - 0\nx /srv/{place,other}/cache", "d"),
    "through a symbolic link": lines("d /srv/link/cache - - - 0", "d", in_vain=True),
    "parent through a symbolic link": lines("d /srv/above/place - - - 0", "d", in_vain=True),
    "pattern through a symbolic link": lines("e /srv/li*/cache - - - 0", "e", in_vain=True),
    "pattern that a symbolic link matches, too": lines("e /srv/*/cache - - - 0", "e", in_vain=True),
    "pattern not searched through a link": lines("e /srv/li*/ca?he - - - 0", ""),
    "pattern searched through another link": lines("e /srv/above/place/ca?he - - - 0", "e", in_vain=True),
    "pattern on a symbolic link": lines("e /srv/li* - - - 0", ""),
    "x not on the path through a link": lines("d /srv/above/place - - - 0\nx /srv/place/cache", "d", in_vain=True),
    "x on the path through a link": lines("d /srv/above/place - - - 0\nx /srv/above/place/cache", ""),
    "mounted": lines("d /srv/place - - - 0", "", mounted=True),
    "mounted, and aged itself": lines("d /srv/place/cache - - - 0", "d", mounted=True),
    "private tmp": lines(PRIVATE, "q /tmp", cache=f"{OWN}/cache"),
    "private tmp, kept": lines(f"{PRIVATE}\n{wrapper('/tmp/cache')}", "", cache=f"{OWN}/cache"),
    "private tmp, a directory in it kept": lines(
        f"{PRIVATE}\n{wrapper('/tmp/a site/cache')}", "", cache=f"{OWN}/a site/cache"
    ),
    "private tmp, another kept": lines(f"{PRIVATE}\n{wrapper('/tmp/other')}", "q /tmp", cache=f"{OWN}/cache"),
    "mount point": lines(PRIVATE, "q /tmp", cache=f"{OWN}/cache", bound=True),
    "mount point of no age": lines(PRIVATE.replace(" 0", " -"), "", cache=f"{OWN}/cache", bound=True),
    "mount point, nothing but an age": lines("q /tmp - - - 0", "q /tmp", cache=f"{OWN}/cache", bound=True),
    "mount point, all private ones excluded": lines(
        "q /tmp - - - 0\nx /tmp/systemd-private-*", "", cache=f"{OWN}/cache", bound=True
    ),
    "mount point, kept": lines(f"{PRIVATE}\n{wrapper('/tmp/cache')}", "", cache=f"{OWN}/cache", bound=True),
    "mount point, with a blank": lines(
        f"{PRIVATE}\n{wrapper('/tmp/a site/cache')}", "", cache=f"{OWN}/a site/cache", bound=True
    ),
    "mount point in /var/tmp, kept": lines(
        f"{PRIVATE}\n{wrapper('/var/tmp/cache')}".replace(" /tmp", " /var/tmp"),
        "",
        cache=f"/var{OWN}/cache",
        bound=True,
    ),
    "mount point, what is in it excluded": lines(
        f"{PRIVATE}\nx {OWN}/cache/*", "q /tmp", cache=f"{OWN}/cache", bound=True
    ),
    "mount point, itself aged": lines(f"{PRIVATE}\nd {OWN}/cache - - - 0", "", cache=f"{OWN}/cache", bound=True),
    "emitted": emitted(CACHE),
    "emitted, with blanks": emitted("/srv/place/a  b"),
    "emitted, with quotes": emitted("""/srv/place/a'b"c"""),
    "emitted, no pattern": emitted("/srv/place/a [glob]?*"),
    "emitted, with backslashes": emitted("/srv/place/a\\b\\x41"),
    "emitted, with per cent": emitted("/srv/place/100%b"),
}


@pytest.fixture(scope="module")
def answers() -> Iterator[dict[str, Any]]:
    """What check said of each case, with its remedy; whether files went; and whether they did with the remedy."""
    with booted() as host:
        host.sh("mkdir -p /srv/place")
        boot = host.sh("tr -d - </proc/sys/kernel/random/boot_id").stdout.strip()
        cases = [
            (case.files, case.cache.replace("-%b-", f"-{boot}-"), case.mounted, case.bound) for case in CASES.values()
        ]
        host.write("/run/cases.json", json.dumps(cases))
        result = host.sh(f"exec {shlex.join([sys.executable, '-c', ONE_BY_ONE])} </run/cases.json")
        yield dict(zip(CASES, map(json.loads, result.stdout.splitlines())))


@pytest.mark.parametrize("name", CASES)
def test_check_says_what_systemd_takes(answers: dict[str, Any], name: str) -> None:
    """check names the line that has systemd-tmpfiles take files of the cache, and says nothing where it takes none;
    with the exclusion that the remedy has it takes none, and where an exclusion would not do, the remedy has none."""
    said, gone, gone_again = answers[name]
    by = CASES[name].by
    assert gone is bool(by)
    assert len(said) == gone
    if said:
        assert f" says {by!r}"[:-1] in said[0][0].replace('"', "'")
        assert (gone_again is None) is CASES[name].in_vain
    assert not gone_again
