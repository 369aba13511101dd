"""A site on a host whose first process is systemd: Debian's Apache, and an application that needs a file of an egg."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.httpd import require
from support.judge import as_json
from support.parts import missing
from support.sites import write_egg
from support.systemd_host import SystemdHost, booted

CACHE = "/var/cache/eggcache"
IN_TMP = "/tmp/turbogears-eggcache"  # the cache of the TurboGears manual
UNIT = "apache2.service"
DROPINS = f"/etc/systemd/system/{UNIT}.d"
EGG = "/srv/app/Demo-1.0-py3.egg"
EXPOSED = "ProtectSystem=strict\nReadWritePaths=/var/log/apache2 /run"  # settings that leave a cache in sight
PYTHON = "/usr/bin/python3"  # the one that Debian's mod_wsgi embeds
ON_SITE = ["--python", PYTHON, "--path", EGG, "Demo"]
EGGCACHE = [sys.executable, "-m", "eggcache"]
APPLICATION = """
import pkg_resources
def application(environ, start_response):
    name = pkg_resources.resource_filename("demo", "data.txt")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(name + "\\n" + open(name).read()).encode()]
"""
CONFIGURATION = f"""
ServerName 127.0.0.1
GracefulShutdownTimeout 1
WSGIPythonPath {EGG}
WSGIScriptAlias /app /srv/app/app.wsgi
<Directory /srv/app>
    Require all granted
</Directory>
"""
ASK = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode(), end="")
except urllib.error.HTTPError as error:
    print(error.code)
except urllib.error.URLError:
    print("down")
"""


@dataclass
class Server:
    """The host, with Debian's Apache and an application that needs a file of an egg."""

    host: SystemdHost

    def egg(self, text: str) -> None:
        """Write the egg, with `text` in the file that is served; one of another size is another release."""
        path = self.host.path(EGG)
        path.unlink(missing_ok=True)
        write_egg(path, {"EGG-INFO/zip-safe": "\n", "demo/__init__.py": "", "demo/data.txt": text})

    def eggcache(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.host.run(*EGGCACHE, *words, check=check)

    def dropin(self, name: str, text: str) -> None:
        self.host.write(f"{DROPINS}/{name}", f"[Service]\n{text}\n")
        self.host.run("systemctl", "daemon-reload")

    def install(self, cache: str = CACHE) -> None:
        """The drop-in of the wrapper, as its page in docs/howto says."""
        self.host.run("mkdir", "-p", DROPINS)
        self.eggcache("wrapper", cache, *ON_SITE, "--for", "systemd", "-o", f"{DROPINS}/50-eggcache.conf")
        self.host.run("systemctl", "daemon-reload")

    def systemctl(self, verb: str) -> str:
        """Have systemctl do that to Apache; what the journal has of it, "" where it worked."""
        result = self.host.run("systemctl", verb, UNIT, check=False)
        if result.returncode:
            return result.stderr + self.host.run("systemctl", "status", UNIT, check=False).stdout
        self.wait()
        return ""

    def wait(self) -> None:
        """Return when Apache has written its pid file, by which apache2ctl finds it: for systemd it has started
        before that."""
        self.host.sh("for turn in $(seq 200); do [ -s /run/apache2/apache2.pid ] && break; sleep 0.1; done")

    def state(self, unit: str = UNIT) -> str:
        """What systemd has of the unit's life: another one after any stop."""
        shown = self.host.run("systemctl", "show", "-p", "ActiveState,MainPID,ActiveEnterTimestampMonotonic", unit)
        return shown.stdout

    def page(self, path: str = "/app", port: int = 80) -> str:
        return self.host.run(PYTHON, "-c", ASK, f"http://127.0.0.1:{port}{path}").stdout

    def seen(self, *words: str) -> tuple[str, set[str]]:
        """The page, and the codes of what check finds with these options too."""
        return self.page(), set(self.findings(*words))

    def apache(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run it as root, with the directories that Apache sees."""
        main = self.host.run("systemctl", "show", "-p", "MainPID", "--value", UNIT).stdout.strip()
        return self.host.run("nsenter", "-t", main, "-m", *command, check=check)

    def findings(self, *words: str) -> dict[str, dict[str, str]]:
        result = self.eggcache("check", *ON_SITE, "--cache", CACHE, "--json", *words, check=False)
        return {finding["code"]: finding for finding in as_json(result)["findings"]}


ERROR, DOWN = "500\n", "down\n"


def served(text: str, cache: str = CACHE) -> str:
    """The page with that text of the egg, from that cache."""
    return f"{cache}/{Path(EGG).name}-tmp/demo/data.txt\n{text}\n"


SERVED = served("")[:-1]


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Boot such a host; its Apache is down, and there is no egg."""
    require("wsgi")
    with booted() as host:
        if not Path("/usr/lib/python3/dist-packages/pkg_resources").exists():
            missing("python3-pkg-resources is not installed")
        host.sh("a2dismod -q -f mpm_event mpm_worker python; a2enmod -q mpm_prefork wsgi; rm -rf /var/cache/eggcache")
        host.write("/srv/app/app.wsgi", APPLICATION)
        host.write("/etc/apache2/conf-enabled/demo.conf", CONFIGURATION)
        yield Server(host)


def fresh(installed: Server) -> Iterator[Server]:
    """The host while Apache is down and nothing is of eggcache's, as it is left too."""
    installed.egg("one\n")
    yield installed
    installed.host.sh(
        f"systemctl stop {UNIT}; rm -rf {DROPINS} {CACHE} {IN_TMP} /etc/tmpfiles.d/*; systemctl daemon-reload; "
        f"systemctl reset-failed {UNIT} || :"
    )


def install(host: SystemdHost, text: str) -> str:
    """Write the wrapper where its head says; the commands of the head, as they stand."""
    head = re.match(r"(?:#.*\n)+", text)
    assert head, text
    place = re.search(r"^# (?:Where:.*?)?(/(?:etc|usr)/\S+?)[.,;]?(?:\s|$)", head[0], re.MULTILINE)
    # The place of an init script is in its command alone.
    place = place or re.search(r"^# +(/etc/init\.d/\S+) restart$", head[0], re.MULTILINE)
    assert place, head[0]
    host.write(place[1], text, 0o755 if text.startswith("#!") else 0o644)
    after = re.search(r"^# After(?:wards)?: +(?! |nothing)(.*\n(?:#  {6,}.*\n)*)", head[0], re.MULTILINE)
    commands = after[1] if after else "".join(re.findall(r"^# {3}(/.*\n)", head[0], re.MULTILINE))
    assert commands or "# After:  nothing has to be run" in head[0], head[0]
    return re.sub(r"^# +", "", commands, flags=re.MULTILINE)
