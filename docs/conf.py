"""Sphinx configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from emdarks import __version__

project = "emdarks"
author = "The emdarks developers"
copyright = "2026, the emdarks developers"
release = version = __version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # formulas without a network
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "emdarks"
html_static_path = ["_static"]
html_css_files = ["emdarks.css"]
html_show_sphinx = False
templates_path: list[str] = []
exclude_patterns = ["_build", "generated"]
default_role = "py:obj"

# Every name in single backticks of a docstring is a link, and must lead somewhere.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(astropy|matplotlib|numpy)\..*")]
numpydoc_show_class_members = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False

# Pages with code are run, always, so that what they show is what this version does.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_code_prompt_show = "▸ Code"
nb_code_prompt_hide = "▾ Code"
# Notebooks call the command line of the environment that builds the pages.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["COLUMNS"] = "84"
# No moving bars (Rich from 14.1 on).
os.environ["TTY_INTERACTIVE"] = "0"

NOTEBOOKS = ("tutorial",)


def write_notebooks(app: Any) -> None:
    """Offer the pages with code as notebooks: generated/tutorial.ipynb."""
    import jupytext

    folder = Path(app.srcdir, "generated")
    folder.mkdir(exist_ok=True)
    for name in NOTEBOOKS:
        notebook = jupytext.read(Path(app.srcdir, f"{name}.md"))
        jupytext.write(notebook, folder / f"{name}.ipynb")


def setup(app: Any) -> None:
    """Connect what is ours to the build."""
    app.connect("builder-inited", write_notebooks)
