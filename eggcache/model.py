"""The nouns, as frozen dataclasses without behaviour of their own. Words are those of pkg_resources.

Paths are `str` as `os.fsdecode` gives them: what is not valid in the file system's encoding is kept as
surrogate escapes, so that every path of a target can be opened again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

DateTime = tuple[int, int, int, int, int, int]  # DOS fields as they are: month 0 and second 62 occur


class Kind(str, Enum):
    """What a distribution is on disk."""

    ZIPPED = "zipped egg"
    BASKET = "inside a basket"  # outer.egg/inner.egg: an egg in a directory of another, zipped, egg
    ZIP = "zip that is no egg"  # a zip on the path whose name does not end in .egg
    UNZIPPED = "unzipped egg"
    EGG_INFO = "egg-info"
    DIST_INFO = "dist-info"
    DEVELOP = "develop link"
    OTHER = "other"

    @property
    def zipped(self) -> bool:
        """Whether its members are inside a zip, so that pkg_resources has to extract them."""
        return self in (Kind.ZIPPED, Kind.BASKET, Kind.ZIP)


class State(str, Enum):
    """What the target's pkg_resources says of one requirement."""

    MET = "met"
    MISSING = "missing"
    CONFLICTING = "conflicting"  # a distribution of that project is there, in a version that is not wanted
    UNPARSED = "unparsed"  # the target cannot parse the line; followed by project name


@dataclass(frozen=True)
class Distribution:
    """One distribution on the target's path, as its pkg_resources reports it."""

    project: str
    version: str | None  # None where its metadata has none
    location: str  # pkg_resources' `location`
    kind: Kind
    extras: tuple[str, ...] = ()  # extras that were asked for
    active: bool = False  # in the working set when the target starts
    egg: str | None = None  # the zip file on disk (Kind.zipped only)
    inside: str = ""  # where in the zip its root is: "" or "inner.egg/"
    cache_name: str | None = None  # pkg_resources' `egg_name`: its files are cached in cache_name + "-tmp"

    @property
    def title(self) -> str:
        """Its name with its extras and version: `PasteScript[cheetah] 1.7.5`."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.project}{extras} {self.version or '(no version)'}"


@dataclass(frozen=True)
class Need:
    """One requirement, who has it, and what the target found for it. Indexes are into Tree.distributions."""

    requirement: str  # as the target prints it; the raw line where it could not parse it
    by: int | None  # None: asked for on the command line
    found: int | None
    state: State
    reason: str = ""  # the target's own words where it is not met


@dataclass(frozen=True)
class Interpreter:
    """The target, as it describes itself."""

    executable: str  # absolute, as it was named: symlinks are kept, a virtualenv depends on them
    version: tuple[int, ...]  # (2, 7, 18)
    prefix: str
    path: tuple[str, ...]  # sys.path, the current directory left out, `--path` in front
    pkg_resources: str | None  # where it was imported from; None: it has none
    setuptools: str | None  # "setuptools 44.1.1", "distribute 0.6.49"; None where unknown
    pth: tuple[str, ...] = ()  # .pth files in its site directories
    site_packages: tuple[str, ...] = ()  # its site directories (purelib, platlib, user site), existing ones
    added: tuple[str, ...] = ()  # what of `path` is there by `--path` alone


@dataclass(frozen=True)
class Machine:
    """What wheels are for, as the target says of itself: see inside/tags.py."""

    version: tuple[int, ...]  # (2, 7, 18)
    platform: str  # "linux-x86_64", as eggs are named
    abi: str  # "cp27mu"; "" where native modules have no tag that we know
    bits: int
    virtual: bool  # it is a virtual environment
    finds_wheels: bool  # its pkg_resources, where it has one, knows .dist-info directories
    pip: bool  # it has a pip of its own


@dataclass(frozen=True)
class Tree:
    """The distributions that the root requirements pull in, in the order the target resolves them."""

    interpreter: Interpreter
    requirements: tuple[str, ...]  # the roots, as asked for; () with --all
    distributions: tuple[Distribution, ...]
    needs: tuple[Need, ...]  # the roots' first, then in the order of resolution
    nearby: tuple[str, ...] = ()  # for a missing root: installed projects with a name like it
    read: tuple[str, ...] = ()  # metadata files and directories that the answer depends on


@dataclass(frozen=True)
class Limits:
    """What an egg may ask for at most, sizes in bytes. The defaults refuse no egg that was ever uploaded."""

    entries: int = 65_535  # all that a zip without zip64 can count
    member: int = 0x7FFFFFFF  # all that Python 2.7 can read
    total: int = 4 << 30
    ratio: int = 200  # unpacked to packed; counts from 16 MiB unpacked, for a member and for the whole egg


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Member:
    """An entry of an egg that is a file. Offsets and sizes are in bytes."""

    name: str  # "/"-separated, ASCII unless Egg.unusual says otherwise
    size: int
    packed: int  # size in the zip
    method: int  # 0 stored, 8 deflated
    crc: int
    offset: int  # of its local header in the file
    date_time: DateTime


@dataclass(frozen=True)
class Finding:
    """Something wrong, with its cause and its remedy. `code` is stable: scripts may match on it."""

    code: str
    thing: str
    cause: str
    remedy: str
    status: int = 3  # the exit status that it asks for, see errors.py
    context: tuple[str, ...] = field(default=())  # detail, shown with -v and in JSON

    def __str__(self) -> str:
        return f"{self.thing}: {self.cause}; {self.remedy}" if self.remedy else f"{self.thing}: {self.cause}"


@dataclass(frozen=True)
class Ownership:
    """Who owns what is extracted, and with which modes. Nothing is ever writable by the group or by others."""

    uid: int
    gid: int
    directory_mode: int
    file_mode: int


@dataclass(frozen=True)
class Outcome:
    """What was done, or with a dry run would be done, about one egg."""

    egg: str  # the zip file
    into: str  # the directory that holds, or would hold, its members
    action: str  # "made", "replaced", "kept", "removed", "unzipped", "restored"
    files: int = 0
    size: int = 0  # bytes


@dataclass(frozen=True)
class Process:
    """A process that runs the target, or has files beside its eggs open: what is exchanged under it may break it."""

    pid: int
    user: str
    command: str  # shortened
    uses: str  # how it uses the target, as far as that can be told from outside
    unit: str | None = None  # the service of systemd's that it belongs to


@dataclass(frozen=True)
class Report:
    """What a command did. `unchanged`: nothing had to be done, and nothing was written."""

    command: str
    directory: str | None
    outcomes: tuple[Outcome, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()  # facts worth a line on stderr that ask for nothing
    unchanged: bool = False
    dry_run: bool = False
    digest: str | None = None  # prepare: of what DIR holds, or would hold, for this tree; compare hosts by it
    owner: Ownership | None = None  # prepare: whose DIR is, and with which modes
    processes: tuple[Process, ...] = ()  # unzip-all: who used the target or its eggs when it began
    install: tuple[str, ...] = ()  # wheels: what to say to pip, so that they take the place of the eggs; () for never
