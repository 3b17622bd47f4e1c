"""CT files: NIfTI volumes as arrays, Hounsfield units as uint8."""

import gzip

import nibabel
import numpy as np

from datasets import files

NIFTI = (".gz", ".nii")


def read_nifti(file: files.File) -> np.ndarray:
    """The voxels of a .nii or .nii.gz file as stored, scaled by the file's own slope and intercept if it has them."""
    try:
        data = file.read()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        return np.asanyarray(nibabel.Nifti1Image.from_bytes(data).dataobj)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise files.DataError(f"{file.where}: cannot be read as NIfTI ({reason}); download it again") from error


def read_nifti_pair(image: files.File, mask: files.File) -> tuple[np.ndarray, np.ndarray]:
    """A volume and its labels, which must be of one three-dimensional shape."""
    volume, labels = read_nifti(image), read_nifti(mask)
    if volume.ndim != 3 or volume.shape != labels.shape:
        shapes = f"{volume.shape} but its mask {mask.where} is {labels.shape}"
        raise files.DataError(f"{image.where} is {shapes}; both must be of one 3-D shape, download them again")
    return volume, labels


def window(hounsfield: np.ndarray, low: float, high: float, where: str) -> np.ndarray:
    """Clips Hounsfield units to low..high and maps that range linearly to 0..255."""
    if not np.isfinite(hounsfield).all():
        raise files.DataError(f"{where}: holds voxels that are not numbers (NaN or infinite); repair or remove it")
    if hounsfield.min() >= 0:  # every CT slice of a chest shows air, which is -1000
        span = f"{hounsfield.min():g} to {hounsfield.max():g}"
        raise files.DataError(
            f"{where}: holds {span}, not Hounsfield units; use the file as published, not a converted one"
        )
    return np.rint((np.clip(hounsfield.astype(np.float32), low, high) - low) * (255 / (high - low))).astype(np.uint8)
