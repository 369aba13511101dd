# The power is cut while prepare and unzip-all work, again and again: each cache and egg is whole, the old one or the new one.
# boots: cut job cuts job

site=/data/site cache=/data/cache unzip=/data/unzip name=page-1.0-py3.11.egg

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
    prepared && echo "done: prepare $boot"
    unzipped && echo "done: unzip-all $boot"
    sleep 60
}

boot_4() {
    verify
}

prepared() {
    eggcache prepare $cache --python /usr/bin/python3 --path $site
}

unzipped() {
    eggcache unzip-all --python /usr/bin/python3 --path $unzip --path $unzip/$name
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
    whole $cache/$name-tmp
    whole $unzip/$name
    ls -A $cache $unzip
    judge "prepare works" prepared
    judge "Apache's account gets every file" asked www-data $site $cache
    judge "check agrees" eggcache check --python /usr/bin/python3 --path $site --cache $cache
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
