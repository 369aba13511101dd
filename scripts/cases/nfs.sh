# A cache and an egg on NFS without root_squash; with it, root is refused, and another account is not.
# boots: job job

boot_1() {
    exported no_root_squash
    fit NFS --allow-gap
    unexported
}

boot_2() {
    mkdir -p /srv/site
    egg /srv/site/$name 0
    exported root_squash
    unfit "NFS with root_squash" "cannot be made or filled"
    chmod 1777 /srv/export
    unfit "NFS with root_squash, where all may write" "as NFS does with root_squash" $cache  # /data may not be one: all may write there
    chmod 755 /srv/export
    chown daemon:daemon /srv/export
    as="setpriv --reuid=daemon --regid=daemon --clear-groups"
    fit "NFS with root_squash, as its owner" --allow-gap
    unexported
}

# The kernel's own server and client, on the loopback.
exported() {
    mke2fs -q -t ext4 /dev/vdc
    mkdir -p /srv/export
    mount /dev/vdc /srv/export
    rmdir /srv/export/lost+found
    modprobe -a nfsd nfsv4
    mount -t nfsd nfsd /proc/fs/nfsd
    echo 10 >/proc/fs/nfsd/nfsv4leasetime
    echo 10 >/proc/fs/nfsd/nfsv4gracetime
    echo "/srv/export localhost(rw,sync,no_subtree_check,fsid=0,$1)" >/etc/exports
    exportfs -ra
    rpc.mountd -N 3 --no-udp
    rpc.nfsd -N 3 2
    judge "the server is there ($1)" mount -t nfs4 localhost:/ /data
}

# The client first: it waits for a server that is gone.
unexported() {
    umount /data
    rpc.nfsd 0
    exportfs -ua
    kill "$(pidof rpc.mountd)"
    umount /proc/fs/nfsd
}
