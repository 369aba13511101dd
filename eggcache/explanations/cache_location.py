"""Findings about where a cache lies: its file system, SELinux, what cleans it, what hides it from servers."""

from __future__ import annotations

from eggcache.explanations.explanation import Explanation

CACHE_LOCATION = (
    Explanation(
        "private-tmp",
        "The cache, an egg, or the target is in /tmp or /var/tmp, and systemd gives Apache another /tmp (PrivateTmp).",
        "Apache sees another /tmp. Without the cache, workers extract there, anew after each start. Without an egg, "
        "the page that needs it is an error (ModuleNotFoundError). Without the target that WSGIPythonHome names, "
        "workers end as soon as they start, and no request is answered.",
        "Use /var/cache/eggcache, and install eggs outside of /tmp. A bind mount in Apache's /tmp does not last, "
        "unless the lines of wrapper --for tmpfiles.d keep systemd-tmpfiles from it.",
    ),
    Explanation(
        "hidden-by-unit",
        "Apache's unit keeps the directory from Apache (InaccessiblePaths), or mounts another file system over it "
        "(TemporaryFileSystem).",
        "Apache does not see the cache, an egg or the target there: an ExtractionError, though everything is prepared.",
        "Use a directory outside of what the unit hides, or take the setting out of the unit.",
    ),
    Explanation(
        "hidden-from-process",
        "A server that runs does not see the cache where it is: its unit has a file system of its own there "
        "(ProtectHome, TemporaryFileSystem, PrivateTmp, InaccessiblePaths), or something was mounted or unmounted "
        "since it was started.",
        "An ExtractionError, though everything is prepared.",
        "Restart the server; where that does not help, use a directory that it sees, such as /var/cache/eggcache.",
    ),
    Explanation(
        "volatile",
        "The cache is on a file system in memory.",
        "The cache is empty after a boot: an ExtractionError until somebody prepares it.",
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
        "systemd-tmpfiles or tmpreaper removes old files from the directory that the cache is in, or the mount point "
        "by which the Apache that runs has the cache in a /tmp of its own (PrivateTmp).",
        "Some weeks after the start, files are missing from the cache: an ExtractionError. Without the mount, workers "
        "extract into their own /tmp.",
        "Add the exclusion that the message has, as wrapper --for tmpfiles.d does, or use /var/cache/eggcache.",
    ),
    Explanation(
        "selinux-label",
        "SELinux is on, and the cache has a type from which httpd may not read or load libraries.",
        "Permission denied, though the modes are right; the audit log has the denial.",
        "Run semanage fcontext and restorecon, as the message has them.",
    ),
)
