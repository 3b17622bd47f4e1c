"""Volumes and their masks, which must lie in one grid of voxels."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from datasets import files, formats
from datasets.folder.names import first_few
from datasets.folder.pairs import Pair
from datasets.formats.stack import Header, How

NEAR = 0.5  # of a voxel's shortest side: voxels of a mask that lie farther off could be others


def check_grids(pair: Pair, image: Header, how: How) -> None:
    """Refuse a NIfTI mask that lies elsewhere in the patient than its image. Raises DataError.

    Args:
        pair: of equal sizes.
        image: header of its image.
        how: files are read.
    """
    path, placed = pair.mask[0], is_nifti(pair) or formats.family(pair.image[0]) is formats.dicom
    if not placed or formats.family(path) is not formats.nifti:
        return
    mask = formats.header(pair.mask, how)
    if image.grid is not None and mask.grid is not None:
        last = image.size[0] - 1, image.size[1] - 1, image.slices - 1
        corners = np.array([(*corner, 1) for corner in product(*((0, each) for each in last))])
        apart = np.linalg.norm((corners @ (image.grid - mask.grid).T)[:, :3], axis=1).max()
        if not apart <= NEAR * np.linalg.norm(image.grid[:3, :3], axis=0).min():
            raise files.DataError(
                f"{path}: lies {apart:.3g} mm from its image {pair.image[0].name}, by their affines; export the mask "
                "in the grid of the image"
            )
    elif is_nifti(pair) and (image.grid is None) != (mask.grid is None):
        lost, known = (path, pair.image[0]) if mask.grid is None else (pair.image[0], path)
        raise files.DataError(
            f"{lost}: does not say where it lies in the patient, and {known.name} does, so they may be turned against "
            "each other; save both with one affine"
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
