"""The folders of the user's images and masks, and the names of the files in them."""

import contextlib
from dataclasses import replace
from pathlib import Path

from datasets import files
from datasets.folder import groups, matching, nnunet, proposal, table, walk
from datasets.folder.names import Named
from datasets.folder.settings import Settings


def complete(given: Settings) -> Settings:
    """Return the settings with both folders, and with what nnU-Net's names and its dataset.json say.

    The folders are those given, or are in the only one given: this is one of nnU-Net's, or holds `images/` and
    `masks/`, or holds all files, where a pattern tells masks from images. There is no folder where a table names the
    files. Raises DataError.
    """
    if given.table is not None:
        if given.images or given.masks:
            raise files.DataError(f"{given.table}: names images and masks, so leave out data.images and data.masks")
        if given.groups == groups.FOLDERS:
            raise files.DataError(f"{given.table}: data.groups=folders is for images in folders; add a column group")
        return given
    given = _with_folders(given)
    if given.channel_files:
        return given
    with contextlib.suppress(files.DataError):  # `pairs` raises it again
        images, masks = names(given, series=False)
        joined = replace(given, channel_files=matching.numbered(images))
        plain, better = (matching.match(images, masks, each).pairs for each in (given, joined))
        return joined if better > plain == 0 else given  # the frames of a video have such names, too
    return given


def _with_folders(given: Settings) -> Settings:
    images = given.images
    if images is None:
        raise files.MissingError("the data set 'folder' needs images, the folder of your images")
    pattern = any(getattr(given, affix) for affix in proposal.AFFIXES)
    if given.masks is not None:
        if given.masks.resolve() == images.resolve() and not pattern:
            raise files.DataError(f"{images}: images and masks are one folder, so each image would be its own mask")
        return given
    if not images.is_dir():
        raise files.DataError(f"{images}: no such folder; check the path")
    if nnunet.is_one(images):
        return nnunet.settings(given, images)
    missing = [name for name in ("images", "masks") if not (images / name).is_dir()]
    if missing and not pattern:
        found = ""
        with contextlib.suppress(files.DataError):
            found = proposal.of_one(walk.named(images, walk.listing(images), series=False), given)
        wrong = f"{images}: holds no folder '{missing[0]}'; name the folder of the masks, or add '{missing[0]}'"
        raise files.DataError(wrong + (f"; or give {found}" if found else ""))
    return replace(given, masks=images) if missing else replace(given, images=images / "images", masks=images / "masks")


def called(given: Settings) -> str:
    """Return a name for the data: that of the table, of the folder of images, or of the one around `images`."""
    if given.table is not None:
        return given.table.stem
    top = (given.images or Path()).resolve()
    return top.parent.name if top.name == "images" else top.name


def names(given: Settings, *, series: bool) -> tuple[list[Named], list[Named]]:
    """Return the names of images and of masks, of complete settings; with `series`, a DICOM series has one name.

    Raises DataError where a folder holds no pictures.
    """
    assert given.images is not None  # `complete` sees to it
    assert given.masks is not None
    images = walk.named(given.images, walk.listing(given.images), series=series)
    if given.masks.resolve() == given.images.resolve():
        return matching.split(images, given)
    keep = {*given.class_files, *(folder for image in images for folder in image.folders)}
    return images, walk.named(given.masks, walk.listing(given.masks), series=series, every=True, keep=keep)


def paths(given: Settings) -> list[Path]:
    """Return all images and masks that may be read, of complete settings."""
    if given.table is not None:
        return [file for row in table.rows(given.table, []) for file in (*row.image, *row.mask)]
    return [path for folder in folders(given) for path in walk.listing(folder)]


def folders(given: Settings) -> list[Path]:
    """Return the folders of images and masks, of complete settings: two, one for both, or none."""
    return list(dict.fromkeys(folder for folder in (given.images, given.masks) if folder))


def no_text(given: Settings) -> list[str]:
    """Return a fault for each file or folder whose name is no text; `names` leaves these out."""
    return [fault for folder in folders(given) for fault in walk.no_text(folder, walk.listing(folder))]
