"""A zipped TurboGears 2 behind a real Apache, with one thing broken: what the visitor gets, and what `check` says."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support import deployment
from support.deployment import Deployment
from support.httpd import APACHECTL, MODULES, WORKERS, Httpd, differences, wait_for, www_data
from support.judge import as_json, eggcache, listing
from support.namespaces import SYSTEMD, namespace
from support.parts import missing
from support.shop import Shop, mod_wsgi, new_shop, serves

Finding = dict[str, Any]
EXTRACTION = "pkg_resources.ExtractionError: Can't extract file(s) to egg cache"
NOEXEC = "failed to map segment from shared object"
OF_THE_HOST = {"volatile", "cleaned"}  # what some hosts' /tmp is, whatever Apache has
PAGE, NATIVE = "shop-*/shop/templates/page.txt", "MarkupSafe-*/markupsafe/_speedups*.so"


@dataclass
class Case(Shop):
    """The shop under Debian's mod_wsgi; its cache has a parent of its own, and is named in Apache's environment."""

    place: Path = Path()

    @property
    def cache(self) -> Path:
        return (self.place if self.place.name else self.home / "var") / "cache"

    @property
    def common(self) -> list[str | Path]:
        return [*self.what, "--python", self.tree.python, "--user", "www-data"]

    def start(self, **environment: str) -> None:
        """Start Apache; the log has nothing but what comes from now on."""
        self.httpd.stop()
        self.httpd.forget_log()
        self.httpd.start(PYTHON_EGG_CACHE=str(self.cache), **environment)

    def member(self, pattern: str) -> Path:
        (path,) = self.cache.glob(pattern)
        return path

    def check(self, *more: str | Path, before: str = "") -> dict[str, Finding]:
        """What check finds, by code, but not what it says of Apaches of other tests, nor that the target and its eggs
        are in /var/tmp, which PrivateTmp hides as well. It changes nothing."""
        seen = listing(self.cache)
        arguments = list(map(str, ["check", *self.common, "--cache", self.cache, "--json", *more]))
        result = namespace(before, *arguments) if before else eggcache(*arguments)
        assert result.returncode in (0, 3), result.stderr
        mine = f"Apache (process {self.httpd.pid()})"
        findings = [
            finding
            for finding in as_json(result)["findings"]
            if "running-" not in finding["code"] or finding["thing"] == mine
        ]
        findings = [
            finding for finding in findings if finding["code"] != "private-tmp" or finding["thing"] == str(self.cache)
        ]
        assert listing(self.cache) == seen
        assert len({finding["code"] for finding in findings}) == len(findings), findings
        return {finding["code"]: finding for finding in findings}

    def serves(self, before: dict[str, tuple[int, ...]]) -> None:
        """Page, static file and library come from the cache, of which nothing has changed since `before`."""
        serves(self, self.cache, WORKERS)
        assert differences(before, listing(self.cache)) == []

    def healthy(self, *more: str | Path, **environment: str) -> None:
        """Started anew, every page is served from the cache, in which nothing changes, and check finds nothing."""
        before = listing(self.cache)
        self.start(**environment)
        self.serves(before)
        assert self.check(*more) == {}

    def fails(self, error: str, **environment: str) -> None:
        """Started anew, every page is an error, Apache's log has this one, and nothing in the cache has changed."""
        before = listing(self.cache)
        self.start(**environment)
        assert {page.status for page in self.httpd.crowd("/", WORKERS)} == {500}
        wait_for(lambda: error in self.httpd.log(), self.httpd.log)
        assert differences(before, listing(self.cache)) == []


@pytest.fixture(scope="module")
def shop(turbogears2_311: Deployment, where: Path, checkout: Path) -> Iterator[Shop]:
    """TurboGears2 2.5.0 for 3.11, 5 zipped eggs and the shop: copied by each test, and never started."""
    home = Path(tempfile.mkdtemp(prefix="fails-", dir=where))
    home.chmod(0o755)
    yield new_shop(home, turbogears2_311, checkout, "wsgi")
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def case(shop: Shop, shared_tmp: Path) -> Iterator[Case]:
    """The test's own copy of it, prepared, with an Apache that is not started yet."""
    tree = deployment.copy(shop.tree, shared_tmp / "tree")
    shutil.copytree(shop.home / "mods", shared_tmp / "mods")
    made = Case(Httpd(shared_tmp / "apache", "", "wsgi"), tree, shared_tmp, shop.program)
    made.cache.parent.mkdir(0o755)
    made.httpd.configure(mod_wsgi(made))
    made.prepare()
    yield made
    made.httpd.stop()


# ------------------------------------------------------------------------------------------------ files of the cache


def _change(path: Path) -> None:
    """Another last byte: size and mtime stay what they were."""
    info = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


BROKEN: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "data deleted": (PAGE, "member-missing", Path.unlink),
    "library deleted": (NATIVE, "member-missing", Path.unlink),
    "byte of data": (PAGE, "member-changed", _change),
    "byte of a library": (NATIVE, "member-changed", _change),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_file_that_is_wrong_is_an_error_until_prepared(case: Case, broken: str) -> None:
    """A member that is gone, or has another byte, is an ExtractionError; check names it; prepare brings it back."""
    pattern, code, damage = BROKEN[broken]
    member = case.member(pattern)
    damage(member)
    case.fails(EXTRACTION)
    findings = case.check()
    assert set(findings) == {code}
    assert findings[code]["thing"] == str(member)
    case.prepare()
    case.healthy()


def test_updated_egg_fails_until_it_is_prepared(case: Case) -> None:
    """An egg updated after prepare is an ExtractionError; check names the old file; prepare has the new one served."""
    (egg,) = case.tree.site_packages.glob("shop-*.egg")
    with zipfile.ZipFile(egg) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(egg, "w") as archive:
        for info, data in members:
            archive.writestr(info, data.replace(b"<p", b"<p new=''", 1) if info.filename.endswith("page.txt") else data)
    case.fails(EXTRACTION)
    findings = case.check()
    assert set(findings) == {"member-outdated"}
    assert findings["member-outdated"]["thing"] == str(case.member(PAGE))
    assert egg.name in findings["member-outdated"]["cause"]
    case.prepare()
    case.healthy()
    assert "<p new=''" in case.httpd.get("/").text


# ---------------------------------------------------------------------------------------------------- surroundings


def test_apache_in_another_zone_fails_and_check_names_it(case: Case) -> None:
    """An Apache in another zone is an ExtractionError; check names the cache, or, in the cache's zone, that Apache."""
    zone = "America/New_York"
    case.fails(EXTRACTION, TZ=zone)
    findings = case.check("--tz", zone)
    assert set(findings) == {"time-zone"}
    assert findings["time-zone"]["thing"] == str(case.cache)
    assert repr(zone) in findings["time-zone"]["cause"]
    findings = case.check()
    assert set(findings) == {"time-zone"}
    assert findings["time-zone"]["thing"] == f"Apache (process {case.httpd.pid()})"
    assert repr(zone) in findings["time-zone"]["cause"]
    case.eggcache("remove", case.cache)  # whom it serves is changed deliberately
    case.eggcache("prepare", case.cache, *case.common, "--tz", zone)
    case.healthy("--tz", zone, TZ=zone)


def test_closed_parent_fails_and_check_names_it(case: Case) -> None:
    """A closed directory above the cache is an ExtractionError; check names it; opened, every page is served."""
    parent = case.cache.parent
    parent.chmod(0o700)
    case.fails(EXTRACTION)
    findings = case.check()
    assert set(findings) == {"cache-unreachable"}
    assert findings["cache-unreachable"]["thing"] == str(case.cache)
    assert f"{parent} is root's, mode 0700" in findings["cache-unreachable"]["cause"]
    parent.chmod(0o755)
    case.healthy()


def test_script_that_sets_another_cache(case: Case) -> None:
    """A script that sets a cache beats the one that Apache was started with: an ExtractionError; check names its line,
    and by the command that it tells every page is served from what the script names."""
    script, other = case.home / "mods" / "shop_start.py", case.cache.parent / "other"
    script.write_text(f"import os\nos.environ['PYTHON_EGG_CACHE'] = {str(other)!r}\n{script.read_text()}")
    case.fails(EXTRACTION)
    findings = case.check("--script", script)
    assert set(findings) == {"egg-cache-elsewhere"}
    assert findings["egg-cache-elsewhere"]["thing"] == f"{script}:2"
    assert eggcache(*shlex.split(findings["egg-cache-elsewhere"]["command"])[1:]).returncode == 0
    case.start()
    serves(case, other, WORKERS)


@contextmanager
def remounted(directory: Path, options: str) -> Iterator[None]:
    """What is in `directory`, as a mount of its own with these options."""
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "-o", f"remount,bind,{options}", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def test_setenv_reaches_no_process_of_mod_wsgi(case: Case) -> None:
    """Named by SetEnv alone, the cache is not that of Apache's Python: each page is an error."""
    env = f"LoadModule env_module {MODULES}/mod_env.so\nSetEnv PYTHON_EGG_CACHE {case.cache}\n"
    case.httpd.configure(env + mod_wsgi(case))
    case.httpd.start()
    assert {page.status for page in case.httpd.crowd("/", WORKERS)} == {500}
    wait_for(lambda: EXTRACTION in case.httpd.log(), case.httpd.log)


@pytest.mark.parametrize("way", ["graceful", "restart", "stop"])
def test_running_apache_gets_no_new_environment(case: Case, way: str) -> None:
    """A graceful restart, and one by SIGHUP, with the cache in the environment of apachectl leaves each page an error;
    once Apache is stopped and started with the same environment, every page is served."""
    case.httpd.configure(mod_wsgi(case))
    case.httpd.start()
    assert {page.status for page in case.httpd.crowd("/", WORKERS)} == {500}
    before = case.httpd.family()
    if way == "stop":
        case.start()
        serves(case, case.cache, WORKERS)
        return
    assert case.httpd.ctl(way, PYTHON_EGG_CACHE=str(case.cache)).returncode == 0
    wait_for(lambda: len(case.httpd.family()) > 1 and not {*before[1:]} & {*case.httpd.family()}, case.httpd.log)
    assert case.httpd.family()[0] == before[0]
    assert {page.status for page in case.httpd.crowd("/", WORKERS)} == {500}


def test_noexec_fails_the_native_library_and_check_names_it(case: Case) -> None:
    """On a noexec mount the native library is an ImportError; check says noexec alone; on another one it is served."""
    with remounted(case.cache, "noexec"):
        case.fails(NOEXEC)
        assert EXTRACTION not in case.httpd.log()
        findings = case.check()
        assert set(findings) == {"noexec"}
        assert findings["noexec"]["thing"] == str(case.cache)
    case.healthy()


# ------------------------------------------------------------------------------------------------------ PrivateTmp


@pytest.fixture
def in_tmp(case: Case) -> Iterator[Case]:
    """The case with its cache in /tmp, and the rest elsewhere."""
    if not str(case.home).startswith("/var/tmp/"):
        missing("/var/tmp cannot be written to")
    place = Path(tempfile.mkdtemp(prefix="eggcache-", dir="/tmp"))
    place.chmod(0o755)
    made = replace(case, place=place)
    made.prepare()
    yield made
    made.httpd.stop()
    shutil.rmtree(place)


def test_private_tmp_hides_the_cache_and_check_names_it(in_tmp: Case) -> None:
    """With a /tmp of its own Apache runs what its workers wrote; check says private-tmp. Without it, from the cache."""
    if not os.path.exists("/lib/systemd/system/apache2.service"):
        missing("Debian's apache2 is not installed")
    case, before = in_tmp, listing(in_tmp.cache)
    private = ["unshare", "-m", "sh", "-ec", 'mount -t tmpfs -o mode=1777 none /tmp; exec "$@"', "sh"]
    case.httpd.control = [*private, APACHECTL]
    case.start()
    assert case.httpd.get("/").status == 200  # no error tells of it: everybody may write to a new /tmp
    seen = Path(f"/proc/{case.httpd.pid()}/root{case.cache}")
    (library,) = seen.glob(NATIVE)
    assert {path.stat().st_uid for path in (seen, library)} == {www_data().pw_uid}
    assert differences(before, listing(case.cache)) == []
    findings = case.check(before=SYSTEMD)
    assert set(findings) - OF_THE_HOST == {"private-tmp"}
    assert findings["private-tmp"]["thing"] == str(case.cache)
    assert "apache2.service has PrivateTmp" in findings["private-tmp"]["cause"]

    case.httpd.control = [APACHECTL]
    case.start()
    case.serves(before)
    assert {path.stat().st_uid for path in Path(f"/proc/{case.httpd.pid()}/root{case.cache}").glob(NATIVE)} == {0}
    off = "mkdir /run/systemd/system/apache2.service.d; "
    off += "printf '[Service]\\nPrivateTmp=no\\n' >/run/systemd/system/apache2.service.d/a.conf"
    assert set(case.check(before=f"{SYSTEMD}; {off}")) - OF_THE_HOST == set()
