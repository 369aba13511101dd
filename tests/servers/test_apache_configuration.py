"""Debian's real Apache, with mod_python and mod_wsgi, asked for its configuration; and what is wrong with it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.httpd import wait_for
from support.parts import missing

from eggcache.model import Finding, Interpreter
from eggcache.servers import apache, apache_configuration, apache_findings, python_path, script_findings
from eggcache.servers.apache_configuration import Configuration, Directive
from eggcache.system import accounts
from eggcache.target.command_lines import Prepare
from eggcache.target.interpreter import EVERYTHING, Target
from eggcache.wrappers import modpython

MODULES = "/usr/lib/apache2/modules"
MUTEX = 'PythonOption mod_python.mutex_directory "logs/"\nPythonOption mod_python.mutex_locks 32\n'


class Host:
    """An Apache of the test's own: Debian's programs, with a configuration in the test's directory."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.pid_file = root / "apache.pid"
        self.port = 1
        (root / "logs").mkdir()
        # Debian's apachectl makes these, unless it is told that they are there
        (root / "socks").mkdir()
        (root / "envvars").write_text(f"export APACHE_RUN_DIR={root} APACHE_LOCK_DIR={root}/logs\n")
        shutil.chown(root / "socks", "www-data")
        monkeypatch.setenv("APACHE_CONFDIR", str(root))
        monkeypatch.delenv("APACHE_ENVVARS", raising=False)

    def write(self, text: str, modules: Sequence[str] = (), mutex: bool = True) -> None:
        loading = [f"LoadModule {module}_module {MODULES}/mod_{module}.so" for module in ("mpm_prefork", "authz_core")]
        loading += [f"LoadModule {m}_module {MODULES}/mod_{m}.so" if " " not in m else m for m in modules]
        (self.root / "apache2.conf").write_text(
            f"ServerRoot {self.root}\nServerName localhost\nErrorLog {self.root}/logs/error.log\n"
            f"PidFile {self.pid_file}\nMutex file:{self.root}/logs default\n"
            f"User www-data\nGroup www-data\nListen 127.0.0.1:{self.port}\n"
            + "\n".join(loading)
            + f"\n{MUTEX if mutex and any('python' in module for module in modules) else ''}{text}\n"
        )

    def read(self, text: str, modules: Sequence[str] = (), mutex: bool = True) -> Configuration:
        self.write(text, modules, mutex)
        return apache_configuration.read(apache.read())

    def findings(
        self,
        text: str,
        modules: Sequence[str] = (),
        *,
        interpreter: Interpreter | None = None,
        cache: str | None = None,
        mutex: bool = True,
    ) -> list[Finding]:
        findings = apache_findings.host_findings(self.read(text, modules, mutex), interpreter=interpreter, cache=cache)
        assert all(finding.status == 3 and finding.remedy.text and "\n" not in str(finding) for finding in findings)
        return list(findings)


@pytest.fixture
def host(shared_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Debian's Apache, mod_python and mod_wsgi are installed, and we are root."""
    if os.geteuid() != 0:
        missing("Debian's apachectl makes its directories for root alone")
    for file in ("/usr/sbin/apache2ctl", f"{MODULES}/mod_python.so", f"{MODULES}/mod_wsgi.so"):
        if not os.path.exists(file):
            missing(f"Debian's apache2, libapache2-mod-python or libapache2-mod-wsgi-py3 is not installed: no {file}")
    return Host(shared_tmp, monkeypatch)


@pytest.fixture(scope="module")
def debian_python() -> Interpreter:
    """Debian's python3, which is the one that Debian's modules embed."""
    script = "import sys; print('.'.join(map(str, sys.version_info[:3])), sys.prefix)"
    result = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, text=True, check=True)
    version, prefix = result.stdout.split()
    site = (f"{prefix}/lib/python3/dist-packages",)
    return Interpreter("/usr/bin/python3", tuple(map(int, version.split("."))), prefix, (), None, None, (), site)


def other(interpreter: Interpreter, prefix: str, site: str = "/none") -> Interpreter:
    """The same version elsewhere: a virtual environment."""
    return Interpreter(f"{prefix}/bin/python", interpreter.version, prefix, (), None, None, (), (site,))


def codes(findings: Sequence[Finding]) -> list[str]:
    return [finding.code for finding in findings]


# --------------------------------------------------------------------------------------------- what Apache tells


def test_every_directive_has_its_file_and_line(host: Host) -> None:
    """Every directive comes with its words, its file and line, and the sections around it; conditions are resolved."""
    (host.root / "inc").mkdir()
    (host.root / "inc" / "a b.conf").write_text('\n PythonOption a "b \\"c\\" \\d <e>"\n')
    configuration = host.read(
        "<IfModule python_module>\nPythonPath \"['/x y']+sys.path\"\n</IfModule>\n"
        "<IfModule !python_module>\nPythonPath no\n</IfModule>\n"
        f'<VirtualHost *:1>\n<Location "/my app">\nPythonDebug on\n</Location>\nInclude "{host.root}/inc/*.conf"\n'
        "</VirtualHost>\nDefine X /var/x\nWSGIDaemonProcess one \\\n user=nobody python-eggs='${X} y' threads=1\n",
        ["python", "wsgi"],
    )
    assert configuration.problem == ""
    assert {"python_module", "wsgi_module", "mpm_prefork_module", "core_module"} <= configuration.modules
    assert (configuration.user, configuration.group, configuration.program) == (
        "www-data",
        "www-data",
        "/usr/sbin/apache2ctl",
    )
    (path,) = configuration.named("pythonpath")
    assert path.words == ("['/x y']+sys.path",)
    (debug,) = configuration.named("PythonDebug")
    assert debug.context == ("<VirtualHost *:1>", '<Location "/my app">')
    assert debug.file == str(host.root / "apache2.conf")
    assert (host.root / "apache2.conf").read_text().split("\n")[debug.line - 1] == "PythonDebug on"
    option = list(configuration.named("PythonOption"))[-1]
    assert option.words == ("a", 'b "c" \\d <e>')
    assert (option.place, option.context) == (f"{host.root}/inc/a b.conf:2", ("<VirtualHost *:1>",))
    (daemon,) = configuration.named("WSGIDaemonProcess")
    assert apache_configuration.options(daemon) == {
        "": "one",
        "user": "nobody",
        "python-eggs": "/var/x y",
        "threads": "1",
    }


def test_words_are_what_apache_makes_of_them(host: Host) -> None:
    """Quotes and backslashes are taken away as Apache does: it finds the file that we say an argument names."""
    env = f"LoadModule env_module {MODULES}/mod_env.so"
    for written in ('"a b"', "'a \"b'", '"a \\"b\\" \\\\c"', "a\\\\b", "'a \\' b'", '"a\\b"', 'a"b', "'a\\\"b'"):
        argument = f"{written[0]}{host.root}/{written[1:]}" if written[0] in "\"'" else f"{host.root}/{written}"
        (directive,) = host.read(f"SetEnv X {argument}", [env]).named("SetEnv")
        assert len(directive.words) == 2
        Path(directive.words[1]).write_text("ServerAdmin found\n")
        (admin,) = host.read(f"Include {argument}").named("ServerAdmin")
        assert admin.file == directive.words[1]
        os.unlink(admin.file)


def test_embedded_python_is_known_to_the_last_digit(host: Host, debian_python: Interpreter) -> None:
    """The modules' versions are Debian's packages', and the Python that they embed is Debian's, to the last digit."""
    configuration = host.read("", ["python", "wsgi"])
    assert [(e.module, e.file) for e in configuration.embedded] == [
        ("mod_python", f"{MODULES}/mod_python.so"),
        ("mod_wsgi", f"{MODULES}/mod_wsgi.so"),
    ]
    for embedded, package in zip(configuration.embedded, ("libapache2-mod-python", "libapache2-mod-wsgi-py3")):
        query = ["dpkg-query", "-W", "-f=${Version}", package]
        version = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        assert embedded.version
        assert version.startswith(embedded.version)
        assert embedded.python == debian_python.version
        assert re.search(r"/libpython3\.[0-9]+\.so\.1\.0$", embedded.libpython or "")
    assert host.read("").embedded == ()


def test_file_of_a_module_is_not_guessed(host: Host, shared_tmp: Path, debian_python: Interpreter) -> None:
    """A Define in a LoadModule is resolved. Of two files, of which a condition chooses one, and of one that a variable
    of the environment names, nothing is told, so that no target is taken for another Python."""
    (shared_tmp / "mods").mkdir()
    shutil.copy(f"{MODULES}/mod_wsgi.so", shared_tmp / "mods")
    named = f"Define MD {shared_tmp}/mods\nLoadModule wsgi_module ${{MD}}/mod_wsgi.so"
    (embedded,) = host.read("", [named]).embedded
    assert (embedded.file, embedded.python) == (f"{shared_tmp}/mods/mod_wsgi.so", debian_python.version)
    python27 = Interpreter("/opt/bin/python2.7", (2, 7, 18), "/opt", (), None, None)
    assert codes(host.findings("", [named], interpreter=python27)) == ["other-python"]
    with (host.root / "envvars").open("a") as envvars:
        envvars.write(f"export WHERE={MODULES}\n")
    old = f"<IfDefine OLD>\nLoadModule wsgi_module {MODULES}/mod_wsgi.so\n</IfDefine>\n"
    for text in (f"{old}<IfDefine !OLD>\n{named}\n</IfDefine>", "LoadModule wsgi_module ${WHERE}/mod_wsgi.so"):
        (embedded,) = host.read("", [text]).embedded
        assert (embedded.file, embedded.libpython, embedded.python) == (None, None, ())
        assert host.findings("", [text], interpreter=python27) == []


def test_python_of_a_libpython() -> None:
    """A libpython of any version says its own, and not that of the Python that asks it."""
    asked = 0
    for library in sorted(
        Path(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))).glob("versions/*/lib/libpython?.*.so.1.0")
    ):
        wanted = tuple(map(int, library.parent.parent.name.split(".")))
        assert apache_configuration._python(str(library)) == wanted
        asked += wanted[:2] != sys.version_info[:2]
    if not asked:
        missing("pyenv has no libpython of another version than the one that runs the tests")


def test_python_of_what_cannot_be_loaded(tmp_path: Path) -> None:
    """Where a library cannot be loaded its name has to do, and without a name nothing is known."""
    (tmp_path / "libpython2.7.so.1.0").write_text("no library")
    assert apache_configuration._python(str(tmp_path / "libpython2.7.so.1.0")) == (2, 7)
    assert apache_configuration._python(str(tmp_path / "libpython.so")) == ()
    assert apache_configuration._python(None) == ()


@pytest.fixture
def running(host: Host) -> Iterator[Host]:
    """An Apache that runs, with mod_wsgi loaded by a line that only Apache can resolve."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        host.port = listener.getsockname()[1]
    with (host.root / "envvars").open("a") as envvars:
        envvars.write(f"export WHERE={MODULES}\n")
    host.write("", ["LoadModule wsgi_module ${WHERE}/mod_wsgi.so"])
    server = subprocess.Popen(
        ["/usr/sbin/apache2", "-d", str(host.root), "-DFOREGROUND"],
        env={**os.environ, "WHERE": MODULES},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # when it ends it signals its whole process group
    )
    try:
        for _ in range(200):
            if host.pid_file.exists() and host.pid_file.read_text().strip():
                break
            time.sleep(0.05)
        yield host
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_a_running_apache_tells(running: Host, debian_python: Interpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no LoadModule names the file, the memory of the running Apache does; a pid file of another's does not."""
    monkeypatch.setattr(apache_configuration, "_PLACES", (MODULES + "/..",))
    host = apache.read()
    configuration = apache_configuration.read(host)
    (embedded,) = configuration.embedded
    # The file's own name: mod_wsgi.so is a link
    assert (embedded.file or "").startswith(f"{MODULES}/mod_wsgi.so")
    assert embedded.python == debian_python.version
    running.pid_file.write_text(f"{os.getpid()}\n")
    (embedded,) = apache_configuration.read(host).embedded
    assert (embedded.file, embedded.libpython, embedded.python) == (None, None, ())


# ------------------------------------------------------------------------------------------ where it does not tell


def test_without_apache_there_is_no_configuration() -> None:
    """Without Apache there is nothing to read and nothing wrong."""
    if os.path.exists("/usr/sbin/httpd") or os.path.exists("/usr/local/apache2/bin/httpd"):
        missing("this host has an httpd besides Debian's apache2")
    configuration = apache_configuration.read(apache.Apache())
    assert configuration == Configuration()
    assert apache_findings.host_findings(configuration, cache="/none") == ()


def test_refused_configuration_is_a_finding_in_apaches_words(host: Host) -> None:
    """A configuration that Apache refuses is a finding, in Apache's own words; a right one is none."""
    assert host.findings("") == []
    (finding,) = host.findings("Nonsense")
    assert finding.code == "apache-configuration"
    assert finding.thing == "/usr/sbin/apache2ctl"
    assert "Nonsense" in finding.cause or "Invalid command" in finding.cause


def test_without_mod_info(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mod_info.so Apache cannot be asked, and that is said; where it is loaded already it is used."""
    configuration = host.read("PythonDebug on", ["python", f"LoadModule info_module {MODULES}/mod_info.so"])
    assert [line.name for line in configuration.named("PythonDebug")] == ["PythonDebug"]
    monkeypatch.setattr(apache_configuration, "_info", lambda shared: [])
    (finding,) = host.findings("", ["authz_host"])
    assert finding.code == "apache-configuration"
    assert "mod_info.so is not installed" in finding.cause


def script(path: Path, body: str) -> apache.Apache:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return apache.Apache(apachectl=str(path))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("exit 3", "it ended with status 3"),
        ("echo >&2 one; printf 'AH1: \\033[31mtwo\\n\\n' >&2; exit 1", "AH1: ?[31mtwo"),
        ("sleep 600", "no answer within 1 s"),
        ("sleep 600 & exec sleep 600 >&- 2>&-", "no answer within 1 s"),
        ("yes", "it prints more than 0 MiB"),
        ("yes >&2", "it prints more than 0 MiB"),
        ("echo", "it does not say what it loads"),
        ("echo ' core_module (static)'", "what Apache prints makes no sense: line 1 of it stands nowhere"),
        (
            "case $* in *DUMP_MODULES*) echo ' core_module (static)';; esac",
            "what Apache prints makes no sense: it is empty",
        ),
    ],
)
def test_an_apachectl_that_misbehaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, problem: str) -> None:
    """Whatever apachectl does, the answer is there in time, and it is why there is no configuration."""
    monkeypatch.setattr(apache, "_TIMEOUT", 1)
    monkeypatch.setattr(apache, "_LONGEST", 1 << 18)
    monkeypatch.setattr(apache_configuration, "_PLACES", (str(tmp_path),))
    (tmp_path / "mod_info.so").touch()
    configuration = apache_configuration.read(script(tmp_path / "apachectl", body))
    assert (configuration.problem, configuration.directives) == (problem, ())
    (finding,) = apache_findings.host_findings(configuration, cache="/none")
    assert finding.code == "apache-configuration"


def test_apache_is_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the user, the modules and the whole configuration together, an Apache reads its configuration twice."""
    monkeypatch.setattr(apache_configuration, "_PLACES", (str(tmp_path),))
    (tmp_path / "mod_info.so").touch()
    answers = 'User: name="www-data" id=33\\n core_module (static)\\n'
    dump = f"# In file: {tmp_path}/conf\\n#   1:\\nListen 80\\n"
    body = f"echo $* >>{tmp_path}/log; case $* in *DUMP_MODULES*) printf '{answers}';; *) printf '{dump}';; esac"
    host = apache.read(script(tmp_path / "apachectl", body).apachectl)
    configuration = apache_configuration.read(host)
    assert (host.user, configuration.problem, configuration.modules) == ("www-data", "", {"core_module"})
    assert [directive.name for directive in configuration.directives] == ["Listen"]
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_answer_of_another_apache_is_asked_for_anew(tmp_path: Path) -> None:
    """What one Apache said of its modules is not taken for another one, of which a caller has read the first's host."""
    first, second = (
        script(tmp_path / name, f"printf ' {name}_module (static)\\n'").apachectl for name in ("first", "second")
    )
    host = apache.read(first)
    assert apache_configuration.read(host).modules == {"first_module"}
    assert apache_configuration.read(replace(host, apachectl=second)).modules == {"second_module"}


@pytest.mark.parametrize(
    "text",
    [
        "Listen 80",
        "# In file: /x\nListen 80",
        "#  1:\nListen 80",
        "# In file: /x\n# 1:\n</Location>",
        "# In file: /x\n# 1:\n<Location />\n# 2:\n</Locations>",
        "# In file: /x\n# 1:\n<Location />\n",
        "# something else",
        "# 1234567890123:",
        "Syntax OK",
    ],
)
def test_a_dump_that_makes_no_sense(text: str) -> None:
    """What mod_info never prints is refused."""
    with pytest.raises(ValueError, match="it"):
        list(apache_configuration.parse(text))


def test_no_directive_is_for_the_time_zone(host: Host) -> None:
    """Neither Apache nor mod_wsgi, mod_python or mod_fcgid has a directive for the time zone, nor has
    WSGIDaemonProcess an option for it."""
    host.write("", ["wsgi", "python", "env", "fcgid"])
    apache2 = ["/usr/sbin/apache2", "-d", str(host.root)]
    listed = subprocess.run([*apache2, "-L"], capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^(\S+) \(", listed, re.MULTILINE)
    assert {"WSGIPythonEggs", "PythonOption", "SetEnv", "FcgidInitialEnv", "ServerName"} <= {*names}
    assert [name for name in names if re.search("zone|tz", name.replace("Authz", ""), re.IGNORECASE)] == []
    for option, status in (("lang=C", 0), ("tz=UTC", 1), ("timezone=UTC", 1)):
        host.write(f"WSGIDaemonProcess shop {option}", ["wsgi"])
        result = subprocess.run([*apache2, "-t"], capture_output=True, text=True)
        assert (result.returncode, "Invalid option" in result.stderr) == (status, bool(status))


# ---------------------------------------------------------------------------------------------- mod_python's own


def test_old_mod_python(host: Host) -> None:
    """A mod_python before 3.2.7 is a finding, told from the very module that Apache loads; Debian's is none."""
    for version, expected in (
        ("3.2.6", ["mod-python-old"]),
        ("3.2.7", []),
        ("3.2.10", []),
        ("2.7.11", ["mod-python-old"]),
    ):
        data = Path(f"{MODULES}/mod_python.so").read_bytes()
        name = re.search(rb"mod_python/[^\0]+\0", data)
        assert name
        old = f"mod_python/{version}".encode().ljust(len(name[0]), b"\0")
        (host.root / "mod_python.so").write_bytes(data.replace(name[0], old))
        findings = host.findings("", [f"LoadModule python_module {host.root}/mod_python.so"])
        assert codes(findings) == expected
        assert all(finding.thing == f"{host.root}/mod_python.so" and version in finding.cause for finding in findings)
    assert host.findings("", ["python"]) == []


def test_missing_mutex_option_is_a_finding(host: Host) -> None:
    """Each of the manual's two mutex options that is missing is a finding; in a section they do not count."""
    both = ["mod-python-mutex-directory", "mod-python-mutex-locks"]
    directory, _ = host.findings("PidFile /srv/run/apache.pid", ["python"], mutex=False)
    assert directory.remedy.text == 'add after its LoadModule: PythonOption mod_python.mutex_directory "/srv/run"'
    directory, _ = host.findings("PidFile logs/apache.pid", ["python"], mutex=False)
    assert directory.remedy.text.endswith(' "/var/run"')
    assert codes(host.findings("", ["python"], mutex=False)) == both
    assert codes(host.findings("PythonOption mod_python.mutex_locks 8", ["python"], mutex=False)) == both[:1]
    assert codes(host.findings(f"<VirtualHost *:1>\n{MUTEX}</VirtualHost>", ["python"], mutex=False)) == both
    assert host.findings(MUTEX, ["python"], mutex=False) == []
    assert host.findings("", ["wsgi"], mutex=False) == []


WITHOUT_SEMAPHORES = """
echo 0 0 0 0 >/proc/sys/kernel/sem
! ipcmk --semaphore 1 2>/dev/null || exit 99
exec /usr/sbin/apache2 -d "$1" -DFOREGROUND
"""


IN_A_SECTION = f"<VirtualHost *:1>\n{MUTEX}</VirtualHost>\n"


@pytest.mark.parametrize("options", ["", IN_A_SECTION, MUTEX.replace("logs", "logs/none").splitlines()[0], MUTEX])
def test_debians_mod_python_has_no_lock_that_could_fail(host: Host, options: str) -> None:
    """Where the kernel gives no semaphore, Debian's mod_python starts with the two options and without. What it says of
    its locks is in the error log: the directory, for which /tmp was compiled in, and the number. There is no file. In a
    section the options have no effect."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        host.port = listener.getsockname()[1]
    host.write(options, ["python"], mutex=False)
    before = set(os.listdir("/tmp"))
    command = ["unshare", "--ipc", "sh", "-c", WITHOUT_SEMAPHORES, "sh", str(host.root)]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    log, told = host.root / "logs" / "error.log", ""
    try:
        wait_for(lambda: server.poll() is not None or (log.exists() and "resuming normal" in log.read_text()))
        told = log.read_text()
        assert server.poll() is None, told
    finally:
        server.terminate()
        assert server.stderr
        assert server.communicate(timeout=20)[1] == b""
    directory = {"": "/tmp", IN_A_SECTION: "/tmp", MUTEX: "logs/"}.get(options, "logs/none/")
    assert f"mod_python: using mutex_directory {directory} " in told
    assert f"mod_python: Creating {32 if options == MUTEX else 8} session mutexes" in told
    assert not any("mutex" in line and ":error]" in line for line in told.splitlines())
    assert not any(name.startswith("mpmtx") for name in {*os.listdir("/tmp")} - before)
    assert os.listdir(host.root / "logs") == ["error.log"]


def test_python_debug_is_a_finding_wherever_it_stands(host: Host) -> None:
    """PythonDebug on is a finding wherever it stands, the last of a section counting; off is none."""
    findings = host.findings(
        "<Location /a>\nPythonDebug on\n</Location>\n<Location /b>\nPythonDebug On\n</Location>", ["python"]
    )
    assert codes(findings) == ["mod-python-debug"] * 2
    assert re.fullmatch(rf"{host.root}/apache2\.conf:[0-9]+", findings[0].thing)
    assert host.findings("PythonDebug off", ["python"]) == []
    assert host.findings("PythonDebug on\nPythonDebug off", ["python"]) == []


def test_the_manuals_own_apache_configuration(host: Host) -> None:
    """The manual's sample, once the module's path is Debian's, deserves one finding: PythonDebug on."""
    location = (
        "<Location /myapp>\n    SetHandler python-program\n    PythonHandler modpython_gateway::handler\n"
        "    PythonOption wsgi.application cherrypy._cpwsgi::wsgiApp\n    PythonFixupHandler myapp_modpython\n"
        "    PythonDebug on\n</Location>"
    )
    findings = host.findings(MUTEX + location, ["python"], mutex=False, cache="/tmp/turbogears-eggcache")
    assert codes(findings) == ["mod-python-debug"]


# --------------------------------------------------------------------------------------------------- which Python


def test_mod_python_and_mod_wsgi_together_are_a_finding(host: Host) -> None:
    """mod_python and mod_wsgi 4 together are a finding, and rightly: Apache finds the syntax OK and does not start."""
    (finding,) = host.findings("", ["python", "wsgi"])
    assert finding.code == "mod-python-and-mod-wsgi"
    assert host.findings("", ["python"]) == []
    assert host.findings("", ["wsgi"]) == []
    host.write("", ["python", "wsgi"])
    apache2 = ["/usr/sbin/apache2", "-d", str(host.root)]
    assert subprocess.run([*apache2, "-t"], capture_output=True).returncode == 0
    started = subprocess.run([*apache2, "-DFOREGROUND"], capture_output=True, timeout=20, start_new_session=True)
    assert started.returncode != 0


def test_target_of_another_version_is_a_finding(host: Host, debian_python: Interpreter) -> None:
    """A target of another version than the one Apache embeds is a finding; the embedded one itself is none."""
    python27 = Interpreter("/opt/bin/python2.7", (2, 7, 18), "/opt", (), None, None)
    for module in ("python", "wsgi"):
        (finding,) = host.findings("", [module], interpreter=python27)
        assert finding.code == "other-python"
        assert finding.thing == f"{MODULES}/mod_{module}.so"
        assert "/opt/bin/python2.7 is Python 2.7.18" in finding.cause
        assert host.findings("", [module], interpreter=debian_python) == []
    assert host.findings("", interpreter=python27) == []


def test_installation_of_mod_wsgi_has_to_be_the_targets(host: Host, debian_python: Interpreter) -> None:
    """Where mod_wsgi is told which installation it is of, one that is told has to be the target's."""
    venv = other(debian_python, "/srv/venv", "/srv/venv/lib/python3/site-packages")
    (finding,) = host.findings("WSGIPythonHome /usr", ["wsgi"], interpreter=venv)
    assert finding.code == "other-python"
    assert "/usr" in finding.cause
    assert "/srv/venv" in finding.cause
    assert codes(host.findings("WSGIDaemonProcess a python-home=/srv/old", ["wsgi"], interpreter=venv)) == [
        "other-python"
    ]
    for text in (
        "WSGIPythonHome /srv/venv/",
        "WSGIPythonHome /usr\nWSGIDaemonProcess a python-home=/srv/venv",
        "WSGIDaemonProcess a python-home=/srv/old\nWSGIDaemonProcess b python-home=/srv/venv",
        "WSGIDaemonProcess a python-home=/srv/old\nWSGIDaemonProcess b",  # of b nothing is told
        "WSGIDaemonProcess a python-home=/usr python-path=/srv/venv/lib/python3/site-packages:/x",
        "",
    ):
        assert host.findings(text, ["wsgi"], interpreter=venv) == [], text


@pytest.mark.parametrize(
    "proxy",
    [
        "ProxyPass /shop http://127.0.0.1:8000/",
        "ProxyPassMatch ^/shop/(.*) http://127.0.0.1:8000/$1",
        "RewriteEngine on\nRewriteRule ^/shop/(.*) http://127.0.0.1:8000/$1 [L,P]",
        '<Location /shop>\nSetHandler "proxy:http://127.0.0.1:8000"\n</Location>',
    ],
)
def test_server_beside_apache(host: Host, debian_python: Interpreter, proxy: str) -> None:
    """An Apache that embeds another Python and proxies does not run the target: neither its Python nor its caches are
    findings. One that may run the target is compared with it, whatever it proxies."""
    python27 = Interpreter("/opt/bin/python2.7", (2, 7, 18), "/opt", (), None, None)
    modules = ["wsgi", "proxy", "proxy_http", "rewrite"]
    text = f"WSGIPythonEggs /var/other\n{proxy}"
    configuration = host.read(text, modules)
    assert "Python 2.7.18" in apache_findings.beside(configuration, python27, None)
    assert f"{host.root}/apache2.conf:" in apache_findings.beside(configuration, python27, None)
    assert host.findings(text, modules, interpreter=python27, cache="/var/c") == []
    assert apache_findings.beside(configuration, debian_python, None) == ""
    assert codes(host.findings(text, modules, interpreter=debian_python, cache="/var/c")) == ["egg-cache-elsewhere"]
    exception = "WSGIPythonEggs /var/other\nProxyPass /shop !"
    assert codes(host.findings(exception, modules, interpreter=python27)) == ["other-python"]
    assert "Apache runs no Python" in apache_findings.beside(host.read(proxy, modules), debian_python, None)
    assert apache_findings.beside(host.read("", modules), debian_python, None) == ""


def test_user_that_apache_has_no_process_of(host: Host) -> None:
    """A target of a user that Apache has no process of is not Apache's to run; its own user's and its daemons' are."""
    python27 = Interpreter("/opt/bin/python2.7", (2, 7, 18), "/opt", (), None, None)
    configuration = host.read("WSGIDaemonProcess one user=nobody\nWSGIDaemonProcess two user=#1", ["wsgi"])
    for name in ("www-data", "nobody", "daemon"):
        assert apache_findings.beside(configuration, python27, accounts.lookup(name)) == ""
    assert "no process of Apache's is mail's" in apache_findings.beside(
        configuration, python27, accounts.lookup("mail")
    )


# ----------------------------------------------------------------------------------------------------- which cache


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("wsgi", "WSGIPythonEggs DIR"),
        ("wsgi", 'WSGIDaemonProcess a python-eggs="DIR"'),
        ("python", "PythonOption eggcache.directory DIR"),
        ("python", "PythonOption PYTHON_EGG_CACHE DIR\nPythonHandler trac.web.modpython_frontend"),
    ],
)
def test_directive_with_another_cache_is_a_finding(host: Host, module: str, text: str) -> None:
    """A directive that names another directory than the cache that is checked is a finding; the same one is none."""
    (finding,) = host.findings(text.replace("DIR", "/var/other"), [module], cache="/var/cache/eggcache")
    assert finding.code == "egg-cache-elsewhere"
    assert "/var/other" in finding.cause
    assert (
        host.findings(text.replace("DIR", "/var/cache/../cache/eggcache/"), [module], cache="/var/cache/eggcache") == []
    )
    assert host.findings(text.replace("DIR", "/var/other"), [module]) == []


@pytest.mark.parametrize("text", ["WSGIPythonEggs /var/c", "WSGIDaemonProcess a python-eggs=/var/c"])
def test_cache_that_a_directive_names(host: Host, text: str) -> None:
    """Where a directive names the cache, the environment that a running Apache was started with is no matter."""
    assert apache_findings.names_cache(host.read(text, ["wsgi"]), "/var/c")
    assert not apache_findings.names_cache(host.read(text, ["wsgi"]), "/var/other")
    assert not apache_findings.names_cache(host.read("", ["wsgi"]), "/var/c")


def test_caches_of_several_applications(host: Host) -> None:
    """It is enough that one process group has the cache; WSGIPythonEggs is not for process groups, and helps none."""
    two = "WSGIDaemonProcess a python-eggs=/var/a\nWSGIDaemonProcess b python-eggs=/var/b"
    assert host.findings(two, ["wsgi"], cache="/var/b") == []
    assert codes(host.findings(two, ["wsgi"], cache="/var/c")) == ["egg-cache-elsewhere"] * 2
    assert (
        codes(host.findings(f"WSGIPythonEggs /var/c\n{two}", ["wsgi"], cache="/var/c")) == ["egg-cache-elsewhere"] * 2
    )
    assert host.findings(f"WSGIPythonEggs /var/c\n{two}", ["wsgi"], cache="/var/a") == []


@pytest.mark.parametrize("module", ["python", "wsgi"])
def test_what_has_no_effect(host: Host, module: str) -> None:
    """SetEnv PYTHON_EGG_CACHE, and mod_python's bare option, reach no environment; a CGI script gets the first."""
    env = f"LoadModule env_module {MODULES}/mod_env.so"
    (finding,) = host.findings("SetEnv PYTHON_EGG_CACHE /var/c", [module, env], cache="/var/c")
    assert finding.code == "egg-cache-ignored"
    if module == "python":
        assert codes(host.findings("PythonOption PYTHON_EGG_CACHE /c", [module], cache="/c")) == ["egg-cache-ignored"]
    assert host.findings("SetEnv OTHER /var/c", [module, env], cache="/var/c") == []
    assert host.findings("SetEnv PYTHON_EGG_CACHE /var/c", [env], cache="/var/c") == []


THEIRS = "PythonPath \"['/srv/x'] + sys.path\"\n"
IMPORT = "PythonImport eggcache_modpython::at_start main_interpreter\n"
OURS = f"PythonPath \"['DIR', '/srv/y'] + sys.path\"\n{IMPORT}"


@pytest.mark.parametrize(
    ("text", "of_wrapper", "ignored"),
    [
        ("", None, False),
        (THEIRS, False, False),
        (OURS, True, False),
        (OURS.replace("DIR", "/srv/y"), True, True),
        (IMPORT, None, True),
        (THEIRS + OURS, True, False),
        (OURS + THEIRS, False, True),
        (OURS + "PythonPath sys.path+more()\n", False, False),  # what that adds cannot be told
        (f"{OURS}<Location /a>\n{THEIRS}</Location>\n<VirtualHost *:1>\n{THEIRS}</VirtualHost>\n", True, False),
        (f"PythonPath \"['DIR/'] + (['/srv/x'] + sys.path)\"\n\n{IMPORT}", False, False),
        (f'PythonPath "[\\"DIR\\"] + sys.path"\n\n{IMPORT}', False, False),
    ],
)
def test_last_python_path_counts_alone(
    host: Host, debian_python: Interpreter, text: str, of_wrapper: bool | None, ignored: bool
) -> None:
    """Of the PythonPaths outside of sections the last one has to have the wrapper's module, or Apache's Python gets no
    cache from a PythonOption; one that stands elsewhere than above the wrapper's PythonImport is the site's own."""
    (host.root / python_path.MODULE).touch()
    text = text.replace("DIR", str(host.root))
    findings = host.findings(text, ["python"], interpreter=debian_python)
    assert codes(findings) == (["egg-cache-ignored"] if ignored else [])
    assert host.findings(text, ["python"], interpreter=replace(debian_python, path=(str(host.root),))) == []
    configuration = host.read(text, ["python"])
    line = python_path.last(configuration, "", range(0))
    assert (line and python_path.of_wrapper(configuration, line)) == of_wrapper
    # What the wrapper is going to replace does not count
    file = str(host.root / "apache2.conf")
    assert python_path.last(configuration, file, range(1, 99)) is None
    assert python_path.last(configuration, "/other", range(1, 99)) == line


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "expression", ["['/srv/x', '\\d'] + sys.path", f"{'(' * 300}['/srv/x'] + sys.path{')' * 300}", "['/srv/x', 017]"]
)
def test_python_path_of_any_form_is_read(expression: str) -> None:
    """An escape that means nothing, brackets beyond what Python's parser takes, and a Python 2's number are no error,
    and no warning on the terminal."""
    line = Directive("PythonPath", f'"{expression}"', "/etc/apache2/a.conf", 1)
    assert "/srv/x" in python_path.named(line)


@pytest.mark.parametrize("name", ["/srv/a b", "/srv/it's", "/srv/año", "/srv/\udcff", "/srv/x/"])
def test_names_of_a_python_path_are_read_as_they_were_written(host: Host, name: str) -> None:
    """What a wrapper has written into a PythonPath is read there again, whatever its name."""
    written = modpython.python_path_of([name, "/srv/z"], "(['/srv/y'] + sys.path)")
    line = python_path.last(host.read(written, ["python"]), "", range(0))
    assert line
    assert {os.path.normpath(name), "/srv/z", "/srv/y"} <= set(python_path.named(line))


SCRIPTS = {
    "if 'PYTHON_EGG_CACHE' in environ:\n    os.environ['PYTHON_EGG_CACHE'] = environ['PYTHON_EGG_CACHE']\n": True,
    "for name in ('HOME', 'PYTHON_EGG_CACHE'):\n    os.environ[name] = environ.get(name)\n": True,
    "os.environ['PYTHON_EGG_CACHE'] = '/var/c'\n": False,
    "cache = os.environ.get('PYTHON_EGG_CACHE')\n# environ['PYTHON_EGG_CACHE']\n": False,
    "": False,
}


@pytest.mark.parametrize("named", ["/", "/site.wsgi", "Match"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_setenv_that_the_application_reads(host: Host, script: str, named: str) -> None:
    """Where the script itself takes the cache from the WSGI environment, as Trac's does, SetEnv decides: it is not said
    to have no effect, and what it names is compared. Nobody is told to take it out anywhere."""
    env = f"LoadModule env_module {MODULES}/mod_env.so"
    (host.root / "scripts").mkdir()
    (host.root / "scripts" / "site.wsgi").write_text(f"import os\n{script}")
    alias = f"WSGIScriptAlias /site {host.root}/scripts{named}"
    if named == "Match":
        alias = f"WSGIScriptAliasMatch ^/([a-z]+) {host.root}/scripts/$1.wsgi"
    text = f"{alias}\nSetEnv PYTHON_EGG_CACHE /var/c"
    findings = host.findings(text, ["wsgi", env], cache="/var/c")
    assert codes(findings) == ([] if SCRIPTS[script] else ["egg-cache-ignored"])
    assert not any("take it out" in finding.remedy.text for finding in findings)
    assert apache_findings.names_cache(host.read(text, ["wsgi", env]), "/var/c") == SCRIPTS[script]
    if SCRIPTS[script]:
        (finding,) = host.findings(text, ["wsgi", env], cache="/var/other")
        assert finding.code == "egg-cache-elsewhere"


@pytest.fixture
def cache(shared_tmp: Path) -> Path:
    """A cache as `prepare` leaves it for www-data, with a receipt that only root can read."""
    made = shared_tmp / "cache"
    (made / "a.egg-tmp" / "a").mkdir(parents=True)
    (made / "a.egg-tmp" / "a" / "x.txt").touch()
    (made / ".eggcache.json").touch(0o600)
    for path in (made, made / "a.egg-tmp", made / "a.egg-tmp" / "a", made / "a.egg-tmp" / "a" / "x.txt"):
        shutil.chown(path, "root", "www-data")
        path.chmod(0o750 if path.is_dir() else 0o640)
    return made


def test_daemons_that_cannot_read_the_cache(host: Host, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process group whose user cannot read the cache is a finding, which names what is in the way."""
    (finding,) = host.findings("WSGIDaemonProcess one user=nobody group=nogroup", ["wsgi"], cache=str(cache))
    assert finding.code == "daemon-user-cannot-read"
    assert (
        finding.cause
        == f"the processes of one run as nobody, and user nobody cannot read the cache: {cache} is root's, mode 0750"
    )
    # mod_wsgi takes Apache's own group where none is given, whatever the user's is
    assert host.findings("WSGIDaemonProcess one user=nobody", ["wsgi"], cache=str(cache)) == []
    assert host.findings("WSGIDaemonProcess one", ["wsgi"], cache=str(cache)) == []
    assert host.findings("WSGIDaemonProcess one user=nobody group=#33", ["wsgi"], cache=str(cache)) == []
    supplementary = "WSGIDaemonProcess one user=nobody group=nogroup supplementary-groups=www-data"
    assert host.findings(supplementary, ["wsgi"], cache=str(cache)) == []
    assert host.findings("WSGIDaemonProcess one user=nobody group=#54321", ["wsgi"], cache=str(cache)) != []
    eggs = "WSGIDaemonProcess one user=nobody group=nogroup python-eggs=/var/x\nWSGIDaemonProcess two python-eggs="
    assert host.findings(f"{eggs}{cache}", ["wsgi"], cache=str(cache)) == []
    for path in (cache / "a.egg-tmp" / "a" / "x.txt", cache / "a.egg-tmp" / "a", cache / "a.egg-tmp"):
        mode = path.stat().st_mode
        for wrong in (0o700, 0o710, 0o740) if path.is_dir() else (0o600,):
            path.chmod(wrong)
            (finding,) = host.findings("WSGIDaemonProcess one", ["wsgi"], cache=str(cache))
            assert finding.code == "daemon-user-cannot-read"
            assert str(path) in finding.cause
        path.chmod(mode)
    assert host.findings("WSGIDaemonProcess one", ["wsgi"], cache=str(cache / "none")) == []
    assert os.geteuid() == 0
    # No user of a plain Debian is in a second group
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, accounts.group("www-data")])
    assert host.findings("WSGIDaemonProcess one user=nobody group=nogroup", ["wsgi"], cache=str(cache)) == []


def test_daemons_of_another_application(host: Host, cache: Path, debian_python: Interpreter) -> None:
    """A process group of another Python is another application, which needs no cache of this one's: with the group of
    the cache it would get rights for nothing."""
    venv = other(debian_python, "/srv/shop", "/srv/shop/lib")
    shop = "WSGIDaemonProcess shop python-home=/srv/shop\n"
    for words, expected in (
        ("python-home=/srv/django", []),
        ("python-home=/srv/shop/", ["daemon-user-cannot-read"]),
        ("python-home=/usr python-path=/srv/shop/lib", ["daemon-user-cannot-read"]),
        ("", ["daemon-user-cannot-read"]),
    ):
        text = f"{shop}WSGIDaemonProcess django user=games group=games {words}"
        assert codes(host.findings(text, ["wsgi"], interpreter=venv, cache=str(cache))) == expected, words


def test_whom_a_daemon_runs_as(running: Host) -> None:
    """What eggcache reckons for a process group is what its processes have: asked of the kernel."""
    text = "WSGIDaemonProcess one user=bin processes=1 threads=1"  # nobody's processes are the other tests'
    running.write(text, ["wsgi"])
    subprocess.run(["/usr/sbin/apache2", "-d", str(running.root), "-k", "restart"], check=True, capture_output=True)
    configuration = apache_configuration.read(apache.read())
    (daemon,) = configuration.named("WSGIDaemonProcess")
    account = apache_findings.daemon_account(configuration, daemon)
    assert account
    parent = int(running.pid_file.read_text())
    for _ in range(100):
        time.sleep(0.05)
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for child in children:
            status = Path(f"/proc/{child}/status").read_text()
            if re.search(rf"^Uid:\t{account.uid}\t", status, re.MULTILINE):
                gid = re.search(r"^Gid:\t([0-9]+)", status, re.MULTILINE)
                groups = re.search(r"^Groups:\t(.*)$", status, re.MULTILINE)
                assert gid
                assert groups
                assert int(gid[1]) == account.gid == accounts.group("www-data")
                assert {*map(int, groups[1].split())} <= {account.gid, *account.groups}
                return
    pytest.fail("no process of Apache runs as bin")


def test_options_and_words() -> None:
    """A name ends at "=", a value is a word by Apache's rules, and anything else is left alone."""
    line = Directive("WSGIDaemonProcess", "'a b' user=x python-eggs=\"/y \\\"z\\\"\" home='/q r' = lone x=", "/f", 1)
    assert apache_configuration.options(line) == {
        "": "a b",
        "user": "x",
        "python-eggs": '/y "z"',
        "home": "/q r",
        "x": "",
    }
    assert apache_configuration.options(Directive("WSGIDaemonProcess", "", "/f", 1)) == {"": ""}


# ------------------------------------------------------------------------------------------- what its scripts do


SETS = "import os\nos.environ['PYTHON_EGG_CACHE'] = '{}'\ndef application(environ, start): pass\n"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (SETS.format("/elsewhere"), None, ["egg-cache-elsewhere"]),
        (SETS.format("{cache}/../cache"), None, []),
        (SETS.format("/elsewhere"), SETS.format("/other"), ["egg-cache-elsewhere", "egg-cache-elsewhere"]),
        (SETS.format("/elsewhere"), SETS.format("{cache}"), []),  # that is this application's
        (SETS.format("/elsewhere"), "def application(environ, start): pass\n", ["another-application"]),
        ("import os, sys\nos.environ['PYTHON_EGG_CACHE'] = sys.prefix\n", None, ["another-application"]),
        ("import os\ndef application(environ, start):\n"
         "    os.environ['PYTHON_EGG_CACHE'] = environ['PYTHON_EGG_CACHE']\n", None, []),
        ("import os, time\nos.environ['TZ'] = 'Asia/Tokyo'\ntime.tzset()\n", None, ["time-zone"]),
        ("import os\nos.environ['TZ'] = 'UTC'\n", None, []),
        ("import os\nos.environ['TZ'] = 'Asia/Tokyo'\n", "", ["another-application"]),
        ("print 'x'\nimport os\nos.environ['PYTHON_EGG_CACHE'] = '/elsewhere'\n", None, ["egg-cache-elsewhere"]),
    ],
)  # fmt: skip
def test_what_scripts_set(
    host: Host, debian_python: Interpreter, first: str, second: str | None, expected: list[str]
) -> None:
    """A script that sets another cache or zone is named with its line; where another script may be the application's,
    that is a notice, unless the script is named; and one that was read by line is said to be."""
    cache, dates = host.root / "cache", [(2009, 6, 15, 12, 0, 0)]
    lines = []
    for name, text in (("first", first), ("second", second)):
        if text is not None:
            (host.root / f"{name}.wsgi").write_text(text.replace("{cache}", str(cache)))
            lines.append(f"WSGIScriptAlias /{name} {host.root}/{name}.wsgi")
    read = host.read("\n".join(lines), ["wsgi"])
    wanted = Prepare(str(cache), Target(debian_python.executable, timezone="UTC"), EVERYTHING)
    findings, by_line = script_findings.findings(read, wanted, debian_python, dates, ())
    assert codes(findings) == expected
    assert all(finding.status == (0 if finding.code == "another-application" else 3) for finding in findings)
    assert by_line == ([f"{host.root}/first.wsgi"] if "print 'x'" in first else [])
    assert all(re.match(rf"{host.root}/(first|second)\.wsgi:\d$", finding.thing) for finding in findings)
    assert all(("(read by line" in finding.cause) == bool(by_line) for finding in findings)
    named, _ = script_findings.findings(Configuration(), wanted, debian_python, dates, [f"{host.root}/first.wsgi"])
    sure = {"another-application"} if "sys.prefix" in first else {"egg-cache-elsewhere", "time-zone"}
    assert {finding.code for finding in named} <= sure
    if expected == ["another-application"]:
        assert len(named) == 1


def test_scripts_of_other_process_groups(host: Host, debian_python: Interpreter) -> None:
    """What a process group of another Python, or of another cache, runs is none of this application; an import script
    of its own is."""
    text = SETS.format("/elsewhere")
    for name in ("own", "other", "cached", "imported"):
        (host.root / f"{name}.wsgi").write_text(text)
    read = host.read(
        f"WSGIDaemonProcess own python-home={debian_python.prefix}\nWSGIDaemonProcess other python-home=/srv/other\n"
        f"WSGIDaemonProcess cached python-eggs=/srv/eggs\n"
        f"WSGIScriptAlias /own {host.root}/own.wsgi process-group=own\n"
        f"<VirtualHost *:1>\nWSGIProcessGroup other\nWSGIScriptAlias /other {host.root}/other.wsgi\n</VirtualHost>\n"
        f"WSGIScriptAlias /cached {host.root}/cached.wsgi process-group=cached\n"
        f"WSGIImportScript {host.root}/imported.wsgi process-group=own application-group=%{{GLOBAL}}\n",
        ["wsgi"],
    )
    wanted = Prepare(str(host.root / "cache"), Target(debian_python.executable, timezone="UTC"), EVERYTHING)
    findings, _ = script_findings.findings(read, wanted, debian_python, [], ())
    assert {finding.thing for finding in findings} == {f"{host.root}/own.wsgi:2", f"{host.root}/imported.wsgi:2"}
    assert codes(findings) == ["egg-cache-elsewhere"] * 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("WSGIDaemonProcess one python-path={eggs}/A-1.0.egg:/none", ["path-not-checked"]),
        ("WSGIDaemonProcess one python-path={eggs}", ["path-not-checked"]),
        ("WSGIDaemonProcess one python-path={root}/source", []),  # no eggs
        ("WSGIDaemonProcess one python-path={eggs}/checked", []),
        ("WSGIDaemonProcess one python-path={eggs} python-home=/srv/other", []),  # another application's
        ("WSGIDaemonProcess one python-path={eggs}\nWSGIDaemonProcess two python-path={eggs}/checked",
         ["another-application"]),
        ("WSGIDaemonProcess one python-path={eggs}\nWSGIDaemonProcess two", ["another-application"]),
        ("WSGIPythonPath {eggs}", ["path-not-checked"]),
        ("PythonPath \"['{eggs}'] + sys.path\"", ["path-not-checked"]),
    ],
)  # fmt: skip
def test_path_that_was_not_checked(host: Host, debian_python: Interpreter, line: str, expected: list[str]) -> None:
    """Eggs that Apache puts on the path, and that are on none that was checked, are named with the command that
    prepares them; directories without eggs, and those of another Python, are not."""
    eggs = host.root / "eggs"
    for directory in (eggs / "checked", host.root / "source"):
        directory.mkdir(parents=True)
    for egg in (eggs / "A-1.0.egg", eggs / "checked" / "B-1.0.egg"):
        egg.write_bytes(b"PK")
    read = host.read(line.format(eggs=eggs, root=host.root), ["python" if line.startswith("PythonPath") else "wsgi"])
    checked = Interpreter(
        debian_python.executable,
        debian_python.version,
        debian_python.prefix,
        (str(eggs / "checked"),),
        None,
        None,
        (),
        (),
    )
    wanted = Prepare("/cache", Target(debian_python.executable, ["/own"]), EVERYTHING)
    findings, _ = script_findings.findings(read, wanted, checked, [], ())
    assert codes(findings) == expected
    for finding in findings:
        assert f"--path /own --path {eggs}" in finding.remedy.command
        assert "/none" not in finding.remedy.command
