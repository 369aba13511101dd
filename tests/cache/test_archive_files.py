"""archive: where it goes, whole or not at all; the same to the byte; and what a host makes of it later."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import ROOT
from support.archives import READERS, compare, extracted, tree
from support.disks import tmpfs
from support.injection import traced
from support.judge import as_json, eggcache, environment
from support.sites import Site, measured, write_egg
from support.terminals import show

from eggcache.system.tar_file import MARK
from eggcache.target import other_host

WORDS = [sys.executable, "-m", "eggcache", "archive"]


def options(site: Site) -> list[str]:
    """What archives the eggs of a site, without any Python."""
    return ["--eggs-in", str(site.eggs), "--group", "65534", "--tz", "UTC0"]


def run(
    site: Site, file: str | Path, *more: str, env: Mapping[str, str] = {}, checkout: Path | None = None, **how: object
) -> subprocess.CompletedProcess[bytes]:
    """How `archive` ends, with its output as bytes: that of a `checkout`, where another user is to run it."""
    python = sys.executable if checkout is None else str(site.python)
    return subprocess.run(
        [python, *WORDS[1:], str(file), *options(site), *more],
        env={**environment({"PYTHONPATH": str(checkout or ROOT)}), **env}, cwd="/", stdin=subprocess.DEVNULL,
        check=False, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how},
    )  # type: ignore[call-overload, no-any-return]  # fmt: skip


def test_the_same_to_the_byte(site: Site, shared_tmp: Path, checkout: Path) -> None:
    """The same eggs and options make the same archive, whoever makes it, with whatever umask, locale and hash seed, and
    whenever: on standard output, in a file, and gzipped."""
    shared_tmp.chmod(0o1777)
    first = run(site, "-").stdout
    assert len(first) > 10_000
    for path in site.eggs.iterdir():
        os.utime(path)
    others: list[dict[str, object]] = [
        {"umask": 0o077, "env": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}},
        {"umask": 0, "env": {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"}},
        {"user": "nobody", "group": "nogroup", "extra_groups": [], "checkout": checkout},
    ]
    for number, how in enumerate(others):
        file = shared_tmp / f"{number}.tar"
        assert run(site, file, **how).returncode == 0  # type: ignore[arg-type]
        assert file.read_bytes() == first, how
        packed = shared_tmp / f"{number}.tgz"
        assert run(site, packed, **how).returncode == 0  # type: ignore[arg-type]
        assert packed.read_bytes() == (shared_tmp / "0.tgz").read_bytes()
        assert packed.stat().st_size < len(first) / 2
    assert gzip.decompress((shared_tmp / "0.tgz").read_bytes()) == first


def test_dash_sends_the_archive_alone_to_standard_output(site: Site) -> None:
    """ "-" sends the archive and nothing else to standard output, and says the rest on the other stream; a terminal is
    refused, as is --json, which goes there too; who stops reading ends it, and a full disk is an error."""
    result = run(site, "-", "-v")
    assert result.returncode == 0
    assert subprocess.run(["tar", "-tf", "-"], input=result.stdout, capture_output=True, check=True).stderr == b""
    assert b"2 eggs packed for /var/cache/eggcache" in result.stderr
    shown = show([*WORDS, "-", *options(site)], env=environment())
    assert shown.status == 2
    assert "standard output is a terminal" in shown.terminal
    assert run(site, "-", "--json").returncode == 2
    wrong = run(site, site.cache / "cache.zip")  # its name says what it is not
    assert (wrong.returncode, b"name it so, or write - for standard output" in wrong.stderr) == (2, True)
    assert as_json(eggcache("archive", "-", *options(site), "-n", "--json"))["outcomes"]
    write_egg(site.eggs / "Large-1.0-py3.11.egg", {"large.txt": os.urandom(1 << 20).hex()})
    closed = eggcache_closed("-", *options(site))
    assert (closed.returncode, closed.stderr.count(b"\n"), b"standard output: it is closed" in closed.stderr) == (
        1,
        1,
        True,
    )
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    for stream, status, says in ((writing, 128 + signal.SIGPIPE, b""), (full, 1, b"No space left")):
        with open(stream, "wb") as taken:
            result = run(site, "-", "-q", stdout=taken)
        assert result.returncode == status
        assert says in result.stderr
        assert b"Traceback" not in result.stderr


def eggcache_closed(*words: str) -> subprocess.CompletedProcess[bytes]:
    """How `archive` ends whose standard output is closed."""
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *WORDS, *words]
    return subprocess.run(command, env=environment({"PYTHONPATH": str(ROOT)}), capture_output=True, check=False)


@pytest.mark.parametrize("program", READERS)
def test_the_mark_is_of_no_account_to_tar(site: Site, shared_tmp: Path, program: str) -> None:
    """No tar takes notice of what an archive is known by: it extracts as the same archive does without it, and as a
    directory, not as a link."""
    file, plain = shared_tmp / "cache.tar", shared_tmp / "plain.tar"
    assert run(site, file).returncode == 0
    with tarfile.open(file) as marked, tarfile.open(plain, "w", format=tarfile.GNU_FORMAT) as other:
        for number, member in enumerate(marked):
            assert (member.linkname == MARK) == (number == 0)
            member.linkname = ""
            other.addfile(member, marked.extractfile(member) if member.isfile() else None)
    with extracted(program, file) as one, extracted(program, plain) as two:
        assert tree(one) == tree(two)
        assert len(tree(one)) > 8
        assert compare(file, one) == (0, "")


def test_a_cache_below_tmp(site: Site, shared_tmp: Path) -> None:
    """Of a cache where anybody on the host can make names that is said, with a better place; of another one, not."""
    others = ("/srv/shop/Egg-Cache", "/var/cache/eggs")
    for place, said in (("/var/tmp/eggs", True), ("//tmp/eggs", True), *((other, False) for other in others)):
        result = run(site, shared_tmp / "cache.tar", "--cache", place)
        assert (result.returncode, b"anybody on the host can have made that name first" in result.stderr) == (0, said)


def test_what_is_there_already(site: Site, shared_tmp: Path) -> None:
    """An archive takes the place of an archive, or of an empty file. Whatever else has the name stays as it is, and a
    name that no archive has is no FILE."""
    for name in ("cache.tar", "cache.tar.gz"):
        file = shared_tmp / name
        file.touch()
        for expected in (2, 3):
            assert run(site, file).returncode == 0
            listed = subprocess.run(["tar", "-tf", file], capture_output=True, text=True, check=True).stdout
            assert listed.count("-tmp/\n") == expected
            write_egg(site.eggs / "Three-1.0-py3.11.egg", {"three.py": ""})
        (site.eggs / "Three-1.0-py3.11.egg").unlink()
    others = shared_tmp / "others.tar"
    subprocess.run(["tar", "-cf", others, "-C", site.eggs, "."], check=True)
    with tarfile.open(shared_tmp / "reproducible.tar", "w") as theirs:
        first = tarfile.TarInfo("theirs")
        first.type, first.mtime = tarfile.DIRTYPE, 315_532_800  # the first day of a zip, as for reproducible builds
        theirs.addfile(first)
    (shared_tmp / "link.tar").symlink_to("cache.tar")
    (shared_tmp / "egg.tar").write_bytes((site.eggs / "One-1.0-py3.11.egg").read_bytes())
    (shared_tmp / "directory.tar").mkdir()
    os.mkfifo(shared_tmp / "fifo.tar")
    before = {path: path.lstat().st_ctime_ns for path in shared_tmp.glob("*.tar")}
    for name in ("others.tar", "reproducible.tar", "link.tar", "egg.tar", "directory.tar", "fifo.tar"):
        result = run(site, shared_tmp / name)
        assert (result.returncode, b"something else is there" in result.stderr) == (2, True), name
    for name in ("cache.zip", "TurboGears"):
        assert run(site, shared_tmp / name).returncode == 2
    assert run(site, shared_tmp / "no" / "cache.tar").returncode == 1
    assert {path: path.lstat().st_ctime_ns for path in shared_tmp.glob("*.tar")} == before
    assert not list(shared_tmp.glob(".egg*"))


def test_a_directory_of_somebody_else(site: Site, shared_tmp: Path) -> None:
    """Root writes no archive where another user could exchange it on its way to a host, whose root extracts it."""
    place = shared_tmp / "theirs"
    place.mkdir()
    os.chown(place, site.account.pw_uid, site.account.pw_gid)
    result = run(site, place / "cache.tar")
    assert result.returncode == 4
    assert b"write to standard output" in result.stderr
    assert os.listdir(place) == []


@pytest.mark.parametrize("end", ["KILL", "TERM"])
def test_a_killed_run_leaves_the_old_archive_and_nothing_else(site: Site, shared_tmp: Path, end: str) -> None:
    """A run that is killed when all but the last of its work is done leaves the archive that was there, and nothing
    beside it."""
    file = shared_tmp / "cache.tar"
    assert run(site, file).returncode == 0
    before = file.read_bytes()
    write_egg(site.eggs / "More-1.0-py3.11.egg", {"more.txt": "x"})
    fault = ["-e", "trace=fsync", "-e", f"inject=fsync:signal={end}:when=1"]
    result = traced(fault, [*WORDS, str(file), *options(site)])
    assert result.returncode == (-signal.SIGKILL if end == "KILL" else 128 + signal.SIGTERM), result.stderr
    assert [path.name for path in shared_tmp.iterdir() if path.is_file()] == ["cache.tar"]
    assert file.read_bytes() == before


def test_a_full_disk(site: Site, shared_tmp: Path) -> None:
    """Where the disk is full, the archive that was there stays, nothing is left beside it, and the error says so."""
    with tmpfs(shared_tmp / "small", "size=300k") as small:
        assert run(site, small / "cache.tar").returncode == 0
        before = (small / "cache.tar").read_bytes()
        write_egg(site.eggs / "Large-1.0-py3.11.egg", {"large.txt": "x" * 400_000})
        result = run(site, small / "cache.tar")
        assert (result.returncode, b"No space left on device" in result.stderr) == (1, True)
        assert os.listdir(small) == ["cache.tar"]
        assert (small / "cache.tar").read_bytes() == before
        assert run(site, small / "cache.tgz").returncode == 0


def test_a_large_member_takes_no_more_memory(site: Site, shared_tmp: Path) -> None:
    """A member of 120 MB costs no more memory than others, and all of it less than 60 MiB."""
    write_egg(site.eggs / "Large-1.0-py3.11.egg", {"large.txt": "x" * 120_000_000})
    result, peak = measured(["archive", str(shared_tmp / "cache.tar"), *options(site), "--limit", "ratio=2000"])
    assert result.returncode == 0, result.stderr
    assert (shared_tmp / "cache.tar").stat().st_size > 120_000_000
    assert peak < 60 << 10


def test_whose_it_is(site: Site, shared_tmp: Path) -> None:
    """With a group the archive is its owner's alone, and all in it that group's; without, everybody may read it and
    what is in it, which is said. A group that this machine does not know has no number, and one is asked for."""
    file = shared_tmp / "cache.tar"
    common = ["--eggs-in", site.eggs, "--tz", "UTC0"]
    for words, mode, listed, says in (
        (["--group", "48"], 0o600, {"drwxr-x--- 0/48", "-rw-r----- 0/48", "-rw------- 0/0"}, ""),
        ([], 0o644, {"drwxr-xr-x 0/0", "-rw-r--r-- 0/0", "-rw------- 0/0"}, "readable by all"),
        (["--user", "nobody"], 0o600, {"drwxr-x--- 0/65534", "-rw-r----- 0/65534", "-rw------- 0/0"}, "65534 alone"),
    ):
        result = eggcache("archive", file, *common, *words)
        assert (result.returncode, says in result.stderr) == (0, True), result.stderr
        assert file.stat().st_mode == 0o100000 | mode
        lines = subprocess.run(["tar", "-tvf", file], capture_output=True, text=True, check=True).stdout.splitlines()
        assert {" ".join(line.split()[:2]) for line in lines} == listed
    result = eggcache("archive", file, *common, "--group", "no such group")
    assert (result.returncode, "getent group 'no such group'" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--eggs-in", "EGGS", "--python", "/usr/bin/python3"], "--python: with --eggs-in no Python is asked"),
        (["--eggs-in", "EGGS", "--path", "EGGS"], "--path: with --eggs-in no Python is asked"),
        (["--eggs-in", "EGGS", "--path-from", "EGGS"], "--path-from: with --eggs-in no Python is asked"),
        (["One", "--eggs-in", "EGGS"], "One: with --eggs-in no Python is asked"),
        (["--eggs-in", "EGGS/.."], "no zipped egg lies there"),
        (["--eggs-in", "EGGS/none"], "EGGS/none: there is nothing of that name"),
        (["--eggs-in", "EGGS", "--for-python", "py27"], "--for-python py27: that is no version"),
        (["--eggs-in", "EGGS", "--for-setuptools", "44; rm"], "--for-setuptools 44; rm: that is no version"),
        (["--for-python", "2.4"], "name their directory with --eggs-in"),
        (["--eggs-in", "EGGS", "--cache", "cache"], "--cache cache: it is a directory of the host"),
        *(
            (["--eggs-in", "EGGS", "--cache", place], f"--cache {place}: it is a directory of the host's own")
            for place in ("/", "/..", "/tmp", "//etc", "/srv/", "/var/cache", "/var/x/../tmp", "/usr/lib", "/home/me")
        ),
        *(
            (["--eggs-in", "EGGS", "--cache", place], f"--cache {place}: it may be another program's")
            for place in (
                "/var/cache/apache2",
                "/var/cache/apache2/cache",
                "//srv/shop/eggs",
                "/run/lock",
                "/sbin/shop",
                "/var/mail/shop",
                "/home/gregg/.cache",
                "/srv/eggcache.example.org/htdocs",
                "/etc/apache2/sites-enabled",
            )
        ),
    ],
)
def test_options_that_contradict_each_other_write_nothing(
    site: Site, shared_tmp: Path, words: list[str], says: str
) -> None:
    """What makes no sense together, or on a host, is a usage error, and nothing is written."""
    said = [word.replace("EGGS", str(site.eggs)) for word in words]
    result = eggcache("archive", shared_tmp / "cache.tar", *said)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert says.replace("EGGS", str(site.eggs)) in result.stderr
    assert not list(shared_tmp.glob("cache.tar"))


def test_what_no_cache_can_serve_there(site: Site, shared_tmp: Path) -> None:
    """Without their Python the eggs are judged for the release of setuptools, and for the Python, that the host is said
    to have; no remedy is a command that this machine cannot run. A dry run says the same, and writes nothing."""
    with zipfile.ZipFile(site.eggs / "Two-1.0-py3.11.egg", "a") as egg:
        egg.writestr(zipfile.ZipInfo("two/data/", (2009, 6, 15, 12, 0, 0)), "")
    common = ["archive", shared_tmp / "cache.tar", *options(site), "--json"]
    said = ["--for-python", "2.7", "--for-setuptools", "0.7.5"]
    for words in (["-n"], []):
        assert not list(shared_tmp.glob("cache.tar"))
        result = eggcache(*common, *said, *words)
        findings = [
            (finding["code"], os.path.basename(finding["thing"]), finding["command"])
            for finding in as_json(result)["findings"]
        ]
        assert (result.returncode, findings) == (3, [
            ("broken-pkg-resources", "the host's Python 2.7", ""), ("directory-entries", "Two-1.0-py3.11.egg", ""),
        ])  # fmt: skip
        assert [outcome["action"] for outcome in as_json(result)["outcomes"]] == ["packed", "packed"]
    assert as_json(eggcache(*common, "--for-setuptools", "distribute 0.6.49"))["findings"][0]["code"] == findings[1][0]


def test_eggs_for_another_python(site: Site, shared_tmp: Path) -> None:
    """Where the host's Python is said, the eggs that it passes over are counted and one is named, in an archive of
    either kind; where each is for that Python, or nothing is said of it, there is nothing to say."""
    for more in (["--tz", "UTC0"], ["--unzipped"]):
        for words, eggs in (
            (["--for-python", "2.4"], ["One-1.0-py3.11.egg and 1 more"]),
            (["--for-python", "3.11.2"], []),
            ([], []),
        ):
            result = eggcache(
                "archive", shared_tmp / "cache.tar", "--eggs-in", site.eggs, *more, *words, "--json", "-n"
            )
            notes = [note for note in as_json(result)["notes"] if "for another Python" in note]
            assert [note.partition(": ")[0] for note in notes] == eggs


def test_the_zone_is_named(site: Site, shared_tmp: Path) -> None:
    """A zone whose rules may differ on the host is named with their version, and with what says the same without any;
    so is this machine's own, where none is named."""
    common = ["archive", shared_tmp / "cache.tar", "--eggs-in", site.eggs, "--group", "48", "--json"]
    named = as_json(eggcache(*common, "--tz", "Europe/Madrid"))
    assert named["zone"].pop("rules")
    assert named["zone"] == {"name": "Europe/Madrid", "depends": True, "posix": "CET-1CEST,M3.5.0,M10.5.0/3"}
    assert "--tz 'CET-1CEST,M3.5.0,M10.5.0/3'" in named["notes"][0]
    dates = dated(shared_tmp / "cache.tar")
    same = as_json(eggcache(*common, "--tz", "CET-1CEST,M3.5.0,M10.5.0/3"))
    assert (same["zone"]["depends"], same["notes"]) == (False, [])
    assert dated(shared_tmp / "cache.tar") == dates
    assert "the zone of this machine" in as_json(eggcache(*common))["notes"][0]


def dated(archive: Path) -> dict[str, float]:
    """The dates of what is in an archive."""
    with tarfile.open(archive) as members:
        return {item.name: item.mtime for item in members}


def test_what_is_of_this_machine_in_the_commands(site: Site, shared_tmp: Path) -> None:
    """Where a Python here was asked, its path, which the host may not have, is said to be this machine's; the command
    that only GNU tar has says so, and runs as it stands. Without a Python nothing of this machine is in them."""
    file, own = shared_tmp / "cache.tar", "is of this machine"
    asked = as_json(eggcache("archive", file, *site.options, "--cache", site.cache, "--tz", "UTC0", "--json"))
    assert [note for note in asked["notes"] if own in note and note.startswith(f"{site.python} ")]
    assert f" {site.python} " in asked["commands"][2]
    assert asked["commands"][1] == "tar -df cache.tar -C /  # GNU tar"
    for command in asked["commands"][:2]:
        assert subprocess.run(["sh", "-c", command], cwd=shared_tmp, check=False).returncode == 0
    said = as_json(eggcache("archive", file, *options(site), "--for-python", "2.7", "--json"))
    assert (own in str(said["notes"]), str(site.python) in str(said["commands"])) == (False, False)


def test_a_private_egg(site: Site, checkout: Path) -> None:
    """An egg that not everybody may read is in no archive for everybody, whoever makes it: it is named, as `prepare`
    names it, and the rest is done."""
    egg = site.eggs / "One-1.0-py3.11.egg"
    egg.chmod(0o600)
    os.chown(egg, site.account.pw_uid, -1)
    for how in ({}, {"user": "nobody", "group": "nogroup", "extra_groups": [], "checkout": checkout}):
        result = run(site, "-", **how)  # type: ignore[arg-type]
        assert (result.returncode, b"[egg-private]" in result.stderr) == (3, True)
        listed = subprocess.run(["tar", "-tf", "-"], input=result.stdout, capture_output=True, check=True).stdout
        assert [line for line in listed.splitlines() if line.endswith(b"-tmp/")] == [
            b"var/cache/eggcache/Two-1.0-py3.11.egg-tmp/"
        ]


def test_a_host_that_gets_eggcache(site: Site, shared_tmp: Path) -> None:
    """In the place of an archive `status` says that it knows nothing, `prepare` makes the same content its own, of the
    digest that the archive has, and `remove` takes it away."""
    file, readers = shared_tmp / "cache.tar", ["--cache", str(site.cache), "--user", "nobody", "--tz", "UTC0"]
    archived = as_json(eggcache("archive", file, "--eggs-in", site.eggs, *readers, "--json"))
    subprocess.run(["tar", "-xpf", file, "-C", "/"], check=True)
    said = as_json(eggcache("status", site.cache, "--json"))["findings"]
    assert [finding["code"] for finding in said] == ["cache-stale"]
    before = tree(site.cache)
    assert site.served() > 0
    result = as_json(site.prepare("--tz", "UTC0", "--json"))
    assert (result["digest"], result["owner"], result["findings"]) == (archived["digest"], archived["owner"], [])
    assert tree(site.cache) == before
    shutil.rmtree(site.cache)
    subprocess.run(["tar", "-xpf", file, "-C", "/"], check=True)
    assert eggcache("remove", site.cache).returncode == 0
    assert not site.cache.exists()


@pytest.mark.parametrize("place", [
    "/var/cache/eggcache", "/var/www/.python_eggs", "/srv/shop/.python-eggs", "/tmp/turbogears-eggcache",
    "/home/shop/egg-cache", "/srv/shop/Cache-of-eggs",
])  # fmt: skip
def test_a_cache_of_eggs_by_its_name(place: str) -> None:
    """What sites call their egg caches may be one on another host as well."""
    assert other_host.place(place, "--cache") == place
