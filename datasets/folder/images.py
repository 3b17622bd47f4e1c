"""The user's images, of any format, as uint8 with one number of channels for the whole set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets import files, formats
from datasets.formats.stack import PLAIN, How
from sharp_unet_jax.data.pixels import Window, windowed

SAMPLE = 32  # slices of a volume, and fewer than twice as many, that its percentiles are computed from


def common_window(images: Sequence[Sequence[Path]], how: How = PLAIN, *, by_channel: bool = False) -> Window:
    """Return the range that becomes 0 to 255 for images of more than 8 bits: one for all, so that brightness compares.

    It goes from the lowest 0.1st percentile of any image to the highest 99.9th: dead and hot pixels are left out. Where
    these are equal, as in a channel of a few bright spots, it goes from the lowest value to the highest. With
    `by_channel` each channel has a range of its own, since channels measure different things. Of a volume with many
    slices, every second or third one and so on counts.
    """
    axes = (0, 1, 2) if by_channel else None
    each = np.array([np.percentile(_sample(stored(paths, how)), (0, 0.1, 99.9, 100), axis=axes) for paths in images])
    (least, low), (high, most) = each[:, :2].min(axis=0), each[:, 2:].max(axis=0)
    ends = np.where(low < high, [low, high], [least, most])
    return tuple(ends.T.ravel().tolist())


def read(paths: Sequence[Path], channels: int, window: Window | None, how: How = PLAIN) -> np.ndarray:
    """Return an image as uint8 (n, H, W, channels); `window` is for images of more than 8 bits. Raises DataError."""
    array = stored(paths, how)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        array = windowed(array, window or (0.0, 255.0))
    return np.repeat(array, channels, axis=-1) if array.shape[-1] < channels else array


def _sample(slices: np.ndarray) -> np.ndarray:
    return slices[:: max(1, len(slices) // SAMPLE)]


def stored(paths: Sequence[Path], how: How = PLAIN) -> np.ndarray:
    """Return the pixels as stored, (n, H, W, C). Raises DataError for a file that is no image, and for NaN in it."""
    array = formats.read(paths, how).pictures
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            finite = np.isfinite(array.astype(np.float32)).all()
        if not finite:
            raise files.DataError(
                f"{paths[0]}: holds pixels that are not numbers (NaN or infinite); repair or remove it"
            )
    return array
