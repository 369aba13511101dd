#!/usr/bin/env bash
# A C extension of PEP 489 (multi-phase) imports from a zipped egg as an empty module, without any error.
#
# Beside each extension bdist_egg puts a stub of Python that extracts the extension and executes it. An extension that
# is initialised in a single phase puts itself into sys.modules meanwhile, and so takes the stub's place. One of several
# phases is executed as a module of its own, which is then thrown away: what was imported is the stub, and that has no
# names. `from ._speedups import escape` fails with ImportError, for which most projects have a fallback, so that a site
# runs without its C code, and no log says so. Unzipped, the extension comes before the stub, and all is well.
#
# For whom: sites with zipped eggs in which there is C code; all that Cython 0.29 and 3 make is of several phases.
# Versions: setuptools 65.5.0 and 80.4.0 on CPython 3.11, 80.9.0 on 3.13. The stubs of 47.3.1 call imp.load_dynamic,
# which Python 3.12 no longer has, and are right. Shown with 47.3.1 and 65.5.0 on CPython 3.11.
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
command -v cc >/dev/null || lacking "a C compiler (cc)"
"$python" -m venv "$work/site"
site=$work/site/bin/python

mkdir "$work/source"
cd "$work/source"
cat >setup.py <<'PYTHON'
from setuptools import Extension, setup

extensions = [Extension(name, [name + ".c"]) for name in ("single", "multi")]
setup(name="demo", version="1.0", zip_safe=True, ext_modules=extensions)
PYTHON
cat >single.c <<'C'
#include <Python.h>
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "single", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_single(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module) PyModule_AddIntConstant(module, "answer", 42);
    return module;
}
C
cat >multi.c <<'C'
#include <Python.h>
static int fill(PyObject *module) { return PyModule_AddIntConstant(module, "answer", 42); }
static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "multi", NULL, 0, NULL, slots};
PyMODINIT_FUNC PyInit_multi(void) { return PyModuleDef_Init(&definition); }
C

look() { # SETUPTOOLS EXPECTED: the names that each module has, imported from a zipped egg of that setuptools
    "$site" -m pip --disable-pip-version-check install -qq "setuptools==$1" || lacking "a package index"
    rm -rf build dist
    "$site" -W ignore setup.py -q bdist_egg >"$work/log" 2>&1 ||
        { cat "$work/log"; lacking "what compiles an extension"; }
    seen=$(cd / && PYTHONPATH=$(echo "$work"/source/dist/*.egg) PYTHON_EGG_CACHE=$work/cache-$1 "$site" -W ignore -c '
import multi, single
for module in (single, multi):
    print(module.__name__, [name for name in vars(module) if not name.startswith("__")], end=" ")' 2>&1 | tail -n 1)
    echo "setuptools $1: $seen"
    [ "$seen" = "$2" ] || changed "setuptools $1 was: $2"
}

look 47.3.1 "single ['answer'] multi ['answer'] "
look 65.5.0 "single ['answer'] multi [] "
