# eggcache_gateway: a WSGI gateway for mod_python, of PEP 333 and PEP 3333. Python 2.4 to 3.13 syntax.
#
# Written by `eggcache wrapper DIR --for mod_python --app MODULE ...`. It takes the place of modpython_gateway, which
# the TurboGears manual tells to download from a site that is gone, with the same options:
#
#     <Location /myapp>
#         SetHandler python-program
#         PythonHandler eggcache_gateway::handler
#         PythonOption wsgi.application cherrypy._cpwsgi::wsgiApp
#     </Location>
#
# SCRIPT_NAME is the path of the <Location>; `PythonOption wsgi.script_name /other` is another one, and / is none.
# What goes wrong is in Apache's error log, each line of it with the client's address.
import re
import sys
import traceback

from mod_python import apache

PYTHON_3 = sys.version_info[0] > 2
BYTES = type("".encode("ascii"))
EMPTY = "".encode("ascii")
BLOCK = 8192
BODILESS = (204, 304)
HOP_BY_HOP = ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
              "transfer-encoding", "upgrade")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
TEXT = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")


class Gone(Exception):
    """The client has closed the connection: nobody is there to read the rest."""


class Broken(IOError):
    """The body of the request cannot be read to its end."""

    status = apache.HTTP_BAD_REQUEST


def broken(error):
    """What mod_python raised, as one exception: where it is its first read that failed, it is a SystemError."""
    result = Broken("the body cannot be read: the client has closed, or it is too large, or no proper chunks")
    # By name, since other interpreters of the process have a class of that name too, and it may be one of theirs.
    if type(error).__name__ == "SERVER_RETURN":
        result.status = error.args[0]
    return result


def native(function, *arguments):
    """The string that a function of mod_python returns as PEP 3333 wants it: a character for each byte. Or None.

    mod_python for Python 3 takes everything that clients send for UTF-8. Where it is not, .get() and attributes
    raise an error that has the bytes; [] and .items() end the process, and must not be used.
    """
    try:
        value = function(*arguments)
    except UnicodeDecodeError:
        value = sys.exc_info()[1].object
    if PYTHON_3 and isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if PYTHON_3 and isinstance(value, BYTES):
        value = value.decode("latin-1")
    return value


class Errors:
    """wsgi.errors: every line becomes one of Apache's error log, before and after the end of the request."""

    def __init__(self, req):
        self.req = req
        self.rest = ""

    def write(self, text):
        lines = (self.rest + text).split("\n")
        self.rest = lines.pop()
        for line in lines:
            self.log(line)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        rest, self.rest = self.rest, ""
        if rest:
            self.log(rest)

    def log(self, line, level=apache.APLOG_ERR):
        if PYTHON_3:
            line = line.encode("utf-8", "backslashreplace").decode("utf-8")
        elif not isinstance(line, str):
            line = line.encode("utf-8")
        line = line.replace("\0", "\\0")  # C's strings end there
        if self.req is None:
            apache.log_error(line, level)
        else:
            self.req.log_error(line, level)


class Input:
    """wsgi.input: the body of the request, which ends where it ends, whether it came with its length or chunked."""

    def __init__(self, req):
        self.req = req
        self.buffer = EMPTY
        self.ended = False
        self.chunked = (native(req.headers_in.get, "Transfer-Encoding") or "").lower() == "chunked"

    def more(self, size):
        """Read up to `size` bytes into the buffer, waiting for them; whether there may be more after that."""
        if self.req is None:
            raise ValueError("the request has ended, and its body cannot be read any more")
        if self.ended:
            return False
        if self.chunked:
            self.expect_chunks()
        self.req.eggcache_wanted = size
        try:
            data = self.req.read(size)
        except Exception:
            raise broken(sys.exc_info()[1])
        # Never asked again after that: mod_python would set up reading once more where it has read nothing.
        self.ended = len(data) < size
        if data:
            self.buffer += data
        return not self.ended

    def expect_chunks(self):
        # mod_python has Apache refuse a chunked body (411). So it gets to see a body with a length, and `dechunk`
        # tells Apache's own decoder the truth again before that looks.
        self.chunked = False
        if not hasattr(self.req, "register_input_filter"):  # mod_python before 3.3: 411 it is
            return
        self.req.register_input_filter("EGGCACHE_DECHUNK", "eggcache_gateway::dechunk")
        self.req.add_input_filter("EGGCACHE_DECHUNK")
        del self.req.headers_in["Transfer-Encoding"]
        self.req.headers_in["Content-Length"] = "1"  # "there is something"; how much, the decoder says
        self.req.eggcache_chunked = True

    def take(self, size):
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read(self, size=-1):
        if size is None or size < 0:
            parts = [self.take(len(self.buffer))]
            while self.more(BLOCK):
                parts.append(self.take(BLOCK))
            return EMPTY.join(parts) + self.take(BLOCK)
        parts = [self.take(size)]
        left = size - len(parts[0])
        while left > 0:
            going_on = self.more(min(left, BLOCK))
            parts.append(self.take(left))
            left -= len(parts[-1])
            if not going_on:
                break
        return EMPTY.join(parts)

    def readline(self, size=-1):
        newline = "\n".encode("ascii")
        searched = 0
        while True:
            found = self.buffer.find(newline, searched)
            if found >= 0:
                end = found + 1
                break
            searched = len(self.buffer)
            if (size is not None and 0 <= size <= searched) or not self.more(BLOCK):
                end = self.buffer.find(newline, searched) + 1 or len(self.buffer)
                break
        if size is not None and size >= 0:
            end = min(end, size)
        return self.take(end)

    def readlines(self, hint=-1):
        lines, length = [], 0
        for line in self:
            lines.append(line)
            length += len(line)
            if hint is not None and 0 < hint <= length:
                break
        return lines

    def __iter__(self):
        return iter(self.readline, EMPTY)


def dechunk(filter):
    """The input filter above Apache's own decoder: lets it see that the body is chunked, and hands on what it says."""
    req = filter.req
    if getattr(req, "eggcache_chunked", False):
        req.eggcache_chunked = False
        req.headers_in["Transfer-Encoding"] = "chunked"
        del req.headers_in["Content-Length"]
    # Not a byte more than was asked for: ap_get_client_block() has nowhere to put it.
    data = filter.read(getattr(req, "eggcache_wanted", BLOCK))
    if data is None:
        filter.close()
    elif data:
        filter.write(data)


class Response:
    """What start_response() said, and what has been sent of it."""

    def __init__(self, req):
        self.req = req
        self.status = None
        self.headers = []
        self.sent = False
        self.left = None  # what may still be sent of the Content-Length

    def start(self, status, headers, exc_info=None):
        """start_response() of PEP 3333. Raises the application's error again where it comes after the headers."""
        if exc_info:
            try:
                if self.sent:
                    again(exc_info)
            finally:
                exc_info = None  # a cycle through the traceback
        elif self.status is not None:
            raise AssertionError("start_response() was called again, without exc_info")
        self.status, self.headers = checked(status, headers)
        return self.write

    def write(self, data):
        """What start_response() returns, for applications that cannot give an iterable."""
        self.send(data, True)

    def send(self, data, flush, whole=False):
        """Send a part of the body, `whole` where it is all of it; the headers before the first byte, not sooner."""
        if not isinstance(data, BYTES):
            raise TypeError("the body has to be of bytes, and there is %r in it" % type(data))
        if self.req is None:
            raise ValueError("the request has ended, and nothing can be sent any more")
        if not data:
            return
        if self.status is None:
            raise AssertionError("there is a body before start_response() was called")
        if whole and not self.sent and "content-length" not in [name.lower() for name, _ in self.headers]:
            if int(self.status[:3]) not in BODILESS:
                self.headers.append(("Content-Length", str(len(data))))
        self.send_headers()
        if self.left is not None:
            data = data[:self.left]  # the rest would be taken for the start of the next response
            self.left -= len(data)
        if data and not self.req.header_only and int(self.status[:3]) not in BODILESS:
            try:
                self.req.write(data, flush)
            except IOError:
                raise Gone()

    def send_headers(self):
        if self.sent:
            return
        if self.status is None:
            raise AssertionError("the application did not call start_response()")
        self.sent = True
        self.req.status = int(self.status[:3])
        self.req.status_line = self.status
        for name, value in self.headers:
            if name.lower() == "content-type":
                self.req.content_type = value
            elif name.lower() == "content-length":
                self.left = int(value)
                self.req.set_content_length(self.left)
            else:
                self.req.headers_out.add(name, value)  # of Set-Cookie there may be several


def again(exc_info):
    if PYTHON_3:
        raise exc_info[1].with_traceback(exc_info[2])
    exec("raise exc_info[0], exc_info[1], exc_info[2]")


def checked(status, headers):
    """Status and headers as mod_python takes them. Raises ValueError: a line break in one would start another."""
    status = text(status)
    if not re.match(r"[1-9][0-9][0-9]( |\Z)", status):
        raise ValueError("%r is no status: three digits and a reason" % status)
    pairs = []
    for name, value in headers:
        name, value = text(name), text(value.strip())  # CherryPy 2 leaves half a line end behind each cookie
        if not TOKEN.match(name) or name.lower() in HOP_BY_HOP:
            raise ValueError("an application cannot send the header %r" % name)
        if name.lower() == "content-length" and not re.match(r"[0-9]+\Z", value):
            raise ValueError("the Content-Length %r is no number" % value)
        pairs.append((name, value))
    return status, pairs


def text(value):
    if not PYTHON_3 and type(value).__name__ == "unicode":  # not PEP 333's, but frameworks of the time do it
        value = value.encode("latin-1")
    if not isinstance(value, str):
        raise TypeError("status and headers have to be strings, and %r is none" % (value,))
    if PYTHON_3:
        value.encode("latin-1")  # PEP 3333: a character is a byte
    if not TEXT.match(value):
        raise ValueError("%r has a control character" % value)
    return value


def mounted(req):
    """SCRIPT_NAME and PATH_INFO: what the option says, or else the path of the <Location>."""
    uri = native(getattr, req, "uri") or ""
    prefix = native(req.get_options().get, "wsgi.script_name")
    if prefix is None:
        prefix = native(getattr, getattr(req, "hlist", None), "directory", None) or ""
    prefix = prefix.rstrip("/")
    if uri == prefix or uri.startswith(prefix + "/"):
        return prefix, uri[len(prefix):]
    return "", uri  # a <LocationMatch>, or a <Directory>


def mpm(question):
    try:
        return bool(apache.mpm_query(getattr(apache, question)))
    except AttributeError:  # mod_python before 3.2; PEP 3333: true where it may be
        return True


def environment(req, body, errors):
    """environ: the CGI variables as Apache gives them, and PEP 3333's own."""
    req.add_common_vars()
    environ = {}
    for name in req.subprocess_env.keys():
        value = native(req.subprocess_env.get, name)
        if value is not None:
            environ[name] = value
    # A client's header "Proxy", which libraries would take for the variable; and one that is no longer true.
    for name in ("HTTP_PROXY", "HTTP_TRANSFER_ENCODING"):
        environ.pop(name, None)
    authorization = native(req.headers_in.get, "Authorization")  # Apache keeps it from CGI programs
    if authorization is not None:
        environ["HTTP_AUTHORIZATION"] = authorization
    environ["REQUEST_METHOD"] = native(getattr, req, "method")
    environ["REQUEST_URI"] = native(getattr, req, "unparsed_uri") or ""
    environ["QUERY_STRING"] = native(getattr, req, "args") or ""
    environ["SERVER_PROTOCOL"] = native(getattr, req, "protocol")
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = mounted(req)
    environ["wsgi.version"] = (1, 0)
    environ["wsgi.url_scheme"] = "http"
    if environ.get("HTTPS", "off").lower() in ("on", "1"):
        environ["wsgi.url_scheme"] = "https"
    environ["wsgi.input"] = body
    environ["wsgi.input_terminated"] = True  # read() ends where the body does, without a CONTENT_LENGTH too
    environ["wsgi.errors"] = errors
    environ["wsgi.multithread"] = mpm("AP_MPMQ_IS_THREADED")
    environ["wsgi.multiprocess"] = mpm("AP_MPMQ_IS_FORKED")
    environ["wsgi.run_once"] = False
    return environ


def application(req):
    """What `PythonOption wsgi.application module::object` names; the object is "application" where it has none."""
    name = native(req.get_options().get, "wsgi.application")
    if not name:
        raise LookupError("there is no PythonOption wsgi.application here, such as myapp.wsgi::application")
    parts = name.split("::", 1) + ["application"]
    __import__(parts[0])
    found = sys.modules[parts[0]]
    for part in parts[1].split("."):
        found = getattr(found, part)
    return found


def run(found, environ, response):
    """Call the application and send what it returns; its close() is called whatever happens."""
    result = found(environ, response.start)
    try:
        whole = hasattr(result, "__len__") and len(result) == 1
        for data in result:
            response.send(data, not whole, whole)
        response.send_headers()
    finally:
        if hasattr(result, "close"):
            result.close()


def handler(req):
    """For PythonHandler: answer one request with the application."""
    errors, response = Errors(req), Response(req)
    body = Input(req)
    try:
        try:
            run(application(req), environment(req, body, errors), response)
        except Gone:
            errors.log("eggcache_gateway: the client has closed the connection", apache.APLOG_INFO)
        except Broken:  # nobody's mistake here
            errors.log("eggcache_gateway: %s" % sys.exc_info()[1], apache.APLOG_INFO)
            if not response.sent:
                return sys.exc_info()[1].status
        except:  # noqa: E722 - SystemExit too: it must not end the worker
            errors.flush()
            errors.write(traceback.format_exc())
            if not response.sent:
                return apache.HTTP_INTERNAL_SERVER_ERROR
        return apache.OK
    finally:
        errors.flush()
        errors.req = body.req = response.req = None  # Apache frees it; an application may have kept them
