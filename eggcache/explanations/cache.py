"""Findings about a cache: what lies in it, for whom, and who could write there."""

from __future__ import annotations

from eggcache.explanations.explanation import Explanation

CACHE = (
    Explanation(
        "no-cache",
        "There are zipped eggs, and neither --cache nor PYTHON_EGG_CACHE says where they are extracted.",
        "pkg_resources extracts at the first request, below the home directory. Where Apache's user may not write, "
        "that is an ExtractionError; where it may, an intruder can change the code.",
        "Run eggcache prepare and install a wrapper, or run eggcache unzip-all.",
    ),
    Explanation(
        "cache-missing",
        "The cache does not exist, or is no directory.",
        "pkg_resources wants to make the directory: an ExtractionError.",
        "Run eggcache prepare DIR.",
    ),
    Explanation(
        "cache-unreachable",
        "The runtime user cannot get to the cache: a directory above it, or itself, is closed to that user.",
        "pkg_resources takes the cache for missing: an ExtractionError.",
        "Open that directory with chmod. Where the cache serves another user, prepare another cache, or a new one for "
        "both users with a --group that both are in: prepare takes a cache from nobody.",
    ),
    Explanation(
        "egg-not-in-cache",
        "A zipped egg of the tree is not in the cache at all: it is new, or another tree was prepared.",
        "An ExtractionError at the first request for one of its files.",
        "Prepare again, with the requirements and the --path of the application.",
    ),
    Explanation(
        "egg-unseen",
        "An egg of an archive is not on the path of the Python that ran the archive's verifier.",
        "Nothing, where that egg has been unzipped, or removed. Else the verifier has not looked at its files.",
        "Name the directory of the egg behind the verifier's name; or make the archive anew, without the egg.",
    ),
    Explanation(
        "member-missing",
        "A file of an egg is not in the cache.",
        "An ExtractionError when the application asks for the file.",
        "Prepare again.",
    ),
    Explanation(
        "member-unreadable",
        "The runtime user cannot read a file in the cache, or list a directory.",
        "An ExtractionError, or a permission error in the application.",
        "Prepare again; or, where the cache serves others, prepare another cache, as the message says.",
    ),
    Explanation(
        "member-outdated",
        "A file in the cache has another size or time than the egg's: the egg was updated after it was prepared, or "
        "somebody touched the file.",
        "pkg_resources wants to extract the file anew: an ExtractionError.",
        "Prepare again, and have the cache prepared at every start of Apache.",
    ),
    Explanation(
        "member-changed",
        "A file in the cache has other bytes than the egg's, though size and time are right; or it is no regular file.",
        "Up to setuptools 0.6c11 and Distribute 0.6.38, pkg_resources gives out what is there. From Distribute 0.6.39 "
        "and setuptools 0.7 on, it wants to extract the file anew: an ExtractionError.",
        "Find out who could change it; then prepare again, with --reset.",
    ),
    Explanation(
        "not-served",
        "The files in the cache are right, and the target's pkg_resources does not take them all the same; or a module "
        "sets another cache when it is imported (os.environ, set_extraction_path).",
        "An ExtractionError, or files from another place.",
        "See whether a .pth file, sitecustomize or the egg itself sets another cache; or unzip the egg. A module that "
        "sets a cache should set none, or the one that is checked.",
    ),
    Explanation(
        "cache-stale",
        "Something that a prepare depended on is not as it was: an egg, a directory of the path, the cache itself; or "
        "the cache has no receipt.",
        "A changed egg may be an ExtractionError at the first request for it. The other eggs are served; one that "
        "unzip-all made a directory needs no cache.",
        "Prepare again. eggcache status -v DIR names all that changed.",
    ),
    Explanation(
        "stale-directory",
        "A directory in the cache belongs to no tree that was prepared there.",
        "The directory takes room on the disk, and does no other harm.",
        "eggcache prepare --prune removes directories that an earlier prepare made. Judge any other one yourself.",
    ),
    Explanation(
        "time-zone",
        "The files are current in another time zone than the one that Apache's processes have, or will have: by what "
        "starts Apache, or by a script or a module that sets TZ, as Django does with its TIME_ZONE.",
        "pkg_resources compares local times, and wants to extract all files anew: an ExtractionError on every page.",
        "Prepare, check and start Apache in one time zone: --tz, or the wrapper, which exports TZ. Two zones need two "
        "caches.",
    ),
    Explanation(
        "cache-writable",
        "The runtime user can write to the cache, or owns something in it.",
        "An intruder in the web server can change the code that it runs, also after the next restart.",
        "As root, run eggcache prepare --reset DIR, or the command that the message names, which is for one tree.",
    ),
    Explanation(
        "cache-open-to-others",
        "The group, or everybody, may write to the cache.",
        "Any of these users can change the code that Apache runs. pkg_resources warns of it in each process, at the "
        "first request for the name of a file. That of setuptools 0.6c11 does not.",
        "As root, run eggcache prepare --reset DIR.",
    ),
    Explanation(
        "cache-unsafe",
        "Somebody else than root could have made the cache, or could exchange it.",
        "That user decides what Apache runs.",
        "Use a directory below directories of root, such as /var/cache/eggcache, or eggcache prepare --reset DIR.",
    ),
    Explanation(
        "parent-writable",
        "The runtime user can rename what is in a directory above the cache.",
        "That user can put another cache in the place of yours.",
        "Use /var/cache/eggcache, or another directory below directories of root's.",
    ),
    Explanation(
        "extraction-race",
        "The cache is writable and setuptools is older than 40.1.",
        "Workers that start together make the same directories, and all but the first fail with File exists.",
        "Prepare the cache: nobody has to write to it then.",
    ),
)
