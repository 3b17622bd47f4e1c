"""NIfTI: a volume as axial slices from the feet up. The mask has the same shape and affine."""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from nibabel import orientations

from datasets.files import DataError
from datasets.formats import tif
from datasets.formats.stack import PLAIN, Header, How, Stack, check_size, pixel_area, reading
from sharp_unet_jax.storage.atomic import replacing

SUFFIXES = (".nii", ".nii.gz")
MASK = PROBABILITIES = ".nii.gz"
OVERLAYS = ".tif"  # one file of all slices to scroll through
# A radiologist's axial slices: columns run to the patient's left, rows to the back, slices to the head.
AXIAL = orientations.axcodes2ornt("LPS")
MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}  # by the header's code of a unit of length

write_overlays = tif.write_overlays


class Origin(NamedTuple):
    """The place of a volume's voxels in the patient."""

    header: Any
    affine: np.ndarray
    axes: np.ndarray  # orientation of the stored axes, as nibabel has it


def header(paths: Sequence[Path], how: How = PLAIN) -> Header:
    """Return a volume's header. Raises DataError."""
    pictures = read(paths, how).pictures
    slices, height, width, channels = pictures.shape
    deep = pictures.dtype not in (np.uint8, bool)
    return Header(slices, (width, height), channels, deep, f"NIfTI {pictures.dtype}")


def read(paths: Sequence[Path], how: How = PLAIN) -> Stack:
    """Return the axial slices, from the feet up; without an orientation in the file, the slices of its last axis.

    Raises DataError for a file that is no NIfTI or holds more than one volume.
    """
    del how
    (path,) = paths
    with reading(path, "NIfTI"), np.errstate(all="ignore"):  # a damaged header holds NaN
        image: Any = nibabel.load(path)
        header, shape = image.header, _volume(path, image)
        placed = bool(header["qform_code"] or header["sform_code"])
        axes = orientations.io_orientation(image.affine) if placed else AXIAL
        turn = orientations.ornt_transform(axes, AXIAL)
        x, y, z = np.argsort(turn[:, 0])  # the stored axes that become columns, rows and slices
        check_size(path, [shape[axis] for axis in (z, y, x)], math.prod(shape) * image.get_data_dtype().itemsize)
        voxels = np.asanyarray(image.dataobj).reshape(shape)
        slices = orientations.apply_orientation(voxels, turn).transpose(2, 1, 0)
        unit = MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0 if placed else None)
        sides = _sides(image)
    area = None if unit is None else pixel_area(sides[y] * unit, sides[x] * unit)
    return Stack(slices[..., None], area, Origin(header, image.affine, axes))


def _volume(path: Path, image: Any) -> tuple[int, ...]:
    """Return the shape of the only volume, by the header. Raises DataError for another number of volumes."""
    shape, dtype = tuple(map(int, image.shape)), image.get_data_dtype()
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or dtype.fields:
        kind = f"of shape {shape} and dtype {dtype}"
        raise DataError(f"{path}: is {kind}, not one volume of numbers; save its volumes apart")
    return shape


def _sides(image: Any) -> list[float]:
    """Return the sides of a voxel as they are in the file: nibabel makes 1 of 0 and drops signs."""
    with image.file_map["image"].get_prepare_fileobj("rb") as file:
        return [float(side) for side in type(image.header).from_fileobj(file, check=False)["pixdim"][1:4]]


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
