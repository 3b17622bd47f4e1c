"""DICOM: a file, or the slices of a series; the mask is a DICOM SEG that refers to them. Needs the extra `dicom`."""

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.files import DataError
from launch.formats import tif
from launch.formats.stack import Stack
from sharp_unet_jax import __version__
from sharp_unet_jax.atomic import replacing
from sharp_unet_jax.errors import InputError

SUFFIXES = (".dcm", ".dicom", ".ima")
MASK = PROBABILITIES = ".dcm"
OVERLAYS = ".tif"  # one opens them all, and scrolls through them
MAKER = "sharp_unet_jax"


write_overlays = tif.write_overlays


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM, whatever its name."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"
    return False


def series(paths: Iterable[Path], top: Path) -> list[tuple[str, tuple[Path, ...]]]:
    """`paths` by the series they belong to, and what to call it below `top`.

    A series of one file is called as the file, of several as their folder; series that share a folder, by their UID.
    What cannot be read is a series of its own, for `read` to say so.
    """
    found: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(paths):
        found.setdefault((path.parent, _uid(path) or path.name), []).append(path)
    large = [folder for (folder, _), several in found.items() if len(several) > 1]
    named = []
    for (folder, uid), several in found.items():
        below = folder.relative_to(top)
        name = below if large.count(folder) == 1 and below != Path() else below / uid
        if len(several) == 1:
            name = below / several[0].name.removesuffix(several[0].suffix if _known(several[0]) else "")
        elif large.count(folder) == 1 and below == Path():
            name = Path(folder.absolute().name)
        named.append((name.as_posix(), tuple(several)))
    return named


def read(paths: Sequence[Path]) -> Stack:
    """The slices in the order of space, or the frames of one file; a CT in Hounsfield units.

    DataError for files that hold no pictures, or pictures of several sizes. InputError without the extra `dicom`.
    """
    pydicom = _pydicom()
    try:
        with _quiet():
            files = _in_order([pydicom.dcmread(path) for path in paths])
            pictures = [_frames(file) for file in files]
    except InputError:
        raise
    except Exception as error:
        where = paths[0] if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} files)"
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{where}: cannot be read as DICOM pictures ({reason})") from error
    if len({frames.shape[1:] for frames in pictures}) > 1:
        sizes = " and ".join(sorted({"x".join(map(str, frames.shape[1:])) for frames in pictures}))
        raise DataError(f"{paths[0].parent}: a series with pictures of {sizes}; give its files one by one")
    return Stack(np.concatenate(pictures), _area(files[0]), files)


def write_masks(path: Path, labels: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Labels (n, H, W) uint8 as a binary segmentation, a segment for each class but the background."""
    planes = np.stack([labels == label for label in range(1, len(classes))], axis=-1).astype(np.uint8)
    _write(path, planes, "BINARY", stack, classes)


def write_probabilities(path: Path, probabilities: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Probabilities (n, H, W, outputs) as a fractional segmentation (in 255ths), of each class but the background."""
    planes = probabilities if probabilities.shape[-1] == 1 else probabilities[..., 1:]
    _write(path, np.clip(planes, 0, 1).astype(np.float32), "FRACTIONAL", stack, classes)


def _write(path: Path, planes: np.ndarray, kind: str, stack: Stack, classes: Sequence[str]) -> None:
    """Of several segments highdicom takes (n, H, W, segments)."""
    from highdicom import UID, AlgorithmIdentificationSequence, seg
    from highdicom.sr.coding import CodedConcept
    from pydicom.sr.codedict import codes

    automatic = AlgorithmIdentificationSequence(MAKER, codes.DCM.ArtificialIntelligence, __version__)
    segments = [
        seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=CodedConcept(f"class{number}", f"99{MAKER.upper()}"[:16], name[:64]),
            algorithm_type=seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=automatic,
        )
        for number, name in enumerate(classes[1:], 1)
    ]
    with _quiet():
        made = seg.Segmentation(
            source_images=stack.origin,
            pixel_array=planes,
            segmentation_type=kind,
            segment_descriptions=segments,
            series_instance_uid=UID(),
            series_number=1000,
            sop_instance_uid=UID(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=__version__,
            device_serial_number="0",
            max_fractional_value=255,
        )
        with replacing(path) as temporary:
            made.save_as(temporary)


def _frames(file: Any) -> np.ndarray:
    """(n, H, W) or (n, H, W, 3), by the file's own slope and intercept; what is shown inverted is inverted."""
    from pydicom import pixels

    array = pixels.pixel_array(file)
    colour = file.SamplesPerPixel > 1
    array = array if array.ndim == (4 if colour else 3) else array[None]
    if colour:
        return array
    if file.get("RescaleSlope") is not None and (file.RescaleSlope != 1 or file.get("RescaleIntercept", 0) != 0):
        return pixels.apply_rescale(array, file).astype(np.float32)
    if file.PhotometricInterpretation == "MONOCHROME1" and array.dtype == np.uint8:
        return 255 - array
    return array


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


def _uid(path: Path) -> str:
    with contextlib.suppress(Exception), _quiet():
        return str(
            _pydicom().dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID
        )
    return ""


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
