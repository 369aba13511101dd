"""check: every finding is provoked for real, and a healthy cache has none."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, deployment, second_opinion
from support.deployment import Deployment
from support.hosts import free_port
from support.judge import as_json, eggcache, environment, listing, watched
from support.namespaces import SYSTEMD, namespace
from support.parts import missing
from support.probe import build
from support.sites import Site, write_egg

from eggcache.proof import permissions, target_side
from eggcache.servers import environment_variables, server_locale
from eggcache.servers.apache import Apache
from eggcache.servers.apache_configuration import Configuration, Directive
from eggcache.system import accounts
from eggcache.target.interpreter import EVERYTHING, Target

Finding = dict[str, Any]


@dataclass
class Checked(Site):
    """A site whose cache is prepared for nobody, and what check says of it."""

    account: pwd.struct_passwd = field(default_factory=lambda: pwd.getpwnam("nobody"))

    @property
    def arguments(self) -> list[str]:
        return list(map(str, ["check", *self.options, "--cache", self.cache]))

    def prepare(self, *more: str | Path) -> subprocess.CompletedProcess[str]:
        result = super().prepare(*more)
        assert result.returncode in (0, 3), result.stderr
        return result

    def run(self, *more: str | Path, before: str = "", env: Mapping[str, str] = {}) -> subprocess.CompletedProcess[str]:
        """Run check; after a shell command, if given, in a mount namespace of its own."""
        if not before:
            return eggcache(*self.arguments, *more, env=env)
        return namespace(before, *self.arguments, *map(str, more))

    def check(self, *more: str | Path, before: str = "", env: Mapping[str, str] = {}) -> dict[str, Finding]:
        """What check finds, by code, and the verifier of an archive as well, as far as it knows. The exit status is 3
        where there is anything, and nothing is changed."""
        seen = listing(self.cache)
        result = self.run("--json", *more, before=before, env=env)
        assert result.returncode in (0, 3), result.stderr
        findings = as_json(result)["findings"]
        assert result.returncode == (3 if findings else 0)
        assert all(finding["status"] == 3 and finding["cause"] and finding["remedy"] for finding in findings)
        second_opinion.agrees(findings, self.python, self.cache, [self.eggs], self.account, more, before, env)
        assert listing(self.cache) == seen
        return {finding["code"]: finding for finding in findings}

    def member(self, pattern: str) -> Path:
        (path,) = self.cache.glob(pattern)
        return path


@pytest.fixture(scope="module")
def probe(plain: Deployment, where: Path) -> Path:
    """An egg with a native module, for that Python."""
    return build(plain, where / "check-probe")


@pytest.fixture(scope="module")
def template(python: Path, where: Path, nobody: pwd.struct_passwd) -> Checked:
    """Two eggs, prepared; without the receipt, which check does not need, and which names this place."""
    top = where / "check-template"
    made = Checked(python, top / "eggs", top / "cache")
    made.eggs.mkdir(parents=True)
    write_egg(made.eggs / "One-1.0-py3.11.egg", {"one/__init__.py": "", "one/data/text.txt": "one\n", "one/empty": ""})
    write_egg(made.eggs / "Two-1.0-py3.11.egg", {"two/__init__.py": "", "two/data.txt": "two\n" * 1000})
    made.prepare()
    (made.cache / ".eggcache.json").unlink()
    return made


@pytest.fixture
def site(template: Checked, shared_tmp: Path) -> Checked:
    """The test's own copy of it."""
    subprocess.run(["cp", "-a", template.eggs, template.cache, shared_tmp], check=True)
    return Checked(template.python, shared_tmp / "eggs", shared_tmp / "cache")


@pytest.fixture
def native(site: Checked, probe: Path) -> Checked:
    """The same with a native module."""
    shutil.copy2(probe, site.eggs)
    site.prepare()
    return site


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    """A tmpfs at `directory`."""
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=755,{options}", "tmpfs", str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


# -------------------------------------------------------------------------------------------------- all is well


@pytest.mark.parametrize(
    ("tree", "options", "least"),
    [
        ("turbogears1_complete", ["--all", "--import", "turbogears"], 2500),
        ("turbogears2_311", ["TurboGears2", "--import", "tg"], 290),
    ],
)
def test_prepared_cache_of_a_real_tree_has_only_notices(
    tree: str,
    options: list[str],
    least: int,
    request: pytest.FixtureRequest,
    shared_tmp: Path,
    nobody: pwd.struct_passwd,
) -> None:
    """A prepared cache of a real tree has nothing but notices: one line says how much was proven, the status is 0."""
    own: Deployment = request.getfixturevalue(tree)
    cache = shared_tmp / "cache"
    target = ["--python", str(own.python), "--user", "nobody"]
    assert eggcache("prepare", cache, *options[:1], *target).returncode == 0
    result = eggcache("check", "--cache", cache, *options, *target)
    first, *rest = result.stdout.splitlines()
    said = re.fullmatch(r"([\d,]+) files of (\d+) eggs, as nobody: all current, nothing to write", first)
    assert said, result.stdout + result.stderr
    assert {line for line in rest if not line.startswith(" ")} <= {"not-zip-safe"}  # notices, of CherryPy and Paste
    assert (result.returncode, result.stderr) == (0, "")
    assert int(said[1].replace(",", "")) >= least
    assert int(said[2]) >= 5


def test_nothing_is_written(site: Checked, nobody: pwd.struct_passwd) -> None:
    """Where the runtime user could write everything, and pkg_resources and a module want to, no process writes."""
    drop = site.cache.parent / "drop"
    drop.mkdir()
    drop.chmod(0o777)
    app = write_egg(site.eggs / "Writes-1.0-py3.11.egg", {"writes.py": f"open({str(drop / 'file')!r}, 'w')"})
    site.prepare()
    for top, _, files in os.walk(site.cache):
        for path in (top, *(os.path.join(top, name) for name in files)):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    site.member("One*/one/data/text.txt").unlink()
    shutil.rmtree(site.member("Two*"))
    before = listing(site.cache.parent)
    result, attempts = watched(
        [sys.executable, "-m", "eggcache", *site.arguments, "--path", str(app), "--import", "writes", "--json"],
        pwd.getpwnam("root"),
        env=environment({"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}),
    )
    assert result.returncode == 3, result.stderr
    codes = {finding["code"] for finding in as_json(result)["findings"]}
    assert codes == {"member-missing", "egg-not-in-cache", "cache-writable", "import-writes"}
    assert attempts == []
    assert listing(site.cache.parent) == before


def test_receipt_is_not_believed(site: Checked) -> None:
    """With a receipt that was removed, or says anything, check finds what is there."""
    assert not (site.cache / ".eggcache.json").exists()
    assert site.check() == {}
    (site.cache / ".eggcache.json").write_text("nonsense")
    assert site.check() == {}


def test_findings_for_a_mail(site: Checked) -> None:
    """Where nobody's terminal is, findings are paragraphs of 80 columns, a path or command in one piece; those that
    differ in the thing alone are one with a count; -v has each, and -q nothing but the findings."""
    for name in ("another", "others", "stranger"):
        (site.cache / f"{name}.egg-tmp").mkdir()
    site.cache.chmod(0o770)
    result = site.run()
    heads = [line.split()[0] for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert (result.returncode, sorted(heads)) == (3, ["cache-open-to-others", "cache-writable", "stale-directory"])
    assert "/another.egg-tmp and 2 more (-v names them)\n" in result.stdout
    assert all(str(site.cache.parent) in line for line in result.stdout.splitlines() if len(line) > 80)
    loud = site.run("-v").stdout
    assert (loud.count("stale-directory"), str(site.cache / "stranger.egg-tmp") in loud) == (3, True)
    assert (site.run("-q").stdout, site.run("-q").returncode) == (result.stdout, 3)
    site.prepare("--reset")
    assert "all current" in site.run().stdout
    assert (site.run("-q").stdout, site.run("-q").returncode) == ("", 0)


def test_ignored_findings_are_listed_and_do_not_count(site: Checked) -> None:
    """What --ignore names, by its code or of one thing alone, does not count, and is listed: in the text, and in JSON.
    A code that there is not is a usage error."""
    gone = site.member("One*/one/data/text.txt")
    gone.unlink()
    site.cache.chmod(0o770)
    every = ["--ignore", "cache-writable", "--ignore", "cache-open-to-others"]
    one = ["--ignore", f"member-missing:{gone}"]
    told = as_json(site.run("--json", *one))
    assert (told["ignored"][0]["thing"], [each["code"] for each in told["ignored"]]) == (str(gone), ["member-missing"])
    assert {each["code"] for each in told["findings"]} == {"cache-open-to-others", "cache-writable"}
    assert site.run(*every).returncode == 3
    assert site.run("--ignore", "member-missing:/another", *every).returncode == 3
    result = site.run(*every, *one)
    assert (result.returncode, result.stdout.count("ignored: "), "all current" in result.stdout) == (0, 3, False)
    assert site.run("-q", *every, *one).stdout == ""
    wrong = site.run("--ignore", "cache-writeable")
    assert (wrong.returncode, "did you mean cache-writable?" in wrong.stderr) == (2, True)


# ---------------------------------------------------------------------------------------------------- the files


def _same_size_and_time(path: Path) -> None:
    info = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _dated(egg: Path, when: tuple[int, int, int, int, int, int]) -> None:
    with zipfile.ZipFile(egg) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(egg, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name, when), data)


FILES: dict[str, tuple[str, Callable[[Checked], object]]] = {
    "deleted": ("member-missing", lambda site: site.member("One*/one/data/text.txt").unlink()),
    "deleted and empty": ("member-missing", lambda site: site.member("One*/one/empty").unlink()),
    "directory deleted": ("member-missing", lambda site: shutil.rmtree(site.member("One*/one/data"))),
    "one byte": ("member-changed", lambda site: _same_size_and_time(site.member("One*/one/data/text.txt"))),
    "a link": (
        "member-changed",
        lambda site: (
            site.member("One*/one/data/text.txt").rename(site.cache / "elsewhere"),
            (site.member("One*") / "one/data/text.txt").symlink_to(site.cache / "elsewhere"),
        ),
    ),
    "truncated": ("member-outdated", lambda site: os.truncate(site.member("Two*/two/data.txt"), 5)),
    "touched": ("member-outdated", lambda site: os.utime(site.member("Two*/two/data.txt"))),
    "private": ("member-unreadable", lambda site: site.member("Two*/two/data.txt").chmod(0o600)),
    "closed directory": ("member-unreadable", lambda site: site.member("Two*/two").chmod(0o700)),
    "directory not listed": ("member-unreadable", lambda site: site.member("Two*/two").chmod(0o711)),
    "egg not listed": ("member-unreadable", lambda site: site.member("Two*").chmod(0o711)),
    "egg gone": ("egg-not-in-cache", lambda site: shutil.rmtree(site.member("Two*"))),
    "egg updated": (
        "member-outdated",
        lambda site: write_egg(site.eggs / "Two-1.0-py3.11.egg", {"two/__init__.py": "", "two/data.txt": "new"}),
    ),
    "egg dated anew, by days": (
        "member-outdated",
        lambda site: _dated(site.eggs / "Two-1.0-py3.11.egg", (2009, 7, 15, 12, 0, 0)),
    ),
    "egg added": ("egg-not-in-cache", lambda site: write_egg(site.eggs / "Three-1.0-py3.11.egg", {"three.py": ""})),
}


@pytest.mark.parametrize("change", FILES)
def test_file_that_is_wrong_is_named(site: Checked, change: str) -> None:
    """Whatever is wrong with a file is found, as the one thing that it is, and named with what pkg_resources says."""
    code, make = FILES[change]
    assert site.check() == {}
    make(site)
    findings = site.check()
    assert set(findings) == {code}
    assert str(site.cache) in findings[code]["thing"]
    told = any(line.startswith("pkg_resources: ") for line in findings[code]["context"])
    assert told or change in ("a link", "directory not listed", "egg not listed")  # it follows one, and lists none


def test_part_of_a_second_is_printed(site: Checked) -> None:
    """A time that is off by less than a second is told from the egg's own."""
    member = site.member("Two*/two/data.txt")
    os.utime(member, ns=(0, member.stat().st_mtime_ns + 500_000_000))
    findings = site.check()
    assert re.search(r"is of (\S+ \S+)\.5, the egg's is of \1 ", findings["member-outdated"]["cause"])


def test_old_release_that_compares_no_bytes(target: Callable[[str, str], Deployment], site: Checked) -> None:
    """A changed byte that pkg_resources itself takes for current (0.6c11) is found by eggcache."""
    old = target("2.7", "0.6c11")
    for egg in list(site.eggs.iterdir()):
        egg.rename(str(egg).replace("py3.11", "py2.7"))
    other = Checked(old.python, site.eggs, site.cache.parent / "other")
    other.prepare()
    assert other.check() == {}
    _same_size_and_time(other.member("One*/one/data/text.txt"))
    findings = other.check()
    assert set(findings) == {"member-changed"}
    assert not any(line.startswith("pkg_resources: ") for line in findings["member-changed"]["context"])


def test_pth_file_that_sets_another_cache_is_noticed(site: Checked, own: Deployment) -> None:
    """A .pth file that sets another egg cache is noticed, though the files are all right."""
    site.python = own.python
    site.prepare()
    assert site.check() == {}
    line = "import pkg_resources; pkg_resources.set_extraction_path('/var/tmp/elsewhere')\n"
    (own.site_packages / "other.pth").write_text(line)
    findings = site.check()
    assert set(findings) == {"not-served"}
    assert "(mkdir /var/tmp/elsewhere" in findings["not-served"]["cause"]


def test_directory_that_no_tree_needs_is_named(site: Checked) -> None:
    """A directory that no tree needs is named, with --prune where an earlier prepare made it; another tree's is not."""
    site.prepare()
    other = site.cache.parent / "others"
    other.mkdir()
    write_egg(other / "Other-1.0-py3.11.egg", {"other.py": ""})
    more = ["--all", "--path", str(other), "--python", str(site.python), "--user", "nobody"]
    assert eggcache("prepare", site.cache, *more).returncode == 0
    assert site.check() == {}
    (site.cache / "Unknown.egg-tmp").mkdir()
    finding = site.check()["stale-directory"]
    assert (finding["thing"], finding["remedy"][:6]) == (str(site.cache / "Unknown.egg-tmp"), "remove")
    (site.cache / "Unknown.egg-tmp").rmdir()
    (site.eggs / "Two-1.0-py3.11.egg").unlink()
    site.prepare()
    finding = site.check()["stale-directory"]
    assert finding["thing"].endswith("Two-1.0-py3.11.egg-tmp")
    assert finding["command"].startswith("eggcache prepare --prune")


# ------------------------------------------------------------------------------------------------------ the zone


def test_another_time_zone_is_one_finding(site: Checked) -> None:
    """Another zone is one finding, which names both; one that agrees on every date is none."""
    site.prepare("--tz", "Europe/Madrid")
    findings = site.check("--tz", "America/New_York")
    assert set(findings) == {"time-zone"}
    assert "prepared for TZ=Europe/Madrid" in findings["time-zone"]["cause"]
    assert "'America/New_York'" in findings["time-zone"]["cause"]
    assert "off by -6 h" in findings["time-zone"]["cause"]
    assert set(site.check()) == {"time-zone"}
    assert site.check(env={"TZ": "Europe/Madrid"}) == {}
    assert site.check("--tz", "Europe/Paris") == {}


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("/etc/init.d/site", "PYTHON_EGG_CACHE='{cache}'\nexport PYTHON_EGG_CACHE\nTZ=Asia/Tokyo\nexport TZ\n", True),
        ("/etc/init.d/site", "PYTHON_EGG_CACHE='{cache}'\nunset TZ\n", False),
        ("/etc/init.d/site", "PYTHON_EGG_CACHE=/another\nTZ=Asia/Tokyo\n", False),
        ("/etc/init.d/site", "TZ=Asia/Tokyo\n", False),
        ("/run/systemd/system/apache2.service.d/a.conf", "[Service]\nEnvironment=A=1 'TZ=Asia/Tokyo'\n", True),
        ("/run/systemd/system/apache2.service.d/a.conf", "[Service]\nUnsetEnvironment=TZ\n", False),
        (
            "/run/systemd/system/apache2.service.d/a.conf",
            "[Service]\nUnsetEnvironment=TZ\nEnvironment=TZ=Asia/Tokyo\n",
            False,
        ),
        ("/run/systemd/system/apache2.service.d/a.conf", "[Unit]\nEnvironment=TZ=Asia/Tokyo\n", False),
    ],
)
def test_time_zone_of_what_starts_apache(site: Checked, file: str, text: str, expected: bool) -> None:
    """The zone that the init script, or the unit of Apache, gives it is compared as well, where it is this cache's."""
    if not os.path.exists("/lib/systemd/system/apache2.service"):
        missing("Debian's apache2 is not installed")
    (site.cache.parent / "text").write_text(text.format(cache=site.cache))
    before = (
        "mount -t tmpfs none /run; mount -t tmpfs none /etc/init.d; "
        f"mkdir -p /run/systemd/system/apache2.service.d; cp {site.cache.parent}/text {file}"
    )
    findings = site.check(before=before)
    findings.pop("private-tmp", None)  # the tests' directory may be in /var/tmp
    assert set(findings) == ({"time-zone"} if expected else set())
    if expected:
        assert findings["time-zone"]["thing"] == ("apache2.service" if "systemd" in file else file)


def test_init_script_of_the_wrapper(site: Checked) -> None:
    """The init script that eggcache itself emits is understood: one zone for both is no finding, two are one."""
    script = site.cache.parent / "script"
    for zone, expected in (("Asia/Tokyo", {"time-zone"}), ("Europe/Paris", set())):
        result = eggcache(
            "wrapper", site.cache, *site.options, "--for", "init.d", "--tz", zone, "--apachectl", "/bin/true",
            "--pid-file", "/run/x.pid", "-o", script,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        site.prepare("--tz", "Europe/Madrid")
        before = f"mount -t tmpfs none /etc/init.d; cp {script} /etc/init.d/eggcache-apache"
        assert set(site.check("--tz", "Europe/Madrid", before=before)) == expected


# ---------------------------------------------------------------------------------------------------- the rights


RIGHTS: dict[str, tuple[set[str], Callable[[Checked, pwd.struct_passwd], object]]] = {
    "group may write, and it is nobody's": (
        {"cache-open-to-others", "cache-writable"},
        lambda s, n: s.cache.chmod(0o770),
    ),
    "group may write, and it is another's": (
        {"cache-open-to-others"},
        lambda s, n: (os.chown(s.cache, 0, 0), s.cache.chmod(0o775)),
    ),
    "all belongs to nobody": ({"cache-writable"}, lambda s, n: os.chown(s.cache, n.pw_uid, n.pw_gid)),
    "one file may be written": (
        {"cache-writable"},
        lambda s, n: s.member("One*/one/__init__.py").chmod(0o666),
    ),
    "one file is nobody's, read-only": (
        {"cache-writable"},
        lambda s, n: (
            os.chown(s.member("One*/one/__init__.py"), n.pw_uid, n.pw_gid),
            s.member("One*/one/__init__.py").chmod(0o440),
        ),
    ),
    "an ACL lets nobody write": (
        {"cache-writable"},
        lambda s, n: subprocess.run(["setfacl", "-m", "u:nobody:rwx", s.member("One*/one/data")], check=True),
    ),
    "the parent may be written": ({"parent-writable"}, lambda s, n: s.cache.parent.chmod(0o777)),
    "the parent is sticky": (set(), lambda s, n: s.cache.parent.chmod(0o1777)),
    "the parent is nobody's": ({"parent-writable"}, lambda s, n: os.chown(s.cache.parent, n.pw_uid, n.pw_gid)),
    "it belongs to a third one": (
        {"cache-unsafe"},
        lambda s, n: os.chown(s.cache, pwd.getpwnam("daemon").pw_uid, n.pw_gid),
    ),
    "it and the parent are nobody's": (
        {"cache-writable", "parent-writable"},
        lambda s, n: [os.chown(path, n.pw_uid, n.pw_gid) for path in (s.cache, s.cache.parent)],
    ),
    "the parent belongs to a third one": (
        {"cache-unsafe"},
        lambda s, n: os.chown(s.cache.parent, pwd.getpwnam("daemon").pw_uid, 0),
    ),
}


@pytest.mark.parametrize("change", RIGHTS)
def test_who_could_put_other_files_is_found(site: Checked, where: Path, nobody: pwd.struct_passwd, change: str) -> None:
    """Whoever could put other files where Apache reads them is found, by mode, owner, ACL and directory above. The
    command to run makes the cache anew, where the directory above is safe, and else another one."""
    codes, make = RIGHTS[change]
    make(site, nobody)
    findings = site.check()
    assert set(findings) == codes
    commands = {finding["command"] for finding in findings.values()}
    if any("/var/cache/eggcache" in command for command in commands):
        assert len(commands) == 1
        site.cache = where / "elsewhere" / change.replace(" ", "-").replace("'", "")
        site.cache.parent.mkdir(exist_ok=True)
        commands = {command.replace("/var/cache/eggcache", str(site.cache)) for command in commands}
    elif "the parent" in change:
        return
    for command in commands:
        assert eggcache(*shlex.split(command)[1:]).returncode == 0
    assert site.check() == {}


def test_closed_directory_above_the_cache_is_the_one_finding(site: Checked) -> None:
    """A directory above the cache that the runtime user cannot search is named, as the one thing that is wrong."""
    private = site.cache.parent / "private"
    private.mkdir(0o755)
    site.cache = site.cache.rename(private / "cache")
    assert site.check() == {}
    private.chmod(0o700)
    findings = site.check()
    assert set(findings) == {"cache-unreachable"}
    assert f"{private} is root's, mode 0700" in findings["cache-unreachable"]["cause"]
    assert findings["cache-unreachable"]["command"] == f"chmod o+x {private}"
    subprocess.run(["sh", "-c", findings["cache-unreachable"]["command"]], check=True)
    assert site.check() == {}
    site.cache.chmod(0o700)
    findings = site.check()
    command = findings["cache-unreachable"]["command"]
    assert command.startswith(f"eggcache prepare {site.cache} --python ")
    assert command.count("--user ") == 1


def test_remedy_is_quoted(site: Checked) -> None:
    """Somebody else may have chosen the name of the directory: the remedy takes it for a name."""
    odd = site.cache.parent / "x; touch pwned #"
    odd.mkdir()
    site.cache = site.cache.rename(odd / "cache")
    odd.chmod(0o700)
    findings = site.check()
    assert set(findings) == {"cache-unreachable"}
    subprocess.run(["sh", "-c", findings["cache-unreachable"]["command"]], cwd=site.cache.parent, check=True)
    assert site.check() == {}
    assert os.listdir(odd) == ["cache"]


def test_missing_cache_is_a_finding_and_no_error(site: Checked) -> None:
    """A cache that does not exist, or is a file, is a finding and no error."""
    shutil.rmtree(site.cache)
    for _ in range(2):
        findings = site.check()
        assert set(findings) == {"cache-missing"}
        site.cache.touch()


@pytest.mark.parametrize(("release", "racing"), [("36.0.1", True), ("44.1.1", False)])
def test_writable_cache_is_worse_with_an_old_pkg_resources(
    target: Callable[[str, str], Deployment], shared_tmp: Path, nobody: pwd.struct_passwd, release: str, racing: bool
) -> None:
    """A cache that workers write to is worse with a pkg_resources before 40.1; a locked one is not."""
    eggs = shared_tmp / "eggs"
    eggs.mkdir()
    write_egg(eggs / "One-1.0-py2.7.egg", {"one.py": ""})
    old = Checked(target("2.7", release).python, eggs, shared_tmp / "cache")
    old.prepare()
    assert old.check() == {}
    os.chown(old.cache, nobody.pw_uid, nobody.pw_gid)
    assert set(old.check()) == {"cache-writable"} | ({"extraction-race"} if racing else set())


# ------------------------------------------------------------------------------------------------ native modules


def test_native_module_that_imports_is_no_finding(native: Checked) -> None:
    """A native module that imports from the cache is no finding, and noexec is one for it alone."""
    assert native.check() == {}


def test_noexec_matters_to_native_modules_alone(site: Checked, probe: Path) -> None:
    """A noexec mount is found where a native module has to be loaded from it, and not where there is none."""
    disk = site.cache.parent / "disk"
    site.cache = disk / "cache"
    with mounted(disk, "noexec"):
        site.prepare()
        findings = site.check()
        assert set(findings) == {"volatile"}
        assert findings["volatile"]["remedy"].endswith(", or use /var/cache/eggcache")
        findings = site.check(before="mount -t tmpfs none /var/cache")
        assert findings["volatile"]["remedy"].endswith("as the wrappers do")  # that place is no better there
        shutil.copy2(probe, site.eggs)
        site.prepare()
        findings = site.check()
        assert set(findings) == {"volatile", "noexec"}
        subprocess.run(["mount", "-o", "remount,exec", str(disk)], check=True)
        assert set(site.check()) == {"volatile"}


def rewritten(egg: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Have `change` replace the bytes of each member."""
    with zipfile.ZipFile(egg) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(egg, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in members:
            archive.writestr(info, change(info.filename, data))


def test_shared_library_of_another_machine_is_found(native: Checked) -> None:
    """A shared library for another machine is found by importing it."""

    def other(name: str, data: bytes) -> bytes:
        return (
            data[:18] + (183 if data[18] != 183 else 62).to_bytes(2, "little") + data[20:]
            if name.endswith(".so")
            else data
        )

    rewritten(next(native.eggs.glob("Probe*")), other)
    native.prepare()
    findings = native.check()
    assert set(findings) == {"native-module-fails"}
    assert findings["native-module-fails"]["thing"] == "probe.ns._native"


def test_module_that_crashes_is_found_and_the_rest_is_tried(native: Checked) -> None:
    """A native module that ends the process is found, and what comes after it is still looked at."""

    def crash(name: str, data: bytes) -> bytes:
        return b"import os\nos.abort()  # __bootstrap__\n" if name.endswith("_native.py") else data

    rewritten(next(native.eggs.glob("Probe*")), crash)
    native.prepare()
    findings = native.check("--import", "json")
    assert set(findings) == {"native-module-fails"}
    assert f"signal {signal.SIGABRT.value}" in findings["native-module-fails"]["cause"]


def test_multi_phase_module(site: Checked, own: Deployment) -> None:
    """A module that initialises in phases is told by its file; one that is empty all the same is told by importing."""
    egg = build(own, own.root, multi=True)
    shutil.copy2(egg, site.eggs)
    site.prepare()
    findings = site.check()
    assert set(findings) == {"stub-multi-phase"}
    assert re.fullmatch("unzip it: eggcache unzip-all --python .* Probe", findings["stub-multi-phase"]["remedy"])

    with zipfile.ZipFile(egg) as archive:
        library = next(name for name in archive.namelist() if name.endswith(".so"))
    stub = (
        b"__bootstrap__ = 1\ndel __bootstrap__\n__file__ = '%s'\n"
        % str(site.cache / f"{egg.name}-tmp" / library).encode()
    )
    rewritten(
        site.eggs / egg.name,
        lambda name, data: (
            stub if name.endswith("_native.py") else data.replace(b"PyModuleDef_Init", b"PyModuleDef_1nit")
        ),
    )
    site.prepare()
    findings = site.check()
    assert set(findings) == {"native-module-empty"}


def test_stub_of_newer_setuptools(target: Callable[[str, str], Deployment], shared_tmp: Path, nobody: object) -> None:
    """A stub that extracts to $TMPDIR is told as what it is, and its import writes nothing."""
    own = target("3.13", "80.9.0")
    eggs = shared_tmp / "eggs"
    eggs.mkdir()
    shutil.copy2(build(own, own.root), eggs)
    site = Checked(own.python, eggs, shared_tmp / "cache")
    site.prepare()
    assert set(site.check()) == {"stub-ignores-cache"}


def test_import_that_leaves_a_process(site: Checked) -> None:
    """What a module has started, and left behind with all that it was given, keeps no answer back: neither that of a
    module that imports, nor of one that ends its process."""
    app = site.eggs.parent / "leaving"
    app.mkdir()
    start = "import os, time\nif not os.fork():\n    os.setsid()\n    time.sleep(600)\n"
    (app / "leaves.py").write_text(start)
    (app / "ends.py").write_text(start + "os._exit(1)\n")
    site.prepare()
    findings = site.check("--path", app, "--import", "leaves", "--import", "ends", "--import", "leaves")
    assert list(findings) == ["import-fails"]
    assert (findings["import-fails"]["thing"], findings["import-fails"]["cause"]) == (
        "ends", "it does not import: the process ended",
    )  # fmt: skip


def test_import_finds_modules_that_fail_or_write(site: Checked) -> None:
    """--import finds a module that is missing, fails or writes, and nothing about one that imports."""
    app = write_egg(
        site.eggs / "App-1.0-py3.11.egg",
        {
            "good.py": "open('/dev/null', 'w').close()\n",
            "bad.py": "import good\n\ndef connect():\n    raise RuntimeError('no database')\n\nconnect()\n",
            "worse.py": "import bad\n",
            "writes.py": "import logging\nlogging.FileHandler('/var/log/app.log')\n",
            "leaves.py": "import os\nos._exit(0)\n",
            "latin.py": "# -*- coding: latin-1 -*-\nraise RuntimeError('no caf\xe9')\n".encode("latin-1"),
            "deep.py": "def down(n):\n    return down(n - 1) if n else 1 / 0\n\n"
            "import sys\nsys.setrecursionlimit(300000)\ndown(200000)\n",  # more than an answer may have
            "odd.py": "exec('1 / 0')\n",
        },
    )
    site.prepare()

    def check(*modules: str) -> dict[str, Finding]:
        return site.check("--path", app, *(word for module in modules for word in ("--import", module)))

    assert check("good") == {}
    assert "no database" in check("bad")["import-fails"]["cause"]
    assert site.check("--path", app, "-v", "--import", "worse")["import-fails"]["context"] == [
        f"{app}/worse.py, line 1, in <module>",
        f"{app}/bad.py, line 6, in <module>",
        f"{app}/bad.py, line 4, in connect",
    ]
    latin = check("latin")["import-fails"]  # whose text no loader can read
    assert latin["cause"] == "it does not import: no café"
    assert latin["context"] == [f"{app}/latin.py, line 2, in <module>"]
    assert check("deep")["import-fails"]["context"] == [f"{app}/deep.py, line 2, in down"] * 20
    missing = check("no_such", "good")["import-fails"]
    assert "no_such" in missing["cause"]
    assert (missing["context"], missing["remedy"]) == (
        [],
        f"install the distribution that has the module no_such for {site.python}",
    )
    assert check("odd")["import-fails"]["context"] == [f"{app}/odd.py, line 1, in <module>"]
    assert "ended" in check("leaves", "good")["import-fails"]["cause"]
    findings = check("writes")
    assert set(findings) == {"import-writes"}
    assert "(open /var/log/app.log)" in findings["import-writes"]["cause"]


def test_import_through_an_egg(site: Checked) -> None:
    """A module that opens a file beside itself fails with the egg named that is in its way, by either word for it; what
    the finding says to run cures it, and the plain text of another error is left as it is."""
    code = "import os\n{}(os.path.join(os.path.dirname(__file__), 'page.txt'))\n"
    shop = write_egg(
        site.eggs / "Shop-1.0-py3.11.egg",
        {
            "shop/__init__.py": "", "shop/page.txt": "",
            "shop/opens.py": code.format("open"), "shop/lists.py": code.format("os.listdir"),
        },
    )  # fmt: skip
    site.prepare()
    for module in ("shop.opens", "shop.lists"):
        result = site.run("--json", "--path", shop, "--import", module)
        findings = {finding["code"]: finding for finding in as_json(result)["findings"]}
        assert f"{shop} is a zip" in findings["import-fails"]["cause"]
        assert findings["import-fails"]["status"] == result.returncode == 3
        assert findings["not-zip-safe"]["status"] == 0
        assert findings["import-fails"]["command"] == findings["not-zip-safe"]["command"]
    assert eggcache(*findings["import-fails"]["command"].split()[1:]).returncode == 0
    result = site.run("--json", "--path", shop, "--import", "shop.opens")
    assert "import-fails" not in {finding["code"] for finding in as_json(result)["findings"]}


def test_import_of_what_is_not_active(
    target: Callable[[str, str], Deployment], shared_tmp: Path, nobody: object
) -> None:
    """A module that is missing because no .pth file names its egg, zipped or not, is told from one that is nowhere; the
    line that the finding names is all that it takes."""
    own = target("3.11", "65.5.0")
    write_egg(own.site_packages / "App-1.0-py3.11.egg", {"app.py": "import part, rest\n"}, project="App")
    write_egg(own.site_packages / "Part-1.0-py3.11.egg", {"part.py": ""}, project="Part")
    rest = own.site_packages / "Rest-1.0-py3.11.egg"
    with zipfile.ZipFile(write_egg(shared_tmp / "rest.zip", {"rest/__init__.py": ""}, project="Rest")) as archive:
        archive.extractall(rest)
    pth = own.site_packages / "easy-install.pth"
    pth.write_text("./App-1.0-py3.11.egg\n")
    site = Checked(own.python, own.site_packages, shared_tmp / "cache")
    words = ["--all", "--python", str(own.python), "--user", "nobody"]
    eggcache("prepare", site.cache, *words)
    for name in ("Part", "Rest"):
        result = eggcache("check", "--cache", site.cache, *words, "--import", "app", "--json")
        (failure,) = (finding for finding in as_json(result)["findings"] if finding["code"] == "import-fails")
        assert f"{name} 1.0 has it, and is not active" in failure["cause"]
        assert failure["remedy"] == f"add the line ./{name}-1.0-py3.11.egg to {pth}"
        pth.write_text(f"{pth.read_text()}./{name}-1.0-py3.11.egg\n")
    result = eggcache("check", "--cache", site.cache, *words, "--import", "app", "--import", "nowhere", "--json")
    (failure,) = (finding for finding in as_json(result)["findings"] if finding["code"] == "import-fails")
    assert (failure["thing"], "not active" in failure["cause"]) == ("nowhere", False)


def test_lookups_that_fail_are_told_of_up_to_a_limit(python: Path, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """With a cache of nothing every look-up fails: all are counted, the first of each egg is told of, and of the others
    so many that the answer stays one that eggcache takes, whatever the number of processes."""
    eggs, empty = shared_tmp / "eggs", shared_tmp / "empty"
    eggs.mkdir()
    empty.mkdir()
    for number in range(520):  # more than are sent at once
        members = {f"p{number:03d}/f{file}.txt": "x" for file in range(12)}
        write_egg(eggs / f"P{number:03d}-1.0-py3.11.egg", members, project=f"P{number:03d}")
    account = accounts.lookup("nobody")
    nothing = target_side.Imports(None)
    with target_side.Question(
        Target(str(python), (str(eggs),), account, account.gid), EVERYTHING, str(empty), nothing
    ) as question:
        looked = question.answered(nothing, early=lambda tree: None).lookups
    looked = [lookup for lookup in looked if lookup.egg.startswith(str(eggs))]
    assert [len(lookup.wrong) > 0 for lookup in looked] == [True] * 520
    assert [lookup.failed for lookup in looked] == [lookup.files + lookup.directories for lookup in looked]
    assert 4_000 < sum(len(lookup.wrong) for lookup in looked) <= 5_000 + 520


@pytest.mark.parametrize("at_once", [1, 3, 4096])
def test_what_may_be_written_is_found_in_batches(
    at_once: int, shared_tmp: Path, nobody: pwd.struct_passwd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many paths are looked at together, each that the user owns or can write to is told."""
    monkeypatch.setattr(permissions, "_AT_ONCE", at_once)
    cache = shared_tmp / "cache"
    for name in ("a/one", "a/two", "b/one", "c/one"):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_text("")
    os.chown(cache / "a" / "two", nobody.pw_uid, -1)
    (cache / "b" / "one").chmod(0o666)
    (cache / "c").chmod(0o777)
    (cache / "link").symlink_to("b/one")
    expected = [str(cache / name) for name in ("a/two", "b/one", "c")]
    assert sorted(permissions._writable(str(cache), accounts.lookup("nobody"))) == expected


def test_frames_of_a_stranger() -> None:
    """Of what the target says of an import the last twenty places are kept, each cut; another form is refused."""
    row = ["application", "app", "", "failed", "", "", "", "no database"]
    places = [str(number) + "x" * 1000 for number in range(50)]
    said = {"lookups": [], "default": None, "imports": [[*row, ["Error"], places, [None], ["file"]]]}
    (attempt,) = target_side._taken_apart(said).imports
    assert (attempt.raised, attempt.zone) == (("Error",), (None,))
    assert attempt.words == "no database"
    assert [len(frame) for frame in attempt.frames] == [300] * 20
    assert attempt.frames[-1].startswith("49x")
    for at in range(4):
        for wrong in ("text", [1], {"a": "b"}, None):
            lists: list[object] = [[], [], [], []]
            target_side._taken_apart({**said, "imports": [[*row, *lists]]})
            lists[at] = wrong
            with pytest.raises((TypeError, ValueError)):
                target_side._taken_apart({**said, "imports": [[*row, *lists]]})


@pytest.mark.parametrize("group", [(), ("--group", "4242424242")])
def test_number_without_an_entry(site: Checked, nobody: pwd.struct_passwd, group: tuple[str, ...]) -> None:
    """A container's user need be in no /etc/passwd: his number is taken, with the group 0 that runtimes give him, or
    the one that is named; the cache is right for him, and for nobody else. What is no number of a user is refused."""
    site.cache = site.cache.parent / "numbered"
    who = ("--user", "4242424242", *group)
    assert site.prepare(*who).returncode == 0
    assert site.cache.stat().st_gid == int((group or ("", 0))[1])
    assert site.check(*who) == {}
    assert "cache-unreachable" in site.check()
    emitted = eggcache("wrapper", site.cache, *site.options, *who, "--for", "sysconfig", "--apachectl", "/bin/true")
    assert "4242424242" in emitted.stdout, emitted.stderr
    refused = eggcache("prepare", site.cache, *site.options, "--user", "4294967295")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


# ---------------------------------------------------------------------------------------------- eggs and the tree


def _appended(egg: Path, name: str, when: tuple[int, int, int, int, int, int], data: str) -> None:
    with zipfile.ZipFile(egg, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name, when), data)


NOON = (2009, 6, 15, 12, 0, 0)
UNSERVABLE: dict[str, Callable[[Path], object]] = {
    "directory-entries": lambda egg: _appended(egg, "one/", NOON, ""),
    "unusual-names": lambda egg: _appended(egg, "one/\u00f1.txt", NOON, "n"),
    "ambiguous-time": lambda egg: _appended(egg, "one/twice.txt", (2009, 10, 25, 2, 30, 0), "2:30"),
    "eager-missing": lambda egg: _appended(
        egg, "EGG-INFO/eager_resources.txt", NOON, "one/data/text.txt\none/gone.txt\n"
    ),
}


GIVEN_OUT = r"""
import os, sys
import one, pkg_resources
for name in sys.argv[1:]:
    path = pkg_resources.resource_filename("one", name)
    print(os.path.exists(path) and path)
"""


@pytest.mark.parametrize("code", UNSERVABLE)
def test_what_no_cache_can_serve(site: Checked, code: str) -> None:
    """An egg that only unzipping helps is named with that remedy, and what its lookups fail with is not told twice.
    Then pkg_resources gives out each file and each directory of it."""
    UNSERVABLE[code](site.eggs / "One-1.0-py3.11.egg")
    zone = ("--tz", "Europe/Madrid")  # whose clocks went back that night
    site.prepare(*zone)
    findings = site.check(*zone)
    assert set(findings) == {code}
    assert re.fullmatch("unzip it: eggcache unzip-all --python .* One", findings[code]["remedy"])
    egg = site.eggs / "One-1.0-py3.11.egg"
    names = ["data", "data/text.txt", *(["\u00f1.txt"] if code == "unusual-names" else [])]
    result = eggcache(*shlex.split(findings[code]["command"])[1:])
    assert (result.returncode, egg.is_dir()) == (0, True), result.stderr
    env = {"PYTHONPATH": str(egg), "PYTHON_EGG_CACHE": "/nowhere", "LC_ALL": "C.UTF-8"}
    result = deployment.run([site.python, "-B", "-W", "ignore", "-c", GIVEN_OUT, *names], env=env, user="nobody")
    assert result.stdout.splitlines() == [str(egg / "one" / name) for name in names]


@pytest.mark.parametrize(("locale", "told"), [("C", {"unusual-names"}), ("C.UTF-8", set())])
def test_name_outside_of_ascii_in_the_locale_of_apache(
    site: Checked, tmp_path: Path, locale: str, told: set[str]
) -> None:
    """A name that the zip flags as UTF-8 is a finding where Apache's Python 3 does not get the file: in the C locale.
    Where it gets all in its locale, the egg is proven."""
    if not os.path.exists("/usr/sbin/apache2ctl"):
        missing("Debian's apache2 is not installed")
    egg = site.eggs / "One-1.0-py3.11.egg"
    UNSERVABLE["unusual-names"](egg)
    site.prepare()
    (tmp_path / "envvars").write_text(f"{Path('/etc/apache2/envvars').read_text()}export LANG={locale}\n")
    result = eggcache(
        "check", *site.options, "--cache", site.cache, "--json", env={"APACHE_ENVVARS": str(tmp_path / "envvars")}
    )
    answer = as_json(result)
    assert {finding["code"] for finding in answer["findings"]} == told
    assert {row["action"] for row in answer["outcomes"] if row["egg"] == str(egg)} == {"unproven" if told else "proven"}


def test_zip_that_is_no_egg(site: Checked) -> None:
    """A zip on the path that does not end in .egg is named: nothing is ever extracted from it."""
    other = site.eggs / "Plain.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("Plain-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: Plain\nVersion: 1.0\n")
        archive.writestr("plain.py", "")
    findings = site.check("--path", other)
    assert set(findings) == {"not-an-egg"}
    assert "command" not in findings["not-an-egg"] or not findings["not-an-egg"]["command"]  # unzip-all refuses it
    unpacked = site.eggs.parent / "unpacked"
    shutil.unpack_archive(other, unpacked)
    assert site.check("--path", unpacked) == {}


def test_release_that_cannot_extract_is_named_once(own: Deployment, site: Checked) -> None:
    """A release whose pkg_resources cannot extract at all is named once, and not each file that fails of it."""
    site.python = own.python
    assert site.check().keys() <= {"stale-directory"}
    (info,) = own.site_packages.glob("setuptools-*.dist-info")
    info.rename(info.with_name("setuptools-0.7.5.dist-info"))
    metadata = own.site_packages / "setuptools-0.7.5.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 65.5.0", "Version: 0.7.5"))
    module = own.site_packages / "pkg_resources" / "__init__.py"
    module.write_text(module.read_text().replace("def _extract_resource(self, manager, zip_path):", "def _gone(self):"))
    findings = site.check()
    assert set(findings) == {"broken-pkg-resources"}


def test_tree_findings_exit_3(site: Checked) -> None:
    """Missing distributions, unreadable and damaged eggs keep their codes, and check's exit status is 3 for them."""
    write_egg(site.eggs / "Needs-1.0-py3.11.egg", {"EGG-INFO/requires.txt": "Nowhere>=1.0\n"})
    assert eggcache("prepare", site.cache, *site.options[1:]).returncode == 0  # nobody has named what is missing
    everything = site.run("--json")
    assert [(finding["code"], finding["status"]) for finding in as_json(everything)["findings"]] == [
        ("missing-distribution", 0)
    ]
    assert everything.returncode == 0
    tree = ["--path", site.eggs, "--python", site.python, "--user", "nobody", "--cache", site.cache, "--json"]
    result = eggcache("check", "Needs", *tree)
    assert result.returncode == 3
    assert [finding["code"] for finding in as_json(result)["findings"]] == ["missing-distribution"]
    result = eggcache("check", "Absent", *tree)
    assert [finding["code"] for finding in as_json(result)["findings"]] == ["root-not-installed"]
    (site.eggs / "Needs-1.0-py3.11.egg").chmod(0o600)
    assert set(site.check()) == {"egg-unreadable"}
    (site.eggs / "Needs-1.0-py3.11.egg").unlink()
    site.prepare("--prune")
    egg = site.eggs / "One-1.0-py3.11.egg"
    data = bytearray(egg.read_bytes())
    data[60] ^= 0xFF
    egg.write_bytes(data)
    assert set(site.check()) == {"egg-refused"}


def test_two_eggs_of_one_name_are_told(site: Checked) -> None:
    """Two eggs of one name and other content are told."""
    second = site.cache.parent / "second"
    second.mkdir()
    write_egg(second / "One-1.0-py3.11.egg", {"one/other.txt": "other"})
    assert "shared-name" in site.check("--path", second)


def test_relative_cache_of_what_starts_apache(site: Checked) -> None:
    """A cache that an init script, or the unit of Apache, names by no whole path is told, with the file."""
    if not os.path.exists("/lib/systemd/system/apache2.service"):
        missing("Debian's apache2 is not installed")
    (site.cache.parent / "script").write_text("export PYTHON_EGG_CACHE='~/eggs'\n")
    (site.cache.parent / "unit").write_text("[Service]\nEnvironment=PYTHON_EGG_CACHE=eggs\n")
    before = (
        "mount -t tmpfs none /run; mount -t tmpfs none /etc/init.d; mkdir -p /run/systemd/system/apache2.service.d; "
        f"cp {site.cache.parent}/script /etc/init.d/site; "
        f"cp {site.cache.parent}/unit /run/systemd/system/apache2.service.d/a.conf"
    )
    result = site.run("--json", before=before)
    findings = [finding for finding in as_json(result)["findings"] if finding["code"] == "cache-relative"]
    assert [finding["thing"] for finding in findings] == ["apache2.service", "/etc/init.d/site"]
    assert all(finding["remedy"] == f"write {site.cache} there" for finding in findings)


# ------------------------------------------------------------------------------------------------ without a cache


def test_without_a_cache(site: Checked) -> None:
    """Without --cache it says how many eggs Apache would extract and where to, or takes $PYTHON_EGG_CACHE."""
    result = eggcache("check", *site.options, "--json")
    (finding,) = as_json(result)["findings"]
    assert (result.returncode, finding["code"]) == (3, "no-cache")
    assert "2 zipped eggs" in finding["cause"]
    assert "cannot write" in finding["cause"]
    assert "ExtractionError" in finding["cause"]
    home = pwd.getpwnam("nobody").pw_dir
    assert finding["thing"].startswith(home)
    assert eggcache("check", *site.options, env={"PYTHON_EGG_CACHE": str(site.cache)}).returncode == 0
    for value in ("~/eggs", "eggs"):  # another directory in each process: nobody is told to make one of them
        result = eggcache("check", *site.options, env={"PYTHON_EGG_CACHE": value})
        assert (result.returncode, result.stdout) == (2, "")
        assert f"PYTHON_EGG_CACHE: '{value}': nobody expands ~" in result.stderr
        assert eggcache("tree", *site.options[:-2], env={"PYTHON_EGG_CACHE": value}).returncode == 0


def test_without_a_cache_and_a_home(target: Callable[[str, str], Deployment], shared_tmp: Path) -> None:
    """Where the default cache could be written to, that is what is wrong with it; an old release races in it, too."""
    account = pwd.getpwnam("www-data")
    home = Path(account.pw_dir)
    if not home.is_dir():
        missing(f"www-data's home {home} does not exist")
    eggs = shared_tmp / "eggs"
    eggs.mkdir()
    write_egg(eggs / "One-1.0-py2.7.egg", {"one.py": ""})
    common = [
        "--all",
        "--path",
        str(eggs),
        "--python",
        str(target("2.7", "18.8.1").python),
        "--user",
        "www-data",
        "--json",
    ]
    before = f"mount -t tmpfs -o uid={account.pw_uid},mode=755 none {home}"
    result = namespace(before, "check", *common)
    findings = {finding["code"]: finding for finding in as_json(result)["findings"]}
    assert set(findings) == {"no-cache", "extraction-race"}
    assert findings["no-cache"]["thing"] == str(home / ".python-eggs")
    assert "can write to" in findings["no-cache"]["cause"]
    assert not (home / ".python-eggs").exists()


def test_without_zipped_eggs(site: Checked) -> None:
    """A tree without a zipped egg needs no cache: all is well, with and without one."""
    common = ["--python", str(site.python), "--user", "nobody", "setuptools"]
    for more in ([], ["--cache", str(site.cache)], ["--cache", "/proc/nowhere"]):
        result = eggcache("check", *common, *more)
        assert (result.returncode, result.stdout) == (0, "no zipped egg in the tree, as nobody: nothing to extract\n")


# ----------------------------------------------------------------------------------------------- the surroundings


def test_what_private_tmp_hides_is_named(site: Checked) -> None:
    """Under systemd, Debian's unit hides a cache, the target and its eggs in /tmp, and does not with PrivateTmp off; a
    cache in another directory is none of them. Each is told once, and nothing below it."""
    if not os.path.exists("/lib/systemd/system/apache2.service"):
        missing("Debian's apache2 is not installed")
    if not str(site.cache).startswith("/var/tmp/"):
        missing("/var/tmp cannot be written to")
    findings = site.check(before=SYSTEMD)
    assert set(findings) == {"private-tmp"}
    assert "apache2.service" in findings["private-tmp"]["cause"]
    result = site.run("--json", before=SYSTEMD)
    things = [finding["thing"] for finding in as_json(result)["findings"]]
    assert {str(site.cache), str(site.eggs), str(site.python.parents[1])} <= set(things)
    assert not [thing for thing in things for other in things if thing.startswith(f"{other}/")]
    off = "mkdir /run/systemd/system/apache2.service.d; "
    off += "printf '[Service]\\nPrivateTmp=no\\n' >/run/systemd/system/apache2.service.d/a.conf"
    assert site.check(before=f"{SYSTEMD}; {off}") == {}
    elsewhere = f"mount -t tmpfs none /opt; mkdir /opt/e; mount --bind {site.cache.parent} /opt/e; {SYSTEMD}"
    result = namespace(elsewhere, "check", *map(str, site.options), "--json", "--cache", "/opt/e/cache")
    findings = as_json(result)["findings"]
    assert {finding["code"] for finding in findings} == {"private-tmp"}
    assert {finding["thing"] for finding in findings} == set(things) - {str(site.cache)}


@pytest.mark.parametrize(
    ("lines", "cleaned"),
    [
        ("q {parent} - - - 10d", True),
        ("d {parent} 755 root root 0\nx {cache}", False),
        ("d {cache} 755 root root 0\nx {cache}", True),
    ],
)
def test_tmpfiles_line_that_ages_the_cache_is_named(site: Checked, lines: str, cleaned: bool) -> None:
    """A tmpfiles.d line that ages the directory is named, unless another one excludes it; and where the age is 0 the
    real systemd-tmpfiles, run afterwards, proves it. All the other lines are in tests/sites/test_ageing.py."""
    configuration = site.cache.parent / "tmpfiles"
    configuration.mkdir()
    text = lines.format(parent=site.cache.parent, cache=site.cache)
    (configuration / "site.conf").write_text(text + "\n")
    before = f"{SYSTEMD}; mkdir -p /etc/tmpfiles.d; mount --bind {configuration} /etc/tmpfiles.d"
    findings = site.check(before=before)
    findings.pop("private-tmp", None)
    assert set(findings) == ({"cleaned"} if cleaned else set())
    if cleaned:
        assert f"site.conf says {text.strip().splitlines()[0]!r}" in findings["cleaned"]["cause"]
        assert f"'x {site.cache}'" in findings["cleaned"]["remedy"]
    if " 0" in lines:
        if not shutil.which("systemd-tmpfiles"):
            missing("systemd-tmpfiles is not installed")
        os.unlink(site.cache / ".eggcache.lock")  # a lock may keep it off
        command = ["systemd-tmpfiles", "--clean", str(configuration / "site.conf")]
        subprocess.run(command, check=True, capture_output=True)
        assert bool(list(site.cache.glob("*-tmp/*/__init__.py"))) is not cleaned
    site.eggs.mkdir(exist_ok=True)  # it may have gone with the rest
    assert site.check(before="mkdir -p /etc/tmpfiles.d").keys() <= {
        "cache-missing",
        "member-missing",
        "egg-not-in-cache",
    }


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("", True),
        ("SHOWWARNING=true\n", False),
        ("TMPREAPER_DIRS='/var/elsewhere/.'\n", False),
        ("TMPREAPER_DIRS='/var/elsewhere/. {parent}'\n", True),
        ("TMPREAPER_PROTECT_EXTRA='{cache}*'\n", False),
    ],
)
def test_tmpreaper_is_read_as_its_cron_job_reads_it(tmp_path: Path, text: str, cleaned: bool) -> None:
    """tmpreaper's configuration is read as its cron job reads it, with its defaults."""
    from eggcache.proof import cleaners

    cache = "/tmp/some-cache"
    for name in ("etc/cron.daily/tmpreaper", "etc/tmpreaper.conf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.format(parent="/tmp", cache=cache))
    findings = list(cleaners.findings(cache, root=str(tmp_path)))
    assert [finding.code for finding in findings] == (["cleaned"] if cleaned else [])
    (tmp_path / "etc/cron.daily/tmpreaper").unlink()
    assert list(cleaners.findings(cache, root=str(tmp_path))) == []


def test_selinux_type_that_httpd_may_not_load_is_named(native: Checked) -> None:
    """Where SELinux is on, a type that httpd may not load libraries from is named; lib_t, and no SELinux, is well."""
    on = "mount -t tmpfs none /sys/fs; mkdir /sys/fs/selinux; echo 1 >/sys/fs/selinux/enforce"
    for kind, expected in (("user_tmp_t", {"selinux-label"}), ("lib_t", set())):
        os.setxattr(native.cache, "security.selinux", f"system_u:object_r:{kind}:s0".encode())
        assert set(native.check(before=on)) == expected
        assert native.check() == {}


# ------------------------------------------------------------------------------------------------ a running Apache


@pytest.fixture
def apache(site: Checked, shared_tmp: Path) -> Iterator[Callable[..., int]]:
    """A factory: apache(NAME="value") starts Debian's Apache with that in its environment. Its workers, and the readers
    of the cache, are an account that no other test checks as: check sees each Apache of its account."""
    site.account = pwd.getpwnam("games")
    shutil.rmtree(site.cache)
    site.prepare()
    program = "/usr/sbin/apache2"
    modules = "/usr/lib/apache2/modules"
    if not os.path.exists(program) or not os.path.exists(f"{modules}/mod_wsgi.so"):
        missing("Debian's apache2 and libapache2-mod-wsgi-py3 are not installed")
    home = shared_tmp / "apache"
    home.mkdir()
    (home / "apache2.conf").write_text(
        f"ServerRoot {home}\nServerName localhost\nListen 127.0.0.1:{free_port()}\nUser games\n"
        f"Group games\nPidFile {home}/pid\nErrorLog {home}/log\nMutex file:{home}\n"
        f"LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so\n"
        f"LoadModule authz_core_module {modules}/mod_authz_core.so\nStartServers 2\n"
        f"LoadModule wsgi_module {modules}/mod_wsgi.so\nWSGISocketPrefix {home}/wsgi\n"
    )
    pids: list[int] = []

    def start(**variables: str) -> int:
        subprocess.run([program, "-f", str(home / "apache2.conf"), "-k", "start"], env=variables, check=True)
        for _ in range(600):
            if (home / "pid").exists():
                pids.append(int((home / "pid").read_text()))
                children = Path(f"/proc/{pids[-1]}/task/{pids[-1]}/children").read_text().split()
                if len(children) >= 2:
                    return pids[-1]
            time.sleep(0.05)
        return pytest.fail((home / "log").read_text())

    yield start
    for pid in set(pids):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    for _ in range(100):
        if not (home / "pid").exists():
            return
        time.sleep(0.05)


def test_apache_that_runs_with_another_cache_is_named(site: Checked, apache: Callable[..., int]) -> None:
    """An Apache that was started without the variable, with another directory or zone is named; the right one is
    not, nor is one that runs as another user."""
    pid = apache(PATH="/usr/bin:/bin")
    findings = site.check()
    assert set(findings) == {"running-without-cache"}
    assert findings["running-without-cache"]["thing"] == f"Apache (process {pid})"
    assert "stop" in findings["running-without-cache"]["remedy"]
    result = eggcache("check", *[word if word != "games" else "daemon" for word in site.options], "--cache", site.cache)
    assert "running" not in result.stdout


def test_running_apache_that_imports_no_egg(site: Checked, apache: Callable[..., int]) -> None:
    """One that has no Python in its memory, or another version of it than the target, is no finding: who restarts it
    gains nothing. Whatever its configuration says by now, what it runs counts."""
    configuration = site.cache.parent / "apache" / "apache2.conf"
    whole = configuration.read_text()
    configuration.write_text("".join(line for line in whole.splitlines(True) if "wsgi" not in line.lower()))
    pid = apache(PATH="/usr/bin:/bin")
    configuration.write_text(whole)
    assert site.check() == {}
    os.kill(pid, signal.SIGTERM)
    while os.path.exists(f"/proc/{pid}"):  # and not its pid file alone, which is removed before it lets go of the port
        time.sleep(0.05)
    apache(PATH="/usr/bin:/bin")
    assert set(site.check()) == {"running-without-cache"}
    assert list(environment_variables.running(accounts.lookup("games"), (3, 11, 7)))
    assert list(environment_variables.running(accounts.lookup("games"), (2, 7, 18))) == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PYTHON_EGG_CACHE": "{cache}"}, set()),
        ({"PYTHON_EGG_CACHE": "{cache}/../cache"}, set()),
        ({"PYTHON_EGG_CACHE": "/var/elsewhere"}, {"running-with-other-cache"}),
        ({"PYTHON_EGG_CACHE": "~/eggs"}, {"cache-relative"}),
        ({"PYTHON_EGG_CACHE": ""}, {"running-without-cache"}),
        ({"PYTHON_EGG_CACHE": "{cache}", "TZ": "Asia/Tokyo"}, {"time-zone"}),
    ],
)
def test_running_apache_with_a_cache(
    site: Checked, apache: Callable[..., int], variables: dict[str, str], expected: set[str]
) -> None:
    """What a running Apache has is compared with what is checked; and without --cache, what it has is said."""
    apache(**{name: value.format(cache=site.cache) for name, value in variables.items()})
    assert set(site.check()) == expected
    if not variables["PYTHON_EGG_CACHE"].startswith(("{", "/")):
        cause = "working directory" if variables["PYTHON_EGG_CACHE"] else "with an empty PYTHON_EGG_CACHE"
        assert cause in site.check()[min(expected)]["cause"]
        return  # it is no cache to look at
    (finding,) = as_json(eggcache("check", *site.options, "--json"))["findings"]
    assert f"has {variables['PYTHON_EGG_CACHE'].format(cache=site.cache)}, see it with --cache" in finding["cause"]


def test_the_apache_of_a_pid_file_is_meant(site: Checked, apache: Callable[..., int], tmp_path: Path) -> None:
    """Of several Apaches --pid-file names the one that counts; where the file is not there, none runs."""
    pid = apache(PATH="/usr/bin:/bin")
    own, other = tmp_path / "own.pid", tmp_path / "other.pid"
    own.write_text(f"{pid}\n")
    other.write_text(f"{os.getpid()}\n")
    assert set(site.check("--pid-file", str(own))) == set(site.check()) == {"running-without-cache"}
    for file in (other, tmp_path / "none.pid"):
        assert site.check("--pid-file", str(file)) == {}


def test_locale_is_that_of_the_apache_that_is_meant(
    site: Checked, apache: Callable[..., int], shared_tmp: Path
) -> None:
    """An Apache with the cache embeds its Python, which makes nothing better of the C locale, and no other Apache's
    locale counts than that of --pid-file."""
    pid = apache(PYTHON_EGG_CACHE=str(site.cache), LANG="C")
    own, other = shared_tmp / "own.pid", shared_tmp / "other.pid"
    (shared_tmp / "failing").mkdir()
    (shared_tmp / "failing" / "failing.py").write_text("1 / 0\n")
    asked = ["--path", shared_tmp / "failing", "--import", "failing"]
    own.write_text(f"{pid}\n")
    other.write_text(f"{os.getpid()}\n")
    account, here = accounts.lookup("games"), Apache()
    for file in (None, own):
        serving = environment_variables.serving(account, str(site.cache), file and str(file))
        locale = server_locale.locale_of(here, Configuration(), serving)
        assert locale
        assert (locale.values, locale.embedded) == ({"LANG": "C"}, True)
    daemon = Directive("WSGIDaemonProcess", "shop lang=tr_TR.UTF-8", "shop.conf", 1)
    serving = environment_variables.serving(account, str(site.cache))
    told = server_locale.locale_of(here, Configuration(directives=(daemon,)), serving)
    assert told
    assert (told.values, told.origin) == ({"LANG": "tr_TR.UTF-8"}, "shop.conf:1")
    for file, seen in ((own, True), (other, False)):
        cause = site.check(*asked, "--pid-file", file, env={"LANG": "C.UTF-8"})["import-fails"]["cause"]
        assert (f"with LANG=C, as Apache (process {pid}) has it" in cause) is seen, cause


# --------------------------------------------------------------------------------------- what cannot be looked at


def test_could_not_look(site: Checked) -> None:
    """Exit 4 is for what could not be looked at, 2 for what makes no sense; each is one line."""
    for arguments, status in (
        (["--python", "/bin/true"], 4),
        (["--user", "no such user"], 2),
        (["--python", "/not/there"], 2),
        (["--wait", "soon"], 2),
    ):
        result = site.run(*arguments)
        assert (result.returncode, result.stdout) == (status, ""), result.stderr
        assert result.stderr.count("\n") == 1
    private = site.cache.parent / "private"
    private.mkdir(0o700)
    shutil.copytree(site.python.parent.parent, private / "python", symlinks=True)
    result = site.run("--python", str(private / "python" / "bin" / "python"))
    assert result.returncode == 4
    assert f"{private} is root's, mode 0700" in result.stderr


def test_prepare_at_work(site: Checked) -> None:
    """While a prepare is at work, check waits, and gives up after --wait with exit status 75."""
    code = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(site.cache / ".eggcache.lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        result = site.run("--wait", "0.2")
        assert (result.returncode, result.stderr.count("\n")) == (75, 1)
        holder.kill()
    assert site.run("--wait", "0.2").returncode == 0


def test_without_root_the_caller_is_checked(site: Checked, checkout: Path) -> None:
    """Without root it is checked as the caller, which is said, and what only root could know is left out; a cache that
    the caller cannot open is exit 4."""
    site.prepare()
    (site.cache / "Unknown.egg-tmp").mkdir()
    assert set(site.check()) == {"stale-directory"}

    def run(user: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [site.python, "-m", "eggcache", "check", "--all", "--path", site.eggs, "--cache", site.cache]
        return subprocess.run(
            list(map(str, command)),
            env=environment({"PYTHONPATH": str(checkout), "EGGCACHE_PYTHON": str(site.python), **more}), cwd="/",
            capture_output=True, text=True, check=False, user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[],
        )  # fmt: skip

    result = run("nobody")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.fullmatch(r"\d+ files of \d eggs, as nobody: all current, nothing to write\n", result.stdout)
    assert "is checked as nobody" in result.stderr or not shutil.which("apache2ctl", path="/usr/sbin")
    assert "only root" not in result.stderr
    if shutil.which("apache2ctl", path="/usr/sbin"):
        private = site.cache.parent / "apache"
        private.mkdir(mode=0o700)
        result = run("nobody", APACHE_CONFDIR=str(private))
        assert (result.returncode, result.stdout.count("all current")) == (0, 1), result.stdout + result.stderr
        assert re.search(r"^eggcache: /\S+ctl: only root can see .*; run check as root$", result.stderr, re.M), (
            result.stderr
        )
        assert "apache-configuration" in site.check(env={"APACHE_CONFDIR": str(private)})  # empty: that tells nobody
    result = run("daemon")
    assert result.returncode == 4
    assert f"{site.cache} is root's, mode 0750" in result.stderr
    assert stat.S_IMODE(site.cache.stat().st_mode) == 0o750


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("", set()),
        ("mount --bind {cache} {cache}; mount -o remount,ro,bind {cache}", set()),  # as BindReadOnlyPaths= has it
        ("mount -t tmpfs none {cache}/..", {"hidden-from-process"}),  # TemporaryFileSystem=, PrivateTmp=
        ("mount -t tmpfs -o mode=000 none {cache}", {"hidden-from-process"}),  # InaccessiblePaths=, ProtectHome=
        ("mount --bind {cache}/../eggs {cache}", {"hidden-from-process"}),
    ],
)
def test_server_that_does_not_see_the_cache(
    site: Checked, nobody: pwd.struct_passwd, mounts: str, expected: set[str]
) -> None:
    """A server of any kind that has the cache in its environment, and another place or none where it is, is named with
    a directory that it sees; one that sees it is not, however it came to be there."""
    become = "exec setpriv --reuid nobody --regid nogroup --clear-groups sleep 600"
    script = f"set -e; {mounts.format(cache=site.cache) or 'true'}; echo there; {become}"
    command = ["unshare", "-m", "sh", "-c", script]
    with subprocess.Popen(
        command, env=environment({"PYTHON_EGG_CACHE": str(site.cache)}), stdout=subprocess.PIPE
    ) as server:
        assert server.stdout
        assert server.stdout.readline() == b"there\n"
        while os.path.basename(os.readlink(f"/proc/{server.pid}/exe")) != "sleep":
            time.sleep(0.01)
        try:
            findings = site.check()
        finally:
            server.kill()
        assert set(findings) == expected
        if expected:
            assert f"sleep (process {server.pid}) does not see it" in findings["hidden-from-process"]["cause"]
            assert findings["hidden-from-process"]["command"].startswith(
                "eggcache prepare /var/cache/eggcache --python "
            )


@contextmanager
def running(python: Path, account: pwd.struct_passwd, cache: Path) -> Iterator[int]:
    """A process of the target with that cache, by its number."""
    code = "import time; print('there', flush=True); time.sleep(600)"
    command = [python, "-c", code]
    with subprocess.Popen(
        command, env=environment({"PYTHON_EGG_CACHE": str(cache)}), stdout=subprocess.PIPE, user=account.pw_uid,
        group=account.pw_gid,
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            assert process.stdout.readline() == b"there\n"
            yield process.pid
        finally:
            process.kill()


def test_egg_replaced_under_a_server(site: Checked, nobody: pwd.struct_passwd) -> None:
    """Who runs the target since before an egg was replaced is named by the prepare that replaces its files, and by
    check where that is the runtime user with this cache; nobody is who started later, or where only the rights of an
    egg changed."""
    egg = site.eggs / "Two-1.0-py3.11.egg"
    site.prepare()
    with running(site.python, nobody, site.cache) as older, running(site.python, nobody, site.eggs) as another:
        egg.chmod(0o640)
        egg.chmod(0o644)
        assert site.check() == {}
        write_egg(site.eggs / "new", {"two/__init__.py": "", "two/other.txt": "2"}, project="Two").rename(egg)
        time.sleep(0.1)  # /proc has the hundredth of a second in which a process was started
        with running(site.python, nobody, site.cache) as newer:
            result = site.prepare("--json")
            told = {process["pid"] for process in as_json(result)["processes"]}  # and processes of other tests
            assert (told & {older, another, newer}) == {older, another}
            assert f"{egg} was replaced, and older processes" in result.stderr
            findings = site.check()
            assert set(findings) == {"egg-replaced"}
            assert findings["egg-replaced"]["thing"] == str(egg)
            assert f"process {older} of nobody" in findings["egg-replaced"]["cause"]
            assert not re.search(rf"\b({newer}|{another})\b", findings["egg-replaced"]["cause"])
            bare = as_json(eggcache("check", *site.options, "--json", "--no-import"))["findings"]
            (told,) = (
                finding for finding in bare if finding["code"] == "egg-replaced"
            )  # without a cache any of them counts
            assert {older, another} <= set(map(int, re.findall(r"process (\d+)", told["cause"])))
    assert site.check() == {}
