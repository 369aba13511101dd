"""Sphinx's configuration, for scripts/docs. What can be read off the source is, by generated.py."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import eggcache  # noqa: E402 - only after its directory is on the path

project = "eggcache"
author = "The eggcache developers"
version = release = eggcache.__version__
extensions = ["generated", "sphinx.ext.autodoc", "sphinx.ext.graphviz"]
autodoc_default_options = {
    "members": True, "undoc-members": True, "exclude-members": "__init__, __new__", "member-order": "bysource"
}  # fmt: skip
autodoc_class_signature = "separated"  # what __init__ takes are the fields
default_role = "code"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
nitpick_ignore_regex = [
    ("py:class", r"collections\.abc\..*"),  # Python's documentation is not at hand offline
    ("py:class", r"(?:eggcache\.target\.)?launch\.Launch"),  # of commands, as the next one
    ("py:class", r"(?:eggcache\.servers\.)?affected_processes\.Users"),
]
graphviz_output_format = "svg"
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Zipped Python eggs behind Apache", "fixed_sidebar": True, "page_width": "1020px"}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}
html_static_path: list[str] = []
html_copy_source = False
highlight_language = "none"
smartquotes = False  # "--for" is an option, and no dash
