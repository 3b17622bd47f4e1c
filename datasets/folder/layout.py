"""The folders of the user's images and masks, and the names of the files in them."""

import contextlib
from dataclasses import replace
from pathlib import Path

from datasets import annotations
from datasets.errors import DataError, MissingError
from datasets.folder import groups, matching, nnunet, proposal, table, walk
from datasets.folder.names import Named
from datasets.folder.settings import Settings
from datasets.formats import channel_files


def complete(given: Settings) -> Settings:
    """Return the settings with both folders, and with what nnU-Net's names and its dataset.json say.

    The folders are those given, or are in the only one given: this is one of nnU-Net's, or holds `images/` and
    `masks/`, or holds all files, where a pattern tells masks from images. There is no folder where a table names the
    files. Raises DataError.
    """
    if given.table is not None:
        if given.images or given.masks:
            raise DataError(f"{given.table}: names images and masks, so leave out data.images and data.masks")
        if given.groups == groups.FOLDERS:
            raise DataError(f"{given.table}: data.groups=folders is for images in folders; add a column group")
        if odd := [name for name in (*proposal.AFFIXES, "channel_files", "class_files") if getattr(given, name)]:
            raise DataError(f"{given.table}: names the file of each image, so leave out data.{odd[0]}")
        return given
    given = _with_folders(given)
    if given.channel_files or annotations_of(given):
        return given
    with contextlib.suppress(DataError):  # `pairs` raises it again
        images, masks = names(given, series=False)
        if not (numbered := channel_files.numbered(one.stem for one in images)):
            return given
        joined = replace(given, channel_files=numbered)
        plain, better = (matching.match(images, masks, each).pairs for each in (given, joined))
        return joined if better > plain == 0 else given  # the frames of a video have such names, too
    return given


def _with_folders(given: Settings) -> Settings:
    images = given.images
    if images is None:
        raise MissingError("the data set 'folder' needs images, the folder of your images")
    pattern = any(getattr(given, affix) for affix in proposal.AFFIXES)
    if given.masks is not None:
        same = given.masks.resolve() == images.resolve()
        if same and not (pattern or annotations.listing(images, images)):
            wrong = f"{images}: images and masks are one folder, so each image would be its own mask"
            raise proposal.of_one(wrong, _pictures(images), given)
        return given
    if walk.is_pattern(images):
        raise DataError(f"{images}: is a pattern of images; give data.masks, too: a pattern, a folder or a file")
    if not images.is_dir():
        raise walk.no_folder(images)
    if nnunet.is_one(images):
        return nnunet.settings(given, images)
    if not pattern and not (images / "masks").is_dir() and annotations.beside(images):
        return replace(given, masks=images)
    missing = [name for name in ("images", "masks") if not (images / name).is_dir()]
    if missing and not pattern:
        wrong = f"{images}: holds no folder '{missing[0]}'"
        wrong += f"; name the folder of the masks in data.masks, or add '{missing[0]}'"
        wrong += "".join(f"; or give --config.data.masks={each}" for each in annotations.whole(images))
        raise proposal.of_one(wrong, _pictures(images), given)
    return replace(given, masks=images) if missing else replace(given, images=images / "images", masks=images / "masks")


def _pictures(folder: Path) -> list[Named]:
    """Return the names of all pictures in a folder; [] where there are none."""
    with contextlib.suppress(DataError):
        return walk.named(folder, walk.listing(folder), series=False)
    return []


def called(given: Settings) -> str:
    """Return a name for the data: that of the table, of the folder of images, or of the one around `images`."""
    if given.table is not None:
        return given.table.stem
    top = (given.images or Path()).resolve()
    top = walk.top(top)
    return top.parent.name if top.name == "images" else top.name


def names(given: Settings, *, series: bool) -> tuple[list[Named], list[Named]]:
    """Return the names of images and of masks, of complete settings; with `series`, a DICOM series has one name.

    Raises DataError where a folder holds no pictures.
    """
    assert given.images is not None  # `complete` sees to it
    assert given.masks is not None
    images = walk.named(walk.top(given.images), walk.listing(given.images), series=series)
    if annotations_of(given):
        return images, []
    if given.masks.resolve() == given.images.resolve():
        return matching.split(images, given)
    keep = {*given.class_files, *(folder for image in images for folder in image.folders)}
    return images, walk.named(walk.top(given.masks), walk.listing(given.masks), series=series, every=True, keep=keep)


def paths(given: Settings) -> list[Path]:
    """Return all images and masks that may be read, of complete settings."""
    if given.table is not None:
        return [file for row in table.rows(given.table, []) for file in (*row.image, *row.mask)]
    return [path for folder in folders(given) for path in walk.listing(folder)] + annotations_of(given)


def folders(given: Settings) -> list[Path]:
    """Return the folders of pictures, of complete settings: two, or one, or none where a table names the files."""
    masks = None if annotations_of(given) else given.masks
    return list(dict.fromkeys(folder for folder in (given.images, masks) if folder))


def annotations_of(given: Settings) -> list[Path]:
    """Return the JSON files that hold the masks, of complete settings; [] where pictures do."""
    if given.images is None or given.masks is None or given.mask_prefix or given.mask_suffix:
        return []
    return annotations.listing(given.images, given.masks)


def no_text(given: Settings) -> list[str]:
    """Return a fault for each file or folder whose name is no text; `names` leaves these out."""
    return [fault for folder in folders(given) for fault in walk.no_text(walk.top(folder), walk.listing(folder))]
