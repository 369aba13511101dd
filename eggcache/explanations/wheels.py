"""Findings about eggs as wheels: what has none, and what is in one in other words."""

from __future__ import annotations

from eggcache.explanations.explanation import Explanation

WHEELS = (
    Explanation(
        "wheel-no-egg",
        "A distribution of the tree is installed as something else than an egg, or a zip has no EGG-INFO. A notice.",
        "There is no wheel of it, and pip install --no-index does not find it unless it is installed already.",
        "Put a wheel of it beside the others, as the message says, or let pip use its index.",
    ),
    Explanation(
        "wheel-other-python",
        "The egg was built for a Python that is not the target, or it is native and the target is no CPython.",
        "There is no wheel of it: the target could not be shown to run it.",
        "Name the Python that the egg is for with --python.",
    ),
    Explanation(
        "wheel-other-platform",
        "The egg was built for another platform than the target's.",
        "There is no wheel of it: nobody can say for which ABI its native modules are.",
        "Run eggcache wheels where the egg is at home.",
    ),
    Explanation(
        "wheel-version",
        "The egg's version is none that an installer of today accepts (PEP 440), and none of them means the same.",
        "There is no wheel of it.",
        "Build the project anew with another version.",
    ),
    Explanation(
        "wheel-metadata",
        "The egg's metadata cannot be that of a wheel: a name without a letter, a file of megabytes, a directory that "
        "an installer would take for its own.",
        "There is no wheel of it.",
        "Build the project anew.",
    ),
    Explanation(
        "wheel-not-made",
        "An egg could not be read, or it changed meanwhile.",
        "There is no wheel of it, and one from an earlier run is left alone.",
        "See to what the message names, and run it again.",
    ),
    Explanation(
        "wheel-shared-name",
        "Two eggs of one project and version have different content.",
        "The wheel is made of the one that pkg_resources prefers, which eggcache tree --all shows first.",
        "Find out which one is meant, and remove the other.",
    ),
    Explanation(
        "wheel-shared-file",
        "Two eggs have a file of one name with different content, and their wheels are installed into one directory.",
        "Both wheels are made. The file of the wheel that pip installs last would take the place of the other, "
        "whichever of the two came first on the path; so the command to run next is not printed. Directories called "
        "tests, examples and the like do not count.",
        "Keep the two as eggs, or name requirements that need one of them alone.",
    ),
    Explanation(
        "wheel-namespace",
        "An egg that has no wheel, since no requirement leads to it, has the __init__.py of a namespace package of the "
        "wheels, which no wheel has. A notice.",
        "The wheels are made. The command to run next is not printed: where the egg stays beside the installed wheels, "
        "Python 3 finds only what the egg has of the package, and Python 2, until something imports pkg_resources, "
        "only what the wheels have.",
        "Run the command of the message, which makes wheels of all of them. In an environment that has no such egg the "
        "wheels install as they are.",
    ),
    Explanation(
        "wheel-renamed",
        "The egg's name or version is one that installers of today refuse, and the wheel's sorts alike; or its "
        "PKG-INFO names another than its file, by which pkg_resources knows it. A notice.",
        "pip shows the new one. Requirements in other eggs are written in the same words.",
        "Nothing; a requirements file of yours may have to use the new words.",
    ),
    Explanation(
        "wheel-requirement-rewritten",
        "A requirement that installers of today refuse is in the wheel in other words that mean the same. A notice.",
        "pip takes it.",
        "Nothing.",
    ),
    Explanation(
        "wheel-requirement-lost",
        "A requirement, or a part of one, means nothing to installers of today.",
        "The wheel installs, but pip does not see to what was left out.",
        "See to it that the right version is installed.",
    ),
)
