"""DICOM: a file, or the slices of a series. The mask is a DICOM SEG that refers to them. Needs the extra `dicom`."""

import contextlib
import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.files import DataError
from datasets.formats import dicom_seg, tif
from datasets.formats.stack import PLAIN, Header, How, Stack, check_size, pixel_area, reading
from sharp_unet_jax.advice import memory
from sharp_unet_jax.errors import InputError

SUFFIXES = (".dcm", ".dicom", ".ima")
MASK = PROBABILITIES = ".dcm"
OVERLAYS = ".tif"  # one file of all slices to scroll through
SPARE = 2**28  # bytes that a file may hold beside its pictures
DEFLATE = 1032  # bytes that one byte of zlib's format becomes at most
write_masks, write_probabilities, write_overlays = (
    dicom_seg.write_masks,
    dicom_seg.write_probabilities,
    tif.write_overlays,
)


def is_dicom(path: Path) -> bool:
    """Say whether a file has the mark of DICOM, whatever its name."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"
    return False


def series(paths: Iterable[Path], top: Path) -> list[tuple[str, tuple[Path, ...]]]:
    """Return the series that `paths` belong to: a name below the folder `top`, and the files.

    A series of one file has the file's name, a series of several files their folder's. Series that share a folder are
    named by their UID. Each orientation of a series, as in a localizer, is a series of its own. A file that cannot be
    read is one too; `read` then says why. Files whose headers name no picture are left out: a DICOMDIR, a report, a
    dose, a segmentation.
    """
    found: dict[tuple[Path, str, str, str], list[Path]] = {}
    for path in sorted(paths):
        uid, orientation, kind = _header(path)
        if not kind.endswith("Storage") or "Image" in kind:  # the private kind of a manufacturer is a number
            found.setdefault((path.parent, uid, "" if uid else path.name, orientation), []).append(path)
    large = [(folder, uid) for (folder, uid, _, _), several in found.items() if len(several) > 1]
    folders = [folder for folder, _ in large]
    named = []
    for (folder, uid, _, _), several in found.items():
        below, first = folder.relative_to(top), several[0]
        if len(several) == 1 or large.count((folder, uid)) > 1:
            name = below / first.name.removesuffix(first.suffix if _known(first) else "")
        elif folders.count(folder) > 1:
            name = below / _file_name(uid)
        else:
            name = below if below != Path() else Path(folder.name)
        named.append((name.as_posix(), tuple(several)))
    return named


def _file_name(uid: str) -> str:
    """Return the name of a file for a UID. One with other characters than a UID may have could be a path elsewhere.

    Its digest keeps it apart from others that are alike but for such characters.
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]+)*", uid) and len(uid) <= 64:
        return uid
    digest = hashlib.sha256(uid.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{re.sub('[^A-Za-z0-9]+', '_', uid)[:40]}-{digest}"


def header(paths: Sequence[Path], how: How = PLAIN) -> Header:
    """Return the header of a file or a series. Raises DataError."""
    stack = read(paths, how)
    slices, height, width, channels = stack.pictures.shape
    kind = f"DICOM {stack.pictures.dtype}"
    patient = str(stack.origin[0].get("PatientID") or "")
    return Header(
        slices, (width, height), channels, stack.pictures.dtype not in (np.uint8, bool), kind, patient=patient
    )


def read(paths: Sequence[Path], how: How = PLAIN) -> Stack:
    """Return the slices in the order of space, or the frames of one file; a CT in Hounsfield units.

    Raises:
        DataError: for files that hold no pictures, or pictures of several sizes.
        InputError: without the extra `dicom`.
    """
    del how
    pydicom = _pydicom()
    where = paths[0] if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} files)"
    with reading(where, "DICOM pictures"), np.errstate(all="ignore"):
        try:
            files = _in_order([_load(path) for path in paths])
        except pydicom.errors.InvalidDicomError as error:
            raise ValueError("it lacks the mark of a DICOM file") from error
        size = sum(math.prod(_shape(file)) * max(file.BitsAllocated // 8, 1) for file in files)
        for file in files:
            check_size(file.filename, _shape(file), size)
        pictures = [_frames(file) for file in files]
    if len({frames.shape[1:] for frames in pictures}) > 1:
        sizes = " and ".join(sorted({"x".join(map(str, frames.shape[1:])) for frames in pictures}))
        raise DataError(f"{paths[0].parent}: a series with pictures of {sizes}; give its files one by one")
    joined = np.concatenate(pictures)
    return Stack(joined if joined.ndim == 4 else joined[..., None], _area(files), files)


def _load(path: Path, **options: Any) -> Any:
    """Read a file by `pydicom.dcmread`.

    Raises DataError for a deflated one that may fill the memory, and for one with far more bytes than its pictures:
    pydicom reads what follows them element by element, which takes minutes for gigabytes of zeros.
    """
    pydicom, size = _pydicom(), path.stat().st_size
    if size * DEFLATE > memory.free():
        meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:
            raise DataError(f"{path}: is deflated, and may not fit into memory; inflate it first, as with dcmconv")
    if size > SPARE and not options:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if size > SPARE + 2 * math.prod(_shape(header)) * header.BitsAllocated // 8:
            raise DataError(f"{path}: is far larger than the pictures that its header names; it is damaged")
    return pydicom.dcmread(path, **options)


def _shape(file: Any) -> tuple[int, int, int, int]:
    """Return the number of frames, their height, width and number of samples, by the header."""
    return int(file.get("NumberOfFrames") or 1), file.Rows, file.Columns, file.SamplesPerPixel


def _frames(file: Any) -> np.ndarray:
    """Return the frames of a file as they are shown, (n, H, W) or (n, H, W, 3).

    Palettes are looked up, slope and intercept applied, and MONOCHROME1, which shows 0 as white, is inverted.
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
    slopes, intercepts = (_by_frame(file, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if np.any(slopes != 1) or np.any(intercepts != 0):
        return (array * slopes + intercepts).astype(np.float32)
    if file.PhotometricInterpretation == "MONOCHROME1" and array.dtype.kind == "u":
        return (2**file.BitsStored - 1 - array).astype(array.dtype)
    return array


def _by_frame(file: Any, name: str) -> np.ndarray:
    """Return RescaleSlope or RescaleIntercept as (n or 1, 1, 1): one for each frame of the file, or one for all."""
    frames = [*file.get("PerFrameFunctionalGroupsSequence", []), *file.get("SharedFunctionalGroupsSequence", [])]
    found = [
        groups.PixelValueTransformationSequence[0] for groups in frames if "PixelValueTransformationSequence" in groups
    ]
    values = [each.get(name) for each in found or [file]]
    neutral = 1.0 if name == "RescaleSlope" else 0.0
    return np.array([neutral if value is None else float(value) for value in values]).reshape(-1, 1, 1)


def _in_order(files: list[Any]) -> list[Any]:
    """Sort slices along their normal, axial ones from the feet to the head; without positions, by their numbers."""
    if len(files) > 1 and all("ImagePositionPatient" in file and "ImageOrientationPatient" in file for file in files):
        orientation = np.array(files[0].ImageOrientationPatient, float)
        with np.errstate(all="ignore"):  # of numbers near the largest float
            normal = np.cross(orientation[:3], orientation[3:])
            return sorted(files, key=lambda file: float(normal @ np.array(file.ImagePositionPatient, float)))
    return sorted(files, key=lambda file: int(file.get("InstanceNumber") or 0))


def _area(files: Sequence[Any]) -> float | None:
    """Return the area of a pixel in mm²; None for a projection, whose spacing is the detector's.

    It is NaN where the spacing is impossible, or differs between the files.
    """
    known = [sides for file in files if (sides := _spacing(file))]
    if len(known) < len(files):
        return None
    return pixel_area(*known[0]) if np.allclose(known, known[0], rtol=1e-3, atol=0) else math.nan


def _spacing(file: Any) -> tuple[float, float] | None:
    """Return the height and width of a pixel in mm; None where the file does not say, NaN for what is no number."""
    try:
        spacing = file.get("PixelSpacing")
        if spacing is None and "SharedFunctionalGroupsSequence" in file:
            measures = file.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence")
            spacing = measures[0].get("PixelSpacing") if measures else None
        if spacing is None or spacing == "":
            return None
        height, width = map(float, spacing)
    except (ValueError, TypeError, IndexError):
        return math.nan, math.nan
    return height, width


def _header(path: Path) -> tuple[str, str, str]:
    """Return series UID, orientation and kind of object ("CT Image Storage"), each "" where the file does not say."""
    with contextlib.suppress(Exception):
        tags = ["SeriesInstanceUID", "ImageOrientationPatient"]
        header = _load(path, stop_before_pixels=True, specific_tags=tags)
        kind = header.file_meta.get("MediaStorageSOPClassUID")
        with np.errstate(all="ignore"):  # of numbers near the largest float
            orientation = np.round(np.array(header.get("ImageOrientationPatient") or [], float), 4) + 0.0
        return str(header.get("SeriesInstanceUID", "")), str(orientation), kind.name if kind else ""
    return "", "", ""


def _known(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _pydicom() -> Any:
    try:
        import highdicom  # noqa: F401
        import pydicom
    except ImportError as error:
        raise InputError('DICOM needs the extra "dicom": pip install ".[dicom]"') from error
    dicom_seg.quiet()
    return pydicom
