#!/usr/bin/env bash
# A project's C code is optional, until it is in a zipped egg: then the project cannot be imported without it.
#
# simplejson tries its C code, catches ImportError, and goes on in Python. In a zipped egg the C code has first to be
# extracted, and where that is not possible pkg_resources raises ExtractionError, a RuntimeError: nobody catches that,
# and each page of the site is an error for the want of an optimisation. Without the C code in the egg the same import
# in the same place works.
#
# For whom: sites whose server may not write where its egg cache is (no HOME, a read-only home, ProtectHome=).
# Versions: simplejson 3.19.3, setuptools 65.5.0, CPython 3.11; likewise simplejson 3.17.6 and setuptools 44.1.1 on 2.7.
# Source: simplejson/encoder.py, _import_speedups; pkg_resources, ResourceManager.extraction_error.
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
command -v cc >/dev/null || lacking "a C compiler (cc)"
pip() { "$site" -m pip --disable-pip-version-check -qq "$@" || lacking "a package index"; }
pip install setuptools==65.5.0 wheel==0.45.1
pip download --no-deps --no-build-isolation --no-binary :all: -d "$work" simplejson==3.19.3
tar -xzf "$work/simplejson-3.19.3.tar.gz" -C "$work"
cd "$work/simplejson-3.19.3"
"$site" -W ignore setup.py -q bdist_egg -d "$work/eggs" >"$work/log" 2>&1 ||
    { cat "$work/log"; lacking "what compiles an extension"; }
egg=$(echo "$work"/eggs/*.egg)
"$site" -m zipfile -l "$egg" | grep '\.so ' >/dev/null || lacking "what compiles an extension"

look() { # WHAT CACHE EXPECTED: how simplejson fares with that directory as egg cache
    seen=$(cd / && PYTHONPATH=$egg PYTHON_EGG_CACHE=$2 "$site" -W ignore - 2>&1 <<'PYTHON'
import pkg_resources

try:
    import simplejson.encoder
    print("with C code" if simplejson.encoder.c_make_encoder else "in Python")
except Exception as error:
    print("%s, an ImportError: %s" % (type(error).__name__, isinstance(error, ImportError)))
PYTHON
    )
    echo "$1: $seen"
    [ "$seen" = "$3" ] || changed "$1 was: $3"
}

: >"$work/file"
look "a cache that can be written" "$work/cache" "with C code"
look "a cache that cannot be made" "$work/file/cache" "ExtractionError, an ImportError: False"
# The same egg, with neither the extension nor its stub.
"$site" - "$egg" <<'PYTHON'
import sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as egg:
    kept = [(info, egg.read(info)) for info in egg.infolist() if "_speedups" not in info.filename]
with zipfile.ZipFile(sys.argv[1], "w") as egg:
    for info, data in kept:
        egg.writestr(info, data)
PYTHON
look "no C code in the egg, the same cache" "$work/file/cache" "in Python"
