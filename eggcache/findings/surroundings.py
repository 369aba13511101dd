"""Findings about where a cache lies: its file system, SELinux, what cleans it, the environment of servers."""

from __future__ import annotations

from eggcache.findings.explanation import Explanation

SURROUNDINGS = (
    Explanation(
        "private-tmp",
        "The cache, an egg, or the target is in /tmp or /var/tmp, and systemd gives Apache another /tmp (PrivateTmp).",
        "Apache sees another /tmp. Without the cache, workers extract there, anew after each start; without an egg or "
        "the target, they do not start.",
        "Use /var/cache/eggcache, and install eggs outside of /tmp. A bind mount in Apache's /tmp does not last: "
        "systemd-tmpfiles unmounts it.",
    ),
    Explanation(
        "hidden-by-unit",
        "Apache's unit keeps the directory from Apache (InaccessiblePaths), or mounts another file system over it "
        "(TemporaryFileSystem).",
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
        "systemd-tmpfiles or tmpreaper removes old files from the directory that the cache is in.",
        "Some weeks after the start, files are missing from the cache: an ExtractionError.",
        "Write the exclusion that the message has, or use /var/cache/eggcache.",
    ),
    Explanation(
        "selinux-label",
        "SELinux is on, and the cache has a type from which httpd may not read or load libraries.",
        "Permission denied, though the modes are right; the audit log has the denial.",
        "Run semanage fcontext and restorecon, as the message has them.",
    ),
    Explanation(
        "systemd-starts-apache",
        "Under systemd, this apachectl has systemctl start Apache.",
        "Apache does not get what a wrapper exports, so the wrapper refuses to run it.",
        "Install the drop-in that the wrapper prints.",
    ),
    Explanation(
        "cache-relative",
        "PYTHON_EGG_CACHE of Apache, or of what starts Apache, is no absolute path: eggs, or ~/eggs in quotes.",
        "pkg_resources expands no ~, and reads the path from the working directory of each process. Each process has "
        "another cache, and none of them was prepared.",
        "Write the absolute path there, and start Apache anew.",
    ),
    Explanation(
        "running-without-cache",
        "An Apache that runs now, with the target's version of Python in it, or a gunicorn, a uWSGI or a program of "
        "supervisord's that runs the target, has no PYTHON_EGG_CACHE in its environment.",
        "Its workers extract below the home directory, unless its configuration sets a cache (WSGIPythonEggs, "
        "python-eggs, PythonOption).",
        "systemctl restart, once its unit has the drop-in. Without systemd: stop it and start it by the wrapper, since "
        "apachectl's restart keeps the old environment, as reload and graceful do. For another server the message has "
        "the wrapper.",
    ),
    Explanation(
        "running-with-other-cache",
        "A server that runs now has another directory in PYTHON_EGG_CACHE.",
        "The server does not use the cache that was checked.",
        "Check the directory that the server has; or, to have it use this one, stop it and start it by the wrapper.",
    ),
)
