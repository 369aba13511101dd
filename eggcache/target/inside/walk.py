# Runs INSIDE the target, between installed.py and probe.py: the walk through its own pkg_resources.
# Python 2.4 to 3.14 syntax: no `with`, no `except X as e`, no conditional expression, no bytes literal.
#
# WorkingSet.resolve() stops at the first requirement that is missing, conflicts or cannot be parsed. So the walk
# is done here, step by step as resolve() does it from 0.6c11 to 81 (breadth first, the requirements of each
# distribution in reverse, the working set before the environment, markers since 20.7), while everything that
# needs judgement (parsing, comparing versions, evaluating markers, finding distributions) stays pkg_resources'.
import re

MET, MISSING, CONFLICTING, UNPARSED = "met", "missing", "conflicting", "unparsed"


class Walk:
    """resolve(), but everything that is wrong is written down and the rest is still done."""

    def __init__(self, installed):
        self.installed = installed
        self.pr = installed.pr
        self.dists = []
        self.extras = []
        self.index = {}
        self.needs = []
        self.gaps_alone = False  # True: what is required and there needs no word, and neither do the roots
        self.told = {}
        self.asked = {}
        self.best = {}
        self.requires = {}
        self.clean = True
        self.reached = []
        self.is_reached = {}
        self.within = {}  # of an index of `reached`: the indexes that its own requirements have led to

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
        if index not in self.is_reached:
            self.is_reached[index] = True
            self.reached.append(index)
        return index

    def run(self, roots):
        """Walk from these requirements on, in this order; or from distributions, of which one of each
        project is meant, whatever its version."""
        self.queue = []  # (requirement or None, the line as it stands, the distribution that has it)
        self.results = {}
        self.demands = {}
        if hasattr(self.pr, "_ReqExtras"):
            self.demands = self.pr._ReqExtras()
        any_version = attempt(self.pr.Requirement.parse, "any")
        for root in roots:
            if not isinstance(root, self.pr.Distribution):
                self.step(root, str(root), None)
            elif root.project_name not in self.results:
                self.begin(root, any_version)
        position = 0
        while position < len(self.queue):
            self.step(*self.queue[position])
            position += 1
        for need in self.needs:
            if need["state"] == CONFLICTING:
                need["suits"] = self.suiting(self.dists[need["found"]])

    def begin(self, root, any_version):
        """As step() for a requirement of that project in any version, which to parse takes longer than all the rest."""
        name, key, ws = root.project_name, root.key, self.installed.ws
        active = ws.by_key.get(key) or ws.by_key.get(getattr(ws, "normalized_to_canonical_keys", {}).get(key))  # since 66
        dist = self.best.get(key) or active or (self.installed.candidates(key) + [None])[0]
        try:
            suits = dist is not None and version_of(dist) in any_version
        except Exception:
            suits = False
        if suits:
            self.best[key] = dist
            self.settle(name, None, dist, MET, "", [])
        else:  # what is wrong is found by step()
            for req in filter(None, [attempt(self.pr.Requirement.parse, name)]):
                self.step(req, str(req), None)

    def step(self, req, line, by):
        """Find what one requirement asks for."""
        if line in self.results:
            self.need(line, by, *self.results[line])
        elif req is None or self.wanted(req, self.demands):
            self.settle(line, by, *self.find(req, line))
            if req is not None and req.specs:  # without, any version suits
                self.asked.setdefault(req.key, []).append(req)

    def settle(self, line, by, dist, state, reason, extras):
        """Keep what a requirement has led to, and put what that requires into the queue."""
        index = None
        if dist is not None:
            index = self.reach(dist)
            for extra in extras:
                if extra not in self.extras[index]:
                    self.extras[index].append(extra)
            lines, trouble = self.requirements(dist, extras)
            if trouble and state == MET:
                state, reason = CONFLICTING, trouble
            for child, text in lines[::-1]:
                self.queue.append((child, text, index))
                if child is not None:
                    self.demands[child] = tuple(extras)
        self.results[line] = (index, state, reason)
        self.need(line, by, index, state, reason)

    def suiting(self, dist):
        """Where there is another distribution of that project, in a version that all who need it take; "" for none."""
        requests = self.asked.get(dist.key, [])
        for candidate in [dist] + self.installed.candidates(dist.key):
            if requests and not [req for req in requests if self.judge(candidate, req)[0] != MET]:
                if candidate is dist:
                    return ""  # not its version is what is wrong
                return candidate.location
        return ""

    def need(self, line, by, index, state, reason, extra=""):
        self.clean = self.clean and state == MET
        if self.gaps_alone and (by is None or state == MET):
            return
        if (line, by) not in self.told:  # met again where a distribution is wanted with one more extra
            self.told[(line, by)] = True
            if by is not None:
                self.within.setdefault(by, {})[index] = True
            self.needs.append({"requirement": line, "by": by, "found": index, "state": state, "reason": reason,
                               "extra": extra, "suits": ""})

    def wanted(self, req, demands):
        try:
            if hasattr(demands, "markers_pass"):
                return demands.markers_pass(req)
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
            candidates = self.installed.candidates(req.key)
            if not candidates:
                return None, MISSING, "not installed", extras
            unsure = candidates[0], CONFLICTING, "%s is installed, %s is needed" % (candidates[0], req), extras
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
        key = (self.installed.identity(dist), tuple(extras))
        if key not in self.requires:
            self.requires[key] = self.ask_requirements(dist, extras)
            self.installed.forget(dist)
        return self.requires[key]

    def require_ahead(self, dist):
        """Ask what a distribution requires while its zip is at hand, which else would have to be read once more."""
        key = (self.installed.identity(dist), ())
        if key not in self.requires:
            self.requires[key] = self.ask_requirements(dist, [])

    def ask_requirements(self, dist, extras):
        # after an error a second call answers from a half-filled memory, without an error (0.6c11 to 81): ask once
        if getattr(dist, "_eggcache_by_line", None):
            return by_line(self.pr, dist, extras), ""
        try:
            return [(req, str(req)) for req in dist.requires(tuple(extras))], ""
        except self.pr.UnknownExtra:
            trouble = words()
            valid = []
            for extra in extras:
                if attempt(dist.requires, (extra,)) is not None:
                    valid.append(extra)
            return [(req, str(req)) for req in dist.requires(tuple(valid))], trouble
        except Exception:
            trouble = words()
            dist._eggcache_by_line = True
            lines = by_line(self.pr, dist, extras)
            if [req for req, line in lines if req is None]:
                trouble = ""  # told where that line is reported
            return lines, trouble

    def release(self):
        """What was added, and the extras of each, which nothing else holds from now on: of ten thousand distributions
        each can go as soon as it has been told of."""
        dists, self.dists, self.best, self.requires, self.index = self.dists, [], {}, {}, {}
        self.installed.scanned = self.installed.scan = None
        return dists, self.extras

    def compare(self, roots):
        """Add what the real resolve() finds and the walk does not: nothing, as far as is known."""
        if not self.clean:
            return  # it would stop where the walk went on
        try:
            for dist in self.installed.ws.resolve(roots, self.installed.scan):
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
            successors = self.within.setdefault(index, {})
            plain = self.requirements(dist, self.extras[index])[0]
            for req, line in plain:
                self.take(req, line, index, self.extras[index], "", successors)
            for extra in sorted(attempt(list, attempt(getattr, dist, "extras")) or []):
                for req, line in self.requirements(dist, [extra])[0]:
                    if (req, line) not in plain:
                        self.take(req, line, index, [extra], extra, successors)

    def take(self, req, line, by, extras, extra, successors):
        demands = {}
        if hasattr(self.pr, "_ReqExtras"):
            demands = self.pr._ReqExtras()
            demands[req] = tuple(extras)
        if req is not None and not self.wanted(req, demands):
            return
        dist, state, reason, further_extras = self.find(req, line)
        if dist is None:
            return
        index = self.reach(dist)
        if state == MET and index not in successors:
            self.need(line, by, index, state, reason, extra)


def by_line(pr, dist, extras):
    """The requirements of a distribution with a line that cannot be parsed: each line for itself."""
    extras = [pr.safe_extra(extra) for extra in extras]
    pairs = []
    if str(getattr(getattr(dist, "_provider", None), "egg_info", "")).endswith(".dist-info"):
        for line in (attempt(dist.get_metadata, "METADATA") or "").split("\n\n")[0].splitlines():
            if line.lower().startswith("requires-dist:"):
                line = line.split(":", 1)[1].strip()
                parts = (line.split(";", 1) + [""])[:2]
                if marker_holds(pr, parts[1], extras):
                    if not attempt(pr.Requirement.parse, line):
                        # "name (>=1)" and a marker mean nothing to releases before 20: what they make of it
                        line = re.sub(r"[()]", "", re.sub(r"\(\s*(\d[^,)]*)\)", r"(==\1)", parts[0])).strip()
                    pairs.append((attempt(pr.Requirement.parse, line), line))
        return pairs
    for name in ("requires.txt", "depends.txt"):
        section = ""
        for line in attempt(lines_of, dist, name) or []:
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1].strip()
            elif section_holds(pr, section, extras):
                pairs.append((attempt(pr.Requirement.parse, line), line))
    return pairs


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
