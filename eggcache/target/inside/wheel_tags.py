# Runs INSIDE the target, after walk.py and before probe.py, whose answer it completes: which wheels with native modules
# this Python takes, and what becomes of them there. Python 2.4 to 3.14 syntax.
#
# The words are those of PEP 425: in cp27mu, m stands for pymalloc and u for wide Unicode.
import struct

tell = answer


def configuration(name):
    try:
        import sysconfig
    except ImportError:
        from distutils import sysconfig  # before 2.7
    return attempt(sysconfig.get_config_var, name)


def platform_name():
    try:
        from sysconfig import get_platform
    except ImportError:
        from distutils.util import get_platform
    return attempt(get_platform) or ""


def abi():
    """The tag of the ABI of CPython's native modules; "" for another implementation."""
    name = getattr(getattr(sys, "implementation", None), "name", "cpython")
    if name != "cpython" or hasattr(sys, "pypy_version_info") or sys.platform[:4] == "java" or sys.platform == "cli":
        return ""
    soabi = configuration("SOABI") or ""
    if soabi.startswith("cpython-"):  # 3.2 and later: cpython-311-x86_64-linux-gnu
        return "cp" + soabi.split("-")[1]
    tag = "cp%d%d" % sys.version_info[:2]
    if configuration("Py_DEBUG") or hasattr(sys, "gettotalrefcount"):
        tag += "d"
    if configuration("WITH_PYMALLOC") != 0:
        tag += "m"
    if sys.maxunicode > 65535:
        tag = "%su" % tag
    return tag


def virtual():
    """Whether it is a virtual environment, as pip has it: of virtualenv before 20, or of any other kind."""
    return hasattr(sys, "real_prefix") or getattr(sys, "base_prefix", sys.prefix) != sys.prefix


def finds_wheels():
    """Whether its pkg_resources knows .dist-info directories: that of setuptools 0.6c11 does not."""
    module = sys.modules.get("pkg_resources")
    return module is None or hasattr(module, "DistInfoDistribution")


def has_pip():
    """Whether `python -m pip` is there; pip is found, not imported. Before 2.7, -m ran no packages."""
    if sys.version_info < (2, 7):
        return False
    try:
        from importlib.util import find_spec
    except ImportError:  # Python 2
        from pkgutil import find_loader as find_spec
    return attempt(find_spec, "pip") is not None


def answer(result):
    """What probe.py answers, with the tags."""
    result["tags"] = {"platform": platform_name(), "abi": abi(), "bits": 8 * struct.calcsize("P"),
                      "virtual": virtual(), "finds_wheels": finds_wheels(), "pip": has_pip()}
    tell(result)


