#!/usr/bin/env bash
# Up to setuptools 40.0, server processes that start together fail while all is writable and well: "File exists".
#
# pkg_resources looks whether a directory of the egg cache exists, and makes it if it does not. Between the two another
# process may have made it, and up to 40.0.0 that is fatal: ExtractionError, "[Errno 17] File exists", with the words
# that the account may have no write access. From 40.1.0 on it goes on. With eight processes on two cores about every
# fourth start of the eight has one that fails; which page shows it, and when, is chance, and a second try is fine.
#
# For whom: prefork servers and test runners with zipped eggs, after each deployment and each cleaning of the cache.
# Versions: setuptools 40.0.0 (fails), 40.1.0 (does not), on CPython 3.9.
# Source: pkg_resources, ensure_directory and _bypass_ensure_directory; pypa/setuptools 1256 and 1870.
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
    egg.writestr("demo/__init__.py", "")
    egg.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: demo\nVersion: 1.0\n")
    for number in range(40):
        egg.writestr("demo/data/%d/page.txt" % number, "hello")
PYTHON
egg=$work/demo-1.0-py3.9.egg
"$site" "$work/egg.py" "$egg"

cat >"$work/starts.py" <<'PYTHON'
import os, shutil, sys
import pkg_resources

WORKERS, STARTS, cache = 8, 60, os.environ["PYTHON_EGG_CACHE"]
said = set()
for start in range(1, STARTS + 1):
    shutil.rmtree(cache, ignore_errors=True)
    gate, opens = os.pipe()
    answers, telling = os.pipe()
    workers = []
    for _ in range(WORKERS):
        worker = os.fork()
        if not worker:
            os.close(opens)
            os.read(gate, 1)  # until all are here
            try:
                for number in range(40):
                    pkg_resources.resource_filename("demo", "data/%d/page.txt" % number)
            except pkg_resources.ExtractionError as error:
                os.write(telling, b"!" if "File exists" in str(error) else b"?")
            os._exit(0)
        workers.append(worker)
    os.close(opens)
    os.close(telling)
    for worker in workers:
        os.waitpid(worker, 0)
    said = os.read(answers, WORKERS)
    os.close(gate)
    os.close(answers)
    if said:
        print("a worker fails:", "File exists" if said.strip(b"!") == b"" else "something else")
        break
else:
    print("no worker fails")
PYTHON

start() { # RELEASE EXPECTED
    "$site" -m pip --disable-pip-version-check install -qq setuptools=="$1" || lacking "a package index"
    seen=$(cd / && PYTHONPATH=$egg PYTHON_EGG_CACHE=$work/cache "$site" -W ignore "$work/starts.py")
    echo "setuptools $1: $seen"
    [ "$seen" = "$2" ] || changed "with $1 it was: $2"
}

start 40.0.0 "a worker fails: File exists"
start 40.1.0 "no worker fails"
