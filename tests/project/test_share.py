"""The manual page and the completions, as man and the shells themselves see them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import ROOT
from support.judge import environment
from support.parts import missing
from support.terminals import show

from eggcache.cli import main, manual, reference

COMMANDS = reference.commands(main.parser())


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What scripts/share.py writes."""
    directory = tmp_path_factory.mktemp("share")
    subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "share.py"), str(directory)],
        env=environment({"SOURCE_DATE_EPOCH": "1000000000"}), check=True,
    )  # fmt: skip
    return directory


@pytest.mark.parametrize(
    "command",
    [
        ["man", "--warnings", "-l"],
        ["groff", "-man", "-ww", "-z", "-Tutf8"],
        ["mandoc", "-Tlint", "-Wwarning"],
    ],
)
def test_page_is_sound(share: Path, command: list[str]) -> None:
    """Neither groff nor mandoc has anything to say about the page."""
    if not shutil.which(command[0]):
        missing(f"there is no {command[0]} on this host")
    page = share / "man" / "man1" / "eggcache.1"
    result = subprocess.run(
        [*command, str(page)], env=environment({"MANWIDTH": "80", "LC_ALL": "C.UTF-8"}), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert (command[0] == "man") == bool(result.stdout)


def test_page_is_whole(share: Path) -> None:
    """A reader finds every command, option, exit status and example; an old date, where one was asked for."""
    if not shutil.which("man"):
        missing("there is no man on this host")
    result = subprocess.run(
        ["man", "-l", str(share / "man" / "man1" / "eggcache.1")],
        env=environment({"MANWIDTH": "200", "LC_ALL": "C.UTF-8"}), capture_output=True, text=True, check=True,
    )  # fmt: skip
    page = re.sub(r".\x08", "", result.stdout)
    text = " ".join(page.split())
    assert "2001-09-09" in page
    for command in COMMANDS:
        assert command.name.upper() in page
        for option in (*command.options, *command.arguments):
            for name in option.names:
                assert re.search(rf"^ +(-\w.*, )?{name}\b", page, re.MULTILINE), name
            assert " ".join(option.help.split()) in text
        for words, _ in manual.EXAMPLES[command.name]:
            assert f"\n              {words}\n" in page or f"\n       {words}\n" in page
    for _, meaning in reference.statuses():
        assert meaning in text


def test_every_command_has_examples() -> None:
    """No command is without examples, and none is explained that there is not."""
    assert manual.EXAMPLES.keys() == {command.name for command in COMMANDS}
    for command in COMMANDS:
        for words, _ in manual.EXAMPLES[command.name]:
            assert f"eggcache {command.name}".strip() in words


# What is typed, with a tab where completion is asked for, and the words that the command gets
TYPED = [
    ("eggcache prep\t", ["prepare"]),
    ("eggcache -v unz\t --js\t", ["-v", "unzip-all", "--json"]),
    ("eggcache prepare so\t --res\t", ["prepare", "some where/", "--reset"]),
    ("eggcache tree --pyt\t pyth\t", ["tree", "--python", "python here"]),
    ("eggcache wrapper /d --for syst\t", ["wrapper", "/d", "--for", "systemd"]),
    ("eggcache check --user nob\t --group nogr\t", ["check", "--user", "nobody", "--group", "nogroup"]),
]
FISH = {  # what is typed, and one of the words that are offered
    "eggcache prep": "prepare",
    "eggcache -v unz": "unzip-all",
    "eggcache unzip-all --dry": "--dry-run",
    "eggcache prepare so": "some where/",
    "eggcache tree --python pyth": "python here",
    "eggcache wrapper /d --for syst": "systemd",
    "eggcache check --user nob": "nobody",
    "eggcache check --group nogr": "nogroup",
    "eggcache check --tz Europe/Madr": "Europe/Madrid",
}


@pytest.fixture
def there(share: Path, tmp_path: Path) -> Path:
    """A directory with one of each, and names with spaces."""
    (tmp_path / "some where").mkdir()
    (tmp_path / "some file").touch()
    (tmp_path / "python here").touch()
    return tmp_path


def typed(shell: Sequence[str], start: str, lines: Sequence[str], there: Path) -> list[list[str]]:
    """The words that the command gets for each line that is typed into an interactive shell, on a terminal."""
    if not shutil.which(shell[0]):
        missing(f"there is no {shell[0]} on this host")
    got = there / "got"
    print_words = f"eggcache() {{ printf '%s\\n' \"$@\" >>{got}; echo . >>{got}; }}\n"
    env = environment({"TERM": "dumb", "HOME": str(there), "PS1": "$ ", "LC_ALL": "C.UTF-8"})
    show(shell, env=env, cwd=there, typed=start + print_words + "".join(line + "\n" for line in lines) + "exit\n")
    return [part.splitlines() for part in got.read_text().split(".\n")[:-1]]


def test_bash_completes_commands_options_and_names(share: Path, there: Path) -> None:
    """bash completes commands, options, kinds, accounts, files and directories; names with spaces are quoted."""
    file = share / "bash-completion" / "completions" / "eggcache"
    subprocess.run(["bash", "-n", str(file)], check=True)
    start = f"bind 'set enable-bracketed-paste off'; . {file}\n"
    lines = [line for line, _ in TYPED] + ["eggcache prepare --tz=Europe/Madr\t", "eggcache check --cache=so\t"]
    expected = [words for _, words in TYPED] + [["prepare", "--tz=Europe/Madrid"], ["check", "--cache=some where/"]]
    assert typed(["bash", "--norc", "--noprofile", "-i"], start, lines, there) == expected


def test_shell_is_sound(share: Path) -> None:
    """shellcheck has nothing to say about bash's completion, nor about the scripts that the project has."""
    if not shutil.which("shellcheck"):
        missing("there is no shellcheck on this host")
    files = [file for name in (".ci", "scripts", "findings") for file in (ROOT / name).glob("*") if file.is_file()]
    scripts = [str(file) for file in files if re.match(rb"#!.*sh\n", file.read_bytes())]
    assert {"quickstart", *(file.name for file in ROOT.glob("findings/*.sh"))} <= {Path(name).name for name in scripts}
    completion = str(share / "bash-completion" / "completions" / "eggcache")
    for command in (["shellcheck", "-s", "bash", completion], ["shellcheck", *scripts]):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout) == (0, "")


def test_zsh_completes_likewise(share: Path, there: Path) -> None:
    """zsh does likewise, in the place where it looks for functions."""
    start = (
        f"fpath=({share}/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -d {there}/dump; "
        "unsetopt zle_bracketed_paste 2>/dev/null\n"
    )
    got = typed(["zsh", "-f", "-i"], start, [line for line, _ in TYPED], there)
    # the slash that zsh adds to a directory, it takes away again before a space
    assert got == [[word.rstrip("/") for word in words] for _, words in TYPED]


def test_fish_completes_likewise(share: Path, there: Path) -> None:
    """fish does likewise; what it would offer, it says itself."""
    if not shutil.which("fish"):
        missing("there is no fish on this host")
    file = share / "fish" / "vendor_completions.d" / "eggcache.fish"
    for asked, offer in FISH.items():
        result = subprocess.run(
            ["fish", "--no-config", "-c", f"source {file}; complete -C $argv[1]", asked], cwd=there,
            env=environment({"HOME": str(there), "LC_ALL": "C.UTF-8"}), capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert result.stderr == ""
        assert offer in [line.split("\t")[0] for line in result.stdout.splitlines()], asked


def test_nothing_is_forgotten(share: Path) -> None:
    """Each of the three has every command and every option."""
    for file in (path for path in share.rglob("*eggcache*") if path.is_file() and path.suffix != ".1"):
        text = file.read_text()
        for command in COMMANDS[1:]:
            assert command.name in text
            for option in command.options:
                for spelled in option.names:
                    plain = f" -{'l' if spelled[1] == '-' else 's'} {spelled.lstrip('-')} "
                    assert (plain if file.suffix == ".fish" else spelled) in text, (file, spelled)
