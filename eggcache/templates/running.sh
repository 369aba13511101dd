# Whether this number is a living Apache. A zombie is gone; and after a crash the number may be some other program's,
# which must be neither taken for Apache nor killed.
lives() {
    line=
    { read -r line <"/proc/$1/stat"; } 2>/dev/null
    case ${line##*) } in '' | [ZXx]*) return 1 ;; esac
    case ${line#*\(} in @PROGRAMS@) ;; *) return 1 ;; esac
}

# Sets pid to the living Apache of the pid file, "" where there is none.
find_pid() {
    pid=
    number=
    [ -r "$pid_file" ] && read -r number _ <"$pid_file"
    case $number in '' | *[!0-9]*) return 1 ;; esac
    lives "$number" && pid=$number
}

# Waits for up to $1 seconds, in tenths of a second where sleep has them, until the rest is true.
await() {
    left=$(($1 * 10))
    shift
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.1 2>/dev/null || { sleep 1 && left=$((left - 9)); }
    done
}

gone() {
    ! lives "$1"
}

# Whether nothing is called as Apache is, but for its control script.
alone() {
    for entry in /proc/[0-9]*; do
        ! lives "${entry#/proc/}" || case ${line#*\(} in *ctl*) ;; *) return 1 ;; esac
    done
}

# Whether no Apache runs, or the one that runs ends in time. One that was told to stop gives its workers ten seconds, and
# meanwhile nothing tells it from one that stays: `apachectl start` is content with either.
cleared() {
    # Apache removes its pid file a moment before it lets go of its ports; any other Apache is not waited for longer.
    find_pid || {
        [ -z "$pid_file" ] || await 2 alone || :
        return 0
    }
    say "Apache runs (process $pid): waiting up to 15 s in case it is about to end"
    await 15 gone "$pid"
}

# Whether an Apache runs that was started without this egg cache, and says so. Only root can read what it was started
# with; where that cannot be told, nothing is said. Within five seconds: a process can keep its readers waiting.
lacks_cache() {
    find_pid || return 1
    end=$(printf '\n.') && end=${end%.}
    started=$({ timeout -s KILL 5 cat "/proc/$pid/environ" && printf 'and=all\0'; } 2>/dev/null | tr '\0\n' '\n\001')
    case $started in *"${end}and=all") ;; *) return 1 ;; esac # nothing at all is no answer
    ours=$(printf 'PYTHON_EGG_CACHE=%s' "$PYTHON_EGG_CACHE" | tr '\n' '\001')
    case $end$started$end in *"$end$ours$end"*) return 1 ;; esac
    say "the Apache that runs (process $pid) was started without this egg cache, and keeps what it has until it ends: $cure"
}
