"""
How the documentation is built: ``uv run --group docs sphinx-build -aEW docs build/docs``.

Sphinx, because the docstrings are reST with ``:param`` and cross references such as :meth:, which its autodoc reads
and checks. MkDocs with mkdocstrings was tried; it prints those references as they are typed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Airflow writes its configuration into its home when it is imported: give it a temporary one.
_airflow_home = tempfile.TemporaryDirectory(prefix="airflow-kernel-docs-")
os.environ["AIRFLOW_HOME"] = _airflow_home.name
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from airflow_provider_kernel import __version__  # noqa: E402

project = "airflow-provider-kernel"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "contents", "link_check"]
exclude_patterns = ["README.md", "snippets"]

html_theme = "furo"
html_title = "Kernel for Apache Airflow"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "monokai"

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

default_role = "code"  # the emulator's docstrings mark code with single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
add_module_names = False

# References into this package must resolve; checking those to Python or Airflow would need a network.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!airflow_provider_kernel\.).*"),
    (r"py:class", r".*\.(E|(Item|Model)?T)"),  # type variables
    (r"py:.*", r"airflow_provider_kernel\.lifecycle\..*"),  # internal: no page shows its parts
    (r"py:class", r".*\._\w+"),  # private: no page shows it
]


def _end_code_with_its_last_line(app: Sphinx, doctree: nodes.document) -> None:
    # An included part of a file ends at a mark, and the formatter keeps blank lines before it.
    for block in doctree.findall(nodes.literal_block):
        code = block.astext().strip("\n")
        block.rawsource = code
        block.children = [nodes.Text(code)]


def setup(app: Sphinx) -> None:
    """Register the hook of this file."""
    app.connect("doctree-read", _end_code_with_its_last_line)
