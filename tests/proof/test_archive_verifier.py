"""The verifier of an archive, as a person runs it; test_check.py has it say what check says."""

from __future__ import annotations

import io
import os
import pwd
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from support.judge import as_json, eggcache, environment, watched
from support.sites import Site, write_egg

from eggcache.proof.archive_verifier import Archived, verifier
from eggcache.system import accounts
from eggcache.target.interpreter import Target


class Host:
    """A site whose eggs lie in a directory, with a cache that is said to have come in an archive."""

    def __init__(self, site: Site, timezone: str | None = None, rules: str = "") -> None:
        site.prepare(*([] if timezone is None else ["--tz", timezone]))
        self.site = site
        self.file = site.eggs.parent / "verifier.py"
        names = [f"{egg.name}-tmp" for egg in site.eggs.iterdir()]
        target = Target(str(site.python), [str(site.eggs)], accounts.lookup("nobody"))
        self.file.write_bytes(verifier(Archived(str(site.cache), names, timezone, rules), target))

    def run(self, *arguments: str | Path, user: str = "nobody", lines: int = 1, **env: str) -> tuple[int, str]:
        """Its exit status, and the one line that it prints."""
        result = subprocess.run(
            [self.site.python, self.file, *arguments], env=environment(env), cwd="/", user=user,
            group=pwd.getpwnam(user).pw_gid, extra_groups=[], capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip
        assert (result.stdout.count("\n"), result.stderr) == (lines, "")
        return result.returncode, result.stdout


def test_what_it_is_run_with(site: Site) -> None:
    """Without PYTHON_EGG_CACHE the archive's directory is meant. As root, with an option, with a path that is not there
    or with a relative cache it is exit status 2 and one line, and nothing is asked."""
    host = Host(site)
    assert host.run() == (0, "7 files of 2 eggs, as nobody: all current, nothing to write\n")
    assert host.run(PYTHON_EGG_CACHE=str(site.cache), TZ="UTC0")[0] == 0
    assert host.run(PYTHON_EGG_CACHE="/var/empty")[1].startswith("cache-missing: /var/empty: ")
    assert host.run(PYTHON_EGG_CACHE=f"/{site.cache}")[0] == 0
    assert host.run(PYTHON_EGG_CACHE="//var/empty/none")[1].startswith("cache-missing: //var/empty/none: ")
    for arguments, user, env, says in (
        ((), "root", {}, "run it as the user that the server runs as"),
        (("--help",), "nobody", {}, "directories and eggs"),
        (
            ("/not/there",),
            "nobody",
            {},
            "/not/there: there is no such directory or egg, or user nobody cannot get there",
        ),
        ((), "nobody", {"PYTHON_EGG_CACHE": "cache"}, "PYTHON_EGG_CACHE=cache: write it in full"),
    ):
        status, line = host.run(*arguments, user=user, **env)
        assert (status, says in line) == (2, True), line


def test_eggs_that_are_not_on_the_path(site: Site) -> None:
    """An egg of the archive that this Python does not find is named, and found in the directory that is named; an egg
    that no archive has brought is missing."""
    host = Host(site)
    elsewhere = site.eggs.rename(site.eggs.parent / "elsewhere")
    status, line = host.run()
    assert (status, line.startswith("egg-unseen: ")) == (3, True)
    assert "-1.0-py3.11.egg: it is in the archive, and " in line
    assert "(and 1 more)" in line
    assert host.run(elsewhere)[0] == 0
    write_egg(elsewhere / "Three-1.0-py3.11.egg", {"three.py": ""})
    assert host.run(elsewhere)[1].startswith(f"egg-not-in-cache: {site.cache}/Three-1.0-py3.11.egg-tmp: ")


def test_egg_that_is_gone(site: Site) -> None:
    """Where an egg is gone from the host and from the archive that was extracted last, its directory is no fault."""
    Host(site)
    next(site.eggs.glob("Two*")).unlink()
    assert list(site.cache.glob("Two*"))
    assert Host(site).run() == (0, "4 files of 1 egg, as nobody: all current, nothing to write\n")
    assert list(site.cache.glob("Two*"))


def test_eggs_on_the_path_that_this_python_takes_for_none(site: Site) -> None:
    """An egg that its user may not read, or that is no zip any more, is named by its place; one that is a directory now
    needs no cache."""
    host = Host(site)
    one = next(site.eggs.glob("One*"))
    kept = one.read_bytes()
    one.chmod(0o600)
    assert host.run() == (3, f"egg-unreadable: {one}: user nobody may not read it; let user nobody read it\n")
    one.chmod(0o644)
    one.write_bytes(kept[:-30])
    status, line = host.run()
    assert (status, line.startswith(f"egg-refused: {one}: ")) == (3, True)
    one.unlink()
    zipfile.ZipFile(io.BytesIO(kept)).extractall(one)
    assert host.run()[0] == 0
    two = next(site.eggs.glob("Two*"))
    kept = two.read_bytes()
    two.unlink()
    zipfile.ZipFile(io.BytesIO(kept)).extractall(two)
    site.cache.chmod(0o777)  # a cache that nothing is in need of, and that is there
    status, said = host.run(lines=2)
    codes = [line.split(": ")[0] for line in said.splitlines()]
    assert (status, codes) == (3, ["cache-open-to-others", "cache-writable"])


@pytest.mark.parametrize(
    ("zone", "when", "code"),
    [
        ("America/Caracas", (2016, 5, 1, 2, 45, 0), "ambiguous-time"),  # standard time was set forward
        ("America/Caracas", (2007, 12, 9, 2, 45, 0), "ambiguous-time"),  # and back
        ("Europe/Madrid", (2009, 3, 29, 2, 30, 0), ""),  # summer time begins
    ],
)
def test_times_that_clocks_pass_by(site: Site, zone: str, when: tuple[int, int, int, int, int, int], code: str) -> None:
    """A file that is dated where a zone's standard time changed is named, and one where summer time begins is current,
    as check has it."""
    write_egg(site.eggs / "Three-1.0-py3.11.egg", {"three.py": ""}, when=when)
    host = Host(site, zone)
    status, line = host.run(TZ=zone)
    assert (status, line.split(": ")[0]) == ((3, code) if code else (0, "9 files of 3 eggs, as nobody")), line
    words = ["check", "--cache", site.cache, "--python", site.python, "--path", site.eggs, "--user", "nobody", "--json"]
    said = as_json(eggcache(*words, "--tz", zone))
    assert {finding["code"] for finding in said["findings"]} == ({code} if code else set())


def test_one_of_a_kind_is_counted_as_one(site: Site) -> None:
    """One egg is no eggs, and one file no files: in the proof, in what is missing, and in what another zone has."""
    for egg in site.eggs.iterdir():
        egg.unlink()
    write_egg(site.eggs / "one-1.0-py3.11.egg", {})
    host, check = Host(site), ["check", *site.options, "--cache", site.cache, "--json"]
    assert host.run() == (0, "1 file of 1 egg, as nobody: all current, nothing to write\n")
    assert ": 1 file is not current, " in host.run(TZ="UTC-2")[1]
    assert "here: 1 file is not current, " in str(as_json(eggcache(*check, "--tz", "UTC-2")))
    shutil.rmtree(site.cache / "one-1.0-py3.11.egg-tmp")
    assert "it is missing, with the 1 file of " in host.run()[1]
    assert "it is missing, with the 1 file of " in str(as_json(eggcache(*check)))


def test_what_cannot_be_printed_is_no_proof(site: Site) -> None:
    """Where its line cannot be written, it is one line on the other stream, and exit status 1."""
    host = Host(site)
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [site.python, host.file], env=environment({}), user="nobody", group=site.account.pw_gid, extra_groups=[],
            stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert (result.returncode, result.stderr.count(b"\n")) == (1, 1)
    assert b": standard output: [Errno 28] " in result.stderr


def test_another_zone_is_told_from_other_rules_of_the_zone(site: Site) -> None:
    """It tells a process that has another zone from a host that has other rules for the zone, or none; what it says to
    do is right."""
    host = Host(site, "Europe/Madrid", "2025b")
    assert host.run(TZ="Europe/Madrid")[0] == 0
    status, line = host.run()
    assert (status, line.startswith(f"time-zone: {site.cache}: 7 files are not current, ")) == (3, True)
    assert "is off by -2 h: the archive is for a server with TZ=Europe/Madrid, and this runs without TZ; " in line
    other = site.eggs.parent / "zoneinfo"
    (other / "Europe").mkdir(parents=True)
    shutil.copyfile("/usr/share/zoneinfo/America/New_York", other / "Europe" / "Madrid")
    for directory in (other, site.eggs):  # glibc takes a zone that it does not find for UTC
        status, line = host.run(TZ="Europe/Madrid", TZDIR=str(directory))
        assert (status, "the zone data of this host are not those" in line, "2025b" in line) == (3, True, True)
    shutil.rmtree(site.cache)
    host = Host(site, "CET-1CEST,M3.5.0,M10.5.0/3")
    assert host.run(TZ="CET-1CEST,M3.5.0,M10.5.0/3", TZDIR=str(other))[0] == 0


def test_it_writes_nothing_and_imports_nothing_beside_it(site: Site, nobody: pwd.struct_passwd) -> None:
    """Where its user could write everything, no process writes, compiled modules included; a module that lies beside it
    is not imported."""
    host = Host(site)
    for name in ("warnings", "zipfile", "pkg_resources", "re"):
        (host.file.parent / f"{name}.py").write_text("raise SystemExit('taken')\n")
    for top, _, files in os.walk(host.file.parent):
        for path in (top, *(os.path.join(top, name) for name in files)):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    shutil.rmtree(next(site.cache.glob("One*")))
    result, attempts = watched([str(site.python), str(host.file)], nobody, env=environment({}))
    codes = [line.split(": ")[0] for line in result.stdout.splitlines()]
    assert (result.returncode, attempts) == (3, [])
    assert codes == ["egg-not-in-cache", "parent-writable", "cache-writable"]


@pytest.mark.parametrize("name", ["a new\nline", "caf\u00e9", "not-utf8-\udcff"])
def test_directory_of_any_name_is_found(site: Site, name: str) -> None:
    """Whatever the directory is called, it is found, and printed in one line."""
    site.cache = site.eggs.parent / name / "cache"
    site.cache.parent.mkdir()
    host = Host(site)
    assert host.run(LC_ALL="C.UTF-8")[0] == 0
    next(site.cache.glob("One*/one/data/text.txt")).unlink()
    result = subprocess.run(
        [site.python, host.file], env=environment({}), user="nobody", group=site.account.pw_gid, extra_groups=[],
        capture_output=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout.count(b"\n"), result.stderr) == (3, 1, b"")
    assert os.fsencode(name).replace(b"\n", b"\\n") in result.stdout
