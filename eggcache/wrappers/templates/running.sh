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

# Whether the Apache pid has a worker that goes on serving: on `stop` Apache keeps its pid file and its ports for up to ten
# seconds, but those of event and worker close theirs at once, and those of prefork ignore, or are just handling, SIGTERM.
serves() {
    if told_to_end "$pid"; then return 1; fi
    ports=$(awk '$4 == "0A" { print "socket:[" $10 "]" }' "/proc/$pid/net/tcp" "/proc/$pid/net/tcp6" 2>/dev/null)
    ports=$(sockets "$pid" | grep -F "${ports:-none}")
    for entry in /proc/[0-9]*; do
        lives "${entry#/proc/}" || continue
        case ${line##*) } in ?" $pid "*) ;; *) continue ;; esac # Linux before 3.5 lists no children
        if told_to_end "${entry#/proc/}"; then continue; fi
        ! sockets "${entry#/proc/}" | grep -qF "${ports:-none}" || return 0
    done
    return 1
}

# Whether SIGTERM, bit 15, is pending in this process, blocked or ignored.
told_to_end() {
    grep -qE '^(SigPnd|ShdPnd|SigBlk|SigIgn):.*[4-7c-f].{3}$' "/proc/$1/status" 2>/dev/null
}

# Only root is told those of a worker, and in a container maybe nobody is.
sockets() {
    ls -l "/proc/$1/fd" 2>/dev/null | sed -n 's/.* -> \(socket:\)/\1/p'
}

# Twice: between the signal and what it does to the workers there is a moment.
stays() {
    serves && { sleep 0.5 2>/dev/null || sleep 1; } && serves
}

settled() {
    gone "$pid" || stays
}

# Whether no Apache runs, or the one that runs ends in time: `apachectl start` is content with one that is about to end.
cleared() {
    # Apache removes its pid file a moment before it lets go of its ports; any other Apache is not waited for longer.
    find_pid || {
        [ -z "$pid_file" ] || await 2 alone || :
        return 0
    }
    if stays; then return 1; fi
    say "Apache (process $pid) serves nobody, as one that is about to end: waiting for up to 15 s"
    await 15 settled
    gone "$pid"
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
