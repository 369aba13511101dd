"""What check says of a TurboGears configuration, beside what a real TurboGears 1.1.3 does by the emitted gateway.

A finding is given where it is true, is not given where it is false, and its remedy, followed as it stands, cures.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support.by_gateway import Asked, ByGateway, Told
from support.deployment import Deployment
from support.httpd import parent, wait_for
from support.parts import missing

from eggcache.model import Finding
from eggcache.proof import application
from eggcache.proof.application import Application
from eggcache.system import accounts
from eggcache.target.interpreter import Target

MYAPP = r"""
import logging
import turbogears
from turbogears import controllers, expose, redirect


class Root(controllers.RootController):
    @expose()
    def index(self):
        logging.getLogger("myapp").error("a line of the log")
        return "at %s" % turbogears.url("/there")

    @expose()
    def go(self):
        redirect("/there")

    @expose()
    def absolute(self):
        return controllers.absolute_url("/there")

    @expose()
    def fails(self):
        raise ValueError("of the source")
"""
QUIET = 'server.environment = "production"\nautoreload.on = False\n'
HOST = {"HTTP_HOST": "www.example.org"}
PROXY = {**HOST, "HTTP_X_FORWARDED_HOST": "public.example.org"}
SERVER = {**HOST, "HTTP_X_FORWARDED_SERVER": "www.example.org"}
LOG = "[logging]\n[[handlers]]\n[[[out]]]\nclass = '{}'\nargs = \"{}\"\n[[loggers]]\n[[[all]]]\nhandlers = ['out']\n"


class Running(ByGateway):
    """The same application, looked at and asked as nobody."""

    def findings(self, settings: str, location: str | None = None) -> list[Finding]:
        self.config.write_text(settings)
        os.chown(self.config, 0, (account := accounts.lookup("nobody")).gid)
        self.config.chmod(0o640)
        target = Target(str(self.tree.python), account=account)
        return list(application.findings(Application(str(self.config), location), target))

    def codes(self, settings: str, location: str | None = None) -> list[str]:
        return [finding.code for finding in self.findings(settings, location)]

    def told(self, settings: str, *requests: Asked) -> Told:
        return self.ask(settings, *requests, user="nobody")

    def cured(self, settings: str, location: str | None = None) -> str:
        """The settings, when the remedy of each finding is followed to the letter."""
        for finding in self.findings(settings, location):
            settings = followed(settings, finding.remedy.text)
        assert self.codes(settings, location) == []
        return settings


def followed(settings: str, remedy: str) -> str:
    """What somebody makes of `settings` who reads the remedy: set a name to a value in a section."""
    match = re.fullmatch(r"set (\S+) = (.+) in \[(.+?)\](?:, where mod_python serves it)?", remedy)
    if match is None:
        assert remedy.startswith("set base_url_filter.base_url in [global] to the scheme and host that visitors use")
        name, value, section = "base_url_filter.base_url", '"https://public.example.com"', "global"
    else:
        name, value, section = match.groups()
    lines, current = [], ""
    for line in settings.splitlines():
        current = line if line.startswith("[") else current
        if line.partition(" = ")[0] != name or current != f"[{section}]":
            lines.append(line)
    lines.insert(lines.index(f"[{section}]") + 1, f"{name} = {value}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def running(shared_tmp: Path, turbogears1_complete: Deployment) -> Running:
    """At /myapp."""
    if os.geteuid() != 0:
        missing("only root can give files to others and try them as another user")
    return Running(turbogears1_complete, shared_tmp, MYAPP)


# --------------------------------------------------------------------------------------------- redirects and links


def led(told: Told) -> tuple[str, int, str]:
    """Where a redirect leads, and what absolute_url() comes to."""
    assert told.ended is None, told.log
    redirect, absolute = told.answers
    ((location,), status) = redirect.headers["Location"], redirect.status
    assert status in (302, 303)
    return location, absolute.status, absolute.text if absolute.status == 200 else ""


def test_a_location_needs_no_base_url_filter(running: Running) -> None:
    """Without the filter redirects and links stay below the location, and on the host that was asked: no finding."""
    settings = f"[global]\n{QUIET}"
    assert running.codes(settings, "/myapp") == []
    told = running.told(settings, Asked("/go", environ=HOST), Asked("/absolute", environ=HOST))
    there = "http://www.example.org/myapp/there"
    assert led(told) == (there, 200, there)


@pytest.mark.parametrize("name", ["base_url_filter.on", "baseUrlFilter.on"])
def test_base_url_filter_without_its_url(running: Running, name: str) -> None:
    """Redirects lead to port 8080 of the visitor's own host, or to another server.socket_port, where no proxy names
    another, and absolute_url() is an error even behind one. With a base_url both are right, behind a proxy and without
    one; so they are without the filter."""
    settings = f"[global]\n{QUIET}{name} = True\n"
    assert running.codes(settings, "/myapp") == ["base-url-missing"]
    asked = [Asked(path, environ=environ) for environ in (HOST, PROXY) for path in ("/go", "/absolute")]
    told = running.told(settings, *asked)
    assert led(told._replace(answers=told.answers[:2])) == ("http://localhost:8080/myapp/there", 500, "")
    assert led(told._replace(answers=told.answers[2:])) == ("http://public.example.org/myapp/there", 500, "")

    told = running.told(running.cured(settings, "/myapp"), *asked)
    there = "https://public.example.com/myapp/there"
    assert led(told._replace(answers=told.answers[:2])) == (there, 200, there)
    assert led(told._replace(answers=told.answers[2:])) == ("http://public.example.org/myapp/there", 200, there)

    told = running.told(f"{settings}server.socket_port = 9090\n", *asked[:2])
    assert led(told) == ("http://localhost:9090/myapp/there", 500, "")

    off = settings.replace("True", "False")
    assert running.codes(off, "/myapp") == []
    there = "http://www.example.org/myapp/there"
    assert led(running.told(off, *asked[:2])) == (there, 200, there)


def test_somebody_knows_of_a_proxy(running: Running) -> None:
    """With use_x_forwarded_host on, redirects and absolute_url() are right behind a proxy that sends the header."""
    settings = f"[global]\n{QUIET}base_url_filter.on = True\nbase_url_filter.use_x_forwarded_host = True\n"
    assert running.codes(settings, "/myapp") == []
    there = "http://public.example.org/myapp/there"
    told = running.told(settings, Asked("/go", environ=PROXY), Asked("/absolute", environ=PROXY))
    assert led(told) == (there, 200, there)


@pytest.mark.parametrize(
    ("location", "webpath", "codes"),
    [
        ("/myapp", "/myapp", []),
        ("/myapp", "/myapp/", []),
        ("/my/app/", "/my/app", []),
        ("/myapp", "", []),
        ("/", "/", []),
        ("/myapp", "/other", ["webpath-elsewhere"]),
        ("/myapp", "/", ["webpath-elsewhere"]),
        ("/", "/myapp", ["webpath-elsewhere"]),
    ],
)
def test_webpath_has_to_be_the_location(running: Running, location: str, webpath: str, codes: list[str]) -> None:
    """Where server.webpath is another path than the location, every page is a 404; at the root, where a proxy sends
    X-Forwarded-Server, it is none, as the finding has it."""
    running = Running(running.tree, running.home, MYAPP, location)
    settings = f'[global]\n{QUIET}server.webpath = "{webpath}"\n'
    assert running.codes(settings, location) == codes
    answers = running.told(settings, Asked(), Asked(environ=SERVER)).answers
    proxied = 404 if codes and location != "/" else 200
    assert [answer.status for answer in answers] == [404 if codes else 200, proxied]
    for finding in running.findings(settings, location):
        assert ("X-Forwarded-Server" in finding.cause) == (proxied == 200)
    if codes:
        assert running.codes(settings) == []  # nobody has said where it is
        answers = running.told(running.cured(settings, location), Asked()).answers
    assert answers[0].text == f"at {location.rstrip('/')}/there"


def test_webpath_without_a_slash_is_the_same_path(running: Running) -> None:
    """TurboGears puts the slash in front by itself, where it takes the path off."""
    running = Running(running.tree, running.home, MYAPP, "/myapp")
    settings = f'[global]\n{QUIET}server.webpath = "myapp/"\n'
    assert running.codes(settings, "/myapp") == []
    assert [answer.status for answer in running.told(settings, Asked()).answers] == [200]


# ----------------------------------------------------------------------------------------- environment, autoreload


@pytest.mark.parametrize(
    ("settings", "codes"),
    [
        ("", ["not-production"]),
        ('server.environment = "development"\n', ["not-production"]),
        ('server.environment = "development"\nserver.show_tracebacks = False\n', []),
        ('server.environment = "staging"\n', []),
        ('server.environment = "staging"\n[/]\nserver.environment = "development"\n', ["not-production"]),
        ('server.environment = "embedded"\n', []),
        ('server.environment = ""\n', []),
        ('server.environment = "production"\n', []),
        ('server.environment = "production"\nserver.show_tracebacks = True\n', ["not-production"]),
        ('server.environment = "production"\nserver.showTracebacks = 1\n', ["not-production"]),
        ('server.environment = "production"\n[/]\nserver.show_tracebacks = True\n', ["not-production"]),
        ('server.environment = "prod"\n', ["environment-unknown"]),
        ('server.environment = "production"\n[/]\nserver.environment = "prod"\n', ["environment-unknown"]),
    ],
)
def test_who_sees_tracebacks(running: Running, settings: str, codes: list[str]) -> None:
    """not-production is said where visitors see tracebacks, and nowhere else; an environment that CherryPy has not
    ends the application at its start."""
    settings = f"[global]\nautoreload.on = False\n{settings}"
    assert running.codes(settings) == codes
    asked = Asked("/fails")
    told = running.told(settings, asked)
    if codes == ["environment-unknown"]:
        assert (told.ended or "").startswith("WrongConfigValue: ")
    else:
        (answer,) = told.answers
        assert (told.ended, answer.status) == (None, 500), told.log
        assert ("ValueError: of the source" in answer.text) == bool(codes)
    if codes:
        (answer,) = running.told(running.cured(settings), asked).answers
        assert (answer.status, "Traceback" in answer.text) == (500, False)


def test_environment_that_the_application_adds(running: Running) -> None:
    """An environment that only the application's own code has is one for CherryPy when that code has been imported."""
    adding = "import cherrypy\ncherrypy.config.environments['prod'] = cherrypy.config.environments['production']\n"
    settings = '[global]\nautoreload.on = False\nserver.environment = "prod"\n'
    told = Running(running.tree, running.home, adding + MYAPP).told(settings, Asked())
    assert (told.ended, [answer.status for answer in told.answers]) == (None, [200]), told.log


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ('server.environment = "production"\nautoreload.on = True\n', True),
        ('server.environment = "development"\nserver.show_tracebacks = False\n', True),
        ("server.show_tracebacks = False\n", True),
        ('server.environment = "staging"\n', False),
        ('server.environment = "embedded"\n', False),
        ("server.environment = None\n", False),
    ],
)
def test_autoreload_ends_the_application(running: Running, settings: str, ends: bool) -> None:
    """With the autoreloader the application ends while it starts, by SystemExit: it runs the program `mod_python`."""
    settings = f"[global]\n{settings}"
    assert running.codes(settings) == (["autoreload-on"] if ends else [])
    told = running.told(settings, Asked())
    assert told.ended == ("SystemExit: 2" if ends else None), told.log
    assert ("can't open file 'mod_python'" in told.log) == ends
    if ends:
        assert running.told(running.cured(settings), Asked()).answers[0].status == 200


START = r"""
import os, sys
import pkg_resources
pkg_resources.require("TurboGears")
import turbogears


class Root(turbogears.controllers.RootController):
    @turbogears.expose()
    def index(self):
        return str(os.getpid())


settings = {"autoreload.on": True, "autoreload.package": "", "server.environment": "production"}
settings.update({"server.socket_host": "127.0.0.1", "server.socket_port": int(sys.argv[1])})
turbogears.config.update({"global": settings})
turbogears.start_server(Root())
"""


def test_autoreload_of_a_server_of_its_own(running: Running) -> None:
    """It is two processes, and the second serves on when the first is ended."""
    (running.home / "start.py").write_text(START)
    (running.home / "eggs").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def serving() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
                return int(page.read())
        except OSError:
            return 0

    command = [running.tree.python, running.home / "start.py", str(port)]
    env = {"PYTHON_EGG_CACHE": str(running.home / "eggs")}
    with (running.home / "log").open("w") as log:
        first = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd="/", start_new_session=True)
    try:
        wait_for(serving, (running.home / "log").read_text)
        second = serving()
        assert parent(second) == first.pid
        first.terminate()
        first.wait(30)
        assert serving() == second
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


# ------------------------------------------------------------------------------------------- what does not start


def test_log_file_that_cannot_be_written(running: Running) -> None:
    """TurboGears raises ConfigError for it, as the runtime user, and starts when that user has the file."""
    log = running.home / "myapp.log"
    log.touch(0o644)
    settings = f"[global]\n{QUIET}" + LOG.format("FileHandler", f"('{log}',)")
    assert running.codes(settings) == ["log-file-unwritable"]
    told = running.told(settings, Asked())
    assert (told.ended or "").startswith("ConfigError: Missing or wrong argument to FileHandler in handler out -> ")
    os.chown(log, accounts.lookup("nobody").uid, -1)
    assert running.codes(settings) == []
    assert running.told(settings, Asked()).answers[0].status == 200
    assert "a line of the log" in log.read_text()


def test_log_file_that_cannot_be_rotated(running: Running) -> None:
    """Where it cannot be renamed the application starts; what fails is its rotation, when that is due."""
    (logs := running.home / "logs").mkdir()
    (log := logs / "myapp.log").touch()
    os.chown(log, accounts.lookup("nobody").uid, -1)
    settings = f"[global]\n{QUIET}" + LOG.format("RotatingFileHandler", f"('{log}', 'a', 10, 1)")
    assert running.codes(settings) == ["log-file-unwritable"]
    told = running.told(settings, Asked())
    assert (told.ended, told.answers[0].status) == (None, 200)
    assert "OSError: [Errno 13] Permission denied" in told.log
    assert os.listdir(logs) == ["myapp.log"]
    os.chown(logs, accounts.lookup("nobody").uid, -1)
    assert running.codes(settings) == []
    assert "Permission denied" not in running.told(settings, Asked()).log
    assert sorted(os.listdir(logs)) == ["myapp.log", "myapp.log.1"]


class Closed(Running):
    """The same, with its configuration in a directory of its own."""

    @property
    def config(self) -> Path:
        return self.home / "closed" / "prod.cfg"


def test_configuration_that_cannot_be_read(running: Running) -> None:
    """An application whose user cannot read the configuration does not start; where that user cannot search the
    directory, it starts as if there were none."""
    settings = f"[global]\n{QUIET}"
    closed = Closed(running.tree, running.home, MYAPP)
    (directory := closed.config.parent).mkdir()
    assert closed.codes(settings) == []
    subprocess.run(["setfacl", "-m", "u:nobody:---", closed.config], check=True)
    assert closed.codes(settings) == ["app-config-unreadable"]
    assert (closed.told(settings, Asked()).ended or "").startswith("IOError: [Errno 13] Permission denied")
    subprocess.run(["setfacl", "-b", closed.config], check=True)
    assert closed.told(settings, Asked("/fails")).ended is None

    directory.chmod(0o700)
    assert closed.codes(settings) == ["app-config-unreadable"]
    without = closed.told(settings, Asked("/fails"))  # in development, then, where autoreload.on ends it
    assert (without.ended, "can't open file 'mod_python'" in without.log) == ("SystemExit: 2", True)
    directory.chmod(0o755)


@pytest.mark.parametrize("line", ["a = b", "a = f(1)", "[a", "a = 1\na = 2", "[a]\n[a]"])
def test_configuration_that_is_invalid(running: Running, line: str) -> None:
    """What is no literal, not closed, or there twice ends the application at its start."""
    settings = f"[global]\n{QUIET}"
    assert running.codes(f"{settings}{line}\n") == ["app-config-invalid"]
    told = running.told(f"{settings}{line}\n", Asked())
    assert told.ended is not None
    assert "update_config" in told.log
    assert running.told(settings, Asked()).answers[0].status == 200


def test_turbogears_without_configobj(
    running: Running, copy_of: Callable[[Deployment], Deployment], turbogears1_complete: Deployment
) -> None:
    """It does not start: ConfigObj is of what it requires."""
    tree = copy_of(turbogears1_complete)
    eggs: Sequence[Path] = list(tree.site_packages.glob("configobj-*.egg"))
    assert len(eggs) == 1
    eggs[0].unlink()
    told = Running(tree, running.home, MYAPP).told(f"[global]\n{QUIET}", Asked())
    assert re.match("DistributionNotFound: .*'ConfigObj", told.ended or "")
