"""Findings about modules that were imported from the eggs, and from the cache."""

from __future__ import annotations

from eggcache.explanations.explanation import Explanation

IMPORTS = (
    Explanation(
        "native-module-fails",
        "A native module of an egg does not import from the cache.",
        "The application does without it, or does not start.",
        "The message is the dynamic loader's: an egg for another machine or Python, or a library that it needs and "
        "that is not installed.",
    ),
    Explanation(
        "native-module-empty",
        "A native module of an egg imports from the cache, and is empty.",
        "An AttributeError or ImportError for the names that the module should have.",
        "Unzip the egg.",
    ),
    Explanation(
        "import-fails",
        "A module that --import named does not import; or a top-level module of a root does not, through the fault of "
        "an egg, of the cache or of a requirement. Each import has a process of its own, in the locale of the server.",
        "Most likely the application does not start.",
        "Where a path leads through a zipped egg, unzip the egg. Where a missing library is installed and not active, "
        "have a .pth file name it, as the message says. Else -v names the file and the line that failed: import the "
        "module by hand as that user, with the same PYTHON_EGG_CACHE.",
    ),
    Explanation(
        "root-import-fails",
        "A top-level module of a root (as its top_level.txt or its RECORD names them) does not import, for a reason "
        "that has nothing to do with eggs. A notice: it may be for another server, or need what only the server has.",
        "Nothing, where the server does not import it; else the application does not start.",
        "Import the module by hand, as that user. --no-import leaves these imports out.",
    ),
    Explanation(
        "import-writes",
        "A module that --import named writes a file when it is imported. check lets nothing be written, so that the "
        "import failed.",
        "Nothing, if the runtime user may write there.",
        "See that the runtime user may write there; then import the module by hand.",
    ),
)
