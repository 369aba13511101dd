# Runs INSIDE the target, after lookups.py and before probe.py, on a host where there is no eggcache: as its runtime user,
# with the egg cache that an archive has brought. It says what `check` says, a line for each kind of fault: what is
# wrong with the files (file_fault.py), what this pkg_resources makes of them and whether their shared libraries load
# (lookups.py), and what its user could write. Python 2.4 to 3.14 syntax.
import calendar
import datetime

AGAIN = "extract the archive again, as root and with -p"
NATIVE = {"elsewhere": "native-module-fails", "failed": "native-module-fails", "empty": "native-module-empty"}
FAULTS = []  # (code, thing, cause, remedy), in the order in which they were found


def fault(code, thing, cause, remedy):
    FAULTS.append((code, thing, cause, remedy))


# ---------------------------------------------------------------------------------------------------- what is asked


def begin():
    """Take the command line and the environment; end where they make no sense."""
    if [word for word in sys.argv[1:] if word.startswith("-")]:
        usage("its arguments are directories and eggs, such as Apache's PythonPath adds")
    if os.getuid() == 0:
        usage("as root it proves nothing: run it as the user that the server runs as, su -s /bin/sh USER -c '...'")
    if sys.argv[1:]:
        REQUEST["paths"] = [os.path.abspath(word) for word in sys.argv[1:]]
        for path in REQUEST["paths"]:
            if not os.path.exists(path):
                usage("%s: there is no such directory or egg, or %s cannot get there" % (path, reader()))
    cache = os.environ.get("PYTHON_EGG_CACHE")
    if cache:
        REQUEST["cache"] = cache
    if not os.path.isabs(REQUEST["cache"]):
        usage("PYTHON_EGG_CACHE=%s: write it in full" % REQUEST["cache"])
    os.environ["PYTHON_EGG_CACHE"] = REQUEST["cache"] = os.path.abspath(REQUEST["cache"])
    os.chdir("/")


def usage(text):
    show("%s: %s" % (sys.argv[0], text))
    end(USAGE)


def user():
    import pwd
    try:
        return pwd.getpwuid(os.getuid())[0]
    except KeyError:
        return "user %d" % os.getuid()


def reader():
    """The same in a sentence: "nobody can write to it" would be the opposite of what is meant."""
    return {"nobody": "user nobody"}.get(user(), user())


# ---------------------------------------------------------------------------------------------------- what is there


def reached(cache):
    """Whether the cache is a directory that this user can read."""
    place = cache
    while place != os.path.dirname(place) and not os.path.lexists(place):
        place = os.path.dirname(place)
    if place == cache and not os.path.isdir(cache):
        fault("cache-missing", cache, "it is no directory", AGAIN)
    elif not os.access(place, os.X_OK) or place == cache and not os.access(place, os.R_OK):
        fault("cache-unreachable", place, "%s may not search it" % reader(), "let %s through, or %s" % (reader(), AGAIN))
    elif place != cache:
        fault("cache-missing", cache, "it does not exist", AGAIN)
    else:
        return True
    return False


def place_of(row, cache):
    """The directory of an egg in the cache, and the root in the zip of what it holds."""
    inside = row["inside"]
    if row["cache_name"] == os.path.basename(row["egg"]):
        inside = ""  # a basket, since setuptools 49.6
    return os.path.join(cache, str(row["cache_name"]) + "-tmp"), inside


def compare(row, cache, shifted):
    """Compare each file of one egg with the egg; whether there was a fault. `shifted` gets what is current in another
    time zone."""
    into, inside = place_of(row, cache)
    archive, doubtful = zipfile.ZipFile(row["egg"]), []
    try:
        members = dict([(info.filename, info) for info in archive.infolist()])  # of two with one name the last one
        wrong, count = {}, 0
        for name in sorted(members):
            if name.startswith(inside) and not name.endswith("/"):
                count += 1
                if ambiguous(tuple(members[name].date_time)):
                    doubtful.append(name)
                    continue
                path = os.path.join(into, *name[len(inside):].split("/"))
                code, reason = one(archive, members[name], path)
                if code == "time-zone":
                    shifted.append((path, reason, members[name].date_time))
                elif code:
                    wrong.setdefault(code, []).append((path, reason))
        for path in directories_of(into, [name[len(inside):] for name in members if name.startswith(inside)]):
            if not os.access(path, os.R_OK) and os.access(path, os.X_OK):  # else its files are not readable, either
                wrong.setdefault("member-unreadable", []).append((path, "cannot be listed: Permission denied"))
    finally:
        archive.close()
    if doubtful:
        fault("ambiguous-time", row["egg"], "%s is of a time that there is twice, or never, where the clocks here are set: no "
              "file is current for every process" % doubtful[0], "unzip it, or make the archive with --tz UTC0")
    for code in sorted(wrong):
        path, reason = wrong[code][0]
        suffix, remedy = "", AGAIN
        if len(wrong[code]) > 1:
            suffix = " (and %d more of %s)" % (len(wrong[code]) - 1, row["egg"])
        if not os.path.lexists(into):
            fault("egg-not-in-cache", into, "it is missing, with the %s of %s" % (counted(count, "file"), row["egg"]),
                  AGAIN + ", or make one with this egg")
            break
        if code == "member-changed":
            remedy = "find out who changed it, and " + AGAIN
        fault(code, path, "it %s%s" % (reason, suffix), remedy)
    return bool(wrong or doubtful)


def ambiguous(date):
    """Whether the C library's answer for this local time is a matter of chance: see eggcache/eggs/zip_dates.py."""
    year, month = date[0] + (date[1] - 1) // 12, (date[1] - 1) % 12 + 1
    days = datetime.date(year, month, 1).toordinal() - datetime.date(1970, 1, 1).toordinal() + date[2] - 1
    as_utc = ((days * 24 + date[3]) * 60 + date[4]) * 60 + date[5]
    seconds = int(time.mktime(date + (0, 0, -1)))
    before, after = seconds - 86400, seconds + 86400
    first, last = offset(before), offset(after)
    if first == last:
        return False
    right = [offset(as_utc - first) == first, offset(as_utc - last) == last]
    same_kind = time.localtime(before)[8] == time.localtime(after)[8]
    return right == [True, True] or right == [False, False] and same_kind


def offset(seconds):
    """How far local time is ahead of UTC then."""
    return calendar.timegm(time.localtime(seconds)) - seconds


def one(archive, info, path):
    def same(descriptor):
        stream = os.fdopen(os.dup(descriptor), "rb")
        try:
            return stream.read() == archive.read(info.filename)
        finally:
            stream.close()
    mtime = int(time.mktime(tuple(info.date_time) + (0, 0, -1)))
    return difference(path, info.file_size, mtime, same)


def shift(shifted):
    """What makes files current in another zone: the zone of this process, or this host's rules of the archive's."""
    path, offset, date = shifted[0]
    verb = {True: "is", False: "are"}[len(shifted) == 1]
    cause = "%s %s not current, %s is off by %s" % (counted(len(shifted), "file"), verb, path, offset)
    zone, host_zone = REQUEST["timezone"], os.environ.get("TZ")
    words = {True: "without TZ", False: "with TZ=%s" % zone}[zone is None]
    if zone == host_zone:
        rules = ""
        if REQUEST["rules"]:
            rules = ", which had release %s," % REQUEST["rules"]
        cause = "%s, though it runs %s, as the archive was made: the zone data of this host are not those of the one " \
                "that made it%s or it has no such zone" % (cause, words, rules or ",")
        remedy = "have it made with --tz UTC, or with the rule itself, as --tz 'CET-1CEST,M3.5.0,M10.5.0/3', and start " \
                 "the server with that TZ"
    else:
        setting = "without TZ"
        if host_zone is not None:
            setting = "with TZ=%s" % host_zone
        cause = "%s: the archive is for a server %s, and this runs %s" % (cause, words, setting)
        remedy = "run this, and the server, %s, as the wrapper does" % words
    fault("time-zone", REQUEST["cache"], cause, remedy)


def writable(top):
    """What this user could write, or owns, in the cache and above it; who else could, as far as pkg_resources looks."""
    mode = os.stat(top).st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        fault("cache-open-to-others", top, "others than its owner may write to it, of which most releases of "
              "pkg_resources warn", "remove the cache, and " + AGAIN)
    place = top
    while place != os.path.dirname(place):  # of //tmp it is "//"
        entry, place = place, os.path.dirname(place)
        mine = os.stat(place).st_uid == os.getuid()
        if mine or os.access(place, os.W_OK):
            # sticky, as /tmp: only the owner of an entry can exchange it
            if mine or not os.stat(place).st_mode & stat.S_ISVTX or os.lstat(entry).st_uid == os.getuid():
                fault("parent-writable", place, "%s can exchange what is in it, and so the whole cache %s" % (reader(), top),
                      "make an archive for a directory below directories of root's")
    open_paths, places = [], [top]
    for directory, directories, files in os.walk(top):
        places.extend([os.path.join(directory, name) for name in directories + files])
    for path in places:
        try:
            info = os.lstat(path)
        except OSError:
            continue
        if info.st_uid == os.getuid() or not os.path.islink(path) and os.access(path, os.W_OK):
            open_paths.append(path)
    if open_paths:
        more = ""
        if len(open_paths) > 1:
            more = " (and to %d more)" % (len(open_paths) - 1)
        fault("cache-writable", open_paths[0], "%s can write to it, so whoever breaks into the server can change the code "
              "that it runs%s" % (reader(), more), "remove the cache, and " + AGAIN)


def native(rows, within, locations, differing):
    """The shared libraries that do not load from the cache."""
    tasks = []
    for row, (names, modules) in zip(rows, within):
        if names is not None and row["egg"] not in differing:
            tasks.extend([("native", module, row["egg"], library) for module, library in modules])
    for line in import_all(tasks, locations):
        texts = [plain(text) for text in re.findall(r'"((?:[^"\\]|\\u[0-9a-f]{4})*)"', line)[:8]]
        kind, module, egg, state, file, call, path, message = texts
        if state == "ok":
            continue
        cause = "it does not import: " + message
        if state == "elsewhere":
            cause = "it is imported from %s" % file
        elif state == "empty":
            cause = "it imports from %s as an empty module" % file
        elif "failed to map segment" in message:
            fault("noexec", REQUEST["cache"], "%s: %s" % (module, message), "mount that without noexec")
            continue
        fault(NATIVE[state], module, cause, "unzip %s, or install it as built for this machine" % egg)


def plain(text):
    """A string of to_json()."""
    return from_bytes(re.sub(r"\\u00(..)", lambda match: chr(int(match.group(1), 16)), text))


def unseen(rows, cache):
    """The eggs of the archive that this Python does not have on its path, or does not take for eggs there."""
    names = [os.path.basename(place_of(row, cache)[0]) for row in rows]
    absences = []
    for name in [name[:-len("-tmp")] for name in REQUEST["names"] if name not in names]:
        path = on_path(name)
        if not path:
            absences.append(name)
        elif not os.access(path, os.R_OK):
            fault("egg-unreadable", path, "%s may not read it" % reader(), "let %s read it" % reader())
        elif not os.path.isdir(path):  # which needs no cache
            fault("egg-refused", path, "%s does not take it for a zip" % sys.executable, "install it anew")
    if absences:
        suffix = ""
        if len(absences) > 1:
            suffix = " (and %d more)" % (len(absences) - 1)
        fault("egg-unseen", absences[0], "it is in the archive, and %s finds no egg of that name%s"
              % (sys.executable, suffix), "name the directory that it lies in, behind %s, or let %s read it"
              % (sys.argv[0], reader()))


def on_path(name):
    """Where a file or directory of that name lies on the path of this Python, as an entry or in one; "" if nowhere."""
    for place in sys.path:
        for path in (place, os.path.join(place, name)):
            if os.path.basename(path) == name and os.path.exists(path):
                return path
    return ""


# ---------------------------------------------------------------------------------------------------------- together


def answer(result):
    """Say what is wrong with the cache for the tree that probe.py has found, and end."""
    if result["broken"]:
        fault("broken-pkg-resources", sys.executable, "its pkg_resources does not import: %s" % result["broken"],
              "see to that")
        conclude([], [])
    pr, cache = sys.modules["pkg_resources"], REQUEST["cache"]
    rows = [row for row in result["distributions"] if row["kind"] in ("zipped egg", "inside a basket")]
    unseen(rows, cache)
    lookups, works = [], hasattr(pr.ZipProvider, "_extract_resource")  # distribute 0.6.46, setuptools 0.7.5 and their next
    if not works:
        fault("broken-pkg-resources", sys.executable, "its pkg_resources fails whenever it is asked for a file",
              "install another release of setuptools, or unzip the eggs")
    if (rows or os.path.lexists(cache)) and reached(cache):
        differing, shifted = [], []
        within = [listed(row, cache) for row in rows]
        for row in rows:
            count = len(shifted)
            try:
                wrong = compare(row, cache, shifted)
            except Exception:
                wrong = True
                fault("egg-refused", row["egg"], "it cannot be read: %s" % words(), "install it anew")
            if wrong or len(shifted) > count:
                differing.append(row["egg"])
        importable = one_of_each(rows)
        are_importable = dict.fromkeys(map(id, importable))  # in a list, each would be compared with each
        choices = [(row, names) for row, names in zip(rows, within) if id(row) in are_importable]
        native([row for row, names in choices], [names for row, names in choices],
               [row["location"] for row in importable], differing)
        for row, listing in zip(rows, within):
            lookups.append(look_up(pr, manager_of(pr), row, cache, listing))
            if works and lookups[-1]["failed"] and row["egg"] not in differing:
                kind, name, call, path, message = lookups[-1]["wrong"][0]
                if call:
                    message = "it wants to write (%s %s)" % (call, path)
                fault("not-served", row["egg"], "%d of its files and directories are not taken from the cache: %s %s: %s"
                      % (lookups[-1]["failed"], kind, name, message), "unzip it, or see what else sets the egg cache")
        if shifted:
            shift(shifted)
        writable(cache)
    conclude(rows, lookups)


def conclude(rows, lookups):
    """Print a line for each kind of fault, or the one that says how much was proven."""
    for code in unique([row[0] for row in FAULTS]):
        group = [row for row in FAULTS if row[0] == code]
        suffix = ""
        if len(group) > 1:
            suffix = ", the first of %d such" % len(group)
        show("%s: %s: %s%s; %s" % (code, group[0][1], group[0][2], suffix, group[0][3]))
    if FAULTS:
        end(FOUND)
    files = counted(sum([lookup["files"] for lookup in lookups]), "file")
    show("%s of %s, as %s: all current, nothing to write" % (files, counted(len(rows), "egg"), user()))
    end(0)


def counted(count, noun):
    """`1,234 files`, and `1 file`."""
    digits = "%d" % count
    for cut in range(len(digits) - 3, 0, -3):
        digits = digits[:cut] + "," + digits[cut:]
    return "%s %s%s" % (digits, noun, "s" * (count != 1))


begin()
