"""Write into the manual's pages what the code says of itself, and what records say: python docs/tables.py

A page marks such a place by two lines, `<!-- KIND NAME -->` and `<!-- end -->`, where KIND is

- fields: the fields of a dataclass, with a prefix for their names where one follows NAME,
- names: the strings of a tuple,
- networks: the pairs of twins in `sharp_unet_jax.models`, without a NAME,
- options: what `python -m NAME --help` says,
- notebook: how a notebook is opened; in Colab at once, where pyproject.toml names a repository on GitHub,
- modules: the modules of a package, or one module, each with its source and its docstrings,
- runs, each, twins, settings, times, protocols or paper: tables of packed sweeps, see results/scores.py.

It also writes the tables.md of each packed sweep, as today's report computes it from the records beside it.

tests/test_docs.py fails where a page and the code differ.
"""

import argparse
import ast
import contextlib
import hashlib
import importlib
import io
import json
import re
import runpy
import signal
import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import absl.app
import absl.flags

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import jax  # noqa: E402
from flax import nnx  # noqa: E402

from launch.console import fields as dataclass_fields  # noqa: E402
from results import scores  # noqa: E402
from sharp_unet_jax import models  # noqa: E402
from sharp_unet_jax.report import paper_tables  # noqa: E402
from sharp_unet_jax.storage import layout  # noqa: E402
from sharp_unet_jax.storage.atomic import to_json  # noqa: E402

PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "results/README.md", ROOT / "README.md"]
PACKED = sorted(path.parent for path in (ROOT / "results").glob(f"*/{layout.RUNS}"))
NOTEBOOK = ROOT / "examples/your_images.ipynb"  # clones the repository if it is not inside it, as in Colab
COLAB = "https://colab.research.google.com"
COLUMNS = 80  # a code host cuts longer lines of a code block
END = "<!-- end -->"


def filled(page: str) -> str:
    """Return the text of a page with every marked place written anew."""
    parts = []
    lines = iter(page.splitlines(keepends=True))
    for line in lines:
        parts.append(line)
        words = line.split()
        if words[:1] == ["<!--"] and words[1:2] != ["end"] and words[1] in KINDS:
            parts.append(f"\n{KINDS[words[1]](*words[2:-1])}\n\n{END}\n")
            while next(lines).strip() != END:
                pass
    return "".join(parts)


def fields(name: str, prefix: str = "") -> str:
    """Return a table of a dataclass; fields that hold a dataclass are left out, for they have tables of their own."""
    each = [field for field in dataclass_fields.of(_found(name)) if "default_factory" not in field.default]
    rows = [(f"`{prefix}{field.name}`", field.comment, f"`{field.type}`", f"`{field.default}`") for field in each]
    return _table(("field", "what it is", "type", "default"), rows)


def names(name: str) -> str:
    """Return a list of the strings of a tuple."""
    return textwrap.fill(", ".join(f"`{each}`" for each in _found(name)) + ".", 120, break_on_hyphens=False)


def networks() -> str:
    """Return a table of the networks, a row per pair of twins; parameters are those for RGB images and one class."""
    rows = []
    for name, network in models.MODELS.items():
        if network.skip == "plain" or network.kernel:
            continue
        built = nnx.eval_shape(lambda name=name: models.build(name, rngs=nnx.Rngs(0)))
        parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(built, nnx.Param)))
        authors, _, address = network.paper.rpartition(", ")
        pretrained = f"`{network.encoder}`" if network.hub else ""
        widths = f"{min(built.encoder.widths)} to {max(built.encoder.widths)}"
        paper = f"[{authors}]({address})" if address else ""
        rows.append((f"`{network.network}`", f"`{name}`", widths, f"{parameters:,}", pretrained, paper))
    return _table(("plain", "sharp", "encoder's widths", "parameters", "ImageNet encoder", "from"), rows)


def options(module: str) -> str:
    """Return what a command says of itself, and a table of its options."""
    description, rows = _asked(module)
    said = [textwrap.fill(part, COLUMNS, break_on_hyphens=False) for part in description.split("\n\n")]
    return "```text\n" + "\n\n".join(said) + "\n```\n\n" + _table(("option", "what it is"), rows)


def notebook(path: str) -> str:
    """Return how the notebook at `path` of the repository is opened."""
    title = f"[{path}]({path})"
    _, found, owner = repository().removesuffix(".git").partition("github.com/")  # Colab opens only those of GitHub
    if not found:
        return f"{title}, a notebook for Jupyter, or for Colab beside the checkout."
    badge = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({COLAB}/github/{owner}/blob/main/{path})"
    return f"{badge} or {title} in Jupyter."


def packed(folder: Path) -> dict[str, str]:
    """Return the files of a packed sweep that follow the code: tables.md, and sha256.json, which holds its digest."""
    tables = paper_tables.markdown(folder)
    digests = json.loads((folder / layout.DIGESTS).read_text())
    digests[layout.TABLES] = hashlib.sha256(tables.encode()).hexdigest()
    return {layout.TABLES: tables, layout.DIGESTS: to_json(digests, indent=2) + "\n"}


def repository() -> str:
    """Return the address that pyproject.toml names as [project.urls] Repository, "" without one."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("urls", {}).get("Repository", "")


def addressed(text: str) -> str:
    """Return a notebook's text with the address of the repository in its line REPOSITORY = ..."""
    return re.sub(r'(REPOSITORY = \\")[^"\\]*(\\")', rf"\g<1>{repository()}\g<2>", text)


def modules(name: str) -> str:
    """Return a table of the modules of a package, or of one module, then what Sphinx makes of their docstrings."""
    package = ROOT / name.replace(".", "/")
    paths = sorted(package.glob("*.py")) if package.is_dir() else [package.with_suffix(".py")]
    rows, sections = [], []
    for path in paths:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        summary = " ".join(docstring.partition("\n\n")[0].split())
        rows.append((f"[`{path.relative_to(ROOT)}`](../../{path.relative_to(ROOT)})", summary))
        sections.append(f"## `{module}`\n\n```{{eval-rst}}\n.. automodule:: {module}\n```")
    return "\n\n".join([_table(("file", "what it is"), rows), *sections])


def scored(kind: str) -> Callable[..., str]:
    """Return the function that writes a table of results/scores.py."""

    def write(*patterns: str) -> str:
        frame = getattr(scores, kind)(*patterns)
        return _table(tuple(frame), [tuple(row) for row in frame.to_numpy()])

    return write


SCORES = ("runs", "each", "twins", "settings", "times", "protocols", "paper")
KINDS = {"fields": fields, "names": names, "networks": networks, "options": options, "modules": modules}
KINDS |= {"notebook": notebook}
KINDS |= {kind: scored(kind) for kind in SCORES}


def _found(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [[cell.replace("|", "\\|").replace("<", "\\<") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in (head, ("---",) * len(head), *cells))


class _Parser(Exception):  # noqa: N818
    """Raised where a command would begin to work, with its parser."""


def _asked(module: str) -> tuple[str, list[tuple[str, str]]]:
    """Return a command's description and its options with their help, by running it up to where it parses them."""
    defined: list[tuple[str, str]] = []

    def parse(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Parser(parser)

    def define(name: str, default: object, text: str, **_: object) -> None:
        defined.append((f"`--{name}`" if default is False else f"`--{name}={name.upper()}`", text))

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", parse),
        mock.patch.multiple(absl.flags, DEFINE_string=define, DEFINE_bool=define, DEFINE_integer=define),
        mock.patch.object(absl.app, "run"),
        mock.patch.object(signal, "signal"),  # launch.cv would end this process at Ctrl-C
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            space = runpy.run_path(str(ROOT / f"{module.replace('.', '/')}.py"), run_name="__main__")
        except _Parser as stopped:
            (parser,) = stopped.args
            # argparse has no public list of a parser's options.
            actions = [action for action in parser._actions if action.dest != "help"]
            return parser.description, [(_spelled(action), action.help or "") for action in actions]
    return space["__doc__"], defined


def _spelled(action: argparse.Action) -> str:
    """Return an option as one types it."""
    choices = f"{{{','.join(filter(None, action.choices))}}}" if action.choices else ""
    value = action.metavar or choices or action.dest.upper()
    if not action.option_strings:
        return {"+": f"`{value} ...`", "*": f"`[{value} ...]`"}.get(action.nargs, f"`{value}`")
    return f"`{action.option_strings[-1]}`" if action.nargs == 0 else f"`{action.option_strings[-1]}={value}`"


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text()))
    NOTEBOOK.write_text(addressed(NOTEBOOK.read_text()))
    for path in PACKED:
        for name, text in packed(path).items():
            (path / name).write_text(text)
