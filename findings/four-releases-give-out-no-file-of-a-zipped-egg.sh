#!/usr/bin/env bash
# Distribute 0.6.46 and 0.6.47, and setuptools 0.7.5 and 0.7.6, give out no file of a zipped egg: an AttributeError.
#
# Whatever file is asked for, and whatever is in the egg cache, resource_filename() ends in "'module' object has no
# attribute". The next releases give the file out, and an egg that is a directory gives its files out under all of them.
#
# For whom: sites of Python 2.4 to 2.7 that were installed in the summer of 2013, and whose eggs are zipped.
# Versions: these, against Distribute 0.6.48 and setuptools 0.7.7, on CPython 2.7.
# Source: pkg_resources, ZipProvider._extract_resource; the changes of setuptools 0.7.5 and 0.7.7.
# Exit status: 0 it is so, 1 that has changed, 2 something is missing here.
set -eu
python=${PYTHON:-python2.7}
PYENV_VERSION=${PYENV_VERSION:-$(pyenv latest 2.7 2>/dev/null || true)}
export PYENV_VERSION
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PYTHON_EGG_CACHE

lacking() { echo "this needs $1" >&2; exit 2; }
changed() { echo "changed: $1"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -c 'import pip, sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null ||
    lacking "CPython 2.7 with pip (PYTHON names it)"

egg=$work/demo-1.0-py2.7.egg
"$python" - "$egg" <<'PYTHON'
import sys, zipfile

egg = zipfile.ZipFile(sys.argv[1], "w")
for name, text in (("demo/__init__.py", ""), ("demo/page.html", "the page"),
                   ("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: demo\nVersion: 1.0\n")):
    egg.writestr(zipfile.ZipInfo(name, (2012, 1, 1, 0, 0, 0)), text)
egg.close()
PYTHON
mkdir "$work/unzipped"
"$python" -m zipfile -e "$egg" "$work/unzipped/demo-1.0-py2.7.egg"

look() { # PROJECT RELEASE EXPECTED: what an application gets from that release
    place=$work/$1-$2
    mkdir -p "$place/source" "$place/pkg" "$work/cache-$2"
    # pip keeps the archive where it cannot build it; what counts is one module of it
    (cd "$place" && "$python" -m pip download -q --no-deps --no-binary :all: "$1==$2" >/dev/null 2>&1) || true
    case $(cd "$place" && echo "$1"-*) in
    *.zip) "$python" -m zipfile -e "$place/$1"-*.zip "$place/source" ;;
    *.gz) tar -xzf "$place/$1"-*.gz -C "$place/source" ;;
    *) lacking "a package index" ;;
    esac
    cp "$place/source/$1-$2/pkg_resources.py" "$place/pkg/"
    for from in "$egg" "$work/unzipped/demo-1.0-py2.7.egg"; do
        seen=$(cd / && PYTHONPATH=$place/pkg:$from PYTHON_EGG_CACHE=$work/cache-$2 "$python" -W ignore -c '
import pkg_resources

try:
    print(open(pkg_resources.resource_filename("demo", "page.html")).read())
except AttributeError:
    print("AttributeError")')
        [ -d "$from" ] && what=unzipped expected="the page" || what=zipped expected=$3
        echo "$1 $2, $what: $seen"
        [ "$seen" = "$expected" ] || changed "$1 $2, $what: $expected"
    done
}

look distribute 0.6.46 AttributeError
look distribute 0.6.47 AttributeError
look distribute 0.6.48 "the page"
look setuptools 0.7.5 AttributeError
look setuptools 0.7.6 AttributeError
look setuptools 0.7.7 "the page"
