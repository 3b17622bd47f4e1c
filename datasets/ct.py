"""CT files: NIfTI volumes as arrays, Hounsfield units as uint8."""

import gzip

import nibabel
import numpy as np

from datasets import files
from datasets.errors import DataError
from sharp_unet_jax.data import pixels

NIFTI = (".gz", ".nii")


def read_nifti(file: files.File) -> np.ndarray:
    """Return the voxels of a .nii or .nii.gz file as stored, scaled by the file's slope and intercept if it has them.

    Raises DataError for a file that is no NIfTI.
    """
    try:
        data = file.read()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        return np.asanyarray(nibabel.Nifti1Image.from_bytes(data).dataobj)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file.where}: cannot be read as NIfTI ({reason}); download it again") from error


def read_nifti_pair(image: files.File, mask: files.File) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume and its labels. Raises DataError unless both have the same three-dimensional shape."""
    volume, labels = read_nifti(image), read_nifti(mask)
    if volume.ndim != 3 or volume.shape != labels.shape:
        shapes = f"{volume.shape} but its mask {mask.where} is {labels.shape}"
        raise DataError(f"{image.where} is {shapes}; both must have the same 3-D shape, download them again")
    return volume, labels


def windowed(hounsfield: np.ndarray, window: tuple[float, float], where: str) -> np.ndarray:
    """Return Hounsfield units as uint8: clipped to `window` (low, high), whose ends become 0 and 255.

    Raises DataError, which names `where`, for values that are not finite and for values that are no Hounsfield units.
    """
    check_finite(hounsfield, where)
    if hounsfield.min() >= 0:  # every CT slice of a chest shows air, which is -1000
        span = f"{hounsfield.min():g} to {hounsfield.max():g}"
        raise DataError(f"{where}: holds {span}, not Hounsfield units; use the file as published, not a converted one")
    return pixels.windowed(hounsfield, window)


def check_finite(voxels: np.ndarray, where: str) -> None:
    """Refuse voxels that are not finite. Raises DataError, which names `where`."""
    if not np.isfinite(voxels).all():
        raise DataError(f"{where}: holds voxels that are not numbers (NaN or infinite); repair or remove it")
