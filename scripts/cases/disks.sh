# A cache and an egg on xfs and btrfs; and vfat, which keeps no modes, is refused.
# boots: job job

boot_1() {
    modprobe -a xfs btrfs
    mkfs.xfs -q -f /dev/vdc && mount /dev/vdc /data
    fit xfs
    umount /data
    mkfs.btrfs -q -f /dev/vdc && mount /dev/vdc /data
    fit btrfs
    umount /data
}

boot_2() {
    modprobe -a vfat nls_cp437 nls_ascii nls_utf8
    wipefs -q -a /dev/vdc
    mkfs.vfat /dev/vdc >/dev/null
    mkdir -p /srv/site
    egg /srv/site/$name 0
    for options in umask=022 umask=077 umask=077,fmask=177 uid=0,gid=33,umask=027; do
        mount -t vfat -o $options /dev/vdc /data
        unfit "vfat, $options" "keeps no modes, as vfat"
        umount /data
    done
}
