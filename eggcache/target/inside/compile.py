# Runs INSIDE the target, after preamble.py: byte-compiles sources that are about to be moved to their final place.
# Python 2.4 to 3.14 syntax. Only the target's own compiler writes what the target will take for current.
import errno
import py_compile
import select
import signal

# What is in the way of a .pyc comes from the egg, and stays in the way: nobody will write that .pyc later either.
# Without a number: py_compile itself says that there is something else than a file.
IN_THE_WAY = (None, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)

ENDED, NOTHING = "the run that asked has ended", to_json("")
OVERHEAD = 2000  # bytes of source that take as long as what is done for every file, whatever its size


def enter(directory, identity):
    # By descriptor: whoever may rename the stage can put another directory there, but cannot enter the stage itself.
    descriptor = os.open(directory, os.O_RDONLY)
    status = os.fstat(descriptor)
    if [status.st_dev, status.st_ino] != identity:
        return "somebody put another directory in the place of %s" % directory
    os.fchdir(descriptor)
    return ""


def shares(eggs, count):
    """The sources of all eggs as (file, its final path), in `count` lists that take about the same time each."""
    files = []
    for name, final, sources in eggs:
        for source in sources:
            path = os.path.join(name, source)
            try:
                files.append((os.stat(path).st_size, path, os.path.join(final, source)))
            except OSError:
                files.append((0, path, os.path.join(final, source)))  # py_compile says what is wrong with it
    files.sort()
    loads = [[0, number, []] for number in range(count)]
    for size, path, final in files[::-1]:  # the largest first, each to whoever has least to do
        loads.sort()
        loads[0][0] += size + OVERHEAD
        loads[0][2].append((path, final))
    return [load[2] for load in loads if load[2]]


def compile_all(share, parent):
    for path, final in share:
        if os.getppid() != parent:
            return ENDED  # it was killed: the next one removes this stage
        try:
            py_compile.compile(path, dfile=final, doraise=True)
        except EnvironmentError:
            error = sys.exc_info()[1]
            if error.errno not in IN_THE_WAY:
                return "%s: %s" % (final, error.strerror)
        except Exception:
            pass  # a template, or written for another Python: it cannot be imported, and so is never compiled
    return ""


def compile_in_children(parts):
    """Each share in a process of its own: what was in the way of the first to fail.

    They are in the group of this process, which whoever asked ends as a whole; and where this one is ended without
    that, each of them ends after its file.
    """
    parent, pid = os.getppid(), os.getpid()
    children, outputs, remainder = [], {}, []
    for share in parts:
        reading, writing = os.pipe()
        try:
            child = os.fork()
        except OSError:  # no more processes for this user: then here
            remainder.extend(share)
            os.close(reading)
            os.close(writing)
            continue
        if not child:
            try:
                data = (to_json(compile_all(share, pid)) + "\n").encode("ascii")
                while data:
                    data = data[os.write(writing, data):]
            finally:
                os._exit(0)
        os.close(writing)
        children.append(child)
        outputs[reading] = ""
    row = to_json(compile_all(remainder, parent))
    while outputs and row == NOTHING:
        if os.getppid() != parent:
            row = to_json(ENDED)
        for reading in select.select(list(outputs), [], [], 0.1)[0]:
            text = os.read(reading, 65536).decode("ascii")
            outputs[reading] += str(text)
            if not text:
                row = outputs.pop(reading)
                if not row.endswith("\n"):
                    row = to_json("one of its processes ended before it was done")
                row = row.strip()
                break
    for child in children:
        os.kill(child, signal.SIGKILL)  # it is there until it is waited for, at work or not
        os.waitpid(child, 0)
    return row


def run(eggs, count):
    parts = shares(eggs, count)
    if len(parts) > 1:
        return compile_in_children(parts)
    return to_json(compile_all((parts + [[]])[0], os.getppid()))


wrong = enter(REQUEST["stage"], REQUEST["identity"])
if wrong:
    answer({"trouble": wrong})
else:
    send('{"trouble":%s}\n' % run(REQUEST["eggs"], REQUEST["processes"]))
