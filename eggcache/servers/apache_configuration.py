"""Apache's configuration as Apache has read it, and the Python that its modules embed.

mod_info prints the whole configuration as Apache has read it (`-D DUMP_CONFIG`): includes, defines and variables
are resolved, and what an <IfModule> left out is not there. Only LoadModule, LoadFile and ServerRoot, which Apache
acts on while it reads, are missing there: LoadModule is read off the files that Apache says it included.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from eggcache.servers import apache
from eggcache.system import files, procfs

MODULES = {"python_module": "mod_python", "wsgi_module": "mod_wsgi"}
_FILES = {"mod_python": ("mod_python.so",), "mod_wsgi": ("mod_wsgi.so", "mod_wsgi_python3.so")}
# Where modules are when no LoadModule says so: Debian, RHEL and SUSE, upstream
_PLACES = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib64/apache2", "/usr/local/apache2/modules")
# Asked in a process of its own: what a library does when it is loaded is no business of ours. RTLD_DEEPBIND, so
# that it asks itself and not the Python that runs this.
_VERSION = """\
import ctypes, os, sys
library = ctypes.CDLL(sys.argv[1], mode=os.RTLD_LAZY | os.RTLD_LOCAL | getattr(os, "RTLD_DEEPBIND", 0))
library.Py_GetVersion.restype = ctypes.c_char_p
print(library.Py_GetVersion().split()[0].decode("ascii"))
"""


@dataclass(frozen=True)
class Directive:
    """One line of the configuration as Apache has read it. Names keep their spelling; Apache ignores case."""

    name: str
    arguments: str  # as they stand: see `words`
    file: str
    line: int
    context: tuple[str, ...] = ()  # the sections around it, outermost first: '<VirtualHost *:80>'

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments, without the quotes and backslashes that Apache takes away (ap_getword_conf)."""
        return tuple(_words(self.arguments))

    @property
    def place(self) -> str:
        """The file and line, for a message."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Embedded:
    """A module that embeds a Python in Apache. What could not be told is None, or an empty tuple."""

    module: str  # "mod_python" or "mod_wsgi"
    file: str | None = None  # the shared object
    version: str | None = None  # the module's own: "3.5.0+git20211031.e6458ec", "4.9.4"
    libpython: str | None = None
    python: tuple[int, ...] = ()  # (3, 11, 2), or (3, 11) where only its name is known


@dataclass(frozen=True)
class Configuration:
    """All of Apache's configuration that could be read. `problem` is the reason where it could not; else ""."""

    problem: str = ""
    directives: tuple[Directive, ...] = ()
    modules: frozenset[str] = frozenset()  # as Apache calls them: "python_module"
    embedded: tuple[Embedded, ...] = ()  # mod_python's first
    user: str | None = None  # who Apache's children run as, and so a daemon process without a user= of its own
    group: str | None = None
    program: str | None = None  # what was asked; None: this host has no Apache

    def named(self, *names: str) -> Iterator[Directive]:
        """The directives with one of these `names`, in the order of the configuration."""
        lowered = {name.lower() for name in names}
        return (directive for directive in self.directives if directive.name.lower() in lowered)


def read(host: apache.Apache) -> Configuration:
    """The configuration of this host's Apache, as `apache.read` found it, in about 0.2 s.

    Raises nothing. Where there is no Apache, `program` is None; where there is one that does not tell, `problem` has
    its own words: a syntax error, a file that this user may not read, a missing mod_info.so.

    :param host: the Apache to ask
    """
    # apache.read leaves out a bare httpd since nothing can be started with it; it answers all the same.
    program = host.apachectl or shutil.which("httpd", path="/usr/sbin:/usr/local/apache2/bin:/usr/local/sbin")
    if program is None:
        return Configuration()
    asked, surroundings = host.answer or (None, None)
    if surroundings is None or asked != program:
        surroundings = apache.ask([program, *apache.SURROUNDINGS])
    loaded = frozenset(re.findall(r"^ (\w+) \((?:static|shared)\)$", surroundings.output, re.MULTILINE))
    if not loaded:
        return Configuration(problem=surroundings.error or "it does not say what it loads", program=program)
    shared = _shared(surroundings.output)
    info = [] if "info_module" in loaded else _info(shared)
    answer = apache.ask([program, *info, "-t", "-D", "DUMP_CONFIG"])
    problem = answer.error
    directives: tuple[Directive, ...] = ()
    if not problem and not info and "info_module" not in loaded:
        problem = "mod_info.so is not installed, and without it Apache does not print its configuration"
    if not problem:
        try:
            directives = tuple(parse(answer.output))
            if not directives:  # no Apache does without a Listen
                raise ValueError("it is empty")
        except ValueError as error:
            problem = f"what Apache prints makes no sense: {error}"
    embedded = tuple(_embedded(MODULES[name], shared.get(name, set()), host) for name in MODULES if name in loaded)
    return Configuration(problem, directives, loaded, embedded, host.user, host.group, program)


def gap(configuration: Configuration) -> str | None:
    """The notice that root could read this host's Apache's configuration and we cannot; None where we can, where there
    is no Apache, or where root cannot read it either, which is a finding.

    :param configuration: what `read` has got
    """
    if not configuration.program or not configuration.problem or os.geteuid() == 0:
        return None
    cause = f"only root can see its whole configuration ({configuration.problem})"
    return f"{configuration.program}: {cause}, so it was not checked; run check as root"


def user_of(host: apache.Apache) -> str | None:
    """The name of the user that this host's Apache runs as.

    :param host: this host's Apache
    """
    if host.user and host.user.isdigit():
        try:
            return pwd.getpwuid(int(host.user)).pw_name
        except KeyError:
            return host.user
    return host.user


def pythons(configuration: Configuration) -> Iterator[str]:
    """The interpreters of the Pythons that it has Apache embed: of WSGIPythonHome and python-home, then of what each
    module is linked with.

    :param configuration: what `read` has got
    """
    homes = [line.words[0] for line in configuration.named("WSGIPythonHome") if line.words]
    homes += [options(line).get("python-home", "") for line in configuration.named("WSGIDaemonProcess")]
    programs = [os.path.join(home, "bin", "python") for home in homes if home.startswith("/")]
    for embedded in configuration.embedded:
        if embedded.libpython and len(embedded.python) > 1:
            prefix = embedded.libpython.partition("/lib")[0] or "/usr"  # /lib is /usr/lib where it is a link
            programs.append(os.path.join(prefix, "bin", f"python{embedded.python[0]}.{embedded.python[1]}"))
    return (path for path in programs if os.path.isfile(path) and os.access(path, os.X_OK))


def parse(text: str) -> Iterator[Directive]:
    """The directives of a DUMP_CONFIG. Raises ValueError where it is not what mod_info prints."""
    file, line, context = "", 0, list[str]()
    for number, raw in enumerate(text.split("\n"), 1):
        item = raw.strip()
        if not item:
            continue
        if item.startswith("#"):
            in_file, at_line = re.fullmatch(r"# In file: (.+)", item), re.fullmatch(r"#\s*([0-9]{1,9}):", item)
            if in_file:
                file = in_file[1]
            elif at_line:
                line = int(at_line[1])
            else:
                raise ValueError(f"line {number} of it")
        elif item.startswith("</"):
            if not context or not re.match(rf"<{re.escape(item[2:-1])}\b", context.pop(), re.IGNORECASE):
                raise ValueError(f"line {number} of it closes what was not open")
        elif not file or not line:
            raise ValueError(f"line {number} of it stands nowhere")
        elif item.startswith("<"):
            context.append(item)
        else:
            name, _, arguments = item.partition(" ")
            yield Directive(name, arguments.strip(), file, line, tuple(context))
    if context:
        raise ValueError("it ends too early")


def options(directive: Directive) -> dict[str, str]:
    """The name=value options of a WSGIDaemonProcess; the name of its process group is under "".

    mod_wsgi takes a name up to "=", then a word by Apache's rules: `python-eggs="/with a blank"`.
    """
    words = directive.words
    values = {"": words[0] if words else ""}
    for match in re.finditer(r"""(?<!\S)([\w-]+)=("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\S*)""", directive.arguments):
        values[match[1].lower()] = next(_words(match[2]), "")
    return values


def idle(configuration: Configuration) -> bool:
    """Whether this Apache runs no application: nothing is said to mod_wsgi or mod_python, and there is no CGI.

    :param configuration: what `read` has got
    """
    names = [line.name.lower() for line in configuration.directives]
    handlers = [line.words[0] for line in configuration.named("SetHandler", "AddHandler") if line.words]
    runs = any(name.startswith(("wsgi", "python", "scriptalias")) for name in names)
    return not (configuration.problem or runs or any(re.search("cgi|wsgi|python", name) for name in handlers))


def proxies(configuration: Configuration) -> Iterator[Directive]:
    """The directives by which Apache hands requests to another server."""
    for line in configuration.named("ProxyPass", "ProxyPassMatch", "RewriteRule", "SetHandler"):
        last = line.words[-1] if line.words else ""
        name = line.name.lower()
        if name == "rewriterule":
            proxies = bool(re.fullmatch(r"\[(?:.*,)?(?:P|proxy)(?:,.*)?\]", last, re.IGNORECASE))
        else:
            # "!" is an exception to others
            proxies = last.startswith("proxy:") if name == "sethandler" else last != "!"
        if proxies:
            yield line


def _words(text: str) -> Iterator[str]:
    """The words of a line by Apache's rules: quotes group, a backslash takes the quote or backslash after it."""
    for match in re.finditer(r""""((?:\\.|[^"\\])*)"?|'((?:\\.|[^'\\])*)'?|(\S+)""", text):
        quote = text[match.start()]
        word = next(part for part in match.groups() if part is not None)
        yield re.sub(rf"\\([\\{quote}])" if match[3] is None else r"\\(\\)", r"\1", word)


def _shared(text: str) -> dict[str, set[str]]:
    """The files of the modules that the included files load, by module; a relative one is below ServerRoot. Of several
    for one module the conditions around them decide, which only Apache knows; "": a variable of another's is in it."""
    root = re.search(r'^ServerRoot: "(/.*)"$', text, re.MULTILINE)
    defined = dict(re.findall(r"^Define: (\w+)=(.*)$", text, re.MULTILINE))
    paths: dict[str, set[str]] = {}
    for file in re.findall(r"^\s+\((?:\*|[0-9]+)\) (/.+)$", text, re.MULTILINE):
        for line in files.lines(file):
            match = re.match(r"\s*LoadModule\s+(\w+)\s+(.+)", line, re.IGNORECASE)
            if match:
                told = re.sub(r"\$\{(\w+)\}", lambda each: defined.get(each[1], each[0]), match[2])
                path = os.path.join(root[1] if root else "/", next(_words(told), ""))
                # One behind an <IfModule> that does not hold may name nothing
                if "${" in path or os.path.isfile(path):
                    paths.setdefault(match[1], set()).add("" if "${" in path else path)
    return paths


def _info(shared: dict[str, set[str]]) -> list[str]:
    """The argument that has Apache load mod_info for this one run; [] where mod_info is not installed."""
    beside = sorted(os.path.dirname(path) for paths in shared.values() for path in paths if path)
    for directory in dict.fromkeys([*beside, *_PLACES]):
        path = os.path.join(directory, "mod_info.so")
        if os.path.isfile(path) and not re.search(r'[\s"\\]', path):
            return ["-c", f"LoadModule info_module {path}"]
    return []


def _embedded(module: str, loaded: set[str], host: apache.Apache) -> Embedded:
    """A module, its version, and its Python: by ldd of its file, else from the memory of a running Apache. `loaded` are
    the files that it may be loaded from: where they are several, only an Apache that runs tells which."""
    mapped = list(_mapped(host.pid_file))
    candidates = [os.path.join(place, name) for place in _PLACES for name in _FILES[module] if not loaded]
    running = (path for path in mapped if os.path.basename(path).startswith(f"{module}"))
    sure = min(loaded) if len({*map(os.path.realpath, loaded)}) == 1 else None
    file = sure or next(running, None) or next((path for path in candidates if os.path.isfile(path)), None)
    libraries = re.findall(r"=> (/\S*/libpython\S+) \(", apache.ask(["ldd", file]).output) if file else []
    libraries += [path for path in mapped if os.path.basename(path).startswith("libpython")]
    libpython = libraries[0] if libraries else None
    return Embedded(module, file, _version_of(module, file), libpython, _python(libpython))


def _version_of(module: str, file: str | None) -> str | None:
    """The version that the module announces in Apache's Server header: it is a string in its file.

    mod_python's Python package has one as well, and may be that of another build than the module that is loaded.
    """
    data = files.beginning(file) if file else b""
    if module == "mod_python":
        versions = re.findall(rb"mod_python/([0-9]+\.[0-9]+[\w.+-]{0,60})\0", data)
    else:  # not joined to its name in the file; what it was compiled with may be there too, and is lower
        versions = re.findall(rb"\0([2-9]\.[0-9]{1,2}(?:\.[0-9]{1,2})?)\0", data)
    return max(versions, key=lambda version: int(version.partition(b".")[0])).decode("ascii") if versions else None


def _python(libpython: str | None) -> tuple[int, ...]:
    """The version of a libpython, asked of itself where it can be loaded, else read off its name.

    It is loaded with our own rights, as Apache does before it becomes its user.
    """
    if libpython is None:
        return ()
    output = ""
    if not getattr(sys, "frozen", False):  # a program that is linked statically loads no library
        output = apache.ask([sys.executable, "-I", "-S", "-c", _VERSION, libpython]).output
    match = re.match(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})", output)
    match = match or re.match(r"libpython([0-9])\.([0-9]{1,3})", os.path.basename(libpython))
    return tuple(map(int, match.groups())) if match else ()


def _mapped(pid_file: str | None) -> Iterable[str]:
    """The files that a running Apache has mapped; none where no Apache runs, or we may not look."""
    pid = files.beginning(pid_file).strip() if pid_file else b""
    if not re.fullmatch(rb"[0-9]{1,9}", pid):
        return ()
    try:
        program = os.path.basename(procfs.program(int(pid)))
    except OSError:
        return ()
    if not re.match("apache2|httpd", program):  # a pid file that was left behind, and somebody else's process
        return ()
    answers = procfs.ask([int(pid)], lambda pid: os.fsdecode(procfs.maps(pid)), [])
    return dict.fromkeys(file for _, maps in answers for file in re.findall(r" (/\S.*\.so\S*)$", maps, re.MULTILINE))
