#!/usr/bin/env bash
# Up to setuptools 38.2.4 a request for all of a zipped egg is an AssertionError; from 38.2.5 on it extracts the egg.
#
# resource_filename(Requirement.parse("demo"), "") names the directory of a project, installed as files or as an
# unzipped egg. Of a zipped one the older releases say "demo-1.0.egg is not a subpath of demo-1.0.egg/". The newer ones
# extract each file of it, its metadata (EGG-INFO) as well: so a locked cache has to have that, too.
#
# For whom: applications that look for their files beside their project, and whose host has an old setuptools.
# Versions: setuptools 18.8.1, 36.0.1 and 38.2.4 (fail), 38.2.5 to 81.0.0 (extract). Shown with the two on CPython 3.9.
# Source: pkg_resources, ZipProvider._zipinfo_name.
# Exit status: 0 it is so, 1 that has changed, 2 something is missing here.
set -eu
python=${PYTHON:-python3.9}
PYENV_VERSION=${PYENV_VERSION:-$(pyenv latest 3.9 2>/dev/null || true)}
export PYENV_VERSION
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PYTHON_EGG_CACHE

lacking() { echo "this needs $1" >&2; exit 2; }
changed() { echo "changed: $1"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 9))' 2>/dev/null ||
    lacking "CPython 3.9 with venv (PYTHON names it)"
"$python" -m venv "$work/site"
site=$work/site/bin/python

egg=$work/demo-1.0-py3.9.egg
"$site" - "$egg" <<'PYTHON'
import sys, zipfile

with zipfile.ZipFile(sys.argv[1], "w") as egg:
    egg.writestr("demo/__init__.py", "")
    egg.writestr("demo/page.txt", "the page")
    egg.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: demo\nVersion: 1.0\n")
PYTHON

look() { # SETUPTOOLS EXPECTED: what a request for all of the egg brings
    "$site" -m pip --disable-pip-version-check install -qq setuptools=="$1" || lacking "a package index"
    seen=$(cd / && PYTHONPATH=$egg PYTHON_EGG_CACHE=$work/cache "$site" -W ignore - <<'PYTHON'
import os
import pkg_resources

try:
    place = pkg_resources.resource_filename(pkg_resources.Requirement.parse("demo"), "")
    print(" ".join(sorted(name for _, _, names in os.walk(place) for name in names)))
except AssertionError:
    print("AssertionError")
PYTHON
    )
    echo "setuptools $1: $seen"
    [ "$seen" = "$2" ] || changed "setuptools $1: $2"
}

look 38.2.4 AssertionError
look 38.2.5 "PKG-INFO __init__.py page.txt"
