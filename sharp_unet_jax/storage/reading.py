"""Read the JSON and Parquet files of a sweep: each has the fields and columns that it should have, or is refused.

Files are damaged by disks, copied to the wrong place, and edited. Everything that reads one calls a function of this
file, so that a damaged file is one line with the file's name, and never a wrong figure.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from sharp_unet_jax.errors import InputError

T = TypeVar("T")


def read_json(path: Path, kind: type[T], *, remedy: str) -> T:
    """Return the value in the JSON file `path`, which must have the type `kind`, such as a TypedDict.

    Fields that a TypedDict does not name are kept unchecked.

    Raises InputError, naming the file, the field and the `remedy`, if the file is missing or is something else.
    """
    return parse_json(_bytes(path, remedy), kind, path, remedy=remedy)


def parse_json(text: bytes, kind: type[T], path: Path, *, remedy: str) -> T:
    """Return the value of the JSON `text`, read from `path`, as `read_json` does."""
    try:
        value = msgspec.json.decode(text)
        msgspec.convert(value, kind)  # its result lacks the fields that `kind` does not name
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({_reason(error)}): {remedy}") from error
    return value


def read_table(path: Path, columns: Mapping[str, pa.DataType], *, remedy: str) -> pd.DataFrame:
    """Return the Parquet file `path`, which must have `columns` of these types; only floats may be null, for NaN.

    Other columns are kept unchecked.

    Raises InputError, naming the file, the column and the `remedy`, if the file is missing or is something else.
    """
    content = _bytes(path, remedy)  # pyarrow takes a folder for a table in parts, an empty folder for an empty table
    try:
        table = pa.parquet.read_table(io.BytesIO(content))
        for name, kind in columns.items():
            if name not in table.column_names:
                raise ValueError(f"it lacks the column {name}")
            found = table.schema.field(name).type
            if found != kind and not (
                pa.types.is_string(kind) and pa.types.is_large_string(found)
            ):  # as pandas 3 writes
                raise ValueError(f"its column {name} is {found}, not {kind}")
            if table[name].null_count and not pa.types.is_floating(kind):
                raise ValueError(f"its column {name} has empty cells")
        return table.to_pandas(ignore_metadata=True)  # pandas' own notes in the file may be damaged
    except Exception as error:  # pyarrow and pandas raise many kinds
        raise InputError(f"{path} is damaged ({_reason(error)}): {remedy}") from error


def _bytes(path: Path, remedy: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: {remedy}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): {remedy}") from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:150] or type(error).__name__
