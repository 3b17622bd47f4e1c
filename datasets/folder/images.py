"""The user's images, of any common format, as uint8 with one number of channels for the whole set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import ExifTags

from datasets import files
from sharp_unet_jax.data.pixels import windowed

GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")  # Pillow's modes with one channel besides alpha


@dataclass(frozen=True)
class Header:
    """Facts of an image file that need no decoding."""

    size: tuple[int, int]  # width, height
    channels: int  # 1 or 3; alpha is dropped
    deep: bool  # more than 8 bits a channel
    kind: str  # as Pillow and tifffile name it: "PNG RGBA", "TIF uint16 x 3"
    rotated: bool = False  # its EXIF data ask to show it rotated or mirrored; this is not done


def header(path: Path) -> Header:
    """Return an image's header. Raises DataError for a file that is no image of one or three channels."""
    with files.reading(path):
        if path.suffix.lower() in files.TIF:
            with tifffile.TiffFile(files.regular(path)) as tif:
                files.check_series(tif, path)
                shape, dtype, axes = tif.series[0].shape, tif.series[0].dtype, tif.series[0].axes
                inverted = tif.pages.first.photometric == tifffile.PHOTOMETRIC.MINISWHITE
            height, width, channels = _layout(path, shape)
            if len(shape) == 3 and (height, width) == shape[1:] and shape[0] == 4 and "S" not in axes:
                raise files.DataError(f"{path}: has 4 channels, of which none is said to be alpha; save grey or RGB")
            kind = f"TIF {dtype} x {channels}{', 0 is white' if inverted else ''}"
            return Header((width, height), channels, dtype not in (np.uint8, bool), kind)
        with files.picture(path) as image:
            deep = image.mode.startswith(("I", "F"))
            # JPEG alone: in a PNG the EXIF data may come last, and Pillow would decode all of it.
            rotated = image.format in ("JPEG", "MPO") and image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            kind = f"{image.format} {image.mode}"
            return Header(image.size, 1 if image.mode in GREY else 3, deep, kind, rotated)


def common_window(paths: Sequence[Path]) -> tuple[float, float]:
    """Return the range that becomes 0 to 255 for images of more than 8 bits: one for all, so that brightness compares.

    It goes from the lowest 0.1st percentile of any image to the highest 99.9th: dead and hot pixels are left out.
    """
    ends = np.array([np.percentile(pixels(path), (0.1, 99.9)) for path in paths])
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def read(path: Path, channels: int, window: tuple[float, float] | None) -> np.ndarray:
    """Return an image as uint8 (H, W, channels); `window` is for images of more than 8 bits. Raises DataError."""
    array = pixels(path)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        array = windowed(array, window or (0.0, 255.0))
    array = array[..., None] if array.ndim == 2 else array
    return np.repeat(array, channels, axis=-1) if array.shape[-1] < channels else array


def pixels(path: Path) -> np.ndarray:
    """Return the pixels as stored, (H, W) or (H, W, 3), with palettes looked up and alpha dropped. Raises DataError."""
    if path.suffix.lower() in files.TIF:
        array = files.read_image(path)
        channels = _layout(path, array.shape)[2]
        if array.ndim == 3 and array.shape[-1] > 4:
            array = np.moveaxis(array, 0, -1)
        array = array[..., :3] if channels == 3 else array.reshape(*array.shape[:2], -1)[..., 0]
    else:
        with files.picture(path) as image:
            mode = image.mode
        plain = mode in ("RGB", *GREY) and mode not in ("LA", "La")
        array = files.read_image(path, None if plain else "L" if mode in GREY else "RGB")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            finite = np.isfinite(array.astype(np.float32)).all()
        if not finite:
            raise files.DataError(f"{path}: holds pixels that are not numbers (NaN or infinite); repair or remove it")
    return array


def _layout(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the height, width and channels (1 or 3) of a TIF, whose channels may come first. Raises DataError."""
    if len(shape) == 2:
        return shape[0], shape[1], 1
    if len(shape) == 3 and shape[2] in (1, 2, 3, 4):
        return shape[0], shape[1], 1 if shape[2] < 3 else 3
    if len(shape) == 3 and shape[0] in (3, 4):
        return shape[1], shape[2], 3
    raise files.DataError(f"{path}: is not one picture but of shape {shape}; save each slice as a file of its own")
