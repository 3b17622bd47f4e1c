"""Masks drawn over images, and values of pixels, such as how much the members of an ensemble disagree."""

import functools
from collections.abc import Callable

import numpy as np

from sharp_unet_jax import palette
from sharp_unet_jax.data.pixels import shown

TINT = 0.25  # opacity of a region's colour
FULL = 0.3  # the value of an opaque pixel: few standard deviations of probabilities are larger
HEAT = np.array(palette.rgb(palette.ORANGE), np.float32)


def overlay(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Draw the classes of `labels` (H, W) uint8 over a picture (H, W, C) uint8; return (H, W, 3) uint8.

    Every class is tinted and outlined in its colour.
    """
    picture = np.broadcast_to(shown(picture), (*labels.shape, 3))
    colours = palette.CLASSES[labels]
    tinted = np.where(labels[..., None] > 0, picture * (1 - TINT) + colours * TINT, picture).astype(np.uint8)
    # An outline lies inside its region. Its width grows with the picture, to look the same once both fit a screen.
    width = 1 + max(labels.shape) // 300
    edge = (labels > 0) & (
        (_filtered(labels, np.minimum, width) != labels) | (_filtered(labels, np.maximum, width) != labels)
    )
    return np.where(edge[..., None], colours, tinted)


def heat(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Draw values (H, W) from 0 on over a picture (H, W, C) uint8, which becomes grey; return (H, W, 3) uint8.

    Pixels with the value 0 stay grey. The higher the value, the more orange a pixel is; from FULL on it is all orange.
    """
    grey = shown(picture).mean(axis=-1, keepdims=True, dtype=np.float32)
    opacity = np.clip(values / FULL, 0, 1)[..., None]
    return np.rint(grey * (1 - opacity) + HEAT * opacity).astype(np.uint8)


def _filtered(labels: np.ndarray, pick: Callable[[np.ndarray, np.ndarray], np.ndarray], width: int) -> np.ndarray:
    """Return the least or greatest label within `width` pixels of each, in a square: columns first, then rows."""
    for _ in range(2):
        length = len(labels)
        padded = np.pad(labels, ((width, width), (0, 0)), mode="edge")
        labels = functools.reduce(pick, [padded[start : start + length] for start in range(2 * width + 1)]).T
    return labels
