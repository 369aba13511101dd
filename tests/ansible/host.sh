#!/bin/sh
# The first process of a host of the tests: mounts of its own for everything that a host has of its own, and sshd.
# The layers lie in a tmpfs that only this host sees, and all of it ends with this process.
set -eu
mount -t tmpfs -o mode=755 none /mnt
# What is mounted below /etc, as tests' own Apache is (stock.py), is in no overlay of it: the host has a copy.
mounted=$(awk '$5 ~ "^/etc/" { print $5 }' /proc/self/mountinfo)
for place in $mounted; do
    mkdir -p "/mnt/mounted${place%/*}"
    cp -a "$place" "/mnt/mounted$place"
done
for directory in etc var opt srv root usr/local; do
    layer=/mnt/$(echo "$directory" | tr / -)
    mkdir -p "$layer/upper" "$layer/work"
    mount -t overlay overlay -o "lowerdir=/$directory,upperdir=$layer/upper,workdir=$layer/work" "/$directory"
done
for place in $mounted; do mount --bind "/mnt/mounted$place" "$place"; done
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs -o mode=1777 none /tmp
mkdir -p /run/sshd /run/lock
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow # sshd takes "!" for locked, keys or not
echo up >"/run/mounted"
until [ -e /etc/ssh/sshd_eggcache ]; do sleep 0.02; done
/usr/sbin/sshd -D -e -f /etc/ssh/sshd_eggcache &
while :; do wait || :; sleep 1; done # it is init here: it has orphans to bury
