"""The libraries that what is one file has in it: those of zipapp.txt, fetched with pip and verified by hash."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

LISTED = Path(__file__).parent / "zipapp.txt"


def look(output: Path) -> None:
    """End the script where the directory of what it is to write is not there, before it works for minutes."""
    if not output.parent.is_dir():
        remedy = f"make it: mkdir -p {shlex.quote(str(output.parent))}"
        sys.exit(f"{output.parent}: there is no such directory; {remedy}")


def fetch(directory: str) -> None:
    """Install them into that directory. Ends the script where pip cannot fetch them."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--require-hashes"]
    pip += ["--only-binary", ":all:", "--disable-pip-version-check", "--root-user-action", "ignore"]
    if subprocess.run([*pip, "--target", directory, "-r", str(LISTED)], check=False).returncode:
        sys.exit("pip cannot fetch the libraries of scripts/zipapp.txt")
