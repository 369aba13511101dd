"""Servers that are no Apache: check finds the one that runs the target, and what its files give the application."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import pwd
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.deployment import Deployment
from support.hosts import free_port
from support.httpd import Httpd, alive, wait_for
from support.judge import as_json, eggcache, environment
from support.parts import missing
from support.programs import running
from support.sites import Site, write_egg

from eggcache.system import procfs

UWSGI = "/usr/bin/uwsgi-core"
DEBIAN = Path("/usr/bin/python3")
# What setproctitle does: the title takes the place of the command line and of the environment
TITLE = """\
import ctypes
def setproctitle(title):
    with open("/proc/self/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    ctypes.memset(int(fields[45]), 0, int(fields[48]) - int(fields[45]))
    ctypes.memmove(int(fields[45]), title.encode(), len(title))
"""
GAP = "missing-distribution"  # of Debian's Python
WAITS = "import signal\nprint('up', flush=True)\nsignal.pause()\n"


@contextlib.contextmanager
def started(words: Sequence[str | Path], home: Path, *, up: str, **variables: str) -> Iterator[int]:
    """A server of root's, as soon as its log says `up`."""
    with running(words, home, environment(variables)) as process:
        wait_for(lambda: up in (home / "log").read_text() or process.poll() is not None)
        assert process.poll() is None, (home / "log").read_text()
        yield process.pid


def found(site: Site, *more: str | Path, notices: bool = False) -> dict[str, str]:
    """The findings of check that are no notices, or those that are, and what each is about."""
    home = site.cache.parent / "apache"
    words = ["check", *site.options, "--cache", site.cache, "--no-import", "--json", *more]
    told = as_json(eggcache(*words, env={"APACHE_CONFDIR": str(home), "APACHE_ENVVARS": f"{home}/envvars"}))
    return {
        finding["code"]: finding["thing"]
        for finding in told["findings"]
        if bool(finding["status"]) is not notices and finding["code"] != GAP
    }


@pytest.fixture
def prepared(site: Site, own: Deployment) -> Site:
    """A cache for the user that each server's application is run by, and an Apache that has another zone. The Python is
    the test's own: whoever checks another site of this machine finds what runs that site's Python."""
    site.python = own.python
    assert site.prepare().returncode == 0
    home = site.cache.parent / "apache"
    Httpd(home)
    with (home / "envvars").open("a") as envvars:
        envvars.write("export TZ=Asia/Tokyo\n")
    return site


def packages(home: Path, *names: str) -> None:
    """Copy what these tests run with to where every user can read it."""
    for name in names:
        try:
            place = importlib.metadata.distribution(name).locate_file(name)
        except importlib.metadata.PackageNotFoundError:
            missing(f"{name} is not installed")
        shutil.copytree(str(place), home / name, ignore=shutil.ignore_patterns("__pycache__"))


def test_each_place_that_gunicorn_is_told_a_cache_is_checked(prepared: Site, shared_tmp: Path) -> None:
    """Its environment, its configuration and the application's own file are held against the cache, one after the
    other; with --server another kind is meant, and nothing of gunicorn counts."""
    home, user = shared_tmp / "home", prepared.account
    home.mkdir()
    packages(home, "gunicorn", "packaging")
    own = f"bind = 'unix:{home}/s'\nuser = {user.pw_uid}\ngroup = {user.pw_gid}\nwsgi_app = 'app:application'\n"
    configuration, application = home / "gunicorn.conf.py", home / "app.py"
    words = [prepared.python, "-m", "gunicorn"]

    def starts(text: str, code: str = "", **variables: str) -> contextlib.AbstractContextManager[int]:
        configuration.write_text(own + text)
        application.write_text(f"{code}def application(environ, start_response): pass\n")
        return started(words, home, up="Booting worker", PYTHONPATH=str(home), **variables)

    with starts("") as pid:
        thing = f"gunicorn (process {pid})"
        assert found(prepared) == found(prepared, "--server", "gunicorn") == {"running-without-cache": thing}
        assert {*found(prepared, "--server", "uwsgi"), *found(prepared, "--server", "none")} == set()
        assert [*found(prepared, "--server", "apache")] == ["time-zone"]
    with starts("", PYTHON_EGG_CACHE="/var/other"):
        assert [*found(prepared)] == ["running-with-other-cache"]
    with starts(f"raw_env = ['A=b', 'PYTHON_EGG_CACHE={prepared.cache}']\n"):
        assert found(prepared) == {}
    with starts("raw_env = ['PYTHON_EGG_CACHE=/var/other']\n", PYTHON_EGG_CACHE=str(prepared.cache)):
        assert found(prepared) == {"egg-cache-elsewhere": f"{configuration}:5"}
    code = "import os\nos.environ['TZ'] = 'Asia/Tokyo'\n"
    (home / "more").mkdir()
    write_egg(home / "more" / "More-1.0-py3.11.egg", {"more/a.txt": "x"})
    with starts("pythonpath = 'more'\n", code, PYTHON_EGG_CACHE=str(prepared.cache)) as pid:
        assert found(prepared) == {"time-zone": f"{application}:2", "path-not-checked": f"gunicorn (process {pid})"}


def test_gunicorn_whose_configuration_is_not_seen(prepared: Site, shared_tmp: Path) -> None:
    """With a title in the place of its command line, or a module for its configuration, gunicorn may have the cache or
    not: a notice says so, until a file that sets the cache is named. Where it has none for certain, that is found."""
    home, user = shared_tmp / "home", prepared.account
    home.mkdir()
    packages(home, "gunicorn", "packaging")
    (home / "app.py").write_text("def application(environ, start_response): pass\n")
    file, unseen = home / "g2.py", ["configuration-unseen"]
    words = [prepared.python, "-m", "gunicorn", "-b", f"unix:{home}/s", "-u", str(user.pw_uid), "-g", str(user.pw_gid)]

    def starts(*more: str | Path) -> contextlib.AbstractContextManager[int]:
        return started([*words, *more, "app:application"], home, up="Booting worker", PYTHONPATH=str(home))

    for text in (f"raw_env = ['PYTHON_EGG_CACHE={prepared.cache}']\n", ""):
        file.write_text(text)
        with starts("-c", "python:g2"):
            assert (found(prepared), [*found(prepared, notices=True)]) == ({}, unseen)
        (home / "setproctitle.py").write_text(TITLE)
        with starts("-c", file) as pid:
            assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"gunicorn: master [app:application]\0\0")
            assert (found(prepared), [*found(prepared, notices=True)]) == ({}, unseen)
            assert [*found(prepared, "--script", file, notices=True)] == ([] if text else unseen)
        (home / "setproctitle.py").unlink()
        with starts("-c", file):
            assert [*found(prepared)] == ([] if text else ["running-without-cache"])
            assert found(prepared, notices=True) == {}


def test_process_that_any_user_can_start(prepared: Site, shared_tmp: Path) -> None:
    """Of a process of another user with the cache, check says that it cannot read it, and, unless it is started by
    root, that it may be anybody's: rights are not given to it unseen."""
    games, script = pwd.getpwnam("games"), shared_tmp / "gunicorn"
    script.write_text(WAITS)
    drop = ["setpriv", f"--reuid={games.pw_uid}", f"--regid={games.pw_gid}", "--clear-groups"]
    server = shlex.join([str(prepared.python), str(script)])
    for line in ([*drop, "sh", "-c", f"{server}; :"], ["sh", "-c", f"{shlex.join(drop)} {server}; :"]):
        with started(line, shared_tmp, up="up", PYTHON_EGG_CACHE=str(prepared.cache)) as first:
            options = [*prepared.options, "--cache", prepared.cache, "--no-import", "--server", "gunicorn", "--json"]
            told = as_json(eggcache("check", *options))["findings"]
            (fault,) = [each for each in told if each["code"] == "daemon-user-cannot-read"]
            by_root = line[0] == "sh" or procfs.unit(first) is not None  # a service of systemd's may run the tests
            assert ("any user can start such a process" in fault["cause"]) is not by_root
            assert fault["remedy"].startswith("see that it is a server") is not by_root
            for child in Path(f"/proc/{first}/task/{first}/children").read_text().split():
                os.kill(int(child), signal.SIGTERM)


def test_reload_of_gunicorn_prepares_nothing(prepared: Site, shared_tmp: Path) -> None:
    """Workers of a gunicorn that is reloaded have what is emitted, and nothing is prepared for them, though gunicorn is
    root's: a new egg is in the cache after a stop and a start."""
    home, user = shared_tmp / "home", prepared.account
    home.mkdir()
    packages(home, "gunicorn", "packaging")
    configuration, seen = home / "gunicorn.conf.py", home / "seen"
    configuration.write_text(
        f"bind = 'unix:{home}/s'\nuser = {user.pw_uid}\ngroup = {user.pw_gid}\nwsgi_app = 'app:application'\n"
    )
    (home / "app.py").write_text(
        f"import os\nwith open({str(seen)!r}, 'a') as file:\n    print(os.environ.get('PYTHON_EGG_CACHE'), file=file)\n"
        "def application(environ, start_response): pass\n"
    )
    seen.touch()
    os.chown(seen, user.pw_uid, -1)
    words, later = [prepared.python, "-m", "gunicorn"], prepared.cache / "Later-1.0-py3.11.egg-tmp"
    with started(words, home, up="Booting worker", PYTHONPATH=str(home)) as pid:
        wait_for(lambda: seen.read_text() == "None\n")
        emitted = eggcache("wrapper", prepared.cache, *prepared.options, "--for", "gunicorn", "-o", configuration)
        assert "next: stop gunicorn and start it\n" in emitted.stderr
        write_egg(prepared.eggs / "Later-1.0-py3.11.egg", {"later/a.txt": "x"})
        os.kill(pid, signal.SIGHUP)
        wait_for(lambda: seen.read_text() == f"None\n{prepared.cache}\n", (home / "log").read_text)
        assert not later.exists()
    with started(words, home, up="Booting worker", PYTHONPATH=str(home)):
        assert later.exists()


def test_a_configuration_that_is_named(prepared: Site, shared_tmp: Path) -> None:
    """--script takes gunicorn's file and uWSGI's, of servers that do not run, and Apache's script. Each is read, and
    nothing in it is run."""
    mark = shared_tmp / "mark"
    write = f"open({str(mark)!r}, 'w').close()\n"
    (shared_tmp / "g.py").write_text(f"raw_env = ['PYTHON_EGG_CACHE=/var/other']\n{write}")
    (shared_tmp / "u.ini").write_text(f"[uwsgi]\nenv = PYTHON_EGG_CACHE=/var/other\nexec-asap = touch {mark}\n")
    (shared_tmp / "a.wsgi").write_text(f"import os\nos.environ['PYTHON_EGG_CACHE'] = '/var/other'\n{write}")
    for name, line in (("g.py", 1), ("u.ini", 2), ("a.wsgi", 2)):
        words = ["--server", "none", "--script", shared_tmp / name]
        assert found(prepared, *words) == {"egg-cache-elsewhere": f"{shared_tmp / name}:{line}"}
        assert not mark.exists(), name
    (shared_tmp / "g.py").write_text("import os\nos.environ['PYTHON_EGG_CACHE'] = '/x\\0y'\n")
    assert found(prepared, "--server", "none", "--script", shared_tmp / "g.py") == {}  # that gunicorn does not start


def uwsgi_of(prepared: Site, home: Path) -> tuple[Path, list[str | Path]]:
    """The ini file of a uWSGI with Debian's Python, what starts it, and a cache for that Python, prepared."""
    if not Path(UWSGI).exists() or not list(Path("/usr/lib/uwsgi/plugins").glob("python3*_plugin.so")):
        missing("uwsgi-core and uwsgi-plugin-python3 are not installed")
    prepared.python = DEBIAN
    (home / "app.py").write_text("def application(environ, start_response): pass\n")
    ini, user = home / "u.ini", prepared.account
    own = "[uwsgi]\nplugins = python3\nmaster = true\nworker-reload-mercy = 1\ndie-on-term = true\nchdir = %d\n"
    own += f"uid = {user.pw_uid}\ngid = {user.pw_gid}\n"
    ini.write_text(f"{own}wsgi-file = app.py\nsocket = 127.0.0.1:{free_port()}\n")
    words = [UWSGI, "--ini", ini]
    prepared.cache = home / "debian"
    assert prepared.prepare().returncode == 0
    return ini, words


def test_what_uwsgi_lacks_is_named_until_it_has_what_is_emitted(prepared: Site, shared_tmp: Path) -> None:
    """uWSGI, which embeds Debian's Python: what it lacks is said, and with what is emitted nothing is wrong."""
    ini, words = uwsgi_of(prepared, shared_tmp)
    with started(words, shared_tmp, up="spawned uWSGI worker") as pid:
        assert found(prepared) == {"running-without-cache": f"uWSGI (process {pid})"}
    result = eggcache("wrapper", prepared.cache, *prepared.options, "--for", "uwsgi", "-o", ini)
    assert result.returncode == 0, result.stderr
    with started(words, shared_tmp, up="spawned uWSGI worker"):
        assert found(prepared) == {}
    ini.write_text(f"{ini.read_text()}\n[uwsgi]\nhome = {shared_tmp}\nenv = PYTHON_EGG_CACHE=/var/other\n")
    assert found(prepared, "--script", ini)["egg-cache-elsewhere"] == f"{ini}:{len(ini.read_text().splitlines())}"


@pytest.mark.parametrize("more", [[], ["--plugin", "python3"], ["--master"]])
def test_vassals_of_an_emperor_are_servers(prepared: Site, shared_tmp: Path, more: list[str]) -> None:
    """A uWSGI that another one starts has its own file in the directory of that one, which runs no application."""
    ini, _ = uwsgi_of(prepared, shared_tmp)
    vassals, home = shared_tmp / "vassals", shared_tmp / "home"
    vassals.mkdir()
    home.mkdir()
    text = ini.read_text().replace("chdir = %d", f"chdir = {shared_tmp}")
    words = [UWSGI, *more, "--die-on-term", "--emperor", "../vassals"]
    for line, expected in (("", ["running-without-cache"]), (f"env = PYTHON_EGG_CACHE={prepared.cache}\n", [])):
        (vassals / "shop.ini").write_text(text + line)
        with started(words, home, up="spawned uWSGI worker"):
            assert [*found(prepared)] == expected
            assert found(prepared, notices=True) == {}


def test_uwsgi_whose_configuration_is_not_read(prepared: Site, shared_tmp: Path) -> None:
    """Of a configuration that is no ini file, whichever way it is named, nothing is taken for granted."""
    ini, _ = uwsgi_of(prepared, shared_tmp)
    lines = [line.partition(" = ") for line in ini.read_text().replace("%d", str(shared_tmp)).splitlines()[1:]]
    pairs = [*((name, value) for name, _, value in lines), ("env", f"PYTHON_EGG_CACHE={prepared.cache}")]
    (shared_tmp / "u.xml").write_text(f"<uwsgi>{''.join(f'<{name}>{value}</{name}>' for name, value in pairs)}</uwsgi>")
    (shared_tmp / "i.ini").write_text("[uwsgi]\ninclude = u.xml\n")
    for words in (["--xml", "u.xml"], ["u.xml"], ["--ini", "i.ini"]):
        with started([UWSGI, *words], shared_tmp, up="spawned uWSGI worker") as pid:
            assert found(prepared) == {}
            assert found(prepared, notices=True) == {"configuration-unseen": f"uWSGI (process {pid})"}


def test_reload_of_uwsgi_prepares_as_its_user(
    prepared: Site, own: Deployment, shared_tmp: Path, checkout: Path
) -> None:
    """A uWSGI that is reloaded has what is emitted, but prepares as the user that uid= names: a new egg is told and not
    prepared, and where this user cannot run eggcache, the reload goes on. A start prepares as root, or is none."""
    ini, words = uwsgi_of(prepared, shared_tmp)
    log, seen, later = (shared_tmp / name for name in ("log", "seen", "debian/Later-1.0-py3.11.egg-tmp"))
    (own.site_packages / "eggcache.pth").write_text(f"{checkout}\n")  # an eggcache that this user can run
    (shared_tmp / "app.py").write_text(
        f"import os\nwith open({str(seen)!r}, 'a') as file:\n    print(os.environ.get('PYTHON_EGG_CACHE'), file=file)\n"
        "def application(environ, start_response): pass\n"
    )
    seen.touch()
    os.chown(seen, prepared.account.pw_uid, -1)

    def is_reloaded(pid: int, times: int) -> None:
        os.kill(pid, signal.SIGHUP)
        wait_for(lambda: log.read_text().count("gracefully (RE)spawned") == times, log.read_text)
        # Before that one is there, the master would miss the next signal
        wait_for(lambda: log.read_text().count("\nspawned uWSGI worker") == times + 1, log.read_text)

    with started(words, shared_tmp, up="spawned uWSGI worker") as pid:
        options = ["--for", "uwsgi", "-o", ini]
        emitted = eggcache("wrapper", prepared.cache, *prepared.options, *options, python=str(own.python))
        assert "next: stop uWSGI and start it\n" in emitted.stderr
        is_reloaded(pid, 1)
        assert seen.read_text() == f"None\n{prepared.cache}\n"
        write_egg(prepared.eggs / "Later-1.0-py3.11.egg", {"later/a.txt": "x"})
        assert "egg-not-in-cache" not in log.read_text()
        is_reloaded(pid, 2)
        assert f"{later}: it is missing" in log.read_text()
        assert not later.exists()
        own.root.chmod(0o700)
        is_reloaded(pid, 3)
        assert "Permission denied" in log.read_text()
        assert alive(pid)
    with started(words, shared_tmp, up="spawned uWSGI worker"):
        assert later.exists()


@pytest.mark.parametrize(("before", "up"), [("", "WSGI app 0"), ("env -u UWSGI_RELOADS ", "non-zero code: 1")])
def test_uwsgi_that_another_uwsgi_starts(prepared: Site, shared_tmp: Path, before: str, up: str) -> None:
    """uWSGI itself takes the start of one that another one has started for a reload: so that it goes on where nothing
    could be prepared, unless it is started without the variable of the other, as the page says."""
    ini, words = uwsgi_of(prepared, shared_tmp)
    emitted = eggcache("wrapper", prepared.cache, *prepared.options, "--for", "uwsgi", "-o", ini)
    assert emitted.returncode == 0, emitted.stderr
    prepared.cache.chmod(0o777)
    inner = before + shlex.join(map(str, words))
    outer = [UWSGI, "--master", "--die-on-term", "--socket", f"127.0.0.1:{free_port()}", "--attach-daemon", inner]
    with started(outer, shared_tmp, up=up):
        log = (shared_tmp / "log").read_text()
        assert "others can write to it" in log
        assert ("WSGI app 0" in log) is not bool(before)


def test_program_of_supervisord_is_named_without_its_section(prepared: Site, shared_tmp: Path) -> None:
    """A program that supervisord starts as another user has what its section says, and without it check names it."""
    packages(shared_tmp, "supervisor")
    conf, user = shared_tmp / "supervisord.conf", prepared.account
    (shared_tmp / "app.py").write_text(WAITS)
    own = (
        f"[supervisord]\nlogfile={shared_tmp}/d.log\npidfile={shared_tmp}/pid\nuser=root\n[program:shop]\n"
        f"command={prepared.python} {shared_tmp}/app.py\nuser={user.pw_name}\nstdout_logfile={shared_tmp}/shop.log\n"
    )
    words = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", conf]
    for emitted in (False, True):
        conf.write_text(own)
        (shared_tmp / "shop.log").write_text("")
        if emitted:
            result = eggcache("wrapper", prepared.cache, *prepared.options, "--for", "supervisord")
            conf.write_text(own + result.stdout)
        with started(words, shared_tmp, up="spawned: 'shop'"):
            wait_for(lambda: "up" in (shared_tmp / "shop.log").read_text())
            told = found(prepared)
            assert [*told] == ([] if emitted else ["running-without-cache"])
            if not emitted:
                assert told["running-without-cache"].startswith("a program of supervisord's (process ")
                assert found(prepared, "--server", "supervisord") == told
