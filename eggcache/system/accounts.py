"""User accounts: looked up once by name, then used by number to act with their rights."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections import namedtuple

from eggcache.errors import EggcacheError, NotPermitted, Remedy, UsageError

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_NOBODYS = 0xFFFFFFFF
_becomings: list[Account] = []  # what root's command became for good
_release: list[int] = []  # of the kernel, once somebody has asked


class Account(namedtuple("Account", ("name", "uid", "gid", "groups"), defaults=((),))):
    """A user to act as. The name is for messages alone.

    :param name: the name of the user
    :param uid: the number of the user
    :param gid: the number of the primary group
    :param groups: the numbers of the supplementary groups, without `gid`
    """

    __slots__ = ()
    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def words(self) -> str:
        """The name in a sentence: "nobody can write to it" would be the opposite of what is meant."""
        return "user nobody" if self.name == "nobody" else self.name


def user_name(uid: int) -> str:
    """The name of a user; the number in digits where it has no name, as in many containers.

    :param uid: the number of the user
    """
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """The name of a group; the number in digits where it has no name.

    :param gid: the number of the group
    """
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def current() -> Account:
    """The account that this process runs as."""
    uid, gid = os.geteuid(), os.getegid()
    return Account(user_name(uid), uid, gid, tuple(g for g in os.getgroups() if g != gid))


def lookup(user: str, source: str = "--user") -> Account:
    """The account of a user, with the groups that a login would give it.

    :param user: the name of the user, or the number in digits
    :param source: the option or file that names the user, for the error
    :raises UsageError: this host has no such user
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        try:
            entry = pwd.getpwuid(int(user))
        except (KeyError, ValueError, OverflowError):
            cause = "there is no such user on this host"
            raise UsageError(f"{source} {user}", cause, "name one of /etc/passwd with --user") from None
    groups = tuple(g for g in os.getgrouplist(entry.pw_name, entry.pw_gid) if g != entry.pw_gid)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups)


def account_of(user: str, source: str = "--user") -> Account:
    """The account of a user, as `lookup` has it; but a number needs no entry in /etc/passwd.

    The group of such a number is 0, as a container gives it (OCI runtimes, `docker run --user`, and OpenShift, whose
    numbers are arbitrary).

    :param user: the name of the user, or the number in digits
    :param source: the option or file that names the user, for the error
    :raises UsageError: this host has no user of that name
    """
    try:
        return lookup(user, source)
    except UsageError:
        number = _number(user)
        if number is None:
            raise
        return Account(str(number), number, 0)


def group(name: str, source: str = "--group") -> int:
    """The number of a group. A number needs no entry in /etc/group.

    :param name: the name of the group, or the number in digits
    :param source: the option or file that names the group, for the error
    :raises UsageError: this host has no group of that name
    """
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        number = _number(name)
        if number is None:
            cause = "there is no such group on this host"
            raise UsageError(f"{source} {name}", cause, "name one of /etc/group with --group") from None
        return number


def _number(text: str) -> int | None:
    """The number of a user or a group from decimal digits; None for any other text, and for (uid_t)-1, which is
    nobody's."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else _NOBODYS
    return number if number < _NOBODYS else None


def acting(account: Account) -> AbstractContextManager[None]:
    """Act with the rights of an account, as root. Any other caller keeps its own rights.

    Only the effective ids change. The real ids stay root's, so that the account can neither trace nor signal this
    process.

    :param account: whose rights the body has
    :raises NotPermitted: this root may not act as others
    """
    from contextlib import contextmanager

    return contextmanager(_acting)(account)


def become(account: Account) -> None:
    """Become an account for good, as root, in a process that does what that account alone should do.

    :param account: whose rights this process has from now on
    :raises OSError: this root may not act as others
    """
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    _becomings.append(account)


def rights_remedy(owner: str, otherwise: str, command: str = "") -> Remedy:
    """What to do where this process lacks the rights: run the command as root, or as the owner. That is nothing to tell
    root, whose command has become another account, and would become it again.

    :param owner: in words, who has the rights
    :param otherwise: what helps where root runs the command
    :param command: the shell command that does it
    """
    if _becomings:
        return Remedy(f"root works there as {_becomings[0].name}: {otherwise}", command)
    return Remedy(f"run it as root, or as {owner}" if os.geteuid() else "see to that and run again")


def _acting(account: Account) -> Iterator[None]:
    if os.geteuid() != 0 or account.uid == 0:
        yield
        return
    groups_and_gid, refusal = (os.getgroups(), os.getegid()), None
    try:  # around all of it: a signal may come after any of these calls
        try:
            os.setgroups(account.groups)
            os.setegid(account.gid)
            os.seteuid(account.uid)
        except OSError as error:
            refusal = powerless(f"user {account.name}", "act as it", error)
            raise refusal from None
        yield
    finally:
        os.seteuid(0)
        os.setegid(groups_and_gid[1])
        try:
            os.setgroups(groups_and_gid[0])
        except OSError:
            if not refusal:  # else nothing has changed
                raise


def powerless(thing: str, action: str, error: OSError) -> NotPermitted:
    """The error where root may not do `action` for a user or a group: see user_namespaces(7) and capabilities(7)."""
    cause = (
        f"root cannot {action} here ({error.strerror}): it lacks the capability, or its user namespace has no such id"
    )
    return NotPermitted(thing, cause, "run it as root of the host, or in a container with a range of ids, subuid(5)")


def _kernel() -> tuple[int, ...]:
    """The first two numbers of the running kernel's release."""
    if not _release:
        import re  # not to be loaded by a run with nothing to do

        _release.extend(map(int, re.findall("[0-9]+", os.uname().release)[:2]))
    return tuple(_release)


def may(path: str, mode: int) -> bool:
    """Whether the effective ids of this process have certain rights on a file: see access(2).

    A kernel before 5.8 has no call for that (faccessat2), and for a process that has changed its ids glibc then asks
    for the real ones: root's. There the real ids change too for the moment of the question, in which the account can
    signal this process, and cannot trace it.

    :param path: the file or directory
    :param mode: os.R_OK, os.W_OK and os.X_OK, combined
    """
    uid, gid = os.getresuid()[0], os.getresgid()[0]
    if uid == os.geteuid() or _kernel() >= (5, 8):
        return os.access(path, mode, effective_ids=True)
    try:
        os.setresgid(os.getegid(), -1, -1)
        os.setresuid(os.geteuid(), -1, -1)
        return os.access(path, mode)
    finally:
        os.setresuid(uid, -1, -1)
        os.setresgid(gid, -1, -1)


def obstacle(path: str, account: Account) -> str:
    """The first directory on the way to a file that an account cannot search; the file itself where there is none.

    :param path: the file or directory
    :param account: who is on the way
    """
    with acting(account):
        place = "/"
        for part in os.path.abspath(path).split("/")[1:]:
            if not may(place, os.X_OK):
                break
            place = os.path.join(place, part)
    return place


def in_the_way(path: str, account: Account) -> NotPermitted:
    """The error for a file that an account cannot reach: it names the first directory, or file, in the way.

    :param path: the file or directory
    :param account: who cannot reach it
    """
    place = obstacle(path, account)
    try:
        info = os.stat(place)
    except OSError as error:
        return NotPermitted(path, f"{account.words} cannot reach it: {place}: {error.strerror}", "")
    owner = user_name(info.st_uid)
    cause = f"{account.words} cannot use it: {place} is {owner}'s, mode {stat.S_IMODE(info.st_mode):04o}"
    return NotPermitted(path, cause, f"make it readable for {account.words}, or move what is needed to a place that is")


def need_proc() -> None:
    """Raise EggcacheError where /proc, by which open files are named, is not mounted, as in a bare chroot."""
    if not os.path.exists("/proc/self/fd"):
        cause = "it is not mounted here, and files are opened by way of it"
        raise EggcacheError("/proc", cause, Remedy("mount it, and run it again", "mount -t proc proc /proc"))


def _open(path: str) -> int:
    """Open `path`, then open its real name: /proc/self/cwd and /proc/self/fd lead into directories that this process
    can search, and the account perhaps cannot."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        real_descriptor = os.open(os.readlink(f"/proc/self/fd/{descriptor}"), flags)
        try:
            if not os.path.samestat(os.fstat(descriptor), os.fstat(real_descriptor)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        finally:
            os.close(real_descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def reading(path: str, account: Account) -> AbstractContextManager[int]:
    """A descriptor of a file that is opened with the rights of an account, and closed at the end.

    The caller judges what kind of file it is: opening a FIFO does not hang.

    :param path: the file
    :param account: whose rights open it
    :raises NotPermitted: the account cannot reach the file; the error names the directory or file in the way
    :raises EggcacheError: the file cannot be opened for another reason
    """
    from contextlib import contextmanager

    return contextmanager(_reading)(path, account)


def _reading(path: str, account: Account) -> Iterator[int]:
    try:
        with acting(account):
            descriptor = _open(path)
    except PermissionError:
        raise in_the_way(path, account) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise EggcacheError(path, f"cannot be opened: {error}", "see whether it is still installed") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
