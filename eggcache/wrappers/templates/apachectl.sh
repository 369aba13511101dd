#!/bin/sh
@if PREPARE@
# apachectl for an Apache whose Python needs an egg cache: the cache is prepared before anything that can start Apache.
@else@
# apachectl for an Apache whose Python needs an egg cache, which comes in an archive (eggcache archive).
@end@
# Written by `eggcache wrapper`; write it anew instead of changing it.
#
# Where:  on the PATH of root, under a name of its own, and executable: /usr/local/sbin/apachectl-eggs
# After:  apachectl-eggs ready && apachectl-eggs stop && apachectl-eggs start
#
@if PREPARE@
# Use it wherever apachectl was used: same arguments, same exit status. Where the cache cannot be prepared, Apache is
# left as it is and the exit status is that of `eggcache prepare`. An argument of its own is `ready`: it prepares, tests
# the configuration, and fails where `start` would, while Apache goes on. A running Apache keeps its environment over
@else@
# Use it wherever apachectl was used: same arguments, same exit status. Where the cache is not there, Apache is left as
# it is and the exit status is 1. An argument of its own is `ready`: it tests the configuration, and fails where `start`
# would, while Apache goes on. A running Apache keeps its environment over
@end@
# restart and graceful: for the first time, stop it and start it with this script. `stop` returns when Apache has ended;
# `start` waits for one that is about to end, and fails where one without this egg cache stays.

@PROLOGUE@

cure="stop it, then start it: $0 ready && $0 stop && $0 start"

@HARMLESS@

asks "$@"
case $action in
    stop)
        find_pid
        "$apachectl" "$@" || exit
        [ -z "$pid" ] || [ "$*" = graceful-stop ] || await 60 gone "$pid" || {
            say "Apache (process $pid) has not stopped within a minute"
            exit 1
        }
        exit 0
        ;;
    start | renew | ready)
        if handed_over "${1-}" || { [ "$action" = ready ] && handed_over start; }; then
            refuse_systemd
            exit 1
        fi
        # Stopped, an Apache of systemd's could not be started here.
        ! handed_over start || cure="give its unit a drop-in, which this prints: $0 ready"
@if PREPARE@
        status=0
        prepare || status=$?
        if [ "$status" -ne 0 ]; then
            say "the egg cache could not be prepared (exit status $status): $apachectl was not run"
            exit "$status"
        fi
@else@
        present || exit 1
@end@
        if [ "$action" = ready ]; then
            shift
            if [ $# -eq 0 ]; then set -- configtest; else set -- -t "$@"; fi
        elif [ "$action" = renew ]; then
            lacks_cache
        elif ! cleared && lacks_cache; then
            exit 1
        fi
        ;;
esac
exec "$apachectl" "$@"
