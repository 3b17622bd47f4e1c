"""NIfTI: a picture, or a volume as slices. The mask has the same shape and affine."""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from nibabel import orientations

from datasets.errors import DataError
from datasets.formats import tif
from datasets.formats.stack import PLAIN, Header, How, Spacing, Stack, check_size, reading
from sharp_unet_jax.storage.atomic import replacing

SUFFIXES = (".nii", ".nii.gz")
MASK = PROBABILITIES = MAP = ".nii.gz"
OVERLAYS = ".tif"  # one file of all slices to scroll through
# Directions in the patient (L left, P posterior, S superior, I inferior, R right) of a slice's columns and rows, and of
# the slices. As a radiologist looks at them: the patient's right is on the left, coronal and sagittal slices are
# upright, and sagittal ones look to the left.
SEEN = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIR"}
MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}  # by the header's code of a unit of length

write_overlays = tif.write_overlays


class Origin(NamedTuple):
    """The place of a volume's voxels in the patient."""

    header: Any
    affine: np.ndarray
    shape: tuple[int, ...]  # of the grid: two axes of a picture, or three
    turn: np.ndarray  # nibabel's orientation of (columns, rows, slices) in the stored axes


class _Layout(NamedTuple):
    """A file's layout, as its header has it."""

    image: Any
    grid: tuple[int, int, int]  # voxels along the stored axes
    channels: int
    dtype: np.dtype  # of the pixels, scaled as the header says
    turn: np.ndarray  # nibabel's orientation of the stored axes in (columns, rows, slices)
    placed: bool  # whether the file says where the voxels lie
    axes: str  # `Header.axes` of the slices
    size: tuple[int, int, int]  # slices, height, width
    spacing: Spacing | None  # of a slice's rows and columns


def header(paths: Sequence[Path], how: How = PLAIN) -> Header:
    """Return a volume's header; no voxel is decoded. Raises DataError."""
    (path,) = paths
    with reading(path, "NIfTI"), np.errstate(all="ignore"):  # a damaged header holds NaN
        layout = _layout(path, how)
        slices, height, width = layout.size
        to_stored = orientations.inv_ornt_aff(layout.turn, layout.grid)
        return Header(
            slices=slices,
            size=(width, height),
            channels=layout.channels,
            deep=layout.dtype not in (np.uint8, bool),
            kind=f"NIfTI {layout.dtype}" + (f" x {layout.channels}" if layout.channels > 1 else ""),
            grid=layout.image.affine @ to_stored if layout.placed else None,
            spacing=layout.spacing,
            apart=layout.channels > 1,  # its RGB has 8 bits, and no window
            axes=layout.axes,
            as_stored=np.array_equal(layout.turn, [[0, 1], [1, 1], [2, 1]]),
        )


def read(paths: Sequence[Path], how: How = PLAIN) -> Stack:
    """Return the picture, or the slices along the axis `how.axis`, see `SEEN`, or in the axes `how.seen`.

    Axial slices are in order from the feet up, coronal ones from front to back, sagittal ones from the patient's left
    to the right. A file without an orientation is read as if its axes ran to the left, to the back and up.

    Raises DataError for a file that is no NIfTI, or holds a series of volumes.
    """
    (path,) = paths
    with reading(path, "NIfTI"), np.errstate(all="ignore"):
        layout = _layout(path, how)
        image, turn = layout.image, layout.turn
        voxels = np.asanyarray(image.dataobj)
        if voxels.dtype.fields:
            voxels = np.stack([voxels[name] for name in "RGB"], axis=-1)
        voxels = voxels.reshape(*layout.grid, layout.channels)
        slices = orientations.apply_orientation(voxels, turn).transpose(2, 1, 0, 3)
        back = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), turn)  # "RAS" is the identity
    shape = tuple(map(int, image.shape[:2])) if len(image.shape) == 2 else layout.grid
    return Stack(slices, layout.spacing, Origin(image.header, image.affine, shape, back), ct=True)


def _layout(path: Path, how: How) -> _Layout:
    """Read a file's header. Raises DataError for other than one picture or volume, and for one that is too large."""
    image: Any = nibabel.load(path)
    grid, channels, dtype = _axes(path, image, how)
    placed = bool(image.header["qform_code"] or image.header["sform_code"])
    # The affine of a single picture that is a bare spacing, as np.eye(4), places it in no patient.
    bare = not placed or np.array_equal(image.affine, np.diag(np.abs(np.diag(image.affine))))
    picture = bare and grid[2] == 1
    stored = orientations.io_orientation(image.affine) if placed and not picture else orientations.axcodes2ornt("LPS")
    seen = SEEN["axial"] if picture else (how.seen if placed else "") or SEEN[how.axis]
    turn = orientations.ornt_transform(stored, orientations.axcodes2ornt(seen))
    width, height, slices = (grid[axis] for axis in np.argsort(turn[:, 0]))
    check_size(path, [slices, height, width], math.prod(grid) * channels * dtype.itemsize)
    if min(height, width) == 1 < max(grid):
        raise DataError(
            f"{path}: its {how.axis} slices are {width}x{height} pixels (width x height); choose another one of "
            f"{', '.join(SEEN)} by --config.data.axis"
        )
    unit = MILLIMETRES.get(int(image.header["xyzt_units"]) & 7, 1.0 if placed else None)
    sides = np.array(_sides(image))[np.argsort(turn[:, 0])].tolist()  # width, height, depth
    spacing = None if unit is None else (sides[1] * unit, sides[0] * unit)
    axes = seen if placed and not picture else ""
    return _Layout(image, grid, channels, dtype, turn, placed, axes, (slices, height, width), spacing)


def _axes(path: Path, image: Any, how: How) -> tuple[tuple[int, int, int], int, np.dtype]:
    """Return the grid, the channels and the dtype of the pixels, by the header. Raises DataError for more volumes."""
    shape, dtype, channels = list(map(int, image.shape)), image.get_data_dtype(), 1
    if (image.dataobj.slope, image.dataobj.inter) != (1, 0):
        dtype = np.result_type(dtype, np.float64)  # as nibabel scales
    if dtype.fields:
        channels, dtype = 3, np.dtype(np.uint8)  # RGB; alpha is dropped
    elif len(shape) == 5 and shape[3] == 1:
        channels = shape.pop()  # the fifth axis is that of a vector
    elif len(shape) == 4 and shape[3] > 1 and (how.pages == "channels" or how.channels == shape[3]):
        channels = shape.pop()  # a run has channels of which a folder of the Decathlon said that they are these
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) not in (2, 3) or dtype.kind not in "buif":
        kind = f"of shape {tuple(shape)} and dtype {dtype}"
        hint = "; if these are its channels, give --config.data.pages=channels" if len(shape) == 4 else ""
        raise DataError(f"{path}: is {kind}, not one volume of numbers; save its volumes apart{hint}")
    width, height, slices = [*shape, 1][:3]
    return (width, height, slices), channels, dtype


def _sides(image: Any) -> list[float]:
    """Return the sides of a voxel as they are in the file: nibabel makes 1 of 0 and drops signs."""
    with image.file_map["image"].get_prepare_fileobj("rb") as file:
        return [float(side) for side in type(image.header).from_fileobj(file, check=False)["pixdim"][1:4]]


def write_masks(path: Path, labels: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Write labels (slices, H, W) uint8 with the grid and the affine of the file that was read."""
    del classes
    _write(path, _as_stored(labels, stack.origin), stack.origin)


def write_probabilities(path: Path, probabilities: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Write probabilities (slices, H, W, num_classes) float32; several classes are volumes along the fourth axis."""
    del classes
    volumes = [_as_stored(probabilities[..., k], stack.origin) for k in range(probabilities.shape[-1])]
    if len(volumes) == 1:
        return _write(path, volumes[0], stack.origin)
    grids = [volume.reshape((*volume.shape, 1)[:3]) for volume in volumes]
    return _write(path, np.stack(grids, axis=-1), stack.origin)


def write_map(path: Path, values: np.ndarray, stack: Stack) -> None:
    """Write a value per pixel, (slices, H, W) float32, with the grid and the affine of the file that was read."""
    write_probabilities(path, values[..., None], stack, ())


def _as_stored(slices: np.ndarray, origin: Origin) -> np.ndarray:
    return orientations.apply_orientation(slices.transpose(2, 1, 0), origin.turn).reshape(origin.shape)


def _write(path: Path, voxels: np.ndarray, origin: Origin) -> None:
    header = origin.header.copy()
    header.set_data_dtype(voxels.dtype)
    header.set_slope_inter(1, 0)
    header["intent_code"] = 0  # that of a vector would be wrong
    header["cal_min"] = header["cal_max"] = 0  # they are the display window of the volume that was read
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(kind(voxels, origin.affine, header).to_bytes(), compresslevel=6, mtime=0))
