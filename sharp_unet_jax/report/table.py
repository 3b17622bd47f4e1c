"""A table of the report, and how it is written: Markdown, LaTeX (booktabs) and CSV."""

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sharp_unet_jax.storage.atomic import write_text


class Table(NamedTuple):
    """Cells as they are to be read, bold ones as "**75.89**"; the same content goes into every format."""

    name: str  # the stem of its files: "table2", "significance"
    title: str  # one line
    passport: str  # protocol, folds, repeats, aggregation, threshold, empty-mask rule, resolution, n: see passport.py
    frame: pd.DataFrame  # columns as headings; text and numbers; the first column names the row
    note: str = ""  # what stands under it


def markdown(table: Table) -> str:
    """Title, passport, table and note, for GitHub and others that know its tables."""
    said = [part.replace("\n", "\n\n") for part in (table.passport, table.note)]
    return "\n\n".join(part for part in (f"## {table.title}", said[0], body(table), said[1]) if part) + "\n"


def body(table: Table) -> str:
    """The table alone in Markdown."""
    rows = [[*table.frame], ["---"] * len(table.frame.columns), *table.frame.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in row)} |" for row in rows)


def latex(table: Table) -> str:
    r"""A `table` environment to \input; title and passport are its caption.

    A table wider than the line is shrunk to it.
    """
    rows = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in table.frame.itertuples(index=False)]
    sides = ["r" if cells.astype(str).str.match(r"[-+*<\d]").all() else "l" for _, cells in table.frame.items()]
    headings = [_heading(column, side) for column, side in zip(table.frame.columns, sides, strict=True)]
    note = [rf"\par\smallskip\parbox{{\linewidth}}{{{_latex(table.note)}}}"] if table.note else []
    lines = [
        r"% \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering\footnotesize",
        rf"\caption{{{_latex(table.title)}. {_latex(table.passport)}}}",
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
    """Numbers for machines: "75.00 ± 7.07" and "72.1 to 78.0" become two columns each, bold is left out, "-" is empty.

    Title, passport and note are lines that begin with "# " (pandas: `read_csv(..., comment="#")`).
    """
    said = "\n".join(part for part in (table.title, table.passport, table.note) if part).replace("**", "")
    columns = [_split(str(name), cells.astype(str)) for name, cells in table.frame.items()]
    numbers = pd.concat(columns, axis=1).replace("-", "").to_csv(index=False, lineterminator="\n")
    return "".join(f"# {line}\n" for line in said.splitlines()) + numbers


def write(table: Table, folder: Path) -> None:
    """Writes NAME.md, NAME.tex and NAME.csv to `folder`."""
    for suffix, text in (("md", markdown(table)), ("tex", latex(table)), ("csv", csv(table))):
        write_text(folder / f"{table.name}.{suffix}", text)


def plus_minus(mean: float, std: float) -> str:
    """ "75.89 ± 2.06"; without a standard deviation the mean alone, and "-" for nothing."""
    if pd.isna(mean):
        return "-"
    return f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ± {std:.2f}"


def interval(low: float, high: float) -> str:
    """ "72.10 to 78.02", or "-"."""
    return "-" if pd.isna(low) else f"{low:.2f} to {high:.2f}"


def signed(points: float) -> str:
    """ "+1.20", or "-" for nothing."""
    return "-" if pd.isna(points) else f"{points:+.2f}"


def p_value(p: float) -> str:
    """ "0.012", "<0.001", or "-" for nothing."""
    return "-" if pd.isna(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def narrow(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the data set's column where all rows are of one."""
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
    """In lines of 13 letters, if there are spaces: headings are not to make a column wider than its cells."""
    lines = textwrap.wrap(str(name), 13, break_long_words=False)
    stacked = r" \\ ".join(map(_latex, lines))
    return stacked if len(lines) == 1 else rf"\shortstack[{side}]{{{stacked}}}"


def _latex(cell: object) -> str:
    text = "".join(_LATEX.get(character, character) for character in str(cell))
    text = re.sub(r"(?<!\w)-(?=\d)", "$-$", text)  # a minus, not a hyphen
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text)
