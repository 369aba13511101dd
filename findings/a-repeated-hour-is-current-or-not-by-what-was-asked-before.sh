#!/usr/bin/env bash
# A file of a zipped egg that is dated in the hour that the end of summer time repeats is current, or not, to
# pkg_resources by what the same process asked for before.
#
# pkg_resources makes seconds of a zip's date by mktime(), and leaves it to the C library whether summer time was in
# force. For 02:30 on the last Sunday in October there are two right answers in Madrid, and glibc takes the one of the
# kind that it came across last in this process: after a file of July it is summer time, after one of December it is
# not. So two processes on one host, in one zone, of one application, replace each other's file in the egg cache, and
# in a cache that is locked one of the two is an ExtractionError. No mtime is right for both.
#
# For whom: whoever looks for the reason why one worker of ten extracts again; who builds eggs at night.
# Versions: setuptools 65.5.0 and 81.0.0 on glibc 2.36. musl always takes the one without summer time.
# Source: pkg_resources, ZipProvider._get_date_and_size; mktime(3), tm_isdst.
# Exit status: 0 it is so, 1 that has changed, 2 something is missing here.
set -eu
python=${PYTHON:-python3.11}
PYENV_VERSION=${PYENV_VERSION:-$(pyenv latest 3.11 2>/dev/null || true)}
export PYENV_VERSION
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PYTHON_EGG_CACHE

lacking() { echo "this needs $1" >&2; exit 2; }
changed() { echo "changed: $1"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
    lacking "CPython 3.11 with venv (PYTHON names it)"
"$python" -c 'import platform, sys; sys.exit(platform.libc_ver()[0] != "glibc")' || lacking "glibc"
TZ=Europe/Madrid "$python" -c 'import sys, time; sys.exit(not time.timezone)' || lacking "time zone data (tzdata)"
"$python" -m venv "$work/site"
site=$work/site/bin/python

cat >"$work/egg.py" <<'PYTHON'
import sys, zipfile

files = {"july": (2023, 7, 1, 12, 0, 0), "december": (2023, 12, 1, 12, 0, 0), "night": (2023, 10, 29, 2, 30, 0),
         "__init__.py": (2023, 7, 1, 12, 0, 0)}
with zipfile.ZipFile(sys.argv[1], "w") as egg:
    for name, date in files.items():
        egg.writestr(zipfile.ZipInfo("demo/" + name, date), "")
    egg.writestr(zipfile.ZipInfo("EGG-INFO/PKG-INFO", (2023, 7, 1, 12, 0, 0)),
                 "Metadata-Version: 1.0\nName: demo\nVersion: 1.0\n")
PYTHON
egg=$work/demo-1.0-py3.11.egg
"$site" "$work/egg.py" "$egg"

look() { # FIRST EXPECTED: a new process asks for FIRST, then for the file of the night
    seen=$(cd / && TZ=Europe/Madrid PYTHONPATH=$egg PYTHON_EGG_CACHE=$work/cache "$site" -W ignore - "$1" <<'PYTHON'
import os, sys
import pkg_resources

place = os.path.join(os.environ["PYTHON_EGG_CACHE"], os.path.basename(sys.path[1]) + "-tmp", "demo", "night")
before = os.stat(place).st_ino if os.path.exists(place) else None
pkg_resources.resource_filename("demo", sys.argv[1])
assert pkg_resources.resource_filename("demo", "night") == place
print("extracted" if before is None else "kept" if os.stat(place).st_ino == before else "replaced")
PYTHON
    )
    echo "after the file of $1: $seen"
    [ "$seen" = "$2" ] || changed "after the file of $1 it was: $2"
}

for release in 65.5.0 81.0.0; do
    "$site" -m pip --disable-pip-version-check install -qq setuptools=="$release" || lacking "a package index"
    echo "setuptools $release"
    rm -rf "$work/cache"
    look july extracted
    look july kept
    look december replaced
    look december kept
    look july replaced
done
