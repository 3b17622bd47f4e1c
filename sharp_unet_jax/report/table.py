"""A table of the report, and how it is written: Markdown, LaTeX (booktabs) and CSV."""

from typing import NamedTuple

import pandas as pd


class Table(NamedTuple):
    """Cells as they are to be read; the same content goes into every format."""

    name: str  # the stem of its files: "table2", "significance"
    title: str  # one line
    passport: (
        str  # protocol, folds, repeats, aggregation, threshold, empty-mask rule, resolution, n: see tables.passport
    )
    frame: pd.DataFrame  # columns as headings; text and numbers; the first column names the row
    note: str = ""  # what stands under it
