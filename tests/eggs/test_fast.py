"""The extra "fast": zlib-ng reads what zlib reads, and refuses what zlib refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support import ROOT

# In a process of its own: the tests' own reader inflates with the standard library
COMPARE = r"""
import json, os, random, sys, zlib
from zlib_ng import zlib_ng
from eggcache.eggs import decompression
from eggcache.eggs import reader as eggs

assert decompression.decompressobj is zlib_ng.decompressobj
streams, served = [], 0
for path in sys.argv[2:]:
    descriptor = os.open(path, os.O_RDONLY)
    egg = eggs.read(descriptor, path)
    for member in egg.members:
        packed = os.pread(descriptor, member.packed, egg.starts[member.offset])
        plain = zlib.decompress(packed, -15) if member.method else packed
        assert b"".join(eggs.chunks(descriptor, egg, member)) == plain, member
        served += 1
        if member.method and len(packed) < 3000:
            streams.append((packed, member.size))
    os.close(descriptor)

def inflated(module, packed, most):
    inflater = module.decompressobj(-15)
    found, more = b"", b""
    try:
        while (packed or len(more) == most) and not inflater.eof:
            more = inflater.decompress(packed, most)
            packed = inflater.unconsumed_tail
            found += more
            if not more and not packed:
                break
    except module.error:
        return "refused"
    return found, inflater.eof, len(inflater.unused_data)

chance = random.Random(11)
differ = accepted = 0
for _ in range(int(sys.argv[1])):
    packed, size = chance.choice(streams)
    data = bytearray(packed)
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(min(len(data), chance.choice((3, 20, 80, 3000))))
        kind = chance.random()
        if kind < 0.6:
            data[at] ^= 1 << chance.randrange(8)
        elif kind < 0.8:
            data[at:at] = bytes([chance.randrange(256)])
        else:
            del data[at + 1 : at + chance.randrange(2, 5)]
    most = chance.choice((size + 1, 64, size // 2 + 1))
    first, second = inflated(zlib, bytes(data), most), inflated(zlib_ng, bytes(data), most)
    differ += first != second
    accepted += first != "refused"
print(json.dumps([served, differ, accepted]))
"""


def test_as_strict_as_zlib(uploaded: dict[str, Path]) -> None:
    """Of every uploaded egg it reads the same bytes, and of 60,000 damaged streams it takes the same ones, in whatever
    pieces. EGGCACHE_FAST_STREAMS asks for more."""
    count = int(os.environ.get("EGGCACHE_FAST_STREAMS", "60000"))
    command = [sys.executable, "-c", COMPARE, str(count), *map(str, uploaded.values())]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    served, differ, accepted = json.loads(result.stdout)
    assert differ == 0
    assert served > 5000
    assert count / 10 < accepted < count * 9 / 10
