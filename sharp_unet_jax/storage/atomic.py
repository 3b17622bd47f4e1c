"""Write files and folders that are whole or not there at all."""

import errno
import json
import math
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from sharp_unet_jax.errors import InputError

_DAY = 24 * 3600.0  # seconds
# See `_beside`; hidden files of users end with a number, too.
_TEMPORARY = re.compile(r"\..+\.part\.(?P<machine>.*)\.(?P<pid>\d+)")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` to write to; rename it to `path` if the block ends without an error.

    An OSError of the block is `named`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with named(path):
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())  # without it, a power cut may leave an empty file under the new name
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an OSError of the block, such as that of a full disk, name `path` if it names no file."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; rename it to `path` if the block ends without an error.

    If several processes write the same folder at once, it is whole in the end, and any one of them may have won. Where
    `path` is a link, the folder that it leads to is replaced.
    """
    path = Path(os.path.realpath(path))  # the link's own place may be on another disk
    temporary, old = _beside(path), _beside(path.with_name(f"{path.name}.before"))
    for left in (temporary, old):  # by a killed process with the same number
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        with suppress(FileNotFoundError):
            path.rename(old)  # renamed, not deleted: others may be reading it
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with suppress(FileNotFoundError):
                    old.rename(path)
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written, or be made, before hours of work for it. Nothing is made or left there.

    Raises InputError.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder")
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(bytes(4096))  # a quota that is used up allows an empty file
    except OSError as error:
        raise InputError(
            f"{there}: {(error.strerror or str(error)).lower()}: nothing can be written there, name another folder"
        ) from error


def clear(folder: Path) -> None:
    """Delete temporary files and folders that killed processes left in `folder`. No process may be writing there."""
    for path in folder.glob(".*"):
        if _TEMPORARY.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def clear_dead(folder: Path) -> None:
    """Delete temporary files and folders that killed processes left in `folder`; others may be writing there.

    A process of another machine, which may share the folder, is taken for dead after a day.
    """
    for path in folder.glob(".*"):
        if found := _TEMPORARY.fullmatch(path.name):
            with suppress(OSError):  # another process may clear the folder too
                written = path.lstat().st_mtime
                here = found["machine"] == platform.node()
                if not _wrote(int(found["pid"]), written) if here else time.time() - written > _DAY:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _wrote(pid: int, written: float) -> bool:
    """Return True if a living process has this number, and began before the file was written; numbers are reused."""
    try:
        return psutil.Process(pid).create_time() < written + 60  # the disk's clock may be another machine's
    except psutil.Error as error:
        return not isinstance(error, psutil.NoSuchProcess)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically, as `to_json` gives it, indented for reading."""
    write_text(path, to_json(value, indent=2) + "\n")


def to_json(value: Any, indent: int | None = None) -> str:
    """Return `value` as JSON. NaN and infinity, which JSON lacks, become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.part.{platform.node()}.{os.getpid()}")  # several machines may share the folder
