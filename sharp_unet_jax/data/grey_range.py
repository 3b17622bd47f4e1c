"""Images whose values lie elsewhere than those of the training: clipped at an end of the window, or lost in it."""

import functools
from collections.abc import Iterable

import numpy as np

from sharp_unet_jax.metrics import IGNORE

MOST = 0.5  # an image that has this share of its values at one end, and more than any in training, is outside
UNKNOWN = 0.9  # the same where the shares of the training are not known
NARROW = 2  # steps of 255: values that fill no more are within a hundredth of the window


def shares(images: np.ndarray, masks: np.ndarray | None = None) -> tuple[float, float]:
    """Return the shares of the values 0 and 255 in images (n, H, W, C) uint8, each of the channel that has most.

    Pixels that are `IGNORE` in `masks` (n, H, W), such as padding, do not count.
    """
    pixels = images.reshape(-1, images.shape[-1]) if masks is None else images[masks != IGNORE]
    counts = max(len(pixels), 1)
    low, high = ((pixels == end).sum(axis=0).max() / counts for end in (0, 255))
    return float(low), float(high)


def largest_shares(images: Iterable[np.ndarray], masks: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return the largest share of 0 and of 255 that an image has; images (H, W, C) uint8, masks (H, W)."""
    found = [shares(image[None], mask[None]) for image, mask in zip(images, masks, strict=True)]
    low, high = np.max(found, axis=0)
    return round(float(low), 4), round(float(high), 4)


def outside(images: Iterable[np.ndarray], known: tuple[float, float] | None) -> str:
    """Say how the values of images lie outside the window of a run; "" if they do not.

    Args:
        images: (H, W, C) uint8 each, as `pixels.as_trained` windowed them; one is in memory at a time.
        known: `largest_shares` of the training images; None for a run that did not keep them.
    """
    counts = functools.reduce(np.add, map(_histograms, images))
    portions = counts / counts.sum(axis=1, keepdims=True)
    low, high = portions[:, 0].max(), portions[:, 255].max()
    for share, end, most in zip(
        (low, high), ("at or below the low", "at or above the high"), known or (UNKNOWN, UNKNOWN), strict=True
    ):
        if share > max(MOST, most):
            return f"{share:.0%} of the values are {end} end of the range of the training"
    if all(map(_is_narrow, portions)):
        return "the values fill less than a hundredth of the range of the training"
    return ""


def _histograms(image: np.ndarray) -> np.ndarray:
    """Return how often each channel of an image (H, W, C) has each value, (C, 256)."""
    return np.stack([np.bincount(image[..., channel].ravel(), minlength=256) for channel in range(image.shape[-1])])


def _is_narrow(portions: np.ndarray) -> bool:
    """Say whether all values but 0.1 % at either end lie within NARROW steps; `portions` (256,) have each value."""
    low, high = np.searchsorted(np.cumsum(portions), (0.001, 0.999))
    return bool(high - low <= NARROW)
