"""Sphinx's configuration: `sphinx-build -W -n docs OUT`. What can be read off the source is, by generated.py."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import eggcache  # noqa: E402 - only after its directory is on the path

project = "eggcache"
author = "The eggcache developers"
version = release = eggcache.__version__
extensions = ["generated", "sphinx.ext.graphviz"]
graphviz_output_format = "svg"
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Zipped Python eggs behind Apache", "fixed_sidebar": True, "page_width": "1020px"}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}
html_static_path: list[str] = []
html_copy_source = False
highlight_language = "none"
smartquotes = False  # "--for" is an option, and no dash
