# Runs INSIDE the target, after preamble.py and walk.py: says what it is, and what the requirements pull in.
# Python 2.4 to 3.14 syntax: no `with`, no `except X as e`, no conditional expression, no bytes literal.


def absolute(path):
    if is_text(path):
        # POSIX keeps two slashes in front, and somebody's PYTHONPATH has them
        return os.sep + os.path.abspath(path).lstrip(os.sep)
    return None


def clean_path():
    """sys.path, and what of it this Python does not have of its own."""
    # Apache's interpreter has neither '' nor this script's working directory in front
    entries = [entry for entry in sys.path if entry not in ("", "/")]
    sys.path[:] = REQUEST["paths"] + [entry for entry in entries if entry not in REQUEST["paths"]]
    originals = dict.fromkeys([absolute(entry) for entry in entries if is_text(entry)])
    path = [absolute(entry) for entry in sys.path if is_text(entry)]
    return path, [entry for entry in path if entry not in originals]


def site_directories(path):
    """The directories whose .pth files are read, existing ones."""
    site = sys.modules.get("site")
    directories = []
    # virtualenv before release 20 has a site module of its own, without these functions
    if hasattr(site, "getsitepackages"):
        directories.extend(attempt(site.getsitepackages) or [])
    if getattr(site, "ENABLE_USER_SITE", None) and hasattr(site, "getusersitepackages"):
        directories.append(attempt(site.getusersitepackages))
    directories.extend([entry for entry in path if os.path.basename(entry) in ("site-packages", "dist-packages")])
    return unique([absolute(entry) for entry in directories if entry and os.path.isdir(entry)])


def egg_link_target(link):
    """The directory that an .egg-link names: its first line that is not blank."""
    try:
        stream = open(link)
        try:
            lines = stream.read(65536).splitlines()
        finally:
            stream.close()
    except (IOError, OSError, ValueError):
        return None
    for line in lines:
        if line.strip():
            return os.path.realpath(os.path.join(os.path.dirname(link), line.strip()))
    return None


def on_disk(dist, links):
    """(kind, zip file, place in it, name of its cache directory, metadata that it was read from)."""
    provider = getattr(dist, "_provider", None)
    archive = getattr(getattr(provider, "loader", None), "archive", None)
    info = getattr(provider, "egg_info", None) or getattr(provider, "path", None)
    if archive:
        # asked of the provider, not computed: what a basket's cache is called changed in setuptools 49.6
        name = getattr(provider, "egg_name", None)
        inside = getattr(getattr(provider, "loader", None), "prefix", "") or ""
        if info and not str(info).endswith("EGG-INFO"):
            inside = ""  # a .dist-info or .egg-info in the zip: the zip itself is what is on the path
        inside = inside.strip(os.sep)
        if inside:
            return "inside a basket", archive, inside + "/", name, None
        if name is None:
            return "zip that is no egg", archive, "", None, None
        return "zipped egg", archive, "", name, None
    if os.path.realpath(str(dist.location)) in links:
        return "develop link", None, "", None, info
    info = str(info or "")
    if info.endswith(".dist-info"):
        return "dist-info", None, "", None, info
    if info.lower().endswith(".egg-info"):
        return "egg-info", None, "", None, info
    if info.endswith("EGG-INFO"):
        return "unzipped egg", None, "", None, info
    return "other", None, "", None, info or None


def metadata_files(info):
    if not info or not os.path.exists(info):
        return []
    files = [absolute(info)]
    for name in ("PKG-INFO", "METADATA", "requires.txt", "depends.txt"):
        path = os.path.join(files[0], name)
        if os.path.exists(path):
            files.append(path)
    return files


def pkg_resources_version(pr, ws):
    """'setuptools 44.1.1', 'distribute 0.6.49' or None, and where it was imported from."""
    origin = absolute(getattr(pr, "__file__", None) or "")
    names = ["setuptools"]
    if hasattr(pr, "_distribute"):
        names = ["distribute"]  # it installs a made-up metadata file for a setuptools too
    for dist in [ws.by_key[name] for name in names if name in ws.by_key]:
        location = os.path.realpath(str(dist.location))
        if os.path.realpath(origin).startswith(location + os.sep) and version_of(dist):
            return "%s %s" % (names[0], version_of(dist)), origin
    return None, origin


def what_else_counts(links):
    """What else decides what is on the path: the user's own site directory, and the checkouts that links lead to, which
    may come; and the modules that change sys.path as they like."""
    site, places = sys.modules.get("site"), [link for link in links if link and not os.path.exists(link)]
    if getattr(site, "ENABLE_USER_SITE", None) and hasattr(site, "getusersitepackages"):
        places.append(absolute(attempt(site.getusersitepackages)))
    for name in ("sitecustomize", "usercustomize"):
        origin = getattr(sys.modules.get(name), "__file__", None)
        if is_text(origin):
            places.extend([absolute(origin), re.sub("[.]py[co]$", ".py", absolute(origin))])
    return [place for place in places if place]


def eggs_without_pkg_resources(path):
    """The eggs on sys.path and in its directories, by name alone."""
    eggs = []
    for entry in path:
        names = [""]
        if not entry.lower().endswith(".egg"):
            names = [name for name in entries_of(entry) if name.lower().endswith(".egg")]
        for name in names:
            row = egg_by_name(os.path.join(entry, name).rstrip(os.sep), path)
            if row is not None and row not in eggs:
                eggs.append(row)
    return eggs


def egg_by_name(file, path):
    parts = os.path.basename(file)[:-4].split("-")
    tag = ([part for part in parts[2:3] if part.startswith("py")] + [None])[0]
    if tag not in (None, "py%d.%d" % sys.version_info[:2]):
        return None  # pkg_resources leaves another Python's eggs alone too
    version = None
    if len(parts) > 1:
        version = parts[1].replace("_", "-")
    row = {"project": parts[0].replace("_", "-"), "version": version, "location": os.path.realpath(file),
           "kind": "unzipped egg", "extras": [], "active": file in path, "egg": None, "inside": "",
           "cache_name": None}
    if os.path.isdir(os.path.join(file, "EGG-INFO")):
        return row
    import zipfile
    if os.path.isfile(file) and attempt(zipfile.is_zipfile, file):
        row.update({"kind": "zipped egg", "egg": file, "cache_name": os.path.basename(file)})
        return row
    return None


def parse_roots(pr):
    """The requirements of the command line: (requirements, [(line, what is wrong)])."""
    roots, bad = [], []
    for line in REQUEST["requirements"]:
        try:
            reqs = list(pr.parse_requirements(line))
            if len(reqs) != 1:
                bad.append([line, "one requirement is expected"])
            roots.extend(reqs)
        except Exception:
            bad.append([line, words()])
    return roots, bad


def parsed(pr, names):
    roots = [attempt(pr.Requirement.parse, name) for name in names]
    return [root for root in roots if root is not None]


def real(path, places):
    """os.path.realpath, which looks at each directory above each path; `places` has those of the directories so far."""
    directory, name = os.path.split(path)
    if name in ("", ".", "..") or os.path.islink(path):
        return os.path.realpath(path)
    if directory not in places:
        places[directory] = os.path.realpath(directory)
    return os.path.join(places[directory], name)


def outside(walk, links):
    """The zipped eggs on the path to which no requirement has led."""
    reach, zips, places = {}, [], {}
    for index in walk.reached:
        reach[real(on_disk(walk.dists[index], links)[1] or "", places)] = True
    for dist in walk.installed.everything():
        kind, egg = on_disk(dist, links)[:2]
        if kind in ("zipped egg", "inside a basket") and real(egg, places) not in reach:
            zips.append(absolute(egg))
    return unique(zips)


def to_blame():
    """What keeps pkg_resources from being imported, by the lines that led to the exception being handled: (a file of
    metadata that it could not read, a file that it imported and that failed), "" for what it is not."""
    trace, metadata, module = sys.exc_info()[2], "", ""
    unreadable = isinstance(sys.exc_info()[1], ValueError)  # as UnicodeError is
    while trace:
        frame = trace.tb_frame
        file, provider, name = frame.f_code.co_filename, frame.f_locals.get("self"), frame.f_locals.get("name")
        info = getattr(provider, "egg_info", None) or getattr(provider, "path", None)
        if "/pkg_resources" in file or os.path.basename(file).startswith("pkg_resources.py"):
            if unreadable and is_text(info) and is_text(name):
                metadata = info
                if os.path.isdir(info) or not os.path.exists(info):
                    metadata = os.path.join(info, name)
        elif trace.tb_next is None or not metadata:
            if not file.startswith("<") and not os.path.dirname(file) == os.path.dirname(os.__file__):
                module = file
        trace = trace.tb_next
    if metadata:
        return [absolute(metadata), ""]
    return ["", absolute(module or None) or ""]


def main():
    already = "pkg_resources" in sys.modules
    path, additions = clean_path()
    site = site_directories(path)
    pth, link_files, links = [], [], {}
    for directory in unique(site + path):
        for name in entries_of(directory):
            file = os.path.join(directory, name)
            if name.endswith(".pth"):
                pth.append(file)
            elif name.lower().endswith(".egg-link"):
                link_files.append(file)
                links[egg_link_target(file)] = True
    result = {"version": list(sys.version_info[:3]), "prefix": absolute(sys.prefix), "path": path, "added": additions,
              "pth": pth, "site": site, "pkg_resources": None, "setuptools": None, "broken": "", "blame": ["", ""], "distributions": [], "needs": [],
              "projects": [], "read": [], "bad": [], "outside": []}
    pr = None
    try:
        import pkg_resources as pr
        pr.working_set.by_key
    except Exception:
        result["broken"], result["blame"] = words(), to_blame()
    if result["broken"]:
        result["distributions"] = eggs_without_pkg_resources(path)
        answer(result)
        return
    installed = Installed(pr, already)
    result["setuptools"], result["pkg_resources"] = pkg_resources_version(pr, installed.ws)
    walk = Walk(installed)
    if REQUEST["everything"]:
        if REQUEST["strict"]:
            installed.ahead = walk.require_ahead
            walk.gaps_alone = not REQUEST.get("related")
        for dist in installed.everything():
            walk.add(dist)
        if REQUEST["strict"]:
            walk.run(walk.dists[::-1])
        else:
            walk.run([root for root in parsed(pr, REQUEST["reported"][::-1]) if walk.find(root, "")[0] is not None])
    else:
        roots, result["bad"] = parse_roots(pr)
        walk.run(roots[::-1])
        walk.compare(roots)
    if not REQUEST["strict"]:
        walk.optional()
    if not (REQUEST["everything"] and REQUEST["strict"]):
        result["outside"] = outside(walk, links)
    for need in walk.needs:
        need["suits"] = absolute(need["suits"] or None) or ""
    result["needs"] = walk.needs
    if [need for need in walk.needs if need["by"] is None and need["state"] == MISSING]:
        names = list(installed.ws.by_key.values())
        for key in installed.environment():
            names.extend(installed.environment()[key])
        result["projects"] = sorted(unique([dist.project_name for dist in names]))
    dists, extras = walk.release()
    files = link_files + what_else_counts(links)
    for position in range(len(dists)):
        dist, dists[position] = dists[position], None
        kind, egg, inside, cache_name, info = on_disk(dist, links)
        files.extend(metadata_files(info))
        location = absolute(dist.location)
        if egg == dist.location:
            egg = location
        else:
            egg = absolute(egg)
        result["distributions"].append({
            "project": dist.project_name, "version": version_of(dist), "location": location, "kind": kind,
            "extras": extras[position], "active": installed.identity(dist) in installed.active,
            "egg": egg, "inside": inside, "cache_name": cache_name})
    result["read"] = unique(files)
    answer(result)


main()
