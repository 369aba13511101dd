#!/usr/bin/env bash
# bdist_egg finds every project zip-safe where Python may write no bytecode.
#
# Without zip_safe in setup(), bdist_egg looks through the code for __file__, __path__ and inspect.getsource, and marks
# the egg not-zip-safe where it finds one: easy_install and `setup.py install` then unpack it. It looks through compiled
# files alone. With PYTHONDONTWRITEBYTECODE=1, as images for containers like to set it, or `python -B`, there are none:
# nothing is found, "not found" means safe, and the same source is installed zipped. Its import fails. The log says
# "analyzing archive contents", as ever.
#
# For whom: whoever builds eggs in a container or on a build server, and finds that they differ from those of before.
# Versions: setuptools 44.1.1, 65.5.0, 80.9.0, 84.2.1. Shown with 65.5.0, whose `setup.py install` still makes eggs.
# Source: setuptools/command/bdist_egg.py, analyze_egg (passes over .py) and scan_module; install_lib.byte_compile.
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

mkdir -p "$work/source/demo"
cd "$work/source"
cat >setup.py <<'PYTHON'
from setuptools import setup

setup(name="demo", version="1.0", packages=["demo"], package_data={"demo": ["greeting.txt"]})
PYTHON
cat >demo/__init__.py <<'PYTHON'
import os

with open(os.path.join(os.path.dirname(__file__), "greeting.txt")) as file:
    GREETING = file.read()
PYTHON
printf hello >demo/greeting.txt

look() { # WHAT EXPECTED [VARIABLE=VALUE]: installs the same source once more, as setup.py decides
    rm -rf build dist demo.egg-info "$work"/site/lib/python3.11/site-packages/demo-*
    env ${3:+"$3"} "$site" -W ignore setup.py -q install >"$work/log" 2>&1 || { cat "$work/log"; changed "$1 fails"; }
    mark=$("$site" -c 'import glob, zipfile; print(*[n for n in zipfile.ZipFile(*glob.glob("dist/*.egg")).namelist()
           if n.endswith("zip-safe")])')
    installed=zip
    for egg in "$work"/site/lib/python3.11/site-packages/demo-*.egg; do [ ! -d "$egg" ] || installed=directory; done
    imported=$(cd / && "$site" -c 'import demo; print(demo.GREETING)' 2>&1 | tail -n 1 | cut -d : -f 1)
    echo "$1: $mark, installed as a $installed, import demo: $imported"
    [ "$mark, $installed, $imported" = "$2" ] || changed "$1 was: $2"
}

look "with bytecode" "EGG-INFO/not-zip-safe, directory, hello"
look "PYTHONDONTWRITEBYTECODE=1" "EGG-INFO/zip-safe, zip, NotADirectoryError" PYTHONDONTWRITEBYTECODE=1
