"""What the manual asks the code as it is built: `{fields} CLASS` is a table, `{help} MODULE` a command's --help."""

import contextlib
import importlib
import inspect
import io
import os
import runpy
import sys
from typing import Any
from unittest import mock

import fields
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


class Fields(SphinxDirective):
    """The fields of a config: name, comment, type, default."""

    required_arguments = 1
    option_spec = {"prefix": directives.unchanged}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Fields that hold a group of fields are left out: these have tables of their own."""
        module, _, name = self.arguments[0].rpartition(".")
        cls = getattr(importlib.import_module(module), name)
        self.env.note_dependency(inspect.getfile(cls))
        rows = ["| field | what it is | type | default |", "|---|---|---|---|"]
        for each in fields.of(cls):
            if "default_factory" not in each.default:
                name = f"{self.options.get('prefix', '')}{each.name}"
                cells = (f"`{name}`", each.comment, f"`{each.type}`", f"`{each.default}`")
                rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return self.parse_text_to_nodes("\n".join(rows))


class Help(SphinxDirective):
    """What `python -m MODULE --help` says."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A block of text, 90 columns wide."""
        said = io.StringIO()
        with (
            mock.patch.object(sys, "argv", ["", "--help"]),
            mock.patch.dict(os.environ, COLUMNS="90", NO_COLOR="1"),
            contextlib.redirect_stdout(said),
            contextlib.suppress(SystemExit),
        ):
            runpy.run_module(self.arguments[0], run_name="__main__")
        if not said.getvalue().startswith("usage"):
            raise self.error(f"python -m {self.arguments[0]} --help says no usage")
        return [nodes.literal_block(said.getvalue(), said.getvalue(), language="text")]


def setup(app: Any) -> dict[str, bool]:
    """Adds both."""
    app.add_directive("fields", Fields)
    app.add_directive("help", Help)
    return {"parallel_read_safe": True}
