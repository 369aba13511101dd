"""Findings about running servers, and about the egg cache that their environment names."""

from __future__ import annotations

from eggcache.explanations.explanation import Explanation

SERVERS = (
    Explanation(
        "egg-replaced",
        "Processes of the runtime user run the target since before an egg was replaced.",
        "zipimport keeps where in the egg each module was: the next import fails (bad local file header), or finds "
        "another module's bytes.",
        "Restart them. Stop servers before eggs are replaced, or unzip the eggs.",
    ),
    Explanation(
        "systemd-starts-apache",
        "Under systemd, this apachectl has systemctl start Apache.",
        "Apache does not get what a wrapper exports, so the wrapper refuses to run it.",
        "Install the drop-in that the wrapper prints, or run the command that the message has.",
    ),
    Explanation(
        "cache-relative",
        "PYTHON_EGG_CACHE of Apache, or of what starts Apache, is no absolute path: eggs, or ~/eggs in quotes.",
        "pkg_resources expands no ~, and reads the path from the working directory of each process. In another working "
        "directory the cache is another one, and none of them was prepared.",
        "Write the absolute path there, and start Apache anew.",
    ),
    Explanation(
        "cache-unset",
        "What has the last word on Apache's environment, its envvars file or its unit, sets PYTHON_EGG_CACHE to "
        "nothing, unsets it, or assigns it in a shell script without export.",
        "At its next start Apache has no egg cache, whatever else sets one: its workers extract below the home "
        "directory, or fail.",
        "Write the cache there, as the message has it. Where a unit does it, the message has the command.",
    ),
    Explanation(
        "starts-with-other-cache",
        "What has the last word on Apache's environment, its envvars file or its unit, names another directory in "
        "PYTHON_EGG_CACHE.",
        "From its next start on Apache does not use the cache that was checked.",
        "Check the directory that is named there, or write this one there.",
    ),
    Explanation(
        "running-without-cache",
        "An Apache that runs now, with the target's version of Python in it, or a gunicorn, a uWSGI or a program of "
        "supervisord's that runs the target, has no PYTHON_EGG_CACHE in its environment, or an empty one.",
        "Its workers extract below the home directory, unless its configuration sets a cache (WSGIPythonEggs, "
        "python-eggs, PythonOption). Where the variable is empty, setuptools before 26.1 extracts to the working "
        "directory, or fails.",
        "systemctl restart, once its unit has the drop-in. Without systemd: stop it and start it by the wrapper, since "
        "apachectl's restart keeps the old environment, as reload and graceful do. For another server the message has "
        "the wrapper.",
    ),
    Explanation(
        "configuration-unseen",
        "A gunicorn or a uWSGI that runs the target has no cache in its environment, and a configuration that is not "
        "seen or not read: setproctitle leaves nothing of gunicorn's command line and environment to see; not read are "
        "gunicorn's -c python:MODULE, and uWSGI's xml, yaml, json, include and inherit. A notice.",
        "Nothing, if that configuration sets the cache. Otherwise as running-without-cache.",
        "See that it does. A Python or ini file can be named with --script; where that sets a cache, it is checked.",
    ),
    Explanation(
        "running-with-other-cache",
        "A server that runs now has another directory in PYTHON_EGG_CACHE.",
        "The server does not use the cache that was checked.",
        "Check the directory that the server has; or, to have it use this one, stop it and start it by the wrapper.",
    ),
)
