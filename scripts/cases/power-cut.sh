# The power is cut while prepare and unzip-all work, again and again: each cache and egg is whole, the old one or the new one.
# boots: cut job cuts job

# That a power cut of these machines loses what was written and not flushed: past the end of the file system. (After a block
# that is not whole, dd would flush by itself.)
boot_1() {
    yes flushed | head -c 65536 | dd of=/dev/vdc bs=64k iflag=fullblock seek=8000 oflag=direct conv=fsync,notrunc 2>/dev/null
    yes waiting | head -c 65536 | dd of=/dev/vdc bs=64k iflag=fullblock seek=8010 oflag=direct conv=notrunc 2>/dev/null
    echo "begin 0"
    sleep 60
}

boot_2() {
    judge "what was flushed is on the disk" says 0 flushed dd if=/dev/vdc bs=64k skip=8000 count=1 status=none
    judge "what was not is lost" sh -c '! dd if=/dev/vdc bs=64k skip=8010 count=1 status=none | grep -q waiting'
    mke2fs -q -t ext4 /dev/vdc 400M
    mount /dev/vdc /data
    mkdir -p $site $unzip
    egg $site/$name 0
    egg $unzip/$name 0
    judge "prepared" prepared
    egg $site/$name 1
    read -r before rest </proc/uptime
    judge "prepared for the next egg" prepared
    judge "unzipped" unzipped
    read -r after rest </proc/uptime
    echo "seconds: $before to $after"
    echo "$before $after" | awk '{ print $2 - $1 + 1 }' >/data/seconds
    umount /data
}

boot_3() {
    verify
    mkdir -p /tmp/old
    mv $unzip/$name /tmp/old  # unzipped or not
    egg $unzip/$name "$boot"
    egg $site/$name "$boot"
    echo "begin $(cat /data/seconds)"
    # Each of them first in every other boot: a busy host is slower than it was when the seconds were measured.
    set -- prepare unzip-all
    [ $((boot % 2)) = 0 ] || set -- unzip-all prepare
    for command in "$@"; do
        case $command in prepare) prepared ;; *) unzipped ;; esac && echo "done: $command $boot"
    done
    sleep 60
}

boot_4() {
    verify
}

# What the last power cut left is whole. What a command had ended with is there; and prepare makes it so where it had not.
verify() {
    judge "the kernel mounts the disk" mount /dev/vdc /data
    umount /data
    judge "and fsck finds nothing" e2fsck -fn /dev/vdc
    mount /dev/vdc /data
    judge "the cache is whole" whole $cache/$name-tmp
    judge "the egg is whole" whole $unzip/$name
    case $last in *"done: prepare "*)
        word=${last##*done: prepare } word=${word%%[!0-9]*}
        judge "prepare had ended, and its cache is there" says 0 "files: $word." whole $cache/$name-tmp
    esac
    case $last in *"done: unzip-all "*) judge "unzip-all had ended, and its egg is there" test -d $unzip/$name ;; esac
    case $last in *"begin "*) counted ;; esac
    ls -A $cache $unzip
    judge "prepare works" prepared
    judge "Apache's account gets every file" asked www-data $site $cache
    judge "check agrees" eggcache check --python /usr/bin/python3 --path $site --cache $cache
}

# What the cut found: a line that the runner counts.
counted() {
    case $last in
        *"done: prepare "*"done: unzip-all "* | *"done: unzip-all "*"done: prepare "*) ended="both had ended" ;;
        *"done: prepare "*) ended="prepare had ended" ;;
        *"done: unzip-all "*) ended="unzip-all had ended" ;;
        *) ended="neither had ended" ;;
    esac
    case $(whole $cache/$name-tmp) in *": $((boot - 1)).") word=new ;; *) word=old ;; esac
    if [ -d $unzip/$name ]; then kind=unzipped; else kind=zipped; fi
    left=
    for place in $cache $unzip; do
        for entry in $place/.eggcache-*; do [ ! -e "$entry" ] || left="$left, ${place##*/} with a stage"; done
    done
    echo "count: $ended: the cache $word, the egg $kind$left"
}

# That $1, an unzipped egg or a zipped one, has all its files, with one and the same word.
whole() {
    python3 - "$1" <<'END'
import os, sys, zipfile

path = sys.argv[1]
if os.path.isdir(path):
    files = os.path.join(path, "page", "files")
    texts = {name: open(os.path.join(files, name)).read() for name in os.listdir(files)}
else:
    with zipfile.ZipFile(path) as egg:
        assert egg.testzip() is None
        names = [name for name in egg.namelist() if "/files/" in name]
        texts = {os.path.basename(name): egg.read(name).decode() for name in names}
assert len(texts) == 60, sorted(texts)
words = set()
for name, text in texts.items():
    lines = text.split("\n")
    assert lines.pop() == "" and len(lines) == 1 + int(name[:2]) * 100, (name, len(lines))
    words.update(lines)
assert len(words) == 1, words
print("%s of %d files: %s." % ("directory" if os.path.isdir(path) else "zip", len(texts), words.pop()))
END
}
