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

say() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
}

@HANDED_OVER@

@RUNNING@
