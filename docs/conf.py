"""The manual: sphinx-build -W --keep-going docs build/docs, then open build/docs/index.html."""

import collections
import inspect
import os
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import jax.typing  # noqa: E402
import numpy.typing  # noqa: E402
from sphinx.util.inspect import stringify_signature  # noqa: E402
from sphinx.util.typing import stringify_annotation  # noqa: E402

import sharp_unet_jax  # noqa: E402
from launch.console import fields  # noqa: E402

project = "sharp_unet_jax"
author = "The sharp_unet_jax maintainers"
version = release = sharp_unet_jax.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["linkify"]
myst_linkify_fuzzy_links = False  # config.py is a file, not a site in Paraguay
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
default_role = "code"
exclude_patterns = ["README.md"]  # the start page includes it
highlight_language = "none"  # unless a block names its language
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


# Pages that include a file from elsewhere in the repository, by that file.
INCLUDED = {
    (page.parent / path).resolve(): page
    for page in (ROOT / "docs").rglob("*.md")
    for path in re.findall(r"^```{include} (.+)", page.read_text(), re.MULTILINE)
}


def linked(text: str, folder: Path, page: Path) -> str:
    """Return `text` with its links, which lead from `folder` as a code host follows them, leading from a page's folder.

    A link to a file that is a page of the manual leads to that page; a link to another file outside is a download.
    """

    def link(match: re.Match[str]) -> str:
        target, mark, anchor = match[2].partition("#")
        if "://" in match[2] or not target:
            return match[0]
        path = (folder / target).resolve()
        if not path.exists():  # no link: code such as `blocks[0](x)`
            return match[0]
        path = INCLUDED.get(path, path)
        outside = path.suffix == ".md" and not path.is_relative_to(ROOT / "docs")
        return f"{match[1]}({'path:' * outside}{os.path.relpath(path, page)}{mark}{anchor})"

    return re.sub(r"(\])\(([^)\s]+)\)", link, text)


def read(app, docname, content):
    """Rewrite the links of a page."""
    folder = (Path(app.srcdir) / docname).parent
    content[0] = linked(content[0], folder, folder)


def included(app, path, parent, content):  # noqa: ARG001
    """Rewrite the links of a file that a page includes."""
    folder, page = (Path(app.srcdir) / path).resolve().parent, (Path(app.srcdir) / app.env.docname).parent
    content[0] = linked(content[0], folder, page)


def plain(app, what, name, obj, options, lines):  # noqa: ARG001
    """Escape docstrings: they are plain text with `code` in it, whatever else Sphinx would take for markup."""
    paragraphs = "\n".join(lines).split("\n\n")
    lines[:] = "\n\n".join(paragraph(each, what) for each in paragraphs).split("\n")
    if what == "property":
        lines.insert(0, "")  # napoleon takes what stands before a colon in the first line for a type
    if inspect.isclass(obj) and (hasattr(obj, "__dataclass_fields__") or hasattr(obj, "_fields")):
        described = ((f"``{each.name}``: ``{each.type}``", marked(each.comment)) for each in fields.of(obj))
        lines += ["", *(f"* {', '.join(filter(None, both))}" for both in described), ""]


def paragraph(text: str, what: str) -> str:
    """Return a docstring's paragraph as reStructuredText; examples and a module's indented lists stay as they are."""
    if text.lstrip().startswith(">>>"):
        return text
    if what == "module" and "\n  " in text:
        return "::\n\n" + textwrap.indent(text, "    ")
    return marked(text)


def marked(text: str) -> str:
    """Return plain text with `code` in it as reStructuredText."""
    parts = re.split(r"`([^`]*)`", text)  # every other one is code
    for i, part in enumerate(parts):
        escaped = re.sub(r"([\\*|]|_(?!\w))", r"\\\1", part)
        parts[i] = f"``{part}``" if i % 2 else re.sub(r"^(?=\w)", r"\\ ", escaped) if i else escaped
    return "".join(parts)


def signed(app, what, name, obj, options, signature, returned):  # noqa: ARG001
    """Write signatures with the aliases of the code; find those of NNX modules, which their metaclass hides."""
    if what == "class" and signature and signature.startswith("(*args"):
        own = "__init__" in vars(obj) and "Protocol" not in {base.__name__ for base in obj.__bases__}
        whole = inspect.signature(obj.__init__)
        parameters = list(whole.parameters.values())[1:]
        signature = stringify_signature(whole.replace(parameters=parameters), unqualified_typehints=True) if own else ""
    for text, alias in ALIASES.items():
        signature, returned = (part and part.replace(text, alias) for part in (signature, returned))
    return signature, returned


def skipped(app, what, name, obj, skip, options):  # noqa: ARG001
    """Skip the fields of named tuples, which `plain` lists."""
    return True if isinstance(obj, collections._tuplegetter) else None


def setup(app):
    """Connect what is defined here."""
    app.connect("source-read", read)
    app.connect("include-read", included)
    app.connect("autodoc-process-docstring", plain, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", signed)
    app.connect("autodoc-skip-member", skipped)
