"""Every finding by its stable code: what it means, what happens, what to do.

docs/reference/findings.rst is made from this by scripts/findings, and `eggcache explain` prints it. A test keeps the
source, where findings are made, this registry and the page in step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """What an administrator wants to know about a finding."""

    code: str  # stable: scripts may match on it
    means: str
    happens: str
    remedy: str

    def lines(self) -> Iterator[str]:
        """It as an entry of a list in reStructuredText."""
        yield f"``{self.code}``"
        yield f"    {self.means}"
        yield f"    *What happens:* {self.happens}"
        yield f"    *What to do:* {self.remedy}"


TREE = (
    Explanation(
        "root-not-installed",
        "A requirement that you named is not installed for this Python.",
        "There is no tree to work on.",
        "Name Apache's interpreter with --python, the directories that its PythonPath adds with --path, or nothing: "
        "then it is everything on the path.",
    ),
    Explanation(
        "missing-distribution",
        "A distribution of the tree (of that of TurboGears, where you named none) requires one that is not installed, "
        "or that the runtime user cannot read. With --all, any on the path, as a notice.",
        "pkg_resources.require() raises DistributionNotFound, and often the application does not start.",
        "Install it for the same Python. The message has the chain of requirements that leads to it, and what on the "
        "disk tells why: a line of a .pth file or an egg-link that leads nowhere, an egg for another Python.",
    ),
    Explanation(
        "conflicting-distribution",
        "The installed version of a distribution is not one that another distribution asks for.",
        "pkg_resources.require() raises VersionConflict.",
        "Install a version that suits everything that needs it; or, where the message names one, put it in front.",
    ),
    Explanation(
        "pth-ignored",
        "A .pth file that the user cannot read, or a line in one below an import that fails. A notice.",
        "What it names is not on the path: it is missing, or found and not active, so that it does not import.",
        "Make the file readable; or take out the line that fails, which Python names whenever it starts.",
    ),
    Explanation(
        "egg-other-python",
        "An egg on the path is for another Python or another platform, as its name says, and there is no other of that "
        "project. A notice.",
        "pkg_resources passes it over in silence.",
        "Install it for the Python that the server runs, or name that Python with --python.",
    ),
    Explanation(
        "unparsed-requirement",
        "The target's pkg_resources cannot parse a requirement that an old egg has. A notice: it was followed by name.",
        "From setuptools 66 on, pkg_resources.require() raises InvalidRequirement or InvalidVersion for that egg.",
        "Use an older setuptools if the application calls require().",
    ),
    Explanation(
        "other-version",
        "A directory that --path names has another version of a distribution of the tree, too. A notice.",
        "A script that zc.buildout generated has a list of its own, and may load that version, which nobody looked at.",
        "Name the script with --path-from, in place of --path.",
    ),
)

EGGS = (
    Explanation(
        "not-permitted",
        "Root may not safely work on the eggs there: a directory is somebody else's, or only his code names it.",
        "Those eggs are left as they are; the others are unzipped.",
        "Do what the message says: run it as the owner, or name the directory with --path.",
    ),
    Explanation(
        "not-on-path",
        "The eggs are not on the target's own path: they lie in a directory that only --path names.",
        "unzip-all leaves them zipped: who put them there may open them as files, as Scrapyd does with its projects.",
        "Where nothing does, name each egg itself: --path DIR/NAME.egg.",
    ),
    Explanation(
        "egg-refused",
        "It is damaged, Pythons would read different files from it, or it unpacks to so much that it may be a bomb.",
        "It is left as it is: neither extracted nor unzipped.",
        "Download or build it again; or, if you trust it, give the --limit that the message names.",
    ),
    Explanation(
        "egg-unreadable",
        "The user that Apache runs as, or whom unzip-all and wheels read eggs as, cannot read the egg or its metadata.",
        "Python, run as that user, behaves as if it were not there. eggcache copies nothing that he could not read.",
        "Make the egg, and the directories above it, readable.",
    ),
    Explanation(
        "egg-private",
        "The egg may not be read by everybody who may read the cache.",
        "It is not extracted: the cache would show it to more users than its mode does.",
        "Unzip it, which keeps its rights; or prepare another cache with the egg's group, or let everybody read it.",
    ),
    Explanation(
        "egg-changed",
        "Somebody changed, added or removed a file in the directory of an egg since unzip-all made it.",
        "unzip-all --undo leaves it as it is: the zip does not have that change.",
        "Save the change elsewhere, make the directory what it was, and run it again.",
    ),
    Explanation(
        "foreign-entry",
        "Something in the cache directory is not eggcache's: it belongs to another user, or others can write to it; or "
        "it is the cache's owner's, and no prepare made it, which is a notice only.",
        "It is left there, and remove takes nothing away as long as it is. Who can change it can change what "
        "pkg_resources may find in it.",
        "See whose it is, and remove it.",
    ),
    Explanation(
        "shared-name",
        "Two eggs of one name and with different content are looked for in one directory of the cache.",
        "One of them is served; the other one would be written over it.",
        "Unzip one, or give each application a cache of its own.",
    ),
    Explanation(
        "not-an-egg",
        "A zip on the path has a name that does not end in .egg.",
        "pkg_resources raises NotImplementedError for each of its files.",
        "Unzip it.",
    ),
    Explanation(
        "not-zip-safe",
        "Code in the egg looks for files beside itself (__file__), and the egg has such files. A notice: whether that "
        "code ever runs is not known. Code that asks pkg_resources is not named.",
        "Templates, catalogues or other data are not found: NotADirectoryError, TemplateNotFound or their like, or "
        "nothing but an empty list, whatever the cache.",
        "Unzip it. What -v names are the modules, with the lines.",
    ),
    Explanation(
        "directory-entries",
        "The egg lists directories as entries of their own: zip -r made it.",
        "Asking for a directory fails, whatever the cache.",
        "Unzip it.",
    ),
    Explanation(
        "unusual-names",
        "The egg has names outside of ASCII.",
        "Pythons and locales disagree on the names of the files.",
        "Unzip it.",
    ),
    Explanation(
        "ambiguous-time",
        "A file of the egg is dated in the hour that clocks go through twice, when summer time ends.",
        "The time that pkg_resources expects is a matter of chance, and so is whether it wants to extract again.",
        "Unzip it, or run Apache in a zone without summer time: TZ=UTC.",
    ),
    Explanation(
        "eager-missing",
        "The egg's list of eager resources or native libraries names a file that it does not hold.",
        "Asking for any file on that list is a KeyError.",
        "Unzip it.",
    ),
    Explanation(
        "stub-ignores-cache",
        "A native module is loaded by a stub that setuptools 80.5 or newer wrote.",
        "It extracts to TMPDIR at every import, whatever PYTHON_EGG_CACHE says.",
        "Unzip it.",
    ),
    Explanation(
        "stub-needs-imp",
        "A native module is loaded by a stub that imports imp, and this Python is 3.12 or newer.",
        "It does not import.",
        "Unzip it, or build the egg with a newer setuptools.",
    ),
    Explanation(
        "stub-multi-phase",
        "A native module initialises in phases (PEP 489), which the stub of an egg cannot do.",
        "It imports as an empty module, from any cache.",
        "Unzip it.",
    ),
    Explanation(
        "broken-pkg-resources",
        "Distribute 0.6.46 and 0.6.47 and setuptools 0.7.5 and 0.7.6 cannot extract at all.",
        "An AttributeError whenever a file is asked for.",
        "Install another release of setuptools, or unzip the eggs.",
    ),
)

CACHE = (
    Explanation(
        "no-cache",
        "There are zipped eggs, and neither --cache nor PYTHON_EGG_CACHE says where they are extracted.",
        "pkg_resources extracts at the first request, below the home directory: an ExtractionError where Apache's user "
        "may not write, and code that whoever breaks in can change where it may.",
        "eggcache prepare and a wrapper, or eggcache unzip-all.",
    ),
    Explanation(
        "cache-missing",
        "The cache does not exist, or is no directory.",
        "pkg_resources wants to make it: an ExtractionError.",
        "eggcache prepare DIR.",
    ),
    Explanation(
        "cache-unreachable",
        "The runtime user cannot get to the cache: a directory above it, or itself, is closed to that user.",
        "pkg_resources takes it for missing: an ExtractionError.",
        "Open that directory with chmod. Where the cache serves another user, prepare another one, or a new one for "
        "both with a --group that both are in: prepare takes it from nobody.",
    ),
    Explanation(
        "egg-not-in-cache",
        "A zipped egg of the tree is not in the cache at all: it is new, or another tree was prepared.",
        "An ExtractionError at the first request for one of its files.",
        "Prepare again, with the requirements and the --path of the application.",
    ),
    Explanation(
        "member-missing",
        "A file of an egg is not in the cache.",
        "An ExtractionError when it is asked for.",
        "Prepare again.",
    ),
    Explanation(
        "member-unreadable",
        "The runtime user cannot read a file in the cache.",
        "An ExtractionError, or a permission error in the application.",
        "Prepare again, or, where the cache serves others, another one, as the message says.",
    ),
    Explanation(
        "member-outdated",
        "A file in the cache has another size or time than the egg's: the egg was updated after it was prepared, or "
        "somebody touched the file.",
        "pkg_resources wants to extract it anew: an ExtractionError.",
        "Prepare again, and have the cache prepared at every start of Apache.",
    ),
    Explanation(
        "member-changed",
        "A file in the cache has other bytes than the egg's, though size and time are right; or it is no plain file.",
        "Releases up to setuptools 0.6c11 run what is there. Newer ones want to extract anew: an ExtractionError.",
        "Find out who could change it; then prepare again, with --reset.",
    ),
    Explanation(
        "not-served",
        "The files in the cache are right, and the target's pkg_resources does not take them all the same; or a module "
        "sets another cache when it is imported (os.environ, set_extraction_path).",
        "An ExtractionError, or files from another place.",
        "See whether a .pth file, sitecustomize or the egg itself sets another cache; or unzip the egg. Have a module "
        "that does set none, or the one that is checked.",
    ),
    Explanation(
        "cache-stale",
        "Something that a prepare depended on is not as it was: an egg, a directory of the path, the cache itself; or "
        "the cache has no receipt.",
        "What changed may be an ExtractionError at the first request for it. Of the rest nothing is lost.",
        "Prepare again. eggcache status -v DIR names all that changed.",
    ),
    Explanation(
        "stale-directory",
        "A directory in the cache belongs to no tree that was prepared there.",
        "It takes room, and nothing else.",
        "eggcache prepare --prune removes what an earlier prepare made; the rest is yours to judge.",
    ),
    Explanation(
        "time-zone",
        "The files are current in another time zone than the one that Apache's processes have, or will have: by what "
        "starts Apache, or by a script or a module that sets TZ, as Django does with its TIME_ZONE.",
        "pkg_resources compares local times: it wants to extract all of them anew, an ExtractionError on every page.",
        "Prepare, check and start Apache with one zone: --tz, or the wrapper, which exports it. Two zones take two "
        "caches.",
    ),
    Explanation(
        "cache-writable",
        "The runtime user can write to the cache, or owns something in it.",
        "Whoever breaks into the web server can change the code that it runs, and what stays after a restart.",
        "As root: eggcache prepare --reset DIR, or the command of the tree that alone needs it, as the message says.",
    ),
    Explanation(
        "cache-open-to-others",
        "The group, or everybody, may write to the cache.",
        "The same, by more people; and pkg_resources warns of it at every start.",
        "As root: eggcache prepare --reset DIR.",
    ),
    Explanation(
        "cache-unsafe",
        "Somebody else than root could have made the cache, or could exchange it.",
        "What Apache runs is that user's to decide.",
        "Use a directory below directories of root, such as /var/cache/eggcache, or eggcache prepare --reset DIR.",
    ),
    Explanation(
        "parent-writable",
        "The runtime user can rename what is in a directory above the cache.",
        "It can put another cache in the place of yours.",
        "Use /var/cache/eggcache, or another directory below directories of root's.",
    ),
    Explanation(
        "extraction-race",
        "The cache is writable and setuptools is older than 40.1.",
        "Workers that start together make the same directories, and all but the first fail with File exists.",
        "A prepared cache, which nobody has to write to.",
    ),
)

IMPORTS = (
    Explanation(
        "native-module-fails",
        "A native module of an egg does not import from the cache.",
        "The application does without it, or does not start.",
        "The message is the dynamic loader's: an egg for another machine or Python, or a library that it needs and "
        "that is not installed.",
    ),
    Explanation(
        "native-module-empty",
        "A native module of an egg imports from the cache, and is empty.",
        "AttributeError or ImportError for what should be in it.",
        "Unzip the egg.",
    ),
    Explanation(
        "import-fails",
        "A module that --import named does not import; or a top-level module of a root, by the fault of an egg, of the "
        "cache or of a requirement. It was tried in a process of its own, in the locale of the server.",
        "Most likely the application does not start.",
        "Where a path leads through a zipped egg, unzip that; where what is lacking is installed and not active, have "
        "a .pth file name it, as the message says. Else see with -v which line of which file it was, and import it by "
        "hand as that user, with the same PYTHON_EGG_CACHE.",
    ),
    Explanation(
        "root-import-fails",
        "A top-level module of a root (as its top_level.txt or its RECORD names them) does not import, for a reason "
        "that has nothing to do with eggs. A notice: it may be for another server, or need what only the server has.",
        "Nothing, where the server does not import it; else the application does not start.",
        "Import it by hand, as that user. --no-import leaves these imports out.",
    ),
    Explanation(
        "import-writes",
        "A module that --import named wants to write a file when it is imported. check lets nothing be written, and "
        "the import failed with that.",
        "Nothing, if the runtime user may write there.",
        "See that it may; then import the module by hand.",
    ),
)

SURROUNDINGS = (
    Explanation(
        "private-tmp",
        "The cache, an egg, or the target is in /tmp or /var/tmp, and systemd gives Apache another /tmp (PrivateTmp).",
        "Apache does not see it. Without the cache the workers extract into their own /tmp, anew after each start; "
        "without an egg they do not start.",
        "Use /var/cache/eggcache; install the egg where it is to stay. What is bound into Apache's /tmp does not "
        "last: systemd-tmpfiles unmounts it.",
    ),
    Explanation(
        "hidden-by-unit",
        "Apache's unit keeps the directory from Apache (InaccessiblePaths), or shows a file system of its own in the "
        "place of it (TemporaryFileSystem).",
        "Apache does not see the cache, an egg or the target there: an ExtractionError, though everything is prepared.",
        "Use a directory outside of what the unit hides, or take the setting out of the unit.",
    ),
    Explanation(
        "egg-replaced",
        "Processes of the runtime user run the target since before an egg was replaced.",
        "zipimport keeps where in the egg each module was: the next import fails (bad local file header), or finds "
        "another module's bytes.",
        "Restart them. Stop servers before eggs are replaced, or unzip the eggs.",
    ),
    Explanation(
        "hidden-from-process",
        "A server that runs does not see the cache where it is: its unit has a file system of its own there "
        "(ProtectHome, TemporaryFileSystem, PrivateTmp, InaccessiblePaths), or something was mounted or unmounted "
        "since it was started.",
        "An ExtractionError, though everything is prepared.",
        "Restart it; where that does not help, use a directory that it sees, such as /var/cache/eggcache.",
    ),
    Explanation(
        "volatile",
        "The cache is on a file system in memory.",
        "It is empty after a boot: an ExtractionError until it is prepared.",
        "Prepare at every start of Apache, as the wrappers do, or use /var/cache/eggcache.",
    ),
    Explanation(
        "noexec",
        "The cache is on a file system that is mounted noexec, and native modules are loaded from it.",
        "ImportError: failed to map segment from shared object.",
        "Use a directory on another file system, or unzip the eggs.",
    ),
    Explanation(
        "cleaned",
        "systemd-tmpfiles or tmpreaper removes old files from the directory that the cache is in.",
        "Some weeks after the start files are gone: an ExtractionError.",
        "Write the exclusion that the message has, or use /var/cache/eggcache.",
    ),
    Explanation(
        "selinux-label",
        "SELinux is on, and the cache has a type from which httpd may not read or load libraries.",
        "Permission denied, though the modes are right; the audit log has the denial.",
        "semanage fcontext and restorecon, as the message has them.",
    ),
    Explanation(
        "systemd-starts-apache",
        "Under systemd, this apachectl has systemctl start Apache.",
        "What a wrapper exports does not arrive; the wrapper refuses.",
        "Install the drop-in that the wrapper prints.",
    ),
    Explanation(
        "cache-relative",
        "PYTHON_EGG_CACHE, as Apache or what starts it has it, is no whole path: eggs, or ~/eggs in quotes.",
        "pkg_resources expands no ~, and takes it from the working directory of each process: another cache for each, "
        "and none that was prepared.",
        "Write the whole path there, and start Apache anew.",
    ),
    Explanation(
        "running-without-cache",
        "An Apache that runs now, with the target's version of Python in it, has no PYTHON_EGG_CACHE in its "
        "environment.",
        "Its workers extract below the home directory, unless its configuration sets a cache (WSGIPythonEggs, "
        "python-eggs, PythonOption).",
        "systemctl restart, once its unit has the drop-in. Without systemd: stop it and start it by the wrapper, since "
        "apachectl's restart keeps the old environment, as reload and graceful do.",
    ),
    Explanation(
        "running-with-other-cache",
        "An Apache that runs now has another directory in PYTHON_EGG_CACHE.",
        "It does not use the cache that was checked.",
        "Check the directory that it has; or, if this one is to take its place, stop it and start it by the wrapper.",
    ),
)

APPLICATION = (
    Explanation(
        "autoreload-on",
        "The application's configuration has autoreload.on on, or leaves it to an environment that has it on.",
        "CherryPy's autoreloader watches the source files, and wants to start the process anew, which is Apache's.",
        "Set autoreload.on = False in [global].",
    ),
    Explanation(
        "not-production",
        "The application's configuration has another server.environment than production, or none.",
        "CherryPy takes that for development: visitors see tracebacks.",
        'Set server.environment = "production" in [global].',
    ),
    Explanation(
        "base-url-filter-off",
        "The application is under a location such as /myapp, and base_url_filter.on (or baseUrlFilter.on, its older "
        "spelling) is not on.",
        "It redirects and links to addresses outside of its location.",
        "Set base_url_filter.on = True in [global].",
    ),
    Explanation(
        "log-file-unwritable",
        "A handler of the application's [logging] has a file that the runtime user cannot write, or, where it rotates, "
        "cannot rename.",
        "TurboGears raises ConfigError when it reads its configuration: the application does not start. Rotation fails "
        "when it is due.",
        "Give that user the file, or a directory that holds nothing but logs.",
    ),
    Explanation(
        "log-file-unknown",
        "The file of a handler is put together from what only the application knows.",
        "Nothing, if the runtime user can write it: check cannot tell.",
        "Write the whole path into args.",
    ),
    Explanation(
        "app-config-unreadable",
        "The runtime user cannot read the application's configuration.",
        "The application does not start, or starts without it, depending on how it looks for it.",
        "Give the file the group that Apache runs as, and that group the right to read it.",
    ),
    Explanation(
        "app-config-exposed",
        "Everybody on the host can read the application's configuration.",
        "The database's password is in it.",
        "Give it the group that Apache runs as, and then chmod o= FILE.",
    ),
    Explanation(
        "app-config-invalid",
        "The application's configuration is not what ConfigObj reads: a value is no Python literal, a section is not "
        "closed, a name comes twice.",
        "update_config() fails, and the application does not start.",
        "See the line that the message names.",
    ),
    Explanation(
        "app-config-unread",
        "The target has no ConfigObj to read the application's configuration with, and neither has the Python that "
        "runs eggcache. It is a notice.",
        "Nothing in it could be looked at; without ConfigObj, TurboGears 1 does not start either.",
        "Name the Python that has TurboGears with --python, or install configobj where eggcache is installed.",
    ),
    Explanation(
        "apache-configuration",
        "Apache does not tell root its configuration: it does not pass configtest, or there is no mod_info.so. Anybody "
        "else who may not see it is told so, and that is no finding.",
        "Nothing below could be looked at; where configtest fails, Apache does not start.",
        "See what apachectl configtest says.",
    ),
    Explanation(
        "mod-python-old",
        "mod_python is older than 3.2.7.",
        "The TurboGears manual reports a bug in it.",
        "Install a newer one.",
    ),
    Explanation(
        "mod-python-mutex-directory",
        "There is no PythonOption mod_python.mutex_directory outside of all sections.",
        "mod_python puts its locks where it was compiled to; Apache may be unable to write there.",
        'Add PythonOption mod_python.mutex_directory "logs/" after its LoadModule.',
    ),
    Explanation(
        "mod-python-mutex-locks",
        "There is no PythonOption mod_python.mutex_locks outside of all sections.",
        "On systems with few semaphores Apache ends at its start, with errors that do not say why.",
        "Add PythonOption mod_python.mutex_locks 32 after its LoadModule.",
    ),
    Explanation(
        "mod-python-debug",
        "PythonDebug is on.",
        "Visitors see tracebacks, with paths and lines of the source.",
        "Set it to off; the tracebacks are in Apache's error log then.",
    ),
    Explanation(
        "mod-python-and-mod-wsgi",
        "mod_python and mod_wsgi 4 or newer are both enabled, as installing both of Debian's packages leaves them.",
        "configtest says Syntax OK, and Apache does not start.",
        "Disable one: a2dismod python, or a2dismod wsgi.",
    ),
    Explanation(
        "other-python",
        "The Python that Apache embeds has another version than the target, or mod_wsgi is told another installation "
        "(WSGIPythonHome, python-home).",
        "What was prepared and checked is not what Apache runs.",
        "Name the interpreter that Apache runs with --python. Where Apache proxies, or has no process of the --user "
        "that is checked for, another server is taken to run the target, and this is said as a message only.",
    ),
    Explanation(
        "egg-cache-elsewhere",
        "Apache's configuration names another cache: WSGIPythonEggs, python-eggs=, or a PythonOption; or a script that "
        "it runs sets one (os.environ, set_extraction_path); or Trac is told none, and uses its own. Scripts are read, "
        "never run.",
        "It counts more than PYTHON_EGG_CACHE: the cache that was checked is not used.",
        "Check the directory that is named there; or name this one there, if it is for the same application. For Trac: "
        "eggcache wrapper --for trac prints what tells it.",
    ),
    Explanation(
        "path-not-checked",
        "Apache's configuration puts eggs on the path of the application (python-path=, WSGIPythonPath, PythonPath) "
        "that are on no path that was checked.",
        "An ExtractionError at the first request for one of them: it is in no cache.",
        "Prepare with them, and check with the same: --path. The message has the command.",
    ),
    Explanation(
        "another-application",
        "Apache runs several scripts, or process groups, that may be of this Python; one of them sets another cache, "
        "another zone or another path; or only who runs a script can tell what it sets. A notice.",
        "Nothing, if that is another application. If it is this one, an ExtractionError.",
        "Look at the line that is named; --script FILE says which script is the application's.",
    ),
    Explanation(
        "egg-cache-ignored",
        "SetEnv PYTHON_EGG_CACHE, or PythonOption PYTHON_EGG_CACHE without a handler that looks for it.",
        "Nothing, unless the application itself reads it: it does not reach the environment of the process.",
        "Leave it there, and use what eggcache wrapper --for mod_python, or --for mod_wsgi, prints as well.",
    ),
    Explanation(
        "daemon-user-cannot-read",
        "The user of a WSGIDaemonProcess cannot read the cache.",
        "An ExtractionError on every page that this process group serves.",
        "Give it the group of the cache with group=, or a cache of its own with python-eggs=.",
    ),
)

WHEELS = (
    Explanation(
        "wheel-no-egg",
        "A distribution of the tree is installed as something else than an egg, or a zip has no EGG-INFO. A notice.",
        "There is no wheel of it, and pip install --no-index does not find it unless it is installed already.",
        "Put a wheel of it beside the others, as the message says, or let pip use its index.",
    ),
    Explanation(
        "wheel-other-python",
        "The egg was built for a Python that is not the target, or it is native and the target is no CPython.",
        "There is no wheel of it: the target could not be shown to run it.",
        "Name the Python that the egg is for with --python.",
    ),
    Explanation(
        "wheel-other-platform",
        "The egg was built for another platform than the target's.",
        "There is no wheel of it: nobody can say for which ABI its native modules are.",
        "Run eggcache wheels where the egg is at home.",
    ),
    Explanation(
        "wheel-version",
        "The egg's version is none that an installer of today accepts (PEP 440), and none of them means the same.",
        "There is no wheel of it.",
        "Build the project anew with another version.",
    ),
    Explanation(
        "wheel-metadata",
        "The egg's metadata cannot be that of a wheel: a name without a letter, a file of megabytes, a directory that "
        "an installer would take for its own.",
        "There is no wheel of it.",
        "Build the project anew.",
    ),
    Explanation(
        "wheel-not-made",
        "An egg could not be read, or it changed meanwhile.",
        "There is no wheel of it, and one from an earlier run is left alone.",
        "See to what the message names, and run it again.",
    ),
    Explanation(
        "wheel-shared-name",
        "Two eggs of one project and version have different content.",
        "The wheel is made of the one that pkg_resources prefers, which eggcache tree --all shows first.",
        "Find out which one is meant, and remove the other.",
    ),
    Explanation(
        "wheel-renamed",
        "The egg's name or version is one that installers of today refuse, and the wheel's sorts alike; or its "
        "PKG-INFO names another than its file, by which pkg_resources knows it. A notice.",
        "pip shows the new one. Requirements in other eggs are written in the same words.",
        "Nothing; a requirements file of yours may have to use the new words.",
    ),
    Explanation(
        "wheel-requirement-rewritten",
        "A requirement that installers of today refuse is in the wheel in other words that mean the same. A notice.",
        "pip takes it.",
        "Nothing.",
    ),
    Explanation(
        "wheel-requirement-lost",
        "A requirement, or a part of one, means nothing to installers of today.",
        "The wheel installs, but pip does not see to what was left out.",
        "See to it that the right version is installed.",
    ),
)

SECTIONS = (
    ("The tree", TREE),
    ("Eggs that no cache can serve, and damaged ones", EGGS),
    ("The cache", CACHE),
    ("Wheels", WHEELS),
    ("Imports", IMPORTS),
    ("The surroundings", SURROUNDINGS),
    ("The application and Apache's configuration", APPLICATION),
)


def explanations() -> dict[str, Explanation]:
    """All of them, by code."""
    return {one.code: one for _, section in SECTIONS for one in section}


def reference() -> Iterator[str]:
    """The lines of docs/reference/findings.rst, without its head: every finding, with a label for links to it."""
    for title, section in SECTIONS:
        if section:
            yield from ("", title, "-" * len(title), "")
        for one in section:
            yield from (f".. _{one.code}:", "", *one.lines(), "")
