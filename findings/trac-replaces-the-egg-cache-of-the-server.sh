#!/usr/bin/env bash
# The trac.wsgi that `trac-admin deploy` writes replaces the server's PYTHON_EGG_CACHE by a directory of its own.
#
# At each request it sets os.environ["PYTHON_EGG_CACHE"]: to what the WSGI environment has by that name, else to
# .egg-cache in Trac's environment. So neither the variable that Apache was started with nor mod_wsgi's WSGIPythonEggs
# or python-eggs= (which set os.environ before) has an effect; `SetEnv PYTHON_EGG_CACHE` does, which goes into the WSGI
# environment alone, and has none anywhere else.
#
# For whom: administrators of Trac with plugins as zipped eggs, who set an egg cache in Apache and see it empty.
# Versions: Trac 1.2.6 and 1.6. Shown with Trac 1.6 on CPython 3.11.
# Source: trac/web/templates/deploy_trac.wsgi.
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
"$site" -m pip --disable-pip-version-check install -qq --no-deps --only-binary :all: \
    setuptools==65.5.0 Trac==1.6 Jinja2==3.1.4 MarkupSafe==2.1.5 multipart==0.2.5 || lacking "a package index"

cd "$work"
admin() {
    "$work/site/bin/trac-admin" "$work/env" "$@" >"$work/log" 2>&1 ||
        { cat "$work/log"; changed "trac-admin $1 fails"; }
}
admin initenv demo sqlite:db/trac.db
admin deploy "$work/deployed"

look() { # WHAT EXPECTED [VALUE]: the variable after a request; VALUE is what SetEnv would put into the WSGI environment
    seen=$(PYTHON_EGG_CACHE=/var/cache/of-apache "$site" -W ignore - "$work" ${3:+"$3"} 2>"$work/log" <<'PYTHON'
import os, runpy, sys
from wsgiref.util import setup_testing_defaults

work = sys.argv[1]
application = runpy.run_path(os.path.join(work, "deployed", "cgi-bin", "trac.wsgi"))["application"]
environ = {}
setup_testing_defaults(environ)
if sys.argv[2:]:
    environ["PYTHON_EGG_CACHE"] = sys.argv[2]
answers = []
b"".join(application(environ, lambda status, headers, *more: answers.append(status) or (lambda data: None)))
print(answers[0], os.environ["PYTHON_EGG_CACHE"].replace(work, "..."))
PYTHON
    ) || { cat "$work/log"; changed "trac.wsgi does not answer"; }
    echo "$1: $seen"
    [ "$seen" = "$2" ] || changed "$1 was: $2"
}

echo "started with PYTHON_EGG_CACHE=/var/cache/of-apache"
look "after a request" "200 Ok .../env/.egg-cache"
look "after a request with SetEnv" "200 Ok /var/cache/of-setenv" /var/cache/of-setenv
