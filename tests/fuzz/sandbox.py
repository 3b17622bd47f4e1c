"""The folder that a case happens in: filled anew for each case, and compared before and after it.

arena/box holds the input, and `out`, `cwd`, `tmp` and `home` for the code under test. arena is there for what escapes
from the box.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from tests.fuzz.mutators.content import ELSEWHERE

OWN = ("out", "cwd", "tmp", "home")
Listing = dict[str, tuple[int, int, int]]  # mode, size and time by path


def begin(folder: Path) -> Path:
    """Return an empty box below `folder`."""
    _clear(folder)
    box = folder / "arena" / "box"
    for name in OWN:
        (box / name).mkdir(parents=True)
    return box


def restore(originals: Path, box: Path) -> None:
    """Give the box the content of `originals`, with the files' times."""
    _clear(box.parents[1])
    shutil.copytree(originals, box, symlinks=True)


def _clear(folder: Path) -> None:
    for path in (folder / "arena", ELSEWHERE):
        shutil.rmtree(path, ignore_errors=True)


def listing(box: Path, writable: tuple[str, ...]) -> Listing:
    """Return all files and folders of the arena, but for those below folders of the box that may be written."""
    found: Listing = {}
    skipped = {box / name for name in writable}
    for top in (box.parent, ELSEWHERE):
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if Path(folder, name) not in skipped]
            for path in (Path(folder), *(Path(folder, name) for name in files)):
                status = path.lstat()
                found[str(path)] = status.st_mode, status.st_size, status.st_mtime_ns
    return found


def keep(box: Path, folder: Path, text: Any) -> None:
    """Copy the box of a failing case to `folder`, with the file FAULT.txt."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(box, folder, symlinks=True, copy_function=_copy)
    (folder / "FAULT.txt").write_text(str(text), encoding="utf-8", errors="backslashreplace")


def _copy(source: str, target: str) -> None:
    """Copy a file, unless it is a pipe or larger than memory."""
    if os.path.isfile(source) and os.path.getsize(source) < 2**30:
        shutil.copy2(source, target)
