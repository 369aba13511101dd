"""owners: whose code a target runs, and that it never runs as root where it is not root's."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from deployment import Deployment
from judge import eggcache, environment

from eggcache import accounts
from eggcache.owners import runner, site_owner

ROOT = Path(__file__).resolve().parent.parent
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
        os.chown(site, 54321, 54322)
        assert (site_owner(str(python)).uid, site_owner(str(python)).gid) == (54321, 54322)
        os.chown(site, 0, 0)
        os.chown(python.parent, nobody.pw_uid, 0)
        assert site_owner(str(python)).name == "nobody"


@pytest.fixture
def spied(
    target: Callable[[str, str], Deployment], shared_tmp: Path, nobody: pwd.struct_passwd
) -> tuple[Deployment, Path, Path]:
    """A target of root's, a directory of nobody's with modules that say who runs them, and where they say it."""
    deployment = target("3.11", "65.5.0")
    theirs, told = shared_tmp / "theirs", shared_tmp / "told"
    theirs.mkdir()
    told.touch()
    told.chmod(0o666)
    for name in ("sitecustomize.py", "usercustomize.py", "pkg_resources.py"):
        (theirs / name).write_text(WHO % str(told))
    os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
    return deployment, theirs, told


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
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from eggcache.cli import main; sys.exit(main())"
    words = [sys.executable, "-I", "-c", start, *command, "Nothing", "--python", deployment.python, *more]
    subprocess.run(words, env=environment(env), capture_output=True, check=False)
    assert set(told.read_text().split()) == {str(nobody.pw_uid)}


def test_several_owners(spied: tuple[Deployment, Path, Path], shared_tmp: Path) -> None:
    """Of two other users neither may run the other's code: nobody does. The same where anybody may write."""
    deployment, theirs, _ = spied
    python, another = str(deployment.python), shared_tmp / "another"
    another.mkdir()
    assert runner(python, [str(another)]) == accounts.current()
    assert runner(python, [str(theirs)]).name == "nobody"
    os.chown(another, 54321, 54322)
    assert (runner(python, [str(another)]).uid, runner(python, [str(another)]).gid) == (54321, 54322)
    assert runner(python, [str(theirs), str(another)]).name == "nobody"
    os.chown(another, 0, 0)
    another.chmod(0o777)
    assert runner(python, [str(another)]).name == "nobody"


def test_eggs_of_another_user(spied: tuple[Deployment, Path, Path], nobody: pwd.struct_passwd) -> None:
    """As root, unzip-all does not work in another user's directory, who could exchange what it works on; it says so,
    and does the rest."""
    from test_cache import write_egg

    deployment, theirs, _ = spied
    for name in ("sitecustomize.py", "usercustomize.py", "pkg_resources.py"):
        (theirs / name).unlink()
    egg = write_egg(theirs / "Theirs-1.0-py3.11.egg", {"theirs.py": ""})
    ours = write_egg(deployment.site_packages / "Ours-1.0-py3.11.egg", {"ours.py": ""})
    os.chown(egg, nobody.pw_uid, nobody.pw_gid)
    done = eggcache("unzip-all", "--all", "--python", deployment.python, "--path", theirs)
    assert done.returncode == 4
    assert f"{theirs}: root cannot safely work in it" in done.stderr
    assert egg.is_file()
    assert ours.is_dir()
