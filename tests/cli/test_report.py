"""report: the page of a host and of many, as a real browser shows it."""

from __future__ import annotations

import html.parser
import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT
from support.browser import Browser, browser
from support.judge import eggcache, environment
from support.sites import write_egg

from eggcache.cli.render import hosts_page, report, site_page
from eggcache.errors import Remedy
from eggcache.model import Distribution, Finding, Interpreter, Kind, Need, Outcome, Report, State, Tree

HOSTILE = "<img src=x onerror=alert(1)>&\"'"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of this file."""
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


def test_what_explains_others_comes_first() -> None:
    """Among findings of the same harm, the one that others follow from comes first; the others keep their order."""
    findings = [Finding(code, "thing", "cause", "remedy", 3) for code in ("egg-home", "time-zone", "no-cache")]
    target = Interpreter("/python", (3, 11, 0), "/", (), None, "65")
    sites = [site_page.Site(Tree(target, (), (), ()), (), {})]
    text = site_page.render(Report("check", None, (), tuple(findings)), sites, {}, host="h", reader="w", when="now")
    assert text.index("no-cache") < text.index("egg-home") < text.index("time-zone")


@pytest.fixture(scope="module")
def page(python: Path, where: Path, nobody: pwd.struct_passwd) -> Path:
    """The page of a small tree: a requirement that is missing, an egg that no cache can serve, a hostile name."""
    top = where / "report"
    top.mkdir()
    eggs = top / "<b onclick=alert(1)>"
    eggs.mkdir()
    write_egg(
        eggs / "App-1.0-py3.11.egg", {"EGG-INFO/requires.txt": "Lib\nGone>=2\n", "app.py": "", "a/b.txt": "x" * 99}
    )
    write_egg(eggs / "Lib-1.0-py3.11.egg", {"lib/": "", "lib/__init__.py": ""})
    common = ["--python", python, "--path", eggs, "--user", nobody.pw_name]
    assert eggcache("prepare", top / "cache", *common).returncode in (3, 5)
    made = top / "site.html"
    result = eggcache("report", "App", *common, "--cache", top / "cache", "-o", made)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert f"{made}: written" in result.stderr
    return made


def test_page_of_a_host_in_a_browser(page: Path, shown: Browser) -> None:
    """In Chromium the page asks for nothing, folds, finds, copies, and is dark where that is wanted; no script of it
    fails, and its policy forbids nothing that it has."""
    shown.requests.clear()
    shown.call("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    shown.open(page)
    assert shown.requests == [page.as_uri()]
    assert shown.tell("document.documentElement.className") == "scripted"
    content = shown.tell("document.body.innerText")
    for part in (
        "Gone>=2",
        "missing",
        "to be unzipped",
        "nothing: the cache has it",
        "Findings, by harm",
        "as it runs",
    ):
        assert part in content
    # folding, by the keyboard
    shown.tell("document.querySelector('.tree summary').focus()")
    shown.press("Enter", 13)
    assert shown.tell("document.querySelector('.tree details').open") is False
    shown.tell("document.getElementById('unfold').click()")
    assert shown.tell("document.querySelector('.tree details').open") is True
    # searching
    shown.tell("{const s = document.getElementById('search'); s.value = 'lib'; s.dispatchEvent(new Event('input'))}")
    left = shown.tell(
        "[...document.querySelectorAll('.tree strong')].filter(e => e.offsetParent).map(e => e.innerText)"
    )
    assert "Lib 1.0" in left
    assert not any(name.startswith("Gone") for name in left)
    # copying
    command = shown.tell("document.querySelector('.command code').textContent")
    shown.tell("document.querySelector('button.copy').click()")
    assert shown.tell("new Promise(r => setTimeout(() => r(document.getElementById('said').textContent), 200))") == (
        "The command is copied."
    )
    assert shown.tell("navigator.clipboard.readText()") == command
    # dark and light
    colours = []
    for scheme in ("light", "dark"):
        shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        colours.append(shown.tell("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(13, 17, 23)"]
    assert shown.complaints == []


def test_page_is_readable_without_scripts(page: Path, shown: Browser) -> None:
    """Without scripts the tree is unfolded, and there is no button that does nothing; printed, what is folded is
    there."""
    shown.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        shown.open(page)
        assert shown.tell("document.documentElement.className") == ""
        assert shown.tell("[...document.querySelectorAll('.tree details')].every(one => one.open)")
        assert shown.tell("[...document.querySelectorAll('button, input')].every(one => one.offsetParent === null)")
        shown.call("Emulation.setEmulatedMedia", media="print")
        content = "getComputedStyle(document.querySelector('article details'), '::details-content').contentVisibility"
        assert shown.tell(content) == "visible"
    finally:
        shown.call("Emulation.setScriptExecutionDisabled", value=False)
        shown.call("Emulation.setEmulatedMedia", media="")


class Elements(html.parser.HTMLParser):
    """Which elements a page has, with the names of their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.update((tag, name) for name, _ in attrs or [("", None)])


def test_hostile_names_stay_text(page: Path, shared_tmp: Path) -> None:
    """A name that would be markup, of an egg or in what another host said, is no element and no attribute."""
    finding = {"code": HOSTILE, "thing": HOSTILE, "cause": HOSTILE, "remedy": f"do: {HOSTILE}", "command": HOSTILE,
               "status": 3, "context": []}  # fmt: skip
    said = shared_tmp / f"{HOSTILE.replace('/', '')}.json"
    said.write_text(json.dumps({
        "schema": 1, "command": "check", "directory": HOSTILE, "outcomes": [], "findings": [finding]
    }))  # fmt: skip
    fleet = eggcache("report", said).stdout
    assert "&lt;img src=x" in fleet
    assert "&lt;b onclick" in page.read_text()
    for text in (fleet, page.read_text()):
        elements = Elements(text).found
        assert not {tag for tag, _ in elements} & {"img", "b", "iframe", "link"}
        assert not {name for _, name in elements if name.startswith("on") or name in ("src", "style")}
        assert "default-src 'none'" in text


def test_every_name_of_a_tree_stays_text() -> None:
    """Whatever a distribution, a requirement, a finding, a process or a host is called, it is text in the page; and the
    elements of a tree are closed, however it ends."""
    egg = Distribution(HOSTILE, HOSTILE, f"/{HOSTILE}.egg", Kind.ZIPPED, egg=f"/{HOSTILE}.egg", active=True)
    flat = Distribution("Flat", None, "/flat", Kind.UNZIPPED, active=True)
    needs = (
        Need(HOSTILE, None, 0, State.MET),
        Need("Flat", 0, 1, State.MET),
        Need(HOSTILE * 2, 1, None, State.MISSING),
    )
    target = Interpreter(HOSTILE, (2, 7, 18), "/", (), None, HOSTILE)
    tree = Tree(target, (HOSTILE,), (egg, flat), needs)
    findings = (
        Finding("not-an-egg", egg.location, HOSTILE, Remedy("unzip it", HOSTILE)),
        Finding(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 4),
        Finding("rival", HOSTILE, HOSTILE, "", 0),
    )
    result = Report("check", f"/{HOSTILE}", (Outcome(egg.egg or "", "/x", "proven", 2, 3),), findings)
    sites = [site_page.Site(tree, ready, {egg.location: 1_500_000}) for ready in ((), (True, False))]
    text = site_page.render(result, sites, {HOSTILE: HOSTILE}, host=HOSTILE, reader=HOSTILE, when="now")
    said = report.report_json(result)
    for page in (text, hosts_page.render({HOSTILE: said, "calm": {**said, "findings": []}}, "now")):
        found_in = Elements(page).found
        assert not {tag for tag, _ in found_in} & {"img", "b"}
        assert not {name for _, name in found_in if name.startswith("on") or name in ("src", "style")}
        for tag in ("ul", "li", "details", "article", "table"):
            assert len(re.findall(f"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag
    assert text.index("Not safe") < text.index("<h3>Wrong") < text.index("To know")
    assert "to be unzipped" in text


def test_table_of_many_hosts(python: Path, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """Of files that check --json wrote, the page has a row for each host; of what is no such file, an error says so."""
    egg = write_egg(shared_tmp / "One-1.0-py3.11.egg", {"one.py": ""})
    files = []
    for host in ("web1", "web2"):
        files.append(shared_tmp / f"{host}.json")
        more = ["--cache", shared_tmp / "cache"] if host == "web2" else []
        if more:
            eggcache("prepare", shared_tmp / "cache", "--python", python, "--path", egg, "--user", nobody.pw_name)
        files[-1].write_text(
            eggcache("check", "--json", "--python", python, "--path", egg, "--user", nobody.pw_name, *more).stdout
        )
    result = eggcache("report", *files)
    assert result.returncode == 0, result.stderr
    rows = re.findall(r"<tr><td><a href=.*", result.stdout)
    assert [">web1<" in row for row in rows] == [True, False]
    assert ["no-cache" in row for row in rows] == [True, False]
    files[0].write_text("")
    silent = eggcache("report", *files)
    assert (silent.returncode, "check said nothing there" in silent.stdout) == (0, True)
    for content in ("{}", "[]", "{", json.dumps({"schema": 1, "command": "check", "findings": [{}]})):
        files[0].write_text(content)
        refused = eggcache("report", *files)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "web1.json: it is not what check --json writes" in refused.stderr


def test_page_is_written_whole_or_not_at_all(shared_tmp: Path) -> None:
    """A page takes the place of the one before, with nothing left beside it; what is no file is left alone."""
    page = shared_tmp / "site.html"
    page.write_text("the one before")
    page.chmod(0o600)
    before = sorted(os.listdir(page.parent))
    (page.parent / "h.json").write_text(
        '{"schema": 1, "command": "check", "directory": null, "outcomes": [], "findings": []}'
    )
    assert eggcache("report", page.parent / "h.json", "-o", page).returncode == 0
    assert sorted(os.listdir(page.parent)) == sorted([*before, "h.json"])
    assert "The eggs of all hosts" in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600  # who could read the one before
    written, there = page.read_bytes(), sorted(os.listdir(page.parent))
    command = [sys.executable, "-m", "eggcache", "report", page.parent / "h.json", "-o", page]
    full = ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", *command]  # a disk of 1 KiB
    result = subprocess.run(full, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert (result.returncode, "the page cannot be written" in result.stderr) == (1, True)
    assert (page.read_bytes(), sorted(os.listdir(page.parent))) == (written, there)
    for place, status in ((page.parent, 2), (Path("/dev/null"), 2), (page.parent / "no" / "x.html", 1)):
        assert eggcache("report", page.parent / "h.json", "-o", place).returncode == status
    assert Path("/dev/null").is_char_device()
