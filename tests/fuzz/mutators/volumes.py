"""Changes of NIfTI headers and DICOM tags."""

import gzip
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from tests.fuzz.mutators.content import ELSEWHERE, Mutator, UnsuitableError, pick

FIELDS = {  # of a NIfTI-1 header: offset and format
    "sizeof_hdr": (0, "i"), "dim0": (40, "h"), "dim1": (42, "h"), "dim2": (44, "h"), "dim3": (46, "h"),
    "dim4": (48, "h"), "datatype": (70, "h"),
    "bitpix": (72, "h"), "pixdim0": (76, "f"), "pixdim1": (80, "f"), "pixdim2": (84, "f"),
    "pixdim3": (88, "f"), "vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"), "qform_code": (252, "h"), "sform_code": (254, "h"), "quatern_b": (256, "f"),
    "srow_x0": (280, "f"), "srow_y1": (300, "f"), "srow_z2": (320, "f"), "srow_x3": (292, "f"), "extension": (348, "B"),
}  # fmt: skip
NUMBERS: dict[str, tuple[Any, ...]] = {
    "i": (0, 1, -1, 540, 2**31 - 1),
    "h": (0, 1, 2, 3, 4, 8, 16, 64, 128, 512, 1024, 1536, 2304, -1, -20, 32767),
    "f": (0.0, -1.0, 1.0, 352.0, 353.0, 1e9, 1e-30, 3e38, -3e38, float("nan"), float("inf")),
    "B": (0, 1, 2, 3, 10, 255),
}


def nifti_field(path: Path, random: np.random.Generator) -> None:
    packed = path.suffix == ".gz"
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    for _ in range(random.integers(1, 3)):
        at, kind = list(FIELDS.values())[random.integers(len(FIELDS))]
        struct.pack_into(f"<{kind}", content, at, NUMBERS[kind][random.integers(len(NUMBERS[kind]))])
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)


def nifti_of_gigabytes(path: Path, random: np.random.Generator) -> None:
    """Write a compressed volume of 30,000 slices of zeros: a few megabytes in the file, 30 GB in memory."""
    content = bytearray(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    struct.pack_into("<hhh", content, 42, 1000, 1000, 30_000)
    path.write_bytes(gzip.compress(content + bytes(10**7), 1) if path.suffix == ".gz" else content)


NIFTI: tuple[Mutator, ...] = (nifti_field, nifti_field, nifti_field, nifti_field, nifti_of_gigabytes)

ESCAPES = (
    "../../escaped",
    "../../../escaped",
    str(ELSEWHERE),
    "a/../../../escaped",
    "..",
    ".",
    "/",
    "masks/x",
    "x" * 300,
)
TAGS: dict[str, tuple[Any, ...]] = {
    "SeriesInstanceUID": (*ESCAPES, "", "1.2\0.3", "é", "1.2.3\n4", "CON", "."),
    "StudyInstanceUID": (*ESCAPES, ""),
    "SOPInstanceUID": (*ESCAPES, "", "1.2.3"),
    "SOPClassUID": ("1.2", "", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.11"),
    "FrameOfReferenceUID": (*ESCAPES, ""),
    "PatientName": ("../../escaped", "x" * 300, "", "é^\\"),
    "PatientID": ("../../escaped", "x" * 300, ""),
    "StudyDate": ("yesterday", "", "99999999"),
    "PixelSpacing": ([0, 1], [-1, 1], [1e30, 1e30], ["nan", "nan"], ["inf", 1], [1], [], None, [1, 1, 1], [1e-200] * 2),
    "ImagePositionPatient": ([0, 0], [], ["nan", "nan", "nan"], [0, 0, 1e300], None, [0, 0, 0]),
    "ImageOrientationPatient": ([0] * 6, ["nan"] * 6, [1, 0, 0], [], None, [1, 0, 0, 1, 0, 0], [1e300] * 6),
    "InstanceNumber": ("x", -1, None, 10**9),
    "Rows": (0, 1, 47, 49, 65535), "Columns": (0, 1, 79, 81, 65535), "NumberOfFrames": (0, -1, 2, 10**9, "x"),
    "SamplesPerPixel": (0, 2, 3, 65535), "BitsAllocated": (0, 1, 7, 12, 16, 32, 64, 65535),
    "BitsStored": (0, 1, 7, 9, 16, 65535),
    "HighBit": (0, 200), "PixelRepresentation": (1, 2, 65535), "PlanarConfiguration": (0, 1, 7),
    "PhotometricInterpretation": ("MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL", "", "XYZ"),
    "RescaleSlope": (0, 2, -1, "nan", "inf", "x", 1e300), "RescaleIntercept": (-1024, "nan", "inf", 1e300),
    "Modality": ("SR", "", "../../escaped"),
    "SliceThickness": (0, -1, "nan", None),
}  # fmt: skip


def dicom_tag(path: Path, random: np.random.Generator) -> None:
    _change(path, random, list(TAGS))


def dicom_name(path: Path, random: np.random.Generator) -> None:
    """Change an identifier, from which names of files may be made."""
    _change(path, random, ["SeriesInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID", "PatientID"])


def dicom_without_a_tag(path: Path, random: np.random.Generator) -> None:
    file = _read(path)
    names = [element.keyword for element in file if element.keyword]
    del file[pick(random, names)]
    _write(path, file)


def dicom_of_other_pixels(path: Path, random: np.random.Generator) -> None:
    file = _read(path)
    pixels = file.PixelData
    file.PixelData = [b"", pixels[:-2], pixels * 2, pixels[: len(pixels) // 2]][random.integers(4)]
    _write(path, file)


def dicom_syntax(path: Path, random: np.random.Generator) -> None:
    """Name another encoding of the pixels than that they have."""
    file = _read(path)
    syntaxes = (
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.2",
        "1.2",
        "",
    )
    file.file_meta.TransferSyntaxUID = pick(random, syntaxes)
    _write(path, file)


def dicom_nested(path: Path, random: np.random.Generator) -> None:
    """Put sequences into sequences, deeper than Python recurses."""
    opened = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    content = path.read_bytes()
    path.write_bytes(content[:132] + content[132:] + opened * 2000)


def _read(path: Path) -> Any:
    return pydicom.dcmread(path, force=True)


def _change(path: Path, random: np.random.Generator, names: list[str]) -> None:
    file = _read(path)
    name = pick(random, names)
    value = TAGS[name][random.integers(len(TAGS[name]))]
    try:
        setattr(file, name, value)
        _write(path, file)
    except (ValueError, TypeError, OverflowError, struct.error, AttributeError) as error:
        raise UnsuitableError from error


def _write(path: Path, file: Any) -> None:
    settings = pydicom.config.settings
    before, settings.writing_validation_mode = settings.writing_validation_mode, pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pydicom.dcmwrite(path, file, enforce_file_format=False)
    except (ValueError, TypeError, OverflowError, struct.error, AttributeError, KeyError) as error:
        raise UnsuitableError from error
    finally:
        settings.writing_validation_mode = before


DICOM: tuple[Mutator, ...] = (
    *(
        dicom_tag,
        dicom_tag,
        dicom_tag,
        dicom_name,
        dicom_name,
        dicom_without_a_tag,
        dicom_of_other_pixels,
        dicom_syntax,
    ),
    dicom_nested,
)
