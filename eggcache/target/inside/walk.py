# Runs INSIDE the target, between preamble.py and probe.py: the walk through its own pkg_resources.
# Python 2.4 to 3.14 syntax: no `with`, no `except X as e`, no conditional expression, no bytes literal.
#
# WorkingSet.resolve() stops at the first requirement that is missing, conflicts or cannot be parsed. So the walk
# is done here, step by step as resolve() does it from 0.6c11 to 81 (breadth first, the requirements of each
# distribution in reverse, the working set before the environment, markers since 20.7), while everything that
# needs judgement (parsing, comparing versions, evaluating markers, finding distributions) stays pkg_resources'.
import re
import zipimport

KEPT = 50  # zips
MET, MISSING, CONFLICTING, UNPARSED = "met", "missing", "conflicting", "unparsed"


def words():
    """What the exception being handled says, in one line."""
    kind, error = sys.exc_info()[:2]
    try:
        text = " ".join(str(error).split())
    except Exception:  # a Python 2 exception may hold unicode that str() cannot print
        text = " ".join(repr(error).split())
    return text or kind.__name__


def attempt(function, *args):
    """The result of a function of the target's libraries, or None: they raise what they like."""
    try:
        return function(*args)
    except Exception:
        return None


def entries_of(directory):
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def is_text(value):
    return isinstance(value, str) or type(value).__name__ == "unicode"


def unique(values):
    found, seen = [], {}
    for value in values:
        if value not in seen:
            seen[value] = True
            found.append(value)
    return found


class Reopened:
    """Stands for a zipimporter, and makes one where more than its place is asked for."""

    def __init__(self, archive, prefix):
        self.archive, self.prefix = archive, prefix

    def __getattr__(self, name):
        return getattr(zipimport.zipimporter(os.path.join(self.archive, self.prefix).rstrip(os.sep)), name)


class Installed:
    """The working set and everything else on the path, as far as this pkg_resources survives looking at it."""

    def __init__(self, pr, already):
        self.pr = pr
        self.ws = pr.working_set
        if already:  # imported by a .pth file, before `--path` was there
            for entry in sys.path:
                if entry not in self.ws.entries:
                    attempt(self.ws.add_entry, entry)
        self.active = {}
        for dist in list(self.ws.by_key.values()):
            self.active[self.identity(dist)] = True
        self.scanned = None

    def identity(self, dist):
        provider = getattr(dist, "_provider", None)
        return (dist.key, version_of(dist), dist.location, getattr(provider, "egg_info", None))

    def environment(self):
        """{key: distributions, best first}, and scanned lazily, since a complete working set needs no scan."""
        if self.scanned is None:
            env = self.pr.Environment([])
            refused = {}
            for entry in list(self.ws.entries):
                for dist in self.found_on(entry):
                    try:
                        env.add(dist)
                    except Exception:
                        # 66.0 sorts by a version that it cannot parse. One it has taken all the same, or not
                        if [other for other in env._distmap.get(dist.key, []) if other is dist] == []:
                            refused.setdefault(dist.key, []).append(dist)
            self.scanned = {}
            for key in unique(list(env._distmap) + list(refused)):
                self.scanned[key] = list(attempt(env.__getitem__, key) or env._distmap.get(key, []))
                self.scanned[key].extend(refused.get(key, []))
        return self.scanned

    def found_on(self, entry):
        found = []
        try:
            for dist in self.pr.find_distributions(entry):
                found.append(dist)
                self.forget(dist)
        except Exception:
            # one damaged egg or unreadable link must not hide the others beside it
            for name in entries_of(entry):
                if name.lower().endswith(".egg"):
                    found.extend(attempt(list, self.pr.find_distributions(os.path.join(entry, name))) or [])
        return found

    def forget(self, dist):
        """Let go of what was read of a zip that is not on the path itself: a kilobyte for every member of it."""
        kept = getattr(getattr(self.pr, "ZipProvider", None), "_zip_manifests", None)  # since 5.8
        if isinstance(kept, dict) and len(kept) > KEPT:
            kept.clear()
        provider = getattr(dist, "_provider", None)
        loader = getattr(provider, "loader", None)
        if isinstance(loader, zipimport.zipimporter) and loader.archive not in sys.path:
            provider.loader = Reopened(loader.archive, loader.prefix)
            for cache in (zipimport._zip_directory_cache, sys.path_importer_cache):
                cache.pop(loader.archive, None)

    def candidates(self, key):
        return self.environment().get(key, [])

    def everything(self):
        env = self.environment()
        found = []
        for key in sorted(list(env)):
            found.extend(env[key])
        known = dict([(self.identity(dist), True) for dist in found])
        for dist in list(self.ws.by_key.values()) + self.without_metadata():
            if self.identity(dist) not in known:
                found.append(dist)
        return found

    def without_metadata(self):
        """The zips on the path that are named as eggs and are no distributions, having no EGG-INFO: pkg_resources
        extracts from them all the same."""
        found, taken = [], [dist.location for dist in self.ws]
        for entry in [entry for entry in self.ws.entries if is_text(entry) and entry.lower().endswith(".egg")]:
            if entry not in taken and os.path.isfile(entry):
                metadata = attempt(lambda: self.pr.EggMetadata(zipimport.zipimporter(entry)))
                if metadata is not None and not attempt(metadata.has_metadata, "PKG-INFO"):
                    name = os.path.basename(entry)[:-len(".egg")]
                    found.append(self.pr.Distribution(entry, metadata, project_name=name))
        return found


def version_of(dist):
    version = attempt(getattr, dist, "version")  # ValueError: its metadata has none
    if version is None or is_text(version):
        return version
    return str(version)


class Walk:
    """resolve(), but everything that is wrong is written down and the rest is still done."""

    def __init__(self, installed):
        self.installed = installed
        self.pr = installed.pr
        self.dists = []
        self.extras = []
        self.index = {}
        self.needs = []
        self.told = {}
        self.asked = {}
        self.best = {}
        self.requires = {}
        self.clean = True
        self.reached = []

    def add(self, dist):
        identity = self.installed.identity(dist)
        if identity not in self.index:
            self.index[identity] = len(self.dists)
            self.dists.append(dist)
            self.extras.append([])
        return self.index[identity]

    def reach(self, dist):
        """Add what a requirement has led to."""
        index = self.add(dist)
        if index not in self.reached:
            self.reached.append(index)
        return index

    def run(self, roots):
        # (requirement or None, the line as it stands, the distribution that has it)
        queue = [(req, str(req), None) for req in roots][::-1]
        processed = {}
        demanded = {}
        if hasattr(self.pr, "_ReqExtras"):
            demanded = self.pr._ReqExtras()
        position = 0
        while position < len(queue):
            req, line, by = queue[position]
            position += 1
            name = req
            if req is None:
                name = line
            if name in processed:
                self.need(line, by, *processed[name])
                continue
            if req is not None and not self.wanted(req, demanded):
                continue
            found, state, reason, extras = self.find(req, line)
            index = None
            if found is not None:
                index = self.reach(found)
                for extra in extras:
                    if extra not in self.extras[index]:
                        self.extras[index].append(extra)
                lines, trouble = self.requirements(found, extras)
                if trouble and state == MET:
                    state, reason = CONFLICTING, trouble
                for new, text in lines[::-1]:
                    queue.append((new, text, index))
                    if new is not None:
                        demanded[new] = tuple(extras)
            processed[name] = (index, state, reason)
            if req is not None:
                self.asked.setdefault(req.key, []).append(req)
            self.need(line, by, index, state, reason)
        for need in self.needs:
            if need["state"] == CONFLICTING:
                need["suits"] = self.suiting(self.dists[need["found"]])

    def suiting(self, dist):
        """Where there is another distribution of that project, in a version that all who need it take; "" for none."""
        wanted = self.asked.get(dist.key, [])
        for other in [dist] + self.installed.candidates(dist.key):
            if wanted and not [req for req in wanted if self.judge(other, req)[0] != MET]:
                if other is dist:
                    return ""  # not its version is what is wrong
                return other.location
        return ""

    def need(self, line, by, found, state, reason, extra=""):
        self.clean = self.clean and state == MET
        if (line, by) not in self.told:  # met again where a distribution is wanted with one more extra
            self.told[(line, by)] = True
            self.needs.append({"requirement": line, "by": by, "found": found, "state": state, "reason": reason,
                               "extra": extra, "suits": ""})

    def wanted(self, req, demanded):
        try:
            if hasattr(demanded, "markers_pass"):
                return demanded.markers_pass(req)
        except Exception:
            pass  # a marker that cannot be evaluated: rather one too many
        return True

    def find(self, req, line):
        """The distribution for one requirement: (distribution or None, state, reason, extras)."""
        if req is None:
            return self.find_by_name(line)
        extras = list(req.extras)
        dist = self.best.get(req.key) or self.active(req)
        if dist is not None:
            state, reason = self.judge(dist, req)
            self.best[req.key] = dist
            return dist, state, reason, extras
        unsure = None
        for dist in self.installed.candidates(req.key):
            state, reason = self.judge(dist, req)
            if state == MET:
                self.best[req.key] = dist
                return dist, state, reason, extras
            if state == UNPARSED and unsure is None:
                unsure = dist, state, reason, extras
        if unsure is None:
            others = self.installed.candidates(req.key)
            if not others:
                return None, MISSING, "not installed", extras
            unsure = others[0], CONFLICTING, "%s is installed, %s is needed" % (others[0], req), extras
        self.best[req.key] = unsure[0]
        return unsure

    def active(self, req):
        """The active distribution of that project, under whatever spelling this release accepts."""
        dist = self.installed.ws.by_key.get(req.key)
        if dist is None:
            try:
                # since 66 find() also looks for a normalized name, and then changes req.key to the one it found
                dist = self.installed.ws.find(req)
            except Exception:
                dist = self.installed.ws.by_key.get(req.key)
        return dist

    def judge(self, dist, req):
        try:
            if dist in req:
                return MET, ""
        except Exception:
            return UNPARSED, words()
        return CONFLICTING, "%s is installed, %s is needed" % (dist, req)

    def find_by_name(self, line):
        """For a line that this pkg_resources cannot parse: the distribution of the project named first in it."""
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?", line)
        reason = "cannot be parsed"
        try:
            list(self.pr.parse_requirements(line))
        except Exception:
            reason = words()
        if match is None:
            return None, UNPARSED, reason, []
        key = self.pr.safe_name(match.group(1)).lower()
        extras = [extra.strip() for extra in (match.group(2) or "").split(",") if extra.strip()]
        dist = self.best.get(key) or self.installed.ws.by_key.get(key)
        if dist is None and self.installed.candidates(key):
            dist = self.installed.candidates(key)[0]
        if dist is None:
            return None, MISSING, "not installed; " + reason, extras
        self.best[key] = dist
        return dist, UNPARSED, reason, extras

    def requirements(self, dist, extras):
        """What a distribution requires, in its own order: ([(requirement or None, line)], what was wrong)."""
        key = (self.index[self.installed.identity(dist)], tuple(extras))
        if key not in self.requires:
            self.requires[key] = self.ask_requirements(dist, extras)
        return self.requires[key]

    def ask_requirements(self, dist, extras):
        # after an error a second call answers from a half-filled memory, without an error (0.6c11 to 81): ask once
        if getattr(dist, "_eggcache_by_line", None):
            return by_line(self.pr, dist, extras), ""
        try:
            return [(req, str(req)) for req in dist.requires(tuple(extras))], ""
        except self.pr.UnknownExtra:
            trouble = words()
            known = []
            for extra in extras:
                if attempt(dist.requires, (extra,)) is not None:
                    known.append(extra)
            return [(req, str(req)) for req in dist.requires(tuple(known))], trouble
        except Exception:
            trouble = words()
            dist._eggcache_by_line = True
            lines = by_line(self.pr, dist, extras)
            if [req for req, line in lines if req is None]:
                trouble = ""  # told where that line is reported
            return lines, trouble

    def compare(self, roots):
        """Add what the real resolve() finds and the walk does not: nothing, as far as is known."""
        if not self.clean:
            return  # it would stop where the walk went on
        try:
            for dist in self.installed.ws.resolve(roots):
                self.reach(dist)
        except Exception:
            # 66.0 fails for a version that it cannot sort, whether or not anybody wants that distribution
            for need in self.needs:
                if need["by"] is None:
                    need["state"], need["reason"] = UNPARSED, words()

    def optional(self):
        """Add what the extras of those that were reached require, where it is installed, and what that requires: a
        library is imported where it is there, whether or not anybody has asked for the extra. What is not there, or
        suits nobody, is no matter: nobody has asked for it."""
        for index in self.reached:  # which grows meanwhile
            dist = self.dists[index]
            taken = dict([(need["found"], True) for need in self.needs if need["by"] == index])
            plain = self.requirements(dist, self.extras[index])[0]
            for req, line in plain:
                self.take(req, line, index, self.extras[index], "", taken)
            for extra in sorted(attempt(list, attempt(getattr, dist, "extras")) or []):
                for req, line in self.requirements(dist, [extra])[0]:
                    if (req, line) not in plain:
                        self.take(req, line, index, [extra], extra, taken)

    def take(self, req, line, by, extras, extra, taken):
        demanded = {}
        if hasattr(self.pr, "_ReqExtras"):
            demanded = self.pr._ReqExtras()
            demanded[req] = tuple(extras)
        if req is not None and not self.wanted(req, demanded):
            return
        found, state, reason, more = self.find(req, line)
        if found is None:
            return
        index = self.reach(found)
        if state == MET and index not in taken:
            taken[index] = True
            self.need(line, by, index, state, reason, extra)


def by_line(pr, dist, extras):
    """The requirements of a distribution with a line that cannot be parsed: each line for itself."""
    extras = [pr.safe_extra(extra) for extra in extras]
    found = []
    if str(getattr(getattr(dist, "_provider", None), "egg_info", "")).endswith(".dist-info"):
        for line in (attempt(dist.get_metadata, "METADATA") or "").split("\n\n")[0].splitlines():
            if line.lower().startswith("requires-dist:"):
                line = line.split(":", 1)[1].strip()
                parts = (line.split(";", 1) + [""])[:2]
                if marker_holds(pr, parts[1], extras):
                    if not attempt(pr.Requirement.parse, line):
                        # "name (>=1)" and a marker mean nothing to releases before 20: what they make of it
                        line = re.sub(r"[()]", "", re.sub(r"\(\s*(\d[^,)]*)\)", r"(==\1)", parts[0])).strip()
                    found.append((attempt(pr.Requirement.parse, line), line))
        return found
    for name in ("requires.txt", "depends.txt"):
        section = ""
        for line in attempt(lines_of, dist, name) or []:
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1].strip()
            elif section_holds(pr, section, extras):
                found.append((attempt(pr.Requirement.parse, line), line))
    return found


def lines_of(dist, name):
    if dist.has_metadata(name):
        return list(dist.get_metadata_lines(name))
    return []


def section_holds(pr, section, extras):
    """Whether `[extra]`, `[:marker]` or `[extra:marker]` of requires.txt is wanted."""
    if ":" not in section or not hasattr(pr, "evaluate_marker"):
        # the first releases know no markers there, and take the whole for the name of an extra
        return not section or pr.safe_extra(section) in extras
    extra, marker = section.split(":", 1)
    return (not extra or pr.safe_extra(extra) in extras) and bool(attempt(pr.evaluate_marker, marker))


def marker_holds(pr, marker, extras):
    marker = marker.strip()
    if not marker:
        return True
    match = re.search(r"""\bextra\s*==\s*['"]([^'"]*)['"]""", marker)
    if match:
        return pr.safe_extra(match.group(1)) in extras
    try:
        return bool(pr.evaluate_marker(marker))
    except Exception:
        return True  # rather one too many
