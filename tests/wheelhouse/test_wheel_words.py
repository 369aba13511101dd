"""What old eggs say of their versions and requirements, in the words of today."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.version import Version

from eggcache.wheelhouse import legacy, metadata

VERSIONS = {
    "1.1.3": "1.1.3",
    "0.6c11": "0.6rc11",
    "1.0-final": "1.0",
    "1.0final": "1.0",
    "0.9.": "0.9",
    "0.5a1.dev-r2555": "0.5a1.dev2555",
    "0.5.dev": "0.5.dev0",
    "1.9dev-r2727": "1.9.dev2727",
    "1.0dev_r226668": "1.0.dev226668",
    "1.0.dev-r2555-20080501": "1.0.dev2555+20080501",
    "0.4.0p5": "0.4.0.post5",
    "0.1-step03": "0.1.post3",
    "0.6X": "0.6.post0",
    "1.0-r2345": "1.0.post2345",
    "v1.2": "1.2",
    "1.0b3-patch2": "1.0b3.post2",
    "dev": None,
    "bugfix": None,
    "": None,
    "1.0build7": None,  # sorts before "final", but says no number of a pre-release
    "1!!0": None,
    "9" * 2000: None,
}


@pytest.mark.parametrize("old", VERSIONS)
def test_version_is_written_in_words_of_pep_440(old: str) -> None:
    """A version is written in the words of PEP 440 where they have a place for it, else nothing is said."""
    assert legacy.version(old) == VERSIONS[old]


LEGACY_ORDER = [
    "0.5.dev",
    "0.5.dev-r1",
    "0.5.dev-r20",
    "0.5a1.dev-r2555",
    "0.5a1",
    "0.5c2",
    "0.5-final",
    "0.5-r7",
    "0.5.1",
]


def test_order_is_kept() -> None:
    """What was older under the old rules is older under the new ones."""
    versions = [Version(legacy.version(old) or "") for old in LEGACY_ORDER]
    assert versions == sorted(versions)
    assert len(set(versions)) == len(versions)


REQUIREMENTS = {
    # what pip 26 and pip 20.3.4 refuse, from real eggs
    "PEAK-Rules >= 0.5a1.dev-r2555": ("PEAK-Rules>=0.5a1.dev2555", True, False),
    "RuleDispatch >= 0.5a0.dev-r2303": ("RuleDispatch>=0.5a0.dev2303", True, False),
    "DecoratorTools>=1.9dev-r2727": ("DecoratorTools>=1.9.dev2727", True, False),
    "TurboKid>=0.9.": ("TurboKid>=0.9", True, False),
    "SQLAlchemy==0.4.0p5": ("SQLAlchemy==0.4.0.post5", True, False),
    "SQLObject==bugfix,>=0.7.1dev-r1860,<=0.7.99": ("SQLObject<=0.7.99,>=0.7.1.dev1860", True, False),
    "kid>=0.9.*": ("kid>=0.9", True, False),
    "_Odd.Name_ >= 1.0,": ("Odd.Name>=1.0", True, False),
    # what was right, and stays
    "simplejson>=1.3,!=1.5": ("simplejson!=1.5,>=1.3", False, False),
    "SQLAlchemy>1.0,<2.0dev": ("SQLAlchemy<2.0.dev0,>1.0", False, False),
    "PasteScript[wsgi_utils, Cheetah] (>=1.7)": ("PasteScript[cheetah,wsgi_utils]>=1.7", False, False),
    "six==1.*": ("six==1.*", False, False),
    "old===1.0-final": ("old===1.0-final", False, False),
    'nose ; python_version in "2.6 2.7"': ('nose; python_version in "2.6 2.7"', False, False),
    "pip @ https://example.org/pip.whl": ("pip @ https://example.org/pip.whl", False, False),
    # what cannot be said
    "Foo==dev": ("Foo", True, True),
    "Foo>=build7,<2": ("Foo<2", True, True),
    "Foo<=2.*": ("Foo", True, True),
    "Foo ~= 1": ("Foo", True, True),  # it takes two numbers
    "Foo >= 1.0.dev-r1-2008": ("Foo", True, True),  # only == takes a local version
    "Foo>=1.0 <2.0": ("Foo", True, True),
    "???": ("", True, True),
    "Foo; sys.maxsize > 3": ("", True, True),
    "Foo>=" + "1." * 2000: ("", True, True),
}


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_requirement_is_rewritten_where_it_means_the_same(line: str) -> None:
    """A requirement is rewritten where it means the same; what is lost is told, and whatever is left can be parsed."""
    rewritten_line = legacy.requirement(line)
    assert (rewritten_line.text, rewritten_line.changed, bool(rewritten_line.lost)) == REQUIREMENTS[line]
    assert not rewritten_line.text or Requirement(rewritten_line.text)


def test_an_alternative_is_lost_where_nothing_stands_beside_it() -> None:
    """`==bugfix` beside a range meant "or": without a range it is all there was, and is told as lost."""
    assert "==bugfix" in legacy.requirement("SQLObject==bugfix").lost
    assert legacy.requirement("SQLObject==bugfix,>=0.7").lost == ""


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text("abcdefinlprv019.-_+!*<>=,;[]()'\" ", max_size=40))
def test_anything_is_answered(line: str) -> None:
    """No line raises, and what comes out is a requirement of today."""
    answer = legacy.requirement(line)
    if answer.text:
        again = legacy.requirement(answer.text)
        assert (again.text, again.changed, again.lost) == (answer.text, False, "")
    else:
        assert answer.lost
    version = legacy.version(line)
    assert version is None or str(Version(version)) == version


@pytest.mark.parametrize(
    "line", ["Foo; " + "(" * 900, "Foo; " + "(" * 450 + "os.name=='a'" + ")" * 450, "1" + "a1" * 480]
)
def test_hostile_lines_take_no_time(line: str) -> None:
    """Parsers that recurse or backtrack are not led astray."""
    assert legacy.requirement(line).before == line
    legacy.version(line)


HOSTILE = [
    "a" * 400 + " " * 400 + "@",
    "a" * 999 + "@",
    "a " * 499 + "@",
    "a[" + "x" * 900 + "(" * 90 + "@",
    "a[" + "]" * 998,
    "a>" + "1" * 997 + "!",
    "a>=" + "1a" * 498 + "!",
    "a>=1" + "a" * 450 + "1" * 450 + "!",
    "a>=" + ",>=".join(["1" + "a" * 45 + "1" * 45 + "!"] * 10),
    "a>=1x" + "dev" * 300 + "!",
    "a>" + ",>" * 499,
    "a" + ">" * 999,
    "a;" + "(" * 998,
    "a; " + "os_name=='a' or " * 61 + "os_name=='a'",
    "a" + "\t\x1f\u2003 " * 249 + "@",
    "a @ " + "x" * 990,
]


def test_a_thousand_hostile_lines_take_no_time() -> None:
    """As many lines as requires.txt may have, of the most characters: no time that grows with their square. A line of
    the first kind took 4.4 s."""
    start = time.process_time()
    for number in range(1000):
        legacy.requirement(HOSTILE[number % len(HOSTILE)][:1000])
        assert time.process_time() - start < 60, HOSTILE[number % len(HOSTILE)]


REQUIRES = """\
Base>=1.0

[:python_version<"2.7"]
unittest2

# a comment
[Test_Extra]
Base>=1.0
nose

[mysql:python_version >= "3"]
PyMySQL

[empty]
[bad:python_version ~~ 3]
Lost
"""


def test_extras_and_markers_become_markers() -> None:
    """Extras and markers of requires.txt become markers of the requirements; an extra without any is still one."""
    extras, lines = metadata.requirements(REQUIRES)
    assert extras == ["bad", "empty", "mysql", "test_extra"]
    assert [item.text for item in lines] == [
        "Base>=1.0",
        'unittest2; python_version < "2.7"',
        'Base>=1.0; extra == "test_extra"',
        'nose; extra == "test_extra"',
        'PyMySQL; python_version >= "3" and extra == "mysql"',
        "",
    ]
    assert lines[-1].lost == "its environment marker cannot be parsed"


def test_or_in_a_marker_stays_together() -> None:
    """`a or b` of a section is not torn apart by the `and` that the extra needs."""
    _, (line,) = metadata.requirements("[x:os_name=='nt' or os_name=='java']\nFoo\n")
    parsed = Requirement(line.text).marker
    assert parsed
    assert not parsed.evaluate({"os_name": "nt", "extra": ""})
    assert parsed.evaluate({"os_name": "java", "extra": "x"})


PKG_INFO = """\
Metadata-Version: 1.0
Name: Foo
Version: 1.0
Summary: a summary
 of two lines
Home-page: UNKNOWN
Author: Jürgen
License: Do
what you like,

but keep this line
Description: First line.
        Second: line.
        
          indented
Platform: UNKNOWN
Classifier: One
Classifier: Two
Description-Content-Type: image/png
Requires: something
"""  # noqa: W293


def test_old_pkg_info_becomes_strict_metadata() -> None:
    """A PKG-INFO as the distutils of the time wrote it becomes metadata that the strictest reader accepts."""
    text = metadata.compose(metadata.parse(PKG_INFO), "Foo", "1.0", ["x"], ["Bar>=1", "Bar>=1"])
    read = Metadata.from_email(text.encode())
    assert (read.metadata_version, read.name, str(read.version)) == ("2.1", "Foo", "1.0")
    assert (read.summary, read.author, read.home_page) == ("a summary of two lines", "Jürgen", None)
    assert read.classifiers == ["One", "Two"]
    assert [str(requirement) for requirement in read.requires_dist or []] == ["Bar>=1"]
    assert (read.provides_extra, read.requires_python, read.platforms) == (["x"], None, None)
    assert read.description == "First line.\nSecond: line.\n\n  indented\n"
    assert "keep this line" in (read.license or "")


@pytest.mark.parametrize(("told", "kept"), [(">=2.7,!=3.0.*", True), ("==2.7,>=3.6", False), ("whatever", False)])
def test_requires_python_that_refuses_the_target_is_dropped(told: str, kept: bool) -> None:
    """It is dropped, and told as lost, where pip would refuse the wheel for the very Python that has the egg."""
    info = metadata.parse(f"Metadata-Version: 1.2\nName: Foo\nVersion: 1\nRequires-Python: {told}\n")
    lost = metadata.bound_to_others(info, (3, 11, 7))
    assert [item.before for item in lost] == ([] if kept else [f"Requires-Python: {told}"])
    assert (f"Requires-Python: {told}" in metadata.compose(info, "Foo", "1", [], [])) == kept


def test_description_of_metadata_2_is_the_body() -> None:
    """From Metadata 2 on the description is the body, and what looks like a field there is none."""
    text = "Metadata-Version: 2.4\nName: Foo\nVersion: 1\nLicense-Expression: MIT\n\nSummary: of the body\n\nmore\n"
    info = metadata.parse(text)
    composed = metadata.compose(info, "Foo", "1", [], [])
    assert composed == "Metadata-Version: 2.1\nName: Foo\nVersion: 1\nLicense: MIT\n\nSummary: of the body\n\nmore\n"
    assert metadata.compose(metadata.parse(composed), "Foo", "1", [], []) == composed


def test_metadata_injects_nothing() -> None:
    """No value of an egg becomes a field of the wheel that it was not."""
    info = metadata.parse(
        "Metadata-Version: 1.0\nName: Foo\nAuthor: A\rRequires-Dist: evil\nLicense: x\n\nProvides-Extra: y\n"
    )
    lines = metadata.compose(info, "Foo", "1.0", [], []).splitlines()
    assert lines == ["Metadata-Version: 2.1", "Name: Foo", "Version: 1.0", "Author: A", "License: x"]


def test_pkg_info_in_latin_1_is_written_as_utf_8() -> None:
    """PyAMF 0.5 has a PKG-INFO in Latin-1: it is read, and written as UTF-8."""
    assert metadata.decoded("Jürgen".encode("latin-1")) == metadata.decoded("Jürgen".encode()) == "Jürgen"
