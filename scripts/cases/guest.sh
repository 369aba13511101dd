# What each case has in its machine, before its own functions are called: the runner calls boot_1 in the first boot, and so on.
# A case says by `# boots:` what starts in each of its boots: `job`, this alone; `systemd`, all of it; `cut`, this alone, and the
# power is cut in the seconds after it says `begin SECONDS`; `cuts`, the same as often as is asked for. $boot is the boot's number,
# $last what the boot before it had said. How often a line of `count: KIND` was said is printed at the end.
# Its data lie on a disk of their own, /dev/vdc, and what is written elsewhere in a machine without systemd is in memory.
set -u
mkdir -p /run/lock # systemd makes it, and apache2ctl needs it

# One line for each thing that is so, or is not; a case with a line of `not ok` has failed.
judge() {
    text=$1
    shift
    if output=$("$@" 2>&1); then
        echo "ok: $text"
    else
        echo "not ok: $text (status $?)"
        printf '%s\n' "$output" | sed 's/^/    /'
    fi
}

# That a command ends with this status and says this.
says() {
    status=$1 words=$2
    shift 2
    output=$("$@" 2>&1)
    got=$?
    printf '%s\n' "$output"
    case $output in *"$words"*) ;; *) return 99 ;; esac
    [ "$got" = "$status" ]
}

# A zipped egg at $1 whose files all say $2; it replaces another in one step.
egg() {
    $as python3 - "$1" "$2" <<'END'
import os, sys, zipfile

path, word = sys.argv[1:]
with zipfile.ZipFile(path + "~", "w", zipfile.ZIP_DEFLATED) as egg:
    egg.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: page\nVersion: 1.0\n")
    egg.writestr("EGG-INFO/top_level.txt", "page\n")
    egg.writestr("EGG-INFO/zip-safe", "\n")
    egg.writestr("page/__init__.py", "WORD = %r\n" % word)
    for number in range(60):
        egg.writestr("page/files/%02d.txt" % number, (word + "\n") * (1 + number * 100))
with open(path + "~", "r+b") as stream:
    os.fsync(stream.fileno())
os.rename(path + "~", path)
END
    sync
}

# That the account $1 gets every file of the egg in directory $2 from pkg_resources with cache $3, all with one word: it is
# printed. Nothing may be written, so an account that may write there sees no more than one that may not.
asked() {
    setpriv --reuid="$1" --regid="$1" --clear-groups env PYTHONPATH="$2/page-1.0-py3.11.egg" PYTHON_EGG_CACHE="$3" python3 - <<'END'
import pkg_resources

names = pkg_resources.resource_listdir("page", "files")
assert len(names) == 60, names
words = set()
for name in names:
    with open(pkg_resources.resource_filename("page", "files/" + name)) as stream:
        lines = stream.read().split("\n")
    assert lines.pop() == "" and len(lines) == 1 + int(name[:2]) * 100, name
    words.update(lines)
assert len(words) == 1, words
print(words.pop())
END
}

# The page /page of Debian's apache2, from a file in directory $1: the word of the egg at $2.
wsgi_page() {
    cat >"$1/page.wsgi" <<END
import sys
sys.path.insert(0, "$2")
import pkg_resources

def application(environ, start_response):
    with open(pkg_resources.resource_filename("page", "files/01.txt"), "rb") as stream:
        word = stream.readline()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [word]
END
    cat >/etc/apache2/conf-enabled/page.conf <<END
ServerName localhost
WSGIScriptAlias /page $1/page.wsgi
<Directory $1>
    Require all granted
</Directory>
END
}

# The site, cache and egg of the cases that try a disk at /data.
site=/data/site cache=/data/cache unzip=/data/unzip name=page-1.0-py3.11.egg

# What runs commands as another account; nothing for root.
as=

prepared() {
    $as eggcache prepare $cache --python /usr/bin/python3 --path $site "$@"
}

unzipped() {
    $as eggcache unzip-all --python /usr/bin/python3 --path $unzip --path $unzip/$name "$@"
}

checked() {
    setpriv --reuid=www-data --regid=www-data --clear-groups \
        eggcache check --python /usr/bin/python3 --path $site --cache $cache
}

# That all of it works on the disk at /data. $1: what it is; the others: options of prepare and unzip-all.
fit() {
    disk=$1
    shift
    $as mkdir -p $site $unzip
    egg $site/$name old
    egg $unzip/$name old
    judge "$disk: prepare" prepared "$@"
    judge "$disk: Apache's account gets every file" says 0 old asked www-data $site $cache
    judge "$disk: check agrees, as Apache's account" checked
    egg $site/$name new
    exec 9<$cache/$name-tmp/page/files/01.txt
    [ $# = 0 ] || judge "$disk: prepare names --allow-gap" says 1 --allow-gap prepared
    judge "$disk: prepare for a new egg, while a process has a file of the old one open" prepared "$@"
    exec 9<&-
    judge "$disk: Apache's account gets the new egg" says 0 new asked www-data $site $cache
    judge "$disk: check agrees again" checked
    judge "$disk: prepare has nothing to do" says 0 "" prepared -q "$@"
    exec 9<$unzip/$name
    judge "$disk: unzip-all, while a process has the zip open" unzipped "$@"
    exec 9<&-
    judge "$disk: the egg is a directory" test -d $unzip/$name/page
    judge "$disk: and is imported" says 0 old env PYTHONPATH=$unzip/$name python3 -c 'import page; print(page.WORD)'
    exec 9<$cache/$name-tmp/page/files/01.txt
    judge "$disk: remove, while a process has a file of it open" $as eggcache remove $cache
    exec 9<&-
    judge "$disk: the cache is gone" test ! -e $cache
    ls -A /data
    judge "$disk: prepare again" prepared "$@"
    judge "$disk: unzip-all removes what was left" unzipped "$@"
    judge "$disk: remove" $as eggcache remove $cache
    ls -A /data
    judge "$disk: nothing is left" says 0 "$(printf 'site\nunzip')" ls /data
    judge "$disk: not even hidden" says 0 "" find /data -maxdepth 2 '(' -name '.*' -o -name 'cache*' ')' -print -exec false {} +
}

# That prepare refuses the disk at /data in one line with the words $2, leaves nothing there, and that its remedy works. $3: the
# caches that are tried, one new and the disk itself.
unfit() {
    disk=$1 words=$2 places=${3:-$cache /data}
    before=$(ls -A /data)
    for place in $places; do
        message=$(eggcache -q prepare "$place" --python /usr/bin/python3 --path /srv/site 2>&1)
        status=$?
        printf '%s\n' "$message"
        judge "$disk: refused" test $status = 4
        judge "$disk: with its cause" expr "$message" : ".*\($words\)"
        judge "$disk: and a remedy" expr "$message" : '.*\(have the egg cache on another disk, such as in /var/cache/eggcache\)$'
        judge "$disk: in one line" test "$(printf '%s\n' "$message" | wc -l)" = 1
        judge "$disk: nothing is left there" test "$(ls -A /data)" = "$before"
    done
    judge "$disk: the remedy works" eggcache prepare /var/cache/eggcache --python /usr/bin/python3 --path /srv/site
    judge "$disk: Apache's account gets every file" says 0 0 asked www-data /srv/site /var/cache/eggcache
    if mkdir $unzip 2>/dev/null; then
        egg $unzip/$name old
        judge "$disk: unzip-all is refused" says 4 "" unzipped
        judge "$disk: the zip stays, and nothing beside it" says 0 "$name" ls -A $unzip
        ls -lA $unzip
        rm -rf $unzip
    fi
}
