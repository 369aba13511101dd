"""byte_code: what real interpreters write is what they take for current."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from eggcache.eggs import byte_code

SOURCE = "pkg/x.py"
FILES = {"pkg/x.py", "pkg/y.py", "z.py"}


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.11", "3.13"])
def test_as_a_python_writes_it(interpreter: Callable[[str], Path], shared_tmp: Path, version: str) -> None:
    """What an interpreter compiles lies where that release looks for it, and asks for the mtime of its source and for
    its size; another release does not take it."""
    source = shared_tmp / SOURCE
    source.parent.mkdir()
    source.write_text("value = 1\n")
    code = f"import os, py_compile; os.utime({str(source)!r}, (7, 1234567890)); py_compile.compile({str(source)!r})"
    subprocess.run([interpreter(version), "-c", code], check=True)
    release = tuple(map(int, version.split(".")))
    made = shared_tmp / byte_code.file_names(SOURCE, release)[0]
    begins = made.read_bytes()[: byte_code.HEADER]
    assert byte_code.stamp(begins, release, 10) == 1234567890
    assert byte_code.stamp(begins, release, 11) == (1234567890 if release < (3, 3) else None)
    assert byte_code.stamp(begins, (2, 5), 10) is byte_code.stamp(begins, (3, 99), 10) is None
    assert byte_code.source_of(str(made.relative_to(shared_tmp)), FILES) == SOURCE


def test_a_hash_in_place_of_the_time(interpreter: Callable[[str], Path], shared_tmp: Path) -> None:
    """Byte code that has a hash of its source (PEP 552) fits a source of any mtime."""
    (shared_tmp / "x.py").write_text("value = 1\n")
    mode = "py_compile.PycInvalidationMode.UNCHECKED_HASH"
    code = f"import py_compile; py_compile.compile('x.py', cfile='x.pyc', invalidation_mode={mode})"
    subprocess.run([interpreter("3.11"), "-c", code], check=True, cwd=shared_tmp)
    assert byte_code.stamp((shared_tmp / "x.pyc").read_bytes(), (3, 11), 10) == -1


def test_what_is_no_byte_code() -> None:
    """Too few bytes, other bytes, and times that Python 2 reads as negative fit no source."""
    for begins in (b"", b"\x03\xf3\r\n", b"PK\3\4" + bytes(12), b"\x03\xf3\r\n\xff\xff\xff\xff"):
        assert byte_code.stamp(begins, (2, 7), 10) is None


@pytest.mark.parametrize(
    ("entry", "source"),
    [
        ("pkg/x.pyc", "pkg/x.py"),
        ("pkg/x.pyo", "pkg/x.py"),
        ("pkg/__pycache__/x.cpython-36.pyc", "pkg/x.py"),
        ("pkg/__pycache__/y.cpython-311.opt-2.pyc", "pkg/y.py"),
        ("__pycache__/z.cpython-311.pyc", "z.py"),
        ("pkg/alone.pyc", None),
        ("pkg/__pycache__/z.cpython-311.pyc", None),
        ("pkg/x.py", None),
    ],
)
def test_whose_it_is(entry: str, source: str | None) -> None:
    """Byte code belongs to the source beside it, or beside its __pycache__; without one, to none."""
    assert byte_code.source_of(entry, FILES) == source
