#!/usr/bin/env bash
# setuptools 49.6.0 does not find the eggs in an egg (a basket) any more, and looks for their files at another place.
#
# A basket is a zip of eggs that is itself an entry of sys.path. Up to 49.5.0 require() finds the eggs in it, from 49.6.0
# on it does not: the path of the inner egg has to be an entry of its own, outer.egg/inner.egg. Where it is one, what is
# extracted of it is below inner.egg-tmp/ of the egg cache up to 49.5.0, and from 49.6.0 on below
# outer.egg-tmp/inner.egg/. Nothing warns: an egg cache that was filled beforehand is not used for these any more after
# the update of setuptools, and a locked one is an ExtractionError.
#
# For whom: images and hosts with a prepared PYTHON_EGG_CACHE and baskets; who updates setuptools on them.
# Versions: setuptools 49.5.0 and 49.6.0, on CPython 3.9.
# Source: pkg_resources, find_eggs_in_zip, _is_egg_path, and EggProvider._setup_prefix.
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

cat >"$work/egg.py" <<'PYTHON'
import sys, zipfile

with zipfile.ZipFile(sys.argv[1], "w") as egg:
    egg.writestr("demo-1.0-py3.9.egg/demo/__init__.py", "")
    egg.writestr("demo-1.0-py3.9.egg/demo/page.txt", "hello")
    egg.writestr("demo-1.0-py3.9.egg/EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: demo\nVersion: 1.0\n")
PYTHON
basket=$work/basket.egg
"$site" "$work/egg.py" "$basket"

look() { # RELEASE FOUND PLACE
    "$site" -m pip --disable-pip-version-check install -qq setuptools=="$1" || lacking "a package index"
    seen=$(cd / && PYTHONPATH=$basket "$site" -W ignore -c 'import pkg_resources
print([found.project_name for found in pkg_resources.find_distributions(__import__("sys").path[1])])')
    echo "setuptools $1: in the basket are found: $seen"
    [ "$seen" = "$2" ] || changed "with $1 it was: $2"
    seen=$(cd / && PYTHONPATH=$basket/demo-1.0-py3.9.egg PYTHON_EGG_CACHE=$work/cache "$site" -W ignore -c '
import os, pkg_resources

print(os.path.relpath(pkg_resources.resource_filename("demo", "page.txt"), os.environ["PYTHON_EGG_CACHE"]))')
    echo "setuptools $1: the page is at $seen"
    [ "$seen" = "$3" ] || changed "with $1 it was: $3"
}

look 49.5.0 "['demo']" demo-1.0-py3.9.egg-tmp/demo/page.txt
look 49.6.0 "[]" basket.egg-tmp/demo-1.0-py3.9.egg/demo/page.txt
