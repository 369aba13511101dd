# Whether these arguments cannot start Apache. Then a broken cache must not stand in the way, least of all of `stop`.
# What is not understood here prepares, which is always right.
harmless() {
    case ${1-} in
        stop | graceful-stop | status | fullstatus | configtest | help | usage | --help) return 0 ;;
    esac
    while [ "$#" -gt 0 ]; do
        case $1 in
            -k)
                case ${2-} in stop | graceful-stop) return 0 ;; esac
                shift
                ;;
            -kstop | -kgraceful-stop) return 0 ;;
            -[CcDdEef]) shift ;; # the next one is a value, even where it looks like an option
            -[tvVlLSMh]) return 0 ;;
        esac
        [ "$#" -eq 0 ] || shift
    done
    return 1
}
