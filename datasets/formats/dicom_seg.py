"""DICOM segmentations (SEG) of masks and probabilities, which refer to the pictures they belong to, by highdicom."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.files import DataError
from datasets.formats.stack import Stack
from sharp_unet_jax import __version__
from sharp_unet_jax.errors import is_out_of_memory
from sharp_unet_jax.storage.atomic import replacing

MAKER = "sharp_unet_jax"


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


def _write(path: Path, planes: np.ndarray, kind: str, stack: Stack, classes: Sequence[str]) -> None:
    """Write planes (n, H, W, segments). Raises DataError where the pictures lack what a segmentation needs."""
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
    try:
        segmentation = seg.Segmentation(
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
    except Exception as error:  # an attribute is missing; films, for one, have no position in space
        if is_out_of_memory(error):
            raise
        raise DataError(f"no DICOM SEG can be written for it ({error}); save its pictures as TIF or PNG") from error
    with replacing(path) as temporary:
        segmentation.save_as(temporary)
