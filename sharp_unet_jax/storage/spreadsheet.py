"""CSV files that people open and write in spreadsheets.

Spreadsheets run what looks like a formula, and names of files, classes and groups come from others: Excel runs a name
such as `=cmd|' /C calc'!A0`. The remedy is that of OWASP's page "CSV Injection": an apostrophe before such text.
"""

import codecs
import csv as csv_files
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

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


def rows(content: bytes) -> list[list[str]]:
    """Return the cells of a CSV file, without spaces around them, and without empty lines.

    It is read as spreadsheets write it: UTF-8, or UTF-16 with a byte-order mark; separated by commas, semicolons or
    tabs, whichever the first line has most of; and perhaps with a line such as `sep=;` before all others. Raises
    ValueError for anything else.
    """
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("it is neither in UTF-8 nor in UTF-16; save it as CSV UTF-8") from error
    if said := re.match(r"sep=([,;\t])\r?\n", text):
        text = text[said.end() :]
    first = text.lstrip("\r\n ").partition("\n")[0]
    separator = said[1] if said else max(",;\t", key=first.count)
    try:
        cells = [
            [original(each).strip() for each in row]
            for row in csv_files.reader(io.StringIO(text, newline=""), delimiter=separator)
        ]
    except csv_files.Error as error:
        raise ValueError(error) from error
    return [row for row in cells if any(row)]


def columns(headings: Sequence[str], called: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the index of each column that there is, by its key in `called`, which lists the headings it may have.

    Of several such headings the first in the list counts. Upper and lower case, spaces, "-" and "_" do not matter.
    Raises ValueError for a heading that is there twice.
    """
    plain = [re.sub(r"[\s_-]+", "_", heading.casefold()) for heading in headings]
    found = {key: next((name for name in names if name in plain), None) for key, names in called.items()}
    if twice := [name for name in found.values() if name and plain.count(name) > 1]:
        raise ValueError(f"it has two columns {twice[0]}")
    return {key: plain.index(name) for key, name in found.items() if name}


def by_name(ids: Iterable[str]) -> dict[str, str]:
    """Return ids by their text as `find` compares it: macOS writes an accented letter as two characters."""
    return {unicodedata.normalize("NFC", name).strip(): name for name in ids}


def find(cell: str, ids: Mapping[str, str]) -> str | None:
    """Return the id, one of `by_name`, that a cell names as it is, or with a file's suffix and folders around it."""
    name = unicodedata.normalize("NFC", cell).strip().replace("\\", "/")
    parts = name.split("/")
    for each in ("/".join(parts[at:]) for at in range(len(parts))):
        for end in (r"$^", r"\.[a-zA-Z]{2,5}$", r"\.[a-zA-Z]{2,5}\.[a-zA-Z]{2,5}$"):
            if (shorter := re.sub(end, "", each)) in ids:
                return ids[shorter]
    return None
