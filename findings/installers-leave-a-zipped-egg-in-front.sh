#!/usr/bin/env bash
# pip and uv install a newer wheel, say so, exit 0, and the zipped egg of before goes on being imported.
#
# What an old easy_install wrote into easy-install.pth puts its eggs in front of site-packages. pip up to 25.0.1 takes
# such an egg away by its pkg_resources backend; by its importlib.metadata backend, which it uses on Python 3.11 and
# newer, it says "Can't uninstall 'demo'. No files were found to uninstall." and leaves it. From 25.1 on both take it
# away. uv does not see zipped eggs at all: it lists the wheel that it installed, while Python imports the egg.
#
# For whom: who moves a site of eggs to wheels, one project at a time, and trusts `pip list` or `uv pip list`.
# Versions: pip 22.1.2 to 25.0.1 (shown with 25.0.1 against 25.1), uv 0.5.0 to 0.13.9 (shown with 0.13.9), CPython 3.11.
# setuptools before 25 wrote that .pth of its own accord, later ones with SETUPTOOLS_SYS_PATH_TECHNIQUE=rewrite.
# Source: pip/_internal/req/req_uninstall.py, UninstallPathSet.from_dist; pip/_internal/metadata/importlib/_envs.py;
# pypa/pip issue 12330 and pull request 12308.
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
pip() { "$site" -m pip --disable-pip-version-check "$@"; }
pip install -qq setuptools==65.5.0 wheel==0.45.1 || lacking "a package index"

mkdir -p "$work/source/demo"
cd "$work/source"
for version in 2.0 1.0; do
    echo "from setuptools import setup; setup(name='demo', version='$version', packages=['demo'])" >setup.py
    echo "version = '$version'" >demo/__init__.py
    "$site" -W ignore setup.py -q bdist_wheel -d "$work" >/dev/null 2>&1
done
wheel=$work/demo-2.0-py3-none-any.whl
packages=$work/site/lib/python3.11/site-packages

look() { # WHAT EXPECTED COMMAND...: what is imported once the command has installed the wheel beside the egg
    what=$1 expected=$2
    shift 2
    rm -rf "$packages"/demo* build
    SETUPTOOLS_SYS_PATH_TECHNIQUE=rewrite "$site" -W ignore setup.py -q install >/dev/null 2>&1
    [ -f "$packages/demo-1.0-py3.11.egg" ] || lacking "a setuptools that installs zipped eggs"
    status=0
    "$@" >"$work/log" 2>&1 || status=$?
    seen="exit $status, imported: $(cd / && "$site" -c 'import demo; print(demo.version)')"
    echo "$what: $seen"
    [ "$seen" = "$expected" ] || { cat "$work/log"; changed "$what was: $expected"; }
}

for version in 25.0.1 25.1; do
    pip install -qq pip==$version || lacking "a package index"
    if [ $version = 25.1 ]; then stays=2.0; else stays=1.0; fi
    look "pip $version" "exit 0, imported: $stays" pip install --no-index --no-deps "$wheel"
    look "pip $version, backend pkg_resources" "exit 0, imported: 2.0" \
        env _PIP_USE_IMPORTLIB_METADATA=0 "$site" -m pip install --no-index --no-deps "$wheel"
done
"$python" -m venv "$work/tool"
"$work/tool/bin/python" -m pip install -qq --only-binary :all: uv==0.13.9 || lacking "a package index that has uv"
uv=$work/tool/bin/uv
look "uv 0.13.9" "exit 0, imported: 1.0" \
    "$uv" pip install --no-config --cache-dir "$work/cache" --offline --no-deps --python "$site" "$wheel"
"$uv" pip list --no-config --cache-dir "$work/cache" --python "$site" 2>/dev/null | grep '^demo '
