#!/bin/sh
# chkconfig: 2345 85 15
@if PREPARE@
# description: Apache, with an egg cache that is prepared before each start
@else@
# description: Apache, with an egg cache that came in an archive
@end@
### BEGIN INIT INFO
# Provides:          @NAME@
# Required-Start:    $local_fs $remote_fs $network
# Required-Stop:     $local_fs $remote_fs $network
# Should-Start:      $named $syslog
# Should-Stop:       $named $syslog
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Apache with a prepared egg cache
@if PREPARE@
# Description:       Prepares the directory that PYTHON_EGG_CACHE names, then
#                    starts Apache with it by way of apachectl.
@else@
# Description:       Starts Apache by way of apachectl, with PYTHON_EGG_CACHE.
@end@
### END INIT INFO
#
# Written by `eggcache wrapper`; write it anew instead of changing it.
#
# It takes the place of Apache's own init script, which clears the environment and must not start Apache as well, on a
# host without systemd. First let it take over the Apache that runs; where it refuses, nothing has changed:
#   /etc/init.d/@NAME@ restart
#   Debian:  update-rc.d @SERVICE@ disable    then    update-rc.d @NAME@ defaults
#   RHEL:    chkconfig httpd off            then    chkconfig --add @NAME@
# A running Apache's environment cannot be changed: `start` says so where one without this egg cache runs, and waits for
# one that is about to end.
#
# Exit statuses are LSB's. /lib/lsb/init-functions is not read: on some hosts it hands everything over to systemd.

@PROLOGUE@

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
cure="$0 restart"
! handed_over start || cure="give its unit a drop-in, which this prints: $cure"
umask 022 # at boot it is this; by hand it may be anything, and Apache's logs and CGI programs inherit it
cd / || exit 1

# Ends the script where Apache could not be started as it should be. Before anything is stopped.
ready() {
    if handed_over start; then
        refuse_systemd
        exit 1
    fi
@if PREPARE@
    status=0
    prepare || status=$?
    if [ "$status" -ne 0 ]; then
        say "the egg cache could not be prepared (exit status $status): Apache is left as it is"
        [ "$status" -ne 4 ] || exit 4 # LSB's and eggcache's number for missing rights
        exit 1
    fi
@else@
    present || exit 1
@end@
}

start() {
    if find_pid; then # somebody else has started it while the cache was prepared
        ! lacks_cache || exit 1
        return
    fi
    # A pid file of old that now names another program would keep Apache from starting.
    case $number in '' | *[!0-9]*) ;; *) [ ! -d "/proc/$number" ] || rm -f -- "$pid_file" ;; esac
    if ! "$apachectl" start; then
        say "Apache did not start"
        exit 1
    fi
    # apachectl is content before Apache has read its modules' configuration; the pid file comes after that.
    if ! await 60 find_pid; then
        say "Apache did not start, or left no $pid_file: its error log says why"
        exit 1
    fi
}

stop() {
    # apachectl cannot stop Apache while its configuration is wrong; the signal is what it would send.
    "$apachectl" stop || kill "$pid"
    # Not until its pid file is gone: it removes that first, and has its ports for a while longer.
    if ! await 60 gone "$pid"; then
        say "Apache (process $pid) has not stopped within a minute"
        exit 1
    fi
}

usage() {
    printf 'Usage: %s start|stop|restart|try-restart|force-reload|reload|graceful|status|configtest\n' "$0" >&2
    exit 2
}

[ "$#" -eq 1 ] || usage
case $1 in
    start | stop | restart | try-restart | force-reload | reload | graceful | configtest)
        if [ ! -x "$apachectl" ]; then
            say "$apachectl is not installed"
            exit 5
        fi
        ;;
esac
find_pid

case $1 in
    start)
        if ! cleared; then
            ! lacks_cache || exit 1
            exit 0
        fi
        ready
        start
        ;;
    stop)
        [ -n "$pid" ] || exit 0
        stop
        ;;
    restart | try-restart | force-reload)
        # LSB: without a running Apache, only restart starts one. force-reload cannot do less than restart: a
        # running Apache never takes a new environment.
        if [ -z "$pid" ] && [ "$1" = try-restart ]; then
            exit 0
        elif [ -z "$pid" ] && [ "$1" = force-reload ]; then
            say "Apache is not running"
            exit 7
        fi
        "$apachectl" configtest >/dev/null || exit 6
        ready
        find_pid && stop # anew: preparing may have taken a while
        start
        ;;
    reload | graceful)
        if [ -z "$pid" ]; then
            say "Apache is not running"
            exit 7
        fi
        lacks_cache
        "$apachectl" graceful || exit 1
        ;;
    configtest)
        "$apachectl" configtest || exit 6
        ;;
    status)
        if [ -n "$pid" ]; then
            printf 'Apache is running (process %s)\n' "$pid"
        elif [ -d "${pid_file%/*}" ] && [ ! -x "${pid_file%/*}" ]; then
            printf 'Apache may be running: %s cannot be searched\n' "${pid_file%/*}"
            exit 4
        elif [ -e "$pid_file" ]; then
            printf 'Apache is dead, and %s is left\n' "$pid_file"
            exit 1
        else
            printf 'Apache is stopped\n'
            exit 3
        fi
        ;;
    *) usage ;;
esac
