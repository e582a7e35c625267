"""Sphinx configuration. `python -m sphinx -W -n docs docs/_build/html` builds the site, offline."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import vis  # noqa: E402  (first, because it imports TensorFlow without messages)

project = "vis"
author = "The keras3-vis authors"
project_copyright = "2026, the keras3-vis authors"
release = version = vis.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    # Extensions in `_ext`.
    "gallery",
    "markdown_of_code_hosts",
    "names",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_ext", "_templates", "_extra", "gallery", "api/README.md"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}

# Notebooks show their saved outputs.
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# Local inventories, so that building needs no network. They hold only names that docstrings use.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.txt"),
    "numpy": ("https://numpy.org/doc/stable", "inventories/numpy.txt"),
    "matplotlib": ("https://matplotlib.org/stable", "inventories/matplotlib.txt"),
}

html_theme = "pydata_sphinx_theme"
html_title = f"vis {release}"
html_static_path = ["_static"]
# An example atlas, a separate site.
html_extra_path = ["_extra"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
# Only API pages have a sidebar.
html_sidebars = {"*": [], "notebooks/*": []}
