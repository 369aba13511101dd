#!/usr/bin/env python3
"""Writes what is made from the command line's parser: the manual page, and completions for bash, zsh and fish.

    share.py DIRECTORY

They go to DIRECTORY/man/man1, bash-completion/completions, zsh/site-functions and fish/vendor_completions.d, where the
three shells and man look below /usr/share, /usr/local/share and a virtual environment's share. setup.py calls it.

There are libraries for both. This has no dependency, so that building needs no index; its page has the date of
SOURCE_DATE_EPOCH; and the shells complete names of files by themselves, with their spaces and quotes.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from eggcache import __version__  # noqa: E402 - only after its directory is on the path
from eggcache.cli import command_options, main, manual, reference  # noqa: E402 - only after its directory is on the path
from eggcache.cli.reference import Command, Option  # noqa: E402 - the same

FILES = (
    "man/man1/eggcache.1",
    "bash-completion/completions/eggcache",
    "zsh/site-functions/_eggcache",
    "fish/vendor_completions.d/eggcache.fish",
)
ZONES = "awk '!/^#/ { print $3 }' /usr/share/zoneinfo/zone.tab 2>/dev/null"


def write(directory: Path) -> None:
    """All four."""
    commands = reference.commands(main.parser())
    for name, lines in zip(FILES, (man(commands), bash(commands), zsh(commands), fish(commands))):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="ascii")


# --------------------------------------------------------------------------------------------------- the manual page


def man(commands: list[Command]) -> Iterator[str]:
    """The page, in the man macros that groff and mandoc share: man(7), groff_man(7)."""
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())))
    program = commands[0]
    yield rf'.TH EGGCACHE 1 {date} "eggcache {__version__}" "User Commands"'
    yield from (".SH NAME", r"eggcache \- zipped Python eggs behind Apache: unzip them, or prepare their egg cache")
    yield from (".SH SYNOPSIS", r".B eggcache", r"[\fB\-\-version\fR] \fICOMMAND\fR [\fIOPTION\fR]...")
    yield from (".SH DESCRIPTION", roff(f"{program.description} The commands are:"))
    for command in commands[1:]:
        yield from (".TP", rf".B {roff(command.name)}", roff(command.summary))
    yield from (".SH OPTIONS", "Before or after the command:")
    for option in program.options:
        yield from item(option)
    for command in commands[1:]:
        yield from (f".SH {roff(command.name.upper())}", roff(command.description), ".PP", roff(command.usage))
        general = {option.names for option in program.options}
        for option in (*command.arguments, *command.options):
            if option.names not in general:
                yield from item(option)
        yield from examples(command)
    yield from (".SH EXIT STATUS", "Where several apply: 4, then 1, 5, 3.")
    for status, meaning in reference.statuses():
        yield from (".TP", rf".B {roff(status)}", roff(meaning))
    yield ".SH ENVIRONMENT"
    for name, meaning in reference.ENVIRONMENT:
        yield from (".TP", rf".B {roff(name)}", roff(meaning))
    yield ".SH FILES"
    for name, meaning in reference.FILES:
        yield from (".TP", rf".I {roff(name)}", roff(meaning))
    yield from (".SH EXAMPLES", "To find out, cure and prove:")
    yield from examples(program)
    yield from (".SH SEE ALSO", r".BR apachectl (8),", r".BR systemd.unit (5),", r".BR tmpfiles.d (5)")


def item(option: Option) -> Iterator[str]:
    """An option, or an argument, as a tagged paragraph."""
    value = rf" \fI{roff(option.value)}\fR" if option.value else ""
    tags = [rf"\fB{roff(name)}\fR{value}" for name in option.names] or [rf"\fI{roff(option.value)}\fR"]
    yield from (".TP", ", ".join(tags), roff(option.help))


def examples(command: Command) -> Iterator[str]:
    for words, what in manual.EXAMPLES.get(command.name, ()):
        yield from (".PP", roff(what[0].upper() + what[1:] + ":"), ".PP", ".nf", ".RS", roff(words), ".RE", ".fi")


def roff(text: str) -> str:
    """Text in which nothing is a request or an escape; a hyphen can be searched for, and copied."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    return rf"\&{escaped}" if escaped.startswith(".") else escaped


# ------------------------------------------------------------------------------------------------------- completions


def bash(commands: list[Command]) -> Iterator[str]:
    """For bash 4 and newer; readline itself completes files and directories (bash(1), Programmable Completion)."""
    kinds = " ".join(command_options.WRAPPERS)
    yield """# bash completion for eggcache, made by scripts/share.py from its parser
_eggcache() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local command='' word words='' wants=''
    # bash takes --option=value apart at the "="
    if [[ $current == = ]]; then current=''
    elif [[ $previous == = ]]; then previous=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == -* ]] || { command=$word; break; }
    done
    case "$command $previous" in"""
    for command in commands[1:]:
        for option in command.options:
            if option.value:
                spelled = " | ".join(f'"{command.name} {name}"' for name in option.names)
                choices = f" words='{' '.join(option.choices)}'" if option.choices else ""
                yield f"        {spelled}) wants='{option.wants}'{choices} ;;"
    yield """        *)
            case "$command" in"""
    for command in commands:
        words = " ".join(name for option in command.options for name in option.names)
        names = " ".join(other.name for other in commands[1:]) + " " if not command.name else ""
        place = next((argument.wants for argument in command.arguments if argument.wants != "text"), "text")
        pattern = "''" if not command.name else command.name
        yield f"                {pattern}) words='{names}{words}'; [[ $current == -* ]] || wants='{place}' ;;"
    yield f"""            esac
            [[ -z $command || $current == -* ]] && wants='choice' ;;
    esac
    COMPREPLY=()
    case $wants in
        directory) compopt -o dirnames; return ;;
        file) compopt -o default; return ;;
        user) words=$(compgen -u) ;;
        group) words=$(compgen -g) ;;
        zone) words=$({ZONES}) ;;
        kind) words='{kinds}' ;;
        choice) ;;
        *) return ;;
    esac
    local IFS=$' \\n'
    # shellcheck disable=SC2207 # words without spaces
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -F _eggcache eggcache"""


def zsh(commands: list[Command]) -> Iterator[str]:
    """For zsh's own system: zshcompsys(1), _arguments."""
    yield "#compdef eggcache\n# Made by scripts/share.py from eggcache's parser\n"
    yield "_eggcache() {\n    local curcontext=$curcontext state line ret=1\n    typeset -A opt_args"
    yield "    _arguments -C -s \\"
    yield from (f"        {spec} \\" for option in commands[0].options for spec in zsh_option(option))
    yield "        '(-)1:command:->command' '(-)*::argument:->argument' && ret=0"
    yield "    case $state in\n        command)\n            local -a commands=("
    yield from (f"                {quoted(command.name + ':' + command.summary)}" for command in commands[1:])
    yield "            )\n            _describe command commands && ret=0 ;;"
    yield "        argument)\n            case $line[1] in"
    for command in commands[1:]:
        yield f"                {command.name})\n                    _arguments -s \\"
        for option in command.options:
            yield from (f"                        {spec} \\" for spec in zsh_option(option))
        specs = [
            # a message about a requirement would keep the option that is being typed from being completed
            quoted(f"{'*' if one.repeats else number}:{zsh_text(one.help)}:{zsh_action(one) or '{ false }'}")
            for number, one in enumerate(command.arguments, 1)
        ]
        yield f"                        {' '.join(specs)} && ret=0 ;;"
    yield '            esac ;;\n    esac\n    return ret\n}\n\n_eggcache "$@"'


def zsh_option(option: Option) -> Iterator[str]:
    """What _arguments wants to know of an option; one that does not repeat excludes its other spelling."""
    for name in option.names:
        once = "*" if option.repeats else f"({' '.join(option.names)})"
        value = f":{zsh_text(option.value)}:{zsh_action(option)}" if option.value else ""
        yield quoted(f"{once}{name}{'=' if value and name.startswith('--') else ''}[{zsh_text(option.help)}]{value}")


def zsh_text(text: str) -> str:
    return re.sub(r"([\[\]:\\])", r"\\\1", text)


def zsh_action(option: Option) -> str:
    """What completes a value."""
    return {
        "directory": "_files -/", "file": "_files", "user": "_users", "group": "_groups", "zone": "_time_zone",
        "kind": "(" + " ".join(command_options.WRAPPERS) + ")", "choice": "(" + " ".join(option.choices) + ")",
    }.get(option.wants, "")  # fmt: skip


def fish(commands: list[Command]) -> Iterator[str]:
    """For fish: complete(1)."""
    yield "# fish completion for eggcache, made by scripts/share.py from its parser"
    yield "complete -c eggcache -f"
    for option in commands[0].options:
        yield fish_option(option, "__fish_use_subcommand")
    for command in commands[1:]:
        yield f"complete -c eggcache -n __fish_use_subcommand -a {command.name} -d {quoted(command.summary)}"
    for command in commands[1:]:
        seen = f"__fish_seen_subcommand_from {command.name}"
        for option in command.options:
            yield fish_option(option, seen)
        if any(argument.wants == "directory" for argument in command.arguments):
            yield f"complete -c eggcache -n {quoted(seen)} -a '(__fish_complete_directories)'"


def fish_option(option: Option, condition: str) -> str:
    spelled = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    how = {
        "directory": " -x -a '(__fish_complete_directories)'", "file": " -r -F",
        "user": " -x -a '(__fish_complete_users)'", "group": " -x -a '(__fish_complete_groups)'",
        "zone": f" -x -a {quoted('(' + ZONES + ')')}",
        "kind": f" -x -a {quoted(' '.join(command_options.WRAPPERS))}",
        "choice": f" -x -a {quoted(' '.join(option.choices))}", "text": " -x",
    }[option.wants] if option.value else ""  # fmt: skip
    return f"complete -c eggcache -n {quoted(condition)} {spelled}{how} -d {quoted(option.help)}"


def quoted(text: str) -> str:
    """In single quotes, as all of these shells read them."""
    return "'" + text.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: share.py DIRECTORY")
    write(Path(sys.argv[1]))
