PYTHON_EGG_CACHE=@DIRECTORY@
export PYTHON_EGG_CACHE
# pkg_resources compares local times: Apache must have the zone that the cache was prepared for.
@ZONE@

@if PREPARE@
# Prepares the cache where Apache may be about to start, and says whether it may. In a subshell: whoever reads this file
# keeps its own variables and functions.
@else@
# Says whether Apache may start with the cache, which came in an archive. In a subshell: whoever reads this file keeps
# its own variables and functions.
@end@
eggcache() (
    set -u

@HARMLESS@

    say() {
        printf 'eggcache: %s\n' "$1" >&2
    }

    pid_file=@PID_FILE@
    apachectl=$0
    case $0 in
        */*) ;;
        *) [ ! -f "./$0" ] || apachectl=./$0 ;; # `sh apachectl` looks there before it looks along PATH
    esac
@if HANDED_OVER@
    case ${0##*/} in *ctl*) ;; *) apachectl=@APACHECTL@ ;; esac # the init script reads this file as well
@end@
    cure="stop it, then start it: $apachectl ready && $apachectl stop && $apachectl start"

@if HANDED_OVER@
@HANDED_OVER@

@end@
@RUNNING@

    asks "$@"
    case $action in stop | nothing) exit 0 ;; esac
@if HANDED_OVER@
    if handed_over "${1-}" || { [ "$action" = ready ] && handed_over start; }; then
        refuse_systemd
        exit 1
    fi
    # Stopped, an Apache of systemd's could not be started with this file.
    ! handed_over start || cure="give its unit a drop-in, which this prints: $apachectl ready"
@end@
    status=0
@if PREPARE@
    (
        cd / || exit 1 # Python can import from the current directory, which may be anybody's
        exec @PREPARE@ </dev/null >&2
    ) || status=$?
    what="could not be prepared (exit status $status)"
@else@
    [ -d "$PYTHON_EGG_CACHE" ] || status=1
    what="is not there ($PYTHON_EGG_CACHE): extract its archive again (tar -xpf FILE.tar -C /)"
@end@
    if [ "$status" -eq 0 ]; then
        if [ "$action" = ready ]; then
            shift
            [ $# -gt 0 ] || exec "$apachectl" configtest
            exec "$apachectl" -t "$@"
        elif [ "$action" = renew ]; then
            lacks_cache
        elif ! cleared && lacks_cache; then
            exit 1
        fi
        exit 0
    fi
    case "$*" in
        graceful | '-k graceful' | -kgraceful | reload | force-reload) # the last two are what Debian's init script calls it
            # Refused, it would keep logrotate from its work, and spare a running Apache nothing.
            if find_pid; then
                say "the egg cache $what: Apache goes on with the one that there is"
                exit 0
            fi
            ;;
    esac
    say "the egg cache $what: Apache is left as it is"
    exit "$status"
)
eggcache "$@" || exit
[ "${1-}" != ready ] || exit 0
unset -f eggcache
