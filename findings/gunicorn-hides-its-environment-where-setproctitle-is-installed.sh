#!/usr/bin/env bash
# Where setproctitle is installed, nobody can read a gunicorn's environment or command line from /proc any more.
#
# gunicorn asks for no such thing: it imports setproctitle where it can, and names its processes "gunicorn: master [app]". The
# title takes the memory of argv and of the environment, so that /proc/PID/environ of the master and of each worker is full of
# NULs, and /proc/PID/cmdline no longer has the -c of its configuration. The processes themselves keep their variables. A
# dependency of some other package is enough to change what `ps e`, an inventory or a check of the running server sees.
# SPT_NOENV=1 in the environment leaves it readable, and the titles are shorter then.
#
# For whom: who looks at a running server's variables from the outside, as to see whether it has an egg cache.
# Versions: gunicorn 23.0.0, setproctitle 1.3.7, CPython 3.11, Linux.
# Source: gunicorn/util.py, _setproctitle; setproctitle's README on SPT_NOENV.
# Exit status: 0 it is so, 1 that has changed, 2 something is missing here.
set -eu
python=${PYTHON:-python3.11}
PYENV_VERSION=${PYENV_VERSION:-$(pyenv latest 3.11 2>/dev/null || true)}
export PYENV_VERSION
unset PYTHONPATH PYTHONHOME SPT_NOENV

lacking() { echo "this needs $1" >&2; exit 2; }
changed() { echo "changed: $1"; exit 1; }

master=
work=$(mktemp -d)
end() {
    [ -z "$master" ] || kill "$master" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
[ -r /proc/self/environ ] || lacking "Linux, with /proc"
"$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
    lacking "CPython 3.11 with venv (PYTHON names it)"
"$python" -m venv "$work/site"
pip() { "$work/site/bin/python" -m pip --disable-pip-version-check install -qq "$@" || lacking "a package index"; }
pip gunicorn==23.0.0 packaging==24.2
cat >"$work/app.py" <<'END'
import os


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["MARK"].encode()]
END

look() { # WHAT SETTING...
    what=$1
    shift
    (cd "$work" && exec env MARK=seen "$@" "$work/site/bin/gunicorn" --bind "unix:$work/socket" --workers 1 app:application) \
        2>"$work/log" &
    master=$!
    seen=none
    for _ in $(seq 200); do
        seen=$("$work/site/bin/python" - "$work/socket" "$master" <<'END'
import socket, sys

path, master = sys.argv[1:]
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect(path)
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = connection.makefile("rb").read()
except OSError:
    answer = b""
there = b"MARK=seen" in open("/proc/%s/environ" % master, "rb").read()
if answer.endswith(b"seen"):
    print("its application has MARK; /proc has it: %s" % there)
END
        )
        [ -z "$seen" ] || break
        sleep 0.1
    done
    [ -n "$seen" ] || lacking "a gunicorn that starts: $(tail -1 "$work/log")"
    echo "$what: $seen"
    kill "$master"
    wait "$master" || true
    master=
    rm -f "$work/socket"
}

look "gunicorn alone"
[ "${seen##* }" = True ] || changed "/proc had the environment"
pip setproctitle==1.3.7
look "with setproctitle installed"
[ "${seen##* }" = False ] || changed "/proc had none"
look "with SPT_NOENV=1" SPT_NOENV=1
[ "${seen##* }" = True ] || changed "/proc had it with SPT_NOENV"
