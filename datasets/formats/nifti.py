"""NIfTI: a volume as axial slices from the feet up. The mask has the same shape and affine."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from nibabel import orientations

from datasets.files import DataError
from datasets.formats import tif
from datasets.formats.stack import Stack
from sharp_unet_jax.storage.atomic import replacing

SUFFIXES = (".nii", ".nii.gz")
MASK = PROBABILITIES = ".nii.gz"
OVERLAYS = ".tif"  # one file of all slices to scroll through
# A radiologist's axial slices: columns run to the patient's left, rows to the back, slices to the head.
AXIAL = orientations.axcodes2ornt("LPS")
MILLIMETRES = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}


write_overlays = tif.write_overlays


class Origin(NamedTuple):
    """The place of a volume's voxels in the patient."""

    header: Any
    affine: np.ndarray
    axes: np.ndarray  # orientation of the stored axes, as nibabel has it


def read(paths: Sequence[Path]) -> Stack:
    """Return the axial slices, from the feet up; without an orientation in the file, the slices of its last axis.

    Raises DataError for a file that is no NIfTI or holds more than one volume.
    """
    (path,) = paths
    try:
        image: Any = nibabel.load(path)
        voxels, header = np.asanyarray(image.dataobj), image.header
        placed = bool(header["qform_code"] or header["sform_code"])
        axes = orientations.io_orientation(image.affine) if placed else AXIAL
    except Exception as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: cannot be read as NIfTI ({reason}); it is damaged, cut short, or of another kind"
        ) from error
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or voxels.dtype.fields:
        kind = f"of shape {voxels.shape} and dtype {voxels.dtype}"
        raise DataError(f"{path}: is {kind}, not one volume of numbers; save its volumes apart")
    turn = orientations.ornt_transform(axes, AXIAL)
    slices = orientations.apply_orientation(voxels, turn).transpose(2, 1, 0)
    unit = MILLIMETRES.get(header.get_xyzt_units()[0], 1.0 if placed else None)
    sides = [float(side) for side, axis in zip(header.get_zooms()[:3], turn[:, 0], strict=True) if axis != 2]
    area = None if unit is None else sides[0] * sides[1] * unit**2
    return Stack(slices, area, Origin(header, image.affine, axes))


def write_masks(path: Path, labels: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Write labels (slices, H, W) uint8 as a volume with the affine of the one that was read."""
    del classes
    _write(path, _as_stored(labels, stack.origin), stack.origin)


def write_probabilities(path: Path, probabilities: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Write probabilities (slices, H, W, num_classes) float32; several classes are volumes along the fourth axis."""
    del classes
    volumes = [_as_stored(probabilities[..., k], stack.origin) for k in range(probabilities.shape[-1])]
    _write(path, np.stack(volumes, axis=-1) if len(volumes) > 1 else volumes[0], stack.origin)


def _as_stored(slices: np.ndarray, origin: Origin) -> np.ndarray:
    return orientations.apply_orientation(slices.transpose(2, 1, 0), orientations.ornt_transform(AXIAL, origin.axes))


def _write(path: Path, voxels: np.ndarray, origin: Origin) -> None:
    header = origin.header.copy()
    header.set_data_dtype(voxels.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0  # they are the display window of the volume that was read
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(kind(voxels, origin.affine, header).to_bytes(), compresslevel=6, mtime=0))
