"""buildout: the list of eggs in a script that zc.buildout wrote is read, and its interpreter is a target."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import buildouts, deployment
from support.buildouts import Buildout
from support.deployment import Deployment
from support.judge import as_json, eggcache
from support.parts import built
from support.sites import write_egg

from eggcache.errors import UsageError
from eggcache.target import buildout, code_owners, search_path

PLACES = ["eggs/acme.site-1.0", "eggs/acme.skin-1.0", "src"]


@pytest.fixture(scope="module")
def targets(plain: Deployment, where: Path) -> dict[str, Deployment]:
    """By version: Pythons that tests only run."""
    return {"3.11": plain, "2.7": built(lambda: deployment.target("2.7", "44.1.1", where))}


@pytest.fixture
def made(plain: Deployment, shared_tmp: Path) -> Buildout:
    """A buildout of the test's own, on Python 3.11."""
    return buildouts.generate(plain, shared_tmp)


def short(listed: list[str] | None, top: Path) -> list[str]:
    assert listed is not None
    return [os.path.relpath(path, top).partition("-py")[0] for path in listed]


@pytest.mark.parametrize("version", ["2.7", "3.11"])
@pytest.mark.parametrize("relative", [False, True])
def test_the_list_is_what_the_script_has_on_its_path(
    version: str, relative: bool, targets: dict[str, Deployment], shared_tmp: Path
) -> None:
    """In order, with absolute and with relative paths, by the first buildouts and by the last."""
    made = buildouts.generate(targets[version], shared_tmp, relative=relative)
    real = deployment.run([made.interpreter, "-c", "import sys; print('\\n'.join(sys.path))"]).stdout.splitlines()
    for script in (made.interpreter, made.script):
        listed = buildout.eggs(str(script))
        assert short(listed, shared_tmp) == PLACES
        assert [os.path.normpath(path) for path in real[: len(PLACES)]] == listed
        assert buildout.interpreter(str(script)) == str(targets[version].python)


@pytest.mark.parametrize(("recipe", "named"), [("modwsgi", False), ("django", True)])
def test_list_of_a_script_for_mod_wsgi(recipe: str, named: bool, python: Path, shared_tmp: Path) -> None:
    """What each recipe writes puts on the path what is read off it; one of them names no Python in its first line."""
    eggs = [write_egg(shared_tmp / f"{name}-1.0-py3.11.egg", {f"{name}.py": ""}) for name in ("one", "two")]
    script = shared_tmp / "app.wsgi"
    script.write_text(buildouts.wsgi_scripts(eggs, python)[recipe])
    assert buildout.eggs(str(script)) == [str(egg) for egg in eggs]
    assert buildout.interpreter(str(script)) == (str(python) if named else None)
    ends = re.split("^(?:from paste|import shop)", script.read_text(), flags=re.MULTILINE)[0]
    real = deployment.run([python, "-c", f"{ends}\nprint(sys.path[:2])"]).stdout
    assert real == f"{[str(egg) for egg in eggs]}\n"
    result = eggcache("tree", "--all", "--path-from", script, *([] if named else ["--python", python]))
    assert result.returncode == 0, result.stderr
    assert {"one 1.0", "two 1.0"} <= set(re.findall(r"^\w+ \S+", result.stdout, re.MULTILINE))


def test_a_directory_with_an_odd_name(plain: Deployment, shared_tmp: Path) -> None:
    """Quotes, blanks and bytes that are no UTF-8 in a path are read as they are meant."""
    top = shared_tmp / "o'da \"d ü"
    top.mkdir()
    made = buildouts.generate(plain, top)
    assert short(buildout.eggs(str(made.script)), top) == PLACES
    python2 = shared_tmp / "script"
    python2.write_bytes(
        b"#!/usr/bin/python2\nimport sys\nsys.path[0:0] = [\n  '/caf\\xe9/a.egg',\n  '/caf\xe9/b.egg',\n  ]\n"
    )
    assert buildout.eggs(str(python2)) == [os.fsdecode(b"/caf\xe9/a.egg"), os.fsdecode(b"/caf\xe9/b.egg")]


@pytest.mark.parametrize(
    "text",
    ["", "import sys\nsys.path.insert(0, '/eggs')\n", "sys.path[0:0] = [\n  find('eggs'),\n  ]\n",
     "sys.path[0:0] = [\n  '\\x4',\n  ]\n", "sys.path[0:0] = [\n  '/a.egg',\n",
     "sys.path[0:0] = [\n  '/a\\0.egg',\n  ]\n", "sys.path[0:0] = [\n" * 200_000,
     f"sys.path[0:0] = [\n  '/a.egg'{' ' * 200_000}b\n  ]\n"],
    ids=["nothing", "other", "call", "escape", "no-end", "nul", "many", "blanks"],
)  # fmt: skip
def test_what_has_no_list(text: str, shared_tmp: Path) -> None:
    """What cannot be read as a list of paths is none, and an error of one line where it is to be one."""
    script = shared_tmp / "script"
    script.write_text(text)
    assert buildout.eggs(str(script)) is None
    with pytest.raises(UsageError, match="no list of eggs can be read in it"):
        search_path.check(str(script))


def test_what_has_no_list_keeps_nothing_else_from_a_server(python: Path, shared_tmp: Path) -> None:
    """A lenient prepare says so, passes it over, and prepares the rest; any other command ends there."""
    script, eggs = shared_tmp / "script", shared_tmp / "eggs"
    script.write_text("")
    eggs.mkdir()
    write_egg(eggs / "One-1.0-py3.11.egg", {"one/__init__.py": "", "one/htdocs/a.css": "a"})
    words = ["--all", "--path", script, "--path", eggs, "--python", python]
    prepare = ["prepare", shared_tmp / "cache", *words]
    for command in (["tree", *words[1:]], prepare):
        result = eggcache(*command)
        assert (result.returncode, result.stderr.count("no list of eggs can be read in it")) == (2, 1), result.stderr
    result = eggcache(*prepare, "--lenient")
    assert (result.returncode, result.stderr.count("no list of eggs can be read in it")) == (0, 1), result.stderr
    assert (shared_tmp / "cache" / "One-1.0-py3.11.egg-tmp" / "one" / "htdocs" / "a.css").is_file()
    again = eggcache(*prepare, "--lenient", "--json")
    assert as_json(again)["unchanged"] is True


def test_files_that_are_no_scripts_stay(site: object, shared_tmp: Path) -> None:
    """An egg, whole or not, a zip of any name, a directory, and what is not there are themselves."""
    damaged = shared_tmp / "a.egg"
    damaged.write_text("rubbish")
    zipped = shutil.make_archive(str(shared_tmp / "b"), "zip", shared_tmp)
    renamed = shutil.copy(zipped, shared_tmp / "b.pyz")
    paths = [str(path) for path in (damaged, zipped, renamed, shared_tmp, shared_tmp / "absent")]
    assert search_path.entries(paths) == paths


def test_script_is_read_and_never_run(plain: Deployment, shared_tmp: Path) -> None:
    """Nothing of a script that --path-from names is run, neither for a cache nor for the proof of it."""
    mark, cache = shared_tmp / "mark", shared_tmp / "cache"
    made = buildouts.generate(plain, shared_tmp, initialization=f"open({str(mark)!r}, 'w').close()")
    user = ["--user", "nobody"]
    check = ["check", "--cache", cache, *user]
    for words in (["tree"], ["prepare", cache, *user], check, ["wrapper", cache, "--for", "shell", *user]):
        result = eggcache(*words, "--path-from", made.script)
        assert result.returncode in (0, 3), result.stderr
        assert not mark.exists(), words
    assert len(list(cache.glob("acme.*-tmp"))) == 2
    deployment.run([made.script], env={"PYTHON_EGG_CACHE": str(shared_tmp / "extracted")})  # root has no home here
    assert mark.exists()


@pytest.mark.parametrize("version", ["2.7", "3.11"])
def test_its_interpreter_is_a_target(version: str, targets: dict[str, Deployment], shared_tmp: Path) -> None:
    """The tree has the versions that are pinned; what buildout was told to run first has run there, as well."""
    mark = "import sys\nsys.stderr.write('initialized ' * 0)\nsys.path.append('/more')"
    made = buildouts.generate(targets[version], shared_tmp, initialization="" if version == "2.7" else mark)
    tree = as_json(eggcache("tree", "acme.site", "--python", made.interpreter, "--json"))
    assert [
        (distribution["project"], distribution["version"], distribution["active"])
        for distribution in tree["distributions"]
    ] == [
        ("acme.site", "1.0", True),
        ("acme.skin", "1.0", True),
    ]
    assert ("/more" in tree["interpreter"]["path"]) is (version == "3.11")


def test_a_cache_for_it_serves_the_application(made: Buildout, shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """The ExtractionError first, then not; and as soon as buildout is run again, the cache is renewed."""
    cache = shared_tmp / "cache"
    more = ("--user", nobody.pw_name, "--json")
    environment = {"PYTHON_EGG_CACHE": str(cache)}

    def served() -> str:
        result = deployment.run([made.script], user=nobody.pw_name, env=environment, check=False)
        return result.stdout + result.stderr

    cache.mkdir(mode=0o755)
    assert "ExtractionError" in served() or "Permission denied" in served()
    cache.rmdir()
    for target in (["--python", made.interpreter], ["--python", made.target.python, "--path-from", made.script]):
        result = eggcache("prepare", cache, "acme.site", *target, *more)
        assert result.returncode == 0, result.stderr
        assert served() == f"{cache}/{made.egg('acme.skin-1.0').name}-tmp/acme_skin/style/a.css"
        assert as_json(eggcache("prepare", cache, "acme.site", *target, *more))["unchanged"] is True
    buildouts.generate(made.target, made.top, pins=["acme.site==1.0", "acme.skin==2.0"])
    for target in (["--python", made.interpreter], ["--python", made.target.python, "--path-from", made.script]):
        assert as_json(eggcache("prepare", cache, "acme.site", *target, *more))["unchanged"] is False
        assert served() == f"{cache}/{made.egg('acme.skin-2.0').name}-tmp/acme_skin/style/a.css"


def test_a_directory_of_eggs_has_other_versions(made: Buildout, shared_tmp: Path) -> None:
    """Where --path names it, check says which version it did not look at; with the script's list nothing is left."""
    words = ["check", "acme.site", "--python", made.target.python, "--no-import", "--json"]
    told = as_json(eggcache(*words, "--path", made.top / "eggs"))
    findings = [finding for finding in told["findings"] if finding["code"] == "other-version"]
    assert [(finding["thing"], finding["status"]) for finding in findings] == [(str(made.egg("acme.skin-1.0")), 0)]
    assert findings[0]["cause"].startswith("acme.skin 2.0 was checked, and not this version beside it")
    told = as_json(eggcache(words[0], *words[2:], "--path", made.top / "eggs"))
    assert "other-version" not in {finding["code"] for finding in told["findings"]}  # both are looked at
    told = as_json(eggcache(*words, "--path-from", made.script))
    assert "other-version" not in {finding["code"] for finding in told["findings"]}


def test_the_script_names_its_python(made: Buildout, shared_tmp: Path) -> None:
    """--path-from alone is enough; what it names has to have a list, and the emitted command is the same."""
    result = eggcache("tree", "acme.site", "--path-from", made.script, "--json")
    assert as_json(result)["interpreter"]["executable"] == str(made.target.python)
    result = eggcache("wrapper", shared_tmp / "cache", "acme.site", "--path-from", made.script, "--for", "shell")
    assert f" --python {made.target.python} --path-from {made.script} " in result.stdout
    result = eggcache("tree", "acme.site", "--path-from", made.target.python)
    assert result.returncode == 2
    assert result.stderr.startswith(
        f"eggcache: --path-from {made.target.python}: it has no list of eggs, as scripts have"
    )


def test_unzip_all_takes_the_eggs_of_its_list(made: Buildout, nobody: pwd.struct_passwd) -> None:
    """What is pinned is unzipped in place, byte-compiled by the Python that runs the script; the rest stays zipped."""
    result = eggcache("unzip-all", "acme.site", "--python", made.interpreter)
    assert result.returncode == 0, result.stderr
    unzipped = made.egg("acme.skin-1.0")
    assert list(unzipped.glob("acme_skin/__pycache__/*.pyc"))
    assert made.egg("acme.skin-2.0").is_file()
    said = deployment.run([made.script], user=nobody.pw_name).stdout
    assert said == f"{unzipped}/acme_skin/style/a.css"


@pytest.mark.parametrize(("version", "release", "zipped"), [("2.7", "0.6c11", True), ("3.11", "65.5.0", False)])
def test_buildout_unzips_what_it_installs(
    version: str, release: str, zipped: bool, target: Callable[[str, str], Deployment], shared_tmp: Path
) -> None:
    """zc.buildout 1.4.4 leaves an egg that says that it may be zipped as it is; 3.0.1 makes a directory of it."""
    links, eggs = shared_tmp / "links", shared_tmp / "eggs"
    links.mkdir()
    eggs.mkdir()
    egg = write_egg(links / f"One-1.0-py{version}.egg", {"one/__init__.py": "", "EGG-INFO/zip-safe": "\n"})
    buildouts.install(target(version, release), "One", eggs, links)
    assert [(path.name, path.is_file()) for path in eggs.iterdir()] == [(egg.name, zipped)]


def test_a_script_that_is_no_interpreter(made: Buildout) -> None:
    """--python with the application's own script is told how to name it."""
    result = eggcache("tree", "acme.site", "--python", made.script)
    options = f"--python {made.target.python} --path-from {made.script}"
    assert result.returncode == 1
    cause = "is no Python, but a script of buildout's that has a list of eggs"
    assert result.stderr == f"eggcache: {made.script}: {cause}; name both: {options}\n"


def test_scripts_with_a_site_of_their_own(
    targets: dict[str, Deployment], where: Path, shared_tmp: Path, nobody: pwd.struct_passwd
) -> None:
    """A script of z3c.recipe.scripts lists no egg: it is no target and no list, and what is said of it names the
    interpreter. That is a target, whose cache serves the script."""
    made, cache = buildouts.run_recipe_scripts(targets["2.7"], where, shared_tmp), shared_tmp / "cache"
    assert buildout.eggs(str(made.script)) is None
    for words in (["--path-from", made.script], ["--python", targets["2.7"].python, "--path-from", made.script]):
        result = eggcache("tree", *words)
        assert result.returncode == 2, result.stdout
        assert result.stderr.startswith(f"eggcache: --path-from {made.script}: it has no list of eggs")
        assert result.stderr.endswith("of z3c.recipe.scripts, name the interpreter, with --python\n")
    words = ["--python", made.interpreter, "--user", nobody.pw_name]
    tree = as_json(eggcache("tree", "acme.site", *words[:2], "--json"))
    assert [distribution["version"] for distribution in tree["distributions"]] == ["1.0", "1.0"]
    assert eggcache("prepare", cache, *words).returncode == 0
    result = deployment.run([made.script], user=nobody.pw_name, env={"PYTHON_EGG_CACHE": str(cache)})
    assert result.stdout == f"{cache}/{made.egg('acme.skin-1.0').name}-tmp/acme_skin/style/a.css"
    assert eggcache("check", "--cache", cache).returncode == 0


def test_root_runs_it_only_where_all_of_it_is_roots(
    made: Buildout, nobody: pwd.struct_passwd, give: Callable[[Path], None]
) -> None:
    """Its script, the eggs in its list, and what else it names are looked at before root runs it himself."""
    python, cleared = str(made.interpreter), code_owners.RootAlone
    assert isinstance(code_owners.runner(python), cleared)
    for place in (made.interpreter, made.egg("acme.skin-1.0"), made.top / "src"):
        give(place)
        assert code_owners.runner(python).name == nobody.pw_name
        os.chown(place, 0, 0)
    more = made.top / "more"
    more.mkdir()
    give(more)
    with made.interpreter.open("a") as script:
        script.write(f"sys.path.append('{more}')\n")
    assert code_owners.runner(python).name == nobody.pw_name


def test_root_unzips_for_a_list_only_what_is_its_owners(made: Buildout, nobody: pwd.struct_passwd) -> None:
    """A script of somebody's cannot name root's eggs, nor a third one's, for root to work in their directories."""
    eggs = str(made.top / "eggs")
    assert eggs in code_owners.egg_directories(str(made.target.python), [str(made.script)])
    os.chown(made.script, nobody.pw_uid, nobody.pw_gid)
    assert eggs not in code_owners.egg_directories(str(made.target.python), [str(made.script)])
    own = made.egg("acme.skin-1.0")
    os.chown(own, nobody.pw_uid, nobody.pw_gid)  # one of his own among them makes no difference to the others
    assert eggs not in code_owners.egg_directories(str(made.target.python), [str(made.script)])
    os.chown(own, 0, 0)
    words = ["unzip-all", "acme.site", "--python", made.target.python]
    result = eggcache(*words, "--path-from", made.script)
    assert f"{eggs}: root knows these eggs only from code that {nobody.pw_name} runs" in result.stderr
    assert made.egg("acme.skin-1.0").is_file()
    # What root names himself is his own choice
    named = [word for name in ("acme.site-1.0", "acme.skin-1.0") for word in ("--path", made.egg(name))]
    for more in ([], ["--undo"]):
        result = eggcache(*words, "--path-from", made.script, *named, "--backup", made.top / "zips", *more)
        assert result.returncode == 0, result.stderr
        assert made.egg("acme.skin-1.0").is_file() is bool(more)


@pytest.fixture
def give(nobody: pwd.struct_passwd) -> Callable[[Path], None]:
    return lambda place: os.chown(place, nobody.pw_uid, nobody.pw_gid)
