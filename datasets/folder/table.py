"""A table that pairs images and masks: a CSV file with the columns image,mask and perhaps id,group,fold."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from datasets import annotations, files, formats
from datasets.errors import DataError
from datasets.folder import groups, sheet
from datasets.folder.names import composed, first_few
from datasets.formats import dicom

NEEDED = {"image": ("image",), "mask": ("mask",)}
MORE = {"id": ("id",), "group": groups.COLUMNS["group"], "fold": ("fold",)}


class Row(NamedTuple):
    """A line of the table."""

    id: str
    image: tuple[Path, ...]
    mask: tuple[Path, ...]
    group: str  # "" where the table does not say


def rows(table: Path, faults: list[str] | None = None) -> list[Row]:
    """Return the lines of a table in natural order of their ids. Paths may be relative to the table's folder.

    Without a column `id`, an image's id is its name without suffix. Faults are raised as DataError or, where there is a
    list `faults`, added to it.
    """
    lines: list[dict[str, str]] = []
    with files.collecting(faults):
        lines = sheet.read(table, NEEDED, MORE)[0]
    found: dict[str, Row] = {}
    id_of: dict[Path, str] = {}  # by an image's first file
    for line in lines:
        with files.collecting(faults):
            row = _row(table, line)
            if row.id in found:
                hint = "remove one" if line["id"] else "give each its own in a column id"
                raise DataError(f"{table}: two images have the id {row.id}; {hint}")
            if (first := id_of.setdefault(row.image[0].resolve(), row.id)) != row.id:
                both = f"{first} and {row.id} are one image, {row.image[0]}"
                raise DataError(f"{table}: {both}; remove one")
            found[row.id] = row
    for file in dict.fromkeys(row.mask[0] for row in found.values() if annotations.are(row.mask) and len(row.mask) > 1):
        own = {row.image[0]: row.id for row in found.values() if row.mask[0] == file}
        for image in own.keys() - annotations.pair(list(own), table.parent, file, faults).keys():
            del found[own[image]]
    if len({bool(row.group) for row in found.values()}) > 1:
        without = first_few(row.id for row in found.values() if not row.group)
        with files.collecting(faults):
            raise DataError(f"{table}: no group for {without}; give each image one, or none")
    return sorted(found.values(), key=lambda row: files.natural(row.id))


def _row(table: Path, line: dict[str, str]) -> Row:
    image, mask = (_path(table, line[name]) for name in ("image", "mask"))
    for path in (image, mask):
        if not path.exists():
            raise DataError(f"{table}: there is no file {path}")
    masks = annotations.of(image, mask) if annotations.are([mask]) else _files(mask)
    return Row(line["id"] or formats.stem(image), _files(image), masks, composed(line["group"]))


def _path(table: Path, cell: str) -> Path:
    """Return the path that a cell names, with the backslashes of Windows as slashes where only that is there."""
    ways = (cell, cell.replace("\\", "/"))
    path, other = (files.spelled(table.parent / os.path.expanduser(way)) for way in ways)
    return path if path.exists() or not other.exists() else other


def _files(path: Path) -> tuple[Path, ...]:
    """Return a file, or the files of the one DICOM series in a folder. Raises DataError for another folder."""
    if not path.is_dir():
        return (path,)
    inside = [each for each in path.iterdir() if formats.family(each) is dicom]
    if len(series := dicom.series(inside, path)) != 1:
        raise DataError(f"{path}: is no file, and no folder of one DICOM series")
    return series[0][1]


def notes(table: Path) -> list[str]:
    """Return notes on columns that are not read, and on folds."""
    lines, ignored = sheet.read(table, NEEDED, MORE)
    found = sheet.ignored(table, ignored) + groups.alike(table, (line["group"] for line in lines))
    often = Counter(_path(table, line["mask"]) for line in lines)
    if several := [str(path) for path, number in often.items() if number > 1 and not annotations.are([path])]:
        found.append(f"{table}: {first_few(several)} are masks of several images each: is that meant?")
    if folds := {line["fold"] for line in lines} - {""}:
        found.append(f"{table}: its column fold is used with --config.split={table} --config.folds={len(folds)}")
    return found
