"""Where a wrapper's text is written: nobody's lines are lost, and what is there is a whole file at every moment."""

from __future__ import annotations

import os
import pwd
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT
from support.emitted import executable
from support.httpd import Httpd, require
from support.judge import eggcache
from support.parts import missing

from eggcache.errors import EggcacheError, NotPermitted
from eggcache.system import accounts
from eggcache.wrappers import destination, emission

# For each kind of which the text becomes a block: what an administrator has in that file already, and what he adds.
THEIRS = {
    "envvars": ("ulimit -n 4096\nLANG=C \\\n", "export LANG\n"),
    "sysconfig": ("OPTIONS=-DSSL\nHTTPD=/usr/sbin/httpd.worker", "\nLANG=C\n"),
    "mod_python": ("ServerTokens Prod\n", "<Location /x>\nRequire all denied\n</Location>\n"),
    "mod_wsgi": ("WSGIRestrictStdout Off", "\nWSGILazyInitialization On\n"),
    "trac": ("SetEnv TRAC_ENV /srv/trac\n", "TimeOut 300\n"),
    "supervisord": ("[supervisord]\nuser=root\n[program:x]\ncommand=/bin/x\n\n[group:g]\nprograms=x\n", "priority=1\n"),
    "uwsgi": ("[uwsgi]\nsocket = /run/shop.sock\n[other]\nworkers = 2\n", "workers = 4\n"),
    "gunicorn": ("bind = 'unix:/run/shop'\n\n\ndef on_starting(server):\n    pass\n", "workers = 4\n"),
    "docker": ("FROM old\nUSER x\nFROM debian\nRUN pip install shop\nUSER www-data\nCMD shop\n", "EXPOSE 80\n"),
}
PARTS = sorted(kind for kind, registered in emission.KINDS.items() if registered.comment)
WHOLE = sorted({"envvars", *emission.KINDS} - (set(PARTS) - {"envvars"}))


@pytest.fixture
def emit(tmp_path: Path) -> Callable[..., str]:
    """A factory: emit(kind, directory, file) is `wrapper -o`, and returns what it says."""
    controls = {True: executable(tmp_path / "apache2ctl", ". $APACHE_ENVVARS"), False: executable(tmp_path / "a", "")}

    def run(kind: str, directory: str, file: Path, *, status: int = 0, debian: bool = False) -> str:
        result = eggcache(
            "wrapper", directory, "--for", kind, "--apachectl", controls[debian], "--pid-file", "/run/x.pid",
            "--unit", "apache2.service", "--python", sys.executable, "-o", file,
        )  # fmt: skip
        assert result.returncode == status, result.stderr
        assert result.stdout == ""
        return result.stderr

    return run


def test_every_part_is_tested() -> None:
    """A kind of which the text becomes a block is in the table of these tests."""
    assert set(THEIRS) == set(PARTS)


@pytest.mark.parametrize("kind", PARTS)
def test_only_the_block_is_renewed(tmp_path: Path, kind: str, emit: Callable[..., str]) -> None:
    """-o puts one block into a file and renews it there: all else, mode, owner and attributes stay."""
    file = tmp_path / "theirs"
    before, added = THEIRS[kind]
    file.write_text(before)
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 1, 2)
    try:
        os.setxattr(file, "user.mine", b"x")
    except OSError:
        missing("the file system of the temporary directory has no extended attributes")
    said = emit(kind, "/srv/one", file)
    assert f"eggcache: {file}: written\n" in said
    assert "\neggcache: next: " in said
    first = file.read_text()
    others = re.sub(r"(?ms)^[#;] begin of what eggcache.*^[#;] end of[^\n]*\n", "", first)
    assert others.split("\n\n")[0].rstrip() == before.split("\n\n")[0].rstrip()
    assert others.split() == before.split()
    assert len(re.findall("begin of what eggcache", first)) == 1
    file.write_text(first + added)
    inode = file.stat().st_ino
    assert "it has this text already: nothing was written" in emit(kind, "/srv/one", file)
    assert file.stat().st_ino == inode
    assert "is kept in" not in emit(kind, "/srv/two", file)
    assert file.read_text().count("eggcache wrote") == 2
    assert emit(kind, "/srv/one", file)
    assert file.read_text() == first + added
    info = file.stat()
    assert (info.st_mode & 0o7777, os.getxattr(file, "user.mine")) == (0o640, b"x")
    if os.geteuid() == 0:
        assert (info.st_uid, info.st_gid) == (1, 2)
    assert not list(tmp_path.glob("theirs.bak*"))
    assert not list(tmp_path.glob(".eggcache*"))


def test_blocks_of_two_kinds_are_beside_each_other(tmp_path: Path, emit: Callable[..., str]) -> None:
    """What the heads of mod_wsgi's and of Trac's text say, one after the other, gives a file with both, each of which
    is renewed alone, and a configuration that Apache takes."""
    file = tmp_path / "eggcache.conf"
    file.write_text("# mine\n")
    for kind in ("mod_wsgi", "trac", "mod_wsgi", "trac"):
        emit(kind, f"/srv/{kind}", file)
        assert "nothing was written" in emit(kind, f"/srv/{kind}", file)
    assert len(re.findall("(?m)^(?:WSGIPythonEggs .*/srv/mod_wsgi|SetEnv .*/srv/trac)", file.read_text())) == 2
    emit("trac", "/srv/new", file)
    assert re.findall("(?m)^(?:WSGIPythonEggs|SetEnv) .*(/srv/\\w+)", file.read_text()) == ["/srv/mod_wsgi", "/srv/new"]
    assert [path.name for path in tmp_path.glob("eggcache*")] == ["eggcache.conf"]
    require("wsgi", "env")
    server = Httpd(tmp_path / "httpd", f"Include {file}\n", "wsgi", "env")
    tested = server.ctl("configtest")
    assert tested.returncode == 0, tested.stderr


def test_no_two_kinds_have_one_head(tmp_path: Path, emit: Callable[..., str]) -> None:
    """The head of a block, by which it is found again, is its kind's alone."""
    heads = set()
    for kind in PARTS:
        (tmp_path / kind).write_text(THEIRS[kind][0])
        emit(kind, "/srv/x", tmp_path / kind)
        heads.update(re.findall("(?m)^[#;] .*Written by `eggcache wrapper`", (tmp_path / kind).read_text()))
    assert len(heads) == len(PARTS)


def test_block_is_where_the_program_reads_it(tmp_path: Path, emit: Callable[..., str]) -> None:
    """The block is in the program's section of supervisord's file, and before the USER of an image's last stage."""
    (tmp_path / "conf").write_text(THEIRS["supervisord"][0])
    emit("supervisord", "/srv/x", tmp_path / "conf")
    assert re.search(
        r"\[program:x\]\n; begin .*\nenvironment=.*\n; end .*\ncommand=", (tmp_path / "conf").read_text(), re.S
    )
    (tmp_path / "Dockerfile").write_text(THEIRS["docker"][0])
    emit("docker", "/srv/x", tmp_path / "Dockerfile")
    assert re.search(
        r"install shop\n# begin .*\nRUN \[.*\n# end .*\nUSER www", (tmp_path / "Dockerfile").read_text(), re.S
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is none in it"),
        ("[program:x]\n[program:y]\n", "there are 2 in it"),
        ("[program:x]\ncommand=a\nenvironment=A=1\n[other]\n", "can have one only"),
    ],
)
def test_block_that_supervisord_would_misread_is_not_written(
    tmp_path: Path, emit: Callable[..., str], text: str, says: str
) -> None:
    """Where supervisord would take the block for something else, or drop a line of somebody's, nothing is written."""
    (tmp_path / "conf").write_text(text)
    assert says in emit("supervisord", "/srv/x", tmp_path / "conf", status=1)
    assert (tmp_path / "conf").read_text() == text


@pytest.mark.parametrize("kind", WHOLE)
def test_changed_file_is_kept_beside_the_new_one(tmp_path: Path, kind: str, emit: Callable[..., str]) -> None:
    """A file of eggcache's own is renewed; where somebody has changed it, that is kept beside, each time."""
    file = tmp_path / ("apache2.service.d/50-eggcache.conf" if kind == "systemd" else "file")  # UNIT.d is made
    emit(kind, "/srv/one", file, debian=True)
    first = file.read_text()
    assert file.stat().st_mode & 0o7777 == (0o755 if emission.KINDS[kind].executable else 0o644)
    assert "nothing was written" in emit(kind, "/srv/one", file, debian=True)
    assert "is kept in" not in emit(kind, "/srv/two", file, debian=True)
    for number, name in enumerate(["file.bak", "file.bak2"]):
        changed = file.read_text().replace("\n", f"\n# mine {number}\n", 1)
        file.write_text(changed)
        kept = file.with_name(name.replace("file", file.name))
        assert f"is kept in {kept}\n" in emit(kind, "/srv/one", file, debian=True)
        assert kept.read_text() == changed
        assert file.read_text() == first


@pytest.mark.parametrize("change", ["# mine\n", ""])
def test_changed_block_is_kept_beside(tmp_path: Path, emit: Callable[..., str], change: str) -> None:
    """What somebody wrote into the block, or took out of it, is kept beside in the file as it was."""
    file = tmp_path / "httpd"
    emit("sysconfig", "/srv/one", file)
    changed = re.sub(r"(?m)^PYTHON_EGG_CACHE=.*\n", change, file.read_text())
    file.write_text(changed)
    assert "that is kept in" in emit("sysconfig", "/srv/one", file)
    assert (tmp_path / "httpd.bak").read_text() == changed


@pytest.mark.parametrize("edit", [lambda block: block * 2, lambda block: block[: len(block) // 2]])
def test_no_one_block(tmp_path: Path, emit: Callable[..., str], edit: Callable[[str], str]) -> None:
    """Where it cannot be told what the block is, nothing is written."""
    file = tmp_path / "httpd"
    emit("sysconfig", "/srv/one", file)
    edited = edit(file.read_text())
    file.write_text(edited)
    assert "take out all of these" in emit("sysconfig", "/srv/two", file, status=1)
    assert file.read_text() == edited


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("beside", [False, True])
def test_text_without_marks(tmp_path: Path, emit: Callable[..., str], kind: str, beside: bool) -> None:
    """What 0.1.0 wrote, which nothing marks, is not doubled: its line is named, also where a block is beside it, and
    when it is out the block goes in."""
    file = tmp_path / "theirs"
    file.write_text(THEIRS[kind][0])
    emit(kind, "/srv/one", file)
    whole = file.read_text()
    unmarked = re.sub("(?m)^[#;] (begin|end) of what eggcache wrote.*\n", "", whole)
    written = unmarked + (whole[whole.index(" begin of") - 1 :] if beside else "")
    file.write_text(written)
    said = emit(kind, "/srv/two", file, status=1)
    number = int(re.search(r"an earlier eggcache \(line (\d+)\)", said)[1])  # type: ignore[index]
    assert "Written by `eggcache wrapper`" in written.splitlines()[number - 1]
    assert file.read_text() == written
    file.write_text(whole)
    emit(kind, "/srv/two", file)


@pytest.mark.parametrize(
    "line", ["def on_starting(server):\n    pass\n", "on_starting = f\n", "from h import on_starting\n"]
)
def test_what_takes_the_place_of_a_block_is_named(tmp_path: Path, emit: Callable[..., str], line: str) -> None:
    """What takes the place of a block below it is named each time, by its line; above it, it is the block's to call."""
    file = tmp_path / "gunicorn.conf.py"
    file.write_text(line)
    assert "takes its place" not in emit("gunicorn", "/srv/one", file)
    file.write_text(file.read_text() + line)
    for directory in ("/srv/one", "/srv/two\nlonger"):
        said = emit("gunicorn", directory, file)
        number = file.read_text().splitlines().index(line.splitlines()[0], 3) + 1
        assert f"{file}: line {number}, below what eggcache wrote, takes its place: nothing prepares" in said


@pytest.mark.parametrize(("kind", "service"), [("sysconfig", "httpd"), ("freebsd", "apache24")])
def test_server_that_is_down_is_started(tmp_path: Path, emit: Callable[..., str], kind: str, service: str) -> None:
    """What is said to be next, the head of the text and its page start a server that does not run, whose stop fails."""
    commands = f"service {service} stop; service {service} start"
    file = tmp_path / "file"
    then = emit(kind, "/srv/x", file)
    assert re.search(rf"^eggcache: next: (?:.* && {{ {commands}; }}|{commands})$", then, re.MULTILINE), then
    assert f"\n# After:  {commands}\n" in file.read_text()
    page = (ROOT / "docs" / "howto" / f"{kind}.rst").read_text()
    assert set(re.findall(r"^    (service .*)", page, re.MULTILINE)) <= {commands}


def test_printed_and_appended(tmp_path: Path, emit: Callable[..., str]) -> None:
    """What was printed and appended by hand is the block that -o renews."""
    file = tmp_path / "envvars"
    result = eggcache("wrapper", "/srv/x", "--for", "sysconfig", "--python", sys.executable)
    file.write_text("LANG=C\n" + result.stdout)
    assert emit("sysconfig", "/srv/y", file)
    assert file.read_text().count("PYTHON_EGG_CACHE=") == 1
    assert file.read_text().startswith("LANG=C\n# begin")


def test_somebody_at_the_same_time(tmp_path: Path) -> None:
    """A file that somebody saves while it is renewed is his."""
    file = tmp_path / "conf"
    file.write_text("a\n")

    def position(_path: str, text: str) -> int:
        file.write_text("a\nb\n")
        return len(text)

    with pytest.raises(EggcacheError, match="meanwhile"):
        destination.insert(str(file), destination.block("x\n", "#"), position=position)
    assert file.read_text() == "a\nb\n"
    assert os.listdir(tmp_path) == ["conf"]


def test_root_renews_no_file_of_another_user(shared_tmp: Path) -> None:
    """In a directory of everybody's, root renews no file that is another user's."""
    if os.geteuid() != 0:
        missing("only root can give a file away")
    shared_tmp.chmod(0o1777)
    (shared_tmp / "conf").write_text("a\n")
    os.chown(shared_tmp / "conf", 65534, 65534)
    with pytest.raises(NotPermitted, match="belongs to"):
        destination.insert(
            str(shared_tmp / "conf"), destination.block("x\n", "#"), position=lambda _path, text: len(text)
        )
    assert (shared_tmp / "conf").read_text() == "a\n"


def test_written_whole_with_its_mode(tmp_path: Path) -> None:
    """A file is written byte for byte and executable whatever the umask, replaced as a whole, and nothing is left."""
    path = tmp_path / "script"
    before = os.umask(0o077)
    try:
        destination.write(str(path), destination.sealed("first, by eggcache\n"))
        held = path.open()
        destination.write(str(path), "caf\u00e9 \udcff\n")
    finally:
        os.umask(before)
    assert held.readline() == "first, by eggcache\n"  # who had opened the old one still reads the old one
    held.close()
    assert path.read_bytes() == b"caf\xc3\xa9 \xff\n"
    assert path.stat().st_mode & 0o7777 == 0o755
    assert os.listdir(tmp_path) == ["script"]


THEIR_OWN = {
    "without a word of it": "OPTIONS=\n",
    "override.conf": "[Service]\nLimitNOFILE=65536\nEnvironment=PYTHON_EGG_CACHE=/var/cache/eggcache\n",
    "start-site": "#!/bin/sh\n# as `eggcache wrapper` says\neggcache prepare /var/cache/eggcache && apachectl start\n",
    "with a block": "OPTIONS=\n" + destination.block("PYTHON_EGG_CACHE=/x\n", "#"),
}


@pytest.mark.parametrize("name", THEIR_OWN)
def test_write_spares_what_is_not_ours(tmp_path: Path, name: str, emit: Callable[..., str]) -> None:
    """A file that eggcache did not write is not replaced, whatever it says of eggcache."""
    file = tmp_path / "file"
    file.write_text(THEIR_OWN[name])
    for kind in ("systemd", "apachectl"):
        said = emit(kind, "/srv/x", file, status=1)
        assert f"{file}: it holds something else than eggcache wrote; remove it, or name another file\n" in said
    assert file.read_text() == THEIR_OWN[name]


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_file_without_its_last_line_is_ours(tmp_path: Path, kind: str, emit: Callable[..., str]) -> None:
    """What the first builds wrote, which had no last line, is renewed, and kept beside: nothing tells whether
    somebody changed it."""
    file = tmp_path / "file"
    emit(kind, "/srv/one", file, debian=True)
    text = file.read_text()
    unmarked = re.sub("(?m)^[#;] end of what eggcache wrote.*\n", "", text)
    file.write_text(unmarked)
    assert f"that is kept in {file}.bak" in emit(kind, "/srv/one", file, debian=True)
    assert (file.read_text(), Path(f"{file}.bak").read_text()) == (text, unmarked)


def test_write_follows_no_link(tmp_path: Path) -> None:
    """A link at the place of the file is refused, and what it leads to is not touched."""
    (tmp_path / "victim").write_text("whole")
    (tmp_path / "script").symlink_to("victim")
    with pytest.raises(
        NotPermitted, match=re.escape(f"symbolic link; name the file that it leads to: -o {tmp_path}/victim")
    ):
        destination.write(str(tmp_path / "script"), "text")
    assert (tmp_path / "victim").read_text() == "whole"
    assert sorted(os.listdir(tmp_path)) == ["script", "victim"]


def test_write_where_others_write(tmp_path: Path) -> None:
    """Where everybody could exchange the script it is not written; a sticky directory protects it."""
    tmp_path.chmod(0o777)
    with pytest.raises(NotPermitted, match="others can rename"):
        destination.write(str(tmp_path / "script"), "text")
    assert os.listdir(tmp_path) == []
    tmp_path.chmod(0o1777)
    destination.write(str(tmp_path / "script"), "text")


@pytest.mark.parametrize("place", ["directory", "fifo", "nowhere/script"])
def test_write_no_file(tmp_path: Path, place: str) -> None:
    """What is no file is not replaced by one, and an error is one line that names it."""
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(EggcacheError) as caught:
        destination.write(str(tmp_path / place), "text")
    assert str(tmp_path / place) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["directory", "fifo"]


def test_write_where_only_root_may(shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """Who may not write there is told who may."""
    with (
        accounts.acting(accounts.Account("nobody", nobody.pw_uid, nobody.pw_gid)),
        pytest.raises(NotPermitted) as caught,
    ):
        destination.write(str(shared_tmp / "script"), "text")
    line = f"{shared_tmp}/script: cannot be written: Permission denied; run it as root, or name another file"
    assert str(caught.value) == line
    assert os.listdir(shared_tmp) == []


def test_write_on_a_full_disk(tmp_path: Path) -> None:
    """Where the disk says no, the old file is whole and nothing is left beside it."""
    old = destination.sealed("old\n")
    (tmp_path / "script").write_text(old)
    code = f"from eggcache.wrappers import destination; destination.write({str(tmp_path / 'script')!r}, 'x' * 100000)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(Path(destination.__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000)),
        capture_output=True,
        text=True,
    )
    assert re.search(r"EggcacheError: .*script: cannot be written: File too large", result.stderr)
    assert (tmp_path / "script").read_text() == old
    assert os.listdir(tmp_path) == ["script"]
