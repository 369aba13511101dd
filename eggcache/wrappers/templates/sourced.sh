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
    cure="stop it, then start it"

@RUNNING@

    asks "$@"
    case $action in stop | nothing) exit 0 ;; esac
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
        if [ "$action" = renew ]; then
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
unset -f eggcache
