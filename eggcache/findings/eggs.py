"""Findings about eggs that no cache can serve, that are damaged, or that may not be touched."""

from __future__ import annotations

from eggcache.findings.explanation import Explanation

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
