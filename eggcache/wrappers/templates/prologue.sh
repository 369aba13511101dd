# The values below are meant literally: a directory may be called '$x', and a program too.
# shellcheck disable=SC1003,SC2012,SC2016,SC2089,SC2090,SC2288,SC2289
set -u

apachectl=@APACHECTL@
pid_file=@PID_FILE@
PYTHON_EGG_CACHE=@DIRECTORY@
export PYTHON_EGG_CACHE
# pkg_resources compares local times: Apache must have the zone that the cache was prepared for.
@ZONE@

@if PREPARE@
# Apache and its Python inherit what this script has, so the cache is prepared in the same environment; but not in the
# same directory, which may be anybody's: Python can import from there. (A function's body in () is a subshell.)
prepare() (
    cd / || exit 1
    exec @PREPARE@ </dev/null >&2
)
@else@
# Whether the egg cache is there, which came in an archive; else no page works that needs it.
present() {
    [ -d "$PYTHON_EGG_CACHE" ] || {
        say "there is no egg cache $PYTHON_EGG_CACHE: Apache is left as it is; extract its archive again (tar -xpf FILE.tar -C /)"
        return 1
    }
}
@end@

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

say() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
}

refuse_systemd() {
    say "refused: under systemd $apachectl has systemctl start Apache, without this environment; install this drop-in"
    dropin >&2
}

@RUNNING@
