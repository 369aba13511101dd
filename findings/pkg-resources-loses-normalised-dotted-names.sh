#!/usr/bin/env bash
# pip installs a project with a dot in its name, and pkg_resources says that it is not there.
#
# Who uploads a wheel today writes the project's name normalised: zope.event 5.1 has zope_event-5.1.dist-info, 5.0 had
# zope.event-5.0.dist-info. pkg_resources takes the name from that directory, reads the underscore as a dash, and knows
# a project zope-event, which is not zope.event to it. `pip check` and importlib.metadata are content.
#
# For whom: sites on an old setuptools with zope.*, repoze.*, tw2.*, Products.*: a newer wheel of one of them, or an
# older one built anew, and each console script or entry point that requires it by name is a DistributionNotFound.
# Versions: setuptools 65.5.0 (what CPython 3.11 comes with) to 75.8.1; found from 75.8.2 on.
# Source: pkg_resources, Distribution.from_location and Distribution.key, safe_name; zopefoundation/zope.event issue 30.
# Exit status: 0 it is so, 1 that has changed, 2 something is missing here.
set -eu
python=${PYTHON:-python3.11}
PYENV_VERSION=${PYENV_VERSION:-$(pyenv latest 3.11 2>/dev/null || true)}
export PYENV_VERSION
unset PYTHONPATH PYTHONHOME

lacking() { echo "this needs $1" >&2; exit 2; }
changed() { echo "changed: $1"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
    lacking "CPython 3.11 with venv (PYTHON names it)"
"$python" -m venv "$work/site"

install() {
    "$work/site/bin/python" -m pip --disable-pip-version-check install -qq --no-deps --only-binary :all: "$@" ||
        lacking "a package index"
}

required() { # prints what pkg_resources says of zope.event
    "$work/site/bin/python" -W ignore - <<'PYTHON'
import pkg_resources

try:
    pkg_resources.require("zope.event")
    print("found")
except pkg_resources.DistributionNotFound as error:
    print(type(error).__name__)
PYTHON
}

look() { # SETUPTOOLS ZOPE.EVENT EXPECTED
    install "setuptools==$1" "zope.event==$2"
    seen=$(required)
    directory=$(cd "$work/site/lib/python3.11/site-packages" && echo zope*.dist-info)
    echo "setuptools $1, $directory: $seen"
    [ "$seen" = "$3" ] || changed "setuptools $1 with zope.event $2 was: $3"
}

look 65.5.0 5.0 found
look 65.5.0 5.1 DistributionNotFound
version=$("$work/site/bin/python" -c 'import zope.event
from importlib.metadata import version
print(version("zope.event"))')
echo "the same environment to importlib.metadata: zope.event $version, and it can be imported"
[ "$version" = 5.1 ] || changed "importlib.metadata does not know zope.event 5.1"
look 75.8.1 5.1 DistributionNotFound
look 75.8.2 5.1 found
