"""A table of the report, and how it is written: Markdown, LaTeX (booktabs) and CSV."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd


class Table(NamedTuple):
    """Cells as they are to be read, bold ones as "**75.89**"; the same content goes into every format."""

    name: str  # the stem of its files: "table2", "significance"
    title: str  # one line
    passport: str  # protocol, folds, repeats, aggregation, threshold, empty-mask rule, resolution, n: see passport.py
    frame: pd.DataFrame  # columns as headings; text and numbers; the first column names the row
    note: str = ""  # what stands under it


def markdown(table: Table) -> str:
    """Title, passport, the table and its note in GitHub's Markdown."""
    raise NotImplementedError


def latex(table: Table) -> str:
    r"""A `table` environment for booktabs: \input it; the passport is its caption, the note stands under it."""
    raise NotImplementedError


def csv(table: Table) -> str:
    """Numbers for machines: "75.00 ± 7.07" becomes two columns; title, passport and note are lines that begin with #."""
    raise NotImplementedError


def write(table: Table, folder: Path) -> None:
    """Writes NAME.md, NAME.tex and NAME.csv to `folder`."""
    raise NotImplementedError
