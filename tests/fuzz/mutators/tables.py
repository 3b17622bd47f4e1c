"""Changes of tables: CSV, Parquet, and the arrays of .npz and .npy."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.fuzz.mutators.content import Mutator, UnsuitableError, pick

CELLS = ("", "0", "-1", "nan", "inf", "1e400", "9" * 400, "x", "=1+1", "a\nb", '"', "a,b", "\0", "é", "../../escaped")

# --- CSV


def of_rows(change: Callable[[list[list[str]], np.random.Generator], object]) -> Mutator:
    """Return the mutator that changes the cells of a CSV file."""

    def mutate(path: Path, random: np.random.Generator) -> None:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
        if not rows or not rows[0]:
            raise UnsuitableError
        change(rows, random)
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    mutate.__name__ = change.__name__
    return mutate


def change_a_cell(rows: list[list[str]], random: np.random.Generator) -> None:
    row = pick(random, rows)
    row[random.integers(len(row))] = pick(random, CELLS)


def swap_cells(rows: list[list[str]], random: np.random.Generator) -> None:
    one, other = pick(random, rows), pick(random, rows)
    column = random.integers(min(len(one), len(other)))
    one[column], other[column] = other[column], one[column]


def drop_a_column(rows: list[list[str]], random: np.random.Generator) -> None:
    column = random.integers(len(rows[0]))
    for row in rows:
        del row[column : column + 1]


def add_a_column(rows: list[list[str]], random: np.random.Generator) -> None:
    for number, row in enumerate(rows):
        row.append(str(number))


def drop_a_row(rows: list[list[str]], random: np.random.Generator) -> None:
    del rows[random.integers(len(rows))]


def repeat_a_row(rows: list[list[str]], random: np.random.Generator) -> None:
    rows.append(pick(random, rows))


def shorten_a_row(rows: list[list[str]], random: np.random.Generator) -> None:
    del pick(random, rows)[-1:]


def as_utf16(path: Path, random: np.random.Generator) -> None:
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))


def as_latin_1(path: Path, random: np.random.Generator) -> None:
    path.write_bytes(path.read_bytes().replace(b"a", "é".encode("latin-1"), 1))


def with_semicolons(path: Path, random: np.random.Generator) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b",", b";").replace(b"\n", b"\r\n"))


CSV: tuple[Mutator, ...] = (
    *map(
        of_rows,
        (
            change_a_cell,
            change_a_cell,
            swap_cells,
            drop_a_column,
            add_a_column,
            drop_a_row,
            repeat_a_row,
            shorten_a_row,
        ),
    ),
    *(as_utf16, as_latin_1, with_semicolons),
)

# --- Parquet


def of_frame(change: Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]) -> Mutator:
    """Return the mutator that replaces a Parquet file's table by `change` of it."""

    def mutate(path: Path, random: np.random.Generator) -> None:
        table = pd.read_parquet(path)
        changed = change(table.copy(), random)
        if changed.equals(table):
            raise UnsuitableError
        changed.to_parquet(path)

    mutate.__name__ = change.__name__
    return mutate


def _column(table: pd.DataFrame, random: np.random.Generator) -> str:
    return table.columns[random.integers(len(table.columns))]


def drop_a_parquet_column(table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return table.drop(columns=_column(table, random))


def rename_a_column(table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return table.rename(columns={_column(table, random): "unknown"})


def swap_columns(table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    one, other = _column(table, random), _column(table, random)
    return table.rename(columns={one: other, other: one})


def change_a_type(table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    kind = [str, "float32", "int8", "category", object][random.integers(5)]
    try:
        return table.astype({_column(table, random): kind})
    except (ValueError, TypeError) as error:
        raise UnsuitableError from error


def nest_a_column(table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return table.assign(**{_column(table, random): [[1, 2]] * len(table)})


def empty_cells(table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    name = _column(table, random)
    column = table[name].astype(object)
    column.iloc[random.integers(len(table))] = None
    return table.assign(**{name: column})


def change_a_value(table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    name, row = _column(table, random), random.integers(len(table))
    column = table[name].copy()
    if pd.api.types.is_float_dtype(column):
        column.iloc[row] = random.choice([0.0, 1.0, 3.09, -1.0, np.nan, np.inf, column.iloc[row] / 2])
    elif pd.api.types.is_integer_dtype(column):
        column.iloc[row] = random.choice([0, 1, -1, 10**6, column.iloc[row] + 1])
    else:
        column.iloc[row] = column.iloc[random.integers(len(table))]
    return table.assign(**{name: column})


def drop_rows(table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return table.iloc[: random.integers(len(table))]


def repeat_rows(table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return table.iloc[[*range(len(table)), *random.integers(len(table), size=2)]]


def shuffle_rows(table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return table.iloc[random.permutation(len(table))]


PARQUET: tuple[Mutator, ...] = tuple(
    map(
        of_frame,
        (
            *(drop_a_parquet_column, rename_a_column, swap_columns, change_a_type, nest_a_column, empty_cells),
            *(change_a_value, change_a_value, drop_rows, repeat_rows, shuffle_rows),
        ),
    )
)

# --- NumPy


def _changed(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    def one(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.reshape(-1)[random.integers(array.size)] ^= 1 << int(random.integers(8))
        return array

    changes: list[Callable[[np.ndarray], Any]] = [
        one,
        one,
        lambda array: array[:-1],
        lambda array: array[:0],
        lambda array: array[..., :1].squeeze(),
        lambda array: array[::-1],
        lambda array: array.astype(float),
        lambda array: array.astype(np.int16) - 300,
        lambda array: array.astype("S3"),
        lambda array: array.astype(object),
        lambda array: np.repeat(array, 2, axis=-1),
        lambda array: np.full_like(array, np.nan, dtype=np.float16),
        lambda array: np.array(0),
    ]
    return pick(random, changes)(array)


def change_an_array(path: Path, random: np.random.Generator) -> None:
    if path.suffix == ".npy":
        np.save(path, _changed(np.load(path), random))
        return
    with np.load(path) as file:
        arrays = dict(file)
    name = list(arrays)[random.integers(len(arrays))]
    np.savez_compressed(path, **{**arrays, name: _changed(arrays[name], random)})


def rename_an_array(path: Path, random: np.random.Generator) -> None:
    if path.suffix == ".npy":
        raise UnsuitableError
    with np.load(path) as file:
        arrays = dict(file)
    np.savez_compressed(path, unknown=next(iter(arrays.values())))


def claim_a_huge_shape(path: Path, random: np.random.Generator) -> None:
    """Write a header of an array of terabytes, without its data."""
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**7, 1000, 1000, 1)}
    np.lib.format.write_array_header_1_0(buffer, header)
    if path.suffix == ".npy":
        path.write_bytes(buffer.getvalue())
    else:
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("probabilities.npy", buffer.getvalue())


ARRAYS: tuple[Mutator, ...] = (change_an_array, change_an_array, change_an_array, rename_an_array, claim_a_huge_shape)
