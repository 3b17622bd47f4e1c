"""The built sets on this machine: listed with their sizes, and deleted.

Other programs may keep sets of TFDS in the same folder: those are neither listed nor deleted.
"""

import difflib
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from datasets.errors import DataError

DESCRIPTION = "dataset_info.json"  # TFDS writes it into every built set
PREPARED = "prepared-"  # beginning of the folders of resized images and masks in a built set


class Kept(NamedTuple):
    """A built set."""

    name: str  # "isbi2012", "covid19_ct/semiseg", "folder/lungs-6f2a"
    folder: Path
    built: int  # bytes of its images and masks
    prepared: dict[str, int]  # bytes by the way in which they were resized, "128x128-stretch"


def sets(top: Path, builders: Collection[str]) -> list[Kept]:
    """Return the sets of `builders` in a folder of built sets, by name."""
    found = []
    for description in sorted(top.glob(f"*/*/{DESCRIPTION}")) + sorted(top.glob(f"*/*/*/{DESCRIPTION}")):
        folder = description.parent  # TOP/NAME/VERSION or TOP/NAME/CONFIG/VERSION
        if folder.relative_to(top).parts[0] not in builders:
            continue
        prepared = {path.name.removeprefix(PREPARED): size(path) for path in folder.glob(f"{PREPARED}*")}
        name = folder.parent.relative_to(top).as_posix()
        found.append(Kept(name, folder, size(folder) - sum(prepared.values()), dict(sorted(prepared.items()))))
    return sorted(found)


def describe(top: Path, builders: Collection[str]) -> str:
    """Return a table of the sets of `builders`, or a line that says that there are none."""
    known = sets(top, builders)
    if not known:
        return f"no built sets in {top}"
    width = max(len(one.name) for one in known)
    lines = [
        f"{one.name:{width}}  {megabytes(one.built):>10}"
        + "".join(f"; prepared {how}, {megabytes(number)}" for how, number in one.prepared.items())
        for one in known
    ]
    whole = megabytes(sum(one.built + sum(one.prepared.values()) for one in known))
    return "\n".join([*lines, f"{len(known)} built set{'s' * (len(known) > 1)}, {whole}, in {top}"])


def clear(top: Path, name: str, builders: Collection[str]) -> str:
    """Delete the built set `name`, or all sets of `builders` ("all"), and return what was deleted.

    Raises DataError for another name.
    """
    known = sets(top, builders)
    chosen = [one for one in known if name in ("all", one.name)]
    if not chosen and name != "all":
        near = difflib.get_close_matches(name, [one.name for one in known], n=1, cutoff=0)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(f"no built set {name!r:.200} in {top}{hint}")
    for one in chosen:
        shutil.rmtree(one.folder)
    freed = sum(one.built + sum(one.prepared.values()) for one in chosen)
    return f"deleted: {', '.join(one.name for one in chosen) or 'nothing'} ({megabytes(freed)})"


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def megabytes(number: int) -> str:
    """Return a number of bytes as one reads it: "0.4 MB", "12 MB", "3.1 GB"."""
    if number >= 1e9:
        return f"{number / 1e9:,.1f} GB"
    return f"{number / 1e6:.1f} MB" if number < 1e7 else f"{number / 1e6:.0f} MB"
