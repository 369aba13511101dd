#!/usr/bin/env bash
# os.access(path, mode, effective_ids=True) answers for the real user, root, on a kernel before 5.8.
#
# A program of root's that takes on the rights of another user by seteuid() asks with effective_ids=True, which is
# faccessat(AT_EACCESS), what that user may do. Linux has a call for that, faccessat2, since 5.8 alone. Before, glibc
# makes up the answer: it reads the mode and the owner of the file, but only in a program that is set-user-id. In any
# other it takes the effective ids for the same as the real ones, and asks the kernel with those. So root is told that
# the other user may write to each file there is, and the open() that follows fails. musl asks from a child instead.
#
# For whom: whoever checks as root what a service's account can reach or change, on RHEL 7 (3.10), Debian 10 (4.19).
# Versions: CPython 3.11 on glibc 2.36; the old kernel is strace, which answers for it that there is no such call.
# Source: glibc, sysdeps/unix/sysv/linux/faccessat.c, __libc_enable_secure; access(2), "C library/kernel differences".
# Exit status: 0 it is so, 1 that has changed, 2 something is missing here.
set -eu
python=${PYTHON:-python3.11}
PYENV_VERSION=${PYENV_VERSION:-$(pyenv latest 3.11 2>/dev/null || true)}
export PYENV_VERSION
unset PYTHONPATH PYTHONHOME

lacking() { echo "this needs $1" >&2; exit 2; }
changed() { echo "changed: $1"; exit 1; }

[ "$(id -u)" -eq 0 ] || lacking "root"
command -v strace >/dev/null || lacking "strace"
"$python" -c 'import os, re; v = re.findall("[0-9]+", os.uname().release); exit((int(v[0]), int(v[1])) < (5, 8))' ||
    lacking "a kernel of 5.8 or newer, for comparison, and CPython 3.11 (PYTHON names it)"
"$python" -c 'import platform, sys; sys.exit(platform.libc_ver()[0] != "glibc")' || lacking "CPython 3.11 on glibc"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
touch "$work/file"
chmod 600 "$work/file"

cat >"$work/ask.py" <<'PYTHON'
import os, sys

os.setgroups([])
os.setegid(65534)
os.seteuid(65534)
said = os.access(sys.argv[1], os.W_OK, effective_ids=True)
try:
    os.close(os.open(sys.argv[1], os.O_WRONLY))
    opened = True
except PermissionError:
    opened = False
print("may write: %s, can open it: %s" % (said, opened))
PYTHON

ask() { # WHERE EXPECTED COMMAND...
    seen=$(shift 2; "$@" "$python" - "$work/file" <"$work/ask.py")
    echo "$1: $seen"
    [ "$seen" = "$2" ] || changed "$1 it was: $2"
}

ask "on this kernel" "may write: False, can open it: False" env
ask "without faccessat2" "may write: True, can open it: False" \
    strace -f -qq -o /dev/null -e inject=faccessat2:error=ENOSYS
