"""Settings of Sphinx, which `make docs` runs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import flash_sandbox

project = "flash-sandbox"
author = "the authors of flash-sandbox"
release = flash_sandbox.__version__
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "docs.ext",
]
exclude_patterns = ["ext"]

myst_heading_anchors = 3
# A page that says what is a link in the sources, and is not, is an error.
nitpicky = True
nitpick_ignore_regex = [
    # No inventory of another project is read: the build needs no network.
    (r"py:.*", r"(?!flash_sandbox).*"),
    # Type variables and private names are not documented.
    (r"py:class", r"flash_sandbox\..*\.(T|_\w+)"),
]

# In docstrings one backtick marks a name: of the package, where it is one, else of an argument.
default_role = "autolink"
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 88
napoleon_use_ivar = True
add_module_names = False

html_theme = "furo"
html_title = "flash-sandbox"
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
html_static_path: list[str] = []
pygments_style = "friendly"
