"""The place of a cache: its file system, its SELinux label, and the /tmp that Apache has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from shlex import quote

from eggcache.model import Finding
from eggcache.servers import apache, cleaners
from eggcache.system import procfs

_VOLATILE = ("tmpfs", "ramfs", "devtmpfs")
_EXECUTABLE = ("lib_t", "textrel_shlib_t", "httpd_modules_t")  # httpd_t may map them executable, and write none
_READABLE = (*_EXECUTABLE, "usr_t", "etc_t", "httpd_sys_content_t", "httpd_sys_script_exec_t", "bin_t")


def findings(directory: str, host: apache.Apache, *, native: bool, root: str = "/") -> Iterator[Finding]:
    """What is wrong with where `directory` lies.

    `host` is this host's Apache; `native`: shared libraries are loaded from it. `root` is where configuration and
    /sys are looked up.
    """
    hidden = apache.hides(host, directory)
    if hidden:
        yield replace(hidden, status=3)  # `prepare` only warns; here it is the answer
    kind = _file_system(directory)
    if kind in _VOLATILE:
        yield Finding(
            "volatile",
            directory,
            f"it is on {kind}, which is empty after the next boot",
            "prepare it at every start of Apache, as the wrappers do, or use /var/cache/eggcache",
        )
    if native and os.statvfs(directory).f_flag & os.ST_NOEXEC:
        yield Finding(
            "noexec",
            directory,
            "it is on a file system that is mounted noexec, so the shared libraries in it cannot be loaded",
            "use a directory elsewhere, such as /var/cache/eggcache, or unzip the eggs: eggcache unzip-all",
        )
    yield from cleaners.findings(directory, root)
    label, real = _label(directory, root), os.path.realpath(directory)
    if label and label not in (_EXECUTABLE if native else _READABLE):
        yield Finding(
            "selinux-label",
            directory,
            f"SELinux is on, and its type is {label}, from which httpd may not "
            + ("load shared libraries" if native else "read"),
            f"semanage fcontext -a -t lib_t {quote(real + '(/.*)?')} && restorecon -R {quote(real)}",
        )


def _file_system(directory: str) -> str:
    """The type of the file system that `directory` is on; "" where it cannot be told."""
    real = os.path.realpath(directory)
    around = [(place, kind) for place, kind in procfs.mounts() if f"{real}/".startswith(place.rstrip("/") + "/")]
    around.sort(key=lambda mount: len(mount[0]))  # of two on one place the later one hides the other
    return around[-1][1] if around else ""


def _label(directory: str, root: str) -> str:
    """The SELinux type of `directory`; "" where SELinux is off or there is none."""
    if not os.path.exists(os.path.join(root, "sys/fs/selinux/enforce")):
        return ""
    try:
        context = os.getxattr(directory, "security.selinux").decode("ascii", "replace")
    except OSError:
        return ""
    parts = context.rstrip("\0").split(":")
    return parts[2] if len(parts) > 2 else ""
