"""Image files of every format the data sets use, as arrays, and arrays as the PNG bytes that TFDS stores."""

import io
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image


class DataError(ValueError):
    """What is wrong with the user's files, in one line: which file, and what to do."""


def read_image(path: Path) -> np.ndarray:
    """The pixels of a PNG, JPG or TIF as stored (palette PNG: the indices), (H, W) or (H, W, C)."""
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            return tifffile.imread(path)
        with Image.open(path) as image:
            return np.asarray(image)
    except Exception as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); the file is damaged or cut short") from error


def png(array: np.ndarray) -> io.BytesIO:
    """Encodes (H, W), (H, W, 1) or (H, W, 3) uint8 as PNG, since TFDS encodes arrays only with TensorFlow."""
    buffer = io.BytesIO()
    Image.fromarray(array.squeeze(-1) if array.ndim == 3 and array.shape[-1] == 1 else array).save(buffer, "PNG")
    buffer.seek(0)
    return buffer
