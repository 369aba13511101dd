#!/usr/bin/env bash
# A local time that the clocks skipped is one point in time to the mktime() of glibc, and another to that of musl.
#
# In spring the clocks go from 02:00 to 03:00, and there is no 02:30. Asked for it with tm_isdst = -1, glibc takes it for
# 03:30 in summer time, and musl for 01:30 in winter time, which is an hour earlier.
#
# For whom: whoever dates files by local times, as pkg_resources dates what it extracts, and has programs of both libraries
# on one host: a static one that was built with musl, or a container of Alpine's that reads a directory of the host's.
# Versions: musl 1.2.3 and glibc 2.36.
# Source: run with both libraries; POSIX leaves it open.
# Exit status: 0 it is so, 1 that has changed, 2 something is missing here.
set -eu

lacking() { echo "this needs $1" >&2; exit 2; }
changed() { echo "changed: $1"; exit 1; }

command -v gcc >/dev/null || lacking "gcc"
command -v musl-gcc >/dev/null || lacking "musl-gcc (Debian: musl-tools)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/skipped.c" <<'C'
#include <stdio.h>
#include <time.h>

int main(void)
{
    struct tm skipped = {.tm_year = 114, .tm_mon = 2, .tm_mday = 30, .tm_hour = 2, .tm_min = 30, .tm_isdst = -1};
    time_t seconds = mktime(&skipped);
    char text[32];
    strftime(text, sizeof text, "%H:%M UTC", gmtime(&seconds));
    puts(text);
    return 0;
}
C
gcc -o "$work/glibc" "$work/skipped.c"
musl-gcc -static -o "$work/musl" "$work/skipped.c"

ask() { # LIBRARY EXPECTED
    seen=$(TZ=CET-1CEST,M3.5.0,M10.5.0/3 "$work/$1")
    echo "$1: 02:30 on 30 March 2014 in central Europe is $seen"
    [ "$seen" = "$2" ] || changed "by $1 it was: $2"
}

ask glibc "01:30 UTC"
ask musl "00:30 UTC"
