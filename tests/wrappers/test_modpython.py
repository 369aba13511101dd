"""mod_python: what `--for mod_python` emits, and the gateway, served by Debian's real mod_python."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.by_gateway import Asked, ByGateway
from support.deployment import Deployment
from support.httpd import WORKERS, Httpd, Page, require, wait_for
from support.judge import eggcache

from eggcache.errors import UsageError
from eggcache.wrappers import modpython
from eggcache.wrappers.kinds import WrapperSettings

PREPARE = ["/usr/bin/eggcache", "prepare", "/var/cache/x", "--lenient", "--", "TurboGears"]
APPLICATION = modpython.Application("myapp", "/myapp", "/etc/myapp.cfg")
NASTY = [
    "plain",
    "a space",
    "single'quote",
    'double"quote',
    "$HOME $(touch pwned)",
    "`touch pwned`",
    "-dash",
    "back\\slash\\",
    "\\\\",
    "caf\u00e9 \u20ac",
    "not-utf8-\udcff",
    "@DIRECTORY@ @PATH@",
    "# %s %(x)s <IfModule>",
    "[]'+\"]",
]
# Answers with what it is asked to say, by the first part of the path.
APP = r"""
import os
import sys

calls = []


class Closing(object):
    def __init__(self, parts, name):
        self.parts = iter(parts)
        self.name = name

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.parts)

    def close(self):
        calls.append("closed " + self.name)


def application(environ, start_response):
    what = environ["PATH_INFO"].strip("/").split("/")[0] or "environ"
    return globals()["do_" + what](environ, start_response)


def plain(start_response, text, *more):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")] + list(more))
    return [text.encode("utf-8")]


def do_environ(environ, start_response):
    import json
    kinds = dict((name, type(value).__name__) for name, value in environ.items())
    values = dict((name, value) for name, value in environ.items() if isinstance(value, (str, bool, tuple)))
    return plain(start_response, json.dumps({"kinds": kinds, "values": values}))


def do_calls(environ, start_response):
    found, calls[:] = list(calls), []
    return plain(start_response, "%d\n%s" % (os.getpid(), "\n".join(found)))


def do_cache(environ, start_response):
    return plain(start_response, ascii([os.environ.get("PYTHON_EGG_CACHE"), os.environ.get("TZ"), sys.path]))


def do_body(environ, start_response):
    how = environ["QUERY_STRING"]
    body = environ["wsgi.input"]
    if how == "lines":
        parts = list(body)
    elif how == "readlines":
        parts = body.readlines()
    elif how == "readline":
        parts = list(iter(lambda: body.readline(7), b""))
    elif how == "mixed":
        parts = [body.read(3), body.readline(), body.read(5), body.readline(2), body.read()]
    elif how == "none":
        parts = []
    elif how == "all":
        parts = [body.read()]
    else:
        parts = list(iter(lambda: body.read(int(how)), b""))
    again = [body.read(), body.read(10), body.readline()] if how != "none" else []
    start_response("200 OK", [("X-Parts", str(len(parts))), ("X-Again", repr(again)), ("X-Terminated", str(
        environ["wsgi.input_terminated"])), ("X-Length", repr(environ.get("CONTENT_LENGTH")))])
    return [b"".join(parts)]


def do_headers(environ, start_response):
    start_response("404 Nothing here, sorry", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Latin", "caf\xe9"),
                                               ("content-TYPE", "text/x-odd; charset=x")])
    return [b"one", b"", b"two"]


def do_nothing(environ, start_response):
    start_response("204 No Content", [("X-Said", "nothing")])
    return []


def do_empty(environ, start_response):
    start_response("200 OK", [("X-Said", "nothing")])
    return [b"", b""]


def do_write(environ, start_response):
    write = start_response("200 OK", [])
    write(b"written ")
    write(b"")
    return Closing([b"and ", b"returned"], "write")


def do_slow(environ, start_response):
    import time
    start_response("200 OK", [])

    def parts():
        yield b"first"
        time.sleep(3)
        yield b"second"
    return Closing(parts(), "slow")


def do_late(environ, start_response):
    def parts():
        yield b""
        start_response("201 Late", [])
        yield b"late"
    return parts()


def do_raise(environ, start_response):
    raise RuntimeError("raised before, caf\xe9 \u20ac")


def do_exit(environ, start_response):
    sys.exit("the application wants out")


def do_iteration(environ, start_response):
    def parts():
        start_response("200 OK", [("X-Half", "done")])
        raise RuntimeError("raised in the iteration")
        yield b""
    return Closing(parts(), "iteration")


def do_halfway(environ, start_response):
    def parts():
        yield b"half"
        raise RuntimeError("raised half way")
    start_response("200 OK", [])
    return Closing(parts(), "halfway")


def do_replaced(environ, start_response):
    start_response("200 OK", [("X-First", "yes")])
    try:
        raise RuntimeError("never seen")
    except RuntimeError:
        start_response("503 Replaced", [("X-Second", "yes")], sys.exc_info())
    return [b"replaced"]


def do_toolate(environ, start_response):
    def parts():
        yield b"sent"
        try:
            raise RuntimeError("too late for other headers")
        except RuntimeError:
            start_response("500 No", [], sys.exc_info())
        yield b"never sent"
    start_response("200 OK", [])
    return Closing(parts(), "toolate")


def do_twice(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b"x"]


def do_never(environ, start_response):
    return [b"x"]


def do_text(environ, start_response):
    start_response("200 OK", [])
    return ["text"]


def do_split(environ, start_response):
    start_response("200 OK", [("X-Split", "a\r\nX-Injected: yes")])
    return [b"x"]


def do_hop(environ, start_response):
    start_response("200 OK", [("Transfer-Encoding", "chunked")])
    return [b"x"]


def do_status(environ, start_response):
    start_response("OK", [])
    return [b"x"]


def do_long(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    return [b"fo", b"ur and more", b"and more"]


def do_close(environ, start_response):
    class Worse(Closing):
        def close(self):
            raise RuntimeError("raised in close")
    start_response("200 OK", [])
    return Worse([b"whole"], "worse")


def do_errors(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("to the ")
    errors.write("log\nsecond \u20ac \udcff line\n")
    errors.writelines(["third", " line\n", "no end"])
    errors.flush()
    environ["wsgi.errors"].write("left over, and\0 a NUL")
    return plain(start_response, "logged")


kept = []


def do_keep(environ, start_response):
    kept.append((environ["wsgi.input"], environ["wsgi.errors"], start_response("200 OK", [])))
    return [str(os.getpid()).encode()]


def do_kept(environ, start_response):
    said = [str(os.getpid())]
    for body, errors, write in kept:
        errors.write("after the end\n")
        for call in (body.read, lambda: write(b"x")):
            try:
                call()
            except ValueError:
                said.append("refused")
    return plain(start_response, " ".join(said))


def do_big(environ, start_response):
    start_response("200 OK", [])
    return Closing((b"x" * 65536 for _ in range(3000)), "big")
"""
LOCATIONS = """
PythonPath "['{mods}'] + sys.path"
LimitRequestBody 10000000
<Location />
    SetHandler python-program
    PythonHandler eggcache_gateway::handler
    PythonOption wsgi.application gateway_app::application
</Location>
<Location /mounted>
    PythonHandler eggcache_gateway::handler
</Location>
<Location "/with space/caf\u00e9/">
    PythonHandler eggcache_gateway::handler
</Location>
<Location /other>
    PythonHandler eggcache_gateway::handler
    PythonOption wsgi.script_name /other/deeper
</Location>
<Location /whole>
    PythonHandler eggcache_gateway::handler
    PythonOption wsgi.script_name /
</Location>
<LocationMatch "^/match/[a-z]+">
    PythonHandler eggcache_gateway::handler
</LocationMatch>
<Location /nowhere>
    PythonOption wsgi.application no_such_module
</Location>
<Location /body/small>
    LimitRequestBody 10
</Location>
"""


@pytest.fixture(scope="module")
def server(where: Path) -> Iterator[Httpd]:
    """Debian's mod_python with the gateway and an application that does all there is to be done, at several places."""
    home = where / "gateway"
    mods = home / "mods"
    require("python")
    mods.mkdir(parents=True)
    (mods / modpython.GATEWAY).write_text(modpython.inside("eggcache_gateway.py"))
    (mods / "gateway_app.py").write_text(APP)
    httpd = Httpd(home / "apache", LOCATIONS.format(mods=mods), "python")
    home.chmod(0o755)
    try:
        httpd.start()
        yield httpd
    finally:
        httpd.stop()


def environ(page: Page) -> dict[str, Any]:
    assert page.status == 200, page.text
    values: dict[str, Any] = json.loads(page.body)["values"]
    return values


def logged(server: Httpd, text: str) -> None:
    wait_for(lambda: text in server.log(), lambda: f"not in the log: {text!r}\n{server.log()[-4000:]}", 5)


def closed(server: Httpd, name: str) -> bool:
    """Whether one of the workers has called close() of the iterable of that name."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if any(f"closed {name}" in page.text for page in server.crowd("/calls", WORKERS * 2)):
            return True
    return False


# ----------------------------------------------------------------------------------------------- the request


def test_environ_is_that_of_pep_3333(server: Httpd) -> None:
    """environ has PEP 3333's keys, native strings alone, and what Apache knows of the request."""
    page = server.get("/environ/a%20b?x=%C3%A9&y", Authorization="Basic eA==", Proxy="http://evil", X_Two="1")
    values, kinds = environ(page), json.loads(page.body)["kinds"]
    assert values["REQUEST_METHOD"] == "GET"
    assert (values["SCRIPT_NAME"], values["PATH_INFO"]) == ("", "/environ/a b")
    assert values["QUERY_STRING"] == "x=%C3%A9&y"
    assert values["REQUEST_URI"] == "/environ/a%20b?x=%C3%A9&y"
    assert (values["SERVER_NAME"], values["SERVER_PORT"]) == ("127.0.0.1", str(server.port))
    assert values["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert values["HTTP_AUTHORIZATION"] == "Basic eA=="
    assert values["HTTP_X_TWO"] == "1"
    assert "HTTP_PROXY" not in values
    assert values["wsgi.version"] == [1, 0]
    assert values["wsgi.url_scheme"] == "http"
    assert [values[f"wsgi.{name}"] for name in ("multithread", "multiprocess", "run_once")] == [False, True, False]
    assert {kind for name, kind in kinds.items() if "." not in name} == {"str"}


def test_bytes_of_clients(server: Httpd) -> None:
    """Each byte that a client sends is one character, UTF-8 or not, and none of them ends the worker."""
    server.forget_log()
    request = b"GET /environ/caf\xc3\xa9%C3%A9%FF?caf\xe9 HTTP/1.0\r\nX-Latin: \xe9\xff\r\nX-Utf: \xc3\xa9\r\n"
    head, _, body = server.raw(request + b"Authorization: \xff\r\nReferer: \xe9\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    values = json.loads(body)["values"]
    assert values["PATH_INFO"].encode("latin-1") == b"/environ/caf\xc3\xa9\xc3\xa9\xff"
    assert values["QUERY_STRING"].encode("latin-1") == b"caf\xe9"
    assert values["HTTP_X_LATIN"].encode("latin-1") == b"\xe9\xff"
    assert values["HTTP_X_UTF"].encode("latin-1") == b"\xc3\xa9"
    assert values["HTTP_AUTHORIZATION"].encode("latin-1") == b"\xff"
    assert "Segmentation" not in server.log()


@pytest.mark.parametrize(
    ("path", "script_name", "path_info"),
    [
        ("/", "", "/"),
        ("/environ", "", "/environ"),
        ("/mounted", "/mounted", ""),
        ("/mounted/", "/mounted", "/"),
        ("/mounted/environ", "/mounted", "/environ"),
        ("//mounted//environ", "/mounted", "/environ"),
        ("/with%20space/caf%C3%A9/environ", "/with space/caf\u00c3\u00a9", "/environ"),
        ("/other/deeper/environ", "/other/deeper", "/environ"),
        ("/whole", "", "/whole"),
    ],
)
def test_script_name_is_the_path_of_the_location(server: Httpd, path: str, script_name: str, path_info: str) -> None:
    """SCRIPT_NAME is the path of the <Location> or what the option says, and PATH_INFO the rest."""
    if path == "/whole":
        assert server.get(path).status == 500  # do_whole: the application got the whole path
        return
    values = environ(server.get(path))
    assert (values["SCRIPT_NAME"], values["PATH_INFO"]) == (script_name, path_info)


@pytest.mark.parametrize("path", ["/other/environ", "/other/deeperx", "/match/abc"])
def test_location_that_is_no_prefix(server: Httpd, path: str) -> None:
    """Where the place is no prefix of the path, PATH_INFO is all of it."""
    server.forget_log()
    assert server.get(path).status == 500
    logged(server, f"KeyError: 'do_{path.split('/')[1]}'")


BODIES = {"short": b"hello=world", "lines": b"one\ntwo\n\nthree" * 3, "large": bytes(range(256)) * 1000 + b"\nend"}


@pytest.mark.parametrize("how", ["1000", "7", "all", "lines", "readlines", "readline", "mixed", "100000"])
@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("pieces", [0, 1, 11, 5000, 300000], ids=lambda n: f"chunks-of-{n}" if n else "with-length")
def test_body_is_read_as_it_was_sent(server: Httpd, name: str, how: str, pieces: int) -> None:
    """The body is read as it was sent, by its length and in chunks of every size, and then it has ended."""
    sent = BODIES[name]
    if pieces == 1:
        sent = sent[:3000]
    chunks = iter([sent[start : start + pieces] for start in range(0, len(sent), pieces)]) if pieces else sent
    page = server.get(f"/body?{how}", "POST", chunks)
    assert page.status == 200, server.log()[-3000:]
    assert page.body == sent
    assert page.all("X-Again") == ["[b'', b'', b'']"]
    assert page.all("X-Terminated") == ["True"]
    assert page.all("X-Length") == ["None" if pieces else repr(str(len(sent)))]
    if how == "lines":
        assert page.all("X-Parts") == [
            str(len(sent.splitlines(keepends=True)) if name != "large" else sent.count(b"\n") + 1)
        ]


@pytest.mark.parametrize("how", ["all", "none", "10"])
@pytest.mark.parametrize("chunked", [False, True], ids=["with-length", "chunked"])
@pytest.mark.parametrize("sent", [b"", b"hello", b"x" * 100000], ids=["empty", "short", "large"])
def test_connection_goes_on(server: Httpd, sent: bytes, chunked: bool, how: str) -> None:
    """After a body, read or not, the next request on the connection is understood."""
    if chunked:
        body = b"Transfer-Encoding: chunked\r\n\r\n" + (b"%x\r\n%s\r\n" % (len(sent), sent) if sent else b"")
        body += b"0\r\nX-Trailer: y\r\n\r\n"
    else:
        body = b"Content-Length: %d\r\n\r\n%s" % (len(sent), sent)
    first = b"POST /body?%s HTTP/1.1\r\nHost: x\r\n" % how.encode() + body
    answer = server.raw(first + b"GET /environ/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 2, answer[:2000]
    assert b'"/environ/next"' in answer


def test_client_that_waits_for_continue_is_told(server: Httpd) -> None:
    """A client that waits for "100 Continue" is told to go on, when the body is wanted."""
    for framing in (b"Content-Length: 5\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        answer = server.raw(
            b"POST /body?all HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
            + framing
            + (b"hello" if b"Length" in framing else b"5\r\nhello\r\n0\r\n\r\n")
        )
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("bad", [b"zz\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b""])
def test_bad_chunks_are_no_page(server: Httpd, bad: bytes) -> None:
    """A chunked body that is none, or stops half way, is no page, and the worker lives."""
    request = b"POST /body?all HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + bad
    server.forget_log()
    assert server.raw(request, end=True).startswith(b"HTTP/1.1 400 ")
    assert server.get("/environ").status == 200
    assert "Segmentation" not in server.log()


def test_short_body_is_no_page(server: Httpd) -> None:
    """A client that closes before the promised length does not get a page for the part."""
    request = b"POST /body?all HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf"
    server.forget_log()
    assert server.raw(request, end=True).startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("pieces", [[b"x" * 100], [b"x" * 5, b"y" * 95]])
def test_limit_request_body_counts(server: Httpd, pieces: list[bytes]) -> None:
    """Apache's LimitRequestBody counts, with a length and chunked."""
    assert server.get("/body/small?all", "POST", b"x" * 10).status == 200
    assert server.get("/body/small?all", "POST", b"".join(pieces)).status == 413
    assert server.get("/body/small?all", "POST", iter([b"x" * 5])).status == 200
    assert server.get("/body/small?all", "POST", iter(pieces)).status == 413


# ---------------------------------------------------------------------------------------------- the response


def test_headers_are_those_of_the_application(server: Httpd) -> None:
    """Status, reason and headers are the application's, several of one name and Latin-1 included."""
    page = server.get("/headers")
    assert (page.status, page.reason) == (404, "Nothing here, sorry")
    assert page.all("Set-Cookie") == ["a=1", "b=2"]
    assert page.all("X-Latin") == ["caf\u00e9"]
    assert page.all("Content-Type") == ["text/x-odd; charset=x"]
    assert page.body == b"onetwo"


def test_head_has_the_headers_of_get_and_no_body(server: Httpd) -> None:
    """HEAD has the headers of GET, its length too, and no body; and so have the statuses without one."""
    got, head = server.get("/environ/x"), server.get("/environ/x", "HEAD")
    assert head.body == b""
    assert got.all("Content-Length") == [str(len(got.body))]
    assert head.all("Content-Length") != []
    answer = server.raw(b"HEAD /write HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")
    nothing = server.get("/nothing")
    assert (nothing.status, nothing.body, nothing.all("X-Said")) == (204, b"", ["nothing"])
    empty = server.get("/empty")
    assert (empty.status, empty.body, empty.all("X-Said")) == (200, b"", ["nothing"])


def test_what_was_written_comes_first(server: Httpd) -> None:
    """What was given to write() comes before what is returned, and close() is called."""
    assert server.get("/write").body == b"written and returned"
    assert closed(server, "write")


def test_late_start_response(server: Httpd) -> None:
    """start_response() may come with the first part that is not empty."""
    page = server.get("/late")
    assert (page.status, page.reason, page.body) == (201, "Late", b"late")


def test_each_part_is_sent_at_once(server: Httpd) -> None:
    """A part is with the client before the application is asked for the next one."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        began = time.monotonic()
        connection.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        seen = b""
        while b"first" not in seen:
            seen += connection.recv(1000)
        assert time.monotonic() - began < 2.5
        assert b"second" not in seen


def test_client_goes_away(server: Httpd) -> None:
    """Where the client has closed, the application is not asked for the rest, close() is called, and it is no error."""
    server.forget_log()
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(b"GET /big HTTP/1.0\r\n\r\n")
        connection.recv(1000)
    assert closed(server, "big")
    assert "Traceback" not in server.log()


def test_content_length_counts(server: Httpd) -> None:
    """No more is sent than the length that was promised: the next response starts where this one ends."""
    answer = server.raw(
        b"GET /long HTTP/1.1\r\nHost: x\r\n\r\nGET /late HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert b"\r\n\r\nfourHTTP/1.1 201 Late" in answer


# ------------------------------------------------------------------------------------------------ exceptions


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raise", "RuntimeError: raised before, caf\\xc3\\xa9 \\xe2\\x82\\xac"),
        ("exit", "SystemExit: the application wants out"),
        ("iteration", "RuntimeError: raised in the iteration"),
        ("twice", "AssertionError: start_response() was called again, without exc_info"),
        ("never", "AssertionError: there is a body before start_response() was called"),
        ("text", "TypeError: the body has to be of bytes"),
        ("split", "has a control character"),
        ("hop", "ValueError: an application cannot send the header 'Transfer-Encoding'"),
        ("status", "ValueError: 'OK' is no status"),
    ],
)
def test_exception_is_a_500_with_a_traceback_in_the_log(server: Httpd, what: str, said: str) -> None:
    """What goes wrong before the first byte is a 500 without the application's headers, and a traceback in the log."""
    server.forget_log()
    page = server.get(f"/{what}")
    assert page.status == 500
    assert page.all("X-Half") == page.all("X-Injected") == page.all("X-Split") == []
    assert "Internal Server Error" in page.text
    assert "Traceback" not in page.text
    logged(server, said)
    assert "Traceback (most recent call last):" in server.log()


def test_iteration_is_closed(server: Httpd) -> None:
    """close() is called after an exception in the iteration too."""
    assert server.get("/iteration").status == 500
    assert closed(server, "iteration")


def test_exception_half_way(server: Httpd) -> None:
    """After the first byte the page stays as it is, no error page behind it, and the log has the traceback."""
    for what, sent, said in (
        ("halfway", b"half", "raised half way"),
        ("toolate", b"sent", "too late for other headers"),
    ):
        server.forget_log()
        page = server.get(f"/{what}")
        assert (page.status, page.body) == (200, sent)
        logged(server, f"RuntimeError: {said}")
        assert closed(server, what)


def test_exc_info_before_the_headers(server: Httpd) -> None:
    """With exc_info, status and headers are replaced as long as none were sent."""
    page = server.get("/replaced")
    assert (page.status, page.reason, page.body) == (503, "Replaced", b"replaced")
    assert (page.all("X-First"), page.all("X-Second")) == ([], ["yes"])


def test_exception_in_close(server: Httpd) -> None:
    """An exception in close() is logged, and the page is whole."""
    server.forget_log()
    assert server.get("/close").body == b"whole"
    logged(server, "RuntimeError: raised in close")


def test_wsgi_errors_is_apaches_log(server: Httpd) -> None:
    """wsgi.errors is Apache's error log, line by line, with the client's address, whatever the characters."""
    server.forget_log()
    assert server.get("/errors").text == "logged"
    logged(server, "left over, and\\\\0 a NUL")
    lines = [line for line in server.log().splitlines() if "[client 127.0.0.1" in line]
    said = [line.rpartition("] ")[2] for line in lines]
    assert said[0] == "to the log"
    assert said[1].startswith("second \\xe2\\x82\\xac ")
    assert said[2:4] == ["third line", "no end"]


def test_request_that_is_kept_does_no_harm(server: Httpd) -> None:
    """What an application keeps of a request does no harm when that has ended: its log goes on, the rest is refused."""
    server.forget_log()
    keeper = server.get("/keep").text
    for _ in range(100):
        said = server.get("/kept").text.split()
        if said[0] == keeper:
            break
    assert said[:3] == [keeper, "refused", "refused"]
    logged(server, "after the end")
    assert "Segmentation" not in server.log()


def test_application_that_is_not_there(server: Httpd) -> None:
    """Without an application it is a 500, and the log says what is missing."""
    server.forget_log()
    assert server.get("/nowhere").status == 500
    logged(server, "ModuleNotFoundError: No module named 'no_such_module'")


def test_each_of_many_clients_gets_its_own_answer(server: Httpd) -> None:
    """Under 32 clients, each gets its own answer, and no worker has died."""
    server.forget_log()
    assert {page.status for page in server.crowd("/environ/x", 32)} == {200}
    assert "Segmentation" not in server.log()


# -------------------------------------------------------------------------------------- the configuration


def emit(
    directory: str = "/var/cache/x", *, prepare: Sequence[str] = PREPARE, timezone: str | None = None, **values: Any
) -> modpython.Emitted:
    return modpython.mod_python(WrapperSettings(directory, prepare, timezone), **values)


def install(emitted: modpython.Emitted, into: Path) -> None:
    into.mkdir(exist_ok=True)
    for name, text in emitted.modules.items():
        (into / name).write_bytes(os.fsencode(text))


SEEN = """
import os, sys

def handler(req):
    found = [os.environb.get(b"PYTHON_EGG_CACHE"), os.environb.get(b"TZ"), [os.fsencode(entry) for entry in sys.path]]
    req.write(repr(found).encode("ascii"))
    return 0
"""
SEEN_AT = "<Location /seen>\n    SetHandler python-program\n    PythonHandler seen\n</Location>\n"


@pytest.fixture
def apache(shared_tmp: Path) -> Iterator[Httpd]:
    """An Apache with Debian's mod_python that the test configures and starts."""
    httpd = Httpd(shared_tmp / "apache", "", "python")
    yield httpd
    httpd.stop()


def seen(httpd: Httpd) -> list[Any]:
    """PYTHON_EGG_CACHE, TZ and sys.path, as a handler sees them, in bytes."""
    page = httpd.get("/seen")
    assert page.status == 200, httpd.log()
    values: list[Any] = eval(page.text)
    return values


@pytest.mark.parametrize("name", NASTY)
def test_option_is_applied(apache: Httpd, shared_tmp: Path, name: str) -> None:
    """The PythonOption becomes PYTHON_EGG_CACHE byte for byte, though Apache was started with another, and PythonPath
    has the directories."""
    mods, cache, more = shared_tmp / f"mods {name}", shared_tmp / f"cache {name}", f"{shared_tmp}/more {name}"
    emitted = emit(str(cache), modules=str(mods), paths=[more], timezone="Europe/Madrid")
    install(emitted, mods)
    cache.mkdir()
    (mods / "seen.py").write_text(SEEN)
    apache.configure(emitted.configuration + SEEN_AT)
    assert apache.ctl("configtest").returncode == 0
    apache.start(TZ="Asia/Tokyo", PYTHON_EGG_CACHE="/srv/other")
    variable, zone, path = seen(apache)
    assert variable == os.fsencode(cache)
    assert zone == b"Europe/Madrid"
    assert path[:2] == [os.fsencode(mods), os.fsencode(more)]
    assert "eggcache:" not in apache.log()


def test_interpreters_that_are_made_later_have_the_cache(apache: Httpd, shared_tmp: Path) -> None:
    """Interpreters that are made later, one for each directory here, have it too."""
    emitted = emit(str(shared_tmp), modules=str(shared_tmp / "mods"))
    install(emitted, shared_tmp / "mods")
    (shared_tmp / "mods" / "seen.py").write_text(SEEN)
    apache.configure(f"{emitted.configuration}{SEEN_AT}<Location /seen>\n    PythonInterpreter another\n</Location>\n")
    apache.start()
    assert seen(apache)[0] == os.fsencode(shared_tmp)


def test_cache_without_a_zone_is_used_without_tz(apache: Httpd, shared_tmp: Path) -> None:
    """A cache that was prepared without TZ is used without it, whatever Apache was started with."""
    emitted = emit(str(shared_tmp), modules=str(shared_tmp / "mods"))
    install(emitted, shared_tmp / "mods")
    (shared_tmp / "mods" / "seen.py").write_text(SEEN)
    apache.configure(emitted.configuration + SEEN_AT)
    apache.start(TZ="Asia/Tokyo")
    assert seen(apache)[1] is None


def test_a_cache_that_is_not_there(apache: Httpd, shared_tmp: Path) -> None:
    """A directory that Apache's user cannot read, and an option that is missing, are in the error log."""
    emitted = emit(str(shared_tmp / "nowhere"), modules=str(shared_tmp / "mods"))
    install(emitted, shared_tmp / "mods")
    apache.configure(emitted.configuration)
    apache.start()
    logged(apache, f"eggcache: the egg cache '{shared_tmp}/nowhere' cannot be read")
    without = [line for line in emitted.configuration.splitlines() if "eggcache.directory" not in line]
    apache.configure("\n".join(without))
    apache.restart()
    logged(apache, "eggcache: there is no PythonOption eggcache.directory")


def test_ours_runs_first(apache: Httpd, shared_tmp: Path) -> None:
    """Declared last, ours runs before the other PythonImports, which may already look resources up."""
    emitted = emit(str(shared_tmp), modules=str(shared_tmp / "mods"))
    install(emitted, shared_tmp / "mods")
    (shared_tmp / "mods" / "other.py").write_text(
        "import os\nfrom mod_python import apache\n"
        "apache.log_error('other sees %s' % os.environ.get('PYTHON_EGG_CACHE'))\n"
    )
    apache.configure("PythonImport other main_interpreter\n" + emitted.configuration)
    apache.start()
    logged(apache, f"other sees {shared_tmp}")


def test_for_one_location(apache: Httpd, shared_tmp: Path) -> None:
    """As PythonFixupHandler the module does the same for one location, as mod_python before 3.3 needs it."""
    (shared_tmp / "mods").mkdir()
    install(emit(modules="/x"), shared_tmp / "mods")
    (shared_tmp / "mods" / "seen.py").write_text(SEEN)
    apache.configure(
        f"PythonPath \"['{shared_tmp}/mods'] + sys.path\"\n<Location /seen>\n    SetHandler python-program\n"
        f"    PythonHandler seen\n    PythonFixupHandler eggcache_modpython\n"
        f"    PythonOption eggcache.directory {shared_tmp}\n</Location>\n"
    )
    apache.start()
    assert seen(apache)[0] == os.fsencode(shared_tmp)


@pytest.mark.parametrize("value", ["/a\nb", "/a\rb", "/a\0b", "/a${HOME}b", "relative"])
@pytest.mark.parametrize("what", ["directory", "modules", "paths", "prepare"])
def test_what_apaches_configuration_cannot_express_is_refused(what: str, value: str) -> None:
    """What the configuration cannot express, or would read differently, is refused in one line, or has an escape."""
    values: dict[str, Any] = {"directory": "/d", "modules": "/mods"}
    values[what] = [value, "prepare"] if what == "prepare" else [value] if what == "paths" else value
    escaped = what in ("modules", "paths") and value in ("/a\nb", "/a\rb")  # PythonPath is an expression of Python
    if escaped or (what == "prepare" and "$" in value):  # a comment
        assert "\r" not in emit(**values).configuration
        assert "\nb" not in emit(**values).configuration
        return
    with pytest.raises(UsageError) as caught:
        emit(**values)
    assert not {"\n", "\0"} & set(str(caught.value))


@pytest.mark.parametrize("config", ["/a\nb", "/a'b", '/a"b\\', "/caf\u00e9", "/\udcff", "/a${HOME}b"])
def test_configuration_file_is_named_by_its_bytes(config: str) -> None:
    """The launcher names the file by its bytes, in ASCII, whatever they are."""
    application = modpython.Application("myapp", "/myapp", config)
    launcher = emit(modules="/mods", application=application).modules["myapp_modpython.py"]
    literal = re.search(r"configfile=(.*)\)\n", launcher)
    assert literal
    assert launcher.isascii()
    assert ast.literal_eval("b" + literal[1]) == os.fsencode(config)


@pytest.mark.parametrize(
    "application",
    [
        modpython.Application("my app", "/x", "/c"),
        modpython.Application("x;import os", "/x", "/c"),
        modpython.Application("x\n", "/x", "/c"),
        modpython.Application("myapp", "x", "/c"),
        modpython.Application("myapp", "/x y", "/c"),
        modpython.Application("myapp", "/x\n", "/c"),
        modpython.Application("myapp", '/x">', "/c"),
        modpython.Application("myapp", "http://x/", "/c"),
    ],
)
def test_wrong_package_name_or_path_is_refused(application: modpython.Application) -> None:
    """The name of a package and the path of a URL are nothing else."""
    with pytest.raises(UsageError):
        emit(modules="/mods", application=application)


def test_application_needs_a_directory() -> None:
    """Without a place for launcher and gateway there is no deployment."""
    with pytest.raises(UsageError, match="--directory"):
        emit(application=APPLICATION)


def test_the_manual_s_directives(tmp_path: Path) -> None:
    """The deployment has every directive of the manual, with the gateway of ours and PythonDebug off."""
    text = emit(modules="/mods", application=APPLICATION, mutexes="/run/apache2", root=str(tmp_path)).configuration
    directives = [line.strip() for line in text.splitlines() if not line.startswith("#") and line.strip()]
    assert directives == [
        "<IfModule !mod_python.c>",
        "LoadModule python_module modules/mod_python.so",
        "</IfModule>",
        'PythonOption mod_python.mutex_directory "/run/apache2"',
        "PythonOption mod_python.mutex_locks 32",
        'PythonOption eggcache.directory "/var/cache/x"',
        "PythonPath \"['/mods'] + sys.path\"",
        "PythonImport eggcache_modpython::at_start main_interpreter",
        '<Location "/myapp">',
        "SetHandler python-program",
        "PythonHandler eggcache_gateway::handler",
        "PythonOption wsgi.application cherrypy._cpwsgi::wsgiApp",
        "# TurboGears takes its server.webpath off the whole path by itself.",
        "PythonOption wsgi.script_name /",
        "PythonFixupHandler myapp_modpython",
        "PythonDebug Off",
        "</Location>",
    ]


def test_deployment_is_configuration(apache: Httpd, shared_tmp: Path) -> None:
    """Apache reads the whole deployment without a complaint, loads mod_python by it, and uses its mutexes."""
    emitted = emit(modules=str(shared_tmp), application=APPLICATION, mutexes=str(apache.home / "run"))
    apache.modules = ()
    apache.configure(emitted.configuration)
    result = apache.ctl("configtest")
    assert (result.returncode, result.stdout + result.stderr) == (0, "Syntax OK\n")
    install(emitted, shared_tmp)
    apache.start()
    logged(apache, f"using mutex_directory {apache.home}/run")
    logged(apache, "Creating 32 session mutexes")


def test_command_writes_modules_and_prints_their_configuration(shared_tmp: Path) -> None:
    """The command writes the modules, for all to read, and prints the configuration that names where they are."""
    (shared_tmp / "mods").mkdir()
    arguments = ["wrapper", "/var/cache/x", "--for", "mod_python", "--directory", shared_tmp / "mods"]
    more = ["--app", "myapp", "--app-config", "/etc/my.cfg", "--tz", "Europe/Madrid", "--python", "/usr/bin/python3"]
    result = eggcache(*arguments, *more)
    assert (result.returncode, result.stderr.count(": written\n")) == (0, 3)
    assert f"PythonPath \"['{shared_tmp}/mods'] + sys.path\"\n" in result.stdout
    assert 'PythonOption eggcache.timezone "Europe/Madrid"\n' in result.stdout
    assert '<Location "/myapp">' in result.stdout
    assert "prepare /var/cache/x --lenient --python /usr/bin/python3" in result.stdout
    files = {path.name: path for path in (shared_tmp / "mods").iterdir()}
    assert sorted(files) == ["eggcache_gateway.py", "eggcache_modpython.py", "myapp_modpython.py"]
    assert {path.stat().st_mode & 0o7777 for path in files.values()} == {0o644}
    assert "configfile='/etc/my.cfg'" in files["myapp_modpython.py"].read_text()
    result = eggcache("wrapper", "/var/cache/x", "--for", "mod_python", "--python", "/usr/bin/python3")
    assert result.returncode == 0
    assert "\nPythonPath" not in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--for", "shell", "--directory", "/x"],
        ["--for", "shell", "--app", "x"],
        ["--for", "mod_python", "--location", "/x"],
        ["--for", "mod_python", "--app-config", "/x"],
        ["--for", "mod_python", "--app", "x", "--directory", "/x"],
        ["--for", "mod_python", "--app", "x", "--app-config", "/x"],
    ],
)
def test_option_without_its_partner_is_refused(arguments: list[str]) -> None:
    """Options without what they belong to are refused with exit status 2, and nothing is printed."""
    result = eggcache("wrapper", "/var/cache/x", "--python", "/usr/bin/python3", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1


# ------------------------------------------------------------------------- TurboGears 1, by the manual's deployment

MYAPP = r"""
import cherrypy
import turbogears
from turbogears import controllers, expose


class Root(controllers.RootController):
    @expose()
    def index(self):
        assert cherrypy.request.headers.get("Proxy") is None
        return "welcome at %s" % turbogears.url("/there")

    @expose("json")
    def add(self, a, b):
        return dict(sum=int(a) + int(b))

    @expose()
    def cookies(self):
        cherrypy.response.simple_cookie["one"] = "1"
        cherrypy.response.simple_cookie["two"] = "2"
        return u"caf\xe9"
"""


@pytest.mark.parametrize("webpath", ['server.webpath="/myapp"\n', ""], ids=["as in the manual", "not said"])
def test_turbogears_1_answers_by_the_emitted_gateway(
    turbogears1_complete: Deployment, shared_tmp: Path, webpath: str
) -> None:
    """TurboGears 1.1.3 answers at its location by the emitted launcher and gateway: GET, POST, cookies, a 404, URLs."""
    asked = [
        Asked(),
        Asked("/add", "a=1&b=2"),
        Asked("/add", "", "POST", "a=3&b=4"),
        Asked("/cookies"),
        Asked("/nowhere"),
    ]
    settings = f'[global]\nserver.environment="production"\nautoreload.on=False\n{webpath}'
    told = ByGateway(turbogears1_complete, shared_tmp, MYAPP).ask(settings, *asked)
    assert told.ended is None, told.log
    index, added, posted, cookies, nowhere = told.answers
    assert index[:3] == (0, 200, "welcome at /myapp/there"), told.log
    assert json.loads(added.text)["sum"] == 3
    assert json.loads(posted.text)["sum"] == 7
    assert sorted(cookies.headers["Set-Cookie"]) == ["one=1", "two=2"]
    assert cookies.text.encode("latin-1") == "caf\u00e9".encode()
    assert nowhere[:2] == (0, 404)
