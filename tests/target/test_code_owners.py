"""owners: whose code a target runs, and that it never runs as root where it is not root's."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT
from support.deployment import Deployment
from support.judge import eggcache, environment
from support.sites import write_egg
from support.terminals import show

from eggcache.system import accounts
from eggcache.target.code_owners import egg_directories, owner, runner, site_owner

WHO = "import os; open(%r, 'a').write('%%d ' %% os.geteuid())\n"


def test_site_owner_is_who_may_change_what_the_target_runs(tmp_path: Path) -> None:
    """As root the owner of the target's site-packages, root where that is root's; as anybody else, oneself."""
    python = tmp_path / "venv/bin/python"
    site = tmp_path / "venv/lib/python2.7/site-packages"
    site.mkdir(parents=True)
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    assert site_owner(str(python)).uid == os.geteuid()
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(site, nobody.pw_uid, nobody.pw_gid)
        assert site_owner(str(python)) == accounts.lookup("nobody")
        os.chown(site, 54321, 0)
        assert site_owner(str(python)) == ("54321", 54321, nobody.pw_gid, ())
        os.chown(site, 0, 0)
        os.chown(python.parent, nobody.pw_uid, 0)
        assert site_owner(str(python)).name == "nobody"


@pytest.fixture
def spied(own: Deployment, shared_tmp: Path, nobody: pwd.struct_passwd) -> tuple[Deployment, Path, Path]:
    """A target of root's, a directory of nobody's with modules that say who runs them, and where they say it."""
    theirs, told = shared_tmp / "theirs", shared_tmp / "told"
    theirs.mkdir()
    told.touch()
    told.chmod(0o666)
    for name in ("sitecustomize.py", "usercustomize.py", "pkg_resources.py"):
        (theirs / name).write_text(WHO % str(told))
    os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
    return own, theirs, told


@pytest.mark.parametrize("how", ["--path", "PYTHONPATH", ".pth"])
@pytest.mark.parametrize("command", [["tree"], ["unzip-all", "-n"]])
def test_code_of_others_never_runs_as_root(
    spied: tuple[Deployment, Path, Path], how: str, command: list[str], nobody: pwd.struct_passwd
) -> None:
    """Wherever the target finds another user's modules, root has it run as that user."""
    deployment, theirs, told = spied
    more: list[str | Path] = ["--path", theirs] if how == "--path" else []
    env = {"PYTHONPATH": str(theirs)} if how == "PYTHONPATH" else {}
    if how == ".pth":
        # In front: a .pth file may say so.
        line = f"import sys; sys.path.insert(0, {str(theirs)!r})"
        (deployment.site_packages / "theirs.pth").write_text(f"{theirs}\n{line}\nimport sitecustomize\n")
        assert runner(str(deployment.python)).uid == nobody.pw_uid
    # -I: what is asked is not whose modules the Python of eggcache itself runs.
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from eggcache.cli.main import main; sys.exit(main())"
    words = [sys.executable, "-I", "-c", start, *command, "Nothing", "--python", deployment.python, *more]
    subprocess.run(words, env=environment(env), capture_output=True, check=False)
    assert set(told.read_text().split()) == {str(nobody.pw_uid)}


def test_no_owner_runs_the_code_of_another(
    spied: tuple[Deployment, Path, Path], shared_tmp: Path, nobody: pwd.struct_passwd
) -> None:
    """Of two other users neither may run the other's code: nobody does. The same where anybody may write."""
    deployment, theirs, _ = spied
    python, another = str(deployment.python), shared_tmp / "another"
    another.mkdir()
    assert runner(python, [str(another)]) == accounts.current()
    assert runner(python, [str(theirs)]).name == "nobody"
    os.chown(another, 54321, 0)
    assert runner(python, [str(another)]) == ("54321", 54321, nobody.pw_gid, ())
    assert runner(python, [str(theirs), str(another)]).name == "nobody"
    os.chown(another, 0, 0)
    another.chmod(0o777)
    assert runner(python, [str(another)]).name == "nobody"


def test_eggs_of_another_user(spied: tuple[Deployment, Path, Path], nobody: pwd.struct_passwd) -> None:
    """As root, unzip-all does not work in another user's directory, who could exchange what it works on; it says so,
    and does the rest."""
    deployment, theirs, _ = spied
    for name in ("sitecustomize.py", "usercustomize.py", "pkg_resources.py"):
        (theirs / name).unlink()
    egg = write_egg(theirs / "Theirs-1.0-py3.11.egg", {"theirs.py": ""})
    ours = write_egg(deployment.site_packages / "Ours-1.0-py3.11.egg", {"ours.py": ""})
    os.chown(egg, nobody.pw_uid, nobody.pw_gid)
    result = eggcache("unzip-all", "--all", "--python", deployment.python, "--path", egg)
    assert result.returncode == 4
    assert f"{theirs}: root cannot safely work in it" in result.stderr
    assert egg.is_file()
    assert ours.is_dir()


def test_tool_that_the_owner_cannot_read(
    own: Deployment, shared_tmp: Path, tmp_path: Path, nobody: pwd.struct_passwd
) -> None:
    """unzip-all becomes the owner of site-packages, who need not be able to read where eggcache is installed: what it
    needs is loaded by then, also what is drawn on a terminal, and what -vv tells."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    os.chown(private, 0, 0)
    for name in ("eggcache", "filelock", "markdown_it", "mdurl", "packaging", "pygments", "rich"):
        shutil.copytree(Path(str(importlib.util.find_spec(name).origin)).parent, private / name)  # type: ignore[union-attr]
    egg = write_egg(own.site_packages / "One-1.0-py3.11.egg", {"one/__init__.py": "", "one/text.txt": "one\n"})
    damaged = write_egg(own.site_packages / "Two-1.0-py3.11.egg", {"two.py": "two = 2\n" * 1000})
    (own.site_packages / "slow.pth").write_text("import time; time.sleep(2)\n")
    subprocess.run(["chown", "-R", "nobody", own.site_packages], check=True)
    data = bytearray(damaged.read_bytes())
    data[data.index(b"two.py") + 10] ^= 0xFF
    damaged.write_bytes(data)
    # -S: whatever it finds is in the private directory
    command = [sys.executable, "-S", "-m", "eggcache", "unzip-all", "--all", "--python", str(own.python)]
    env = environment({"PYTHONPATH": str(private), "TERM": "xterm-256color"})
    result = show(command, env=env, cwd=Path("/"))
    assert (result.status, "asking " in result.terminal) == (3, True), result.terminal
    assert "Two-1.0-py3.11.egg, member two.py: its CRC is" in result.terminal
    assert egg.is_dir()
    assert egg.stat().st_uid == nobody.pw_uid
    (own.site_packages / "slow.pth").unlink()
    failed = show([*command, "-vv", "--backup", "/no/backup"], env=env, cwd=Path("/"))
    assert "Traceback (most recent call last)" in failed.terminal
    assert failed.terminal.splitlines()[-1].startswith("eggcache: --backup /no/backup: "), failed.terminal


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "who"),
    [
        (0o755, 0, 0, 0),
        (0o775, 0, 0, 0),
        (0o775, 0, 54321, -1),
        (0o777, 0, 0, -1),
        (0o1777, 0, 0, -1),
        (0o755, 54321, 0, 54321),
    ],
)
def test_owner_of_a_directory(shared_tmp: Path, mode: int, uid: int, gid: int, who: int) -> None:
    """Whoever can add a module decides what is imported, in a sticky directory too."""
    place = shared_tmp / "place"
    place.mkdir()
    os.chown(place, uid, gid)
    place.chmod(mode)
    assert owner(str(place)) == who


def test_owner_on_the_way(shared_tmp: Path) -> None:
    """Whoever can exchange a name above, or leads there by a link, decides; the sticky bit keeps him from exchanging
    what is root's, but not from making what is missing."""
    (shared_tmp / "home" / "venv").mkdir(parents=True)
    inner, home = shared_tmp / "home" / "venv", shared_tmp / "home"
    assert owner(str(inner)) == 0
    os.chown(home, 54321, 0)
    assert owner(str(inner)) == 54321
    (shared_tmp / "link").symlink_to(inner)
    assert owner(str(shared_tmp / "link")) == 54321
    os.chown(inner, 54322, 0)
    assert owner(str(inner)) == -1
    os.chown(inner, 0, 0)
    os.chown(home, 0, 0)
    home.chmod(0o1777)
    assert owner(str(inner)) == 0
    assert owner(str(home / "missing")) == -1
    home.chmod(0o777)
    assert owner(str(inner)) == -1
    home.chmod(0o755)
    assert owner(str(home / "missing")) == 0
    os.chown(shared_tmp / "link", 54321, 0, follow_symlinks=False)
    assert owner(str(shared_tmp / "link")) == 54321
    (shared_tmp / "circle").symlink_to("circle")
    assert owner(str(shared_tmp / "circle")) == -1


def test_links_of_others_lead_to_what_is_their_own(python: Path, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """A link in somebody's directory does not have root work in another's, and in his own it does, as root's does."""
    theirs, own, roots = (shared_tmp / name for name in ("theirs", "own", "roots"))
    for place in (theirs, own, roots):
        place.mkdir()
        (place / f"{place.name}.egg").touch()
    for place in (own, roots):
        (theirs / f"to-{place.name}.egg").symlink_to(place / f"{place.name}.egg")
    assert {str(own), str(roots)} <= egg_directories(str(python), [str(theirs)])
    for place in (theirs, own):
        os.chown(place, nobody.pw_uid, nobody.pw_gid)
    directories = egg_directories(str(python), [str(theirs)])
    assert ({str(theirs), str(own)} <= directories, str(roots) in directories) == (True, False)


def test_fifo_as_pth(spied: tuple[Deployment, Path, Path]) -> None:
    """A FIFO where a .pth file should be hangs nobody."""
    deployment, theirs, _ = spied
    os.mkfifo(theirs / "x.pth")
    assert runner(str(deployment.python), [str(theirs)]).name == "nobody"
    assert str(theirs) in egg_directories(str(deployment.python), [str(theirs)])


FORGED = """
import os, sys
answer = eval(open(%r).read())
os.write(int(sys.argv[1]), repr(answer).replace("'", '"').replace("None", "null")
    .replace("True", "true").replace("False", "false").encode() + b"\\n")
os._exit(0)
"""


def test_eggs_that_another_users_code_names_are_not_touched(
    spied: tuple[Deployment, Path, Path], shared_tmp: Path, nobody: pwd.struct_passwd, uploaded: dict[str, Path]
) -> None:
    """Eggs that only another user's code names are not touched by root, nor is what is no egg, and no library of his is
    loaded by root."""
    deployment, theirs, told = spied
    victim, sticky = shared_tmp / "victim", shared_tmp / "sticky"
    for place in (victim, sticky):
        place.mkdir()
    sticky.chmod(0o1777)
    (sticky / "os.py").write_text(WHO % str(told))
    from support.sites import write_egg

    egg = write_egg(victim / "Other-1.0-py3.11.egg", {"other.py": ""})
    app = write_egg(victim / "app.pyz", {"__main__.py": ""})
    row = {
        "project": "Other", "version": "1.0", "kind": "zipped egg", "extras": [], "active": True, "inside": "",
        "location": str(egg), "egg": str(egg), "cache_name": egg.name,
    }  # fmt: skip
    also = {**row, "location": f"/a/{app.name}.egg", "egg": str(app), "cache_name": f"{app.name}.egg"}
    answer = {
        "distributions": [row, also], "needs": [], "projects": [], "read": [], "outside": [],
        "version": [2, 7, 18], "prefix": "/usr",
        "path": [str(sticky)], "added": [], "pth": [], "site": [str(victim)], "pkg_resources": "/x/pkg_resources.py",
        "setuptools": "setuptools 44", "bad": [], "broken": "",
    }  # fmt: skip
    (theirs / "answer").write_text(repr(answer))
    (theirs / "pkg_resources.py").write_text(FORGED % str(theirs / "answer"))
    (theirs / "sitecustomize.py").unlink()
    (theirs / "usercustomize.py").unlink()
    (victim / ".eggcache-stage-0123456789abcdef").mkdir()
    before = sorted(victim.iterdir())
    result = eggcache("unzip-all", "--all", "--python", deployment.python, "--path", theirs)
    assert (result.returncode, result.stdout) == (4, ""), result.stderr
    assert (
        f"{victim}: root knows these eggs only from code that nobody runs [not-permitted]; name it: --path {victim}\n"
        in result.stderr
    )
    assert sorted(victim.iterdir()) == before
    assert (egg.is_file(), app.is_file(), told.read_text()) == (True, True, "")
