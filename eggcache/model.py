"""The nouns that all rooms share: values that never change, in the words of pkg_resources.

Paths are `str` as `os.fsdecode` gives them. Bytes outside the file system's encoding become surrogate escapes, so that
every path of a target can be opened again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from eggcache.errors import Remedy, in_one_line
from eggcache.progress import Progress

DateTime = tuple[int, int, int, int, int, int]  # DOS fields as they are: month 0 and second 62 occur


class Kind(str, Enum):
    """What a distribution is on disk."""

    ZIPPED = "zipped egg"  #: a zip whose name ends in .egg
    BASKET = "inside a basket"  #: outer.egg/inner.egg: an egg that is a directory of another, zipped, egg
    ZIP = "zip that is no egg"  #: a zip on the path whose name does not end in .egg
    UNZIPPED = "unzipped egg"  #: a directory whose name ends in .egg
    EGG_INFO = "egg-info"  #: installed flat, with a NAME.egg-info beside it
    DIST_INFO = "dist-info"  #: installed flat from a wheel, with a NAME.dist-info beside it
    DEVELOP = "develop link"  #: a checkout that a NAME.egg-link names
    OTHER = "other"  #: installed in another way

    @property
    def zipped(self) -> bool:
        """Whether its members are inside a zip, so that pkg_resources has to extract them."""
        return self in (Kind.ZIPPED, Kind.BASKET, Kind.ZIP)


class State(str, Enum):
    """How the target's pkg_resources judges one requirement."""

    MET = "met"  #: a distribution meets it
    MISSING = "missing"  #: no distribution of that project is on the path
    CONFLICTING = "conflicting"  #: a distribution of that project is on the path, in a version that does not meet it
    UNPARSED = "unparsed"  #: the target cannot parse the line; the tree goes on with the project that it names


@dataclass(frozen=True)
class Distribution:
    """One distribution on the target's path, as its pkg_resources reports it."""

    project: str  #: pkg_resources' `project_name`
    version: str | None  #: None where its metadata has none
    location: str  #: pkg_resources' `location`
    kind: Kind  #: what it is on disk
    extras: tuple[str, ...] = ()  #: extras that were asked for
    active: bool = False  #: in the working set when the target starts
    egg: str | None = None  #: the zip file; None where `kind` is not zipped
    inside: str = ""  #: where in the zip its root is: "" or "inner.egg/"
    cache_name: str | None = None  #: pkg_resources' `egg_name`: its files are cached in `cache_name` + "-tmp"

    @property
    def title(self) -> str:
        """Its name with its extras and version: `PasteScript[cheetah] 1.7.5`."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.project}{extras} {self.version or '(no version)'}"

    @property
    def cache_directory(self) -> str | None:
        """The name of the directory in the cache where the target looks for its members; None where `cache_name` is."""
        return self.cache_name and f"{self.cache_name}-tmp"


@dataclass(frozen=True)
class Need:
    """One requirement of a tree: the distribution that has it, and the distribution that meets it."""

    requirement: str  #: as the target prints it; the line of the metadata where the target cannot parse it
    by: int | None  #: the index in `Tree.distributions` of the distribution that requires it; None for a root
    found: int | None  #: the index of the distribution that meets it, or that conflicts; None where there is none
    state: State  #: whether it is met
    reason: str = ""  #: where it is not met, why, in the target's own words
    extra: str = ""  #: the extra that has it, where nobody has asked for that: it counts since what meets it is there
    suits: str = ""  #: where one conflicts, the location of another that suits everything that needs it; "" for none


@dataclass(frozen=True)
class Interpreter:
    """The target, as it describes itself."""

    executable: str  #: absolute, as the user named it: a virtualenv depends on its symlinks
    version: tuple[int, ...]  #: for example (2, 7, 18)
    prefix: str  #: its `sys.prefix`
    path: tuple[str, ...]  #: its `sys.path` without the current directory, and with `--path` in front
    pkg_resources: str | None  #: the file that it imports pkg_resources from; None where it has no pkg_resources
    setuptools: str | None  #: "setuptools 44.1.1", "distribute 0.6.49"; None where unknown
    pth: tuple[str, ...] = ()  #: the .pth files in its site directories
    site_packages: tuple[str, ...] = ()  #: its site directories that exist: purelib, platlib, user site
    added: tuple[str, ...] = ()  #: what of `path` is there by `--path` alone


@dataclass(frozen=True)
class Machine:
    """What the tags of wheels are made from, as the target describes itself (`inside/wheel_tags.py`)."""

    version: tuple[int, ...]  #: for example (2, 7, 18)
    platform: str  #: as eggs are named: "linux-x86_64"
    abi: str  #: "cp27mu"; "" where eggcache knows no tag for its native modules
    bits: int  #: 32 or 64
    virtual: bool  #: whether it is a virtual environment
    finds_wheels: bool  #: whether its pkg_resources, where it has one, knows .dist-info directories
    pip: bool  #: whether it has a pip of its own


@dataclass(frozen=True)
class Tree:
    """The distributions that the root requirements pull in, in the order in which the target resolves them."""

    interpreter: Interpreter  #: the target
    requirements: tuple[str, ...]  #: the roots, as the user wrote them; () for everything on the path
    distributions: tuple[Distribution, ...]  #: each once
    needs: tuple[Need, ...]  #: the roots first, then all others in the order of resolution
    nearby: tuple[str, ...] = ()  #: where a root is missing: installed projects with a similar name
    read: tuple[str, ...] = ()  #: metadata files and directories that the answer depends on
    outside: tuple[str, ...] = ()  #: zipped eggs on the path to which no requirement has led

    @property
    def reported(self) -> bool:
        """Whether it has a root: one that was named, or TurboGears where none was."""
        return any(need.by is None for need in self.needs)


@dataclass(frozen=True)
class Limits:
    """How much an egg may unpack to before it is refused as a bomb. The defaults refuse none of the uploaded eggs."""

    entries: int = 65_535  #: entries of the zip: as many as a zip without zip64 can count
    member: int = 0x7FFFFFFF  #: bytes of one member: as many as Python 2.7 can read
    total: int = 4 << 30  #: bytes of all members together
    ratio: int = 200  #: bytes unpacked for each byte packed, of a member and of the egg; counts from 16 MiB on


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Run:
    """How a command does its work. A command ignores the fields that it has no use for."""

    limits: Limits = DEFAULT_LIMITS  #: how much an egg may unpack to
    wait: float = 120.0  #: seconds to wait for another run
    dry_run: bool = False  #: whether to report what would be done, and write nothing
    #: whether to rename twice where the file system cannot exchange two names at once: the egg is missing in between,
    #: and stays missing until the next run if this one is killed there
    allow_gap: bool = False
    progress: Progress = field(default_factory=Progress)  #: shows how far the command has got


DEFAULT_RUN = Run()


class Member(NamedTuple):
    """An entry of an egg that is a file. A tuple, since an egg may have 200,000 of them."""

    name: str  #: separated by "/"; ASCII, unless `unusual` of the egg has it
    size: int  #: bytes
    packed: int  #: bytes in the zip
    method: int  #: 0: stored, 8: deflated
    crc: int  #: CRC-32 of the unpacked bytes
    offset: int  #: where in the file its local header begins, in bytes
    date_time: DateTime  #: year, month, day, hour, minute and second, in no time zone


@dataclass(frozen=True, init=False)
class Finding:
    """A fault, with its cause and its remedy. As a string it is one line that has all three.

    The constructor takes a text as the remedy where no command does it, "" for a notice.
    """

    code: str  #: stable: scripts may match on it; the reference explains each
    thing: str  #: what is wrong: a path, a requirement
    cause: str  #: why
    remedy: Remedy  #: what to do
    status: int = 3  #: the exit status of a command that reports it; 0 for a notice
    context: tuple[str, ...] = field(default=())  #: details, for `-v` and JSON

    def __init__(
        self, code: str, thing: str, cause: str, remedy: Remedy | str, status: int = 3, context: tuple[str, ...] = ()
    ) -> None:
        remedy = Remedy.of(remedy)
        vars(self).update(code=code, thing=thing, cause=cause, remedy=remedy, status=status, context=context)

    def __str__(self) -> str:
        return in_one_line(self.thing, self.cause, self.remedy)

    @property
    def line(self) -> str:
        """The same with the code, as a message has it: its command is the end of the line."""
        return in_one_line(self.thing, self.cause, self.remedy, self.code)


@dataclass(frozen=True)
class Ownership:
    """The owner and the modes of extracted files. Neither the group nor others may ever write."""

    uid: int  #: the owner
    gid: int  #: the group
    directory_mode: int  #: permission bits of directories
    file_mode: int  #: permission bits of files


@dataclass(frozen=True)
class Outcome:
    """What a command did, or in a dry run would do, with one egg."""

    egg: str  #: the zip file
    into: str  #: what holds, or would hold, its members: a directory; for `wheels` a file
    action: str  #: "made", "replaced", "kept", "removed", "unzipped", "restored", "packed"
    files: int = 0  #: how many files that is
    size: int = 0  #: bytes of these files


@dataclass(frozen=True)
class Process:
    """A process that runs the target, or has files beside its eggs open: it may fail when an egg is swapped."""

    pid: int  #: its number
    user: str  #: the name of its user
    command: str  #: its command line, shortened
    uses: str  #: how it uses the target, as far as /proc tells
    unit: str | None = None  #: the service of systemd that it belongs to


@dataclass(frozen=True)
class Zone:
    """A time zone, as the machine knows it that reckons in it."""

    name: str  #: a value of TZ; "" where the machine's own has no name
    rules: str | None  #: the version of the machine's rules for it, "2025b"; None where unknown, or none are needed
    depends: bool  #: whether another machine with other rules may have other dates in it
    posix: str  #: a value of TZ that says the same of today, and depends on no rules; "" where none is known


@dataclass(frozen=True)
class Report:
    """What a command did, and what it found."""

    command: str  #: its name: "prepare", "unzip-all", …
    directory: str | None  #: the directory that it works on, where the command has one
    outcomes: tuple[Outcome, ...]  #: one for each egg that it worked on
    findings: tuple[Finding, ...]  #: what is wrong; the rest is done
    notes: tuple[str, ...] = ()  #: lines for the user that ask for nothing
    unchanged: bool = False  #: whether nothing had to be done, and nothing was written
    dry_run: bool = False  #: whether this is what would be done
    #: prepare, archive: of what the cache holds for this tree; equal on two hosts where that is equal
    digest: str | None = None
    owner: Ownership | None = None  #: prepare, archive: whose the cache is
    #: unzip-all: who used the target or its eggs when the command began; prepare: who does since before an egg changed
    processes: tuple[Process, ...] = ()
    outside: tuple[str, ...] = ()  #: zipped eggs on the path that were not worked on: no requirement has led to them
    ignored: tuple[Finding, ...] = ()  #: check: what is wrong as well, and was not to count
    install: tuple[str, ...] = ()  #: wheels: arguments for pip, by which the wheels replace the eggs; () where none do
    zone: Zone | None = None  #: archive: the time zone that its files are dated in
    #: archive: what puts it in its place on the host, and proves a cache there; in order
    commands: tuple[str, ...] = ()
