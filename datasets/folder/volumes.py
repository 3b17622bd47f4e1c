"""Volumes and their masks, which must lie in one grid of voxels."""

from itertools import product

import numpy as np

from datasets import files, formats
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
    family, (path, *_) = formats.family(pair.image[0]), pair.mask
    if formats.family(path) is not formats.nifti or family not in (formats.nifti, formats.dicom):
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
    elif family is formats.nifti and (image.grid is None) != (mask.grid is None):
        lost, known = (path, pair.image[0]) if mask.grid is None else (pair.image[0], path)
        raise files.DataError(
            f"{lost}: does not say where it lies in the patient, and {known.name} does, so they may be turned against "
            "each other; save both with one affine"
        )


def times(slices: int) -> str:
    """Return " x 30 slices" for a size in a message, "" for a single picture."""
    return f" x {slices} slices" if slices > 1 else ""
