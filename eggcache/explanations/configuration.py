"""Findings about the application's configuration, and Apache's."""

from __future__ import annotations

from eggcache.explanations.explanation import Explanation

APPLICATION = (
    Explanation(
        "autoreload-on",
        "The application's configuration has autoreload.on on, or leaves it to an environment that has it on.",
        "CherryPy starts the program of its process once more, waits until that ends, and ends too. Apache's process "
        "has no such program: the application ends while it starts (SystemExit), and every page is an error 500. A "
        "server of the application's own is two processes: the second serves on when the first is ended.",
        "Set autoreload.on = False in [global].",
    ),
    Explanation(
        "not-production",
        "The application's configuration has the server.environment development, or none, or it has "
        "server.show_tracebacks on.",
        "Visitors see tracebacks, with paths and lines of the source, on every page of an error. The environments "
        "staging, production and embedded show none.",
        'Set server.environment = "production" in [global], or server.show_tracebacks = False where it is on.',
    ),
    Explanation(
        "environment-unknown",
        "A server.environment is none of development, staging, production and embedded.",
        "CherryPy raises WrongConfigValue: the application does not start, unless its own code adds that environment.",
        'Set server.environment = "production" there.',
    ),
    Explanation(
        "base-url-missing",
        "base_url_filter.on is on, and base_url_filter.base_url is not set (baseUrlFilter is the older spelling), nor "
        "is base_url_filter.use_x_forwarded_host on, by which somebody says that a proxy sends that header.",
        "Redirects lead to http://localhost:8080, or another server.socket_port, unless a proxy in front of the "
        "application sends X-Forwarded-Host. absolute_url() of TurboGears 1.1 is an error in any case.",
        "Set base_url_filter.base_url to the scheme and host that visitors use, without a path. An X-Forwarded-Host "
        "still counts before it. Where there is no proxy, base_url_filter.on = False does as well: a location needs no "
        "filter.",
    ),
    Explanation(
        "webpath-elsewhere",
        "server.webpath is set, and is not the --location under which the application is served.",
        "TurboGears takes server.webpath, and what the server says is its own, off the path of each request. Under "
        "mod_python every page is a 404; at / it is none where a proxy sends X-Forwarded-Server.",
        "Where mod_python serves it, set server.webpath to that location. Without one, the launcher that eggcache "
        "wrapper writes sets it.",
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
        "The name of a handler's file is computed from values that only the application has.",
        "Nothing, if the runtime user can write it: check cannot tell.",
        "Write the absolute path into args.",
    ),
    Explanation(
        "app-config-unreadable",
        "The runtime user cannot read the application's configuration.",
        "The application does not start. In a directory that the user cannot search the file counts as missing: the "
        "application starts without its configuration.",
        "Give the file the group that Apache runs as, and that group the right to read it.",
    ),
    Explanation(
        "app-config-exposed",
        "Everybody on the host can read the application's configuration.",
        "Every user of the host can read the password of the database.",
        "Give the file the group that Apache runs as, and then run chmod o= FILE.",
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
        "runs eggcache. A notice.",
        "The configuration was not checked. Without ConfigObj, TurboGears 1 does not start either.",
        "Name the Python that has TurboGears with --python, or install configobj where eggcache is installed.",
    ),
    Explanation(
        "apache-configuration",
        "Root cannot ask Apache for its configuration: configtest fails, or there is no mod_info.so. For another user "
        "who may not see the configuration, that is a message and no finding.",
        "Apache's configuration was not checked. Where configtest fails, Apache does not start.",
        "Run apachectl configtest, and correct what it names.",
    ),
    Explanation(
        "mod-python-old",
        "mod_python is older than 3.2.7.",
        "The TurboGears manual reports a bug in those releases.",
        "Install a newer release.",
    ),
    Explanation(
        "mod-python-mutex-directory",
        "There is no PythonOption mod_python.mutex_directory outside of all sections.",
        "mod_python has its locks in a directory that was chosen when it was compiled; Apache's error log names it. "
        "Where locks are files, Apache may not be able to write them there. Those of Debian 12's mod_python are none.",
        "Add the line that the finding has after its LoadModule. The TurboGears manual has the relative name logs/, "
        "which counts from where Apache was started.",
    ),
    Explanation(
        "mod-python-mutex-locks",
        "There is no PythonOption mod_python.mutex_locks outside of all sections.",
        "The TurboGears manual reports that Apache ends at its start, on OpenBSD. Where locks are semaphores, there "
        "may be too few of them. Debian 12's mod_python uses none, and starts where the kernel gives none.",
        "Add PythonOption mod_python.mutex_locks 32 after its LoadModule.",
    ),
    Explanation(
        "mod-python-debug",
        "PythonDebug is on.",
        "Visitors see tracebacks, with paths and lines of the source.",
        "Set PythonDebug to off; Apache's error log has the tracebacks with on and with off.",
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
        "a server runs sets one (os.environ, set_extraction_path), or gunicorn's configuration or uWSGI's (raw_env, "
        "env); or Trac is told another one or none, and uses its own (SetEnv, for trac.fcgi FcgidInitialEnv). Scripts "
        "are read, never run.",
        "That cache takes precedence over PYTHON_EGG_CACHE: the cache that was checked is not used.",
        "Check the directory that is named there; or name this one there, if it is for the same application. For Trac: "
        "eggcache wrapper --for trac prints what tells it.",
    ),
    Explanation(
        "extracted-first",
        "Trac runs under mod_python, and a library that it requires is a zipped egg with a native module.",
        "The module is extracted before Trac chooses its cache. The first page of each worker is a ValueError: Can't "
        "change extraction path, files already extracted.",
        "Unzip that egg. The message has the command.",
    ),
    Explanation(
        "path-not-checked",
        "A server's configuration puts eggs on the path of the application (python-path=, WSGIPythonPath, PythonPath, "
        "gunicorn's and uWSGI's pythonpath) that are on no path that was checked.",
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
        "SetEnv PYTHON_EGG_CACHE, or PythonOption PYTHON_EGG_CACHE without a handler that looks for it. Or "
        "the module by which PythonOption eggcache.directory is the cache is on no path of Apache's Python: neither on "
        "the last PythonPath, nor on PYTHONPATH where that counts.",
        "The setting does not reach the environment of the process. Only an application that reads it itself uses it.",
        "Leave the line there, and add what eggcache wrapper --for mod_python, or --for mod_wsgi, prints. Of the "
        "PythonPaths outside of sections the last one counts alone: have one of them only, which begins with the "
        "--directory of the wrapper.",
    ),
    Explanation(
        "daemon-user-cannot-read",
        "The user of a WSGIDaemonProcess, of an Apache that is given a cache of another user, or of a gunicorn, a "
        "uWSGI or a program of supervisord's that runs the target, cannot read the cache.",
        "An ExtractionError on every page that it serves.",
        "Give a process group the group of the cache with group=, or a cache of its own with python-eggs=. For another "
        "server prepare one with --user, and have the server named that one. Any user can start a process that looks "
        "like such a server and names the cache: the message says so where nothing shows that root had it started. "
        "Give no rights for a process that is none of the application's; --server apache leaves them out.",
    ),
)
