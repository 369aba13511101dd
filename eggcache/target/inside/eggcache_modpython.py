# eggcache_modpython: has Apache's Python use the egg cache that a PythonOption names. Python 2.4 to 3.13 syntax.
#
# Written by `eggcache wrapper DIR --for mod_python --directory D`, together with the configuration that goes with it:
#
#     PythonOption eggcache.directory "/var/cache/eggcache"
#     PythonOption eggcache.timezone "Europe/Madrid"
#     PythonPath "['/directory/of/this/file'] + sys.path"
#     PythonImport eggcache_modpython::at_start main_interpreter
#
# pkg_resources knows nothing of PythonOption, nor of SetEnv: it reads os.environ, each time that it extracts. So the
# variable has to be there before the first resource is looked up. PythonImport runs when a worker starts, before any
# request, and main_interpreter comes before every other: those start with a copy of its environment.
# Sources: mod_python's documentation on PythonImport, PythonOption and get_options().
import os
import sys
import time

from mod_python import apache


def option(options, name):
    """The value of a PythonOption as a name in the file system, None where it is not set."""
    try:
        value = options.get(name)
    except UnicodeDecodeError:  # mod_python for Python 3 takes every value for UTF-8
        value = sys.exc_info()[1].object
    if value is None or sys.version_info[0] < 3:
        return value
    if isinstance(value, str):
        value = value.encode("utf-8")
    return os.fsdecode(value)


def apply(options):
    """Set PYTHON_EGG_CACHE, and the time zone that the cache was prepared for. What is wrong, for the log, or ""."""
    directory = option(options, "eggcache.directory")
    if not directory:
        return "eggcache: there is no PythonOption eggcache.directory in the main server: the egg cache is not set"
    os.environ["PYTHON_EGG_CACHE"] = directory
    # A file in the cache is current only in the zone that it was prepared for; without the option that is the host's.
    zone = option(options, "eggcache.timezone")
    if zone != os.environ.get("TZ"):
        if zone is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = zone
        time.tzset()
    if not os.access(directory, os.R_OK | os.X_OK):
        return "eggcache: the egg cache %r cannot be read: run `eggcache prepare`, for the user of Apache" % directory
    return ""


def at_start():
    """For PythonImport: once for each worker, with the options of the main server."""
    problem = apply(apache.main_server.get_options())
    if problem:
        apache.log_error(problem, apache.APLOG_ERR)


def fixuphandler(req):
    """For PythonFixupHandler, where PythonImport takes no function (mod_python before 3.3), or for one location."""
    problem = apply(req.get_options())
    if problem:
        req.log_error(problem, apache.APLOG_ERR)
    return apache.OK
