"""TurboGears 1.1.3 in CPython 2.7 by the launcher and the gateway that eggcache emits, asked as a worker of Apache is.

No machine has a mod_python for Python 2.7. What the launcher and the gateway use of it is little, and documented.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from eggcache.wrappers import modpython
from eggcache.wrappers.kinds import WrapperSettings
from support.deployment import Deployment

STAND_IN = r"""
import sys
sys.argv = ["mod_python"]  # as its apache.init() has it
OK, HTTP_BAD_REQUEST, HTTP_INTERNAL_SERVER_ERROR = 0, 400, 500
APLOG_ERR, APLOG_INFO = 3, 6
AP_MPMQ_IS_THREADED, AP_MPMQ_IS_FORKED = 2, 3


def mpm_query(question):
    return question == AP_MPMQ_IS_FORKED


def log_error(line, level=APLOG_ERR):
    sys.__stderr__.write(line + "\n")


class Table(dict):
    def add(self, name, value):
        self.setdefault(name, []).append(value)


class Request(object):
    header_only, status, content_type = False, 200, None

    def __init__(self, uri, args, options, method, body, environ):
        self.uri, self.args, self.unparsed_uri, self.method, self.protocol = uri, args, uri, method, "HTTP/1.1"
        self.headers_in, self.headers_out, self.subprocess_env = Table(), Table(), Table(SERVER_NAME="localhost")
        self.options, self.body, self.sent = options, body, []
        if body:
            self.subprocess_env.update(CONTENT_LENGTH=str(len(body)), CONTENT_TYPE="application/x-www-form-urlencoded")
        self.subprocess_env.update(HTTP_HOST="localhost", HTTP_PROXY="http://evil", SERVER_PORT="80")
        self.subprocess_env.update(REMOTE_ADDR="127.0.0.1", REMOTE_PORT="1")
        self.subprocess_env.update(environ)

    def get_options(self):
        return self.options

    def add_common_vars(self):
        pass

    def log_error(self, line, level=APLOG_ERR):
        log_error(line, level)

    def set_content_length(self, length):
        self.headers_out["Content-Length"] = length

    def read(self, size):
        data, self.body = self.body[:size], self.body[size:]
        return data

    def write(self, data, flush=1):
        self.sent.append(data)
"""
# Starts the application as PythonFixupHandler does, and asks it as PythonHandler is asked.
ASK = r"""
import os, re, sys, traceback
mods, configuration, requests = eval(sys.argv[1])
sys.path.insert(0, mods)
from mod_python import apache
configuration = open(configuration).read()
location = re.search('<Location "(.*)">(.*)</Location>', configuration, re.S)
options = dict(re.findall("PythonOption ([a-z_.]+) (\S+)", location.group(2)))
fixup = re.search(r"PythonFixupHandler (\S+)", location.group(2)).group(1)
module, function = re.search(r"PythonHandler (\S+)::(\S+)", location.group(2)).groups()
ended, answers = None, []
try:
    assert __import__(fixup).fixuphandler(None) == apache.OK
except BaseException:
    traceback.print_exc()
    ended = "%s: %s" % (sys.exc_info()[0].__name__, sys.exc_info()[1])
else:
    for path, args, method, body, environ in requests:
        request = apache.Request(location.group(1).rstrip("/") + path or "/", args, options, method, body, environ)
        result = getattr(__import__(module), function)(request)
        headers = dict(request.headers_out)
        answers.append((result, request.status, "".join(request.sent), headers, request.content_type))
os.write(2, "\n" + repr((ended, answers)))
os._exit(0)
"""


class Asked(NamedTuple):
    """A request: the path below the location, and what goes with it."""

    path: str = ""
    args: str = ""
    method: str = "GET"
    body: str = ""
    environ: Mapping[str, str] = {}


class Answer(NamedTuple):
    """What the gateway did with a request."""

    result: int  # for mod_python: 0 for OK
    status: int
    text: str
    headers: Mapping[str, str | Sequence[str]]
    content_type: str | None


class Told(NamedTuple):
    """How a worker fared."""

    ended: str | None  # what ended the launcher, as "SystemExit: 2"; None: the application started
    answers: Sequence[Answer]
    log: str  # what is in Apache's error log


@dataclass(frozen=True)
class ByGateway:
    """A package myapp, as the manual deploys one."""

    tree: Deployment
    home: Path  # a directory that the user can search
    controllers: str  # the text of myapp.controllers
    location: str = "/myapp"

    @property
    def config(self) -> Path:
        return self.home / "caf\u00e9.cfg"

    def ask(self, settings: str, *requests: Asked, user: str | None = None) -> Told:
        """What one new worker says to the `requests`, with the configuration `settings`."""
        self.config.write_text(settings)
        self.config.chmod(0o644)
        application = modpython.Application("myapp", self.location, str(self.config))
        mods, cache = self.home / "mods", self.home / "eggs"
        wrapper = WrapperSettings(str(cache), [], None)
        emitted = modpython.mod_python(wrapper, modules=str(mods), application=application)
        (self.home / "conf").write_text(emitted.configuration)
        package = {"__init__.py": "", "controllers.py": self.controllers, "config/__init__.py": ""}
        texts = {f"myapp/{name}": text for name, text in package.items()}
        texts |= {"myapp/config/app.cfg": "[global]\n", "mod_python/__init__.py": "", "mod_python/apache.py": STAND_IN}
        for name, text in (texts | dict(emitted.modules)).items():
            (mods / name).parent.mkdir(parents=True, exist_ok=True)
            (mods / name).write_text(text)
        cache.mkdir(exist_ok=True)
        cache.chmod(0o777)
        asked = repr(
            (str(mods), str(self.home / "conf"), [(*request[:4], dict(request.environ)) for request in requests])
        )
        result = self.tree.run(ASK, asked, user=user, env={"PYTHON_EGG_CACHE": str(cache)}, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        log, _, line = result.stderr.rpartition("\n")
        ended, answers = ast.literal_eval(line)
        return Told(ended, [Answer(*answer) for answer in answers], result.stdout + log)
