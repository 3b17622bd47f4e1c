"""The group of each image, from a table, or from the folders that images lie in."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from datasets import files
from datasets.errors import DataError
from datasets.folder import sheet
from datasets.folder.names import Named, composed, first_few, plain
from sharp_unet_jax.storage import spreadsheet

FOLDERS = Path("folders")  # the setting that takes the folders below that of the images for groups
# Headings that cannot mean anything else; "case" may be an image or a patient.
COLUMNS = {"id": ("id", "image", "image_id", "filename"), "group": ("group", "patient", "patient_id")}


def groups(table: Path | None, ids: Sequence[str]) -> dict[str, str]:
    """Return the group of each id, from a CSV file with the columns `id,group`; {} where no table is given.

    An image may be named with its suffix, and a volume by each of its slices, VOLUME-000 and so on. Raises DataError
    for a file of another form, and unless it names each id, and no other, with one group.
    """
    if table is None or table == FOLDERS:
        return {}
    known = spreadsheet.by_name(ids)
    group_of: dict[str, str] = {}
    unknown: list[str] = []
    for line in sheet.read(table, COLUMNS)[0]:
        name, group = line["id"], composed(line["group"])
        found = spreadsheet.find(name, known) or spreadsheet.find(re.sub(r"-\d{3,}$", "", name), known)
        if found is None:
            unknown.append(name)
        elif group_of.setdefault(found, group) != group:
            raise DataError(f"{table}: {name} is in group {group_of[found]} and in group {group}; remove one line")
    unknown.sort(key=files.natural)
    if missing := [name for name in ids if name not in group_of]:
        others = f"; its lines name {first_few(unknown)}, which no image is called" if unknown else ""
        raise DataError(f"{table}: no group for {first_few(missing)}; add a line for each image{others}")
    if unknown:
        raise DataError(f"{table}: no image is called {first_few(unknown)} (ids are file names without suffix)")
    return {name: group_of[name] for name in ids}


def folder(image: Named) -> str:
    """Return the outermost folder that an image lies in; "" where it lies in none."""
    return composed(image.folders[0]) if image.folders else ""


def notes(table: Path | None) -> list[str]:
    """Return notes on columns of the table of groups that are not read, and on groups that may be one."""
    if table is None or table == FOLDERS:
        return []
    lines, ignored = sheet.read(table, COLUMNS)
    return sheet.ignored(table, ignored) + alike(table, (line["group"] for line in lines))


def alike(where: Path, named: Iterable[str]) -> list[str]:
    """Return a note on groups whose names differ only in case, blanks, or zeros of numbers, if there are any."""
    spellings: dict[str, set[str]] = {}
    for group in map(composed, named):
        numbers = re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"(?<=\d)\.0+$", "", plain(group)))
        spellings.setdefault(" ".join(numbers.split()), set()).add(group)
    several = [repr(group) for groups in spellings.values() if len(groups) > 1 for group in sorted(groups)]
    return [f"{where}: {first_few(several)} are different groups: if some are one, write it in one way"] * bool(several)
