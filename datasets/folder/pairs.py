"""The mask and the group of each image of the user, matched by file name."""

import csv
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import annotations, files, formats
from datasets.folder.settings import Settings
from sharp_unet_jax.storage import spreadsheet

# Tools append these to an image's name to name its mask: "a.jpg" and "a_mask.png", "a-seg.png", "a_labels.tif".
ENDING = re.compile(r"[ _.-](masks?|seg|segmentation|labels?|labelmap|gt|groundtruth|ground_truth|annotation)$")


@dataclass(frozen=True)
class Pair:
    """An image and its mask."""

    id: str  # the image's name without suffix
    image: tuple[Path, ...]  # one file, or the files of its channels, or of a DICOM series
    mask: tuple[Path, ...]  # one file, or one a class
    group: str = ""  # "" where the files do not say


def folders(given: Settings) -> Settings:
    """Return the settings with both folders: as given, or `images/` and `masks/` in the only one given.

    Raises DataError.
    """
    images = given.images
    if images is None:
        raise files.MissingError("the data set 'folder' needs images, the folder of your images")
    if given.masks is not None:
        return given
    if not images.is_dir():
        raise files.DataError(f"{images}: no such folder; check the path")
    if not (images / "masks").is_dir() and annotations.beside(images):
        return replace(given, masks=images)
    for name in ("images", "masks"):
        if not (images / name).is_dir():
            raise files.DataError(f"{images}: holds no folder '{name}'; name the folder of the masks, or add '{name}'")
    return replace(given, images=images / "images", masks=images / "masks")


def pairs(given: Settings, faults: list[str] | None = None) -> tuple[Pair, ...]:
    """Return all pairs in natural order. No file is dropped: one without its partner is a fault.

    Faults are raised as DataError or, where there is a list `faults`, added to it.
    """
    given = folders(given)
    assert given.images is not None  # `folders` sees to it
    assert given.masks is not None
    images, masks = given.images, given.masks
    if annotations.listing(images, masks):
        found = annotations.pair(listing(images), images, masks, faults)
        return tuple(Pair(image.stem, (image,), mask) for image, mask in found.items())
    image_of: dict[str, Path] = {}
    for path in listing(images):
        with files.collecting(faults):
            _add(image_of, _key(path), path)
    if images.resolve() == masks.resolve():
        raise files.DataError(f"{images}: images and masks are one folder, so each image would be its own mask")
    mask_of: dict[str, Path] = {}
    for path in listing(masks):
        key = _key(path)
        with files.collecting(faults):
            _add(mask_of, key if key in image_of else ENDING.sub("", key), path)
    alone = [
        f"no {kind} in {folder} for {first_few(path.name for path in left)}"
        for kind, folder, left in (
            ("mask", masks, [path for key, path in image_of.items() if key not in mask_of]),
            ("image", images, [path for key, path in mask_of.items() if key not in image_of]),
        )
        if left
    ]
    if alone:
        with files.collecting(faults):
            raise files.DataError(f"{'; '.join(alone)}; add the missing files or remove these")
    return tuple(Pair(formats.stem(path), (path,), (mask_of[key],)) for key, path in image_of.items() if key in mask_of)


def listing(folder: Path) -> list[Path]:
    """Return the images in a folder, not its subfolders, in natural order. Raises DataError where there are none."""
    if not folder.is_dir():
        raise files.DataError(f"{folder}: no such folder; check the path")
    # macOS puts a dot file beside each real file.
    found = [p for p in folder.iterdir() if p.name.lower().endswith(formats.SUFFIXES) and not p.name.startswith(".")]
    if not found:
        below = sum(path.suffix.lower() in files.IMAGES for path in folder.rglob("*"))
        hint = f"; {below} are in its subfolders, which are not read" if below else ""
        raise files.DataError(f"{folder}: holds no images ({' '.join(files.IMAGES)}){hint}")
    return sorted(found, key=lambda path: (files.natural(path.stem), path.name))


def groups(table: Path, ids: Sequence[str]) -> dict[str, str]:
    """Return the group of each id, from a CSV file with the columns `id,group`. Spaces around both are stripped.

    Raises DataError for a file of another form, and unless it names each id, and no other, with one group.
    """
    try:
        with files.regular(table).open(
            newline="", encoding="utf-8-sig"
        ) as text:  # Excel starts its CSV files with a byte-order mark
            rows = [[spreadsheet.original(cell).strip() for cell in row] for row in csv.reader(text) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise files.DataError(f"{table}: cannot be read as a CSV file ({error})") from error
    if not rows or rows[0] != ["id", "group"]:
        first = ",".join(rows[0])[:80] if rows else ""
        raise files.DataError(f"{table}: the first line must be 'id,group', not {first!r}")
    wrong = [",".join(row) for row in rows[1:] if len(row) != 2 or "" in row or not all(map(is_text, row))]
    if wrong:
        raise files.DataError(f"{table}: every line is an id and its group, unlike {wrong[0][:80]!r}")
    group_of: dict[str, str] = {}
    for name, group in ((_normal(name), group) for name, group in rows[1:]):
        if group_of.setdefault(name, group) != group:
            raise files.DataError(f"{table}: {name} is in group {group_of[name]} and in group {group}; remove one line")
    missing = [i for i in ids if _normal(i) not in group_of]
    unknown = sorted(group_of.keys() - set(map(_normal, ids)), key=files.natural)
    if missing:
        raise files.DataError(f"{table}: no group for {first_few(missing)}; add a line for each image")
    if unknown:
        raise files.DataError(f"{table}: no image is called {first_few(unknown)} (ids are file names without suffix)")
    return {name: group_of[_normal(name)] for name in ids}


def first_few(names: Iterable[object]) -> str:
    """Return the first four names, and how many more there are, for a message."""
    shown = [str(name) for name in names]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def _key(path: Path) -> str:
    return unicodedata.normalize("NFC", formats.stem(path)).casefold()


def _normal(name: str) -> str:
    # macOS writes an accented letter as two characters, most other systems as one.
    return unicodedata.normalize("NFC", name).strip()


def is_text(name: str) -> bool:
    """Say whether a name is one line of text: no control characters, nor bytes that are not UTF-8."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)


def _add(path_of: dict[str, Path], key: str, path: Path) -> None:
    if not is_text(path.name):
        raise files.DataError(f"{path.parent}: the name {path.name!a} is not UTF-8, or no text; rename the file")
    if key in path_of:
        raise files.DataError(f"{path_of[key]} and {path.name} have the same name, {key}; remove one of them")
    path_of[key] = path
