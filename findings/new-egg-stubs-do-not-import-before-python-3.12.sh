#!/usr/bin/env bash
# A zipped egg with a C extension, built by setuptools 80.6 or newer, cannot be imported by Python 3.11 or older.
#
# The stub that bdist_egg writes beside an extension no longer asks pkg_resources, but importlib.resources.files(), for
# the module and not for its package. That takes a module from Python 3.12 on; before, it is a TypeError. These releases
# of setuptools run on Python 3.9. A fallback in Python does not help: it waits for an ImportError. Where the stub does
# work (3.13.0), each process that imports the extension unpacks it into $TMPDIR, whatever PYTHON_EGG_CACHE says.
#
# For whom: who still builds eggs, for plugins of Trac or Scrapyd say, and brought setuptools up to date.
# Versions: setuptools 80.9.0 on CPython 3.9.18, 3.10.13 and 3.11.7 (TypeError) and 3.12.1 (FileNotFoundError, "Can't
# open orphan path": python/cpython issue 121735); 80.4.0 is right on each, pip finds no 80.5, and 80.6.0 and 84.2.1
# write the same stub. Shown with 80.4.0, 80.6.0 and 80.9.0 on CPython 3.11.
# Source: setuptools/command/bdist_egg.py, write_stub.
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

mkdir -p "$work/source/demo"
cd "$work/source"
cat >setup.py <<'PYTHON'
from setuptools import Extension, setup

speedups = Extension("demo._speedups", ["demo/_speedups.c"])
setup(name="demo", version="1.0", zip_safe=True, packages=["demo"], ext_modules=[speedups])
PYTHON
cat >demo/__init__.py <<'PYTHON'
try:
    from demo._speedups import answer
except ImportError:
    answer = "42, from Python"
PYTHON
cat >demo/_speedups.c <<'C'
#include <Python.h>
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_speedups", NULL, -1, NULL};
PyMODINIT_FUNC PyInit__speedups(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module) PyModule_AddStringConstant(module, "answer", "42, from C");
    return module;
}
C

look() { # SETUPTOOLS EXPECTED: how `import demo` ends
    "$site" -m pip --disable-pip-version-check install -qq "setuptools==$1" || lacking "a package index"
    rm -rf build dist
    "$site" -W ignore setup.py -q bdist_egg >"$work/log" 2>&1 ||
        { cat "$work/log"; lacking "what compiles an extension"; }
    seen=$(cd / && PYTHONPATH=$(echo "$work"/source/dist/*.egg) PYTHON_EGG_CACHE=$work/cache-$1 "$site" -W ignore -c '
import demo
print(demo.answer)' 2>&1 | tail -n 1)
    echo "setuptools $1: $seen"
    [ "$seen" = "$2" ] || changed "setuptools $1 was: $2"
}

look 80.4.0 "42, from C"
look 80.6.0 "TypeError: 'demo._speedups' is not a package"
look 80.9.0 "TypeError: 'demo._speedups' is not a package"
