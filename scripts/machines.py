"""A Debian of its own under qemu: its image, which is built once, and its boots, each with one job.

A boot gets a script and a program on a second disk, as a tar archive, and answers on the second serial line. No kernel
module of this host and no network is used: qemu emulates the processor. The image was built as root only.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "udev", "kmod", "procps", "iproute2", "netbase"),
    *("curl", "python3", "python3-pkg-resources", "apache2", "libapache2-mod-wsgi-py3", "e2fsprogs", "dosfstools"),
    *(
        "xfsprogs",
        "btrfs-progs",
        "nfs-kernel-server",
        "nfs-common",
        "selinux-policy-default",
        "policycoreutils",
        "policycoreutils-python-utils",
    ),
)
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
}
BOOT_SECONDS = 900  # the longest boot with its job; under emulation on a busy host, a minute is common
ENDED = re.compile(r"^ended (\d+)$", re.M)

# Process 1 of a machine without systemd, and a service of a machine with it.
JOB = """\
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/
if [ $$ = 1 ]; then
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t tmpfs run /run
    mount -t tmpfs tmp /tmp -o mode=1777
    ip link set lo up
fi
mkdir -p /run/job
tar -C /run/job -xf /dev/vdb
install -m 755 /run/job/eggcache /usr/local/sbin/eggcache
cd /run/job
sh job.sh >/dev/ttyS1 2>&1 </dev/null
echo "ended $?" >/dev/ttyS1
sync
[ $$ = 1 ] || exec systemctl poweroff
echo o >/proc/sysrq-trigger
sleep 600
"""
SERVICE = """\
[Unit]
Description=the job of this boot
After=apache2.service

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/job

[Install]
WantedBy=multi-user.target
"""
SETUP = (
    'set -e; mkdir -p "$1/etc/initramfs-tools/conf.d"; '
    'echo MODULES=list >"$1/etc/initramfs-tools/conf.d/machine"; '
    'printf "virtio_pci\\nvirtio_blk\\next4\\n" >"$1/etc/initramfs-tools/modules"'
)
FINISH = (
    'set -e; install -m 755 job "$1/usr/local/sbin/job"; install -m 644 job.service "$1/etc/systemd/system/"; '
    'chroot "$1" systemctl enable job.service; chroot "$1" systemctl mask getty.target; '
    'echo machine >"$1/etc/hostname"; echo "127.0.0.1 localhost machine" >"$1/etc/hosts"; '
    'echo "/dev/vda / ext4 defaults 0 0" >"$1/etc/fstab"; mkdir -p "$1/data"; '
    'cp "$1"/boot/vmlinuz-* vmlinuz; cp "$1"/boot/initrd.img-* initrd; '
    'mkdir -p root; mount --bind "$1" root; '  # without its /proc
    "mke2fs -q -t ext4 -d root disk.new 3G; umount root"
)
RECIPE = "\n".join((SUITE, *PACKAGES, SETUP, FINISH, JOB, SERVICE))


class MachineError(Exception):
    """What keeps a machine from being built or booted, with its remedy."""


@dataclass(frozen=True)
class Image:
    """A disk with Debian, and the kernel and first file system that boot it: in `directory`."""

    directory: Path

    @property
    def disk(self) -> Path:
        return self.directory / "disk"

    def build(self) -> None:
        """Build the disk, with packages that apt verifies, unless it was built by the same RECIPE. It takes some
        minutes and 3 GB.

        :raises MachineError: a program is missing, or one fails
        """
        lacking = sorted(NEEDED[program] for program in NEEDED if not shutil.which(program, path=_path()))
        if lacking:
            raise MachineError(f"{', '.join(lacking)}: missing: apt-get install {' '.join(lacking)}")
        recipe = self.directory / "recipe"
        if self.disk.exists() and _read(recipe) == RECIPE:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        recipe.unlink(missing_ok=True)  # a build that fails has changed the kernel, perhaps
        for name, text in (("job", JOB), ("job.service", SERVICE)):
            (self.directory / name).write_text(text)
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=null", f"--include={','.join(PACKAGES)}"]
        command += [f"--essential-hook={SETUP}", f"--customize-hook={FINISH}", SUITE]
        (self.directory / "disk.new").unlink(missing_ok=True)
        with open(self.directory / "build.log", "wb") as log:
            result = subprocess.run(
                command, cwd=self.directory, env={**os.environ, "PATH": _path()}, stdout=log, stderr=log
            )
        if result.returncode:
            raise MachineError(f"{log.name}: mmdebstrap failed: see there")
        os.rename(self.directory / "disk.new", self.disk)
        recipe.write_text(RECIPE)


def _path() -> str:
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


@dataclass(frozen=True)
class Machine:
    """One machine with disks of its own in `directory`, which is made anew: nothing that it writes reaches the image.

    :param program: the eggcache that its jobs run, a single file
    """

    image: Image
    directory: Path
    program: Path

    def __post_init__(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        _qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.image.disk.resolve(), self.directory / "root")
        _qemu_img("create", "-q", "-f", "raw", self.directory / "data", "512M")

    def boot(
        self, script: str, *, systemd: bool = False, kernel: str = "", cut: Callable[[str], bool] | None = None
    ) -> str:
        """Boot, run the shell text `script`, and return what it says, when the machine has switched itself off.

        :param systemd: systemd is process 1, and the root disk is kept for the next boot; else the script runs alone,
            and what it writes to the root disk is lost
        :param cut: is asked with what the script has said so far, again and again; True cuts the power. All that the
            guest had in memory is lost then, and so is what the data disk was given and not told to flush: that disk
            is a layer in qcow2, and qemu keeps in its own memory, until a flush, where in the layer new clusters lie.
            (A raw disk would lose nothing that it was given: it lies in this host's page cache.)
        :raises MachineError: the machine does not end in BOOT_SECONDS, or ends before its script does
        """
        here, image = self.directory, self.image.directory.resolve()
        _archive(here / "job.tar", script, self.program)
        _qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "data", here / "layer")
        said = here / "said"
        said.unlink(missing_ok=True)
        init = "" if systemd else " init=/usr/local/sbin/job"
        command = [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "1024"),
            *("-machine", "pc", "-accel", "tcg,thread=multi", "-smp", "2"),
            *("-serial", "file:console", "-serial", "file:said"),
            *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd")),
            # On a busy host the timer of an emulated machine comes too late for the kernel's check of it, a panic.
            *("-append", f"root=/dev/vda rw console=ttyS0 quiet panic=-1 no_timer_check net.ifnames=0 {kernel}{init}"),
            *("-drive", f"file=root,format=qcow2,if=virtio,cache=writeback,snapshot={'off' if systemd else 'on'}"),
            *("-drive", "file=job.tar,format=raw,if=virtio,readonly=on"),
            *("-drive", "file=layer,format=qcow2,if=virtio,cache=writeback"),
        ]
        process = subprocess.Popen(command, cwd=here, stdin=subprocess.DEVNULL)
        end = time.monotonic() + BOOT_SECONDS
        try:
            while process.poll() is None:
                if cut and cut(_read(said)):
                    break
                if time.monotonic() > end:
                    raise MachineError(f"{here}/console: no end after {BOOT_SECONDS} seconds; it said: {_read(said)}")
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
        text = _read(said)
        if process.returncode != -signal.SIGKILL:
            if not ENDED.search(text):
                raise MachineError(f"{here}/console: it ended before its script did, and said: {text}")
            if cut:
                text += "the power was not cut: the script had ended\n"
        _qemu_img("commit", "-q", here / "layer")
        return text


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").replace("\r", "")
    except FileNotFoundError:
        return ""


def _archive(path: Path, script: str, program: Path) -> None:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("job.sh")
        info.size = len(script.encode())
        archive.addfile(info, io.BytesIO(script.encode()))
        archive.add(program, "eggcache")


def _qemu_img(*arguments: str | Path) -> None:
    result = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise MachineError(f"qemu-img {arguments[0]}: {result.stderr.strip()}")
