"""Tables that the user writes, read by the names of their columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets import files
from datasets.errors import DataError
from datasets.folder.names import first_few, is_text
from sharp_unet_jax.storage import spreadsheet

LARGEST = 2**30  # bytes of a table


def read(
    table: Path, needed: Mapping[str, Sequence[str]], more: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[dict[str, str]], list[str]]:
    """Return the lines of a CSV file by column, and the headings of the columns that were not read.

    Args:
        table: the file, see `spreadsheet.rows`.
        needed: the headings that each column may have, by column; every line has a cell of each.
        more: the same of columns that may be missing; their cells may be empty, and are "" where they are missing.

    Raises:
        DataError: for a file of another form, naming the line.
    """
    wanted, names = {**needed, **(more or {})}, ",".join(needed)
    try:
        headings, *lines = spreadsheet.rows(content(table, names)) or [[]]
        place = spreadsheet.columns(headings, wanted)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{table}: cannot be read as a CSV file ({error})") from error
    if needed.keys() - place.keys():
        raise DataError(f"{table}: the first line must be '{names}', not {','.join(headings)[:80]!r}")
    found = []
    for line in lines:
        cells = {name: line[index] if index < len(line) else "" for name, index in place.items()}
        if not all(map(is_text, cells.values())) or not all(cells[name] for name in needed):
            each = " and its ".join(needed)
            raise DataError(f"{table}: every line is an {each}, unlike {','.join(line)[:80]!r}")
        found.append({name: cells.get(name, "") for name in wanted})
    return found, [heading for index, heading in enumerate(headings) if index not in place.values() and heading]


def content(table: Path, names: str) -> bytes:
    """Return the bytes of a table with the columns `names`. Raises DataError where it is none or too large."""
    if not files.regular(table).exists():
        raise DataError(f"{table}: no such file; it should be a CSV file of '{names}' lines")
    if table.stat().st_size > LARGEST:
        raise DataError(f"{table}: is too large for a CSV file of '{names}' lines")
    return table.read_bytes()


def ignored(table: Path, headings: Sequence[str]) -> list[str]:
    """Return a note on columns that are not read, if there are any."""
    return [f"{table}: its columns {first_few(headings)} are not read"] if headings else []
