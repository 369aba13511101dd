"""The directive `.. generated:: WHAT [ARGUMENT]`: reference pages that are read off the source, and never stale."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import rooms
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from eggcache.cli import main, manual, reference
from eggcache.wrappers import emission, kinds

ROOT = Path(__file__).resolve().parent.parent
# What an installation has that followed the README, on Debian.
PREPARE = shlex.split(
    "/opt/eggcache/bin/python3 -I /opt/eggcache/bin/eggcache prepare /var/cache/eggcache --lenient "
    "--python /srv/turbogears/bin/python --user www-data --group www-data --wait 60"
)


def commands() -> Iterator[str]:
    """Each command with its usage, options and examples."""
    for command in reference.commands(main.parser()):
        name = f"eggcache {command.name}".strip()
        if command.name:
            yield from ("", name, "-" * len(name), "")
        yield from (command.description, "", ".. code-block:: text", "", f"    {command.usage}", "")
        yield from (f".. program:: {name}", "")
        for option in (*command.arguments, *command.options):
            value = f" {option.value}" if option.value else ""
            spelled = [f"{one}{value}" for one in option.names] or [option.value]
            yield from (f".. option:: {', '.join(spelled)}", "", f"    {literal(option.help)}", "")
        yield from ("Examples:", "", ".. code-block:: sh", "")
        yield from (f"    {words}  # {what}" for words, what in manual.EXAMPLES.get(command.name, ()))
        yield ""


def literal(text: str) -> str:
    """Plain text in which nothing is markup."""
    return "".join("\\" + c if c in "\\*`_|" else c for c in text)


def statuses() -> Iterator[str]:
    """The table of exit statuses."""
    yield from (".. list-table::", "    :widths: 10 90", "")
    for status, meaning in reference.statuses():
        yield from (f"    * - {status}", f"      - {literal(meaning)}")


def environment() -> Iterator[str]:
    """The environment variables."""
    for name, meaning in reference.ENVIRONMENT:
        yield from (f"``{name}``", f"    {literal(meaning)}", "")


def wrapper(kind: str) -> Iterator[str]:
    """What `eggcache wrapper /var/cache/eggcache --for KIND` prints on Debian, with the names of the README."""
    wanted = kinds.WrapperSettings(
        "/var/cache/eggcache", PREPARE, None, apachectl="/usr/sbin/apache2ctl",
        pid_file="/var/run/apache2/apache2.pid", unit="apache2.service", debian=True,
    )  # fmt: skip
    text = emission.wrapper(kind, wanted)
    yield from (".. code-block:: text", "")
    yield from (f"    {line}".rstrip() for line in text.splitlines())


def picture() -> Iterator[str]:
    """The rooms of the source and their imports, as graphviz draws them."""
    yield from (".. graphviz::", "    :alt: the rooms, with an arrow for each that imports another", "")
    yield from (f"    {line}" for line in rooms.dot(ROOT / "eggcache"))


def part(name: str) -> Iterator[str]:
    """A file of the repository, where it is there."""
    path = ROOT / name
    if path.exists():
        kind = ".. literalinclude::" if path.suffix == ".json" else ".. include::"
        yield from (f"{kind} ../../{name}", "")
    elif path.suffix == ".rst":
        yield from (path.stem.capitalize(), "=" * len(path.stem), "", f"{name} is not there yet.")


MADE: dict[str, Callable[..., Iterator[str]]] = {
    "commands": commands, "statuses": statuses, "environment": environment, "wrapper": wrapper,
    "rooms": picture, "file": part,
}  # fmt: skip


class Generated(SphinxDirective):
    """Its text is parsed as if it stood in the page."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        what, *rest = self.arguments
        for path in (ROOT / "eggcache").rglob("*"):  # a page is made anew when what it is made from has changed
            if path.is_file() and path.suffix != ".pyc":
                self.env.note_dependency(str(path))
        text = "\n".join(MADE[what](*rest))
        source = f"<generated {' '.join(self.arguments)}>"
        self.state_machine.insert_input(StringList(text.splitlines(), source), source)
        return []


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("generated", Generated)
    return {"parallel_read_safe": True}
