"""Files that are whole or not there at all."""

import errno
import json
import math
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path` to write to; renames it to `path` when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # else a power cut may leave the new name with nothing in it
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """As `replacing`, for a folder, which is there and empty when the block begins.

    Of processes that make the same folder at once, the first to end may keep it.
    """
    temporary, before = _beside(path), _beside(path.with_name(f"{path.name}.before"))
    shutil.rmtree(temporary, ignore_errors=True)  # of a process of this name that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
        with suppress(FileNotFoundError):
            path.rename(before)  # whole, for those who are reading it
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with suppress(FileNotFoundError):
                    before.rename(path)
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")  # machines may share the folder


def clear(folder: Path) -> None:
    """Deletes from `folder` what processes that were killed did not finish writing. No other may be writing there."""
    for path in folder.glob(".*"):
        if re.fullmatch(r"\..+\.\d+", path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_json(value: Any, indent: int | None = None) -> str:
    """`value` as JSON, which knows neither NaN nor infinity: they become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` to `path` atomically, indented for reading."""
    write_text(path, to_json(value, indent=2) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
