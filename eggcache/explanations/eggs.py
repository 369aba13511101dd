"""Findings about eggs that no cache can serve, that are damaged, or that may not be touched."""

from __future__ import annotations

from eggcache.explanations.explanation import Explanation

EGGS = (
    Explanation(
        "not-permitted",
        "unzip-all may not exchange these eggs, or root cannot safely do so: the eggs or their directory are another "
        "user's, only that user's code names them, or chattr has made them immutable.",
        "These eggs stay as they are; the others are unzipped.",
        "Do what the message says: run the command as the owner, name the directory with --path, or take the attribute "
        "away.",
    ),
    Explanation(
        "not-unzipped",
        "The kernel or the disk refused to put a directory in the place of the egg, as where something is mounted on "
        "the egg, or the egg changed meanwhile.",
        "The egg stays zipped; the others are unzipped.",
        "Do what the message says, and run unzip-all again: it does what is left to do.",
    ),
    Explanation(
        "not-restored",
        "The kernel or the disk refused to put the zip in the place of the egg's directory, or the directory changed "
        "meanwhile.",
        "The egg stays unzipped; the others are put back.",
        "Do what the message says, and run unzip-all --undo again: it does what is left to do.",
    ),
    Explanation(
        "not-on-path",
        "The eggs are not on the target's own path: they lie in a directory that only --path names.",
        "unzip-all leaves them zipped: a program may open them as files, as Scrapyd does with its projects.",
        "Where no program does, name each egg itself: --path DIR/NAME.egg.",
    ),
    Explanation(
        "egg-refused",
        "The egg is damaged, Pythons would read different files from it, or its size unpacked is that of a zip bomb. "
        "Or the egg is sound and cannot be unzipped, as where an ACL says who may read it.",
        "The egg is neither extracted nor unzipped; a sound one is extracted.",
        "Do what the message says: download or build the egg again, give the --limit that it names if you trust it, "
        "or take the ACL away.",
    ),
    Explanation(
        "egg-unreadable",
        "The user that Apache runs as, or whom unzip-all and wheels read eggs as, cannot read the egg or its metadata.",
        "For that user, Python ignores the egg. eggcache copies nothing that the user could not read.",
        "Make the egg, and the directories above it, readable.",
    ),
    Explanation(
        "egg-private",
        "The egg may not be read by everybody who may read the cache.",
        "The egg is not extracted: the cache would show it to more users than its mode does.",
        "Unzip the egg, which keeps its mode; or prepare another cache with the egg's group, or let everybody read it.",
    ),
    Explanation(
        "egg-changed",
        "Somebody changed, added or removed a file in the directory of an egg since unzip-all made it.",
        "unzip-all --undo leaves it as it is: the zip does not have that change.",
        "Save the change elsewhere, restore the directory, and run unzip-all --undo again.",
    ),
    Explanation(
        "foreign-entry",
        "Something in the cache directory is not eggcache's: it belongs to another user, or others can write to it; or "
        "it is the cache's owner's, and no prepare made it, which is a notice only.",
        "The entry stays, and remove does nothing as long as it is there. Its owner can change what pkg_resources "
        "finds in the cache.",
        "See whose entry it is, and remove it.",
    ),
    Explanation(
        "shared-name",
        "Two eggs of one name and with different content are looked for in one directory of the cache.",
        "One of them is served, and the other is not: its files would overwrite those of the first.",
        "Give each application a cache of its own; or unzip one, where nothing opens it as a file, as Scrapyd does.",
    ),
    Explanation(
        "not-an-egg",
        "A zip on the path has a name that does not end in .egg.",
        "pkg_resources raises NotImplementedError for each of its files.",
        "Unpack it into a directory, and put that directory on the path in its place. unzip-all refuses it.",
    ),
    Explanation(
        "not-zip-safe",
        "Code in the egg looks for files beside itself (__file__), and the egg has such files. A notice: whether that "
        "code ever runs is not known. Code that asks pkg_resources is not named.",
        "Templates, catalogues or other data are not found: NotADirectoryError, TemplateNotFound or their like, or "
        "nothing but an empty list, whatever the cache.",
        "Unzip the egg. -v names the modules, and the lines.",
    ),
    Explanation(
        "directory-entries",
        "The egg lists directories as entries of their own: zip -r made it.",
        "A request for a directory fails, from any cache.",
        "Unzip the egg.",
    ),
    Explanation(
        "unusual-names",
        "The egg has names outside of ASCII.",
        "Pythons disagree on these names. Where the zip does not flag a name as UTF-8, Python 3 does not give out the "
        "file, or its directory, from a cache, and Python 2 does. Where the zip flags the name, Python 2 does not, and "
        "Python 3 does where its locale is UTF-8: not in Apache with LANG=C, as Debian's envvars file has it, not even "
        "from Python 3.7 on, which takes C for UTF-8 where it is a program of its own. check says it of Python 3 only "
        "where a file fails in the server's locale, or that locale cannot be told.",
        "Unzip the egg. For Python 3 and flagged names, a server that is started with LANG=C.UTF-8 does as well.",
    ),
    Explanation(
        "ambiguous-time",
        "A file of the egg is dated in the hour that there is twice where summer time ends, or at a time that there is "
        "twice or never where a zone changes its standard time.",
        "The time that pkg_resources expects is a matter of chance, and so is whether it wants to extract again.",
        "Unzip the egg; or prepare with --tz UTC0 and start Apache with what eggcache wrapper prints then: in UTC no "
        "clock is set.",
    ),
    Explanation(
        "eager-missing",
        "The egg's list of eager resources or native libraries names a file that it does not hold.",
        "A request for any file on that list is a KeyError.",
        "Unzip the egg.",
    ),
    Explanation(
        "stub-ignores-cache",
        "A native module is loaded by a stub that setuptools 80.6 or newer wrote.",
        "Up to Python 3.12.1 the module does not import. From 3.13 on each process that imports it extracts it to "
        "TMPDIR, whatever PYTHON_EGG_CACHE says.",
        "Unzip the egg.",
    ),
    Explanation(
        "stub-needs-imp",
        "A native module is loaded by a stub that imports imp, and this Python is 3.12 or newer.",
        "The module does not import.",
        "Unzip the egg where the name of its library ends in .abi3.so. Another library is for the Python in its name "
        "alone: take the egg off the path, and install the project for this Python.",
    ),
    Explanation(
        "stub-multi-phase",
        "A native module initialises in phases (PEP 489), and its stub is of the kind that loses such a module.",
        "The module is empty when it is imported, from any cache.",
        "Unzip the egg.",
    ),
    Explanation(
        "broken-pkg-resources",
        "Distribute 0.6.46 and 0.6.47 and setuptools 0.7.5 and 0.7.6 cannot extract at all.",
        "An AttributeError whenever a file is asked for.",
        "Install another release of setuptools, or unzip the eggs.",
    ),
)
