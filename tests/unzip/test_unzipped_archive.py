"""archive --unzipped: a tar archive of unzipped eggs, and the script that exchanges zips for them on another host."""

from __future__ import annotations

import io
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.judge import eggcache, environment, listing, watched
from support.parts import missing
from support.sites import write_egg
from support.zips import Entry, make

from eggcache import Host, Target, archive_unzipped
from eggcache.errors import UsageError
from eggcache.model import Report
from eggcache.unzip.unzipped_archive import SCRIPT, STAGE

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
NAMES = ("One-1.0-py2.7.egg", "Two words-1.0-py2.7.egg")
MAGIC = b"\x03\xf3\r\n"  # of 2.7
STAMP = 1_234_567_890
CURRENT = MAGIC + STAMP.to_bytes(4, "little") + b"code"


def made_eggs(directory: Path) -> None:
    """Two eggs: one that a group alone may read, of another owner, and one with all that is special."""
    directory.mkdir()
    make(directory / NAMES[0], Entry(b"one/__init__.py", b"one = 1\n"), Entry(b"one/__init__.pyc", CURRENT))
    os.chown(directory / NAMES[0], 12345, 23456)
    (directory / NAMES[0]).chmod(0o640)
    make(
        directory / NAMES[1],
        Entry(b"two/__init__.py"),
        Entry(b"two/native.so", b"\x7fELF"),
        Entry(b"two/a b.txt", b"text"),
        Entry("two/ä.txt".encode(), b"text", both={"flags": 0x800}),
        Entry(b"two/empty/", method=0, central={"attributes": 0o040755 << 16}),
    )


def tree(directory: Path) -> dict[str, tuple[object, ...]]:
    """Name, mode, owner and bytes of everything below a directory, and the mtimes of files; not what is eggcache's."""
    entries: dict[str, tuple[object, ...]] = {}
    for path in directory.rglob("*"):
        name = str(path.relative_to(directory))
        if name.split("/")[0] != STAGE:
            info = path.lstat()
            content = (path.read_bytes(), info.st_mtime) if path.is_file() else ("directory",)
            entries[name] = (oct(info.st_mode), info.st_uid, info.st_gid, *content)
    return entries


def commands(result: subprocess.CompletedProcess[str]) -> list[str]:
    """What was printed to be run on the host."""
    return [line.strip() for line in result.stdout.splitlines() if line.startswith("  ")]


@dataclass
class Other:
    """A directory of eggs of another host, in which an archive was extracted."""

    eggs: Path
    shell: Sequence[str] = ("dash",)
    path: str = "/usr/sbin:/usr/bin:/sbin:/bin"

    @property
    def stage(self) -> Path:
        return self.eggs / STAGE

    def run(
        self, *options: str | Path, env: Mapping[str, str] = {}, user: str | None = None, own_session: bool = False
    ) -> subprocess.CompletedProcess[str]:
        env = environment({"PATH": self.path, **env})
        return subprocess.run(
            [shutil.which(self.shell[0]) or "", *self.shell[1:], self.stage / SCRIPT, *options], env=env,
            cwd="/", capture_output=True, text=True, timeout=60, check=False, user=user,
            group=pwd.getpwnam(user).pw_gid if user else None, start_new_session=own_session,
        )  # fmt: skip


@pytest.fixture(scope="module")
def small(where: Path) -> Iterator[tuple[Path, Path]]:
    """Two eggs, and their archive: for the directory "/host/eggs", which tests exchange for their own."""
    if os.geteuid() != 0:
        missing("only root can own what another user owns")
    place = Path(tempfile.mkdtemp(prefix="unzipped-", dir=where))
    place.chmod(0o755)
    made_eggs(place / "eggs")
    result = eggcache(
        "archive", place / "x.tar", "--unzipped", "--eggs-in", place / "eggs", "--site-packages", "/host/eggs"
    )
    assert result.returncode == 0, result.stderr
    yield place / "eggs", place / "x.tar"
    shutil.rmtree(place)


@pytest.fixture
def host(small: tuple[Path, Path], shared_tmp: Path) -> Other:
    """The two eggs in another directory, with the archive extracted there."""
    shutil.copytree(small[0], shared_tmp / "eggs")
    for name in NAMES:
        info = (small[0] / name).stat()
        os.chown(shared_tmp / "eggs" / name, info.st_uid, info.st_gid)
    move = ["--strip-components=2", "-C", shared_tmp / "eggs"]
    subprocess.run(["tar", "-xpf", small[1], *move], check=True)
    return Other(shared_tmp / "eggs")


# ---------------------------------------------------------------------------------------------------- real trees

# Imports what it is told to, with all that this requires.
_IMPORT = "import pkg_resources, sys; pkg_resources.require(sys.argv[1]); __import__(sys.argv[2])"

# How many of the sources named on stdin have byte code that this Python takes for current, and which have none.
_STAMPS = r"""
import os, struct, sys
if sys.version_info[0] == 2:
    import imp
    magic, at, place = imp.get_magic(), 4, lambda path: path + "c"
else:
    import importlib.util as util
    magic, at, place = util.MAGIC_NUMBER, 8, util.cache_from_source
count, wrong = 0, []
for path in sys.stdin.read().splitlines():
    data = b""
    if os.path.exists(place(path)):
        data = open(place(path), "rb").read(16)
    if data[:4] == magic and struct.unpack("<I", data[at:at + 4])[0] == int(os.stat(path).st_mtime):
        count += 1
    else:
        try:
            compile(open(path, "rb").read(), path, "exec", 0, 1)
        except Exception:
            continue
        wrong.append(path)
print(repr((count, wrong)))
"""


@pytest.mark.parametrize(
    ("name", "root", "module"),
    [("turbogears1_complete", "TurboGears", "turbogears"), ("turbogears2_311", "TurboGears2", "tg")],
)
def test_as_unzip_all_leaves_it(
    request: pytest.FixtureRequest,
    copy_of: Callable[[Deployment], Deployment],
    nobody: pwd.struct_passwd,
    shared_tmp: Path,
    name: str,
    root: str,
    module: str,
) -> None:
    """Of a real tree, the script leaves what unzip-all leaves; the target then has no byte code to write, and attempts
    none; and the way back leads to each zip as it was."""
    made = copy_of(request.getfixturevalue(name))
    before = tree(made.site_packages)
    archive = shared_tmp / "x.tar.gz"
    result = eggcache("archive", archive, "--unzipped", root, "--python", made.python, "--user", nobody.pw_name)
    assert result.returncode == 0, result.stderr
    command = " && ".join(commands(result))
    assert command.startswith("tar -xzpf x.tar.gz -C / && sh /")
    ran = subprocess.run(command, shell=True, cwd=shared_tmp, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "restart every server that uses these eggs" in ran.stdout
    put = said(made)
    sources = "\n".join(map(str, made.site_packages.glob("*.egg/**/*.py")))
    stamps = subprocess.run([made.python, "-c", _STAMPS], input=sources, capture_output=True, text=True, check=True)
    count, wrong = eval(stamps.stdout)
    assert wrong == []
    assert count > 100
    imported, attempts = watched([str(made.python), "-c", _IMPORT, root, module], nobody, env=environment())
    assert imported.returncode == 0, imported.stderr
    assert [attempt for attempt in attempts if str(made.site_packages) in attempt] == []
    back = Other(made.site_packages).run("--undo")
    assert back.returncode == 0, back.stderr
    assert tree(made.site_packages) == before
    unzipped = eggcache("unzip-all", root, "--python", made.python)
    assert unzipped.returncode == 0, unzipped.stderr
    assert said(made) == put
    assert len(put) > 300


def said(made: Deployment) -> dict[str, tuple[object, ...]]:
    """What is to be the same of unzipped eggs: all but dates, and what compilers write."""
    inside = {name: fact for name, fact in tree(made.site_packages).items() if ".egg" in name}
    return {name: fact[:3] + (() if name.endswith(".pyc") else fact[3:4]) for name, fact in inside.items()}


# ------------------------------------------------------------------------------------------------------ the script


@pytest.mark.parametrize("shell", SHELLS)
def test_there_and_back(host: Other, shared_tmp: Path, shell: str) -> None:
    """In each shell, busybox's with no other utilities than its own: the directories have the owner, the group and the
    rights of their zips; again there is nothing to do; the zips come back as they were; and all of it once more."""
    if not shutil.which(SHELLS[shell][0]):
        missing(f"there is no {shell}")
    host.shell = SHELLS[shell]
    if shell == "busybox":
        host.path = str(shared_tmp / "bin")
        os.mkdir(host.path)
        for applet in subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
            os.symlink(shutil.which("busybox") or "", f"{host.path}/{applet}")
    before = tree(host.eggs)
    for _ in range(2):
        result = host.run()
        assert (result.returncode, result.stderr) == (0, ""), result.stderr
        assert [line.partition("/eggs/")[2] for line in result.stdout.splitlines()[:2]] == [
            f"{name}: unzipped" for name in NAMES
        ]
        after = tree(host.eggs)
        assert after[NAMES[0]][:3] == ("0o40750", 12345, 23456)
        assert after[f"{NAMES[0]}/one/__init__.py"] == ("0o100640", 12345, 23456, b"one = 1\n", STAMP)
        assert after[f"{NAMES[0]}/one/__init__.pyc"][:4] == ("0o100640", 12345, 23456, CURRENT)
        assert after[f"{NAMES[1]}/two"][:3] == ("0o40755", 0, 0)
        assert after[f"{NAMES[1]}/two/native.so"][:4] == ("0o100755", 0, 0, b"\x7fELF")
        assert after[f"{NAMES[1]}/two/ä.txt"][:4] == ("0o100644", 0, 0, b"text")
        assert after[f"{NAMES[1]}/two/empty"] == ("0o40755", 0, 0, "directory")
        assert stat.S_IMODE((host.stage / "zips").stat().st_mode) == 0o700
        again = host.run()
        assert (again.returncode, again.stdout, again.stderr) == (0, "nothing to do\n", "")
        assert tree(host.eggs) == after
        back = host.run("--undo")
        assert (back.returncode, back.stderr) == (0, ""), back.stderr
        assert tree(host.eggs) == before
        assert not (host.stage / "zips").exists()
        assert host.run("--undo").stdout == "nothing to do\n"
    lists = [path.name for path in host.stage.glob("*.list")]
    assert len(lists) == 1
    assert sorted(os.listdir(host.stage)) == sorted([*(f"{name}.unzipped" for name in NAMES), "eggs", *lists, SCRIPT])


def test_dry_run_says_what_would_be_done_both_ways(host: Other) -> None:
    """-n says what would be done in both directions, and writes nothing."""
    for undo, what in ((), "would be unzipped"), (("--undo",), "its zip would be put back"):
        before = listing(host.eggs)
        result = host.run("-n", *undo)
        told = [f"{host.eggs}/{name}: {what}" for name in NAMES]
        assert (result.returncode, result.stdout.splitlines(), result.stderr) == (0, told, "")
        assert listing(host.eggs) == before
        host.run()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["beside", "another file system"])
def test_killed_at_each_step(host: Other, shared_tmp: Path, elsewhere: bool) -> None:
    """Killed before any of its steps, in either direction, the script completes when it is run again. In the meantime
    each egg is its zip, its directory, or missing with its zip kept."""
    backup = Path(tempfile.mkdtemp(dir="/dev/shm")) if elsewhere else host.stage / "zips"
    assert not elsewhere or backup.stat().st_dev != host.eggs.stat().st_dev
    options = ["--backup", backup] if elsewhere else []
    env = {"PATH": f"{counted_steps(shared_tmp)}:{host.path}", "COUNT": str(shared_tmp / "count")}
    before = tree(host.eggs)
    copied = shared_tmp / "before"
    subprocess.run(["cp", "-a", host.eggs, copied], check=True)
    host.run(*options)
    after = tree(host.eggs)
    try:
        for undo, wanted in ([], after), (["--undo"], before):
            for last in range(1, 99):
                if not undo:
                    shutil.rmtree(host.eggs)
                    subprocess.run(["cp", "-a", copied, host.eggs], check=True)
                    for name in os.listdir(backup) if backup.exists() else []:
                        (backup / name).unlink()
                elif last > 1:
                    host.run(*options)
                (shared_tmp / "count").write_text("0\n")
                result = host.run(*undo, *options, env={**env, "LAST": str(last)}, own_session=True)
                for name in NAMES:
                    assert (host.eggs / name).exists() or (backup / name).read_bytes() == before[name][3]
                again = host.run(*undo, *options)
                assert (again.returncode, again.stderr, tree(host.eggs)) == (0, "", wanted), last
                if result.returncode == 0:
                    break
                assert result.returncode == -signal.SIGKILL, result.stderr
            assert last > 10
            assert sorted(os.listdir(backup) if backup.exists() else []) == ([] if undo else sorted(NAMES))
            if elsewhere:  # back is the same but for the copying, which has been killed
                break
    finally:
        if elsewhere:
            shutil.rmtree(backup)


@pytest.mark.parametrize("undo", [False, True], ids=["there", "back"])
def test_ended_while_an_egg_is_missing(host: Other, shared_tmp: Path, undo: bool) -> None:
    """A signal that comes between the removal of an egg and the renaming has to wait: no egg is missing afterwards."""
    if undo:
        host.run()
    (shared_tmp / "mv").write_text(
        f'#!/bin/sh\ncase $3 in\n*.egg) kill -TERM 0 ;;\nesac\nexec {shutil.which("mv")} "$@"\n'
    )
    (shared_tmp / "mv").chmod(0o755)
    result = host.run(*["--undo"] * undo, env={"PATH": f"{shared_tmp}:{host.path}"}, own_session=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert [(host.eggs / name).is_file() for name in NAMES] == [undo] * 2


def counted_steps(place: Path) -> Path:
    """A directory for PATH, whose programs do what theirs do. Before that whose turn it is ($LAST), all are killed; in
    the midst of it, where it copies."""
    steps = place / "steps"
    steps.mkdir()
    for step in ("mkdir", "ln", "cp", "chown", "chmod", "mv", "rm", "sync"):
        half = 'head -c 9 "$2" >"$3"' if step == "cp" else ":"
        (steps / step).write_text(
            '#!/bin/sh\nread -r count <"$COUNT"\ncount=$((count + 1))\necho $count >"$COUNT"\n'
            f'[ $count -ne "$LAST" ] || {{ {half}; kill -9 0; }}\n'
            f'exec {shutil.which(step)} "$@"\n'
        )
        (steps / step).chmod(0o755)
    return steps


def other_zip(host: Other) -> None:
    """Another release of it was installed."""
    make(host.eggs / NAMES[0], Entry(b"one/__init__.py", b"one = 2\n"))


def link(host: Other) -> None:
    """It is a link."""
    (host.eggs / NAMES[0]).rename(host.eggs / "elsewhere")
    (host.eggs / NAMES[0]).symlink_to("elsewhere")


def directory(host: Other) -> None:
    """Somebody else has unzipped it."""
    (host.eggs / NAMES[0]).unlink()
    (host.eggs / NAMES[0]).mkdir()


def gone(host: Other) -> None:
    """It is not installed."""
    (host.eggs / NAMES[0]).unlink()


def cut_off(host: Other) -> None:
    """The disk was full when tar extracted it."""
    os.truncate(host.stage / f"{NAMES[0]}.unzipped/one/__init__.pyc", 3)


def lost(host: Other) -> None:
    """It was not extracted."""
    shutil.rmtree(host.stage / f"{NAMES[0]}.unzipped")


def kept_other(host: Other) -> None:
    """The backup has another zip of that name."""
    (host.stage / "zips").mkdir(0o700)
    (host.stage / "zips" / NAMES[0]).write_text("another")


REFUSED = [
    (other_zip, 3, "it is not the zip that the archive was made of"),
    (link, 3, "it is a symbolic link"),
    (directory, 3, "it is a directory already"),
    (gone, 3, "there is no such egg"),
    (cut_off, 1, "it is not what the archive has"),
    (lost, 1, "it is missing"),
    (kept_other, 3, "it is another zip of that name"),
]


@pytest.mark.parametrize(("harm", "status", "why"), REFUSED, ids=[harm[0].__name__ for harm in REFUSED])
def test_an_egg_that_is_left(host: Other, harm: Callable[[Other], None], status: int, why: str) -> None:
    """An egg that is not as it was when the archive was made, or whose directory is not, stays as it is, and one line
    names it, the cause and a remedy; the other egg is unzipped."""
    harm(host)
    before = {name: fact for name, fact in tree(host.eggs).items() if not name.startswith(NAMES[1])}
    result = host.run()
    assert result.returncode == status
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"put-in-place: {host.eggs}")
    assert f"{NAMES[0]}" in line
    assert f": {why}" in line
    assert "; " in line
    assert {name: fact for name, fact in tree(host.eggs).items() if not name.startswith(NAMES[1])} == before
    assert (host.eggs / NAMES[1]).is_dir()


def test_the_worse_of_two(host: Other) -> None:
    """Where one egg fails and another is left as it is, the exit status is that of the failure."""
    cut_off(host)
    make(host.eggs / NAMES[1], Entry(b"two/__init__.py", b"two = 2\n"))
    result = host.run()
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 2)


def test_remedies_are_followed(small: tuple[Path, Path], host: Other) -> None:
    """What the script says of a directory that is not the archive's, and of one that is there, is run as it stands."""
    cut_off(host)
    said = host.run().stderr
    subprocess.run(said.partition("remove it (")[2].partition(")")[0], shell=True, check=True)
    subprocess.run(["tar", "-xpf", small[1], "--strip-components=2", "-C", host.eggs], check=True)
    assert host.run().returncode == 0
    assert not list(host.stage.glob("*.unzipped")), "what was extracted again is removed"
    assert host.run("--undo").returncode == 0
    directory(host)
    subprocess.run(host.run().stderr.partition("leave it so: ")[2], shell=True, check=True)
    assert host.run().returncode == 0


def test_another_zip_stays_when_the_others_go_back(host: Other) -> None:
    """--undo leaves an egg that was installed anew, and the zip in the backup."""
    host.run()
    shutil.rmtree(host.eggs / NAMES[0])
    other_zip(host)
    (host.stage / f"{NAMES[0]}.unzipped").mkdir()
    before = (host.eggs / NAMES[0]).read_bytes()
    result = host.run("--undo")
    assert result.returncode == 3
    assert "it is another zip than the one in the backup" in result.stderr
    assert (host.eggs / NAMES[0]).read_bytes() == before
    assert (host.stage / "zips" / NAMES[0]).exists()
    assert (host.eggs / NAMES[1]).is_file()


def test_what_was_changed_is_kept(host: Other) -> None:
    """A file that somebody has changed in a directory is set aside by --undo, not lost."""
    host.run()
    (host.eggs / NAMES[0] / "one/__init__.py").write_text("one = 'mine'\n")
    assert host.run("--undo").returncode == 0
    assert (host.stage / f"{NAMES[0]}.unzipped/one/__init__.py").read_text() == "one = 'mine'\n"
    result = host.run()
    assert (result.returncode, (host.eggs / NAMES[0]).is_file()) == (1, True)
    assert "it is not what the archive has" in result.stderr


def test_only_the_owner(small: tuple[Path, Path], host: Other, nobody: pwd.struct_passwd) -> None:
    """Who does not own the directory of the eggs, root included, is told who does, and nothing is done. Root does what
    that says, and the owner then extracts and runs it himself."""
    host.stage.chmod(0o755)
    (host.stage / SCRIPT).chmod(0o644)
    before = listing(host.eggs)
    result = host.run(user=nobody.pw_name)
    assert result.returncode == 4
    assert f"{host.eggs}: it belongs to user 0, and you are user {nobody.pw_uid}" in result.stderr
    assert listing(host.eggs) == before
    os.chown(host.eggs, nobody.pw_uid, nobody.pw_gid)
    result = host.run()
    assert result.returncode == 4
    said = result.stderr
    assert f"it belongs to user 0, and the directory of the eggs to user {nobody.pw_uid}" in said
    subprocess.run(said.partition("remove it as user 0 (")[2].partition(")")[0], shell=True, check=True)
    for name in NAMES:
        os.chown(host.eggs / name, nobody.pw_uid, nobody.pw_gid)
    with small[1].open("rb") as archive:
        subprocess.run(
            ["tar", "-xpf", "-", "--strip-components=2", "-C", host.eggs], stdin=archive, check=True,
            user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[],
        )  # fmt: skip
    result = host.run(user=nobody.pw_name)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_owner_who_is_not_root(host: Other, nobody: pwd.struct_passwd) -> None:
    """The owner of the directory unzips an egg of his own; that of somebody else he cannot, and is told to ask root."""
    os.chown(host.eggs / NAMES[1], nobody.pw_uid, nobody.pw_gid)
    for path in (host.eggs, host.stage, *host.stage.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    (host.eggs / NAMES[0]).chmod(0o644)
    result = host.run(user=nobody.pw_name)
    assert result.returncode == 4
    assert "its zip belongs to user 12345: only root can give it to that user; run this as root" in result.stderr
    assert (host.eggs / NAMES[0]).is_file()
    assert tree(host.eggs)[f"{NAMES[1]}/two/native.so"][:3] == ("0o100755", nobody.pw_uid, nobody.pw_gid)


@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        (["-x"], 2, "-x: there is no such option"),
        (["--backup"], 2, "--backup: it names a directory"),
        (["--backup", "/tmp"], 4, "/tmp: others may write there"),
        (["--undo", "--backup", "/nowhere"], 1, "--backup /nowhere: there is no such directory"),
        (["--backup", "/nowhere/at/all"], 1, "/nowhere/at/all: it cannot be made"),
    ],
)
def test_options_that_do_not_do(host: Other, options: list[str], status: int, why: str) -> None:
    """A wrong option or backup directory is one line, and nothing is done."""
    before = listing(host.eggs)
    result = host.run(*options)
    assert result.returncode == status
    assert len(result.stderr.splitlines()) == 1
    assert why in result.stderr
    after = listing(host.eggs)
    for said in (before, after):  # the lock came and went
        del said[str(host.stage)]
    assert after == before


def test_two_at_once(host: Other) -> None:
    """While one is at work, another one ends with 75; a lock that a killed one has left is in nobody's way."""
    (host.stage / "lock").write_text(f"{os.getpid()}\n")
    result = host.run()
    assert (result.returncode, f"process {os.getpid()} holds it" in result.stderr) == (75, True)
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout
    (host.stage / "lock").write_text(gone)
    assert host.run().returncode == 0
    assert not (host.stage / "lock").exists()


def test_the_lock_comes_first(host: Other) -> None:
    """Of two first runs the second one ends with 75, and makes no backup directory."""
    (host.stage / "lock").write_text(f"{os.getpid()}\n")
    assert host.run("--backup", "/nowhere/at/all").returncode == 75
    assert host.run().returncode == 75
    assert not (host.stage / "zips").exists()


# As mv, but it is killed in the midst of a copy, where the kernel does not rename.
_KILLED_MV = """#!{python}
import os, shutil, signal, sys
_, _, source, target = sys.argv
try:
    os.rename(source, target)
except OSError:
    shutil.copytree(source, target)
    for name in os.listdir(target):
        shutil.rmtree(os.path.join(target, name))
        break
    if {killed}:
        os.killpg(0, signal.SIGKILL)
    sys.exit("mv: " + source + ": no space left\\non this device")
"""


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "disk full"])
def test_directories_that_cannot_be_renamed(host: Other, shared_tmp: Path, killed: bool) -> None:
    """On overlayfs, which renames no directory of an image, an interrupted copy is no egg: each stays its zip, one line
    says so where the disk is full, and the next run completes, also the way back."""
    lower, upper = shared_tmp / "lower", shared_tmp / "upper"
    before = tree(host.eggs)
    host.eggs.rename(lower)
    for path in (host.eggs, upper / "new", upper / "work"):
        path.mkdir(parents=True)
    layers = f"lowerdir={lower},upperdir={upper}/new,workdir={upper}/work"
    mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, host.eggs], check=False)
    if mounted.returncode:
        missing("no overlayfs can be mounted")
    try:
        with pytest.raises(OSError, match="cross-device"):
            (host.stage / f"{NAMES[0]}.unzipped").rename(shared_tmp / "eggs" / "x")
        (shared_tmp / "mv").write_text(_KILLED_MV.format(python=sys.executable, killed=killed))
        (shared_tmp / "mv").chmod(0o755)
        result = host.run(env={"PATH": f"{shared_tmp}:{host.path}"}, own_session=True)
        assert result.returncode == (-signal.SIGKILL if killed else 1)
        assert len(result.stderr.splitlines()) == (0 if killed else 2)
        assert tree(host.eggs) == before
        result = host.run()
        assert (result.returncode, result.stderr) == (0, "")
        assert (host.eggs / NAMES[0] / "one/__init__.pyc").read_bytes() == CURRENT
        assert (host.eggs / NAMES[1] / "two/native.so").exists()
        assert not list(host.stage.glob("*.part"))
        assert host.run("--undo").returncode == 0
        assert tree(host.eggs) == before
    finally:
        subprocess.run(["umount", host.eggs], check=True)


def test_a_copy_in_part_makes_room_for_the_zip(host: Other, shared_tmp: Path) -> None:
    """Where mv fails in the midst of an exchange, the zip is back at once, and one line says why."""
    before = tree(host.eggs)
    failing = 'mkdir "$3"; printf "one\\ntwo\\n" >&2; exit 1'
    failing = f'#!/bin/sh\ncase $3 in\n*.egg) {failing} ;;\nesac\nexec {shutil.which("mv")} "$@"\n'
    (shared_tmp / "mv").write_text(failing)
    (shared_tmp / "mv").chmod(0o755)
    result = host.run(env={"PATH": f"{shared_tmp}:{host.path}"})
    assert (result.returncode, [line[-50:] for line in result.stderr.splitlines()]) == (
        1, ["exchanged: one two; see to that and run this again"] * 2
    )  # fmt: skip
    assert tree(host.eggs) == before
    assert host.run().returncode == 0


def test_part_of_an_egg_is_not_taken_for_it(small: tuple[Path, Path], host: Other) -> None:
    """Where the archive was extracted again, an egg that lacks a part of it is named, and both remedies work; what
    Python has added to an egg is no fault."""
    for remedy in ("keep it: ", "or else remove it: "):
        host.run()
        (host.eggs / NAMES[0] / "one/__init__.pyc").unlink(missing_ok=True)
        (host.eggs / NAMES[1] / "two/__init__.pyc").write_bytes(CURRENT)
        subprocess.run(["tar", "-xpf", small[1], "--strip-components=2", "-C", host.eggs], check=True)
        result = host.run()
        assert result.returncode == 3
        (line,) = result.stderr.splitlines()
        assert f"{NAMES[0]}: it is not what the archive has" in line
        command = line.partition(remedy)[2].partition("; ")[0].removesuffix(", and run this again")
        subprocess.run(command, shell=True, check=True)
        assert host.run().returncode == 0
    assert (host.eggs / NAMES[0] / "one/__init__.pyc").read_bytes() == CURRENT


def test_a_backup_that_is_shared(host: Other, shared_tmp: Path) -> None:
    """Two directories of eggs with one --backup both get their zips back; what the list does not name, or is another
    zip than it says, is not touched, and an egg whose zip is nowhere is named."""
    other = Other(shared_tmp / "others")
    subprocess.run(["cp", "-a", host.eggs, other.eggs], check=True)
    before = tree(host.eggs)
    backup = shared_tmp / "backup"
    for item in (host, other):
        assert item.run("--backup", backup).returncode == 0
    result = host.run("--undo")
    assert (result.returncode, result.stderr.count("its zip is not in")) == (3, 2)
    for name in ("Foreign-1.0.egg", "site.py"):
        (backup / name).write_text("foreign")
        (other.eggs / name).mkdir()
    for item in (host, other):
        result = item.run("--undo", "--backup", backup)
        assert (result.returncode, result.stderr) == (0, "")
    assert tree(host.eggs) == before
    assert [(other.eggs / name).is_dir() for name in (*NAMES, "Foreign-1.0.egg", "site.py")] == [
        False,
        False,
        True,
        True,
    ]
    assert host.run("--backup", backup).returncode == 0
    (backup / NAMES[0]).write_text("damaged")
    result = host.run("--undo", "--backup", backup)
    assert result.returncode == 3
    assert [(host.eggs / name).is_dir() for name in NAMES] == [True, False]


def extract(host: Other, place: Path, name: str, *entries: Entry) -> None:
    """Install an egg there, and extract an archive of it alone, which is made elsewhere."""
    place.mkdir()
    egg = make(place / name, *entries)
    shutil.copy(egg, host.eggs / name)
    archive = place / "x.tar"
    result = eggcache("archive", archive, "--unzipped", "--eggs-in", place, "--site-packages", "/host/eggs")
    assert result.returncode == 0, result.stderr
    subprocess.run(["tar", "-xpf", archive, "--strip-components=2", "-C", host.eggs], check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_second_archive_leaves_the_way_back_of_the_first(host: Other, shared_tmp: Path, shell: str) -> None:
    """Where a third egg is installed later, and an archive of it alone is extracted, --undo puts all three zips back;
    where the lists of the archives are lost, it names each zip that stays behind."""
    if not shutil.which(SHELLS[shell][0]):
        missing(f"there is no {shell}")
    host.shell = SHELLS[shell]
    zips = tree(host.eggs)
    assert host.run().returncode == 0
    extract(host, shared_tmp / "more", "Three-1.0-py2.7.egg", Entry(b"three.py"))
    zips.update({name: fact for name, fact in tree(host.eggs).items() if name.startswith("Three")})
    result = host.run()
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{host.eggs}/Three-1.0-py2.7.egg: unzipped\n")
    copied = Other(shared_tmp / "copied", host.shell)
    subprocess.run(["cp", "-a", host.eggs, copied.eggs], check=True)
    would = host.run("-n", "--undo")
    assert (would.returncode, would.stdout.count("its zip would be put back"), would.stderr) == (0, 3, "")
    result = host.run("--undo")
    assert (result.returncode, result.stderr, tree(host.eggs)) == (0, "", zips)
    assert host.run("--undo").stdout == "nothing to do\n"
    for path in copied.stage.glob("*.list"):
        path.unlink()
    result = copied.run("--undo")
    assert (result.returncode, [f"zips/{name}: no list of an archive" in result.stderr for name in NAMES]) == (
        3,
        [True] * 2,
    )
    assert [(copied.eggs / name).is_dir() for name in (*NAMES, "Three-1.0-py2.7.egg")] == [True, True, False]


def test_a_second_archive_of_the_same_name(host: Other, shared_tmp: Path) -> None:
    """Of an egg that the last archive and an earlier one have, the last one counts; of one that two earlier ones have,
    the one whose zip is kept."""
    host.run()
    shutil.rmtree(host.eggs / NAMES[0])
    extract(host, shared_tmp / "again", NAMES[0], Entry(b"one/__init__.py", b"one = 2\n"))
    again = (host.eggs / NAMES[0]).read_bytes()
    result = host.run()
    assert (result.returncode, "it is another zip of that name" in result.stderr) == (3, True)
    assert host.run("--backup", shared_tmp / "backup").returncode == 0
    result = host.run("--undo")
    assert (result.returncode, result.stderr.count(f"{NAMES[0]}: its zip is not in")) == (3, 1)
    assert [(host.eggs / name).is_file() for name in NAMES] == [False, True]
    extract(host, shared_tmp / "more", "Three-1.0-py2.7.egg", Entry(b"three.py"))
    result = host.run("--undo", "--backup", shared_tmp / "backup")
    assert (result.returncode, (host.eggs / NAMES[0]).read_bytes()) == (0, again), result.stderr


def test_a_path_with_a_quote(small: tuple[Path, Path], host: Other, shared_tmp: Path) -> None:
    """What the script prints to be run is a command of a shell in whatever directory the eggs are."""
    odd = Other(shared_tmp / 'it\'s "here" $HOME')
    host.eggs.rename(odd.eggs)
    zips = tree(odd.eggs)
    cut_off(odd)
    said = odd.run("--backup", shared_tmp / "ba'ckup").stderr
    subprocess.run(said.partition("remove it (")[2].rpartition(")")[0], shell=True, check=True)
    subprocess.run(["tar", "-xpf", small[1], "--strip-components=2", "-C", odd.eggs], check=True)
    result = odd.run("--backup", shared_tmp / "ba'ckup")
    assert result.returncode == 0, result.stderr
    command = result.stdout.partition("the way back: ")[2]
    back = subprocess.run(command, shell=True, env=environment({"PATH": odd.path}), capture_output=True, check=False)
    assert (back.returncode, back.stderr) == (0, b"")
    assert tree(odd.eggs) == zips


def test_the_longest_name(host: Other, shared_tmp: Path) -> None:
    """An egg whose name is so long that the script's own would be none of a file is named, and is not in the archive;
    one that is as long as may be goes there and back."""
    longest = f"{'L' * 227}-1.0-py2.7.egg"
    (shared_tmp / "long").mkdir()
    make(shared_tmp / "long" / f"L{longest}", Entry(b"long.py"))
    said, entries = written(shared_tmp / "long")
    (finding,) = said.findings
    assert (finding.code, finding.status, finding.thing) == ("egg-refused", 3, f"{shared_tmp}/long/L{longest}")
    assert "its name has 242 bytes" in finding.cause
    assert not [name for name in entries.getnames() if "LL" in name]
    extract(host, shared_tmp / "more", longest, Entry(b"long.py"))
    for options, is_directory in ((), True), (("--undo",), False):
        result = host.run(*options)
        assert (result.returncode, result.stderr, (host.eggs / longest).is_dir()) == (0, "", is_directory)


def test_without_md5sum(host: Other, shared_tmp: Path) -> None:
    """Where the host has no md5sum, one line says so, and nothing is done."""
    for name in ("dirname", "id", "ls", "tr"):
        (shared_tmp / name).symlink_to(shutil.which(name) or "")
    before = listing(host.eggs)
    result = host.run(env={"PATH": str(shared_tmp)})
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert "md5sum: there is no such command" in result.stderr
    assert listing(host.eggs) == before


def test_the_script_is_posix() -> None:
    """shellcheck and checkbashisms have nothing to say about the script."""
    script = ROOT / "eggcache" / "unzip" / SCRIPT
    for command in (["shellcheck", "-s", "sh"], ["checkbashisms", "--posix"]):
        if not shutil.which(command[0]):
            missing(f"there is no {command[0]}")
        result = subprocess.run([*command, script], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


# ----------------------------------------------------------------------------------------------------- the archive


def packed(*arguments: str | Path, env: Mapping[str, str] = {}) -> bytes:
    """An archive that goes to standard output."""
    result = subprocess.run(
        [sys.executable, "-m", "eggcache", "archive", "-", "--unzipped", *arguments],
        env=environment(env), cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_same_bytes(shared_tmp: Path) -> None:
    """The same eggs make the same archive, whatever the zone, the umask, the locale and the hash seed."""
    made_eggs(shared_tmp / "eggs")
    options = ("--eggs-in", shared_tmp / "eggs", "--site-packages", "/eggs")
    one = packed(*options, env={"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "1"})
    umask = os.umask(0)
    try:
        assert packed(*options, env={"TZ": "America/Lima", "PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8"}) == one
    finally:
        os.umask(umask)


def written(
    *eggs: Path, python: tuple[int, ...] = (), site_packages: str | None = None
) -> tuple[Report, tarfile.TarFile]:
    """What an archive of the eggs in these directories has, and what is said of it."""
    stream = io.BytesIO()
    target = Target("", list(map(str, eggs)))
    said = archive_unzipped(stream, target, host=Host(python=python), site_packages=site_packages)
    stream.seek(0)
    return said, tarfile.open(fileobj=stream)


def test_nothing_is_an_egg_before_its_time(small: tuple[Path, Path]) -> None:
    """All lies in one private directory whose name begins with a dot; no directory ends in .egg; the script is last."""
    with tarfile.open(small[1]) as archive:
        members = archive.getmembers()
    assert (members[0].name, members[0].mode) == (f"host/eggs/{STAGE}", 0o700)
    assert {member.name.split("/")[2] for member in members} == {STAGE}
    assert [member.name for member in members if member.isdir() and member.name.endswith(".egg")] == []
    assert [os.path.basename(member.name) for member in members[-2:]] == ["eggs", SCRIPT]


def test_byte_code_is_archived_where_that_python_takes_it(tmp_path: Path) -> None:
    """Byte code is in the archive where the Python named takes it for current, its source then with the mtime that it
    asks for; other byte code of a source is not; and that without a source is."""
    (tmp_path / "eggs").mkdir()
    entries = {
        "good.py": b"", "good.pyc": CURRENT, "good.pyo": CURRENT, "bad.py": b"", "bad.pyc": b"\xb3\xf2\r\n" + bytes(8),
        "optimized.py": b"", "optimized.pyc": CURRENT, "optimized.pyo": MAGIC + bytes(8), "alone.pyc": b"what",
        "late.py": b"", "late.pyc": MAGIC + b"\xff" * 8,
    }  # fmt: skip
    make(tmp_path / "eggs/A-1.0.egg", *(Entry(name.encode(), data) for name, data in entries.items()))

    def of(*version: int) -> dict[str, float]:
        _, entries = written(tmp_path / "eggs", python=version)
        names = {item.name: item.mtime for item in entries if item.name.endswith((".pyc", ".pyo", ".py"))}
        return {os.path.basename(name): mtime for name, mtime in names.items()}

    date = of()["good.py"]
    sources = {name: date for name in entries if name.endswith(".py")}
    assert of() == {**sources, "alone.pyc": date}, "nothing says which Python"
    good = dict.fromkeys(("good.py", "optimized.py"), float(STAMP))
    compiled = dict.fromkeys(("good.pyc", "good.pyo", "optimized.pyc", "alone.pyc"), date)
    assert of(2, 7) == {**sources, **good, **compiled}
    (tmp_path / "eggs/A-1.0.egg").rename(tmp_path / "eggs/A-1.0-py2.7.egg")
    assert of() == {**sources, **good, **compiled}, "its name says which Python"
    assert of(2, 5) == {**sources, "bad.pyc": date, "alone.pyc": date, "bad.py": 0.0}


def test_eggs_that_stay_zipped(tmp_path: Path) -> None:
    """An egg that would be another as a directory, or is damaged, is named and not in the archive; the others are."""
    made_eggs(tmp_path / "eggs")
    inner = Entry(b"inner-1.0-py2.7.egg/EGG-INFO/PKG-INFO", b"Metadata-Version: 1.0\nName: inner\n")
    make(tmp_path / "eggs/Basket-1.0.egg", inner)
    (tmp_path / "eggs/Cut-1.0.egg").write_bytes((tmp_path / "eggs" / NAMES[0]).read_bytes()[:200])
    said, entries = written(tmp_path / "eggs")
    assert sorted(finding.thing.partition("eggs/")[2] for finding in said.findings) == ["Basket-1.0.egg", "Cut-1.0.egg"]
    assert {(finding.code, finding.status) for finding in said.findings} == {("egg-refused", 3)}
    assert [os.path.basename(outcome.into) for outcome in said.outcomes] == list(NAMES)
    assert [name for name in entries.getnames() if "Basket" in name or "Cut" in name] == []


def test_where_the_eggs_lie_on_the_host(tmp_path: Path) -> None:
    """Eggs of two directories here go to the same two there; one directory of the host for both is refused."""
    for name in ("a", "b"):
        made_eggs(tmp_path / name)
    said, _ = written(tmp_path / "a", tmp_path / "b")
    assert list(said.commands) == [f"sh {tmp_path}/{name}/{STAGE}/{SCRIPT}" for name in ("a", "b")]
    with pytest.raises(UsageError, match="the eggs lie in 2 directories here"):
        written(tmp_path / "a", tmp_path / "b", site_packages="/eggs")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--site-packages", "/x"], "--site-packages: it says where unzipped eggs go"),
        (["--unzipped", "--group", "0"], "--group: it is about a cache"),
        (["--unzipped", "--tz", "UTC0"], "--tz: it is about a cache"),
        (["--unzipped", "--verifier", "x.py"], "--verifier: it is about a cache"),
        (["--unzipped", "--cache", "/x"], "--cache: it is about a cache"),
        (["--unzipped", "--site-packages", "x"], "--site-packages x: it is a directory of the host"),
    ],
)
def test_options_of_the_other_kind(shared_tmp: Path, options: list[str], why: str) -> None:
    """What is asked of a cache, or of unzipped eggs, is refused for the other."""
    made_eggs(shared_tmp / "eggs")
    result = eggcache("archive", shared_tmp / "x.tar", "--eggs-in", shared_tmp / "eggs", *options)
    assert result.returncode == 2
    assert why in result.stderr


def test_eggs_on_no_path_of_the_targets_own(plain: Deployment, shared_tmp: Path) -> None:
    """As for unzip-all, eggs that only --path leads to stay zipped until they are named, by a command that works."""
    make(shared_tmp / "One-1.0-py3.11.egg", Entry(b"one/__init__.py"))
    options = ("--python", plain.python, "--path", shared_tmp, "--site-packages", "/host's eggs")
    result = eggcache("archive", shared_tmp / "x.tar", "--unzipped", *options)
    assert result.returncode == 3
    assert "[not-on-path]" in result.stderr
    assert not (shared_tmp / "x.tar").exists()
    command = result.stderr.partition("name each of them: ")[2].partition("\n")[0]
    assert command.startswith(f"eggcache archive {shared_tmp}/x.tar --unzipped")
    again = subprocess.run(
        command.replace("eggcache", f"{sys.executable} -m eggcache", 1), shell=True, env=environment(), cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "1 egg packed" in again.stdout
    assert commands(again)[1] == f"sh '/host'\"'\"'s eggs/{STAGE}/{SCRIPT}'"


def test_easy_install_goes_on_upgrading(target: Callable[[str, str], Deployment], shared_tmp: Path) -> None:
    """easy_install puts the zip of another version beside a directory, and that of the same version in its place. What
    it has installed is zipped again."""
    mine = target("2.7", "44.1.1")
    for version in ("1.0", "2.0"):
        files = {"one.py": f"version = {version!r}\n", "EGG-INFO/zip-safe": "\n"}
        metadata = {"EGG-INFO/PKG-INFO": f"Metadata-Version: 1.0\nName: One\nVersion: {version}\n"}
        write_egg(shared_tmp / f"One-{version}-py2.7.egg", {**files, **metadata})
    old, new = (mine.site_packages / f"One-{version}-py2.7.egg" for version in ("1.0", "2.0"))
    shutil.unpack_archive(shared_tmp / old.name, old, "zip")
    (mine.site_packages / "easy-install.pth").write_text(f"./{old.name}\n")
    for egg, zipped in ((new, [new]), (old, [old, new])):
        command = [mine.python, "-m", "easy_install", "-q", "-N", "-H", "None", shared_tmp / egg.name]
        deployment.run(command)
        assert mine.eggs == zipped
        imported = mine.run("import one; print(one.version + ' ' + one.__file__)").stdout
        assert imported == f"{egg.name.split('-')[1]} {egg}/one.py\n"
