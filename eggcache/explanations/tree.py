"""Findings about the tree: what is missing, conflicts, or is passed over by pkg_resources."""

from __future__ import annotations

from eggcache.explanations.explanation import Explanation

TREE = (
    Explanation(
        "root-not-installed",
        "A requirement that you named is not installed for this Python.",
        "There is no tree to work on.",
        "Name Apache's interpreter with --python, the directories that its PythonPath adds with --path, or nothing: "
        "then it is everything on the path.",
    ),
    Explanation(
        "missing-distribution",
        "A distribution of the tree (of that of TurboGears, where you named none) requires one that is not installed, "
        "or that the runtime user cannot read. With --all, any on the path, as a notice.",
        "pkg_resources.require() raises DistributionNotFound, and often the application does not start.",
        "Install it for the same Python. The message has the chain of requirements that leads to it, and what on the "
        "disk tells why: a line of a .pth file or an egg-link that leads nowhere, an egg for another Python.",
    ),
    Explanation(
        "conflicting-distribution",
        "The installed version of a distribution is not one that another distribution asks for.",
        "pkg_resources.require() raises VersionConflict; where that version is found and not active, "
        "DistributionNotFound.",
        "Install a version that suits everything that needs it; or, where the message names one, put it in front.",
    ),
    Explanation(
        "pth-ignored",
        "A .pth file that the user cannot read, a line in one that names what the user cannot reach, or a line below "
        "an import that fails. A notice.",
        "What it names is not on the path: it is missing, or found and not active, so that it does not import.",
        "Make it readable; or take out the line that fails, which Python names whenever it starts.",
    ),
    Explanation(
        "egg-other-python",
        "An egg on the path is for another Python or another platform, as its name says, and there is no other of that "
        "project. A notice.",
        "pkg_resources passes it over in silence.",
        "Install it for the Python that the server runs, or name that Python with --python.",
    ),
    Explanation(
        "unparsed-requirement",
        "The target's pkg_resources cannot parse a requirement that an old egg has, or the version that is there. A "
        "notice: it was followed by name.",
        "pkg_resources.require() raises InvalidRequirement for that egg, from setuptools 67 on; for the version "
        "InvalidVersion, from 66 to 80.",
        "Use an older setuptools if the application calls require().",
    ),
    Explanation(
        "other-version",
        "A directory that --path names has another version of a distribution of the tree, too. A notice.",
        "A script that zc.buildout generated has a list of its own, and may load that version, which nobody looked at.",
        "Name the script with --path-from, in place of --path.",
    ),
)
