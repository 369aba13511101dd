#!/usr/bin/env bash
# PYTHON_EGG_CACHE counts anew at each request for a file, where set_extraction_path is refused after the first.
#
# Once a file has been extracted, pkg_resources.set_extraction_path raises ValueError, so that all files of a process lie
# below one cache. The environment variable has no such guard: it is looked up again for every file. Code that sets it
# late, as a configuration that is read at the first request does, has the same egg in two caches, and files that lay
# beside each other, a template and what it includes, lie there no more.
#
# For whom: applications that set os.environ["PYTHON_EGG_CACHE"] in their own code, in a server that has set it before.
# Versions: setuptools 65.5.0; the same was seen with 41.2.0 under Python 2.7 and with 56.0.0 under 3.8.
# Source: pkg_resources, ResourceManager.get_cache_path, get_default_cache and set_extraction_path.
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

mkdir -p "$work/shop/shop"
cd "$work/shop"
echo 'from setuptools import setup
setup(name="shop", version="1.0", zip_safe=True, packages=["shop"], package_data={"shop": ["*.html"]})' >setup.py
: >shop/__init__.py
: >shop/page.html
: >shop/frame.html
"$site" -W ignore setup.py -q bdist_egg >/dev/null 2>&1

seen=$(cd / && PYTHONPATH=$(echo "$work"/shop/dist/*.egg) PYTHON_EGG_CACHE=$work/server "$site" -W ignore - "$work" <<'PYTHON'
import os, sys

import pkg_resources

work = sys.argv[1]


def cache_of(name):
    """The directory that a file of the egg is extracted below."""
    return os.path.relpath(pkg_resources.resource_filename("shop", name), work).split(os.sep)[0]


print("the page is below:", cache_of("page.html"))
try:
    pkg_resources.set_extraction_path(os.path.join(work, "application"))
except ValueError:
    print("set_extraction_path: ValueError")
os.environ["PYTHON_EGG_CACHE"] = os.path.join(work, "application")
print("the frame is below:", cache_of("frame.html"))
print("the page is now below:", cache_of("page.html"))
PYTHON
)
echo "$seen"
[ "$seen" = "the page is below: server
set_extraction_path: ValueError
the frame is below: application
the page is now below: application" ] || changed "the cache of the first request stays that of the process"
