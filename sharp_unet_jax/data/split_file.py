"""Folds that the user brings: a JSON or CSV file with the fold of each image, or a workdir's folds.json."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import reading, spreadsheet

FORMS = (
    'give a CSV file of "id,fold" lines, a JSON file {"id": fold, ...}, the folds.json of a workdir, or the '
    "splits_final.json of nnU-Net"
)
# Headings of a CSV file that name a column.
COLUMNS = {"repeat": ("repeat",), "fold": ("fold",), "id": ("id", "image")}


class Cell(TypedDict):
    """An entry of `folds` in a workdir's folds.json."""

    repeat: int
    fold: int
    test: list[str]


class Division(TypedDict):
    """An entry of nnU-Net's splits_final.json."""

    val: list[str]


class Folds(TypedDict):
    """A workdir's folds.json."""

    group_of: NotRequired[dict[str, str]]  # of all images
    folds: list[Cell]


Tested = dict[str, dict[str, list[str]]]  # ids by repeat and fold, as the file calls them


def tests(path: Path, ids: Sequence[str], *, folds: int, repeats: int) -> dict[tuple[int, int], np.ndarray]:
    """Return the test images of each (repeat, fold) that the file `path` names.

    A file without repeats holds for every repeat. In a workdir's folds.json only the test images are read; images that
    none of its folds tests are trained on. The name of a volume stands for all its slices.

    Args:
        path: a JSON or CSV file, see FORMS. A CSV file may have a column `repeat`; its other columns are ignored.
        ids: names of the images; slices are called VOLUME-000, VOLUME-001 and so on.
        folds: the number of folds that the file must have.
        repeats: the number of repeats that it must have at least, unless it has no repeats.

    Returns:
        Sorted int64 indices into `ids`.

    Raises:
        InputError: naming the file, for another form, other images than `ids`, an image that is tested twice in a
            repeat, a fold without images, or another number of folds or repeats.
    """
    cells, named, repeated = _read(path, ids, folds, repeats)
    _check_images(path, named, ids)
    index = {name: number for number, name in enumerate(ids)}
    found = {cell: np.sort(np.array([index[image] for image in images], np.int64)) for cell, images in cells.items()}
    if repeated:
        return found
    return {(repeat, fold): found[0, fold] for repeat in range(repeats) for fold in range(folds)}


def check(path: Path, *, folds: int, repeats: int) -> None:
    """Refuse a file that fits no data set, as `tests` does. Raises InputError."""
    _read(path, (), folds, repeats)


def _read(
    path: Path, ids: Sequence[str], folds: int, repeats: int
) -> tuple[dict[tuple[int, int], list[str]], set[str], bool]:
    """Return the test images by (repeat, fold), all images that the file names, and True if it has repeats.

    The file may name volumes of the images `ids`, and in cells of a CSV file also their suffix. Raises InputError.
    """
    if not path.is_file():
        raise InputError(f"split: there is no file {str(path)!r}; say folds or authors, or {FORMS}")
    slices = _slices(ids)
    known = {*ids, *slices}
    tested, named, repeated = _json(path, known) if path.suffix.lower() == ".json" else _csv(path, known)
    for cells in tested.values():
        cells |= {fold: _whole(names, slices) for fold, names in cells.items()}
    named = set(_whole(named, slices))
    _check_once(path, tested)
    if repeated and len(tested) < repeats:
        raise InputError(
            f"{path}: set repeats={len(tested)} or less, the number of repeats in it, instead of {repeats}"
        )
    found = {}
    for repeat, label in enumerate(_ordered(tested)[:repeats]):
        cells = tested[label]
        if len(cells) != folds:
            raise InputError(f"{path}: set folds={len(cells)}, the number of folds in it, instead of {folds}")
        for fold, name in enumerate(_ordered(cells)):
            if not cells[name]:
                raise InputError(f"{path}: fold {name} has no images")
            found[repeat, fold] = cells[name]
    return found, named, repeated


def _slices(ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the images of each volume, by its name, for images that are called VOLUME-000 and so on."""
    slices: dict[str, list[str]] = {}
    for name in ids:
        if (volume := re.sub(r"-\d{3,}$", "", name)) != name:
            slices.setdefault(volume, []).append(name)
    return {volume: names for volume, names in slices.items() if volume not in ids}


def _whole(names: Iterable[str], slices: Mapping[str, list[str]]) -> list[str]:
    """Return names of images, with all slices in place of a volume."""
    return [image for name in names for image in slices.get(name, [name])]


def _json(path: Path, ids: Iterable[str]) -> tuple[Tested, set[str], bool]:
    """Return the test images, all images that the file names, and True if it has repeats.

    Names of the images `ids` may have their accents encoded in another way.
    """
    by_name = spreadsheet.by_name(ids)

    def known(names: Iterable[str]) -> list[str]:
        return [by_name.get(unicodedata.normalize("NFC", name), name) for name in names]

    content: Any = reading.read_json(path, Any, remedy=FORMS)
    if isinstance(content, list):
        divisions = reading.read_json(path, list[Division], remedy=FORMS)
        cells = {str(fold): known(division["val"]) for fold, division in enumerate(divisions)}
        return {"": cells}, {name for names in cells.values() for name in names}, False
    content = reading.read_json(path, dict, remedy=FORMS)
    if not isinstance(content.get("folds"), list):
        fold_of = reading.read_json(path, dict[str, int | str], remedy=FORMS)
        names = zip(known(fold_of), fold_of.values(), strict=True)
        return *_by_fold(path, (("", str(fold), name) for name, fold in names)), False
    folds = reading.read_json(path, Folds, remedy=FORMS)
    tested: Tested = {}
    for cell in folds["folds"]:
        cells = tested.setdefault(str(cell["repeat"]), {})
        cells.setdefault(str(cell["fold"]), []).extend(known(cell["test"]))
    tests = {name for cells in tested.values() for names in cells.values() for name in names}
    return tested, tests | set(known(folds.get("group_of", ()))), True


def _csv(path: Path, ids: Iterable[str]) -> tuple[Tested, set[str], bool]:
    """Return what `_json` returns; cells may name the images `ids` with their suffix."""
    reading.check_size(path, FORMS)
    try:
        header, *lines = spreadsheet.rows(path.read_bytes()) or [[]]
        place = spreadsheet.columns(header, COLUMNS)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a CSV file ({error}): {FORMS}") from error
    if not {"id", "fold"} <= place.keys():
        raise InputError(f"{path}: its first line {','.join(header)!r} does not name the columns id and fold: {FORMS}")
    known, rows = spreadsheet.by_name(ids), []
    for line in lines:
        row = {name: line[index] for name, index in place.items() if index < len(line)}
        if missing := [name for name in place if not row.get(name)]:
            raise InputError(f"{path}: the line {','.join(line)!r} has no {missing[0]}")
        rows.append((row.get("repeat", ""), row["fold"], spreadsheet.find(row["id"], known) or row["id"]))
    return *_by_fold(path, rows), "repeat" in place


def _by_fold(path: Path, rows: Iterable[tuple[str, str, str]]) -> tuple[Tested, set[str]]:
    """Return rows of repeat, fold and id as test images by fold, and all ids, which each repeat must name."""
    tested: Tested = {}
    for repeat, fold, name in rows:
        tested.setdefault(repeat, {}).setdefault(fold, []).append(name)
    of_repeat = [{name for names in cells.values() for name in names} for cells in tested.values()]
    every = set().union(*of_repeat)
    for names in of_repeat:
        if every - names:
            raise InputError(f"{path}: {min(every - names)!r} has a fold in one repeat and none in another")
    return tested, every


def _check_once(path: Path, tested: Tested) -> None:
    """Refuse an image that two folds of a repeat test, or one fold twice."""
    for cells in tested.values():
        for name, times in Counter(name for images in cells.values() for name in images).items():
            if times > 1:
                raise InputError(f"{path}: {name!r} is there {times} times; an image has one fold in a repeat")


def _check_images(path: Path, named: set[str], ids: Sequence[str]) -> None:
    """Refuse a file that lacks images of the data set, or names others."""
    unknown = sorted(named - set(ids))
    if missing := sorted(set(ids) - named):
        others = f"; it names {unknown[0]!r}, which no image is called" if unknown else ""
        raise InputError(f"{path}: no fold for {len(missing)} of the {len(ids)} images, such as {missing[0]!r}{others}")
    if unknown:
        raise InputError(f"{path}: the data set has no image {unknown[0]!r} ({len(unknown)} such ids)")


def _ordered(labels: Mapping[str, Any]) -> list[str]:
    """Return names of folds in the order of their numbers, as text unless all are whole numbers."""
    return sorted(labels, key=(lambda label: (int(label), label)) if all(map(str.isdecimal, labels)) else None)
