"""The documentation site: ``make docs`` builds it from the Markdown here and from docstrings."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import generated
import ismrmrd  # noqa: F401

import accelqsm

# Of Sphinx and its extensions among themselves; ismrmrd, once imported, shows all warnings.
warnings.filterwarnings("ignore", message=".*deprecated", module=r"(sphinx|myst_parser)\.")

project = "accelqsm"
author = "The accelqsm authors"
project_copyright = author
version = release = accelqsm.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"accelqsm {release}"
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["tables.css"]

COLON = "\N{RATIO}"
CARD = re.compile(r"\]\(\.\./src/accelqsm/weights/([\w-]+\.md)\)")


def fill_in(app: Any, name: str, source: list[str]) -> None:
    """Put generated text where a page asks for it, and link model cards as pages of the site."""
    source[0] = CARD.sub(r"](weights/\1)", generated.filled(source[0]))


def as_markup(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with ``code``: |x| and * in them are no markup."""
    text = re.sub(r"^Source: .*(?:\n +\S.*)*", _in_one_line, "\n".join(lines), flags=re.MULTILINE)
    parts = re.split(r"(``.*?``|:\w+:`.*?`)", text, flags=re.DOTALL)
    parts[::2] = [re.sub(r"[|*]", r"\\\g<0>", part) for part in parts[::2]]
    text = re.sub(
        r"(?<=^Returns:\n)(?: .*\n?|\n)+", _without_type, "".join(parts), flags=re.MULTILINE
    )
    lines[:] = text.split("\n")


def with_colons(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """The second half of ``as_markup``, after napoleon."""
    lines[:] = [line.replace(COLON, ":") for line in lines]


def _without_type(found: re.Match[str]) -> str:
    """Returns as they are: napoleon would take what stands before a colon for a type."""
    return found[0].replace(":", COLON)


def _in_one_line(found: re.Match[str]) -> str:
    return " ".join(found[0].split())


def setup(app: Any) -> None:
    """Hook them into Sphinx."""
    app.connect("source-read", fill_in)
    # Before napoleon, which turns sections into markup of its own.
    app.connect("autodoc-process-docstring", as_markup, priority=100)
    app.connect("autodoc-process-docstring", with_colons, priority=900)
