"""A table of the report, and how it is written: Markdown, LaTeX (booktabs) and CSV."""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sharp_unet_jax.storage import spreadsheet
from sharp_unet_jax.storage.atomic import write_text


class Table(NamedTuple):
    """A table's content, the same in every format. Cells are text as it is read, bold as "**75.89**"."""

    name: str  # the stem of its files, such as "table2"
    title: str  # one line
    provenance: str  # how the numbers came about: see provenance.py
    frame: pd.DataFrame  # columns as headings; text and numbers; the first column names the row
    note: str = ""  # below the table
    says: str = ""  # one sentence: what the table says


def markdown(table: Table) -> str:
    """Return title, provenance, table and note as Markdown with GitHub's tables."""
    parts = (
        f"## {table.title}",
        paragraphs(table.says),
        paragraphs(table.provenance),
        body(table),
        paragraphs(table.note),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def paragraphs(text: str) -> str:
    """Return each line of a text as a Markdown paragraph, wrapped at 120 characters."""
    lines = [textwrap.fill(line, 120, break_long_words=False, break_on_hyphens=False) for line in text.splitlines()]
    return "\n\n".join(line for line in lines if line)


def body(table: Table) -> str:
    """Return only the table as Markdown."""
    rows = [[*table.frame], ["---"] * len(table.frame.columns), *table.frame.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in row)} |" for row in rows)


def latex(table: Table) -> str:
    r"""Return a `table` environment to \input, with title and provenance as its caption.

    A table wider than the line is shrunk to the line.
    """
    rows = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in table.frame.itertuples(index=False)]
    sides = ["r" if cells.astype(str).str.match(r"[-+*<\d]").all() else "l" for _, cells in table.frame.items()]
    headings = [_heading(column, side) for column, side in zip(table.frame.columns, sides, strict=True)]
    note = [rf"\par\smallskip\parbox{{\linewidth}}{{{_latex(table.note)}}}"] if table.note else []
    lines = [
        r"% \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering\footnotesize",
        rf"\caption{{{_latex(table.title)}. {_latex(table.provenance)}}}",
        rf"\label{{tab:{table.name}}}\par\smallskip",
        r"\setlength{\tabcolsep}{4pt}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{''.join(sides)}}}",
        r"\toprule",
        " & ".join(headings) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}}",
        *note,
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def csv(table: Table) -> str:
    """Return numbers for programs: "75.00 ± 7.07" and "72.1 to 78.0" as two columns each, no bold, "-" as empty.

    Title, provenance and note are lines that begin with "# "; pandas skips them with `read_csv(..., comment="#")`.
    """
    comments = "\n".join(part for part in (table.title, table.provenance, table.note) if part).replace("**", "")
    columns = [_split(str(name), cells.astype(str)) for name, cells in table.frame.items()]
    numbers = spreadsheet.csv(pd.concat(columns, axis=1).replace("-", ""))
    return "".join(f"# {line}\n" for line in comments.splitlines()) + numbers


def write(table: Table, folder: Path) -> None:
    """Write NAME.md, NAME.tex and NAME.csv to `folder`."""
    for suffix, text in (("md", markdown(table)), ("tex", latex(table)), ("csv", csv(table))):
        write_text(folder / f"{table.name}.{suffix}", text)


def rounded(value: float) -> str:
    """Return "75.89", or "-" for nan."""
    return "-" if pd.isna(value) else f"{value:.2f}"


def plus_minus(mean: float, std: float) -> str:
    """Return "75.89 ± 2.06"; only the mean without a standard deviation, "-" for nan."""
    return rounded(mean) if pd.isna(mean) or pd.isna(std) else f"{mean:.2f} ± {std:.2f}"


def mean_std(values: pd.Series) -> str:
    """Return mean ± standard deviation (n - 1) of `values`, as `plus_minus`; nan is left out."""
    return plus_minus(values.mean(), values.std())


def interval(low: float, high: float) -> str:
    """Return "72.10 to 78.02", or "-" for nan."""
    return "-" if pd.isna(low) else f"{low:.2f} to {high:.2f}"


def signed(points: float) -> str:
    """Return "+1.20", or "-" for nan."""
    return "-" if pd.isna(points) else f"{points:+.2f}"


def lowest(values: Mapping[str, float], unit: str) -> str:
    """Return the name of the lowest value, and the value: "`unet`, 5.21 px"; "-" where all are nan."""
    known = {name: value for name, value in values.items() if not pd.isna(value)}
    name = min(known, key=known.__getitem__, default="")
    return f"`{name}`, {known[name]:.2f} {unit}" if known else "-"


def percent(score: float) -> str:
    """Return a score in 0..1 of a single image as "93.7 %", or "-" for nan."""
    return "-" if pd.isna(score) else f"{100 * score:.1f} %"


def p_value(p: float) -> str:
    """Return "0.012", "<0.001", or "-" for nan."""
    return "-" if pd.isna(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def narrow(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table without its column "data set" where that has one value."""
    return frame.drop(columns="data set") if frame["data set"].nunique() == 1 else frame


def _split(name: str, cells: pd.Series) -> pd.DataFrame:
    cells = cells.str.replace("**", "", regex=False)
    for between, suffixes in ((" ± ", ("", " ±")), (" to ", (" from", " to"))):
        if cells.str.contains(rf"\d{between}[-+\d]").any():
            parts = cells.str.partition(between)[[0, 2]]
            return parts.set_axis([name + suffix for suffix in suffixes], axis=1)
    return cells.to_frame(name)


_LATEX = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"$<$", ">": r"$>$", "±": r"$\pm$", "\n": " ",
}  # fmt: skip


def _heading(name: str, side: str) -> str:
    """Return a heading in lines of up to 13 letters, as a heading should not make a column wider than its cells."""
    lines = textwrap.wrap(str(name), 13, break_long_words=False)
    stacked = r" \\ ".join(map(_latex, lines))
    return stacked if len(lines) == 1 else rf"\shortstack[{side}]{{{stacked}}}"


def _latex(cell: object) -> str:
    text = "".join(_LATEX.get(character, character) for character in str(cell))
    text = re.sub(r"(?<!\w)-(?=\d)", "$-$", text)  # a minus, not a hyphen
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text)
