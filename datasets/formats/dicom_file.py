"""A DICOM file opened by pydicom, unless it would fill the memory. Needs the extra `dicom`."""

import contextlib
import math
from pathlib import Path
from typing import Any

from datasets.errors import DataError
from datasets.formats import dicom_seg
from sharp_unet_jax.advice import memory
from sharp_unet_jax.errors import InputError, install

SPARE = 2**28  # bytes that a file may hold beside its pictures
DEFLATE = 1032  # bytes that one byte of zlib's format becomes at most


def is_dicom(path: Path) -> bool:
    """Say whether a file has the mark of DICOM, whatever its name."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"
    return False


def load(path: Path, **options: Any) -> Any:
    """Read a file by `pydicom.dcmread`.

    Raises:
        DataError: for a deflated file that may fill the memory, and for one with far more bytes than its pictures.
            pydicom reads what follows them element by element, which takes minutes for gigabytes of zeros.
        InputError: without the extra `dicom`.
    """
    pydicom, size = library(), path.stat().st_size
    if size * DEFLATE > memory.free():
        meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:
            raise DataError(f"{path}: is deflated, and may not fit into memory; inflate it first, as with dcmconv")
    if size > SPARE and not options:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if size > SPARE + 2 * math.prod(shape(header)) * header.BitsAllocated // 8:
            raise DataError(f"{path}: is far larger than the pictures that its header names; it is damaged")
    return pydicom.dcmread(path, **options)


def shape(file: Any) -> tuple[int, int, int, int]:
    """Return the number of frames, their height, width and number of samples, by the header."""
    return frames(file), file.Rows, file.Columns, file.SamplesPerPixel


def frames(file: Any) -> int:
    """Return the number of frames, by the header."""
    return int(file.get("NumberOfFrames") or 1)


def library() -> Any:
    """Return pydicom, whose warnings are hidden. Raises InputError where it, or highdicom, is missing."""
    try:
        import highdicom  # noqa: F401
        import pydicom
    except ImportError as error:
        raise InputError(f"DICOM needs pydicom and highdicom: {install('dicom')}") from error
    dicom_seg.quiet()
    return pydicom
