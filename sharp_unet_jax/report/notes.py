"""The notes of all tables on one page, each said once: how numbers came about, and how to read them."""

from collections.abc import Sequence
from typing import NamedTuple

from sharp_unet_jax.report.table import Table


class Part(NamedTuple):
    """Paragraphs about a table, or about all."""

    title: str
    lines: list[str]


def parts(tables: Sequence[Table]) -> list[Part]:
    """Return all that stands in provenance and notes of tables but `loud`, each line once, below its first table."""
    known = dict.fromkeys(line for table in tables for line in table.provenance.splitlines())
    found = [Part("How these numbers came about", list(known))] if known else []
    for table in tables:
        new = [line for line in table.note.splitlines() if line not in known and not _is_loud(line)]
        known |= dict.fromkeys(new)
        if new:
            found.append(Part(table.title, new))
    return found


def loud(table: Table) -> str:
    """Return the lines of a table's note that must stand below the table: warnings, which are bold."""
    return "\n".join(filter(_is_loud, table.note.splitlines()))


def _is_loud(line: str) -> bool:
    return line.startswith("**")
