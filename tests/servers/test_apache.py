"""apache.read against Debian's real Apache, and against the packagings that are not installed here."""

from __future__ import annotations

import ast
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support import httpd
from support.httpd import where
from support.judge import eggcache
from support.parts import missing
from support.sites import Site

from eggcache.servers import apache, systemd
from eggcache.servers.apache import Apache
from eggcache.servers.systemd import Unit

DEBIANS = Unit("apache2.service", private_tmp=True, environment={"APACHE_STARTED_BY_SYSTEMD": "true"})
SOURCE = Path(apache.__file__).parents[2]
READ = "import dataclasses; from eggcache.servers import apache; print(dataclasses.asdict(apache.read()))"


@pytest.fixture
def debian() -> None:
    """Debian's own Apache is installed."""
    if not os.path.exists("/usr/sbin/apache2ctl"):
        missing("Debian's apache2 is not installed")


def read(command: str = "", **environment: str) -> Apache:
    """What apache.read says in a new process; after a shell command, if given, in a mount namespace of its own."""
    argv = [sys.executable, "-c", READ]
    if command:
        if os.geteuid() != 0 or not shutil.which("unshare"):
            missing("only root can have a mount namespace, with unshare")
        argv = ["unshare", "-m", "sh", "-ec", f'{command}; exec "$@"', "sh", *argv]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    result = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return _read(result.stdout)


def _read(text: str) -> Apache:
    values = ast.literal_eval(text)
    return Apache(**{**values, "unit": values["unit"] and Unit(**values["unit"])})


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def answering(path: Path, answer: str, status: int = 0) -> Path:
    """An apachectl that answers every question with this."""
    return program(path, f"cat <<'EOF'\n{answer}\nEOF\nexit {status}")


def tree(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


# ------------------------------------------------------------------------------------- Debian's real Apache


@pytest.mark.usefixtures("debian")
def test_everything_is_known_of_debians_apache() -> None:
    """Debian's Apache is found without /usr/sbin on PATH, and everything about it is known."""
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd runs here: test_private_tmp_counts_where_systemd_runs covers that")
    assert read() == Apache(
        apachectl="/usr/sbin/apache2ctl",
        user="www-data",
        group="www-data",
        pid_file="/var/run/apache2/apache2.pid",
        systemd=False,
        unit=DEBIANS,
        hands_over=True,
    )


@pytest.mark.usefixtures("debian")
def test_anybody_can_ask_apache() -> None:
    """Anybody can ask: as non-root, Apache marks user and group as not used and they are read all the same."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else; anybody else has asked in the test of Debian's Apache")
    nobody = pwd.getpwnam("nobody")
    python = "/usr/bin/python3"  # the tests' own may be where nobody cannot go
    if not os.path.exists(python):
        missing("Debian's python3 is not installed")
    result = subprocess.run(
        [python, "-c", f"import sys; sys.path.insert(0, '.'); {READ}"],
        cwd=SOURCE,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: (os.setgroups([]), os.setgid(nobody.pw_gid), os.setuid(nobody.pw_uid)),  # type: ignore
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "Permission" in result.stderr or "No module" in result.stderr:
        pytest.skip(f"nobody cannot reach the source at {SOURCE}")
    assert result.returncode == 0, result.stderr
    assert _read(result.stdout).user == "www-data"


@pytest.mark.usefixtures("debian")
def test_which_apache_is_the_administrators_to_say(tmp_path: Path) -> None:
    """APACHE_CONFDIR and APACHE_ENVVARS choose among Debian's instances, as for its own init script."""
    if os.geteuid() != 0:
        missing("Debian's apachectl makes its directories for root alone")
    runtime = f"export APACHE_RUN_DIR={tmp_path} APACHE_LOCK_DIR={tmp_path}/lock\nexport APACHE_RUN_USER=daemon\n"
    tree(tmp_path, envvars=runtime)
    (tmp_path / "apache2.conf").write_text(
        f"ServerRoot {tmp_path}\nServerName x\nErrorLog {tmp_path}/log\nPidFile {tmp_path}/x.pid\n"
        "User daemon\nGroup #65534\n"
        "LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so\n"
        "LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\nListen 127.0.0.1:1\n"
    )
    host = read(APACHE_CONFDIR=str(tmp_path))
    assert (host.user, host.group, host.pid_file) == ("daemon", "65534", f"{tmp_path}/x.pid")
    (tmp_path / "apache2.conf").write_text("Nonsense\n")
    assert read(APACHE_CONFDIR=str(tmp_path)).user == "daemon"
    (tmp_path / "envvars").rename(tmp_path / "other")
    assert read(APACHE_CONFDIR=str(tmp_path), APACHE_ENVVARS=f"{tmp_path}/other").user == "daemon"


@pytest.mark.usefixtures("debian")
def test_without_apache_nothing_is_known() -> None:
    """Without Apache every field is None or False, even where systemd runs and Debian's configuration is left."""
    assert read("mount -t tmpfs none /usr/sbin; mount -t tmpfs none /run; mkdir -p /run/systemd/system") == Apache()


@pytest.mark.usefixtures("debian")
def test_envvars_say_whom_a_broken_configuration_runs_as() -> None:
    """Where Apache cannot read its configuration, Debian's envvars file says who it runs as."""
    host = read("mount -t tmpfs none /etc/apache2/sites-enabled; echo Nonsense >/etc/apache2/sites-enabled/x.conf")
    assert (host.user, host.group, host.pid_file) == ("www-data", "www-data", "/var/run/apache2/apache2.pid")


@pytest.mark.usefixtures("debian")
def test_private_tmp_counts_where_systemd_runs() -> None:
    """The unit that Debian ships has PrivateTmp: it counts where systemd runs, and a drop-in turns it off."""
    systemd = "mount -t tmpfs none /run; mkdir -p /run/systemd/system"
    host = read(systemd)
    assert (host.starter, host.private_tmp, host.hands_over) == (DEBIANS, True, True)
    dropin = "mkdir /run/systemd/system/apache2.service.d; cd /run/systemd/system/apache2.service.d"
    host = read(f"{systemd}; {dropin}; printf '[Service]\\nPrivateTmp=no\\n' >50-eggcache.conf")
    assert (host.systemd, host.private_tmp) == (True, False)


# ------------------------------------------------------------------------------- packagings not installed here


def test_httpd_of_red_hat(tmp_path: Path) -> None:
    """RHEL's apachectl answers in the same words; its unit is httpd.service, and it calls systemctl."""
    answer = 'PidFile: "/run/httpd/httpd.pid"\nUser: name="apache" id=48\nGroup: name="apache" id=48'
    script = answering(tmp_path / "usr/sbin/apachectl", answer)
    script.write_text(script.read_text().replace("#!/bin/sh\n", "#!/bin/sh\ncase $1 in start) systemctl $1;; esac\n"))
    tree(tmp_path, **{"usr/lib/systemd/system/httpd.service": "[Service]\nPrivateTmp=true\n"})
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert apache.read(search=str(script.parent), root=str(tmp_path)) == Apache(
        str(script), "apache", "apache", "/run/httpd/httpd.pid", True, Unit("httpd.service", private_tmp=True), True
    )


def test_apachectl_without_systemctl_hands_nothing_over(tmp_path: Path) -> None:
    """An apachectl that does not call systemctl, or mentions it in a comment, hands nothing over."""
    script = answering(tmp_path / "apachectl", '# systemctl\nUser: name="daemon" id=1\nGroup: name="daemon" id=1')
    host = apache.read(search=str(tmp_path), root=str(tmp_path))
    assert host == Apache(apachectl=str(script), user="daemon", group="daemon")


def test_httpd_without_apachectl_says_whom_it_runs_as(tmp_path: Path) -> None:
    """An httpd without its apachectl says who it runs as, but is not taken for one."""
    answering(tmp_path / "httpd", 'User: name="daemon" id=1')
    assert apache.read(search=str(tmp_path), root=str(tmp_path)) == Apache(user="daemon")


@pytest.mark.parametrize(
    "answer",
    [
        'User: name="a b" id=1',
        'User: name="a:b" id=1',
        'User: name="-rf" id=1',
        'User: name="" id=1',
        'User: name="a" id=x',
        ' User: name="a" id=1',
        'User: name="a" id=1 and more',
        'User: name="a" id=1\nUser: name="b" id=2',
        'PidFile: "relative.pid"',
        "rubbish",
    ],
)
def test_only_what_apache_prints_is_believed(tmp_path: Path, answer: str) -> None:
    """What is not exactly as Apache prints it is not believed."""
    script = answering(tmp_path / "apachectl", answer)
    assert apache.read(search=str(tmp_path), root=str(tmp_path)) == Apache(apachectl=str(script))


def test_answer_with_a_failure_is_none(tmp_path: Path) -> None:
    """An answer with a failure is none."""
    script = answering(tmp_path / "apachectl", 'User: name="a" id=1', status=1)
    assert apache.read(search=str(tmp_path), root=str(tmp_path)) == Apache(apachectl=str(script))


REFUSED = {
    "a word that is none": (["Nonsense on"], "line 8 of @: Invalid command 'Nonsense'"),
    "a module that is missing": (["LoadModule x_module @.so"], "line 8 of @: Cannot load @.so into server"),
    "a directory that is missing": (["DocumentRoot /none"], "line 8 of @: DocumentRoot '/none' is not a directory"),
    "what this user may not read": (
        ["Include @.d/*.conf"],
        "line 8 of @: Include/IncludeOptional: Could not open directory @.d: Perm",
    ),
    "a user who is not there": (["User nosuchuser"], "bad user name nosuchuser"),
    "a log that cannot be made": (["ErrorLog /none/log"], "Cannot access directory '/none/' for main error log"),
    "no module that serves": (["#"], "No MPM loaded"),
    "an address that is taken": (["#"], "Address already in use: AH00072: make_sock: could not bind to address"),
}


@pytest.mark.usefixtures("debian")
@pytest.mark.parametrize("refused", REFUSED)
def test_why_apache_refuses(shared_tmp: Path, nobody: pwd.struct_passwd, refused: str) -> None:
    """Of all that a real Apache prints, the line that has the cause is quoted, with the file where there is one: not
    the warnings before it, nor what else could not be done because of it."""
    more, cause = REFUSED[refused]
    file = shared_tmp / "apache.conf"
    closed = shared_tmp / "apache.conf.d"
    closed.mkdir(mode=0o700)
    (closed / "a.conf").touch()
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    with taken:
        mpm = f"LoadModule mpm_event_module {where('mpm_event')}" if "no module" not in refused else "#"
        lines = [f"PidFile {shared_tmp}/pid", f"DefaultRuntimeDir {shared_tmp}", f"ErrorLog {shared_tmp}/log", mpm,
                 f"LoadModule authz_core_module {where('authz_core')}", f"Listen 127.0.0.1:{port}", "#"]  # fmt: skip
        file.write_text("\n".join([*lines, *more, ""]).replace("@", str(file)))
        starting = ["-k", "start"] if "taken" in refused else ["-t", "-D", "DUMP_RUN_CFG"]
        drop = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        said = apache.ask([*(drop if "may not" in refused else []), "/usr/sbin/apache2", "-f", str(file), *starting])
    assert said.output == ""
    assert cause.replace("@", str(file)) in said.error


def test_apache_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Apache that never answers is ended with what it started, and one that escapes is not waited for."""
    monkeypatch.setattr(apache, "_TIMEOUT", 0.5)
    script = program(
        tmp_path / "apachectl",
        f"sleep 33 & echo $! >{tmp_path}/child; setsid sleep 34 & echo $! >{tmp_path}/escaped; sleep 35",
    )
    start = time.monotonic()
    assert apache.read(search=str(tmp_path), root=str(tmp_path)) == Apache(apachectl=str(script))
    assert time.monotonic() - start < 5
    os.kill(int((tmp_path / "escaped").read_text()), 9)
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    with suppress(FileNotFoundError, ProcessLookupError):  # it has been waited for
        while time.monotonic() - start < 10:  # a signal takes its time
            if child.read_text().rpartition(")")[2].split()[0] in "ZX":
                return
        pytest.fail("what apachectl had started is still alive")


def test_environment_is_scrubbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apache is asked in an environment of its own, whatever ours holds, and without our standard input."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("APACHE_CONFDIR", "/etc/apache2-x")
    monkeypatch.delenv("APACHE_ENVVARS", raising=False)
    program(
        tmp_path / "apachectl",
        f"env -u PWD -u OLDPWD -u _ >{tmp_path}/environment; cat >{tmp_path}/input; pwd >{tmp_path}/cwd",
    )
    ours = os.dup(0)
    reading, writing = os.pipe()
    os.write(writing, b"ours")
    os.close(writing)
    os.dup2(reading, 0)
    try:
        apache.read(search=str(tmp_path), root=str(tmp_path))
    finally:
        os.dup2(ours, 0)
        os.close(ours)
        os.close(reading)
    names = {line.partition("=")[0] for line in (tmp_path / "environment").read_text().splitlines()}
    assert names == {"PATH", "LC_ALL", "APACHE_CONFDIR"}
    assert (tmp_path / "input").read_text() == ""
    assert (tmp_path / "cwd").read_text() == "/\n"


def test_apachectl_of_the_current_directory_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An apachectl in the current directory is never run, even where PATH has "." or an empty entry."""
    program(tmp_path / "apachectl", "exit 0")
    monkeypatch.chdir(tmp_path)
    assert apache.read(search="::.:", root=str(tmp_path)) == Apache()


def test_order_of_the_search(tmp_path: Path) -> None:
    """The first directory wins, whichever name Apache has there; in one directory Debian's name wins."""
    program(tmp_path / "a/apachectl", "exit 0")
    program(tmp_path / "b/apache2ctl", "exit 0")
    program(tmp_path / "b/apachectl", "exit 0")
    assert apache.read(search=f"{tmp_path}/a:{tmp_path}/b", root=str(tmp_path)).apachectl == f"{tmp_path}/a/apachectl"
    assert apache.read(search=f"{tmp_path}/b:{tmp_path}/a", root=str(tmp_path)).apachectl == f"{tmp_path}/b/apache2ctl"


@pytest.mark.parametrize(
    "envvars",
    [
        "export APACHE_RUN_USER=web\nexport APACHE_RUN_GROUP='web'\nexport APACHE_PID_FILE=/run/apache2$SUFFIX/a.pid\n",
        ': ${APACHE_RUN_USER:=web}\n: "${APACHE_RUN_GROUP:=web}"\nAPACHE_PID_FILE="/run/apache2/a.pid"\n',
        "export APACHE_RUN_USER=x\n#export APACHE_RUN_USER=y\nexport APACHE_RUN_USER=web\n"
        "export APACHE_RUN_GROUP=web\nexport APACHE_PID_FILE=/run/apache2/a.pid\nexport LANG=$(id)\n",
    ],
)
def test_envvars_are_read_and_never_run(tmp_path: Path, envvars: str) -> None:
    """Debian's envvars file is read in the spellings that are about, the last assignment counts, nothing is run."""
    program(tmp_path / "apachectl", "exit 1")
    tree(tmp_path, **{"etc/apache2/envvars": f"touch {tmp_path}/run-at-its-start\n{envvars}"})
    host = apache.read(search=str(tmp_path), root=str(tmp_path))
    assert not (tmp_path / "run-at-its-start").exists()
    assert (host.user, host.group, host.pid_file) == ("web", "web", "/run/apache2/a.pid")


def test_computed_value_of_envvars_is_unknown(tmp_path: Path) -> None:
    """A value that a shell would have to compute is unknown, not guessed."""
    program(tmp_path / "apachectl", "exit 1")
    tree(tmp_path, **{"etc/apache2/envvars": "export APACHE_RUN_USER=$(id -un)\nexport APACHE_RUN_GROUP=$GROUP\n"})
    assert apache.read(search=str(tmp_path), root=str(tmp_path)).user is None


# --------------------------------------------------------------------------------------------- PrivateTmp


def private_tmp(root: Path, **files: str) -> bool | None:
    program(root / "bin/apachectl", "exit 1")
    tree(root, **files)
    (root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
    return apache.read(search=str(root / "bin"), root=str(root)).private_tmp


UNIT = "usr/lib/systemd/system/apache2.service"
ON, OFF = "[Service]\nPrivateTmp=true\n", "[Service]\nPrivateTmp=false\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({UNIT: ON}, True),
        ({UNIT: "[Service]\nPrivateTmp = yes\n"}, True),
        ({UNIT: "[Service]\nPrivateTmp=disconnected\n"}, True),
        ({UNIT: "[Service]\n#PrivateTmp=true\n; PrivateTmp=true\n"}, False),
        ({UNIT: "[Unit]\nPrivateTmp=true\n[Service]\nUser=x\n"}, False),
        ({UNIT: ON + "PrivateTmp=\n"}, True),
        ({UNIT: OFF + "PrivateTmp=\n"}, False),
        ({UNIT: ON + "PrivateTmp=maybe\n"}, True),
        ({UNIT: ON, "etc/systemd/system/apache2.service": OFF}, False),
        ({UNIT: OFF, f"{UNIT}.d/a.conf": ON, f"{UNIT}.d/b.conf": OFF}, False),
        ({UNIT: OFF, f"{UNIT}.d/b.conf": ON, "etc/systemd/system/apache2.service.d/a.conf": OFF}, True),
        ({UNIT: OFF, f"{UNIT}.d/a.conf": ON, "etc/systemd/system/apache2.service.d/a.conf": OFF}, False),
        ({UNIT: OFF, f"{UNIT}.d/a.conf": ON, "etc/systemd/system/apache2.service.d/a.conf": ""}, False),
        ({UNIT: OFF, f"{UNIT}.d/a.txt": ON}, False),
        ({UNIT: OFF, "etc/systemd/system/service.d/a.conf": ON}, True),
        ({UNIT: OFF, "etc/systemd/system/service.d/a.conf": ON, f"{UNIT}.d/a.conf": OFF}, False),
    ],
)
def test_unit_files_are_read_as_systemd_reads_them(
    tmp_path: Path, files: dict[str, str], expected: bool | None
) -> None:
    """Without systemd's answer PrivateTmp is what systemd.unit(5) makes of files: the last wins, /etc hides /usr."""
    assert private_tmp(tmp_path, **files) is expected


def test_unit_that_nothing_runs_hides_nothing(tmp_path: Path) -> None:
    """A unit that nothing runs hides no directory."""
    program(tmp_path / "bin/apachectl", "exit 1")
    tree(tmp_path, **{UNIT: ON})
    host = apache.read(search=str(tmp_path / "bin"), root=str(tmp_path))
    assert (host.unit, host.starter) == (Unit("apache2.service", private_tmp=True), None)
    assert apache.hides(host, "/tmp/x") is None


@pytest.mark.parametrize(
    ("directory", "hidden"),
    [
        ("/tmp/turbogears-eggcache", True),
        ("/var/tmp/cache", True),
        ("/tmp/../tmp/x", True),
        ("/var/cache/eggcache", False),
        ("/tmpfoo", False),
    ],
)
def test_hidden_directory_is_reported_with_one_to_use(directory: str, hidden: bool) -> None:
    """A directory in /tmp or /var/tmp is reported under PrivateTmp, with the directory to use instead."""
    unit = Unit("apache2.service", private_tmp=True)
    finding = apache.hides(Apache(systemd=True, unit=unit), directory)
    assert (finding is not None) is hidden
    if finding:
        assert finding.code == "private-tmp"
        assert directory in str(finding)
        assert "/var/cache/eggcache" in finding.remedy.text
    assert apache.hides(Apache(unit=unit), directory) is None


def test_hides_follows_links(tmp_path: Path) -> None:
    """It is where the directory really is that counts."""
    link = Path("/dev/shm", f"eggcache-{os.getpid()}")
    link.symlink_to("/tmp")
    try:
        assert apache.hides(Apache(systemd=True, unit=Unit("apache2.service", private_tmp=True)), str(link / "x"))
    finally:
        link.unlink()


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("BindReadOnlyPaths=/tmp/cache", True),
        ("BindPaths=-/tmp/cache", True),
        ('BindReadOnlyPaths=/srv/x "/tmp"', True),
        ("BindReadOnlyPaths=/tmp/cache:/srv/cache", False),
        ("BindReadOnlyPaths=/tmp/cache2", False),
        ("BindReadOnlyPaths=/tmp/cache\nBindReadOnlyPaths=", False),
        ("PrivateTmp=no\nTemporaryFileSystem=/srv /tmp:ro,mode=755", False),
        ("PrivateTmp=no\nTemporaryFileSystem=/tmp\nTemporaryFileSystem=\nInaccessiblePaths=-/srv", True),
        ("TemporaryFileSystem=/tmp/cache\nBindPaths=/tmp", False),
        ("PrivateTmp=no\nInaccessiblePaths=+/tmp\nBindPaths=/tmp/cache", False),
    ],
)
def test_what_a_unit_hides(tmp_path: Path, line: str, seen: bool) -> None:
    """A directory that the unit, or a drop-in of it, binds is not hidden by PrivateTmp, unless something deeper, or
    InaccessiblePaths, hides it; and these do without PrivateTmp."""
    tree(tmp_path, **{"usr/lib/systemd/system/httpd.service": "[Service]\nPrivateTmp=true\n"})
    tree(tmp_path, **{"etc/systemd/system/httpd.service.d/50-eggcache.conf": f"[Service]\n{line}\n"})
    unit = systemd.read(["apache2.service", "httpd.service"], str(tmp_path))
    assert unit
    assert unit.private_tmp == ("PrivateTmp=no" not in line)
    assert (apache.hides(Apache(systemd=True, unit=unit), "/tmp/cache/x") is None) == seen


def test_check_asks_the_apache_that_is_named(site: Site, shared_tmp: Path) -> None:
    """check --apachectl asks that program for its configuration and for whom Apache runs as, and no other."""
    server = httpd.Httpd(shared_tmp / "httpd", "User daemon\nGroup daemon")
    control = shared_tmp / "ctl"
    control.write_text(f'#!/bin/sh\nAPACHE_CONFDIR={server.home} exec {httpd.APACHECTL} "$@"\n')
    control.chmod(0o755)
    words = ["check", site.cache, *site.options[:5], "--no-import", "--apachectl"]
    assert site.prepare("--user", "daemon").returncode == 0
    result = eggcache(*words, control)
    assert (result.returncode, "as daemon: all current" in result.stdout) == (0, True), result.stdout + result.stderr
    server.configure("NoSuchDirective on")
    assert f"{control}" in eggcache(*words, control).stdout
    assert eggcache(*words, shared_tmp / "none").returncode == 2
