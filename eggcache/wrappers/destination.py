"""The file of a wrapper: a whole file of eggcache's, or a block in another file.

The last line of both has the digest of the lines above. By that digest a later run sees that somebody has changed the
lines. It then keeps the old file beside the new one, under another name: nobody's lines are ever lost.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shlex
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NamedTuple

from eggcache.errors import EggcacheError, NotPermitted, Remedy, of_disk
from eggcache.system import files, safe_dirs

_END = re.compile(rb"^[#;] end of what eggcache wrote ([0-9a-f]{32})(?:\n|\Z)", re.MULTILINE)
_BEGIN = re.compile(rb"^[#;] begin of what eggcache wrote[^\n]*\n", re.MULTILINE)
# The head of a text: all that 0.1.0 marked it with. It tells a block's kind: no template's is to be changed.
_HEAD = re.compile(rb"^[#;] .*Written by `eggcache wrapper`", re.MULTILINE)
# A whole file of eggcache's, where the last line is gone; the earliest drop-ins had but the name of their place
_WHOLE = re.compile(
    rb"^[#;] (?:.* )?Written by `eggcache wrapper\b|\A# /etc/systemd/system/.*/50-eggcache\.conf$", re.MULTILINE
)
_MOST_KEPT = 100  # files beside one that somebody changes again and again


@dataclass(frozen=True)
class Written:
    """The result for a file."""

    changed: bool  # False: it had this text already, and was not touched
    kept: str | None = None  # the file as it was, where somebody had changed what eggcache wrote
    undone: int | None = None  # the line below the block that takes its effect away


def sealed(text: str, comment: str = "#") -> str:
    """`text` with its last line, a comment in its syntax: the digest of all lines above.

    :param text: the lines of a wrapper
    :param comment: how a comment begins in its syntax
    """
    return f"{text}{comment} end of what eggcache wrote {_digest(os.fsencode(text))}\n"


def block(text: str, comment: str) -> str:
    """`text` as a block of another file: between two lines that are comments in its syntax."""
    return sealed(f"{comment} begin of what eggcache wrote; your own lines go above or below\n{text}", comment)


def ours(path: str) -> dict[int, str]:
    """The lines in a file that eggcache wrote, by their numbers; none where there is no such file.

    :param path: the file that a wrapper is going to be written to
    """
    data = files.beginning(path)
    begins, ends = list(_BEGIN.finditer(data)), list(_END.finditer(data))
    spans = [(begin.start(), end.end()) for begin, end in zip(begins, ends)]
    if not begins and ends:  # a whole file
        spans = [(0, ends[-1].end())]
    lines = dict[int, str]()
    for start, stop in spans:
        lines.update(enumerate(os.fsdecode(data[start:stop]).splitlines(), data.count(b"\n", 0, start) + 1))
    return lines


def write(path: str, text: str, *, mode: int = 0o755) -> Written:
    """Write `text`, which is `sealed` or will not be changed, to `path` with this mode: the whole file, or no change.

    A file that was changed since eggcache wrote it is kept beside, as NAME.bak.

    :param path: the file
    :param text: the whole new content
    :param mode: the permissions of the file
    :raises NotPermitted: the directory cannot be written, or others could exchange the file there that root is about to
        run; or `path` is a link
    :raises EggcacheError: `path` is no regular file, or is not eggcache's, or the disk refuses
    """
    new = os.fsencode(text)

    def renewed(old: bytes) -> tuple[bytes, bool]:
        ends = list(_END.finditer(old))
        if old and (_BEGIN.search(old) or not (ends or _WHOLE.search(old))):  # of a block the rest is somebody's
            raise EggcacheError(path, "it holds something else than eggcache wrote", "remove it, or name another file")
        ours = len(ends) > 0 and ends[-1].end() == len(old) and _untouched(old, 0, ends[-1])
        return new, bool(old) and old != new and not ours

    return _exchange(path, renewed, mode)


def insert(path: str, text: str, *, position: Callable[[str, str], int], undone: str = "") -> Written:
    """Put `text`, a `block`, into the file at `path`: in place of the block of its kind, else at `position`.

    Blocks of other kinds, the rest of the file, its mode, its owner and its extended attributes stay as they are. If
    the block was changed, the old file is kept beside, as NAME.bak.

    :param path: a file that may be somebody's
    :param text: the block, with its markers
    :param position: called with the path and the content; it returns the offset of a line, and may raise where none
        fits
    :param undone: a pattern of lines that would undo the block if they stood below it; "" where there are none
    :raises EggcacheError: the file has more than one block of the kind, half of one, or a text that 0.1.0 wrote, whose
        end is not marked
    :raises NotPermitted: as for `write`
    """
    new, line = os.fsencode(text), None

    def renewed(old: bytes) -> tuple[bytes, bool]:
        nonlocal line
        blocks = _blocks(path, old)
        same = [block for block in blocks if _head(old[block.start : block.end]) in (b"", _head(new))]
        if len(same) > 1:
            cause = f"it has {len(same)} blocks of this kind that eggcache wrote"
            raise EggcacheError(path, cause, "take out all of these, and run this again")
        for head in _HEAD.finditer(old):
            if not any(block.start <= head.start() < block.end for block in blocks):
                number = old.count(b"\n", 0, head.start()) + 1
                cause = f"it has a text of an earlier eggcache (line {number}), and nothing says where that ends"
                raise EggcacheError(path, cause, "take that text out, and run this again")
        if same:
            start, end, seal = same[0]
            changed = old[start:end] != new and not _untouched(old, start, seal)
            match = re.compile(os.fsencode(undone), re.MULTILINE).search(old, end) if undone else None
            line = (old[:start] + new + old[end : match.start()]).count(b"\n") + 1 if match else None
            return old[:start] + new + old[end:], changed
        at = len(os.fsencode(os.fsdecode(old)[: position(path, os.fsdecode(old))]))
        before, after = old[:at], old[at:]
        # An empty line: the one above may end with a backslash, which joins the next to it
        gap = b"" if not before else b"\n" if before.endswith(b"\n") else b"\n\n"
        return before + (gap if not after else b"") + new + after, False

    return replace(_exchange(path, renewed, 0o644, theirs=True), undone=line)


class _Block(NamedTuple):
    start: int
    end: int
    seal: re.Match[bytes]  # the last line


def _blocks(path: str, content: bytes) -> list[_Block]:
    """The blocks of a file, in their order. Raises EggcacheError where one of them is not whole."""
    begins, ends = list(_BEGIN.finditer(content)), list(_END.finditer(content))
    marks = sorted([*begins, *ends], key=lambda mark: mark.start())
    if len(begins) != len(ends) or marks[::2] != begins:
        cause = f"it has {len(begins)} lines that begin what eggcache wrote, and {len(ends)} that end it"
        raise EggcacheError(path, cause, "take out all of these and what is between them, and run this again")
    return [_Block(begin.start(), end.end(), end) for begin, end in zip(begins, ends)]


def _head(text: bytes) -> bytes:
    """The head of a block; b"" where somebody has taken it out."""
    head = _HEAD.search(text)
    return head[0] if head else b""


def _exchange(path: str, renewed: Callable[[bytes], tuple[bytes, bool]], mode: int, theirs: bool = False) -> Written:
    """Replace the content of `path` by what `renewed` makes of it, and keep the old file where `renewed` says so.

    With `theirs` the new file has the owner, mode and attributes of the old one.
    """
    path = os.path.abspath(path)
    parent, base = os.path.split(path)
    try:
        with files.closing(_place(parent)) as directory:  # root is about to run what is written there
            status = _replaceable(directory, path, base, theirs)
            old = b""
            if status is not None:
                with open(os.open(base, safe_dirs.READ, dir_fd=directory), "rb") as stream:
                    old = stream.read()
            new, keep = renewed(old)
            if status is not None and old == new and (theirs or stat.S_IMODE(status.st_mode) == mode):
                return Written(False)
            # Not under `path` itself: a half-written script there would be run at boot. Not mkstemp's: it follows no
            # dir_fd.
            temporary = f".eggcache-{secrets.token_hex(8)}"
            file = os.open(temporary, safe_dirs.CREATE, 0o600, dir_fd=directory)
            try:
                with open(file, "wb") as stream:
                    stream.write(new)
                    stream.flush()
                    if theirs and status is not None:
                        _take_over(directory, base, status, file)
                    else:
                        os.fchmod(file, mode)  # whatever the umask
                    os.fsync(file)
                if status is not None and not _same(status, os.stat(base, dir_fd=directory, follow_symlinks=False)):
                    raise EggcacheError(path, "somebody changed it meanwhile", "run this again")
                backup = _keep(directory, base, path) if keep else None
                os.rename(temporary, base, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.unlink(temporary, dir_fd=directory)
                raise
            os.fsync(directory)
    except FileNotFoundError as error:
        cause = f"{parent} does not exist"
        raise EggcacheError(path, cause, Remedy("make it", f"mkdir -p {shlex.quote(parent)}")) from error
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise of_disk(path, "cannot be written", error) from error
        remedy = "run it as root, or name another file" if os.geteuid() else "name another file"
        raise NotPermitted(path, f"cannot be written: {error.strerror}", remedy) from error
    return Written(True, backup)


def _place(parent: str) -> int:
    """The verified directory. A directory such as apache2.service.d, which packages leave for others to make, is
    made."""
    if parent.endswith(".d") and not os.path.lexists(parent):
        with files.closing(safe_dirs.open_place(os.path.dirname(parent))) as above, suppress(FileExistsError):
            os.mkdir(os.path.basename(parent), dir_fd=above)
            os.chmod(os.path.basename(parent), 0o755, dir_fd=above)  # noqa: S103 - whatever the umask
    return safe_dirs.open_place(parent)


def _replaceable(directory: int, path: str, base: str, theirs: bool) -> os.stat_result | None:
    """The status of `base` in this directory; None where it is missing. Raises where another user could have put it
    there, or it is no regular file."""
    parent = os.fstat(directory)
    if parent.st_mode & stat.S_IWOTH and not parent.st_mode & stat.S_ISVTX:
        cause = "everybody can exchange files in its directory"
        raise NotPermitted(path, cause, "write it to /etc/init.d or /usr/local/sbin")
    try:
        status = os.stat(base, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        real = os.path.realpath(path)
        leads = os.path.isfile(real)
        remedy = f"name the file that it leads to: -o {shlex.quote(real)}" if leads else "remove it"
        raise NotPermitted(path, "a symbolic link", remedy)
    if not stat.S_ISREG(status.st_mode):
        raise EggcacheError(path, "not a regular file", "name a file, or leave out -o to print it")
    if theirs and parent.st_mode & stat.S_IWOTH and status.st_uid not in (0, os.geteuid()):
        who = safe_dirs.owner_name(status.st_uid)
        raise NotPermitted(path, f"it belongs to {who}, in a directory of everybody's", "name another file")
    return status


def _take_over(directory: int, base: str, status: os.stat_result, file: int) -> None:
    """Give the new file the owner, the mode and the extended attributes (ACLs, labels) of the old file."""
    if (status.st_uid, status.st_gid) != (os.fstat(file).st_uid, os.fstat(file).st_gid):
        os.fchown(file, status.st_uid, status.st_gid)
    os.fchmod(file, stat.S_IMODE(status.st_mode))
    with (
        files.closing(os.open(base, safe_dirs.READ, dir_fd=directory)) as old,
        suppress(OSError),  # a file system that has none
    ):
        for name in os.listxattr(old):
            with suppress(OSError):  # one that is the kernel's to set
                os.setxattr(file, name, os.getxattr(old, name))


def _keep(directory: int, base: str, path: str) -> str:
    """Give the file a second name that is free: that keeps all that belongs to it."""
    for number in range(1, _MOST_KEPT):
        more = ".bak" if number == 1 else f".bak{number}"
        try:
            os.link(base, base + more, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        except FileExistsError:
            continue
        return path + more
    raise EggcacheError(path, f"somebody changed it, and {path}.bak is there already", "move that one away")


def _same(status: os.stat_result, later: os.stat_result) -> bool:
    return (status.st_ino, status.st_size, status.st_mtime_ns) == (later.st_ino, later.st_size, later.st_mtime_ns)


def _untouched(content: bytes, start: int, end: re.Match[bytes]) -> bool:
    return end[1].decode() == _digest(content[start : end.start()])


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
