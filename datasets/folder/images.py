"""The user's images, of any format, as uint8 with one number of channels for the whole set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets import formats
from datasets.errors import DataError
from datasets.formats.stack import PLAIN, How, Stack
from sharp_unet_jax.data.pixels import Window, as_trained
from sharp_unet_jax.errors import InputError

LOST = 0.01  # of the window: an image whose values span less would be black, or of one grey
SAMPLE = 32  # slices of a volume, and fewer than twice as many, that its percentiles are computed from


def common_window(images: Sequence[Sequence[Path]], how: How = PLAIN, *, by_channel: bool = False) -> Window:
    """Return the range that becomes 0 to 255 for images of more than 8 bits: one for all, so that brightness compares.

    It goes from the lowest 0.1st percentile of any image to the highest 99.9th: dead and hot pixels are left out. Where
    these are equal, as in a channel of a few bright spots, it goes from the lowest value to the highest. With
    `by_channel` each channel has a range of its own, since channels measure different things; a grey image counts in
    all of them. Of a volume with many slices, every second or third one and so on counts.

    Raises DataError where images of fractions beside others of whole numbers would be of one grey.
    """
    axes = (0, 1, 2) if by_channel else None
    percentiles, kinds = [], []
    for paths in images:
        slices = _sample(stored(paths, how))
        percentiles.append(np.percentile(slices, (0, 0.1, 99.9, 100), axis=axes))
        kinds.append(slices.dtype.kind)
    each, real = np.array(np.broadcast_arrays(*percentiles)), np.array(kinds) == "f"
    (least, low), (high, most) = each[:, :2].min(axis=0), each[:, 2:].max(axis=0)
    ends = np.where(low < high, [low, high], [least, most])
    span = (each[:, 3] - each[:, 0]).reshape(len(images), -1)
    lost = real & (span < LOST * (ends[1] - ends[0])).all(axis=1) & span.any(axis=1)
    if lost.any() and not real.all():
        one, other = images[int(np.argmax(lost))][0], images[int(np.argmin(real))][0]
        raise DataError(
            f"{one}: holds fractions, whose values are lost beside those of {other.name}; save all images in one unit, "
            "or set the range that becomes 0 to 255 with --config.data.window"
        )
    return tuple(ends.T.ravel().tolist())


def read(paths: Sequence[Path], channels: int, window: Window | None, how: How = PLAIN) -> np.ndarray:
    """Return an image as uint8 (n, H, W, channels), as predictions read it; `window` is for more than 8 bits.

    Raises DataError.
    """
    try:
        stack = _finite(paths, how)
        return as_trained(stack.pictures, channels, window or (0.0, 255.0), ct=stack.ct)
    except InputError as error:
        raise DataError(f"{paths[0]}: {error}, or set another window with --config.data.window") from error


def _sample(slices: np.ndarray) -> np.ndarray:
    return slices[:: max(1, len(slices) // SAMPLE)]


def stored(paths: Sequence[Path], how: How = PLAIN) -> np.ndarray:
    """Return the pixels as stored, (n, H, W, C). Raises DataError for a file that is no image, and for NaN in it."""
    return _finite(paths, how).pictures


def _finite(paths: Sequence[Path], how: How) -> Stack:
    stack = formats.read(paths, how)
    if stack.pictures.dtype.kind == "f":
        with np.errstate(over="ignore"):
            finite = np.isfinite(stack.pictures.astype(np.float32)).all()
        if not finite:
            raise DataError(f"{paths[0]}: holds pixels that are not numbers (NaN or infinite); repair or remove it")
    return stack
