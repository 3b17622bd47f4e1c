"""DICOM: a file, or the slices of a series. The mask is a DICOM SEG that refers to them. Needs the extra `dicom`."""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.errors import DataError
from datasets.formats import dicom_file, dicom_place, dicom_seg, dicom_series, tif
from datasets.formats.dicom_file import load
from datasets.formats.stack import PLAIN, Header, How, Stack, check_size, reading

SUFFIXES = dicom_series.SUFFIXES
MASK = PROBABILITIES = ".dcm"
MEASURED = ("CT", "PT")  # modalities whose values are Hounsfield units or an uptake, however they are shown
MAP = OVERLAYS = ".tif"  # one file of all slices to scroll through
is_dicom, series = dicom_file.is_dicom, dicom_series.series
write_masks, write_probabilities, write_map, write_overlays = (
    dicom_seg.write_masks,
    dicom_seg.write_probabilities,
    tif.write_map,
    tif.write_overlays,
)


def header(paths: Sequence[Path], how: How = PLAIN) -> Header:
    """Return the header of a file or a series; no pixel is decoded. Raises DataError or InputError, as `read`."""
    del how
    with reading(_where(paths), "DICOM pictures"), np.errstate(all="ignore"):
        files = _opened(paths, stop_before_pixels=True)
        dtype = np.result_type(*map(_dtype, files))
        channels = 3 if files[0].PhotometricInterpretation == "PALETTE COLOR" else files[0].SamplesPerPixel
        return Header(
            slices=sum(map(dicom_file.frames, files)),
            size=(files[0].Columns, files[0].Rows),
            channels=channels,
            deep=dtype != np.uint8,
            kind=f"DICOM {files[0].get('Modality') or ''} {dtype}".replace("  ", " "),
            patient=str(files[0].get("PatientID") or "").strip(),
            grid=dicom_place.grid(files),
            spacing=dicom_place.spacing(files),
            axes=dicom_place.axes(files),
            as_stored=dicom_place.as_numbered(files),
        )


def read(paths: Sequence[Path], how: How = PLAIN) -> Stack:
    """Return the slices in the order of space, or the frames of one file; a CT in Hounsfield units.

    Raises:
        DataError: for files that hold no pictures, or pictures of several sizes, and for a segmentation.
        InputError: without the extra `dicom`.
    """
    del how
    with reading(_where(paths), "DICOM pictures"), np.errstate(all="ignore"):
        files = _opened(paths)
        pictures = [_frames(file) for file in files]
    if len({frames.shape[1:] for frames in pictures}) > 1:
        sizes = " and ".join(sorted({"x".join(map(str, frames.shape[1:])) for frames in pictures}))
        raise DataError(f"{paths[0].parent}: a series with pictures of {sizes}; give its files one by one")
    joined = np.concatenate(pictures)
    joined = joined if joined.ndim == 4 else joined[..., None]
    return Stack(joined, dicom_place.spacing(files), files, ct=files[0].get("Modality") == "CT")


def without_seg(paths: Sequence[Path]) -> tuple[str, int]:
    """Say by the headers why no DICOM SEG can hold a mask of these files, "" where one can; and count the pictures.

    Files that cannot be read have no reason here: `read` says what is wrong with them.
    """
    with contextlib.suppress(Exception):
        first = [load(path, stop_before_pixels=True) for path in paths[:2]]
        return dicom_seg.refusal(first), dicom_file.frames(first[0]) if len(paths) == 1 else len(paths)
    return "", len(paths)


def _where(paths: Sequence[Path]) -> Path | str:
    return paths[0] if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} files)"


def _opened(paths: Sequence[Path], **options: Any) -> list[Any]:
    """Return the files in their order, checked by their headers. Raises DataError, and what pydicom raises."""
    pydicom = dicom_file.library()
    try:
        files = dicom_place.in_order([load(path, **options) for path in paths])
    except pydicom.errors.InvalidDicomError as error:
        raise ValueError("it lacks the mark of a DICOM file") from error
    if any(file.get("Modality") in ("SEG", "RTSTRUCT") for file in files):
        raise DataError(
            f"{paths[0]}: is a DICOM segmentation or contour, which is not read; export it as NIfTI, as by 3D Slicer"
        )
    size = sum(math.prod(dicom_file.shape(file)) * max(file.BitsAllocated // 8, 1) for file in files)
    for file in files:
        check_size(file.filename, dicom_file.shape(file), size)
    return files


def _dtype(file: Any) -> np.dtype:
    """Return the dtype that `_frames` has, by the header."""
    if file.PhotometricInterpretation == "PALETTE COLOR" or file.BitsAllocated == 1:
        return np.dtype(np.uint8)
    if file.SamplesPerPixel == 1 and _is_rescaled(file):
        return np.dtype(np.float32)
    return np.dtype(f"{'i' if file.get('PixelRepresentation') else 'u'}{file.BitsAllocated // 8}")


def _is_rescaled(file: Any) -> bool:
    slopes, intercepts = (_by_frame(file, name) for name in ("RescaleSlope", "RescaleIntercept"))
    return bool(np.any(slopes != 1) or np.any(intercepts != 0))


def _frames(file: Any) -> np.ndarray:
    """Return the frames of a file as they are shown, (n, H, W) or (n, H, W, 3).

    Palettes are looked up, and slope and intercept applied. MONOCHROME1, which shows the lowest value as white, is
    inverted, unless the values are measured. Padding gets the darkest value of the other pixels.
    """
    from pydicom import pixels

    try:
        array = pixels.pixel_array(file)
    except RuntimeError as error:
        syntax = file.file_meta.TransferSyntaxUID
        if pixels.get_decoder(syntax).is_available:
            raise
        raise DataError(
            f"{file.filename}: no decoder here reads its {syntax.name}: "
            "pip install pylibjpeg pylibjpeg-libjpeg (GPL), or decompress it first"
        ) from error
    colour = file.SamplesPerPixel > 1
    array = array if array.ndim == (4 if colour else 3) else array[None]
    if colour:
        return array
    if file.PhotometricInterpretation == "PALETTE COLOR":
        colours = pixels.apply_color_lut(array, file)
        return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
    padded = _padding(file, array)
    if file.PhotometricInterpretation == "MONOCHROME1" and file.get("Modality") not in MEASURED:
        array = (2**file.BitsStored - 1 - array).astype(array.dtype) if array.dtype.kind == "u" else ~array
    if padded.any():
        array = np.where(padded, array[~padded].min(), array)
    if _is_rescaled(file):
        slopes, intercepts = (_by_frame(file, name) for name in ("RescaleSlope", "RescaleIntercept"))
        return (array * slopes + intercepts).astype(np.float32)
    return array


def _padding(file: Any, array: np.ndarray) -> np.ndarray:
    """Return where stored pixels are padding, such as the -2000 around a round CT, bool of their shape.

    Such a value would widen the window of the whole set. One among those of the other pixels does not, and is kept.
    """
    named = [file.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if array.dtype.kind not in "iu" or not isinstance(named[0], int):
        return np.zeros(array.shape, bool)
    ends = np.array([end for end in named if isinstance(end, int)]).astype(array.dtype)  # some write -2000 as 63536
    padded = (array >= ends.min()) & (array <= ends.max())
    others = array[~padded]
    outside = others.size > 0 and (ends.max() < others.min() or ends.min() > others.max())
    return padded if outside else np.zeros_like(padded)


def _by_frame(file: Any, name: str) -> np.ndarray:
    """Return RescaleSlope or RescaleIntercept as (n or 1, 1, 1): one for each frame of the file, or one for all."""
    frames = [*file.get("PerFrameFunctionalGroupsSequence", []), *file.get("SharedFunctionalGroupsSequence", [])]
    found = [
        groups.PixelValueTransformationSequence[0] for groups in frames if "PixelValueTransformationSequence" in groups
    ]
    values = [each.get(name) for each in found or [file]]
    neutral = 1.0 if name == "RescaleSlope" else 0.0
    return np.array([neutral if value is None else float(value) for value in values]).reshape(-1, 1, 1)
