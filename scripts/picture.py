"""Makes the picture of what `eggcache report` writes, of a real TurboGears 1.1.3, as Chromium shows it.

    .venv/bin/python scripts/picture.py docs/report.png

As root, in the environment of scripts/test. What it needs is on mounts of its own, where paths are as on a server.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # where what builds real sites lies

from support import deployment
from support.browser import browser
from support.namespaces import private
from support.session import installed

WIDTH, HEIGHT = 1100, 1000  # of what is shown, in pixels
SERVER = """
mount -t tmpfs none /srv
mkdir /srv/turbogears
mount --bind "$1" /srv/turbogears
"""
REPORT = """
hostname www.example.org
exec eggcache report --python /srv/turbogears/bin/python --user www-data
"""


def page(where: Path) -> str:
    """What `eggcache report` writes of a TurboGears 1.1.3 that is built below `where`."""
    built = deployment.turbogears1(where)
    env = installed(where / "bin")
    with private(SERVER, built.root) as inside:
        return deployment.run([*inside, "unshare", "--uts", "sh", "-ec", REPORT], env=env).stdout


def main() -> None:
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as temporary:
        where = Path(temporary)
        where.chmod(0o755)
        html = where / "report.html"
        html.write_text(page(where), encoding="utf-8")
        with browser(where / "browser") as shown:
            shown.call(
                "Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False
            )
            shown.call("Emulation.setScrollbarsHidden", hidden=True)
            shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
            shown.open(html)
            picture = base64.b64decode(shown.call("Page.captureScreenshot", format="png")["data"])
    Path(sys.argv[1]).write_bytes(picture)


if __name__ == "__main__":
    main()
