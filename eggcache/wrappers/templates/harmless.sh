# What these arguments ask for, as action: to "start" Apache; to "renew" one that runs; to be "ready" for a start; to
# "stop" it; "nothing" of these.
# What cannot start Apache needs no cache: a broken one must not stand in the way, least of all of `stop`. What is not
# understood here is a start, which is always right.
asks() {
    action=start
    case ${1-} in
        stop | graceful-stop) action=stop && return ;;
        ready) action=ready && return ;;
        status | fullstatus | configtest | help | usage | --help) action=nothing && return ;;
        restart | graceful | reload | force-reload) action=renew ;; # the last two are what Debian's init script calls it
    esac
    while [ "$#" -gt 0 ]; do
        case $1 in
            -k)
                case ${2-} in
                    stop | graceful-stop) action=stop && return ;;
                    restart | graceful) action=renew ;;
                esac
                [ "$#" -eq 1 ] || shift
                ;;
            -kstop | -kgraceful-stop) action=stop && return ;;
            -krestart | -kgraceful) action=renew ;;
            -[CcDdEef]) [ "$#" -eq 1 ] || shift ;; # the next one is a value, even where it looks like an option
            -[tvVlLSMh]) action=nothing && return ;;
        esac
        shift
    done
}
