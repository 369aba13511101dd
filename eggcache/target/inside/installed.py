# Runs INSIDE the target, between preamble.py and walk.py: what its own pkg_resources finds on the path.
# Python 2.4 to 3.14 syntax: no `with`, no `except X as e`, no conditional expression, no bytes literal.
import zipimport

KEPT, MEMBERS = 50, 10000  # zips, and members of all but the largest


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
    uniques, index = [], {}
    for value in values:
        if value not in index:
            index[value] = True
            uniques.append(value)
    return uniques


class ClosedLoader(object):
    """Stands for a zipimporter, and makes one where more than its place is asked for."""

    __slots__ = ("archive", "prefix")  # of ten thousand eggs a dictionary each would be ten megabytes

    def __init__(self, archive, prefix):
        self.archive, self.prefix = archive, prefix

    def __getattr__(self, name):
        return getattr(self.opened(), name)

    def opened(self):
        return zipimport.zipimporter(os.path.join(self.archive, self.prefix).rstrip(os.sep))


class ClosedMetadata(object):
    """Stands for the EggMetadata of a zipped egg, and makes one where more than the names of its places is asked for."""

    __slots__ = ("kind", "loader", "egg_name", "egg_info", "metadata")

    def __init__(self, metadata, loader):
        self.kind, self.loader, self.metadata = type(metadata), loader, None
        self.egg_name, self.egg_info = metadata.egg_name, metadata.egg_info

    def __getattr__(self, name):
        if self.metadata is None:
            try:
                self.metadata = self.kind(self.loader)  # which looks into the zip only where it has to
            except KeyError:  # before 5.8 it takes what zipimport has in mind
                self.metadata = self.kind(self.loader.opened())
        return getattr(self.metadata, name)

    def close(self):
        self.metadata = None


class Installed:
    """The working set and everything else on the path, as far as this pkg_resources survives looking at it."""

    def __init__(self, pr, already):
        self.pr = pr
        self.ahead = None  # is called with each distribution while its zip is at hand
        self.ws = pr.working_set
        self.path = dict.fromkeys(sys.path)
        if already:  # imported by a .pth file, before `--path` was there
            entries = dict.fromkeys(self.ws.entries)
            for entry in sys.path:
                if entry not in entries:
                    attempt(self.ws.add_entry, entry)
        self.active = {}
        for dist in list(self.ws.by_key.values()):
            self.active[self.identity(dist)] = True
        self.scanned = None
        self.scan = None  # the Environment of all that is on the path, where it is the one that resolve() would make

    def identity(self, dist):
        """What tells a distribution from every other. It is kept with the distribution, which is asked six times."""
        identity = getattr(dist, "_eggcache_identity", None)
        if identity is None:
            provider = getattr(dist, "_provider", None)
            identity = (dist.key, version_of(dist), dist.location, getattr(provider, "egg_info", None))
            dist._eggcache_identity = identity
        return identity

    def environment(self):
        """{key: distributions, best first}, and scanned lazily, since a complete working set needs no scan."""
        if self.scanned is None:
            env = self.scan = self.pr.Environment([])
            refusals = {}
            for entry in list(self.ws.entries):
                for dist in self.found_on(entry):
                    try:
                        env.add(dist)
                    except Exception:
                        self.scan = None
                        # 66.0 sorts by a version that it cannot parse. One it has taken all the same, or not
                        if [entry_of_key for entry_of_key in env._distmap.get(dist.key, []) if entry_of_key is dist] == []:
                            refusals.setdefault(dist.key, []).append(dist)
            self.scanned = {}
            for key in unique(list(env._distmap) + list(refusals)):
                self.scanned[key] = list(attempt(env.__getitem__, key) or env._distmap.get(key, []))
                self.scanned[key].extend(refusals.get(key, []))
        return self.scanned

    def found_on(self, entry):
        dists, last = [], None
        try:
            for dist in self.pr.find_distributions(entry):
                dists.append(dist)
                if self.ahead is not None:
                    self.ahead(dist)
                if last is not None:
                    self.forget(last, dist)
                last = dist  # its zip is looked into once more before the next one comes
            if last is not None:
                self.forget(last)
        except Exception:
            self.scan = None
            # one damaged egg or unreadable link must not hide the others beside it
            for name in entries_of(entry):
                if name.lower().endswith(".egg"):
                    dists.extend(attempt(list, self.pr.find_distributions(os.path.join(entry, name))) or [])
        return dists

    def forget(self, dist, at_hand=None):
        """Let go of what was read of a zip that is not on the path itself: a kilobyte for every member of it. It is read
        again where it is asked for. That of `at_hand`, and of the largest zip, stay: these cost most to be read again."""
        provider = getattr(dist, "_provider", None)
        loader = getattr(provider, "loader", None)
        manifests = getattr(getattr(self.pr, "ZipProvider", None), "_zip_manifests", None)  # since 5.8
        # A basket is asked for each of its eggs. To count all members for each egg takes long: the small ones are few
        if isinstance(manifests, dict) and (len(manifests) > KEPT or is_large(manifests, loader)):
            sizes = [(len(manifests[archive][0]), archive) for archive in manifests]
            size, largest = max(sizes)
            if len(manifests) > KEPT or sum([members for members, archive in sizes]) - size > MEMBERS:
                loader_at_hand = getattr(getattr(at_hand, "_provider", None), "loader", None)
                for archive in list(manifests):
                    if archive not in (largest, getattr(loader_at_hand, "archive", None)):
                        del manifests[archive]
        if not isinstance(loader, (zipimport.zipimporter, ClosedLoader)) or loader.archive in self.path:
            return
        if isinstance(loader, zipimport.zipimporter):
            provider.__dict__.pop("_dirindex", None)
            loader = ClosedLoader(loader.archive, loader.prefix)
            if type(provider) is self.pr.EggMetadata and is_own(provider, loader):
                dist._provider = ClosedMetadata(provider, loader)
            else:
                provider.loader = loader
        elif isinstance(provider, ClosedMetadata):
            provider.close()
        close_zip(loader.archive)

    def candidates(self, key):
        return self.environment().get(key, [])

    def everything(self):
        env = self.environment()
        dists = []
        for key in sorted(list(env)):
            dists.extend(env[key])
        identities = dict([(self.identity(dist), True) for dist in dists])
        for dist in list(self.ws.by_key.values()) + self.without_metadata():
            if self.identity(dist) not in identities:
                dists.append(dist)
        return dists

    def without_metadata(self):
        """The zips on the path that are named as eggs and are no distributions, having no EGG-INFO: pkg_resources
        extracts from them all the same."""
        dists, locations = [], dict.fromkeys([dist.location for dist in self.ws])
        for entry in [entry for entry in self.ws.entries if is_text(entry) and entry.lower().endswith(".egg")]:
            if entry not in locations and os.path.isfile(entry):
                metadata = attempt(lambda: self.pr.EggMetadata(zipimport.zipimporter(entry)))
                if metadata is not None and not attempt(metadata.has_metadata, "PKG-INFO"):
                    name = os.path.basename(entry)[:-len(".egg")]
                    dists.append(self.pr.Distribution(entry, metadata, project_name=name))
        return dists


def is_large(manifests, loader):
    """Whether a zip has so many members that KEPT of them have more than MEMBERS, which is all that may be kept."""
    manifest = manifests.get(getattr(loader, "archive", None))
    return manifest is not None and len(manifest[0]) * KEPT > MEMBERS


def close_zip(archive):
    """Let go of what this Python has read of a zip."""
    for cache in (zipimport._zip_directory_cache, sys.path_importer_cache):
        cache.pop(archive, None)


def is_own(metadata, loader):
    """Whether its EGG-INFO is where an EggMetadata looks for it: that of a .dist-info in a zip has been told another."""
    root = os.path.join(loader.archive, loader.prefix).rstrip(os.sep)
    return getattr(metadata, "egg_info", None) == os.path.join(root, "EGG-INFO")


def version_of(dist):
    version = attempt(getattr, dist, "version")  # ValueError: its metadata has none
    if version is None or is_text(version):
        return version
    return str(version)
