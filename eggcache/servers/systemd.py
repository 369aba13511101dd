"""One unit of systemd: as systemd has loaded it, or by its files where systemd does not answer.

systemd starts a unit as it was loaded: a file that has changed since counts after `systemctl daemon-reload`. Nothing
here fails.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from eggcache.system import files

_PATH = (  # systemd.unit(5), highest priority first
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_SYSTEMCTL = "/usr/local/bin:/usr/bin:/bin"  # where it is on every distribution
_TIMEOUT = 10.0  # seconds; it answers in 0.02
_ASKED = (
    "LoadState,PrivateTmp,BindPaths,BindReadOnlyPaths,TemporaryFileSystem,InaccessiblePaths,Environment,"
    "UnsetEnvironment,EnvironmentFiles,ProtectHome,DropInPaths,NeedDaemonReload,MainPID"
)
_LISTS = ("BindPaths", "TemporaryFileSystem", "InaccessiblePaths", "Environment", "UnsetEnvironment", "EnvironmentFile")
DROP_IN = "50-eggcache.conf"
HOMES = ("/home", "/root", "/run/user")  # of ProtectHome=
_YES, _NO = ("1", "yes", "y", "true", "t", "on", "disconnected", "connected"), ("0", "no", "n", "false", "f", "off")


@dataclass(frozen=True)
class Unit:
    """The settings of a unit that matter here."""

    name: str
    private_tmp: bool | None = None  # whether it has its own /tmp and /var/tmp; None: it cannot be told
    bound: tuple[str, ...] = ()  # directories of the host that it sees at their own place
    emptied: tuple[str, ...] = ()  # where it has a file system of its own, by TemporaryFileSystem=
    closed: tuple[str, ...] = ()  # what it may not see, with all that is below, by InaccessiblePaths=
    environment: dict[str, str | None] = field(default_factory=dict)  # what it sets; None: what it takes away
    later: dict[str, str] = field(default_factory=dict)  # of variables: the file that counts more than DROP_IN
    reset: str = ""  # the file after DROP_IN with an empty Environment=, which takes back what was set before
    protects_home: bool = False  # HOMES are among what is emptied or closed by ProtectHome=
    changed: bool = False  # its files are not what is loaded
    process: int = 0  # the first one, where it runs


def running(root: str = "/") -> bool:
    """Whether systemd is what runs this host, sd_booted(3)."""
    return os.path.isdir(os.path.join(root, "run/systemd/system"))


def read(names: Sequence[str], root: str = "/") -> Unit | None:
    """The first of these units that exists; None where none does.

    :param names: names of units, the likeliest first
    :param root: the directory below which files are looked up
    """
    loaded = _loaded(names) if root == "/" and running() else None
    if loaded is not None:
        return next((unit for unit in loaded if unit), None)
    return next((unit for unit in (_written(name, root) for name in names) if unit), None)


# ------------------------------------------------------------------------------------------------- as it is loaded


def _loaded(names: Sequence[str]) -> list[Unit | None] | None:
    """These units as systemd itself has them; None where it does not answer."""
    try:
        process = subprocess.run(
            ["systemctl", "show", "--property", _ASKED, "--", *names],
            env={"PATH": _SYSTEMCTL, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    answers = process.stdout.decode("utf-8", "surrogateescape").split("\n\n")
    return [_answered(name, answer) for name, answer in zip(names, answers)]


def _answered(name: str, answer: str) -> Unit | None:
    pairs = [line.partition("=")[::2] for line in answer.split("\n")]
    properties = dict(pairs)
    if properties.get("LoadState") != "loaded":
        return None
    number = properties.get("MainPID", "")
    process = int(number) if number.isdigit() else 0
    bound = (place for key in ("BindPaths", "BindReadOnlyPaths") for place in _bound(properties.get(key, "")))
    home = properties.get("ProtectHome", "")
    named = (value for key, value in pairs if key == "EnvironmentFiles")
    sources = [re.sub(r" \(ignore_errors=(?:yes|no)\)$", "", value) for value in named]
    environment, later, reset = words(properties.get("Environment", "")), dict[str, str](), ""
    for source in words(properties.get("DropInPaths", "")):
        for key, value in _settings(source) if os.path.basename(source) > DROP_IN else ():
            later.update(dict.fromkeys(map(_variable, words(value)), source) if key == "Environment" else {})
            reset = source if key == "Environment" and not value else reset
    for source in sources:
        assigned = _assigned(source)
        environment += assigned
        later.update(dict.fromkeys(map(_variable, assigned), source))
    return Unit(
        name,
        properties.get("PrivateTmp") not in ("no", None),
        tuple(place for place in bound if _seen(process, place)),
        (*_places(properties.get("TemporaryFileSystem", "")), *(HOMES if home == "tmpfs" else ())),
        (*_places(properties.get("InaccessiblePaths", "")), *(HOMES if home == "yes" else ())),
        _left(environment, words(properties.get("UnsetEnvironment", ""))),
        later,
        reset,
        home in ("yes", "tmpfs"),
        properties.get("NeedDaemonReload") == "yes",
        process,
    )


def _assigned(file: str) -> list[str]:
    """What a file of EnvironmentFile= sets, systemd.exec(5)."""
    pairs = (line.strip().partition("=") for line in files.lines(file))
    return [f"{name}={' '.join(words(value))}" for name, _, value in pairs if re.fullmatch(r"[A-Za-z_]\w*", name)]


def _variable(word: str) -> str:
    return word.partition("=")[0]


def _seen(process: int, place: str) -> bool:
    """Whether the unit sees the host's directory: what cleans /tmp takes mounts away that are in a private one."""
    try:
        return not process or os.path.samestat(os.stat(place), os.stat(f"/proc/{process}/root{place}"))
    except FileNotFoundError:
        return False
    except OSError:  # only root may look
        return True


# ------------------------------------------------------------------------------------------------ as it is written


def _written(name: str, root: str) -> Unit | None:
    """The unit by its file and its drop-ins, of which the last one wins."""
    path = [os.path.join(root, directory[1:]) for directory in _PATH]
    own = dict.fromkeys([name, re.sub(r"@.*(?=\.service$)", "@", name)])  # of apache2@x.service, apache2@.service too
    file = next((f for f in (os.path.join(d, each) for each in own for d in path) if os.path.lexists(f)), None)
    if file is None:
        return None
    dropins: dict[str, str] = {}
    # service.d is for every service. Of two of one name the more specific counts, then the one found first.
    for directory in [os.path.join(d, sub) for sub in (*(f"{each}.d" for each in own), "service.d") for d in path]:
        for base in files.names(directory):
            if base.endswith(".conf"):
                dropins.setdefault(base, os.path.join(directory, base))
    private, home, lists = False, "", {key: list[str]() for key in _LISTS}
    for source in [file, *(dropins[base] for base in sorted(dropins))]:
        for key, value in _settings(source):
            if key == "PrivateTmp":  # an empty value, and one that is none, leave it as it was
                private = value.lower() in _YES or (private and value.lower() not in _NO)
            elif key == "ProtectHome":
                home = value.lower()
            listed = lists.get("BindPaths" if key == "BindReadOnlyPaths" else key)
            if listed is not None:  # an empty value takes back those before it
                listed[:] = [*listed, value.replace("%%", "%")] if value else []
    bound, emptied, closed, sets, unsets, sources = lists.values()
    assigned = [word for source in sources for word in _assigned(_below(root, source.removeprefix("-")))]
    return Unit(
        name,
        private,
        tuple(place for value in bound for place in _bound(value)),
        (*(place for value in emptied for place in _places(value)), *(HOMES if home == "tmpfs" else ())),
        (*(place for value in closed for place in _places(value)), *(HOMES if home in _YES else ())),
        _left(
            [*(word for value in sets for word in words(value)), *assigned],
            [word for value in unsets for word in words(value)],
        ),
        protects_home=home == "tmpfs" or home in _YES,
    )


def _below(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip("/"))


def _settings(path: str) -> Iterator[tuple[str, str]]:
    """The keys and values in the [Service] section of a unit file, systemd.syntax(7)."""
    section = held = ""
    for line in files.lines(path):
        if line.lstrip()[:1] in ("#", ";"):  # between the lines of one setting as well
            continue
        held += line
        if (len(held) - len(held.rstrip("\\"))) % 2:
            held = f"{held[:-1]} "
            continue
        text, held = held.strip(), ""
        if text.startswith("["):
            section = text
        name, equals, value = text.partition("=")
        if section == "[Service]" and equals:
            yield name.strip(), value.strip()


# ------------------------------------------------------------------------------------------------ values of both


def _bound(value: str) -> Iterator[str]:
    """The places of a list SOURCE[:DESTINATION[:OPTIONS]] at which the host's own directory of that name is shown."""
    for word in words(value):
        source, _, rest = word.lstrip("-").partition(":")
        if rest.partition(":")[0].lstrip("-") in ("", source):
            yield source


def _places(value: str) -> Iterator[str]:
    """The places of a list PLACE[:OPTIONS], where `-` lets one be missing and `+` puts it below RootDirectory=."""
    for word in words(value):
        yield word.lstrip("-+").partition(":")[0]


def _left(assignments: Sequence[str], removals: Sequence[str]) -> dict[str, str | None]:
    """What is left of Environment= by UnsetEnvironment=, which comes last whichever file it is in: systemd.exec(5)."""
    variables: dict[str, str | None] = dict(word.partition("=")[::2] for word in assignments)
    for word in removals:
        name, equals, value = word.partition("=")
        if not equals or variables.get(name) == value:  # NAME=VALUE takes that value alone
            variables[name] = None
    return variables


def words(text: str) -> list[str]:
    """The words of a line, less their quotes; none where those are not closed."""
    try:
        return shlex.split(text)
    except ValueError:
        return []
