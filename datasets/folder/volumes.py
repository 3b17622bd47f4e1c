"""Volumes and their masks, which must lie in one grid of voxels."""

from collections.abc import Sequence

from datasets import formats
from datasets.errors import DataError
from datasets.folder.names import first_few
from datasets.folder.pairs import Pair
from datasets.formats import grid, search
from datasets.formats.stack import Header, How

# The format for the mask of an image that is read as it is stored, by the image's own.
KINDS = {formats.nifti: "NIfTI", formats.dicom: "TIF", formats.tif: "TIF", formats.picture: "PNG"}


def check_grids(pair: Pair, image: Header, how: How) -> None:
    """Refuse a mask that lies elsewhere in the patient than its image, or may be turned against it. Raises DataError.

    Args:
        pair: of equal sizes.
        image: header of its image.
        how: files are read.
    """
    family, mask = formats.family(pair.mask[0]), None
    if family is formats.nifti:
        mask = formats.header(pair.mask, how._replace(seen=image.axes))
        if is_nifti(pair) or image.grid is not None:  # a DICOM film lies nowhere
            grid.check(mask, image, pair.mask[0], pair.image[0])
    elif family is formats.dicom:
        mask = formats.header(pair.mask[:1], how)
        if mask.slices < image.slices:  # or each file is the mask of a class
            mask = formats.header(pair.mask, how)
        if is_nifti(pair) and image.grid is not None and mask.grid is not None:
            grid.check(mask, image, pair.mask[0], pair.image[0])
    if not (is_nifti(pair) and family is formats.nifti):
        _check_order(pair, image, mask)


def _check_order(pair: Pair, image: Header, mask: Header | None) -> None:
    """Refuse files of two kinds of which one is read as it lies in the patient, and the other as it is stored.

    `mask` is None for a picture, a TIF or annotations, which are all read as stored.
    """
    path, where = pair.mask[0], pair.image[0]
    family, same = formats.family(where), formats.family(path) is formats.family(where)
    stored = image.as_stored and (mask is None or mask.as_stored)
    lying = mask is not None and mask.axes == image.axes and (same or image.axes != "")
    if stored or lying:
        return
    if family is formats.dicom and search.is_output(path):
        return  # `launch.predict` writes its TIFs in the order in which it reads a series
    known, kind = (path, KINDS[family or formats.picture]) if image.as_stored else (where, "NIfTI")
    raise DataError(
        f"{path}: may be turned against {where.name}, or in reverse order: {known.name} is read as it lies in the "
        f"patient, and the other as it is stored; export the mask as {kind}"
    )


def is_nifti(pair: Pair) -> bool:
    """Say whether the image of a pair is a NIfTI file."""
    return formats.family(pair.image[0]) is formats.nifti


def notes(scanned: Sequence[tuple[Pair, Header]]) -> list[str]:
    """Say which volumes do not say where they lie."""
    lost = [pair.id for pair, header in scanned if is_nifti(pair) and header.slices > 1 and header.grid is None]
    if not lost:
        return []
    return [
        f"by their headers, it is not known where the volumes {first_few(lost)} lie in the patient; their last axis is "
        "taken for that of axial slices: check on the contact sheet that these are upright"
    ]


def times(slices: int) -> str:
    """Return " x 30 slices" for a size in a message, "" for a single picture."""
    return f" x {slices} slices" if slices > 1 else ""
