"""Wheels, installed and verified by others' tools."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
import subprocess
import zipfile
from pathlib import Path

from packaging.metadata import Metadata
from packaging.utils import canonicalize_name, parse_wheel_filename

from support import deployment
from support.deployment import Deployment


def verify(wheel: Path) -> Metadata:
    """Check a wheel without anything of ours: name, RECORD against members, metadata by the strictest reader."""
    project, version, _, tags = parse_wheel_filename(wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert len(set(names)) == len(names)
        (record,) = (name for name in names if name.endswith(".dist-info/RECORD"))
        assert names[-1] == record
        info = record.rpartition("/")[0]
        assert info == "-".join(wheel.name.split("-")[:2]) + ".dist-info"
        rows = {row[0]: row[1:] for row in csv.reader(archive.read(record).decode().splitlines())}
        assert rows.keys() == set(names)
        for name in names:
            data = archive.read(name)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert rows[name] == (["", ""] if name == record else [f"sha256={digest}", str(len(data))])
            assert archive.getinfo(name).external_attr >> 16 in (0o100644, 0o100755)
            assert not name.endswith(".pyc") or name[:-1] not in names
        declared = archive.read(f"{info}/WHEEL").decode()
        assert {f"{tag}" for tag in tags} == set(re.findall(r"^Tag: (.+)$", declared, re.MULTILINE))
        metadata = Metadata.from_email(archive.read(f"{info}/METADATA"))
    assert (metadata.version, canonicalize_name(metadata.name)) == (version, project)
    return metadata


def pip(into: Deployment, *words: str | Path) -> subprocess.CompletedProcess[str]:
    result = deployment.run(
        [into.python, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", *words], check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def other_setuptools(release: str) -> Path:
    """A release of setuptools, unpacked beside everything else."""
    (pin,) = (
        download
        for download in deployment.downloads(use="target")
        if download.filename.startswith(f"setuptools-{release}-")
    )
    into = Path(os.environ["EGGCACHE_TESTS"], f"setuptools-{release}")
    with deployment.once(into) as wanted:
        if wanted:
            with zipfile.ZipFile(deployment.fetch_all([pin])[0]) as archive:
                archive.extractall(into)
            (into / "distutils-precedence.pth").unlink(missing_ok=True)
    return into
