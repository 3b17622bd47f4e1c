"""Volumes and their masks, which must lie in one grid of voxels."""

from collections.abc import Sequence

from datasets import formats
from datasets.folder.names import first_few
from datasets.folder.pairs import Pair
from datasets.formats import grid
from datasets.formats.stack import Header, How


def check_grids(pair: Pair, image: Header, how: How) -> None:
    """Refuse a NIfTI mask that lies elsewhere in the patient than its image. Raises DataError.

    Args:
        pair: of equal sizes.
        image: header of its image.
        how: files are read.
    """
    known = is_nifti(pair) or image.grid is not None  # a DICOM film lies nowhere
    if known and formats.family(pair.mask[0]) is formats.nifti:
        mask = formats.header(pair.mask, how._replace(seen=image.axes))
        grid.check(mask, image, pair.mask[0], pair.image[0])


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
