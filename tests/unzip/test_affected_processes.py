"""unzip-all names the processes that an exchange may break, before it exchanges anything."""

from __future__ import annotations

import ast
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.emitted import uid_of
from support.httpd import Httpd, require, wait_for, www_data
from support.judge import as_json, eggcache, environment
from support.parts import built, missing
from support.schema import VALIDATOR
from support.zips import Entry, make

from eggcache.servers import affected_processes

EGG = "Used-1.0-py3.11.egg"
WAIT = "import sys, time; sys.path.insert(0, {egg!r}); import used; print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def site(where: Path, copy_of: Callable[[Deployment], Deployment]) -> Deployment:
    """A target without pkg_resources, with one egg."""
    made = copy_of(built(lambda: deployment.target("3.11", "", where)))
    make(made.site_packages / EGG, Entry(b"used.py", b"value = 1\n"))
    return made


@contextmanager
def running(
    command: Sequence[str | Path], user: str | None = None, cwd: Path | str = "/", **more: int
) -> Iterator[int]:
    """A process that has said that it is ready, until the end of the block: its number."""
    with subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        text=True,
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        cwd=cwd,
        env=environment(),
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.kill()


def idle(site: Deployment) -> list[str | Path]:
    """A command that imports from the egg, and then does nothing."""
    return [site.python, "-c", WAIT.format(egg=str(site.site_packages / EGG))]


def unzip(site: Deployment, *more: str | Path) -> subprocess.CompletedProcess[str]:
    return eggcache("unzip-all", "--all", "--python", site.python, *more)


def test_named_before_it_swaps(site: Deployment, nobody: pwd.struct_passwd) -> None:
    """Whoever has imported from the egg is named, with the safe order, by -n and by the run, and in its JSON."""
    with running(idle(site), user="nobody") as pid:
        for dry in (("-n",), ()):
            result = unzip(site, *dry)
            assert result.returncode == 0
            lines = result.stderr.splitlines()
            assert lines[0].startswith("eggcache: 1 process uses this Python or its eggs, and can fail from now on")
            assert "stop them, eggcache unzip-all, start them" in lines[0]
            assert lines[1].startswith(f"eggcache:   process {pid} of nobody, {str(site.python)[:70]}")
            assert ": runs /" in lines[1]
            assert len(lines[1]) < 400
            assert len(lines) == (3 if not dry else 2)
    assert (site.site_packages / EGG).is_dir()
    again = unzip(site)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_before_anything_changes(site: Deployment) -> None:
    """The warning is out while the egg is still a zip; --quiet keeps it back, and JSON has it all the same."""
    with running(idle(site)) as pid:
        command = [sys.executable, "-m", "eggcache", "unzip-all", "--all", "--python", str(site.python)]
        strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:error=EIO"]
        result = subprocess.run(
            [*strace, *command], env=environment(), cwd=ROOT, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert result.returncode == 1
        assert f"process {pid} of root" in result.stderr
        assert (site.site_packages / EGG).is_file()
        quiet = unzip(site, "--quiet", "--json")
        assert quiet.stderr == ""
        VALIDATOR.validate(as_json(quiet))
        (process,) = as_json(quiet)["processes"]
        assert (process["pid"], process["user"], process["unit"]) == (pid, "root", None)
        assert process["command"].startswith(str(site.python)[:70])
        assert len(process["command"]) == 80


def test_undo_names_them_too(site: Deployment) -> None:
    """Putting the zips back breaks whoever has looked into the directory."""
    backup = site.root / "zips"
    assert unzip(site, "--backup", backup).returncode == 0
    with running(idle(site)) as pid:
        result = unzip(site, "--backup", backup, "--undo", "--json")
        VALIDATOR.validate(as_json(result))
        assert [process["pid"] for process in as_json(result)["processes"]] == [pid]
        assert "stop them, eggcache unzip-all --undo, start them" in result.stderr


def test_owner_of_site_packages(site: Deployment, nobody: pwd.struct_passwd) -> None:
    """Root works as the owner of site-packages, who could not see another user's process: it is named all the same."""
    for path in (site.root, *site.root.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    with running(idle(site), user="daemon") as pid:
        result = eggcache("unzip-all", "--all", "--python", site.python)
        assert f"process {pid} of daemon" in result.stderr
    assert (site.site_packages / EGG).is_dir()


def test_as_anybody_else(site: Deployment, nobody: pwd.struct_passwd, shared_tmp: Path) -> None:
    """Who is not root sees his own processes, and is told that there may be others."""
    with running(idle(site)) as roots, running(idle(site), user="nobody") as own:
        code = (
            "from eggcache.servers import affected_processes; import sys\n"
            "found = affected_processes.users(sys.argv[1], [sys.argv[2]])\n"
            "print([one.pid for one in found.processes], list(affected_processes.warning(found, 'unzip'))[-1])\n"
        )
        shutil.copytree(Path(affected_processes.__file__).parents[1], shared_tmp / "eggcache")
        deployment.world_readable(shared_tmp / "eggcache")
        result = deployment.run(
            ["/usr/bin/python3", "-B", "-c", code, site.python, site.site_packages],
            user="nobody", env={"PYTHONPATH": str(shared_tmp)},
        )  # fmt: skip
        assert result.stdout.startswith(f"[{own}] "), (roots, result.stdout)
        assert "some processes could not be looked into" in result.stdout


def looked(site: Deployment) -> dict[int, str]:
    """What a run says of each process. In a process of its own, since its own children do not count."""
    return {process["pid"]: process["uses"] for process in as_json(unzip(site, "-n", "--json"))["processes"]}


def test_files_of_site_packages(site: Deployment) -> None:
    """Another program that has a file of site-packages open, mapped or as its directory; deleted ones, too."""
    library = site.site_packages / "lib.so"
    shutil.copy("/bin/true", library)
    other = "/usr/bin/perl" if os.path.exists("/usr/bin/perl") else missing("perl is not installed")
    wait = "$| = 1; print qq(ready\\n); sleep 600"
    opened = [other, "-e", f"open(F, '<', '{site.site_packages / EGG}'); {wait}"]
    gone = [other, "-e", f"open(F, '<', '{library}'); unlink '{library}'; {wait}"]
    mapped = ["/usr/bin/python3", "-c", "import mmap, sys, time\nwith open(sys.argv[1], 'rb') as s: m = "
              "mmap.mmap(s.fileno(), 0, prot=mmap.PROT_READ)\nprint('ready', flush=True); time.sleep(600)",
              site.site_packages / EGG]  # fmt: skip
    before = looked(site)
    with (
        running(opened) as one, running(mapped) as two, running([other, "-e", wait], cwd=site.site_packages) as three
    ):  # fmt: skip
        processes = looked(site)
        assert processes[one] == f"has {site.site_packages / EGG} open"
        assert processes[two] == f"has {site.site_packages / EGG} mapped"
        assert processes[three] == f"works in {site.site_packages}"
        assert processes.keys() - before.keys() == {one, two, three}
    with running(gone) as four:
        assert looked(site)[four] == f"has {library} (deleted) open"


def test_other_pythons_are_left_out(site: Deployment, plain: Deployment, interpreter: Callable[[str], Path]) -> None:
    """Neither another version, nor the same interpreter in another virtual environment, nor we ourselves."""
    wait = ["-c", "import time; print('ready', flush=True); time.sleep(600)"]
    assert plain.python.resolve() == site.python.resolve()
    before = looked(site)
    with running([interpreter("3.9"), *wait]), running([plain.python, *wait]):
        assert looked(site) == before
    here = deployment.run(
        [site.python, "-c", "from eggcache.servers import affected_processes; import sys\n"
         "print(len(affected_processes.users(sys.executable, []).processes))"],
        env={"PYTHONPATH": str(Path(affected_processes.__file__).parents[2])},
    )  # fmt: skip
    assert here.stdout == f"{len(before)}\n"


def test_root_without_the_right_to_trace(site: Deployment, nobody: pwd.struct_passwd) -> None:
    """Root who may not trace, as in a container, is told that there may be others, as anybody else is."""
    without = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    command = [sys.executable, "-m", "eggcache", "unzip-all", "--all", "--python", site.python, "-n"]
    with running(idle(site), user="nobody") as pid:
        for before, told in (([], False), (without, True)):
            result = subprocess.run([*before, *command], env=environment(), cwd=ROOT, capture_output=True, text=True)
            assert result.returncode == 0, result.stderr
            assert ("CAP_SYS_PTRACE" in result.stderr) == told, result.stderr
            assert (f"process {pid} of nobody" in result.stderr) != told


def test_python_that_is_built_into_a_module(shared_tmp: Path) -> None:
    """Of a target without a libpython, whoever has a mod_python or mod_wsgi mapped that brings none either may run it,
    whatever the version is; of a target that has one, nobody who does not have that mapped."""
    made = shared_tmp / "static"
    (made / "bin").mkdir(parents=True)
    shutil.copy("/usr/bin/python3", made / "bin")  # Debian's is such a program; its libpython lies elsewhere
    (module := shared_tmp / "mod_wsgi-py27.so").write_bytes(Path("/usr/lib/x86_64-linux-gnu/libm.so.6").read_bytes())
    command = ["env", f"LD_PRELOAD={module}", "sh", "-c", "echo ready; exec sleep 600"]
    code = (
        "from eggcache.servers import affected_processes; import sys\n"
        "print({each.pid: each.uses for each in affected_processes.users(sys.argv[1], []).processes})"
    )
    with running(command) as pid:
        for python, uses in ((made / "bin" / "python3", f"has {module} mapped"), (Path("/usr/bin/python3"), None)):
            # In a process of its own, since its own children do not count
            result = subprocess.run([sys.executable, "-c", code, python], cwd=ROOT, capture_output=True, check=True)
            found: dict[int, str] = ast.literal_eval(result.stdout.decode())
            assert found.get(pid, "").partition(",")[0] == (uses or "")


def test_another_mount_namespace(site: Deployment) -> None:
    """A process that has the egg under another name, as in a container, is known by the file itself."""
    shell = f"mount --bind {site.site_packages} /mnt && exec 3< /mnt/{EGG} && echo ready && exec sleep 600"
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        missing("unshare -m is not permitted here")
    with running(["unshare", "-m", "sh", "-c", shell]) as pid:
        assert looked(site)[pid] == f"has /mnt/{EGG} open"


@pytest.mark.parametrize("module", ["wsgi", "python"])
def test_apache_that_embeds_the_target_is_named(module: str, site: Deployment, shared_tmp: Path) -> None:
    """A real Apache that embeds the target's Python is named with its workers, and apachectl in the safe order."""
    require(module)
    httpd = Httpd(shared_tmp / "apache", "", module)
    if module == "python":
        script = shared_tmp / "hello.py"
        script.write_text("def handler(req):\n    req.write('x')\n    return 0\n")
        httpd.configure(f"<Location />\nSetHandler python-program\nPythonPath \"['{shared_tmp}'] + sys.path\"\n"
                        "PythonHandler hello\n</Location>")  # fmt: skip
    # Debian's modules embed Debian's Python, so that has to be the target
    home = shared_tmp / "debian"
    deployment.run(["/usr/bin/python3", "-m", "venv", "--without-pip", home])
    (eggs,) = home.glob("lib/python3*/site-packages")
    make(eggs / EGG, Entry(b"used.py", b"value = 1\n"))
    httpd.start()
    try:
        # It listens before its workers are there, and a worker is root's at first.
        wait_for(lambda: {uid_of(pid) for pid in httpd.family()} == {0, www_data().pw_uid})
        family = set(httpd.family())
        assert not family & looked(site).keys()  # another installation of the same version
        result = eggcache("unzip-all", "--all", "--python", home / "bin" / "python3", "-n", "--json")
        processes = {process["pid"]: process for process in as_json(result)["processes"]}
        assert family <= processes.keys()
        assert {processes[pid]["user"] for pid in family} == {"root", www_data().pw_name}
        assert all("libpython3.11.so" in processes[pid]["uses"] for pid in family)
        # Another worker of the tests may run Debian's Python meanwhile
        assert re.search("ctl stop(?: and stop the others)?, eggcache unzip-all, ", result.stderr)
    finally:
        httpd.stop()


def test_each_server_is_named_with_its_way_to_be_stopped() -> None:
    """Units of systemd's, an Apache without one, and others: each with its way to be stopped; names are escaped."""
    from eggcache.model import Process

    def order(*given: tuple[str, str | None]) -> str:
        users = affected_processes.Users(
            [Process(number, "u", command, "x", unit) for number, (command, unit) in enumerate(given)]
        )
        return next(affected_processes.warning(users, "UNZIP")).partition("the safe order: ")[2]

    assert order(("apache2 -k", "apache2.service"), ("x", "a b.service")) == (
        "systemctl stop 'a b.service' apache2.service, UNZIP, systemctl start 'a b.service' apache2.service"
    )
    assert order(("python", None)) == "stop them, UNZIP, start them"
    both = order(("python", None), ("x", "x.service"))
    assert both == "systemctl stop x.service and stop the others, UNZIP, systemctl start x.service and start them"
    many = list(affected_processes.warning(affected_processes.Users([Process(1, "u", "c", "x")] * 30), "UNZIP"))
    assert len(many) == 12
    assert many[-1] == "  and 20 more, which --json names"
