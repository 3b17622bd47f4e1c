"""DICOM: a file, or the slices of a series; the mask is a DICOM SEG that refers to them. Needs the extra `dicom`."""

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.files import DataError
from datasets.formats import dicom_seg, tif
from datasets.formats.stack import Stack
from sharp_unet_jax.errors import InputError

SUFFIXES = (".dcm", ".dicom", ".ima")
MASK = PROBABILITIES = ".dcm"
OVERLAYS = ".tif"  # one opens them all, and scrolls through them
write_masks, write_probabilities, write_overlays = (
    dicom_seg.write_masks,
    dicom_seg.write_probabilities,
    tif.write_overlays,
)


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM, whatever its name."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"
    return False


def series(paths: Iterable[Path], top: Path) -> list[tuple[str, tuple[Path, ...]]]:
    """`paths` by the series they belong to, and what to call it below `top`.

    A series of one file is called as the file, of several as their folder; series that share a folder, by their UID.
    A series in several orientations, such as a localizer, is one for each. What cannot be read is a series of its own,
    for `read` to say so. Left out is what says that it is no picture: a DICOMDIR, a report, a dose, a segmentation.
    """
    found: dict[tuple[Path, str, str], list[Path]] = {}
    for path in sorted(paths):
        uid, orientation, kind = _header(path)
        if not kind.endswith("Storage") or "Image" in kind:  # a maker's own kind is called by its number
            found.setdefault((path.parent, uid or path.name, orientation), []).append(path)
    large = [(folder, uid) for (folder, uid, _), several in found.items() if len(several) > 1]
    folders = [folder for folder, _ in large]
    named = []
    for (folder, uid, _), several in found.items():
        below, first = folder.relative_to(top), several[0]
        if len(several) == 1 or large.count((folder, uid)) > 1:
            name = below / first.name.removesuffix(first.suffix if _known(first) else "")
        elif folders.count(folder) > 1:
            name = below / uid
        else:
            name = below if below != Path() else Path(folder.name)
        named.append((name.as_posix(), tuple(several)))
    return named


def read(paths: Sequence[Path]) -> Stack:
    """The slices in the order of space, or the frames of one file; a CT in Hounsfield units.

    DataError for files that hold no pictures, or pictures of several sizes. InputError without the extra `dicom`.
    """
    pydicom = _pydicom()
    where = paths[0] if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} files)"
    try:
        with _quiet():
            files = _in_order([pydicom.dcmread(path) for path in paths])
            pictures = [_frames(file) for file in files]
    except InputError:
        raise
    except pydicom.errors.InvalidDicomError as error:
        raise DataError(f"{where}: cannot be read as DICOM pictures (it lacks the mark of a DICOM file)") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{where}: cannot be read as DICOM pictures ({reason})") from error
    if len({frames.shape[1:] for frames in pictures}) > 1:
        sizes = " and ".join(sorted({"x".join(map(str, frames.shape[1:])) for frames in pictures}))
        raise DataError(f"{paths[0].parent}: a series with pictures of {sizes}; give its files one by one")
    return Stack(np.concatenate(pictures), _area(files[0]), files)


def _frames(file: Any) -> np.ndarray:
    """(n, H, W) or (n, H, W, 3): palettes looked up, slope and intercept applied, what is shown inverted inverted."""
    from pydicom import pixels

    try:
        array = pixels.pixel_array(file)
    except RuntimeError as error:  # of every decoder there is
        raise ValueError(
            f"no decoder here reads its {file.file_meta.TransferSyntaxUID.name}: "
            "pip install pylibjpeg pylibjpeg-libjpeg (GPL), or decompress it first"
        ) from error
    colour = file.SamplesPerPixel > 1
    array = array if array.ndim == (4 if colour else 3) else array[None]
    if colour:
        return array
    if file.PhotometricInterpretation == "PALETTE COLOR":
        colours = pixels.apply_color_lut(array, file)
        return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
    slopes, intercepts = (_of_each_frame(file, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if np.any(slopes != 1) or np.any(intercepts != 0):
        return (array * slopes + intercepts).astype(np.float32)
    if file.PhotometricInterpretation == "MONOCHROME1" and array.dtype.kind == "u":
        return (2**file.BitsStored - 1 - array).astype(array.dtype)
    return array


def _of_each_frame(file: Any, name: str) -> np.ndarray:
    """RescaleSlope or RescaleIntercept as (n or 1, 1, 1): a file of frames may have one for each, or one for all."""
    frames = [*file.get("PerFrameFunctionalGroupsSequence", []), *file.get("SharedFunctionalGroupsSequence", [])]
    found = [
        groups.PixelValueTransformationSequence[0] for groups in frames if "PixelValueTransformationSequence" in groups
    ]
    values = [each.get(name) for each in found or [file]]
    neutral = 1.0 if name == "RescaleSlope" else 0.0
    return np.array([neutral if value is None else float(value) for value in values]).reshape(-1, 1, 1)


def _in_order(files: list[Any]) -> list[Any]:
    """From the feet to the head, or along whatever axis the slices were taken; without positions, as numbered."""
    if len(files) > 1 and all("ImagePositionPatient" in file and "ImageOrientationPatient" in file for file in files):
        orientation = np.array(files[0].ImageOrientationPatient, float)
        normal = np.cross(orientation[:3], orientation[3:])
        return sorted(files, key=lambda file: float(normal @ np.array(file.ImagePositionPatient, float)))
    return sorted(files, key=lambda file: int(file.get("InstanceNumber") or 0))


def _area(file: Any) -> float | None:
    """Of a pixel, mm²; not of a projection, whose spacing is that of the detector."""
    spacing = file.get("PixelSpacing")
    if spacing is None and "SharedFunctionalGroupsSequence" in file:
        measures = file.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence")
        spacing = measures[0].get("PixelSpacing") if measures else None
    return float(spacing[0]) * float(spacing[1]) if spacing else None


def _header(path: Path) -> tuple[str, str, str]:
    """Series UID, orientation, and kind of object ("CT Image Storage"), each "" where the file does not say."""
    with contextlib.suppress(Exception), _quiet():
        tags = ["SeriesInstanceUID", "ImageOrientationPatient"]
        header = _pydicom().dcmread(path, stop_before_pixels=True, specific_tags=tags)
        kind = header.file_meta.get("MediaStorageSOPClassUID")
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
    return pydicom


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """pydicom warns of every value that is not to the letter of the standard, which few files are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
