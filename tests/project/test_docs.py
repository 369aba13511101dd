"""The README's console blocks are run, and say what they say; its two commands are the ones that there are."""

from __future__ import annotations

import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT, clones, deployment
from support.deployment import Deployment
from support.hosts import free_port, listens
from support.httpd import mod_wsgi_27, require, wait_for
from support.judge import environment
from support.namespaces import private
from support.parts import missing
from support.session import PROGRAMS, blocks, installed, matches, play
from support.shop import TURBOGEARS1
from support.sites import Site, named
from support.systemd_host import SystemdHost
from support.systemd_site import CACHE, UNIT, serving

from eggcache.cli import main

README = (ROOT / "README.rst").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.rst").read_text(encoding="utf-8")
# Debian's mod_wsgi embeds Python 3; this one is loaded in its place.
SITE = """
ServerName 127.0.0.1
LoadModule wsgi_module {module}
WSGIPythonHome {home}
WSGIPythonPath /srv/turbogears/lib/python2.7/site-packages
WSGIScriptAlias / /srv/turbogears/start.py
<Directory /srv/turbogears>
    Require all granted
</Directory>
"""


@pytest.fixture
def turbogears_site(turbogears1_complete: Deployment, where: Path) -> Iterator[SystemdHost]:
    """A host with systemd, whose Apache serves TurboGears 1.1.3 by mod_wsgi for CPython 2.7, and has no cache."""
    module, home = mod_wsgi_27(where), deployment.interpreter("2.7", where).parent.parent
    with serving() as server:
        host = server.host
        deployment.copy(turbogears1_complete, host.path("/srv/turbogears"))
        host.write("/srv/turbogears/start.py", TURBOGEARS1)
        host.write("/etc/apache2/conf-enabled/demo.conf", SITE.format(module=module, home=home))
        host.run("a2dismod", "-q", "wsgi")
        # Apache has a /var/tmp of its own, and Python and the module are built in the one of the tests.
        host.write(f"/run/systemd/system/{UNIT}.d/tests.conf", f"[Service]\nBindReadOnlyPaths={where}\n")
        host.run("systemctl", "daemon-reload")
        assert server.systemctl("start") == ""
        yield host


def test_readme_session_is_what_a_user_sees(turbogears_site: SystemdHost, shared_tmp: Path) -> None:
    """The session is what a user sees: each command is typed in, in order, and each line of its output compared. At
    its end Apache serves a page of TurboGears whose native module is the cache's."""
    host, env = turbogears_site, installed(shared_tmp / "bin")
    play(blocks(README, "console"), {}, env, inside=host.inside)
    deployment.run([*host.inside, "eggcache", "check", "--cache", CACHE], env=env)  # whose exit status is 0
    page = host.run("curl", "-s", "http://localhost/").stdout
    assert page == f"native={CACHE}/SQLAlchemy-0.7.10-py2.7-linux-x86_64.egg-tmp/sqlalchemy/cprocessors.so"


# What the tutorial writes lies on a tmpfs of the test's own, over what the machine has; the clone is built there too.
# Its /run is new, without a way to a systemd of the machine's: that one would start the machine's own Apache.
NEW_HOST = r"""
mount -t tmpfs none "$1"
cp /etc/resolv.conf "$1/resolv.conf"
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/lock /run/apache2
case $(readlink -m /etc/resolv.conf) in /run/*) # systemd-resolved's
    mkdir -p "$(dirname "$(readlink -m /etc/resolv.conf)")"
    cp "$1/resolv.conf" "$(readlink -m /etc/resolv.conf)" ;;
esac
for place in /etc/systemd/system /etc/apache2 /etc/init.d /etc/rc[0-6S].d /srv /opt /usr/local /var/cache /var/log; do
    until [ -d "$place" ]; do place=$(dirname "$place"); done # what is made there is not to be made on the machine
    mkdir -p "$1/upper$place" "$1/spare$place"
    mount -t overlay overlay -o "lowerdir=$place,upperdir=$1/upper$place,workdir=$1/spare$place" "$place"
done
clone=/usr/local/src/eggcache
mkdir -p "$clone" "$1/upper/clone" "$1/spare/clone" /etc/systemd/system /var/log/apache2
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper/clone,workdir=$1/spare/clone" "$clone"
mount -t tmpfs -o mode=755 none /var/log/apache2
rm -rf "$clone/build" /etc/apache2/sites-enabled/* /opt/eggcache /var/cache/eggcache /srv/* # the machine's own
ln -sf ../mods-available/wsgi.load /etc/apache2/mods-enabled # as its package does
echo "Listen 127.0.0.1:$3" >/etc/apache2/ports.conf
"""


def test_tutorial_is_what_its_reader_sees(shared_tmp: Path) -> None:
    """The tutorial is what its reader sees, typed in as it stands on a host that has nothing of it: an application is
    made, it fails, eggcache is installed, and the page is served out of the cache."""
    require("wsgi")
    if not Path("/usr/bin/python3.11").exists():
        missing("the tutorial's Python is 3.11, Debian 12's")
    port = free_port()
    kept = {**clones.reaching_the_index(), "PIP_QUIET": "2"}  # what it warns of is that index's
    url = f"http://127.0.0.1:{port}/"

    def settle(command: str) -> None:
        """apachectl returns before Apache listens, and nobody asks for a page as fast."""
        if command.endswith((" start", " restart")):
            wait_for(lambda: listens(port))

    with private(NEW_HOST, shared_tmp, ROOT, str(port)) as inside:
        env = environment({"PATH": PROGRAMS, **kept})
        play(blocks(TUTORIAL, "console"), {"http://127.0.0.1/": url}, env, settle, inside)
        with urllib.request.urlopen(url, timeout=60) as page:
            assert page.read() == b"Welcome to the shop\n"
        show = [*inside, "sh", "-c", 'tr "\\0" "\\n" </proc/$(cat /run/apache2/apache2.pid)/environ']
        assert "PYTHON_EGG_CACHE=/var/cache/eggcache\n" in deployment.run(show).stdout


def test_init_script_of_the_readme_starts_apache(site: Site, shared_tmp: Path) -> None:
    """The README's commands for a host with sysvinit, as they stand, start Apache anew with the cache, now and at the
    next boot, when Debian's script starts none."""
    (commands,) = (block for block in blocks(README, "sh") if "--for init.d" in block)
    env = installed(shared_tmp / "bin")
    (shared_tmp / "host").mkdir()
    with private(NEW_HOST, shared_tmp / "host", ROOT, str(free_port())) as inside:
        prepare = ["eggcache", "prepare", CACHE, "--python", site.python, "--user", "www-data", *named(site.eggs)]
        for command in (["apachectl", "start"], prepare, ["sh", "-ec", commands]):
            result = deployment.run([*inside, *command], env=env)
        running = [*inside, "sh", "-c", 'tr "\\0" "\\n" </proc/$(cat /run/apache2/apache2.pid)/environ']
        assert f"PYTHON_EGG_CACHE={CACHE}\n" in deployment.run(running).stdout, result.stderr
        links = deployment.run([*inside, "ls", "/etc/rc2.d"]).stdout
        assert re.findall(r"^([SK])\d+(?:apache2|eggcache-apache)$", links, re.MULTILINE) == ["K", "S"], links


def test_python_of_the_readme_does_what_the_command_does(
    turbogears2_311: Deployment, shared_tmp: Path, checkout: Path
) -> None:
    """The few lines of Python that are shown do what the command does: a dry run names what would be made, and writes
    nothing."""
    (block,) = blocks((ROOT / "docs" / "reference" / "api.rst").read_text(encoding="utf-8"), "python")
    real = {"/var/cache/eggcache": f"{shared_tmp}/cache", "/srv/site/bin/python": str(turbogears2_311.python)}
    for shown, place in {**real, "myapp": "TurboGears2"}.items():
        assert shown in block
        block = block.replace(shown, place)
    code = f"{block}\nprint(report.dry_run, {{one.action for one in report.outcomes}}, len(report.outcomes) > 1)"
    result = deployment.run([sys.executable, "-c", code], env=environment({"PYTHONPATH": str(checkout)}))
    assert result.stdout.splitlines()[-1] == "True {'made'} True"
    assert not (shared_tmp / "cache").exists()


QUIETLY = """
import sys
from eggcache import *
place, python, *eggs = sys.argv[1:]
target = Target(python, eggs)
def work():
    yield resolve(target)
    yield prepare(f"{place}/cache", target)
    yield check(f"{place}/cache", target)
    yield wheels(f"{place}/wheels", target)
    yield archive(f"{place}/cache.tar", target)
    yield archive_unzipped(f"{place}/eggs.tar", target, site_packages=f"{place}/eggs")
    yield unzip_all(target, backup=f"{place}/zips")
    yield status(f"{place}/cache")
    yield undo(target, backup=f"{place}/zips")
    yield remove(f"{place}/cache")
    yield wrapper("shell", WrapperSettings(f"{place}/cache", ["/bin/true"], None))
wrong = [len(getattr(each, "findings", ())) for each in work()]
sys.exit(3 if len(wrong) == 11 and wrong[1] and wrong[2] else 4)
"""


def test_functions_print_nothing(site: Site, shared_tmp: Path, checkout: Path) -> None:
    """Of an egg and a damaged one, each function of the API that takes a target, or a cache, prints nothing."""
    (site.eggs / "Bad-1.0-py3.11.egg").write_bytes((site.eggs / "One-1.0-py3.11.egg").read_bytes()[:-9])
    argv = [sys.executable, "-c", QUIETLY, shared_tmp, site.python, *sorted(site.eggs.glob("*.egg"))]
    result = deployment.run(argv, env=environment({"PYTHONPATH": str(checkout)}), check=False)
    assert (result.returncode, result.stdout, result.stderr) == (3, "", "")


def test_comparison_can_fail() -> None:
    """The comparison is not satisfied by anything."""
    assert matches("a\n...\nc\n", "a\nb\nb\nc\n")
    assert matches("25 eggs: ...\n", "25 eggs: 27 MB\n")
    assert not matches("a\n...\nc\n", "a\nb\n")
    assert not matches("a\n", "a\nb\n")


def test_commands_for_developers_are_scripts() -> None:
    """The two commands of the README are the scripts that there are, and CI runs the one for the tests."""
    assert {"scripts/quickstart\n", "scripts/test\n"} <= set(blocks(README, "sh"))
    for name in ("scripts/quickstart", "scripts/test", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK)
    assert re.search(r"^exec scripts/test$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_readme_names_the_exit_statuses_of_errors() -> None:
    """The README's line of exit statuses names those of the errors, and no other."""
    from eggcache import errors

    line = README.split("what went wrong <docs/reference/exit-statuses.rst>`_: ")[1].split(".")[0]
    statuses = {cls.status for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)}
    assert set(re.findall(r"(\d+) ", line)) == {str(status) for status in statuses} | {"0"}


def test_readme_names_every_command_and_ends() -> None:
    """The README names each command, and is no longer than a reader reads."""
    assert {name for name in main.COMMANDS if f"``eggcache {name}" not in README} == set()
    assert len(README.splitlines()) <= 200


def test_promises_have_their_tests() -> None:
    """Each promise of SECURITY.rst names tests, and there is every one of them."""
    text = (ROOT / "SECURITY.rst").read_text(encoding="utf-8")
    promises = re.findall(r"^- (.*?)(?=^\S|\Z)", text.split("\nWhat it promises\n")[1].split("\nWhat it does")[0],
                          re.MULTILINE | re.DOTALL)  # fmt: skip
    assert len(promises) >= 15
    for promise in promises:
        named = re.findall(r"``(tests/[\w/]+\.py)::(test_\w+)``", promise)
        assert named, promise
        for file, name in named:
            assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), (file, name)


def test_public_api_of_the_readme_is_there() -> None:
    """What the README calls the public API can be had from the package, and has a docstring."""
    import eggcache

    for name in re.findall(r"``eggcache\.(\w+)``", README):
        assert getattr(eggcache, name).__doc__
        assert name in eggcache.__all__
    with pytest.raises(AttributeError):
        _ = eggcache.nothing
