#!/usr/bin/env bash
# Two sites with an egg of the same file name overwrite each other's files in a shared egg cache.
#
# Where pkg_resources extracts to has the egg's file name in it, and neither its directory nor anything of its content.
# Two virtual environments with a demo-1.0-py3.11.egg each, built on different days or with a patch in one of them, have
# one place for both. Each process that finds the other's files there replaces them. A process that has been told the
# place before reads the other site's content from then on.
#
# For whom: hosts with several sites under one account, so one ~/.cache/Python-Eggs, or one WSGIPythonEggs directory.
# Versions: setuptools 65.5.0; the rule is the same in all from 0.6c11 to 81.0.0.
# Source: pkg_resources, ResourceManager.get_cache_path and ZipProvider._extract_resource.
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

for name in shop forum; do
    mkdir -p "$work/$name/demo"
    cd "$work/$name"
    echo 'from setuptools import setup
setup(name="demo", version="1.0", zip_safe=True, packages=["demo"], package_data={"demo": ["page.txt"]})' >setup.py
    : >demo/__init__.py
    echo "the page of the $name" >demo/page.txt
    "$site" -W ignore setup.py -q bdist_egg >/dev/null 2>&1
done

seen=$(cd / && PYTHON_EGG_CACHE=$work/cache "$site" - "$work"/shop/dist/*.egg "$work"/forum/dist/*.egg <<'PYTHON'
import os, subprocess, sys

ASK = "import pkg_resources; print(pkg_resources.resource_filename('demo', 'page.txt'))"


def page_of(egg):
    """Where a new process that has this egg on its path is told that the page is."""
    environment = dict(os.environ, PYTHONPATH=egg)
    return subprocess.check_output([sys.executable, "-W", "ignore", "-c", ASK], env=environment, text=True).strip()


shop, forum = sys.argv[1:]
told = page_of(shop)
print("the shop reads:", open(told).read(), end="")
print("the forum is told the same place:", page_of(forum) == told)
print("the shop reads:", open(told).read(), end="")
PYTHON
)
echo "$seen"
[ "$seen" = "the shop reads: the page of the shop
the forum is told the same place: True
the shop reads: the page of the forum" ] || changed "each egg has files of its own in the cache"
