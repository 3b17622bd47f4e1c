"""The manual: sphinx-build -W --keep-going docs build/docs, then open build/docs/index.html."""

import collections
import inspect
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import fields  # noqa: E402

import sharp_unet_jax  # noqa: E402

project = "sharp_unet_jax"
author = "The sharp_unet_jax maintainers"
version = release = sharp_unet_jax.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "directives"]
myst_enable_extensions = ["colon_fence", "deflist", "linkify"]
myst_linkify_fuzzy_links = False  # config.py is a file, not a site in Paraguay
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
default_role = "code"
smartquotes = False  # quotation marks are code more often than not
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90

html_theme = "furo"
html_title = f"sharp_unet_jax {version}"
html_static_path = ["static"]
html_css_files = ["manual.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_show_search_summary = False  # would fetch pages, which a browser refuses where they come from the disk


def moved(app, path, parent, content):  # noqa: ARG001
    """A file included from elsewhere in the repository: its links, from where it lies to the page it is put into."""
    folder, page = (Path(app.srcdir) / path).resolve().parent, (Path(app.srcdir) / app.env.docname).parent

    def link(match: re.Match[str]) -> str:
        start, target = match.groups()
        if "://" in target or target.startswith("#"):
            return match[0]
        scheme = "path:" if target.endswith(".md") else ""  # a file to download, no page of the manual
        return f"{start}({scheme}{os.path.relpath(folder / target, page)})"

    content[0] = re.sub(r"(\])\(([^)\s]+)\)", link, content[0])


def plain(app, what, name, obj, options, lines):  # noqa: ARG001
    """Docstrings are plain text with `code` in it; whatever else Sphinx would take for markup is meant as it stands."""
    lines[:] = marked("\n".join(lines)).split("\n")
    if inspect.isclass(obj) and (hasattr(obj, "__dataclass_fields__") or hasattr(obj, "_fields")):
        described = ((f"``{each.name}``: ``{each.type}``", marked(each.comment)) for each in fields.of(obj))
        lines += ["", *(f"* {', '.join(filter(None, both))}" for both in described), ""]


def marked(text: str) -> str:
    """Plain text with `code` in it as reStructuredText."""
    parts = re.split(r"`([^`]*)`", text)  # every other one is code
    return "".join(
        f"``{part}``" if i % 2 else re.sub(r"([\\*|]|_(?!\w))", r"\\\1", part) for i, part in enumerate(parts)
    )


def skipped(app, what, name, obj, skip, options):  # noqa: ARG001
    """Fields of named tuples: `plain` lists them."""
    return True if isinstance(obj, collections._tuplegetter) else None


def setup(app):
    """Connects what is defined here."""
    app.connect("include-read", moved)
    app.connect("autodoc-process-docstring", plain, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", skipped)
