#!/usr/bin/env bash
# `easy_install -UZ` and `easy_install -Z EGG` say that they installed, and leave an installed zipped egg zipped.
#
# -Z is --always-unzip, and the manuals of the time name it as the cure for an egg that cannot extract its files. With
# -U it looks for the best distribution on the index and finds the egg that is installed already: of the same version an
# egg is preferred to a source. Told the egg's own path, it finds that egg and place are one and the same. Both say that
# demo is "already the active version", and exit 0. Told a source archive, it does unpack, over the egg.
#
# For whom: who follows TurboGears' or Trac's advice for "Can't extract file(s) to egg cache".
# Versions: setuptools 0.6c11, 40.8.0 and 44.1.1 (the last for Python 2.7). Shown with 44.1.1 on CPython 3.11.
# Source: setuptools/command/easy_install.py, easy_install.install_egg (which does nothing where both are one file)
# and pkg_resources, Distribution.precedence, by which PackageIndex.fetch_distribution chooses.
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
"$site" -m pip --disable-pip-version-check install -qq setuptools==44.1.1 || lacking "a package index"

mkdir -p "$work/source/demo" "$work/index"
cd "$work/source"
echo 'from setuptools import setup; setup(name="demo", version="1.0", zip_safe=True, packages=["demo"])' >setup.py
: >demo/__init__.py
"$site" -W ignore setup.py -q sdist -d "$work/sources" >/dev/null 2>&1
"$site" -W ignore setup.py -q bdist_egg -d "$work/eggs" >/dev/null 2>&1
egg=$work/site/lib/python3.11/site-packages/demo-1.0-py3.11.egg
cd /

look() { # WHAT EXPECTED ARGUMENT...: what easy_install with these makes of an installed zipped egg
    what=$1 expected=$2
    shift 2
    rm -rf "$egg"
    "$site" -W ignore -m easy_install -q --zip-ok "$work"/eggs/demo-1.0-py3.11.egg >/dev/null 2>&1
    [ -f "$egg" ] || lacking "a setuptools that installs zipped eggs"
    status=0
    "$site" -W ignore -m easy_install "$@" >"$work/log" 2>&1 || status=$?
    if [ -d "$egg" ]; then kind=unpacked; else kind=zipped; fi
    echo "easy_install $what: exit $status, $kind; it said: $(grep -o 'demo 1.0 is already.*' "$work/log")"
    [ "exit $status, $kind" = "$expected" ] || { cat "$work/log"; changed "easy_install $what was: $expected"; }
}

look "-UZ demo" "exit 0, zipped" -UZ -i "file://$work/index" -f "$work/sources" demo
look "-Z demo-1.0-py3.11.egg" "exit 0, zipped" -Z "$egg"
look "-Z demo-1.0.tar.gz" "exit 0, unpacked" -Z "$work/sources/demo-1.0.tar.gz"
