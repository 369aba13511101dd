"""What gunicorn and uWSGI are told is read off their command lines and files; gunicorn itself agrees."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from support.parts import missing

from eggcache.servers import server_files
from eggcache.servers.application_servers import ApplicationServer, selection
from eggcache.servers.environment_variables import Environment
from eggcache.servers.script_settings import Setting
from eggcache.system import files

PYTHON = "/usr/bin/python3"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with an application, and another one in a package below."""
    (tmp_path / "lib" / "shop").mkdir(parents=True)
    (tmp_path / "app.py").write_text("import os\nos.environ['PYTHON_EGG_CACHE'] = '/app'\n")
    (tmp_path / "lib" / "shop" / "__init__.py").write_text("")
    (tmp_path / "lib" / "shop" / "wsgi.py").write_text("application = None\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "configuration", "files", "paths"),
    [
        ([PYTHON, "/v/bin/gunicorn", "app:app"], None, ["app.py"], ["."]),
        ([PYTHON, "-m", "gunicorn", "-b", ":1", "--preload", "app"], "", ["gunicorn.conf.py", "app.py"], ["."]),
        (["gunicorn: master [app:app]"], "", ["gunicorn.conf.py", "app.py"], ["."]),
        ([PYTHON, "/usr/bin/gunicorn3", "--chdir=lib", "-w2", "shop.wsgi"], None, ["lib/shop/wsgi.py"], ["lib"]),
        ([PYTHON, "/b/gunicorn", "-c", "file:c.py", "-D"], "wsgi_app = 'shop.wsgi:x'\npythonpath = 'lib,/more'\n",
         ["c.py", "lib/shop/wsgi.py"], [".", "lib", "/more"]),
        ([PYTHON, "/b/gunicorn", "-cc.py", "shop"], "chdir = 'l' + 'ib'\n", ["c.py", "lib/shop/__init__.py"], ["lib"]),
        ([PYTHON, "/b/gunicorn", "--config", "python:settings", "nothing.there"], None, [], ["."]),
    ],
)  # fmt: skip
def test_files_and_path_of_gunicorn_are_found(
    words: Sequence[str], configuration: str | None, files: Sequence[str], paths: Sequence[str], home: Path
) -> None:
    """Its configuration, by option or by its usual name, the application's file, and the path, as each is told."""
    name = "gunicorn.conf.py" if "gunicorn.conf.py" in files else "c.py"
    if configuration is not None:
        (home / name).write_text(configuration)
    told = server_files.gunicorn(words, ["/nowhere", str(home)], {})
    assert told
    assert told.files == [str(home / file) for file in files]
    assert told.paths == [str((home / path).resolve()) for path in paths]


def test_gunicorn_as_it_reads_itself(home: Path) -> None:
    """gunicorn prints the same: its command line counts before GUNICORN_CMD_ARGS, and that before its file."""
    (home / "c.py").write_text("pythonpath = 'no'\nchdir = '/'\nraw_env = ['TZ=UTC', 'PYTHON_EGG_CACHE=/c']\n")
    variables = {"GUNICORN_CMD_ARGS": "--pythonpath=lib -c c.py --env TZ=Asia/Tokyo"}
    words = [sys.executable, "-m", "gunicorn", "--chdir", str(home), "-e", "TZ=Asia/Seoul", "shop.wsgi:application"]
    told = server_files.gunicorn(words, [str(home)], variables)
    assert told
    assert (told.files, told.variables) == ([f"{home}/c.py", f"{home}/lib/shop/wsgi.py"], {"TZ": "Asia/Seoul"})
    assert [(setting.name, setting.value, setting.line) for setting in server_files.read(told.files[0]).settings] == [
        ("TZ", "UTC", 3), ("PYTHON_EGG_CACHE", "/c", 3),
    ]  # fmt: skip
    result = subprocess.run(
        [*words, "--print-config"], cwd=home, env=variables, capture_output=True, text=True, check=False
    )
    if "No module named gunicorn" in result.stderr:
        missing("gunicorn is not installed")
    printed = dict(line.partition("= ")[::2] for line in result.stdout.splitlines())
    told_itself = {name.strip(): value for name, value in printed.items()}
    assert told_itself["chdir"] == str(home)
    assert told_itself["pythonpath"] == "lib"
    assert told_itself["raw_env"] == "['TZ=Asia/Seoul']"


@pytest.mark.parametrize(
    "words",
    [["/usr/bin/python3", "app.py"], ["/usr/bin/python3", "-c", "gunicorn.conf.py"], ["/usr/sbin/apache2", "-k"], [""]],
)
def test_other_programs_are_no_gunicorn(words: Sequence[str]) -> None:
    """Another program is none, whatever its arguments."""
    assert server_files.gunicorn(words, ["/"], {}) is None


@pytest.mark.parametrize(
    ("words", "text", "variables", "files", "home_of"),
    [
        (["--wsgi-file", "app.py", "--env=TZ=UTC", "--unenv", "LANG"], None, {"TZ": "UTC", "LANG": None}, ["app.py"],
         None),
        (["--master", "u.ini"], "[uwsgi]\nmodule = shop.wsgi:x\npythonpath = %dlib\nvirtualenv=/v\n", {},
         ["u.ini", "lib/shop/wsgi.py"], "/v"),
        (["--ini", "u.ini:two"], "[uwsgi]\nwsgi-file=no.py\n[two]\nfile = %dapp.py\n", {}, ["u.ini", "app.py"], None),
        (["--ini=u.ini"], "; wsgi-file = no.py\n[other]\nfile=no.py\n[uwsgi]\nchdir = %d/lib\nwsgi = shop\n", {},
         ["u.ini", "lib/shop/__init__.py"], None),
        (["--ini", "u.ini"], "[uwsgi]\nwsgi-file = $(APP)\nini = more.ini\n", {}, ["u.ini", "app.py"], None),
    ],
)  # fmt: skip
def test_files_and_environment_of_uwsgi_are_found(
    words: Sequence[str], text: str | None, variables: Mapping[str, str], files: Sequence[str], home_of: str, home: Path
) -> None:
    """Its ini files, the section that is named, the application's file and the virtual environment."""
    if text is not None:
        (home / "u.ini").write_text(text)
    (home / "more.ini").write_text("[uwsgi]\nwsgi-file = app.py\nini = more.ini\n")
    told = server_files.uwsgi(["/usr/bin/uwsgi", *words], [str(home)])
    assert told.variables == variables
    assert told.files == [str(home / file) for file in files]
    assert told.home == home_of


def test_variables_of_an_ini_file(tmp_path: Path) -> None:
    """Each env of its section sets one, with uWSGI's placeholders; which one a variable of uWSGI's own gives, only
    running it would tell."""
    ini = tmp_path / "shop.ini"
    ini.write_text(
        "[other]\nenv = TZ=no\n[uwsgi]\nenv = TZ=UTC\nenv=PYTHON_EGG_CACHE=%d%n/100%%\nunenv = TZ\nenv = A=b\n"
        "env = PYTHON_EGG_CACHE=$(HOME)/eggs\n"
    )
    assert [(setting.name, setting.value, setting.line) for setting in server_files.read(str(ini)).settings] == [
        ("TZ", "UTC", 4), ("PYTHON_EGG_CACHE", f"{tmp_path}/shop/100%", 5), ("TZ", None, 6),
        ("PYTHON_EGG_CACHE", None, 8),
    ]  # fmt: skip


def test_ini_files_that_name_each_other_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each section of a file is read once, however many lines lead to it, of a bounded number of files; and of a script
    the last settings count."""
    read, beginning = [], files.beginning
    monkeypatch.setattr(files, "beginning", lambda file, size: read.append(file) or beginning(file, size))
    evil = tmp_path / "evil.ini"
    evil.write_text("[uwsgi]\nenv = TZ=UTC\n" + "ini = evil.ini\n" * 3 + "ini = link.ini\nini = evil.ini:two\n[two]\n")
    (tmp_path / "link.ini").symlink_to(evil)
    assert [setting.value for setting in server_files.read(str(evil)).settings] == ["UTC"]
    assert len(read) == 2
    for number in range(100):
        (tmp_path / f"{number}.ini").write_text(f"[uwsgi]\nini = {number + 1}.ini\nenv = TZ={number}\n" * 2)
    assert len(server_files.read(f"{tmp_path}/0.ini").settings) == 60
    words = [f"--ini={number}.ini" for number in range(100)]
    assert len(server_files.uwsgi(["uwsgi", *words], [str(tmp_path)]).files) == 30
    assert len(read) == 62
    evil.write_text("[uwsgi]\n" + "".join(f"env = TZ={number}\n" for number in range(999)))
    assert [setting.value for setting in server_files.read(str(evil)).settings][::99] == ["899", "998"]
    for size, values in ((1 << 19, ["UTC", "CET"]), (1 << 20, ["UTC"])):  # of all of them, no more than 1 MiB is read
        (tmp_path / "two.ini").write_text(f"[uwsgi]\n#{'-' * (size - 100)}\nenv = TZ=CET\n")
        evil.write_text(f"[uwsgi]\n#{'-' * (size - 100)}\nenv = TZ=UTC\nini = two.ini\n")
        assert [setting.value for setting in server_files.read(str(evil)).settings] == values


@pytest.mark.parametrize("value", ["/x\0y", "%p" * 4000, "a" * 5000], ids=["nul", "grows", "long"])
def test_what_no_process_can_have_is_unknown(value: str, tmp_path: Path) -> None:
    """A text with a NUL, or longer than any path, is not taken for a value, a file or a directory."""
    ini = tmp_path / "u.ini"
    ini.write_text(f"[uwsgi]\nenv = TZ={value}\nini = {value}\nhome = {value}\nwsgi-file = {value}\npp = {value}\n")
    assert [setting.value for setting in server_files.read(str(ini)).settings] == [None]
    told = server_files.uwsgi(["uwsgi", str(ini)], ["/"])
    assert (told.files, told.paths, told.home) == ([str(ini)], ["/"], None)


@pytest.mark.parametrize("text", ["b" * (1 << 20), "\n" * (1 << 20)], ids=["b", "lines"])
def test_a_script_of_one_character_is_read(text: str, tmp_path: Path) -> None:
    """A script of nothing but the beginning of what is looked for is read in a time that grows with its length: with
    its square, this test would take an hour."""
    (tmp_path / "app.py").write_text(text)
    script = server_files.read(f"{tmp_path}/app.py")
    assert (script.asks, script.tracs) == (False, False)


def test_paths_that_a_server_is_told_are_bounded(tmp_path: Path) -> None:
    """Of thousands of directories, which are looked into one after another, the first are."""
    (tmp_path / "u.ini").write_text("[uwsgi]\n" + "pp = /a\n" * 5000)
    (tmp_path / "c.py").write_text(f"pythonpath = '{'/a,' * 1300}'\n")
    assert len(server_files.uwsgi(["uwsgi", "u.ini"], [str(tmp_path)]).paths) == 101
    told = server_files.gunicorn([PYTHON, "/b/gunicorn", "-c", "c.py"], [str(tmp_path)], {})
    assert told
    assert len(told.paths) == 101


def test_one_that_has_the_cache_is_the_applications() -> None:
    """Of several servers of a user, those that have the cache, by their environment or by their files, are meant; of
    another cache, any may be."""
    none = Environment("", {}, frozenset())
    by_file = server_files.Script("conf", (Setting("PYTHON_EGG_CACHE", "/b/../c", 1),), True, False, False)
    told = ApplicationServer("gunicorn", 33, none, (by_file,))
    has = ApplicationServer("uwsgi", 33, Environment("", {"PYTHON_EGG_CACHE": "/c"}, frozenset()))
    lacks, others = ApplicationServer("gunicorn", 33, none), ApplicationServer("gunicorn", 34, none)
    environments = [lacks, told, has, others]
    assert list(selection(environments, 33, "/c")) == [told, has]
    assert list(selection(environments, 33, "/d")) == list(selection(environments, 33, None)) == [lacks, told, has]
    assert list(selection(environments, 34, "/c")) == [others]
