"""trac: a Trac environment on the path stands for the directories that Trac takes plugins from."""

from __future__ import annotations

import configparser
import os
import pwd
import re
import shlex
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.judge import as_json, eggcache
from support.sites import write_egg

from eggcache.errors import UsageError
from eggcache.target import code_owners, search_path, trac_environments


def environment(top: Path, configuration: str) -> Path:
    """A directory as `trac-admin initenv` leaves it, as far as plugins are concerned."""
    made = top / "env"
    (made / "conf").mkdir(parents=True)
    (made / "plugins").mkdir()
    (made / "VERSION").write_text("Trac Environment Version 1\n")
    (made / "conf" / "trac.ini").write_text(f"# -*- coding: utf-8 -*-\n\n{configuration}\n[trac]\ntwo = %(percent\n")
    return made


@pytest.mark.parametrize(
    ("configuration", "shared"),
    [
        ("", None),
        ("[inherit]\nplugins_dir =\n", None),
        ("[inherit]\nplugins_dir = /srv/plugins\n", "/srv/plugins"),
        ("[inherit]\nPlugins_Dir: ../more\n", "env/more"),
        ("[inherit]\nfile = ../../site.ini\n", "env/conf/site-plugins"),
        ("[inherit]\nfile = absent.ini, ../../site.ini\n", "env/conf/site-plugins"),
        ("[inherit]\nfile = ../../site.ini\nplugins_dir =\n", None),
        ("[inherit]\nfile = trac.ini\n", None),
    ],
)
def test_plugins_and_what_is_inherited(configuration: str, shared: str | None, shared_tmp: Path) -> None:
    """As Trac reads its trac.ini: other files in turn, the first value counts, paths are relative to conf."""
    made = environment(shared_tmp, configuration)
    (shared_tmp / "site.ini").write_text("[inherit]\nfile = base.ini\n")
    (shared_tmp / "base.ini").write_text("[inherit]\nplugins_dir = site-plugins\n")
    paths = [os.path.normpath(path) for path in search_path.entries([str(made)])]
    assert paths == [str(made / "plugins"), *([str(shared_tmp / shared)] if shared else [])]


def test_what_is_no_trac(python: Path, shared_tmp: Path) -> None:
    """A directory with a trac.ini but without Trac's mark is itself; a trac.ini that Trac cannot read is an error."""
    made = environment(shared_tmp, "[inherit]\nplugins_dir = /a\0\n")
    with pytest.raises(UsageError, match=r"trac\.ini, line 4;"):
        search_path.entries([str(made)])
    (made / "conf" / "trac.ini").write_text("no section\n")
    with pytest.raises(UsageError, match=r"env: Trac cannot read its configuration: .*/trac\.ini.*; correct that line"):
        search_path.entries([str(made)])
    # What a server is started by does not keep it down for that
    words = ["prepare", shared_tmp / "cache", "--trac-env", made, "--python", python]
    assert eggcache(*words).returncode == 2
    assert eggcache(*words, "--lenient").returncode == 0
    (made / "VERSION").unlink()
    assert search_path.entries([str(made)]) == [str(made)]


def test_remedy_for_a_plugin(python: Path, shared_tmp: Path) -> None:
    """The command with which prepare has a plugin unzipped unzips it: it names the egg, which no directory does."""
    made = environment(shared_tmp, "")
    files = {"plug.py": "", "x": "", "EGG-INFO/eager_resources.txt": "absent\nx\n"}
    egg = write_egg(made / "plugins" / "Plug-1.0-py3.11.egg", files)
    target = ["--trac-env", made, "--python", python, "--user", "nobody"]
    finding, *_ = as_json(eggcache("prepare", shared_tmp / "cache", *target, "--json"))["findings"]
    assert finding["thing"] == str(egg)
    result = eggcache(*shlex.split(finding["command"])[1:])
    assert (result.returncode, egg.is_dir()) == (0, True), result.stderr


LINES = """[inherit]|[DEFAULT]|[other]|[]|a||# b| ; c|File = x, y|file:z|  plugins_dir=q|   more = 1|=| [inherit]
|\tdeep|plugins_dir|[inherit]] # d|file =|a = = b\r"""
if sys.version_info < (3, 10):  # for its configparser a section's name ends at the first bracket
    LINES = LINES.replace("|[inherit]] # d", "")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine anything is slow
@given(st.lists(st.sampled_from(LINES.replace("\n", "").split("|"))))
def test_read_as_configparser_reads(lines: list[str]) -> None:
    """The same options, and an error for the same files."""
    parser = configparser.RawConfigParser(strict=False)
    expected: dict[str, str] | None = {}
    try:
        parser.read_string("\n".join(lines))
        expected = dict(parser["inherit"]) if parser.has_section("inherit") else {}
    except configparser.Error:
        expected = None
    settings: dict[str, str] | None
    try:
        settings = trac_environments._inherit("\n".join(lines), "trac.ini")
    except trac_environments.Unreadable:
        settings = None
    if expected is not None:  # an empty line within a value is of no meaning to Trac
        expected = {name: re.sub("\n+", "\n", value) for name, value in expected.items()}
    assert settings == expected


def test_it_shows_nobody_what_he_cannot_read(shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """Root reads what a trac.ini names with the rights of its owner; and no message has text of a file."""
    made = environment(shared_tmp, "[inherit]\nfile = ../../secret.ini\n")
    secret, configuration = shared_tmp / "secret.ini", made / "conf" / "trac.ini"
    secret.write_text("[inherit]\nroot:$y$hash\nplugins_dir = /srv/secret\nother\n")
    secret.chmod(0o600)
    with pytest.raises(UsageError, match=re.escape(f"configuration: {made}/conf/../../secret.ini, line 4; correct")):
        search_path.entries([str(made)])
    os.chown(configuration, nobody.pw_uid, nobody.pw_gid)
    assert search_path.entries([str(made)]) == [str(made / "plugins")]
    os.chown(secret, nobody.pw_uid, nobody.pw_gid)
    with pytest.raises(UsageError, match="line 4"):
        search_path.entries([str(made)])
    # Nor does it take longer than a file is long
    configuration.write_text("[inherit]\na" + " " * 200_000 + "b\n" * 200_000)
    with pytest.raises(UsageError, match=r"trac\.ini, line 2;"):
        search_path.entries([str(made)])
    # A Trac whose group may write, as many are: its owner reads it, and for root's a member of that group
    configuration.write_text("[inherit]\nplugins_dir = /srv/plugins\n")
    for uid in (nobody.pw_uid, 0):
        os.chown(configuration, uid, nobody.pw_gid)
        configuration.chmod(0o660)
        assert search_path.entries([str(made)]) == [str(made / "plugins"), "/srv/plugins"]


def test_a_cache_for_its_plugins(python: Path, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """All that is on the path is prepared, and again as soon as another directory is inherited, by its own file."""
    made = environment(shared_tmp, "[inherit]\nfile = ../../site.ini\n")
    site = shared_tmp / "site.ini"
    site.write_text("")
    for name in ("plugins", "../shared"):
        (made / name).mkdir(exist_ok=True)
    write_egg(made / "plugins" / "One-1.0-py3.11.egg", {"one/__init__.py": "", "one/htdocs/a.css": "a"})
    write_egg(shared_tmp / "shared" / "Two-1.0-py3.11.egg", {"two/__init__.py": "", "two/htdocs/a.css": "a"})
    words = ["prepare", shared_tmp / "cache", "--all", "--trac-env", made, "--python", python, "--user", nobody.pw_name]

    def prepared() -> tuple[bool, list[str]]:
        result = eggcache(*words, "--json")
        assert result.returncode == 0, result.stderr
        report = as_json(result)
        return report["unchanged"], sorted(os.path.basename(outcome["egg"]) for outcome in report["outcomes"])

    assert prepared() == (False, ["One-1.0-py3.11.egg"])
    assert prepared()[0] is True
    site.write_text(f"[inherit]\nplugins_dir = {shared_tmp}/shared\n")
    assert prepared() == (False, ["One-1.0-py3.11.egg", "Two-1.0-py3.11.egg"])


def test_the_wrapper_is_what_trac_reads(python: Path, shared_tmp: Path) -> None:
    """Where nobody says --for, it is Apache's configuration, and what prepares names the environment, and no other."""
    made = environment(shared_tmp, "")
    result = eggcache("wrapper", shared_tmp / "cache", "--all", "--trac-env", made, "--python", python)
    assert result.returncode == 0, result.stderr
    assert f'\nSetEnv PYTHON_EGG_CACHE "{shared_tmp}/cache"\n' in result.stdout
    assert f" --trac-env {made} " in result.stdout
    assert "--for trac: Trac takes its cache from" in result.stderr
    result = eggcache("wrapper", shared_tmp / "cache", "--all", "--trac-env", shared_tmp, "--python", python)
    assert result.returncode == 2
    assert f"--trac-env {shared_tmp}: it is no Trac environment" in result.stderr


def test_root_runs_nothing_of_its_owners(python: Path, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """Plugins are the server's user's, mostly: a target that has them on its path is run as he."""
    made = environment(shared_tmp, f"[inherit]\nplugins_dir = {shared_tmp}/shared\n")
    (shared_tmp / "shared").mkdir()
    assert isinstance(code_owners.runner(str(python), [str(made)]), code_owners.RootAlone)
    for place in (made / "plugins", made / "conf/trac.ini", shared_tmp / "shared"):
        os.chown(place, nobody.pw_uid, nobody.pw_gid)
        assert code_owners.runner(str(python), [str(made)]).name == nobody.pw_name
        os.chown(place, 0, 0)
    assert str(shared_tmp / "shared") in code_owners.egg_directories(str(python), [str(made)])
    os.chown(made / "conf/trac.ini", nobody.pw_uid, nobody.pw_gid)
    assert str(shared_tmp / "shared") not in code_owners.egg_directories(str(python), [str(made)])
