#!/usr/bin/env bash
# A process that has imported from a zipped egg fails at its next import from it when another egg takes that one's name,
# even by a rename, which for a library or a configuration file is the way that disturbs nobody.
#
# zipimport keeps the table of contents that it read at first, and opens the path anew for each module that it loads. So
# it looks in the new file for offsets of the old one: ZipImportError. That the old file lives on, as it does for who
# has it open, helps nobody. An egg that became a directory of that name (unzipped in its place) is an
# IsADirectoryError. Python does not look again by itself; what was imported before goes on working.
#
# For whom: whoever updates an egg under a server that runs, and whose pages fail one by one as modules are first used.
# Versions: CPython 3.11; 2.7 (there the last one is an IOError).
# Source: zipimport, _zip_directory_cache and _get_data.
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
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
    lacking "CPython 3.11 (PYTHON names it)"

cat >"$work/server.py" <<'PYTHON'
import os, sys, zipfile

egg, how = sys.argv[1:]


def pack(path, release):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo/__init__.py", "# release %s\n" % release)
        archive.writestr("demo/early.py", "")
        archive.writestr("demo/late.py", "release = %r\n" % release)


pack(egg, "1")
sys.path.insert(0, egg)
import demo.early

if how == "a rename":
    pack(egg + ".new", "1.0.1")
    os.rename(egg + ".new", egg)
elif how == "its directory":
    with zipfile.ZipFile(egg) as archive:
        archive.extractall(egg + ".new")
    os.remove(egg)
    os.rename(egg + ".new", egg)
try:
    import demo.late
    print("works")
except Exception as error:
    print(type(error).__name__)
PYTHON

look() { # HOW EXPECTED: what the next import is, after the egg was replaced so
    rm -rf "$work/eggs"
    mkdir "$work/eggs"
    seen=$(cd / && "$python" "$work/server.py" "$work/eggs/demo-1.0-py3.11.egg" "$1")
    echo "replaced by $1: the next import: $seen"
    [ "$seen" = "$2" ] || changed "it was: $2"
}

look nothing works
look "a rename" ZipImportError
look "its directory" IsADirectoryError
