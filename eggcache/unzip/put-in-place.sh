#!/bin/sh
# Puts unzipped eggs in the place of the zipped ones, and back. Made by `eggcache archive --unzipped`.
#
#   sh put-in-place.sh [-n] [--undo] [--backup DIR]
#
#   -n            say what would be done, and do nothing
#   --undo        put the zips back, of every archive that was extracted here
#   --backup DIR  where the zips go, in place of zips/ beside this script: on no Python's path; made where it is
#                 missing. --undo leaves them there: several directories of eggs may share it
#
# tar has put this script, and the eggs as directories, into .eggcache-unzipped in the directory of the zipped eggs. Run
# it as the owner of that directory, with the servers stopped: an egg is missing for a moment between the removal of its
# zip and the renaming of its directory, and a process that has read a zip cannot import from what takes its place.
#
# An archive that is extracted later, of eggs that were installed since, adds its own; this then puts those in place.
#
# An egg is left as it is where the zip is not the one that the archive was made of, or where the directory is not what
# the archive has. Each directory gets the owner, the group and the rights to read of its zip. When interrupted, run it
# again: it completes. Keep .eggcache-unzipped for as long as you may want the zips back; nothing else needs it.
#
# Exit status: 0 done, or nothing to do; 1 failed, running it again completes; 2 usage; 3 an egg was left as it is;
# 4 not permitted; 75 another one is at work. It needs POSIX's utilities and md5sum, which GNU and busybox have: not
# cksum, which Debian's busybox lacks. The sums are against mistakes, not against attackers.

umask 077
unset CDPATH
LC_ALL=C
export LC_ALL

status=0 undo='' dry='' backup=''

say() { # TEXT, which is one line, however many its cause has
    printf 'put-in-place: %s\n' "$(printf '%s' "$1" | tr '\n' ' ')" >&2
}

die() { # STATUS LINE
    say "$2"
    exit "$1"
}

fault() { # STATUS LINE; 4 wins, then 1, then 3
    say "$2"
    case $status$1 in
        0? | 3? | 14) status=$1 ;;
    esac
}

while [ $# -gt 0 ]; do
    case $1 in
        -n) dry=1 ;;
        --undo) undo=1 ;;
        --backup)
            [ -n "${2-}" ] || die 2 "--backup: it names a directory; write --backup DIR"
            backup=$2
            shift
            ;;
        *) die 2 "$1: there is no such option; write sh put-in-place.sh [-n] [--undo] [--backup DIR]" ;;
    esac
    shift
done
case $backup in
    '' | /*) ;;
    *) backup=$PWD/$backup ;;
esac

here=$(cd "$(dirname "$0")" && pwd -P) || exit 1
site=${here%/*}
chosen=$backup
backup=${backup:-$here/zips}
lock=$here/lock

# --------------------------------------------------------------------------------------------- what is there

rights() { # PATH: its mode, owner and group
    # shellcheck disable=SC2012 # POSIX has nothing else that tells the owner
    ls -ldn "$1" | {
        read -r mode _ uid gid _
        printf '%s %s %s\n' "$mode" "$uid" "$gid"
    }
}

owner_of() { # PATH
    rights "$1" | {
        read -r _ uid _
        printf '%s\n' "$uid"
    }
}

quoted() { # TEXT, as a word of a shell's
    printf "'%s'" "$(printf '%s\n' "$1" | sed "s/'/'\\\\''/g")"
}

way_back() {
    printf 'sh %s --undo' "$(quoted "$here/put-in-place.sh")"
    [ -z "$chosen" ] || printf ' --backup %s' "$(quoted "$chosen")"
}

first() { # prints the first word of its input
    read -r word _
    printf '%s\n' "$word"
}

sum_of_file() { # PATH
    md5sum <"$1" | first
}

sum_of_tree() { # DIRECTORY
    (cd "$1" && find . -type f -exec md5sum {} + | sort | md5sum) | first
}

has_all_of() { # EGG DIRECTORY: whether every file of the directory is in the egg, the same; the egg may have more
    (cd "$2" && find . -type f -exec md5sum {} +) | (cd "$1" && md5sum -c) >/dev/null 2>&1
}

is_kept() { # NAME SUM: whether the backup has this zip
    [ -f "$backup/$1" ] && [ "$(sum_of_file "$backup/$1")" = "$2" ]
}

not_archived() { # DIRECTORY
    why="it is not what the archive has; remove it (rm -r $(quoted "$1"))"
    fault 1 "$1: $why and extract the archive again"
}

# Whether an egg is to be put in place. Says why where one is left as it is.
wanted() { # NAME SUM_OF_ZIP SUM_OF_TREE
    egg=$site/$1 new=$here/$1.unzipped
    if [ -d "$new.part" ]; then # see movable()
        if [ "$(sum_of_tree "$new.part")" != "$3" ]; then
            [ -n "$dry" ] || rm -rf "$new.part"
        elif [ -n "$dry" ]; then
            new=$new.part
        elif ! why=$({ rm -rf "$new" && mv -f "$new.part" "$new"; } 2>&1); then
            fault 1 "$new: it cannot be renamed: $why; see to that and run this again"
            return 1
        fi
    fi
    if [ -h "$egg" ]; then
        fault 3 "$egg: it is a symbolic link; make an archive for the directory that it leads to"
        return 1
    elif [ -d "$egg" ]; then
        [ -d "$new" ] || return 1 # done, by this or by somebody else
        if ! is_kept "$1" "$2"; then
            fault 3 "$egg: it is a directory already, which this did not make; leave it so: rm -r $(quoted "$new")"
        elif [ "$(sum_of_tree "$new")" != "$3" ]; then
            not_archived "$new"
        elif ! has_all_of "$egg" "$new"; then
            why="it is not what the archive has: somebody has changed it, or it was copied in part"
            why="$why; keep it: rm -r $(quoted "$new"); or else remove it: rm -r $(quoted "$egg")"
            fault 3 "$egg: $why, and run this again"
        elif [ -z "$dry" ]; then
            rm -rf "$new" # the archive was extracted again
        fi
        return 1
    elif [ -f "$egg" ]; then
        if [ "$(sum_of_file "$egg")" != "$2" ]; then
            fault 3 "$egg: it is not the zip that the archive was made of; make the archive of this one"
            return 1
        elif [ -e "$backup/$1" ] && ! is_kept "$1" "$2"; then
            fault 3 "$backup/$1: it is another zip of that name; name another directory: --backup DIR"
            return 1
        fi
    elif ! is_kept "$1" "$2"; then
        fault 3 "$egg: there is no such egg, and no zip of it in $backup; see whether it is still installed"
        return 1
    fi # else it was removed, and its directory is not there yet
    if [ ! -d "$new" ]; then
        fault 1 "$new: it is missing; extract the archive again"
        return 1
    elif [ "$(sum_of_tree "$new")" != "$3" ]; then
        not_archived "$new"
        return 1
    elif [ -z "$dry" ] && ! why=$(movable "$new" "$3" 2>&1); then
        fault 1 "$new: it cannot be renamed: $why; make room and run this again"
        return 1
    fi
}

# Whether the zip of an egg is to be put back. Says why where one is left as it is.
wanted_back() { # NAME SUM_OF_ZIP
    egg=$site/$1 new=$here/$1.unzipped
    if [ -h "$egg" ]; then
        return 1 # this did not make it
    elif [ -f "$egg" ]; then
        if [ ! -e "$backup/$1" ]; then
            :
        elif ! cmp -s "$egg" "$backup/$1"; then
            why='it is another zip than the one in the backup'
            fault 3 "$egg: $why; remove that where you want this: rm $(quoted "$backup/$1")"
        elif [ -z "$dry$chosen" ]; then
            rm -f "$backup/$1" # it is back
        fi
        return 1
    elif [ ! -d "$egg" ] && [ ! -d "$new" ] && [ ! -d "$new.part" ]; then
        return 1 # somebody has removed it
    elif ! is_kept "$1" "$2"; then
        [ -d "$egg" ] || [ -e "$backup/$1" ] || return 1
        fault 3 "$egg: its zip is not in $backup; name the directory that has it: --undo --backup DIR"
        return 1
    fi
}

# The lines about the eggs of all archives that were extracted here, one for each egg: that of the last archive, else
# that of the zip which is kept. The file "eggs" is the last one's list, and each has a copy by a name of its own.
listed() {
    {
        sed 's/^/0 /' "$here/eggs"
        for list in "$here"/*.list; do
            [ ! -f "$list" ] || sed 's/^/1 /' "$list"
        done
    } | sort -k4 | { # by name, then by age
        told=''
        while read -r age zip tree name; do
            if [ "$name" = "$told" ]; then
                if [ "$held" -eq 0 ] || ! is_kept "$name" "$zip"; then
                    continue
                fi
            elif [ -n "$told" ]; then
                printf '%s\n' "$line"
            fi
            told=$name held=$age line="$zip $tree $name"
        done
        [ -z "$told" ] || printf '%s\n' "$line"
    }
}

# Names the zips beside this script that no list has: nothing else tells that they are to go back.
unlisted() { # NAMES, each between two slashes
    for zip in "$backup"/*; do
        name=${zip##*/}
        case $1$name in
            *'*' | *.part | *"/$name/"*) ;;
            *) fault 3 "$zip: no list of an archive in $here has it; put it in the place of $site/$name yourself" ;;
        esac
    done
}

# ------------------------------------------------------------------------------------------------- the steps

# Makes a directory one that is renamed at once. overlayfs renames none that an image has: mv then copies it, and ends
# in the midst where the disk is full. So it does that here, where nobody imports it; the copy is no longer the image's.
movable() { # DIRECTORY SUM
    if mv -f "$1" "$1.part" && [ "$(sum_of_tree "$1.part")" = "$2" ]; then
        mv -f "$1.part" "$1"
    else # mv removes what it has copied last of all
        [ "$(sum_of_tree "$1.part")" = "$2" ] || rm -rf "$1.part"
        return 1
    fi
}

same() { # FROM TO: a file of the same bytes, which is there at once
    ln "$1" "$2" 2>/dev/null && return
    rm -f "$2.part" && cp -p "$1" "$2.part" && cmp "$1" "$2.part" && mv -f "$2.part" "$2"
}

keep() { # NAME
    [ ! -e "$site/$1" ] || [ -e "$backup/$1" ] || same "$site/$1" "$backup/$1"
}

# Gives a directory the owner, the group and the rights to read of its zip.
own() { # NAME DIRECTORY
    zip=$site/$1
    [ -e "$zip" ] || zip=$backup/$1
    rights "$zip" | {
        read -r mode uid gid
        case $mode in
            ????r*) may=g ;;
            *) may='' && chmod -R g= "$2" || exit 1 ;;
        esac
        case $mode in
            ???????r*) may='' ;;
            *) chmod -R o= "$2" || exit 1 ;;
        esac
        if [ "$me" -eq 0 ]; then
            chown -R "$uid:$gid" "$2"
        elif [ "$uid" -ne "$me" ]; then
            echo "its zip belongs to user $uid: only root can give it to that user"
            exit 1
        else # no matter where the group may read as much as everybody
            chgrp -R "$gid" "$2" 2>/dev/null || [ -z "$may" ] || chgrp -R "$gid" "$2"
        fi
    }
}

exchange() { # NAME: remove the zip, which is kept, and rename the directory
    trap '' HUP INT TERM
    if why=$({ rm -f "$site/$1" && mv -f "$here/$1.unzipped" "$site/$1"; } 2>&1); then
        printf '%s: unzipped\n' "$site/$1"
    else
        if [ -d "$site/$1" ] && [ -d "$here/$1.unzipped" ]; then
            rm -rf "${site:?}/$1" # copied in part
        fi
        [ -e "$site/$1" ] || same "$backup/$1" "$site/$1"
        fault 1 "$site/$1: it cannot be exchanged: $why; see to that and run this again"
    fi
    signals
}

restore() { # NAME: set the directory aside, and put the zip in its place
    egg=$site/$1 new=$here/$1.unzipped
    if ! why=$({ rm -f "$here/$1.zip" && same "$backup/$1" "$here/$1.zip"; } 2>&1); then
        fault 1 "$egg: its zip cannot be put back: $why; see to that and run this again"
        return
    fi
    [ ! -d "$egg" ] || rm -rf "$new"
    if [ -d "$egg" ] || [ -d "$new" ]; then
        rm -rf "$new.part"
    fi
    trap '' HUP INT TERM
    if why=$({ { [ ! -d "$egg" ] || mv -f "$egg" "$new"; } && mv -f "$here/$1.zip" "$egg"; } 2>&1); then
        [ -n "$chosen" ] || rm -f "$backup/$1"
        printf '%s: its zip is back\n' "$egg"
    else
        fault 1 "$egg: its zip cannot be put back: $why; see to that and run this again"
    fi
    signals
}

signals() {
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# ------------------------------------------------------------------------------------------------- the whole

# Who may exchange names in the directory is who could do this by hand. As root in somebody else's directory, this would
# follow that user's links.
me=$(id -u)
owner=$(owner_of "$site")
other=$(owner_of "$here")
if [ "$other" -ne "$owner" ]; then
    why="$here: it belongs to user $other, and the directory of the eggs to user $owner"
    why="$why; remove it as user $other (rm -r $(quoted "$here"))"
    die 4 "$why, then extract the archive and run this as user $owner"
elif [ "$owner" -ne "$me" ]; then
    die 4 "$site: it belongs to user $owner, and you are user $me; run this as user $owner"
fi
[ -w "$site" ] || die 4 "$site: it cannot be written to; mount its file system writable"
command -v md5sum >/dev/null || die 1 "md5sum: there is no such command on PATH; install GNU coreutils or busybox"
[ -r "$here/eggs" ] || die 1 "$here/eggs: it is missing; extract the archive again"

if [ -z "$dry" ]; then
    signals
    if ! (set -C && echo $$ >"$lock") 2>/dev/null; then
        other=$(cat "$lock" 2>/dev/null)
        case $other in
            '' | *[!0-9]* | "$$") ;; # in a container each run may have the same number
            *) ! kill -0 "$other" 2>/dev/null ||
                die 75 "$lock: process $other holds it; wait for it, or remove the file where that is another program"
                ;;
        esac
        echo $$ >"$lock" || die 1 "$lock: it cannot be written; see to that and run this again"
    fi
    trap 'rm -f "$lock"' EXIT
fi

if [ -e "$backup" ]; then
    case $(rights "$backup") in
        d????w* | d???????w*) die 4 "$backup: others may write there; make it mode 0700" ;;
        d*" $me "*) ;;
        *) die 4 "$backup: it is no directory of user $me; name another one with --backup" ;;
    esac
    [ "$(cd "$backup" && pwd -P)" != "$site" ] ||
        die 2 "--backup $chosen: that is where the eggs are; name another directory"
elif [ -n "$undo" ] && [ -n "$chosen" ]; then
    die 1 "--backup $chosen: there is no such directory; name the one that has the zips"
elif [ -z "$undo$dry" ]; then
    why=$(mkdir "$backup" 2>&1) || die 1 "$backup: it cannot be made: $why; see to that, or name another with --backup"
fi

set --
if [ -n "$undo" ]; then
    lines=$(listed) names=/
    while read -r zip tree name; do
        [ -n "$name" ] || continue # there is none at all
        names=$names$name/
        ! wanted_back "$name" "$zip" || set -- "$@" "$name"
    done <<END || die 1 "$here: its lists cannot be read; make room in ${TMPDIR:-/tmp} and run this again"
$lines
END
    [ -n "$chosen" ] || unlisted "$names"
else
    while read -r zip tree name; do
        ! wanted "$name" "$zip" "$tree" || set -- "$@" "$name"
    done <"$here/eggs"
fi

if [ -n "$dry" ]; then
    what='would be unzipped'
    [ -z "$undo" ] || what='its zip would be put back'
    for name; do
        printf '%s: %s\n' "$site/$name" "$what"
    done
    exit "$status"
fi

if [ -n "$undo" ]; then
    for name; do
        restore "$name"
    done
    [ -n "$chosen" ] || rmdir "$backup" 2>/dev/null
else
    count=$#
    while [ "$count" -gt 0 ]; do # each in turn, from the front to the end; without those that fail
        count=$((count - 1)) name=$1
        shift
        if ! why=$(own "$name" "$here/$name.unzipped" 2>&1); then
            fault 4 "$here/$name.unzipped: it cannot be made like its zip: $why; run this as root"
        elif ! why=$(keep "$name" 2>&1); then
            fault 1 "$site/$name: its zip cannot be kept in $backup: $why; make room, or name another with --backup"
        else
            set -- "$@" "$name"
        fi
    done
    [ $# -eq 0 ] || sync # a directory that is in its place has its files on the disk
    for name; do
        exchange "$name"
    done
fi
if [ $# -eq 0 ] && [ "$status" -eq 0 ]; then
    echo "nothing to do"
elif [ $# -gt 0 ]; then
    echo "restart every server that uses these eggs"
    [ -n "$undo" ] || printf 'the way back: %s\n' "$(way_back)"
fi
exit "$status"
