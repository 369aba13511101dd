"""What an old kernel lacks, for a process and its children."""

from __future__ import annotations

import ctypes
import struct

UNAME = ["setarch", "--uname-2.6"]  # in front of a command: it is told that the kernel is a 2.6
_FIRST = 299  # recvmmsg of x86_64: came with 2.6.33
_ENOSYS = 38


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def old_kernel() -> None:
    """From here on the calls that Linux has had only since 2.6.33 are unknown, as on RHEL 6: seccomp(2). As root."""
    allow, refuse = 0x7FFF_0000, 0x0005_0000 | _ENOSYS  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
    lines = [(0x20, 0, 0, 0), (0x35, 0, 1, _FIRST), (0x06, 0, 0, refuse), (0x06, 0, 0, allow)]
    code = b"".join(struct.pack("HBBI", *line) for line in lines)
    if ctypes.CDLL(None).prctl(22, 2, ctypes.byref(_Filter(len(lines), code)), 0, 0):  # PR_SET_SECCOMP, with a filter
        raise OSError("no seccomp here")
