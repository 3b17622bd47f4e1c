"""The grids in which the voxels of two files lie: the slices of one file must be those of the other."""

from itertools import product
from pathlib import Path

import numpy as np

from datasets.errors import DataError
from datasets.formats.stack import Header

NEAR = 0.5  # of a voxel's shortest side: voxels that lie farther apart could be others


def check(one: Header, other: Header, path: Path, where: Path) -> None:
    """Refuse files of equal size whose voxels lie apart in the patient, by their headers. Raises DataError.

    Args:
        one: header of the file `path`.
        other: header of the file `where`.
        path: the mask of an image, or a channel of it.
        where: the image, or its first channel.
    """
    if one.grid is not None and other.grid is not None:
        last = one.size[0] - 1, one.size[1] - 1, one.slices - 1
        corners = np.array([(*corner, 1) for corner in product(*((0, each) for each in last))])
        apart = np.linalg.norm((corners @ (one.grid - other.grid).T)[:, :3], axis=1).max()
        if not apart <= NEAR * np.linalg.norm(other.grid[:3, :3], axis=0).min():
            raise DataError(f"{path}: lies {apart:.3g} mm from {where.name}, by their affines; export both in one grid")
    elif (one.grid is None) != (other.grid is None):
        lost, known = (path, where) if one.grid is None else (where, path)
        raise DataError(
            f"{lost}: does not say where it lies in the patient, and {known.name} does, so they may be turned against "
            "each other; save both with one affine"
        )
