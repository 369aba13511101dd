# Runs INSIDE a target, in front of preamble.py, where pipe.py is in front of what eggcache runs: a person runs it, as
# a file, and reads the answer. Python 2.4 to 3.14 syntax.
import os
import sys

# A script's own directory is in front of sys.path, which is no directory of the server's, and may be anybody's: before
# anything is imported that is not there yet
if sys.path and os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(sys.argv[0])):
    del sys.path[0]
sys.dont_write_bytecode = True
FOUND, USAGE, FAILED = 3, 2, 1  # exit statuses, those of eggcache
answer = None  # what is made of the tree: archive_verifier.py has one


def show(text):
    """Print one line, whatever is in the names of its files."""
    line = ""
    for char in text:
        if char < " " or char == chr(127):
            char = repr(char)[1:-1]
        line += char
    line += "\n"
    if sys.version_info[0] > 2:
        try:
            line = line.encode(sys.getfilesystemencoding(), "surrogateescape")
        except UnicodeError:  # a C locale has no letters but ASCII's
            line = line.encode("utf-8", "backslashreplace")
    elif not isinstance(line, str):
        line = line.encode("utf-8")
    try:
        while line:
            line = line[os.write(1, line):]
    except OSError:  # a full disk, or nobody reads it
        try:
            sys.stderr.write("%s: standard output: %s\n" % (sys.argv[0], sys.exc_info()[1]))
        finally:
            end(FAILED)


def end(status):
    """End at once, see leave()."""
    os._exit(status)


def unexpected(kind, error, trace):
    while trace.tb_next:
        trace = trace.tb_next
    show("%s: line %d: %s: %s; tell the makers of eggcache" % (sys.argv[0], trace.tb_lineno, kind.__name__, error))
    end(FAILED)


sys.excepthook = unexpected
