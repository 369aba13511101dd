"""The other kinds of wrapper: every value read back by the program that it is meant for, and Apache started with it."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, images
from support.emitted import INSIDE_SYSTEMD, NASTY, Server, executable, server, uid_of, variables, wait_for
from support.images import Builder
from support.judge import eggcache
from support.namespaces import SYSTEMD, entered, private
from support.parts import missing
from support.programs import running

from eggcache.errors import UsageError
from eggcache.servers.apache import Apache
from eggcache.servers.systemd import Unit
from eggcache.wrappers import destination, emission
from eggcache.wrappers.kinds import WrapperSettings

assert server  # a fixture

PLAIN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

SOURCED = ["envvars", "sysconfig", "freebsd", "shell"]  # what sh reads
CONTROL = {name for name in NASTY if re.search(r"[\x00-\x1f]", name)}
RAW = {name for name in NASTY if "\udcff" in name}
EXPANDED = {name for name in NASTY if "${" in name}
# What each syntax has no way to write. Everything else must arrive as it is.
REFUSED: dict[str, set[str]] = {
    "envvars": set(),
    "gunicorn": set(),
    "sysconfig": CONTROL | RAW,
    "systemd": RAW,
    "tmpfiles.d": CONTROL,
    "mod_wsgi": CONTROL | EXPANDED,
    "trac": CONTROL | EXPANDED,
    "freebsd": CONTROL,
    "shell": CONTROL,
    "supervisord": CONTROL | RAW,
    "uwsgi": CONTROL | EXPANDED,
    "docker": CONTROL | RAW,
}
NAMES = [
    *NASTY,
    "percent %n %% 100%",
    "%(x)s",
    "both ' and \" quotes",
    'quote at the end"',
    "a ;comment",
    "a [glob]?",
    "@(file)",
    "colon:",
    "space ",
]
REFUSED["supervisord"] |= {"both ' and \" quotes", 'quote at the end"', "a ;comment"}
REFUSED["supervisord"] |= {name for name in NASTY if re.search(r"\s[;#]", name)}
REFUSED["uwsgi"] |= {"%(x)s", "@(file)", "space "}


def text(kind: str, directory: str, **values: Any) -> str:
    """A wrapper of this kind; with a prepare command that has the directory's name in it."""
    given: dict[str, Any] = {
        "prepare": ["/bin/true", "prepare", directory, "--lenient", "--", "TurboGears"],
        "timezone": None,
        "unit": "apache2.service",
        **values,
    }
    return emission.wrapper(kind, WrapperSettings(directory, **given))


def good(kind: str) -> list[str]:
    return [name for name in NAMES if name not in REFUSED[kind]]


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., list[str]]:
    """A factory: the command of a prepare that records how it was called, and exits with what `status` holds."""
    script = executable(
        tmp_path / "prepare",
        f"""printf '%s\\0' "$@" >{tmp_path}/prepared
        printf '%s\\n' "${{TZ-unset}}" "$PYTHON_EGG_CACHE" >{tmp_path}/seen
        pwd >>{tmp_path}/seen; echo noise; [ ! -f {tmp_path}/status ] || exit "$(cat {tmp_path}/status)" """,
    )
    return lambda *words: [str(script), "prepare", *words]


def tool(name: str, package: str = "") -> str:
    path = shutil.which(name)
    if not path:
        missing(f"{package or name} is not installed")
    return path


# ------------------------------------------------------------------------------------------------ every kind


def test_every_kind_is_tested() -> None:
    """A kind that is registered is in the tables of these tests, or is a script, which test_emission.py runs."""
    others = {"mod_python"}  # has a file of its own
    scripts = {kind for kind, registered in emission.KINDS.items() if registered.executable}
    assert set(emission.KINDS) - scripts - others == set(REFUSED)


@pytest.mark.parametrize("kind", REFUSED)
def test_value_that_a_syntax_cannot_express_is_refused(kind: str) -> None:
    """What a syntax cannot express is refused in one line that says so; everything else is not."""
    for name in NAMES:
        if name in REFUSED[kind]:
            with pytest.raises(UsageError) as caught:
                text(kind, f"/srv/{name}")
            assert re.search("cannot|no way|has to be|loses|takes what", str(caught.value))
            assert "\udcff" not in str(caught.value)
        else:
            assert text(kind, f"/srv/{name}")


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("timezone", [None, "Europe/Madrid"])
def test_head_says_where_it_goes_and_what_to_do(kind: str, timezone: str | None) -> None:
    """Each says where it goes and what to do then, and names the directory and the zone outside of its comments."""
    made = text(kind, "/srv/cache", timezone=timezone)
    comments = [line for line in made.splitlines() if line[:1] in ("#", ";")]
    code = "\n".join(line for line in made.splitlines() if line not in comments)
    assert re.search("Where:|/etc/systemd/system/", "\n".join(comments))
    assert re.search("After:|Afterwards:", "\n".join(comments))
    assert "/srv/cache" in code
    assert ("Europe/Madrid" in code) == (timezone is not None and kind not in ("mod_wsgi", "trac", "tmpfiles.d"))
    assert any("/bin/true prepare /srv/cache" in c for c in comments) or "/bin/true" in code
    assert all(len(line) <= 120 for line in comments)


def test_reference_has_each_kind() -> None:
    """The reference's table of kinds has each of them, and no other."""
    page = (ROOT / "docs" / "reference" / "wrappers.rst").read_text()
    rows = set(re.findall(r"^``([\w.]+)`` ", page, re.MULTILINE))
    assert rows == set(emission.KINDS) | {"mod_python"}


# ------------------------------------------------------------------------------------------------ read by sh


@pytest.mark.parametrize(("kind", "debian"), [*((kind, False) for kind in SOURCED), ("envvars", True)])
def test_kinds_for_sh_are_posix_sh(tmp_path: Path, kind: str, debian: bool) -> None:
    """What sh reads is POSIX sh without a warning, whatever the directory is called."""
    files = []
    for number, name in enumerate(good(kind)):
        made = text(kind, f"/srv/{name}", timezone=f":{name}" if number else None, debian=debian)
        files.append(tmp_path / f"{number}.sh")
        files[-1].write_bytes(b"#!/bin/sh\n" + os.fsencode(made))  # which checkbashisms asks for
    # The others say in a comment above everything that quotes and such are meant literally; eval could not have that.
    literally = ["-e", "SC1003,SC2016,SC2089,SC2090"] if kind == "shell" else []
    for command in (["shellcheck", *literally], ["checkbashisms", "--posix"]):
        result = subprocess.run(
            [tool(command[0]), *command[1:], *files], env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True
        )
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    for file in files:
        subprocess.run([tool("dash"), "-n", file], check=True)


def sourced(file: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """What a script of sh has in its environment after it has read the file."""
    script = f'. "{file}"; leaked=$(set | grep -c eggcache=); [ "$leaked" = 0 ] && exec env -0'
    argv = [tool("dash"), "-c", script, "sh", *words]
    return subprocess.run(argv, env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True)


@pytest.mark.parametrize("kind", SOURCED)
def test_sh_has_directory_and_zone_byte_for_byte(tmp_path: Path, kind: str, prepare: Callable[..., list[str]]) -> None:
    """sh has the directory and the zone byte for byte, and no TZ at all where none was prepared for."""
    for name in good(kind):
        for timezone in (None, f":{name}"):
            file = tmp_path / "file"
            file.write_bytes(os.fsencode(text(kind, f"/srv/{name}", timezone=timezone, prepare=prepare(name))))
            result = sourced(file, "start", TZ="Asia/Tokyo")
            environment = variables(result.stdout)
            assert environment["PYTHON_EGG_CACHE"] == f"/srv/{name}"
            assert environment.get("TZ") == timezone
            if kind == "envvars":
                assert (tmp_path / "prepared").read_bytes() == b"prepare\0" + os.fsencode(name) + b"\0"
                assert (tmp_path / "seen").read_bytes().endswith(b"\n/\n")
                assert result.stderr == b"noise\n"


def test_shell_by_eval(tmp_path: Path) -> None:
    """eval takes it in quotes, and without them too where the directory has no space."""
    file = tmp_path / "file"
    for name, command in (("a 'b' $x", f'eval "$(cat {file})"'), ("plain", f"eval $(cat {file})")):
        file.write_text(text("shell", f"/srv/{name}", timezone="Europe/Madrid"))
        result = subprocess.run([tool("dash"), "-c", f"{command} && exec env -0"], capture_output=True, check=True)
        environment = variables(result.stdout)
        assert (environment["PYTHON_EGG_CACHE"], environment["TZ"]) == (f"/srv/{name}", "Europe/Madrid")


def test_sysconfig_by_systemd(tmp_path: Path) -> None:
    """systemd's parser of environment files reads from the same lines what sh reads from them, and nothing from a line
    that exports, too, what it sets."""

    # It is the one that reads os-release too, and systemd-tmpfiles writes a value of that, %w, into a file.
    def read(lines: str) -> str:
        (tmp_path / "release").write_text(lines.replace("PYTHON_EGG_CACHE=", "VERSION_ID=").replace("TZ=", "BUILD_ID="))
        (tmp_path / "conf").write_text(f"f+ {tmp_path}/out 0644 - - - %w\\n%B\n")
        subprocess.run(
            [tool("systemd-tmpfiles", "systemd"), "--create", tmp_path / "conf"],
            env={**os.environ, "SYSTEMD_OS_RELEASE": str(tmp_path / "release")},
            check=True,
        )
        return (tmp_path / "out").read_text()

    for name in good("sysconfig"):
        assert read(text("sysconfig", f"/srv/{name}", timezone=f":{name}")) == f"/srv/{name}\n:{name}"
    assert read("export PYTHON_EGG_CACHE=/srv/x\nTZ=UTC\n") == "\nUTC"
    unset = text("sysconfig", "/srv/x")
    assert [line for line in unset.splitlines() if "=" in line and line[0] != "#"] == ['PYTHON_EGG_CACHE="/srv/x"']


# -------------------------------------------------------------------------------------------------- envvars


class Controlled:
    """A real Apache through an apachectl that reads the envvars file which was emitted."""

    def __init__(self, server: Server, debian: bool, emitted: str, tmp_path: Path) -> None:
        self.server = server
        self.status = tmp_path / "status"
        self.prepared = tmp_path / "prepared"
        if debian:
            with (server.home / "envvars").open("a") as file:
                file.write(f"export APACHE_PID_FILE={server.pid_file}\n")
            (tmp_path / "envvars-eggcache").write_text(emitted)
            self.script = server.apachectl
            self.environment = {**server.environment, "APACHE_ENVVARS": str(tmp_path / "envvars-eggcache")}
        else:
            (tmp_path / "envvars").write_text("PATH=/usr/bin:/bin\n" + emitted)
            # In outline what upstream's does.
            httpd = f"/usr/sbin/apache2 -d {server.home} -f apache2.conf"
            self.script = str(
                executable(
                    tmp_path / "apachectl",
                    f"""ACMD="$1"\nARGV="$@"\nif test -f {tmp_path}/envvars; then . {tmp_path}/envvars; fi
                    case $ACMD in
                    start|stop|restart|graceful|graceful-stop) {httpd} -k $ARGV ;;
                    configtest) {httpd} -t ;;
                    *) {httpd} "$@" ;;
                    esac""",
                )
            )
            self.environment = {}

    def __call__(self, *words: str, script: Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*(script or [self.script]), *words],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "Asia/Tokyo", **self.environment},
            capture_output=True,
            timeout=60,
        )


@pytest.fixture(params=["debian", "upstream"])
def controlled(
    request: pytest.FixtureRequest, server: Server, tmp_path: Path, prepare: Callable[..., list[str]]
) -> Controlled:
    debian = request.param == "debian"
    made = text(
        "envvars",
        "/srv/a $'\"\\ b",
        prepare=prepare(),
        timezone="America/New_York" if debian else None,
        debian=debian,
        pid_file=str(server.pid_file),
    )
    return Controlled(server, debian, made, tmp_path)


def test_envvars_give_apache_cache_and_zone(controlled: Controlled) -> None:
    """A real Apache and its workers have the cache and the zone, from Debian's apachectl and from upstream's."""
    assert controlled("start").returncode == 0
    server = controlled.server
    wait_for(lambda: server.pid() != 0)
    for pid in [server.pid(), *server.workers()]:
        environment = server.environ(pid)
        assert environment["PYTHON_EGG_CACHE"] == "/srv/a $'\"\\ b"
        assert environment.get("TZ") == ("America/New_York" if controlled.environment else None)
        assert uid_of(pid) == (0 if pid == server.pid() else uid_of(pid))
    assert controlled.prepared.exists()
    assert controlled("stop").returncode == 0
    wait_for(lambda: server.pid() == 0)


def test_envvars_with_a_broken_cache(controlled: Controlled) -> None:
    """A prepare that fails keeps Apache from starting and from restarting, and from nothing else."""
    server = controlled.server
    controlled.status.write_text("4")
    for words in (("start",), ("restart",), ("graceful",), ("-k", "start"), ("-DFOREGROUND",)):
        result = controlled(*words)
        assert (result.returncode, server.pid()) == (4, 0)
        assert result.stdout == b""
        assert (
            b"\neggcache: the egg cache could not be prepared (exit status 4): Apache is left as it is\n"
            in result.stderr
        )
    controlled.prepared.unlink()
    assert controlled("configtest").returncode == 0
    assert b'User: name="www-data"' in controlled("-t", "-D", "DUMP_RUN_CFG").stdout
    assert not controlled.prepared.exists()

    controlled.status.unlink()
    assert controlled("start").returncode == 0
    wait_for(lambda: server.pid() != 0)
    before = server.pid()
    controlled.status.write_text("75")
    assert controlled("restart").returncode == 75
    result = controlled("graceful")  # logrotate's
    assert (result.returncode, server.pid()) == (0, before)
    assert b"goes on with the one that there is" in result.stderr
    assert server.answers()
    assert controlled("stop").returncode == 0
    wait_for(lambda: server.pid() == 0)


def test_envvars_ready(controlled: Controlled) -> None:
    """`ready` fails where the cache or the configuration is broken, else it has prepared; Apache goes on all the
    while, and where none runs none is started."""
    server = controlled.server
    result = controlled("ready")
    assert (result.returncode, server.pid()) == (0, 0), result.stderr
    assert b"Syntax OK" in result.stdout + result.stderr
    assert controlled("start").returncode == 0
    wait_for(lambda: server.pid() != 0)
    before = server.pid()
    controlled.prepared.unlink()
    assert controlled("ready").returncode == 0
    assert controlled.prepared.exists()
    controlled.status.write_text("4")
    assert controlled("ready").returncode == 4
    controlled.status.unlink()
    server.configure("NoSuchDirective")
    result = controlled("ready")
    assert result.returncode not in (0, 4)
    assert b"NoSuchDirective" in result.stderr
    assert (server.pid(), server.answers()) == (before, True)
    server.configure()
    assert controlled("stop").returncode == 0
    wait_for(lambda: server.pid() == 0)


@pytest.mark.parametrize("controlled", ["debian"], indirect=True)
def test_envvars_under_systemd(controlled: Controlled) -> None:
    """Where Debian's apachectl would have systemctl start Apache, `ready` and `start` refuse and nothing is prepared;
    `stop` works, and so does a start in the unit itself."""
    server = controlled.server
    inside = [*INSIDE_SYSTEMD, controlled.script]
    for word in ("ready", "start"):
        result = controlled(word, script=inside)
        assert result.returncode == 1
        assert b"refused: under systemd" in result.stderr
        assert b"[Service]\nEnvironment=" in result.stderr
    assert not controlled.prepared.exists()
    controlled.environment["APACHE_STARTED_BY_SYSTEMD"] = "true"
    assert controlled("start", script=inside).returncode == 0
    wait_for(lambda: server.pid() != 0)
    del controlled.environment["APACHE_STARTED_BY_SYSTEMD"]
    assert controlled("stop", script=inside).returncode == 0
    wait_for(lambda: server.pid() == 0)


@pytest.mark.parametrize("controlled", ["debian"], indirect=True)
def test_envvars_and_debians_init_script(controlled: Controlled) -> None:
    """Debian's init script passes APACHE_ENVVARS on, and neither starts nor restarts on a broken cache."""
    script = ["sh", "/etc/init.d/apache2"]
    server = controlled.server
    controlled.status.write_text("1")
    assert controlled("start", script=script).returncode != 0
    assert server.pid() == 0
    controlled.status.unlink()
    assert controlled("start", script=script).returncode == 0
    first = server.pid()
    assert server.environ(first)["PYTHON_EGG_CACHE"] == "/srv/a $'\"\\ b"
    controlled.status.write_text("1")
    assert controlled("restart", script=script).returncode != 0
    assert controlled("reload", script=script).returncode == 0
    assert controlled("status", script=script).returncode == 0
    assert server.pid() == first
    assert controlled("stop", script=script).returncode == 0
    assert server.pid() == 0


@pytest.mark.parametrize("controlled", ["debian"], indirect=True)
def test_no_exported_variable_comes_through_debians_init_script(controlled: Controlled) -> None:
    """A PYTHON_EGG_CACHE that is exported reaches Apache by apache2ctl, and not by Debian's init script."""
    server = controlled.server
    controlled.environment = {**server.environment, "PYTHON_EGG_CACHE": "/srv/exported"}
    for script, expected in (([], "/srv/exported"), (["sh", "/etc/init.d/apache2"], None)):
        assert controlled("start", script=script).returncode == 0
        wait_for(lambda: server.pid() != 0)
        assert server.environ(server.pid()).get("PYTHON_EGG_CACHE") == expected
        assert controlled("stop", script=script).returncode == 0
        wait_for(lambda: server.pid() == 0)


@pytest.mark.parametrize("controlled", ["debian"], indirect=True)
def test_debians_apachectl_reads_no_file_with_a_space_in_its_path(controlled: Controlled, tmp_path: Path) -> None:
    """apache2ctl does not quote the name that APACHE_ENVVARS has, as the head of that file says: where there is a space
    in it, the file is not read."""
    assert controlled("ready").returncode == 0
    controlled.prepared.unlink()
    (spaced := tmp_path / "a b").mkdir()
    shutil.copy(controlled.environment["APACHE_ENVVARS"], spaced / "envvars")
    controlled.environment = {**controlled.environment, "APACHE_ENVVARS": str(spaced / "envvars")}
    assert controlled("ready").returncode != 0
    assert not controlled.prepared.exists()


PROBE = r"""
mount -t tmpfs none /run
mount -t tmpfs none /etc/init.d
printf '#!/bin/sh\nenv\n' >/etc/init.d/plain
printf '#!/bin/sh\n. /lib/lsb/init-functions\nenv\n' >/etc/init.d/lsb
chmod +x /etc/init.d/plain /etc/init.d/lsb
"""


def test_service_and_lsb_pass_no_environment_on() -> None:
    """`service` gives an init script none of the variables that it has; and a script that reads Debian's lsb functions
    ends in systemctl where systemd is, before it has done anything, as the heads of the scripts say."""
    named = {"APACHE_ENVVARS": "/srv/envvars", "PYTHON_EGG_CACHE": "/srv/exported"}
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **named}
    service, functions = tool("service", "init-system-helpers"), Path("/lib/lsb/init-functions.d/40-systemd")
    with private(PROBE) as inside:

        def seen(*command: str) -> set[str]:
            result = subprocess.run([*inside, *command, "start"], env=env, capture_output=True, text=True)
            return {line.partition("=")[0] for line in result.stdout.splitlines() if "=" in line}

        assert named.keys() <= seen("/etc/init.d/plain")
        assert "PATH" in seen(service, "plain")
        assert not named.keys() & seen(service, "plain")
        if not functions.exists():
            missing(f"there is no {functions}")
        assert named.keys() <= seen("/etc/init.d/lsb")
        subprocess.run([*inside, "mkdir", "-p", "/run/systemd/system"], check=True)
        assert named.keys() <= seen("/etc/init.d/plain")
        assert seen("/etc/init.d/lsb") == set()


# -------------------------------------------------------------------------------------------------- systemd


@pytest.mark.parametrize("timezone", [None, "Europe/Madrid"])
def test_systemd_accepts_the_kind_and_reads_only(tmp_path: Path, timezone: str | None) -> None:
    """systemd has nothing against the drop-in, in whose unit the directory is read-only."""
    place, names = "/srv", good("systemd")
    for number, name in enumerate(names):
        dropin = tmp_path / f"u{number}.service.d"
        dropin.mkdir()
        (tmp_path / f"u{number}.service").write_text("[Service]\nExecStart=/bin/true\n")
        made = text("systemd", f"{place}/{name}", timezone=timezone, unit=f"u{number}.service")
        (dropin / "50-eggcache.conf").write_text(made)
    units = [tmp_path / f"u{number}.service" for number in range(len(names))]
    argv = [tool("systemd-analyze", "systemd"), "verify", "--man=no", "--generators=no", *units]
    result = subprocess.run(argv, capture_output=True, text=True)
    assert [line for line in result.stderr.splitlines() if re.search(r"u\d+\.service", line)] == []

    # With this it says what it has read.
    debug = {**os.environ, "SYSTEMD_LOG_LEVEL": "debug"}
    read = subprocess.run(argv, env=debug, capture_output=True, text=True).stdout
    for name in names:
        assert f"\tEnvironment: PYTHON_EGG_CACHE={place}/{name}\n" in read
        if name not in CONTROL:
            assert f"\tReadOnlyPaths: -{place}/{name}\n" in read
    assert read.count("\tEnvironment: TZ=Europe/Madrid\n") == (len(names) if timezone else 0)
    assert f"prepare {place}/plain --lenient -- TurboGears\n" in read
    assert f'prepare "{place}/\\$\\$HOME \\$\\${{x}} \\$\\$(touch pwned)" --lenient' in read  # "$$" is run as "$"
    (tmp_path / "u0.service.d" / "50-eggcache.conf").write_text("[Service]\nExecStartPre=+/not/there\nNonsense=1\n")
    result = subprocess.run(argv, capture_output=True, text=True)
    assert len([line for line in result.stderr.splitlines() if "u0.service" in line]) >= 2


@pytest.mark.parametrize(
    ("directory", "values", "says"),
    [
        ("/srv/x", {"unit": None}, "--unit"),
        ("/tmp/x", {}, "may have PrivateTmp, a /tmp of its own, without this directory; use /var/cache/eggcache"),
        ("/var/tmp/x", {"private_tmp": True}, "apache2.service has PrivateTmp, a /var/tmp"),
        ("/srv/x", {"prepare": ["/opt/eggcache", "--path", "\udcff"]}, "UTF-8"),
    ],
)
def test_what_systemd_would_ignore_is_refused(directory: str, values: dict[str, Any], says: str) -> None:
    """What systemd would ignore, or read as something else, is no drop-in."""
    with pytest.raises(UsageError, match=says):
        text("systemd", directory, **values)


def test_cleaner_spares_the_directory(tmp_path: Path) -> None:
    """The cleaner spares the directory, whatever it is called, also where a line ages itself, and the one of that name
    in a unit's own /tmp; and nothing beside it."""
    names = good("tmpfiles.d")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    private = tmp_path / f"tmp/systemd-private-{boot}-apache2.service-abcdef/tmp"
    lines = ["d /tmp 1777 root root 0", "d /tmp/plain 755 root root 0"]
    for name in [*names, "another", "a g?"]:  # the last one would match "a [glob]?", taken for a pattern
        (tmp_path / "tmp" / name).mkdir(parents=True)
        (tmp_path / "tmp" / name / "file").touch()
        (tmp_path / "tmp" / name / ".file").touch()
        (private / name).mkdir(parents=True)
    for name in names:
        lines += text("tmpfiles.d", f"/tmp/{name}").splitlines()
    (tmp_path / "conf").write_bytes(os.fsencode("\n".join(lines) + "\n"))
    argv = [tool("systemd-tmpfiles", "systemd"), "--clean", f"--root={tmp_path}", tmp_path / "conf"]
    result = subprocess.run(argv, capture_output=True, text=True, errors="replace")
    places = {
        place: {os.fsdecode(name) for name in os.listdir(os.fsencode(place))} for place in (tmp_path / "tmp", private)
    }
    assert (result.returncode, result.stderr) == (0, "")
    assert places == {tmp_path / "tmp": {*names, private.parent.name}, private: set(names)}
    assert all((tmp_path / "tmp" / name / file).exists() for name in names for file in ("file", ".file"))


def test_boot_takes_what_the_cleaner_spares(tmp_path: Path) -> None:
    """A boot of Debian 12 empties /tmp, the directory of what is emitted too, which the cleaner spared."""
    file = tmp_path / "tmp" / "cache" / "file"
    file.parent.mkdir(parents=True)
    file.touch()
    conf = tmp_path / "conf"
    conf.write_text(text("tmpfiles.d", "/tmp/cache") + "D /tmp 1777 root root 0\n")
    for action, left in ((["--clean"], True), (["--create", "--remove", "--boot"], False)):
        argv = [tool("systemd-tmpfiles", "systemd"), *action, f"--root={tmp_path}", conf]
        result = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr, file.exists()) == (0, "", left)
    assert os.listdir(tmp_path / "tmp") == []


# ------------------------------------------------------------------------------------------------- mod_wsgi


APPLICATION = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environb[b"PYTHON_EGG_CACHE"]]  # bytes: Apache's locale is C
"""


def test_mod_wsgi_has_the_cache_in_each_mode(server: Server, shared_tmp: Path) -> None:
    """Applications in embedded mode and in daemon processes have the cache in os.environ, though Apache was started
    with another; a process group without python-eggs has that other."""
    module = Path("/usr/lib/apache2/modules/mod_wsgi.so")
    if not module.exists():
        missing("Debian's libapache2-mod-wsgi-py3 is not installed")
    (shared_tmp / "app.wsgi").write_text(APPLICATION)
    alias = f"{shared_tmp}/app.wsgi application-group=%{{GLOBAL}}"
    lines = [
        f"LoadModule wsgi_module {module}",
        f"WSGISocketPrefix {shared_tmp}/socket",
        f"WSGIScriptAlias /embedded {alias} process-group=%{{GLOBAL}}",
    ]
    names = good("mod_wsgi")
    for number, name in enumerate(names):
        made = text("mod_wsgi", f"/srv/{name}").replace("#WSGI", "WSGI")
        if number:  # embedded mode has one, and so has the group of the main server
            made = re.sub("^(WSGIPythonEggs|WSGIProcessGroup).*", "", made, flags=re.MULTILINE)
        lines += [made.replace("WSGIDaemonProcess eggcache", f"WSGIDaemonProcess g{number}").replace(
            "WSGIProcessGroup eggcache", "WSGIProcessGroup g0"
        )]  # fmt: skip
        lines.append(f"WSGIScriptAlias /g{number} {alias} process-group=g{number}")
    lines.append(f"WSGIScriptAlias /main {shared_tmp}/app.wsgi")
    lines.append(f"WSGIDaemonProcess without\nWSGIScriptAlias /without {alias} process-group=without")
    server.configure("")
    with (server.home / "apache2.conf").open("ab") as file:
        file.write(os.fsencode("\n".join(lines) + "\n"))
    environment = {"PATH": os.environ["PATH"], **server.environment, "PYTHON_EGG_CACHE": "/srv/other"}
    subprocess.run([server.apachectl, "start"], env=environment, check=True)
    wait_for(server.answers)

    def ask(path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return os.fsdecode(connection.getresponse().read())

    assert ask("/embedded") == f"/srv/{names[0]}"
    assert ask("/main") == f"/srv/{names[0]}"
    assert [ask(f"/g{number}") for number in range(len(names))] == [f"/srv/{name}" for name in names]
    assert ask("/without") == "/srv/other"


# ------------------------------------------------------------------------------------------ other servers


def test_program_of_supervisord_has_cache_and_zone(tmp_path: Path) -> None:
    """The program that supervisord starts has the cache and the zone; not where a second "environment" stands below."""
    lines = [f"[supervisord]\nlogfile={tmp_path}/supervisord.log\npidfile={tmp_path}/pid\nuser=root\n"]
    names = good("supervisord")
    for number, name in enumerate(names):
        made = text("supervisord", f"/srv/{name}", timezone=f":{name}" if number % 2 else None)
        command = f"/bin/sh -c 'env -0 >new{number} && mv new{number} env{number} && exec sleep 60'"
        lines.append(f"[program:p{number}]\ncommand={command}\ndirectory={tmp_path}\nstartsecs=0\n{made}")
    number = len(names)
    lines.append(re.sub(rf"(?<=[pwv]){number - 1}\b", str(number), lines[-1]) + "\nenvironment=OTHER=1\n")
    (tmp_path / "conf").write_text("\n".join(lines))
    if os.geteuid() != 0:
        (tmp_path / "conf").write_text("\n".join(lines).replace("user=root\n", ""))
    try:
        import supervisor
    except ImportError:
        missing("supervisor is not installed")
    assert supervisor
    argv = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", tmp_path / "conf"]
    with running(argv, tmp_path, PLAIN) as process:
        files = [tmp_path / f"env{number}" for number in range(len(names) + 1)]
        wait_for(lambda: all(file.exists() for file in files) or process.poll() is not None)
        *seen, second = [variables(file.read_bytes()) for file in files]
    assert [item["PYTHON_EGG_CACHE"] for item in seen] == [f"/srv/{name}" for name in names]
    assert [item.get("TZ") for item in seen] == [f":{name}" if n % 2 else None for n, name in enumerate(names)]
    assert (second.get("OTHER"), second.get("PYTHON_EGG_CACHE")) == ("1", None)


@pytest.mark.parametrize("timezone", [None, "Europe/Madrid"])
def test_uwsgi_prepares_before_it_goes_on(
    tmp_path: Path, prepare: Callable[..., list[str]], timezone: str | None
) -> None:
    """uWSGI has the cache and the zone, prepares before it goes on, and ends where that fails."""
    for name in good("uwsgi") if timezone is None else ["plain"]:
        made = text("uwsgi", f"/srv/{name}", timezone=timezone, prepare=prepare(name))
        end = f"exec-asap = env -0 >{tmp_path}/env; exit 3\n"
        (tmp_path / "u.ini").write_bytes(os.fsencode(made + end))
        argv = [tool("uwsgi-core"), "--ini", tmp_path / "u.ini", "--socket", tmp_path / "socket"]
        result = subprocess.run(
            argv, env={"PATH": "/usr/bin:/bin", "TZ": "Asia/Tokyo"}, capture_output=True, timeout=30
        )
        environment = variables((tmp_path / "env").read_bytes())
        assert result.returncode == 1  # our last line's; the exit status is uWSGI's
        assert environment["PYTHON_EGG_CACHE"] == f"/srv/{name}"
        assert environment.get("TZ") == timezone
        assert (tmp_path / "prepared").read_bytes() == b"prepare\0" + os.fsencode(name) + b"\0"
        assert (tmp_path / "seen").read_bytes() == os.fsencode(f"{timezone or 'unset'}\n/srv/{name}\n/\n")
    (tmp_path / "env").unlink()
    (tmp_path / "status").write_text("4")
    result = subprocess.run(argv, env={"PATH": "/usr/bin:/bin"}, capture_output=True, timeout=30)
    assert result.returncode != 0
    assert not (tmp_path / "env").exists()


def test_uwsgi_does_not_start_where_prepare_fails(tmp_path: Path) -> None:
    """What comes after the line that prepares is not run. (A reload goes on: see tests/sites.)"""
    made = text("uwsgi", "/srv/cache", timezone=None, prepare=["/bin/false"])
    (tmp_path / "u.ini").write_text(f"{made}exec-asap = touch {tmp_path}/mark\n")
    argv = [tool("uwsgi-core"), "--ini", tmp_path / "u.ini", "--socket", tmp_path / "socket"]
    result = subprocess.run(argv, env={"PATH": "/usr/bin:/bin"}, capture_output=True, timeout=30)
    assert result.returncode == 1
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("timezone", [None, "Europe/Madrid"])
def test_gunicorn_prepares_before_its_workers(
    tmp_path: Path, prepare: Callable[..., list[str]], timezone: str | None
) -> None:
    """gunicorn's workers have the cache and the zone, prepared before, and there are none where that fails. With
    --preload the application has both, and is loaded before that."""
    try:
        import gunicorn
    except ImportError:
        missing("gunicorn is not installed")
    assert gunicorn
    name = "a $x 'b' \"c\" \\ %n caf\u00e9 \udcff\nd "
    made = text("gunicorn", f"/srv/{name}", timezone=timezone, prepare=prepare(name))
    (tmp_path / "gunicorn.conf.py").write_text(made)
    (tmp_path / "app.py").write_text(
        "import glob, os\nos.environ['BEFORE'] = ''.join(glob.glob('prepared'))\nwith open('env', 'wb') as file:\n"
        "    file.write(b'\\0'.join(name + b'=' + value for name, value in os.environb.items()))\n"
        "os.rename('env', 'done')\ndef application(environ, start_response): pass\n"
    )
    argv = [sys.executable, "-m", "gunicorn", "-b", f"unix:{tmp_path}/s", "--worker-tmp-dir", tmp_path, "app"]
    with running(argv, tmp_path, {**PLAIN, "TZ": "Asia/Tokyo", "PYTHONPATH": str(tmp_path)}) as process:
        wait_for(lambda: (tmp_path / "done").exists() or process.poll() is not None)
    environment = variables((tmp_path / "done").read_bytes())
    assert environment["PYTHON_EGG_CACHE"] == f"/srv/{name}"
    assert environment.get("TZ") == timezone
    assert (tmp_path / "prepared").read_bytes() == b"prepare\0" + os.fsencode(name) + b"\0"
    (tmp_path / "done").unlink()
    (tmp_path / "status").write_text("4")
    with running(argv, tmp_path, {**PLAIN, "PYTHONPATH": str(tmp_path)}) as process:
        assert process.wait(20) == 1
    assert not (tmp_path / "done").exists()
    assert b"could not be prepared (exit status 4)" in (tmp_path / "log").read_bytes()
    (tmp_path / "prepared").unlink()
    with running([*argv, "--preload"], tmp_path, {**PLAIN, "TZ": "Asia/Tokyo", "PYTHONPATH": str(tmp_path)}) as process:
        assert process.wait(20) == 1
    assert b"could not be prepared (exit status 4)" in (tmp_path / "log").read_bytes()
    assert (tmp_path / "prepared").exists()
    preloaded = variables((tmp_path / "done").read_bytes())
    assert (preloaded["PYTHON_EGG_CACHE"], preloaded.get("TZ")) == (f"/srv/{name}", timezone)
    assert (environment["BEFORE"], preloaded["BEFORE"]) == ("prepared", "")


def test_gunicorn_with_a_hook_below(tmp_path: Path, prepare: Callable[..., list[str]]) -> None:
    """A hook below the block, which gunicorn takes in its place, is told when the block is written again; above it, as
    is said then, both are called."""
    if not importlib.util.find_spec("gunicorn"):
        missing("gunicorn is not installed")
    file, hook = tmp_path / "gunicorn.conf.py", "def on_starting(server):\n    open('theirs', 'w').close()\n"
    made = text("gunicorn", "/srv/x", prepare=prepare())
    registered = emission.KINDS["gunicorn"]
    (tmp_path / "app.py").write_text("open('done', 'w').close()\ndef application(environ, start_response): pass\n")
    argv = [sys.executable, "-m", "gunicorn", "-b", f"unix:{tmp_path}/s", "--worker-tmp-dir", tmp_path, "app"]
    for content in (made + hook, hook + made):
        file.write_text(content)
        # Both files have one size, and may have one second: byte code of the first would do for the second.
        with running(argv, tmp_path, {**PLAIN, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}) as process:
            wait_for(lambda: (tmp_path / "done").exists() or process.poll() is not None)
        (tmp_path / "done").unlink()
        (tmp_path / "theirs").unlink()
        written = destination.insert(str(file), made, position=registered.position, undone=registered.undone)
        below = content.startswith(made)
        assert (tmp_path / "prepared").exists() != below
        assert written.undone == (content.splitlines().index("def on_starting(server):") + 1 if below else None)


def test_gunicorn_on_old_pythons(interpreter: Callable[[str], Path], tmp_path: Path) -> None:
    """gunicorn's file is read by Python 2.7 too."""
    (tmp_path / "conf").write_text(text("gunicorn", "/srv/caf\u00e9"))
    read = f"import os; exec(open('{tmp_path}/conf').read())"
    code = f"{read}; assert os.environ['PYTHON_EGG_CACHE'] == '/srv/caf\\xc3\\xa9'"
    subprocess.run([interpreter("2.7"), "-c", code], check=True)


def test_dockerfile_says_what_was_meant(tmp_path: Path) -> None:
    """What buildah makes of ENV and RUN is what was meant; its reader is Docker's."""
    images.require()
    code = 'import json, os, sys; print("seen", json.dumps([sys.argv[1:], *map(os.environ.get, sys.argv[1].split())]))'
    builder = Builder(tmp_path / "context", tmp_path / "storage", [], {"show": f"exec python3 -c '{code}' \"$@\""})
    show = f"{images.PROGRAMS}/show"
    names = good("docker")
    lines = [
        text("docker", f"/srv/{name}", timezone=f":{name}", prepare=[show, "PYTHON_EGG_CACHE TZ", "-x", name])
        for name in names
    ]
    image = builder.build("named", "FROM scratch\nCOPY etc /etc\n" + "".join(lines))
    assert image.returncode == 0, image.stdout + image.stderr
    seen = [json.loads(line[5:]) for line in image.stdout.splitlines() if line.startswith("seen ")]
    assert seen == [[["PYTHON_EGG_CACHE TZ", "-x", name], f"/srv/{name}", f":{name}"] for name in names]
    assert "ENV TZ" not in text("docker", "/srv/x")


# ------------------------------------------------------------------------------------------ which is right


def test_what_starts_apache_is_found_out(tmp_path: Path) -> None:
    """What starts Apache on this host is found out, and the reason is given."""
    debian = str(executable(tmp_path / "apache2ctl", ". $APACHE_ENVVARS"))
    other = str(executable(tmp_path / "apachectl", ". /usr/local/apache2/bin/envvars"))
    under = Apache(debian, "www-data", "www-data", None, True, Unit("apache2.service", private_tmp=True), True)

    def chosen(apache: Apache, **more: str) -> tuple[str, str]:
        return emission.choose(apache, root=str(tmp_path), **more)

    assert chosen(under) == ("systemd", "systemd starts Apache here, as apache2.service")
    assert chosen(Apache(other, systemd=True))[0] == "envvars"
    assert chosen(Apache(other))[0] == "envvars"
    assert "APACHE_ENVVARS" in chosen(Apache(debian, unit=Unit("apache2.service")))[1]
    (tmp_path / "etc/httpd/conf").mkdir(parents=True)
    assert chosen(Apache(other))[0] == "sysconfig"
    assert chosen(Apache(debian))[0] == "envvars"
    (tmp_path / "etc/inittab").touch()
    assert chosen(Apache(debian))[0] == "init.d"
    assert chosen(Apache(), platform="freebsd14")[0] == "freebsd"
    with pytest.raises(UsageError, match="no Apache"):
        chosen(Apache())
    assert emission.takes_envvars("/not/there") is False


def test_private_tmp_is_warned_of() -> None:
    """systemd's PrivateTmp is warned of for a directory in /tmp, and that it takes the start over from scripts."""
    under = Apache(
        "/usr/sbin/apache2ctl", "www-data", "www-data", None, True, Unit("apache2.service", private_tmp=True), True
    )

    def codes(kind: str, directory: str) -> list[str]:
        return [finding.code for finding in emission.warnings(kind, directory, under)]

    assert codes("systemd", "/srv/x") == codes("mod_wsgi", "/srv/x") == []
    assert codes("mod_wsgi", "/tmp/x") == ["private-tmp"]
    assert codes("envvars", "/srv/x") == codes("shell", "/srv/x") == ["systemd-starts-apache"]


def emitted(*words: str | Path, inside: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*inside, sys.executable, "-m", "eggcache", "wrapper", *words, "--python", sys.executable],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        cwd="/",
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("directory", "advised"), [("/tmp/x", "/var/cache/eggcache"), ("/srv/x", "/srv/x")])
def test_drop_in_that_is_advised_is_not_refused(directory: str, advised: str) -> None:
    """Where systemd would start Apache without the script's environment, the command that is advised in its place names
    the unit, and a cache that the unit sees; it is not refused itself."""
    inside = entered(SYSTEMD)
    result = emitted(directory, "--for", "apachectl", inside=inside)
    (command,) = re.findall(r"a drop-in instead: (eggcache wrapper .*) -o \S+ && systemctl", result.stderr)
    assert shlex.split(command)[2] == advised
    assert "--unit apache2.service" in command
    result = emitted(*shlex.split(command)[2:], inside=inside)
    assert (result.returncode, "[Service]" in result.stdout) == (0, True), result.stderr


def test_without_for_the_right_kind_is_printed(server: Server) -> None:
    """Without --for the right kind is printed, and stderr says in one line which it is and why."""
    result = emitted("/srv/x", inside=INSIDE_SYSTEMD)
    assert "\n[Service]\nEnvironment=" in result.stdout
    assert result.stderr == "eggcache: --for systemd: systemd starts Apache here, as apache2.service\n"
    result = emitted("/tmp/x", "--all", inside=INSIDE_SYSTEMD)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.endswith(
        f"eggcache wrapper /var/cache/eggcache --python {sys.executable} --all --for systemd\n"
    )
    result = emitted("/srv/x", "--unit", "apache2@blog.service", inside=INSIDE_SYSTEMD)
    assert result.stdout.startswith("# /etc/systemd/system/apache2@blog.service.d/50-eggcache.conf\n")
    here = "init.d" if os.path.exists("/etc/inittab") else "envvars"
    if not os.path.isdir("/run/systemd/system"):
        result = emitted("/srv/x")
        assert result.stderr.startswith(f"eggcache: --for {here}: ")
        assert result.stderr.count("\n") == 1
        assert emitted("/srv/x", "-q").stderr == ""


def test_self_compiled_beside_a_packaged_one(server: Server, tmp_path: Path) -> None:
    """An apachectl that hands nothing to systemd gets its envvars, whatever unit the host's other Apache has."""
    script = executable(tmp_path / "apachectl", "exit 1")
    result = emitted("/srv/x", "--apachectl", script, inside=INSIDE_SYSTEMD)
    assert f"eggcache: --for envvars: {script} reads the envvars file beside it\n" == result.stderr
    assert "APACHE_CONFDIR" not in result.stdout


def test_kinds_without_apachectl_need_no_apache() -> None:
    """What has nothing to do with apachectl can be had on a host without Apache, and no kind is guessed there."""
    if os.geteuid() != 0:
        missing("only root can hide Apache")
    inside = ["unshare", "-m", "sh", "-ec", 'mount -t tmpfs none /usr/sbin; exec "$@"', "sh"]
    for kind in ("gunicorn", "uwsgi", "docker", "shell", "supervisord", "mod_wsgi"):
        assert emitted("/srv/x", "--for", kind, inside=inside).returncode == 0
    for words in ([], ["--for", "apachectl"], ["--for", "systemd"]):
        result = emitted("/srv/x", *words, inside=inside)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(("kind", "mode"), [("apachectl", 0o755), ("envvars", 0o644), ("uwsgi", 0o644)])
def test_only_scripts_are_executable(tmp_path: Path, kind: str, mode: int) -> None:
    """With -o a script is executable, and what is read by another program is not."""
    script = executable(tmp_path / "apachectl", "exit 1")
    result = eggcache(
        "wrapper", "/srv/x", "--for", kind, "--apachectl", script, "--python", sys.executable, "-o", tmp_path / "out"
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out").stat().st_mode & 0o7777 == mode
