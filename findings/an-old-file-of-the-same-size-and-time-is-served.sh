#!/usr/bin/env bash
# Up to Distribute 0.6.38 an egg that was rebuilt to the same size and date is served with its old content, for ever.
#
# Whether an extracted file is current, these releases decide by its size and mtime alone; from Distribute 0.6.39 and
# setuptools 0.7 on the bytes are compared as well. A build that gives each file a fixed date, as reproducible builds
# do (SOURCE_DATE_EPOCH), has a change of the same length escape the old ones: "port = 8080" to "port = 9090". The zip
# on the disk has the new line, imports read it, and every resource_filename() has the old one, through all restarts.
#
# For whom: sites of Python 2.4 to 2.7 that get their eggs from a reproducible build, or by a tool that sets dates.
# Versions: Distribute 0.6.38 (serves the old file), Distribute 0.6.39 and setuptools 0.7.2 (do not), on CPython 2.7;
# setuptools 0.6c11, of 2009, serves it.
# Source: pkg_resources, ZipProvider._extract_resource and _is_current; Distribute's CHANGES, 0.6.39.
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

cat >"$work/egg.py" <<'PYTHON'
import sys, zipfile

egg = zipfile.ZipFile(sys.argv[1], "w")
for name, text in (("demo/__init__.py", ""), ("demo/site.cfg", sys.argv[2] + "\n"),
                   ("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: demo\nVersion: 1.0\n")):
    egg.writestr(zipfile.ZipInfo(name, (2012, 1, 1, 0, 0, 0)), text)
egg.close()
PYTHON
egg=$work/demo-1.0-py2.7.egg

look() { # TEXT EXPECTED: a new process, after the egg was built with this text
    "$python" "$work/egg.py" "$egg" "$1"
    seen=$(cd / && PYTHONPATH=$work/release/pkg:$egg PYTHON_EGG_CACHE=$work/cache "$python" -W ignore -c '
import pkg_resources

print(open(pkg_resources.resource_filename("demo", "site.cfg")).read().strip())')
    echo "the egg has: $1; the application reads: $seen"
    [ "$seen" = "$2" ] || changed "it read: $2"
}

try() { # PROJECT RELEASE EXPECTED: what is read of an egg, and after a line of it was changed
    rm -rf "$work/release" "$work/cache"
    mkdir -p "$work/release/pkg" "$work/release/source"
    # pip keeps the archive though it cannot build these any more; what counts is one module of it
    (cd "$work/release" && "$python" -m pip download -q --no-deps --no-binary :all: "$1==$2" >/dev/null 2>&1) || true
    case $(cd "$work/release" && echo "$1"-*) in
    *.zip) "$python" -m zipfile -e "$work/release/$1"-*.zip "$work/release/source" ;;
    *.gz) tar -xzf "$work/release/$1"-*.gz -C "$work/release/source" ;;
    *) lacking "a package index" ;;
    esac
    cp "$work/release/source/$1-$2/pkg_resources.py" "$work/release/pkg/"
    echo "$1 $2"
    look "port = 8080" "port = 8080"
    look "port = 9090" "$3"
}

try distribute 0.6.38 "port = 8080"
try distribute 0.6.39 "port = 9090"
try setuptools 0.7.2 "port = 9090"
