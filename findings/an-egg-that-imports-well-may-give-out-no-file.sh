#!/usr/bin/env bash
# Three ways to pack an egg that imports well, and of which pkg_resources gives out no file, or no directory.
#
# `zip -r` gives each directory an entry of its own, which bdist_egg does not: a request for such a directory fails,
# since pkg_resources takes it for a file with that name. A list of eager resources that names one file which is not
# there makes each name on it a KeyError, those of files that are there as well. And a zip whose name does not end in
# .egg is no egg to pkg_resources, though Python imports from it. In each case `import` works, so that the fault shows
# at the first page that wants a file, and on no cache's account: the cache is writable here.
#
# For whom: who repacks an egg by hand, to patch a file in it, or renames it to .zip to look into it.
# Versions: setuptools 65.5.0 and 81.0.0 on CPython 3.11.
# Source: pkg_resources, ZipProvider._extract_resource, _get_eager_resources, EggProvider._setup_prefix.
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

cat >"$work/egg.py" <<'PYTHON'
import sys, zipfile

files = {"EGG-INFO/PKG-INFO": "Metadata-Version: 1.0\nName: demo\nVersion: 1.0\n", "demo/__init__.py": "",
         "demo/pages/one.txt": "one", "demo/pages/two.txt": "two"}
more = {"plain": {}, "directories": {"demo/": "", "demo/pages/": ""},
        "eager": {"EGG-INFO/eager_resources.txt": "demo/pages/one.txt\ndemo/pages/gone.txt\n"}}
with zipfile.ZipFile(sys.argv[1], "w") as egg:
    for name, text in {**more[sys.argv[2]], **files}.items():
        egg.writestr(name, text)
PYTHON

look() { # NAME PACKED RESOURCE EXPECTED: what a new process gets, from an egg of that name that is packed so
    rm -rf "$work/eggs" "$work/cache"
    mkdir "$work/eggs"
    "$site" "$work/egg.py" "$work/eggs/$1" "$2"
    seen=$(cd / && PYTHONPATH=$work/eggs/$1 PYTHON_EGG_CACHE=$work/cache "$site" -W ignore - "$3" <<'PYTHON'
import os, sys
import demo
import pkg_resources

try:
    place = pkg_resources.resource_filename("demo", sys.argv[1])
    print(" ".join(sorted(os.listdir(place))) if os.path.isdir(place) else open(place).read())
except Exception as error:
    print(type(error).__name__)
PYTHON
    )
    echo "$1, $2, $3: $seen"
    [ "$seen" = "$4" ] || changed "it was: $4"
}

for release in 65.5.0 81.0.0; do
    "$site" -m pip --disable-pip-version-check install -qq setuptools=="$release" || lacking "a package index"
    echo "setuptools $release"
    look demo-1.0-py3.11.egg plain pages "one.txt two.txt"
    look demo-1.0-py3.11.egg plain pages/one.txt one
    look demo-1.0-py3.11.egg directories pages ExtractionError
    look demo-1.0-py3.11.egg directories pages/one.txt one
    look demo-1.0-py3.11.egg eager pages/one.txt KeyError
    look demo-1.0-py3.11.egg eager pages/two.txt two
    look demo-1.0-py3.11.zip plain pages/one.txt NotImplementedError
done
