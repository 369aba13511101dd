# Runs INSIDE the target, between walk.py and imports.py: nothing is written, even where the user of this process could.
# Python 2.4 to 3.14 syntax: no `with`, no `except X as e`, no conditional expression, no bytes literal.
#
# Every call that creates or changes a file is replaced, wherever a module has it already, by one that writes down what
# was wanted and fails as on a read-only disk. It is known by what it is, not by its name: pkg_resources 0.6c11 has a
# `replace` of its own, which reads versions.
import errno
import tempfile

CHANGING = ("mkdir", "makedirs", "mkfifo", "mknod", "rename", "renames", "replace", "unlink", "remove", "rmdir",
            "removedirs", "chmod", "lchmod", "chown", "lchown", "utime", "link", "symlink", "truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ATTEMPTS = []
DENIED = {}  # by the identity of a function: it, and what stands in for it


def refuse(call, place):
    if not is_text(place):
        place = repr(place)
    ATTEMPTS.append((call, place))
    raise OSError(errno.EROFS, "eggcache check lets nothing be written", place)


def denied(call):
    def denial(*args, **kwargs):
        refuse(call, (args + ("",))[0])
    return denial


def denied_temporary(call):
    def denial(*args, **kwargs):
        place = kwargs.get("dir") or (args + (None, None, None))[2]
        refuse(call, place or tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp")
    return denial


def only_reading(call, original):
    def guard(*args, **kwargs):
        mode = kwargs.get("mode", kwargs.get("flags", (args + ("r", "r"))[1]))
        if isinstance(mode, int):
            writes = mode & WRITING
        else:
            writes = [char for char in "wax+" if char in str(mode)]
        place = (args + (kwargs.get("file", kwargs.get("path")),))[0]
        if hasattr(place, "__fspath__"):
            place = place.__fspath__()
        # a descriptor was opened before, and a device, /dev/null above all, is no file that could be left behind
        if writes and not isinstance(place, int) and not ("%s" % (place,)).lstrip("b'").startswith("/dev/"):
            refuse(call, place)
        return original(*args, **kwargs)
    return guard


def deny_everything():
    for name in CHANGING:
        if hasattr(os, name):
            deny(getattr(os, name), denied(name))
    for name in ("mkstemp", "mkdtemp"):
        deny(getattr(tempfile, name), denied_temporary(name))
    for module in ("os", "builtins", "__builtin__", "io"):
        if module in sys.modules:
            deny(sys.modules[module].open, only_reading("open", sys.modules[module].open))
    for module in list(sys.modules.values()):
        deny_in(module, 1)


def deny(original, instead):
    DENIED[id(original)] = original, instead


def deny_in(owner, depth):
    """Let `owner`, a module, and its classes, have what stands in for each function that is denied. A .pth file may have
    imported it before this script could deny anything."""
    for name, value in list((attempt(vars, owner) or {}).items()):
        original, instead = DENIED.get(id(value), (None, None))
        if original is not None and original is value:
            if not depth:
                instead = staticmethod(instead)  # a class binds it, as it did not bind what the C library has
            attempt(setattr, owner, name, instead)
        elif depth and (isinstance(value, type) or type(value).__name__ == "classobj"):
            deny_in(value, 0)


def attempt_or_words(before):
    """The first thing that the failed function wanted to write, and what it says."""
    text = words()
    if len(ATTEMPTS) > before:
        return list(ATTEMPTS[before]) + [text]
    return ["", "", text]
