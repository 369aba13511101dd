# Whether `apachectl "$1"` is given to systemctl, which starts Apache without the environment of this script.
handed_over() {
    [ -d /run/systemd/system ] || return 1
    case $1 in
        start | restart) ;;
        *) return 1 ;;
    esac
    line=
    IFS= read -r line <"$apachectl" 2>/dev/null
    case $line in
        '#!'*) ;;
        *) return 1 ;; # a compiled one calls no systemctl
    esac
    grep -q '^[^#]*systemctl' "$apachectl" || return 1
    if grep -q APACHE_STARTED_BY_SYSTEMD "$apachectl"; then
        # Debian's: `start` alone is given away, and not from within the unit itself.
        [ "$1" = start ] && [ -z "${APACHE_STARTED_BY_SYSTEMD-}" ]
    fi
}

# What to install where that is so.
dropin() {
    cat <<'END_OF_DROPIN'
@DROPIN@
END_OF_DROPIN
}

refuse_systemd() {
    say "refused: under systemd $apachectl has systemctl start Apache, without this environment; install this drop-in"
    dropin >&2
}
