"""Read the JSON and Parquet files of a sweep: each has the fields and columns that it should have, or is refused.

Files are damaged by disks, copied to the wrong place, and edited. Everything that reads one calls a function of this
file, so that a damaged file is one line with the file's name, and never a wrong figure.
"""

import codecs
import hashlib
import io
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from sharp_unet_jax.errors import InputError, is_out_of_memory

T = TypeVar("T")
LARGEST = 2**30  # bytes of a JSON or Parquet file; those of a million images have a tenth


def read_json(path: Path, kind: type[T], *, remedy: str, sha256: str | None = None) -> T:
    """Return the value in the JSON file `path`, which must have the type `kind`, such as a TypedDict.

    Fields that a TypedDict does not name are kept unchecked.

    Raises InputError, naming the file, the field and the `remedy`, if the file is missing or is something else.
    """
    check_size(path, remedy)
    return parse_json(read_bytes(path, remedy=remedy, sha256=sha256), kind, path, remedy=remedy)


def parse_json(text: bytes, kind: type[T], path: Path, *, remedy: str) -> T:
    """Return the value of the JSON `text`, read from `path`, as `read_json` does."""
    try:
        value = msgspec.json.decode(text.removeprefix(codecs.BOM_UTF8))  # Notepad and PowerShell write it
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise damaged(path, _reason(error), remedy) from error
    return checked(value, kind, path, remedy=remedy)


def checked(value: Any, kind: type[T], path: Path, *, remedy: str) -> T:
    """Return `value`, read from the JSON file `path`. Raises InputError if it does not have the type `kind`."""
    try:
        msgspec.convert(value, kind)  # its result lacks the fields that `kind` does not name
    except (msgspec.MsgspecError, RecursionError) as error:
        raise damaged(path, _reason(error), remedy) from error
    return value


def read_table(
    path: Path, columns: Mapping[str, pa.DataType], *, remedy: str, sha256: str | None = None
) -> pd.DataFrame:
    """Return the Parquet file `path`, which must have `columns` of these types; only floats may be null, for NaN.

    Other columns are kept unchecked.

    Raises InputError, naming the file, the column and the `remedy`, if the file is missing or is something else.
    """
    check_size(path, remedy)
    content = read_bytes(path, remedy=remedy, sha256=sha256)
    with naming(path, remedy):
        table = pa.parquet.read_table(io.BytesIO(content))
        for name, kind in columns.items():
            if name not in table.column_names:
                raise ValueError(f"it lacks the column {name}")
            found = table.schema.field(name).type
            if not _alike(found, kind):
                raise ValueError(f"its column {name} is {found}, not {kind}")
            if table[name].null_count and not pa.types.is_floating(kind):
                raise ValueError(f"its column {name} has empty cells")
        return table.replace_schema_metadata().to_pandas()  # pandas' own notes in the file may be damaged


def check_size(path: Path, remedy: str) -> None:
    """Refuse a file that is larger than LARGEST, before it is read into memory. Raises InputError."""
    if path.exists() and path.stat().st_size > LARGEST:
        raise damaged(path, "it is too large", remedy)


def read_bytes(path: Path, *, remedy: str, sha256: str | None = None) -> bytes:
    """Return the bytes of the file `path`, which must have the digest `sha256`, if one is given.

    Raises InputError, naming the file and the `remedy`, if the file is missing, is no file, or has other bytes.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # pyarrow takes a folder for a table; reading a pipe never ends
            raise damaged(path, "it is no file", remedy)
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path} is missing: {remedy}") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise damaged(path, "its bytes are not those recorded", remedy)
    return content


@contextmanager
def naming(path: Path, remedy: str) -> Iterator[None]:
    """Raise InputError, which says that the file `path` is damaged, for any error of the block but lack of memory."""
    try:
        yield
    except Exception as error:  # NumPy, pandas, pyarrow and zipfile raise many kinds
        if is_out_of_memory(error):
            raise
        raise damaged(path, _reason(error), remedy) from error


def _alike(found: pa.DataType, kind: pa.DataType) -> bool:
    """Return True for the same type: large strings, which pandas 3 writes, are strings; integers have any width."""
    if pa.types.is_string(kind):
        return pa.types.is_string(found) or pa.types.is_large_string(found)
    return pa.types.is_integer(found) if pa.types.is_integer(kind) else found == kind


def damaged(path: Path, why: str, remedy: str) -> InputError:
    """Return the error that says that the file `path` is damaged, why, and what to do."""
    return InputError(f"{path} is damaged ({why}): {remedy}")


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:150] or type(error).__name__
