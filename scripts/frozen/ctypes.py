"""What eggcache uses of ctypes, for a program without a dynamic loader: some calls of the kernel (x86_64)."""

import _program

_errno = 0


class c_int:  # noqa: N801
    """A number that a call can write to."""

    def __init__(self, value=0):
        self.memory = bytearray(value.to_bytes(4, "little", signed=True))

    @property
    def value(self):
        return int.from_bytes(self.memory, "little", signed=True)


def byref(number):
    return number.memory


def c_uint(number):
    return number


def get_errno():
    return _errno


def _named(number):
    def call(*arguments):
        global _errno
        result = _program.syscall(number, *arguments)
        if result >= 0:
            return result
        _errno = -result
        return -1

    return staticmethod(call)


class CDLL:
    """The C library: there is no other."""

    prctl, syncfs, renameat2 = _named(157), _named(306), _named(316)

    def __init__(self, name, use_errno=False):  # noqa: ARG002 - it always is kept
        if name is not None:
            raise OSError(f"{name}: a static program loads no library")
