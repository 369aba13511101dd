"""Images that Debian's buildah builds, without a daemon and without a registry: each begins with nothing, and has the
programs of this machine mounted into it while something runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.parts import missing

PROGRAMS = "/usr/local/sbin"  # of an image: what comes first on its PATH
_ACCOUNTS = {
    "passwd": "root:x:0:0::/root:/bin/sh\napache:x:48:48::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
    "group": "root:x:0:\napache:x:48:\nnogroup:x:65534:\n",
}


@dataclass(frozen=True)
class Builder:
    """A buildah with a storage of its own. What `programs` has by name is a script in each image."""

    context: Path
    storage: Path
    mounted: Sequence[Path]  # what of this machine is seen at its place, beside the system's programs
    programs: Mapping[str, str]

    def __post_init__(self) -> None:
        scripts = self.storage / "programs"
        scripts.mkdir(parents=True)
        for name, text in self.programs.items():
            (scripts / name).write_text(f"#!/bin/sh\n{text}\n")
            (scripts / name).chmod(0o755)
        (self.storage / "nothing").mkdir()
        (self.context / "etc").mkdir(parents=True)
        for name, text in _ACCOUNTS.items():
            (self.context / "etc" / name).write_text(text)

    def build(
        self, image: str, text: str, *options: str, env: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        """Build the image that the text of a Dockerfile describes."""
        (self.context / "Dockerfile").write_text(text)
        return self._buildah("build", [*options, *self._volumes, "-t", image, str(self.context)], env)

    def run(self, image: str, *command: str | Path, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a command in a new container of an image, as root or somebody else."""
        container = self._buildah("from", [*self._volumes, image])
        assert container.returncode == 0, container.stderr
        options = ["--isolation", "chroot", "--user", user]
        return self._buildah("run", [*options, container.stdout.strip(), "--", *map(str, command)])

    def root(self, image: str) -> Path:
        """The root directory of a new container of an image."""
        container = self._buildah("from", [image])
        assert container.returncode == 0, container.stderr
        return Path(self._buildah("mount", [container.stdout.strip()]).stdout.strip())

    @property
    def _volumes(self) -> list[str]:
        system = [path for path in ("/bin", "/lib", "/lib64", "/usr") if os.path.isdir(path)]
        places = {path: path for path in (*system, *map(str, self.mounted))}
        places[str(self.storage / "programs")] = PROGRAMS
        places[str(self.storage / "nothing")] = "/usr/sbin"  # this machine's Apache is none of the image's
        return [word for path, inside in places.items() for word in ("-v", f"{path}:{inside}:ro")]

    def _buildah(
        self, command: str, words: Sequence[str], env: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        isolation = ["--isolation", "chroot"] if command in ("build", "from") else []
        place = ["--root", self.storage / "root", "--runroot", self.storage / "run", "--storage-driver", "vfs"]
        return subprocess.run(
            ["buildah", *place, command, *isolation, *words],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C", **env}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip


def require() -> None:
    """buildah, and root, who needs nothing else for it."""
    if os.geteuid() != 0:
        missing("only root can build an image here")
    if subprocess.run(["sh", "-c", "command -v buildah"], capture_output=True, check=False).returncode:
        missing("buildah is not installed")
