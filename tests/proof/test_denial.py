"""check --import: the application meets what a server gives it, can write nothing, and nothing else is denied to it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.deployment import Deployment
from support.judge import as_json, eggcache
from support.sites import write_egg

RELEASES = [("2.7", "0.6c11"), ("2.7", "36.0.1"), ("2.7", "44.1.1"), ("3.11", "65.5.0")]

# Nothing of it writes: `replace` and `open` are names that others have for something else
READS = """\
import pkg_resources
pkg_resources.require("Data>=0.5")
pkg_resources.parse_version("1.0-rc1")
class Text(str):
    def rename(self, name):
        return Text(name)
def utime(path, times):
    return path
utime(Text("a").rename("c").replace("c", "d"), None)
"""

# What a .pth file imports before check's script can deny anything
EARLY = """\
import os, tempfile
from os import mkdir, unlink as forget
from tempfile import mkdtemp
import pkg_resources
class Tool(object):
    link = os.symlink
"""

WRITES = {
    "mkdir": "early.mkdir(there + '/new')",
    "unlink": "early.forget(there + '/file')",
    "symlink": "early.Tool.link(there + '/file', there + '/link')",
    "mkdtemp": "early.mkdtemp('', 'new', there)",
    "rename": "from os import rename as move\nmove(there + '/file', there + '/moved')",
    "open": "open(there + '/file', 'a')",
}


class Application:
    """Eggs on the path of a target, whose cache is prepared, and a directory that the runtime user may write to."""

    def __init__(self, target: Deployment, version: str, home: Path, account: pwd.struct_passwd) -> None:
        self.python, self.eggs, self.cache, self.there = target.python, home / "eggs", home / "cache", home / "there"
        self.tag = f"py{version}"
        self.eggs.mkdir()
        self.there.mkdir()
        self.there.chmod(0o777)
        (self.there / "file").write_text("as it was")
        os.chown(self.there / "file", account.pw_uid, account.pw_gid)
        write_egg(self.eggs / f"Data-1.0-{self.tag}.egg", {"data/__init__.py": "", "data/a.txt": "a"})

    def found(self, *modules: str, **sources: str) -> list[dict[str, Any]]:
        """What check finds where these modules are imported, of which these are made first."""
        app = write_egg(
            self.eggs / f"App-1.0-{self.tag}.egg",
            {"app.txt": "a", **{f"{name}.py": source for name, source in sources.items()}},
        )
        common = ["--all", "--path", self.eggs, "--path", app, "--python", self.python, "--user", "nobody"]
        result = eggcache("prepare", self.cache, *common)
        assert result.returncode == 0, result.stderr
        imports = [word for name in modules or sources for word in ("--import", name)]
        findings = as_json(eggcache("check", *common, "--cache", self.cache, "--json", *imports))["findings"]
        return [finding for finding in findings if not finding["code"].startswith("running-")]


@pytest.fixture
def application(
    target: Callable[[str, str], Deployment], shared_tmp: Path, nobody: pwd.struct_passwd
) -> Callable[[str, str], Application]:
    return lambda version, release: Application(target(version, release), version, shared_tmp, nobody)


@pytest.mark.parametrize(("version", "release"), RELEASES)
def test_denied_is_what_writes(application: Callable[[str, str], Application], version: str, release: str) -> None:
    """What is a function of os is denied wherever it was taken from before, and nothing is that only has its name."""
    made = application(version, release)
    site = next(made.python.parent.parent.glob("lib/python*/site-packages"))
    (site / "early.py").write_text(EARLY)
    (site / "early.pth").write_text("import early\n")
    there = f"there = {str(made.there)!r}\nimport early\n"
    attempts = made.found(reads=READS, **{f"writes_{name}": f"{there}{line}\n" for name, line in WRITES.items()})
    told = {finding["thing"]: (finding["code"], finding["cause"]) for finding in attempts}
    assert {thing: code for thing, (code, _) in told.items()} == {f"writes_{name}": "import-writes" for name in WRITES}
    for name in WRITES:
        assert f"({name} {made.there}" in told[f"writes_{name}"][1]
    assert os.listdir(made.there) == ["file"]
    assert (made.there / "file").read_text() == "as it was"


LOOKS = "import pkg_resources\npkg_resources.resource_filename(__name__, 'app.txt')\n"


@pytest.mark.parametrize(("version", "release"), [("2.7", "0.6c11"), ("3.11", "65.5.0")])
def test_before_anything_is_looked_up(
    application: Callable[[str, str], Application], version: str, release: str
) -> None:
    """The application is imported where nothing has been looked up yet, as in a server: it may choose the cache that is
    checked. One that chooses another is told, and one that does so too late fails, as it does in a server."""
    made = application(version, release)
    same = f"import pkg_resources\npkg_resources.set_extraction_path({str(made.cache)!r})\n{LOOKS}"
    assert made.found(same=same) == []
    other = f"import pkg_resources\npkg_resources.set_extraction_path({str(made.there)!r})\n"
    environ = f"import os\nos.environ['PYTHON_EGG_CACHE'] = {str(made.there)!r}\n"
    for source in (other, environ):
        (attempt,) = made.found(app=source)
        assert (attempt["code"], attempt["thing"]) == ("not-served", "app")
        assert f"extract to {made.there}, and not to {made.cache}" in attempt["cause"]
    (attempt,) = made.found(app=f"{LOOKS}{other}")
    assert attempt["code"] == "import-fails"
    assert "already extracted" in attempt["cause"]
