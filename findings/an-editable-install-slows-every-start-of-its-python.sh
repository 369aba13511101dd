#!/usr/bin/env bash
# After one `pip install -e` of a project whose package lies beside its pyproject.toml, each start of that Python loads
# pathlib, re and some thirty modules more, for every script of the environment, whether it needs that project or not.
#
# setuptools maps such a package by a finder, a module that a .pth file imports at each start, before the program's first
# line; and that module imports pathlib at its top. A start of Python took about twice as long (29 ms in place of 14).
# The same project with its package below src/ gets a .pth file with one path, which costs nothing, and so does
# editable_mode=compat.
#
# For whom: who measures a command's start in a development environment, and test suites that start thousands of processes.
# Versions: setuptools 79.0.1 with pip 24.2 on CPython 3.11; since setuptools 64.
# Source: setuptools/command/editable_wheel.py, _FINDER_TEMPLATE and _select_strategy; PEP 660.
# Exit status: 0 it is so, 1 that has changed, 2 something is missing here.
set -eu
python=${PYTHON:-python3.11}
PYENV_VERSION=${PYENV_VERSION:-$(pyenv latest 3.11 2>/dev/null || true)}
export PYENV_VERSION
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

lacking() { echo "this needs $1" >&2; exit 2; }
changed() { echo "changed: $1"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
    lacking "CPython 3.11 with venv (PYTHON names it)"
"$python" -m venv "$work/site"
site=$work/site/bin/python
"$site" -m pip --disable-pip-version-check install -qq pip==24.2 setuptools==79.0.1 wheel==0.45.1 || lacking "a package index"

mkdir -p "$work/flat/demo" "$work/src/src/demo"
touch "$work/flat/demo/__init__.py" "$work/src/src/demo/__init__.py"
echo "from setuptools import setup; setup(name='demo', version='1', packages=['demo'])" >"$work/flat/setup.py"
echo "from setuptools import setup; setup(name='demo', version='1', packages=['demo'], package_dir={'': 'src'})" \
    >"$work/src/setup.py"
for project in flat src; do # without it, pip runs `setup.py develop`, which writes a path
    printf '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n' \
        >"$work/$project/pyproject.toml"
done

loaded() { # what a Python that does nothing has loaded: how many modules, and whether pathlib is among them
    (cd / && "$site" -c 'import sys; print(len(sys.modules), "pathlib" in sys.modules)')
}
before=$(loaded)
echo "before: $before"

look() { # WHAT PATHLIB PROJECT OPTION...
    what=$1 expected=$2 project=$3
    shift 3
    "$site" -m pip --disable-pip-version-check install -qq --no-deps --no-build-isolation "$@" -e "$work/$project"
    (cd / && "$site" -c 'import demo') || lacking "an editable install that works"
    seen=$(loaded)
    echo "$what: $seen"
    [ "${seen#* }" = "$expected" ] || changed "with $what pathlib is loaded: $expected"
    more=$((${seen% *} - ${before% *}))
    if [ "$expected" = True ]; then
        [ $more -ge 20 ] || changed "with $what it was 20 modules or more"
    else
        [ $more -eq 0 ] || changed "with $what it was none"
    fi
    "$site" -m pip --disable-pip-version-check uninstall -qq -y demo
}

look "the package beside pyproject.toml" True flat
look "the same, editable_mode=compat" False flat --config-settings editable_mode=compat
look "the package below src/" False src
