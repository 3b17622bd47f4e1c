"""DICOM: a file, or the slices of a series. The mask is a DICOM SEG that refers to them. Needs the extra `dicom`."""

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
OVERLAYS = ".tif"  # one file of all slices to scroll through
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
    found: dict[tuple[Path, str, str], list[Path]] = {}
    for path in sorted(paths):
        uid, orientation, kind = _header(path)
        if not kind.endswith("Storage") or "Image" in kind:  # the private kind of a manufacturer is a number
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
    """Return the slices in the order of space, or the frames of one file; a CT in Hounsfield units.

    Raises:
        DataError: for files that hold no pictures, or pictures of several sizes.
        InputError: without the extra `dicom`.
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
    """Return the frames of a file as they are shown, (n, H, W) or (n, H, W, 3).

    Palettes are looked up, slope and intercept applied, and MONOCHROME1, which shows 0 as white, is inverted.
    """
    from pydicom import pixels

    try:
        array = pixels.pixel_array(file)
    except RuntimeError as error:  # no decoder that is installed reads it
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
        normal = np.cross(orientation[:3], orientation[3:])
        return sorted(files, key=lambda file: float(normal @ np.array(file.ImagePositionPatient, float)))
    return sorted(files, key=lambda file: int(file.get("InstanceNumber") or 0))


def _area(file: Any) -> float | None:
    """Return the area of a pixel in mm²; None for a projection, whose spacing is the detector's."""
    spacing = file.get("PixelSpacing")
    if spacing is None and "SharedFunctionalGroupsSequence" in file:
        measures = file.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence")
        spacing = measures[0].get("PixelSpacing") if measures else None
    return float(spacing[0]) * float(spacing[1]) if spacing else None


def _header(path: Path) -> tuple[str, str, str]:
    """Return series UID, orientation and kind of object ("CT Image Storage"), each "" where the file does not say."""
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
    """Hide the warnings of pydicom: few files follow the standard to the letter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
