"""Who can change the code that a target runs, found without running it."""

from __future__ import annotations

import glob
import grp
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from eggcache.errors import NotPermitted, UsageError
from eggcache.system import accounts, files, safe_dirs
from eggcache.system.accounts import Account
from eggcache.target import buildout, search_path, startup_files
from eggcache.target.startup_files import site_directories as site_directories

_MOST_STEPS = 400  # of links and directories on the way to a place
_MOST_ENTRIES = 300_000  # that are looked at; a standard library has 8,000, a large site-packages 50,000
_SITES = ("site-packages", "dist-packages")  # no names of modules: what is there is loaded where sys.path has them
_TESTS = ("test", "tests", "idle_test")  # which nothing that answers imports
_INSTEAD = "leave the eggs zipped and use eggcache prepare instead"


class RootAlone(Account):
    """Root, for a target that loads only what root alone can change. launch.Launch looks with any other account."""

    __slots__ = ()


def site_owner(executable: str) -> Account:
    """The account that `unzip-all` acts as: as root the owner of the target's site-packages, else the current user.

    The target cannot be asked where its site-packages are: that would run its code as root. So this looks where
    CPython, its virtual environments and Debian put them: `lib*/python*/site-packages` and `dist-packages` below the
    prefix, then at the executable and its directory, and at a script of buildout's before the Python that runs it. The
    first owner who is not root is taken.

    :param executable: the path of the target
    :raises NotPermitted: more than the owner may write to one of these places
    """
    if os.geteuid() != 0:
        return accounts.current()
    for place in _places(executable):
        uid = owner(place)
        if uid == -1:
            cause = (
                "several users may change what the target runs there, or the way there, so root acts as none of them"
            )
            remedy = f"run unzip-all as a user who installs there, or {_INSTEAD}"
            raise NotPermitted(place, cause, remedy)
        if uid:
            return _account(uid)
    return accounts.current()


def _places(executable: str) -> list[str]:
    directory, runs = os.path.dirname(os.path.abspath(executable)), buildout.interpreter(executable)
    names = [directory, executable, os.path.realpath(executable)]
    return [*names, *_places(runs)] if runs else [*site_directories(executable), *names]


def runner(executable: str, paths: Sequence[str] = ()) -> Account:
    """The account that the target runs as when root asks for its tree, so that nobody gains rights by its code.

    Root, only where everything that the target loads to start and to answer (startup_files.look) is root's, and not
    writable by others, from "/" on. Else the one other owner; nobody where there are several, where anybody may write,
    or where it cannot be told.

    :param executable: the path of the target
    :param paths: directories and eggs in front of its sys.path
    :returns: the account; with root's rights a RootAlone
    """
    if os.geteuid() != 0:
        return accounts.current()
    writers = _Look(startup_files.look(executable, paths)).everything().writers
    if not writers:
        return RootAlone(*accounts.current())
    return _account(writers.popitem()[0]) if len(writers) == 1 else accounts.lookup("nobody")


def keeper(paths: Sequence[str]) -> Account:
    """The account that eggs are read as which lie at `paths`, when root is not told by which: root, where only root
    could have put them there; else the one other owner, or nobody where there are several.

    :param paths: files and directories
    """
    if os.geteuid() != 0:
        return accounts.current()
    owners = {owner(path) for path in paths} - {0}
    return accounts.current() if not owners else _account(owners.pop() if len(owners) == 1 else -1)


def check_bare(executable: str) -> None:
    """Look whether root runs nobody else's code by `executable` with -S, which loads nothing of site-packages.

    :param executable: the path of the target
    :raises NotPermitted: its program or standard library is not root's alone, or cannot be told
    """
    if os.geteuid() != 0:
        return
    startup = startup_files.look(executable)
    for uid, place in _Look(startup).core().writers.items():
        subject = "several may change" if uid == -1 else f"user {accounts.user_name(uid)} may change"
        cause = f"{subject} what it runs, at {place}"
        if not startup.complete:
            cause = "what it runs cannot be told from the outside"
        remedy = f"name the Python itself with --python if this is a script; if not, {_INSTEAD}"
        raise NotPermitted(executable, f"{cause}, so root does not byte-compile with it", remedy)


def is_roots(library: str) -> bool:
    """Whether a directory of a standard library is root's alone, with all that is in it.

    :param library: the path of the directory
    """
    return not _Look(startup_files.Startup(library=[library])).core().writers


class _Look:
    """Who may change what a target loads, found by looking at all of it, and once at each."""

    def __init__(self, startup: startup_files.Startup) -> None:
        self.writers: dict[int, str] = {}  # who is not root, -1 for several or anybody: where this was seen
        self._startup = startup
        self._directories: dict[tuple[int, int], bool] = {}  # each directory: whether the whole of it
        self._budget = _MOST_ENTRIES

    def core(self) -> _Look:
        """Look at what is loaded with -S: the program, shared libraries, the standard library."""
        if not self._startup.complete:
            self.writers[-1] = self._startup.files[0]
        for file in self._startup.files:
            self._add(owner(file), file)
        for place in self._startup.library:
            self._tree(place, whole=True)
        return self

    def everything(self) -> _Look:
        """Look at all of sys.path as well: what lies in each directory, and the packages there."""
        self.core()
        for place in self._startup.path:
            self._tree(place, whole=False)
        for name in files.names("/"):  # the target's working directory, which is the first on its path
            if os.path.splitext(name)[1] in (".py", ".pyc", ".so") or glob.glob(f"/{glob.escape(name)}/__init__.*"):
                self._tree(f"/{name}", whole=False, top=False)
        return self

    def _add(self, uid: int, place: str) -> None:
        if uid:
            self.writers.setdefault(uid, place)

    def _tree(self, place: str, *, whole: bool, top: bool = True) -> None:
        self._add(owner(place), place)
        self._below(os.path.realpath(place), whole, top)

    def _below(self, place: str, whole: bool, top: bool) -> None:
        """Look at what is in the directory `place`, which has been looked at itself: the whole of it, or at the `top`,
        which is on sys.path, each thing and the whole of each package. Other directories hold no modules, but a package
        may put one of its own on sys.path, as pkg_resources does."""
        try:
            info = os.stat(place)
            if not stat.S_ISDIR(info.st_mode) or self._directories.get((info.st_dev, info.st_ino)) in (True, whole):
                return
            with os.scandir(place) as listing:
                entries = list(listing)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return
        except OSError:
            self._add(-1, place)  # a file system on which root is nobody, maybe
            return
        package = os.path.basename(place) == "__pycache__" or any(
            entry.name.startswith("__init__.") for entry in entries
        )
        whole = whole or (package and not top)
        if not whole and not top:
            return
        self._directories[info.st_dev, info.st_ino] = whole
        for entry in entries:
            self._budget -= 1
            if self._budget < 0:
                self._add(-1, place)
                return
            if not (whole and entry.name in _SITES):
                self._entry(entry, whole)

    def _entry(self, entry: os.DirEntry[str], whole: bool) -> None:
        try:
            info = entry.stat(follow_symlinks=False)
        except OSError:
            return
        if stat.S_ISLNK(info.st_mode):
            self._tree(entry.path, whole=whole, top=False)
            return
        directory = stat.S_ISDIR(info.st_mode)
        self._add(info.st_uid, entry.path)
        if (directory or info.st_mode & 0o022) and _writable(entry.path, info):
            self._add(-1, entry.path)
        if directory and not (whole and entry.name in _TESTS):
            self._below(entry.path, whole, top=False)


def owner(place: str) -> int:
    """The uid that decides what is at `place`: 0 for root alone, -1 for several or anybody.

    A user who can exchange a name on the way decides too, links included. So does a user who can add a file to a
    directory: its modules are imported, and the sticky bit, which keeps names from being exchanged, does not prevent
    that.
    """
    writers: set[int] = set()
    path, sticky, pending = "/", False, [part for part in reversed(os.path.abspath(place).split("/")) if part]
    for _ in range(_MOST_STEPS):
        try:
            info = os.lstat(path)
        except (OSError, ValueError):
            writers |= {-1} if sticky else set()  # anybody may make it
            break
        if info.st_uid:
            writers.add(info.st_uid)
        if stat.S_ISLNK(info.st_mode):
            target = os.readlink(path)
            pending += [part for part in reversed(target.split("/")) if part]
            path = "/" if target.startswith("/") else os.path.dirname(path)
        else:
            sticky = bool(info.st_mode & stat.S_ISVTX and info.st_mode & 0o002)
            if _writable(path, info) and (not pending or not info.st_mode & stat.S_ISVTX):
                writers.add(-1)
        if not pending:
            break
        name = pending.pop()
        if name == "..":
            path = os.path.dirname(path)
        elif name != ".":
            path = os.path.join(path, name)
    else:
        writers.add(-1)  # a circle of links, maybe
    return writers.pop() if len(writers) == 1 else -1 if writers else 0


def _writable(path: str, info: os.stat_result) -> bool:
    """Whether more than the owner may write there; Debian lets `staff` install below /usr/local, where root looks."""
    if info.st_mode & 0o002:
        return True
    if stat.S_ISDIR(info.st_mode) and _acl_grants(path, safe_dirs.ACL_DEFAULT, info.st_uid):
        return True
    if not info.st_mode & 0o020:  # of an ACL these bits are the mask
        return False
    if _acl_grants(path, safe_dirs.ACL_ACCESS, info.st_uid):
        return True
    if info.st_gid == 0:
        return False
    with suppress(KeyError):
        return not (path.startswith("/usr/local/") and grp.getgrgid(info.st_gid).gr_name == "staff")
    return True


def _acl_grants(path: str, name: str, owner: int) -> bool:
    """Whether an ACL lets somebody write who is neither root, nor `owner`, nor what the mode tells of."""
    entries = files.acl(path, name)
    mask = next((rights for tag, rights, _ in entries if tag == 0x10), 0o7)
    return any(
        rights & mask & 0o2 and ((tag == 0x02 and number not in (0, owner)) or (tag == 0x08 and number != 0))
        for tag, rights, number in entries
    ) or (name == safe_dirs.ACL_DEFAULT and any(rights & 0o2 for tag, rights, _ in entries if tag == 0x20))


def egg_directories(executable: str, paths: Sequence[str] = ()) -> set[str]:
    """The directories of eggs that root can find by itself: site-packages, `paths`, PYTHONPATH, and where .pth files of
    root's lead. What somebody else's code answers may name any other; a link in his directory, a script of buildout's
    or the configuration of a Trac, only those of its owner, unless that is root.

    :param executable: the path of the target
    :param paths: what is in front of its sys.path: directories, eggs, scripts of buildout's, Trac environments
    :returns: their places, with symbolic links resolved
    """
    runs = buildout.interpreter(executable)
    if runs:
        executable, paths = runs, [*paths, executable]
    directories = [*site_directories(executable), *paths, *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
    directories += [*site_directories(os.path.realpath(executable)), *glob.glob("/usr/local/lib/python*/*-packages")]
    for place in list(directories):
        uid = owner(place)
        lines = startup_files.pth_names(place) if not uid else []
        for line in (*lines, *glob.glob(os.path.join(glob.escape(place), "*.egg"))):
            around = os.path.dirname(os.path.realpath(line))
            directories += [line, around] if not uid or _is_sole_owner(around, uid) else []
    real = set(map(os.path.realpath, directories))
    for path in paths:
        owners = {owner(file) for file in search_path.sources([path])} - {0}
        for place in map(os.path.realpath, search_path.entries([path])):
            # Of an egg its directory, where others may have eggs as well: an egg of his own among them is not enough
            places = {place, os.path.dirname(place)} if place.lower().endswith(".egg") else {place}
            if not owners or (len(owners) == 1 and all(_is_sole_owner(directory, *owners) for directory in places)):
                real |= places
    return real


def _is_sole_owner(place: str, uid: int) -> bool:
    """Whether `uid`, who is neither root nor several, is the one who decides what is at `place`."""
    return uid > 0 and owner(place) == uid


def reader(place: str, info: os.stat_result, account: Account) -> Account:
    """The account to read with, as `account`, in the directory `place`, which is open and has this `info`.

    Root reads as the directory's owner, or as nobody where more may write there: a hard link, or a file moved there
    meanwhile, must not show them what they cannot read themselves.

    :param place: the path of the directory
    :param info: the status of its open descriptor
    :param account: the account that the command reads with
    """
    if os.geteuid() != 0 or account.uid != 0:
        return account
    uid = -1 if _writable(place, info) else info.st_uid
    return _account(uid) if uid else account


def configuration_reader(file: str) -> Account:
    """The account to read a configuration with, and what it names: who can change it must not be shown by root what he
    cannot read himself. Where these are several, its owner; and for a file of root's, nobody with its group."""
    uid = owner(file) if os.geteuid() == 0 else 0
    if uid != -1:
        return _account(uid) if uid else accounts.current()
    nobody = accounts.lookup("nobody")
    try:
        info = os.lstat(file)
    except OSError:
        return nobody
    return _account(info.st_uid) if info.st_uid else nobody._replace(gid=info.st_gid or nobody.gid)


def _account(uid: int) -> Account:
    nobody = accounts.lookup("nobody")
    if uid == -1:
        return nobody
    try:
        return accounts.lookup(str(uid))
    except UsageError:  # a number without a name, as in a container: no group is known to be his, least of all root's
        return Account(str(uid), uid, nobody.gid)
