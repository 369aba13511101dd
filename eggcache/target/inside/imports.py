# Runs INSIDE the target, between write_denial.py and lookups.py: whether the modules that matter import.
# Python 2.4 to 3.14 syntax: no `with`, no `except X as e`, no conditional expression, no bytes literal.
#
# A shared library is code, so imports are tried in a child that may crash without taking the rest. No server has
# looked anything up before it imports its application, so nor has that child; and none of what another module has done
# to its process, so each module of an application has a child of its own.
import errno
import re
import select
import signal
import time

SECONDS = 30  # that an import may take
FRAMES = 20  # of its traceback: the last ones
# What ends up beside a project's own package by the mistake of its setup.py; nobody serves it
BY_ACCIDENT = ("test", "tests", "testing", "docs", "doc", "examples", "example", "setup", "ez_setup", "distribute_setup")


def one_of_each(rows):
    """Of several releases of a project the one that is imported: the active one, or the first, which is the newest."""
    choices = {}
    for row in rows:
        key = row["project"].lower()
        if key not in choices or row["active"] and not choices[key]["active"]:
            choices[key] = row
    return list(choices.values())


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
    indexes = [need["found"] for need in result["needs"] if need["by"] is None and need["found"] is not None]
    rows = [result["distributions"][index] for index in unique(indexes)]
    if REQUEST["everything"]:
        names = [name.lower() for name in REQUEST["reported"]]
        rows = [row for row in result["distributions"] if row["project"].lower() in names and row["active"]]
    return unique([(name, row["active"]) for row in rows for name in top_level(pr, row)])


def import_one(kind, module, library):
    """[state, file, what it wanted to write, where, what it says, the classes of what it raised, the lines that led
    there, the time zone that it has set, what it has had extracted]"""
    count, zone = len(ATTEMPTS), os.environ.get("TZ")
    try:
        __import__(module)
        result = sys.modules[module]
    except KeyboardInterrupt:
        raise
    except:  # SystemExit, and what Python 2 lets be raised
        kinds, trace, place = classes(sys.exc_info()[1]), frames(sys.exc_info()[2]), ""
        if kind != "native":
            place = attempt(elsewhere) or ""
        return ["failed", place] + attempt_or_words(count) + [kinds, trace, [], []]
    file = getattr(result, "__file__", None) or ""
    state = "ok"
    if kind != "native" and elsewhere():
        state, file = "elsewhere", elsewhere()
    elif kind == "native" and file != library:
        state = "elsewhere"
    elif kind == "native" and not [name for name in dir(result) if not name.startswith("__")]:
        state = "empty"
    new_zone = os.environ.get("TZ")
    extractions = kind == "aside" and sorted(map(str, manager_of(sys.modules["pkg_resources"]).cached_files)) or []
    return [state, str(file), "", "", "", [], [], [new_zone][:new_zone != zone], extractions[:FRAMES]]


def classes(error):
    """The names of the classes of an exception, and of those that it came of, and that a path leads through a file."""
    names, depth = [], 0
    while error is not None and depth < FRAMES:
        names.extend([kind.__name__ for kind in getattr(error.__class__, "__mro__", [error.__class__])])
        if getattr(error, "errno", None) == errno.ENOTDIR:
            names.append("ENOTDIR")
        error, depth = getattr(error, "__cause__", None) or getattr(error, "__context__", None), depth + 1
    return unique(names)


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
    places = []
    while trace:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith("<"):
            places.append("%s, line %s, in %s" % (code.co_filename, trace.tb_lineno, code.co_name))
            del places[:-FRAMES]
        trace = trace.tb_next
    return places


def import_all(tasks, locations):
    """A row of JSON for each of `tasks`, with `locations` at the end of the path: a child answers for as many as it
    survives, then the next one goes on."""
    rows = []
    while len(rows) < len(tasks):
        rest = tasks[len(rows):]
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(reading)
                import_in_child(rest, locations, writing)
            finally:
                os._exit(0)
        os.close(writing)
        text, status = read_rows(reading, child, len(rest))
        lines = text.split("\n")[:-1]
        rows.extend(lines)
        if len(lines) < len(rest):
            reason = "the process ended"
            if os.WIFSIGNALED(status):
                reason = "the process was ended by signal %d" % os.WTERMSIG(status)
                if os.WTERMSIG(status) == signal.SIGALRM:
                    reason = "it was not done after %d s" % SECONDS
            kind, module, egg, library = rest[len(lines)]
            rows.append(not_imported(rest[len(lines)], reason))
    return rows


def import_each(tasks):
    """As import_all, with a child and locations for each, as long as there is time."""
    rows, start = [], time.time()
    for task, locations in tasks:
        if rows and time.time() - start > REQUEST["seconds"]:
            rows.append(not_imported(task, "it was not tried: the modules before it took %d s" % REQUEST["seconds"]))
        else:
            rows.extend(import_all([task], locations))
    return rows


def not_imported(task, reason):
    return to_json(list(task[:3]) + ["failed", "", "", "", reason, [], [], [], []])


def import_in_child(tasks, locations, writing):
    sys.path.extend([place for place in locations if place not in sys.path])
    for kind, module, egg, library in tasks:
        signal.alarm(SECONDS)
        row = to_json([kind, module, egg] + import_one(kind, module, library)) + "\n"
        signal.alarm(0)
        data = row.encode("ascii")
        while data:
            data = data[os.write(writing, data):]


def read_rows(descriptor, child, count):
    """What the child says, and how it ended: until it has said `count` lines, or has ended. Not until the end of the pipe,
    which a process that an import has started, and left behind, may hold for ever."""
    text, end = "", None
    while text.count("\n") < count:
        if select.select([descriptor], [], [], 0.1)[0]:
            data = os.read(descriptor, 65536)
            if not data:
                break
            text += data.decode("ascii")
        elif end is not None:
            break
        else:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                end = status
    os.close(descriptor)
    if end is None:
        end = os.waitpid(child, 0)[1]
    return text, end


def begin_beside(count, work, *args):
    """A child that does `work`, which returns `count` lines, while this process goes on; None where it is to be done
    here."""
    if not count:
        return None
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError:  # no more processes for this user
        os.close(reading)
        os.close(writing)
        return None
    if not child:
        try:
            os.close(reading)
            for line in work(*args):
                data = (line + "\n").encode("ascii")
                while data:
                    data = data[os.write(writing, data):]
        finally:
            os._exit(0)
    os.close(writing)
    return reading, child


def end_beside(begun, count, work, *args):
    """The lines of that work; of a child that has not come to its end, they are made here."""
    if begun is not None:
        lines = read_rows(begun[0], begun[1], count)[0].split("\n")[:-1]
        if len(lines) == count:
            return lines
    return work(*args)


def manager_of(pr):
    return getattr(pr.resource_filename, "im_self", None) or pr.resource_filename.__self__
