"""The target interpreter: found, run as somebody, and never believed."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, judge

from eggcache.errors import EggcacheError, NotPermitted, UsageError
from eggcache.system import accounts, package_data
from eggcache.system.accounts import Account
from eggcache.target import launch, script_run
from eggcache.target.code_owners import RootAlone
from eggcache.target.interpreter import EVERYTHING, Roots, Target, find
from eggcache.target.launch import Launch, environment, literal

ODD = ["plain", "quote\"'\\", "line\nfeed\ttab\0nul", "h\u00e4\u2713\U0001f95a", os.fsdecode(b"not \xff\xfe utf-8"), ""]


def run(
    python: str, script: str, request: object, account: Account | None = None, flags: Sequence[str] = (), **how: Any
) -> object:
    """What the script answers, see script_run.run for `how`."""
    return script_run.run(Launch(Target(python, account=account), script, request, flags=flags), **how)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A factory: script("answer(1)") is the name of a script with that text, as if in eggcache/target/inside."""
    real = package_data.read

    def use(text: str) -> str:
        def read(name: str) -> bytes:
            return text.encode("ascii") if name == "target/inside/the test's.py" else real(name)

        monkeypatch.setattr(package_data, "read", read)
        return "the test's.py"

    return use


@pytest.fixture
def fake(shared_tmp: Path) -> Callable[[str], str]:
    """A factory: fake("exit 0") is a program that does this in a shell, with the answer's pipe as $ANSWER."""

    def make(text: str) -> str:
        program = shared_tmp / "fake-python"
        program.write_text(f"#!/bin/sh\nfor last; do :; done\nANSWER=/proc/$$/fd/$last\n{text}\n")
        program.chmod(0o755)
        return str(program)

    return make


# ------------------------------------------------------------------------------------------------ finding it


def test_find_takes_the_option_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--python wins over $EGGCACHE_PYTHON, that over an active virtualenv, and that over our own interpreter."""
    for name in ("option", "variable", "venv/bin/python"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(sys.executable)
    monkeypatch.setenv("EGGCACHE_PYTHON", str(tmp_path / "variable"))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "venv"))
    assert find(str(tmp_path / "option")) == str(tmp_path / "option")
    assert find(None) == str(tmp_path / "variable")
    monkeypatch.delenv("EGGCACHE_PYTHON")
    assert find(None) == str(tmp_path / "venv/bin/python")
    monkeypatch.delenv("VIRTUAL_ENV")
    assert find(None) == os.path.abspath(sys.executable)


def test_find_looks_bare_names_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name without a slash is looked up on the PATH, a relative path is made absolute, and links are kept."""
    (tmp_path / "python9.9").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert find("python9.9") == str(tmp_path / "python9.9")
    assert find("./python9.9") == str(tmp_path / "python9.9")


@pytest.mark.parametrize("name", ["no-such-python-anywhere", "/no/such/python", "/etc", "/etc/passwd", "", "a\0b"])
def test_find_says_what_is_wrong(name: str) -> None:
    """A target that is not there, or is no program, is a usage error with a remedy."""
    with pytest.raises(UsageError, match="name the interpreter that Apache runs: --python"):
        find(name)


def test_nouns_stay_as_they_are_made() -> None:
    """A target and its roots cannot be changed, are the same where they say the same, whatever sequence they are made
    of, and serve as keys; a target that nobody says more of is the caller's, and roots that name nothing are all."""
    target, roots = Target("/p", ["/a"]), Roots(name for name in ("A", "B"))
    assert {target: 1, roots: 2} == {Target("/p", ("/a",), accounts.current()): 1, Roots(["A", "B"]): 2}
    assert target != target._replace(timezone="UTC") != target._replace(timezone="CET")
    for noun, name in ((target, "python"), (target, "new"), (roots, "requirements"), (roots, "strict")):
        with pytest.raises(AttributeError):
            setattr(noun, name, "x")
    assert (target.account, target.group, target.timezone) == (accounts.current(), None, None)
    assert (roots.everything, EVERYTHING.everything, Roots([]) == EVERYTHING) == (False, True, True)
    assert (roots.strict, Roots(["A", "B"], strict=True) != roots) == (False, True)


# ----------------------------------------------------------------------------------------------- talking to it


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.11", "3.13"])
@pytest.mark.parametrize("language", ["C", "C.UTF-8"])
def test_every_path_gets_through(
    version: str, language: str, interpreter: Callable[[str], Path], script: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Strings come back as they went, to the byte, whatever the target's encoding, and numbers and tables too."""
    monkeypatch.setenv("LC_ALL", language)
    request = {"strings": ODD, "rest": [None, True, False, 0, -7, 2**40, 1.5, [], {}], "h\u00e4": 1}
    assert run(str(interpreter(version)), script("answer(REQUEST)"), request) == request


@pytest.mark.parametrize("version", ["2.7", "3.11"])
def test_a_path_arrives_as_the_file_system_has_it(
    version: str, interpreter: Callable[[str], Path], script: Callable[[str], str], tmp_path: Path
) -> None:
    """A name that is no UTF-8 opens the file that it names, and a listing of the target's names it for us."""
    path = os.path.join(tmp_path, os.fsdecode(b"\xff\xe4.egg"))
    Path(path).write_text("the file")
    text = "answer([open(REQUEST).read(), os.listdir(os.path.dirname(REQUEST))])"
    assert run(str(interpreter(version)), script(text), path) == ["the file", [os.path.basename(path)]]


def test_a_large_request_is_in_no_process_list(script: Callable[[str], str]) -> None:
    """A request larger than a pipe or an argument can be gets in, and neither argv nor the environment shows it."""
    request = ["secret" * 10] * 50_000
    text = "answer([len(REQUEST), open('/proc/self/cmdline').read() + open('/proc/self/environ').read()])"
    length, seen = _list(run(sys.executable, script(text), request))
    assert length == 50_000
    assert "secret" not in seen


def test_the_environment_is_apaches(script: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH, the locale, TZ, PYTHONPATH and LD_LIBRARY_PATH are passed on, and nothing else; nothing gets written."""
    for name in ("HOME", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS", "VIRTUAL_ENV", "PYTHON_EGG_CACHE", "SECRET"):
        monkeypatch.setenv(name, "/x")
    for name in ("LC_TIME", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "C")
    answer = run(sys.executable, script("answer([sorted(os.environ), os.getcwd(), os.umask(0)])"), None)
    names, directory, mask = _list(answer)
    assert {"LC_TIME", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH", "PATH"} <= set(names)
    assert not {"HOME", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS", "VIRTUAL_ENV", "SECRET"} & set(names)
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert (directory, mask) == ("/", 0o077)


def test_flags_reach_the_interpreter(script: Callable[[str], str]) -> None:
    """Flags are the interpreter's: with -S there is no site module, so no .pth file runs."""
    assert run(sys.executable, script("answer('site' in sys.modules)"), None, flags=("-E", "-S")) is False


def test_root_runs_it_as_the_account(
    interpreter: Callable[[str], Path], script: Callable[[str], str], nobody: pwd.struct_passwd
) -> None:
    """Every id of the process, and its groups, are the account's: nothing of root is left."""
    text = "answer([os.getresuid(), os.getresgid(), os.getgroups()])"
    uids, gids, groups = _list(run(str(interpreter("3.11")), script(text), None, accounts.lookup("nobody")))
    assert uids == [nobody.pw_uid] * 3
    assert gids == [nobody.pw_gid] * 3
    assert 0 not in groups


# ------------------------------------------------------------------------------------------- not believing it


@pytest.mark.parametrize("program", ["ls", "true", "cat", "false"])
def test_another_program_is_no_python(program: str) -> None:
    """What is no Python is told so in one line, with the remedy, whatever it does with a script."""
    with pytest.raises(EggcacheError, match=r"is no Python.*--python PATH$") as caught:
        run(find(program), "probe.py", {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "head -c 200000 /dev/urandom; head -c 200000 /dev/urandom >&2; exit 3",
        "printf rubbish > $ANSWER",
        "printf eggcache > $ANSWER",
        "kill -9 $$",
        "exec 0<&- 1>&- 2>&-; exit 0",
    ],
)
def test_a_program_of_rubbish_is_no_python(text: str, fake: Callable[[str], str]) -> None:
    """Rubbish on its output, or on the answer's pipe, is never taken for an answer; nor is it shown raw."""
    with pytest.raises(EggcacheError, match="is no Python") as caught:
        run(fake(text), "probe.py", {}, RootAlone(*accounts.current()))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_a_text_file_is_no_python(tmp_path: Path) -> None:
    """An executable file that the kernel cannot start is no Python."""
    path = tmp_path / "python"
    path.write_text("some text\n")
    path.chmod(0o755)
    with pytest.raises(EggcacheError, match="is no Python: Exec format error"):
        run(str(path), "probe.py", {}, RootAlone(*accounts.current()))


def test_our_own_limit_is_no_fault_of_the_target(interpreter: Callable[[str], Path]) -> None:
    """Where this process may open no more files, the target is not said to be no Python."""
    command = ["sh", "-c", 'ulimit -n 12 && exec "$@"', "sh", sys.executable, "-m", "eggcache", "tree", "--python"]
    result = subprocess.run(
        [*command, interpreter("3.11")], cwd=ROOT, env=judge.environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "cannot be started: Too many open files, a limit of this process (ulimit -a)" in result.stderr


def test_one_that_hangs_is_ended(fake: Callable[[str], str], tmp_path: Path) -> None:
    """After the time given the whole process group is killed, children that ignore signals too."""
    mark = tmp_path / "pid"
    program = fake(f"trap '' TERM HUP INT; (trap '' TERM HUP INT; sleep 300) & echo $! > {mark}; wait")
    started = time.monotonic()
    with pytest.raises(EggcacheError, match="no answer within 2 s"):
        run(program, "probe.py", {}, RootAlone(*accounts.current()), timeout=2)
    assert time.monotonic() - started < 60
    _assert_gone(int(mark.read_text()))


def test_what_it_leaves_behind_is_ended_too(fake: Callable[[str], str], tmp_path: Path) -> None:
    """A child that keeps every pipe open neither holds us up nor outlives its parent."""
    mark = tmp_path / "pid"
    program = fake(f'printf "eggcache\\n[7]\\n" > $ANSWER; sleep 300 & echo $! > {mark}')
    started = time.monotonic()
    assert run(program, "probe.py", {}, RootAlone(*accounts.current())) == [7]
    assert time.monotonic() - started < 60
    _assert_gone(int(mark.read_text()))


@pytest.mark.parametrize("version", ["2.7", "3.11"])
def test_it_works_while_we_do(
    version: str, interpreter: Callable[[str], Path], script: Callable[[str], str], tmp_path: Path
) -> None:
    """It has its whole script when we turn to something else: nothing that we do meanwhile holds it up."""
    mark = tmp_path / "mark"
    seen = []

    def meanwhile() -> None:
        until = time.monotonic() + 30
        while not mark.exists() and time.monotonic() < until:
            time.sleep(0.001)
        seen.append(mark.exists())

    name = script(f"open({str(mark)!r}, 'w').close()\nanswer(1)")
    assert run(str(interpreter(version)), name, None, meanwhile=meanwhile) == 1
    assert seen[0]


def test_more_to_do_is_done_at_once(
    interpreter: Callable[[str], Path], script: Callable[[str], str], tmp_path: Path
) -> None:
    """While it is at work, our steps follow each other without a wait for as long as there are more."""
    mark, steps = tmp_path / "mark", iter(range(400))

    def meanwhile() -> bool:
        if next(steps, None) is not None:
            return True
        mark.touch()
        return False

    wait = "import os, time\nfor turn in range(1000):\n    if not os.path.exists(%r): time.sleep(0.01)\n"
    name = script(f"{wait % str(mark)}answer(os.path.exists({str(mark)!r}))")
    assert run(str(interpreter("3.11")), name, None, meanwhile=meanwhile) is True


def test_our_time_is_not_its(interpreter: Callable[[str], Path], script: Callable[[str], str]) -> None:
    """However long we are busy with something else, it has the time that it was given."""
    turns = iter([5.0])
    busy = lambda: time.sleep(next(turns, 0.0))  # noqa: E731
    assert run(str(interpreter("3.11")), script("answer(1)"), None, timeout=4, meanwhile=busy) == 1


@pytest.mark.parametrize("version", ["2.7", "3.11"])
def test_what_it_would_tear_down_holds_nothing_up(
    version: str, interpreter: Callable[[str], Path], script: Callable[[str], str], tmp_path: Path
) -> None:
    """A thread of a .pth file's that never ends, or a function to be called at exit, keeps no answer back."""
    text = "import atexit, threading, time\natexit.register(time.sleep, 300)\n"
    text += "threading.Thread(target=time.sleep, args=(300,)).start()\nanswer(7)"
    assert run(str(interpreter(version)), script(text), None, timeout=60) == 7


def test_launched_and_not_asked(fake: Callable[[str], str], tmp_path: Path) -> None:
    """What was started for a run that then refuses its directory is ended with all that it has started."""
    mark = tmp_path / "pid"
    program = fake(f"sleep 300 & echo $! > {mark}; wait")
    with launch.probe(Target(program, account=RootAlone(*accounts.current())), Roots(["x"])) as launched:
        until = time.monotonic() + 30
        while not (mark.exists() and mark.read_text().endswith("\n")) and time.monotonic() < until:
            time.sleep(0.01)
    assert launched.status == -9
    _assert_gone(int(mark.read_text()))
    launched.end()  # once more, which does nothing


@pytest.mark.parametrize("version", ["2.7", "3.11"])
def test_one_that_hangs_after_its_start_is_ended(
    version: str, interpreter: Callable[[str], Path], script: Callable[[str], str]
) -> None:
    """A Python that stops answering is said to be one, not to be none."""
    text = "import time\ntime.sleep(300)"
    with pytest.raises(EggcacheError, match="did not answer within 3 s"):
        run(str(interpreter(version)), script(text), None, timeout=3)


@pytest.mark.parametrize("version", ["2.7", "3.11"])
def test_a_script_that_fails_says_how(
    version: str, interpreter: Callable[[str], Path], script: Callable[[str], str]
) -> None:
    """The last line of a traceback is in the error."""
    with pytest.raises(EggcacheError, match="ended before it answered: ValueError: the reason"):
        run(str(interpreter(version)), script("raise ValueError('the reason')"), None)


@pytest.mark.parametrize(
    "answer",
    ["[" * 1000, "[" * 200_000 + "]" * 200_000, "nonsense", "[NaN]", "[" + "9" * 100_000 + "]", '["\u2713"]',
     '["\\u2713"]', '["\\ud800"]', "[1]\n[2]", ""],
    ids=["unended", "deep", "nonsense", "nan", "digits", "utf-8", "beyond a byte", "surrogate", "two", "empty"],
)  # fmt: skip
def test_hostile_answers_are_refused(answer: str, fake: Callable[[str], str], tmp_path: Path) -> None:
    """What is no JSON, too deep, or no string of bytes ends in one clear line."""
    file = tmp_path / "answer"
    file.write_text(f"eggcache\n{answer}\n", encoding="utf-8")
    with pytest.raises(EggcacheError, match="its answer makes no sense"):
        run(fake(f"cat {file} > $ANSWER"), "probe.py", {}, RootAlone(*accounts.current()))


def test_an_answer_without_end_is_refused(fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is read up to a limit, and the target ended there; so is one that prints without end."""
    monkeypatch.setattr("eggcache.target.script_run.LIMIT", 4 << 20)
    with pytest.raises(EggcacheError, match="longer than 4 MiB"):
        run(fake('printf "eggcache\\n" > $ANSWER; exec yes > $ANSWER'), "probe.py", {}, RootAlone(*accounts.current()))
    with pytest.raises(EggcacheError, match="prints without end"):
        run(fake("exec yes"), "probe.py", {}, RootAlone(*accounts.current()))


def test_who_cannot_run_it_is_told_why(shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """A target that the account cannot reach is a matter of rights, and the directory in the way is named."""
    private = shared_tmp / "private"
    private.mkdir(mode=0o700)
    (private / "python").symlink_to(sys.executable)
    with pytest.raises(NotPermitted, match=rf"{private} is root's, mode 0700") as caught:
        run(str(private / "python"), "probe.py", {}, accounts.lookup("nobody"))
    assert caught.value.thing == str(private / "python")


def test_a_link_into_a_private_directory_is_seen_through(shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """A virtualenv in the open whose interpreter is in a private home: that home is named, not the virtualenv."""
    home = shared_tmp / "home"
    home.mkdir(mode=0o700)
    (home / "python").write_text("#!/bin/sh\n")
    (home / "python").chmod(0o755)
    (shared_tmp / "python").symlink_to(home / "python")
    with pytest.raises(NotPermitted, match=rf"{home} is root's, mode 0700"):
        run(str(shared_tmp / "python"), "probe.py", {}, accounts.lookup("nobody"))


def test_a_library_in_a_private_directory_is_a_matter_of_rights(
    shared_tmp: Path, nobody: pwd.struct_passwd, fake: Callable[[str], str]
) -> None:
    """Where a virtualenv's own interpreter starts and its base is private, pyvenv.cfg tells which directory it is."""
    home = shared_tmp / "base"
    home.mkdir(mode=0o700)
    bin_directory = shared_tmp / "venv/bin"
    bin_directory.mkdir(parents=True)
    program = Path(fake("echo 'libpython: cannot open shared object file' >&2; exit 127"))
    program.rename(bin_directory / "python")
    (shared_tmp / "venv/pyvenv.cfg").write_text(f"home = {home}\n")
    with pytest.raises(NotPermitted, match=rf"{home} is root's, mode 0700"):
        run(str(bin_directory / "python"), "probe.py", {}, accounts.lookup("nobody"))


def test_literals_are_ascii() -> None:
    """A request is written in ASCII, whatever is in it; what cannot be written is a programming error."""
    assert json.dumps(literal({"a": ODD})).isascii()
    assert literal(ODD).isprintable()
    with pytest.raises(TypeError):
        literal({1, 2})


def _list(value: object) -> list[Any]:
    assert isinstance(value, list)
    return value


def _assert_gone(pid: int) -> None:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":  # killed; whoever reaps orphans here has not yet
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is still there")


def test_python_that_the_caller_cannot_reach(shared_tmp: Path, nobody: pwd.struct_passwd) -> None:
    """Of a Python in a directory that is closed to the caller it is said what closes it, and not that there is none; of
    one that is not there, that."""
    private = shared_tmp / "private"
    private.mkdir(0o700)
    (private / "python").symlink_to(sys.executable)
    account = Account("nobody", nobody.pw_uid, nobody.pw_gid)
    with accounts.acting(account):
        with pytest.raises(NotPermitted, match=f"user nobody cannot use it: {private} is root's, mode 0700"):
            find(str(private / "python"))
        with pytest.raises(UsageError, match="there is no such file"):
            find(str(shared_tmp / "python"))


def test_name_of_a_user_in_a_sentence() -> None:
    """That nobody can write to a cache would be good news; that the user of that name can is none."""
    assert [Account(name, 1, 1).words for name in ("www-data", "nobody")] == ["www-data", "user nobody"]
