"""Sphinx configuration."""

from emdarks import __version__

project = "emdarks"
author = "The emdarks developers"
copyright = "2026, the emdarks developers"
release = version = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "emdarks"
html_static_path = ["_static"]
templates_path: list[str] = []
exclude_patterns = ["_build"]
default_role = "py:obj"
nitpicky = False
numpydoc_show_class_members = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
