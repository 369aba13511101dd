#!/usr/bin/env bash
# A file of a zipped egg that is dated when clocks were set is current, or not, to pkg_resources by what the same process
# asked for before. That is so for the hour that the end of summer time repeats, and for a time that was skipped where a
# zone moved its *standard* time forward; the hour that the beginning of summer time skips looks alike and does no harm.
#
# pkg_resources makes seconds of a zip's date by mktime(), and leaves it to the C library whether summer time was in
# force. For 02:30 on the last Sunday in October there are two right answers in Madrid. For 02:45 on 1 May 2016, when
# Venezuela moved its standard time from 2:30 to 3:00, there is none, and a tool that packs by the clock of another zone
# can date a file so. glibc takes the answer that fits what it came across last in this process: in Madrid the one of
# summer time after a file of July, in Caracas the one of the new time after a file of that July. So two processes on one
# host, in one zone, of one application, replace each other's file in the egg cache, and in a cache that is locked one of
# the two is an ExtractionError. No mtime is right for both.
#
# For whom: whoever looks for the reason why one worker of ten extracts again; who builds eggs at night; who reads that
# only summer time is to fear.
# Versions: setuptools 65.5.0 and 81.0.0 on glibc 2.36. musl always takes the repeated hour without summer time. Once all
# zones and all changes of offset since 1980 were tried, with tzdata 2025b, which this script does not repeat: no skipped
# hour of a summer time has two answers, and nearly every one of a standard time has.
# Source: pkg_resources, ZipProvider._get_date_and_size; mktime(3), tm_isdst; glibc, time/mktime.c, __mktime_internal.
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
for zone in Europe/Madrid America/Caracas; do
    TZ=$zone "$python" -c 'import sys, time; sys.exit(not time.timezone)' || lacking "time zone data (tzdata)"
done
"$python" -m venv "$work/site"
site=$work/site/bin/python

cat >"$work/egg.py" <<'PYTHON'
import sys, zipfile

files = {"july": (2016, 7, 1, 12, 0, 0), "december": (2016, 12, 1, 12, 0, 0), "january": (2016, 1, 15, 12, 0, 0),
         "repeated": (2016, 10, 30, 2, 30, 0), "skipped": (2016, 3, 27, 2, 30, 0), "moved": (2016, 5, 1, 2, 45, 0),
         "__init__.py": (2016, 1, 15, 12, 0, 0)}
with zipfile.ZipFile(sys.argv[1], "w") as egg:
    for name, date in files.items():
        egg.writestr(zipfile.ZipInfo("demo/" + name, date), "")
    egg.writestr(zipfile.ZipInfo("EGG-INFO/PKG-INFO", (2016, 1, 15, 12, 0, 0)),
                 "Metadata-Version: 1.0\nName: demo\nVersion: 1.0\n")
PYTHON
egg=$work/demo-1.0-py3.11.egg
"$site" "$work/egg.py" "$egg"

look() { # FIRST FILE ZONE EXPECTED: a new process in ZONE asks for FIRST, then for FILE
    seen=$(cd / && TZ=$3 PYTHONPATH=$egg PYTHON_EGG_CACHE=$work/cache "$site" -W ignore - "$1" "$2" <<'PYTHON'
import os, sys
import pkg_resources

place = os.path.join(os.environ["PYTHON_EGG_CACHE"], os.path.basename(sys.path[1]) + "-tmp", "demo", sys.argv[2])
before = os.stat(place).st_ino if os.path.exists(place) else None
pkg_resources.resource_filename("demo", sys.argv[1])
assert pkg_resources.resource_filename("demo", sys.argv[2]) == place
print("extracted" if before is None else "kept" if os.stat(place).st_ino == before else "replaced")
PYTHON
    )
    echo "$3, the $2 one after the file of $1: $seen"
    [ "$seen" = "$4" ] || changed "in $3 the $2 one, after the file of $1, was: $4"
}

for release in 65.5.0 81.0.0; do
    "$site" -m pip --disable-pip-version-check install -qq setuptools=="$release" || lacking "a package index"
    echo "setuptools $release"
    rm -rf "$work/cache"
    look july repeated Europe/Madrid extracted
    look july repeated Europe/Madrid kept
    look december repeated Europe/Madrid replaced
    look december repeated Europe/Madrid kept
    look july repeated Europe/Madrid replaced
    look january moved America/Caracas extracted
    look january moved America/Caracas kept
    look july moved America/Caracas replaced
    look july moved America/Caracas kept
    look january moved America/Caracas replaced
    look january skipped Europe/Madrid extracted
    look july skipped Europe/Madrid kept
    look december skipped Europe/Madrid kept
done
