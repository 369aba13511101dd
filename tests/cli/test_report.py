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
from support.terminals import show

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


VISIBLE = """(() => { const style = getComputedStyle(document.activeElement);
    return [style.outlineStyle, style.outlineWidth, document.activeElement.getBoundingClientRect().height > 0]; })()"""


def test_page_by_the_keyboard_alone(page: Path, shown: Browser) -> None:
    """Tab comes to each copy button, the search and each fold, in the order of the page and in sight; Space and Enter
    copy; Escape, or to delete what was looked for, shows all again, folded as it was."""
    shown.open(page)
    stops = shown.tab(200)
    assert stops == list(range(len(stops)))
    kinds = shown.tell("stops.map(one => one.id || one.className.split(' ')[0] || one.localName)")
    assert len(stops) == len(kinds)
    assert kinds.count("copy") == shown.tell("document.querySelectorAll('.command').length") > 0
    assert [kind for kind in kinds if kind in ("search", "unfold", "fold")] == ["search", "unfold", "fold"]
    assert kinds.index("copy") < kinds.index("search") < len(kinds) - 1 - kinds[::-1].index("summary")
    for kind in ("copy", "search", "summary"):
        shown.tell(f"stops[{max(kinds.index(kind) - 1, 0)}].focus()")
        for _ in range(5):  # what can be scrolled may have the focus on the way
            if shown.tell("stops.indexOf(document.activeElement)") != kinds.index(kind):
                shown.press("Tab", 9)
        assert shown.tell("stops.indexOf(document.activeElement)") == kinds.index(kind), kind
        assert shown.tell(VISIBLE) == ["solid", "3px", True], kind
    # copying
    command = shown.tell(f"stops[{kinds.index('copy')}].parentElement.querySelector('code').textContent")
    writing = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    for key, code, permissions in ((" ", 32, writing), ("Enter", 13, writing[:1])):  # without the last, as of old
        shown.call("Browser.grantPermissions", permissions=writing)
        shown.tell(f"navigator.clipboard.writeText('nothing').then(() => stops[{kinds.index('copy')}].focus())")
        shown.call("Browser.grantPermissions", permissions=permissions)
        shown.press(key, code)
        shown.tell("new Promise(r => setTimeout(r, 200))")
        assert shown.tell("navigator.clipboard.readText()") == command, key
        assert shown.tell("document.activeElement.className") == "copy by-script"
    # searching, with a part of the tree folded
    shown.tell("document.querySelector('.tree summary').focus()")
    shown.press("Enter", 13)
    everything = "[...document.querySelectorAll('.tree li')].map(item => [item.hidden, item.firstChild.open])"
    before = shown.tell(everything)
    assert False in [is_open for _, is_open in before]
    for end in ([("Escape", 27)], [("Backspace", 8)] * 3):
        shown.tell("search.focus()")
        for letter in "lib":
            shown.press(letter, ord(letter.upper()))
        assert shown.tell("search.value") == "lib"
        assert True in [hidden for hidden, _ in shown.tell(everything)]
        assert shown.tell("said.textContent") == "1 found"
        for key, code in end:
            shown.press(key, code)
        assert (shown.tell("search.value"), shown.tell(everything)) == ("", before), end
        assert shown.tell("said.textContent") == ""
    # A browser that does not clear the search by itself leaves that to the page: an event that no key stands behind
    shown.tell("search.value = 'lib'; search.dispatchEvent(new Event('input'))")
    assert True in [hidden for hidden, _ in shown.tell(everything)]
    shown.tell("search.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))")
    assert (shown.tell("search.value"), shown.tell(everything)) == ("", before)
    assert shown.complaints == []


def test_page_of_many_hosts_in_a_browser(page: Path, shown: Browser, shared_tmp: Path) -> None:
    """In Chromium the page of a fleet asks for nothing, has the worst host first, leads by the keyboard to each host,
    command and explanation, is dark where that is wanted, and shows hostile names as the text that they are."""
    eggs = page.parent / "<b onclick=alert(1)>"
    finding = {"code": "foreign-entry", "thing": HOSTILE, "cause": "c", "remedy": f"do: {HOSTILE}", "command": HOSTILE}
    answers = {
        "calm": [],
        "wrong": [{**finding, "code": "no-cache", "thing": str(eggs / "App-1.0-py3.11.egg"), "status": 3}],
        HOSTILE.replace("/", ""): [{**finding, "status": 4}, {**finding, "code": HOSTILE, "status": 0}],
    }
    files = []
    for host, findings in answers.items():
        files.append(shared_tmp / f"{host}.json")
        answer = {"schema": 1, "command": "check", "directory": HOSTILE, "outcomes": [], "findings": findings}
        files[-1].write_text(json.dumps(answer))
    fleet = shared_tmp / "fleet.html"
    assert eggcache("report", *files, "-o", fleet).returncode == 0
    shown.requests.clear()
    shown.complaints.clear()
    shown.open(fleet)
    assert shown.requests == [fleet.as_uri()]
    rows = shown.tell("[...document.querySelectorAll('tbody tr')].map(row => row.cells[0].innerText)")
    assert rows == [HOSTILE.replace("/", ""), "wrong", "calm"]
    assert shown.tell("document.querySelectorAll('img, b, [onclick], [onerror]').length") == 0
    content = shown.tell("document.body.innerText")
    assert content.count(HOSTILE) > 4
    assert str(eggs) in content
    # by the keyboard
    stops = shown.tab(50)
    kinds = shown.tell("stops.map(one => one.localName)")
    assert stops == list(range(len(kinds)))
    assert kinds == ["a"] * 3 + ["button", "summary", "button", "button", "summary"]
    shown.tell("stops[1].focus()")
    shown.press("Enter", 13)
    assert shown.tell("decodeURI(location.hash)") == "#host-1"
    assert shown.tell("document.querySelector(':target').innerText") == "wrong"
    shown.tell("stops[4].focus()")
    shown.press("Enter", 13)
    assert shown.tell("stops[4].parentElement.open") is True
    assert "What happens:" in shown.tell("stops[4].parentElement.innerText")
    shown.tell("stops[3].focus()")
    shown.press(" ", 32)
    shown.tell("new Promise(r => setTimeout(r, 200))")
    assert shown.tell("navigator.clipboard.readText()") == HOSTILE
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
    assert "<p>1 host, 1 with something to act on; " in fleet
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
    """Of files that check --json wrote, the page has a row for each host; of one with something
    else in it, a row that says so. Where all are such files, that is an error."""
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
        other = eggcache("report", *files)
        assert (other.returncode, "its file is not what check --json writes" in other.stdout) == (0, True), other.stderr
        assert "no-cache" not in other.stdout
        refused = eggcache("report", files[0])
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "web1.json: it is not what check --json writes" in refused.stderr


def test_page_is_not_for_a_terminal(python: Path) -> None:
    """A page is printed into a file or a pipe; on a terminal it is said that it needs one, before anything is asked."""
    words = [sys.executable, "-m", "eggcache", "report", "--python", str(python)]
    shown = show(words, env=environment())
    line = "eggcache: report: its page is for a browser, and not for a terminal; name a file: -o report.html\n"
    assert (shown.status, shown.terminal) == (2, line)
    shown = show(words, env=environment(), streams=("stdin", "stderr"))
    assert (shown.status, "<!doctype html>" in shown.file.lower()) == (0, True)


def test_page_is_written_whole_or_not_at_all(shared_tmp: Path) -> None:
    """A page takes the place of the one before, with nothing left beside it; what is no file is left alone, and so is
    what a host said, of which the page is."""
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
    said = (page.parent / "h.json").read_text()
    result = eggcache("report", page.parent / "h.json", "-o", page.parent / "." / "h.json")
    assert (result.returncode, "the page would replace what check said" in result.stderr) == (2, True)
    assert (page.parent / "h.json").read_text() == said
