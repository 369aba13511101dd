"""Files that may be anybody's: what is none is not opened, which may do something."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from eggcache.system import files


def test_fifo_is_not_opened(tmp_path: Path) -> None:
    """Who waits for a reader of a FIFO goes on waiting when a file of its name is asked for: nobody opened it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: os.close(os.open(fifo, os.O_WRONLY)), daemon=True)
    writer.start()
    try:
        for _ in range(20):  # by the last time the writer is waiting
            assert files.beginning(str(fifo)) == b""
            writer.join(0.02)
        assert writer.is_alive()
    finally:
        os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
        writer.join(10)
    assert not writer.is_alive()


@pytest.mark.parametrize("path", ["/dev/zero", "/", "/proc/self/fd/none", "nul\0"])
def test_nothing_but_a_regular_file_is_read(path: str) -> None:
    """A device, a directory, and what is not there are empty."""
    assert files.beginning(path) == b""


def test_link_is_followed_unless_told_not_to_be(tmp_path: Path) -> None:
    """The file that a link names is read, and not with O_NOFOLLOW; so is a file of /proc, whose size is 0."""
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to("file")
    assert files.beginning(str(tmp_path / "link"), 3) == b"tex"
    assert files.beginning(str(tmp_path / "link"), flags=os.O_NOFOLLOW) == b""
    assert files.beginning("/proc/self/mountinfo")


@pytest.mark.parametrize("other", ["directory", "fifo", "link", "absent", "longer", "different"])
def test_only_regular_files_have_the_same_bytes(other: str, tmp_path: Path) -> None:
    """What is no regular file has no bytes to compare, a link neither; and nothing stays open."""
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "copy").write_bytes(b"text")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "longer").write_bytes(b"text.")
    (tmp_path / "different").write_bytes(b"Text")
    before = os.listdir("/proc/self/fd")
    assert files.same_bytes(str(tmp_path / "file"), str(tmp_path / "copy"))
    assert not files.same_bytes(str(tmp_path / "file"), str(tmp_path / other))
    assert not files.same_bytes(str(tmp_path / other), str(tmp_path / "file"))
    assert os.listdir("/proc/self/fd") == before
