"""The Ansible collection: a rollout over three hosts by real ansible-core, and what each module says and does."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, deployment
from support.deployment import Deployment
from support.hosts import Host, Watch, fleet
from support.httpd import wait_for
from support.judge import listing
from support.parts import built, missing
from support.sites import write_egg

SOURCE = ROOT / "scripts" / "ansible" / "ansible_collections" / "eggcache" / "eggcache"
BIN = Path(sys.executable).parent
CACHE = "/var/cache/eggcache"

APPLICATION = """
import json, os
import pkg_resources
pkg_resources.require("shop")
import lib


def application(environ, start_response):
    try:
        found = pkg_resources.resource_filename("shop", "data/text.txt")
    except pkg_resources.ExtractionError:
        found = "ExtractionError"
    body = json.dumps({"cache": os.environ.get("PYTHON_EGG_CACHE"), "file": found, "lib": lib.WORD})
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body.encode()]
"""
SITE = """
ServerName 127.0.0.1
WSGIPythonPath {path}
WSGIScriptAlias / /srv/shop/app.wsgi
<Directory /srv/shop>
    Require all granted
</Directory>
"""
OLD = {"status": 200, "cache": None, "file": "ExtractionError", "lib": "word"}
NEW = {**OLD, "cache": CACHE, "file": f"{CACHE}/shop-1.0-py3.11.egg-tmp/shop/data/text.txt"}


@pytest.fixture(scope="module")
def tree(where: Path) -> Deployment:
    """A Python 3.11 with an application and a library of its, both as zipped eggs."""
    made = built(lambda: deployment.target("3.11", "65.5.0", where))
    site = made.site_packages
    write_egg(
        site / "shop-1.0-py3.11.egg",
        {"shop/__init__.py": "", "shop/data/text.txt": "text\n", "EGG-INFO/requires.txt": "lib\n"},
    )
    write_egg(site / "lib-1.0-py3.11.egg", {"lib/__init__.py": "WORD = 'word'\n"})
    (site / "easy-install.pth").write_text("./shop-1.0-py3.11.egg\n./lib-1.0-py3.11.egg\n")
    return made


@dataclass
class Control:
    """The controller: ansible of the tests' environment, with the collection as it was built and installed."""

    home: Path
    environment: dict[str, str]

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [str(BIN / command[0]), *map(str, command[1:])],
            env=self.environment, cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result


@pytest.fixture(scope="module")
def control(where: Path, tmp_path_factory: pytest.TempPathFactory) -> Control:
    if sys.version_info < (3, 11):
        pytest.skip("this ansible-core wants Python 3.11")
    if not (BIN / "ansible-playbook").exists():
        missing("ansible-core is not installed here: scripts/test installs it")
    home = tmp_path_factory.mktemp("control")
    made = Control(home, {
        "PATH": f"{BIN}:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1",
        "ANSIBLE_HOME": str(home / "ansible"), "ANSIBLE_COLLECTIONS_PATH": str(home / "collections"),
        "ANSIBLE_NOCOLOR": "1", "ANSIBLE_DEPRECATION_WARNINGS": "0",
    })  # fmt: skip
    made.run("ansible-galaxy", "collection", "build", SOURCE, "--output-path", home)
    archive = next(home.glob("eggcache-eggcache-*.tar.gz"))
    made.run("ansible-galaxy", "collection", "install", "--offline", "-p", home / "collections", archive)
    return made


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """eggcache as one file."""
    into = tmp_path_factory.mktemp("zipapp") / "eggcache.pyz"
    subprocess.run([sys.executable, ROOT / "scripts" / "zipapp", "-o", into], check=True)
    return into


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with eggcache's wheel and those of what it requires, and nothing else."""
    home = tmp_path_factory.mktemp("wheels")
    source = home / "source"
    ours = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=ours)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "wheel", "--no-build-isolation"]
    into = home / "wheels"
    subprocess.run([*pip, "-c", ROOT / "tests" / "requirements.txt", "-w", into, source], check=True)
    return into


# ------------------------------------------------------------------------------------------------ the rollout


@dataclass
class Fleet:
    """The controller and the hosts."""

    control: Control
    hosts: dict[str, Host]

    def rollout(self, *options: str) -> tuple[int, list[dict[str, Any]]]:
        """Run the collection's playbook: its status, and every result."""
        record = self.control.home / "record"
        record.unlink(missing_ok=True)
        command = ["ansible-playbook", "-i", "inventory.yml", "eggcache.eggcache.rollout", *options]
        outcome = self.control.run(*command, check=False)
        assert record.exists(), outcome.stdout + outcome.stderr
        results = [json.loads(line) for line in record.read_text().splitlines()]
        for result in results:
            result["output"] = outcome.stdout + outcome.stderr
        return outcome.returncode, results


@pytest.fixture(scope="module")
def rolled(control: Control, tree: Deployment, zipapp: Path, wheels: Path, where: Path) -> Iterator[Fleet]:
    """alpha, beta and gamma, whose Apaches serve the shop by Debian's own init script, or without one (gamma)."""
    home = where / "fleet"
    home.mkdir()
    home.chmod(0o700)
    with fleet(home, ["alpha", "beta", "gamma"]) as hosts:
        for host in hosts.values():
            configure(host, tree)
        control.environment.update({
            "ANSIBLE_SSH_ARGS": f"-F none -i {home}/key -o UserKnownHostsFile={home}/known_hosts "
            "-o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o ControlMaster=auto -o ControlPersist=30s",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests" / "ansible"),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "RECORD": str(control.home / "record"),
        })  # fmt: skip
        each = {name: {"ansible_host": "127.0.0.1", "ansible_port": host.ssh_port} for name, host in hosts.items()}
        each["gamma"]["eggcache_source"] = str(wheels)
        common = {
            "ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3", "eggcache_become": False,
            "eggcache_source": str(zipapp), "eggcache_python": str(tree.python), "eggcache_requirements": ["shop"],
            "eggcache_imports": ["shop"],
        }  # fmt: skip
        inventory = {"all": {"hosts": each, "vars": common}}
        (control.home / "inventory.yml").write_text(json.dumps(inventory))
        yield Fleet(control, hosts)


def configure(host: Host, tree: Deployment) -> None:
    """Give it an Apache like an administrator's: Debian's, on a port of its own, started by Debian's script."""
    etc = host.path("/etc/apache2")
    (etc / "ports.conf").write_text(f"Listen 127.0.0.1:{host.http_port}\n")
    for link in (etc / "sites-enabled").iterdir():
        link.unlink()
    for link in (etc / "mods-enabled").glob("mpm_*"):
        link.unlink()
    for name in ("mpm_prefork.load", "mpm_prefork.conf", "wsgi.load", "wsgi.conf"):
        if not (etc / "mods-enabled" / name).is_symlink():
            (etc / "mods-enabled" / name).symlink_to(f"../mods-available/{name}")
    (etc / "sites-enabled" / "shop.conf").write_text(SITE.format(path=tree.site_packages))
    shop = host.path("/srv/shop")
    shop.mkdir()
    (shop / "app.wsgi").write_text(APPLICATION)
    if host.name != "gamma":
        host.path("/etc/inittab").write_text("id:2:initdefault:\n")
        host.run("/etc/init.d/apache2", "start")
    else:
        host.run("/usr/sbin/apache2ctl", "start")
    wait_for(lambda: host.get() is not None, host.log)


def changes(results: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The tasks that changed something, or in check mode would, by host; handlers, which check mode skips, apart."""
    return [
        (outcome["host"], outcome["task"])
        for outcome in results
        if outcome["what"] == "ok" and not outcome["handler"] and outcome["result"].get("changed")
    ]


def restarts(results: list[dict[str, Any]]) -> list[str]:
    """The hosts on which the handler was called."""
    return [
        outcome["host"]
        for outcome in results
        if outcome["handler"] and outcome["task"].endswith("Stop and start Apache")
    ]


def restarted(seen: list[Any]) -> bool:
    """Whether these pages are those of an Apache that served as it did, was stopped, and then served by the cache. A
    request in the moment of the stop may be one that an interpreter can no longer answer."""
    between = seen[1:-1]
    return (
        seen[0] == OLD and seen[-1] == NEW and None in between and all(p is None or p["status"] == 500 for p in between)
    )


def stats(results: list[dict[str, Any]], name: str) -> dict[str, int]:
    """How many of the hosts' tasks: {"alpha": 3}."""
    return {outcome["host"]: outcome["result"][name] for outcome in results if outcome["what"] == "stats"}


def failures(results: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (outcome["host"], outcome["task"], outcome["result"]["msg"])
        for outcome in results
        if outcome["what"] in ("failed", "unreachable")
    ]


def test_rollout_ends_at_the_first_broken_host(rolled: Fleet) -> None:
    """Host by host: a broken one ends it, those before it have the cache, those behind it serve as they did.

    Repaired, check mode predicts the rest, which is then done, and what is done is not done again.
    """
    hosts = rolled.hosts
    for host in hosts.values():
        assert host.get() == OLD, host.path("/var/log/apache2/error.log").read_text()[-2000:]
    squatted = hosts["beta"].path(CACHE)
    squatted.mkdir()
    os.chown(squatted, 65534, 65534)
    fresh = {name: host.listing() for name, host in hosts.items()}
    with Watch(hosts) as watch:
        status, first = rolled.rollout()
    assert status != 0
    [(host, task, message)] = failures(first)
    assert (host, task) == ("beta", "eggcache.eggcache.eggcache : Prepare the egg cache")
    assert message.startswith(f"{CACHE}: ")
    assert "nobody" in message
    assert stats(first, "failures") == {"alpha": 0, "beta": 1}, "gamma was not touched"
    assert restarted(watch.seen["alpha"])
    assert (watch.seen["beta"], watch.seen["gamma"]) == ([OLD], [OLD])
    assert watch.asked["gamma"] > 20
    assert hosts["gamma"].listing() == fresh["gamma"]

    squatted.rmdir()
    before = {name: host.listing() for name, host in hosts.items()}
    status, predicted = rolled.rollout("--check", "--diff", "--limit", "beta,gamma")
    assert status == 0, predicted[0]["output"]
    assert {name: host.listing() for name, host in hosts.items()} == before
    with Watch(hosts) as watch:
        status, second = rolled.rollout()
    assert status == 0, second[0]["output"]
    assert changes(predicted) == changes(second)
    assert restarts(predicted) == restarts(second) == ["beta", "gamma"]
    assert watch.seen["alpha"] == [NEW]
    assert restarted(watch.seen["beta"])
    assert restarted(watch.seen["gamma"])

    assert stats(second, "changed")["alpha"] == 0
    status, third = rolled.rollout("--limit", "gamma")  # which has wheels; alpha and beta have the zipapp
    assert (status, stats(third, "changed")) == (0, {"gamma": 0})

    # As an interrupted rollout leaves it: everything is installed, and Apache was never started with it.
    hosts["alpha"].run("/etc/init.d/eggcache-apache", "stop")
    hosts["alpha"].run("/etc/init.d/apache2", "start")
    wait_for(lambda: hosts["alpha"].get() == OLD)
    status, fourth = rolled.rollout("--limit", "alpha")
    assert (status, restarts(fourth), hosts["alpha"].get()) == (0, ["alpha"], NEW)
    assert [task.partition(" : ")[2] for _, task in changes(fourth)] == ["Prove the egg cache before Apache is stopped"]
    for name, script in (("S??eggcache-apache", True), ("S??apache2", False)):
        assert bool(list(hosts["alpha"].path("/etc/rc2.d").glob(name))) is script

    # The script is there and its Apache is not: before anything that boots is changed, the rollout says so.
    hosts["alpha"].run("/etc/init.d/eggcache-apache", "stop")
    wait_for(lambda: hosts["alpha"].get() is None)
    status, fifth = rolled.rollout("--limit", "alpha")
    [(host, task, _)] = failures(fifth)
    assert (status != 0, host, changes(fifth)) == (True, "alpha", [])
    assert task.endswith(" : See that the init script has Apache running")


# ------------------------------------------------------------------------------------------------- the modules


@dataclass
class Modules:
    """The modules, run as Ansible runs them, on this host."""

    control: Control
    home: Path
    target: dict[str, Any]

    def run(self, name: str, *, check: bool = False, target: bool = True, **arguments: Any) -> dict[str, Any]:
        """What it returns; `failed` where it failed. With `target` it is told which, and which tree."""
        given = {**(self.target if target else {}), **arguments, "_ansible_check_mode": check, "_ansible_diff": True}
        given = {key: value for key, value in given.items() if value is not None}
        path = self.home.parent / "arguments.json"
        path.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": given}))
        module = f"ansible_collections.eggcache.eggcache.plugins.modules.{name}"
        result = subprocess.run(
            [sys.executable, "-m", module, path],
            env={**self.control.environment, "PYTHONPATH": str(self.control.home / "collections")},
            cwd=self.home, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert result.stdout.lstrip().startswith("{"), result.stdout + result.stderr
        answer: dict[str, Any] = json.loads(result.stdout)
        answer.setdefault("failed", False)
        return answer

    def prepare(self, **more: Any) -> dict[str, Any]:
        return self.run("prepare", directory=str(self.home / "cache"), user="nobody", group="nogroup", **more)

    def exactly(self, name: str = "prepare", **more: Any) -> dict[str, Any]:
        """What a run returns that a check mode run before has predicted, without changing anything; and which, run
        again, has nothing to change."""
        before = listing(self.home)
        method = self.prepare if name == "prepare" else lambda **arguments: self.run(name, **arguments)
        predicted = method(check=True, **more)
        assert listing(self.home) == before
        result = method(**more)
        for key in ("changed", "failed", "digest", "outcomes", "findings", "diff", "dest", "text"):
            assert predicted.get(key) == result.get(key), key
        assert method(**more)["changed"] is False
        return result


@pytest.fixture
def modules(control: Control, tree: Deployment, shared_tmp: Path, nobody: object) -> Modules:
    copied = deployment.copy(tree, shared_tmp / "tree")
    home = shared_tmp / "home"
    home.mkdir()
    executable = str(BIN / "eggcache")
    return Modules(control, home, {"executable": executable, "python": str(copied.python), "requirements": ["shop"]})


def eggs(modules: Modules) -> Path:
    return next(Path(modules.target["python"]).parent.parent.glob("lib/python*/site-packages"))


CHANGES: dict[str, tuple[Callable[[Modules], object], list[str]]] = {
    "nothing": (lambda modules: None, ["kept", "kept"]),
    "mode of the directory": (lambda modules: (modules.home / "cache").chmod(0o755), ["kept", "kept"]),
    "group of the directory": (lambda modules: os.chown(modules.home / "cache", 0, 0), ["kept", "kept"]),
    "mode of a file": (lambda modules: member(modules).chmod(0o600), ["replaced", "kept"]),
    "owner of a file": (lambda modules: os.chown(member(modules), 1, 1), ["replaced", "kept"]),
    "content of a file": (lambda modules: member(modules).write_text("txet\n"), ["replaced", "kept"]),
    "a file gone": (lambda modules: member(modules).unlink(), ["replaced", "kept"]),
    "another egg": (
        lambda modules: write_egg(eggs(modules) / "lib-1.0-py3.11.egg", {"lib/__init__.py": "WORD = 1\n"}),
        ["kept", "replaced"],
    ),
    "no cache": (lambda modules: shutil.rmtree(modules.home / "cache"), ["made", "made"]),
    "no receipt": (lambda modules: (modules.home / "cache" / ".eggcache.json").unlink(), ["replaced", "replaced"]),
}


def member(modules: Modules) -> Path:
    return modules.home / "cache" / "shop-1.0-py3.11.egg-tmp" / "shop" / "data" / "text.txt"


@pytest.mark.parametrize("change", CHANGES)
def test_prepare_is_idempotent(modules: Modules, change: str) -> None:
    """Whatever was changed is put right and is a change; check mode says so before, and the next run finds none."""
    modules.prepare()
    CHANGES[change][0](modules)
    result = modules.exactly()
    assert sorted(outcome["action"] for outcome in result["outcomes"]) == sorted(CHANGES[change][1])
    assert result["changed"] is (change != "nothing")
    assert (result["diff"]["before"] != result["diff"]["after"]) is (change != "nothing")
    assert not result["failed"]


def test_two_hosts_are_compared_by_the_digest(modules: Modules) -> None:
    """Two caches of equal content have one digest; another group is another one."""

    def facts(name: str) -> dict[str, Any]:
        options = {"executable": modules.target["executable"], "directory": str(modules.home / name)}
        result = modules.run("cache_facts", target=False, **options)
        assert (result["failed"], result["changed"]) == (False, False)
        cache_facts: dict[str, Any] = result["ansible_facts"]["eggcache"]
        return cache_facts

    assert (facts("cache")["digest"], facts("cache")["current"]) == ("", False)
    one = modules.prepare()["digest"]
    two = modules.run("prepare", directory=str(modules.home / "two"), user="nobody", group="nogroup")["digest"]
    three = modules.run("prepare", directory=str(modules.home / "three"), user="nobody", group="root")["digest"]
    assert one == two != three
    assert [facts(name)["digest"] for name in ("cache", "two", "three")] == [one, two, three]
    assert facts("cache")["current"]
    member(modules).write_text("txet\n")
    assert not facts("cache")["current"]


def test_missing_distribution_fails_the_task_and_is_named(modules: Modules) -> None:
    """It fails the task and is named, with what was done all the same; lenient makes it a warning."""
    (eggs(modules) / "lib-1.0-py3.11.egg").unlink()
    result = modules.prepare(check=True)
    assert (result["failed"], result["exit_status"], result["changed"]) == (True, 5, True)
    result = modules.prepare()
    assert (result["failed"], result["exit_status"], result["changed"]) == (True, 5, True)
    assert "lib" in result["msg"]
    assert "[missing-distribution]" in result["msg"]
    lenient = modules.prepare(lenient=True)
    assert (lenient["failed"], lenient["changed"], lenient["exit_status"]) == (False, False, 5)
    assert "[missing-distribution]" in str(lenient["warnings"])


def test_unsafe_directory_fails_the_task(modules: Modules) -> None:
    """Somebody else's directory fails the task, lenient or not, in check mode too."""
    cache = modules.home / "cache"
    cache.mkdir()
    os.chown(cache, 65534, 65534)
    before = listing(modules.home)
    for more in ({}, {"lenient": True}, {"check": True}):
        result = modules.prepare(**more)
        assert (result["failed"], result["exit_status"], result["changed"]) == (True, 4, False)
        assert str(cache) in result["msg"]
    assert listing(modules.home) == before
    assert modules.prepare(reset=True)["changed"]


def test_held_lock_fails_the_task_and_says_how_to_retry(modules: Modules) -> None:
    """Another run holds the lock: it fails, says so in what it returns, and how to retry."""
    modules.prepare()
    member(modules).unlink()
    with open(modules.home / "cache" / ".eggcache.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = modules.prepare(wait=0.1)
    assert (result["failed"], result["busy"], result["exit_status"], result["changed"]) == (True, True, 75, False)
    assert "retries" in result["msg"]


def test_command_line_that_makes_no_sense(modules: Modules) -> None:
    """eggcache's own words, not a traceback."""
    result = modules.prepare(all=True)
    assert (result["failed"], result["exit_status"], result["changed"]) == (True, 2, False)
    assert "--all" in result["msg"]


def test_requirement_is_no_option(modules: Modules) -> None:
    """What an inventory says is a requirement cannot be an option."""
    cache = modules.home / "cache"
    cache.mkdir()
    os.chown(cache, 65534, 65534)
    assert modules.prepare(requirements=["--reset"])["failed"]
    assert cache.stat().st_uid == 65534


def test_check_mode_goes_on_before_eggcache_is_installed(modules: Modules) -> None:
    """Where eggcache is not installed yet, check mode goes on, and a real run says what is missing."""
    absent = str(modules.home / "absent")
    result = modules.prepare(executable=absent, check=True)
    assert (result["failed"], result["changed"]) == (False, True)
    checked = modules.run("check", executable=absent, check=True)
    assert (checked["failed"], checked["changed"], checked["skipped"]) == (False, False, True)
    result = modules.prepare(executable=absent)
    assert result["failed"]
    assert absent in result["msg"]


def test_check_module_fails_with_its_findings(modules: Modules) -> None:
    """No cache is a failure with its findings, a prepared one is none; what is ignored is returned as such."""
    options: dict[str, Any] = {"user": "nobody", "group": "nogroup"}
    result = modules.run("check", **options)
    assert (result["failed"], result["exit_status"]) == (True, 3)
    assert "[no-cache]" in result["msg"]
    assert [finding["code"] for finding in result["findings"]] == ["no-cache"]
    ignoring = modules.run("check", ignore=["no-cache"], **options)
    assert (ignoring["failed"], ignoring["findings"]) == (False, [])
    assert [finding["code"] for finding in ignoring["ignored"]] == ["no-cache"]
    lenient = modules.run("check", lenient=True, **options)
    assert (lenient["failed"], lenient["changed"]) == (False, False)
    assert "[no-cache]" in str(lenient["warnings"])
    modules.prepare()
    before = listing(modules.home)
    result = modules.run("check", cache=str(modules.home / "cache"), imports=["shop"], **options)
    assert not result["failed"], result["msg"]
    assert len(result["outcomes"]) == 2
    member(modules).write_text("txet\n")
    result = modules.run("check", cache=str(modules.home / "cache"), lenient=False, **options)
    assert (result["failed"], result["changed"]) == (True, False)
    assert len(before) == len(listing(modules.home))


def test_unzip_all_module_unzips_once(modules: Modules) -> None:
    """Zipped eggs become directories, as predicted, once."""
    before = listing(eggs(modules))
    predicted = modules.run("unzip_all", check=True)
    assert listing(eggs(modules)) == before
    result = modules.run("unzip_all", backup=str(modules.home / "zips"))
    assert (
        (predicted["changed"], predicted["outcomes"])
        == (result["changed"], result["outcomes"])
        == (True, result["outcomes"])
    )
    assert len(result["outcomes"]) == 2
    assert (eggs(modules) / "shop-1.0-py3.11.egg").is_dir()
    assert (modules.home / "zips" / "shop-1.0-py3.11.egg").is_file()
    again = modules.run("unzip_all", backup=str(modules.home / "zips"))
    assert (again["changed"], again["restart"]) == (False, False)


def test_names_are_fit_for_a_terminal(modules: Modules) -> None:
    """What an egg is called reaches no terminal as it is: not by a difference, a warning or an error."""
    odd = "Odd\x1b]0;owned\x07\x9b2J"
    write_egg(eggs(modules) / f"{odd}-1.0-py3.11.egg", {"odd.py": ""}, project="Odd")
    (eggs(modules) / f"Bad{odd}-1.0-py3.11.egg").write_bytes(b"no zip")
    write_egg(eggs(modules) / f"Closed{odd}-1.0-py3.11.egg", {}, project="Closed").chmod(0o600)
    every: dict[str, Any] = {
        "requirements": None,
        "all": True,
        "path": [str(path) for path in eggs(modules).glob("*.egg")],
    }
    lenient = modules.prepare(**every, lenient=True, check=True)
    unzipped = modules.run("unzip_all", **every, check=True, lenient=True)
    for result in (lenient, unzipped):
        said = [
            result["diff"]["before"],
            result["diff"]["after"],
            result.get("msg", ""),
            *map(str, result.get("warnings", ())),
        ]
        assert "Odd\\x1b]0;owned\\x07\\x9b2J" in said[1]
        assert all(c.isprintable() or c == "\n" for text in said for c in text)
    assert "Closed" in lenient["msg"]


@pytest.mark.parametrize(("kind", "included"), [("systemd", True), ("../../../planted/x", False)])
def test_handler_knows_the_kind(control: Control, tmp_path: Path, kind: str, included: bool) -> None:
    """What the host says how Apache is started names a file of the role, or none."""
    role = tmp_path / "role"
    for part in ("handlers", "vars"):
        shutil.copytree(SOURCE / "roles" / "eggcache" / part, role / part)
    (role / "tasks" / "restart-..").mkdir(parents=True)
    (tmp_path / "planted").mkdir()
    for file in (role / "tasks" / "restart-systemd.yml", tmp_path / "planted" / "x.yml"):
        file.write_text("[{ansible.builtin.debug: {msg: it was included}}]\n")
    play = tmp_path / "play.yml"
    emitted = {"ansible.builtin.set_fact": {"eggcache_emitted": {"kind": kind}}, "changed_when": True}
    (role / "tasks" / "main.yml").write_text(json.dumps([{**emitted, "notify": "Stop and start Apache"}]))
    play.write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "force_handlers": True, "roles": [str(role)]}])
    )
    result = control.run("ansible-playbook", "-i", "localhost,", "-c", "local", play, check=False)
    assert ("it was included" in result.stdout) is included, result.stdout + result.stderr
    assert (result.returncode == 0) is included
    assert ("no kind of wrapper" in result.stdout) is not included


def test_wrapper_module_installs_it_once(modules: Modules) -> None:
    """It is installed where it is told, once; what was changed is put right, and what is not ours is left alone."""
    dest = modules.home / "start"
    options: dict[str, Any] = {
        "directory": str(modules.home / "cache"), "kind": "init.d", "dest": str(dest), "user": "nobody",
        "apachectl": "/usr/sbin/apache2ctl", "pid_file": "/run/apache2.pid",
    }  # fmt: skip
    result = modules.exactly("wrapper", **options)
    assert (result["changed"], result["diff"]["before"]) == (True, "")
    assert dest.read_text() == result["text"]
    assert "PYTHON_EGG_CACHE" in result["text"]
    assert stat.S_IMODE(dest.stat().st_mode) == 0o755
    dest.chmod(0o644)
    assert modules.exactly("wrapper", **options)["changed"]
    dest.write_text(result["text"] + "# eggcache\n")
    assert modules.exactly("wrapper", **options)["diff"]["before"].endswith("# eggcache\n")
    dest.write_text("somebody's\n")
    refused = modules.run("wrapper", **options)
    assert refused["failed"]
    assert dest.read_text() == "somebody's\n"
    part = modules.run("wrapper", **{**options, "kind": "mod_wsgi", "dest": None})
    assert part["failed"]
    assert "dest" in part["msg"]


# ----------------------------------------------------------------------------------------- what its users read


def test_ansible_lint_has_nothing_to_say(control: Control, tmp_path: Path) -> None:
    """ansible-lint's strictest profile has nothing to say."""
    copied = tmp_path / "ansible_collections" / "eggcache" / "eggcache"
    shutil.copytree(SOURCE, copied)
    result = control.run("ansible-lint", "--offline", "--strict", "--profile", "production", "--nocolor", copied)
    assert "Passed" in result.stderr


@pytest.mark.parametrize("name", sorted(path.stem for path in (SOURCE / "plugins" / "modules").glob("*.py")))
def test_ansible_doc_shows_the_options_that_there_are(control: Control, name: str) -> None:
    """ansible-doc shows it, it documents the options that the module takes, and its examples use no others."""
    result = control.run("ansible-doc", "-t", "module", "--json", f"eggcache.eggcache.{name}")
    shown = json.loads(result.stdout)[f"eggcache.eggcache.{name}"]
    documented = shown["doc"]["options"]
    spec = argument_spec(control, name)
    for given in (documented, spec):
        assert given
    assert {key: shape(value) for key, value in documented.items()} == {
        key: shape(value) for key, value in spec.items()
    }
    assert shown["return"]
    import yaml  # which comes with ansible-core, so not on Pythons that are too old for it

    tasks = yaml.safe_load(shown["examples"])
    used = [task[f"eggcache.eggcache.{name}"] for task in tasks if "ansible.builtin.assert" not in task]
    assert used
    assert set().union(*used) <= set(documented)


def shape(option: dict[str, Any]) -> tuple[object, ...]:
    return (option.get("type"), option.get("elements"), option.get("default"), bool(option.get("required")))


def argument_spec(control: Control, name: str) -> dict[str, Any]:
    """What the module gives to AnsibleModule."""
    code = (
        "import json, sys, importlib, ansible.module_utils.basic as basic\n"
        "def spy(argument_spec, **more):\n    print(json.dumps(argument_spec)); sys.exit()\n"
        "basic.AnsibleModule = spy\n"
        f"importlib.import_module('ansible_collections.eggcache.eggcache.plugins.modules.{name}').main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**control.environment, "PYTHONPATH": str(control.home / "collections")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    specification: dict[str, Any] = json.loads(result.stdout)
    return specification
