# Runs INSIDE the target, after walk.py and before probe.py, whose answer it completes with the evidence: what this
# pkg_resources returns for everything in the eggs of the tree, and whether the modules that matter import.
# Python 2.4 to 3.14 syntax: no `with`, no `except X as e`, no conditional expression, no bytes literal.
#
# Nothing is written, even where the user of this process could: every call that creates or changes a file is replaced,
# wherever a module has it already, by one that writes down what was wanted and fails as on a read-only disk. It is
# known by what it is, not by its name: pkg_resources 0.6c11 has a `replace` of its own, which reads versions.
# A shared library is code, so imports are tried in a child that may crash without taking the rest. No server has
# looked anything up before it imports its application, so nor has that child; and none of what another module has done
# to its process, so each module of an application has a child of its own.
import errno
import select
import signal
import tempfile
import time
import zipfile
import zipimport

MOST = 50  # lookups that failed, of each egg: enough to see what is wrong
SECONDS = 30  # that an import may take
FRAMES = 20  # of its traceback: the last ones
CHANGING = ("mkdir", "makedirs", "mkfifo", "mknod", "rename", "renames", "replace", "unlink", "remove", "rmdir",
            "removedirs", "chmod", "lchmod", "chown", "lchown", "utime", "link", "symlink", "truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What ends up beside a project's own package by the mistake of its setup.py; nobody serves it
BY_ACCIDENT = ("test", "tests", "testing", "docs", "doc", "examples", "example", "setup", "ez_setup", "distribute_setup")
ATTEMPTS = []
DENIED = {}  # by the identity of a function: it, and what stands in for it
tell = answer


def refuse(call, place):
    if not is_text(place):
        place = repr(place)
    ATTEMPTS.append((call, place))
    raise OSError(errno.EROFS, "eggcache check lets nothing be written", place)


def denied(call):
    def wanted(*args, **kwargs):
        refuse(call, (args + ("",))[0])
    return wanted


def denied_temporary(call):
    def wanted(*args, **kwargs):
        place = kwargs.get("dir") or (args + (None, None, None))[2]
        refuse(call, place or tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp")
    return wanted


def only_reading(call, original):
    def opened(*args, **kwargs):
        how = kwargs.get("mode", kwargs.get("flags", (args + ("r", "r"))[1]))
        if isinstance(how, int):
            writes = how & WRITING
        else:
            writes = [char for char in "wax+" if char in str(how)]
        place = (args + (kwargs.get("file", kwargs.get("path")),))[0]
        if hasattr(place, "__fspath__"):
            place = place.__fspath__()
        # a descriptor was opened before, and a device, /dev/null above all, is no file that could be left behind
        if writes and not isinstance(place, int) and not ("%s" % (place,)).lstrip("b'").startswith("/dev/"):
            refuse(call, place)
        return original(*args, **kwargs)
    return opened


def deny_everything():
    for name in CHANGING:
        if hasattr(os, name):
            deny(getattr(os, name), denied(name))
    for name in ("mkstemp", "mkdtemp"):
        deny(getattr(tempfile, name), denied_temporary(name))
    for module in ("os", "builtins", "__builtin__", "io"):
        if module in sys.modules:
            deny(sys.modules[module].open, only_reading("open", sys.modules[module].open))
    for module in list(sys.modules.values()):
        deny_in(module, 1)


def deny(original, instead):
    DENIED[id(original)] = original, instead


def deny_in(owner, depth):
    """Let `owner`, a module, and its classes, have what stands in for each function that is denied. A .pth file may have
    imported it before this script could deny anything."""
    for name, value in list((attempt(vars, owner) or {}).items()):
        original, instead = DENIED.get(id(value), (None, None))
        if original is not None and original is value:
            if not depth:
                instead = staticmethod(instead)  # a class binds it, as it did not bind what the C library has
            attempt(setattr, owner, name, instead)
        elif depth and (isinstance(value, type) or type(value).__name__ == "classobj"):
            deny_in(value, 0)


def attempt_or_words(before):
    """The first thing that the failed function wanted to write, and what it says."""
    said = words()
    if len(ATTEMPTS) > before:
        return list(ATTEMPTS[before]) + [said]
    return ["", "", said]


# ------------------------------------------------------------------------------------------------- every resource


def names_in(listed, inside):
    """The files of an egg, without the root that they are below, and the directories that hold them."""
    names, directories = {}, {}
    for name in listed:
        if not name.startswith(inside) or name.endswith("/"):
            continue
        name = name[len(inside):]
        names[name] = True
        cut = name.rfind("/")
        while cut > 0 and name[:cut] not in directories:
            directories[name[:cut]] = True
            cut = name.rfind("/", 0, cut)
    return sorted(names), sorted(directories)


def ask_once(provider):
    """Let what `provider` takes from the cache be looked at once, and not again for each directory above it: every
    directory is asked for as well, and pkg_resources then goes through all that is below."""
    ask, known = provider._extract_resource, {}

    def extract(manager, zip_path):
        if zip_path not in known:
            before = len(ATTEMPTS)
            path = ask(manager, zip_path)
            if len(ATTEMPTS) > before:
                return path  # as what failed, it is asked again, and told for the directory too
            known[zip_path] = path
        return known[zip_path]
    provider._extract_resource = extract


def listed(row, cache):
    """The names in one egg, and its native modules; None and what is wrong, where it cannot be read."""
    try:
        archive = zipfile.ZipFile(row["egg"])
        try:
            return archive.namelist(), native_modules(row, archive, cache)
        finally:
            archive.close()
    except Exception:
        return None, words()


def look_up(pr, manager, row, cache, listed):
    """What came back for everything in one egg: how much was asked for, and what was not as it should be."""
    found = {"egg": row["egg"], "inside": row["inside"], "files": 0, "directories": 0, "failed": 0, "wrong": []}
    into = os.path.join(cache, str(row["cache_name"]) + "-tmp")
    if listed[0] is None:
        found["failed"], found["wrong"] = 1, [["egg", "", "", "", listed[1]]]
        return found
    names, directories = names_in(listed[0], row["inside"])
    try:
        place = os.path.join(row["egg"], row["inside"]).rstrip(os.sep)
        provider = pr.EggMetadata(zipimport.zipimporter(place))
        ask_once(provider)
    except Exception:
        found["failed"], found["wrong"] = 1, [["egg", "", "", "", words()]]
        return found
    found["files"], found["directories"] = len(names), len(directories)
    for kind, wanted in (("file", names), ("directory", directories)):
        for name in wanted:
            before, wrong = len(ATTEMPTS), None
            try:
                path = provider.get_resource_filename(manager, name)
                if len(ATTEMPTS) > before:
                    wrong = list(ATTEMPTS[before]) + ["it was content all the same"]
                elif path != os.path.join(into, *name.split("/")):
                    wrong = ["", "", "it comes from %s" % path]
            except Exception:
                wrong = attempt_or_words(before)
            if wrong:
                found["failed"] += 1
                if len(found["wrong"]) < MOST:
                    found["wrong"].append([kind, name] + wrong)
    return found


# -------------------------------------------------------------------------------------------------------- imports


def one_of_each(rows):
    """Of several releases of a project the one that is imported: the active one, or the first, which is the newest."""
    chosen = {}
    for row in rows:
        key = row["project"].lower()
        if key not in chosen or row["active"] and not chosen[key]["active"]:
            chosen[key] = row
    return list(chosen.values())


def native_modules(row, archive, cache):
    """(module, its shared library in the cache) for each of an egg that has the stub loader of bdist_egg."""
    found = []
    try:
        names = dict.fromkeys(archive.namelist())
        for name in names:
            if not name.startswith(row["inside"]) or not name.endswith(".so"):
                continue
            parts = name[len(row["inside"]):].split("/")
            module = parts[:-1] + [parts[-1].split(".")[0]]
            stub = row["inside"] + "/".join(module) + ".py"
            if stub in names and str(archive.read(stub)).find("__bootstrap__") >= 0:
                library = os.path.join(cache, str(row["cache_name"]) + "-tmp", *parts)
                found.append((".".join(module), library))
    except Exception:
        pass  # told where everything in it is looked up
    return found


def top_level(pr, row):
    """The modules and packages that a distribution has at the top of its own, as it says itself; [] where it says
    nothing."""
    for dist in attempt(pr.find_distributions, row["location"]) or []:
        if dist.project_name == row["project"]:
            break
    else:
        return []
    names = (attempt(dist.get_metadata, "top_level.txt") or "").split()
    if not names:  # a wheel need not have that
        for line in (attempt(dist.get_metadata, "RECORD") or "").splitlines():
            parts = line.split(",")[0].split("/")
            if len(parts) == 1 and parts[0].endswith(".py"):
                names.append(parts[0][:-3])
            elif len(parts) == 2 and parts[1] == "__init__.py":
                names.append(parts[0])
    return [name for name in unique(names) if re.match("[A-Za-z_][A-Za-z_0-9]*$", name) and name not in BY_ACCIDENT]


def of_roots(pr, result):
    """(module, whether it is on the path) for the top-level modules of the roots; of TurboGears, where the tree is
    of everything."""
    found = [need["found"] for need in result["needs"] if need["by"] is None and need["found"] is not None]
    rows = [result["distributions"][index] for index in unique(found)]
    if REQUEST["everything"]:
        names = [name.lower() for name in REQUEST["reported"]]
        rows = [row for row in result["distributions"] if row["project"].lower() in names and row["active"]]
    return unique([(name, row["active"]) for row in rows for name in top_level(pr, row)])


def import_one(kind, module, library):
    """[state, file, what it wanted to write, where, what it says, the classes of what it raised, the lines that led
    there, the time zone that it has set]"""
    before, zone = len(ATTEMPTS), os.environ.get("TZ")
    try:
        __import__(module)
        found = sys.modules[module]
    except KeyboardInterrupt:
        raise
    except:  # SystemExit, and what Python 2 lets be raised
        kinds, trace, place = classes(sys.exc_info()[1]), frames(sys.exc_info()[2]), ""
        if kind != "native":
            place = attempt(elsewhere) or ""
        return ["failed", place] + attempt_or_words(before) + [kinds, trace, []]
    file = getattr(found, "__file__", None) or ""
    state = "ok"
    if kind != "native" and elsewhere():
        state, file = "elsewhere", elsewhere()
    elif kind == "native" and file != library:
        state = "elsewhere"
    elif kind == "native" and not [name for name in dir(found) if not name.startswith("__")]:
        state = "empty"
    now = os.environ.get("TZ")
    return [state, str(file), "", "", "", [], [], [now][:now != zone]]


def classes(error):
    """The names of the classes of an exception, and of those that it came of, and that a path leads through a file."""
    found, seen = [], 0
    while error is not None and seen < FRAMES:
        found.extend([kind.__name__ for kind in getattr(error.__class__, "__mro__", [error.__class__])])
        if getattr(error, "errno", None) == errno.ENOTDIR:
            found.append("ENOTDIR")
        error, seen = getattr(error, "__cause__", None) or getattr(error, "__context__", None), seen + 1
    return unique(found)


def elsewhere():
    """Where pkg_resources extracts to, if not to the cache: what is imported may have had it do so. "" if it does."""
    pr = sys.modules["pkg_resources"]
    place = absolute(manager_of(pr).extraction_path or attempt(pr.get_default_cache))
    if not REQUEST["cache"] or place is None or os.path.realpath(place) == os.path.realpath(REQUEST["cache"]):
        return ""
    return place


def frames(trace):
    """Where in which files it was, the last place last; without this script's own, and without importlib's.

    Not by traceback, which asks loaders for the text of each line: zipimport's fails for one that is not UTF-8.
    """
    found = []
    while trace:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith("<"):
            found.append("%s, line %s, in %s" % (code.co_filename, trace.tb_lineno, code.co_name))
            del found[:-FRAMES]
        trace = trace.tb_next
    return found


def import_all(wanted, locations):
    """A row of JSON for each of `wanted`, with `locations` at the end of the path: a child answers for as many as it
    survives, then the next one goes on."""
    rows = []
    while len(rows) < len(wanted):
        rest = wanted[len(rows):]
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(reading)
                import_in_child(rest, locations, writing)
            finally:
                os._exit(0)
        os.close(writing)
        text, ended = read_rows(reading, child, len(rest))
        lines = text.split("\n")[:-1]
        rows.extend(lines)
        if len(lines) < len(rest):
            reason = "the process ended"
            if os.WIFSIGNALED(ended):
                reason = "the process was ended by signal %d" % os.WTERMSIG(ended)
                if os.WTERMSIG(ended) == signal.SIGALRM:
                    reason = "it was not done after %d s" % SECONDS
            kind, module, egg, library = rest[len(lines)]
            rows.append(not_imported(rest[len(lines)], reason))
    return rows


def import_each(wanted):
    """As import_all, with a child and locations for each, as long as there is time."""
    rows, started = [], time.time()
    for one, locations in wanted:
        if rows and time.time() - started > REQUEST["seconds"]:
            rows.append(not_imported(one, "it was not tried: the modules before it took %d s" % REQUEST["seconds"]))
        else:
            rows.extend(import_all([one], locations))
    return rows


def not_imported(wanted, reason):
    return to_json(list(wanted[:3]) + ["failed", "", "", "", reason, [], [], []])


def import_in_child(wanted, locations, writing):
    sys.path.extend([place for place in locations if place not in sys.path])
    for kind, module, egg, library in wanted:
        signal.alarm(SECONDS)
        row = to_json([kind, module, egg] + import_one(kind, module, library)) + "\n"
        signal.alarm(0)
        data = row.encode("ascii")
        while data:
            data = data[os.write(writing, data):]


def read_rows(descriptor, child, most):
    """What the child says, and how it ended: until it has said `most` lines, or has ended. Not until the end of the pipe,
    which a process that an import has started, and left behind, may hold for ever."""
    text, ended = "", None
    while text.count("\n") < most:
        if select.select([descriptor], [], [], 0.1)[0]:
            data = os.read(descriptor, 65536)
            if not data:
                break
            text += data.decode("ascii")
        elif ended is not None:
            break
        else:
            gone, status = os.waitpid(child, os.WNOHANG)
            if gone:
                ended = status
    os.close(descriptor)
    if ended is None:
        ended = os.waitpid(child, 0)[1]
    return text, ended


# ------------------------------------------------------------------------------------------------------- together


def answer(result):
    """What probe.py answers, so that the caller can set to work, and then the evidence."""
    tell(result)
    if result["broken"] or result["bad"]:
        return
    pr = sys.modules["pkg_resources"]
    rows = [row for row in result["distributions"] if row["kind"] in ("zipped egg", "inside a basket")]
    cache = REQUEST["cache"]
    default, lookups, importable = None, [], one_of_each(rows)
    locations = [row["location"] for row in importable]
    wanted = [(("application", module, "", ""), []) for module in unique(REQUEST["imports"])]
    if REQUEST["import_roots"]:
        for name, active in of_roots(pr, result):
            if name not in REQUEST["imports"]:  # what a requirement activates later is not on the path yet
                wanted.append((("root", name, "", ""), [place for place in locations if not active]))
    imports = import_each(wanted)
    if cache is None:
        default = absolute(attempt(pr.get_default_cache))
    else:
        within = [listed(row, cache) for row in rows]
        native = []
        for row, (names, modules) in zip(rows, within):
            if names is not None and row in importable:
                native.extend([("native", module, row["egg"], library) for module, library in modules])
        imports.extend(import_all(native, locations))
        for row, found in zip(rows, within):
            lookups.append(look_up(pr, manager_of(pr), row, cache, found))
    text = to_json({"default": default, "lookups": lookups})
    send(text[:-1] + ',"imports":[%s]}\n' % ",".join(imports))


def manager_of(pr):
    return getattr(pr.resource_filename, "im_self", None) or pr.resource_filename.__self__


deny_everything()
