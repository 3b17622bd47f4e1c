"""The mask and the group of each image of the user: by their names and folders, or by a table."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import annotations, files
from datasets.errors import DataError
from datasets.folder import groups, layout, matching, proposal, table, walk
from datasets.folder.matching import Match
from datasets.folder.names import Named, first_few
from datasets.folder.proposal import UnpairedError
from datasets.folder.settings import Settings


@dataclass(frozen=True)
class Pair:
    """An image and its mask."""

    id: str  # the image's name without suffix, after its folders where names alone are not unique
    image: tuple[Path, ...]  # one file, or the files of its channels, or of a DICOM series
    mask: tuple[Path, ...]  # one file, or one per class
    group: str = ""  # "" where the files do not say


def pairs(given: Settings, faults: list[str] | None = None) -> tuple[Pair, ...]:
    """Return all pairs in natural order. No file is dropped: one without its partner is a fault.

    Faults are raised as DataError or, where there is a list `faults`, added to it.
    """
    given = layout.complete(given)
    if given.table is not None:
        rows = table.rows(given.table, faults)
        if given.groups is not None and any(row.group for row in rows):
            with files.collecting(faults):
                raise DataError(f"{given.table}: has a column group, so leave out data.groups={given.groups}")
        return _apart([Pair(*row) for row in rows], faults)
    found, why = _match(given)
    for fault in why:
        with files.collecting(faults):
            raise fault
    mask_of = _masks(given, found, faults)
    whole = [image for image in mask_of if len(image.files) >= len(given.channel_files)]
    by_folder = given.groups == groups.FOLDERS
    if by_folder and (without := [found.id_of(image) for image in whole if not groups.folder(image)]):
        with files.collecting(faults):
            raise DataError(f"{given.images}: data.groups=folders, and {first_few(without)} lie in none below it")
    paired = [
        Pair(found.id_of(image), image.files, mask_of[image], groups.folder(image) if by_folder else "")
        for image in whole
    ]
    return _apart(sorted(paired, key=lambda pair: files.natural(pair.id)), faults)


def _apart(paired: Sequence[Pair], faults: list[str] | None) -> tuple[Pair, ...]:
    """Return the pairs of which the image is not its own mask; the others are a fault."""
    own = [pair for pair in paired if not annotations.are(pair.mask) and {*pair.image} & {*pair.mask}]
    with files.collecting(faults):
        if own:
            raise DataError(f"{own[0].image[0]}: is image and mask at once; name the masks in data.masks or table")
    return tuple(pair for pair in paired if pair not in own)


def _masks(given: Settings, found: Match, faults: list[str] | None) -> dict[Named, tuple[Path, ...]]:
    """Return the files of the mask of each image that has one."""
    if not layout.annotations_of(given):
        paired = ((image, found.masks_of.get(key, [])) for key, image in found.image_of.items())
        return {image: tuple(file for mask in masks for file in mask.files) for image, masks in paired if masks}
    assert given.images is not None  # `layout.complete` sees to it
    assert given.masks is not None
    image_of = {image.files[0]: image for image in found.image_of.values()}
    return {
        image_of[path]: mask
        for path, mask in annotations.pair(list(image_of), walk.top(given.images), given.masks, faults).items()
    }


def ids(given: Settings) -> list[str]:
    """Return the ids of all images, also of those without a mask."""
    given = layout.complete(given)
    if given.table is not None:
        return [row.id for row in table.rows(given.table, [])]
    found = _match(given)[0]
    return [found.id_of(image) for image in found.image_of.values()]


def describe(given: Settings) -> str:
    """Describe where images and masks are, and how they were paired, by complete settings: " in A with masks in B"."""
    if given.table is not None:
        return f" and masks, paired by the table {given.table}"
    where = "" if given.masks == given.images else f" with masks in {given.masks}"
    fields = {name: getattr(given, name) for name in proposal.AFFIXES if getattr(given, name)}
    pattern = " by " + " and ".join(f"{name}={value}" for name, value in fields.items()) if fields else " by name"
    channels = f", a file per channel ({', '.join(given.channel_files)})" if given.channel_files else ""
    classes = f", a file per class ({', '.join(given.class_files)})" if given.class_files else ""
    return f" in {given.images}{where}, paired{pattern}{channels}{classes}"


def notes(given: Settings) -> list[str]:
    """Return notes on what in folders and tables is not read, and on what subfolders may mean; of complete settings."""
    found = []
    with contextlib.suppress(DataError):  # `groups.groups` tells of it
        found += groups.notes(given.groups)
    if given.table is not None:
        return found + table.notes(given.table)
    drawn = layout.annotations_of(given)
    images, masks = layout.names(given, series=True)
    named = {*drawn, *(path for one in (*images, *masks) for path in one.files)}
    found += [note for folder in layout.folders(given) for note in walk.notes(folder, named)]
    if given.images is not None and given.masks in drawn:
        pictures = [path for image in images for path in image.files]
        if unused := annotations.unused(pictures, given.masks):
            found.append(
                f"{given.masks.name}: {len(unused)} of its images are not in the folder, and are not used: "
                f"{first_few(unused)}"
            )
    if left := [path for path in layout.paths(given) if path not in named]:
        found.append(f"{first_few(left)}: are DICOM files without pictures, and are skipped")
    inside = Counter(groups.folder(image) for image in images)
    if given.images is not None and given.groups == groups.FOLDERS:
        found += groups.alike(given.images, inside)
    if given.groups is None and len(inside) > 1 and max(inside.values()) > 1 and "" not in inside:
        sizes = f"{len(inside)} folders of {min(inside.values())} to {max(inside.values())}"
        found.append(f"images lie in {sizes}: if a folder is a patient, give --config.data.groups=folders")
    around = sorted({mask.folders[-1] for mask in masks if mask.folders})
    if not given.class_files and len(around) > 1 and not any(image.folders for image in images):
        found.append(
            f"masks lie in the folders {first_few(around)}, and images in none: if a folder is a class, give "
            f"--config.data.class_files={','.join(around)}"
        )
    return found


def unpaired(given: Settings) -> UnpairedError | None:
    """Return the error that names other settings by which files would pair that do not pair by these, if there is."""
    try:
        pairs(given)
    except UnpairedError as error:
        return error
    except DataError:
        pass
    return None


def _match(given: Settings) -> tuple[Match, list[DataError]]:
    """Match all files, of complete settings. Returns also the faults."""
    images, masks = layout.names(given, series=True)
    found = matching.match(images, masks, given)
    no_text = list(map(DataError, layout.no_text(given)))
    if layout.annotations_of(given):
        return found, no_text + list(map(DataError, found.faults))
    if not found.whole and any(len(one.files) > 1 for one in (*images, *masks)):
        apart = matching.match(*layout.names(given, series=False), given)
        if apart.whole:  # each slice of a DICOM series has a mask of its own
            return apart, no_text
    faults = [*found.faults]
    if any(found.unpaired):
        kinds = zip(("mask", "image"), (given.masks, given.images), found.unpaired, strict=True)
        unpaired = [
            f"no {kind} in {folder} for {first_few(one.name for one in left)}" for kind, folder, left in kinds if left
        ]
        remedy = (
            "add the missing files, leave these out by a pattern (data.images=FOLDER/*/image/*.png), or name the pairs"
        )
        faults.append(f"{'; '.join(unpaired)}; {remedy} in data.table")
    errors = list(map(DataError, faults))
    if faults and isinstance(better := proposal.of_two(faults[0], images, masks, given), UnpairedError):
        errors = [better]
    return found, no_text + errors
