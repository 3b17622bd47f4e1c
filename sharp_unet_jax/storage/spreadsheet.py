"""Text for CSV files that people open in spreadsheets, which run what looks like a formula.

Names of files, classes and groups come from others: Excel runs a name such as `=cmd|' /C calc'!A0`. The remedy is that
of OWASP's page "CSV Injection": an apostrophe before such text.
"""

import re

import pandas as pd

# A cell begins with the text, or after a character that a spreadsheet may take for a separator. The last four
# characters are the wide forms of = + - @.
_BEGIN, _FORMULA = r"(?<![^,;\t\r\n])", r"(?='*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])"
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def cell(text: str) -> str:
    """Return `text` as spreadsheets show it and do not run it; a number stays as it is. `original` undoes it."""
    return text if _NUMBER.fullmatch(text) else re.sub(_BEGIN + _FORMULA, "'", text)


def original(cell: str) -> str:
    """Return the text whose `cell` this is."""
    return re.sub(f"{_BEGIN}'{_FORMULA}", "", cell)


def csv(table: pd.DataFrame) -> str:
    """Return a table as CSV, with all its text as `cell`."""
    safe = table.map(lambda value: cell(value) if isinstance(value, str) else value).rename(columns=cell)
    return safe.to_csv(index=False, lineterminator="\n")
