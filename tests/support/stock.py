"""The Apache that tests find: Debian's as it comes out of the package, whatever this machine's was made to be.

What an administrator, or another test, did to this machine's Apache (sites, modules, variables, drop-ins, modes) is
hidden behind mounts of the tests' own, so that no test can see it. Who brings an Apache of its own (httpd.Httpd), or
mounts something over this one, goes on doing so.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = Path("/usr/lib/apache2/modules")
_INSIDE = "EGGCACHE_TESTS_ISOLATED"  # a variable that says so
_ENABLED = ("authz_core", "dir", "mpm_event")
_ENVVARS = """unset HOME
if [ "${APACHE_CONFDIR##/etc/apache2-}" != "${APACHE_CONFDIR}" ] ; then
    SUFFIX="-${APACHE_CONFDIR##/etc/apache2-}"
else
    SUFFIX=
fi
export APACHE_RUN_USER=www-data
export APACHE_RUN_GROUP=www-data
export APACHE_PID_FILE=/var/run/apache2$SUFFIX/apache2.pid
export APACHE_RUN_DIR=/var/run/apache2$SUFFIX
export APACHE_LOCK_DIR=/var/lock/apache2$SUFFIX
export APACHE_LOG_DIR=/var/log/apache2$SUFFIX
export LANG=C
"""
CONFIGURATION = """ServerName 127.0.0.1
DefaultRuntimeDir ${APACHE_RUN_DIR}
PidFile ${APACHE_PID_FILE}
User ${APACHE_RUN_USER}
Group ${APACHE_RUN_GROUP}
ErrorLog ${APACHE_LOG_DIR}/error.log
IncludeOptional mods-enabled/*.load
IncludeOptional mods-enabled/*.conf
Include ports.conf
<Directory />
    Require all denied
</Directory>
IncludeOptional sites-enabled/*.conf
"""
# What says how Apache is started, beside its own configuration: hidden where there is anything
_DIRECTORIES = [
    f"{top}/systemd/system/{name}.service.d" for top in ("/etc", "/run") for name in ("apache2", "httpd", "")
]
_FILES = ["/etc/sysconfig/httpd", *(f"/etc/systemd/system/{name}.service" for name in ("apache2", "httpd"))]


def enter(config: pytest.Config) -> None:
    """Run this very pytest again, with mounts and processes of its own; returns where it is so already.

    Only root can, and only where there is Debian's Apache: a machine without shows no other one. sh is the first of
    the processes: it buries the orphans, as an init does.
    """
    for name in ("APACHE_CONFDIR", "APACHE_ENVVARS", "PYTHON_EGG_CACHE"):
        os.environ.pop(name, None)
    if (
        os.geteuid() != 0
        or not os.path.isdir("/etc/apache2")
        or os.environ.get(_INSIDE)
        or hasattr(config, "workerinput")
    ):
        return
    unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], check=False).returncode:
        return  # a container in which root may not: the tests that need mounts say so
    config.pluginmanager.getplugin("capturemanager").suspend_global_capture(in_=True)  # its files are not for the next
    os.environ[_INSIDE] = "1"
    again = [
        *unshare,
        "sh",
        "-c",
        '"$@"; exit $?',
        "sh",
        sys.executable,
        "-m",
        "pytest",
        *config.invocation_params.args,
    ]
    os.execvp(unshare[0], again)


def hide(place: Path) -> None:
    """In there, put that Apache in the place of this machine's; what it writes lies below the directory `place`."""
    if not os.environ.get(_INSIDE):
        return
    _configure(place / "etc")
    for name, target in (("etc", "/etc/apache2"), ("run", "/run/apache2"), ("log", "/var/log/apache2")):
        (place / name).mkdir(parents=True, exist_ok=True)
        os.makedirs(target, exist_ok=True)  # as apachectl does
        _mount("--bind", place / name, target)
    (place / "empty").mkdir()
    for directory in filter(os.path.isdir, _DIRECTORIES):
        _mount("--bind", place / "empty", directory)
    for file in (*filter(os.path.isfile, _FILES), *_scripts()):
        _mount("--bind", "/dev/null", file)


def _configure(etc: Path) -> None:
    for name in ("mods-available", "mods-enabled", "sites-enabled"):
        (etc / name).mkdir(parents=True)
    for module in MODULES.glob("mod_*.so"):
        name = module.stem[4:]
        (etc / f"mods-available/{name}.load").write_text(f"LoadModule {name}_module {module}\n")
        (etc / f"mods-available/{name}.conf").write_text("")
    for name in _ENABLED:
        (etc / f"mods-enabled/{name}.load").symlink_to(f"../mods-available/{name}.load")
    with socket.socket() as free:  # the machine's Apache may have port 80
        free.bind(("127.0.0.1", 0))
        (etc / "ports.conf").write_text(f"Listen 127.0.0.1:{free.getsockname()[1]}\n")
    (etc / "envvars").write_text(_ENVVARS)
    (etc / "apache2.conf").write_text(CONFIGURATION)


def _scripts() -> list[str]:
    """The init scripts that somebody made for Apache and a cache."""
    scripts = Path("/etc/init.d")
    paths = scripts.iterdir() if scripts.is_dir() else ()
    return [str(path) for path in paths if path.is_file() and b"PYTHON_EGG_CACHE" in path.read_bytes()]


def _mount(*arguments: str | Path) -> None:
    program = shutil.which("mount", path="/usr/bin:/bin")
    assert program, "there is no mount"
    subprocess.run([program, *arguments], check=True)
