"""Eggs that are large."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path


def big_egg(path: Path, size: int) -> Path:
    """An egg with a stored member of `size` bytes, and one as large that deflates to a fiftieth."""
    block = os.urandom(20_000) + bytes(1 << 20)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: Big\nVersion: 1.0\n")
        for name, method in (("stored.bin", zipfile.ZIP_STORED), ("deflated.bin", zipfile.ZIP_DEFLATED)):
            info = zipfile.ZipInfo(name, (2009, 6, 15, 12, 0, 0))
            info.compress_type = method
            with archive.open(info, "w") as member:
                for _ in range(size // len(block)):
                    member.write(block)
    path.chmod(0o644)
    return path
