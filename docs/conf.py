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
import jax.typing  # noqa: E402
import numpy.typing  # noqa: E402
from sphinx.util.inspect import stringify_signature  # noqa: E402
from sphinx.util.typing import stringify_annotation  # noqa: E402

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
autodoc_preserve_defaults = True
default_role = "code"
highlight_language = "none"  # but where a block says what it is
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

# What the code calls by a short name, as Sphinx writes it out.
ALIASES = {
    stringify_annotation(jax.typing.ArrayLike, "smart"): "ArrayLike",
    stringify_annotation(numpy.typing.ArrayLike, "smart"): "ArrayLike",
    stringify_annotation(jax.typing.DTypeLike, "smart"): "DTypeLike",
    "<class 'jax.numpy.float32'>": "jnp.float32",
}


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
    paragraphs = "\n".join(lines).split("\n\n")
    marked_up = (each if each.lstrip().startswith(">>>") else marked(each) for each in paragraphs)
    lines[:] = "\n\n".join(marked_up).split("\n")
    if what == "property":
        lines.insert(0, "")  # napoleon takes what stands before a colon in the first line for a type
    if inspect.isclass(obj) and (hasattr(obj, "__dataclass_fields__") or hasattr(obj, "_fields")):
        described = ((f"``{each.name}``: ``{each.type}``", marked(each.comment)) for each in fields.of(obj))
        lines += ["", *(f"* {', '.join(filter(None, both))}" for both in described), ""]


def marked(text: str) -> str:
    """Plain text with `code` in it as reStructuredText."""
    parts = re.split(r"`([^`]*)`", text)  # every other one is code
    for i, part in enumerate(parts):
        escaped = re.sub(r"([\\*|]|_(?!\w))", r"\\\1", part)
        parts[i] = f"``{part}``" if i % 2 else re.sub(r"^(?=\w)", r"\\ ", escaped) if i else escaped
    return "".join(parts)


def signed(app, what, name, obj, options, signature, returned):  # noqa: ARG001
    """Signatures with the aliases that the code has, and of NNX modules the one that their metaclass hides."""
    if what == "class" and signature and signature.startswith("(*args"):
        own = "__init__" in vars(obj) and "Protocol" not in {base.__name__ for base in obj.__bases__}
        whole = inspect.signature(obj.__init__)
        parameters = list(whole.parameters.values())[1:]
        signature = stringify_signature(whole.replace(parameters=parameters), unqualified_typehints=True) if own else ""
    for text, alias in ALIASES.items():
        signature, returned = (part and part.replace(text, alias) for part in (signature, returned))
    return signature, returned


def skipped(app, what, name, obj, skip, options):  # noqa: ARG001
    """Fields of named tuples: `plain` lists them."""
    return True if isinstance(obj, collections._tuplegetter) else None


def setup(app):
    """Connects what is defined here."""
    app.connect("include-read", moved)
    app.connect("autodoc-process-docstring", plain, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", signed)
    app.connect("autodoc-skip-member", skipped)
