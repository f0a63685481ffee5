"""The site of tpnumba: built, and every example in it run, by ``python -m nox -s docs``."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))
sys.path.insert(0, str(HERE))

import figures  # noqa: E402

import tpnumba  # noqa: E402

project = "tpnumba"
author = "The tpnumba developers"
copyright = author
version = release = tpnumba.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.doctest",
    "sphinx_gallery.gen_gallery",
    "mathml",
]
exclude_patterns = ["_build", "_extensions", "_templates", "examples", "howto/*.py", "howto/*.ipynb"]
nitpicky = False  # annotations name types of private modules

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

templates_path = ["_templates"]
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures say them; docstrings say shapes
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

#: What docstrings, and the pages, take for granted.
doctest_global_setup = """
from importlib.util import find_spec

import numpy as np
import tpnumba as tp
from tpnumba import *
from tpnumba.nn import *
"""
doctest_test_doctest_blocks = "default"

sphinx_gallery_conf = {
    "examples_dirs": ["examples"],
    "gallery_dirs": ["howto"],
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
    "write_computation_times": False,
    "within_subsection_order": "ExampleTitleSortKey",
}

html_theme = "furo"
html_title = f"tpnumba {release}"
html_static_path = ["_static"]
html_css_files = ["tpnumba.css"]
html_copy_source = False
html_show_sphinx = False

figures.draw_all(HERE / "_figures")
