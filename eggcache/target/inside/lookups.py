# Runs INSIDE the target, after imports.py and before probe.py, whose answer it completes with the evidence: what this
# pkg_resources returns for everything in the eggs of the tree, and whether the modules that matter import.
# Python 2.4 to 3.14 syntax: no `with`, no `except X as e`, no conditional expression, no bytes literal.
import zipfile
import zipimport

MOST = 50  # lookups that failed, of each egg: enough to see what is wrong
AT_ONCE = 500  # eggs whose look-ups are sent as one piece
LEFT = {"told": 5000}  # such lookups that may still be told of by all processes, beside the first of each egg
tell = answer


def names_in(entries, inside):
    """The files of an egg, without the root that they are below, and the directories that hold them."""
    names, directories = {}, {}
    for name in entries:
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
    ask, paths = provider._extract_resource, {}

    def extract(manager, zip_path):
        if zip_path not in paths:
            count = len(ATTEMPTS)
            path = ask(manager, zip_path)
            if len(ATTEMPTS) > count:
                return path  # as what failed, it is asked again, and told for the directory too
            paths[zip_path] = path
        return paths[zip_path]
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


def look_up(pr, manager, row, cache, listing):
    """What came back for everything in one egg: how much was asked for, and what was not as it should be."""
    result = {"egg": row["egg"], "inside": row["inside"], "files": 0, "directories": 0, "failed": 0, "wrong": []}
    into = os.path.join(cache, str(row["cache_name"]) + "-tmp")
    if listing[0] is None:
        result["failed"], result["wrong"] = 1, [["egg", "", "", "", listing[1]]]
        return result
    names, directories = names_in(listing[0], row["inside"])
    try:
        place = os.path.join(row["egg"], row["inside"]).rstrip(os.sep)
        provider = pr.EggMetadata(zipimport.zipimporter(place))
        ask_once(provider)
    except Exception:
        result["failed"], result["wrong"] = 1, [["egg", "", "", "", words()]]
        return result
    result["files"], result["directories"] = len(names), len(directories)
    for kind, group in (("file", names), ("directory", directories)):
        for name in group:
            count, wrong = len(ATTEMPTS), None
            try:
                path = provider.get_resource_filename(manager, name)
                if len(ATTEMPTS) > count:
                    wrong = list(ATTEMPTS[count]) + ["it was content all the same"]
                elif path != os.path.join(into, *name.split("/")):
                    wrong = ["", "", "it comes from %s" % path]
            except Exception:
                wrong = attempt_or_words(count)
            if wrong:
                result["failed"] += 1
                if not result["wrong"] or len(result["wrong"]) < MOST and LEFT["told"] > 0:
                    result["wrong"].append([kind, name] + wrong)
                    LEFT["told"] -= 1
    if not row["inside"] and row["egg"] not in sys.path:  # a basket is asked for its next egg
        close_zip(row["egg"])
        manifests = getattr(pr.ZipProvider, "_zip_manifests", None)  # since 5.8
        if isinstance(manifests, dict):
            manifests.pop(row["egg"], None)
    return result


def native_modules(row, archive, cache):
    """(module, its shared library in the cache) for each of an egg that has the stub loader of bdist_egg."""
    modules = []
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
                modules.append((".".join(module), library))
    except Exception:
        pass  # told where everything in it is looked up
    return modules


def answer(result):
    """What probe.py answers, so that the caller can set to work, and then the evidence."""
    tell(result)
    if result["broken"] or result["bad"]:
        return
    pr = sys.modules["pkg_resources"]
    rows = [row for row in result["distributions"] if row["kind"] in ("zipped egg", "inside a basket")]
    cache = REQUEST["cache"]
    default, within, native, importable = None, [], [], one_of_each(rows)
    locations = [row["location"] for row in importable]
    tasks = [(("application", module, "", ""), []) for module in unique(REQUEST["imports"])]
    tasks.extend([(("aside", module, "", ""), []) for module in REQUEST["aside"]])
    if REQUEST["import_roots"]:
        for name, active in of_roots(pr, result):
            if name not in REQUEST["imports"]:  # what a requirement activates later is not on the path yet
                tasks.append((("root", name, "", ""), [place for place in locations if not active]))
    if cache is None:
        default = absolute(attempt(pr.get_default_cache))
    else:
        within = [listed(row, cache) for row in rows]
        are_importable = dict.fromkeys(map(id, importable))  # in a list, each would be compared with each
        for row, (names, modules) in zip(rows, within):
            if names is not None and id(row) in are_importable:
                native.extend([("native", module, row["egg"], library) for module, library in modules])

    def imported():
        return import_each(tasks) + import_all(native, locations)

    def looked_up(numbers):
        lines = []
        for number in numbers:
            listing, within[number] = within[number], None  # of ten thousand eggs nothing is held that was used
            lines.append(to_json(look_up(pr, manager_of(pr), rows[number], cache, listing)))
        return lines

    importing = begin_beside(len(tasks) + len(native), imported)  # before anything is looked up: see imports.py
    parts = divided([len(listing[0] or ()) for listing in within], REQUEST["processes"])
    LEFT["told"] //= max(len(parts), 1)
    begun = [begin_beside(len(part), looked_up, part) for part in parts[1:]]
    lines = dict([(number, line) for part in parts[:1] for number, line in zip(part, looked_up(part))])
    for part, child in zip(parts[1:], begun):
        lines.update(dict(zip(part, end_beside(child, len(part), looked_up, part))))
    imports = ",".join(end_beside(importing, len(tasks) + len(native), imported))
    told = [number for number in range(len(rows)) if number in lines]
    send('{"default":%s,"lookups":[' % to_json(default))
    for start in range(0, len(told), AT_ONCE):  # of ten thousand eggs, the whole is not held twice
        send("," * (start > 0) + ",".join([lines.pop(number) for number in told[start : start + AT_ONCE]]))
    for piece in ('],"imports":[', imports, "]}\n"):
        send(piece)


def divided(sizes, count):
    """The numbers of the eggs of these `sizes`, in `count` lists that take about the same time each: eggs are looked up
    by as many processes, as a server has workers."""
    shares = [[0, number, []] for number in range(max(count, 1))]
    for size, number in sorted([(size, number) for number, size in enumerate(sizes)])[::-1]:
        shares.sort()
        shares[0][0] += size + 1
        shares[0][2].append(number)
    return [share[2] for share in shares if share[2]]


deny_everything()
