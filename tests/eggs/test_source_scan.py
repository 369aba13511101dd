"""Which eggs have code that looks for files beside itself: what really fails zipped, and works unzipped."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.deployment import Deployment
from support.judge import as_json, eggcache
from support.sites import Site, write_egg

from eggcache.eggs import reader, source_scan
from eggcache.eggs.extract import Opened

DATA = {"shop/__init__.py": "", "shop/data/page.txt": "a page", "shop/sub/__init__.py": ""}
UNSAFE = {
    "opens": """
import os
def use():
    return open(os.path.join(os.path.dirname(__file__), 'data', 'page.txt')).read()
""",
    "constant": """
import os
HERE = os.path.dirname(os.path.abspath(__file__))

def other():
    pass

def use():
    name = 'page.txt'
    return open(os.path.join(HERE, 'data/%s' % name)).read()
""",
    "lists": """
import os
def use():
    return os.listdir(os.path.dirname(__file__))
""",
    "attribute": """
import os
class Pages:
    def __init__(self):
        self.top = os.path.dirname(__file__)
    def page(self):
        return open(os.path.join(self.top, 'data', 'page.txt')).read()
def use():
    return Pages().page()
""",
    "pathlib": """
import pathlib
def use():
    return (pathlib.Path(__file__).parent / 'data' / 'page.txt').read_text()
""",
    "lines": """
import os
def use():
    return open(
        os.path.join(  # (
            os.path.dirname(
                __file__),
            'data',
            'page.txt')).read()
""",
    "package": """
import os
import shop
def use():
    return open(os.path.join(shop.__path__[0], 'data', 'page.txt')).read()
""",
    "dotted": """
import os
def use():
    module = __import__('shop')
    directory = os.sep.join(module.__file__.split(os.sep)[:-1])
    path = directory + os.sep + 'd' + 'ata'
    assert os.path.exists(path), path
""",
    "above": """
import os
def use():
    up = os.path.join(os.path.dirname(__file__), '..', 'sub')
    return os.listdir(os.path.join(os.path.dirname(__file__), '..', 'shop', 'data'))
""",
}
SAFE = {
    "asks": """
import pkg_resources
def use():
    return pkg_resources.resource_string('shop', 'data/page.txt')
""",
    "falls back": """
import os, pkgutil
def use():
    path = os.path.join(os.path.dirname(__file__), 'data', 'page.txt')
    if not os.path.exists(path):
        return pkgutil.get_data('shop', 'data/page.txt')
    return open(path).read()
""",
    "says": """
import os
def use():
    return 'data in %s' % os.path.basename(__file__)
""",
    "comment": """
import os
# os.listdir(os.path.dirname(__file__))
def use():
    '''open(os.path.join(os.path.dirname(__file__), 'data'))'''
    return 'data', __file__
""",
    "program": """
import os
def use():
    pass
if __name__ == '__main__':
    os.listdir(os.path.dirname(__file__))
""",
    "path": """
import os, sys
def use():
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'sub'))
""",
    "other": """
import os
def here():
    path = os.path.dirname(__file__)
    return path
def use(path='/'):
    return os.listdir(path), os.path.basename(__file__)
""",
    "stamp": """
import os
name = os.path.splitext(os.path.basename(__file__))[0]
def use():
    return 'data/' + name
""",
}


def told(egg: Path) -> list[str]:
    """What is said of an egg."""
    descriptor = os.open(egg, os.O_RDONLY)
    try:
        return source_scan.file_lookups(Opened(descriptor, reader.read(descriptor, str(egg))))
    finally:
        os.close(descriptor)


def works(place: Path) -> bool:
    """Whether the code in an egg, or in the directory that it becomes, gets what it asks for."""
    code = f"import sys; sys.path.insert(0, {str(place)!r}); import shop.code; shop.code.use()"
    words = [sys.executable, "-B", "-W", "ignore", "-c", code]
    return subprocess.run(words, capture_output=True, check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("name", [*UNSAFE, *SAFE])
def test_what_fails_from_a_zip_alone_is_named(name: str, tmp_path: Path) -> None:
    """What fails from a zip, and not from a directory, is named with its line; what works from both is not."""
    egg = write_egg(tmp_path / "shop-1.0-py3.egg", {**DATA, "shop/code.py": {**UNSAFE, **SAFE}[name]})
    with zipfile.ZipFile(egg) as archive:
        archive.extractall(tmp_path / "unzipped")
    assert works(tmp_path / "unzipped")
    assert works(egg) == (name in SAFE)
    places = told(egg)
    assert bool(places) == (name in UNSAFE), places
    assert all(place.startswith("shop/code.py, line ") for place in places)


def test_what_no_server_imports(tmp_path: Path) -> None:
    """Code of tests and of setup.py is not looked into, nor that of an egg without data."""
    code = UNSAFE["opens"]
    aside = {"shop/tests/code.py": code, "shop/test_code.py": code, "shop/setup.py": code}
    assert told(write_egg(tmp_path / "aside-1.egg", {**DATA, **aside})) == []
    assert told(write_egg(tmp_path / "bare-1.egg", {"shop/__init__.py": "", "shop/code.py": code})) == []


def test_source_of_python_2_is_read(tmp_path: Path) -> None:
    """A source that the parser of Python 3 refuses is read all the same."""
    code = "import os\nprint 'x', `1`, 0777, ur'''\n'''\nif 1 <> 2: exec 'y'\n" + UNSAFE["opens"]
    assert told(write_egg(tmp_path / "two-1.egg", {**DATA, "shop/code.py": code})) == [
        "shop/code.py, line 8: a path to shop/data/"
    ]


@pytest.mark.parametrize(
    "piece", ['\\"""', '"""', "open(d", "d;", "d\n", "def d\n", "x = d\n", "\\", '"d', "(d\n", "d.", "'\\", "(\n"]
)
def test_hostile_source_is_read_once(piece: str, tmp_path: Path) -> None:
    """A source that is made to be read again and again is read once: it takes seconds at most, and fails nothing."""
    head = "import os\nd = os.path.dirname(__file__)\n"
    code = head + piece * ((1 << 16) // len(piece))
    assert isinstance(told(write_egg(tmp_path / "hostile-1.egg", {**DATA, "shop/code.py": code})), list)


def named(deployment: Deployment) -> set[str]:
    """The projects of a real tree that have such code."""
    return {egg.name.split("-")[0] for egg in deployment.site_packages.glob("*.egg") if egg.is_file() and told(egg)}


def test_libraries_whose_suites_fail_zipped_are_named(turbogears1: Deployment, turbogears2_27: Deployment) -> None:
    """Of the libraries whose own suites were run zipped and unzipped those are named whose code, and not that of their
    tests alone, lost tests; CherryPy, whose suite was not run, has its favicon.ico beside it."""
    assert named(turbogears2_27) == {"Babel", "Paste", "tw2.core", "tw2.forms"}
    assert named(turbogears1) == {"CherryPy", "Paste"}


def test_notice_names_the_egg_once_and_its_remedy_ends_it(site: Site) -> None:
    """tree, prepare and check name the egg, each as a notice, once; it is served all the same, and what the notice
    says to run ends it."""
    shop = write_egg(site.eggs / "shop-1.0-py3.11.egg", {**DATA, "shop/code.py": UNSAFE["opens"]})
    write_egg(site.eggs / "good-1.0-py3.11.egg", {**DATA, "shop/code.py": SAFE["asks"]})
    asked = [("tree", *site.options[:-2]), ("prepare", site.cache, *site.options)]
    asked += [("check", *site.options, "--cache", site.cache)]
    for words in asked:
        result = eggcache(*words, "--json")
        (notice,) = as_json(result)["findings"]
        assert (result.returncode, notice["code"], notice["thing"], notice["status"]) == (
            0,
            "not-zip-safe",
            str(shop),
            0,
        )
        assert notice["context"] == ["shop/code.py, line 4: a path to shop/data/"]
    again = site.prepare()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    said = eggcache(*asked[2])
    assert re.match(r"[0-9]+ files of 4 eggs, as nobody: all current, nothing to write\nnot-zip-safe\n", said.stdout)
    assert site.served() > 0
    words = shlex.split(notice["command"])
    assert eggcache(*words[1:]).returncode == 0
    assert shop.is_dir()
    for words in asked:
        left = as_json(eggcache(*words, "--json"))["findings"]
        assert {finding["code"] for finding in left} <= {"stale-directory"}  # what the cache had of it


def test_damaged_source_is_refused_as_damaged(site: Site) -> None:
    """What is damaged is refused as such, and not for what its code looks for; tree, which reads no bytes but these,
    shows it all the same."""
    shop = write_egg(site.eggs / "shop-1.0-py3.11.egg", {**DATA, "shop/code.py": UNSAFE["opens"]})
    with zipfile.ZipFile(shop) as archive:
        at = archive.getinfo("shop/code.py").header_offset
    data = bytearray(shop.read_bytes())
    data[at + 30 + len("shop/code.py") + 5] ^= 0xFF
    shop.write_bytes(data)
    result = site.prepare("--json")
    assert [finding["code"] for finding in as_json(result)["findings"]] == ["egg-refused"]
    assert eggcache("tree", *site.options[:-2]).returncode == 0
