"""The least that extracts eggs into a cache, as a plain Python program would: what eggcache's checks cost is the rest.

`prototype.py INTO EGG...`: no check of the zip, of any name or CRC, no lock, no stage, no sync, no receipt.
"""

from __future__ import annotations

import os
import struct
import sys
import time
import zipfile
import zlib


def extract(egg: str, into: str) -> None:
    """Write the members of `egg` below `into`."""
    os.mkdir(into, 0o755)
    top = os.open(into, os.O_RDONLY)
    source = os.open(egg, os.O_RDONLY)
    made = set()
    uid, gid = os.geteuid(), os.getegid()
    with zipfile.ZipFile(egg) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
    for member in members:
        parts = member.filename.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            directory = "/".join(parts[:count])
            if directory not in made:
                made.add(directory)
                os.mkdir(directory, 0o755, dir_fd=top)
        head = os.pread(source, 30, member.header_offset)
        start = member.header_offset + 30 + sum(struct.unpack("<2H", head[26:]))
        data = os.pread(source, member.compress_size, start)
        if member.compress_type:
            data = zlib.decompress(data, -15)
        file = os.open(member.filename, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=top)
        os.write(file, data)
        os.fchown(file, uid, gid)
        moment = time.mktime((*member.date_time, 0, 0, -1))
        os.utime(file, (moment, moment))
        os.close(file)
    os.close(source)
    os.close(top)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        extract(name, os.path.join(sys.argv[1], os.path.basename(name) + "-tmp"))
