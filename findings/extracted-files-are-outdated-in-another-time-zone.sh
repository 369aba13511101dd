#!/usr/bin/env bash
# pkg_resources thinks that its extracted files are outdated in another time zone, and extracts them again.
#
# A zip's times have no zone. An extracted file is current to pkg_resources if its mtime is mktime() of what the zip
# says, in the zone of the process that asks. A cron job in UTC and a server in Europe/Madrid that share an egg cache
# replace each other's files for ever, each with the same bytes; and a cache that somebody filled under one zone and
# locked is an ExtractionError ("Perhaps your account does not have write access") to a server in another.
#
# For whom: whoever fills PYTHON_EGG_CACHE beforehand, in an image or a deployment (Debian's init script starts Apache
# without TZ, a framework may set TZ in the process), or wonders why a cache of years has files of this morning.
# Versions: setuptools 65.5.0; the rule is the same in all from 0.6c11 to 81.0.0.
# Source: pkg_resources, ZipProvider._get_date_and_size and _is_current.
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
"$python" -m venv "$work/site"
site=$work/site/bin/python
"$site" -m pip --disable-pip-version-check install -qq setuptools==65.5.0 || lacking "a package index"
TZ=Europe/Madrid "$site" -c 'import sys, time; sys.exit(not time.timezone)' || lacking "time zone data (tzdata)"

mkdir -p "$work/source/demo"
cd "$work/source"
echo 'from setuptools import setup
setup(name="demo", version="1.0", zip_safe=True, packages=["demo"], package_data={"demo": ["page.txt"]})' >setup.py
: >demo/__init__.py
echo hello >demo/page.txt
"$site" -W ignore setup.py -q bdist_egg >/dev/null 2>&1
egg=$(echo "$work"/source/dist/*.egg)

look() { # ZONE EXPECTED: asks for the page as a process of that zone; what became of the file there
    seen=$(cd / && TZ=$1 PYTHONPATH=$egg PYTHON_EGG_CACHE=$work/cache "$site" -W ignore - <<'PYTHON'
import os, sys
import pkg_resources

place = os.path.join(os.environ["PYTHON_EGG_CACHE"], os.path.basename(sys.path[1]) + "-tmp", "demo", "page.txt")
before = os.stat(place).st_ino if os.path.exists(place) else None
assert pkg_resources.resource_filename("demo", "page.txt") == place
print("extracted" if before is None else "kept" if os.stat(place).st_ino == before else "replaced")
PYTHON
    )
    echo "$1: $seen"
    [ "$seen" = "$2" ] || changed "$1 was: $2"
}

look UTC extracted
look UTC kept
look Europe/Madrid replaced
look UTC replaced
look UTC kept
