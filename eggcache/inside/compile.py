# Runs INSIDE the target, after answer.py: byte-compiles sources that are about to be moved to their final place.
# Python 2.4 to 3.14 syntax. Only the target's own compiler writes what the target will take for current.
import errno
import py_compile

# What is in the way of a .pyc comes from the egg, and stays in the way: nobody will write that .pyc later either.
# Without a number: py_compile itself says that there is something else than a file.
IN_THE_WAY = (None, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)


def enter(directory, identity):
    # By descriptor: whoever may rename the stage can put another directory there, but cannot enter the stage itself.
    descriptor = os.open(directory, os.O_RDONLY)
    status = os.fstat(descriptor)
    if [status.st_dev, status.st_ino] != identity:
        return "somebody put another directory in the place of %s" % directory
    os.fchdir(descriptor)
    return ""


def compile_all(eggs):
    parent = os.getppid()
    for name, final, sources in eggs:
        for source in sources:
            if os.getppid() != parent:
                return "the run that asked has ended"  # it was killed: the next one removes this stage
            try:
                py_compile.compile(os.path.join(name, source), dfile=os.path.join(final, source), doraise=True)
            except EnvironmentError:
                error = sys.exc_info()[1]
                if error.errno not in IN_THE_WAY:
                    return "%s: %s" % (os.path.join(final, source), error.strerror)
            except Exception:
                pass  # a template, or written for another Python: it cannot be imported, and so is never compiled
    return ""


answer({"trouble": enter(REQUEST["stage"], REQUEST["identity"]) or compile_all(REQUEST["eggs"])})
