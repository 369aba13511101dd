# Runs INSIDE the target, after preamble.py and installed.py: has its own ConfigObj read a TurboGears configuration, as the
# turbogears.config of 1.0.10 and 1.1.3 does. Python 2.4 to 3.14 syntax.


class File:
    """What ConfigObj takes for an open file: it splits and decodes that itself, as it does one that it opens."""

    def __init__(self, data):
        self.data = data

    def read(self):
        return self.data


def own_configobj():
    """The class; None where this Python has none. After easy_install -m it is not active until it is required."""
    sys.path[:] = REQUEST["paths"] + [entry for entry in sys.path if entry not in ("", "/")]
    try:
        from configobj import ConfigObj
    except Exception:
        try:
            __import__("pkg_resources").require("configobj")
            from configobj import ConfigObj
        except Exception:
            return None
    return ConfigObj


def plain(value):
    """A value as JSON has it; what JSON has not, above all a number too large for it, as this Python shows it."""
    if isinstance(value, dict):
        return dict([(name_of(key), plain(value[key])) for key in value])
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or is_text(value) or isinstance(value, bool) or isinstance(value, int) and abs(value) < 1 << 60:
        return value
    return repr(value)


def name_of(key):
    if is_text(key) and not isinstance(key, str):
        return key.encode("utf-8")  # a Python 2 unicode
    return str(key)


def refused():
    """What ConfigObj says of the file, in one line; without the text of that line, which it quotes from 5.0 on, and which
    may hold a password."""
    error = sys.exc_info()[1]
    try:
        text = str(error).replace(repr(getattr(error, "line", "")), "...")
    except Exception:  # a Python 2 exception may hold unicode that str() cannot print
        text = ""
    return " ".join(text.split()) or error.__class__.__name__


def main():
    ConfigObj, data = own_configobj(), REQUEST["data"]
    if ConfigObj is None:
        answer({})
        return
    if sys.version_info[0] > 2:
        data = data.encode(sys.getfilesystemencoding(), "surrogateescape")
    try:
        config = ConfigObj(File(data), unrepr=True)
        config.merge({"DEFAULT": REQUEST["defaults"]})
        result = {"config": plain(config.dict())}
    except Exception:
        result = {"refused": refused()}
    answer(result)


main()
