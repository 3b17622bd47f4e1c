"""DICOM segmentations (SEG) of masks and probabilities, which refer to the pictures they belong to, by highdicom."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.errors import DataError
from datasets.formats.stack import Stack
from sharp_unet_jax import __version__
from sharp_unet_jax.errors import is_out_of_memory
from sharp_unet_jax.storage.atomic import replacing

MAKER = "sharp_unet_jax"
# A DICOM file has these attributes, but they may be empty: tools that hide who a patient is remove them.
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)


def quiet() -> None:
    """Hide what pydicom and highdicom warn of and log, from now on: few files follow the standard to the letter."""
    # `warnings.catch_warnings` in one thread would end that of another.
    warnings.filterwarnings("ignore", module=r"(pydicom|highdicom|datasets\.formats\.dicom)")
    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def write_masks(path: Path, labels: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Write labels (n, H, W) uint8 as a binary segmentation: a segment for each class but the background."""
    planes = np.stack([labels == label for label in range(1, len(classes))], axis=-1).astype(np.uint8)
    _write(path, planes, "BINARY", stack, classes)


def write_probabilities(path: Path, probabilities: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Write probabilities (n, H, W, num_classes) as a fractional segmentation (in 255ths), without the background."""
    planes = probabilities if probabilities.shape[-1] == 1 else probabilities[..., 1:]
    _write(path, np.clip(planes, 0, 1).astype(np.float32), "FRACTIONAL", stack, classes)


def refusal(headers: Sequence[Any]) -> str:
    """Say why no segmentation can refer to files with these headers, "" where one can. The headers are changed.

    The segmentation is tried with pictures of one pixel, and read back: highdicom writes some that nobody reads.
    """
    from highdicom import seg

    for header in headers:
        header.Rows = header.Columns = 1
    frames = sum(int(header.get("NumberOfFrames") or 1) for header in headers)
    planes = np.ones((frames, 1, 1, 1), np.uint8)
    try:
        tried = _segmentation(headers, planes, "BINARY", ("background", "foreground"))
        with np.errstate(all="ignore"):
            seg.Segmentation.from_dataset(tried, copy=False)
    except DataError as error:
        return str(error)
    except AttributeError:
        return "its pixels have a spacing but no thickness"
    return ""


def _write(path: Path, planes: np.ndarray, kind: str, stack: Stack, classes: Sequence[str]) -> None:
    """Write planes (n, H, W, segments). Raises DataError where the pictures lack what a segmentation needs."""
    try:
        segmentation = _segmentation(stack.origin, planes, kind, classes)
    except DataError as error:
        raise DataError(f"no DICOM SEG can be written for it ({error}); save its pictures as TIF or PNG") from error
    with replacing(path) as temporary:
        segmentation.save_as(temporary)


def _segmentation(files: Sequence[Any], planes: np.ndarray, kind: str, classes: Sequence[str]) -> Any:
    """Return the segmentation of planes (n, H, W, segments). Raises DataError, which holds only the reason."""
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
    quiet()
    for name in MAY_BE_EMPTY:
        if name not in files[0]:
            setattr(files[0], name, "")
    try:
        with np.errstate(all="ignore"):  # of positions near the largest float
            return seg.Segmentation(
                source_images=files,
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
    except AttributeError as error:
        raise DataError(f"it has no {error.name}") from error
    except Exception as error:  # films, for one, have no position in space
        if is_out_of_memory(error):
            raise
        raise DataError(str(error)) from error
