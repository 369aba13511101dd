# Runs INSIDE a target, in front of every other script of this directory but those that say where answers go, pipe.py
# and terminal.py: Python 2.4 to 3.14 syntax, ASCII only.
#
# eggcache/target/launch.py prepends `REQUEST = ...`, a literal whose strings hold one character per *byte* of what was
# meant. That is the one spelling of a path that both a Python 2 str and a Python 3 str can be made from. Answers
# go the same way back: JSON, a \u00XX for each byte that is not plain ASCII, since neither Python 2.4 nor 2.5 has a
# json module and a file name need not be valid in any encoding.
import os
import re
import sys
import warnings

warnings.filterwarnings("ignore")  # pkg_resources warns of itself, and of every legacy version


def from_bytes(value):
    """A value of the request, in the strings of this Python."""
    if isinstance(value, dict):
        return dict([(from_bytes(key), from_bytes(item)) for key, item in value.items()])
    if isinstance(value, list):
        return [from_bytes(item) for item in value]
    if isinstance(value, str) and sys.version_info[0] > 2:
        return value.encode("latin-1").decode(sys.getfilesystemencoding(), "surrogateescape")
    return value


def to_json(value):
    """The JSON of None, booleans, numbers, strings, lists, tuples and dicts of them."""
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, dict):
        return "{%s}" % ",".join(["%s:%s" % (key_to_json(key), to_json(value[key])) for key in value])
    if isinstance(value, (list, tuple)):
        return "[%s]" % ",".join([to_json(item) for item in value])
    if isinstance(value, (int, float)) or type(value).__name__ == "long":
        return repr(value).rstrip("L")
    return text_to_json(value)


def json_pieces(value):
    """What to_json() makes of a dict, or else of a list, bit by bit: that of ten thousand eggs is not held as a whole."""
    if isinstance(value, dict):
        start = "{"
        for key in value:
            yield "%s%s:" % (start, key_to_json(key))
            for piece in json_pieces(value[key]):
                yield piece
            start = ","
        yield {"{": "{}"}.get(start, "}")
    elif isinstance(value, list) and value:
        start = "["
        for item in value:
            yield start + to_json(item)
            start = ","
        yield "]"
    else:
        yield to_json(value)


NAME = re.compile(r"[a-z_]+\Z").match


def key_to_json(key):
    """The same of a key, which is one of our own names in every row of ten thousand."""
    key = str(key)
    if NAME(key):
        return '"%s"' % key
    return to_json(key)


PLAIN = re.compile(r"[ !#-\[\]-~]*$").match  # to JSON, too; "$" lets a newline pass at the end


def text_to_json(value):
    if isinstance(value, str) and PLAIN(value) and value[-1:] != "\n":
        return '"%s"' % value
    if sys.version_info[0] > 2:
        try:
            raw = value.encode(sys.getfilesystemencoding(), "surrogateescape")
        except UnicodeError:  # not a name of the file system: somebody's words
            raw = value.encode("utf-8", "backslashreplace")
        value = raw.decode("latin-1")
    elif not isinstance(value, str):
        value = value.encode("utf-8")  # a Python 2 unicode
    parts = ['"']
    for char in value:
        if " " <= char <= "~" and char not in '"\\':
            parts.append(char)
        else:
            parts.append("\\u%04x" % ord(char))
    parts.append('"')
    return "".join(parts)


def leave():
    """End at once: whatever is left to be torn down is nobody's any more, and takes time."""
    try:
        sys.stdout.flush()
    except Exception:  # closed, or a disk is full: it is only ever shown
        pass
    os._exit(0)


REQUEST = from_bytes(REQUEST)
