"""The content of a mask: an array of codes, each a grey value, a palette index or a colour."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from datasets import files, formats
from datasets.formats.stack import PLAIN, How

ROUNDING = 1e-3  # of whole numbers that were stored as floats, or with a slope
COLOUR = 1 << 24  # added to the code of a colour, 0xRRGGBB: no colour then equals a grey value


@dataclass(frozen=True)
class Summary:
    """One mask, summarised."""

    path: Path  # of its first file
    slices: int
    size: tuple[int, int]  # width, height
    values: np.ndarray  # its codes, ascending
    counts: np.ndarray  # pixels of each code
    palette: dict[int, int]  # the colour of each index in it; {} without a palette
    inverted: bool = False  # a TIF that asks to show 0 as white; the codes stay as they are
    jpeg: bool = False  # compressed with loss, whatever the file's name


def summarise(paths: Sequence[Path], how: How = PLAIN, *, indices: bool) -> Summary:
    """Read and summarise a mask; `indices` takes the indices of a palette, not its colours. Raises DataError."""
    path, codes = paths[0], read(paths, how, indices=indices)
    values, counts = _count(codes)
    palette, inverted, jpeg = {}, False, False
    if path.suffix.lower() in files.TIF:
        with tifffile.TiffFile(path) as tif:
            inverted = tif.pages.first.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    elif not _is_volume(path):
        with files.picture(path) as image:
            jpeg = image.format in ("JPEG", "MPO")
            if indices and image.mode in ("P", "PA"):
                table = np.array(image.getpalette("RGB")).reshape(-1, 3)
                palette = {int(v): int(_packed(table[v])) for v in values if v < len(table)}
    return Summary(path, len(codes), (codes.shape[2], codes.shape[1]), values, counts, palette, inverted, jpeg)


def read(paths: Sequence[Path], how: How = PLAIN, *, indices: bool) -> np.ndarray:
    """Return the codes of a mask, int32 (n, H, W). Raises DataError.

    A colour picture with R = G = B everywhere is read as a grey one. One bit becomes 0 and 255.
    """
    if _is_volume(paths[0]):
        return _volume(paths, how)
    (path,) = paths
    array = files.read_image(path, "RGB" if not indices and _has_palette(path) else None)
    array = array * np.uint8(255) if array.dtype == bool else array
    if array.ndim == 3:
        array = array[..., : {2: 1, 4: 3}.get(array.shape[-1])]  # alpha says nothing about classes
        if array.shape[-1] == 1 or (array == array[..., :1]).all():
            array = array[..., 0]
    if array.ndim != 2 and array.shape[2:] != (3,):
        raise files.DataError(f"{path}: is not one grey or colour picture but of shape {array.shape}; save it as PNG")
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int32)
    if (whole != array).any() or whole.min() < 0 or whole.max() > 65535:
        raise files.DataError(f"{path}: holds {array.min()} to {array.max()}; a mask holds whole numbers, 0 to 65535")
    if whole.ndim == 3 and whole.max() > 255:
        raise files.DataError(f"{path}: holds colours of more than 8 bits a channel; save it with 8")
    return (whole if whole.ndim == 2 else _packed(whole))[None]


def _volume(paths: Sequence[Path], how: How) -> np.ndarray:
    """Return the codes of a NIfTI or DICOM mask, int32 (n, H, W). Raises DataError.

    Floats may be off a whole number by what a slope in the header leaves.
    """
    labels = formats.read(paths, how).pictures
    if labels.shape[-1] != 1:
        raise files.DataError(f"{paths[0]}: a mask has one label a voxel, and this has {labels.shape[-1]} channels")
    with np.errstate(invalid="ignore"):
        whole = (np.rint(labels[..., 0]) if labels.dtype.kind == "f" else labels[..., 0]).astype(np.int32)
        if not (np.abs(whole - labels[..., 0]) < ROUNDING).all() or whole.min() < 0 or whole.max() > 65535:
            span = f"{labels.min():g} to {labels.max():g}"
            raise files.DataError(f"{paths[0]}: holds {span}; a mask holds whole numbers, 0 to 65535")
    return whole


def _is_volume(path: Path) -> bool:
    return formats.family(path) in (formats.nifti, formats.dicom)


def palettes_agree(masks: Iterable[Summary]) -> bool:
    """Say whether palette indices mean the same in all masks, so that they can be read as labels.

    Programs that shrink PNG files renumber the palette of each file, and some put black, the background, after another
    colour; then only the colours can be trusted.
    """
    colour_of: dict[int, int] = {}
    for mask in masks:
        for index, colour in mask.palette.items():
            if colour_of.setdefault(index, colour) != colour:
                return False
    return colour_of.get(0, COLOUR) == COLOUR or COLOUR not in colour_of.values()


def as_colours(values: np.ndarray) -> np.ndarray:
    """Return grey values as the codes of the same greys in RGB, and codes of colours unchanged."""
    return np.where(values < COLOUR, values * 0x010101 + COLOUR, values)


def _count(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if codes.max() >= COLOUR:
        return np.unique(codes, return_counts=True)
    counts = np.bincount(codes.ravel())  # ten times as fast
    return np.flatnonzero(counts), counts[counts > 0]


def _has_palette(path: Path) -> bool:
    if path.suffix.lower() in files.TIF:  # ImageJ adds palettes to TIFs for display alone
        return False
    with files.picture(path) as image:
        return image.mode in ("P", "PA")


def _packed(rgb: np.ndarray) -> np.ndarray:
    return rgb[..., 0] * 0x10000 + rgb[..., 1] * 0x100 + rgb[..., 2] + COLOUR
